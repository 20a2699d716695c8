"""What one perception task is asked, and what it answers: scores with bounds, over some frames."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from robot_qa.monitors.base import EVIDENCE_KEPT
from robot_qa.monitors.objects_from_messages import Raw
from robot_qa.monitors.pairing import Pair
from robot_qa.perception.breakdown import Breakdown
from robot_qa.perception.confidence import correlation_time, excess_of
from robot_qa.perception.jackknife import jackknife_bounds
from robot_qa.perception.objects import Floats, Ints
from robot_qa.spec.perception_parts import Where
from robot_qa.stats import Confidence, Estimate
from robot_qa.timebase import NS_PER_S

Bools = NDArray[np.bool_]
# Bounds from fewer independent frames than these are too narrow: see doc/perception.md.
LEAST_EFFECTIVE = 30.0
# Of header stamps, in ns.
APART_NS = NS_PER_S


@dataclass(frozen=True)
class Asked:
    """One metric, over all objects of the chosen frames or those that fit ``where``."""

    metric: str
    where: Where | None = None
    slice: str | None = None


@dataclass(frozen=True)
class Rigor:
    """How sure bounds have to be, and how many frames are at least taken for one.

    ``strata`` (frames,) tell the slices of the scenario apart: how long each lasts is planned, so
    what differs between them is no chance. Unless ``bounded``, bounds that are costly are left
    out.
    """

    confidence: Confidence
    least_time: float
    bounded: bool
    strata: Ints | None = None

    def excess(
        self, errors: Floats, tried: Floats | None = None, frames: Bools | None = None
    ) -> Floats:
        """Return errors (n,) less what is usual in their stratum, of so many as were ``tried``.

        ``frames`` tells which frames they are of; all if left out. What is no longer by frame,
        such as sections of a way, has no stratum.
        """
        strata = self.strata if self.strata is None or frames is None else self.strata[frames]
        if strata is not None and len(strata) != len(errors):
            strata = None
        return excess_of(errors, np.ones(len(errors)) if tried is None else tried, strata)

    def effective(self, excess: Floats) -> float:
        """Return how many independent frames a series of `excess` is worth."""
        return len(excess) / max(self.least_time, correlation_time(excess)) if len(excess) else 0.0


@dataclass(frozen=True)
class Score:
    """A metric over ``frames`` frames worth ``effective`` independent ones.

    The bounds are one-sided; ``None`` where there are none (yet). ``reason`` says why there is no
    value, or why a limit cannot be kept by this one, only broken. ``exact`` marks a count, which
    needs no bounds.
    """

    value: float | None
    low: float | None
    high: float | None
    frames: int
    effective: float
    reason: str = ''
    exact: bool = False

    @classmethod
    def none(cls, reason: str, frames: int = 0) -> Score:
        """Return the score of what could not be evaluated."""
        return cls(None, None, None, frames, 0.0, reason)

    @property
    def time(self) -> float:
        """How many frames are worth one independent frame."""
        return self.frames / max(self.effective, 1e-9) if self.frames else 1.0

    def trusted(self) -> Score:
        """Return it without bounds if there are too few independent frames for any."""
        if self.exact or self.effective >= LEAST_EFFECTIVE:
            return self
        return replace(self, low=None, high=None)

    @property
    def lacks(self) -> int:
        """How many more frames there have to be before bounds can be trusted; 0 if none."""
        if self.exact or self.effective >= LEAST_EFFECTIVE:
            return 0
        return max(1, int(np.ceil((LEAST_EFFECTIVE - self.effective) * self.time)))


@dataclass(frozen=True)
class Remark:
    """What went wrong in a frame, given by its number."""

    frame: int
    value: float
    text: str


class Task(Protocol):
    """Evaluates pairs of serialized messages of one task."""

    frames: int
    left_out: int

    def add(self, pair: Pair[Raw]) -> None:
        """Take the next pair. RobotQaError: it cannot be evaluated, and is not counted."""

    def flush(self) -> None:
        """Evaluate what was taken; ``frames`` of all that was ever taken are then evaluated."""

    def score(self, asked: Asked, chosen: Bools, rigor: Rigor) -> Score:
        """Return a metric over the chosen frames (frames,)."""

    def remarks(self, asked: Asked, chosen: Bools, stamps: Ints) -> list[Remark]:
        """Return what went wrong in the worst of these frames, as `worst_frames`."""

    def breakdown(self, asked: Asked, chosen: Bools) -> Breakdown | None:
        """Return what was taken for what in the chosen frames; None for a task without classes.

        Of ``asked`` the slice counts, not the metric.
        """


class Growing:
    """A table of numbers by frame, (frames, columns), that grows at constant cost."""

    def __init__(self, columns: int) -> None:
        self._room = np.zeros((64, columns))
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def append(self, row: Floats | list[float]) -> None:
        """Add the numbers of the next frame."""
        if self._count == len(self._room):
            self._room = np.concatenate((self._room, np.zeros_like(self._room)))
        self._room[self._count] = row
        self._count += 1

    @property
    def rows(self) -> Floats:
        """What is there; valid until the next `append`."""
        return self._room[:self._count]


def worst_frames(wrong: Floats, chosen: Bools, stamps: Ints) -> list[int]:
    """Return the numbers of the few chosen frames where most is wrong, worst first; (frames,) all.

    Of frames nearer to one another than `APART_NS` the worst stands for all: they show the same.
    """
    shown = np.where(chosen & ~np.isnan(wrong), wrong, 0.0)
    found: list[int] = []
    while len(found) < EVIDENCE_KEPT and len(shown):
        place = int(shown.argmax())
        if shown[place] <= 0.0:
            break
        found.append(place)
        shown[np.abs(stamps - stamps[place]) < APART_NS] = 0.0
    return found


def jackknifed(
    value: Callable[[Bools], float | None], excess: Floats, rigor: Rigor, *, share: bool
) -> Score:
    """Return a score with bounds by `jackknife_bounds`; ``value`` gives it for chosen frames.

    ``excess`` (frames,) shows how the frames are correlated.
    """
    frames, effective = len(excess), rigor.effective(excess)
    whole = value(np.ones(frames, bool))
    if whole is None:
        return Score.none('there was nothing to evaluate', frames)
    bounds: Estimate | None = None
    if rigor.bounded:
        bounds = jackknife_bounds(
            value, frames, rigor.confidence.level, share=share, effective=effective)
    if bounds is None:
        return Score(whole, None, None, frames, effective)
    return Score(bounds.value, bounds.low, bounds.high, frames, effective)
