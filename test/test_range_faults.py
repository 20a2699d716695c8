"""Spoiled distances in scans and clouds: how they change, and that nothing else does."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import numpy as np
import pytest

from robot_qa.errors import MessageError, RobotQaError
from robot_qa.messages.typestore import TypeStore
from robot_qa.scenario.corruption import FlipBits
from robot_qa.scenario.range_faults import BlockedSector, GhostReturns, RangeDropout, RangeNoise
from robot_qa.scenario.transforms import ContentFault
from samples import START, STORE, TYPES, header, serialized

SCAN, CLOUD = 'sensor_msgs/msg/LaserScan', 'sensor_msgs/msg/PointCloud2'
OURS = TypeStore(workspace=False)
BEAMS = 7200
GAP = 2
STRANGE = np.array([math.nan, math.inf, -math.inf, 0.0, 0.04, 31.0], np.float32)
FAULTS: list[ContentFault] = [
    RangeDropout(0.2), RangeNoise(0.05), GhostReturns(0.1, 0.5, 8.0), BlockedSector(0.0, 60.0),
    BlockedSector(180.0, 60.0, 0.1),
]


def scan(ranges: np.ndarray, start: float = -math.pi) -> bytes:
    """Beams all around, range limits 0.05 m and 30 m."""
    return serialized(TYPES[SCAN](
        header=header(START), angle_min=start, angle_max=start + 2 * math.pi,
        angle_increment=2 * math.pi / len(ranges), time_increment=0.0, scan_time=0.1,
        range_min=0.05, range_max=30.0, ranges=ranges.astype(np.float32),
        intensities=np.arange(len(ranges), dtype=np.float32)))


def bearings(count: int, start: float = -math.pi) -> np.ndarray:
    return start + 2 * math.pi / count * np.arange(count)


def cloud(
    points: np.ndarray, dtype: str = 'f4', big: bool = False, *, padding: int = 5,
    dense: bool = True, names: str = 'xyz',
) -> bytes:
    """Points (height, width, 3), each behind an intensity, with bytes between and behind them."""
    order = '>' if big else '<'
    height, width = points.shape[:2]
    size = int(dtype[1])
    step = 4 + GAP + 3 * size
    kind = np.dtype({'names': ['i', *'xyz'], 'itemsize': step,
                     'formats': [f'{order}f4'] + 3 * [f'{order}{dtype}'],
                     'offsets': [0, *(4 + GAP + np.arange(3) * size).tolist()]})
    row = width * step + padding
    data = np.full((height, row), 0xCD, np.uint8)
    stored = np.ndarray((height, width), kind, data, 0, (row, step))
    stored['i'] = np.arange(height * width).reshape(height, width)
    for axis, values in zip('xyz', np.moveaxis(points, -1, 0), strict=True):
        stored[axis] = values
    field, datatype = TYPES['sensor_msgs/msg/PointField'], {'f4': 7, 'f8': 8}[dtype]
    fields = [field(name='intensity', offset=0, datatype=7, count=1)]
    fields += [field(name=name, offset=4 + GAP + i * size, datatype=datatype, count=1)
               for i, name in enumerate(names)]
    return serialized(TYPES[CLOUD](
        header=header(START), height=height, width=width, fields=fields, is_bigendian=big,
        point_step=step, row_step=row, data=data.ravel(), is_dense=dense))


def points_of(message: bytes, dtype: str = 'f4', big: bool = False) -> np.ndarray:
    decoded = STORE.deserialize_cdr(message, CLOUD)
    size = int(dtype[1])
    shape = (decoded.height, decoded.width, 3)
    strides = (decoded.row_step, decoded.point_step, size)
    kind = f'{">" if big else "<"}{dtype}'
    return np.ndarray(shape, kind, decoded.data, 4 + GAP, strides).copy()


def applied(fault: ContentFault, type_name: str, *messages: bytes, seed: int = 1) -> list[bytes]:
    results = []
    for _ in range(2):
        transform = fault.compiled(OURS, type_name)
        generator = np.random.default_rng(seed)
        results.append([transform(message, generator) for message in messages])
    assert results[0] == results[1], 'the same seed gave other bytes'
    return results[0]


def scanned(fault: ContentFault, ranges: np.ndarray, **where: float) -> np.ndarray:
    """The new ranges; nothing else may have changed."""
    [out] = applied(fault, SCAN, scan(ranges, **where))
    after = STORE.deserialize_cdr(out, SCAN).ranges
    assert out == scan(after, **where)
    return after.astype(float)


def some_points(count: int = 4000) -> np.ndarray:
    return np.random.default_rng(8).uniform(-9.0, 9.0, (1, count, 3)).astype(np.float32)


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize('fault', FAULTS, ids=repr)
def test_scans(fault: ContentFault) -> None:
    # The odd NaN has a payload, so that a copy of it is not the same bits.
    odd = np.array([0x7FA00001], np.uint32).view(np.float32)
    ranges = np.concatenate([np.full(400, 5.0, np.float32), odd, STRANGE, np.ones(9, np.float32)])
    message = scan(ranges)
    one, two = applied(fault, SCAN, message, message)
    assert one != message
    assert (one == two) == isinstance(fault, BlockedSector)
    after = STORE.deserialize_cdr(one, SCAN).ranges
    assert one == scan(after)
    same = after.view(np.uint32) == ranges.view(np.uint32)
    assert 0.0 < np.mean(same) < 1.0 or isinstance(fault, RangeNoise)
    if not isinstance(fault, BlockedSector):
        strange = slice(400, 407)
        assert (same[strange] | np.isposinf(ranges[strange])).all()
    empty = scan(np.array([1.0]))
    empty = serialized(TYPES[SCAN](
        **{**vars(STORE.deserialize_cdr(empty, SCAN)), 'ranges': np.array([], np.float32)}))
    assert applied(fault, SCAN, empty) == [empty]


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize('dtype', ['f4', 'f8'])
@pytest.mark.parametrize('big', [False, True])
@pytest.mark.parametrize('fault', FAULTS, ids=repr)
def test_clouds(fault: ContentFault, big: bool, dtype: str) -> None:
    before = some_points(600).reshape(20, 30, 3).astype(dtype)
    before[3, 4:7] = [[math.nan] * 3, [math.inf, 0, -math.inf], [0, 0, 0]]
    [out] = applied(fault, CLOUD, cloud(before, dtype, big))
    after = points_of(out, dtype, big)
    moved = (after != before).any(axis=2)
    dense = STORE.deserialize_cdr(out, CLOUD).is_dense
    new_nan = np.isnan(after).all(axis=2) & ~np.isnan(before).any(axis=2)
    assert out == cloud(after, dtype, big, dense=not new_nan.any()), 'more than points changed'
    assert dense == (not new_nan.any())
    np.testing.assert_array_equal(after[3, 4:7], before[3, 4:7])
    assert 5 < moved.sum() <= 599
    # Points stay on their beams.
    kept = moved & ~np.isnan(after).any(axis=2) & (np.linalg.norm(after, axis=2) > 0)
    rays = [p[kept] / np.linalg.norm(p[kept], axis=1, keepdims=True) for p in (before, after)]
    np.testing.assert_allclose(*rays, atol=1e-5)


def test_dropout() -> None:
    after = scanned(RangeDropout(0.2), np.full(BEAMS, 4.0))
    assert set(after) == {4.0, math.inf}
    assert abs(np.mean(np.isinf(after)) - 0.2) < 5 * math.sqrt(0.16 / BEAMS)
    assert (scanned(RangeDropout(1.0), np.full(9, 4.0)) == math.inf).all()
    assert (scanned(RangeDropout(0.0), np.full(9, 4.0)) == 4.0).all()
    points = some_points()
    lost = np.isnan(points_of(applied(RangeDropout(0.3), CLOUD, cloud(points))[0])).all(axis=2)
    assert abs(lost.mean() - 0.3) < 5 * math.sqrt(0.21 / 4000)


@pytest.mark.parametrize('fault', [
    RangeDropout(1.0), RangeNoise(1.0), GhostReturns(1.0, 1.0, 9.0),
])
def test_what_is_no_return_stays(fault: ContentFault) -> None:
    # A ghost may appear where nothing was in reach.
    strange = STRANGE[STRANGE != math.inf] if isinstance(fault, GhostReturns) else STRANGE
    assert applied(fault, SCAN, scan(strange)) == [scan(strange)]
    points = np.array([[[math.nan] * 3, [math.inf, 0.0, 1.0], [0.0] * 3, [1.0, -math.inf, 0.0]]])
    assert applied(fault, CLOUD, cloud(points)) == [cloud(points)]


def test_noise() -> None:
    noise = scanned(RangeNoise(0.05), np.full(BEAMS, 4.0)) - 4.0
    assert abs(noise.mean()) < 5 * 0.05 / math.sqrt(BEAMS)
    assert abs(noise.std() / 0.05 - 1) < 0.05
    points = some_points()
    moved = points_of(applied(RangeNoise(0.05), CLOUD, cloud(points))[0])
    noise = np.linalg.norm(moved, axis=2) - np.linalg.norm(points, axis=2)
    assert abs(noise.mean()) < 5 * 0.05 / math.sqrt(4000)
    assert abs(noise.std() / 0.05 - 1) < 0.06


def test_noise_stays_within_what_the_sensor_measures() -> None:
    after = scanned(RangeNoise(1.0), np.tile([0.05, 30.0], 500))
    assert after.min() == pytest.approx(0.05)
    assert after.max() == 30.0
    assert abs(np.mean(after == np.float32(0.05)) - 0.25) < 0.08


def test_ghosts() -> None:
    ranges = np.tile([10.0, 3.0, 0.8, math.inf], BEAMS // 4)
    after = scanned(GhostReturns(0.25, near_m=1.0, far_m=6.0), ranges)
    far, near, nearer, none = (after[i::4] for i in range(4))
    assert (nearer == np.float32(0.8)).all(), 'a ghost behind a wall'
    for beams, real, limit in ((far, 10.0, 6.0), (near, 3.0, 3.0), (none, math.inf, 6.0)):
        ghosts = beams[beams != real]
        assert abs(len(ghosts) / len(beams) - 0.25) < 5 * math.sqrt(0.1875 / len(beams))
        assert 1.0 <= ghosts.min() < 1.1
        assert limit - 0.1 < ghosts.max() <= limit
        # Uniform: the middle, give or take.
        spread = (limit - 1.0) / math.sqrt(12 * len(ghosts))
        assert abs(ghosts.mean() - (1.0 + limit) / 2) < 5 * spread


def test_ghosts_stay_within_what_the_scan_can_hold() -> None:
    after = scanned(GhostReturns(1.0, 0.0, 1000.0), np.full(BEAMS, math.inf))
    assert after.min() >= np.float32(0.05)
    assert 29.0 < after.max() <= 30.0
    assert abs(after.mean() - 15.025) < 5 * 29.95 / math.sqrt(12 * BEAMS)


@pytest.mark.parametrize('start', [-math.pi, 0.0])
@pytest.mark.parametrize('center, width', [(0, 90), (180, 20), (-180, 20), (350, 40), (90, 0.5)])
@pytest.mark.parametrize('range_m', [None, 0.2])
def test_blocked_sector(start: float, center: float, width: float, range_m: float | None) -> None:
    # The middle of a beam never lies on the edge of a sector.
    ranges = np.full(721, 5.0)
    after = scanned(BlockedSector(center, width, range_m), ranges, start=start)
    wrapped = np.degrees(bearings(721, start)) - center
    off = np.abs((wrapped + 180) % 360 - 180)
    blocked = math.inf if range_m is None else np.float32(range_m)
    expected = np.where(off <= width / 2, blocked, 5.0)
    np.testing.assert_array_equal(after, expected)
    assert (after != 5.0).any()


def test_a_beam_on_the_edge_is_blocked() -> None:
    # Beams at -45, 0, 45, 90 degrees and so on, but for the rounding of float32.
    after = scanned(BlockedSector(0.0, 90.0), np.full(8, 5.0), start=-math.pi / 4)
    assert np.flatnonzero(np.isinf(after)).tolist() == [0, 1, 2]


def test_what_blocks_a_sector_is_seen_where_nothing_was() -> None:
    ranges = np.full(8, math.inf)
    ranges[5] = math.nan
    assert (scanned(BlockedSector(0.0, 360.0, 0.2), ranges) == np.float32(0.2)).all()


def test_a_blocked_sector_of_a_cloud() -> None:
    points = np.array([[[2.0, 0.1, 1.0], [0.0, 3.0, 0.0], [-4.0, -0.1, 0.0], [1.0, 0.9, -2.0]]])
    [out] = applied(BlockedSector(0.0, 90.0), CLOUD, cloud(points))
    assert np.isnan(points_of(out)).all(axis=2).tolist() == [[True, False, False, True]]
    [out] = applied(BlockedSector(180.0, 10.0, 0.5), CLOUD, cloud(points))
    expected = points.copy()
    expected[0, 2] *= 0.5 / math.hypot(4.0, 0.1)
    np.testing.assert_allclose(points_of(out), expected, rtol=1e-6)
    assert STORE.deserialize_cdr(out, CLOUD).is_dense


@pytest.mark.parametrize('fault', FAULTS, ids=repr)
def test_what_does_not_fit_is_refused(fault: ContentFault) -> None:
    with pytest.raises(RobotQaError, match=r'Image, only on .*LaserScan and .*PointCloud2'):
        fault.compiled(OURS, 'sensor_msgs/msg/Image')
    with pytest.raises(RobotQaError, match='did you mean "sensor_msgs/msg/LaserScan"'):
        fault.compiled(OURS, 'sensor_msgs/msg/LaserScans')
    with pytest.raises(RobotQaError, match='"z" is none; there are intensity, x, y, Z'):
        applied(fault, CLOUD, cloud(some_points(3), names='xyZ'))
    with pytest.raises(MessageError, match='are left'):
        applied(fault, SCAN, scan(np.ones(5))[:-40])
    none = cloud(np.zeros((0, 0, 3)), padding=0)
    assert applied(fault, CLOUD, none) == [none]


def broken(**members: Any) -> bytes:
    message = STORE.deserialize_cdr(cloud(some_points(3)), CLOUD)
    for name, value in members.items():
        setattr(message, name, value)
    return serialized(message)


def test_clouds_that_do_not_fit_their_data() -> None:
    with pytest.raises(MessageError, match=r'3 x 2 points of 18 bytes .* 59 bytes of data'):
        applied(RangeNoise(0.1), CLOUD, broken(height=2))
    with pytest.raises(MessageError, match='4 x 1 points'):
        applied(RangeNoise(0.1), CLOUD, broken(width=4))
    with pytest.raises(MessageError, match='"z" lies behind the end of its point'):
        applied(RangeNoise(0.1), CLOUD, broken(point_step=17))


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize('type_name, message', [
    (SCAN, scan(np.ones(20))), (CLOUD, cloud(some_points(20))),
], ids=['scan', 'cloud'])
def test_corrupt_messages_change_or_are_reported(type_name: str, message: bytes) -> None:
    flip = FlipBits(4).compiled(OURS, type_name)
    generator = np.random.default_rng(2)
    for i in range(100):
        broken = flip(message, generator)
        broken = broken[:int(generator.integers(len(broken)))] if i % 5 == 0 else broken
        for fault in FAULTS:
            with contextlib.suppress(RobotQaError):
                fault.compiled(OURS, type_name)(broken, generator)


@pytest.mark.parametrize('fault, complaint', [
    (RangeDropout(2.0), 'share is 2'), (RangeNoise(-1.0), 'stddev_m is -1'),
    (GhostReturns(-0.1, 0, 1), 'share'), (GhostReturns(0.1, -1, 1), 'near_m'),
    (GhostReturns(0.1, 2, 1), 'far_m is 1; it must be at least 2'),
    (BlockedSector(0.0, -1.0), 'width_deg'), (BlockedSector(0.0, 1.0, -1.0), 'range_m'),
])
def test_parameters_without_a_meaning(fault: ContentFault, complaint: str) -> None:
    with pytest.raises(RobotQaError, match=complaint):
        fault.compiled(OURS, SCAN)
