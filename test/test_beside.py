"""What the launch action starts: the run of a spec for a system that others bring up."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from robot_qa.integration.beside import attached, main
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
    loaded = load_spec(spec).spec
    system = attached(loaded).system
    assert system is not None and system.simulator is not None and loaded.system is not None
    assert system.simulator.backend == stands_in
    assert not system.simulator.started
    assert system.processes == []
    assert system.ready == loaded.system.ready
    # Durations follow the simulated time all the same.
    assert attached(loaded).on_ros_time == loaded.on_ros_time


def test_a_spec_without_a_system_stays_as_it_is(spec: Path) -> None:
    spec.write_text('robot_qa: 1\nname: x\nduration: 1 s\ntopics: {/a: {stamps: increasing}}\n')
    loaded = load_spec(spec).spec
    assert attached(loaded) is loaded


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
    (('--parameters', 'fault'), '"fault": KEY=VALUE was expected'),
    (('--parameters', 'foult=none'), 'foult'),
    (('--duration', '5'), '5 has no unit'),
])
def test_what_is_wrong_is_said(
    arguments: tuple[str, ...], message: str, spec: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([str(spec), '--out', str(tmp_path / 'out'), *arguments]) == 2
    assert message in capsys.readouterr().err


def test_it_acts_on_no_hardware_without_being_armed(
    spec: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec.write_text(SPEC + """scenario:
  - {at: 1 s, publish: {topic: /stop, type: std_msgs/msg/Bool, message: {data: true}}}
allow: [publish]
""")
    assert main([str(spec), '--out', str(tmp_path / 'out')]) == 2
    assert '--armed' in capsys.readouterr().err
