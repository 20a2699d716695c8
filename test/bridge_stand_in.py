"""Stands in for ros_gz_bridge's parameter_bridge where it cannot be had: /clock and odometry only.

It takes the same arguments and reads the same file; what it cannot bridge ends it.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Any

import rclpy
import yaml
from gz.msgs10.clock_pb2 import Clock as GazeboClock
from gz.msgs10.odometry_pb2 import Odometry as GazeboOdometry
from gz.transport13 import Node as GazeboNode
from nav_msgs.msg import Odometry
from rosgraph_msgs.msg import Clock


def main() -> None:
    marker, file = sys.argv[1:3] == ['--ros-args', '-p'], sys.argv[3].removeprefix('config_file:=')
    assert marker, sys.argv
    rclpy.init()
    node = rclpy.create_node('ros_gz_bridge')
    gazebo = GazeboNode()

    def odometry(message: Any) -> Odometry:
        found = Odometry()
        found.header.frame_id, found.child_frame_id = 'odom', 'base_link'
        found.header.stamp.sec = message.header.stamp.sec
        found.header.stamp.nanosec = message.header.stamp.nsec
        found.pose.pose.position.x = message.pose.position.x
        found.pose.pose.position.z = message.pose.position.z
        found.pose.pose.orientation.w = message.pose.orientation.w
        return found

    def clock(message: Any) -> Clock:
        found = Clock()
        found.clock.sec, found.clock.nanosec = message.sim.sec, message.sim.nsec
        return found

    known = {'gz.msgs.Clock': (GazeboClock, Clock, clock),
             'gz.msgs.Odometry': (GazeboOdometry, Odometry, odometry)}
    for topic in yaml.safe_load(Path(file).read_text()):
        assert topic['direction'] == 'GZ_TO_ROS', topic
        inner, outer, translate = known[topic['gz_type_name']]
        publisher = node.create_publisher(outer, topic['ros_topic_name'], 10)

        def bridge(message: Any, publisher: Any = publisher, translate: Any = translate) -> None:
            publisher.publish(translate(message))

        assert gazebo.subscribe(inner, topic['gz_topic_name'], bridge)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        os._exit(0)


main()
