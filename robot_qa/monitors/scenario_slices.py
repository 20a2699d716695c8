"""Which part of the run a frame belongs to: the slices that steps of the scenario label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_qa.monitors.base import SimulatedClock
from robot_qa.probes.batch import Batch, Int64s
from robot_qa.probes.journal import PREFIX, SCENARIO, entries
from robot_qa.spec.perception import NOMINAL
from robot_qa.spec.scenario import Step
from robot_qa.spec.scenario_played import Played

JOURNAL = PREFIX + SCENARIO
Bools = NDArray[np.bool_]
_END = np.iinfo(np.int64).max


@dataclass
class _Episode:
    """One time that a step was played; all in ns on the clock of the frames' stamps."""

    label: str
    begun: int
    done: int | None = None
    undoing: int | None = None
    over: int | None = None
    failed: bool = False


class ScenarioSlices:
    """Learns from the scenario's journal when labelled steps lasted.

    A step lasts from when it is done to when its undoing begins. While it is done or undone, the
    frames are of no slice, and not nominal either: nobody knows what they show.
    """

    def __init__(self, steps: list[Step], clock: SimulatedClock | None) -> None:
        self._steps = steps
        self._played = Played(steps)
        self._clock = clock
        self._episodes: dict[tuple[int, int], _Episode] = {}
        self.heard = False

    @property
    def labels(self) -> list[str]:
        """All labels of the scenario, in its order."""
        return list(dict.fromkeys(step.slice for step in self._steps if step.slice))

    def update(self, batch: Batch) -> None:
        """Take what the journal says."""
        for stamp, entry in entries(batch):
            self.heard = True
            index = self._played.step(entry)
            label = None if index is None else self._steps[index].slice
            if index is not None and label is not None:
                self._follow((index, entry['occurrence']), label, entry['event'],
                             self._moment(stamp, entry))

    def _moment(self, stamp: int, entry: dict[str, Any]) -> int:
        """Return the time of an entry on the clock of the frames' stamps."""
        if self._clock is None:
            return stamp
        simulated: int | None = entry.get('simulated_ns')
        if simulated is not None:
            return simulated
        return int(self._clock.at(np.array([stamp], np.int64))[0][0])

    def _follow(self, key: tuple[int, int], label: str, event: str, moment: int) -> None:
        if event == 'begun':
            self._episodes[key] = _Episode(label, moment)
            return
        episode = self._episodes.get(key)
        if episode is None:
            return
        if event == 'done':
            episode.done = moment
        elif event == 'undoing':
            episode.undoing = moment
        else:
            episode.over = moment
            episode.failed = event == 'failed'

    def frames_of(self, label: str, stamps: Int64s) -> Bools:
        """Tell which frames belong to a slice, or are nominal, by their stamps (n,) in ns."""
        if self.labels and (not self.heard or self._played.misfit):
            return np.zeros(len(stamps), bool)
        changing = np.zeros(len(stamps), bool)
        inside = np.zeros(len(stamps), bool)
        outside = np.ones(len(stamps), bool)
        for one in self._episodes.values():
            until = _END if one.over is None else one.over
            undoing = until if one.undoing is None else one.undoing
            done = until if one.done is None else one.done
            lasts = _within(stamps, done, undoing)
            whole = _within(stamps, one.begun, until)
            changing |= whole & ~lasts
            outside &= ~whole
            if one.label == label:
                inside |= lasts
        return outside if label == NOMINAL else inside & ~changing

    def why_none(self, label: str) -> str:
        """Say why a slice has no frame."""
        if not self.heard:
            return 'nothing tells when the steps of the scenario were played'
        if self._played.misfit is not None:
            return self._played.misfit
        if label == NOMINAL:
            return 'no frame was outside all slices of the scenario'
        played = [one for one in self._episodes.values() if one.label == label]
        if not played:
            return f'no step with "slice: {label}" was played'
        if all(one.done is None for one in played):
            return f'no step with "slice: {label}" was carried out'
        return f'no frame has a stamp within the slice {label}'


def _within(stamps: Int64s, after: int, until: int) -> Bools:
    # A change that was seen done at a time can show in frames after it; one that is about to be
    # undone shows in the frame of this very time.
    inside: Bools = (stamps > after) & (stamps <= until)
    return inside
