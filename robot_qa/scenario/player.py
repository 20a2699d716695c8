"""Plays a scenario: begins what is due, looks after it, takes it back, and says how it went.

It waits for nothing by itself; ``work`` is called again and again with the time of the run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from robot_qa.checks import CheckResult, Verdict
from robot_qa.scenario.plan import Agenda, Due
from robot_qa.spec.scenario import Outcome, Step
from robot_qa.spec.scenario_order import name_of
from robot_qa.timebase import NS_PER_S, format_ns

# At the end of the run, on the wall clock: for what is under way, and for each undo.
PATIENCE_S = 10.0
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
        mark: Mark = lambda event, step, occurrence: None,
    ) -> None:
        self._steps = steps
        self._agenda = agenda
        self._actors = actors
        self._note = note
        self._mark = mark
        self._courses = [_Course() for _ in steps]
        self._works: list[_Work] = []
        # What was done and can be taken back, by step and occurrence.
        self._undos: dict[tuple[int, int], Callable[[], Doing]] = {}
        # What goes on after it was done.
        self._lasting: list[_Work] = []
        self._now_ns = 0

    def check(self) -> None:
        """Look before the start at what cannot be carried out, and note it."""
        for index, step in enumerate(self._steps):
            actor = self._actors.get(step.kind)
            if actor is None:
                lack: str | None = f'{step.kind}: nothing here can do it yet'
            else:
                lack = actor.lack(step)
            if lack is not None:
                self._courses[index].lacking = lack
                self._note('cannot', f'{name_of(self._steps, index)}: {lack}')

    @property
    def is_busy(self) -> bool:
        """Whether an action is under way."""
        return bool(self._works)

    @property
    def next_ns(self) -> int | None:
        """When something is due next, as far as is known; after the start, as in ``work``."""
        return self._agenda.next_ns

    def work(self, now_ns: int) -> None:
        """Begin what is due at ``now_ns`` after the start, and look after what is under way."""
        self._now_ns = max(now_ns, self._now_ns)
        self._obey(self._agenda.tick(self._now_ns))
        for work in list(self._works):
            done = work.doing.poll()
            if done is not None:
                self._works.remove(work)
                self._take_note(work.due, done)
        self._look_after_lasting()

    def condition(self, index: int, is_true: bool) -> None:
        """Take note of whether the ``when`` of a step is true now."""
        name = name_of(self._steps, index)
        self._obey(self._agenda.condition(name, is_true, self._now_ns))

    def give_up(self, index: int, reason: str) -> None:
        """Do not play a step: its ``when`` cannot be evaluated."""
        self._courses[index].lacking = reason
        self._note('cannot', f'{name_of(self._steps, index)}: {reason}')

    def end(self) -> None:
        """Take back everything that is still in effect, the latest first, each to its end."""
        self._wait_for_all()
        for due in self._agenda.end(self._now_ns):
            self._obey([due])
            self._wait_for_all()

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
            late = f'due at {due.time_ns / NS_PER_S:.3f} s, {format_ns(self._late(due))} late'
            if due.kind == 'skip':
                self._note('skipped', f'{due.name}: {late}; it still lasts')
            elif due.kind == 'undo':
                undo = self._undos.pop((due.step, due.occurrence), None)
                self._lasting = [work for work in self._lasting if not _same(work.due, due)]
                if undo is not None:
                    self._note('undoing', f'{due.name}: {late}')
                    self._mark('undoing', due.step, due.occurrence)
                    self._works.append(_Work(due, undo()))
            elif self._courses[due.step].lacking is None:
                course = self._courses[due.step]
                course.latest_ns = max(course.latest_ns, self._late(due))
                self._note('doing', f'{due.name}: {late}')
                self._mark('begun', due.step, due.occurrence)
                step = self._steps[due.step]
                self._works.append(_Work(due, self._actors[step.kind].begin(step)))

    def _late(self, due: Due) -> int:
        return max(0, self._now_ns - due.time_ns)

    def _take_note(self, due: Due, done: Done) -> None:
        course = self._courses[due.step]
        course.record = done.record or course.record
        detail = f'{due.name}: {done.detail}' if done.detail else due.name
        if not done.ok:
            what = 'ended badly' if due.kind == 'undo' else 'failed'
            course.failures.append(f'{what}: {done.detail}')
            self._note(what, detail)
        else:
            self._note('undone' if due.kind == 'undo' else 'done', detail)
        event = 'undone' if due.kind == 'undo' else 'done' if done.ok else 'failed'
        self._mark(event, due.step, due.occurrence)
        if due.kind == 'undo':
            course.undone += done.ok
            if not done.ok:
                return
        else:
            course.done += done.ok
            if done.undo is not None:
                self._undos[due.step, due.occurrence] = done.undo
            if done.lasts is not None:
                self._lasting.append(_Work(due, done.lasts))
        outcome: Outcome = 'failed' if not done.ok else 'ended' if due.kind == 'undo' else 'done'
        self._obey(self._agenda.finished(due.name, outcome, self._now_ns))
        if outcome == 'done' and self._steps[due.step].ends_itself:
            self._mark('undone', due.step, due.occurrence)
            self._obey(self._agenda.finished(due.name, 'ended', self._now_ns))

    def _look_after_lasting(self) -> None:
        """Take note of what has ended by itself; it is not undone any more."""
        for work in list(self._lasting):
            done = work.doing.poll()
            # What it sets off may have undone others meanwhile.
            if done is None or work not in self._lasting:
                continue
            self._lasting.remove(work)
            due = work.due
            self._undos.pop((due.step, due.occurrence), None)
            course = self._courses[due.step]
            if done.ok:
                course.ended += 1
                course.record = done.record or course.record
            else:
                course.failures.append(f'failed: {done.detail}')
            self._note('ended' if done.ok else 'failed', f'{due.name}: {done.detail}')
            self._mark('undone' if done.ok else 'failed', due.step, due.occurrence)
            self._obey(self._agenda.finished(
                due.name, 'ended' if done.ok else 'failed', self._now_ns, due.occurrence))

    def _wait_for_all(self) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while self._works and time.monotonic() < deadline:
            for work in list(self._works):
                done = work.doing.poll()
                if done is not None:
                    self._works.remove(work)
                    self._take_note(work.due, done)
            time.sleep(PAUSE_S)
        for work in self._works:
            self._take_note(work.due, Done(False, f'not over after {PATIENCE_S:g} s'))
        self._works.clear()


def _same(one: Due, other: Due) -> bool:
    return (one.step, one.occurrence) == (other.step, other.occurrence)


def _times(count: int) -> str:
    return f'{count} times' if count > 1 else 'once'
