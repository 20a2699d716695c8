"""What may be asked of single fields, of messages and of what services and actions answer."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    field_validator,
)

from robot_qa.spec.parts import Limits, Part, wrong
from robot_qa.spec.values import FALSE_CHECKS_NOTHING, Finite, Number, Scalar, Whole


class WholeRange(Limits):
    """Bounds of a whole number, both included."""

    min: Whole | None = None
    """Lowest allowed number."""
    max: Whole | None = None
    """Highest allowed number."""


def _kind(value: Any) -> str:
    return 'mapping' if isinstance(value, dict | WholeRange) else 'number'


CountLimits = Annotated[
    Annotated[Whole, Tag('number')] | Annotated[WholeRange, Tag('mapping')], Discriminator(_kind)
]


class UnitQuaternion(Part):
    """The field is a quaternion of length one."""

    tolerance: Annotated[float, Field(gt=0, lt=1)] = 1e-3
    """How far the length may be from one."""


def _or_true(schema: dict[str, Any]) -> None:
    mapping = dict(schema)
    schema.clear()
    schema['anyOf'] = [{'const': True}, mapping]


def _unit_quaternion(value: Any) -> Any:
    if isinstance(value, dict | UnitQuaternion):
        return value
    if value is not True:
        expected = 'true or {tolerance: 0.001} was expected'
        raise wrong(FALSE_CHECKS_NOTHING if value is False else expected)
    return {}


class FieldChecks(Limits):
    """What must hold for one field of every message."""

    limit_keys = ('finite', 'min', 'max', 'length', 'unit_quaternion', 'equals', 'one_of')

    finite: Finite | None = None
    """No NaN and no infinity; with or_inf, only no NaN."""
    min: Number | None = None
    """Lowest allowed value."""
    max: Number | None = None
    """Highest allowed value."""
    length: CountLimits | None = None
    """Number of elements, exactly or as {min, max}."""
    unit_quaternion: Annotated[
        UnitQuaternion, BeforeValidator(_unit_quaternion),
        Field(json_schema_extra=_or_true),
    ] | None = None
    """The field is a quaternion of length one."""
    equals: Scalar | None = None
    """The only allowed value."""
    one_of: Annotated[list[Scalar], Field(min_length=1)] | None = None
    """The allowed values."""

    @field_validator('equals', 'one_of')
    @classmethod
    def _fixed_needs_no_range(cls, value: Any, info: ValidationInfo) -> Any:
        others = [key for key in ('min', 'max', 'equals') if info.data.get(key) is not None]
        if others:
            raise wrong(f'{info.field_name} and {" and ".join(others)} contradict each other')
        if isinstance(value, list) and len({isinstance(item, str) for item in value}) > 1:
            raise wrong('texts and numbers are mixed; a field holds one or the other')
        return value
