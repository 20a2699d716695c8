"""Object detection: exact against pycocotools, and against numbers worked out by hand."""

from __future__ import annotations

import contextlib
import io
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import ConvexHull, HalfspaceIntersection

from robot_qa.errors import RobotQaError
from robot_qa.perception.average_precision import average_precision_nuscenes
from robot_qa.perception.boxes_3d import common_area, overlap
from robot_qa.perception.confidence import (
    block_length,
    correlation_time,
    drawn_blocks,
    share_of_frames,
)
from robot_qa.perception.detection import Evaluator
from robot_qa.perception.detection_result import Counts, DetectionResult
from robot_qa.perception.objects import Detections, Truth
from robot_qa.perception.settings import IN_SPACE, NUSCENES, SIZES, Settings
from robot_qa.stats import Confidence

BOX = (0.0, 0.0, 40.0, 40.0)
FAR = (500.0, 500.0, 40.0, 40.0)
ONE_RANGE = Settings(thresholds=(0.5,), ranges={'all': (0.0, 1e10)})
SURE = Confidence(0.95)

Row = tuple[Any, ...]


def found(*rows: Row) -> Detections:
    """Rows of a box, a label and a score."""
    return Detections.of([row[0] for row in rows], [row[1] for row in rows],
                         [row[2] for row in rows])


def there(*rows: Row, **columns: Any) -> Truth:
    """Rows of a box and a label."""
    return Truth.of([row[0] for row in rows], [row[1] for row in rows], **columns)


def result_of(*frames: tuple[Detections, Truth], settings: Settings | None = None
              ) -> DetectionResult:
    evaluator = Evaluator(settings)
    for detections, truth in frames:
        evaluator.add_frame(detections, truth)
    return evaluator.result()


