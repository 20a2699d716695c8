"""The warehouse detector: what a network's answer means, what the shipped ones find, the node."""

from __future__ import annotations

import importlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robot_qa.domains import claim_domain
from robot_qa.errors import RobotQaError
from robot_qa.examples.detection_model import (
    CLASSES,
    FILES,
    HEIGHT,
    PADDING,
    SHORT,
    STRIDE,
    WIDTH,
    DetectionModel,
    Fit,
    Found,
    as_rgb,
    decoded,
    fitted,
    load,
    shipped,
    shipped_model,
    suppressed,
    unfitted,
)
from robot_qa.perception.detection import Evaluator
from robot_qa.perception.detection_result import DetectionResult
from robot_qa.perception.objects import Detections, Truth
from robot_qa.processes import Processes, ProcessSpec, child_environment
from simulator_client import ROOT, Client

HAS_RUNTIME = importlib.util.find_spec('onnxruntime') is not None
HAS_SIMULATOR = importlib.util.find_spec('mujoco') is not None
ROWS, COLUMNS = HEIGHT // STRIDE, WIDTH // STRIDE
CRATE, PERSON, PALLET, BARREL = range(4)
needs_runtime = pytest.mark.skipif(not HAS_RUNTIME, reason='onnxruntime is not installed')
RUNTIMES = [pytest.param('onnxruntime', marks=needs_runtime), 'opencv']
PICTURES = 12


# --- from cells to boxes ------------------------------------------------------------------------

def answer(*objects: tuple[int, int, int, float, tuple[float, ...]]) -> tuple[Any, Any]:
    """Say that there are objects: class, row, column, score, distances to the sides."""
    scores = np.zeros((len(CLASSES), ROWS, COLUMNS), np.float32)
    sides = np.ones((4, ROWS, COLUMNS), np.float32)
    for label, row, column, score, distances in objects:
        scores[label, row, column] = score
        sides[:, row, column] = distances
    return scores, sides


def test_a_cell_speaks_of_the_box_around_its_middle() -> None:
    found = decoded(*answer(
        (CRATE, 10, 20, 0.75, (12.0, 8.0, 20.0, 16.0)), (BARREL, 30, 0, 0.875, (2.0, 5, 9, 6))))
    # The middles: (82, 42) and (2, 122).
    assert found.boxes.tolist() == [[0.0, 117.0, 11.0, 128.0], [70.0, 34.0, 102.0, 58.0]]
    assert found.labels.tolist() == [BARREL, CRATE]
    assert found.scores.tolist() == [0.875, 0.75]


def test_only_the_surest_of_neighbouring_cells_speaks() -> None:
    sides = (4.0, 4.0, 4.0, 4.0)
    found = decoded(*answer(
        (CRATE, 5, 5, 0.9, sides), (CRATE, 6, 6, 0.8, sides), (PERSON, 6, 6, 0.7, sides),
        (CRATE, 6, 8, 0.6, sides)))
    assert list(zip(found.labels.tolist(), found.scores.round(3).tolist(), strict=True)) == [
        (CRATE, 0.9), (PERSON, 0.7), (CRATE, 0.6)]


@pytest.mark.parametrize(('least', 'count'), [(0.0, 2), (0.2, 2), (0.25, 2), (0.26, 1), (1.0, 0)])
def test_what_is_not_sure_enough_is_left_out(least: float, count: int) -> None:
    sides = (4.0, 4.0, 4.0, 4.0)
    said = answer((CRATE, 5, 5, 0.25, sides), (CRATE, 50, 50, 0.5, sides))
    assert len(decoded(*said, least).scores) == count


def test_nothing_is_found_where_nothing_is() -> None:
    found = decoded(*answer(), 0.0)
    assert [len(column) for column in found] == [0, 0, 0]
    assert found.boxes.shape == (0, 4)
    assert len(unfitted(found, Fit(1.0, 0, 0), (240, 320)).scores) == 0


def test_of_boxes_that_lie_on_each_other_the_surest_stays() -> None:
    boxes = np.array([
        [0.0, 0, 10, 10],
        [0, 0, 10, 6],    # 0.6 of the first
        [0, 0, 10, 5],    # 0.5 of the first, 5 / 6 of the second, which is gone
        [0, 0, 10, 10],   # another class
        [20, 0, 20, 10],  # no area
        [20, 0, 20, 10],
    ])
    labels = np.array([0, 0, 0, 1, 0, 0])
    assert suppressed(boxes, labels, 0.55).tolist() == [0, 2, 3, 4, 5]
    assert suppressed(boxes, labels, 0.6).tolist() == [0, 1, 3, 4, 5]
    assert suppressed(boxes, labels, 0.45).tolist() == [0, 3, 4, 5]


