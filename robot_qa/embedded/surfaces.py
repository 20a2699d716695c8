"""What touches and what is seen: the visuals and collisions of links as geoms.

Visual geoms are in group 2 and touch nothing, collision geoms are in group 3. MuJoCo would let
them meet by its own rules; these are Gazebo's. Two collisions meet if their ``collide_bitmask``
have a common bit; the lower friction coefficient of two surfaces counts (``mu``; ``mu2`` is taken
to be the same).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import mujoco
import numpy as np

from robot_qa.embedded import world
from robot_qa.embedded.shapes import Assets, hulls, parts, placed, primitive, textured
from robot_qa.errors import Problem

VISUAL_GROUP, COLLISION_GROUP = 2, 3
PATCH_RADIUS = 0.01
"""Of a contact, in m; what torsional friction acts on (SDF: ``3 pi / 16 * radius * mu``)."""
IMPEDANCE = (0.95, 0.99, 0.001, 0.5, 2.0)
"""Of contacts: a box at rest sinks in by 0.01 mm. Stiffer ones chatter when they slide."""
BOUNCE_RATE = 100.0
"""Natural frequency of a bouncing contact, in rad/s: it lasts 30 ms."""


class GeomOwner(NamedTuple):
    """Whose a geom is; ``name`` is that of the visual or of the collision."""

    model: str
    link: str
    name: str
    visual: bool
    label: int | None


class _Bouncing(NamedTuple):
    geom: str
    link: str
    model: world.Model
    collision: world.Collision


@dataclass
class Building:
    """A world that is about to be compiled."""

    spec: Any
    assets: Assets
    ranks: dict[float, int]
    """What ``friction_ranks`` says."""
    wheels: set[str]
    """The bodies that a diff drive turns."""
    owners: dict[str, GeomOwner] = field(default_factory=dict)
    bouncing: list[_Bouncing] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)

    def warn(self, model: world.Model, message: str) -> None:
        """Note what of a model is approximated or left out."""
        self.warnings.append(Problem(model.uri or model.name, 1, 1, message))


def body_name(model: str, link: str) -> str:
    """Return the name of a link's body."""
    return 'world' if link == world.WORLD_LINK else f'{model}::{link}'


def friction_ranks(models: tuple[world.Model, ...]) -> dict[float, int]:
    """Rank by friction: MuJoCo takes the contact of the geom with the higher priority."""
    known = {
        one.mu for model in models for link in model.links for one in link.collisions
    }
    return {mu: rank for rank, mu in enumerate(sorted(known, reverse=True))}


def driven_wheels(model: world.Model) -> set[str]:
    """Return the names of the bodies that a diff drive turns."""
    names = {
        plugin.scope + one.text.strip()
        for plugin in model.plugins if plugin.name.rpartition('::')[2] == 'DiffDrive'
        for side in ('left_joint', 'right_joint') for one in plugin.find_all(side)
    }
    return {
        body_name(model.name, joint.child) for joint in model.joints if joint.name in names
    }


def joined(model: world.Model, first: str, second: str) -> bool:
    """Tell whether a joint connects two links."""
    return any({first, second} == {joint.parent, joint.child} for joint in model.joints)


def add_geoms(building: Building, model: world.Model, body: Any, link: world.Link) -> None:
    """Add what a link is seen as and touches with to its body."""
    for visual in link.visuals:
        label = visual.label if visual.label is not None else model.label
        owner = GeomOwner(model.name, link.name, visual.name, True, label)
        for shape in _looks(building, visual):
            _add_geom(
                building, body, owner, group=VISUAL_GROUP, contype=0, conaffinity=0, **shape,
            )
    for collision in link.collisions:
        owner = GeomOwner(model.name, link.name, collision.name, False, None)
        bits = collision.collide_bitmask & 0x7FFFFFFF
        surface = {
            'group': COLLISION_GROUP, 'contype': bits, 'conaffinity': bits,
            'priority': building.ranks[collision.mu], **_surface(collision),
        }
        for shape in _touches(building, model, body, collision):
            name = _add_geom(building, body, owner, **shape, **surface)
            if collision.restitution > 0.0:
                building.bouncing.append(_Bouncing(name, link.name, model, collision))


def _add_geom(building: Building, body: Any, owner: GeomOwner, **shape: Any) -> str:
    name = f'{body.name}::{owner.name}//{len(building.owners)}'
    building.owners[name] = owner
    body.add_geom(name=name, mass=0.0, **shape)
    return name


