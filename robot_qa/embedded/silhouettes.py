"""Where the geoms of a world would be seen if nothing stood in front of them.

The silhouette of a geom is the convex hull of its projected outline: that is exact for all shapes
but meshes with hollows, which count as filled. It is cut at the camera's near plane.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import mujoco
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull, QhullError

from robot_qa.embedded.pinhole import projected
from robot_qa.embedded.world import CameraPart
from robot_qa.geometry import Floats

SEGMENTS = 48
"""Around a round shape; its outline lies at most 0.43 % of the radius inside."""
AREA_SAMPLES = 128
"""Per axis, when the area of a silhouette is measured."""


class Outline(NamedTuple):
    """Points (n, 3) in a geom's frame, and the edges (m, 2) between them."""

    points: Floats
    edges: NDArray[np.int64]


class Rectangle(NamedTuple):
    """Where something lies in a picture, in pixels; (0, 0) is its top left corner."""

    x_min: float
    y_min: float
    x_max: float
    y_max: float


def _lattice(rows: int) -> NDArray[np.int64]:
    """Return the edges of rings of ``SEGMENTS`` points that stand upon each other."""
    index = np.arange(rows * SEGMENTS).reshape(rows, SEGMENTS)
    along = np.stack((index, np.roll(index, -1, axis=1)), axis=-1)
    upwards = np.stack((index[:-1], index[1:]), axis=-1)
    return np.concatenate((along.reshape(-1, 2), upwards.reshape(-1, 2)))


def _rings(latitude: Floats) -> Floats:
    """Return the points of a unit sphere at some latitudes, ring by ring; (n, 3)."""
    longitude = np.arange(SEGMENTS) * 2.0 * np.pi / SEGMENTS
    across = np.cos(latitude)[:, None]
    return np.stack(np.broadcast_arrays(
        across * np.cos(longitude), across * np.sin(longitude), np.sin(latitude)[:, None],
    ), axis=-1).reshape(-1, 3)


# Below and above the equator, which is there twice: a capsule is pulled apart at it.
_SOUTH = np.linspace(-np.pi / 2, 0.0, SEGMENTS // 4 + 1)
BALL = Outline(_rings(np.concatenate((_SOUTH, -_SOUTH[::-1]))), _lattice(2 * len(_SOUTH)))
TUBE = Outline(_rings(np.zeros(2)) + np.repeat([[0.0, 0, -1], [0, 0, 1]], SEGMENTS, axis=0),
               _lattice(2))
CUBE = Outline(
    np.array([[x, y, z] for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)]),
    np.array([[a, a | bit] for bit in (1, 2, 4) for a in range(8) if not a & bit]),
)
SQUARE = Outline(np.array([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]]),
                 np.array([[0, 1], [1, 2], [2, 3], [3, 0]]))


def outline(model: Any, geom: int) -> Outline:
    """Return the outline of a geom of a ``mujoco.MjModel``."""
    kinds, size = mujoco.mjtGeom, model.geom_size[geom]
    kind = model.geom_type[geom]
    if kind == kinds.mjGEOM_MESH:
        return _mesh(model, model.geom_dataid[geom])
    if kind == kinds.mjGEOM_CAPSULE:
        apart = np.sign(np.arange(len(BALL.points)) - len(BALL.points) / 2 + 0.5)
        return Outline(BALL.points * size[0] + apart[:, None] * [0.0, 0.0, size[1]], BALL.edges)
    unit, scale = {
        kinds.mjGEOM_BOX: (CUBE, size), kinds.mjGEOM_PLANE: (SQUARE, size),
        kinds.mjGEOM_SPHERE: (BALL, size[[0, 0, 0]]), kinds.mjGEOM_ELLIPSOID: (BALL, size),
        kinds.mjGEOM_CYLINDER: (TUBE, size[[0, 0, 1]]),
    }[kinds(kind)]
    return Outline(unit.points * scale, unit.edges)


