"""Association in time: each rule, what is left over, and independence of how samples arrive."""

from __future__ import annotations

import random
from typing import Any

import pytest

from robot_qa.monitors.pairing import PREDICTION, TRUTH, Pairing, Sample, Side
from robot_qa.monitors.pairing_rules import BracketPairing, ExactPairing, NearestPairing

MS = 1_000_000
S = 1000 * MS
# An observation with no end in sight, where everything counts.
EVER = -10_000 * S, 10_000 * S
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
    left = pairing.unpaired(*EVER)
    assert (left.predictions, left.truths, left.pairs) == (2, 2, 4)
    assert [(stamp // MS, why) for stamp, _, why in pairing.first_lonely(PREDICTION, *EVER)] == [
        (100, 'no truth has its stamp'),
        (350, 'no truth has its stamp; the nearest one is 50 ms away')]


def timed(pairing: Pairing[str], predictions: list[int], truths: list[int]) -> Pairing[str]:
    """Feed both sides, stamps in ms, truth received as it is stamped and predictions 20 ms later.
    """
    arrived = sorted([(one + 20, PREDICTION, one) for one in predictions]
                     + [(one, TRUTH, one) for one in truths])
    for received, side, stamp in arrived:
        list(pairing.add(side, Sample(stamp * MS, received * MS, '')))
    return pairing


RULES: list[Any] = [
    ExactPairing, lambda: NearestPairing(30 * MS), lambda: BracketPairing(150 * MS)]


@pytest.mark.parametrize('make', RULES)
@pytest.mark.parametrize('alive', [(0, 110), (90, 200)], ids=['dies', 'is late'])
def test_truth_without_prediction_counts_to_both_ends_but_a_second(
    make: Any, alive: tuple[int, int]
) -> None:
    run_of = [100 * one for one in range(200)]
    left = timed(make(), run_of[slice(*alive)], run_of).unpaired(0, 20 * S)
    # Ninety were not answered; of the last and of the first second nobody knows.
    assert left.truths in (80, 81)
    assert left.predictions == 0


@pytest.mark.parametrize('make', RULES)
@pytest.mark.parametrize('alive', [(0, 110), (90, 200)], ids=['dies', 'is late'])
def test_predictions_without_truth_count_to_both_ends_but_a_second(
    make: Any, alive: tuple[int, int]
) -> None:
    run_of = [100 * one for one in range(200)]
    pairing = timed(make(), run_of, run_of[slice(*alive)])
    left = pairing.unpaired(0, 20 * S)
    assert left.predictions in (80, 81)
    assert len(pairing.first_lonely(PREDICTION, 0, 20 * S)) == 5
    assert pairing.first_lonely(TRUTH, 0, 20 * S) == []


def test_what_is_under_way_at_the_end_does_not_count() -> None:
    pairing = ExactPairing[str]()
    for one in range(0, 20_000, 100):
        list(pairing.add(TRUTH, Sample(one * MS, one * MS, '')))
        if one >= 2000:  # always two seconds late
            list(pairing.add(PREDICTION, Sample((one - 2000) * MS, one * MS, '')))
    assert pairing.unpaired(0, 20 * S).truths == 0
    assert pairing.unpaired(0, 30 * S).truths == 20


def test_stamps_that_go_back_too_far_pair_with_nothing() -> None:
    pairing = ExactPairing[str]()
    assert run(pairing, [20_000, 0], [0, 20_000]) == [(20_000, 20_000, 20_000)]
    assert pairing.first_lonely(PREDICTION, *EVER)[0][2] == 'its stamp went back by 20 s'


def test_memory_is_bounded_without_the_other_side() -> None:
    bracket = BracketPairing[str](MS)
    bracket.most_waiting = 50
    for pairing in (ExactPairing[str](50), NearestPairing[str](MS, 50), bracket):
        fed(pairing, [(PREDICTION, one) for one in range(1000)])
        assert sum(1 for _ in pairing._waiting(PREDICTION)) <= 51
    for pairing in (ExactPairing[str](50), NearestPairing[str](MS, 200)):
        fed(pairing, [(TRUTH, one) for one in range(1000)])
        assert sum(1 for _ in pairing._waiting(TRUTH)) <= 300


def test_memory_is_bounded_after_the_other_side_died() -> None:
    bracket = BracketPairing[str](MS)
    bracket.most_waiting = 100
    for pairing in (NearestPairing[str](MS, 100), bracket):
        fed(pairing, [(PREDICTION, 0), *((TRUTH, one) for one in range(1000))])
        assert len(pairing._truths if pairing is bracket else pairing._samples[TRUTH]) <= 200


def test_nearest_takes_the_mutually_nearest_within_the_tolerance() -> None:
    pairing = NearestPairing[str](20 * MS)
    got = run(pairing, [0, 95, 105, 230, 300, 1000], [10, 100, 200, 310, 1000, 2000])
    assert got == [(0, 10, 10), (95, 100, 100), (300, 310, 310)]
    left = pairing.unpaired(*EVER)
    assert (left.predictions, left.pairs) == (2, 3)  # 105 came second, 230 has none near
    assert left.truths == 2  # 200 and 2000


def test_interpolation_needs_two_near_truths() -> None:
    pairing = BracketPairing[str](100 * MS)
    got = run(pairing, [5, 50, 100, 150, 290, 420], [0, 100, 200, 400, 450])
    assert got == [(5, 0, 100), (50, 0, 100), (100, 100, 100), (150, 100, 200), (420, 400, 450)]
    assert pairing.unpaired(*EVER).predictions == 1  # 290 lies between truths 200 ms apart


@pytest.mark.parametrize('make', RULES)
def test_how_samples_arrive_makes_no_difference(make: Any) -> None:
    rng = random.Random(5)
    predictions = sorted(rng.sample(range(0, 60_000, 5), 600))
    truths = sorted(rng.sample(range(0, 60_000, 5), 700))
    results = []
    for seed in (None, 1, 2, 3):
        pairing = make()
        results.append((run(pairing, predictions, truths, seed), pairing.unpaired(*EVER),
                        pairing.first_lonely(PREDICTION, *EVER)))
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