@pytest.mark.parametrize('seed', range(20))
def test_suppression_is_that_of_the_definition(seed: int) -> None:
    generator = np.random.default_rng(seed)
    corner, size = generator.uniform(0, 20, (30, 2)), generator.uniform(1, 15, (30, 2))
    boxes, labels = np.hstack((corner, corner + size)), generator.integers(0, 2, 30)
    kept: list[int] = []
    for row, (box, label) in enumerate(zip(boxes, labels, strict=True)):
        for other in kept:
            width, height = (min(box[2 + i], boxes[other][2 + i]) - max(box[i], boxes[other][i])
                             for i in (0, 1))
            common = max(width, 0) * max(height, 0)
            union = size[row].prod() + size[other].prod() - common
            if labels[other] == label and common / union > 0.4:
                break
        else:
            kept.append(row)
    assert suppressed(boxes, labels, 0.4).tolist() == kept


# --- from pictures to cells ---------------------------------------------------------------------

@pytest.mark.parametrize(('shape', 'fit', 'inside'), [
    ((240, 320), Fit(1.0, 0, 0), (0, 240, 0, 320)),
    ((480, 640), Fit(0.5, 0, 0), (0, 240, 0, 320)),
    ((360, 640), Fit(0.5, 0, 30), (30, 210, 0, 320)),
    ((240, 240), Fit(1.0, 40, 0), (0, 240, 40, 280)),
    ((60, 60), Fit(4.0, 40, 0), (0, 240, 40, 280)),
])
def test_pictures_keep_their_proportions(
    shape: tuple[int, int], fit: Fit, inside: tuple[int, int, int, int],
) -> None:
    picture = np.full((*shape, 3), (255, 0, 51), np.uint8)
    given, how = fitted(picture)
    assert given.shape == (1, 3, HEIGHT, WIDTH) and given.dtype == np.float32
    assert how == fit
    top, bottom, left, right = inside
    assert np.allclose(given[0, :, top:bottom, left:right],
                       np.array([1.0, 0.0, 0.2])[:, None, None])
    outside = np.ones((HEIGHT, WIDTH), bool)
    outside[top:bottom, left:right] = False
    assert np.allclose(given[0][:, outside], PADDING / 255)
    # The whole picture comes back as what it was, and what reaches beyond ends there.
    whole = np.array([[left, top, right, bottom], [left - 9.0, top, right + 9, bottom],
                      [left - 9, top, left, bottom]], float)
    back = unfitted(Found(whole, np.arange(3), np.ones(3)), how, shape)
    assert back.boxes.tolist() == [[0, 0, shape[1], shape[0]]] * 2
    assert back.labels.tolist() == [0, 1]


def test_a_picture_without_pixels_is_refused() -> None:
    with pytest.raises(RobotQaError, match='no pixels'):
        fitted(np.zeros((0, 320, 3), np.uint8))


@pytest.mark.parametrize(('encoding', 'pixel'), [
    ('rgb8', (1, 2, 3)), ('bgr8', (3, 2, 1)), ('rgba8', (1, 2, 3, 9)), ('bgra8', (3, 2, 1, 9)),
])
def test_images_come_in_many_encodings(encoding: str, pixel: tuple[int, ...]) -> None:
    row = bytes(pixel) * 4 + b'padding'
    colors = as_rgb(row * 2, (2, 4), len(row), encoding)
    assert colors.tolist() == [[[1, 2, 3]] * 4] * 2
    grey = as_rgb(b'\5\6\7\7', (2, 2), 2, 'mono8')
    assert grey.tolist() == [[[5] * 3, [6] * 3], [[7] * 3, [7] * 3]]


@pytest.mark.parametrize(('size', 'step', 'encoding', 'message'), [
    (24, 12, 'rgb', r'"rgb" is none of rgb8, .*; did you mean "rgb'),
    (24, 12, '32FC1', '"32FC1" is none of rgb8'),
    (23, 12, 'rgb8', '23 bytes in rows of 12 are no rgb8 picture of 4 x 2'),
    (24, 8, 'rgb8', '24 bytes in rows of 8 are no rgb8 picture'),
])
def test_a_spoiled_image_is_refused(size: int, step: int, encoding: str, message: str) -> None:
    with pytest.raises(RobotQaError, match=message):
        as_rgb(bytes(size), (2, 4), step, encoding)


# --- the networks -------------------------------------------------------------------------------

