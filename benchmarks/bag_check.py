"""How fast a recording is read: our scan against the stream reader of the ``mcap`` package.

Run from the repository: ``python -m benchmarks.bag_check [messages]``.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from mcap.records import Message
from mcap.stream_reader import StreamReader
from numpy.typing import NDArray
from rosbags.typesys import Stores, get_typestore

from robot_qa.messages.typestore import TypeStore
from robot_qa.probes.bag import BagProbe
from robot_qa.probes.batch import Batch, Int64s, Payloads
from robot_qa.probes.recorder import Recorder
from robot_qa.timebase import NS_PER_S

TYPE = 'sensor_msgs/msg/Imu'
TOPICS = 4
RATE_HZ = 400
DRAIN_HZ = 20
START_NS = 1_760_000_000 * NS_PER_S
# Of the serialized message: the stamp, the vectors that change, and the covariances between them.
STAMP = slice(4, 12)
VALUES = (slice(36, 68), slice(140, 164), slice(236, 260))


def write_recording(path: Path, messages: int) -> None:
    """Write ``messages`` Imu messages on four topics, as a live run would have recorded them."""
    random = np.random.default_rng(1)
    template = _imu()
    per_batch = RATE_HZ // DRAIN_HZ
    store = TypeStore(workspace=False)
    recorder = Recorder(path, store)
    for topic in range(TOPICS):
        recorder.add_publisher(f'/imu_{topic}', TYPE, 0, f'/driver_{topic}', f'{topic:032x}', '')
    for first, topic in itertools.product(range(0, messages // TOPICS, per_batch), range(TOPICS)):
        count = np.arange(first, min(first + per_batch, messages // TOPICS))
        source = START_NS + count * NS_PER_S // RATE_HZ
        source += random.normal(0, 50_000, len(count)).astype(np.int64)
        received = source + 80_000 + random.exponential(100_000, len(count)).astype(np.int64)
        payloads = _payloads(template, source, random)
        recorder.write(
            Batch(f'/imu_{topic}', TYPE, source, received, count + 1, 0 * count, payloads)
        )
    end = START_NS + messages // TOPICS * NS_PER_S // RATE_HZ
    recorder.close({'start_ns': START_NS, 'end_ns': end, 'overruns': {}, 'notes': {}})


def _imu() -> bytes:
    store = get_typestore(Stores.LATEST)
    kinds = store.types
    vector = kinds['geometry_msgs/msg/Vector3'](0.1, 0.2, 9.81)
    stamp = kinds['builtin_interfaces/msg/Time'](1, 2)
    message = kinds[TYPE](
        header=kinds['std_msgs/msg/Header'](stamp, 'imu_link_frame'),
        orientation=kinds['geometry_msgs/msg/Quaternion'](0.0, 0.0, 0.0, 1.0),
        orientation_covariance=np.eye(3).ravel() * 1e-3,
        angular_velocity=vector,
        angular_velocity_covariance=np.eye(3).ravel() * 1e-4,
        linear_acceleration=vector,
        linear_acceleration_covariance=np.eye(3).ravel() * 1e-2,
    )
    return bytes(store.serialize_cdr(message, TYPE))


def _payloads(template: bytes, source: Int64s, random: np.random.Generator) -> Payloads:
    rows: NDArray[np.uint8] = np.tile(np.frombuffer(template, np.uint8), (len(source), 1))
    stamps = np.column_stack([source // NS_PER_S, source % NS_PER_S]).astype('<u4')
    rows[:, STAMP] = stamps.view(np.uint8)
    for part in VALUES:
        width = (part.stop - part.start) // 8
        # A sensor's reading has about 12 bits of noise, which sets how well it compresses.
        values = random.integers(-2000, 2000, (len(source), width)) / 1024
        rows[:, part] = values.astype('<f8').view(np.uint8)
    lengths = np.full(len(source), len(template), np.int64)
    return Payloads(rows.tobytes(), np.cumsum(lengths) - lengths, lengths)


def recording(messages: int) -> Path:
    """Return a recording of that size from the temporary folder, written when first asked for."""
    path = Path(tempfile.gettempdir()) / f'robot_qa_benchmark_{messages}.mcap'
    if not path.exists():
        part = path.with_suffix('.part')
        started = time.perf_counter()
        write_recording(part, messages)
        part.rename(path)
        spent = time.perf_counter() - started
        print(f'written: {path} in {spent:.1f} s, {path.stat().st_size >> 20} MiB')
    return path


def ours_per_s(path: Path) -> float:
    started = time.perf_counter()
    probe = BagProbe(path)
    count = 0
    while not probe.done:
        count += sum(len(batch) for batch in probe.drain())
    probe.close()
    return count / (time.perf_counter() - started)


def stream_per_s(path: Path, messages: int) -> float:
    def found() -> Iterator[Message]:
        for record in StreamReader(file).records:
            if isinstance(record, Message):
                yield record

    with path.open('rb') as file:
        started = time.perf_counter()
        count = sum(1 for _ in itertools.islice(found(), messages))
        return count / (time.perf_counter() - started)


def main() -> None:
    path = recording(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
    stream = stream_per_s(path, 100_000)
    ours = max(ours_per_s(path) for _ in range(3))
    print(f'mcap stream reader {stream / 1e3:.0f}k messages/s')
    print(f'BagProbe           {ours / 1e3:.0f}k messages/s, {ours / stream:.1f} times as fast')


if __name__ == '__main__':
    main()
