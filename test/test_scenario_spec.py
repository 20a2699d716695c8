"""Scenarios in a spec: what may be written, and where each mistake is reported."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_qa.errors import SpecError
from robot_qa.spec.loader import LoadedSpec, load_spec
from robot_qa.spec.model import declared_checks, json_schema
from robot_qa.spec.scenario import ACTIONS, TRIGGERS, Step

S = 10**9
HEAD = """\
robot_qa: 1
name: x
duration: 60 s
system: {processes: [{name: driver, command: x}]}
topics: {/scan: {gap: {max: 1 s}, rate: {min: 1 Hz}}}
rules: {stops: {always: {/odom: x < 1}}}
scenario:
"""
LINE = HEAD.count('\n') + 1
SCHEMA = jsonschema.Draft202012Validator(json_schema())
LIGHT = 'light: {scale: 0.2}'
EVERY_ACTION = """\
- {at: 0 s, spawn: {name: a, model: crate, pose: {xyz: [2, 0, 0.3], rpy: [0, 0, 90]}}}
- {at: 0 s, spawn: {name: b, model: crate.sdf, frame: a}, for: 1 s}
- {at: 0 s, spawn: {name: c, model: 'model://crate'}}
- {at: 0 s, spawn: {name: d, sdf: <sdf/>}}
- {at: 1 s, remove: a}
- {at: 1 s, move: {name: a, pose: {xyz: [1, 1, 1]}}}
- {at: 1 s, push: {name: a, link: base, force: [20, 0, 0], torque: [0, 0, 1]}, for: 500 ms}
- {name: dark, at: 10 s, for: 10 s, light: {scale: 0.2}, slice: low_light, recovers: {
    check: topics./scan.gap, within: 2 s}, holds_during: [topics./scan.rate.min, rules],
    expected_to_fail: {check: rules.stops, within: 1 s}}
