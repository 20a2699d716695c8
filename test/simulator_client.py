"""The embedded simulator as a process in a domain of its own, and a node that talks to it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from robot_qa.domains import claim_domain
from robot_qa.processes import Processes, ProcessSpec, child_environment

ROOT = Path(__file__).parent.parent
WORLDS = ROOT / 'worlds'
DEADLINE_S = 30.0
MATCHING_S = 0.5


class Client:
    """Calls services, publishes commands and keeps what was published, serialized."""

    def __init__(self, domain: int) -> None:
        import rclpy
        from rclpy.executors import SingleThreadedExecutor

        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.node = rclpy.create_node('client', context=self.context)
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)
        self._clients: dict[str, Any] = {}
        self.heard: dict[str, list[bytes]] = {}
        self.types: dict[str, Any] = {}

    def close(self) -> None:
        self._executor.shutdown()
        self.node.destroy_node()
        self.context.shutdown()

    def until(self, condition: Callable[[], Any], what: str) -> Any:
        deadline = time.monotonic() + DEADLINE_S
        while not (found := condition()):
            assert time.monotonic() < deadline, f'not within {DEADLINE_S} s: {what}'
            self._executor.spin_once(timeout_sec=0.05)
        return found

    def call(self, kind: Any, name: str, /, **request: Any) -> Any:
        if name not in self._clients:
            client = self._clients[name] = self.node.create_client(kind, name)
            self.until(client.service_is_ready, f'service {name}')
            # The server may not have found us yet, and its answer would be lost (caller.py).
            found = time.monotonic()
            self.until(lambda: time.monotonic() - found > MATCHING_S, 'a moment')
        future = self._clients[name].call_async(kind.Request(**request))
        self.until(future.done, f'an answer of {name}')
        return future.result()

    def step(self, count: int) -> None:
        from simulation_interfaces.srv import StepSimulation

        answer = self.call(StepSimulation, '/step_simulation', steps=count)
        assert answer.result.result == 1, answer.result.error_message

    def listen(self, topic: str, kind: Any, *, latched: bool = False) -> None:
        from rclpy.qos import DurabilityPolicy, QoSProfile

        durability = (DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE)
        self.heard[topic] = []
        self.types[topic] = kind
        self.node.create_subscription(
            kind, topic, self.heard[topic].append, QoSProfile(depth=1000, durability=durability),
            raw=True,
        )
        self.until(lambda: self.node.count_publishers(topic), f'a publisher of {topic}')

    def count(self, topic: str, count: int) -> None:
        self.until(lambda: len(self.heard[topic]) >= count, f'{count} messages on {topic}')

    def last(self, topic: str) -> Any:
        from rclpy.serialization import deserialize_message

        self.until(lambda: self.heard[topic], f'a message on {topic}')
        return deserialize_message(self.heard[topic][-1], self.types[topic])

    def publisher(self, kind: Any, topic: str) -> Callable[[Any], None]:
        """Return what publishes a message and waits until it has arrived."""
        from rclpy.duration import Duration

        publisher = self.node.create_publisher(kind, topic, 10)
        self.until(publisher.get_subscription_count, f'a subscriber of {topic}')

        def publish(message: Any) -> None:
            publisher.publish(message)
            assert publisher.wait_for_all_acked(Duration(seconds=10))

        return publish


@contextmanager
def simulator(world: Path, folder: Path, *options: str) -> Iterator[Client]:
    """Run a world, paused unless the options say otherwise, and join its domain."""
    with ExitStack() as stack:
        claim = stack.enter_context(claim_domain())
        processes = stack.enter_context(Processes(folder))
        env = child_environment(os.environ, claim.id, {'PYTHONPATH': str(ROOT)})
        argv = (sys.executable, '-m', 'robot_qa.embedded.node', str(world), *options)
        processes.start(ProcessSpec('simulator', argv, ROOT, env))
        os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
        client = Client(claim.id)
        stack.callback(client.close)
        try:
            client.until(lambda: client.node.count_publishers('/clock'), 'the simulator')
            yield client
        except AssertionError:
            print((folder / 'simulator.log').read_text())
            raise
