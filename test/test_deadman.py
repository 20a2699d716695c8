"""When the run that moves a robot dies, the robot stops."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip('rclpy')
pytestmark = pytest.mark.live

import rclpy  # noqa: E402
from geometry_msgs.msg import Twist  # noqa: E402
from rclpy.context import Context  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402

from robot_qa.domains import claim_domain  # noqa: E402

RUN = """
import sys, time
from robot_qa.scenario.deadman import DeadMan
dead_man = DeadMan()
dead_man.stop_on('/cmd_vel', 'geometry_msgs/msg/Twist')
dead_man.cancel('/drive')
print('guarded', flush=True)
{end}
"""


@pytest.fixture
def robot() -> Iterator[tuple[Any, list[Twist], dict[str, str]]]:
    with claim_domain() as claim:
        env = {**os.environ, 'ROS_DOMAIN_ID': str(claim.id),
               'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST'}
        context = Context()
        context.init(args=[], domain_id=claim.id)
        node = rclpy.create_node('robot', context=context)
        commands: list[Twist] = []
        node.create_subscription(Twist, '/cmd_vel', commands.append, 10)
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(node)
        yield executor, commands, env
        executor.shutdown()
        node.destroy_node()
        context.try_shutdown()


def spin_until(executor: Any, done: Callable[[], bool], within_s: float = 90.0) -> bool:
    deadline = time.monotonic() + within_s
    while not done() and time.monotonic() < deadline:
        executor.spin_once(timeout_sec=0.05)
    return done()


def started(end: str, env: dict[str, str]) -> subprocess.Popen[str]:
    run = subprocess.Popen([sys.executable, '-c', RUN.format(end=end)], env=env, text=True,
                           stdout=subprocess.PIPE, start_new_session=True)
    assert run.stdout is not None and run.stdout.readline() == 'guarded\n'
    return run


def test_a_killed_run_leaves_a_standing_robot(robot: Any) -> None:
    executor, commands, env = robot
    run = started('time.sleep(60)', env)
    node = executor.get_nodes()[0]
    assert spin_until(executor, lambda: node.count_publishers('/cmd_vel') == 1)
    executor.spin_once(timeout_sec=0.2)
    assert not commands, 'it says nothing while the run lives'
    os.killpg(run.pid, signal.SIGKILL)
    run.communicate()
    assert spin_until(executor, lambda: len(commands) >= 5)
    assert all(one.linear.x == 0.0 and one.angular.z == 0.0 for one in commands)
    assert spin_until(executor, lambda: node.count_publishers('/cmd_vel') == 0), 'it ends itself'


def test_what_is_there_stops_at_once_whatever_else_is_missing(robot: Any) -> None:
    executor, commands, env = robot
    program = 'from robot_qa.scenario import deadman; deadman.DISCOVERY_S = 600; deadman.main()'
    guard = subprocess.Popen([sys.executable, '-c', program], env=env, text=True,
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert guard.stdin is not None and guard.stdout is not None
        assert guard.stdout.readline() == 'ready\n'
        for topic in ('/nobody_listens', '/cmd_vel'):
            line = {'stop': topic, 'type': 'geometry_msgs/msg/Twist'}
            guard.stdin.write(json.dumps(line) + '\n')
        guard.stdin.close()
        assert spin_until(executor, lambda: len(commands) >= 5)
        assert guard.poll() is None, 'it goes on for who is still to come'
    finally:
        guard.kill()
        guard.wait()


@pytest.mark.parametrize('how', [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_for_all_does_not_end_it_before_the_run(robot: Any, how: signal.Signals) -> None:
    executor, commands, env = robot
    # It lives until it is killed below.
    run = started('print(dead_man._process.pid, flush=True); time.sleep(600)', env)
    assert run.stdout is not None
    os.kill(int(run.stdout.readline()), how)
    run.kill()
    run.communicate()
    assert spin_until(executor, lambda: len(commands) >= 5)


def test_a_run_learns_that_nobody_would_stop_the_robot(robot: Any) -> None:
    _, _, env = robot
    run = started("""
from robot_qa.errors import SetupError
dead_man.check()
dead_man._process.kill()
dead_man._process.wait()
for ask in (dead_man.check, lambda: dead_man.cancel('/other')):
    try:
        ask()
    except SetupError as error:
        print(error, flush=True)
dead_man.close()
""", env)
    assert run.stdout is not None
    out = run.stdout.read()  # communicate() would miss what came along with the line above
    assert run.wait(timeout=90) == 0 and out.count('has ended; the run ends, too') == 2


def test_a_run_that_has_taken_everything_back_is_left_alone(robot: Any) -> None:
    executor, commands, env = robot
    run = started('sys.stdin.readline(); dead_man.close()', {**env})
    node = executor.get_nodes()[0]
    assert spin_until(executor, lambda: node.count_publishers('/cmd_vel') in (0, 1))
    run.communicate(timeout=90)
    spin_until(executor, lambda: node.count_publishers('/cmd_vel') == 0)
    assert run.returncode == 0
    assert not commands
