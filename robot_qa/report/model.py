"""The report of a run: what ``report.json`` holds. Its format is versioned and stable."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from robot_qa.checks import CheckResult, Verdict
from robot_qa.monitors.base import Evidence
from robot_qa.monitors.clocks import Clocks, HostClock, stamped
from robot_qa.perception.breakdown import Explained
from robot_qa.perception.calibration import Calibration

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


class StampsPart(Part):
    """A topic whose stamps a host's clock wrote, by one of its nodes."""

    topic: str
    node: str


class ClockPart(Part):
    """The clock of one host, and what was stamped by it."""

    host: str | None = Field(description='its name; null for one that did not tell its time')
    key: str | None = Field(
        description='what the endpoints on a host have in common; null where that is not known')
    node: str | None = Field(description='the node that told the time')
    ours: bool = Field(description='whether it is the host of the monitor')
    low_ns: int | None = Field(
        description='lower bound on its clock less ours over the run; null if not compared')
    high_ns: int | None = Field(description='upper bound, as low_ns')
    stepped: bool = Field(description='whether no single offset fits all round trips')
    round_trips: int
    best_round_trip_ns: int | None
    summary: str = Field(description='how far it is off, in words')
    stamps: list[StampsPart]


class ScoresPart(Part):
    """The predictions of which the score is above ``low`` and at most ``high``."""

    low: float
    high: float
    count: int
    score: float | None = Field(description='the mean score; null without a prediction')
    right: float | None = Field(description='the share that is right; null as the score')


class PerceptionPart(Part):
    """What a source of predictions took for what, in some frames."""

    name: str = Field(description='as under "perception" in the spec')
    slice: str | None = Field(description='null for all frames and objects')
    frames: int
    true: list[str] = Field(description=(
        'the true class of each row of counts; "nothing" for what is not there'))
    taken_for: list[str] = Field(description=(
        'what each column of counts was taken for; "missed" for what was not found'))
    counts: list[list[int]] = Field(description='objects, samples or pixels')
    scores: list[ScoresPart] | None = Field(description=(
        'what scores are worth; null where there are none, or some are not from 0 to 1'))


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
    clocks: list[ClockPart] = Field(default_factory=list, description=(
        'the hosts whose clocks the stamps are from; empty where no latency depends on them'))
    perception: list[PerceptionPart] = Field(default_factory=list, description=(
        'by source of predictions and slice; tasks without classes are not here'))
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


def clock_parts(clocks: Clocks) -> list[ClockPart]:
    """Put what is known of hosts' clocks into the report's form; ours first."""
    stamps: dict[str | None, list[StampsPart]] = {}
    for key, topic, node in stamped(clocks):
        stamps.setdefault(key, []).append(StampsPart(topic=topic, node=node))
    told = [_told_part(one, clocks, stamps.get(one.key, []))
            for _, one in sorted(clocks.hosts.items(), key=str)]
    silent = [_silent_part(key, clocks, found) for key, found in stamps.items()
              if not clocks.of_key(key)]
    return sorted([*told, *silent], key=lambda part: not part.ours)


def _told_part(one: HostClock, clocks: Clocks, stamps: list[StampsPart]) -> ClockPart:
    return ClockPart(
        host=one.host, key=one.key, node=one.node, ours=_is_ours(one.key, clocks),
        low_ns=one.low, high_ns=one.high, stepped=one.stepped, round_trips=one.round_trips,
        best_round_trip_ns=one.best_ns, summary=one.text(), stamps=stamps,
    )


def _silent_part(key: str | None, clocks: Clocks, stamps: list[StampsPart]) -> ClockPart:
    ours = _is_ours(key, clocks)
    return ClockPart(
        host=clocks.host if ours else None, key=key, node=None, ours=ours,
        low_ns=0 if ours else None, high_ns=0 if ours else None, stepped=False, round_trips=0,
        best_round_trip_ns=None, stamps=stamps,
        summary='is that of the monitor' if ours else 'was not compared',
    )


def _is_ours(key: str | None, clocks: Clocks) -> bool:
    return key is not None and key == clocks.key


def perception_part(one: Explained) -> PerceptionPart:
    """Put what was taken for what into the report's form."""
    found = one.breakdown
    return PerceptionPart(
        name=one.source, slice=one.slice, frames=one.frames, true=list(found.true),
        taken_for=list(found.taken_for), counts=found.counts.tolist(),
        scores=None if found.calibration is None else _scores_parts(found.calibration),
    )


def _scores_parts(calibrated: Calibration) -> list[ScoresPart]:
    bins = len(calibrated.counts)
    return [
        ScoresPart(low=place / bins, high=(place + 1) / bins, count=int(count),
                   score=_finite(float(score)), right=_finite(float(right)))
        for place, (count, score, right) in enumerate(zip(
            calibrated.counts, calibrated.scores, calibrated.hits, strict=True))
    ]


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
