"""Tests in code: what holds passes, what does not fails with a sentence, and nothing is left."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from robot_qa import testing, watching
from robot_qa.errors import UnarmedError
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
    with pytest.raises(ValueError, match=(
            r"^the window of 5 s is longer than over='2500 ms': .*'/scan', over='5 s'\)")):
        scan.rate(min=1, window='5 s')


@pytest.mark.live
def test_no_more_has_to_be_watched_than_one_window(sound: Robot) -> None:
    scan = sound.monitor('/scan', over='2 s')
    for _ in range(2):
        scan.rate(min=2)
        scan.restart()


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
        with pytest.raises(ExpectationError, match=(
                r'^broken ended by itself with code 1 while .*/scan:\nno lidar here$')):
            robot.wait_for('/scan', timeout='60 s')


def crashed(robot: Robot, name: str, **options: bool) -> None:
    """Start what ends with code 3, and wait until it has."""
    robot.start(name, [sys.executable, '-c', 'raise SystemExit(3)'], **options)
    processes = robot._processes
    assert processes is not None
    wait_for(lambda: name in processes.poll(), f'{name} has ended', '60 s')


@pytest.mark.live
def test_a_process_that_crashed_fails_every_expectation() -> None:
    with Robot() as robot:
        robot.start('robot', COMMAND)
        robot.wait_for(['/scan'], timeout='60 s')
        scan = robot.monitor('/scan', over='100 ms')
        wait_for(lambda: scan.count, 'a scan comes', '60 s')
        crashed(robot, 'crash')
        for expecting in (
            lambda: scan.frame_id('lidar_link'), lambda: scan.count, scan.restart,
            lambda: scan.latest('header.frame_id'), lambda: robot.monitor('/scan'),
            lambda: robot.wait_for(['/scan']), lambda: robot.start('other', 'sleep 9'),
            lambda: robot.expect('500 ms', topics={'/scan': {'frame_id': 'lidar_link'}}),
            lambda: robot.scenario([{'at': '100 ms', **STALE}], '300 ms'),
        ):
            with pytest.raises(ExpectationError, match=r'^crash ended by itself with code 3'):
                expecting()


@pytest.mark.live
def test_a_process_that_crashed_unnoticed_fails_the_end() -> None:
    with pytest.raises(ExpectationError, match=r'^crash ended by itself with code 3'):
        with Robot() as robot:
            crashed(robot, 'crash')


@pytest.mark.live
def test_what_may_exit_or_is_stopped_is_no_crash() -> None:
    with Robot() as robot:
        crashed(robot, 'short', may_exit=True)
        robot.start('long', 'sleep 99')
        robot.scenario([{'at': '100 ms', 'kill': 'long'}], '2 s')
        robot.start('other', 'sleep 99')
        assert robot.stop('other').signal_sent == 'SIGINT'


@pytest.mark.live
def test_nothing_is_judged_by_what_came_before_watching_broke(sound: Robot) -> None:
    scan = sound.monitor('/scan', over='100 ms')
    scan.frame_id('lidar_link')

    def broken() -> None:
        raise RuntimeError('no more')

    scan._probe.drain = broken  # type: ignore[assignment,method-assign]
    wait_for(lambda: not scan._thread.is_alive(), 'the monitor has ended', '60 s')
    for judging in (lambda: scan.frame_id('lidar_link'), lambda: scan.count):
        with pytest.raises(RuntimeError, match='no more'):
            judging()


@pytest.mark.live
def test_more_than_is_kept(sound: Robot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, 'KEPT_BYTES', 20_000)
    images = sound.monitor('/scan', over='30 s')
    with pytest.raises(ExpectationError, match=r"^/scan: within over='30 s' came more than"):
        images.frame_id('lidar_link')


@pytest.mark.live
def test_a_topic_that_nobody_publishes(sound: Robot) -> None:
    with pytest.raises(ExpectationError, match=(
            r'^/scna, which nobody publishes; did you mean "/scan"\?, watched for')):
        sound.monitor('/scna', over='2 s').rate(min=1)


@pytest.mark.live
def test_a_fault_needs_a_relay(sound: Robot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(testing, 'DISCOVERY', '200 ms')
    step = {'at': '0 s', 'for': '1 s', 'fault': {'topic': '/scan', 'publisher': 'robot',
                                                 'drop': {'probability': '100 %'}}}
    with pytest.raises(ValueError, match=r'missing: node /relay_scan. A fault .* put the step'):
        sound.scenario([step], '2 s')


@pytest.mark.live
def test_a_simulator_that_does_not_start(tmp_path: Path) -> None:
    (tmp_path / 'broken.sdf').write_text('<sdf')
    with Robot(tmp_path) as robot, pytest.raises(
            ExpectationError, match=r'^simulator ended by itself with code [0-9]+:\n.*broken.sdf'):
        robot.simulate('broken.sdf', timeout='100 s')


PUBLISHING = """
from robot_qa.testing import Robot

