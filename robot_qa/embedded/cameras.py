"""A camera of a world: when it looks, what it sees, and how its pictures are spoiled."""

from __future__ import annotations

import numpy as np

from robot_qa.embedded.images import add_noise, expose
from robot_qa.embedded.noise import generators
from robot_qa.embedded.picture import Frame, Renderer
from robot_qa.embedded.simulation import Simulation
from robot_qa.embedded.world import CameraPart, Noise, Sensor
from robot_qa.geometry import Poses
from robot_qa.timebase import NS_PER_S


class Camera:
    """A sensor of any of the camera kinds."""

    def __init__(
        self, simulation: Simulation, model_name: str, described: Sensor, renderer: Renderer,
    ) -> None:
        self.simulation = simulation
        self.model_name = model_name
        self.described = described
        self.part = described.camera or CameraPart()
        self._renderer = renderer
        self.period_ns = simulation.step_ns if described.rate_hz <= 0.0 else max(
            simulation.step_ns, round(NS_PER_S / described.rate_hz))

    def pose(self) -> Poses:
        """Return where it is in the world, its x axis ahead."""
        link = self.simulation.link_pose(self.model_name, self.described.link)
        return link @ self.described.pose

    def look(self, want: frozenset[str], *, exposure: float, noise: float) -> Frame:
        """Return what it sees now of ``color``, ``depth``, ``geoms``.

        ``noise`` is a standard deviation as a share of full scale, in addition to its own. It is
        drawn anew from the seed for every time, so that a picture does not depend on which others
        were taken.
        """
        frame = self._renderer.render(self.simulation, self.part, self.pose(), want)
        if frame.color is None:
            return frame
        name = f'{self.model_name}::{self.described.link}::{self.described.name}'
        generator, = generators(
            self.simulation.seed, f'{name}@{self.simulation.time_ns}', 1)
        own = self.part.noise or Noise()
        total = Noise(mean=own.mean, stddev=float(np.hypot(own.stddev, noise)))
        color = add_noise(expose(frame.color, exposure), total, generator)
        return Frame(color, frame.depth, frame.geoms)
