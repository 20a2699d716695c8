"""What a run may do to a robot that it has not started, and that it stops doing it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from robot_qa.errors import SpecError
from robot_qa.spec.hardware import acts_on_hardware, moved_hardware
from robot_qa.spec.loader import load_spec

HEAD = 'robot_qa: 1\nname: bench\nduration: 6 s\n'
CHECK = 'topics: {/odom: {expect_count: {max: 100000}}}\n'
LIMITS = 'velocity_limits: {/cmd_vel: {linear: 0.2, angular: 0.5}}\n'
DRIVE = """scenario:
- name: forward
  at: 500 ms
  for: 3 s
  publish: {topic: /cmd_vel, type: geometry_msgs/msg/Twist, rate: 20 Hz,
            message: {linear: {x: 3.0}}}
"""
PLACE = 'system: {processes: [{name: robot, command: x}]}\n'


def problems(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / 'x.qa.yaml'
    path.write_text(HEAD + text)
    try:
        load_spec(path)
    except SpecError as error:
        return [f'{one.line}:{one.column}: {one.message}' for one in error.problems]
    return []


def test_what_is_not_allowed_is_named_where_it_stands(tmp_path: Path) -> None:
    first, second = problems(tmp_path, CHECK + DRIVE)
    assert first.startswith('9:12: "publish" acts on a robot that this run does not start')
    assert 'add "allow: [publish]"' in first
    assert second.startswith('9:20: /cmd_vel moves a robot') and 'velocity_limits' in second
    assert problems(tmp_path, CHECK + 'allow: [publish]\n' + LIMITS + DRIVE) == []


@pytest.mark.parametrize('step', [
    'call: {service: /x, type: std_srvs/srv/Trigger}', 'load: {cpu: 1}, for: 1 s',
    'goal: {action: /a, type: my_msgs/action/Dock}',
    'transition: {node: /n, transition: activate}',
    'parameter: {node: /n, name: p, value: 1}', 'fault: {topic: /scan, drop: 50 %}',
])
def test_every_action_that_reaches_hardware_needs_a_word(tmp_path: Path, step: str) -> None:
    kind = step.partition(':')[0]
    text = f'{CHECK}scenario:\n- {{at: 1 s, {step}}}\n'
    (only,) = problems(tmp_path, text)
    assert f'add "allow: [{kind}]"' in only
    assert problems(tmp_path, text + f'allow: [{kind}]\n') == []
    assert problems(tmp_path, text + PLACE) == [], 'what the run starts is its own'


def test_goals_of_checks_need_a_word_too(tmp_path: Path) -> None:
    text = 'actions: {/dock: {type: my_msgs/action/Dock, goal: {}, accepted: true}}\n'
    (only,) = problems(tmp_path, text)
    assert 'allow: [goal]' in only
    path = tmp_path / 'x.qa.yaml'
    path.write_text(HEAD + text + 'allow: [goal]\n')
    assert acts_on_hardware(load_spec(path).spec) == ['goals to /dock']


def test_what_has_to_be_stopped_if_the_run_dies(tmp_path: Path) -> None:
    path = tmp_path / 'x.qa.yaml'
    text = (
        f'{HEAD}{LIMITS}{DRIVE}- {{at: 1 s, goal: {{action: /lift, type: my_msgs/action/Lift}}}}\n'
        '- {at: 1 s, publish: {topic: /lamp, type: std_msgs/msg/Bool, message: {data: true}}}\n'
        'actions:\n  /dock: {type: my_msgs/action/Dock, goal: {}, accepted: true}\n'
        '  /lift: {type: my_msgs/action/Lift, goal: {}, accepted: true}\n'
        '  /watched: {type: my_msgs/action/Dock, available: {within: 1 s}}\n')
    path.write_text(f'{text}allow: [publish, goal]\n')
    assert moved_hardware(load_spec(path).spec) == (
        {'/cmd_vel': 'geometry_msgs/msg/Twist'}, ['/lift', '/dock'])
    path.write_text(text + PLACE)
    assert moved_hardware(load_spec(path).spec) == ({}, []), 'what the run starts is its own'


@pytest.fixture
def robot(tmp_path: Path) -> Iterator[SimpleNamespace]:
    """A robot that runs already: it takes commands, and its odometry comes at 50 Hz."""
    rclpy = pytest.importorskip('rclpy')
    from geometry_msgs.msg import Twist
    from nav_msgs.msg import Odometry
    from rclpy.context import Context
    from rclpy.executors import SingleThreadedExecutor

    from robot_qa.domains import claim_domain

    with claim_domain() as claim:
        context = Context()
        context.init(args=[], domain_id=claim.id)
        node = rclpy.create_node('robot', context=context)
        commands: list[Any] = []
        node.create_subscription(Twist, '/cmd_vel', commands.append, 100)
        publisher = node.create_publisher(Odometry, '/odom', 10)
        node.create_timer(0.02, lambda: publisher.publish(Odometry()))
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(node)
        env = {**os.environ, 'ROS_DOMAIN_ID': str(claim.id),
               'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST'}
        yield SimpleNamespace(commands=commands, executor=executor, env=env, folder=tmp_path,
                              node=node)
        executor.shutdown()
        node.destroy_node()
        context.try_shutdown()


def start(
    robot: SimpleNamespace, *words: str, text: str = f'allow: [publish]\n{LIMITS}{DRIVE}',
) -> subprocess.Popen[str]:
    path = robot.folder / 'x.qa.yaml'
    path.write_text(HEAD + CHECK + text)
    return subprocess.Popen(
        [sys.executable, '-m', 'robot_qa.cli', 'run', str(path), '--quiet', '--out',
         str(robot.folder / 'out'), *words], env=robot.env, text=True, stderr=subprocess.PIPE)


def spin_until(robot: SimpleNamespace, done: Callable[[], bool], within_s: float = 90.0) -> bool:
    deadline = time.monotonic() + within_s
    while not done() and time.monotonic() < deadline:
        robot.executor.spin_once(timeout_sec=0.05)
    return done()


@pytest.mark.live
def test_an_unarmed_run_does_not_begin(robot: SimpleNamespace) -> None:
    run = start(robot)
    assert spin_until(robot, lambda: run.poll() is not None)
    assert run.returncode == 2
    assert run.stderr is not None and '--armed' in run.stderr.read()
    assert not robot.commands and not (robot.folder / 'out' / 'report.json').exists()


def speeds(robot: SimpleNamespace) -> list[float]:
    return [one.linear.x for one in robot.commands]


@pytest.mark.live
def test_commands_are_limited_and_end_with_the_step(robot: SimpleNamespace) -> None:
    run = start(robot, '--armed')
    assert spin_until(robot, lambda: run.poll() is not None)
    assert run.returncode == 0, run.stderr and run.stderr.read()
    found = speeds(robot)
    assert len(found) >= 40 and max(found) == pytest.approx(0.2)
    assert found[-1] == 0.0 and found.count(0.0) == 1, 'one command to stand still, at its end'
    timeline = json.loads((robot.folder / 'out' / 'report.json').read_text())['timeline']
    assert any('clamped from 3 to 0.2 m/s' in event['detail'] for event in timeline)


@pytest.mark.live
@pytest.mark.parametrize('how', [signal.SIGINT, signal.SIGKILL])
def test_the_robot_stands_still_when_the_run_dies(
    robot: SimpleNamespace, how: signal.Signals,
) -> None:
    run = start(robot, '--armed')
    assert spin_until(robot, lambda: len(robot.commands) >= 10)
    run.send_signal(how)
    assert spin_until(robot, lambda: bool(robot.commands) and speeds(robot)[-1] == 0.0)
    # Those of a killed run stay in the graph until their lease ends.
    left = 1 if how is signal.SIGKILL else 0
    assert spin_until(robot, lambda: robot.node.count_publishers('/cmd_vel') <= left)
    run.communicate(timeout=90)
    assert speeds(robot)[-1] == 0.0


GOAL = 'type: tf2_msgs/action/LookupTransform'


@pytest.mark.live
@pytest.mark.parametrize('text', [
    f'actions: {{/drive: {{{GOAL}, goal: {{}}, accepted: true}}}}\n',
    f'scenario:\n- {{at: 0 s, goal: {{action: /drive, {GOAL}}}}}\n',
], ids=['of a check', 'of a step'])
def test_a_goal_is_cancelled_when_the_run_is_killed(robot: SimpleNamespace, text: str) -> None:
    tf2_action = pytest.importorskip('tf2_msgs.action')
    from rclpy.action import ActionServer, CancelResponse

    under_way, cancelled = [], []

    def cancel(goal: Any) -> CancelResponse:
        cancelled.append(goal)
        return CancelResponse.ACCEPT

    server = ActionServer(
        robot.node, tf2_action.LookupTransform, '/drive', execute_callback=lambda goal: None,
        handle_accepted_callback=under_way.append, cancel_callback=cancel)
    try:
        run = start(robot, '--armed', text=f'allow: [goal]\n{text}')
        assert spin_until(robot, lambda: len(under_way) == 1)
        assert not cancelled
        run.kill()
        run.communicate()
        assert spin_until(robot, lambda: bool(cancelled))
        assert bytes(cancelled[0].goal_id.uuid) == bytes(under_way[0].goal_id.uuid)
    finally:
        server.destroy()
