"""Stands in for ros_gz_bridge's parameter_bridge where it cannot be had.

It takes the same arguments and reads the same file; what it cannot bridge ends it.
"""

from __future__ import annotations

import os
import sys
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import rclpy
import yaml
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Pose, TransformStamped, Twist
from gz.msgs10 import (
    clock_pb2,
    image_pb2,
    imu_pb2,
    laserscan_pb2,
    model_pb2,
    odometry_pb2,
    pose_v_pb2,
    twist_pb2,
)
from gz.transport13 import Node as GazeboNode
from nav_msgs.msg import Odometry
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, Imu, JointState, LaserScan
from tf2_msgs.msg import TFMessage

ENCODINGS = {1: 'mono8', 3: 'rgb8', 8: 'bgr8', 13: '32FC1'}


def clock(message: Any) -> Clock:
    return Clock(clock=time_of(message.sim))


def odometry(message: Any) -> Odometry:
    found = Odometry()
    fill(found.header, message.header)
    found.child_frame_id = told(message.header, 'child_frame_id')
    fill_pose(found.pose.pose, message.pose)
    copy(message.twist.linear, found.twist.twist.linear)
    copy(message.twist.angular, found.twist.twist.angular)
    return found


def scan(message: Any) -> LaserScan:
    found = LaserScan(
        angle_min=message.angle_min, angle_max=message.angle_max,
        angle_increment=message.angle_step, range_min=message.range_min,
        range_max=message.range_max, ranges=array('f', message.ranges),
        intensities=array('f', message.intensities))
    fill(found.header, message.header)
    return found


def imu(message: Any) -> Imu:
    found = Imu()
    fill(found.header, message.header)
    copy(message.orientation, found.orientation, 'xyzw')
    copy(message.angular_velocity, found.angular_velocity)
    copy(message.linear_acceleration, found.linear_acceleration)
    return found


def image(message: Any) -> Image:
    found = Image(
        height=message.height, width=message.width, step=message.step,
        encoding=ENCODINGS[message.pixel_format_type], data=array('B', message.data))
    fill(found.header, message.header)
    return found


def joints(message: Any) -> JointState:
    found = JointState(
        name=[one.name for one in message.joint],
        position=[one.axis1.position for one in message.joint],
        velocity=[one.axis1.velocity for one in message.joint],
        effort=[one.axis1.force for one in message.joint])
    fill(found.header, message.header)
    return found


def transforms(message: Any) -> TFMessage:
    found = TFMessage()
    for pose in message.pose:
        one = TransformStamped(child_frame_id=told(pose.header, 'child_frame_id') or pose.name)
        fill(one.header, pose.header)
        copy(pose.position, one.transform.translation)
        copy(pose.orientation, one.transform.rotation, 'xyzw')
        found.transforms.append(one)
    return found


def command(message: Twist) -> Any:
    found = twist_pb2.Twist()
    copy(message.linear, found.linear)
    copy(message.angular, found.angular)
    return found


def copy(source: Any, target: Any, axes: str = 'xyz') -> None:
    for axis in axes:
        setattr(target, axis, getattr(source, axis))


def fill_pose(found: Pose, pose: Any) -> None:
    copy(pose.position, found.position)
    copy(pose.orientation, found.orientation, 'xyzw')


def fill(found: Any, header: Any) -> None:
    found.stamp = time_of(header.stamp)
    found.frame_id = told(header, 'frame_id')


def time_of(stamp: Any) -> Time:
    return Time(sec=stamp.sec, nanosec=stamp.nsec)


def told(header: Any, key: str) -> str:
    """Return a value from the map that headers of Gazebo have; '' if it is not there."""
    return next((str(one.value[0]) for one in header.data if one.key == key), '')


TO_ROS: dict[str, tuple[Any, Any, Callable[[Any], Any]]] = {
    'gz.msgs.Clock': (clock_pb2.Clock, Clock, clock),
    'gz.msgs.Odometry': (odometry_pb2.Odometry, Odometry, odometry),
    'gz.msgs.LaserScan': (laserscan_pb2.LaserScan, LaserScan, scan),
    'gz.msgs.IMU': (imu_pb2.IMU, Imu, imu),
    'gz.msgs.Image': (image_pb2.Image, Image, image),
    'gz.msgs.Model': (model_pb2.Model, JointState, joints),
    'gz.msgs.Pose_V': (pose_v_pb2.Pose_V, TFMessage, transforms),
}
TO_GAZEBO: dict[str, tuple[Any, Any, Callable[[Any], Any]]] = {
    'gz.msgs.Twist': (twist_pb2.Twist, Twist, command),
}


def bridge(node: Any, gazebo: Any, topic: dict[str, str]) -> None:
    """Carry one topic over."""
    name, inner_name, kind = (
        topic[key] for key in ('ros_topic_name', 'gz_topic_name', 'gz_type_name'))
    if topic['direction'] == 'GZ_TO_ROS':
        inner, outer, translate = TO_ROS[kind]
        publisher = node.create_publisher(outer, name, 10)
        assert gazebo.subscribe(
            inner, inner_name, lambda message: publisher.publish(translate(message)))
        return
    inner, outer, translate = TO_GAZEBO[kind]
    advertised = gazebo.advertise(inner_name, inner)
    node.create_subscription(
        outer, name, lambda message: advertised.publish(translate(message)), 10)


def main() -> None:
    marker, file = sys.argv[1:3] == ['--ros-args', '-p'], sys.argv[3].removeprefix('config_file:=')
    assert marker, sys.argv
    rclpy.init()
    node = rclpy.create_node('ros_gz_bridge')
    gazebo = GazeboNode()
    for topic in yaml.safe_load(Path(file).read_text()):
        bridge(node, gazebo, topic)
    try:
        rclpy.spin(node)
    except KeyboardInterrupt:
        os._exit(0)


main()
