"""Latency from one topic to another: what may be asked of a path and of its stages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from robot_qa.errors import did_you_mean
from robot_qa.quantities import Ratio, SignedDurationNs
from robot_qa.spec.fields import CountLimits
from robot_qa.spec.parts import Finding, Limits, Quantiles, wrong, wrong_all
from robot_qa.spec.shorthand import Short
from robot_qa.spec.values import PositiveDuration, RosName
from robot_qa.timebase import NS_PER_S, format_ns

LEAST_PATIENCE = NS_PER_S


class Missed(Limits):
    """The share of inputs that never came out."""

    max: Ratio
    """Highest share, such as 1 %; 0 % allows none."""


class Stage(Quantiles):
    """What must hold from the topic before to this one."""

    limit_keys: ClassVar[tuple[str, ...]] = ('min', 'max', 'missed')

    min: SignedDurationNs | None = None
    """Lowest latency of any input; below zero where clocks may disagree by that much."""
    max: PositiveDuration | None = None
    """Highest latency of any input."""
    missed: Annotated[Missed, Short('max')] | None = None
    """The share of inputs that never came out."""
    every: Annotated[int, Field(ge=2)] | None = None
    """By design only every n-th input comes out: what is dropped in between is not missed."""


class Path(Stage):
    """From a message on one topic to the message with the same header.stamp on another."""

    limit_keys = ('min', 'max', 'missed', 'repeated', 'unexpected', 'stages')

    from_: RosName = Field(alias='from')
    """The topic of the inputs."""
    through: list[RosName] = Field(default_factory=list)
    """Topics on the way, in their order; each message carries the stamp of its input."""
    to: RosName
    """The topic of the outputs."""
    basis: Literal['source', 'header', 'arrival'] = 'source'
    """From sending to sending, from header.stamp to sending, or from arrival to arrival."""
    clock: Literal['ros', 'system'] | None = None
    """The clock of sending and arrival: ros reads them on /clock; system if left out."""
    timeout: PositiveDuration | None = None
    """An input that is not out by then is missed; 1 s or twice the largest limit if left out."""
    repeated: CountLimits | None = None
    """How many outputs carry a stamp that an output before them had."""
    unexpected: CountLimits | None = None
    """How many outputs carry a stamp that no input had."""
    stages: dict[RosName, Stage] = Field(default_factory=dict)
    """Limits of single stages, by the topic at which the stage ends."""

    @property
    def topics(self) -> tuple[str, ...]:
        """All topics in their order."""
        return (self.from_, *self.through, self.to)

    @property
    def patience(self) -> int:
        """How long an input is waited for, in ns."""
        return self.timeout or max(LEAST_PATIENCE, 2 * max(self._latencies(), default=0))

    def limits(self) -> Iterator[str]:
        """Yield the keys of the checks; an empty ``stages`` is none."""
        return (key for key in super().limits() if getattr(self, key) != {})

    def _latencies(self) -> Iterator[int]:
        for one in (self, *self.stages.values()):
            yield from (ns for _, ns in one.quantiles.values())
            if one.max is not None:
                yield one.max

    @field_validator('through')
    @classmethod
    def _goes_on(cls, through: list[str], info: ValidationInfo) -> list[str]:
        found: list[Finding] = [
            ((index,), f'{topic} is on the path twice') for index, topic in enumerate(through)
            if topic in (info.data.get('from_'), *through[:index])
        ]
        if found:
            raise wrong_all(found)
        return through

    @field_validator('to')
    @classmethod
    def _leads_elsewhere(cls, to: str, info: ValidationInfo) -> str:
        if to in (info.data.get('from_'), *info.data.get('through', ())):
            raise wrong(f'{to} is on the path twice')
        return to

    @field_validator('clock')
    @classmethod
    def _stamps_have_a_clock(cls, clock: str, info: ValidationInfo) -> str:
        if info.data.get('basis') == 'header':
            raise wrong('"basis: header" is on the clock of the stamps; remove "clock"')
        return clock

    @field_validator('stages')
    @classmethod
    def _stages_are_on_the_path(
        cls, stages: dict[str, Stage], info: ValidationInfo
    ) -> dict[str, Stage]:
        if 'through' not in info.data or 'to' not in info.data:
            return stages
        ends = [*info.data['through'], info.data['to']]
        found: list[Finding] = [
            ((topic,), f'no stage of this path ends at {topic}{did_you_mean(topic, ends)} '
                       f'(valid here: {", ".join(ends)})')
            for topic in stages if topic not in ends
        ]
        found += [
            ((topic, 'every'), 'in a stage, "every" belongs to "missed"')
            for topic, stage in stages.items() if stage.every and stage.missed is None
        ]
        if found:
            raise wrong_all(found)
        return stages

    @model_validator(mode='after')
    def _waits_long_enough(self) -> Path:
        longest = max(self._latencies(), default=0)
        if self.timeout is not None and self.timeout < longest:
            raise wrong(f'the timeout is below a limit of {format_ns(longest)}, which no latency '
                        'could then exceed', 'timeout')
        return self

    @model_validator(mode='after')
    def _is_judged_as_a_whole(self) -> Path:
        if self.stages and not any(key not in ('repeated', 'unexpected', 'stages')
                                   for key in self.limits()):
            raise wrong('the path as a whole has no limit, so inputs that never come out would '
                        'go unnoticed; add one, such as missed: 1 %', 'stages')
        return self


def path_findings(
    paths: Mapping[str, Path], on_ros_time: bool, duration: int
) -> Iterator[Finding]:
    """Yield what only the whole spec tells to be wrong, each with its place below ``paths``."""
    for name, path in paths.items():
        if path.timeout is not None and path.timeout >= duration:
            yield (name, 'timeout'), '"timeout" is not below the duration of the run'
        if path.clock == 'ros' and not on_ros_time:
            yield (name, 'clock'), (
                'the run is not on ROS time; add "clock: ros" at the top, or a simulator'
            )
