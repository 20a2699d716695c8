"""Accuracy of odometry and localisation: estimated poses against true ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_qa.errors import RobotQaError
from robot_qa.geometry import Poses
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
from robot_qa.monitors.objects_from_messages import Decoders, Raw
from robot_qa.monitors.pairing import Pair
from robot_qa.perception.objects import Floats, Ints
from robot_qa.perception.trajectory import (
    Alignment,
    PoseErrors,
    Trajectory,
    absolute_errors,
    relative_errors,
    sections,
)

MOST_FRAMES = 2_000_000
# Of a robot that neither went a section nor turned by this, rotations tell nothing.
LEAST_TURN_DEG = 15.0
DEFAULT_ALIGNMENT: dict[str, Alignment] = {'odometry': 'se3', 'localisation': 'none'}


class PoseTask:
    """Odometry or PoseStamped against either of them."""

    def __init__(self, spec: Any, asked: list[Asked], store: TypeStore) -> None:
        self.frames = 0
        self.left_out = 0
        self._spec = spec
        self._alignment = spec.alignment or DEFAULT_ALIGNMENT[spec.kind]
        self._decoders = Decoders(store)
        self._mapped = Mapped(store, spec.fields) if spec.fields else None
        self._mapped_truth = Mapped(store, spec.truth_fields) if spec.truth_fields else None
        self._estimated, self._true = Growing(7), Growing(7)

    def add(self, pair: Pair[Raw]) -> None:
        """Keep the next pose and the true one."""
        if self.frames >= MOST_FRAMES:
            self.left_out += 1
            return
        estimated = self._pose(pair.prediction.content, self._mapped)
        true = self._pose(pair.before.content, self._mapped_truth)
        if pair.after is not pair.before:
            span = pair.after.stamp_ns - pair.before.stamp_ns
            part = np.array([(pair.prediction.stamp_ns - pair.before.stamp_ns) / span])
            middle = Poses.of(true[None]).towards(
                Poses.of(self._pose(pair.after.content, self._mapped_truth)[None]), part)
            true = np.concatenate((middle.translation[0], middle.rotation[0]))
        self._estimated.append(estimated)
        self._true.append(true)
        self.frames += 1

    def flush(self) -> None:
        """Do nothing: poses are compared when they are asked for."""

    def _pose(self, raw: Raw, mapped: Mapped | None) -> Floats:
        if mapped is not None:
            row = mapped.pose(raw)
        else:
            pose = self._decoders.read(raw).pose
            pose = getattr(pose, 'pose', pose)
            at, turn = pose.position, pose.orientation
            row = np.array([at.x, at.y, at.z, turn.x, turn.y, turn.z, turn.w])
        if not np.isfinite(row).all() or not row[3:].any():
            raise RobotQaError('a pose is not finite, or has no orientation')
        return row

    def score(self, asked: Asked, chosen: Bools, rigor: Rigor) -> Score:
        """Return a metric over the chosen poses."""
        rows = np.flatnonzero(chosen)
        errors = self._errors(asked.metric, rows)
        if errors is None or not len(errors):
            return Score.none(self._why_none(asked.metric), len(rows))
        value = _summary(asked.metric)
        if self._spec.kind == 'odometry' and asked.metric.startswith('ate'):
            # The way of a run is one sample of how odometry drifts away: there is no other
            # to bound it by.
            whole = value(errors)
            score = Score(whole, whole, whole, len(rows), 1.0, exact=True)
        else:
            score = jackknifed(
                lambda some: value(errors[some]), rigor.excess(errors), rigor, share=False)
        return replace(score, reason=score.reason or self._why_little(asked.metric, rows))

    def _why_little(self, metric: str, rows: Ints) -> str:
        """Say that the robot moved too little to tell how good its odometry is."""
        if self._spec.kind != 'odometry':
            return ''
        at = self._true.rows[rows, :3]
        away = float(np.linalg.norm(at - at[0], axis=1).max())
        if away >= self._spec.section:
            return ''
        little = (f'the robot went no farther than {away:.3g} m, less than a section of '
                  f'{self._spec.section:g} m')
        if not metric.endswith('_rotation'):
            return little
        turned = _turned_deg(self._true.rows[rows, 3:])
        return '' if turned >= LEAST_TURN_DEG else f'{little}, and turned by {turned:.3g} deg'

    def _why_none(self, metric: str) -> str:
        if metric.startswith('drift'):
            return f'the way is shorter than a section of {self._spec.section:g} m'
        if metric == 'ate_rotation':
            return 'poses on a line leave the rotation of the alignment open'
        return 'there are too few poses'

    def _errors(self, metric: str, rows: Ints) -> Floats | None:
        """Return the errors of poses, of motions, or of sections, in the metric's unit."""
        estimated = Poses.of(self._estimated.rows[rows])
        true = Poses.of(self._true.rows[rows])
        turning = metric.endswith('_rotation')
        if metric.startswith('ate'):
            trajectory = Trajectory(self._alignment)
            trajectory.add_pair(estimated, true)
            fitted = trajectory.aligned()
            if fitted is None or (turning and not fitted[2].unique):
                return None
            return _part(absolute_errors(fitted[0], fitted[1]), turning)
        if self._alignment == 'sim3':
            scaled = Trajectory('sim3')
            scaled.add_pair(estimated, true)
            fitted = scaled.aligned()
            if fitted is None:
                return None
            estimated = fitted[0]
        if metric.startswith('rpe'):
            delta = self._spec.delta
            # Only motions all of whose poses are among the chosen.
            first = np.flatnonzero(rows[delta:] - rows[:-delta] == delta) if (
                len(rows) > delta) else np.zeros(0, np.int64)
            return _part(relative_errors(estimated, true, first, first + delta), turning)
        start, end, length = _sections(true, rows, self._spec.section)
        return _part(relative_errors(estimated, true, start, end), turning) / length

    def breakdown(self, asked: Asked, chosen: Bools) -> None:
        """Return None: poses have no classes."""

    def remarks(self, asked: Asked, chosen: Bools, stamps: Ints) -> list[Remark]:
        """Return the poses that are farthest off; for drift none, which is about sections."""
        rows = np.flatnonzero(chosen)
        errors = self._errors(asked.metric, rows)
        if errors is None or asked.metric.startswith('drift'):
            return []
        unit = 'deg' if asked.metric.endswith('_rotation') else 'm'
        every, taken = np.ones(len(errors), bool), stamps[rows[:len(errors)]]
        return [
            Remark(int(rows[place]), float(errors[place]), f'{errors[place]:.3g} {unit} off')
            for place in worst_frames(errors, every, taken)
        ]


