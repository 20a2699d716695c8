from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from robot_qa.errors import SpecError
from robot_qa.spec.loader import MAX_BYTES, LoadedSpec, load_spec
from robot_qa.spec.marks import compose
from robot_qa.spec.model import TestSpec, declared_checks, json_schema
from robot_qa.spec.timing import Jitter, Rate
from robot_qa.spec.topics import Topic

HERE = Path(__file__).parent
QUICKSTART = HERE.parent / 'config' / 'quickstart.qa.yaml'
EVERYTHING = HERE / 'specs' / 'good_everything.qa.yaml'
GOOD = [QUICKSTART, *sorted((HERE / 'specs').glob('good*.qa.yaml'))]
HEAD = 'robot_qa: 1\nname: t\nduration: 5 s\n'  # three lines, so that bodies start on line 4
TOPIC = 'topics: {/a: {stamps: increasing}}\n'


def load(tmp_path: Path, text: str, **overrides: str) -> LoadedSpec:
    path = tmp_path / 'a.qa.yaml'
    path.write_text(text, encoding='utf-8')
    return load_spec(path, overrides)


def errors(tmp_path: Path, text: str, **overrides: str) -> list[str]:
    """Return ``line:column: message`` of each problem."""
    with pytest.raises(SpecError) as caught:
        load(tmp_path, text, **overrides)
    for problem in caught.value.problems:
        assert problem.file == str(tmp_path / 'a.qa.yaml')
    return [f'{p.line}:{p.column}: {p.message}' for p in caught.value.problems]


# --- good specs ---------------------------------------------------------------------------------

@pytest.mark.parametrize('path', GOOD, ids=lambda path: path.name)
def test_shipped_specs_are_valid_and_fit_the_schema(path: Path) -> None:
    loaded = load_spec(path)
    jsonschema.Draft202012Validator.check_schema(json_schema())
    jsonschema.validate(compose(loaded.text, str(path)).data, json_schema())
    assert list(declared_checks(loaded.spec))


@pytest.mark.parametrize('path', GOOD, ids=lambda path: path.name)
def test_every_check_points_at_its_own_line(path: Path) -> None:
    loaded = load_spec(path)
    lines = loaded.text.splitlines()
    for name, place in declared_checks(loaded.spec):
        file, line, column = loaded.source(place).rsplit(':', 2)
        assert file == str(path)
        assert lines[int(line) - 1][int(column) - 1:].startswith(f'{place[-1]}:'), name
        # Upwards from there, the nearest topic (less indented) must be the check's own.
        above = [text for text in lines[:int(line)] if re.match(r' {2}/\w+:|topics: ', text)]
        shared = name.startswith(('topics./odom.rate', 'topics./odom.loss', 'topics./odom.stamps'))
        if name.startswith('topics.') and (path != EVERYTHING or not shared):
            assert f'{place[1]}:' in above[-1], name


def test_a_merged_check_points_at_where_it_is_written() -> None:
    loaded = load_spec(EVERYTHING)
    anchor = next(i for i, text in enumerate(loaded.text.splitlines(), 1) if '&ten_hertz' in text)
    assert loaded.source(('topics', '/odom', 'rate', 'min')) == f'{EVERYTHING}:{anchor + 1}:7'


def test_declared_checks_are_the_leaves() -> None:
    names = [name for name, _ in declared_checks(load_spec(EVERYTHING).spec)]
    assert len(names) == len(set(names))
    assert names[:7] == [
        'topics./scan.rate.min', 'topics./scan.rate.max', 'topics./scan.gap.max',
        'topics./scan.jitter.p50', 'topics./scan.jitter.p95', 'topics./scan.jitter.p99.9',
        'topics./scan.jitter.max',
    ]
    assert {
        'topics./scan.age.min', 'topics./scan.transport.max', 'topics./scan.loss.max',
        'topics./scan.stamps', 'topics./scan.frame_id', 'topics./scan.expect_count.min',
        'topics./odom.expect_count', 'topics./odom.fields.pose.pose.position.x.min',
        'topics./scan.fields.ranges.finite', 'topics./scan.fields.ranges.length',
        'topics./scan.fields.intensities.length.max',
        'topics./odom.fields.pose.pose.orientation.unit_quaternion',
        'topics./odom.fields.twist.twist.linear.z.equals',
        'topics./odom.fields.child_frame_id.one_of',
    } <= set(names)
    assert not [name for name in names if 'period' in name or 'window' in name or 'type' in name]


