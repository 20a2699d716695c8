from __future__ import annotations

import random
import struct
from typing import Any

import numpy as np
import pytest
from rosbags.interfaces import Nodetype
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.base import normalize_fieldname
from rosbags.typesys.store import Typestore

from robot_qa.errors import FieldPathError, MessageError
from robot_qa.messages.fields import FieldReader, compile_field
from robot_qa.messages.layout import FEW
from robot_qa.messages.typestore import DUMMY_MEMBER, TypeStore
from robot_qa.probes.batch import Payloads

NEWEST = max((s for s in Stores if s.value.startswith('ros2_')), key=lambda s: s.value)
ROSBAGS = get_typestore(NEWEST)
STORE = TypeStore(workspace=False)
TYPES = sorted(ROSBAGS.fielddefs)
STAMPS = {'builtin_interfaces/msg/Time', 'builtin_interfaces/msg/Duration'}
# Half of them in each byte order, enough of either for the vectorised path.
BATCH = 2 * FEW

RANGES = {f'{sign}int{bits}': (-(1 << bits - 1), (1 << bits - 1) - 1) if not sign else
          (0, (1 << bits) - 1) for sign in ('', 'u') for bits in (8, 16, 32, 64)}
# rosbags packs these two signed; ROS 2 has them as uint8, which has a test of its own.
RANGES |= {'byte': (0, 127), 'char': (0, 127)}


# --- random messages, and what rosbags finds in them ---------------------------------------------


def random_scalar(rng: random.Random, base: str) -> Any:
    if base in RANGES:
        return rng.choice([*RANGES[base], rng.randint(*RANGES[base])])
    if base == 'bool':
        return rng.random() < 0.5
    if base == 'string':
        return ''.join(rng.choice('aZ/ \x7fé\u20ac\U0001f916') for _ in range(rng.randint(0, 9)))
    value = rng.choice([0.0, -0.0, float('nan'), float('inf'), rng.gauss(0, 1e3), 5e-324])
    return struct.unpack('f', struct.pack('f', value))[0] if base == 'float32' else value


def random_items(rng: random.Random, item: Any, count: int, depth: int) -> Any:
    if item[0] == Nodetype.NAME:
        return [random_message(rng, item[1], depth + 1) for _ in range(count)]
    base = item[1][0]
    values = [random_scalar(rng, base) for _ in range(count)]
    dtype = 'uint8' if base in {'byte', 'char'} else base
    return values if base == 'string' else np.array(values, dtype)


def random_message(rng: random.Random, type_name: str, depth: int = 0) -> Any:
    values = []
    longest = (4, 2, 1)[min(depth, 2)]
    for _, desc in ROSBAGS.fielddefs[type_name][1]:
        if desc[0] == Nodetype.BASE:
            values.append(random_scalar(rng, desc[1][0]))
        elif desc[0] == Nodetype.NAME:
            values.append(random_message(rng, desc[1], depth))
        else:
            item, size = desc[1]
            most = min(longest, size) if size else longest
            count = size if desc[0] == Nodetype.ARRAY else rng.randint(0, most)
            values.append(random_items(rng, item, count, depth))
    return ROSBAGS.types[type_name](*values)


def leaf_paths(rng: random.Random, type_name: str, depth: int = 0) -> list[str]:
    """All fields, with every kind of index; deep inside with one of them, or there are too many."""
    paths = []
    for name, desc in ROSBAGS.fielddefs[type_name][1]:
        if name == DUMMY_MEMBER:
            continue
        if desc[0] in {Nodetype.BASE, Nodetype.NAME}:
            starts, item = [name], desc
        else:
            item, size = desc[1]
            starts = [f'{name}[{i}]' for i in sorted({0, size - 1 if size else 2})] + [f'{name}[*]']
            starts = starts if depth == 0 else [rng.choice(starts)]
            paths += [name] if item[0] == Nodetype.BASE else []
        for start in starts:
            paths += below(rng, start, item, depth + (start != name))
    return paths


