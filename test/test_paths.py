"""Latency along paths: planted latencies, misses and clocks that disagree; red and green."""

from __future__ import annotations

import struct
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_qa.checks import CheckResult, Verdict, judge
from robot_qa.errors import FieldPathError, SpecError
from robot_qa.monitors import matching
from robot_qa.monitors.base import Monitor, SimulatedClock
from robot_qa.monitors.paths import path_monitors
from robot_qa.probes.batch import Batch, Int64s, Observation
from robot_qa.spec.loader import load_spec
from robot_qa.spec.model import TestSpec, declared_checks
from samples import MS, START, S, batch, clock_ticks, context, observed, scan, split

HEAD = {'robot_qa': 1, 'name': 'x', 'duration': '10 s'}
REGULAR = np.arange(500) * 20 * MS  # 50 Hz for 10 s
TAIL = scan(0)[12:]
LONG = observed(12.0)  # nothing is under way any more


def stamped(stamps: Any) -> list[bytes]:
    """Scans with these header stamps, ns."""
    return [
        b'\x00\x01\x00\x00' + struct.pack('<iI', *divmod(int(stamp), S)) + TAIL for stamp in stamps
    ]


def on(topic: str, sent: Any, stamps: Any, **columns: Any) -> Batch:
    """Messages sent at these times after START, with the stamps of inputs after START."""
    return batch(np.asarray(sent), stamped(START + np.asarray(stamps)), topic, **columns)


def made(path: dict[str, Any], clock: SimulatedClock | None = None) -> tuple[TestSpec, Monitor]:
    spec = TestSpec.model_validate({
        **HEAD, 'clock': 'ros' if clock else 'system',
        'paths': {'p': {'from': '/in', 'to': '/out', **path}},
    })
    (monitor,) = path_monitors(spec, context(clock=clock))
    return spec, monitor


def results(
    path: dict[str, Any], batches: list[Batch], seen: Observation = LONG,
    clock: SimulatedClock | None = None,
) -> dict[str, CheckResult]:
    """Judge batches; the keys are the names of the checks below the path."""
    spec, monitor = made(path, clock)
    for one in batches:
        if clock is not None and one.topic == '/clock':
            clock.update(one)
        else:
            monitor.update(one)
    found = {}
    for measured in monitor.measure(seen):
        notes = seen.notes.get(measured.check.topic, ())
        found[measured.check.name.removeprefix('paths.p.')] = judge(measured, 'x:1:1', notes)
    assert set(found) == {
        name.removeprefix('paths.p.') for name, _ in declared_checks(spec)
    } == {check.name.removeprefix('paths.p.') for check in monitor.checks}
    return found


def verdicts(*arguments: Any, **more: Any) -> dict[str, str]:
    return {name: one.verdict.value for name, one in results(*arguments, **more).items()}


def value(result: CheckResult) -> float | None:
    assert result.measurement is not None
    return result.measurement.value


def echo(delay: Any, kept: Any = None, topic: str = '/out', **columns: Any) -> Batch:
    """What comes out of the regular inputs after ``delay`` ns, or of those that are kept."""
    delays = np.broadcast_to(np.asarray(delay, np.int64), REGULAR.shape)
    index = np.arange(len(REGULAR)) if kept is None else np.asarray(kept)
    return on(topic, (REGULAR + delays)[index], REGULAR[index], **columns)


def all_but(*dropped: Any) -> Int64s:
    return np.setdiff1d(np.arange(len(REGULAR)), [*dropped])


INPUTS = on('/in', REGULAR, REGULAR)
# 30 to 50 ms, and every 250th takes 90 ms: far enough apart not to be correlated.
LATENCIES = np.random.default_rng(3).integers(30 * MS, 50 * MS, 500)
LATENCIES[100::250] = 90 * MS


# ---- latencies --------------------------------------------------------------------------------

@pytest.mark.parametrize('limits,expected', [
    ({'p50': '45 ms', 'p95': '60 ms', 'max': '100 ms'}, ['PASS', 'PASS', 'PASS']),
    ({'p50': '35 ms', 'p95': '40 ms', 'max': '80 ms'}, ['FAIL', 'FAIL', 'FAIL']),
    ({'p99': '80 ms'}, ['INCONCLUSIVE']),  # 2 of 500 beyond do not prove less than 1 %
    ({'min': '30 ms'}, ['PASS']),
    ({'min': '31 ms'}, ['FAIL']),
])
def test_planted_latencies_are_measured(limits: dict[str, str], expected: list[str]) -> None:
    found = results(limits, [INPUTS, echo(LATENCIES)])
    assert [one.verdict.value for one in found.values()] == expected
    exactly = {'p50': np.sort(LATENCIES)[249], 'p95': np.sort(LATENCIES)[474],
               'p99': np.sort(LATENCIES)[494], 'max': LATENCIES.max(), 'min': LATENCIES.min()}
    assert {name: value(one) for name, one in found.items()} == {
        name: exactly[name] for name in limits}


def test_a_quantile_has_bounds_on_both_sides() -> None:
    measured = results({'p95': '60 ms'}, [INPUTS, echo(LATENCIES)])['p95'].measurement
    assert measured is not None and measured.low is not None and measured.high is not None
    assert measured.low < (measured.value or 0) < measured.high
    assert measured.count == 500


def test_the_worst_is_kept_as_evidence() -> None:
    found = results({'max': '80 ms'}, [INPUTS, echo(LATENCIES)])['max']
    assert [(one.stamp_ns, one.value) for one in found.evidence] == [
        (START + int(REGULAR[index]) + MS, 90 * MS) for index in (100, 350)]


STAGES = {
    'through': ['/a', '/b'], 'p95': '100 ms',
    'stages': {'/a': {'p95': '15 ms'}, '/b': {'p95': '25 ms'}, '/out': {'p95': '35 ms'}},
}