STEP = {'at': '0 s', 'publish': {'topic': '/cmd_vel', 'type': 'geometry_msgs/msg/Twist',
                                 'message': {}}}
ALLOWED = {'allow': ['publish'], 'velocity_limits': {'/cmd_vel': {'linear': 1, 'angular': 1}}}

def test_a_scenario(scenario):
    scenario([STEP], '1 s', **ALLOWED)

def test_an_expectation(robot):
    robot.expect('1 s', scenario=[STEP], graph={'unique_names': True}, **ALLOWED)
"""


@pytest.mark.live
def test_a_robot_that_runs_is_moved_by_those_who_are_armed(
    pytester: pytest.Pytester, sound: Robot
) -> None:
    pytester.makepyfile(PUBLISHING)
    result = pytester.runpytest_inprocess('-p', 'no:hypothesispytest')
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines('*UnarmedError: this acts on a robot * ("publish")*--qa-armed*')
    with Robot() as attached, pytest.raises(UnarmedError, match=r'Robot\(armed=True\)'):
        attached.scenario([{'at': '0 s', **STALE}], '1 s', allow=['parameter'])
    result = pytester.runpytest_inprocess('-p', 'no:hypothesispytest', '--qa-armed')
    result.assert_outcomes(passed=2)


DYING = """
from robot_qa.testing import Robot

step = {'at': '0 s', 'for': '500 s', 'publish': {
    'topic': '/cmd_vel', 'type': 'geometry_msgs/msg/Twist', 'rate': '10 Hz',
    'message': {'linear': {'x': 0.25}}}}
with Robot(armed=True) as robot:
    robot.scenario([step], '501 s', allow=['publish'],
                   velocity_limits={'/cmd_vel': {'linear': 1, 'angular': 1}})
"""


@pytest.mark.live
def test_a_robot_that_a_test_moves_is_stopped_when_the_test_dies(sound: Robot) -> None:
    commands = sound.monitor('/cmd_vel', over='1 s')
    with subprocess.Popen([sys.executable, '-c', DYING]) as test:
        try:
            wait_for(lambda: commands.latest('linear.x') == 0.25, 'the test moves it', '100 s')
        finally:
            test.kill()
    wait_for(lambda: commands.latest('linear.x') == 0.0, 'it is told to stand still', '60 s')


ERRORS = """
from robot_qa.testing import wait_for

def test_a_process(robot):
    robot.start('x', 'no_such_program')

def test_a_quantity():
    wait_for(lambda: False, 'x', 1)

def test_a_field(robot, monitor):
    scan = monitor('/scan', over='100 ms')
    wait_for(lambda: scan.count, 'a scan comes', '60 s')
    scan.latest('foo')

def test_a_spec(robot):
    robot.bring_up('no.qa.yaml')
"""


@pytest.mark.live
def test_what_is_wrong_in_a_test_shows_its_lines_and_none_of_ours(
    pytester: pytest.Pytester, sound: Robot
) -> None:
    pytester.makepyfile(ERRORS)
    result = pytester.runpytest_inprocess('-p', 'no:hypothesispytest')
    result.assert_outcomes(failed=4)
    result.stdout.fnmatch_lines([
        'E *ProcessError: x: command not found: no_such_program', 'test_*.py:4: *',
        'E *ValueError: timeout: 1 has no unit*', 'test_*.py:7: *',
        'E *FieldPathError: *', 'test_*.py:12: *', 'E *SpecError: *no.qa.yaml:1:1: *',
    ])
    result.stdout.no_fnmatch_line('*robot_qa/*.py:[0-9]*')
    result.stdout.no_fnmatch_line('*contextlib*')


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
        with Robot() as other:
            other.monitor('/scan')  # of the robot that runs
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
    ({'frame_id': []}, 'frame_id: nothing is written here; at least one was expected'),
    ({'fields': {'ranges': {'min': 'x'}}}, 'fields.ranges.min: '),
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
    (lambda robot: robot.monitor('/scan', over='x'), 'over: "x" is not'),
    (lambda robot: robot.expect('1 s', tf={'edges': {'a -> b': {'rate': {'min': '1 Hz'}}}}),
     "tf.edges.a -> b.rate: the window is longer than over='1 s'"),
    (lambda robot: robot.start('', 'true'), 'name: '),
    (lambda robot: robot.start('x', ''), 'command: nothing is written here'),
    (lambda robot: robot.wait_for(nodes=['x']), 'nodes.0: '),
    (lambda robot: robot.wait_for('/x', timeout='3'), 'timeout: 3 has no unit'),
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
