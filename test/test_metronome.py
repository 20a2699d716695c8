"""What is done at a rate is done at its times, counted, and not any more once it was stopped."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from robot_qa.scenario.metronome import Beat, Metronome


class Clock:
    """Simulated time, which goes on when the test says so."""

    def __init__(self) -> None:
        self.now_ns: int | None = None

    def read(self) -> int | None:
        return self.now_ns


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def metronome(clock: Clock) -> Iterator[Metronome]:
    made = Metronome(clock.read, at_wall_pace=False)
    yield made
    made.close()


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline, 'it did not happen'
        time.sleep(0.0005)


def noted(clock: Clock, times: list[int | None]) -> Callable[[], None]:
    return lambda: times.append(clock.now_ns)


def test_nothing_is_done_before_time_begins(clock: Clock, metronome: Metronome) -> None:
    times: list[int | None] = []
    beat = metronome.start(10, noted(clock, times))
    metronome.stop(metronome.start(10, lambda: None))
    assert times == [] and beat.due_ns is None
    clock.now_ns = 5
    wait_for(lambda: times == [5])


def test_every_time_is_counted_from_the_start(clock: Clock, metronome: Metronome) -> None:
    clock.now_ns = 0
    times: list[int | None] = []
    beat = metronome.start(3, noted(clock, times))
    for now in (0, 333_333_332, 333_333_333, 666_666_666, 666_666_667, 1_000_000_000):
        clock.now_ns = now
        wait_for(lambda: beat.due_ns is not None and beat.due_ns > now)  # noqa: B023
    assert times == [0, 333_333_333, 666_666_667, 1_000_000_000]
    assert (beat.count, beat.missed, beat.latest_ns) == (4, 0, 0)


def test_what_came_too_late_is_left_out_and_counted(clock: Clock, metronome: Metronome) -> None:
    clock.now_ns = 0
    times: list[int | None] = []
    beat = metronome.start(10, noted(clock, times))
    wait_for(lambda: beat.count == 1)
    clock.now_ns = 350_000_000                   # due since 100 ms; so were 200 and 300 ms
    wait_for(lambda: beat.count == 2)
    assert (beat.missed, beat.latest_ns, beat.due_ns) == (2, 250_000_000, 400_000_000)
    assert times == [0, 350_000_000]


def test_time_that_is_set_back_starts_again(clock: Clock, metronome: Metronome) -> None:
    clock.now_ns = 10_000_000_000
    times: list[int | None] = []
    beat = metronome.start(10, noted(clock, times))
    wait_for(lambda: beat.count == 1)
    clock.now_ns = 50
    wait_for(lambda: beat.count == 2)
    assert beat.due_ns == 100_000_050


def test_what_was_stopped_is_not_done_again(clock: Clock, metronome: Metronome) -> None:
    clock.now_ns = 0
    stopped, other = metronome.start(10, lambda: None), metronome.start(10, lambda: None)
    wait_for(lambda: stopped.count == other.count == 1)
    metronome.stop(stopped)
    metronome.stop(stopped)
    clock.now_ns = 100_000_000
    wait_for(lambda: other.count == 2)
    assert stopped.count == 1


def test_what_raises_ends_alone_and_says_why(clock: Clock, metronome: Metronome) -> None:
    def fail() -> None:
        raise ValueError('no such field')

    clock.now_ns = 0
    bad, good = metronome.start(10, fail), metronome.start(10, lambda: None)
    wait_for(lambda: good.count == 1)
    assert bad.error == 'ValueError: no such field' and bad.stopped and bad.count == 0
    clock.now_ns = 100_000_000
    wait_for(lambda: good.count == 2)
    assert good.error is None


def test_a_clock_that_breaks_is_told_to_everybody() -> None:
    def broken() -> int:
        raise RuntimeError('gone')

    metronome = Metronome(broken, at_wall_pace=True)
    beat: Beat = metronome.start(10, lambda: None)
    wait_for(lambda: beat.error is not None)
    assert beat.error == 'the clock cannot be read: gone'
    metronome.close()


def test_a_closed_one_leaves_no_thread() -> None:
    before = threading.active_count()
    metronome = Metronome(time.monotonic_ns, at_wall_pace=True)
    beat = metronome.start(1000, lambda: None)
    wait_for(lambda: beat.count > 3)
    metronome.close()
    done = beat.count
    assert threading.active_count() == before
    with pytest.raises(RuntimeError, match='closed'):
        metronome.start(1, lambda: None)
    assert beat.count == done


def test_the_wall_clock_gives_the_rate_without_drift() -> None:
    times: list[int] = []
    metronome = Metronome(time.monotonic_ns, at_wall_pace=True)
    beat = metronome.start(200, lambda: times.append(time.monotonic_ns()))
    wait_for(lambda: beat.count + beat.missed >= 100)
    metronome.stop(beat)
    metronome.close()
    # However busy the machine is: what was left out is counted, so that no time is lost.
    turns = beat.count + beat.missed
    assert abs((times[-1] - times[0]) - (turns - 1) * 5_000_000) <= 5_000_000 + beat.latest_ns
