"""One world of a Gazebo server: what can be asked of it, and what it answers in plain data."""

from __future__ import annotations

import os
import time
from typing import Any

from robot_qa.errors import did_you_mean
from robot_qa.simulators import gazebo_state
from robot_qa.simulators.base import Action, ActionError
from robot_qa.simulators.gazebo_link import Helper, Services, Waiting
from robot_qa.simulators.gazebo_state import Body, Content
from robot_qa.simulators.gazebo_systems import ADD, SERVICES, WIND, WRENCH, System, lacking

CONNECT_S = 30.0
# The services of a world are there at about the same time.
SERVICES_S = 1.0
# A system that was asked for is there after a step or two.
LOADING_S = 5.0
RETURN_S = 2.0
WORLDS = '/gazebo/worlds'
PROBE, PROBE_MS = 'light_config/blocking', 200


class World:
    """The only world in the partition of the environment (``GZ_PARTITION``).

    Whatever waits raises ``ActionError`` if the answer does not come within ``answer_s``.
    """

    def __init__(self, answer_s: float) -> None:
        self.answer_s = answer_s
        self.name = ''
        self.release = ''
        self._services = Services(answer_s)
        self._watch = Helper('watch', answer_s)
        self._loaded: set[str] = set()
        self._probed = False

    def close(self) -> None:
        """End the processes that talk to it; the world stays as it is."""
        self._services.close()
        self._watch.close()

    # Finding it

    def find(self) -> Waiting[dict[str, str]]:
        """Find the world and return what it lacks, and why, by feature."""
        deadline = time.monotonic() + CONNECT_S
        yield from self._find_server(deadline)
        answer = yield from self._services.call(WORLDS, 'Empty', {}, 'StringMsg_V')
        worlds = answer.get('data', [])
        if len(worlds) != 1:
            raise ActionError(f'one world was expected, and Gazebo has {len(worlds)}: '
                              f'{", ".join(worlds)}')
        self.name = worlds[0]
        yield from self.ask('begin', world=self.name)
        for system in (WRENCH, WIND):
            yield from self._is_heard(system)
        state = yield from self.state()
        while state['sim_ns'] is None:
            if time.monotonic() > deadline:
                raise ActionError(f'{self.full("clock")}: no time comes from Gazebo')
            yield
            state = yield from self.state()
        return (yield from self._survey())

    def _find_server(self, deadline: float) -> Waiting[None]:
        partition = os.environ.get('GZ_PARTITION', '')
        where = f'in the partition "{partition}"' if partition else 'in the default partition'
        while not (seen := (yield from self._services.ask()))['servers']:
            if time.monotonic() > deadline:
                raise ActionError(f'no Gazebo server answers {where}')
            yield
        self.release = seen['release']
        if seen['servers'] > 1:
            raise ActionError(f'there are {seen["servers"]} Gazebo servers {where}; each needs '
                              'a GZ_PARTITION of its own')

    def _survey(self) -> Waiting[dict[str, str]]:
        prefix = self.full('')
        deadline = time.monotonic() + SERVICES_S
        while True:
            seen = yield from self._services.ask()
            services = {one.removeprefix(prefix) for one in seen['services']
                        if one.startswith(prefix)}
            if services >= SERVICES.keys() or time.monotonic() > deadline:
                break
            yield
        self._probed = PROBE in services
        plugins: set[str] = set()
        if 'system/info' in services:
            answer = yield from self.call('system/info', 'Empty', {}, 'EntityPlugin_V')
            plugins = {one.get('filename', '') for one in answer.get('plugins', ())}
        lights = []
        if 'scene/info' in services:
            lights = (yield from self.scene())['lights']
        has_pushes = ADD in services and WRENCH.plugin in plugins
        if not has_pushes:
            has_pushes = yield from self._is_heard(WRENCH)
        return lacking(services, has_pushes=has_pushes, has_lights=bool(lights))

    # Asking

    def full(self, name: str) -> str:
        """Return the full name of a topic or service of this world."""
        return f'/world/{self.name}/{name}'

    def call(
        self, service: str, kind: str, request: dict[str, Any], reply: str = 'Boolean',
        undo: Action | None = None,
    ) -> Waiting[dict[str, Any]]:
        """Return what a service answers, as JSON of gz.msgs."""
        return (yield from self._services.call(self.full(service), kind, request, reply, undo))

    def order(
        self, service: str, kind: str, request: dict[str, Any], undo: Action | None = None,
    ) -> Waiting[None]:
        """Call a service that says whether it did what was asked; ``ActionError`` if not."""
        answer = yield from self.call(service, kind, request, undo=undo)
        # A service that gave up answers with an empty message, which reads as false as well.
        if not answer.get('data', False):
            raise ActionError(f'{self.full(service)}: Gazebo refused; its log says why')

    def ask(self, verb: str, undo: Action | None = None, **request: Any) -> Waiting[Any]:
        """Return what the process that watches and publishes answers."""
        return (yield from self._watch.ask(undo, do=verb, **request))

    def publish(
        self, system: System, message: dict[str, Any], undo: Action | None = None,
    ) -> Waiting[None]:
        """Publish to a system that was loaded."""
        yield from self.ask('publish', undo, topic=self.full(system.topic), kind=system.kind,
                            message=message)

    # What it is like

    def scene(self) -> Waiting[dict[str, Any]]:
        """Return the ``names`` of what is in the scene, and its ``lights`` as they were loaded."""
        return (yield from self._look('scene'))

    def content(self) -> Waiting[Content]:
        """Return what is in the world now."""
        return gazebo_state.from_json((yield from self._look('content')))

    def body(self, name: str) -> Waiting[Body]:
        """Return a model as it is now; ``ActionError`` if there is none."""
        found = (yield from self.content()).bodies
        if name not in found:
            raise ActionError(f'there is no model "{name}"{did_you_mean(name, found)}')
        return found[name]

    def _look(self, what: str) -> Waiting[dict[str, Any]]:
        given = {'world': self.name, 'timeout_ms': round(self.answer_s * 1000)}
        answer = yield from self._services.ask(look=what, given=given)
        found: dict[str, Any] | None = answer['reply']
        if found is None:
            raise ActionError(f'Gazebo did not tell its {what} within {self.answer_s:g} s')
        return found

    # Time

    def state(self) -> Waiting[dict[str, Any]]:
        """Return what the clock showed.

        ``sim_ns``, None before any; how many ``ticks`` there were, and ``jumps`` back in time.
        """
        state: dict[str, Any] = yield from self.ask('state')
        return state

    def paused(self) -> Waiting[bool]:
        """Tell whether simulated time stands still while the clock goes on ticking."""
        before = yield from self.state()
        deadline = time.monotonic() + self.answer_s
        while (now := (yield from self.state()))['ticks'] < before['ticks'] + 3:
            if time.monotonic() > deadline:
                raise ActionError(f'{self.full("clock")}: Gazebo has stopped')
            yield
        return bool(now['sim_ns'] == before['sim_ns'])

    def control(self, pause: bool, undo: Action | None = None, **request: Any) -> Waiting[None]:
        """Control time; ``pause`` has to be said always: left out, it lets time go on."""
        yield from self.order('control', 'WorldControl', {'pause': pause, **request}, undo)

    def reset(self, paused: bool) -> Waiting[None]:
        """Begin anew, and wait until everything is there again.

        Gazebo then makes most systems anew: their services go and come back, and who publishes to
        them has to find them again.
        """
        before = yield from self.state()
        yield from self.control(paused, reset={'all': True})
        deadline = time.monotonic() + self.answer_s
        while True:
            state = yield from self.state()
            # At its very beginning time cannot go back; a few steps are enough then.
            if state['jumps'] > before['jumps'] or (
                not before['sim_ns'] and state['ticks'] > before['ticks'] + 20
            ):
                break
            if time.monotonic() > deadline:
                raise ActionError('reset: Gazebo said yes, and its time did not go back')
            yield
        # The step in which time goes back ends with the making of the systems.
        yield from self.paused()
        yield from self.ask('renew')
        while self._probed and not (yield from self._is_served()):
            if time.monotonic() > deadline:
                raise ActionError(f'reset: {self.full(PROBE)} did not come back')

    def _is_served(self) -> Waiting[bool]:
        """Tell whether the services of user commands answer, asking for what cannot be done."""
        answer = yield from self._services.ask(
            service=self.full(PROBE), type='Light', request={'name': 'robot_qa probes'},
            reply='Boolean', timeout_ms=PROBE_MS)
        return answer['reply'] is not None

    # Systems

    def load(self, system: System) -> Waiting[None]:
        """Load a system unless it is there."""
        begun = time.monotonic()
        # Who was there and is not heard was made anew, or the whole server was started again.
        patience_s = RETURN_S if system.topic in self._loaded else 0.0
        asked = False
        while not (yield from self._is_heard(system)):
            waited_s = time.monotonic() - begun
            if waited_s > LOADING_S:
                raise ActionError(f'{system.plugin} could not be loaded; the log of Gazebo says '
                                  'why')
            if not asked and waited_s >= patience_s:
                asked = True
                plugin = {'filename': system.plugin, 'name': system.name}
                yield from self.order(ADD, 'EntityPlugin_V', {'plugins': [plugin]})
            yield
        self._loaded.add(system.topic)

    def _is_heard(self, system: System) -> Waiting[bool]:
        """Tell whether a system listens; the first time only lets it notice us."""
        answer = yield from self.ask('connect', topic=self.full(system.topic), kind=system.kind)
        return bool(answer['connected'])
