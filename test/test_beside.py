"""What the launch action starts: the run of a spec for a system that others bring up."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from robot_qa.errors import SpecError
from robot_qa.integration.beside import main
from robot_qa.spec.attach import attached
from robot_qa.spec.loader import load_spec

SPEC = """robot_qa: 1
name: beside
duration: 2 s
parameters: {fault: none}
system:
  processes:
    - {name: robot, command: [python3, -m, robot_qa.examples.robot, --fault, '${fault}']}
  ready: {topics: [/scan]}
topics: {/scan: {frame_id: lidar_link, age: {max: 380 ms}}}
"""


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / 'robot.qa.yaml'
    path.write_text(SPEC)
    return path


@pytest.mark.parametrize('backend,stands_in', [
    ('embedded', 'standard'), ('gazebo', 'gazebo'), ('standard', 'standard'), ('none', 'none'),
])
def test_nothing_is_started_beside_a_launch(
    backend: str, stands_in: str, spec: Path, tmp_path: Path
) -> None:
    (tmp_path / 'world.sdf').touch()
    world = ', world: world.sdf' if backend in ('embedded', 'gazebo') else ''
    simulator = f'  simulator: {{backend: {backend}{world}}}\n'
    spec.write_text(SPEC.replace('system:\n', f'system:\n{simulator}'))
    loaded = load_spec(spec)
    found = attached(loaded, simulator_runs=True).spec
    system = found.system
    assert system is not None and system.simulator is not None and loaded.spec.system is not None
    assert system.simulator.backend == stands_in
    assert not system.simulator.started
    assert system.processes == []
    assert system.ready == loaded.spec.system.ready
    # Durations follow the simulated time all the same.
    assert found.on_ros_time == loaded.spec.on_ros_time


def test_a_spec_without_a_system_stays_as_it_is(spec: Path) -> None:
    spec.write_text('robot_qa: 1\nname: x\nduration: 1 s\ntopics: {/a: {stamps: increasing}}\n')
    loaded = load_spec(spec)
    assert attached(loaded, simulator_runs=True) is loaded


@pytest.mark.live
def test_verdicts_are_lines_and_the_exit_code(spec: Path, tmp_path: Path) -> None:
    out = tmp_path / 'out'
    done = subprocess.run(
        [sys.executable, '-m', 'robot_qa.integration.beside', spec, '--out', out, '--bring-up',
         '--parameters', 'fault=stale_scan', '--duration', '', '--use-sim-time', '', '--record',
         'false'], text=True, capture_output=True, check=False, timeout=60)
    assert done.returncode == 1, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    final = {line['check']: line['verdict'] for line in lines if line['final']}
    report = json.loads((out / 'report.json').read_text())
    assert final == {check['name']: check['verdict'] for check in report['checks']}
    assert final['topics./scan.age.max'] == 'FAIL'
    assert final['topics./scan.frame_id'] == 'PASS'
    early = [line for line in lines if not line['final']]
    assert early and {line['verdict'] for line in early} <= {'PASS', 'FAIL'}
    assert 'FAIL  topics./scan.age.max: 4' in done.stderr
    assert not (out / 'recording.mcap').exists()


@pytest.mark.parametrize('arguments,message', [
    (('--parameters', 'fault'), 'parameters fault: KEY=VALUE was expected'),
    (('--parameters', 'fault="a b'), 'parameters: fault="a b: No closing quotation'),
    (('--parameters', 'foult=none'), 'foult'),
    (('--duration', '5'), '5 has no unit'),
])
def test_what_is_wrong_is_said(
    arguments: tuple[str, ...], message: str, spec: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([str(spec), '--out', str(tmp_path / 'out'), *arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.live
def test_it_ends_like_others_where_a_script_started_it_with_an_ampersand(
    spec: Path, tmp_path: Path,
) -> None:
    ampersand = 'import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); ' \
                'os.execv(sys.executable, [sys.executable, *sys.argv[1:]])'
    # What is printed at the end of the process by somebody else is no verdict.
    (tmp_path / 'sitecustomize.py').write_text('import atexit\natexit.register(print, "bye")\n')
    spec.write_text(SPEC.replace('duration: 2 s', 'duration: 600 s').replace(
        'frame_id: lidar_link', "frame_id: '${frame}'").replace(
        'fault: none', 'fault: none, frame: lidar_link'))
    run = subprocess.Popen(
        [sys.executable, '-c', ampersand, '-m', 'robot_qa.integration.beside', str(spec), '--out',
         str(tmp_path / 'out'), '--bring-up', '--parameters', 'fault=none frame="a link"'],
        text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, 'PYTHONPATH': os.pathsep.join([str(tmp_path), *sys.path])})
    assert run.stdout is not None
    first = run.stdout.readline()
    run.send_signal(signal.SIGINT)
    out, errors = run.communicate(timeout=90)
    assert run.returncode == 1, errors
    found = {line['check']: line for line in map(json.loads, [first, *out.splitlines()])}
    assert 'stopped by an interrupt' in found['run.duration']['reason']
    assert 'header.frame_id = "lidar_link"' in found['topics./scan.frame_id']['reason']
    assert 'bye' in errors


DRIVE = """scenario:
  - at: 1 s
    for: 500 ms
    publish: {topic: /cmd_vel, type: geometry_msgs/msg/Twist, rate: 10 Hz}
"""


def test_what_the_launch_brings_up_is_hardware_unless_it_is_simulated(
    spec: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(spec), '--out', str(tmp_path / 'out'), '--armed', 'true']
    spec.write_text(SPEC + DRIVE)
    assert main(arguments) == 2
    refused = capsys.readouterr().err
    assert f'{spec}:13:14: "publish" acts on a robot' in refused
    assert f'{spec}:13:22: /cmd_vel moves a robot' in refused and 'velocity_limits' in refused
    assert not (tmp_path / 'out').exists()
    simulated = SPEC.replace('system:\n', 'system:\n  simulator: {backend: standard}\n')
    spec.write_text(simulated + DRIVE)
    assert attached(load_spec(spec), simulator_runs=True)
    with pytest.raises(SpecError, match='acts on a robot'):
        attached(load_spec(spec))


@pytest.mark.parametrize('more,place,needs', [
    ('scenario: [{at: 1 s, for: 1 s, stop: robot}]', '10:38', '"stop" needs a process'),
    ('scenario: [{at: 1 s, kill: /robot}]', '10:28', '"kill" needs a process'),
    ('scenario: [{at: 1 s, light: {scale: 0}}]', '10:29', '"light" needs a simulator'),
    ('resources: {robot: {rss: {max: 500 MiB}}}', '10:20', 'starts no "robot"'),
])
def test_what_needs_processes_of_the_run_is_said_at_the_start(
    more: str, place: str, needs: str, spec: Path,
) -> None:
    spec.write_text(SPEC + more)
    with pytest.raises(SpecError) as caught:
        attached(load_spec(spec))
    (problem,) = caught.value.problems
    assert needs in problem.message and f'{problem.line}:{problem.column}' == place


def test_it_acts_on_no_hardware_without_being_armed(
    spec: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec.write_text(SPEC + """scenario:
  - {at: 1 s, publish: {topic: /stop, type: std_msgs/msg/Bool, message: {data: true}}}
allow: [publish]
""")
    assert main([str(spec), '--out', str(tmp_path / 'out')]) == 2
    assert '--armed' in capsys.readouterr().err
