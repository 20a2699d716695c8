"""Starts a simulator with one of our worlds, or with yours, and its bridge to ROS.

    ros2 launch robot_qa simulation.launch.py world:=warehouse seed:=7

Include it beside your own launch files: everything ends with the simulator. Gazebo keeps to the
partition of the environment (GZ_PARTITION).
"""

import os
import shutil
import sys
from pathlib import Path

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, ExecuteProcess, OpaqueFunction, Shutdown
from launch.logging import launch_config
from launch.substitutions import LaunchConfiguration

from robot_qa.simulators import gazebo_bridge, gazebo_server
from robot_qa.spec.loader import load_spec

WORLDS = Path(__file__).parent.parent / 'worlds'
ARGUMENTS = {
    'world': ('empty', 'an SDF file, or one of ours: empty, corridor, warehouse'),
    'seed': ('0', 'from which all noise is drawn'),
    'bridge': ('auto', 'what ros_gz_bridge brings to ROS: what a spec (*.qa.yaml) watches, the '
               'list of a YAML file, /clock and true poses (auto), or none'),
}


def generate_launch_description():
    """Start the simulator, and its bridge where it needs one."""
    return LaunchDescription([
        DeclareLaunchArgument('backend', default_value='auto',
                              choices=['auto', 'gazebo', 'embedded'],
                              description='which simulator; auto: Gazebo if there is one'),
        DeclareLaunchArgument('headless', default_value='true', choices=['true', 'false'],
                              description='false: with the window of Gazebo'),
        *(DeclareLaunchArgument(name, default_value=value, description=about)
          for name, (value, about) in ARGUMENTS.items()),
        OpaqueFunction(function=_start),
    ])


def _start(context):
    given = {name: LaunchConfiguration(name).perform(context)
             for name in ('backend', 'headless', *ARGUMENTS)}
    ours = WORLDS / f'{given["world"]}.sdf'
    world = ours if ours.is_file() else Path(given['world']).resolve()
    seed = int(given['seed'])
    backend = given['backend']
    if backend == 'auto':
        backend = 'gazebo' if shutil.which('gz') else 'embedded'
    if backend == 'embedded':
        return [_process('simulator', (
            sys.executable, '-m', 'robot_qa.embedded.program', str(world), '--seed', str(seed)))]
    gazebo_server.check_installed(os.environ)
    name = gazebo_server.world_name(world)
    command = gazebo_server.server_command(world, seed, headless=given['headless'] == 'true')
    processes = [
        _process('simulator', command, gazebo_server.server_environment(world, os.environ))]
    if given['bridge'] != 'none':
        program = gazebo_bridge.bridge_program(os.environ)
        file = _bridge_file(given['bridge'], name)
        processes.append(_process('bridge', gazebo_bridge.bridge_command(program, file)))
    return processes


def _bridge_file(bridge, world):
    """Return the configuration of the bridge: the given one, or one that is written now."""
    if bridge != 'auto' and not bridge.endswith('.qa.yaml'):
        return Path(bridge).resolve()
    spec = None if bridge == 'auto' else load_spec(Path(bridge)).spec
    file = Path(launch_config.log_dir) / 'bridge.yaml'
    topics = gazebo_bridge.bridged_topics(spec, world)
    file.write_text(gazebo_bridge.configuration(topics))
    return file


def _process(name, command, environment=None):
    return ExecuteProcess(
        name=name, cmd=list(command), additional_env=environment or {}, output='screen',
        on_exit=Shutdown())
