"""What a monitor is, what it is asked, and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from robot_qa.messages.typestore import TypeStore
from robot_qa.probes.batch import Batch, Int64s, Observation
from robot_qa.spec.fields import CountLimits
from robot_qa.spec.model import TestSpec
from robot_qa.stats import Confidence
from robot_qa.timebase import NS_PER_S

EVIDENCE_KEPT = 5
CLOCK_TOPIC = '/clock'


@dataclass(frozen=True)
class Limit:
    """The bound that a measured value must keep, in the unit of its measurement."""

    side: Literal['min', 'max', 'exactly']
    value: float


@dataclass(frozen=True)
class Check:
    """One expectation: its dotted name in the spec, the topic that it is about, its limit.

    ``at_end`` marks what only the end can tell, such as a count that still grows.
    """

    name: str
    topic: str
    limit: Limit
    unit: str
    at_end: bool = False


@dataclass(frozen=True)
class Evidence:
    """One sample that broke a limit; ``stamp_ns`` is when it was received (system clock)."""

    stamp_ns: int
    value: float | str | None
    text: str


@dataclass(frozen=True)
class Measurement:
    """What was measured for one check.

    ``low`` and ``high`` bound the value from both sides; for an exact value (the worst gap, a
    count) they equal it; ``None`` means that too few samples give no such bound. ``needed`` is
    how many samples in all would decide. ``reason`` says why a value could not be had, or what
    else there is to know about one.
    """

    check: Check
    value: float | None
    low: float | None
    high: float | None
    count: int
    effective_count: float | None = None
    needed: int | None = None
    evidence: tuple[Evidence, ...] = ()
    violations: int = 0
    reason: str = ''


def exact(
    check: Check, value: float, count: int, found: Findings | None = None
) -> Measurement:
    """Return the measurement of a value that needs no bounds."""
    evidence = tuple(found.kept) if found else ()
    violations = found.total if found else 0
    return Measurement(
        check, value, value, value, count, evidence=evidence, violations=violations
    )


def count_limits(key: str, limits: CountLimits) -> list[tuple[str, Limit]]:
    """Return a count's bounds, each with its key in the spec."""
    if isinstance(limits, int):
        return [(key, Limit('exactly', limits))]
    bounds: list[tuple[Literal['min', 'max'], int | None]] = [
        ('min', limits.min), ('max', limits.max)
    ]
    return [(f'{key}.{side}', Limit(side, value)) for side, value in bounds if value is not None]


def missing(check: Check, count: int, reason: str = '') -> Measurement:
    """Return the measurement of a check that could not be evaluated."""
    return Measurement(check, None, None, None, count, reason=reason)


@dataclass
class Findings:
    """Counts violations and keeps the first few as evidence."""

    total: int = 0
    kept: list[Evidence] = field(default_factory=list)

    def add(
        self, indices: Int64s, stamps: Int64s, describe: Callable[[int], tuple[float | str, str]]
    ) -> None:
        """Note the samples at ``indices`` of a batch; ``describe(i)`` gives value and text."""
        self.total += len(indices)
        for index in indices[:EVIDENCE_KEPT - len(self.kept)].tolist():
            value, text = describe(index)
            self.kept.append(Evidence(int(stamps[index]), value, text))

    def with_one(self, evidence: Evidence) -> Findings:
        """Return a copy with one more, leaving these findings as they are."""
        return Findings(self.total + 1, [*self.kept, evidence][:EVIDENCE_KEPT])


class Column:
    """A growing column of numbers: appending costs the same however long it is."""

    def __init__(self) -> None:
        self._room: NDArray[np.int64] = np.empty(256, np.int64)
        self._count = 0

    def extend(self, values: Int64s) -> None:
        """Append ``values`` of shape (n,)."""
        needed = self._count + len(values)
        if needed > len(self._room):
            grown = np.empty(max(needed, 9 * len(self._room) // 8), np.int64)
            grown[:self._count] = self._room[:self._count]
            self._room = grown
        self._room[self._count:needed] = values
        self._count = needed

    def __len__(self) -> int:
        return self._count

    @property
    def values(self) -> Int64s:
        """A view of what is there; valid until the next `extend`."""
        return self._room[:self._count]


class SimulatedClock:
    """What ``/clock`` said and when it was received: system time to simulated time."""

    def __init__(self) -> None:
        self.received = Column()
        self.simulated = Column()
        # How much has passed since the first tick: a clock that is set back takes none away.
        self.elapsed = Column()

    def update(self, batch: Batch) -> None:
        """Take a batch of rosgraph_msgs/msg/Clock (sec int32, nanosec uint32)."""
        seconds = batch.payloads.gather(4, '<i4').astype(np.int64)
        nanoseconds = batch.payloads.gather(8, '<u4').astype(np.int64)
        stamps = seconds * NS_PER_S + nanoseconds
        if not len(stamps):
            return
        before = self.simulated.values[-1] if len(self.simulated) else stamps[0]
        passed = self.elapsed.values[-1] if len(self.elapsed) else 0
        steps = np.maximum(np.diff(stamps, prepend=before), 0)
        self.received.extend(batch.received_ns)
        self.simulated.extend(stamps)
        self.elapsed.extend(passed + np.cumsum(steps))

    def covers(self, received_ns: int) -> bool:
        """Tell whether a tick was received after that time, so that none can come before it."""
        return len(self.received) > 0 and int(self.received.values[-1]) > received_ns

    def at(self, received_ns: Int64s) -> tuple[Int64s, NDArray[np.bool_]]:
        """Return simulated time at each system time, and whether any tick came before it."""
        index = np.searchsorted(self.received.values, received_ns, side='right') - 1
        known = index >= 0
        if not known.any():
            return np.zeros_like(received_ns), known
        return self.simulated.values[np.maximum(index, 0)], known


@dataclass(frozen=True)
class Context:
    """What monitors of one run share. ``clock`` is None where time is not simulated."""

    store: TypeStore
    clock: SimulatedClock | None
    confidence: Confidence


class Monitor(Protocol):
    """Takes the batches of its topics and measures its checks.

    One that judges how things stand rather than each message, so that what was said before it
    was made matters to it, has the attribute ``looks_back = True``. One to which measuring is
    costly may have ``measure_at_end(seen)``, which is asked instead of ``measure`` at the end.
    One of perception may have ``breakdowns()``, what was taken for what, for the report.
    """

    @property
    def topics(self) -> Sequence[str]:
        """The topics whose batches it takes."""

    @property
    def checks(self) -> Sequence[Check]:
        """What it answers for."""

    def update(self, batch: Batch) -> None:
        """Take the next batch of one of the topics."""

    def measure(self, seen: Observation) -> list[Measurement]:
        """Return one measurement per check, from all that came so far."""


MonitorFactory = Callable[[TestSpec, Context], list[Monitor]]
