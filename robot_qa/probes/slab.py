"""What the readers of recording files have in common: the messages of a file as columns."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from robot_qa.probes.batch import Int64s, Payloads

SLAB_BYTES = 4 << 20
SLAB_MESSAGES = 1 << 14


@dataclass(frozen=True)
class Channel:
    """One stream of messages in a file: its topic, its ROS type and the definition of that type.

    ``encoding`` is that of the messages, ``definition_encoding`` that of ``definition``; both
    are empty where the file does not say.
    """

    topic: str
    type: str
    encoding: str
    definition: str = ''
    definition_encoding: str = ''
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Slab:
    """Consecutive messages of several channels, in file order; all columns have shape (n,).

    ``channel`` holds the keys of ``Scan.channels``; times are in ns. A column that this kind of
    file does not have is ``None``.
    """

    channel: Int64s
    log_ns: Int64s
    publish_ns: Int64s | None
    sequence: Int64s | None
    payloads: Payloads

    def __len__(self) -> int:
        return len(self.log_ns)


class Scan(Protocol):
    """One open recording file.

    ``channels``, by numbers below 65,536, and ``metadata``, records of text by name, are complete
    from the start. ``notes`` grows while reading and says what could not be read. ``span`` is the
    first and last log time of the messages passed so far, of all channels, wanted or not.
    """

    channels: dict[int, Channel]
    metadata: dict[str, dict[str, str]]
    notes: list[str]
    span: tuple[int, int] | None

    def slabs(self, wanted: Collection[int]) -> Iterator[Slab]:
        """Read the file once from its start; only messages of the wanted channels are given."""

    def close(self) -> None:
        """Release the file; payloads that were given stay valid."""


def widened(span: tuple[int, int] | None, low: int, high: int) -> tuple[int, int]:
    """Return the smallest span that holds ``span`` and both times."""
    return (low, high) if span is None else (min(span[0], low), max(span[1], high))
