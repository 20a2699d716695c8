"""How sure a metric of correlated frames is: frames resampled in blocks, discounted counts."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from robot_qa.perception.average_precision import TINY, area_under_envelope
from robot_qa.perception.objects import Bools, Floats, Ints
from robot_qa.stats import Confidence, Estimate, proportion

# Autocorrelations are looked at in groups of so many.
GROUP = 5
# Replicates are made in parts of so many numbers, which stay in a processor's cache.
PART = 500_000


def share_of_frames(
    won: Ints, tried: Ints, confidence: Confidence, least_time: float = 1.0,
    strata: Ints | None = None,
) -> Estimate | None:
    """Estimate the share of successes from the successes and trials of each frame (n,), in order.

    Exact bounds (Clopper and Pearson) on a count that is discounted twice: by the design effect,
    which is the variance of the share when whole frames vary over that of single trials (L. Kish,
    "Survey Sampling", 1965), and by the `correlation_time` of the frames. Where everything or
    nothing succeeded, neither can be seen, and a frame counts as one trial. ``least_time`` is how
    many frames are at least taken for one, whatever their correlation. ``strata`` (n,) are parts
    of the run that are as long as they are by plan, so that what differs between them does not
    vary (Kish, chapter 3). ``None`` without a trial.
    """
    strata = None if strata is None else strata[tried > 0]
    won, tried = won[tried > 0], tried[tried > 0]
    trials, successes = int(tried.sum()), int(won.sum())
    if trials == 0:
        return None
    share = successes / trials
    excess = excess_of(won.astype(np.float64), tried.astype(np.float64), strata)
    variance = trials * share * (1.0 - share)
    if variance == 0.0:
        return proportion(successes, trials, confidence, max(1.0, len(tried) / least_time))
    time = max(least_time, correlation_time(excess))
    worth = trials / max(1.0, float(excess @ excess) / variance) / time
    return proportion(successes, trials, confidence, max(1.0, worth))


def excess_of(errors: Floats, tried: Floats, strata: Ints | None = None) -> Floats:
    """Return by how much the errors of each frame exceed the share of its stratum; all (n,).

    How correlated frames are has to be seen from these: the number of errors itself goes up and
    down with the number of objects in view.
    """
    if not len(errors):
        return errors
    parts = np.zeros(len(errors), np.int64) if strata is None else strata
    _, place = np.unique(parts, return_inverse=True)
    total = np.bincount(place, tried)
    share = np.bincount(place, errors) / np.where(total > 0.0, total, 1.0)
    over: Floats = errors - tried * share[place]
    return over


def correlation_time(series: Floats) -> float:
    """Return how many values of a series (n,) are worth one independent value, at least 1.

    ``1 + 2 sum rho_k`` over the autocorrelations, taken in groups of five up to the first group
    whose sum is not positive: C. Geyer, "Practical Markov chain Monte Carlo", Statistical Science
    7, 1992, there with pairs; five, because how hard a scene is stays behind the chance of single
    objects, so that each correlation is small, and only several can be told from noise. Since they
    are taken about the series' own mean, all are too low by about time / n, which is made up for.
    """
    count = len(series)
    centred = series - series.mean() if count else series
    power = float(centred @ centred)
    if count < 3 * GROUP or power == 0.0:
        return 1.0
    spectrum = np.fft.rfft(centred, 2 * count)
    moments = np.fft.irfft(spectrum * spectrum.conj())[:count] / power
    if float(moments[1:GROUP + 1].mean()) < 1.645 / math.sqrt(GROUP * count):
        return 1.0
    groups = moments[:count // GROUP * GROUP].reshape(-1, GROUP).sum(axis=1)
    past = int(np.argmax(groups <= 0.0)) if (groups <= 0.0).any() else len(groups)
    time = max(1.0, 2.0 * float(groups[:past].sum()) - 1.0)
    return time / (1.0 - min(2.0 * time / count, 0.75))


def block_length(series: Floats) -> int:
    """Return how many consecutive frames to resample together, from one number per frame (n,).

    Long enough that most of the correlation lies within blocks, and at most a third of the series.
    """
    count = len(series)
    return max(1, min(math.ceil(4.0 * correlation_time(series) - 3.0), count // 3))


@dataclass(frozen=True)
class Curve:
    """One class at one threshold: detections that count, the surest first, and what there is.

    ``hits`` and ``frames`` have shape (n,); ``truths`` (frames,) is how much to find in each.
    """

    hits: Bools
    frames: Ints
    truths: Ints


def mean_precision_bounds(
    curves: list[Curve], value: float, level: float, *, block: int, resamples: int, seed: int
) -> Estimate:
    """Return one-sided bounds on the mean average precision, seen as ``value``, of some curves.

    The percentiles of circular blocks of frames, drawn with replacement (H. Kuensch, "The
    jackknife and the bootstrap for general stationary observations", Annals of Statistics 17,
    1989; D. Politis and J. Romano, "A circular block-resampling procedure for stationary data",
    1992). Frames that all agree would leave such percentiles no width, so one block more is among
    those drawn: for the lower bound one in which everything is missed, for the upper bound one in
    which everything is found, surest of all. For n blocks without a miss that gives the
    "rule of three", 1 - 3 / n, at 95 %, which is what an exact bound on the recall gives.

    The best precision at a higher recall is a maximum, so average precision comes out too high on
    few frames, by about as much as the replicates exceed ``value``. Percentiles exceed it once
    more, so the lower bound is lowered by twice that.
    """
    parts: list[Floats] = []
    frames = len(curves[0].truths)
    rows = max(1, PART // max(frames, *(len(curve.hits) for curve in curves)))
    rng = np.random.default_rng(seed)
    for start in range(0, resamples, rows):
        weights, extra = drawn_blocks(rng, frames, block, min(rows, resamples - start))
        areas = np.stack([_areas(curve, weights, extra) for curve in curves])
        known = ~np.isnan(areas)
        total = np.where(known, areas, 0.0).sum(axis=0)
        with np.errstate(invalid='ignore'):
            parts.append(total / np.count_nonzero(known, axis=0))
    low, plain, high = (side[~np.isnan(side)] for side in np.concatenate(parts, axis=1))
    excess = 2.0 * max(0.0, float(plain.mean()) - value) if len(plain) else 0.0
    lowest = float(np.sort(low)[math.floor((1.0 - level) * len(low))])
    highest = float(np.sort(high)[-1 - math.floor((1.0 - level) * len(high))])
    return Estimate(value, min(value, max(0.0, lowest - excess)), max(value, highest))


def drawn_blocks(
    rng: np.random.Generator, frames: int, block: int, rows: int
) -> tuple[Floats, Floats]:
    """Draw circular blocks ``rows`` times, as many as fill ``frames``, and one extra among them.

    Returns how often each frame is drawn (rows, frames), and how many frames the extra block took
    the place of (rows,).
    """
    draws = math.ceil(frames / block)
    starts = rng.integers(frames, size=(rows, draws))
    extra = rng.random((rows, draws)) < 1.0 / (draws + 1)
    edges = np.zeros((rows, frames + block + 1))
    row = np.broadcast_to(np.arange(rows)[:, None], starts.shape)
    np.add.at(edges, (row[~extra], starts[~extra]), 1.0)
    np.subtract.at(edges, (row[~extra], starts[~extra] + block), 1.0)
    covered = np.cumsum(edges, axis=1)
    covered[:, :block] += covered[:, frames:frames + block]
    return covered[:, :frames], np.count_nonzero(extra, axis=1) * float(block)


def _areas(curve: Curve, weights: Floats, extra: Floats) -> Floats:
    """Return the average precision of replicates with ``extra`` missed, left out and found.

    Shape (3, rows); NaN where a replicate has nothing to find.
    """
    weight = weights[:, curve.frames]
    seen = np.cumsum(weight, axis=1)[:, curve.hits]
    found = np.cumsum(weight[:, curve.hits], axis=1)
    more = (extra * float(curve.truths.mean()))[:, None]
    truths = weights @ curve.truths
    all_truths = truths + more[:, 0]
    return np.stack((
        _area(found, seen, all_truths), _area(found, seen, truths),
        _area(np.hstack((more, found + more)), np.hstack((more, seen + more)), all_truths),
    ))


def _area(found: Floats, seen: Floats, truths: Floats) -> Floats:
    area = area_under_envelope(found, seen, np.maximum(truths, TINY))
    area[truths == 0.0] = np.nan
    return area
