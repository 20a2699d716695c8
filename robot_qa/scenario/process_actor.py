"""The actions of a scenario on the processes that the run has started."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping

from robot_qa.errors import ProcessError
from robot_qa.processes import Processes, ProcessSpec
from robot_qa.scenario.player import Doing, Done
from robot_qa.spec.scenario import Step

KINDS = ('kill', 'stop', 'resume', 'restart')
SIGNALS = {'kill': signal.SIGKILL, 'stop': signal.SIGSTOP, 'resume': signal.SIGCONT}


class ProcessActor:
    """Sends signals to a process and all that it has started, and starts it again."""

    def __init__(self, processes: Processes, specs: Mapping[str, ProcessSpec]) -> None:
        self._processes = processes
        self._specs = specs
        self.killed: set[str] = set()
        """Those whose end is the scenario's doing."""

    def lack(self, step: Step) -> str | None:
        """Every process of the spec is one that the run has started."""
        return None

    def begin(self, step: Step) -> Doing:
        """Do it at once."""
        name = step.action
        if step.kind == 'restart':
            return _Over(self._restart(name))
        done = self._send(name, SIGNALS[step.kind])
        if step.kind == 'stop' and done.ok:
            done = Done(True, done.detail, lambda: _Over(self._send(name, signal.SIGCONT)))
        return _Over(done)

    def _send(self, name: str, number: signal.Signals) -> Done:
        hit = [pid for pid in self._processes.pids(name) if _sent(pid, number)]
        if not hit:
            return Done(False, f'{name} does not run')
        if number == signal.SIGKILL:
            self.killed.add(name)
        return Done(True, f'{number.name} to {name}, {len(hit)} processes')

    def _restart(self, name: str) -> Done:
        try:
            # What is stopped takes no other signal.
            self._send(name, signal.SIGCONT)
            self._processes.stop(name)
            pid = self._processes.start(self._specs[name])
        except ProcessError as error:
            return Done(False, str(error))
        self.killed.discard(name)
        return Done(True, f'{name}, now pid {pid}')


class _Over:
    """What is over as soon as it has begun."""

    def __init__(self, done: Done) -> None:
        self._done = done

    def poll(self) -> Done:
        return self._done


def _sent(pid: int, number: signal.Signals) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
