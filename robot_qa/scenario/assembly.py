"""From the fault of a spec to what works on serialized messages, and back to a text."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from typing import Any

from numpy.random import Generator, SeedSequence, default_rng

from robot_qa.errors import RobotQaError
from robot_qa.messages.typestore import TypeStore
from robot_qa.scenario import (
    corruption,
    distributions,
    faults,
    field_faults,
    image_faults,
    range_faults,
)
from robot_qa.scenario.faults import Flow, FlowFault, Release
from robot_qa.scenario.transforms import ContentFault, Transform, sometimes
from robot_qa.spec import wire_faults
from robot_qa.spec.parts import Part
from robot_qa.spec.scenario_faults import Fault
from robot_qa.timebase import NS_PER_S

# With which unit a number is written again; it was read into ns, bytes or hertz.
_UNITS: dict[tuple[type[Part], str], str] = {
    (wire_faults.Delay, 'constant'): 'ns', (wire_faults.Normal, 'stddev'): 'ns',
    (wire_faults.Normal, 'mean'): 'ns', (wire_faults.Lognormal, 'median'): 'ns',
    (wire_faults.Uniform, 'low'): 'ns', (wire_faults.Uniform, 'high'): 'ns',
    (wire_faults.StampOffset, 'offset'): 'ns',
    (Fault, 'truncate'): 'B', (Fault, 'rate_limit'): 'Hz',
}
Send = Callable[[bytes], None]


class Pipeline:
    """All that one fault does to the messages of one topic; see Flow.

    The content is changed first, with the probability of the fault; then messages are lost,
    delayed and repeated.
    """

    def __init__(
        self, transforms: list[tuple[Transform, Generator]], flows: list[Flow],
        probability: float, generator: Generator,
    ) -> None:
        self._transforms = transforms
        self._flows = flows
        self._change = sometimes(self._changed, probability) if transforms else None
        self._generator = generator

    def push(self, now_ns: int, message: bytes) -> list[Release]:
        """Take a message and return what is to be sent now or later.

        RobotQaError: its content cannot be changed; it has not gone into any flow then.
        """
        if self._change is not None:
            message = self._change(message, self._generator)
        return self.pass_on(now_ns, message)

    def pass_on(self, now_ns: int, message: bytes) -> list[Release]:
        """Take a message whose content stays as it is."""
        return self._through(self._flows, [(now_ns, message)])

    def flush(self, now_ns: int) -> list[Release]:
        """End: return what is still held back. Nothing is pushed afterwards."""
        released: list[Release] = []
        for index, flow in enumerate(self._flows):
            released += self._through(self._flows[index + 1:], flow.flush(now_ns))
        return released

    def _changed(self, message: bytes, _: Generator) -> bytes:
        for transform, generator in self._transforms:
            message = transform(message, generator)
        return message

    @staticmethod
    def _through(flows: list[Flow], releases: list[Release]) -> list[Release]:
        # Only the last flow of a fault delays, so that the others see messages as they come.
        for flow in flows:
            releases = [out for at, message in releases for out in flow.push(at, message)]
        return releases


class Stretch:
    """One active fault, with the messages that it delays."""

    def __init__(self, work: Pipeline) -> None:
        self._work = work
        self._delayed: list[tuple[int, int, bytes]] = []
        self._numbers = itertools.count()
        self.seen = 0
        self.sent = 0
        self.touched = 0
        self.unchanged = 0
        self.reason = ''

    def push(self, now_ns: int, message: bytes) -> None:
        """Take a message; one that the fault cannot work on goes on as it is."""
        self.seen += 1
        try:
            released = self._work.push(now_ns, message)
        except RobotQaError as error:
            self.unchanged += 1
            self.reason = self.reason or str(error)
            released = self._work.pass_on(now_ns, message)
        # What was let alone is the same object in most faults, which costs no look at its bytes.
        self.touched += released != [(now_ns, message)]
        self._keep(released)

    def due(self, now_ns: int) -> list[bytes]:
        """Return what is to be sent by now, in the order of its times."""
        out = []
        while self._delayed and self._delayed[0][0] <= now_ns:
            out.append(heapq.heappop(self._delayed)[2])
        self.sent += len(out)
        return out

    def end(self, now_ns: int) -> list[bytes]:
        """Return everything that is held back, so that nothing comes late from now on."""
        self._keep(self._work.flush(now_ns))
        out = [message for _, _, message in sorted(self._delayed)]
        self._delayed.clear()
        self.sent += len(out)
        return out

    @property
    def next_ns(self) -> int | None:
        """When something is to be sent next."""
        return self._delayed[0][0] if self._delayed else None

    def report(self) -> dict[str, Any]:
        """Return what has happened so far.

        ``touched`` are the messages that were lost, late, repeated or not the same afterwards;
        ``unchanged`` those whose content the fault could not work on.
        """
        return {'seen': self.seen, 'sent': self.sent, 'touched': self.touched,
                'unchanged': self.unchanged, 'reason': self.reason}

    def _keep(self, released: list[tuple[int, bytes]]) -> None:
        for at, message in released:
            heapq.heappush(self._delayed, (at, next(self._numbers), message))


class Line:
    """The active faults one behind the other, in the order in which they were begun."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._stretches: dict[str, Stretch] = {}

    @property
    def names(self) -> list[str]:
        """The active faults."""
        return list(self._stretches)

    def begin(self, name: str, work: Pipeline) -> None:
        """Let a fault be active; the messages of the others reach it last."""
        self._stretches[name] = Stretch(work)

    def end(self, name: str, now_ns: int) -> dict[str, Any]:
        """End a fault, send on what it held back, and return its report."""
        index = self.names.index(name)
        stretch = self._stretches[name]
        for message in stretch.end(now_ns):
            self._from(index + 1, now_ns, message)
        del self._stretches[name]
        return stretch.report()

    def push(self, now_ns: int, message: bytes) -> None:
        """Take a message that has arrived."""
        self._from(0, now_ns, message)

    def work(self, now_ns: int) -> None:
        """Send what is due."""
        for index, stretch in enumerate(list(self._stretches.values())):
            for message in stretch.due(now_ns):
                self._from(index + 1, now_ns, message)

    @property
    def next_ns(self) -> int | None:
        """When something is to be sent next."""
        times = [at for one in self._stretches.values() if (at := one.next_ns) is not None]
        return min(times, default=None)

    def _from(self, index: int, now_ns: int, message: bytes) -> None:
        messages = [message]
        for stretch in list(self._stretches.values())[index:]:
            for one in messages:
                stretch.push(now_ns, one)
            messages = stretch.due(now_ns)
        for one in messages:
            self._send(one)


