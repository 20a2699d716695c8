"""Scores of trackers against TrackEval, and scenes worked out by hand."""

from __future__ import annotations

from dataclasses import astuple
from typing import Any

import numpy as np
import pytest

from robot_qa.errors import RobotQaError
from robot_qa.perception.tracking import FrameCounts, Tracking, TrackingScores

Frames = list[tuple[np.ndarray, np.ndarray, np.ndarray]]
NONE = np.zeros(0, np.int64)


def measure(frames: Any, threshold: float = 0.5) -> TrackingScores:
    tracking = Tracking(threshold)
    for true, predicted, similarity in frames:
        tracking.add_frame(true, predicted, np.reshape(similarity, (len(true), len(predicted))))
    return tracking.result()


def scene(rng: np.random.Generator, levels: int) -> Frames:
    """Objects with a place on a line, seen with gaps, noise, false alarms and changing ids."""
    tracks = int(rng.integers(1, 6))
    places, speeds = rng.uniform(0, 6, tracks), rng.normal(0, 0.3, tracks)
    ids = rng.permutation(20)[:tracks]
    frames = []
    missing, wrong, noise, change = rng.choice([0.0, 0.1, 0.4], 4)
    for frame in range(int(rng.integers(1, 25))):
        places = places + speeds
        if rng.random() < change:
            ids[rng.integers(tracks)] = 20 + rng.integers(20)
        if rng.random() < change:
            first, second = rng.integers(tracks, size=2)
            ids[first], ids[second] = ids[second], ids[first]
        first_of = np.isin(np.arange(tracks), np.unique(ids, return_index=True)[1])
        ids = np.where(first_of, ids, 200 + 10 * frame + np.arange(tracks))
        there = np.flatnonzero(rng.random(tracks) > missing / 2)
        found = np.flatnonzero(rng.random(tracks) > missing)
        spots = places[found] + rng.normal(0, noise + 1e-3, len(found))
        seen = ids[found]
        if rng.random() < wrong:
            seen, spots = np.append(seen, 100), np.append(spots, rng.uniform(0, 6))
        similarity = np.maximum(0, 1 - np.abs(places[there, None] - spots))
        if levels:
            similarity = np.round(similarity * levels) / levels
        if rng.random() < 0.05:
            there, similarity = NONE, similarity[:0]
        frames.append((there, seen, similarity))
    return frames


def by_trackeval(frames: Frames, threshold: float) -> dict[str, Any]:
    metrics = pytest.importorskip('trackeval.metrics')
    true = np.unique(np.concatenate([NONE, *(frame[0] for frame in frames)]))
    predicted = np.unique(np.concatenate([NONE, *(frame[1] for frame in frames)]))
    data = {
        'num_timesteps': len(frames), 'num_gt_ids': len(true), 'num_tracker_ids': len(predicted),
        'num_gt_dets': sum(len(frame[0]) for frame in frames),
        'num_tracker_dets': sum(len(frame[1]) for frame in frames),
        'gt_ids': [np.searchsorted(true, frame[0]) for frame in frames],
        'tracker_ids': [np.searchsorted(predicted, frame[1]) for frame in frames],
        'similarity_scores': [frame[2] for frame in frames],
    }
    options = {'THRESHOLD': threshold, 'PRINT_CONFIG': False}
    return {**data, **metrics.HOTA().eval_sequence(data),
            **metrics.CLEAR(options).eval_sequence(data),
            **metrics.Identity(options).eval_sequence(data)}


@pytest.mark.parametrize('seed', range(3))
@pytest.mark.parametrize('levels', [0, 4, 20], ids=['no ties', 'ties', 'ties at the thresholds'])
def test_agrees_with_trackeval(seed: int, levels: int) -> None:
    rng = np.random.default_rng([seed, levels])
    switches = fragments = 0
    for _ in range(70):
        frames = scene(rng, levels)
        threshold = float(rng.choice([0.3, 0.5, 0.75]))
        got, theirs = measure(frames, threshold), by_trackeval(frames, threshold)
        truth, predictions = theirs['num_gt_dets'], theirs['num_tracker_dets']
        assert (got.frames, got.truth, got.predictions, got.duplicates) == (
            len(frames), truth, predictions, 0)
        assert (got.misses, got.false_alarms, got.switches, got.fragmentations) == (
            theirs['CLR_FN'], theirs['CLR_FP'], theirs['IDSW'], theirs['Frag'])
        matches = truth - got.misses
        for mine, name, evaluated in (
            (got.mota, 'MOTA', truth), (got.motp, 'MOTP', matches),
            (got.idf1, 'IDF1', truth + predictions), (got.hota, 'HOTA', truth + predictions),
            (got.det_a, 'DetA', truth + predictions), (got.ass_a, 'AssA', theirs['DetA'].any()
                                                       if truth and predictions else 0),
        ):
            expected = float(np.mean(theirs[name])) if evaluated else None
            assert mine == (None if expected is None else pytest.approx(expected, abs=1e-9)), name
        switches += got.switches
        fragments += got.fragmentations
    assert switches > 50 and fragments > 50, 'the scenes are too easy'


def perfect(count: int) -> Any:
    return np.eye(count)


