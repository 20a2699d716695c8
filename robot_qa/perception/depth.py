"""Accuracy of depth images: relative and squared errors, thresholds, and the error of scale."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robot_qa.errors import RobotQaError
from robot_qa.geometry import Floats
from robot_qa.perception.confusion import ratio

DELTA = 1.25
# So many pixels at a time, with all that is computed of them, stay in a core's cache.
PART = 16_384


def metres(image: NDArray[np.uint16] | NDArray[np.floating]) -> Floats:
    """Return a depth image in metres, with NaN where there is no depth.

    An image of unsigned integers (16UC1) is in millimetres and 0 is no depth; one of floats
    (32FC1) is in metres and NaN, an infinity (too near or too far) or a value not above zero is
    no depth (REP 118). Raises RobotQaError for any other kind of image.
    """
    millimetres = (image.dtype.kind, image.dtype.itemsize) == ('u', 2)
    if not millimetres and image.dtype.kind != 'f':
        raise RobotQaError(f'a depth image of {image.dtype} is neither 16UC1 nor 32FC1')
    depth = image.astype(np.float64)
    if millimetres:
        depth /= 1000.0
    depth[~((depth > 0.0) & (depth < np.inf))] = np.nan
    return depth


@dataclass(frozen=True)
class DepthSums:
    """Sums over the pixels of one or more frames; they add up.

    ``true`` counts the pixels that have a true depth, ``both`` those that have a predicted one,
    too; ``within`` those within 1.25, 1.25^2 and 1.25^3. ``log_mean`` is the mean, ``log_spread``
    the sum of squared deviations from it, of ln(predicted) - ln(true).
    """

    true: int = 0
    both: int = 0
    relative: float = 0.0
    squared_relative: float = 0.0
    squared: float = 0.0
    within: tuple[int, int, int] = (0, 0, 0)
    log_mean: float = 0.0
    log_spread: float = 0.0

    @classmethod
    def of(cls, predicted: Floats, truth: Floats) -> DepthSums:
        """Sum over the depths (any shape, in metres, NaN where there is none) of one frame."""
        there = int(np.count_nonzero(~np.isnan(truth)))
        both = ~np.isnan(truth + predicted)
        guess, true = predicted[both], truth[both]
        if not len(true):
            return cls(there)
        error = guess - true
        relative = error / true
        quotient = guess / true
        log = np.log(quotient)
        log_mean = float(log.mean())
        log -= log_mean
        np.maximum(quotient, true / guess, out=quotient)
        one, two, three = (int((quotient < DELTA**power).sum()) for power in (1, 2, 3))
        # No dot products: BLAS would make them in several threads, which here takes longer and
        # occupies the cores of the robot.
        return cls(
            there, len(true), float(np.abs(relative).sum()), float((error * relative).sum()),
            float((error * error).sum()), (one, two, three), log_mean, float((log * log).sum()),
        )

    def __add__(self, other: DepthSums) -> DepthSums:
        """Return the sums over both.

        The deviations are merged as in T. Chan et al., "Algorithms for computing the sample
        variance", The American Statistician 37, 1983: a difference of sums of squares would lose
        all digits where the scale is wrong by a constant factor.
        """
        both = self.both + other.both
        share = other.both / both if both else 0.0
        step = other.log_mean - self.log_mean
        one, two, three = (a + b for a, b in zip(self.within, other.within, strict=True))
        return DepthSums(
            self.true + other.true, both,
            self.relative + other.relative, self.squared_relative + other.squared_relative,
            self.squared + other.squared, (one, two, three),
            self.log_mean + share * step,
            self.log_spread + other.log_spread + step * step * self.both * share,
        )


@dataclass(frozen=True)
class DepthScores:
    """Scores over all pixels of all frames; ``None`` where there was nothing to evaluate.

    ``coverage`` is the share of the pixels with a true depth that have a predicted one, too; the
    other scores are over these ``pixels``, each weighing the same in whatever frame it is.
    ``rmse`` and ``squared_relative`` are in metres, the other scores have no unit. ``delta`` holds
    the shares within 1.25, 1.25^2 and 1.25^3.
    """

    pixels: int
    coverage: float | None
    absolute_relative: float | None
    squared_relative: float | None
    rmse: float | None
    log_rmse: float | None
    scale_invariant: float | None
    delta: tuple[float | None, float | None, float | None]

    @classmethod
    def of(cls, sums: DepthSums) -> DepthScores:
        """Score the sums, with predicted depths d and true depths t.

        D. Eigen et al., "Depth map prediction from a single image using a multi-scale deep
        network", NIPS 2014, section 4.3: AbsRel = mean |d - t| / t, SqRel = mean (d - t)^2 / t,
        RMSE, RMSE of ln d - ln t, and the share with max(d / t, t / d) < 1.25^n.
        ``scale_invariant`` is SILog, the standard deviation of ln d - ln t: their equation 1, and
        its square root in J. Uhrig et al., "Sparsity invariant CNNs", 3DV 2017 (KITTI's depth
        benchmark, which states it times 100).
        """
        count = sums.both

        def root(total: float) -> float | None:
            return float(np.sqrt(total / count)) if count else None

        one, two, three = (ratio(part, count) for part in sums.within)
        return cls(
            count, ratio(count, sums.true), ratio(sums.relative, count),
            ratio(sums.squared_relative, count), root(sums.squared),
            root(sums.log_spread + count * sums.log_mean**2), root(sums.log_spread),
            (one, two, three),
        )


class Depth:
    """Depth images against true ones, one frame after the other.

    Only pixels with a true depth from ``nearest`` to ``farthest`` (in metres) are evaluated.
    """

    def __init__(self, nearest: float = 0.0, farthest: float = np.inf) -> None:
        self._nearest = nearest
        self._farthest = farthest
        self.sums = DepthSums()

    def add_frame(
        self, predicted: Floats, truth: Floats, valid: NDArray[np.bool_] | None = None
    ) -> DepthSums:
        """Add two images of `metres`, of the same shape; return the sums of this frame alone.

        ``valid``, of that shape too, tells which pixels are to be evaluated; all if ``None``.
        Raises RobotQaError if the shapes differ.
        """
        shapes = {image.shape for image in (predicted, truth, valid) if image is not None}
        if len(shapes) > 1:
            raise RobotQaError(f'the predicted depth has the shape {predicted.shape}, the true '
                               f'one {truth.shape}, or the valid pixels have another')
        guess, true = predicted.ravel(), truth.ravel()
        chosen = None if valid is None else valid.ravel()
        sums = DepthSums()
        for first in range(0, len(true), PART):
            part = slice(first, first + PART)
            evaluated = (true[part] >= self._nearest) & (true[part] <= self._farthest)
            if chosen is not None:
                evaluated &= chosen[part]
            sums += DepthSums.of(guess[part], np.where(evaluated, true[part], np.nan))
        self.sums += sums
        return sums

    def result(self) -> DepthScores:
        """Return the scores over all frames so far."""
        return DepthScores.of(self.sums)
