"""What goes wrong, and when: the steps of a scenario."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from robot_qa.quantities import DurationNs
from robot_qa.spec.parts import Finding, Part, wrong_all
from robot_qa.spec.rules import Condition
from robot_qa.spec.scenario_actions import (
    OPPOSITES,
    Call,
    Friction,
    Gravity,
    Light,
    Load,
    Move,
    ProcessOrNode,
    Publish,
    Push,
    SendGoal,
    SetParameter,
    Spawn,
    Transition,
    Wind,
)
from robot_qa.spec.scenario_faults import Fault
from robot_qa.spec.shorthand import Yes
from robot_qa.spec.values import Identifier, NonEmpty, PositiveDuration, ProcessName, Texts

Outcome = Literal['done', 'failed', 'ended']
# What "kill", "stop" and the others call the process of the simulator.
SIMULATOR = 'simulator'
CLOCK = '/clock'

# The triggers, each with the keys that go with it.
TRIGGERS = {
    'at': (), 'every': ('from', 'repeat'), 'after': ('delay', 'outcome'), 'when': ('holds',),
    'random': (),
}
ACTIONS = (
    'spawn', 'remove', 'move', 'push', 'light', 'wind', 'friction', 'gravity', 'pause', 'step',
    'reset', 'kill', 'stop', 'resume', 'restart', 'load', 'publish', 'call', 'goal', 'parameter',
    'transition', 'fault',
)
_NEED_FOR = ('push', 'pause', 'load')
_NOT_UNDONE = {
    'remove': 'what was removed does not come back',
    'step': 'simulated time does not run backwards',
    'reset': 'what was before a reset is lost',
    'kill': 'a killed process does not come back; write a step with "restart"',
    'resume': 'write a step with "stop"',
    'restart': 'the former process is gone',
    'call': 'what a service did cannot be taken back',
}


class RandomTimes(Part):
    """Times drawn from the seed of the spec; all of a range are as likely as one another."""

    count: Annotated[int, Field(ge=1, le=10_000)]
    """How many."""
    from_: DurationNs = Field(0, alias='from')
    """The earliest; the start of the run if left out."""
    to: PositiveDuration | None = None
    """The latest; as late as the duration of the run allows if left out."""


class Recovers(Part):
    """A check that holds again soon after the step."""

    check: Texts
    """Its name, such as topics./scan.gap, which also means those that begin so; or several."""
    within: PositiveDuration
    """How long it may take, from the moment the step has ended or, without "for", is done."""


class ExpectedToFail(Part):
    """A check that must fail while the step lasts, because somebody has to notice."""

    check: Texts
    """Its name, such as rules.stops, which also means those that begin so; or several."""
    within: PositiveDuration | None = None
    """How soon after the start of the step; at its end if left out."""


class Step(Part):
    """One thing that is done during the run: exactly one trigger and exactly one action."""

    name: Identifier | None = None
    """What "after" of other steps calls it; its number from 0 stands in reports if left out."""
    slice: Identifier | None = None
    """A label for the time that it lasts, for other checks."""

    at: DurationNs | None = None
    """Trigger: a time after the start."""
    every: PositiveDuration | None = None
    """Trigger: again and again with this period."""
    from_: DurationNs | None = Field(None, alias='from')
    """When "every" begins; one period after the start if left out."""
    repeat: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """How many times "every" does it; until the end of the run if left out."""
    after: Identifier | None = None
    """Trigger: the end of another step, by its name, each time."""
    delay: DurationNs = 0
    """How long to wait then; not at all if left out."""
    outcome: Outcome | None = None
    """Which end of that step counts: its action was done or failed, or its "for" or its goal has
    ended. If left out, ended if it has "for" or "goal", and else done."""
    when: Condition | None = None
    """Trigger: the first time that this is true, as in rules."""
    holds: PositiveDuration | None = None
    """For how long it has to be true without a break; a moment is enough if left out."""
    random: RandomTimes | None = None
    """Trigger: times drawn from the seed."""

    for_: PositiveDuration | None = Field(None, alias='for')
    """How long it lasts; then it is undone. What has no "for" is undone at the end of the run.
    What stops the simulator or its clock is timed on the wall clock."""

    spawn: Spawn | None = None
    """Puts a model into the world."""
    remove: NonEmpty | None = None
    """Takes the entity of this name out of the world."""
    move: Move | None = None
    """Puts an entity somewhere else."""
    push: Push | None = None
    """Pushes an entity; needs "for", but for an impulse."""
    light: Light | None = None
    """Makes all lights brighter or darker."""
    wind: Wind | None = None
    """Lets the wind blow."""
    friction: Friction | None = None
    """Makes all surfaces smoother or rougher."""
    gravity: Gravity | None = None
    """Changes gravity."""
    pause: Yes | None = None
    """Stops simulated time; needs "for", which then counts on the wall clock."""
    step: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Takes this many steps in the simulator while it is paused."""
    reset: Yes | None = None
    """Takes the simulator back to its beginning."""

    kill: ProcessOrNode | None = None
    """Kills a process of system.processes, or "simulator", or the one of them in which a node
    such as /planner is, with SIGKILL."""
    stop: ProcessName | None = None
    """Stops a process with SIGSTOP; undone, it goes on."""
    resume: ProcessName | None = None
    """Lets a stopped process go on."""
    restart: ProcessName | None = None
    """Ends a process, if it still runs, and starts it again."""
    load: Load | None = None
    """Takes CPU time and memory away; needs "for"."""
    publish: Publish | None = None
    """Publishes a message."""
    call: Call | None = None
    """Calls a service."""
    goal: SendGoal | None = None
    """Sends a goal to an action."""
    parameter: SetParameter | None = None
    """Sets a parameter of a node."""
    transition: Transition | None = None
    """Takes a lifecycle node to another state."""
    fault: Fault | None = None
    """Faults on the messages of a topic."""

    recovers: Recovers | None = None
    """A check that holds again soon after it."""
    holds_during: Texts | None = None
    """Checks that hold all the same while it lasts; without "for", to the end of the run."""
    expected_to_fail: ExpectedToFail | None = None
    """A check that must fail while it lasts; without "for", before the end of the run."""

    @property
    def trigger(self) -> str:
        """The key of the trigger, one of TRIGGERS."""
        return next(key for key in TRIGGERS if getattr(self, key) is not None)

    @property
    def kind(self) -> str:
        """The key of the action, one of ACTIONS."""
        return next(key for key in ACTIONS if getattr(self, key) is not None)

    @property
    def action(self) -> Any:
        """What stands under that key."""
        return getattr(self, self.kind)

    @property
    def is_undone(self) -> bool:
        """Whether it can be undone, and is so at the latest when the run ends."""
        return self._undo_refusal() is None

    @property
    def stops_clock(self) -> bool:
        """Whether simulated time may stand still by it, so that "for" is on the wall clock."""
        on_clock = self.fault is not None and self.fault.topic == CLOCK
        return self.pause is not None or on_clock or SIMULATOR in (self.stop, self.kill)

    def awaited(self, other: Step) -> Outcome:
        """Return the outcome of ``other``, the step it comes after, that it waits for."""
        return self.outcome or ('ended' if other.has_end else 'done')

    @property
    def has_end(self) -> bool:
        """Whether it can end before the run does: after its time, or with its goal."""
        return self.for_ is not None or self.goal is not None

    @property
    def first(self) -> int | None:
        """The first start that is sure, in ns after the start of the run, of at and every."""
        return self.at if self.every is None else self.every if self.from_ is None else self.from_

    @property
    def needs(self) -> int:
        """How long the run has to go on after its start, in ns."""
        return (self.for_ or 0) + (self.recovers.within if self.recovers else 0)

    def fixed_starts(self, duration_ns: int) -> list[int] | None:
        """Return when it starts, in ns after the start of the run.

        None if that is not known without the seed. ``every`` without ``repeat`` happens as often
        as there is time for it.
        """
        if self.first is None:
            return None
        if self.every is None:
            return [self.first] if self.first < duration_ns else []
        last = duration_ns - 1 if self.repeat else min(duration_ns - 1, duration_ns - self.needs)
        return list(range(self.first, last + 1, self.every))[:self.repeat]

    def random_window(self, duration_ns: int) -> tuple[int, int]:
        """Return the earliest and the latest start of a step at random times, in ns."""
        assert self.random is not None
        latest = self.random.to
        return self.random.from_, duration_ns - self.needs if latest is None else latest

    @model_validator(mode='after')
    def _one_trigger_and_action(self) -> Step:
        given = {key.rstrip('_') for key in self.model_fields_set}
        found: list[Finding] = []
        for noun, keys in (('trigger', tuple(TRIGGERS)), ('action', ACTIONS)):
            here = [key for key in keys if key in given]
            if len(here) != 1:
                reason = f'exactly one {noun} was expected ({", ".join(keys)})'
                found.append(((), reason + (f', found {" and ".join(here)}' if here else '')))
        if not found:
            companions = TRIGGERS[self.trigger]
            found = [
                ((key,), f'"{key}" does not go with "{self.trigger}"')
                for keys in TRIGGERS.values() for key in keys
                if key in given and key not in companions
            ]
            refusal = self._for_refusal()
            if refusal:
                found.append((('for',) if self.for_ else (self.kind,), refusal))
        if found:
            raise wrong_all(found)
        return self

    def _for_refusal(self) -> str | None:
        """Say why the action needs "for", or cannot have it."""
        if self.for_ is None:
            if self.push is not None and self.push.is_blow:
                return None
            needs = f'"{self.kind}" needs "for", how long it lasts, such as for: 2 s'
            return needs if self.kind in _NEED_FOR else None
        reason = self._undo_refusal()
        return reason and f'"{self.kind}" cannot be undone after a time: {reason}'

    def _undo_refusal(self) -> str | None:
        sent = self.publish
        if sent is not None and sent.rate is None and not sent.is_velocity:
            return 'a message that was sent cannot be taken back; with "rate" it is repeated'
        if self.push is not None and self.for_ is None:
            return 'a blow is over at once'
        if self.transition is not None and self.transition.transition not in OPPOSITES:
            return 'a node that was shut down does not come back'
        return _NOT_UNDONE.get(self.kind)
