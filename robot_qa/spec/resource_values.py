"""Values of resources as a spec writes them: loads, temperatures, powers, and growth per time."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from robot_qa.errors import QuantityError
from robot_qa.quantities import parse_duration, parse_size
from robot_qa.spec.parts import wrong
from robot_qa.timebase import NS_PER_S

MINUTE = 60 * NS_PER_S

_NUMBER = r'[0-9]{1,12}(?:\.[0-9]{0,9})?'
_PER = re.compile(r'([^/]*)/\s*(ns|us|ms|s|min|h)')


def parse_load(text: object) -> float:
    """Return a share of one core: 1.5 for ``150 %``. QuantityError, as from all of these."""
    return _number(text, {'%': 0.01}, 'a share of one core such as 80 % or 150 %')


def parse_temperature(text: object) -> float:
    """Return degrees Celsius."""
    return _number(text, {'degC': 1.0, '\u00b0C': 1.0}, 'a temperature such as 85 degC')


def parse_power(text: object) -> float:
    """Return watts."""
    return _number(text, {'W': 1.0, 'mW': 1e-3, 'kW': 1e3}, 'a power such as 15 W')


def parse_size_growth(text: object) -> float:
    """Return bytes per minute."""
    size, factor = _per_minute(text, 'growth such as 1 MiB/min')
    return parse_size(size) * factor


def parse_count_growth(text: object) -> float:
    """Return how many more per minute."""
    number, factor = _per_minute(text, 'growth such as 2 /min')
    if not re.fullmatch(_NUMBER, number):
        raise QuantityError(f'"{text}" is no growth such as 2 /min')
    return float(number) * factor


def _per_minute(text: object, wanted: str) -> tuple[str, float]:
    """Split ``1 MiB/min`` and return what stands before the bar, and how often it is a minute."""
    match = _PER.fullmatch(text.strip()) if isinstance(text, str) else None
    if match is None:
        raise QuantityError(f'"{text}" is no {wanted} (per s, min or h)')
    return match[1].strip(), MINUTE / parse_duration(f'1 {match[2]}')


def _number(text: object, units: dict[str, float], wanted: str) -> float:
    match = re.fullmatch(rf'({_NUMBER})\s*(\D*)', text.strip()) if isinstance(text, str) else None
    if match is None or match[2] not in units:
        shown = 'a mapping' if isinstance(text, dict | list) else f'"{text}"'
        raise QuantityError(f'{shown} is not {wanted} ({", ".join(u for u in units)})')
    return float(match[1]) * units[match[2]]


def _validator(parse: Callable[[object], float]) -> BeforeValidator:
    def validate(value: object) -> float:
        try:
            return parse(value)
        except QuantityError as error:
            raise wrong(str(error)) from error

    return BeforeValidator(validate)


def _schema(units: str, example: str) -> WithJsonSchema:
    made: dict[str, Any] = {
        'type': 'string', 'pattern': rf'^\s*{_NUMBER}\s*{units}\s*$', 'examples': [example]}
    return WithJsonSchema(made)


_TIMES = '(ns|us|ms|s|min|h)'
Load = Annotated[float, _validator(parse_load), _schema('%', '80 %')]
Temperature = Annotated[
    float, _validator(parse_temperature), _schema('(degC|\u00b0C)', '85 degC')]
Power = Annotated[float, _validator(parse_power), _schema('(mW|W|kW)', '15 W')]
SizeGrowth = Annotated[float, _validator(parse_size_growth), _schema(
    rf'(B|kB|MB|GB|KiB|MiB|GiB)\s*/\s*{_TIMES}', '1 MiB/min')]
CountGrowth = Annotated[float, _validator(parse_count_growth), _schema(
    rf'/\s*{_TIMES}', '2 /min')]