def test_values_arrive_typed() -> None:
    spec = load_spec(EVERYTHING).spec
    scan, odom = spec.topics['/scan'], spec.topics['/odom']
    assert (spec.duration, spec.confidence, spec.clock) == (60 * 10**9, 0.99, 'ros')
    assert scan.jitter is not None
    assert scan.jitter.quantiles == {
        'p50': (0.5, 10**6), 'p95': (0.95, 10**7), 'p99.9': (0.999, 2 * 10**7)}
    assert scan.jitter.period == 10**8
    assert scan.age is not None and scan.age.min == -5_000_000
    assert scan.loss is not None and scan.loss.max == 0.001
    assert (scan.frame_id, odom.frame_id) == (['lidar_link', 'laser'], ['odom'])
    assert (scan.fields['ranges'].length, odom.expect_count) == (360, 600)
    assert scan.fields['ranges'].finite == 'or_inf'
    assert scan.fields['ranges'].min == 0.05
    quaternion = odom.fields['pose.pose.orientation'].unit_quaternion
    assert quaternion is not None and quaternion.tolerance == 0.01
    assert odom.rate == scan.rate


def test_processes_and_their_text() -> None:
    system = load_spec(EVERYTHING).spec.system
    assert system is not None
    driver, base, stack, own = system.processes
    assert driver.command == ['ros2', 'run', 'lidar', 'driver', '--beams', '360']
    assert driver.may_exit and not base.may_exit
    assert base.command == ['base_node', '--label=5', 'two words', '${HOME}']
    assert base.environment == {'ROS_DOMAIN_ID': '7', 'DEBUG': 'false'}
    assert stack.launch is not None and stack.launch.arguments == {'use_sim_time': 'true'}
    assert own.launch is not None and own.launch.package is None
    assert system.ready.timeout == 20 * 10**9


def test_defaults(tmp_path: Path) -> None:
    spec = load(tmp_path, HEAD + 'topics: {/a: {rate: {min: 1 Hz}, fields: {q: '
                '{unit_quaternion: true}}}}').spec
    topic = spec.topics['/a']
    assert (spec.confidence, spec.on_ros_time, spec.inconclusive) == (0.95, False, 'fail')
    assert (spec.timeout, spec.system, topic.basis, topic.gap) == (None, None, 'source', None)
    assert topic.rate == Rate.model_validate({'min': '1 Hz', 'window': '2 s'})
    assert topic.fields['q'].unit_quaternion is not None
    assert topic.fields['q'].unit_quaternion.tolerance == 1e-3


SIMULATED = 'system: {simulator: {backend: embedded, world: w.sdf}}\n'


@pytest.mark.parametrize('clock,on_ros_time', [
    ('', True), ('clock: ros\n', True), ('clock: system\n', False),
])
def test_a_simulator_brings_its_clock(tmp_path: Path, clock: str, on_ros_time: bool) -> None:
    (tmp_path / 'w.sdf').touch()
    assert load(tmp_path, HEAD + clock + SIMULATED + TOPIC).spec.on_ros_time is on_ros_time


@pytest.mark.parametrize('body,expected', [
    (SIMULATED, ['4:48: there is no file "w.sdf"']),
    ('system: {simulator: {backend: gazebbo, world: w.sdf}}\n',
     ['4:31: embedded, gazebo, standard or none was expected, found "gazebbo"; '
      'did you mean "gazebo"?', '4:47: there is no file "w.sdf"']),
    ('system:\n  processes:\n  - {name: simulator, command: sim}\n',
     ['6:12: the name "simulator" belongs to the simulator']),
])
def test_mistakes_about_the_simulator(tmp_path: Path, body: str, expected: list[str]) -> None:
    assert errors(tmp_path, HEAD + body + TOPIC) == expected


@pytest.mark.parametrize('name, slug', [
    ('warehouse patrol', 'warehouse-patrol'), ('../../etc', 'etc'), ('a/b\\c:d', 'a-b-c-d'),
    ('Prüfung 1', 'Prüfung-1'), ('x' * 100, 'x' * 60),
])
def test_the_name_becomes_a_folder_name(tmp_path: Path, name: str, slug: str) -> None:
    text = HEAD.replace('name: t', f"name: '{name}'") + TOPIC
    assert load(tmp_path, text).spec.slug == slug


def test_a_spec_cannot_be_changed() -> None:
    spec = load_spec(QUICKSTART).spec
    with pytest.raises(ValidationError, match='frozen'):
        spec.duration = 1


def test_the_model_refuses_unknown_keys_without_the_loader_too() -> None:
    for part, data in ((Topic, {'stamp': 'increasing'}), (Jitter, {'p101': '1 s'}),
                       (TestSpec, {'perceptions': {}})):
        with pytest.raises(ValidationError, match=r'unknown key|no quantile'):
            part.model_validate(data)


# --- bad specs ----------------------------------------------------------------------------------

TOP_KEYS = ', '.join(TestSpec.model_fields)
TOPIC_KEYS = ', '.join(Topic.model_fields)
CHECK_KEYS = TOPIC_KEYS.removeprefix('type, basis, expected_rate, ')
TIME = 'a time such as 50 ms (ns, us, ms, s, min, h)'

