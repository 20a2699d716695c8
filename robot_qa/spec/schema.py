"""Makes the JSON Schema of the spec fit what an editor sees: the text before substitution."""

from __future__ import annotations

from typing import Any

_PARAMETER = r'^\$\{[A-Za-z_][A-Za-z0-9_]*\}$'


def for_editors(schema: Any) -> Any:
    """Drop null, which no spec may hold, close mappings, and admit ``${name}`` for scalars."""
    if isinstance(schema, list):
        return [for_editors(item) for item in schema if item != {'type': 'null'}]
    if not isinstance(schema, dict):
        return schema
    # What stands under "properties" is named by the spec, and may well be called "default".
    made = {
        key: {name: for_editors(inner) for name, inner in value.items()}
        if key in ('properties', '$defs', 'patternProperties') else for_editors(value)
        for key, value in schema.items()
        if key != 'title' and (key, value) != ('default', None)
    }
    if 'patternProperties' in made:
        made.setdefault('additionalProperties', False)
    return _or_parameter(made)


def _or_parameter(schema: dict[str, Any]) -> dict[str, Any]:
    narrow = {'enum', 'const', 'pattern', 'minimum', 'exclusiveMinimum'} & schema.keys()
    if not narrow and schema.get('type') not in ('integer', 'number', 'boolean'):
        return schema
    outside: dict[str, Any] = {
        key: schema.pop(key) for key in ('default', 'description') if key in schema
    }
    # A quantity's default is in nanoseconds, hertz ..., which is not how it is written.
    if 'pattern' in schema and not isinstance(outside.get('default', ''), str):
        del outside['default']
    return {'anyOf': [schema, {'type': 'string', 'pattern': _PARAMETER}], **outside}
