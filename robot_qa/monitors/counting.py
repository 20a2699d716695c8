"""What was lost, how much came, and whether header stamps move forward."""

from __future__ import annotations

import numpy as np

from robot_qa import stats
from robot_qa.monitors.base import (
    Check,
    Context,
    Findings,
    Limit,
    Measurement,
    count_limits,
    exact,
    missing,
)
from robot_qa.monitors.stamps import HeaderStamps
from robot_qa.probes.batch import Batch, Observation
from robot_qa.spec.fields import CountLimits
from robot_qa.spec.topics import Loss
from robot_qa.timebase import NS_PER_S

NO_SEQUENCE = 'the samples carry no sequence numbers per publisher, so losses cannot be counted'


class LossMonitor:
    """The share of messages that were sent and did not reach this host.

    Gaps in each publisher's own sequence, less what the monitor itself overran. Losses come in
    bursts, so the trials are discounted by the mean length of a burst (the design effect of
    clusters; L. Kish, "Survey Sampling", 1965). A limit of zero is hard: one loss fails.
    """

    def __init__(self, topic: str, loss: Loss, context: Context) -> None:
        self.topics = (topic,)
        self.checks = [Check(f'topics.{topic}.loss.max', topic, Limit('max', loss.max), 'ratio')]
        self._confidence = context.confidence
        self._last: dict[int, int] = {}
        self._received = 0
        self._lost = 0
        self._bursts = Findings()
        self._lacking = ''

    def update(self, batch: Batch) -> None:
        """Count the sequence gaps of the batch."""
        if batch.sequence is None:
            self._lacking = NO_SEQUENCE
            return
        self._received += len(batch)
        lost = np.zeros(len(batch), np.int64)
        for publisher in np.unique(batch.publisher).tolist():
            rows = np.flatnonzero(batch.publisher == publisher)
            sequence = batch.sequence[rows]
            before = self._last.get(publisher, int(sequence[0]) - 1)
            # A number that does not grow is a late or repeated message, not a loss; the highest
            # so far counts.
            highest = np.maximum.accumulate(np.concatenate(([before], sequence)))
            self._last[publisher] = int(highest[-1])
            lost[rows] = np.maximum(np.diff(highest) - 1, 0)
        self._lost += int(lost.sum())
        self._bursts.add(
            np.flatnonzero(lost), batch.received_ns,
            lambda i: (int(lost[i]), f'{lost[i]} lost before this one'),
        )

    def measure(self, seen: Observation) -> list[Measurement]:
        """Return the share lost, with its bounds."""
        check = self.checks[0]
        if self._lacking or not self._received:
            return [missing(check, self._received, self._lacking)]
        lost = max(0, self._lost - seen.overruns.get(check.topic, 0))
        found = self._bursts if lost else Findings()
        sent = self._received + lost
        if check.limit.value == 0:
            return [exact(check, lost / sent, sent, found)]
        effective = sent / max(1.0, lost / max(1, found.total))
        share = stats.proportion(lost, sent, self._confidence, effective)
        needed = stats.samples_for_share(share.value, check.limit.value, self._confidence)
        return [Measurement(
            check, share.value, share.low, share.high, sent, effective,
            None if needed is None else int(np.ceil(needed * sent / effective)),
            tuple(found.kept), lost,
        )]


class CountMonitor:
    """How many messages came in the whole observation."""

    def __init__(self, topic: str, limits: CountLimits) -> None:
        self.topics = (topic,)
        self.checks = [
            Check(
                f'topics.{topic}.{name}', topic, limit, 'messages', at_end=limit.side != 'max'
            )
            for name, limit in count_limits('expect_count', limits)
        ]
        self._count = 0

    def update(self, batch: Batch) -> None:
        """Count the batch."""
        self._count += len(batch)

    def measure(self, seen: Observation) -> list[Measurement]:
        """Return the count: zero is a measurement here, not a lack of one."""
        return [exact(check, self._count, max(1, self._count)) for check in self.checks]


class StampsMonitor:
    """Whether each publisher's header stamps are set and move forward."""

    def __init__(self, topic: str, strictly: bool, context: Context) -> None:
        self.topics = (topic,)
        self.checks = [Check(f'topics.{topic}.stamps', topic, Limit('max', 0), 'violations')]
        self._least_step = 1 if strictly else 0
        self._header = HeaderStamps(context)
        self._last: dict[int, int] = {}
        self._count = 0
        self._found = Findings()

    def update(self, batch: Batch) -> None:
        """Compare each stamp with the one before it from the same publisher."""
        stamps, rows = self._header.read(batch)
        self._count += len(stamps)
        publishers = batch.publisher[rows]
        steps = np.empty(len(stamps), np.int64)
        for publisher in np.unique(publishers).tolist():
            own = np.flatnonzero(publishers == publisher)
            values = stamps[own]
            before = self._last.get(publisher, int(values[0]) - self._least_step)
            steps[own] = np.diff(np.concatenate(([before], values)))
            self._last[publisher] = int(values[-1])
        self._found.add(
            np.flatnonzero((steps < self._least_step) | (stamps == 0)), batch.received_ns[rows],
            lambda i: _describe(int(stamps[i]), int(steps[i])),
        )

    def measure(self, seen: Observation) -> list[Measurement]:
        """Return how many stamps were wrong."""
        check = self.checks[0]
        if not self._count:
            return [missing(check, 0)]
        return [exact(check, self._found.total, self._count, self._found)]


def _describe(stamp: int, step: int) -> tuple[int, str]:
    if stamp == 0:
        return stamp, 'the stamp is zero: it was never set'
    moved = 'did not move' if step == 0 else f'went back by {-step / NS_PER_S:.6g} s'
    return stamp, f'stamp {stamp // NS_PER_S}.{stamp % NS_PER_S:09d} {moved}'
