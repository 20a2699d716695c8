"""The same spec on a robot that runs already."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from robot_qa.errors import SpecError
from robot_qa.spec.hardware import hardware_findings, risky_steps
from robot_qa.spec.loader import LoadedSpec
from robot_qa.spec.model import TestSpec
from robot_qa.spec.parts import Finding
from robot_qa.spec.resources import MACHINE
from robot_qa.spec.scenario_order import PROCESS_ACTIONS
from robot_qa.spec.simulator import Simulator
from robot_qa.spec.system import System


def attached(loaded: LoadedSpec, *, simulator_runs: bool = False) -> LoadedSpec:
    """Return a spec that waits for the same things to be ready, but starts nothing.

    It simulates nothing either, unless ``simulator_runs``: then its simulator is to be found
    running, as beside a launch. SpecError: what the spec does to its own processes and to its
    simulation, and does not say that it may do to a robot.
    """
    if loaded.spec.system is None:
        return loaded
    simulator = _running(loaded.spec.system.simulator) if simulator_runs else None
    system = System(simulator=simulator, ready=loaded.spec.system.ready)
    spec = loaded.spec.model_copy(update={'system': system})
    found = [*hardware_findings(spec), *_own_findings(spec)]
    if found:
        raise SpecError([loaded.marks.problem(place, reason) for place, reason in found])
    return replace(loaded, spec=spec)


def _running(simulator: Simulator | None) -> Simulator | None:
    """Return the one that stands in for a simulator that somebody else starts."""
    if simulator is None or not simulator.started:
        return simulator
    # It is spoken to in the same way.
    backend = 'standard' if simulator.backend == 'embedded' else simulator.backend
    return Simulator.model_validate({'backend': backend})


def _own_findings(spec: TestSpec) -> Iterator[Finding]:
    """Yield what can only be done to processes that the run starts, and to a simulation."""
    simulator = spec.system.simulator if spec.system else None
    simulated = simulator is not None and simulator.simulates
    for index in sorted({*range(len(spec.scenario))} - {*risky_steps(spec.scenario)}):
        step = spec.scenario[index]
        if step.kind in PROCESS_ACTIONS:
            yield ('scenario', index, step.kind), (
                f'"{step.kind}" needs a process that the run starts itself, and attached to what '
                'runs already it starts none')
        elif not simulated:
            yield ('scenario', index, step.kind), (
                f'"{step.kind}" needs a simulator, and attached to a robot there is none')
    for name, resource in spec.resources.items():
        if name != MACHINE and resource.match is None:
            yield ('resources', name), (
                f'attached to what runs already the run starts no "{name}": say what its command '
                'contains, "match: TEXT"')
