"""Samples from the running ROS graph.

No executor and no callback: the middleware's own threads receive, stamp and queue; this side
empties the queues every few ten milliseconds. So a busy machine delays when we look, not what we
see, and a message costs a fraction of a callback.
"""

from __future__ import annotations

import importlib
import os
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rclpy.context import Context
from rclpy.exceptions import InvalidTopicNameException
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

from robot_qa.errors import SetupError
from robot_qa.probes.batch import Batch, Int64s, Observation, Payloads
from robot_qa.timebase import NS_PER_S

POLL_PERIOD_S = 0.05
GRAPH_PERIOD_S = 1.0
SEARCH_PERIOD_S = 0.1
# The queue holds what comes in this time: how long the monitor may be kept from looking.
QUEUE_S = 2.0
QUEUE_AT_LEAST = 100
QUEUE_UNKNOWN_RATE = 2000
# How many large messages may wait where the rate is not known.
QUEUE_BULKY = 60
BULKY_TYPES = ('Image', 'CompressedImage', 'PointCloud2', 'OccupancyGrid')


@dataclass(frozen=True)
class Wanted:
    """A topic to watch: its type where the spec names it, and the rate to be ready for, in Hz."""

    topic: str
    type: str | None = None
    rate: float | None = None


@dataclass(frozen=True)
class PublisherInfo:
    """Who publishes: ``index`` is what batches carry, ``gid`` the middleware's identity in hex.

    ``qos`` is what it offers, as rosbag2 writes it: YAML.
    """

    topic: str
    type: str
    index: int
    node: str
    gid: str
    qos: str


@dataclass
class Watch:
    """A subscription and what is known of its topic."""

    wanted: Wanted
    type: str | None = None
    message_class: Any = None
    subscription: Any = None
    lost_event: Any = None
    depth: int = 0
    qos: tuple[str, str] = ('', '')
    received: int = 0
    since: float = 0.0
    lost_by_transport: int = 0
    # By gid: the index that batches carry, and the last sequence number.
    publishers: dict[bytes, int] = field(default_factory=dict)
    last_sequence: dict[int, int] = field(default_factory=dict)
    gaps: int = 0
    found: dict[int, PublisherInfo] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    next_look: float = 0.0

    def note(self, text: str) -> None:
        """Keep a remark once."""
        if text not in self.notes:
            self.notes.append(text)


