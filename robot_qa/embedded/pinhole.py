"""The pinhole camera that all pictures are taken with: square pixels and no distortion.

Pixel (u, v) is the u-th from the left and the v-th from the top, both from 0; its middle lies at
(u + 0.5, v + 0.5), and (0, 0) is the picture's top left corner. A camera's pose is as in SDF: x
looks ahead, y to the left, z up.
"""

from __future__ import annotations

import numpy as np

from robot_qa.embedded.world import CameraPart
from robot_qa.geometry import Floats, Poses, rotate


def focal_length(camera: CameraPart) -> float:
    """Return the focal length in pixels; the field of view is horizontal, so the width counts."""
    return float(camera.width / 2 / np.tan(camera.fov / 2))


def intrinsics(camera: CameraPart) -> Floats:
    """Return the camera matrix K (3, 3) of the optical frame, whose z looks ahead and x right.

    With it go no distortion (D of five zeros), no rectification (R is the unit matrix), and the
    projection P = [K | 0].
    """
    focal = focal_length(camera)
    return np.array([
        [focal, 0.0, camera.width / 2], [0.0, focal, camera.height / 2], [0.0, 0.0, 1.0],
    ])


def axes(pose: Poses) -> Floats:
    """Return the camera's x, y and z axis in the world, as rows (3, 3)."""
    return rotate(pose.rotation, np.eye(3))


def turned(points: Floats, matrix: Floats) -> Floats:
    """Return a matrix (3, 3) times each of the points (n, 3).

    By sums over single elements: the last bits of a product by BLAS depend on where the arrays
    lie in memory, and would tell two equal runs apart.
    """
    product: Floats = (points[:, 0:1] * matrix[:, 0] + points[:, 1:2] * matrix[:, 1]
                       + points[:, 2:3] * matrix[:, 2])
    return product


def rays(camera: CameraPart, pose: Poses) -> Floats:
    """Return the rays through all pixels in the world, row by row; (h * w, 3).

    Each advances by 1 m along the optical axis, so that a multiple of it is the depth.
    """
    focal = focal_length(camera)
    ahead, left, up = axes(pose)
    across = (camera.width / 2 - np.arange(camera.width) - 0.5) / focal
    down = (camera.height / 2 - np.arange(camera.height) - 0.5) / focal
    every: Floats = ahead + across[None, :, None] * left + down[:, None, None] * up
    rows: Floats = every.reshape(-1, 3)
    return rows


def seen_from(pose: Poses, points: Floats) -> Floats:
    """Return points of the world (..., 3) in the camera's frame."""
    inside: Floats = (points - pose.translation) @ axes(pose).T
    return inside


def projected(camera: CameraPart, points: Floats) -> Floats:
    """Return where points (..., 3) of the camera's frame, all ahead of it, are seen; (..., 2)."""
    scaled = points[..., 1:] / points[..., :1] * -focal_length(camera)
    places: Floats = scaled + np.array([camera.width / 2, camera.height / 2])
    return places
