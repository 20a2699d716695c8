"""Values with the time they were received at, and quantile limits on them."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from robot_qa import stats
from robot_qa.monitors.base import (
    EVIDENCE_KEPT,
    Check,
    Column,
    Evidence,
    Findings,
    Limit,
    Measurement,
    exact,
)
from robot_qa.probes.batch import Int64s
from robot_qa.timebase import format_ns


class QuantileLimits(Protocol):
    """The limits of a block such as ``age: {p95: 20 ms, p99: 50 ms, max: 1 s}``."""

    @property
    def quantiles(self) -> dict[str, tuple[float, int]]:
        """Key to quantile and its limit in ns."""

    @property
    def max(self) -> int | None:
        """The hard upper limit in ns."""


def quantile_checks(
    name: str, topic: str, limits: QuantileLimits
) -> tuple[list[Check], dict[str, float]]:
    """Return the checks of a block and, by the name of the check, the quantile it is about."""
    checks, quantiles = [], {}
    for key, (q, limit) in limits.quantiles.items():
        checks.append(Check(f'{name}.{key}', topic, Limit('max', limit), 'ns'))
        quantiles[f'{name}.{key}'] = q
    for side in ('min', 'max'):
        value = getattr(limits, side, None)
        if value is not None:
            side_limit = Limit('min' if side == 'min' else 'max', value)
            checks.append(Check(f'{name}.{side}', topic, side_limit, 'ns'))
    return checks, quantiles


class Samples:
    """Values in ns; of the largest and the smallest also when they were received."""

    def __init__(self) -> None:
        self._values = Column()
        self._largest = Extremes(1)
        self._smallest = Extremes(-1)

    def __len__(self) -> int:
        return len(self._values)

    @property
    def values(self) -> Int64s:
        """All values so far, shape (n,)."""
        return self._values.values

    def extend(self, values: Int64s, received: Int64s) -> None:
        """Append values and the times at which they were received, both of shape (n,)."""
        self._values.extend(values)
        self._largest.update(values, received)
        self._smallest.update(values, received)

    def measure(
        self, checks: list[Check], quantiles: dict[str, float], confidence: stats.Confidence,
        center: int | None = None,
    ) -> list[Measurement]:
        """Measure quantiles and extremes of the values, which must not be empty.

        With a ``center``, of their absolute distance from it.
        """
        values = self.values if center is None else np.abs(self.values - center)
        return [
            self._quantile(check, quantiles[check.name], values, confidence, center)
            if check.name in quantiles else self._extreme(check, values, center)
            for check in checks
        ]

    def _extreme(self, check: Check, values: Int64s, center: int | None) -> Measurement:
        value = values.min() if check.limit.side == 'min' else values.max()
        found = self._beyond(check.limit, values, center)
        return exact(check, int(value), len(values), found)

    def _quantile(
        self, check: Check, q: float, values: Int64s, confidence: stats.Confidence,
        center: int | None,
    ) -> Measurement:
        worth = stats.effective_count(values, q, check.limit.value)
        estimate = stats.quantile(values, q, confidence, worth)
        found = self._beyond(check.limit, values, center)
        count = len(values)
        needed = stats.samples_for_quantile(found.total / count, q, confidence)
        return Measurement(
            check, estimate.value, estimate.low, estimate.high, count, worth,
            None if needed is None else int(np.ceil(needed * count / worth)),
            tuple(found.kept), found.total,
        )

    def _beyond(self, limit: Limit, values: Int64s, center: int | None) -> Findings:
        """Return how many values are beyond the limit, with the worst of them as evidence."""
        total = int((values < limit.value if limit.side == 'min' else values > limit.value).sum())
        found = {
            (stamp, value if center is None else abs(value - center))
            for ends in (self._largest, self._smallest) for value, stamp in ends.pairs()
        }
        excess = -1 if limit.side == 'min' else 1
        beyond = [one for one in found if excess * (one[1] - limit.value) > 0]
        worst = sorted(beyond, key=lambda one: (-excess * one[1], one[0]))[:EVIDENCE_KEPT]
        kept = [Evidence(stamp, value, format_ns(value)) for stamp, value in sorted(worst)]
        return Findings(total, kept)


class Extremes:
    """The few largest (``sign`` 1) or smallest (-1) values, the earlier first among equals."""

    def __init__(self, sign: int) -> None:
        self._sign = sign
        self._values: Int64s = np.empty(0, np.int64)
        self._stamps: Int64s = np.empty(0, np.int64)

    def update(self, values: Int64s, stamps: Int64s) -> None:
        """Take more values and their stamps, both of shape (n,)."""
        if len(self._values) == EVIDENCE_KEPT:
            better = self._sign * values > self._sign * self._values[-1]
            values, stamps = values[better], stamps[better]
        if not len(values):
            return
        values = np.concatenate((self._values, values))
        stamps = np.concatenate((self._stamps, stamps))
        order = np.argsort(-self._sign * values, kind='stable')[:EVIDENCE_KEPT]
        self._values, self._stamps = values[order], stamps[order]

    def pairs(self) -> list[tuple[int, int]]:
        """Return (value, stamp) of what was kept."""
        return list(zip(self._values.tolist(), self._stamps.tolist(), strict=True))
