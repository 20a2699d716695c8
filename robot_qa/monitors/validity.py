"""Whether the fields of every message are what they should be. All limits here are hard."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from robot_qa.errors import FieldPathError
from robot_qa.messages.fields import FieldReader, compile_field
from robot_qa.monitors.base import (
    Check,
    Context,
    Findings,
    Limit,
    Measurement,
    count_limits,
    exact,
    missing,
)
from robot_qa.probes.batch import Batch, Int64s, Observation
from robot_qa.spec.fields import FieldChecks

Values = NDArray[Any]
Subject = Literal['values', 'lengths', 'quaternions']
Broken = Callable[[Values], NDArray[np.bool_]]


class Judge:
    """One check on a field: which values break it, and what to report as its measured value."""

    def __init__(
        self, check: Check, subject: Subject, kinds: tuple[str, ...], broken: Broken
    ) -> None:
        self.check = check
        self.subject = subject
        self.kinds = kinds
        self._broken = broken
        self.found = Findings()
        self._extreme: float | None = None

    def take(self, path: str, values: Values, rows: Int64s, received: Int64s) -> None:
        """Judge ``values``, each belonging to message ``rows[i]`` of a batch."""
        if not len(values):
            return
        self._note_extreme(values)
        broken = np.flatnonzero(self._broken(values))
        if not len(broken):
            return
        messages, first = np.unique(rows[broken], return_index=True)
        culprits = broken[first]

        def describe(message: int) -> tuple[float | str, str]:
            index = int(culprits[np.searchsorted(messages, message)])
            return _describe(self.subject, path, values, rows, index)

        self.found.add(messages, received, describe)

    def _note_extreme(self, values: Values) -> None:
        side = self.check.limit.side
        if self.check.unit == 'violations' or self.subject == 'quaternions':
            return
        finite = values[np.isfinite(values)]
        if not len(finite):
            return
        value = float(finite.min() if side == 'min' else finite.max())
        known = value if self._extreme is None else self._extreme
        self._extreme = min(value, known) if side == 'min' else max(value, known)

    def measure(self, messages: int, judged: int) -> Measurement:
        """Return the extreme seen, or the number of messages that broke the rule."""
        if not messages:
            return missing(self.check, 0)
        if self.check.unit == 'violations':
            if not judged:
                return missing(self.check, messages, 'the field was empty in every message')
            return exact(self.check, self.found.total, messages, self.found)
        if self._extreme is None and not self.found.total:
            return missing(self.check, messages, 'no message held a finite value')
        value = self._extreme
        return Measurement(
            self.check, value, value, value, messages, evidence=tuple(self.found.kept),
            violations=self.found.total,
        )


class FieldMonitor:
    """All checks on one field of one topic; the field is read once per batch."""

    def __init__(self, topic: str, path: str, judges: list[Judge], context: Context) -> None:
        self.topics = (topic,)
        self.checks = [judge.check for judge in judges]
        self._path = path
        self._judges = judges
        self._context = context
        self._reader: FieldReader | None = None
        self._messages = 0
        self._judged = 0

    def update(self, batch: Batch) -> None:
        """Judge the field in every message of the batch.

        Raises FieldPathError when the type has no such field, or when a limit does not fit its
        kind, such as a minimum for a text.
        """
        if self._reader is None:
            self._reader = self._compile(batch.type)
        self._messages += len(batch)
        subjects = {judge.subject for judge in self._judges}
        if 'lengths' in subjects:
            lengths = self._reader.lengths(batch.payloads)
            rows = np.flatnonzero(lengths >= 0)
            self._take('lengths', lengths[rows], rows, batch)
            if subjects == {'lengths'}:
                lost = np.flatnonzero(lengths < 0).tolist()
                self._note_malformed(dict.fromkeys(lost, 'no such element'), batch)
        if subjects == {'lengths'}:
            self._judged += len(batch)
            return
        column = self._reader.column(batch.payloads)
        self._judged += len(column.values)
        self._note_malformed(column.errors, batch)
        self._take('values', column.values, column.rows, batch)
        if 'quaternions' in subjects:
            norms, rows = self._norms(column.values, column.rows)
            self._take('quaternions', norms, rows, batch)

    def _take(self, subject: Subject, values: Values, rows: Int64s, batch: Batch) -> None:
        for judge in self._judges:
            if judge.subject == subject:
                judge.take(self._path, values, rows, batch.received_ns)

    def _compile(self, type_name: str) -> FieldReader:
        reader = compile_field(self._context.store, type_name, self._path)
        for judge in self._judges:
            name = judge.check.name.removesuffix(f'.{judge.check.limit.side}').rsplit('.', 1)[-1]
            if judge.subject in ('lengths', 'quaternions') and not reader.is_array:
                raise FieldPathError(
                    f'{name} needs an array, but {self._path} of {type_name} is a {reader.kind}'
                )
            if judge.subject != 'lengths' and reader.kind not in judge.kinds:
                raise FieldPathError(
                    f'{judge.check.name} cannot judge {self._path} of {type_name}: it is a '
                    f'{reader.kind}, and this check is for {" or ".join(judge.kinds)}'
                )
        return reader

    def _norms(self, values: Values, rows: Int64s) -> tuple[Values, Int64s]:
        counts = np.unique(rows, return_counts=True)[1]
        if len(counts) and (counts % 4).any():
            raise FieldPathError(f'unit_quaternion needs x, y, z and w; {self._path} is no such')
        return np.linalg.norm(values.reshape(-1, 4), axis=1), rows[::4]

    def _note_malformed(self, errors: dict[int, str], batch: Batch) -> None:
        for judge in self._judges:
            judge.found.add(
                np.array(sorted(errors), np.int64), batch.received_ns,
                lambda i: (errors[i], f'the message cannot be read: {errors[i]}'),
            )

    def measure(self, seen: Observation) -> list[Measurement]:
        """Return the extremes seen, or how many messages broke the rule."""
        return [judge.measure(self._messages, self._judged) for judge in self._judges]


def field_judges(topic: str, name: str, limits: FieldChecks) -> list[Judge]:
    """Return a judge for each limit of a ``fields:`` entry, ``name`` its place in the spec.

    Where ``finite`` is declared, NaN and infinity are its business alone; elsewhere they break
    ``min`` and ``max``, so that no NaN slips through a range.
    """
    judges = []
    skips = limits.finite is not None
    numeric = ('number', 'bool', 'stamp')

    def add(  # noqa: PLR0917  (a row of the table below)
        key: str, limit: Limit, unit: str, subject: Subject, kinds: tuple[str, ...], broken: Broken
    ) -> None:
        judges.append(Judge(Check(f'{name}.{key}', topic, limit, unit), subject, kinds, broken))

    never = Limit('max', 0)
    if limits.finite is not None:
        test = np.isnan if limits.finite == 'or_inf' else _not_finite
        add('finite', never, 'violations', 'values', numeric, test)
    for key, side in (('min', 'min'), ('max', 'max')):
        bound = getattr(limits, key)
        if bound is not None:
            limit = Limit('min' if side == 'min' else 'max', bound)
            add(key, limit, '', 'values', numeric, _outside(limit, skips))
    if limits.length is not None:
        for key, limit in count_limits('length', limits.length):
            add(key, limit, 'elements', 'lengths', (), _outside(limit, False))
    if limits.equals is not None:
        add('equals', never, 'violations', 'values', _kinds([limits.equals]),
            _not_in([limits.equals]))
    if limits.one_of is not None:
        add('one_of', never, 'violations', 'values', _kinds(limits.one_of),
            _not_in(list(limits.one_of)))
    if limits.unit_quaternion is not None:
        tolerance = limits.unit_quaternion.tolerance
        add('unit_quaternion', never, 'violations', 'quaternions', ('number',),
            lambda norms: ~(np.abs(norms - 1.0) <= tolerance))
    return judges


def frame_judge(topic: str, frames: list[str]) -> Judge:
    """Return the judge of ``frame_id``."""
    check = Check(f'topics.{topic}.frame_id', topic, Limit('max', 0), 'violations')
    return Judge(check, 'values', ('string',), _not_in(frames))


def _not_finite(values: Values) -> NDArray[np.bool_]:
    return ~np.isfinite(values)


def _outside(limit: Limit, skip_non_finite: bool) -> Broken:
    def broken(values: Values) -> NDArray[np.bool_]:
        # Written as "not inside", because every comparison with NaN is false.
        if limit.side == 'min':
            inside = values >= limit.value
        elif limit.side == 'max':
            inside = values <= limit.value
        else:
            inside = values == limit.value
        if skip_non_finite:
            inside = inside | ~np.isfinite(values)
        return ~inside

    return broken


def _not_in(allowed: list[Any]) -> Broken:
    def broken(values: Values) -> NDArray[np.bool_]:
        inside = np.zeros(len(values), np.bool_)
        for value in allowed:
            inside |= np.asarray(values == value, np.bool_)
        return ~inside

    return broken


def _kinds(allowed: list[Any]) -> tuple[str, ...]:
    if all(isinstance(value, str) for value in allowed):
        return ('string',)
    return ('bool', 'number', 'stamp')


def _describe(
    subject: Subject, path: str, values: Values, rows: Int64s, index: int
) -> tuple[float | str, str]:
    raw = values[index]
    value = str(raw) if isinstance(raw, str) else float(raw)
    shown = f'"{value}"' if isinstance(value, str) else f'{value:.6g}'
    if subject == 'lengths':
        return value, f'{path} has {shown} elements'
    if subject == 'quaternions':
        return value, f'the norm of {path} is {shown}'
    first = int(np.searchsorted(rows, rows[index]))
    last = int(np.searchsorted(rows, rows[index], side='right'))
    place = f'[{index - first}]' if last - first > 1 else ''
    return value, f'{path}{place} = {shown}'
