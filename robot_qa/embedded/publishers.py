"""What plugins report of a model: states of joints, true odometry, poses of its parts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robot_qa.embedded.diff_drive import Odometry
from robot_qa.embedded.noise import generators
from robot_qa.embedded.plugin_parameters import DRIVEABLE, Parameters
from robot_qa.embedded.sensor_base import Reading
from robot_qa.embedded.simulation import Simulation
from robot_qa.geometry import Floats, Poses, conjugate, cross, product, roll_pitch_yaw, rotate


@dataclass(frozen=True)
class JointStates(Reading):
    """Position, velocity and effort of the first axis of each joint, all (n,).

    In rad, rad/s and Nm, or for prismatic joints in m, m/s and N.
    """

    names: tuple[str, ...]
    positions: Floats
    velocities: Floats
    efforts: Floats


class JointStatePublisher:
    """Reports the listed joints, or all that have an axis. ``period_ns`` 0 is at every step."""

    def __init__(self, simulation: Simulation, model_name: str, parameters: Parameters) -> None:
        self.simulation = simulation
        self.model_name = model_name
        listed = parameters.joints('joint_name', required=False)
        scope = parameters.scope
        self._joints = list(dict.fromkeys(listed)) or [
            one.name for one in simulation.model_of(model_name).joints
            if one.kind in DRIVEABLE and one.name.startswith(scope)
        ]
        self._names = tuple(one.removeprefix(scope) for one in self._joints)
        world = simulation.world.name
        self.topic = parameters.text(
            'topic', f'/world/{world}/model/{parameters.model_name}/joint_state')
        self.period_ns = parameters.period_ns('update_rate', 0.0)

    def reset(self) -> None:
        """Start as new; it remembers nothing."""

    def sample(self) -> JointStates:
        """Return the states of now."""
        handles = [self.simulation.joint(self.model_name, one) for one in self._joints]
        rows = np.array([
            (one.qpos()[0], one.qvel()[0], one.effort()[0]) if one.ids.dofs else (0.0, 0.0, 0.0)
            for one in handles
        ]).reshape(-1, 3)
        return JointStates(self.simulation.time_ns, self._names, *rows.T)


class OdometryPublisher:
    """Reports where the model truly is in the world, and its twist in its own frame.

    With ``dimensions`` 2 (the default) the height is left out, and of the twist all but x, y and
    yaw. ``gaussian_noise`` is on the twist, as in Gazebo.
    """

    def __init__(self, simulation: Simulation, model_name: str, parameters: Parameters) -> None:
        self.simulation = simulation
        self.model_name = model_name
        name = parameters.model_name
        self.frame_id = parameters.text('odom_frame', f'{name}/odom')
        self.child_frame_id = parameters.text('robot_base_frame', f'{name}/base_footprint')
        self.odom_topic = parameters.text('odom_topic', f'/model/{name}/odometry')
        self.tf_topic = parameters.text('tf_topic', f'/model/{name}/pose')
        self.period_ns = parameters.period_ns('odom_publish_frequency', 50.0)
        self._flat = parameters.choice('dimensions', ('2', '3')) == '2'
        self._noise = parameters.number('gaussian_noise', 0.0)
        roll, pitch, yaw = parameters.vector('rpy_offset')
        self._offset = Poses(parameters.vector('xyz_offset'), _about_axes(roll, pitch, yaw))
        self.reset()

    def reset(self) -> None:
        """Start as new."""
        name = f'{self.model_name}::{self.frame_id}'
        self._generator, = generators(self.simulation.seed, name, 1)

    def sample(self) -> Odometry:
        """Return the odometry of now."""
        model = self.simulation.pose(self.model_name)
        pose = model @ self._offset
        linear, angular = self.simulation.twist(self.model_name)
        linear = linear + cross(angular, pose.translation - model.translation)
        position, turn = pose.translation.copy(), pose.rotation
        if self._flat:
            position[2] = linear[2] = 0.0
            yaw = roll_pitch_yaw(pose.rotation)[2]
            angular = np.array([0.0, 0.0, rotate(conjugate(turn), angular)[2]])
            linear = rotate(_about_axes(0.0, 0.0, -yaw), linear)
        else:
            linear, angular = (rotate(conjugate(turn), one) for one in (linear, angular))
        noise = self._generator.normal(0.0, max(self._noise, 0.0), 6)
        return Odometry(
            self.simulation.time_ns, self.frame_id, self.child_frame_id, position, turn,
            linear + noise[:3], angular + noise[3:],
        )


def _about_axes(roll: float, pitch: float, yaw: float) -> Floats:
    """Return the rotation (4,) by the angles about the fixed axes x, y, z, in this order."""
    halves = np.array([roll, pitch, yaw]) / 2.0
    x, y, z = np.column_stack((np.diag(np.sin(halves)), np.cos(halves)))
    return product(z, product(y, x))


@dataclass(frozen=True)
class PartPoses(Reading):
    """Poses of parts of a model: n poses of ``children`` in ``parents``, named as frames of ROS.

    ``fixed`` (n,) tells which never change within the model.
    """

    parents: tuple[str, ...]
    children: tuple[str, ...]
    poses: Poses
    fixed: NDArray[np.bool_]


class PosePublisher:
    """Reports the poses that its ``publish_..._pose`` ask for: links unless they say otherwise.

    Frames are named ``model/link/part``. Links, of nested models too, are in the frame of the
    outer model, which with ``publish_nested_model_pose`` itself is in that of the world. With
    ``static_topic``, that of a ``static_publisher``, the fixed ones go there.
    ``period_ns`` 0 is at every step.
    """

    def __init__(self, simulation: Simulation, model_name: str, parameters: Parameters) -> None:
        self.simulation = simulation
        self.model_name = model_name
        nested = parameters.flag('publish_nested_model_pose', False)
        self._of_model = nested and parameters.flag('publish_model_pose', nested)
        self._of = {
            'link': parameters.flag('publish_link_pose', True),
            **{part: parameters.flag(f'publish_{part}_pose', False)
               for part in ('visual', 'collision', 'sensor')},
        }
        self.topic = parameters.text('topic', f'/model/{parameters.model_name}/pose')
        self.period_ns = parameters.period_ns('update_frequency', -1.0)
        split = parameters.flag('static_publisher', False)
        self.static_topic = f'{self.topic}_static' if split else None
        frequency = parameters.number('update_frequency', -1.0)
        self.static_period_ns = parameters.period_ns('static_update_frequency', frequency)
        self._scope = parameters.scope

    def reset(self) -> None:
        """Start as new; it remembers nothing."""

    def sample(self) -> PartPoses:
        """Return the poses of now."""
        rows = list(self._rows())
        poses = Poses(
            np.array([pose.translation for _, _, pose, _ in rows]).reshape(-1, 3),
            np.array([pose.rotation for _, _, pose, _ in rows]).reshape(-1, 4),
        )
        return PartPoses(
            self.simulation.time_ns, tuple(row[0] for row in rows), tuple(row[1] for row in rows),
            poses, np.array([row[3] for row in rows], bool),
        )

    def _rows(self) -> Iterator[tuple[str, str, Poses, bool]]:
        name, model = self.model_name, self.simulation.model_of(self.model_name)
        origin = self.simulation.pose(name)
        if self._of_model:
            yield self.simulation.world.name, name, origin, False
        moved = {
            link for joint in model.joints if joint.kind != 'fixed'
            for link in (joint.parent, joint.child)
        } - {model.canonical_link or model.links[0].name}
        into = origin.inverse()
        for link in model.links:
            if not link.name.startswith(self._scope):
                continue
            frame = f'{name}/{link.name}'.replace('::', '/')
            if self._of['link']:
                pose = into @ self.simulation.link_pose(name, link.name)
                yield name, frame, pose, link.name not in moved
            sensors = [one for one in model.sensors if one.link == link.name]
            for kind, parts in (
                ('visual', link.visuals), ('collision', link.collisions), ('sensor', sensors),
            ):
                for part in parts if self._of[kind] else ():
                    yield frame, f'{frame}/{part.name}', part.pose, True
