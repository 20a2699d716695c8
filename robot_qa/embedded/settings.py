"""What of the simulator can be changed while it runs: the parameters of its node."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from rcl_interfaces.msg import FloatingPointRange, ParameterDescriptor, SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from robot_qa.embedded.simulation import Simulation
from robot_qa.errors import RobotQaError
from robot_qa.timebase import NS_PER_S


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


PUSH = 'push'
PUSH_TEXT = (
    'JSON: {"entity": NAME, "link": NAME, "force": [x, y, z] in N, "torque": [x, y, z] in Nm, '
    '"duration": simulated s}; without a link the canonical one, without a duration until the '
    'next push of the link'
)
ENDLESS_NS = 2**62


@dataclass(frozen=True)
class _Push:
    entity: str
    link: str
    force: list[float]
    torque: list[float]
    duration_ns: int | None


class Pushes:
    """Declares the parameter ``push``: setting it pushes a link at its centre of mass.

    A link has one push at a time; the next one replaces it, and one of zeros ends it. A reset ends
    all.
    """

    def __init__(self, node: Node, simulation: Simulation) -> None:
        self._simulation = simulation
        node.declare_parameter(PUSH, '', ParameterDescriptor(description=PUSH_TEXT))
        node.add_on_set_parameters_callback(self._check)
        node.add_post_set_parameters_callback(self._changed)

    def _check(self, parameters: list[Parameter]) -> SetParametersResult:
        for parameter in parameters:
            if parameter.name == PUSH and parameter.value:
                try:
                    self._read(parameter.value)
                except RobotQaError as error:
                    return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _changed(self, parameters: list[Parameter]) -> None:
        simulation = self._simulation
        for parameter in parameters:
            if parameter.name != PUSH or not parameter.value:
                continue
            push = self._read(parameter.value)
            simulation.release(push.entity, push.link)
            if any(push.force) or any(push.torque):
                until = ENDLESS_NS if push.duration_ns is None else (
                    simulation.time_ns + push.duration_ns)
                simulation.apply_wrench(
                    push.entity, push.link, np.array(push.force), np.array(push.torque), until)

    def _read(self, text: str) -> _Push:
        """Return what a text asks for; ``RobotQaError`` if it cannot be done."""
        try:
            given = json.loads(text)
            model = self._simulation.model_of(given.pop('entity'))
            link = given.pop('link', '') or model.canonical_link or model.links[0].name
            force, torque = (
                [float(one) for one in given.pop(name, (0, 0, 0))] for name in ('force', 'torque'))
            duration = given.pop('duration', None)
            duration_ns = None if duration is None else round(float(duration) * NS_PER_S)
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
            raise RobotQaError(f'"{text}" is no push, which is {PUSH_TEXT}') from error
        if given:
            raise RobotQaError(f'a push has no {", ".join(given)}; it is {PUSH_TEXT}')
        if any(len(one) != 3 or not all(map(math.isfinite, one)) for one in (force, torque)):
            raise RobotQaError('force and torque of a push need three finite numbers')
        if duration_ns is not None and duration_ns <= 0:
            raise RobotQaError('a push needs a duration above 0')
        if model.static:
            raise RobotQaError(f'"{model.name}" is static: nothing can push it')
        self._simulation.body_id(model.name, link)
        return _Push(model.name, link, force, torque, duration_ns)
