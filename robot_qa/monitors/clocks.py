"""Which host's clock wrote the stamps of a topic, and whether that decides a verdict.

A latency that ends here and began on another host is off by as much as that host's clock: with
theta, their clock less ours, the true one is the measured one plus theta. The journal ``clocks``
of a live run bounds theta (`robot_qa.probes.round_trips`). A verdict that is the same for the
measured value and for every theta within its bounds stands; no other does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from robot_qa.monitors.base import Limit, Measurement
from robot_qa.monitors.readings import format_reading
from robot_qa.probes.batch import Batch
from robot_qa.probes.journal import PREFIX, entries
from robot_qa.probes.round_trips import JOURNAL_NAME
from robot_qa.spec.model import TestSpec
from robot_qa.timebase import format_ns

JOURNAL = PREFIX + JOURNAL_NAME
# Bounds that are wider than this part of the offset are both told.
ROUGH = 10
Side = Literal['kept', 'broken', 'open']


def clock_topics(spec: TestSpec) -> set[str]:
    """Return the topics of which a check compares stamps of two hosts' system clocks."""
    found = {
        name for name, topic in spec.topics.items()
        if topic.transport is not None or (topic.age is not None and not spec.on_ros_time)
    }
    for path in spec.paths.values():
        simulated = spec.on_ros_time if path.basis == 'header' else path.clock == 'ros'
        if path.basis != 'arrival' and not simulated:
            found.update(path.topics)
    return found


@dataclass(frozen=True)
class Doubt:
    """By how much the stamps at both ends of a latency may be off from each other.

    The true latency is the measured one plus something from ``low`` to ``high``, ns. ``blame``
    says which clock is off by what, ``note`` which could not be compared.
    """

    low: int = 0
    high: int = 0
    blame: str = ''
    note: str = ''


