"""Samples of one topic as columns, the way every probe hands them over."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

Int64s = NDArray[np.int64]
Buffer = bytes | memoryview


class Payloads:
    """The serialized messages of a batch, one after another in one buffer.

    ``buffer[offsets[i]:offsets[i] + lengths[i]]`` is message ``i``, with its four-byte
    encapsulation header. ``offsets`` and ``lengths`` are int64 of shape (n,).
    """

    def __init__(self, buffer: Buffer, offsets: Int64s, lengths: Int64s) -> None:
        self.buffer = memoryview(buffer)
        self.offsets = offsets
        self.lengths = lengths
        self._bytes: NDArray[np.uint8] = np.frombuffer(self.buffer, np.uint8)

    @classmethod
    def of(cls, messages: Sequence[bytes]) -> Payloads:
        """Pack separate messages; a single one is not copied."""
        lengths = np.fromiter((len(m) for m in messages), np.int64, len(messages))
        offsets = np.cumsum(lengths) - lengths
        buffer = messages[0] if len(messages) == 1 else b''.join(messages)
        return cls(buffer, offsets, lengths)

    def __len__(self) -> int:
        return len(self.offsets)

    def __getitem__(self, index: int) -> memoryview:
        start = int(self.offsets[index])
        return self.buffer[start:start + int(self.lengths[index])]

    def __iter__(self) -> Iterator[memoryview]:
        for start, length in zip(self.offsets.tolist(), self.lengths.tolist(), strict=True):
            yield self.buffer[start:start + length]

    def gather(self, positions: Int64s | int, dtype: DTypeLike) -> NDArray[np.generic]:
        """Read one value of ``dtype`` per message, shape (n,).

        ``positions`` are byte offsets from the start of each message; the caller has made sure
        that the values lie inside the messages.
        """
        kind = np.dtype(dtype)
        starts = self.offsets + positions
        indices = starts[:, None] + np.arange(kind.itemsize)
        raw: NDArray[np.uint8] = self._bytes[indices]
        return raw.view(kind)[:, 0]


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
