"""Fields of several topics as signals over one time, and how far a condition on them is met.

A signal holds the value of a sample until the next one. The margin of a comparison is its
quantitative semantics in signal temporal logic (A. Donze and O. Maler, "Robust satisfaction of
temporal logic over real-valued signals", FORMATS 2010): for ``x < c`` it is ``c - x``; of several
comparisons that must all hold the least margin counts, of alternatives the largest.

Where the theory leaves a margin of zero open, the sign says here what is true: ``x < c`` is false
at ``x == c``, ``x <= c`` is true, so a margin is above zero exactly where the condition is true.
Comparisons of whole numbers, bools and texts by == and != have an infinite margin.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_qa.errors import FieldPathError
from robot_qa.messages.fields import FieldReader, compile_field
from robot_qa.messages.leaves import Kind
from robot_qa.monitors.base import Column, Context
from robot_qa.monitors.stamps import Basis, HeaderStamps
from robot_qa.probes.batch import Batch, Int64s
from robot_qa.spec.comparison import Comparison, Operand, Reducer, Value
from robot_qa.spec.rules import Condition

Floats = NDArray[np.float64]
Key = tuple[str, str, Reducer | None]

# Stands for a margin of zero, with the sign of what is true. The smallest normal number, because
# some libraries switch off the smaller ones for the whole process.
TINY = float(np.finfo(np.float64).tiny)
_TRUTH = {
    '<': operator.lt, '<=': operator.le, '>': operator.gt, '>=': operator.ge,
    '==': operator.eq, '!=': operator.ne,
}


class Texts:
    """Numbers for texts, so that all signals are numbers: equal where the texts are."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def number(self, text: str) -> int:
        """Return the number of a text."""
        return self._numbers.setdefault(text, len(self._numbers))

    def text(self, number: float) -> str:
        """Return the text of a number."""
        return list(self._numbers)[int(number)]


class Signal:
    """One field of a topic, or what a reducer makes of it: a number per message.

    A message without a value (malformed, an index that does not exist, an empty array under a
    reducer) has NaN. ``kind`` and ``dtype`` are known once the first batch has come.
    """

    def __init__(self, key: Key, context: Context, texts: Texts) -> None:
        self.topic, self._path, self._reducer = key
        self._context = context
        self._texts = texts
        self._reader: FieldReader | None = None
        self._values = Column()
        self.kind: Kind | None = None
        self.dtype: np.dtype[Any] = np.dtype(np.float64)

    @property
    def label(self) -> str:
        """The field as the spec writes it."""
        field = f'{self._reducer}({self._path})' if self._reducer else self._path
        return f'{self.topic} {field}'

    @property
    def values(self) -> Floats:
        """All values so far."""
        return self._values.values.view(np.float64)

    def update(self, batch: Batch, rows: Int64s) -> None:
        """Append the values of these messages of a batch."""
        if self._reader is None:
            self._reader = self._compile(batch.type)
        # A column holds eight bytes a value, whatever they mean.
        self._values.extend(self._read(self._reader, batch)[rows].view(np.int64))

    def show(self, value: float) -> str:
        """Write a value as ``/odom pose.pose.position.x = 4.2``."""
        if self.kind == 'string' and not np.isnan(value):
            shown = f'"{self._texts.text(value)}"'
        elif self.kind == 'bool' and not np.isnan(value):
            shown = 'true' if value else 'false'
        else:
            shown = f'{value:.6g}'
        return f'{self.label} = {shown}'

    def _compile(self, type_name: str) -> FieldReader:
        reader = compile_field(self._context.store, type_name, self._path)
        self.kind = reader.kind
        reducer, what = self._reducer, f'{self._path} of {type_name}'
        if reducer == 'count':
            self.kind, self.dtype = 'number', np.dtype(np.int64)
            return reader
        if reader.kind == 'stamp':
            raise FieldPathError(f'{what} is a time, which no rule compares; see age')
        if reader.is_array and reducer in (None, 'abs'):
            raise FieldPathError(
                f'{what} is an array; write min, max, mean, norm or count of it, or one element'
            )
        if not reader.is_array and reducer not in (None, 'abs'):
            raise FieldPathError(f'{what} is one value; {reducer} needs an array')
        if reader.kind not in ('number', 'bool') and reducer is not None:
            raise FieldPathError(f'{what} is a {reader.kind}, of which there is no {reducer}')
        return reader

    def _read(self, reader: FieldReader, batch: Batch) -> Floats:
        count = len(batch)
        if self._reducer == 'count':
            lengths = reader.lengths(batch.payloads)
            return np.where(lengths < 0, np.nan, lengths)
        column = reader.column(batch.payloads)
        if self.kind == 'string':
            numbers = [self._texts.number(text) for text in column.values.tolist()]
            self.dtype, values = np.dtype(object), np.array(numbers, np.float64)
        else:
            averaged = self._reducer in ('mean', 'norm')
            self.dtype = np.dtype(np.float64) if averaged else column.values.dtype
            values = column.values.astype(np.float64)
        if self._reducer is not None and self._reducer != 'abs':
            return _reduced(self._reducer, values, column.rows, count)
        read = np.full(count, np.nan)
        read[column.rows] = np.abs(values) if self._reducer else values
        return read


