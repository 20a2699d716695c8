"""What nodes say of themselves, asked once a second: lifecycle states and parameters.

Everything comes from the journal ``nodes``: an entry per answer, or the reason why there is none.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

import numpy as np

from robot_qa.monitors.base import Check, Context, Limit, Measurement, Monitor, missing
from robot_qa.monitors.history import History, judged, moment
from robot_qa.probes.batch import Batch, Observation
from robot_qa.probes.journal import PREFIX, entries
from robot_qa.spec.graph import Lifecycle, ParameterChecks
from robot_qa.spec.model import TestSpec
from robot_qa.timebase import format_ns

JOURNAL = f'{PREFIX}nodes'


def node_monitors(spec: TestSpec, context: Context) -> list[Monitor]:
    """Return the monitors of lifecycle states and parameters under a spec's ``nodes:``."""
    monitors: list[Monitor] = []
    for name, node in spec.nodes.items():
        if node.lifecycle is not None:
            monitors.append(LifecycleMonitor(name, node.lifecycle, context))
        monitors += [
            ParameterMonitor(name, parameter, limits)
            for parameter, limits in node.parameters.items()
        ]
    return monitors


class _Answers:
    """The answers of one node about one subject, and the last reason why there was none."""

    def __init__(self, node: str, subject: str) -> None:
        self._node = node
        self._subject = subject
        self._reason = f'{node} was not asked for its {subject}: that takes a live graph'

    def read(self, batch: Batch) -> Iterator[tuple[int, Any]]:
        """Yield the stamp of each answer, and what it says."""
        for stamp, entry in entries(batch):
            if entry['node'] != self._node or entry['subject'] != self._subject:
                continue
            if 'error' in entry:
                self._reason = f'{self._node} {entry["error"]}'
            else:
                yield stamp, entry['answer']

    def explained(self, measured: Measurement) -> Measurement:
        """Add the reason to a measurement that lacks readings."""
        if measured.value is not None or measured.violations:
            return measured
        known = f'{measured.reason}: ' if measured.reason else ''
        return missing(measured.check, measured.count, f'{known}{self._reason}')


class LifecycleMonitor:
    """Whether a lifecycle node is in its state: all the time, or from some time on."""

    looks_back = True

    def __init__(self, node: str, lifecycle: Lifecycle, context: Context) -> None:
        self.topics = (JOURNAL,)
        check = Check(f'nodes.{node}.lifecycle', JOURNAL, Limit('min', 1.0), 'truth')
        self.checks = [check]
        self._wanted = lifecycle.state
        self._within = lifecycle.within or 0
        self._clock = context.clock
        self._answers = _Answers(node, 'lifecycle')
        self._history: History[str] = History()

    def update(self, batch: Batch) -> None:
        """Take the next answers."""
        for stamp, state in self._answers.read(batch):
            self._history.add(stamp, state)

    def measure(self, seen: Observation) -> list[Measurement]:
        """Return whether every state that counts was the wanted one."""
        check, history = self.checks[0], self._history
        if not history.count:
            return [self._answers.explained(missing(check, 0))]
        deadline = self._deadline(seen)
        last = history.runs[-1]
        if deadline is None:
            reason = f'it is {last.value} so far, and {format_ns(self._within)} are not over yet'
            return [missing(check, history.count, reason)]
        if last.last_ns < deadline:
            reason = f'no state is known after {moment(deadline, seen)}'
            return [self._answers.explained(missing(check, history.count, reason))]
        measured = judged(check, history, seen, self._wrong, since_ns=deadline)
        return [self._answers.explained(measured)]

    def _wrong(self, state: str) -> str:
        return '' if state == self._wanted else f'it was {state}, not {self._wanted}'

    def _deadline(self, seen: Observation) -> int | None:
        """Return from when on the state counts, system clock; None if that is not over yet."""
        if not self._within:
            return seen.start_ns
        if self._clock is None:
            deadline = seen.start_ns + self._within
            return deadline if deadline <= seen.end_ns else None
        simulated = self._clock.simulated.values
        if not len(simulated):
            return None
        index = int(np.searchsorted(simulated, simulated[0] + self._within))
        return int(self._clock.received.values[index]) if index < len(simulated) else None


class Reading(NamedTuple):
    """A value and its kind: to Python true is 1, to ROS it is not."""

    kind: Literal['bool', 'number', 'other']
    value: Any

    @classmethod
    def of(cls, value: Any) -> Reading:
        """Tell the kind of a value; None stands for a parameter that is not declared."""
        if isinstance(value, bool):
            return cls('bool', value)
        return cls('number' if isinstance(value, int | float) else 'other', value)

    def number(self) -> float | None:
        """Return the value as a number, if it is one."""
        return float(self.value) if self.kind == 'number' else None

    def __str__(self) -> str:
        return json.dumps(self.value)


class ParameterMonitor:
    """Whether a parameter keeps its limits at every reading."""

    looks_back = True

    def __init__(self, node: str, parameter: str, limits: ParameterChecks) -> None:
        self.topics = (JOURNAL,)
        self._parameter = parameter
        self._allowed = _allowed(limits)
        name = f'nodes.{node}.parameters.{parameter}'
        self.checks = [
            Check(f'{name}.{key}', JOURNAL, *_limit(key, getattr(limits, key)))
            for key in limits.limits()
        ]
        self._answers = _Answers(node, 'parameters')
        self._history: History[Reading] = History()

    def update(self, batch: Batch) -> None:
        """Take the next readings."""
        for stamp, values in self._answers.read(batch):
            if self._parameter in values:
                self._history.add(stamp, Reading.of(values[self._parameter]))

    def measure(self, seen: Observation) -> list[Measurement]:
        """Return the extremes, or whether the value was an allowed one."""
        if not self._history.count:
            return [self._answers.explained(missing(check, 0)) for check in self.checks]
        return [
            self._answers.explained(judged(
                check, self._history, seen, self._wrong(check.limit, check.unit),
                number=None if check.unit == 'truth' else Reading.number,
            ))
            for check in self.checks
        ]

    def _wrong(self, limit: Limit, unit: str) -> Callable[[Reading], str]:
        def wrong(read: Reading) -> str:
            if read.value is None:
                return f'{self._parameter} is not declared'
            number = read.number()
            if unit == 'truth':
                fine = read in self._allowed
            elif number is None:
                return f'{self._parameter} = {read}, which is not a number'
            else:
                # Written so that NaN is never fine.
                low = limit.side == 'min'
                fine = number >= limit.value if low else number <= limit.value
            return '' if fine else f'{self._parameter} = {read}'

        return wrong


def _limit(key: str, bound: Any) -> tuple[Limit, str]:
    if key in ('min', 'max'):
        return Limit('min' if key == 'min' else 'max', bound), ''
    return Limit('min', 1.0), 'truth'


def _allowed(limits: ParameterChecks) -> list[Reading]:
    values = limits.one_of if limits.equals is None else [limits.equals]
    return [Reading.of(value) for value in values or ()]
