"""Sends goals to actions for a scenario, and cancels what still runs when the step ends.

An action is three services (https://design.ros2.org/articles/actions.html), used as such without
an executor. A step is done when its goal was accepted, and has failed when it was rejected. It
ends when the goal has succeeded, and fails when the goal was aborted.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from rclpy.node import Node

from robot_qa.errors import UnknownTypeError
from robot_qa.messages.literals import fill
from robot_qa.messages.typestore import TypeStore
from robot_qa.probes.caller import interface_class, not_installed
from robot_qa.scenario.graph_actor import ANSWER_S, Asker, shown
from robot_qa.scenario.player import Doing, Done, Gradual
from robot_qa.spec.scenario import Step
from robot_qa.spec.scenario_actions import SendGoal
from robot_qa.timebase import format_ns

KINDS = ('goal',)
# action_msgs/msg/GoalStatus; the last three are how a goal ends.
SUCCEEDED, CANCELED, ABORTED = 4, 5, 6
WORDS = {SUCCEEDED: 'succeeded', CANCELED: 'was canceled', ABORTED: 'was aborted'}
# action_msgs/srv/CancelGoal_Response; 0 is no error.
REFUSALS = {
    1: 'rejected the cancel', 2: 'does not know the goal', 3: 'says the goal has ended already',
}
Work = Generator[None, None, Done]


class _Wires:
    """The services of one action; feedback is not looked at."""

    def __init__(self, node: Node, kind: Any, name: str) -> None:
        self.impl = kind.Impl
        self.goals = Asker(node, self.impl.SendGoalService, f'{name}/_action/send_goal')
        self.results = Asker(node, self.impl.GetResultService, f'{name}/_action/get_result')
        self.cancels = Asker(node, self.impl.CancelGoalService, f'{name}/_action/cancel_goal')

    def close(self) -> None:
        for asker in (self.goals, self.results, self.cancels):
            asker.close()


@dataclass
class _Goal:
    """A goal that was accepted; times are system clock, in ns. ``status`` is how it ended."""

    action: str
    wires: _Wires
    uuid: bytes
    accepted_ns: int
    result_number: int
    status: int | None = None
    story: str = ''

    def look(self) -> bool:
        """Take the result if it has come; return whether the goal has ended."""
        if self.status is None:
            answer = self.wires.results.take(self.result_number)
            if answer is not None:
                self.status = int(answer.response.status)
                word = WORDS.get(self.status, f'ended with status {self.status}')
                passed = format_ns(max(0, answer.received_ns - self.accepted_ns))
                self.story = (f'the goal of {self.action} {word} {passed} after it was accepted'
                              f'{shown(answer.response.result)}')
        return self.status is not None

    def poll(self) -> Done | None:
        """Return how it went once it has ended without being cancelled by us."""
        return Done(self.status == SUCCEEDED, self.story, record=self.story) \
            if self.look() else None

    def cancel_request(self) -> Any:
        """Return what asks to cancel it."""
        request = self.wires.impl.CancelGoalService.Request()
        request.goal_info.goal_id.uuid = list(self.uuid)
        return request


class GoalActor:
    """Sends goals to actions, of which it joins the services before the run starts."""

    def __init__(self, node: Node, store: TypeStore) -> None:
        """Take a node that no executor spins: an executor would take the answers away."""
        self._node = node
        self._store = store
        self._wires: dict[str, tuple[_Wires, str]] = {}
        self._written: dict[int, Any] = {}
        self._goals: list[_Goal] = []

    def lack(self, step: Step) -> str | None:
        """Join the action and make the goal; say what is missing for them."""
        given: SendGoal = step.action
        try:
            kind = interface_class(given.type)
            self._written[id(step)] = fill(
                self._store, f'{given.type}_Goal', kind.Goal(), given.goal)
        except (ImportError, AttributeError):
            return not_installed(given.type)
        except UnknownTypeError as error:
            return str(error)
        if given.action not in self._wires:
            self._wires[given.action] = _Wires(self._node, kind, given.action), given.type
        other = self._wires[given.action][1]
        return None if other == given.type else f'another step takes {given.action} for a {other}'

    def begin(self, step: Step) -> Doing:
        """Send the goal; its undo cancels it."""
        return Gradual(self._send(step.action.action, self._written[id(step)]))

    def close(self) -> None:
        """Ask to cancel what still runs, without waiting for it, and leave the actions."""
        for goal in self._goals:
            if not goal.look():
                goal.wires.cancels.send(goal.cancel_request())
        self._goals.clear()
        for wires, _ in self._wires.values():
            wires.close()
        self._wires.clear()

    def _send(self, action: str, written: Any) -> Work:
        wires, _ = self._wires[action]
        request = wires.impl.SendGoalService.Request(goal=written)
        identity = uuid.uuid4().bytes
        request.goal_id.uuid = list(identity)
        answer = yield from wires.goals.ask(request)
        if isinstance(answer, str):
            return Done(False, answer)
        if not answer.accepted:
            return Done(False, f'{action} rejected the goal')
        asking = wires.impl.GetResultService.Request()
        asking.goal_id.uuid = list(identity)
        goal = _Goal(action, wires, identity, time.time_ns(), wires.results.send(asking))
        self._goals.append(goal)
        return Done(True, f'{action} accepted the goal', lambda: Gradual(self._cancel(goal)), goal)

    def _cancel(self, goal: _Goal) -> Work:
        refusal = None
        if not goal.look():
            answer = yield from goal.wires.cancels.ask(goal.cancel_request())
            if isinstance(answer, str):
                return Done(False, f'the goal may still run: {answer}')
            code = int(answer.return_code)
            refusal = REFUSALS.get(code, f'error {code}') if code else None
        # One that ends at this very moment is refused, as there is nothing to cancel any more.
        deadline = time.monotonic() + ANSWER_S
        while not goal.look():
            if time.monotonic() > deadline:
                told = f'{goal.action} {refusal}' if refusal else 'the cancel was accepted'
                return Done(False, f'the goal of {goal.action} still runs {ANSWER_S:g} s after '
                                   f'it was to be cancelled: {told}')
            yield
        return Done(goal.status in (SUCCEEDED, CANCELED), goal.story, record=goal.story)
