"""The same spec beside a launch description of our own: one item here, a method per check."""

import sys
from pathlib import Path

import pytest

pytest.importorskip('launch_testing', reason='launch_testing is not installed')

from launch import LaunchDescription
from launch.actions import ExecuteProcess
from launch_testing.actions import ReadyToTest

from robot_qa.integration.launch_testing import QaTestCase, RobotQa

SPEC = Path(__file__).parent / 'patrol.qa.yaml'


@pytest.mark.launch_test
def generate_test_description():
    patrol = ExecuteProcess(cmd=[sys.executable, '-m', 'my_robot.patrol'])
    return LaunchDescription([patrol, RobotQa(spec=SPEC, armed=True), ReadyToTest()])


class TestPatrol(QaTestCase, spec=SPEC):
    """Waits for the run, then asks check by check."""
