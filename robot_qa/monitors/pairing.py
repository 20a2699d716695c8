"""Which truth belongs to which prediction, by header stamps alone, however the samples arrive.

What becomes of a sample depends on the stamps of the two topics and on the order within each, not
on how the two are interleaved on the way to us: so a recording gives the pairs that the run gave.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, Literal, TypeVar

from robot_qa.spec.perception_parts import Association
from robot_qa.timebase import NS_PER_S

T = TypeVar('T')
Side = Literal[0, 1]
PREDICTION: Side = 0
TRUTH: Side = 1
# For so long, in header stamps, a sample waits for its counterpart.
PATIENCE_NS = 10 * NS_PER_S
MOST_WAITING = 20_000
MOST_EVIDENCE = 5
MOST_FIRST = 256


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


@dataclass(frozen=True)
class Unpaired:
    """How many predictions and true messages have no counterpart, and how many had one.

    Those at the very ends, whose counterpart may have been before or may still come, do not count.
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
        self.pairs = 0
        self.paired_truths = 0
        # The first and the latest stamp of each side.
        self._first: list[int | None] = [None, None]
        self._last: list[int | None] = [None, None]
        self._lonely = [0, 0]
        # The first few predictions without a truth: stamp, received, why.
        self.evidence: list[tuple[int, int, str]] = []

    def add(self, side: Side, sample: Sample[T]) -> Iterator[Pair[T]]:
        """Take the next sample of a side; yield the pairs that are now known."""
        stamp = sample.stamp_ns
        first, last = self._first[side], self._last[side]
        self._first[side] = stamp if first is None else min(first, stamp)
        self._last[side] = stamp if last is None else max(last, stamp)
        if last is not None and stamp < last - self._slack:
            self._alone(side, sample, f'its stamp went back by {(last - stamp) / NS_PER_S:.6g} s')
            return iter(())
        return self._take(side, sample)

    def unpaired(self) -> Unpaired:
        """Count what has no counterpart, as of now."""
        waiting = [sum(self._is_lonely(side, one) for one in self._waiting(side))
                   for side in (PREDICTION, TRUTH)]
        return Unpaired(self._lonely[0] + waiting[0], self._lonely[1] + waiting[1],
                        self.pairs, self.paired_truths)

    def first_lonely(self) -> list[tuple[int, int, str]]:
        """Return the first predictions without a truth: stamp, received, why."""
        waiting = (one for one in self._waiting(PREDICTION) if self._is_lonely(PREDICTION, one))
        found = [(one.stamp_ns, one.received_ns, '') for one in islice(waiting, MOST_EVIDENCE)]
        return [(stamp, received, why or self._why(stamp))
                for stamp, received, why in sorted([*self.evidence, *found])[:MOST_EVIDENCE]]

    # By how much stamps of one topic may go back, and how long a fate takes to be known.
    _slack = PATIENCE_NS
    _margin = 0

    def _take(self, side: Side, sample: Sample[T]) -> Iterator[Pair[T]]:
        raise NotImplementedError

    def _waiting(self, side: Side) -> Iterator[Sample[T]]:
        raise NotImplementedError

    def _why(self, stamp: int) -> str:
        return 'no truth has its stamp'

    def _is_lonely(self, side: Side, sample: Sample[T]) -> bool:
        """Tell whether a sample that waits lies between others that could have been paired.

        Before the first of the other side nobody could have answered; after its last somebody
        may do so, unless this side has gone on for too long.
        """
        other: Side = 1 if side == PREDICTION else 0
        first, last, own = self._first[other], self._last[other], self._last[side]
        if first is None or last is None or own is None or sample.stamp_ns < first:
            return False
        settled = last if not self._margin else min(last, own) - self._margin
        return sample.stamp_ns < settled or sample.stamp_ns < own - PATIENCE_NS

    def _alone(self, side: Side, sample: Sample[T], why: str = '') -> None:
        """Give a sample up for good."""
        self._lonely[side] += 1
        if side == PREDICTION and len(self.evidence) < MOST_EVIDENCE:
            self.evidence.append((sample.stamp_ns, sample.received_ns, why))


