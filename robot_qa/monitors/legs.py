"""One leg of a path, the whole of it or a stage: how long inputs took, and which were missed."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from robot_qa import stats
from robot_qa.monitors.base import Check, Findings, Limit, Measurement, exact, missing
from robot_qa.monitors.clocks import Clocks, clauses, judged_despite
from robot_qa.monitors.latency import NO_CLOCK
from robot_qa.monitors.matching import ABSENT, UNKNOWN, UNSET, Joined
from robot_qa.monitors.samples import Samples, quantile_checks
from robot_qa.probes.batch import Int64s, Observation
from robot_qa.spec.paths import Path, Stage
from robot_qa.timebase import NS_PER_S, format_ns

Mask = NDArray[np.bool_]
# A row of misses that lasts longer is more than one event; see `Leg._missed`.
LONGEST_ROW_NS = NS_PER_S


@dataclass(frozen=True)
class Scene:
    """What the legs of a path are measured from.

    ``waited`` is how long each input has been waited for by the end, in ns, shape (n,). ``apart``
    says which clocks cannot be compared; empty where they can. ``clocks`` knows those of hosts.
    """

    joined: Joined
    seen: Observation
    waited: Int64s
    apart: str
    clocks: Clocks


@dataclass(frozen=True)
class Outcome:
    """What came of the inputs of a leg, in the order of their reception; all of shape (n,).

    ``latency`` (ns) holds where ``known``. ``came`` is out in time, ``late`` out after the
    timeout, ``gone`` not out although the timeout has passed; an input that is none of the three
    is still under way. ``missed`` are those late and gone that were not dropped by design.
    """

    stamps: Int64s
    received: Int64s
    latency: Int64s
    known: Mask
    came: Mask
    late: Mask
    gone: Mask
    missed: Mask

    def __len__(self) -> int:
        return len(self.stamps)


class Leg:
    """From one topic of a path to another one, given by their indices."""

    def __init__(
        self, name: str, ends: tuple[int, int], limits: Stage, path: Path,
        confidence: stats.Confidence,
    ) -> None:
        self._ends = ends
        self._from, self._to = path.topics[ends[0]], path.topics[ends[1]]
        self._limits = limits
        self._patience = path.patience
        self._confidence = confidence
        self._latency_checks, self._quantiles = quantile_checks(name, self._from, limits)
        self._missed_checks = [] if limits.missed is None else [Check(
            f'{name}.missed.max', self._from, Limit('max', limits.missed.max), 'ratio')]
        self.checks = [*self._latency_checks, *self._missed_checks]
        # Where no "missed" judges them, inputs that are gone took at least the timeout. What a
        # stage loses is lost to the path, which has a limit of its own.
        self._gone_take_time = limits.missed is None and limits is path

    def measure(self, scene: Scene) -> list[Measurement]:
        """Return what the inputs came to, as of the end of the observation."""
        doubt = scene.clocks.between(self._from, self._to)
        outcome = self._outcome(scene, 0)
        found = self._measured(outcome, scene)
        shifts = [doubt.low, doubt.high] if (doubt.low, doubt.high) != (0, 0) else []
        others = [self._measured(self._outcome(scene, theta), scene) for theta in shifts]
        said = _summary(outcome)
        measured = []
        for index, one in enumerate(found):
            judged = self._judged(one, outcome, scene)
            if judged.value is not None:
                judged = replace(judged, reason=judged.reason or said)
                judged = judged_despite(judged, doubt, [other[index] for other in others])
            elif one.value is not None or outcome.late.any():
                judged = replace(judged, reason=clauses(
                    [judged.reason, doubt.blame or doubt.note]))
            measured.append(replace(judged, reason=judged.reason or said))
        return measured

    def _measured(self, outcome: Outcome, scene: Scene) -> list[Measurement]:
        return self._latencies(outcome, scene) + [
            self._missed(check, outcome, scene.seen) for check in self._missed_checks
        ]

    def _outcome(self, scene: Scene, theta: int) -> Outcome:
        """Return what came of the inputs if all latencies are ``theta`` more than measured."""
        joined = scene.joined
        begun = joined.times[:, self._ends[0]] != ABSENT
        start, end = (joined.times[begun, index] for index in self._ends)
        received = joined.received[begun]
        out = end != ABSENT
        known = (start > UNKNOWN) & (end > UNKNOWN)
        latency = np.where(known, end + theta, 0) - np.where(known, start, 0)
        # Of clocks that disagree nobody knows what was late.
        late = known & (latency > self._patience) & (not scene.apart)
        gone = ~out & (scene.waited[begun] >= self._patience)
        came = out & ~late
        return Outcome(
            joined.stamps[begun], received, latency, known, came, late, gone,
            _counted(came, late | gone, self._limits.every or 1),
        )

    def _latencies(self, outcome: Outcome, scene: Scene) -> list[Measurement]:
        checks = self._latency_checks
        gone = outcome.gone & outcome.missed & self._gone_take_time
        taken = outcome.known | gone
        if self._limits.missed is not None:
            taken &= ~outcome.late
        if not taken.any():
            reason = self._why_none(outcome, scene.seen)
            return [missing(check, len(outcome), reason) for check in checks]
        samples = Samples()
        samples.extend(
            np.where(gone, self._patience, outcome.latency)[taken], outcome.received[taken])
        return samples.measure(checks, self._quantiles, self._confidence)

    def _judged(self, one: Measurement, outcome: Outcome, scene: Scene) -> Measurement:
        """Tell what the evidence of a latency is, or why the value decides nothing."""
        if one.value is None or one.check in self._missed_checks:
            return one
        gone = outcome.gone & outcome.missed & self._gone_take_time
        lost_by_us = scene.seen.overruns.get(self._to, 0)
        trouble = scene.apart
        if not trouble and 0 < gone.sum() <= lost_by_us:
            trouble = self._ours(int(gone.sum()), lost_by_us)
        if trouble:
            return replace(one, value=None, violations=0, needed=None, evidence=(), reason=trouble)
        below = outcome.known & (outcome.latency < min(0, self._limits.min or 0))
        allows_negative = one.check.limit.side == 'min' and one.check.limit.value < 0
        if below.any() and not allows_negative:
            found = Findings()
            found.add(np.flatnonzero(below), outcome.received, lambda i: (
                int(outcome.latency[i]),
                f'{format_ns(outcome.latency[i])} for {stamp_text(outcome.stamps[i])}'))
            reason = (
                f'{found.total} of {int(outcome.known.sum())} latencies are negative, down to '
                f'{format_ns(outcome.latency[below].min())}: the clocks of {self._from} and '
                f'{self._to} disagree, or the message on {self._to} is not made from that on '
                f'{self._from}'
            )
            return replace(one, value=None, violations=0, needed=None,
                           evidence=tuple(found.kept), reason=reason)
        stamps = outcome.stamps[gone].tolist()
        waited = dict(zip(outcome.received[gone].tolist(), stamps, strict=True))
        evidence = tuple(
            replace(item, text=self._gone_text(waited[item.stamp_ns]))
            if item.value == self._patience and item.stamp_ns in waited else item
            for item in one.evidence
        )
        return replace(one, evidence=evidence)

    def _missed(self, check: Check, outcome: Outcome, seen: Observation) -> Measurement:
        """Return the share of missed inputs; in a row they count as fewer trials, as losses do.

        For the upper bound a row counts once, however long it is: nobody knows how often there is
        another. For the lower bound a long one, such as an outage to the end, counts once for each
        `LONGEST_ROW_NS`, so that what lasted is not excused as one event.
        """
        tried = outcome.came | outcome.missed
        trials = outcome.missed[tried]
        count, missed = len(trials), int(trials.sum())
        if not count:
            return missing(check, len(outcome), self._why_none(outcome, seen))
        found = Findings()
        found.add(np.flatnonzero(outcome.missed), outcome.received,
                  lambda i: self._missed_text(outcome, i))
        lost_by_us = seen.overruns.get(self._to, 0)
        if 0 < missed <= lost_by_us and missed / count > check.limit.value:
            return missing(check, count, self._ours(missed, lost_by_us))
        if check.limit.value == 0:
            return exact(check, missed / count, count, found if missed else None)
        rows, pieces = _rows(trials, outcome.received[tried])
        effective = count / max(1.0, missed / max(1, rows))
        share = stats.proportion(missed, count, self._confidence, effective)
        in_pieces = count / max(1.0, missed / max(1, pieces))
        low = stats.proportion(
            max(0, missed - lost_by_us), count, self._confidence, in_pieces).low
        if low is not None and low > check.limit.value:
            effective = in_pieces
        needed = stats.samples_for_share(share.value, check.limit.value, self._confidence)
        return Measurement(
            check, share.value, low, share.high, count, effective,
            None if needed is None else int(np.ceil(needed * count / effective)),
            tuple(found.kept), missed,
        )

    def _missed_text(self, outcome: Outcome, index: int) -> tuple[str, str]:
        stamp = int(outcome.stamps[index])
        text = self._gone_text(stamp)
        if outcome.late[index]:
            text = f'on {self._to} after {format_ns(outcome.latency[index])}, {stamp_text(stamp)}'
        return f'{stamp / NS_PER_S:.9f}', text

    def _gone_text(self, stamp: int) -> str:
        if stamp == UNSET:
            return f'a message on {self._from} without header.stamp cannot be followed'
        return f'not on {self._to} within {format_ns(self._patience)}, {stamp_text(stamp)}'

    def _ours(self, missed: int, lost: int) -> str:
        return (
            f'{missed} messages of {self._from} were not seen on {self._to}, but the monitor '
            f'itself lost {lost} messages of {self._to}'
        )

    def _why_none(self, outcome: Outcome, seen: Observation) -> str:
        """Say why there is nothing to measure; nothing where there was no input at all."""
        if not len(outcome):
            # The reason of a path that never began is in the notes of its first topic.
            return '' if self._ends[0] == 0 else f'no input of the path came to {self._from}'
        if (outcome.came & ~outcome.known).any():
            return NO_CLOCK
        missed = int((outcome.late | outcome.gone).sum())
        why = '; '.join(seen.notes.get(self._to, ()))
        if not missed:
            return (f'the inputs came less than {format_ns(self._patience)} before the end of '
                    'the observation, and none was out by then')
        return (f'none of {missed} messages of {self._from} was seen on {self._to} within '
                f'{format_ns(self._patience)}' + (f': {why}' if why else ''))


def _summary(outcome: Outcome) -> str:
    """Say what came of the inputs; nothing where there was none."""
    lost = outcome.late | outcome.gone
    parts = {
        'late': outcome.late, 'never came out': outcome.gone,
        'of them dropped by design': lost & ~outcome.missed,
        'still under way': ~(outcome.came | lost),
        'negative': outcome.known & (outcome.latency < 0),
    }
    said = [f'{int(outcome.came.sum())} of {len(outcome)} inputs came out in time']
    said += [f'{int(mask.sum())} {what}' for what, mask in parts.items() if mask.any()]
    return ', '.join(said) if len(outcome) else ''


def stamp_text(stamp_ns: int) -> str:
    """Write a header stamp as ROS tools do, in seconds."""
    return f'header.stamp {stamp_ns // NS_PER_S}.{stamp_ns % NS_PER_S:09}'


def _rows(missed: Mask, received: Int64s) -> tuple[int, int]:
    """Return how many rows of misses there are, and of how many pieces of `LONGEST_ROW_NS`.

    Whether each input was missed, and when it was received; (n,), in order. A piece has one miss
    at least.
    """
    edges = np.diff(np.concatenate(([0], missed.astype(np.int8), [0])))
    first, last = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1) - 1
    pieces = 1 + (received[last] - received[first]) // LONGEST_ROW_NS
    return len(first), int(np.minimum(pieces, last - first + 1).sum())


def _counted(came: Mask, lost: Mask, every: int) -> Mask:
    """Return which of the lost inputs are missed where each ``every``-th has to come out.

    Of the inputs since the last one that came out, that is the ``every``-th, the next
    ``every``-th, and so on. Inputs under way are not counted.
    """
    if every == 1:
        return lost
    order = np.flatnonzero(came | lost)
    place = np.arange(len(order))
    last = np.maximum.accumulate(np.where(came[order], place, -1))
    missed = np.zeros(len(came), np.bool_)
    missed[order] = lost[order] & ((place - last) % every == 0)
    return missed
