from __future__ import annotations

import itertools
import random
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rosbags.interfaces import Nodetype
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.base import normalize_fieldname

from robot_qa.errors import FieldPathError, MessageError
from robot_qa.messages.fields import FieldReader, compile_field
from robot_qa.messages.layout import FEW
from robot_qa.messages.typestore import DUMMY_MEMBER, TypeStore
from robot_qa.probes.batch import Payloads

NEWEST = max((s for s in Stores if s.value.startswith('ros2_')), key=lambda s: s.value)
ROSBAGS = get_typestore(NEWEST)
PACKAGES = itertools.count()
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


def leaf_paths(rng: random.Random, type_name: str) -> list[str]:
    """All fields; those inside sequences of messages with one kind of index, or they get many."""
    paths = []
    for name, desc in ROSBAGS.fielddefs[type_name][1]:
        if name == DUMMY_MEMBER:
            continue
        starts, item = [name], desc
        if desc[0] in {Nodetype.ARRAY, Nodetype.SEQUENCE}:
            item, size = desc[1]
            last = size - 1 if size else 2
            starts = [f'{name}[{index}]' for index in dict.fromkeys([0, last, '*'])]
        if item[0] == Nodetype.BASE:
            paths += dict.fromkeys([name, *starts])
        else:
            paths += [rng.choice(starts) + rest for rest in paths_below(rng, item[1])]
    return paths


def paths_below(rng: random.Random, type_name: str) -> list[str]:
    whole = [''] if type_name in STAMPS or plain_numbers(type_name) else []
    return whole + [f'.{path}' for path in leaf_paths(rng, type_name)]


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
        nested = '[*]' in ''.join(parts[1:])
        return list(itertools.chain.from_iterable(found)) if nested else found
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
    value = value.tolist() if isinstance(value, np.ndarray) else value
    return [leaf for each in value for leaf in flat(each)] if isinstance(value, list) else [value]


def spelled(value: Any) -> str:
    """Text that is equal for equal values, NaN included, and differs for 1, 1.0 and True."""
    if isinstance(value, list | np.ndarray):
        return f'[{", ".join(spelled(each) for each in plain(value))}]'
    return repr(value)


def random_batch(type_name: str) -> list[bytes]:
    rng = random.Random(type_name)
    return [
        bytes(ROSBAGS.serialize_cdr(
            random_message(rng, type_name), type_name, little_endian=row % 2 == 0
        ))
        for row in range(BATCH)
    ]


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


def check_all_fields(type_name: str, raw: list[bytes]) -> None:
    messages = [ROSBAGS.deserialize_cdr(payload, type_name) for payload in raw]
    mixed = packed_with_gaps(raw)
    little, big = Payloads.of(raw[0::2]), Payloads.of(raw[1::2])
    for path in leaf_paths(random.Random(type_name), type_name):
        reader = compile_field(STORE, type_name, path)
        values = [expected(message, path.split('.')) for message in messages]
        for payload, value in zip(raw, values, strict=True):
            assert spelled(reader.read(payload)) == spelled(value)
        check_column(reader, mixed, values)
        check_column(reader, little, values[0::2])
        check_column(reader, big, values[1::2])
        if reader.is_array and '*' not in path:
            lengths = [-1 if value is None else len(value) for value in values]
            assert reader.lengths(mixed).tolist() == lengths


# --- every field of every message type -----------------------------------------------------------


@pytest.mark.parametrize('type_name', TYPES)
def test_reads_what_rosbags_reads(type_name: str) -> None:
    check_all_fields(type_name, random_batch(type_name))


# What differs in how it is aligned or skipped.
BASES = ['uint8', 'int16', 'float32', 'float64', 'int64', 'string', 'builtin_interfaces/Duration']
SUFFIXES = ['', '', '[3]', '[]', '[<=3]']


