"""Sends goals to actions of the running graph and notes what became of them.

An action is three services and a topic of feedback (https://design.ros2.org/articles/actions.html);
they are used as such, because a service client knows when a response was received and rclpy's
action client does not.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSProfile

from robot_qa.errors import SpecError, UnknownTypeError
from robot_qa.messages.literals import fill
from robot_qa.messages.typestore import TypeStore
from robot_qa.probes.batch import Batch
from robot_qa.probes.caller import (
    Line,
    Outbox,
    Presence,
    interface_class,
    not_installed,
    written_problems,
)
from robot_qa.probes.journal import PREFIX, Journal
from robot_qa.spec.marks import Marked
from robot_qa.spec.services import Action
from robot_qa.timebase import NS_PER_S

FEEDBACK_QUEUE = 1000
# How long leaving may take while a goal is still to be cancelled.
FAREWELL_S = 0.5
# action_msgs/msg/GoalStatus
STATUS = {4: 'succeeded', 5: 'canceled', 6: 'aborted'}
# The goal's id follows the encapsulation header of a feedback message.
GOAL_ID = slice(4, 20)


class ActionCaller:
    """Looks for the actions of a spec, and sends goals to those that have one.

    Notes go to the journals ``goals/<action>``, results to ``robot_qa/results/<action>``.
    SpecError: every field of a goal that its type does not have, or that does not fit.
    """

    def __init__(
        self, node: Node, actions: dict[str, Action], store: TypeStore, marks: Marked
    ) -> None:
        problems = [
            problem for name, action in actions.items()
            for problem in written_problems(
                store, f'{action.type}_Goal', action.goal or {}, ('actions', name, 'goal'), marks
            )
        ]
        if problems:
            raise SpecError(problems)
        self._goals = [_Goals(node, name, one, store) for name, one in actions.items()]

    def begin(self) -> None:
        """Start the observation; from now on goals are sent."""
        for goals in self._goals:
            goals.begin(time.monotonic())

    def missing(self) -> list[str]:
        """Return nothing: whether there is a server is for the checks to judge."""
        return []

    def drain(self) -> list[Batch]:
        """Take what came of the goals, send what is due, return what there is to tell."""
        now = time.monotonic()
        return [batch for goals in self._goals for batch in goals.drain(now)]

    def close(self) -> None:
        """Cancel the goals that are still executed, and leave the actions."""
        for goals in self._goals:
            goals.close()


@dataclass
class _Goal:
    """The goal under way; times are system clock, in ns."""

    number: int
    to_cancel: bool
    uuid: bytes
    request: int
    sent_ns: int
    accepted_ns: int | None = None
    result_request: int | None = None
    cancel_ns: int | None = None
    feedback: list[int] = field(default_factory=list)


class _Goals:
    """One action: a goal at a time, on a fixed schedule; after the first, one to be cancelled."""

    def __init__(self, node: Node, name: str, action: Action, store: TypeStore) -> None:
        self._action = action
        self._period = None if action.every is None else action.every / NS_PER_S
        self._journal = Journal(f'goals{name}')
        self._outbox = Outbox(f'{PREFIX}results{name}', f'{action.type}_Result')
        self._due: float | None = None
        self._sent = 0
        self._to_cancel = False
        self._begun = False
        self._goal: _Goal | None = None
        self._wires: _Wires | None = None
        self._lack = ''
        try:
            kind = interface_class(action.type)
            self._written = fill(store, f'{action.type}_Goal', kind.Goal(), action.goal or {})
        except (ImportError, AttributeError):
            self._lack = not_installed(action.type)
            return
        except UnknownTypeError as error:
            self._lack = str(error)
            return
        self._wires = _Wires(node, kind, name)
        service = f'{name}/_action/send_goal', f'{action.type}_SendGoal'
        self._presence = Presence(node, self._wires.goals, service, self._journal)

    def begin(self, now: float) -> None:
        self._begun = True
        self._due = None if self._action.goal is None else now
        self._journal.drain()
        self._tell('begin')
        if self._wires is not None:
            self._presence.begin()
        else:
            self._tell('remark', text=self._lack)

    def drain(self, now: float) -> list[Batch]:
        if self._wires is not None:
            self._presence.look(now)
        if not self._begun:
            return []
        if self._wires is not None:
            if self._goal is not None:
                self._take(self._wires, self._goal)
            if self._goal is None:
                self._send(self._wires, now)
        return [*self._journal.drain(), *self._outbox.drain()]

    def close(self) -> None:
        if self._wires is None:
            return
        if self._goal is not None and self._goal.accepted_ns is not None:
            self._wires.cancel(self._goal.uuid)
            end = time.monotonic() + FAREWELL_S
            while self._wires.cancels.take() is None and time.monotonic() < end:
                time.sleep(0.01)
        self._wires.close()
        self._wires = None

    def _send(self, wires: _Wires, now: float) -> None:
        if not self._presence.settled(now):
            return
        to_cancel = self._to_cancel
        if not to_cancel:
            if self._due is None or now < self._due:
                return
            missed = None if self._period is None else int((now - self._due) / self._period) + 1
            self._due = None if missed is None else self._due + missed * (self._period or 0.0)
        self._to_cancel = False
        self._sent += 1
        identity = uuid.uuid4().bytes
        request, sent = wires.send(identity, self._written)
        self._goal = _Goal(self._sent, to_cancel, identity, request, sent)
        self._tell('sent', goal=self._sent, at_ns=sent, to_cancel=to_cancel)

    def _take(self, wires: _Wires, goal: _Goal) -> None:
        # Read before the queues are: what they do not hold then has not come by that time.
        now_ns = time.time_ns()
        self._take_acceptance(wires, goal)
        self._take_feedback(wires, goal)
        ended = self._take_result(wires, goal)
        cancel = self._action.cancel
        if ended or self._goal is None:
            return
        if goal.to_cancel and cancel is not None and goal.accepted_ns is not None:
            if goal.cancel_ns is None and now_ns - goal.accepted_ns >= cancel.after:
                goal.cancel_ns = wires.cancel(goal.uuid)
                self._tell('cancel', goal=goal.number, at_ns=goal.cancel_ns)
            since, patience = goal.cancel_ns or now_ns, cancel.within
        else:
            since, patience = goal.sent_ns, self._action.patience
        if now_ns - since > patience:
            self._give_up(wires, goal, now_ns)

    def _take_acceptance(self, wires: _Wires, goal: _Goal) -> None:
        answer = wires.goals.take()
        if answer is None or answer.sequence != goal.request:
            return
        accepted = bool(answer.response.accepted)
        self._tell('answered', goal=goal.number, at_ns=answer.received_ns, accepted=accepted)
        if accepted:
            goal.accepted_ns = answer.received_ns
            goal.result_request = wires.ask_result(goal.uuid)
        else:
            self._over(goal)

    def _take_feedback(self, wires: _Wires, goal: _Goal) -> None:
        stamps = [stamp for identity, stamp in wires.feedback() if identity == goal.uuid]
        if stamps:
            self._tell('feedback', goal=goal.number, at_ns=stamps)

    def _take_result(self, wires: _Wires, goal: _Goal) -> bool:
        answer = wires.results.take()
        if answer is None or answer.sequence != goal.result_request:
            return False
        code = int(answer.response.status)
        status = STATUS.get(code, f'status {code}')
        self._tell('result', goal=goal.number, at_ns=answer.received_ns, status=status)
        if not goal.to_cancel:
            self._outbox.add(goal.sent_ns, answer.received_ns, answer.response.result)
        self._over(goal)
        return True

    def _give_up(self, wires: _Wires, goal: _Goal, now_ns: int) -> None:
        self._tell('given_up', goal=goal.number, at_ns=now_ns)
        # A goal that nobody waits for must not go on moving the robot.
        wires.cancel(goal.uuid)
        self._over(goal)

    def _over(self, goal: _Goal) -> None:
        self._goal = None
        self._to_cancel = self._action.cancel is not None and goal.number == 1

    def _tell(self, event: str, **more: Any) -> None:
        self._journal.write(time.time_ns(), {'event': event, **more})


class _Wires:
    """The services and the topic that one action is made of."""

    def __init__(self, node: Node, kind: Any, name: str) -> None:
        self._node = node
        self._impl = kind.Impl
        self.goals = Line(node, kind.Impl.SendGoalService, f'{name}/_action/send_goal')
        self.results = Line(node, kind.Impl.GetResultService, f'{name}/_action/get_result')
        self.cancels = Line(node, kind.Impl.CancelGoalService, f'{name}/_action/cancel_goal')
        self._subscription = node.create_subscription(
            kind.Impl.FeedbackMessage, f'{name}/_action/feedback', _never_called,
            QoSProfile(depth=FEEDBACK_QUEUE), raw=True,
        )

    def send(self, identity: bytes, goal: Any) -> tuple[int, int]:
        """Send a goal; return the number of the request and the time just before."""
        request = self._impl.SendGoalService.Request(goal=goal)
        request.goal_id.uuid = list(identity)
        return self.goals.send(request)

    def ask_result(self, identity: bytes) -> int:
        """Ask for the result, which comes when the goal has ended; return the number."""
        request = self._impl.GetResultService.Request()
        request.goal_id.uuid = list(identity)
        return self.results.send(request)[0]

    def cancel(self, identity: bytes) -> int:
        """Ask to cancel a goal; return the time just before."""
        request = self._impl.CancelGoalService.Request()
        request.goal_info.goal_id.uuid = list(identity)
        return self.cancels.send(request)[1]

    def feedback(self) -> list[tuple[bytes, int]]:
        """Return of each feedback that came its goal's id and when it was sent."""
        taken = []
        take, kind = self._subscription.handle.take_message, self._impl.FeedbackMessage
        for _ in range(FEEDBACK_QUEUE):
            message = take(kind, True)
            if message is None:
                break
            payload, info = message
            taken.append((bytes(payload[GOAL_ID]), int(info['source_timestamp'])))
        return taken

    def close(self) -> None:
        """Leave the action."""
        for line in (self.goals, self.results, self.cancels):
            line.close()
        self._node.destroy_subscription(self._subscription)


def _never_called(message: bytes) -> None:
    """Stand in for a callback: nothing spins this node."""
