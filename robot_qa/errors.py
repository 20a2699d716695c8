"""What a user did wrong, and where."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass


class RobotQaError(Exception):
    """Any error whose text is meant for the person who runs robot_qa."""


class ClockDomainError(RobotQaError):
    """Stamps of two different clocks were compared or subtracted."""


class UsageError(RobotQaError):
    """What was asked for cannot be done as it was asked: the exit code is 2."""


class QuantityError(UsageError):
    """A text is not a quantity of the expected kind."""


class UnknownTypeError(RobotQaError):
    """No definition was found for a message type."""


class FieldPathError(RobotQaError):
    """A field path does not exist in a message type, or is malformed."""


class MessageError(RobotQaError):
    """Serialized bytes do not hold the message they should."""


class RecordingError(UsageError):
    """A recording cannot be read at all."""


class ProcessError(RobotQaError):
    """A process under test could not be started or watched."""


class SetupError(RobotQaError):
    """Something this command needs is not installed or not reachable."""


class UnarmedError(UsageError):
    """A run would act on a robot that it has not started, and nobody has said that it may."""


@dataclass(frozen=True, order=True)
class Problem:
    """One mistake in a file: ``line`` and ``column`` count from 1."""

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f'{self.file}:{self.line}:{self.column}: {self.message}'


class SpecError(UsageError):
    """All the mistakes of one spec, in the order of their lines."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = sorted(problems)
        super().__init__('\n'.join(str(problem) for problem in self.problems))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``'; did you mean "x"?'`` for the nearest known word, or nothing."""
    nearest = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f'; did you mean "{nearest[0]}"?' if nearest else ''
