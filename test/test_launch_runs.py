"""What the tests of a launch make of its run: which one it is, how it ended, that they end."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from robot_qa.checks import CheckResult, Verdict
from robot_qa.domains import claim_domain
from robot_qa.report.model import MonitorPart, Report, check_part

pytestmark = [pytest.mark.live, pytest.mark.launch]
SPEC = """robot_qa: 1
name: listed
duration: %s
inconclusive: skip
system:
  processes: [{name: robot, command: [python3, -m, robot_qa.examples.robot]}]
  ready: {timeout: 60 s, topics: [/scan]}
topics:
  /scan: {frame_id: lidar_link}
  /silent: {frame_id: nobody}
"""
HEAD = """
import time
import unittest
from pathlib import Path

import launch_testing
from launch import LaunchDescription
from launch.actions import TimerAction
from launch_testing.actions import ReadyToTest
from robot_qa.integration.launch_testing import QaTestCase, RobotQa

SPEC = 'robot.qa.yaml'
"""
AT_ONCE = HEAD + """
def generate_test_description():
    return LaunchDescription([RobotQa(spec=SPEC, out='out', bring_up=True%s), ReadyToTest()])
"""
ASKS = """
class TestRobot(QaTestCase, spec=SPEC):
    pass
"""
ASKS_LATER = """
@launch_testing.post_shutdown_test()
class TestLater(QaTestCase, spec=SPEC):
    pass
"""


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[SimpleNamespace]:
    """Runs a launch test of a spec; what ends it is the test, or this deadline."""
    with claim_domain() as claim:
        env = {**os.environ, 'ROS_DOMAIN_ID': str(claim.id),
               'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST', 'ROS_LOG_DIR': str(tmp_path / 'log')}

        def test(script: str, duration: str = '2 s') -> subprocess.CompletedProcess[str]:
            (tmp_path / 'robot.qa.yaml').write_text(SPEC % duration)
            (tmp_path / 'it_launch.py').write_text(script)
            return subprocess.run(
                [sys.executable, '-m', 'launch_testing.launch_test', 'it_launch.py'], env=env,
                cwd=tmp_path, text=True, timeout=240, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, check=False)

        yield SimpleNamespace(test=test, folder=tmp_path)


def test_the_report_of_an_earlier_run_does_not_pass_for_this_one(launch: SimpleNamespace) -> None:
    names = ['topics./scan.frame_id', 'topics./silent.frame_id', 'run.duration']
    earlier = Report(
        name='listed', verdict='PASS', started='', start_ns=0, duration_s=1.0, confidence=0.95,
        environment={}, timeline=[],
        monitor=MonitorPart(cpu_s=0.0, peak_rss_bytes=0, messages=0, overruns={}, notes={}),
        checks=[check_part(CheckResult(name, Verdict.PASS, '', 'x:1:1')) for name in names])
    (launch.folder / 'out').mkdir()
    (launch.folder / 'out' / 'report.json').write_text(earlier.model_dump_json())
    done = launch.test(AT_ONCE % ", duration='3'" + ASKS)
    assert done.returncode == 1, done.stdout
    assert 'there is no report of the run: 3 has no unit' in done.stdout, done.stdout


def test_a_run_that_begins_late_is_waited_for_and_what_is_undecided_skips(
    launch: SimpleNamespace,
) -> None:
    done = launch.test(HEAD + """
def generate_test_description():
    late = TimerAction(period=1.5, actions=[RobotQa(spec=SPEC, bring_up=True)])
    return LaunchDescription([late, ReadyToTest()])
""" + ASKS)
    assert done.returncode == 0, done.stdout
    assert 'OK (skipped=1)' in done.stdout, done.stdout


def test_a_pattern_that_no_check_matches_is_no_silence(launch: SimpleNamespace) -> None:
    done = launch.test(HEAD + """
from robot_qa.integration.launch_testing import on_verdict

def generate_test_description():
    return LaunchDescription([
        RobotQa(spec=SPEC, bring_up=True), on_verdict([], 'topics./scam.*'),
        on_verdict([], 'topics./scan.*'), ReadyToTest()])
""" + ASKS)
    assert done.returncode == 1, done.stdout
    assert ('on_verdict: no check is called topics./scam.*; did you mean '
            '"topics./scan.frame_id"?\n') in done.stdout, done.stdout


def test_a_run_that_never_begins_is_waited_for_once(launch: SimpleNamespace) -> None:
    done = launch.test(HEAD + """
def generate_test_description():
    return LaunchDescription([TimerAction(period=200.0, actions=[]), ReadyToTest()])

class TestRobot(QaTestCase, spec=SPEC):
    appears_s = 1.5
""")
    assert done.returncode == 1, done.stdout
    where = launch.folder / 'robot.qa.yaml'
    words = f'no RobotQa(spec=...) of the launch description has run {where}'
    assert done.stdout.count(f'{words} within 1.5 s (appears_s)') == 1, done.stdout
    assert f'{words}\n' in done.stdout


def test_a_launch_ends_though_nobody_waits_for_its_run(launch: SimpleNamespace) -> None:
    done = launch.test(AT_ONCE % '' + ASKS_LATER, duration='200 s')
    assert done.returncode == 1, done.stdout
    assert 'TestLater' in done.stdout


def test_after_the_shutdown_there_is_what_the_run_came_to_until_then(
    launch: SimpleNamespace,
) -> None:
    done = launch.test(AT_ONCE % '' + """
class TestShort(unittest.TestCase):
    def test_it_has_begun(self):
        deadline = time.monotonic() + 120
        timeline = Path('out/timeline.jsonl')
        while '"observing"' not in (timeline.read_text() if timeline.exists() else ''):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.1)  # a file tells of no change
""" + ASKS_LATER, duration='200 s')
    assert 'stopped by an interrupt' in done.stdout, done.stdout
    assert done.returncode == 0, done.stdout