def _reduced(reducer: Reducer, values: Floats, rows: Int64s, count: int) -> Floats:
    """Reduce the elements of each message; min, max and mean leave out what is NaN."""
    read = np.full(count, np.nan)
    firsts = np.flatnonzero(np.diff(rows, prepend=-1))
    if not len(firsts):
        return read
    with np.errstate(invalid='ignore', over='ignore'):
        if reducer == 'norm':
            made = np.sqrt(np.add.reduceat(values * values, firsts))
        elif reducer == 'mean':
            known = ~np.isnan(values)
            sums = np.add.reduceat(np.where(known, values, 0.0), firsts)
            made = sums / np.add.reduceat(known, firsts, dtype=np.int64)
        else:
            made = (np.fmin if reducer == 'min' else np.fmax).reduceat(values, firsts)
    read[rows[firsts]] = made
    return read


@dataclass(frozen=True)
class Held:
    """A topic within the observation: sample ``i`` holds from ``times[i]`` until the next.

    ``times`` increase strictly, ``received`` is when the samples were received (system clock);
    all of shape (n,).
    """

    times: Int64s
    received: Int64s
    values: dict[Key, Floats]


class Track:
    """The samples of one topic: their times, and the values that a rule compares."""

    def __init__(self, signals: dict[Key, Signal], basis: Basis, context: Context) -> None:
        self._signals = signals
        self._header = HeaderStamps(context) if basis == 'header' else None
        self._by_source = basis == 'source'
        self._times = Column()
        self._received = Column()

    def __len__(self) -> int:
        return len(self._times)

    def update(self, batch: Batch) -> None:
        """Take a batch of the topic; with header times, only messages that have one."""
        rows = np.arange(len(batch))
        if self._header is not None:
            times, rows = self._header.read(batch)
        elif self._by_source and batch.source_ns is not None:
            times = batch.source_ns
        else:
            times = batch.received_ns
        for signal in self._signals.values():
            signal.update(batch, rows)
        self._times.extend(times)
        self._received.extend(batch.received_ns[rows])

    def foreign(self, start: int, late: int) -> bool:
        """Tell whether these times cannot be on the clock of the observation, or are far off it.

        They say that a message was sent after it was received, or before the observation began
        although it came well into it.
        """
        times, received = self._times.values, self._received.values
        early = (times < start) & (received > start + 2 * late)
        return bool((early | (times > received + late)).any())

    def held(self, start: int, end: int) -> Held:
        """Return the samples from ``start`` to ``end``, the one that holds at the start included.

        Samples of one time are set one ns apart, so that none of them goes unseen.
        """
        order = np.argsort(self._times.values, kind='stable')
        count = np.arange(len(order))
        times = np.maximum.accumulate(self._times.values[order] - count) + count
        first = max(0, int(np.searchsorted(times, start, side='right')) - 1)
        part = slice(first, int(np.searchsorted(times, end, side='right')))
        return Held(
            np.maximum(times[part], start), self._received.values[order][part],
            {key: signal.values[order][part] for key, signal in self._signals.items()},
        )


@dataclass(frozen=True)
class Trace:
    """How far a condition is met: ``margins[i]`` from ``times[i]`` to the next time or the end.

    It begins when all its topics have spoken; before that the condition is not known.
    ``received`` is when the newest sample of each moment was received.
    """

    times: Int64s
    margins: Floats
    received: Int64s


