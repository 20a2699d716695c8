"""The two that are compared: our live probe with its timing monitors, and ``ros2 topic hz``.

Each runs in a process of its own and watches the traffic for a few seconds whenever it is told
to. It reports its CPU time (user and system, all threads) from the moment it has heard every
topic, and each interval that it measured together with the indices of the two messages.
"""

from __future__ import annotations

import contextlib
import functools
import json
import math
import os
import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any, TextIO

import numpy as np

from benchmarks.traffic import INDEX_AT, Traffic
from robot_qa.probes.batch import Int64s
from robot_qa.processes import child_environment
from robot_qa.spec.loader import LoadedSpec, load_spec

PATIENCE_S = 15.0
SETTLE_S = 0.3
# As `ros2 topic hz` has them.
WINDOW = 10_000
DEPTH = 5

SPEC = """
robot_qa: 1
name: monitor cost
duration: 1 h
topics:
"""
TOPIC = """
  {name}:
    type: {type}
    rate: {{min: {low} Hz, max: {high} Hz, window: 1 s}}
    gap: {{max: 10 s}}
    jitter: {{p99: 1 s}}
"""


@dataclass(frozen=True)
class Cost:
    """What one phase cost; ``lost`` is what did not come between the first and the last."""

    cpu_s: float
    messages: int
    lost: int
    overruns: int

    @property
    def us(self) -> float:
        """CPU time per message, in microseconds."""
        return 1e6 * self.cpu_s / max(1, self.messages)


class Watcher:
    """A process that watches on demand; ``which`` is ``ours`` or ``theirs``."""

    def __init__(self, which: str, domain: int) -> None:
        self._process = Popen(
            [sys.executable, '-m', 'benchmarks.watchers', which], stdin=PIPE, stdout=PIPE,
            text=True, env=child_environment(os.environ, domain, {}),
            cwd=Path(__file__).parent.parent,
        )

    def watch(self, traffic: Traffic, seconds: float, out: Path) -> Cost:
        """Watch for so long; ``out`` then holds index and interval columns by topic."""
        assert self._process.stdin is not None and self._process.stdout is not None
        order = {'traffic': asdict(traffic), 'seconds': seconds, 'out': str(out)}
        self._process.stdin.write(json.dumps(order) + '\n')
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError('the watcher died')
        return Cost(**json.loads(answer))

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)


def watch_ours(traffic: Traffic, seconds: float, out: Path, screen: TextIO) -> Cost:
    """Watch as a live run does: drain, monitors, and once a second all results."""
    from robot_qa.messages.typestore import TypeStore
    from robot_qa.panel import Panel
    from robot_qa.probes.live import LiveProbe, Wanted

    loaded = _spec(traffic, out.with_suffix('.qa.yaml'))
    panel = Panel(loaded, TypeStore())
    probe = LiveProbe([
        Wanted(name, topic.type, topic.rate.max if topic.rate else None)
        for name, topic in loaded.spec.topics.items()
    ])
    indices: dict[str, list[Int64s]] = {name: [] for name in traffic.names}
    sources: dict[str, list[Int64s]] = {name: [] for name in traffic.names}

    def take() -> None:
        batches = probe.drain()
        panel.update(batches)
        for batch in batches:
            assert batch.source_ns is not None
            index = batch.payloads.gather(INDEX_AT, '<u4')
            indices[batch.topic].append(index.astype(np.int64))
            sources[batch.topic].append(batch.source_ns)

    deadline = time.monotonic() + PATIENCE_S
    while probe.missing(traffic.names, [], []) and time.monotonic() < deadline:
        probe.drain()
        time.sleep(0.02)
    time.sleep(SETTLE_S)
    probe.begin()
    cpu, begun = time.process_time(), time.monotonic()
    shown = begun
    while time.monotonic() - begun < seconds:
        take()
        if time.monotonic() - shown > 1.0:
            shown += 1.0
            for result in panel.results(probe.observation(), final=False):
                print(result.name, result.verdict.value, result.reason, file=screen)
        time.sleep(probe.pause_s)
    take()
    cpu = time.process_time() - cpu
    overruns = sum(probe.observation().overruns.values())
    probe.close()
    found = {name: (_joined(indices[name]), _joined(sources[name])) for name in traffic.names}
    _save(out, {name: (index, np.diff(source)) for name, (index, source) in found.items()})
    return Cost(cpu, panel.messages, _lost(index for index, _ in found.values()), overruns)


def _spec(traffic: Traffic, path: Path) -> LoadedSpec:
    path.write_text(SPEC + ''.join(
        TOPIC.format(name=name, type=traffic.type, low=traffic.rate / 100, high=traffic.rate * 2)
        for name in traffic.names
    ))
    return load_spec(path)


def _joined(parts: list[Int64s]) -> Int64s:
    return np.concatenate(parts) if parts else np.empty(0, np.int64)


