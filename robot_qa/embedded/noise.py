"""The Gaussian noise of gz-sensors, and generators that belong to one sensor each."""

from __future__ import annotations

import hashlib

import numpy as np

from robot_qa.embedded.world import Noise
from robot_qa.geometry import Floats

# gz-sensors rounds only to what is coarser than this.
FINEST_PRECISION = 1e-6


def generators(seed: int, name: str, count: int) -> list[np.random.Generator]:
    """Return independent generators, the same in every process for the same seed and name."""
    digest = hashlib.sha256(name.encode()).digest()
    words = [int.from_bytes(digest[at:at + 4], 'big') for at in range(0, 16, 4)]
    sequence = np.random.SeedSequence([abs(seed), int(seed < 0), *words])
    return [np.random.default_rng(child) for child in sequence.spawn(count)]


class NoiseSource:
    """Noise as gz-sensors' GaussianNoiseModel adds it, all values of a call with the same bias.

    The bias is drawn once, its sign too. With ``dynamic_bias_stddev`` (s) and
    ``dynamic_bias_time`` (T) it wanders as an Ornstein-Uhlenbeck process: over a time t it is
    multiplied by exp(-t/T), and gains a normal deviate of variance s^2 T/2 (1 - exp(-2t/T)), so
    that in the long run its variance is s^2 T/2. This is the IMU noise model of Kalibr
    (https://github.com/ethz-asl/kalibr/wiki/IMU-Noise-Model), where s is a density.
    """

    def __init__(self, noise: Noise | None, generator: np.random.Generator) -> None:
        self._noise = noise or Noise()
        self._generator = generator
        self._silent = noise is None
        drawn = generator.normal(self._noise.bias_mean, max(self._noise.bias_stddev, 0.0))
        self.bias = drawn if generator.random() >= 0.5 else -drawn

    @property
    def variance(self) -> float:
        """That of the white part, in the unit of the values squared."""
        return self._noise.stddev**2

    def apply(self, values: Floats, elapsed_s: float = 0.0) -> Floats:
        """Return ``values`` (any shape) with noise, ``elapsed_s`` after the call before."""
        if self._silent:
            return values
        noise = self._noise
        self._wander(elapsed_s)
        noisy: Floats = values + (noise.mean + self.bias)
        if noise.stddev > 0.0:
            noisy = noisy + self._generator.normal(0.0, noise.stddev, np.shape(values))
        if noise.precision > FINEST_PRECISION:
            # Halves go away from zero, as in C.
            steps = np.floor(np.abs(noisy) / noise.precision + 0.5)
            noisy = np.copysign(steps * noise.precision, noisy)
        return noisy

    def _wander(self, elapsed_s: float) -> None:
        density, time = self._noise.dynamic_bias_stddev, self._noise.dynamic_bias_time
        if density > 0.0 and time > 0.0 and elapsed_s > 0.0:
            stddev = density * np.sqrt(-np.expm1(-2.0 * elapsed_s / time) * time / 2.0)
            self.bias = (self.bias * np.exp(-elapsed_s / time)
                         + self._generator.normal(0.0, stddev))
