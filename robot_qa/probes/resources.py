"""Samples what processes under test and the machine use, into the journals ``resources/<name>``.

Polled by the live loop: no thread. A sample of a process covers all its living descendants. CPU
time is conserved: what a child used that lived too short to be seen comes with the time that its
parent was credited for it, spread over a second so that it does not look like a peak.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import psutil

from robot_qa.errors import ProcessError
from robot_qa.probes.batch import Batch
from robot_qa.probes.gpu import Machine
from robot_qa.probes.journal import Journal
from robot_qa.spec.resources import MACHINE, Resource, period_of
from robot_qa.timebase import NS_PER_S

# How often descendants are looked for; a sample in between is of those that are known.
LOOK_S = 1.0
# How often a process is looked for in the table of all processes, while one is known.
SEARCH_S = 5.0
# How long a child that has ended stays unwaited for, usually at most.
WAITED_S = 5.0
# The live loop looks at about its own pace, so what is nearly due is due.
EARLY_S = 0.02

Family = Callable[[str], list[int]]


class ResourceProbe:
    """A companion of a live run. ``family`` returns the living pids of what the run started."""

    def __init__(self, resources: Mapping[str, Resource], family: Family | None = None) -> None:
        self._watched: list[_Watched] = [
            _MachineWatch(one) if name == MACHINE else _ProcessWatch(name, one, family)
            for name, one in resources.items()
        ]

    def begin(self) -> None:
        """Start the observation: the first sample is due now."""
        for watched in self._watched:
            watched.begin()

    def missing(self) -> list[str]:
        """Return the processes that were not found yet, in words."""
        return [text for watched in self._watched for text in watched.missing()]

    def drain(self) -> list[Batch]:
        """Sample what is due and return it."""
        return [batch for watched in self._watched for batch in watched.drain()]

    def close(self) -> None:
        """Release what is held of the GPU."""
        for watched in self._watched:
            watched.close()


class _Watched:
    """One name under ``resources:``, sampled at its period."""

    def __init__(self, name: str, resource: Resource) -> None:
        self.journal = Journal(f'resources/{name}')
        self._period_s = period_of(name, resource) / NS_PER_S
        self._due: float | None = None

    def sample(self) -> dict[str, Any] | None:
        """Return what is used now, as an entry of the journal, or None."""
        raise NotImplementedError

    def missing(self) -> list[str]:
        return []

    def close(self) -> None:
        pass

    def begin(self) -> None:
        self.journal.drain()
        self._due = time.monotonic()

    def drain(self) -> list[Batch]:
        now = time.monotonic()
        if self._due is None or now < self._due - EARLY_S:
            return []
        self._due = max(self._due + self._period_s, now + EARLY_S)
        entry = self.sample()
        if entry is not None:
            self.journal.write(time.time_ns(), entry)
        return self.journal.drain()


class _MachineWatch(_Watched):
    def __init__(self, resource: Resource) -> None:
        super().__init__(MACHINE, resource)
        self._machine = Machine(list(resource.limits()))

    def sample(self) -> dict[str, Any]:
        return self._machine.read()

    def close(self) -> None:
        self._machine.close()


class _ProcessWatch(_Watched):
    def __init__(self, name: str, resource: Resource, family: Family | None) -> None:
        super().__init__(name, resource)
        self._name = name
        self._pattern = re.compile(resource.match) if resource.match else None
        self._search = _Search(self._pattern) if self._pattern else None
        self._family = family
        self._tree = Tree()
        self._absent = ''

    def begin(self) -> None:
        super().begin()
        self._tree, self._absent = Tree(), ''

    def missing(self) -> list[str]:
        if self._search is None or self._search.pids():
            return []
        return [self._nobody()]

    def sample(self) -> dict[str, Any] | None:
        now = time.monotonic()
        if self._tree.stale(now):
            self._tree.look(self._pids(), now)
        entry = self._tree.sample(now)
        if entry is not None:
            self._absent = ''
            return entry
        if self._absent:
            return None
        what = self._nobody()
        self._absent = f'there is no {what.removeprefix("a ")}' if self._pattern else what
        return {'absent': self._absent}

    def _pids(self) -> Iterable[int]:
        if self._search is not None:
            return self._search.pids()
        # A process that was stopped is unknown until it is started again.
        with contextlib.suppress(ProcessError):
            return self._family(self._name) if self._family else []
        return []

    def _nobody(self) -> str:
        if self._pattern is None:
            return f'no process of {self._name} is alive'
        return f'a process whose command contains "{self._pattern.pattern}"'


class _Search:
    """Finds processes by their command, and their descendants."""

    def __init__(self, pattern: re.Pattern[str]) -> None:
        self._pattern = pattern
        self._roots: list[psutil.Process] = []
        self._last, self._next = -SEARCH_S, 0.0
        me = psutil.Process()
        # Our own command may well contain the pattern, as may that of the shell before us.
        self._ours = {me.pid, *(parent.pid for parent in me.parents())}

    def pids(self) -> list[int]:
        """Return the living processes."""
        now = time.monotonic()
        self._roots = [root for root in self._roots if _alive(root)]
        if now >= self._next or (not self._roots and now >= self._last + LOOK_S):
            self._last, self._next = now, now + SEARCH_S
            self._roots = [one for one in psutil.process_iter() if self._fits(one)]
        found = {root.pid for root in self._roots}
        for root in self._roots:
            with contextlib.suppress(psutil.Error):
                found.update(child.pid for child in root.children(recursive=True))
        return sorted(found - self._ours)

    def _fits(self, process: psutil.Process) -> bool:
        with contextlib.suppress(psutil.Error):
            return process.pid not in self._ours and bool(
                self._pattern.search(' '.join(process.cmdline())))
        return False


class Tree:
    """A process and its descendants, by their pids; counts lives from 1.

    A life ends when none of its processes is left: what comes then is another one's.
    """

    def __init__(self) -> None:
        self._members: dict[int, _Member] = {}
        self._looked: float | None = None
        self._sampled: float | None = None
        self._began = 0.0
        self._pool = 0.0
        self._debt = 0.0
        self.life = 0

    def stale(self, now: float) -> bool:
        """Whether descendants have to be looked for, because none is known or it is time."""
        return not self._members or self._looked is None or now - self._looked >= LOOK_S - EARLY_S

    def look(self, pids: Iterable[int], now: float) -> None:
        """Take over who belongs to it; ``now`` is monotonic, in seconds."""
        self._looked = now
        members: dict[int, _Member] = {}
        for pid in pids:
            with contextlib.suppress(psutil.Error):
                process = psutil.Process(pid)
                known = self._members.get(pid)
                members[pid] = known if known and known.process == process else _Member(process)
        gone = [one for pid, one in self._members.items() if members.get(pid) is not one]
        # Their parents are credited for what they used, which was counted already.
        self._debt += sum(one.used_s for one in gone)
        if len(gone) == len(self._members):
            self.life += bool(members)
            self._sampled, self._pool, self._debt = None, 0.0, 0.0
            self._began = time.time()
        self._members = members

    def sample(self, now: float) -> dict[str, Any] | None:
        """Return what all of it uses, or None if nothing lives."""
        passed = None if self._sampled is None else now - self._sampled
        own = credit = 0.0
        living = 0
        totals: dict[str, int | None] = {'rss': 0, 'threads': 0, 'open_files': 0}
        for pid, member in list(self._members.items()):
            was = member.own_s, member.children_s
            if (levels := member.sample()) is None:
                self._debt += member.used_s
                del self._members[pid]
                continue
            living += 1
            if was[0] is not None:
                own += member.own_s - was[0]
                credit += member.children_s - was[1]
            elif member.process.create_time() > self._began:
                self._pool += member.used_s
            for key, level in levels.items():
                total = totals[key]
                totals[key] = None if level is None or total is None else total + level
        if not living:
            self._sampled = None
            return None
        self._sampled = now
        paid = min(self._debt, credit)
        self._debt -= paid
        self._pool += credit - paid
        return {'cpu': self._load(own, passed), **totals, 'processes': living, 'life': self.life}

    def _load(self, own_s: float, passed_s: float | None) -> float | None:
        if not passed_s:
            return None
        spread = self._pool * min(1.0, passed_s / LOOK_S)
        self._pool -= spread
        # Nobody in the tree may ever wait for a child, as for a daemon's.
        self._debt -= self._debt * min(1.0, passed_s / WAITED_S)
        return round((own_s + spread) / passed_s, 4)


class _Member:
    """One process; what it used so far, in CPU seconds, as of its last sample."""

    def __init__(self, process: psutil.Process) -> None:
        self.process = process
        self.own_s: Any = None
        self.children_s: Any = None

    @property
    def used_s(self) -> float:
        """CPU seconds of its own and of the children that it has waited for."""
        return float((self.own_s or 0.0) + (self.children_s or 0.0))

    def sample(self) -> dict[str, int | None] | None:
        """Return its levels, or None if it has ended."""
        try:
            with self.process.oneshot():
                if self.process.status() == psutil.STATUS_ZOMBIE:
                    return None
                times = self.process.cpu_times()
                levels: dict[str, int | None] = {
                    'rss': self.process.memory_info().rss,
                    'threads': self.process.num_threads(), 'open_files': None,
                }
        except psutil.Error:
            return None
        # Those of another user's process are not for us to see.
        with contextlib.suppress(psutil.Error, OSError):
            levels['open_files'] = self.process.num_fds()
        self.own_s = times.user + times.system
        self.children_s = times.children_user + times.children_system
        return levels


def _alive(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False
