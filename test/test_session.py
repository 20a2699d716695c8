"""Runs that go wrong in every way still end with a report, and leave nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from robot_qa.domains import claim_domain
from robot_qa.processes import Processes, ProcessSpec, child_environment

ROOT = Path(__file__).parent.parent
COMMAND = [sys.executable, '-m', 'robot_qa.cli']
ROBOT = '[python3, -m, robot_qa.examples.robot]'
DYING_ROBOT = '[timeout, -s, KILL, "8", python3, -m, robot_qa.examples.robot]'
SPEC = """
robot_qa: 1
name: short run
duration: {duration}
{more}
system:
  processes: [{{name: robot, command: {command}}}]
  ready: {{timeout: {ready}, topics: [/scan]}}
topics:
  /scan: {{rate: {{min: 8 Hz, window: 1 s}}, frame_id: lidar_link}}
"""
ATTACHED = """
robot_qa: 1
name: attached
duration: 2 s
topics:
  /scan: {rate: {min: 8 Hz, window: 1 s}}
"""


def write(folder: Path, **fields: str) -> Path:
    path = folder / 'short.qa.yaml'
    defaults = {'duration': '2 s', 'more': '', 'command': ROBOT, 'ready': '20 s'}
    path.write_text(SPEC.format(**{**defaults, **fields}))
    return path


def run(spec: Path, *words: str, env: dict[str, str] | None = None) -> tuple[int, dict[str, Any]]:
    out = spec.parent / 'out'
    done = subprocess.run(
        [*COMMAND, 'run', str(spec), '--quiet', '--out', str(out), *words], timeout=60,
        env={**os.environ, **(env or {})}, check=False, text=True, capture_output=True,
    )
    return done.returncode, json.loads((out / 'report.json').read_text())


def verdicts(report: dict[str, Any]) -> dict[str, str]:
    return {check['name']: check['verdict'] for check in report['checks']}


def eventually(holds: Callable[[], Any], seconds: float = 15.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, 'waited in vain'
        time.sleep(0.02)
    return found


def descendants_of(marker: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if marker in process.environ().get('ROS_LOG_DIR', ''):
                found.append(process)
        except (psutil.AccessDenied, psutil.NoSuchProcess):
            continue
    return found


@pytest.mark.live
def test_a_system_that_dies_gives_a_report(tmp_path: Path) -> None:
    code, report = run(write(tmp_path, command=DYING_ROBOT, duration='30 s'))
    found = verdicts(report)
    assert found['system.processes.robot'] == 'FAIL'
    assert found['run.duration'] == 'INCONCLUSIVE'
    assert found['topics./scan.frame_id'] == 'PASS', 'what was seen is judged all the same'
    assert code == 1
    reason = next(c['reason'] for c in report['checks'] if c['name'] == 'system.processes.robot')
    assert 'robot.log' in reason


@pytest.mark.live
def test_a_system_that_never_gets_ready_fails_and_says_what_is_missing(tmp_path: Path) -> None:
    code, report = run(write(tmp_path, command='[sleep, "60"]', ready='1 s'))
    ready = report['checks'][0]
    assert (ready['name'], ready['verdict']) == ('system.ready', 'FAIL')
    assert 'a message on /scan' in ready['reason']
    assert verdicts(report)['run.duration'] == 'INCONCLUSIVE'
    assert verdicts(report)['topics./scan.frame_id'] == 'INCONCLUSIVE'
    assert code == 1


@pytest.mark.live
def test_a_command_that_does_not_exist_is_an_error_with_a_report(tmp_path: Path) -> None:
    code, report = run(write(tmp_path, command='[no_such_program]'))
    assert code == 4
    assert 'no_such_program' in next(
        c['reason'] for c in report['checks'] if c['verdict'] == 'ERROR')


@pytest.mark.live
def test_the_timeout_ends_a_run_with_what_was_seen(tmp_path: Path) -> None:
    # Simulated time that stands still never fills the duration.
    spec = write(tmp_path, duration='1 s', more='timeout: 8 s\nclock: ros')
    _, report = run(spec)
    assert verdicts(report)['run.duration'] == 'INCONCLUSIVE'
    assert 'timeout' in next(c['reason'] for c in report['checks'] if c['name'] == 'run.duration')
    assert verdicts(report)['topics./scan.frame_id'] == 'PASS'


@pytest.mark.live
@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_a_run_with_a_report(tmp_path: Path, number: signal.Signals) -> None:
    spec = write(tmp_path, duration='60 s')
    out = tmp_path / 'out'
    process = subprocess.Popen(
        [*COMMAND, 'run', str(spec), '--out', str(out)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if 'watching' in line:
            break
    process.send_signal(number)
    assert process.wait(timeout=20) == 3
    report = json.loads((out / 'report.json').read_text())
    assert verdicts(report)['run.duration'] == 'INCONCLUSIVE'
    eventually(lambda: not descendants_of(str(tmp_path)))


@pytest.mark.live
def test_nothing_outlives_a_session_that_was_killed(tmp_path: Path) -> None:
    spec = write(tmp_path, duration='60 s')
    out = tmp_path / 'out'
    process = subprocess.Popen(
        [*COMMAND, 'run', str(spec), '--record', '--out', str(out)], stdout=subprocess.PIPE,
        text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if 'watching' in line:
            break
    recording = out / 'recording.mcap'
    eventually(lambda: recording.exists() and recording.stat().st_size > 2000)
    assert descendants_of(str(tmp_path))
    process.kill()
    process.wait()
    eventually(lambda: not descendants_of(str(tmp_path)))
    # What was recorded until then can be judged, and says that it was cut off.
    done = subprocess.run(
        [*COMMAND, 'check', str(spec), str(recording), '--out', str(tmp_path / 'check')],
        text=True, capture_output=True, check=False)
    assert 'PASS         topics./scan.frame_id' in done.stdout
    assert 'cut off' in done.stdout


@pytest.mark.live
def test_a_run_ends_when_every_check_is_decided(tmp_path: Path) -> None:
    spec = write(tmp_path, duration='60 s', more='stop_when_decided: true\nmin_duration: 3 s')
    more = '  /imu: {transport: {p50: 100 ms}, expect_count: {min: 9}}\n'
    spec.write_text(spec.read_text() + more)
    code, report = run(spec)
    assert code == 0
    assert 3.0 <= report['duration_s'] < 20.0
    decided = {check['name']: check['decided_s'] for check in report['checks']}
    assert decided['topics./scan.frame_id'] >= 3.0, 'a hard limit has to hold for min_duration'
    assert decided['topics./imu.transport.p50'] < 3.0
    assert 'every check was decided' in next(
        c['reason'] for c in report['checks'] if c['name'] == 'run.duration')


@pytest.mark.live
def test_attaching_starts_and_stops_nothing(tmp_path: Path) -> None:
    spec = tmp_path / 'attached.qa.yaml'
    spec.write_text(ATTACHED)
    with claim_domain() as claim:
        env = {
            'ROS_DOMAIN_ID': str(claim.id), 'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
        }
        with Processes(tmp_path / 'logs') as processes:
            processes.start(ProcessSpec(
                'robot', (sys.executable, '-m', 'robot_qa.examples.robot'), None,
                child_environment(os.environ, claim.id, {}),
            ))
            code, report = run(spec, env=env)
            assert (code, report['verdict']) == (0, 'PASS')
            assert not processes.poll(), 'the robot runs on'
        code, report = run(spec, env=env)
    assert verdicts(report)['topics./scan.rate.min'] == 'FAIL'
    assert code == 1, 'nothing arrived, so nothing passes'


def test_without_ros_a_live_run_says_what_is_missing(tmp_path: Path) -> None:
    blocker = tmp_path / 'rclpy'
    blocker.mkdir()
    (blocker / '__init__.py').write_text('raise ImportError("no rclpy on this machine")')
    done = subprocess.run(
        [*COMMAND, 'run', str(write(tmp_path)), '--out', str(tmp_path / 'out')], check=False,
        text=True, capture_output=True, env={**os.environ, 'PYTHONPATH': f'{tmp_path}:{ROOT}'})
    assert done.returncode == 4
    assert 'robot_qa[ros]' in done.stderr


def test_a_wrong_spec_ends_with_2_and_every_error(tmp_path: Path) -> None:
    path = tmp_path / 'wrong.qa.yaml'
    path.write_text('robot_qa: 1\nname: x\nduration: 10\ntopics:\n  /scan: {gaps: {max: 1 s}}\n')
    done = subprocess.run(
        [*COMMAND, 'validate', str(path)], text=True, capture_output=True, check=False)
    assert done.returncode == 2
    assert f'{path}:3:11: ' in done.stderr
    assert 'did you mean "gap"?' in done.stderr
