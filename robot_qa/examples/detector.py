"""The warehouse detector as a node: images in, vision_msgs/Detection2DArray out.

    python -m robot_qa.examples.detector --ros-args -p precision:=int8 -p threads:=2

It takes ``camera/image_raw`` and publishes ``detections``, one for each image it looked at, with
the header of that image. It looks at the newest image only: what arrives while it is busy is
replaced by what comes later. Parameters may be changed while it runs. What each image cost it
stands on ``~/stages``, whether it can work on ``/diagnostics``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.clock import Clock, ClockType
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from vision_msgs.msg import Detection2D, Detection2DArray, ObjectHypothesisWithPose

from robot_qa.errors import RobotQaError
from robot_qa.examples.detection_model import (
    AUTO,
    CLASSES,
    FILES,
    LEAST_SCORE,
    RUNTIMES,
    DetectionModel,
    Found,
    as_rgb,
    shipped,
    shipped_model,
)
from robot_qa.instrument import stage, stage_times
from robot_qa.stopping import stop_on_signals

MOST_THREADS = 64
STATUS_PERIOD_S = 1.0
PARAMETERS: dict[str, tuple[Any, str, dict[str, Any]]] = {
    'model': ('', 'an ONNX file, or the name of a shipped one; empty: as precision says', {}),
    'precision': ('fp32', 'of the shipped model, where none is named', {
        'additional_constraints': ' or '.join(FILES)}),
    'runtime': (AUTO, 'what runs the network; auto: onnxruntime if it is installed', {
        'additional_constraints': ', '.join((AUTO, *RUNTIMES))}),
    'threads': (1, 'that run the network', {
        'integer_range': [IntegerRange(from_value=1, to_value=MOST_THREADS, step=1)]}),
    'score_threshold': (LEAST_SCORE, 'what is less sure is not published', {
        'floating_point_range': [FloatingPointRange(from_value=0.0, to_value=1.0)]}),
}


class Detector(Node):  # type: ignore[misc]
    """Looks at images and says what is in them."""

    def __init__(self) -> None:
        """Load the model; `RobotQaError` where a parameter is wrong."""
        super().__init__('detector')
        values = {}
        for name, (default, text, more) in PARAMETERS.items():
            descriptor = ParameterDescriptor(description=text, **more)
            values[name] = self.declare_parameter(name, default, descriptor).value
        self._values: dict[str, Any] = values
        self._model = model_of(values)
        self.get_logger().info(f'{described(values)} by {self._model.runtime}')
        self.add_on_set_parameters_callback(self._change)
        # A sensor's topic: any publisher fits, and only the newest image is of interest.
        newest = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        self._detections = self.create_publisher(Detection2DArray, 'detections', 10)
        self._times = stage_times(self, device='cpu')
        self._seen = self._refused = 0
        self._trouble = ''
        self._status = self.create_publisher(DiagnosticArray, '/diagnostics', 10)
        # Of the wall clock: it also has to tell when simulated time stands still.
        wall = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(STATUS_PERIOD_S, self._tell, clock=wall)
        self.create_subscription(Image, 'camera/image_raw', self._look, newest)

    def close(self) -> None:
        """Publish the times that still wait."""
        self._times.close()

    def _change(self, parameters: list[Parameter]) -> SetParametersResult:
        """Take other parameters if a model can be had with them; else say why not."""
        changed = {one.name: one.value for one in parameters if one.name in PARAMETERS}
        wanted = {**self._values, **changed}
        if wanted == self._values:
            return SetParametersResult(successful=True)
        try:
            if changed.keys() == {'score_threshold'}:
                self._model.least_score = wanted['score_threshold']
            else:
                self._model = model_of(wanted)
                self._times.model_loaded()
        except RobotQaError as error:
            return SetParametersResult(successful=False, reason=str(error))
        self._values = wanted
        return SetParametersResult(successful=True)

    def _look(self, image: Image, info: dict[str, int]) -> None:
        self._seen += 1
        try:
            with self._times.input(image.header.stamp, info['received_timestamp']):
                self._detect(image)
        except RobotQaError as error:
            self._refused += 1
            self._trouble = f'an image is not looked at: {error}'
            self.get_logger().error(self._trouble, throttle_duration_sec=5.0)

    def _tell(self) -> None:
        """Publish whether all images since the last time could be looked at."""
        level, text = DiagnosticStatus.OK, 'waits for the first image'
        if self._trouble:
            level, text = DiagnosticStatus.ERROR, self._trouble
            self._trouble = ''
        elif self._seen:
            text = 'looks at images'
        values = {'model': described(self._values), 'runtime': self._model.runtime,
                  'images': self._seen, 'not looked at': self._refused}
        message = DiagnosticArray(status=[DiagnosticStatus(
            level=level, name=f'{self.get_name()}: images', message=text,
            values=[KeyValue(key=key, value=str(value)) for key, value in values.items()])])
        message.header.stamp = self.get_clock().now().to_msg()
        self._status.publish(message)

    def _detect(self, image: Image) -> None:
        with stage('preprocess'):
            picture = as_rgb(image.data, (image.height, image.width), image.step, image.encoding)
        with stage('inference'):
            found = self._model(picture)
        with stage('publishing'):
            self._detections.publish(message(found, image.header))


def model_of(values: dict[str, Any]) -> DetectionModel:
    """Return the model that the parameters ask for; `RobotQaError` if there is none."""
    name = values['model']
    file = Path(name) if name else shipped_model(values['precision'])
    if name == file.name and not file.is_file():
        file = shipped(name)
    return DetectionModel(file, values['runtime'], values['threads'], values['score_threshold'])


def described(values: dict[str, Any]) -> str:
    """Return which model the parameters ask for, for the log."""
    count = values['threads']
    name = values['model'] or f'the {values["precision"]} model'
    return f'{name} on {count} thread{"" if count == 1 else "s"}'


def message(found: Found, header: Any) -> Detection2DArray:
    """Return what was found as a message with the header of the image."""
    made = Detection2DArray(header=header)
    rows = zip(found.boxes.tolist(), found.labels.tolist(), found.scores.tolist(), strict=True)
    for (left, top, right, bottom), label, score in rows:
        result = ObjectHypothesisWithPose()
        result.hypothesis.class_id, result.hypothesis.score = CLASSES[label], score
        one = Detection2D(header=header, results=[result])
        one.bbox.center.position.x = (left + right) / 2
        one.bbox.center.position.y = (top + bottom) / 2
        one.bbox.size_x, one.bbox.size_y = right - left, bottom - top
        made.detections.append(one)
    return made


def main(arguments: list[str] | None = None) -> int:
    """Detect until interrupted; 2 if a parameter is wrong."""
    stop = stop_on_signals()
    rclpy.init(args=arguments or sys.argv, signal_handler_options=rclpy.SignalHandlerOptions.NO)
    try:
        return run(stop.is_set)
    except (
        RobotQaError, InvalidParameterTypeException, InvalidParameterValueException,
    ) as error:
        print(error, file=sys.stderr)
        return 2
    finally:
        rclpy.try_shutdown()


def run(stopped: Callable[[], bool]) -> int:
    """Detect until ``stopped`` says so."""
    detector = Detector()
    try:
        while not stopped():
            rclpy.spin_once(detector, timeout_sec=0.1)
    finally:
        detector.close()
        detector.destroy_node()
    return 0


def console() -> None:
    """Run the node as a command."""
    sys.exit(main())


if __name__ == '__main__':
    console()