BAD = [
    # The top level; HEAD is lines 1 to 3.
    ('', ['1:1: nothing is checked; write at least one check under "topics", "rules", "nodes", '
          '"graph", "services", "actions", "paths", "stages", "resources", "perception", "tf", '
          '"logs" or "diagnostics"']),
    (TOPIC + 'zoo: {}\n', [f'5:1: unknown key "zoo" (valid here: {TOP_KEYS})']),
    (TOPIC + 'stop_when_decided: true\n',
     ['5:20: min_duration is missing: how long hard limits have to hold at least']),
    (TOPIC + 'min_duration: 1 s\n', ['5:15: min_duration belongs to "stop_when_decided: true"']),
    (TOPIC + 'stop_when_decided: true\nmin_duration: 1 h\n',
     ['6:15: min_duration is longer than the duration of the run']),
    (TOPIC + 'timeout: 5 s\n', ['5:10: the timeout must be longer than the duration']),
    (TOPIC + 'timeout: 10\n', [f'5:10: 10 has no unit; write {TIME}']),
    (TOPIC + 'clock: steady\n', ['5:8: ros or system was expected, found "steady"']),
    (TOPIC + 'inconclusive: fial\n',
     ['5:15: fail or skip was expected, found "fial"; did you mean "fail"?']),
    (TOPIC + 'confidence: 50 %\n', ['5:13: more than 0.5 was expected, found "50 %"']),
    (TOPIC + 'confidence: 1\n', ['5:13: less than 1 was expected, found the number 1']),
    (TOPIC + 'description: 5\n', ['5:14: a text was expected, found the number 5']),
    (TOPIC + 'name: again\n', ['5:1: the key "name" was already written on line 2']),
    (TOPIC + '1: x\n', ['5:1: the key 1 is not text; put it in quotes']),
    (TOPIC + 'system:\n', ['5:8: no value is written here; add one or remove the key']),
    ('topics: []\n', ['4:9: a mapping was expected, found a list']),
    ('topics: {/a: 5}\n', ['4:14: a mapping was expected, found the number 5']),
    # Topics.
    ('topics: {scan: {stamps: increasing}}\n',
     ['4:10: "scan" is not an absolute ROS name; did you mean "/scan"?']),
    ('topics: {/a//b/: {stamps: increasing}}\n',
     ['4:10: "/a//b/" is not an absolute ROS name; did you mean "/a/b"?']),
    ('topics: {/a: {}}\n', [f'4:14: nothing is checked here (valid: {CHECK_KEYS})']),
    ('topics:\n  /a: {type: a/msg/B, basis: header, expected_rate: 5 Hz}\n',
     [f'5:7: nothing is checked here (valid: {CHECK_KEYS})']),
    ('topics: {/a: {fields: {}}}\n', [f'4:14: nothing is checked here (valid: {CHECK_KEYS})']),
    ('topics:\n  /a:\n    gaps: {max: 1 s}\n    stamps: increasing\n',
     [f'6:5: unknown key "gaps"; did you mean "gap"? (valid here: {TOPIC_KEYS})']),
    ('topics: {/a: {stamps: increasing, type: sensor_msgs/LaserScan}}\n',
     ['4:41: "sensor_msgs/LaserScan" is not a message type; '
      'did you mean "sensor_msgs/msg/LaserScan"?']),
    ('topics: {/a: {stamps: increasing, type: LaserScan}}\n',
     ['4:41: "LaserScan" is not a message type such as sensor_msgs/msg/LaserScan']),
    ('topics: {/a: {stamps: on}}\n',
     ['4:23: increasing or non_decreasing was expected, found "on"']),
    ('topics: {/a: {frame_id: 5}}\n', ['4:25: a text or a list of texts was expected']),
    ('topics: {/a: {frame_id: [a, 5]}}\n', ['4:29: a text was expected, found the number 5']),
    ('topics: {/a: {frame_id: []}}\n',
     ['4:25: nothing is written here; at least one was expected']),
    # Limits.
    ('topics: {/a: {rate: {min: 2 Hz, max: 1 Hz}}}\n',
     ['4:38: max is below min, so nothing can pass']),
    ('topics: {/a: {rate: {window: 1 s}}}\n',
     ['4:21: nothing is checked here (valid: min, max)']),
    ('topics: {/a: {rate: {min: 30 ms}}}\n',
     ['4:27: 30 ms is a time; a frequency was expected, such as 30 Hz']),
    ('topics: {/a: {rate: {min: 0 Hz}}}\n', ['4:27: more than 0 was expected, found "0 Hz"']),
    ('topics: {/a: {rate: {min: 1 Hz, window: 6 s}}}\n',
     ['4:41: the window is longer than the duration of the run']),
    ('topics: {/a: {expected_rate: 8 Hz, rate: {min: 9 Hz}}}\n',
     ['4:48: min is above expected_rate']),
    ('topics: {/a: {expected_rate: 8 Hz, rate: {max: 7 Hz}}}\n',
     ['4:48: max is below expected_rate']),
    ('topics: {/a: {rate: {max: 10 Hz}, gap: {max: 99 ms}}}\n',
     ['4:46: max is shorter than 1 / rate.max, so both cannot hold']),
    ('topics: {/a: {gap: {}}}\n', ['4:20: the key "max" is missing here']),
    ('topics: {/a: {loss: {max: 5}}}\n', ['4:27: 5 is not between 0 % and 100 %']),
    ('topics: {/a: {jitter: {p95: 5 ms, p99: 4 ms}}}\n',
     ['4:40: p99 is below p95, which it can never be']),
    ('topics: {/a: {age: {max: 4 ms, p5: 5 ms}}}\n',
     ['4:26: max is below p5, which it can never be']),
    ('topics: {/a: {age: {min: 5 ms, p5: 4 ms, max: 1 s}}}\n',
     ['4:36: p5 is below min, which it can never be']),
    ('topics: {/a: {age: {min: 5 ms, max: 4 ms}}}\n',
     ['4:37: max is below min, so nothing can pass']),
    ('topics: {/a: {age: {}}}\n',
     ['4:20: nothing is checked here (valid: min, max, a quantile such as p95)']),
    ('topics: {/a: {transport: {p100: 1 s, p0: 1 s, p95: 5}}}\n',
     ['4:27: "p100" is no quantile: its number must lie between 0 and 100, as in p95',
      '4:38: "p0" is no quantile: its number must lie between 0 and 100, as in p95',
      f'4:52: 5 has no unit; write {TIME}']),
    ('topics: {/a: {jitter: {q95: 1 s}}}\n',
     ['4:24: unknown key "q95" (valid here: max, period, or a quantile such as p95)']),
    ('topics: {/a: {expect_count: -1}}\n', ['4:29: at least 0 was expected, found the number -1']),
    ('topics: {/a: {expect_count: {min: 2, max: 1}}}\n',
     ['4:43: max is below min, so nothing can pass']),
    ('topics: {/a: {expect_count: 1.5}}\n',
     ['4:29: a whole number was expected, found the number 1.5']),
    # Fields.
    ('topics: {/a: {fields: {a..b: {min: 1}}}}\n',
     ['4:24: "a..b" is not a field path such as pose.pose.position.x']),
    ('topics: {/a: {fields: {a: {}}}}\n',
     ['4:27: nothing is checked here (valid: finite, min, max, length, unit_quaternion, equals, '
      'one_of)']),
    ('topics: {/a: {fields: {a: {finite: false}}}}\n',
     ['4:36: false checks nothing; remove the key']),
    ('topics: {/a: {fields: {a: {finite: 1}}}}\n', ['4:36: true or or_inf was expected']),
    ('topics: {/a: {fields: {a: {unit_quaternion: false}}}}\n',
     ['4:45: false checks nothing; remove the key']),
    ('topics: {/a: {fields: {a: {min: 2, max: 1}}}}\n',
     ['4:41: max is below min, so nothing can pass']),
    ('topics: {/a: {fields: {a: {min: 3 m}}}}\n',
     ['4:33: a number without a unit was expected, such as 0.05']),
    ('topics: {/a: {fields: {a: {max: .inf}}}}\n',
     ['4:33: inf is not a finite number that a message can hold']),
    ('topics: {/a: {fields: {a: {length: {min: 2, max: 1}}}}}\n',
     ['4:50: max is below min, so nothing can pass']),
    ('topics: {/a: {fields: {a: {min: 1, equals: 2}}}}\n',
     ['4:44: equals and min contradict each other']),
    ('topics: {/a: {fields: {a: {one_of: [1], equals: 1}}}}\n',
     ['4:36: one_of and equals contradict each other']),
    ('topics: {/a: {fields: {a: {one_of: []}}}}\n',
     ['4:36: nothing is written here; at least one was expected']),
    ('topics: {/a: {fields: {a: {one_of: [1, b]}}}}\n',
     ['4:36: texts and numbers are mixed; a field holds one or the other']),
    ('topics: {/a: {fields: {a: {equals: [1]}}}}\n',
     ['4:36: a text, a number, true or false was expected']),
    # The system.
    (TOPIC + 'system: {processes: [{name: a}]}\n',
     ['5:22: exactly one of command and launch was expected']),
    (TOPIC + 'system: {processes: [{name: a, command: x, launch: {package: p, file: f}}]}\n',
     ['5:22: exactly one of command and launch was expected']),
    (TOPIC + 'system: {processes: [{name: a b, command: x}]}\n',
     ['5:29: "a b" is not a process name; use letters, digits, "_" and "-"']),
    (TOPIC + 'system:\n  processes:\n  - {name: a, command: x}\n  - {name: a, command: y}\n',
     ['8:12: the name "a" is already taken by process 0']),
    (TOPIC + 'system: {processes: [{name: a, command: "a \'b"}]}\n',
     ['5:41: the command cannot be split into words: No closing quotation']),
    (TOPIC + 'system: {processes: [{name: a, command: []}]}\n',
     ['5:41: nothing is written here; at least one was expected']),
    (TOPIC + "system: {processes: [{name: a, command: ['']}]}\n",
     ['5:42: the program has no name']),
    (TOPIC + 'system: {processes: [{name: a, command: x, environment: {A-B: 1}}]}\n',
     ['5:58: "A-B" is not a name made of letters, digits and "_"']),
    (TOPIC + 'system: {ready: {topics: [scan], timeout: 0 s}}\n',
     ['5:27: "scan" is not an absolute ROS name; did you mean "/scan"?',
      '5:43: more than 0 was expected, found "0 s"']),
    # Files.
    (TOPIC + 'system: {processes: [{name: a, command: x, cwd: ..}]}\n',
     ['5:49: ".." leads out of the folder or package of the spec']),
    (TOPIC + 'system: {processes: [{name: a, command: x, cwd: /tmp}]}\n',
     ['5:49: "/tmp" is not a path relative to the folder of the spec']),
    (TOPIC + 'system: {processes: [{name: a, command: x, cwd: nowhere}]}\n',
     ['5:49: there is no folder "nowhere"']),
    (TOPIC + 'system: {processes: [{name: a, launch: {file: sub/../../b.py}}]}\n',
     ['5:47: "sub/../../b.py" leads out of the folder or package of the spec']),
    (TOPIC + 'system: {processes: [{name: a, launch: {file: b.launch.py}}]}\n',
     ['5:47: there is no file "b.launch.py"']),
    (TOPIC + 'system: {processes: [{name: a, launch: {package: p, file: ../b.py}}]}\n',
     ['5:59: "../b.py" leads out of the package']),
    # Parameters.
    ('parameters: {fault: none}\ntopics: {/a: {frame_id: "${fualt}"}}\n',
     ['5:25: there is no parameter "fualt"; did you mean "fault"?']),
    ('parameters: {a: [1]}\ntopics: {/a: {frame_id: "${a}"}}\n',
     ['4:17: a text, a number, true or false was expected']),
    ('parameters: {a: 1, b: "${a}"}\n' + TOPIC, ['4:23: a parameter cannot refer to another one']),
    ('parameters: {a: 1}\ntopics: {/a: {expect_count: "${a + 1}"}}\n',
     ['5:29: "a + 1" is not a parameter name; nothing is calculated in ${}']),
    ('parameters: {a: 1}\ntopics: {/a: {frame_id: "x${a"}}\n',
     ['5:25: "${" is not closed by "}"; write $${ for the characters']),
    ('parameters: {a: 1}\ntopics: {/a: {frame_id: "${a}"}}\n',
     ['5:25: a text or a list of texts was expected']),
    # YAML.
    ('topics: {/a: {stamps: !later x}}\n',
     ['4:23: the tag !later is not known; a spec holds plain data only']),
    ('topics: {/a: {frame_id: "a\\0"}}\n',
     ['4:25: the value cannot be read as str: it holds a NUL or half of a surrogate pair']),
    ('topics: {/a: {frame_id: ${x}}}\n',
     ["4:26: not valid YAML: while parsing a flow mapping, expected ',' or '}', but got '{'; "
      "inside [ ] and { } a reference needs quotes: '${name}'"]),
    ('a: [\n', ["5:1: not valid YAML: while parsing a flow node, expected the node content, "
                "but found '<stream end>'"]),
    ('a: b: c\n', ['4:5: not valid YAML: mapping values are not allowed here']),
    ('a: \x07\n', ["4:4: the character '\\x07' cannot be used; write it as an escape"]),
    ('a: ' + '[' * 60 + ']' * 60, ['4:53: values are nested deeper than 50 levels']),
    ('a: ' + '[' * 9999, ['1:1: values are nested deeper than 50 levels']),
    ('a: &a [*a]\n', ['4:4: an alias stands inside the value it repeats']),
    ('a: &a {<<: *a}\n', ['4:4: an alias stands inside the value it repeats']),
]


