"""What the parts of a spec have in common: known keys, limits, quantiles, and their errors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from itertools import pairwise
from typing import Annotated, Any, ClassVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from robot_qa.errors import did_you_mean
from robot_qa.quantities import DurationNs
from robot_qa.spec.marks import KeyPath

Finding = tuple[KeyPath, str]

_QUANTILE = re.compile(r'p[0-9]{1,3}(\.[0-9]{1,12})?')


class _UnknownKey:
    """Stands in for the value of a key that a part of the spec does not have."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


def wrong(reason: str, *at: str | int) -> PydanticCustomError:
    """Return the error of one mistake; ``at`` leads from the judged value to its place."""
    return wrong_all([(at, reason)])


def wrong_all(findings: list[Finding]) -> PydanticCustomError:
    """Return one error that carries several mistakes, each with its place."""
    reasons = '; '.join(reason for _, reason in findings)
    return PydanticCustomError('spec', '{reasons}', {'reasons': reasons, 'findings': findings})


def refuse_unknown(value: Any) -> Any:
    """Turn the value of a key that the part does not have into the error that says so."""
    if isinstance(value, _UnknownKey):
        raise PydanticCustomError('unknown_key', '{reason}', {'reason': value.reason})
    return value


def _close(schema: dict[str, Any], model: type[Part]) -> None:
    limit = schema.pop('additionalProperties', None)
    if model.other_keys:
        schema['patternProperties'] = {f'^{model.other_keys}$': limit}
    schema['additionalProperties'] = False


class Part(BaseModel):
    """A mapping of the spec. Its unknown keys are errors that name the valid ones."""

    # pydantic's own extra='forbid' can neither name the nearest key nor let quantiles through.
    model_config = ConfigDict(
        frozen=True, strict=True, extra='allow', use_attribute_docstrings=True,
        json_schema_extra=_close,
    )
    __pydantic_extra__: dict[str, Annotated[Any, BeforeValidator(refuse_unknown)]] = (
        Field(init=False)
    )

    other_keys: ClassVar[str] = ''
    """Pattern of the keys that are let through next to the declared ones."""

    @classmethod
    def key_refusal(cls, key: str) -> str | None:
        """Say what is wrong with a key, or return None."""
        known = [field.alias or name for name, field in cls.model_fields.items()]
        if key in known:
            return None
        return f'unknown key "{key}"{did_you_mean(key, known)} (valid here: {", ".join(known)})'

    @model_validator(mode='before')
    @classmethod
    def _mark_unknown_keys(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        return {
            key: value if (refusal := cls.key_refusal(key)) is None else _UnknownKey(refusal)
            for key, value in data.items()
        }

    @field_validator('max', check_fields=False)
    @classmethod
    def _max_not_below_min(cls, maximum: Any, info: ValidationInfo) -> Any:
        minimum = info.data.get('min')
        if minimum is not None and maximum is not None and maximum < minimum:
            raise wrong('max is below min, so nothing can pass')
        return maximum


class Limits(Part):
    """A mapping whose keys are limits; it must hold at least one."""

    limit_keys: ClassVar[tuple[str, ...]] = ('min', 'max')

    @model_validator(mode='after')
    def _at_least_one(self) -> Limits:
        if not list(self.limits()):
            raise wrong(f'nothing is checked here (valid: {", ".join(self._valid_limits())})')
        return self

    def limits(self) -> Iterator[str]:
        """Yield the keys of the limits that were declared."""
        for key in self.limit_keys:
            if getattr(self, key, None) is not None:
                yield key

    @classmethod
    def _valid_limits(cls) -> list[str]:
        return [key for key in cls.limit_keys if key in cls.model_fields]


class Quantiles(Limits):
    """Limits on quantiles, ``p50``, ``p95``, ``p99.9`` ..., next to the declared keys."""

    other_keys = _QUANTILE.pattern
    __pydantic_extra__: dict[str, Annotated[DurationNs, BeforeValidator(refuse_unknown)]] = (
        Field(init=False)
    )

    @property
    def quantiles(self) -> dict[str, tuple[float, int]]:
        """Key to the quantile, inside 0 and 1, and its upper limit in ns; ordered by quantile."""
        limits = {key: (_fraction(key), ns) for key, ns in (self.model_extra or {}).items()}
        return dict(sorted(limits.items(), key=lambda item: item[1]))

    @classmethod
    def key_refusal(cls, key: str) -> str | None:
        """Let quantile keys through as well."""
        if not _QUANTILE.fullmatch(key):
            refusal = super().key_refusal(key)
            return refusal and f'{refusal[:-1]}, or a quantile such as p95)'
        if 0 < _fraction(key) < 1:
            return None
        return f'"{key}" is no quantile: its number must lie between 0 and 100, as in p95'

    def limits(self) -> Iterator[str]:
        """Yield the quantiles, then ``min`` and ``max``."""
        yield from self.quantiles
        yield from super().limits()

    @classmethod
    def _valid_limits(cls) -> list[str]:
        return [*super()._valid_limits(), 'a quantile such as p95']

    @model_validator(mode='after')
    def _limits_grow(self) -> Quantiles:
        ordered = [(key, ns) for key, (_, ns) in self.quantiles.items()]
        for side in ('min', 'max'):
            if (bound := getattr(self, side, None)) is not None:
                ordered.insert(0 if side == 'min' else len(ordered), (side, bound))
        found: list[Finding] = [
            ((key,), f'{key} is below {before}, which it can never be')
            for (before, lower), (key, upper) in pairwise(ordered)
            if upper < lower
        ]
        if found:
            raise wrong_all(found)
        return self


def _fraction(key: str) -> float:
    # Decimal, because 99.9 / 100 in floats is not 0.999.
    return float(Decimal(key[1:]) / 100)
