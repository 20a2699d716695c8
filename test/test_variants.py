"""One spec in three places: a simulation, a robot that runs already, a recording."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from robot_qa.domains import claim_domain
from robot_qa.processes import Processes, ProcessSpec, child_environment

WORLD = Path(__file__).parent.parent / 'worlds' / 'warehouse.sdf'
SPEC = """
robot_qa: 1
name: patrol
duration: 4 s
system:
  simulator: {backend: embedded, world: warehouse.sdf}
  ready: {timeout: 60 s, topics: [/scan, /odom]}
topics:
  /scan: {rate: {min: 2 Hz, window: 2 s}, frame_id: %s, fields: {ranges: {finite: or_inf}}}
  /odom: {rate: {min: 5 Hz, window: 2 s}, stamps: increasing}
"""


def run(folder: Path, *words: str, env: dict[str, str] | None = None) -> tuple[int, Any]:
    out = folder / f'out-{len(list(folder.glob("out-*")))}'
    done = subprocess.run(
        [sys.executable, '-m', 'robot_qa.cli', *words, '--quiet', '--out', str(out)],
        env=env, check=False, text=True, capture_output=True, timeout=120)
    report = out / 'report.json'
    found = json.loads(report.read_text()) if report.exists() else {}
    return done.returncode, {
        'out': out, 'error': done.stderr, 'environment': found.get('environment'),
        'verdicts': {one['name']: one['verdict'] for one in found.get('checks', [])
                     if one['name'].startswith('topics.')},
    }


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    (tmp_path / 'warehouse.sdf').write_text(WORLD.read_text())
    (tmp_path / 'models').symlink_to(WORLD.parent / 'models')
    path = tmp_path / 'patrol.qa.yaml'
    path.write_text(SPEC % 'lidar_link')
    return path


@pytest.mark.live
def test_simulation_bench_and_recording(spec: Path, tmp_path: Path) -> None:
    pytest.importorskip('rclpy')
    pytest.importorskip('mujoco')
    code, simulated = run(tmp_path, 'run', str(spec), '--record')
    assert code == 0, simulated
    code, recorded = run(
        tmp_path, 'check', str(spec), str(simulated['out'] / 'recording.mcap'))
    assert code == 0 and recorded['verdicts'] == simulated['verdicts']
    with claim_domain() as claim, Processes(tmp_path / 'logs', claim.fileno()) as processes:
        env = child_environment(dict(os.environ), claim.id, {})
        processes.start(ProcessSpec(
            'robot', (sys.executable, '-m', 'robot_qa.examples.robot'), None, env))
        code, bench = run(tmp_path, 'run', str(spec), '--attach', env=env)
        assert code == 0, bench
        assert bench['verdicts'] == simulated['verdicts']
        assert bench['environment']['ROS_DOMAIN_ID'] == str(claim.id)
        assert not (bench['out'] / 'logs' / 'simulator.log').exists()
        spec.write_text(SPEC % 'elsewhere')
        code, broken = run(tmp_path, 'run', str(spec), '--attach', env=env)
        assert code == 1
        assert broken['verdicts']['topics./scan.frame_id'] == 'FAIL'


def test_what_a_simulation_may_a_robot_need_not_allow(spec: Path, tmp_path: Path) -> None:
    step = '- {at: 1 s, publish: {topic: /cmd_vel, type: geometry_msgs/msg/Twist}}\n'
    spec.write_text(SPEC % 'lidar_link' + f'scenario:\n{step}')
    code, refused = run(tmp_path, 'run', str(spec), '--attach')
    assert code == 2
    assert f'{spec}:12:22: "publish" acts on a robot' in refused['error']
    assert 'velocity_limits' in refused['error']
