"""Faults of the content that fit any message type: bits, length, numbers, stamps, frames."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from robot_qa.errors import RobotQaError
from robot_qa.messages.cdr import HEADER_SIZE
from robot_qa.messages.leaves import Text
from robot_qa.messages.typestore import TypeStore
from robot_qa.scenario.limits import require, require_share
from robot_qa.scenario.places import Places, Stamps
from robot_qa.scenario.rewriting import Replacement, rewritten
from robot_qa.scenario.transforms import Transform

PER_MILLION = 1_000_000


@dataclass(frozen=True)
class FlipBits:
    """Flips ``count`` bits of each message, no bit twice.

    The four bytes of the encapsulation are left alone: they say how the others are to be read,
    and belong to the middleware.
    """

    count: int

    def compiled(self, store: TypeStore, type_name: str) -> Transform:
        """See ContentFault."""
        require('count', self.count, 0)
        return lambda message, generator: _flipped(message, self.count, generator)


@dataclass(frozen=True)
class BitErrors:
    """Flips each bit with the probability ``rate``; the encapsulation is left alone."""

    rate: float

    def compiled(self, store: TypeStore, type_name: str) -> Transform:
        """See ContentFault."""
        require_share('rate', self.rate)

        def transform(message: bytes, generator: Generator) -> bytes:
            bits = 8 * max(0, len(message) - HEADER_SIZE)
            return _flipped(message, int(generator.binomial(bits, self.rate)), generator)

        return transform


def _flipped(message: bytes, count: int, generator: Generator) -> bytes:
    bits = 8 * max(0, len(message) - HEADER_SIZE)
    chosen = generator.choice(bits, min(count, bits), replace=False, shuffle=False)
    flipped = np.frombuffer(bytearray(message), np.uint8)
    np.bitwise_xor.at(flipped[HEADER_SIZE:], chosen // 8, (1 << chosen % 8).astype(np.uint8))
    return flipped.tobytes()


@dataclass(frozen=True)
class Truncate:
    """Cuts ``size`` bytes off the end of each message, but never the encapsulation."""

    size: int

    def compiled(self, store: TypeStore, type_name: str) -> Transform:
        """See ContentFault."""
        require('size', self.size, 1)
        return lambda message, generator: message[:max(HEADER_SIZE, len(message) - self.size)]


@dataclass(frozen=True)
class StaleStamps:
    """Puts the first stamp of the first message in place of all later ones, at ``path``."""

    path: str = 'header.stamp'

    def compiled(self, store: TypeStore, type_name: str) -> Transform:
        """See ContentFault."""
        return _restamping('stale stamps', store, type_name, self.path, lambda _, first: first)


@dataclass(frozen=True)
class ShiftStamps:
    """Adds ``offset_ns`` to the stamps at ``path``, and a drift from the first of them on.

    ``drift_ppm`` is how many microseconds more go by on the wrong clock in each second.
    """

    offset_ns: int = 0
    drift_ppm: float = 0.0
    path: str = 'header.stamp'

    def compiled(self, store: TypeStore, type_name: str) -> Transform:
        """See ContentFault."""
        def shifted(stamp: int, first: int) -> int:
            return stamp + self.offset_ns + round((stamp - first) * self.drift_ppm / PER_MILLION)

        return _restamping('a shift of stamps', store, type_name, self.path, shifted)


def _restamping(
    fault: str, store: TypeStore, type_name: str, path: str, change: Callable[[int, int], int],
) -> Transform:
    """Put ``change(stamp, first)`` in place of each stamp, ``first`` being the first of all."""
    places = Places(store, type_name, path)
    if places.leaf.kind != 'stamp':
        raise RobotQaError(
            f'{fault}: {path} of {type_name} is a {places.leaf.kind}, not a time or duration'
        )
    stamps = Stamps(places)
    first: list[int] = []

    def transform(message: bytes, generator: Generator) -> bytes:
        here = stamps.read(message)
        if not first:
            first.extend(here[:1])
        return stamps.write(message, [change(stamp, first[0]) for stamp in here])

    return transform


@dataclass(frozen=True)
class FrameId:
    """Puts ``frame_id`` in place of the string at ``path``, with ``[*]`` of all strings there."""

    frame_id: str
    path: str = 'header.frame_id'

    def compiled(self, store: TypeStore, type_name: str) -> Transform:
        """See ContentFault."""
        places = Places(store, type_name, self.path)
        if not isinstance(places.leaf, Text) or places.leaf.unit != 1:
            raise RobotQaError(
                f'a change of frame_id: {self.path} of {type_name} is not one string'
                f' but a {places.leaf.kind}'
            )
        text = Replacement.text(self.frame_id)

        def transform(message: bytes, generator: Generator) -> bytes:
            starts = places.starts(places.message(message))
            return rewritten(store, type_name, message, {start: text for start, _ in starts})

        return transform
