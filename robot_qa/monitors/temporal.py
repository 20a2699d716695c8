"""Rules over time: always, never, eventually within, after something then (or holds) another.

Signal temporal logic over signals that hold each value until the next sample: O. Maler and
D. Nickovic, "Monitoring temporal properties of continuous signals", FORMATS 2004, with the
margins of ``signals.py``. All rules are hard: one moment at which a rule is broken fails it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from robot_qa.monitors.base import (
    EVIDENCE_KEPT,
    Check,
    Context,
    Evidence,
    Findings,
    Limit,
    Measurement,
    Monitor,
    exact,
    missing,
)
from robot_qa.monitors.signals import (
    TINY,
    Floats,
    Held,
    Key,
    Scene,
    Signal,
    Texts,
    Trace,
    Track,
    check_kinds,
    keys_of,
)
from robot_qa.probes.batch import Batch, Int64s, Observation
from robot_qa.spec.model import TestSpec
from robot_qa.spec.rules import Condition, Rule
from robot_qa.timebase import NS_PER_S, format_ns

NO_CLOCK = 'no tick of /clock came, so simulated time is not known'
# Clocks of two hosts may be this far apart before send times are not trusted at all.
CLOCKS_APART = NS_PER_S


def temporal_monitors(spec: TestSpec, context: Context) -> list[Monitor]:
    """Return one monitor per rule."""
    return [TemporalMonitor(name, rule, context) for name, rule in spec.rules.items()]


@dataclass(frozen=True)
class Outcome:
    """What came of a rule: the least margin, how often it was asked, and where it broke.

    ``margin`` is None where nothing is decided, and ``reason`` then says why.
    """

    margin: float | None
    count: int
    found: Findings
    reason: str = ''


class TemporalMonitor:
    """One rule. Keeps a few numbers per message, and judges the whole observation when asked."""

    looks_back = True

    def __init__(self, name: str, rule: Rule, context: Context) -> None:
        self._rule = rule
        self._clock = context.clock if rule.basis == 'header' else None
        self._texts = Texts()
        self._signals: dict[Key, Signal] = {
            key: Signal(key, context, self._texts)
            for condition in rule.conditions() for key in keys_of(condition)
        }
        self.topics = list(dict.fromkeys(key[0] for key in self._signals))
        self._tracks = {
            topic: Track(
                {key: one for key, one in self._signals.items() if key[0] == topic},
                rule.basis, context,
            )
            for topic in self.topics
        }
        # Without a time limit only the end tells that something did not come.
        at_end = rule.eventually is not None and rule.within is None
        self.checks = [
            Check(f'rules.{name}', self.topics[0], Limit('min', 0.0), 'margin', at_end)
        ]

    def update(self, batch: Batch) -> None:
        """Keep what the rule compares in the batch.

        Raises FieldPathError when the type has no such field, or one that cannot be compared.
        """
        first = not len(self._tracks[batch.topic])
        self._tracks[batch.topic].update(batch)
        if first:
            check_kinds(self._rule.conditions(), self._signals)

    def measure(self, seen: Observation) -> list[Measurement]:
        """Return the least margin of the rule; from infinite ones only whether it held."""
        check = self.checks[0]
        start, end = seen.start_ns, seen.end_ns
        if self._clock is not None:
            ticks = self._clock.simulated.values
            if not len(ticks):
                return [missing(check, 0, NO_CLOCK)]
            start, end = int(ticks[0]), int(ticks[-1])
        held: dict[str, Held] = {}
        for topic, track in self._tracks.items():
            if not len(track):
                return [missing(replace(check, topic=topic), 0)]
            if self._clock is None and track.foreign(start, CLOCKS_APART):
                return [missing(check, len(track), _foreign(topic, self._rule.basis))]
            held[topic] = track.held(start, end)
            if not len(held[topic].times):
                reason = f'no message on {topic} within the observation'
                return [missing(check, len(track), reason)]
        scene = Scene(held, self._signals, self._texts)
        return [_measurement(check, _evaluate(self._rule, scene, start, end))]


def _foreign(topic: str, basis: str) -> str:
    times = 'header stamps' if basis == 'header' else 'send times'
    return (
        f'the {times} on {topic} are more than {format_ns(CLOCKS_APART)} off the clock of this '
        'host; "basis: arrival" would use the time of reception'
    )


def _measurement(check: Check, outcome: Outcome) -> Measurement:
    margin = outcome.margin
    if margin is None:
        return missing(check, outcome.count, outcome.reason)
    # What has come can no longer fail to come.
    check = replace(check, at_end=check.at_end and margin < 0)
    if np.isinf(margin):
        check = replace(check, unit='truth', limit=Limit('min', 1.0))
        margin = float(margin > 0)
    elif abs(margin) <= TINY:
        margin = 0.0
    return exact(check, margin, outcome.count, outcome.found)


def _evaluate(rule: Rule, scene: Scene, start: int, end: int) -> Outcome:
    if rule.always is not None:
        return _always(scene, rule.always, end, negated=False)
    if rule.never is not None:
        return _always(scene, rule.never, end, negated=True)
    if rule.eventually is not None:
        return _eventually(scene, rule.eventually, start, end, rule.within)
    assert rule.after is not None
    if rule.then is not None:
        return _then(scene, rule.after, rule.then, rule.within or 0, end)
    assert rule.holds is not None
    return _holds(scene, rule.after, rule.holds, rule.for_ or 0, end)


def _always(scene: Scene, condition: Condition, end: int, *, negated: bool) -> Outcome:
    """G condition, from the moment at which it is known to the end; one finding per episode."""
    trace = scene.trace(condition, negated=negated)
    broken = np.concatenate(([False], trace.margins < 0, [False]))
    firsts = np.flatnonzero(broken[1:] & ~broken[:-1])
    lasts = np.flatnonzero(broken[:-1] & ~broken[1:])
    until = np.append(trace.times, end)
    kept = []
    for first, last in zip(firsts[:EVIDENCE_KEPT], lasts[:EVIDENCE_KEPT], strict=True):
        worst = int(first + np.argmin(trace.margins[first:last]))
        values = scene.describe(condition, int(trace.times[worst]))
        length = format_ns(int(until[last] - trace.times[first]))
        kept.append(_evidence(trace, worst, f'{values} (for {length})'))
    found = Findings(len(firsts), kept)
    return Outcome(float(trace.margins.min()), len(trace.times), found)


def _eventually(
    scene: Scene, condition: Condition, start: int, end: int, within: int | None
) -> Outcome:
    """F condition, from the start of the observation on; asked from where it is known."""
    trace = scene.trace(condition)
    deadline = end if within is None else start + within
    count = int(np.searchsorted(trace.times, deadline, side='right'))
    if not count:
        reason = f'nothing to judge by came within {format_ns(deadline - start)}'
        return Outcome(None, 0, Findings(), reason)
    best = int(np.argmax(trace.margins[:count]))
    margin = float(trace.margins[best])
    if margin < 0 and deadline > end:
        watched, wanted = format_ns(end - start), format_ns(deadline - start)
        reason = f'not yet true; {watched} of {wanted} were watched'
        return Outcome(None, count, Findings(), reason)
    if margin > 0:
        return Outcome(margin, count, Findings())
    values = scene.describe(condition, int(trace.times[best]))
    text = f'{values} at best, {format_ns(int(trace.times[best]) - start)} after the start'
    return Outcome(margin, count, Findings(1, [_evidence(trace, best, text)]))


def _then(scene: Scene, after: Condition, then: Condition, within: int, end: int) -> Outcome:
    """G (rise(after) -> F[0, within] then)."""
    cause, effect = scene.trace(after), scene.trace(then)
    happened = _rises(cause)
    fit = (happened >= effect.times[0]) & (happened + within <= end)
    windows = _Windows(effect, happened[fit], within)
    margins = range_max(effect.margins, windows.first, windows.last)
    kept = []
    for moment, best in windows.broken(margins, np.argmax):
        values = scene.describe(then, max(moment, int(effect.times[best])))
        text = (
            f'after {scene.describe(after, moment)}: {values} at best within {format_ns(within)}'
        )
        index = int(np.searchsorted(cause.times, moment))
        kept.append(replace(_evidence(effect, best, text), stamp_ns=int(cause.received[index])))
    return _answered(margins, len(happened), kept, within)


def _holds(scene: Scene, after: Condition, holds: Condition, span: int, end: int) -> Outcome:
    """G (rise(after) -> G[0, span] holds); a window that the end cuts counts if it is broken."""
    cause, effect = scene.trace(after), scene.trace(holds)
    happened = _rises(cause)
    known = happened[happened >= effect.times[0]]
    windows = _Windows(effect, known, span)
    margins = -range_max(-effect.margins, windows.first, windows.last)
    counted = (known + span <= end) | (margins < 0)
    windows, margins = _Windows(effect, known[counted], span), margins[counted]
    kept = []
    for moment, worst in windows.broken(margins, np.argmin):
        at = max(moment, int(effect.times[worst]))
        values = scene.describe(holds, at)
        text = f'after {scene.describe(after, moment)}: {values}, {format_ns(at - moment)} later'
        kept.append(_evidence(effect, worst, text))
    return _answered(margins, len(happened), kept, span)


class _Windows:
    """The pieces ``first`` to ``last`` of a trace that each span after a moment touches."""

    def __init__(self, trace: Trace, moments: Int64s, span: int) -> None:
        self._margins = trace.margins
        self._moments = moments
        self.first: Int64s = np.searchsorted(trace.times, moments, side='right') - 1
        self.last: Int64s = np.searchsorted(trace.times, moments + span, side='right') - 1

    def broken(
        self, margins: Floats, pick: Callable[[Floats], np.intp]
    ) -> Iterator[tuple[int, int]]:
        """Yield the moments of the first broken windows, and the piece of each that is shown."""
        for index in np.flatnonzero(margins < 0)[:EVIDENCE_KEPT].tolist():
            first, last = int(self.first[index]), int(self.last[index])
            yield int(self._moments[index]), first + int(pick(self._margins[first:last + 1]))


def range_max(values: Floats, first: Int64s, last: Int64s) -> Floats:
    """Return the maximum of ``values[first[k]:last[k] + 1]`` for every k; no range is empty.

    A sparse table, in which every range is covered by two that are a power of two long: M. Bender
    and M. Farach-Colton, "The LCA problem revisited", LATIN 2000.
    """
    found = np.empty(len(first))
    levels = np.log2(last - first + 1).astype(np.int64)
    table = values
    for level in range(int(levels.max(initial=-1)) + 1):
        if level:
            half = 1 << (level - 1)
            table = np.maximum(table[:-half], table[half:])
        rows = levels == level
        found[rows] = np.maximum(table[first[rows]], table[last[rows] - (1 << level) + 1])
    return found


def _answered(margins: Floats, happened: int, kept: list[Evidence], span: int) -> Outcome:
    if len(margins):
        found = Findings(int((margins < 0).sum()), kept)
        return Outcome(float(margins.min()), len(margins), found)
    if not happened:
        return Outcome(None, 0, Findings(), 'never happened: "after" did not become true')
    times = 'once' if happened == 1 else f'{happened} times'
    return Outcome(
        None, 0, Findings(), f'"after" became true {times}, but what must follow was not watched '
        f'for all of {format_ns(span)}',
    )


def _rises(trace: Trace) -> Int64s:
    """Return when a condition becomes true: it is, and just before it was not, or not known."""
    true = trace.margins > 0
    return trace.times[true & ~np.concatenate(([False], true[:-1]))]


def _evidence(trace: Trace, index: int, text: str) -> Evidence:
    margin = float(trace.margins[index])
    shown = 0.0 if abs(margin) <= TINY else margin
    return Evidence(int(trace.received[index]), shown if np.isfinite(shown) else None, text)
