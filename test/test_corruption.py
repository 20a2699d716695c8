"""Wrong content in messages of any type: what rosbags would write, and nothing else changed."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from robot_qa.errors import FieldPathError, MessageError, RobotQaError
from robot_qa.messages.typestore import TypeStore
from robot_qa.scenario.corruption import (
    BitErrors,
    FlipBits,
    FrameId,
    ShiftStamps,
    StaleStamps,
    Truncate,
)
from robot_qa.scenario.field_faults import AddBias, AddNoise, SetValue
from robot_qa.scenario.transforms import ContentFault, sometimes
from samples import START, STORE, TYPES, S, header, imu, scan, serialized

SCAN, IMU, TF = 'sensor_msgs/msg/LaserScan', 'sensor_msgs/msg/Imu', 'tf2_msgs/msg/TFMessage'
OURS = TypeStore(workspace=False)
LONG = (0.5, math.inf, math.nan, *np.linspace(1.0, 9.0, 997))


def tf(*stamps: int) -> bytes:
    geometry = 'geometry_msgs/msg'
    return serialized(TYPES[TF](transforms=[
        TYPES[f'{geometry}/TransformStamped'](
            header=header(stamp, f'frame_{i}' * i), child_frame_id='child',
            transform=TYPES[f'{geometry}/Transform'](
                translation=TYPES[f'{geometry}/Vector3'](x=1.0, y=2.0, z=float(i)),
                rotation=TYPES[f'{geometry}/Quaternion'](x=0.0, y=0.0, z=0.0, w=1.0)),
        ) for i, stamp in enumerate(stamps)
    ]))


def joints(*positions: float) -> bytes:
    none = np.array([])
    return serialized(TYPES['sensor_msgs/msg/JointState'](
        header=header(START), name=['a', 'bc'], position=np.array(positions), velocity=none,
        effort=none))


def number(kind: str, *values: float) -> bytes:
    """A std_msgs array of numbers."""
    layout = TYPES['std_msgs/msg/MultiArrayLayout'](dim=[], data_offset=0)
    data = np.array(values, kind.removesuffix('MultiArray').lower())
    return serialized(TYPES[f'std_msgs/msg/{kind}'](layout=layout, data=data))


def applied(
    fault: ContentFault, type_name: str, *messages: bytes, seed: int = 1,
) -> list[bytes]:
    """The results, the same for the same seed."""
    results = []
    for _ in range(2):
        transform = fault.compiled(OURS, type_name)
        generator = np.random.default_rng(seed)
        results.append([transform(message, generator) for message in messages])
    assert results[0] == results[1]
    return results[0]


def read(message: bytes, type_name: str) -> Any:
    return STORE.deserialize_cdr(message, type_name)


def edited(message: bytes, type_name: str, edit: Callable[[Any], None]) -> bytes:
    """What rosbags writes when one member is changed."""
    decoded = copy.deepcopy(read(message, type_name))
    edit(decoded)
    return serialized(decoded)


def big_endian(message: bytes, type_name: str) -> bytes:
    return bytes(STORE.serialize_cdr(read(message, type_name), type_name, little_endian=False))


# --- frames and stamps ---------------------------------------------------------------------------


@pytest.mark.parametrize('frame', ['', 'a', 'map', 'a_much_longer_frame', 'lidar_lin2', 'Gefäß'])
@pytest.mark.parametrize('type_name, message', [
    (SCAN, lambda frame: scan(START, frame=frame)),
    (IMU, lambda frame: edited(imu(START), IMU, lambda m: setattr(m.header, 'frame_id', frame))),
])
def test_frame_id(type_name: str, message: Callable[[str], bytes], frame: str) -> None:
    fault = FrameId(frame)
    assert applied(fault, type_name, message('lidar_link')) == [message(frame)]
    big = big_endian(message('lidar_link'), type_name)
    assert applied(fault, type_name, big) == [big_endian(message(frame), type_name)]


def test_frame_ids_at_another_path() -> None:
    def edit(message: Any) -> None:
        for transform in message.transforms:
            transform.child_frame_id = 'other'

    before = tf(START, START + 1, START + 2)
    fault = FrameId('other', 'transforms[*].child_frame_id')
    assert applied(fault, TF, before, tf()) == [edited(before, TF, edit), tf()]


def test_stale_stamps() -> None:
    later = [scan(START + i * S, [float(i)]) for i in range(3)]
    assert applied(StaleStamps(), SCAN, *later) == [scan(START, [float(i)]) for i in range(3)]
    fault = StaleStamps('transforms[*].header.stamp')
    out = applied(fault, TF, tf(), tf(START, START + 5), tf(START + S))
    assert out == [tf(), tf(START, START), tf(START)]


@pytest.mark.parametrize('offset', [1, -1, 1_500_000_000, -S, -2 * START])
def test_stamp_offset(offset: int) -> None:
    before = [scan(START), scan(START + 999_999_999)]
    after = [scan(START + offset), scan(START + offset + 999_999_999)]
    assert applied(ShiftStamps(offset), SCAN, *before) == after
    big = [big_endian(message, SCAN) for message in before]
    assert applied(ShiftStamps(offset), SCAN, *big) == [big_endian(m, SCAN) for m in after]


def test_stamp_drift() -> None:
    hour = 3600 * S
    out = applied(ShiftStamps(7, 50.0), SCAN, *(scan(START + i * hour) for i in range(3)))
    # 50 ppm of an hour are 180 ms.
    assert out == [scan(START + 7 + i * (hour + 180_000_000)) for i in range(3)]
    back = applied(ShiftStamps(0, -20.0), SCAN, scan(START), scan(START + S))
    assert back == [scan(START), scan(START + S - 20_000)]


def test_stamps_stay_within_their_type() -> None:
    out = applied(ShiftStamps(1 << 62), SCAN, scan(START))
    assert read(out[0], SCAN).header.stamp.sec == (1 << 31) - 1


# --- bits and length -----------------------------------------------------------------------------


def differing_bits(first: bytes, second: bytes) -> np.ndarray:
    assert len(first) == len(second)
    different = np.frombuffer(first, np.uint8) ^ np.frombuffer(second, np.uint8)
    return np.flatnonzero(np.unpackbits(different, bitorder='little'))


@pytest.mark.parametrize('count', [0, 1, 7, 500])
def test_flipped_bits(count: int) -> None:
    message = scan(START, LONG)
    one, two = applied(FlipBits(count), SCAN, message, message)
    assert len(differing_bits(message, one)) == count
    assert (one == two) == (count == 0), 'the same bits in every message'
    assert (applied(FlipBits(count), SCAN, message, seed=2) == [one]) == (count == 0)
    assert one[:4] == message[:4]


def test_any_bit_may_flip() -> None:
    short = serialized(TYPES['std_msgs/msg/UInt16'](data=7))
    kind = 'std_msgs/msg/UInt16'
    flipped = [differing_bits(short, m) for m in applied(FlipBits(1), kind, *[short] * 300)]
    assert set(np.concatenate(flipped).tolist()) == set(range(32, 48))
    [all_flipped] = applied(FlipBits(99), kind, short)
    assert differing_bits(short, all_flipped).tolist() == list(range(32, 48))


def test_bit_errors() -> None:
    message = scan(START, LONG)
    bits = 8 * (len(message) - 4)
    out = applied(BitErrors(0.01), SCAN, *[message] * 20)
    counts = [len(differing_bits(message, m)) for m in out]
    expected = bits * 20 * 0.01
    assert abs(sum(counts) - expected) < 5 * math.sqrt(expected)
    assert len(set(counts)) > 5
    assert applied(BitErrors(0.0), SCAN, message) == [message]
    assert len(differing_bits(message, applied(BitErrors(1.0), SCAN, message)[0])) == bits


def test_truncation() -> None:
    message = scan(START)
    assert applied(Truncate(5), SCAN, message) == [message[:-5]]
    assert applied(Truncate(10_000), SCAN, message) == [message[:4]]


# --- numbers -------------------------------------------------------------------------------------


@pytest.mark.parametrize('value', [math.nan, math.inf, -math.inf, 2.5])
def test_constants(value: float) -> None:
    before = imu(START)
    path = 'linear_acceleration.z'
    after = edited(before, IMU, lambda m: setattr(m.linear_acceleration, 'z', value))
    assert after != before
    assert applied(SetValue(path, value), IMU, before) == [after]
    big = applied(SetValue(path, value), IMU, big_endian(before, IMU))
    assert big == [big_endian(after, IMU)]
    assert applied(SetValue('ranges', value), SCAN, scan(START)) == [scan(START, [value] * 3)]
    assert applied(SetValue('ranges[1]', value), SCAN, scan(START)) == [
        scan(START, [1.0, value, 3.0])]
    assert applied(SetValue('ranges[3]', value), SCAN, scan(START)) == [scan(START)]
    assert applied(SetValue('ranges', value), SCAN, scan(START, [])) == [scan(START, [])]
    assert applied(SetValue('position[*]', value), 'sensor_msgs/msg/JointState', joints(1, 2)) == [
        joints(value, value)]


def test_a_field_of_every_message_in_a_sequence() -> None:
    def edit(message: Any) -> None:
        for transform in message.transforms:
            transform.transform.translation.x = math.nan

    before = tf(START, START, START)
    fault = SetValue('transforms[*].transform.translation.x', math.nan)
    assert applied(fault, TF, before) == [edited(before, TF, edit)]


def test_a_share_of_the_elements() -> None:
    # A NaN with a payload of its own, to see that what is not chosen keeps its bits.
    odd = np.array([0x7FA00001], np.uint32).view(np.float32)
    ranges = np.concatenate([np.ones(20_000, np.float32), odd])
    before = scan(START, ranges)
    one, two = applied(SetValue('ranges', 5.0, share=0.2), SCAN, before, before)
    changed = read(one, SCAN).ranges == 5.0
    assert abs(changed.mean() - 0.2) < 5 * math.sqrt(0.16 / 20_000)
    assert one != two
    assert one == scan(START, np.where(changed, np.float32(5.0), ranges))
    assert applied(SetValue('ranges', 5.0, share=0.0), SCAN, before) == [before]
    hit = [m != imu(START) for m in applied(
        SetValue('linear_acceleration.z', 0.0, share=0.3), IMU, *[imu(START)] * 2000)]
    assert abs(np.mean(hit) - 0.3) < 5 * math.sqrt(0.21 / 2000)


@pytest.mark.filterwarnings('error')
def test_bias() -> None:
    out = applied(AddBias('linear_acceleration.z', -0.25), IMU, imu(START, z=9.75))
    assert out == [imu(START, z=9.5)]
    # The first is a signalling NaN, which numpy warns of when it computes with it.
    strange = np.array([0x7FA00001, 0x7F800000, 0xFF800000], np.uint32).view(np.float32)
    before = scan(START, np.concatenate([strange, np.float32([1.0])]))
    out = applied(AddBias('ranges', 0.5), SCAN, before)
    assert out == [scan(START, np.concatenate([strange, np.float32([1.5])]))]


def test_noise() -> None:
    before = scan(START, [2.0] * 20_000)
    noisy = applied(AddNoise('ranges', 0.1), SCAN, before, before)
    one, two = (read(message, SCAN).ranges for message in noisy)
    noise = one.astype(float) - 2.0
    assert abs(noise.mean()) < 5 * 0.1 / math.sqrt(20_000)
    assert abs(noise.std() / 0.1 - 1) < 0.03
    assert abs(np.corrcoef(one, two)[0, 1]) < 0.05
    # The share that a normal distribution has within one standard deviation.
    assert abs(np.mean(np.abs(noise) < 0.1) - 0.6827) < 0.02
    assert applied(AddNoise('ranges', 0.0), SCAN, before) == [before]


@pytest.mark.parametrize('kind, before, bias, after', [
    ('UInt8MultiArray', [0, 100, 250], 10.4, [10, 110, 255]),
    ('Int8MultiArray', [-128, 0, 127], -3.0, [-128, -3, 124]),
    ('Int64MultiArray', [2**62 + 1, 2**63 - 2, -2**63], 5.0, [2**62 + 6, 2**63 - 1, 5 - 2**63]),
    ('UInt64MultiArray', [0, 2**64 - 1], -1.0, [0, 2**64 - 2]),
    ('Int32MultiArray', [5], 1e300, [2**31 - 1]),
    ('Float32MultiArray', [1.0], 1e300, [math.inf]),
])
def test_integers_stay_within_their_type(
    kind: str, before: list[float], bias: float, after: list[float],
) -> None:
    out = applied(AddBias('data', bias), f'std_msgs/msg/{kind}', number(kind, *before))
    assert out == [number(kind, *after)]


def test_bools() -> None:
    kind = 'std_msgs/msg/Bool'
    true, false = (serialized(TYPES[kind](data=value)) for value in (True, False))
    assert applied(SetValue('data', 1), kind, false) == [true]
    assert applied(SetValue('data', 0), kind, true) == [false]


def test_sometimes() -> None:
    transform = sometimes(Truncate(1).compiled(OURS, SCAN), 0.25)
    generator = np.random.default_rng(3)
    message = scan(START)
    cut = [transform(message, generator) for _ in range(4000)]
    assert set(cut) == {message, message[:-1]}
    assert abs(np.mean([m != message for m in cut]) - 0.25) < 5 * math.sqrt(0.1875 / 4000)
    with pytest.raises(RobotQaError, match='probability'):
        sometimes(transform, 2.0)


@pytest.mark.parametrize('fault, type_name, error, complaint', [
    (SetValue('rangs', 1.0), SCAN, FieldPathError, 'did you mean "ranges"'),
    (FrameId('map'), 'std_msgs/msg/Bool', FieldPathError, 'no field "header"'),
    (FrameId('map', 'ranges'), SCAN, RobotQaError, 'ranges .* is not one string but a number'),
    (FrameId('map', 'name'), 'sensor_msgs/msg/JointState', RobotQaError, 'not one string'),
    (StaleStamps('header.frame_id'), SCAN, RobotQaError, 'is a string, not a time'),
    (ShiftStamps(1, path='header.stamp.sec'), SCAN, RobotQaError, 'is a number, not a time'),
    (SetValue('header.frame_id', 1.0), SCAN, RobotQaError, 'is a string; this fault is for'),
    (SetValue('header.stamp', 1.0), SCAN, RobotQaError, 'stamps have faults of their own'),
    (SetValue('transforms', 1.0), TF, RobotQaError, 'is a message'),
    (SetValue('data', math.nan), 'std_msgs/msg/Int32', RobotQaError, 'int32, which cannot be nan'),
    (SetValue('data', 256), 'std_msgs/msg/UInt8', RobotQaError, 'uint8, which cannot be 256'),
    (SetValue('data', 0.5), 'std_msgs/msg/UInt8', RobotQaError, 'uint8, which cannot be 0.5'),
    (SetValue('data', 2), 'std_msgs/msg/Bool', RobotQaError, 'a bool, which cannot be 2'),
    (SetValue('data', 1e39), 'std_msgs/msg/Float32', RobotQaError, 'float32'),
    (SetValue('ranges', 1.0, 1.5), SCAN, RobotQaError, 'share is 1.5'),
    (AddBias('data', 1.0), 'std_msgs/msg/Bool', RobotQaError, 'is a bool'),
    (AddBias('ranges', math.nan), SCAN, RobotQaError, 'to make a field NaN'),
    (AddNoise('ranges', -1.0), SCAN, RobotQaError, 'stddev is -1'),
    (FlipBits(-1), SCAN, RobotQaError, 'count is -1'),
    (BitErrors(1.5), SCAN, RobotQaError, 'rate is 1.5'),
    (Truncate(0), SCAN, RobotQaError, 'size is 0'),
])
def test_what_does_not_fit_is_refused(
    fault: ContentFault, type_name: str, error: type[Exception], complaint: str,
) -> None:
    with pytest.raises(error, match=complaint):
        fault.compiled(OURS, type_name)


@pytest.mark.parametrize('fault', [
    SetValue('ranges', 1.0), ShiftStamps(1), FrameId('x'), StaleStamps(),
], ids=repr)
def test_short_messages_are_an_error(fault: ContentFault) -> None:
    transform = fault.compiled(OURS, SCAN)
    for size in (3, 10, *([-5] if isinstance(fault, SetValue) else [])):
        with pytest.raises(MessageError):
            transform(scan(START)[:size], np.random.default_rng(0))
