"""Actions: whether goals are accepted, end in time and as wanted, give feedback, can be cancelled.

Everything comes from the journal ``goals/<action>`` and the batches of results that the caller
wrote, live or into a recording. All limits here are hard.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from robot_qa.monitors.base import (
    Check,
    Context,
    Evidence,
    Findings,
    Limit,
    Measurement,
    Monitor,
    exact,
    missing,
)
from robot_qa.monitors.services import AvailableMonitor, Story, answer_monitors
from robot_qa.probes.batch import Batch, Observation
from robot_qa.probes.journal import PREFIX, entries
from robot_qa.spec.model import TestSpec
from robot_qa.spec.services import Action
from robot_qa.timebase import NS_PER_S, format_ns

NOT_ACCEPTED = 'no goal was accepted'


def action_monitors(spec: TestSpec, context: Context) -> list[Monitor]:
    """Return the monitors of a spec's ``actions:`` block."""
    return [
        monitor
        for name, action in spec.actions.items()
        for monitor in _monitors_of(name, action, context)
    ]


@dataclass
class Goal:
    """What is known of one goal; times in ns, system clock, None for what has not happened."""

    number: int
    sent_ns: int
    to_cancel: bool
    answered_ns: int | None = None
    accepted: bool | None = None
    feedback: int = 0
    cancel_ns: int | None = None
    result_ns: int | None = None
    status: str = ''
    given_up_ns: int | None = None

    def tell(self, event: str, entry: dict[str, Any]) -> None:
        """Take an entry about this goal."""
        at = entry['at_ns']
        if event == 'answered':
            self.answered_ns, self.accepted = at, entry['accepted']
        elif event == 'feedback':
            self.feedback += len(at)
        elif event == 'cancel':
            self.cancel_ns = at
        elif event == 'result':
            self.result_ns, self.status = at, entry['status']
        elif event == 'given_up':
            self.given_up_ns = at


