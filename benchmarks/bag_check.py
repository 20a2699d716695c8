"""How fast a recording is judged, and what it is compared with.

Baselines in the same run: the ``mcap`` package's stream reader, which only hands out the messages,
and rosbags' reader with deserialization, which a script that looks at fields would use.

Run from the repository: ``python -m benchmarks.bag_check [messages]``.
"""

from __future__ import annotations

import itertools
import multiprocessing
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from mcap.records import Message
from mcap.stream_reader import StreamReader
from numpy.typing import NDArray
from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore

from robot_qa.messages.typestore import TypeStore
from robot_qa.probes.bag import BagProbe
from robot_qa.probes.batch import Batch, Int64s, Payloads
from robot_qa.probes.recorder import Recorder
from robot_qa.session import check_recording
from robot_qa.spec.loader import load_spec
from robot_qa.timebase import NS_PER_S

TYPE = 'sensor_msgs/msg/Imu'
TOPICS = 4
RATE_HZ = 400
DRAIN_HZ = 20
START_NS = 1_760_000_000 * NS_PER_S
# Of the serialized message: the stamp, the vectors that change, and the covariances between them.
SPEC = 'robot_qa: 1\nname: benchmark\nduration: 10 s\ntopics:\n'
TIMING = (
    'rate: {min: 300 Hz, max: 500 Hz}, gap: {max: 50 ms}, jitter: {p99: 2 ms}, '
    'transport: {p99: 5 ms}, loss: {max: 0 %}'
)
CHECKS = {
    'timing': TIMING,
    'fields': TIMING + (
        ', stamps: increasing, age: {p99: 10 ms}, frame_id: imu_link_frame, fields: '
        '{linear_acceleration.z: {finite: true, min: -50, max: 50}, '
        'angular_velocity.x: {finite: true}, orientation.w: {min: -2, max: 2}}'
    ),
}
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


def deserialized_per_s(path: Path, messages: int) -> float:
    with AnyReader([path]) as reader:
        started = time.perf_counter()
        count = 0
        for connection, _, raw in itertools.islice(reader.messages(), messages):
            message: Any = reader.deserialize(raw, connection.msgtype)
            count += message.linear_acceleration.z < 100.0
        return count / (time.perf_counter() - started)


def judge(path: str, kind: str, answers: multiprocessing.SimpleQueue[Any]) -> None:
    """Check the recording in this process; answer with seconds and how far memory grew, bytes."""
    with tempfile.TemporaryDirectory() as folder:
        spec = Path(folder) / 'benchmark.qa.yaml'
        spec.write_text(SPEC + ''.join(
            f'  /imu_{topic}: {{{CHECKS[kind]}}}\n' for topic in range(TOPICS)))
        loaded = load_spec(spec)
        sizes, done = [anonymous_bytes()], threading.Event()
        watcher = threading.Thread(target=watch_memory, args=(sizes, done))
        watcher.start()
        started = time.perf_counter()
        check_recording(loaded, Path(path), Path(folder) / 'out')
        spent = time.perf_counter() - started
        done.set()
        watcher.join()
        answers.put((spent, max(sizes) - sizes[0]))


def anonymous_bytes() -> int:
    """Return what this process holds itself; pages of the mapped recording are the system's."""
    status = Path('/proc/self/status').read_text()
    (line,) = (line for line in status.splitlines() if line.startswith('RssAnon'))
    return int(line.split()[1]) * 1024


def watch_memory(sizes: list[int], done: threading.Event) -> None:
    while not done.wait(0.02):
        sizes.append(anonymous_bytes())


def judged(path: Path, kind: str, messages: int) -> tuple[float, float]:
    """Return messages/s and bytes per message, the medians of three processes."""
    context = multiprocessing.get_context('spawn')
    runs = []
    for _ in range(3):
        answers: multiprocessing.SimpleQueue[Any] = context.SimpleQueue()
        process = context.Process(target=judge, args=(str(path), kind, answers))
        process.start()
        runs.append(answers.get())
        process.join()
    seconds, grown = np.median(np.array(runs), axis=0)
    return messages / seconds, grown / messages


def main() -> None:
    messages = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    path = recording(messages)
    stream = stream_per_s(path, 100_000)
    fields = deserialized_per_s(path, 30_000)
    scan = max(ours_per_s(path) for _ in range(3))
    print(f'mcap stream reader, no checks      {stream / 1e3:6.0f}k messages/s')
    print(f'rosbags, deserialized, no checks   {fields / 1e3:6.0f}k messages/s')
    print(f'our reader, no checks              {scan / 1e3:6.0f}k messages/s, '
          f'{scan / stream:.1f} times the stream reader')
    for kind, baseline, name, goal in (
        ('timing', stream, 'the stream reader', 800), ('fields', fields, 'rosbags', 250),
    ):
        rate, size = judged(path, kind, messages)
        print(f'robot_qa check, {kind:18} {rate / 1e3:6.0f}k messages/s (goal {goal}k), '
              f'{rate / baseline:.1f} times {name}; {size:.0f} bytes a message')


if __name__ == '__main__':
    main()
