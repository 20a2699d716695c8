"""Scores of classifiers against scikit-learn, ties and missing scores included."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

from robot_qa.errors import RobotQaError
from robot_qa.perception.classification import Classification, ClassificationScores


def scores(
    given: Any, truth: Any, top: tuple[int, ...] = (1, 2)
) -> ClassificationScores:
    given = np.asarray(given, np.float64)
    measured = Classification(given.shape[1], top)
    measured.add_frame(given, np.asarray(truth))
    return measured.result()


@pytest.mark.parametrize('seed', range(3))
@pytest.mark.parametrize('levels', [3, 1000], ids=['ties', 'few ties'])
def test_agrees_with_scikit_learn(seed: int, levels: int) -> None:
    metrics = pytest.importorskip('sklearn.metrics')
    rng = np.random.default_rng(seed)
    for _ in range(50):
        classes, count = int(rng.integers(3, 9)), int(rng.integers(2, 40))
        given = rng.integers(0, levels, (count, classes)).astype(np.float64)
        truth = rng.integers(0, int(rng.integers(1, classes + 1)), count)
        measured = Classification(classes, (1, 2, 3))
        cut = int(rng.integers(0, count))
        measured.add_frame(given[:cut], truth[:cut])
        measured.add_frame(given[cut:], truth[cut:])
        got = measured.result()
        predicted, labels = given.argmax(axis=1), np.arange(classes)
        assert got.samples == count
        assert got.accuracy == pytest.approx(metrics.accuracy_score(truth, predicted), abs=1e-12)
        assert measured.matrix[:, :-1].tolist() == metrics.confusion_matrix(
            truth, predicted, labels=labels).tolist()
        for k in (1, 2, 3):
            # Mirrored, as scikit-learn puts the higher of two equal scores' classes first.
            expected = (metrics.top_k_accuracy_score(
                classes - 1 - truth, given[:, ::-1], k=k, labels=labels) if k < classes else 1.0)
            assert got.top[k] == pytest.approx(expected, abs=1e-12)
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            each = metrics.precision_recall_fscore_support(
                truth, predicted, labels=labels, zero_division=np.nan)
        for mine, mean, theirs in zip(
            (got.precision, got.recall, got.f1),
            (got.mean_precision, got.mean_recall, got.mean_f1), each, strict=False,
        ):
            known = [np.nan if one is None else one for one in mine]
            assert known == pytest.approx(theirs, abs=1e-12, nan_ok=True)
            assert mean == pytest.approx(np.nanmean(theirs), abs=1e-12)


def test_by_hand() -> None:
    """Predicted 0, 1, 1, 2 of true 0, 1, 2, 2."""
    got = scores([[3, 2, 1], [1, 3, 2], [0, 3, 2], [0, 1, 2]], [0, 1, 2, 2])
    assert got.accuracy == 0.75
    assert got.top == {1: 0.75, 2: 1.0}
    assert got.precision == pytest.approx((1.0, 0.5, 1.0))
    assert got.recall == pytest.approx((1.0, 1.0, 0.5))
    assert got.f1 == pytest.approx((1.0, 2 / 3, 2 / 3))
    assert got.mean_f1 == pytest.approx(7 / 9)


def test_of_equal_scores_the_lower_class_comes_first() -> None:
    given = [[1.0, 1.0, 1.0]] * 3
    got = scores(given, [0, 1, 2])
    assert got.accuracy == got.top[1] == pytest.approx(1 / 3)
    assert got.top[2] == pytest.approx(2 / 3)


@pytest.mark.parametrize('missing', [np.nan, -np.inf])
def test_a_class_without_a_score_is_among_no_first_k(missing: float) -> None:
    got = scores([[0.9, missing, missing], [0.2, 0.1, missing]], [1, 2], top=(1, 3, 9))
    assert got.accuracy == 0.0
    assert got.top == {1: 0.0, 3: 0.0, 9: 0.0}


def test_a_sample_without_any_score_is_wrong_and_no_classs_false_alarm() -> None:
    got = scores([[np.nan, np.nan], [0.1, 0.9]], [0, 1])
    assert (got.samples, got.accuracy) == (2, 0.5)
    assert got.precision == (None, 1.0)
    assert got.recall == (0.0, 1.0)
    assert got.f1 == (0.0, 1.0)


def test_nothing_evaluated_has_no_score() -> None:
    none = (None, None)
    nothing = ClassificationScores(
        0, None, {1: None, 5: None}, None, None, None, none, none, none)
    assert Classification(2).result() == nothing
    assert scores(np.zeros((0, 2)), np.zeros(0, np.int64), top=(1, 5)) == nothing


def test_a_frame_tells_how_many_classes_came_before_the_true_one() -> None:
    measured = Classification(3)
    given = np.array([[0.9, 0.1, 0.5], [0.9, 0.1, 0.5], [0.5, 0.5, 0.5], [0.9, np.nan, 0.5]])
    assert measured.add_frame(given, np.array([0, 1, 2, 1])).tolist() == [0, 2, 2, 3]
    assert measured.matrix.tolist() == [[1, 0, 0, 0], [2, 0, 0, 0], [1, 0, 0, 0]]


@pytest.mark.parametrize('given,truth,text', [
    (np.zeros((2, 3)), np.array([0]), 'do not fit'),
    (np.zeros((1, 4)), np.array([0]), 'do not fit'),
    (np.zeros(3), np.array(0), 'do not fit'),
    (np.zeros((1, 3)), np.array([3]), 'the class 3'),
])
def test_what_cannot_be_compared_is_said(
    given: np.ndarray, truth: np.ndarray, text: str
) -> None:
    with pytest.raises(RobotQaError, match=text):
        Classification(3).add_frame(given, truth)


def test_a_k_below_one_is_no_k() -> None:
    with pytest.raises(RobotQaError, match='got 0'):
        Classification(3, (1, 0))
