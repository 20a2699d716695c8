"""What becomes of messages on their way: lost, late, twice, out of order, frozen, too rare.

A fault is plain data. ``start`` gives a ``Flow`` for one topic and one time of being active; it
draws from the generator alone and never reads a clock, so that the same messages at the same
times and the same seed give the same result. What the messages hold does not matter here and is
not changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from numpy.random import Generator

from robot_qa.scenario.distributions import Distribution
from robot_qa.scenario.limits import require, require_share

# When to send something (ns, on the clock of ``now_ns``, not before it), and what.
Release = tuple[int, bytes]


class Flow(Protocol):
    """Messages go in as they arrive and come out when they are to be sent."""

    def push(self, now_ns: int, message: bytes) -> list[Release]:
        """Take a message and return what is to be sent now or later."""

    def flush(self, now_ns: int) -> list[Release]:
        """End: return what is still held back. Nothing is pushed afterwards."""


class FlowFault(Protocol):
    """The parameters of a fault."""

    def start(self, generator: Generator) -> Flow:
        """Return a flow that has seen nothing yet. RobotQaError: parameters without a meaning."""


class _HoldsNothing:
    def flush(self, now_ns: int) -> list[Release]:
        """See Flow."""
        return []


@dataclass(frozen=True)
class Drop:
    """Loses each message with ``probability``, whatever happened to those before it."""

    probability: float

    def start(self, generator: Generator) -> Flow:
        """See FlowFault."""
        require_share('probability', self.probability)
        return _Drops(self.probability, generator)


class _Drops(_HoldsNothing):
    def __init__(self, probability: float, generator: Generator) -> None:
        self._probability = probability
        self._generator = generator

    def push(self, now_ns: int, message: bytes) -> list[Release]:
        return [] if self._generator.random() < self._probability else [(now_ns, message)]


@dataclass(frozen=True)
class DropBursts:
    """Loses ``length`` messages in a row, then lets some pass, and again.

    The number that pass has a geometric distribution with the mean ``mean_gap`` (at least 1), so
    that in the long run ``length / (length + mean_gap)`` of all messages are lost. It starts with
    messages that pass.
    """

    length: int
    mean_gap: float

    def start(self, generator: Generator) -> Flow:
        """See FlowFault."""
        require('length', self.length, 1)
        require('mean_gap', self.mean_gap, 1)
        return _DropsBursts(self, generator)


class _DropsBursts(_HoldsNothing):
    def __init__(self, fault: DropBursts, generator: Generator) -> None:
        self._fault = fault
        self._generator = generator
        self._to_pass = self._gap()
        self._to_drop = fault.length

    def push(self, now_ns: int, message: bytes) -> list[Release]:
        if self._to_pass > 0:
            self._to_pass -= 1
            return [(now_ns, message)]
        self._to_drop -= 1
        if self._to_drop == 0:
            self._to_drop = self._fault.length
            self._to_pass = self._gap()
        return []

    def _gap(self) -> int:
        return int(self._generator.geometric(1.0 / self._fault.mean_gap))


@dataclass(frozen=True)
class DropEvery:
    """Loses every ``n``-th message: with 3 the third, the sixth and so on; with 1 all."""

    n: int

    def start(self, generator: Generator) -> Flow:
        """See FlowFault."""
        require('n', self.n, 1)
        return _DropsEvery(self.n)


class _DropsEvery(_HoldsNothing):
    def __init__(self, n: int) -> None:
        self._n = n
        self._seen = 0

    def push(self, now_ns: int, message: bytes) -> list[Release]:
        self._seen += 1
        return [] if self._seen % self._n == 0 else [(now_ns, message)]


@dataclass(frozen=True)
class Delay:
    """Sends each message later, by ``constant_ns`` and a random ``jitter`` on top.

    No message is sent before it came, so a negative sum counts as none. With ``keep_order`` a
    message waits for those before it, as on one connection; without, it may overtake them, as
    datagrams do.
    """

    constant_ns: int = 0
    jitter: Distribution | None = None
    keep_order: bool = True

    def start(self, generator: Generator) -> Flow:
        """See FlowFault."""
        require('constant_ns', self.constant_ns, 0)
        return _Delays(self, generator)


class _Delays(_HoldsNothing):
    def __init__(self, fault: Delay, generator: Generator) -> None:
        self._fault = fault
        self._generator = generator
        self._last: int | None = None

    def push(self, now_ns: int, message: bytes) -> list[Release]:
        jitter = self._fault.jitter
        drawn = 0 if jitter is None else round(jitter.draw(self._generator))
        release = now_ns + max(0, self._fault.constant_ns + drawn)
        if self._fault.keep_order and self._last is not None:
            release = max(release, self._last)
        self._last = release
        return [(release, message)]


@dataclass(frozen=True)
class Duplicate:
    """Sends a message ``copies`` times more, at once, with ``probability``."""

    probability: float = 1.0
    copies: int = 1

    def start(self, generator: Generator) -> Flow:
        """See FlowFault."""
        require_share('probability', self.probability)
        require('copies', self.copies, 1)
        return _Duplicates(self, generator)


class _Duplicates(_HoldsNothing):
    def __init__(self, fault: Duplicate, generator: Generator) -> None:
        self._fault = fault
        self._generator = generator

    def push(self, now_ns: int, message: bytes) -> list[Release]:
        again = self._generator.random() < self._fault.probability
        return [(now_ns, message)] * (1 + self._fault.copies * again)


@dataclass(frozen=True)
class Reorder:
    """Shuffles messages within a moving window.

    ``window`` - 1 messages are held back; each that arrives makes one of them or itself leave, by
    chance. None overtakes more than ``window`` - 1 others, nor is overtaken by more than that.
    """

    window: int

    def start(self, generator: Generator) -> Flow:
        """See FlowFault."""
        require('window', self.window, 2)
        return _Reorders(self.window, generator)


class _Reorders:
    def __init__(self, window: int, generator: Generator) -> None:
        self._window = window
        self._generator = generator
        self._held: list[tuple[int, bytes]] = []
        self._pushed = 0
        self._sent = 0

    def push(self, now_ns: int, message: bytes) -> list[Release]:
        self._held.append((self._pushed, message))
        self._pushed += 1
        if len(self._held) < self._window:
            return []
        return [(now_ns, self._next())]

    def flush(self, now_ns: int) -> list[Release]:
        return [(now_ns, self._next()) for _ in range(len(self._held))]

    def _next(self) -> bytes:
        # The oldest is the first of the list. Places of messages are all different, so that no
        # two can reach their last moment at the same time.
        oldest = self._held[0][0]
        last_moment = self._sent - oldest >= self._window - 1
        index = 0 if last_moment else int(self._generator.integers(len(self._held)))
        self._sent += 1
        return self._held.pop(index)[1]


@dataclass(frozen=True)
class Freeze:
    """Sends the first message again in place of each that follows, its old stamp included."""

    def start(self, generator: Generator) -> Flow:
        """See FlowFault."""
        return _Freezes()


class _Freezes(_HoldsNothing):
    def __init__(self) -> None:
        self._first: bytes | None = None

    def push(self, now_ns: int, message: bytes) -> list[Release]:
        if self._first is None:
            self._first = message
        return [(now_ns, self._first)]


@dataclass(frozen=True)
class RateLimit:
    """Loses messages so that no more than one per ``period_ns`` is left on average.

    Time that a late message lost is made up for by the next, so that 30 Hz limited to 20 Hz gives
    20 Hz and not 15. After a silence of a period or more, or when the clock was set back, the
    periods count from the next message on.
    """

    period_ns: int

    def start(self, generator: Generator) -> Flow:
        """See FlowFault."""
        require('period_ns', self.period_ns, 1)
        return _LimitsRate(self.period_ns)


class _LimitsRate(_HoldsNothing):
    def __init__(self, period_ns: int) -> None:
        self._period = period_ns
        self._due: int | None = None

    def push(self, now_ns: int, message: bytes) -> list[Release]:
        late = self._period if self._due is None else now_ns - self._due
        if -self._period <= late < 0:
            return []
        self._due = now_ns - (late if 0 <= late < self._period else 0) + self._period
        return [(now_ns, message)]
