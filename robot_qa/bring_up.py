"""Around the processes under test: what is executed, in which environment, and interrupts."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from robot_qa.processes import ProcessSpec, child_environment
from robot_qa.scenario import shared_memory
from robot_qa.simulators import gazebo_bridge, gazebo_server
from robot_qa.spec.model import TestSpec
from robot_qa.spec.simulator import Simulator
from robot_qa.spec.system import Launch, Process

# The process that brings Gazebo's topics to ROS.
BRIDGE = gazebo_bridge.PACKAGE


def process_spec(process: Process, folder: Path, logs: Path) -> ProcessSpec:
    """Return how to start a process of a spec that lies in ``folder``, both paths absolute.

    Its environment is ours of now, in which `environment_for` has set the domain.
    """
    return ProcessSpec(
        process.name, _words(process, folder), folder / (process.cwd or '.'),
        {**_environment(logs), **process.environment},
    )


def simulator_specs(spec: TestSpec, folder: Path, logs: Path) -> list[ProcessSpec]:
    """Return how to start the simulator, if any, of a spec in ``folder``; both paths absolute.

    SetupError: Gazebo, or its bridge to ROS, is not installed, or the world is no SDF.
    """
    simulator = spec.system.simulator if spec.system else None
    if simulator is None or not simulator.started:
        return []
    assert simulator.world is not None
    if simulator.backend == 'gazebo':
        return _gazebo_specs(spec, simulator, folder, logs)
    words = (
        sys.executable, '-m', 'robot_qa.embedded.program', str(folder / simulator.world),
        '--seed', str(simulator.seed), '--real-time-factor', str(simulator.real_time_factor),
        '--render', simulator.render,
    )
    return [ProcessSpec('simulator', words, folder, _equipment(folder, logs))]


def _gazebo_specs(
    spec: TestSpec, simulator: Simulator, folder: Path, logs: Path,
) -> list[ProcessSpec]:
    """Return the server of Gazebo, and what brings its topics to ROS."""
    env = _equipment(folder, logs)
    gazebo_server.check_installed(env)
    world = folder / str(simulator.world)
    name = gazebo_server.world_name(world)
    env |= gazebo_server.server_environment(world, env)
    paced = gazebo_server.paced(world, simulator.real_time_factor)
    if paced is not None:
        world = logs / world.name
        world.write_text(paced)
    command = gazebo_server.server_command(world, simulator.seed)
    specs = [ProcessSpec('simulator', command, folder, env)]
    if simulator.bridged:
        program = gazebo_bridge.bridge_program(env)
        file = folder / simulator.bridge
        if simulator.bridge == 'auto':
            file = logs / 'bridge.yaml'
            topics = gazebo_bridge.bridged_topics(spec, name)
            file.write_text(gazebo_bridge.configuration(topics))
        command = gazebo_bridge.bridge_command(program, file)
        specs.append(ProcessSpec(BRIDGE, command, folder, env))
    return specs


def _words(process: Process, folder: Path) -> tuple[str, ...]:
    """Return what to execute: the command as written, or ``ros2 launch`` with its arguments."""
    if process.command is not None:
        return tuple(process.command)
    assert isinstance(process.launch, Launch)
    launch = process.launch
    where = (launch.package, launch.file) if launch.package else (str(folder / launch.file),)
    arguments = [f'{name}:={value}' for name, value in launch.arguments.items()]
    return ('ros2', 'launch', *where, *arguments)


@contextmanager
def environment_for(
    domain: int, logs: Path, simulator: Simulator | None = None,
) -> Iterator[None]:
    """Keep this process's ROS, and the Gazebo that it starts, to itself while a run lasts."""
    ours = {} if simulator is None or not simulator.started else {
        'GZ_PARTITION': child_environment({}, domain, {})['GZ_PARTITION'],
        'GZ_IP': gazebo_server.LOOPBACK,
    }
    ours |= {
        'ROS_DOMAIN_ID': str(domain), 'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
        'ROS_LOG_DIR': str(logs.absolute()),
    }
    before = {name: os.environ.get(name) for name in ours}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


class Interrupts:
    """Ctrl-C and SIGTERM during a run: the first one interrupts it, and none what has to follow.

    So what the run did is taken back and its report is written, however often they come;
    ``count`` says how often. Outside the main thread, or if they are ignored, nothing changes.
    """

    def __init__(self) -> None:
        self.count = 0
        self._raises = True
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._before[number] = signal.signal(number, self._take)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def calm(self) -> None:
        """Let none interrupt from now on."""
        self._raises = False

    def _take(self, *_: object) -> None:
        self.count += 1
        if self._raises:
            self._raises = False
            raise KeyboardInterrupt


def _environment(logs: Path) -> dict[str, str]:
    return child_environment(
        os.environ, int(os.environ['ROS_DOMAIN_ID']),
        {'ROS_LOG_DIR': str(logs), **_our_python_first()},
    )


def _equipment(folder: Path, logs: Path) -> dict[str, str]:
    """Return the environment of test equipment, which images leave whole.

    What is under test does not get that: its middleware is what the robot has.
    """
    env = _environment(logs)
    logs.mkdir(parents=True, exist_ok=True)
    return env | shared_memory.variables(env, folder, logs)


def _our_python_first() -> dict[str, str]:
    """Let processes find the Python of the virtual environment that we run in, if we do."""
    if sys.prefix == sys.base_prefix:
        return {}
    return {'PATH': os.pathsep.join([str(Path(sys.executable).parent), os.environ['PATH']])}
