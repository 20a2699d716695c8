"""Which objects a slice is about, and what went wrong with those of a frame, in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from robot_qa.monitors.accuracy_task import Bools
from robot_qa.monitors.detection_scores import settings_of, threshold_of
from robot_qa.monitors.objects_from_messages import Names, Objects
from robot_qa.perception.association import Candidates, match, pairs_within
from robot_qa.perception.objects import Floats, Ints
from robot_qa.perception.settings import Settings
from robot_qa.spec.perception_parts import Where


@dataclass(frozen=True)
class Frame:
    """One evaluated pair, decoded."""

    predicted: Objects
    true: Objects


def fits(where: Where, objects: Objects) -> tuple[Bools, Bools]:
    """Return which objects fit everything but the class, and of which that is not known."""
    inside, unknown = np.ones(len(objects), bool), np.zeros(len(objects), bool)
    for key in ('distance', 'occlusion', 'truncation'):
        limits = getattr(where, key)
        if limits is not None:
            values = objects.known.get(key, np.full(len(objects), np.nan))
            unknown |= np.isnan(values)
            inside &= _in(values, limits)
    if where.size is not None and objects.boxes.shape[1] == 4:
        inside &= _in(objects.boxes[:, 2] * objects.boxes[:, 3], where.size)
    if where.side is not None and objects.boxes.shape[1] == 4:
        inside &= _in(objects.boxes[:, 2:].min(axis=1, initial=np.inf), where.side)
    return inside, unknown


def fitting(wheres: list[Where], objects: Objects, labels: Ints, names: Names) -> Bools:
    """Return which objects fit one of several descriptions; ``labels`` are their classes."""
    ignored = np.zeros(len(objects), bool)
    for where in wheres:
        inside, _ = fits(where, objects)
        if where.class_ is not None:
            inside &= np.isin(labels, names.numbers(where.class_, {}))
        ignored |= inside
    return ignored


def _in(values: Floats, limits: Any) -> Bools:
    # A rounding error of an area or a share must not move an object out of its slice.
    low = -np.inf if limits.min is None else limits.min - 1e-9
    high = np.inf if limits.max is None else limits.max + 1e-9
    inside: Bools = (values >= low) & (values <= high)
    return inside


def told(spec: Any, names: Names, frame: Frame, where: Where | None) -> list[str]:
    """Say what was missed in a frame, and what is not there."""
    true, predicted = frame.true, frame.predicted
    labels = names.numbers(true.names)
    found = names.numbers(predicted.names, spec.predicted_labels)
    counts = (labels >= 0) & ~fitting(spec.ignore, true, labels, names)
    if where is not None:
        counts &= fitting([where], true, labels, names)
    settings, least = settings_of(spec), threshold_of(spec)
    overlaps = _overlaps(predicted.boxes, true.boxes, settings)
    if settings.distances:
        # More is better, and nearer than the threshold is near enough, as in `Evaluator`.
        overlaps, least = -overlaps, float(np.nextafter(-least, np.inf))
    taken = _taken(overlaps, np.where(predicted.scores >= spec.score, found, -1), labels,
                   predicted.scores, least)
    texts = []
    for row in np.flatnonzero(counts & ~np.isin(np.arange(len(true)), taken)).tolist():
        near = (overlaps[:, row] >= least) & (found == labels[row])
        best = (f'score of best {predicted.scores[near].max():.2f}' if near.any()
                else _nearest(overlaps[:, row], found, names, settings.distances))
        texts.append(f'{names[int(labels[row])]} at {_place(true.boxes[row])} missed, '
                     f'{best}')
    for row in np.flatnonzero((predicted.scores >= spec.score) & (taken < 0)
                              & (found >= 0)).tolist():
        texts.append(f'{names[int(found[row])]} at {_place(predicted.boxes[row])} with '
                     f'score {predicted.scores[row]:.2f} is not there')
    return texts


def _overlaps(predicted: Floats, true: Floats, settings: Settings) -> Floats:
    """Return the overlap, or the distance, of each detection and each true box; (n, m)."""
    first, second = np.indices((len(predicted), len(true))).reshape(2, -1)
    none = np.zeros(len(first), bool)
    overlaps: Floats = settings.overlap(predicted[first], true[second], none)
    return overlaps.reshape(len(predicted), len(true))


def _taken(overlaps: Floats, found: Ints, labels: Ints, scores: Floats, least: float) -> Ints:
    """Return the true object that each detection of a class takes, or -1; those below 0 none."""
    taken = np.full(len(found), -1)
    sure = np.flatnonzero(found >= 0)
    sure = sure[np.lexsort((-scores[sure], found[sure]))]
    order = np.argsort(labels, kind='stable')
    if len(sure) == 0 or len(order) == 0:
        return taken
    first, second = pairs_within(found[sure], labels[order])
    none = np.zeros((1, len(order)), bool)
    got = match(Candidates(first, second, overlaps[sure[first], order[second]]), len(sure),
                np.array([least]), none, none[0])[0, 0]
    taken[sure] = np.where(got >= 0, order[got], -1)
    return taken


def _nearest(overlaps: Floats, found: Ints, names: Names, distances: bool) -> str:
    """Say what lies on a true box instead, or nearest to it."""
    if len(overlaps) == 0 or (overlaps.max() <= 0.0 and not distances):
        return 'nothing was detected there'
    best = int(overlaps.argmax())
    name = names[int(found[best])] if found[best] >= 0 else 'another class'
    if distances:
        return f'nearest to it is {name}, {-overlaps[best]:.2f} m away'
    return f'best there is {name} with an IoU of {overlaps[best]:.2f}'


def _place(box: Floats) -> str:
    if len(box) == 7:
        return f'{box[0]:.1f}, {box[1]:.1f}, {box[2]:.1f} m'
    return f'{box[0] + box[2] / 2:.0f},{box[1] + box[3] / 2:.0f}'