- {every: 2 s, from: 1 s, repeat: 3, wind: {velocity: [1, 0, 0]}, for: 2 s}
- {every: 20 s, friction: {scale: 0}}
- {after: dark, delay: 1 s, outcome: done, gravity: {xyz: [0, 0, -1.6]}}
- {after: dark, pause: true, for: 1 s}
- {when: {/odom: twist.twist.linear.x > 0.3}, holds: 1 s, step: 10}
- {when: {any: [{/a: x > 1}, {/b: x > 1}]}, reset: true}
- {random: {count: 3, from: 5 s, to: 20 s}, kill: driver}
- {random: {count: 2}, stop: driver, for: 3 s}
- {at: 7 s, push: {name: a, impulse: [0, 3, 0]}}
- {at: 1 s, kill: /planner}
- {at: 1 s, resume: driver}
- {at: 1 s, restart: driver}
- {at: 1 s, load: {cpu: 2, memory: 500 MiB}, for: 5 s}
- {at: 1 s, publish: {topic: /e, type: std_msgs/msg/Bool, message: {data: true}}}
- {at: 1 s, publish: {topic: /e, type: std_msgs/msg/Bool, rate: 5 Hz}, for: 5 s}
- {at: 1 s, call: {service: /s, type: std_srvs/srv/Trigger}}
- {at: 1 s, goal: {action: /n, type: tf2_msgs/action/LookupTransform, goal: {a: 1}}, for: 1 s}
- {at: 1 s, parameter: {node: /n, name: a.b, value: [1, 2.5]}, for: 1 s}
- {at: 1 s, transition: {node: /n, transition: deactivate}, for: 1 s}
- {at: 25 s, for: 5 s, fault: {topic: /scan, drop: 50 %}}
"""
FAULTS = [
    'drop: 0.5', 'drop: {burst: 5, mean_gap: 20}', 'drop: {every: 3}', 'delay: 100 ms',
    'delay: {constant: 1 ms, jitter: {uniform: 20 ms}, keep_order: false}',
    'delay: {jitter: {normal: 5 ms}}', 'delay: {jitter: {normal: {stddev: 5 ms, mean: -1 ms}}}',
    'delay: {jitter: {lognormal: {median: 5 ms, sigma: 0.5}}}', 'duplicate: 10 %',
    'duplicate: {copies: 3}', 'reorder: 4', 'freeze: true', 'rate_limit: 5 Hz', 'bit_flips: 3',
    'bit_flips: {rate: 1e-5}', 'truncate: 8 B', 'stale_stamps: true',
    'stale_stamps: {path: a.stamp}', 'stamp_offset: -50 ms', 'stamp_drift: -100',
    'stamp_drift: {ppm: 20.5, path: stamp}', 'frame_id: other', 'nan: "ranges[*]"',
    'inf: {field: x, share: 5 %}', 'value: {field: x, value: -.inf}', 'bias: {field: x, bias: -1}',
    'noise: {field: x, stddev: 0.1}', 'low_light: 20 %', 'low_light: {gain: 0, noise: 2 %}',
    'blur: 3', 'motion_blur: {length: 9, angle: 45}', 'image_noise: 5 %',
    'occlusion: {x: 0, y: 10 %, width: 50 %, height: 1}', 'jpeg: 5', 'rotate: -10',
    'dead_pixels: {share: 1 %, hot: 10 %}', 'range_dropout: 20 %', 'range_noise: 0.05',
    'ghost_returns: {share: 5 %, near: 0.2, far: 3}', 'blocked_sector: {center: 0, width: 30}',
    'blocked_sector: {center: 0, width: 30, range: 0.1}',
    'probability: 10 %, freeze: true, bit_flips: 1',
]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / 'crate').mkdir()
    (tmp_path / 'crate.sdf').touch()
    return tmp_path


def loaded(folder: Path, steps: str, head: str = HEAD) -> LoadedSpec:
    path = folder / 'x.qa.yaml'
    path.write_text(head + steps)
    return load_spec(path)


def step_of(folder: Path, text: str) -> Step:
    return loaded(folder, f'- {{{text}}}\n').spec.scenario[0]


def errors(folder: Path, steps: str, head: str = HEAD) -> list[str]:
    """Return ``line:column: message``, lines counted from the first step."""
    with pytest.raises(SpecError) as caught:
        loaded(folder, steps, head)
    first = head.count('\n')
    return [f'{p.line - first}:{p.column}: {p.message}' for p in caught.value.problems]


def test_every_action_and_trigger_loads_and_fits_the_schema(home: Path) -> None:
    scenario = loaded(home, EVERY_ACTION).spec.scenario
    assert {step.kind for step in scenario} == set(ACTIONS)
    assert {step.trigger for step in scenario} == set(TRIGGERS)
    assert not list(SCHEMA.iter_errors(yaml.safe_load(HEAD + EVERY_ACTION)))


@pytest.mark.parametrize('fault', FAULTS)
def test_every_fault_loads_and_fits_the_schema(home: Path, fault: str) -> None:
    text = f'{HEAD}- {{at: 1 s, fault: {{topic: /a, {fault}}}}}\n'
    read = step_of(home, f'at: 1 s, fault: {{topic: /a, {fault}}}').fault
    assert read is not None
    kinds = {**read.content, **read.flow}
    assert list(kinds)[-1] == ('freeze' if 'freeze' in fault else fault.split(':', maxsplit=1)[0])
    # PyYAML's YAML 1.1 takes 1e-5 for a text.
    SCHEMA.validate(yaml.safe_load(text.replace('1e-5', '0.00001')))


def test_content_is_told_from_flow_and_both_keep_their_order(home: Path) -> None:
    text = ('delay: 1 ms, truncate: 1 B, drop: 5 %, rate_limit: 5 Hz, blur: 1, nan: x, reorder: 3,'
            'freeze: true, duplicate: 5 %, bit_flips: 1')
    fault = step_of(home, f'at: 1 s, fault: {{topic: /a, {text}}}').fault
    assert fault is not None
    assert list(fault.content) == ['nan', 'blur', 'bit_flips', 'truncate']
    assert list(fault.flow) == ['drop', 'freeze', 'rate_limit', 'duplicate', 'reorder', 'delay']


def test_short_forms_mean_the_same_as_long_ones(home: Path) -> None:
    def fault(text: str) -> Any:
        return step_of(home, f'at: 1 s, fault: {{topic: /a, {text}}}').fault

    for short, long in (
        ('drop: 50 %', 'drop: {probability: 0.5}'), ('reorder: 4', 'reorder: {window: 4}'),
        ('stale_stamps: true', 'stale_stamps: {path: header.stamp}'),
        ('delay: {jitter: {uniform: 2 ms}}', 'delay: {jitter: {uniform: {low: 0 s, high: 2 ms}}}'),
        ('nan: x', 'nan: {field: x, share: 100 %}'),
    ):
        assert fault(short) == fault(long)


def test_values_arrive_typed(home: Path) -> None:
    scenario = loaded(home, EVERY_ACTION).spec.scenario
    dark = next(step for step in scenario if step.name == 'dark')
    assert (dark.at, dark.for_, dark.slice, dark.action.scale) == (10 * S, 10 * S, 'low_light', .2)
    assert dark.recovers is not None and dark.recovers.check == ['topics./scan.gap']
    assert dark.is_undone and not scenario[4].is_undone
    assert scenario[0].action.pose.rpy == [0, 0, 90]
    assert scenario[2].action.pose.xyz == [0, 0, 0]
    assert [step.action for step in scenario if step.kind == 'remove'] == ['a']
    assert [step.stops_clock for step in scenario].count(True) == 1
    fault = scenario[-1].action
    assert (fault.topic, fault.drop.probability, fault.content) == ('/scan', 0.5, {})


def test_times_of_at_and_every(home: Path) -> None:
    every = step_of(home, f'every: 20 s, {LIGHT}')
    assert every.fixed_starts(60 * S) == [20 * S, 40 * S]
    assert step_of(home, f'every: 20 s, from: 0 s, {LIGHT}').fixed_starts(60 * S) == [
        0, 20 * S, 40 * S]
    assert step_of(home, f'every: 20 s, for: 15 s, from: 10 s, {LIGHT}').fixed_starts(60 * S) == [
        10 * S, 30 * S]
    assert step_of(home, f'every: 5 s, repeat: 2, {LIGHT}').fixed_starts(60 * S) == [5 * S, 10 * S]
    assert step_of(home, f'at: 5 s, {LIGHT}').fixed_starts(5 * S) == []
    assert step_of(home, f'when: {{/a: x > 1}}, {LIGHT}').fixed_starts(60 * S) is None


def test_steps_and_what_they_expect_are_declared_checks(home: Path) -> None:
    spec = loaded(home, f'- {{at: 1 s, {LIGHT}, holds_during: topics}}\n- {{name: b, at: 2 s, '
                        f'{LIGHT}, recovers: {{check: rules, within: 1 s}}}}\n')
    declared = list(declared_checks(spec.spec))
    assert [name for name, _ in declared[3:]] == [
        'scenario.0', 'scenario.0.holds_during', 'scenario.b', 'scenario.b.recovers']
    assert spec.source(declared[3][1]).endswith(f':{LINE}:3')
    assert spec.source(declared[6][1]).endswith(f':{LINE + 1}:{3 + 40}')
    assert spec.spec.seed == 0


FAULT = 'at: 1 s, fault: {topic: /a, '
# A step, and what its mistakes look like.
WRONG = [
    (LIGHT, '1:3: exactly one trigger was expected (at, every, after, when, random)'),
    (f'at: 1 s, every: 2 s, {LIGHT}', 'one trigger was expected (at, every, after, when, random), '
                                      'found at and every'),
    ('at: 1 s', '1:3: exactly one action was expected (spawn, '),
    (f'at: 1 s, {LIGHT}, pause: true', 'found light and pause'),
    (f'at: 1 s, {LIGHT}, repeat: 2', '1:42: "repeat" does not go with "at"'),
    (f'every: 1 s, {LIGHT}, delay: 2 s', '1:44: "delay" does not go with "every"'),
    (f'random: {{count: 1}}, {LIGHT}, from: 1 s', '"from" does not go with "random"'),
    (f'at: 5, {LIGHT}', '1:8: 5 has no unit'),
    (f'at: 1 s, {LIGHT}, nam: x', '1:34: unknown key "nam"; did you mean "name"?'),
    ('at: 1 s, spwan: {name: a}', '1:13: unknown key "spwan"; did you mean "spawn"?'),
    (f'when: {{/a: x >}}, {LIGHT}', '1:15: "x >": it ends'),
    # Actions.
    ('at: 1 s, spawn: {name: a}', '1:20: exactly one of model and sdf'),
    ('at: 1 s, spawn: {name: a, model: nothing}', '1:37: there is no folder "nothing"'),
    ('at: 1 s, spawn: {name: a, model: a.sdf}', '1:37: there is no file "a.sdf"'),
    ('at: 1 s, spawn: {name: a, model: ../x}', '1:37: "../x" leads out of'),
    ('at: 1 s, spawn: {name: a, model: /x}', '1:37: "/x" is neither a path relative'),
    ('at: 1 s, spawn: {name: a, model: "model://../x"}', '1:37: "model://../x" names no model'),
    ('at: 1 s, spawn: {name: a, model: "http://x"}', '1:37: "http://x" is neither a path rel'),
    ('at: 1 s, move: {name: a}', '1:19: the key "pose" is missing here'),
    ('at: 1 s, move: {name: a, pose: {xyz: [1, 2]}}', '1:41: three numbers without units'),
    ('at: 1 s, move: {name: a, pose: {xyz: [1, 2, .nan]}}', '1:48: nan is not a finite number'),
    ('at: 1 s, push: {name: a, force: [1, 0, 0]}', '1:19: "push" needs "for"'),
    ('at: 1 s, for: 1 s, push: {name: a}', '1:29: force, impulse or torque was expected'),
    ('at: 1 s, light: {scale: -1}', '1:28: at least 0'),
    ('at: 1 s, pause: false, for: 1 s', '1:20: true was expected'),
    ('at: 1 s, pause: true', '1:20: "pause" needs "for"'),
    ('at: 1 s, load: {cpu: 1}', '1:19: "load" needs "for"'),
    ('at: 1 s, load: {}, for: 1 s', '1:19: cpu or memory was expected'),
    ('at: 1 s, step: 0', '1:19: at least 1'),
    ('at: 1 s, kill: drivr', '1:19: the run starts no process "drivr"; did you mean "driver"? '
                             '(it starts driver)'),
    ('at: 1 s, stop: simulator', '1:19: the run starts no process "simulator"'),
    ('at: 1 s, publish: {topic: e, type: std_msgs/msg/Bool}', '1:30: "e" is not an absolute'),
    ('at: 1 s, call: {service: /s, type: std_srvs/Trigger}', 'did you mean "std_srvs/srv/Trigger'),
    ('at: 1 s, parameter: {node: /n, name: a, value: [1, x]}', '1:51: an array holds texts, or'),
    ('at: 1 s, parameter: {node: /n, name: a, value: {}}', '1:51: a text, a number, true or fal'),
    ('at: 1 s, transition: {node: /n, transition: activ}', '1:48: configure, activate, '),
    ('at: 1 s, for: 1 s, push: {name: a, force: [1, 0, 0], impulse: [1, 0, 0]}',
     'force and impulse do not go together'),
    ('at: 1 s, push: {name: a, impulse: [1, 0, 0], torque: [0, 0, 1]}',
     '1:19: "push" needs "for"'),
    ('at: 1 s, light: {scale: 11}', '1:28: at most 10.0 was expected'),
    ('at: 1 s, friction: {scale: 10.5}', '1:31: at most 10.0 was expected'),
    ('at: 1 s, kill: /a//b', '1:19: "/a//b" is not an absolute ROS name; did you mean "/a/b"?'),
    ('at: 1 s, kill: a b', '1:19: "a b" is neither a process name, of letters, digits, "_" and'),
    ('at: 1 s, stop: /planner', '1:19: "/planner" is not a process name'),
    ('at: 1 s, for: 1 s, kill: /planner', '1:18: "kill" cannot be undone'),
    ('at: 1 s, fault: {topic: /a, publisher: drivr, drop: 5 %}',
     '1:43: the run starts no process "drivr"; did you mean "driver"? (it starts driver)'),
    ('at: 1 s, fault: {topic: /a, publisher: simulator, drop: 5 %}',
     '1:43: the run starts no process "simulator"'),
    # What cannot be undone.
    *((f'at: 1 s, for: 1 s, {action}', f'1:18: "{action.split(":")[0]}" cannot be undone')
      for action in ('remove: a', 'step: 1', 'reset: true', 'kill: driver', 'resume: driver',
                     'restart: driver', 'call: {service: /s, type: std_srvs/srv/Trigger}',
                     'publish: {topic: /e, type: std_msgs/msg/Bool}',
                     'transition: {node: /n, transition: shutdown}')),
    # Times.
    (f'at: 60 s, {LIGHT}', '1:8: this cannot happen before 60 s, and the run is over after 60 s'),
    (f'at: 55 s, for: 6 s, {LIGHT}', '1:19: this lasts until 61 s'),
    (f'at: 55 s, for: 4 s, {LIGHT}, recovers: {{check: rules, within: 2 s}}',
     '1:78: this takes until 61 s'),
    (f'every: 1 ms, {LIGHT}', '1:11: this is more than 10000 times in 60 s'),
    (f'every: 60 s, {LIGHT}', '1:11: this cannot happen before 60 s'),
    (f'every: 20 s, repeat: 3, {LIGHT}', '1:25: there is time for 2 only'),
    (f'every: 20 s, repeat: 2, for: 21 s, {LIGHT}', '1:33: "for" is longer than "every"'),
    (f'every: 25 s, repeat: 2, for: 11 s, {LIGHT}', '1:33: this lasts until 61 s'),
    (f'random: {{count: 3, to: 20 s, from: 20 s}}, {LIGHT}',
     '1:12: there is no room for 3 between'),
    (f'random: {{count: 3}}, for: 31 s, {LIGHT}',
     '1:12: there is no room for 3 of 31 s between 0 ns and 29 s in a run of 60 s'),
    (f'random: {{count: 1, to: 59 s}}, for: 2 s, {LIGHT}', '1:12: there is no room for 1 of 2 s'),
    (f'when: {{/a: x > 1}}, holds: 60 s, {LIGHT}', '1:30: this cannot happen before 60 s'),
    (f'when: {{/a: x > 1}}, for: 61 s, {LIGHT}', '1:28: this lasts until 61 s'),
    # Expected checks.
    (f'at: 1 s, {LIGHT}, holds_during: [rules, topics./scn.gap]',
     '1:56: the spec has no check "topics./scn.gap"; did you mean "topics./scan.gap"?'),
    (f'at: 1 s, {LIGHT}, recovers: {{check: rules.stop, within: 1 s}}', '1:52: the spec has no'),
    (f'at: 1 s, {LIGHT}, expected_to_fail: {{check: topics./scan.ga}}', '1:60: the spec has no'),
    ('at: 1 s, parameter: {node: /n, name: a, value: [1, 9223372036854775808]}',
     '1:51: 9223372036854775808 is no parameter: a whole number has 64 bits there'),
    (f'at: 1 s, {LIGHT}, holds_during: scenario.0', 'the spec has no check "scenario.0"'),
    (f'at: 1 s, {LIGHT}, recovers: {{check: rules}}', 'the key "within" is missing here'),
    # Faults.
    ('at: 1 s, fault: {topic: /a}', '1:20: no fault is named here'),
    ('at: 1 s, fault: {drop: 5 %}', '1:20: the key "topic" is missing'),
    (FAULT + 'drp: 50 %}', '1:32: unknown key "drp"; did you mean "drop"?'),
    (FAULT + 'drop: 120 %}', '1:38: 120 % is not between'),
    (FAULT + 'drop: 0 %}', '1:38: more than 0'),
    (FAULT + 'drop: {every: 2, burst: 3, mean_gap: 2}}', '1:38: exactly one of probability, b'),
    (FAULT + 'drop: {burst: 3}}', '1:38: burst and mean_gap belong together'),
    (FAULT + 'delay: 0 s}', '1:39: constant above zero or jitter'),
    (FAULT + 'delay: 50 %}', '1:39: 50 % is a ratio; a time was expected'),
    (FAULT + 'delay: {jitter: {}}}', '1:48: exactly one of uniform, normal'),
    (FAULT + 'delay: {jitter: {uniform: {low: 2 ms, high: 1 ms}}}}', 'high is not above low'),
    (FAULT + 'reorder: 1}', '1:41: at least 2'),
    (FAULT + 'freeze: false}', '1:40: true was expected'),
    (FAULT + 'stale_stamps: 5}', '1:46: true or a mapping was expected'),
    (FAULT + 'bit_flips: {count: 1, rate: 0.1}}', 'exactly one of count and rate'),
    (FAULT + 'truncate: 8}', '1:42: 8 has no unit'),
    (FAULT + 'nan: "a b"}', '1:37: "a b" is not a field path'),
    (FAULT + 'jpeg: 101}', '1:38: at most 100'),
    (FAULT + 'low_light: 100 %}', '1:43: less than 1'),
    (FAULT + 'ghost_returns: {share: 1 %, near: 2, far: 1}}', 'far is not above near'),
    (FAULT + 'probability: 10 %, drop: 5 %}', '1:45: "probability" is about changed content'),
    (FAULT + 'nan: x, nan: y}', 'the key "nan" was already written'),
    (FAULT + 'drop: "${x}"}', '1:38: there is no parameter "x"'),
    ('at: 1 s, move: {name: a, pose: {xyz: [0, "${x}", 0]}}', '1:45: there is no parameter "x"'),
]


@pytest.mark.parametrize('step, expected', WRONG, ids=[step[:70] for step, _ in WRONG])
def test_a_mistake_is_named_where_it_stands(home: Path, step: str, expected: str) -> None:
    (found,) = errors(home, f'- {{{step}}}\n')
    assert expected in found
    if not expected[:1].isdigit():
        return
    assert found.startswith(expected)


GOAL = 'goal: {action: /n, type: tf2_msgs/action/LookupTransform}'
# Several steps, and where their mistakes are.
TOGETHER = [
    ([f'name: a, at: 1 s, {LIGHT}', f'name: a, at: 2 s, {LIGHT}'],
     ['2:10: the name "a" is already taken by step 0']),
    ([f'name: dark, at: 1 s, {LIGHT}', f'after: drak, {LIGHT}'],
     ['2:11: there is no step with the name "drak"; did you mean "dark"?']),
    ([f'name: a, after: a, {LIGHT}'], ['1:20: the steps wait for one another: "a" after "a"']),
    ([f'name: a, after: b, {LIGHT}', f'name: b, after: c, {LIGHT}', f'name: c, after: b, {LIGHT}'],
     ['2:20: the steps wait for one another: "b" after "c" after "b"']),
    ([f'name: a, at: 1 s, {LIGHT}', f'after: a, outcome: ended, {LIGHT}'],
     ['2:23: the step "a" has no "for", so it does not end before the run does']),
    # 50 s + 9 s + 1 s; without waiting for the end, 50 s + 1 s.
    ([f'name: a, at: 50 s, for: 9 s, {LIGHT}', 'after: a, delay: 1 s, kill: driver'],
     ['2:11: this cannot happen before 60 s, and the run is over after 60 s']),
    ([f'name: a, at: 50 s, for: 9 s, {LIGHT}', 'after: a, outcome: done, kill: driver'], []),
    ([f'name: a, every: 50 s, from: 0 s, {LIGHT}', f'name: b, after: a, delay: 30 s, {LIGHT}',
      f'after: b, delay: 30 s, {LIGHT}'],
     ['3:11: this cannot happen before 60 s, and the run is over after 60 s']),
    # A goal has an end of its own, which may come at once.
    ([f'name: a, at: 50 s, {GOAL}', f'after: a, outcome: ended, {LIGHT}'], []),
    ([f'name: a, at: 50 s, for: 10 s, {GOAL}', f'after: a, {LIGHT}'], []),
    ([f'name: a, at: 50 s, {GOAL}', f'after: a, delay: 10 s, {LIGHT}'],
     ['2:11: this cannot happen before 60 s, and the run is over after 60 s']),
    (['name: a, at: 1 s, push: {name: x, impulse: [1, 0, 0]}',
      f'after: a, outcome: ended, {LIGHT}'],
     ['2:23: the step "a" has no "for", so it does not end before the run does']),
    # Who publishes a topic with faults.
    (['at: 1 s, for: 1 s, fault: {topic: /a, drop: 5 %}',
      'at: 5 s, for: 1 s, fault: {topic: /a, publisher: driver, drop: 5 %}'], []),
    # Overlaps.
    ([f'at: 5 s, for: 10 s, {LIGHT}', f'at: 14 s, for: 1 s, {LIGHT}'],
     ['2:31: at 14 s this changes "light", which step 0 has changed until 15 s']),
    ([f'at: 5 s, for: 10 s, {LIGHT}', f'at: 15 s, for: 1 s, {LIGHT}'], []),
    ([f'at: 5 s, for: 10 s, {LIGHT}', f'at: 14 s, {LIGHT}'],
     ['2:21: at 14 s this changes "light", which step 0 has changed until 15 s']),
    ([f'at: 5 s, {LIGHT}', f'at: 14 s, for: 1 s, {LIGHT}', f'at: 20 s, {LIGHT}'], []),
    ([f'at: 5 s, {LIGHT}', f'at: 5 s, {LIGHT}'],
     ['2:20: at 5 s this changes "light", which step 0 has changed until 5 s']),
    ([f'name: flicker, every: 5 s, for: 1 s, {LIGHT}', f'at: 30 s, for: 10 s, {LIGHT}'],
     ['2:32: at 30 s this changes "light", which step flicker has changed until 31 s',
      '1:48: at 35 s this changes "light", which step 1 has changed until 40 s']),
    ([f'at: 5 s, for: 30 s, {LIGHT}', f'at: 9 s, for: 1 s, {LIGHT}', f'at: 20 s, {LIGHT}'],
     ['2:30: at 9 s this changes "light", which step 0 has changed until 35 s',
      '3:21: at 20 s this changes "light", which step 0 has changed until 35 s']),
    ([f'random: {{count: 3, from: 1 s, to: 5 s}}, for: 2 s, {LIGHT}'], []),
    (['at: 5 s, fault: {topic: /a, drop: 5 %}', 'at: 9 s, fault: {topic: /a, delay: 5 ms}'],
     ['2:20: at 9 s this changes the messages on /a, which step 0 has changed until 60 s']),
    (['at: 5 s, fault: {topic: /a, drop: 5 %}', 'at: 9 s, fault: {topic: /b, drop: 5 %}'], []),
    (['every: 20 s, fault: {topic: /a, drop: 5 %}'],
     ['1:24: at 40 s this changes the messages on /a, which step 0 has changed until 60 s']),
    (['at: 5 s, for: 5 s, stop: driver', 'at: 6 s, for: 1 s, stop: driver'],
     ['2:29: at 6 s this changes the process "driver", which step 0 has changed until 10 s']),
    (['at: 5 s, for: 5 s, parameter: {node: /n, name: a, value: 1}',
      'at: 6 s, for: 1 s, parameter: {node: /n, name: b, value: 1}',
      'at: 7 s, for: 1 s, parameter: {node: /n, name: a, value: 1}'],
     ['3:34: at 7 s this changes the parameter a of /n, which step 0 has changed until 10 s']),
    (['at: 5 s, for: 5 s, push: {name: a, force: [1, 0, 0]}',
      'at: 6 s, for: 1 s, push: {name: b, force: [1, 0, 0]}'], []),
    (['at: 5 s, for: 5 s, transition: {node: /n, transition: deactivate}',
      'at: 6 s, transition: {node: /n, transition: activate}'],
     ['2:25: at 6 s this changes the state of /n, which step 0 has changed until 10 s']),
]


@pytest.mark.parametrize('steps, expected', TOGETHER, ids=[' | '.join(s) for s, _ in TOGETHER])
def test_mistakes_between_steps(home: Path, steps: list[str], expected: list[str]) -> None:
    text = ''.join(f'- {{{step}}}\n' for step in steps)
    if expected:
        assert sorted(errors(home, text)) == sorted(expected)
    else:
        assert len(loaded(home, text).spec.scenario) == len(steps)


def test_all_mistakes_come_at_once(home: Path) -> None:
    text = (f'- {{{LIGHT}}}\n- {{at: 5, {LIGHT}}}\n'
            '- {at: 1 s, push: {name: a}, repeat: 2, whn: 1}\n')
    assert [one.split(': ')[0] for one in errors(home, text)] == ['1:3', '2:8', '3:19', '3:41']
    text = f'- {{at: 70 s, kill: x, holds_during: y}}\n- {{name: a, after: b, {LIGHT}}}\n'
    assert [one.split(': ')[0] for one in errors(home, text)] == ['1:20', '2:20']


def test_the_simulator_is_a_process_where_the_run_starts_it(home: Path) -> None:
    (home / 'w.sdf').touch()
    head = HEAD.replace('{processes', '{simulator: {backend: embedded, world: w.sdf}, processes')
    assert loaded(home, '- {at: 1 s, kill: simulator}\n', head).spec.scenario[0].is_undone is False
    without = HEAD.replace('system: {processes: [{name: driver, command: x}]}\n', '')
    assert errors(home, '- {at: 1 s, kill: driver}\n', without) == [
        '1:19: the run starts no process "driver" (it starts none)']


TWO_ENDS = HEAD.replace('{processes', '{simulator: {backend: embedded, world: w.sdf}, processes')


def test_who_publishes_has_to_be_said_where_there_are_several(home: Path) -> None:
    (home / 'w.sdf').touch()
    fault = '- {{at: {} s, for: 1 s, fault: {{topic: /cmd_vel{}, drop: 5 %}}}}\n'
    assert loaded(home, fault.format(1, ''), TWO_ENDS), 'the simulator is taken for it'
    two = HEAD.replace('command: x}', 'command: x}, {name: other, command: x}')
    (found,) = errors(home, fault.format(1, ''), two)
    assert found == ('1:38: which of driver, other publishes /cmd_vel is not known: add '
                     'publisher: driver, or another one')
    for name in ('driver', 'simulator'):
        said = fault.format(1, f', publisher: {name}')
        # Said once is enough, wherever.
        assert loaded(home, said + fault.format(3, ''), TWO_ENDS)
        assert loaded(home, fault.format(3, '') + said, TWO_ENDS)
    text = fault.format(1, ', publisher: driver') + fault.format(3, ', publisher: simulator')
    (found,) = errors(home, text, TWO_ENDS)
    assert found == '2:59: /cmd_vel is published by "driver", as an earlier step says'


def test_on_hardware_there_is_no_simulator_to_take_for_the_publisher(home: Path) -> None:
    head = HEAD.replace('{processes', '{simulator: {backend: none}, processes')
    assert loaded(home, '- {at: 1 s, fault: {topic: /a, drop: 5 %}}\n', head)
    assert errors(home, '- {at: 1 s, kill: simulator}\n', head) == [
        '1:19: the run starts no process "simulator" (it starts driver)']


def test_a_node_is_killed_only_where_the_run_has_started_it(home: Path) -> None:
    head = HEAD.replace('system: {processes: [{name: driver, command: x}]}\n', '')
    assert errors(home, '- {at: 1 s, kill: /planner}\n', head) == [
        '1:19: the run starts no process, so that it cannot kill that of /planner']


def test_a_blow_is_over_at_once_and_has_its_impulse(home: Path) -> None:
    blow = step_of(home, 'at: 1 s, push: {name: a, impulse: [0, 3, 0]}')
    assert not blow.is_undone and not blow.has_end
    long = step_of(home, 'at: 1 s, for: 1 s, push: {name: a, impulse: [0, 3, 0]}')
    assert long.is_undone and long.action.force_over(2 * S) == [0, 1.5, 0]


def test_a_scenario_alone_is_no_test(home: Path) -> None:
    head = 'robot_qa: 1\nname: x\nduration: 60 s\nscenario:\n'
    (found,) = errors(home, f'- {{at: 1 s, {LIGHT}}}\n', head)
    assert 'nothing is checked' in found


def test_parameters_fit_everywhere(home: Path) -> None:
    text = """\
