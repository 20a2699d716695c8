"""Parent of all processes under test, so that none of them outlives the session.

Run as a script of its own (``python -I -S keeper.py SESSION_PID``), with nothing but the standard
library: it starts fast and nothing that a project installs can break it. Requests come as JSON
lines on stdin and are answered on stdout under the same ``id``:

- ``{"id", "start": {"name", "argv", "cwd", "env", "log"}}`` -> ``{"id", "pid"}``
- ``{"id", "stop": {"name", "patience_s"}}`` -> ``{"id", "stopped": {name: {"code", "signal"}}}``;
  without a name all are stopped, and whatever they left behind
- ``{"id", "family": name}`` -> ``{"id", "pids"}``
- ``{"close": true}``, the end of stdin or the death of the session: stop everything and exit

A request that cannot be fulfilled is answered with ``{"id", "failed": reason}``, for a start also
``"file"``. A process that ends by itself is reported as ``{"exited": name, "code"}``; a death by
signal has a negative code.

The kernel makes the keeper the parent of every orphan among its descendants (prctl(2),
PR_SET_CHILD_SUBREAPER), so a daemon cannot escape by forking twice or by starting a session. To
which process such an orphan belongs is read from ``ROBOT_QA_PROCESS`` in its environment.

A SIGKILLed DDS participant leaves its shared memory in /dev/shm. The keeper remembers the files
that the session or a process under test has used, and removes in the end those that nobody uses.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import re
import select
import signal
import struct
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

CLOSING_PATIENCE_S = 2.0
TERM_PATIENCE_S = 1.0
KILL_PATIENCE_S = 5.0
KILL_AGAIN_S = 0.1
TICK_S = 1.0
MARK = 'ROBOT_QA_PROCESS'
STRAYS = ''

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_IN_OPEN = 0x20
_IN_CREATE = 0x100
_EVENT = struct.Struct('iIII')
_SHM = b'/dev/shm/'
# Fast DDS 2 and 3 name their files differently. The files of one segment or port share a stem,
# and not all of them stay mapped or open while they are in use (the mutex does not).
_STEM = re.compile(
    _SHM + rb'(?:sem\.)?(fast(?:dds|rtps|_datasharing)_\S+?)(?:_el|_sl|_mutex)?$', re.MULTILINE)
_libc = ctypes.CDLL(None, use_errno=True)


class Entry(NamedTuple):
    """One living process."""

    pid: int
    parent: int
    group: int


def process_table() -> list[Entry]:
    """Return all living processes of this machine; zombies are not alive."""
    table = []
    for pid in _numbers('/proc'):
        with contextlib.suppress(OSError):
            # The command's name may contain anything, also parentheses.
            fields = _read(f'/proc/{pid}/stat').rpartition(b') ')[2].split()
            state, parent, group, threads = fields[0], fields[1], fields[2], fields[17]
            # Also a process whose main thread has ended shows as a zombie, with others alive.
            if state not in b'ZX' or int(threads) > 1:
                table.append(Entry(pid, int(parent), int(group)))
    return table


def subtree(root: Entry, children: dict[int, list[Entry]]) -> list[Entry]:
    """Return a process and all its descendants."""
    found = [root]
    for entry in found:
        found.extend(children.get(entry.pid, ()))
    return found


class SharedMemory:
    """The DDS files in /dev/shm that our processes have used."""

    def __init__(self) -> None:
        self._inodes: dict[bytes, int] = {}
        watch = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        works = _libc.inotify_add_watch(watch, _SHM, _IN_OPEN | _IN_CREATE) >= 0
        # Where the kernel gives no more watches, a look at every tick has to do.
        self.watch: int | None = watch if works else None
        self._looked = 0.0
        self.look_at = 0.0

    def notice(self, now: float) -> None:
        """Plan a look if DDS files were opened of which we do not know yet that we use them.

        A participant opens many in a row; one that dies young has created some. Participants
        open each other's locks every few seconds, which tells nothing new.
        """
        for mask, name in self._events():
            created = bool(mask & _IN_CREATE)
            if _stem(name) and (created or name not in self._inodes):
                earliest = self._looked + (0.1 if created else TICK_S)
                self.look_at = min(self.look_at, max(now + 0.02, earliest))

    def _events(self) -> Iterator[tuple[int, bytes]]:
        assert self.watch is not None
        data = os.read(self.watch, 65536)
        while data:
            _, mask, _, length = _EVENT.unpack_from(data)
            end = _EVENT.size + length
            yield mask, data[_EVENT.size:end].rstrip(b'\0')
            data = data[end:]

    def look(self, pids: Iterable[int]) -> None:
        """Remember which files ``pids`` use now."""
        stems = set().union(*map(_stems_used_by, pids))
        for name in _shm_names() if stems else ():
            if _stem(name) in stems:
                with contextlib.suppress(OSError):
                    self._inodes[name] = os.stat(_SHM + name).st_ino
        self._looked = time.monotonic()
        self.look_at = float('inf') if self.watch is not None else self._looked + TICK_S

    def remove_unused(self) -> None:
        """Remove the remembered files which no process uses any more."""
        left = {name for name in _shm_names() if self._is_ours(name)}
        if not left:
            return
        used = set().union(*map(_stems_used_by, _numbers('/proc')))
        # A container that shares /dev/shm has processes we cannot see, but their locks hold.
        used |= {stem for name in left if (stem := _stem(name)) and _is_locked(name)}
        for name in left:
            if _stem(name) not in used:
                with contextlib.suppress(OSError):
                    os.unlink(_SHM + name)

    def _is_ours(self, name: bytes) -> bool:
        with contextlib.suppress(OSError):
            return self._inodes.get(name) == os.stat(_SHM + name).st_ino
        return False


def _shm_names() -> list[bytes]:
    with contextlib.suppress(OSError):
        return [name for name in os.listdir(_SHM) if _stem(name)]
    return []


def _stem(name: bytes) -> bytes | None:
    match = _STEM.match(_SHM + name)
    return match[1] if match else None


def _stems_used_by(pid: int) -> set[bytes]:
    paths = []
    with contextlib.suppress(OSError):
        paths.append(_read(f'/proc/{pid}/maps'))
    for number in _numbers(f'/proc/{pid}/fd'):
        with contextlib.suppress(OSError):
            paths.append(os.readlink(b'/proc/%d/fd/%d' % (pid, number)))
    return set(_STEM.findall(b'\n'.join(paths)))


def _is_locked(name: bytes) -> bool:
    if not name.endswith((b'_el', b'_sl')):
        return False
    try:
        with open(_SHM + name, 'rb') as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


class Job:
    """A process under test; ``signal`` is the last one sent to it or its descendants."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.signal: signal.Signals | None = None

    @property
    def code(self) -> int | None:
        """The exit code; None until it has been reaped."""
        return self.process.returncode


