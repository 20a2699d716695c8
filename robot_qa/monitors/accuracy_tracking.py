"""Accuracy of trackers: ids of boxes in images against true ids."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from robot_qa.errors import RobotQaError
from robot_qa.messages.typestore import TypeStore
from robot_qa.monitors.accuracy_task import (
    LEAST_EFFECTIVE,
    Asked,
    Bools,
    Growing,
    Remark,
    Rigor,
    Score,
    jackknifed,
    worst_frames,
)
from robot_qa.monitors.detection_remarks import fitting
from robot_qa.monitors.mapped_messages import Mapped
from robot_qa.monitors.objects_from_messages import (
    Decoders,
    Names,
    Objects,
    Raw,
    between,
    objects_2d,
)
from robot_qa.monitors.pairing import Pair
from robot_qa.perception.boxes_2d import overlap
from robot_qa.perception.objects import Floats, Ints
from robot_qa.perception.tracking import FrameCounts, Tracking, TrackingScores

MOST_FRAMES = 100_000
# Ids with their class: a track keeps to one class.
Ids = list[tuple[int, str]]
TRUE, PREDICTED, MATCHED, SWITCHED, SIMILAR = range(5)


class TrackingTask:
    """Detection2DArray with ids against the same; only boxes of one class are matched."""

    def __init__(self, spec: Any, asked: list[Asked], store: TypeStore) -> None:
        self.frames = 0
        self.left_out = 0
        self._spec = spec
        self._decoders = Decoders(store)
        self._mapped = Mapped(store, spec.fields) if spec.fields else None
        self._mapped_truth = Mapped(store, spec.truth_fields) if spec.truth_fields else None
        self._names = Names(spec.classes, spec.labels, spec.predicted_labels)
        self._whole = Tracking(spec.iou)
        self._counts = Growing(5)
        self._kept: list[tuple[Ids, Ids, Floats]] = []
        # Scores that need whole tracks, by the frames they are about.
        self._scores: dict[bytes, TrackingScores] = {}

    def add(self, pair: Pair[Raw]) -> None:
        """Evaluate the next frame."""
        if self.frames >= MOST_FRAMES:
            self.left_out += 1
            return
        frame = self._frame(self._objects(pair.prediction.content, self._mapped),
                            self._truth(pair))
        counted: FrameCounts = self._whole.add_frame(*frame)
        self._kept.append(frame)
        self._counts.append([counted.truth, counted.predictions, counted.matches,
                             counted.switches, counted.similarity])
        self.frames += 1
        self._scores.clear()

    def flush(self) -> None:
        """Do nothing: every frame is evaluated as it comes."""

    def _objects(self, raw: Raw, mapped: Mapped | None) -> Objects:
        return mapped.objects(raw) if mapped else objects_2d(self._decoders.read(raw))

    def _truth(self, pair: Pair[Raw]) -> Objects:
        before = self._objects(pair.before.content, self._mapped_truth)
        if pair.after is pair.before:
            return before
        after = self._objects(pair.after.content, self._mapped_truth)
        span = pair.after.stamp_ns - pair.before.stamp_ns
        return between(before, after, (pair.prediction.stamp_ns - pair.before.stamp_ns) / span)

    def _frame(self, predicted: Objects, true: Objects) -> tuple[Ids, Ids, Floats]:
        """Return true ids, predicted ids and how similar their boxes are; (n, m)."""
        spec = self._spec
        if '' in true.ids or '' in predicted.ids:
            whose = 'true' if '' in true.ids else 'predicted'
            raise RobotQaError(f'a {whose} object has no id, which tracking needs')
        labels = self._names.of_truth(true.names)
        found = self._names.of_predictions(predicted.names)
        rows, columns = np.indices((len(true), len(predicted))).reshape(2, -1)
        boxes = overlap(predicted.boxes[columns], true.boxes[rows], np.zeros(len(rows), bool))
        similar = np.where(labels[rows] == found[columns], boxes, 0.0)
        similar = np.minimum(similar.reshape(len(true), len(predicted)), 1.0)
        ignored = fitting(spec.ignore, true, labels, self._names)
        near = similar >= spec.iou
        # What was found of an ignored object, and of no other, is ignored as well.
        excused = near[ignored].any(axis=0) & ~near[~ignored].any(axis=0)
        kept = np.flatnonzero((labels >= 0) & ~ignored)
        taken = np.flatnonzero((found >= 0) & (predicted.scores >= spec.score) & ~excused)
        return (
            [(int(labels[row]), true.ids[row]) for row in kept.tolist()],
            [(int(found[row]), predicted.ids[row]) for row in taken.tolist()],
            similar[np.ix_(kept, taken)],
        )

    def score(self, asked: Asked, chosen: Bools, rigor: Rigor) -> Score:
        """Return a metric over the chosen frames, which are tracked as if they were all."""
        counts = self._counts.rows[chosen]
        if asked.metric in ('switches', 'fragmentations'):
            score = self._counted(asked.metric, counts, chosen, rigor)
        else:
            score = self._bounded(asked.metric, counts, chosen, rigor)
        return replace(score, reason=score.reason or self._names.doubt())

    def _counted(self, metric: str, counts: Floats, chosen: Bools, rigor: Rigor) -> Score:
        """Return how often something happened; where little was tracked, that proves nothing."""
        if not counts[:, TRUE].any():
            return Score.none('there was nothing to track', len(counts))
        value = float(counts[:, SWITCHED].sum())
        if metric == 'fragmentations':
            value = float(self._tracked(np.flatnonzero(chosen)).fragmentations)
        telling = int((counts[:, MATCHED] > 0).sum())
        effective = telling / rigor.least_time
        little = effective < LEAST_EFFECTIVE
        reason = (f'a true object was found in {telling} frames, worth {effective:.0f} '
                  f'independent ones; {LEAST_EFFECTIVE:.0f} are needed') if little else ''
        return Score(value, value, value, len(counts), effective, reason, exact=True)

    def _bounded(self, metric: str, counts: Floats, chosen: Bools, rigor: Rigor) -> Score:
        """Return a metric with bounds."""
        errors = rigor.excess(_errors(counts), counts[:, TRUE] + counts[:, PREDICTED])
        if metric == 'mota':
            return jackknifed(lambda some: _mota(counts[some]), errors, rigor, share=False)
        if metric == 'motp':
            return jackknifed(lambda some: _motp(counts[some]), errors, rigor, share=True)
        rows = np.flatnonzero(chosen)

        def tracked(some: Bools) -> float | None:
            value: float | None = getattr(self._tracked(rows[some]), metric)
            return value

        return jackknifed(tracked, errors, rigor, share=True)

    def _tracked(self, rows: Any) -> TrackingScores:
        """Return the scores of some frames, in their order."""
        key = rows.tobytes()
        if key not in self._scores:
            if len(rows) == self.frames:
                self._scores[key] = self._whole.result()
            else:
                part = Tracking(self._spec.iou)
                for row in rows.tolist():
                    part.add_frame(*self._kept[row])
                self._scores[key] = part.result()
        return self._scores[key]

    def breakdown(self, asked: Asked, chosen: Bools) -> None:
        """Return None: identities are no classes."""

    def remarks(self, asked: Asked, chosen: Bools, stamps: Ints) -> list[Remark]:
        """Return the frames with the most errors."""
        counts = self._counts.rows
        wrong = counts[:, SWITCHED] if asked.metric == 'switches' else _errors(counts)
        return [
            Remark(place, float(wrong[place]), _told(counts[place]))
            for place in worst_frames(wrong, chosen, stamps)
        ]


def _errors(counts: Floats) -> Floats:
    errors: Floats = (counts[:, TRUE] + counts[:, PREDICTED] - 2 * counts[:, MATCHED]
                      + counts[:, SWITCHED])
    return errors


def _mota(counts: Floats) -> float | None:
    true = float(counts[:, TRUE].sum())
    return 1.0 - float(_errors(counts).sum()) / true if true else None


def _motp(counts: Floats) -> float | None:
    matched = float(counts[:, MATCHED].sum())
    return float(counts[:, SIMILAR].sum()) / matched if matched else None


def _told(row: Floats) -> str:
    true, predicted, matched, switched, _ = row.astype(int).tolist()
    return (f'{true - matched} of {true} objects missed, {predicted - matched} where nothing is, '
            f'{switched} under another id than before')
