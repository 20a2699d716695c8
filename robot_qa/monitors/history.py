"""How something that is looked at again and again went: its values, and when nobody looked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from robot_qa.monitors.base import Check, Evidence, Findings, Measurement, missing
from robot_qa.probes.batch import Observation
from robot_qa.timebase import NS_PER_S, format_ns

# Readings come once a second; after this time without one nothing is taken for granted.
UNSEEN_NS = 5 * NS_PER_S

T = TypeVar('T')


@dataclass
class Run(Generic[T]):
    """Consecutive readings of one value; ns, system clock."""

    value: T
    first_ns: int
    last_ns: int


class History(Generic[T]):
    """The readings of one value. Its size grows with the changes, not with the readings."""

    def __init__(self) -> None:
        self.runs: list[Run[T]] = []
        self.count = 0
        self._unseen = (0, 0)

    def add(self, stamp_ns: int, value: T) -> None:
        """Take the next reading."""
        if self.runs:
            self._note_unseen(self.runs[-1].last_ns, stamp_ns)
        self.count += 1
        if self.runs and self.runs[-1].value == value:
            self.runs[-1].last_ns = stamp_ns
        else:
            self.runs.append(Run(value, stamp_ns, stamp_ns))

    def again(self, stamp_ns: int) -> None:
        """Take a reading that brought the same value as the one before."""
        if self.runs:
            self.add(stamp_ns, self.runs[-1].value)

    def _note_unseen(self, since: int, until: int) -> None:
        if until - since > self._unseen[1] - self._unseen[0]:
            self._unseen = since, until

    def unseen(self, seen: Observation) -> str:
        """Say when nobody looked for too long, or return an empty text."""
        edges = [self._unseen]
        if self.runs:
            edges += [(seen.start_ns, self.runs[0].first_ns), (self.runs[-1].last_ns, seen.end_ns)]
        since, until = max(edges, key=lambda edge: edge[1] - edge[0])
        return '' if until - since <= UNSEEN_NS else f'not known {between(since, until, seen)}'

    def episodes(self, seen: Observation) -> Iterator[tuple[Run[T], str]]:
        """Yield every run and the time that it lasted, in words."""
        ends = [run.first_ns for run in self.runs[1:]] + [seen.end_ns]
        for run, end in zip(self.runs, ends, strict=True):
            yield run, between(run.first_ns, end, seen)


def between(since: int, until: int, seen: Observation) -> str:
    """Write a span as ``from 3.0 s to 5.1 s``, both after the start of the observation."""
    end = 'the end' if until >= seen.end_ns else moment(until, seen)
    return f'from {moment(since, seen)} to {end}'


def moment(stamp_ns: int, seen: Observation) -> str:
    """Write a time as seconds after the start of the observation."""
    return f'{max(0, stamp_ns - seen.start_ns) / NS_PER_S:.1f} s'


def judged(
    check: Check, history: History[T], seen: Observation, wrong: Callable[[T], str],
    number: Callable[[T], float | None] | None = None,
) -> Measurement:
    """Measure a hard limit on every reading.

    ``wrong`` says what is wrong with a value, or nothing. ``number`` is what the limit is about;
    the reading nearest to breaking it counts. Without it the check holds or does not.
    """
    found = Findings()
    for run, span in history.episodes(seen):
        if text := wrong(run.value):
            found = found.with_one(Evidence(run.first_ns, _shown(run.value, number),
                                            f'{text}, {span}'))
    if not found.total and (reason := history.unseen(seen)):
        return missing(check, history.count, reason)
    value: float | None = float(not found.total)
    if number is not None:
        numbers = [one for run in history.runs if (one := number(run.value)) is not None]
        value = worst(check, numbers) if numbers else None
    return Measurement(
        check, value, value, value, history.count, evidence=tuple(found.kept),
        violations=found.total,
    )


def worst(check: Check, numbers: list[float]) -> float:
    """Return the number that comes nearest to breaking the limit, or breaks it most."""
    if check.limit.side == 'min':
        return min(numbers)
    if check.limit.side == 'max':
        return max(numbers)
    return max(numbers, key=lambda number: abs(number - check.limit.value))


def _shown(value: T, number: Callable[[T], float | None] | None) -> float | str | None:
    if number is not None:
        return number(value)
    return value if isinstance(value, str | int | float) else None


def waiting(passed_ns: int, wanted_ns: float, state: str) -> str:
    """Say that the time for something is not over."""
    return f'{state}; {format_ns(passed_ns)} of {format_ns(wanted_ns)} passed'
