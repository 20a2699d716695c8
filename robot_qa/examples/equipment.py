"""What the example robot has besides sensors: a driver, a service, an action, transforms, a voice.

All of it is slow; the sensors, which have to be on time, are in ``robot.py``.
"""

from __future__ import annotations

import math
import signal
import subprocess
import sys
import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import TransformStamped
from nav_msgs.msg import Odometry
from rclpy.action import ActionServer, GoalResponse
from rclpy.executors import Executor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from std_srvs.srv import Trigger
from tf2_msgs.action import LookupTransform
from tf2_msgs.msg import TFMessage

FAULT_AFTER_S = 2.0
# Longer than the graph takes to forget a node.
AWAY_S = 2.0
LIDAR_HEIGHT = 0.3


class Driver:
    """The process of the lidar's driver."""

    def __init__(self, *arguments: str) -> None:
        self._command = [sys.executable, '-m', 'robot_qa.examples.driver', *arguments]
        self._process = subprocess.Popen(self._command)
        self.is_leaving = False
        """Whether it was told to leave, and has not been brought up since."""

    def bring_up(self) -> bool:
        """Start it anew once it has left the graph; return whether it had."""
        if self._process.poll() is None:
            return False
        self._process = subprocess.Popen(self._command)
        self.is_leaving = False
        return True

    def leave(self) -> None:
        """Tell it to leave the graph, which takes it a while."""
        self._process.send_signal(signal.SIGINT)
        self.is_leaving = True

    def stop(self) -> None:
        """Let it leave the graph, and wait until it has."""
        self.leave()
        try:
            self._process.wait(timeout=2.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Equipment:
    """Services, actions, transforms, diagnostics and logs of the robot's node."""

    def __init__(self, node: Node, executor: Executor, fault: str) -> None:
        self._node = node
        self._executor = executor
        self._fault = fault
        # None until the first call of /reset: before it nobody may be watching yet.
        self._due: float | None = None
        self._beats = 0
        self._others: list[Node] = []
        deactivates = fault == 'inactive_driver'
        self.driver = Driver(*(['--deactivate-after', '4'] if deactivates else []))
        latched = QoSProfile(
            depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL,
            reliability=ReliabilityPolicy.RELIABLE,
        )
        self._transforms = node.create_publisher(TFMessage, '/tf', 100)
        self._static = node.create_publisher(TFMessage, '/tf_static', latched)
        self._diagnostics = node.create_publisher(DiagnosticArray, '/diagnostics', 10)
        # A service on a node that nobody spins is there and never answers.
        server = Node('mute') if fault == 'silent_service' else node
        self._service = server.create_service(Trigger, '/reset', self._reset)
        if server is not node:
            self._others.append(server)
        self._action = ActionServer(
            node, LookupTransform, '/dock', execute_callback=self._dock,
            goal_callback=self._accept,
        )
        self._mount()
        if fault == 'doubled_node':
            self._add(Node('robot'))
        if fault == 'picky_viewer':
            viewer = Node('viewer')
            viewer.create_subscription(Odometry, '/odom', lambda _: None, 10)
            self._add(viewer)
        node.create_timer(1.0, self._beat)
        node.create_timer(0.1, self._misbehave)

    def move(self, odometry: Odometry) -> None:
        """Publish the transform that belongs to an odometry message."""
        transform = TransformStamped()
        transform.header = odometry.header
        transform.child_frame_id = 'base_link'
        position = odometry.pose.pose.position
        transform.transform.translation.x = min(position.x, 3.0)
        transform.transform.translation.y = position.y
        transform.transform.rotation = odometry.pose.pose.orientation
        transforms = [transform]
        if self._fault == 'second_parent':
            other = TransformStamped()
            other.header.stamp = odometry.header.stamp
            other.header.frame_id = 'map'
            other.child_frame_id = 'base_link'
            other.transform.rotation.w = 1.0
            transforms.append(other)
        self._transforms.publish(TFMessage(transforms=transforms))

    def close(self) -> None:
        """Leave the graph."""
        self.driver.stop()
        for other in self._others:
            other.destroy_node()
        self._action.destroy()

    def _add(self, node: Node) -> None:
        self._others.append(node)
        self._executor.add_node(node)

    def _mount(self) -> None:
        mounts = []
        lidar = LIDAR_HEIGHT + (0.5 if self._fault == 'shifted_lidar' else 0.0)
        for child, height in (('lidar_link', lidar), ('imu_link', 0.1)):
            mount = TransformStamped()
            mount.header.stamp = self._node.get_clock().now().to_msg()
            mount.header.frame_id, mount.child_frame_id = 'base_link', child
            mount.transform.translation.z = height
            mount.transform.rotation.w = 1.0
            mounts.append(mount)
        self._static.publish(TFMessage(transforms=mounts))

    def _misbehave(self) -> None:
        """Let the faults of the driver happen, once, when their time has come."""
        if self._due is None or time.monotonic() < self._due:
            return
        self._due = math.inf
        if self._fault not in ('lost_driver', 'restarted_driver'):
            return
        if self.driver.is_leaving:
            if not self.driver.bring_up():
                self._due = time.monotonic()
            return
        self.driver.leave()
        if self._fault == 'restarted_driver':
            self._due = time.monotonic() + AWAY_S

    def _beat(self) -> None:
        self._beats += 1
        sick = self._fault == 'sick_diagnostics'
        status = DiagnosticStatus(
            name='motor', level=DiagnosticStatus.ERROR if sick else DiagnosticStatus.OK,
            message='overheated' if sick else 'fine', hardware_id='motor-1',
        )
        array = DiagnosticArray(status=[status])
        array.header.stamp = self._node.get_clock().now().to_msg()
        self._diagnostics.publish(array)
        if self._fault == 'angry_log':
            self._node.get_logger().error('something is very wrong')
        elif self._beats % 3 == 1:
            self._node.get_logger().info('all is well')

    def _reset(self, _: Any, response: Trigger.Response) -> Trigger.Response:
        if self._due is None:
            self._due = time.monotonic() + FAULT_AFTER_S
        if self._fault == 'slow_service':
            time.sleep(0.5)
        response.success = self._fault != 'failing_service'
        response.message = 'odometry reset' if response.success else 'the motor is busy'
        return response

    def _accept(self, _: Any) -> GoalResponse:
        rejects = self._fault == 'rejecting_action'
        return GoalResponse.REJECT if rejects else GoalResponse.ACCEPT

    def _dock(self, goal: Any) -> LookupTransform.Result:
        result = LookupTransform.Result()
        result.transform.header.frame_id = goal.request.target_frame
        result.transform.child_frame_id = goal.request.source_frame
        if self._fault == 'aborting_action':
            goal.abort()
        else:
            goal.succeed()
        return result
