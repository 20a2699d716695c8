"""Time as integer nanoseconds that know which clock they were read from."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import total_ordering

from robot_qa.errors import ClockDomainError

NS_PER_S = 1_000_000_000


class Clock(Enum):
    """The clock a stamp was read from."""

    ROS = 'ros'
    SYSTEM = 'system'
    STEADY = 'steady'
    UNKNOWN = 'unknown'


@dataclass(frozen=True, order=True)
class Duration:
    """A signed span of time in integer nanoseconds."""

    ns: int

    @classmethod
    def from_seconds(cls, seconds: float) -> Duration:
        """Round ``seconds`` to the nearest nanosecond."""
        return cls(round(seconds * NS_PER_S))

    @property
    def seconds(self) -> float:
        """The span in seconds, for display and for APIs that take nothing else."""
        return self.ns / NS_PER_S

    def __add__(self, other: Duration) -> Duration:
        return Duration(self.ns + other.ns)

    def __sub__(self, other: Duration) -> Duration:
        return Duration(self.ns - other.ns)

    def __neg__(self) -> Duration:
        return Duration(-self.ns)

    def __str__(self) -> str:
        return format_ns(self.ns)


@total_ordering
@dataclass(frozen=True)
class Stamp:
    """A point in time on one clock. Stamps of different clocks cannot be compared."""

    ns: int
    clock: Clock

    def __sub__(self, other: Stamp) -> Duration:
        self._require_same_clock(other)
        return Duration(self.ns - other.ns)

    def __add__(self, span: Duration) -> Stamp:
        return Stamp(self.ns + span.ns, self.clock)

    def __lt__(self, other: Stamp) -> bool:
        self._require_same_clock(other)
        return self.ns < other.ns

    def _require_same_clock(self, other: Stamp) -> None:
        # Two unknown clocks need not be the same one, so they do not compare either.
        if self.clock is not other.clock or self.clock is Clock.UNKNOWN:
            raise ClockDomainError(
                f'a stamp of the {self.clock.value} clock cannot be compared with one of the '
                f'{other.clock.value} clock'
            )


def format_ns(ns: float) -> str:
    """Write a span in the largest unit that keeps it at or above one: ``12.3 ms``."""
    for factor, unit in ((NS_PER_S, 's'), (1_000_000, 'ms'), (1_000, 'us')):
        if abs(ns) >= factor:
            return f'{ns / factor:.4g} {unit}'
    return f'{ns:.4g} ns'
