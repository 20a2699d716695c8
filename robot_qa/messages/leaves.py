"""What stands at the end of a field path, read from where it starts.

A ``Leaf`` reads one message (``read``). Those that are a ``ColumnLeaf`` also read a batch
(``gather``), and those that are a ``CountedLeaf`` can say how many elements there are without
touching them.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from robot_qa.errors import FieldPathError
from robot_qa.messages.cdr import (
    HEADER_SIZE,
    PARKED,
    Lanes,
    Message,
    Order,
    all_counted,
    counted,
    first_number,
    first_numbers,
)
from robot_qa.messages.payloads import Int64s
from robot_qa.timebase import NS_PER_S

Kind = Literal['number', 'bool', 'string', 'stamp', 'message']

STRUCT_CODES = {
    'bool': '?', 'byte': 'B', 'char': 'B', 'int8': 'b', 'uint8': 'B', 'int16': 'h', 'uint16': 'H',
    'int32': 'i', 'uint32': 'I', 'int64': 'q', 'uint64': 'Q', 'float32': 'f', 'float64': 'd',
}
_TEXT = np.dtype(object)
_NS = np.dtype(np.int64)


class Leaf(Protocol):
    """A value, or several of them. ``dtype`` is what they have in a column."""

    @property
    def kind(self) -> Kind:
        """What can be asked of the value."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of one element, in the byte order of this machine."""

    def read(self, message: Message, position: int) -> Any:
        """Read one message."""


@runtime_checkable
class ColumnLeaf(Protocol):
    """Can be read from a whole batch."""

    def gather(self, lanes: Lanes) -> tuple[NDArray[Any], Int64s | None]:
        """Return all elements of the messages that then still run, and how many each has.

        Without counts each message has one.
        """


@runtime_checkable
class CountedLeaf(Protocol):
    """Has a length."""

    def count(self, message: Message, position: int) -> int:
        """Return the number of elements in one message."""

    def counts(self, lanes: Lanes) -> Int64s:
        """Do so for many messages, parking those for which it is impossible."""


@dataclass(frozen=True)
class Number:
    """One number or bool."""

    base: str

    @property
    def kind(self) -> Kind:
        """See Leaf."""
        return 'bool' if self.base == 'bool' else 'number'

    @property
    def dtype(self) -> np.dtype[Any]:
        """See Leaf."""
        return _native(self.base)

    def read(self, message: Message, position: int) -> int | float | bool:
        """See Leaf."""
        message.need(position, self.dtype.itemsize)
        code = message.order + STRUCT_CODES[self.base]
        value: int | float | bool = struct.unpack_from(code, message.body, position)[0]
        return value

    def gather(self, lanes: Lanes) -> tuple[NDArray[Any], None]:
        """See ColumnLeaf."""
        values = lanes.read(_stored(self.base))
        running = lanes.running
        return _as_native(values if running.all() else values[running], self.base), None


@dataclass(frozen=True)
class Stamp:
    """A time or duration, in nanoseconds: int32 seconds, then uint32 nanoseconds."""

    kind: Kind = 'stamp'
    dtype: np.dtype[Any] = _NS

    def read(self, message: Message, position: int) -> int:
        """See Leaf."""
        message.need(position, 8)
        seconds, nanoseconds = struct.unpack_from(message.order + 'iI', message.body, position)
        return int(seconds) * NS_PER_S + int(nanoseconds)

    def gather(self, lanes: Lanes) -> tuple[NDArray[Any], None]:
        """See ColumnLeaf."""
        stamps = lanes.read('i4').astype(np.int64) * NS_PER_S + lanes.read('u4', ahead=4)
        return stamps[lanes.running], None


@dataclass(frozen=True)
class Text:
    """One string whose units are ``unit`` bytes long: 1 is UTF-8, 4 is UTF-16 in uint32."""

    unit: int
    kind: Kind = 'string'
    dtype: np.dtype[Any] = _TEXT

    def read(self, message: Message, position: int) -> str:
        """See Leaf."""
        return self.read_on(message, position)[0]

    def read_on(self, message: Message, position: int) -> tuple[str, int]:
        """Return the string and the position behind it."""
        size = message.count(position) * self.unit
        start = position + 4
        message.need(start, size)
        try:
            text = self._decode(message.body[start:start + size], message.order)
        except ValueError as error:
            raise message.broken(start, f'this string cannot be decoded ({error})') from error
        return text, start + size

    def gather(self, lanes: Lanes) -> tuple[NDArray[Any], None]:
        """See ColumnLeaf."""
        sizes = lanes.counts() * self.unit
        lanes.park(lanes.positions + sizes > lanes.ends)
        lane, starts, ends = _slices(lanes, sizes)
        texts = []
        for index, start, end in zip(lane.tolist(), starts, ends, strict=True):
            try:
                texts.append(self._decode(lanes.payloads.buffer[start:end], lanes.order))
            except ValueError:
                lanes.positions[index] = PARKED
        return np.array(texts, _TEXT), None

    def _decode(self, raw: memoryview, order: Order) -> str:
        if self.unit == 1:
            # One terminator belongs to the encoding, not to the text.
            return str(raw, 'utf-8').removesuffix('\0')
        units = np.frombuffer(raw, f'{order}u4')
        if (units > 0xFFFF).any():
            raise ValueError('a unit is larger than 16 bits')
        return units.astype('<u2').tobytes().decode('utf-16-le')


