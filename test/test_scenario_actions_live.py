"""Loads, goals, streams, blows and deaths of a scenario, in runs as a user makes them."""

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

from simulator_client import ROOT

pytestmark = pytest.mark.live

DOCKS = """
import time
import rclpy
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.executors import MultiThreadedExecutor
from tf2_msgs.action import LookupTransform

rclpy.init()
node = rclpy.create_node('docks')

def serve(name, end='succeed', goal=GoalResponse.ACCEPT):
    def execute(handle):
        until = time.monotonic() + handle.request.timeout.sec
        while time.monotonic() < until:
            if handle.is_cancel_requested:
                handle.canceled()
                print('canceled', handle.request.target_frame, flush=True)
                return LookupTransform.Result()
            time.sleep(0.02)
        getattr(handle, end)()
        return LookupTransform.Result()

    return ActionServer(
        node, LookupTransform, name, execute, callback_group=ReentrantCallbackGroup(),
        goal_callback=lambda request: goal, cancel_callback=lambda handle: CancelResponse.ACCEPT)

servers = [serve('/dock'), serve('/closed', goal=GoalResponse.REJECT), serve('/bumpy', 'abort')]
executor = MultiThreadedExecutor(4)
executor.add_node(node)
executor.spin()
"""
DRIVER = """
import rclpy
from geometry_msgs.msg import Twist

rclpy.init()
node = rclpy.create_node('driver')
publisher = node.create_publisher(Twist, '/cmd_vel', 10)
node.create_timer(0.05, lambda: publisher.publish(Twist()))
rclpy.spin(node)
"""
# A process of two, of which the second has the node: a launch file in small.
NESTED = """
import subprocess, sys, time
subprocess.Popen([sys.executable, '-c',
    'import rclpy; rclpy.init(); rclpy.spin(rclpy.create_node("planner", namespace="/nav"))'])
while True:
    time.sleep(1)
"""
ACTION = 'type: tf2_msgs/action/LookupTransform'
SPEC = f"""robot_qa: 1
name: actions
duration: 8 s
system:
  processes:
    - {{name: docks, command: [python3, docks.py]}}
    - {{name: driver, command: [python3, driver.py]}}
    - {{name: nested, command: [python3, nested.py]}}
  ready: {{timeout: 60 s, topics: [/cmd_vel], services: [/dock/_action/send_goal],
          nodes: [/nav/planner, /docks]}}
topics:
  /cmd_vel: {{gap: {{max: 700 ms}}}}
  /stream: {{type: std_msgs/msg/Header, expect_count: {{min: 81, max: 91}},
            jitter: {{p50: 5 ms}}}}
  /arrived: {{type: std_msgs/msg/Empty, expect_count: 1}}
  /saved: {{type: std_msgs/msg/Empty, expect_count: 1}}
scenario:
  - {{name: go, at: 1 s, goal: {{action: /dock, {ACTION}, goal: {{timeout: {{sec: 1}}}}}}}}
  - {{name: arrived, after: go, publish: {{topic: /arrived, type: std_msgs/msg/Empty}}}}
  - {{name: refused, at: 1 s, goal: {{action: /closed, {ACTION}}}}}
  - {{name: bumped, at: 1 s, goal: {{action: /bumpy, {ACTION}}}}}
  - {{name: saved, after: bumped, outcome: failed,
     publish: {{topic: /saved, type: std_msgs/msg/Empty}}}}
  - {{name: never, after: bumped, publish: {{topic: /saved, type: std_msgs/msg/Empty}}}}
  - {{name: brief, at: 3 s, for: 1 s, goal: {{action: /dock, {ACTION},
     goal: {{target_frame: brief, timeout: {{sec: 60}}}}}}}}
  - {{name: left, at: 4 s, goal: {{action: /dock, {ACTION},
     goal: {{target_frame: left, timeout: {{sec: 60}}}}}}}}
  - {{name: stream, at: 1 s, for: 3 s,
     publish: {{topic: /stream, type: std_msgs/msg/Header, rate: 30 Hz}}}}
  - {{name: busy, at: 4500 ms, for: 1 s, load: {{cpu: 0.5, memory: 50 MiB}}}}
  - {{name: greedy, at: 4500 ms, for: 1 s, load: {{memory: 900000 GiB}}}}
  - {{name: wild, at: 4500 ms, for: 1 s, load: {{cpu: 1024}}}}
  - {{name: cut, at: 5500 ms, for: 1500 ms,
     fault: {{topic: /cmd_vel, publisher: driver, drop: 100 %}}}}
  - {{name: hole, at: 6 s, kill: /nav/planer}}
  - {{name: dead, at: 6500 ms, kill: /nav/planner}}
"""


