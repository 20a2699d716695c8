"""A patrol in a simulated warehouse: timing, validity, services, one test method per check.

    launch_test sound_launch.py backend:=gazebo
"""

from __future__ import annotations

from pathlib import Path

import pytest
from launch import LaunchDescription
from launch.substitutions import LaunchConfiguration
from launch_testing.actions import ReadyToTest

from robot_qa.integration.launch_testing import QaTestCase, RobotQa

SPEC = Path(__file__).parent / 'patrol.qa.yaml'


@pytest.mark.launch_test
def generate_test_description() -> LaunchDescription:
    backend = LaunchConfiguration('backend', default='embedded')
    qa = RobotQa(spec=SPEC, parameters=['backend=', backend], bring_up=True)
    return LaunchDescription([qa, ReadyToTest()])


class TestPatrol(QaTestCase, spec=SPEC):
    """Waits for the run, then asks check by check."""
