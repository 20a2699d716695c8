"""Runs as ROS nodes: ``ros2 run robot_qa monitor`` and ``ros2 run robot_qa scenario``.

Each judges a spec, once or round after round; the monitor leaves its scenario out. It says how
things stand on ``/diagnostics``, once a second, one status per check, and on ``~/verdict``, which
is latched; ``~/report`` answers with the path of the last report, ``~/robot_qa_time`` with this
host's time. It keeps off /rosout: what is heard there is the robot's. The parameters are read at
the start.
"""

from __future__ import annotations

import math
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.clock import Clock, ClockType
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import String
from std_srvs.srv import Trigger

from robot_qa import __version__
from robot_qa.bring_up import Interrupts
from robot_qa.checks import (
    EXIT_CODES,
    USAGE_ERROR,
    CheckResult,
    Verdict,
    exit_code,
    fold,
    show,
)
from robot_qa.errors import RobotQaError, SpecError, UsageError
from robot_qa.live_run import Run, RunOptions
from robot_qa.monitors.logs import OUR_STATUS
from robot_qa.probes.time_service import TimeService
from robot_qa.report.model import Report
from robot_qa.rounds import BREATHER_S, Ledger, Round, folder_of
from robot_qa.spec.loader import LoadedSpec, load_spec
from robot_qa.spec.parameters import read_overrides
from robot_qa.timebase import NS_PER_S

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
LONGEST_S = 1e7
TELL_PERIOD_S = 1.0
LEVELS = {
    Verdict.PASS: DiagnosticStatus.OK, Verdict.INCONCLUSIVE: DiagnosticStatus.WARN,
    Verdict.FAIL: DiagnosticStatus.ERROR, Verdict.ERROR: DiagnosticStatus.ERROR,
}


