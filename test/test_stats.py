"""The bounds keep their promise: coverage by simulation, and agreement with exact values."""

import numpy as np
import pytest
from scipy.stats import beta, binom, norm

from robot_qa import stats

RUNS = 20_000
CONFIDENCE = 0.95
ONCE = stats.Confidence(CONFIDENCE)
ANYTIME = stats.Confidence(CONFIDENCE, anytime=True)
# Three standard errors of a 5 % rate over 20,000 runs: the nominal level, told apart from luck.
NOMINAL = 0.05 + 3 * np.sqrt(0.05 * 0.95 / RUNS)


@pytest.mark.parametrize('k,n', [(0, 10), (1, 10), (5, 10), (10, 10), (37, 5000)])
def test_clopper_pearson_agrees_with_the_beta_quantiles(k: int, n: int) -> None:
    low = beta.ppf(0.05, k, n - k + 1) if k else 0.0
    high = beta.ppf(0.95, k + 1, n - k) if k < n else 1.0
    assert stats.proportion_low(k, n, CONFIDENCE) == pytest.approx(low, abs=1e-12)
    assert stats.proportion_high(k, n, CONFIDENCE) == pytest.approx(high, abs=1e-12)


@pytest.mark.parametrize('p,n', [(0.001, 3000), (0.01, 299), (0.1, 50), (0.5, 30)])
def test_proportion_verdicts_keep_the_error_rate(p: float, n: int) -> None:
    """The limit is the true share: any decision is wrong, and each kind stays under 5 %."""
    counts = np.random.default_rng(1).binomial(n, p, RUNS)
    by_count = {k: stats.proportion(int(k), n, ONCE) for k in np.unique(counts)}
    false_pass = np.mean([by_count[k].high < p for k in counts])
    false_fail = np.mean([by_count[k].low > p for k in counts])
    assert false_pass <= NOMINAL
    assert false_fail <= NOMINAL


