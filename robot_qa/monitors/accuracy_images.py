"""Accuracy of depth images and label images, pixel by pixel."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

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
from robot_qa.monitors.objects_from_messages import Decoders, Image, Raw, image
from robot_qa.monitors.pairing import Pair
from robot_qa.perception.breakdown import OTHER, Breakdown
from robot_qa.perception.depth import Depth, DepthScores, DepthSums, metres
from robot_qa.perception.objects import Floats, Ints
from robot_qa.perception.segmentation import Segmentation, SegmentationScores

MOST_FRAMES = 200_000
# Metrics of depths of fewer pixels are not trusted where "coverage" has no limit.
LEAST_COVERAGE = 0.5
# From the name of a metric to that of the score.
DEPTH_SCORES = {
    'abs_rel': 'absolute_relative', 'sq_rel': 'squared_relative', 'rmse': 'rmse',
    'log_rmse': 'log_rmse', 'silog': 'scale_invariant', 'coverage': 'coverage',
}


class _ImageTask:
    """What both have in common: one row of additive numbers by frame and slice."""

    def __init__(self, spec: Any, asked: list[Asked], store: TypeStore, columns: int) -> None:
        self.frames = 0
        self.left_out = 0
        self._spec = spec
        self._decoders = Decoders(store)
        self._wheres = {one.slice if one.where else None: one.where for one in asked}
        self._wheres.setdefault(None, None)
        self._rows = {name: Growing(columns) for name in self._wheres}

    def add(self, pair: Pair[Raw]) -> None:
        """Evaluate the next pair of images."""
        if self.frames >= MOST_FRAMES:
            self.left_out += 1
            return
        predicted = image(self._decoders.read(pair.prediction.content))
        true = image(self._decoders.read(pair.before.content))
        # All rows first: an image that cannot be evaluated leaves nothing behind.
        rows = {name: self._row(predicted, true, where) for name, where in self._wheres.items()}
        for name, row in rows.items():
            self._rows[name].append(row)
        self.frames += 1

    def flush(self) -> None:
        """Do nothing: every frame is evaluated as it comes."""

    def breakdown(self, asked: Asked, chosen: Bools) -> Breakdown | None:
        """Return None: depths are no classes."""
        return None

    def _row(self, predicted: Image, true: Image, where: Any) -> Floats:
        raise NotImplementedError

    def _value(self, metric: str, rows: Floats, where: Any) -> float | None:
        raise NotImplementedError

    def _of(self, asked: Asked) -> tuple[Floats, Floats]:
        """Return the rows of all frames, and the metric of each frame by itself."""
        rows = self._rows[asked.slice if asked.where else None].rows
        alone = [self._value(asked.metric, row[None], asked.where) for row in rows]
        return rows, np.array([np.nan if one is None else one for one in alone])

    def score(self, asked: Asked, chosen: Bools, rigor: Rigor) -> Score:
        """Return a metric over the chosen frames."""
        rows, alone = self._of(asked)
        rows, alone = rows[chosen], alone[chosen]
        known = ~np.isnan(alone)
        if not known.any():
            return Score.none('the truth has no such pixel', len(rows))
        rows, alone = rows[known], alone[known]
        share = asked.metric not in DEPTH_SCORES or asked.metric == 'coverage'
        return jackknifed(lambda some: self._value(asked.metric, rows[some], asked.where),
                          rigor.excess(alone, frames=known), rigor, share=share)

    def remarks(self, asked: Asked, chosen: Bools, stamps: Ints) -> list[Remark]:
        """Return the worst frames."""
        _, alone = self._of(asked)
        lower = asked.metric in DEPTH_SCORES and asked.metric != 'coverage'
        return [
            Remark(place, float(alone[place]), f'{asked.metric} {alone[place]:.3g}')
            for place in worst_frames(alone if lower else 1.0 - alone, chosen, stamps)
        ]


class DepthTask(_ImageTask):
    """16UC1 and 32FC1 images against either of them."""

    def __init__(self, spec: Any, asked: list[Asked], store: TypeStore) -> None:
        super().__init__(spec, asked, store, 10)
        self._covers = any(one.metric == 'coverage' for one in asked)

    def score(self, asked: Asked, chosen: Bools, rigor: Rigor) -> Score:
        """Return a metric over the chosen frames; of few pixels it keeps no limit."""
        score = super().score(asked, chosen, rigor)
        if self._covers or score.value is None:
            return score
        rows = self._rows[asked.slice if asked.where else None].rows[chosen]
        covered = DepthScores.of(_sum(rows)).coverage or 0.0
        if covered >= LEAST_COVERAGE:
            return score
        return replace(score, reason=(
            f'only {100 * covered:.2g} % of the pixels with a true depth have a predicted one; '
            'limit "coverage" as well to have the others judged'))

    def _row(self, predicted: Image, true: Image, where: Any) -> Floats:
        spec = self._spec
        depth = Depth(spec.nearest, np.inf if spec.farthest is None else spec.farthest)
        truth, valid = metres(true), None
        if where is not None:
            low, high = where.distance.min, where.distance.max
            valid = (truth >= (low or 0.0)) & (truth <= (np.inf if high is None else high))
        one = depth.add_frame(metres(predicted), truth, valid)
        return np.array([one.true, one.both, one.relative, one.squared_relative, one.squared,
                         *one.within, one.log_mean, one.log_spread])

    def _value(self, metric: str, rows: Floats, where: Any) -> float | None:
        scores = DepthScores.of(_sum(rows))
        if metric.startswith('delta_'):
            return scores.delta[int(metric[-1]) - 1]
        value: float | None = getattr(scores, DEPTH_SCORES[metric])
        return value


def _sum(rows: Floats) -> DepthSums:
    """Return the sums over frames; the deviations as in `DepthSums`, of all frames at once."""
    total = rows.sum(axis=0)
    both = rows[:, 1]
    mean = float((both * rows[:, 8]).sum() / total[1]) if total[1] else 0.0
    spread = float(total[9] + (both * (rows[:, 8] - mean) ** 2).sum())
    one, two, three = (int(one) for one in total[5:8])
    return DepthSums(int(total[0]), int(total[1]), float(total[2]), float(total[3]),
                     float(total[4]), (one, two, three), mean, spread)


class SegmentationTask(_ImageTask):
    """Label images against true ones."""

    def __init__(self, spec: Any, asked: list[Asked], store: TypeStore) -> None:
        self._labels = sorted(int(label) for label in spec.classes)
        self._names = [spec.classes[str(label)] for label in self._labels]
        self._classes = len(self._labels)
        super().__init__(spec, asked, store, self._classes * (self._classes + 1))

    def _row(self, predicted: Image, true: Image, where: Any) -> Floats:
        task = Segmentation(self._classes, [-1])
        ignored = np.isin(true, self._spec.ignore)
        numbers = np.where(ignored, -1, _numbers(true, self._labels, self._classes))
        task.add_frame(_numbers(predicted, self._labels, -2), numbers)
        return task.matrix.ravel().astype(np.float64)

    def breakdown(self, asked: Asked, chosen: Bools) -> Breakdown:
        """Return how many pixels of each class were taken for which."""
        matrix = self._matrix(self._rows[asked.slice if asked.where else None].rows[chosen])
        wanted = asked.where.class_ if asked.where is not None else None
        some = [place for place, name in enumerate(self._names)
                if wanted is None or name in wanted]
        true = tuple(self._names[place] for place in some)
        return Breakdown(true, (*self._names, OTHER), matrix[some])

    def _matrix(self, rows: Floats) -> Ints:
        counts: Ints = rows.sum(axis=0).astype(np.int64)
        return counts.reshape(self._classes, self._classes + 1)

    def _value(self, metric: str, rows: Floats, where: Any) -> float | None:
        matrix = self._matrix(rows)
        if where is not None:
            return self._of_classes(metric, matrix, where)
        scores = SegmentationScores.of(matrix)
        value: float | None = getattr(scores, metric)
        return value

    def _of_classes(self, metric: str, matrix: Any, where: Any) -> float | None:
        """Return the mean over some classes, or the share of their true pixels that are right."""
        some = [place for place, name in enumerate(self._names) if name in where.class_]
        if metric == 'pixel_accuracy':
            there = int(matrix[some].sum())
            return int(matrix[some, some].sum()) / there if there else None
        scores = SegmentationScores.of(matrix)
        each = scores.iou if metric == 'mean_iou' else scores.dice
        known = [value for value in (each[place] for place in some) if value is not None]
        return float(np.mean(known)) if known else None


def _numbers(labels: Image, known: list[int], other: int) -> Any:
    """Return the place of each label among the known ones, ``other`` for any other."""
    place = np.searchsorted(known, labels)
    found = np.asarray(known)[np.minimum(place, len(known) - 1)] == labels
    return np.where(found, place, other)