def _part(errors: PoseErrors, turning: bool) -> Floats:
    return np.degrees(errors.rotation) if turning else errors.translation


def _summary(metric: str) -> Callable[[Floats], float]:
    def mean(errors: Floats) -> float:
        return float(errors.mean())

    def root_mean_square(errors: Floats) -> float:
        return float(np.sqrt((errors * errors).mean()))

    return mean if metric.startswith('drift') else root_mean_square


def _sections(
    true: Poses, rows: Ints, least: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """Return where sections start and end, and how long they are, within unbroken runs of rows."""
    steps = np.linalg.norm(np.diff(true.translation, axis=0), axis=1)
    travelled = np.concatenate(([0.0], np.cumsum(steps)))
    breaks = np.flatnonzero(np.diff(rows) != 1) + 1
    starts, ends = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for part in np.split(np.arange(len(rows)), breaks):
        start, end = sections(steps[part[0]:part[-1]], least)
        starts.append(start + part[0])
        ends.append(end + part[0])
    start, end = np.concatenate(starts), np.concatenate(ends)
    return start, end, travelled[end] - travelled[start]


def _turned_deg(turns: Floats) -> float:
    """Return by how much quaternions (n, 4) differ at most from the first one."""
    unit = turns / np.linalg.norm(turns, axis=1, keepdims=True)
    cosine = float(np.abs(unit @ unit[0]).min())
    return float(np.degrees(2 * np.arccos(min(1.0, cosine))))
