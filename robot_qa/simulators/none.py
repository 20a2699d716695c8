"""Hardware: there is no simulator, so nothing can be asked of one."""

from __future__ import annotations

from robot_qa.simulators.base import Action, Outcome, Pending, SimulatorFeatures


class NoSimulator:
    """Refuses every action."""

    def __init__(self, _: object = None) -> None:
        self.features = SimulatorFeatures.none('there is no simulator here')

    def connect(self) -> Pending:
        """There is nothing to connect to."""
        return Pending(Outcome(True))

    def do(self, action: Action) -> Pending:
        """Refuse, naming the feature."""
        return Pending(Outcome(False, self.features.lack(action.feature) or ''))

    def close(self) -> None:
        """There is nothing to leave."""
