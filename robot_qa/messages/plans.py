"""A compiled field path: the steps to a leaf, and the leaf; ``[*]`` has a plan inside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_qa.messages.cdr import Lanes, Message, counted
from robot_qa.messages.layout import Element, Step
from robot_qa.messages.leaves import Kind, Leaf, Numbers, Texts


@dataclass(frozen=True)
class Plan:
    """The steps to a leaf, and the leaf."""

    steps: tuple[Step, ...]
    leaf: Leaf

    def walk(self, message: Message, position: int) -> int | None:
        """Return where the leaf starts, or None where a sequence is shorter than an index."""
        for step in self.steps:
            following = step.walk(message, position)
            if following is None:
                return None
            position = following
        return position

    def read(self, message: Message, position: int) -> Any:
        """Return the leaf's value, or None where there is none."""
        start = self.walk(message, position)
        return None if start is None else self.leaf.read(message, start)

    def drive(self, lanes: Lanes) -> None:
        """Move many messages to where the leaf starts."""
        for step in self.steps:
            step.drive(lanes)


@dataclass(frozen=True)
class Star:
    """The same field of every message in an array of ``length``, or in a sequence."""

    element: Element
    length: int | None
    plan: Plan

    @property
    def kind(self) -> Kind:
        """See Leaf."""
        return self.plan.leaf.kind

    @property
    def dtype(self) -> np.dtype[Any]:
        """See Leaf."""
        return self.plan.leaf.dtype

    def read(self, message: Message, position: int) -> list[Any]:
        """See Leaf. Stars inside are flattened."""
        count, position = counted(message, position, self.length)
        flatten = is_starred(self.plan.leaf)
        values: list[Any] = []
        for index in range(count):
            if index > 0:
                position = self.element.behind(message, position, 1)
            value = self.plan.read(message, position)
            if value is None:
                continue
            if flatten:
                values += value
            else:
                values.append(value)
        return values


def is_starred(leaf: Leaf) -> bool:
    """Whether the leaf's value is a list of the values that the path asked for."""
    return isinstance(leaf, Star) or (isinstance(leaf, Numbers | Texts) and leaf.starred)


def flattened(value: Any, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return what a leaf has read as one array of shape (elements,)."""
    if isinstance(value, np.ndarray):
        return value
    if not isinstance(value, list):
        return np.array([value], dtype)
    if value and isinstance(value[0], np.ndarray | list):
        return np.concatenate([flattened(part, dtype) for part in value])
    return np.array(value, dtype)