@pytest.mark.parametrize('q,n', [(0.5, 40), (0.95, 200), (0.99, 400)])
def test_quantile_verdicts_keep_the_error_rate(q: float, n: int) -> None:
    rng = np.random.default_rng(2)
    truth = float(np.exp(norm.ppf(q)))
    false_pass = false_fail = 0
    for sample in np.exp(rng.standard_normal((RUNS // 4, n))):
        estimate = stats.quantile(sample, q, ONCE)
        false_pass += estimate.high is not None and estimate.high < truth
        false_fail += estimate.low is not None and estimate.low > truth
    runs = RUNS // 4
    nominal = 0.05 + 3 * np.sqrt(0.05 * 0.95 / runs)
    assert false_pass / runs <= nominal
    assert false_fail / runs <= nominal
    assert false_pass and false_fail, 'a bound that never errs is too wide to be of use'


@pytest.mark.parametrize('phi,n,q,spread', [
    (0.0, 600, 0.9, 1.0), (0.5, 600, 0.9, 1.0), (0.9, 600, 0.9, 1.0), (0.9, 600, 0.9, 3.0),
    (0.5, 1000, 0.95, 0.2),
])
def test_correlated_series_keep_the_error_rate(
    phi: float, n: int, q: float, spread: float
) -> None:
    """Log-normal AR(1) series, as latencies are: 20,000 runs, judged with their worth."""
    rng = np.random.default_rng(3)
    noise = rng.standard_normal((RUNS, n)) * np.sqrt(1 - phi**2)
    series = np.empty_like(noise)
    series[:, 0] = rng.standard_normal(RUNS)
    for i in range(1, n):
        series[:, i] = phi * series[:, i - 1] + noise[:, i]
    series = np.exp(spread * series)
    truth = float(np.exp(spread * norm.ppf(q)))
    above = (series > truth).sum(axis=1)
    false_pass = false_fail = naive = 0
    for run, k in zip(series, above, strict=True):
        worth = stats.effective_count(run, q, truth)
        false_pass += stats.proportion_high(k * worth / n, worth, CONFIDENCE) <= 1 - q
        false_fail += stats.proportion_low(k * worth / n, worth, CONFIDENCE) > 1 - q
        naive += stats.proportion_high(k, n, CONFIDENCE) <= 1 - q
    assert false_pass / RUNS <= NOMINAL
    assert false_fail / RUNS <= NOMINAL
    if phi == 0.9:
        assert naive / RUNS > 2 * NOMINAL, 'without the discount the bound would lie'


def test_quantile_bounds_are_the_clopper_pearson_verdicts() -> None:
    rng = np.random.default_rng(4)
    for n in (50, 299, 1000):
        sample = rng.exponential(size=n)
        for q in (0.5, 0.95, 0.99):
            estimate = stats.quantile(sample, q, ONCE)
            for limit in [*rng.exponential(3, 20), *sample[:10]]:
                k = int((sample > limit).sum())
                passes = stats.proportion_high(k, n, CONFIDENCE) <= 1 - q
                fails = stats.proportion_low(k, n, CONFIDENCE) > 1 - q
                assert (estimate.high is not None and estimate.high <= limit) == passes
                assert (estimate.low is not None and estimate.low > limit) == fails


def test_a_p99_needs_299_samples() -> None:
    assert stats.samples_for_quantile(0.0, 0.99, ONCE) == 299
    assert stats.quantile(np.ones(298), 0.99, ONCE).high is None
    assert stats.quantile(np.ones(299), 0.99, ONCE).high == 1.0


def test_samples_needed_do_decide() -> None:
    for share, limit in [(0.0, 0.05), (0.02, 0.05), (0.1, 0.05), (0.5, 0.4)]:
        needed = stats.samples_for_share(share, limit, ONCE)
        assert needed is not None
        if share <= limit:
            assert stats.proportion_high(share * needed, needed, CONFIDENCE) <= limit
        else:
            assert stats.proportion_low(share * needed, needed, CONFIDENCE) > limit
    assert stats.samples_for_share(0.05, 0.05, ONCE) is None


def test_effective_count_of_known_series() -> None:
    rng = np.random.default_rng(5)
    assert stats.effective_count(rng.standard_normal(5000), 0.9, 1.3) > 4000
    assert stats.effective_count(np.repeat(rng.standard_normal(500), 10), 0.9, 1.3) < 900
    assert stats.effective_count(np.ones(100), 0.9, 1.0) == 100
    assert stats.effective_count([1, -1] * 50, 0.5, 1.0) == 100
    drifting = np.repeat(rng.standard_normal(500), 10)
    assert stats.effective_count(drifting, 0.9, 100.0) == 5000, 'far below the limit'
    assert binom.cdf(0, 299, 0.01) < 0.05  # the origin of "a p99 needs 299"


@pytest.mark.parametrize('p', [0.01, 0.05, 0.5])
def test_looking_after_every_sample_keeps_the_error_rate(p: float) -> None:
    """The true share is the limit, so any decision is wrong, whenever it is taken."""
    runs, most = 4000, 2000
    counts = np.cumsum(np.random.default_rng(7).random((runs, most)) < p, axis=1)
    passing = np.array([
        max((k for k in range(int(p * n) + 2) if ANYTIME.proves_at_most(k, n, p)), default=-1)
        for n in range(1, most + 1)
    ])
    failing = np.array([
        next((k for k in range(int(p * n), n + 1) if ANYTIME.proves_above(k, n, p)), most + 1)
        for n in range(1, most + 1)
    ])
    nominal = 0.05 + 3 * np.sqrt(0.05 * 0.95 / runs)
    assert np.mean((counts <= passing).any(axis=1)) <= nominal
    assert np.mean((counts >= failing).any(axis=1)) <= nominal
    # The bounds for one look would not do: that is what the others are for.
    once = np.array([
        max((k for k in range(int(p * n) + 2) if ONCE.proves_at_most(k, n, p)), default=-1)
        for n in range(1, most + 1)
    ])
    assert np.mean((counts <= once).any(axis=1)) > 2 * nominal


def test_bounds_for_any_time_are_wider_and_do_decide() -> None:
    for k, n in [(0, 500), (5, 500), (100, 200)]:
        assert ANYTIME.high(k, n) >= ONCE.high(k, n)
        assert ANYTIME.low(k, n) <= ONCE.low(k, n)
        assert not ANYTIME.proves_at_most(k, n, ANYTIME.high(k, n) - 1e-6)
        assert ANYTIME.proves_at_most(k, n, ANYTIME.high(k, n) + 1e-6)
    needed = stats.samples_for_quantile(0.0, 0.99, ANYTIME)
    assert needed is not None and 299 < needed < 700
