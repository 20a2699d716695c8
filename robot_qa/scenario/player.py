"""Plays a scenario: begins what is due, looks after it, takes it back, and says how it went.

It waits for nothing by itself; ``work`` is called again and again with the time of the run.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

from robot_qa.checks import CheckResult, Verdict
from robot_qa.scenario.plan import Active, Agenda, Due
from robot_qa.spec.scenario import Step
from robot_qa.spec.scenario_order import name_of
from robot_qa.timebase import NS_PER_S, format_ns

# At the end of the run, on the wall clock: for what is under way, and for each undo; and when
# somebody who has interrupted it does so again.
PATIENCE_S = 10.0
HURRY_S = 1.0
PAUSE_S = 0.005
NEVER = {
    'when': 'its condition was never true', 'after': 'what it waits for never came',
}
Note = Callable[[str, str], None]
# Takes what became of a step, its number, and how many times it was begun before.
Mark = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Done:
    """How an action went; ``undo`` begins what takes it back, if anything can and has to.

    What failed has one too where it may have been carried out all the same.
    ``lasts`` is what goes on after it was done and may end by itself, before it is undone: it
    says how that went. ``record`` is what the check of the step tells of it.
    """

    ok: bool
    detail: str = ''
    undo: Callable[[], Doing] | None = None
    lasts: Doing | None = None
    record: str = ''


class Doing(Protocol):
    """An action under way."""

    def poll(self) -> Done | None:
        """Go on as far as is possible without waiting; return how it went once it is over."""


class Actor(Protocol):
    """Carries out actions of some kinds."""

    def lack(self, step: Step) -> str | None:
        """Return why this step cannot be carried out here; None if it can."""

    def begin(self, step: Step) -> Doing:
        """Begin the action of a step."""


class Over:
    """What is over as soon as it has begun."""

    def __init__(self, done: Done) -> None:
        self._done = done

    def poll(self) -> Done:
        """Return how it went."""
        return self._done


class Gradual:
    """An action that is written as a generator, which yields wherever it has to wait."""

    def __init__(self, work: Generator[None, None, Done]) -> None:
        self._work = work
        self._done: Done | None = None
        self.poll()

    def poll(self) -> Done | None:
        """Go on to the next wait."""
        if self._done is None:
            try:
                next(self._work)
            except StopIteration as end:
                self._done = end.value
        return self._done


@dataclass
class _Course:
    """What became of a step: how often it was done, how late, and what failed."""

    done: int = 0
    undone: int = 0
    ended: int = 0
    latest_ns: int = 0
    # What the latest one came to, where there is more to tell than that it was done.
    record: str = ''
    failures: list[str] = field(default_factory=list)
    lacking: str | None = None


@dataclass
class _Work:
    due: Due
    doing: Doing


class Player:
    """Plays the steps of one run.

    ``actors`` are by the kind of action; a kind without one is lacking. ``note`` takes an event
    and its detail for the timeline, ``mark`` the same for whoever judges by what was going on:
    begun, done, failed, undoing, undone.
    """

    def __init__(
        self, steps: list[Step], agenda: Agenda, actors: Mapping[str, Actor], note: Note,
        mark: Mark = lambda event, step, occurrence: None, *,
        wall_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._steps = steps
        self._agenda = agenda
        self._actors = actors
        self._note = note
        self._mark = mark
        self._courses = [_Course() for _ in steps]
        self._works: list[_Work] = []
        self._wall_ns = wall_ns
        self._now_ns = 0

    def check(self) -> None:
        """Look before the start at what cannot be carried out, and note it."""
        for index, step in enumerate(self._steps):
            actor = self._actors.get(step.kind)
            try:
                lack = f'{step.kind}: nothing here can do it yet' if actor is None else (
                    actor.lack(step))
            except Exception as error:
                self._courses[index].failures.append(f'failed: {self._broken(error).detail}')
                self._agenda.leave_out(index)
                continue
            if lack is not None:
                self.give_up(index, lack)

    @property
    def is_busy(self) -> bool:
        """Whether an action is under way."""
        return bool(self._works)

    @property
    def is_over(self) -> bool:
        """Whether nothing more happens by itself: no step is due, under way or waited for."""
        lasting = any(one.effect is not None and one.effect.lasts for one in self._agenda.active)
        return not (self._works or lasting or self._agenda.may_go_on)

    @property
    def next_ns(self) -> int | None:
        """When something is due next, as far as is known; after the start, as in ``work``."""
        return self._agenda.next_ns

    def work(self, now_ns: int) -> None:
        """Begin what is due at ``now_ns`` after the start, and look after what is under way."""
        self._now_ns = max(now_ns, self._now_ns)
        self._obey(self._agenda.tick(self._now_ns, self._wall_ns()))
        self._look_after_works()
        self._look_after_lasting()

    def condition(self, index: int, is_true: bool) -> None:
        """Take note of whether the ``when`` of a step is true now."""
        self._obey(self._agenda.condition(index, is_true, self._now_ns))

    def give_up(self, index: int, reason: str) -> None:
        """Do not play a step, for a reason such as a ``when`` that cannot be evaluated."""
        self._courses[index].lacking = reason
        self._agenda.leave_out(index)
        self._note('cannot', f'{name_of(self._steps, index)}: {reason}')

    def end(self, is_hurried: Callable[[], bool] = lambda: False) -> None:
        """Take back everything that is still in effect, the latest first, each to its end.

        Nothing starts any more. ``is_hurried`` tells whether there is less patience now.
        """
        left = self._agenda.end(self._now_ns)
        # Also what is done only now, which is taken back at once.
        self._wait_for_all(is_hurried)
        for due in left:
            self._obey([due])
            self._wait_for_all(is_hurried)

    def results(self, sources: Mapping[str, str]) -> list[CheckResult]:
        """Return a check per step."""
        found = []
        for index, step in enumerate(self._steps):
            name = f'scenario.{name_of(self._steps, index)}'
            verdict, reason = self._judge(index, step)
            found.append(CheckResult(name, verdict, reason, sources[name]))
        return found

    def _judge(self, index: int, step: Step) -> tuple[Verdict, str]:
        course = self._courses[index]
        if course.lacking is not None:
            return Verdict.INCONCLUSIVE, course.lacking
        if course.failures:
            times = f' ({len(course.failures)} times)' if len(course.failures) > 1 else ''
            return Verdict.ERROR, f'{course.failures[0]}{times}'
        if not course.done:
            return Verdict.INCONCLUSIVE, NEVER.get(step.trigger, 'the run ended before it was due')
        times, back = _times(course.done), _times(course.undone)
        taken = f', undone {back}' if course.undone else ''
        if course.ended:
            taken += f', ended by itself {_times(course.ended)}'
        if course.record:
            taken += f': {course.record}'
        return Verdict.PASS, f'done {times}, at most {format_ns(course.latest_ns)} late{taken}'

    def _obey(self, dues: list[Due]) -> None:
        for due in dues:
            late_ns = self._late(due)
            clock = ' on the wall clock' if due.on_wall else f' at {due.time_ns / NS_PER_S:.3f} s'
            late = f'due{clock}, {format_ns(late_ns)} late'
            if due.kind == 'skip':
                self._note('skipped', f'{due.name}: {late}; it still lasts')
                continue
            course = self._courses[due.step]
            course.latest_ns = max(course.latest_ns, late_ns)
            if due.kind == 'undo':
                self._take_back(due, late)
                continue
            self._note('doing', f'{due.name}: {late}')
            self._mark('begun', due.step, due.occurrence)
            step = self._steps[due.step]
            self._begin(due, partial(self._actors[step.kind].begin, step))

    def _take_back(self, due: Due, why: str) -> None:
        self._note('undoing', f'{due.name}: {why}')
        self._mark('undoing', due.step, due.occurrence)
        self._begin(due, due.effect.undo or (lambda: Over(Done(True, 'nothing to take back'))))

    def _begin(self, due: Due, begin: Callable[[], Doing]) -> None:
        try:
            doing = begin()
        except Exception as error:
            doing = Over(self._broken(error))
        self._works.append(_Work(due, doing))

    def _polled(self, doing: Doing) -> Done | None:
        try:
            return doing.poll()
        except Exception as error:
            return self._broken(error)

    def _broken(self, error: Exception) -> Done:
        """Return what became of an action that broke off in a way that nobody has foreseen."""
        self._note('traceback', ''.join(traceback.format_exception(error)))
        return Done(False, f'{type(error).__name__}: {error}')

    def _late(self, due: Due) -> int:
        return max(0, (self._wall_ns() if due.on_wall else self._now_ns) - due.time_ns)

    def _look_after_works(self) -> None:
        for work in list(self._works):
            done = self._polled(work.doing)
            if done is not None:
                self._works.remove(work)
                self._take_note(work.due, done)

    def _take_note(self, due: Due, done: Done) -> None:
        course = self._courses[due.step]
        course.record = done.record or course.record
        detail = f'{due.name}: {done.detail}' if done.detail else due.name
        is_undo = due.kind == 'undo'
        if not done.ok:
            what = 'ended badly' if is_undo else 'failed'
            course.failures.append(f'{what}: {done.detail}')
            self._note(what, detail)
        else:
            self._note('undone' if is_undo else 'done', detail)
        self._mark('undone' if is_undo else 'done' if done.ok else 'failed',
                   due.step, due.occurrence)
        if is_undo:
            course.undone += done.ok
            if done.ok and due.effect.ok:
                self._obey(self._agenda.finished(due, 'ended', self._now_ns))
            return
        course.done += done.ok
        self._obey(self._agenda.finished(
            due, 'done' if done.ok else 'failed', self._now_ns, done))
        if not done.ok and done.undo is not None and self._steps[due.step].is_undone:
            self._take_back(replace(due, kind='undo', effect=done),
                            'it may have been carried out')

    def _look_after_lasting(self) -> None:
        """Take note of what has ended by itself; it is not undone any more."""
        for active in self._agenda.active:
            # What others set off may have undone it meanwhile.
            done = self._end_of(active) if active in self._agenda.active else None
            if done is None:
                continue
            due = active.start
            course = self._courses[due.step]
            if done.ok:
                course.ended += 1
                course.record = done.record or course.record
            else:
                course.failures.append(f'failed: {done.detail}')
            self._note('ended' if done.ok else 'failed', f'{due.name}: {done.detail}')
            self._mark('undone' if done.ok else 'failed', due.step, due.occurrence)
            self._obey(self._agenda.finished(
                due, 'ended' if done.ok else 'failed', self._now_ns))

    def _end_of(self, active: Active) -> Done | None:
        lasts = None if active.effect is None else active.effect.lasts
        return None if lasts is None else self._polled(lasts)

    def _wait_for_all(self, is_hurried: Callable[[], bool]) -> None:
        begun = time.monotonic()
        while self._works and (
                patience := HURRY_S if is_hurried() else PATIENCE_S) > time.monotonic() - begun:
            self._look_after_works()
            time.sleep(PAUSE_S)  # works are polled, until the deadline above
        for work in list(self._works):
            self._works.remove(work)
            self._take_note(work.due, Done(False, f'not over after {patience:g} s'))


def _times(count: int) -> str:
    return f'{count} times' if count > 1 else 'once'
