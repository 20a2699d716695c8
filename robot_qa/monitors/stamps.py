"""Which time a check is based on, and the intervals between samples on it."""

from __future__ import annotations

from typing import Literal

import numpy as np

from robot_qa.messages.fields import FieldReader, compile_field
from robot_qa.monitors.base import Context
from robot_qa.probes.batch import Batch, Int64s, Observation

Basis = Literal['source', 'header', 'arrival']
NO_SOURCE_TIME = (
    'the samples carry no send time (source_timestamp; publish_time in a recording); '
    '"basis: arrival" would use the time of reception'
)


class HeaderStamps:
    """Reads ``header.stamp`` from the bytes; compiled when the first batch tells the type."""

    def __init__(self, context: Context, path: str = 'header.stamp') -> None:
        self._context = context
        self._path = path
        self._reader: FieldReader | None = None

    def read(self, batch: Batch) -> tuple[Int64s, Int64s]:
        """Return stamps in ns and the rows of the batch that they belong to, both of shape (m,).

        Malformed messages have no stamp and are left out. Raises FieldPathError for a type
        without a header.
        """
        if self._reader is None:
            self._reader = compile_field(self._context.store, batch.type, self._path)
        column = self._reader.column(batch.payloads)
        return column.values.astype(np.int64, copy=False), column.rows


class BasisStamps:
    """Gives the stamps of a batch on the chosen basis, and how long the topic has been silent."""

    def __init__(self, basis: Basis, context: Context) -> None:
        self._basis = basis
        self._clock = context.clock
        self._header = HeaderStamps(context)
        self._last_received: int | None = None
        self._last_stamp: int | None = None
        self.lacking = ''

    def read(self, batch: Batch) -> tuple[Int64s, Int64s]:
        """Return stamps and rows; nothing, and a reason in ``lacking``, where there are none."""
        self._last_received = int(batch.received_ns[-1])
        rows = np.arange(len(batch))
        if self._basis == 'header':
            stamps, rows = self._header.read(batch)
        elif self._basis == 'arrival':
            stamps = batch.received_ns
        elif batch.source_ns is not None:
            stamps = batch.source_ns
        else:
            self.lacking = NO_SOURCE_TIME
            return np.empty(0, np.int64), np.empty(0, np.int64)
        if len(stamps):
            self._last_stamp = int(stamps[-1])
        return stamps, rows

    def silence_ns(self, seen: Observation) -> int:
        """Return the time from the last sample to the end of the observation, at least 0.

        Measured where we received, so that it needs no agreement with the publisher's clock;
        for header stamps under simulation, on the simulated clock.
        """
        if self._last_received is None:
            return max(0, seen.end_ns - seen.start_ns)
        ticks = self._ticks()
        if len(ticks) and self._last_stamp:
            return max(0, int(ticks[-1]) - self._last_stamp)
        return max(0, seen.end_ns - self._last_received)

    def watched_ns(self, seen: Observation) -> int:
        """Return the length of the observation, on the simulated clock where the stamps are."""
        ticks = self._ticks()
        return int(ticks[-1] - ticks[0]) if len(ticks) else seen.end_ns - seen.start_ns

    def _ticks(self) -> Int64s:
        """Return the simulated clock of header stamps; nothing where they are on another."""
        simulated = self._clock is not None and self._basis == 'header'
        return self._clock.simulated.values if simulated and self._clock else np.empty(0, np.int64)


class Intervals:
    """Differences between consecutive stamps of a topic, across batch borders.

    With several publishers on one topic their send times interleave a little out of order; such a
    step back between two publishers is an interval of zero, one of a single publisher is kept
    negative: its clock stepped.
    """

    def __init__(self) -> None:
        self._stamp: int | None = None
        self._publisher = 0

    def of(self, stamps: Int64s, publishers: Int64s) -> Int64s:
        """Return one interval per stamp, shape (n,); without a predecessor the first has none.

        Then the result has shape (n - 1,) and belongs to ``stamps[1:]``.
        """
        if not len(stamps):
            return stamps
        before, who = stamps, publishers
        if self._stamp is not None:
            before = np.concatenate(([self._stamp], stamps))
            who = np.concatenate(([self._publisher], publishers))
        self._stamp, self._publisher = int(stamps[-1]), int(publishers[-1])
        steps = np.diff(before)
        other = (who[1:] != who[:-1]) & (steps < 0)
        return np.where(other, 0, steps)
