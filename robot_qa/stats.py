"""Confidence bounds on proportions and quantiles, and what correlation takes from them.

Every bound here is one-sided at the given confidence: a verdict uses only the side that could
prove it wrong, so ``confidence=0.95`` means at most 5 % false PASS and at most 5 % false FAIL.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincinv
from scipy.stats import rankdata

MOST_SAMPLES = 10_000_000


def proportion_low(successes: float, trials: float, confidence: float) -> float:
    """Return the lower bound on a proportion from ``successes`` of ``trials``.

    Exact for whole numbers: C. Clopper and E. Pearson, "The use of confidence or fiducial limits
    illustrated in the case of the binomial", Biometrika 26, 1934. Fractional counts (of effective
    samples) use the same beta quantile, which is continuous in them.
    """
    if successes <= 0:
        return 0.0
    return float(betaincinv(successes, trials - successes + 1.0, 1.0 - confidence))


def proportion_high(successes: float, trials: float, confidence: float) -> float:
    """Return the upper bound on a proportion; the mirror image of `proportion_low`."""
    if successes >= trials:
        return 1.0
    return float(betaincinv(successes + 1.0, trials - successes, confidence))


@dataclass(frozen=True)
class Estimate:
    """A value with its one-sided bounds; ``None`` where too few samples give no bound."""

    value: float
    low: float | None
    high: float | None


def proportion(
    successes: int, trials: int, confidence: float, effective: float | None = None
) -> Estimate:
    """Estimate a proportion from ``trials`` samples worth ``effective`` independent ones."""
    share = successes / trials
    worth = trials if effective is None else effective
    low = proportion_low(share * worth, worth, confidence)
    return Estimate(share, low, proportion_high(share * worth, worth, confidence))


def quantile(
    values: ArrayLike, q: float, confidence: float, effective: float | None = None
) -> Estimate:
    """Estimate the ``q`` quantile of ``values`` (shape (n,), n > 0, any order).

    The bounds are order statistics, chosen so that ``high <= limit`` holds exactly when the
    Clopper-Pearson upper bound on the share of values above the limit is at most ``1 - q``, and
    ``low > limit`` exactly when its lower bound is more than that. No distribution is assumed.
    """
    ordered: NDArray[np.float64] = np.sort(np.asarray(values, np.float64))
    count = len(ordered)
    worth = count if effective is None else effective
    scale = worth / count
    tail = 1.0 - q
    # How many values may lie above the upper bound: the last count that still proves it.
    fits = _first_false(
        lambda k: proportion_high(k * scale, worth, confidence) <= tail, count + 1
    )
    # How many must lie above the lower bound: the first count that disproves it.
    breaks = _first_false(
        lambda k: proportion_low(k * scale, worth, confidence) <= tail, count + 1
    )
    return Estimate(
        value=float(ordered[min(count - 1, int(np.ceil(q * count)) - 1)]),
        low=float(ordered[count - breaks]) if 1 <= breaks <= count else None,
        high=float(ordered[count - fits]) if fits >= 1 else None,
    )


def samples_for_quantile(share_above: float, q: float, confidence: float) -> int | None:
    """Return how many independent samples would decide a quantile limit.

    ``share_above`` is the share of values seen above the limit; the answer assumes that it stays.
    ``None`` when not even ten million would do, because the share is too close to ``1 - q``.
    """
    return samples_for_share(share_above, 1.0 - q, confidence)


def samples_for_share(share: float, limit: float, confidence: float) -> int | None:
    """Return how many samples prove that a share seen as ``share`` is below or above ``limit``."""

    def undecided(trials: int) -> bool:
        if share <= limit:
            return proportion_high(share * trials, trials, confidence) > limit
        return proportion_low(share * trials, trials, confidence) <= limit

    if undecided(MOST_SAMPLES):
        return None
    return _first_false(lambda trials: undecided(max(trials, 1)), MOST_SAMPLES)


def effective_count(series: ArrayLike) -> float:
    """Return how many independent samples a correlated series (shape (n,)) is worth, 1 to n.

    ``n / (1 + 2 sum rho_k)``, the sum taken over the autocorrelations up to the first that cannot
    be told from noise (below 1.645 / sqrt(n)); C. Geyer, "Practical Markov chain Monte Carlo",
    Statistical Science 7, 1992, for the variance of a mean of a stationary series. Ranks instead
    of values, so that one spike hides nothing. Negative correlation earns nothing: at most n.
    """
    values = np.asarray(series, np.float64)
    count = len(values)
    if count < 4:
        return float(count)
    ranks = rankdata(values)
    ranks -= ranks.mean()
    power = float(ranks @ ranks)
    if power == 0.0:
        return float(count)
    spectrum = np.fft.rfft(ranks, 2 * count)
    autocorrelation = np.fft.irfft(spectrum * spectrum.conj())[:count] / power
    noise = autocorrelation[1:] < 1.645 / np.sqrt(count)
    lags = int(np.argmax(noise)) if noise.any() else count - 1
    time = 1.0 + 2.0 * float(autocorrelation[1:1 + lags].sum())
    return float(np.clip(count / time, 1.0, count))


def _first_false(holds: Callable[[int], bool], stop: int) -> int:
    """Return the first k in [0, stop) at which a monotone predicate no longer holds, else stop."""
    low, high = 0, stop
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            low = middle + 1
        else:
            high = middle
    return low
