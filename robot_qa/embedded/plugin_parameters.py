"""The parameters of a plugin, every mistake in them with its file and line."""

from __future__ import annotations

import math

import numpy as np

from robot_qa.embedded.world import Joint, Model, Parameter, Plugin
from robot_qa.errors import Problem, did_you_mean
from robot_qa.geometry import Floats
from robot_qa.timebase import NS_PER_S

_TRUE, _FALSE = {'true', '1'}, {'false', '0'}
DRIVEABLE = {'revolute', 'continuous', 'prismatic', 'universal'}


class Parameters:
    """Reads the parameters of one plugin; adds to ``problems`` and goes on with the default."""

    def __init__(self, plugin: Plugin, model: Model, problems: list[Problem]) -> None:
        self._plugin = plugin
        self._model = model
        self._problems = problems
        self.scope = plugin.scope
        self.model_name = plugin.scope.removesuffix('::').rpartition('::')[2] or model.name

    def mistake(self, place: Problem, message: str) -> None:
        """Note what is wrong at a place."""
        text = f'{self._plugin.name}: {message}'
        self._problems.append(Problem(place.file, place.line, place.column, text))

    def text(self, name: str, default: str) -> str:
        """Return a text."""
        found = self._plugin.find(name)
        return found.text.strip() if found is not None and found.text.strip() else default

    def required_text(self, name: str) -> str:
        """Return a text that has to be there."""
        found = self.text(name, '')
        if not found:
            self.missing(f'<{name}> is missing')
        return found

    def missing(self, message: str) -> None:
        """Note what the plugin lacks."""
        self.mistake(self._plugin.place, message)

    def number(self, name: str, default: float) -> float:
        """Return a number."""
        found = self._plugin.find(name)
        if found is None:
            return default
        try:
            value = float(found.text)
        except ValueError:
            value = math.nan
        if math.isnan(value):
            self.mistake(found.place, f'<{name}> is "{found.text.strip()}", which is no number')
            return default
        return value

    def positive(self, name: str, default: float) -> float:
        """Return a finite number above zero."""
        value = self.number(name, default)
        found = self._plugin.find(name)
        if found is not None and not 0.0 < value < math.inf:
            self.mistake(found.place, f'<{name}> is {value:g}; it must be above zero')
            return default
        return value

    def flag(self, name: str, default: bool) -> bool:
        """Return true or false."""
        found = self._plugin.find(name)
        word = '' if found is None else found.text.strip().lower()
        if found is None or word in _TRUE | _FALSE:
            return word in _TRUE if found is not None else default
        self.mistake(found.place, f'<{name}> is "{found.text.strip()}"; write true or false')
        return default

    def choice(self, name: str, known: tuple[str, ...]) -> str:
        """Return one of some words; the first of them by default."""
        found = self._plugin.find(name)
        word = self.text(name, known[0])
        if found is not None and word not in known:
            self.mistake(found.place, f'<{name}> is "{word}"; write {" or ".join(known)}')
            return known[0]
        return word

    def vector(self, name: str) -> Floats:
        """Return three numbers (3,), zeros by default."""
        found = self._plugin.find(name)
        try:
            values = np.array((found.text if found is not None else '0 0 0').split(), float)
        except ValueError:
            values = np.empty(0)
        if values.shape != (3,) and found is not None:
            self.mistake(found.place, f'<{name}> is "{found.text.strip()}"; write three numbers')
        return values if values.shape == (3,) else np.zeros(3)

    def period_ns(self, name: str, default_hz: float) -> int:
        """Return the period of a frequency in Hz; 0, which is at every step, if there is none."""
        frequency = self.number(name, default_hz)
        return round(NS_PER_S / frequency) if frequency > 0.0 else 0

    def joints(self, name: str, required: bool = True) -> list[str]:
        """Return the scoped names of joints with an axis, those that there are."""
        found = self._plugin.find_all(name)
        if required and not found:
            self.mistake(self._plugin.place, f'<{name}> is missing')
        known = {one.name: one for one in self._model.joints}
        return [joint.name for one in found if (joint := self._joint(one, known)) is not None]

    def _joint(self, found: Parameter, known: dict[str, Joint]) -> Joint | None:
        name = self.scope + found.text.strip()
        if name not in known:
            hint = did_you_mean(name, known)
            self.mistake(found.place, f'{self._model.name} has no joint "{name}"{hint}')
            return None
        if known[name].kind not in DRIVEABLE:
            message = f'the joint "{name}" is {known[name].kind}, and has no axis'
            self.mistake(found.place, message)
            return None
        return known[name]

    def first_axis_only(self) -> None:
        """Note a ``<joint_index>`` of an axis that nothing drives here."""
        found = self._plugin.find('joint_index')
        if found is not None and self.number('joint_index', 0.0) != 0.0:
            self.mistake(found.place, 'only the first axis of a joint, <joint_index> 0, is driven')

    def ordered(self, lower: str, low: float, upper: str, high: float) -> None:
        """Note limits the wrong way round."""
        found = self._plugin.find(upper) or self._plugin.find(lower)
        if found is not None and low > high:
            self.mistake(found.place, f'<{lower}> {low:g} lies above <{upper}> {high:g}')