def _looks(building: Building, visual: world.Visual) -> Iterator[dict[str, Any]]:
    """Yield what ``add_geom`` takes for a visual; several for a mesh of several parts."""
    assets, shape, material = building.assets, visual.geometry, visual.material
    place = placed(visual.pose, shape)
    if isinstance(shape, world.Mesh):
        bare = material == world.Material()
        for number, part in enumerate(parts(shape)):
            image = material.texture or (part.image if bare else None)
            look = world.Material(diffuse=part.color) if bare else material
            yield {
                'type': mujoco.mjtGeom.mjGEOM_MESH, **place,
                'meshname': assets.mesh((shape, number), part.vertices, part),
                'material': assets.material(
                    look, visual.transparency, image if part.uv is not None else None,
                ),
            }
        return
    faces = textured(shape) if material.texture is not None else None
    if faces is None:
        yield {
            **primitive(shape), **place,
            'material': assets.material(material, visual.transparency, None),
        }
    else:
        yield {
            'type': mujoco.mjtGeom.mjGEOM_MESH, **place,
            'meshname': assets.mesh((shape, 'faces'), faces.vertices, faces),
            'material': assets.material(material, visual.transparency, material.texture),
        }


def _touches(
    building: Building, model: world.Model, body: Any, collision: world.Collision,
) -> Iterator[dict[str, Any]]:
    """Yield what ``add_geom`` takes for a collision; several for a mesh of several parts."""
    shape = collision.geometry
    if isinstance(shape, world.Mesh):
        found = hulls(shape)
        if not found:
            building.warn(model, f'{body.name}::{collision.name}: {shape.file} has no volume and '
                                 'touches nothing')
        for number, corners in enumerate(found):
            yield {
                'type': mujoco.mjtGeom.mjGEOM_MESH, **placed(collision.pose, shape),
                'meshname': building.assets.mesh((shape, 'hull', number), corners),
            }
        return
    if isinstance(shape, world.Plane):
        if not model.static:
            building.warn(model, f'{body.name}::{collision.name}: a plane cannot move and touches '
                                 'nothing')
            return
        shape = world.Plane(shape.normal, (0.0, 0.0))
    if body.name in building.wheels and isinstance(shape, world.Cylinder):
        # The rim of a cylinder scrubs when the robot turns, and takes a third of the yaw rate.
        shape = world.Ellipsoid((shape.radius, shape.radius, shape.length / 2))
    yield {**primitive(shape), **placed(collision.pose, shape)}


def _surface(collision: world.Collision) -> dict[str, Any]:
    spin = 0.0 if collision.torsional is None else (
        3 * np.pi / 16 * PATCH_RADIUS * collision.torsional
    )
    return {
        'friction': (collision.mu, spin, 0.0001), 'condim': 4 if spin > 0.0 else 3,
        'solref': (0.005, 2.0), 'solimp': IMPEDANCE,
    }


def add_bounces(building: Building) -> None:
    """Give each two collisions that both bounce a contact of their own.

    As in DART, restitutions multiply: whatever meets a surface without any comes to rest.
    """
    for first, second in itertools.combinations(building.bouncing, 2):
        a, b = first.collision, second.collision
        if not _may_meet(first, second) or not a.collide_bitmask & b.collide_bitmask:
            continue
        lower = min(a, b, key=lambda one: one.mu)
        surface = _surface(lower)
        mu, spin, roll = surface['friction']
        building.spec.add_pair(
            geomname1=first.geom, geomname2=second.geom, condim=surface['condim'],
            friction=(mu, mu, spin, roll, roll), solimp=(0.99, 0.99, 0.001, 0.5, 2.0),
            solref=bounce(a.restitution * b.restitution, building.spec.option.timestep),
        )


def _may_meet(first: _Bouncing, second: _Bouncing) -> bool:
    if first.model is not second.model:
        return not (first.model.static and second.model.static)
    return first.model.self_collide and first.link != second.link and not joined(
        first.model, first.link, second.link,
    )


def bounce(restitution: float, step: float) -> tuple[float, float]:
    """Return the stiffness and damping (``solref``) of a contact that gives back this share.

    A spring and a damper with the damping ratio z, released where they would pull, give back
    ``exp(-z t)`` of the speed at the time t, in 1 / natural frequency, at which the acceleration
    of ``exp(-z t) sin(sqrt(1 - z^2) t)`` is zero again. What the step itself damps is taken off,
    so that shares above about 0.85 are out of reach at 1 ms.
    """
    ratios = np.linspace(0.001, 0.999, 999)
    root = np.sqrt(1.0 - ratios ** 2)
    time = np.arctan2(2 * ratios * root, 2 * ratios ** 2 - 1.0) / root
    ratio = float(np.interp(-restitution, -np.exp(-ratios * time), ratios))
    own = max(1e-3, ratio - BOUNCE_RATE * step / 2)
    return -BOUNCE_RATE ** 2, -2 * own * BOUNCE_RATE
