"""How long the stages of a model node may take, as the node itself measures them."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field

from robot_qa.quantities import DurationNs
from robot_qa.spec.fields import CountLimits
from robot_qa.spec.parts import Limits, Quantiles
from robot_qa.spec.values import Identifier


class StageTime(Quantiles):
    """How long something takes, input by input."""

    max: DurationNs | None = None
    """Longest time of any input."""


class ColdStart(Limits):
    """How long the first inference takes."""

    limit_keys = ('max',)

    max: DurationNs
    """Longest time of the first inference of any publisher, such as 3 s."""


class Stages(Limits):
    """What must hold for the times that a model node publishes; the first input is apart."""

    limit_keys = ('queueing', 'inference', 'publishing', 'total', 'stages', 'cold_start',
                  'dropped', 'failed')

    queueing: StageTime | None = None
    """From the reception of the input to the begin of its processing, where the node tells."""
    inference: StageTime | None = None
    """The stage ``inference``."""
    publishing: StageTime | None = None
    """The stage ``publishing``."""
    total: StageTime | None = None
    """From the begin of the processing to its end, publishing included, queueing not."""
    stages: dict[Identifier, StageTime] = Field(default_factory=dict)
    """Limits on other stages, by their name, such as preprocess."""
    cold_start: ColdStart | None = None
    """The first inference after the start, or after another model was loaded."""
    dropped: CountLimits | None = None
    """How many inputs the node could not report, because its queue was full."""
    failed: CountLimits | None = None
    """How many inputs ended with an error."""

    def limits(self) -> Iterator[str]:
        """Yield the keys of the checks; an empty ``stages`` is none."""
        return (key for key in super().limits() if getattr(self, key) != {})
