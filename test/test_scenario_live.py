"""A scenario on the embedded simulator: done, noted, taken back, and its effects are seen."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from robot_qa.probes.bag import BagProbe
from samples import STORE
from simulator_client import ROOT

pytest.importorskip('mujoco')
pytestmark = pytest.mark.live

SPEC = """robot_qa: 1
name: scenario
duration: 8 s
system:
  simulator: {backend: embedded, world: worlds/empty.sdf, real_time_factor: 2}
  processes:
    - name: patrol
      command: [python3, -m, robot_qa.examples.patrol, --waypoints, '20,0',
                --ros-args, -p, 'use_sim_time:=true']
  ready: {timeout: 60 s, topics: [/odom, /scan, /cmd_vel]}
topics:
  /cmd_vel: {basis: arrival, gap: {max: 400 ms}}       # wall time: 0.8 s of the simulation
  /scan: {fields: {ranges: {min: 1.0}}}                # no wall is that near
  /ground_truth/poses: {expect_count: {min: 1}}
  /ticks: {type: std_msgs/msg/Header, expect_count: {min: 17, max: 21}}
  /stamped: {type: geometry_msgs/msg/PointStamped, stamps: increasing}
  /imu: {type: sensor_msgs/msg/Imu, frame_id: imu_link, stamps: increasing}
nodes:
  /simulator: {parameters: {light_scale: {equals: 1.0}}}
scenario:
  - {name: dark, at: 1 s, for: 3 s, light: {scale: 0.5}}
  - name: wall
    at: 1 s
    spawn: {name: wall, model: worlds/models/crate_small, frame: patrol_robot,
            pose: {xyz: [0.9, 0, 0.3]}}
  - {name: opened, after: wall, delay: 1 s, remove: wall}
  - {name: asleep, at: 4500 ms, for: 2 s, stop: patrol}
  - {name: ask, every: 2 s,
     call: {service: /patrol/status, type: std_srvs/srv/Trigger, success: any}}
  - {name: renamed, at: 6 s, for: 1 s, fault: {topic: /imu, publisher: simulator, frame_id: gyro}}
  - {name: unheard, at: 7100 ms, for: 500 ms,
     fault: {topic: /cmd_vel, publisher: patrol, drop: 100 %}}
  - name: high                                         # in free fall until the end
    at: 500 ms
    spawn: {name: loose, model: worlds/models/crate_small, pose: {xyz: [50, 0, 900]}}
  - {name: kicked, after: high, delay: 1 s, push: {name: loose, impulse: [16, -8, 0]}}
  - {name: ticks, at: 1 s, for: 2 s,
     publish: {topic: /ticks, type: std_msgs/msg/Header, rate: 10 Hz}}
  - {name: stamped, at: 1 s, for: 2 s,
     publish: {topic: /stamped, type: geometry_msgs/msg/PointStamped, rate: 10 Hz}}
  - {name: under_way, when: {/odom: pose.pose.position.x > 0.2},
     call: {service: /patrol/status, type: std_srvs/srv/Trigger, success: any}}
  - {name: arrived, when: {/odom: pose.pose.position.x > 15},
     call: {service: /patrol/status, type: std_srvs/srv/Trigger, success: any}}
  - {name: ghost, at: 2 s, remove: nobody}
  - {name: never, after: ghost, light: {scale: 0.1}}
