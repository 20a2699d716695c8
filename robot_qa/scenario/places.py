"""Where a field lies in serialized messages, so that it can be changed there."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_qa.messages.cdr import HEADER_SIZE, Message, counted, first_number
from robot_qa.messages.fields import compile_field
from robot_qa.messages.leaves import Leaf, Numbers
from robot_qa.messages.payloads import Buffer
from robot_qa.messages.plans import Plan, Star
from robot_qa.messages.typestore import TypeStore
from robot_qa.timebase import NS_PER_S

_INT32 = np.iinfo(np.int32)
_STAMP_SIZE = 8


class Places:
    """The places of one field path in messages of one type.

    FieldPathError: the type has no such field.
    """

    def __init__(self, store: TypeStore, type_name: str, path: str) -> None:
        # The reader keeps to itself how it gets to the field; here it is needed to write there.
        self._plan: Plan = compile_field(store, type_name, path).plan
        # What stands there, stars taken away.
        self.leaf: Leaf = self._plan.leaf
        while isinstance(self.leaf, Star):
            self.leaf = self.leaf.plan.leaf
        self._subject = f'{type_name}, field {path}'

    def message(self, payload: Buffer) -> Message:
        """Open a message whose errors name the field. MessageError: it is no plain CDR."""
        return Message(payload, self._subject)

    def starts(self, message: Message) -> Iterator[tuple[int, int]]:
        """Yield position and number of elements of a number, an array of numbers or a string.

        Positions count from behind the encapsulation. MessageError: the message is too short.
        """
        return _starts(self._plan, message, 0)

    def views(self, buffer: bytearray) -> list[NDArray[Any]]:
        """Return the numbers as arrays (n,) in ``buffer``, to be written to.

        They have the byte order of the message. A path without ``[*]`` and indexes has one.
        """
        message = self.message(memoryview(buffer))
        dtype = self.leaf.dtype.newbyteorder(message.order)
        return [
            np.frombuffer(buffer, dtype, count, start + HEADER_SIZE)
            for start, count in self.starts(message)
        ]


class Stamps:
    """The stamps at one place, or with ``[*]`` at several, in integer nanoseconds."""

    def __init__(self, places: Places) -> None:
        self._places = places

    def read(self, payload: Buffer) -> list[int]:
        """Return the stamps of a message."""
        message = self._places.message(payload)
        stamps = []
        for start, _ in self._places.starts(message):
            seconds, rest = struct.unpack_from(message.order + 'iI', message.body, start)
            stamps.append(seconds * NS_PER_S + rest)
        return stamps

    def write(self, payload: Buffer, stamps: list[int]) -> bytes:
        """Return the message with other stamps; seconds stay within an int32."""
        buffer = bytearray(payload)
        message = self._places.message(payload)
        for (start, _), stamp in zip(self._places.starts(message), stamps, strict=True):
            seconds, rest = divmod(stamp, NS_PER_S)
            seconds = min(max(seconds, _INT32.min), _INT32.max)
            struct.pack_into(message.order + 'iI', buffer, start + HEADER_SIZE, seconds, rest)
        return bytes(buffer)


def _starts(plan: Plan, message: Message, position: int) -> Iterator[tuple[int, int]]:
    start = plan.walk(message, position)
    leaf = plan.leaf
    if start is None:
        return
    if isinstance(leaf, Star):
        count, start = counted(message, start, leaf.length)
        for index in range(count):
            if index > 0:
                start = leaf.element.behind(message, start, 1)
            yield from _starts(leaf.plan, message, start)
    elif isinstance(leaf, Numbers):
        count, start = counted(message, start, leaf.length)
        size = leaf.dtype.itemsize
        if leaf.length is None:
            start = first_number(start, count, size)
        message.need(start, count * size)
        yield start, count
    else:
        sizes = {'stamp': _STAMP_SIZE, 'string': 4}
        message.need(start, sizes.get(leaf.kind, leaf.dtype.itemsize))
        yield start, 1
