"""Checks judged over a span of the run by themselves, as if there had been nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import numpy as np

from robot_qa.checks import CheckResult
from robot_qa.monitor_set import MonitorSet
from robot_qa.monitors.base import CLOCK_TOPIC, SimulatedClock
from robot_qa.probes.batch import Batch, Observation, Payloads

STATIC_TOPIC = '/tf_static'
GRAPH_TOPIC = 'robot_qa/graph'
# A snapshot of the graph; the entries between two of them say that nothing has changed.
_SNAPSHOT = b'"nodes"'
# A span that is over stays open for what was received in it and is still on its way to us.
LATE_NS = 2_000_000_000


class Memory:
    """The last words on some topics: what was true when a span begins.

    Of each publisher the last message; of static transforms, which are sent once, all of them;
    of the graph the last snapshot.
    """

    def __init__(self, topics: Iterable[str]) -> None:
        self._topics = set(topics)
        self._kept: dict[str, dict[int, Batch]] = {}

    def take(self, batch: Batch) -> None:
        """Remember what later spans may ask for."""
        if batch.topic not in self._topics or not len(batch):
            return
        kept = self._kept.setdefault(batch.topic, {})
        rows = range(len(batch))
        if batch.topic == STATIC_TOPIC:
            kept.update({len(kept): copied(batch, row) for row in rows})
        elif batch.topic == GRAPH_TOPIC:
            shown = [row for row in rows if _SNAPSHOT in bytes(batch.payloads[row])]
            if shown:
                kept[0] = copied(batch, shown[-1])
        else:
            last = {who: row for row, who in enumerate(batch.publisher.tolist())}
            kept.update({who: copied(batch, row) for who, row in last.items()})

    def of(self, topic: str) -> list[Batch]:
        """Return what is remembered of a topic, the oldest first."""
        kept = self._kept.get(topic, {}).values()
        return sorted(kept, key=lambda one: int(one.received_ns[0]))


class Span:
    """Some checks, judged on what was received from ``start_ns`` on and before ``end_ns``.

    Both in ns, system clock. ``end_ns`` is None until it is known, ``length_ns`` is how long it
    has lasted by the last results. What was the last word before counts as if it had come at the
    start, for the monitors that ask for it.
    """

    def __init__(
        self, start_ns: int, make: Callable[[SimulatedClock], MonitorSet], memory: Memory,
    ) -> None:
        self.start_ns = start_ns
        self.end_ns: int | None = None
        self._clock = SimulatedClock()
        self._monitors: MonitorSet | None = make(self._clock)
        self._memory = memory
        self._asks_before = {CLOCK_TOPIC, *self._monitors.topics_before}
        self._results: Mapping[str, CheckResult] = {}
        self.length_ns = 0

    def take(self, batch: Batch) -> None:
        """Judge the part of the batch that lies in the span."""
        if self._monitors is None or batch.topic not in {CLOCK_TOPIC, *self._monitors.topics}:
            return
        received = batch.received_ns
        inside = received >= self.start_ns
        if not inside.any():
            return
        if batch.topic in self._asks_before:
            # Now or never: the memory goes on to what came later.
            self._memory.take(batch.rows(~inside))
            self._look_back(batch.topic)
        if self.end_ns is not None:
            inside &= received < self.end_ns
        if inside.any():
            self._feed(batch.rows(inside))

    def results(self, seen: Observation, final: bool) -> Mapping[str, CheckResult]:
        """Return what the checks came to in the span, so far or in the end."""
        if self._monitors is not None:
            for topic in list(self._asks_before):
                self._look_back(topic)
            start = max(self.start_ns, seen.start_ns)
            end = seen.end_ns if self.end_ns is None else min(self.end_ns, seen.end_ns)
            self.length_ns = max(0, end - start)
            part = replace(seen, start_ns=start, end_ns=start + self.length_ns)
            self._results = dict(self._monitors.measure(part, final))
            if final:
                self._monitors = None
        return self._results

    def is_over(self, now_ns: int) -> bool:
        """Tell whether nothing more can come of it."""
        return self.end_ns is not None and now_ns > self.end_ns + LATE_NS

    def _look_back(self, topic: str) -> None:
        assert self._monitors is not None
        if topic in self._asks_before:
            self._asks_before.remove(topic)
            for one in self._memory.of(topic):
                start = np.array([self.start_ns], np.int64)
                last = replace(
                    one, received_ns=start,
                    source_ns=None if one.source_ns is None else start,
                )
                if topic == CLOCK_TOPIC:
                    self._clock.update(last)
                self._monitors.take_before(last)

    def _feed(self, batch: Batch) -> None:
        assert self._monitors is not None
        if batch.topic == CLOCK_TOPIC:
            self._clock.update(batch)
        self._monitors.take(batch)


def copied(batch: Batch, row: int) -> Batch:
    """Return one sample with bytes of its own, which do not keep the rest of the batch alive."""
    one = batch.rows(np.array([row], np.int64))
    return replace(one, payloads=Payloads.of([bytes(batch.payloads[row])]))
