"""All monitors of one run: hands each its batches, and lets none of them take the others down."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import replace
from importlib.metadata import entry_points

from robot_qa.checks import CheckResult, Verdict, judge
from robot_qa.errors import RobotQaError
from robot_qa.messages.typestore import TypeStore
from robot_qa.monitors.base import CLOCK_TOPIC, Context, Monitor, SimulatedClock
from robot_qa.probes.batch import Batch, Observation
from robot_qa.spec.loader import LoadedSpec
from robot_qa.spec.model import declared_checks
from robot_qa.stats import Confidence
from robot_qa.timebase import NS_PER_S

GROUP = 'robot_qa.monitors'
# While running, measuring may take this share of the time; at the end everything is measured.
MEASURING_SHARE = 0.01


class Panel:
    """Feeds the monitors and turns what they measure into results, in the order of the spec."""

    def __init__(self, loaded: LoadedSpec, store: TypeStore) -> None:
        spec = loaded.spec
        self.clock = SimulatedClock() if spec.on_ros_time else None
        confidence = Confidence(spec.confidence, anytime=spec.stop_when_decided)
        context = Context(store, self.clock, confidence)
        self._monitors: list[Monitor] = [
            monitor
            for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name)
            for monitor in entry.load()(spec, context)
        ]
        self._by_topic: dict[str, list[Monitor]] = defaultdict(list)
        for monitor in self._monitors:
            for topic in monitor.topics:
                self._by_topic[topic].append(monitor)
        # What a scenario came to is said by whoever plays it.
        self._sources = {
            name: loaded.source(path) for name, path in declared_checks(spec)
            if path[0] != 'scenario'
        }
        self._broken: dict[int, str] = {}
        self._results: dict[str, CheckResult] = {}
        self._next_turn: dict[int, float] = {}
        self._decided: dict[str, float] = {}
        self._hard_after_s = (spec.min_duration or spec.duration) / NS_PER_S
        self.messages = 0

    @property
    def topics(self) -> list[str]:
        """The topics that somebody here wants to see."""
        clock = [CLOCK_TOPIC] if self.clock is not None else []
        return sorted({*self._by_topic, *clock})

    def update(self, batches: list[Batch]) -> None:
        """Take what a probe drained."""
        for batch in batches:
            self.messages += len(batch)
            if self.clock is not None and batch.topic == CLOCK_TOPIC:
                self.clock.update(batch)
            for monitor in self._by_topic.get(batch.topic, ()):
                if id(monitor) in self._broken:
                    continue
                try:
                    monitor.update(batch)
                except Exception as error:  # a monitor may be anybody's code
                    self._broken[id(monitor)] = _describe(error)

    @property
    def ros_topics(self) -> list[str]:
        """The topics that a live run has to subscribe to: no journal, no service event."""
        return [
            topic for topic in self.topics
            if topic.startswith('/') and not topic.endswith('/_service_event')
        ]

    @property
    def all_decided(self) -> bool:
        """Whether nothing that may still come can change a verdict, as of the last results."""
        return set(self._decided) == set(self._sources)

    def results(self, seen: Observation, final: bool) -> list[CheckResult]:
        """Return a result per check; while the run lasts, some may be a little older."""
        for monitor in self._monitors:
            now = time.monotonic()
            if not final and now < self._next_turn.get(id(monitor), 0.0):
                continue
            self._measure(monitor, seen, final)
            spent = time.monotonic() - now
            self._next_turn[id(monitor)] = now + spent / MEASURING_SHARE
        elapsed = (seen.end_ns - seen.start_ns) / NS_PER_S
        return [self._result(name, source, elapsed) for name, source in self._sources.items()]

    def _result(self, name: str, source: str, elapsed_s: float) -> CheckResult:
        result = self._results.get(name)
        if result is None:
            return CheckResult(name, Verdict.ERROR, 'no monitor answers for this check', source)
        if self._is_decided(result, elapsed_s):
            self._decided.setdefault(name, elapsed_s)
        else:
            self._decided.pop(name, None)
        return replace(result, decided_s=self._decided.get(name))

    def _is_decided(self, result: CheckResult, elapsed_s: float) -> bool:
        """Tell whether a verdict is final: a hard limit that holds is so only after a time."""
        if result.verdict is not Verdict.PASS:
            return result.verdict is not Verdict.INCONCLUSIVE
        measured = result.measurement
        hard = measured is None or measured.effective_count is None
        return not hard or elapsed_s >= self._hard_after_s

    def _measure(self, monitor: Monitor, seen: Observation, final: bool) -> None:
        if id(monitor) not in self._broken:
            try:
                for measured in monitor.measure(seen):
                    name = measured.check.name
                    notes = seen.notes.get(measured.check.topic, ())
                    result = judge(measured, self._sources[name], notes)
                    if measured.check.at_end and not final and not _cannot_change(result):
                        result = replace(result, verdict=Verdict.INCONCLUSIVE)
                    self._results[name] = result
            except Exception as error:  # as above
                self._broken[id(monitor)] = _describe(error)
        if id(monitor) in self._broken:
            for check in monitor.checks:
                self._results[check.name] = CheckResult(
                    check.name, Verdict.ERROR, self._broken[id(monitor)],
                    self._sources[check.name],
                )


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


def clock_first(batches: list[Batch]) -> list[Batch]:
    """Put the ticks before what is to be dated by them."""
    return sorted(batches, key=lambda batch: batch.topic != '/clock')
