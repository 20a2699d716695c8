"""The tf tree: green on a sound one, red on every seeded fault, undecided on nothing."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation, Slerp

from robot_qa.checks import CheckResult, judge
from robot_qa.errors import MessageError, SpecError
from robot_qa.monitors.base import SimulatedClock
from robot_qa.monitors.frames import frame_monitors
from robot_qa.monitors.transforms import MOST_LAYOUTS, TransformReader
from robot_qa.probes.batch import Batch, Observation, Payloads
from robot_qa.spec.loader import load_spec
from robot_qa.spec.marks import compose
from robot_qa.spec.model import TestSpec, declared_checks, json_schema
from samples import (
    MS,
    START,
    TYPES,
    S,
    batch,
    clock_ticks,
    context,
    header,
    observed,
    serialized,
    split,
)

TF = 'tf2_msgs/msg/TFMessage'
STILL = (0.0, 0.0, 0.0, 1.0)
LIDAR = ('base_link', 'lidar_link', (0.1, 0.0, 0.3), STILL)

Move = tuple[str, str, Any, Any]


def tf(stamp_ns: int, *moves: Move) -> bytes:
    vector, quaternion = TYPES['geometry_msgs/msg/Vector3'], TYPES['geometry_msgs/msg/Quaternion']
    return serialized(TYPES[TF](transforms=[
        TYPES['geometry_msgs/msg/TransformStamped'](
            header=header(stamp_ns, parent), child_frame_id=child,
            transform=TYPES['geometry_msgs/msg/Transform'](
                translation=vector(*map(float, at)), rotation=quaternion(*map(float, turned))),
        ) for parent, child, at, turned in moves
    ]))


def moving(sent: Any, payloads: list[bytes], **columns: Any) -> Batch:
    return batch(sent, payloads, '/tf', TF, **columns)


def static(*moves: Move, at: Any = -1_000 * MS) -> Batch:
    """One message per transform, by default from before the observation began."""
    sent = np.broadcast_to(at, len(moves))
    payloads = [tf(START + int(when), move) for when, move in zip(sent, moves, strict=True)]
    return batch(sent, payloads, '/tf_static', TF)


def base(at: Any = (1.0, 2.0, 0.0), turned: Any = STILL) -> Move:
    return 'odom', 'base_link', at, turned


REGULAR = np.arange(500) * 20 * MS  # 50 Hz for 10 s
SOUND = [moving(REGULAR, [tf(START + int(at), base()) for at in REGULAR]), static(LIDAR)]


def results(
    block: dict[str, Any], batches: list[Batch], seen: Observation | None = None,
    clock: SimulatedClock | None = None,
) -> dict[str, CheckResult]:
    """Judge batches by a ``tf:`` block; keys are the names of checks below ``tf.``."""
    spec = TestSpec.model_validate({
        'robot_qa': 1, 'name': 'x', 'duration': '10 s', 'tf': block,
        'clock': 'ros' if clock else 'system',
    })
    (monitor,) = frame_monitors(spec, context(clock=clock))
    for one in batches:
        if clock is not None and one.topic == '/clock':
            clock.update(one)
        else:
            monitor.update(one)
    found = {
        measured.check.name: judge(measured, 'x:1:1')
        for measured in monitor.measure(seen or observed(10.0))
    }
    assert list(found) == [check.name for check in monitor.checks]
    assert set(found) == {name for name, _ in declared_checks(spec)}
    return {name.removeprefix('tf.'): result for name, result in found.items()}


def only(block: dict[str, Any], batches: list[Batch], **more: Any) -> tuple[str, str]:
    (result,) = results(block, batches, **more).values()
    return result.verdict.value, result.reason


EVERYTHING: dict[str, Any] = {
    'frames': ['odom', 'base_link', 'lidar_link'], 'connected': True, 'single_parent': True,
    'edges': {
        'odom -> base_link': {
            'rate': {'min': '40 Hz', 'max': '60 Hz'}, 'gap': {'max': '200 ms'},
            'age': {'p95': '100 ms'},
        },
        'base_link -> lidar_link': {'static': True},
    },
    'transforms': {'odom -> lidar_link': {
        'x': {'min': 1.05, 'max': 1.15}, 'z': {'min': 0.2, 'max': 0.4}, 'distance': {'max': 6},
        'yaw': {'min': -5, 'max': '0.1 rad'}, 'rotation': {'max': 1},
    }},
}


def test_a_sound_tree_is_green_everywhere() -> None:
    found = results(EVERYTHING, SOUND)
    assert {one.verdict.value for one in found.values()} == {'PASS'}
    assert 'transforms.odom -> lidar_link.x.max' in found
    assert 'edges.odom -> base_link.rate.min' in found
    measured = found['transforms.odom -> lidar_link.x.max'].measurement
    assert measured is not None
    assert measured.count == 500


def test_nothing_never_passes() -> None:
    found = results(EVERYTHING, [], seen=observed(10.0, notes={}))
    verdicts = {name: one.verdict.value for name, one in found.items()}
    # A rate of zero is known to be too low, as it is for topics.
    assert verdicts.pop('edges.odom -> base_link.rate.min') == 'FAIL'
    assert set(verdicts.values()) == {'INCONCLUSIVE'}
    assert found['connected'].reason == 'no message on /tf'
    assert found['edges.base_link -> lidar_link.static'].reason == 'no message on /tf_static'


def test_messages_without_transforms_are_not_a_tree() -> None:
    empty = moving(REGULAR[:20], [tf(START)] * 20)
    found = results({'frames': ['a'], 'connected': True, 'single_parent': True}, [empty])
    assert {one.reason for one in found.values()} == {'no message held a transform'}
    assert {one.verdict.value for one in found.values()} == {'INCONCLUSIVE'}


# ---- the tree ---------------------------------------------------------------------------------

def test_a_frame_that_was_never_there_is_named() -> None:
    verdict, reason = only({'frames': ['odom', 'lidar']}, [*SOUND])
    assert verdict == 'FAIL'
    assert 'lidar was never in the tree; did you mean "lidar_link"?' in reason


def test_separate_trees_are_named() -> None:
    apart = static(('map', 'dock', (0, 0, 0), STILL))
    verdict, reason = only({'connected': True}, [*SOUND, apart])
    assert verdict == 'FAIL'
    assert 'separate parts: base_link, lidar_link, odom | dock, map' in reason


@pytest.mark.parametrize('more', [[], [('map', 'dock', (0, 0, 0), STILL)]])
def test_a_loop_is_no_tree(more: list[Move]) -> None:
    loop = static(('a', 'b', (0, 0, 0), STILL), ('b', 'a', (0, 0, 0), STILL), *more)
    verdict, reason = only({'connected': True}, [loop])
    assert verdict == 'FAIL'
    assert 'loop: a, b' in reason


@pytest.mark.parametrize('order', [1, -1])
def test_two_parents_are_named_whichever_topic_comes_first(order: int) -> None:
    second = static(('wheel_odom', 'base_link', (0, 0, 0), STILL), at=5 * S)
    verdict, reason = only({'single_parent': True}, [*SOUND, second][::order])
    assert verdict == 'FAIL'
    assert 'base_link has the parents odom and wheel_odom' in reason


def test_a_slash_in_front_is_left_out_as_tf2_does() -> None:
    slashed = moving(REGULAR[:1], [tf(START, ('/odom', '/base_link', (0, 0, 0), STILL))])
    assert only({'frames': ['odom', 'base_link']}, [slashed])[0] == 'PASS'


def test_a_message_that_cannot_be_read_breaks_the_tree() -> None:
    good = tf(START, base())
    torn = moving(REGULAR[:20], [good] * 19 + [good[:50]])
    found = results({
        'frames': ['odom'], 'connected': True, 'single_parent': True,
        'transforms': {'odom -> base_link': {'x': {'min': 0}}},
    }, [torn])
    assert {one.verdict.value for one in found.values()} == {'FAIL'}
    assert all('cannot be read' in one.reason for one in found.values())


def test_another_type_is_refused() -> None:
    with pytest.raises(MessageError, match='sensor_msgs'):
        only({'connected': True}, [batch([0], [b''], '/tf', 'sensor_msgs/msg/Imu')])


# ---- edges ------------------------------------------------------------------------------------

def kept(mask: Any, stamp_lag: int = 0) -> Batch:
    sent = REGULAR[mask]
    return moving(sent, [
        tf(START + int(at) - stamp_lag, base(), ('base_link', 'arm', (0, 0, 1), STILL))
        for at in sent
    ])


STALL = (REGULAR < 4 * S) | (REGULAR >= 5 * S)


@pytest.mark.parametrize('limits,stream,expected', [
    ({'rate': {'min': '40 Hz'}}, kept(REGULAR >= 0), 'PASS'),
    ({'rate': {'min': '40 Hz', 'window': '1 s'}}, kept(STALL), 'FAIL'),
    ({'rate': {'max': '40 Hz'}}, kept(REGULAR >= 0), 'FAIL'),
    ({'gap': {'max': '200 ms'}}, kept(REGULAR >= 0), 'PASS'),
    ({'gap': {'max': '200 ms'}}, kept(STALL), 'FAIL'),
    ({'gap': {'max': '200 ms'}}, kept(REGULAR < 9 * S), 'FAIL'),
    ({'age': {'p95': '100 ms'}}, kept(REGULAR >= 0), 'PASS'),
    ({'age': {'p95': '100 ms'}}, kept(REGULAR >= 0, 150 * MS), 'FAIL'),
    ({'age': {'max': '100 ms'}}, kept(REGULAR >= 0, 150 * MS), 'FAIL'),
    ({'basis': 'header', 'gap': {'max': '200 ms'}}, kept(STALL), 'FAIL'),
])
def test_the_timing_of_an_edge(limits: dict[str, Any], stream: Batch, expected: str) -> None:
    assert only({'edges': {'odom -> base_link': limits}}, [stream])[0] == expected


def test_each_edge_has_a_timing_of_its_own() -> None:
    arm = kept(STALL)
    alone = moving(REGULAR[~STALL], [tf(START + int(at), base()) for at in REGULAR[~STALL]])
    block = {'edges': {'odom -> base_link': {'gap': {'max': '200 ms'}},
                       'base_link -> arm': {'gap': {'max': '200 ms'}}}}
    # Received in the order of sending, as from one topic.
    first, last = split(arm, [int((REGULAR < 4 * S).sum())])
    found = results(block, [first, alone, last])
    assert [one.verdict.value for one in found.values()] == ['PASS', 'FAIL']


def test_an_edge_that_never_came_says_so() -> None:
    verdict, reason = only({'edges': {'base_link -> odom': {'gap': {'max': '1 s'}}}}, SOUND)
    assert (verdict, reason) == (
        'INCONCLUSIVE', 'base_link -> odom was never published on /tf')


def test_the_age_of_an_edge_on_simulated_time() -> None:
    received = np.arange(1000) * 10 * MS
    clock = SimulatedClock()
    ticks = clock_ticks(received, 5 * S + received)
    stream = moving(REGULAR, [tf(5 * S + int(at) - 150 * MS, base()) for at in REGULAR])
    block = {'edges': {'odom -> base_link': {'age': {'p95': '100 ms'}}}}
    assert only(block, [ticks, stream], clock=clock)[0] == 'FAIL'


@pytest.mark.parametrize('batches,expected,text', [
    ([static(LIDAR)], 'PASS', ''),
    ([static(LIDAR, LIDAR)], 'PASS', ''),
    ([static(LIDAR, (*LIDAR[:3], (0.0, 0.0, 0.0, -1.0)))], 'PASS', ''),  # the same rotation
    ([static(LIDAR, (*LIDAR[:2], (0.1, 0.0, 0.4), STILL))], 'FAIL', '0.1 m and 0 deg away'),
    ([static(LIDAR, (*LIDAR[:3], (0.0, 0.0, 1.0, 0.0)))], 'FAIL', '0 m and 180 deg away'),
    ([static((*LIDAR[:3], (0.0, 0.0, 0.0, 0.0)))], 'FAIL', 'nan'),
    ([static(LIDAR), moving([0], [tf(START, LIDAR)])], 'FAIL', 'was published on /tf'),
    ([moving([0], [tf(START, LIDAR)])], 'FAIL', 'was published on /tf'),
    ([static(('base_link', 'imu', (0, 0, 0), STILL))], 'FAIL', 'was never published'),
])
def test_a_static_edge(batches: list[Batch], expected: str, text: str) -> None:
    verdict, reason = only({'edges': {'base_link -> lidar_link': {'static': True}}}, batches)
    assert verdict == expected
    assert text in reason


# ---- transforms -------------------------------------------------------------------------------

def bounded(limits: dict[str, Any], batches: list[Batch], pair: str = 'odom -> lidar_link') -> Any:
    return only({'transforms': {pair: limits}}, batches)


def turned(*angles: float) -> tuple[float, ...]:
    """Return the quaternion of roll, pitch and yaw in degrees."""
    return tuple(Rotation.from_euler('xyz', angles, degrees=True).as_quat().tolist())


def with_one(move: Move) -> list[Batch]:
    moves = [base()] * len(REGULAR)
    moves[250] = move
    return [moving(REGULAR, [tf(START + int(at), one)
                             for at, one in zip(REGULAR, moves, strict=True)]), static(LIDAR)]


@pytest.mark.parametrize('limits,move', [
    ({'x': {'max': 1.2}}, base((1.3, 2, 0))),
    ({'x': {'min': 1.0}}, base((0.5, 2, 0))),
    ({'y': {'max': 2.5}}, base((1, 3, 0))),
    ({'z': {'min': 0.2}}, base((1, 2, -0.2))),
    ({'distance': {'max': 6}}, base((6, 2, 0))),
    ({'roll': {'max': 5}}, base(turned=turned(6, 0, 0))),
    ({'pitch': {'min': -5}}, base(turned=turned(0, -6, 0))),
    ({'yaw': {'min': -5, 'max': 6}}, base(turned=turned(0, 0, -7))),
    ({'yaw': {'max': '0.1 rad'}}, base(turned=turned(0, 0, 6))),
    ({'rotation': {'max': 5}}, base(turned=turned(3, 3, 3))),
    ({'z': {'min': 0.2}}, base((1, 2, np.nan))),  # no NaN slips through a range
    ({'rotation': {'max': 5}}, base(turned=(0, 0, 0, 0))),
])
def test_one_bad_transform_among_many_is_found(limits: dict[str, Any], move: Move) -> None:
    (name, _), = limits.items()
    verdicts = {result.verdict.value for result in results(
        {'transforms': {'odom -> lidar_link': limits}}, SOUND).values()}
    assert verdicts == {'PASS'}
    broken = [result for result in results(
        {'transforms': {'odom -> lidar_link': limits}}, with_one(move)).values()
        if result.verdict.value == 'FAIL']
    assert len(broken) == 1
    assert broken[0].measurement is not None
    assert broken[0].measurement.violations == 1
    assert broken[0].evidence[0].stamp_ns == START + int(REGULAR[250]) + MS
    assert broken[0].evidence[0].text.startswith(f'{name} = ')
    assert broken[0].evidence[0].text.endswith('at 1700000005.000000000')


def test_a_bound_itself_is_allowed() -> None:
    stream = moving([0], [tf(START, base((1.5, 2, 0)))])
    block = {'transforms': {'odom -> base_link': {'x': {'min': 1.5, 'max': 1.5}}}}
    assert {one.verdict.value for one in results(block, [stream]).values()} == {'PASS'}


@pytest.mark.parametrize('yaw,expected', [(179, 'PASS'), (-179, 'PASS'), (-170, 'FAIL')])
def test_a_range_of_angles_may_lie_across_half_a_turn(yaw: float, expected: str) -> None:
    stream = moving([0], [tf(START, base(turned=turned(0, 0, yaw)))])
    block = {'transforms': {'odom -> base_link': {'yaw': {'min': 175, 'max': 185}}}}
    verdicts = {one.verdict.value for one in results(block, [stream]).values()}
    assert (verdicts == {'PASS'}) == (expected == 'PASS')


def test_up_one_branch_and_down_another() -> None:
    tree = static(
        ('base', 'left', (0, 1, 0), turned(0, 0, 90)), ('base', 'right', (0, -1, 0), STILL))
    # Seen from the left, whose x axis points along y, the right one is 2 m behind.
    found = results({'transforms': {
        'left -> right': {'x': {'max': -2 + 1e-9, 'min': -2 - 1e-9}},
        'left -> base': {'yaw': {'min': -90 - 1e-9, 'max': -90 + 1e-9}},
    }}, [tree])
    assert {one.verdict.value for one in found.values()} == {'PASS'}


@pytest.mark.parametrize('batches,pair,reason', [
    (SOUND, 'odom -> lidar', 'no frame "lidar" was seen; did you mean "lidar_link"?'),
    ([*SOUND, static(('map', 'dock', (0, 0, 0), STILL))], 'odom -> dock', 'in separate trees'),
    ([*SOUND, static(('x', 'base_link', (0, 0, 0), STILL), at=S)], 'odom -> lidar_link',
     'base_link has the parents odom and x'),
    ([moving([0, S], [tf(START, base()), tf(START + S, ('base_link', 'arm', (0, 0, 0), STILL))])],
     'odom -> arm', 'at no stamp all of these are known: odom -> base_link, base_link -> arm'),
    ([moving([0, S], [tf(START + 60 * S, base()), tf(START, base())])], 'odom -> base_link',
     'went back by 60 s'),
])
def test_what_cannot_be_evaluated_is_undecided(
    batches: list[Batch], pair: str, reason: str
) -> None:
    verdict, why = bounded({'x': {'min': -100}}, batches, pair)
    assert verdict == 'INCONCLUSIVE'
    assert reason in why


def test_a_static_edge_that_changes_counts_from_then_on() -> None:
    other = (*LIDAR[:2], (0.1, 0.0, 0.9), STILL)
    changed = static(LIDAR, other, at=[-S, 5 * S])
    for batches in ([SOUND[0], changed], [changed, SOUND[0]]):
        (result,) = results(
            {'transforms': {'odom -> lidar_link': {'z': {'max': 0.4}}}}, batches).values()
        assert result.measurement is not None
        assert result.measurement.violations == 250


def random_chain(seed: int) -> list[tuple[Any, Any, Any]]:
    """Three edges with stamps, translations and rotations of their own."""
    rng = np.random.default_rng(seed)
    return [(
        np.unique(rng.integers(0, 5 * S, rng.integers(2, 40))),
        rng.uniform(-2, 2, (40, 3)), Rotation.random(40, random_state=rng),
    ) for _ in range(3)]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_interpolation_is_that_of_scipy(seed: int) -> None:
    """All eight quantities at all moments, by matrices and scipy's Slerp."""
    names = ['a', 'b', 'c', 'd']
    chain = random_chain(seed)
    # The middle edge is published upside down, so that its inverse is needed.
    links = [('b', 'a'), ('b', 'c'), ('c', 'd')]
    samples = sorted(
        (int(stamp), (*link, tuple(where[i]), tuple(rotations[i].as_quat())))
        for link, (stamps, where, rotations) in zip(links, chain, strict=True)
        for i, stamp in enumerate(stamps)
    )
    stream = moving(*zip(*[(at, tf(START + at, move)) for at, move in samples], strict=True))
    times = np.unique(np.concatenate([stamps for stamps, _, _ in chain]))
    times = times[(times >= max(s[0] for s, _, _ in chain))
                  & (times <= min(s[-1] for s, _, _ in chain))]
    whole = np.tile(np.eye(4), (len(times), 1, 1))
    for (stamps, where, rotations), inverse in zip(chain, (True, False, False), strict=True):
        edge = np.tile(np.eye(4), (len(times), 1, 1))
        if len(times):
            edge[:, :3, :3] = Slerp(stamps, rotations[:len(stamps)])(times).as_matrix()
            edge[:, :3, 3] = np.stack(
                [np.interp(times, stamps, where[:len(stamps), i]) for i in range(3)], axis=1)
        whole = whole @ (np.linalg.inv(edge) if inverse else edge)
    block = {'transforms': {f'{names[0]} -> {names[3]}': {
        name: dict.fromkeys(('min', 'max'), 0)
        for name in ('x', 'y', 'z', 'distance', 'roll', 'pitch', 'yaw', 'rotation')
    }}}
    found = results(block, [stream])
    if not len(times):
        assert {one.verdict.value for one in found.values()} == {'INCONCLUSIVE'}
        return
    turns = Rotation.from_matrix(whole[:, :3, :3])
    roll, pitch, yaw = turns.as_euler('xyz', degrees=True).T
    expected = {
        'x': whole[:, 0, 3], 'y': whole[:, 1, 3], 'z': whole[:, 2, 3],
        'distance': np.linalg.norm(whole[:, :3, 3], axis=1), 'roll': roll, 'pitch': pitch,
        'yaw': yaw, 'rotation': np.degrees(turns.magnitude()),
    }
    for name, values in expected.items():
        for side, extreme in (('min', values.min()), ('max', values.max())):
            measured = found[f'transforms.a -> d.{name}.{side}'].measurement
            assert measured is not None
            assert (measured.count, measured.value) == (
                len(times), pytest.approx(extreme, abs=1e-6))


