"""When the steps of a scenario start and are undone. Reads no clock and does nothing itself."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Literal

from robot_qa.spec.scenario import Outcome, Step
from robot_qa.spec.scenario_order import name_of

# What to do when two things are due at the same time: first undo, then start.
_UNDO, _START = 0, 1


@dataclass(frozen=True)
class Planned:
    """A step at a time that is known beforehand; in ns after the start of the run.

    ``end_ns`` is when it is undone; None for one that lasts to the end of the run, cannot be
    undone or ends itself.
    """

    step: int
    name: str
    time_ns: int
    end_ns: int | None


@dataclass(frozen=True)
class Waiting:
    """A step whose time is not known beforehand, because it waits for something to happen."""

    step: int
    name: str


@dataclass(frozen=True)
class Plan:
    """What is known before the run, in the order of time, and what is not."""

    planned: tuple[Planned, ...]
    waiting: tuple[Waiting, ...]


def plan(steps: list[Step], duration_ns: int, seed: int) -> Plan:
    """Return what a run of this duration and seed does; the same ones plan the same.

    Random times depend on the seed, the duration and the name (or number) of their step only, so
    that other steps can come and go. What would start after the end of the run is left out.
    """
    planned, waiting = [], []
    for index, step in enumerate(steps):
        name = name_of(steps, index)
        starts = step.fixed_starts(duration_ns)
        if starts is None and step.random is not None:
            starts = list(_random_starts(step, duration_ns, f'{seed}/{name}'))
        if starts is None:
            waiting.append(Waiting(index, name))
            continue
        planned += [Planned(index, name, start, _end(step, start)) for start in starts]
    planned.sort(key=lambda one: (one.time_ns, one.step))
    return Plan(tuple(planned), tuple(waiting))


def _end(step: Step, start_ns: int) -> int | None:
    return None if step.for_ is None or step.ends_itself else start_ns + step.for_


def _random_starts(step: Step, duration_ns: int, seed: str) -> Iterator[int]:
    """Yield starts of which none comes before the one before it has ended.

    Uniform draws in what is left of the window without the time that the step lasts, in their
    order and then moved apart by that time, are uniform among all fitting choices.
    """
    assert step.random is not None
    low, high = step.random_window(duration_ns)
    lasts = step.for_ or 0
    room = high - low - (step.random.count - 1) * lasts
    if room < 0:
        return
    # Python promises that random() gives the same numbers for the same seed in every version.
    draw = Random(seed).random
    offsets = sorted(int(draw() * room) for _ in range(step.random.count))
    for number, offset in enumerate(offsets):
        if (start := low + offset + number * lasts) < duration_ns:
            yield start


@dataclass(frozen=True)
class Due:
    """What is to be done now.

    ``time_ns`` is when it was due, which may be earlier. ``occurrence`` counts from 0 how often
    the step was triggered before; an undo has that of its start. ``skip`` is a start that does
    not happen, because the step still lasts: it goes on as if it had not been triggered again.
    """

    kind: Literal['start', 'undo', 'skip']
    step: int
    name: str
    occurrence: int
    time_ns: int


@dataclass(order=True)
class _Event:
    time_ns: int
    what: int
    number: int
    step: int = field(compare=False)
    # The start that is undone, or None to start.
    undone: Due | None = field(compare=False, default=None)


class Agenda:
    """Says what to start and what to undo, from the time and from what happened.

    Times are ns after the start of the run and must not decrease from call to call. Names of
    steps without a name are their numbers; KeyError: there is no such step.
    """

    def __init__(self, steps: list[Step], duration_ns: int, seed: int) -> None:
        self._steps = steps
        self._duration_ns = duration_ns
        self._indices = {name_of(steps, index): index for index in range(len(steps))}
        self._names = list(self._indices)
        self._events: list[_Event] = []
        self._numbers = 0
        self._triggered = [0] * len(steps)
        # Since when the condition of a step is true, or None, and whether it had its effect.
        self._true_since: dict[int, int | None] = {}
        self._fired: set[int] = set()
        # What was started and has to be undone, in the order of the starts.
        self._active: list[Due] = []
        for planned in plan(steps, duration_ns, seed).planned:
            self._schedule(planned.step, planned.time_ns)

    @property
    def next_ns(self) -> int | None:
        """When ``tick`` has something to say, unless something else happens before."""
        return self._events[0].time_ns if self._events else None

    @property
    def active(self) -> tuple[Due, ...]:
        """What was started and is still to be undone, in the order of the starts."""
        return tuple(self._active)

    def tick(self, now_ns: int) -> list[Due]:
        """Return what has become due by now, in the order of its times; of one time, undo first.

        A start that is reported after its end was due comes right before its undo.
        """
        due: list[Due] = []
        while self._events and self._events[0].time_ns <= now_ns:
            event = heapq.heappop(self._events)
            due += [self._undo(event)] if event.undone else [self._start(event)]
        return due

    def finished(
        self, name: str, outcome: Outcome, now_ns: int, occurrence: int | None = None,
    ) -> list[Due]:
        """Take note of what became of a step, and return what has become due.

        ``done`` or ``failed`` once for every start, ``ended`` once for every undo that worked. A
        start that failed is not undone, nor one that ended by itself, whose ``occurrence`` has to
        be given; without it the latest start counts.
        """
        index = self._indices[name]
        if outcome != 'done':
            # For one that ended by an undo there is nothing left to forget.
            own = [due for due in self._active
                   if due.step == index and occurrence in {None, due.occurrence}]
            gone = outcome == 'failed' or occurrence is not None
            if own and (gone or self._steps[index].ends_itself):
                self._forget(own[-1])
        for child, step in enumerate(self._steps):
            if step.after == name and step.awaited(self._steps[index]) == outcome:
                self._schedule(child, now_ns + step.delay)
        return self.tick(now_ns)

    def condition(self, name: str, is_true: bool, now_ns: int) -> list[Due]:
        """Take note of whether the ``when`` of a step is true from now on; return what is due.

        It starts the step once, after it was true for ``holds`` without a break.
        """
        index = self._indices[name]
        due = self.tick(now_ns)
        if index not in self._fired and is_true != (self._true_since.get(index) is not None):
            self._true_since[index] = now_ns if is_true else None
            self._events = [event for event in self._events if event.step != index]
            heapq.heapify(self._events)
            if is_true:
                self._schedule(index, now_ns + (self._steps[index].holds or 0))
        return due + self.tick(now_ns)

    def end(self, now_ns: int) -> list[Due]:
        """Return what is left to be undone, the latest start first; nothing is due afterwards."""
        self._events.clear()
        left = [
            Due('undo', due.step, due.name, due.occurrence, now_ns)
            for due in reversed(self._active)
        ]
        self._active.clear()
        return left

    def _schedule(self, index: int, time_ns: int, undone: Due | None = None) -> None:
        if undone is None and time_ns >= self._duration_ns:
            return
        what = _START if undone is None else _UNDO
        self._numbers += 1
        heapq.heappush(self._events, _Event(time_ns, what, self._numbers, index, undone))

    def _start(self, event: _Event) -> Due:
        index, step = event.step, self._steps[event.step]
        self._fired.add(index)
        lasts = step.for_ is not None and any(due.step == index for due in self._active)
        due = Due('skip' if lasts else 'start', index, self._names[index],
                  self._triggered[index], event.time_ns)
        self._triggered[index] += 1
        if due.kind == 'start' and step.is_undone:
            self._active.append(due)
            end = _end(step, event.time_ns)
            if end is not None:
                self._schedule(index, end, due)
        return due

    def _undo(self, event: _Event) -> Due:
        assert event.undone is not None
        started = event.undone
        self._active.remove(started)
        return Due('undo', started.step, started.name, started.occurrence, event.time_ns)

    def _forget(self, started: Due) -> None:
        self._active.remove(started)
        self._events = [event for event in self._events if event.undone is not started]
        heapq.heapify(self._events)
