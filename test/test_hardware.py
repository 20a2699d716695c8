"""What a run may do to a robot that it has not started, and that it stops doing it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
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
  publish: {topic: /cmd_vel, type: geometry_msgs/msg/Twist, rate: 10 Hz,
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


def test_calls_of_checks_need_a_word_too(tmp_path: Path) -> None:
    text = ('services:\n  /status: {type: std_srvs/srv/Trigger, available: {within: 1 s}}\n'
            '  /arm: {type: std_srvs/srv/SetBool, every: 1 s, request: {data: true},\n'
            '         failures: {max: 0 %}}\n')
    (only,) = problems(tmp_path, text)
    assert only.startswith('6:45: a call acts on a robot') and '"allow: [call]"' in only
    path = tmp_path / 'x.qa.yaml'
    path.write_text(f'{HEAD}{text}allow: [call]\n')
    assert acts_on_hardware(load_spec(path).spec) == ['calls of /arm']
    assert problems(tmp_path, text + PLACE) == [], 'what the run starts is its own'


@pytest.mark.parametrize('place', ['', PLACE])
def test_only_velocities_have_velocity_limits(tmp_path: Path, place: str) -> None:
    text = DRIVE.replace('geometry_msgs/msg/Twist', 'std_msgs/msg/Float64')
    (only,) = problems(tmp_path, f'{CHECK}{place}allow: [publish]\n{LIMITS}{text}')
    assert 'a std_msgs/msg/Float64 is no velocity command' in only
    assert only.startswith(f'{12 if place else 11}:')


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
    program: Sequence[str] = ('-m', 'robot_qa.cli'),
) -> subprocess.Popen[str]:
    path = robot.folder / 'x.qa.yaml'
    path.write_text(HEAD + CHECK + text)
    return subprocess.Popen(
        [sys.executable, *program, 'run', str(path), '--quiet', '--out',
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
    assert len(found) >= 20 and max(found) == pytest.approx(0.2)
    assert found[-1] == 0.0 and found.count(0.0) == 1, 'one command to stand still, at its end'
    timeline = json.loads((robot.folder / 'out' / 'report.json').read_text())['timeline']
    assert any('clamped from 3 to 0.2 m/s' in event['detail'] for event in timeline)


@pytest.mark.live
def test_a_simulator_that_is_said_to_run_has_to_answer_first(
    robot: SimpleNamespace,
) -> None:
    from rosgraph_msgs.msg import Clock
    from std_srvs.srv import Trigger

    # As from a robot whose stack forwards the time of another machine.
    clock = robot.node.create_publisher(Clock, '/clock', 10)
    robot.node.create_timer(0.1, lambda: clock.publish(Clock()))
    called: list[object] = []

    def arm(request: Any, answer: Any) -> Any:
        called.append(request)
        return answer

    robot.node.create_service(Trigger, '/arm', arm)
    calls = ('services: {/arm: {type: std_srvs/srv/Trigger, every: 100 ms, '
             'failures: {max: 100 %}}}\n')
    (robot.folder / 'impatient.py').write_text(
        'import sys\nfrom robot_qa import cli\nfrom robot_qa.simulators import standard\n'
        'standard.CONNECT_S = 2.0\nsys.exit(cli.main())\n')
    run = start(robot, program=[str(robot.folder / 'impatient.py')],
                text='clock: system\nsystem: {simulator: {backend: standard}}\n' + calls + DRIVE)
    assert spin_until(robot, lambda: run.poll() is not None)
    assert run.returncode == 4 and not robot.commands and not called
    checks = json.loads((robot.folder / 'out' / 'report.json').read_text())['checks']
    (found,) = [one for one in checks if one['name'] == 'run']
    assert found['reason'].startswith('no simulator answers here')
    assert 'leave "simulator" out' in found['reason']


@pytest.mark.live
def test_a_fault_without_a_relay_says_who_has_to_start_it(
    robot: SimpleNamespace, monkeypatch: pytest.MonkeyPatch,
) -> None:
    from robot_qa.messages.typestore import TypeStore
    from robot_qa.scenario import fault_actor
    from robot_qa.spec.scenario import Step

    monkeypatch.setattr(fault_actor, 'ANSWER_S', 0.0)
    step = Step.model_validate({'at': '1 s', 'fault': {'topic': '/scan', 'drop': '100 %'}})
    actor = fault_actor.FaultActor(robot.node, TypeStore())
    assert actor.lack(step) is None
    doing = actor.begin(step)
    assert spin_until(robot, lambda: doing.poll() is not None)
    done = doing.poll()
    assert done is not None and not done.ok
    assert 'ros2 run robot_qa relay --topic /scan' in done.detail


ONCE = """scenario:
- {at: 500 ms, for: 1 s, publish: &drive {topic: /cmd_vel, type: geometry_msgs/msg/Twist,
                                          message: {linear: {x: 0.1}}}}
- {every: 200 ms, from: 3 s, publish: *drive}
"""


@pytest.mark.live
def test_a_command_that_is_sent_once_is_followed_by_one_to_stand_still(
    robot: SimpleNamespace,
) -> None:
    run = start(robot, '--armed', text=f'allow: [publish]\n{LIMITS}{ONCE}')
    assert spin_until(robot, lambda: run.poll() is not None)
    assert run.returncode == 0, run.stderr and run.stderr.read()
    found = speeds(robot)
    assert found[:2] == [0.1, 0.0], 'it ended with its step'
    assert set(found[2:-1]) == {0.1} and found[-1] == 0.0, 'and the others with the run'


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


@pytest.mark.live
def test_a_run_whose_dead_man_has_died_takes_everything_back(robot: SimpleNamespace) -> None:
    run = start(robot, '--armed')
    assert spin_until(robot, lambda: len(robot.commands) >= 5)
    guards = [entry.name for entry in Path('/proc').iterdir() if entry.name.isdigit()
              and is_guard_of(entry, run.pid)]
    assert len(guards) == 1
    os.kill(int(guards[0]), signal.SIGKILL)
    assert spin_until(robot, lambda: run.poll() is not None)
    assert run.returncode == 4 and speeds(robot)[-1] == 0.0
    checks = json.loads((robot.folder / 'out' / 'report.json').read_text())['checks']
    (found,) = [one for one in checks if one['name'] == 'run']
    assert found['verdict'] == 'ERROR' and 'stops the robot if this run dies' in found['reason']


def is_guard_of(process: Path, parent: int) -> bool:
    try:
        stat = (process / 'stat').read_text().rpartition(')')[2].split()
        return int(stat[1]) == parent and b'deadman' in (process / 'cmdline').read_bytes()
    except OSError:
        return False


GOAL = 'type: tf2_msgs/action/LookupTransform'


@pytest.mark.live
@pytest.mark.parametrize('text', [
    f'actions: {{/drive: {{{GOAL}, goal: {{}}, accepted: true}}}}\n',
    f'scenario:\n- {{at: 0 s, goal: {{action: /drive, {GOAL}}}}}\n',
], ids=['of a check', 'of a step'])
def test_a_goal_is_cancelled_when_the_run_is_killed(robot: SimpleNamespace, text: str) -> None:
    tf2_action = pytest.importorskip('tf2_msgs.action')
    from rclpy.action import ActionServer, CancelResponse

    under_way: list[Any] = []
    cancelled: list[Any] = []

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
