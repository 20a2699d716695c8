"""A small robot to try a spec on: lidar 10 Hz, IMU 200 Hz, odometry 50 Hz, battery 2 Hz.

It is sound until a fault of its catalogue is switched on: ``--fault stale_scan`` at the start, or
for the faults of sensors also the parameter ``fault`` while it runs.
"""

from __future__ import annotations

import argparse
import array
import math
import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import rclpy
from nav_msgs.msg import Odometry
from rcl_interfaces.msg import ParameterDescriptor, SetParametersResult
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.time import Time
from sensor_msgs.msg import BatteryState, Imu, LaserScan
from std_msgs.msg import Bool

from robot_qa.errors import did_you_mean
from robot_qa.examples.equipment import Equipment
from robot_qa.examples.faults import FAULTS
from robot_qa.stopping import stop_on_signals

NS_PER_S = 1_000_000_000
BEAMS = 360
# A flow controller holds messages back after their source timestamp was taken: a real delay
# between sending and arriving. With a history of one, what waits is replaced: a real loss.
LINK_PROFILE = """<?xml version="1.0"?>
<dds xmlns="http://www.eprosima.com"><profiles>
  <participant profile_name="robot" is_default_profile="true"><rtps>
    <flow_controller_descriptor_list><flow_controller_descriptor>
      <name>link</name><scheduler>FIFO</scheduler>
      <max_bytes_per_period>{bytes}</max_bytes_per_period><period_ms>{period}</period_ms>
    </flow_controller_descriptor></flow_controller_descriptor_list>
  </rtps></participant>
  {writers}
</profiles></dds>
"""
LINK_WRITER = """<data_writer profile_name="{topic}"><qos><publishMode>
    <kind>ASYNCHRONOUS</kind><flow_controller_name>link</flow_controller_name>
  </publishMode></qos></data_writer>"""
# Fault: the topics that share the link, its bytes per period, its period in ms.
LINKS = {
    'lossy_odom': (('/odom',), 1100, 8),
}


