"""What spoils a picture on its way: exposure and noise of the sensor."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from robot_qa.embedded.world import Noise

FULL_SCALE = 255.0


def expose(color: NDArray[np.uint8], gain: float) -> NDArray[np.uint8]:
    """Return the picture ``gain`` times as bright, clipped; with 1 the same."""
    if gain == 1.0:
        return color
    table = np.clip(np.rint(np.arange(256) * gain), 0.0, FULL_SCALE).astype(np.uint8)
    exposed: NDArray[np.uint8] = table[color]
    return exposed


def add_noise(
    color: NDArray[np.uint8], noise: Noise, generator: np.random.Generator,
) -> NDArray[np.uint8]:
    """Add Gaussian noise to every value, clipped.

    ``mean`` and ``stddev`` are shares of full scale, as in Gazebo's cameras; the biases of a
    camera's noise mean nothing there and are ignored.
    """
    if not noise.mean and not noise.stddev:
        return color
    drawn = generator.standard_normal(color.shape, np.float32)
    drawn *= np.float32(noise.stddev * FULL_SCALE)
    drawn += np.float32(noise.mean * FULL_SCALE)
    drawn += color
    np.rint(drawn, out=drawn)
    return np.clip(drawn, 0.0, FULL_SCALE, out=drawn).astype(np.uint8)
