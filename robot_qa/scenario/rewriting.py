"""Replacing what has a length in a serialized message, such as a string.

What follows it moves, and plain CDR pads every number to its own size, so all of the message is
written again, member by member (OMG DDS-XTypes 1.3, section 7.4.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from rosbags.interfaces import Nodetype
from rosbags.interfaces.typing import BaseDesc, FieldDesc, NameDesc

from robot_qa.messages.cdr import HEADER_SIZE, Message
from robot_qa.messages.layout import UNIT_SIZES, number_size
from robot_qa.messages.payloads import Buffer
from robot_qa.messages.typestore import TypeStore


@dataclass(frozen=True)
class Replacement:
    """What is to stand in place of a string, or of a sequence of numbers.

    ``count`` is what is written in front of ``raw``, which has the byte order of the message.
    """

    count: int
    raw: bytes

    @classmethod
    def text(cls, text: str) -> Replacement:
        """Return a string of UTF-8 units, its terminator included."""
        raw = text.encode() + b'\0'
        return cls(len(raw), raw)


def rewritten(
    store: TypeStore, type_name: str, payload: Buffer, replacements: Mapping[int, Replacement],
) -> bytes:
    """Return the message with some of its strings or sequences of numbers replaced.

    ``replacements`` has the positions of their counts, from behind the encapsulation. What is
    behind the last member stays there. MessageError: the bytes do not hold what the type says.
    """
    copy = _Copy(store, Message(payload, type_name), replacements)
    copy.members(type_name)
    copy.raw(copy.message.end - copy.position)
    return bytes(payload[:HEADER_SIZE]) + bytes(copy.out)


class _Copy:
    """Two cursors: ``position`` in the message, and the end of ``out``."""

    def __init__(
        self, store: TypeStore, message: Message, replacements: Mapping[int, Replacement],
    ) -> None:
        self.message = message
        self.position = 0
        self.out = bytearray()
        self._store = store
        self._replacements = replacements

    def members(self, type_name: str) -> None:
        for _, desc in self._store.fields(type_name):
            self._member(desc)

    def raw(self, size: int) -> None:
        self.message.need(self.position, size)
        self.out += self.message.body[self.position:self.position + size]
        self.position += size

    def _member(self, desc: FieldDesc) -> None:
        if desc[0] == Nodetype.ARRAY:
            self._items(*desc[1])
        elif desc[0] == Nodetype.SEQUENCE:
            item = desc[1][0]
            self._align(4)
            if self.position in self._replacements:
                self._replace(self._count() * number_size(item[1][0]))
            else:
                self._items(item, self._copied_count())
        else:
            self._items(desc, 1)

    def _items(self, item: BaseDesc | NameDesc, count: int) -> None:
        if item[0] == Nodetype.NAME:
            for _ in range(count):
                self.members(item[1])
        elif item[1][0] in UNIT_SIZES:
            for _ in range(count):
                self._string(UNIT_SIZES[item[1][0]])
        elif count:
            size = number_size(item[1][0])
            self._align(min(size, 8))
            self.raw(size * count)

    def _string(self, unit: int) -> None:
        self._align(4)
        if self.position in self._replacements:
            self._replace(self._count() * unit)
        else:
            self.raw(self._copied_count() * unit)

    def _replace(self, old_size: int) -> None:
        new = self._replacements[self.position - 4]
        order: Literal['little', 'big'] = 'little' if self.message.order == '<' else 'big'
        self.out += new.count.to_bytes(4, order) + new.raw
        self.message.need(self.position, old_size)
        self.position += old_size

    def _count(self) -> int:
        count = self.message.count(self.position)
        self.position += 4
        return count

    def _copied_count(self) -> int:
        count = self.message.count(self.position)
        self.raw(4)
        return count

    def _align(self, alignment: int) -> None:
        self.position += -self.position % alignment
        self.out += bytes(-len(self.out) % alignment)
