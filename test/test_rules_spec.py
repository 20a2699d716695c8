"""Rules in a spec: what may be written, and where each mistake is reported."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from robot_qa.errors import SpecError
from robot_qa.spec.comparison import Comparison, Value, parse_comparison
from robot_qa.spec.loader import LoadedSpec, load_spec
from robot_qa.spec.model import declared_checks, json_schema

DOC = Path(__file__).parent.parent / 'doc' / 'rules.md'
HEAD = 'robot_qa: 1\nname: x\nduration: 10 s\n'
X = Value(None, 'x')


def loaded(folder: Path, text: str) -> LoadedSpec:
    path = folder / 'x.qa.yaml'
    path.write_text(text)
    return load_spec(path)


def documented() -> str:
    (block,) = re.findall(r'```yaml\n(.*?)```', DOC.read_text(), re.DOTALL)
    return block


def test_the_documented_rules_load_and_each_is_a_check(tmp_path: Path) -> None:
    spec = loaded(tmp_path, documented())
    names = list(spec.spec.rules)
    assert len(names) == 7
    assert list(declared_checks(spec.spec)) == [(f'rules.{n}', ('rules', n)) for n in names]
    for name in names:
        line, column = map(int, spec.source(('rules', name)).split(':')[-2:])
        assert documented().splitlines()[line - 1][column - 1:].startswith(f'{name}:')


def test_the_schema_knows_rules() -> None:
    validator = jsonschema.Draft202012Validator(json_schema())
    sound = yaml.safe_load(documented())
    assert not list(validator.iter_errors(sound))
    for wrong in (
        {'always': {'odom': 'x < 1'}}, {'always': {'/odom': 5}}, {'always': {'any': []}},
        {'sometimes': {'/odom': 'x < 1'}}, {'always': {'not': {'no': 'x < 1'}}},
    ):
        assert list(validator.iter_errors({**sound, 'rules': {'r': wrong}})), wrong


@pytest.mark.parametrize('text,left,operator,right', [
    ('x<0.6', X, '<', 0.6),
    (' x >= -0.05 ', X, '>=', -0.05),
    ('-1e-3 < x', -1e-3, '<', X),
    ('a.b[2].c[*] != 3', Value(None, 'a.b[2].c[*]'), '!=', 3.0),
    ('data == true', Value(None, 'data'), '==', True),
    ('data != "a < b"', Value(None, 'data'), '!=', 'a < b'),
    ("data == 'on'", Value(None, 'data'), '==', 'on'),
    ('x < /cmd_vel linear.x + 0.1', X, '<', Value('/cmd_vel', 'linear.x', None, 0.1)),
    ('x -0.5 <= /a/b y', Value(None, 'x', None, -0.5), '<=', Value('/a/b', 'y')),
    ('max( ranges ) > min(/b ranges) - 2', Value(None, 'ranges', 'max'), '>',
     Value('/b', 'ranges', 'min', -2.0)),
    ('min == count(max)', Value(None, 'min'), '==', Value(None, 'max', 'count')),
])
def test_comparisons(text: str, left: Any, operator: Any, right: Any) -> None:
    assert parse_comparison(text) == Comparison(text.strip(), left, operator, right)


@pytest.mark.parametrize('text,reason', [
    ('', 'it ends where a field'),
    ('x', 'it ends where one of < <='),
    ('x <', 'it ends where a field'),
    ('x = 1', '"=" was found where one of < <='),
    ('x < 0.6 m', '"m" was found where the end: numbers have no units'),
    ('x < 1 and y < 2', '"and" was found where the end'),
    ('x < y * 2', '"*" was found where the end'),
    ('x < y + z', '"z" was found where a number'),
    ('1 < 2', 'compares no field'),
    ('/a x < /b x', 'compares no field of the topic'),
    ('/a < 1', '"<" was found where a field path'),
    ('minimum(ranges) < 1', 'no reducer "minimum"; did you mean "min"?'),
    ('min(max(x)) < 1', '"(" was found where ")"'),
    ('min(ranges < 1', '"<" was found where ")"'),
    ('x < "a"', 'have no order'),
    ('x < true', 'have no order'),
    ('x == 9007199254740993', 'too large'),
    ('x < 1e999', 'too large'),
    ('x[a] < 1', '"[" was found'),
    ('__import__("os") == 1', 'no reducer "__import__"'),
])
def test_a_comparison_that_cannot_be_read_says_why(text: str, reason: str) -> None:
    with pytest.raises(PydanticCustomError, match=re.escape(reason)):
        parse_comparison(text)


@given(st.text(max_size=20) | st.lists(st.sampled_from([
    'x', '/a', '<', '==', '+', '-', '(', ')', '1', '"a"', 'true', 'min', ' ',
]), max_size=9).map(''.join))
def test_any_text_is_a_comparison_or_a_mistake(text: str) -> None:
    with suppress(PydanticCustomError):
        assert parse_comparison(text).values


GOOD = 'always: {/a: x < 1}'


@pytest.mark.parametrize('rule,expected', [
    ('always: {/a: x = 1}', ['6:18: "x = 1": "=" was found where']),
    ('always: {/a: [x < 1, x > y * 2, "z"]}', ['6:26: "x > y * 2": "*"', '6:37: "z": it ends']),
    ('always: {/a: 5}', ['6:18: a text or a list of texts was expected']),
    ('always: {/a: []}', ['6:18: nothing is written here']),
    ('always: {/a: [5]}', ['6:19: a comparison such as "linear.x < 0.6" was expected']),
    ('always: x < 1', ['6:13: a mapping was expected']),
    ('always: {}', ['6:13: nothing is compared here']),
    ('always: {a: x < 1}', ['6:14: "a" is neither a topic such as /odom nor any, all or not']),
    ('always: {/a-b: x < 1}', ['6:14: "/a-b" is not an absolute ROS name']),
    ('always: {any: [{/a: x < 1}, {/b: x}]}', ['6:38: "x": it ends']),
    ('always: {not: {/b: x}}', ['6:24: "x": it ends']),
    ('always: {any: []}', ['6:19: nothing is written here']),
    ('alwys: {/a: x < 1}', ['6:5: unknown key "alwys"; did you mean "always"?']),
    ('within: 1 s', ['6:5: exactly one of always, never, eventually and after was expected']),
    (f'{GOOD}\n    never: {{/a: x > 1}}', ['6:5: exactly one of', 'found always and never']),
    (f'{GOOD}\n    within: 1 s', ['7:13: "within" does not go with "always"']),
    (f'{GOOD}\n    for: 1 s', ['7:10: "for" does not go with "always"']),
    (f'{GOOD}\n    for: 1', ['7:10: 1 has no unit']),
    (f'{GOOD}\n    basis: sent', ['7:12: source, header or arrival was expected']),
    ('after: {/a: x < 1}', ['6:5: after goes with exactly one of then and holds']),
    ('after: {/a: x < 1}\n    then: {/a: x > 1}', ['6:5: "then" needs "within"']),
    ('after: {/a: x < 1}\n    holds: {/a: x > 1}\n    within: 1 s', ['6:5: "holds" needs "for"']),
    ('eventually: {/a: x < 1}\n    within: 11 s', ['7:13: "within" is longer than the duration']),
    ('after: {/a: x < 1}\n    holds: {/a: x > 1}\n    for: 11 s', ['8:10: "for" is longer']),
])
def test_a_mistake_is_named_where_it_stands(
    tmp_path: Path, rule: str, expected: list[str]
) -> None:
    with pytest.raises(SpecError) as caught:
        loaded(tmp_path, f'{HEAD}rules:\n  r:\n    {rule}\n')
    shown = str(caught.value).replace(f'{tmp_path}/x.qa.yaml:', '')
    assert all(one in shown for one in expected), shown
    assert len(caught.value.problems) == len([one for one in expected if one[0].isdigit()]), shown


def test_all_mistakes_of_several_rules_come_at_once(tmp_path: Path) -> None:
    text = f'{HEAD}rules:\n  a b: {{{GOOD}}}\n  r: {{always: {{/a: x}}, for: 3}}\n'
    with pytest.raises(SpecError) as caught:
        loaded(tmp_path, text)
    assert [(p.line, p.column) for p in caught.value.problems] == [(5, 3), (6, 20), (6, 29)]


def test_rules_are_enough_and_take_parameters(tmp_path: Path) -> None:
    text = f'{HEAD}parameters: {{v: 0.5}}\nrules: {{r: {{always: {{/a: "x < ${{v}}"}}}}}}\n'
    always = loaded(tmp_path, text).spec.rules['r'].always
    assert always is not None
    ((topic, comparison),) = always.comparisons
    assert (topic, comparison.right) == ('/a', 0.5)
