"""One-to-one matching of predictions and truth, for all thresholds and size ranges at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from robot_qa.perception.objects import Bools, Floats, Ints


def pairs_within(prediction_groups: Ints, truth_groups: Ints) -> tuple[Ints, Ints]:
    """Return all pairs of a prediction and a truth of one group, as two columns of rows.

    The groups are those of the predictions (n,), in any order, and of the truth (m,), ascending.
    The pairs come in the order of the predictions, those of one in the order of the truth.
    """
    first = np.searchsorted(truth_groups, prediction_groups, 'left')
    counts = np.searchsorted(truth_groups, prediction_groups, 'right') - first
    before = np.cumsum(counts) - counts
    predictions = np.repeat(np.arange(len(counts)), counts)
    truths = np.arange(len(predictions)) + np.repeat(first - before, counts)
    return predictions, truths


@dataclass(frozen=True)
class Candidates:
    """Pairs of a prediction and a truth that could be matched, and how well they fit; each (p,).

    The predictions ascend; within one group a lower number means more certain.
    """

    predictions: Ints
    truths: Ints
    quality: Floats

    def sorted_from(self, least: float) -> Candidates:
        """Return those of at least this quality, the best of each prediction first."""
        good = np.flatnonzero(self.quality >= least)
        # Of two truths that fit equally well, COCO takes the later one.
        order = np.lexsort((-self.truths[good], -self.quality[good], self.predictions[good]))
        good = good[order]
        return Candidates(self.predictions[good], self.truths[good], self.quality[good])


def match(
    candidates: Candidates, count: int, thresholds: Floats, ignored: Bools, shared: Bools
) -> Ints:
    """Let every prediction, the surest first, take the best truth that is still free.

    For each of the ``thresholds`` (t,) and each row of ``ignored`` (a, m), truth that does not
    count, a match needs at least the threshold's quality; truth that counts is preferred to any
    that does not, then the better quality. What is ``shared`` (m,) is always free.

    Returns, for ``count`` predictions, the truth of each or -1; shape (t, a, count).

    This is the greedy assignment of the COCO evaluation (T.-Y. Lin et al., "Microsoft COCO: Common
    objects in context", ECCV 2014, and its reference code). Taking turns by certainty is the
    stable matching in which every truth prefers the surer prediction, so it is found by proposals
    (D. Gale and L. Shapley, "College admissions and the stability of marriage", American
    Mathematical Monthly 69, 1962), for all groups, thresholds and ranges side by side.
    """
    ranges, truth_count = ignored.shape
    taken = np.full((len(thresholds) * ranges, count), -1)
    good = candidates.sorted_from(float(thresholds.min()))
    if len(good.quality) == 0:
        return taken.reshape(len(thresholds), ranges, count)
    # The wish lists of all predictions, once per range: truth that counts stands before the rest.
    list_of = 2 * good.predictions + ignored[:, good.truths]
    list_of += np.arange(0, 2 * count * ranges, 2 * count)[:, None]
    wishes = np.argsort(list_of, axis=None, kind='stable')
    of_range, pair = np.divmod(wishes, len(good.quality))
    threshold, wish = np.nonzero(good.quality[pair] >= thresholds[:, None])
    column = threshold * ranges + of_range[wish]
    pair = pair[wish]
    # One suitor is one prediction in one column; the surer has the lower number.
    key = column * count + good.predictions[pair]
    start = np.flatnonzero(np.r_[True, key[1:] != key[:-1]])
    slot = column * truth_count + good.truths[pair]
    common = np.flatnonzero(shared[good.truths[pair]])
    # Shared truth has a place for every wish.
    slot[common] = len(taken) * truth_count + np.arange(len(common))
    at = _proposals(slot, start, len(taken) * truth_count + len(common))
    won = np.flatnonzero(at >= 0)
    taken.reshape(-1)[key[start[won]]] = good.truths[pair[at[won]]]
    return taken.reshape(len(thresholds), ranges, count)


def _proposals(slot: Ints, start: Ints, slots: int) -> Ints:
    """Return which of its wishes each suitor gets, or -1; suitor i's begin at ``start[i]``."""
    suitors = len(start)
    end = np.append(start[1:], len(slot))
    at = start.copy()
    held = np.full(slots, suitors)
    asking = np.arange(suitors)
    while len(asking):
        wanted = slot[at[asking]]
        before = held[wanted]
        np.minimum.at(held, wanted, asking)
        after = held[wanted]
        displaced = before[(before != after) & (before < suitors)]
        refused = np.concatenate((asking[after != asking], np.unique(displaced)))
        at[refused] += 1
        asking = refused[at[refused] < end[refused]]
    at[at >= end] = -1
    return at
