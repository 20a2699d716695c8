"""Simulated time in the hands of the player: it goes on only as far as the scenario lets it.

The simulator stands still while an action is carried out, so that it takes effect at the very
time it was requested for, however busy the machine is.
"""

from __future__ import annotations

import time
from typing import Any

from rclpy.node import Node

from robot_qa.errors import SetupError
from robot_qa.probes.caller import Line, interface_class
from robot_qa.simulators.base import Action, Pause, Simulator, Step
from robot_qa.timebase import NS_PER_S

# How far simulated time goes on at once when nothing is due.
STRIDE_NS = 10_000_000
POLL_S = 0.0005
PATIENCE_S = 10.0
LACKING = {
    kind: f'{kind}: in lock-step the run itself lets simulated time go on'
    for kind in ('pause', 'step', 'reset')
}


class LockStep:
    """Steps a paused simulator. Any method raises SetupError when it does not obey.

    ``real_time_factor`` is the most simulated time per wall time, 0 for as fast as it can.
    """

    def __init__(self, simulator: Simulator, node: Node, real_time_factor: float) -> None:
        """Take a node that no executor spins."""
        self._simulator = simulator
        self._factor = real_time_factor
        self._kind = interface_class('simulation_interfaces/srv/GetEntitiesStates')
        self._states = Line(node, self._kind, '/get_entities_states')
        self._step_ns = self._anchor_ns = self.now_ns = 0
        self._anchor_s = 0.0

    def begin(self) -> None:
        """Pause the simulator, and find out what time it is and how long a step is."""
        self._do(Pause())
        before = self._time_ns()
        self._do(Step(1))
        self.now_ns = self._time_ns()
        self._step_ns = self.now_ns - before
        if self._step_ns <= 0:
            raise SetupError('a step of the simulator took no simulated time')
        self._anchor_s, self._anchor_ns = time.monotonic(), self.now_ns

    def go_on(self, due_ns: int | None) -> None:
        """Let time go on to what is due, or a stride; wait first if it is ahead of its pace."""
        target = self.now_ns + STRIDE_NS
        if due_ns is not None:
            target = min(target, due_ns)
        # To the first step at or after it: nothing happens too early.
        steps = max(1, -((self.now_ns - target) // self._step_ns))
        if self._factor:
            passed = (self.now_ns - self._anchor_ns) / (self._factor * NS_PER_S)
            time.sleep(max(0.0, self._anchor_s + passed - time.monotonic()))
        self._do(Step(steps))
        self.now_ns += steps * self._step_ns

    def close(self) -> None:
        """Leave the service."""
        self._states.close()

    def _do(self, action: Action) -> None:
        deadline = time.monotonic() + PATIENCE_S
        pending = self._simulator.do(action)
        while (outcome := pending.poll()) is None:
            if time.monotonic() > deadline:
                raise SetupError(f'the simulator did not {action.feature} in {PATIENCE_S:g} s')
            time.sleep(POLL_S)
        if not outcome.ok:
            raise SetupError(f'the simulator did not {action.feature}: {outcome.detail}')

    def _time_ns(self) -> int:
        """Ask for the state of everything there is, which says of what time it is."""
        number, _ = self._states.send(self._kind.Request())
        deadline = time.monotonic() + PATIENCE_S
        while (answer := self._states.take()) is None or answer.sequence != number:
            if time.monotonic() > deadline:
                raise SetupError('the simulator did not say which time it is')
            time.sleep(POLL_S)
        states: list[Any] = answer.response.states
        if not states:
            raise SetupError('there is nothing in the world whose state tells the time')
        stamp = states[0].header.stamp
        return int(stamp.sec) * NS_PER_S + int(stamp.nanosec)
