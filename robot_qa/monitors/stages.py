"""How long the stages of a model node take, as it says itself; see doc/instrument.md.

The first inference, the cold start, is kept apart: it is not in the times of steady state.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from robot_qa.errors import MessageError
from robot_qa.instrument import (
    COLD_START,
    DROPPED,
    INFERENCE,
    INPUT,
    PUBLISHING,
    QUEUEING,
    STAGE,
    TOTAL,
    TYPE,
)
from robot_qa.messages.fields import FieldReader, compile_field
from robot_qa.monitors.base import (
    Check,
    Context,
    Evidence,
    Findings,
    Limit,
    Measurement,
    Monitor,
    count_limits,
    exact,
    missing,
)
from robot_qa.monitors.samples import Samples, quantile_checks
from robot_qa.probes.batch import Batch, Observation
from robot_qa.spec.model import TestSpec
from robot_qa.spec.stages import Stages, StageTime
from robot_qa.timebase import format_ns

NEVER_BELOW_ZERO = (INPUT, TOTAL, QUEUEING, COLD_START, DROPPED)
# diagnostic_msgs/msg/DiagnosticStatus
ERROR = 2


def stage_monitors(spec: TestSpec, context: Context) -> list[Monitor]:
    """Return the monitors of a spec's ``stages:`` block."""
    return [StageMonitor(topic, stages, context) for topic, stages in spec.stages.items()]


@dataclass(frozen=True)
class Told:
    """What one message says; ``values`` by the keys of the convention, ns and counts."""

    received_ns: int
    source: tuple[int, str]
    failed: str
    values: dict[str, int]


class StageMonitor:
    """All limits on what one topic says about stages."""

    def __init__(self, topic: str, stages: Stages, context: Context) -> None:
        self.topics = (topic,)
        name = f'stages.{topic}'
        self._parts: list[_Times | _ColdStarts | _Dropped | _Failed] = []
        usual = {'queueing': QUEUEING, 'inference': INFERENCE, 'publishing': PUBLISHING,
                 'total': TOTAL}
        for key, value in usual.items():
            limits = getattr(stages, key)
            if limits is not None:
                self._parts.append(_Times(f'{name}.{key}', topic, value, limits, context))
        for key, limits in stages.stages.items():
            self._parts.append(
                _Times(f'{name}.stages.{key}', topic, STAGE + key, limits, context))
        if stages.cold_start is not None:
            self._parts.append(
                _ColdStarts(f'{name}.cold_start.max', topic, stages.cold_start.max))
        if stages.dropped is not None:
            self._parts.append(_Dropped([
                Check(full, topic, limit, 'inputs', at_end=True)
                for full, limit in count_limits(f'{name}.dropped', stages.dropped)]))
        if stages.failed is not None:
            self._parts.append(_Failed([
                Check(full, topic, limit, 'inputs', at_end=True)
                for full, limit in count_limits(f'{name}.failed', stages.failed)]))
        self.checks = [check for part in self._parts for check in part.checks]
        self._context = context
        self._readers: list[FieldReader] = []
        self._count = 0
        self._unreadable = Findings()

    def update(self, batch: Batch) -> None:
        """Read each message and hand it to the checks."""
        self._count += len(batch)
        if batch.type != TYPE:
            self._note(int(batch.received_ns[0]), len(batch), f'{batch.type} is not {TYPE}')
            return
        if not self._readers:
            self._readers = [
                compile_field(self._context.store, TYPE, f'status[*].{path}')
                for path in ('level', 'name', 'message', 'values[*].key', 'values[*].value')
            ]
        rows = zip(batch.payloads, batch.received_ns.tolist(), batch.publisher.tolist(),
                   strict=True)
        for payload, received, publisher in rows:
            try:
                read = [reader.read(payload) for reader in self._readers]
                told = _told(read, received, publisher)
            except (MessageError, ValueError) as error:
                self._note(received, 1, str(error))
                continue
            for part in self._parts:
                part.take(told)

    def _note(self, stamp_ns: int, count: int, text: str) -> None:
        self._unreadable = self._unreadable.with_one(Evidence(stamp_ns, None, text))
        self._unreadable.total += count - 1

    def measure(self, seen: Observation) -> list[Measurement]:
        """Return the times in ns, and the counts; a message against the convention spoils all."""
        bad = self._unreadable
        if bad.total:
            reason = (f'{bad.total} of {self._count} messages do not say it as doc/instrument.md '
                      f'asks; first: {bad.kept[0].text}')
            return [missing(check, self._count, reason) for check in self.checks]
        return [measured for part in self._parts for measured in part.measure(self._count)]


