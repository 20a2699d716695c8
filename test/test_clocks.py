"""Offsets between the clocks of hosts: bounds from round trips, and what they do to verdicts."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_qa.checks import CheckResult, Verdict, judge
from robot_qa.monitors.base import Check, Limit, Measurement, Monitor, SimulatedClock
from robot_qa.monitors.clocks import (
    Clocks,
    Doubt,
    clock_topics,
    judged_despite,
    shifted,
    side,
)
from robot_qa.monitors.paths import path_monitors
from robot_qa.monitors.topics import timing_monitors
from robot_qa.probes.batch import Batch
from robot_qa.probes.journal import Journal
from robot_qa.probes.round_trips import (
    DRIFT,
    JOURNAL_NAME,
    RoundTrip,
    TimeAnswer,
    host_key,
    offset,
)
from robot_qa.report.model import Report, clock_parts
from robot_qa.report.writers import text
from robot_qa.spec.loader import load_spec
from robot_qa.spec.model import TestSpec
from samples import MS, START, S, batch, context, observed, scan, scans

US = 1_000
HERE, THERE, ELSEWHERE = '010f0001', '010f0002', '010f0003'
HEAD = {'robot_qa': 1, 'name': 'x', 'duration': '10 s'}
REGULAR = np.arange(100) * 100 * MS


# ---- bounds from round trips ------------------------------------------------------------------

def trip(at: int, theta: int, there: int, back: int, work: int = 0) -> RoundTrip:
    """A round trip begun at ``at`` to a clock ``theta`` ahead; both ways and the work in ns."""
    received = at + there + theta
    answer = TimeAnswer('robot-1', THERE, received, received + work)
    return RoundTrip.of(at, answer, at + there + work + back)


def test_a_round_trip_bounds_the_offset_by_both_its_ways() -> None:
    one = trip(START, -2 * S, there=300 * US, back=100 * US, work=50 * MS)
    assert (one.low_ns, one.high_ns) == (-2 * S - 100 * US, -2 * S + 300 * US)
    assert one.took_ns == 400 * US, 'the work there is not on the way'


WAYS = st.integers(1, 20 * MS)


@settings(max_examples=200, deadline=None)
@given(theta=st.integers(-3600 * S, 3600 * S), drift=st.integers(-490, 490),
       ways=st.lists(st.tuples(WAYS, WAYS, st.integers(1, S)), min_size=1, max_size=12))
def test_bounds_hold_however_unlike_both_ways_are(
    theta: int, drift: int, ways: list[tuple[int, int, int]],
) -> None:
    """The clock runs off by ``drift`` ppm, less than clocks may."""
    def true_at(at: int) -> int:
        return theta + (at - START) * drift // 1_000_000

    at, trips = START, []
    for there, back, pause in ways:
        at += pause
        trips.append(trip(at, true_at(at + there), there, back))
    found = offset(trips)
    assert not found.stepped
    true = [true_at(one.at_ns) for one in trips]
    assert found.low_ns <= min(true) and max(true) <= found.high_ns
    best = min(one.took_ns for one in trips)
    assert found.high_ns - found.low_ns <= best + 4 * (at + S - START) // DRIFT


def test_where_intervals_meet_is_less_than_the_best_of_them() -> None:
    slow_there, slow_back = trip(START, 5 * MS, 3 * MS, US), trip(START + MS, 5 * MS, US, 3 * MS)
    found = offset([slow_there, slow_back])
    assert found.high_ns - found.low_ns < 10 * US < slow_there.took_ns
    assert found.low_ns <= 5 * MS <= found.high_ns


def test_a_clock_that_is_set_fits_no_offset_and_keeps_both() -> None:
    before = [trip(START + n * 200 * MS, 0, 300 * US, 300 * US) for n in range(5)]
    after = [trip(START + n * 200 * MS, 20 * MS, 300 * US, 300 * US) for n in range(5, 10)]
    assert not offset(before).stepped and not offset(after).stepped
    both = offset([*before, *after])
    assert both.stepped and both.low_ns <= 0 and both.high_ns >= 20 * MS


def test_old_round_trips_bound_less() -> None:
    old, new = trip(START, 0, US, US), trip(START + 10 * S, 0, 20 * MS, 20 * MS)
    found = offset([old, new])
    assert found.high_ns >= 10 * S // DRIFT, 'it may have drifted since'
    assert found.high_ns < 20 * MS


@pytest.mark.parametrize('said', [
    '', 'ok', '[]', '{}', '1', '{"host": "a", "key": null, "received_ns": 1}',
    '{"host": 1, "key": null, "received_ns": 1, "sent_ns": 2}',
    '{"host": "a", "key": 5, "received_ns": 1, "sent_ns": 2}',
    '{"host": "a", "key": null, "received_ns": 1.5, "sent_ns": 2}',
    '{"host": "a", "key": null, "received_ns": true, "sent_ns": 2}',
    '{"host": "a", "key": null, "received_ns": 1, "sent_ns": 99999999999999999999}', '[' * 99999,
])
def test_what_is_no_answer_of_ours_is_none(said: str) -> None:
    assert TimeAnswer.read(said) is None


def test_an_answer_is_read_as_it_was_written() -> None:
    for key in (THERE, None):
        answer = TimeAnswer('robot-1', key, START, START + 5)
        assert TimeAnswer.read(answer.text()) == answer


def test_a_host_is_known_by_the_gid_of_fast_dds_only() -> None:
    gid = bytes.fromhex('010f78fd080221d60000000000000403')
    assert host_key(gid) == '010f78fd'
    assert host_key(b'\x01\x10' + gid[2:]) is None


# ---- the rule ---------------------------------------------------------------------------------

def hard(value: int, limit: int, which: Any = 'max') -> Measurement:
    check = Check('topics./scan.age.max', '/scan', Limit(which, limit), 'ns')
    return Measurement(check, value, value, value, 100)


def quantile(low: int | None, high: int | None, limit: int) -> Measurement:
    check = Check('topics./scan.age.p95', '/scan', Limit('max', limit), 'ns')
    return Measurement(check, (low or 0) + 1, low, high, 100, effective_count=100.0)


MAYBE = st.none() | st.integers(-9, 9)


@given(values=st.tuples(st.integers(-9, 9), MAYBE, MAYBE), limit=st.integers(-9, 9),
       which=st.sampled_from(['min', 'max']), statistical=st.booleans())
def test_sides_are_those_of_the_verdict(
    values: tuple[int, int | None, int | None], limit: int, which: Any, statistical: bool,
) -> None:
    check = Check('x', '/scan', Limit(which, limit), 'ns')
    measured = Measurement(check, *values, 100, 100.0 if statistical else None)
    verdict = {'kept': 'PASS', 'broken': 'FAIL', 'open': 'INCONCLUSIVE'}[side(measured)]
    assert judge(measured, 'x:1:1').verdict.value == verdict


@pytest.mark.parametrize('measured,low,high,verdict', [
    (hard(20, 50), 0, 0, 'PASS'),
    (hard(20, 50), -5, 30, 'PASS'),
    (hard(20, 50), -5, 31, 'INCONCLUSIVE'),
    (hard(80, 50), -29, 99, 'FAIL'),
    (hard(80, 50), -30, -1, 'INCONCLUSIVE'),  # behind: it only looks late
    (hard(80, 50), -90, -80, 'INCONCLUSIVE'),
    (hard(20, 10, 'min'), -10, 99, 'PASS'),
    (hard(20, 10, 'min'), -11, 0, 'INCONCLUSIVE'),
    (hard(-5, -9, 'min'), -99, 99, 'PASS'),  # that limit is about the clocks themselves
    (hard(-5, 0, 'min'), 10, 12, 'FAIL'),
    (quantile(10, 30, 50), -99, 20, 'PASS'),
    (quantile(10, 30, 50), 0, 21, 'INCONCLUSIVE'),
    (quantile(60, 90, 50), -9, 5, 'FAIL'),
    (quantile(60, 90, 50), -10, 5, 'INCONCLUSIVE'),
    (quantile(60, None, 50), -9, 5, 'FAIL'),
])
def test_a_verdict_stands_if_no_offset_changes_it(
    measured: Measurement, low: int, high: int, verdict: str,
) -> None:
    found = judged_despite(measured, Doubt(low, high, 'ITS CLOCK'))
    result = judge(found, 'x:1:1')
    assert result.verdict.value == verdict
    assert ('ITS CLOCK' in result.reason) is (verdict == 'INCONCLUSIVE')


def test_a_verdict_that_clocks_leave_open_was_open_for_no_other_reason() -> None:
    undecided = quantile(40, 60, 50)
    assert judged_despite(undecided, Doubt(-1, 1, 'ITS CLOCK')) == undecided
    assert shifted(undecided, 5).high == 65 and shifted(quantile(60, None, 50), 5).high is None


# ---- monitors ---------------------------------------------------------------------------------

def told(
    theta: int | tuple[int, int], *, width: int = 200 * US, key: str | None = THERE,
    host: str = 'robot-1', stepped: bool = False,
) -> dict[str, Any]:
    low, high = theta if isinstance(theta, tuple) else (theta - width, theta + width)
    return {
        'service': f'/timekeeper_{host.replace("-", "_")}/robot_qa_time', 'host': host, 'key': key,
        'low_ns': low, 'high_ns': high, 'stepped': stepped, 'round_trips': 41,
        'best_ns': 2 * width,
    }


def journal(
    *hosts: dict[str, Any], topics: dict[str, list[tuple[str | None, str]]] | None = None,
    ours: str | None = HERE,
) -> Batch:
    kept = Journal(JOURNAL_NAME)
    kept.write(START, {
        'host': 'bench', 'key': ours, 'hosts': list(hosts),
        'topics': {'/scan': [(THERE, '/lidar')]} if topics is None else topics,
    })
    (only,) = kept.drain()
    return only


def judged(monitor: Monitor, batches: list[Batch]) -> dict[str, CheckResult]:
    for one in batches:
        assert one.topic in monitor.topics
        monitor.update(one)
    return {
        found.check.name.rpartition('.')[2]: judge(found, 'x:1:1')
        for found in monitor.measure(observed(12.0))
    }


def monitor_of(checks: dict[str, Any], clock: SimulatedClock | None = None) -> Monitor:
    spec = TestSpec.model_validate({**HEAD, 'topics': {'/scan': checks}})
    (monitor,) = timing_monitors(spec, context(clock))
    return monitor


def aged(age_ms: int) -> Batch:
    """Received a ms after it was sent, ``age_ms`` by the publisher's stamps."""
    payloads = [scan(START + int(at) + MS - age_ms * MS) for at in REGULAR]
    return batch(REGULAR, payloads)


