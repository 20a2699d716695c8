"""The same patrol with faults: timing, validity and a service fail, and nothing else does."""

from __future__ import annotations

import unittest
from pathlib import Path

import pytest
from launch import LaunchDescription
from launch.substitutions import LaunchConfiguration
from launch_testing.actions import ReadyToTest

from robot_qa.integration.launch_testing import CheckVerdict, RobotQa, on_verdict

SPEC = Path(__file__).parent / 'faults.qa.yaml'


@pytest.mark.launch_test
def generate_test_description() -> tuple[LaunchDescription, dict[str, object]]:
    backend = LaunchConfiguration('backend', default='embedded')
    qa = RobotQa(spec=SPEC, parameters=['backend=', backend], bring_up=True)
    events: list[CheckVerdict] = []
    note = on_verdict(lambda event, context: events.append(event), 'topics.*', 'FAIL')
    return LaunchDescription([note, qa, ReadyToTest()]), {'qa': qa, 'events': events}


class TestFaults(unittest.TestCase):
    def test_what_is_wrong_fails(self, qa: RobotQa) -> None:
        qa.assert_failed('topics./scan.gap.max')
        qa.assert_failed('topics./scan.fields.ranges.finite')
        qa.assert_failed('services./patrol/status.failures.max')

    def test_all_else_passes(self, qa: RobotQa) -> None:
        qa.assert_passed('topics./odom.*')
        qa.assert_passed('topics./scan.frame_id')
        qa.assert_passed('scenario.*')

    def test_it_was_told_while_it_went_on(self, qa: RobotQa, events: list[CheckVerdict]) -> None:
        qa.wait()
        early = {event.check for event in events if not event.final}
        assert 'topics./scan.gap.max' in early, early
