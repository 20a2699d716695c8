"""Areas under curves of precision over recall."""

from __future__ import annotations

import numpy as np

from robot_qa.perception.objects import Bools, Floats, Ints

# The recalls at which COCO reads a curve, and nuScenes too.
RECALLS = np.linspace(0.0, 1.0, 101)
# What the COCO reference adds to a denominator.
TINY = float(np.spacing(1))
# nuScenes does not look below this recall, nor below this precision.
LOWEST_RECALL = 0.1
LOWEST_PRECISION = 0.1


def area_under_envelope(found: Floats, seen: Floats, truths: Floats) -> Floats:
    """Return the average precision of each row: the mean over 101 recalls, as COCO has it.

    ``found`` and ``seen`` (n, k) are how many hits, and how many detections that count, there are
    down to each row's 1st, 2nd ... hit, the surest first; rows with fewer hits end with zeros in
    ``found``. ``truths`` (n,) is how much there is to find, not zero. At each recall the curve is
    read as the best precision at this recall or a higher one (M. Everingham et al., "The PASCAL
    visual object classes challenge", IJCV 88, 2010, with COCO's 101 recalls: T.-Y. Lin et al.,
    "Microsoft COCO: Common objects in context", ECCV 2014). Such a curve changes only at hits.
    """
    precision = found / (seen + TINY)
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    reached = np.searchsorted(RECALLS, found / truths[:, None], 'right')
    share: Floats = (envelope * np.diff(reached, axis=1, prepend=0)).sum(axis=1) / len(RECALLS)
    return share


def average_precision(hits: Bools, counted: Bools, truths: Ints) -> Floats:
    """Return the average precision of each column, NaN where there is nothing to find; (c,).

    ``hits`` and ``counted`` (n, c) say of each detection, the surest first, whether it is a hit
    and whether it counts at all; every hit counts. ``truths`` (c,) is how much there is to find.
    """
    columns, rows = np.nonzero(hits.T)
    seen = np.cumsum(counted, axis=0, dtype=np.int32)[rows, columns]
    per_column = np.bincount(columns, minlength=len(truths))
    number = np.arange(len(columns)) - np.repeat(np.cumsum(per_column) - per_column, per_column)
    shape = (len(truths), int(per_column.max(initial=0)))
    found_all, seen_all = np.zeros(shape), np.zeros(shape)
    found_all[columns, number] = number + 1.0
    seen_all[columns, number] = seen
    known = truths > 0
    area = np.full(len(truths), np.nan)
    area[known] = area_under_envelope(
        found_all[known], seen_all[known], truths[known].astype(np.float64))
    return area


def average_precision_nuscenes(hits: Bools, truths: int) -> float:
    """Return nuScenes' average precision of detections (n,), the surest first.

    ``hits`` says which are hits; ``truths``, not zero, how much there is to find. The curve is
    read at 101 recalls by linear interpolation, what lies at or below a recall or a precision of
    10 % is left out, and the rest is scaled to 0 .. 1: H. Caesar et al., "nuScenes: A multimodal
    dataset for autonomous driving", CVPR 2020, section 3.1, and its development kit.
    """
    found = np.cumsum(hits, dtype=np.float64)
    if len(found) == 0 or found[-1] == 0.0:
        return 0.0
    precision = found / np.arange(1.0, len(found) + 1.0)
    curve = np.interp(RECALLS, found / truths, precision, right=0.0)
    high = curve[round(100 * LOWEST_RECALL) + 1:] - LOWEST_PRECISION
    return float(np.maximum(high, 0.0).mean()) / (1.0 - LOWEST_PRECISION)