def age(age_ms: int, *journals: Batch, limit: str = '50 ms') -> CheckResult:
    return judged(monitor_of({'age': {'p95': limit}}), [*journals, aged(age_ms)])['p95']


def test_without_a_journal_nothing_changes() -> None:
    assert age(20).verdict is Verdict.PASS and age(2020).verdict is Verdict.FAIL
    assert 'clock' not in age(2020).reason


def test_a_clock_that_is_behind_shows_in_no_sample_and_is_named() -> None:
    found = age(2020, journal(told(-2 * S)))
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.reason.startswith('measured as 2.02 s, by clocks that disagree: /lidar runs on '
                                   "robot-1, whose clock is 2 s behind this host's "
                                   '(41 round trips, best 400 us)')
    assert found.measurement is not None and found.measurement.value is None


def test_a_clock_that_is_ahead_makes_the_late_look_fresh() -> None:
    """70 ms old, and 45 ms are hidden by a clock that is ahead: no sample is negative."""
    found = age(25, journal(told(45 * MS)))
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "robot-1, whose clock is 45 ms ahead of this host's" in found.reason
    negative = age(-5, journal(told(45 * MS)))
    assert negative.verdict is Verdict.INCONCLUSIVE
    assert '100 of 100 messages arrived before' in negative.reason
    assert "robot-1, whose clock is 45 ms ahead of this host's" in negative.reason


