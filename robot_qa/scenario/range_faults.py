"""What spoils distances: no returns, noise, ghosts, something on the cover.

They work on ``sensor_msgs/msg/LaserScan``, and on ``sensor_msgs/msg/PointCloud2`` with x, y and z
as floats, where distance and bearing are seen from the origin of the cloud's frame, which must be
the sensor. A beam without a return has +inf in a scan (REP 117); in a cloud its point is NaN, and
``is_dense`` becomes false. Nothing is done to intensities and other channels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from robot_qa.messages.typestore import TypeStore
from robot_qa.scenario.beams import Beams, beams_transform
from robot_qa.scenario.limits import require, require_share
from robot_qa.scenario.transforms import Transform


@dataclass(frozen=True)
class RangeDropout:
    """Takes the return from a ``share`` of the beams that have one."""

    share: float

    def compiled(self, store: TypeStore, type_name: str) -> Transform:
        """See ContentFault."""
        require_share('share', self.share)

        def effect(beams: Beams, generator: Generator) -> None:
            lost = generator.random(len(beams.ranges)) < self.share
            beams.ranges[lost & beams.returned] = math.inf

        return beams_transform('range dropout', store, type_name, effect)


@dataclass(frozen=True)
class RangeNoise:
    """Adds normal noise of ``stddev_m`` along each beam that has a return.

    As in Gazebo, the sum stays within what the scan says that the sensor can measure.
    """

    stddev_m: float

    def compiled(self, store: TypeStore, type_name: str) -> Transform:
        """See ContentFault."""
        require('stddev_m', self.stddev_m, 0)

        def effect(beams: Beams, generator: Generator) -> None:
            noise = generator.normal(0.0, self.stddev_m, len(beams.ranges))
            noisy = np.clip(beams.ranges + noise, beams.nearest_m, beams.farthest_m)
            beams.ranges[beams.returned] = noisy[beams.returned]

        return beams_transform('range noise', store, type_name, effect)


@dataclass(frozen=True)
class GhostReturns:
    """Makes a ``share`` of the beams end in the air, as on rain, dust or exhaust.

    The new ranges are uniform from ``near_m`` to ``far_m``, but never behind what the beam hit. In
    a scan, beams without a return get ghosts too; in a cloud they have no direction.
    """

    share: float
    near_m: float
    far_m: float

    def compiled(self, store: TypeStore, type_name: str) -> Transform:
        """See ContentFault."""
        require_share('share', self.share)
        require('near_m', self.near_m, 0)
        require('far_m', self.far_m, self.near_m)

        def effect(beams: Beams, generator: Generator) -> None:
            chosen = generator.random(len(beams.ranges)) < self.share
            places = generator.random(len(beams.ranges))
            near = max(self.near_m, beams.nearest_m)
            far = np.minimum(min(self.far_m, beams.farthest_m), beams.ranges)
            chosen &= (far > near) & (beams.returned | np.isposinf(beams.ranges))
            beams.ranges[chosen] = (near + places * (far - near))[chosen]

        return beams_transform('ghost returns', store, type_name, effect)


@dataclass(frozen=True)
class BlockedSector:
    """Blocks the beams within ``width_deg`` around the bearing ``center_deg``.

    Bearings count from the x axis to the y axis (REP 103). What blocks them is seen at
    ``range_m``; with None it swallows all light. In a cloud only points that are there move.
    """

    center_deg: float
    width_deg: float
    range_m: float | None = None

    def compiled(self, store: TypeStore, type_name: str) -> Transform:
        """See ContentFault."""
        require('width_deg', self.width_deg, 0)
        if self.range_m is not None:
            require('range_m', self.range_m, 0)
        center, half = math.radians(self.center_deg), math.radians(self.width_deg) / 2.0

        def effect(beams: Beams, generator: Generator) -> None:
            off = np.remainder(beams.bearings - center + math.pi, 2.0 * math.pi) - math.pi
            # A single-precision angle on the edge belongs to the sector.
            inside = np.abs(off) <= half + 1e-6
            beams.ranges[inside] = math.inf if self.range_m is None else self.range_m

        return beams_transform('a blocked sector', store, type_name, effect)
