"""What must hold over time: rules over fields of one or several topics."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    PlainValidator,
    WithJsonSchema,
    model_validator,
)

from robot_qa.errors import did_you_mean
from robot_qa.spec.comparison import Comparison, parse_comparison
from robot_qa.spec.parts import Finding, Part, refuse_unknown, wrong, wrong_all
from robot_qa.spec.values import ROS_NAME, PositiveDuration, ros_name_refusal, text_or_list, texts

ParsedComparison = Annotated[
    Comparison, PlainValidator(parse_comparison), WithJsonSchema({'type': 'string'})
]
Comparisons = Annotated[
    list[ParsedComparison], BeforeValidator(texts), BeforeValidator(refuse_unknown),
    Field(min_length=1), text_or_list(['string']),
]


class Condition(Part):
    """What is true or false at every moment: comparisons by topic; of several entries, all."""

    other_keys = ROS_NAME
    __pydantic_extra__: dict[str, Comparisons] = Field(init=False)

    any: Annotated[list[Condition], Field(min_length=1)] | None = None
    """At least one of these conditions."""
    all: Annotated[list[Condition], Field(min_length=1)] | None = None
    """Every one of these conditions."""
    not_: Condition | None = Field(None, alias='not')
    """The opposite of this condition."""

    @property
    def comparisons(self) -> Iterator[tuple[str, Comparison]]:
        """The comparisons that stand right here, each with its topic."""
        for topic, comparisons in (self.model_extra or {}).items():
            for comparison in comparisons:
                yield topic, comparison

    def every_comparison(self) -> Iterator[tuple[str, Comparison]]:
        """Yield every comparison, here or further inside, with its topic."""
        yield from self.comparisons
        for part in [*(self.any or ()), *(self.all or ()), *([self.not_] if self.not_ else ())]:
            yield from part.every_comparison()

    @classmethod
    def key_refusal(cls, key: str) -> str | None:
        """Let the names of topics through as well."""
        if key.startswith('/'):
            return None if re.fullmatch(ROS_NAME, key) else ros_name_refusal(key)
        words = ('any', 'all', 'not')
        if key in words:
            return None
        near = did_you_mean(key, words)
        return f'"{key}" is neither a topic such as /odom nor any, all or not{near}'

    @model_validator(mode='after')
    def _not_empty(self) -> Condition:
        if not self.model_extra and self.any is None and self.all is None and self.not_ is None:
            raise wrong('nothing is compared here; write {/topic: field < number}')
        return self


KINDS = ('always', 'never', 'eventually', 'after')
# What goes with each kind of rule; the second half is needed.
_COMPANIONS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    'always': ((), ()),
    'never': ((), ()),
    'eventually': (('within',), ()),
    'then': (('after', 'within'), ('within',)),
    'holds': (('after', 'for'), ('for',)),
}


class Rule(Part):
    """One rule: always, never, eventually, or after something then (or holds) something else."""

    always: Condition | None = None
    """What is true at every moment."""
    never: Condition | None = None
    """What is true at no moment."""
    eventually: Condition | None = None
    """What becomes true at least once, within the time after the start if one is given."""
    after: Condition | None = None
    """What asks for "then" or "holds", at every moment at which it becomes true."""
    then: Condition | None = None
    """What is true at least once within the time after each such moment."""
    holds: Condition | None = None
    """What stays true from each such moment on, for a time."""
    within: PositiveDuration | None = None
    """The time that eventually and then leave, such as 500 ms."""
    for_: PositiveDuration | None = Field(None, alias='for')
    """How long holds must hold, such as 2 s."""
    basis: Literal['source', 'header', 'arrival'] = 'source'
    """Which time a message counts from: of sending, in the header, of arrival."""

    @model_validator(mode='after')
    def _one_kind(self) -> Rule:
        given = {key: value for key, value in self if value is not None}
        given = {'for' if key == 'for_' else key: value for key, value in given.items()}
        kinds = [kind for kind in KINDS if kind in given]
        if len(kinds) != 1:
            raise wrong(
                'exactly one of always, never, eventually and after was expected'
                + (f', found {" and ".join(kinds)}' if kinds else '')
            )
        kind = kinds[0]
        if kind == 'after':
            answers = [key for key in ('then', 'holds') if key in given]
            if len(answers) != 1:
                raise wrong('after goes with exactly one of then and holds')
            kind = answers[0]
        fitting, needed = _COMPANIONS[kind]
        for key in needed:
            if key not in given:
                raise wrong(f'"{kind}" needs "{key}", a time such as 500 ms')
        found: list[Finding] = [
            ((key,), f'"{key}" does not go with "{kind}"')
            for key in given if key not in (kind, *fitting, 'basis')
        ]
        if found:
            raise wrong_all(found)
        return self

    def conditions(self) -> list[Condition]:
        """Return the conditions of the rule."""
        every: list[Any] = [
            self.always, self.never, self.eventually, self.after, self.then, self.holds
        ]
        return [condition for condition in every if condition is not None]
