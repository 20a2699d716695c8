"""The monitors that answer for a number of checks; none of them takes the others down."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import replace
from importlib.metadata import entry_points

from robot_qa.checks import CheckResult, Verdict, judge
from robot_qa.errors import RobotQaError
from robot_qa.monitors.base import Context, Monitor
from robot_qa.perception.breakdown import Explained
from robot_qa.probes.batch import Batch, Observation
from robot_qa.spec.model import TestSpec

GROUP = 'robot_qa.monitors'
# While running, measuring may take this share of the time; at the end everything is measured.
MEASURING_SHARE = 0.01


class MonitorSet:
    """Feeds the monitors of some checks, given with where the spec asks for them."""

    def __init__(self, spec: TestSpec, context: Context, sources: Mapping[str, str]) -> None:
        self._sources = sources
        self._monitors = [
            monitor for monitor in all_monitors(spec, context)
            if any(check.name in sources for check in monitor.checks)
        ]
        self._by_topic: dict[str, list[Monitor]] = defaultdict(list)
        for monitor in self._monitors:
            for topic in monitor.topics:
                self._by_topic[topic].append(monitor)
        self._broken: dict[int, str] = {}
        self._explained: dict[int, list[Explained]] = {}
        self._next_turn: dict[int, float] = {}
        self.results: dict[str, CheckResult] = {}

    @property
    def topics(self) -> Collection[str]:
        """The topics that somebody here wants to see."""
        return self._by_topic.keys()

    @property
    def topics_before(self) -> set[str]:
        """The topics whose last messages from before a span matter in it; see ``take_before``."""
        return {
            topic for topic, monitors in self._by_topic.items()
            if any(_looks_back(monitor) for monitor in monitors)
        }

    @property
    def explained(self) -> list[Explained]:
        """What is behind the metrics of perception, once everything was measured."""
        return [one for found in self._explained.values() for one in found]

    def take(self, batch: Batch) -> None:
        """Hand a batch to the monitors of its topic."""
        self._feed(self._by_topic.get(batch.topic, ()), batch)

    def take_before(self, batch: Batch) -> None:
        """Hand over what was the last word before a span to the monitors that need to know it."""
        monitors = self._by_topic.get(batch.topic, ())
        self._feed([monitor for monitor in monitors if _looks_back(monitor)], batch)

    def _feed(self, monitors: Collection[Monitor], batch: Batch) -> None:
        for monitor in monitors:
            if id(monitor) in self._broken:
                continue
            try:
                monitor.update(batch)
            except Exception as error:  # a monitor may be anybody's code
                self._broken[id(monitor)] = _describe(error)

    def measure(self, seen: Observation, final: bool) -> Mapping[str, CheckResult]:
        """Return a result per check; while the run lasts, some may be a little older."""
        for monitor in self._monitors:
            now = time.monotonic()
            if not final and now < self._next_turn.get(id(monitor), 0.0):
                continue
            self._measure(monitor, seen, final)
            spent = time.monotonic() - now
            self._next_turn[id(monitor)] = now + spent / MEASURING_SHARE
        for name, source in self._sources.items():
            self.results.setdefault(name, CheckResult(
                name, Verdict.ERROR, 'no monitor answers for this check', source))
        return self.results

    def _measure(self, monitor: Monitor, seen: Observation, final: bool) -> None:
        if id(monitor) not in self._broken:
            try:
                measure = getattr(monitor, 'measure_at_end', None) if final else None
                for measured in (measure or monitor.measure)(seen):
                    name = measured.check.name
                    if name not in self._sources:
                        continue
                    notes = seen.notes.get(measured.check.topic, ())
                    result = judge(measured, self._sources[name], notes)
                    if measured.check.at_end and not final and not _cannot_change(result):
                        result = replace(result, verdict=Verdict.INCONCLUSIVE)
                    self.results[name] = result
                if final:
                    explain = getattr(monitor, 'breakdowns', list)
                    self._explained[id(monitor)] = list(explain())
            except Exception as error:  # as above
                self._broken[id(monitor)] = _describe(error)
        if id(monitor) in self._broken:
            for check in monitor.checks:
                if check.name in self._sources:
                    self.results[check.name] = CheckResult(
                        check.name, Verdict.ERROR, self._broken[id(monitor)],
                        self._sources[check.name],
                    )


def all_monitors(spec: TestSpec, context: Context) -> list[Monitor]:
    """Return the monitors of everything that a spec asks for, a user's own ones included."""
    return [
        monitor
        for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name)
        for monitor in entry.load()(spec, context)
    ]


def _looks_back(monitor: Monitor) -> bool:
    return getattr(monitor, 'looks_back', False)


def _cannot_change(result: CheckResult) -> bool:
    """Tell whether a count has reached what was wanted: it only grows."""
    measured = result.measurement
    reached = measured is not None and measured.check.limit.side == 'min'
    return reached and result.verdict is Verdict.PASS


def _describe(error: Exception) -> str:
    if isinstance(error, RobotQaError):
        return str(error)
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f' ({trace.tb_frame.f_code.co_filename}:{trace.tb_lineno})' if trace else ''
    return f'the monitor broke: {type(error).__name__}: {error}{place}'
