"""People of capsules and ellipsoids, in m, with their feet on the origin and their eyes towards x.

A colour is a number of a cell in a row of ``COLORS``, the picture that a person's texture is.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from wavefront import Floats, Mesh

Point = tuple[float, float, float]
COLORS = 8
SKIN, SHIRT, TROUSERS, SHOES, HEAD, BAND = range(6)
AROUND = np.linspace(0.0, 2 * np.pi, 12, endpoint=False)
DOWN = np.radians([0.0, 35.0, 65.0, 90.0, 90.0, 115.0, 145.0, 180.0])
"""Angles from the pole of the rings of a capsule; between the two equal ones lies its length."""


class Capsule(NamedTuple):
    """From one end to the other, each the middle of half a ball."""

    start: Point
    end: Point
    radius: float
    color: int


class Ellipsoid(NamedTuple):
    """Around a point, with half axes along x, y, z."""

    middle: Point
    radii: Point
    color: int


def limbs(legs: tuple[Point, ...], arms: tuple[Point, ...]) -> list[Capsule]:
    """Return limbs: hip, knee, ankle of the left and the right leg; shoulder, elbow, wrist."""
    found = [Capsule((0.0, 0.0, 1.48), (0.0, 0.0, 1.56), 0.05, SKIN)]
    for first in (0, 3):
        hip, knee, ankle = legs[first:first + 3]
        shoulder, elbow, wrist = arms[first:first + 3]
        found += [
            Capsule(knee, hip, 0.085, TROUSERS), Capsule(ankle, knee, 0.065, TROUSERS),
            Capsule(elbow, shoulder, 0.055, SHIRT), Capsule(wrist, elbow, 0.043, SHIRT),
        ]
    return found


def standing() -> Mesh:
    """Return a worker with a helmet and a vest with two bright bands."""
    return _body([
        *limbs(
            ((0, 0.1, 0.86), (0.01, 0.11, 0.48), (-0.01, 0.12, 0.1),
             (0, -0.1, 0.86), (0.01, -0.11, 0.48), (-0.01, -0.12, 0.1)),
            ((0, 0.22, 1.42), (-0.02, 0.28, 1.15), (0.12, 0.27, 0.95),
             (0, -0.22, 1.42), (0.02, -0.27, 1.16), (0.26, -0.18, 1.2)),
        ),
        *(Ellipsoid((0.04, y, 0.05), (0.14, 0.055, 0.05), SHOES) for y in (0.12, -0.12)),
        Ellipsoid((0, 0, 0.93), (0.125, 0.18, 0.13), TROUSERS),
        Ellipsoid((0, 0, 1.21), (0.14, 0.205, 0.33), SHIRT),
        Ellipsoid((0, 0, 1.4), (0.1, 0.245, 0.1), SHIRT),
        *(Ellipsoid((0, 0, z), (0.146, 0.211, 0.05), BAND) for z in (1.1, 1.28)),
        Ellipsoid((0.01, 0, 1.64), (0.1, 0.08, 0.125), SKIN),
        Ellipsoid((0, 0, 1.7), (0.125, 0.105, 0.085), HEAD),
        Ellipsoid((0.06, 0, 1.69), (0.11, 0.09, 0.015), HEAD),
        Ellipsoid((0.14, 0.27, 0.92), (0.045, 0.03, 0.06), SKIN),
        Ellipsoid((0.28, -0.17, 1.2), (0.05, 0.04, 0.05), SKIN),
    ])


def walking() -> Mesh:
    """Return somebody in stride."""
    return _body([
        *limbs(
            ((0, 0.1, 0.88), (0.16, 0.1, 0.52), (0.3, 0.1, 0.13),
             (0, -0.1, 0.88), (0.02, -0.1, 0.48), (-0.26, -0.1, 0.18)),
            ((0, 0.22, 1.42), (-0.14, 0.26, 1.18), (-0.1, 0.26, 0.95),
             (0, -0.22, 1.42), (0.12, -0.26, 1.18), (0.28, -0.24, 1.05)),
        ),
        Ellipsoid((0.35, 0.1, 0.06), (0.14, 0.055, 0.05), SHOES),
        Ellipsoid((-0.24, -0.1, 0.1), (0.12, 0.055, 0.05), SHOES),
        Ellipsoid((0, 0, 0.94), (0.125, 0.18, 0.13), TROUSERS),
        Ellipsoid((0.01, 0, 1.22), (0.135, 0.2, 0.33), SHIRT),
        Ellipsoid((0.01, 0, 1.4), (0.1, 0.245, 0.1), SHIRT),
        Ellipsoid((0, 0, 0.98), (0.132, 0.186, 0.03), BAND),
        Ellipsoid((0.03, 0, 1.64), (0.1, 0.08, 0.125), SKIN),
        Ellipsoid((0.005, 0, 1.69), (0.1, 0.087, 0.09), HEAD),
        Ellipsoid((-0.09, 0.26, 0.91), (0.045, 0.03, 0.06), SKIN),
        Ellipsoid((0.31, -0.24, 1.03), (0.05, 0.03, 0.05), SKIN),
    ])


def _body(shapes: list[Capsule | Ellipsoid]) -> Mesh:
    mesh = Mesh()
    ball = np.stack(
        np.broadcast_arrays(
            np.sin(DOWN)[:, None] * np.cos(AROUND), np.sin(DOWN)[:, None] * np.sin(AROUND),
            np.cos(DOWN)[:, None],
        ), axis=-1)
    for shape in shapes:
        if isinstance(shape, Capsule):
            ends = np.array([shape.end, shape.start])
            axis = (ends[0] - ends[1]) / np.linalg.norm(ends[0] - ends[1])
            side = np.cross([0.0, 1.0, 0.0], axis)
            side /= np.linalg.norm(side)
            normals = ball @ np.array([side, np.cross(axis, side), axis])
            points = normals * shape.radius + np.repeat(ends, len(DOWN) // 2, axis=0)[:, None]
            _skin(mesh, points, normals, shape.color)
        else:
            # An ellipsoid has one ring at its middle.
            rings = np.delete(ball, len(DOWN) // 2, axis=0)
            normals = rings / shape.radii
            normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
            _skin(mesh, rings * shape.radii + np.array(shape.middle), normals, shape.color)
    return mesh


def _skin(mesh: Mesh, points: Floats, normals: Floats, color: int) -> None:
    """Lay faces between rings of points (rings, around, 3), the first and the last a pole."""
    uv, last = np.array([(color + 0.5) / COLORS, 0.5]), len(points) - 1
    for ring in range(last):
        for place in range(len(AROUND)):
            after = (place + 1) % len(AROUND)
            corners = [(ring, place), (ring + 1, place), (ring + 1, after), (ring, after)]
            if ring == 0:
                corners = [(0, 0), *corners[1:3]]
            elif ring == last - 1:
                corners = [corners[0], (last, 0), corners[3]]
            mesh.smooth([(points[corner], uv, normals[corner]) for corner in corners])