"""


@pytest.fixture(scope='module')
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp('scenario')
    shutil.copytree(ROOT / 'worlds', folder / 'worlds')
    spec = folder / 'scenario.qa.yaml'
    spec.write_text(SPEC)
    out = folder / 'out'
    done = subprocess.run(
        [sys.executable, '-m', 'robot_qa.cli', 'run', spec, '--out', out, '--record', '--quiet'],
        cwd=ROOT, text=True, capture_output=True, timeout=120, check=False,
    )
    assert done.returncode == 4, done.stdout + done.stderr
    found: dict[str, Any] = json.loads((out / 'report.json').read_text())
    found['out'], found['spec'] = out, spec
    return found


def verdicts(report: dict[str, Any]) -> dict[str, str]:
    return {check['name']: check['verdict'] for check in report['checks']}


def test_each_step_has_its_verdict(report: dict[str, Any]) -> None:
    found = {name: verdict for name, verdict in verdicts(report).items()
             if name.startswith('scenario.')}
    assert found == {
        'scenario.dark': 'PASS', 'scenario.wall': 'PASS', 'scenario.opened': 'PASS',
        'scenario.asleep': 'PASS', 'scenario.ask': 'PASS', 'scenario.renamed': 'PASS',
        'scenario.unheard': 'PASS', 'scenario.high': 'PASS', 'scenario.kicked': 'PASS',
        'scenario.ticks': 'PASS', 'scenario.stamped': 'PASS',
        'scenario.under_way': 'PASS', 'scenario.arrived': 'INCONCLUSIVE',
        'scenario.ghost': 'ERROR', 'scenario.never': 'INCONCLUSIVE',
    }
    line = 1 + SPEC[:SPEC.index('name: ghost')].count('\n')
    ghost = next(one for one in report['checks'] if one['name'] == 'scenario.ghost')
    assert 'nobody' in ghost['reason'] and ghost['source'].endswith(f':{line}:5')


def test_the_effects_are_seen_by_the_checks_that_should_see_them(report: dict[str, Any]) -> None:
    red = {name for name, verdict in verdicts(report).items()
           if verdict == 'FAIL' and not name.startswith('scenario.')}
    assert red == {
        'topics./cmd_vel.gap.max', 'topics./scan.fields.ranges.min', 'topics./imu.frame_id',
        'nodes./simulator.parameters.light_scale.equals',
    }


def recorded(report: dict[str, Any], topic: str) -> list[Any]:
    probe = BagProbe(report['out'] / 'recording.mcap', [topic])
    try:
        found = []
        while not probe.done:
            for batch in probe.drain():
                found += [STORE.deserialize_cdr(bytes(one), batch.type) for one in batch.payloads]
        return found
    finally:
        probe.close()


def seconds(stamp: Any) -> float:
    return float(stamp.sec + stamp.nanosec / 1e9)


def test_a_blow_has_its_impulse(report: dict[str, Any]) -> None:
    places = np.array([
        (seconds(one.header.stamp), one.transform.translation.x, one.transform.translation.y)
        for message in recorded(report, '/ground_truth/poses') for one in message.transforms
        if one.child_frame_id == 'loose'
    ])
    moving = places[places[:, 1] > 50.5]
    assert len(moving) > 50 and places[0, 1] == pytest.approx(50.0, abs=1e-6)
    velocity = (moving[-1] - moving[0]) / (moving[-1, 0] - moving[0, 0])
    assert velocity[1:] == pytest.approx((16 / 8, -8 / 8), rel=0.01), 'in m/s; it has 8 kg'


def test_a_rate_goes_by_simulated_time(report: dict[str, Any]) -> None:
    assert verdicts(report)['topics./ticks.expect_count.min'] == 'PASS'
    assert verdicts(report)['topics./ticks.expect_count.max'] == 'PASS'
    stamps = np.array([seconds(one.header.stamp) for one in recorded(report, '/stamped')])
    assert 17 <= len(stamps) <= 21
    assert np.median(np.diff(stamps)) == pytest.approx(0.1, abs=1e-6)
    assert stamps[-1] - stamps[0] == pytest.approx(1.8, abs=0.31)


def test_a_fault_is_at_the_end_that_was_named(report: dict[str, Any]) -> None:
    reasons = {one['name']: one['reason'] for one in report['checks']}
    assert ' messages on /cmd_vel, 0 were sent' in reasons['scenario.unheard']
    assert ' messages on /imu, ' in reasons['scenario.renamed']


def test_the_timeline_tells_what_was_done_and_undone(report: dict[str, Any]) -> None:
    told = [(event['event'], event['detail'].partition(':')[0]) for event in report['timeline']]
    for pair in (('done', 'dark'), ('undone', 'dark'), ('done', 'wall'), ('done', 'opened'),
                 ('done', 'asleep'), ('undone', 'asleep'), ('undone', 'renamed'),
                 ('failed', 'ghost')):
        assert pair in told
    assert told.index(('done', 'dark')) < told.index(('undone', 'dark'))
    lines = (report['out'] / 'timeline.jsonl').read_text().splitlines()
    assert [json.loads(line)['event'] for line in lines] == [event for event, _ in told]


def test_the_recording_says_the_same_of_the_scenario(report: dict[str, Any]) -> None:
    out = report['out'].parent / 'again'
    subprocess.run(
        [sys.executable, '-m', 'robot_qa.cli', 'check', report['spec'],
         report['out'] / 'recording.mcap', '--out', out, '--quiet'],
        cwd=ROOT, capture_output=True, timeout=120, check=False,
    )
    assert verdicts(json.loads((out / 'report.json').read_text())) == verdicts(report)
