"""What all sensors that are no cameras have in common."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from robot_qa.embedded import world
from robot_qa.embedded.noise import NoiseSource, generators
from robot_qa.embedded.simulation import Simulation
from robot_qa.geometry import Floats, cross, rotate
from robot_qa.timebase import NS_PER_S

AXES = ('x', 'y', 'z')


@dataclass(frozen=True)
class Reading:
    """What a sensor measured at a simulated time."""

    stamp_ns: int


class Sensor:
    """A sensor on a link of a model.

    All its noise comes from the seed and its scoped name, so that other sensors do not change it.
    """

    def __init__(
        self, simulation: Simulation, model_name: str, described: world.Sensor, seed: int,
    ) -> None:
        self.simulation = simulation
        self.model_name = model_name
        self.described = described
        self.period_ns = simulation.step_ns if described.rate_hz <= 0.0 else max(
            simulation.step_ns, round(NS_PER_S / described.rate_hz))
        self._seed = seed
        self.reset()

    def reset(self) -> None:
        """Start as new: after ``Simulation.reset`` it measures the same again."""
        name = f'{self.model_name}::{self.described.link}::{self.described.name}'
        self._generator, self._spare_generator = generators(self._seed, name, 2)
        self._sampled_ns: int | None = None
        self._mount = rotate(self.described.pose.rotation, np.eye(3)).T

    def sample(self) -> Reading:
        """Measure now."""
        raise NotImplementedError

    # Matrices and not ``Poses``, because sensors are what a simulation spends much of its time on.

    def _frame(self) -> tuple[Floats, Floats, Floats]:
        """Return where the sensor is in the world.

        That is its position (3,), its axes as the columns of a rotation matrix (3, 3), and the
        vector (3,) that leads to it from the origin of its link.
        """
        data = self.simulation.data
        body = self.simulation.body_id(self.model_name, self.described.link)
        link: Floats = data.xmat[body].reshape(3, 3)
        arm = link @ self.described.pose.translation
        return data.xpos[body] + arm, link @ self._mount, arm

    def _velocity(self) -> tuple[Floats, Floats]:
        """Return the linear and the angular velocity of the sensor in the world."""
        linear, angular = self.simulation.link_twist(self.model_name, self.described.link)
        return linear + cross(angular, self._frame()[2]), angular

    def _noise(self, path: str) -> NoiseSource:
        return NoiseSource(self.described.noises.get(path), self._generator)

    def _noise_of_axes(self, path: str = '') -> list[NoiseSource]:
        return [self._noise(f'{path}{axis}') for axis in AXES]

    def _elapsed_s(self) -> float:
        """Return the simulated time since the last call, 0 at the first."""
        now, before = self.simulation.time_ns, self._sampled_ns
        self._sampled_ns = now
        return 0.0 if before is None else max(0, now - before) / NS_PER_S


def noisy(sources: list[NoiseSource], values: Floats, elapsed_s: float) -> Floats:
    """Return ``values`` (n,), each with the noise of a source of its own."""
    return np.array([
        source.apply(value, elapsed_s) for source, value in zip(sources, values, strict=True)
    ])
