"""What a model node uses to publish the times of its stages, without waiting for the middleware.

    self.times = stage_times(self)                     # publishes on ~/stages

    def look(self, image, info):
        with self.times.input(image.header.stamp, info['received_timestamp']):
            with stage('preprocess'):
                tensor = prepared(image)
            with stage('inference'):
                found = self.model(tensor)
            with stage('publishing'):
                self.publisher.publish(message(found))

A stage costs about a microsecond: its time is kept in memory. At the end of the input all its
times go to a thread, which publishes one diagnostic_msgs/msg/DiagnosticArray. When that thread
does not keep up, inputs are dropped and the drops are counted and published. doc/instrument.md
has the convention, for nodes in other languages.

This module needs ROS only in `stage_times`: code that is also used elsewhere may say `stage`
anywhere, and outside of an input it does nothing.
"""

from __future__ import annotations

import functools
import inspect
import threading
import time
from collections.abc import Callable
from contextvars import ContextVar, Token
from queue import SimpleQueue
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

TOPIC = '~/stages'
TYPE = 'diagnostic_msgs/msg/DiagnosticArray'
# Keys of the convention; all values are whole numbers, times in ns.
STAGE = 'stage.'
INFERENCE, PUBLISHING = f'{STAGE}inference', f'{STAGE}publishing'
INPUT, QUEUEING, TOTAL = 'input', 'queueing', 'total'
COLD_START, DROPPED = 'cold_start', 'dropped'

QUEUE = 64
CLOSING_PATIENCE_S = 1.0

Asked = ParamSpec('Asked')
Given = TypeVar('Given')


class Stage:
    """Times a block, ``with stage('inference'):``, or every call of a function, ``@stage(...)``.

    The time belongs to the input that is being processed in this thread or task; where there is
    none, nothing is kept. Make a new one for each ``with``. ``synchronize`` is called before the
    end is noted: what only starts work on a GPU has to wait for it, or its time is not its own.
    """

    __slots__ = ('_begun', '_input', '_name', '_synchronize')

    def __init__(self, name: str, synchronize: Callable[[], object] | None = None) -> None:
        self._name = name
        self._synchronize = synchronize
        self._input: Input | None = None
        self._begun = 0

    def __enter__(self) -> None:
        self._input = _current.get()
        self._begun = time.perf_counter_ns()

    def __exit__(self, *_: object) -> None:
        if self._synchronize is not None:
            self._synchronize()
        ended = time.perf_counter_ns()
        if self._input is not None:
            self._input.spans.append((self._name, ended - self._begun))

    def __call__(self, function: Callable[Asked, Given]) -> Callable[Asked, Given]:
        """Return the function, timed at each call."""
        if (inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function)
                or inspect.isasyncgenfunction(function)):
            raise TypeError(
                f'{function.__qualname__} only returns what will be run later; write '
                f'"with stage({self._name!r}):" around what takes the time')
        name, synchronize = self._name, self._synchronize

        @functools.wraps(function)
        def timed(*positional: Asked.args, **named: Asked.kwargs) -> Given:
            with Stage(name, synchronize):
                return function(*positional, **named)

        return timed


stage = Stage


class Input:
    """One input on its way through the stages; a context manager, made by `StageTimes.input`.

    ``spans`` has the name and the ns of each stage in the order in which they ended. A stage of
    another thread is added by `add`.
    """

    __slots__ = ('_begun', '_owner', '_token', 'cold_start_ns', 'count', 'dropped', 'error',
                 'queueing_ns', 'spans', 'stamp', 'total_ns')

    def __init__(self, owner: StageTimes, stamp: Any, received_ns: int | None) -> None:
        self.stamp = stamp
        self.spans: list[tuple[str, int]] = []
        # Middlewares that do not tell the time of reception say 0.
        self.queueing_ns = time.time_ns() - received_ns if received_ns else None
        self.total_ns = 0
        self.error = ''
        self.count = 0
        self.dropped = 0
        self.cold_start_ns: int | None = None
        self._owner = owner
        self._token: Token[Input | None] | None = None
        self._begun = time.perf_counter_ns()

    def add(self, name: str, ns: int) -> None:
        """Add a stage that was timed elsewhere."""
        self.spans.append((name, ns))

    def __enter__(self) -> Input:
        self._token = _current.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.total_ns = time.perf_counter_ns() - self._begun
        if self._token is not None:
            _current.reset(self._token)
            self._token = None
        if kind is not None:
            self.error = f'{kind.__name__}: {error}'
        self._owner.take(self)

    @property
    def values(self) -> dict[str, int]:
        """What is published: keys of the convention to their values."""
        found = {INPUT: self.count, TOTAL: self.total_ns, DROPPED: self.dropped}
        if self.queueing_ns is not None:
            found[QUEUEING] = self.queueing_ns
        if self.cold_start_ns is not None:
            found[COLD_START] = self.cold_start_ns
        for name, ns in self.spans:
            found[STAGE + name] = found.get(STAGE + name, 0) + ns
        return found