@pytest.mark.parametrize('age_ms,expected', [(20, 'PASS'), (80, 'FAIL')])
@pytest.mark.parametrize('theta', [0, -3 * MS, 3 * MS])
def test_a_synchronised_host_keeps_its_verdict(age_ms: int, expected: str, theta: int) -> None:
    found = age(age_ms, journal(told(theta)))
    assert found.verdict.value == expected and 'clock' not in found.reason


def test_what_is_late_by_any_clock_fails() -> None:
    assert age(3000, journal(told(-2 * S))).verdict is Verdict.FAIL
    assert age(3000, journal(told((-4 * S, 0)))).verdict is Verdict.INCONCLUSIVE


def test_close_to_the_limit_the_bounds_decide() -> None:
    found = age(50, journal(told(0)))
    assert found.verdict is Verdict.INCONCLUSIVE
    assert 'too close to the limit for clocks that are known no better' in found.reason
    assert "is within 200 us of this host's" in found.reason


def test_the_widest_bounds_of_the_run_count() -> None:
    later = journal(told(-60 * MS))
    found = age(80, journal(told(0)), later)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert 'having moved by 59.6 ms' in found.reason
    assert age(80, later, journal(told(0))).verdict is Verdict.INCONCLUSIVE
    set_back = age(80, journal(told((-S, 0), stepped=True)))
    assert 'was set during the run, from 1 s behind' in set_back.reason


