"""The driver of the example robot's lidar: a lifecycle node in a process of its own."""

from __future__ import annotations

import argparse
import math
import sys
import time

import rclpy
from rclpy.lifecycle import LifecycleNode

from robot_qa.stopping import stop_on_signals


def main(arguments: list[str] | None = None) -> int:
    """Be active until interrupted, or deactivate after a time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--deactivate-after', type=float, metavar='SECONDS')
    given, _ = parser.parse_known_args(arguments)
    stop = stop_on_signals()
    rclpy.init(signal_handler_options=rclpy.SignalHandlerOptions.NO)
    node = LifecycleNode('lidar_driver')
    node.trigger_configure()
    node.trigger_activate()
    until = math.inf if given.deactivate_after is None else given.deactivate_after
    started = time.monotonic()
    while not stop.is_set():
        rclpy.spin_once(node, timeout_sec=0.1)
        if time.monotonic() - started > until:
            until = math.inf
            node.trigger_deactivate()
    rclpy.try_shutdown()
    return 0


if __name__ == '__main__':
    sys.exit(main())
