"""When the steps of a scenario start and are undone. Reads no clock and does nothing itself."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

from robot_qa.spec.scenario import Outcome, Step
from robot_qa.spec.scenario_order import name_of

# What to do when two things are due at the same time: first undo, then start.
_UNDO, _START = 0, 1


@dataclass(frozen=True)
class Planned:
    """A step at a time that is known beforehand; in ns after the start of the run.

    ``end_ns`` is when it is undone; None for one that lasts to the end of the run or cannot be
    undone, and for one that stops the clock, on which its end has no time.
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
    return None if step.for_ is None or step.stops_clock else start_ns + step.for_


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

    ``time_ns`` is when it was due, which may be earlier, on the wall clock if ``on_wall``.
    ``occurrence`` counts from 0 how often the step was triggered before; an undo has that of its
    start, and as ``effect`` what `Agenda.finished` was told of it. ``skip`` is a start that does
    not happen, because the step still lasts: it goes on as if it had not been triggered again.
    """

    kind: Literal['start', 'undo', 'skip']
    step: int
    name: str
    occurrence: int
    time_ns: int
    on_wall: bool = False
    effect: Any = None


@dataclass(eq=False)
class Active:
    """A step that was started and is still to be undone.

    ``effect`` is what the start came to, None while that is under way.
    """

    start: Due
    effect: Any = None
    # The undo that came due while the start was under way.
    overdue: Due | None = None


@dataclass(order=True)
class _Event:
    time_ns: int
    what: int
    number: int
    step: int = field(compare=False)
    # What is undone, or None to start.
    undone: Active | None = field(compare=False, default=None)


class Agenda:
    """Says what to start and what to undo, from the time and from what happened.

    It alone keeps what is active: that is undone once, after it was done, and at its time if it
    was done by then. Times are ns after the start of the run and must not decrease from call to
    call; what stops the clock of the run is timed on the wall clock, which counts from anywhere.
    """

    def __init__(self, steps: list[Step], duration_ns: int, seed: int) -> None:
        self._steps = steps
        self._duration_ns = duration_ns
        self._names = [name_of(steps, index) for index in range(len(steps))]
        self._events: list[_Event] = []
        self._wall_events: list[_Event] = []
        self._now_ns = 0
        self._wall_ns = 0
        self._is_over = False
        self._numbers = 0
        self._triggered = [0] * len(steps)
        # Since when the condition of a step is true, or None, and whether it had its effect.
        self._true_since: dict[int, int | None] = {}
        self._fired: set[int] = set()
        self._left_out: set[int] = set()
        # In the order of the starts.
        self._active: list[Active] = []
        for planned in plan(steps, duration_ns, seed).planned:
            self._schedule(planned.step, planned.time_ns)

    @property
    def next_ns(self) -> int | None:
        """When ``tick`` has something to say, unless something else happens before."""
        return self._events[0].time_ns if self._events else None

    @property
    def active(self) -> tuple[Active, ...]:
        """What was started and is still to be undone, in the order of the starts."""
        return tuple(self._active)

    @property
    def may_go_on(self) -> bool:
        """Whether anything is still to come by its time or by a condition."""
        waiting = {index for index, step in enumerate(self._steps) if step.when is not None}
        return bool(self._events or self._wall_events or waiting - self._fired - self._left_out)

    def leave_out(self, index: int) -> None:
        """Do not start a step any more."""
        self._left_out.add(index)
        self._drop(lambda event: event.step == index and event.undone is None)

    def tick(self, now_ns: int, wall_ns: int | None = None) -> list[Due]:
        """Return what has become due by now, in the order of its times; of one time, undo first.

        The undo of what is under way has to wait until it is done.
        """
        self._now_ns = now_ns
        self._wall_ns = max(self._wall_ns, wall_ns or 0)
        due: list[Due] = []
        for events, time_ns in ((self._events, now_ns), (self._wall_events, self._wall_ns)):
            while events and events[0].time_ns <= time_ns:
                event = heapq.heappop(events)
                on_wall = events is self._wall_events
                if event.undone is None:
                    due.append(self._start(event, on_wall))
                else:
                    due += self._undo(event.undone, event.time_ns, on_wall)
        return due

    def finished(
        self, start: Due, outcome: Outcome, now_ns: int, effect: Any = True,
    ) -> list[Due]:
        """Take note of what became of a step that was started, and return what has become due.

        ``done`` or ``failed`` once for every start; ``ended`` once for every undo that worked, and
        for what ended by itself, which is not undone any more, nor what failed.
        """
        due: list[Due] = []
        active = next((one for one in self._active if one.start.step == start.step
                       and one.start.occurrence == start.occurrence), None)
        if active is not None and outcome == 'done':
            active.effect = effect
            if active.overdue is not None:
                due += self._undo(active, active.overdue.time_ns, active.overdue.on_wall)
            elif self._is_over:
                due += self._undo(active, now_ns)
        elif active is not None:
            self._active.remove(active)
            self._drop(lambda event: event.undone is active)
        own = self._steps[start.step]
        for child, step in enumerate(self._steps):
            if own.name and step.after == own.name and step.awaited(own) == outcome:
                # A clock that this has just stopped would never come to the delay.
                on_wall = own.stops_clock and outcome == 'done'
                begin_ns = self._wall_ns if on_wall else now_ns
                self._schedule(child, begin_ns + step.delay, on_wall=on_wall)
        return due + self.tick(now_ns)

    def condition(self, index: int, is_true: bool, now_ns: int) -> list[Due]:
        """Take note of whether the ``when`` of a step is true from now on; return what is due.

        It starts the step once, after it was true for ``holds`` without a break.
        """
        due = self.tick(now_ns)
        if index not in self._fired and is_true != (self._true_since.get(index) is not None):
            self._true_since[index] = now_ns if is_true else None
            self._drop(lambda event: event.step == index)
            if is_true:
                self._schedule(index, now_ns + (self._steps[index].holds or 0))
        return due + self.tick(now_ns)

    def end(self, now_ns: int) -> list[Due]:
        """Return what is left to be undone, the latest start first; nothing starts any more.

        What is under way is to be undone as soon as it is done.
        """
        self._is_over = True
        self._drop(lambda event: True)
        left = [one for one in reversed(self._active) if one.effect is not None]
        return [due for one in left for due in self._undo(one, now_ns)]

    def _schedule(
        self, index: int, time_ns: int, undone: Active | None = None, *, on_wall: bool = False,
    ) -> None:
        if undone is None and (self._is_over or index in self._left_out
                               or (time_ns >= self._duration_ns and not on_wall)):
            return
        what = _START if undone is None else _UNDO
        self._numbers += 1
        heapq.heappush(self._wall_events if on_wall else self._events,
                       _Event(time_ns, what, self._numbers, index, undone))

    def _start(self, event: _Event, on_wall: bool) -> Due:
        index, step = event.step, self._steps[event.step]
        self._fired.add(index)
        lasts = step.for_ is not None and any(one.start.step == index for one in self._active)
        due = Due('skip' if lasts else 'start', index, self._names[index],
                  self._triggered[index], event.time_ns, on_wall)
        self._triggered[index] += 1
        if due.kind == 'start' and step.is_undone:
            active = Active(due)
            self._active.append(active)
            if step.for_ is not None:
                self._schedule_end(active, event.time_ns, on_wall)
        return due

    def _schedule_end(self, active: Active, start_ns: int, started_on_wall: bool) -> None:
        index = active.start.step
        step = self._steps[index]
        assert step.for_ is not None
        on_wall = step.stops_clock
        if on_wall != started_on_wall:
            start_ns = self._wall_ns if on_wall else self._now_ns
        self._schedule(index, start_ns + step.for_, active, on_wall=on_wall)

    def _undo(self, active: Active, time_ns: int, on_wall: bool = False) -> list[Due]:
        started = active.start
        due = Due('undo', started.step, started.name, started.occurrence, time_ns, on_wall,
                  active.effect)
        if active.effect is None:
            active.overdue = due
            return []
        self._active.remove(active)
        self._drop(lambda event: event.undone is active)
        return [due]

    def _drop(self, is_gone: Callable[[_Event], bool]) -> None:
        for events in (self._events, self._wall_events):
            # In place, as somebody may be going through them.
            events[:] = [event for event in events if not is_gone(event)]
            heapq.heapify(events)
