"""Accuracy of detections in images and in space, over all objects and over slices of them."""

from __future__ import annotations

import heapq
from dataclasses import replace
from typing import Any

import numpy as np

from robot_qa.errors import RobotQaError
from robot_qa.messages.typestore import TypeStore
from robot_qa.monitors.accuracy_task import (
    Asked,
    Bools,
    Remark,
    Rigor,
    Score,
    worst_frames,
)
from robot_qa.monitors.detection_remarks import Frame, fits, fitting, told
from robot_qa.monitors.detection_scores import Scorer, point_of, settings_of, threshold_of
from robot_qa.monitors.mapped_messages import Mapped
from robot_qa.monitors.objects_from_messages import (
    Decoders,
    Names,
    Objects,
    Raw,
    between,
    objects_2d,
    objects_3d,
)
from robot_qa.monitors.pairing import Pair
from robot_qa.perception.breakdown import BINS, MISSED, NOTHING, Breakdown
from robot_qa.perception.detection import Evaluator
from robot_qa.perception.detection_result import DetectionResult
from robot_qa.perception.objects import Detections, Ints, Truth
from robot_qa.perception.settings import IOUS
from robot_qa.spec.perception_parts import Where

EVERYTHING = 1e10
# Of all views together: detections take 40 bytes, true objects 16, twice that while they grow.
MOST_ROWS = 6_000_000
# So many of the worst frames are kept with all their boxes.
MOST_KEPT = 200
MOST_TOLD = 3


class View:
    """The evaluation of all objects, or of those that fit ``where``; the others are ignored."""

    def __init__(self, spec: Any, where: Where | None, metrics: set[str], names: Names) -> None:
        self._where = where
        self._spec = spec
        self._names = names
        self.unknown: dict[str, int] = {}
        points = (point_of(spec, one) for one in metrics)
        thresholds = {threshold_of(spec), *(one for one in points if one is not None)}
        base = settings_of(spec)
        if metrics & {'map', 'ar'}:
            thresholds |= set(base.thresholds)
        if spec.kind != 'detection_3d':
            base = replace(base, ranges={'all': self._sizes()}, max_detections=(100,))
        self.settings = replace(base, thresholds=_distinct(thresholds), score=spec.score,
                                threshold=threshold_of(spec))
        # The task sees to it that there are not too many.
        self.evaluator = Evaluator(self.settings, most_rows=2**62)

    def _sizes(self) -> tuple[float, float]:
        size = self._where.size if self._where else None
        if size is None:
            return 0.0, EVERYTHING
        return (0.0 if size.min is None else float(size.min),
                EVERYTHING if size.max is None else float(size.max))

    def add(self, frames: list[tuple[Detections, Truth, Frame]]) -> tuple[Ints, Ints, Ints]:
        """Evaluate frames; return the hits, the false detections and the objects of each."""
        detections, truths = [], []
        for found, true, frame in frames:
            kept, ignored = self._selected(true.labels), true.ignored
            if self._where is not None:
                inside, unknown = fits(self._where, frame.true)
                ignored = ignored | ~inside | unknown
                if lost := int((unknown & kept & ~true.ignored).sum()):
                    self.unknown['objects'] = self.unknown.get('objects', 0) + lost
            detections.append(found[self._selected(found.labels)])
            truths.append(replace(true, ignored=ignored)[kept])
        before = self.evaluator.frames
        self.evaluator.add_frames(
            len(frames), _joined_detections(detections), _frame_numbers(detections),
            _joined_truth(truths), _frame_numbers(truths))
        return self.evaluator.result_since(before).per_frame(self.settings.score)

    def _selected(self, labels: Ints) -> Bools:
        chosen = labels >= 0
        if self._where is not None and self._where.class_ is not None:
            chosen &= np.isin(labels, self._names.numbers(self._where.class_, {}))
        return chosen


