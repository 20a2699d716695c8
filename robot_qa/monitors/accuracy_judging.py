"""From the scores of a perception task to the measurements of its checks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from robot_qa.monitors.accuracy_task import Score
from robot_qa.monitors.base import Check, Evidence, Limit, Measurement, missing
from robot_qa.spec.perception_metrics import METRICS
from robot_qa.stats import Confidence, samples_for_share

# Beyond so many runs of this length, a value is too close to its limit.
MOST_TIMES = 100.0


@dataclass(frozen=True)
class Wanted:
    """A check on a metric: in one slice, in the worst of several, or by how much it drops."""

    check: Check
    metric: str
    slices: tuple[str | None, ...]
    base: str | None = None


class Source(Protocol):
    """What gives scores: a metric in a slice, and the worst frames of it."""

    kind: str

    @property
    def confidence(self) -> Confidence:
        """How sure bounds have to be."""

    def score(
        self, metric: str, name: str | None, confidence: Confidence, bounded: bool
    ) -> Score:
        """Return a metric in a slice."""

    def evidence(self, metric: str, name: str | None) -> tuple[Evidence, ...]:
        """Return the worst frames of a slice."""

    @property
    def last_received_ns(self) -> int:
        """When the last evaluated prediction was received, system clock."""


class Scores:
    """The measurements of one moment; each score is worked out once."""

    def __init__(self, monitor: Source, bounded: bool) -> None:
        self._monitor = monitor
        self._bounded = bounded
        self._known: dict[tuple[str, str | None, float], Score] = {}

    def measurement(self, one: Wanted) -> Measurement:
        """Return one of the wanted measurements."""
        level = self._monitor.confidence.level
        if one.base is not None:
            found = [(self._drop(one, name), name) for name in one.slices]
        else:
            found = [(self._score(one.metric, name, level), name) for name in one.slices]
        score, worst = found[0] if len(found) == 1 else self._worst(one, found)
        if score.value is None:
            # A drop names the part itself.
            named = worst and len(found) > 1 and one.base is None
            where = f'{worst}: ' if named else ''
            return missing(one.check, score.frames, f'{where}{score.reason}')
        evidence = self._monitor.evidence(one.metric, worst)
        if len(found) > 1 or one.base is not None:
            parts = ', '.join(
                f'{name} {shown(part.value, one.check.unit)}' for part, name in found
                if part.value is not None)
            stamp = evidence[0].stamp_ns if evidence else self._monitor.last_received_ns
            note = Evidence(stamp, score.value, f'worst in {worst}: {parts}')
            # The worst frames of that slice are told where it has a limit of its own.
            evidence = (note, *evidence[:1])
        return settled(one.check, score, evidence, self._monitor.confidence)

    def _score(self, metric: str, name: str | None, level: float) -> Score:
        key = metric, name, level
        if key not in self._known:
            confidence = replace(self._monitor.confidence, level=level)
            self._known[key] = self._monitor.score(metric, name, confidence, self._bounded)
        return self._known[key]

    def _worst(
        self, one: Wanted, found: list[tuple[Score, str | None]]
    ) -> tuple[Score, str | None]:
        """Return the worst of several scores, with bounds on what the worst one truly is.

        All slices keep a limit if each does, so that side needs no correction; that one of k is
        proven to break it does (C. Bonferroni, 1936).
        """
        for score, name in found:
            if score.value is None:
                return score, name
        side = 1.0 if one.check.limit.side == 'max' else -1.0
        level = 1.0 - (1.0 - self._monitor.confidence.level) / len(found)
        pick = max if side > 0 else min
        score, name = pick(found, key=lambda pair: pair[0].value or 0.0)
        strict = [
            self._drop(one, part, level) if one.base is not None
            else self._score(one.metric, part, level) for _, part in found
        ]
        lows = [part.low for part in (strict if side > 0 else [part for part, _ in found])]
        highs = [part.high for part in (strict if side < 0 else [part for part, _ in found])]
        if side > 0:
            low = pick((x for x in lows if x is not None), default=None)
            high = None if None in highs else pick(x for x in highs if x is not None)
        else:
            high = pick((x for x in highs if x is not None), default=None)
            low = None if None in lows else pick(x for x in lows if x is not None)
        fewest = min((part for part, _ in found), key=lambda part: part.effective)
        reason = next((f'{part}: {one.reason}' for one, part in found if one.reason), '')
        return replace(score, low=low, high=high, frames=fewest.frames,
                       effective=fewest.effective, reason=reason), name

    def _drop(self, one: Wanted, name: str | None, level: float | None = None) -> Score:
        """Return by which part a metric is worse in a slice than in the base.

        Both are other frames of the run, so that each gets half of the error.
        """
        sure = 1.0 - (1.0 - (level or self._monitor.confidence.level)) / 2.0
        base = self._score(one.metric, one.base, sure)
        part = self._score(one.metric, name, sure)
        for score, what in ((base, one.base), (part, name)):
            if score.value is None:
                return Score.none(f'{what}: {score.reason}', score.frames)
        assert base.value is not None and part.value is not None
        if base.value <= 0.0:
            return Score.none(f'{one.base}: the {one.metric} is 0, so nothing can drop',
                              base.frames)
        falls = METRICS[self._monitor.kind][one.metric].side == 'min'

        def drop(now: float | None, before: float | None) -> float | None:
            if now is None or before is None:
                return None
            if before <= 0.0:
                return 1.0 if falls else None
            return 1.0 - now / before if falls else now / before - 1.0

        value = drop(part.value, base.value)
        best, worst = ((part.high, base.low), (part.low, base.high))
        low, high = (drop(*best), drop(*worst)) if falls else (
            drop(part.low, base.high), drop(part.high, base.low))
        fewer = min((base, part), key=lambda score: score.effective)
        return Score(value, low, high, fewer.frames, fewer.effective,
                     base.reason or part.reason)


def settled(
    check: Check, score: Score, evidence: tuple[Evidence, ...], confidence: Confidence
) -> Measurement:
    """Return the measurement of a score."""
    assert score.value is not None
    if score.reason and not _broken(score, check.limit):
        return missing(check, score.frames, score.reason)
    if score.exact:
        return Measurement(check, score.value, score.value, score.value, score.frames,
                           evidence=evidence,
                           violations=int(score.value > check.limit.value))
    needed = _needed(score, check.limit, confidence)
    return Measurement(check, score.value, score.low, score.high, score.frames, score.effective,
                       needed, evidence)


def _broken(score: Score, limit: Limit) -> bool:
    """Tell whether the bounds of a score prove that it breaks a limit."""
    if limit.side == 'min':
        return score.high is not None and score.high < limit.value
    return score.low is not None and score.low > limit.value


def _needed(score: Score, limit: Limit, confidence: Confidence) -> int | None:
    """Return how many frames in all would decide, if things go on as they are."""
    assert score.value is not None
    if score.lacks:
        return score.frames + score.lacks
    if score.low is None or score.high is None:
        return None
    if 0.0 <= limit.value <= 1.0 and 0.0 <= score.value <= 1.0 and score.value in (0.0, 1.0):
        share, border = (1.0 - score.value, 1.0 - limit.value) if limit.side == 'min' else (
            score.value, limit.value)
        trials = samples_for_share(share, border, confidence)
        return None if trials is None else int(np.ceil(trials * score.time))
    distance = abs(score.value - limit.value)
    above = score.value > limit.value
    width = score.value - score.low if above else score.high - score.value
    # Bounds get narrower with the square root of the frames.
    times = max(1.0, (width / distance) ** 2) if distance > 0.0 else np.inf
    return int(np.ceil(score.frames * times)) if times <= MOST_TIMES else None


def wanted_checks(name: str, spec: Any, labels: list[str]) -> Iterator[Wanted]:
    """Yield the checks on metrics, in the order of the spec's keys."""
    if spec.metrics is not None:
        yield from _metric_checks(f'{name}.metrics', spec, spec.metrics, (None,))
    for slice_name, part in spec.slices.items():
        yield from _metric_checks(f'{name}.slices.{slice_name}', spec, part, (slice_name,))
    if spec.worst_slice is not None:
        every = tuple(dict.fromkeys([*labels, *spec.slices]))
        yield from _metric_checks(f'{name}.worst_slice', spec, spec.worst_slice, every)
    for base, drops in spec.drop_from.items():
        others = tuple(label for label in labels if label != base)
        for metric in drops.limits():
            limit = Limit('max', getattr(drops, metric).max)
            yield Wanted(
                Check(f'{name}.drop_from.{base}.{metric}.max', spec.predictions, limit, 'ratio'),
                metric, others, base)


def _metric_checks(
    name: str, spec: Any, limits: Any, slices: tuple[str | None, ...]
) -> Iterator[Wanted]:
    for metric in limits.limits():
        about = METRICS[spec.kind][metric]
        limit = Limit(about.side, float(getattr(getattr(limits, metric), about.side)))
        check = Check(f'{name}.{metric}.{about.side}', spec.predictions, limit, about.shown_unit)
        yield Wanted(check, metric, slices)



def shown(value: float, unit: str) -> str:
    """Write a value in its unit, for people."""
    return f'{100 * value:.3g} %' if unit == 'ratio' else f'{value:.4g} {unit}'.rstrip()