class TopicHz:
    """What ``ros2 topic hz`` of Kilted does with a message, and once a second.

    The clock is read under a lock in the callback of a raw subscription; the last ten thousand
    intervals are kept in a list per topic; once a second a thread takes the mean, the deviation
    and the extremes of the list in plain Python and prints them. What is added here is the index
    of each message.
    """

    def __init__(self, node: Any, topics: list[str]) -> None:
        self._clock = node.get_clock()
        self._lock = threading.Lock()
        self._last: dict[str, int] = {}
        self._shown: dict[str, int] = {}
        self._times: dict[str, list[int]] = {topic: [] for topic in topics}
        self.indices: dict[str, list[bytes]] = {topic: [] for topic in topics}
        self.intervals: dict[str, list[int]] = {topic: [] for topic in topics}

    def on_message(self, message: bytes, topic: str) -> None:
        with self._lock:
            now = self._clock.now().nanoseconds
            times = self._times[topic]
            if topic in self._last:
                times.append(now - self._last[topic])
                self.intervals[topic].append(times[-1])
            self._last[topic] = now
            if len(times) > WINDOW:
                times.pop(0)
        self.indices[topic].append(message[INDEX_AT:INDEX_AT + 4])

    def show(self, screen: TextIO) -> None:
        for topic, times in self._times.items():
            if not times or self._shown.get(topic) == self._last[topic]:
                continue
            with self._lock:
                count = len(times)
                mean = sum(times) / count
                deviation = math.sqrt(sum((one - mean) ** 2 for one in times) / count)
                low, high = min(times), max(times)
                self._shown[topic] = self._last[topic]
            print(f'{topic} {1e9 / mean if mean else 0.0:.3f} {low * 1e-9:.3f} '
                  f'{high * 1e-9:.3f} {deviation * 1e-9:.5f} {count}', file=screen)


def watch_theirs(traffic: Traffic, seconds: float, out: Path, screen: TextIO) -> Cost:
    """Watch with an executor, a callback per message and the clock that the callback reads."""
    import rclpy
    import sensor_msgs.msg
    from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
    from rclpy.node import Node
    from rclpy.qos import QoSProfile

    context = rclpy.Context()
    context.init(args=[])
    # A `ros2` command has no parameter services; its clock, /rosout and the rest it has.
    node = Node(f'_ros2cli_{os.getpid()}', context=context, start_parameter_services=False)
    hz = TopicHz(node, traffic.names)
    kind = getattr(sensor_msgs.msg, traffic.type.rsplit('/', 1)[-1])
    for name in traffic.names:
        # It takes the sensor-data profile, as reliable as all the publishers are.
        node.create_subscription(
            kind, name, functools.partial(hz.on_message, topic=name), QoSProfile(depth=DEPTH),
            raw=True,
        )
    begins: dict[str, int] = {}
    spent: list[float] = []

    def measure() -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not all(hz.indices.values()) and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(SETTLE_S)
        begins.update({name: len(found) for name, found in hz.indices.items()})
        cpu = time.process_time()
        time.sleep(seconds)
        spent.append(time.process_time() - cpu)
        context.shutdown()

    def show() -> None:
        while context.ok():
            hz.show(screen)
            time.sleep(1.0)

    threads = [threading.Thread(target=measure), threading.Thread(target=show)]
    for thread in threads:
        thread.start()
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    with contextlib.suppress(ExternalShutdownException):
        executor.spin()
    for thread in threads:
        thread.join()
    node.destroy_node()
    index = {
        name: np.frombuffer(b''.join(found[begins[name]:]), '<u4').astype(np.int64)
        for name, found in hz.indices.items()
    }
    _save(out, {
        # The interval before a message is at its index less one.
        name: (index[name], np.array(hz.intervals[name][begins[name]:], np.int64))
        for name in traffic.names
    })
    return Cost(spent[0], sum(map(len, index.values())), _lost(index.values()), 0)


def _lost(indices: Iterable[Int64s]) -> int:
    return sum(int((np.diff(index) - 1).sum()) for index in indices if len(index))


def _save(out: Path, columns: dict[str, tuple[Int64s, Int64s]]) -> None:
    """Write for each topic the indices, (n,), and the intervals between them, (n - 1,)."""
    with out.open('wb') as file:
        np.savez(file, *[one for pair in columns.values() for one in pair])


def main() -> None:
    watch = {'ours': watch_ours, 'theirs': watch_theirs}[sys.argv[1]]
    with open(os.devnull, 'w', encoding='utf-8') as screen:
        for line in sys.stdin:
            order = json.loads(line)
            cost = watch(
                Traffic(**order['traffic']), order['seconds'], Path(order['out']), screen
            )
            print(json.dumps(asdict(cost)), flush=True)


if __name__ == '__main__':
    main()
