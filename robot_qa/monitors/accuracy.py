"""Accuracy of predictions: pairs them with the truth and scores them, slice by slice."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from robot_qa.errors import MessageError, RobotQaError
from robot_qa.messages.typestore import TypeStore
from robot_qa.monitors.accuracy_classes import ClassificationTask
from robot_qa.monitors.accuracy_detection import DetectionTask
from robot_qa.monitors.accuracy_images import DepthTask, SegmentationTask
from robot_qa.monitors.accuracy_judging import Scores, wanted_checks
from robot_qa.monitors.accuracy_poses import PoseTask
from robot_qa.monitors.accuracy_task import Asked, Bools, Rigor, Score, Task
from robot_qa.monitors.accuracy_tracking import TrackingTask
from robot_qa.monitors.base import (
    EVIDENCE_KEPT,
    Check,
    Column,
    Context,
    Evidence,
    Limit,
    Measurement,
    Monitor,
    missing,
)
from robot_qa.monitors.objects_from_messages import Raw
from robot_qa.monitors.pairing import (
    PREDICTION,
    TRUTH,
    Pair,
    Sample,
    Side,
    received_within,
)
from robot_qa.monitors.pairing_rules import pairing_of
from robot_qa.monitors.scenario_slices import JOURNAL, ScenarioSlices
from robot_qa.monitors.stamps import HeaderStamps
from robot_qa.perception.breakdown import Explained
from robot_qa.probes.batch import Batch, Int64s, Observation
from robot_qa.spec.model import TestSpec
from robot_qa.spec.perception import NOMINAL, Accuracy
from robot_qa.spec.perception_parts import TYPES
from robot_qa.stats import Confidence
from robot_qa.timebase import NS_PER_S

TaskFactory = Callable[[Any, list[Asked], TypeStore], Task]
TASKS: dict[str, TaskFactory] = {
    'detection_2d': DetectionTask,
    'detection_3d': DetectionTask,
    'tracking': TrackingTask,
    'odometry': PoseTask,
    'localisation': PoseTask,
    'depth': DepthTask,
    'classification': ClassificationTask,
    'segmentation': SegmentationTask,
}
AT_THE_ENDS = 'no true message came but at the ends of the run'
UNANSWERED = ('true messages without a prediction; where that is by design, "unanswered" allows '
              'for more')
# What waits for its counterpart may take so much memory.
MOST_BYTES = 256 * 2**20


def accuracy_monitors(spec: TestSpec, context: Context) -> list[Monitor]:
    """Return the monitors of a spec's ``perception:`` block."""
    return [AccuracyMonitor(name, one, spec, context) for name, one in spec.perception.items()]


