"""What becomes of messages on their way; chances with seeds and bounds of five deviations."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest

from robot_qa.errors import RobotQaError
from robot_qa.scenario.distributions import Lognormal, Normal, Uniform
from robot_qa.scenario.faults import (
    Delay,
    Drop,
    DropBursts,
    DropEvery,
    Duplicate,
    FlowFault,
    Freeze,
    RateLimit,
    Release,
    Reorder,
)
from samples import MS, START, S

FAULTS: list[FlowFault] = [
    Drop(0.3), DropBursts(3, 5.0), DropEvery(4), Delay(20 * MS), Delay(0, Uniform(0, 30 * MS)),
    Delay(5 * MS, Normal(4 * MS), keep_order=False), Duplicate(0.5, 2), Reorder(4), Freeze(),
    RateLimit(25 * MS),
]


def messages(count: int) -> list[bytes]:
    return [b'\0\1\0\0' + i.to_bytes(4, 'little') for i in range(count)]


def played(
    fault: FlowFault, count: int = 100, period: int = 10 * MS, seed: int = 1,
) -> tuple[list[int], list[int]]:
    """Which messages come out, and how long after START, in the order of pushes."""
    flow = fault.start(np.random.default_rng(seed))
    out: list[Release] = []
    for i, message in enumerate(messages(count)):
        now = START + i * period
        released = flow.push(now, message)
        assert all(at >= now for at, _ in released), 'sent before it came'
        out += released
    out += flow.flush(START + count * period)
    assert {message for _, message in out} <= set(messages(count)), 'the content changed'
    return [int.from_bytes(m[4:], 'little') for _, m in out], [at - START for at, _ in out]


def near(share: float, expected: float, count: int) -> bool:
    return abs(share - expected) < 5 * math.sqrt(expected * (1 - expected) / count)


@pytest.mark.parametrize('fault', FAULTS, ids=repr)
def test_the_same_seed_gives_the_same(fault: FlowFault) -> None:
    assert played(fault) == played(fault)
    assert played(fault) != (list(range(100)), [10 * MS * i for i in range(100)]), 'no fault'
    drawn = [f for f in FAULTS if not isinstance(f, DropEvery | Freeze | RateLimit)]
    if fault in drawn and fault != Delay(20 * MS):
        assert played(fault) != played(fault, seed=2)


def test_drop() -> None:
    left, at = played(Drop(0.3), 20_000)
    assert near(len(left) / 20_000, 0.7, 20_000)
    assert at == [10 * MS * i for i in left]
    # Losses do not know of each other.
    lost = sorted(set(range(20_000)) - set(left))
    assert near(np.mean(np.diff(lost) == 1), 0.3, len(lost))
    assert played(Drop(0.0))[0] == list(range(100))
    assert played(Drop(1.0))[0] == []


def runs(left: list[int], count: int) -> tuple[list[int], list[int]]:
    """Lengths of the runs that pass and of those that are lost, without the last run."""
    passed = np.isin(np.arange(count), left)
    edges = np.flatnonzero(np.diff(passed)) + 1
    lengths = np.diff([0, *edges]).tolist()
    return lengths[0::2], lengths[1::2]


def test_bursts() -> None:
    left, _ = played(DropBursts(3, 5.0), 30_000)
    passes, losses = runs(left, 30_000)
    assert left[0] == 0
    assert set(losses) == {3}
    assert min(passes) == 1
    # Geometric with mean 5: variance 20.
    assert abs(np.mean(passes) - 5.0) < 5 * math.sqrt(20 / len(passes))
    assert played(DropBursts(2, 1.0), 9)[0] == [0, 3, 6]


def test_every_nth() -> None:
    assert played(DropEvery(3), 9)[0] == [0, 1, 3, 4, 6, 7]
    assert played(DropEvery(1), 9)[0] == []


def test_constant_delay() -> None:
    assert played(Delay(7), 3, 10) == ([0, 1, 2], [7, 17, 27])


@pytest.mark.parametrize('jitter, mean, stddev', [
    (Uniform(2 * MS, 8 * MS), 5 * MS, 6 * MS / math.sqrt(12)),
    (Normal(MS, 5 * MS), 5 * MS, MS),
    # exp(sigma^2 / 2), and sqrt(exp(sigma^2) - 1) times that.
    (Lognormal(4 * MS, 0.5), 4.53259 * MS, 2.41564 * MS),
])
def test_jitter(jitter: Any, mean: float, stddev: float) -> None:
    count = 20_000
    order, at = played(Delay(MS, jitter, keep_order=False), count, S)
    delays = np.array(at) - S * np.array(order)
    assert order == list(range(count))
    assert abs(delays.mean() - MS - mean) < 5 * stddev / math.sqrt(count)
    assert abs(delays.std() / stddev - 1) < 0.05


def test_a_negative_delay_is_none() -> None:
    order, at = played(Delay(0, Normal(2 * MS), keep_order=False), 10_000, S)
    delays = np.array(at) - S * np.array(order)
    assert near(np.mean(delays == 0), 0.5, 10_000)


@pytest.mark.parametrize('keep_order', [True, False])
def test_order_under_jitter(keep_order: bool) -> None:
    _, at = played(Delay(0, Uniform(0, 50 * MS), keep_order), 200)
    assert (at == sorted(at)) == keep_order
    free = played(Delay(0, Uniform(0, 50 * MS), False), 200)[1]
    if keep_order:
        assert at == np.maximum.accumulate(free).tolist(), 'waits longer than it must'


def test_duplicates() -> None:
    assert played(Duplicate(), 3, 10) == ([0, 0, 1, 1, 2, 2], [0, 0, 10, 10, 20, 20])
    order, at = played(Duplicate(0.25, 2), 10_000)
    times = Counter(order)
    assert at == [10 * MS * i for i in order]
    assert set(times.values()) == {1, 3}
    assert len(times) == 10_000
    assert near(np.mean(np.array(list(times.values())) == 3), 0.25, 10_000)


@pytest.mark.parametrize('window', [2, 5])
def test_reorder(window: int) -> None:
    order, at = played(Reorder(window), 5_000)
    assert sorted(order) == list(range(5_000))
    moved = np.arange(5_000) - np.array(order)
    # As far as it may go, and no further; most do not stay where they are.
    assert (moved.min(), moved.max()) == (1 - window, window - 1)
    assert np.mean(moved != 0) > 0.4
    # One leaves for each that comes, once the window is full.
    assert at[:-window + 1] == [10 * MS * i for i in range(window - 1, 5_000)]
    assert set(at[-window + 1:]) == {5_000 * 10 * MS}


def test_few_messages_leave_a_window_at_the_end() -> None:
    assert sorted(played(Reorder(10), 3)[0]) == [0, 1, 2]


def test_freeze() -> None:
    assert played(Freeze(), 4, 10) == ([0, 0, 0, 0], [0, 10, 20, 30])


@pytest.mark.parametrize('hz, limit_hz, expected', [
    (30, 20, 20), (30, 10, 10), (30, 15, 15), (30, 29, 29), (30, 50, 30), (100, 30, 30),
])
def test_rate_limit(hz: int, limit_hz: int, expected: int) -> None:
    _, at = played(RateLimit(S // limit_hz), hz * 20, S // hz)
    assert len(at) == pytest.approx(expected * 20, abs=2)


def test_rate_limit_after_a_silence_and_when_the_clock_is_set_back() -> None:
    flow = RateLimit(100).start(np.random.default_rng(0))
    times = [0, 99, 100, 101, 1000, 1050, 1099, 1100, 500, 550, 599, 600]
    passed = [now for now in times if flow.push(now, b'')]
    # After the silence not all that was missed comes at once.
    assert passed == [0, 100, 1000, 1100, 500, 600]


@pytest.mark.parametrize('fault, complaint', [
    (Drop(1.1), 'probability is 1.1; it must lie between 0 and 1'),
    (Drop(math.nan), 'probability is nan'),
    (DropBursts(0, 2.0), 'length is 0; it must be at least 1'),
    (DropBursts(1, 0.5), 'mean_gap'), (DropEvery(0), 'n is 0'), (Delay(-1), 'constant_ns'),
    (Duplicate(-0.1), 'probability'), (Duplicate(1.0, 0), 'copies'), (Reorder(1), 'window'),
    (RateLimit(0), 'period_ns'),
])
def test_parameters_without_a_meaning(fault: FlowFault, complaint: str) -> None:
    with pytest.raises(RobotQaError, match=complaint):
        fault.start(np.random.default_rng(0))