class Robot(Node):  # type: ignore[misc]
    """Publishes its sensors, drives in a circle and stops at an emergency stop."""

    def __init__(self, fault: str, executor: SingleThreadedExecutor) -> None:
        super().__init__('robot')
        self.fault = fault
        self.equipment = Equipment(self, executor, fault)
        text = '; '.join(f'{name}: {what}' for name, what in FAULTS.items())
        self.declare_parameter('fault', fault, ParameterDescriptor(description=text[:4000]))
        self.declare_parameter('max_speed', 2.0 if fault == 'speeding' else 0.5)
        self.add_on_set_parameters_callback(self._on_parameters)
        newest = QoSProfile(depth=2, reliability=ReliabilityPolicy.BEST_EFFORT)
        self._scans = self.create_publisher(LaserScan, '/scan', 10)
        self._imus = self.create_publisher(Imu, '/imu', 100)
        self._odometry = self.create_publisher(Odometry, '/odom', newest)
        self._batteries = self.create_publisher(BatteryState, '/battery', 5)
        self._stops = self.create_publisher(Bool, '/emergency_stop', 5)
        self._counts = {'scan': 0, 'imu': 0, 'odom': 0, 'battery': 0, 'stop': 0}
        self._random = random.Random(7)
        self._last_stamp = 0
        self._angle = 0.0
        self._moved = self._stopped = time.monotonic()

    def _on_parameters(self, parameters: list[Parameter]) -> SetParametersResult:
        for parameter in parameters:
            if parameter.name == 'fault':
                if parameter.value not in FAULTS:
                    return SetParametersResult(successful=False, reason='no such fault')
                self.fault = str(parameter.value)
        return SetParametersResult(successful=True)

    def run(self, alive: Callable[[], bool]) -> None:
        """Publish on schedule until ``alive`` says no."""
        tasks: dict[str, tuple[Callable[[], None], Callable[[], float]]] = {
            'scan': (self._publish_scan, self._scan_period),
            'imu': (self._publish_imu, lambda: 1 / 200),
            'odom': (self._publish_odometry, lambda: 1 / 50),
            'battery': (
                self._publish_battery, lambda: 2.0 if self.fault == 'sparse_battery' else 0.5
            ),
            'stop': (self._publish_stop, lambda: 0.5),
        }
        due = dict.fromkeys(tasks, time.monotonic())
        offset = 0.0
        while alive():
            name = min(due, key=lambda task: due[task])
            wait = due[name] - time.monotonic()
            if wait > 0:
                time.sleep(min(wait, 0.1))
                continue
            publish, period = tasks[name]
            publish()
            self._counts[name] += 1
            # What was missed on a busy machine is not made up for: no sensor does.
            due[name] = max(due[name] + period(), time.monotonic())
            if name == 'scan' and self.fault == 'jittery_scan':
                due[name] -= offset
                offset = self._random.uniform(-0.06, 0.06)
                due[name] += offset

    def _scan_period(self) -> float:
        if self.fault == 'stalled_scan' and self._counts['scan'] % 45 == 15:
            return 0.7
        return {'slow_scan': 1 / 6, 'fast_scan': 1 / 14}.get(self.fault, 0.1)

    def _stamp(self) -> Any:
        return self.get_clock().now().to_msg()

    def _publish_scan(self) -> None:
        fault, fifth = self.fault, self._counts['scan'] % 5 == 2
        message = LaserScan()
        now = self.get_clock().now().nanoseconds
        if fault == 'stale_scan':
            now -= 4 * NS_PER_S // 10
        if fault == 'stuck_stamp_scan' and self._counts['scan'] % 10 == 5:
            now = self._last_stamp
        self._last_stamp = now
        message.header.stamp = Time(nanoseconds=now).to_msg()
        message.header.frame_id = 'laser' if fault == 'wrong_frame_scan' else 'lidar_link'
        message.angle_min, message.angle_max = -math.pi, math.pi
        message.angle_increment = 2 * math.pi / BEAMS
        message.scan_time = 0.1
        message.range_min, message.range_max = 0.05, 30.0
        ranges = array.array('f', _ROOM)
        if fifth:
            odd = {'nan_scan': math.nan, 'close_scan': 0.01, 'far_scan': 99.0}
            if fault in odd:
                ranges[17] = odd[fault]
            if fault == 'cropped_scan':
                ranges = ranges[:BEAMS // 2]
        message.ranges = ranges
        self._scans.publish(message)

    def _publish_imu(self) -> None:
        message = Imu()
        message.header.stamp = self._stamp()
        message.header.frame_id = 'imu_link'
        message.orientation.w = 1.2 if self.fault == 'loose_imu' else 1.0
        noise = self._random.gauss(0.0, 0.02)
        message.angular_velocity.z = 0.2 + noise
        bias = 2.0 if self.fault == 'biased_imu' else 0.0
        message.linear_acceleration.z = 9.81 + noise + bias
        self._imus.publish(message)

    def _publish_odometry(self) -> None:
        if self.fault == 'lossy_odom' and self._counts['odom'] % 50 == 25:
            # More than the link and the queue of two can hold: what waits is replaced.
            for _ in range(3):
                with suppress(rclpy_implementation.RCLError):
                    self._odometry.publish(self._odometry_now())
        message = self._odometry_now()
        # The link of lossy_odom may refuse a message, which is then lost as well.
        with suppress(rclpy_implementation.RCLError):
            self._odometry.publish(message)
        if self.fault != 'late_tf' or self._counts['odom'] % 150 > 35:
            self.equipment.move(message)

    def _odometry_now(self) -> Odometry:
        message = Odometry()
        message.header.stamp = self._stamp()
        message.header.frame_id = 'odom'
        message.child_frame_id = 'base' if self.fault == 'misnamed_odom' else 'base_link'
        speed = self._speed()
        now = time.monotonic()
        self._angle += speed / 2.0 * (now - self._moved)
        self._moved = now
        angle = self._angle
        message.pose.pose.position.x = 2.0 * math.sin(angle)
        message.pose.pose.position.y = 2.0 - 2.0 * math.cos(angle)
        message.pose.pose.orientation.z = math.sin(angle / 2)
        message.pose.pose.orientation.w = math.cos(angle / 2)
        if self.fault == 'runaway_odom' and self._counts['odom'] % 100 == 60:
            message.pose.pose.position.x = 500.0
        message.twist.twist.linear.x, message.twist.twist.angular.z = speed, speed / 2.0
        return message

    def _speed(self) -> float:
        """Return the speed in m/s: none from shortly after an emergency stop until its end."""
        since = time.monotonic() - self._stopped
        reaction = 1.0 if self.fault == 'late_brake' else 0.1
        return 0.0 if self._stopping() and since > reaction else 0.4

    def _stopping(self) -> bool:
        return self._counts['stop'] % 8 in (4, 5, 6, 7)

    def _publish_stop(self) -> None:
        pressed = (self._counts['stop'] + 1) % 8 in (4, 5, 6, 7)
        if pressed and not self._stopping():
            self._stopped = time.monotonic()
        self._stops.publish(Bool(data=pressed))

    def _publish_battery(self) -> None:
        message = BatteryState()
        message.header.stamp = self._stamp()
        message.voltage, message.percentage = 24.3, 0.8
        message.power_supply_status = (
            BatteryState.POWER_SUPPLY_STATUS_UNKNOWN if self.fault == 'unknown_battery'
            else BatteryState.POWER_SUPPLY_STATUS_DISCHARGING
        )
        self._batteries.publish(message)


def _room() -> list[float]:
    """Return the distances to the walls of a room of 8 by 6 m, seen from its middle."""
    distances = []
    for beam in range(BEAMS):
        angle = -math.pi + beam * 2 * math.pi / BEAMS
        across, along = abs(math.cos(angle)), abs(math.sin(angle))
        distances.append(min(4.0 / max(across, 1e-9), 3.0 / max(along, 1e-9)))
    return distances


_ROOM = _room()


def _slow_link(fault: str, folder: str) -> None:
    """Make the middleware of this process hold messages back, before it starts."""
    profile = Path(folder) / 'link.xml'
    topics, size, period = LINKS[fault]
    writers = ''.join(LINK_WRITER.format(topic=topic) for topic in topics)
    profile.write_text(LINK_PROFILE.format(bytes=size, period=period, writers=writers))
    # Jazzy's middleware knows only the first name, Kilted's prefers the second.
    os.environ['FASTRTPS_DEFAULT_PROFILES_FILE'] = str(profile)
    os.environ['FASTDDS_DEFAULT_PROFILES_FILE'] = str(profile)
    os.environ['RMW_FASTRTPS_PUBLICATION_MODE'] = 'AUTO'


def main(arguments: list[str] | None = None) -> int:
    """Run the robot until it is interrupted."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--fault', default='none', metavar='NAME')
    parser.add_argument('--list', action='store_true', help='print the catalogue of faults')
    given, _ = parser.parse_known_args(arguments)
    if given.list:
        print('\n'.join(f'{name:18} {what}' for name, what in FAULTS.items()))
        return 0
    if given.fault not in FAULTS:
        hint = did_you_mean(given.fault, FAULTS)
        print(f'unknown fault "{given.fault}"{hint} (--list shows them all)', file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        if given.fault in LINKS:
            _slow_link(given.fault, folder)
        return _run(given.fault)


def _run(fault: str) -> int:
    rclpy.init(signal_handler_options=rclpy.SignalHandlerOptions.NO)
    stop = stop_on_signals()
    executor = SingleThreadedExecutor()
    robot = Robot(fault, executor)
    executor.add_node(robot)
    spinner = threading.Thread(target=_spin, args=(executor,), daemon=True)
    spinner.start()
    robot.run(lambda: not stop.is_set())
    executor.shutdown()
    spinner.join(timeout=2.0)
    robot.equipment.close()
    robot.destroy_node()
    rclpy.try_shutdown()
    return 0


def _spin(executor: SingleThreadedExecutor) -> None:
    try:
        executor.spin()
    except ExternalShutdownException:
        return


if __name__ == '__main__':
    sys.exit(main())
