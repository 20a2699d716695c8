"""How something that is looked at again and again went: its values, and when nobody looked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from robot_qa.monitors.base import Check, Evidence, Findings, Measurement, missing
from robot_qa.probes.batch import Observation
from robot_qa.timebase import NS_PER_S

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
        self._silences: list[tuple[int, int]] = []

    def add(self, stamp_ns: int, value: T) -> None:
        """Take the next reading."""
        self.count += 1
        last = self.runs[-1] if self.runs else None
        if last is not None and stamp_ns - last.last_ns > UNSEEN_NS:
            self._silences.append((last.last_ns, stamp_ns))
        if last is not None and last.value == value:
            last.last_ns = stamp_ns
        else:
            self.runs.append(Run(value, stamp_ns, stamp_ns))

    def again(self, stamp_ns: int) -> None:
        """Take a reading that brought the same value as the one before."""
        if self.runs:
            self.add(stamp_ns, self.runs[-1].value)

    def unseen(self, seen: Observation, since_ns: int) -> str:
        """Say when, after ``since_ns``, nobody looked for too long; else an empty text."""
        edges = [(since_ns, self.runs[0].first_ns), (self.runs[-1].last_ns, seen.end_ns)]
        silences = [(max(first, since_ns), last) for first, last in [*edges, *self._silences]]
        first, last = max(silences, key=lambda silence: silence[1] - silence[0])
        return '' if last - first <= UNSEEN_NS else f'not known {between(first, last, seen)}'

    def episodes(self, seen: Observation, since_ns: int) -> Iterator[tuple[Run[T], str]]:
        """Yield the runs that reach beyond ``since_ns``, and the time each lasted, in words."""
        ends = [run.first_ns for run in self.runs[1:]] + [seen.end_ns]
        for run, end in zip(self.runs, ends, strict=True):
            if run.last_ns >= since_ns:
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
    *, number: Callable[[T], float | None] | None = None, since_ns: int | None = None,
) -> Measurement:
    """Measure a hard limit on every reading, or on those after ``since_ns``.

    ``wrong`` says what is wrong with a value, or nothing. ``number`` is what the limit is about;
    the reading nearest to breaking it counts. Without it the check holds or does not.
    """
    since = seen.start_ns if since_ns is None else since_ns
    found = Findings()
    numbers = []
    for run, span in history.episodes(seen, since):
        shown = number(run.value) if number else None
        numbers += [] if shown is None else [shown]
        if text := wrong(run.value):
            found = found.with_one(Evidence(run.first_ns, shown, f'{text} {span}'))
    if not found.total and (reason := history.unseen(seen, since)):
        return missing(check, history.count, reason)
    value: float | None = float(not found.total)
    if number is not None:
        value = _worst(check, numbers) if numbers else None
    return Measurement(
        check, value, value, value, history.count, evidence=tuple(found.kept),
        violations=found.total,
    )


def _worst(check: Check, numbers: list[float]) -> float:
    """Return the number that comes nearest to breaking the limit, or breaks it most."""
    if check.limit.side == 'min':
        return min(numbers)
    if check.limit.side == 'max':
        return max(numbers)
    return max(numbers, key=lambda number: abs(number - check.limit.value))
