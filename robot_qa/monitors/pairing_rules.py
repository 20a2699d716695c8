"""The rules by which predictions and truth are paired: equal stamps, nearest, interpolated."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterator
from typing import Any

from robot_qa.monitors.pairing import (
    MOST_WAITING,
    PATIENCE_NS,
    PREDICTION,
    TRUTH,
    Pair,
    Pairing,
    Sample,
    Side,
    T,
)
from robot_qa.spec.perception_parts import Association
from robot_qa.timebase import NS_PER_S

# Of so many true messages the stamps are kept for the hint by how much stamps are apart.
MOST_FIRST = 256


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
            prediction, truth = (sample, partner) if side == PREDICTION else (partner, sample)
            self._paired[TRUTH].append(truth.received_ns)
            yield self._pair(prediction, truth, truth)
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
            waiting, last = self._by_stamp[side], self._last[other]
            while waiting:
                # The oldest entry is the first that was put in, give or take what came late.
                stamp = next(iter(waiting))
                gone = last is not None and stamp < last - PATIENCE_NS
                if not gone and len(waiting) <= self.most_waiting:
                    break
                for sample in waiting.pop(stamp):
                    self._give_up(side, sample)


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
                found = self._samples[TRUTH][truth]
                self._paired[TRUTH].append(found.received_ns)
                self._used.add(id(found))
                yield self._pair(prediction, found, found)
            else:
                self._give_up(PREDICTION, prediction)
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
                     max(bisect_left(self._stamps[TRUTH], oldest - self._margin),
                         len(self._stamps[TRUTH]) - self.most_waiting)]
        for side, count in ((PREDICTION, spare[0]), (TRUTH, spare[1])):
            if count < 64:
                continue
            for sample in self._samples[side][:count] if side == TRUTH else ():
                if id(sample) in self._used:
                    self._used.discard(id(sample))
                else:
                    self._give_up(TRUTH, sample)
            del self._samples[side][:count], self._stamps[side][:count]
            if side == PREDICTION:
                self._next -= count

    def _waiting(self, side: Side) -> Iterator[Sample[T]]:
        # A prediction that is not settled yet, and a truth near to it, may still be paired.
        if side == PREDICTION:
            yield from (one for one in self._samples[PREDICTION][self._next:]
                        if self._nearest(TRUTH, one.stamp_ns) < 0)
        else:
            yield from (one for one in self._samples[TRUTH] if id(one) not in self._used
                        and self._nearest(PREDICTION, one.stamp_ns) < self._next)

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
            self._give_up(PREDICTION, prediction)
            return
        if self._stamps[after] - self._stamps[before] > self._gap:
            self._give_up(PREDICTION, prediction)
            return
        for index in {before, after}:
            if self._stamps[index] not in self._used:
                self._used.add(self._stamps[index])
                self._paired[TRUTH].append(self._truths[index].received_ns)
        yield self._pair(prediction, self._truths[before], self._truths[after])

    def _forget(self) -> None:
        last = self._last[PREDICTION]
        if last is None:
            spare = len(self._stamps) - self.most_waiting
        else:
            # The last one before the latest prediction is still needed.
            oldest = self._predictions[0].stamp_ns if self._predictions else last
            spare = max(bisect_left(self._stamps, oldest) - 1,
                        len(self._stamps) - self.most_waiting)
        if spare < 64:
            return
        for truth in self._truths[:spare]:
            if truth.stamp_ns in self._used:
                self._used.discard(truth.stamp_ns)
            else:
                self._give_up(TRUTH, truth)
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
