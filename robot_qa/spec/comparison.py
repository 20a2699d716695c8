"""One comparison of a rule, such as ``twist.twist.linear.x < /cmd_vel linear.x + 0.1``.

    comparison = operand ("<" | "<=" | ">" | ">=" | "==" | "!=") operand
    operand    = number | text | "true" | "false" | value [("+" | "-") number]
    value      = field | reducer "(" field ")"
    field      = path | topic path
    reducer    = "min" | "max" | "mean" | "abs" | "norm" | "count"

A path without a topic is one of the topic that the comparison is written under. Numbers have no
units; a text stands in quotes. Nothing here is evaluated: the result is data.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal, get_args

from pydantic_core import PydanticCustomError

from robot_qa.errors import did_you_mean
from robot_qa.spec.parts import wrong
from robot_qa.spec.values import FIELD_PATH, ROS_NAME

Operator = Literal['<', '<=', '>', '>=', '==', '!=']
Reducer = Literal['min', 'max', 'mean', 'abs', 'norm', 'count']

OPERATORS: tuple[Operator, ...] = get_args(Operator)
REDUCERS: tuple[Reducer, ...] = get_args(Reducer)

_TOKENS = re.compile(rf"""\s*(?:
    (?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)
  | (?P<text>"[^"]*"|'[^']*')
  | (?P<operator><=|>=|==|!=|<|>)
  | (?P<sign>[+-])
  | (?P<bracket>[()])
  | (?P<topic>{ROS_NAME})
  | (?P<path>{FIELD_PATH})
  | (?P<other>\S)
)""", re.VERBOSE)
_EXAMPLE = 'a comparison such as "linear.x < 0.6" was expected'
# Beyond this, whole numbers are no longer exact in the floats that a rule compares.
_LARGEST_EXACT = 2**53


@dataclass(frozen=True)
class Value:
    """A field, or what a reducer makes of it, plus a number.

    ``topic`` is None for the topic that the comparison is written under.
    """

    topic: str | None
    path: str
    reducer: Reducer | None = None
    offset: float = 0.0


Operand = Value | bool | float | str


@dataclass(frozen=True)
class Comparison:
    """Two operands, of which at least one is a value; ``text`` is how it was written."""

    text: str
    left: Operand
    operator: Operator
    right: Operand

    @property
    def values(self) -> list[Value]:
        """The operands that are values of messages."""
        return [one for one in (self.left, self.right) if isinstance(one, Value)]


def parse_comparison(text: Any) -> Comparison:
    """Read a comparison; the error (see ``wrong``) says what was found and what was expected."""
    if not isinstance(text, str):
        raise wrong(f'{_EXAMPLE}, as a text')
    parser = _Parser(text)
    left = parser.operand()
    operator = parser.operator()
    right = parser.operand()
    parser.end()
    comparison = Comparison(text.strip(), left, operator, right)
    if not any(value.topic is None for value in comparison.values):
        raise wrong(
            f'"{text}" compares no field of the topic that it is written under; {_EXAMPLE}'
        )
    if operator not in ('==', '!='):
        for one in (left, right):
            if isinstance(one, bool | str):
                raise wrong(f'"{text}": a text, true and false have no order; use == or !=')
    return comparison


class _Parser:
    """Goes through the tokens of one comparison."""

    def __init__(self, text: str) -> None:
        self._text = text
        found = ((match.lastgroup or '', match[match.lastgroup or 0])
                 for match in _TOKENS.finditer(text))
        self._tokens = chain(found, (('end', ''),))
        self._kind, self._word = next(self._tokens)

    def operand(self) -> Operand:
        kind, word = self._kind, self._word
        if kind in ('number', 'sign'):
            return self._number()
        if kind == 'text':
            self._next()
            return word[1:-1]
        if kind == 'path' and word in ('true', 'false'):
            self._next()
            return word == 'true'
        if kind in ('topic', 'path'):
            return self._value()
        raise self._refuse('a field, a number, a text in quotes, true or false')

    def operator(self) -> Operator:
        for operator in OPERATORS:
            if self._word == operator:
                self._next()
                return operator
        raise self._refuse(f'one of {" ".join(OPERATORS)}')

    def end(self) -> None:
        if self._kind != 'end':
            raise self._refuse(
                'the end: numbers have no units, a field may have a number added or subtracted, '
                'and several comparisons are a list'
            )

    def _value(self) -> Value:
        topic, path = self._field()
        reducer = None
        if topic is None and self._word == '(':
            reducer = self._reducer(path)
            self._next()
            topic, path = self._field()
            self._expect(')')
        offset = self._number() if self._kind == 'sign' else 0.0
        return Value(topic, path, reducer, offset)

    def _reducer(self, name: str) -> Reducer:
        for reducer in REDUCERS:
            if reducer == name:
                return reducer
        raise wrong(
            f'"{self._text}": there is no reducer "{name}"{did_you_mean(name, REDUCERS)} '
            f'(valid: {", ".join(REDUCERS)})'
        )

    def _field(self) -> tuple[str | None, str]:
        topic = None
        if self._kind == 'topic':
            topic = self._word
            self._next()
        path = self._word
        if self._kind != 'path':
            raise self._refuse('a field path such as pose.pose.position.x')
        self._next()
        return topic, path

    def _number(self) -> float:
        sign = 1
        if self._kind == 'sign':
            sign = -1 if self._word == '-' else 1
            self._next()
        if self._kind != 'number':
            raise self._refuse('a number')
        number = sign * float(self._word)
        whole = int(self._word) if self._word.isdigit() and len(self._word) < 300 else 0
        if whole > _LARGEST_EXACT or not math.isfinite(number):
            raise wrong(f'"{self._text}": {self._word} is too large to be compared exactly')
        self._next()
        return number

    def _expect(self, word: str) -> None:
        if self._word != word:
            raise self._refuse(f'"{word}"')
        self._next()

    def _next(self) -> None:
        self._kind, self._word = next(self._tokens)

    def _refuse(self, expected: str) -> PydanticCustomError:
        found = f'"{self._word}" was found' if self._word else 'it ends'
        return wrong(f'"{self._text}": {found} where {expected} was expected')
