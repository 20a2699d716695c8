"""Watches what runs already, by the checks of a spec; its scenario, if any, is not played.

    ros2 launch robot_qa monitor.launch.py spec:=patrol.qa.yaml

Include it beside your own launch files; ``shutdown:=false`` lets them go on after the verdicts.
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration

from robot_qa.integration.launch_testing import RobotQa

ARGUMENTS = {
    'parameters': 'parameters of the spec to replace: "KEY=VALUE KEY=VALUE"',
    'duration': 'watch this long, such as "30 s", instead of what the spec says',
    'use_sim_time': 'true or false, instead of the clock of the spec',
    'out': "the folder of the run, instead of one in launch's log folder",
    'record': 'true: keep recording.mcap',
    'armed': 'true: let it call services and send goals, as the spec allows',
}


def generate_launch_description():
    """Watch, and judge."""
    return LaunchDescription([
        DeclareLaunchArgument('spec', description='the spec, a *.qa.yaml'),
        DeclareLaunchArgument('shutdown', default_value='true', choices=['true', 'false'],
                              description='end the launch with the run'),
        *(DeclareLaunchArgument(name, default_value='', description=about)
          for name, about in ARGUMENTS.items()),
        OpaqueFunction(function=_run),
    ])


def _run(context):
    given = {name: LaunchConfiguration(name) for name in ('spec', *ARGUMENTS)}
    shutdown = LaunchConfiguration('shutdown').perform(context) == 'true'
    return [RobotQa(**given, scenario=False, shutdown=shutdown)]
