"""Counts of which class was taken for which, and the ratios that follow from them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robot_qa.errors import RobotQaError

Counts = NDArray[np.int64]
Integers = NDArray[np.integer]


def cells(truth: Integers, predicted: Integers, classes: int) -> Counts:
    """Return in which cell of a flat confusion matrix each pair of classes counts; (n,).

    ``truth`` and ``predicted`` hold class numbers from 0 and have the same shape. The matrix is
    (classes, classes + 1): the row is the true class, the column the predicted one. The last
    column holds predictions that are none of the classes: wrong for the true class, but no false
    alarm of another. Such matrices add up. Raises RobotQaError where a true class is none of the
    classes.
    """
    rows = truth.ravel().astype(np.int64)
    columns = predicted.ravel().astype(np.int64)
    unknown = (rows < 0) | (rows >= classes)
    if unknown.any():
        raise RobotQaError(f'the truth holds the class {rows[unknown][0]}, '
                           f'but the {classes} classes are numbered from 0 to {classes - 1}')
    columns[(columns < 0) | (columns >= classes)] = classes
    rows *= classes + 1
    rows += columns
    return rows


@dataclass(frozen=True)
class ByClass:
    """What a confusion matrix says of each class; every array has the shape (classes,)."""

    hits: Counts
    misses: Counts
    false_alarms: Counts

    @classmethod
    def of(cls, matrix: Counts) -> ByClass:
        """Take the counts from a confusion matrix, laid out as in `cells`."""
        hits = matrix.diagonal()
        return cls(hits, matrix.sum(axis=1) - hits, matrix[:, :-1].sum(axis=0) - hits)


def ratio(part: float, whole: float) -> float | None:
    """Return ``part / whole``, or ``None`` of an empty whole."""
    return float(part) / float(whole) if whole else None


def ratios(parts: Counts, wholes: Counts) -> tuple[float | None, ...]:
    """Return the ratio of each class; ``None`` where there was nothing to evaluate."""
    return tuple(ratio(part, whole) for part, whole in zip(parts, wholes, strict=True))


def mean(values: Iterable[float | None]) -> float | None:
    """Return the mean over the classes that have a value, or ``None`` if none has."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
