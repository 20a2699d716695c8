"""The monitor as a node among others: what it says on the graph while it runs and after it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from robot_qa.checks import EXIT_CODES
from robot_qa.domains import claim_domain
from robot_qa.processes import Processes, ProcessSpec, child_environment
from robot_qa.session import check_recording
from robot_qa.spec.loader import load_spec

pytest.importorskip('rclpy')
pytestmark = pytest.mark.live

import rclpy  # noqa: E402
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus  # noqa: E402
from rclpy.context import Context  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.qos import DurabilityPolicy, QoSProfile  # noqa: E402
from std_msgs.msg import String  # noqa: E402
from std_srvs.srv import Trigger  # noqa: E402

SPEC = """
robot_qa: 1
name: node
duration: 3 s
topics:
  /scan: {rate: {min: 5 Hz, window: 1 s}, frame_id: %s}
%s"""
NODE = 'from robot_qa.integration.nodes import %s; %s()'


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[SimpleNamespace]:
    with claim_domain() as claim, Processes(tmp_path / 'logs', claim.fileno()) as processes:
        env = child_environment(dict(os.environ), claim.id, {})
        processes.start(ProcessSpec(
            'robot', (sys.executable, '-m', 'robot_qa.examples.robot'), None, env))
        context = Context()
        context.init(args=[], domain_id=claim.id)
        node = rclpy.create_node('listener', context=context)
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(node)
        heard: list[DiagnosticArray] = []
        verdicts: list[str] = []
        node.create_subscription(DiagnosticArray, '/diagnostics', heard.append, 10)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        node.create_subscription(
            String, '/monitor/verdict', lambda message: verdicts.append(message.data), latched)
        yield SimpleNamespace(
            env=env, node=node, executor=executor, heard=heard, verdicts=verdicts,
            folder=tmp_path)
        executor.shutdown()
        node.destroy_node()
        context.try_shutdown()


def start(bench: SimpleNamespace, frame: str, *words: str, name: str = 'monitor',
          more: str = '', remap: str = '') -> subprocess.Popen[str]:
    spec = bench.folder / 'x.qa.yaml'
    spec.write_text(SPEC % (frame, more))
    parameters = [word for one in (f'spec:={spec}', *words) for word in ('-p', one)]
    parameters += ['-r', remap] if remap else []
    return subprocess.Popen(
        [sys.executable, '-c', NODE % (name, name), '--ros-args', *parameters], env=bench.env,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def spin_until(bench: SimpleNamespace, done: Callable[[], Any], within_s: float = 120.0) -> Any:
    deadline = time.monotonic() + within_s
    while not done() and time.monotonic() < deadline:
        bench.executor.spin_once(timeout_sec=0.05)
    return done()


@pytest.mark.parametrize(('frame', 'verdict', 'code'), [
    ('lidar_link', 'PASS', 0), ('elsewhere', 'FAIL', 1)])
def test_a_status_per_check_and_a_latched_verdict(
    bench: SimpleNamespace, frame: str, verdict: str, code: int,
) -> None:
    process = start(bench, frame, f'out:={bench.folder / "out"}', 'rounds:=2')
    assert spin_until(bench, lambda: verdict in bench.verdicts), bench.verdicts
    ask = bench.node.create_client(Trigger, '/monitor/report')
    assert spin_until(bench, ask.service_is_ready)
    asked = ask.call_async(Trigger.Request())
    assert spin_until(bench, asked.done)
    assert asked.result().success is (verdict == 'PASS')
    assert asked.result().message.startswith(f'{verdict}: /')

    # The second round has begun meanwhile, and is not decided yet.
    def told() -> dict[str, DiagnosticStatus]:
        messages = [{one.name: one for one in message.status} for message in bench.heard]
        return next((one for one in messages if 'monitor: verdict' in one
                     and one['monitor: verdict'].message == verdict), {})

    statuses = spin_until(bench, told)
    frame_check = statuses['monitor: topics./scan.frame_id']
    good = DiagnosticStatus.OK if verdict == 'PASS' else DiagnosticStatus.ERROR
    assert frame_check.level == good
    values = {one.key: one.value for one in frame_check.values}
    assert values['verdict'] == verdict and values['spec'].endswith(':6:43')
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == code, out
    assert (bench.folder / 'out' / '000001' / 'report.json').exists()
    rounds = (bench.folder / 'out' / 'rounds.jsonl').read_text().splitlines()
    assert json.loads(rounds[0])['verdict'] == verdict


def test_what_is_wrong_with_the_spec_is_logged(bench: SimpleNamespace) -> None:
    process = start(bench, '""')
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 2 and 'x.qa.yaml:6:' in out


def test_a_scenario_wants_one(bench: SimpleNamespace) -> None:
    process = start(bench, 'lidar_link', name='scenario')
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 2 and 'has no scenario to play' in out


def test_nothing_is_done_to_a_robot_unarmed(bench: SimpleNamespace) -> None:
    more = ('allow: [call]\nscenario:\n- {at: 1 s, call: {service: /x, '
            'type: std_srvs/srv/Trigger}}\n')
    process = start(bench, 'lidar_link', name='scenario', more=more)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 2 and 'armed:=true' in out


def test_a_monitor_of_another_name_plays_nothing_either(bench: SimpleNamespace) -> None:
    more = ('allow: [call]\nscenario:\n- {at: 1 s, call: {service: /x, '
            'type: std_srvs/srv/Trigger}}\n')
    process = start(bench, 'lidar_link', f'out:={bench.folder / "out"}', more=more,
                    remap='__node:=watcher')
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0 and '[watcher]' in out, out
    names = [one['name'] for one in
             json.loads((bench.folder / 'out' / 'report.json').read_text())['checks']]
    assert not any(name.startswith('scenario') for name in names)


def test_a_monitor_does_not_judge_what_it_says_itself(bench: SimpleNamespace) -> None:
    spec = bench.folder / 'x.qa.yaml'
    out = bench.folder / 'out'
    process = start(
        bench, 'elsewhere', f'out:={out}', 'record:=true', remap='__node:=front',
        more='diagnostics: {below: warn, names: {"front:": {present: true}}}\n'
             'logs: {rosout: {below: info, allow: [^all is well$]}}\n')
    assert spin_until(bench, lambda: any(
        one.name == 'front: topics./scan.frame_id' and one.level == DiagnosticStatus.ERROR
        for message in bench.heard for one in message.status)), bench.heard
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 1, said
    check_recording(load_spec(spec), out / 'recording.mcap', bench.folder / 'again')
    for folder in (out, bench.folder / 'again'):
        checks = {one['name']: one for one in json.loads(
            (folder / 'report.json').read_text())['checks']}
        assert checks['diagnostics.below']['verdict'] == 'PASS', checks
        assert checks['diagnostics.names.front:.present']['verdict'] == 'FAIL', checks
        assert checks['logs.rosout.below']['verdict'] == 'PASS', checks


def test_diagnostics_are_told_while_nothing_is_ready(bench: SimpleNamespace) -> None:
    process = start(bench, 'lidar_link', f'out:={bench.folder / "out"}',
                    more='system: {ready: {timeout: 100 s, topics: [/never]}}\n')
    told: list[str] = []

    def often() -> bool:
        told[:] = [one.message for message in bench.heard for one in message.status
                   if one.name == 'monitor: verdict']
        return len(told) >= 3

    assert spin_until(bench, often), bench.heard
    assert set(told) == {'INCONCLUSIVE'}
    assert not bench.verdicts
    process.terminate()
    process.communicate(timeout=120)
    assert process.returncode == 3, (bench.folder / 'out' / 'report.json').read_text()


@pytest.mark.parametrize(('word', 'reason'), [
    ('duration:=5', "expecting type 'DOUBLE'"), ('rounds:=-1', 'out of range'),
    ('overrides:=[frame]', 'overrides frame: KEY=VALUE was expected'),
])
def test_a_wrong_parameter_is_named(bench: SimpleNamespace, word: str, reason: str) -> None:
    process = start(bench, 'lidar_link', word)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 2 and reason in out, out
    assert 'Traceback' not in out


def test_a_terminated_monitor_leaves_its_report(bench: SimpleNamespace) -> None:
    process = start(bench, 'lidar_link', f'out:={bench.folder / "out"}', 'rounds:=0')
    assert spin_until(bench, lambda: any(
        one.name.startswith('monitor: topics.') for message in bench.heard
        for one in message.status))
    process.terminate()
    out, _ = process.communicate(timeout=120)
    assert process.returncode in EXIT_CODES.values(), out
    assert list((bench.folder / 'out').glob('*/report.json')), out