def written(folder: Path, spec: str) -> Path:
    for name, text in (('docks', DOCKS), ('driver', DRIVER), ('nested', NESTED)):
        (folder / f'{name}.py').write_text(text)
    path = folder / 'actions.qa.yaml'
    path.write_text(spec)
    return path


def command(spec: Path, *more: str) -> list[str]:
    return [sys.executable, '-m', 'robot_qa.cli', 'run', str(spec), '--out',
            str(spec.parent / 'out'), '--quiet', *more]


@pytest.fixture(scope='module')
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    spec = written(tmp_path_factory.mktemp('actions'), SPEC)
    done = subprocess.run(command(spec), cwd=ROOT, text=True, capture_output=True, timeout=150,
                          check=False)
    assert done.returncode == 4, done.stdout + done.stderr
    found: dict[str, Any] = json.loads((spec.parent / 'out' / 'report.json').read_text())
    found['logs'] = spec.parent / 'out' / 'logs'
    return found


def check(report: dict[str, Any], name: str) -> tuple[str, str]:
    one = next(one for one in report['checks'] if one['name'] == name)
    return one['verdict'], one['reason']


def events(report: dict[str, Any], name: str) -> list[str]:
    return [one['event'] for one in report['timeline']
            if one['detail'].partition(':')[0] == name]


def test_a_goal_is_done_when_accepted_and_ends_with_its_result(report: dict[str, Any]) -> None:
    verdict, reason = check(report, 'scenario.go')
    assert verdict == 'PASS' and 'ended by itself once' in reason
    assert events(report, 'go') == ['doing', 'done', 'ended']
    detail = next(one['detail'] for one in report['timeline'] if one['event'] == 'ended')
    assert 'succeeded' in detail
    assert check(report, 'topics./arrived.expect_count')[0] == 'PASS'
    stamps = {one['event']: one['stamp_ns'] for one in report['timeline']
              if one['detail'].startswith('go:')}
    assert stamps['ended'] - stamps['done'] > 900_000_000


def test_a_goal_that_is_rejected_or_aborted_is_an_error(report: dict[str, Any]) -> None:
    assert check(report, 'scenario.refused') == ('ERROR', 'failed: /closed rejected the goal')
    verdict, reason = check(report, 'scenario.bumped')
    assert verdict == 'ERROR' and 'aborted' in reason
    assert events(report, 'bumped') == ['doing', 'done', 'failed']
    assert check(report, 'scenario.saved')[0] == 'PASS'
    assert check(report, 'topics./saved.expect_count')[0] == 'PASS'
    assert check(report, 'scenario.never') == ('INCONCLUSIVE', 'what it waits for never came')


def test_a_goal_that_still_runs_is_cancelled(report: dict[str, Any]) -> None:
    for name in ('brief', 'left'):
        assert check(report, f'scenario.{name}')[0] == 'PASS'
        assert events(report, name) == ['doing', 'done', 'undoing', 'undone']
    log = (report['logs'] / 'docks.log').read_text()
    assert [line for line in log.splitlines() if line.startswith('canceled')] == [
        'canceled brief', 'canceled left']


def test_a_stream_comes_at_its_rate_and_is_counted(report: dict[str, Any]) -> None:
    verdict, reason = check(report, 'scenario.stream')
    assert verdict == 'PASS'
    sent = int(reason.partition(' messages on /stream')[0].split()[-1])
    assert 81 <= sent <= 91, reason
    assert check(report, 'topics./stream.expect_count.min')[0] == 'PASS'
    assert check(report, 'topics./stream.expect_count.max')[0] == 'PASS'
    # Of the sending itself, as its own stamps say.
    assert check(report, 'topics./stream.jitter.p50')[0] == 'PASS'


def test_a_load_is_there_for_its_time(report: dict[str, Any]) -> None:
    verdict, reason = check(report, 'scenario.busy')
    assert verdict == 'PASS' and 'undone once' in reason
    assert 'cores for' in reason
    verdict, reason = check(report, 'scenario.greedy')
    assert verdict == 'INCONCLUSIVE' and '921600000 MiB' in reason and 'available' in reason
    verdict, reason = check(report, 'scenario.wild')
    assert verdict == 'INCONCLUSIVE' and reason.startswith('1024 cores were to be kept busy')


