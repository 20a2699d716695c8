"""Accuracy of object detection, updated frame by frame."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from robot_qa.errors import RobotQaError
from robot_qa.perception.association import Candidates, match, pairs_within
from robot_qa.perception.columns import (
    DETECTION,
    NOTHING,
    OBJECT,
    Outcomes,
    Rows,
    Table,
    packed,
)
from robot_qa.perception.detection_result import DetectionResult
from robot_qa.perception.objects import Bools, Detections, Floats, Ints, Truth
from robot_qa.perception.settings import Settings

# Matching takes working memory for so many frames at once.
FRAMES_AT_ONCE = 128


class Evaluator:
    """Takes frames and gives results at any time.

    Memory is 40 bytes per detection and 16 per true object, twice that while it grows. Once
    ``most_rows`` of both together are held, further frames are left out and counted in
    ``frames_left_out``.
    """

    def __init__(self, settings: Settings | None = None, most_rows: int = 5_000_000) -> None:
        self.settings = settings or Settings()
        self.frames = 0
        self.frames_left_out = 0
        self._most = most_rows
        self._detections, self._objects = Table(DETECTION), Table(OBJECT)
        ends = np.array(list(self.settings.ranges.values()))
        self._low, self._high = ends[:, :1], ends[:, 1:]
        # A quality of one matches at a threshold of one, as in the COCO reference.
        self._thresholds = np.minimum(self.settings.thresholds, 1.0 - 1e-10)
        if self.settings.distances:
            # At least the next number above -d is: nearer than d.
            self._thresholds = np.nextafter(-np.array(self.settings.thresholds), np.inf)

    def add_frame(self, detections: Detections, truth: Truth) -> None:
        """Add one frame. Raises RobotQaError for boxes of another kind."""
        self.add_frames(1, detections, np.zeros(len(detections), np.int64),
                        truth, np.zeros(len(truth), np.int64))

    def add_frames(
        self, count: int, detections: Detections, detection_frames: ArrayLike,
        truth: Truth, truth_frames: ArrayLike,
    ) -> None:
        """Add ``count`` frames; each row's frame, from 0 to ``count`` - 1, is a column of its own.

        The rows may come in any order. Where scores tie, the earlier row of a frame is first.
        """
        detections = replace(detections, boxes=self._checked(detections.boxes))
        truth = replace(truth, boxes=self._checked(truth.boxes))
        frames = _numbers(detection_frames, len(detections), count)
        true_frames = _numbers(truth_frames, len(truth), count)
        order = np.lexsort((-detections.scores, detections.labels, frames))
        true_order = np.lexsort((truth.labels, true_frames))
        frames, true_frames = frames[order], true_frames[true_order]
        for first in range(0, count, FRAMES_AT_ONCE):
            past = min(first + FRAMES_AT_ONCE, count)
            if len(self._detections) + len(self._objects) >= self._most:
                self.frames_left_out += count - first
                return
            low, high = np.searchsorted(frames, (first, past))
            true_low, true_high = np.searchsorted(true_frames, (first, past))
            self._add(
                detections[order[low:high]], frames[low:high] - first + self.frames,
                truth[true_order[true_low:true_high]],
                true_frames[true_low:true_high] - first + self.frames,
            )
            self.frames += past - first

    def result(self, frames: ArrayLike | None = None) -> DetectionResult:
        """Return the result so far, or that of chosen frames (bool, one per frame added)."""
        chosen = np.ones(self.frames, bool) if frames is None else np.asarray(frames, bool)
        if chosen.shape != (self.frames,):
            raise RobotQaError(f'{len(chosen)} choices for {self.frames} frames')
        outcomes = Outcomes.of(self._detections.rows, self._objects.rows, chosen)
        return DetectionResult(outcomes, self.settings)

    def result_since(self, first: int) -> DetectionResult:
        """Return the result of the frames from number ``first`` on, at a cost of these alone."""
        detections, objects = (_since(table, first) for table in (self._detections, self._objects))
        every = np.ones(self.frames - first, bool)
        return DetectionResult(Outcomes.of(detections, objects, every), self.settings)

    def _checked(self, boxes: Floats) -> Floats:
        columns = self.settings.box_columns
        if len(boxes) == 0:
            return np.zeros((0, columns))
        if boxes.shape[1] != columns:
            raise RobotQaError(f'a box has {boxes.shape[1]} numbers instead of {columns}')
        return boxes

    def _add(self, detections: Detections, frames: Ints, truth: Truth, true_frames: Ints) -> None:
        """Match rows that are sorted by frame, class and certainty; keep what came of it."""
        settings = self.settings
        span = 1 + int(max(detections.labels.max(initial=0), truth.labels.max(initial=0)))
        group = frames * span + detections.labels
        rank = np.arange(len(group)) - np.searchsorted(group, group)
        if (late := rank >= settings.max_detections[-1]).any():
            detections, frames, group, rank = (
                detections[~late], frames[~late], group[~late], rank[~late])
        found, true = pairs_within(group, true_frames * span + truth.labels)
        extents = settings.extent(truth.boxes) if truth.extents is None else truth.extents
        ignored = self._outside(extents) | truth.crowd | truth.ignored
        fits = self._fits(detections.boxes[found], truth.boxes[true], truth.crowd[true])
        taken = match(Candidates(found, true, fits), len(detections), self._thresholds,
                      ignored, truth.crowd)
        matched = taken >= 0
        ranges = np.arange(len(ignored))[:, None]
        lenient = np.zeros_like(matched)
        if len(truth):
            lenient = matched & ignored[ranges, taken]
        dropped = lenient | (~matched & self._outside(settings.extent(detections.boxes)))
        self._detections.extend(
            len(detections), score=detections.scores, frame=frames, label=detections.labels,
            rank=rank, hits=_bits(matched & ~lenient), ignored=_bits(dropped),
            mistaken_for=self._mistaken(
                detections, truth, frames, true_frames, (taken[:, 0], ignored[0])),
        )
        self._objects.extend(
            len(truth), frame=true_frames, label=truth.labels, ranges=packed(~ignored))

    def _fits(self, detected: Floats, true: Floats, crowd: Bools) -> Floats:
        """Return how well boxes fit, row by row: more is better."""
        fits = self.settings.overlap(detected, true, crowd)
        return -fits if self.settings.distances else fits

    def _outside(self, extents: Floats) -> Bools:
        """Return what is out of range; (ranges, n)."""
        outside: Bools = (extents < self._low) | (extents > self._high)
        return outside

    def _mistaken(
        self, detections: Detections, truth: Truth, frames: Ints, true_frames: Ints,
        of_classes: tuple[Ints, Bools],
    ) -> Ints:
        """Return the class of the true object that each left-over detection lies on, or NOTHING.

        Both are what is left over at the operating point when every class has been matched.
        """
        taken, ignored = of_classes
        threshold = self.settings.column() // len(self.settings.ranges)
        mistaken = np.full(len(detections), NOTHING)
        sure = detections.scores >= self.settings.score
        of_class = taken[threshold]
        left = np.flatnonzero(sure & (of_class < 0))
        free = ~ignored
        free[of_class[sure & (of_class >= 0)]] = False
        true_left = np.flatnonzero(free)
        if len(left) == 0 or len(true_left) == 0:
            return mistaken
        left = left[np.lexsort((-detections.scores[left], frames[left]))]
        found, true = pairs_within(frames[left], true_frames[true_left])
        none = np.zeros((1, len(true_left)), bool)
        fits = self._fits(
            detections.boxes[left[found]], truth.boxes[true_left[true]], none[0, true])
        matched = match(Candidates(found, true, fits), len(left),
                        self._thresholds[threshold:threshold + 1], none, none[0])[0, 0]
        hit = matched >= 0
        mistaken[left[hit]] = truth.labels[true_left[matched[hit]]]
        return mistaken


def _since(table: Table, first: int) -> Rows:
    """Return the rows of the frames from ``first`` on, their frames counted from there."""
    # Rows are in the order of their frames; numpy's search would copy the column.
    rows = table.rows[bisect_left(table.rows['frame'], first):].copy()
    rows['frame'] -= first
    return rows


def _numbers(frames: ArrayLike, boxes: int, count: int) -> Ints:
    """Return the frame of each box, from 0 to ``count`` - 1."""
    numbers = np.asarray(frames, np.int64)
    if numbers.shape != (boxes,):
        raise RobotQaError(f'{boxes} boxes have frames of shape {numbers.shape}')
    if boxes and not 0 <= int(numbers.min()) <= int(numbers.max()) < count:
        raise RobotQaError(f'the frame of a box is none of the {count}')
    return numbers


def _bits(flags: Bools) -> NDArray[np.uint64]:
    """Return flags (thresholds, ranges, n) as bits (n,)."""
    thresholds, ranges, count = flags.shape
    return packed(flags.reshape(thresholds * ranges, count))
