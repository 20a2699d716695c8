"""Gazebo's TouchPlugin: says once that a model has touched a target for some time."""

from __future__ import annotations

from robot_qa.embedded.plugin_parameters import Parameters
from robot_qa.embedded.simulation import Simulation
from robot_qa.timebase import NS_PER_S

UPDATE_NS = 10_000_000


class TouchPlugin:
    """Looks at the collisions of the model's contact sensors.

    A target is any collision in whose scoped name ``<target>`` is found. After it was touched
    without a break for ``<time>`` seconds, ``update`` says so once and the plugin is disabled.
    """

    update_period_ns = UPDATE_NS

    def __init__(self, simulation: Simulation, model_name: str, parameters: Parameters) -> None:
        self.simulation = simulation
        self.model_name = model_name
        self._target = parameters.required_text('target')
        self._time_ns = round(parameters.positive('time', 1.0) * NS_PER_S)
        namespace = parameters.text('namespace', model_name)
        self.topic, self.enable_service = f'/{namespace}/touched', f'/{namespace}/enable'
        self._enabled_at_start = parameters.flag('enabled', False)
        self._own = {
            f'{model_name}::{sensor.link}::{collision}'
            for sensor in simulation.model_of(model_name).sensors if sensor.kind == 'contact'
            for collision in sensor.contact_collisions
        }
        if not self._own:
            parameters.missing('the model has no contact sensor')
        self.reset()

    def reset(self) -> None:
        """Start as new."""
        self.enable(self._enabled_at_start)

    def enable(self, enabled: bool) -> None:
        """Begin to look, or stop it."""
        self.enabled = enabled
        self._since: int | None = None

    def update(self, now_ns: int) -> bool:
        """Return whether the target has just been touched for long enough."""
        if not self.enabled or not self._touches():
            self._since = None
            return False
        if self._since is None:
            self._since = now_ns
        if now_ns - self._since < self._time_ns:
            return False
        self.enable(False)
        return True

    def _touches(self) -> bool:
        return any(
            self._target in other
            for contact in self.simulation.contacts(self._own)
            for own, other in ((contact.first, contact.second), (contact.second, contact.first))
            if own in self._own
        )