@st.composite
def definitions(draw: st.DrawFn) -> str:
    """Text of three messages, the first of which uses the second, which uses the third."""
    sections = []
    for inner in ('B', 'C', None):
        names = BASES if inner is None else [*BASES, inner, inner, inner]
        field = st.tuples(st.sampled_from(names), st.sampled_from(SUFFIXES))
        fields = draw(st.lists(field, min_size=2, max_size=5))
        sections.append(''.join(f'{t}{s} f{i}\n' for i, (t, s) in enumerate(fields)))
    first, second, third = sections
    line = '=' * 80
    return f'{first}{line}\nMSG: PKG/B\n{second}{line}\nMSG: PKG/C\n{third}'


@settings(max_examples=200, deadline=None, derandomize=True)
@given(definitions())
def test_reads_any_layout(text: str) -> None:
    package = f'fuzz{next(PACKAGES)}_msgs'
    text, name = text.replace('PKG', package), f'{package}/msg/A'
    ROSBAGS.register(get_types_from_msg(text, name))
    STORE.register(name, text, 'ros2msg')
    check_all_fields(name, random_batch(name))


# --- bytes that are not what they should be ------------------------------------------------------


def outcome(reader: FieldReader, payload: bytes) -> Any:
    try:
        return reader.read(payload)
    except MessageError as error:
        return error


def check_agreement(reader: FieldReader, raw: list[bytes]) -> list[Any]:
    """The column must hold what reading one by one gives, and the same complaints."""
    outcomes = [outcome(reader, payload) for payload in raw]
    errors = {i: str(e) for i, e in enumerate(outcomes) if isinstance(e, MessageError)}
    good = [(i, v) for i, v in enumerate(outcomes) if i not in errors and v is not None]
    # What follows a message in the buffer must not matter.
    for payloads in (packed_with_gaps(raw), Payloads.of(raw)):
        column = reader.column(payloads)
        assert column.errors == errors
        assert column.rows.tolist() == [row for row, value in good for _ in flat(value)]
        assert spelled(column.values) == spelled(flat([value for _, value in good]))
    return outcomes


@pytest.mark.parametrize('type_name', [
    'sensor_msgs/msg/Imu', 'sensor_msgs/msg/JointState', 'tf2_msgs/msg/TFMessage',
    'diagnostic_msgs/msg/DiagnosticArray', 'geometry_msgs/msg/PoseArray', 'sensor_msgs/msg/Joy',
])
def test_truncated_messages_are_never_misread(type_name: str) -> None:
    for whole in random_batch(type_name)[:2]:
        message = ROSBAGS.deserialize_cdr(whole, type_name)
        for path in leaf_paths(random.Random(1), type_name):
            reader = compile_field(STORE, type_name, path)
            value = spelled(expected(message, path.split('.')))
            outcomes = check_agreement(reader, [whole[:size] for size in range(len(whole) + 1)])
            assert {spelled(o) for o in outcomes if not isinstance(o, MessageError)} == {value}
            assert isinstance(outcomes[0], MessageError)
            assert path in str(outcomes[0]) and type_name in str(outcomes[0])


@pytest.mark.parametrize('type_name', TYPES)
def test_corrupt_messages_are_reported_or_read_alike(type_name: str) -> None:
    rng = random.Random(type_name)
    raw = [bytearray(payload) for payload in random_batch(type_name)]
    for payload in raw:
        for _ in range(rng.randint(1, 3)):
            payload[rng.randrange(len(payload))] = rng.choice([0, 1, 2, 127, 255])
    paths = leaf_paths(rng, type_name)
    for path in rng.sample(paths, min(8, len(paths))):
        reader = compile_field(STORE, type_name, path)
        check_agreement(reader, [bytes(payload) for payload in raw])
        if reader.is_array and '*' not in path:
            reader.lengths(packed_with_gaps([bytes(payload) for payload in raw]))