@pytest.mark.parametrize('slow,expected', [
    (None, []), ('/a', ['stages./a.p95']), ('/b', ['stages./b.p95']),
    ('/out', ['stages./out.p95']),
])
def test_a_slow_stage_is_the_one_that_is_blamed(slow: str | None, expected: list[str]) -> None:
    after, batches = 0, [INPUTS]
    for topic, takes in (('/a', 10 * MS), ('/b', 20 * MS), ('/out', 30 * MS)):
        after += takes + (20 * MS if topic == slow else 0)
        batches.append(echo(after, topic=topic))
    found = results(STAGES, batches)
    assert [name for name, one in found.items() if one.verdict is not Verdict.PASS] == expected
    assert value(found['p95']) == after


# ---- misses -----------------------------------------------------------------------------------

EVERY_TENTH = all_but(*range(0, 500, 10))


@pytest.mark.parametrize('limit,kept,expected', [
    ('0 %', None, 'PASS'),
    ('0 %', all_but(77), 'FAIL'),
    ('2 %', None, 'PASS'),
    ('2 %', all_but(77), 'PASS'),
    ('2 %', EVERY_TENTH, 'FAIL'),
    ('2 %', all_but(*range(100, 120)), 'INCONCLUSIVE'),  # 4 % in one burst is one event
    ('2 %', [], 'FAIL'),
    # An outage is no single event, however long it lasts.
    ('10 %', [], 'FAIL'),
    ('50 %', [], 'FAIL'),
    ('10 %', np.arange(300), 'FAIL'),
    ('50 %', np.arange(300), 'INCONCLUSIVE'),
])
def test_what_never_came_out_is_missed(limit: str, kept: Any, expected: str) -> None:
    outputs = [] if isinstance(kept, list) else [echo(40 * MS, kept)]
    assert verdicts({'missed': limit}, [INPUTS, *outputs]) == {'missed.max': expected}


def test_a_missed_input_is_named() -> None:
    found = results({'missed': '0 %'}, [INPUTS, echo(40 * MS, all_but(77))])['missed.max']
    assert found.evidence[0].text == 'not on /out within 1 s, header.stamp 1700000001.540000000'
    assert found.evidence[0].stamp_ns == START + int(REGULAR[77]) + MS


@pytest.mark.parametrize('limits,kept,expected', [
    ({'p90': '60 ms', 'max': '500 ms'}, None, {'p90': 'PASS', 'max': 'PASS'}),
    ({'max': '500 ms'}, all_but(77), {'max': 'FAIL'}),
    ({'p90': '60 ms'}, all_but(77), {'p90': 'PASS'}),
    ({'p95': '60 ms'}, EVERY_TENTH, {'p95': 'FAIL'}),
    # Judged by "missed" instead.
    ({'p95': '60 ms', 'missed': '20 %'}, EVERY_TENTH, {'p95': 'PASS', 'missed.max': 'PASS'}),
    ({'p95': '60 ms', 'missed': '1 %'}, EVERY_TENTH, {'p95': 'PASS', 'missed.max': 'FAIL'}),
])
def test_without_a_limit_of_their_own_misses_took_the_timeout(
    limits: dict[str, str], kept: Any, expected: dict[str, str]
) -> None:
    assert verdicts(limits, [INPUTS, echo(40 * MS, kept)]) == expected


def test_a_miss_among_latencies_says_so() -> None:
    found = results({'max': '500 ms'}, [INPUTS, echo(40 * MS, all_but(77))])['max']
    assert value(found) == S
    assert 'not on /out within 1 s' in found.evidence[0].text


@pytest.mark.parametrize('limits,waits', [
    ({'p95': '80 ms'}, S), ({'max': '2 s'}, 4 * S),
    ({'p95': '80 ms', 'timeout': '300 ms'}, 300 * MS),
    ({'p95': '80 ms', 'stages': {'/out': {'max': '3 s'}}}, 6 * S),
])
def test_an_input_is_waited_for_until_the_timeout(limits: dict[str, Any], waits: int) -> None:
    """The last input does not come out; it is missed from the moment its timeout has passed."""
    path = {**limits, 'missed': '0 %'}
    batches = [INPUTS, echo(40 * MS, all_but(499))]
    deadline = (int(REGULAR[499]) + MS + waits) / S
    assert verdicts(path, batches, observed(deadline - 0.001))['missed.max'] == 'PASS'
    assert verdicts(path, batches, observed(deadline))['missed.max'] == 'FAIL'


def test_what_is_still_under_way_is_no_sample() -> None:
    found = results({'missed': '0 %'}, [INPUTS, echo(40 * MS, range(490))], observed(10.05))
    measured = found['missed.max'].measurement
    assert measured is not None and (measured.count, measured.violations) == (490, 0)
    assert '10 still under way' in measured.reason
    (nothing,) = results({'p95': '1 s', 'timeout': '5 s'}, [on('/in', [0], [0])],
                         observed(1.0)).values()
    assert nothing.verdict is Verdict.INCONCLUSIVE and 'before the end' in nothing.reason


@pytest.mark.parametrize('limits,expected', [
    ({'missed': '0 %'}, {'missed.max': 'FAIL'}),
    ({'missed': '5 %', 'max': '500 ms'}, {'missed.max': 'PASS', 'max': 'PASS'}),
    ({'max': '500 ms'}, {'max': 'FAIL'}),  # with its own latency
    ({'timeout': '3 s', 'missed': '0 %', 'p90': '60 ms'}, {'missed.max': 'PASS', 'p90': 'PASS'}),
])
def test_late_is_missed(limits: dict[str, str], expected: dict[str, str]) -> None:
    late = np.where(np.arange(500) == 77, 2 * S, 40 * MS)
    found = results(limits, [INPUTS, echo(late)])
    assert {name: one.verdict.value for name, one in found.items()} == expected
    if limits == {'max': '500 ms'}:
        assert value(found['max']) == 2 * S
    if limits == {'missed': '0 %'}:
        assert found['missed.max'].evidence[0].text.startswith('on /out after 2 s')