class ExactPairing(Pairing[T]):
    """Pairs equal stamps; of several with one stamp the first goes with the first, and so on."""

    def __init__(self, most_waiting: int = MOST_WAITING) -> None:
        super().__init__(most_waiting)
        # For the hint by how much stamps are apart, which is the same however samples arrive.
        self._first_truths: list[int] = []
        self._by_stamp: tuple[dict[int, deque[Sample[T]]], dict[int, deque[Sample[T]]]] = ({}, {})

    def _take(self, side: Side, sample: Sample[T]) -> Iterator[Pair[T]]:
        if side == TRUTH and len(self._first_truths) < MOST_FIRST:
            self._first_truths.append(sample.stamp_ns)
        other: Side = 1 if side == PREDICTION else 0
        waiting = self._by_stamp[other].get(sample.stamp_ns)
        if waiting:
            partner = waiting.popleft()
            if not waiting:
                del self._by_stamp[other][sample.stamp_ns]
            self.pairs += 1
            self.paired_truths += 1
            prediction, truth = (sample, partner) if side == PREDICTION else (partner, sample)
            yield Pair(prediction, truth, truth)
        else:
            self._by_stamp[side].setdefault(sample.stamp_ns, deque()).append(sample)
        self._forget()

    def _waiting(self, side: Side) -> Iterator[Sample[T]]:
        for waiting in self._by_stamp[side].values():
            yield from waiting

    def _why(self, stamp: int) -> str:
        near = min((abs(other - stamp) for other in self._first_truths), default=NS_PER_S)
        hint = f'; the nearest one is {near / 1e6:g} ms away' if 0 < near < NS_PER_S else ''
        return f'no truth has its stamp{hint}'

    def _forget(self) -> None:
        """Give up what can find no counterpart any more."""
        for side, other in ((PREDICTION, TRUTH), (TRUTH, PREDICTION)):
            waiting, last, first = self._by_stamp[side], self._last[other], self._first[other]
            while waiting:
                # The oldest entry is the first that was put in, give or take what came late.
                stamp = next(iter(waiting))
                gone = last is not None and stamp < last - PATIENCE_NS
                if not gone and len(waiting) <= self.most_waiting:
                    break
                for sample in waiting.pop(stamp):
                    if first is not None and stamp >= first:
                        self._alone(side, sample)


class NearestPairing(Pairing[T]):
    """Pairs a prediction and a truth that are each the nearest of the other, within a tolerance.

    Of two that are equally near, the earlier one is the nearest. Stamps must not go back.
    """

    _slack = 0

    def __init__(self, tolerance_ns: int, most_waiting: int = MOST_WAITING) -> None:
        super().__init__(most_waiting)
        self._tolerance = tolerance_ns
        self._margin = 2 * tolerance_ns
        self._samples: tuple[list[Sample[T]], list[Sample[T]]] = ([], [])
        self._stamps: tuple[list[int], list[int]] = ([], [])
        self._next = 0
        self._used: set[int] = set()

    def _take(self, side: Side, sample: Sample[T]) -> Iterator[Pair[T]]:
        self._samples[side].append(sample)
        self._stamps[side].append(sample.stamp_ns)
        while self._next < len(self._stamps[PREDICTION]) and self._is_settled():
            self._next += 1
            prediction = self._samples[PREDICTION][self._next - 1]
            truth = self._nearest(TRUTH, prediction.stamp_ns)
            back = -1 if truth < 0 else self._nearest(PREDICTION, self._stamps[TRUTH][truth])
            if back == self._next - 1:
                self.pairs += 1
                self.paired_truths += 1
                self._used.add(id(self._samples[TRUTH][truth]))
                yield Pair(prediction, *2 * (self._samples[TRUTH][truth],))
            elif (first := self._first[TRUTH]) is not None and prediction.stamp_ns >= first:
                self._alone(PREDICTION, prediction)
        self._forget()

    def _is_settled(self) -> bool:
        """Tell whether nothing that may still come is nearer to the next prediction or its truth.
        """
        if len(self._stamps[PREDICTION]) - self._next > self.most_waiting:
            return True
        newest = [one for one in self._last if one is not None]
        reach = self._stamps[PREDICTION][self._next] + self._margin
        return len(newest) == 2 and min(newest) > reach

    def _nearest(self, side: Side, stamp: int) -> int:
        """Return which sample of a side is nearest to a stamp, -1 if none is near enough."""
        stamps = self._stamps[side]
        after = bisect_left(stamps, stamp)
        best, distance = -1, self._tolerance + 1
        if after > 0:
            best, distance = bisect_left(stamps, stamps[after - 1]), stamp - stamps[after - 1]
        if after < len(stamps) and stamps[after] - stamp < distance:
            best, distance = after, stamps[after] - stamp
        return best if distance <= self._tolerance else -1

    def _forget(self) -> None:
        """Let go of what is too far behind to be anybody's nearest."""
        done = self._stamps[PREDICTION][:self._next]
        last = self._last[PREDICTION]
        waiting = self._stamps[PREDICTION][self._next:self._next + 1]
        oldest = waiting[0] if waiting else last
        if oldest is None:
            spare = [0, len(self._stamps[TRUTH]) - self.most_waiting]
        else:
            spare = [bisect_left(done, oldest - self._margin),
                     bisect_left(self._stamps[TRUTH], oldest - self._margin)]
        first = self._first[PREDICTION]
        for side, count in ((PREDICTION, spare[0]), (TRUTH, spare[1])):
            if count < 64:
                continue
            for sample in self._samples[side][:count] if side == TRUTH else ():
                if id(sample) in self._used:
                    self._used.discard(id(sample))
                elif first is not None and sample.stamp_ns >= first:
                    self._alone(TRUTH, sample)
            del self._samples[side][:count], self._stamps[side][:count]
            if side == PREDICTION:
                self._next -= count

    def _waiting(self, side: Side) -> Iterator[Sample[T]]:
        if side == PREDICTION:
            yield from self._samples[PREDICTION][self._next:]
        else:
            yield from (one for one in self._samples[TRUTH] if id(one) not in self._used)

    def _why(self, stamp: int) -> str:
        return f'no truth within {self._tolerance / 1e6:g} ms of its stamp is nearest to it'