class LiveProbe:
    """Watches topics of a ROS graph; ``domain_id`` None means that of the environment."""

    def __init__(self, wanted: list[Wanted], domain_id: int | None = None) -> None:
        self._context = Context()
        try:
            self._context.init(args=[], domain_id=domain_id)
            self.node = Node(
                f'_robot_qa_{os.getpid()}', context=self._context, use_global_arguments=False,
                enable_rosout=False, start_parameter_services=False,
                parameter_overrides=[Parameter('start_type_description_service', value=False)],
            )
        except Exception as error:
            raise SetupError(f'cannot join the ROS graph: {error}') from error
        self.watches = {one.topic: Watch(one) for one in wanted}
        self._newcomers: list[PublisherInfo] = []
        self._start_ns = self._end_ns = time.time_ns()

    def newcomers(self) -> list[PublisherInfo]:
        """Return the publishers that were discovered since the last call."""
        found, self._newcomers = self._newcomers, []
        return found

    def begin(self) -> None:
        """Start the observation now; what came before does not count."""
        self.drain()
        for watch in self.watches.values():
            watch.received = 0
            watch.gaps = 0
            watch.lost_by_transport = _lost_total(watch)
        self._start_ns = self._end_ns = time.time_ns()

    def drain(self) -> list[Batch]:
        """Look after the subscriptions and take everything that has come."""
        now = time.monotonic()
        batches = []
        for watch in self.watches.values():
            if now >= watch.next_look:
                self._look(watch)
                matched = watch.subscription is not None
                watch.next_look = now + (GRAPH_PERIOD_S if matched else SEARCH_PERIOD_S)
            if watch.subscription is not None:
                batch = self._take(watch)
                if batch is not None:
                    batches.append(batch)
        self._end_ns = time.time_ns()
        return batches

    def observation(self) -> Observation:
        """Return the span watched, our own overruns and what was noted per topic."""
        overruns = {}
        for topic, watch in self.watches.items():
            lost = _lost_total(watch) - watch.lost_by_transport
            overruns[topic] = max(0, watch.gaps - max(0, lost))
        notes = {topic: self._notes(watch) for topic, watch in self.watches.items()}
        return Observation(self._start_ns, self._end_ns, overruns, notes)

    def missing(self, topics: list[str], services: list[str], nodes: list[str]) -> list[str]:
        """Return what is not there yet, in words; a watched topic is there once it delivered."""
        lacking = []
        for topic in topics:
            watch = self.watches.get(topic)
            if watch is not None and watch.received == 0:
                lacking += [f'a message on {topic}']
            elif watch is None and not self.node.count_publishers(topic):
                lacking += [f'a publisher of {topic}']
        if services:
            present = {name for name, _ in self.node.get_service_names_and_types()}
            lacking += [f'service {name}' for name in services if name not in present]
        if nodes:
            present = {
                f'{space.rstrip("/")}/{name}'
                for name, space in self.node.get_node_names_and_namespaces()
            }
            lacking += [f'node {name}' for name in nodes if name not in present]
        return lacking

    def close(self) -> None:
        """Leave the graph."""
        if self._context.ok():
            self.node.destroy_node()
            self._context.shutdown()

    def _look(self, watch: Watch) -> None:
        """Discover the publishers of a topic and (re)subscribe so that all of them match."""
        topic = watch.wanted.topic
        try:
            publishers = self.node.get_publishers_info_by_topic(topic)
        except InvalidTopicNameException as error:
            watch.note(str(error))
            return
        self._choose_type(watch, publishers)
        ours = [info for info in publishers if info.topic_type == watch.type]
        for info in ours:
            gid = bytes(info.endpoint_gid)[:16]
            index = watch.publishers.setdefault(gid, len(watch.publishers))
            if index not in watch.found:
                watch.found[index] = PublisherInfo(
                    topic, info.topic_type, index, _node_of(info), gid.hex(),
                    _qos_text(info.qos_profile),
                )
                self._newcomers.append(watch.found[index])
        if not ours:
            return
        # Ask for no more than every publisher offers; one that came late may offer less.
        reliable = all(
            info.qos_profile.reliability == ReliabilityPolicy.RELIABLE for info in ours
        )
        latched = all(
            info.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for info in ours
        )
        qos = ('RELIABLE' if reliable else 'BEST_EFFORT',
               'TRANSIENT_LOCAL' if latched else 'VOLATILE')
        depth = max(watch.depth, self._depth(watch))
        if watch.subscription is None:
            self._subscribe(watch, qos, depth)
        elif _offers_less(qos, watch.qos) or depth > 2 * watch.depth:
            # A looser offer cannot be ignored: that publisher would never match. A tighter one
            # can: we still receive from it.
            self._subscribe(watch, qos, depth)

    def _choose_type(self, watch: Watch, publishers: list[Any]) -> None:
        types = sorted({info.topic_type for info in publishers})
        wanted = watch.wanted.type
        if watch.type is None and (wanted or types):
            watch.type = wanted or types[0]
        for info in publishers:
            if info.topic_type != watch.type:
                watch.note(f'{_node_of(info)} publishes {info.topic_type}, not {watch.type}')

    def _depth(self, watch: Watch) -> int:
        rate = watch.wanted.rate or 0.0
        if watch.subscription is not None:
            spent = time.monotonic() - watch.since
            rate = max(rate, watch.received / spent) if spent > 1.0 else rate
        if rate > 0.0:
            return max(QUEUE_AT_LEAST, int(QUEUE_S * rate))
        bulky = (watch.type or '').rsplit('/', 1)[-1] in BULKY_TYPES
        return QUEUE_BULKY if bulky else QUEUE_UNKNOWN_RATE

    def _subscribe(self, watch: Watch, qos: tuple[str, str], depth: int) -> None:
        assert watch.type is not None
        if watch.message_class is None:
            watch.message_class = _message_class(watch)
            if watch.message_class is None:
                return
        if watch.subscription is not None:
            self.node.destroy_subscription(watch.subscription)
            watch.note(f'subscribed again as {" ".join(qos).lower()} with a queue of {depth}')
            # What was sent in between is nobody's loss: start counting anew.
            watch.last_sequence.clear()
        profile = QoSProfile(
            history=HistoryPolicy.KEEP_LAST, depth=depth,
            reliability=ReliabilityPolicy[qos[0]], durability=DurabilityPolicy[qos[1]],
        )
        watch.subscription = self.node.create_subscription(
            watch.message_class, watch.wanted.topic, _never_called, profile, raw=True
        )
        watch.lost_event = _lost_event(watch.subscription)
        watch.qos, watch.depth, watch.since = qos, depth, time.monotonic()

    def _take(self, watch: Watch) -> Batch | None:
        take, kind = watch.subscription.handle.take_message, watch.message_class
        payloads: list[bytes] = []
        infos: list[dict[str, Any]] = []
        # At most one queue a turn, so that a flood on one topic does not starve the others.
        for _ in range(watch.depth):
            taken = take(kind, True)
            if taken is None:
                break
            payloads.append(taken[0])
            infos.append(taken[1])
        if not infos:
            return None
        assert watch.type is not None
        watch.received += len(infos)
        publisher = self._publishers(watch, infos)
        sequence = _column(infos, 'publication_sequence_number')
        if sequence is not None:
            _count_gaps(watch, sequence, publisher)
        received = _column(infos, 'received_timestamp')
        return Batch(
            topic=watch.wanted.topic, type=watch.type,
            source_ns=_column(infos, 'source_timestamp'),
            received_ns=np.full(len(infos), time.time_ns()) if received is None else received,
            sequence=sequence, publisher=publisher, payloads=Payloads.of(payloads),
        )

    def _publishers(self, watch: Watch, infos: list[dict[str, Any]]) -> Int64s:
        if 'publisher_gid' not in infos[0]:
            return np.zeros(len(infos), np.int64)
        known = watch.publishers
        gids = [info['publisher_gid']['data'] for info in infos]
        return np.array([known.setdefault(gid, len(known)) for gid in gids], np.int64)

    def _notes(self, watch: Watch) -> list[str]:
        if watch.received:
            return watch.notes
        if watch.subscription is None and not watch.notes:
            return ['no publisher was found']
        who = ', '.join(info.node for info in watch.found.values())
        return [*watch.notes, f'published by {who}, which sent nothing'] if who else watch.notes


