"""The pace of a simulation: what is due when, and how simulated time follows the wall clock."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip('mujoco')

from robot_qa.embedded import runner as runner_module
from robot_qa.embedded.runner import Runner

MS = 1_000_000


class Steps:
    """A simulation of which only the time is looked at."""

    step_ns = MS

    def __init__(self) -> None:
        self.time_ns = 0
        self.runs: list[int] = []

    def step(self, count: int = 1) -> None:
        self.runs.append(count)
        self.time_ns += count * self.step_ns

    def reset(self) -> None:
        self.time_ns = 0


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(runner_module.time, 'monotonic', lambda: clock.now)
    return clock


def make(factor: float = 1.0) -> tuple[Runner, Any]:
    simulation: Any = Steps()
    return Runner(simulation, factor), simulation


def test_each_task_is_called_at_its_times_in_the_order_of_adding() -> None:
    runner, _ = make()
    calls: list[tuple[str, int]] = []
    runner.every(4 * MS, lambda now: calls.append(('slow', now // MS)))
    runner.every(2 * MS, lambda now: calls.append(('fast', now // MS)))
    runner.advance(8 * MS)
    assert calls == [('fast', 2), ('slow', 4), ('fast', 4), ('fast', 6), ('slow', 8), ('fast', 8)]


def test_steps_between_two_tasks_are_done_in_one_go() -> None:
    runner, simulation = make()
    runner.every(10 * MS, lambda now: None)
    runner.advance(25 * MS)
    assert simulation.runs == [10, 10, 5]


def test_a_period_that_is_no_number_of_steps_keeps_its_mean() -> None:
    runner, _ = make()
    times: list[int] = []
    runner.every(33_333_333, times.append)
    runner.advance(10_000 * MS)
    assert len(times) == 300 and times[2] == 100 * MS and times[0] == 34 * MS


def test_period_zero_is_every_step_and_what_is_forgotten_is_not_called() -> None:
    runner, _ = make()
    calls: list[int] = []
    runner.every(0, calls.append, owner='robot')
    runner.advance(3 * MS)
    runner.forget('robot')
    runner.advance(9 * MS)
    assert calls == [MS, 2 * MS, 3 * MS]


def test_after_a_reset_everything_is_due_as_at_the_start() -> None:
    runner, simulation = make()
    calls: list[int] = []
    runner.every(4 * MS, calls.append)
    runner.advance(6 * MS)
    runner.reset()
    runner.advance(6 * MS)
    assert calls == [4 * MS, 4 * MS] and simulation.time_ns == 6 * MS


@pytest.mark.parametrize('factor', [0.5, 1.0, 2.0])
def test_simulated_time_follows_the_wall_clock(wall: SimpleNamespace, factor: float) -> None:
    runner, simulation = make(factor)
    assert runner.keep_pace() > 0 and simulation.time_ns == 0  # it starts paused
    runner.play()
    for _ in range(1000):
        wall.now += 0.001
        runner.keep_pace()
    assert simulation.time_ns == pytest.approx(factor * 1000 * MS, abs=2 * MS)
    runner.pause()
    wall.now += 1.0
    runner.keep_pace()
    assert simulation.time_ns == pytest.approx(factor * 1000 * MS, abs=2 * MS)


def test_lost_time_is_not_made_up_for(wall: SimpleNamespace) -> None:
    runner, simulation = make()
    runner.play()
    wall.now += 5.0
    for _ in range(100):
        runner.keep_pace()
    assert simulation.time_ns < 20 * MS


def test_the_wait_ends_when_something_is_due(wall: SimpleNamespace) -> None:
    runner, _ = make()
    runner.every(3 * MS, lambda now: None)
    runner.play()
    assert runner.keep_pace() == pytest.approx(0.003, abs=1e-6)


def test_as_fast_as_it_can(wall: SimpleNamespace) -> None:
    runner, simulation = make(0.0)

    def step(count: int) -> None:
        simulation.time_ns += count * MS
        wall.now += count * 0.00001

    simulation.step = step
    runner.play()
    assert runner.keep_pace() == 0.0
    assert simulation.time_ns >= 500 * MS


@pytest.mark.parametrize('factor', [0.01, 0.1, 0.5, 3.0])
def test_slow_time_goes_on_too(wall: SimpleNamespace, factor: float) -> None:
    """At a tenth, a turn of 5 ms is half a step: it must not come to nothing for ever."""
    runner, simulation = make(factor)
    runner.play()
    for _ in range(2000):
        wall.now += 0.001
        runner.keep_pace()
    assert simulation.time_ns == pytest.approx(2000 * MS * factor, abs=6 * MS)
