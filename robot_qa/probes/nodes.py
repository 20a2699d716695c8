"""Asks nodes for parameters and lifecycle states, and notes what they answer.

No executor: a request is sent, its response waits in the middleware's queue until somebody looks.
"""

from __future__ import annotations

import time
from typing import Any

from lifecycle_msgs.srv import GetState
from rcl_interfaces.msg import ParameterType
from rcl_interfaces.srv import GetParameters
from rclpy.node import Node

from robot_qa.probes.batch import Batch
from robot_qa.probes.caller import Line
from robot_qa.probes.journal import Journal
from robot_qa.spec.graph import GraphInterest

PERIOD_S = 1.0
PATIENCE_S = 1.0
# Which field of a ParameterValue holds the value of its type.
VALUE_FIELDS = {
    ParameterType.PARAMETER_BOOL: 'bool_value',
    ParameterType.PARAMETER_INTEGER: 'integer_value',
    ParameterType.PARAMETER_DOUBLE: 'double_value',
    ParameterType.PARAMETER_STRING: 'string_value',
    ParameterType.PARAMETER_BYTE_ARRAY: 'byte_array_value',
    ParameterType.PARAMETER_BOOL_ARRAY: 'bool_array_value',
    ParameterType.PARAMETER_INTEGER_ARRAY: 'integer_array_value',
    ParameterType.PARAMETER_DOUBLE_ARRAY: 'double_array_value',
    ParameterType.PARAMETER_STRING_ARRAY: 'string_array_value',
}


class NodeAsker:
    """Asks the nodes of interest once a second; answers go to the journal ``nodes``."""

    def __init__(self, node: Node, interest: GraphInterest) -> None:
        self._journal = Journal('nodes')
        self._questions: list[_Question] = [
            *(_Parameters(node, name, names) for name, names in interest.parameters.items()),
            *(_Lifecycle(node, name) for name in interest.lifecycles),
        ]

    def missing(self) -> list[str]:
        """Return what cannot be asked yet, in words."""
        return [f'service {one.service}' for one in self._questions if not one.line.ready()]

    def begin(self) -> None:
        """Start the observation: ask now, and forget what was asked before."""
        self._journal.drain()
        for question in self._questions:
            question.due, question.pending = time.monotonic(), None

    def drain(self) -> list[Batch]:
        """Take what was answered, ask what is due."""
        now = time.monotonic()
        for question in self._questions:
            question.look(now, self._journal)
        return self._journal.drain()

    def close(self) -> None:
        """Leave the services."""
        for question in self._questions:
            question.line.close()


class _Question:
    """One question to one node, asked again and again, one request at a time."""

    subject: str

    def __init__(self, node: Node, asked: str, kind: Any, service: str, request: Any) -> None:
        self.service = f'{asked}/{service}'
        self.line = Line(node, kind, self.service)
        self.due = time.monotonic()
        self.pending: int | None = None
        self._asked = asked
        self._request = request
        self._deadline = 0.0

    def read(self, response: Any) -> dict[str, Any]:
        """Return the answer, or the error, that a response holds, as an entry says it."""
        raise NotImplementedError

    def look(self, now: float, journal: Journal) -> None:
        """Go on; ``now`` is monotonic, in seconds."""
        while self.pending is not None and (answer := self.line.take()) is not None:
            # An answer to an earlier request is too late, and its request was noted as unanswered.
            if answer.sequence == self.pending:
                self.pending = None
                self._note(journal, answer.received_ns, self.read(answer.response))
        if self.pending is not None and now >= self._deadline:
            self.pending = None
            self._note(journal, time.time_ns(), {
                'error': f'did not answer on {self.service} within {PATIENCE_S:g} s',
            })
        if now >= self.due and self.pending is None:
            self.due = max(now, self.due + PERIOD_S)
            if self.line.ready():
                self.pending, _ = self.line.send(self._request)
                self._deadline = now + PATIENCE_S
            else:
                self._note(journal, time.time_ns(), {'error': f'offers no {self.service}'})

    def _note(self, journal: Journal, stamp_ns: int, what: dict[str, Any]) -> None:
        journal.write(stamp_ns, {'node': self._asked, 'subject': self.subject, **what})


class _Parameters(_Question):
    subject = 'parameters'

    def __init__(self, node: Node, asked: str, names: tuple[str, ...]) -> None:
        self._names = names
        request = GetParameters.Request(names=list(names))
        super().__init__(node, asked, GetParameters, 'get_parameters', request)

    def read(self, response: Any) -> dict[str, Any]:
        """Return the values by name; None for a parameter that is not declared."""
        values = [_value(one) for one in response.values]
        if len(values) != len(self._names):
            # rclcpp answers nothing at all if one of the names is not declared.
            return {'error': f'does not declare all of {", ".join(self._names)}'}
        return {'answer': dict(zip(self._names, values, strict=True))}


class _Lifecycle(_Question):
    subject = 'lifecycle'

    def __init__(self, node: Node, asked: str) -> None:
        super().__init__(node, asked, GetState, 'get_state', GetState.Request())

    def read(self, response: Any) -> dict[str, Any]:
        """Return the name of the state."""
        return {'answer': response.current_state.label}


def _value(parameter: Any) -> Any:
    field = VALUE_FIELDS.get(parameter.type)
    if field is None:
        return None
    value = getattr(parameter, field)
    if field == 'byte_array_value':
        return b''.join(value).hex()
    return list(value) if field.endswith('array_value') else value
