"""A launch description of one's own, watched beside: the example robot, sound and with a fault."""

from __future__ import annotations

import sys
import unittest
from pathlib import Path

import launch_testing
import pytest
from launch import LaunchDescription
from launch.actions import ExecuteProcess
from launch_testing.actions import ReadyToTest

from robot_qa.integration.launch_testing import RobotQa

SPEC = Path(__file__).parent / 'robot.qa.yaml'


@pytest.mark.launch_test
@launch_testing.parametrize('fault', ['none', 'stale_scan'])
def generate_test_description(fault: str) -> tuple[LaunchDescription, dict[str, object]]:
    robot = ExecuteProcess(cmd=[sys.executable, '-m', 'robot_qa.examples.robot', '--fault', fault])
    qa = RobotQa(spec=SPEC, armed=True)
    return LaunchDescription([robot, qa, ReadyToTest()]), {'qa': qa}


class TestWhileItRuns(unittest.TestCase):
    def test_verdicts(self, qa: RobotQa, fault: str) -> None:
        if fault == 'none':
            qa.assert_passed()
        else:
            qa.assert_failed('topics./scan.age.*')
            qa.assert_passed('topics./scan.fields.*')
            qa.assert_passed('services.*')


@launch_testing.post_shutdown_test()
class TestAfterwards(unittest.TestCase):
    def test_exit_code_is_the_verdict(self, proc_info: object, qa: RobotQa, fault: str) -> None:
        launch_testing.asserts.assertExitCodes(
            proc_info, [1 if fault == 'stale_scan' else 0], process=qa)
