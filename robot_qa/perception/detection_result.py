"""What a detector's outcomes come to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from robot_qa.errors import RobotQaError
from robot_qa.perception.average_precision import average_precision, average_precision_nuscenes
from robot_qa.perception.calibration import Calibration, calibration
from robot_qa.perception.columns import NOTHING, Outcomes, unpacked
from robot_qa.perception.confidence import (
    Curve,
    block_length,
    mean_precision_bounds,
    share_of_frames,
)
from robot_qa.perception.objects import Bools, Floats, Ints
from robot_qa.perception.settings import Settings
from robot_qa.stats import Confidence, Estimate


@dataclass(frozen=True)
class Counts:
    """How many detections hit, how many lie, and how many objects were missed.

    Shares (the first two are those of C. van Rijsbergen, "Information Retrieval", 1979, and F1
    its measure with equal weights) are ``None`` where they would be 0 / 0.
    """

    hits: int
    false: int
    missed: int

    @property
    def precision(self) -> float | None:
        """The share of the detections that hit."""
        return _share(self.hits, self.hits + self.false)

    @property
    def recall(self) -> float | None:
        """The share of the objects that were found."""
        return _share(self.hits, self.hits + self.missed)

    @property
    def f1(self) -> float | None:
        """The harmonic mean of precision and recall."""
        return _share(2 * self.hits, 2 * self.hits + self.false + self.missed)


@dataclass(frozen=True)
class Confusion:
    """How often each true class was taken for each class.

    ``counts[i, j]`` are objects of class ``labels[i]`` detected as ``labels[j]``. The last row is
    the background, where nothing is (detections that lie), the last column what was missed.
    """

    labels: Ints
    counts: Ints


class DetectionResult:
    """The metrics of some frames; those asked for are computed once.

    Thresholds are those of the settings. A class that nothing was to be found of (in a range) has
    no average precision or recall, and no part in a mean over classes, as in COCO.
    """

    def __init__(self, outcomes: Outcomes, settings: Settings) -> None:
        self.settings = settings
        self.labels = outcomes.classes()
        self.frames = outcomes.frames
        self._outcomes = outcomes
        self._shape = len(settings.thresholds), len(settings.ranges)

    @property
    def rows(self) -> int:
        """The number of detections."""
        return len(self._outcomes.detections)

    def part(self, frames: Bools) -> DetectionResult:
        """Return the result of some of its frames (bool, one per frame)."""
        one = self._outcomes
        return DetectionResult(Outcomes.of(one.detections, one.objects, frames), self.settings)

    @cached_property
    def average_precisions(self) -> Floats:
        """Average precision, NaN where nothing was to be found; (thresholds, classes, ranges).

        The one of COCO, see `average_precision.area_under_envelope`.
        """
        columns = self._shape[0] * self._shape[1]
        areas = [
            average_precision(
                unpacked(one.detections['hits'], columns),
                ~unpacked(one.detections['ignored'], columns),
                np.tile(self._truths(one), self._shape[0]),
            ).reshape(self._shape)
            for one in map(self._outcomes.of_class, self.labels.tolist())
        ]
        return np.stack(areas, axis=1) if areas else np.zeros((self._shape[0], 0, self._shape[1]))

    @cached_property
    def recalls(self) -> Floats:
        """Recall of the surest detections, NaN where nothing was to be found.

        Shape (thresholds, classes, ranges, max_detections); J. Hosang et al., "What makes for
        effective detection proposals?", PAMI 38, 2016, as COCO has it.
        """
        most = self.settings.max_detections
        columns = self._shape[0] * self._shape[1]
        found = np.full((*self._shape, len(self.labels), len(most)), np.nan)
        for number, label in enumerate(self.labels.tolist()):
            one = self._outcomes.of_class(label)
            hits = unpacked(one.detections['hits'], columns)
            truths = self._truths(one).astype(np.float64)
            truths[truths == 0.0] = np.nan
            for place, limit in enumerate(most):
                of_rank = np.count_nonzero(hits[one.detections['rank'] < limit], axis=0)
                found[:, :, number, place] = of_rank.reshape(self._shape) / truths
        return np.moveaxis(found, 2, 1)

    def ap(
        self, label: int | None = None, threshold: float | None = None, size: str | None = None
    ) -> float | None:
        """Return the mean average precision, of one class or all, at one threshold or all.

        ``size`` is the name of a range, by default the first. ``None`` if nothing was to be found.
        """
        return self._mean(self.average_precisions, label, threshold, size)

    def ap_nuscenes(
        self, label: int | None = None, threshold: float | None = None, size: str | None = None
    ) -> float | None:
        """Return the mean of nuScenes' average precision (`average_precision_nuscenes`).

        By centre distance where the settings are `settings.NUSCENES`. Unlike in nuScenes, where
        such a class counts as 0, one that nothing was to be found of is left out.
        """
        areas = [
            average_precision_nuscenes(curve.hits, int(curve.truths.sum()))
            for curve in self._curves(label, threshold, size)
        ]
        return float(np.mean(areas)) if areas else None

    def ar(
        self, label: int | None = None, threshold: float | None = None, size: str | None = None,
        max_detections: int | None = None,
    ) -> float | None:
        """Return the average recall of the surest detections of each frame and class."""
        most = self.settings.max_detections
        if max_detections is not None and max_detections not in most:
            raise RobotQaError(f'{max_detections} is none of the max_detections {most}')
        place = -1 if max_detections is None else most.index(max_detections)
        return self._mean(self.recalls[..., place], label, threshold, size)

    def counts(
        self, score: float, threshold: float | None = None, size: str | None = None,
        label: int | None = None,
    ) -> Counts:
        """Count the detections of at least ``score``, and the objects that these miss.

        Without a ``threshold`` it is the operating point's, as wherever counts are asked for.
        A detection that takes an object that does not count, or takes none and is out of range
        itself, is not counted.
        """
        hits, false, truths = self.per_frame(score, threshold, size, label)
        found = int(hits.sum())
        return Counts(found, int(false.sum()), int(truths.sum()) - found)

    def recall_bounds(
        self, confidence: Confidence, score: float, threshold: float | None = None,
        size: str | None = None, label: int | None = None,
    ) -> Estimate | None:
        """Return the recall of `counts` with bounds, ``None`` where nothing was to be found."""
        hits, _, truths = self.per_frame(score, threshold, size, label)
        return share_of_frames(hits, truths, confidence)

    def precision_bounds(
        self, confidence: Confidence, score: float, threshold: float | None = None,
        size: str | None = None, label: int | None = None,
    ) -> Estimate | None:
        """Return the precision of `counts` with bounds, ``None`` where nothing was detected."""
        hits, false, _ = self.per_frame(score, threshold, size, label)
        return share_of_frames(hits, hits + false, confidence)

    def ap_bounds(
        self, level: float, label: int | None = None, threshold: float | None = None,
        size: str | None = None, *, resamples: int = 1000, seed: int = 0,
        block: int | None = None,
    ) -> Estimate | None:
        """Return `ap` with bounds by resampling frames in blocks of ``block``.

        See `confidence.mean_precision_bounds`. The block's length comes by default from the
        errors per frame at the operating point. The same seed gives the same bounds.
        """
        value = self.ap(label, threshold, size)
        if value is None:
            return None
        if block is None:
            hits, false, truths = self.per_frame(self.settings.score, None, size, label)
            block = block_length((truths - hits + false).astype(np.float64))
        curves = list(self._curves(label, threshold, size))
        return mean_precision_bounds(
            curves, value, level, block=min(block, self.frames), resamples=resamples, seed=seed)

    def confusion(self) -> Confusion:
        """Return the confusion matrix at the operating point, for objects of the first range.

        Detections and objects are matched class by class first, so the diagonal are the hits of
        `counts`; what is left over is then matched across classes, the surest detection first.
        """
        rows = self._outcomes.detections
        rows = rows[rows['score'] >= self.settings.score]
        bit = np.uint64(1 << self.settings.column())
        hits = (rows['hits'] & bit) != 0
        rows, hits = rows[(rows['ignored'] & bit) == 0], hits[(rows['ignored'] & bit) == 0]
        size = len(self.labels) + 1
        detected = np.searchsorted(self.labels, rows['label'])
        taken_for = np.searchsorted(self.labels, rows['mistaken_for'])
        true = np.where(rows['mistaken_for'] == NOTHING, size - 1, taken_for)
        true = np.where(hits, detected, true)
        counts = np.bincount(true * size + detected, minlength=size * size).reshape(size, size)
        objects = self._outcomes.objects
        counted = objects['label'][(objects['ranges'] & np.uint64(1)) != 0]
        there = np.bincount(np.searchsorted(self.labels, counted), minlength=size)
        counts[:-1, -1] = (there - counts.sum(axis=1))[:-1]
        return Confusion(self.labels, counts)

    def calibration(
        self, bins: int = 15, threshold: float | None = None, size: str | None = None
    ) -> Calibration | None:
        """Return how well scores tell the chance of a hit; ``None`` without a detection.

        Raises RobotQaError if a score is not within 0 to 1.
        """
        rows = self._outcomes.detections
        bit = np.uint64(1 << self.settings.column(threshold, size))
        rows = rows[(rows['ignored'] & bit) == 0]
        if len(rows) == 0:
            return None
        return calibration(rows['score'], (rows['hits'] & bit) != 0, bins)

    def _truths(self, one: Outcomes) -> Ints:
        """Return how much there is to find in each range; (ranges,)."""
        flags = unpacked(one.objects['ranges'], self._shape[1])
        counts: Ints = flags.sum(axis=0, dtype=np.int64)
        return counts

    def _mean(
        self, values: Floats, label: int | None, threshold: float | None, size: str | None
    ) -> float | None:
        """Return the mean over what is known of values (thresholds, classes, ranges)."""
        row, column = divmod(self.settings.column(threshold, size), self._shape[1])
        part = values[:, :, column] if threshold is None else values[row:row + 1, :, column]
        if label is not None:
            part = part[:, self.labels == label]
        known = part[~np.isnan(part)]
        return float(known.mean()) if len(known) else None

    def per_frame(
        self, score: float, threshold: float | None = None, size: str | None = None,
        label: int | None = None,
    ) -> tuple[Ints, Ints, Ints]:
        """Return the hits, the detections that lie and the objects of each frame; (frames,)."""
        column = self.settings.column(threshold, size)
        one = self._outcomes if label is None else self._outcomes.of_class(label)
        rows = one.detections[one.detections['score'] >= score]
        bit = np.uint64(1 << column)
        hit = (rows['hits'] & bit) != 0
        false = ~hit & ((rows['ignored'] & bit) == 0)
        return (
            np.bincount(rows['frame'][hit], minlength=self.frames),
            np.bincount(rows['frame'][false], minlength=self.frames),
            self._per_frame_truths(one, column % self._shape[1]),
        )

    def _per_frame_truths(self, one: Outcomes, place: int) -> Ints:
        there = (one.objects['ranges'] & np.uint64(1 << place)) != 0
        return np.bincount(one.objects['frame'][there], minlength=self.frames)

    def _curves(
        self, label: int | None, threshold: float | None, size: str | None
    ) -> Iterator[Curve]:
        """Yield the curves of one class or all, at one threshold or all, where there is truth."""
        column, (count, width) = self.settings.column(threshold, size), self._shape
        place = column % width
        columns = range(place, count * width, width) if threshold is None else [column]
        for one in map(self._outcomes.of_class,
                       self.labels.tolist() if label is None else [label]):
            truths = self._per_frame_truths(one, place)
            for bit in (np.uint64(1 << number) for number in columns):
                rows = one.detections[(one.detections['ignored'] & bit) == 0]
                if truths.any():
                    yield Curve((rows['hits'] & bit) != 0, rows['frame'].astype(np.int64), truths)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
