"""Accuracy of classifiers: one message, one sample."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from robot_qa.errors import RobotQaError
from robot_qa.messages.typestore import TypeStore
from robot_qa.monitors.accuracy_task import (
    Asked,
    Bools,
    Growing,
    Remark,
    Rigor,
    Score,
    jackknifed,
    worst_frames,
)
from robot_qa.monitors.mapped_messages import Mapped
from robot_qa.monitors.objects_from_messages import Decoders, Names, Raw
from robot_qa.monitors.pairing import Pair
from robot_qa.perception.breakdown import BINS, OTHER, Breakdown
from robot_qa.perception.calibration import Calibration, calibration
from robot_qa.perception.classification import Classification, ClassificationScores
from robot_qa.perception.confidence import share_of_frames
from robot_qa.perception.objects import Floats, Ints

MOST_FRAMES = 2_000_000
# How many of the surest classes count, by the name of the metric.
TOPS = {f'top_{n}': n for n in range(2, 11)}
TRUE, FIRST, BEFORE, SCORE = range(4)


class ClassificationTask:
    """vision_msgs/msg/Classification against the same; the truth is its surest class."""

    def __init__(self, spec: Any, asked: list[Asked], store: TypeStore) -> None:
        self.frames = 0
        self.left_out = 0
        self._spec = spec
        self._decoders = Decoders(store)
        self._mapped = Mapped(store, spec.fields) if spec.fields else None
        self._mapped_truth = Mapped(store, spec.truth_fields) if spec.truth_fields else None
        self._names = Names(spec.classes, spec.labels, spec.predicted_labels)
        self._samples = Growing(4)

    def add(self, pair: Pair[Raw]) -> None:
        """Take the next sample."""
        if self.frames >= MOST_FRAMES:
            self.left_out += 1
            return
        count = len(self._spec.classes)
        truth = self._scores(pair.before.content, self._names.of_truth, self._mapped_truth)
        if np.isnan(truth).all():
            raise RobotQaError('the truth is none of the classes')
        true = int(np.nanargmax(truth))
        scores = self._scores(
            pair.prediction.content, self._names.of_predictions, self._mapped)
        one = Classification(count, (1,))
        before = one.add_frame(scores[None], np.array([true]))
        first = int(one.matrix[true].argmax())
        sure = scores[first] if first < count else np.nan
        self._samples.append([true, first, float(before[0]), float(sure)])
        self.frames += 1

    def flush(self) -> None:
        """Do nothing: every sample is evaluated as it comes."""

    def _scores(
        self, raw: Raw, numbered: Callable[[list[str]], Ints], mapped: Mapped | None
    ) -> Floats:
        """Return the score of each class, NaN for one without; (classes,)."""
        scores = np.full(len(self._spec.classes), np.nan)
        given = mapped.scores(raw) if mapped else [
            (str(one.class_id), one.score) for one in self._decoders.read(raw).results]
        numbers = numbered([name for name, _ in given])
        for number, (_, score) in zip(numbers.tolist(), given, strict=True):
            if not np.isfinite(score):
                raise RobotQaError('a score is not a finite number')
            if number >= 0:
                scores[number] = np.fmax(scores[number], score)
        return scores

    def _of(self, asked: Asked, chosen: Bools) -> Bools:
        """Return which samples count: the chosen ones, of the true classes that are asked for."""
        if asked.where is not None and asked.where.class_ is not None:
            numbers = self._names.numbers(asked.where.class_, {})
            return chosen & np.isin(self._samples.rows[:, TRUE], numbers)
        return chosen

    def score(self, asked: Asked, chosen: Bools, rigor: Rigor) -> Score:
        """Return a metric over the chosen samples."""
        score = self._score(asked, chosen, rigor)
        return replace(score, reason=score.reason or self._names.doubt())

    def _score(self, asked: Asked, chosen: Bools, rigor: Rigor) -> Score:
        some = self._of(asked, chosen)
        samples = self._samples.rows[some]
        if not len(samples):
            return Score.none('there was no such sample')
        wrong = (samples[:, TRUE] != samples[:, FIRST]).astype(np.float64)
        if asked.metric == 'accuracy' or asked.metric in TOPS:
            within = min(TOPS.get(asked.metric, 1), len(self._spec.classes))
            right = (samples[:, BEFORE] < within).astype(np.int64)
            strata = None if rigor.strata is None else rigor.strata[some[chosen]]
            got = share_of_frames(right, np.ones(len(right), np.int64), rigor.confidence,
                                  rigor.least_time, strata)
            assert got is not None
            effective = rigor.effective(
                rigor.excess((1 - right).astype(np.float64), frames=some[chosen]))
            return Score(got.value, got.low, got.high, len(samples), effective)
        value = _calibration_error if asked.metric == 'ece' else partial(self._mean, asked.metric)
        try:
            return jackknifed(lambda part: value(samples[part]),
                              rigor.excess(wrong, frames=some[chosen]), rigor, share=True)
        except RobotQaError as error:
            return Score.none(str(error), len(samples))

    def _mean(self, metric: str, samples: Floats) -> float | None:
        scores = ClassificationScores.of(self._matrix(samples), {})
        value: float | None = getattr(scores, f'mean_{metric}')
        return value

    def _matrix(self, samples: Floats) -> Ints:
        count = len(self._spec.classes)
        cells = (samples[:, TRUE] * (count + 1) + samples[:, FIRST]).astype(np.int64)
        return np.bincount(cells, minlength=count * (count + 1)).reshape(count, count + 1)

    def breakdown(self, asked: Asked, chosen: Bools) -> Breakdown:
        """Return how many samples of each class were taken for which."""
        samples = self._samples.rows[self._of(asked, chosen)]
        names = tuple(self._names.names)
        try:
            calibrated = _calibration(samples)
        except RobotQaError:  # scores that are no chances; a limit on "ece" says so
            calibrated = None
        return Breakdown(names, (*names, OTHER), self._matrix(samples), calibrated)

    def remarks(self, asked: Asked, chosen: Bools, stamps: Ints) -> list[Remark]:
        """Return the first samples that were taken for another class."""
        samples = self._samples.rows
        within = TOPS.get(asked.metric, 1)
        wrong = (samples[:, BEFORE] >= within).astype(np.float64)
        return [
            Remark(place, 1.0, self._told(samples[place]))
            for place in worst_frames(wrong, self._of(asked, chosen), stamps)
        ]

    def _told(self, sample: Floats) -> str:
        first, before = int(sample[FIRST]), int(sample[BEFORE])
        count = len(self._spec.classes)
        taken = self._names[first] if first < count else 'none of the classes'
        rank = f'place {before + 1}' if before < count else 'without a score'
        return f'{self._names[int(sample[TRUE])]} taken for {taken}, {rank}'


def _calibration_error(samples: Floats) -> float | None:
    """Return by how much the score of the surest class is off as the chance that it is right."""
    calibrated = _calibration(samples)
    return None if calibrated is None else calibrated.error


def _calibration(samples: Floats) -> Calibration | None:
    scored = samples[~np.isnan(samples[:, SCORE])]
    if not len(scored):
        return None
    return calibration(scored[:, SCORE], scored[:, TRUE] == scored[:, FIRST], BINS)
