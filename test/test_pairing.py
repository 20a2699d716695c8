"""Association in time: each rule, what is left over, and independence of how samples arrive."""

from __future__ import annotations

import random
from typing import Any

import pytest

from robot_qa.monitors.pairing import (
    PREDICTION,
    TRUTH,
    BracketPairing,
    ExactPairing,
    NearestPairing,
    Pairing,
    Sample,
    Side,
)

MS = 1_000_000
S = 1000 * MS
Made = tuple[int, int, int]


def fed(pairing: Pairing[str], order: list[tuple[Side, int]]) -> list[Made]:
    found = []
    for index, (side, stamp) in enumerate(order):
        found += [
            (pair.prediction.stamp_ns // MS, pair.before.stamp_ns // MS, pair.after.stamp_ns // MS)
            for pair in pairing.add(side, Sample(stamp * MS, index, f'{side}{index}'))
        ]
    return found


def run(pairing: Pairing[str], predictions: list[int], truths: list[int],
        seed: int | None = None) -> list[Made]:
    """Feed both sides, stamps in ms, predictions first or mixed at random."""
    sides: list[list[tuple[Side, int]]] = [
        [(PREDICTION, one) for one in predictions], [(TRUTH, one) for one in truths]]
    if seed is None:
        return fed(pairing, sides[0] + sides[1])
    rng, order = random.Random(seed), []
    while sides[0] or sides[1]:
        order.append(rng.choice([side for side in sides if side]).pop(0))
    return fed(pairing, order)


def test_exact_stamps_pair_and_each_truth_is_used_once() -> None:
    pairing = ExactPairing[str]()
    assert run(pairing, [0, 100, 100, 200, 350, 400], [0, 100, 200, 300, 400, 500]) == [
        (0, 0, 0), (100, 100, 100), (200, 200, 200), (400, 400, 400)]
    left = pairing.unpaired()
    assert (left.predictions, left.truths, left.pairs) == (2, 1, 4)
    assert [(stamp // MS, why) for stamp, _, why in pairing.first_lonely()] == [
        (100, 'no truth has its stamp'),
        (350, 'no truth has its stamp; the nearest one is 50 ms away')]


def test_what_lies_beyond_the_ends_of_the_other_side_does_not_count() -> None:
    pairing = ExactPairing[str]()
    run(pairing, [0, 100, 200, 300], [200, 300, 400])
    left = pairing.unpaired()
    assert (left.predictions, left.truths) == (0, 0)


def test_a_truth_that_died_leaves_predictions_alone() -> None:
    pairing = ExactPairing[str]()
    run(pairing, list(range(0, 30_000, 100)), list(range(0, 5_000, 100)))
    # Those of the last ten seconds may still be answered.
    assert pairing.unpaired().predictions == 149


def test_stamps_that_go_back_too_far_pair_with_nothing() -> None:
    pairing = ExactPairing[str]()
    assert run(pairing, [20_000, 0], [0, 20_000]) == [(20_000, 20_000, 20_000)]
    assert pairing.first_lonely()[0][2] == 'its stamp went back by 20 s'


def test_memory_is_bounded_without_the_other_side() -> None:
    bracket = BracketPairing[str](MS)
    bracket.most_waiting = 50
    for pairing in (ExactPairing[str](50), NearestPairing[str](MS, 50), bracket):
        fed(pairing, [(PREDICTION, one) for one in range(1000)])
        assert sum(1 for _ in pairing._waiting(PREDICTION)) <= 51
    for pairing in (ExactPairing[str](50), NearestPairing[str](MS, 200)):
        fed(pairing, [(TRUTH, one) for one in range(1000)])
        assert sum(1 for _ in pairing._waiting(TRUTH)) <= 300


def test_nearest_takes_the_mutually_nearest_within_the_tolerance() -> None:
    pairing = NearestPairing[str](20 * MS)
    got = run(pairing, [0, 95, 105, 230, 300, 1000], [10, 100, 200, 310, 1000, 2000])
    assert got == [(0, 10, 10), (95, 100, 100), (300, 310, 310)]
    left = pairing.unpaired()
    assert (left.predictions, left.pairs) == (2, 3)  # 105 came second, 230 has none near
    assert left.truths == 1  # 200


def test_interpolation_needs_two_near_truths() -> None:
    pairing = BracketPairing[str](100 * MS)
    got = run(pairing, [5, 50, 100, 150, 290, 420], [0, 100, 200, 400, 450])
    assert got == [(5, 0, 100), (50, 0, 100), (100, 100, 100), (150, 100, 200), (420, 400, 450)]
    assert pairing.unpaired().predictions == 1  # 290 lies between truths 200 ms apart


@pytest.mark.parametrize('make', [
    ExactPairing, lambda: NearestPairing(30 * MS), lambda: BracketPairing(150 * MS)])
def test_how_samples_arrive_makes_no_difference(make: Any) -> None:
    rng = random.Random(5)
    predictions = sorted(rng.sample(range(0, 60_000, 5), 600))
    truths = sorted(rng.sample(range(0, 60_000, 5), 700))
    results = []
    for seed in (None, 1, 2, 3):
        pairing = make()
        results.append((run(pairing, predictions, truths, seed), pairing.unpaired(),
                        pairing.first_lonely()))
    assert len(results[0][0]) > 20
    assert all(one[:2] == results[0][:2] for one in results)
    whys = [[(stamp, why) for stamp, _, why in one[2]] for one in results]
    assert all(one == whys[0] for one in whys)


@pytest.mark.parametrize('tolerance', [1, 20, 40, 300])
def test_nearest_pairs_are_those_of_a_search_over_everything(tolerance: int) -> None:
    rng = random.Random(tolerance)
    predictions = sorted(rng.sample(range(20_000), 300))
    truths = [*sorted(rng.sample(range(20_000), 300)), 90_000]
    got = run(NearestPairing[str](tolerance * MS), [*predictions, 90_000], truths, 1)
    wanted = []
    for one in predictions:
        near = min(truths, key=lambda other: (abs(other - one), other))
        back = min(predictions, key=lambda other: (abs(other - near), other))
        if back == one and abs(near - one) <= tolerance:
            wanted.append((one, near, near))
    assert got == wanted
