"""Simulators that speak ROS simulation_interfaces: the embedded one, and any other.

https://github.com/ros-simulation/simulation_interfaces. What the standard lacks (light, wind,
friction, gravity, pushes) are parameters of the node ``/simulator`` where it has them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from geometry_msgs.msg import Pose as PoseMessage
from rcl_interfaces import srv as rcl
from rclpy.node import Node
from rclpy.parameter import Parameter, parameter_value_to_python
from simulation_interfaces import srv
from simulation_interfaces.msg import EntityState, SimulationState
from simulation_interfaces.msg import SimulatorFeatures as Standard

from robot_qa.geometry import Poses
from robot_qa.simulators.asking import Server, Waiting
from robot_qa.simulators.base import (
    Action,
    ActionError,
    Friction,
    Gravity,
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
from robot_qa.timebase import NS_PER_S

CONNECT_S = 30.0
ANSWER_S = 10.0
# A physics step of a large world takes some 10 ms.
STEP_S = 0.1
# The parameters of a simulator that has them are there at about the time that its services are.
PARAMETERS_S = 1.0
WORLD = ('', 'world')
FEATURES_SERVICE = '/get_simulator_features'
SERVICES = {
    'get_simulator_features': srv.GetSimulatorFeatures,
    'spawn_entity': srv.SpawnEntity, 'delete_entity': srv.DeleteEntity,
    'get_entity_state': srv.GetEntityState, 'set_entity_state': srv.SetEntityState,
    'get_simulation_state': srv.GetSimulationState,
    'set_simulation_state': srv.SetSimulationState,
    'step_simulation': srv.StepSimulation, 'reset_simulation': srv.ResetSimulation,
}
PARAMETER_NODE = '/simulator'
PARAMETER_SERVICES = {
    'list_parameters': rcl.ListParameters, 'get_parameters': rcl.GetParameters,
    'set_parameters': rcl.SetParameters,
}
# By feature: what a simulator has to declare, or the parameter it has to have.
DECLARED = {
    'spawn': ('SPAWNING',), 'remove': ('DELETING',),
    'move': ('ENTITY_STATE_GETTING', 'ENTITY_STATE_SETTING'),
    'pause': ('SIMULATION_STATE_GETTING', 'SIMULATION_STATE_SETTING', 'SIMULATION_STATE_PAUSE'),
    'step': ('STEP_SIMULATION_SINGLE',), 'reset': ('SIMULATION_RESET',),
}
PARAMETERS = {
    'push': 'push', 'light': 'light_scale', 'wind': 'wind', 'friction': 'friction_scale',
    'gravity': 'gravity',
}


class StandardSimulator:
    """Carries out actions by the services of simulation_interfaces.

    They are searched below the namespace, if any, in which somebody serves
    ``get_simulator_features``.
    """

    def __init__(self, node: Node, answer_s: float = ANSWER_S) -> None:
        """Take a node that no executor spins: an executor would take the answers away.

        Who has not answered after ``answer_s`` of wall time has failed.
        """
        self._answer_s = answer_s
        self._node = node
        self._services: dict[str, Server] = {}
        self._declared: frozenset[int] = frozenset()
        self._spawned: dict[str, Spawn] = {}
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
        for service in self._services.values():
            service.close()
        self._services = {}
        self._features = SimulatorFeatures.none('the simulator was left')

    # Connecting

    def _connect(self) -> Waiting[Outcome]:
        deadline = time.monotonic() + CONNECT_S
        while not (found := self._namespaces()):
            if time.monotonic() > deadline:
                raise ActionError(f'no simulator serves {FEATURES_SERVICE[1:]}')
            yield
        if len(found) > 1:
            names = ', '.join(one + FEATURES_SERVICE for one in found)
            raise ActionError(f'there are several simulators: {names}')
        for folder, kinds in ((found[0], SERVICES), (PARAMETER_NODE, PARAMETER_SERVICES)):
            for name, kind in kinds.items():
                self._services[name] = Server(
                    self._node, kind, f'{folder}/{name}', self._answer_s)
        features = self._services['get_simulator_features']
        while not features.settled():
            self._look()
            if time.monotonic() > deadline:
                raise ActionError(f'{features.name}: nobody serves it')
            yield
        response = yield from features.ask(srv.GetSimulatorFeatures.Request())
        self._declared = frozenset(response.features.features)
        self._features = SimulatorFeatures({
            **self._undeclared(), **(yield from self._absent_parameters()),
        })
        return Outcome(True, response.features.custom_info)

    def _namespaces(self) -> list[str]:
        kind = 'simulation_interfaces/srv/GetSimulatorFeatures'
        return [
            name.removesuffix(FEATURES_SERVICE)
            for name, kinds in self._node.get_service_names_and_types()
            if kind in kinds and name.endswith(FEATURES_SERVICE)
        ]

    def _look(self) -> None:
        """Notice which services are there, so that no first call has to wait for it."""
        for service in self._services.values():
            service.settled()

    def _undeclared(self) -> dict[str, str]:
        lacking = {
            feature: [name for name in names if not self._declares(name)]
            for feature, names in DECLARED.items()
        }
        return {
            feature: f'the simulator does not declare {", ".join(names)}'
            for feature, names in lacking.items() if names
        }

    def _declares(self, name: str) -> bool:
        return getattr(Standard, name) in self._declared

    def _absent_parameters(self) -> Waiting[dict[str, str]]:
        deadline = time.monotonic() + PARAMETERS_S
        service = self._services['list_parameters']
        while not service.settled():
            self._look()
            if time.monotonic() > deadline:
                return dict.fromkeys(PARAMETERS, (
                    f'no part of simulation_interfaces, and there is no node {PARAMETER_NODE} '
                    'with parameters for it'))
            yield
        response = yield from service.ask(rcl.ListParameters.Request())
        return {
            feature: f'the node {PARAMETER_NODE} has no parameter {name}'
            for feature, name in PARAMETERS.items() if name not in response.result.names
        }

    # Actions

    def _work(self, action: Action) -> Waiting[Outcome]:
        works: dict[type, Callable[[Any], Waiting[Outcome]]] = {
            Spawn: self._spawn, Remove: self._remove, Move: self._move, Push: self._push,
            Light: self._set, Friction: self._set, Wind: self._set, Gravity: self._set,
            Pause: self._switch, Play: self._switch, Step: self._step, Reset: self._reset,
        }
        return works[type(action)](action)

    def _spawn(self, action: Spawn) -> Waiting[Outcome]:
        request = srv.SpawnEntity.Request(name=action.name)
        if action.source.lstrip().startswith('<'):
            if not self._declares('SPAWNING_RESOURCE_STRING'):
                raise ActionError('spawn: the simulator spawns no text of a model, only what a '
                                   'URI names: it does not declare SPAWNING_RESOURCE_STRING')
            request.resource_string = action.source
        elif '://' in action.source:
            request.uri = action.source
        else:
            # As SDF has them: what stands behind the scheme is not percent-encoded.
            request.uri = f'file://{Path(action.source).resolve()}'
        request.initial_pose.pose = _message((yield from self._in_world(action)))
        answer = yield from self._services['spawn_entity'].ask(request, Remove(action.name))
        name = answer.entity_name or action.name
        self._spawned[name] = action
        return Outcome(True, undo=Remove(name))

    def _remove(self, action: Remove) -> Waiting[Outcome]:
        spawned = self._spawned.get(action.name)
        undo: Spawn | None = None
        if spawned is not None:
            undo = Spawn(action.name, spawned.source, spawned.pose, spawned.frame)
            if self._declares('ENTITY_STATE_GETTING'):
                state = yield from self._state(action.name)
                undo = Spawn(action.name, spawned.source, _pose(state.pose))
        request = srv.DeleteEntity.Request(entity=action.name)
        yield from self._services['delete_entity'].ask(request, undo)
        self._spawned.pop(action.name, None)
        return Outcome(True, '' if undo is not None else (
            f'it cannot be taken back: the source of "{action.name}" is not known'), undo)

    def _move(self, action: Move) -> Waiting[Outcome]:
        before = yield from self._state(action.name)
        # Header and velocity stay as they are.
        wanted = EntityState(header=before.header, twist=before.twist)
        wanted.pose = _message((yield from self._in_world(action)))
        undo = Move(action.name, _pose(before.pose))
        request = srv.SetEntityState.Request(entity=action.name, state=wanted)
        yield from self._services['set_entity_state'].ask(request, undo)
        return Outcome(True, undo=undo)

    def _state(self, name: str) -> Waiting[EntityState]:
        request = srv.GetEntityState.Request(entity=name)
        answer = yield from self._services['get_entity_state'].ask(request)
        return answer.state

    def _in_world(self, action: Spawn | Move) -> Waiting[Pose]:
        if action.frame in WORLD:
            return action.pose
        if not self._declares('ENTITY_STATE_GETTING'):
            raise ActionError(f'{action.feature}: where "{action.frame}" is cannot be asked: the '
                               'simulator does not declare ENTITY_STATE_GETTING')
        base = _pose((yield from self._state(action.frame)).pose)
        pose = _poses(base) @ _poses(action.pose)
        x, y, z, w = map(float, pose.rotation)
        return Pose(_vector(pose.translation), (x, y, z, w))

    def _push(self, action: Push) -> Waiting[Outcome]:
        undo = Push(action.name, action.link)
        text = json.dumps({
            'entity': action.name, 'link': action.link, 'force': action.force,
            'torque': action.torque, 'duration':
                None if action.duration_ns is None else action.duration_ns / NS_PER_S,
        })
        yield from self._set_parameter(PARAMETERS['push'], text, undo)
        return Outcome(True, undo=undo)

    def _set(self, action: Light | Friction | Wind | Gravity) -> Waiting[Outcome]:
        name = PARAMETERS[action.feature]
        request = rcl.GetParameters.Request(names=[name])
        answer = yield from self._services['get_parameters'].ask(request)
        before = parameter_value_to_python(answer.values[0])
        undo: Action
        value: float | list[float]
        if isinstance(action, Light | Friction):
            undo, value = type(action)(float(before)), float(action.scale)
        elif isinstance(action, Wind):
            undo, value = Wind(_vector(before)), list(map(float, action.velocity))
        else:
            undo, value = Gravity(_vector(before)), list(map(float, action.xyz))
        yield from self._set_parameter(name, value, undo)
        return Outcome(True, undo=undo)

    def _set_parameter(self, name: str, value: Any, undo: Action) -> Waiting[None]:
        request = rcl.SetParameters.Request(
            parameters=[Parameter(name, value=value).to_parameter_msg()])
        answer = yield from self._services['set_parameters'].ask(request, undo)
        if not answer.results[0].successful:
            raise ActionError(f'{PARAMETER_NODE} {name}: {answer.results[0].reason}')

    def _switch(self, action: Pause | Play) -> Waiting[Outcome]:
        wanted, undo = ((SimulationState.STATE_PAUSED, Play()) if isinstance(action, Pause)
                        else (SimulationState.STATE_PLAYING, Pause()))
        now = yield from self._services['get_simulation_state'].ask(
            srv.GetSimulationState.Request())
        if now.state.state == wanted:
            return Outcome(True, 'it was so already')
        request = srv.SetSimulationState.Request(state=SimulationState(state=wanted))
        yield from self._services['set_simulation_state'].ask(request, undo)
        return Outcome(True, undo=undo)

    def _step(self, action: Step) -> Waiting[Outcome]:
        if action.count != 1 and not self._declares('STEP_SIMULATION_MULTIPLE'):
            raise ActionError(f'step: {action.count} steps at once: the simulator does not '
                               'declare STEP_SIMULATION_MULTIPLE')
        request = srv.StepSimulation.Request(steps=action.count)
        yield from self._services['step_simulation'].ask(
            request, longer_s=STEP_S * action.count)
        return Outcome(True, 'time does not go back')

    def _reset(self, _: Reset) -> Waiting[Outcome]:
        yield from self._services['reset_simulation'].ask(srv.ResetSimulation.Request())
        return Outcome(True, 'a reset cannot be taken back')


def _vector(values: Any) -> Vector:
    x, y, z = map(float, values)
    return x, y, z


def _pose(message: PoseMessage) -> Pose:
    at, turned = message.position, message.orientation
    return Pose((at.x, at.y, at.z), (turned.x, turned.y, turned.z, turned.w))


def _poses(pose: Pose) -> Poses:
    return Poses(np.array(pose.xyz), np.array(pose.rotation))


def _message(pose: Pose) -> PoseMessage:
    message = PoseMessage()
    at, turned = message.position, message.orientation
    at.x, at.y, at.z = map(float, pose.xyz)
    turned.x, turned.y, turned.z, turned.w = map(float, pose.rotation)
    return message
