"""The processes that talk to Gazebo for the adapter, over lines of JSON: requests, and a watch.

Two of them, because gz-transport's Python keeps the interpreter's lock while it waits for an
answer: subscriptions of the same process would hold up the very thread that brings it. So
``request`` only calls services, and ``watch`` only subscribes and publishes. Both end with their
standard input, so neither outlives the adapter.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from robot_qa.errors import SetupError
from robot_qa.simulators import gazebo_state
from robot_qa.simulators.base import Vector
from robot_qa.simulators.gazebo_bindings import Gazebo
from robot_qa.simulators.gazebo_pushes import Pushes
from robot_qa.timebase import NS_PER_S

# What is published at the moment at which a connection appears is lost one time in eight.
FRESH_S = 0.02
CONNECT_S = 1.0
SLICE_S = 0.005


def write(answer: dict[str, Any]) -> None:
    """Send a line to the adapter; what cannot be sent, nobody wants any more."""
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.write(json.dumps(answer) + '\n')
        sys.stdout.flush()


def serve_requests(gazebo: Gazebo) -> None:
    """Call what each line names, one after the other."""
    for line in sys.stdin:
        wanted = json.loads(line)
        answer: dict[str, Any] = {'id': wanted['id']}
        try:
            if 'service' in wanted:
                answer['reply'] = gazebo.call(
                    wanted['service'], wanted['type'], wanted['request'], wanted['reply'],
                    wanted['timeout_ms'])
            elif 'look' in wanted:
                answer['reply'] = WORKS[wanted['look']](gazebo, **wanted['given'])
            else:
                answer |= survey(gazebo)
        except Exception as error:  # Whatever it is, the one who asked has to know.
            answer['error'] = f'{type(error).__name__}: {error}'
        write(answer)


def survey(gazebo: Gazebo) -> dict[str, Any]:
    """Return what is in this partition."""
    return {
        'release': gazebo.release, 'services': sorted(gazebo.node.service_list()),
        'servers': len(gazebo.node.service_info('/gazebo/worlds')),
    }


def scene(gazebo: Gazebo, world: str, timeout_ms: int) -> dict[str, Any] | None:
    """Return the names of what is in the scene, and its lights; None: no answer in time."""
    found = gazebo.message_of(f'/world/{world}/scene/info', 'Scene', timeout_ms)
    if found is None:
        return None
    lights, waiting = list(found.light), list(found.model)
    while waiting:
        model = waiting.pop()
        waiting += model.model
        for link in model.link:
            lights += link.light
    return {'names': [one.name for one in (*found.model, *found.light)],
            'lights': [gazebo.plain(light) for light in lights]}


def content(gazebo: Gazebo, world: str, timeout_ms: int) -> dict[str, Any] | None:
    """Return what is in the world; None: no answer in time."""
    found = gazebo.message_of(f'/world/{world}/state', 'SerializedStepMap', timeout_ms)
    if found is None:
        return None
    inertial = gazebo.kind('Inertial')

    def centre(data: bytes) -> Vector:
        at = inertial.FromString(data).pose.position
        return at.x, at.y, at.z

    return gazebo_state.as_json(gazebo_state.content((
        (entity.id, {one.type: one.component for one in entity.components.values()})
        for entity in found.state.entities.values()
    ), centre))


WORKS = {'scene': scene, 'content': content}


@dataclass
class _Publisher:
    inner: Any
    deadline: float
    """Who has not connected until then is not there."""
    connected: bool = False


class Watch:
    """Keeps the clock of one world, and publishes to it."""

    def __init__(self, gazebo: Gazebo) -> None:
        self._gazebo = gazebo
        self._clock = gazebo.kind('Clock')
        self._lock = threading.Lock()
        self._state: dict[str, Any] = {'sim_ns': None, 'ticks': 0, 'jumps': 0}
        self._publishers: dict[str, _Publisher] = {}
        self._pushes = Pushes()
        self._wake = os.pipe()

    def serve(self) -> None:
        """Do what each line says until there are no more, and end pushes when they are over."""
        received = b''
        while True:
            ready, _, _ = select.select([0, self._wake[0]], [], [])
            if self._wake[0] in ready:
                os.read(self._wake[0], 4096)
                self._end_pushes()
            if 0 in ready:
                chunk = os.read(0, 65536)
                if not chunk:
                    return
                *lines, received = (received + chunk).split(b'\n')
                for line in lines:
                    self._answer(json.loads(line))

    def _answer(self, wanted: dict[str, Any]) -> None:
        number, verb = wanted.pop('id'), wanted.pop('do')
        works: dict[str, Callable[..., dict[str, Any]]] = {
            'begin': self._begin, 'state': self._read, 'connect': self._connect,
            'publish': self._publish, 'push': self._push, 'renew': self._renew,
        }
        try:
            answer = works[verb](**wanted)
        except Exception as error:  # Whatever it is, the one who asked has to know.
            answer = {'error': f'{type(error).__name__}: {error}'}
        write({'id': number, **answer})

    # Listening

    def _begin(self, world: str) -> dict[str, Any]:
        # The clock of the world: in a crowded partition the one without its name is another's.
        topic, options = f'/world/{world}/clock', self._gazebo.transport.SubscribeOptions()
        if not self._gazebo.node.subscribe_raw(
            topic, self._on_clock, 'gz.msgs.Clock', options,
        ):
            raise SetupError(f'cannot subscribe to {topic}')
        return {}

    def _on_clock(self, data: bytes, _: Any) -> None:
        sim = self._clock.FromString(data).sim
        now_ns = sim.sec * NS_PER_S + sim.nsec
        with self._lock:
            if now_ns < (self._state['sim_ns'] or 0):
                # Somebody reset it, or started it again: it knows of no push any more.
                self._state['jumps'] += 1
                self._pushes = Pushes()
            self._state['sim_ns'] = now_ns
            self._state['ticks'] += 1
            over = self._pushes.is_over(now_ns)
        if over:
            os.write(self._wake[1], b'.')

    def _read(self) -> dict[str, Any]:
        with self._lock:
            return dict(self._state)

    # Publishing

    def _connect(self, topic: str, kind: str) -> dict[str, Any]:
        """Tell whether anybody listens on a topic, who may take a moment after the first time."""
        if topic not in self._publishers:
            inner = self._gazebo.node.advertise(topic, self._gazebo.kind(kind))
            self._publishers[topic] = _Publisher(inner, time.monotonic() + CONNECT_S)
            return {'connected': False}
        publisher = self._publishers[topic]
        while not publisher.inner.has_connections():
            if time.monotonic() > publisher.deadline:
                return {'connected': False}
            time.sleep(SLICE_S)
        if not publisher.connected:
            time.sleep(FRESH_S)
            publisher.connected = True
        return {'connected': True}

    def _publish(self, topic: str, kind: str, message: dict[str, Any]) -> dict[str, Any]:
        if not self._connect(topic, kind)['connected']:
            raise SetupError(f'nobody listens on {topic}')
        if not self._publishers[topic].inner.publish(self._gazebo.message(kind, message)):
            raise SetupError(f'{topic}: gz-transport did not publish')
        return {}

    def _push(
        self, topic: str, entity: str, wrench: list[float], duration_ns: int | None,
    ) -> dict[str, Any]:
        """Let ``wrench`` (force, torque, where it acts in the link) be the push of a link."""
        with self._lock:
            now_ns = self._state['sim_ns']
            until_ns = None if duration_ns is None else now_ns + duration_ns
            change = self._pushes.begin(topic, entity, wrench, until_ns)
        self._send(change)
        return {}

    def _renew(self) -> dict[str, Any]:
        """Take in that a reset made the systems anew: they do not know us yet."""
        with self._lock:
            # At its very beginning time has not gone back.
            self._pushes = Pushes()
        for publisher in self._publishers.values():
            publisher.connected = False
            publisher.deadline = time.monotonic() + CONNECT_S
        return {}

    def _end_pushes(self) -> None:
        with self._lock:
            changes = self._pushes.end_those_over(self._state['sim_ns'])
        for change in changes:
            self._send(change)

    def _send(self, change: tuple[str, dict[str, Any]] | None) -> None:
        if change is not None:
            topic, message = change
            self._publish(topic, 'EntityWrench', message)


def main() -> None:
    """Serve the adapter; the argument says as what."""
    try:
        gazebo = Gazebo()
    except SetupError as error:
        write({'fatal': str(error)})
        os._exit(1)
    if sys.argv[1] == 'watch':
        Watch(gazebo).serve()
    else:
        serve_requests(gazebo)
    # The threads of gz-transport would hold up an ordinary end.
    os._exit(0)


if __name__ == '__main__':
    main()
