"""Regularity of a topic: rate over a window, the worst gap, jitter."""

from __future__ import annotations

import numpy as np

from robot_qa.monitors.base import (
    Check,
    Context,
    Evidence,
    Findings,
    Limit,
    Measurement,
    exact,
    missing,
)
from robot_qa.monitors.samples import Samples, quantile_checks
from robot_qa.monitors.stamps import Basis, BasisStamps, Intervals
from robot_qa.probes.batch import Batch, Int64s, Observation
from robot_qa.spec.timing import Gap, Jitter, Rate
from robot_qa.timebase import NS_PER_S, format_ns

TOO_FEW = 'one message gives no interval'


class RateMonitor:
    """The mean rate of the last window, at every message: hard limits on its extremes.

    The rate at a message is the number of intervals that the window before it holds, divided by
    the time that these intervals took, so no message is half counted at the window's border.
    """

    def __init__(self, topic: str, rate: Rate, basis: Basis, context: Context) -> None:
        self.topics = (topic,)
        self._low, self._high = rate.min, rate.max
        bounds = (Limit('min', rate.min or 0.0), Limit('max', rate.max or 0.0))
        self.checks = [
            Check(f'topics.{topic}.rate.{limit.side}', topic, limit, 'Hz')
            for limit in bounds if limit.value
        ]
        self._window = rate.window
        self._stamps = BasisStamps(basis, context)
        self._recent: Int64s = np.empty(0, np.int64)
        self._first: int | None = None
        self._windows = 0
        self._was_reset = False
        self._messages = 0
        self._lowest, self._highest = np.inf, -np.inf
        self._found = {'min': Findings(), 'max': Findings()}
        self._in_violation = {'min': False, 'max': False}

    def update(self, batch: Batch) -> None:
        """Slide the window over the batch."""
        self._messages += len(batch)
        stamps, rows = self._stamps.read(batch)
        if not len(stamps):
            return
        if len(self._recent) and stamps[0] < self._recent[-1] - self._window:
            # The stamps stepped back further than a window: a simulator was reset. Start anew.
            self._recent, self._first = np.empty(0, np.int64), None
            self._was_reset = True
        known = np.maximum.accumulate(np.concatenate((self._recent, stamps)))
        if self._first is None:
            self._first = int(known[0])
        self._judge(known, len(known) - len(stamps), batch.received_ns[rows])
        keep = int(np.searchsorted(known, known[-1] - self._window))
        # One more than the window holds, for a message after a silence longer than the window.
        self._recent = known[max(0, min(keep, len(known) - 1)):]

    def _judge(self, known: Int64s, new: int, received: Int64s) -> None:
        ends = np.arange(new, len(known))
        full = known[ends] - (self._first or 0) >= self._window
        ends, received = ends[full], received[full]
        starts = np.searchsorted(known, known[ends] - self._window)
        starts = np.minimum(starts, ends - 1)
        spans = known[ends] - known[starts]
        moving = spans > 0
        ends, starts, spans, received = (a[moving] for a in (ends, starts, spans, received))
        if not len(ends):
            return
        rates = (ends - starts) * NS_PER_S / spans
        self._windows += len(rates)
        self._lowest = min(self._lowest, float(rates.min()))
        self._highest = max(self._highest, float(rates.max()))
        for side, limit in (('min', self._low), ('max', self._high)):
            if limit is None:
                continue
            broken = rates < limit if side == 'min' else rates > limit
            # One stall breaks many overlapping windows: keep the first of each episode.
            before = np.concatenate(([self._in_violation[side]], broken[:-1]))
            self._in_violation[side] = bool(broken[-1])
            self._found[side].add(
                np.flatnonzero(broken & ~before), received,
                lambda i: (float(rates[i]), f'{rates[i]:.3g} Hz over the last window'),
            )

    def measure(self, seen: Observation) -> list[Measurement]:
        """Return the lowest and the highest windowed rate, the silence at the end included."""
        return [self._measure(check, seen, ended=False) for check in self.checks]

    def measure_at_end(self, seen: Observation) -> list[Measurement]:
        """Return the same, now that no message can fill a window any more."""
        return [self._measure(check, seen, ended=True) for check in self.checks]

    def _measure(self, check: Check, seen: Observation, *, ended: bool) -> Measurement:
        if self._stamps.lacking:
            return missing(check, self._messages, self._stamps.lacking)
        side = check.limit.side
        found = self._found['min' if side == 'min' else 'max']
        if side == 'min':
            at_most = self._rate_at_most(seen)
            if at_most is not None and at_most < min(self._lowest, check.limit.value):
                text = f'at most {at_most:.3g} Hz in the last window of the run'
                tail = Evidence(seen.end_ns, at_most, text)
                return exact(check, at_most, max(1, self._windows), found.with_one(tail))
        if not self._windows and ended and (unfilled := self._unfilled(seen)) is not None:
            return exact(check, unfilled, 1, found)
        if not self._windows:
            reason = f'no full window of {format_ns(self._window)}' if self._messages else ''
            return missing(check, self._messages, reason)
        value = self._lowest if side == 'min' else self._highest
        return exact(check, value, self._windows, found)

    def _unfilled(self, seen: Observation) -> float | None:
        """Return the rate over a window that the observation has, but its messages do not fill.

        That is so where it is hardly longer than the window: no two messages are that far apart.
        What came late does not count before it came, as in longer observations.
        """
        watched, count = self._stamps.watched_ns(seen), len(self._recent)
        if count < 2 or self._was_reset or not self._window <= watched < 2 * self._window:
            return None
        first, last = int(self._recent[0]), int(self._recent[-1])
        since = last - first + self._stamps.silence_ns(seen)
        if last == first or since < self._window / 2:
            return None
        return min((count - 1) * NS_PER_S / (last - first), count * NS_PER_S / since)

    def _rate_at_most(self, seen: Observation) -> float | None:
        """Bound the rate at the end from above, as if the next message came just then."""
        silence = self._stamps.silence_ns(seen)
        if not len(self._recent):
            watched = seen.end_ns - seen.start_ns
            return 0.0 if self._messages == 0 and watched >= self._window else None
        end = int(self._recent[-1]) + silence
        if end - (self._first or 0) < self._window:
            return None
        if silence >= self._window:
            return NS_PER_S / silence if silence else None
        start = int(np.searchsorted(self._recent, end - self._window))
        if start >= len(self._recent):
            return None
        span = end - int(self._recent[start])
        return (len(self._recent) - start) * NS_PER_S / span if span > 0 else None


