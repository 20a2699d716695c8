"""Gazebo Sim (Harmonic, Ionic, Jetty) through gz-transport.

Everything that has an answer goes through the services that say what became of it
(``.../blocking``); what has none is confirmed by looking. The world it works on is the only one in
the partition of the environment (``GZ_PARTITION``).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from robot_qa.errors import did_you_mean
from robot_qa.geometry import Poses
from robot_qa.simulators import gazebo_messages
from robot_qa.simulators.base import (
    Action,
    ActionError,
    Light,
    Move,
    Outcome,
    Pause,
    Pending,
    Play,
    Pose,
    Push,
    Remove,
    Reset,
    SimulatorFeatures,
    Spawn,
    Step,
    Vector,
    Wind,
    refusal,
)
from robot_qa.simulators.gazebo_link import Waiting
from robot_qa.simulators.gazebo_systems import WIND, WRENCH
from robot_qa.simulators.gazebo_world import World

ANSWER_S = 10.0
# Gazebo moves what it moves in the next step.
MOVED_S = 0.5
IN_WORLD = ('', 'world')
# Both systems are made anew, and they know only what came into the world after them.
SILENT = 'contact sensors stay silent after a reset of Gazebo'
CALM = 'after a reset of Gazebo no wind is felt'


class GazeboSimulator:
    """Carries out actions by the services and topics of one world."""

    def __init__(self, _: object = None, answer_s: float = ANSWER_S) -> None:
        """Who has not answered after ``answer_s`` of wall time has failed."""
        self._answer_s = answer_s
        self._world: World | None = None
        self._spawned: dict[str, Spawn] = {}
        self._light_scale = 1.0
        self._wind: Vector | None = None
        self._features = SimulatorFeatures.none('the simulator is not connected')

    @property
    def features(self) -> SimulatorFeatures:
        """What it can do; nothing before it is connected."""
        return self._features

    def connect(self) -> Pending:
        """Find the simulator and learn its features."""
        return Pending(self._connect())

    def do(self, action: Action) -> Pending:
        """Begin an action; one whose feature is lacking is refused, naming the feature."""
        return refusal(self._features, action) or Pending(self._work(action))

    def close(self) -> None:
        """Leave the simulator as it is."""
        if self._world is not None:
            self._world.close()
        self._world = None
        self._features = SimulatorFeatures.none('the simulator was left')

    def _connect(self) -> Waiting[Outcome]:
        self._world = World(self._answer_s)
        self._features = SimulatorFeatures((yield from self._world.find()))
        return Outcome(True, f'Gazebo {self._world.release}, world "{self._world.name}"')

    def _in_world(self, world: World, action: Spawn | Move) -> Waiting[Pose]:
        if not math.isclose(sum(one**2 for one in action.pose.rotation), 1.0, abs_tol=1e-3):
            raise ActionError(f'{action.feature}: {action.pose.rotation} is no unit quaternion')
        if action.frame in IN_WORLD:
            return action.pose
        frame = yield from world.body(action.frame)
        base, pose = (Poses(np.array(one.xyz), np.array(one.rotation))
                      for one in (frame.pose, action.pose))
        product = base @ pose
        x, y, z, w = map(float, product.rotation)
        at = map(float, product.translation)
        return Pose((next(at), next(at), next(at)), (x, y, z, w))

    # Entities

    def _work(self, action: Action) -> Waiting[Outcome]:
        works: dict[type, Callable[[World, Any], Waiting[Outcome]]] = {
            Spawn: self._spawn, Remove: self._remove, Move: self._move, Push: self._push,
            Light: self._set_light, Wind: self._set_wind, Pause: self._switch,
            Play: self._switch, Step: self._step, Reset: self._reset,
        }
        assert self._world is not None
        return works[type(action)](self._world, action)

    def _spawn(self, world: World, action: Spawn) -> Waiting[Outcome]:
        request: dict[str, Any] = {
            'name': action.name, **gazebo_messages.source(action.source)}
        if action.name in (yield from world.scene())['names']:
            raise ActionError(f'spawn: there is a "{action.name}" already')
        pose = yield from self._in_world(world, action)
        request['pose'] = gazebo_messages.pose_values(pose)
        undo = Remove(action.name)
        yield from world.order('create/blocking', 'EntityFactory', request, undo)
        self._spawned[action.name] = action
        yield from self._until_there(world, action, undo)
        return Outcome(True, undo=undo)

    def _remove(self, world: World, action: Remove) -> Waiting[Outcome]:
        lights = {one['name'] for one in (yield from world.scene())['lights']}
        spawned = self._spawned.get(action.name)
        if action.name in lights:
            kind, undo = 'LIGHT', spawned
        else:
            kind, body = 'MODEL', (yield from world.body(action.name))
            undo = None if spawned is None else Spawn(action.name, spawned.source, body.pose)
        request = {'name': action.name, 'type': kind}
        yield from world.order('remove/blocking', 'Entity', request, undo)
        self._spawned.pop(action.name, None)
        yield from self._until_there(world, action, undo)
        return Outcome(True, '' if undo is not None else (
            f'it cannot be taken back: the source of "{action.name}" is not known'), undo)

    def _until_there(
        self, world: World, action: Spawn | Remove, undo: Action | None,
    ) -> Waiting[None]:
        """Wait until the scene has what was spawned, or has no more what was removed."""
        deadline = time.monotonic() + world.answer_s
        while True:
            found = (yield from world.scene())['names']
            if (action.name in found) == isinstance(action, Spawn):
                return
            if time.monotonic() > deadline:
                raise ActionError(f'{action.feature}: Gazebo said yes and did not', undo)
            yield

    def _move(self, world: World, action: Move) -> Waiting[Outcome]:
        before = (yield from world.body(action.name)).pose
        wanted = yield from self._in_world(world, action)
        undo = Move(action.name, before)
        request = {'name': action.name, **gazebo_messages.pose_values(wanted)}
        yield from world.order('set_pose/blocking', 'Pose', request, undo)
        deadline = time.monotonic() + MOVED_S
        while (now := (yield from world.body(action.name)).pose) == before != wanted:
            if time.monotonic() > deadline:
                raise ActionError(f'move: Gazebo said yes, and "{action.name}" is still at '
                                  f'{now.xyz}; what is fixed to the world does not move')
        return Outcome(True, undo=undo)

    # Forces and light

    def _push(self, world: World, action: Push) -> Waiting[Outcome]:
        numbers = (*action.force, *action.torque)
        if not all(map(math.isfinite, numbers)):
            raise ActionError('push: force and torque need finite numbers')
        if action.duration_ns is not None and action.duration_ns <= 0:
            raise ActionError('push: a duration above 0 was expected')
        body = yield from world.body(action.name)
        if body.static:
            raise ActionError(f'push: "{action.name}" is static: nothing can push it')
        link = action.link or body.canonical_link
        if link not in body.links:
            raise ActionError(f'push: no link of {action.name} is named "{link}"'
                              f'{did_you_mean(link, body.links)}')
        yield from world.load(WRENCH)
        undo = Push(action.name, action.link)
        yield from world.ask(
            'push', undo, topic=world.full(WRENCH.topic), entity=f'{action.name}::{link}',
            wrench=[*numbers, *body.links[link]], duration_ns=action.duration_ns)
        return Outcome(True, undo=undo)

    def _set_light(self, world: World, action: Light) -> Waiting[Outcome]:
        if not 0.0 <= action.scale < math.inf:
            raise ActionError(f'light: {action.scale:g} is no scale, which is 0 or above')
        undo = Light(self._light_scale)
        yield from self._shine(world, action.scale, undo)
        self._light_scale = action.scale
        return Outcome(True, 'the ambient light of the scene stays as it is', undo)

    def _shine(self, world: World, scale: float, undo: Action | None) -> Waiting[None]:
        # The scene has the lights as they were loaded, whatever was done to them since.
        for light in (yield from world.scene())['lights']:
            request = gazebo_messages.scaled(light, scale)
            yield from world.order('light_config/blocking', 'Light', request, undo)

    def _set_wind(self, world: World, action: Wind) -> Waiting[Outcome]:
        if not all(map(math.isfinite, action.velocity)):
            raise ActionError('wind: three finite numbers were expected')
        undo = Wind((yield from self._wind_now(world)))
        yield from self._blow(world, action.velocity, undo)
        self._wind = action.velocity
        return Outcome(True, undo=undo)

    def _blow(self, world: World, velocity: Vector, undo: Action | None) -> Waiting[None]:
        wanted = {'linear_velocity': dict(zip('xyz', map(float, velocity), strict=True)),
                  'enable_wind': True}
        deadline = time.monotonic() + world.answer_s
        while True:
            yield from world.publish(WIND, wanted, undo)
            if (yield from self._wind_now(world)) == velocity:
                return
            if time.monotonic() > deadline:
                raise ActionError('wind: Gazebo did not take it', undo)
            yield

    def _wind_now(self, world: World) -> Waiting[Vector]:
        answer = yield from world.call('wind_info', 'Empty', {}, 'Wind')
        return gazebo_messages.vector(answer.get('linear_velocity', {}))

    # Time

    def _switch(self, world: World, action: Pause | Play) -> Waiting[Outcome]:
        wanted = isinstance(action, Pause)
        if (yield from world.paused()) == wanted:
            return Outcome(True, 'it was so already')
        undo: Action = Play() if wanted else Pause()
        yield from world.control(wanted, undo)
        deadline = time.monotonic() + world.answer_s
        while (yield from world.paused()) != wanted:
            if time.monotonic() > deadline:
                raise ActionError('pause: Gazebo said yes and did not', undo)
        return Outcome(True, undo=undo)

    def _step(self, world: World, action: Step) -> Waiting[Outcome]:
        if action.count < 1:
            raise ActionError(f'step: {action.count} is no number of steps')
        if not (yield from world.paused()):
            raise ActionError('step: steps can be done only while the simulation is paused')
        before_ns = (yield from world.state())['sim_ns']
        yield from world.control(True, multi_step=action.count)
        deadline = time.monotonic() + world.answer_s
        while (yield from world.state())['sim_ns'] == before_ns:
            if time.monotonic() > deadline:
                raise ActionError('step: Gazebo said yes and did not')
            yield
        # It goes on until the last step is done, however long one takes.
        while not (yield from world.paused()):
            yield
        return Outcome(True, 'time does not go back')

    def _reset(self, world: World, _action: Reset) -> Waiting[Outcome]:
        paused = yield from world.paused()
        touches = (yield from world.content()).touches
        yield from world.reset(paused)
        if self._light_scale != 1.0:
            yield from self._shine(world, self._light_scale, None)
        self._features = SimulatorFeatures({'wind': CALM, **self._features.lacking})
        notes = [SILENT] if touches else []
        notes += [CALM] if self._wind is not None else []
        return Outcome(True, '; '.join(['a reset cannot be taken back', *notes]))
