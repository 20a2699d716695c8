"""Text with a unit to a typed number: ``30 Hz``, ``50 ms``, ``5 %``, ``500 MiB``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from robot_qa.errors import QuantityError

# Sixty digits hold every accepted number times every factor without rounding.
_EXACT = Context(prec=60)
_INT64_MAX = 2**63 - 1
_NUMBER = r'[+-]?(?:[0-9]{1,20}(?:\.[0-9]{0,20})?|\.[0-9]{1,20})(?:[eE][+-]?[0-9]{1,2})?'
_QUANTITY = re.compile(rf'({_NUMBER})\s*([^\s0-9.+-].*)?')


@dataclass(frozen=True)
class Dimension:
    """A kind of quantity: how a message names it, an example, and each unit's factor."""

    noun: str
    example: str
    units: Mapping[str, Decimal]

    @property
    def hint(self) -> str:
        """How to write one, for a message: ``a time such as 50 ms (ns, us, ms, s, min, h)``."""
        shown = ', '.join(unit for unit in self.units if unit.isascii())
        return f'{self.noun} such as {self.example} ({shown})'


def _units(**factors: str) -> dict[str, Decimal]:
    return {unit: Decimal(factor) for unit, factor in factors.items()}


FREQUENCY = Dimension(
    'a frequency', '30 Hz', _units(mHz='1e-3', Hz='1', kHz='1e3', MHz='1e6', GHz='1e9')
)
# Both of Unicode's micro signs, because keyboards and copied text give either.
DURATION = Dimension('a time', '50 ms', _units(
    ns='1', us='1e3', ms='1e6', s='1e9', min='60e9', h='3600e9',
) | {'\u00b5s': Decimal('1e3'), '\u03bcs': Decimal('1e3')})
RATIO = Dimension('a ratio', '5 %', {'%': Decimal('0.01')})
SIZE = Dimension('a size', '500 MiB', _units(
    B='1', kB='1e3', MB='1e6', GB='1e9', KiB=str(2**10), MiB=str(2**20), GiB=str(2**30),
))
_ANGLE = Dimension('an angle', '0.5 deg', _units(deg='1', rad='1'))
_DIMENSIONS = (FREQUENCY, DURATION, RATIO, SIZE, _ANGLE)


def parse_frequency(text: object) -> float:
    """Return hertz. Raises QuantityError, as all of these functions do."""
    return float(_value(text, FREQUENCY))


def parse_duration(text: object, *, signed: bool = False) -> int:
    """Return nanoseconds, the nearest whole one; below zero only where ``signed``."""
    return _whole(_value(text, DURATION, signed=signed), text)


def parse_ratio(text: object) -> float:
    """Return a number from 0 to 1, written as a percentage or as that bare number."""
    bare = _bare_number(text)
    value = bare if bare is not None else _value(text, RATIO)
    if not 0 <= value <= 1:
        raise QuantityError(f'{text} is not between 0 % and 100 %')
    return float(value)


def parse_size(text: object) -> int:
    """Return bytes, the nearest whole one."""
    return _whole(_value(text, SIZE), text)


def _value(text: object, wanted: Dimension, *, signed: bool = False) -> Decimal:
    """Return the quantity in the unit whose factor is one."""
    number, unit = _split(text, wanted)
    if unit not in wanted.units:
        raise QuantityError(_wrong_unit(text, unit, wanted))
    if number < 0 and not signed:
        raise QuantityError(f'{text} is below zero')
    return _EXACT.multiply(number, wanted.units[unit])


def _split(text: object, wanted: Dimension) -> tuple[Decimal, str]:
    if _bare_number(text) is not None:
        raise QuantityError(f'{text} has no unit; write {wanted.hint}')
    match = _QUANTITY.fullmatch(text.strip()) if isinstance(text, str) else None
    if match is None:
        raise QuantityError(f'{_shown(text)} is not {wanted.noun}; write {wanted.hint}')
    return Decimal(match[1]), match[2]


def _wrong_unit(text: object, unit: str, wanted: Dimension) -> str:
    for other in _DIMENSIONS:
        if unit in other.units:
            return f'{text} is {other.noun}; {wanted.noun} was expected, such as {wanted.example}'
    return f'{text} has the unknown unit "{unit}"; write {wanted.hint}'


def _bare_number(text: object) -> Decimal | None:
    # bool is an int to Python, but "true" is no number to whoever wrote it.
    if isinstance(text, bool) or not isinstance(text, int | float | str):
        return None
    written = str(text).strip()
    return Decimal(written) if re.fullmatch(_NUMBER, written) else None


def _whole(value: Decimal, text: object) -> int:
    if abs(value) > _INT64_MAX:
        raise QuantityError(f'{text} is too large')
    return int(value.to_integral_value(context=_EXACT))


def _shown(value: object) -> str:
    """The value as its author would recognise it, short enough for a message."""
    if isinstance(value, dict | list):
        return 'a mapping' if isinstance(value, dict) else 'a list'
    written = str(value).lower() if isinstance(value, bool) else str(value)
    return f'"{written[:40]}..."' if len(written) > 40 else f'"{written}"'


def _validator(parse: Callable[[object], float]) -> BeforeValidator:
    """Wrap a parse function so that pydantic collects its error along with the others."""

    def validate(value: object) -> float:
        try:
            return parse(value)
        except QuantityError as error:
            raise PydanticCustomError('quantity', '{reason}', {'reason': str(error)}) from error

    return BeforeValidator(validate)


def _schema(dimension: Dimension, sign: str = '') -> dict[str, Any]:
    units = '|'.join(dimension.units)
    number = r'[+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?'
    return {
        'type': 'string',
        'pattern': rf'^\s*{sign}{number}\s*({units})\s*$',
        'examples': [dimension.example],
    }


def _signed_duration(text: object) -> int:
    return parse_duration(text, signed=True)


Frequency = Annotated[float, _validator(parse_frequency), WithJsonSchema(_schema(FREQUENCY))]
DurationNs = Annotated[int, _validator(parse_duration), WithJsonSchema(_schema(DURATION))]
SignedDurationNs = Annotated[
    int, _validator(_signed_duration), WithJsonSchema(_schema(DURATION, '-?'))
]
Ratio = Annotated[float, _validator(parse_ratio), WithJsonSchema(
    {'anyOf': [{'type': 'number', 'minimum': 0, 'maximum': 1}, _schema(RATIO)]}
)]
Size = Annotated[int, _validator(parse_size), WithJsonSchema(_schema(SIZE))]