class GapMonitor:
    """The longest time without a message, the silence up to the end of the run included."""

    looks_back = True

    def __init__(self, topic: str, gap: Gap, basis: Basis, context: Context) -> None:
        self.topics = (topic,)
        self.checks = [Check(f'topics.{topic}.gap.max', topic, Limit('max', gap.max), 'ns')]
        self._limit = gap.max
        self._stamps = BasisStamps(basis, context)
        self._intervals = Intervals()
        self._messages = 0
        self._count = 0
        self._worst = 0
        self._found = Findings()

    def update(self, batch: Batch) -> None:
        """Take the intervals of the batch."""
        self._messages += len(batch)
        stamps, rows = self._stamps.read(batch)
        gaps = self._intervals.of(stamps, batch.publisher[rows])
        if not len(gaps):
            return
        self._count += len(gaps)
        self._worst = max(self._worst, int(gaps.max()))
        received = batch.received_ns[rows][len(stamps) - len(gaps):]
        self._found.add(
            np.flatnonzero(gaps > self._limit), received,
            lambda i: (float(gaps[i]), f'{format_ns(gaps[i])} since the message before'),
        )

    def measure(self, seen: Observation) -> list[Measurement]:
        """Return the longest gap."""
        check = self.checks[0]
        if self._stamps.lacking or not self._messages:
            return [missing(check, self._messages, self._stamps.lacking)]
        silence = self._stamps.silence_ns(seen)
        if silence > max(self._limit, self._worst):
            tail = Evidence(seen.end_ns, silence, f'silent for the last {format_ns(silence)}')
            return [exact(check, silence, self._count + 1, self._found.with_one(tail))]
        if not self._count:
            return [missing(check, self._messages, TOO_FEW)]
        return [exact(check, self._worst, self._count, self._found)]


class JitterMonitor:
    """How far each interval is from the period: the one declared, else the median interval."""

    def __init__(self, topic: str, jitter: Jitter, basis: Basis, context: Context) -> None:
        self.topics = (topic,)
        self.checks, self._quantiles = quantile_checks(f'topics.{topic}.jitter', topic, jitter)
        self._period = jitter.period
        self._confidence = context.confidence
        self._stamps = BasisStamps(basis, context)
        self._intervals = Intervals()
        self._samples = Samples()
        self._messages = 0

    def update(self, batch: Batch) -> None:
        """Keep the intervals of the batch."""
        self._messages += len(batch)
        stamps, rows = self._stamps.read(batch)
        intervals = self._intervals.of(stamps, batch.publisher[rows])
        received = batch.received_ns[rows][len(stamps) - len(intervals):]
        self._samples.extend(intervals, received)

    def measure(self, seen: Observation) -> list[Measurement]:
        """Return quantiles of the absolute deviation from the period, in ns."""
        if self._stamps.lacking or not len(self._samples):
            reason = self._stamps.lacking or (TOO_FEW if self._messages else '')
            return [missing(check, self._messages, reason) for check in self.checks]
        intervals = self._samples.values
        period = self._period or int(np.median(intervals))
        return self._samples.measure(self.checks, self._quantiles, self._confidence, period)
