"""The tf tree: frames that are there, one tree, one parent each, edges that are fresh."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from robot_qa.errors import MessageError, did_you_mean
from robot_qa.geometry import Floats, Poses, rotation_angle
from robot_qa.monitors.base import (
    EVIDENCE_KEPT,
    Check,
    Context,
    Evidence,
    Findings,
    Limit,
    Measurement,
    Monitor,
    exact,
    missing,
)
from robot_qa.monitors.chains import Chains
from robot_qa.monitors.latency import AgeMonitor
from robot_qa.monitors.timing import GapMonitor, RateMonitor
from robot_qa.monitors.transforms import (
    STATIC_TOPIC,
    TF_TOPIC,
    TF_TYPE,
    Samples,
    TransformReader,
)
from robot_qa.monitors.tree import Tree
from robot_qa.probes.batch import Batch, Observation, Payloads
from robot_qa.spec.frames import Edge, Tf, frames_of
from robot_qa.spec.model import TestSpec
from robot_qa.timebase import NS_PER_S

# Two values of a static edge are the same up to this, in m and in rad: what rounding may do.
SAME = 1e-9
# An edge as a message of its own, cut off behind its stamp.
_STAMPED = np.dtype([('encapsulation', 'u1', 4), ('sec', '<i4'), ('nanosec', '<u4')])
_STAMPED_TYPE = 'geometry_msgs/msg/TransformStamped'


def frame_monitors(spec: TestSpec, context: Context) -> list[Monitor]:
    """Return the monitor of the ``tf:`` block."""
    return [FrameMonitor(spec.tf, context)] if spec.tf is not None else []


class FrameMonitor:
    """All checks on /tf and /tf_static; every message is read once."""

    looks_back = True

    def __init__(self, tf: Tf, context: Context) -> None:
        self.topics = (TF_TOPIC, STATIC_TOPIC)
        self._tree = Tree()
        self._shape = TreeChecks(tf, self._tree)
        self._timings = [
            EdgeTiming(pair, edge, context) for pair, edge in tf.edges.items() if not edge.static
        ]
        self._statics = [StaticEdge(pair) for pair, edge in tf.edges.items() if edge.static]
        self._chains = Chains(tf.transforms, self._tree)
        self.checks = [
            *self._shape.checks,
            *(check for timing in self._timings for check in timing.checks),
            *(static.check for static in self._statics),
            *self._chains.checks,
        ]
        self._reader = TransformReader()
        self._messages = dict.fromkeys(self.topics, 0)
        self._malformed = {topic: Findings() for topic in self.topics}

    def update(self, batch: Batch) -> None:
        """Take a batch of either topic. Raises MessageError for one of another type."""
        if batch.type != TF_TYPE:
            raise MessageError(f'{batch.topic} carries {batch.type}; {TF_TYPE} was expected')
        static = batch.topic == STATIC_TOPIC
        self._messages[batch.topic] += len(batch)
        links, errors = self._reader.read(batch.payloads)
        self._malformed[batch.topic].add(
            np.array(sorted(errors), np.int64), batch.received_ns,
            lambda i: (errors[i], f'the message cannot be read: {errors[i]}'),
        )
        grew = False
        for link, samples in links.items():
            received = batch.received_ns[samples.rows]
            grew |= self._tree.add(link, int(received.min()))
            self._chains.update(link, samples, received, static=static)
        if grew:
            self._chains.tree_grew()
        for edge in self._statics:
            if edge.link in links:
                edge.update(links[edge.link], batch)
        for timing in self._timings:
            if not static and timing.link in links:
                timing.update(links[timing.link], batch)

    def measure(self, seen: Observation) -> list[Measurement]:
        """Return what the tree, its edges and the transforms through it came to."""
        messages = sum(self._messages.values())
        moving, static = (self._malformed[topic] for topic in self.topics)
        malformed = joined(moving, static)
        return [
            *self._shape.measure(messages, malformed, seen),
            *(one for timing in self._timings
              for one in timing.measure(seen, self._messages[TF_TOPIC])),
            *(edge.measure(seen, self._messages[STATIC_TOPIC]) for edge in self._statics),
            *self._chains.measure(messages, malformed),
        ]


class TreeChecks:
    """Which frames there are and how they hang together."""

    def __init__(self, tf: Tf, tree: Tree) -> None:
        self._tree = tree
        self._frames = tf.frames or []
        self.checks: list[Check] = []
        if tf.frames:
            limit = Limit('exactly', len(tf.frames))
            self.checks.append(Check('tf.frames', TF_TOPIC, limit, 'frames', at_end=True))
        if tf.connected:
            self.checks.append(
                Check('tf.connected', TF_TOPIC, Limit('exactly', 1), 'trees', at_end=True))
        if tf.single_parent:
            self.checks.append(
                Check('tf.single_parent', TF_TOPIC, Limit('max', 0), 'frames with two parents'))

    def measure(
        self, messages: int, malformed: Findings, seen: Observation
    ) -> list[Measurement]:
        """Return how many frames and trees there are, and how many frames with two parents."""
        measures = {
            'tf.frames': self._present, 'tf.connected': self._connected,
            'tf.single_parent': self._parents,
        }
        results = []
        for check in self.checks:
            value, loops, texts = measures[check.name](seen.end_ns)
            found = Findings(
                malformed.total + loops, [*malformed.kept, *texts][:EVIDENCE_KEPT])
            if not messages:
                results.append(missing(check, 0))
            elif not self._tree.frames and not malformed.total:
                results.append(missing(check, messages, 'no message held a transform'))
            else:
                results.append(exact(check, value, messages, found))
        return results

    def _present(self, end_ns: int) -> tuple[int, int, list[Evidence]]:
        absent = [frame for frame in self._frames if frame not in self._tree.frames]
        return len(self._frames) - len(absent), 0, [
            Evidence(end_ns, frame, f'{frame} was never in the tree'
                     + did_you_mean(frame, self._tree.frames))
            for frame in absent
        ]

    def _connected(self, end_ns: int) -> tuple[int, int, list[Evidence]]:
        parts, loops = self._tree.parts(), self._tree.loops()
        texts = [Evidence(end_ns, None, f'no root, as there is a loop: {_listed(loop)}')
                 for loop in loops]
        if len(parts) > 1:
            whole = ' | '.join(_listed(part) for part in parts)
            texts.append(Evidence(end_ns, len(parts), f'separate parts: {whole}'))
        return len(parts), len(loops), texts

    def _parents(self, end_ns: int) -> tuple[int, int, list[Evidence]]:
        broken = []
        for frame in self._tree.frames:
            parents = self._tree.parents(frame)
            if len(parents) > 1:
                names = ' and '.join(name for name, _ in parents)
                broken.append(Evidence(parents[1][1], frame, f'{frame} has the parents {names}'))
        return len(broken), 0, sorted(broken, key=lambda one: (one.stamp_ns, one.text))


class EdgeTiming:
    """Rate, gap and age of one edge, by the monitors of topics."""

    def __init__(self, pair: str, edge: Edge, context: Context) -> None:
        self.link = frames_of(pair)
        self._pair = pair
        self._monitors: list[Monitor] = []
        if edge.rate is not None:
            self._monitors.append(RateMonitor(pair, edge.rate, edge.basis, context))
        if edge.gap is not None:
            self._monitors.append(GapMonitor(pair, edge.gap, edge.basis, context))
        if edge.age is not None:
            self._monitors.append(AgeMonitor(pair, edge.age, context))
        self.checks = [_of_edge(check) for one in self._monitors for check in one.checks]

    def update(self, samples: Samples, batch: Batch) -> None:
        """Hand the samples on as if the edge had a topic of its own."""
        stamped = np.zeros(len(samples.rows), _STAMPED)
        stamped['encapsulation'] = (0, 1, 0, 0)
        stamped['sec'], stamped['nanosec'] = np.divmod(samples.stamps, NS_PER_S)
        size = _STAMPED.itemsize
        alone = Batch(
            self._pair, _STAMPED_TYPE,
            None if batch.source_ns is None else batch.source_ns[samples.rows],
            batch.received_ns[samples.rows], None, batch.publisher[samples.rows],
            Payloads(stamped.tobytes(), np.arange(len(stamped)) * size,
                     np.full(len(stamped), size)),
        )
        for monitor in self._monitors:
            monitor.update(alone)

    def measure(self, seen: Observation, messages: int) -> list[Measurement]:
        """Return the measurements; where others came, that this edge did not is said."""
        results = []
        for monitor in self._monitors:
            for measured in monitor.measure(seen):
                reason = measured.reason
                if messages and not measured.count and not reason:
                    reason = f'{self._pair} was never published on {TF_TOPIC}'
                results.append(replace(measured, check=_of_edge(measured.check), reason=reason))
        return results


class StaticEdge:
    """An edge that is on /tf_static and not on /tf, and never changes its value."""

    def __init__(self, pair: str) -> None:
        self.link = frames_of(pair)
        self._pair = pair
        self.check = Check(
            f'tf.edges.{pair}.static', STATIC_TOPIC, Limit('max', 0), 'violations', at_end=True
        )
        self._value: Floats | None = None
        self._count = 0
        self._moving = Findings()
        self._changed = Findings()

    def update(self, samples: Samples, batch: Batch) -> None:
        """Compare the samples with the first that came on /tf_static."""
        self._count += len(samples.rows)
        received = batch.received_ns[samples.rows]
        if batch.topic != STATIC_TOPIC:
            text = f'{self._pair} was published on {batch.topic}'
            self._moving.add(np.arange(len(received)), received, lambda i: (text, text))
            return
        if self._value is None:
            self._value = samples.poses[:1]
        change = Poses.of(self._value).inverse() @ Poses.of(samples.poses)
        moved = np.linalg.norm(change.translation, axis=1)
        turned = rotation_angle(change.rotation)
        same = (moved <= SAME) & (turned <= SAME)
        self._changed.add(np.flatnonzero(~same), received, lambda i: (
            float(moved[i]), f'the value is {moved[i]:.3g} m and {np.degrees(turned[i]):.3g} deg '
            'away from the first one',
        ))

    def measure(self, seen: Observation, messages: int) -> Measurement:
        """Return how often the edge was not what it should be."""
        found = joined(self._moving, self._changed)
        if self._value is None and messages and not found.total:
            text = f'{self._pair} was never published on {STATIC_TOPIC}'
            found = found.with_one(Evidence(seen.end_ns, None, text))
        if not self._count and not messages:
            return missing(self.check, 0)
        return exact(self.check, found.total, max(self._count, found.total), found)


def joined(first: Findings, second: Findings) -> Findings:
    """Return what both found, in an order that does not depend on which came first."""
    kept = sorted([*first.kept, *second.kept], key=lambda one: one.stamp_ns)
    return Findings(first.total + second.total, kept[:EVIDENCE_KEPT])


def _of_edge(check: Check) -> Check:
    name = 'tf.edges.' + check.name.removeprefix('topics.')
    return replace(check, name=name, topic=TF_TOPIC)


def _listed(frames: list[str]) -> str:
    return ', '.join(frames[:8]) + (f' and {len(frames) - 8} more' if len(frames) > 8 else '')