class QaNode(Node):  # type: ignore[misc]
    """What a run says of itself on the graph. It is also the run's view."""

    def __init__(self, name: str) -> None:
        super().__init__(name, enable_rosout=False)
        text, number, count = _described, _seconds, _count
        self.declare_parameter('spec', '', text('The spec, a *.qa.yaml file'))
        self.declare_parameter('out', '', text('Folder of the run; robot_qa_runs/... if empty'))
        self.declare_parameter('duration', 0.0, number(
            'How long to watch, in seconds; as long as the spec says if 0'))
        self.declare_parameter('rounds', 1, count(
            'How many runs, one after another; 0 until somebody stops it'))
        self.declare_parameter('keep', 24, count(
            'How many folders of passed rounds, and how many of others, stay', 1))
        self.declare_parameter('record', False, text('Whether to keep recording.mcap'))
        self.declare_parameter('armed', False, text(
            'Whether it may act on a robot that it has not started, as the spec allows'))
        self.declare_parameter('overrides', Parameter.Type.STRING_ARRAY, text(
            'Values of parameters of the spec, each as name=value'))
        self._diagnostics = self.create_publisher(DiagnosticArray, '/diagnostics', 10)
        self._verdict = self.create_publisher(String, '~/verdict', LATCHED)
        self._service = self.create_service(Trigger, '~/report', self._answer)
        self._host = socket.gethostname()
        self._signature = KeyValue(key=OUR_STATUS, value=__version__)
        self._time = TimeService(self)
        self._last: tuple[Verdict, Path] | None = None
        self._results: Sequence[CheckResult] = ()
        self._told = self.create_timer(
            TELL_PERIOD_S, self._publish, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def given(self, name: str) -> Any:
        """Return the value of a parameter; None where it has none."""
        return self.get_parameter_or(name, Parameter(name)).value

    @property
    def out(self) -> Path | None:
        """The folder that was asked for."""
        return Path(self.given('out')) if self.given('out') else None

    def say(self, text: str) -> None:
        """Log what happens now."""
        self.get_logger().info(text)

    def show(self, results: list[CheckResult], elapsed_s: float, duration_s: float) -> None:
        """Let the next message say how each check stands."""
        self._results = results

    def close(self) -> None:
        """Leave everything as it is: what was said last stays true."""

    def conclude(self, run: Run, report: Report) -> None:
        """Publish what a run came to."""
        self._last = Verdict(report.verdict), run.folder.path
        self._results = run.results
        self._publish()
        self._verdict.publish(String(data=report.verdict))

    def _publish(self) -> None:
        """Tell the latest results; before the first ones only that nothing is decided."""
        results = self._results
        message = DiagnosticArray()
        message.header.stamp = self.get_clock().now().to_msg()
        whole = fold(result.verdict for result in results)
        message.status = [
            DiagnosticStatus(
                level=LEVELS[whole], name=f'{self.get_name()}: verdict', message=whole.value,
                hardware_id=self._host, values=[self._signature]),
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
            values=[self._signature, *(
                KeyValue(key=key, value=value) for key, value in values.items())],
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
    """Run as ``ros2 run robot_qa monitor``: watch by a spec, and play no scenario."""
    sys.exit(_main('monitor'))


def scenario() -> None:
    """Run as ``ros2 run robot_qa scenario``: play the scenario of a spec, and watch."""
    sys.exit(_main('scenario'))


def _main(name: str) -> int:
    # The run itself answers to signals: it writes its report and takes back what it did.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with Interrupts():
            return _on_the_graph(name)
    except KeyboardInterrupt:
        return EXIT_CODES[Verdict.INCONCLUSIVE]
    except Exception as error:  # Python would exit with 1, which is that of FAIL
        traceback.print_exc()
        return exit_code(error)


def _on_the_graph(name: str) -> int:
    rclpy.init(args=sys.argv, signal_handler_options=SignalHandlerOptions.NO)
    try:
        node = QaNode(name)
    except (InvalidParameterTypeException, InvalidParameterValueException) as error:
        print(f'{name}: {error}', file=sys.stderr)
        rclpy.try_shutdown()
        return USAGE_ERROR
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    thread = threading.Thread(target=executor.spin, daemon=True)
    thread.start()
    try:
        return _judged(node, plays=name == 'scenario')
    finally:
        executor.shutdown()
        thread.join()
        node.destroy_node()
        rclpy.try_shutdown()


def _judged(node: QaNode, *, plays: bool) -> int:
    """Make the runs, or log what is wrong; return the exit code."""
    try:
        loaded = _loaded(node, plays=plays)
        if node.given('rounds') != 1:
            return _rounds(node, loaded, Ledger(
                node.out or folder_of(loaded), node.given('keep'), node.say))
        run, report = _run(node, loaded, node.out)
        node.conclude(run, report)
        node.say(f'{report.verdict}: {run.folder.path}')
        return EXIT_CODES[Verdict(report.verdict)]
    except RobotQaError as error:
        for problem in error.problems if isinstance(error, SpecError) else [error]:
            node.get_logger().error(str(problem))
        return exit_code(error)
    except OSError as error:  # the disk is full, a folder may not be written to
        node.get_logger().error(str(error))
        return exit_code(error)


def _loaded(node: QaNode, *, plays: bool) -> LoadedSpec:
    if not node.given('spec'):
        raise UsageError('which spec? Say --ros-args -p spec:=FILE')
    overrides = read_overrides(node.given('overrides') or (), 'overrides')
    loaded = load_spec(Path(node.given('spec')), overrides)
    # Not by the node's name, which can be remapped.
    if not plays:
        return replace(loaded, spec=loaded.spec.model_copy(update={'scenario': []}))
    if not loaded.spec.scenario:
        raise UsageError(f'{loaded.path} has no scenario to play; "monitor" only watches')
    return loaded


def _rounds(node: QaNode, loaded: LoadedSpec, ledger: Ledger) -> int:
    """Make one run after another, as many as are wanted; return the exit code of the worst."""
    wanted, made = node.given('rounds'), 0
    try:
        while wanted == 0 or made < wanted:
            made += 1
            number, out = ledger.begin()
            run, report = _run(node, loaded, out)
            stopped = any(event.event == 'interrupted' for event in report.timeline)
            one = Round.of(number, report, run.folder.path, stopped)
            ledger.note(one)  # before anybody hears of it, and may stop us
            node.conclude(run, report)
            if stopped:
                break
            if not one.seconds:
                time.sleep(BREATHER_S)  # one that cannot begin must not try at full speed
    except KeyboardInterrupt:
        pass
    return EXIT_CODES[ledger.verdict]


def _run(node: QaNode, loaded: LoadedSpec, out: Path | None) -> tuple[Run, Report]:
    seconds = node.given('duration')
    run = Run(loaded, RunOptions(
        out, round(seconds * NS_PER_S) if seconds else None, node.given('record'), node,
        node.given('armed'),
    ))
    return run, run.go()


def _described(description: str) -> ParameterDescriptor:
    return ParameterDescriptor(description=description, read_only=True)


def _seconds(description: str) -> ParameterDescriptor:
    wide = FloatingPointRange(from_value=0.0, to_value=LONGEST_S)
    return ParameterDescriptor(
        description=description, read_only=True, floating_point_range=[wide])


def _count(description: str, least: int = 0) -> ParameterDescriptor:
    wide = IntegerRange(from_value=least, to_value=1_000_000, step=1)
    return ParameterDescriptor(description=description, read_only=True, integer_range=[wide])