def test_a_host_that_does_not_tell_its_time_is_noted() -> None:
    for age_ms, verdict in ((20, Verdict.PASS), (2020, Verdict.FAIL)):
        found = age(age_ms, journal())
        assert found.verdict is verdict
        assert ('published by /lidar on another host, whose clock was not compared: run '
                '"ros2 run robot_qa timekeeper" there') in found.reason


def test_our_own_host_needs_no_timekeeper() -> None:
    own = {'/scan': [(HERE, '/lidar')]}
    for kept in (journal(topics=own), journal(told(0, key=HERE, host='bench'), topics=own)):
        found = age(50, kept)
        assert found.verdict is Verdict.PASS and 'clock' not in found.reason
    # One that reads another clock all the same is believed.
    odd = age(2020, journal(told(-2 * S, key=HERE, host='bench'), topics=own))
    assert odd.verdict is Verdict.INCONCLUSIVE


def test_another_middleware_does_not_tell_hosts() -> None:
    kept = journal(told(-2 * S, key=None), topics={'/scan': [(None, '/lidar')]}, ours=None)
    found = age(2020, kept)
    assert found.verdict is Verdict.FAIL
    assert 'on which host /lidar runs is not known with this middleware' in found.reason


def test_of_several_publishers_the_worst_counts() -> None:
    three: dict[str, list[tuple[str | None, str]]] = {
        '/scan': [(HERE, '/a'), (THERE, '/b'), (ELSEWHERE, '/c')]}
    hosts = told(-MS), told(-60 * MS, key=ELSEWHERE, host='robot-2')
    found = age(80, journal(*hosts, topics=three))
    assert found.verdict is Verdict.INCONCLUSIVE and '/c runs on robot-2' in found.reason
    assert age(120, journal(*hosts, topics=three)).verdict is Verdict.FAIL
    one_ahead = told(30 * MS), hosts[1]
    assert age(25, journal(*one_ahead, topics=three)).verdict is Verdict.INCONCLUSIVE
    assert age(15, journal(*one_ahead, topics=three)).verdict is Verdict.PASS
    two: dict[str, list[tuple[str | None, str]]] = {'/scan': three['/scan'][:2]}
    assert age(80, journal(*hosts, topics=two)).verdict is Verdict.FAIL


def test_two_hosts_that_answer_by_one_name_are_told_apart() -> None:
    same = [told(0, key=THERE), {**told(-2 * S, key=ELSEWHERE)}]
    assert age(20, journal(*same)).verdict is Verdict.PASS
    other: dict[str, list[tuple[str | None, str]]] = {'/scan': [(ELSEWHERE, '/lidar')]}
    assert age(2020, journal(*same, topics=other)).verdict is Verdict.INCONCLUSIVE


def test_a_least_age_below_zero_is_about_the_clocks_themselves() -> None:
    monitor = monitor_of({'age': {'min': '-10 ms'}})
    found = judged(monitor, [journal(told(45 * MS)), aged(-5)])['min']
    assert found.verdict is Verdict.PASS


@pytest.mark.parametrize('theta,delay,expected', [
    (0, 2, 'PASS'), (0, 30, 'FAIL'), (-28 * MS, 30, 'INCONCLUSIVE'), (28 * MS, 2, 'INCONCLUSIVE'),
])
def test_transport(theta: int, delay: int, expected: str) -> None:
    stream = scans(REGULAR, received=REGULAR + delay * MS)
    monitor = monitor_of({'transport': {'p95': '10 ms'}})
    assert judged(monitor, [journal(told(theta)), stream])['p95'].verdict.value == expected


def test_simulated_time_is_on_no_host() -> None:
    assert monitor_of({'age': {'p95': '50 ms'}}, SimulatedClock()).topics == ('/scan',)


