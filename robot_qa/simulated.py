"""The simulator of a robot under test, as tests in code use it."""

from __future__ import annotations

from collections.abc import Callable

from robot_qa.asserting import wait_for
from robot_qa.simulators.base import Action, Outcome, Pending, Simulator
from robot_qa.watching import HIDDEN, ExpectationError, plain

__tracebackhide__ = HIDDEN


class Simulation:
    """The simulator of a robot under test; actions are those of ``robot_qa.simulators.base``.

    ``check`` raises where the simulator can answer no more.
    """

    def __init__(self, simulator: Simulator, check: Callable[[], None]) -> None:
        self._simulator = simulator
        self._check = check

    def connect(self, timeout: str) -> None:
        """Wait until the simulator answers."""
        self._over(self._simulator.connect(), 'connecting', timeout)

    @plain
    def do(self, action: Action, timeout: str = '10 s') -> Outcome:
        """Do one thing, such as ``Spawn('crate', 'models/crate')``; return how it went.

        Its ``undo`` is the action that takes it back.
        """
        return self._over(self._simulator.do(action), action.feature, timeout)

    def _over(self, pending: Pending, what: str, timeout: str) -> Outcome:
        def answer() -> Outcome | None:
            self._check()
            return pending.poll()

        outcome = wait_for(answer, f'the simulator answers ({what})', timeout)
        assert outcome is not None
        if not outcome.ok:
            raise ExpectationError(f'the simulator refused: {what}: {outcome.detail}')
        return outcome
