"""The services of simulation_interfaces, and its action SimulateSteps, on the embedded simulator.

https://github.com/ros-simulation/simulation_interfaces says what each of them means.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from geometry_msgs.msg import Pose
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.node import Node
from rclpy.task import Future
from simulation_interfaces import msg, srv
from simulation_interfaces.action import SimulateSteps
from simulation_interfaces.msg import EntityCategory, Result, SimulationState
from simulation_interfaces.msg import SimulatorFeatures as Features

from robot_qa.embedded import world
from robot_qa.embedded.runner import Runner
from robot_qa.embedded.sdf import load_model
from robot_qa.errors import RobotQaError, SpecError, did_you_mean
from robot_qa.geometry import Poses
from robot_qa.timebase import NS_PER_S

WORLD_FRAMES = ('', 'world', 'map')
# A long goal is worked off in pieces, so that it can be watched and cancelled.
STEPS_AT_ONCE = 20
FEATURES = (
    Features.SPAWNING, Features.SPAWNING_RESOURCE_STRING, Features.DELETING,
    Features.ENTITY_STATE_GETTING, Features.ENTITY_STATE_SETTING, Features.ENTITY_INFO_GETTING,
    Features.ENTITY_CATEGORIES, Features.SIMULATION_RESET, Features.SIMULATION_RESET_SPAWNED,
    Features.SIMULATION_STATE_GETTING, Features.SIMULATION_STATE_SETTING,
    Features.SIMULATION_STATE_PAUSE, Features.STEP_SIMULATION_SINGLE,
    Features.STEP_SIMULATION_MULTIPLE, Features.STEP_SIMULATION_ACTION,
)
ROBOT_PLUGINS = ('DiffDrive', 'JointController', 'JointPositionController')


class Host(Protocol):
    """What the services act on."""

    runner: Runner
    folder: Path
    """That of the world, where models are searched, too."""

    def advance_steps(self, count: int) -> None:
        """Take the commands that have come, and do physics steps."""

    def spawn(self, model: world.Model, namespace: str) -> None:
        """Add a model with its sensors and drives, their relative topics in a namespace."""

    def delete(self, name: str) -> None:
        """Remove a model with its sensors and drives."""

    def reset(self) -> None:
        """Put everything as it was at the start."""

    def quit(self) -> None:
        """End the simulator, after the answer."""


class Refusal(Exception):  # noqa: N818  (an answer, not an error of ours)
    """A request that is not carried out: the result's code and why."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class SimulationServices:
    """Answers for one simulation."""

    def __init__(self, node: Node, host: Host) -> None:
        self._host = host
        self._stopped = False
        self._spawned: set[str] = set()
        self._goal: _Steps | None = None
        for name, kind, handle in (
            ('spawn_entity', srv.SpawnEntity, self._spawn),
            ('delete_entity', srv.DeleteEntity, self._delete),
            ('get_entities', srv.GetEntities, self._get_entities),
            ('get_entity_info', srv.GetEntityInfo, self._get_info),
            ('get_entity_state', srv.GetEntityState, self._get_state),
            ('get_entities_states', srv.GetEntitiesStates, self._get_states),
            ('set_entity_state', srv.SetEntityState, self._set_state),
            ('reset_simulation', srv.ResetSimulation, self._reset),
            ('get_simulation_state', srv.GetSimulationState, self._get_simulation_state),
            ('set_simulation_state', srv.SetSimulationState, self._set_simulation_state),
            ('step_simulation', srv.StepSimulation, self._step),
        ):
            node.create_service(kind, name, _answering(handle))
        node.create_service(srv.GetSimulatorFeatures, 'get_simulator_features', _features)
        self._action = ActionServer(
            node, SimulateSteps, 'simulate_steps', self._execute_steps,
            goal_callback=self._accept_steps, cancel_callback=lambda _: CancelResponse.ACCEPT,
        )

    # Entities

    def _spawn(self, request: Any, response: Any) -> None:
        kind = srv.SpawnEntity.Response
        simulation = self._host.runner.simulation
        if not request.uri and not request.resource_string:
            raise Refusal(kind.NO_RESOURCE, 'neither a uri nor a resource_string was given')
        name = request.name
        if name and not re.fullmatch(r'[A-Za-z0-9_][\w .:/-]*', name):
            raise Refusal(kind.NAME_INVALID, f'"{name}" is no name of an entity')
        if request.entity_namespace and not re.fullmatch(
            r'/?[A-Za-z_]\w*(/[A-Za-z_]\w*)*', request.entity_namespace
        ):
            raise Refusal(kind.NAMESPACE_INVALID, f'"{request.entity_namespace}" is no namespace')
        try:
            pose = self._pose_in_world(
                request.initial_pose.pose, request.initial_pose.header.frame_id)
        except Refusal as refusal:
            raise Refusal(kind.INVALID_POSE, str(refusal)) from None
        try:
            model = load_model(request.uri or request.resource_string, name=name or None,
                               pose=pose, folder=self._host.folder)
        except SpecError as error:
            raise Refusal(kind.RESOURCE_PARSE_ERROR, str(error)) from None
        except RobotQaError as error:
            raise Refusal(kind.NO_RESOURCE, str(error)) from None
        if model.name in simulation.names():
            if name and not request.allow_renaming:
                raise Refusal(kind.NAME_NOT_UNIQUE, f'there is an entity "{name}" already')
            model = _renamed(model, simulation.names())
        self._host.spawn(model, request.entity_namespace)
        self._spawned.add(model.name)
        response.entity_name = model.name

    def _delete(self, request: Any, _: Any) -> None:
        self._known(request.entity)
        self._host.delete(request.entity)
        self._spawned.discard(request.entity)

    def _get_entities(self, request: Any, response: Any) -> None:
        response.entities = self._matching(request.filters)

    def _get_info(self, request: Any, response: Any) -> None:
        model = self._known(request.entity)
        response.info.category.category = category(model)
        response.info.description = model.uri or ''

    def _get_state(self, request: Any, response: Any) -> None:
        response.state = self._state(self._known(request.entity))

    def _get_states(self, request: Any, response: Any) -> None:
        response.entities = self._matching(request.filters)
        response.states = [self._state(self._known(name)) for name in response.entities]

    def _set_state(self, request: Any, _: Any) -> None:
        name = self._known(request.entity).name
        simulation = self._host.runner.simulation
        frame = request.state.header.frame_id
        try:
            pose = self._pose_in_world(request.state.pose, frame)
            turn = Poses(np.zeros(3), self._frame(frame).rotation)
            linear, angular = (
                (turn @ Poses(_vector(part), np.array([0.0, 0.0, 0.0, 1.0]))).translation
                for part in (request.state.twist.linear, request.state.twist.angular)
            )
        except Refusal as refusal:
            raise Refusal(srv.SetEntityState.Response.INVALID_POSE, str(refusal)) from None
        simulation.set_pose(name, pose)
        simulation.set_twist(name, linear, angular)

    def _known(self, name: str) -> world.Model:
        simulation = self._host.runner.simulation
        if name not in simulation.names():
            hint = did_you_mean(name, simulation.names())
            raise Refusal(Result.RESULT_NOT_FOUND, f'there is no entity "{name}"{hint}')
        return simulation.model_of(name)

    def _matching(self, filters: msg.EntityFilters) -> list[str]:
        if filters.tags.tags or filters.bounds.type != msg.Bounds.TYPE_EMPTY:
            raise Refusal(Result.RESULT_FEATURE_UNSUPPORTED, 'no filters by tags and bounds here')
        try:
            pattern = re.compile(filters.filter)
        except re.error as error:
            raise Refusal(
                Result.RESULT_OPERATION_FAILED, f'"{filters.filter}" is no expression: {error}'
            ) from None
        kinds = {one.category for one in filters.categories}
        simulation = self._host.runner.simulation
        return [
            name for name in simulation.names()
            if pattern.fullmatch(name) or not filters.filter
            if not kinds or category(simulation.model_of(name)) in kinds
        ]

    def _state(self, model: world.Model) -> msg.EntityState:
        simulation = self._host.runner.simulation
        state = msg.EntityState()
        state.header.stamp.sec, state.header.stamp.nanosec = divmod(simulation.time_ns, NS_PER_S)
        state.header.frame_id = 'world'
        pose = simulation.pose(model.name)
        _put(state.pose.position, pose.translation)
        _put(state.pose.orientation, pose.rotation)
        linear, angular = simulation.twist(model.name)
        _put(state.twist.linear, linear)
        _put(state.twist.angular, angular)
        return state

    def _frame(self, name: str) -> Poses:
        if name in WORLD_FRAMES:
            return Poses(np.zeros(3), np.array([0.0, 0.0, 0.0, 1.0]))
        return self._host.runner.simulation.pose(self._known(name).name)

    def _pose_in_world(self, pose: Pose, frame: str) -> Poses:
        position, rotation = _vector(pose.position), _vector(pose.orientation)
        length = float(np.linalg.norm(rotation))
        if not (np.isfinite(position).all() and abs(length - 1.0) < 1e-3):
            raise Refusal(
                Result.RESULT_OPERATION_FAILED,
                f'position {position.tolist()} with orientation {rotation.tolist()} is no pose',
            )
        return self._frame(frame) @ Poses(position, rotation / length)

    # The simulation

    def _reset(self, request: Any, _: Any) -> None:
        scopes = srv.ResetSimulation.Request
        if request.scope in (scopes.SCOPE_DEFAULT, scopes.SCOPE_ALL):
            self._host.reset()
        elif request.scope == scopes.SCOPE_SPAWNED:
            for name in sorted(self._spawned):
                self._host.delete(name)
        else:
            raise Refusal(
                Result.RESULT_FEATURE_UNSUPPORTED,
                'time and state are reset together with all else (scope 0 or 255), or what was '
                f'spawned alone (scope {scopes.SCOPE_SPAWNED})',
            )
        self._spawned.clear()

    def _get_simulation_state(self, _: Any, response: Any) -> None:
        response.state.state = self._state_now()

    def _state_now(self) -> int:
        if self._host.runner.playing:
            return int(SimulationState.STATE_PLAYING)
        stopped = self._stopped and self._host.runner.simulation.time_ns == 0
        return int(SimulationState.STATE_STOPPED if stopped else SimulationState.STATE_PAUSED)

    def _set_simulation_state(self, request: Any, _: Any) -> None:
        kind = srv.SetSimulationState.Response
        wanted, runner = request.state.state, self._host.runner
        if wanted == self._state_now():
            raise Refusal(kind.ALREADY_IN_TARGET_STATE, 'it is in this state already')
        if wanted == SimulationState.STATE_PLAYING:
            runner.play()
        elif wanted == SimulationState.STATE_PAUSED:
            if self._state_now() == SimulationState.STATE_STOPPED:
                raise Refusal(kind.INCORRECT_TRANSITION, 'what is stopped can only be played')
            runner.pause()
        elif wanted == SimulationState.STATE_STOPPED:
            runner.pause()
            self._host.reset()
        elif wanted == SimulationState.STATE_QUITTING:
            self._host.quit()
        else:
            raise Refusal(kind.INCORRECT_TRANSITION, f'state {wanted} cannot be asked for')
        self._stopped = wanted == SimulationState.STATE_STOPPED

    def _step(self, request: Any, _: Any) -> None:
        self._may_step(request.steps)
        self._host.advance_steps(request.steps)

    def _may_step(self, steps: int) -> None:
        if self._host.runner.playing or self._goal is not None:
            raise Refusal(
                Result.RESULT_INCORRECT_STATE,
                'steps can be done only while the simulation is paused',
            )
        if not 0 < steps < 2**40:
            raise Refusal(Result.RESULT_OPERATION_FAILED, f'{steps} is no number of steps')

    def _accept_steps(self, goal: Any) -> GoalResponse:
        try:
            self._may_step(goal.steps)
        except Refusal:
            return GoalResponse.REJECT
        return GoalResponse.ACCEPT

    async def _execute_steps(self, handle: ServerGoalHandle) -> Any:
        self._goal = _Steps(handle)
        await self._goal.done
        self._goal = None
        result = SimulateSteps.Result()
        result.result.result = Result.RESULT_OK
        if handle.is_cancel_requested:
            result.result.result = Result.RESULT_OPERATION_FAILED
            result.result.error_message = 'cancelled'
            handle.canceled()
        else:
            handle.succeed()
        return result

    def work(self) -> bool:
        """Do a piece of a goal that is being executed; return whether there is one."""
        goal = self._goal
        if goal is None or goal.done.done():
            return False
        if not goal.handle.is_cancel_requested and goal.remaining:
            count = min(STEPS_AT_ONCE, goal.remaining)
            self._host.advance_steps(count)
            goal.completed += count
            feedback = SimulateSteps.Feedback(
                completed_steps=goal.completed, remaining_steps=goal.remaining)
            goal.handle.publish_feedback(feedback)
        if goal.handle.is_cancel_requested or not goal.remaining:
            goal.done.set_result(None)
        return True


