"""Nodes and endpoints: who is there, who came back, who can talk to whom.

Everything comes from the journal ``graph``: a snapshot whenever something changed, and a mark that
nothing did at every other look. All limits here are hard: one look that is wrong fails.

A node that shuts down is gone at the next look. One whose process was killed stays in the graph
until the lease of its participant is over (20 s with Fast DDS as it comes), and nobody can tell.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from robot_qa.monitors.base import (
    Check,
    Context,
    Evidence,
    Findings,
    Limit,
    Measurement,
    Monitor,
    exact,
    missing,
)
from robot_qa.monitors.history import History, judged, moment
from robot_qa.monitors.qos import Profile, incompatibilities
from robot_qa.probes.batch import Batch, Observation
from robot_qa.probes.journal import PREFIX, entries
from robot_qa.spec.fields import CountLimits
from robot_qa.spec.graph import is_ours
from robot_qa.spec.model import TestSpec

JOURNAL = f'{PREFIX}graph'

T = TypeVar('T')


def graph_monitors(spec: TestSpec, context: Context) -> list[Monitor]:
    """Return the one monitor of all checks that the journal ``graph`` answers, if there are any.

    Lifecycle states and parameters are answered by the nodes themselves: see ``nodes.py``.
    """
    watches = list(_watches(spec))
    return [GraphMonitor(watches)] if watches else []


class Endpoint(NamedTuple):
    """A publisher or subscriber; ``participant`` is the middleware's identity of its process."""

    node: str
    participant: str
    type: str
    profile: Profile

    def __str__(self) -> str:
        return f'{self.node} ({self.profile})'


@dataclass(frozen=True)
class Snapshot:
    """The graph at one look: full names of nodes, sorted, and endpoints by topic.

    ``complete`` tells that all topics were looked at; otherwise one that is not there is unknown.
    """

    nodes: list[str]
    publishers: dict[str, list[Endpoint]]
    subscribers: dict[str, list[Endpoint]]
    complete: bool

    @classmethod
    def of(cls, entry: dict[str, Any]) -> Snapshot:
        """Read a snapshot from its entry in the journal."""
        return cls(
            sorted(node for node in entry['nodes'] if not is_ours(node)),
            _endpoints(entry['topics'], 'publishers'),
            _endpoints(entry['topics'], 'subscribers'),
            entry['complete'],
        )

    def knows(self, topic: str) -> bool:
        """Tell whether the topic was looked at."""
        return self.complete or topic in self.publishers


def _endpoints(topics: dict[str, Any], side: str) -> dict[str, list[Endpoint]]:
    return {
        topic: [
            Endpoint(one['node'], one['participant'], one['type'], Profile(*one['qos']))
            for one in sides[side] if not is_ours(one['node'])
        ]
        for topic, sides in topics.items()
    }


class Watch(Protocol):
    """One check on snapshots."""

    @property
    def check(self) -> Check:
        """What it answers for."""

    def take(self, stamp_ns: int, snapshot: Snapshot) -> None:
        """Take a snapshot that differs from the one before."""

    def again(self, stamp_ns: int) -> None:
        """Note that the last snapshot still holds."""

    def measure(self, seen: Observation) -> Measurement:
        """Return what came of the check."""


class GraphMonitor:
    """Hands the snapshots of the journal to all checks on them."""

    looks_back = True

    def __init__(self, watches: list[Watch]) -> None:
        self.topics = (JOURNAL,)
        self.checks = [watch.check for watch in watches]
        self._watches = watches
        self._begun = False

    def update(self, batch: Batch) -> None:
        """Take the next entries of the journal."""
        for stamp, entry in entries(batch):
            if 'nodes' in entry:
                self._begun = True
                snapshot = Snapshot.of(entry)
                for watch in self._watches:
                    watch.take(stamp, snapshot)
            else:
                for watch in self._watches:
                    watch.again(stamp)

    def measure(self, seen: Observation) -> list[Measurement]:
        """Return a measurement per check."""
        if not self._begun:
            return [missing(check, 0, 'the graph was not recorded') for check in self.checks]
        return [watch.measure(seen) for watch in self._watches]