- {at: '${t}', for: '${t}', light: {scale: '${s}'}}
- {at: '${t}', fault: {topic: /a, drop: '${s}', reorder: '${n}'}}
- {at: 9 s, move: {name: '${a}', pose: {xyz: ['${s}', 0, '${n}']}}}
- {at: 9 s, pause: true, for: '${t}'}
"""
    head = HEAD.replace('scenario:', 'parameters: {t: 5 s, s: 0.5, n: 3, a: x}\nscenario:')
    assert loaded(home, text, head).spec.scenario[2].action.pose.xyz == [0.5, 0, 3]
    SCHEMA.validate(yaml.safe_load(head + text))


@pytest.mark.parametrize('step', [
    {'light': {'scale': 'x'}}, {'lights': {}}, {'fault': {'topic': '/a', 'drop': 'often'}},
    {'fault': {'topic': '/a', 'drop': {'evry': 3}}}, {'fault': {'drop': 0.5}},
    {'move': {'name': 'a', 'pose': {'xyz': [1, 2]}}}, {'pause': False}, {'stop': 'a b'},
    {'fault': {'topic': '/a', 'stale_stamps': False}}, {'at': 5},
])
def test_the_schema_refuses_what_the_loader_refuses(home: Path, step: dict[str, Any]) -> None:
    data = {**yaml.safe_load(HEAD), 'scenario': [{'at': '1 s', **step}]}
    with pytest.raises(jsonschema.ValidationError):
        SCHEMA.validate(data)


# --- no other exception -------------------------------------------------------------------------

VALUES = st.recursive(
    st.sampled_from([
        None, True, False, 0, -1, 5, 0.5, 10**30, '', 'x', '0 s', '1 ns', '5 s', '70 s', '5 %',
        '5 Hz', '${', '/a', 'driver', 'dark', 'rules', 'x > 1', float('inf'), float('nan'),
    ]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(['at', 'after', 'for', 'name', 'kill', '/a', 'every', 'topic', 'drop',
                         'random', 'count', 'from', 'check', 'within', 'light', 'scale']),
        inner, max_size=3),
    max_leaves=5,
)


@pytest.fixture(scope='module')
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('fuzzed')
    (folder / 'crate').mkdir()
    (folder / 'crate.sdf').touch()
    return folder / 'fuzzed.qa.yaml'


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_mutated_steps_raise_nothing_but_spec_errors(fuzzed: Path, data: st.DataObject) -> None:
    spec = yaml.safe_load(HEAD + EVERY_ACTION)
    for _ in range(data.draw(st.integers(0, 3))):
        part = data.draw(st.sampled_from(spec['scenario']))
        while True:
            key = data.draw(st.sampled_from([*part, 'for', 'at', 'name', 'after']))
            if not isinstance(part.get(key), dict) or data.draw(st.booleans()):
                break
            part = part[key]
        part[key] = data.draw(VALUES)
    fuzzed.write_text(json.dumps(spec))
    with suppress(SpecError):
        assert load_spec(fuzzed).spec.duration == 60 * S
