"""The relay as a ROS node among others: its name, its parameters, and who answers for them.

What the command line says comes before what parameters say. The node is called after its topic,
so that several relays can run beside each other, and whoever knows the topic finds its relay.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rcl_interfaces.msg import IntegerRange, ParameterDescriptor
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.utilities import remove_ros_args

from robot_qa.errors import RobotQaError
from robot_qa.scenario.fault_actor import SUFFIX, node_name

SIM_TIME = 'use_sim_time'
TEXTS = {
    'topic': 'The topic to publish, such as /scan',
    'input': f'What the publisher was remapped to; the topic with {SUFFIX} behind it if empty',
    'type': 'The type of the topic; found out if empty',
    'seed': 'From which all that is random in faults is drawn',
}
DEFAULTS: dict[str, str | int] = {'topic': '', 'input': '', 'type': '', 'seed': 0}
HIGHEST_SEED = 2**63 - 1
# Between two looks whether anybody asks for parameters, in seconds.
ASKED_PERIOD_S = 0.05


@dataclass(frozen=True)
class RelaySettings:
    """What a relay does while no fault is active; delays count on /clock with ``sim_time``."""

    topic: str
    input: str
    type: str | None
    seed: int
    sim_time: bool


def make_relay_node(words: Sequence[str]) -> tuple[Node, RelaySettings]:
    """Make the node that the words on the command line and the ROS parameters ask for.

    RobotQaError: no topic is given, or a parameter is of the wrong type or out of its range.
    """
    given = {name: value for name, value in vars(_parsed(words)).items() if value is not None}
    try:
        topic = given.get('topic') or _topic_by_parameter()
        if not topic:
            raise RobotQaError(
                'which topic? Say --topic /scan, or --ros-args -p topic:=/scan')
        given['topic'] = topic
        node = _bare(node_name(topic), given, answers=True)
        return node, _declared(node, topic)
    except (InvalidParameterTypeException, InvalidParameterValueException) as error:
        raise RobotQaError(str(error)) from error


class Answers:
    """Answers whoever asks for the parameters of a node that no executor spins."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._due = 0.0

    def give(self) -> None:
        """Answer what was asked; looks only now and then."""
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + ASKED_PERIOD_S
        for service in self._node.services:
            request, header = service.handle.service_take_request(service.srv_type.Request)
            if header is not None:
                answer = service.callback(request, service.srv_type.Response())
                service.send_response(answer, header)


def _parsed(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='relay', description='Forwards a topic, or spoils it when it is told to.')
    parser.add_argument('--topic', help=TEXTS['topic'])
    parser.add_argument('--input', help=TEXTS['input'])
    parser.add_argument('--type', help=TEXTS['type'])
    parser.add_argument('--seed', type=int, help=TEXTS['seed'])
    parser.add_argument('--sim-time', dest=SIM_TIME, action='store_true', default=None,
                        help='delays count on /clock; the same as the parameter use_sim_time')
    return parser.parse_args(remove_ros_args(['relay', *words])[1:])


def _bare(name: str, given: dict[str, Any], *, answers: bool) -> Node:
    values = [Parameter(key, value=value) for key, value in given.items()]
    return Node(name, enable_rosout=False, start_parameter_services=answers,
                parameter_overrides=values)


def _topic_by_parameter() -> str:
    """Return the topic that a parameter names, which the name of the node is made of."""
    node = _bare('relay', {}, answers=False)
    try:
        text: str = node.declare_parameter('topic', '').value
    finally:
        node.destroy_node()
    return text


def _declared(node: Node, topic: str) -> RelaySettings:
    defaults = DEFAULTS | {'topic': topic, 'input': f'{topic}{SUFFIX}'}
    found = {}
    for name, default in defaults.items():
        descriptor = ParameterDescriptor(description=TEXTS[name], read_only=True)
        if name == 'seed':
            descriptor.integer_range = [
                IntegerRange(from_value=0, to_value=HIGHEST_SEED, step=1)]
        found[name] = node.declare_parameter(name, default, descriptor).value
    return RelaySettings(
        topic=found['topic'], input=found['input'] or f'{topic}{SUFFIX}',
        type=found['type'] or None, seed=found['seed'],
        sim_time=node.get_parameter(SIM_TIME).value)
