"""Publishes messages for a scenario: once, or at a rate while a step lasts."""

from __future__ import annotations

import importlib
import threading
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.serialization import serialize_message

from robot_qa.errors import UnknownTypeError
from robot_qa.messages.literals import fill
from robot_qa.messages.typestore import TypeStore
from robot_qa.probes.caller import not_installed
from robot_qa.probes.clock import ClockReader
from robot_qa.scenario.metronome import Beat, Metronome
from robot_qa.scenario.player import Doing, Done, Gradual
from robot_qa.scenario.velocity import Clamp, VelocityLimits, is_velocity, stop
from robot_qa.spec.scenario import Step
from robot_qa.spec.scenario_actions import Publish
from robot_qa.timebase import NS_PER_S, format_ns

KINDS = ('publish',)
QUEUE = 10
# How long leaving may take until the last messages have arrived.
FAREWELL_S = 0.5
# More than this share of the messages left out, and it was not the rate that was asked for.
MOST_MISSED = 0.1
Work = Generator[None, None, Done]


@dataclass(frozen=True)
class _Letter:
    """A message of a step, ready to be sent: serialized, or with a stamp still to be written.

    ``farewell`` is sent when it is undone; ``remarks`` say what was clamped.
    """

    message: Any
    stamped: bool
    farewell: Any
    remarks: list[str]


class PublishActor:
    """Publishes; its publishers are made before the run starts, so that others know of them.

    A ``header.stamp`` that the spec leaves out is the time of sending, simulated if
    ``on_ros_time``, by which rates go as well. Velocity commands on the topics of ``limits`` are
    clamped; undone, a last one commands to stand still, as a robot goes on with the latest.
    """

    def __init__(
        self, node: Node, store: TypeStore, *, on_ros_time: bool = False,
        limits: Mapping[str, VelocityLimits] | None = None,
    ) -> None:
        """Take a node that no executor spins."""
        self._node = node
        self._store = store
        self._limits = dict(limits or {})
        self._now = _Now(node if on_ros_time else None)
        self._metronome = Metronome(self._now.to_pace, at_wall_pace=not on_ros_time)
        self._publishers: dict[str, tuple[Publisher, str]] = {}
        self._letters: dict[int, _Letter] = {}
        self._lasting: list[_Repeating] = []
        # What a topic was commanded once and not taken back yet; a later one takes its place.
        self._moving: dict[str, _Letter] = {}

    def lack(self, step: Step) -> str | None:
        """Make the publisher and the message; say what is missing for them."""
        given: Publish = step.action
        topic = given.topic
        try:
            package, _, name = given.type.split('/')
            kind = getattr(importlib.import_module(f'{package}.msg'), name)
            self._letters[id(step)] = self._letter(given, kind)
        except (ImportError, AttributeError):
            return not_installed(given.type)
        except UnknownTypeError as error:
            return str(error)
        if topic not in self._publishers:
            publisher = self._node.create_publisher(kind, topic, QUEUE)
            self._publishers[topic] = publisher, given.type
        other = self._publishers[topic][1]
        return None if other == given.type else f'another step publishes {topic} as {other}'

    def begin(self, step: Step) -> Doing:
        """Publish, and go on with it if there is a rate."""
        return Gradual(self._begin(step.action, self._letters[id(step)]))

    def close(self) -> None:
        """End what is still repeated, as its undo does, and leave the topics."""
        for repeating in list(self._lasting):
            self._end(repeating)
        for topic in list(self._moving):
            self._stand_still(topic)
        self._metronome.close()
        for publisher, _ in self._publishers.values():
            publisher.wait_for_all_acked(Duration(seconds=FAREWELL_S))
            self._node.destroy_publisher(publisher)
        self._publishers.clear()
        self._now.close()

    def _letter(self, given: Publish, kind: Any) -> _Letter:
        message = fill(self._store, given.type, kind(), given.message)
        remarks, farewell = [], None
        if given.topic in self._limits:
            remarks = Clamp(self._limits[given.topic], given.type).message(message)
        if is_velocity(given.type):
            farewell = stop(given.type, kind, message)
        first = next(iter(self._store.fields(given.type)), None)
        has_header = first is not None and first[1][1] == 'std_msgs/msg/Header'
        stamped = has_header and 'stamp' not in given.message.get('header', {})
        return _Letter(message if stamped else serialize_message(message), stamped, farewell,
                       remarks)

    def _begin(self, given: Publish, letter: _Letter) -> Work:
        publisher, _ = self._publishers[given.topic]
        words = [f'{given.topic}, to {publisher.get_subscription_count()} subscribers']
        undo = None
        if given.rate is None:
            self._send(publisher, letter.message, letter.stamped)
            # Again before it was undone: once is enough, at the end.
            if letter.farewell is not None and self._moving.get(given.topic) is not letter:
                self._moving[given.topic] = letter
                undo = partial(_gradually, self._undo_once, given.topic, letter)
        else:
            beat = self._metronome.start(
                given.rate, lambda: self._send(publisher, letter.message, letter.stamped))
            repeating = _Repeating(given, letter, publisher, beat)
            self._lasting.append(repeating)
            words.append(f'at {given.rate:g} Hz')
            undo = partial(_gradually, self._undo, repeating)
        return Done(True, '; '.join([*words, *letter.remarks]), undo)
        yield

    def _undo(self, repeating: _Repeating) -> Work:
        self._end(repeating)
        return repeating.outcome()
        yield

    def _undo_once(self, topic: str, letter: _Letter) -> Work:
        if self._moving.get(topic) is not letter:
            return Done(True, f'a later command on {topic} has taken its place')
        self._stand_still(topic)
        return Done(True, f'a last one on {topic} to stand still')
        yield

    def _stand_still(self, topic: str) -> None:
        publisher, _ = self._publishers[topic]
        self._say_farewell(publisher, self._moving.pop(topic))

    def _end(self, repeating: _Repeating) -> None:
        self._lasting.remove(repeating)
        self._metronome.stop(repeating.beat)
        # Nothing of the rate comes after it: whoever drives last must stand still.
        self._say_farewell(repeating.publisher, repeating.letter)

    def _say_farewell(self, publisher: Publisher, letter: _Letter) -> None:
        if letter.farewell is not None:
            self._send(publisher, letter.farewell, hasattr(letter.farewell, 'header'))

    def _send(self, publisher: Publisher, message: Any, stamped: bool) -> None:
        if stamped:
            stamp = message.header.stamp
            stamp.sec, stamp.nanosec = divmod(self._now.to_stamp() or 0, NS_PER_S)
        publisher.publish(message)


