"""Worlds from dataclasses, without any SDF: bricks for tests of sensors and drives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from robot_qa.embedded import world
from robot_qa.errors import Problem
from robot_qa.geometry import Poses

PLACE = Problem('world.sdf', 7, 3, '')


def pose(
    x: float = 0.0, y: float = 0.0, z: float = 0.0, *,
    roll: float = 0.0, pitch: float = 0.0, yaw: float = 0.0,
) -> Poses:
    turned = Rotation.from_euler('xyz', [roll, pitch, yaw]).as_quat()
    return Poses(np.array([x, y, z], float), turned)


def inertial(mass: float, moment: float, at: Poses | None = None) -> world.Inertial:
    return world.Inertial(mass, at or pose(), (moment,) * 3, (0.0, 0.0, 0.0))


def link(
    name: str, shape: world.Geometry | None = None, at: Poses | None = None, *,
    mass: float = 1.0, moment: float = 0.1, visual: bool = True, collision: bool = True,
    **more: Any,
) -> world.Link:
    """A link of one shape, seen and touched."""
    seen = (world.Visual('visual', pose(), shape),) if shape and visual else ()
    touched = (world.Collision('collision', pose(), shape, mu=1.0),) if shape and collision else ()
    given = {'inertial': inertial(mass, moment), 'visuals': seen, 'collisions': touched, **more}
    return world.Link(name, at or pose(), **given)


def model(
    name: str, links: Sequence[world.Link], at: Poses | None = None, **more: Any,
) -> world.Model:
    return world.Model(name, at or pose(), tuple(links), **more)


def block(name: str, shape: world.Geometry, at: Poses) -> world.Model:
    """Something that stands still."""
    return model(name, [link('link', shape)], at, static=True)


def ground() -> world.Model:
    return block('ground', world.Plane((0.0, 0.0, 1.0), (100.0, 100.0)), pose())


def sensor(kind: str, name: str = 'sensor', at: Poses | None = None, **more: Any) -> world.Sensor:
    given = {'rate_hz': 10.0, 'place': PLACE, 'link': 'link', **more}
    return world.Sensor(name, kind, pose=at or pose(), **given)  # type: ignore[arg-type]


def lidar(at: Poses | None = None, **part: Any) -> world.Sensor:
    """A full circle of 360 rays from 0.1 m to 10 m, unless said otherwise."""
    given = {
        'samples': 360, 'min_angle': -np.pi, 'max_angle': np.pi - np.pi / 180, 'min_range': 0.1,
        'max_range': 10.0, **part,
    }
    return sensor('lidar', at=at, lidar=world.LidarPart(**given))


def carrier(*sensors: world.Sensor, at: Poses | None = None, **more: Any) -> world.Model:
    """A free link that nothing is known of, with sensors."""
    return model('robot', [link('link', **more)], at, sensors=sensors)


def joint(
    name: str, kind: str, parent: str, child: str, xyz: world.Vector = (0.0, 0.0, 1.0),
    *, at: Poses | None = None, **axis: Any,
) -> world.Joint:
    axes = () if kind == 'fixed' else (world.Axis(xyz, **axis),)
    return world.Joint(name, kind, parent, child, at or pose(), axes)  # type: ignore[arg-type]


def plugin(name: str, scope: str = '', **parameters: Any) -> world.Plugin:
    """A plugin; a list is one element for each of its items. Parameters stand on line 20, ..."""
    found = []
    for key, value in parameters.items():
        for one in value if isinstance(value, list) else [value]:
            place = Problem('robot.sdf', 20 + len(found), 5, '')
            found.append(world.Parameter(key, str(one), {}, (), place))
    place = Problem('robot.sdf', 19, 3, '')
    return world.Plugin(name, f'gz-sim-{name}', tuple(found), place, scope)


def scene(*models: world.Model, **more: Any) -> world.World:
    return world.World('test', models, **more)


def two_wheeled(
    *plugins: world.Plugin, at: Poses | None = None, **more: Any,
) -> world.Model:
    """A robot that stands on two wheels of 0.1 m, 0.4 m apart, and a smooth ball."""
    ball = world.Collision('ball', pose(-0.15, 0.0, -0.05), world.Sphere(0.05), mu=0.0)
    chassis = link(
        'chassis', at=pose(0.0, 0.0, 0.1), inertial=inertial(8.0, 0.15, pose(-0.03, 0, 0)),
        collisions=(ball,), visuals=(world.Visual('box', pose(), world.Box((0.4, 0.3, 0.1))),),
    )
    wheels = [
        link(f'{side}_wheel', world.Cylinder(0.1, 0.04), pose(0, y, 0.1, roll=-np.pi / 2),
             mass=0.5, moment=0.002)
        for side, y in (('left', 0.2), ('right', -0.2))
    ]
    joints = [
        joint(f'{side}_joint', 'continuous', 'chassis', f'{side}_wheel')
        for side in ('left', 'right')
    ]
    return model('robot', [chassis, *wheels], at, joints=tuple(joints), plugins=plugins, **more)


def diff_drive(**more: Any) -> world.Plugin:
    return plugin('DiffDrive', **{
        'left_joint': 'left_joint', 'right_joint': 'right_joint', 'wheel_separation': 0.4,
        'wheel_radius': 0.1, **more,
    })
