"""Lidars: rays against what is visible of a world."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from robot_qa.embedded.noise import NoiseSource
from robot_qa.embedded.sensor_base import Reading, Sensor
from robot_qa.embedded.surfaces import VISUAL_GROUP
from robot_qa.embedded.world import LidarPart
from robot_qa.geometry import Floats

FARTHEST = 1e10
"""What MuJoCo takes for endless, in m."""
# Farther than this behind a surface that was looked through, the next one is looked for, in m.
_BEHIND = 1e-6
_MOST_LAYERS = 64
# A group that rays do not see.
_HIDDEN_GROUP = 5


@dataclass(frozen=True)
class Scan:
    """One plane of a lidar, counter-clockwise about its z axis; angle 0 is its x axis.

    ``ranges`` (n,) are in m: -inf below ``range_min``, +inf beyond ``range_max`` or where there is
    nothing (REP 117). ``intensities`` (n,) are 0. Angles are in rad.
    """

    ranges: NDArray[np.float32]
    intensities: NDArray[np.float32]
    angle_min: float
    angle_max: float
    angle_increment: float
    range_min: float
    range_max: float


@dataclass(frozen=True)
class PointCloud:
    """All rows of a lidar, from the lowest angle up.

    ``points`` (rows, columns, 3) are in m in the sensor's frame, NaN where a ray hit nothing
    within the range. ``rings`` (rows,) are the indices of the rows.
    """

    points: NDArray[np.float32]
    rings: NDArray[np.uint16]


@dataclass(frozen=True)
class LidarReading(Reading):
    """A scan, and for a lidar of several rows its points too.

    The scan is then that of the middle row, the one that ros_gz_bridge takes.
    """

    scan: Scan
    cloud: PointCloud | None


class Lidar(Sensor):
    """A ``gpu_lidar`` or ``lidar``.

    It sees what Gazebo's sees: visuals, those of its own robot too, but no surface from behind,
    so its own housing does not blind it. As there, the cube that just fits into the sphere of
    ``min_range`` is clear: what is in it is looked through, and only what lies between the two
    gives -inf.
    """

    dropout: float = 0.0
    """The share of rays that come back with nothing, from 0 to 1; may change at any time."""

    def reset(self) -> None:
        """Start as new; ``dropout`` stays."""
        super().reset()
        self._part = part = self.described.lidar or LidarPart()
        self._directions, self._angles = directions(part)
        self._noise_of_range = NoiseSource(part.noise, self._generator)
        clear = part.min_range / np.sqrt(3.0)
        self._clear = clear / np.abs(self._directions).max(axis=-1).ravel()
        self._generation = -1
        self._housing: set[int] = set()
        self._mask = np.arange(mujoco.mjNGROUP) == VISUAL_GROUP

    def sample(self) -> LidarReading:
        """Cast all rays."""
        part, shape = self._part, self._directions.shape[:2]
        ranges = self._cast().reshape(shape)
        ranges[ranges > part.max_range] = np.inf
        ranges[ranges < part.min_range] = -np.inf
        noisy = self._noise_of_range.apply(ranges, self._elapsed_s())
        ranges = np.where(np.isinf(ranges), ranges, np.clip(noisy, part.min_range, part.max_range))
        if self.dropout > 0.0:
            ranges[self._spare_generator.random(shape) < self.dropout] = np.inf
        middle = ranges[shape[0] // 2].astype(np.float32)
        scan = Scan(middle, np.zeros_like(middle), *self._angles, part.min_range, part.max_range)
        return LidarReading(self.simulation.time_ns, scan, self._cloud(ranges))

    def _cloud(self, ranges: Floats) -> PointCloud | None:
        rows = len(ranges)
        if rows == 1:
            return None
        finite = np.where(np.isfinite(ranges), ranges, np.nan)
        points = (finite[..., None] * self._directions).astype(np.float32)
        return PointCloud(points, np.arange(rows, dtype=np.uint16))

    def _cast(self) -> Floats:
        """Return how far each ray (n,) sees, inf if it hits nothing."""
        model, data = self.simulation.model, self.simulation.data
        if self._generation != self.simulation.generation:
            self._generation = self.simulation.generation
            self._housing = set()
        origin, axes, _ = self._frame()
        rays = self._directions.reshape(-1, 3) @ axes.T
        count = len(rays)
        distances, normals = np.empty(count), np.empty(3 * count)
        geoms = np.empty(count, np.int32)
        housing = list(self._housing)
        groups = model.geom_group[housing]
        model.geom_group[housing] = _HIDDEN_GROUP
        try:
            mujoco.mj_multiRay(
                model, data, origin, rays.ravel(), self._mask, True, -1, geoms, distances, normals,
                count, min(self._part.max_range, FARTHEST),
            )
            hit = geoms >= 0
            behind = hit & ((normals.reshape(-1, 3) * rays).sum(axis=-1) > 0.0)
            for index in np.flatnonzero(behind | (hit & (distances < self._clear))):
                start = max(self._clear[index], distances[index] + _BEHIND if behind[index] else 0)
                distances[index] = self._look_on(model, data, origin, rays[index], start)
        finally:
            model.geom_group[housing] = groups
        self._remember_housing(model, geoms[behind])
        distances[~hit | (distances < 0.0)] = np.inf
        return distances

    def _look_on(self, model: Any, data: Any, origin: Floats, ray: Floats, start: float) -> float:
        """Return how far a ray sees that is blind before ``start``; -1 if it hits nothing."""
        normal, geom = np.empty(3), np.empty(1, np.int32)
        for _ in range(_MOST_LAYERS):
            more = mujoco.mj_ray(
                model, data, origin + start * ray, ray, self._mask, True, -1, geom, normal)
            if more < 0.0:
                return -1.0
            start += more
            if normal @ ray <= 0.0:
                return start
            start += _BEHIND
        return -1.0

    def _remember_housing(self, model: Any, geoms: NDArray[np.int32]) -> None:
        """Leave out from now on what is rigidly around the sensor: it never sees any of it.

        Only of convex shapes: a part of a mesh may show its front.
        """
        weld = model.body_weldid[self.simulation.body_id(self.model_name, self.described.link)]
        for geom in np.unique(geoms):
            rigid = weld != 0 and model.body_weldid[model.geom_bodyid[geom]] == weld
            if rigid and model.geom_type[geom] != mujoco.mjtGeom.mjGEOM_MESH:
                self._housing.add(int(geom))


def directions(part: LidarPart) -> tuple[Floats, tuple[float, float, float]]:
    """Return unit vectors (rows, columns, 3) in the sensor's frame, and the scan's angles.

    The angles are the first, the last and the step, in rad. Azimuth turns about z, then elevation
    lifts from the xy plane, as in gz-sensors' GpuLidarSensor.
    """
    columns = max(1, int(part.samples * part.resolution))
    azimuth = np.linspace(part.min_angle, part.max_angle, columns)
    elevation = np.linspace(
        part.vertical_min_angle, part.vertical_max_angle, part.vertical_samples)[:, None]
    rays = np.stack(np.broadcast_arrays(
        np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth),
        np.sin(elevation),
    ), axis=-1)
    step = (part.max_angle - part.min_angle) / max(1, columns - 1)
    return rays, (part.min_angle, part.max_angle, step)