class StateWatch(Generic[T]):
    """A check on what each snapshot shows: ``read`` it, say what is ``wrong``, count ``number``.

    ``read`` returns None for what the snapshot does not tell.
    """

    def __init__(
        self, check: Check, read: Callable[[Snapshot], T | None], wrong: Callable[[T], str],
        number: Callable[[T], float | None] | None = None,
    ) -> None:
        self.check = check
        self._read = read
        self._wrong = wrong
        self._number = number
        self._history: History[T] = History()
        self._known = False

    def take(self, stamp_ns: int, snapshot: Snapshot) -> None:
        """Keep what the snapshot shows."""
        value = self._read(snapshot)
        self._known = value is not None
        if value is not None:
            self._history.add(stamp_ns, value)

    def again(self, stamp_ns: int) -> None:
        """Keep that it still shows."""
        if self._known:
            self._history.again(stamp_ns)

    def measure(self, seen: Observation) -> Measurement:
        """Return the worst that was seen."""
        if not self._history.count:
            return missing(self.check, 0, f'the endpoints of {self.check.topic} were not recorded')
        return judged(self.check, self._history, seen, self._wrong, number=self._number)


class Presence(NamedTuple):
    """Whether a node is there, and the participants that its endpoints belong to."""

    there: bool
    participants: tuple[str, ...]


class RestartWatch:
    """How often a node came back: with a new identity, or after it had been gone."""

    def __init__(self, node: str, check: Check) -> None:
        self.check = check
        self._node = node
        self._history: History[Presence] = History()

    def take(self, stamp_ns: int, snapshot: Snapshot) -> None:
        """Look for the node and its identities."""
        sides = (snapshot.publishers, snapshot.subscribers)
        found = {
            one.participant for side in sides for endpoints in side.values()
            for one in endpoints if one.node == self._node
        }
        there = self._node in snapshot.nodes
        self._history.add(stamp_ns, Presence(there, tuple(sorted(found))))

    def again(self, stamp_ns: int) -> None:
        """Note that nothing changed."""
        self._history.again(stamp_ns)

    def measure(self, seen: Observation) -> Measurement:
        """Return the number of restarts."""
        found = Findings()
        known: set[str] = set()
        gone = False
        for run in self._history.runs:
            new = set(run.value.participants) - known
            if not run.value.there:
                gone = True
            elif run.value.participants:
                if known and (new or gone):
                    when = f'{moment(run.first_ns, seen)} after the start'
                    text = f'{self._node} came back {_as_whom(sorted(new))}, {when}'
                    found = found.with_one(Evidence(run.first_ns, found.total + 1, text))
                known |= new
                gone = False
        limit = self.check.limit.value
        if found.total > limit:
            return exact(self.check, found.total, self._history.count, found)
        if not known:
            reason = f'{self._node} was never there with an endpoint that tells its identity'
            return missing(self.check, self._history.count, reason)
        if reason := self._history.unseen(seen, seen.start_ns):
            return missing(self.check, self._history.count, reason)
        return exact(self.check, found.total, self._history.count)


def _as_whom(new: list[str]) -> str:
    return f'with the new identity {new[0]}' if new else 'with the same identity'


