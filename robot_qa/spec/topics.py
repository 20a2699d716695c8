"""What a spec may ask of the messages of one topic."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from robot_qa.quantities import Ratio
from robot_qa.spec.fields import CountLimits, FieldChecks
from robot_qa.spec.parts import Limits, wrong
from robot_qa.spec.timing import Age, Gap, Jitter, Rate, Transport, gap_fits_rate
from robot_qa.spec.values import FieldPath, MessageType, OnlyTrue, PositiveFrequency, Texts


class Loss(Limits):
    """The share of messages that were sent and never arrived."""

    max: Ratio
    """Highest share, such as 0.1 %."""


class Topic(Limits):
    """What must hold for the messages of one topic."""

    limit_keys = ('rate', 'gap', 'jitter', 'age', 'transport', 'loss', 'stamps', 'expect_count',
                  'frame_id', 'publishers', 'subscribers', 'qos_compatible', 'fields')

    type: MessageType | None = None
    """The message type, such as sensor_msgs/msg/LaserScan; found out if left out."""
    basis: Literal['source', 'header', 'arrival'] = 'source'
    """Which time rate, gap and jitter are about: of sending, in the header, of arrival."""
    expected_rate: PositiveFrequency | None = None
    """The nominal rate; sizes the monitor's queue and is not a check."""
    rate: Rate | None = None
    """How often messages come."""
    gap: Gap | None = None
    """The longest silence between two messages."""
    jitter: Jitter | None = None
    """How far the intervals are from the period."""
    age: Age | None = None
    """Reception minus header.stamp."""
    transport: Transport | None = None
    """Reception minus sending."""
    loss: Loss | None = None
    """The share of messages that never arrived."""
    stamps: Literal['increasing', 'non_decreasing'] | None = None
    """How header.stamp goes from message to message."""
    expect_count: CountLimits | None = None
    """How many messages the run brings, exactly or as {min, max}."""
    frame_id: Texts | None = None
    """The only allowed header.frame_id, or a list of the allowed ones."""
    publishers: CountLimits | None = None
    """How many publishers the topic has, exactly or as {min, max}."""
    subscribers: CountLimits | None = None
    """How many subscribers the topic has, exactly or as {min, max}."""
    qos_compatible: OnlyTrue | None = None
    """Every publisher can talk to every subscriber."""
    fields: dict[FieldPath, FieldChecks] = Field(default_factory=dict)
    """Checks on single fields, by their path in the message."""

    @property
    def about_graph(self) -> bool:
        """Whether a check is about who publishes and subscribes, not about messages."""
        return (self.publishers, self.subscribers, self.qos_compatible) != (None, None, None)

    def limits(self) -> Iterator[str]:
        """Yield the keys of the checks; an empty ``fields`` is none."""
        return (key for key in super().limits() if getattr(self, key) != {})

    @field_validator('rate')
    @classmethod
    def _rate_fits_expected_rate(cls, rate: Rate, info: ValidationInfo) -> Rate:
        expected = info.data.get('expected_rate')
        if expected is not None and rate.min is not None and rate.min > expected:
            raise wrong('min is above expected_rate', 'min')
        if expected is not None and rate.max is not None and rate.max < expected:
            raise wrong('max is below expected_rate', 'max')
        return rate

    @field_validator('gap')
    @classmethod
    def _gap_fits_rate(cls, gap: Gap, info: ValidationInfo) -> Gap:
        return gap_fits_rate(gap, info)
