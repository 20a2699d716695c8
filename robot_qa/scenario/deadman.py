"""Stops a robot when the run that moves it dies: a process that outlives it for a second.

    python -m robot_qa.scenario.deadman

On its standard input come lines of JSON, ``{"stop": "/cmd_vel", "type":
"geometry_msgs/msg/Twist"}`` and ``{"cancel": "/navigate"}``. When the input ends, it publishes
commands to stand still on these topics for a second and cancels all goals of these actions;
after a line ``{"release": true}`` it just ends. No signal that it can ignore ends it before.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any

import rclpy
from action_msgs.srv import CancelGoal
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from robot_qa.errors import SetupError

STOPPING_S = 1.0
DISCOVERY_S = 5.0
PERIOD_S = 0.05
READY = 'ready'
PATIENCE_S = 20.0
GONE = 'the process that stops the robot if this run dies has ended; the run ends, too'


class DeadMan:
    """Holds the line to that process; it acts when this process ends without a `release`."""

    def __init__(self, env: Mapping[str, str] | None = None) -> None:
        """Start it, and wait until it is on the graph. SetupError: it does not come up."""
        self._process = subprocess.Popen(
            [sys.executable, '-m', 'robot_qa.scenario.deadman'], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True, start_new_session=True,
            env=dict(os.environ if env is None else env),
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._input, self._output = self._process.stdin, self._process.stdout
        ready, _, _ = select.select([self._output], [], [], PATIENCE_S)
        if not ready or self._output.readline().strip() != READY:
            self._process.kill()
            raise SetupError('the process that stops the robot if this run dies did not come up')

    def __enter__(self) -> DeadMan:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close(released=kind is None)

    def stop_on(self, topic: str, type_name: str) -> None:
        """Let it command to stand still on a topic of Twist or TwistStamped."""
        self._say(stop=topic, type=type_name)

    def cancel(self, action: str) -> None:
        """Let it cancel all goals of an action."""
        self._say(cancel=action)

    def check(self) -> None:
        """Raise SetupError if it is not there any more: then nobody would stop the robot."""
        if self._process.poll() is not None:
            raise SetupError(GONE)

    def close(self, released: bool = True) -> None:
        """End it: ``released`` when everything was taken back and it has nothing to do."""
        if released:
            with suppress(SetupError):
                self._say(release=True)
        with suppress(OSError):
            self._input.close()
        self._process.wait(PATIENCE_S)
        self._output.close()

    def _say(self, **words: Any) -> None:
        try:
            self._input.write(json.dumps(words) + '\n')
            self._input.flush()
        except OSError as error:
            raise SetupError(GONE) from error


class Guard(Node):  # type: ignore[misc]
    """Knows how to stop what it was told of."""

    def __init__(self) -> None:
        super().__init__(
            f'_robot_qa_deadman_{os.getpid()}', enable_rosout=False,
            start_parameter_services=False,
        )
        self._stops: dict[str, tuple[Any, Any]] = {}
        self._cancels: dict[str, Any] = {}

    def take(self, words: Mapping[str, Any]) -> None:
        """Take a line; what it needs is made now, so that it is discovered in time."""
        if 'stop' in words and words['stop'] not in self._stops:
            package, _, name = words['type'].split('/')
            kind = getattr(importlib.import_module(f'{package}.msg'), name)
            publisher = self.create_publisher(kind, words['stop'], 10)
            self._stops[words['stop']] = publisher, kind()
        if 'cancel' in words and words['cancel'] not in self._cancels:
            service = f'{words["cancel"]}/_action/cancel_goal'
            self._cancels[words['cancel']] = self.create_client(CancelGoal, service)

    def act(self) -> None:
        """Stop the robot: at once, and until all whom it has to reach had a second to hear it."""
        latest = time.monotonic() + DISCOVERY_S
        end: float | None = None
        waiting = dict(self._cancels)
        while end is None or time.monotonic() < end:
            for action, client in list(waiting.items()):
                if client.service_is_ready():
                    client.call_async(CancelGoal.Request())  # no id and no time: all goals
                    del waiting[action]
            self._command()
            rclpy.spin_once(self, timeout_sec=PERIOD_S)
            reached = not waiting and all(
                publisher.get_subscription_count() for publisher, _ in self._stops.values())
            if end is None and (reached or time.monotonic() > latest):
                end = time.monotonic() + STOPPING_S
        # A goal that was on its way when the run died was accepted after the first of these.
        for client in self._cancels.values():
            if client.service_is_ready():
                client.call_async(CancelGoal.Request())
        rclpy.spin_once(self, timeout_sec=PERIOD_S)

    def _command(self) -> None:
        """Publish commands to stand still."""
        for publisher, still in self._stops.values():
            if hasattr(still, 'header'):
                still.header.stamp = self.get_clock().now().to_msg()
            publisher.publish(still)


def main() -> int:
    """Wait for the end of the input, then act."""
    # These are for the run, which then says whether there is anything left to do. systemd, for
    # one, sends them to all processes of a service.
    for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(one, signal.SIG_IGN)
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    guard = Guard()
    print(READY, flush=True)
    for line in sys.stdin:
        words = json.loads(line)
        if 'release' in words:
            break
        guard.take(words)
    else:
        guard.act()
    guard.destroy_node()
    rclpy.shutdown()
    return 0


if __name__ == '__main__':
    sys.exit(main())
