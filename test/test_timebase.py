from __future__ import annotations

import operator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robot_qa.errors import ClockDomainError
from robot_qa.timebase import Clock, Duration, Stamp, format_ns

INT64 = st.integers(-(2**63), 2**63 - 1)
KNOWN = st.sampled_from([Clock.ROS, Clock.SYSTEM, Clock.STEADY])


@given(INT64, INT64, KNOWN)
def test_arithmetic_is_exact(a: int, b: int, clock: Clock) -> None:
    span = Stamp(a, clock) - Stamp(b, clock)
    assert span == Duration(a - b)
    assert Stamp(b, clock) + span == Stamp(a, clock)
    assert -span + span == Duration(0)
    assert (Stamp(a, clock) < Stamp(b, clock)) is (a < b)
    assert (Stamp(a, clock) >= Stamp(b, clock)) is (a >= b)


@pytest.mark.parametrize('a, b', [
    (Clock.ROS, Clock.SYSTEM), (Clock.STEADY, Clock.ROS), (Clock.UNKNOWN, Clock.ROS),
    (Clock.UNKNOWN, Clock.UNKNOWN),
])
def test_stamps_of_different_clocks_do_not_meet(a: Clock, b: Clock) -> None:
    for meet in (operator.sub, operator.lt, operator.ge):
        with pytest.raises(ClockDomainError, match=f'{a.value} clock .* {b.value} clock'):
            meet(Stamp(1, a), Stamp(1, b))


def test_equal_times_of_different_clocks_are_not_equal() -> None:
    assert Stamp(1, Clock.ROS) != Stamp(1, Clock.SYSTEM)


@pytest.mark.parametrize('seconds, ns', [
    (0.1, 100_000_000), (1e-9, 1), (-0.25, -250_000_000), (1.5e-9, 2), (4e-10, 0),
])
def test_seconds_are_rounded_to_the_nearest_nanosecond(seconds: float, ns: int) -> None:
    assert Duration.from_seconds(seconds).ns == ns


def test_seconds_for_display() -> None:
    assert Duration(1_500_000_000).seconds == 1.5


@pytest.mark.parametrize('ns, text', [
    (0, '0 ns'), (999, '999 ns'), (1_000, '1 us'), (12_300_000, '12.3 ms'),
    (-2_500_000_000, '-2.5 s'), (12_345_678, '12.35 ms'), (0.5, '0.5 ns'),
])
def test_spans_are_written_in_a_readable_unit(ns: float, text: str) -> None:
    assert format_ns(ns) == text
    if isinstance(ns, int):
        assert str(Duration(ns)) == text
