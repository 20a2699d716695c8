"""Mass and inertia of SDF's links, given or worked out from the collisions."""

from __future__ import annotations

import math

import numpy as np
import trimesh

from robot_qa.embedded.sdf_frames import Scope
from robot_qa.embedded.sdf_reader import Reader
from robot_qa.embedded.sdf_xml import Element
from robot_qa.embedded.world import (
    Box,
    Capsule,
    Collision,
    Cylinder,
    Ellipsoid,
    Geometry,
    Inertial,
    Mesh,
    Plane,
    Sphere,
    Vector,
)
from robot_qa.geometry import Floats, Poses, rotate

WATER = 1000.0
"""kg/m3, what SDF takes for a collision without ``<density>``."""
ROUNDING = 1e-3
"""By how much of the largest moment the sum of the others may miss it: people round numbers."""


def inertial(scope: Scope, link: Element, collisions: dict[str, Collision]) -> Inertial | None:
    """Return what a link's ``<inertial>`` says, or None if it has none."""
    found, reader = link.child('inertial'), scope.reader
    if found is None:
        return None
    if found.attributes.get('auto', '').lower() in {'true', '1'}:
        return _of_collisions(reader, link, found, collisions)
    mass = reader.number(found, 'mass', 1.0, above=0.0)
    values = found.child('inertia')
    moments, products = (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)
    if values is not None:
        moments = _three(reader, values, ('ixx', 'iyy', 'izz'), 1.0)
        products = _three(reader, values, ('ixy', 'ixz', 'iyz'), 0.0)
        _check(reader, values, moments, products)
    pose = scope.relative(found, link.attributes['name'].strip())
    return Inertial(mass, pose, moments, products)


def _three(reader: Reader, parent: Element, names: tuple[str, str, str], default: float) -> Vector:
    first, second, third = (reader.number(parent, name, default) for name in names)
    return (first, second, third)


def _check(reader: Reader, place: Element, moments: Vector, products: Vector) -> None:
    """Refuse what no body can have: two principal moments always outweigh the third."""
    low, middle, high = np.linalg.eigvalsh(tensor(moments, products))
    if low <= 0.0:
        message = f'no body has this inertia: its smallest principal moment is {low:.3g} kg m2'
        reader.error(place, message)
    elif low + middle < high * (1.0 - ROUNDING):
        reader.error(
            place, 'no body has this inertia: its principal moments '
            f'{low:.3g} and {middle:.3g} kg m2 together are less than {high:.3g}',
        )


def tensor(moments: Vector, products: Vector) -> Floats:
    """Return the inertia as a matrix; (3, 3)."""
    (xx, yy, zz), (xy, xz, yz) = moments, products
    return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])


def _of_collisions(
    reader: Reader, link: Element, found: Element, collisions: dict[str, Collision]
) -> Inertial | None:
    """Add up the collisions' inertias, each with its density; a mass that is given scales it."""
    general = reader.number(found, 'density', WATER, above=0.0)
    masses, centers, inertias = [], [], []
    for element in link.all('collision'):
        collision = collisions.get(element.attributes.get('name', ''))
        if collision is None:
            continue
        density = reader.number(element, 'density', general, above=0.0)
        body = solid(collision.geometry)
        if body is None:
            reader.warn(element, 'the inertia of this shape is not worked out: it counts as none')
            continue
        volume, center, matrix = body
        turn = _matrix(collision.pose)
        masses.append(density * volume)
        centers.append(turn @ center + collision.pose.translation)
        inertias.append(density * turn @ matrix @ turn.T)
    if not masses:
        if link.child('collision') is None:
            reader.error(found, '<inertial auto="true"> needs a <collision>')
        else:
            reader.warn(found, 'no collision gives an inertia: 1 kg and 1 kg m2 are taken')
        return None
    total = math.fsum(masses)
    middle = sum(mass * center for mass, center in zip(masses, centers, strict=True)) / total
    matrix = np.zeros((3, 3))
    for mass, center, own in zip(masses, centers, inertias, strict=True):
        away = center - middle
        # The parallel axis theorem.
        matrix += own + mass * (away @ away * np.eye(3) - np.outer(away, away))
    mass = reader.number(found, 'mass', total, above=0.0)
    matrix *= mass / total
    (xx, xy, xz), (_, yy, yz), (_, _, zz) = matrix.tolist()
    pose = Poses(np.asarray(middle), np.array([0.0, 0.0, 0.0, 1.0]))
    return Inertial(mass, pose, (xx, yy, zz), (xy, xz, yz))


def _matrix(pose: Poses) -> Floats:
    """Return a pose's rotation as a matrix; (3, 3)."""
    return rotate(np.tile(pose.rotation, (3, 1)), np.eye(3)).T


def solid(shape: Geometry) -> tuple[float, Floats, Floats] | None:
    """Return volume, centre and inertia about the centre of a shape of density one.

    None for a shape without a volume. The formulas are the textbook's (e.g. D. T. Greenwood,
    Principles of Dynamics, 1988, appendix A).
    """
    if isinstance(shape, Plane):
        return None
    if isinstance(shape, Mesh):
        return _mesh(shape)
    volume, moments = _round(shape) if not isinstance(shape, Box) else _box(shape)
    return volume, np.zeros(3), np.diag(moments)


def _box(shape: Box) -> tuple[float, Vector]:
    x, y, z = shape.size
    volume = x * y * z
    part = volume / 12.0
    return volume, (part * (y * y + z * z), part * (x * x + z * z), part * (x * x + y * y))


def _round(shape: Sphere | Ellipsoid | Cylinder | Capsule) -> tuple[float, Vector]:
    if isinstance(shape, Sphere | Ellipsoid):
        a, b, c = (shape.radius,) * 3 if isinstance(shape, Sphere) else shape.radii
        volume = 4.0 / 3.0 * math.pi * a * b * c
        part = volume / 5.0
        return volume, (part * (b * b + c * c), part * (a * a + c * c), part * (a * a + b * b))
    r, h = shape.radius, shape.length
    tube = math.pi * r * r * h
    across, along = tube * (3.0 * r * r + h * h) / 12.0, tube * r * r / 2.0
    if isinstance(shape, Cylinder):
        return tube, (across, across, along)
    balls = 4.0 / 3.0 * math.pi * r**3
    # Two half balls whose centres of mass lie 3/8 r outside the ends of the tube.
    across += balls * (0.4 * r * r + h * h / 4.0 + 3.0 / 8.0 * h * r)
    along += balls * 0.4 * r * r
    return tube + balls, (across, across, along)


def _mesh(shape: Mesh) -> tuple[float, Floats, Floats] | None:
    body = trimesh.load(shape.file, force='mesh')
    body.apply_scale(shape.scale)
    if not body.is_watertight or shape.submesh is not None or not body.volume:
        return None
    if body.volume < 0.0:
        body.invert()
    center, matrix = np.asarray(body.center_mass), np.asarray(body.moment_inertia)
    return float(body.volume), center, matrix
