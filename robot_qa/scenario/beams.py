"""Scans and point clouds in serialized messages: seen as beams, changed, and put back."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from robot_qa.errors import MessageError, RobotQaError, did_you_mean
from robot_qa.geometry import Floats
from robot_qa.messages.fields import compile_field
from robot_qa.messages.typestore import TypeStore
from robot_qa.scenario.places import Places
from robot_qa.scenario.transforms import Transform, require_type

SCAN = 'sensor_msgs/msg/LaserScan'
CLOUD = 'sensor_msgs/msg/PointCloud2'

# The floats among the datatypes of sensor_msgs/msg/PointField.
_FLOATS = {7: 'f4', 8: 'f8'}
# NaN is an ordinary range, also the kind that makes a processor complain.
_QUIET = np.errstate(invalid='ignore')


@dataclass(frozen=True)
class Beams:
    """Ranges in metres and bearings in radians, both (n,). ``ranges`` may be written to.

    A range of +inf means no return. What the sensor can measure lies from ``nearest_m`` to
    ``farthest_m``.
    """

    ranges: Floats
    bearings: Floats
    nearest_m: float
    farthest_m: float

    @property
    def returned(self) -> NDArray[np.bool_]:
        """Which beams hit something, as they are now."""
        seen: NDArray[np.bool_] = (
            (self.ranges >= self.nearest_m) & (self.ranges <= self.farthest_m)
            & np.isfinite(self.ranges)
        )
        return seen


# Changes the ranges.
Effect = Callable[[Beams, Generator], None]


def beams_transform(fault: str, store: TypeStore, type_name: str, effect: Effect) -> Transform:
    """Return a transform that applies ``effect`` to scans or clouds.

    What the effect leaves alone keeps its bits.
    """
    require_type(fault, type_name, (SCAN, CLOUD))
    return _Scan(store, effect) if type_name == SCAN else _Cloud(store, effect)


def _changed_ranges(effect: Effect, beams: Beams, generator: Generator) -> NDArray[np.int64]:
    before = beams.ranges.copy()
    effect(beams, generator)
    same = (beams.ranges == before) | (np.isnan(beams.ranges) & np.isnan(before))
    return np.flatnonzero(~same)


class _Scan:
    """Works on sensor_msgs/msg/LaserScan."""

    def __init__(self, store: TypeStore, effect: Effect) -> None:
        self._effect = effect
        self._layout = [
            compile_field(store, SCAN, path)
            for path in ('angle_min', 'angle_increment', 'range_min', 'range_max')
        ]
        self._ranges = Places(store, SCAN, 'ranges')

    @_QUIET
    def __call__(self, message: bytes, generator: Generator) -> bytes:
        start, step, nearest, farthest = [field.read(message) for field in self._layout]
        buffer = bytearray(message)
        for view in self._ranges.views(buffer):
            bearings = start + step * np.arange(len(view))
            beams = Beams(view.astype(np.float64), bearings, nearest, farthest)
            changed = _changed_ranges(self._effect, beams, generator)
            view[changed] = beams.ranges[changed]
        return bytes(buffer)


class _Cloud:
    """Works on sensor_msgs/msg/PointCloud2."""

    def __init__(self, store: TypeStore, effect: Effect) -> None:
        self._effect = effect
        self._layout = [
            compile_field(store, CLOUD, path)
            for path in ('height', 'width', 'is_bigendian', 'point_step', 'row_step')
        ]
        self._channels = [
            compile_field(store, CLOUD, f'fields[*].{name}')
            for name in ('name', 'offset', 'datatype')
        ]
        self._data = Places(store, CLOUD, 'data')
        self._is_dense = Places(store, CLOUD, 'is_dense')

    @_QUIET
    def __call__(self, message: bytes, generator: Generator) -> bytes:
        buffer = bytearray(message)
        axes = self._axes(message, buffer)
        if not axes:
            return message
        points = np.stack([axis.ravel() for axis in axes], axis=-1).astype(np.float64)
        ranges = np.linalg.norm(points, axis=-1)
        # A point that is not there, or lies in the sensor, has no direction to be moved along.
        there = np.flatnonzero(np.isfinite(ranges) & (ranges > 0.0))
        points, ranges = points[there], ranges[there]
        bearings = np.arctan2(points[:, 1], points[:, 0])
        beams = Beams(ranges.copy(), bearings, 0.0, math.inf)
        changed = _changed_ranges(self._effect, beams, generator)
        lost = np.isinf(beams.ranges[changed])
        scale = np.where(lost, math.nan, beams.ranges[changed] / ranges[changed])
        moved = points[changed] * scale[:, None]
        where = np.unravel_index(there[changed], axes[0].shape)
        for axis, values in zip(axes, moved.T, strict=True):
            axis[where] = values
        if lost.any():
            self._is_dense.views(buffer)[0][0] = 0
        return bytes(buffer)

    def _axes(self, message: bytes, buffer: bytearray) -> list[NDArray[Any]]:
        """Return x, y and z as arrays (height, width) in ``buffer``; nothing without points."""
        height, width, is_bigendian, step, row_step = [
            field.read(message) for field in self._layout
        ]
        names, offsets, datatypes = [field.read(message) for field in self._channels]
        if not height * width:
            return []
        channels = dict(zip(names, zip(offsets, datatypes, strict=True), strict=True))
        [data] = self._data.views(buffer)
        if step * width > row_step or row_step * height > len(data):
            raise MessageError(
                f'{CLOUD}: {width} x {height} points of {step} bytes in rows of {row_step} bytes '
                f'do not fit into {len(data)} bytes of data'
            )
        axes = []
        for name in 'xyz':
            offset, datatype = channels.get(name, (0, None))
            if datatype not in _FLOATS:
                raise RobotQaError(
                    f'{CLOUD}: a fault of distances needs the floats x, y and z, and "{name}" is '
                    f'none; there are {", ".join(names) or "no channels"}'
                    f'{did_you_mean(name, names) if datatype is None else ""}'
                )
            dtype = np.dtype(_FLOATS[datatype]).newbyteorder('>' if is_bigendian else '<')
            if offset + dtype.itemsize > step:
                raise MessageError(f'{CLOUD}: "{name}" lies behind the end of its point')
            shape, strides = (height, width), (row_step, step)
            axes.append(np.ndarray(shape, dtype, data, offset, strides))
        return axes
