"""What a run may do to a robot that it has not started."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal, get_args

from pydantic import Field

from robot_qa.errors import UnarmedError
from robot_qa.spec.parts import Finding, Part
from robot_qa.spec.scenario import Step
from robot_qa.spec.services import Action
from robot_qa.spec.system import System

if TYPE_CHECKING:
    from robot_qa.spec.model import TestSpec

# What could move a robot, or take from it what it needs.
Allowed = Literal['publish', 'call', 'goal', 'parameter', 'transition', 'fault', 'load']
TWISTS = ('geometry_msgs/msg/Twist', 'geometry_msgs/msg/TwistStamped')


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


def hardware_findings(
    steps: list[Step], actions: dict[str, Action], allow: list[Allowed],
    limits: dict[str, VelocityLimits],
) -> Iterator[Finding]:
    """Yield what would be done to a robot without being allowed; places count from the spec."""
    for index in risky_steps(steps):
        step = steps[index]
        kind = step.kind
        if kind not in allow:
            yield ('scenario', index, kind), _refusal(f'"{kind}"', kind, allow)
        given = step.publish
        if given is not None and given.type in TWISTS and given.topic not in limits:
            yield ('scenario', index, 'publish', 'topic'), (
                f'{given.topic} moves a robot that this run does not start: add '
                f'velocity_limits: {{{given.topic}: {{linear: 0.2, angular: 0.5}}}}'
            )
    for name, action in actions.items():
        if action.goal is not None and 'goal' not in allow:
            yield ('actions', name, 'goal'), _refusal('a goal', 'goal', allow)


def acts_on_hardware(spec: TestSpec) -> list[str]:
    """Return what a run of this spec would do to a robot that it has not started, in words."""
    if not is_hardware(spec.system):
        return []
    steps = (spec.scenario[index] for index in risky_steps(spec.scenario))
    goals = [f'goals to {name}' for name, action in spec.actions.items()
             if action.goal is not None]
    return [*dict.fromkeys(f'"{step.kind}"' for step in steps), *goals]


def check_harmless(spec: TestSpec) -> None:
    """Raise UnarmedError when a run of this spec would act on a robot that it has not started."""
    if deeds := acts_on_hardware(spec):
        raise UnarmedError(
            f'this spec acts on a robot that it does not start ({", ".join(deeds)}): keep people '
            'and the emergency stop in mind, and run it with --armed'
        )


def _refusal(what: str, kind: str, allow: list[Allowed]) -> str:
    wanted = ', '.join([*allow, kind])
    return (f'{what} acts on a robot that this run does not start: add "allow: [{wanted}]" to '
            'the spec, and run it with --armed')
