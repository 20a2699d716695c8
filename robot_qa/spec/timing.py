"""Limits on when messages come, on topics and on the edges of the tf tree."""

from __future__ import annotations

from pydantic import ValidationInfo

from robot_qa.quantities import DurationNs, SignedDurationNs
from robot_qa.spec.parts import Limits, Quantiles, wrong
from robot_qa.spec.values import PositiveDuration, PositiveFrequency
from robot_qa.timebase import NS_PER_S


class Rate(Limits):
    """How often messages come, counted in a sliding window."""

    min: PositiveFrequency | None = None
    """Lowest rate of any window, such as 9 Hz."""
    max: PositiveFrequency | None = None
    """Highest rate of any window, such as 11 Hz."""
    window: PositiveDuration = 2 * NS_PER_S
    """Length of the sliding window; 2 s if left out."""


class Gap(Limits):
    """The longest silence between two messages."""

    max: PositiveDuration
    """Longest time from one message to the next, such as 250 ms."""


class Jitter(Quantiles):
    """How far the time between two messages is from the period."""

    max: DurationNs | None = None
    """Largest deviation of any interval."""
    period: PositiveDuration | None = None
    """The period to compare with; the median interval if left out."""


class Age(Quantiles):
    """How old a message is when it arrives: reception minus header.stamp."""

    min: SignedDurationNs | None = None
    """Lowest age of any message; below zero where clocks may disagree."""
    max: DurationNs | None = None
    """Highest age of any message."""


class Transport(Quantiles):
    """How long a message is under way: reception minus sending."""

    max: DurationNs | None = None
    """Longest time of any message."""


def gap_fits_rate(gap: Gap, info: ValidationInfo) -> Gap:
    """Refuse a gap that contradicts the ``rate`` declared before it."""
    rate = info.data.get('rate')
    if rate is not None and rate.max is not None and gap.max * rate.max < NS_PER_S:
        raise wrong('max is shorter than 1 / rate.max, so both cannot hold', 'max')
    return gap
