"""A small patrol: drives a robot with odometry from waypoint to waypoint, round and round.

    python -m robot_qa.examples.patrol --waypoints "2,0 2,2 0,2 0,0"

It takes ``/odom`` and ``/scan`` and publishes ``/cmd_vel``. It stops in front of obstacles.
``/patrol/status`` says which waypoint is next, ``/patrol/pause`` stops it and lets it go on.
"""

from __future__ import annotations

import argparse
import math
import sys

import numpy as np
import rclpy
from geometry_msgs.msg import Twist
from nav_msgs.msg import Odometry
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import LaserScan
from std_srvs.srv import SetBool, Trigger

from robot_qa.stopping import stop_on_signals

SPEED, TURN = 0.5, 1.2  # m/s, rad/s
REACHED = 0.2  # m
# Nothing may be this near (m) in the sector ahead (rad to each side).
KEEP_OFF, AHEAD = 0.45, 0.4


class Patrol(Node):  # type: ignore[misc]
    """Turns towards the next waypoint and drives there."""

    def __init__(self, waypoints: list[tuple[float, float]]) -> None:
        super().__init__('patrol')
        self._waypoints = waypoints
        self._next = 0
        self._rounds = 0
        self._paused = self._blocked = False
        self._command = self.create_publisher(Twist, 'cmd_vel', 10)
        self.create_subscription(Odometry, 'odom', self._drive, 10)
        self.create_subscription(LaserScan, 'scan', self._look, qos_profile_sensor_data)
        self.create_service(Trigger, '~/status', self._status)
        self.create_service(SetBool, '~/pause', self._pause)

    def _look(self, scan: LaserScan) -> None:
        angles = scan.angle_min + scan.angle_increment * np.arange(len(scan.ranges))
        ahead = np.asarray(scan.ranges)[np.abs(angles) < AHEAD]
        self._blocked = bool((ahead[np.isfinite(ahead)] < KEEP_OFF).any())

    def _drive(self, odometry: Odometry) -> None:
        """Follow the straight line: turn first, then drive, slower the more there is to turn."""
        position, q = odometry.pose.pose.position, odometry.pose.pose.orientation
        x, y = self._waypoints[self._next]
        if math.hypot(x - position.x, y - position.y) < REACHED:
            self._next = (self._next + 1) % len(self._waypoints)
            self._rounds += self._next == 0
            x, y = self._waypoints[self._next]
        heading = math.atan2(2.0 * (q.w * q.z + q.x * q.y), 1.0 - 2.0 * (q.y**2 + q.z**2))
        error = math.remainder(math.atan2(y - position.y, x - position.x) - heading, math.tau)
        command = Twist()
        if not self._paused:
            command.angular.z = max(-TURN, min(TURN, 2.0 * error))
            if abs(error) < 0.6 and not self._blocked:
                command.linear.x = SPEED * math.cos(1.5 * error)
        self._command.publish(command)

    def _status(self, _: Trigger.Request, answer: Trigger.Response) -> Trigger.Response:
        answer.success = not self._blocked
        answer.message = (f'waypoint {self._next + 1} of {len(self._waypoints)}, '
                          f'round {self._rounds + 1}')
        return answer

    def _pause(self, request: SetBool.Request, answer: SetBool.Response) -> SetBool.Response:
        self._paused = request.data
        answer.success = True
        return answer


def waypoint(text: str) -> tuple[float, float]:
    """Read ``x,y`` in metres."""
    x, y = text.split(',')
    return float(x), float(y)


def main(arguments: list[str] | None = None) -> int:
    """Patrol until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--waypoints', required=True, metavar='"X,Y X,Y ..."',
                        help='in the frame of the odometry, in m')
    given, _ = parser.parse_known_args(arguments)
    try:
        waypoints = [waypoint(text) for text in given.waypoints.split()]
    except ValueError:
        parser.error(f'"{given.waypoints}" is no list of waypoints such as "2,0 2,2"')
    stop = stop_on_signals()
    rclpy.init(args=arguments or sys.argv, signal_handler_options=rclpy.SignalHandlerOptions.NO)
    patrol = Patrol(waypoints)
    while not stop.is_set():
        rclpy.spin_once(patrol, timeout_sec=0.1)
    patrol.destroy_node()
    rclpy.try_shutdown()
    return 0


if __name__ == '__main__':
    sys.exit(main())
