"""Bounds on the pose of one frame in another, through all edges between them.

The pose is evaluated at every stamp of every edge of the chain, the other edges interpolated at
that stamp as tf2 does (linearly and by slerp), and never extrapolated. A static edge holds at all
times; if it is published anew, from then on with the new value. Of several transforms of an edge
with one stamp the first counts (as in tf2, which ignores the others).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from robot_qa.geometry import Floats, Poses, roll_pitch_yaw, rotation_angle
from robot_qa.monitors.base import Check, Column, Findings, Limit, Measurement, missing
from robot_qa.monitors.transforms import TF_TOPIC, Link, Samples
from robot_qa.monitors.tree import Tree
from robot_qa.probes.batch import Int64s
from robot_qa.spec.frames import TransformLimits, frames_of
from robot_qa.timebase import NS_PER_S, format_ns

# What tf2 keeps; a stamp further back than this is from before a reset of the time.
MEMORY_NS = 10 * NS_PER_S
# How many moments are evaluated at once.
CHUNK = 65536
_AXES = ('x', 'y', 'z')
_ANGLES = ('roll', 'pitch', 'yaw')

Path = list[tuple[Link, bool]]


class Track:
    """The samples of one edge, as they were received."""

    def __init__(self) -> None:
        self._stamps = Column()
        self._received = Column()
        self._poses = Column()

    def extend(self, samples: Samples, received: Int64s) -> None:
        """Append samples and when they were received, shape (n,)."""
        self._stamps.extend(samples.stamps)
        self._received.extend(received)
        # A column holds eight bytes a value, whatever they mean.
        self._poses.extend(samples.poses.ravel().view(np.int64))

    def stepped_back(self) -> int:
        """Return the furthest that a stamp is before one that was received earlier, in ns."""
        stamps = self._stamps.values
        return int((np.maximum.accumulate(stamps) - stamps).max())

    def moving(self) -> Held:
        """Return the samples by their stamps."""
        stamps, first = np.unique(self._stamps.values, return_index=True)
        return Held(stamps, self._received.values[first], self._rows()[first])

    def fixed(self) -> Held:
        """Return the samples by when they were received."""
        order = np.argsort(self._received.values, kind='stable')
        received = self._received.values[order]
        return Held(received, received, self._rows()[order])

    def _rows(self) -> Floats:
        return self._poses.values.view(np.float64).reshape(-1, 7)


@dataclass(frozen=True)
class Held:
    """The poses (n, 7) of an edge at ``times`` (n,), and when they were received (n,)."""

    times: Int64s
    received: Int64s
    poses: Floats

    def at(self, times: Int64s) -> Poses:
        """Interpolate at times from the first to the last."""
        after = np.searchsorted(self.times, times)
        before = np.maximum(after - (self.times[after] != times), 0)
        span = np.maximum(self.times[after] - self.times[before], 1)
        ratio = (times - self.times[before]) / span
        return Poses.of(self.poses[before]).towards(Poses.of(self.poses[after]), ratio)

    def since(self, times: Int64s) -> Poses:
        """Return the last pose up to each time; before the first, that one."""
        return Poses.of(self.poses[np.maximum(np.searchsorted(self.times, times, 'right') - 1, 0)])


@dataclass
class Bound:
    """One limit on one quantity of a transform, and what came of it."""

    check: Check
    quantity: str
    center: float | None
    extreme: float | None = None
    found: Findings = field(default_factory=Findings)

    def take(self, poses: Poses, times: Int64s, received: Int64s) -> None:
        """Judge the poses at these times, all of shape (n,)."""
        values = quantity(self.quantity, poses)
        if self.center is not None:
            values = (values - self.center + 180.0) % 360.0 - 180.0 + self.center
        limit, unit = self.check.limit, self.check.unit
        worst = float((np.fmin if limit.side == 'min' else np.fmax).reduce(values))
        if not np.isnan(worst):
            known = worst if self.extreme is None else self.extreme
            self.extreme = min(worst, known) if limit.side == 'min' else max(worst, known)
        # Written as "not inside", because every comparison with NaN is false.
        inside = values >= limit.value if limit.side == 'min' else values <= limit.value
        self.found.add(np.flatnonzero(~inside), received, lambda i: (
            float(values[i]),
            f'{self.quantity} = {values[i]:.6g} {unit} at {_seconds(int(times[i]))}',
        ))


class Chain:
    """The limits on one transform."""

    def __init__(self, pair: str, limits: TransformLimits) -> None:
        self.frames = frames_of(pair)
        self.bounds: list[Bound] = []
        for name in limits.limits():
            allowed = getattr(limits, name)
            unit = 'm' if name in (*_AXES, 'distance') else 'deg'
            turning = name in _ANGLES and allowed.min is not None and allowed.max is not None
            # 179 and -181 degrees are one angle; the one that is nearer to the range counts.
            center = (allowed.min + allowed.max) / 2 if turning else None
            for side in allowed.limits():
                limit = Limit(side, getattr(allowed, side))
                check = Check(f'tf.transforms.{pair}.{name}.{side}', TF_TOPIC, limit, unit)
                self.bounds.append(Bound(check, name, center))


class Chains:
    """All limits on transforms, and the samples that they need."""

    def __init__(self, transforms: dict[str, TransformLimits], tree: Tree) -> None:
        self._chains = [Chain(pair, limits) for pair, limits in transforms.items()]
        self.checks = [bound.check for chain in self._chains for bound in chain.bounds]
        self._tree = tree
        self._moving: dict[Link, Track] = {}
        self._static: dict[Link, Track] = {}
        self._needed: set[Link] | None = None if self._chains else set()

    def update(self, link: Link, samples: Samples, received: Int64s, *, static: bool) -> None:
        """Take the samples of an edge, and when their messages were received."""
        if self._needed is None or link in self._needed:
            tracks = self._static if static else self._moving
            tracks.setdefault(link, Track()).extend(samples, received)

    def tree_grew(self) -> None:
        """Forget the edges that no chain needs, once all chains are complete."""
        if self._needed is not None:
            return
        paths = [self._tree.path(*chain.frames) for chain in self._chains]
        if any(lacking for _, lacking in paths):
            return
        self._needed = {link for path, _ in paths for link, _ in path}
        for tracks in (self._moving, self._static):
            for link in tracks.keys() - self._needed:
                del tracks[link]

    def measure(self, messages: int, malformed: Findings) -> list[Measurement]:
        """Return the extremes of each quantity; what is malformed breaks all limits."""
        return [
            measured for chain in self._chains
            for measured in self._measure(chain, messages, malformed)
        ]

    def _measure(self, chain: Chain, messages: int, malformed: Findings) -> list[Measurement]:
        bounds = [
            Bound(bound.check, bound.quantity, bound.center, None,
                  Findings(malformed.total, list(malformed.kept)))
            for bound in chain.bounds
        ]
        count = 0
        path, lacking = self._tree.path(*chain.frames)
        if not lacking:
            lacking = self._time_went_back(path)
        if not lacking:
            for poses, times, received in self._evaluate(path):
                count += len(times)
                for bound in bounds:
                    bound.take(poses, times, received)
            edges = ', '.join(' -> '.join(link) for link, _ in path)
            lacking = '' if count else f'at no stamp all of these are known: {edges}'
        return [_result(bound, count, messages, lacking) for bound in bounds]

    def _time_went_back(self, path: Path) -> str:
        for link, _ in path:
            if link in self._moving and link not in self._static:
                step = self._moving[link].stepped_back()
                if step > MEMORY_NS:
                    return (f'the stamps of {" -> ".join(link)} went back by {format_ns(step)}, '
                            'as when time is reset: what came before and after cannot be joined')
        return ''

    def _evaluate(self, path: Path) -> Iterator[tuple[Poses, Int64s, Int64s]]:
        """Yield the poses at all moments at which they are known, a chunk at a time."""
        static = {link: self._static[link].fixed() for link, _ in path if link in self._static}
        moving = {link: self._moving[link].moving() for link, _ in path if link not in static}
        leading = list((moving or static).values())
        times, first = np.unique(
            np.concatenate([held.times for held in leading]), return_index=True
        )
        received = np.concatenate([held.received for held in leading])[first]
        if moving:
            known = (times >= max(held.times[0] for held in leading)) & (
                times <= min(held.times[-1] for held in leading))
            times, received = times[known], received[known]
        for start in range(0, len(times), CHUNK):
            at, when = times[start:start + CHUNK], received[start:start + CHUNK]
            poses = None
            for link, down in path:
                edge = static[link].since(when) if link in static else moving[link].at(at)
                step = edge if down else edge.inverse()
                poses = step if poses is None else poses @ step
            assert poses is not None, 'a path between two frames has an edge'
            yield poses, at, when


def quantity(name: str, poses: Poses) -> Floats:
    """Return one quantity of transforms, shape (n,), in m or degrees."""
    if name in _AXES:
        axis: Floats = poses.translation[:, _AXES.index(name)]
        return axis
    if name == 'distance':
        length: Floats = np.linalg.norm(poses.translation, axis=1)
        return length
    if name == 'rotation':
        whole: Floats = np.degrees(rotation_angle(poses.rotation))
        return whole
    angle: Floats = np.degrees(roll_pitch_yaw(poses.rotation)[:, _ANGLES.index(name)])
    return angle


def _result(bound: Bound, count: int, messages: int, lacking: str) -> Measurement:
    if bound.found.total:
        value = bound.extreme
        return Measurement(
            bound.check, value, value, value, count or messages,
            evidence=tuple(bound.found.kept), violations=bound.found.total,
        )
    if not messages:
        return missing(bound.check, 0)
    if lacking:
        return missing(bound.check, messages, lacking)
    value = bound.extreme
    return Measurement(bound.check, value, value, value, count)


def _seconds(stamp_ns: int) -> str:
    return f'{stamp_ns // NS_PER_S}.{stamp_ns % NS_PER_S:09d}'
