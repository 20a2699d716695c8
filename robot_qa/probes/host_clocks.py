"""Whose clock writes the stamps of a topic, and how far that clock is off ours.

No executor: a request is sent, its answer waits in the middleware's queue until somebody looks,
with the time at which the middleware received it. So the bounds do not depend on when we look.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable
from typing import Any

from rclpy.exceptions import InvalidTopicNameException
from rclpy.node import Node
from std_srvs.srv import Trigger

from robot_qa.probes.batch import Batch
from robot_qa.probes.caller import Line
from robot_qa.probes.journal import Journal
from robot_qa.probes.live import UNKNOWN_NODE
from robot_qa.probes.round_trips import (
    JOURNAL_NAME,
    SERVICE,
    RoundTrip,
    TimeAnswer,
    host_key,
    offset,
)
from robot_qa.probes.time_service import own_key
from robot_qa.timebase import NS_PER_S

TRIGGER = 'std_srvs/srv/Trigger'
SEARCH_PERIOD_S = 1.0
LOOK_PERIOD_S = 2.0
ENTRY_PERIOD_S = 1.0
# The first entries come sooner, so that short runs have some.
FIRST_ENTRIES_S = 0.3
# Shorter than the pause between two drains, so that each asks.
ASK_PERIOD_S = 0.15
# Until a service has answered so often it is asked as fast as it answers.
BURST = 8
# An answer that takes longer tells too little to be waited for.
PATIENCE_S = 2.0
# A service that does not answer holds up the start of a run no longer than this.
INTRODUCTION_S = 1.5
# How far back round trips bound the offset now; those before are too loose by then.
MEMORY_NS = 2 * NS_PER_S


class HostClocks:
    """Asks all time services of the graph for the time, and looks who publishes some topics.

    Its journal ``clocks`` gets an entry a second: for each host that answered, bounds on its
    clock less ours since the entry before, and the hosts and nodes that publish each topic.
    """

    def __init__(self, node: Node, topics: Iterable[str]) -> None:
        self._node = node
        self._topics = sorted(topics)
        self._key = own_key(node)
        self._host = socket.gethostname()
        self._journal = Journal(JOURNAL_NAME)
        self._services: dict[str, _Service] = {}
        self._publishers: dict[str, list[tuple[str | None, str]]] = {}
        self._first_seen: dict[bytes, float] = {}
        self._next_search = self._next_look = 0.0
        self._next_entry = float('inf')

    def missing(self) -> list[str]:
        """Return the services that are there and may still answer for the first time."""
        now = time.monotonic()
        return [f'an answer of {one.name}' for one in self._services.values()
                if one.is_introduced(now)]

    def begin(self) -> None:
        """Start the observation with what the round trips of the last seconds tell."""
        self._journal.drain()
        now = time.monotonic()
        self._search(now)
        self._look(now)
        self._write()
        self._next_entry = now + FIRST_ENTRIES_S

    def drain(self) -> list[Batch]:
        """Take what was answered, ask who is due, and return what there is to tell."""
        now = time.monotonic()
        if now >= self._next_search:
            self._search(now)
        for service in self._services.values():
            service.go_on(now)
        if now >= self._next_look:
            self._look(now)
        if now >= self._next_entry:
            self._write()
            self._next_entry = now + ENTRY_PERIOD_S
        return self._journal.drain()

    def close(self) -> None:
        """Leave the services."""
        for service in self._services.values():
            service.line.close()
        self._services.clear()

    def _search(self, now: float) -> None:
        self._next_search = now + SEARCH_PERIOD_S
        for name, kinds in self._node.get_service_names_and_types():
            ours = name.rpartition('/')[2] == SERVICE and TRIGGER in kinds
            if ours and name not in self._services:
                self._services[name] = _Service(self._node, name, now)

    def _look(self, now: float) -> None:
        self._next_look = now + LOOK_PERIOD_S
        for topic in self._topics:
            try:
                infos = self._node.get_publishers_info_by_topic(topic)
            except InvalidTopicNameException:
                continue
            found = {(host_key(bytes(info.endpoint_gid)), _node_of(info))
                     for info in infos if self._is_named(info, now)}
            self._publishers[topic] = sorted(found, key=str)

    def _is_named(self, endpoint: Any, now: float) -> bool:
        """Tell whether its name has come; who is no node never has one."""
        first = self._first_seen.setdefault(bytes(endpoint.endpoint_gid), now)
        return endpoint.node_name != UNKNOWN_NODE or now > first

    def _write(self) -> None:
        self._journal.write(time.time_ns(), {
            'host': self._host, 'key': self._key,
            'hosts': [one for service in self._services.values() for one in service.told()],
            'topics': self._publishers,
        })


class _Service:
    """One time service, and the hosts that answer by its name: one, unless nodes share it."""

    def __init__(self, node: Node, name: str, now: float) -> None:
        self.name = name
        self.line = Line(node, Trigger, name)
        self._found = now
        self._due = now
        self._pending: dict[int, tuple[int, float]] = {}
        self._answers: dict[tuple[str, str | None], _Answers] = {}

    def is_introduced(self, now: float) -> bool:
        """Tell whether its first answers may still be on their way."""
        return self._fewest() < BURST and now - self._found < INTRODUCTION_S

    def go_on(self, now: float) -> None:
        """Take what came, and ask again when it is time."""
        while (answer := self.line.take()) is not None:
            said = TimeAnswer.read(answer.response.message)
            asked = self._pending.get(answer.sequence)
            if said is not None and asked is not None:
                trip = RoundTrip.of(asked[0], said, answer.received_ns)
                self._answers.setdefault((said.host, said.key), _Answers()).add(trip)
                self._due = self._due if self._fewest() >= BURST else now
        # Kept beyond the first answer: nodes of one name on two hosts answer both.
        self._pending = {number: asked for number, asked in self._pending.items()
                         if now - asked[1] < PATIENCE_S}
        if now >= self._due and self.line.ready():
            self._due = now + ASK_PERIOD_S
            number, sent_ns = self.line.send(Trigger.Request())
            self._pending[number] = sent_ns, now

    def told(self) -> list[dict[str, Any]]:
        """Return what is known of each host that has answered since the last call."""
        return [
            {'service': self.name, 'host': host, 'key': key, **answers.told()}
            for (host, key), answers in self._answers.items() if answers.news
        ]

    def _fewest(self) -> int:
        return min((one.count for one in self._answers.values()), default=0)


class _Answers:
    """The round trips to one host."""

    def __init__(self) -> None:
        self.count = 0
        self.news = False
        self._best_ns: int | None = None
        self._trips: list[RoundTrip] = []

    def add(self, trip: RoundTrip) -> None:
        """Take the next one."""
        self.count += 1
        self.news = True
        took = trip.took_ns
        self._best_ns = took if self._best_ns is None else min(self._best_ns, took)
        self._trips.append(trip)

    def told(self) -> dict[str, Any]:
        """Return bounds since the last call; what was just before bounds it, too."""
        last = self._trips[-1].at_ns
        self._trips = [trip for trip in self._trips if last - trip.at_ns <= MEMORY_NS]
        self.news = False
        found = offset(self._trips)
        return {
            'low_ns': found.low_ns, 'high_ns': found.high_ns, 'stepped': found.stepped,
            'round_trips': self.count, 'best_ns': self._best_ns,
        }


def _node_of(endpoint: Any) -> str:
    return f'{endpoint.node_namespace.rstrip("/")}/{endpoint.node_name}'
