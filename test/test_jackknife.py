"""Bounds by leaving out parts of the run: how often they hold, and what they are at the ends."""

from __future__ import annotations

import numpy as np
import pytest

from robot_qa.perception.confidence import excess_of, share_of_frames
from robot_qa.perception.jackknife import jackknife_bounds
from robot_qa.stats import Confidence


@pytest.mark.parametrize('correlated', [1, 5])
def test_bounds_of_a_mean_hold_as_often_as_they_say(correlated: int) -> None:
    rng = np.random.default_rng(3)
    below = above = 0
    for _ in range(400):
        series = np.repeat(rng.exponential(1.0, 300 // correlated), correlated)
        got = jackknife_bounds(
            lambda chosen, series=series: float(series[chosen].mean()), len(series), 0.95,
            share=False, effective=300 / correlated)
        assert got is not None and got.low is not None and got.high is not None
        below += got.low > 1.0
        above += got.high < 1.0
    # 5 % each, and what chance (and the skew of waiting times) may add to that.
    assert below <= 32
    assert above <= 44


def test_where_nothing_varies_the_rule_of_three_holds() -> None:
    got = jackknife_bounds(lambda chosen: 1.0, 300, 0.95, share=True, effective=100.0)
    assert got is not None
    assert got.low == pytest.approx(1.0 - 3.0 / 100.0, abs=1e-3)
    assert got.high == 1.0
    assert jackknife_bounds(lambda chosen: None, 300, 0.95, share=True, effective=9.0) is None


def test_a_bias_widens_the_side_it_hides() -> None:
    """The largest value seen is too low on few frames; the bounds know."""
    rng = np.random.default_rng(1)
    missed = 0
    for _ in range(200):
        series = rng.uniform(0.0, 1.0, 100)
        got = jackknife_bounds(
            lambda chosen, series=series: float(series[chosen].max()), 100, 0.95, share=False,
            effective=100.0)
        assert got is not None and got.high is not None
        assert got.high >= got.value
        missed += got.high < 1.0
    assert missed < 60


def test_what_is_planned_is_no_chance() -> None:
    """Half of the run in the dark: its share differs, and that makes no bound wider."""
    rng = np.random.default_rng(2)
    tried = np.full(400, 4)
    dark = np.arange(400) >= 200
    won = rng.binomial(4, np.where(dark, 0.5, 0.95))
    confidence = Confidence(0.95)
    mixed = share_of_frames(won, tried, confidence)
    planned = share_of_frames(won, tried, confidence, strata=dark.astype(np.int64))
    assert mixed is not None and planned is not None
    assert mixed.value == planned.value
    assert planned.high - planned.low < 0.5 * (mixed.high - mixed.low)  # type: ignore[operator]
    over = excess_of(won.astype(float), tried.astype(float), dark.astype(np.int64))
    assert abs(over[dark].sum()) < 1e-9 > abs(over[~dark].sum())