@pytest.mark.parametrize('body, expected', BAD, ids=[repr(body)[:60] for body, _ in BAD])
def test_a_mistake_is_named_where_it_stands(
    tmp_path: Path, body: str, expected: list[str]
) -> None:
    assert errors(tmp_path, HEAD + body) == expected


WHOLE = [
    ('', ['1:1: the file is empty; a spec starts with "robot_qa: 1"']),
    ('# nothing\n', ['1:1: the file is empty; a spec starts with "robot_qa: 1"']),
    ('- a\n', ['1:1: a spec is a mapping of keys and starts with "robot_qa: 1"']),
    ('{}', [f'1:1: the key "{key}" is missing here' for key in ('duration', 'name', 'robot_qa')]),
    ('robot_qa: 2\nname: "--"\nduration: -1 s\n' + TOPIC,
     ['1:11: 1 was expected, found the number 2',
      '2:7: a name of at most 120 characters with a letter or digit was expected',
      '3:11: -1 s is below zero']),
    ('robot_qa: true\nname: "a\\tb"\nduration: nan\n' + TOPIC,
     ['1:11: 1, the version of this format, was expected',
      '2:7: a name of at most 120 characters with a letter or digit was expected',
      f'3:11: "nan" is not a time; write {TIME}']),
]


@pytest.mark.parametrize('text, expected', WHOLE, ids=[repr(text)[:30] for text, _ in WHOLE])
def test_whole_files(tmp_path: Path, text: str, expected: list[str]) -> None:
    assert errors(tmp_path, text) == expected


