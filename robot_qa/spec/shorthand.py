"""Values that stand for a mapping, and a few more that scenarios need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from robot_qa.quantities import Ratio
from robot_qa.spec.parts import Part, wrong
from robot_qa.spec.values import Number


def _three(value: Any) -> Any:
    if not isinstance(value, list) or len(value) != 3:
        raise wrong('three numbers without units were expected, such as [1, 0, 0.5]')
    return value


def _yes(value: Any) -> Any:
    if value is not True:
        raise wrong('true was expected')
    return value


Vector = Annotated[list[Number], BeforeValidator(_three), WithJsonSchema(
    {'type': 'array', 'items': {'type': 'number'}, 'minItems': 3, 'maxItems': 3})]
Yes = Annotated[Literal[True], BeforeValidator(_yes), WithJsonSchema({'const': True})]
Share = Annotated[Ratio, Field(gt=0)]
Degrees = Annotated[float, Field(ge=-360, le=360)]


@dataclass(frozen=True)
class Short:
    """Lets a bare value stand for the mapping ``{key: value}``; without a key, true for {}."""

    key: str | None = None

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self._expand, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        mapping = handler(schema)
        value: dict[str, Any] = {'const': True}
        if self.key is not None:
            value = dict(handler.resolve_ref_schema(mapping)['properties'][self.key])
            value.pop('description', None)
        return {'anyOf': [value, mapping]}

    def _expand(self, value: Any) -> Any:
        if isinstance(value, dict | Part):
            return value
        if self.key is not None:
            return {self.key: value}
        if value is not True:
            raise wrong('true or a mapping was expected')
        return {}