def pipeline(fault: Fault, store: TypeStore, type_name: str, seed: SeedSequence) -> Pipeline:
    """Return what does a fault of a spec to messages of a type, for one time of being active.

    Each kind of fault draws from a generator of its own. RobotQaError: a fault does not fit the
    type; FieldPathError: the type has no such field.
    """
    content, flow = fault.content, fault.flow
    own, *others = map(default_rng, seed.spawn(1 + len(content) + len(flow)))
    transforms = [
        (CONTENT[key](given).compiled(store, type_name), generator)
        for (key, given), generator in zip(content.items(), others, strict=False)
    ]
    flows = [
        FLOWS[key](given).start(generator)
        for (key, given), generator in zip(flow.items(), others[len(content):], strict=True)
    ]
    return Pipeline(transforms, flows, fault.probability, own)


def written(part: Part) -> dict[str, Any]:
    """Return a part of a fault as it could stand in a spec: what was left out stays out."""
    return {
        name: _written_value(part, name, getattr(part, name))
        for name in type(part).model_fields if name in part.model_fields_set
    }


def _written_value(part: Part, name: str, value: Any) -> Any:
    if isinstance(value, Part):
        return written(value)
    unit = _UNITS.get((type(part), name))
    return value if unit is None or value is None else f'{value} {unit}'