MANY = """\
robot_qa: 1
nam: many mistakes
duration: 30 Hz
clock: rso
parameters: {a: 5}
system:
  processes:
    - {name: a, command: x, cwd: ../..}
  ready: {topics: [scan]}
topics:
  /scan:
    rate: {min: 11 Hz, max: 9 Hz}
    gap: {max: 250}
    jitter: {p95: 5 ms, p99: 4 ms}
    gaps: 1
    frame_id: ${b}
    fields:
      ranges: {finite: false, length: x}
  /scan: {stamps: increasing}
"""


def test_all_mistakes_come_at_once(tmp_path: Path) -> None:
    assert [line.split(': ')[0] for line in errors(tmp_path, MANY, c='1')] == [
        '1:1', '2:1', '3:11', '4:8', '5:13', '8:34', '9:20', '12:29', '13:16', '14:30', '15:5',
        '16:15', '18:24', '18:39', '19:3',
    ]


@pytest.mark.parametrize('escape', ['\\UFFFFFFFF', '\\U00110000', '\\q'])
def test_impossible_escapes_are_broken_yaml(tmp_path: Path, escape: str) -> None:
    # The reason is Python's own text, which differs between versions.
    assert errors(tmp_path, f'a: "{escape}"\n')[0].startswith('1:')


