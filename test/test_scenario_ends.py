"""However a scenario ends, what it did is taken back and a report says so."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest

from robot_qa.bring_up import Interrupts
from robot_qa.domains import claim_domain
from robot_qa.processes import Processes, ProcessSpec, child_environment
from simulator_client import ROOT

PATIENCE_S = 90.0
COMMAND = [sys.executable, '-m', 'robot_qa.cli']
# Every change of the parameter takes a while, and is told.
NODE = """
import time
import rclpy
from rcl_interfaces.msg import SetParametersResult
from std_msgs.msg import Empty
from std_srvs.srv import Trigger

rclpy.init()
node = rclpy.create_node('robot')
node.declare_parameter('speed', 1.0)
node.declare_parameter('gains', [1.0, 2.0])
node.declare_parameter('name', 'nobody')

def changed(parameters):
    time.sleep(0.3)
    for one in parameters:
        print(one.name, one.value, flush=True)
    return SetParametersResult(successful=True)

node.add_on_set_parameters_callback(changed)
publisher = node.create_publisher(Empty, '/tick', 10)

def refused(request, response):
    response.message = 'no way'
    return response

service = node.create_service(Trigger, '/refuse', refused)
node.create_timer(0.1, lambda: publisher.publish(Empty()))
print('ready', flush=True)
rclpy.spin(node)
"""
SPEC = """robot_qa: 1
name: ends
duration: {duration}
{more}
topics:
  /tick: {{type: std_msgs/msg/Empty, gap: {{max: 30 s}}}}
scenario:
{steps}
"""


def until(condition: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        assert time.monotonic() < deadline, f'not within {PATIENCE_S} s: {what}'
        time.sleep(0.02)
    return found


class Robot:
    """A system that runs already, and what was told to it."""

    def __init__(self, processes: Processes, folder: Path, domain: int) -> None:
        self.env = child_environment(os.environ, domain, {'PYTHONPATH': str(ROOT)})
        self.log = folder / 'robot.log'
        self.folder = folder
        processes.start(ProcessSpec('robot', (sys.executable, '-c', NODE), None, self.env))
        until(lambda: 'ready' in self.said(), 'the robot')

    def said(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []

    def run(self, steps: str, duration: str = '4 s', *words: str) -> subprocess.Popen[str]:
        spec = self.folder / 'ends.qa.yaml'
        spec.write_text(SPEC.format(
            duration=duration, steps=steps, more='allow: [parameter, publish, call]'))
        self.before = len(self.said())
        return subprocess.Popen(
            [*COMMAND, 'run', str(spec), '--out', str(self.folder / 'out'), '--armed', *words],
            env=self.env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def told(self) -> list[str]:
        return self.said()[self.before:]

    def report(self, run: subprocess.Popen[str]) -> dict[str, tuple[str, str]]:
        out, _ = run.communicate(timeout=PATIENCE_S)
        print(out)
        report = json.loads((self.folder / 'out' / 'report.json').read_text())
        return {one['name']: (one['verdict'], one['reason']) for one in report['checks']}


@pytest.fixture(scope='module')
def robot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Robot]:
    folder = tmp_path_factory.mktemp('robot')
    with ExitStack() as stack:
        claim = stack.enter_context(claim_domain())
        processes = stack.enter_context(Processes(folder))
        yield Robot(processes, folder, claim.id)


@pytest.mark.live
def test_what_takes_longer_than_its_time_is_still_undone(robot: Robot) -> None:
    run = robot.run('  - {name: s, at: 1 s, for: 10 ms, parameter: '
                    '{node: /robot, name: speed, value: 9}}')
    verdict, reason = robot.report(run)['scenario.s']
    assert verdict == 'PASS' and 'undone once' in reason
    assert robot.told() == ['speed 9.0', 'speed 1.0']


@pytest.mark.live
def test_interrupts_take_back_what_was_done_and_begin_nothing(robot: Robot) -> None:
    run = robot.run("""
  - {name: s, at: 1 s, for: 50 s, parameter: {node: /robot, name: speed, value: 9}}
  - {name: left, after: s, parameter: {node: /robot, name: name, value: left behind}}
  - {name: drive, after: s, for: 5 s,
     publish: {topic: /drive, type: std_msgs/msg/Empty, rate: 20 Hz}}