class StageTimes:
    """Collects inputs and hands them to ``send`` in a thread of its own.

    ``queue`` is how many may wait; what comes then is dropped and counted. Close it when the node
    ends; what still waits is sent, for at most a second.
    """

    def __init__(self, send: Callable[[Input], None], queue: int = QUEUE) -> None:
        self.dropped = 0
        self._send = send
        self._most = queue
        self._waiting: SimpleQueue[Input | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._count = 0
        self._cold_start_ns: int | None = None
        self._thread = threading.Thread(target=self._run, name='stage_times', daemon=True)
        self._thread.start()

    def input(self, stamp: Any, received_ns: int | None = None) -> Input:
        """Return a new input, to be used with ``with``.

        ``stamp`` is the header.stamp of what is processed, ``received_ns`` when the middleware
        received it (``received_timestamp`` of rclpy's message info), ns of the system clock.
        """
        return Input(self, stamp, received_ns)

    def model_loaded(self) -> None:
        """Say that another model was loaded: the next inference is a cold start again."""
        with self._lock:
            self._count, self._cold_start_ns = 0, None

    def take(self, one: Input) -> None:
        """Number an input that has ended and queue it."""
        with self._lock:
            if not one.error:
                self._count += 1
                if self._count == 1:
                    spent = [ns for name, ns in one.spans if STAGE + name == INFERENCE]
                    self._cold_start_ns = sum(spent) if spent else None
            one.count, one.cold_start_ns = self._count, self._cold_start_ns
            if self._waiting.qsize() >= self._most:
                self.dropped += 1
                return
            one.dropped = self.dropped
        self._waiting.put(one)

    def close(self) -> None:
        """Send what waits and end the thread; a second call does nothing."""
        if self._thread.is_alive():
            self._waiting.put(None)
            self._thread.join(CLOSING_PATIENCE_S)

    def __enter__(self) -> StageTimes:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self) -> None:
        while (one := self._waiting.get()) is not None:
            try:
                self._send(one)
            except Exception:  # whatever the middleware raises, such as after its shutdown
                with self._lock:
                    self.dropped += 1


def stage_times(
    node: Any, name: str = '', device: str = '', topic: str = TOPIC, queue: int = QUEUE
) -> StageTimes:
    """Return what publishes the stages of ``node``, an rclpy node, on ``topic``.

    ``name`` tells models of one node apart (its own name if left out), ``device`` says what they
    run on, such as cuda:0.
    """
    from builtin_interfaces.msg import Time
    from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
    from rclpy.qos import QoSProfile

    # Reliable, so that what is lost was dropped here and counted.
    publisher = node.create_publisher(DiagnosticArray, topic, QoSProfile(depth=queue))
    title = name or node.get_fully_qualified_name()

    def send(one: Input) -> None:
        status = DiagnosticStatus(
            level=DiagnosticStatus.ERROR if one.error else DiagnosticStatus.OK, name=title,
            message=one.error, hardware_id=device,
            values=[KeyValue(key=key, value=str(value)) for key, value in one.values.items()],
        )
        made = DiagnosticArray(status=[status])
        stamp = one.stamp
        made.header.stamp = Time(sec=stamp.sec, nanosec=stamp.nanosec)
        publisher.publish(made)

    return StageTimes(send, queue)


_current: ContextVar[Input | None] = ContextVar('robot_qa_input', default=None)
