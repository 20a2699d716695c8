"""Samples from the running ROS graph.

No executor and no callback: the middleware's own threads receive, stamp and queue; this side
empties the queues every few ten milliseconds. So a busy machine delays when we look, not what we
see, and a message costs a fraction of a callback.
"""

from __future__ import annotations

import ctypes
import importlib
import math
import os
import time
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
from robot_qa.probes.watch import PublisherInfo, Wanted, Watch

__all__ = ['POLL_PERIOD_S', 'LiveProbe', 'PublisherInfo', 'Wanted']

# The longest pause between two looks. After a pause all code is cold, so that a look at one
# message costs as much as one at fifty. What is measured does not depend on when we look.
POLL_PERIOD_S = 0.2
GRAPH_PERIOD_S = 1.0
SEARCH_PERIOD_S = 0.1
# The queue holds what comes in this time: how long the monitor may be kept from looking.
QUEUE_S = 2.0
QUEUE_AT_LEAST = 100
# A Fast DDS reader holds no more, whatever depth it is asked for: then it refuses what comes, and
# a reliable publisher that nobody takes from fails to publish (Fast DDS 3.2). Up to here it
# replaces the oldest instead.
QUEUE_AT_MOST = 5000
# The next look is due, at the latest, when the fullest queue is filled so far.
QUEUE_SHARE = 0.1
QUEUE_UNKNOWN_RATE = 2000
# How many large messages may wait where the rate is not known.
QUEUE_BULKY = 60
# Of glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
# What the graph calls a node whose name has not been heard yet.
UNKNOWN_NODE = '_NODE_NAME_UNKNOWN_'
BULKY_TYPES = ('Image', 'CompressedImage', 'PointCloud2', 'OccupancyGrid')


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
        self._drained = time.monotonic()
        self._pause_s = POLL_PERIOD_S
        self._start_ns = self._end_ns = time.time_ns()

    def newcomers(self) -> list[PublisherInfo]:
        """Return the publishers that were discovered since the last call."""
        found, self._newcomers = self._newcomers, []
        return found

    def begin(self) -> None:
        """Start the observation now; what came before does not count."""
        self.drain()
        for watch in self.watches.values():
            watch.begin(time.monotonic())
        self._start_ns = self._end_ns = time.time_ns()
        for watch in self.watches.values():
            if watch.asked is not None and watch.asked.latched:
                # What is latched holds now, whenever it was sent: a new subscription gets it.
                self._destroy(watch, watch.subscriptions)
                self._subscribe(watch, watch.asked, watch.depth)

    @property
    def pause_s(self) -> float:
        """How long to wait until the next drain: less when queues fill fast."""
        return self._pause_s

    def drain(self) -> list[Batch]:
        """Look after the subscriptions and take everything that has come."""
        now = time.monotonic()
        since, self._drained = now - self._drained, now
        fullest = 0.0
        batches = []
        for watch in self.watches.values():
            if watch.subscriptions:
                batch = self._take(watch)
                if batch is not None:
                    batches.append(batch)
                    fullest = max(fullest, len(batch) / watch.depth)
            if now >= watch.next_look:
                settled = self._look(watch) and bool(watch.subscriptions)
                watch.next_look = now + (GRAPH_PERIOD_S if settled else SEARCH_PERIOD_S)
        self._pause_s = min(POLL_PERIOD_S, QUEUE_SHARE * since / fullest if fullest else math.inf)
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

    def _look(self, watch: Watch) -> bool:
        """Discover the publishers of a topic and (re)subscribe so that all of them match.

        Returns whether all that publish are known.
        """
        now = time.monotonic()
        if now - watch.since >= GRAPH_PERIOD_S:
            # The newest subscription has had its time to be matched.
            self._destroy(watch, watch.subscriptions[:-1])
        try:
            publishers = self.node.get_publishers_info_by_topic(watch.wanted.topic)
        except InvalidTopicNameException as error:
            watch.note(str(error))
            return True
        if watch.type is None and publishers:
            watch.type = watch.wanted.type or min(info.topic_type for info in publishers)
        known = self._introduce(watch, publishers, now)
        ours = [info for info in publishers if info.topic_type == watch.type]
        if not ours:
            return known
        suitable = Asked.that_suits(ours)
        depth = max(watch.depth, self._depth(watch))
        if not watch.subscriptions:
            self._subscribe(watch, suitable, depth)
        elif not (watch.asked and watch.asked.hears(suitable)) or depth > 2 * watch.depth:
            # A publisher that offers less than we asked for would never match.
            self._subscribe(watch, suitable, depth)
            qos = f'{suitable.reliability} {suitable.durability}'.lower()
            watch.note(f'subscribed again as {qos} with a queue of {depth}')
        return known

    def _introduce(self, watch: Watch, publishers: list[Any], now: float) -> bool:
        """Keep who publishes what, and note who publishes another type."""
        known = True
        for info in publishers:
            gid = bytes(info.endpoint_gid)[:16]
            first_seen = watch.first_seen.setdefault(gid, now)
            if info.topic_type == watch.type:
                # Counted from the first look on: its numbers may already be among the messages.
                watch.publishers.setdefault(gid, len(watch.publishers))
            if info.node_name == UNKNOWN_NODE and now - first_seen < GRAPH_PERIOD_S:
                # The name often comes a moment later; who is no node never has one.
                known = False
                continue
            if info.topic_type != watch.type:
                watch.note(f'{_node_of(info)} publishes {info.topic_type}, not {watch.type}')
                continue
            index = watch.publishers[gid]
            if index not in watch.found:
                watch.found[index] = PublisherInfo(
                    watch.wanted.topic, info.topic_type, index, _node_of(info), gid.hex(),
                    as_text(info.qos_profile),
                )
                self._newcomers.append(watch.found[index])
        return known

    def _depth(self, watch: Watch) -> int:
        rate = watch.wanted.rate or 0.0
        spent = time.monotonic() - watch.counting_since
        if watch.subscriptions and spent > 1.0:
            rate = max(rate, watch.received / spent)
        if rate > 0.0:
            return min(max(QUEUE_AT_LEAST, int(QUEUE_S * rate)), QUEUE_AT_MOST)
        return QUEUE_BULKY if _is_bulky(watch) else QUEUE_UNKNOWN_RATE

    def _subscribe(self, watch: Watch, asked: Asked, depth: int) -> None:
        """Subscribe; where there is a subscription already, it goes at the next look.

        Until then both receive, and what came twice is told by its number: nothing is missed.
        Where numbers do not tell that, the old one goes at once.
        """
        if watch.message_class is None:
            watch.message_class = _message_class(watch)
            if watch.message_class is None:
                return
        if _is_bulky(watch):
            _keep_freed_memory()
        profile = QoSProfile(
            history=HistoryPolicy.KEEP_LAST, depth=depth,
            reliability=ReliabilityPolicy[asked.reliability],
            durability=DurabilityPolicy[asked.durability],
        )
        subscription = self.node.create_subscription(
            watch.message_class, watch.wanted.topic, _never_called, profile, raw=True
        )
        if watch.subscriptions and watch.anonymous:
            self._destroy(watch, watch.subscriptions)
            watch.interrupted = True
        watch.since = time.monotonic()
        watch.counting_since = watch.counting_since or watch.since
        watch.subscriptions.append(subscription)
        watch.change_lost_event(_lost_event(subscription))
        watch.asked, watch.depth = asked, depth

    def _destroy(self, watch: Watch, subscriptions: list[Any]) -> None:
        for subscription in list(subscriptions):
            watch.subscriptions.remove(subscription)
            self.node.destroy_subscription(subscription)

    def _take(self, watch: Watch) -> Batch | None:
        payloads: list[bytes] = []
        columns: list[int] = []
        for subscription in watch.subscriptions:
            self._empty(watch, subscription, payloads, columns)
        if not payloads:
            return None
        assert watch.type is not None
        watch.received += len(payloads)
        source, received, sequence, publisher = np.array(columns, np.int64).reshape(-1, 4).T.copy()
        return Batch(
            topic=watch.wanted.topic, type=watch.type,
            source_ns=source if source[0] else None,
            received_ns=received if received[0] else np.full(len(received), time.time_ns()),
            sequence=sequence if sequence.all() else None, publisher=publisher,
            payloads=Payloads.of(payloads),
        )

    def _empty(
        self, watch: Watch, subscription: Any, payloads: list[bytes], columns: list[int]
    ) -> None:
        take, kind = subscription.handle.take_message, watch.message_class
        depth, gaps, count = subscription.qos_profile.depth, watch.gaps, 0
        # At most one queue a turn, so that a flood on one topic does not starve the others.
        while count < depth and (taken := take(kind, True)) is not None:
            count += 1
            numbers = watch.numbers(taken[1])
            if numbers is not None:
                payloads.append(taken[0])
                columns += numbers
        if count:
            watch.took(gaps, count == depth)

    def _notes(self, watch: Watch) -> list[str]:
        if watch.received:
            return watch.notes
        if not watch.subscriptions:
            return watch.notes or ['no publisher was found']
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
