"""Services: when they are there, how long their answers take, how many fail, what they say.

Everything comes from the journal ``calls/<service>`` and the batches of responses that the caller
wrote, live or into a recording; a recording without them may hold service events instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from robot_qa import stats
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
from robot_qa.monitors.samples import Samples, quantile_checks
from robot_qa.monitors.service_events import EventCalls, event_topic
from robot_qa.monitors.validity import FieldMonitor, field_judges
from robot_qa.probes.batch import Batch, Observation
from robot_qa.probes.journal import PREFIX, entries
from robot_qa.spec.fields import FieldChecks
from robot_qa.spec.model import TestSpec
from robot_qa.spec.services import Available, Failures, ResponseTime, Service
from robot_qa.timebase import format_ns


def service_monitors(spec: TestSpec, context: Context) -> list[Monitor]:
    """Return the monitors of a spec's ``services:`` block."""
    return [
        monitor
        for name, service in spec.services.items()
        for monitor in _monitors_of(name, service, context)
    ]


class Story:
    """What a journal has told so far about the server itself."""

    def __init__(self, subject: str) -> None:
        self._subject = subject
        self.begun = False
        self.first_ns: int | None = None
        self._remark = ''

    def tell(self, stamp: int, entry: dict[str, Any]) -> None:
        """Take the next entry."""
        event = entry['event']
        if event == 'begin':
            self.begun = True
        elif event == 'available' and self.first_ns is None:
            self.first_ns = stamp
        elif event == 'remark':
            self._remark = entry['text']

    def why_nothing(self) -> str:
        """Say why there is nothing to judge."""
        if not self.begun:
            return f'{self._subject} is called on a live graph only; this recording has no calls'
        if self._remark:
            return self._remark
        if self.first_ns is None:
            return f'{self._subject} had no server'
        return f'no call of {self._subject} was over'


class AvailableMonitor:
    """How long after the start of the observation there was a server."""

    looks_back = True

    def __init__(self, name: str, journal: str, subject: str, available: Available) -> None:
        self.topics = (journal,)
        self.checks = [Check(
            f'{name}.available.within', journal, Limit('max', available.within), 'ns'
        )]
        self._story = Story(subject)

    def update(self, batch: Batch) -> None:
        """Look for the moment."""
        for stamp, entry in entries(batch):
            self._story.tell(stamp, entry)

    def measure(self, seen: Observation) -> list[Measurement]:
        """Return the time, or how long it has been waited for in vain."""
        check, story = self.checks[0], self._story
        if not story.begun:
            return [missing(check, 0, story.why_nothing())]
        if story.first_ns is not None:
            return [exact(check, max(0, story.first_ns - seen.start_ns), 1)]
        waited = seen.end_ns - seen.start_ns
        if waited > check.limit.value:
            text = story.why_nothing()
            return [exact(check, waited, 1, Findings(1, [Evidence(seen.end_ns, waited, text)]))]
        reason = f'not there yet; {format_ns(waited)} of {format_ns(check.limit.value)} passed'
        return [missing(check, 0, reason)]


@dataclass(frozen=True)
class Call:
    """One call that is over: answered, or not within the timeout; ns, system clock."""

    sent_ns: int
    ended_ns: int
    error: str | None


class CallMonitor(Protocol):
    """Judges calls, wherever they were noted."""

    checks: list[Check]

    def take(self, call: Call) -> None:
        """Take the next call."""

    def judge(self, lacking: str) -> list[Measurement]:
        """Measure; ``lacking`` says why there may be nothing."""


class Calls:
    """Hands calls to those who judge them: from the journal or, without one, from events.

    The caller's own calls come first: where it made some, what others asked is not counted.
    """

    def __init__(self, name: str, service: Service, judges: Sequence[CallMonitor]) -> None:
        self.topics = (f'{PREFIX}calls{name}', event_topic(name))
        self.checks = [check for judge in judges for check in judge.checks]
        self._judges = judges
        self._story = Story(name)
        self._events = EventCalls(service.timeout)

    def update(self, batch: Batch) -> None:
        """Take entries or events."""
        if batch.topic == self.topics[1]:
            self._events.update(batch)
            return
        for stamp, entry in entries(batch):
            self._story.tell(stamp, entry)
            if entry['event'] == 'call':
                call = Call(entry['sent_ns'], entry['ended_ns'], entry['error'])
                for judge in self._judges:
                    judge.take(call)

    def measure(self, seen: Observation) -> list[Measurement]:
        """Return the measurements of all judges."""
        if not self._story.begun:
            for sent, ended, error in self._events.over(seen.end_ns):
                for judge in self._judges:
                    judge.take(Call(sent, ended, error))
        lacking = self._story.why_nothing()
        return [measured for judge in self._judges for measured in judge.judge(lacking)]


