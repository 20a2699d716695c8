"""What became of every detection and every true object: columns that grow with the run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robot_qa.perception.objects import Bools, Ints

Rows = NDArray[np.void]

# ``hits`` and ``ignored`` are bits: threshold times the number of ranges plus range.
# ``rank`` counts the detections of one frame and class from 0, the surest first.
# ``mistaken_for`` is the class of a true object of another class that it lies on, or:
NOTHING = -1
DETECTION = np.dtype([
    ('score', 'f8'), ('hits', 'u8'), ('ignored', 'u8'), ('frame', 'i4'), ('label', 'i4'),
    ('mistaken_for', 'i4'), ('rank', 'i4'),
])
# ``ranges`` are bits: the ranges in which the object has to be found.
OBJECT = np.dtype([('frame', 'i4'), ('label', 'i4'), ('ranges', 'u8')])


class Table:
    """Rows of one type. What was read from it never changes."""

    def __init__(self, dtype: np.dtype[np.void]) -> None:
        self._rows = np.zeros(256, dtype)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def extend(self, count: int, **columns: NDArray[np.generic]) -> None:
        """Append ``count`` rows, given by their columns."""
        end = self._count + count
        if end > len(self._rows):
            grown = np.zeros(max(end, 2 * len(self._rows)), self._rows.dtype)
            grown[:self._count] = self._rows[:self._count]
            self._rows = grown
        for name, column in columns.items():
            self._rows[name][self._count:end] = column
        self._count = end

    @property
    def rows(self) -> Rows:
        """All rows so far."""
        return self._rows[:self._count]


@dataclass(frozen=True)
class Outcomes:
    """All rows of ``frames`` frames: detections by class, the surest first; objects by class."""

    detections: Rows
    objects: Rows
    frames: int

    @classmethod
    def of(cls, detections: Rows, objects: Rows, chosen: Bools) -> Outcomes:
        """Sort the rows of the ``chosen`` frames (frames,) and number these frames anew."""
        if not chosen.all():
            number = np.cumsum(chosen) - 1
            detections = detections[chosen[detections['frame']]]
            objects = objects[chosen[objects['frame']]]
            detections['frame'] = number[detections['frame']]
            objects['frame'] = number[objects['frame']]
        # Where scores tie, the earlier frame is first, as in the COCO reference.
        order = np.lexsort((-detections['score'], detections['label']))
        by_class = np.argsort(objects['label'], kind='stable')
        return cls(detections[order], objects[by_class], int(np.count_nonzero(chosen)))

    def classes(self) -> Ints:
        """Return the labels there are, ascending."""
        labels = np.union1d(self.detections['label'], self.objects['label'])
        return labels.astype(np.int64)

    def of_class(self, label: int) -> Outcomes:
        """Return the rows of one class."""
        return Outcomes(_part(self.detections, label), _part(self.objects, label), self.frames)


def _part(rows: Rows, label: int) -> Rows:
    # A label of another type would make a copy of the whole column.
    low, high = np.searchsorted(rows['label'], np.array([label, label + 1], np.int32))
    return rows[low:high]


def packed(flags: Bools) -> NDArray[np.uint64]:
    """Return flags (c, n), c at most 64, as bits (n,), the first row as the lowest bit."""
    eights = np.packbits(flags, axis=0, bitorder='little')
    bits = np.zeros((flags.shape[1], 8), np.uint8)
    bits[:, :len(eights)] = eights.T
    return bits.view('<u8')[:, 0].astype(np.uint64, copy=False)


def unpacked(bits: NDArray[np.uint64], columns: int) -> Bools:
    """Return bits (n,) as flags (n, columns), the lowest bit as the first column."""
    eights = np.ascontiguousarray(bits, '<u8').view(np.uint8).reshape(len(bits), 8)
    return np.unpackbits(eights, axis=1, count=columns, bitorder='little').view(bool)
