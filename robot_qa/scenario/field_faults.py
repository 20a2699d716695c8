"""Wrong values in chosen numeric fields of any message type.

``path`` is a field path as in the checks. Each element that it names is changed with the
probability ``share``; a single number thus in that share of the messages. Others keep their bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from robot_qa.errors import RobotQaError
from robot_qa.messages.typestore import TypeStore
from robot_qa.scenario.limits import require, require_share
from robot_qa.scenario.places import Places
from robot_qa.scenario.transforms import Transform

Values = NDArray[Any]
# Leaves room to add 32 bits within an int64.
_LARGEST_STEP = 1 << 62
_Change = Callable[[Values, Generator], Values]


@dataclass(frozen=True)
class SetValue:
    """Puts ``value`` there: a constant, NaN or infinity. For a bool it is 0 or 1."""

    path: str
    value: float
    share: float = 1.0

    def compiled(self, store: TypeStore, type_name: str) -> Transform:
        """See ContentFault."""
        places = _numbers(store, type_name, self.path, ('number', 'bool'))
        dtype = places.leaf.dtype
        if not _fits(self.value, dtype):
            raise RobotQaError(
                f'{self.path} of {type_name} is a {dtype.name}, which cannot be {self.value:g}'
            )
        value = dtype.type(self.value)
        return _changing(places, self.share, lambda values, _: np.full_like(values, value))


@dataclass(frozen=True)
class AddBias:
    """Adds ``bias``. NaN and infinity stay; integers are rounded and stay within their type."""

    path: str
    bias: float
    share: float = 1.0

    def compiled(self, store: TypeStore, type_name: str) -> Transform:
        """See ContentFault."""
        if not math.isfinite(self.bias):
            raise RobotQaError(f'bias is {self.bias}; to make a field NaN or infinite, set it')
        places = _numbers(store, type_name, self.path, ('number',))
        return _changing(
            places, self.share, lambda values, _: _sum(values, np.full(len(values), self.bias)),
        )


@dataclass(frozen=True)
class AddNoise:
    """Adds normal noise of mean zero; otherwise as AddBias."""

    path: str
    stddev: float
    share: float = 1.0

    def compiled(self, store: TypeStore, type_name: str) -> Transform:
        """See ContentFault."""
        require('stddev', self.stddev, 0)
        places = _numbers(store, type_name, self.path, ('number',))
        return _changing(
            places, self.share,
            lambda values, generator: _sum(values, generator.normal(0, self.stddev, len(values))),
        )


def _numbers(store: TypeStore, type_name: str, path: str, kinds: tuple[str, ...]) -> Places:
    places = Places(store, type_name, path)
    kind = places.leaf.kind
    if kind not in kinds:
        hint = '; stamps have faults of their own' if kind == 'stamp' else ''
        raise RobotQaError(
            f'{path} of {type_name} is a {kind}; this fault is for a {" or ".join(kinds)}{hint}'
        )
    return places


def _fits(value: float, dtype: np.dtype[Any]) -> bool:
    if dtype.kind == 'b':
        return value in {0, 1}
    if dtype.kind == 'f':
        return not math.isfinite(value) or abs(value) <= float(np.finfo(dtype).max)
    limits = np.iinfo(dtype)
    return math.isfinite(value) and value == int(value) and limits.min <= value <= limits.max


def _changing(places: Places, share: float, change: _Change) -> Transform:
    require_share('share', share)

    def transform(message: bytes, generator: Generator) -> bytes:
        buffer = bytearray(message)
        for view in places.views(buffer):
            if share == 1.0:
                view[:] = change(view, generator)
            else:
                chosen = np.flatnonzero(generator.random(len(view)) < share)
                view[chosen] = change(view[chosen], generator)
        return bytes(buffer)

    return transform


def _sum(values: Values, change: NDArray[np.float64]) -> Values:
    if values.dtype.kind == 'f':
        changed = values.copy()
        finite = np.isfinite(values)
        with np.errstate(over='ignore'):
            changed[finite] = values[finite] + change[finite]
        return changed
    # Python's integers do not overflow, and keep what a double cannot hold, but they are slow.
    wide = object if values.dtype.itemsize == 8 else np.int64
    whole = np.rint(np.clip(change, -_LARGEST_STEP, _LARGEST_STEP)).astype(np.int64)
    limits = np.iinfo(values.dtype)
    exact: Values = np.clip(values.astype(wide) + whole.astype(wide), limits.min, limits.max)
    return exact.astype(values.dtype)
