"""The spec's perception block: what it may say, and what is wrong, where, and nearest to what."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest

from robot_qa.errors import SpecError
from robot_qa.messages.typestore import TypeStore
from robot_qa.monitors.accuracy import TASKS, accuracy_monitors
from robot_qa.monitors.base import Context
from robot_qa.spec.loader import LoadedSpec, load_spec
from robot_qa.spec.marks import compose
from robot_qa.spec.model import declared_checks, json_schema
from robot_qa.spec.perception import class_of
from robot_qa.spec.perception_metrics import METRICS
from robot_qa.spec.perception_parts import TYPES
from robot_qa.stats import Confidence

HEAD = 'robot_qa: 1\nname: x\nduration: 60 s\n'
TOPICS = 'predictions: /detections, truth: /truth'
SCENARIO = """scenario:
  - {at: 10 s, for: 10 s, light: {scale: 0.2}, slice: low_light}
  - {at: 30 s, for: 10 s, light: {scale: 0.1}, slice: fog}
"""
GOOD = HEAD + """perception:
  detector:
    predictions: /detections
    truth: /ground_truth/detections
    association: {nearest: 20 ms}
    labels: {"1": crate, "2": person}
    classes: [crate, person]
    ignore: [{occlusion: {min: 80 %}}, {side: {max: 8}}]
    score: 40 %
    metrics: {map_50: {min: 0.8}, recall: 90 %, ece: 10 %}
    slices:
      low_light: {map_50: {min: 0.6}}
      nominal: {recall: 95 %}
      small: {where: {size: small}, recall: 50 %}
      far: {where: {distance: {min: 5}}}
    worst_slice: {recall: 50 %}
    drop_from: {nominal: {map_50: 15 %}, fog: {recall: {max: 20 %}}}
    unmatched: 2 %
    unanswered: {max: 5 %}