def test_says_what_is_broken_and_where() -> None:
    reader = compile_field(STORE, 'std_msgs/msg/Float64MultiArray', 'data')
    head = b'\0\1\0\0' + struct.pack('<II', 0, 0)  # no dimensions, no offset
    with pytest.raises(MessageError, match=r'Float64MultiArray, field data: byte 12: .*needed'):
        reader.read(head)
    with pytest.raises(MessageError, match=r'byte 20: 34359738360 bytes are needed, 8 are left'):
        reader.read(head + struct.pack('<I4xd', 0xFFFFFFFF, 1.0))
    with pytest.raises(MessageError, match='encapsulation is 0x0007; expected plain CDR'):
        reader.read(b'\0\7\0\0' + head[4:])
    text = compile_field(STORE, 'std_msgs/msg/String', 'data')
    with pytest.raises(MessageError, match='byte 8: this string cannot be decoded'):
        text.read(b'\0\1\0\0' + struct.pack('<I3s', 3, b'\xe9a\0'))


def test_lengths_mark_what_has_none() -> None:
    def message(*names: str) -> bytes:
        joints = random_message(random.Random(1), 'sensor_msgs/msg/JointState')
        joints.name = list(names)
        joints.position = np.arange(len(names), dtype=float)
        return bytes(ROSBAGS.serialize_cdr(joints, 'sensor_msgs/msg/JointState'))

    raw = [message(*'abcdefghijkl'[:n]) for n in range(2 * FEW)]
    raw[3] = raw[3][:40]
    expected_lengths = [-1 if n == 3 else min(n, 12) for n in range(2 * FEW)]
    for path in ('name', 'position'):
        reader = compile_field(STORE, 'sensor_msgs/msg/JointState', path)
        assert reader.lengths(Payloads.of(raw)).tolist() == expected_lengths
        assert reader.lengths(Payloads.of(raw[:4])).tolist() == expected_lengths[:4]


# --- encodings that rosbags does not have, or has differently ------------------------------------


def custom(name: str, text: str) -> TypeStore:
    store = TypeStore(workspace=False)
    store.register(name, text, 'ros2msg')
    return store


@pytest.mark.parametrize('order', '<>')
def test_wide_strings(order: str) -> None:
    # Measured: rosidl_typesupport_fastrtps writes u'h\u00e9\U0001F600' as a count of UTF-16 units
    # and one uint32 for each of them, without a terminator.
    def wide(text: str) -> bytes:
        units = np.frombuffer(text.encode('utf-16-le'), '<u2').astype(f'{order}u4')
        return struct.pack(f'{order}I', len(units)) + units.tobytes()

    store = custom('a/msg/A', 'uint8 x\nwstring<=9 s\nwstring[] t\nwstring[2] u\nuint16 z\n')
    smiley = 'h\u00e9\U0001f600'
    body = b'\7\0\0\0' + wide(smiley) + struct.pack(f'{order}I', 1) + wide('t') + wide('') + wide(
        'u') + struct.pack(f'{order}H', 515)
    raw = [(b'\0\1\0\0' if order == '<' else b'\0\0\0\0') + body] * FEW
    values = {'s': smiley, 't': ['t'], 't[0]': 't', 't[1]': None, 'u[*]': ['', 'u'], 'z': 515}
    for path, value in values.items():
        reader = compile_field(store, 'a/msg/A', path)
        assert check_agreement(reader, raw) == [value] * FEW
    assert compile_field(store, 'a/msg/A', 's').kind == 'string'
    lone = raw[0].replace(struct.pack(f'{order}I', 0xDE00), struct.pack(f'{order}I', 0x41))
    above = raw[0].replace(struct.pack(f'{order}I', 0xDE00), struct.pack(f'{order}I', 0x1F600))
    for broken in (lone, above):
        with pytest.raises(MessageError, match='cannot be decoded'):
            compile_field(store, 'a/msg/A', 's').read(broken)


