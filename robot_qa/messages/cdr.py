"""Reading plain CDR: one message, or one position in each message of a batch.

Plain CDR (XCDR1) is four bytes of encapsulation, then the members one after another, each number
aligned to its own size (at most 8) counted from behind the encapsulation, sequences and strings
behind a uint32 count. Source: OMG DDS-XTypes 1.3, section 7.4.1. Positions count from behind the
encapsulation, so that alignment is a matter of the position alone.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from robot_qa.errors import MessageError
from robot_qa.messages.payloads import Buffer, Int64s, Payloads

Order = Literal['<', '>']

HEADER_SIZE = 4
BIG = 0x0000
LITTLE = 0x0001

_UNPACK_ENCAPSULATION = struct.Struct('>H').unpack_from
_UNPACK_COUNT = {'<': struct.Struct('<I').unpack_from, '>': struct.Struct('>I').unpack_from}

# Far behind the end of any message: whatever is read from there is out of bounds.
PARKED = 1 << 40


class Message:
    """The bytes of one message. Every read is checked and fails with MessageError."""

    __slots__ = ('_subject', '_unpack_count', 'body', 'end', 'order')

    def __init__(self, payload: Buffer, subject: str) -> None:
        """``subject`` names type and field in errors."""
        view = memoryview(payload)
        self._subject = subject
        self.body = view[HEADER_SIZE:]
        self.end = len(view) - HEADER_SIZE
        self.need(-HEADER_SIZE, HEADER_SIZE)
        encapsulation: int = _UNPACK_ENCAPSULATION(view)[0]
        if encapsulation not in {LITTLE, BIG}:
            raise self.broken(
                -HEADER_SIZE,
                f'the encapsulation is 0x{encapsulation:04x}; '
                f'expected plain CDR, 0x{BIG:04x} or 0x{LITTLE:04x}',
            )
        self.order: Order = '<' if encapsulation == LITTLE else '>'
        self._unpack_count = _UNPACK_COUNT[self.order]

    def need(self, position: int, size: int) -> None:
        """Make sure that ``size`` bytes follow ``position``."""
        if position + size > self.end:
            left = max(0, self.end - position)
            raise self.broken(position, f'{size} bytes are needed, {left} are left')

    def count(self, position: int) -> int:
        """Read the uint32 in front of a string or sequence."""
        if position + 4 > self.end:
            self.need(position, 4)
        count: int = self._unpack_count(self.body, position)[0]
        return count

    def broken(self, position: int, reason: str) -> MessageError:
        """Return the error for what was found at ``position``."""
        return MessageError(f'{self._subject}: byte {position + HEADER_SIZE}: {reason}')


class Lanes:
    """One position in each message of a batch, moved forward together.

    ``positions`` and ``ends`` are int64 of shape (n,). A message that turns out to be too short
    is parked behind its end, where it stays; ``running`` tells which are not.
    """

    def __init__(self, payloads: Payloads, positions: Int64s, order: Order) -> None:
        self.payloads = payloads
        self.positions = positions
        self.ends = payloads.lengths - HEADER_SIZE
        self.order: Order = order

    @classmethod
    def at_start(cls, payloads: Payloads) -> Lanes:
        """Start all messages that are little-endian or, where there are none, the others."""
        lanes = cls(payloads, np.full(len(payloads), -HEADER_SIZE, np.int64), '>')
        encapsulation = lanes.read('u2')
        lanes.positions += HEADER_SIZE
        lanes.order = '<' if (encapsulation == LITTLE).any() else '>'
        lanes.park(encapsulation != (LITTLE if lanes.order == '<' else BIG))
        return lanes

    @property
    def running(self) -> NDArray[np.bool_]:
        """Which messages have not been parked."""
        return self.positions < PARKED

    def take(self, indices: Int64s) -> Lanes:
        """Return some of the messages as lanes of their own."""
        payloads = self.payloads
        part = Payloads(payloads.buffer, payloads.offsets[indices], payloads.lengths[indices])
        return Lanes(part, self.positions[indices], self.order)

    def park(self, mask: NDArray[np.bool_]) -> None:
        """Take messages out of the race."""
        if mask.any():
            self.positions[mask] = PARKED

    def read(self, kind: DTypeLike, ahead: int = 0) -> NDArray[Any]:
        """Read a number ``ahead`` of every position; it is 0 where the message is too short."""
        dtype = np.dtype(kind).newbyteorder(self.order)
        inside = self.positions + (ahead + dtype.itemsize) <= self.ends
        if inside.all():
            return self.payloads.gather(self.positions + (ahead + HEADER_SIZE), dtype)
        self.park(~inside)
        values = np.zeros(len(inside), dtype)
        indices = np.flatnonzero(inside)
        part = self.take(indices)
        values[indices] = part.payloads.gather(part.positions + (ahead + HEADER_SIZE), dtype)
        return values

    def counts(self) -> Int64s:
        """Read the uint32 in front of strings or sequences and move behind it."""
        counts = self.read('u4').astype(np.int64)
        self.positions += 4
        return counts

    def each(self, go: Callable[[Message, int, int], int | None], indices: Int64s) -> None:
        """Move some messages one by one: ``go(message, position, index)``."""
        for index in indices.tolist():
            try:
                message = Message(self.payloads[index], '')
                position = go(message, int(self.positions[index]), index)
            except MessageError:
                position = None
            self.positions[index] = PARKED if position is None else position


def first_number(position: int, count: int, size: int) -> int:
    """Go from behind a count to the first number; an empty sequence is not aligned."""
    return (position + 7) & -8 if size >= 8 and count else position


def first_numbers(positions: Int64s, counts: Int64s, size: int) -> Int64s:
    """Do the same for many messages."""
    return positions + (-positions & 7) * (counts > 0) if size >= 8 else positions


def counted(message: Message, position: int, length: int | None) -> tuple[int, int]:
    """Return the count of an array or of a sequence, and where its items follow."""
    return (message.count(position), position + 4) if length is None else (length, position)


def all_counted(lanes: Lanes, length: int | None) -> Int64s:
    """Do the same for many messages."""
    return lanes.counts() if length is None else np.full(len(lanes.positions), length, np.int64)
