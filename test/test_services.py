"""Services and actions: every check green on sound calls, red on a fault, undecided on nothing.

What a caller wrote is made by hand here; test_services_live.py has real servers.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robot_qa.checks import judge
from robot_qa.errors import SpecError
from robot_qa.messages.literals import findings
from robot_qa.messages.typestore import TypeStore
from robot_qa.monitors.actions import action_monitors
from robot_qa.monitors.services import service_monitors
from robot_qa.probes.batch import Batch, Observation
from robot_qa.probes.journal import Journal
from robot_qa.spec.loader import load_spec
from robot_qa.spec.model import TestSpec, declared_checks
from samples import MS, START, S, batch, context, observed, split

HEAD = {'robot_qa': 1, 'name': 'x', 'duration': '10 s', 'allow': ['call', 'goal']}
SERVICE = {'type': 'std_srvs/srv/SetBool', 'every': '100 ms', 'timeout': '1 s'}
SET_BOOL = 'bool success\nstring message'
ACTION = {'type': 'tf2_msgs/action/LookupTransform', 'goal': {}}


def verdicts(
    block: str, checks: dict[str, Any], batches: list[Batch], seen: Observation | None = None
) -> dict[str, tuple[str, str]]:
    """Judge by the checks of ``/it``; keys are check names below it."""
    spec = TestSpec.model_validate({**HEAD, block: {'/it': checks}})
    shared = context()
    shared.store.register(f'{SERVICE["type"]}_Response', SET_BOOL, 'ros2msg')
    monitors = [*service_monitors(spec, shared), *action_monitors(spec, shared)]
    for one in batches:
        for monitor in monitors:
            if one.topic in monitor.topics:
                monitor.update(one)
    found = {}
    for monitor in monitors:
        monitor.measure(observed(1.0))  # asking early must not change the answer
        for measured in monitor.measure(seen or observed(10.0)):
            result = judge(measured, 'x:1:1')
            name = result.name.removeprefix(f'{block}./it.')
            found[name] = (result.verdict.value, result.reason)
    assert set(found) == {
        name.removeprefix(f'{block}./it.') for name, _ in declared_checks(spec)
    }
    return found


def service(checks: dict[str, Any], batches: list[Batch], **more: Any) -> tuple[str, str]:
    (only,) = verdicts('services', {**SERVICE, **checks}, batches, **more).values()
    return only


def journal(*told: tuple[int, dict[str, Any]], topic: str = 'calls/it') -> Batch:
    """Entries at ns after START."""
    book = Journal(topic)
    for at, entry in told:
        book.write(START + at, entry)
    (only,) = book.drain()
    return only


def calls(times: list[int | str], came: int = 0) -> list[Batch]:
    """A call every 100 ms from ``came`` on, each with its response time or what went wrong."""
    told: list[tuple[int, dict[str, Any]]] = [(0, {'event': 'begin'}), (came, {
        'event': 'available'})]
    for index, time in enumerate(times):
        sent = came + index * 100 * MS
        took = {'timeout': S + 1, 'unavailable': 0}[time] if isinstance(time, str) else time
        error = time if isinstance(time, str) else None
        told.append((sent + took, {
            'event': 'call', 'sent_ns': START + sent, 'ended_ns': START + sent + took,
            'received_ns': None if error else START + sent + took, 'error': error,
        }))
    return [journal(*told)]


def response(success: bool, text: str = '') -> bytes:
    data = text.encode() + b'\0'
    return b'\0\1\0\0' + struct.pack('<B3xI', success, len(data)) + data


def responses(*said: bytes) -> Batch:
    sent = np.arange(len(said)) * 100 * MS
    return batch(sent, list(said), 'robot_qa/responses/it', 'std_srvs/srv/SetBool_Response',
                 sequence=None)


QUICK: list[int | str] = [5 * MS] * 95
SLOW: list[int | str] = [*[5 * MS] * 30, *[700 * MS] * 65]
HANGING: list[int | str] = [*[5 * MS] * 60, *['timeout'] * 35]
FLAKY: list[int | str] = [5 * MS, 'timeout', 5 * MS] * 30
RESPONSE_P95 = {'response_time': {'p95': '50 ms'}}
RESPONSE_MAX = {'response_time': {'max': '500 ms'}}
NO_FAILURE = {'failures': {'max': '0 %'}}
FEW_FAILURES = {'failures': {'max': '10 %'}}


@pytest.mark.parametrize('checks', [RESPONSE_P95, RESPONSE_MAX, NO_FAILURE, FEW_FAILURES])
def test_quick_answers_pass(checks: dict[str, Any]) -> None:
    assert service(checks, calls(QUICK))[0] == 'PASS'


@pytest.mark.parametrize('checks,faulty,said', [
    (RESPONSE_P95, SLOW, '700 ms'),
    (RESPONSE_MAX, SLOW, '65 times'),
    # Who never answers has no response time, and must not be judged by the others alone.
    (RESPONSE_P95, FLAKY, '1 s (1 s to'),
    (RESPONSE_MAX, HANGING, '35 times'),
    (NO_FAILURE, HANGING, 'not answered within 1 s'),
    (FEW_FAILURES, FLAKY, '33.3 %'),
    (NO_FAILURE, [*QUICK, 'unavailable'], 'there was no server'),
])
def test_faults_fail(checks: dict[str, Any], faulty: list[int | str], said: str) -> None:
    verdict, reason = service(checks, calls(faulty))
    assert verdict == 'FAIL', reason
    assert said in reason


def test_a_quantile_needs_enough_calls_and_says_how_many() -> None:
    verdict, reason = service(RESPONSE_P95, calls(QUICK[:20]))
    assert verdict == 'INCONCLUSIVE'
    assert '39 more' in reason


def test_one_hang_is_one_failure_however_many_calls_it_swallows() -> None:
    # 12 of 60 in one row tell less about the share than 12 here and there.
    row: list[int | str] = [*[MS] * 48, *['timeout'] * 12]
    scattered: list[int | str] = [*[MS, MS, MS, MS, 'timeout'] * 12]
    assert service(FEW_FAILURES, calls(scattered))[0] == 'FAIL'
    verdict, reason = service(FEW_FAILURES, calls(row))
    assert verdict == 'INCONCLUSIVE'
    assert 'worth 5' in reason


@pytest.mark.parametrize('came,waited,verdict', [
    (0, 10, 'PASS'), (2 * S, 10, 'PASS'), (4 * S, 10, 'FAIL'), (None, 10, 'FAIL'),
    (None, 2, 'INCONCLUSIVE'),
])
def test_available(came: int | None, waited: int, verdict: str) -> None:
    told: list[tuple[int, dict[str, Any]]] = [(0, {'event': 'begin'})]
    if came is not None:
        told += [(came, {'event': 'available'}), (9 * S, {'event': 'gone'})]
    checks = {'type': 'std_srvs/srv/SetBool', 'available': {'within': '3 s'}}
    for block, topic in (('services', 'calls/it'), ('actions', 'goals/it')):
        kind = {'type': ACTION['type']} if block == 'actions' else {}
        found = verdicts(block, {**checks, **kind}, [journal(*told, topic=topic)],
                         observed(waited))
        assert found['available.within'][0] == verdict, found


ALL = {**RESPONSE_P95, **NO_FAILURE, 'available': {'within': '3 s'},
       'response': {'success': {'equals': True}}}


@pytest.mark.parametrize('told,reason', [
    ([], 'live graph only'),
    ([(0, {'event': 'begin'})], 'had no server'),
    ([(0, {'event': 'begin'}), (1, {'event': 'remark', 'text': 'of another type'})],
     'of another type'),
    ([(0, {'event': 'begin'}), (1, {'event': 'available'})], 'no call'),
])
def test_nothing_is_inconclusive_and_says_why(told: list[Any], reason: str) -> None:
    found = verdicts('services', {**SERVICE, **ALL}, [journal(*told)] if told else [],
                     observed(2.0))
    available = found.pop('available.within')
    assert available[0] == ('PASS' if reason == 'no call' else 'INCONCLUSIVE')
    for verdict, why in found.values():
        assert verdict == 'INCONCLUSIVE'
        assert reason in why


def test_fields_of_responses() -> None:
    checks = {'response': {'success': {'equals': True}, 'message': {'one_of': ['', 'fine']}}}
    good = verdicts('services', {**SERVICE, **checks},
                    [*calls(QUICK[:2]), responses(response(True), response(True, 'fine'))])
    assert {verdict for verdict, _ in good.values()} == {'PASS'}
    bad = verdicts('services', {**SERVICE, **checks},
                   [*calls(QUICK[:2]), responses(response(True), response(False, 'fine'))])
    assert bad['response.success.equals'][0] == 'FAIL'
    assert bad['response.message.one_of'][0] == 'PASS'


def test_verdicts_do_not_depend_on_how_the_journal_is_cut() -> None:
    times = [*QUICK, *HANGING]
    (whole,) = calls(times)
    checks = {**SERVICE, **RESPONSE_P95, **FEW_FAILURES}
    expected = verdicts('services', checks, [whole])
    assert verdicts('services', checks, split(whole, [1, 2, 50, 96, 97])) == expected


# --- events of service introspection


def event(kind: int, number: int, at: int, said: bytes = b'') -> bytes:
    stamp = START + at
    head = struct.pack('<B3xiI16s4xq', kind, stamp // S, stamp % S, b'c' * 16, number)
    return b'\0\1\0\0' + head + (struct.pack('<II', 0, 1) + said if said else bytes(8))


def events(times: list[int | None], sides: tuple[int, int], ok: bool = True) -> list[Batch]:
    rows = []
    for number, took in enumerate(times):
        at = number * 100 * MS
        rows.append((at, event(sides[0], number, at)))
        if took is not None:
            said = struct.pack('<B3xI', ok, 1) + b'\0'
            rows.append((at + took, event(sides[1], number, at + took, said)))
    rows.sort()
    return [batch([at for at, _ in rows], [data for _, data in rows], '/it/_service_event',
                  'std_srvs/srv/SetBool_Event')]


@pytest.mark.parametrize('sides', [(0, 3), (1, 2)])
def test_service_events_stand_in_for_calls(sides: tuple[int, int]) -> None:
    checks = {**SERVICE, **RESPONSE_P95, **NO_FAILURE}
    sound = verdicts('services', checks, events([5 * MS] * 90, sides))
    assert {verdict for verdict, _ in sound.values()} == {'PASS'}, sound
    slow = verdicts('services', checks, events([700 * MS] * 90, sides))
    assert slow['response_time.p95'][0] == 'FAIL'
    assert slow['failures.max'][0] == 'PASS'
    mute = verdicts('services', checks, events([5 * MS] * 80 + [None] * 10, sides))
    assert mute['failures.max'][0] == 'FAIL'
    assert '10 times' in mute['failures.max'][1]


def test_our_own_calls_come_before_events_of_others() -> None:
    made = [*calls(QUICK), *events([700 * MS] * 90, (0, 3))]
    assert service(RESPONSE_P95, made)[0] == 'PASS'


# --- actions

GOAL_CHECKS = {
    'accepted': True,
    'result': {'within': '2 s', 'status': 'succeeded'},
    'feedback': {'rate': {'min': '5 Hz'}},
    'cancel': {'after': '500 ms', 'within': '1 s'},
}


def goal(number: int = 1, at: int = 0, **life: Any) -> list[tuple[int, dict[str, Any]]]:
    """The life of a goal sent at ``at``; what follows is given in ns after that."""
    told: list[tuple[int, dict[str, Any]]] = [(at, {
        'event': 'sent', 'goal': number, 'at_ns': START + at, 'to_cancel': 'cancel' in life})]

    def tell(event: str, after: int, **more: Any) -> None:
        told.append((at + after, {
            'event': event, 'goal': number, 'at_ns': START + at + after, **more}))

    if 'accepted' in life:
        tell('answered', 10 * MS, accepted=life['accepted'])
    stamps = [START + at + stamp for stamp in life.get('feedback', [])]
    if stamps:
        told.append((at, {'event': 'feedback', 'goal': number, 'at_ns': stamps}))
    if life.get('cancel') is not None:
        tell('cancel', life['cancel'])
    if 'result' in life:
        tell('result', life['result'], status=life.get('status', 'succeeded'))
    if 'given_up' in life:
        tell('given_up', life['given_up'])
    return told


FEEDBACK = [*range(100 * MS, S, 100 * MS)]
SOUND: dict[str, Any] = {'accepted': True, 'feedback': FEEDBACK, 'result': S}
STOPPED: dict[str, Any] = {
    'accepted': True, 'cancel': 600 * MS, 'result': 650 * MS, 'status': 'canceled'}


def action(first: dict[str, Any], second: dict[str, Any] | None = None, seconds: float = 10.0
           ) -> dict[str, tuple[str, str]]:
    told = [(0, {'event': 'begin'}), (0, {'event': 'available'}), *goal(1, 0, **first)]
    if second is not None:
        told += goal(2, 3 * S, **second)
    return verdicts('actions', {**ACTION, **GOAL_CHECKS}, [journal(*told, topic='goals/it')],
                    observed(seconds))


def reds(found: dict[str, tuple[str, str]]) -> dict[str, str]:
    return {name: verdict for name, (verdict, _) in found.items() if verdict != 'PASS'}


def test_a_sound_action_passes() -> None:
    assert reds(action(SOUND, STOPPED)) == {}


@pytest.mark.parametrize('first,second,red', [
    ({**SOUND, 'result': 1900 * MS}, STOPPED, {}),
    ({'accepted': False}, STOPPED, {'accepted': 'FAIL', 'result.within': 'INCONCLUSIVE',
      'result.status': 'INCONCLUSIVE', 'feedback.rate.min': 'INCONCLUSIVE'}),
    ({'given_up': 3 * S}, STOPPED, {'accepted': 'FAIL', 'result.within': 'INCONCLUSIVE',
      'result.status': 'INCONCLUSIVE', 'feedback.rate.min': 'INCONCLUSIVE'}),
    ({**SOUND, 'feedback': FEEDBACK * 2, 'result': 2500 * MS}, STOPPED,
     {'result.within': 'FAIL'}),
    ({'accepted': True, 'feedback': FEEDBACK * 3, 'given_up': 2100 * MS}, STOPPED,
     {'result.within': 'FAIL', 'result.status': 'FAIL'}),
    ({**SOUND, 'status': 'aborted'}, STOPPED, {'result.status': 'FAIL'}),
    ({**SOUND, 'feedback': FEEDBACK[:3]}, STOPPED, {'feedback.rate.min': 'FAIL'}),
    ({**SOUND, 'feedback': []}, STOPPED, {'feedback.rate.min': 'FAIL'}),
    (SOUND, {**STOPPED, 'status': 'succeeded'}, {'cancel.within': 'FAIL'}),
    (SOUND, {**STOPPED, 'result': 1700 * MS}, {'cancel.within': 'FAIL'}),
    (SOUND, {'accepted': True, 'cancel': 600 * MS, 'given_up': 1650 * MS},
     {'cancel.within': 'FAIL'}),
    (SOUND, {'accepted': True, 'cancel': None, 'result': 300 * MS},
     {'cancel.within': 'INCONCLUSIVE'}),
    (SOUND, None, {'cancel.within': 'INCONCLUSIVE'}),
])
def test_faults_of_an_action(
    first: dict[str, Any], second: dict[str, Any] | None, red: dict[str, str]
) -> None:
    found = action(first, second)
    assert reds(found) == red, found


def test_a_goal_under_way_at_the_end_is_judged_once_it_is_late() -> None:
    under_way = {'accepted': True, 'feedback': FEEDBACK}
    assert reds(action(under_way, seconds=1.0))['result.within'] == 'INCONCLUSIVE'
    assert reds(action(under_way, seconds=2.5))['result.within'] == 'FAIL'


def test_an_action_nobody_called_says_so() -> None:
    found = verdicts('actions', {**ACTION, **GOAL_CHECKS}, [])
    assert {verdict for verdict, _ in found.values()} == {'INCONCLUSIVE'}
    assert all('live graph only' in reason for _, reason in found.values())


PLAN_REQUEST = """geometry_msgs/PoseStamped start
geometry_msgs/PoseStamped goal
float32 tolerance
"""


# --- the spec, and messages written in it


@pytest.mark.parametrize('written,where,message', [
    ('services: {/a: {type: std_srvs/SetBool, available: {within: 1 s}}}', '4:21',
     'did you mean "std_srvs/srv/SetBool"'),
    ('services: {/a: {type: std_srvs/srv/SetBool}}', '4:12', 'nothing is checked here'),
    ('services:\n  /a: {type: std_srvs/srv/SetBool, failures: {max: 1 %}}', '5:43',
     'add "every"'),
    ('services:\n  /a: {type: a/srv/B, every: 1 s, response_time: {p50: 1 s, max: 2 s}}',
     '5:64', 'not below the timeout of 2 s'),
    ('actions:\n  /a: {type: a/action/B, accepted: true}', '5:35', 'add "goal"'),
    ('actions:\n  /a: {type: a/action/B, goal: {}, accepted: false}', '5:46',
     'false checks nothing'),
    ('actions:\n  /a: {type: a/action/B, goal: {}, timeout: 1 s, result: {within: 2 s}}', '5:45',
     'shorter than result.within'),
    ('actions:\n  /a: {type: a/action/B, goal: {}, result: {status: suceeded}}', '5:53',
     'did you mean "succeeded"'),
])
def test_mistakes_are_named_where_they_stand(
    written: str, where: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / 'x.qa.yaml'
    path.write_text(f'robot_qa: 1\nname: x\nduration: 10 s\n{written}\n')
    with pytest.raises(SpecError) as caught:
        load_spec(path)
    (problem,) = caught.value.problems
    assert message in problem.message
    assert f'{problem.line}:{problem.column}'.startswith(where[:2])


@pytest.mark.parametrize('values,expected', [
    ({'start': {'header': {'frame_id': 'map'}}, 'tolerance': 1}, []),
    ({'start': {'hedaer': {}}}, [(('start', 'hedaer'), 'did you mean "header"')]),
    ({'tolerance': '0.1', 'goal': 3}, [(('tolerance',), 'a number'), (('goal',), 'mapping')]),
    ({'start': {'pose': {'position': {'x': True}}}},
     [(('start', 'pose', 'position', 'x'), 'a number was expected')]),
    ({'start': {'header': {'stamp': {'sec': 2**31}}}},
     [(('start', 'header', 'stamp', 'sec'), 'a whole number from -2147483648 to 2147483647')]),
])
def test_what_is_wrong_with_a_written_message(values: Any, expected: list[Any]) -> None:
    store = TypeStore(workspace=False)
    store.register('nav_msgs/srv/GetPlan_Request', PLAN_REQUEST, 'ros2msg')
    found = list(findings(store, 'nav_msgs/srv/GetPlan_Request', values))
    assert [place for place, _ in found] == [place for place, _ in expected], json.dumps(values)
    assert all(want in reason for (_, reason), (_, want) in zip(found, expected, strict=True))


def test_arrays_are_written_as_lists() -> None:
    store = TypeStore(workspace=False)
    wrong = list(findings(store, 'sensor_msgs/msg/Imu', {
        'orientation_covariance': [1.0], 'linear_acceleration': []}))
    assert [reason for _, reason in wrong] == [
        'exactly 9 elements were expected',
        'the fields of a geometry_msgs/msg/Vector3 were expected, as a mapping',
    ]
    wrong = list(findings(store, 'nav_msgs/msg/Path', {'poses': [{}, {'poze': {}}]}))
    assert [place for place, _ in wrong] == [('poses', 1, 'poze')]
