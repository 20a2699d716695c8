"""What processes and the machine use: CPU, memory, threads, files, temperature, GPU, power.

Everything comes from the journals ``resources/<name>`` that the probe wrote, live or into a
recording.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from robot_qa.monitors.base import Check, Context, Limit, Measurement, Monitor, missing
from robot_qa.monitors.readings import Readings
from robot_qa.probes.batch import Batch, Observation
from robot_qa.probes.journal import PREFIX, entries
from robot_qa.spec.model import TestSpec
from robot_qa.spec.resources import Levels, Resource
from robot_qa.timebase import format_ns

PAGE = 4096.0
# For so much of the observation a process may be gone, such as for a restart, and still be judged.
MOST_GONE = 0.1
# The unit of each quantity, and below which change nothing can be seen.
QUANTITIES: dict[str, tuple[str, float]] = {
    'cpu': ('ratio', 0.0), 'rss': ('B', PAGE),
    'threads': ('threads', 1.0), 'open_files': ('files', 1.0),
    'temperature': ('degC', 0.0), 'gpu': ('ratio', 0.0), 'gpu_memory': ('B', 0.0),
    'gpu_temperature': ('degC', 0.0), 'power': ('W', 0.0),
}

Measure = Callable[[Check], Measurement]


def resource_monitors(spec: TestSpec, context: Context) -> list[Monitor]:
    """Return the monitors of a spec's ``resources:`` block."""
    mortal = {one.name for one in spec.system.processes if one.may_exit} if spec.system else set()
    return [
        ResourceMonitor(name, one, context, MOST_GONE if name not in mortal else 1.0)
        for name, one in spec.resources.items()
    ]


@dataclass
class _Quantity:
    """One quantity: its samples, why some are lacking, and how its checks are measured."""

    readings: Readings = field(default_factory=Readings)
    lacking: str = ''
    checks: list[Check] = field(default_factory=list)
    measures: list[Callable[[], Measurement]] = field(default_factory=list)


class ResourceMonitor:
    """All limits on what one process with its children, or the machine, uses."""

    def __init__(
        self, name: str, resource: Resource, context: Context, most_gone: float = 1.0
    ) -> None:
        self.topics = (f'{PREFIX}resources/{name}',)
        self.checks: list[Check] = []
        self._subject = name
        self._absent = ''
        # When there was nothing to sample: system clock, ns; None for a spell that goes on.
        self._gone: list[tuple[int, int | None]] = []
        self._most_gone = most_gone
        self._quantities: dict[str, _Quantity] = {}
        for key in resource.limits():
            self._quantities[key] = self._quantity(key, getattr(resource, key), context)

    def _quantity(self, key: str, levels: Levels, context: Context) -> _Quantity:
        unit, resolution = QUANTITIES[key]
        made = _Quantity()
        readings = made.readings

        def limit(name: str, most: float | None, measure: Measure, per: str = '') -> None:
            if most is not None:
                full = f'resources.{self._subject}.{key}.{name}'
                # Bounds on a trend hold for one look, so that one is at the end.
                check = Check(full, self.topics[0], Limit('max', most), unit + per, bool(per))
                self.checks.append(check)
                made.checks.append(check)
                made.measures.append(partial(measure, check))

        for name, (q, most) in levels.quantiles.items():
            limit(name, most, partial(readings.quantile, q=q, confidence=context.confidence))
        limit('max', getattr(levels, 'max', None), readings.extreme)
        growth = partial(
            readings.growth, level=context.confidence.level, resolution=resolution)
        limit('growth', getattr(levels, 'growth', None), growth, '/min')
        return made

    def update(self, batch: Batch) -> None:
        """Take samples, or why there are none."""
        for stamp, entry in entries(batch):
            if 'absent' in entry:
                self._absent = entry['absent']
                self._gone.append((stamp, None))
                continue
            if self._gone and self._gone[-1][1] is None:
                self._gone[-1] = self._gone[-1][0], stamp
            for key, quantity in self._quantities.items():
                self._take(quantity, stamp, entry, entry.get(key), key)

    def _take(
        self, quantity: _Quantity, stamp: int, entry: dict[str, Any], value: Any, key: str
    ) -> None:
        if isinstance(value, str):
            quantity.lacking = value
        elif value is not None:
            quantity.readings.add(
                stamp, value, entry.get('life', 0), entry.get('of', {}).get(key, ''))

    def measure(self, seen: Observation) -> list[Measurement]:
        """Return quantiles and extremes in the unit of each quantity, growth per minute."""
        found: list[Measurement] = []
        for quantity in self._quantities.values():
            if len(quantity.readings):
                found += [self._while_there(measure(), seen) for measure in quantity.measures]
            else:
                why = self._why_nothing(quantity)
                found += [missing(check, 0, why) for check in quantity.checks]
        return found

    def _while_there(self, measured: Measurement, seen: Observation) -> Measurement:
        """Return a measurement as it is if the process was there nearly all the time.

        Else what was kept while it was there proves nothing; what was broken stays broken.
        """
        if not self._gone:
            return measured
        gone = sum((end or seen.end_ns) - begin for begin, end in self._gone)
        since = format_ns(self._gone[0][0] - seen.start_ns)
        said = (f'gone for {format_ns(gone)} of {format_ns(seen.end_ns - seen.start_ns)}, the '
                f'first time after {since}')
        if measured.reason:
            said = f'{measured.reason}; {said}'
        broken = measured.low is not None and measured.low > measured.check.limit.value
        if broken or gone <= self._most_gone * (seen.end_ns - seen.start_ns):
            return replace(measured, reason=said)
        return missing(measured.check, measured.count, said)

    def _why_nothing(self, quantity: _Quantity) -> str:
        if quantity.lacking or self._absent:
            return quantity.lacking or self._absent
        return f'there are no samples of what {self._subject} uses'
