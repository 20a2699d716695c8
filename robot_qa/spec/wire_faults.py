"""Faults of any topic: messages lost, late or out of order, and wrong stamps, bits and numbers."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from robot_qa.quantities import DurationNs, SignedDurationNs
from robot_qa.spec.parts import Part, wrong
from robot_qa.spec.shorthand import Share, Short
from robot_qa.spec.values import FieldPath, NonEmpty, PositiveDuration

Count = Annotated[int, Field(ge=1, lt=2**31)]


class Drop(Part):
    """Messages that never arrive; exactly one of probability, burst and every."""

    probability: Share | None = None
    """How likely each message is lost, such as 50 %."""
    burst: Count | None = None
    """How many messages are lost in a row."""
    mean_gap: Annotated[float, Field(ge=1, le=1e9)] | None = None
    """How many messages pass between two bursts, on average; goes with burst."""
    every: Count | None = None
    """Every which message is lost: with 3 the third, the sixth and so on; with 1 all."""

    @model_validator(mode='after')
    def _one_kind(self) -> Drop:
        given = [key for key in ('probability', 'burst', 'every') if getattr(self, key)]
        if len(given) != 1:
            raise wrong('exactly one of probability, burst and every was expected')
        if (self.burst is None) != (self.mean_gap is None):
            raise wrong('burst and mean_gap belong together')
        return self


class Normal(Part):
    """The normal distribution."""

    stddev: PositiveDuration
    """Standard deviation, such as 5 ms."""
    mean: SignedDurationNs = 0
    """Mean; 0 s if left out."""


class Lognormal(Part):
    """Never negative, with a long tail, as queues on a network have."""

    median: PositiveDuration
    """Half of the delays are longer than this."""
    sigma: Annotated[float, Field(gt=0, le=5)]
    """Standard deviation of the logarithm; one in twenty is above median * exp(1.645 sigma)."""


class Uniform(Part):
    """Every duration between two is as likely as any other."""

    low: DurationNs = 0
    """The shortest; 0 s if left out."""
    high: PositiveDuration
    """The longest."""

    @model_validator(mode='after')
    def _grows(self) -> Uniform:
        if self.high <= self.low:
            raise wrong('high is not above low', 'high')
        return self


class Jitter(Part):
    """A random delay; exactly one distribution."""

    uniform: Annotated[Uniform, Short('high')] | None = None
    """From low to high, or only the high end, such as 20 ms."""
    normal: Annotated[Normal, Short('stddev')] | None = None
    """Normal, or only its standard deviation; a negative sum counts as no delay."""
    lognormal: Lognormal | None = None
    """Lognormal."""

    @model_validator(mode='after')
    def _one_kind(self) -> Jitter:
        if sum(value is not None for _, value in self) != 1:
            raise wrong('exactly one of uniform, normal and lognormal was expected')
        return self


class Delay(Part):
    """Messages that arrive later."""

    constant: DurationNs = 0
    """By how much, always; 0 s if left out."""
    jitter: Jitter | None = None
    """A random delay on top."""
    keep_order: bool = True
    """Whether a message waits for those before it; false lets it overtake them."""

    @model_validator(mode='after')
    def _does_something(self) -> Delay:
        if not self.constant and self.jitter is None:
            raise wrong('constant above zero or jitter was expected, such as constant: 100 ms')
        return self


class Duplicate(Part):
    """Messages that arrive several times."""

    probability: Share = 1.0
    """How likely a message is repeated; 100 % if left out."""
    copies: Annotated[int, Field(ge=1, le=1000)] = 1
    """How many times more it arrives; once if left out."""


class Reorder(Part):
    """Messages that overtake one another."""

    window: Annotated[int, Field(ge=2, le=10_000)]
    """Within how many messages they are shuffled."""


class BitFlips(Part):
    """Wrong bits in the serialized message; exactly one of count and rate."""

    count: Count | None = None
    """How many bits of each message."""
    rate: Annotated[float, Field(gt=0, le=1)] | None = None
    """How likely each bit is wrong, such as 1e-5."""

    @model_validator(mode='after')
    def _one_kind(self) -> BitFlips:
        if (self.count is None) == (self.rate is None):
            raise wrong('exactly one of count and rate was expected')
        return self


class StaleStamps(Part):
    """The first stamp stands in all later messages."""

    path: FieldPath = 'header.stamp'
    """Which stamps; header.stamp if left out."""


class StampOffset(Part):
    """Stamps that are off by a constant."""

    offset: SignedDurationNs
    """What is added to them, such as -50 ms."""
    path: FieldPath = 'header.stamp'
    """Which stamps; header.stamp if left out."""


class StampDrift(Part):
    """Stamps of a clock that runs too fast or too slow, from the first one on."""

    ppm: Annotated[float, Field(ge=-1e6, le=1e6)]
    """How many microseconds more go by on it in each second."""
    path: FieldPath = 'header.stamp'
    """Which stamps; header.stamp if left out."""


class FrameId(Part):
    """The name of another frame."""

    frame_id: NonEmpty
    """The name."""
    path: FieldPath = 'header.frame_id'
    """Which text it replaces; header.frame_id if left out."""


class _InField(Part):
    field: FieldPath
    """The field, such as ranges[*] or twist.twist.linear.x."""
    share: Share = 1.0
    """How likely each of its elements is changed, in each message; 100 % if left out."""


class Spoil(_InField):
    """A field whose value becomes useless."""


class SetValue(_InField):
    """A field that gets a constant value."""

    value: float
    """The value; .nan, .inf and -.inf can be written, too."""


class Bias(_InField):
    """A field with an offset."""

    bias: Annotated[float, Field(ge=-1e300, le=1e300)]
    """What is added."""


class Noise(_InField):
    """A field with normal noise of mean zero."""

    stddev: Annotated[float, Field(gt=0, le=1e300)]
    """Standard deviation."""
