"""Scores of label images against scikit-learn, and the edges that it leaves open."""

from __future__ import annotations

import numpy as np
import pytest

from robot_qa.errors import RobotQaError
from robot_qa.perception.segmentation import Segmentation, SegmentationScores

IGNORED = 255


def image(*labels: int) -> np.ndarray:
    return np.array([labels], np.uint8)


def scores(
    predicted: np.ndarray, truth: np.ndarray, classes: int = 3, ignored: tuple[int, ...] = ()
) -> SegmentationScores:
    measured = Segmentation(classes, ignored)
    measured.add_frame(predicted, truth)
    return measured.result()


@pytest.mark.parametrize('seed', range(4))
def test_agrees_with_scikit_learn(seed: int) -> None:
    metrics = pytest.importorskip('sklearn.metrics')
    rng = np.random.default_rng(seed)
    for _ in range(75):
        classes, frames = int(rng.integers(1, 8)), int(rng.integers(1, 4))
        truth = rng.integers(0, classes, (frames, 9, 7)).astype(np.uint8)
        predicted = np.where(rng.random(truth.shape) < rng.random(), truth,
                             rng.integers(0, classes, truth.shape).astype(np.uint8))
        truth[rng.random(truth.shape) < rng.choice([0.0, 0.3])] = IGNORED
        measured = Segmentation(classes, (IGNORED,))
        for one, other in zip(predicted, truth, strict=True):
            measured.add_frame(one, other)
        got = measured.result()
        kept = truth != IGNORED
        pair = truth[kept], predicted[kept]
        assert got.pixels == kept.sum()
        assert got.pixel_accuracy == pytest.approx(metrics.accuracy_score(*pair), abs=1e-12)
        assert got.mean_iou == pytest.approx(
            metrics.jaccard_score(*pair, average='macro', zero_division=0), abs=1e-12)
        assert got.mean_dice == pytest.approx(
            metrics.f1_score(*pair, average='macro', zero_division=0), abs=1e-12)
        present = np.unique(np.concatenate(pair))
        for label in range(classes):
            if label not in present:
                assert got.iou[label] is None and got.dice[label] is None
        assert [got.iou[label] for label in present] == pytest.approx(
            metrics.jaccard_score(*pair, average=None, labels=present, zero_division=0))
        assert [got.dice[label] for label in present] == pytest.approx(
            metrics.f1_score(*pair, average=None, labels=present, zero_division=0))


def test_by_hand() -> None:
    """Class 0: 2 hits, 1 miss. Class 1: 1 hit, 1 false alarm, 1 miss. Class 2: 1 false alarm."""
    got = scores(image(0, 0, 1, 1, 2), image(0, 0, 0, 1, 1))
    assert got.pixels == 5
    assert got.pixel_accuracy == pytest.approx(3 / 5)
    assert got.iou == pytest.approx((2 / 3, 1 / 3, 0.0))
    assert got.dice == pytest.approx((4 / 5, 1 / 2, 0.0))
    assert got.mean_iou == pytest.approx(1 / 3)
    assert got.mean_dice == pytest.approx(1.3 / 3)


def test_a_label_that_is_no_class_is_wrong_but_no_other_classs_false_alarm() -> None:
    got = scores(image(0, IGNORED, 7), image(0, 0, 1), ignored=(IGNORED,))
    assert got.pixel_accuracy == pytest.approx(1 / 3)
    assert got.iou == (0.5, 0.0, None)
    assert scores(np.array([-1, 1]), np.array([0, 1])).iou == (0.0, 1.0, None)


@pytest.mark.parametrize('predicted,truth', [
    (image(0, 1), image(IGNORED, IGNORED)), (image(), image()),
], ids=['all ignored', 'no pixels'])
def test_nothing_evaluated_has_no_score(predicted: np.ndarray, truth: np.ndarray) -> None:
    nothing = SegmentationScores(0, None, None, None, (None,) * 3, (None,) * 3)
    assert scores(predicted, truth, ignored=(IGNORED,)) == nothing
    assert Segmentation(3).result() == nothing


def test_several_labels_may_be_ignored() -> None:
    assert scores(image(0, 1, 1), image(0, 9, 8), ignored=(9, 8)).pixels == 1


def test_frames_are_one_large_image_and_each_gives_its_own_matrix() -> None:
    measured = Segmentation(3)
    first = measured.add_frame(image(0, 1), image(0, 0))
    second = measured.add_frame(image(2), image(2))
    assert first.tolist() == [[1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert measured.result() == SegmentationScores.of(first + second)
    assert measured.result() == scores(image(0, 1, 2), image(0, 0, 2))


@pytest.mark.parametrize('predicted,truth,text', [
    (image(0, 1), image(0), 'shape'), (image(0), image(3), 'the class 3'),
    (np.array([0]), np.array([-1]), 'the class -1'),
])
def test_what_cannot_be_compared_is_said(
    predicted: np.ndarray, truth: np.ndarray, text: str
) -> None:
    for ignored in ((), (IGNORED,)):
        with pytest.raises(RobotQaError, match=text):
            scores(predicted, truth, ignored=ignored)
