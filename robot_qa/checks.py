"""From a measurement and its limit to a verdict."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from fnmatch import fnmatchcase

from robot_qa.errors import UsageError
from robot_qa.monitors.base import Check, Evidence, Limit, Measurement
from robot_qa.monitors.readings import format_reading
from robot_qa.timebase import format_ns


class Verdict(Enum):
    """What a check, or a whole run, came to; the later ones are worse."""

    PASS = 'PASS'
    INCONCLUSIVE = 'INCONCLUSIVE'
    FAIL = 'FAIL'
    ERROR = 'ERROR'

    @property
    def severity(self) -> int:
        """Rank for folding: the worst wins."""
        return list(Verdict).index(self)


EXIT_CODES = {Verdict.PASS: 0, Verdict.FAIL: 1, Verdict.INCONCLUSIVE: 3, Verdict.ERROR: 4}
USAGE_ERROR = 2


def exit_code(error: Exception) -> int:
    """Return the exit code of a command that ended with an error instead of a verdict."""
    return USAGE_ERROR if isinstance(error, UsageError) else EXIT_CODES[Verdict.ERROR]


@dataclass(frozen=True)
class CheckResult:
    """The verdict on one check, and what it rests on.

    ``measurement`` is None for a check on the run itself, and where a monitor broke.
    ``decided_s`` is when, in seconds from the begin of a live observation, it was decided.
    ``source`` is where the spec asks for it, ``file:line:column``.
    """

    name: str
    verdict: Verdict
    reason: str
    source: str
    measurement: Measurement | None = None
    decided_s: float | None = None

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """The samples that broke the limit."""
        return self.measurement.evidence if self.measurement else ()


def matches(name: str, pattern: str) -> bool:
    """Tell whether a check is meant: ``*`` and ``?`` are wildcards, brackets are not."""
    return fnmatchcase(name, pattern.replace('[', '[[]'))


def fold(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the worst verdict; a run without any check is INCONCLUSIVE."""
    return max(verdicts, key=lambda verdict: verdict.severity, default=Verdict.INCONCLUSIVE)


def judge(measured: Measurement, source: str, notes: Iterable[str] = ()) -> CheckResult:
    """Compare a measurement with its limit. ``notes`` explain a topic without samples."""
    verdict, reason = _judge(measured, list(notes))
    if measured.reason and measured.reason not in reason:
        reason = f'{reason}; {measured.reason}'
    return CheckResult(measured.check.name, verdict, reason, source, measured)


def _judge(measured: Measurement, notes: list[str]) -> tuple[Verdict, str]:
    check = measured.check
    if measured.count == 0 and not measured.reason:
        why = '; '.join(notes)
        return Verdict.INCONCLUSIVE, f'no message on {check.topic}' + (f': {why}' if why else '')
    if measured.value is None and not measured.violations:
        return Verdict.INCONCLUSIVE, measured.reason
    if measured.effective_count is None:
        return _judge_hard(measured)
    return _judge_statistical(measured, measured.effective_count)


def _judge_hard(measured: Measurement) -> tuple[Verdict, str]:
    check = measured.check
    value = measured.value
    inside = value is not None and not _beyond(check.limit, value)
    shown = 'no valid value' if value is None else show(value, check.unit)
    if measured.violations or not inside:
        first = f'; first: {measured.evidence[0].text}' if measured.evidence else ''
        if check.unit == 'violations':
            return Verdict.FAIL, f'{measured.violations} of {measured.count} messages{first}'
        times = f' ({measured.violations} times)' if measured.violations > 1 else ''
        return Verdict.FAIL, f'{shown}{_wanted(check)}{times}{first}'
    if check.unit == 'violations':
        return Verdict.PASS, f'all of {measured.count} messages'
    return Verdict.PASS, f'{shown}{_wanted(check)}'


def _judge_statistical(measured: Measurement, effective: float) -> tuple[Verdict, str]:
    check = measured.check
    low, high = measured.low, measured.high
    shown = f'{show(measured.value or 0.0, check.unit)} ({_interval(measured)})'
    samples = f'{measured.count} samples'
    if effective < 0.99 * measured.count:
        samples += f' worth {effective:.0f} independent ones'
    limit = check.limit.value
    if check.limit.side == 'min':
        kept, broken = low is not None and low >= limit, high is not None and high < limit
    else:
        kept, broken = high is not None and high <= limit, low is not None and low > limit
    if kept or broken:
        verdict = Verdict.PASS if kept else Verdict.FAIL
        return verdict, f'{shown}{_wanted(check)}; {samples}'
    if measured.needed is None:
        advice = 'too close to the limit to be decided'
    else:
        more = max(1, measured.needed - measured.count)
        advice = f'about {more} more would decide'
    return Verdict.INCONCLUSIVE, f'{shown}{_wanted(check)}; {samples}: {advice}'


def _beyond(limit: Limit, value: float) -> bool:
    if limit.side == 'min':
        return value < limit.value
    if limit.side == 'max':
        return value > limit.value
    return value != limit.value


def _wanted(check: Check) -> str:
    if check.unit in ('margin', 'truth'):  # of a rule, which says itself what is wanted
        return ''
    words = {'min': 'at least', 'max': 'at most', 'exactly': 'exactly'}
    return f', {words[check.limit.side]} {show(check.limit.value, check.unit)} wanted'


def _interval(measured: Measurement) -> str:
    unit = measured.check.unit
    low = '?' if measured.low is None else show(measured.low, unit)
    high = '?' if measured.high is None else show(measured.high, unit)
    return f'{low} to {high}'


def show(value: float, unit: str) -> str:
    """Write a value in its unit, for people."""
    if unit == 'ns':
        return format_ns(value)
    if unit in ('ratio', 'B', 'B/min'):
        return format_reading(value, unit)
    if unit == 'margin':
        return f'margin {value:.4g}'
    if unit == 'truth':
        return 'held' if value else 'broken'
    if value == 1 and len(unit) > 2 and unit.isalpha():  # one message, not one messages
        unit = unit.removesuffix('s')
    return f'{value:.6g} {unit}'.rstrip()
