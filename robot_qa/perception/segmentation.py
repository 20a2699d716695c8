"""Accuracy of label images: pixel accuracy, intersection over union, Dice, each from counts."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from robot_qa.errors import RobotQaError
from robot_qa.perception.confusion import (
    ByClass,
    Counts,
    Integers,
    cells,
    mean,
    ratio,
    ratios,
)


@dataclass(frozen=True)
class SegmentationScores:
    """Scores over all evaluated pixels; ``None`` where there was nothing to evaluate.

    ``iou`` and ``dice`` hold one value for each class. A class that is neither in the truth nor
    in the predictions has none, and is left out of the means.
    """

    pixels: int
    pixel_accuracy: float | None
    mean_iou: float | None
    mean_dice: float | None
    iou: tuple[float | None, ...]
    dice: tuple[float | None, ...]

    @classmethod
    def of(cls, matrix: Counts) -> SegmentationScores:
        """Score a confusion matrix, of one image or summed over many.

        With hits h, misses m and false alarms f of a class: IoU = h / (h + m + f), as in
        M. Everingham et al., "The PASCAL visual object classes challenge: a retrospective", IJCV
        111, 2015; pixel accuracy and mean IoU: J. Long et al., "Fully convolutional networks for
        semantic segmentation", CVPR 2015; Dice = 2 h / (2 h + m + f): L. Dice, "Measures of the
        amount of ecologic association between species", Ecology 26, 1945.
        """
        each = ByClass.of(matrix)
        errors = each.misses + each.false_alarms
        iou = ratios(each.hits, each.hits + errors)
        dice = ratios(2 * each.hits, 2 * each.hits + errors)
        pixels = int(matrix.sum())
        return cls(pixels, ratio(each.hits.sum(), pixels), mean(iou), mean(dice), iou, dice)


class Segmentation:
    """Label images against true ones, one frame after the other.

    Pixels whose true label is in ``ignored`` count nowhere. A predicted label that is none of the
    ``classes`` (numbered from 0) is a wrong one, also where it is one of the ignored labels.
    """

    def __init__(self, classes: int, ignored: Collection[int] = ()) -> None:
        self._ignored = np.array(sorted(ignored), np.int64)
        self.matrix: Counts = np.zeros((classes, classes + 1), np.int64)

    def add_frame(self, predicted: Integers, truth: Integers) -> Counts:
        """Add two label images of the same shape; return the frame's own confusion matrix.

        Raises RobotQaError if the shapes differ or a true label is neither a class nor ignored.
        """
        if truth.shape != predicted.shape:
            raise RobotQaError(f'the predicted image has the shape {predicted.shape}, '
                               f'the true one {truth.shape}')
        if len(self._ignored):
            kept = ~np.isin(truth, self._ignored)
            predicted, truth = predicted[kept], truth[kept]
        counted = np.bincount(
            cells(truth, predicted, len(self.matrix)), minlength=self.matrix.size)
        matrix: Counts = counted.astype(np.int64).reshape(self.matrix.shape)
        self.matrix += matrix
        return matrix

    def result(self) -> SegmentationScores:
        """Return the scores over all frames so far."""
        return SegmentationScores.of(self.matrix)
