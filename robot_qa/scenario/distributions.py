"""Random durations in nanoseconds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from numpy.random import Generator


class Distribution(Protocol):
    """Gives one duration after another."""

    def draw(self, generator: Generator) -> float:
        """Return a duration in ns, which may be negative."""


@dataclass(frozen=True)
class Uniform:
    """Every duration from ``low_ns`` to ``high_ns`` is as likely as any other."""

    low_ns: int
    high_ns: int

    def draw(self, generator: Generator) -> float:
        """See Distribution."""
        return generator.uniform(self.low_ns, self.high_ns)


@dataclass(frozen=True)
class Normal:
    """The normal distribution."""

    stddev_ns: int
    mean_ns: int = 0

    def draw(self, generator: Generator) -> float:
        """See Distribution."""
        return generator.normal(self.mean_ns, self.stddev_ns)


@dataclass(frozen=True)
class Lognormal:
    """Never negative, with a long tail, as queues on a network have.

    The logarithm has the standard deviation ``sigma``; one in twenty durations is longer than
    ``median_ns * exp(1.645 * sigma)``.
    """

    median_ns: int
    sigma: float

    def draw(self, generator: Generator) -> float:
        """See Distribution."""
        return generator.lognormal(math.log(self.median_ns), self.sigma)
