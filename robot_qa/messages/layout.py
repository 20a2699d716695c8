"""How a message lies in its bytes, and how to get past the parts of it nobody asked for.

A ``Step`` goes from one position to a later one, and does so in two ways: ``walk`` in one
message, ``drive`` in all messages of a batch at once. A ``Route`` compiles the members of a type
into steps, as few as possible: members whose sizes are known become one constant. ROS writes wide
strings as a count and one uint32 per UTF-16 unit (rosidl_typesupport_fastrtps).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from rosbags.interfaces import Nodetype
from rosbags.interfaces.typing import BaseDesc, FieldDesc, NameDesc

from robot_qa.errors import FieldPathError
from robot_qa.messages.cdr import (
    Lanes,
    Message,
    all_counted,
    counted,
    first_number,
    first_numbers,
)
from robot_qa.messages.payloads import Int64s
from robot_qa.messages.typestore import TypeStore

NUMBER_SIZES = {
    'bool': 1, 'byte': 1, 'char': 1, 'int8': 1, 'uint8': 1, 'int16': 2, 'uint16': 2,
    'int32': 4, 'uint32': 4, 'float32': 4, 'int64': 8, 'uint64': 8, 'float64': 8, 'float128': 16,
}
UNIT_SIZES = {'string': 1, 'wstring': 4}

# Keeps count * size inside an int64, and no middleware carries messages this long.
_LARGEST = 1 << 30
# With fewer messages than this, a numpy call costs more than going through them.
FEW = 8

_Position = TypeVar('_Position', int, Int64s)


class Step(Protocol):
    """Goes from the start of some members to what follows them."""

    def walk(self, message: Message, position: int) -> int | None:
        """Return the new position, or None where a sequence is shorter than an index."""

    def drive(self, lanes: Lanes) -> None:
        """Do the same for many messages, parking those for which it fails."""


@dataclass(frozen=True)
class Skip:
    """Aligns to ``alignment``, then skips ``size`` bytes."""

    alignment: int
    size: int

    def move(self, position: _Position) -> _Position:
        """Return the new position, or positions."""
        if self.alignment == 1:
            return position + self.size
        return ((position + (self.alignment - 1)) & -self.alignment) + self.size

    def walk(self, message: Message, position: int) -> int:
        """See Step."""
        return self.move(position)

    def drive(self, lanes: Lanes) -> None:
        """See Step."""
        lanes.positions = self.move(lanes.positions)


@dataclass(frozen=True)
class SkipString:
    """Skips an aligned string whose units are ``unit`` bytes long."""

    unit: int

    def walk(self, message: Message, position: int) -> int:
        """See Step."""
        return position + 4 + message.count(position) * self.unit

    def drive(self, lanes: Lanes) -> None:
        """See Step."""
        lanes.positions += lanes.counts() * self.unit


@dataclass(frozen=True)
class SkipNumbers:
    """Skips an aligned sequence of numbers, or goes to one of them."""

    size: int
    index: int | None

    def walk(self, message: Message, position: int) -> int | None:
        """See Step."""
        count = message.count(position)
        if self.index is not None and self.index >= count:
            return None
        start = first_number(position + 4, count, self.size)
        return start + (count if self.index is None else self.index) * self.size

    def drive(self, lanes: Lanes) -> None:
        """See Step."""
        counts = lanes.counts()
        lanes.positions = first_numbers(lanes.positions, counts, self.size)
        if self.index is None:
            lanes.positions += counts * self.size
        else:
            lanes.park(counts <= self.index)
            lanes.positions += self.index * self.size


@dataclass(frozen=True)
class SkipStrings:
    """Skips strings, ``length`` of them or a sequence, or goes in front of one of them."""

    unit: int
    length: int | None
    index: int | None

    def walk(self, message: Message, position: int) -> int | None:
        """See Step."""
        count, position = counted(message, position, self.length)
        if self.index is not None and self.index >= count:
            return None
        return self._behind(message, position, count if self.index is None else self.index)

    def drive(self, lanes: Lanes) -> None:
        """See Step."""
        left = all_counted(lanes, self.length)
        if self.index is not None:
            lanes.park(left <= self.index)
            left = np.minimum(left, self.index)
        while True:
            going = np.flatnonzero((left > 0) & lanes.running)
            if len(going) < FEW:
                break
            some = lanes.take(going)
            Skip(4, 0).drive(some)
            SkipString(self.unit).drive(some)
            lanes.positions[going] = some.positions
            left[going] -= 1
        lanes.each(lambda message, start, i: self._behind(message, start, int(left[i])), going)

    def _behind(self, message: Message, position: int, count: int) -> int:
        for _ in range(count):
            position = (position + 3) & -4
            position += 4 + self.unit * message.count(position)
        return position


@dataclass(frozen=True)
class Element:
    """One message inside an array or sequence, wherever it starts.

    ``stride`` is the distance between two of them where it is the same for all; it is from the
    second on, because all alignments are settled by the end of the first.
    """

    steps: tuple[Step, ...]
    stride: int | None

    @classmethod
    def of(cls, store: TypeStore, type_name: str) -> Element:
        """Lay out a message that starts at an unknown position."""
        route = Route(store, 1)
        for _, desc in store.fields(type_name):
            route.skip_member(desc)
        skips = [step for step in route.steps if isinstance(step, Skip)]
        stride = None
        if len(skips) == len(route.steps):
            end = _moved(skips, 0)
            stride = _moved(skips, end) - end
        return cls(tuple(route.steps), stride)

    def behind(self, message: Message, position: int, count: int) -> int:
        """Return the position behind ``count`` of them."""
        if self.stride is not None:
            return position if count == 0 else self._once(message, position) + (
                self.stride * (count - 1)
            )
        for _ in range(count):
            position = self._once(message, position)
        return position

    def all_behind(self, positions: Int64s, counts: Int64s) -> Int64s:
        """Do the same for many messages; there must be a stride."""
        assert self.stride is not None
        moved = _moved([step for step in self.steps if isinstance(step, Skip)], positions)
        return np.where(counts > 0, moved + self.stride * (counts - 1), positions)

    def _once(self, message: Message, position: int) -> int:
        for step in self.steps:
            following = step.walk(message, position)
            assert following is not None, 'an element is laid out without indexes'
            position = following
        return position


@dataclass(frozen=True)
class SkipMessages:
    """Skips messages, ``length`` of them or a sequence, or goes in front of one of them."""

    element: Element
    length: int | None
    index: int | None

    def walk(self, message: Message, position: int) -> int | None:
        """See Step."""
        count, position = counted(message, position, self.length)
        if self.index is not None and self.index >= count:
            return None
        return self.element.behind(message, position, count if self.index is None else self.index)

    def drive(self, lanes: Lanes) -> None:
        """See Step."""
        if self.element.stride is None:
            running = np.flatnonzero(lanes.running)
            lanes.each(lambda message, position, _: self.walk(message, position), running)
            return
        counts = all_counted(lanes, self.length)
        if self.index is not None:
            lanes.park(counts <= self.index)
            counts = np.full_like(counts, self.index)
        lanes.positions = self.element.all_behind(lanes.positions, counts)


class Route:
    """Steps from a message's start, with what is known of the position while compiling.

    The position is a multiple of ``modulus`` plus ``residue``; a start behind the encapsulation
    is a multiple of 8, one inside a sequence a multiple of 1.
    """

    def __init__(self, store: TypeStore, modulus: int) -> None:
        self.steps: list[Step] = []
        self.store = store
        self._modulus = modulus
        self._residue = 0

    def align(self, alignment: int) -> None:
        """Align the position: by a constant if its residue is known, else at run time."""
        if self._modulus % alignment == 0:
            self.skip(-self._residue % alignment)
        else:
            self.step(Skip(alignment, 0), alignment)

    def skip(self, size: int) -> None:
        """Skip a constant number of bytes."""
        if size == 0:
            return
        last = self.steps[-1] if self.steps else None
        if isinstance(last, Skip):
            size_now = last.size + size
            self.steps[-1] = Skip(last.alignment, size_now)
        else:
            size_now = size
            self.steps.append(Skip(1, size))
        if size_now > _LARGEST:
            raise FieldPathError(f'a message with {size_now} bytes in a row is too long to read')
        self._residue = (self._residue + size) % self._modulus

    def step(self, step: Step, modulus: int) -> None:
        """Add a step that ends at a multiple of ``modulus``."""
        self.steps.append(step)
        self._modulus = modulus
        self._residue = 0

    def skip_member(self, desc: FieldDesc) -> None:
        """Skip a whole member."""
        if desc[0] == Nodetype.ARRAY or desc[0] == Nodetype.SEQUENCE:
            item, size = desc[1]
            self.skip_items(item, size if desc[0] == Nodetype.ARRAY else None, None)
        elif desc[0] == Nodetype.NAME:
            for _, member in self.store.fields(desc[1]):
                self.skip_member(member)
        elif desc[1][0] in UNIT_SIZES:
            self.align(4)
            self.step(SkipString(UNIT_SIZES[desc[1][0]]), UNIT_SIZES[desc[1][0]])
        else:
            size = number_size(desc[1][0])
            self.align(min(size, 8))
            self.skip(size)

    def skip_items(self, item: BaseDesc | NameDesc, length: int | None, index: int | None) -> None:
        """Skip an array of ``length`` or a sequence, or go in front of its item ``index``."""
        if length is None:
            self.align(4)
        if item[0] == Nodetype.NAME:
            self._skip_messages(item[1], length, index)
        elif item[1][0] in UNIT_SIZES:
            self.step(SkipStrings(UNIT_SIZES[item[1][0]], length, index), 1)
        else:
            size = number_size(item[1][0])
            if length is None:
                # Behind an empty sequence the position is a multiple of 4 and no more.
                self.step(SkipNumbers(size, index), min(size, 4 if index is None else 8))
            else:
                self.align(min(size, 8))
                self.skip(size * (length if index is None else index))

    def _skip_messages(self, type_name: str, length: int | None, index: int | None) -> None:
        element = Element.of(self.store, type_name)
        if length is None or element.stride is None:
            self.step(SkipMessages(element, length, index), 1)
        elif (count := length if index is None else index) > 0:
            self.skip_member((Nodetype.NAME, type_name))
            self.skip(element.stride * (count - 1))


def number_size(base: str) -> int:
    """Return the size of a number in bytes. FieldPathError: ROS does not say how it is written."""
    if base not in NUMBER_SIZES:
        raise FieldPathError(f'members of type {base} cannot be read or skipped')
    return NUMBER_SIZES[base]


def _moved(skips: list[Skip], position: _Position) -> _Position:
    for skip in skips:
        position = skip.move(position)
    return position
