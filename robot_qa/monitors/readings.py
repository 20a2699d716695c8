"""Levels that are sampled, in any unit: quantile limits, extremes, trends."""

from __future__ import annotations

import math
from array import array

import numpy as np
from numpy.typing import NDArray

from robot_qa import stats
from robot_qa.monitors.base import (
    EVIDENCE_KEPT,
    Check,
    Evidence,
    Findings,
    Measurement,
    exact,
    missing,
)
from robot_qa.monitors.trend import trend
from robot_qa.spec.resources import TREND_SAMPLES
from robot_qa.timebase import NS_PER_S

# That there is no trend is decided by as many independent samples at least.
LEAST_EFFECTIVE = 10.0
_SIZES = ((2**30, 'GiB'), (2**20, 'MiB'), (2**10, 'KiB'))


def format_size(size: float) -> str:
    """Write a number of bytes in the largest unit that keeps it at or above one."""
    for factor, unit in _SIZES:
        if abs(size) >= factor:
            return f'{size / factor:.4g} {unit}'
    return f'{size:.4g} B'


def format_reading(value: float, unit: str) -> str:
    """Write a value in its unit: ``ratio``, ``B``, ``B/min`` or any other."""
    if unit == 'ratio':
        return f'{100 * value:.3g} %'
    if unit.partition('/')[0] == 'B':
        return format_size(value) + unit[1:]
    return f'{value:.6g} {unit}'


class Readings:
    """Values with the time of their sampling; ``life`` tells one process from its successor."""

    def __init__(self) -> None:
        self._stamps = array('q')
        self._values = array('d')
        self._lives = array('q')
        self._notes: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._values)

    def add(self, stamp_ns: int, value: float, life: int = 0, note: str = '') -> None:
        """Append one; ``note`` says more about it, as evidence."""
        if note:
            self._notes[len(self._values)] = note
        self._stamps.append(stamp_ns)
        self._values.append(value)
        self._lives.append(life)

    def extreme(self, check: Check) -> Measurement:
        """Measure the highest value, against a hard limit."""
        values = np.array(self._values)
        return exact(check, float(values.max()), len(values), self._beyond(check, values))

    def quantile(self, check: Check, q: float, confidence: stats.Confidence) -> Measurement:
        """Measure a quantile."""
        values = np.array(self._values)
        count = len(values)
        worth = stats.effective_count(values, q, check.limit.value)
        estimate = stats.quantile(values, q, confidence, worth)
        found = self._beyond(check, values)
        needed = stats.samples_for_quantile(found.total / count, q, confidence)
        return Measurement(
            check, estimate.value, estimate.low, estimate.high, count, worth,
            None if needed is None else int(np.ceil(needed * count / worth)),
            tuple(found.kept), found.total,
        )

    def growth(self, check: Check, level: float, resolution: float) -> Measurement:
        """Measure the trend, per minute, of the life with the most samples."""
        lives, counts = np.unique(np.array(self._lives), return_counts=True)
        mine = np.array(self._lives) == lives[counts.argmax()]
        values = np.array(self._values)[mine]
        stamps = np.array(self._stamps)[mine]
        seconds = (stamps - stamps[0]) / NS_PER_S
        found = trend(seconds, values, level, resolution)
        count = len(values)
        if found is None:
            restarts = f' in the longest of {len(lives)} lives' if len(lives) > 1 else ''
            return missing(check, count, f'{count} samples{restarts} give no trend; '
                           f'{TREND_SAMPLES} are needed')
        slope, low, high = 60.0 * found.slope, 60.0 * found.low, 60.0 * found.high
        needed = _needed(count, slope, low, high, check.limit.value)
        if found.effective < LEAST_EFFECTIVE and low <= check.limit.value:
            # What wandered, and so shortly, may as well have gone the other way.
            more = math.ceil(count * LEAST_EFFECTIVE / found.effective)
            return Measurement(check, slope, low, None, count, found.effective,
                               None if needed is None else max(needed, more))
        return Measurement(check, slope, low, high, count, found.effective, needed)

    def _beyond(self, check: Check, values: NDArray[np.float64]) -> Findings:
        """Return how many values are above the limit, with the worst as evidence."""
        above = np.flatnonzero(values > check.limit.value)
        worst = above[np.argsort(-values[above], kind='stable')[:EVIDENCE_KEPT]]
        kept = []
        for index in sorted(worst.tolist()):
            text = format_reading(values[index], check.unit)
            note = self._notes.get(index)
            kept.append(Evidence(
                self._stamps[index], float(values[index]), f'{text} ({note})' if note else text))
        return Findings(len(above), kept)


def _needed(count: int, slope: float, low: float, high: float, limit: float) -> int | None:
    """Return how many samples would decide: bounds of a slope narrow with count to the 3/2."""
    far = abs(limit - slope)
    if far <= 1e-3 * max(abs(limit), high - low):
        return None
    width = high - slope if slope <= limit else slope - low
    return math.ceil(count * math.pow(max(1.0, width / far), 2 / 3))