def test_bytes_and_chars_are_unsigned() -> None:
    store = custom('a/msg/A', 'byte b\nchar c\nbyte[] bs\n')
    raw = [b'\0\1\0\0' + bytes([200, 255, 0, 0]) + struct.pack('<I2B', 2, 128, 255)] * FEW
    for path, value in {'b': 200, 'c': 255, 'bs[1]': 255}.items():
        assert check_agreement(compile_field(store, 'a/msg/A', path), raw) == [value] * FEW
    assert compile_field(store, 'a/msg/A', 'bs').read(raw[0]).tolist() == [128, 255]


def test_any_byte_but_zero_is_true() -> None:
    store = custom('a/msg/A', 'bool one\nbool[3] some\n')
    payload = b'\0\1\0\0\2\0\3\1'
    assert compile_field(store, 'a/msg/A', 'one').read(payload) is True
    some = compile_field(store, 'a/msg/A', 'some').read(payload)
    assert some.dtype == np.bool_ and some.tolist() == [False, True, True] and some.sum() == 2
    column = compile_field(store, 'a/msg/A', 'one').column(Payloads.of([payload] * FEW))
    assert column.values.dtype == np.bool_ and column.values.sum() == FEW


def test_long_doubles_and_empty_messages_are_skipped() -> None:
    # Fast CDR writes a long double as 16 bytes, aligned to 8.
    store = TypeStore(workspace=False)
    members = 'octet x; long double d; std_msgs::msg::Empty e; octet z;'
    idl = f'module a {{ module msg {{ struct A {{ {members} }}; }}; }};'
    store.register('a/msg/A', idl, 'ros2idl')
    payload = b'\0\1\0\0' + bytes(8) + bytes(range(16)) + b'\x50\x51'
    assert compile_field(store, 'a/msg/A', 'z').read(payload) == 0x51
    with pytest.raises(FieldPathError, match='"d" is a float128, which cannot be read'):
        compile_field(store, 'a/msg/A', 'd')


def test_negative_durations() -> None:
    reader = compile_field(STORE, 'visualization_msgs/msg/Marker', 'lifetime')
    marker = random_message(random.Random(1), 'visualization_msgs/msg/Marker')
    marker.lifetime.sec, marker.lifetime.nanosec = -2, 500_000_000
    raw = bytes(ROSBAGS.serialize_cdr(marker, 'visualization_msgs/msg/Marker'))
    assert (reader.kind, reader.is_array) == ('stamp', False)
    assert check_agreement(reader, [raw] * FEW) == [-1_500_000_000] * FEW


def test_strings_without_terminator_and_without_anything() -> None:
    reader = compile_field(STORE, 'std_msgs/msg/String', 'data')
    raw = [b'\0\1\0\0' + struct.pack('<I', len(t)) + t for t in (b'', b'ab', b'ab\0')] * FEW
    assert check_agreement(reader, raw) == ['', 'ab', 'ab'] * FEW


# --- what can be asked of a reader ---------------------------------------------------------------


def test_arrays_are_views_into_the_payload() -> None:
    scan = random_message(random.Random(1), 'sensor_msgs/msg/LaserScan')
    scan.ranges = np.arange(360, dtype=np.float32)
    for little in (True, False):
        raw = bytes(
            ROSBAGS.serialize_cdr(scan, 'sensor_msgs/msg/LaserScan', little_endian=little))
        ranges = compile_field(STORE, 'sensor_msgs/msg/LaserScan', 'ranges').read(raw)
        assert np.shares_memory(ranges, np.frombuffer(raw, np.uint8))
        assert ranges.dtype == np.dtype('<f4' if little else '>f4')
        assert ranges.tolist() == list(range(360))