""", '60 s')
    until(lambda: 'speed 9.0' in robot.told(), 'the step')
    run.send_signal(signal.SIGINT)
    timeline = robot.folder / 'out' / 'timeline.jsonl'
    until(lambda: '"undoing"' in timeline.read_text(), 'the undo')
    run.send_signal(signal.SIGINT)
    run.send_signal(signal.SIGTERM)
    found = robot.report(run)
    assert robot.told() == ['speed 9.0', 'speed 1.0']
    assert found['run.duration'][0] == 'INCONCLUSIVE'
    assert found['scenario.s'][0] == 'PASS'
    assert {found[f'scenario.{name}'][0] for name in ('left', 'drive')} == {'INCONCLUSIVE'}


@pytest.mark.live
def test_whole_and_real_numbers_go_together_and_answers_are_looked_at(robot: Robot) -> None:
    run = robot.run("""
  - {name: no, at: 1 s, call: {service: /refuse, type: std_srvs/srv/Trigger}}
  - {name: any, at: 1 s, call: {service: /refuse, type: std_srvs/srv/Trigger, success: any}}
  - {name: wanted, at: 1 s, call: {service: /refuse, type: std_srvs/srv/Trigger, success: false}}
  - {name: gains, at: 1 s, parameter: {node: /robot, name: gains, value: [3, 4.5]}}
  - {name: wrong, at: 1 s, parameter: {node: /robot, name: name, value: 3}}
""", '3 s')
    found = robot.report(run)
    assert found['scenario.gains'][0] == 'PASS'
    assert [line for line in robot.told() if line.startswith('gains')] == [
        "gains array('d', [3.0, 4.5])", "gains array('d', [1.0, 2.0])"]
    answer = "/refuse answered (success: False, message: 'no way')"
    assert found['scenario.no'] == ('ERROR', f'failed: {answer}')
    for name in ('any', 'wanted'):
        verdict, reason = found[f'scenario.{name}']
        assert verdict == 'PASS' and answer in reason
    assert found['scenario.wrong'][0] == 'ERROR' and 'refused name' in found['scenario.wrong'][1]
    assert run.returncode == 4


@pytest.mark.live
def test_a_run_that_breaks_off_in_our_own_code_takes_back_and_reports(
    robot: Robot, tmp_path: Path,
) -> None:
    """Somebody's plugin, or a mistake of ours, in the middle of the observation."""
    (tmp_path / 'sitecustomize.py').write_text("""
import threading
def break_off():
    from robot_qa import panel
    take = panel.Panel.update
    def update(self, batches):
        import pathlib, os
        if 'speed 9.0' in pathlib.Path(os.environ['ROBOT_LOG']).read_text().split('mark')[-1]:
            panel.Panel.update = take
            raise ZeroDivisionError('what nobody has foreseen')
        take(self, batches)
    panel.Panel.update = update
import sys
if any('robot_qa.cli' in one for one in sys.orig_argv):
    break_off()
""")
    with robot.log.open('a') as log:
        log.write('mark\n')
    robot.env |= {'PYTHONPATH': f'{tmp_path}{os.pathsep}{ROOT}', 'ROBOT_LOG': str(robot.log)}
    try:
        run = robot.run('  - {name: s, at: 1 s, parameter: '
                        '{node: /robot, name: speed, value: 9}}', '60 s')
        found = robot.report(run)
    finally:
        robot.env['PYTHONPATH'] = str(ROOT)
    assert run.returncode == 4
    verdict, reason = found['run']
    assert verdict == 'ERROR'
    assert reason.startswith('ZeroDivisionError: what nobody has foreseen')
    assert robot.told() == ['speed 9.0', 'speed 1.0']
    assert 'undone once' in found['scenario.s'][1]
    timeline = (robot.folder / 'out' / 'timeline.jsonl').read_text()
    assert '"traceback"' in timeline and 'in update' in timeline