def _gradually(work: Callable[..., Work], *given: Any) -> Doing:
    return Gradual(work(*given))


@dataclass(frozen=True)
class _Repeating:
    """A message that is published at a rate."""

    given: Publish
    letter: _Letter
    publisher: Publisher
    beat: Beat

    def outcome(self) -> Done:
        """Say how it went, after its end."""
        beat, topic = self.beat, self.given.topic
        detail = f'{beat.count} messages on {topic}, at most {format_ns(beat.latest_ns)} late'
        if beat.missed:
            detail += f'; {beat.missed} left out, as the next ones were due already'
        if self.letter.farewell is not None:
            detail += '; and a last one to stand still'
        if beat.error is not None:
            return Done(False, f'publishing on {topic} broke off: {beat.error}; {detail}')
        if not beat.count:
            return Done(False, f'no message was sent on {topic}: no time passed')
        too_slow = beat.missed > MOST_MISSED * (beat.count + beat.missed)
        return Done(not too_slow, f'too slow: {detail}' if too_slow else detail, record=detail)


class _Now:
    """The time of the run, read from any thread; None before the first tick of a simulation."""

    def __init__(self, node: Node | None) -> None:
        self._lock = threading.Lock()
        self._reader = None if node is None else ClockReader(node)

    def to_pace(self) -> int | None:
        """Return the time by which rates go: nobody can set it but a simulator."""
        return time.monotonic_ns() if self._reader is None else self._simulated()

    def to_stamp(self) -> int | None:
        """Return the time to write into a header."""
        return time.time_ns() if self._reader is None else self._simulated()

    def _simulated(self) -> int | None:
        with self._lock:
            return None if self._reader is None else self._reader.now_ns()

    def close(self) -> None:
        """Read no more."""
        with self._lock:
            self._reader = None
