"""Confidence bounds on proportions and quantiles, and what correlation takes from them.

Every bound here is one-sided at the given confidence: a verdict uses only the side that could
prove it wrong, so ``confidence=0.95`` means at most 5 % false PASS and at most 5 % false FAIL.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betainc, betaincc, betaincinv, betaln

MOST_SAMPLES = 10_000_000
FEW_LAGS = 50


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
class Confidence:
    """How sure a bound has to be, for one look at the end or for looking at any time.

    ``level`` is that of one side. With ``anytime`` the bounds hold at all sample counts at once,
    so a run may stop as soon as they decide, and its error rate stays that of a single look.
    """

    level: float
    anytime: bool = False

    def proves_at_most(self, successes: float, trials: float, share: float) -> bool:
        """Tell whether a true share above ``share`` is refuted."""
        if self.anytime:
            below = successes <= share * trials
            return below and -math.log1p(-self.level) <= _evidence(
                successes, trials, share, below=True)
        return proportion_high(successes, trials, self.level) <= share

    def proves_above(self, successes: float, trials: float, share: float) -> bool:
        """Tell whether a true share at or below ``share`` is refuted."""
        if self.anytime:
            above = successes >= share * trials
            return above and -math.log1p(-self.level) <= _evidence(
                successes, trials, share, below=False)
        return proportion_low(successes, trials, self.level) > share

    def low(self, successes: float, trials: float) -> float:
        """Return the lower bound on a proportion."""
        if not self.anytime:
            return proportion_low(successes, trials, self.level)
        return _border(lambda share: self.proves_above(successes, trials, share))

    def high(self, successes: float, trials: float) -> float:
        """Return the upper bound on a proportion."""
        if not self.anytime:
            return proportion_high(successes, trials, self.level)
        return _border(lambda share: not self.proves_at_most(successes, trials, share))


def _evidence(successes: float, trials: float, share: float, below: bool) -> float:
    """Return the log of the evidence against ``share`` (in (0, 1)) for those below or above it.

    The likelihood ratio, mixed over the alternatives with a beta(1/2, 1/2) prior cut off at
    ``share``: a non-negative supermartingale under every share on the other side, which exceeds
    1/alpha at any time with a probability of at most alpha (Ville). H. Robbins, "Statistical
    methods related to the law of the iterated logarithm", Annals of Mathematical Statistics 41,
    1970; S. Howard et al., "Time-uniform, nonparametric, nonasymptotic confidence sequences",
    Annals of Statistics 49, 2021.
    """
    won, lost = successes + 0.5, trials - successes + 0.5
    side = betainc if below else betaincc
    mass = float(side(won, lost, share))
    if mass <= 0.0:
        return -math.inf
    return (
        float(betaln(won, lost) - betaln(0.5, 0.5)) + math.log(mass)
        - math.log(float(side(0.5, 0.5, share)))
        - successes * math.log(share) - (trials - successes) * math.log1p(-share)
    )


def _border(holds: Callable[[float], bool]) -> float:
    """Return the share at which a monotone predicate on (0, 1) stops to hold."""
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        if holds(middle):
            low = middle
        else:
            high = middle
    return low


@dataclass(frozen=True)
class Estimate:
    """A value with its one-sided bounds; ``None`` where too few samples give no bound."""

    value: float
    low: float | None
    high: float | None


def proportion(
    successes: int, trials: int, confidence: Confidence, effective: float | None = None
) -> Estimate:
    """Estimate a proportion from ``trials`` samples worth ``effective`` independent ones."""
    share = successes / trials
    worth = trials if effective is None else effective
    return Estimate(
        share, confidence.low(share * worth, worth), confidence.high(share * worth, worth)
    )


def quantile(
    values: ArrayLike, q: float, confidence: Confidence, effective: float | None = None
) -> Estimate:
    """Estimate the ``q`` quantile of ``values`` (shape (n,), n > 0, any order).

    The bounds are order statistics, chosen so that ``high <= limit`` holds exactly when the
    share of values above the limit is proven to be at most ``1 - q``, and ``low > limit`` exactly
    when it is proven to be more than that. No distribution is assumed.
    """
    ordered: NDArray[np.float64] = np.sort(np.asarray(values, np.float64))
    count = len(ordered)
    worth = count if effective is None else effective
    scale = worth / count
    tail = 1.0 - q
    # How many values may lie above the upper bound: the last count that still proves it.
    fits = _first_false(
        lambda k: confidence.proves_at_most(k * scale, worth, tail), count + 1
    )
    # How many must lie above the lower bound: the first count that disproves it.
    breaks = _first_false(
        lambda k: not confidence.proves_above(k * scale, worth, tail), count + 1
    )
    return Estimate(
        value=float(ordered[min(count - 1, int(np.ceil(q * count)) - 1)]),
        low=float(ordered[count - breaks]) if 1 <= breaks <= count else None,
        high=float(ordered[count - fits]) if fits >= 1 else None,
    )


def samples_for_quantile(share_above: float, q: float, confidence: Confidence) -> int | None:
    """Return how many independent samples would decide a quantile limit.

    ``share_above`` is the share of values seen above the limit; the answer assumes that it stays.
    ``None`` when not even ten million would do, because the share is too close to ``1 - q``.
    """
    return samples_for_share(share_above, 1.0 - q, confidence)


def samples_for_share(share: float, limit: float, confidence: Confidence) -> int | None:
    """Return how many samples prove that a share seen as ``share`` is below or above ``limit``."""

    def undecided(trials: int) -> bool:
        trials = max(trials, 1)
        if share <= limit:
            return not confidence.proves_at_most(share * trials, trials, limit)
        return not confidence.proves_above(share * trials, trials, limit)

    if undecided(MOST_SAMPLES):
        return None
    return _first_false(undecided, MOST_SAMPLES)


def effective_count(series: ArrayLike, q: float, limit: float) -> float:
    """Return how many independent samples a correlated series (shape (n,)) is worth, 1 to n.

    A verdict on the ``q`` quantile counts the values beyond a limit, so what matters is whether
    high values come in clusters: ``n / (1 + 2 sum rho_k)``, with ``rho_k`` the autocorrelations of
    "is high", summed up to the first that is not positive; C. Geyer, "Practical Markov chain
    Monte Carlo", Statistical Science 7, 1992, for the variance of the mean of a stationary series.

    High is what is among the highest 2 (1 - q): twice the tail, because the few values of the tail
    itself show too few clusters, which would make the bounds too narrow (the tests simulate the
    coverage). But not what is below a tenth of the (positive) limit: how a latency drifts so far
    below says nothing about how often it is beyond. A series whose first autocorrelation
    cannot be told from noise (below 1.645 / sqrt(n)) is worth all its samples.
    """
    values = np.asarray(series, np.float64)
    count = len(values)
    top = round(count * min(0.5, 2.0 * (1.0 - q)))
    if count < 4 or top < 1:
        return float(count)
    border = max(np.partition(values, count - top)[count - top], limit / 10)
    high = (values >= border).astype(np.float64)
    high -= high.mean()
    power = float(high @ high)
    if power == 0.0:
        return float(count)
    if float(high[:-1] @ high[1:]) / power < 1.645 / np.sqrt(count):
        return float(count)
    time = 1.0
    for correlation in _autocorrelation(high, power):
        if correlation <= 0.0:
            break
        time += 2.0 * correlation
    return float(np.clip(count / time, 1.0, count))


def _autocorrelation(series: NDArray[np.float64], power: float) -> Iterator[float]:
    """Yield the autocorrelations from lag 1: the first few one by one, the rest at once."""
    count = len(series)
    for lag in range(1, min(FEW_LAGS, count)):
        yield float(series[:-lag] @ series[lag:]) / power
    spectrum = np.fft.rfft(series, 2 * count)
    rest: NDArray[np.float64] = np.fft.irfft(spectrum * spectrum.conj())[FEW_LAGS:count]
    yield from (rest / power).tolist()


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