@dataclass(frozen=True)
class Numbers:
    """An array of ``length`` numbers, or a sequence. ``starred``: a list rather than an array."""

    base: str
    length: int | None
    starred: bool

    @property
    def kind(self) -> Kind:
        """See Leaf."""
        return 'bool' if self.base == 'bool' else 'number'

    @property
    def dtype(self) -> np.dtype[Any]:
        """See Leaf."""
        return _native(self.base)

    def read(self, message: Message, position: int) -> NDArray[Any] | list[int | float | bool]:
        """See Leaf. The array lies in the payload, in its byte order; bools are copied."""
        count, start = self._extent(message, position)
        dtype = _stored(self.base).newbyteorder(message.order)
        values = np.frombuffer(message.body, dtype, count, start if count else 0)
        if self.base == 'bool':
            values = values != 0
        return values.tolist() if self.starred else values

    def gather(self, lanes: Lanes) -> tuple[NDArray[Any], Int64s]:
        """See ColumnLeaf."""
        counts = self.counts(lanes)
        stored = _stored(self.base).newbyteorder(lanes.order)
        lane, starts, ends = _slices(lanes, counts * stored.itemsize)
        buffer = lanes.payloads.buffer
        # Slicing and joining bytes is cheaper than one numpy view per message.
        raw = b''.join([buffer[start:end] for start, end in zip(starts, ends, strict=True)])
        return _as_native(np.frombuffer(raw, stored), self.base), counts[lane]

    def count(self, message: Message, position: int) -> int:
        """See CountedLeaf."""
        return self._extent(message, position)[0]

    def counts(self, lanes: Lanes) -> Int64s:
        """See CountedLeaf."""
        size = self.dtype.itemsize
        counts = all_counted(lanes, self.length)
        if self.length is None:
            lanes.positions = first_numbers(lanes.positions, counts, size)
        lanes.park(lanes.positions + counts * size > lanes.ends)
        return counts

    def _extent(self, message: Message, position: int) -> tuple[int, int]:
        size = self.dtype.itemsize
        count, start = counted(message, position, self.length)
        if self.length is None:
            start = first_number(start, count, size)
        message.need(start, count * size)
        return count, start


@dataclass(frozen=True)
class Texts:
    """An array of ``length`` strings, or a sequence."""

    unit: int
    length: int | None
    starred: bool
    kind: Kind = 'string'
    dtype: np.dtype[Any] = _TEXT

    def read(self, message: Message, position: int) -> list[str]:
        """See Leaf."""
        count, position = counted(message, position, self.length)
        text = Text(self.unit)
        texts = []
        for _ in range(count):
            found, position = text.read_on(message, (position + 3) & -4)
            texts.append(found)
        return texts

    def count(self, message: Message, position: int) -> int:
        """See CountedLeaf."""
        return _plausible_count(message, position, self.length, 4)

    def counts(self, lanes: Lanes) -> Int64s:
        """See CountedLeaf."""
        return _plausible_counts(lanes, self.length, 4)


@dataclass(frozen=True)
class Messages:
    """Messages as a whole: nothing but their number can be read. ``hint`` says what to write."""

    length: int | None
    hint: str
    kind: Kind = 'message'
    dtype: np.dtype[Any] = _TEXT

    def read(self, message: Message, position: int) -> None:
        """See Leaf. Always FieldPathError."""
        raise FieldPathError(self.hint)

    def count(self, message: Message, position: int) -> int:
        """See CountedLeaf."""
        return _plausible_count(message, position, self.length, 1)

    def counts(self, lanes: Lanes) -> Int64s:
        """See CountedLeaf."""
        return _plausible_counts(lanes, self.length, 1)


def _plausible_count(message: Message, position: int, length: int | None, least: int) -> int:
    count, start = counted(message, position, length)
    message.need(start, count * least)
    return count


def _plausible_counts(lanes: Lanes, length: int | None, least: int) -> Int64s:
    counts = all_counted(lanes, length)
    lanes.park(lanes.positions + counts * least > lanes.ends)
    return counts


def _slices(lanes: Lanes, sizes: Int64s) -> tuple[Int64s, Sequence[int], Sequence[int]]:
    """Return the lanes that run, and where in the buffer ``sizes`` bytes of each start and end."""
    lane = np.flatnonzero(lanes.running)
    starts = (lanes.payloads.offsets + lanes.positions)[lane] + HEADER_SIZE
    return lane, starts.tolist(), (starts + sizes[lane]).tolist()


def _native(base: str) -> np.dtype[Any]:
    return np.dtype('uint8' if base in {'byte', 'char'} else base)


def _stored(base: str) -> np.dtype[Any]:
    # A byte that is neither 0 nor 1 is no bool to numpy.
    return np.dtype(np.uint8) if base == 'bool' else _native(base)


def _as_native(values: NDArray[Any], base: str) -> NDArray[Any]:
    return values != 0 if base == 'bool' else values.astype(_native(base), copy=False)
