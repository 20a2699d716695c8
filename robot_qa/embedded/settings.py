"""What of the simulator can be changed while it runs: the parameters of its node."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, ParameterDescriptor, SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter


@dataclass(frozen=True)
class Setting:
    """A number between two bounds, or a vector of three."""

    name: str
    default: float | list[float]
    text: str
    highest: float = math.inf


SETTINGS = (
    Setting('real_time_factor', 1.0, 'simulated per wall time; 0: as fast as it can', 1000.0),
    Setting('light_scale', 1.0, 'brightness of all lights', 10.0),
    Setting('friction_scale', 1.0, 'friction of all surfaces', 10.0),
    Setting('gravity', [0.0, 0.0, -9.8], 'm/s^2, in the world'),
    Setting('wind', [0.0, 0.0, 0.0], 'm/s, in the world; acts on links with enable_wind'),
    Setting('camera_exposure', 1.0, 'gain of all cameras', 16.0),
    Setting('camera_noise', 0.0, 'stddev of additional noise, as a share of full scale', 1.0),
    Setting('lidar_dropout', 0.0, 'share of beams that return nothing', 1.0),
)


class Settings:
    """Declares the settings as parameters and hands each change to who applies it."""

    def __init__(self, node: Node, defaults: dict[str, Any], apply: Callable[[str, Any], None]):
        self._apply = apply
        self._node = node
        for setting in SETTINGS:
            default = defaults.get(setting.name, setting.default)
            descriptor = ParameterDescriptor(description=setting.text)
            if not isinstance(setting.default, list):
                descriptor.floating_point_range = [
                    FloatingPointRange(from_value=0.0, to_value=setting.highest)]
            node.declare_parameter(setting.name, default, descriptor)
        self.apply_all()
        node.add_on_set_parameters_callback(self._check)
        node.add_post_set_parameters_callback(self._changed)

    def apply_all(self) -> None:
        """Apply every setting as it is now."""
        for setting in SETTINGS:
            self._apply(setting.name, self[setting.name])

    def __getitem__(self, name: str) -> Any:
        value = self._node.get_parameter(name).value
        return tuple(value) if not isinstance(value, float) else value

    def _check(self, parameters: list[Parameter]) -> SetParametersResult:
        vectors = {one.name for one in SETTINGS if isinstance(one.default, list)}
        for parameter in parameters:
            if parameter.name in vectors and (
                len(parameter.value) != 3 or not all(map(math.isfinite, parameter.value))
            ):
                return SetParametersResult(
                    successful=False, reason=f'{parameter.name} needs three finite numbers')
        return SetParametersResult(successful=True)

    def _changed(self, parameters: list[Parameter]) -> None:
        names = {setting.name for setting in SETTINGS}
        for parameter in parameters:
            if parameter.name in names:
                self._apply(parameter.name, self[parameter.name])