""" + SCENARIO


def loaded(folder: Path, text: str) -> LoadedSpec:
    path = folder / 'x.qa.yaml'
    path.write_text(text)
    return load_spec(path)


def mistakes(folder: Path, text: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        loaded(folder, text)
    return [f'{one.line}:{one.column}: {one.message}' for one in caught.value.problems]


def mistake(folder: Path, block: str, scenario: str = SCENARIO) -> str:
    (only,) = mistakes(
        folder, f'{HEAD}perception:\n  d: {{{TOPICS}, {block}}}\n{scenario}')
    return only


def test_every_check_has_its_name_and_its_place(tmp_path: Path) -> None:
    spec = loaded(tmp_path, GOOD)
    named = {name.removeprefix('perception.detector.'): spec.source(path).split(':', 1)[1]
             for name, path in declared_checks(spec.spec) if name.startswith('perception')}
    assert named == {
        'metrics.map_50.min': '13:24', 'metrics.recall.min': '13:43', 'metrics.ece.max': '13:54',
        'slices.low_light.map_50.min': '15:28', 'slices.nominal.recall.min': '16:25',
        'slices.small.recall.min': '17:45', 'worst_slice.recall.min': '19:27',
        'drop_from.nominal.map_50.max': '20:35', 'drop_from.fog.recall.max': '20:57',
        'unmatched.max': '21:16', 'unanswered.max': '22:18', 'left_out.max': '6:5'}
    monitors = accuracy_monitors(spec.spec, Context(
        TypeStore(workspace=False), None, Confidence(0.95)))
    answered = {check.name for one in monitors for check in one.checks}
    assert answered == {f'perception.detector.{name}' for name in named}
    jsonschema.validate(compose(GOOD, 'a').data, json_schema())


def test_every_task_has_metrics_types_and_a_monitor() -> None:
    assert METRICS.keys() == TYPES.keys() == TASKS.keys()
    for task, metrics in METRICS.items():
        made = class_of(task)
        assert made.kind == task
        for metric in metrics.values():
            assert metric.doc.endswith('.') and metric.side in ('min', 'max')


@pytest.mark.parametrize('block,said', [
    ('metrics: {map_55: 0.8}', 'unknown metric "map_55" of the task detection_2d; did you mean '
     '"map_75"?'),
    ('metrics: {rmse: 0.8}', 'unknown metric "rmse" of the task detection_2d; it is one of depth'),
    ('metrics: {recall: {min: 120 %}}', '120 % is not between 0 % and 100 %'),
    ('task: trackin, metrics: {mota: 1}', '"trackin" is no task; did you mean "tracking"?'),
    ('task: depth, metrics: {rmse: -1}', 'at least 0 was expected, found the number -1'),
    ('metrics: {recall: 0.5}, slices: {low_ligt: {recall: 0.5}}',
     'no step of the scenario has "slice: low_ligt"; did you mean "low_light"? (labels: '
     'low_light, fog); a slice of the objects needs "where"'),
    ('metrics: {recall: 0.5}, drop_from: {nominl: {recall: 0.5}}',
     'no step of the scenario has "slice: nominl"; did you mean "nominal"? (labels: low_light, '
     'fog)'),
    ('slices: {fog: {where: {class: crate}, recall: 0.5}}',
     '"fog" is a part of the run already; name this slice otherwise'),
    ('slices: {near: {where: {}, recall: 0.5}}', 'nothing is chosen here (valid: class, '
     'distance, size, side, occlusion, truncation)'),
    ('slices: {near: {where: {size: smal}, recall: 0.5}}', '"smal" is none of small, medium, '
     'large; did you mean "small"?; or write the area as {min: 1024} in px^2'),
    ('slices: {near: {}}', 'nothing is checked here (valid: map, map_50, map_75, ar, recall, '
     'precision, f1, ece)'.replace('map_75', 'map_75, ap')),
    ('task: detection_3d, centre_distance: 2, iou: 0.5, metrics: {ap: 0.5}',
     'either iou or centre_distance was expected'),
    ('task: detection_3d, centre_distance: 2, metrics: {map_50: 0.5}',
     'map_50 is at an IoU; with centre_distance there are map and ap'),
    ('task: odometry, slices: {near: {where: {class: crate}, ate: 1}}',
     'the task odometry has no slices by class'),
    ('score: 0.5', 'no metric is limited here; write metrics: {map: ...}'),
    ('metrics: {recall: 0.5}, association: {nearest: 5}', '5 has no unit; write'),
    ('metrics: {recall: 0.5}, association: {nearest: 5 ms, exact: true}',
     'exactly one of exact, nearest and interpolate was expected'),
    ('task: segmentation, classes: {"0": a}, metrics: {mean_iou: 0.5}, association: '
     '{interpolate: 5 ms}', 'the truth of segmentation cannot be interpolated; use nearest'),
    ('task: segmentation, classes: {a: b}, metrics: {mean_iou: 0.5}',
     '"a" is no label of a pixel; a whole number was expected'),
    ('metrics: {recall: 0.5}, unmatchd: 1 %', 'unknown key "unmatchd"; did you mean "unmatched"?'),
    ('metrics: {recall: 0.5}, classes: [crate], slices: {a: {where: {class: crat}, recall: 1}}',
     'there is no class "crat"; did you mean "crate"?'),
    ('metrics: {recall: 0.5}, fields: {x: a, y: b}', 'exactly one of x and y and width and '
     'height, or left and top and right and bottom was expected'),
    ('metrics: {recall: 0.5}, fields: {x: a, y: b, widt: c, height: d}',
     '"widt" is nothing that detection_2d needs; did you mean "width"?'),
    ('task: depth, metrics: {rmse: 0.5}, fields: {x: a}',
     'the task depth reads no other types than sensor_msgs/msg/Image'),
])
def test_a_mistake_is_named_where_it_stands(tmp_path: Path, block: str, said: str) -> None:
    place, _, message = mistake(tmp_path, block).partition(': ')
    assert message.startswith(said), message
    line, column = map(int, place.split(':'))
    assert line == 5 and column >= 3


def test_slices_need_labels(tmp_path: Path) -> None:
    assert mistake(tmp_path, 'worst_slice: {recall: 0.5}', '').endswith(
        'there are no slices: none under "slices", and no step of the scenario has a slice: label')
    assert mistake(tmp_path, 'drop_from: {nominal: {recall: 0.5}}', '').endswith(
        'no step of the scenario has a slice: label, so nothing can drop')
    one = SCENARIO.rsplit('  - ', 1)[0]
    assert mistake(tmp_path, 'drop_from: {low_light: {recall: 0.5}}', one).endswith(
        '"low_light" is the only slice of the scenario, so no other can be worse')


def test_the_type_tells_the_task(tmp_path: Path) -> None:
    text = (f'{HEAD}perception:\n  d: {{{TOPICS}, type: vision_msgs/msg/Detection3DArray, '
            'metrics: {map_25: 50 %}}\n')
    assert loaded(tmp_path, text).spec.perception['d'].kind == 'detection_3d'
    text = text.replace('type:', 'task: detection_2d, type:').replace('map_25', 'map_50')
    assert 'the task detection_2d reads vision_msgs/msg/Detection2DArray' in mistakes(
        tmp_path, text)[0]


def test_all_mistakes_come_at_once(tmp_path: Path) -> None:
    found = mistakes(tmp_path, HEAD + f"""perception:
  a: {{{TOPICS}, metrics: {{recal: 0.5, map_5: 1}}}}
  b: {{predictions: detections, truth: /t, metrics: {{recall: 0.5}}}}
  c: {{predictions: /t, truth: /t, metrics: {{recall: 0.5}}}}
""")
    assert len(found) == 4
    assert '"detections" is not an absolute ROS name' in found[2]
    assert found[3] == '7:31: predictions and truth are the same topic'
