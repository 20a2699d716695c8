"""Publishing that survives its subscribers."""

from __future__ import annotations

from typing import Any

from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.logging import get_logger
from rclpy.publisher import Publisher


def send(publisher: Publisher, message: Any) -> None:
    """Publish a message; leave it out where a reliable subscriber takes nothing any more.

    The middleware then waits for it a while and gives up, which must not end the simulation.
    """
    try:
        publisher.publish(message)
    except rclpy_implementation.RCLError as error:
        get_logger('simulator').warning(
            f'a message on {publisher.topic_name} is left out: {error}',
            throttle_duration_sec=5.0)
