"""Accuracy of classifiers: accuracy, top-k, precision, recall and F1 of each class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
class ClassificationScores:
    """Scores over all samples; ``None`` where there was nothing to evaluate.

    ``precision``, ``recall`` and ``f1`` hold one value for each class: a class that was never
    predicted has no precision, one that never was there no recall, one that was neither no F1.
    The means are over the classes that have a value, each class weighing the same.
    """

    samples: int
    accuracy: float | None
    top: Mapping[int, float | None]
    mean_precision: float | None
    mean_recall: float | None
    mean_f1: float | None
    precision: tuple[float | None, ...]
    recall: tuple[float | None, ...]
    f1: tuple[float | None, ...]

    @classmethod
    def of(cls, matrix: Counts, within: Mapping[int, int]) -> ClassificationScores:
        """Score a confusion matrix and the number of samples ``within`` the first k.

        Precision and recall: C. van Rijsbergen, "Information retrieval", 1979, chapter 7; F1 is
        their harmonic mean, 2 h / (2 h + misses + false alarms). Top-k: O. Russakovsky et al.,
        "ImageNet large scale visual recognition challenge", IJCV 115, 2015.
        """
        each = ByClass.of(matrix)
        precision = ratios(each.hits, each.hits + each.false_alarms)
        recall = ratios(each.hits, each.hits + each.misses)
        f1 = ratios(2 * each.hits, 2 * each.hits + each.misses + each.false_alarms)
        samples = int(matrix.sum())
        return cls(
            samples, ratio(each.hits.sum(), samples),
            {k: ratio(count, samples) for k, count in within.items()},
            mean(precision), mean(recall), mean(f1), precision, recall, f1,
        )


class Classification:
    """Scores of classes against true classes.

    Of equal scores, that of the class with the lower number comes first, for the prediction and
    for top-k alike, so that top-1 is the accuracy (scikit-learn puts the higher number first).
    """

    def __init__(self, classes: int, top: tuple[int, ...] = (1, 5)) -> None:
        if any(k < 1 for k in top):
            raise RobotQaError(f'top-k needs a k of 1 or more; got {min(top)}')
        self.matrix: Counts = np.zeros((classes, classes + 1), np.int64)
        self.within = dict.fromkeys(top, 0)

    def add_frame(self, scores: NDArray[np.floating], truth: Integers) -> Counts:
        """Add scores (n, classes) of n samples whose true classes are ``truth`` (n,).

        A class without a score is NaN or minus infinity: it is among no first k. A sample without
        any score is counted as wrong. Returns (n,) how many classes came before the true one,
        and ``classes`` where that had no score. Raises RobotQaError if the shapes do not fit or a
        true class is none of the classes.
        """
        classes = len(self.matrix)
        if scores.shape != (*truth.shape, classes) or truth.ndim != 1:
            raise RobotQaError(f'scores of the shape {scores.shape} do not fit true classes of '
                               f'the shape {truth.shape} and {classes} classes')
        known = np.where(np.isnan(scores), -np.inf, scores)
        first = np.where((known > -np.inf).any(axis=1), known.argmax(axis=1), classes)
        np.add.at(self.matrix.reshape(-1), cells(truth, first, classes), 1)
        own = np.take_along_axis(known, truth[:, None].astype(np.int64), axis=1)
        lower = np.arange(classes) < truth[:, None]
        before: Counts = ((known > own) | ((known == own) & lower)).sum(axis=1)
        before[own[:, 0] == -np.inf] = classes
        for k in self.within:
            self.within[k] += int((before < min(k, classes)).sum())
        return before

    def result(self) -> ClassificationScores:
        """Return the scores over all samples so far."""
        return ClassificationScores.of(self.matrix, self.within)
