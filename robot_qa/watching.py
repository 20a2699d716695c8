"""One topic, watched while a test does other things, and what is expected of it."""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import wraps
from operator import methodcaller
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import yaml

from robot_qa.checks import CheckResult, Verdict
from robot_qa.errors import RobotQaError, SpecError, did_you_mean
from robot_qa.messages.fields import compile_field
from robot_qa.messages.typestore import TypeStore
from robot_qa.monitors.base import CLOCK_TOPIC, SimulatedClock
from robot_qa.panel import Panel, clock_first
from robot_qa.probes.batch import Batch, Observation
from robot_qa.quantities import parse_duration
from robot_qa.spec.loader import LoadedSpec, load_spec
from robot_qa.spec.marks import KeyPath, compose
from robot_qa.timebase import NS_PER_S, format_ns

if TYPE_CHECKING:
    from robot_qa.probes.live import LiveProbe

DISCOVERY_S = 5.0
PUMP_S = 0.05
# Under simulation the wall clock bounds the waiting for simulated time.
SLOWEST_SIMULATION, SPARE_S = 10, 30.0
KEPT_BYTES = 1 << 30

Arguments = ParamSpec('Arguments')
Answer = TypeVar('Answer')


class ExpectationError(AssertionError):
    """Something that a test expects does not hold, or cannot be decided."""


# What is not met is a matter of the test: pytest shows its line and none of ours.
HIDDEN = methodcaller('errisinstance', (ExpectationError, ValueError, RobotQaError))
__tracebackhide__ = HIDDEN


