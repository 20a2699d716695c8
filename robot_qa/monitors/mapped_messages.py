"""Predictions and truth of any message type, by the paths of the fields that matter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from robot_qa.errors import RobotQaError
from robot_qa.messages.fields import FieldReader, compile_field
from robot_qa.messages.typestore import TypeStore
from robot_qa.monitors.objects_from_messages import NO_CLASS, Objects, Raw
from robot_qa.perception.objects import Floats

CENTRE, CORNERS = ('x', 'y', 'width', 'height'), ('left', 'top', 'right', 'bottom')


class Mapped:
    """Reads chosen fields of one topic; compiled when the first message tells the type."""

    def __init__(self, store: TypeStore, fields: Mapping[str, str]) -> None:
        self._store = store
        self._fields = {role: path for role, path in fields.items() if role != 'stamp'}
        self._readers: dict[str, FieldReader] = {}

    def _read(self, raw: Raw) -> dict[str, list[Any]]:
        """Return the elements of each field, all equally many."""
        if not self._readers:
            self._readers = {
                role: compile_field(self._store, raw.kind, path)
                for role, path in self._fields.items()
            }
        values = {role: _elements(reader.read(raw.data)) for role, reader in self._readers.items()}
        counts = {role: len(each) for role, each in values.items()}
        if len(set(counts.values())) > 1:
            told = ', '.join(f'{count} of {role}' for role, count in counts.items())
            raise RobotQaError(f'the fields have different numbers of elements: {told}')
        return values

    def objects(self, raw: Raw) -> Objects:
        """Return the objects of a message. RobotQaError or MessageError: it has none to read."""
        values = self._read(raw)
        sides = CENTRE if 'x' in values else CORNERS
        numbers = np.array([values[role] for role in sides], np.float64).T.reshape(-1, 4)
        if sides is CENTRE:
            numbers[:, :2] -= numbers[:, 2:] / 2
        else:
            numbers[:, 2:] -= numbers[:, :2]
        count = len(numbers)
        scores = np.array(values.get('score', [1.0] * count), np.float64)
        if not (np.isfinite(numbers).all() and np.isfinite(scores).all()):
            raise RobotQaError('a box or a score is not a finite number')
        if (numbers[:, 2:] < 0.0).any():
            raise RobotQaError('a side of a box is below zero')
        return Objects(numbers, _texts(values.get('label', [NO_CLASS] * count)),
                       _texts(values.get('id', [''] * count)), scores)

    def scores(self, raw: Raw) -> list[tuple[str, float]]:
        """Return the classes of a message, each with its score."""
        values = self._read(raw)
        labels = _texts(values['label'])
        scores = values.get('score', [1.0] * len(labels))
        return list(zip(labels, (float(one) for one in scores), strict=True))

    def pose(self, raw: Raw) -> Floats:
        """Return x, y, z of the position, then x, y, z, w of the orientation; (7,)."""
        if not self._readers:
            self._readers = {
                role: compile_field(self._store, raw.kind, path)
                for role, path in self._fields.items()
            }
        parts = [np.atleast_1d(np.asarray(self._readers[role].read(raw.data), np.float64))
                 for role in ('position', 'orientation')]
        if [len(part) for part in parts] != [3, 4]:
            raise RobotQaError('a position has three numbers and an orientation four; found '
                               f'{len(parts[0])} and {len(parts[1])}')
        return np.concatenate(parts)


def _elements(value: Any) -> list[Any]:
    if value is None:
        return []
    if isinstance(value, np.ndarray):
        return list(value.tolist())
    return list(value) if isinstance(value, list) else [value]


def _texts(values: list[Any]) -> list[str]:
    return [str(int(one)) if isinstance(one, bool | int) else str(one) for one in values]
