"""What counts as found, by size and by how closely."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from robot_qa.errors import RobotQaError
from robot_qa.perception import boxes_2d, boxes_3d
from robot_qa.perception.objects import Bools, Floats

# COCO's: 0.5, 0.55 ... 0.95, made as its reference code makes them, so that ties are the same.
IOUS = tuple(np.linspace(0.5, 0.95, 10).tolist())
# COCO's ranges of area in px^2; both ends belong to a range.
SIZES = {
    'all': (0.0, 1e5 ** 2), 'small': (0.0, 32.0 ** 2), 'medium': (32.0 ** 2, 96.0 ** 2),
    'large': (96.0 ** 2, 1e5 ** 2),
}
MOST_BITS = 64


@dataclass(frozen=True)
class Settings:
    """What counts as found; the defaults are those of COCO.

    ``overlap`` of detected boxes, true boxes and crowds is how well they fit, row by row, and a
    match needs at least as much as one of ``thresholds``; with ``distances`` it is how far apart
    they are, and a match has to be nearer than that. ``extent`` of boxes is what ``ranges`` (both
    ends included; the first is the one that metrics are about by default) divide objects by.
    ``max_detections`` (ascending) are the surest of each frame and class that count; the last
    holds for everything but the average recall. ``score`` and ``threshold``, one of
    ``thresholds``, are the operating point, at which the confusion matrix is counted.
    """

    thresholds: tuple[float, ...] = IOUS
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=lambda: SIZES)
    max_detections: tuple[int, ...] = (1, 10, 100)
    score: float = 0.5
    threshold: float = 0.5
    overlap: Callable[[Floats, Floats, Bools], Floats] = boxes_2d.overlap
    extent: Callable[[Floats], Floats] = boxes_2d.area
    distances: bool = False
    box_columns: int = 4

    def __post_init__(self) -> None:
        """Raise RobotQaError for settings that nothing can be evaluated by."""
        if not self.thresholds or not self.ranges or not self.max_detections:
            raise RobotQaError('thresholds, ranges and max_detections must not be empty')
        if len(self.thresholds) * len(self.ranges) > MOST_BITS:
            raise RobotQaError(f'{len(self.thresholds)} thresholds for {len(self.ranges)} ranges '
                               f'are more than {MOST_BITS} columns')
        if list(self.max_detections) != sorted(self.max_detections):
            raise RobotQaError(f'max_detections are not ascending: {self.max_detections}')
        self.column(self.threshold)

    def column(self, threshold: float | None = None, name: str | None = None) -> int:
        """Return the column of a threshold (default: the operating point's) and range (the first).

        Columns are numbered threshold by threshold. Raises RobotQaError for what there is not.
        """
        wanted = self.threshold if threshold is None else threshold
        near = np.flatnonzero(np.isclose(self.thresholds, wanted, rtol=0.0, atol=1e-9))
        if len(near) == 0:
            raise RobotQaError(f'{wanted} is none of the thresholds {self.thresholds}')
        if name is not None and name not in self.ranges:
            raise RobotQaError(f'{name!r} is none of the ranges {tuple(self.ranges)}')
        place = 0 if name is None else list(self.ranges).index(name)
        return int(near[0]) * len(self.ranges) + place


# Boxes in space by the volume they share; by distance from the origin there is one range.
IN_SPACE = Settings(
    thresholds=(0.25, 0.5, 0.7), ranges={'all': (0.0, np.inf)}, max_detections=(500,),
    overlap=boxes_3d.overlap, extent=boxes_3d.distance, box_columns=7,
)
# As in nuScenes: boxes in space by the distance of their centres, in m.
NUSCENES = replace(
    IN_SPACE, thresholds=(0.5, 1.0, 2.0, 4.0), threshold=2.0, overlap=boxes_3d.centre_distance,
    distances=True,
)
