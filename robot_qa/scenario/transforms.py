"""What a fault does to the content of single messages."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Protocol

from numpy.random import Generator

from robot_qa.errors import RobotQaError, did_you_mean
from robot_qa.messages.typestore import TypeStore
from robot_qa.scenario.limits import require_share

# A serialized message to another one. It draws from the generator alone, so the same messages
# and the same seed give the same bytes. Raises RobotQaError for a message it cannot work on.
Transform = Callable[[bytes, Generator], bytes]


class ContentFault(Protocol):
    """The parameters of a fault."""

    def compiled(self, store: TypeStore, type_name: str) -> Transform:
        """Return what does it to messages of a type, on one topic, for one time of being active.

        Some keep what they saw in the first message. RobotQaError: the fault does not fit the
        type, or a parameter has no meaning; FieldPathError: the type has no such field.
        """


def sometimes(transform: Transform, probability: float) -> Transform:
    """Return one that works on a message with ``probability`` and leaves the others alone."""
    require_share('probability', probability)

    def transformed(message: bytes, generator: Generator) -> bytes:
        return transform(message, generator) if generator.random() < probability else message

    return transformed


def require_type(fault: str, type_name: str, fitting: Collection[str]) -> None:
    """Make sure that a fault fits the type of a topic. RobotQaError."""
    if type_name not in fitting:
        raise RobotQaError(
            f'{fault} does not work on {type_name}, only on {" and ".join(fitting)}'
            f'{did_you_mean(type_name, fitting)}'
        )