@pytest.mark.live
def test_a_relay_that_dies_is_not_the_robots_doing(tmp_path: Path) -> None:
    (tmp_path / 'robot.py').write_text(NODE)
    spec = tmp_path / 'ends.qa.yaml'
    spec.write_text(SPEC.format(duration='60 s', more="""stop_when_decided: true
min_duration: 1 s
system: {processes: [{name: robot, command: [python3, robot.py]}]}""", steps="""
  - {name: cut, at: 2 s, for: 40 s, fault: {topic: /tick, drop: 50 %}}"""))
    out = tmp_path / 'out'
    env = os.environ | {'PYTHONPATH': str(ROOT)}
    run = subprocess.Popen([*COMMAND, 'run', str(spec), '--out', str(out), '--quiet'], env=env)
    try:
        timeline = out / 'timeline.jsonl'
        # Every check is decided before: it waits for the scenario.
        until(lambda: timeline.exists() and '"done"' in timeline.read_text(), 'the fault')
        started = [json.loads(line) for line in timeline.read_text().splitlines()]
        pid = next(int(one['detail'].split()[-1]) for one in started
                   if one['event'] == 'started' and one['detail'].startswith('relay_tick'))
        psutil.Process(pid).kill()
        assert run.wait(PATIENCE_S) == 4
    finally:
        run.kill()
        run.wait()
    checks = json.loads((out / 'report.json').read_text())['checks']
    found = {one['name']: (one['verdict'], one['reason']) for one in checks}
    assert found['system.relay_tick'][0] == 'ERROR', found
    assert found['topics./tick.gap.max'][0] != 'FAIL'


@pytest.mark.live
def test_what_stops_the_clock_ends_on_the_wall_clock(tmp_path: Path) -> None:
    pytest.importorskip('mujoco')
    shutil.copytree(ROOT / 'worlds', tmp_path / 'worlds')
    spec = tmp_path / 'still.qa.yaml'
    spec.write_text("""robot_qa: 1
name: still
duration: 6 s
system:
  simulator: {backend: embedded, world: worlds/empty.sdf}
  ready: {timeout: 90 s, topics: [/odom]}
topics:
  /odom: {frame_id: odom}
scenario:
  - {name: frozen, at: 1 s, for: 500 ms, stop: simulator}
  - {name: paused, at: 2 s, for: 1 s, pause: true}
  - {name: stepped, after: paused, outcome: done, delay: 200 ms, step: 5}
  - {name: blind, at: 3500 ms, for: 500 ms, fault: {topic: /clock, drop: 100 %}}
  - {name: back, at: 4500 ms, reset: true}
  - {name: last, at: 5500 ms, publish: {topic: /x, type: std_msgs/msg/Empty}}
""")
    out = tmp_path / 'out'
    done = subprocess.run([*COMMAND, 'run', str(spec), '--out', str(out)], check=False, text=True,
                          capture_output=True, timeout=300, env=os.environ | {
                              'PYTHONPATH': str(ROOT)})
    assert (out / 'report.json').exists(), done.stdout + done.stderr
    report = json.loads((out / 'report.json').read_text())
    found = {one['name']: (one['verdict'], one['reason']) for one in report['checks']}
    steps = {name: one for name, one in found.items() if name.startswith('scenario.')}
    assert {verdict for verdict, _ in steps.values()} == {'PASS'}, done.stdout
    stamps = {(one['event'], one['detail'].partition(':')[0]): one['stamp_ns'] / 1e9
              for one in report['timeline']}
    for name, lasts in (('frozen', 0.5), ('paused', 1.0), ('blind', 0.5)):
        assert stamps['undoing', name] - stamps['doing', name] >= lasts - 0.001
    assert stamps['doing', 'stepped'] < stamps['undoing', 'paused']
    assert found['run.duration'] == ('PASS', 'observed for 6 s')


def test_only_the_first_interrupt_interrupts() -> None:
    handlers = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    with Interrupts() as interrupts:
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupts.count == 3
    with Interrupts() as interrupts:
        interrupts.calm()
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupts.count == 1
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == handlers