@pytest.mark.parametrize(('what', 'runtime', 'message'), [
    ('none.onnx', 'opencv', r'there is no model .*none\.onnx'),
    ('text.onnx', 'opencv', r'text\.onnx: no model for OpenCV'),
    pytest.param('text.onnx', 'onnxruntime', r'text\.onnx: no model for onnxruntime',
                 marks=needs_runtime),
    ('text.onnx', 'open_cv', r'"open_cv" is none of auto, .*; did you mean "opencv"'),
])
def test_what_is_no_network_is_named(
    tmp_path: Path, what: str, runtime: str, message: str,
) -> None:
    (tmp_path / 'text.onnx').write_text('this is no network')
    with pytest.raises(RobotQaError, match=message):
        load(tmp_path / what, runtime, 1)


def test_the_precisions_are_named() -> None:
    with pytest.raises(RobotQaError, match='"int9" is none of fp32, int8; did you mean "int8"'):
        shipped_model('int9')
    for file in (shipped_model('fp32'), shipped_model('int8'), shipped(SHORT)):
        assert 100_000 < file.stat().st_size < 3_000_000


def test_it_needs_neither_ros_nor_onnxruntime(tmp_path: Path) -> None:
    program = ('import sys; sys.modules.update(dict.fromkeys(("rclpy", "onnxruntime")))\n'
               'from robot_qa.examples.detection_model import DetectionModel, shipped_model\n'
               'print(DetectionModel(shipped_model("fp32"), "opencv").runtime)\n'
               'DetectionModel(shipped_model("fp32"), "onnxruntime")\n')
    done = subprocess.run([sys.executable, '-c', program], cwd=tmp_path, text=True, check=False,
                          capture_output=True, env={**os.environ, 'PYTHONPATH': str(ROOT)})
    assert done.stdout == 'opencv\n'
    assert 'onnxruntime is not installed: pip install "robot_qa[detector]"' in done.stderr


@pytest.fixture(scope='module')
def scenes() -> Iterator[Any]:
    """The module that makes what the networks learn from."""
    if not HAS_SIMULATOR:
        pytest.skip('mujoco is not installed')
    sys.path.insert(0, str(ROOT / 'models'))
    yield importlib.import_module('scenes')
    sys.path.remove(str(ROOT / 'models'))


@pytest.fixture(scope='module')
def pictures(scenes: Any) -> list[Any]:
    """Pictures of the shipped warehouse, a layout that was not trained on, with their truth."""
    from robot_qa.embedded.render import make_renderer

    return list(scenes.held_out_pictures(PICTURES, 1.0, make_renderer(), seed=5))


def judged(model: DetectionModel, pictures: list[Any]) -> DetectionResult:
    evaluator = Evaluator()
    for one in pictures:
        found = model(one.color)
        boxes, true = (np.hstack((rows[:, :2], rows[:, 2:] - rows[:, :2]))
                       for rows in (found.boxes, one.boxes))
        evaluator.add_frame(Detections.of(boxes, found.labels, found.scores),
                            Truth.of(true, one.labels, ignored=one.ignored))
    return evaluator.result()


@pytest.mark.parametrize('runtime', RUNTIMES)
def test_it_finds_the_crates_where_it_never_was(pictures: list[Any], runtime: str) -> None:
    crates = sum(int((one.labels[~one.ignored] == CRATE).sum()) for one in pictures)
    assert crates > 40
    result = judged(DetectionModel(shipped_model('fp32'), runtime), pictures)
    counts = result.counts(0.5, label=CRATE)
    assert (result.ap(CRATE, 0.5) or 0.0) > 0.8
    assert (counts.recall or 0.0) > 0.75 and (counts.precision or 0.0) > 0.8


def test_the_short_one_is_worse_and_int8_hardly(pictures: list[Any]) -> None:
    sound, int8, short = (
        judged(DetectionModel(file, 'opencv'), pictures).ap(CRATE, 0.5) or 0.0
        for file in (shipped_model('fp32'), shipped_model('int8'), shipped(SHORT)))
    assert 0.1 < short < sound - 0.1
    assert abs(int8 - sound) < 0.03
    pair = [DetectionModel(shipped_model(one), 'opencv')(pictures[1].color) for one in FILES]
    assert pair[0].scores.tolist() != pair[1].scores.tolist()


def test_it_breaks_where_it_is_dark(scenes: Any, pictures: list[Any]) -> None:
    from robot_qa.embedded.render import make_renderer

    dark = list(scenes.held_out_pictures(PICTURES, 0.2, make_renderer(), seed=5))
    model = DetectionModel(shipped_model('fp32'), 'opencv')
    recall, in_the_dark = (judged(model, some).counts(0.5, label=CRATE).recall or 0.0
                           for some in (pictures, dark))
    assert in_the_dark < recall - 0.15