@pytest.mark.parametrize('every,kept,missed', [
    (3, range(0, 500, 3), 0),
    (3, range(2, 500, 3), 0),
    (3, [*range(0, 250, 3), *range(251, 500, 2)], 0),  # more than it has to
    (3, np.setdiff1d(np.arange(0, 500, 3), [240]), 1),
    (3, np.setdiff1d(np.arange(0, 500, 3), [240, 243]), 2),
    (3, range(0, 250, 3), 83),  # stops
    (3, range(250, 500, 3), 83),  # begins late
    (2, range(0, 500, 3), 166),
    (None, range(0, 500, 3), 333),
])
def test_every_nth_has_to_come_out(every: int | None, kept: Any, missed: int) -> None:
    path = {'missed': '0 %', **({'every': every} if every else {})}
    found = results(path, [INPUTS, echo(40 * MS, kept)])['missed.max']
    assert found.measurement is not None
    assert found.measurement.violations == missed
    assert found.verdict is (Verdict.FAIL if missed else Verdict.PASS)
    assert found.measurement.count == len(np.asarray(kept)) + missed


def test_what_is_dropped_by_design_does_not_count_as_slow() -> None:
    assert verdicts({'p95': '60 ms', 'every': 3}, [INPUTS, echo(40 * MS, range(0, 500, 3))]) == {
        'p95': 'PASS'}
    assert verdicts({'p95': '60 ms'}, [INPUTS, echo(40 * MS, range(0, 500, 3))]) == {'p95': 'FAIL'}


def test_the_stage_that_loses_is_the_one_that_is_blamed() -> None:
    lost = all_but(*range(5, 500, 20))
    found = verdicts(
        {'through': ['/a'], 'missed': '1 %', 'stages': {
            '/a': {'missed': '1 %', 'max': '100 ms'}, '/out': {'missed': '1 %'}}},
        [INPUTS, echo(10 * MS, topic='/a'), echo(40 * MS, lost)],
    )
    assert found == {'missed.max': 'FAIL', 'stages./a.max': 'PASS', 'stages./a.missed.max': 'PASS',
                     'stages./out.missed.max': 'FAIL'}


def test_what_a_stage_loses_is_for_the_path_to_judge() -> None:
    path = {'through': ['/a'], 'missed': '20 %', 'stages': {'/a': {'max': '100 ms'}}}
    batches = [INPUTS, echo(10 * MS, EVERY_TENTH, topic='/a'), echo(40 * MS, EVERY_TENTH)]
    assert verdicts(path, batches) == {'missed.max': 'PASS', 'stages./a.max': 'PASS'}
    assert verdicts({**path, 'missed': '5 %'}, batches) == {
        'missed.max': 'FAIL', 'stages./a.max': 'PASS'}
    without = {'through': ['/a'], 'p50': '100 ms', 'max': '100 ms',
               'stages': {'/a': {'max': '100 ms'}}}
    assert verdicts(without, batches) == {
        'p50': 'PASS', 'max': 'FAIL', 'stages./a.max': 'PASS'}


@pytest.mark.parametrize('lost,overruns,expected', [
    ([77], 1, 'INCONCLUSIVE'), ([77, 99], 1, 'FAIL'), ([77], 0, 'FAIL'), ([], 5, 'PASS'),
])
@pytest.mark.parametrize('limits', [{'missed': '0 %'}, {'max': '500 ms'}])
def test_what_the_monitor_lost_is_not_the_fault_of_the_robot(
    limits: dict[str, str], lost: list[int], overruns: int, expected: str
) -> None:
    seen = observed(12.0, overruns={'/out': overruns})
    (found,) = results(limits, [INPUTS, echo(40 * MS, all_but(*lost))], seen).values()
    assert found.verdict.value == expected
    assert expected != 'INCONCLUSIVE' or 'the monitor itself lost 1' in found.reason


# ---- stamps that come twice, or never before --------------------------------------------------

def test_the_first_output_of_an_input_counts() -> None:
    again = on('/out', REGULAR[::5] + 200 * MS, REGULAR[::5])
    batches = [INPUTS, echo(40 * MS), again]
    found = results({'max': '50 ms', 'repeated': 0}, batches)
    assert found['max'].verdict is Verdict.PASS
    assert found['repeated'].verdict is Verdict.FAIL and value(found['repeated']) == 100
    assert found['repeated'].evidence[0].text == 'repeated: header.stamp 1700000000.000000000'
    assert found['max'].measurement is not None
    assert '100 repeated on /out' in found['max'].measurement.reason
    assert verdicts({'repeated': 0}, batches[:2]) == {'repeated': 'PASS'}
    assert verdicts({'repeated': {'max': 100}}, batches) == {'repeated.max': 'PASS'}
    assert verdicts({'repeated': {'max': 99}}, batches) == {'repeated.max': 'FAIL'}


def test_the_first_input_of_a_stamp_counts() -> None:
    again = on('/in', REGULAR[::5] + 10 * MS, REGULAR[::5])
    found = results({'min': '40 ms'}, [INPUTS, again, echo(40 * MS)])['min']
    assert found.verdict is Verdict.PASS and found.measurement is not None
    assert found.measurement.count == 500
    assert '100 repeated on /in' in found.measurement.reason


def test_an_output_without_an_input_is_counted() -> None:
    strange = on('/out', [5 * S, 6 * S], [5 * S + 1, 6 * S + 1])
    batches = [INPUTS, echo(40 * MS)]
    found = results({'unexpected': 0, 'missed': '0 %'}, [*batches, strange])
    assert found['unexpected'].verdict is Verdict.FAIL and value(found['unexpected']) == 2
    assert '/in: header.stamp 1700000005.000000001' in found['unexpected'].evidence[0].text
    assert found['missed.max'].verdict is Verdict.PASS
    assert verdicts({'unexpected': 0}, batches) == {'unexpected': 'PASS'}
    seen = observed(12.0, overruns={'/in': 2})
    assert verdicts({'unexpected': 0}, [*batches, strange], seen) == {'unexpected': 'INCONCLUSIVE'}