class AccuracyMonitor:
    """One source of predictions against its truth."""

    def __init__(self, name: str, spec: Accuracy, whole: TestSpec, context: Context) -> None:
        self.kind = spec.kind
        self._name = name
        self._spec: Any = spec
        self._context = context
        self._slices = ScenarioSlices(whole.scenario, context.clock)
        self._wanted = list(wanted_checks(f'perception.{name}', spec, self._slices.labels))
        self._shares = list(_share_checks(f'perception.{name}', spec))
        self.checks = [*(one.check for one in self._wanted), *self._shares]
        self.topics = [spec.predictions, spec.truth]
        if self._slices.labels:
            self.topics.append(JOURNAL)
        self._pairing = pairing_of(spec.association)
        self._stamps = {
            topic: HeaderStamps(context, fields.get('stamp', 'header.stamp'))
            for topic, fields in (
                (spec.predictions, spec.fields), (spec.truth, spec.truth_fields))
        }
        self._received = [0, 0]
        # When predictions were received that cannot be decoded, or that cannot be evaluated.
        self._malformed, self._invalid = array('q'), array('q')
        self._invalid_evidence: list[Evidence] = []
        self._task: Task | None = None
        # Of each evaluated frame: the prediction's header stamp, and when it was received.
        self._frame_stamps, self._frame_received = Column(), Column()

    def update(self, batch: Batch) -> None:
        """Take predictions, truth, or what the scenario did."""
        if batch.topic == JOURNAL:
            self._slices.update(batch)
            return
        self._check_type(batch)
        side: Side = PREDICTION if batch.topic == self._spec.predictions else TRUTH
        self._received[side] += len(batch)
        stamps, rows = self._stamps[batch.topic].read(batch)
        if side == PREDICTION and len(rows) < len(batch):
            for row in np.setdiff1d(np.arange(len(batch)), rows).tolist():
                self._malformed.append(int(batch.received_ns[row]))
                self._refuse(0, self._malformed[-1], 'the message is malformed')
        largest = int(batch.payloads.lengths.max(initial=1))
        self._pairing.most_waiting = min(self._pairing.most_waiting, 1 + MOST_BYTES // largest)
        kept: list[tuple[int, int]] = []
        for stamp, row in zip(stamps.tolist(), rows.tolist(), strict=True):
            # Bytes of its own, which do not keep the rest of the batch alive.
            sample = Sample(
                stamp, int(batch.received_ns[row]), Raw(batch.type, bytes(batch.payloads[row])))
            for pair in self._pairing.add(side, sample):
                self._evaluate(pair, kept)
        self._finish(kept)

    def _check_type(self, batch: Batch) -> None:
        spec = self._spec
        mapped = spec.fields if batch.topic == spec.predictions else spec.truth_fields
        if not mapped and batch.type not in TYPES[spec.kind]:
            raise RobotQaError(
                f'{batch.topic} is a {batch.type}; the task {spec.kind} reads '
                f'{" or ".join(TYPES[spec.kind])}')
        if self._task is None:
            asked = [Asked(one.metric, self._where(name), name)
                     for one in self._wanted for name in (*one.slices, one.base)]
            self._task = TASKS[self._spec.kind](self._spec, asked, self._context.store)

    def _evaluate(self, pair: Pair[Raw], kept: list[tuple[int, int]]) -> None:
        assert self._task is not None
        try:
            self._task.add(pair)
        except (RobotQaError, MessageError) as error:
            self._refuse(pair.prediction.stamp_ns, pair.prediction.received_ns, str(error))
            return
        kept.append((pair.prediction.stamp_ns, pair.prediction.received_ns))

    def _refuse(self, stamp: int, received: int, why: str) -> None:
        self._invalid.append(received)
        if len(self._invalid_evidence) < EVIDENCE_KEPT:
            text = f'frame {_seconds(stamp)} cannot be evaluated: {why}'
            self._invalid_evidence.append(Evidence(received, None, text))

    def _finish(self, kept: list[tuple[int, int]]) -> None:
        """Evaluate what came, and note the stamps of what there was room for."""
        if self._task is None:
            return
        self._task.flush()
        new = self._task.frames - len(self._frame_stamps)
        room = np.array(kept[:new], np.int64).reshape(-1, 2)
        self._frame_stamps.extend(room[:, 0])
        self._frame_received.extend(room[:, 1])

    def _where(self, name: str | None) -> Any:
        part = self._spec.slices.get(name) if name is not None else None
        return part.where if part is not None else None

    def measure(self, seen: Observation) -> list[Measurement]:
        """Return how things stand; where bounds are costly, without bounds."""
        return self._measure(seen, bounded=False)

    def measure_at_end(self, seen: Observation) -> list[Measurement]:
        """Return the measurements with their bounds."""
        return self._measure(seen, bounded=True)

    def _measure(self, seen: Observation, bounded: bool) -> list[Measurement]:
        lacking = self._why_nothing(seen)
        if lacking is not None:
            metrics = [missing(one.check, self._count(), lacking) for one in self._wanted]
        else:
            scores = Scores(self, bounded)
            metrics = [scores.measurement(one) for one in self._wanted]
        return [*metrics, *(self._share(check, lacking, seen) for check in self._shares)]

    def _count(self) -> int:
        return len(self._frame_stamps)

    def _why_nothing(self, seen: Observation) -> str | None:
        """Say why no frame could be evaluated; an empty text stands for no predictions."""
        if self._count():
            return None
        for topic, count, what in (
            (self._spec.predictions, self._received[PREDICTION], ''),
            (self._spec.truth, self._received[TRUTH], f'no truth came on {self._spec.truth}'),
        ):
            if not count:
                notes = '; '.join(seen.notes.get(topic, ()))
                return f'{what}: {notes}' if what and notes else what
        if self._invalid:
            return f'no frame could be evaluated; first: {self._invalid_evidence[0].text}'
        return (f'none of {self._received[PREDICTION]} predictions and '
                f'{self._received[TRUTH]} true messages belong together by their header stamps')

    def _share(self, check: Check, lacking: str | None, seen: Observation) -> Measurement:
        """Return a share of messages; it is counted, so it needs no bounds."""
        unpaired = self._pairing.unpaired(seen.start_ns, seen.end_ns)
        if check.name.endswith('.left_out.max'):
            left = self._task.left_out if self._task else 0
            last = self.last_received_ns
            told = [Evidence(last, left, f'{left} pairs left out')] if left else []
            return _counted(check, left, self._count() + left, lacking or '', told)
        if check.name.endswith('.unanswered.max'):
            total = unpaired.truths + unpaired.paired_truths
            measured = _counted(check, unpaired.truths, total, lacking or AT_THE_ENDS,
                                self._alone(TRUTH, seen))
            by_us = 'unanswered' not in self._spec.model_fields_set
            return replace(measured, reason=UNANSWERED if by_us and measured.violations else
                           measured.reason)
        inner = self._pairing.inner(seen.start_ns, seen.end_ns)
        malformed, invalid = (
            received_within(one, inner) for one in (self._malformed, self._invalid))
        total = unpaired.predictions + unpaired.pairs + malformed
        told = [*self._invalid_evidence, *self._alone(PREDICTION, seen)][:EVIDENCE_KEPT]
        return _counted(check, unpaired.predictions + invalid, total, lacking or (
            'no prediction came but at the ends of the run'), told)

    def _alone(self, side: Side, seen: Observation) -> list[Evidence]:
        """Return the first messages of a side without a counterpart."""
        return [
            Evidence(received, None, f'frame {_seconds(stamp)}: {why}')
            for stamp, received, why in self._pairing.first_lonely(
                side, seen.start_ns, seen.end_ns)
        ]

    def chosen(self, name: str | None) -> Bools:
        """Return which frames belong to a slice; (frames,)."""
        stamps = self._frame_stamps.values
        if name is None or self._where(name) is not None:
            return np.ones(len(stamps), bool)
        return self._slices.frames_of(name, stamps)

    def _strata(self) -> Int64s:
        """Return to which part of the scenario each frame belongs; (frames,)."""
        stamps = self._frame_stamps.values
        strata = np.where(self._slices.frames_of(NOMINAL, stamps), 0, -1)
        for number, label in enumerate(self._slices.labels, start=1):
            strata[self._slices.frames_of(label, stamps)] = number
        return strata

    def score(
        self, metric: str, name: str | None, confidence: Confidence, bounded: bool
    ) -> Score:
        """Return a metric in a slice."""
        assert self._task is not None
        chosen = self.chosen(name)
        if not chosen.any():
            return Score.none(self._slices.why_none(name or NOMINAL))
        asked = Asked(metric, self._where(name), name)
        steps = np.diff(self._frame_stamps.values[chosen])
        period = float(np.median(steps)) if len(steps) else 0.0
        least = max(1.0, self._spec.alike / period) if period > 0.0 else 1.0
        rigor = Rigor(confidence, least, bounded, self._strata()[chosen])
        return self._task.score(asked, chosen, rigor).trusted()

    def evidence(self, metric: str, name: str | None) -> tuple[Evidence, ...]:
        """Return the worst frames of a slice."""
        assert self._task is not None
        received, stamps = self._frame_received.values, self._frame_stamps.values
        asked = Asked(metric, self._where(name), name)
        return tuple(
            Evidence(int(received[one.frame]), one.value,
                     f'frame {_seconds(int(stamps[one.frame]))}: {one.text}')
            for one in self._task.remarks(asked, self.chosen(name), stamps)
        )

    def breakdowns(self) -> Iterator[Explained]:
        """Yield what is behind the metrics of all frames, and of each slice that is asked for."""
        if self._task is None:
            return
        for name in dict.fromkeys(one for wanted in self._wanted
                                  for one in (None, *wanted.slices, wanted.base)):
            chosen = self.chosen(name)
            asked = Asked('', self._where(name), name)
            if chosen.any() and (found := self._task.breakdown(asked, chosen)) is not None:
                yield Explained(self._name, name, int(chosen.sum()), found)

    @property
    def last_received_ns(self) -> int:
        """When the last evaluated prediction was received, system clock; 0 if there is none."""
        received = self._frame_received.values
        return int(received[-1]) if len(received) else 0

    @property
    def confidence(self) -> Confidence:
        """How sure bounds have to be."""
        return self._context.confidence


def _counted(
    check: Check, part: int, total: int, lacking: str, told: list[Evidence] | None = None
) -> Measurement:
    """Return the measurement of a share of messages."""
    if not total:
        return missing(check, 0, lacking)
    share = part / total
    over = part if share > check.limit.value else 0
    return Measurement(check, share, share, share, total, evidence=tuple(told or ()),
                       violations=over)


def _share_checks(name: str, spec: Any) -> Iterator[Check]:
    for key in ('unmatched', 'unanswered', 'left_out'):
        limits = getattr(spec, key)
        if limits is not None:
            yield Check(f'{name}.{key}.max', spec.predictions, Limit('max', limits.max), 'ratio')


def _seconds(stamp_ns: int) -> str:
    return f'{stamp_ns // NS_PER_S}.{stamp_ns % NS_PER_S // 1_000_000:03d}'
