"""A simulation with everything that happens in it at its time, and its pace on the wall clock."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from robot_qa.embedded.simulation import Simulation
from robot_qa.timebase import NS_PER_S

# As fast as it can, others get their turn this often; and this is how far one goes at a time.
TURN_S = 0.005
# Who is further behind than this gives up the time that was lost, instead of racing after it.
LOST_S = 0.2


@dataclass
class _Task:
    owner: str
    period_ns: int
    due_ns: int
    act: Callable[[int], None]


class Runner:
    """Steps a simulation and calls what is due; it starts paused.

    ``real_time_factor`` is simulated time per wall time, 0 for as fast as it can.
    """

    def __init__(self, simulation: Simulation, real_time_factor: float) -> None:
        self.simulation = simulation
        self._factor = real_time_factor
        self._tasks: list[_Task] = []
        self._playing = False
        self._anchor_s = 0.0
        self._anchor_ns = 0

    def every(self, period_ns: int, act: Callable[[int], None], owner: str = '') -> None:
        """Call ``act`` with the simulated time every ``period_ns``; 0 is at every step.

        What is due at the same time is called in the order in which it was added.
        """
        period = max(period_ns, self.simulation.step_ns)
        self._tasks.append(_Task(owner, period, self.simulation.time_ns + period, act))

    def forget(self, owner: str) -> None:
        """Call nothing any more that belongs to ``owner``."""
        self._tasks = [task for task in self._tasks if task.owner != owner]

    @property
    def playing(self) -> bool:
        """Whether simulated time goes on by itself."""
        return self._playing

    def play(self) -> None:
        """Let simulated time go on with the wall clock."""
        self._playing = True
        self._anchor()

    def pause(self) -> None:
        """Let simulated time stand still until `advance` is called."""
        self._playing = False

    @property
    def real_time_factor(self) -> float:
        """Simulated time per wall time, 0 for as fast as it can."""
        return self._factor

    @real_time_factor.setter
    def real_time_factor(self, factor: float) -> None:
        self._factor = factor
        self._anchor()

    def reset(self) -> None:
        """Start again at time 0, with the same tasks."""
        self.simulation.reset()
        for task in self._tasks:
            task.due_ns = task.period_ns
        self._anchor()

    def advance(self, until_ns: int) -> None:
        """Step to the last step at or before ``until_ns``, and call what is due on the way."""
        simulation = self.simulation
        step = simulation.step_ns
        while (left := (until_ns - simulation.time_ns) // step) > 0:
            due = min((task.due_ns for task in self._tasks), default=until_ns)
            to_due = -((simulation.time_ns - due) // step)
            simulation.step(max(1, min(left, to_due)))
            now = simulation.time_ns
            for task in list(self._tasks):
                if task.due_ns <= now:
                    task.due_ns += task.period_ns
                    task.act(now)

    def keep_pace(self) -> float:
        """Go on as far as the wall clock says, for a turn at most; return s until the next."""
        if not self._playing:
            return LOST_S
        if self._factor == 0:
            end = time.monotonic() + TURN_S
            while time.monotonic() < end:
                self.advance(self.simulation.time_ns + max(1, int(TURN_S * NS_PER_S)))
            return 0.0
        behind = self._target_ns() - self.simulation.time_ns
        if behind > LOST_S * self._factor * NS_PER_S:
            self._anchor()
        # A turn is a step at least, however slowly time goes on.
        turn = max(self.simulation.step_ns, int(TURN_S * self._factor * NS_PER_S))
        self.advance(self.simulation.time_ns + min(behind, turn))
        due = min((task.due_ns for task in self._tasks), default=self._target_ns())
        return max(0.0, min((due - self._target_ns()) / (self._factor * NS_PER_S), TURN_S))

    def _target_ns(self) -> int:
        passed = (time.monotonic() - self._anchor_s) * self._factor
        return self._anchor_ns + int(passed * NS_PER_S)

    def _anchor(self) -> None:
        self._anchor_s = time.monotonic()
        self._anchor_ns = self.simulation.time_ns
