"""Drives in a circle: scans 10 Hz, odometry 20 Hz, and a service that tells how it is."""

import math

import rclpy
from nav_msgs.msg import Odometry
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from sensor_msgs.msg import LaserScan
from std_srvs.srv import Trigger

RADIUS, SPEED = 1.0, 0.5


class Patrol(Node):
    """The robot."""

    def __init__(self):
        super().__init__('patrol')
        self._range = self.declare_parameter('range', 3.0)
        self._scans = self.create_publisher(LaserScan, '/scan', 10)
        self._odometry = self.create_publisher(Odometry, '/odom', 10)
        self.create_service(Trigger, '/patrol/status', self._on_status)
        self.create_timer(0.1, self._publish_scan)
        self.create_timer(0.05, self._publish_odometry)
        self._travelled = 0.0

    def _publish_scan(self):
        scan = LaserScan(
            angle_min=-math.pi, angle_max=math.pi, angle_increment=math.radians(1),
            range_min=0.1, range_max=12.0,
        )
        scan.header.stamp = self.get_clock().now().to_msg()
        scan.header.frame_id = 'lidar_link'
        scan.ranges = [float(self.get_parameter('range').value)] * 360
        self._scans.publish(scan)

    def _publish_odometry(self):
        self._travelled += 0.05 * SPEED
        angle = self._travelled / RADIUS
        message = Odometry()
        message.header.stamp = self.get_clock().now().to_msg()
        message.header.frame_id, message.child_frame_id = 'odom', 'base_link'
        message.pose.pose.position.x = RADIUS * math.sin(angle)
        message.pose.pose.position.y = RADIUS * (1 - math.cos(angle))
        message.pose.pose.orientation.z = math.sin(angle / 2)
        message.pose.pose.orientation.w = math.cos(angle / 2)
        message.twist.twist.linear.x = SPEED
        self._odometry.publish(message)

    def _on_status(self, request, response):
        response.success, response.message = True, f'{self._travelled:.1f} m travelled'
        return response


def main():
    """Run until it is stopped."""
    rclpy.init()
    try:
        rclpy.spin(Patrol())
    except (KeyboardInterrupt, ExternalShutdownException):
        pass


if __name__ == '__main__':
    main()
