"""Who draws what a camera sees: OpenGL where there is EGL, else rays.

Pixels differ between the two backends in colour, and along edges; shapes, depths and ids agree.
"""

from __future__ import annotations

import subprocess
import sys
from functools import cache

from robot_qa.embedded.picture import Renderer
from robot_qa.embedded.rays import RayRenderer
from robot_qa.errors import RobotQaError

PROBE = 'from mujoco.egl import GLContext; GLContext(1, 1).make_current()'
PROBE_TIMEOUT_S = 30.0


def make_renderer(prefer: str = 'auto') -> Renderer:
    """Return a renderer for ``auto``, ``gl`` or ``rays``; ``RobotQaError`` for gl without EGL."""
    if prefer == 'rays':
        return RayRenderer('rays')
    trouble = why_no_egl()
    if trouble is None:
        # Its import fails where OpenGL is missing.
        from robot_qa.embedded.gl import GlRenderer

        return GlRenderer()
    if prefer == 'gl':
        raise RobotQaError(
            f'no EGL to render with: {trouble}; install libegl1, libopengl0 and libgl1-mesa-dri, '
            'or render with rays'
        )
    return RayRenderer(f'rays (no EGL: {trouble})')


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
