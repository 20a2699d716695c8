"""One field of a serialized message, found without decoding the rest.

A path such as ``pose.pose.position.x``, ``ranges``, ``ranges[3]``, ``status[0].level`` or
``transforms[*].header.stamp`` is compiled once for a message type; the reader it gives then goes
straight to the bytes, of one message or of a whole batch.

A path may end at a number, bool or string, at an array or sequence of them, at a
``builtin_interfaces`` time or duration (integer nanoseconds), and at a message all of whose
members are numbers of one type, such as a pose (an array of 7). ``[2]`` is the third element,
``[*]`` is every element. A path that ends at several messages only has lengths.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags.interfaces import Nodetype
from rosbags.interfaces.typing import BaseDesc, FieldDesc, NameDesc

from robot_qa.errors import FieldPathError, MessageError, did_you_mean
from robot_qa.messages.cdr import Lanes, Message
from robot_qa.messages.layout import FEW, UNIT_SIZES, Element, Route, number_size
from robot_qa.messages.leaves import (
    STRUCT_CODES,
    ColumnLeaf,
    CountedLeaf,
    Kind,
    Leaf,
    Messages,
    Number,
    Numbers,
    Stamp,
    Text,
    Texts,
)
from robot_qa.messages.payloads import Buffer, Int64s, Payloads
from robot_qa.messages.plans import Plan, Star, flattened
from robot_qa.messages.typestore import DUMMY_MEMBER, TypeStore

_PART = re.compile(r'([A-Za-z_]\w*)(?:\[(\d+|\*)\])?', re.ASCII)
_STAMPS = {'builtin_interfaces/msg/Time', 'builtin_interfaces/msg/Duration'}
_LONGEST_SEQUENCE = (1 << 32) - 1


@dataclass(frozen=True)
class Column:
    """One field of all messages of a batch.

    ``values`` holds the elements of all messages one after another, ``rows`` (int64, same shape)
    the index of the message each is from. Strings have dtype object, stamps int64 nanoseconds.
    ``count`` is the number of messages, ``errors`` what is wrong with those whose bytes are
    malformed. These have no values, and neither has a message in which an index does not exist.
    """

    values: NDArray[Any]
    rows: Int64s
    count: int
    errors: dict[int, str]


class FieldReader:
    """Reads one field of one message type; made by ``compile_field``."""

    def __init__(self, type_name: str, path: str, plan: Plan) -> None:
        self.type_name = type_name
        self.path = path
        # What one value is; of a 'message' there are only lengths.
        self.kind: Kind = plan.leaf.kind
        # Whether one message gives several values.
        self.is_array = isinstance(plan.leaf, Star | CountedLeaf)
        # How it walks through a message; whoever writes into one walks the same way.
        self.plan = plan
        self._subject = f'{type_name}, field {path}'

    def read(self, payload: Buffer) -> Any:
        """Read one message: a number, bool or str, an array, or with ``[*]`` a list of such.

        Arrays of numbers are views into the payload, in its byte order. None: an index does not
        exist in this message. MessageError: the bytes do not hold what the type says.
        """
        return self.plan.read(self._message(payload), 0)

    def column(self, payloads: Payloads) -> Column:
        """Read all messages of a batch; a malformed one does not keep the others from it."""
        count = len(payloads)
        leaf = self.plan.leaf
        late = np.arange(count)
        values: list[NDArray[Any]] = []
        rows: list[Int64s] = []
        if isinstance(leaf, ColumnLeaf) and count >= FEW:
            lanes = Lanes.at_start(payloads)
            self.plan.drive(lanes)
            gathered, counts = leaf.gather(lanes)
            done = np.flatnonzero(lanes.running)
            values.append(gathered)
            rows.append(done if counts is None else np.repeat(done, counts))
            late = np.flatnonzero(~lanes.running)
        # What does not go with the rest is read by itself, which also says what is wrong with it.
        errors: dict[int, str] = {}
        sizes = np.zeros(len(late), np.int64)
        for i, row in enumerate(late.tolist()):
            try:
                value = self.read(payloads[row])
            except MessageError as error:
                errors[row] = str(error)
                continue
            if value is not None:
                values.append(flattened(value, leaf.dtype))
                sizes[i] = len(values[-1])
        rows.append(np.repeat(late, sizes))
        return Column(*_in_order(values, rows, leaf.dtype), count, errors)

    def lengths(self, payloads: Payloads) -> Int64s:
        """Return the number of elements of an array or sequence per message, int64 (n,).

        The elements are not touched. -1: there is none, as the bytes are malformed or an index
        does not exist. FieldPathError: the field is no array, or the path has a ``[*]``.
        """
        leaf = self.plan.leaf
        if not isinstance(leaf, CountedLeaf):
            raise FieldPathError(
                f'{self.type_name}: "{self.path}" has no length; '
                'write the path of an array or sequence, without [*] in it'
            )
        lengths = np.full(len(payloads), -1, np.int64)
        late = np.arange(len(payloads))
        if len(payloads) >= FEW:
            lanes = Lanes.at_start(payloads)
            self.plan.drive(lanes)
            counts = leaf.counts(lanes)
            lengths[lanes.running] = counts[lanes.running]
            late = np.flatnonzero(~lanes.running)
        for row in late.tolist():
            try:
                message = self._message(payloads[row])
                position = self.plan.walk(message, 0)
                if position is not None:
                    lengths[row] = leaf.count(message, position)
            except MessageError:
                continue
        return lengths

    def _message(self, payload: Buffer) -> Message:
        return Message(payload, self._subject)


def compile_field(store: TypeStore, type_name: str, path: str) -> FieldReader:
    """Find ``path`` in a message type.

    FieldPathError: there is no such field, or it cannot be read. UnknownTypeError: the type, or
    one that it uses, is defined nowhere.
    """
    store.fields(type_name)
    try:
        plan = _to_member(Route(store, 8), type_name, path.split('.'))
    except FieldPathError as error:
        raise FieldPathError(f'{type_name}: field path "{path}": {error}') from None
    return FieldReader(type_name, path, plan)


def _in_order(
    values: list[NDArray[Any]], rows: list[Int64s], dtype: np.dtype[Any]
) -> tuple[NDArray[Any], Int64s]:
    all_rows = np.concatenate(rows)
    if len(values) == 1:
        return values[0].astype(dtype, copy=False), all_rows
    all_values = np.concatenate([np.empty(0, dtype), *values])
    if not (all_rows[1:] < all_rows[:-1]).any():
        return all_values, all_rows
    order = np.argsort(all_rows, kind='stable')
    return all_values[order], all_rows[order]


def _to_member(route: Route, type_name: str, parts: list[str]) -> Plan:
    match = _PART.fullmatch(parts[0])
    if match is None:
        raise FieldPathError(f'"{parts[0]}" is not a field name with or without [0] or [*]')
    name, index = match.groups()
    fields = route.store.fields(type_name)
    if name not in dict(fields):
        names = _names(route.store, type_name)
        raise FieldPathError(
            f'{type_name} has no field "{name}"; it has {", ".join(names) or "none"}'
            f'{did_you_mean(name, names)}'
        )
    for other, desc in fields:
        if other == name:
            return _to_part(route, desc, index, parts)
        route.skip_member(desc)
    raise AssertionError('the field was found above')


def _to_part(route: Route, desc: FieldDesc, index: str | None, parts: list[str]) -> Plan:
    name, rest = parts[0], parts[1:]
    if desc[0] == Nodetype.BASE or desc[0] == Nodetype.NAME:
        if index is not None:
            raise FieldPathError(f'"{name}" has an index, but the field is not a sequence')
        return _to_item(route, desc, name, rest)
    item, size = desc[1]
    length = size if desc[0] == Nodetype.ARRAY else None
    if index is None:
        if rest:
            raise FieldPathError(f'"{name}" is a sequence; write {name}[0] or {name}[*]')
        return _to_items(route, item, length, parts, starred=False)
    if index == '*':
        if item[0] == Nodetype.NAME:
            return _to_star(route, item[1], length, parts)
        return _to_items(route, item, length, parts, starred=True)
    most = size or _LONGEST_SEQUENCE
    if int(index) >= most:
        raise FieldPathError(f'"{name}" is out of range; the field has at most {most} elements')
    route.skip_items(item, length, int(index))
    return _to_item(route, item, name, rest)


def _to_item(route: Route, item: BaseDesc | NameDesc, name: str, rest: list[str]) -> Plan:
    """Go from the start of one number, string or message to what the rest of the path says."""
    if item[0] == Nodetype.NAME:
        return _to_member(route, item[1], rest) if rest else _whole(route, item[1], name)
    base = item[1][0]
    if rest:
        raise FieldPathError(f'"{name}" is a {base}, which has no field "{rest[0]}"')
    if base in UNIT_SIZES:
        route.align(4)
        return _plan(route, Text(UNIT_SIZES[base]))
    _require_readable(base, name)
    route.align(number_size(base))
    return _plan(route, Number(base))


def _to_items(
    route: Route, item: BaseDesc | NameDesc, length: int | None, parts: list[str], *, starred: bool
) -> Plan:
    """Stay at the start of a whole array or sequence."""
    name, rest = parts[0], parts[1:]
    if length is None:
        route.align(4)
    if item[0] == Nodetype.NAME:
        names = ', '.join(f'{name}[*].{field}' for field in _names(route.store, item[1]))
        hint = f'"{name}" is a sequence of {item[1]}, which can only be counted; read {names}'
        return _plan(route, Messages(length, hint))
    base = item[1][0]
    if rest:
        raise FieldPathError(f'"{name}" holds elements of type {base}, which have no fields')
    if base in UNIT_SIZES:
        return _plan(route, Texts(UNIT_SIZES[base], length, starred))
    _require_readable(base, name)
    if length is not None:
        route.align(number_size(base))
    return _plan(route, Numbers(base, length, starred))


def _to_star(route: Route, type_name: str, length: int | None, parts: list[str]) -> Plan:
    if length is None:
        route.align(4)
    inside = _to_item(Route(route.store, 1), (Nodetype.NAME, type_name), parts[0], parts[1:])
    if isinstance(inside.leaf, Messages):
        raise FieldPathError(inside.leaf.hint)
    return _plan(route, Star(Element.of(route.store, type_name), length, inside))


def _whole(route: Route, type_name: str, name: str) -> Plan:
    if type_name in _STAMPS:
        route.align(4)
        return _plan(route, Stamp())
    bases = _number_types(route.store, type_name)
    if bases is None:
        names = ', '.join(_names(route.store, type_name)) or 'none'
        raise FieldPathError(f'"{name}" is a {type_name}, not one value; its fields are {names}')
    base, count = bases
    route.align(number_size(base))
    return _plan(route, Numbers(base, count, starred=False))


def _number_types(store: TypeStore, type_name: str) -> tuple[str, int] | None:
    """Return the type of all numbers in a message and how many there are, if it is one type."""
    total = 0
    bases = set()
    for name, desc in store.fields(type_name):
        item, count = (desc, 1) if desc[0] in {Nodetype.BASE, Nodetype.NAME} else desc[1]
        if desc[0] == Nodetype.SEQUENCE or name == DUMMY_MEMBER:
            return None
        part = _number_types(store, item[1]) if item[0] == Nodetype.NAME else (item[1][0], 1)
        if part is None or part[0] not in STRUCT_CODES:
            return None
        bases.add(part[0])
        total += count * part[1]
    return (bases.pop(), total) if len(bases) == 1 else None


def _require_readable(base: str, name: str) -> None:
    if base not in STRUCT_CODES:
        raise FieldPathError(f'"{name}" is a {base}, which cannot be read')


def _names(store: TypeStore, type_name: str) -> list[str]:
    return [name for name, _ in store.fields(type_name) if name != DUMMY_MEMBER]


def _plan(route: Route, leaf: Leaf) -> Plan:
    return Plan(tuple(route.steps), leaf)
