"""What ros_gz_bridge has to bring to ROS for a spec, and how it is started.

https://github.com/gazebosim/ros_gz: parameter_bridge reads a list of topics from a YAML file.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import yaml

from robot_qa.errors import SetupError
from robot_qa.spec.model import TestSpec

PACKAGE = 'ros_gz_bridge'
PROGRAM = 'parameter_bridge'
TO_ROS, TO_GAZEBO = 'GZ_TO_ROS', 'ROS_TO_GZ'
CLOCK = 'rosgraph_msgs/msg/Clock'
TF = 'tf2_msgs/msg/TFMessage'
TRUE_POSES = '/ground_truth/poses'
# What the bridge makes of the types of Gazebo: the table in its README, without what specs never
# watch. Where it takes two, the one that the sensors and systems of gz-sim publish.
TYPES = {
    'builtin_interfaces/msg/Time': 'Time', 'geometry_msgs/msg/Point': 'Vector3d',
    'geometry_msgs/msg/Pose': 'Pose', 'geometry_msgs/msg/PoseArray': 'Pose_V',
    'geometry_msgs/msg/PoseStamped': 'Pose',
    'geometry_msgs/msg/PoseWithCovariance': 'PoseWithCovariance',
    'geometry_msgs/msg/PoseWithCovarianceStamped': 'PoseWithCovariance',
    'geometry_msgs/msg/Quaternion': 'Quaternion', 'geometry_msgs/msg/Transform': 'Pose',
    'geometry_msgs/msg/TransformStamped': 'Pose', 'geometry_msgs/msg/Twist': 'Twist',
    'geometry_msgs/msg/TwistStamped': 'Twist',
    'geometry_msgs/msg/TwistWithCovariance': 'TwistWithCovariance',
    'geometry_msgs/msg/TwistWithCovarianceStamped': 'TwistWithCovariance',
    'geometry_msgs/msg/Vector3': 'Vector3d', 'geometry_msgs/msg/Wrench': 'Wrench',
    'geometry_msgs/msg/WrenchStamped': 'Wrench', 'nav_msgs/msg/Odometry': 'Odometry',
    'ros_gz_interfaces/msg/Altimeter': 'Altimeter', 'ros_gz_interfaces/msg/Contact': 'Contact',
    'ros_gz_interfaces/msg/Contacts': 'Contacts',
    'ros_gz_interfaces/msg/JointWrench': 'JointWrench', CLOCK: 'Clock',
    'sensor_msgs/msg/BatteryState': 'BatteryState', 'sensor_msgs/msg/CameraInfo': 'CameraInfo',
    'sensor_msgs/msg/FluidPressure': 'FluidPressure', 'sensor_msgs/msg/Image': 'Image',
    'sensor_msgs/msg/Imu': 'IMU', 'sensor_msgs/msg/JointState': 'Model',
    'sensor_msgs/msg/LaserScan': 'LaserScan', 'sensor_msgs/msg/MagneticField': 'Magnetometer',
    'sensor_msgs/msg/NavSatFix': 'NavSat', 'sensor_msgs/msg/PointCloud2': 'PointCloudPacked',
    'std_msgs/msg/Bool': 'Boolean', 'std_msgs/msg/Empty': 'Empty', 'std_msgs/msg/Float32': 'Float',
    'std_msgs/msg/Float64': 'Double', 'std_msgs/msg/Int32': 'Int32',
    'std_msgs/msg/String': 'StringMsg', 'std_msgs/msg/UInt32': 'UInt32', TF: 'Pose_V',
    'trajectory_msgs/msg/JointTrajectory': 'JointTrajectory',
    'vision_msgs/msg/Detection2D': 'AnnotatedAxisAligned2DBox',
    'vision_msgs/msg/Detection2DArray': 'AnnotatedAxisAligned2DBox_V',
    'vision_msgs/msg/Detection3D': 'AnnotatedOriented3DBox',
    'vision_msgs/msg/Detection3DArray': 'AnnotatedOriented3DBox_V',
}
# What a simulated robot is told, not what it tells.
COMMANDS = {
    'geometry_msgs/msg/Twist', 'geometry_msgs/msg/TwistStamped',
    'trajectory_msgs/msg/JointTrajectory',
}


@dataclass(frozen=True)
class Bridged:
    """One topic, as parameter_bridge reads it."""

    ros_topic_name: str
    gz_topic_name: str
    ros_type_name: str
    gz_type_name: str
    direction: str


def bridged_topics(spec: TestSpec | None, world: str) -> list[Bridged]:
    """Return what to bridge: /clock and what the spec watches with a type, commands into Gazebo.

    ``world`` is the name of the world. The true poses come from its ``pose/info``; all other
    topics have one name on both sides. Without a spec, these poses and /clock.
    """
    watched: dict[str, str | None] = {TRUE_POSES: TF}
    sent: dict[str, str] = {}
    if spec is not None:
        watched = {name: topic.type for name, topic in spec.topics.items()}
        sent = {step.publish.topic: step.publish.type
                for step in spec.scenario if step.publish is not None}
        if spec.tf is not None:
            watched.setdefault('/tf', TF)
    found = [_bridged('/clock', CLOCK, TO_ROS, f'/world/{world}/clock')]
    for name, kind in sorted({**watched, **sent}.items()):
        if kind is None or kind not in TYPES or name == '/clock':
            continue
        into = name in sent or kind in COMMANDS
        inner = f'/world/{world}/pose/info' if name == TRUE_POSES else name
        found.append(_bridged(name, kind, TO_GAZEBO if into else TO_ROS, inner))
    return found


def _bridged(topic: str, kind: str, direction: str, inner: str) -> Bridged:
    return Bridged(topic, inner, kind, f'gz.msgs.{TYPES[kind]}', direction)


def configuration(topics: Iterable[Bridged]) -> str:
    """Return the YAML that parameter_bridge reads."""
    return yaml.safe_dump([asdict(topic) for topic in topics], sort_keys=False)


def bridge_program(env: Mapping[str, str]) -> Path:
    """Return the program of the bridge; ``SetupError`` where its package is not installed.

    The package is searched as ``ros2 run`` does it, in the prefixes of ``AMENT_PREFIX_PATH``.
    """
    for prefix in filter(None, env.get('AMENT_PREFIX_PATH', '').split(os.pathsep)):
        program = Path(prefix) / 'lib' / PACKAGE / PROGRAM
        if program.is_file():
            return program
    raise SetupError(
        f'backend: gazebo needs the ROS package {PACKAGE} (ros-{env.get("ROS_DISTRO", "DISTRO")}-'
        'ros-gz-bridge) to bring /clock and sensors to ROS, and no prefix of AMENT_PREFIX_PATH '
        'has it; install it and source its workspace, or set bridge: none and bridge by yourself')


def bridge_command(program: Path, file: Path) -> tuple[str, ...]:
    """Return what starts the bridge with a configuration file."""
    return (str(program), '--ros-args', '-p', f'config_file:={file}')
