"""The actions of a scenario on the processes that the run has started."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator, Mapping
from typing import Any

from robot_qa.errors import ProcessError, did_you_mean
from robot_qa.processes import Processes, ProcessSpec
from robot_qa.scenario.node_processes import pids_of_node
from robot_qa.scenario.player import Doing, Done, Gradual, Over
from robot_qa.spec.scenario import Step

KINDS = ('kill', 'stop', 'resume', 'restart')
SIGNALS = {'kill': signal.SIGKILL, 'stop': signal.SIGSTOP, 'resume': signal.SIGCONT}


class ProcessActor:
    """Sends signals to a process and all that it has started, and starts it again."""

    def __init__(
        self, processes: Processes, specs: Mapping[str, ProcessSpec], node: Any = None,
    ) -> None:
        """Take an rclpy node of ours, to find those that are to be killed by their name."""
        self._processes = processes
        self._specs = specs
        self._node = node
        self.killed: set[str] = set()
        """Those whose end is the scenario's doing."""

    def lack(self, step: Step) -> str | None:
        """Every process of the spec is one that the run has started."""
        return None

    def begin(self, step: Step) -> Doing:
        """Do it at once, but for a restart, which waits for the end of the process."""
        name = step.action
        if step.kind == 'restart':
            return Gradual(self._restart(name))
        if name.startswith('/'):
            return Over(self._kill_node(name))
        done = self._send(name, SIGNALS[step.kind])
        if step.kind == 'stop' and done.ok:
            done = Done(True, done.detail, lambda: Over(self._send(name, signal.SIGCONT)))
        return Over(done)

    def _kill_node(self, node: str) -> Done:
        """Kill the one process in which a node is, of all that the run has started."""
        ours = {pid: name for name in self._specs for pid in self._processes.pids(name)}
        known = {f'{space.rstrip("/")}/{name}'
                 for name, space in self._node.get_node_names_and_namespaces()}
        if node not in known:
            shown = {one for one in known if not one.rpartition('/')[2].startswith('_')}
            return Done(False, f'there is no node {node}{did_you_mean(node, shown)}')
        pids = pids_of_node(self._node, node, ours)
        if not pids:
            return Done(False, f'the node {node} is in none of the processes that the run has '
                               f'started ({", ".join(self._specs)})')
        if len(pids) > 1:
            among = ', '.join(f'{pid} of {ours[pid]}' for pid in pids)
            return Done(False, f'the node {node} may be in several processes: {among}')
        (pid,) = pids
        if not _sent(pid, signal.SIGKILL):
            return Done(False, f'the process {pid} of {node} does not run any more')
        self.killed.add(ours[pid])
        return Done(True, f'SIGKILL to {node}, pid {pid} of {ours[pid]}')

    def _send(self, name: str, number: signal.Signals) -> Done:
        hit = [pid for pid in self._processes.pids(name) if _sent(pid, number)]
        if not hit:
            return Done(False, f'{name} does not run')
        if number == signal.SIGKILL:
            self.killed.add(name)
        return Done(True, f'{number.name} to {name}, {len(hit)} processes')

    def _restart(self, name: str) -> Generator[None, None, Done]:
        try:
            # What is stopped takes no other signal.
            self._send(name, signal.SIGCONT)
            ended = self._processes.begin_stop(name)
            while ended() is None:
                yield
            pid = self._processes.start(self._specs[name])
        except ProcessError as error:
            return Done(False, str(error))
        self.killed.discard(name)
        return Done(True, f'{name}, now pid {pid}')


def _sent(pid: int, number: signal.Signals) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