class BracketPairing(Pairing[T]):
    """Gives a prediction the true samples before and after it, at most ``gap_ns`` apart.

    A truth may serve for several predictions: each of them asks for another point of time.
    """

    _slack = 0

    def __init__(self, gap_ns: int) -> None:
        super().__init__()
        self._gap = gap_ns
        self._predictions: deque[Sample[T]] = deque()
        self._truths: list[Sample[T]] = []
        self._stamps: list[int] = []
        self._used: set[int] = set()

    def _take(self, side: Side, sample: Sample[T]) -> Iterator[Pair[T]]:
        if side == TRUTH:
            if self._stamps and sample.stamp_ns == self._stamps[-1]:
                return
            self._truths.append(sample)
            self._stamps.append(sample.stamp_ns)
        else:
            self._predictions.append(sample)
        while self._predictions:
            prediction, spare = self._predictions[0], self.most_waiting - len(self._predictions)
            unknown = not self._stamps or prediction.stamp_ns > self._stamps[-1]
            if unknown and spare >= 0:
                break
            self._predictions.popleft()
            yield from self._bracketed(prediction)
        self._forget()

    def _bracketed(self, prediction: Sample[T]) -> Iterator[Pair[T]]:
        after = bisect_left(self._stamps, prediction.stamp_ns)
        if after < len(self._stamps) and self._stamps[after] == prediction.stamp_ns:
            before = after
        elif 0 < after < len(self._stamps):
            before = after - 1
        else:
            if after:
                self._alone(PREDICTION, prediction)
            return
        if self._stamps[after] - self._stamps[before] > self._gap:
            self._alone(PREDICTION, prediction)
            return
        self.pairs += 1
        for index in {before, after}:
            if self._stamps[index] not in self._used:
                self._used.add(self._stamps[index])
                self.paired_truths += 1
        yield Pair(prediction, self._truths[before], self._truths[after])

    def _forget(self) -> None:
        last = self._last[PREDICTION]
        if last is None:
            spare = len(self._stamps) - self.most_waiting
        else:
            # The last one before the latest prediction is still needed.
            oldest = self._predictions[0].stamp_ns if self._predictions else last
            spare = bisect_left(self._stamps, oldest) - 1
        if spare < 64:
            return
        for stamp in self._stamps[:spare]:
            first = self._first[PREDICTION]
            if stamp in self._used:
                self._used.discard(stamp)
            elif first is not None and stamp >= first:
                self._lonely[TRUTH] += 1
        del self._stamps[:spare], self._truths[:spare]

    def _waiting(self, side: Side) -> Iterator[Sample[T]]:
        if side == PREDICTION:
            yield from self._predictions
        else:
            yield from (one for one in self._truths if one.stamp_ns not in self._used)

    def _why(self, stamp: int) -> str:
        return f'it lies between no two true messages within {self._gap / 1e6:g} ms'


def pairing_of(association: Association) -> Pairing[Any]:
    """Return the pairing that a spec's ``association`` asks for."""
    if association.nearest is not None:
        return NearestPairing(association.nearest)
    if association.interpolate is not None:
        return BracketPairing(association.interpolate)
    return ExactPairing()