def test_layouts_to_learn_from_are_other_than_the_shipped_one(scenes: Any) -> None:
    layouts = importlib.import_module('layouts')

    def places(world: Any) -> set[Any]:
        return {(one.uri, *one.pose.translation.round(2)) for one in world.models
                if one.name not in layouts.KEPT}

    shipped_places = places(scenes.shipped())
    made = [layouts.layout(scenes.shipped(), np.random.default_rng(seed))[0]
            for seed in (0, 0, 1, 2, 3)]
    assert places(made[0]) == places(made[1]) != places(made[2])
    assert len(shipped_places) > 80
    for one in made:
        assert len(places(one)) > 20 and not places(one) & shipped_places


@pytest.mark.parametrize('value', [0, 90, 255])
def test_there_is_nothing_in_a_blank_picture(value: int) -> None:
    model = DetectionModel(shipped_model('fp32'), 'opencv')
    assert (model(np.full((240, 320, 3), value, np.uint8)).scores < 0.3).all()


@needs_runtime
def test_both_runtimes_find_the_same(pictures: list[Any]) -> None:
    ours, theirs = (DetectionModel(shipped_model('fp32'), runtime)
                    for runtime in ('onnxruntime', 'opencv'))
    for one in pictures[:4]:
        first, second = ours(one.color), theirs(one.color)
        assert first.labels.tolist() == second.labels.tolist()
        assert np.allclose(first.boxes, second.boxes, atol=0.01)
        assert np.allclose(first.scores, second.scores, atol=1e-4)


# --- the node -----------------------------------------------------------------------------------

class Detector:
    """The node in a process of its own, shown images."""

    def __init__(self, client: Client) -> None:
        from sensor_msgs.msg import Image
        from vision_msgs.msg import Detection2DArray

        self.client = client
        client.listen('/detections', Detection2DArray)
        self._show = client.publisher(Image, '/camera/image_raw')
        self._stamp = 0
        blank = np.zeros((240, 320, 3), np.uint8)

        def greeted() -> bool:
            # The node may not have found our publisher yet.
            self.show(blank)
            return bool(client.heard['/detections'])

        client.until(greeted, 'an answer')
        self.ask(blank)

    def show(self, picture: Any, encoding: str = 'rgb8') -> None:
        """Show a picture with the next stamp."""
        from sensor_msgs.msg import Image

        self._stamp += 1
        made = Image(height=picture.shape[0], width=picture.shape[1], encoding=encoding,
                     step=3 * picture.shape[1], data=picture.tobytes())
        made.header.stamp.sec, made.header.stamp.nanosec = self._stamp, 7
        made.header.frame_id = 'camera_optical_frame'
        self._show(made)

    def ask(self, picture: Any) -> Any:
        """Return the only answer to a picture: the only one with its stamp."""
        self.show(picture)
        self.client.until(lambda: self._answers()[-1].header.stamp.sec == self._stamp,
                          f'an answer to {self._stamp}')
        answer, = (one for one in self._answers() if one.header.stamp.sec == self._stamp)
        return answer

    def _answers(self) -> list[Any]:
        from rclpy.serialization import deserialize_message
        from vision_msgs.msg import Detection2DArray

        return [deserialize_message(one, Detection2DArray)
                for one in self.client.heard['/detections']]

    def change(self, name: str, value: Any) -> Any:
        """Set a parameter; return whether it was taken, and why not."""
        from rcl_interfaces.srv import SetParameters
        from rclpy.parameter import Parameter

        parameter = Parameter(name, value=value).to_parameter_msg()
        return self.client.call(SetParameters, '/detector/set_parameters',
                                parameters=[parameter]).results[0]


@pytest.fixture(scope='module')
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Detector]:
    with ExitStack() as stack:
        claim = stack.enter_context(claim_domain())
        processes = stack.enter_context(Processes(tmp_path_factory.mktemp('detector')))
        env = child_environment(os.environ, claim.id, {'PYTHONPATH': str(ROOT)})
        argv = (sys.executable, '-m', 'robot_qa.examples.detector',
                '--ros-args', '-p', 'runtime:=opencv')
        processes.start(ProcessSpec('detector', argv, ROOT, env))
        os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
        client = Client(claim.id)
        stack.callback(client.close)
        yield Detector(client)


