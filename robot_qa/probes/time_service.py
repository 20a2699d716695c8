"""Tells other hosts the time: ``ros2 run robot_qa timekeeper``, and every node of a run.

A monitor elsewhere asks, and learns from the round trips how far this host's clock is off its own.
"""

from __future__ import annotations

import argparse
import re
import socket
import sys
import time
import uuid
from collections.abc import Callable, Sequence

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args
from std_msgs.msg import Empty
from std_srvs.srv import Trigger

from robot_qa.probes.round_trips import SERVICE, TimeAnswer, host_key
from robot_qa.stopping import stop_on_signals

# How soon a signal is noticed while nobody asks.
LOOK_PERIOD_S = 0.5


class TimeService:
    """Answers on ``~/robot_qa_time`` with when it was asked and when it answers.

    ``now_ns`` reads the clock that stamps on this host are made with.
    """

    def __init__(self, node: Node, now_ns: Callable[[], int] = time.time_ns) -> None:
        self._now_ns = now_ns
        self._host = socket.gethostname()
        self._key = own_key(node)
        node.create_service(Trigger, f'~/{SERVICE}', self._answer)

    def _answer(self, request: Trigger.Request, answer: Trigger.Response) -> Trigger.Response:
        received = self._now_ns()
        answer.success = True
        answer.message = TimeAnswer(self._host, self._key, received, self._now_ns()).text()
        return answer


def own_key(node: Node) -> str | None:
    """Return the key of the host that the node is on; None where the middleware has none.

    Asked for by a topic that only this node has: others may share its name.
    """
    publisher = node.create_publisher(Empty, f'/_robot_qa/_{uuid.uuid4().hex}', 1)
    infos = node.get_publishers_info_by_topic(publisher.topic_name)
    node.destroy_publisher(publisher)
    return host_key(bytes(infos[0].endpoint_gid)) if infos else None


def node_name(host: str) -> str:
    """Return the name of the timekeeper of a host."""
    return 'timekeeper_' + re.sub(r'\W+', '_', host, flags=re.ASCII).strip('_')


def main(arguments: Sequence[str] | None = None) -> int:
    """Tell the time until interrupted."""
    parser = argparse.ArgumentParser(prog='timekeeper', description=__doc__)
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser.parse_args(remove_ros_args(['timekeeper', *words])[1:])
    stop = stop_on_signals()
    rclpy.init(args=words, signal_handler_options=SignalHandlerOptions.NO)
    node = Node(
        node_name(socket.gethostname()), enable_rosout=False, start_parameter_services=False)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    TimeService(node)
    try:
        while not stop.is_set():
            executor.spin_once(timeout_sec=LOOK_PERIOD_S)
    finally:
        executor.shutdown()
        node.destroy_node()
        rclpy.try_shutdown()
    return 0


def console() -> None:
    """Run as ``ros2 run robot_qa timekeeper``."""
    sys.exit(main())


if __name__ == '__main__':
    console()
