"""A robust trend with bounds that stay honest where samples depend on one another."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

from robot_qa.spec.resources import TREND_SAMPLES

BATCHES = 20
# Above this correlation of neighbouring batches the samples wander, rather than vary.
MOST_CORRELATION = 0.35


@dataclass(frozen=True)
class Trend:
    """A slope in units per second with one-sided bounds.

    ``effective`` is how many independent samples the series is worth for the slope.
    """

    slope: float
    low: float
    high: float
    effective: float


def trend(
    seconds: NDArray[np.float64], values: NDArray[np.float64], level: float, resolution: float
) -> Trend | None:
    """Return the trend of ``values`` over ``seconds``, both of shape (n,), ascending in time.

    The slope is the median of the slopes between all pairs, and its bounds are order statistics
    of them: P. Sen, "Estimates of the regression coefficient based on Kendall's tau", Journal of
    the American Statistical Association 63, 1968. That assumes independent errors, so it is not
    applied to the samples but to the means of 20 batches (B. Schmeiser, "Batch size effects in
    the analysis of simulation output", Operations Research 30, 1982), and the variance of
    Kendall's statistic is multiplied by (1 + r) / (1 - r) with r the correlation that is left
    between neighbouring batches. Where the batches wander together (r above 0.35) the steps from
    batch to batch are taken for the independent ones; see `_wandering`.

    ``level`` is the confidence of one side; ``test/test_resources.py`` simulates the coverage,
    from independent samples to a random walk. What moves by less than ``resolution`` (a page of
    memory, one thread) cannot be seen, so the bounds are that much wider over the whole span.
    None for fewer than 40 samples, or for samples that span no time.
    """
    count = len(values)
    if count < TREND_SAMPLES or seconds[-1] <= seconds[0]:
        return None
    edges = np.linspace(0, count, BATCHES + 1).round().astype(int)
    sizes = np.diff(edges)
    times = np.add.reduceat(seconds, edges[:-1]) / sizes
    means = np.add.reduceat(values, edges[:-1]) / sizes
    first, second = np.triu_indices(BATCHES, 1)
    slopes = np.sort((means[second] - means[first]) / (times[second] - times[first]))
    slope = float(np.median(slopes))
    correlation = _correlation(means - slope * times, resolution)
    worth = count * (1.0 - correlation) / (1.0 + correlation)
    variance = BATCHES * (BATCHES - 1) * (2 * BATCHES + 5) / 18
    variance *= (1.0 + correlation) / (1.0 - correlation)
    spread = float(ndtri(level)) * math.sqrt(variance)
    rank = math.floor((len(slopes) - spread) / 2)
    if correlation > MOST_CORRELATION or rank < 1:
        slope, low, high = _wandering(times, means, level)
    else:
        low, high = float(slopes[rank - 1]), float(slopes[-rank])
    blur = resolution / float(seconds[-1] - seconds[0])
    return Trend(slope, low - blur, high + blur, worth)


def _wandering(
    times: NDArray[np.float64], means: NDArray[np.float64], level: float
) -> tuple[float, float, float]:
    """Return the drift of a random walk and its bounds, by Student's t of its steps.

    Where the walk is pulled back to a level, its steps cancel, and the bounds are too wide. The
    mean of 19 steps between means of neighbouring batches has 1.5 times the variance that
    independent ones would have, because a mean smooths the walk inside of its batch.
    """
    steps = np.diff(means) / np.diff(times)
    drift = float((means[-1] - means[0]) / (times[-1] - times[0]))
    error = math.sqrt(1.5 * float(steps.var(ddof=1)) / len(steps))
    half = float(stdtrit(len(steps) - 1, level)) * error
    return drift, drift - half, drift + half


def _correlation(errors: NDArray[np.float64], least: float) -> float:
    """Return the correlation of neighbours, 0 to 0.95; 0 for errors all below ``least``.

    Around its mean the autocorrelation of n values comes out too low by about (1 + 4 r) / n;
    M. Kendall, "Note on bias in the estimation of autocorrelation", Biometrika 41, 1954. Around a
    trend it is another 1 / n.
    """
    errors = errors - errors.mean()
    power = float(errors @ errors)
    if power <= 0.0 or float(np.abs(errors).max()) < least:
        return 0.0
    seen = float(errors[:-1] @ errors[1:]) / power
    return min(0.95, max(0.0, (BATCHES * seen + 2.0) / (BATCHES - 4)))