def test_aliases_do_not_explode(tmp_path: Path) -> None:
    levels = ''.join(f'a{i}: &a{i} [{", ".join([f"*a{i - 1}"] * 10)}]\n' for i in range(1, 10))
    found = errors(tmp_path, f'a0: &a0 [x]\n{levels}')
    assert len(found) == 1
    assert found[0].endswith('more than 100000 values once aliases are followed')


# --- YAML 1.2 -----------------------------------------------------------------------------------

@pytest.mark.parametrize('text, value', [
    ('on', 'on'), ('off', 'off'), ('yes', 'yes'), ('No', 'No'), ('true', True), ('FALSE', False),
    ('010', 10), ('0o10', 8), ('0x10', 16), ('0b11', '0b11'), ('1_000', '1_000'), ('1:30', '1:30'),
    ('2026-01-01', '2026-01-01'), ('1e3', 1000.0), ('.5', 0.5), ('-.inf', float('-inf')),
    ('~', None), ('', None), ('null', None), ('none', 'none'), ('"5"', '5'), ('!!str 5', '5'),
    ('=', '='), ('-', [None]), ('<<', '<<'),
])
def test_scalars_follow_the_core_schema(text: str, value: object) -> None:
    marked = compose(f'k:\n  {text}\n', 'f')
    assert marked.data == {'k': value}
    assert type(marked.data['k']) is type(value)
    assert not marked.problems


def test_keys_that_yaml_1_1_would_take_for_booleans() -> None:
    assert compose('on: 1\nno: 2\ny: 3\n', 'f').data == {'on': 1, 'no': 2, 'y': 3}


def test_positions_of_keys_and_values() -> None:
    marked = compose('a:\n  - b: 1\n    "c": {d: [x, y]}\n', 'f')
    assert marked.keys == {
        ('a',): (1, 1), ('a', 0, 'b'): (2, 5), ('a', 0, 'c'): (3, 5), ('a', 0, 'c', 'd'): (3, 11)}
    assert marked.values[('a', 0, 'b')] == (2, 8)
    assert marked.values[('a', 0, 'c', 'd', 1)] == (3, 18)


def test_merged_mappings_give_way_to_written_keys() -> None:
    text = 'x: &x {a: 1, b: 1}\ny: &y {b: 2, c: 2}\nz:\n  <<: [*x, *y]\n  a: 3\n'
    assert compose(text, 'f').data['z'] == {'a': 3, 'b': 1, 'c': 2}


# --- parameters ---------------------------------------------------------------------------------

PARAMETERS = HEAD + """\
parameters: {count: 5, label: lidar, strict: true, limit: 50 ms}
topics:
  /a:
    expect_count: ${count}
    frame_id: ${label}_${count}_${strict}
    gap: {max: '${limit}'}
    fields: {x: {equals: '$${label}'}, y: {equals: '${strict}'}}
"""