def _drop(given: wire_faults.Drop) -> FlowFault:
    if given.probability is not None:
        return faults.Drop(given.probability)
    if given.every is not None:
        return faults.DropEvery(given.every)
    assert given.burst is not None and given.mean_gap is not None
    return faults.DropBursts(given.burst, given.mean_gap)


def _delay(given: wire_faults.Delay) -> FlowFault:
    jitter = None if given.jitter is None else _distribution(given.jitter)
    return faults.Delay(given.constant, jitter, given.keep_order)


def _distribution(jitter: wire_faults.Jitter) -> distributions.Distribution:
    if jitter.uniform is not None:
        return distributions.Uniform(jitter.uniform.low, jitter.uniform.high)
    if jitter.normal is not None:
        return distributions.Normal(jitter.normal.stddev, jitter.normal.mean)
    assert jitter.lognormal is not None
    return distributions.Lognormal(jitter.lognormal.median, jitter.lognormal.sigma)


def _rate_limit(hertz: float) -> FlowFault:
    return faults.RateLimit(max(1, round(NS_PER_S / hertz)))


def _bit_flips(given: wire_faults.BitFlips) -> ContentFault:
    if given.count is not None:
        return corruption.FlipBits(given.count)
    assert given.rate is not None
    return corruption.BitErrors(given.rate)


CONTENT: dict[str, Callable[[Any], ContentFault]] = {
    'nan': lambda given: field_faults.SetValue(given.field, float('nan'), given.share),
    'inf': lambda given: field_faults.SetValue(given.field, float('inf'), given.share),
    'value': lambda given: field_faults.SetValue(given.field, given.value, given.share),
    'bias': lambda given: field_faults.AddBias(given.field, given.bias, given.share),
    'noise': lambda given: field_faults.AddNoise(given.field, given.stddev, given.share),
    'low_light': lambda given: image_faults.LowLight(given.gain, given.noise),
    'blur': lambda given: image_faults.Defocus(given.sigma),
    'motion_blur': lambda given: image_faults.MotionBlur(given.length, given.angle),
    'image_noise': lambda given: image_faults.ImageNoise(given.stddev),
    'occlusion': lambda given: image_faults.Occlusion(
        given.x, given.y, given.width, given.height, given.brightness),
    'rotate': lambda given: image_faults.Rotation(given.angle),
    'dead_pixels': lambda given: image_faults.DeadPixels(given.share, given.hot),
    'jpeg': lambda given: image_faults.JpegArtefacts(given.quality),
    'range_dropout': lambda given: range_faults.RangeDropout(given.share),
    'range_noise': lambda given: range_faults.RangeNoise(given.stddev),
    'ghost_returns': lambda given: range_faults.GhostReturns(given.share, given.near, given.far),
    'blocked_sector': lambda given: range_faults.BlockedSector(
        given.center, given.width, given.range),
    'stale_stamps': lambda given: corruption.StaleStamps(given.path),
    'stamp_offset': lambda given: corruption.ShiftStamps(given.offset, 0.0, given.path),
    'stamp_drift': lambda given: corruption.ShiftStamps(0, given.ppm, given.path),
    'frame_id': lambda given: corruption.FrameId(given.frame_id, given.path),
    'bit_flips': _bit_flips,
    'truncate': corruption.Truncate,
}
FLOWS: dict[str, Callable[[Any], FlowFault]] = {
    'drop': _drop,
    'freeze': lambda _: faults.Freeze(),
    'rate_limit': _rate_limit,
    'duplicate': lambda given: faults.Duplicate(given.probability, given.copies),
    'reorder': lambda given: faults.Reorder(given.window),
    'delay': _delay,
}
