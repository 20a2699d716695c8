"""Latency from one topic to another, stage by stage, and which inputs never came out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from robot_qa.monitors import clocks
from robot_qa.monitors.base import (
    Check,
    Context,
    Findings,
    Measurement,
    Monitor,
    count_limits,
    exact,
    missing,
)
from robot_qa.monitors.legs import Leg, Scene, stamp_text
from robot_qa.monitors.matching import ABSENT, UNKNOWN, UNSET, Joined, StampJoin, Table
from robot_qa.monitors.stamps import HeaderStamps
from robot_qa.monitors.transits import Transits
from robot_qa.probes.batch import Batch, Int64s, Observation
from robot_qa.spec.model import TestSpec
from robot_qa.spec.paths import Path
from robot_qa.timebase import NS_PER_S

# What carries the stamp of an input may be received this much later than it is waited for.
SPARE_NS = 5 * NS_PER_S
# How much slower than the wall clock simulated time may run for it.
SLOWEST_SIMULATION = 10
# No message is on its way for a day: such times are of different clocks.
DAY_NS = 86_400 * NS_PER_S


def path_monitors(spec: TestSpec, context: Context) -> list[Monitor]:
    """Return the monitors of a spec's ``paths:`` block."""
    return [PathMonitor(f'paths.{name}', path, context) for name, path in spec.paths.items()]


