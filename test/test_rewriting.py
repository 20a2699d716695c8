"""Strings and sequences of another length: the bytes that rosbags writes for them."""

from __future__ import annotations

import random
import zlib
from typing import Any

import numpy as np
import pytest
from rosbags.interfaces import Nodetype
from rosbags.typesys import Stores, get_typestore

from robot_qa.errors import MessageError
from robot_qa.messages.cdr import Message
from robot_qa.messages.layout import NUMBER_SIZES
from robot_qa.messages.typestore import TypeStore
from robot_qa.scenario.rewriting import Replacement, rewritten
from samples import START, TYPES, scan

SCAN, TF = 'sensor_msgs/msg/LaserScan', 'tf2_msgs/msg/TFMessage'
OURS = TypeStore(workspace=False)
# One of its own: other tests register more types in that of the samples.
STORE = get_typestore(Stores.ROS2_KILTED)
# rosbags has no wide strings, and the newest distribution no actionlib_msgs.
WITH_STRINGS = [
    name for name, (_, fields) in sorted(STORE.fielddefs.items())
    if 'string' in str(fields) and 'wstring' not in str(fields) and 'actionlib' not in name
]


def random_member(rng: random.Random, desc: Any) -> Any:
    if desc[0] == Nodetype.NAME:
        return random_message(rng, desc[1])
    if desc[0] != Nodetype.BASE:
        item, size = desc[1]
        count = size if desc[0] == Nodetype.ARRAY else rng.randint(0, min(2, size or 2))
        values = [random_member(rng, item) for _ in range(count)]
        if item[0] == Nodetype.NAME or item[1][0] == 'string':
            return values
        return np.array(values, {'byte': 'uint8', 'char': 'uint8'}.get(item[1][0], item[1][0]))
    if desc[1][0] == 'string':
        return 'x' * rng.randint(0, 9)
    return bool(rng.getrandbits(1)) if desc[1][0] == 'bool' else rng.randint(0, 100)


def random_message(rng: random.Random, type_name: str) -> Any:
    return TYPES[type_name](*(random_member(rng, d) for _, d in STORE.fielddefs[type_name][1]))


def set_strings(value: Any, text: str) -> None:
    """Change every string of a message in place."""
    for name in [name for name in value.__dataclass_fields__ if not name.startswith('__')]:
        member = getattr(value, name)
        if isinstance(member, str):
            object.__setattr__(value, name, text)
        elif isinstance(member, list) and isinstance(next(iter(member), None), str):
            member[:] = [text] * len(member)
        else:
            for part in member if isinstance(member, list) else [member]:
                if hasattr(part, '__dataclass_fields__'):
                    set_strings(part, text)


def string_positions(raw: bytes, type_name: str) -> list[int]:
    found: list[int] = []

    def behind(desc: Any, position: int) -> int:
        if desc[0] == Nodetype.NAME:
            for _, member in STORE.fielddefs[desc[1]][1]:
                position = behind(member, position)
            return position
        if desc[0] != Nodetype.BASE:
            item, count = desc[1]
            if desc[0] == Nodetype.SEQUENCE:
                position = (position + 3) & -4
                count = Message(raw, '').count(position)
                position += 4
            for _ in range(count):
                position = behind(item, position)
            return position
        if desc[1][0] == 'string':
            position = (position + 3) & -4
            found.append(position)
            return position + 4 + Message(raw, '').count(position)
        size = NUMBER_SIZES[desc[1][0]]
        return ((position + size - 1) & -size) + size

    behind((Nodetype.NAME, type_name), 0)
    return found


@pytest.mark.parametrize('order', ['little', 'big'])
@pytest.mark.parametrize('type_name', WITH_STRINGS)
def test_strings_of_any_length_in_any_type(type_name: str, order: str) -> None:
    rng = random.Random(zlib.crc32(type_name.encode()))

    def written(value: Any) -> bytes:
        return bytes(STORE.serialize_cdr(value, type_name, little_endian=order == 'little'))

    for text in ('', 'yyy', 'a longer string'):
        value = random_message(rng, type_name)
        raw = written(value)
        new = dict.fromkeys(string_positions(raw, type_name), Replacement.text(text))
        assert rewritten(OURS, type_name, raw, {}) == raw
        set_strings(value, text)
        assert rewritten(OURS, type_name, raw, new) == written(value)


def test_only_what_was_asked_for() -> None:
    value = TYPES['sensor_msgs/msg/JointState'](
        header=TYPES['std_msgs/msg/Header'](
            stamp=TYPES['builtin_interfaces/msg/Time'](sec=1, nanosec=2), frame_id='base'),
        name=['a', 'bc', 'def'], position=np.array([1.0, 2.0]), velocity=np.array([]),
        effort=np.array([3.0]))
    raw = bytes(STORE.serialize_cdr(value, value.__msgtype__))
    places = string_positions(raw, value.__msgtype__)
    value.name[1] = 'elbow_joint'
    new = {places[2]: Replacement.text('elbow_joint')}
    expected = bytes(STORE.serialize_cdr(value, value.__msgtype__))
    assert rewritten(OURS, value.__msgtype__, raw, new) == expected


@pytest.mark.parametrize('ranges', [[], [1.5], [1.0, 2.0, 3.0, 4.0, 5.0]])
def test_sequences_of_numbers(ranges: list[float]) -> None:
    raw = scan(START)
    # Stamp, frame (4 + 11 bytes, padded to 24), seven floats.
    position = 8 + 16 + 7 * 4
    new = {position: Replacement(len(ranges), np.array(ranges, '<f4').tobytes())}
    assert rewritten(OURS, SCAN, raw, new) == scan(START, ranges)


def test_what_follows_the_last_member_stays() -> None:
    assert rewritten(OURS, SCAN, scan(START) + b'ab', {}) == scan(START) + b'ab'


@pytest.mark.parametrize('cut', [1, 5, 20, 60])
def test_short_messages_are_not_rewritten(cut: int) -> None:
    with pytest.raises(MessageError):
        rewritten(OURS, SCAN, scan(START)[:-cut], {})


def test_a_string_that_is_cut_off_is_not_replaced() -> None:
    raw = bytes(STORE.serialize_cdr(TYPES['std_msgs/msg/String']('hello'), 'std_msgs/msg/String'))
    new = {0: Replacement.text('hi')}
    assert len(rewritten(OURS, 'std_msgs/msg/String', raw, new)) == 4 + 4 + 3
    with pytest.raises(MessageError):
        rewritten(OURS, 'std_msgs/msg/String', raw[:-1], new)
