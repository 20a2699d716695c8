"""Does something again and again at precise times, on a thread of its own.

The loop that plays a scenario also drains and measures, for which it may take longer than a
period is.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from robot_qa.timebase import NS_PER_S

# How often a clock is looked at whose pace is not known.
LOOK_S = 0.001


@dataclass
class Beat:
    """One thing that is done at a rate; times in ns on the clock of its metronome.

    ``count`` is how often it was done. ``missed`` are the times that were left out, because the
    next one was due already. ``error`` is why it was given up. All are final once it was stopped.
    """

    hertz: float
    do: Callable[[], None]
    start_ns: int | None = None
    count: int = 0
    missed: int = 0
    latest_ns: int = 0
    error: str | None = None
    stopped: bool = False
    # The number of the next time, counted from the start.
    turn: int = field(default=0, repr=False)

    @property
    def due_ns(self) -> int | None:
        """When it is to be done next; None before the clock has begun."""
        if self.start_ns is None:
            return None
        # From the start each time, so that rounding does not add up.
        return self.start_ns + round(self.turn * NS_PER_S / self.hertz)


class Metronome:
    """Keeps the time of any number of beats, which may be started and stopped from any thread.

    ``now_ns`` reads the clock, None while it has not begun; it is called by the thread only.
    ``at_wall_pace`` says that the clock runs as fast as the wall clock. When it is set back,
    as by a reset of the simulation, the beats start again from there.
    """

    def __init__(self, now_ns: Callable[[], int | None], at_wall_pace: bool) -> None:
        self._now_ns = now_ns
        self._at_wall_pace = at_wall_pace
        self._queue: list[tuple[int, int, Beat]] = []
        self._fresh: list[Beat] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._last_ns: int | None = None
        self._closed = False
        self._thread: threading.Thread | None = None

    def start(self, hertz: float, do: Callable[[], None]) -> Beat:
        """Do it now and then ``hertz`` times a second, until it is stopped or raises."""
        beat = Beat(hertz, do)
        with self._changed:
            if self._closed:
                raise RuntimeError('the metronome is closed already')
            self._fresh.append(beat)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name='metronome', daemon=True)
                self._thread.start()
            self._changed.notify()
        return beat

    def stop(self, beat: Beat) -> None:
        """Stop it: once this returns, it is not done any more. Again: nothing."""
        with self._changed:
            beat.stopped = True

    def close(self) -> None:
        """Stop everything and end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                if self._closed:
                    return
                try:
                    now = self._now_ns()
                except Exception as error:  # nobody else would ever hear of it
                    self._fail(f'the clock cannot be read: {error}')
                    return
                if now is not None:
                    self._do_due(now)
                self._changed.wait(self._pause_s(now))

    def _fail(self, reason: str) -> None:
        self._closed = True
        for beat in (*(beat for *_, beat in self._queue), *self._fresh):
            beat.error, beat.stopped = reason, True

    def _do_due(self, now: int) -> None:
        if self._last_ns is not None and now < self._last_ns:
            beats = [beat for *_, beat in self._queue]
            self._queue.clear()
            for beat in beats:
                beat.start_ns, beat.turn = now, 0
                self._push(beat)
        self._last_ns = now
        for beat in self._fresh:
            beat.start_ns = now
            self._push(beat)
        self._fresh.clear()
        while self._queue and self._queue[0][0] <= now:
            due, _, beat = heapq.heappop(self._queue)
            if not beat.stopped:
                self._do(beat, due, now)

    def _do(self, beat: Beat, due: int, now: int) -> None:
        try:
            beat.do()
        except Exception as error:  # whatever it is, the others go on
            beat.error, beat.stopped = f'{type(error).__name__}: {error}', True
            return
        beat.latest_ns = max(beat.latest_ns, now - due)
        # One that is late is made up for by the next in time; two at once are nobody's rate.
        assert beat.start_ns is not None
        turn = max(beat.turn, int((now - beat.start_ns) * beat.hertz / NS_PER_S)) + 1
        beat.missed += turn - beat.turn - 1
        beat.turn = turn
        beat.count += 1
        self._push(beat)

    def _push(self, beat: Beat) -> None:
        assert beat.due_ns is not None
        heapq.heappush(self._queue, (beat.due_ns, next(self._numbers), beat))

    def _pause_s(self, now: int | None) -> float | None:
        """Return how long there is nothing to do; None until something is started."""
        if not self._queue and not self._fresh:
            return None
        if now is None or not self._at_wall_pace:
            return LOOK_S
        # What was done has taken its time.
        later = self._now_ns()
        return max(0.0, (self._queue[0][0] - (now if later is None else later)) / NS_PER_S)
