"""The actions of a scenario on the ROS graph: messages, service calls, parameters, lifecycles."""

from __future__ import annotations

import importlib
import time
from collections.abc import Generator
from typing import Any

from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.srv import GetParameters, SetParameters
from rclpy.node import Node
from rclpy.parameter import Parameter, parameter_value_to_python
from rclpy.publisher import Publisher

from robot_qa.errors import UnknownTypeError
from robot_qa.messages.literals import fill
from robot_qa.messages.typestore import TypeStore
from robot_qa.probes.caller import Line, interface_class, not_installed
from robot_qa.scenario.player import Doing, Done, Gradual
from robot_qa.spec.scenario import Step
from robot_qa.spec.scenario_actions import OPPOSITES

KINDS = ('publish', 'call', 'parameter', 'transition')
ANSWER_S = 5.0
Work = Generator[None, None, Done]


class GraphActor:
    """Publishes, calls and sets; what it needs for that is made before the run starts."""

    def __init__(self, node: Node, store: TypeStore) -> None:
        """Take a node that no executor spins: an executor would take the answers away."""
        self._node = node
        self._store = store
        self._publishers: dict[str, Publisher] = {}
        self._lines: dict[str, tuple[Line, Any]] = {}
        self._messages: dict[int, Any] = {}

    def lack(self, step: Step) -> str | None:
        """Make what the step needs, so that others know of it in time; say what is missing."""
        given = step.action
        try:
            if step.kind == 'publish':
                if given.rate is not None:
                    return 'publish: only once so far, not at a rate'
                package, _, name = given.type.split('/')
                kind = getattr(importlib.import_module(f'{package}.msg'), name)
                self._messages[id(step)] = fill(
                    self._store, given.type, kind(), given.message)
                if given.topic not in self._publishers:
                    self._publishers[given.topic] = self._node.create_publisher(
                        kind, given.topic, 10)
            elif step.kind == 'call':
                kind = interface_class(given.type)
                self._messages[id(step)] = fill(
                    self._store, f'{given.type}_Request', kind.Request(), given.request)
                self._line(given.service, kind)
            elif step.kind == 'parameter':
                self._line(f'{given.node}/get_parameters', GetParameters)
                self._line(f'{given.node}/set_parameters', SetParameters)
            else:
                self._line(f'{given.node}/change_state', ChangeState)
        except (ImportError, AttributeError):
            return not_installed(given.type)
        except UnknownTypeError as error:
            return str(error)
        return None

    def begin(self, step: Step) -> Doing:
        """Begin the action."""
        given = step.action
        if step.kind == 'publish':
            return Gradual(self._publish(given.topic, self._messages[id(step)]))
        if step.kind == 'call':
            return Gradual(self._call(given.service, self._messages[id(step)]))
        if step.kind == 'parameter':
            return Gradual(self._set(given.node, given.name, given.value))
        return Gradual(self._change(given.node, given.transition))

    def _line(self, service: str, kind: Any) -> Line:
        if service not in self._lines:
            self._lines[service] = Line(self._node, kind, service), kind
        return self._lines[service][0]

    def _publish(self, topic: str, message: Any) -> Work:
        publisher = self._publishers[topic]
        publisher.publish(message)
        return Done(True, f'{topic}, to {publisher.get_subscription_count()} subscribers')
        yield

    def _call(self, service: str, request: Any) -> Work:
        response = yield from self._ask(service, request)
        if isinstance(response, str):
            return Done(False, response)
        return Done(True, f'{service} answered')

    def _set(self, node: str, name: str, value: Any) -> Work:
        before = yield from self._ask(
            f'{node}/get_parameters', GetParameters.Request(names=[name]))
        if isinstance(before, str):
            return Done(False, before)
        if not before.values or not before.values[0].type:
            return Done(False, f'{node} has no parameter {name}')
        former = parameter_value_to_python(before.values[0])
        # A whole number stands for a real one where the parameter is one.
        wanted = float(value) if isinstance(former, float) and isinstance(value, int) else value
        parameter = Parameter(name, value=wanted).to_parameter_msg()
        answer = yield from self._ask(
            f'{node}/set_parameters', SetParameters.Request(parameters=[parameter]))
        if isinstance(answer, str):
            return Done(False, answer)
        if not answer.results[0].successful:
            return Done(False, f'{node} refused {name}: {answer.results[0].reason}')
        return Done(True, f'{node} {name}: {former} to {wanted}',
                    lambda: Gradual(self._set(node, name, former)))

    def _change(self, node: str, transition: str) -> Work:
        request = ChangeState.Request()
        request.transition.label = transition
        answer = yield from self._ask(f'{node}/change_state', request)
        if isinstance(answer, str):
            return Done(False, answer)
        if not answer.success:
            return Done(False, f'{node} refused to {transition}')
        back = OPPOSITES.get(transition)
        undo = None if back is None else lambda: Gradual(self._change(node, back))
        return Done(True, f'{node}: {transition}', undo)

    def _ask(self, service: str, request: Any) -> Generator[None, None, Any]:
        """Return the response, or a text that says why there is none."""
        line = self._lines[service][0]
        deadline = time.monotonic() + ANSWER_S
        while not line.ready():
            if time.monotonic() > deadline:
                return f'nobody serves {service}'
            yield
        sequence, _ = line.send(request)
        while True:
            answer = line.take()
            if answer is not None and answer.sequence == sequence:
                return answer.response
            if time.monotonic() > deadline:
                return f'{service} did not answer within {ANSWER_S:g} s'
            yield