def _watches(spec: TestSpec) -> Iterator[Watch]:
    for name, node in spec.nodes.items():
        if node.alive:
            yield _alive(name)
        if node.restarts is not None:
            limit = Limit('max', node.restarts.max)
            yield RestartWatch(
                name, Check(f'nodes.{name}.restarts.max', JOURNAL, limit, 'restarts')
            )
    if spec.graph is not None and spec.graph.unique_names:
        yield StateWatch(_truth('graph.unique_names', JOURNAL), _repeated, _repeated_text)
    if spec.graph is not None and spec.graph.qos_compatible is not None:
        chosen = spec.graph.qos_compatible
        topics = chosen if isinstance(chosen, list) else None
        yield _compatible(_truth('graph.qos_compatible', JOURNAL), topics)
    for name, topic in spec.topics.items():
        for side, limits in (
            ('publishers', topic.publishers), ('subscribers', topic.subscribers),
        ):
            if limits is not None:
                yield from _counts(name, side, limits)
        if topic.qos_compatible:
            yield _compatible(_truth(f'topics.{name}.qos_compatible', name), [name])


def _truth(name: str, topic: str) -> Check:
    return Check(name, topic, Limit('min', 1.0), 'truth')


def _alive(node: str) -> StateWatch[bool]:
    return StateWatch(
        _truth(f'nodes.{node}.alive', JOURNAL), lambda snapshot: node in snapshot.nodes,
        lambda there: '' if there else f'{node} was not in the graph',
    )


def _repeated(snapshot: Snapshot) -> tuple[tuple[str, int], ...]:
    counts = Counter(snapshot.nodes)
    return tuple((name, count) for name, count in counts.items() if count > 1)


def _repeated_text(repeated: tuple[tuple[str, int], ...]) -> str:
    return ', '.join(f'{count} nodes are called {name}' for name, count in repeated)


def _counts(topic: str, side: str, limits: CountLimits) -> Iterator[StateWatch[tuple[str, ...]]]:
    name = f'topics.{topic}.{side}'
    found: list[tuple[str, Limit]] = []
    if isinstance(limits, int):
        found.append((name, Limit('exactly', limits)))
    elif limits.min is not None:
        found.append((f'{name}.min', Limit('min', limits.min)))
    if not isinstance(limits, int) and limits.max is not None:
        found.append((f'{name}.max', Limit('max', limits.max)))

    def read(snapshot: Snapshot) -> tuple[str, ...] | None:
        if not snapshot.knows(topic):
            return None
        endpoints = getattr(snapshot, side).get(topic, [])
        return tuple(sorted(one.node for one in endpoints))

    for key, limit in found:
        yield StateWatch(
            Check(key, topic, limit, side), read, _count_text(side, limit),
            lambda nodes: float(len(nodes)),
        )


def _count_text(side: str, limit: Limit) -> Callable[[tuple[str, ...]], str]:
    def wrong(nodes: tuple[str, ...]) -> str:
        count = len(nodes)
        fine = {
            'min': count >= limit.value, 'max': count <= limit.value,
            'exactly': count == limit.value,
        }
        if fine[limit.side]:
            return ''
        return f'{count} {side}: {", ".join(nodes)}' if nodes else f'no {side}'

    return wrong


def _compatible(check: Check, topics: list[str] | None) -> StateWatch[tuple[str, ...]]:
    def read(snapshot: Snapshot) -> tuple[str, ...] | None:
        known = snapshot.complete if topics is None else all(map(snapshot.knows, topics))
        if not known:
            return None
        chosen = sorted(snapshot.publishers) if topics is None else topics
        return tuple(text for topic in chosen for text in mismatches(snapshot, topic))

    return StateWatch(check, read, '; '.join)


def mismatches(snapshot: Snapshot, topic: str) -> Iterator[str]:
    """Yield a text for each publisher and subscriber of a topic that cannot talk, and why.

    A pair of different types cannot either, whatever its policies are.
    """
    for publisher in snapshot.publishers.get(topic, ()):
        for subscriber in snapshot.subscribers.get(topic, ()):
            found = incompatibilities(publisher.profile, subscriber.profile)
            if publisher.type != subscriber.type:
                found = (f'type: offered {publisher.type}, requested {subscriber.type}', *found)
            if found:
                yield f'{publisher} -> {subscriber} on {topic}: {"; ".join(found)}'
