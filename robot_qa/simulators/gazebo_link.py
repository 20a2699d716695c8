"""The adapter's end of the processes in ``gazebo_worker``: asks without blocking."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Generator
from typing import Any, TypeAlias, TypeVar

from robot_qa.simulators.base import Action, ActionError

T = TypeVar('T')
Waiting: TypeAlias = Generator[None, None, T]
END_S = 2.0


class Helper:
    """A process of ``gazebo_worker`` and the answers that it owes."""

    def __init__(self, role: str, answer_s: float) -> None:
        """Start it, as ``request`` or ``watch``; its environment is ours."""
        self._role = role
        self._answer_s = answer_s
        self._count = 0
        self._answers: dict[int, dict[str, Any]] = {}
        self._received = b''
        self._gone = ''
        self._process = subprocess.Popen(
            [sys.executable, '-m', 'robot_qa.simulators.gazebo_worker', role],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
            # A Ctrl-C is for us: what was done has to be undone through it first.
            start_new_session=True)
        assert self._process.stdin is not None and self._process.stdout is not None
        self._input, self._output = self._process.stdin, self._process.stdout

    def ask(self, undo: Action | None = None, **request: Any) -> Waiting[dict[str, Any]]:
        """Return the answer; ``ActionError`` if none comes, with the undo as it was sent."""
        self._count += 1
        number = self._count
        try:
            self._input.write(json.dumps({'id': number, **request}).encode() + b'\n')
        except OSError as error:
            self._receive()
            raise ActionError(self._gone or str(error)) from error
        deadline = time.monotonic() + self._answer_s + 1.0
        while number not in self._answers:
            self._receive()
            if self._gone:
                raise ActionError(self._gone, undo)
            if time.monotonic() > deadline:
                raise ActionError(f'no answer within {self._answer_s + 1.0:g} s from the process '
                                  'that talks to Gazebo', undo)
            if number not in self._answers:
                yield
        answer = self._answers.pop(number)
        if 'error' in answer:
            raise ActionError(f'Gazebo could not be asked: {answer["error"]}')
        return answer

    def _receive(self) -> None:
        if not select.select([self._output], [], [], 0)[0]:
            return
        chunk = os.read(self._output.fileno(), 1 << 20)
        if not chunk:
            self._gone = self._gone or 'the process that talks to Gazebo has ended'
            return
        *lines, self._received = (self._received + chunk).split(b'\n')
        for line in lines:
            answer = json.loads(line)
            if 'fatal' in answer:
                self._gone = answer['fatal']
            else:
                self._answers[answer['id']] = answer

    def close(self) -> None:
        """End the process; a second call does nothing."""
        with contextlib.suppress(OSError):
            self._input.close()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._output.close()


class Services(Helper):
    """The process that calls services."""

    def __init__(self, answer_s: float) -> None:
        super().__init__('request', answer_s)

    def call(
        self, service: str, kind: str, request: dict[str, Any], reply: str = 'Boolean',
        undo: Action | None = None,
    ) -> Waiting[dict[str, Any]]:
        """Return what a service answers; ``ActionError`` if it does not answer in time."""
        answer = yield from self.ask(
            undo, service=service, type=kind, request=request, reply=reply,
            timeout_ms=round(self._answer_s * 1000))
        found: dict[str, Any] | None = answer['reply']
        if found is None:
            raise ActionError(f'{service}: no answer within {self._answer_s:g} s', undo)
        return found
