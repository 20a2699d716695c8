"""The wire between a publisher and its subscribers: a node that forwards messages or spoils them.

``python -m robot_qa.scenario.relay --topic /scan --input /scan_unfaulted`` runs the node
``/relay_scan``; ROS parameters of these names do the same. It forwards serialized bytes as they
are while no fault is active. Which are is told by the latest message on ``/relay_scan/faults``,
the whole list each time, and answered on ``/relay_scan/state``; both are latched JSON, see
``Control``.
"""

from __future__ import annotations

import importlib
import json
import sys
import threading
import time
import zlib
from collections.abc import Sequence
from typing import Any

import rclpy
from numpy.random import SeedSequence
from pydantic import ValidationError
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import String

from robot_qa.errors import RobotQaError, SetupError
from robot_qa.messages.typestore import TypeStore
from robot_qa.probes.caller import not_installed
from robot_qa.probes.clock import ClockReader
from robot_qa.probes.qos import Asked
from robot_qa.scenario.assembly import Line, pipeline
from robot_qa.scenario.fault_actor import FAULTS, LATCHED, STATE, node_name
from robot_qa.scenario.relay_node import Answers, RelaySettings, make_relay_node
from robot_qa.scenario.shared_memory import large_segment
from robot_qa.spec.scenario_faults import Fault
from robot_qa.stopping import stop_on_signals
from robot_qa.timebase import NS_PER_S

QUEUE = 100
# Between two looks for publishers, in seconds: while there is none, and later.
SEARCH_PERIOD_S = 0.05
LOOK_PERIOD_S = 0.5
WAIT_NS = 50_000_000
# Simulated time comes with /clock, which nothing here waits for.
TICK_NS = 1_000_000
# Of how many faults that have ended the answer tells.
MEMORY = 50


class Control:
    """Makes the active faults those that are wanted, and says what came of it.

    Wanted is ``{"number": 7, "faults": {"1": {"topic": "/scan", "drop": "50 %"}}}``: a name for
    each time that a fault is active, and the fault as in a spec. What is not named ends. The
    answer is ``{"number": 7, "active": ["1"], "errors": {}, "ended": {}, "publishers": 1, "node":
    "/relay_scan"}``, with the report of what has ended and how many publish the input.
    """

    def __init__(self, line: Line, topic: str, seed: int) -> None:
        self._line = line
        self._entropy = [seed, zlib.crc32(topic.encode())]
        self._store = TypeStore()
        self._errors: dict[str, str] = {}
        self._ended: dict[str, dict[str, Any]] = {}

    def obey(self, text: str, type_name: str | None, now_ns: int) -> dict[str, Any]:
        """Take an order and return the answer."""
        try:
            wanted = json.loads(text)
            number, given = wanted['number'], dict(wanted['faults'])
        except (ValueError, KeyError, TypeError) as error:
            return self._answer(None) | {'errors': {'': f'this order cannot be read: {error}'}}
        for name in self._line.names:
            if name not in given:
                self._ended[name] = self._line.end(name, now_ns)
        self._ended = dict(list(self._ended.items())[-MEMORY:])
        for name, fault in given.items():
            if name not in self._line.names and name not in self._errors:
                self._begin(name, fault, type_name)
        self._errors = {name: why for name, why in self._errors.items() if name in given}
        return self._answer(number)

    def _begin(self, name: str, given: Any, type_name: str | None) -> None:
        try:
            if type_name is None:
                raise RobotQaError('nobody publishes the topic, so that its type is not known')
            fault = Fault.model_validate(given)
            seed = SeedSequence([*self._entropy, zlib.crc32(name.encode())])
            self._line.begin(name, pipeline(fault, self._store, type_name, seed))
        except ValidationError as error:
            self._errors[name] = '; '.join(
                f'{".".join(map(str, one["loc"]))}: {one["msg"]}' for one in error.errors())
        except RobotQaError as error:
            self._errors[name] = str(error)

    def _answer(self, number: int | None) -> dict[str, Any]:
        return {'number': number, 'active': self._line.names, 'errors': self._errors,
                'ended': self._ended}


