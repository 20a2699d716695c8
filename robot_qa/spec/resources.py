"""What processes under test, and the machine that they run on, may use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated

from pydantic import BeforeValidator, Field, field_validator

from robot_qa.errors import did_you_mean
from robot_qa.quantities import Ratio, Size
from robot_qa.spec.logs import Pattern
from robot_qa.spec.parts import Finding, Limits, Quantiles, refuse_unknown, wrong
from robot_qa.spec.resource_values import CountGrowth, Load, Power, SizeGrowth, Temperature
from robot_qa.spec.system import System
from robot_qa.spec.values import PositiveDuration, Whole
from robot_qa.timebase import NS_PER_S, format_ns

# The name under ``resources:`` that stands for the computer.
MACHINE = 'machine'
OF_PROCESS = ('cpu', 'rss', 'threads', 'open_files')
OF_MACHINE = ('temperature', 'gpu', 'gpu_memory', 'gpu_temperature', 'power')
# How many samples a trend needs at least; see ``monitors/trend.py``.
TREND_SAMPLES = 40
SHORTEST_PERIOD = 200_000_000


class Levels(Quantiles):
    """Limits on a level that is sampled: quantiles, a hard maximum, growth where it has one."""

    limit_keys = ('max', 'growth')


class CpuLevels(Levels):
    """CPU time per time, of all cores together: 100 % is one core."""

    __pydantic_extra__: dict[str, Annotated[Load, BeforeValidator(refuse_unknown)]] = (
        Field(init=False)  # type: ignore[assignment]
    )

    max: Load | None = None
    """Highest use of any interval between two samples, such as 150 %."""


class MemoryLevels(Levels):
    """Memory."""

    __pydantic_extra__: dict[str, Annotated[Size, BeforeValidator(refuse_unknown)]] = (
        Field(init=False)
    )

    max: Size | None = None
    """Highest level of any sample, such as 500 MiB."""
    growth: SizeGrowth | None = None
    """Highest trend, such as 1 MiB/min."""


class CountLevels(Levels):
    """How many there are."""

    __pydantic_extra__: dict[str, Annotated[Whole, BeforeValidator(refuse_unknown)]] = (
        Field(init=False)
    )

    max: Whole | None = None
    """Highest number of any sample."""
    growth: CountGrowth | None = None
    """Highest trend, such as 2 /min."""


class TemperatureLevels(Levels):
    """A temperature."""

    __pydantic_extra__: dict[str, Annotated[Temperature, BeforeValidator(refuse_unknown)]] = (
        Field(init=False)  # type: ignore[assignment]
    )

    max: Temperature | None = None
    """Highest temperature of any sample, such as 85 degC."""


class GpuLevels(Levels):
    """The share of time in which the GPU computes."""

    __pydantic_extra__: dict[str, Annotated[Ratio, BeforeValidator(refuse_unknown)]] = (
        Field(init=False)  # type: ignore[assignment]
    )

    max: Ratio | None = None
    """Highest share of any sample, such as 95 %."""


class GpuMemoryLevels(Levels):
    """Memory of the GPU in use."""

    __pydantic_extra__: dict[str, Annotated[Size, BeforeValidator(refuse_unknown)]] = (
        Field(init=False)
    )

    max: Size | None = None
    """Highest level of any sample, such as 4 GiB."""


class PowerLevels(Levels):
    """Electrical power."""

    __pydantic_extra__: dict[str, Annotated[Power, BeforeValidator(refuse_unknown)]] = (
        Field(init=False)  # type: ignore[assignment]
    )

    max: Power | None = None
    """Highest power of any sample, such as 15 W."""


class Resource(Limits):
    """What a process with its children, or the machine, may use."""

    limit_keys = (*OF_PROCESS, *OF_MACHINE)

    match: Pattern | None = None
    """For a process that the run does not start: a regular expression found in its command."""
    every: PositiveDuration | None = None
    """Time between samples, 200 ms or more; 200 ms for a process, 1 s for the machine."""
    cpu: CpuLevels | None = None
    """CPU of a process and its children; 100 % is one core."""
    rss: MemoryLevels | None = None
    """Resident memory of a process and its children."""
    threads: CountLevels | None = None
    """Threads of a process and its children."""
    open_files: CountLevels | None = None
    """Open file descriptors of a process and its children, sockets included."""
    temperature: TemperatureLevels | None = None
    """The hottest thermal zone of the machine."""
    gpu: GpuLevels | None = None
    """The busiest GPU of the machine."""
    gpu_memory: GpuMemoryLevels | None = None
    """GPU memory in use, of all GPUs."""
    gpu_temperature: TemperatureLevels | None = None
    """The hottest GPU."""
    power: PowerLevels | None = None
    """What the GPUs take; on a Jetson, what the whole board takes."""

    @field_validator('every')
    @classmethod
    def _not_too_often(cls, every: int) -> int:
        if every < SHORTEST_PERIOD:
            raise wrong(f'{format_ns(every)} is too often; at least {format_ns(SHORTEST_PERIOD)}')
        return every


def period_of(name: str, resource: Resource) -> int:
    """Return the time between two samples in ns."""
    return resource.every or (NS_PER_S if name == MACHINE else SHORTEST_PERIOD)


def resource_findings(
    resources: Mapping[str, Resource], system: System | None, duration_ns: int
) -> Iterator[Finding]:
    """Yield names of no process, what does not belong to a name, and trends without time."""
    started = [process.name for process in system.processes] if system else []
    if system and system.simulator and system.simulator.started:
        started.append('simulator')
    for name, resource in resources.items():
        if name == MACHINE:
            yield from _machine_findings(resource, started)
        else:
            yield from _process_findings(name, resource, started)
        least = TREND_SAMPLES * period_of(name, resource)
        for key in ('rss', 'threads', 'open_files'):
            levels = getattr(resource, key)
            if levels is not None and levels.growth is not None and least > duration_ns:
                yield (name, key, 'growth'), (
                    f'a trend needs {TREND_SAMPLES} samples, {format_ns(least)}, and the run is '
                    f'over after {format_ns(duration_ns)}'
                )


def _machine_findings(resource: Resource, started: list[str]) -> Iterator[Finding]:
    if MACHINE in started:
        yield (MACHINE,), (
            f'"{MACHINE}" is the computer here, and the run starts a process of that name; give '
            'the process another one'
        )
    for key in (*OF_PROCESS, 'match'):
        if getattr(resource, key) is not None:
            yield (MACHINE, key), (
                f'"{key}" belongs to a process; valid for the machine: {", ".join(OF_MACHINE)}'
            )


def _process_findings(name: str, resource: Resource, started: list[str]) -> Iterator[Finding]:
    for key in OF_MACHINE:
        if getattr(resource, key) is not None:
            yield (name, key), (
                f'"{key}" belongs to the machine: write it under "{MACHINE}" (valid for a '
                f'process: {", ".join(OF_PROCESS)})'
            )
    if name in started and resource.match is not None:
        yield (name, 'match'), f'the run starts "{name}" itself, so nothing has to be looked for'
    if name not in started and resource.match is None:
        near = did_you_mean(name, [*started, MACHINE])
        yield (name,), (
            f'the run starts no process "{name}"{near} (it starts {", ".join(started) or "none"}; '
            'for one that runs already, say what its command contains: "match: TEXT")'
        )
