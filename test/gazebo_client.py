"""A Gazebo server in a partition of its own, and somebody else's eyes on it: the command gz."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from robot_qa.processes import Processes, ProcessSpec, child_environment
from robot_qa.simulators.gazebo_server import LOOPBACK, server_command, server_environment

DEADLINE_S = 30.0


class Eyes:
    """What ``gz topic`` prints of the poses in a world; none of our code talks to Gazebo here."""

    def __init__(self, world: str) -> None:
        self._process = subprocess.Popen(
            ['gz', 'topic', '-e', '--json-output', '-t', f'/world/{world}/pose/info'],
            stdout=subprocess.PIPE, text=True, start_new_session=True)
        self._seen = threading.Condition()
        self._count = 0
        self._last: dict[str, Any] = {}
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._seen:
                self._count += 1
                self._last = json.loads(line)
                self._seen.notify_all()

    def look(self) -> dict[str, Any]:
        """Return a message that was published after this call began."""
        with self._seen:
            # The next one may have been on its way already.
            wanted = self._count + 2
            assert self._seen.wait_for(lambda: self._count >= wanted, DEADLINE_S), 'no poses'
            return self._last

    def pose(self, name: str) -> dict[str, Any] | None:
        """Return the pose of a model; of a link or a light where no model has the name."""
        return next((one for one in self.look()['pose'] if one.get('name') == name), None)

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()
        self._thread.join()
        assert self._process.stdout is not None
        self._process.stdout.close()


def xyz(values: dict[str, Any], axes: str = 'xyz') -> tuple[float, ...]:
    """Return the numbers of a message in which zeros are left out."""
    return tuple(float(values.get(axis, 0.0)) for axis in axes)


@contextmanager
def environment(**values: str) -> Iterator[None]:
    """Set variables of this process for a while."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def server(
    world: Path, folder: Path, partition: str, *options: str, paused: bool = True,
) -> Iterator[Processes]:
    """Run a world; what is started meanwhile talks to it."""
    ours = {'GZ_PARTITION': f'{partition}_{os.getpid()}', 'GZ_IP': LOOPBACK}
    with ExitStack() as stack:
        stack.enter_context(environment(**ours))
        processes = stack.enter_context(Processes(folder))
        env = child_environment(os.environ, None, server_environment(world, os.environ))
        words = [word for word in server_command(world, 7) if not (paused and word == '-r')]
        processes.start(ProcessSpec('simulator', (*words, *options), folder, env))
        try:
            yield processes
        except AssertionError:
            print((folder / 'simulator.log').read_text())
            raise


def until(condition: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + DEADLINE_S
    while not (found := condition()):
        assert time.monotonic() < deadline, f'not within {DEADLINE_S} s: {what}'
        time.sleep(0.005)
    return found
