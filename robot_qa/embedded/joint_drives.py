"""Controllers of joints, as Gazebo's JointPositionController and JointController."""

from __future__ import annotations

import numpy as np

from robot_qa.embedded.diff_drive import UPDATE_NS
from robot_qa.embedded.plugin_parameters import Parameters
from robot_qa.embedded.simulation import Simulation
from robot_qa.timebase import NS_PER_S


class Pid:
    """gz-math's PID: of an error that is measured minus wanted.

    The integral holds its gain, and is limited as such; the derivative is that of the error, which
    counts as zero before the first call.
    """

    def __init__(self, parameters: Parameters, defaults: tuple[float, float, float]) -> None:
        """Read gains and limits; ``defaults`` are those of p, i and d."""
        self._gains = tuple(
            parameters.number(f'{name}_gain', default)
            for name, default in zip('pid', defaults, strict=True)
        )
        self._integral = parameters.number('i_min', -1.0), parameters.number('i_max', 1.0)
        self.output = parameters.number('cmd_min', -1000.0), parameters.number('cmd_max', 1000.0)
        parameters.ordered('i_min', self._integral[0], 'i_max', self._integral[1])
        parameters.ordered('cmd_min', self.output[0], 'cmd_max', self.output[1])
        self._offset = parameters.number('cmd_offset', 0.0)
        self.reset()

    def reset(self) -> None:
        """Forget all errors."""
        self._last = self._sum = 0.0

    def update(self, error: float, elapsed_s: float) -> float:
        """Return the command, ``elapsed_s`` (above zero) after the call before."""
        p, i, d = self._gains
        self._sum = float(np.clip(self._sum + i * error * elapsed_s, *self._integral))
        change = (error - self._last) / elapsed_s
        self._last = error
        return float(np.clip(self._offset - p * error - self._sum - d * change, *self.output))


class _JointDrive:
    """What both controllers share: some joints that follow one command."""

    update_period_ns = 0

    def __init__(self, simulation: Simulation, model_name: str, parameters: Parameters) -> None:
        self.simulation = simulation
        self.model_name = model_name
        self.joints = parameters.joints('joint_name')
        parameters.first_axis_only()
        sub = parameters.text('sub_topic', self._default_topic(parameters))
        self.topic = parameters.text('topic', f'/model/{parameters.model_name}/{sub}')

    def _default_topic(self, parameters: Parameters) -> str:
        raise NotImplementedError

    def reset(self) -> None:
        """Start as new."""
        self._updated_ns = self.simulation.time_ns

    def command(self, target: float) -> None:
        """Set the target, until the next command."""
        self._target = target

    def _elapsed_s(self, now_ns: int) -> float:
        elapsed, self._updated_ns = now_ns - self._updated_ns, now_ns
        # At the start no time has passed, and a step is about to.
        return (elapsed or self.simulation.step_ns) / NS_PER_S

    def _drive_at(self, velocity: float) -> None:
        for joint in self.joints:
            self.simulation.joint_velocity_target(self.model_name, joint, velocity, np.inf)

    def _push(self, effort: float) -> None:
        for joint in self.joints:
            self.simulation.joint_effort(self.model_name, joint, effort)


def _short(joint: str, parameters: Parameters) -> str:
    return joint.removeprefix(parameters.scope)


class JointPositionController(_JointDrive):
    """Brings joints to a position, in rad or m; the first joint is the one that is measured.

    By efforts from a PID, or with ``use_velocity_commands`` in one step, at most ``cmd_max`` fast.
    ``update`` is called at every step.
    """

    def __init__(self, simulation: Simulation, model_name: str, parameters: Parameters) -> None:
        super().__init__(simulation, model_name, parameters)
        self._pid = Pid(parameters, (1.0, 0.1, 0.01))
        self._by_velocity = parameters.flag('use_velocity_commands', False)
        # Only a <cmd_max> that is there limits the velocity.
        self._fastest = parameters.number('cmd_max', np.inf)
        self._initial = parameters.number('initial_position', 0.0)

    def _default_topic(self, parameters: Parameters) -> str:
        joint = _short(self.joints[0], parameters) if self.joints else ''
        return f'joint/{joint}/0/cmd_pos'

    def reset(self) -> None:
        """Start as new, with the initial position as the target."""
        super().reset()
        self._target = self._initial
        self._pid.reset()

    def update(self, now_ns: int) -> None:
        """Drive the joints during the next step."""
        elapsed = self._elapsed_s(now_ns)
        measured = self.simulation.joint(self.model_name, self.joints[0]).qpos()[0]
        error = float(measured) - self._target
        if self._by_velocity:
            self._drive_at(float(np.clip(-error / elapsed, -self._fastest, self._fastest)))
        else:
            self._push(self._pid.update(error, elapsed))


class JointController(_JointDrive):
    """Keeps joints at a velocity, in rad/s or m/s; the first joint is the one that is measured.

    By a servo, or with ``use_force_commands`` by efforts from a PID. ``update`` is called every
    ``update_period_ns``, 0 for every step.
    """

    def __init__(self, simulation: Simulation, model_name: str, parameters: Parameters) -> None:
        super().__init__(simulation, model_name, parameters)
        self._pid = Pid(parameters, (1.0, 0.0, 0.0))
        self._by_force = parameters.flag('use_force_commands', False)
        self._initial = parameters.number('initial_velocity', 0.0)
        self.update_period_ns = 0 if self._by_force else UPDATE_NS

    def _default_topic(self, parameters: Parameters) -> str:
        joint = _short(self.joints[0], parameters) if self.joints else ''
        return f'joint/{joint}/cmd_vel'

    def reset(self) -> None:
        """Start as new, with the initial velocity as the target."""
        super().reset()
        self._target = self._initial
        self._pid.reset()

    def update(self, now_ns: int) -> None:
        """Drive the joints until the next update."""
        if not self._by_force:
            self._drive_at(self._target)
            return
        elapsed = self._elapsed_s(now_ns)
        measured = self.simulation.joint(self.model_name, self.joints[0]).qvel()[0]
        self._push(self._pid.update(float(measured) - self._target, elapsed))
