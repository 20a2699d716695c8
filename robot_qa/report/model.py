"""The report of a run: what ``report.json`` holds. Its format is versioned and stable."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from robot_qa.checks import CheckResult, Verdict
from robot_qa.monitors.base import Evidence

VerdictName = Literal['PASS', 'FAIL', 'INCONCLUSIVE', 'ERROR']


class Part(BaseModel):
    """A part of the report: nothing unknown in it, nothing changed after it was made."""

    model_config = ConfigDict(extra='forbid', frozen=True)


class Measured(Part):
    """A measured value with its one-sided bounds, each at the spec's confidence."""

    value: float | None = Field(description='None where no sample had a value')
    unit: str = Field(description=(
        'ns, Hz, ratio, B, B/min, degC, W, messages, violations, elements and so on, or none'))
    count: int = Field(description='how many samples, intervals or windows it rests on')
    effective_count: float | None = Field(
        description='how many independent samples these are worth; null for a hard limit'
    )
    low: float | None = Field(description='lower bound; null where the samples give none')
    high: float | None = Field(description='upper bound; null where the samples give none')
    violations: int = Field(description='how many samples were beyond the limit')
    needed: int | None = Field(description='how many samples in all would decide')


class LimitPart(Part):
    """The limit that the value is held against."""

    side: Literal['min', 'max', 'exactly']
    value: float


class EvidencePart(Part):
    """One sample that broke the limit."""

    stamp_ns: int = Field(description='when it was received, system clock')
    value: float | str | None
    text: str


class CheckPart(Part):
    """One check and its verdict."""

    name: str
    verdict: VerdictName
    reason: str
    decided_s: float | None = Field(
        description='seconds of a live observation after which the verdict was decided'
    )
    measured: Measured | None
    limit: LimitPart | None
    source: str = Field(description='where the spec asks for it, file:line:column')
    evidence: list[EvidencePart]


class MonitorPart(Part):
    """What the monitoring itself cost, and what it failed to see."""

    cpu_s: float = Field(description='CPU time of the monitoring process during the observation')
    peak_rss_bytes: int
    messages: int
    overruns: dict[str, int] = Field(
        description='messages per topic that this host received and the monitor lost'
    )
    notes: dict[str, list[str]] = Field(description='remarks per topic; "" for all')


class Event(Part):
    """Something that happened at a time: an entry of the timeline."""

    stamp_ns: int = Field(description='system clock')
    event: str
    detail: str = ''


class Report(Part):
    """A whole run."""

    format: Literal[1] = 1
    name: str
    verdict: VerdictName
    started: str = Field(description='ISO 8601, UTC')
    start_ns: int = Field(description='when the observation began, system clock')
    duration_s: float = Field(description='the span observed, system clock')
    confidence: float
    environment: dict[str, str]
    monitor: MonitorPart
    timeline: list[Event]
    checks: list[CheckPart]


def check_part(result: CheckResult) -> CheckPart:
    """Put a result into the report's form."""
    measurement = result.measurement
    measured = limit = None
    if measurement is not None:
        check = measurement.check
        limit = LimitPart(side=check.limit.side, value=check.limit.value)
        measured = Measured(
            value=_finite(measurement.value), unit=check.unit, count=measurement.count,
            effective_count=_finite(measurement.effective_count), low=_finite(measurement.low),
            high=_finite(measurement.high), violations=measurement.violations,
            needed=measurement.needed,
        )
    return CheckPart(
        name=result.name, verdict=result.verdict.value, reason=result.reason,
        decided_s=result.decided_s, measured=measured, limit=limit, source=result.source,
        evidence=[_evidence_part(one) for one in result.evidence],
    )


def verdict_of(report: Report) -> Verdict:
    """Return the report's verdict."""
    return Verdict(report.verdict)


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of ``report.json``."""
    return Report.model_json_schema(mode='serialization')


def _evidence_part(evidence: Evidence) -> EvidencePart:
    value = evidence.value
    return EvidencePart(
        stamp_ns=evidence.stamp_ns, text=evidence.text,
        value=value if isinstance(value, str) else _finite(value),
    )


def _finite(value: float | None) -> float | None:
    # JSON knows neither NaN nor infinity; the text of the evidence does.
    return None if value is None or not math.isfinite(value) else float(value)