class Stop:
    """A request to stop some jobs, or everything: SIGINT first, then SIGTERM, then SIGKILL."""

    def __init__(
        self, request: int, jobs: dict[str, Job], everything: bool, patience_s: float,
    ) -> None:
        self.request = request
        self.jobs = jobs
        self.signal = signal.SIGINT
        self.deadline = time.monotonic() + patience_s
        self._everything = everything
        self._gives_up = float('inf')

    def left(self, families: dict[str, list[Entry]]) -> dict[str, list[Entry]]:
        """Return those of the living processes that this request is about."""
        return {name: family for name, family in families.items()
                if self._everything or name in self.jobs}

    def advance(self, now: float) -> bool:
        """Go on to the next signal if its time has come; return whether it has."""
        if now < self.deadline:
            return False
        if self.signal is signal.SIGINT:
            self.signal = signal.SIGTERM
            self.deadline = now + TERM_PATIENCE_S
        else:
            if self.signal is signal.SIGTERM:
                self._gives_up = now + KILL_PATIENCE_S
            self.signal = signal.SIGKILL
            self.deadline = now + KILL_AGAIN_S
        return True

    def is_stuck(self, now: float) -> bool:
        """Whether not even SIGKILL has helped."""
        return now >= self._gives_up


class Keeper:
    """The event loop: requests, deaths and deadlines."""

    def __init__(self, session: int) -> None:
        self._session = session
        self._jobs: dict[str, Job] = {}
        self._stops: list[Stop] = []
        self._interrupted: set[int] = set()
        self._memory = SharedMemory()
        self._input = b''
        self._closing = False
        self._wakeup, wakeup_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wakeup_end, warn_on_full_buffer=False)
        # Handlers, not SIG_IGN: what is ignored stays ignored in the processes that we start.
        for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: None)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def run(self) -> None:
        """Serve until the session has closed or is gone, and all processes under test too."""
        while self._stops or not self._closing:
            self._wait()
            self._reap()
            # Whoever forked from the session also holds our stdin open, so its end may not come.
            if os.getppid() != self._session:
                self._close()
            if time.monotonic() >= self._memory.look_at:
                self._look(self._families())
            if self._stops:
                self._press()
        self._memory.remove_unused()

    def _wait(self) -> None:
        now = time.monotonic()
        wake_at = min(now + TICK_S, self._memory.look_at, *(s.deadline for s in self._stops))
        watched = [self._wakeup] if self._closing else [self._wakeup, 0]
        if self._memory.watch is not None:
            watched.append(self._memory.watch)
        ready = select.select(watched, [], [], max(0.0, wake_at - now))[0]
        if self._wakeup in ready:
            os.read(self._wakeup, 4096)
        if self._memory.watch in ready:
            self._memory.notice(time.monotonic())
        if 0 in ready:
            self._read_requests()

    def _read_requests(self) -> None:
        received = os.read(0, 1 << 20)
        *lines, self._input = (self._input + received).split(b'\n')
        for line in lines:
            self._serve(json.loads(line))
        if not received:
            self._close()

    def _serve(self, request: dict[str, Any]) -> None:
        if 'start' in request:
            self._answer(id=request['id'], **self._start(**request['start']))
        elif 'stop' in request:
            self._stop(request['id'], **request['stop'])
        elif 'family' in request:
            family = self._families().get(request['family'], [])
            self._answer(id=request['id'], pids=[entry.pid for entry in family])
        elif 'close' in request:
            self._close()

    def _start(
        self, name: str, argv: list[str], cwd: str, env: dict[str, str], log: str,
    ) -> dict[str, Any]:
        keeper = os.getpid()

        def die_with_keeper() -> None:
            _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != keeper:
                os._exit(1)

        try:
            with open(log, 'ab') as output:
                process = subprocess.Popen(
                    argv, cwd=cwd, env={**env, MARK: f'{keeper}/{name}'},
                    stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                    start_new_session=True,
                    preexec_fn=die_with_keeper)  # noqa: PLW1509 - there is one thread
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            reason = getattr(error, 'strerror', None) or str(error)
            return {'failed': reason, 'file': getattr(error, 'filename', None)}
        self._jobs[name] = Job(process)
        return {'pid': process.pid}

    def _stop(self, request: int, patience_s: float, name: str | None = None) -> None:
        families = self._families()
        self._look(families)
        jobs = {key: job for key, job in self._jobs.items() if name in (None, key)}
        stop = Stop(request, jobs, name is None, patience_s)
        self._interrupt(stop.left(families))
        self._stops.append(stop)

    def _close(self) -> None:
        if not self._closing:
            self._closing = True
            self._stop(0, CLOSING_PATIENCE_S)

    def _reap(self) -> None:
        codes = {}
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                codes[ended[0]] = os.waitstatus_to_exitcode(ended[1])
        for name, job in self._jobs.items():
            if job.code is None and job.process.pid in codes:
                job.process.returncode = codes[job.process.pid]
                if job.signal is None:
                    self._answer(exited=name, code=job.code)

    def _press(self) -> None:
        """Do what is due now for all that is being stopped."""
        families = self._families()
        now = time.monotonic()
        for stop in list(self._stops):
            left = stop.left(families)
            unreaped = any(job.code is None for job in stop.jobs.values())
            if not (left or unreaped) or stop.is_stuck(now):
                self._finish(stop, left)
            elif stop.advance(now):
                self._send(stop.signal, left)
            elif stop.signal is signal.SIGINT:
                self._interrupt(left)

    def _interrupt(self, families: dict[str, list[Entry]]) -> None:
        """SIGINT once to each process group, and to orphans: nobody else would tell them."""
        for name, family in families.items():
            job = self._jobs.get(name)
            group = job.process.pid if job else None
            if job and job.signal is None:
                job.signal = signal.SIGINT
            if group and group not in self._interrupted:
                self._interrupted.add(group)
                if any(entry.group == group for entry in family):
                    _signal(os.killpg, group, signal.SIGINT)
            for entry in family:
                told = entry.group == group or entry.pid in self._interrupted
                if entry.parent == os.getpid() and not told:
                    self._interrupted.add(entry.pid)
                    _signal(os.kill, entry.pid, signal.SIGINT)

    def _send(self, number: signal.Signals, families: dict[str, list[Entry]]) -> None:
        for name, family in families.items():
            if name in self._jobs:
                self._jobs[name].signal = number
            for entry in family:
                _signal(os.kill, entry.pid, number)

    def _finish(self, stop: Stop, left: dict[str, list[Entry]]) -> None:
        self._stops.remove(stop)
        if not self._stops:
            self._interrupted.clear()
        for name, job in stop.jobs.items():
            if self._jobs.get(name) is job:
                del self._jobs[name]
        stuck = [entry.pid for family in left.values() for entry in family]
        if stuck:
            self._answer(id=stop.request, failed=f'still alive after SIGKILL: {stuck}')
            return
        stopped = {name: {'code': job.code, 'signal': job.signal and job.signal.name}
                   for name, job in stop.jobs.items()}
        self._answer(id=stop.request, stopped=stopped)

    def _families(self) -> dict[str, list[Entry]]:
        """All our living descendants, by the process under test to which they belong."""
        children: dict[int, list[Entry]] = defaultdict(list)
        for entry in process_table():
            children[entry.parent].append(entry)
        leaders = {job.process.pid: name for name, job in self._jobs.items() if job.code is None}
        families: dict[str, list[Entry]] = defaultdict(list)
        for child in children[os.getpid()]:
            name = leaders.get(child.pid) or self._marked(child.pid)
            families[name] += subtree(child, children)
        return dict(families)

    def _marked(self, orphan: int) -> str:
        start = f'{MARK}={os.getpid()}/'.encode()
        with contextlib.suppress(OSError):
            for variable in _read(f'/proc/{orphan}/environ').split(b'\0'):
                if variable.startswith(start):
                    name = os.fsdecode(variable[len(start):])
                    return name if name in self._jobs else STRAYS
        return STRAYS

    def _look(self, families: dict[str, list[Entry]]) -> None:
        ours = [entry.pid for family in families.values() for entry in family]
        self._memory.look([self._session, *ours])

    def _answer(self, **fields: Any) -> None:
        line = json.dumps(fields).encode() + b'\n'
        # The session may be dead already; the work goes on without it.
        with contextlib.suppress(BrokenPipeError):
            while line:
                line = line[os.write(1, line):]


def _signal(send: Callable[[int, int], None], pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        send(pid, number)
        # A paused process would see the signal only once it goes on.
        send(pid, signal.SIGCONT)


def _read(path: str) -> bytes:
    with open(path, 'rb', buffering=0) as file:
        return file.read()


def _numbers(folder: str) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(name) for name in os.listdir(folder) if name.isdigit()]
    return []


if __name__ == '__main__':
    Keeper(int(sys.argv[1])).run()
