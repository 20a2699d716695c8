"""Scores of depth images against direct sums and scikit-learn, and what is no depth."""

from __future__ import annotations

from dataclasses import astuple
from typing import Any

import numpy as np
import pytest

from robot_qa.errors import RobotQaError
from robot_qa.perception.depth import PART, Depth, DepthScores, DepthSums, metres

NAN = np.nan


def scores(predicted: Any, truth: Any, **options: Any) -> DepthScores:
    measured = Depth(**options)
    measured.add_frame(np.array(predicted, np.float64), np.array(truth, np.float64))
    return measured.result()


@pytest.mark.parametrize('seed', range(4))
def test_agrees_with_scikit_learn_and_the_definitions(seed: int) -> None:
    metrics = pytest.importorskip('sklearn.metrics')
    rng = np.random.default_rng(seed)
    for _ in range(75):
        truth = rng.uniform(0.1, 90.0, (int(rng.integers(1, 5)), 6, 5))
        predicted = truth * np.exp(rng.normal(rng.normal(), 10.0 ** rng.uniform(-9, 0),
                                              truth.shape))
        gaps = rng.choice([0.0, 0.2])
        truth[rng.random(truth.shape) < gaps] = NAN
        predicted[rng.random(truth.shape) < gaps] = NAN
        valid = rng.random(truth.shape) < 0.9
        measured = Depth(nearest=1.0, farthest=80.0)
        for frame in zip(predicted, truth, valid, strict=True):
            measured.add_frame(*frame)
        got = measured.result()
        wanted = valid & (truth >= 1.0) & (truth <= 80.0)
        kept = wanted & ~np.isnan(predicted)
        d, t = predicted[kept], truth[kept]
        logs = np.log(d / t)
        assert got.pixels == kept.sum()
        assert got.coverage == pytest.approx(kept.sum() / wanted.sum(), abs=1e-12)
        assert got.absolute_relative == pytest.approx(
            metrics.mean_absolute_percentage_error(t, d), rel=1e-9)
        assert got.squared_relative == pytest.approx(
            metrics.mean_squared_error(t, d, sample_weight=1 / t) * (1 / t).mean(), rel=1e-9)
        assert got.rmse == pytest.approx(metrics.root_mean_squared_error(t, d), rel=1e-9)
        assert got.log_rmse == pytest.approx(
            metrics.root_mean_squared_error(np.log(t), np.log(d)), rel=1e-9)
        assert got.scale_invariant == pytest.approx(np.std(logs), rel=1e-9, abs=1e-12)
        for power, share in enumerate(got.delta, start=1):
            assert share == pytest.approx(np.mean(np.abs(logs) < power * np.log(1.25)))


def test_by_hand() -> None:
    got = scores([2.0, 1.0], [1.0, 4.0])
    assert got.absolute_relative == pytest.approx((1 + 3 / 4) / 2)
    assert got.squared_relative == pytest.approx((1 + 9 / 4) / 2)
    assert got.rmse == pytest.approx(np.sqrt((1 + 9) / 2))
    assert got.log_rmse == pytest.approx(np.log(2) * np.sqrt((1 + 4) / 2))
    assert got.scale_invariant == pytest.approx(np.log(2) * 1.5)
    assert got.delta == (0.0, 0.0, 0.0)


def test_the_thresholds_are_powers_of_five_quarters_and_strict() -> None:
    """On either side of each border; 1.25, 1.5625 and 1.953125 are exact in binary."""
    truth = np.ones(8)
    got = scores([1.24, 1.25, 1.5, 1.5625, 1.9, 1.953125, 3.0, 1 / 1.24], truth)
    assert got.delta == (2 / 8, 4 / 8, 6 / 8)


def test_a_wrong_scale_alone_is_not_counted_by_the_scale_invariant_error() -> None:
    measured = Depth()
    rng = np.random.default_rng(0)
    for _ in range(20):
        truth = rng.uniform(1, 50, 500)
        measured.add_frame(2 * truth, truth)
    got = measured.result()
    assert got.scale_invariant == pytest.approx(0.0, abs=1e-12)
    assert got.log_rmse == pytest.approx(np.log(2), rel=1e-12)
    assert got.absolute_relative == pytest.approx(1.0, rel=1e-12)


