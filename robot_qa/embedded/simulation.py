"""A running world: time, forces, settings, and models that come and go.

Time is in integer nanoseconds. The same world, seed and calls give bit-identical states on one
machine and version of MuJoCo. What only reads never changes what happens next.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import NamedTuple

import mujoco
import numpy as np

from robot_qa.embedded import world
from robot_qa.embedded.bodies import Bodies, JointHandle, check_names
from robot_qa.embedded.compile import Compiled, compile_world
from robot_qa.embedded.state import carry_over, what_went_wrong
from robot_qa.errors import RobotQaError
from robot_qa.geometry import Floats

LONGEST_RUN = 10
"""Steps without a look at whether the numbers are still sound."""
STIFFNESS = 10.0
"""Of velocity servos: an error is this much greater than what is left of it one step later."""


class _Wrench(NamedTuple):
    model: str
    link: str
    force: Floats
    torque: Floats
    until_ns: int


class _Settings(NamedTuple):
    """What scales change, as it was compiled."""

    ambient: Floats
    diffuse: Floats
    specular: Floats
    friction: Floats
    pair_friction: Floats


class Simulation(Bodies):
    """A world that runs."""

    def __init__(self, described: world.World, seed: int = 0) -> None:
        """Compile a world; ``RobotQaError`` where it cannot be simulated."""
        check_names(described.models)
        self.world = described
        self.seed = seed
        self.step_ns = round(described.step * 1e9)
        self.generation = 0
        self._first = compile_world(described, described.models)
        self.reset()

    def reset(self) -> None:
        """Put everything as it was at the start: models, states, forces, settings and time."""
        self._steps = 0
        self._wrenches: list[_Wrench] = []
        self._wind: Floats | None = None
        self._wind_scale = 1.0
        for plugin in self.world.plugins:
            if plugin.name.rpartition('::')[2] == 'WindEffects':
                self._wind = np.array(self.world.wind)
                factor = plugin.find('force_approximation_scaling_factor')
                self._wind_scale = float(factor.text) if factor else 1.0
        self._light_scale = self._friction_scale = 1.0
        fresh = replace(self._first, model=copy.copy(self._first.model))
        self._take(fresh, {model.name: model for model in self.world.models})

    def _take(self, compiled: Compiled, models: dict[str, world.Model]) -> None:
        super()._take(compiled, models)
        mj = compiled.model
        self._base = _Settings(
            mj.vis.headlight.ambient.copy(), mj.light_diffuse.copy(), mj.light_specular.copy(),
            mj.geom_friction.copy(), mj.pair_friction.copy(),
        )
        self.set_light_scale(self._light_scale)
        self.set_friction_scale(self._friction_scale)
        self._windy = [
            compiled.bodies[model.name, link.name]
            for model in models.values() for link in model.links if link.enable_wind
        ]
        self.generation += 1

    @property
    def time_ns(self) -> int:
        """The simulated time."""
        return self._steps * self.step_ns

    def step(self, count: int = 1) -> None:
        """Do physics steps; ``RobotQaError`` says which body became unstable, and when."""
        end = self._steps + count
        while self._steps < end:
            start = self._steps
            run = self._apply_forces(min(end - start, LONGEST_RUN))
            mujoco.mj_step(self.model, self._data, run)
            self._moved()
            self._steps += run
            self._data.time = self._steps * self.world.step
            trouble = what_went_wrong(self._compiled, self._data)
            if trouble is not None:
                between = f'{start * self.world.step:.3f} s and {self._data.time:.3f} s'
                raise RobotQaError(
                    f'{trouble} between {between} of simulated time: the step is too long, or '
                    'masses, forces or velocities are extreme'
                )

    def _apply_forces(self, count: int) -> int:
        """Apply pushes and wind; return for how many of ``count`` steps they stay the same."""
        if not self._wrenches and (self._wind is None or not self._windy):
            return count
        self._data.xfrc_applied[:] = 0.0
        now = self.time_ns
        self._wrenches = [one for one in self._wrenches if one.until_ns > now]
        for one in self._wrenches:
            body = self.body_id(one.model, one.link)
            self._data.xfrc_applied[body] += np.concatenate((one.force, one.torque))
            count = min(count, -((now - one.until_ns) // self.step_ns))
        if self._wind is not None and self._windy:
            for body in self._windy:
                velocity = np.zeros(6)
                mujoco.mj_objectVelocity(
                    self.model, self.data, mujoco.mjtObj.mjOBJ_XBODY, body, velocity, 0,
                )
                mass = self.model.body_mass[body] * self._wind_scale
                self._data.xfrc_applied[body, :3] += mass * (self._wind - velocity[3:])
            count = 1
        return count

    def apply_wrench(
        self, model: str, link: str, force: Floats, torque: Floats, until_ns: int,
    ) -> None:
        """Push a link at its centre of mass until a time, in N and Nm; several add up."""
        self.body_id(model, link)
        self._wrenches.append(
            _Wrench(model, link, np.array(force, float), np.array(torque, float), until_ns)
        )

    def release(self, model: str, link: str) -> None:
        """End all pushes of a link."""
        self._data.xfrc_applied[self.body_id(model, link)] = 0.0
        self._wrenches = [one for one in self._wrenches if (one.model, one.link) != (model, link)]

    @property
    def light_scale(self) -> float:
        """By how much all light is scaled; the lights of ``model`` have it in them."""
        return self._light_scale

    def set_light_scale(self, scale: float) -> None:
        """Scale the ambient light and all others; 1 is the world's own."""
        self._light_scale = scale
        self.model.vis.headlight.ambient[:] = self._base.ambient * scale
        self.model.light_diffuse[:] = self._base.diffuse * scale
        self.model.light_specular[:] = self._base.specular * scale

    def set_friction_scale(self, scale: float) -> None:
        """Scale the friction of all contacts; 1 is the world's own."""
        self._friction_scale = scale
        self.model.geom_friction[:] = self._base.friction * scale
        self.model.pair_friction[:] = self._base.pair_friction * scale

    def set_gravity(self, gravity: world.Vector) -> None:
        """Set the gravity, in m/s2."""
        self.model.opt.gravity[:] = gravity

    def set_wind(self, wind: world.Vector) -> None:
        """Set the velocity of the wind, in m/s; it pushes links with ``enable_wind``.

        By mass * factor * (wind - velocity of the link's origin), as Gazebo's WindEffects, whose
        factor is 1 unless that plugin of the world says otherwise. Without the plugin there is no
        wind before this is called.
        """
        self._wind = np.array(wind, float)

    def _drive(self, model: str, joint: str) -> tuple[JointHandle, int, int]:
        handle = self.joint(model, joint)
        if not handle.ids.actuators:
            raise RobotQaError(f'{model}::{joint} has no axis that could be driven')
        return handle, handle.ids.actuators[0], handle.ids.dofs[0]

    def joint_velocity_target(
        self, model: str, joint: str, value: float, effort_limit: float,
    ) -> None:
        """Drive a joint's first axis at a velocity, in rad/s or m/s, from now on.

        With at most ``effort_limit``, and within the axis's own limits of effort and velocity.
        """
        handle, number, dof = self._drive(model, joint)
        axis, mj = handle.joint.axes[0], self.model
        gain = STIFFNESS / (mj.dof_invweight0[dof] * self.world.step)
        mj.actuator_gainprm[number, 0], mj.actuator_biasprm[number, 2] = gain, -gain
        limit = min(effort_limit, axis.effort, 1e10)
        mj.actuator_forcerange[number] = (-limit, limit)
        self._data.qfrc_applied[dof] = 0.0
        self._data.ctrl[number] = np.clip(value, -axis.velocity, axis.velocity)

    def joint_effort(self, model: str, joint: str, value: float) -> None:
        """Drive a joint's first axis with an effort, in Nm or N, from now on.

        Within the axis's limit of effort. It ends a velocity target, and the other way round.
        """
        handle, number, dof = self._drive(model, joint)
        self.model.actuator_gainprm[number, 0] = self.model.actuator_biasprm[number, 2] = 0.0
        limit = handle.joint.axes[0].effort
        self._data.qfrc_applied[dof] = np.clip(value, -limit, limit)

    def spawn(self, model: world.Model) -> None:
        """Add a model; the state of all others stays. ``RobotQaError`` for a name in use."""
        check_names([*self._models.values(), model])
        self._recompile({**self._models, model.name: model})

    def delete(self, name: str) -> None:
        """Remove a model; the state of all others stays."""
        self.model_of(name)
        self._recompile({key: one for key, one in self._models.items() if key != name})
        self._wrenches = [one for one in self._wrenches if one.model != name]

    def _recompile(self, models: dict[str, world.Model]) -> None:
        fresh = compile_world(self.world, tuple(models.values()))
        old, old_data = self._compiled, self._data
        self._take(fresh, models)
        carry_over(old, old_data, fresh, self._data)