def test_a_fault_is_between_the_process_that_publishes_and_the_others(
    report: dict[str, Any],
) -> None:
    verdict, reason = check(report, 'scenario.cut')
    assert verdict == 'PASS' and ', 0 were sent' in reason
    assert check(report, 'topics./cmd_vel.gap.max')[0] == 'FAIL'


def test_a_node_is_killed_by_its_name(report: dict[str, Any]) -> None:
    assert check(report, 'scenario.dead')[0] == 'PASS'
    detail = next(one['detail'] for one in report['timeline']
                  if one['event'] == 'done' and one['detail'].startswith('dead'))
    started = next(one['detail'] for one in report['timeline']
                   if one['event'] == 'started' and one['detail'].startswith('nested'))
    # The one that has the node, and not the one that has started it.
    assert detail.endswith(' of nested') and started.rpartition(' ')[2] not in detail.split()
    assert check(report, 'system.processes.nested')[0] == 'PASS'
    verdict, reason = check(report, 'scenario.hole')
    assert verdict == 'ERROR'
    assert 'there is no node /nav/planer; did you mean "/nav/planner"?' in reason


def test_gazebo_gets_the_topics_of_faults_through_its_bridge() -> None:
    from robot_qa.scenario.fault_actor import remappings
    from robot_qa.spec.model import TestSpec

    def words(**simulator: Any) -> dict[str, tuple[str, ...]]:
        return remappings(TestSpec.model_validate({
            'robot_qa': 1, 'name': 'x', 'duration': '9 s',
            'topics': {'/a': {'stamps': 'increasing'}},
            'system': {'simulator': simulator, 'processes': [{'name': 'patrol', 'command': 'p'}]},
            'scenario': [
                {'at': '1 s', 'fault': {'topic': '/scan', 'publisher': 'simulator', 'drop': 0.5}},
                {'at': '1 s', 'fault': {'topic': '/cmd_vel', 'publisher': 'patrol', 'drop': 0.5}},
            ],
        }))

    patrol = {'patrol': ('--ros-args', '-r', '/cmd_vel:=/cmd_vel_unfaulted')}
    scan = ('--ros-args', '-r', '/scan:=/scan_unfaulted')
    assert words(backend='embedded', world='w.sdf') == {'simulator': scan, **patrol}
    assert words(backend='gazebo', world='w.sdf') == {'ros_gz_bridge': scan, **patrol}
    assert words(backend='gazebo', world='w.sdf', bridge='none') == patrol
    assert words(backend='standard') == patrol


KILLED = f"""robot_qa: 1
name: killed
duration: 60 s
system:
  processes: [{{name: docks, command: [python3, docks.py]}}]
  ready: {{timeout: 60 s, services: [/dock/_action/send_goal]}}
topics: {{/stream: {{type: std_msgs/msg/Header, stamps: increasing}}}}
scenario:
  - {{at: 500 ms, goal: {{action: /dock, {ACTION}, goal: {{timeout: {{sec: 60}}}}}}}}
  - {{at: 500 ms, publish: {{topic: /stream, type: std_msgs/msg/Header, rate: 30 Hz}}}}
  - {{name: busy, at: 500 ms, for: 50 s, load: {{cpu: 0.3, memory: 20 MiB}}}}
  - {{every: 20 ms, publish: {{topic: /often, type: std_msgs/msg/Empty}}}}
"""


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def test_a_killed_session_leaves_whole_lines_and_no_process(tmp_path: Path) -> None:
    spec = written(tmp_path, KILLED)
    timeline = tmp_path / 'out' / 'timeline.jsonl'
    session = subprocess.Popen(command(spec), cwd=ROOT, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: timeline.exists() and '"done","detail":"busy' in timeline.read_text(),
                 'the load')
        family = psutil.Process(session.pid).children(recursive=True)
        assert len([one for one in family if 'robot_qa.scenario.burner' in one.cmdline()]) == 2
    finally:
        os.kill(session.pid, signal.SIGKILL)
        session.wait()
    _, alive = psutil.wait_procs(family, timeout=20)
    assert not alive
    text = timeline.read_text()
    assert text.endswith('\n')
    told = [json.loads(line) for line in text.splitlines()]
    assert [one['stamp_ns'] for one in told] == sorted(one['stamp_ns'] for one in told)
    assert 'ready' in [one['event'] for one in told]
