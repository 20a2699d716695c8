"""YAML values that know their line and column."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from robot_qa.errors import Problem, SpecError

KeyPath = tuple[str | int, ...]
Position = tuple[int, int]

# Stands for a value that was reported already and has no use.
UNUSABLE = object()

MAX_NODES = 100_000
MAX_DEPTH = 50

_TAG = 'tag:yaml.org,2002:'
_INT = r'[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+'
_FLOAT = (
    r'[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?'
    r'|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)'
)
_MERGE = '<<'
_BREAK = re.compile('\r\n|[\n\r\x85\u2028\u2029]')  # what PyYAML counts as the end of a line


class _CoreLoader(yaml.SafeLoader):
    """Resolves plain scalars by YAML 1.2's core schema, where ``on`` and ``no`` are text.

    https://yaml.org/spec/1.2.2/#103-core-schema, plus the merge key of YAML 1.1. PyYAML's own
    scanner rather than libyaml's, so that messages do not depend on how PyYAML was built.
    """

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  PyYAML declares it so


for _kind, _pattern, _first in (
    ('null', r'null|Null|NULL|~|', 'nN~'),
    ('bool', r'true|True|TRUE|false|False|FALSE', 'tTfF'),
    ('int', _INT, '-+0123456789'),
    ('float', _FLOAT, '-+.0123456789'),
    ('merge', _MERGE, _MERGE[0]),
):
    _CoreLoader.add_implicit_resolver(
        _TAG + _kind, re.compile(rf'(?:{_pattern})\Z'), [*_first, ''] if _kind == 'null'
        else list(_first),
    )


@dataclass(frozen=True)
class Marked:
    """Plain data, and where each part of it was written; lines and columns count from 1.

    ``values`` and ``keys`` map a path (keys and list indices from the top) to the position of the
    value and of its key. ``problems`` are the mistakes that did not stop the reading.
    """

    file: str
    data: Any
    values: dict[KeyPath, Position] = field(default_factory=dict)
    keys: dict[KeyPath, Position] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def value_position(self, path: KeyPath) -> Position:
        """Where the value was written, or the nearest thing around it."""
        while path and path not in self.values:
            path = path[:-1]
        return self.values.get(path, (1, 1))

    def key_position(self, path: KeyPath) -> Position:
        """Where the key was written; for what has no key, where the value was."""
        return self.keys[path] if path in self.keys else self.value_position(path)

    def problem(self, path: KeyPath, message: str, *, at_key: bool = False) -> Problem:
        """Return a Problem at the value of ``path``, or at its key."""
        position = self.key_position(path) if at_key else self.value_position(path)
        return Problem(self.file, *position, message)


def compose(text: str, file: str) -> Marked:
    """Read one YAML document into dicts, lists and scalars, and remember the positions.

    Raises SpecError where nothing useful can be read: broken YAML, an empty file, or one that
    is too deep or grows too large once its aliases are followed.
    """
    node = _root(text, file)
    reader = _Reader(file)
    data = reader.read(node, ())
    return Marked(file, data, reader.values, reader.keys, reader.problems)


def _root(text: str, file: str) -> Node:
    def fail(line: int, column: int, message: str) -> SpecError:
        return SpecError([Problem(file, line, column, message)])

    try:
        loader = _CoreLoader(text)
    except yaml.reader.ReaderError as error:
        before = _BREAK.split(text[:error.position])
        message = f'the character {text[error.position]!a} cannot be used; write it as an escape'
        raise fail(len(before), len(before[-1]) + 1, message) from error
    try:
        node = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark or loader.get_mark()
        context = f'{error.context}, ' if error.context else ''
        message = f'not valid YAML: {context}{error.problem}'
        if '${' in _BREAK.split(text)[mark.line]:
            message += "; inside [ ] and { } a reference needs quotes: '${name}'"
        raise fail(mark.line + 1, mark.column + 1, message) from error
    except (ValueError, OverflowError) as error:  # an escape such as "\UFFFFFFFF"
        mark = loader.get_mark()
        raise fail(mark.line + 1, mark.column + 1, f'not valid YAML: {error}') from error
    except RecursionError:
        raise fail(1, 1, f'values are nested deeper than {MAX_DEPTH} levels') from None
    if node is None:
        raise fail(1, 1, 'the file is empty; a spec starts with "robot_qa: 1"')
    return node


class _Reader:
    """Turns nodes into data, one call of ``read`` per value."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.values: dict[KeyPath, Position] = {}
        self.keys: dict[KeyPath, Position] = {}
        self.problems: list[Problem] = []
        self._count = 0
        self._open: list[Node] = []

    def read(self, node: Node, path: KeyPath) -> Any:
        """Return the data of ``node`` and note where it and its parts were written."""
        self._guard(node)
        self.values[path] = _position(node)
        self._open.append(node)
        if isinstance(node, MappingNode) and node.tag == _TAG + 'map':
            data: Any = self._mapping(node, path)
        elif isinstance(node, SequenceNode) and node.tag == _TAG + 'seq':
            data = [self.read(item, (*path, index)) for index, item in enumerate(node.value)]
        else:
            data = self._scalar(node)
        self._open.pop()
        return data

    def _guard(self, node: Node) -> None:
        self._count += 1
        if self._count > MAX_NODES:
            raise self._fatal(node, f'more than {MAX_NODES} values once aliases are followed')
        if any(node is outer for outer in self._open):
            raise self._fatal(node, 'an alias stands inside the value it repeats')
        if len(self._open) >= MAX_DEPTH:
            raise self._fatal(node, f'values are nested deeper than {MAX_DEPTH} levels')

    def _mapping(self, node: MappingNode, path: KeyPath) -> dict[str, Any]:
        data: dict[str, Any] = {}
        merged: list[tuple[Node, Node]] = []
        for key_node, value_node in node.value:
            if key_node.tag == _TAG + 'merge':
                merged.extend(self._merged(value_node))
                continue
            key = self._key(key_node)
            if key is None:
                continue
            if key in data:
                line = self.keys[(*path, key)][0]
                self._report(key_node, f'the key "{key}" was already written on line {line}')
                continue
            self._enter(data, path, key, key_node, value_node)
        for key_node, value_node in merged:
            key = self._key(key_node)
            if key is not None and key not in data:
                self._enter(data, path, key, key_node, value_node)
        return data

    def _enter(self, data: dict[str, Any], path: KeyPath, key: str, *nodes: Node) -> None:
        key_node, value_node = nodes
        self.keys[(*path, key)] = _position(key_node)
        data[key] = self.read(value_node, (*path, key))

    def _merged(self, node: Node) -> Iterator[tuple[Node, Node]]:
        """Yield the pairs that ``<<`` brings in; of two pairs with one key the first counts."""
        self._guard(node)
        self._open.append(node)
        if isinstance(node, MappingNode):
            own = [pair for pair in node.value if pair[0].tag != _TAG + 'merge']
            deeper = [pair[1] for pair in node.value if pair[0].tag == _TAG + 'merge']
            yield from own
        elif isinstance(node, SequenceNode):
            deeper = node.value
        else:
            self._report(node, '"<<" merges mappings; an alias such as *name was expected')
            deeper = []
        for inner in deeper:
            yield from self._merged(inner)
        self._open.pop()

    def _key(self, node: Node) -> str | None:
        if not isinstance(node, ScalarNode):
            self._report(node, 'a key must be text, not a list or a mapping')
            return None
        if node.tag != _TAG + 'str':
            self._report(node, f'the key {node.value or "null"} is not text; put it in quotes')
            return None
        key = self._scalar(node)
        return key if isinstance(key, str) else None

    def _scalar(self, node: Node) -> Any:
        """Return the value of a scalar; what has none is reported and becomes UNUSABLE."""
        convert = _SCALARS.get(node.tag.removeprefix(_TAG))
        if convert is None or not isinstance(node, ScalarNode):
            shown = node.tag.replace(_TAG, '!!')
            self._report(node, f'the tag {shown} is not known; a spec holds plain data only')
            return UNUSABLE
        try:
            return convert(node.value)
        except ValueError as error:
            kind = node.tag.removeprefix(_TAG)
            self._report(node, f'the value cannot be read as {kind}: {error}')
            return UNUSABLE

    def _report(self, node: Node, message: str) -> None:
        self.problems.append(Problem(self.file, *_position(node), message))

    def _fatal(self, node: Node, message: str) -> SpecError:
        return SpecError([*self.problems, Problem(self.file, *_position(node), message)])


