"""Every check on a topic: green on a sound stream, red on a seeded fault, undecided on nothing."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_qa.checks import Verdict, judge
from robot_qa.errors import FieldPathError
from robot_qa.monitors.base import SimulatedClock
from robot_qa.monitors.topics import timing_monitors, validity_monitors
from robot_qa.probes.batch import Batch, Observation, Payloads
from robot_qa.spec.model import TestSpec, declared_checks
from samples import (
    MS,
    START,
    S,
    batch,
    clock_ticks,
    context,
    imu,
    observed,
    scan,
    scans,
    split,
)

REGULAR = np.arange(100) * 100 * MS  # 10 Hz for 10 s
SPEC_HEAD = {'robot_qa': 1, 'name': 'x', 'duration': '10 s'}


def verdicts(
    checks: dict[str, Any], batches: list[Batch], seen: Observation | None = None,
    clock: SimulatedClock | None = None, topic: str = '/scan',
) -> dict[str, tuple[Verdict, str, float | None]]:
    """Judge batches by the checks of one topic; keys are check names below the topic."""
    spec = TestSpec.model_validate({
        **SPEC_HEAD, 'clock': 'ros' if clock else 'system', 'topics': {topic: checks},
    })
    shared = context(clock=clock)
    monitors = timing_monitors(spec, shared) + validity_monitors(spec, shared)
    for one in batches:
        if one.topic == '/clock':
            assert clock is not None
            clock.update(one)
        for monitor in monitors:
            if one.topic in monitor.topics:
                monitor.update(one)
    found = {}
    for monitor in monitors:
        measure = getattr(monitor, 'measure_at_end', monitor.measure)
        for measured in measure(seen or observed(10.0)):
            result = judge(measured, 'x:1:1')
            found[result.name.removeprefix(f'topics.{topic}.')] = (
                result.verdict, result.reason, measured.value)
    assert set(found) == {
        name.removeprefix(f'topics.{topic}.') for name, _ in declared_checks(spec)
    }
    return found


def verdict(checks: dict[str, Any], batches: list[Batch], **more: Any) -> str:
    (only,) = verdicts(checks, batches, **more).values()
    return only[0].value


# ---- rate -------------------------------------------------------------------------------------

def without(first_s: float, last_s: float) -> Any:
    return REGULAR[(REGULAR < first_s * S) | (REGULAR >= last_s * S)]


@pytest.mark.parametrize('sent,limits,expected', [
    (REGULAR, {'min': '9.9 Hz', 'max': '10.1 Hz'}, ['PASS', 'PASS']),
    (REGULAR * 2, {'min': '9 Hz', 'max': '11 Hz'}, ['FAIL', 'PASS']),
    (REGULAR // 2, {'max': '11 Hz'}, ['FAIL']),
    (without(4, 5), {'min': '9 Hz', 'max': '11 Hz'}, ['FAIL', 'PASS']),
    (without(8.5, 99), {'min': '9 Hz', 'max': '11 Hz'}, ['FAIL', 'PASS']),  # silent at the end
    (without(0, 3), {'min': '9 Hz', 'max': '11 Hz'}, ['PASS', 'PASS']),  # only came late
    (without(4, 7), {'min': '9 Hz'}, ['FAIL']),  # silent for longer than a window
    (REGULAR[:5], {'max': '11 Hz'}, ['INCONCLUSIVE']),  # no full window
])
def test_rate(sent: Any, limits: dict[str, str], expected: list[str]) -> None:
    seconds = 20.0 if sent[-1] > 11 * S else 10.0
    found = verdicts({'rate': limits}, [scans(sent)], observed(seconds))
    assert [one[0].value for one in found.values()] == expected
    assert all(one[1] == 'no full window of 2 s' for one in found.values()
               if one[0].value == 'INCONCLUSIVE')


@pytest.mark.parametrize('sent,seconds,limits,expected', [
    # Two seconds hold no two messages of 10 Hz that are two seconds apart.
    (REGULAR[:20], 2.0, {'min': '9.9 Hz', 'max': '10.1 Hz'}, ['PASS', 'PASS']),
    (REGULAR[:20] + S // 20, 2.05, {'min': '9.9 Hz', 'max': '10.1 Hz'}, ['PASS', 'PASS']),
    (REGULAR[:10] * 2, 2.0, {'min': '9 Hz'}, ['FAIL']),
    (REGULAR[:40] // 2, 1.999, {'max': '11 Hz'}, ['INCONCLUSIVE']),
    (REGULAR[:40] // 2, 2.0, {'max': '11 Hz'}, ['FAIL']),
    (REGULAR[:2], 2.0, {'min': '9 Hz'}, ['FAIL']),  # and then silence
    (REGULAR[:2] + 19 * S // 10, 2.0, {'min': '9 Hz'}, ['INCONCLUSIVE']),  # only came late
])
def test_the_rate_over_no_more_than_a_window(
    sent: Any, seconds: float, limits: dict[str, str], expected: list[str]
) -> None:
    found = verdicts({'rate': limits}, [scans(sent)], observed(seconds))
    assert [one[0].value for one in found.values()] == expected


def test_a_topic_that_never_spoke_has_a_rate_of_zero() -> None:
    found = verdicts({'rate': {'min': '1 Hz', 'max': '5 Hz'}, 'gap': {'max': '1 s'}}, [])
    assert [one[0].value for one in found.values()] == ['FAIL', 'INCONCLUSIVE', 'INCONCLUSIVE']


def test_rate_counts_one_episode_per_stall() -> None:
    spec = TestSpec.model_validate({**SPEC_HEAD, 'topics': {'/scan': {'rate': {'min': '9 Hz'}}}})
    (monitor,) = timing_monitors(spec, context())
    sent = np.concatenate([without(3, 4)[:60], without(3, 4)[60:] + S])
    monitor.update(scans(sent))
    (measured,) = monitor.measure(observed(11.0))
    assert measured.violations == 2


# ---- gap, jitter ------------------------------------------------------------------------------

@pytest.mark.parametrize('sent,expected', [
    (REGULAR, 'PASS'),
    (without(4, 4.3), 'FAIL'),
    (without(9.5, 99), 'FAIL'),
    (REGULAR[:1], 'FAIL'),
])
def test_gap(sent: Any, expected: str) -> None:
    assert verdict({'gap': {'max': '250 ms'}}, [scans(sent)]) == expected


def test_the_gap_is_the_longest_interval() -> None:
    (found,) = verdicts({'gap': {'max': '250 ms'}}, [scans(without(4, 4.3))]).values()
    assert found[2] == 400 * MS


def test_two_publishers_share_a_gap_and_a_clock_step_of_one_is_kept() -> None:
    sent = [0, 100 * MS, 99 * MS, 200 * MS]
    both = scans(sent, publisher=[0, 0, 1, 0], sequence=[1, 2, 1, 3])
    spec = TestSpec.model_validate({**SPEC_HEAD, 'topics': {'/scan': {'jitter': {'p50': '1 s'}}}})
    (monitor,) = timing_monitors(spec, context())
    monitor.update(both)
    assert monitor._samples.values.tolist() == [100 * MS, 0, 101 * MS]
    (alone,) = timing_monitors(spec, context())
    alone.update(scans(sent))
    assert alone._samples.values.tolist() == [100 * MS, -1 * MS, 101 * MS]


@pytest.mark.parametrize('spread,expected', [(2, 'PASS'), (45, 'FAIL')])
def test_jitter(spread: int, expected: str) -> None:
    noise = np.random.default_rng(1).uniform(-spread, spread, 100) * MS
    sent = (REGULAR + noise).astype(np.int64)
    assert verdict({'jitter': {'p90': '10 ms'}}, [scans(sent)]) == expected


def test_jitter_against_a_declared_period_sees_a_wrong_one() -> None:
    stream = [scans(REGULAR)]
    assert verdict({'jitter': {'p90': '10 ms'}}, stream) == 'PASS'
    assert verdict({'jitter': {'p90': '10 ms', 'period': '50 ms'}}, stream) == 'FAIL'


def test_a_quantile_needs_its_samples() -> None:
    found = verdicts({'jitter': {'p99': '10 ms'}}, [scans(REGULAR)])
    assert found['jitter.p99'][0] is Verdict.INCONCLUSIVE
    assert '200 more would decide' in found['jitter.p99'][1]


# ---- age, transport ---------------------------------------------------------------------------

def aged(age_ms: Any, clock_ms: int = 1) -> Batch:
    ages = np.broadcast_to(age_ms, 100)
    payloads = [
        scan(START + int(at) + clock_ms * MS - int(age) * MS)
        for at, age in zip(REGULAR, ages, strict=True)
    ]
    return batch(REGULAR, payloads)


@pytest.mark.parametrize('limits,age,expected', [
    ({'p95': '50 ms'}, 20, 'PASS'),
    ({'p95': '50 ms'}, 80, 'FAIL'),
    ({'max': '50 ms'}, [20] * 99 + [51], 'FAIL'),
    ({'min': '0 ms'}, [20] * 99 + [-1], 'FAIL'),
    ({'min': '-2 ms'}, [20] * 99 + [-1], 'PASS'),
    # Whose clocks disagree by a millisecond, they may disagree by fifty.
    ({'p95': '50 ms'}, [20] * 99 + [-1], 'INCONCLUSIVE'),
    ({'max': '50 ms'}, [51] * 99 + [-1], 'INCONCLUSIVE'),
])
def test_age(limits: dict[str, str], age: Any, expected: str) -> None:
    assert verdict({'age': limits}, [aged(age)]) == expected


@pytest.mark.parametrize('clock_last', [False, True])
@pytest.mark.parametrize('age,expected', [(20, 'PASS'), (80, 'FAIL')])
def test_age_on_simulated_time(age: int, expected: str, clock_last: bool) -> None:
    """Simulated time runs from 5 s at half speed; the order of draining must not matter."""
    received = np.arange(2000) * 10 * MS
    ticks = clock_ticks(received, 5 * S + received // 2)
    payloads = [scan(5 * S + (int(at) + 2 * MS) // 2 - age * MS) for at in REGULAR]
    stream = batch(REGULAR, payloads, received=REGULAR + 2 * MS)
    order = [stream, ticks] if clock_last else [ticks, stream]
    clock = SimulatedClock()
    found = verdicts({'age': {'p95': '50 ms'}}, order, clock=clock)
    assert found['age.p95'][0].value == expected
    assert found['age.p95'][2] == pytest.approx(age * MS, abs=6 * MS)


def test_age_without_any_tick_says_so() -> None:
    found = verdicts({'age': {'p95': '50 ms'}}, [aged(20)], clock=SimulatedClock())
    assert found['age.p95'][0] is Verdict.INCONCLUSIVE
    assert '/clock' in found['age.p95'][1]


@pytest.mark.parametrize('delay,expected', [(2, 'PASS'), (30, 'FAIL'), (-3, 'INCONCLUSIVE')])
def test_transport(delay: int, expected: str) -> None:
    stream = scans(REGULAR, received=REGULAR + delay * MS)
    assert verdict({'transport': {'p95': '10 ms'}}, [stream]) == expected


def test_without_send_times_nothing_is_made_up() -> None:
    stream = batch(None, [scan(START + int(at)) for at in REGULAR], received=REGULAR)
    found = verdicts({
        'rate': {'min': '9 Hz'}, 'gap': {'max': '1 s'}, 'jitter': {'p90': '1 ms'},
        'transport': {'p95': '10 ms'},
    }, [stream])
    assert {one[0] for one in found.values()} == {Verdict.INCONCLUSIVE}
    assert all('publish_time' in one[1] for one in found.values())
    arrival = verdicts({'basis': 'arrival', 'rate': {'min': '9 Hz'}}, [stream])
    assert arrival['rate.min'][0] is Verdict.PASS


# ---- loss, count, stamps ----------------------------------------------------------------------

@pytest.mark.parametrize('limit,lost,overruns,expected', [
    ('0 %', [], 0, 'PASS'),
    ('0 %', [50], 0, 'FAIL'),
    ('0 %', [50], 1, 'PASS'),  # ours, not the robot's
    ('5 %', [50], 0, 'PASS'),
    ('5 %', list(range(30, 60)), 0, 'INCONCLUSIVE'),  # one burst is one event
    ('5 %', list(range(30, 90, 2)), 0, 'FAIL'),
])
def test_loss(limit: str, lost: list[int], overruns: int, expected: str) -> None:
    kept = np.setdiff1d(np.arange(100), lost)
    stream = scans(REGULAR[kept], sequence=kept + 1)
    seen = observed(10.0, overruns={'/scan': overruns})
    assert verdict({'loss': {'max': limit}}, [stream], seen=seen) == expected


def test_loss_is_counted_per_publisher_and_needs_sequence_numbers() -> None:
    numbers = np.repeat(np.arange(50), 2) + 1
    both = scans(REGULAR, sequence=numbers, publisher=np.arange(100) % 2)
    assert verdict({'loss': {'max': '0 %'}}, [both]) == 'PASS'
    assert verdict({'loss': {'max': '0 %'}}, [scans(REGULAR, sequence=None)]) == 'INCONCLUSIVE'


@pytest.mark.parametrize('limit,expected', [
    (100, 'PASS'), (99, 'FAIL'), ({'min': 100}, 'PASS'), ({'min': 101}, 'FAIL'),
    ({'max': 100}, 'PASS'), ({'max': 99}, 'FAIL'),
])
def test_expect_count(limit: Any, expected: str) -> None:
    assert verdict({'expect_count': limit}, [scans(REGULAR)]) == expected


def test_zero_messages_can_be_expected_but_only_if_asked() -> None:
    assert verdict({'expect_count': 0}, []) == 'PASS'
    assert verdict({'expect_count': {'min': 1}}, []) == 'FAIL'
    assert verdict({'stamps': 'increasing'}, []) == 'INCONCLUSIVE'


@pytest.mark.parametrize('kind,change,expected', [
    ('increasing', {}, 'PASS'),
    ('increasing', {50: 49}, 'FAIL'),
    ('non_decreasing', {50: 49}, 'PASS'),
    ('non_decreasing', {50: 40}, 'FAIL'),
    ('non_decreasing', {0: None}, 'FAIL'),  # a stamp of zero was never set
])
def test_stamps(kind: str, change: dict[int, int | None], expected: str) -> None:
    stamps = [START + int(at) for at in REGULAR]
    for index, other in change.items():
        stamps[index] = 0 if other is None else stamps[other]
    stream = batch(REGULAR, [scan(stamp) for stamp in stamps])
    assert verdict({'stamps': kind}, [stream]) == expected


# ---- fields -----------------------------------------------------------------------------------

@pytest.mark.parametrize('limits,ranges,expected', [
    ({'finite': True}, (1.0, 2.0), 'PASS'),
    ({'finite': True}, (1.0, np.nan), 'FAIL'),
    ({'finite': True}, (1.0, np.inf), 'FAIL'),
    ({'finite': 'or_inf'}, (1.0, np.inf), 'PASS'),
    ({'finite': 'or_inf'}, (1.0, np.nan), 'FAIL'),
    ({'min': 0.05}, (0.05000001, 3.0), 'PASS'),
    ({'min': 0.05}, (0.01, 3.0), 'FAIL'),
    ({'min': 0.05}, (np.nan, 3.0), 'FAIL'),  # no NaN slips through a range
    ({'max': 30}, (1.0, 30.0), 'PASS'),
    ({'max': 30}, (1.0, 31.0), 'FAIL'),
    ({'max': 30}, (1.0, np.inf), 'FAIL'),
    ({'length': 2}, (1.0, 2.0), 'PASS'),
    ({'length': 2}, (1.0,), 'FAIL'),
    ({'length': {'min': 2}}, (1.0,), 'FAIL'),
    ({'length': {'max': 1}}, (1.0, 2.0), 'FAIL'),
    ({'one_of': [1, 2]}, (1.0, 2.0), 'PASS'),
    ({'one_of': [1, 2]}, (1.0, 3.0), 'FAIL'),
    ({'equals': 1}, (1.0, 1.0), 'PASS'),
    ({'equals': 1}, (1.0, 1.5), 'FAIL'),
    ({'min': 0.05}, (), 'INCONCLUSIVE'),
    ({'finite': True}, (), 'INCONCLUSIVE'),
])
def test_fields(limits: dict[str, Any], ranges: Any, expected: str) -> None:
    sound = [scan(START + i, ranges) for i in range(20)]
    checks = {'fields': {'ranges': limits}}
    assert verdict(checks, [batch(REGULAR[:20], sound)]) == expected


def test_one_bad_message_among_many_is_found_and_named() -> None:
    payloads = [scan(START + i) for i in range(100)]
    payloads[42] = scan(START + 42, (1.0, np.nan, 3.0))
    spec = TestSpec.model_validate({
        **SPEC_HEAD, 'topics': {'/scan': {'fields': {'ranges': {'finite': True, 'min': 0.5}}}},
    })
    (monitor,) = validity_monitors(spec, context())
    monitor.update(batch(REGULAR, payloads))
    finite, least = monitor.measure(observed(10.0))
    assert (finite.value, finite.violations) == (1, 1)
    assert finite.evidence[0].text == 'ranges[1] = nan'
    assert finite.evidence[0].stamp_ns == START + int(REGULAR[42]) + MS
    # Where finite is declared, NaN is its business alone.
    assert judge(least, '').verdict is Verdict.PASS


@pytest.mark.parametrize('limits,quaternion,expected', [
    (True, (0, 0, 0, 1.0), 'PASS'),
    (True, (0.5, 0.5, 0.5, 0.5), 'PASS'),
    (True, (0, 0, 0, 1.01), 'FAIL'),
    ({'tolerance': 0.02}, (0, 0, 0, 1.01), 'PASS'),
    (True, (0, 0, 0, 0.0), 'FAIL'),
    (True, (0, 0, np.nan, 1.0), 'FAIL'),
])
def test_unit_quaternion(limits: Any, quaternion: Any, expected: str) -> None:
    quaternion = tuple(float(one) for one in quaternion)
    stream = batch(
        REGULAR[:20], [imu(START + i, quaternion) for i in range(20)], '/imu',
        'sensor_msgs/msg/Imu',
    )
    checks = {'fields': {'orientation': {'unit_quaternion': limits}}}
    assert verdict(checks, [stream], topic='/imu') == expected


@pytest.mark.parametrize('frames,expected', [
    ('lidar_link', 'PASS'), (['base', 'lidar_link'], 'PASS'), ('laser', 'FAIL'),
])
def test_frame_id(frames: Any, expected: str) -> None:
    assert verdict({'frame_id': frames}, [scans(REGULAR)]) == expected


def test_a_truncated_message_breaks_every_check_on_its_fields() -> None:
    payloads = [scan(START + i) for i in range(30)]
    payloads[7] = payloads[7][:20]
    found = verdicts({
        'frame_id': 'lidar_link',
        'fields': {'ranges': {'finite': True, 'min': 0, 'length': 3}},
    }, [batch(REGULAR[:30], payloads)])
    broken = {name for name, one in found.items() if one[0] is Verdict.FAIL}
    assert broken >= {'frame_id', 'fields.ranges.finite', 'fields.ranges.min'}


@pytest.mark.parametrize('path,limits,text', [
    ('rangs', {'min': 0}, 'ranges'),
    ('header.frame_id', {'min': 0}, 'string'),
    ('ranges', {'equals': 'x'}, 'number'),
    ('range_min', {'length': 1}, 'array'),
])
def test_a_field_that_cannot_be_judged_is_an_error_that_says_why(
    path: str, limits: dict[str, Any], text: str
) -> None:
    with pytest.raises(FieldPathError, match=text):
        verdict({'fields': {path: limits}}, [scans(REGULAR)])


# ---- all of them ------------------------------------------------------------------------------

EVERYTHING: dict[str, Any] = {
    'rate': {'min': '9 Hz', 'max': '11 Hz', 'window': '1 s'}, 'gap': {'max': '250 ms'},
    'jitter': {'p90': '20 ms', 'max': '90 ms'}, 'age': {'p90': '5 ms'},
    'transport': {'p90': '5 ms'}, 'loss': {'max': '3 %'}, 'stamps': 'increasing',
    'expect_count': {'min': 10}, 'frame_id': 'lidar_link',
    'fields': {'ranges': {'finite': True, 'min': 0.5, 'max': 5, 'length': 3}},
}


def test_a_sound_stream_is_green_everywhere() -> None:
    found = verdicts(EVERYTHING, [scans(REGULAR)])
    assert {one[0] for one in found.values()} == {Verdict.PASS}


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_the_moments_of_draining_change_nothing(data: st.DataObject) -> None:
    """Same samples, other batches: the same measurements, evidence included."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    count = data.draw(st.integers(1, 60))
    sent = np.sort(rng.integers(0, 8 * S, count))
    stamps = sent + rng.integers(-200 * MS, 0, count)
    frames = rng.choice(['lidar_link', 'laser'], count, p=[0.9, 0.1])
    payloads = [
        scan(START + int(stamp), rng.choice([1.0, 9.0, np.nan], 3, p=[0.9, 0.05, 0.05]), frame)
        for stamp, frame in zip(stamps, frames, strict=True)
    ]
    publisher = rng.integers(0, 2, count)
    sequence = np.cumsum(rng.integers(1, 3, count))
    whole = batch(sent, payloads, sequence=sequence, publisher=publisher)
    borders = data.draw(st.lists(st.integers(0, count), max_size=8))
    spec = TestSpec.model_validate({**SPEC_HEAD, 'topics': {'/scan': EVERYTHING}})

    def measured(pieces: list[Batch]) -> list[str]:
        monitors = timing_monitors(spec, context()) + validity_monitors(spec, context())
        for piece in pieces:
            for monitor in monitors:
                monitor.update(piece)
        return [repr(asdict(one)) for monitor in monitors
                for one in monitor.measure(observed(9.0))]

    assert measured([whole]) == measured(split(whole, borders))


def test_a_payload_of_any_type_of_buffer_is_taken() -> None:
    stream = scans(REGULAR)
    viewed = replace(stream, payloads=Payloads(
        memoryview(bytes(stream.payloads.buffer)), stream.payloads.offsets,
        stream.payloads.lengths,
    ))
    assert verdict({'frame_id': 'lidar_link'}, [viewed]) == 'PASS'
