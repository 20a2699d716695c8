"""A first spec, written from what was seen: on a running graph, or in a recording.

The monitors themselves measure, under limits that nothing breaks; what they measured, with a
margin that is said beside it, becomes the limits.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rosbags.interfaces import Nodetype

from robot_qa.checks import Verdict, judge
from robot_qa.errors import RobotQaError
from robot_qa.messages.fields import FieldReader, compile_field
from robot_qa.messages.typestore import TypeStore
from robot_qa.monitors.base import Context, Measurement, Monitor
from robot_qa.monitors.graph import graph_monitors
from robot_qa.monitors.topics import timing_monitors, validity_monitors
from robot_qa.probes.batch import Batch, Observation
from robot_qa.spec.model import TestSpec
from robot_qa.stats import Confidence
from robot_qa.timebase import NS_PER_S, format_ns

# What every ROS system has, and nobody writes checks on first.
UNINTERESTING = ('/rosout', '/parameter_events', '/clock')
MOST_VALUES = 4
MOST_FIELDS = 12
# Decided by few samples: 14 independent ones, of which a busy machine leaves a quarter.
QUANTILE = 'p80'
LEAST_RATE, MOST_RATE = '0.000001 Hz', '1000000000 Hz'
ODD_NAMES = ('covariance', 'header.')
# Where something is depends on where it was told to go: it may be elsewhere, within this room.
ELSEWHERE_M = 100.0
PLACES = ('position', 'translation', 'latitude', 'longitude', 'altitude')


@dataclass
class Leaf:
    """One field of a topic: how to read it and which values it had."""

    path: str
    reader: FieldReader
    quaternion: bool
    low: float = math.inf
    high: float = -math.inf
    nan: bool = False
    infinite: bool = False
    norm_error: float = 0.0
    values: set[Any] = field(default_factory=set)
    lengths: set[int] = field(default_factory=set)

    def take(self, batch: Batch) -> None:
        """Widen the ranges by a batch."""
        if self.reader.is_array and not self.quaternion:
            self.lengths |= set(self.reader.lengths(batch.payloads).tolist())
        values = self.reader.column(batch.payloads).values
        if self.quaternion:
            norms = np.linalg.norm(values.reshape(-1, 4), axis=1)
            self.norm_error = max(self.norm_error, float(np.abs(norms - 1).max(initial=0.0)))
        elif self.reader.kind == 'number' and values.dtype.kind == 'f':
            finite = values[np.isfinite(values)]
            self.nan |= bool(np.isnan(values).any())
            self.infinite |= bool(np.isinf(values).any())
            self.low = min(self.low, float(finite.min(initial=math.inf)))
            self.high = max(self.high, float(finite.max(initial=-math.inf)))
        elif len(self.values) <= MOST_VALUES:
            self.values |= set(np.unique(values).tolist())


class TopicSurvey:
    """What was seen of one topic."""

    def __init__(self, topic: str, type_name: str, store: TypeStore) -> None:
        self.type = type_name
        self.count = 0
        self._topic = topic
        context = Context(store, None, Confidence(0.95))
        stamped = _has_header(store, type_name)
        spec = TestSpec.model_validate({
            'robot_qa': 1, 'name': 'survey', 'duration': '1 h', 'topics': {topic: {
                'rate': {'min': LEAST_RATE, 'max': MOST_RATE, 'window': '2 s'},
                'gap': {'max': '1 h'}, 'jitter': {QUANTILE: '1 h'}, 'transport': {QUANTILE: '1 h'},
                'loss': {'max': '0 %'},
                **({'age': {QUANTILE: '1 h', 'max': '1 h', 'min': '-1 h'},
                    'stamps': 'increasing'} if stamped else {}),
            }},
        })
        self._monitors: list[Monitor] = [
            *timing_monitors(spec, context), *validity_monitors(spec, context)
        ]
        self.leaves = list(_leaves(store, type_name))
        self.frame = Leaf('frame', compile_field(store, type_name, 'header.frame_id'), False) \
            if stamped else None

    def take(self, batch: Batch) -> None:
        """Take a batch of the topic."""
        self.count += len(batch)
        for monitor in self._monitors:
            monitor.update(batch)
        for leaf in [*self.leaves, *([self.frame] if self.frame else [])]:
            leaf.take(batch)

    def measured(self, seen: Observation) -> dict[str, Measurement]:
        """Return the measurements by the part of their name behind the topic."""
        return {
            one.check.name.removeprefix(f'topics.{self._topic}.'): one
            for monitor in self._monitors for one in monitor.measure(seen)
        }


class Survey:
    """What was seen of all topics; ``types`` maps topic to type."""

    def __init__(self, types: Mapping[str, str], store: TypeStore) -> None:
        self.skipped: dict[str, str] = {}
        self.topics: dict[str, TopicSurvey] = {}
        for topic, type_name in sorted(types.items()):
            if topic in UNINTERESTING or not topic.startswith('/') or '/_' in topic:
                continue
            try:
                self.topics[topic] = TopicSurvey(topic, type_name, store)
            except RobotQaError as error:
                self.skipped[topic] = str(error)

    def take(self, batches: list[Batch]) -> None:
        """Take what a probe drained."""
        for batch in batches:
            if batch.topic in self.topics:
                self.topics[batch.topic].take(batch)

    def spec(self, name: str, seen: Observation, graph: GraphSurvey | None = None) -> str:
        """Return the text of a spec that what was seen passes."""
        span = (seen.end_ns - seen.start_ns) / NS_PER_S
        lines = [
            f'# Drafted from {span:.0f} s of what was seen. Every limit is that plus a margin:',
            '# tighten what matters, delete what does not.',
            'robot_qa: 1', f'name: {name}', f'duration: {max(5, math.ceil(span))} s', '',
            'topics:',
        ]
        silent = [topic for topic, survey in self.topics.items() if not survey.count]
        for topic, survey in self.topics.items():
            if survey.count:
                lines += _topic_lines(topic, survey, seen)
        lines += [f'# {topic}: nothing was sent' for topic in silent]
        lines += [f'# {topic}: left out, {reason}' for topic, reason in self.skipped.items()]
        if graph is not None:
            lines += graph.lines(seen)
        if len(silent) == len(self.topics):
            raise RobotQaError('nothing was sent on any topic, so there is nothing to write')
        return '\n'.join(lines) + '\n'


class GraphSurvey:
    """What was seen of the graph: ``nodes`` by their full names, and what held for all of it."""

    def __init__(self, nodes: Sequence[str], store: TypeStore) -> None:
        watched = sorted(set(nodes))
        self.spec = TestSpec.model_validate({
            'robot_qa': 1, 'name': 'survey', 'duration': '1 h',
            'graph': {'unique_names': True, 'qos_compatible': True},
            'nodes': {node: {'alive': True, 'restarts': {'max': 0}} for node in watched},
        })
        self._monitors = graph_monitors(self.spec, Context(store, None, Confidence(0.95)))

    def take(self, batches: list[Batch]) -> None:
        """Take what the probe of the graph drained."""
        for batch in batches:
            for monitor in self._monitors:
                if batch.topic in monitor.topics:
                    monitor.update(batch)

    def lines(self, seen: Observation) -> Iterator[str]:
        """Yield the blocks about nodes and the graph, of what held."""
        holds = {
            one.check.name for monitor in self._monitors for one in monitor.measure(seen)
            if judge(one, '').verdict is Verdict.PASS
        }
        yield ''
        yield 'nodes:'
        for node in self.spec.nodes:
            if f'nodes.{node}.alive' in holds:
                yield f'  {node}: {{alive: true, restarts: {{max: 0}}}}'
        yield ''
        yield 'graph:'
        for check in ('unique_names', 'qos_compatible'):
            holding = f'graph.{check}' in holds
            yield f'  {check}: true' if holding else f'  # {check}: did not hold'


def _topic_lines(topic: str, survey: TopicSurvey, seen: Observation) -> list[str]:
    lines = [f'  {topic}:', f'    type: {survey.type}']
    lines += _timing_lines(survey, survey.measured(seen), seen)
    if survey.frame and survey.frame.values and len(survey.frame.values) <= MOST_VALUES:
        frames = sorted(survey.frame.values)
        if frames != ['']:
            lines.append(f'    frame_id: {_quoted(frames[0]) if len(frames) == 1 else frames}')
    fields = [line for leaf in survey.leaves for line in _field_lines(leaf)][:MOST_FIELDS]
    if fields:
        lines += ['    fields:', *fields]
    if len(lines) == 2:
        lines.append(f'    expect_count: {{min: 1}}          # seen: {survey.count}')
    return lines


def _timing_lines(
    survey: TopicSurvey, found: dict[str, Measurement], seen: Observation
) -> Iterator[str]:
    low, high = found['rate.min'].value, found['rate.max'].value
    periodic = survey.count >= 8 and low and high
    if periodic and low and high and high < 3 * low:
        window = max(2, math.ceil(8 / low))
        # A slow topic needs a longer window than was measured. It must fit between the first
        # message, which may come a period after the start, and the last.
        if (window + 1 / low) * NS_PER_S < seen.end_ns - seen.start_ns:
            yield (f'    rate: {{min: {_short(0.8 * low)} Hz, max: {_short(1.25 * high)} Hz, '
                   f'window: {window} s}}   # seen: {_short(low)} to {_short(high)} Hz; a '
                   'fifth less, a quarter more')
        worst = found['gap.max'].value or 0.0
        gap = max(3 * worst, 2.5 * NS_PER_S / low, 50e6)
        yield (f'    gap: {{max: {_time(gap)}}}   # seen: {format_ns(worst)}; three times, '
               'at least 50 ms')
        jitter = found[f'jitter.{QUANTILE}']
        if jitter.high is not None:
            limit = max(5 * jitter.high, 0.25 * NS_PER_S / high, 5e6)
            yield (f'    jitter: {{{QUANTILE}: {_time(limit)}}}   # seen: '
                   f'{format_ns(jitter.high)}; five times, at least a quarter of the period '
                   'and 5 ms')
    yield from _delay_lines(found)
    loss = found['loss.max']
    if loss.value == 0.0 and loss.count >= 8:
        yield '    loss: {max: 0 %}   # seen: none'
    stamps = found.get('stamps')
    if stamps is not None and stamps.value == 0.0:
        yield '    stamps: increasing'


def _delay_lines(found: dict[str, Measurement]) -> Iterator[str]:
    transport = found[f'transport.{QUANTILE}']
    if transport.high is not None:
        limit = max(10 * transport.high, 20e6)
        yield (f'    transport: {{{QUANTILE}: {_time(limit)}}}   # seen: '
               f'{format_ns(transport.high)}; ten times, at least 20 ms')
    age = found.get(f'age.{QUANTILE}')
    if age is None or age.high is None:
        return
    oldest, youngest = found['age.max'].value or 0.0, found['age.min'].value or 0.0
    if youngest < -NS_PER_S or oldest > 60 * NS_PER_S:
        yield '    # age: the header stamps are not on the system clock of this host'
    else:
        limit = max(3 * age.high, 100e6)
        yield (f'    age: {{{QUANTILE}: {_time(limit)}}}   # seen: {format_ns(age.high)}; '
               'three times, at least 100 ms')


def _field_lines(leaf: Leaf) -> Iterator[str]:
    parts = []
    seen = ''
    if leaf.quaternion:
        if leaf.norm_error < 5e-4:
            parts.append('unit_quaternion: true')
    elif leaf.low == leaf.high == 0.0:
        parts.append('finite: true')
        seen = '   # seen: always 0, perhaps unused'
    elif leaf.high >= leaf.low:
        if not leaf.nan:
            parts.append('finite: or_inf' if leaf.infinite else 'finite: true')
        size = max(abs(leaf.low), abs(leaf.high))
        room, words = max(leaf.high - leaf.low, 0.1 * size, 1e-3), 'one span more on each side'
        if any(word in leaf.path for word in PLACES):
            room, words = max(ELSEWHERE_M, 5 * room), 'it may go elsewhere'
        parts += [f'min: {_short(leaf.low - room)}', f'max: {_short(leaf.high + room)}']
        seen = f'   # seen: {_short(leaf.low)} to {_short(leaf.high)}; {words}'
    elif 0 < len(leaf.values) <= MOST_VALUES and '' not in leaf.values:
        values = sorted(leaf.values)
        shown = [_quoted(value) for value in values]
        parts.append(
            f'equals: {shown[0]}' if len(values) == 1 else f'one_of: [{", ".join(shown)}]'
        )
        seen = '   # seen: nothing else'
    if len(leaf.lengths) == 1 and not leaf.lengths & {-1, 0}:
        parts.append(f'length: {next(iter(leaf.lengths))}')
    if parts:
        yield f'      {leaf.path}: {{{", ".join(parts)}}}{seen}'


def _leaves(store: TypeStore, type_name: str, prefix: str = '') -> Iterator[Leaf]:
    """Yield the fields worth a check, in the order of the definition."""
    for name, desc in store.fields(type_name):
        path = f'{prefix}{name}'
        if any(odd in f'{path}.' for odd in ODD_NAMES):
            continue
        if desc[0] == Nodetype.NAME:
            inner = desc[1]
            if inner.startswith('builtin_interfaces/'):
                continue
            if inner == 'geometry_msgs/msg/Quaternion':
                yield Leaf(path, _compiled(store, type_name, prefix, path), True)
            else:
                for leaf in _leaves(store, inner, ''):
                    yield Leaf(
                        f'{path}.{leaf.path}',
                        compile_field(store, type_name, f'{name}.{leaf.path}'), leaf.quaternion,
                    )
        elif _is_worth_reading(desc):
            yield Leaf(path, compile_field(store, type_name, name), False)


def _compiled(store: TypeStore, type_name: str, prefix: str, path: str) -> FieldReader:
    return compile_field(store, type_name, path.removeprefix(prefix))


def _is_worth_reading(desc: Any) -> bool:
    if desc[0] == Nodetype.BASE:
        return desc[1][0] in ('float32', 'float64', 'string', 'bool', 'uint8', 'int8')
    item = desc[1][0]
    return bool(item[0] == Nodetype.BASE and item[1][0] in ('float32', 'float64'))


def _has_header(store: TypeStore, type_name: str) -> bool:
    first = next(iter(store.fields(type_name)), None)
    return first is not None and first[1] == (Nodetype.NAME, 'std_msgs/msg/Header')


def _short(value: float) -> str:
    return f'{value:.4g}'


def _time(ns: float) -> str:
    """Write a limit in ms, rounded up."""
    return f'{math.ceil(ns / 1e6)} ms'


def _quoted(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value).lower()