def _position(node: Node) -> Position:
    return node.start_mark.line + 1, node.start_mark.column + 1


def usable_text(written: str) -> str:
    """Return the text; ValueError if no file name, argument or UTF-8 file can hold it."""
    if '\0' in written or any('\ud800' <= letter <= '\udfff' for letter in written):
        raise ValueError('it holds a NUL or half of a surrogate pair')
    return written


def _bool(written: str) -> bool:
    if written.lower() not in ('true', 'false'):
        raise ValueError(f'"{written}" is neither true nor false')
    return written.lower() == 'true'


def _int(written: str) -> int:
    if len(written) > 40 or not re.fullmatch(_INT, written):
        raise ValueError(f'"{written[:40]}" is not a whole number of at most 40 digits')
    if written.startswith(('0x', '0o')):
        return int(written, 0)
    return int(written)


def _float(written: str) -> float:
    lowered = written.lower()
    if not re.fullmatch(_FLOAT, written):
        raise ValueError(f'"{written[:40]}" is not a number')
    if lowered.endswith('.inf'):
        return -math.inf if lowered.startswith('-') else math.inf
    return math.nan if lowered == '.nan' else float(written)


def _null(_written: str) -> None:
    return None


_SCALARS: dict[str, Callable[[str], Any]] = {
    'str': usable_text, 'bool': _bool, 'int': _int, 'float': _float, 'null': _null,
    'merge': usable_text,
}
