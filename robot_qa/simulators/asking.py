"""Calls services of a simulator and waits for their answers without blocking."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any, TypeAlias, TypeVar

from rclpy.node import Node
from simulation_interfaces.msg import Result

from robot_qa.probes.caller import SETTLE_S, Line
from robot_qa.simulators.base import Action, ActionError

T = TypeVar('T')
Waiting: TypeAlias = Generator[None, None, T]


class Server:
    """A service, called without an executor by several who wait at the same time."""

    def __init__(self, node: Node, kind: Any, name: str, answer_s: float) -> None:
        self.name = name
        self._answer_s = answer_s
        self._line = Line(node, kind, name)
        self._since: float | None = None
        self._answers: dict[int, Any] = {}
        self.close = self._line.close

    def settled(self) -> bool:
        """Tell whether there is a server for so long that it knows us as well."""
        if not self._line.ready():
            self._since = None
            return False
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        return now - self._since >= SETTLE_S

    def ask(
        self, request: Any, undo: Action | None = None, longer_s: float = 0.0,
    ) -> Waiting[Any]:
        """Return the response; ``ActionError`` if none comes, with the undo if it was sent."""
        within_s = self._answer_s + longer_s
        deadline = time.monotonic() + within_s
        while not self.settled():
            if time.monotonic() > deadline:
                raise ActionError(f'{self.name}: nobody serves it')
            yield
        sequence, _ = self._line.send(request)
        while sequence not in self._answers:
            while (answer := self._line.take()) is not None:
                self._answers[answer.sequence] = answer.response
            if sequence in self._answers:
                break
            if time.monotonic() > deadline:
                raise ActionError(f'{self.name}: no answer within {within_s:g} s', undo)
            yield
        response = self._answers.pop(sequence)
        result = getattr(response, 'result', None)
        if isinstance(result, Result) and result.result != Result.RESULT_OK:
            text = result.error_message or 'refused without a reason'
            raise ActionError(f'{self.name}: {text} (result {result.result})')
        return response
