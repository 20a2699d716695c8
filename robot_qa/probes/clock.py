"""Simulated time, as it is now."""

from __future__ import annotations

from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock

from robot_qa.timebase import NS_PER_S

# Between two looks many ticks may come, of which the last one counts.
QUEUE = QoSProfile(
    history=HistoryPolicy.KEEP_LAST, depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


class ClockReader:
    """Reads ``/clock`` without an executor."""

    def __init__(self, node: Node) -> None:
        self._subscription = node.create_subscription(Clock, '/clock', lambda _: None, QUEUE)
        self._now_ns: int | None = None
        self._elapsed_ns = 0

    def now_ns(self) -> int | None:
        """Return the latest simulated time, None before the first tick."""
        while (taken := self._subscription.handle.take_message(Clock, False)) is not None:
            stamp = taken[0].clock
            now_ns = stamp.sec * NS_PER_S + stamp.nanosec
            self._elapsed_ns += max(0, now_ns - (now_ns if self._now_ns is None else self._now_ns))
            self._now_ns = now_ns
        return self._now_ns

    def elapsed_ns(self) -> int | None:
        """Return how much simulated time has passed since the first tick, None before it.

        A clock that is set back, as by a reset, takes none of it away.
        """
        return None if self.now_ns() is None else self._elapsed_ns