class ResponseTimes:
    """How long calls took; one without an answer took at least as long as it was waited for."""

    def __init__(self, name: str, topic: str, limits: ResponseTime, context: Context) -> None:
        self.checks, self._quantiles = quantile_checks(f'{name}.response_time', topic, limits)
        self._confidence = context.confidence
        self._samples = Samples()

    def take(self, call: Call) -> None:
        """Keep the time of a call; one that found no server took none."""
        if call.error != 'unavailable':
            self._samples.extend(
                np.array([call.ended_ns - call.sent_ns]), np.array([call.ended_ns])
            )

    def judge(self, lacking: str) -> list[Measurement]:
        """Return quantiles and extremes in ns."""
        if not len(self._samples):
            return [missing(check, 0, lacking) for check in self.checks]
        return self._samples.measure(self.checks, self._quantiles, self._confidence)


class FailureShare:
    """The share of calls that were not answered in time.

    Failures come in a row when a server hangs or is gone, so the trials are discounted by the
    mean length of a row, as losses are. A limit of zero is hard.
    """

    def __init__(self, name: str, topic: str, failures: Failures, context: Context) -> None:
        self.checks = [Check(f'{name}.failures.max', topic, Limit('max', failures.max), 'ratio')]
        self._confidence = context.confidence
        self._calls = 0
        self._rows = 0
        self._in_row = False
        self._found = Findings()

    def take(self, call: Call) -> None:
        """Count a call."""
        self._calls += 1
        if call.error is not None:
            text = 'there was no server' if call.error == 'unavailable' else (
                f'not answered within {format_ns(call.ended_ns - call.sent_ns)}'
            )
            self._found = self._found.with_one(Evidence(call.ended_ns, call.error, text))
            self._rows += not self._in_row
        self._in_row = call.error is not None

    def judge(self, lacking: str) -> list[Measurement]:
        """Return the share, with its bounds."""
        check, calls, failed = self.checks[0], self._calls, self._found.total
        if not calls:
            return [missing(check, 0, lacking)]
        if check.limit.value == 0:
            return [exact(check, failed / calls, calls, self._found)]
        effective = calls / max(1.0, failed / max(1, self._rows))
        share = stats.proportion(failed, calls, self._confidence, effective)
        needed = stats.samples_for_share(share.value, check.limit.value, self._confidence)
        return [Measurement(
            check, share.value, share.low, share.high, calls, effective,
            None if needed is None else int(np.ceil(needed * calls / effective)),
            tuple(self._found.kept), failed,
        )]


class AnswerMonitor:
    """One field of every response or result, judged like the field of a message."""

    def __init__(self, fields: FieldMonitor, journal: str, subject: str) -> None:
        self.topics = (*fields.topics, journal)
        self.checks = fields.checks
        self._fields = fields
        self._story = Story(subject)

    def update(self, batch: Batch) -> None:
        """Judge responses; from the journal, learn why there may be none."""
        if batch.topic != self.topics[-1]:
            self._fields.update(batch)
            return
        for stamp, entry in entries(batch):
            self._story.tell(stamp, entry)

    def measure(self, seen: Observation) -> list[Measurement]:
        """Return what the field came to."""
        return [
            measured if measured.count else replace(measured, reason=self._story.why_nothing())
            for measured in self._fields.measure(seen)
        ]


def answer_monitors(
    fields: dict[str, FieldChecks], name: str, topics: tuple[str, str], subject: str,
    context: Context,
) -> list[Monitor]:
    """Return a monitor per field; ``topics`` are that of the answers and the journal."""
    answers, journal = topics
    return [
        AnswerMonitor(
            FieldMonitor(answers, path, field_judges(answers, f'{name}.{path}', limits), context),
            journal, subject,
        )
        for path, limits in fields.items()
    ]


def _monitors_of(subject: str, service: Service, context: Context) -> list[Monitor]:
    name, journal = f'services.{subject}', f'{PREFIX}calls{subject}'
    monitors: list[Monitor] = []
    if service.available is not None:
        monitors.append(AvailableMonitor(name, journal, subject, service.available))
    judges: list[CallMonitor] = []
    if service.response_time is not None:
        judges.append(ResponseTimes(name, journal, service.response_time, context))
    if service.failures is not None:
        judges.append(FailureShare(name, journal, service.failures, context))
    if judges:
        monitors.append(Calls(subject, service, judges))
    topics = (f'{PREFIX}responses{subject}', journal)
    return monitors + answer_monitors(
        service.response, f'{name}.response', topics, subject, context
    )
