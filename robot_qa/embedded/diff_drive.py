"""Differential drive as Gazebo's DiffDrive: limits, wheels, and odometry from their angles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from robot_qa.embedded.plugin_parameters import Parameters
from robot_qa.embedded.sensor_base import Reading
from robot_qa.embedded.simulation import Simulation
from robot_qa.geometry import Floats
from robot_qa.timebase import NS_PER_S

UPDATE_NS = 10_000_000
"""Of a drive's set point, in simulated time."""
# Below this angle in rad a path counts as straight.
_STRAIGHT = 1e-6


@dataclass(frozen=True)
class Odometry(Reading):
    """Pose of ``child_frame_id`` in ``frame_id`` and its twist in ``child_frame_id``.

    ``position`` (3,) in m, ``rotation`` (4,) as x, y, z, w, ``linear`` (3,) in m/s, ``angular``
    (3,) in rad/s.
    """

    frame_id: str
    child_frame_id: str
    position: Floats
    rotation: Floats
    linear: Floats
    angular: Floats


class Limits:
    """Lower and upper limits of velocity, acceleration and jerk, as gz-math's SpeedLimiter."""

    def __init__(self, parameters: Parameters, kind: str) -> None:
        """Read those of a kind, ``linear`` or ``angular``; one without a kind is for both."""
        self._ranges = []
        for what in ('velocity', 'acceleration', 'jerk'):
            low, high = (
                parameters.number(
                    f'{end}_{kind}_{what}', parameters.number(f'{end}_{what}', none))
                for end, none in (('min', -np.inf), ('max', np.inf))
            )
            parameters.ordered(f'min_{kind}_{what}', low, f'max_{kind}_{what}', high)
            self._ranges.append((low, high))
        self.reset()

    def reset(self) -> None:
        """Start from standing."""
        self._last = self._before = 0.0

    def apply(self, target: float, elapsed_s: float) -> float:
        """Return what is possible of a velocity, ``elapsed_s`` after the call before.

        Where no time has passed, nothing can change.
        """
        if elapsed_s <= 0.0:
            return self._last
        velocity, acceleration, jerk = self._ranges
        last = (self._last - self._before) / elapsed_s
        wanted = (target - self._last) / elapsed_s
        wanted = last + elapsed_s * float(np.clip((wanted - last) / elapsed_s, *jerk))
        target = self._last + elapsed_s * float(np.clip(wanted, *acceleration))
        self._before, self._last = self._last, float(np.clip(target, *velocity))
        return self._last


class DiffDrive:
    """Two sides of wheels that follow velocity commands.

    ``update`` is called every ``update_period_ns``, ``sample`` every ``period_ns``.
    """

    update_period_ns = UPDATE_NS

    def __init__(self, simulation: Simulation, model_name: str, parameters: Parameters) -> None:
        self.simulation = simulation
        self.model_name = model_name
        self._left = parameters.joints('left_joint')
        self._right = parameters.joints('right_joint')
        self._separation = parameters.positive('wheel_separation', 1.0)
        self._radius = parameters.positive('wheel_radius', 0.2)
        self._linear, self._angular = (Limits(parameters, one) for one in ('linear', 'angular'))
        self.period_ns = parameters.period_ns('odom_publish_frequency', 50.0)
        name = parameters.model_name
        self.topic = parameters.text('topic', f'/model/{name}/cmd_vel')
        self.enable_topic = f'/model/{name}/enable'
        self.odom_topic = parameters.text('odom_topic', f'/model/{name}/odometry')
        self.tf_topic = parameters.text('tf_topic', f'/model/{name}/tf')
        self.frame_id = parameters.text('frame_id', f'{name}/odom')
        model = simulation.model_of(model_name)
        links = [one.name for one in model.links if one.name.startswith(parameters.scope)]
        base = model.canonical_link if model.canonical_link in links else links[0]
        self.child_frame_id = parameters.text(
            'child_frame_id', f'{name}/{base.removeprefix(parameters.scope)}')

    def reset(self) -> None:
        """Start as new: no command, and the odometry begins here."""
        self._enabled = True
        self._target = 0.0, 0.0
        self._linear.reset()
        self._angular.reset()
        self._x = self._y = self._heading = 0.0
        self._speed = self._turning = 0.0
        self._wheels = self._wheel_paths()
        self._updated_ns = self._rolled_ns = self.simulation.time_ns

    def command(self, linear: float, angular: float) -> None:
        """Set the velocities to drive at, in m/s and rad/s, until the next command."""
        if self._enabled:
            self._target = linear, angular

    def enable(self, enabled: bool) -> None:
        """Let it drive, or stop it and take no commands."""
        self._enabled = enabled
        if not enabled:
            self._target = 0.0, 0.0

    def update(self, now_ns: int) -> None:
        """Take the odometry up to now and drive the wheels from now on."""
        self._integrate(now_ns)
        elapsed = (now_ns - self._updated_ns) / NS_PER_S
        self._updated_ns = now_ns
        linear = self._linear.apply(self._target[0], elapsed)
        half = self._angular.apply(self._target[1], elapsed) * self._separation / 2.0
        for joints, speed in ((self._left, linear - half), (self._right, linear + half)):
            for joint in joints:
                self.simulation.joint_velocity_target(
                    self.model_name, joint, speed / self._radius, np.inf)

    def _wheel_paths(self) -> tuple[float, float]:
        """Return how far the first wheel of each side has rolled, in m."""
        left, right = (
            float(self.simulation.joint(self.model_name, joints[0]).qpos()[0]) * self._radius
            for joints in (self._left, self._right)
        )
        return left, right

    def _integrate(self, now_ns: int) -> None:
        """Add the arc that the wheels rolled, exactly, as gz-math's DiffDriveOdometry.

        The twist is the mean since the call before; Gazebo's is that of the last ten steps.
        """
        elapsed_s, self._rolled_ns = (now_ns - self._rolled_ns) / NS_PER_S, now_ns
        wheels = self._wheel_paths()
        left, right = wheels[0] - self._wheels[0], wheels[1] - self._wheels[1]
        self._wheels = wheels
        path, turn = (left + right) / 2.0, (right - left) / self._separation
        start, end = self._heading, self._heading + turn
        if abs(turn) < _STRAIGHT:
            self._x += path * np.cos(start + turn / 2.0)
            self._y += path * np.sin(start + turn / 2.0)
        else:
            self._x += path / turn * (np.sin(end) - np.sin(start))
            self._y -= path / turn * (np.cos(end) - np.cos(start))
        self._heading = end
        if elapsed_s > 0.0:
            self._speed, self._turning = path / elapsed_s, turn / elapsed_s

    def sample(self) -> Odometry:
        """Return the odometry of now."""
        self._integrate(self.simulation.time_ns)
        half = self._heading / 2.0
        return Odometry(
            self._rolled_ns, self.frame_id, self.child_frame_id,
            np.array([self._x, self._y, 0.0]), np.array([0.0, 0.0, np.sin(half), np.cos(half)]),
            np.array([self._speed, 0.0, 0.0]), np.array([0.0, 0.0, self._turning]),
        )