def test_sequences_of_messages_have_only_lengths() -> None:
    reader = compile_field(STORE, 'geometry_msgs/msg/PoseArray', 'poses')
    raw = random_batch('geometry_msgs/msg/PoseArray')
    counts = [len(ROSBAGS.deserialize_cdr(r, 'geometry_msgs/msg/PoseArray').poses) for r in raw]
    assert (reader.kind, reader.is_array) == ('message', True)
    assert reader.lengths(Payloads.of(raw)).tolist() == counts
    with pytest.raises(FieldPathError, match=r'only be counted; read poses\[\*\]\.position'):
        reader.read(raw[0])


@pytest.mark.parametrize(('path', 'kind', 'is_array'), [
    ('header.stamp', 'stamp', False), ('header.frame_id', 'string', False),
    ('status', 'message', True), ('status[*].level', 'number', True),
    ('status[0].values[0].key', 'string', False), ('status[*].values', 'message', True),
])
def test_kinds(path: str, kind: str, is_array: bool) -> None:
    if path == 'status[*].values':
        with pytest.raises(FieldPathError, match=r'read values\[\*\]\.key'):
            compile_field(STORE, 'diagnostic_msgs/msg/DiagnosticArray', path)
        return
    reader = compile_field(STORE, 'diagnostic_msgs/msg/DiagnosticArray', path)
    assert (reader.kind, reader.is_array) == (kind, is_array)


@pytest.mark.parametrize(('type_name', 'path', 'complaint'), [
    ('sensor_msgs/msg/Imu', 'linear_aceleration.x',
     'Imu has no field "linear_aceleration"; it has header, .*did you mean "linear_acceleration"'),
    ('sensor_msgs/msg/Imu', 'header.stamp.nsec', 'Time has no field "nsec"; it has sec, nanosec'),
    ('sensor_msgs/msg/Imu', 'header', '"header" is a std_msgs/msg/Header, not one value; its '
     'fields are stamp, frame_id'),
    ('sensor_msgs/msg/Imu', 'header[0].stamp', r'"header\[?.*not a sequence'),
    ('sensor_msgs/msg/Imu', 'orientation.x.y', '"x" is a float64, which has no field "y"'),
    ('sensor_msgs/msg/Imu', 'orientation_covariance[9]', 'at most 9 elements'),
    ('sensor_msgs/msg/LaserScan', 'ranges[4294967295]', 'at most 4294967295 elements'),
    ('sensor_msgs/msg/LaserScan', 'ranges[-1]', 'not a field name with or without'),
    ('sensor_msgs/msg/LaserScan', '', 'not a field name'),
    ('sensor_msgs/msg/LaserScan', 'ranges.x', 'is a sequence; write ranges'),
    ('geometry_msgs/msg/PoseArray', 'poses.position', r'write poses\[0\] or poses\[\*\]'),
    ('std_msgs/msg/Empty', 'structure', 'it has none'),
])
def test_wrong_paths(type_name: str, path: str, complaint: str) -> None:
    with pytest.raises(FieldPathError, match=complaint) as caught:
        compile_field(STORE, type_name, path)
    assert str(caught.value).startswith(f'{type_name}: field path "{path}": ')


@pytest.mark.parametrize('path', ['angle_min', 'header.frame_id', 'header.stamp'])
def test_what_is_no_array_has_no_length(path: str) -> None:
    reader = compile_field(STORE, 'sensor_msgs/msg/LaserScan', path)
    with pytest.raises(FieldPathError, match='has no length'):
        reader.lengths(Payloads.of([]))


def test_empty_batch() -> None:
    column = compile_field(STORE, 'sensor_msgs/msg/LaserScan', 'ranges').column(Payloads.of([]))
    assert (column.count, column.values.dtype, column.rows.dtype) == (0, np.float32, np.int64)


def test_a_schema_of_absurd_size_is_refused() -> None:
    store = custom('a/msg/A', 'float64[4000000000] a\nuint8 b\n')
    with pytest.raises(FieldPathError, match='too long to read'):
        compile_field(store, 'a/msg/A', 'b')
