"""Everything from one spec: the system under test, its simulator, the monitors, the scenario.

    ros2 launch robot_qa qa.launch.py spec:=patrol.qa.yaml

The launch ends with the run, and its report is in the folder that it tells.
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument
from launch.substitutions import LaunchConfiguration

from robot_qa.integration.launch_testing import RobotQa

ARGUMENTS = {
    'parameters': 'parameters of the spec to replace: "KEY=VALUE KEY=VALUE"',
    'duration': 'watch this long, such as "30 s", instead of what the spec says',
    'out': "the folder of the run, instead of one in launch's log folder",
    'record': 'true: keep recording.mcap',
}


def generate_launch_description():
    """Bring up what the spec names, in a ROS domain of its own, and judge it."""
    given = {name: LaunchConfiguration(name) for name in ('spec', *ARGUMENTS)}
    return LaunchDescription([
        DeclareLaunchArgument('spec', description='the spec, a *.qa.yaml'),
        *(DeclareLaunchArgument(name, default_value='', description=about)
          for name, about in ARGUMENTS.items()),
        RobotQa(**given, bring_up=True),
    ])