def _distinct(thresholds: set[float]) -> tuple[float, ...]:
    """Return thresholds ascending, each only once although 0.6 may be written in two ways."""
    kept: list[float] = []
    for one in sorted(thresholds, key=lambda one: (round(one, 9), one not in IOUS)):
        if not kept or one - kept[-1] > 1e-9:
            kept.append(one)
    return tuple(kept)


def _frame_numbers(columns: list[Any]) -> Ints:
    return np.repeat(np.arange(len(columns)), [len(one) for one in columns])


def _joined_detections(parts: list[Detections]) -> Detections:
    return Detections(np.concatenate([one.boxes for one in parts]),
                      np.concatenate([one.labels for one in parts]),
                      np.concatenate([one.scores for one in parts]))


def _joined_truth(parts: list[Truth]) -> Truth:
    return Truth(*(np.concatenate([getattr(one, key) for one in parts])
                   for key in ('boxes', 'labels', 'crowd', 'ignored')))


class DetectionTask:
    """Detection2DArray or Detection3DArray against the same."""

    def __init__(self, spec: Any, asked: list[Asked], store: TypeStore) -> None:
        self.frames = 0
        self.left_out = 0
        self._rows_left = MOST_ROWS
        self._spec = spec
        self._read = objects_3d if spec.kind == 'detection_3d' else objects_2d
        self._decoder = Decoders(store)
        self._mapped = Mapped(store, spec.fields) if spec.fields else None
        self._mapped_truth = Mapped(store, spec.truth_fields) if spec.truth_fields else None
        self._names = Names(spec.classes, spec.labels, spec.predicted_labels)
        wanted: dict[str | None, set[str]] = {None: set()}
        wheres: dict[str | None, Where | None] = {None: None}
        for one in asked:
            wanted.setdefault(one.slice if one.where else None, set()).add(one.metric)
            wheres.setdefault(one.slice if one.where else None, one.where)
        for one in (*wheres.values(), *spec.ignore):
            # Now, so that their numbers do not depend on when the first frames come.
            self._names.numbers((one and one.class_) or (), {})
        self._views = {
            name: View(spec, wheres[name], metrics, self._names)
            for name, metrics in wanted.items()
        }
        self._errors: dict[str | None, list[Ints]] = {name: [] for name in self._views}
        self._pending: list[tuple[Detections, Truth, Frame]] = []
        self._kept: list[tuple[int, int, Frame]] = []
        self._results: dict[tuple[str | None, bytes], DetectionResult] = {}

    def add(self, pair: Pair[Raw]) -> None:
        """Decode a pair and keep it for `flush`."""
        predicted, frame_id = self._objects(pair.prediction.content, self._mapped)
        true, true_frame_id = self._truth(pair)
        if self._spec.kind == 'detection_3d' and frame_id != true_frame_id:
            raise RobotQaError(f'the boxes are in the frame "{frame_id}", the true ones in '
                               f'"{true_frame_id}"')
        spec = self._spec
        labels = self._names.of_truth(true.names)
        ignored = fitting(spec.ignore, true, labels, self._names)
        found = self._names.of_predictions(predicted.names)
        self._pending.append((
            Detections(predicted.boxes, found, predicted.scores),
            Truth(true.boxes, labels, np.zeros(len(true), bool), ignored),
            Frame(predicted, true),
        ))

    def _objects(self, raw: Raw, mapped: Mapped | None) -> tuple[Objects, str]:
        """Return the objects of a message, and the frame they are in."""
        if mapped is not None:
            return mapped.objects(raw), ''
        message = self._decoder.read(raw)
        return self._read(message), message.header.frame_id

    def _truth(self, pair: Pair[Raw]) -> tuple[Objects, str]:
        before, frame_id = self._objects(pair.before.content, self._mapped_truth)
        if pair.after is pair.before:
            return before, frame_id
        after, _ = self._objects(pair.after.content, self._mapped_truth)
        span = pair.after.stamp_ns - pair.before.stamp_ns
        part = (pair.prediction.stamp_ns - pair.before.stamp_ns) / span
        return between(before, after, part), frame_id

    def flush(self) -> None:
        """Evaluate what is pending."""
        if not self._pending:
            return
        room = 0
        for found, true, _ in self._pending:
            self._rows_left -= len(self._views) * (1 + len(found) + len(true))
            room += self._rows_left >= 0
        self.left_out += len(self._pending) - room
        self._pending = self._pending[:room]
        for name, view in self._views.items() if room else ():
            hits, false, truths = view.add(self._pending)
            self._errors[name].append(np.stack((hits, false, truths)))
            if name is None:
                self._keep(truths - hits + false)
        self.frames += room
        self._pending = []
        self._results.clear()

    def _keep(self, errors: Ints) -> None:
        """Keep the worst frames, of equals the earlier ones."""
        for place, wrong in enumerate(errors.tolist()):
            if wrong:
                entry = (wrong, -(self.frames + place), self._pending[place][2])
                if len(self._kept) < MOST_KEPT:
                    heapq.heappush(self._kept, entry)
                elif entry[:2] > self._kept[0][:2]:
                    heapq.heapreplace(self._kept, entry)

    def _of(self, asked: Asked) -> tuple[str | None, View, Ints]:
        name = asked.slice if asked.where else None
        parts = self._errors[name]
        if len(parts) > 1:
            self._errors[name] = parts = [np.concatenate(parts, axis=1)]
        return name, self._views[name], parts[0] if parts else np.zeros((3, 0), np.int64)

    def score(self, asked: Asked, chosen: Bools, rigor: Rigor) -> Score:
        """Return a metric over the chosen frames."""
        name, view, errors = self._of(asked)
        if view.unknown:
            lost = view.unknown['objects']
            keys = ' and '.join(sorted(asked.where.model_fields_set if asked.where else ()))
            return Score.none(f'the truth does not tell the {keys} of {lost} objects',
                              int(chosen.sum()))
        hits, false, truths = errors[:, chosen]
        score = Scorer(self._spec, self._result(name, chosen), hits, false, truths).score(
            asked.metric, rigor)
        return replace(score, reason=score.reason or self._names.doubt())

    def _result(self, name: str | None, chosen: Bools) -> DetectionResult:
        key = (name, np.packbits(chosen).tobytes())
        if key not in self._results:
            self._results[key] = self._views[name].evaluator.result(chosen)
        return self._results[key]

    def breakdown(self, asked: Asked, chosen: Bools) -> Breakdown:
        """Return which objects were taken for which, those missed and those that are not there."""
        result = self._result(asked.slice if asked.where else None, chosen)
        confusion = result.confusion()
        names = [self._names[number] for number in confusion.labels.tolist()]
        try:
            calibrated = result.calibration(BINS, threshold=threshold_of(self._spec))
        except RobotQaError:  # scores that are no chances; a limit on "ece" says so
            calibrated = None
        return Breakdown((*names, NOTHING), (*names, MISSED), confusion.counts, calibrated)

    def remarks(self, asked: Asked, chosen: Bools, stamps: Ints) -> list[Remark]:
        """Return the worst frames, with what was missed and what is not there."""
        _, _, errors = self._of(asked)
        hits, false, truths = errors
        weight = {'recall': (1, 0), 'ar': (1, 0), 'precision': (0, 1), 'ece': (0, 1)}
        misses, lies = weight.get(asked.metric, (1, 1))
        wrong = misses * (truths - hits) + lies * false
        kept = {-place: frame for _, place, frame in self._kept}
        found = []
        for place in worst_frames(wrong.astype(np.float64), chosen, stamps):
            counted = (f'{truths[place] - hits[place]} of {truths[place]} objects missed, '
                       f'{false[place]} detections where nothing is')
            frame = kept.get(place)
            texts = told(self._spec, self._names, frame, asked.where) if frame else []
            more = [f'and {len(texts) - MOST_TOLD} more'] if len(texts) > MOST_TOLD else []
            text = '; '.join([*texts[:MOST_TOLD], *more]) or counted
            found.append(Remark(place, float(wrong[place]), text))
        return found
