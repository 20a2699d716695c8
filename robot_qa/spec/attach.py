"""The same spec on a robot that runs already."""

from __future__ import annotations

from dataclasses import replace

from robot_qa.errors import SpecError
from robot_qa.spec.hardware import hardware_findings
from robot_qa.spec.loader import LoadedSpec
from robot_qa.spec.system import System


def attached(loaded: LoadedSpec) -> LoadedSpec:
    """Return a spec that waits for the same things to be ready, but starts and simulates nothing.

    SpecError: what the spec does to its simulation, and does not say that it may do to a robot.
    """
    spec = loaded.spec
    found = hardware_findings(spec.scenario, spec.actions, spec.allow, spec.velocity_limits)
    problems = [loaded.marks.problem(place, reason) for place, reason in found]
    if problems:
        raise SpecError(problems)
    if spec.system is None:
        return loaded
    system = System(ready=spec.system.ready)
    return replace(loaded, spec=spec.model_copy(update={'system': system}))