def below(rng: random.Random, start: str, item: Any, depth: int) -> list[str]:
    if item[0] == Nodetype.BASE:
        return [start]
    whole = [start] if item[1] in STAMPS or plain_numbers(item[1]) else []
    return whole + [f'{start}.{path}' for path in leaf_paths(rng, item[1], depth)]


def plain_numbers(type_name: str) -> set[str]:
    bases: set[str] = set()
    for name, desc in ROSBAGS.fielddefs[type_name][1]:
        item = desc[1][0] if desc[0] == Nodetype.ARRAY else desc
        part = {Nodetype.BASE: lambda d: {d[1][0]}, Nodetype.NAME: lambda d: plain_numbers(d[1])}
        found = part.get(item[0], lambda _: set())(item)
        if name == DUMMY_MEMBER or not found or 'string' in found:
            return set()
        bases |= found
    return bases if len(bases) == 1 else set()


def expected(value: Any, parts: list[str]) -> Any:
    """The value at a path of a deserialized message; None if an index does not exist."""
    if not parts:
        return plain(value)
    name, _, index = parts[0].rstrip(']').partition('[')
    value = getattr(value, normalize_fieldname(name))
    if not index:
        return expected(value, parts[1:])
    if index == '*':
        found = [expected(each, parts[1:]) for each in value]
        found = [each for each in found if each is not None]
        return sum(found, []) if '[*]' in ''.join(parts[1:]) else found
    return expected(value[int(index)], parts[1:]) if int(index) < len(value) else None


def plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    kind = getattr(value, '__msgtype__', None)
    if kind in STAMPS:
        return value.sec * 10**9 + value.nanosec
    if kind is not None:
        parts = [getattr(value, field) for field in value.__dataclass_fields__ if field[0] != '_']
        return flat([plain(part) for part in parts])
    return value


def flat(value: Any) -> list[Any]:
    if isinstance(value, list | np.ndarray):
        return [leaf for each in value for leaf in flat(each)]
    return [value]


def spelled(value: Any) -> str:
    """Text that is equal for equal values, NaN included, and differs for 1, 1.0 and True."""
    if isinstance(value, list | np.ndarray):
        return f'[{", ".join(spelled(each) for each in plain(value))}]'
    return repr(value)


def random_batch(type_name: str, count: int = BATCH) -> tuple[list[bytes], list[Any]]:
    rng = random.Random(type_name)
    payloads = [
        bytes(ROSBAGS.serialize_cdr(
            random_message(rng, type_name), type_name, little_endian=row % 2 == 0
        ))
        for row in range(count)
    ]
    return payloads, [ROSBAGS.deserialize_cdr(payload, type_name) for payload in payloads]


def packed_with_gaps(payloads: list[bytes]) -> Payloads:
    lengths = np.array([len(p) for p in payloads], np.int64)
    offsets = np.cumsum(lengths + 3) - lengths
    return Payloads(b''.join(b'\xff\xff\xff' + p for p in payloads), offsets, lengths)


def check_column(reader: FieldReader, payloads: Payloads, values: list[Any]) -> None:
    column = reader.column(payloads)
    rows = [row for row, value in enumerate(values) if value is not None for _ in flat(value)]
    assert column.count == len(values)
    assert column.errors == {}
    assert column.rows.tolist() == rows
    assert column.values.dtype.isnative
    assert spelled(column.values) == spelled(flat([v for v in values if v is not None]))


# --- every field of every message type -----------------------------------------------------------


@pytest.mark.parametrize('type_name', TYPES)
def test_reads_what_rosbags_reads(type_name: str) -> None:
    raw, messages = random_batch(type_name)
    batches = [(packed_with_gaps(raw), messages)]
    for order in (b'\0\1', b'\0\0'):
        same = [i for i, payload in enumerate(raw) if payload[:2] == order]
        batches.append((Payloads.of([raw[i] for i in same]), [messages[i] for i in same]))
    for path in leaf_paths(random.Random(type_name), type_name):
        reader = compile_field(STORE, type_name, path)
        for payload, message in zip(raw, messages, strict=True):
            assert spelled(reader.read(payload)) == spelled(expected(message, path.split(".")))
        for payloads, found in batches:
            check_column(reader, payloads, [expected(m, path.split('.')) for m in found])