@pytest.mark.parametrize('spec,expected', [
    ({'topics': {'/a': {'age': {'max': '1 s'}}, '/b': {'gap': {'max': '1 s'}}}}, {'/a'}),
    ({'clock': 'ros', 'topics': {'/a': {'age': {'max': '1 s'}},
                                 '/b': {'transport': {'max': '1 s'}}}}, {'/b'}),
    ({'paths': {'p': {'from': '/a', 'through': ['/b'], 'to': '/c', 'max': '1 s'}}},
     {'/a', '/b', '/c'}),
    ({'paths': {'p': {'from': '/a', 'to': '/c', 'basis': 'arrival', 'max': '1 s'}}}, set()),
    ({'clock': 'ros',
      'paths': {'p': {'from': '/a', 'to': '/c', 'basis': 'header', 'max': '1 s'}}}, set()),
    ({'clock': 'ros', 'paths': {'p': {'from': '/a', 'to': '/c', 'clock': 'ros', 'max': '1 s'}}},
     set()),
])
def test_topics_whose_clocks_matter(spec: dict[str, Any], expected: set[str]) -> None:
    assert clock_topics(TestSpec.model_validate({**HEAD, **spec})) == expected


# ---- paths ------------------------------------------------------------------------------------

def path(limits: dict[str, Any], latency: int, *journals: Batch) -> dict[str, CheckResult]:
    spec = TestSpec.model_validate(
        {**HEAD, 'paths': {'p': {'from': '/in', 'to': '/out', **limits}}})
    (monitor,) = path_monitors(spec, context())
    stamps = [scan(START + int(at)) for at in REGULAR]
    inputs = batch(REGULAR, stamps, '/in')
    outputs = batch(REGULAR + latency, stamps, '/out', received=REGULAR + max(latency, 0) + MS)
    return judged(monitor, [*journals, inputs, outputs])


def ends(first: str | None, last: str | None, *hosts: dict[str, Any]) -> Batch:
    return journal(*hosts, topics={'/in': [(first, '/camera')], '/out': [(last, '/detector')]})


AHEAD, BEHIND = told(45 * MS), told(-30 * MS, key=ELSEWHERE, host='robot-2')


@pytest.mark.parametrize('kept,latency,expected', [
    (ends(HERE, HERE), 40, 'PASS'),
    (ends(HERE, THERE, AHEAD), 80, 'INCONCLUSIVE'),  # 35 ms, stamped by a clock 45 ms ahead
    (ends(HERE, THERE, AHEAD), 200, 'FAIL'),
    (ends(THERE, HERE, AHEAD), 40, 'INCONCLUSIVE'),  # the input's clock is: 85 ms
    (ends(THERE, THERE, AHEAD), 40, 'PASS'),  # one clock, whatever it says
    (ends(THERE, THERE, told((-S, S))), 40, 'PASS'),  # or how little is known of it
    (ends(HERE, THERE, told((45 * MS, S))), 2000, 'FAIL'),
    (ends(ELSEWHERE, THERE, AHEAD, BEHIND), 130, 'INCONCLUSIVE'),  # 75 ms between both
    (ends(ELSEWHERE, THERE, AHEAD, BEHIND), 140, 'FAIL'),
    (ends(ELSEWHERE, THERE, told(45 * MS), told(45 * MS, key=ELSEWHERE)), 40, 'PASS'),
])
def test_a_path_compares_the_clocks_of_its_ends(kept: Batch, latency: int, expected: str) -> None:
    found = path({'p95': '60 ms'}, latency * MS, kept)['p95']
    assert found.verdict.value == expected, found.reason
    if expected == 'INCONCLUSIVE':
        assert "robot-1, whose clock is 45 ms ahead of this host's" in found.reason


def test_a_negative_latency_names_the_clock_that_was_compared() -> None:
    found = path({'p95': '60 ms'}, -10 * MS, ends(HERE, THERE, told(-45 * MS)))['p95']
    assert found.verdict is Verdict.INCONCLUSIVE
    assert '100 of 100 latencies are negative' in found.reason
    assert '/detector runs on robot-1, whose clock is 45 ms behind' in found.reason


