"""The actions of a scenario on the ROS graph: service calls, parameters, lifecycles."""

from __future__ import annotations

import reprlib
import time
from array import array
from collections.abc import Generator
from typing import Any

from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.srv import GetParameters, SetParameters
from rclpy.node import Node
from rclpy.parameter import Parameter, parameter_value_to_python

from robot_qa.errors import UnknownTypeError
from robot_qa.messages.literals import fill
from robot_qa.messages.typestore import TypeStore
from robot_qa.probes.caller import Answer, Line, interface_class, not_installed
from robot_qa.scenario.player import Doing, Done, Gradual
from robot_qa.spec.scenario import Step
from robot_qa.spec.scenario_actions import OPPOSITES, Call

KINDS = ('call', 'parameter', 'transition')
ANSWER_S = 5.0
ARRAYS = {Parameter.Type.BYTE_ARRAY, Parameter.Type.BOOL_ARRAY, Parameter.Type.INTEGER_ARRAY,
          Parameter.Type.DOUBLE_ARRAY, Parameter.Type.STRING_ARRAY}
Work = Generator[None, None, Done]


class Asker:
    """A service, asked by several who wait at the same time."""

    def __init__(self, node: Node, kind: Any, name: str) -> None:
        self.name = name
        self._line = Line(node, kind, name)
        self._wanted: set[int] = set()
        self._answers: dict[int, Answer] = {}

    def send(self, request: Any) -> int:
        """Send a request and return its number; its answer is kept until it is taken."""
        number, _ = self._line.send(request)
        self._wanted.add(number)
        return number

    def take(self, number: int) -> Answer | None:
        """Return the answer to the request of this number, once; None while there is none."""
        while (answer := self._line.take()) is not None:
            if answer.sequence in self._wanted:
                self._answers[answer.sequence] = answer
        found = self._answers.pop(number, None)
        if found is not None:
            self._wanted.discard(number)
        return found

    def forget(self, number: int) -> None:
        """Do not keep the answer to this request any more."""
        self._wanted.discard(number)
        self._answers.pop(number, None)

    def ask(self, request: Any) -> Generator[None, None, Any]:
        """Return the response, or a text that says why there is none."""
        deadline = time.monotonic() + ANSWER_S
        while not self._line.ready():
            if time.monotonic() > deadline:
                return f'nobody serves {self.name}'
            yield
        number = self.send(request)
        while (answer := self.take(number)) is None:
            if time.monotonic() > deadline:
                self.forget(number)
                return f'{self.name} did not answer within {ANSWER_S:g} s'
            yield
        return answer.response

    def close(self) -> None:
        """Leave the service."""
        self._line.close()


class GraphActor:
    """Calls and sets; what it needs for that is made before the run starts."""

    def __init__(self, node: Node, store: TypeStore) -> None:
        """Take a node that no executor spins: an executor would take the answers away."""
        self._node = node
        self._store = store
        self._askers: dict[str, Asker] = {}
        self._requests: dict[int, Any] = {}

    def lack(self, step: Step) -> str | None:
        """Make what the step needs, so that others know of it in time; say what is missing."""
        given = step.action
        try:
            if step.kind == 'call':
                kind = interface_class(given.type)
                self._requests[id(step)] = fill(
                    self._store, f'{given.type}_Request', kind.Request(), given.request)
                self._join(given.service, kind)
            elif step.kind == 'parameter':
                self._join(f'{given.node}/get_parameters', GetParameters)
                self._join(f'{given.node}/set_parameters', SetParameters)
            else:
                self._join(f'{given.node}/change_state', ChangeState)
        except (ImportError, AttributeError):
            return not_installed(given.type)
        except UnknownTypeError as error:
            return str(error)
        return None

    def begin(self, step: Step) -> Doing:
        """Begin the action."""
        given = step.action
        if step.kind == 'call':
            return Gradual(self._call(given, self._requests[id(step)]))
        if step.kind == 'parameter':
            return Gradual(self._set(given.node, given.name, given.value))
        return Gradual(self._change(given.node, given.transition))

    def close(self) -> None:
        """Leave the services."""
        for asker in self._askers.values():
            asker.close()
        self._askers.clear()

    def _join(self, service: str, kind: Any) -> None:
        if service not in self._askers:
            self._askers[service] = Asker(self._node, kind, service)

    def _call(self, given: Call, request: Any) -> Work:
        response = yield from self._ask(given.service, request)
        if isinstance(response, str):
            return Done(False, response)
        answer = f'{given.service} answered{shown(response)}'
        # Trigger, SetBool and many others say so whether they did what they were asked for.
        said = getattr(response, 'success', None)
        is_right = given.success in ('any', said) or not isinstance(said, bool)
        return Done(is_right, answer, record=answer)

    def _set(self, node: str, name: str, value: Any) -> Work:
        before = yield from self._ask(
            f'{node}/get_parameters', GetParameters.Request(names=[name]))
        if isinstance(before, str):
            return Done(False, before)
        if not before.values or not before.values[0].type:
            return Done(False, f'{node} has no parameter {name}')
        former = parameter_value_to_python(before.values[0])
        parameter = _parameter(name, value, before.values[0].type).to_parameter_msg()
        answer = yield from self._ask(
            f'{node}/set_parameters', SetParameters.Request(parameters=[parameter]))
        if isinstance(answer, str):
            return Done(False, answer)
        if not answer.results[0].successful:
            return Done(False, f'{node} refused {name}: {answer.results[0].reason}')
        return Done(True, f'{node} {name}: {former} to {value}',
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
        return self._askers[service].ask(request)


def shown(message: Any) -> str:
    """Return the fields of a message as text in brackets, long values cut."""
    fields = [f'{name}: {reprlib.repr(getattr(message, name))}'
              for name in message.get_fields_and_field_types()]
    return f' ({", ".join(fields)})' if fields else ''


def _parameter(name: str, value: Any, former: int) -> Parameter:
    """Return the parameter for a value of a spec, where the node has one of the type ``former``.

    Whole numbers stand for real ones where the parameter is real, and beside a real one.
    """
    kind = Parameter.Type(former)
    if not isinstance(value, list | array):
        is_real = kind == Parameter.Type.DOUBLE and type(value) is int
        return Parameter(name, value=float(value) if is_real else value)
    if not value and kind in ARRAYS:
        return Parameter(name, kind, [])
    numbers = all(type(item) in {int, float} for item in value)
    if numbers and (kind == Parameter.Type.DOUBLE_ARRAY or float in map(type, value)):
        value = [float(item) for item in value]
    return Parameter(name, value=value)
