"""The metrics of detections in some frames, with their bounds."""

from __future__ import annotations

from math import ceil
from typing import Any

import numpy as np

from robot_qa.errors import RobotQaError
from robot_qa.monitors.accuracy_task import Rigor, Score
from robot_qa.perception.breakdown import BINS
from robot_qa.perception.confidence import block_length, share_of_frames
from robot_qa.perception.detection_result import DetectionResult
from robot_qa.perception.jackknife import jackknife_bounds
from robot_qa.perception.objects import Ints
from robot_qa.perception.settings import IN_SPACE, NUSCENES, Settings
from robot_qa.stats import Estimate

# Average precision at the thresholds of a task, by the name of the metric.
POINTS = {
    'detection_2d': {'map_50': 0.5, 'map_75': 0.75},
    'detection_3d': {'map_25': 0.25, 'map_50': 0.5, 'map_70': 0.7},
}
# Resampling a row of a curve once takes about 0.2 us; beyond this many the jackknife is used.
MOST_RESAMPLED = 5_000_000
RESAMPLES = 1000


def settings_of(spec: Any) -> Settings:
    """Return by what boxes are compared, with the thresholds that the task's ``map`` is over."""
    if spec.kind != 'detection_3d':
        return Settings()
    return IN_SPACE if spec.centre_distance is None else NUSCENES


def threshold_of(spec: Any) -> float:
    """Return from which overlap, or nearer than which distance in m, a box is found."""
    distance = getattr(spec, 'centre_distance', None)
    return float(spec.iou if distance is None else distance)


def point_of(spec: Any, metric: str) -> float | None:
    """Return the one threshold that an average precision is at; None for other metrics."""
    return threshold_of(spec) if metric == 'ap' else POINTS[spec.kind].get(metric)


class Scorer:
    """The metrics of some frames, from a result and the counts of each frame."""

    def __init__(
        self, spec: Any, result: DetectionResult, hits: Ints, false: Ints, truths: Ints
    ) -> None:
        self._spec = spec
        self._result = result
        self._hits, self._false, self._truths = hits, false, truths
        self._errors = (truths - hits + false).astype(np.float64)
        self._tried = (truths + false).astype(np.float64)

    def score(self, metric: str, rigor: Rigor) -> Score:
        """Return one metric."""
        frames = len(self._hits)
        if metric != 'precision' and not self._truths.any():
            return Score.none('there was nothing to find', frames)
        try:
            got = self._estimate(metric, rigor)
        except RobotQaError as error:
            return Score.none(str(error), frames)
        if got is None:
            return Score.none('nothing was detected', frames)
        return Score(got.value, got.low, got.high, frames, self._effective(metric, rigor))

    def _effective(self, metric: str, rigor: Rigor) -> float:
        """Return how many independent frames tell something about a metric."""
        missed, detected = self._truths - self._hits, self._hits + self._false
        errors, tried = {
            'recall': (missed, self._truths), 'precision': (self._false, detected),
        }.get(metric, (missed + self._false, self._truths + self._false))
        # A frame without any object or detection tells nothing.
        telling = tried > 0
        return rigor.effective(rigor.excess(
            errors[telling].astype(np.float64), tried[telling].astype(np.float64), telling))

    def _estimate(self, metric: str, rigor: Rigor) -> Estimate | None:
        detected, either = self._hits + self._false, self._truths + self._false
        if metric in ('recall', 'precision', 'f1'):
            tried = {'recall': self._truths, 'precision': detected, 'f1': either}[metric]
            share = share_of_frames(
                self._hits, tried, rigor.confidence, rigor.least_time, rigor.strata)
            return _f1(share) if metric == 'f1' else share
        value = self._value(metric, self._result)
        if value is None or not rigor.bounded:
            return None if value is None else Estimate(value, None, None)
        return self._bounded(metric, value, rigor)

    def _value(self, metric: str, result: DetectionResult) -> float | None:
        settings, point = settings_of(self._spec), point_of(self._spec, metric)
        precision = result.ap_nuscenes if settings.distances else result.ap
        if point is not None:
            return precision(threshold=point)
        if metric == 'map':
            return _mean([precision(threshold=one) for one in settings.thresholds])
        if metric == 'ar':
            return _mean([result.ar(threshold=one) for one in settings.thresholds])
        calibrated = result.calibration(BINS, threshold=threshold_of(self._spec))
        return None if calibrated is None else calibrated.error

    def _bounded(self, metric: str, value: float, rigor: Rigor) -> Estimate:
        excess = rigor.excess(self._errors, self._tried)
        # Resampled is the area under the whole curve, of which nuScenes leaves out a part.
        threshold = None if settings_of(self._spec).distances else point_of(self._spec, metric)
        resamples = min(RESAMPLES, MOST_RESAMPLED // max(1, self._result.rows))
        if threshold is not None and resamples >= RESAMPLES // 2:
            block = max(ceil(rigor.least_time), block_length(excess))
            got = self._result.ap_bounds(
                rigor.confidence.level, threshold=threshold, resamples=resamples, block=block)
        else:
            got = jackknife_bounds(
                lambda chosen: self._value(metric, self._result.part(chosen)),
                len(excess), rigor.confidence.level, share=True,
                effective=rigor.effective(excess))
        return got or Estimate(value, None, None)


def _f1(overlap: Estimate | None) -> Estimate | None:
    """Return F1 from hits / (hits + false + missed), of which it is a growing function."""
    if overlap is None:
        return None
    low, high = (None if one is None else 2 * one / (1 + one)
                 for one in (overlap.low, overlap.high))
    return Estimate(2 * overlap.value / (1 + overlap.value), low, high)


def _mean(values: list[float | None]) -> float | None:
    known = [one for one in values if one is not None]
    return float(np.mean(known)) if known else None