def plain(call: Callable[Arguments, Answer]) -> Callable[Arguments, Answer]:
    """Let errors whose text says all leave ``call`` without the lines of ours that they crossed.
    """
    @wraps(call)
    def called(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Answer:
        try:
            return call(*args, **kwargs)
        except RobotQaError as error:
            raise error.with_traceback(None) from None

    return called


class Monitor:
    """Watches one topic from its making on.

    An expectation waits until the topic was watched for ``over``, and is judged by all that came
    since; `restart` forgets it. Of more than 1 GiB the oldest is forgotten, too. ``check`` raises
    what makes everything that came worth nothing, such as a process that has crashed.
    """

    def __init__(
        self, probe: LiveProbe, topic: str, over: str, folder: Path, *, type: str | None,
        simulated: bool, check: Callable[[], None],
    ) -> None:
        self.topic = topic
        self._check = check
        self._probe = probe
        self._type = type
        self._over = over
        self._over_ns = parse_duration(over)
        self._folder = folder
        self._simulated = simulated
        self._store = TypeStore()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._trouble: Exception | None = None
        self._thread = threading.Thread(target=self._pump, name=f'monitor {topic}', daemon=True)
        self._discover()
        self._begin()
        self._thread.start()

    def restart(self) -> None:
        """Forget what came so far and begin to watch now."""
        with self._held():
            self._begin()

    def close(self) -> None:
        """Watch no longer."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        self._probe.close()

    @property
    def count(self) -> int:
        """How many messages have come."""
        with self._held():
            return self._came()

    @plain
    def latest(self, path: str) -> Any:
        """Return a field of the newest message, such as ``pose.pose.position.x``.

        None before there is one. Raises FieldPathError where the type has no such field.
        """
        with self._held():
            ours = (one for one in reversed(self._batches) if one.topic == self.topic)
            newest = next(ours, None)
        if newest is None:
            return None
        return compile_field(self._store, newest.type, path).read(newest.payloads[-1])

    @plain
    def rate(
        self, min: float | str | None = None, max: float | str | None = None, window: str = '2 s',
    ) -> list[CheckResult]:
        """Expect so many messages a second, in every window; numbers are Hz."""
        hertz = {key: value if isinstance(value, str) else f'{value} Hz'
                 for key, value in (('min', min), ('max', max)) if value is not None}
        if parse_duration(window) > self._over_ns:
            raise ValueError(f'the window of {window} is longer than over={self._over!r}: watch '
                             f'for at least that, monitor({self.topic!r}, over={window!r}), or '
                             'give a shorter window')
        return self.expect(rate={**hertz, 'window': window})

    def gap(self, max: str) -> list[CheckResult]:
        """Expect no longer silence than this between two messages."""
        return self.expect(gap={'max': max})

    def jitter(self, **limits: str) -> list[CheckResult]:
        """Expect even intervals: quantiles such as ``p95='10 ms'``, ``max``, ``period``."""
        return self.expect(jitter=limits)

    def age(self, **limits: str) -> list[CheckResult]:
        """Expect young messages, reception minus header.stamp: ``p95='50 ms'``, ``max``, ``min``.
        """
        return self.expect(age=limits)

    def transport(self, **limits: str) -> list[CheckResult]:
        """Expect short ways, reception minus sending: ``p95='20 ms'``, ``max``."""
        return self.expect(transport=limits)

    def loss(self, max: str) -> list[CheckResult]:
        """Expect that no larger share of the messages is lost."""
        return self.expect(loss={'max': max})

    def stamps(self, order: str = 'increasing') -> list[CheckResult]:
        """Expect header stamps that are ``increasing`` or ``non_decreasing``."""
        return self.expect(stamps=order)

    def frame_id(self, *allowed: str) -> list[CheckResult]:
        """Expect one of these in every header."""
        return self.expect(frame_id=list(allowed))

    def field(self, path: str, **checks: Any) -> list[CheckResult]:
        """Expect something of a field of every message: ``min``, ``max``, ``finite`` ..."""
        return self.expect(fields={path: checks})

    @plain
    def expect(self, **limits: Any) -> list[CheckResult]:
        """Expect what a topic of a spec can say about its messages, all at once."""
        blocks: dict[str, Any] = {'clock': 'ros'} if self._simulated else {}
        kind = {'type': self._type} if self._type else {}
        blocks['topics'] = {self.topic: {**kind, **limits}}
        loaded = fragment(self._folder, self._over, blocks, ('topics', self.topic),
                          called='over')
        if loaded.spec.topics[self.topic].about_graph:
            raise ValueError('who publishes and subscribes is not in the messages; use '
                             'robot.expect(topics={...})')
        self._wait()
        panel = Panel(loaded, self._store)
        with self._held():
            batches, seen, nobody = list(self._batches), self._observation(), self._nobody()
        for batch in batches:
            panel.update([batch])
        results = panel.results(seen, final=True)
        watched = format_ns(seen.end_ns - seen.start_ns)
        unmet(results, f'{self.topic}, {nobody}watched for {watched}')
        return results

    def _wait(self) -> None:
        limit_s = self._over_ns / NS_PER_S
        if self._simulated:
            limit_s = SLOWEST_SIMULATION * limit_s + SPARE_S
        deadline = time.monotonic() + limit_s + SPARE_S
        while (watched_ns := self._watched_ns()) < self._over_ns:
            if self._overfull:
                raise ExpectationError(
                    f'{self.topic}: within over={self._over!r} came more than the '
                    f'{KEPT_BYTES >> 20} MiB that are kept; watch it for less')
            if time.monotonic() > deadline:
                raise ExpectationError(
                    f'simulated time stands still: {self.topic} was watched for '
                    f'{format_ns(watched_ns)} of it')
            time.sleep(PUMP_S)

    def _held(self) -> threading.Lock:
        """Return what keeps that which came as it is; raise where nothing more can come."""
        self._check()
        if self._trouble is not None:
            raise self._trouble
        if self._ended.is_set():
            raise ValueError(f'{self.topic} is watched no longer: its robot was closed')
        return self._lock

    def _watched_ns(self) -> int:
        with self._held():
            if not self._simulated:
                return self._probe.observation().end_ns - self._start_ns
            kept = self._clock.received.values >= self._start_ns
            ticks = self._clock.simulated.values[kept]
            return int(ticks[-1] - ticks[0]) if len(ticks) else 0

    def _came(self) -> int:
        return sum(len(batch) for batch in self._batches if batch.topic == self.topic)

    def _nobody(self) -> str:
        """Say that nobody publishes the topic, where that is why nothing came."""
        node = self._probe.node
        if self._came() or node.count_publishers(self.topic):
            return ''
        published = [one for one, _ in node.get_topic_names_and_types()
                     if node.count_publishers(one)]
        return f'which nobody publishes{did_you_mean(self.topic, published)}, '

    def _discover(self) -> None:
        """Give discovery its time; what never comes is for the expectations to judge."""
        deadline = time.monotonic() + DISCOVERY_S
        while self._probe.missing([self.topic], [], []) and time.monotonic() < deadline:
            self._probe.drain()
            time.sleep(PUMP_S)

    def _begin(self) -> None:
        self._batches: deque[Batch] = deque()
        self._bytes = 0
        self._overfull = False
        self._clock = SimulatedClock()
        self._probe.begin()
        self._start_ns = self._probe.observation().start_ns

    def _pump(self) -> None:
        while not self._ended.wait(min(PUMP_S, self._probe.pause_s)):
            try:
                with self._lock:
                    self._take()
            except Exception as error:  # shown where the test waits
                self._trouble = error
                return

    def _take(self) -> None:
        for batch in clock_first(self._probe.drain()):
            self._batches.append(batch)
            self._bytes += int(batch.payloads.lengths.sum())
            if batch.topic == CLOCK_TOPIC:
                self._clock.update(batch)
        while self._bytes > KEPT_BYTES and len(self._batches) > 1:
            oldest = self._batches.popleft()
            self._bytes -= int(oldest.payloads.lengths.sum())
            self._start_ns = int(oldest.received_ns[-1])
            self._overfull = True

    def _observation(self) -> Observation:
        seen = self._probe.observation()
        return Observation(self._start_ns, seen.end_ns, seen.overruns, seen.notes)


def unmet(results: Sequence[CheckResult], what: str) -> None:
    """Raise ExpectationError with a line for each result that is no pass."""
    lines = [f'{what}: {_short(one.name)}: {one.reason}'
             for one in results if one.verdict is not Verdict.PASS]
    if lines:
        raise ExpectationError('\n'.join(lines))


def _short(name: str) -> str:
    """Leave out what "/scan, watched for 3 s" says already."""
    return re.sub(r'^(topics\./[^.]*|scenario)\.', '', name)


def fragment(
    folder: Path, duration: str, blocks: dict[str, Any], inside: KeyPath = (),
    called: str = 'duration',
) -> LoadedSpec:
    """Return a spec made of these blocks; a file of it is written into ``folder``.

    Raises ValueError with what is wrong in them, and where: places are told from ``inside`` on,
    and the duration is ``called`` as its argument.
    """
    data = {'robot_qa': 1, 'name': 'expectation', 'duration': duration, **blocks}
    path = folder / 'expectation.qa.yaml'
    text = yaml.safe_dump(data, sort_keys=False)
    path.write_text(text, encoding='utf-8')
    try:
        return load_spec(path)
    except SpecError as error:
        marks = compose(text, str(path))
        places = {where: key for key, where in (*marks.keys.items(), *marks.values.items())}
        places[marks.values['duration',]] = called,
        told = [_placed(places.get((one.line, one.column), ()), inside) + one.message
                for one in error.problems]
        raise ValueError('; '.join(told).replace(
            'the duration of the run', f'{called}={duration!r}')) from None


def _placed(place: KeyPath, inside: KeyPath) -> str:
    """Return the place of a mistake as a caller knows it, which ends with ": "."""
    inner = place[len(inside):] if place[:len(inside)] == inside else place
    return f'{".".join(map(str, inner))}: ' if inner else ''
