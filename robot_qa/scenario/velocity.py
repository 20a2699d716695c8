"""Limits on velocity commands, for what a scenario itself sends to a robot.

Knows geometry_msgs Twist and TwistStamped, as objects of their Python classes and serialized.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_qa.messages.fields import FieldReader, compile_field
from robot_qa.messages.typestore import TypeStore

# Where the two vectors are, by the type of the message.
VELOCITIES = {
    'geometry_msgs/msg/Twist': ('linear', 'angular'),
    'geometry_msgs/msg/TwistStamped': ('twist.linear', 'twist.angular'),
}
_AXES = ('x', 'y', 'z')


@dataclass(frozen=True)
class VelocityLimits:
    """The greatest norms of a velocity: ``linear`` in m/s, ``angular`` in rad/s; None: no limit.

    ValueError: a limit is negative or not a number.
    """

    linear: float | None = None
    angular: float | None = None

    def __post_init__(self) -> None:
        for name, unit in (('linear', 'm/s'), ('angular', 'rad/s')):
            limit = getattr(self, name)
            if limit is not None and not limit >= 0:
                raise ValueError(f'the {name} limit must be at least 0 {unit}, not {limit:g}')


def clamped(vector: Sequence[float], limit: float | None) -> tuple[float, ...]:
    """Return the vector, shortened to a norm of at most ``limit`` in the same direction.

    A vector with a NaN or an infinite component has no direction and becomes zero, also without
    a limit.
    """
    if not all(map(math.isfinite, vector)):
        return (0.0,) * len(vector)
    # hypot neither overflows nor underflows where the sum of squares does.
    norm = math.hypot(*vector)
    if limit is None or norm <= limit:
        return tuple(vector)
    if math.isinf(norm):
        # The components are finite: smaller by a power of two, they are so together as well.
        return clamped([component / 4 for component in vector], limit)
    factor = limit / norm
    while math.hypot(*(component * factor for component in vector)) > limit:
        # Rounding must not bring it above the limit again.
        factor = math.nextafter(factor, 0.0)
    return tuple(component * factor for component in vector)


def is_velocity(type_name: str) -> bool:
    """Tell whether messages of this type are velocity commands."""
    return type_name in VELOCITIES


class Clamp:
    """Clamps the velocity commands of one type to limits.

    ValueError: the type is no velocity command.
    """

    def __init__(self, limits: VelocityLimits, type_name: str) -> None:
        if type_name not in VELOCITIES:
            raise ValueError(
                f'{type_name} is no velocity command; these are: {", ".join(VELOCITIES)}')
        self._limits = limits
        self._type = type_name
        self._readers: list[FieldReader] | None = None

    def message(self, message: Any) -> list[str]:
        """Clamp a message object in place; return what was clamped, in words."""
        notes = []
        for kind, path in zip(('linear', 'angular'), VELOCITIES[self._type], strict=True):
            part = message
            for name in path.split('.'):
                part = getattr(part, name)
            before = [getattr(part, axis) for axis in _AXES]
            after = clamped(before, getattr(self._limits, kind))
            if tuple(before) != after:
                for axis, component in zip(_AXES, after, strict=True):
                    setattr(part, axis, component)
                notes.append(self._note(kind, before))
        return notes

    def serialized(self, payload: bytes, store: TypeStore) -> tuple[bytes, list[str]]:
        """Return a serialized message clamped, and what was clamped, in words.

        Both byte orders of plain CDR. MessageError: the bytes do not hold what the type says.
        """
        if self._readers is None:
            self._readers = [
                compile_field(store, self._type, path) for path in VELOCITIES[self._type]]
        copy = bytearray(payload)
        notes = []
        for kind, reader in zip(('linear', 'angular'), self._readers, strict=True):
            # A view into the copy, in its byte order.
            view: NDArray[Any] = reader.read(memoryview(copy))
            before = [float(component) for component in view]
            after = clamped(before, getattr(self._limits, kind))
            if tuple(before) != after:
                view[:] = np.array(after)
                notes.append(self._note(kind, before))
        return bytes(copy), notes

    def _note(self, kind: str, before: Sequence[float]) -> str:
        if not all(map(math.isfinite, before)):
            return f'{kind} velocity {list(before)} became zero: it is not finite'
        limit, unit = getattr(self._limits, kind), 'm/s' if kind == 'linear' else 'rad/s'
        return f'{kind} velocity clamped from {math.hypot(*before):g} to {limit:g} {unit}'


def stop(type_name: str, kind: Any, like: Any) -> Any:
    """Return a message that commands to stand still, of the class ``kind``.

    It keeps the frame of the message ``like``; its stamp is left at zero.
    """
    zero = kind()
    if type_name == 'geometry_msgs/msg/TwistStamped':
        zero.header.frame_id = like.header.frame_id
    return zero