class Case:
    """Random frames, full of what is hard: ties, crowds, nested and equal boxes, empty frames."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.frames, self.classes = int(rng.integers(1, 6)), int(rng.integers(1, 4))
        true, count = int(rng.choice([0, 3, 15])), int(rng.choice([0, 4, 40]))
        side = rng.choice([8.0, 30.0, 60.0, 150.0])
        self.on_grid = rng.random() < 0.5
        boxes = self.boxes(rng, true, side)
        detected = self.boxes(rng, count, side)
        if true and rng.random() < 0.8:
            near = boxes[rng.integers(true, size=count)]
            detected = near * rng.choice([1.0, 1.05, 0.9, 0.8], size=(count, 4))
        scores = rng.random(count)
        self.true_frames = np.sort(rng.integers(self.frames, size=true))
        self.found_frames = rng.integers(self.frames, size=count)
        areas = boxes[:, 2] * boxes[:, 3] * rng.choice([1.0, 0.5])
        self.truth = Truth.of(boxes, rng.integers(self.classes, size=true),
                              rng.random(true) < 0.15, rng.random(true) < 0.1, areas)
        self.found = Detections.of(
            detected, rng.integers(self.classes, size=count),
            np.round(scores, 1) if rng.random() < 0.5 else scores)
        self.most = (1, 3, 8) if rng.random() < 0.5 else (1, 10, 100)
        self.at_once = bool(rng.random() < 0.5)

    def boxes(self, rng: np.random.Generator, count: int, side: float) -> Any:
        boxes = np.hstack((rng.uniform(0, 2 * side, (count, 2)),
                           rng.uniform(side / 2, 2 * side, (count, 2))))
        return np.round(boxes / 4) * 4 if self.on_grid else boxes

    def result(self) -> DetectionResult:
        evaluator = Evaluator(Settings(max_detections=self.most))
        if self.at_once:
            evaluator.add_frames(self.frames, self.found, self.found_frames,
                                 self.truth, self.true_frames)
        else:
            for frame in range(self.frames):
                evaluator.add_frame(self.found[self.found_frames == frame],
                                    self.truth[self.true_frames == frame])
        return evaluator.result()

    def reference(self) -> tuple[Any, Any]:
        """Return the precision (thresholds, recalls, classes, ranges) and recall of COCO."""
        tool = pytest.importorskip('pycocotools.cocoeval')
        coco_class = pytest.importorskip('pycocotools.coco').COCO
        coco, detections = coco_class(), coco_class()
        kinds = [{'id': label} for label in range(self.classes)]
        images = [{'id': frame} for frame in range(self.frames)]
        truth, extents = self.truth, self.truth.extents
        assert extents is not None
        coco.dataset = {'images': images, 'categories': kinds, 'annotations': [
            {'id': row + 1, 'image_id': int(self.true_frames[row]), 'bbox': box.tolist(),
             'category_id': int(truth.labels[row]), 'iscrowd': int(truth.crowd[row]),
             # pycocotools ignores no single object but one that is in no range.
             'area': 1e12 if truth.ignored[row] else float(extents[row])}
            for row, box in enumerate(truth.boxes)]}
        detections.dataset = {'images': images, 'categories': kinds, 'annotations': [
            {'id': row + 1, 'image_id': int(self.found_frames[row]), 'bbox': box.tolist(),
             'category_id': int(self.found.labels[row]), 'area': float(box[2] * box[3]),
             'score': float(self.found.scores[row]), 'iscrowd': 0}
            for row, box in enumerate(self.found.boxes)]}
        with contextlib.redirect_stdout(io.StringIO()):
            coco.createIndex()
            detections.createIndex()
            judge = tool.COCOeval(coco, detections, 'bbox')
            judge.params.maxDets = list(self.most)
            judge.evaluate()
            judge.accumulate()
        return judge.eval['precision'][..., -1], judge.eval['recall']


@pytest.mark.parametrize('start', range(0, 2000, 250))
def test_average_precision_and_recall_are_those_of_pycocotools(start: int) -> None:
    for seed in range(start, start + 250):
        case = Case(seed)
        precision, recall = case.reference()
        result = case.result()
        for label in range(case.classes):
            theirs = precision[:, :, label].mean(axis=1)
            row = np.flatnonzero(result.labels == label)
            if len(row) == 0:
                assert (theirs == -1).all()
                continue
            np.testing.assert_allclose(
                result.average_precisions[:, row[0]], np.where(theirs == -1, np.nan, theirs),
                rtol=0, atol=1e-9, err_msg=f'seed {seed}')
            np.testing.assert_allclose(
                result.recalls[:, row[0]],
                np.where(recall[:, label] == -1, np.nan, recall[:, label]),
                rtol=0, atol=1e-9, err_msg=f'seed {seed}')
        for size, name in enumerate(SIZES):
            known = precision[:, :, :, size][precision[:, :, :, size] > -1]
            assert result.ap(size=name) == (
                pytest.approx(known.mean(), abs=1e-9) if len(known) else None)
            at = recall[2, :, size, 1][recall[2, :, size, 1] > -1]
            assert result.ar(threshold=0.6, size=name, max_detections=case.most[1]) == (
                pytest.approx(at.mean(), abs=1e-9) if len(at) else None)


@given(st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_counts_and_confusion_add_up(seed: int) -> None:
    case = Case(seed)
    result = case.result()
    confusion = result.confusion()
    assert confusion.counts[-1, -1] == 0
    for row, label in enumerate(result.labels.tolist()):
        counts = result.counts(0.5, 0.5, label=label)
        hits = confusion.counts[row, row]
        assert counts == Counts(hits, confusion.counts[:, row].sum() - hits,
                                confusion.counts[row].sum() - hits)
    halves = [result.counts(score) for score in (0.0, 0.3, 0.9)]
    assert halves[0].hits >= halves[1].hits >= halves[2].hits
    assert len({half.hits + half.missed for half in halves}) == 1


def test_a_better_fit_may_not_displace_a_surer_detection() -> None:
    near = (4.0, 0.0, 40.0, 40.0)
    result = result_of((found((near, 0, 0.9), (BOX, 0, 0.8)), there((BOX, 0))))
    assert result.counts(0.0) == Counts(1, 1, 0)
    assert result.ap(threshold=0.5) == pytest.approx(1.0)
    # IoU 36/44: found up to 0.80; from 0.85 on, the first detection lies and the second hits.
    assert result.ap(threshold=0.8) == pytest.approx(1.0)
    assert result.ap(threshold=0.85) == pytest.approx(0.5)
    assert result.ap() == pytest.approx((7 * 1.0 + 3 * 0.5) / 10)


def test_of_two_objects_that_fit_equally_the_later_is_taken() -> None:
    right = (20.0, 0.0, 40.0, 40.0)
    frame = found(((10.0, 0.0, 40.0, 40.0), 0, 0.9), ((24.0, 0.0, 40.0, 40.0), 0, 0.8))
    assert result_of((frame, there((BOX, 0), (right, 0)))).counts(0.5) == Counts(1, 1, 1)
    assert result_of((frame, there((right, 0), (BOX, 0)))).counts(0.5) == Counts(2, 0, 0)


def test_the_curve_by_hand() -> None:
    """Hit, lie, hit of three objects: precision 1, 1/2, 2/3 at recall 1/3, 1/3, 2/3."""
    second = (100.0, 0.0, 40.0, 40.0)
    truth = there((BOX, 0), (second, 0), ((200.0, 0.0, 40.0, 40.0), 0))
    result = result_of((found((BOX, 0, 0.9), (FAR, 0, 0.8), (second, 0, 0.7)), truth))
    # Of the 101 recalls, 0 .. 0.33 are reached at once, 0.34 .. 0.66 at 2/3, the rest never.
    assert result.ap(threshold=0.5) == pytest.approx((34 * 1.0 + 33 * 2 / 3) / 101)
    assert result.counts(0.75) == Counts(1, 1, 2)
    counts = result.counts(0.7)
    assert (counts.precision, counts.recall, counts.f1) == pytest.approx((2 / 3, 2 / 3, 2 / 3))
    assert result.ar(threshold=0.5, max_detections=1) == pytest.approx(1 / 3)
    # nuScenes interpolates: 1 up to recall 1/3, then from 1/2 there to 2/3 at recall 2/3.
    recalls = np.arange(11, 101) / 100
    curve = np.where(recalls <= 1 / 3, 1.0, np.where(
        recalls <= 2 / 3, 0.5 + (recalls - 1 / 3) / 2, 0.0))
    assert average_precision_nuscenes(np.array([True, False, True]), 3) == pytest.approx(
        np.maximum(curve - 0.1, 0.0).mean() / 0.9)


def test_nothing_is_not_zero() -> None:
    none = found(), there()
    empty = result_of(none)
    assert (empty.ap(), empty.ar(), empty.calibration(), empty.ap_bounds(0.95)) == (None,) * 4
    assert empty.recall_bounds(SURE, 0.5) is None and empty.counts(0.5).precision is None
    unseen = result_of((found(), there((BOX, 3))))
    assert (unseen.ap(), unseen.ar(), unseen.counts(0.5)) == (0.0, 0.0, Counts(0, 0, 1))
    lies = result_of((found((BOX, 3, 0.9)), there()))
    assert (lies.ap(), lies.counts(0.5).recall, lies.counts(0.5).precision) == (None, None, 0.0)
    # A class without truth has no part in the mean, one that is never found has.
    mixed = result_of((found((BOX, 0, 0.9), (FAR, 1, 0.9)), there((BOX, 0), (FAR, 2))))
    assert mixed.ap() == pytest.approx(0.5)
    assert (mixed.ap(0), mixed.ap(1), mixed.ap(2)) == (pytest.approx(1.0), None, 0.0)
    assert Evaluator().result().ap() is None


def test_what_is_ignored_is_neither_found_nor_a_lie() -> None:
    frame = found((BOX, 0, 0.9), (BOX, 0, 0.8))
    assert result_of((frame, there((BOX, 0), ignored=[True]))).counts(0.5) == Counts(0, 1, 0)
    assert result_of((frame, there((BOX, 0), crowd=[True]))).counts(0.5) == Counts(0, 0, 0)
    # Inside a crowd's region is enough, however small the detection is.
    inside = (10.0, 10.0, 4.0, 4.0)
    assert result_of((found((inside, 0, 0.9)), there((BOX, 0), crowd=[True]))
                     ).counts(0.5) == Counts(0, 0, 0)
    # 40 x 40 is medium: as a small object it does not count.
    result = result_of((found((BOX, 0, 0.9), (FAR, 0, 0.8)), there((BOX, 0))))
    assert result.counts(0.5, size='medium') == Counts(1, 1, 0)
    assert result.counts(0.5, size='small') == Counts(0, 0, 0)
    assert result.ap(size='small') is None


def test_the_confusion_matrix_by_hand() -> None:
    third = (300.0, 0.0, 40.0, 40.0)
    result = result_of((
        found((BOX, 0, 0.9), (FAR, 2, 0.8), (FAR, 1, 0.7), (third, 1, 0.4),
              ((900.0, 0.0, 9.0, 9.0), 0, 0.6)),
        there((BOX, 0), (FAR, 1), (third, 1), ((700.0, 0.0, 40.0, 40.0), 2)),
    ))
    # The surer "2" on the object of class 1 does not take it from the right "1".
    assert result.confusion().labels.tolist() == [0, 1, 2]
    assert result.confusion().counts.tolist() == [
        [1, 0, 0, 0], [0, 1, 0, 1], [0, 0, 0, 1], [1, 0, 1, 0]]
    # What is not sure enough to count takes no object from what is.
    mistaken = result_of((found((BOX, 1, 0.9), (BOX, 0, 0.4)), there((BOX, 0))))
    assert mistaken.confusion().counts.tolist() == [[0, 1, 0], [0, 0, 0], [0, 0, 0]]


def test_the_calibration_error_by_hand() -> None:
    result = result_of((
        found((BOX, 0, 0.95), (FAR, 0, 0.85), (FAR, 0, 0.15), (FAR, 0, 0.2)), there((BOX, 0))))
    bins = result.calibration(10)
    assert bins is not None
    assert bins.counts.tolist() == [0, 2, 0, 0, 0, 0, 0, 0, 1, 1]
    # |1 - 0.95|, |0 - 0.85| and twice |0 - 0.175|
    assert bins.error == pytest.approx((0.05 + 0.85 + 2 * 0.175) / 4)
    with pytest.raises(RobotQaError, match='scores from 0 to 1'):
        result_of((found((BOX, 0, 1.5)), there((BOX, 0)))).calibration()


def test_chosen_frames_are_as_if_they_were_the_only_ones() -> None:
    case = Case(12)
    whole, alone = Evaluator(), Evaluator()
    for turn in range(4):
        for frame in range(case.frames):
            pair = (case.found[case.found_frames == frame],
                    case.truth[case.true_frames == frame])
            whole.add_frame(*pair)
            if turn == 2:
                alone.add_frame(*pair)
    chosen = np.arange(4 * case.frames) // case.frames == 2
    one, other = whole.result(chosen), alone.result()
    assert one.ap() == other.ap() is not None
    assert one.counts(0.3) == other.counts(0.3)
    assert one.ap_bounds(0.95, resamples=50) == other.ap_bounds(0.95, resamples=50)
    before = whole.result()
    held = before.counts(0.3)
    whole.add_frame(found((BOX, 0, 0.9)), there((BOX, 0)))
    assert before.counts(0.3) == held and whole.result().counts(0.3).hits == held.hits + 1


def test_memory_is_bounded_and_what_is_left_out_is_counted() -> None:
    evaluator = Evaluator(most_rows=7)
    for _ in range(10):
        evaluator.add_frame(found((BOX, 0, 0.9), (FAR, 0, 0.5)), there((BOX, 0)))
    assert (evaluator.frames, evaluator.frames_left_out) == (3, 7)
    assert evaluator.result().counts(0.5) == Counts(3, 3, 0)


@pytest.mark.parametrize('columns', [
    ([[0, 0, 1]], [0], [0.5]), ([[0, 0, 1, np.nan]], [0], [0.5]), ([BOX], [0], [np.nan]),
    ([BOX], [-1], [0.5]), ([BOX], [2 ** 31], [0.5]), ([BOX], [0, 1], [0.5]),
    ([BOX], [0], [0.5, 0.6]),
])
def test_broken_columns_are_refused(columns: Row) -> None:
    with pytest.raises(RobotQaError):
        Evaluator().add_frame(Detections.of(*columns), there())


@pytest.mark.parametrize('wrong', [
    {'threshold': 0.52}, {'thresholds': ()}, {'max_detections': (10, 1)},
    {'thresholds': tuple(np.arange(1, 18) / 20)},
])
def test_impossible_settings_are_refused(wrong: Any) -> None:
    with pytest.raises(RobotQaError):
        Settings(**wrong)
    with pytest.raises(RobotQaError):
        result_of((found(), there())).ap(threshold=0.52)
    with pytest.raises(RobotQaError):
        result_of((found(), there())).ap(size='tiny')


def test_one_more_frame_costs_less_than_a_millisecond() -> None:
    rng = np.random.default_rng(5)
    boxes = np.hstack((rng.uniform(0, 600, (10, 2)), rng.uniform(30, 90, (10, 2))))
    truth = Truth.of(boxes, np.arange(10) % 3)
    near = np.tile(boxes, (4, 1)) + rng.normal(0, 5, (40, 4))
    detections = Detections.of(near, np.tile(truth.labels, 4), rng.random(40))
    evaluator, times = Evaluator(), []
    for _ in range(300):
        start = time.thread_time()
        evaluator.add_frame(detections, truth)
        times.append(time.thread_time() - start)
    assert np.median(times) < 1e-3


def test_boxes_in_space_by_hand() -> None:
    unit = np.array([[3.0, -2.0, 1.0, 2.0, 2.0, 2.0, 0.3]])
    none = np.zeros(1, bool)

    def iou(**changes: float) -> float:
        other = unit.copy()
        for name, change in changes.items():
            other[0, 'xyzlwhr'.index(name)] += change
        return float(overlap(other, unit, none)[0])

    assert iou() == pytest.approx(1.0)
    assert iou(r=np.pi / 2) == pytest.approx(1.0)
    # A square turned by 45 degrees leaves a regular octagon of 2 (sqrt 2 - 1) of its area.
    octagon = 2 * (np.sqrt(2) - 1)
    assert iou(r=np.pi / 4) == pytest.approx(octagon / (2 - octagon))
    assert iou(z=1.0) == pytest.approx(1 / 3)
    assert iou(z=2.0) == 0.0
    assert iou(x=np.cos(0.3), y=np.sin(0.3)) == pytest.approx(1 / 3)
    assert iou(x=5.0) == 0.0
    assert iou(l=-1.0, w=-1.0, h=-1.0) == pytest.approx(1 / 8)
    small = unit * [1, 1, 1, 0.5, 0.5, 0.5, 1]
    assert overlap(small, unit, ~none)[0] == pytest.approx(1.0)
    # Next to a special case the area is next to it too.
    assert iou(x=1e-13, r=-1e-13) == pytest.approx(1.0, abs=1e-9)


def test_the_area_that_turned_boxes_share_is_that_of_scipys_halfspaces() -> None:
    rng = np.random.default_rng(3)
    pairs = rng.uniform(-2, 2, (2, 400, 7))
    pairs[..., 3:6] = rng.uniform(0.2, 5, (2, 400, 3))
    pairs[..., 6] = rng.uniform(-7, 7, (2, 400))
    areas = common_area(*pairs)
    inside = 0
    for first, second, area in zip(*pairs, areas, strict=True):
        sides = []
        for x, y, _, length, width, _, yaw in (first, second):
            for turn, half in enumerate((length, width, length, width)):
                normal = np.array([np.cos(yaw + turn * np.pi / 2), np.sin(yaw + turn * np.pi / 2)])
                sides.append([*normal, -float(normal @ (x, y)) - half / 2])
        # A point of both boxes, found on a grid over the first.
        steps = (np.stack(np.meshgrid(*[np.linspace(-0.499, 0.499, 60)] * 2), -1).reshape(-1, 2)
                 * first[3:5])
        cosine, sine = np.cos(first[6]), np.sin(first[6])
        points = steps @ np.array([[cosine, sine], [-sine, cosine]]) + first[:2]
        depth = (points @ np.array(sides)[:, :2].T + np.array(sides)[:, 2]).max(axis=1)
        if depth.min() < -1e-3:
            corners = HalfspaceIntersection(np.array(sides), points[depth.argmin()])
            assert area == pytest.approx(ConvexHull(corners.intersections).volume, rel=1e-9)
            inside += 1
        else:
            assert area < 0.2
    assert inside > 200


def space(x: float, y: float = 0.0) -> tuple[float, ...]:
    return x, y, 0.5, 1.0, 1.0, 1.0, 0.0


def test_detection_in_space_by_volume_and_by_distance() -> None:
    frame = (found((space(5.0), 0, 0.9), (space(9.2), 0, 0.8)),
             there((space(5.1), 0), (space(10.0), 0)))
    result = result_of(frame, settings=IN_SPACE)
    # IoU 0.9 / 1.1, and 0.2 / 1.8.
    assert result.counts(0.5, 0.7) == Counts(1, 1, 1) == result.counts(0.5, 0.25)
    distance = result_of(frame, settings=NUSCENES)
    assert distance.counts(0.5, 0.5) == Counts(1, 1, 1)
    assert distance.counts(0.5, 1.0) == Counts(2, 0, 0)
    assert distance.ap_nuscenes(threshold=1.0) == pytest.approx(1.0)
    # Precision 1 below a recall of one half, there that of both, and beyond it nothing.
    assert distance.ap_nuscenes(threshold=0.5) == pytest.approx((39 * 0.9 + 0.4) / 90 / 0.9)
    # Exactly at the threshold is not nearer than it.
    edge = result_of((found((space(1.0), 0, 0.9)), there((space(2.0), 0))), settings=NUSCENES)
    assert (edge.counts(0.5, 1.0).hits, edge.counts(0.5, 2.0).hits) == (0, 1)
    with pytest.raises(RobotQaError, match='4 numbers instead of 7'):
        result_of((found((BOX, 0, 0.9)), there()), settings=IN_SPACE)


@pytest.mark.parametrize('seed', range(40))
def test_centre_distance_ap_is_what_a_plain_loop_gives(seed: int) -> None:
    rng = np.random.default_rng(seed)
    true, count = 30, 60
    truth = Truth.of([space(*row) for row in rng.uniform(0, 12, (true, 2))], np.zeros(true, int))
    detections = Detections.of([space(*row) for row in rng.uniform(0, 12, (count, 2))],
                               np.zeros(count, int), rng.random(count))
    frames, true_frames = rng.integers(3, size=count), rng.integers(3, size=true)
    evaluator = Evaluator(NUSCENES)
    evaluator.add_frames(3, detections, frames, truth, true_frames)
    for limit in NUSCENES.thresholds:
        taken: set[int] = set()
        hits = []
        for row in np.argsort(-detections.scores):
            free = [other for other in range(true)
                    if other not in taken and true_frames[other] == frames[row]]
            apart = [float(np.hypot(*(truth.boxes[other] - detections.boxes[row])[:2]))
                     for other in free]
            hits.append(bool(apart) and min(apart) < limit)
            if hits[-1]:
                taken.add(free[int(np.argmin(apart))])
        right = np.cumsum(hits)
        precision = right / np.arange(1, count + 1)
        curve = np.interp(np.linspace(0, 1, 101), right / true, precision, right=0)[11:]
        assert evaluator.result().ap_nuscenes(threshold=limit) == pytest.approx(
            np.maximum(curve - 0.1, 0).mean() / 0.9, abs=1e-12)


def simulated(seed: int, frames: int, memory: float) -> DetectionResult:
    """Three objects a frame, found the more often the easier the scene, which changes slowly."""
    rng = np.random.default_rng(seed)
    ease = rng.normal(size=frames)
    for frame in range(1, frames):
        ease[frame] = memory * ease[frame - 1] + np.sqrt(1 - memory ** 2) * ease[frame]
    at = np.repeat(np.arange(frames), 3)
    boxes = np.tile([[0, 0, 40, 40], [100, 0, 40, 40], [200, 0, 40, 40]], (frames, 1))
    chance = 1 / (1 + np.exp(-1.5 - ease[at]))
    hit = rng.random(len(at)) < chance
    lies = np.repeat(np.arange(frames), rng.poisson(0.5, frames))
    detections = Detections.of(
        np.concatenate((boxes[hit], np.tile(FAR, (len(lies), 1)))),
        np.zeros(hit.sum() + len(lies), int),
        np.concatenate((rng.beta(3 + 2 * chance[hit], 2), rng.beta(2, 3, len(lies)))))
    evaluator = Evaluator(ONE_RANGE)
    evaluator.add_frames(frames, detections, np.concatenate((at[hit], lies)),
                         Truth.of(boxes, np.zeros(len(at), int)), at)
    return evaluator.result()


@pytest.mark.parametrize('memory', [0.0, 0.9])
def test_bounds_hold_as_often_as_they_say(memory: float) -> None:
    endless = simulated(0, 100_000, memory)
    truth = endless.ap(), endless.counts(0.5).recall, endless.counts(0.5).precision
    runs = 100
    held = np.zeros((2, 3))
    for seed in range(1, runs + 1):
        result = simulated(seed, 300, memory)
        bounds = (result.ap_bounds(0.95, resamples=200), result.recall_bounds(SURE, 0.5),
                  result.precision_bounds(SURE, 0.5))
        for place, (bound, true) in enumerate(zip(bounds, truth, strict=True)):
            assert bound is not None and bound.low is not None and bound.high is not None
            assert true is not None and bound.low <= bound.value <= bound.high
            held[:, place] += bound.low <= true, bound.high >= true
    # 95 % asked for; a fair 95 % is below 88 of 100 once in 500 times.
    assert (held >= 88).all(), held


def test_perfect_frames_do_not_make_certainty() -> None:
    frame = found((BOX, 0, 0.9)), there((BOX, 0))
    result = result_of(*[frame] * 100, settings=ONE_RANGE)
    bounds, recall = result.ap_bounds(0.95), result.recall_bounds(SURE, 0.5)
    assert bounds is not None and bounds.low is not None and recall is not None
    assert recall.low == pytest.approx(0.05 ** (1 / 100))  # Clopper and Pearson without a miss
    assert bounds.low == pytest.approx(0.97, abs=0.011) and bounds.high == pytest.approx(1.0)
    # One frame, or one block, may as well be the exception.
    single = result_of(frame, settings=ONE_RANGE)
    for few in (single.ap_bounds(0.95), result.ap_bounds(0.95, block=100)):
        assert few is not None and (few.low, few.high) == (0.0, pytest.approx(1.0))
    again = result.ap_bounds(0.95)
    assert again == bounds
    missed = result_of(*[(found(), there((BOX, 0)))] * 100, settings=ONE_RANGE).ap_bounds(0.95)
    assert missed is not None and missed.low == 0.0 and 0.02 < (missed.high or 0.0) < 0.06


def test_repeated_frames_are_worth_no_more_than_the_frames() -> None:
    rng = np.random.default_rng(2)
    won = rng.binomial(4, 0.8, 100)
    once = share_of_frames(won, np.full(100, 4), SURE)
    slow = share_of_frames(np.repeat(won, 20), np.full(2000, 4), SURE)
    assert once is not None and slow is not None and once.low is not None and slow.low is not None
    assert slow.low == pytest.approx(once.low, abs=0.02)
    together = share_of_frames(10 * (won > 2), np.full(100, 10), SURE)
    single = share_of_frames((won > 2).astype(int), np.full(100, 1), SURE)
    assert together is not None and single is not None
    assert (together.low, together.high) == pytest.approx((single.low, single.high))
    # For the worth of 400 fair throws the exact bound is near 0.8 - 1.645 * 0.02.
    assert once.low == pytest.approx(0.767, abs=0.02)
    noise = rng.normal(size=2000)
    assert correlation_time(noise) < 1.3 and block_length(noise) < 3
    assert correlation_time(np.repeat(noise[:200], 10)) == pytest.approx(10.0, rel=0.3)


def test_blocks_are_whole_and_every_frame_is_as_likely() -> None:
    drawn, extra = drawn_blocks(np.random.default_rng(0), 10, 4, 20_000)
    assert (drawn.sum(axis=1) + extra == 12).all()
    np.testing.assert_allclose(drawn.mean(axis=0), 12 / 10 * 3 / 4, atol=0.03)
    assert extra.mean() == pytest.approx(12 / 4, abs=0.05)
    edges = np.diff(drawn, axis=1, append=drawn[:, :1])
    assert (np.abs(edges).sum(axis=1) <= 2 * 3).all()
