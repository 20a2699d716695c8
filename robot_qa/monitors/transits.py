"""When messages of several topics were sent or received, and whether their clocks agree."""

from __future__ import annotations

import numpy as np

from robot_qa.monitors.stamps import NO_SOURCE_TIME, Basis
from robot_qa.probes.batch import Batch, Int64s
from robot_qa.timebase import NS_PER_S, format_ns

# Send times of two publishers on clocks that differ by more cannot be compared.
CLOCKS_APART = NS_PER_S


class Transits:
    """Reads the times of batches, and how long the fastest message of each publisher took to us.

    That is its true way, a few milliseconds, plus how far its clock is behind ours: where it
    differs a lot between two publishers, so do their clocks.
    """

    def __init__(self, basis: Basis) -> None:
        self._basis = basis
        self._fastest: dict[tuple[str, int], int] = {}
        self.lacking = ''

    def times(self, batch: Batch) -> Int64s | None:
        """Return a time per message in ns; None, and a reason in ``lacking``, without one."""
        if self._basis == 'arrival':
            return batch.received_ns
        if batch.source_ns is None:
            self.lacking = f'on {batch.topic}, {NO_SOURCE_TIME}'
            return None
        took = batch.received_ns - batch.source_ns
        publishers = batch.publisher
        first = int(publishers[0])
        if (publishers == first).all():
            self._note(batch.topic, first, int(took.min()))
        else:
            for one in np.unique(publishers).tolist():
                self._note(batch.topic, one, int(took[publishers == one].min()))
        return batch.source_ns

    def _note(self, topic: str, publisher: int, took: int) -> None:
        key = topic, publisher
        self._fastest[key] = min(took, self._fastest.get(key, took))

    def apart(self) -> str:
        """Say which send times are on clocks that disagree, or return nothing."""
        if self._basis == 'arrival' or not self._fastest:
            return ''
        ordered = sorted((took, topic) for (topic, _), took in self._fastest.items())
        (least, ahead), (most, behind) = ordered[0], ordered[-1]
        if most - least <= CLOCKS_APART:
            return ''
        return (
            f'the send times on {behind} are {format_ns(most - least)} behind those on {ahead}, '
            'by when both were received: the clocks of their hosts disagree; "basis: arrival" '
            'would use the time of reception'
        )