# ---- reading ----------------------------------------------------------------------------------

def test_messages_of_many_layouts_are_read_in_order() -> None:
    """More layouts than are remembered, edges twice in a message, and torn messages between."""
    rng = np.random.default_rng(1)
    payloads, expected = [], []
    for row in range(4 * MOST_LAYOUTS):
        moves = [(f'p{rng.integers(40)}', f'c{rng.integers(2)}', rng.uniform(-1, 1, 3), STILL)
                 for _ in range(rng.integers(0, 4))]
        payloads.append(tf(START + row, *moves))
        if row % 7 == 3:
            payloads[-1] = payloads[-1][:-1]
            continue
        expected += [(parent, child, row, START + row, *at) for parent, child, at, _ in moves]
    links, errors = TransformReader().read(Payloads.of(payloads))
    found = [(*link, row, stamp, *pose[:3]) for link, one in links.items()
             for row, stamp, pose in zip(one.rows, one.stamps, one.poses, strict=True)]
    assert sorted(found) == sorted(expected)
    assert sorted(errors) == list(range(3, len(payloads), 7))
    for one in links.values():
        assert (np.diff(one.rows) >= 0).all()


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_the_moments_of_draining_change_nothing(data: st.DataObject) -> None:
    """Same samples, other batches, other order of the two topics: the same measurements."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    count = data.draw(st.integers(1, 60))
    sent = np.sort(rng.integers(0, 8 * S, count))
    pool = [base(), base((9, 0, 0)), base((1, 2, np.nan)), LIDAR,
            ('base_link', 'arm', (0, 0, 1), turned(0, 0, 90)), ('x', 'arm', (0, 0, 1), STILL)]
    payloads = [
        tf(START + int(at) - int(rng.integers(0, 300 * MS)),
           *[pool[i] for i in rng.choice(6, rng.integers(0, 4), p=[.5, .1, .05, .05, .29, .01])])
        for at in sent
    ]
    payloads = [one[:-3] if rng.random() < 0.03 else one for one in payloads]
    whole = moving(sent, payloads, publisher=rng.integers(0, 2, count))
    fixed = static(LIDAR, (*LIDAR[:2], (0.1, 0, rng.choice([0.3, 0.5])), STILL), at=[-S, 4 * S])
    spec = TestSpec.model_validate({'robot_qa': 1, 'name': 'x', 'duration': '9 s', 'tf': {
        **EVERYTHING, 'transforms': {**EVERYTHING['transforms'], 'arm -> odom': {'x': {'max': 5}}},
    }})

    def measured(pieces: list[Batch], looks: int) -> list[str]:
        (monitor,) = frame_monitors(spec, context())
        for number, piece in enumerate(pieces):
            monitor.update(piece)
            if looks and number % looks == 0:
                monitor.measure(observed(9.0))
        return [repr(asdict(one)) for one in monitor.measure(observed(9.0))]

    borders = data.draw(st.lists(st.integers(0, count), max_size=8))
    pieces = split(whole, borders)
    for one in split(fixed, [1]):
        pieces.insert(data.draw(st.integers(0, len(pieces))), one)
    statics = [one for one in pieces if one.topic == '/tf_static']
    statics.sort(key=lambda one: int(one.received_ns[0]))
    pieces = [statics.pop(0) if one.topic == '/tf_static' else one for one in pieces]
    assert measured([whole, fixed], 0) == measured(pieces, 2)


# ---- the spec ---------------------------------------------------------------------------------

GOOD = """\
robot_qa: 1
name: t
duration: 5 s
tf:
  frames: [odom, base_link]
  connected: true
  single_parent: true
  edges:
    odom -> base_link: {rate: {min: 40 Hz, window: 2 s}, gap: {max: 200 ms}, age: {p95: 100 ms}}
    base_link -> lidar_link: {static: true}
  transforms:
    odom -> lidar_link:
      z: {min: 0.2, max: 0.4}
      yaw: {min: -5, max: 0.1 rad}