class GoalMonitor:
    """The goals of one action, and the one that is cancelled."""

    def __init__(self, subject: str, action: Action) -> None:
        self.topics = (f'{PREFIX}goals{subject}',)
        self._patience = action.patience
        self._wanted_status = action.result.status if action.result else None
        self._measures = dict(self._table(f'actions.{subject}', action))
        self.checks = list(self._measures)
        self._story = Story(subject)
        self._goals: dict[int, Goal] = {}

    def update(self, batch: Batch) -> None:
        """Learn what became of the goals."""
        for stamp, entry in entries(batch):
            self._story.tell(stamp, entry)
            if entry['event'] == 'sent':
                number = entry['goal']
                self._goals[number] = Goal(number, entry['at_ns'], entry['to_cancel'])
            elif 'goal' in entry:
                self._goals[entry['goal']].tell(entry['event'], entry)

    def measure(self, seen: Observation) -> list[Measurement]:
        """Return what the goals came to."""
        return [measure(check, seen) for check, measure in self._measures.items()]

    def _table(
        self, name: str, action: Action
    ) -> Iterator[tuple[Check, Callable[[Check, Observation], Measurement]]]:
        topic = self.topics[0]
        if action.accepted:
            yield Check(f'{name}.accepted', topic, Limit('min', 1), 'truth'), self._accepted
        if action.result is not None and action.result.within is not None:
            limit = Limit('max', action.result.within)
            yield Check(f'{name}.result.within', topic, limit, 'ns'), self._within
        if self._wanted_status is not None:
            check = Check(f'{name}.result.status', topic, Limit('min', 1), 'truth')
            yield check, self._status
        if action.feedback is not None:
            limit = Limit('min', action.feedback.rate.min)
            yield Check(f'{name}.feedback.rate.min', topic, limit, 'Hz'), self._rate
        if action.cancel is not None:
            limit = Limit('max', action.cancel.within)
            yield Check(f'{name}.cancel.within', topic, limit, 'ns'), self._cancelled

    @property
    def _plain(self) -> list[Goal]:
        return [goal for goal in self._goals.values() if not goal.to_cancel]

    def _accepted(self, check: Check, seen: Observation) -> Measurement:
        judged, found = 0, Findings()
        for goal in self._goals.values():
            if goal.accepted is not None:
                judged += 1
                if not goal.accepted:
                    found = _with(found, goal.answered_ns, goal, 'was rejected')
            elif goal.given_up_ns is not None:
                judged += 1
                found = _with(found, goal.given_up_ns, goal, 'was neither accepted nor rejected')
        return self._truth(check, judged, found, '')

    def _within(self, check: Check, seen: Observation) -> Measurement:
        worst, judged, found = 0, 0, Findings()
        for goal in self._plain:
            end = goal.result_ns or goal.given_up_ns or seen.end_ns
            took = end - goal.sent_ns
            late = took > check.limit.value
            if goal.accepted and (goal.result_ns is not None or late):
                judged, worst = judged + 1, max(worst, took)
                if late:
                    what = 'took' if goal.result_ns else 'was not over after'
                    found = _with(found, end, goal, f'{what} {format_ns(took)}', took)
        if not judged:
            return self._nothing(check, NOT_ACCEPTED)
        return exact(check, worst, judged, found)

    def _status(self, check: Check, seen: Observation) -> Measurement:
        judged, found = 0, Findings()
        for goal in self._plain:
            if goal.accepted and goal.status:
                judged += 1
                if goal.status != self._wanted_status:
                    found = _with(found, goal.result_ns, goal, f'ended as {goal.status}')
            elif goal.accepted and goal.given_up_ns is not None:
                judged += 1
                text = f'had not ended after {format_ns(self._patience)}'
                found = _with(found, goal.given_up_ns, goal, text)
        return self._truth(check, judged, found, NOT_ACCEPTED)

    def _rate(self, check: Check, seen: Observation) -> Measurement:
        """Measure the lowest mean rate: n messages divide the time into n + 1 intervals."""
        rates, found = [], Findings()
        for goal in self._plain:
            end = goal.result_ns or goal.given_up_ns
            if not goal.accepted or goal.answered_ns is None or end is None:
                continue
            span = end - goal.answered_ns
            if span <= 0:
                continue
            rate = (goal.feedback + 1) * NS_PER_S / span
            rates.append(rate)
            if rate < check.limit.value:
                text = f'gave feedback {goal.feedback} times in {format_ns(span)}'
                found = _with(found, end, goal, text, rate)
        if not rates:
            return self._nothing(check, NOT_ACCEPTED)
        return exact(check, min(rates), len(rates), found)

    def _cancelled(self, check: Check, seen: Observation) -> Measurement:
        goal = next((goal for goal in self._goals.values() if goal.to_cancel), None)
        if goal is None:
            return self._nothing(check, 'the first goal was not over, so none was cancelled')
        if goal.cancel_ns is None:
            return self._nothing(check, _why_not_cancelled(goal))
        end = goal.result_ns or goal.given_up_ns or seen.end_ns
        took = end - goal.cancel_ns
        if goal.result_ns is not None and goal.status != 'canceled':
            found = _with(Findings(), end, goal, f'ended as {goal.status}, not as canceled')
            return Measurement(check, None, None, None, 1, evidence=tuple(found.kept),
                               violations=1)
        if took > check.limit.value:
            found = _with(Findings(), end, goal, f'{format_ns(took)} after the cancel', took)
            return exact(check, took, 1, found)
        if goal.result_ns is None:
            return self._nothing(check, 'the cancelled goal had not ended yet')
        return exact(check, took, 1)

    def _truth(self, check: Check, judged: int, found: Findings, otherwise: str) -> Measurement:
        if not judged:
            return self._nothing(check, otherwise or 'no goal was answered')
        return exact(check, float(not found.total), judged, found)

    def _nothing(self, check: Check, reason: str) -> Measurement:
        return missing(check, 0, reason if self._goals else self._story.why_nothing())


def _why_not_cancelled(goal: Goal) -> str:
    if goal.accepted is False:
        return 'the goal to be cancelled was rejected'
    if goal.result_ns is not None:
        return 'the goal to be cancelled had ended before; cancel.after may be too long'
    return 'the goal to be cancelled was not cancelled yet'


def _with(
    found: Findings, stamp: int | None, goal: Goal, text: str, value: float | None = None
) -> Findings:
    return found.with_one(Evidence(stamp or goal.sent_ns, value, f'goal {goal.number} {text}'))


def _monitors_of(subject: str, action: Action, context: Context) -> list[Monitor]:
    name, journal = f'actions.{subject}', f'{PREFIX}goals{subject}'
    monitors: list[Monitor] = []
    if action.available is not None:
        monitors.append(AvailableMonitor(name, journal, subject, action.available))
    goals = GoalMonitor(subject, action)
    if goals.checks:
        monitors.append(goals)
    fields = action.result.fields if action.result else {}
    topics = (f'{PREFIX}results{subject}', journal)
    return monitors + answer_monitors(fields, f'{name}.result.fields', topics, subject, context)
