"""Which truth belongs to which prediction, by header stamps alone, however the samples arrive.

What becomes of a sample depends on the stamps of the two topics and on the order within each, not
on how the two are interleaved on the way to us: so a recording gives the pairs that the run gave.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from robot_qa.probes.batch import Int64s
from robot_qa.timebase import NS_PER_S

T = TypeVar('T')
Side = Literal[0, 1]
PREDICTION: Side = 0
TRUTH: Side = 1
# For so long, in header stamps, a sample waits for its counterpart.
PATIENCE_NS = 10 * NS_PER_S
# So near to an end of the observation, on the system clock, a counterpart may be outside of it: at
# least so long, less if that were more than so much of it, more if predictions come that late.
USUALLY_OPEN_NS = NS_PER_S
MOST_OPEN = 0.1
USUAL_DELAYS = 3
MOST_WAITING = 20_000
MOST_EVIDENCE = 5


@dataclass(frozen=True)
class Sample(Generic[T]):
    """A decoded message: ``stamp_ns`` is its header's, ``received_ns`` our system clock's."""

    stamp_ns: int
    received_ns: int
    content: T


@dataclass(frozen=True)
class Pair(Generic[T]):
    """A prediction, and the one truth (or, to interpolate, the two) that belongs to it."""

    prediction: Sample[T]
    before: Sample[T]
    after: Sample[T]


# Stamp, when it was received, and why it has no counterpart.
Unmatched = tuple[int, int, str]


@dataclass(frozen=True)
class Unpaired:
    """How many predictions and true messages have no counterpart, and how many had one.

    Those at the very ends, whose counterpart may be outside of the observation, do not count.
    """

    predictions: int
    truths: int
    pairs: int
    paired_truths: int


class Pairing(Generic[T]):
    """Pairs samples; ``add`` gives the pairs that it completes, in the order of their stamps."""

    def __init__(self, most_waiting: int = MOST_WAITING) -> None:
        # So many samples of a side wait for their counterpart; the oldest are given up for more.
        self.most_waiting = most_waiting
        # The latest stamp of each side.
        self._last: list[int | None] = [None, None]
        # What was given up, of each side: stamps, and when they were received.
        self._lonely = [(array('q'), array('q')), (array('q'), array('q'))]
        # What never could be paired, of each side, and the first of them: stamp, received, why.
        self._refused = [0, 0]
        self._why_refused: tuple[list[Unmatched], list[Unmatched]] = ([], [])
        # When what has a counterpart was received, of each side.
        self._paired = (array('q'), array('q'))
        # By how much predictions were received later than their truth, or earlier.
        self._delays = array('q')

    def add(self, side: Side, sample: Sample[T]) -> Iterator[Pair[T]]:
        """Take the next sample of a side; yield the pairs that are now known."""
        stamp, last = sample.stamp_ns, self._last[side]
        self._last[side] = stamp if last is None else max(last, stamp)
        if last is not None and stamp < last - self._slack:
            self._refused[side] += 1
            if len(kept := self._why_refused[side]) < MOST_EVIDENCE:
                back = f'its stamp went back by {(last - stamp) / NS_PER_S:.6g} s'
                kept.append((stamp, sample.received_ns, back))
            return iter(())
        return self._take(side, sample)

    def unpaired(self, start_ns: int, end_ns: int) -> Unpaired:
        """Count what has no counterpart in an observation from ``start_ns`` to ``end_ns``."""
        inner = self.inner(start_ns, end_ns)
        alone = [self._refused[side] + len(self._alone(side, inner)[0])
                 for side in (PREDICTION, TRUTH)]
        paired = [received_within(one, inner) for one in self._paired]
        return Unpaired(*alone, *paired)

    def first_lonely(self, side: Side, start_ns: int, end_ns: int) -> list[Unmatched]:
        """Return the first samples of a side without a counterpart: stamp, received, why."""
        stamps, received = self._alone(side, self.inner(start_ns, end_ns))
        first = np.argsort(stamps, kind='stable')[:MOST_EVIDENCE]
        found = [(stamp, at, self._why(stamp) if side == PREDICTION else 'no prediction')
                 for stamp, at in zip(stamps[first].tolist(), received[first].tolist(),
                                      strict=True)]
        return sorted([*self._why_refused[side], *found])[:MOST_EVIDENCE]

    # By how much stamps of one topic may go back.
    _slack = PATIENCE_NS

    def _take(self, side: Side, sample: Sample[T]) -> Iterator[Pair[T]]:
        raise NotImplementedError

    def _waiting(self, side: Side) -> Iterator[Sample[T]]:
        """Yield what has no counterpart so far."""
        raise NotImplementedError

    def _why(self, stamp: int) -> str:
        return 'no truth has its stamp'

    def inner(self, start_ns: int, end_ns: int) -> tuple[int, int]:
        """Return from when to when samples are received whose counterpart must have been seen."""
        usual = int(np.median(self._delays)) if self._delays else 0
        near = max(min(USUALLY_OPEN_NS, int(MOST_OPEN * (end_ns - start_ns))),
                   min(USUAL_DELAYS * usual, PATIENCE_NS))
        return start_ns + near, end_ns - near

    def _alone(self, side: Side, inner: tuple[int, int]) -> tuple[Int64s, Int64s]:
        """Return the stamps of what has no counterpart, and when it was received; (n,) each."""
        waiting = [(one.stamp_ns, one.received_ns) for one in self._waiting(side)]
        given_up = np.array(self._lonely[side], np.int64)
        stamps, received = np.hstack((given_up, np.array(waiting, np.int64).reshape(-1, 2).T))
        counts = _within(received, inner)
        return stamps[counts], received[counts]

    def _give_up(self, side: Side, sample: Sample[T]) -> None:
        stamps, received = self._lonely[side]
        stamps.append(sample.stamp_ns)
        received.append(sample.received_ns)

    def _pair(self, prediction: Sample[T], before: Sample[T], after: Sample[T]) -> Pair[T]:
        self._paired[PREDICTION].append(prediction.received_ns)
        self._delays.append(abs(prediction.received_ns - before.received_ns))
        return Pair(prediction, before, after)


def received_within(received: array[int], inner: tuple[int, int]) -> int:
    """Count the times that lie between two."""
    return int(_within(np.array(received, np.int64), inner).sum())


def _within(received: Int64s, inner: tuple[int, int]) -> NDArray[np.bool_]:
    inside: NDArray[np.bool_] = (received >= inner[0]) & (received <= inner[1])
    return inside