@pytest.mark.parametrize('theta,verdict', [(0, 'FAIL'), (500 * MS, 'INCONCLUSIVE')])
def test_what_a_clock_makes_late_is_not_missed(theta: int, verdict: str) -> None:
    limits = {'p95': '60 ms', 'timeout': '100 ms', 'missed': '5 %'}
    found = path(limits, 540 * MS, ends(HERE, THERE, told(theta)))
    assert found['max'].verdict.value == verdict, found['max'].reason
    assert found['p95'].verdict is Verdict.INCONCLUSIVE
    if theta:
        for one in found.values():
            assert 'robot-1, whose clock is 500 ms ahead' in one.reason


def test_a_path_on_arrival_needs_nobodys_clock() -> None:
    spec = TestSpec.model_validate(
        {**HEAD, 'paths': {'p': {'from': '/in', 'to': '/out', 'basis': 'arrival', 'max': '1 s'}}})
    (monitor,) = path_monitors(spec, context())
    assert monitor.topics == ('/in', '/out')


def test_a_path_notes_hosts_that_were_not_compared() -> None:
    found = path({'p95': '60 ms'}, 40 * MS, ends(HERE, THERE))['p95']
    assert found.verdict is Verdict.PASS and 'published by /detector on another' in found.reason


# ---- the report -------------------------------------------------------------------------------

def clocks_of(*batches: Batch) -> Clocks:
    found = Clocks()
    for one in batches:
        found.update(one)
    return found


def test_the_report_says_whose_clock_wrote_which_stamps() -> None:
    parts = clock_parts(clocks_of(journal(told(-1203 * MS), topics={
        '/scan': [(THERE, '/lidar')], '/odom': [(HERE, '/base'), (THERE, '/wheels')],
        '/gps': [(ELSEWHERE, '/gps')],
    })))
    assert [(one.host, one.key, one.node, one.ours) for one in parts] == [
        ('bench', HERE, None, True), ('robot-1', THERE, '/timekeeper_robot_1', False),
        (None, ELSEWHERE, None, False),
    ]
    by_key = {one.key: one for one in parts}
    assert [(one.topic, one.node) for one in by_key[THERE].stamps] == [
        ('/odom', '/wheels'), ('/scan', '/lidar')]
    there = by_key[THERE]
    assert (there.low_ns, there.high_ns) == (-1203 * MS - 200 * US, -1203 * MS + 200 * US)
    assert there.round_trips == 41 and there.best_round_trip_ns == 400 * US
    assert by_key[ELSEWHERE].low_ns is None and by_key[HERE].low_ns == 0


def test_the_text_has_a_line_per_other_host() -> None:
    clocks = clocks_of(journal(told(-1203 * MS), topics={
        '/scan': [(THERE, '/lidar')], '/odom': [(HERE, '/base')], '/gps': [(ELSEWHERE, '/gps')]}))
    report = Report.model_validate({
        'name': 'x', 'verdict': 'PASS', 'started': '', 'start_ns': START, 'duration_s': 1.0,
        'confidence': 0.95, 'environment': {}, 'timeline': [], 'checks': [],
        'monitor': {'cpu_s': 0.0, 'peak_rss_bytes': 0, 'messages': 0, 'overruns': {}, 'notes': {}},
        'clocks': clock_parts(clocks),
    })
    lines = [line for line in text(report, Path('x')).splitlines() if line.startswith('clock:')]
    assert lines == [
        "clock: that of robot-1 (/timekeeper_robot_1) is 1.203 s behind this host's (41 round "
        'trips, best 400 us); it stamps /scan by /lidar',
        f'clock: that of another host ({ELSEWHERE}) was not compared; it stamps /gps by /gps',
    ]
    assert Report.model_validate(json.loads(report.model_dump_json())) == report


def test_reports_from_before_are_still_read() -> None:
    assert clock_parts(Clocks()) == [] and not Report.model_fields['clocks'].is_required()


# ---- live -------------------------------------------------------------------------------------

