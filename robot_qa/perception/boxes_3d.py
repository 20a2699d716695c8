"""Boxes in space that stand upright: x, y, z of the centre, length, width, height, yaw."""

from __future__ import annotations

import numpy as np

from robot_qa.perception.objects import Bools, Floats


def distance(boxes: Floats) -> Floats:
    """Return how far boxes (n, 7) are from the frame's origin, seen from above, in m."""
    return np.hypot(boxes[:, 0], boxes[:, 1])


def centre_distance(detected: Floats, true: Floats, crowd: Bools) -> Floats:
    """Return the distances between centres seen from above, in m, row by row; boxes (n, 7).

    What nuScenes matches by (H. Caesar et al., "nuScenes: A multimodal dataset for autonomous
    driving", CVPR 2020, section 3.1). From any centre a ``crowd`` (n,) is as far as its own.
    """
    return np.hypot(detected[:, 0] - true[:, 0], detected[:, 1] - true[:, 1])


def overlap(detected: Floats, true: Floats, crowd: Bools) -> Floats:
    """Return the intersection over union of volumes, row by row; boxes (n, 7).

    With a ``crowd`` (n,) it is the share of the detected box that lies in the crowd's region.
    """
    low = np.maximum(*(boxes[:, 2] - boxes[:, 5] / 2 for boxes in (detected, true)))
    high = np.minimum(*(boxes[:, 2] + boxes[:, 5] / 2 for boxes in (detected, true)))
    reach = (np.hypot(detected[:, 3], detected[:, 4]) + np.hypot(true[:, 3], true[:, 4])) / 2
    meet = np.flatnonzero((high > low) & (centre_distance(detected, true, crowd) < reach))
    common = np.zeros(len(detected))
    common[meet] = (high - low)[meet] * common_area(detected[meet], true[meet])
    own = detected[:, 3:6].prod(axis=1)
    union = np.where(crowd, own, own + true[:, 3:6].prod(axis=1) - common)
    share: Floats = np.divide(common, union, out=np.zeros(len(common)), where=common > 0.0)
    return share


def common_area(first: Floats, second: Floats) -> Floats:
    """Return the area, in m^2, that boxes (n, 7) share when seen from above, row by row.

    The first box is clipped by the four sides of the second, one axis at a time (I. Sutherland
    and G. Hodgman, "Reentrant polygon clipping", Communications of the ACM 17, 1974). What lies
    outside is not cut off but moved onto the side: the outline then runs to and fro along it,
    which encloses nothing. So no case is special, and a small move never makes a large change.
    """
    cosine, sine = np.cos(second[:, 6]), np.sin(second[:, 6])
    shift = first[:, :2] - second[:, :2]
    x = cosine * shift[:, 0] + sine * shift[:, 1]
    y = cosine * shift[:, 1] - sine * shift[:, 0]
    turn = first[:, 6] - second[:, 6]
    along = np.array([0.5, -0.5, -0.5, 0.5]) * first[:, 3:4]
    across = np.array([0.5, 0.5, -0.5, -0.5]) * first[:, 4:5]
    cosine, sine = np.cos(turn)[:, None], np.sin(turn)[:, None]
    x = x[:, None] + cosine * along - sine * across
    y = y[:, None] + sine * along + cosine * across
    x, y = _pressed(x, y, second[:, 3:4] / 2)
    y, x = _pressed(y, x, second[:, 4:5] / 2)
    twice = (x * np.roll(y, -1, axis=1) - y * np.roll(x, -1, axis=1)).sum(axis=1)
    area: Floats = np.maximum(twice / 2, 0.0)
    return area


def _pressed(across: Floats, along: Floats, half: Floats) -> tuple[Floats, Floats]:
    """Move outlines (n, k) into |across| <= ``half`` (n, 1), with points where they cross it."""
    step, climb = np.roll(across, -1, axis=1) - across, np.roll(along, -1, axis=1) - along
    level = step == 0.0
    step[level] = 1.0
    sides = np.stack((-half - across, half - across), axis=-1) / step[..., None]
    sides[level] = 0.0
    ratio = np.sort(np.clip(sides, 0.0, 1.0), axis=-1)
    ratio = np.concatenate((np.zeros((*level.shape, 1)), ratio), axis=-1)
    step[level] = 0.0
    points = across[..., None] + ratio * step[..., None]
    shape = len(across), 3 * across.shape[1]
    return (
        np.clip(points.reshape(shape), -half, half),
        (along[..., None] + ratio * climb[..., None]).reshape(shape),
    )
