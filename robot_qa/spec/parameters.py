"""A spec's parameters: ``${name}`` and what ``--set name=value`` puts there."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from robot_qa.errors import Problem, QuantityError, SpecError, did_you_mean
from robot_qa.spec.marks import UNUSABLE, KeyPath, Marked, compose, usable_text

# An escaped "$${", a parameter, or a "${" that is never closed.
_REFERENCE = re.compile(r'\$\$\{|\$\{([^{}]*)\}|\$\{')


def read_overrides(words: Iterable[str], option: str) -> dict[str, str]:
    """Return ``KEY=VALUE`` texts, which came with ``option``, as a mapping; the latest counts.

    QuantityError: one is something else.
    """
    overrides = {}
    for word in words:
        key, equals, value = word.partition('=')
        if not (key and equals):
            raise QuantityError(f'{option} {word}: KEY=VALUE was expected')
        overrides[key] = value
    return overrides


class Parameters:
    """Replaces the references in a spec's values. Nothing in them is evaluated."""

    def __init__(self, marks: Marked, overrides: Mapping[str, str]) -> None:
        self.problems: list[Problem] = []
        self._marks = marks
        declared = marks.data.get('parameters', {})
        self._values = dict(declared) if isinstance(declared, dict) else {}
        for name, default in self._values.items():
            if isinstance(default, str) and '${' in default:
                self._report(('parameters', name), 'a parameter cannot refer to another one')
                self._values[name] = UNUSABLE
        for name, text in overrides.items():
            self._override(name, text)

    def substitute(self) -> dict[str, Any]:
        """Return the spec's data with every reference replaced; reports what has no value."""
        data = {
            key: self._replace(value, (key,))
            for key, value in self._marks.data.items() if key != 'parameters'
        }
        if 'parameters' in self._marks.data:
            declared = self._marks.data['parameters']
            written = self._values if isinstance(declared, dict) else declared
            data['parameters'] = self._replace(written, ('parameters',), literal=True)
        return data

    def _override(self, name: str, text: str) -> None:
        if name not in self._values:
            near = did_you_mean(name, self._values)
            self._report(('parameters',), f'there is no parameter "{name}" to set{near}')
            return
        try:
            self._values[name] = _parsed(text, self._values[name])
        except ValueError as error:
            self._report(('parameters', name), f'{name} was set to {text!r}, but {error}')
            self._values[name] = UNUSABLE

    def _replace(self, value: Any, path: KeyPath, *, literal: bool = False) -> Any:
        if isinstance(value, dict):
            return {
                key: self._replace(item, (*path, key), literal=literal)
                for key, item in value.items()
            }
        if isinstance(value, list):
            return [
                self._replace(item, (*path, index), literal=literal)
                for index, item in enumerate(value)
            ]
        if value is None:
            self._report(path, 'no value is written here; add one or remove the key')
            return UNUSABLE
        return self._text(value, path) if isinstance(value, str) and not literal else value

    def _text(self, text: str, path: KeyPath) -> Any:
        """Insert the values; a text that is one reference and no more takes its typed value."""
        values = [self._value(match, path) for match in _REFERENCE.finditer(text)]
        if any(value is UNUSABLE for value in values):
            return UNUSABLE
        whole = _REFERENCE.fullmatch(text)
        if whole and whole[1] is not None:
            return values[0]
        pieces = iter(values)
        return _REFERENCE.sub(lambda _: _written(next(pieces)), text)

    def _value(self, match: re.Match[str], path: KeyPath) -> Any:
        name = match[1]
        if name is None and match[0] == '$${':
            return '${'
        if name is None:
            self._report(path, '"${" is not closed by "}"; write $${ for the characters')
        elif not re.fullmatch('[A-Za-z_][A-Za-z0-9_]*', name):
            self._report(path, f'"{name}" is not a parameter name; nothing is calculated in ${{}}')
        elif name not in self._values:
            near = did_you_mean(name, self._values)
            self._report(path, f'there is no parameter "{name}"{near}')
        elif isinstance(self._values[name], dict | list | None):
            return UNUSABLE
        else:
            return self._values[name]
        return UNUSABLE

    def _report(self, path: KeyPath, message: str) -> None:
        self.problems.append(self._marks.problem(path, message))


def _parsed(text: str, default: Any) -> Any:
    """Read an override as the kind of its default; ValueError says what was expected."""
    if isinstance(default, str):
        # Whatever a text looks like, "5" or "true", it stays the text that was given.
        return usable_text(text)
    try:
        value = compose(text, '--set').data
    except SpecError:
        value = UNUSABLE
    if isinstance(default, bool) and not isinstance(value, bool):
        raise ValueError('true or false was expected')
    if not isinstance(default, bool) and (
        isinstance(value, bool) or not isinstance(value, int | float)
    ):
        raise ValueError('a number was expected')
    return value


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return 'true' if value else 'false'
    return str(value)