def test_parameters_keep_their_type_or_become_text(tmp_path: Path) -> None:
    topic = load(tmp_path, PARAMETERS).spec.topics['/a']
    assert topic.expect_count == 5
    assert topic.frame_id == ['lidar_5_true']
    assert topic.gap is not None and topic.gap.max == 50_000_000
    assert topic.fields['x'].equals == '${label}'
    assert topic.fields['y'].equals is True


def test_overrides_replace_the_defaults(tmp_path: Path) -> None:
    spec = load(tmp_path, PARAMETERS, count='7', label='5', strict='false', limit='1 s').spec
    topic = spec.topics['/a']
    assert spec.parameters == {'count': 7, 'label': '5', 'strict': False, 'limit': '1 s'}
    assert topic.expect_count == 7
    assert topic.frame_id == ['5_7_false']
    assert topic.gap is not None and topic.gap.max == 10**9


def test_an_inserted_value_is_not_read_again(tmp_path: Path) -> None:
    spec = load(tmp_path, PARAMETERS, label='${count}').spec
    assert spec.topics['/a'].frame_id == ['${count}_5_true']


@pytest.mark.parametrize('overrides, expected', [
    ({'cuont': '1'}, ['4:13: there is no parameter "cuont" to set; did you mean "count"?']),
    ({'count': 'many'}, ["4:21: count was set to 'many', but a number was expected"]),
    ({'count': 'true'}, ["4:21: count was set to 'true', but a number was expected"]),
    ({'count': '['}, ["4:21: count was set to '[', but a number was expected"]),
    ({'strict': '1'}, ["4:46: strict was set to '1', but true or false was expected"]),
    ({'label': 'a\0'}, ["4:31: label was set to 'a\\x00', but it holds a NUL or half of a "
                        "surrogate pair"]),
    ({'limit': '50'}, [f'9:16: 50 has no unit; write {TIME}']),
])
def test_wrong_overrides(tmp_path: Path, overrides: dict[str, str], expected: list[str]) -> None:
    assert errors(tmp_path, PARAMETERS, **overrides) == expected


def test_an_override_without_any_parameters(tmp_path: Path) -> None:
    assert errors(tmp_path, HEAD + TOPIC, a='1') == ['1:1: there is no parameter "a" to set']


# --- files --------------------------------------------------------------------------------------

def with_cwd(cwd: str) -> str:
    return HEAD + TOPIC + f'system: {{processes: [{{name: a, command: x, cwd: {cwd}}}]}}\n'


def test_a_link_must_not_lead_out(tmp_path: Path) -> None:
    home, outside = tmp_path / 'home', tmp_path / 'outside'
    (home / 'inner').mkdir(parents=True)
    outside.mkdir()
    (home / 'out').symlink_to(outside)
    (home / 'in').symlink_to(home / 'inner')
    (home / 'loop').symlink_to(home / 'loop')
    assert load(home, with_cwd('in')).spec.system is not None
    assert errors(home, with_cwd('out')) == [
        '5:49: "out" leads out of the folder or package of the spec']
    assert errors(home, with_cwd('loop'))
    assert errors(home, with_cwd('x' * 5000))


def test_a_package_widens_what_is_inside(tmp_path: Path) -> None:
    (tmp_path / 'pkg' / 'test').mkdir(parents=True)
    (tmp_path / 'pkg' / 'worlds').mkdir()
    assert errors(tmp_path / 'pkg' / 'test', with_cwd('../worlds'))
    (tmp_path / 'pkg' / 'package.xml').touch()
    assert load(tmp_path / 'pkg' / 'test', with_cwd('../worlds'))
    assert errors(tmp_path / 'pkg' / 'test', with_cwd('../..'))


def test_a_spec_installed_by_links_finds_its_neighbours(tmp_path: Path) -> None:
    source, share = tmp_path / 'src', tmp_path / 'share'
    (source / 'data').mkdir(parents=True)
    share.mkdir()
    (source / 'a.qa.yaml').write_text(with_cwd('data'))
    for name in ('a.qa.yaml', 'data'):
        (share / name).symlink_to(source / name)
    assert load_spec(share / 'a.qa.yaml').path == share / 'a.qa.yaml'


