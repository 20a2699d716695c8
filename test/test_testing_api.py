"""Tests in code: what holds passes, what does not fails with a sentence, and nothing is left."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from robot_qa.report.model import CheckPart, MonitorPart, Report
from robot_qa.testing import ExpectationError, Robot, assert_failed, assert_passed, wait_for

pytest_plugins = ['pytester']
ROOT = Path(__file__).parent.parent
EXAMPLES = re.findall(
    r'^```python\n(.*?)^```', (ROOT / 'doc' / 'pytest.md').read_text(), re.MULTILINE | re.DOTALL)
COMMAND = [sys.executable, '-m', 'robot_qa.examples.robot']
STALE = {'parameter': {'node': '/robot', 'name': 'fault', 'value': 'stale_scan'}}


@pytest.fixture(scope='module')
def sound(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Robot]:
    """The example robot, for all tests that leave it as it is."""
    with Robot(logs=tmp_path_factory.mktemp('logs')) as robot:
        robot.start('robot', COMMAND)
        robot.wait_for(['/scan'], nodes=['/robot'])
        yield robot


@pytest.mark.live
def test_what_holds_passes_and_what_does_not_is_said(sound: Robot) -> None:
    # An expectation waits for its time: 200 Hz are not there at once.
    sound.monitor('/imu', over='1 s').expect(expect_count={'min': 60})
    scan = sound.monitor('/scan', over='2500 ms')
    imu = sound.monitor('/imu', type='sensor_msgs/msg/Imu', over='2500 ms')
    assert [one.name for one in scan.rate(min=6, max='14 Hz')] == [
        'topics./scan.rate.min', 'topics./scan.rate.max']
    scan.expect(gap={'max': '1 s'}, stamps='increasing', fields={'ranges': {'length': 360}})
    scan.frame_id('laser', 'lidar_link')
    scan.field('ranges', finite='or_inf')
    scan.loss('0 %')
    scan.age(p50='200 ms')
    scan.jitter(p50='60 ms')
    imu.transport(p50='100 ms')
    imu.stamps()
    assert scan.count >= 20
    assert scan.latest('header.frame_id') == 'lidar_link'
    with pytest.raises(ExpectationError, match=(
            r'^/scan, watched for [0-9.]+ s: rate.min: [0-9.]+ Hz, at least 20 Hz wanted')):
        scan.rate(min=20)
    with pytest.raises(ExpectationError, match=r'gap.max: .* at most 10 ms wanted'):
        scan.gap('10 ms')


@pytest.mark.live
def test_what_never_came_does_not_pass(sound: Robot) -> None:
    silent = sound.monitor('/nothing', over='100 ms')
    assert silent.latest('data') is None
    with pytest.raises(ExpectationError, match=r'no message on /nothing'):
        silent.frame_id('map')


@pytest.mark.live
def test_a_scenario_is_played_while_monitors_watch(sound: Robot) -> None:
    scan = sound.monitor('/scan', over='500 ms')
    sound.scenario([{'at': '100 ms', 'for': '900 ms', **STALE}], '1500 ms')
    with pytest.raises(ExpectationError, match=r'age.max: [0-9.]+ ms, at most 300 ms wanted'):
        scan.age(max='300 ms')
    scan.restart()
    scan.age(p50='300 ms')
    lost = {'at': '100 ms', 'parameter': {'node': '/ghost', 'name': 'fault', 'value': 'none'}}
    with pytest.raises(ExpectationError, match=r'^the scenario: 0: .*ghost'):
        sound.scenario([lost], '500 ms')


@pytest.mark.live
def test_any_block_of_a_spec(sound: Robot) -> None:
    found = sound.expect('1500 ms', nodes={'/robot': {'alive': True}},
                         topics={'/scan': {'publishers': 1}})
    assert 'nodes./robot.alive' in {one.name for one in found}
    with pytest.raises(ExpectationError, match=r'nodes./ghost.alive'):
        sound.expect('1500 ms', nodes={'/ghost': {'alive': True}})


@pytest.mark.live
def test_waiting_ends(sound: Robot) -> None:
    with pytest.raises(ExpectationError, match=r'^after 300 ms still missing: a publisher of /no'):
        sound.wait_for(['/nothing'], timeout='300 ms')
    with Robot() as robot:
        robot.start('broken', [sys.executable, '-c', 'raise SystemExit("no lidar here")'])
        with pytest.raises(ExpectationError, match=r'code 1(.|\n)*no lidar here'):
            robot.wait_for(['/scan'])


@pytest.mark.live
def test_a_domain_of_its_own_until_the_end(tmp_path: Path) -> None:
    before = dict(os.environ)
    with Robot(logs=tmp_path) as robot:
        pid = robot.start('robot', COMMAND)
        assert os.environ['ROS_DOMAIN_ID'] == str(robot.domain)
        robot.wait_for(['/scan'])
        with Robot() as other:
            other.wait_for(['/scan'])  # in the same domain, as this process now is
            with pytest.raises(ValueError, match='before anything is watched'):
                other.start('robot', COMMAND)
    assert dict(os.environ) == before
    assert not Path(f'/proc/{pid}').exists()
    assert (tmp_path / 'robot.log').exists()


@pytest.mark.live
def test_the_examples_of_the_document(pytester: pytest.Pytester) -> None:
    (pytester.path / 'worlds').symlink_to(ROOT / 'worlds')
    for index, text in enumerate(EXAMPLES):
        (pytester.path / f'test_example_{index}.py').write_text(text)
    result = pytester.runpytest_subprocess('-p', 'no:cacheprovider', '-n', '2')
    result.assert_outcomes(passed=len(EXAMPLES))


@pytest.mark.parametrize('wrong,message', [
    ({'gap': {'max': 10}}, r'10 has no unit; write a time such as 50 ms'),
    ({'gaps': {'max': '1 s'}}, 'unknown key "gaps"; did you mean "gap"?'),
    ({'publishers': 1}, 'use robot.expect'),
    ({}, 'nothing is checked here'),
])
@pytest.mark.live
def test_misuse_is_told_before_anything_is_waited_for(
    sound: Robot, wrong: dict[str, object], message: str
) -> None:
    scan = sound.monitor('/scan', over='1 h')
    with pytest.raises(ValueError, match=re.escape(message)):
        scan.expect(**wrong)


@pytest.mark.parametrize('call,message', [
    (lambda robot: robot.monitor('scan'), 'did you mean "/scan"?'),
    (lambda robot: robot.monitor('/scan', over='3'), '3 has no unit'),
    (lambda robot: robot.start('', 'true'), 'name'),
    (lambda robot: robot.simulate('no.sdf'), 'there is no world'),
])
def test_misuse_needs_no_ros_to_be_told(call: object, message: str) -> None:
    assert callable(call)
    with Robot() as robot, pytest.raises(ValueError, match=re.escape(message)):
        call(robot)


def test_wait_for() -> None:
    answers = iter([None, 0, 'docked'])
    assert wait_for(lambda: next(answers), 'the robot is docked') == 'docked'
    with pytest.raises(ExpectationError, match=r'^waited 50 ms in vain: the robot is docked$'):
        wait_for(lambda: False, 'the robot is docked', '50 ms')


def report(**verdicts: str) -> Report:
    checks = [
        CheckPart(name=name, verdict=verdict, reason='because', decided_s=None,  # type: ignore
                  measured=None, limit=None, source='x.qa.yaml:3:1', evidence=[])
        for name, verdict in verdicts.items()
    ]
    return Report(
        name='x', verdict='PASS', started='', start_ns=0, duration_s=1.0, confidence=0.95,
        environment={}, timeline=[], checks=checks,
        monitor=MonitorPart(cpu_s=0, peak_rss_bytes=0, messages=0, overruns={}, notes={}),
    )


def test_verdicts_of_a_report() -> None:
    mixed = report(scan_gap='PASS', scan_rate='FAIL', odom_rate='INCONCLUSIVE')
    assert [one.name for one in assert_passed(mixed, 'scan_g*')] == ['scan_gap']
    assert [one.name for one in assert_failed(mixed, 'scan_r*')] == ['scan_rate']
    with pytest.raises(ExpectationError, match=r'scan_rate: because \(FAIL at x.qa.yaml:3:1\)\n'):
        assert_passed(mixed)
    with pytest.raises(ExpectationError, match=r'odom_rate was expected to fail: because'):
        assert_failed(mixed, '*_rate')
    with pytest.raises(ExpectationError, match=r'no check is called scan_gab; did you mean'):
        assert_passed(mixed, 'scan_gab')
