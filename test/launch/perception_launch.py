"""A detector on board: its accuracy and its latency, sound, and once weak and slow.

    launch_test perception_launch.py backend:=gazebo
"""

from __future__ import annotations

import unittest
from pathlib import Path

import launch_testing
import pytest
from launch import LaunchDescription
from launch.substitutions import LaunchConfiguration
from launch_testing.actions import ReadyToTest

from robot_qa.integration.launch_testing import RobotQa

SPEC = Path(__file__).parent / 'perception.qa.yaml'
DETECTORS = {'sound': 'score_threshold=0.1', 'weak and slow': 'score_threshold=0.75 late=3s'}


@pytest.mark.launch_test
@launch_testing.parametrize('detector', DETECTORS)
def generate_test_description(detector: str) -> tuple[LaunchDescription, dict[str, object]]:
    backend = LaunchConfiguration('backend', default='embedded')
    parameters = ['backend=', backend, ' ', DETECTORS[detector]]
    qa = RobotQa(spec=SPEC, parameters=parameters, bring_up=True)
    return LaunchDescription([qa, ReadyToTest()]), {'qa': qa}


class TestDetector(unittest.TestCase):
    def test_accuracy(self, qa: RobotQa, detector: str) -> None:
        judged = qa.assert_passed if detector == 'sound' else qa.assert_failed
        judged('perception.detector.metrics.recall.min')

    def test_latency(self, qa: RobotQa, detector: str) -> None:
        judged = qa.assert_passed if detector == 'sound' else qa.assert_failed
        judged('paths.inference.p50')

    def test_what_has_nothing_to_do_with_it(self, qa: RobotQa) -> None:
        qa.assert_passed('topics./detections.stamps')
        qa.assert_passed('system.*')
