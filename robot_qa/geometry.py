"""Rigid transforms, many at once: products, inverses, interpolation, angles.

Lengths are in metres, angles in radians. A rotation is a quaternion of length one in the order of
ROS, x, y, z, w, in Hamilton's convention (J. Sola, "Quaternion kinematics for the error-state
Kalman filter", arXiv:1711.02508, 2017; the formulas below are from its chapter 1 unless another
source is given). The last axis holds the components; all axes before it broadcast.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def cross(first: Floats, second: Floats) -> Floats:
    """Return the cross product of vectors (..., 3), quick for two single ones."""
    if first.ndim == second.ndim == 1:
        (a, b, c), (x, y, z) = first.tolist(), second.tolist()
        return np.array([b * z - c * y, c * x - a * z, a * y - b * x])
    crossed: Floats = np.cross(first, second)
    return crossed


def product(first: Floats, second: Floats) -> Floats:
    """Return the Hamilton product, the rotation ``second`` followed by ``first``; (..., 4)."""
    u, a = first[..., :3], first[..., 3:]
    v, b = second[..., :3], second[..., 3:]
    dot = (u * v).sum(axis=-1, keepdims=True)
    return np.concatenate((a * v + b * u + cross(u, v), a * b - dot), axis=-1)


def conjugate(rotation: Floats) -> Floats:
    """Return the opposite rotation; (..., 4)."""
    opposite: Floats = rotation * np.array([-1.0, -1.0, -1.0, 1.0])
    return opposite


def rotate(rotation: Floats, vector: Floats) -> Floats:
    """Return ``vector`` (..., 3), turned by ``rotation`` (..., 4)."""
    u, w = rotation[..., :3], rotation[..., 3:]
    twice = 2.0 * cross(u, vector)
    turned: Floats = vector + w * twice + cross(u, twice)
    return turned


def normalized(rotation: Floats) -> Floats:
    """Return the quaternion of length one with the same direction; NaN if its length is zero."""
    with np.errstate(invalid='ignore', divide='ignore'):
        unit: Floats = rotation / np.linalg.norm(rotation, axis=-1, keepdims=True)
    return unit


def slerp(start: Floats, end: Floats, ratio: Floats) -> Floats:
    """Interpolate rotations (..., 4) the shorter way round; ``ratio`` (...), from 0 to 1.

    K. Shoemake, "Animating rotation with quaternion curves", SIGGRAPH 1985.
    """
    share = ratio[..., None]
    dot = (start * end).sum(axis=-1, keepdims=True)
    end = np.where(dot < 0.0, -end, end)
    # Of the cosine alone, small angles could not be told from zero.
    angle = 2.0 * np.arctan2(
        np.linalg.norm(end - start, axis=-1, keepdims=True),
        np.linalg.norm(end + start, axis=-1, keepdims=True),
    )
    straight = angle < 1e-6
    sine = np.sin(np.where(straight, 1.0, angle))
    low = np.where(straight, 1.0 - share, np.sin((1.0 - share) * angle) / sine)
    high = np.where(straight, share, np.sin(share * angle) / sine)
    return normalized(low * start + high * end)


def roll_pitch_yaw(rotation: Floats) -> Floats:
    """Return the angles about the fixed axes x, y, z, turned in this order (REP 103); (..., 3).

    Roll and yaw lie from -pi to pi, pitch from -pi/2 to pi/2. Where pitch reaches an end, only a
    combination of roll and yaw is determined, and any such pair may come out.
    """
    x, y, z, w = np.moveaxis(rotation, -1, 0)
    roll = np.arctan2(2.0 * (w * x + y * z), 1.0 - 2.0 * (x * x + y * y))
    pitch = np.arcsin(np.clip(2.0 * (w * y - z * x), -1.0, 1.0))
    yaw = np.arctan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))
    return np.stack((roll, pitch, yaw), axis=-1)


def rotation_angle(rotation: Floats) -> Floats:
    """Return by how much a rotation (..., 4) turns about its axis, from 0 to pi; (...)."""
    sine = np.linalg.norm(rotation[..., :3], axis=-1)
    angle: Floats = 2.0 * np.arctan2(sine, np.abs(rotation[..., 3]))
    return angle


@dataclass(frozen=True)
class Poses:
    """Poses of a frame B in a frame A: ``p_A = rotation * p_B + translation``.

    ``translation`` has shape (n, 3), ``rotation`` (n, 4). In a geometry_msgs/TransformStamped, A
    is ``header.frame_id`` and B is ``child_frame_id``.
    """

    translation: Floats
    rotation: Floats

    @classmethod
    def of(cls, rows: Floats) -> Poses:
        """Take x, y, z of the translation, then x, y, z, w of the rotation; shape (n, 7)."""
        return cls(rows[..., :3], normalized(rows[..., 3:]))

    def __getitem__(self, index: NDArray[np.int64]) -> Poses:
        return Poses(self.translation[index], self.rotation[index])

    def __matmul__(self, other: Poses) -> Poses:
        """Return the poses of C in A, where ``other`` are those of C in B."""
        translation = self.translation + rotate(self.rotation, other.translation)
        return Poses(translation, product(self.rotation, other.rotation))

    def inverse(self) -> Poses:
        """Return the poses of A in B."""
        back = conjugate(self.rotation)
        return Poses(-rotate(back, self.translation), back)

    def towards(self, other: Poses, ratio: Floats) -> Poses:
        """Interpolate as tf2 does: translations linearly, rotations by ``slerp``; ratio (n,)."""
        step = ratio[:, None] * (other.translation - self.translation)
        return Poses(self.translation + step, slerp(self.rotation, other.rotation, ratio))
