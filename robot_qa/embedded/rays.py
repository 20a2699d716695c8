"""Cameras by casting rays: where there is no OpenGL; slower, and plainer to look at.

Diffuse light, shadows and textures; no highlights, and nothing shines through.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from robot_qa.embedded import pinhole
from robot_qa.embedded.picture import Frame, background, depth_range
from robot_qa.embedded.ray_casting import Hits, View, cast_to_fronts
from robot_qa.embedded.ray_shading import albedo, light_on
from robot_qa.embedded.simulation import Simulation
from robot_qa.embedded.world import CameraPart
from robot_qa.geometry import Floats, Poses


class RayRenderer:
    """Draws by ``mj_multiRay``."""

    def __init__(self, backend: str) -> None:
        self.backend = backend

    def render(
        self, simulation: Simulation, camera: CameraPart, pose: Poses, want: frozenset[str],
    ) -> Frame:
        """Draw what is wanted of ``color``, ``depth``, ``geoms``."""
        if not want:
            return Frame(None, None, None)
        view = View(camera, pose, pinhole.rays(camera, pose))
        size = view.size
        hits = cast_to_fronts(simulation, view.eye, view.rays, 0.0)
        depth = _clipped(hits.distance.reshape(size), camera) if 'depth' in want else None
        if want <= {'depth'}:
            return Frame(None, depth, None)
        if (hits.distance < camera.near).any():
            hits = cast_to_fronts(simulation, view.eye, view.rays, camera.near)
        beyond = hits.distance > camera.far
        hits.geoms[beyond], hits.distance[beyond] = -1, np.inf
        color = _shaded(simulation, view, hits) if 'color' in want else None
        return Frame(color, depth, hits.geoms.reshape(size) if 'geoms' in want else None)


def _clipped(depth: Floats, camera: CameraPart) -> NDArray[np.float32]:
    near, far = depth_range(camera)
    found = np.where(depth < near, -np.inf, depth)
    found[depth > far] = np.inf
    return found.astype(np.float32)


def _shaded(simulation: Simulation, view: View, hits: Hits) -> NDArray[np.uint8]:
    seen = hits.geoms >= 0
    distance = np.where(seen, hits.distance, 0.0)
    points = view.eye + distance[:, None] * view.rays
    model = simulation.model
    materials = model.geom_matid[hits.geoms]
    glow = np.where(materials >= 0, model.mat_emission[materials], 0.0)
    light = light_on(simulation, view, points, hits, glow)
    surfaces = albedo(simulation, view, hits)
    color = np.rint(np.clip(surfaces * light, 0.0, 1.0) * 255.0).astype(np.uint8)
    color[~seen] = background(simulation)
    return color.reshape(*view.size, 3)
