"""From the texts of SDF elements to numbers and poses, collecting every mistake on the way.

A text that cannot be read becomes an error, and the default takes its place, so that one pass
over a world finds all its mistakes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

import numpy as np

from robot_qa.embedded.sdf_xml import Element
from robot_qa.embedded.world import Color, Vector
from robot_qa.errors import Problem, did_you_mean
from robot_qa.geometry import Floats, Poses, product

NUMBER = re.compile(r'[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|inf(?:inity)?)', re.ASCII)
HUGE = 1e16
"""SDF 1.6 writes an infinite limit as this number."""


def identity() -> Poses:
    """Return the pose that changes nothing; (3,), (4,)."""
    return Poses(np.zeros(3), np.array([0.0, 0.0, 0.0, 1.0]))


def from_roll_pitch_yaw(angles: Floats) -> Floats:
    """Return the rotation about the fixed axes x, y, z, in this order; (3,) to (4,)."""
    about = np.zeros((3, 4))
    about[:, 3] = np.cos(angles / 2.0)
    about[range(3), range(3)] = np.sin(angles / 2.0)
    return product(about[2], product(about[1], about[0]))


class Reader:
    """Reads values, and keeps the errors and warnings of a whole world."""

    def __init__(self) -> None:
        self.errors: list[Problem] = []
        self._warnings: dict[Problem, None] = {}
        self._said: set[str] = set()

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """Every warning once, although a model may be included many times."""
        return tuple(self._warnings)

    def error(self, place: Element, message: str) -> None:
        """Note that the world makes no sense at an element."""
        self._error(place.place(message))

    def _error(self, problem: Problem) -> None:
        if problem not in self.errors:
            self.errors.append(problem)

    def error_in_text(self, element: Element, message: str) -> None:
        """Note an error where the element's text begins."""
        raw = element.raw_text
        self._error(element.place_of_text(len(raw) - len(raw.lstrip()), message))

    def warn(self, place: Element, message: str) -> None:
        """Note what is not represented, or not likely meant."""
        self._warnings[place.place(message)] = None

    def warn_once(self, key: str, place: Element, message: str) -> None:
        """Note it at the first place only."""
        if key not in self._said:
            self._said.add(key)
            self.warn(place, message)

    def attribute(self, element: Element, name: str) -> str:
        """Return an attribute that must be there and not be empty."""
        value = element.attributes.get(name, '').strip()
        if not value:
            near = _near(name, element.attributes)
            self.error(element, f'<{element.name}> needs the attribute "{name}"{near}')
        return value

    def required(self, parent: Element, name: str, known: Iterable[str] = ()) -> Element | None:
        """Return a child that must be there; ``known`` are names that it is not mistaken for."""
        found = parent.child(name)
        if found is None:
            others = [one.name for one in parent.children if one.name not in set(known)]
            self.error(parent, f'<{parent.name}> needs a <{name}>{_near(name, others)}')
        return found

    def word(self, parent: Element, name: str, default: str | None = None) -> str | None:
        """Return the text of a child, or the default if there is none or it is empty."""
        found = parent.child(name)
        return found.text or default if found is not None else default

    def choice(self, element: Element, text: str, known: Iterable[str], default: str) -> str:
        """Return one of the known words."""
        if text in known:
            return text
        expected = ', '.join(known)
        hint = did_you_mean(text, known)
        message = f'"{text}" is no value of <{element.name}>, expected one of {expected}{hint}'
        self.error_in_text(element, message)
        return default

    def flag(self, parent: Element, name: str, default: bool) -> bool:
        """Return a child's true, false, 1 or 0."""
        found = parent.child(name)
        if found is None:
            return default
        text = found.text.lower()
        if text not in {'true', 'false', '1', '0'}:
            self.error_in_text(found, f'"{found.text}" in <{name}>: expected true or false')
        return text in {'true', '1'}

    def number(
        self, parent: Element, name: str, default: float, *,
        low: float = -math.inf, above: float = -math.inf, infinite: bool = False,
    ) -> float:
        """Return a child's number, at least ``low`` and more than ``above``."""
        found = parent.child(name)
        if found is None:
            return default
        values = self.numbers(found, (1,), infinite=infinite)
        if values is None:
            return default
        if values[0] < low or (values[0] <= above and above > -math.inf):
            least = f'{low:g} or more' if low > -math.inf else f'more than {above:g}'
            self.error_in_text(found, f'{found.text} in <{name}>: expected {least}')
            return default
        return values[0]

    def whole(self, parent: Element, name: str, default: int, *, low: int = 0) -> int:
        """Return a child's whole number, at least ``low``."""
        value = self.number(parent, name, default, low=low)
        found = parent.child(name)
        if found is not None and value != int(value):
            self.error_in_text(found, f'{found.text} in <{name}>: expected a whole number')
        return int(value)

    def numbers(
        self, element: Element, counts: tuple[int, ...], *, infinite: bool = False
    ) -> list[float] | None:
        """Return the numbers of an element's text, as many as one of ``counts``."""
        raw, values = element.raw_text, []
        for word in re.finditer(r'\S+', raw):
            text = word.group()
            value = float(text) if NUMBER.fullmatch(text) else math.nan
            if math.isnan(value) or (math.isinf(value) and not infinite):
                message = f'"{text}" in <{element.name}> is not a number'
                self._error(element.place_of_text(word.start(), message))
                return None
            values.append(value)
        if len(values) not in counts:
            expected = ' or '.join(map(str, counts))
            message = f'<{element.name}> has {len(values)} numbers, expected {expected}'
            self.error_in_text(element, message)
            return None
        return values

    def vector(self, parent: Element, name: str, default: Vector) -> Vector:
        """Return a child's three numbers."""
        found = parent.child(name)
        values = None if found is None else self.numbers(found, (3,))
        return default if values is None else (values[0], values[1], values[2])

    def sizes(self, parent: Element, name: str) -> Vector:
        """Return the three positive numbers of a child that must be there."""
        found = self.required(parent, name)
        if found is None:
            return (1.0, 1.0, 1.0)
        sizes = self.vector(parent, name, (1.0, 1.0, 1.0))
        if min(sizes) <= 0.0:
            self.error_in_text(found, f'{found.text} in <{name}>: expected more than 0')
        return sizes

    def size(self, parent: Element, name: str) -> float:
        """Return the positive number of a child that must be there."""
        self.required(parent, name)
        return self.number(parent, name, 1.0, above=0.0)

    def color(self, parent: Element, name: str, default: Color) -> Color:
        """Return a child's red, green, blue and alpha (1 if not given), from 0 to 1."""
        found = parent.child(name)
        values = None if found is None else self.numbers(found, (3, 4))
        if values is None:
            return default
        red, green, blue, alpha = (min(max(one, 0.0), 1.0) for one in (*values, 1.0)[:4])
        return (red, green, blue, alpha)

    def pose(self, element: Element | None) -> Poses:
        """Return the pose in a ``<pose>``, in whatever frame it is relative to."""
        if element is None or not element.text:
            return identity()
        form = element.attributes.get('rotation_format', 'euler_rpy')
        if form not in {'euler_rpy', 'quat_xyzw'}:
            hint = did_you_mean(form, ('euler_rpy', 'quat_xyzw'))
            self.error(element, f'rotation_format "{form}": expected euler_rpy or quat_xyzw{hint}')
            return identity()
        values = self.numbers(element, (6,) if form == 'euler_rpy' else (7,))
        if values is None:
            return identity()
        if form == 'quat_xyzw':
            if not any(values[3:]):
                self.error_in_text(element, 'the quaternion in <pose> has the length 0')
                return identity()
            return Poses.of(np.array(values))
        angles = np.array(values[3:])
        if element.attributes.get('degrees', '').lower() in {'true', '1'}:
            angles = np.radians(angles)
        return Poses(np.array(values[:3]), from_roll_pitch_yaw(angles))


def _near(name: str, others: Iterable[str]) -> str:
    """Return a hint that another name was perhaps meant to be this one."""
    close = did_you_mean(name, others)
    return close.replace('did you mean', 'was this meant by') if close else ''


def limit(value: float) -> float:
    """Return a limit of a joint, infinite where SDF 1.6 had no other way to say so."""
    return math.copysign(math.inf, value) if abs(value) >= HUGE else value
