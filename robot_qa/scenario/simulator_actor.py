"""The actions of a scenario on a simulator, through its adapter."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

from scipy.spatial.transform import Rotation

from robot_qa.scenario.player import Doing, Done, Gradual
from robot_qa.simulators import base
from robot_qa.spec.scenario import Step
from robot_qa.spec.scenario_actions import BLOW_NS, Pose

KINDS = base.FEATURES


class SimulatorActor:
    """Translates steps for an adapter; paths are relative to the folder of the spec."""

    def __init__(self, simulator: base.Simulator, folder: Path) -> None:
        self._simulator = simulator
        self._folder = folder
        # What a step has removed needs no undo of its spawning any more.
        self._removed: set[str] = set()

    def lack(self, step: Step) -> str | None:
        """Return which feature the simulator lacks, and why."""
        return self._simulator.features.lack(step.kind)

    def begin(self, step: Step) -> Doing:
        """Ask the simulator."""
        return Gradual(self._ask(_action(step, self._folder)))

    def _ask(self, action: base.Action) -> Generator[None, None, Done]:
        pending = self._simulator.do(action)
        while (outcome := pending.poll()) is None:
            yield
        if outcome.ok and isinstance(action, base.Remove | base.Spawn):
            (self._removed.add if isinstance(action, base.Remove)
             else self._removed.discard)(action.name)
        undo = outcome.undo
        if undo is None:
            return Done(outcome.ok, outcome.detail)
        return Done(outcome.ok, outcome.detail, lambda: Gradual(self._take_back(undo)))

    def _take_back(self, undo: base.Action) -> Generator[None, None, Done]:
        if isinstance(undo, base.Remove) and undo.name in self._removed:
            return Done(True, 'removed already')
        return (yield from self._ask(undo))


def _action(step: Step, folder: Path) -> base.Action:
    """Return what a step asks for, in the words of the adapters."""
    given: Any = step.action
    if step.kind == 'spawn':
        source = given.sdf or (
            given.model if '://' in given.model else str((folder / given.model).resolve()))
        return base.Spawn(given.name, source, _pose(given.pose), given.frame or '')
    if step.kind == 'move':
        return base.Move(given.name, _pose(given.pose), given.frame or '')
    if step.kind == 'push':
        lasts = step.for_ or BLOW_NS
        return base.Push(given.name, given.link or '', _vector(given.force_over(lasts)),
                         _vector(given.torque), lasts)
    simple: dict[str, Any] = {
        'remove': lambda: base.Remove(given), 'light': lambda: base.Light(given.scale),
        'wind': lambda: base.Wind(_vector(given.velocity)),
        'friction': lambda: base.Friction(given.scale),
        'gravity': lambda: base.Gravity(_vector(given.xyz)),
        'pause': base.Pause, 'step': lambda: base.Step(given), 'reset': base.Reset,
    }
    action: base.Action = simple[step.kind]()
    return action


def _vector(values: list[float] | None) -> base.Vector:
    x, y, z = values or base.ZERO
    return float(x), float(y), float(z)


def _pose(pose: Pose) -> base.Pose:
    x, y, z, w = map(float, Rotation.from_euler('xyz', pose.rpy, degrees=True).as_quat())
    return base.Pose(_vector(pose.xyz), (x, y, z, w))
