"""Rules over time: red and green of each kind, what is undecided, and the margins of an oracle."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_qa.checks import CheckResult, judge
from robot_qa.errors import FieldPathError
from robot_qa.monitors.base import Measurement, Monitor, SimulatedClock
from robot_qa.monitors.temporal import range_max, temporal_monitors
from robot_qa.panel import Panel
from robot_qa.probes.batch import Batch, Observation
from robot_qa.spec.loader import load_spec
from robot_qa.spec.model import TestSpec
from samples import (
    MS,
    START,
    TYPES,
    S,
    batch,
    clock_ticks,
    context,
    imu,
    observed,
    scan,
    serialized,
    split,
)

needs_oracle = pytest.mark.skipif(
    importlib.util.find_spec('rtamt') is None, reason='rtamt, the oracle, is not installed'
)


def monitor_of(rule: dict[str, Any], clock: SimulatedClock | None = None) -> Monitor:
    spec = TestSpec.model_validate({
        'robot_qa': 1, 'name': 'x', 'duration': '100 s', 'rules': {'r': rule},
        'clock': 'ros' if clock else 'system',
    })
    (monitor,) = temporal_monitors(spec, context(clock=clock))
    return monitor


def measured(
    rule: dict[str, Any], *batches: Batch, seen: Observation | None = None,
    clock: SimulatedClock | None = None,
) -> Measurement:
    monitor = monitor_of(rule, clock)
    for one in batches:
        if one.topic == '/clock' and clock:
            clock.update(one)
        if one.topic in monitor.topics:
            monitor.update(one)
    (found,) = monitor.measure(seen or observed(10.0))
    return found


def result(rule: dict[str, Any], *batches: Batch, **more: Any) -> CheckResult:
    return judge(measured(rule, *batches, **more), 'x:1:1')


def data(topic: str, kind: str, at_ms: Any, values: Any, **columns: Any) -> Batch:
    message = TYPES[f'std_msgs/msg/{kind}']
    payloads = [serialized(message(data=value)) for value in values]
    return batch(np.asarray(at_ms) * MS, payloads, topic, f'std_msgs/msg/{kind}', **columns)


def floats(topic: str, *samples: tuple[float, float]) -> Batch:
    """Samples of ``data`` as pairs of seconds and value."""
    return data(topic, 'Float64', [1000 * at for at, _ in samples], [v for _, v in samples])


def bools(topic: str, *samples: tuple[float, bool]) -> Batch:
    return data(topic, 'Bool', [1000 * at for at, _ in samples], [v for _, v in samples])


SPEED = floats('/v', (0, 0.1), (1, 0.5), (2, 0.3), (3, 0.72), (4, 0.2))

THEN = {'after': {'/d': 'data < 0.4'}, 'then': {'/v': 'data < 0.25'}, 'within': '500 ms'}
HOLDS = {'after': {'/stop': 'data == true'}, 'holds': {'/v': 'data == 0'}, 'for': '2 s'}


# ---- each kind, red and green -----------------------------------------------------------------

@pytest.mark.parametrize('rule,verdict,margin', [
    ({'always': {'/v': 'data < 0.8'}}, 'PASS', 0.08),
    ({'always': {'/v': 'data < 0.6'}}, 'FAIL', -0.12),
    ({'always': {'/v': ['data < 0.8', 'data > 0']}}, 'PASS', 0.08),
    ({'always': {'/v': ['data < 0.8', 'data > 0.15']}}, 'FAIL', -0.05),
    ({'always': {'any': [{'/v': 'data < 0.4'}, {'/v': 'data > 0.45'}]}}, 'PASS', 0.05),
    ({'always': {'not': {'/v': 'data > 0.8'}}}, 'PASS', 0.08),
    ({'never': {'/v': 'data > 0.8'}}, 'PASS', 0.08),
    ({'never': {'/v': 'data > 0.6'}}, 'FAIL', -0.12),
    ({'never': {'all': [{'/v': 'data > 0.2'}, {'/v': 'data < 0.4'}]}}, 'FAIL', -0.1),
    ({'eventually': {'/v': 'data > 0.7'}}, 'PASS', 0.02),
    ({'eventually': {'/v': 'data > 0.8'}}, 'FAIL', -0.08),
    ({'eventually': {'/v': 'data > 0.7'}, 'within': '3 s'}, 'PASS', 0.02),
    ({'eventually': {'/v': 'data > 0.7'}, 'within': '2999 ms'}, 'FAIL', -0.2),
])
def test_one_topic(rule: dict[str, Any], verdict: str, margin: float) -> None:
    found = result(rule, SPEED)
    assert found.verdict.value == verdict
    assert found.measurement is not None
    assert found.measurement.value == pytest.approx(margin)


@pytest.mark.parametrize('calm_at,verdict', [(2.4, 'PASS'), (2.5, 'PASS'), (2.501, 'FAIL')])
def test_then(calm_at: float, verdict: str) -> None:
    near = floats('/d', (0, 1.0), (2, 0.3), (4, 1.0))
    speed = floats('/v', (0, 0.5), (calm_at, 0.2), (5, 0.5))
    found = result(THEN, near, speed)
    assert found.verdict.value == verdict
    if verdict == 'FAIL':
        assert found.reason == (
            'margin -0.25; first: after /d data = 0.3: /v data = 0.5 at best within 500 ms'
        )
        assert found.evidence[0].stamp_ns == START + 2 * S + MS


@pytest.mark.parametrize('moves_at,verdict', [(3.9, 'FAIL'), (4, 'FAIL'), (4.001, 'PASS')])
def test_holds(moves_at: float, verdict: str) -> None:
    stop = bools('/stop', (0, False), (2, True), (6, False))
    speed = floats('/v', (0, 0.5), (2, 0.0), (moves_at, 0.02))
    found = result(HOLDS, stop, speed)
    assert found.verdict.value == verdict
    if verdict == 'FAIL':
        assert found.reason.startswith('margin -0.02; first: after /stop data = true: /v data = ')
        assert found.evidence[0].stamp_ns == START + round(moves_at * S) + MS


def test_a_field_against_a_field_of_another_topic() -> None:
    rule = {'always': {'/v': 'data < /w data + 0.1'}}
    wish = floats('/w', (0, 0.5), (2, 0.65))
    assert result(rule, SPEED, wish).reason == 'margin 0.03'
    late = floats('/w', (0, 0.5), (3.5, 0.65))
    assert result(rule, SPEED, late).reason == (
        'margin -0.12; first: /v data = 0.72, /w data = 0.5 (for 500 ms)'
    )


# ---- truth at a margin of zero, whole numbers, texts, NaN -----------------------------------

@pytest.mark.parametrize('comparison,held', [
    ('data < 2', False), ('data <= 2', True), ('data > 2', False), ('data >= 2', True),
    ('data == 2', True), ('data != 2', False),
])
@pytest.mark.parametrize('kind', ['Float64', 'Int32'])
def test_the_sign_of_no_margin_is_the_truth(kind: str, comparison: str, held: bool) -> None:
    stream = data('/v', kind, [0], [2])
    expected = ['PASS', 'FAIL'] if held else ['FAIL', 'PASS']
    found = [result({kind: {'/v': comparison}}, stream) for kind in ('always', 'never')]
    assert [one.verdict.value for one in found] == expected
    exact = kind == 'Int32' and comparison[5:7] in ('==', '!=')
    shown = {True: 'held', False: 'broken'}[held] if exact else 'margin 0'
    assert found[0].reason.startswith(shown)


@pytest.mark.parametrize('comparison,values,verdict', [
    ('data == "auto"', ['auto', 'auto'], 'PASS'),
    ('data == "auto"', ['auto', 'manual'], 'FAIL'),
    ("data != 'off'", ['on', 'auto'], 'PASS'),
    ("data != 'off'", ['on', 'off'], 'FAIL'),
])
def test_texts(comparison: str, values: list[str], verdict: str) -> None:
    found = result({'always': {'/m': comparison}}, data('/m', 'String', [0, 500], values))
    assert found.verdict.value == verdict
    assert found.measurement is not None
    assert (found.measurement.value, found.measurement.check.unit) == (verdict == 'PASS', 'truth')
    if verdict == 'FAIL':
        assert found.reason == f'broken; first: /m data = "{values[1]}" (for 9.5 s)'


def test_texts_of_two_topics() -> None:
    rule = {'always': {'/m': 'data == /n data'}}
    mode = data('/m', 'String', [0, 500], ['a', 'b'])
    assert result(rule, mode, data('/n', 'String', [0, 500], ['a', 'b'])).reason == 'held'
    assert result(rule, mode, data('/n', 'String', [0, 501], ['a', 'b'])).reason.startswith(
        'broken; first: /m data = "b", /n data = "a" (for 1 ms)')


@pytest.mark.parametrize('rule', [
    {'always': {'/v': 'data < 1'}}, {'always': {'/v': 'data != 5'}},
    {'always': {'/v': '1 > data'}}, {'never': {'/v': 'data > 1'}},
    {'always': {'not': {'/v': 'data > 1'}}},
])
def test_nan_meets_nothing(rule: dict[str, Any]) -> None:
    found = result(rule, floats('/v', (0, 0.5), (1, np.nan), (2, 0.5)))
    assert found.reason == 'broken; first: /v data = nan (for 1 s)'
    assert found.evidence[0].value is None
    json.dumps(found.measurement and found.measurement.value, allow_nan=False)


def test_infinite_values_are_compared_and_leave_numbers_that_json_has() -> None:
    stream = floats('/v', (0, np.inf), (1, np.inf))
    assert result({'always': {'/v': 'data > 1'}}, stream).reason == 'held'
    assert result({'always': {'/v': 'data < 1'}}, stream).reason.startswith('broken')
    assert result({'always': {'/v': 'data >= /v data'}}, stream).reason == 'margin 0'


def test_a_number_is_rounded_to_the_precision_of_the_field() -> None:
    stream = data('/v', 'Float32', [0], [0.7])
    for comparison in ('data >= 0.7', 'data <= 0.7', 'data == 0.7'):
        assert result({'always': {'/v': comparison}}, stream).reason == 'margin 0'


# ---- reducers ---------------------------------------------------------------------------------

@pytest.mark.parametrize('value,expected', [
    ('min(ranges)', 1.0), ('max(ranges)', 4.0), ('mean(ranges)', 7 / 3), ('count(ranges)', 4),
    ('norm(ranges)', np.nan), ('ranges[1]', 4.0), ('ranges[2]', np.nan), ('ranges[9]', np.nan),
    ('min(intensities)', np.nan), ('count(intensities)', 0), ('abs(range_min)', 0.05),
])
def test_reducers(value: str, expected: float) -> None:
    ranges = (1.0, 4.0, np.nan, 2.0)
    stream = batch([0, S, 2 * S], [scan(START, ranges)] * 3)
    found = measured({'always': {'/scan': f'{value} > -1'}}, stream)
    if np.isnan(expected):
        assert found.violations == 1
        assert found.evidence[0].text == f'/scan {value} = nan (for 10 s)'
    else:
        assert found.value == pytest.approx(expected + 1)


def test_norm_of_a_vector_and_malformed_messages() -> None:
    messages = [imu(START, z=4.0)] * 30
    stream = batch(np.arange(30) * MS, messages, '/imu', 'sensor_msgs/msg/Imu')
    rule = {'always': {'/imu': 'norm(linear_acceleration) <= 4'}}
    assert result(rule, stream).reason == 'margin 0'
    messages[20] = messages[20][:60]
    stream = batch(np.arange(30) * MS, messages, '/imu', 'sensor_msgs/msg/Imu')
    assert result(rule, stream).reason == (
        'broken; first: /imu norm(linear_acceleration) = nan (for 1 ms)'
    )


@pytest.mark.parametrize('comparison,text', [
    ('rangs[0] < 1', 'did you mean "ranges"'),
    ('ranges < 1', 'is an array; write min, max'),
    ('abs(ranges) < 1', 'is an array'),
    ('min(range_min) < 1', 'is one value; min needs an array'),
    ('count(range_min) < 1', 'has no length'),
    ('header.stamp < 1', 'is a time'),
    ('header.frame_id < 1', 'only be compared by == and !='),
    ('header.frame_id + 1 == range_min', 'only be compared by == and !='),
    ('header.frame_id == 1', 'a text is compared with a number'),
    ('range_min == "x"', 'a text is compared with a number'),
])
def test_a_field_that_cannot_be_compared_is_an_error_that_says_why(
    comparison: str, text: str
) -> None:
    with pytest.raises(FieldPathError, match=text):
        result({'always': {'/scan': comparison}}, batch([0], [scan(START)]))


# ---- what is undecided ------------------------------------------------------------------------

NEAR = floats('/d', (0, 1.0), (2, 0.3), (4, 1.0))
CALM = floats('/v', (0, 0.1))


@pytest.mark.parametrize('rule,batches,seconds,reason', [
    (THEN, [NEAR], 10, 'no message on /v'),
    (THEN, [CALM], 10, 'no message on /d'),
    (THEN, [floats('/d', (0, 1.0)), CALM], 10, 'never happened: "after" did not become true'),
    (THEN, [NEAR, CALM], 2.4, '"after" became true once, but what must follow was not watched'),
    (THEN, [NEAR, floats('/v', (2.1, 0.1))], 10, '"after" became true once, but'),
    (THEN, [NEAR, CALM], 2.5, 'margin 0.15'),
    (HOLDS, [bools('/stop', (1, True)), floats('/v', (0, 0.0))], 2.9, '"after" became true once'),
    (HOLDS, [bools('/stop', (1, True)), floats('/v', (0, 0.0))], 3, 'margin 0'),
    # What is broken already need not be watched to its end.
    (HOLDS, [bools('/stop', (1, True)), floats('/v', (0, 0.5))], 2.9, 'margin -0.5; first'),
    ({'eventually': {'/v': 'data > 1'}, 'within': '5 s'}, [CALM], 4, 'not yet true; 4 s of 5 s'),
    ({'eventually': {'/v': 'data > 1'}, 'within': '5 s'}, [CALM], 5, 'margin -0.9; first'),
    ({'eventually': {'/v': 'data > 1'}, 'within': '5 s'}, [floats('/v', (6, 2.0))], 10,
     'nothing to judge by came within 5 s'),
    ({'eventually': {'/v': 'data > 1'}, 'within': '5 s'}, [floats('/v', (5, 2.0))], 10,
     'margin 1'),
    ({'always': {'/v': 'data > 1'}}, [floats('/v', (6, 2.0))], 5,
     'no message on /v within the observation'),
])
def test_what_the_observation_does_not_cover(
    rule: dict[str, Any], batches: list[Batch], seconds: float, reason: str
) -> None:
    found = result(rule, *batches, seen=observed(seconds))
    assert found.reason.startswith(reason)
    decided = 'margin' in reason
    assert (found.verdict.value == 'INCONCLUSIVE') != decided


def test_nothing_is_asked_before_all_topics_have_spoken() -> None:
    rule = {'always': {'/v': 'data < 0.4', '/w': 'data > 0'}}
    assert result(rule, SPEED, floats('/w', (3.5, 1.0))).verdict.value == 'FAIL'
    assert result(rule, SPEED, floats('/w', (4.0, 1.0))).verdict.value == 'PASS'


def test_after_asks_every_time_and_also_where_it_is_true_when_first_known() -> None:
    stop = bools('/stop', (1, True), (2, True), (3, False), (4, True), (9, False), (9.5, True))
    found = measured(HOLDS, stop, floats('/v', (0, 0.0), (4.5, 0.1), (5, 0.3)))
    assert (found.count, found.violations, found.value) == (3, 2, -0.3)
    assert measured(HOLDS, stop, floats('/v', (0, 0.0))).count == 2  # the last does not fit


def test_a_sample_from_before_the_start_holds_at_the_start() -> None:
    rule = {'always': {'/v': 'data < 0.6'}}
    before = floats('/v', (-3, 0.9), (-2, 0.5))
    assert result(rule, before).reason == 'margin 0.1'
    assert result({'eventually': {'/v': 'data < 0.6'}, 'within': '1 s'}, before).reason == (
        'margin 0.1')
    stopped = bools('/stop', (-3, True))
    assert result(HOLDS, stopped, floats('/v', (-3, 0.9), (-2, 0.0))).reason == 'margin 0'


def test_one_of_two_samples_of_the_same_time_is_not_lost() -> None:
    for values in ([0.9, 0.1], [0.1, 0.9]):
        stream = data('/v', 'Float64', [100, 100], values)
        assert result({'always': {'/v': 'data < 0.6'}}, stream).verdict.value == 'FAIL'


def test_two_topics_that_change_at_once_are_never_seen_in_between() -> None:
    rule = {'always': {'/v': 'data == /w data'}}
    both = [floats(topic, *((0.1 * i, float(i)) for i in range(50))) for topic in ('/v', '/w')]
    assert result(rule, *both).reason == 'margin 0'


def test_samples_out_of_order_are_put_in_order() -> None:
    stream = floats('/v', (0, 0.1), (2, 0.3), (1, 0.2))
    rule = {'after': {'/v': 'data > 0.15'}, 'holds': {'/v': 'data < 0.25'}, 'for': '900 ms'}
    assert result(rule, stream).verdict.value == 'PASS'


def test_in_a_run_the_silent_topic_is_named_and_only_the_end_tells_that_nothing_came(
    tmp_path: Path,
) -> None:
    path = tmp_path / 'x.qa.yaml'
    path.write_text(
        'robot_qa: 1\nname: x\nduration: 10 s\nrules:\n'
        '  agrees: {always: {/v: data < /w data}}\n'
        '  comes: {eventually: {/v: data > 1}}\n'
        '  came: {eventually: {/v: data > 0.7}}\n'
    )
    panel = Panel(load_spec(path), context().store)
    assert panel.topics == ['/v', '/w']
    panel.update([SPEED])
    seen = observed(5.0, notes={'/w': ['no publisher']})
    agrees, comes, came = panel.results(seen, final=False)
    assert agrees.reason == 'no message on /w: no publisher'
    assert [one.verdict.value for one in (agrees, comes, came)] == [
        'INCONCLUSIVE', 'INCONCLUSIVE', 'PASS']
    agrees, comes, came = panel.results(seen, final=True)
    assert (comes.verdict.value, comes.source) == ('FAIL', f'{path}:6:3')
    assert comes.reason == 'margin -0.28; first: /v data = 0.72 at best, 3 s after the start'


# ---- time -------------------------------------------------------------------------------------

def test_basis_arrival_and_no_send_times() -> None:
    rule = {'eventually': {'/v': 'data > 0'}, 'within': '1 s'}
    late = data('/v', 'Float64', [500], [1.0], received=[1500 * MS])
    assert result(rule, late).reason == 'margin 1'
    assert result({**rule, 'basis': 'arrival'}, late).verdict.value == 'INCONCLUSIVE'
    unsent = data('/v', 'Float64', [0], [1.0])
    unsent = Batch(unsent.topic, unsent.type, None, late.received_ns, None, unsent.publisher,
                   unsent.payloads)
    assert result(rule, unsent).reason == 'nothing to judge by came within 1 s'


def test_header_stamps_follow_the_simulated_clock() -> None:
    rule = {'eventually': {'/scan': 'min(ranges) < 1'}, 'within': '2 s', 'basis': 'header'}
    ticks = clock_ticks([0, S, 2 * S], [100 * S, 101 * S, 103 * S])
    scans = batch([0, S], [scan(100 * S), scan(102 * S, (0.5,))])
    assert result(rule, ticks, scans, clock=SimulatedClock()).reason == 'margin 0.5'
    scans = batch([0, S], [scan(100 * S), scan(102 * S + 1, (0.5,))])
    assert result(rule, ticks, scans, clock=SimulatedClock()).verdict.value == 'FAIL'
    assert result(rule, scans, clock=SimulatedClock()).reason.startswith('no tick of /clock')
    no_header = {'always': {'/v': 'data < 1'}, 'basis': 'header'}
    with pytest.raises(FieldPathError, match='header'):
        result(no_header, SPEED)


@pytest.mark.parametrize('off_s', [-3600, -4, 2, 3600])
def test_send_times_of_another_clock_are_not_trusted(off_s: int) -> None:
    at = np.arange(0, 9000, 500)
    stream = data('/v', 'Float64', at + 1000 * off_s, [0.1] * len(at), received=at * MS)
    rule = {'always': {'/v': 'data < 0.6'}}
    assert 'more than 1 s off the clock' in result(rule, stream).reason
    assert result({**rule, 'basis': 'arrival'}, stream).verdict.value == 'PASS'


# ---- all of them ------------------------------------------------------------------------------

RULES: list[dict[str, Any]] = [
    {'always': {'/v': 'data < 0.9'}},
    {'never': {'any': [{'/v': 'data < 0.1'}, {'/w': 'data > /v data + 0.8'}]}},
    {'eventually': {'/v': 'data > 0.95', '/w': 'data > 0.95'}, 'within': '3 s'},
    {'after': {'/v': 'data < 0.4'}, 'then': {'/w': 'data < 0.25'}, 'within': '500 ms'},
    {'after': {'/v': 'data < 0.4'}, 'holds': {'/w': 'data < 0.25'}, 'for': '500 ms'},
    {'always': {'/m': 'data == "on"', '/v': 'data >= 0'}},
]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_the_moments_of_draining_change_nothing(draw: st.DataObject) -> None:
    """Same samples, other batches, other interleaving of topics: the same measurements."""
    rng = np.random.default_rng(draw.draw(st.integers(0, 2**32)))
    streams = []
    for topic in ('/v', '/w', '/m'):
        count = draw.draw(st.integers(1, 40))
        at = np.sort(rng.integers(0, 8000, count)) + rng.integers(-3, 3, count)
        if topic == '/m':
            streams.append(data(topic, 'String', at, rng.choice(['on', 'off'], count)))
        else:
            values = rng.choice([0.0, 0.2, 0.5, 0.97, np.nan], count, p=[.2, .2, .3, .28, .02])
            streams.append(data(topic, 'Float64', at, values))
    pieces = [
        split(stream, draw.draw(st.lists(st.integers(0, len(stream)), max_size=5)))
        for stream in streams
    ]
    order = draw.draw(st.permutations([i for i, parts in enumerate(pieces) for _ in parts]))
    for rule in RULES:
        whole = measured(rule, *streams, seen=observed(9.0))
        queues = [iter(parts) for parts in pieces]
        cut = measured(rule, *(next(queues[i]) for i in order), seen=observed(9.0))
        assert repr(asdict(whole)) == repr(asdict(cut))


@given(st.lists(st.floats(-9, 9), min_size=1, max_size=40), st.data())
def test_range_max(values: list[float], draw: st.DataObject) -> None:
    last = st.integers(0, len(values) - 1)
    pairs = [tuple(sorted(p)) for p in draw.draw(st.lists(st.tuples(last, last), max_size=9))]
    first, final = np.array(pairs, np.int64).reshape(-1, 2).T
    found = range_max(np.array(values), first, final)
    assert found.tolist() == [max(values[a:b + 1]) for a, b in pairs]


# ---- the oracle: rtamt, dense-time STL, offline ------------------------------------------------

STEP_MS = 250
END_S = 8.0
Samples = list[tuple[float, float]]
VALUES = st.sampled_from([-2.0, -1.0, -0.5, 0.5, 1.0, 2.0, 3.0])
CONDITIONS: list[tuple[dict[str, Any], str]] = [
    ({'/x': 'data < 0.75'}, '(x < 0.75)'),
    ({'/x': 'data > /y data + 0.25'}, '(x > y + 0.25)'),
    ({'/x': ['data > -1.25', 'data < 1.75'], '/y': 'data < 2.5'},
     '((x > -1.25) and (x < 1.75) and (y < 2.5))'),
    ({'any': [{'/x': 'data > 1.25'}, {'not': {'/y': 'data > -0.75'}}]},
     '((x > 1.25) or (not(y > -0.75)))'),
    ({'not': {'all': [{'/x': 'data < 0.75'}, {'any': [{'/y': 'abs(data) > 1.25'}]}]}},
     '(not((x < 0.75) and (abs(y) > 1.25)))'),
]


@st.composite
def signals(draw: st.DrawFn) -> Samples:
    """Values at the start, at the end, and at some multiples of a quarter of a second between."""
    steps = draw(st.sets(st.integers(1, int(1000 * END_S / STEP_MS) - 1), max_size=12))
    at = [0.0, *(STEP_MS / 1000 * step for step in sorted(steps))]
    samples = [(one, draw(VALUES)) for one in at]
    return [*samples, (END_S, samples[-1][1])]


def robustness(formula: str, x: Samples, y: Samples) -> Samples:
    import rtamt

    monitor = rtamt.StlDenseTimeSpecification()
    for name in ('x', 'y', 'out'):
        monitor.declare_var(name, 'float')
    monitor.spec = f'out = {formula}'
    monitor.parse()
    given_signals = [['x', [list(one) for one in x]], ['y', [list(one) for one in y]]]
    return [(at, value) for at, value in monitor.evaluate(*given_signals)]


def at_time(signal: Samples, moment: float) -> float:
    return [value for at, value in signal if at <= moment][-1]


def margin_of(rule: dict[str, Any], x: Samples, y: Samples) -> float | None:
    return measured(rule, floats('/x', *x), floats('/y', *y), seen=observed(END_S)).value


@needs_oracle
@settings(max_examples=1500, deadline=None)
@given(signals(), signals(), st.sampled_from(CONDITIONS), st.integers(1, 16))
def test_margins_of_always_never_eventually(
    x: Samples, y: Samples, pair: tuple[dict[str, Any], str], steps: int
) -> None:
    condition, formula = pair
    span = steps * STEP_MS
    for rule, temporal in (
        ({'always': condition}, f'always({formula})'),
        ({'never': condition}, f'always(not{formula})'),
        ({'eventually': condition}, f'eventually({formula})'),
        ({'eventually': condition, 'within': f'{span} ms'},
         f'eventually[0:{span / 1000}]({formula})'),
    ):
        assert margin_of(rule, x, y) == robustness(temporal, x, y)[0][1], rule


@needs_oracle
@settings(max_examples=1500, deadline=None)
@given(
    signals(), signals(), st.sampled_from(CONDITIONS), st.sampled_from(CONDITIONS),
    st.integers(1, 16),
)
def test_margins_of_then_and_holds(
    x: Samples, y: Samples, cause: tuple[dict[str, Any], str],
    effect: tuple[dict[str, Any], str], steps: int,
) -> None:
    span = steps * STEP_MS
    when = robustness(cause[1], x, y)
    rises = [
        at for i, (at, margin) in enumerate(when)
        if margin > 0 and (i == 0 or when[i - 1][1] < 0)
    ]
    fitting = [at for at in rises if at + span / 1000 <= END_S]
    for word, key, temporal in (
        ('then', 'within', 'eventually'), ('holds', 'for', 'always')
    ):
        rule = {'after': cause[0], word: effect[0], key: f'{span} ms'}
        windows = robustness(f'{temporal}[0:{span / 1000}]({effect[1]})', x, y)
        margins = [at_time(windows, at) for at in fitting]
        if word == 'holds':  # what the end cuts counts if it is broken
            held = robustness(effect[1], x, y)
            rest = [min(m for at, m in [(rise, at_time(held, rise)), *held] if at >= rise)
                    for rise in rises if rise not in fitting]
            margins += [margin for margin in rest if margin < 0]
        assert margin_of(rule, x, y) == (min(margins) if margins else None), rule