def _mesh(model: Any, mesh: int) -> Outline:
    start, count = model.mesh_vertadr[mesh], model.mesh_vertnum[mesh]
    points = model.mesh_vert[start:start + count].astype(float)
    try:
        hull = ConvexHull(points)
    except QhullError:  # it is flat
        start, count = model.mesh_faceadr[mesh], model.mesh_facenum[mesh]
        faces = model.mesh_face[start:start + count]
        return Outline(points, faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2).astype(np.int64))
    renamed = np.zeros(len(points), np.int64)
    renamed[hull.vertices] = np.arange(len(hull.vertices))
    edges = renamed[hull.simplices[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)]
    return Outline(points[hull.vertices], edges)


def silhouette(camera: CameraPart, points: Floats, edges: NDArray[np.int64]) -> Floats:
    """Return the corners (k, 2) in the picture of a convex silhouette, none if it is behind.

    ``points`` (n, 3) are in the camera's frame, x ahead; they may lie anywhere.
    """
    ahead = points[:, 0] >= camera.near
    if not ahead.all():
        first, second = points[edges[ahead[edges[:, 0]] != ahead[edges[:, 1]]]].swapaxes(0, 1)
        share = (camera.near - first[:, :1]) / (second[:, :1] - first[:, :1])
        points = np.concatenate((points[ahead], first + share * (second - first)))
    if not len(points):
        return np.empty((0, 2))
    flat = projected(camera, points).astype(np.float32)
    corners: Floats = cv2.convexHull(flat)[:, 0].astype(float)
    return corners


def covered(polygons: list[Floats], x: Floats, y: Floats) -> NDArray[np.bool_]:
    """Tell which points of a grid lie in at least one convex polygon (k, 2); (len(y), len(x)).

    ``x`` (columns) and ``y`` (rows) ascend.
    """
    mask = np.zeros((len(y), len(x)), bool)
    for corners in polygons:
        high, low = corners[:, 1].argmin(), corners[:, 1].argmax()
        first, last = np.searchsorted(y, corners[[high, low], 1])
        # From its highest to its lowest corner, on one side and on the other.
        ring = np.roll(corners, -high, axis=0)
        turn = (low - high) % len(corners)
        one, other = ring[:turn + 1], np.concatenate((ring[turn:], ring[:1]))[::-1]
        ends = np.sort([np.interp(y[first:last], side[:, 1], side[:, 0])
                        for side in (one, other)], axis=0)
        left, right = np.searchsorted(x, (ends.min(initial=np.inf), ends.max(initial=-np.inf)))
        inside = x[left:right]
        mask[first:last, left:right] |= (
            (inside >= ends[0][:, None]) & (inside < ends[1][:, None]))
    return mask


def bounds(polygons: list[Floats]) -> Rectangle:
    """Return what encloses all polygons (k, 2)."""
    corners = polygons[0] if len(polygons) == 1 else np.concatenate(polygons)
    return Rectangle(*corners.min(axis=0), *corners.max(axis=0))


def within(rectangle: Rectangle, camera: CameraPart) -> Rectangle:
    """Return the part of a rectangle that lies in the picture; empty ones are turned over."""
    return Rectangle(max(rectangle.x_min, 0.0), max(rectangle.y_min, 0.0),
                     min(rectangle.x_max, camera.width), min(rectangle.y_max, camera.height))


def truncation(polygons: list[Floats], camera: CameraPart) -> float:
    """Return which share of the polygons' area lies outside the picture, from 0 to 1.

    0 if there is nothing.
    """
    if not polygons:
        return 0.0
    whole = bounds(polygons)
    inside = within(whole, camera)
    if inside == whole:
        return 0.0
    if inside.x_min >= inside.x_max or inside.y_min >= inside.y_max:
        return 1.0
    total = _area(polygons, whole)
    return float(np.clip(1.0 - _area(polygons, inside) / total, 0.0, 1.0)) if total else 0.0


def _area(polygons: list[Floats], part: Rectangle) -> float:
    """Return the area of the polygons' union inside ``part``, in square pixels."""
    share = (np.arange(AREA_SAMPLES) + 0.5) / AREA_SAMPLES
    wide, high = part.x_max - part.x_min, part.y_max - part.y_min
    samples = covered(polygons, part.x_min + share * wide, part.y_min + share * high)
    return float(samples.mean() * wide * high)