def test_perfect_tracks() -> None:
    got = measure([('ab', 'xy', perfect(2))] * 10)
    assert got == TrackingScores(
        frames=10, truth=20, predictions=20, duplicates=0, misses=0, false_alarms=0, switches=0,
        fragmentations=0, mota=1.0, motp=1.0, idf1=1.0, hota=pytest.approx(1.0),
        det_a=pytest.approx(1.0), ass_a=pytest.approx(1.0))


def test_one_switch_halfway() -> None:
    """One object over 10 frames, called x and then y: each association is right for half."""
    got = measure([('a', 'x', 1.0)] * 5 + [('a', 'y', 1.0)] * 5)
    assert (got.switches, got.fragmentations) == (1, 0)
    assert got.mota == pytest.approx(0.9)
    assert got.idf1 == pytest.approx(0.5)
    assert got.ass_a == pytest.approx(0.5)
    assert got.det_a == pytest.approx(1.0)
    assert got.hota == pytest.approx(np.sqrt(0.5))


def test_a_gap_is_a_fragmentation_and_no_switch() -> None:
    """A second object keeps the frames of the gap from being empty."""
    whole, gap = ('ab', 'xy', perfect(2)), ('ab', 'y', [[0.0], [1.0]])
    got = measure([whole, whole, gap, gap, whole])
    assert (got.fragmentations, got.switches, got.misses) == (1, 0, 2)
    assert got.mota == pytest.approx(0.8)


def test_an_empty_frame_interrupts_nothing_as_in_trackeval() -> None:
    whole = ('a', 'x', 1.0)
    assert measure([whole, ('a', '', NONE), whole]).fragmentations == 0


def test_a_match_is_kept_before_a_better_one() -> None:
    got = measure([('a', 'x', 1.0), ('a', 'xy', [0.5, 0.9])])
    assert got.switches == 0
    assert got.motp == pytest.approx(0.75)


def test_hota_weighs_each_threshold_alike() -> None:
    """Similarity 0.52 passes 10 of the 19 thresholds 0.05, 0.10 ... 0.95."""
    got = measure([('a', 'x', 0.52)] * 3)
    assert got.hota == got.det_a == got.ass_a == pytest.approx(10 / 19)


def test_an_id_that_is_repeated_in_a_frame_is_another_track() -> None:
    similarity = [[1.0, 0.9], [0.0, 0.8]]
    got = measure([('ab', 'xx', similarity)] * 3)
    renamed = measure([('ab', ['x', f'other {index}'], similarity) for index in range(3)])
    assert (got.duplicates, renamed.duplicates) == (3, 0)
    assert astuple(got)[4:] == astuple(renamed)[4:]
    assert got.switches == 2


def test_nothing_evaluated_has_no_score() -> None:
    empty = Tracking().result()
    assert empty == measure([('', '', NONE)] * 0)
    assert astuple(empty) == (0,) * 8 + (None,) * 6
    assert astuple(measure([('', '', NONE)] * 4)) == (4,) + (0,) * 7 + (None,) * 6


def test_nothing_predicted() -> None:
    got = measure([('ab', '', NONE)] * 4)
    assert (got.misses, got.mota, got.motp, got.idf1, got.hota, got.det_a, got.ass_a) == (
        8, 0.0, None, 0.0, 0.0, 0.0, None)


def test_no_truth() -> None:
    got = measure([('', 'xy', NONE)] * 4)
    assert (got.false_alarms, got.mota, got.motp, got.idf1, got.hota, got.ass_a) == (
        8, None, None, 0.0, 0.0, None)


def test_one_frame() -> None:
    got = measure([('ab', 'xyz', [[0.8, 0.0, 0.0], [0.0, 0.6, 0.0]])])
    assert (got.misses, got.false_alarms, got.mota) == (0, 1, 0.5)
    assert got.motp == pytest.approx(0.7)
    assert got.idf1 == pytest.approx(4 / 5)


def test_a_frame_tells_what_it_adds() -> None:
    tracking = Tracking()
    tracking.add_frame('ab', 'xy', perfect(2))
    assert tracking.add_frame('ab', 'yxz', np.array([[0.75, 0, 0], [0, 0.5, 0]])) == FrameCounts(
        truth=2, predictions=3, matches=2, switches=2, similarity=1.25)


@pytest.mark.parametrize('true,predicted,similarity,text', [
    ('ab', 'x', [[1.0]], 'do not fit'), ('a', 'x', [[1.01]], 'from 0 to 1'),
    ('a', 'x', [[np.nan]], 'from 0 to 1'), ('a', 'x', [[-0.1]], 'from 0 to 1'),
    ('aa', 'x', [[1.0], [1.0]], 'the truth holds an id twice'),
])
def test_what_cannot_be_compared_is_said_and_leaves_no_trace(
    true: str, predicted: str, similarity: Any, text: str
) -> None:
    tracking = Tracking()
    with pytest.raises(RobotQaError, match=text):
        tracking.add_frame(true, predicted, np.array(similarity))
    assert tracking.result() == Tracking().result()


@pytest.mark.parametrize('threshold', [0.0, 1.1, np.nan])
def test_a_threshold_is_above_zero_and_at_most_one(threshold: float) -> None:
    with pytest.raises(RobotQaError, match='threshold'):
        Tracking(threshold)
