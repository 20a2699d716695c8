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
    """Values in ns and when each was received."""

    def __init__(self) -> None:
        self._values = Column()
        self._received = Column()

    def __len__(self) -> int:
        return len(self._values)

    @property
    def values(self) -> Int64s:
        """All values so far, shape (n,)."""
        return self._values.values

    def extend(self, values: Int64s, received: Int64s) -> None:
        """Append values and the times at which they were received, both of shape (n,)."""
        self._values.extend(values)
        self._received.extend(received)

    def measure(
        self,
        checks: list[Check],
        quantiles: dict[str, float],
        confidence: float,
        values: Int64s | None = None,
    ) -> list[Measurement]:
        """Measure quantiles and extremes of ``values`` (by default the kept ones; not empty)."""
        if values is None:
            values = self.values
        return [
            self._quantile(check, quantiles[check.name], values, confidence)
            if check.name in quantiles else self._extreme(check, values)
            for check in checks
        ]

    def _extreme(self, check: Check, values: Int64s) -> Measurement:
        value = values.min() if check.limit.side == 'min' else values.max()
        return exact(check, int(value), len(values), self._beyond(check.limit, values))

    def _quantile(
        self, check: Check, q: float, values: Int64s, confidence: float
    ) -> Measurement:
        worth = stats.effective_count(values, q, check.limit.value)
        estimate = stats.quantile(values, q, confidence, worth)
        found = self._beyond(check.limit, values)
        count = len(values)
        needed = stats.samples_for_quantile(found.total / count, q, confidence)
        return Measurement(
            check, estimate.value, estimate.low, estimate.high, count, worth,
            None if needed is None else int(np.ceil(needed * count / worth)),
            tuple(found.kept), found.total,
        )

    def _beyond(self, limit: Limit, values: Int64s) -> Findings:
        """Return how many values are beyond the limit, with the worst of them as evidence."""
        excess = limit.value - values if limit.side == 'min' else values - limit.value
        beyond = np.flatnonzero(excess > 0)
        worst = beyond[np.argsort(-excess[beyond], kind='stable')[:EVIDENCE_KEPT]]
        kept = [
            Evidence(int(self._received.values[i]), int(values[i]), format_ns(values[i]))
            for i in np.sort(worst)
        ]
        return Findings(len(beyond), kept)