class _Times:
    """The times of one stage in steady state."""

    def __init__(
        self, name: str, topic: str, key: str, limits: StageTime, context: Context
    ) -> None:
        self.checks, self._quantiles = quantile_checks(name, topic, limits)
        self._key = key
        self._confidence = context.confidence
        self._samples = Samples()
        self._cold = 0
        self._others: set[str] = set()

    def take(self, told: Told) -> None:
        if told.failed:
            return
        value = told.values.get(self._key)
        if value is None:
            self._others.update(told.values)
        elif told.values[INPUT] <= 1 and self._key != QUEUEING:
            self._cold += 1
        else:
            self._samples.extend(np.array([value]), np.array([told.received_ns]))

    def measure(self, count: int) -> list[Measurement]:
        if len(self._samples):
            return self._samples.measure(self.checks, self._quantiles, self._confidence)
        if self._cold:
            reason = 'there was only a cold start, which is judged by cold_start'
        else:
            others = sorted(self._others)
            reason = f'no message has "{self._key}"' + (
                f'; they have {", ".join(others)}' if others else ': every input failed')
        return [missing(check, count, reason if count else '') for check in self.checks]


class _ColdStarts:
    """The first inference of every publisher, whenever it was: each message repeats it."""

    def __init__(self, name: str, topic: str, most: int) -> None:
        self.checks = [Check(name, topic, Limit('max', most), 'ns')]
        self._found: dict[tuple[tuple[int, str], int], int] = {}

    def take(self, told: Told) -> None:
        if (value := told.values.get(COLD_START)) is not None:
            self._found.setdefault((told.source, value), told.received_ns)

    def measure(self, count: int) -> list[Measurement]:
        check = self.checks[0]
        if not self._found:
            reason = f'no message has "{COLD_START}"' if count else ''
            return [missing(check, count, reason)]
        slow = [(value, stamp) for (_, value), stamp in self._found.items()
                if value > check.limit.value]
        findings = Findings()
        for value, stamp in slow:
            findings = findings.with_one(Evidence(stamp, value, format_ns(value)))
        worst = max(value for _, value in self._found)
        return [exact(check, worst, len(self._found), findings)]


class _Dropped:
    """Inputs that nodes could not report, since the first message of each that was seen."""

    def __init__(self, checks: list[Check]) -> None:
        self.checks = checks
        self._last: dict[tuple[int, str], int] = {}
        self._silent: set[tuple[int, str]] = set()
        self._total = 0

    def take(self, told: Told) -> None:
        now = told.values.get(DROPPED)
        if now is None:
            self._silent.add(told.source)
            return
        last = self._last.get(told.source, now)
        # A restarted node counts from zero again.
        self._total += now - last if now >= last else now
        self._last[told.source] = now

    def measure(self, count: int) -> list[Measurement]:
        silent = sorted(name for _, name in self._silent - self._last.keys())
        if silent:
            reason = f'no message of {" and ".join(silent)} has "{DROPPED}"'
            return [missing(check, count, reason) for check in self.checks]
        if not self._last:
            return [missing(check, count) for check in self.checks]
        return [exact(check, self._total, count) for check in self.checks]


class _Failed:
    """Inputs that ended with an error."""

    def __init__(self, checks: list[Check]) -> None:
        self.checks = checks
        self._found = Findings()

    def take(self, told: Told) -> None:
        if told.failed:
            self._found = self._found.with_one(
                Evidence(told.received_ns, told.failed, told.failed))

    def measure(self, count: int) -> list[Measurement]:
        if not count:
            return [missing(check, 0) for check in self.checks]
        return [
            Measurement(check, self._found.total, self._found.total, self._found.total, count,
                        evidence=tuple(self._found.kept))
            for check in self.checks
        ]


def _told(read: list[list[object]], received_ns: int, publisher: int) -> Told:
    """Return what a message says; ValueError where it departs from the convention."""
    levels, names, texts, keys, values = read
    if len(levels) != 1:
        raise ValueError(f'{len(levels)} statuses instead of one')
    numbers: dict[str, int] = {}
    for key, value in zip(keys, values, strict=True):
        text = str(value)
        if not text.removeprefix('-').isdecimal():
            raise ValueError(f'"{key}" is "{text}", not a whole number')
        numbers[str(key)] = int(text)
        if int(text) < 0 and (key in NEVER_BELOW_ZERO or str(key).startswith(STAGE)):
            raise ValueError(f'"{key}" is {text}, below zero')
    if INPUT not in numbers:
        raise ValueError(f'there is no "{INPUT}"')
    failed = str(texts[0]) or 'no text' if int(str(levels[0])) >= ERROR else ''
    return Told(received_ns, (publisher, str(names[0])), failed, numbers)
