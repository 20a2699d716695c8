"""A scenario in the simulated warehouse: what it expects holds, and once it cannot."""

from __future__ import annotations

import unittest
from pathlib import Path

import pytest
from launch import LaunchDescription
from launch.substitutions import LaunchConfiguration
from launch_testing.actions import ReadyToTest

from robot_qa.integration.launch_testing import RobotQa

SPEC = Path(__file__).parent / 'scenario.qa.yaml'


@pytest.mark.launch_test
def generate_test_description() -> tuple[LaunchDescription, dict[str, object]]:
    backend = LaunchConfiguration('backend', default='embedded')
    qa = RobotQa(spec=SPEC, parameters=['backend=', backend], bring_up=True)
    return LaunchDescription([qa, ReadyToTest()]), {'qa': qa}


class TestScenario(unittest.TestCase):
    def test_every_step_was_played(self, qa: RobotQa) -> None:
        for step in ('crate', 'lidar_lost', 'lidar_lost_again'):
            qa.assert_passed(f'scenario.{step}')

    def test_what_is_expected_holds(self, qa: RobotQa) -> None:
        qa.assert_passed('scenario.lidar_lost.*')
        qa.assert_passed('rules.*')

    def test_what_cannot_hold_fails(self, qa: RobotQa) -> None:
        qa.assert_failed('scenario.lidar_lost_again.holds_during')
