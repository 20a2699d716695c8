"""File to TestSpec, or every mistake in it at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from robot_qa.errors import Problem, SpecError, did_you_mean
from robot_qa.spec.marks import UNUSABLE, KeyPath, Marked, compose
from robot_qa.spec.model import TestSpec
from robot_qa.spec.parameters import Parameters

MAX_BYTES = 2**20

_EXPECTED = {
    'string_type': 'a text',
    'int_type': 'a whole number',
    'float_type': 'a number',
    'bool_type': 'true or false',
    'list_type': 'a list',
    'dict_type': 'a mapping',
    'model_type': 'a mapping',
    'model_attributes_type': 'a mapping',
}
_BOUNDS = {
    'greater_than': ('more than', 'gt'),
    'greater_than_equal': ('at least', 'ge'),
    'less_than': ('less than', 'lt'),
    'less_than_equal': ('at most', 'le'),
}


@dataclass(frozen=True)
class LoadedSpec:
    """A valid spec, its text as read, and where each part of it stands."""

    spec: TestSpec
    path: Path
    text: str
    marks: Marked

    def source(self, path: KeyPath) -> str:
        """Return ``file:line:column`` of the key at ``path``, or of what is nearest around it."""
        line, column = self.marks.key_position(path)
        return f'{self.path}:{line}:{column}'


def load_spec(path: Path, overrides: Mapping[str, str] | None = None) -> LoadedSpec:
    """Read a spec, with ``overrides`` for its parameters.

    Raises SpecError with all the problems of the file, in the order of their lines.
    """
    text = _read(path)
    marks = compose(text, str(path))
    problems = list(marks.problems)
    if not isinstance(marks.data, dict):
        message = 'a spec is a mapping of keys and starts with "robot_qa: 1"'
        raise SpecError([*problems, marks.problem((), message)])
    parameters = Parameters(marks, overrides or {})
    data = parameters.substitute()
    problems += parameters.problems
    try:
        spec = TestSpec.model_validate(data, context=_Home(path))
    except ValidationError as error:
        problems += [problem for one in error.errors() for problem in _problems(one, marks)]
        raise SpecError(set(problems)) from error
    if problems:
        raise SpecError(set(problems))
    return LoadedSpec(spec, path, text, marks)


def _read(path: Path) -> str:
    try:
        if path.exists() and not path.is_file():
            raise _unreadable(path, 'a file was expected, not a folder or a device')
        with path.open('rb') as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise _unreadable(path, 'there is no such file') from error
    except (OSError, ValueError) as error:
        reason = getattr(error, 'strerror', None) or error
        raise _unreadable(path, f'the file cannot be read: {reason}') from error
    if len(content) > MAX_BYTES:
        raise _unreadable(path, 'the file is larger than 1 MiB, which no spec needs')
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        message = f'the file is not UTF-8 text: byte {error.start} cannot be decoded'
        raise _unreadable(path, message) from error


def _unreadable(path: Path, message: str) -> SpecError:
    return SpecError([Problem(str(path), 1, 1, message)])


class _Home:
    """The folders that a spec's files must stay in: its own or, in a package, the package's.

    A spec that was installed as a symbolic link has two, because its neighbours are links too.
    """

    def __init__(self, spec: Path) -> None:
        self._folder = spec.absolute().parent
        self._roots = {_root(self._folder), _root(spec.resolve().parent)}

    def refusal(self, path: str, *, folder: bool) -> str | None:
        """Say why a relative path cannot be used, or return None."""
        try:
            target = (self._folder / path).resolve()
            if not any(target.is_relative_to(root) for root in self._roots):
                return f'"{path}" leads out of the folder or package of the spec'
            if not (target.is_dir() if folder else target.is_file()):
                return f'there is no {"folder" if folder else "file"} "{path}"'
        except (OSError, RuntimeError) as error:  # too long a name, or links in a circle
            return f'"{path}" cannot be followed: {error}'
        return None


def _root(folder: Path) -> Path:
    for candidate in (folder, *folder.parents):
        if (candidate / 'package.xml').is_file():
            return candidate.resolve()
    return folder.resolve()


def _problems(error: Any, marks: Marked) -> Iterator[Problem]:
    """Yield the problems in one of pydantic's errors; none for what was reported already."""
    if error['input'] is UNUSABLE:
        return
    path = _path(error['loc'], marks)
    if error['type'] == 'spec':
        for at, reason in error['ctx']['findings']:
            yield marks.problem((*path, *at), reason, at_key=error['loc'][-1:] == ('[key]',))
    else:
        at_key = error['type'] == 'unknown_key' or error['loc'][-1:] == ('[key]',)
        yield marks.problem(path, _message(error), at_key=at_key)


def _path(loc: KeyPath, marks: Marked) -> KeyPath:
    """Leave out the pieces of pydantic's location that the file does not have."""
    path: KeyPath = ()
    for piece in loc:
        if (*path, piece) in marks.values:
            path = (*path, piece)
    return path


def _message(error: Any) -> str:
    kind, found, context = error['type'], describe(error['input']), error.get('ctx', {})
    if kind == 'missing':
        return f'the key "{error["loc"][-1]}" is missing here'
    if kind in _EXPECTED:
        return f'{_EXPECTED[kind]} was expected, found {found}'
    if kind in _BOUNDS:
        words, key = _BOUNDS[kind]
        return f'{words} {context[key]} was expected, found {found}'
    if kind == 'literal_error':
        expected = context['expected'].replace("'", '')
        known = expected.replace(' or ', ', ').split(', ')
        return f'{expected} was expected, found {found}{did_you_mean(str(error["input"]), known)}'
    if kind in ('too_short', 'string_too_short'):
        return 'nothing is written here; at least one was expected'
    return str(error['msg'])


def describe(value: Any) -> str:
    """Name a value as its author would recognise it."""
    if isinstance(value, bool):
        return 'true' if value else 'false'
    if isinstance(value, int | float):
        return f'the number {value}'
    if isinstance(value, str):
        return f'"{value}"' if len(value) <= 60 else f'"{value[:60]}..."'
    return 'a list' if isinstance(value, list) else 'a mapping'
