"""Which class was taken for which, and what scores are worth: what is behind a metric."""

from __future__ import annotations

from dataclasses import dataclass

from robot_qa.perception.calibration import Calibration
from robot_qa.perception.objects import Ints

# What is no class: no object, nothing detected, and what is none of the classes that count.
NOTHING = 'nothing'
MISSED = 'missed'
OTHER = 'none of the classes'
# Of the scores in a reliability diagram.
BINS = 15


@dataclass(frozen=True)
class Breakdown:
    """``counts[i, j]`` of what is ``true[i]`` were taken for ``taken_for[j]``.

    ``calibration`` is None where nothing has a score.
    """

    true: tuple[str, ...]
    taken_for: tuple[str, ...]
    counts: Ints
    calibration: Calibration | None = None


@dataclass(frozen=True)
class Explained:
    """What a source of predictions took for what in a slice, None for all of its frames."""

    source: str
    slice: str | None
    frames: int
    breakdown: Breakdown