class PathMonitor:
    """Follows the messages of a path by their stamps, and measures each of its legs."""

    def __init__(self, name: str, path: Path, context: Context) -> None:
        self._path = path
        on_stamps = path.basis == 'header'
        # Header stamps are simulated where time is.
        self._clock = context.clock if on_stamps or path.clock == 'ros' else None
        self._clocks = clocks.Clocks()
        on_hosts = path.basis != 'arrival' and self._clock is None
        self.topics = (*path.topics, clocks.JOURNAL) if on_hosts else path.topics
        self._first_dated = 1 if on_stamps else 0
        self._headers = [HeaderStamps(context) for _ in path.topics]
        self._transits = Transits(path.basis)
        self._patience = path.patience * (1 if self._clock is None else SLOWEST_SIMULATION)
        self._join = StampJoin(len(path.topics), self._patience + SPARE_NS, self._dated)
        last, sure = len(path.topics) - 1, context.confidence
        self._legs = [Leg(name, (0, last), path, path, sure)]
        for topic, stage in path.stages.items():
            end = path.topics.index(topic)
            self._legs.append(Leg(f'{name}.stages.{topic}', (end - 1, end), stage, path, sure))
        self._counts = [
            (key, Check(f'{name}.{inner}', path.to, limit, 'outputs'))
            for key, limits in (('repeated', path.repeated), ('unexpected', path.unexpected))
            if limits is not None
            for inner, limit in count_limits(key, limits)
        ]
        self.checks = [check for leg in self._legs for check in leg.checks]
        self.checks += [check for _, check in self._counts]

    def update(self, batch: Batch) -> None:
        """Take the stamps and times of a batch, or what the journal says of clocks.

        Raises FieldPathError for a type without a header.
        """
        if batch.topic == clocks.JOURNAL:
            self._clocks.update(batch)
            return
        topic = self.topics.index(batch.topic)
        read, rows = self._headers[topic].read(batch)
        # What cannot be read has no stamp; it is an input all the same.
        stamps = np.full(len(batch), UNSET, np.int64)
        stamps[rows] = read
        times: Int64s | None = stamps
        if topic >= self._first_dated:
            times = self._transits.times(batch)
        if times is not None:
            self._join.add(topic, stamps, times, batch.received_ns, self._ticked())

    def measure(self, seen: Observation) -> list[Measurement]:
        """Return latencies in ns, shares of missed inputs and counts of outputs."""
        if self._transits.lacking:
            return [missing(check, 0, self._transits.lacking) for check in self.checks]
        joined = self._join.joined(self._ticked())
        apart = self._transits.apart() or self._foreign(joined)
        waited = self._waited(joined.received, seen)
        scene = Scene(joined, seen, waited, apart, self._clocks)
        whole, *stages = (leg.measure(scene) for leg in self._legs)
        extras = self._extras(joined)
        return [
            *(replace(one, reason=', '.join((one.reason, *extras))) if one.value is not None
              else one for one in whole),
            *(one for stage in stages for one in stage),
            *(self._count(key, check, scene) for key, check in self._counts),
        ]

    def _extras(self, joined: Joined) -> list[str]:
        """Say which messages stand for no input and no output of their own."""
        counts = {
            f'repeated on {self._path.from_}': joined.repeated_inputs,
            f'repeated on {self._path.to}': len(joined.repeated[0]),
            f'on {self._path.to} without an input': len(joined.unexpected[0]),
        }
        return [f'{count} {what}' for what, count in counts.items() if count]

    def _ticked(self) -> int | None:
        """Return until when simulated time is known; None where nobody asks for it."""
        if self._clock is None:
            return None
        received = self._clock.received
        return int(received.values[-1]) if len(received) else ABSENT

    def _waited(self, received: Int64s, seen: Observation) -> Int64s:
        """Return how long each input has been waited for, on the clock of the path."""
        if self._clock is None:
            return seen.end_ns - received
        simulated, known = self._clock.at(np.append(received, seen.end_ns))
        return np.where(known[:-1], simulated[-1] - simulated[:-1], 0)

    def _dated(self, times: Table) -> Table:
        """Put times, shape (n, topics), on the clock of the path."""
        if self._clock is None:
            return times
        dated = times.copy()
        part = times[:, self._first_dated:]
        simulated, known = self._clock.at(part.ravel())
        simulated = np.where(known, simulated, UNKNOWN).reshape(part.shape)
        dated[:, self._first_dated:] = np.where(part > UNKNOWN, simulated, part)
        return dated

    def _foreign(self, joined: Joined) -> str:
        """Say that header stamps are on another clock than the times that follow."""
        if self._path.basis != 'header':
            return ''
        known = (joined.times > UNKNOWN) & (joined.times[:, :1] > UNKNOWN)
        spans = (joined.times - joined.times[:, :1])[known]
        if not len(spans) or int(np.abs(spans).max()) < DAY_NS:
            return ''
        clock = 'the system clock' if self._clock is None else '/clock'
        return (
            f'header stamps on {self._path.from_} are more than a day off {clock}, so they are of '
            'another clock; the key "clock" at the top of the spec selects ros or system'
        )

    def _count(self, key: str, check: Check, scene: Scene) -> Measurement:
        """Count outputs that repeat a stamp, or those of a stamp that no input had."""
        joined, seen = scene.joined, scene.seen
        outputs = int((joined.times[:, -1] != ABSENT).sum()) + len(joined.unexpected[0]) + len(
            joined.repeated[0])
        if not outputs:
            return missing(check, 0)
        received, stamps = joined.repeated if key == 'repeated' else joined.unexpected
        overrun = 0
        if key == 'unexpected':
            # The inputs of the first ones may have been there before we looked.
            after = received >= seen.start_ns + self._patience
            received, stamps = received[after], stamps[after]
            overrun = seen.overruns.get(self._path.from_, 0)
        told = 'repeated' if key == 'repeated' else f'no input on {self._path.from_}'
        found = Findings()
        found.add(np.arange(len(stamps)), received, lambda i: (
            f'{stamps[i] / NS_PER_S:.9f}', f'{told}: {stamp_text(int(stamps[i]))}'))
        over = check.limit.side != 'min' and found.total > check.limit.value
        if over and found.total - overrun <= check.limit.value:
            return missing(check, outputs, f'{found.total} outputs without an input, but the '
                           f'monitor itself lost {overrun} messages of {self._path.from_}')
        return exact(check, found.total, outputs, found if over else None)
