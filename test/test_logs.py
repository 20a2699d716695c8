"""/rosout and /diagnostics: green when harmless, red at a level, undecided in silence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from robot_qa.checks import judge
from robot_qa.monitors.logs import OUR_STATUS, log_monitors
from robot_qa.probes.batch import Batch
from robot_qa.spec.model import TestSpec
from samples import MS, START, TYPES, batch, context, header, observed, serialized, split

SENT = np.arange(10) * 100 * MS
OK, WARN, ERROR, STALE = 0, 1, 2, 3
STATUS = 'diagnostic_msgs/msg/DiagnosticStatus'


def log(level: int, text: str, logger: str = 'detector') -> bytes:
    stamp = header(START).stamp
    return serialized(TYPES['rcl_interfaces/msg/Log'](
        stamp=stamp, level=level, name=logger, msg=text, file='', function='', line=0))


def rosout(*messages: bytes) -> Batch:
    return batch(SENT[:len(messages)], list(messages), '/rosout', 'rcl_interfaces/msg/Log')


def diagnostics(*statuses: tuple[int, str, str]) -> Batch:
    payloads = [
        serialized(TYPES['diagnostic_msgs/msg/DiagnosticArray'](
            header=header(START), status=[TYPES[STATUS](
                level=level, name=name, message=text, hardware_id='', values=[])]))
        for level, name, text in statuses
    ]
    return batch(
        SENT[:len(payloads)], payloads, '/diagnostics', 'diagnostic_msgs/msg/DiagnosticArray')


def ours(level: int) -> Batch:
    """What a monitor of ours says, under whatever name."""
    values = [TYPES['diagnostic_msgs/msg/KeyValue'](key=key, value='x')
              for key in ('verdict', OUR_STATUS)]
    status = TYPES[STATUS](
        level=level, name='front: run.duration', message='', hardware_id='', values=values)
    payload = serialized(TYPES['diagnostic_msgs/msg/DiagnosticArray'](
        header=header(START), status=[status]))
    return batch(SENT[:1], [payload], '/diagnostics', 'diagnostic_msgs/msg/DiagnosticArray')


def verdicts(block: dict[str, Any], batches: list[Batch], **known: Any) -> dict[str, str]:
    return {name: one[0] for name, one in judged(block, batches, **known).items()}


def judged(
    block: dict[str, Any], batches: list[Batch], **known: Any
) -> dict[str, tuple[str, list[str]]]:
    spec = TestSpec.model_validate({'robot_qa': 1, 'name': 'x', 'duration': '10 s', **block})
    monitors = log_monitors(spec, context())
    for one in batches:
        for monitor in monitors:
            if one.topic in monitor.topics:
                monitor.update(one)
    results = [judge(measured, 'x:1:1') for monitor in monitors
               for measured in monitor.measure(observed(10.0, **known))]
    return {
        one.name: (one.verdict.value, [found.text for found in one.evidence]) for one in results
    }


HARMLESS = log(20, 'all is well')
BROKEN = log(40, 'camera lost')


@pytest.mark.parametrize('more,messages,expected', [
    ({}, [HARMLESS], 'PASS'),
    ({}, [HARMLESS, log(30, 'slow')], 'PASS'),
    ({}, [HARMLESS, BROKEN], 'FAIL'),
    ({}, [log(50, 'dying')], 'FAIL'),
    ({'allow': ['^camera']}, [HARMLESS, BROKEN], 'PASS'),
    ({'allow': ['^lidar']}, [HARMLESS, BROKEN], 'FAIL'),
    ({'nodes': ['/detector']}, [BROKEN], 'FAIL'),
    ({'nodes': ['/arm']}, [BROKEN], 'INCONCLUSIVE'),  # nothing was heard of /arm
    ({'nodes': ['/left/arm']}, [log(40, 'stuck', 'left.arm.driver')], 'FAIL'),
    ({'nodes': ['/arm']}, [log(20, 'here', 'arm'), log(40, 'stuck', 'arm2')], 'PASS'),
    ({}, [HARMLESS, log(40, 'ours', '_robot_qa_17')], 'PASS'),
    ({}, [HARMLESS, BROKEN[:30]], 'FAIL'),
    ({}, [], 'INCONCLUSIVE'),
])
def test_rosout(more: dict[str, Any], messages: list[bytes], expected: str) -> None:
    block = {'logs': {'rosout': {'below': 'error', **more}}}
    stream = [rosout(*messages)] if messages else []
    assert verdicts(block, stream) == {'logs.rosout.below': expected}


def test_a_log_that_is_there_and_silent_passes() -> None:
    notes = {'/rosout': ['published by /detector, which sent nothing']}
    block = {'logs': {'rosout': {'below': 'error'}}}
    assert verdicts(block, [], notes=notes) == {'logs.rosout.below': 'PASS'}


@pytest.mark.parametrize('sent,received,expected', [
    (-3_000 * MS, 1 * MS, 'PASS'),  # history: a new subscription gets the last 10 s
    (-1 * MS, 1 * MS, 'PASS'),
    (0, 1 * MS, 'FAIL'),
    (-3_000 * MS, 5_000 * MS, 'FAIL'),  # new, from a host whose clock is behind
])
def test_what_was_logged_before_the_observation_does_not_count(
    sent: int, received: int, expected: str
) -> None:
    stream = batch(
        [-5_000 * MS, sent], [HARMLESS, BROKEN], '/rosout', 'rcl_interfaces/msg/Log',
        received=[0, received],
    )
    block = {'logs': {'rosout': {'below': 'error'}}}
    for pieces in ([stream], split(stream, [1])):
        assert verdicts(block, pieces) == {'logs.rosout.below': expected}


def test_the_text_is_the_evidence() -> None:
    found = judged({'logs': {'rosout': {'below': 'error'}}}, [rosout(HARMLESS, BROKEN, BROKEN)])
    assert found['logs.rosout.below'] == ('FAIL', ['[ERROR] detector: camera lost'])


@pytest.mark.parametrize('block,statuses,expected', [
    ({'below': 'error'}, [(OK, 'motor', 'fine'), (WARN, 'motor', 'warm')], 'PASS'),
    ({'below': 'error'}, [(OK, 'motor', 'fine'), (ERROR, 'motor', 'hot')], 'FAIL'),
    ({'below': 'error'}, [(STALE, 'motor', 'gone')], 'FAIL'),
    ({'below': 'stale'}, [(ERROR, 'motor', 'hot')], 'PASS'),
    ({'below': 'error', 'allow': ['motor: hot']}, [(ERROR, 'motor', 'hot')], 'PASS'),
    ({'below': 'error'}, [], 'INCONCLUSIVE'),
])
def test_diagnostics(
    block: dict[str, Any], statuses: list[tuple[int, str, str]], expected: str
) -> None:
    stream = [diagnostics(*statuses)] if statuses else []
    assert verdicts({'diagnostics': block}, stream) == {'diagnostics.below': expected}


def test_a_status_that_has_to_be_there() -> None:
    block = {'diagnostics': {'names': {'lidar': {'present': True}, 'motor': {'present': True}}}}
    found = judged(block, [diagnostics((OK, 'motor', 'fine'))])
    assert found['diagnostics.names.motor.present'][0] == 'PASS'
    verdict, texts = found['diagnostics.names.lidar.present']
    assert verdict == 'FAIL'
    assert texts == ['the statuses are: motor']


@pytest.mark.parametrize('others,expected', [([], 'INCONCLUSIVE'), ([(OK, 'motor', '')], 'PASS'),
                                              ([(ERROR, 'motor', '')], 'FAIL')])
@pytest.mark.parametrize('level', [OK, ERROR])
def test_what_a_monitor_says_of_itself_says_nothing_of_the_robot(
    level: int, others: list[tuple[int, str, str]], expected: str,
) -> None:
    block = {'diagnostics': {'below': 'error', 'names': {'run': {'present': True}}}}
    found = judged(block, [ours(level), *([diagnostics(*others)] if others else [])])
    assert found['diagnostics.below'][0] == expected
    assert found['diagnostics.names.run.present'][0] != 'PASS'


@pytest.mark.parametrize('block,text', [
    ({'logs': {'rosout': {'below': 'error', 'allow': ['(']}}}, 'not a regular expression'),
    ({'diagnostics': {'names': {'[': {'present': True}}}}, 'not a regular expression'),
    ({'diagnostics': {'names': {}}}, 'nothing is checked here'),
    ({'diagnostics': {'allow': ['x']}}, 'nothing is checked here'),
])
def test_mistakes_in_the_spec(block: dict[str, Any], text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        TestSpec.model_validate({'robot_qa': 1, 'name': 'x', 'duration': '10 s', **block})


def test_the_moments_of_draining_change_nothing() -> None:
    log_stream = rosout(HARMLESS, BROKEN, log(40, 'other'), BROKEN, HARMLESS)
    status_stream = diagnostics((OK, 'a', ''), (ERROR, 'b', 'x'), (ERROR, 'c', 'y'))
    block = {'logs': {'rosout': {'below': 'error'}}, 'diagnostics': {'below': 'error'}}
    whole = judged(block, [log_stream, status_stream])
    assert judged(block, [*split(log_stream, [1, 3]), *split(status_stream, [2])]) == whole
