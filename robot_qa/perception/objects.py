"""Predictions and truth as columns: one row per object, of one frame or of many."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from robot_qa.errors import RobotQaError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

HIGHEST_LABEL = 2 ** 31 - 2


@dataclass(frozen=True)
class Detections:
    """What a model found.

    ``boxes`` has shape (n, 4) for boxes in an image: x and y of the upper left corner, width and
    height, in px; or (n, 7) for boxes in space: x, y, z of the centre, length (along the box's
    x axis), width, height, in m, and the yaw about z, in rad, all in one frame with z upwards.
    ``labels`` (n,) are numbers of classes from 0, ``scores`` (n,) grow with the model's certainty.
    """

    boxes: Floats
    labels: Ints
    scores: Floats

    @classmethod
    def of(cls, boxes: ArrayLike, labels: ArrayLike, scores: ArrayLike) -> Detections:
        """Check the columns; raises RobotQaError when they do not fit or hold NaN or infinity."""
        rows, classes = _boxes_and_labels(boxes, labels)
        certainty = np.asarray(scores, np.float64)
        if certainty.shape != classes.shape:
            raise RobotQaError(f'{len(classes)} detections have scores of shape '
                               f'{certainty.shape}')
        if not np.isfinite(certainty).all():
            raise RobotQaError('the score of a detection is not a finite number')
        return cls(rows, classes, certainty)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows: Ints | Bools | slice) -> Detections:
        return Detections(self.boxes[rows], self.labels[rows], self.scores[rows])


@dataclass(frozen=True)
class Truth:
    """What is really there; ``boxes`` and ``labels`` as in `Detections`.

    ``crowd`` (n,) marks regions of many objects that nobody counted: any number of detections may
    lie in one, and neither they nor the region count. ``ignored`` (n,) marks objects that need
    not be found and may be. ``extents`` (n,) is what size ranges look at, such as the visible
    area in px^2; ``None`` takes it from the boxes.
    """

    boxes: Floats
    labels: Ints
    crowd: Bools
    ignored: Bools
    extents: Floats | None = None

    @classmethod
    def of(
        cls, boxes: ArrayLike, labels: ArrayLike, crowd: ArrayLike | None = None,
        ignored: ArrayLike | None = None, extents: ArrayLike | None = None,
    ) -> Truth:
        """Check the columns; raises RobotQaError when they do not fit or hold NaN or infinity."""
        rows, classes = _boxes_and_labels(boxes, labels)
        sizes = None if extents is None else np.asarray(extents, np.float64)
        truth = cls(rows, classes, _flags(crowd, classes), _flags(ignored, classes), sizes)
        for column in (truth.crowd, truth.ignored, sizes):
            if column is not None and column.shape != classes.shape:
                raise RobotQaError(f'{len(classes)} true objects have a column of shape '
                                   f'{column.shape}')
        if sizes is not None and np.isnan(sizes).any():
            raise RobotQaError('the extent of a true object is not a number')
        return truth

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows: Ints | Bools | slice) -> Truth:
        return Truth(self.boxes[rows], self.labels[rows], self.crowd[rows], self.ignored[rows],
                     None if self.extents is None else self.extents[rows])


def _flags(column: ArrayLike | None, labels: Ints) -> Bools:
    return np.zeros(labels.shape, bool) if column is None else np.asarray(column, bool)


def _boxes_and_labels(boxes: ArrayLike, labels: ArrayLike) -> tuple[Floats, Ints]:
    classes = np.asarray(labels, np.int64)
    rows = np.asarray(boxes, np.float64)
    if rows.size == 0 and classes.size == 0:
        rows = rows.reshape(0, rows.shape[1] if rows.ndim == 2 else 0)
    if classes.ndim != 1 or rows.ndim != 2 or len(rows) != len(classes):
        raise RobotQaError(f'boxes of shape {rows.shape} and labels of shape {classes.shape} '
                           'do not belong together')
    if not np.isfinite(rows).all():
        raise RobotQaError('a box holds a number that is not finite')
    if len(classes) and not 0 <= int(classes.min()) <= int(classes.max()) <= HIGHEST_LABEL:
        raise RobotQaError(f'the label of a class is not within 0 to {HIGHEST_LABEL}')
    return rows, classes