class Scene:
    """The topics of a rule, each as held within the observation."""

    def __init__(self, held: dict[str, Held], signals: dict[Key, Signal], texts: Texts) -> None:
        self._held = held
        self._signals = signals
        self._texts = texts

    def trace(self, condition: Condition, *, negated: bool = False) -> Trace:
        """Return the margin of a condition, or of its opposite, at each moment of change."""
        held = [self._held[topic] for topic in {key[0] for key in keys_of(condition)}]
        known = max(one.times[0] for one in held)
        times = np.unique(np.concatenate([one.times for one in held]))
        times = times[times >= known]
        received = np.max([one.received[_places(one, times)] for one in held], axis=0)
        return Trace(times, self._margins(condition, times, negated), received)

    def describe(self, condition: Condition, moment: int) -> str:
        """Write the values that the condition compares at a moment."""
        at = np.array([moment])
        shown = {key: self._signals[key].show(float(self._at(key, at)[0]))
                 for key in keys_of(condition)}
        return ', '.join(shown.values())

    def _margins(self, condition: Condition, times: Int64s, negated: bool) -> Floats:
        # The opposite is taken of the comparisons, so that NaN meets neither them nor it.
        least, most = (np.maximum, np.minimum) if negated else (np.minimum, np.maximum)
        parts = [self._compare(topic, one, times, negated)
                 for topic, one in condition.comparisons]
        parts += [self._margins(one, times, negated) for one in condition.all or ()]
        if condition.any:
            parts.append(most.reduce([self._margins(o, times, negated) for o in condition.any]))
        if condition.not_:
            parts.append(self._margins(condition.not_, times, not negated))
        margins: Floats = least.reduce(parts)
        return margins

    def _compare(self, topic: str, one: Comparison, times: Int64s, negated: bool) -> Floats:
        signals = [self._signals[key_of(topic, value)] for value in one.values]
        exact = one.operator in ('==', '!=') and all(s.dtype.kind != 'f' for s in signals)
        # A field of 32 bits is 0.1 where it is the nearest to 0.1 that such a field can be.
        single = all(signal.dtype == np.float32 for signal in signals)
        left, right = (self._operand(topic, o, times, single) for o in (one.left, one.right))
        truth = _TRUTH[one.operator](left, right)
        with np.errstate(invalid='ignore'):
            size = np.inf if exact else np.fmax(np.abs(right - left), TINY)
        margins: Floats = np.where(truth != negated, size, -size)
        margins[np.isnan(left) | np.isnan(right)] = -np.inf
        return margins

    def _operand(self, topic: str, operand: Operand, times: Int64s, single: bool) -> Floats:
        if isinstance(operand, Value):
            values = self._at(key_of(topic, operand), times)
            return values + operand.offset if operand.offset else values
        number = self._texts.number(operand) if isinstance(operand, str) else float(operand)
        if not single:
            return np.full(len(times), number, np.float64)
        with np.errstate(over='ignore'):
            return np.full(len(times), number).astype(np.float32).astype(np.float64)

    def _at(self, key: Key, times: Int64s) -> Floats:
        held = self._held[key[0]]
        return held.values[key][_places(held, times)]


def _places(held: Held, times: Int64s) -> Int64s:
    return np.searchsorted(held.times, times, side='right') - 1


def key_of(topic: str, value: Value) -> Key:
    """Return what names the signal of a value that stands under ``topic``."""
    return value.topic or topic, value.path, value.reducer


def keys_of(condition: Condition) -> Iterator[Key]:
    """Yield the signals of a condition, in the order in which they are written."""
    for topic, comparison in condition.every_comparison():
        for value in comparison.values:
            yield key_of(topic, value)


def check_kinds(conditions: Sequence[Condition], signals: dict[Key, Signal]) -> None:
    """Raise FieldPathError where a text would be compared with a number, or by its order."""
    for condition in conditions:
        for topic, one in condition.every_comparison():
            kinds = {_kind(topic, operand, signals) for operand in (one.left, one.right)}
            moved = any(value.offset for value in one.values)
            if 'string' in kinds and (moved or one.operator not in ('==', '!=')):
                raise FieldPathError(f'"{one.text}": a text can only be compared by == and !=')
            if {'string', 'number'} <= kinds:
                raise FieldPathError(f'"{one.text}": a text is compared with a number')


def _kind(topic: str, operand: Operand, signals: dict[Key, Signal]) -> str:
    if isinstance(operand, str):
        return 'string'
    kind = signals[key_of(topic, operand)].kind if isinstance(operand, Value) else 'number'
    return 'unknown' if kind is None else 'string' if kind == 'string' else 'number'
