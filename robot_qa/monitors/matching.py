"""Joins the messages of several topics that carry the same ``header.stamp``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robot_qa.monitors.base import Column
from robot_qa.probes.batch import Int64s

ABSENT = int(np.iinfo(np.int64).min)
UNKNOWN = ABSENT + 1
UNSET = 0
# New messages are joined when there are as many as this, or as still wait for others.
JOINED_AT_ONCE = 2048
# As many messages of one path may wait for others, whatever the pace of its topics.
MOST_WAITING = 1 << 18

Table = NDArray[np.int64]
Mask = NDArray[np.bool_]
Dating = Callable[[Table], Table]
_STAMP, _TIME, _RECEIVED, _TOPIC = range(4)


@dataclass(frozen=True)
class Joined:
    """The messages that came, in the order in which the inputs were received.

    ``received`` (when, system clock) and ``stamps`` have shape (n,), one per input. ``times`` has
    shape (n, topics): the time of the first message with that stamp on each topic, ABSENT where
    there was none and UNKNOWN where its time could not be read. ``unexpected`` and ``repeated``
    are the last topic's messages of a stamp that no input, or that an earlier output had, as
    (received, stamps); ``repeated_inputs`` counts the inputs of a stamp that was there already.
    """

    received: Int64s
    stamps: Int64s
    times: Table
    unexpected: tuple[Int64s, Int64s]
    repeated: tuple[Int64s, Int64s]
    repeated_inputs: int


class _Ledger:
    """Rows of a fixed number of columns; appending costs the same however many there are."""

    def __init__(self, width: int) -> None:
        self._columns = [Column() for _ in range(width)]

    def extend(self, *columns: Int64s) -> None:
        for column, values in zip(self._columns, columns, strict=True):
            column.extend(values)

    def columns(self) -> list[Int64s]:
        return [column.values for column in self._columns]


class _Outcome:
    """What has been joined so far."""

    def __init__(self, topics: int) -> None:
        self.inputs = _Ledger(2 + topics)
        self.unexpected = _Ledger(2)
        self.repeated = _Ledger(2)
        self.repeated_inputs = 0


@dataclass(frozen=True)
class _Chains:
    """Messages (``rows``, shape (4, n)) of one stamp belong to one chain, given by ``index``."""

    rows: Table
    index: Int64s
    begun: Int64s


class StampJoin:
    """Joins messages by their stamp; what it gives does not depend on how they were fed.

    The first message with a stamp, on whatever topic, begins a chain, to which belongs all that
    carries the stamp and is received in the next ``hold_ns``. The same stamp later than that is
    another chain: so a clock that was set back confuses nothing, and no more is kept waiting than
    came in that time. ``dating`` turns the times of chains, shape (chains, topics), into those to
    compare; it is asked when all that was received in a chain's time is there.
    """

    def __init__(self, topics: int, hold_ns: int, dating: Dating) -> None:
        self._topics = topics
        self._hold = hold_ns
        self._dating = dating
        self._waiting: Table = np.empty((4, 0), np.int64)
        self._new: list[Table] = []
        self._new_count = 0
        self._front: list[int | None] = [None] * topics
        self._measured_front = ABSENT
        self._settled = _Outcome(topics)

    def add(
        self, topic: int, stamps: Int64s, times: Int64s, received: Int64s, until: int | None
    ) -> None:
        """Take the next messages of a topic, by its index: three columns of shape (n,).

        ``until`` is the time, as ``received``, up to which ``dating`` can tell; None for any.
        """
        rows = np.empty((4, len(stamps)), np.int64)
        rows[_STAMP], rows[_TIME], rows[_RECEIVED], rows[_TOPIC] = stamps, times, received, topic
        front = self._front[topic]
        latest = int(received.max())
        self._front[topic] = latest if front is None else max(front, latest)
        unset = stamps == UNSET
        if unset.any():
            self._keep_unset(topic, received[unset])
            rows = rows[:, ~unset]
        self._new.append(rows)
        self._new_count += rows.shape[1]
        if self._new_count >= max(JOINED_AT_ONCE, self._waiting.shape[1]):
            self._settle(until)

    def joined(self, until: int | None) -> Joined:
        """Return what came so far, between two drains or at the end."""
        self._settle(until)
        # By the next time, everything received before now will have been fed.
        self._measured_front = self._latest()
        last = _Outcome(self._topics)
        chains = _chains(self._waiting, self._hold)
        self._keep(chains, np.ones(len(chains.begun), np.bool_), last)
        both = self._settled, last
        inputs = _merged([one.inputs for one in both])
        return Joined(
            inputs[0], inputs[1], np.column_stack(inputs[2:]),
            _pair(_merged([one.unexpected for one in both])),
            _pair(_merged([one.repeated for one in both])),
            sum(one.repeated_inputs for one in both),
        )

    def _latest(self) -> int:
        return max((front for front in self._front if front is not None), default=ABSENT)

    def _complete_until(self, until: int | None) -> int:
        """Return the time before which everything that was received has been fed."""
        fronts = [front for front in self._front if front is not None]
        slowest = min(fronts) if len(fronts) == self._topics else ABSENT
        complete = max(slowest, self._measured_front)
        return complete if until is None else min(complete, until)

    def _settle(self, until: int | None) -> None:
        """Put away the chains to which nothing more can come."""
        self._waiting = np.concatenate([self._waiting, *self._new], axis=1)
        self._new, self._new_count = [], 0
        if not self._waiting.shape[1]:
            return
        chains = _chains(self._waiting, self._hold)
        over = chains.begun < self._complete_until(until) - self._hold
        if self._waiting.shape[1] > MOST_WAITING:
            # A topic is silent, or far behind; nobody waits for it for ever.
            over |= chains.begun < self._latest() - 2 * self._hold
        self._keep(chains, over, self._settled)
        self._waiting = chains.rows[:, ~over[chains.index]]

    def _keep(self, chains: _Chains, chosen: Mask, into: _Outcome) -> None:
        """Write the chosen chains into an outcome."""
        inside = chosen[chains.index]
        rows = chains.rows[:, inside]
        if not rows.shape[1]:
            return
        index = (np.cumsum(chosen) - 1)[chains.index[inside]]
        cell = index * self._topics + rows[_TOPIC]
        filled, first = np.unique(cell, return_index=True)
        shape = int(chosen.sum()), self._topics
        times, received, stamps = (np.full(shape, ABSENT) for _ in range(3))
        for table, row in ((times, _TIME), (received, _RECEIVED), (stamps, _STAMP)):
            table.flat[filled] = rows[row, first]
        led = times[:, 0] != ABSENT
        into.inputs.extend(received[led, 0], stamps[led, 0], *self._dating(times[led]).T)
        alone = ~led & (times[:, -1] != ABSENT)
        into.unexpected.extend(received[alone, -1], stamps[alone, -1])
        again = np.ones(rows.shape[1], np.bool_)
        again[first] = False
        outputs = again & (rows[_TOPIC] == self._topics - 1)
        into.repeated.extend(rows[_RECEIVED, outputs], rows[_STAMP, outputs])
        into.repeated_inputs += int((again & (rows[_TOPIC] == 0)).sum())

    def _keep_unset(self, topic: int, received: Int64s) -> None:
        """Note messages without a stamp: nobody can tell what comes of them, or came before."""
        stamps = np.full(len(received), UNSET)
        if topic == 0:
            times = [np.full(len(received), UNKNOWN), *[np.full(len(received), ABSENT)]
                     * (self._topics - 1)]
            self._settled.inputs.extend(received, stamps, *times)
        elif topic == self._topics - 1:
            self._settled.unexpected.extend(received, stamps)


def _chains(rows: Table, hold_ns: int) -> _Chains:
    """Put messages into the order of their stamps and reception, and tell their chains."""
    rows = rows[:, np.lexsort((rows[_RECEIVED], rows[_STAMP]))]
    stamps, received = rows[_STAMP], rows[_RECEIVED]
    starts = np.ones(len(stamps), np.bool_)
    starts[1:] = stamps[1:] != stamps[:-1]
    while True:
        index = np.cumsum(starts) - 1
        begun = received[starts]
        beyond = received - begun[index] > hold_ns
        if not beyond.any():
            return _Chains(rows, index, begun)
        # The first message beyond the time of its chain begins another one.
        beyond[1:] &= ~beyond[:-1] | (index[1:] != index[:-1])
        starts |= beyond


def _merged(ledgers: list[_Ledger]) -> list[Int64s]:
    """Return all rows as columns, in the order of the first two: reception and stamp."""
    columns = [
        np.concatenate(parts)
        for parts in zip(*(ledger.columns() for ledger in ledgers), strict=True)
    ]
    order = np.lexsort((columns[1], columns[0]))
    return [column[order] for column in columns]


def _pair(columns: list[Int64s]) -> tuple[Int64s, Int64s]:
    return columns[0], columns[1]
