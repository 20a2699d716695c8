"""Casting rays at what is seen of a simulation, in its numbers of geoms."""

from __future__ import annotations

from typing import NamedTuple

import mujoco
import numpy as np
from numpy.typing import NDArray

from robot_qa.embedded.simulation import Simulation
from robot_qa.embedded.surfaces import VISUAL_GROUP
from robot_qa.embedded.world import CameraPart
from robot_qa.geometry import Floats, Poses

SEEN = (np.arange(mujoco.mjNGROUP) == VISUAL_GROUP).astype(np.uint8)
HIDDEN_GROUP = mujoco.mjNGROUP - 1
EVERYWHERE = 1e10
MOST_LAYERS = 8
"""Of surfaces too near or seen from behind through which a ray goes on."""


class Hits(NamedTuple):
    """What rays met: geom ids (n,) or -1, multiples of the ray (n,) or inf, normals (n, 3)."""

    geoms: NDArray[np.int32]
    distance: Floats
    normals: Floats


class View(NamedTuple):
    """What a camera looks at: ``rays`` (n, 3) through its pixels, in the world and 1 m deep."""

    camera: CameraPart
    pose: Poses
    rays: Floats

    @property
    def eye(self) -> Floats:
        """Where it stands; (3,)."""
        return self.pose.translation

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.camera.height, self.camera.width


def cast(simulation: Simulation, start: Floats, rays: Floats) -> Hits:
    """Return the nearest hits of rays (n, 3) from a point (3,); normals point outwards."""
    count = len(rays)
    geoms, distance, normals = np.empty(count, np.int32), np.empty(count), np.empty(count * 3)
    mujoco.mj_multiRay(
        simulation.model, simulation.data, start, np.ascontiguousarray(rays).ravel(), SEEN, True,
        -1, geoms, distance, normals, count, EVERYWHERE,
    )
    distance[geoms < 0] = np.inf
    return Hits(geoms, distance, normals.reshape(-1, 3))


def cast_to_fronts(simulation: Simulation, start: Floats, rays: Floats, near: float) -> Hits:
    """Return the first hits that are not too near, nor on a surface's back, as OpenGL draws.

    So one looks out from inside a shape. A geom that a ray meets wrongly is taken away and the
    ray cast again: of one that is not convex, a part further on may be missed.
    """
    hits = cast(simulation, start, rays)
    groups = simulation.model.geom_group
    before = groups.copy()
    try:
        for _ in range(MOST_LAYERS):
            wrong = np.einsum('ij,ij->i', hits.normals, rays) > 0.0
            wrong = (wrong | (hits.distance < near)) & (hits.geoms >= 0)
            if not wrong.any():
                break
            groups[hits.geoms[wrong]] = HIDDEN_GROUP
            again = cast(simulation, start, rays[wrong])
            hits.geoms[wrong], hits.distance[wrong] = again.geoms, again.distance
            hits.normals[wrong] = again.normals
    finally:
        groups[:] = before
    return hits