@pytest.mark.live
def test_the_node_answers_each_image_with_its_stamp(node: Detector, pictures: list[Any]) -> None:
    model = DetectionModel(shipped_model('fp32'), 'opencv')
    for one in pictures[:3]:
        seen, expected = node.ask(one.color), model(one.color)
        assert (seen.header.stamp.nanosec, seen.header.frame_id) == (7, 'camera_optical_frame')
        assert all(row.header == seen.header for row in seen.detections)
        assert [row.results[0].hypothesis.class_id for row in seen.detections] == [
            CLASSES[label] for label in expected.labels]
        assert np.allclose(
            [row.results[0].hypothesis.score for row in seen.detections], expected.scores)
        boxes = [(box.center.position.x, box.center.position.y, box.size_x, box.size_y)
                 for box in (row.bbox for row in seen.detections)]
        corners = expected.boxes
        assert np.allclose(np.reshape(boxes, (-1, 4)), np.hstack((
            (corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2])))


@pytest.mark.live
def test_an_image_that_cannot_be_read_is_left_out(node: Detector, pictures: list[Any]) -> None:
    before = len(node.client.heard['/detections'])
    node.show(pictures[0].color, 'bayer_rggb8')
    assert node.ask(pictures[0].color).detections
    assert len(node.client.heard['/detections']) == before + 1


@pytest.mark.live
def test_its_diagnostics_tell_of_images_that_cannot_be_read(
    node: Detector, pictures: list[Any],
) -> None:
    from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
    from rclpy.serialization import deserialize_message

    client = node.client
    client.listen('/diagnostics', DiagnosticArray)

    def told(text: str, *, image: bool = False) -> Any:
        if image:
            # One may be lost: only the newest counts.
            node.show(pictures[0].color, 'bayer_rggb8')
        return next((one for raw in client.heard['/diagnostics']
                     for one in deserialize_message(raw, DiagnosticArray).status
                     if text in one.message), None)

    bad = client.until(lambda: told('bayer_rggb8', image=True), 'an error')
    assert (bad.name, bad.level) == ('detector: images', DiagnosticStatus.ERROR)
    values = {one.key: one.value for one in bad.values}
    assert values['runtime'] == 'opencv'
    assert 1 <= int(values['not looked at']) < int(values['images'])
    node.ask(pictures[0].color)
    client.heard['/diagnostics'].clear()
    good = client.until(lambda: told('looks at images'), 'its end')
    assert good.level == DiagnosticStatus.OK


@pytest.mark.live
def test_parameters_change_what_is_found(node: Detector, pictures: list[Any]) -> None:
    assert node.change('score_threshold', 1.0).successful
    assert not node.ask(pictures[0].color).detections
    assert node.change('score_threshold', 0.1).successful
    assert node.change('precision', 'int8').successful
    assert node.change('threads', 2).successful  # and the rest stays as it was set
    found = node.ask(pictures[0].color).detections
    worse = DetectionModel(shipped_model('int8'), 'opencv')(pictures[0].color)
    assert np.allclose([row.results[0].hypothesis.score for row in found], worse.scores)
    refused = node.change('model', '/none.onnx')
    assert not refused.successful and 'there is no model /none.onnx' in refused.reason
    assert not node.change('threads', 0).successful
    again = node.ask(pictures[0].color).detections  # by the model it had
    assert [one.bbox for one in again] == [one.bbox for one in found]
    assert node.change('model', SHORT).successful
    other = DetectionModel(shipped(SHORT), 'opencv')(pictures[0].color)
    assert len(node.ask(pictures[0].color).detections) == len(other.scores) != len(found)
    assert node.change('model', '').successful and node.change('precision', 'fp32').successful


@pytest.mark.live
def test_parameters_are_described(node: Detector) -> None:
    from rcl_interfaces.srv import DescribeParameters

    names = ['model', 'precision', 'runtime', 'threads', 'score_threshold']
    told = node.client.call(DescribeParameters, '/detector/describe_parameters', names=names)
    assert all(one.description for one in told.descriptors)
    assert told.descriptors[3].integer_range[0].from_value == 1
    assert told.descriptors[4].floating_point_range[0].to_value == 1.0


@pytest.mark.live
@pytest.mark.parametrize(('parameter', 'message'), [
    ('precision:=int9', 'did you mean "int8"'), ('threads:=0', 'threads'),
    ('model:=/none.onnx', 'there is no model /none.onnx'), ('threads:=many', 'threads'),
])
def test_a_wrong_parameter_is_named_at_the_start(parameter: str, message: str) -> None:
    with claim_domain() as claim:
        env = child_environment(os.environ, claim.id, {'PYTHONPATH': str(ROOT)})
        done = subprocess.run(
            [sys.executable, '-m', 'robot_qa.examples.detector', '--ros-args', '-p', parameter],
            env=env, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2 and message in done.stderr, done.stderr
    assert 'Traceback' not in done.stderr
