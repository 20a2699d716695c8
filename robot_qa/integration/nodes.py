"""Runs as ROS nodes: ``ros2 run robot_qa monitor`` and ``ros2 run robot_qa scenario``.

Each judges a spec, once or round after round; the monitor leaves its scenario out. It says how
things stand on ``/diagnostics``, one status per check, and on ``~/verdict``, which is latched;
``~/report`` answers with the path of the last report. The parameters are read at the start.
"""

from __future__ import annotations

import math
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import String
from std_srvs.srv import Trigger

from robot_qa.checks import EXIT_CODES, CheckResult, Verdict, fold, show
from robot_qa.errors import RobotQaError, SpecError
from robot_qa.live_run import Run, RunOptions
from robot_qa.spec.loader import LoadedSpec, load_spec
from robot_qa.timebase import NS_PER_S

USAGE_ERROR, ERROR = 2, 4
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
LONGEST_S = 1e7
LEVELS = {
    Verdict.PASS: DiagnosticStatus.OK, Verdict.INCONCLUSIVE: DiagnosticStatus.WARN,
    Verdict.FAIL: DiagnosticStatus.ERROR, Verdict.ERROR: DiagnosticStatus.ERROR,
}


class QaNode(Node):  # type: ignore[misc]
    """What a run says of itself on the graph. It is also the run's view."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        text, number, count = _text, _seconds, _count
        self.declare_parameter('spec', '', text('The spec, a *.qa.yaml file'))
        self.declare_parameter('out', '', text('Folder of the run; robot_qa_runs/... if empty'))
        self.declare_parameter('duration', 0.0, number(
            'How long to watch, in seconds; as long as the spec says if 0'))
        self.declare_parameter('rounds', 1, count(
            'How many runs, one after another; 0 until somebody stops it'))
        self.declare_parameter('record', False, text('Whether to keep recording.mcap'))
        self.declare_parameter('armed', False, text(
            'Whether it may act on a robot that it has not started, as the spec allows'))
        self.declare_parameter('overrides', Parameter.Type.STRING_ARRAY, text(
            'Values of parameters of the spec, each as name=value'))
        self._diagnostics = self.create_publisher(DiagnosticArray, '/diagnostics', 10)
        self._verdict = self.create_publisher(String, '~/verdict', LATCHED)
        self._service = self.create_service(Trigger, '~/report', self._answer)
        self._host = socket.gethostname()
        self._last: tuple[Verdict, Path] | None = None

    def given(self, name: str) -> Any:
        """Return the value of a parameter; None where it has none."""
        return self.get_parameter_or(name, Parameter(name)).value

    def say(self, text: str) -> None:
        """Log what happens now."""
        self.get_logger().info(text)

    def show(self, results: list[CheckResult], elapsed_s: float, duration_s: float) -> None:
        """Publish how each check stands."""
        self._publish(results)

    def close(self) -> None:
        """Leave everything as it is: what was said last stays true."""

    def conclude(self, results: Sequence[CheckResult], verdict: Verdict, folder: Path) -> None:
        """Publish what a run came to."""
        self._last = verdict, folder
        self._publish(results)
        self._verdict.publish(String(data=verdict.value))

    def _publish(self, results: Sequence[CheckResult]) -> None:
        message = DiagnosticArray()
        message.header.stamp = self.get_clock().now().to_msg()
        whole = fold(result.verdict for result in results)
        message.status = [
            DiagnosticStatus(
                level=LEVELS[whole], name=f'{self.get_name()}: verdict', message=whole.value,
                hardware_id=self._host),
            *(self._status(result) for result in results),
        ]
        self._diagnostics.publish(message)

    def _status(self, result: CheckResult) -> DiagnosticStatus:
        """Return a status as diagnostic_updater names it: ``node: what``."""
        values = {'verdict': result.verdict.value, 'spec': result.source}
        measured = result.measurement
        if measured is not None:
            limit, unit = measured.check.limit, measured.check.unit
            values['limit'] = f'{limit.side} {show(limit.value, unit)}'
            values['samples'] = str(measured.count)
            if measured.value is not None and math.isfinite(measured.value):
                values['value'] = show(measured.value, unit)
        return DiagnosticStatus(
            level=LEVELS[result.verdict], name=f'{self.get_name()}: {result.name}',
            message=result.reason, hardware_id=self._host,
            values=[KeyValue(key=key, value=value) for key, value in values.items()],
        )

    def _answer(self, request: Trigger.Request, answer: Trigger.Response) -> Trigger.Response:
        if self._last is None:
            answer.message = 'no run is over yet'
            return answer
        verdict, folder = self._last
        answer.success = verdict is Verdict.PASS
        answer.message = f'{verdict.value}: {(folder / "report.json").absolute()}'
        return answer


def monitor() -> None:
    """Run as ``ros2 run robot_qa monitor``: watch by a spec, and do nothing to the robot."""
    sys.exit(_main('monitor'))


def scenario() -> None:
    """Run as ``ros2 run robot_qa scenario``: play the scenario of a spec, and watch."""
    sys.exit(_main('scenario'))


def _main(name: str) -> int:
    # The run itself answers to signals: it writes its report and takes back what it did.
    rclpy.init(args=sys.argv, signal_handler_options=SignalHandlerOptions.NO)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    node = QaNode(name)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    thread = threading.Thread(target=executor.spin, daemon=True)
    thread.start()
    try:
        return _rounds(node, _loaded(node))
    except SpecError as error:
        for problem in error.problems:
            node.get_logger().error(str(problem))
        return USAGE_ERROR
    except RobotQaError as error:
        node.get_logger().error(str(error))
        return ERROR
    except KeyboardInterrupt:
        return EXIT_CODES[Verdict.INCONCLUSIVE]
    finally:
        executor.shutdown()
        thread.join()
        node.destroy_node()
        rclpy.try_shutdown()


def _loaded(node: QaNode) -> LoadedSpec:
    if not node.given('spec'):
        raise RobotQaError('which spec? Say --ros-args -p spec:=FILE')
    overrides = dict(one.split('=', 1) for one in node.given('overrides') or [] if '=' in one)
    loaded = load_spec(Path(node.given('spec')), overrides)
    if node.get_name() == 'monitor':
        return replace(loaded, spec=loaded.spec.model_copy(update={'scenario': []}))
    if not loaded.spec.scenario:
        raise RobotQaError(f'{loaded.path} has no scenario to play; "monitor" only watches')
    return loaded


def _rounds(node: QaNode, loaded: LoadedSpec) -> int:
    wanted = node.given('rounds')
    verdicts: list[Verdict] = []
    while wanted == 0 or len(verdicts) < wanted:
        try:
            verdict, stopped = _round(node, loaded, len(verdicts) + 1)
        except KeyboardInterrupt:
            break
        if not (stopped and verdicts):  # a last one that was cut short decides nothing
            verdicts.append(verdict)
        if stopped:
            break
    return EXIT_CODES[fold(verdicts)]


def _round(node: QaNode, loaded: LoadedSpec, number: int) -> tuple[Verdict, bool]:
    """Make one run; return its verdict, and whether somebody stopped it."""
    out = Path(node.given('out')) if node.given('out') else None
    if out is not None and node.given('rounds') != 1:
        out /= f'{number:06d}'
    seconds = node.given('duration')
    run = Run(loaded, RunOptions(
        out, round(seconds * NS_PER_S) if seconds else None, node.given('record'), node,
        node.given('armed'),
    ))
    report = run.go()
    verdict = Verdict(report.verdict)
    node.conclude(run.results, verdict, run.folder.path)
    node.say(f'{verdict.value}: {run.folder.path}')
    return verdict, any(event.event == 'interrupted' for event in report.timeline)


def _text(description: str) -> ParameterDescriptor:
    return ParameterDescriptor(description=description, read_only=True)


def _seconds(description: str) -> ParameterDescriptor:
    wide = FloatingPointRange(from_value=0.0, to_value=LONGEST_S)
    return ParameterDescriptor(
        description=description, read_only=True, floating_point_range=[wide])


def _count(description: str) -> ParameterDescriptor:
    wide = IntegerRange(from_value=0, to_value=1_000_000, step=1)
    return ParameterDescriptor(description=description, read_only=True, integer_range=[wide])
