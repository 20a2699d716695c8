"""What a camera sees, and who draws it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from robot_qa.embedded.simulation import Simulation
from robot_qa.embedded.world import CameraPart
from robot_qa.geometry import Poses


@dataclass(frozen=True)
class Frame:
    """What was asked for of a picture with h rows and w columns; row 0 is at its top."""

    color: NDArray[np.uint8] | None
    """Red, green, blue; (h, w, 3)."""
    depth: NDArray[np.float32] | None
    """Distance along the optical axis in m, inf beyond far, -inf below near; (h, w)."""
    geoms: NDArray[np.int32] | None
    """The geom's id, or -1 for nothing; (h, w)."""


class Renderer(Protocol):
    """Draws what cameras see; used from one thread only."""

    @property
    def backend(self) -> str:
        """``EGL``, ``rays``, or ``rays (no EGL: reason)``."""

    def render(
        self, simulation: Simulation, camera: CameraPart, pose: Poses, want: frozenset[str],
    ) -> Frame:
        """Draw what is wanted of ``color``, ``depth``, ``geoms``.

        ``pose`` is the sensor's in the world: x ahead, z up.
        """


def depth_range(camera: CameraPart) -> tuple[float, float]:
    """Return the least and the greatest distance, in m, of a camera's depth images."""
    near, far = camera.depth_near, camera.depth_far
    return camera.near if near is None else near, camera.far if far is None else far


def background(simulation: Simulation) -> NDArray[np.uint8]:
    """Return the colour where nothing is; (3,)."""
    share = np.clip(simulation.world.background[:3], 0.0, 1.0)
    return np.rint(share * 255.0).astype(np.uint8)