class Relay:
    """Subscribes to the input, publishes the topic, and looks after both."""

    def __init__(self, node: Node, given: RelaySettings) -> None:
        self._node = node
        self._answers = Answers(node)
        self._topic, self._input = given.topic, given.input
        self._type = given.type
        self._clock = ClockReader(node) if given.sim_time else None
        self._line = Line(self._publish)
        self._control = Control(self._line, given.topic, given.seed)
        # Also where the node was given another name or a namespace: so its actor finds it.
        name = f'/{node_name(given.topic)}'
        self._state = node.create_publisher(String, f'{name}/{STATE}', LATCHED)
        self._orders = node.create_subscription(
            String, f'{name}/{FAULTS}', _never_called, LATCHED)
        self._publisher: Any = None
        self._subscription: Any = None
        self._kind: Any = None
        self._made_for: tuple[Asked, int] | None = None
        self._next_look = 0.0

    def run(self, stop: threading.Event) -> None:
        """Forward until ``stop``."""
        while not stop.is_set():
            if time.monotonic() >= self._next_look:
                self._look()
            self._wait()
            self._answers.give()
            self._obey()
            self._forward()

    def _look(self) -> None:
        """Discover who publishes the input, and fit our own ends to what they offer."""
        found = self._node.get_publishers_info_by_topic(self._input)
        ours = [info for info in found if self._type in {None, info.topic_type}]
        self._next_look = time.monotonic() + (LOOK_PERIOD_S if ours else SEARCH_PERIOD_S)
        if not ours:
            return
        asked = Asked.that_suits(ours)
        # What a latched publisher keeps is not told by discovery; one each is the custom.
        depth = sum(max(1, info.qos_profile.depth) for info in ours) if asked.latched else QUEUE
        if self._made_for == (asked, depth):
            return
        if self._kind is None:
            self._type = ours[0].topic_type
            self._kind = _message_class(self._type)
        self._connect(asked, depth)
        self._made_for = asked, depth

    def _connect(self, asked: Asked, depth: int) -> None:
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._node.destroy_publisher(self._publisher)
        profile = QoSProfile(
            depth=depth, reliability=ReliabilityPolicy[asked.reliability],
            durability=DurabilityPolicy[asked.durability],
        )
        self._publisher = self._node.create_publisher(self._kind, self._topic, profile)
        self._subscription = self._node.create_subscription(
            self._kind, self._input, _never_called, profile, raw=True)

    def _wait(self) -> None:
        """Wait until a message or an order comes or something is due; not for long."""
        timeout, due = WAIT_NS, self._line.next_ns
        if due is not None and self._clock is not None:
            timeout = TICK_NS
        elif due is not None:
            timeout = min(WAIT_NS, max(0, due - self._now_ns()))
        ends = [end for end in (self._orders, self._subscription) if end is not None]
        context = self._node.context.handle
        waiting = rclpy_implementation.WaitSet(len(ends), 0, 0, 0, 0, 0, context)
        with waiting:
            waiting.clear_entities()
            for end in ends:
                waiting.add_subscription(end.handle)
            waiting.wait(timeout)

    def _obey(self) -> None:
        while (taken := self._orders.handle.take_message(String, False)) is not None:
            # What came before the order is not changed by it.
            self._forward()
            answer = self._control.obey(taken[0].data, self._type, self._now_ns())
            answer['publishers'] = self._node.count_publishers(self._input)
            answer['node'] = self._node.get_fully_qualified_name()
            self._state.publish(String(data=json.dumps(answer)))

    def _forward(self) -> None:
        self._line.work(self._now_ns())
        if self._subscription is None:
            return
        take = self._subscription.handle.take_message
        for _ in range(QUEUE):
            taken = take(self._kind, True)
            if taken is None:
                return
            self._line.push(self._now_ns(), taken[0])

    def _publish(self, message: bytes) -> None:
        self._publisher.publish(message)

    def _now_ns(self) -> int:
        if self._clock is not None:
            return self._clock.elapsed_ns() or 0
        return int(time.monotonic() * NS_PER_S)


def _message_class(type_name: str) -> Any:
    package, _, name = type_name.partition('/msg/')
    try:
        return getattr(importlib.import_module(f'{package}.msg'), name)
    except (ImportError, AttributeError) as error:
        raise SetupError(not_installed(type_name)) from error


def _never_called(message: Any) -> None:
    """Stand in for a callback: nothing spins this node."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Forward until interrupted; 2 if an argument or a parameter is wrong."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    stop = stop_on_signals()
    try:
        with large_segment():
            rclpy.init(args=words, signal_handler_options=SignalHandlerOptions.NO)
            node, given = make_relay_node(words)
    except RobotQaError as error:
        rclpy.try_shutdown()
        print(error, file=sys.stderr)
        return 2
    try:
        Relay(node, given).run(stop)
    except SetupError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
    return 0


def console() -> None:
    """Run as ``ros2 run robot_qa relay``."""
    sys.exit(main())


if __name__ == '__main__':
    console()
