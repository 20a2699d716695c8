"""Takes CPU time and memory away for a time: the load of a scenario.

The load is a process of the run's keeper (``processes.py``), which ends it whatever ended us.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path

import psutil

from robot_qa.errors import ProcessError
from robot_qa.processes import Exit, Processes, ProcessSpec, child_environment
from robot_qa.scenario.burner import shares
from robot_qa.scenario.memory_room import MIB, memory_room
from robot_qa.scenario.player import Doing, Done, Gradual
from robot_qa.spec.scenario import Step
from robot_qa.spec.scenario_actions import Load

KINDS = ('load',)
START_S = 5.0
# How fast memory is filled at least, on a machine that is busy.
FILL_PER_S = 100 * MIB
# More processes than this per core would only make the machine stand still.
MOST_PER_CORE = 4
# A process that only burns is ended at once.
STOP_S = 1.0
Work = Generator[None, None, Done]


class LoadActor:
    """Starts and ends processes that burn CPU time and hold memory."""

    def __init__(self, processes: Processes | None) -> None:
        """Take those of the run; where it has none, the first load starts a keeper for itself."""
        self._processes = processes
        self._own = ExitStack()
        self._numbers = itertools.count(1)

    def lack(self, step: Step) -> str | None:
        """Say if there is less memory, or there are far fewer cores, than the step wants."""
        return _refusal(step.action)

    def begin(self, step: Step) -> Doing:
        """Start the load; its undo ends it."""
        return Gradual(self._begin(step.action))

    def close(self) -> None:
        """End what we have started by ourselves; the run ends the rest with its processes."""
        self._own.close()

    def _begin(self, load: Load) -> Work:
        refusal = _refusal(load)
        if refusal is not None:
            return Done(False, refusal)
        burning = _Burning(self._keeper(), f'robot_qa_load_{next(self._numbers)}', load)
        try:
            return (yield from burning.begin())
        except ProcessError as error:
            return Done(False, str(error))

    def _keeper(self) -> Processes:
        if self._processes is None:
            logs = Path(self._own.enter_context(tempfile.TemporaryDirectory(prefix='robot_qa_')))
            self._processes = self._own.enter_context(Processes(logs))
        return self._processes


class _Burning:
    """One load, from its start to its end."""

    def __init__(self, processes: Processes, name: str, load: Load) -> None:
        self._processes = processes
        self._name = name
        self._load = load
        self._workers = len(shares(load.cpu or 0.0))
        self._begun = 0.0
        self._cpu_s = 0.0

    def begin(self) -> Work:
        """Start it, and wait until all of it is there."""
        load = self._load
        command = (sys.executable, '-m', 'robot_qa.scenario.burner',
                   '--cpu', str(load.cpu or 0.0), '--memory', str(load.memory or 0))
        root = self._processes.start(ProcessSpec(
            self._name, command, None, child_environment(os.environ, None, {})))
        patience = START_S + (load.memory or 0) / FILL_PER_S
        deadline = time.monotonic() + patience
        while not self._is_there(root):
            ended = self._processes.poll().get(self._name)
            if ended is not None:
                return Done(False, f'the load ended while it began{_why(ended)}')
            if time.monotonic() > deadline:
                self._processes.stop(self._name, STOP_S)
                return Done(False, f'the load was not there after {patience:.0f} s')
            yield
        self._begun = time.monotonic()
        self._cpu_s = self._cpu_time_s()
        return Done(True, self._wanted(), lambda: Gradual(self._undo()))

    def _undo(self) -> Work:
        passed = time.monotonic() - self._begun
        try:
            used, left = self._cpu_time_s() - self._cpu_s, len(self._pids())
            ended = self._processes.poll().get(self._name)
            if ended is None:
                self._processes.stop(self._name, STOP_S)
        except ProcessError as error:
            return Done(False, str(error))
        if ended is not None:
            return Done(False, f'the load ended by itself{_why(ended)}')
        if left <= self._workers:
            return Done(False, f'only {left} of {self._workers + 1} processes of it were left')
        detail = f'ended {self._wanted()}'
        if self._workers:
            detail += f'; it got {used / passed:.2f} cores for {passed:.2f} s'
        return Done(True, detail, record=detail)
        yield

    def _is_there(self, root: int) -> bool:
        try:
            memory = psutil.Process(root).memory_info()
            # Without the interpreter's own files.
            held = memory.rss - memory.shared >= (self._load.memory or 0)
        except psutil.Error:
            return False
        return held and len(self._pids()) > self._workers

    def _pids(self) -> list[int]:
        return self._processes.pids(self._name)

    def _cpu_time_s(self) -> float:
        """Return what all of it has used so far."""
        total = 0.0
        for pid in self._pids():
            try:
                times = psutil.Process(pid).cpu_times()
            except psutil.Error:
                continue
            total += times.user + times.system
        return total

    def _wanted(self) -> str:
        words = []
        if self._load.cpu is not None:
            words.append(f'a load of {self._load.cpu:g} of {os.cpu_count()} cores')
        if self._load.memory is not None:
            words.append(f'{self._load.memory / MIB:g} MiB of memory held')
        return ', '.join(words)


def _refusal(load: Load) -> str | None:
    cores = len(os.sched_getaffinity(0))
    if (load.cpu or 0.0) > MOST_PER_CORE * cores:
        return (f'{load.cpu:g} cores were to be kept busy, but we have {cores}; at most '
                f'{MOST_PER_CORE * cores} can be asked for, {MOST_PER_CORE} times as many')
    if load.memory is None:
        return None
    try:
        return memory_room().refusal(load.memory)
    except (OSError, ValueError) as error:
        return f'how much memory there is cannot be read: {error}'


def _why(ended: Exit) -> str:
    """Say what a process that ended has said, and its code."""
    lines = ended.log.read_text(errors='replace').splitlines() if ended.log.exists() else []
    code = f'with code {ended.code}'
    if ended.code < 0:
        code = f'by {signal.Signals(-ended.code).name}'
    killed = ', as when memory runs out' if ended.code == -signal.SIGKILL else ''
    return f' {code}{killed}{": " + lines[-1] if lines else ""}'
