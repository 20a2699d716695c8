"""Batches made by hand: real serialized messages with chosen times."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from rosbags.typesys import Stores, get_typestore

from robot_qa.messages.typestore import TypeStore
from robot_qa.monitors.base import Context, SimulatedClock
from robot_qa.probes.batch import Batch, Observation, Payloads
from robot_qa.stats import Confidence

MS = 1_000_000
S = 1_000_000_000
START = 1_700_000_000 * S
STORE = get_typestore(Stores.ROS2_KILTED)
TYPES = STORE.types


def serialized(message: Any) -> bytes:
    return bytes(STORE.serialize_cdr(message, message.__msgtype__))


def header(stamp_ns: int, frame: str = 'lidar_link') -> Any:
    time = TYPES['builtin_interfaces/msg/Time'](sec=stamp_ns // S, nanosec=stamp_ns % S)
    return TYPES['std_msgs/msg/Header'](stamp=time, frame_id=frame)


def scan(stamp_ns: int, ranges: Any = (1.0, 2.0, 3.0), frame: str = 'lidar_link') -> bytes:
    return serialized(TYPES['sensor_msgs/msg/LaserScan'](
        header=header(stamp_ns, frame), angle_min=0.0, angle_max=1.0, angle_increment=0.1,
        time_increment=0.0, scan_time=0.1, range_min=0.05, range_max=30.0,
        ranges=np.array(ranges, np.float32), intensities=np.array([], np.float32),
    ))


def imu(stamp_ns: int, quaternion: Any = (0.0, 0.0, 0.0, 1.0), z: float = 9.81) -> bytes:
    x, y, qz, w = quaternion
    vector = TYPES['geometry_msgs/msg/Vector3']
    nine = np.zeros(9)
    return serialized(TYPES['sensor_msgs/msg/Imu'](
        header=header(stamp_ns, 'imu_link'),
        orientation=TYPES['geometry_msgs/msg/Quaternion'](x=x, y=y, z=qz, w=w),
        orientation_covariance=nine, angular_velocity=vector(x=0.0, y=0.0, z=0.0),
        angular_velocity_covariance=nine, linear_acceleration=vector(x=0.0, y=0.0, z=z),
        linear_acceleration_covariance=nine,
    ))


def batch(  # noqa: PLR0917  (every column can be chosen)
    sent: Any, payloads: list[bytes], topic: str = '/scan',
    kind: str = 'sensor_msgs/msg/LaserScan', received: Any = None, sequence: Any = 'count',
    publisher: Any = None,
) -> Batch:
    """``sent`` in ns after START; received a ms later, numbered from 1, unless said otherwise."""
    source = None if sent is None else START + np.asarray(sent, np.int64)
    if received is None:
        assert source is not None
        arrived = source + MS
    else:
        arrived = START + np.asarray(received, np.int64)
    if isinstance(sequence, str):
        sequence = np.arange(1, len(payloads) + 1)
    return Batch(
        topic, kind, source, arrived,
        None if sequence is None else np.asarray(sequence, np.int64),
        np.zeros(len(payloads), np.int64) if publisher is None else np.asarray(publisher),
        Payloads.of(payloads),
    )


def scans(sent: Any, **columns: Any) -> Batch:
    """Scans stamped when they were sent."""
    return batch(sent, [scan(START + int(at)) for at in sent], **columns)


def clock_ticks(received: Any, simulated: Any) -> Batch:
    time = TYPES['builtin_interfaces/msg/Time']
    payloads = [
        serialized(TYPES['rosgraph_msgs/msg/Clock'](clock=time(sec=at // S, nanosec=at % S)))
        for at in (int(at) for at in simulated)
    ]
    return batch(None, payloads, '/clock', 'rosgraph_msgs/msg/Clock', received, None)


def context(clock: SimulatedClock | None = None, anytime: bool = False) -> Context:
    return Context(TypeStore(workspace=False), clock, Confidence(0.95, anytime))


def observed(seconds: float, **known: Any) -> Observation:
    return Observation(
        START, START + round(seconds * S), known.get('overruns', {}), known.get('notes', {})
    )


def split(whole: Batch, borders: list[int]) -> list[Batch]:
    """Cut a batch in pieces, as drains at other moments would have."""
    edges = [0, *sorted(borders), len(whole)]
    pieces = []
    for first, last in pairwise(edges):
        if first == last:
            continue
        part = slice(first, last)
        pieces.append(Batch(
            whole.topic, whole.type,
            None if whole.source_ns is None else whole.source_ns[part],
            whole.received_ns[part], None if whole.sequence is None else whole.sequence[part],
            whole.publisher[part],
            Payloads(whole.payloads.buffer, whole.payloads.offsets[part],
                     whole.payloads.lengths[part]),
        ))
    return pieces