@dataclass
class HostClock:
    """One host that told its time: bounds on its clock less ours over all entries, ns.

    Where the innermost bounds are the wrong way round, the offset has changed by at least their
    distance. ``node`` is the one that was asked.
    """

    node: str
    host: str
    key: str | None
    low: int
    high: int
    innermost_low: int
    innermost_high: int
    round_trips: int = 0
    best_ns: int | None = None
    stepped: bool = False

    @property
    def agrees(self) -> bool:
        """Whether it may be our own time."""
        return self.low <= 0 <= self.high

    def take(self, entry: dict[str, Any]) -> None:
        """Take what one more entry says of it."""
        low, high = entry['low_ns'], entry['high_ns']
        self.low, self.high = min(self.low, low), max(self.high, high)
        self.innermost_low = max(self.innermost_low, low)
        self.innermost_high = min(self.innermost_high, high)
        self.round_trips, self.best_ns = entry['round_trips'], entry['best_ns']
        self.stepped = self.stepped or entry['stepped']

    def text(self) -> str:
        """Say how far it is off, as what follows after "its clock"."""
        best = '' if self.best_ns is None else f', best {format_ns(self.best_ns)}'
        trips = f'({self.round_trips} round trips{best})'
        if self.stepped:
            return (f'was set during the run, from {_ahead(self.low)} to {_ahead(self.high)} '
                    f"this host's {trips}")
        moved = self.innermost_low - self.innermost_high
        more = f', having moved by {format_ns(moved)}' if moved > 0 else ''
        if self.agrees:
            far = f'within {format_ns(max(-self.low, self.high))} of'
        elif (self.high - self.low) * ROUGH > abs(self.low + self.high) // 2:
            least, most = sorted((self.low, self.high), key=abs)
            far = f'{format_ns(abs(least))} to {_ahead(most)}'
        else:
            far = _ahead((self.low + self.high) // 2)
        return f"is {far} this host's{more} {trips}"


@dataclass
class Clocks:
    """What the journal ``clocks`` says: the hosts, and who publishes what on which of them.

    ``publishers`` are (key of the host, full name of the node) by topic, all that ever were.
    """

    host: str | None = None
    key: str | None = None
    hosts: dict[tuple[str, str, str | None], HostClock] = field(default_factory=dict)
    publishers: dict[str, set[tuple[str | None, str]]] = field(default_factory=dict)

    def update(self, batch: Batch) -> None:
        """Take a batch of the journal."""
        for _, entry in entries(batch):
            self.host, self.key = entry['host'], entry['key']
            for one in entry['hosts']:
                name = one['service'], one['host'], one['key']
                if name not in self.hosts:
                    low, high = one['low_ns'], one['high_ns']
                    node = one['service'].rpartition('/')[0]
                    self.hosts[name] = HostClock(
                        node, one['host'], one['key'], low, high, low, high)
                self.hosts[name].take(one)
            for topic, found in entry['topics'].items():
                self.publishers.setdefault(topic, set()).update(
                    (key, node) for key, node in found)

    def here(self, topic: str) -> Doubt:
        """Return by how much the stamps of a topic may be off times of reception here."""
        return _worst([self._of(*one) for one in self._sorted(topic)])

    def between(self, first: str, last: str) -> Doubt:
        """Return by how much stamps of ``first`` may be off from those of ``last``."""
        keys = {key for topic in (first, last) for key, _ in self._sorted(topic)}
        if len(keys) < 2 and None not in keys:
            return Doubt()  # one clock for both, whatever it says
        begin, end = self.here(first), self.here(last)
        return Doubt(
            begin.low - end.high, begin.high - end.low,
            clauses([begin.blame, end.blame]), clauses([begin.note, end.note]),
        )

    def of_key(self, key: str | None) -> list[HostClock]:
        """Return those that told the time of a host."""
        return [] if key is None else [one for one in self.hosts.values() if one.key == key]

    def _sorted(self, topic: str) -> list[tuple[str | None, str]]:
        return sorted(self.publishers.get(topic, ()), key=str)

    def _of(self, key: str | None, node: str) -> Doubt:
        told = self.of_key(key)
        if key is not None and key == self.key and all(one.agrees for one in told):
            return Doubt()
        if told:
            worst = max(told, key=lambda one: max(abs(one.low), abs(one.high)))
            return Doubt(
                min(one.low for one in told), max(one.high for one in told),
                f'{node} runs on {worst.host}, whose clock {worst.text()}')
        if key is None or self.key is None:
            return Doubt(note=(
                f'on which host {node} runs is not known with this middleware, so no clock was '
                'compared'))
        return Doubt(note=(
            f'published by {node} on another host, whose clock was not compared: run '
            '"ros2 run robot_qa timekeeper" there'))


def judged_despite(
    measured: Measurement, doubt: Doubt, others: Sequence[Measurement] | None = None
) -> Measurement:
    """Return a measurement that the clocks leave as it is, or one without a value that says why.

    ``others`` is what would have been measured with every value ``doubt.low`` and ``doubt.high``
    larger; made from the measured one if left out. A ``min`` at or below zero is about the clocks
    themselves, and is judged as measured.
    """
    if measured.value is None:
        return measured
    if others is None:
        others = [shifted(measured, theta) for theta in (doubt.low, doubt.high)]
    limit = measured.check.limit
    about_clocks = limit.side == 'min' and limit.value <= 0
    # Verdicts change one way only as values grow, so that the ends stand for all in between.
    if about_clocks or len({side(one) for one in (measured, *others)}) == 1:
        return replace(measured, reason=clauses([measured.reason, doubt.note]))
    agree = doubt.low <= 0 <= doubt.high
    why = 'too close to the limit for clocks that' if agree else 'by clocks that'
    which = 'are known no better' if agree else 'disagree'
    shown = (format_ns(measured.value) if measured.check.unit == 'ns'
             else format_reading(measured.value, measured.check.unit))
    return replace(
        measured, value=None, low=None, high=None, violations=0, needed=None, evidence=(),
        reason=clauses([f'measured as {shown}, {why} {which}: {doubt.blame}', measured.reason]))


def shifted(measured: Measurement, theta: int) -> Measurement:
    """Return a measurement, with a value, as it were if all its samples were ``theta`` larger."""
    value, low, high = (
        None if one is None else one + theta
        for one in (measured.value, measured.low, measured.high)
    )
    return replace(measured, value=value, low=low, high=high)


def side(measured: Measurement) -> Side:
    """Return on which side of its limit a measurement is, by the rules of `robot_qa.checks`."""
    limit, value = measured.check.limit, measured.value
    if value is None:
        return 'open'
    if measured.effective_count is None:
        return 'broken' if _beyond(limit, value) else 'kept'
    worst, best = measured.high, measured.low
    if limit.side == 'min':
        worst, best = best, worst
    if worst is not None and not _beyond(limit, worst):
        return 'kept'
    return 'broken' if best is not None and _beyond(limit, best) else 'open'


def _beyond(limit: Limit, value: float) -> bool:
    return value < limit.value if limit.side == 'min' else value > limit.value


def _ahead(ns: int) -> str:
    return f'{format_ns(abs(ns))} {"behind" if ns < 0 else "ahead of"}'


def _worst(doubts: list[Doubt]) -> Doubt:
    """Return the doubt that covers all of these; the blame is on the one that is off the most."""
    if not doubts:
        return Doubt()
    worst = max(doubts, key=lambda one: max(abs(one.low), abs(one.high)))
    return Doubt(
        min(one.low for one in doubts), max(one.high for one in doubts), worst.blame,
        clauses(one.note for one in doubts),
    )


def clauses(parts: Iterable[str]) -> str:
    """Return the parts that say something, each once."""
    return '; '.join(dict.fromkeys(filter(None, parts)))


def stamped(clocks: Clocks) -> Iterator[tuple[str | None, str, str]]:
    """Yield the key of the host, the topic and the node of each publisher, ordered."""
    for topic in sorted(clocks.publishers):
        for key, node in sorted(clocks.publishers[topic], key=str):
            yield key, topic, node
