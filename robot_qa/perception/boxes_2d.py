"""Boxes in an image."""

from __future__ import annotations

import numpy as np

from robot_qa.perception.objects import Bools, Floats


def area(boxes: Floats) -> Floats:
    """Return the areas, in px^2, of boxes (n, 4)."""
    areas: Floats = boxes[:, 2] * boxes[:, 3]
    return areas


def overlap(detected: Floats, true: Floats, crowd: Bools) -> Floats:
    """Return the intersection over union of boxes (n, 4) with boxes (n, 4), row by row.

    With a ``crowd`` (n,) it is the share of the detected box that lies in the crowd's region, as
    the COCO evaluation has it (T.-Y. Lin et al., "Microsoft COCO: Common objects in context",
    ECCV 2014); the sums are done in the order of its reference code, so ties are the same ties.
    """
    low = np.maximum(detected[:, :2], true[:, :2])
    high = np.minimum(detected[:, 2:] + detected[:, :2], true[:, 2:] + true[:, :2])
    sides = high - low
    common = np.where((sides > 0.0).all(axis=1), sides[:, 0] * sides[:, 1], 0.0)
    own = area(detected)
    union = np.where(crowd, own, own + area(true) - common)
    share: Floats = np.divide(common, union, out=np.zeros(len(common)), where=common > 0.0)
    return share