def test_outputs_of_inputs_from_before_the_observation_are_not_unexpected() -> None:
    early = on('/out', [100 * MS, 900 * MS], [-300 * MS, -20 * MS])
    assert verdicts({'unexpected': 0}, [INPUTS, early, echo(40 * MS)]) == {'unexpected': 'PASS'}
    late = on('/out', [1100 * MS], [-20 * MS])
    assert verdicts({'unexpected': 0}, [INPUTS, echo(40 * MS), late]) == {'unexpected': 'FAIL'}


def test_inputs_without_a_stamp_are_missed_and_named() -> None:
    unset = batch(REGULAR[:3], stamped([0, 0, 0]), '/in')
    found = results({'missed': '0 %'}, [unset, on('/in', REGULAR[3:], REGULAR[3:]),
                                        echo(40 * MS, range(3, 500))])['missed.max']
    assert found.verdict is Verdict.FAIL and found.measurement is not None
    assert found.measurement.violations == 3
    assert 'without header.stamp' in found.evidence[0].text
    nothing = batch(REGULAR, stamped([0] * 500), '/out')
    assert verdicts({'unexpected': {'max': 400}}, [INPUTS, nothing]) == {'unexpected.max': 'FAIL'}


def test_a_message_that_breaks_off_is_an_input_all_the_same() -> None:
    broken = batch([5 * S], [b'\x00\x01\x00\x00\x01'], '/in')
    assert verdicts({'missed': '0 %'}, [on('/in', [0], [0]), broken, on('/out', [1], [0])]) == {
        'missed.max': 'FAIL'}


def test_a_clock_that_was_set_back_begins_anew() -> None:
    """As a simulation does that is reset: the same stamps again, 20 s later."""
    sent = [INPUTS, echo(40 * MS)]
    second = [on('/in', 20 * S + REGULAR, REGULAR),
              on('/out', 20 * S + REGULAR + 60 * MS, REGULAR)]
    found = results({'max': '60 ms', 'repeated': 0, 'missed': '0 %'}, [*sent, *second],
                    observed(32.0))
    assert {one.verdict for one in found.values()} == {Verdict.PASS}
    assert value(found['max']) == 60 * MS
    assert found['max'].measurement is not None and found['max'].measurement.count == 1000


def test_a_stamp_that_never_changes_is_repeated_and_bounded() -> None:
    stuck = on('/out', 40 * MS + np.arange(3000) * 10 * MS, np.zeros(3000))
    _, monitor = made({'missed': '0 %', 'repeated': {'max': 10}, 'unexpected': 0})
    for piece in split(stuck, list(range(0, 3000, 50))):
        monitor.update(piece)
        monitor.update(on('/in', piece.received_ns - START, piece.received_ns - START))
    measured = {one.check.name: one for one in monitor.measure(observed(32.0))}
    assert measured['paths.p.repeated.max'].value == 3000 - 5
    assert measured['paths.p.missed.max'].violations > 2000
    assert monitor._join._waiting.shape[1] < 2000  # type: ignore[attr-defined]


# ---- clocks -----------------------------------------------------------------------------------

@pytest.mark.parametrize('basis', ['source', 'header'])
def test_negative_latencies_are_kept_and_decide_nothing(basis: str) -> None:
    """The host of the output is 45 ms behind: its times are before those of the inputs."""
    behind = echo(LATENCIES - 45 * MS, received=REGULAR + LATENCIES + MS)
    limits = {'basis': basis, 'p50': '1 ms', 'max': '2 ms', 'min': '-100 ms', 'missed': '0 %'}
    # The author knows of up to -100 ms, so everything is judged.
    assert verdicts(limits, [INPUTS, behind]) == {
        'p50': 'PASS', 'max': 'FAIL', 'min': 'PASS', 'missed.max': 'PASS'}
    strict = results({**limits, 'min': '-5 ms'}, [INPUTS, behind])
    count = int((LATENCIES - 45 * MS < -5 * MS).sum())
    assert {name: one.verdict.value for name, one in strict.items()} == {
        'p50': 'INCONCLUSIVE', 'max': 'INCONCLUSIVE', 'min': 'FAIL', 'missed.max': 'PASS'}
    assert f'{count} of 500 latencies are negative' in strict['p50'].reason
    assert '/in and /out disagree' in strict['p50'].reason
    assert strict['p50'].measurement is not None
    assert strict['p50'].measurement.low is not None  # kept and shown
    assert strict['p50'].evidence


def test_one_negative_latency_is_enough() -> None:
    once = np.where(np.arange(500) == 77, -3 * MS, 40 * MS)
    found = results({'p95': '60 ms'}, [INPUTS, echo(once)])['p95']
    assert found.verdict is Verdict.INCONCLUSIVE
    assert '1 of 500 latencies are negative, down to -3 ms' in found.reason
    assert [one.value for one in found.evidence] == [-3 * MS]
    assert verdicts({'p95': '60 ms'}, [INPUTS, echo(40 * MS)]) == {'p95': 'PASS'}


@pytest.mark.parametrize('ahead', [-5 * S, 5 * S])
def test_hosts_whose_clocks_are_apart_decide_nothing(ahead: int) -> None:
    far = echo(40 * MS + ahead, received=REGULAR + 41 * MS)
    found = results({'p95': '60 ms', 'missed': '0 %'}, [INPUTS, far])
    assert found['p95'].verdict is Verdict.INCONCLUSIVE
    assert 'the clocks of their hosts disagree' in found['p95'].reason
    assert '5 s behind' in found['p95'].reason
    assert found['missed.max'].verdict is Verdict.PASS  # which needs no clock
    arrival = results({'basis': 'arrival', 'p95': '60 ms'}, [INPUTS, far])['p95']
    assert arrival.verdict is Verdict.PASS and value(arrival) == 40 * MS


