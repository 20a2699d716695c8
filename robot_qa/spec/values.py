"""The texts, numbers and lists that a spec may hold."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Callable
from pathlib import PurePath
from typing import Annotated, Any, Literal, Protocol

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, WithJsonSchema

from robot_qa.quantities import DurationNs, Frequency
from robot_qa.spec.parts import wrong

ROS_NAME = r'(/[A-Za-z_][A-Za-z0-9_]*)+'
_FIELD = r'[A-Za-z_][A-Za-z0-9_]*(\[([0-9]+|\*)\])?'
FIELD_PATH = rf'{_FIELD}(\.{_FIELD})*'
_MESSAGE_TYPE = r'[a-z][a-z0-9_]*/msg/[A-Z][A-Za-z0-9]*'
_PROCESS_NAME = r'[A-Za-z0-9_-]+'
_IDENTIFIER = r'[A-Za-z_][A-Za-z0-9_]*'


class LocalFiles(Protocol):
    """What the loader passes as pydantic's context, so that files are checked as well."""

    def refusal(self, path: str, *, folder: bool) -> str | None:
        """Say why a relative path cannot be used, or return None."""


def check_file(path: str, info: ValidationInfo, *, folder: bool) -> str:
    """Return ``path`` if the loader, where there is one, has nothing against it."""
    files: LocalFiles | None = info.context
    refusal = files.refusal(path, folder=folder) if files else None
    if refusal:
        raise wrong(refusal)
    return path


def _fits(pattern: str, refusal: Callable[[str], str]) -> AfterValidator:
    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise wrong(refusal(text))
        return text

    return AfterValidator(check)


def _pattern(pattern: str) -> WithJsonSchema:
    return WithJsonSchema({'type': 'string', 'pattern': f'^{pattern}$'})


def ros_name_refusal(text: str) -> str:
    """Say what is wrong with a text that is no absolute ROS name."""
    near = '/' + '/'.join(re.findall(_IDENTIFIER, text))
    hint = f'; did you mean "{near}"?' if near != '/' else ', such as /scan'
    return f'"{text}" is not an absolute ROS name{hint}'


def _type_refusal(text: str) -> str:
    pieces = [piece for piece in re.split(r'[/.:]+', text) if piece]
    near = f'{pieces[0]}/msg/{pieces[-1]}' if len(pieces) in (2, 3) else ''
    if not re.fullmatch(_MESSAGE_TYPE, near):
        return f'"{text}" is not a message type such as sensor_msgs/msg/LaserScan'
    return f'"{text}" is not a message type; did you mean "{near}"?'


def _field_refusal(text: str) -> str:
    return f'"{text}" is not a field path such as pose.pose.position.x'


def _process_refusal(text: str) -> str:
    return f'"{text}" is not a process name; use letters, digits, "_" and "-"'


def _identifier_refusal(text: str) -> str:
    return f'"{text}" is not a name made of letters, digits and "_"'


def _scalar(value: Any) -> Any:
    if isinstance(value, bool | int | str) or (isinstance(value, float) and not math.isnan(value)):
        return value
    raise wrong('a text, a number, true or false was expected')


def _number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise wrong('a number without a unit was expected, such as 0.05')
    if not math.isfinite(value) or not -(2**63) <= value < 2**64:
        raise wrong(f'{value} is not a finite number that a message can hold')
    return value


def _argument(value: Any) -> Any:
    """Let a number, true and false stand for their text, as they do on a command line."""
    if isinstance(value, bool):
        return 'true' if value else 'false'
    return str(value) if isinstance(value, int | float) else value


def _words(value: Any) -> Any:
    if isinstance(value, list):
        return value
    if not isinstance(value, str):
        raise wrong('a command was expected: a text, or a list of words')
    try:
        return shlex.split(value)
    except ValueError as error:
        raise wrong(f'the command cannot be split into words: {error}') from error


def texts(value: Any) -> Any:
    """Let one text stand for a list of one."""
    if not isinstance(value, str | list):
        raise wrong('a text or a list of texts was expected')
    return [value] if isinstance(value, str) else value


def _finite(value: Any) -> Any:
    if value is True or value == 'or_inf':
        return value
    raise wrong(FALSE_CHECKS_NOTHING if value is False else 'true or or_inf was expected')


def _only_true(value: Any) -> Any:
    """Refuse what switches a check off that leaving out its key switches off already."""
    if value is not True:
        raise wrong(FALSE_CHECKS_NOTHING if value is False else 'true was expected')
    return value


def _relative(path: str) -> str:
    if not path or PurePath(path).is_absolute() or path.startswith('~'):
        raise wrong(f'"{path}" is not a path relative to the folder of the spec')
    return path


def text_or_list(items: list[str]) -> WithJsonSchema:
    """Return the schema of a text or a list whose items are of these JSON types."""
    return WithJsonSchema(
        {'type': ['string', 'array'], 'items': {'type': items}, 'minItems': 1, 'minLength': 1}
    )


FALSE_CHECKS_NOTHING = 'false checks nothing; remove the key'

RosName = Annotated[str, _fits(ROS_NAME, ros_name_refusal), _pattern(ROS_NAME)]
FieldPath = Annotated[str, _fits(FIELD_PATH, _field_refusal), _pattern(FIELD_PATH)]
MessageType = Annotated[str, _fits(_MESSAGE_TYPE, _type_refusal), _pattern(_MESSAGE_TYPE)]
ProcessName = Annotated[str, _fits(_PROCESS_NAME, _process_refusal), _pattern(_PROCESS_NAME)]
Identifier = Annotated[str, _fits(_IDENTIFIER, _identifier_refusal), _pattern(_IDENTIFIER)]
NonEmpty = Annotated[str, Field(min_length=1)]
RelativePath = Annotated[str, AfterValidator(_relative)]
Scalar = Annotated[bool | int | float | str, BeforeValidator(_scalar)]
Number = Annotated[int | float, BeforeValidator(_number), WithJsonSchema({'type': 'number'})]
Whole = Annotated[int, Field(ge=0, lt=2**63)]
PositiveDuration = Annotated[DurationNs, Field(gt=0)]
PositiveFrequency = Annotated[Frequency, Field(gt=0)]
OnlyTrue = Annotated[Literal[True], BeforeValidator(_only_true), WithJsonSchema({'const': True})]
Finite = Annotated[Literal[True, 'or_inf'], BeforeValidator(_finite)]
Argument = Annotated[str, BeforeValidator(_argument), WithJsonSchema(
    {'type': ['string', 'number', 'boolean']})]
Command = Annotated[list[Argument], BeforeValidator(_words), Field(min_length=1),
                    text_or_list(['string', 'number', 'boolean'])]
Texts = Annotated[list[NonEmpty], BeforeValidator(texts), Field(min_length=1),
                  text_or_list(['string'])]