def test_what_was_not_predicted_lowers_the_coverage_and_nothing_else() -> None:
    got = scores([1.0, NAN, 3.0, 9.0], [1.0, 2.0, 3.0, NAN])
    assert (got.pixels, got.coverage, got.rmse) == (2, 2 / 3, 0.0)


def test_the_range_is_that_of_the_truth_and_holds_its_ends() -> None:
    got = scores([5.0] * 5, [0.5, 1.0, 2.0, 3.0, 3.5], nearest=1.0, farthest=3.0)
    assert got.pixels == 3


@pytest.mark.parametrize('image', [
    np.array([[1500, 0], [65535, 1]], np.uint16), np.array([[1500, 0], [65535, 1]], '>u2'),
], ids=['little endian', 'big endian'])
def test_sixteen_bits_are_millimetres_and_zero_is_nothing(image: np.ndarray) -> None:
    depth = metres(image)
    assert depth.shape == (2, 2)
    assert depth.ravel().tolist() == pytest.approx([1.5, NAN, 65.535, 0.001], nan_ok=True, abs=0)


@pytest.mark.parametrize('kind', ['<f4', '>f4', '<f8'])
def test_floats_are_metres_and_what_is_no_length_is_nothing(kind: str) -> None:
    image = np.array([1.5, 0.0, -1.0, NAN, np.inf, -np.inf], kind)
    assert metres(image).tolist() == pytest.approx([1.5] + [NAN] * 5, nan_ok=True, abs=0)


@pytest.mark.parametrize('kind', [np.uint8, np.int16, np.uint32])
def test_other_images_are_no_depth(kind: Any) -> None:
    with pytest.raises(RobotQaError, match='neither 16UC1 nor 32FC1'):
        metres(np.zeros((2, 2), kind))


NONE = (None, None, None)


def test_nothing_evaluated_has_no_score() -> None:
    nothing = DepthScores(0, None, None, None, None, None, None, NONE)
    assert Depth().result() == nothing
    assert scores([1.0], [NAN]) == nothing
    assert scores([], []) == nothing
    assert scores([1.0], [5.0], farthest=4.0) == nothing
    # Truth without any prediction is evaluated: it is not covered.
    assert scores([NAN], [5.0]) == DepthScores(0, 0.0, None, None, None, None, None, NONE)


def test_sums_of_frames_add_up_in_any_order() -> None:
    rng = np.random.default_rng(0)
    frames = []
    measured = Depth()
    for size in (0, 1, 7, 40):
        truth = rng.uniform(1, 5, size)
        frames.append(measured.add_frame(truth * rng.uniform(0.8, 1.3, size), truth))
    backwards = sum(reversed(frames), start=DepthSums())
    assert flat(DepthScores.of(backwards)) == pytest.approx(flat(measured.result()), rel=1e-12)


def test_a_large_image_is_the_same_as_many_small_ones() -> None:
    rng = np.random.default_rng(0)
    truth = rng.uniform(1, 5, (3, PART - 7))
    predicted = truth * rng.normal(1.1, 0.1, truth.shape)
    valid = rng.random(truth.shape) < 0.5
    whole, rows = Depth(), Depth()
    whole.add_frame(predicted, truth, valid)
    for frame in zip(predicted, truth, valid, strict=True):
        rows.add_frame(*frame)
    assert whole.result().pixels == valid.sum()
    assert flat(whole.result()) == pytest.approx(flat(rows.result()), rel=1e-12)
    assert whole.result().rmse == pytest.approx(
        np.sqrt(np.mean((predicted - truth)[valid] ** 2)), rel=1e-12)


def flat(got: DepthScores) -> list[float]:
    *parts, delta = astuple(got)
    return [*parts, *delta]


def test_images_of_different_shapes_cannot_be_compared() -> None:
    with pytest.raises(RobotQaError, match='shape'):
        scores([1.0], [1.0, 2.0])
    with pytest.raises(RobotQaError, match='shape'):
        Depth().add_frame(np.ones(2), np.ones(2), np.ones(3, bool))