@pytest.mark.parametrize('ahead', [-3 * S, 3 * S])
def test_one_of_two_publishers_may_be_the_one_whose_clock_is_off(ahead: int) -> None:
    half = np.arange(500) % 2
    both = echo(40 * MS + half * ahead, received=REGULAR + 41 * MS, publisher=half)
    found = results({'p95': '60 ms'}, [INPUTS, both])['p95']
    assert found.verdict is Verdict.INCONCLUSIVE
    assert 'the clocks of their hosts disagree' in found.reason
    held_up = np.where(np.arange(500) > 490, 2 * S, 0)  # on their way to us, all the last ones
    same = echo(40 * MS, publisher=half, received=REGULAR + 41 * MS + held_up)
    assert verdicts({'p95': '60 ms'}, [INPUTS, same]) == {'p95': 'PASS'}


def test_a_slow_way_to_us_is_not_a_latency_of_the_path() -> None:
    slow = echo(40 * MS, received=REGULAR + 400 * MS)
    assert verdicts({'p95': '60 ms'}, [INPUTS, slow]) == {'p95': 'PASS'}
    assert verdicts({'p95': '60 ms', 'basis': 'arrival'}, [INPUTS, slow]) == {'p95': 'FAIL'}


@pytest.mark.parametrize('exposure,expected', [(10, 'PASS'), (30, 'FAIL')])
def test_from_the_header_on_the_way_to_the_input_counts(exposure: int, expected: str) -> None:
    stamps = REGULAR - exposure * MS
    batches = [on('/in', REGULAR, stamps), on('/out', REGULAR + 40 * MS, stamps)]
    assert verdicts({'p95': '60 ms', 'basis': 'header'}, batches) == {'p95': expected}
    assert verdicts({'p95': '60 ms'}, batches) == {'p95': 'PASS'}


def test_simulated_stamps_are_not_compared_with_the_system_clock() -> None:
    batches = [batch(REGULAR, stamped(5 * S + REGULAR), '/in'),
               batch(REGULAR + 40 * MS, stamped(5 * S + REGULAR), '/out')]
    found = results({'p95': '60 ms', 'basis': 'header', 'missed': '0 %'}, batches)
    assert found['p95'].verdict is Verdict.INCONCLUSIVE and 'clock' in found['p95'].reason
    assert found['missed.max'].verdict is Verdict.PASS
    assert verdicts({'p95': '60 ms'}, batches) == {'p95': 'PASS'}


