"""What a camera sees: pictures, depths and what is in them, with or without OpenGL.

Pixels differ between the two backends in colour, and along edges; shapes, depths and ids agree.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from robot_qa.embedded.simulation import Simulation
from robot_qa.embedded.world import CameraPart
from robot_qa.errors import RobotQaError
from robot_qa.geometry import Poses

PROBE = 'from mujoco.egl import GLContext; GLContext(1, 1).make_current()'
PROBE_TIMEOUT_S = 30.0


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


def make_renderer(prefer: str = 'auto') -> Renderer:
    """Return a renderer for ``auto``, ``gl`` or ``rays``; ``RobotQaError`` for gl without EGL."""
    # Each backend imports only when it is used: OpenGL may be missing.
    if prefer == 'rays':
        return _rays('rays')
    trouble = why_no_egl()
    if trouble is None:
        from robot_qa.embedded.gl import GlRenderer
        return GlRenderer()
    if prefer == 'gl':
        raise RobotQaError(
            f'no EGL to render with: {trouble}; install libegl1, libopengl0 and libgl1-mesa-dri, '
            'or render with rays'
        )
    return _rays(f'rays (no EGL: {trouble})')


def _rays(backend: str) -> Renderer:
    from robot_qa.embedded.rays import RayRenderer
    return RayRenderer(backend)


@cache
def why_no_egl() -> str | None:
    """Return why EGL cannot be used, or None if it can.

    Tried in a process of its own: where drivers are broken it may crash.
    """
    try:
        done = subprocess.run(
            [sys.executable, '-c', PROBE], capture_output=True, text=True, check=False,
            timeout=PROBE_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        return f'its start took more than {PROBE_TIMEOUT_S:.0f} s'
    if done.returncode == 0:
        return None
    lines = done.stderr.strip().splitlines()
    return lines[-1] if lines else f'its start ended with {done.returncode}'


def depth_range(camera: CameraPart) -> tuple[float, float]:
    """Return the least and the greatest distance, in m, of a camera's depth images."""
    near, far = camera.depth_near, camera.depth_far
    return camera.near if near is None else near, camera.far if far is None else far


def background(simulation: Simulation) -> NDArray[np.uint8]:
    """Return the colour where nothing is; (3,)."""
    share = np.clip(simulation.world.background[:3], 0.0, 1.0)
    return np.rint(share * 255.0).astype(np.uint8)