def unreadable_files(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    yield tmp_path / 'none.qa.yaml', 'there is no such file'
    yield tmp_path, 'a file was expected, not a folder or a device'
    yield Path('/dev/zero'), 'a file was expected, not a folder or a device'
    latin = tmp_path / 'latin.qa.yaml'
    latin.write_bytes('name: Prüfung'.encode('latin-1'))
    yield latin, 'the file is not UTF-8 text: byte 8 cannot be decoded'
    large = tmp_path / 'large.qa.yaml'
    large.write_bytes(b'#' * (MAX_BYTES + 1))
    yield large, 'the file is larger than 1 MiB, which no spec needs'


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path, message in unreadable_files(tmp_path):
        with pytest.raises(SpecError) as caught:
            load_spec(path)
        assert str(caught.value) == f'{path}:1:1: {message}'


# --- JSON Schema --------------------------------------------------------------------------------

def broken(*path: str, value: Any) -> Any:
    """The data of the full spec with one value replaced or added."""
    data = compose(EVERYTHING.read_text(), 'f').data
    part = data
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    return data


@pytest.mark.parametrize('path, value', [
    (('perceptions',), {}), (('duration',), 5), (('duration',), '5 Hz'), (('robot_qa',), 2),
    (('clock',), 'steady'), (('topics', 'scan'), {'stamps': 'increasing'}), (('timeout',), None),
    (('topics', '/scan', 'gaps'), {}), (('topics', '/scan', 'jitter', 'q95'), '5 ms'),
    (('topics', '/scan', 'jitter', 'p95'), 5), (('topics', '/scan', 'loss', 'max'), 5),
    (('topics', '/scan', 'fields', 'ranges', 'finite'), False),
    (('topics', '/scan', 'fields', 'ranges', 'length'), 'x'),
    (('topics', '/odom', 'fields', 'a', ), {'unit_quaternion': False}),
])
def test_the_schema_refuses_what_the_loader_refuses(path: tuple[str, ...], value: Any) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken(*path, value=value), json_schema())


def test_the_schema_helps_an_editor() -> None:
    schema = json_schema()
    assert schema['$id'] and schema['title'] == 'robot_qa spec'
    for name, part in {'': schema, **schema['$defs']}.items():
        for key, value in part['properties'].items():
            assert value.get('description'), f'{name}.{key}'
    assert "'null'" not in str(schema)


# --- no other exception -------------------------------------------------------------------------

TEXTS = [path.read_text(encoding='utf-8') for path in GOOD]
SNIPPETS = st.sampled_from([
    '{', '}', '[', ']', ':', ': ', '- ', '\n', '\n  ', '&a ', '*a', '<<: ', '!!', '!x ', '|', '>',
    '"', "'", '${', '$${', '${length}', '%', '#', '? ', '\t', '~', 'null', '.nan', '1e999', '-1',
    '0x', '9' * 50, '---\n', '...', '\\', '\x00', '\ufeff', '\u2028', '\r', '/', '..', 'p101: 1 s',
    '@', '- - - ', 'true', '5 Hz', '%YAML 1.3\n', '"\\ud800"', '{a: {b: [', ', ',
]) | st.text(max_size=3)


VALUES = st.recursive(
    st.sampled_from([
        None, True, False, 0, -1, 5, 0.5, 10**30, '', 'x', '5 s', '5 %', '5 Hz', '${', '${beams}',
        '${label} ${low}', '.', '..', '/', '/a', 'p95', float('inf'), float('nan'),
    ]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(
        st.sampled_from(['min', 'max', 'p95', 'p0', 'file', 'name', '/a', 'a b', '${beams}']),
        inner, max_size=2),
    max_leaves=4,
)


@pytest.fixture(scope='module')
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('fuzzed')
    (folder / 'robot.launch.py').touch()
    return folder / 'fuzzed.qa.yaml'


def check_outcome(path: Path, text: str, overrides: dict[str, str]) -> None:
    """Load, and let nothing but a SpecError with sensible positions pass."""
    path.write_bytes(text.encode('utf-8', 'surrogatepass'))
    lines = len(re.split('\r\n|[\n\r\x85\u2028\u2029]', text))
    try:
        found = len(list(declared_checks(load_spec(path, overrides).spec)))
    except SpecError as error:
        found = sum(1 <= problem.line <= lines for problem in error.problems)
    assert found


@settings(max_examples=250, deadline=None)
@given(text=st.sampled_from(TEXTS), data=st.data())
def test_mutated_texts_raise_nothing_but_spec_errors(
    fuzzed: Path, text: str, data: st.DataObject
) -> None:
    for _ in range(data.draw(st.integers(0, 3))):
        start = data.draw(st.integers(0, len(text)))
        end = start + data.draw(st.integers(0, 12))
        text = text[:start] + data.draw(SNIPPETS) + text[end:]
    check_outcome(fuzzed, text, data.draw(st.sampled_from([{}, {'fault': 'x'}, {'low': '1'}])))


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_mutated_values_raise_nothing_but_spec_errors(fuzzed: Path, data: st.DataObject) -> None:
    marked = compose(EVERYTHING.read_text(encoding='utf-8'), 'f')
    for _ in range(data.draw(st.integers(0, 3))):
        path = data.draw(st.sampled_from(sorted(marked.values, key=str)))
        part: Any = marked.data
        for key in path[:-1]:
            part = part.get(key) if isinstance(part, dict) else None
        if path and isinstance(part, dict):
            part[path[-1]] = data.draw(VALUES)
    check_outcome(fuzzed, json.dumps(marked.data), {})
