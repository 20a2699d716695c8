"""What is under test: its processes, and when it is ready."""

from __future__ import annotations

from pathlib import PurePath

from pydantic import Field, ValidationInfo, field_validator, model_validator

from robot_qa.spec.parts import Finding, Part, wrong, wrong_all
from robot_qa.spec.simulator import Simulator
from robot_qa.spec.values import (
    Argument,
    Command,
    Identifier,
    NonEmpty,
    PositiveDuration,
    ProcessName,
    RelativePath,
    RosName,
    check_file,
)
from robot_qa.timebase import NS_PER_S


class Launch(Part):
    """A ROS launch file."""

    package: NonEmpty | None = None
    """The package that has the file; without it the file is relative to the spec."""
    file: RelativePath
    """The file, such as robot.launch.py."""
    arguments: dict[Identifier, Argument] = Field(default_factory=dict)
    """Launch arguments by name."""

    @field_validator('file')
    @classmethod
    def _file_is_there(cls, file: str, info: ValidationInfo) -> str:
        if info.data.get('package') is not None:
            if '..' in PurePath(file).parts:
                raise wrong(f'"{file}" leads out of the package')
            return file
        return check_file(file, info, folder=False)


class Process(Part):
    """A process that the run starts and stops."""

    name: ProcessName
    """A short name for messages and log files."""
    command: Command | None = None
    """Program and arguments; a plain text is split at its blanks. No shell reads it."""
    launch: Launch | None = None
    """A launch file instead of a command."""
    environment: dict[Identifier, Argument] = Field(default_factory=dict)
    """Variables to set on top of the inherited ones."""
    cwd: RelativePath | None = None
    """Working folder, relative to the spec's folder and inside its package."""
    may_exit: bool = False
    """True if ending during the run is no failure."""

    @field_validator('command')
    @classmethod
    def _program_is_named(cls, command: list[str]) -> list[str]:
        if not command[0]:
            raise wrong('the program has no name', 0)
        return command

    @field_validator('cwd')
    @classmethod
    def _cwd_is_there(cls, cwd: str, info: ValidationInfo) -> str:
        return check_file(cwd, info, folder=True)

    @model_validator(mode='after')
    def _one_of_both(self) -> Process:
        if (self.command is None) == (self.launch is None):
            raise wrong('exactly one of command and launch was expected')
        return self


class Ready(Part):
    """What must be there before the run's clock starts."""

    timeout: PositiveDuration = 30 * NS_PER_S
    """How long to wait for all of it; 30 s if left out."""
    topics: list[RosName] = Field(default_factory=list)
    """Topics with a publisher."""
    services: list[RosName] = Field(default_factory=list)
    """Services with a server."""
    nodes: list[RosName] = Field(default_factory=list)
    """Nodes by their full name."""


class System(Part):
    """What is under test. Without a simulator and processes the run attaches to what runs."""

    simulator: Simulator | None = None
    """The simulator to start, first of all."""
    processes: list[Process] = Field(default_factory=list)
    """What to start."""
    ready: Ready = Field(default_factory=Ready)
    """What to wait for."""

    @field_validator('processes')
    @classmethod
    def _names_differ(cls, processes: list[Process]) -> list[Process]:
        names = [process.name for process in processes]
        if 'simulator' in names:
            raise wrong('the name "simulator" belongs to the simulator',
                        names.index('simulator'), 'name')
        found: list[Finding] = [
            ((index, 'name'), f'the name "{name}" is already taken by process {names.index(name)}')
            for index, name in enumerate(names) if names.index(name) < index
        ]
        if found:
            raise wrong_all(found)
        return processes
