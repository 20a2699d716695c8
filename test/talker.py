"""A process that publishes what a test tells it to, and logs when it sent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from robot_qa.processes import child_environment

PATIENCE_S = 20.0


class Talker:
    """The test's side: every order is a line of JSON, every answer too."""

    def __init__(self, domain: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__, str(domain)], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True, env=child_environment(os.environ, domain, {}),
        )

    def __enter__(self) -> Talker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        if self.process.poll() is None:
            self.process.stdin.close()
        self.process.wait(PATIENCE_S)
        self.process.stdout.close()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE_S)

    def ask(self, **order: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order) + '\n')
        self.process.stdin.flush()

    def answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, 'the talker died'
        return json.loads(line)

    def advertise(self, topic: str, type_name: str, **qos: Any) -> None:
        """Make a publisher on a node of its own, named ``node`` (default talker)."""
        self.ask(do='advertise', topic=topic, type=type_name, **qos)
        self.answer()

    def send(self, topic: str, count: int, period: float = 0.0, **more: Any) -> list[int]:
        """Send messages and return the times just before, ns; waits until there is a listener."""
        self.ask(do='send', topic=topic, count=count, period=period, **more)
        sent: list[int] = self.answer()
        return sent


class Side:
    """The talker's side."""

    def __init__(self, domain: int) -> None:
        import rclpy

        self._context = rclpy.Context()
        self._context.init(args=[], domain_id=domain)
        self._publishers: dict[str, Any] = {}
        self._messages: dict[str, Any] = {}

    def advertise(
        self, topic: str, type: str, *, node: str = 'talker', depth: int = 1000,
        reliability: str = 'RELIABLE', durability: str = 'VOLATILE', key: str = '',
    ) -> None:
        import importlib

        from rclpy.node import Node
        from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

        package, name = type.split('/msg/')
        kind = getattr(importlib.import_module(f'{package}.msg'), name)
        qos = QoSProfile(
            depth=depth, reliability=ReliabilityPolicy[reliability],
            durability=DurabilityPolicy[durability],
        )
        home = Node(node, context=self._context, enable_rosout=False,
                    start_parameter_services=False)
        self._publishers[key or topic] = home.create_publisher(kind, topic, qos)
        self._messages[key or topic] = kind()

    def send(
        self, topic: str, count: int, period: float = 0.0, listeners: int = 1, text: str = ''
    ) -> list[int]:
        from rclpy.serialization import serialize_message

        publisher, message = self._publishers[topic], self._messages[topic]
        deadline = time.monotonic() + PATIENCE_S
        while publisher.get_subscription_count() < listeners and time.monotonic() < deadline:
            time.sleep(0.005)
        if publisher.get_subscription_count() < listeners:
            raise TimeoutError('nobody listens')
        if text:
            message.header.frame_id = text
        ready = serialize_message(message)
        sent = []
        begun = time.monotonic()
        for number in range(count):
            wait = begun + number * period - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            sent.append(time.time_ns())
            publisher.publish(ready)
        return sent


def main() -> None:
    side = Side(int(sys.argv[1]))
    for line in sys.stdin:
        order = json.loads(line)
        answer = getattr(side, order.pop('do'))(**order)
        print(json.dumps(answer), flush=True)
    # Like a node that is switched off: its publishers say goodbye.
    side._context.shutdown()


if __name__ == '__main__':
    sys.path.insert(0, str(Path(__file__).parent.parent))
    main()
