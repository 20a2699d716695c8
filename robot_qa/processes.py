"""Starts what is under test and leaves none of it behind.

The processes are children of a keeper (``keeper.py``), a small process of its own session that
outlives this one for as long as it takes to stop them, whatever ended this one.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from robot_qa import keeper
from robot_qa.errors import ProcessError, did_you_mean

_BOOTSTRAP_FLAG = '_ROS_WHEELS_BOOTSTRAP_COMPLETE'
_ANSWER_TIMEOUT_S = 10.0
_CLOSING_TIMEOUT_S = _ANSWER_TIMEOUT_S + (
    keeper.CLOSING_PATIENCE_S + keeper.TERM_PATIENCE_S + keeper.KILL_PATIENCE_S)


@dataclass(frozen=True)
class ProcessSpec:
    """A process to start; ``env`` is its complete environment, ``cwd`` defaults to ours.

    The keeper adds ``ROBOT_QA_PROCESS`` to the environment, and ``ROS_LOG_DIR`` where it is not
    set.
    """

    name: str
    argv: tuple[str, ...]
    cwd: Path | None
    env: Mapping[str, str]


@dataclass(frozen=True)
class Exit:
    """How a process ended.

    ``code`` is its exit code, negative for a death by signal. ``signal_sent`` is the last signal
    that it or one of its descendants needed; None if all had ended before. ``log`` holds what
    they wrote.
    """

    name: str
    code: int
    signal_sent: str | None
    log: Path


class Processes:
    """Starts and stops processes; for one thread.

    Their output goes to ``log_dir/<name>.log``. ``inherit_fd`` is a file descriptor that the
    keeper holds open until everything has been stopped, such as a `DomainClaim`'s. Any method
    raises ProcessError when somebody has killed the keeper; the processes die with it.
    """

    def __init__(self, log_dir: Path, inherit_fd: int | None = None) -> None:
        self._log_dir = log_dir.resolve()
        self._log_dir.mkdir(parents=True, exist_ok=True)
        self._running: set[str] = set()
        self._exits: dict[str, Exit] = {}
        self._ended: dict[str, Exit] = {}
        self._answers: dict[int, dict[str, Any]] = {}
        self._received = b''
        self._requests = 0
        # Without site-packages, so that no .pth file is run, and in no folder that is removed.
        self._keeper = subprocess.Popen(
            [sys.executable, '-I', '-S', keeper.__file__, str(os.getpid())],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, cwd='/',
            start_new_session=True, pass_fds=() if inherit_fd is None else (inherit_fd,))
        assert self._keeper.stdin is not None and self._keeper.stdout is not None
        self._input = self._keeper.stdin
        self._output = self._keeper.stdout

    def __enter__(self) -> Processes:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def start(self, process: ProcessSpec) -> int:
        """Start a process in a session of its own and return its pid.

        Raises ProcessError if it cannot be started or one of this name runs. A name can be used
        again once its process has ended; the log is appended to.
        """
        self.poll()
        if not process.name or '/' in process.name or '\0' in process.name:
            raise ProcessError(f'"{process.name}" cannot name a process: its log is a file')
        if process.name in self._running:
            raise ProcessError(f'a process "{process.name}" is already running')
        if not process.argv:
            raise ProcessError(f'{process.name}: the command is empty')
        cwd = process.cwd or Path.cwd()
        # Before asking: its end may be reported together with the answer.
        self._exits.pop(process.name, None)
        self._ended.pop(process.name, None)
        self._running.add(process.name)
        answer = self._ask(_ANSWER_TIMEOUT_S, start={
            'name': process.name, 'argv': process.argv, 'cwd': str(cwd.absolute()),
            'env': {'ROS_LOG_DIR': str(self._log_dir), **process.env},
            'log': str(self._log_of(process.name))})
        if 'failed' in answer:
            self._running.discard(process.name)
            reason = _why_not(process, cwd, answer['failed'], answer['file'])
            raise ProcessError(f'{process.name}: {reason}')
        return int(answer['pid'])

    def stop(self, name: str, patience_s: float = 5.0) -> Exit:
        """Stop a process and all its descendants and return how it ended.

        SIGINT goes to its process group, after ``patience_s`` SIGTERM and a second later SIGKILL
        to all that is left. A process that was stopped before is left as it is. Raises
        ProcessError if something survives even SIGKILL.
        """
        self._require_known(name)
        self._stop(patience_s, name=name)
        return self._exits[name]

    def begin_stop(self, name: str, patience_s: float = 5.0) -> Callable[[], Exit | None]:
        """Begin to stop a process as `stop` does, without waiting for it.

        What is returned is to be called until it says how the process ended; it raises what `stop`
        raises.
        """
        self._require_known(name)
        number = self._request(stop={'patience_s': patience_s, 'name': name})
        timeout_s = _stop_timeout_s(patience_s)
        deadline = time.monotonic() + timeout_s

        def look() -> Exit | None:
            while number not in self._answers:
                if not self._receive(0.0):
                    if time.monotonic() > deadline:
                        raise self._silent(timeout_s)
                    return None
            self._take_stopped(self._answers.pop(number))
            return self._exits[name]

        return look

    def stop_all(self, patience_s: float = 5.0) -> dict[str, Exit]:
        """Stop everything at once as `stop` does; return the exits of all that were started."""
        self._stop(patience_s)
        return dict(self._exits)

    def poll(self) -> dict[str, Exit]:
        """Return the processes that have ended by themselves so far, without waiting."""
        while self._receive(0.0):
            pass
        return dict(self._ended)

    def pids(self, name: str) -> list[int]:
        """Return the living processes that belong to ``name``: itself and all its descendants.

        Daemons, which are nobody's children any more, are among them.
        """
        self._require_known(name)
        return list(self._ask(_ANSWER_TIMEOUT_S, family=name)['pids'])

    def close(self) -> None:
        """Stop everything and end the keeper; a second call does nothing.

        A Ctrl-C while it waits ends the waiting only: the keeper goes on by itself, impatiently.
        """
        if self._output.closed:
            return
        problem: ProcessError | None = None
        try:
            if not self._input.closed:
                self._stop(5.0)
        except ProcessError as error:
            problem = error
        finally:
            if not self._input.closed:
                # The end of input would do, had nobody inherited the pipe by a fork.
                with contextlib.suppress(OSError):
                    self._send({'close': True})
                self._input.close()
        try:
            code = self._keeper.wait(_CLOSING_TIMEOUT_S)
        except subprocess.TimeoutExpired as error:
            raise self._silent(_CLOSING_TIMEOUT_S) from error
        if code != 0:
            problem = self._lost()
        self._output.close()
        if problem:
            raise problem

    def _log_of(self, name: str) -> Path:
        return self._log_dir / f'{name}.log'

    def _require_known(self, name: str) -> None:
        known = self._running | self._exits.keys()
        if name not in known:
            raise ProcessError(
                f'no process "{name}" was started{did_you_mean(name, known)}')

    def _stop(self, patience_s: float, **which: str) -> None:
        self._take_stopped(self._ask(
            _stop_timeout_s(patience_s), stop={'patience_s': patience_s, **which}))

    def _take_stopped(self, answer: dict[str, Any]) -> None:
        if 'failed' in answer:
            raise ProcessError(answer['failed'])
        for name, end in answer['stopped'].items():
            self._running.discard(name)
            self._exits[name] = Exit(name, end['code'], end['signal'], self._log_of(name))

    def _request(self, **request: Any) -> int:
        """Send a request and return its number, by which it will be answered."""
        self._requests += 1
        try:
            self._send({'id': self._requests, **request})
        except (OSError, ValueError) as error:
            raise self._lost() from error
        return self._requests

    def _ask(self, timeout_s: float, **request: Any) -> dict[str, Any]:
        number = self._request(**request)
        deadline = time.monotonic() + timeout_s
        while number not in self._answers:
            if not self._receive(deadline - time.monotonic()) and time.monotonic() > deadline:
                raise self._silent(timeout_s)
        return self._answers.pop(number)

    def _send(self, request: dict[str, Any]) -> None:
        line = memoryview(json.dumps(request).encode() + b'\n')
        try:
            while line:
                line = line[os.write(self._input.fileno(), line):]
        except BaseException:
            # Half a request must not be completed by the next; the end of input closes all.
            self._input.close()
            raise

    def _receive(self, timeout_s: float) -> bool:
        """Take in what the keeper has written; return whether it was anything."""
        if self._output.closed:
            return False
        if not select.select([self._output], [], [], max(0.0, timeout_s))[0]:
            return False
        received = os.read(self._output.fileno(), 65536)
        if not received:
            raise self._lost()
        *lines, self._received = (self._received + received).split(b'\n')
        for line in lines:
            self._take(json.loads(line))
        return True

    def _take(self, message: dict[str, Any]) -> None:
        if 'exited' in message:
            name = message['exited']
            self._running.discard(name)
            end = Exit(name, message['code'], None, self._log_of(name))
            self._exits[name] = self._ended[name] = end
        else:
            self._answers[message['id']] = message

    def _silent(self, timeout_s: float) -> ProcessError:
        return ProcessError(
            f'the keeper of the processes under test (pid {self._keeper.pid}) has not answered '
            f'for {timeout_s:g} s')

    def _lost(self) -> ProcessError:
        if self._output.closed:
            return ProcessError('the processes under test are closed already')
        return ProcessError(
            f'the keeper of the processes under test (pid {self._keeper.pid}) was lost; the '
            f'processes {sorted(self._running)} died with it')


def _stop_timeout_s(patience_s: float) -> float:
    return patience_s + keeper.TERM_PATIENCE_S + keeper.KILL_PATIENCE_S + _ANSWER_TIMEOUT_S


def child_environment(
    base: Mapping[str, str], domain_id: int | None, extra: Mapping[str, str],
) -> dict[str, str]:
    """Return the environment of a process under test: ``base``, what a run needs, ``extra``.

    With a ``domain_id`` it is confined to this domain, this host and a Gazebo partition of this
    run. A Python from the PyPI wheels of ROS finds its own libraries again at its start, so that
    it may also be another one than ours.
    """
    env = dict(base)
    if env.pop(_BOOTSTRAP_FLAG, None):
        _drop_library_paths(env)
    env |= {'PYTHONUNBUFFERED': '1', 'RCUTILS_COLORIZED_OUTPUT': '0'}
    if domain_id is not None:
        env |= {
            'ROS_DOMAIN_ID': str(domain_id),
            'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
            'GZ_PARTITION': f'robot_qa_{os.getpid()}_{domain_id}',
        }
    return env | dict(extra)


def _drop_library_paths(env: dict[str, str]) -> None:
    """Take back what the wheels' bootstrap of our own interpreter has put in front."""
    own = str(Path(sys.prefix) / 'lib')
    kept = [path for path in env.pop('LD_LIBRARY_PATH', '').split(os.pathsep)
            if path and path != own and not Path(path).match('ros_*.libs')]
    if kept:
        env['LD_LIBRARY_PATH'] = os.pathsep.join(kept)


def _why_not(process: ProcessSpec, cwd: Path, reason: str, file: str | None) -> str:
    command = process.argv[0]
    if not cwd.is_dir():
        return f'working directory not found: {cwd}'
    if file != command or reason != os.strerror(errno.ENOENT):
        culprit = '' if file in (None, command) else f': {file}'
        return f'cannot start {command}: {reason}{culprit}'
    path = process.env.get('PATH', os.defpath)
    named_by_path = os.sep in command
    if (cwd / command).is_file() if named_by_path else shutil.which(command, path=path):
        return f'cannot start {command}: the interpreter in its first line was not found'
    if named_by_path:
        return f'command not found: {command}'
    folders = [folder for folder in path.split(os.pathsep) if os.path.isdir(folder)]
    known = (name for folder in folders for name in os.listdir(folder))
    return f'command not found: {command}{did_you_mean(command, known)}'
