"""Looks at the graph once a second, and notes how it is when it has changed.

A look is spread over the calls of a second, so that none of them takes long: first the names of
nodes and topics, then a few topics' endpoints at a time.
"""

from __future__ import annotations

import math
import time
from typing import Any, NamedTuple

from rclpy.exceptions import InvalidTopicNameException
from rclpy.node import Node

from robot_qa.probes.batch import Batch
from robot_qa.probes.journal import Journal
from robot_qa.probes.nodes import NodeAsker
from robot_qa.spec.graph import GraphInterest, is_ours

PERIOD_S = 1.0
# A look is spread over this time, however often we are called; the rest is room for late calls.
SPREAD_S = 0.6
# Prefix of a GID that names the participant: RTPS 2.5, 8.2.4.1.
PARTICIPANT_BYTES = 12


class _Endpoint(NamedTuple):
    node: str
    participant: str
    type: str
    qos: tuple[str, str, int, str, int]


class _Sides(NamedTuple):
    publishers: tuple[_Endpoint, ...]
    subscribers: tuple[_Endpoint, ...]


class _View(NamedTuple):
    nodes: tuple[str, ...]
    topics: dict[str, _Sides]


class GraphProbe:
    """Watches nodes and endpoints; what nodes answer for themselves it leaves to a `NodeAsker`.

    Its journal ``graph`` gets a snapshot when something has changed, and else an empty entry a
    second, which tells that nothing did.
    """

    def __init__(self, node: Node, interest: GraphInterest) -> None:
        self._node = node
        self._interest = interest
        self._asker = NodeAsker(node, interest)
        self._journal = Journal('graph')
        self._next_look = 0.0
        self._left: list[str] = []
        self._count = 0
        self._started = 0.0
        self._under_way: _View | None = None
        self._last: _View | None = None

    def missing(self) -> list[str]:
        """Return what the spec names and the graph does not have yet, in words."""
        there = set(self._nodes())
        lacking = [f'node {name}' for name in self._interest.nodes if name not in there]
        for topic, least in self._interest.least.items():
            for noun, wanted, found in zip(_Sides._fields, least, self._sides(topic), strict=True):
                count = sum(not is_ours(one.node) for one in found)
                if count < wanted:
                    lacking.append(f'{wanted - count} more {noun} of {topic}')
        return [*lacking, *self._asker.missing()]

    def begin(self) -> None:
        """Start the observation with a whole look at once."""
        self._journal.drain()
        self._last = None
        self._start_look(time.monotonic())
        self._go_on(len(self._left))
        self._asker.begin()

    def drain(self) -> list[Batch]:
        """Go on with the look, and return what there is to tell."""
        now = time.monotonic()
        if self._under_way is None and now >= self._next_look:
            self._start_look(now)
        if self._under_way is not None:
            passed = (now - self._started) / SPREAD_S
            done = self._count - len(self._left)
            self._go_on(max(0, math.ceil(self._count * passed) - done))
        return [*self._journal.drain(), *self._asker.drain()]

    def close(self) -> None:
        """Leave the services of the nodes."""
        self._asker.close()

    def _start_look(self, now: float) -> None:
        self._next_look = now + PERIOD_S
        self._left = self._topics()
        self._count = len(self._left)
        self._started = now
        self._under_way = _View(tuple(sorted(self._nodes())), {})

    def _go_on(self, count: int) -> None:
        view = self._under_way
        assert view is not None
        turn, self._left = self._left[:count], self._left[count:]
        for topic in turn:
            view.topics[topic] = self._sides(topic)
        if self._left:
            return
        self._under_way = None
        self._journal.write(time.time_ns(), {} if view == self._last else self._snapshot(view))
        self._last = view

    def _nodes(self) -> list[str]:
        return [_full(name, space) for name, space in self._node.get_node_names_and_namespaces()]

    def _topics(self) -> list[str]:
        """Return the topics to look at: those of interest, and one of each node to identify."""
        if self._interest.topics is None:
            return sorted(name for name, _ in self._node.get_topic_names_and_types())
        chosen = set(self._interest.topics)
        there = self._node.get_node_names_and_namespaces() if self._interest.identities else []
        for name, space in there:
            if _full(name, space) in self._interest.identities:
                chosen |= self._topic_of(name, space)
        return sorted(chosen)

    def _topic_of(self, name: str, space: str) -> set[str]:
        for ask in (
            self._node.get_publisher_names_and_types_by_node,
            self._node.get_subscriber_names_and_types_by_node,
        ):
            try:
                topics = sorted(topic for topic, _ in ask(name, space))
            except Exception:  # the node is gone; rclpy has no public name for what it raises
                continue
            if topics:
                return {topics[0]}
        return set()

    def _sides(self, topic: str) -> _Sides:
        try:
            return _Sides(
                _endpoints(self._node.get_publishers_info_by_topic(topic)),
                _endpoints(self._node.get_subscriptions_info_by_topic(topic)),
            )
        except InvalidTopicNameException:
            return _Sides((), ())

    def _snapshot(self, view: _View) -> dict[str, Any]:
        return {
            'nodes': view.nodes,
            'complete': self._interest.topics is None,
            'topics': {
                topic: {
                    'publishers': [one._asdict() for one in sides.publishers],
                    'subscribers': [one._asdict() for one in sides.subscribers],
                }
                for topic, sides in view.topics.items()
            },
        }


def _full(name: str, space: str) -> str:
    return f'{space.rstrip("/")}/{name}'


def _endpoints(infos: list[Any]) -> tuple[_Endpoint, ...]:
    return tuple(sorted(
        _Endpoint(
            _full(info.node_name, info.node_namespace),
            bytes(info.endpoint_gid[:PARTICIPANT_BYTES]).hex(), info.topic_type,
            _qos(info.qos_profile),
        )
        for info in infos
    ))


def _qos(profile: Any) -> tuple[str, str, int, str, int]:
    return (
        profile.reliability.name.lower(), profile.durability.name.lower(),
        profile.deadline.nanoseconds, profile.liveliness.name.lower(),
        profile.liveliness_lease_duration.nanoseconds,
    )