def simulated(delay: int, exposure: int = 0) -> list[Batch]:
    """Simulated time runs from 5 s at half speed and ticks every 10 ms of the wall clock."""
    wall = np.arange(2400) * 5 * MS
    stamps = 5 * S + REGULAR // 2 - exposure
    return [
        clock_ticks(wall, 5 * S + wall // 2),
        batch(REGULAR + MS, stamped(stamps), '/in'),
        batch(REGULAR + MS + delay, stamped(stamps), '/out'),
    ]


@pytest.mark.parametrize('clock_last', [False, True])
@pytest.mark.parametrize('path,latency', [
    ({}, 40), ({'clock': 'ros'}, 20), ({'basis': 'header'}, 30),
    ({'basis': 'arrival', 'clock': 'ros'}, 20), ({'basis': 'arrival'}, 40),
])
def test_under_simulation_the_wall_clock_counts_unless_asked(
    path: dict[str, str], latency: int, clock_last: bool
) -> None:
    ticks, *others = simulated(40 * MS, 10 * MS)
    order = [*others, ticks] if clock_last else [ticks, *others]
    found = results({**path, 'p50': f'{latency + 3} ms'}, order, clock=SimulatedClock())['p50']
    assert found.verdict is Verdict.PASS
    assert value(found) == pytest.approx(latency * MS, abs=3 * MS)
    below = {**path, 'p50': f'{latency - 3} ms'}
    assert verdicts(below, order, clock=SimulatedClock()) == {'p50': 'FAIL'}


def test_a_timeout_on_ros_time_is_as_slow_as_the_simulation() -> None:
    ticks, inputs, outputs = simulated(1500 * MS)  # 750 ms of simulated time
    batches = [ticks, inputs, outputs]
    path = {'clock': 'ros', 'missed': '0 %'}
    assert verdicts(path, batches, observed(11.6), SimulatedClock()) == {'missed.max': 'PASS'}
    assert verdicts({'missed': '0 %'}, batches, observed(11.6), SimulatedClock()) == {
        'missed.max': 'FAIL'}
    # The last one is not out: received at 9.982 s, it is waited for until 11.982 s.
    less = [ticks, inputs, outputs.rows(np.arange(499))]
    assert verdicts(path, less, observed(11.97), SimulatedClock()) == {'missed.max': 'PASS'}
    assert verdicts(path, less, observed(11.99), SimulatedClock()) == {'missed.max': 'FAIL'}


def test_a_simulation_may_be_slow() -> None:
    """At a tenth of the wall clock's pace, 0.8 simulated seconds are 8 s."""
    wall = np.arange(4000) * 5 * MS
    batches = [clock_ticks(wall, S + wall // 10), INPUTS, echo(8 * S)]
    found = results({'clock': 'ros', 'missed': '0 %', 'p50': '810 ms'}, batches, observed(20.0),
                    SimulatedClock())
    assert {one.verdict for one in found.values()} == {Verdict.PASS}
    assert value(found['p50']) == pytest.approx(800 * MS, abs=MS)


def test_messages_wait_for_the_ticks_that_date_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Long drains, with the clock last: nothing is put away before its ticks are there."""
    monkeypatch.setattr(matching, 'JOINED_AT_ONCE', 1)
    wall = np.arange(8000) * 5 * MS
    ticks = clock_ticks(wall, S + wall // 2)
    at = np.arange(2000) * 20 * MS
    drained = [split(on(topic, at + after, at), list(range(0, 2000, 100)))
               for topic, after in (('/in', MS), ('/out', 41 * MS))]
    pieces = [piece for both in zip(*drained, strict=True) for piece in both]
    path = {'clock': 'ros', 'p50': '23 ms', 'missed': '0 %', 'timeout': '200 ms'}
    first = results(path, [ticks, *pieces], observed(40.0), SimulatedClock())
    last = results(path, [*pieces, ticks], observed(40.0), SimulatedClock())
    assert first['p50'].verdict is Verdict.PASS and first == last


def test_without_any_tick_simulated_latencies_are_unknown() -> None:
    found = results({'clock': 'ros', 'p95': '60 ms'}, [INPUTS, echo(40 * MS)],
                    clock=SimulatedClock())['p95']
    assert found.verdict is Verdict.INCONCLUSIVE and '/clock' in found.reason


def test_without_send_times_nothing_is_made_up() -> None:
    blind = batch(None, stamped(START + REGULAR), '/out', received=REGULAR + 41 * MS)
    for basis in ('source', 'header'):
        found = results({'p95': '60 ms', 'basis': basis}, [INPUTS, blind])['p95']
        assert found.verdict is Verdict.INCONCLUSIVE and 'publish_time' in found.reason
    assert verdicts({'p95': '60 ms', 'basis': 'arrival'}, [INPUTS, blind]) == {'p95': 'PASS'}


# ---- nothing there ----------------------------------------------------------------------------

def test_nothing_never_passes() -> None:
    limits = {'p95': '60 ms', 'max': '1 s', 'missed': '50 %', 'unexpected': 0, 'repeated': 0,
              'through': ['/a'], 'stages': {'/out': {'p95': '1 s', 'missed': '1 %'}}}
    seen = observed(12.0, notes={'/in': ['no publisher was found']})
    for batches in ([], [echo(40 * MS)], [echo(40 * MS, topic='/a')]):
        found = results(limits, batches, seen)
        assert {found[name].verdict for name in ('p95', 'max', 'missed.max')} == {
            Verdict.INCONCLUSIVE}
        assert found['p95'].reason == 'no message on /in: no publisher was found'
        assert found['stages./out.p95'].verdict is Verdict.INCONCLUSIVE
    assert {one.verdict for one in results(limits, [], seen).values()} == {Verdict.INCONCLUSIVE}


def test_a_silent_output_fails_the_misses_and_leaves_latencies_undecided() -> None:
    seen = observed(12.0, notes={'/out': ['no publisher was found']})
    found = results({'p95': '60 ms', 'missed': '1 %'}, [INPUTS], seen)
    assert found['missed.max'].verdict is Verdict.FAIL
    assert found['p95'].verdict is Verdict.INCONCLUSIVE
    assert found['p95'].reason.endswith('seen on /out within 1 s: no publisher was found')
    assert verdicts({'p95': '60 ms'}, [INPUTS], seen) == {'p95': 'FAIL'}


def test_a_type_without_a_header_is_said_to_be_one() -> None:
    _, monitor = made({'p95': '60 ms'})
    text = batch([0], [b'\x00\x01\x00\x00\x02\x00\x00\x00a\x00'], '/in', 'std_msgs/msg/String')
    with pytest.raises(FieldPathError, match='header'):
        monitor.update(text)


# ---- pieces -----------------------------------------------------------------------------------

EVERYTHING = {
    'through': ['/a'], 'p50': '30 ms', 'p95': '80 ms', 'max': '200 ms', 'min': '-20 ms',
    'missed': '5 %', 'timeout': '500 ms', 'repeated': {'max': 3}, 'unexpected': {'max': 3},
    'stages': {'/a': {'p95': '20 ms', 'missed': '5 %'}, '/out': {'max': '1 ms'}},
}


def traffic(rng: np.random.Generator, count: int, unset: float = 0.05) -> list[Batch]:
    """Three topics with everything that can go wrong on them."""
    sent = np.sort(rng.integers(0, 25 * S, count))
    stamps = sent.copy()
    again = rng.random(count) < 0.1
    again[0] = False
    stamps[again] = stamps[np.flatnonzero(again) - 1]
    stamps[rng.random(count) < unset] = -START  # not set
    batches = [on('/in', sent, stamps)]
    for topic, longest in (('/a', 30 * MS), ('/out', 700 * MS)):
        taken = np.sort(rng.choice(count, int(count * 0.9), replace=True))
        out = sent[taken] + rng.integers(-10 * MS, longest, len(taken))
        carried = np.where(rng.random(len(taken)) < 0.05, out, stamps[taken])
        order = np.argsort(out + MS, kind='stable')
        batches.append(on(topic, out[order], carried[order]))
    return [one for one in batches if len(one)]


def measured(
    path: dict[str, Any], drains: list[list[Batch]], looks: bool, clocked: bool
) -> list[str]:
    clock = SimulatedClock() if clocked else None
    _, monitor = made(path, clock)
    for drain in drains:
        for piece in drain:
            if piece.topic == '/clock':
                assert clock is not None
                clock.update(piece)
            else:
                monitor.update(piece)
        if looks:
            monitor.measure(observed(27.0))
    return [repr(asdict(one)) for one in monitor.measure(observed(27.0))]


@pytest.mark.parametrize('clocked', [False, True])
@pytest.mark.parametrize('joined_at_once', [1, 50, matching.JOINED_AT_ONCE])
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_the_moments_of_draining_change_nothing(
    joined_at_once: int, clocked: bool, data: st.DataObject
) -> None:
    """Same samples, other drains, topics in another order: the same measurements, to the last."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    whole = traffic(rng, data.draw(st.integers(1, 120)))
    path = EVERYTHING
    if clocked:
        wall = np.arange(0, 28 * S, 50 * MS)
        whole.insert(0, clock_ticks(wall, 3 * S + wall // 2))
        path = {**EVERYTHING, 'clock': 'ros'}
    moments = sorted(data.draw(st.lists(st.integers(0, 26 * S), max_size=12)))
    drains = []
    for first, last in zip([-S, *moments], [*moments, 30 * S], strict=True):
        drain = []
        for one in whole:
            received = one.received_ns - START
            inside = np.flatnonzero((received >= first) & (received < last))
            if len(inside):
                piece = one.rows(inside)
                drain += split(piece, data.draw(st.lists(st.integers(0, len(piece)), max_size=2)))
        order = {'/clock': -1} | {t: data.draw(st.integers(0, 9)) for t in ('/in', '/a', '/out')}
        drains.append(sorted(drain, key=lambda piece: order[piece.topic]))
    before, matching.JOINED_AT_ONCE = matching.JOINED_AT_ONCE, joined_at_once
    try:
        pieces = measured(path, drains, data.draw(st.booleans()), clocked)
    finally:
        matching.JOINED_AT_ONCE = before
    assert pieces == measured(path, [whole], False, clocked)


def by_hand(batches: list[Batch], timeout: int, end: int) -> dict[str, float | None]:
    """The same as the monitor, message by message: a plain dictionary of chains."""
    rows = sorted(
        (int(received), order, one.topic, int(sent), payload[4:12])
        for order, one in enumerate(batches) for received, sent, payload in zip(
            one.received_ns, one.source_ns, map(bytes, one.payloads), strict=True)  # type: ignore[arg-type]
    )
    chains: dict[bytes, list[dict[str, Any]]] = {}
    latencies, missed, inputs, repeated, unexpected = [], 0, 0, 0, 0
    for received, _, topic, sent, stamp in rows:
        known = chains.setdefault(stamp, [])
        if not known or received > known[-1]['begun'] + timeout + 5 * S:
            known.append({'begun': received})
        repeated += topic == '/out' and topic in known[-1]
        known[-1].setdefault(topic, (sent, received))
    for chain in (one for several in chains.values() for one in several):
        if '/in' in chain and '/out' in chain:
            latency = chain['/out'][0] - chain['/in'][0]
            inputs += 1
            missed += latency > timeout
            latencies += [latency] if latency <= timeout else []
        elif '/in' in chain and end - chain['/in'][1] >= timeout:
            inputs, missed = inputs + 1, missed + 1
        elif '/out' in chain and '/in' not in chain:
            unexpected += chain['/out'][1] >= START + timeout
    return {'repeated.max': repeated, 'unexpected.max': unexpected, 'max': max(latencies),
            'p50': sorted(latencies)[(len(latencies) + 1) // 2 - 1], 'missed.max': missed / inputs}


@pytest.mark.parametrize('seed', range(8))
def test_it_is_what_comes_out_by_hand(seed: int) -> None:
    batches = traffic(np.random.default_rng(seed), 400, unset=0.0)[::2]
    path = {'p50': '1 ms', 'max': '1 ms', 'min': '-1 s', 'timeout': '500 ms', 'missed': '1 %',
            'repeated': {'max': 0}, 'unexpected': {'max': 0}}
    found = results(path, batches, observed(24.0))
    expected = by_hand(batches, 500 * MS, START + 24 * S)
    assert {name: value(found[name]) for name in expected} == expected
    assert all(expected.values())


def test_waiting_for_a_silent_output_takes_bounded_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, 'MOST_WAITING', 1000)
    monkeypatch.setattr(matching, 'JOINED_AT_ONCE', 100)
    _, monitor = made({'missed': '1 %'})
    payloads = stamped(START + np.arange(5000) * 10 * MS)
    stream = batch(np.arange(5000) * 10 * MS, payloads, '/in')
    most = 0
    for piece in split(stream, list(range(0, 5000, 20))):
        monitor.update(piece)
        most = max(most, monitor._join._waiting.shape[1])  # type: ignore[attr-defined]
    assert most < 2000
    (found,) = monitor.measure(observed(60.0))
    assert (found.count, found.violations) == (5000, 5000)


def test_while_running_the_looks_alone_put_away_what_is_over() -> None:
    """With a silent output nobody says how far it is; the looks do, for a drain lies between."""
    _, monitor = made({'missed': '1 %'})
    for second in range(60):
        at = second * S + np.arange(0, S, 20 * MS)
        monitor.update(on('/in', at, at))
        monitor.measure(observed(second + 1.0))
    assert monitor._join._waiting.shape[1] <= 9 * 50  # type: ignore[attr-defined]
    assert monitor.measure(observed(60.0))[0].violations == 59 * 50


# ---- the spec ---------------------------------------------------------------------------------

TEXT = """robot_qa: 1
name: t
duration: 5 s
paths:
"""


@pytest.mark.parametrize('body,expected', [
    ('  p: {from: /a, to: /a, p95: 1 s}', ['5:21: /a is on the path twice']),
    ('  p: {from: /a, through: [/b, /b, /a], to: /b, p95: 1 s}',
     ['5:31: /b is on the path twice', '5:35: /a is on the path twice']),
    ('  p: {from: /a, to: /b}', [
        '5:6: nothing is checked here (valid: min, max, missed, repeated, unexpected, stages, '
        'a quantile such as p95)']),
    ('  p: {from: /a, to: /b, p95: 1 s, stages: {/bb: {p95: 1 s}}}',
     ['5:49: no stage of this path ends at /bb; did you mean "/b"? (valid here: /b)']),
    ('  p: {from: /a, to: /b, max: 1 s, timeout: 500 ms}',
     ['5:44: the timeout is below a limit of 1 s, which no latency could then exceed']),
    ('  p: {from: /a, to: /b, p99: 1 s, p95: 2 s}',
     ['5:30: p99 is below p95, which it can never be']),
    ('  p: {from: /a, to: /b, p95: 1 s, basis: header, clock: ros}',
     ['5:57: "basis: header" is on the clock of the stamps; remove "clock"']),
    ('  p: {from: /a, to: /b, p95: 1 s, clock: ros}',
     ['5:42: the run is not on ROS time; add "clock: ros" at the top, or a simulator']),
    ('  p: {from: /a, to: /b, p95: 1 s, timeout: 6 s}',
     ['5:44: "timeout" is not below the duration of the run']),
    ('  p: {from: /a, to: /b, stages: {/b: {p95: 1 s}}}',
     ['5:33: the path as a whole has no limit, so inputs that never come out would go unnoticed; '
      'add one, such as missed: 1 %']),
    ('  p: {from: /a, to: /b, p95: 1 s, stages: {/b: {every: 2, p95: 1 s}}}',
     ['5:56: in a stage, "every" belongs to "missed"']),
    ('  p: {from: a, to: /b, q95: 1 s, missed: 5 ms}', None),
])
def test_mistakes_in_a_path_are_named_with_their_place(
    body: str, expected: list[str] | None, tmp_path: Path
) -> None:
    spec = tmp_path / 'a.qa.yaml'
    spec.write_text(TEXT + body + '\n')
    with pytest.raises(SpecError) as caught:
        load_spec(spec)
    found = [f'{one.line}:{one.column}: {one.message}' for one in caught.value.problems]
    if expected is None:
        assert len(found) == 3 and 'absolute ROS name' in found[0]
    else:
        assert found == expected


def test_checks_are_named_by_their_place_in_the_spec(tmp_path: Path) -> None:
    spec = tmp_path / 'a.qa.yaml'
    spec.write_text(TEXT + (
        '  p:\n    from: /a\n    through: [/b]\n    to: /c\n    p99: 80 ms\n    missed: 1 %\n'
        '    repeated: 0\n    unexpected: {max: 3}\n'
        '    stages:\n      /b: {p95: 60 ms, missed: {max: 1 %}}\n'
    ))
    loaded = load_spec(spec)
    places = {name: loaded.source(path).rsplit(':', 2)[1:]
              for name, path in declared_checks(loaded.spec)}
    assert places == {
        'paths.p.p99': ['9', '5'], 'paths.p.missed.max': ['10', '13'],
        'paths.p.repeated': ['11', '5'], 'paths.p.unexpected.max': ['12', '18'],
        'paths.p.stages./b.p95': ['14', '12'], 'paths.p.stages./b.missed.max': ['14', '33'],
    }


# ---- on a real graph --------------------------------------------------------------------------

CAMERA = """
import time
import rclpy
from sensor_msgs.msg import LaserScan

rclpy.init()
node = rclpy.create_node('camera')
publisher = node.create_publisher(LaserScan, '/in', 100)
scan = LaserScan()
begun = time.monotonic()
for number in range(100_000):
    time.sleep(max(0.0, begun + number * 0.05 - time.monotonic()))
    scan.header.stamp = node.get_clock().now().to_msg()
    publisher.publish(scan)
"""
ECHO = """
import time
import rclpy
from sensor_msgs.msg import LaserScan

rclpy.init()
node = rclpy.create_node('echo')
middle = node.create_publisher(LaserScan, '/middle', 100)
output = node.create_publisher(LaserScan, '/out', 100)
count = 0

def echo(scan):
    global count
    count += 1
    time.sleep(0.01)
    middle.publish(scan)
    time.sleep(0.02)
    if count % 10:
        output.publish(scan)

node.create_subscription(LaserScan, '/in', echo, 100)
rclpy.spin(node)
"""
RUN = """
robot_qa: 1
name: an echo
duration: 5 s
system:
  processes:
    - {{name: camera, command: [python3, {folder}/camera.py]}}
    - {{name: echo, command: [python3, {folder}/echo.py]}}
  ready: {{timeout: 20 s, topics: [/in, /middle, /out]}}
paths:
  green:
    from: /in
    through: [/middle]
    to: /out
    p50: 200 ms
    min: 30 ms
    missed: 30 %
    repeated: 0
    unexpected: 0
    stages:
      /middle: {{p50: 180 ms, min: 10 ms, missed: 0 %}}
      /out: {{p50: 180 ms, min: 20 ms, missed: {{max: 30 %}}}}
  by_arrival: {{from: /in, to: /out, basis: arrival, p50: 200 ms, missed: 30 %}}
  by_header: {{from: /in, to: /out, basis: header, min: 30 ms, p50: 200 ms, missed: 30 %}}
  red: {{from: /in, to: /out, p50: 29 ms, missed: 1 %, stages: {{/out: {{max: 29 ms}}}}}}
  unlimited: {{from: /in, to: /out, p99: 900 ms}}
  backwards: {{from: /out, to: /in, p50: 200 ms, missed: 30 %}}
"""
RED = {'paths.red.p50', 'paths.red.missed.max', 'paths.red.stages./out.max',
       'paths.unlimited.p99'}


@pytest.mark.live
def test_an_echo_is_measured_live_and_its_recording_says_the_same(tmp_path: Path) -> None:
    from robot_qa.session import RunOptions, check_recording, run_live

    (tmp_path / 'camera.py').write_text(CAMERA)
    (tmp_path / 'echo.py').write_text(ECHO)
    spec = tmp_path / 'echo.qa.yaml'
    spec.write_text(RUN.format(folder=tmp_path))
    folder, live = run_live(load_spec(spec), RunOptions(out=tmp_path / 'live', record=True))
    checks = {check.name: check for check in live.checks}
    told = {name: (check.verdict, check.reason) for name, check in checks.items()}
    paths = {name: check for name, check in checks.items() if name.startswith('paths.')}
    failed = {name for name, check in paths.items() if check.verdict == 'FAIL'}
    undecided = {name for name, check in paths.items() if check.verdict == 'INCONCLUSIVE'}
    assert failed == RED, told
    # Sent before it came: a path that does not lead there.
    assert undecided == {'paths.backwards.p50'}, told
    assert 'negative' in checks['paths.backwards.p50'].reason
    _, again = check_recording(load_spec(spec), folder / 'recording.mcap', tmp_path / 'again')
    assert {check.name: (check.verdict, check.reason, check.measured, check.evidence)
            for check in again.checks if check.name in paths} == {
        name: (check.verdict, check.reason, check.measured, check.evidence)
        for name, check in paths.items()}
