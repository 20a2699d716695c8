"""The monitors of a spec's ``topics:`` block."""

from __future__ import annotations

from robot_qa.monitors.base import Context, Monitor
from robot_qa.monitors.counting import CountMonitor, LossMonitor, StampsMonitor
from robot_qa.monitors.latency import AgeMonitor, TransportMonitor
from robot_qa.monitors.timing import GapMonitor, JitterMonitor, RateMonitor
from robot_qa.monitors.validity import FieldMonitor, field_judges, frame_judge
from robot_qa.spec.model import TestSpec
from robot_qa.spec.topics import Topic


def timing_monitors(spec: TestSpec, context: Context) -> list[Monitor]:
    """Return the monitors of rate, gap, jitter, age, transport, loss, stamps and count."""
    return [
        monitor
        for name, topic in spec.topics.items()
        for monitor in _timing_of(name, topic, context)
    ]


def validity_monitors(spec: TestSpec, context: Context) -> list[Monitor]:
    """Return the monitors of frame ids and fields."""
    monitors: list[Monitor] = []
    for name, topic in spec.topics.items():
        if topic.frame_id is not None:
            judge = frame_judge(name, list(topic.frame_id))
            monitors.append(FieldMonitor(name, 'header.frame_id', [judge], context))
        for path, limits in topic.fields.items():
            judges = field_judges(name, f'topics.{name}.fields.{path}', limits)
            monitors.append(FieldMonitor(name, path, judges, context))
    return monitors


def _timing_of(name: str, topic: Topic, context: Context) -> list[Monitor]:
    monitors: list[Monitor] = []
    if topic.rate is not None:
        monitors.append(RateMonitor(name, topic.rate, topic.basis, context))
    if topic.gap is not None:
        monitors.append(GapMonitor(name, topic.gap, topic.basis, context))
    if topic.jitter is not None:
        monitors.append(JitterMonitor(name, topic.jitter, topic.basis, context))
    if topic.age is not None:
        monitors.append(AgeMonitor(name, topic.age, context))
    if topic.transport is not None:
        monitors.append(TransportMonitor(name, topic.transport, context))
    if topic.loss is not None:
        monitors.append(LossMonitor(name, topic.loss, context))
    if topic.stamps is not None:
        monitors.append(StampsMonitor(name, topic.stamps == 'increasing', context))
    if topic.expect_count is not None:
        monitors.append(CountMonitor(name, topic.expect_count))
    return monitors
