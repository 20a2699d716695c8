"""How old a message is when it arrives, and how long it was on its way.

What arrives before it was sent says that two clocks disagree, by an amount that nobody knows: then
no other latency between them can be trusted either, and none is judged, but by a ``min``, which
is about just that. They are kept, counted and shown. A clock that is behind shows in no sample:
where the publisher's host told its time, `robot_qa.monitors.clocks` judges by it.
"""

from __future__ import annotations

from dataclasses import replace

from robot_qa.monitors import clocks
from robot_qa.monitors.base import Context, Measurement, missing
from robot_qa.monitors.clocks import Clocks, judged_despite
from robot_qa.monitors.samples import QuantileLimits, Samples, quantile_checks
from robot_qa.monitors.stamps import NO_SOURCE_TIME, HeaderStamps
from robot_qa.probes.batch import Batch, Int64s, Observation
from robot_qa.timebase import format_ns

NO_CLOCK = 'no tick of /clock came before the messages, so simulated time is not known'


class AgeMonitor:
    """Reception minus ``header.stamp``, on the clock that the header is stamped with.

    Under simulation the time of reception is that of the last ``/clock`` tick before it, so the
    age is no finer than the clock's period. A batch waits until a later tick has come: whether
    the tick or the message is drained first must not change the result.
    """

    def __init__(self, topic: str, age: QuantileLimits, context: Context) -> None:
        self.topics = (topic, clocks.JOURNAL) if context.clock is None else (topic,)
        self._clocks = Clocks()
        self.checks, self._quantiles = quantile_checks(f'topics.{topic}.age', topic, age)
        self._context = context
        self._header = HeaderStamps(context)
        self._samples = Samples()
        self._waiting: list[tuple[Int64s, Int64s]] = []
        self._messages = 0
        self._early = 0

    def update(self, batch: Batch) -> None:
        """Take the ages of the batch, or what the journal says of clocks."""
        if batch.topic == clocks.JOURNAL:
            self._clocks.update(batch)
            return
        self._messages += len(batch)
        stamps, rows = self._header.read(batch)
        received = batch.received_ns[rows]
        clock = self._context.clock
        if clock is None:
            self._samples.extend(received - stamps, received)
            return
        if len(stamps):
            self._waiting.append((stamps, received))
        while self._waiting and clock.covers(int(self._waiting[0][1].max())):
            self._settle(*self._waiting.pop(0), self._samples)

    def _settle(self, stamps: Int64s, received: Int64s, into: Samples) -> None:
        assert self._context.clock is not None
        simulated, known = self._context.clock.at(received)
        self._early += int((~known).sum())
        into.extend((simulated - stamps)[known], received[known])

    def measure(self, seen: Observation) -> list[Measurement]:
        """Return quantiles and extremes of the age in ns; negative where clocks disagree."""
        while self._waiting and self._context.clock is not None:
            # Nothing later has come, so the last tick is the best there is.
            self._settle(*self._waiting.pop(0), self._samples)
        if not len(self._samples):
            reason = NO_CLOCK if self._early else ''
            return [missing(check, self._messages, reason) for check in self.checks]
        measured = self._samples.measure(self.checks, self._quantiles, self._context.confidence)
        if self._context.clock is not None:
            return measured  # below zero by less than a tick: the message was faster than that
        return [
            _trusted(one, self._samples, 'stamp it', self._clocks, self.topics[0])
            for one in measured
        ]


class TransportMonitor:
    """Reception minus sending: both system clocks, of our host and of the publisher's."""

    def __init__(self, topic: str, transport: QuantileLimits, context: Context) -> None:
        self.topics = (topic, clocks.JOURNAL)
        name = f'topics.{topic}.transport'
        self.checks, self._quantiles = quantile_checks(name, topic, transport)
        self._confidence = context.confidence
        self._samples = Samples()
        self._lacking = ''
        self._clocks = Clocks()

    def update(self, batch: Batch) -> None:
        """Take the transport times of the batch, or what the journal says of clocks."""
        if batch.topic == clocks.JOURNAL:
            self._clocks.update(batch)
        elif batch.source_ns is None:
            self._lacking = NO_SOURCE_TIME
        else:
            self._samples.extend(batch.received_ns - batch.source_ns, batch.received_ns)

    def measure(self, seen: Observation) -> list[Measurement]:
        """Return quantiles and extremes of the transport time in ns."""
        if not len(self._samples):
            return [missing(check, 0, self._lacking) for check in self.checks]
        measured = self._samples.measure(self.checks, self._quantiles, self._confidence)
        return [
            _trusted(one, self._samples, 'send it', self._clocks, self.topics[0])
            for one in measured
        ]


def _trusted(
    measured: Measurement, samples: Samples, deed: str, told: Clocks, topic: str
) -> Measurement:
    """Return a measurement, or where clocks disagree one without a value that says so."""
    doubt = told.here(topic)
    least = int(samples.values.min())
    if least >= 0 or measured.check.limit.side == 'min':
        return judged_despite(measured, doubt)
    count = int((samples.values < 0).sum())
    found = (
        f'{count} of {len(samples)} messages arrived before their publisher says to {deed}, by up '
        f'to {format_ns(-least)}: its clock and that of this host disagree'
    )
    return replace(measured, value=None, low=None, high=None, violations=0,
                   reason=clocks.clauses([found, doubt.blame or doubt.note]))
