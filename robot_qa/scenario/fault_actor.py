"""The faults of a scenario: which relays they need, and how these are told."""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

from numpy.random import SeedSequence
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import String

from robot_qa.errors import RobotQaError
from robot_qa.messages.typestore import TypeStore
from robot_qa.scenario.assembly import pipeline, written
from robot_qa.scenario.player import Doing, Done, Gradual
from robot_qa.simulators import gazebo_bridge
from robot_qa.spec.model import TestSpec
from robot_qa.spec.scenario import CLOCK, SIMULATOR, Step
from robot_qa.spec.scenario_faults import Fault
from robot_qa.spec.scenario_order import possible_publishers, publishers

KINDS = ('fault',)
SUFFIX = '_unfaulted'
FAULTS, STATE = 'faults', 'state'
ANSWER_S = 5.0
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
Work = Generator[None, None, Done]


def node_name(topic: str) -> str:
    """Return the name of the node that relays a topic, such as relay_scan."""
    return f'relay_{topic.strip("/").replace("/", "__")}'


def relays(spec: TestSpec) -> list[tuple[str, str]]:
    """Return each topic with faults, and the one its publishers have to publish instead."""
    topics = {step.fault.topic: None for step in spec.scenario if step.fault is not None}
    return [(topic, f'{topic}{SUFFIX}') for topic in topics]


def relay_command(spec: TestSpec, topic: str) -> tuple[str, ...]:
    """Return what runs the relay of a topic."""
    watched = spec.topics.get(topic)
    kind = ('--type', watched.type) if watched is not None and watched.type else ()
    # What is told to wait by a clock that it holds up itself would wait forever.
    clock = ('--sim-time',) if spec.on_ros_time and topic != CLOCK else ()
    return (sys.executable, '-m', 'robot_qa.scenario.relay', '--topic', topic,
            '--input', f'{topic}{SUFFIX}', '--seed', str(spec.seed), *kind, *clock)


def remappings(spec: TestSpec) -> dict[str, tuple[str, ...]]:
    """Return what to append to the commands of the processes that publish topics with faults.

    By the name of the process, ``simulator`` being the simulator's. Gazebo's topics come from its
    bridge. Who starts a process by a launch file, or attaches to one, has to remap by himself.
    """
    system = spec.system
    if system is None:
        return {}
    commands = {process.name for process in system.processes if process.command is not None}
    simulator = system.simulator
    ours = ''
    if simulator is not None and simulator.started:
        ours = SIMULATOR if simulator.backend == 'embedded' else (
            gazebo_bridge.PACKAGE if simulator.bridged else '')
        commands.add(ours)
    found: dict[str, tuple[str, ...]] = {}
    publisher = publishers(spec.scenario, possible_publishers(system))
    for topic, source in relays(spec):
        name = ours if publisher[topic] == SIMULATOR else publisher[topic]
        if name and name in commands:
            words = found.get(name, ('--ros-args',))
            found[name] = (*words, '-r', f'{topic}:={source}')
    return found


@dataclass
class _Wire:
    """What is said to the relay of one topic, and what it has answered last."""

    publisher: Any
    subscription: Any
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    names: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    wanted: dict[str, dict[str, Any]] = field(default_factory=dict)
    state: dict[str, Any] = field(default_factory=dict)

    def order(self) -> int:
        """Send all that is wanted; return the number of the order."""
        number = next(self.numbers)
        text = json.dumps({'number': number, 'faults': self.wanted})
        self.publisher.publish(String(data=text))
        return number

    def answered(self, number: int) -> bool:
        """Tell whether the relay has answered this order or a later one."""
        while (taken := self.subscription.handle.take_message(String, False)) is not None:
            self.state = json.loads(taken[0].data)
        return (self.state.get('number') or 0) >= number


