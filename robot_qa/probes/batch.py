"""Samples of one topic as columns, the way every probe hands them over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from robot_qa.messages.payloads import Buffer, Int64s, Payloads

__all__ = ['Batch', 'Buffer', 'Int64s', 'Observation', 'Payloads', 'Probe']


@dataclass(frozen=True)
class Batch:
    """Consecutive samples of one topic, in the order in which they were received.

    All columns have shape (n,). A column that the source cannot give is ``None``, never zero.
    ``source_ns`` is when the publisher sent (its host's system clock), ``received_ns`` when the
    middleware received (our host's system clock), ``sequence`` the publisher's own count and
    ``publisher`` a small integer that tells the publishers of this topic apart.
    """

    topic: str
    type: str
    source_ns: Int64s | None
    received_ns: Int64s
    sequence: Int64s | None
    publisher: Int64s
    payloads: Payloads

    def __len__(self) -> int:
        return len(self.received_ns)


@dataclass(frozen=True)
class Observation:
    """What was watched: the span, in system-clock ns, and what the probe knows of each topic.

    ``overruns`` counts messages per topic that reached this host and were lost by the monitor
    itself; ``notes`` says per topic why there may be nothing, or less than everything.
    """

    start_ns: int
    end_ns: int
    overruns: dict[str, int]
    notes: dict[str, list[str]]


class Probe(Protocol):
    """A source of samples."""

    def drain(self) -> list[Batch]:
        """Return what has come since the last call; possibly nothing."""

    def observation(self) -> Observation:
        """Return the span watched so far and what is known about its topics."""

    def close(self) -> None:
        """Release what the probe holds."""
