"""Definitions of ROS 2 message types, from wherever this machine has them.

A type is looked up in this order, and the first place that has it wins, also where it is only
a part of another type:

1. what was registered: the schemas of a recording, which may be older than what is installed,
2. the workspace: ``<prefix>/share/<package>/{msg,srv,action}`` for every prefix of
   ``AMENT_PREFIX_PATH`` or, where that is not set, a ``sys.prefix`` that is an ament prefix,
3. the newest ROS 2 distribution that rosbags knows.

Types are spelled as ROS spells them (``sensor_msgs/msg/LaserScan``), the parts of services and
actions likewise (``std_srvs/srv/SetBool_Request``). Definitions are rosbags' own ``Fielddefs``.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from rosbags.interfaces import Nodetype
from rosbags.interfaces.typing import (
    BaseDesc,
    Constdefs,
    Fielddefs,
    FieldDesc,
    NameDesc,
    Typesdict,
)
from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore

from robot_qa.errors import UnknownTypeError, did_you_mean

Definition = tuple[Constdefs, Fielddefs]

# IDL has no empty structures, so rosidl gives a message without members this one.
DUMMY_MEMBER = 'structure_needs_at_least_one_member'

_SEPARATOR = '=' * 80
_SECTION = re.compile(r'^={3,}[ \t]*(?:\n|\Z)', re.MULTILINE)
_HEADER = re.compile(r'\s*(?:MSG|IDL): *(\S+)[ \t]*(?:\n|\Z)')
_PART_BREAK = re.compile(r'^---[ \t]*$', re.MULTILINE)
_TYPE_NAME = re.compile(r'(\w+)/(msg|srv|action)/(\w+)', re.ASCII)
_PARTS = {
    'msg': ('',),
    'srv': ('_Request', '_Response'),
    'action': ('_Goal', '_Result', '_Feedback'),
}
_UUID = 'unique_identifier_msgs/msg/UUID'


class TypeStore:
    """Finds the definition of a message type; the module says where and in which order."""

    def __init__(self, *, workspace: bool = True) -> None:
        self._registered: Typesdict = {}
        self._origins: dict[str, str] = {}
        self._found: dict[str, Definition | None] = {}
        self._complete: set[str] = set()
        self._prefixes = _ament_prefixes() if workspace else []

    def register(self, name: str, text: str, encoding: str) -> None:
        """Add the definition of ``name`` and of every type that ``text`` brings along.

        ``encoding`` is ``'ros2msg'`` or ``'ros2idl'``, as in MCAP. UnknownTypeError: the text
        does not define ``name``, cannot be parsed, or contradicts an earlier registration; then
        nothing of it is added.
        """
        types = _parse(name, text, encoding)
        if name not in types:
            raise UnknownTypeError(
                f'the text registered for {name} defines {", ".join(sorted(types)) or "nothing"}'
            )
        for part, definition in types.items():
            known = self._registered.get(part)
            if known is not None and known[1] != definition[1]:
                raise UnknownTypeError(
                    f'{part} is defined in two ways: with {self._origins[part]} and with {name}'
                )
        for part, definition in types.items():
            self._registered.setdefault(part, definition)
            self._origins.setdefault(part, name)
        self._found.clear()
        self._complete.clear()

    def fields(self, name: str) -> Fielddefs:
        """Return the members of ``name`` in their order; every type they use is known too.

        UnknownTypeError: this type, or one inside it, is defined nowhere; or it contains itself.
        """
        if name not in self._complete:
            self._require(name, ())
        return self._get(name, ())[1]

    def definition_text(self, name: str) -> str:
        """Return the ``ros2msg`` text of ``name``, its dependencies concatenated behind it.

        Comments and default values are left out. The text is what a schema in MCAP holds.
        """
        names = [name]
        for each in names:
            names += dict.fromkeys(t for t in _types_inside(self.fields(each)) if t not in names)
        sections = [_msg_text(*self._get(name, ()))]
        for each in names[1:]:
            sections.append(f'MSG: {_short(each)}\n{_msg_text(*self._get(each, ()))}')
        return f'{_SEPARATOR}\n'.join(sections)

    def _require(self, name: str, owners: tuple[str, ...]) -> None:
        if name in owners:
            raise UnknownTypeError(f'{name} contains itself, which no message can')
        for part in _types_inside(self._get(name, owners)[1]):
            if part not in self._complete:
                self._require(part, (*owners, name))
        self._complete.add(name)

    def _get(self, name: str, owners: tuple[str, ...]) -> Definition:
        if name not in self._found:
            self._found[name] = self._find(name)
        definition = self._found[name]
        if definition is None:
            raise self._unknown(name, owners)
        return definition

    def _find(self, name: str) -> Definition | None:
        if name in self._registered:
            return self._registered[name]
        for prefix in self._prefixes:
            found = _from_workspace(prefix, name)
            if found is not None:
                return found
        return _built_in().get(name)

    def _unknown(self, name: str, owners: tuple[str, ...]) -> UnknownTypeError:
        part_of = f' (part of {owners[-1]})' if owners else ''
        places = [
            f'{len(self._registered)} registered types',
            *(str(prefix / 'share') for prefix in self._prefixes),
            f'the types of {_newest().value}',
        ]
        known = {*self._registered, *_built_in()}
        for prefix in self._prefixes:
            known.update(_names_in_workspace(prefix))
        return UnknownTypeError(
            f'no definition of {name}{part_of}; looked at {", ".join(places)}'
            f'{did_you_mean(name, known)}'
        )


def _newest() -> Stores:
    # Not Stores.LATEST, which is the latest long-term release. Releases are named alphabetically.
    return max((s for s in Stores if s.value.startswith('ros2_')), key=lambda s: s.value)


@cache
def _built_in() -> Typesdict:
    return _tidied(get_typestore(_newest()).fielddefs)


def _ament_prefixes() -> list[Path]:
    """Return the places of a workspace; the environment of our Python is the last of them."""
    listed = os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep)
    here = Path(sys.prefix)
    ours = [here] if (here / 'share' / 'ament_index').is_dir() else []
    return list(dict.fromkeys([*(Path(prefix) for prefix in listed if prefix), *ours]))


def _from_workspace(prefix: Path, name: str) -> Definition | None:
    match = _TYPE_NAME.fullmatch(name)
    if match is None:
        return None
    package, kind, part = match.groups()
    folder = prefix / 'share' / package / kind
    if kind == 'action' and part.endswith('_FeedbackMessage'):
        feedback = name.removesuffix('Message')
        if _from_workspace(prefix, feedback) is None:
            return None
        return [], [('goal_id', (Nodetype.NAME, _UUID)), ('feedback', (Nodetype.NAME, feedback))]
    for number, suffix in enumerate(_PARTS[kind]):
        if part.endswith(suffix):
            stem = part.removesuffix(suffix)
            text = _text_of(folder / f'{stem}.{kind}')
            if text is not None:
                pieces = [text] if kind == 'msg' else _PART_BREAK.split(text)
                if number < len(pieces):
                    return _parse_msg(name, pieces[number])[name]
            text = _text_of(folder / f'{stem}.idl')
            if text is not None:
                return _parse(name, text, 'ros2idl').get(name)
    return None


def _text_of(file: Path) -> str | None:
    try:
        return file.read_text('utf-8', errors='replace')
    except OSError:
        return None


def _names_in_workspace(prefix: Path) -> Iterator[str]:
    for kind, suffixes in _PARTS.items():
        for file in (prefix / 'share').glob(f'*/{kind}/*.*'):
            if file.suffix in {f'.{kind}', '.idl'}:
                for suffix in suffixes:
                    yield f'{file.parent.parent.name}/{kind}/{file.stem}{suffix}'


def _parse(name: str, text: str, encoding: str) -> Typesdict:
    if encoding not in {'ros2msg', 'ros2idl'}:
        raise UnknownTypeError(
            f'the definition of {name} is written as "{encoding}"; expected ros2msg or ros2idl'
        )
    types: Typesdict = {}
    for section in _SECTION.split(text.replace('\r\n', '\n')):
        header = _HEADER.match(section)
        body = section[header.end():] if header else section
        if encoding == 'ros2msg':
            # Only the first section may come without a header: it is the type itself.
            if header or not types:
                types.update(_parse_msg(_long(header[1]) if header else name, body))
        elif body.strip():
            types.update(_parse_idl(name, body))
    return types


def _parse_msg(name: str, text: str) -> Typesdict:
    # rosbags resolves the names of other types against the folder of this one, and knows neither
    # srv/ nor bounds of wide strings; a bound does not change the bytes.
    package, _, part = name.split('/') if name.count('/') == 2 else (name, '', 'Unnamed')
    stand_in = f'{package}/msg/{part}'
    plain = re.sub(r'(?m)^([ \t]*wstring)<=\d+', r'\1', text)
    try:
        definition = get_types_from_msg(plain, stand_in)[stand_in]
    except Exception as error:  # a foreign parser fails on foreign text in more than one way
        raise _unparsable(name, error) from error
    return _tidied({name: definition})


def _parse_idl(name: str, text: str) -> Typesdict:
    # Names are resolved here, and rosbags stumbles over some of the includes rosidl writes.
    plain = re.sub(r'(?m)^[ \t]*#.*$', '', text)
    try:
        return _tidied(get_types_from_idl(plain))
    except Exception as error:  # see _parse_msg
        raise _unparsable(name, error) from error


def _unparsable(name: str, error: Exception) -> UnknownTypeError:
    # rosbags quotes the whole text before it says where it stopped.
    reason = ' '.join(str(error).split())[-200:] or type(error).__name__
    return UnknownTypeError(f'the definition of {name} cannot be parsed: {reason}')


def _tidied(types: Typesdict) -> Typesdict:
    """Spell alike what .msg and .idl spell differently, so that definitions can be compared."""
    return {
        name: (
            constants,
            [(field, _tidy(desc)) for field, desc in fields]
            or [(DUMMY_MEMBER, (Nodetype.BASE, ('uint8', 0)))],
        )
        for name, (constants, fields) in types.items()
    }


def _tidy(desc: FieldDesc) -> FieldDesc:
    if desc[0] == Nodetype.ARRAY or desc[0] == Nodetype.SEQUENCE:
        item, size = desc[1]
        return desc[0], (_tidy_item(item), size)
    return _tidy_item(desc)


def _tidy_item(desc: BaseDesc | NameDesc) -> BaseDesc | NameDesc:
    if desc[0] == Nodetype.NAME:
        name = re.sub(r'/(srv|action)/msg/', r'/\1/', desc[1])
        return (Nodetype.BASE, ('wstring', 0)) if name.endswith('/wstring') else (desc[0], name)
    base, bound = desc[1]
    return (Nodetype.BASE, ('uint8', 0)) if base == 'char' else (Nodetype.BASE, (base, bound))


def _types_inside(fields: Fielddefs) -> Iterator[str]:
    for _, desc in fields:
        item = desc[1][0] if desc[0] in {Nodetype.ARRAY, Nodetype.SEQUENCE} else desc
        if item[0] == Nodetype.NAME:
            yield item[1]


def _msg_text(constants: Constdefs, fields: Fielddefs) -> str:
    lines = [f'{base} {name}={value}' for name, base, value in constants]
    lines += [f'{_spell(desc)} {name}' for name, desc in fields if name != DUMMY_MEMBER]
    return ''.join(f'{line}\n' for line in lines)


def _spell(desc: FieldDesc) -> str:
    if desc[0] == Nodetype.BASE:
        base, bound = desc[1]
        return f'{base}<={bound}' if bound else base
    if desc[0] == Nodetype.NAME:
        return _short(desc[1])
    item, size = desc[1]
    limit = '' if size == 0 else str(size) if desc[0] == Nodetype.ARRAY else f'<={size}'
    return f'{_spell(item)}[{limit}]'


def _short(name: str) -> str:
    return name.replace('/msg/', '/')


def _long(name: str) -> str:
    return name if name.count('/') == 2 else name.replace('/', '/msg/')
