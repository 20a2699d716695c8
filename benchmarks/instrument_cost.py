"""What it costs a model node to tell the times of its stages, next to how it is usually done.

Run from the repository: ``python -m benchmarks.instrument_cost [--inputs 300] [--turns 5]``.
A node processes inputs of four stages, whose work is nothing, at 100 Hz; another process
subscribes to what it publishes. The ways of telling take turns in the same process:

- ours: ``robot_qa.instrument``
- logger: ``time.perf_counter`` and ``get_logger().info`` for each stage (output to a file)
- publish: ``time.perf_counter`` and one std_msgs/msg/Float64 for each stage, on a topic each
- array: ``time.perf_counter`` and one DiagnosticArray for each input, published by the model's
  thread: the same message as ours

Waited is how long the model's thread is kept for each input, CPU what the whole process spends for
each input beyond one that tells nothing; medians over inputs and turns.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from robot_qa.domains import claim_domain
from robot_qa.instrument import StageTimes, stage, stage_times

STAGES = ('preprocess', 'inference', 'postprocess', 'publishing')
PERIOD_S = 0.01
GOAL_NS = 20_000
SUBSCRIBER = """
import sys
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from std_msgs.msg import Float64
rclpy.init()
node = rclpy.create_node('subscriber')
for name in ('preprocess', 'inference', 'postprocess', 'publishing'):
    node.create_subscription(Float64, name, lambda message: None, 100)
for name in ('/model/stages', '/array'):
    node.create_subscription(DiagnosticArray, name, lambda message: None, 100)
print('ready', flush=True)
rclpy.spin(node)
"""

Way = Callable[[], None]


def ours(times: StageTimes, stamp: Any) -> Way:
    def one_input() -> None:
        with times.input(stamp, time.time_ns()):
            for name in STAGES:
                with stage(name):
                    pass

    return one_input


def logged(node: Any) -> Way:
    logger = node.get_logger()

    def one_input() -> None:
        for name in STAGES:
            begun = time.perf_counter()
            logger.info(f'{name} took {1e3 * (time.perf_counter() - begun):.3f} ms')

    return one_input


def published(node: Any) -> Way:
    from std_msgs.msg import Float64

    publishers = {name: node.create_publisher(Float64, name, 100) for name in STAGES}

    def one_input() -> None:
        for name in STAGES:
            begun = time.perf_counter()
            publishers[name].publish(Float64(data=time.perf_counter() - begun))

    return one_input


def in_one_message(node: Any, stamp: Any) -> Way:
    from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

    publisher = node.create_publisher(DiagnosticArray, '/array', 100)

    def one_input() -> None:
        values = []
        for name in STAGES:
            begun = time.perf_counter_ns()
            values.append(KeyValue(
                key=f'stage.{name}', value=str(time.perf_counter_ns() - begun)))
        made = DiagnosticArray(status=[DiagnosticStatus(name='model', values=values)])
        made.header.stamp = stamp
        publisher.publish(made)

    return one_input


def turn(way: Way, inputs: int) -> tuple[float, float]:
    """Return the median wait of the model's thread and the process's CPU, ns for each input."""
    waits = []
    begun = time.process_time_ns()
    due = time.perf_counter()
    for _ in range(inputs):
        start = time.perf_counter_ns()
        way()
        waits.append(time.perf_counter_ns() - start)
        due += PERIOD_S
        time.sleep(max(0.0, due - time.perf_counter()))
    return statistics.median(waits), (time.process_time_ns() - begun) / inputs


def stage_ns(times: StageTimes, stamp: Any) -> list[float]:
    """Return ns of a stage, each from a hundred calls less an empty loop."""
    found = []
    for _ in range(300):
        with times.input(stamp):
            begun = time.perf_counter_ns()
            for _ in range(100):
                with stage('inference'):
                    pass
            middle = time.perf_counter_ns()
            for _ in range(100):
                pass
            found.append((2 * middle - begun - time.perf_counter_ns()) / 100)
        time.sleep(0.001)
    return found


@contextmanager
def subscriber() -> Iterator[None]:
    with subprocess.Popen(
        [sys.executable, '-c', SUBSCRIBER], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == 'ready\n'
            time.sleep(1.0)
            yield
        finally:
            process.kill()


def compare(inputs: int, turns: int) -> bool:
    """Print the comparison and return whether a stage costs less than the goal."""
    import rclpy
    from builtin_interfaces.msg import Time

    with ExitStack() as stack:
        os.environ['ROS_DOMAIN_ID'] = str(stack.enter_context(claim_domain()).id)
        os.environ['ROS_LOG_DIR'] = stack.enter_context(tempfile.TemporaryDirectory())
        # What a logger writes to the console goes to a file, as under a launch file.
        quiet = stack.enter_context(tempfile.TemporaryFile())
        console = os.dup(2)
        stack.callback(os.dup2, console, 2)
        os.dup2(quiet.fileno(), 2)
        rclpy.init()
        stack.callback(rclpy.try_shutdown)
        node = rclpy.create_node('model')
        stack.callback(node.destroy_node)
        stamp = Time(sec=1)
        times = stack.enter_context(stage_times(node))
        ways = {
            'nothing': lambda: None, 'ours': ours(times, stamp), 'logger': logged(node),
            'publish': published(node), 'array': in_one_message(node, stamp),
        }
        stack.enter_context(subscriber())
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for _ in range(turns):
            for name, way in ways.items():
                found[name].append(turn(way, inputs))
        calls = stage_ns(times, stamp)
        dropped = times.dropped
    idle = statistics.median(cpu for _, cpu in found['nothing'])
    print(f'one stage: median {statistics.median(calls):.0f} ns, '
          f'p95 {sorted(calls)[int(0.95 * len(calls))]:.0f} ns; {dropped} inputs dropped')
    print(f'{"way":8} {"waited, us an input":>20} {"CPU, us an input":>17}')
    for name, values in found.items():
        wait = statistics.median(wait for wait, _ in values) / 1e3
        cpu = (statistics.median(cpu for _, cpu in values) - idle) / 1e3
        print(f'{name:8} {wait:20.1f} {cpu:17.1f}')
    return statistics.median(calls) < GOAL_NS


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--inputs', type=int, default=300, help='in a turn')
    parser.add_argument('--turns', type=int, default=5)
    given = parser.parse_args()
    return 0 if compare(given.inputs, given.turns) else 1


if __name__ == '__main__':
    sys.exit(main())
