"""Publishers for benchmarks: steady traffic in a process of its own, with a log of when it sent.

Message ``k`` of a topic carries ``k`` in ``header.stamp.nanosec``, so that whoever receives it
can be compared with the log, whatever was lost in between.
"""

from __future__ import annotations

import json
import os
import select
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

import numpy as np

from robot_qa.processes import child_environment
from robot_qa.timebase import NS_PER_S

# The index in header.stamp.nanosec, behind the encapsulation header and the seconds.
INDEX_AT = 8


@dataclass(frozen=True)
class Traffic:
    """What is published: ``topics`` topics of one type, each at ``rate`` Hz."""

    type: str
    topics: int
    rate: float
    depth: int = 10

    @property
    def names(self) -> list[str]:
        return [f'/traffic_{number}' for number in range(self.topics)]

    @property
    def total(self) -> float:
        """Messages per second in all."""
        return self.topics * self.rate


@contextmanager
def published(traffic: Traffic, domain: int, log: Path) -> Iterator[None]:
    """Publish while inside; ``log`` then holds, for each topic, the send times in ns, (n,)."""
    process = Popen(
        [sys.executable, '-m', 'benchmarks.traffic', json.dumps(asdict(traffic)), str(log)],
        stdin=PIPE, stdout=PIPE, env=child_environment(os.environ, domain, {}),
        cwd=Path(__file__).parent.parent,
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        if process.stdout.readline() != b'publishing\n':
            raise RuntimeError('the publisher did not start')
        yield
    finally:
        process.stdin.close()
        process.wait(30)


def template(type_name: str) -> bytearray:
    """Return a serialized message of ordinary content and size."""
    import sensor_msgs.msg
    from rclpy.serialization import serialize_message

    message = getattr(sensor_msgs.msg, type_name.rsplit('/', 1)[-1])()
    message.header.frame_id = 'sensor_link'
    if type_name.endswith('LaserScan'):
        message.ranges = [4.0] * 360
        message.intensities = [1.0] * 360
    if type_name.endswith('Image'):
        message.height, message.width, message.encoding = 480, 640, 'rgb8'
        message.step = 3 * message.width
        message.data = bytes(message.step * message.height)
    return bytearray(serialize_message(message))


def publish(traffic: Traffic, log: Path) -> None:
    """Publish on a fixed schedule, the topics spread over the period, until stdin is closed."""
    import rclpy
    import sensor_msgs.msg
    from rclpy.qos import QoSProfile

    rclpy.init()
    node = rclpy.create_node('traffic', enable_rosout=False, start_parameter_services=False)
    kind = getattr(sensor_msgs.msg, traffic.type.rsplit('/', 1)[-1])
    publishers = [
        node.create_publisher(kind, name, QoSProfile(depth=traffic.depth))
        for name in traffic.names
    ]
    sent: list[list[int]] = [[] for _ in publishers]
    message = template(traffic.type)
    print('publishing', flush=True)
    begun = time.monotonic()
    count = 0
    while not _closed():
        # The way back to stdin is taken ten times a second only.
        until = count + max(1, round(traffic.total / 10))
        while count < until:
            wait = begun + count / traffic.total - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            _send(publishers[count % traffic.topics], message, sent[count % traffic.topics])
            count += 1
    np.savez(log, *[np.array(times, np.int64) for times in sent])
    node.destroy_node()
    rclpy.shutdown()


def _send(publisher: Any, message: bytearray, sent: list[int]) -> None:
    message[INDEX_AT:INDEX_AT + 4] = (len(sent) % NS_PER_S).to_bytes(4, 'little')
    ready = bytes(message)
    sent.append(time.time_ns())
    publisher.publish(ready)


def _closed() -> bool:
    return bool(select.select([sys.stdin], [], [], 0)[0])


if __name__ == '__main__':
    publish(Traffic(**json.loads(sys.argv[1])), Path(sys.argv[2]))