"""


def test_checks_point_at_their_own_places(tmp_path: Path) -> None:
    path = tmp_path / 'a.qa.yaml'
    path.write_text(GOOD)
    loaded = load_spec(path)
    jsonschema.validate(compose(GOOD, 'a').data, json_schema())
    places = {name: loaded.source(place).removeprefix(f'{path}:')
              for name, place in declared_checks(loaded.spec)}
    assert places == {
        'tf.frames': '5:3', 'tf.connected': '6:3', 'tf.single_parent': '7:3',
        'tf.edges.odom -> base_link.rate.min': '9:32',
        'tf.edges.odom -> base_link.gap.max': '9:64',
        'tf.edges.odom -> base_link.age.p95': '9:84',
        'tf.edges.base_link -> lidar_link.static': '10:31',
        'tf.transforms.odom -> lidar_link.z.min': '13:11',
        'tf.transforms.odom -> lidar_link.z.max': '13:21',
        'tf.transforms.odom -> lidar_link.yaw.min': '14:13',
        'tf.transforms.odom -> lidar_link.yaw.max': '14:22',
    }


@pytest.mark.parametrize('body,expected', [
    ('{}', '4:5: nothing is checked here (valid: frames, connected, single_parent, edges, '
     'transforms)'),
    ('{edges: {}}', '4:5: nothing is checked here'),
    ('{connected: false}', '4:17: false checks nothing; remove the key'),
    ('{frames: [/odom]}', '4:15: "/odom" is not a frame: no slash in front, no blanks; did you '
     'mean "odom"?'),
    ('{edges: {odom->base: {static: true}}}', '4:14: "odom->base" does not name two frames; did '
     'you mean "odom -> base"?'),
    ('{edges: {odom: {static: true}}}', '4:14: "odom" does not name two frames, such as'),
    ('{edges: {a -> a: {static: true}}}', '4:14: "a -> a" names the same frame twice'),
    ('{edges: {a -> b: {static: true, gap: {max: 1 s}}}}', '4:42: a static edge is published '
     'once, so it has no gap'),
    ('{edges: {a -> b: {rate: {max: 10 Hz}, gap: {max: 50 ms}}}}', 'max is shorter than'),
    ('{edges: {a -> b: {rate: {min: 1 Hz, window: 9 s}}}}', '4:49: the window is longer than'),
    ('{transforms: {a -> b: {x: {min: 2, max: 1}}}}', 'max is below min'),
    ('{transforms: {a -> b: {yaw: {max: 5 m}}}}', '4:39: an angle was expected'),
    ('{transforms: {a -> b: {yaw: {max: 400}}}}', '4:39: 400 is more than a whole turn'),
    ('{transforms: {a -> b: {yaw: {min: -180, max: 180}}}}', 'so every angle passes'),
    ('{transforms: {a -> b: {w: {max: 1}}}}', '4:28: unknown key "w"'),
])
def test_mistakes_are_named_where_they_stand(tmp_path: Path, body: str, expected: str) -> None:
    path = tmp_path / 'a.qa.yaml'
    path.write_text(f'robot_qa: 1\nname: t\nduration: 5 s\ntf: {body}\n')
    with pytest.raises(SpecError) as caught:
        load_spec(path)
    assert [expected in str(problem) for problem in caught.value.problems] == [True], caught.value
