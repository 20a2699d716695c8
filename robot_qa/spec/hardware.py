"""What a run may do to a robot that it has not started."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal, get_args

from pydantic import Field

from robot_qa.errors import UnarmedError
from robot_qa.spec.parts import Finding, Part
from robot_qa.spec.scenario import Step
from robot_qa.spec.scenario_actions import TWISTS
from robot_qa.spec.services import Action, Service
from robot_qa.spec.system import System

if TYPE_CHECKING:
    from robot_qa.spec.model import TestSpec

# What could move a robot, or take from it what it needs.
Allowed = Literal['publish', 'call', 'goal', 'parameter', 'transition', 'fault', 'load']


class VelocityLimits(Part):
    """The most that we command on a topic; what is more is made smaller, not left out."""

    linear: Annotated[float, Field(gt=0, le=100)]
    """Speed in m/s, in any direction."""
    angular: Annotated[float, Field(gt=0, le=100)]
    """Turning rate in rad/s, about any axis."""


def is_hardware(system: System | None) -> bool:
    """Tell whether the robot neither runs in a simulator nor is started by the run."""
    if system is None:
        return True
    simulated = system.simulator is not None and system.simulator.simulates
    return not simulated and not system.processes


def risky_steps(steps: list[Step]) -> list[int]:
    """Return the steps whose action needs to be allowed on hardware, by number."""
    return [index for index, step in enumerate(steps) if step.kind in get_args(Allowed)]


def hardware_findings(spec: TestSpec) -> Iterator[Finding]:
    """Yield what would be done to a robot without being allowed; places count from the spec."""
    if not is_hardware(spec.system):
        return
    for index in risky_steps(spec.scenario):
        step = spec.scenario[index]
        kind = step.kind
        if kind not in spec.allow:
            yield ('scenario', index, kind), _refusal(f'"{kind}"', kind, spec.allow)
        given = step.publish
        if given is not None and given.is_velocity and given.topic not in spec.velocity_limits:
            yield ('scenario', index, 'publish', 'topic'), (
                f'{given.topic} moves a robot that this run does not start: add '
                f'velocity_limits: {{{given.topic}: {{linear: 0.2, angular: 0.5}}}}'
            )
    for name in _called(spec.services):
        if 'call' not in spec.allow:
            yield ('services', name, 'every'), _refusal('a call', 'call', spec.allow)
    for name in _sent(spec.actions):
        if 'goal' not in spec.allow:
            yield ('actions', name, 'goal'), _refusal('a goal', 'goal', spec.allow)


def limit_findings(spec: TestSpec) -> Iterator[Finding]:
    """Yield what is published with velocity limits and has no velocity."""
    for index, step in enumerate(spec.scenario):
        given = step.publish
        if given is not None and given.topic in spec.velocity_limits and not given.is_velocity:
            yield ('scenario', index, 'publish', 'type'), (
                f'{given.topic} has velocity_limits, and a {given.type} is no velocity command '
                f'({" and ".join(TWISTS)} are)')


def acts_on_hardware(spec: TestSpec) -> list[str]:
    """Return what a run of this spec would do to a robot that it has not started, in words."""
    return deeds(spec) if is_hardware(spec.system) else []


def deeds(spec: TestSpec) -> list[str]:
    """Return what a run of this spec does that could move a robot or take from it, in words."""
    steps = (spec.scenario[index] for index in risky_steps(spec.scenario))
    return [*dict.fromkeys(f'"{step.kind}"' for step in steps),
            *(f'calls of {name}' for name in _called(spec.services)),
            *(f'goals to {name}' for name in _sent(spec.actions))]


def moved_hardware(spec: TestSpec) -> tuple[dict[str, str], list[str]]:
    """Return by what a run of this spec moves a robot that it has not started.

    First the topics of velocity commands with their types, then the actions that get goals.
    """
    if not is_hardware(spec.system):
        return {}, []
    commands = {step.publish.topic: step.publish.type for step in spec.scenario
                if step.publish is not None and step.publish.is_velocity}
    goals = [step.goal.action for step in spec.scenario if step.goal is not None]
    return commands, list(dict.fromkeys([*goals, *_sent(spec.actions)]))


def check_harmless(spec: TestSpec) -> None:
    """Raise UnarmedError when a run of this spec would act on a robot that it has not started."""
    if acts := acts_on_hardware(spec):
        raise UnarmedError(
            f'this spec acts on a robot that it does not start ({", ".join(acts)}): keep people '
            'and the emergency stop in mind, and run it with --armed (a launch file with '
            'armed:=true, a node with -p armed:=true)'
        )


def _called(services: dict[str, Service]) -> list[str]:
    return [name for name, service in services.items() if service.every is not None]


def _sent(actions: dict[str, Action]) -> list[str]:
    return [name for name, action in actions.items() if action.goal is not None]


def _refusal(what: str, kind: str, allow: list[Allowed]) -> str:
    wanted = ', '.join([*allow, kind])
    return (f'{what} acts on a robot that this run does not start: add "allow: [{wanted}]" to '
            'the spec, and run it with --armed')
