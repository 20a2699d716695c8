"""Serialized messages, many in one buffer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

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
