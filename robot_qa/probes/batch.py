"""Samples of one topic as columns, the way every probe hands them over."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from robot_qa.messages.payloads import Buffer, Int64s, Payloads

__all__ = ['Batch', 'Buffer', 'Int64s', 'Observation', 'Payloads', 'Probe']

Rows = Int64s | NDArray[np.bool_]


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

    def rows(self, chosen: Rows) -> Batch:
        """Return the chosen samples, by their indices or a mask; the bytes are not copied."""
        payloads = self.payloads
        return replace(
            self,
            source_ns=None if self.source_ns is None else self.source_ns[chosen],
            received_ns=self.received_ns[chosen],
            sequence=None if self.sequence is None else self.sequence[chosen],
            publisher=self.publisher[chosen],
            payloads=Payloads(
                payloads.buffer, payloads.offsets[chosen], payloads.lengths[chosen]),
        )


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