class _Steps:
    """A goal of SimulateSteps under way."""

    def __init__(self, handle: ServerGoalHandle) -> None:
        self.handle = handle
        self.completed = 0
        self.done: Any = Future(executor=handle._action_server._node.executor)

    @property
    def remaining(self) -> int:
        return int(self.handle.request.steps) - self.completed


def category(model: world.Model) -> int:
    """Return the EntityCategory of a model."""
    if any(plugin.name in ROBOT_PLUGINS for plugin in model.plugins):
        return int(EntityCategory.CATEGORY_ROBOT)
    return int(EntityCategory.CATEGORY_STATIC_OBJECT if model.static
               else EntityCategory.CATEGORY_DYNAMIC_OBJECT)


def _features(_: Any, response: Any) -> Any:
    response.features.features = [int(feature) for feature in FEATURES]
    response.features.spawn_formats = ['sdf']
    response.features.custom_info = 'robot_qa embedded simulator'
    return response


def _answering(handle: Callable[[Any, Any], None]) -> Callable[[Any, Any], Any]:
    """Fill in the result of a request that was carried out, refused, or failed."""
    def answer(request: Any, response: Any) -> Any:
        response.result.result = Result.RESULT_OK
        try:
            handle(request, response)
        except Refusal as refusal:
            response.result.result = refusal.code
            response.result.error_message = str(refusal)
        except RobotQaError as error:
            response.result.result = Result.RESULT_OPERATION_FAILED
            response.result.error_message = str(error)
        return response

    return answer


def _renamed(model: world.Model, taken: list[str]) -> world.Model:
    number = 1
    while f'{model.name}_{number}' in taken:
        number += 1
    return replace(model, name=f'{model.name}_{number}')


def _vector(part: Any) -> Any:
    """Return x, y, z, and w where there is one."""
    return np.array([getattr(part, axis) for axis in 'xyzw' if hasattr(part, axis)])


def _put(part: Any, values: Any) -> None:
    for axis, value in zip('xyzw', values, strict=False):
        setattr(part, axis, float(value))
