"""Everything that is judged in one run, in the order of the spec."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from robot_qa.checks import CheckResult, Verdict
from robot_qa.expectations import KINDS, Expectations
from robot_qa.messages.typestore import TypeStore
from robot_qa.monitor_set import MonitorSet
from robot_qa.monitors import clocks
from robot_qa.monitors.base import CLOCK_TOPIC, Context, SimulatedClock
from robot_qa.perception.breakdown import Explained
from robot_qa.probes.batch import Batch, Observation
from robot_qa.spec.loader import LoadedSpec
from robot_qa.spec.model import declared_checks
from robot_qa.spec.scenario_order import RELAYED
from robot_qa.stats import Confidence
from robot_qa.timebase import NS_PER_S


class Panel:
    """Feeds the monitors and turns what they measure into results, in the order of the spec."""

    def __init__(self, loaded: LoadedSpec, store: TypeStore) -> None:
        self._spec = loaded.spec
        self._store = store
        self.clock = SimulatedClock() if self._spec.on_ros_time else None
        # What a scenario came to is said by whoever plays it, what it expects is judged here.
        self._sources = {
            name: loaded.source(path) for name, path in declared_checks(self._spec)
            if path[0] != 'scenario' or path[-1] in KINDS
        }
        self._expectations = self._expected()
        special = {} if self._expectations is None else self._expectations.usual
        self._monitors = self._monitors_of({
            name: source for name, source in self._sources.items()
            if name not in special and not name.startswith('scenario.')
        }, self.clock)
        # The relay numbers and sends the messages anew, so that these begin with it.
        self._from_relay = tuple(
            f'topics.{step.fault.topic}.{key}' for step in self._spec.scenario
            if step.fault is not None for key in RELAYED)
        self._decided: dict[str, float] = {}
        self._hard_after_s = (self._spec.min_duration or self._spec.duration) / NS_PER_S
        self.messages = 0
        # Whose clocks wrote the stamps, for the report.
        self.host_clocks = clocks.Clocks()

    def _expected(self) -> Expectations | None:
        if not any(name.startswith('scenario.') for name in self._sources):
            return None
        return Expectations(
            self._spec.scenario, self._sources,
            lambda sources, clock: self._monitors_of(sources, clock if self.clock else None),
            self.clock,
        )

    def _monitors_of(
        self, sources: Mapping[str, str], clock: SimulatedClock | None,
    ) -> MonitorSet:
        confidence = Confidence(self._spec.confidence, anytime=self._spec.stop_when_decided)
        return MonitorSet(self._spec, Context(self._store, clock, confidence), sources)

    @property
    def topics(self) -> list[str]:
        """The topics that somebody here wants to see."""
        clock = [CLOCK_TOPIC] if self.clock is not None else []
        expected = self._expectations.topics if self._expectations else ()
        return sorted({*self._monitors.topics, *expected, *clock})

    def update(self, batches: list[Batch]) -> None:
        """Take what a probe drained."""
        for batch in batches:
            self.messages += len(batch)
            if self.clock is not None and batch.topic == CLOCK_TOPIC:
                self.clock.update(batch)
            if batch.topic == clocks.JOURNAL:
                self.host_clocks.update(batch)
            self._monitors.take(batch)
        if self._expectations is not None:
            self._expectations.update(batches)

    @property
    def explained(self) -> list[Explained]:
        """What is behind the metrics of perception, as of the final results."""
        return self._monitors.explained

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
        results = dict(self._monitors.measure(seen, final))
        if self._expectations is not None:
            results |= {one.name: one for one in self._expectations.results(seen, final)}
        elapsed = (seen.end_ns - seen.start_ns) / NS_PER_S
        return [self._dated(results[name], elapsed) for name in self._sources]

    def _dated(self, result: CheckResult, elapsed_s: float) -> CheckResult:
        if self._is_decided(result, elapsed_s):
            self._decided.setdefault(result.name, elapsed_s)
        else:
            self._decided.pop(result.name, None)
        reason = result.reason
        if result.name.startswith(self._from_relay):
            reason += '; between the relay of its faults and us alone'
        return replace(result, reason=reason, decided_s=self._decided.get(result.name))

    def _is_decided(self, result: CheckResult, elapsed_s: float) -> bool:
        """Tell whether a verdict is final: a hard limit that holds is so only after a time."""
        if result.verdict is not Verdict.PASS:
            return result.verdict is not Verdict.INCONCLUSIVE
        measured = result.measurement
        hard = measured is None or measured.effective_count is None
        return not hard or elapsed_s >= self._hard_after_s


def clock_first(batches: list[Batch]) -> list[Batch]:
    """Put the ticks before what is to be dated by them."""
    return sorted(batches, key=lambda batch: batch.topic != '/clock')