class FaultActor:
    """Tells the relays which faults are active."""

    def __init__(self, node: Node, store: TypeStore) -> None:
        """Take a node that no executor spins."""
        self._node = node
        self._store = store
        self._wires: dict[str, _Wire] = {}

    def lack(self, step: Step) -> str | None:
        """Join the relay's topics; say why the fault does not fit the type of its topic."""
        fault: Fault = step.action
        if fault.topic not in self._wires:
            name = f'/{node_name(fault.topic)}'
            self._wires[fault.topic] = _Wire(
                self._node.create_publisher(String, f'{name}/{FAULTS}', LATCHED),
                self._node.create_subscription(String, f'{name}/{STATE}', _never_called, LATCHED),
            )
        try:
            for info in self._node.get_publishers_info_by_topic(f'{fault.topic}{SUFFIX}'):
                pipeline(fault, self._store, info.topic_type, SeedSequence(0))
        except RobotQaError as error:
            return str(error)
        return None

    def begin(self, step: Step) -> Doing:
        """Let the fault become active; its undo ends it."""
        return Gradual(self._begin(step.action))

    def _begin(self, fault: Fault) -> Work:
        wire = self._wires[fault.topic]
        name = str(next(wire.names))
        wire.wanted[name] = written(fault)
        lack = yield from self._ordered(wire, fault.topic)
        if lack is None and not wire.state['publishers']:
            lack = (f'nobody publishes {fault.topic}{SUFFIX}: the publisher of {fault.topic} has '
                    f'to be started with -r {fault.topic}:={fault.topic}{SUFFIX}; of a process '
                    'that the run starts, the key "publisher" of the fault has to give the name')
        lack = lack or wire.state['errors'].get(name)
        if lack is not None:
            del wire.wanted[name]
            wire.order()
            return Done(False, lack)
        return Done(True, f'{_kinds(fault)} on {fault.topic}',
                    lambda: Gradual(self._end(fault, name)))

    def _end(self, fault: Fault, name: str) -> Work:
        wire = self._wires[fault.topic]
        del wire.wanted[name]
        lack = yield from self._ordered(wire, fault.topic)
        if lack is not None:
            return Done(False, lack)
        report = wire.state['ended'].get(name)
        if report is None:
            return Done(False, f'the relay of {fault.topic} was restarted meanwhile')
        detail = f'of {report["seen"]} messages on {fault.topic}, {report["sent"]} were sent'
        if report['unchanged']:
            detail += f'; {report["unchanged"]} could not be changed: {report["reason"]}'
        if not report['touched']:
            came = detail if report['seen'] else f'no message came on {fault.topic} meanwhile'
            return Done(False, f'the fault changed nothing: {came}')
        passed_by = self._passed_by(fault.topic, wire.state['node'])
        if passed_by:
            detail += (f'; {" and ".join(passed_by)} also published {fault.topic}, past the '
                       'relay and so without the fault')
        # Who names the publisher means that one alone.
        return Done(not passed_by or fault.publisher is not None, detail, record=detail)

    def _passed_by(self, topic: str, relay: str) -> list[str]:
        """Return the nodes that publish a topic themselves instead of through its relay."""
        found = {f'{info.node_namespace.rstrip("/")}/{info.node_name}'
                 for info in self._node.get_publishers_info_by_topic(topic)}
        return sorted(found - {relay, self._node.get_fully_qualified_name()})

    def _ordered(self, wire: _Wire, topic: str) -> Generator[None, None, str | None]:
        """Let the relay do what is wanted; return why it did not."""
        number = wire.order()
        deadline = time.monotonic() + ANSWER_S
        while not wire.answered(number):
            if time.monotonic() > deadline:
                return (f'the relay /{node_name(topic)} did not answer within {ANSWER_S:g} s; '
                        'where the run does not start what publishes, somebody has to start the '
                        f'relay beside it: ros2 run robot_qa relay --topic {topic}')
            yield
        return None


def _kinds(fault: Fault) -> str:
    return ', '.join([*fault.content, *fault.flow])


def _never_called(message: Any) -> None:
    """Stand in for a callback: nothing spins this node."""