LIDAR = """
import sys, time
import rclpy
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import Imu
from robot_qa.probes.time_service import TimeService
shift, tells = int(sys.argv[1]), sys.argv[2] == 'tells'
def now_ns():
    return time.time_ns() + shift
rclpy.init()
node = rclpy.create_node('lidar')
service = TimeService(node, now_ns) if tells else None
publisher = node.create_publisher(Imu, '/imu', 10)
message = Imu()
def publish():
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(now_ns(), 10**9)
    publisher.publish(message)
node.create_timer(0.01, publish)
executor = SingleThreadedExecutor()
executor.add_node(node)
executor.spin()
"""
RUN = """
robot_qa: 1
name: clocks
duration: 2 s
topics: {/imu: {age: {p90: 500 ms, min: -1 h}, transport: {p90: 500 ms}}}
"""


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Start a lidar whose clock is off, in a domain of our own."""
    pytest.importorskip('rclpy')
    from robot_qa.domains import claim_domain
    from robot_qa.processes import Processes, ProcessSpec, child_environment

    (tmp_path / 'lidar.py').write_text(LIDAR)
    with claim_domain() as claim, Processes(tmp_path / 'logs', claim.fileno()) as processes:
        monkeypatch.setenv('ROS_DOMAIN_ID', str(claim.id))
        monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
        env = child_environment(dict(os.environ), claim.id, {})
        yield lambda *words: processes.start(ProcessSpec(
            'lidar', (sys.executable, str(tmp_path / 'lidar.py'), *map(str, words)), None, env))


def clocks_recorded(recording: Path) -> Clocks:
    from robot_qa.probes.bag import BagProbe

    found, probe = Clocks(), BagProbe(recording, ['robot_qa/clocks'])
    while not probe.done:
        for one in probe.drain():
            found.update(one)
    probe.close()
    return found


@pytest.mark.live
@pytest.mark.parametrize('shift,tells,verdict', [
    (-2 * S, 'is silent', 'FAIL'), (-2 * S, 'tells', 'INCONCLUSIVE'), (0, 'tells', 'PASS'),
])
def test_a_run_and_its_recording_judge_by_what_the_other_host_tells(
    bench: Callable[..., None], tmp_path: Path, shift: int, tells: str, verdict: str,
) -> None:
    from robot_qa.session import RunOptions, check_recording, run_live

    bench(shift, tells)
    spec = tmp_path / 'x.qa.yaml'
    spec.write_text(RUN)
    folder, live = run_live(load_spec(spec), RunOptions(out=tmp_path / 'live', record=True))
    checks = {one.name.removeprefix('topics./imu.'): one for one in live.checks}
    found = checks['age.p90']
    assert found.verdict == verdict, found.reason
    assert checks['age.min'].verdict == 'PASS'
    if verdict == 'INCONCLUSIVE':
        assert '/lidar runs on ' in found.reason and ' s behind this' in found.reason
        (clock,) = clocks_recorded(folder / 'recording.mcap').hosts.values()
        assert clock.low <= shift <= clock.high and not clock.stepped
    else:
        assert 'clock' not in found.reason
    _, again = check_recording(load_spec(spec), folder / 'recording.mcap', tmp_path / 'again')
    assert {one.name: (one.verdict, one.reason) for one in again.checks} == {
        one.name: (one.verdict, one.reason) for one in live.checks}


@pytest.mark.live
def test_the_timekeeper_answers_until_it_is_stopped(bench: Callable[..., Any]) -> None:
    from robot_qa.probes.host_clocks import HostClocks
    from robot_qa.probes.live import LiveProbe
    from robot_qa.probes.time_service import node_name

    name = node_name(socket.gethostname())
    keeper = subprocess.Popen([sys.executable, '-m', 'robot_qa.probes.time_service'])
    probe = LiveProbe([])
    try:
        clocks, entries = Clocks(), HostClocks(probe.node, [])
        entries.begin()
        deadline = time.monotonic() + 40
        while not clocks.hosts and time.monotonic() < deadline:
            for one in entries.drain():
                clocks.update(one)
            time.sleep(0.02)  # drained as a run does, until the deadline
        entries.close()
        (told_by,) = clocks.hosts.values()
        assert told_by.node == f'/{name}' and told_by.host == socket.gethostname()
        assert told_by.agrees and told_by.key == clocks.key
        assert told_by.best_ns is not None and told_by.high - told_by.low < S
        keeper.terminate()
        assert keeper.wait(20) == 0
    finally:
        keeper.kill()
        keeper.wait()
        probe.close()


@pytest.mark.live
def test_the_nodes_of_a_run_tell_the_time_as_well(bench: Callable[..., Any]) -> None:
    import rclpy

    from robot_qa.integration.nodes import QaNode

    rclpy.init(args=[])
    try:
        node = QaNode('monitor')
        services = dict(node.get_service_names_and_types_by_node('monitor', '/'))
        assert services['/monitor/robot_qa_time'] == ['std_srvs/srv/Trigger']
        node.destroy_node()
    finally:
        rclpy.try_shutdown()