def _never_called(message: bytes) -> None:
    """Stand in for a callback: nothing spins this node."""


def _node_of(endpoint: Any) -> str:
    return f'{endpoint.node_namespace.rstrip("/")}/{endpoint.node_name}'


def _qos_text(profile: Any) -> str:
    return (
        '- history: unknown\n  depth: 0\n'
        f'  reliability: {profile.reliability.name.lower()}\n'
        f'  durability: {profile.durability.name.lower()}\n'
        + ''.join(f'  {name}:\n    sec: {span.nanoseconds // NS_PER_S}\n'
                  f'    nsec: {span.nanoseconds % NS_PER_S}\n'
                  for name, span in (('deadline', profile.deadline),
                                     ('lifespan', profile.lifespan)))
        + f'  liveliness: {profile.liveliness.name.lower()}\n'
        '  liveliness_lease_duration:\n'
        f'    sec: {profile.liveliness_lease_duration.nanoseconds // NS_PER_S}\n'
        f'    nsec: {profile.liveliness_lease_duration.nanoseconds % NS_PER_S}\n'
        '  avoid_ros_namespace_conventions: false\n'
    )


def _column(infos: list[dict[str, Any]], key: str) -> Int64s | None:
    """Return one column of the middleware's message infos; None where it keeps no such value."""
    first = infos[0].get(key)
    # The middleware writes the largest unsigned number, or zero, for a time it does not know.
    if not first or first >= 2**63:
        return None
    return np.array([info[key] for info in infos], np.int64)


def _count_gaps(watch: Watch, sequence: Int64s, publisher: Int64s) -> None:
    for index in np.unique(publisher).tolist():
        numbers = sequence[publisher == index]
        before = watch.last_sequence.get(index, int(numbers[0]) - 1)
        highest = np.maximum.accumulate(np.concatenate(([before], numbers)))
        watch.gaps += int(np.maximum(np.diff(highest) - 1, 0).sum())
        watch.last_sequence[index] = int(highest[-1])


def _offers_less(offered: tuple[str, str], asked: tuple[str, str]) -> bool:
    return ((offered[0], asked[0]) == ('BEST_EFFORT', 'RELIABLE')
            or (offered[1], asked[1]) == ('VOLATILE', 'TRANSIENT_LOCAL'))


def _message_class(watch: Watch) -> Any:
    package, _, name = (watch.type or '').partition('/msg/')
    try:
        return getattr(importlib.import_module(f'{package}.msg'), name)
    except (ImportError, AttributeError, ValueError):
        watch.note(f'{watch.type} has no Python support here: is {package} installed and sourced?')
        return None


def _lost_event(subscription: Any) -> Any:
    from rclpy.event_handler import QoSSubscriptionEventType

    kind = QoSSubscriptionEventType.RCL_SUBSCRIPTION_MESSAGE_LOST
    with subscription.handle:
        return rclpy_implementation.EventHandle(subscription.handle, kind)


def _lost_total(watch: Watch) -> int:
    """Return how many messages the middleware reports as lost before they reached the queue."""
    if watch.lost_event is None:
        return 0
    with watch.lost_event:
        status = watch.lost_event.take_event()
    return 0 if status is None else int(status.total_count)
