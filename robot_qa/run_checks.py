"""The checks on a run itself: what was started, what became ready, how long it was watched."""

from __future__ import annotations

from pathlib import Path

from robot_qa.bring_up import BRIDGE
from robot_qa.checks import CheckResult, Verdict, fold
from robot_qa.errors import RobotQaError
from robot_qa.spec.model import TestSpec
from robot_qa.spec.system import System

UNOBSERVED = 'the observation did not begin'


class RunStoppedError(RobotQaError):
    """The run cannot go on; ``check`` is the one on the run itself that says so."""

    def __init__(self, check: str, verdict: Verdict, reason: str) -> None:
        super().__init__(reason)
        self.check = check
        self.verdict = verdict
        self.reason = reason


class RunChecks:
    """What there is to say of a run by the spec at ``path``; all is well that was not noted.

    ``fine`` says by check why it passes.
    """

    def __init__(self, spec: TestSpec, path: Path) -> None:
        self._names = run_check_names(spec)
        self._source = f'{path}:1:1'
        self._noted: dict[str, CheckResult] = {}
        self.fine: dict[str, str] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._noted

    def note(self, name: str, verdict: Verdict, reason: str) -> None:
        """Note what is not fine; what comes later on the same check adds to it."""
        before = self._noted.get(name)
        if before is not None:
            verdict, reason = fold([before.verdict, verdict]), f'{before.reason}; then {reason}'
        self._noted[name] = CheckResult(name, verdict, reason, self._source)

    def results(self, *, observed: bool) -> list[CheckResult]:
        """Return every check; ``observed`` says whether the run came to its observation."""
        cut_short = not observed and ('run' in self or 'system.ready' in self)
        found = dict(self._noted)
        for name in self._names:
            verdict, reason = Verdict.PASS, self.fine.get(name, 'ran to the end')
            if cut_short:
                verdict, reason = Verdict.INCONCLUSIVE, UNOBSERVED
            found.setdefault(name, CheckResult(name, verdict, reason, self._source))
        first = [found.pop(name) for name in self._names]
        return [*first, *found.values()]


def run_check_names(spec: TestSpec) -> list[str]:
    """Return the names of the checks that a live run adds to those of its spec."""
    ready = [] if spec.system is None else ['system.ready']
    return [*ready, 'run.duration', *lasting_processes(spec)]


def lasting_processes(spec: TestSpec) -> dict[str, str]:
    """Return the processes that may not end during a run, by the name of their check."""
    system = spec.system or System()
    lasting = {f'system.processes.{process.name}': process.name
               for process in system.processes if not process.may_exit}
    simulator = system.simulator
    if simulator is None or not simulator.started:
        return lasting
    bridge = {'system.bridge': BRIDGE} if simulator.bridged else {}
    return {'system.simulator': 'simulator', **bridge, **lasting}
