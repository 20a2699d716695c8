"""Accuracy of localisation and odometry: absolute and relative pose errors, and drift."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from robot_qa.errors import RobotQaError
from robot_qa.geometry import Floats, Poses, product, rotate, rotation_angle
from robot_qa.perception.confusion import ratio

Alignment = Literal['none', 'se3', 'sim3']

# A second singular value below this part of the first is rounding: the points lie on a line.
LINE = 1e-12
# Points that are spread by less than this, in metres, are in one place.
SAME = 1e-9


@dataclass(frozen=True)
class Similarity:
    """A transform of points, ``y = scale * rotation * x + translation``.

    ``unique`` is false where points on a line, or in one place, leave the rotation undetermined;
    then any of those that fit best is held.
    """

    rotation: Floats
    translation: Floats
    scale: float = 1.0
    unique: bool = True

    def __matmul__(self, poses: Poses) -> Poses:
        """Return the poses in the transformed frame."""
        moved = self.scale * rotate(self.rotation, poses.translation) + self.translation
        return Poses(moved, product(self.rotation, poses.rotation))


def umeyama(source: Floats, target: Floats, *, scaled: bool) -> Similarity | None:
    """Return the transform that takes ``source`` closest to ``target``; both (n, 3), n > 0.

    Least squares over the points: S. Umeyama, "Least-squares estimation of transformation
    parameters between two point patterns", IEEE PAMI 13, 1991, equations 34 to 43. ``None`` where
    a scale is asked for and all points of either are in one place.
    """
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    centred, aim = source - source_mean, target - target_mean
    u, stretch, v = np.linalg.svd(aim.T @ centred / len(source))
    sign = np.ones(3)
    # Without this, the best fit of mirrored points would be a reflection.
    sign[2] = -1.0 if np.linalg.det(u) * np.linalg.det(v) < 0.0 else 1.0
    variance = float((centred * centred).sum()) / len(source)
    moving = min(variance, float((aim * aim).sum()) / len(source)) > SAME**2
    scale = 1.0
    if scaled:
        if not moving:
            return None
        scale = float((stretch * sign).sum()) / variance
    rotation = Rotation.from_matrix((u * sign) @ v).as_quat()
    unique = moving and bool(stretch[1] > LINE * stretch[0])
    return Similarity(
        rotation, target_mean - scale * rotate(rotation, source_mean), scale, unique)


@dataclass(frozen=True)
class PoseErrors:
    """Errors of n poses: ``translation`` (n,) in metres and ``rotation`` (n,) in radians."""

    translation: Floats
    rotation: Floats


@dataclass(frozen=True)
class Spread:
    """How large errors are, in their unit."""

    rmse: float
    mean: float
    median: float
    max: float

    @classmethod
    def of(cls, errors: Floats) -> Spread | None:
        """Summarise errors (n,); ``None`` if there are none."""
        if not len(errors):
            return None
        return cls(float(np.sqrt(np.mean(errors**2))), float(errors.mean()),
                   float(np.median(errors)), float(errors.max()))


@dataclass(frozen=True)
class TrajectoryScores:
    """Scores over all pairs of poses; ``None`` where there was nothing to evaluate.

    ``ate`` is in metres, ``ate_rotation`` in radians (``None`` where poses on a line, or in one
    place, leave the rotation of the alignment undetermined); ``rpe`` and ``rpe_rotation``
    likewise. ``drift`` is in metres for each metre, ``drift_rotation`` in radians for
    each metre of the true path over ``sections`` of it. ``path`` is the true path's length.
    ``scale`` is what the estimate was multiplied by.
    """

    poses: int
    path: float | None
    scale: float | None
    ate: Spread | None
    ate_rotation: Spread | None
    rpe: Spread | None
    rpe_rotation: Spread | None
    sections: int
    drift: float | None
    drift_rotation: float | None


class Trajectory:
    """Estimated poses against true ones, pair after pair, in the order of time.

    ``alignment`` moves the whole estimate onto the truth first: ``none`` (both are in one frame),
    ``se3`` (odometry, whose origin is arbitrary) or ``sim3`` (a single camera, whose scale is
    arbitrary, too). RPE is from each pose to the one ``delta`` poses later, drift is measured over
    sections of at least ``section`` metres.
    """

    def __init__(
        self, alignment: Alignment = 'se3', delta: int = 1, section: float = 1.0
    ) -> None:
        if delta < 1 or not section > 0.0:
            raise RobotQaError('relative errors need a delta of 1 pose or more and sections '
                               f'longer than 0 m; got {delta} and {section}')
        self._alignment = alignment
        self._delta = delta
        self._section = section
        self._estimated: list[Poses] = []
        self._true: list[Poses] = []

    def add_pair(self, estimated: Poses, true: Poses) -> None:
        """Add n poses, made by `Poses.of`, and the true ones at the same times.

        Raises RobotQaError if their numbers differ or a value is not finite.
        """
        if estimated.translation.shape != true.translation.shape:
            raise RobotQaError(f'{len(estimated.translation)} estimated poses came with '
                               f'{len(true.translation)} true ones')
        for kind, poses in (('an estimated', estimated), ('a true', true)):
            if not (np.isfinite(poses.translation).all() and np.isfinite(poses.rotation).all()):
                raise RobotQaError(f'{kind} pose is not finite')
        self._estimated.append(estimated)
        self._true.append(true)

    def aligned(self) -> tuple[Poses, Poses, Similarity] | None:
        """Return the aligned estimate, the truth and the alignment.

        ``None`` if there are too few poses: one pose fits any other when aligned, so it takes two,
        and for ``sim3`` two in different places.
        """
        estimated, true = _joined(self._estimated), _joined(self._true)
        count = len(estimated.translation)
        if count < (1 if self._alignment == 'none' else 2):
            return None
        found: Similarity | None = Similarity(np.array([0.0, 0.0, 0.0, 1.0]), np.zeros(3))
        if self._alignment != 'none':
            found = umeyama(estimated.translation, true.translation,
                            scaled=self._alignment == 'sim3')
        return None if found is None else (found @ estimated, true, found)

    def result(self) -> TrajectoryScores:
        """Return the scores over all poses so far; the time this takes grows with them."""
        count = sum(len(one.translation) for one in self._true)
        fitted = self.aligned()
        if fitted is None:
            return TrajectoryScores(count, None, None, None, None, None, None, 0, None, None)
        estimated, true, alignment = fitted
        absolute = absolute_errors(estimated, true)
        first = np.arange(count - self._delta)
        relative = relative_errors(estimated, true, first, first + self._delta)
        steps = _steps(true)
        start, end = sections(steps, self._section)
        far = relative_errors(estimated, true, start, end)
        # A section's own length, as it may end well beyond where it was meant to.
        travelled = np.concatenate(([0.0], np.cumsum(steps)))
        length = travelled[end] - travelled[start]
        return TrajectoryScores(
            count, float(travelled[-1]), alignment.scale, Spread.of(absolute.translation),
            Spread.of(absolute.rotation) if alignment.unique else None,
            Spread.of(relative.translation), Spread.of(relative.rotation), len(start),
            ratio(float((far.translation / length).sum()), len(start)),
            ratio(float((far.rotation / length).sum()), len(start)),
        )


def absolute_errors(estimated: Poses, true: Poses) -> PoseErrors:
    """Return the distance and the angle between each estimated pose and the true one (ATE, APE).

    J. Sturm et al., "A benchmark for the evaluation of RGB-D SLAM systems", IROS 2012, section VI.
    """
    return _errors(true.inverse() @ estimated)


def relative_errors(
    estimated: Poses, true: Poses, start: NDArray[np.int64], end: NDArray[np.int64]
) -> PoseErrors:
    """Return by how much the motion from poses ``start`` to poses ``end`` was wrong (RPE).

    J. Sturm et al. (see `absolute_errors`), equation 1, for any choice of pairs.
    """
    moved = true[start].inverse() @ true[end]
    guessed = estimated[start].inverse() @ estimated[end]
    return _errors(moved.inverse() @ guessed)


def sections(steps: Floats, least: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Cut a path into sections that are each as short as possible, but at least ``least`` long.

    ``steps`` (n - 1,) are the distances between poses. Returns where each section starts and ends;
    the rest at the end is left out. For the errors of sections as drift: A. Geiger et al., "Are we
    ready for autonomous driving? The KITTI vision benchmark suite", CVPR 2012, section 2.4.
    """
    borders = [0]
    travelled = 0.0
    for index, step in enumerate(steps.tolist(), start=1):
        travelled += step
        if travelled >= least:
            borders.append(index)
            travelled = 0.0
    cut = np.array(borders, np.int64)
    return cut[:-1], cut[1:]


def _errors(difference: Poses) -> PoseErrors:
    return PoseErrors(
        np.linalg.norm(difference.translation, axis=1), rotation_angle(difference.rotation))


def _steps(poses: Poses) -> Floats:
    steps: Floats = np.linalg.norm(np.diff(poses.translation, axis=0), axis=1)
    return steps


def _joined(parts: list[Poses]) -> Poses:
    return Poses(
        np.concatenate([np.zeros((0, 3)), *(one.translation for one in parts)]),
        np.concatenate([np.zeros((0, 4)), *(one.rotation for one in parts)]),
    )
