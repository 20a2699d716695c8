"""Messages as a spec writes them: fields by name, the others at their defaults."""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator
from typing import Any

from rosbags.interfaces import Nodetype
from rosbags.interfaces.typing import FieldDesc

from robot_qa.errors import did_you_mean
from robot_qa.messages.typestore import DUMMY_MEMBER, TypeStore

Place = tuple[str | int, ...]
_INTEGERS = {
    'byte': (0, 255), 'octet': (0, 255), 'char': (0, 255),
    **{f'uint{bits}': (0, 2**bits - 1) for bits in (8, 16, 32, 64)},
    **{f'int{bits}': (-2**(bits - 1), 2**(bits - 1) - 1) for bits in (8, 16, 32, 64)},
}
_TEXTS = ('string', 'wstring')


def findings(store: TypeStore, type_name: str, values: Any) -> Iterator[tuple[Place, str]]:
    """Yield what is wrong with the fields of a message, each with its place in ``values``.

    Raises UnknownTypeError where the type, or one inside it, has no definition.
    """
    if not isinstance(values, dict):
        yield (), f'the fields of a {type_name} were expected, as a mapping'
        return
    fields = {name: desc for name, desc in store.fields(type_name) if name != DUMMY_MEMBER}
    for name, value in values.items():
        if name in fields:
            for place, reason in _findings(store, fields[name], value):
                yield (name, *place), reason
        else:
            near = did_you_mean(name, fields)
            known = ', '.join(fields) or 'none'
            yield (name,), f'{type_name} has no field "{name}"{near} (its fields: {known})'


def fill(store: TypeStore, type_name: str, message: Any, values: dict[str, Any]) -> Any:
    """Set the fields of ``message``, an object of the type's Python class, and return it.

    The values are such that `findings` has nothing against them. Raises ImportError or
    AttributeError where the classes of its parts are not installed.
    """
    fields = dict(store.fields(type_name))
    for name, value in values.items():
        setattr(message, name, _made(store, fields[name], value))
    return message


def _findings(store: TypeStore, desc: FieldDesc, value: Any) -> Iterator[tuple[Place, str]]:
    if desc[0] == Nodetype.NAME:
        yield from findings(store, desc[1], value)
    elif desc[0] == Nodetype.BASE:
        base, bound = desc[1]
        reason = _refusal(base, bound, value)
        if reason:
            yield (), reason
    else:
        item, size = desc[1]
        if not isinstance(value, list):
            yield (), 'a list was expected'
            return
        exact = desc[0] == Nodetype.ARRAY
        if size and (len(value) != size if exact else len(value) > size):
            yield (), f'{"exactly" if exact else "at most"} {size} elements were expected'
        for index, one in enumerate(value):
            for place, reason in _findings(store, item, one):
                yield (index, *place), reason


def _refusal(base: str, bound: int, value: Any) -> str:
    if base in _TEXTS:
        if isinstance(value, str) and not 0 < bound < len(value):
            return ''
        return f'a text{f" of at most {bound} characters" if bound else ""} was expected'
    if base == 'bool':
        return '' if isinstance(value, bool) else 'true or false was expected'
    low, high = _INTEGERS.get(base, (-math.inf, math.inf))
    kinds = int if base in _INTEGERS else int | float
    if isinstance(value, kinds) and not isinstance(value, bool) and low <= value <= high:
        return ''
    if base in _INTEGERS:
        return f'a whole number from {low} to {high} was expected, for {base}'
    return f'a number was expected, for {base}'


def _made(store: TypeStore, desc: FieldDesc, value: Any) -> Any:
    if desc[0] == Nodetype.NAME:
        package, _, name = desc[1].split('/')
        kind = getattr(importlib.import_module(f'{package}.msg'), name)
        return fill(store, desc[1], kind(), value)
    if desc[0] == Nodetype.BASE:
        base = desc[1][0]
        if base in ('byte', 'octet'):
            return bytes([value])
        # rclpy takes no whole number for a float.
        return float(value) if base.startswith('float') else value
    return [_made(store, desc[1][0], one) for one in value]
