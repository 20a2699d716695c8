"""Samples from the running ROS graph.

No executor and no callback: the middleware's own threads receive, stamp and queue; this side
empties the queues every few ten milliseconds. So a busy machine delays when we look, not what we
see, and a message costs a fraction of a callback.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rclpy.context import Context
from rclpy.event_handler import QoSSubscriptionEventType, UnsupportedEventTypeError
from rclpy.exceptions import InvalidTopicNameException
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

from robot_qa.errors import SetupError
from robot_qa.probes.batch import Batch, Observation, Payloads
from robot_qa.probes.qos import Asked, as_text

# Looking less often costs less: after a pause all code is cold, so a look at one message costs as
# much as one at fifty. What is measured does not depend on when we look.
POLL_PERIOD_S = 0.2
GRAPH_PERIOD_S = 1.0
SEARCH_PERIOD_S = 0.1
# The queue holds what comes in this time: how long the monitor may be kept from looking.
QUEUE_S = 2.0
QUEUE_AT_LEAST = 100
QUEUE_UNKNOWN_RATE = 2000
# How many large messages may wait where the rate is not known.
QUEUE_BULKY = 60
# Of glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
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
    asked: Asked = Asked(reliable=True, latched=True)
    received: int = 0
    since: float = 0.0
    # By gid: the index that batches carry; by index: the highest sequence number.
    publishers: dict[bytes, int] = field(default_factory=dict)
    highest: dict[int, int] = field(default_factory=dict)
    gaps: int = 0
    gaps_when_full: int = 0
    lost_before: int = 0
    found: dict[int, PublisherInfo] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    next_look: float = 0.0

    def note(self, text: str) -> None:
        """Keep a remark once."""
        if text not in self.notes:
            self.notes.append(text)

    def begin(self) -> None:
        """Count from here on."""
        self.received = self.gaps = self.gaps_when_full = 0
        self.highest.clear()
        self.lost_before = self._lost()

    def numbers(self, info: dict[str, Any]) -> tuple[int, int, int, int]:
        """Return send time, reception, sequence number and publisher; zero for what is unknown.

        Counts the sequence gaps on its way.
        """
        sequence = info.get('publication_sequence_number') or 0
        publisher = info.get('publisher_gid')
        index = 0
        if publisher is not None:
            index = self.publishers.setdefault(publisher['data'], len(self.publishers))
        elif len(self.publishers) > 1:
            # Before Kilted a message does not say whose it is; the numbers of two publishers
            # cannot be told apart.
            sequence = 0
        highest = self.highest.get(index, sequence - 1)
        if sequence > highest:
            self.gaps += sequence - highest - 1
            self.highest[index] = sequence
        return info['source_timestamp'], info['received_timestamp'], sequence, index

    def overruns(self) -> int:
        """Return how many messages were lost because our queue was full.

        A full queue replaces its oldest message. That is a gap in the sequence and no event (so
        found with Fast DDS 3.2, reliable and best-effort). What the transport lost is a gap and
        counts in the event ``message_lost``, the latter up to one message earlier or later.
        """
        return max(0, min(self.gaps_when_full, self.gaps - (self._lost() - self.lost_before)))

    def _lost(self) -> int:
        """Return how many messages the middleware reports as lost before they reached the queue."""
        if self.lost_event is None:
            return 0
        with self.lost_event:
            status = self.lost_event.take_event()
        return 0 if status is None else int(status.total_count)


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
            watch.begin()
            if watch.subscription is not None and watch.asked.latched:
                # What is latched holds now, whenever it was sent: a new subscription gets it.
                self._subscribe(watch, watch.asked, watch.depth)
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
        overruns = {topic: watch.overruns() for topic, watch in self.watches.items()}
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
                    as_text(info.qos_profile),
                )
                self._newcomers.append(watch.found[index])
        if not ours:
            return
        suitable = Asked.that_suits(ours)
        depth = max(watch.depth, self._depth(watch))
        if watch.subscription is None:
            self._subscribe(watch, suitable, depth)
        elif not watch.asked.hears(suitable) or depth > 2 * watch.depth:
            # A publisher that offers less than we asked for would never match.
            self._subscribe(watch, suitable, depth)
            qos = f'{suitable.reliability} {suitable.durability}'.lower()
            watch.note(f'subscribed again as {qos} with a queue of {depth}')

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
        return QUEUE_BULKY if _is_bulky(watch) else QUEUE_UNKNOWN_RATE

    def _subscribe(self, watch: Watch, asked: Asked, depth: int) -> None:
        assert watch.type is not None
        if watch.message_class is None:
            watch.message_class = _message_class(watch)
            if watch.message_class is None:
                return
        if watch.subscription is not None:
            self.node.destroy_subscription(watch.subscription)
            # What was sent in between is nobody's loss: start counting anew.
            watch.highest.clear()
        if _is_bulky(watch):
            _keep_freed_memory()
        profile = QoSProfile(
            history=HistoryPolicy.KEEP_LAST, depth=depth,
            reliability=ReliabilityPolicy[asked.reliability],
            durability=DurabilityPolicy[asked.durability],
        )
        watch.subscription = self.node.create_subscription(
            watch.message_class, watch.wanted.topic, _never_called, profile, raw=True
        )
        watch.lost_event = _lost_event(watch.subscription)
        watch.asked, watch.depth, watch.since = asked, depth, time.monotonic()

    def _take(self, watch: Watch) -> Batch | None:
        take, kind = watch.subscription.handle.take_message, watch.message_class
        payloads: list[bytes] = []
        numbers: list[int] = []
        gaps = watch.gaps
        # At most one queue a turn, so that a flood on one topic does not starve the others.
        for _ in range(watch.depth):
            taken = take(kind, True)
            if taken is None:
                break
            payloads.append(taken[0])
            numbers += watch.numbers(taken[1])
        if not payloads:
            return None
        assert watch.type is not None
        if len(payloads) == watch.depth:
            watch.gaps_when_full += watch.gaps - gaps
        watch.received += len(payloads)
        source, received, sequence, publisher = np.array(numbers, np.int64).reshape(-1, 4).T.copy()
        return Batch(
            topic=watch.wanted.topic, type=watch.type,
            source_ns=source if source[0] else None,
            received_ns=received if received[0] else np.full(len(received), time.time_ns()),
            sequence=sequence if sequence.all() else None, publisher=publisher,
            payloads=Payloads.of(payloads),
        )

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


def _is_bulky(watch: Watch) -> bool:
    return (watch.type or '').rsplit('/', 1)[-1] in BULKY_TYPES


def _message_class(watch: Watch) -> Any:
    package, _, name = (watch.type or '').partition('/msg/')
    try:
        return getattr(importlib.import_module(f'{package}.msg'), name)
    except (ImportError, AttributeError, ValueError):
        watch.note(f'{watch.type} has no Python support here: is {package} installed and sourced?')
        return None


def _lost_event(subscription: Any) -> Any:
    kind = QoSSubscriptionEventType.RCL_SUBSCRIPTION_MESSAGE_LOST
    try:
        with subscription.handle:
            return rclpy_implementation.EventHandle(subscription.handle, kind)
    except UnsupportedEventTypeError:
        return None


def _keep_freed_memory() -> None:
    """Make malloc keep large blocks that are freed, up to 256 MiB, where it can be told to.

    Else every image is copied into fresh pages, which costs more than the copying.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, 'mallopt'):
        libc.mallopt(M_MMAP_THRESHOLD, 32 << 20)
        libc.mallopt(M_TRIM_THRESHOLD, 256 << 20)
