"""What a relay adds: messages that go through it against messages that go straight.

    python -m benchmarks.relay_cost [--quick] [--seconds 4] [--only 0.9]

A publisher sends in turn to a topic that a subscriber hears and to one that a relay forwards to
the same subscriber, so that both ways meet the same machine at the same time. Both are rclpy
nodes as users write them; the subscriber is spun by an executor. Latency counts from the time
that the publisher has put into ``header.stamp`` before it published to the start of the
callback; what the relay adds is the difference of the medians. The subscriber's rows are

- raw: serialized bytes on both ends, the middleware alone;
- typed: message objects on both ends, which have to be serialized and deserialized.

Large messages depend on the shared memory of the sender (`robot_qa.scenario.shared_memory`),
so images come with three kinds of it: nobody's is larger than usual, only the relay's is (as for
a robot's own publisher), or also the publisher's (as for the simulator of a run). While a fault
is active, the relay hands every message to it: one that drops nothing, and one of noise.
"""

from __future__ import annotations

import argparse
import array
import os
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from robot_qa.domains import claim_domain
from robot_qa.processes import child_environment
from robot_qa.scenario.shared_memory import TRANSPORTS, variables
from robot_qa.timebase import NS_PER_S

ROOT = Path(__file__).parent.parent
TOPIC, STRAIGHT, SOURCE = '/relayed', '/straight', '/relayed_unfaulted'
STAMP = struct.Struct('<iI')
# Behind the encapsulation header.
STAMP_AT = 4
PATIENCE_S = 30.0
DEPTH = 10
GOAL_MS = 1.0
NO_FAULT = 'none'
DROP_NOTHING = {'drop': {'every': 2**31 - 1}}
HEAD = (f'{"message":16}{"ends":7}{"larger segment":20}{"fault":16}|{"straight":>9}{"p99":>8}'
        f'|{"relayed":>9}{"p99":>8}|{"added":>8}{"ratio":>7}{"lost":>6}{"relay CPU":>11}   ms')


@dataclass(frozen=True)
class Case:
    """A message of sensor_msgs, its rate in Hz, and the fault that adds noise to it."""

    name: str
    kind: str
    rate: float
    noise: dict[str, Any]
    width: int = 0
    height: int = 0
    quick: bool = False

    def message(self) -> Any:
        """Return a message of ordinary content."""
        import sensor_msgs.msg

        message = getattr(sensor_msgs.msg, self.kind)()
        message.header.frame_id = 'sensor_link'
        if self.kind == 'LaserScan':
            message.ranges = [4.0] * 360
            message.intensities = [1.0] * 360
            message.range_max = 30.0
        if self.kind == 'Image':
            message.height, message.width, message.encoding = self.height, self.width, 'rgb8'
            message.step = 3 * self.width
            message.data = array.array('B', bytes(message.step * self.height))
        return message


IMAGE_NOISE = {'image_noise': 0.05}
CASES = [
    Case('Imu 0.3 KB', 'Imu', 30, {'noise': {'field': 'angular_velocity.x', 'stddev': 0.1}}),
    Case('LaserScan 3 KB', 'LaserScan', 30, {'range_noise': 0.01}, quick=True),
    Case('Image 230 KB', 'Image', 30, IMAGE_NOISE, 320, 240),
    Case('Image 0.9 MB', 'Image', 30, IMAGE_NOISE, 640, 480, quick=True),
    Case('Image 6 MB', 'Image', 10, IMAGE_NOISE, 1920, 1080),
]
SEGMENTS: dict[str, tuple[str, ...]] = {
    'nobody': (), 'relay': ('relay',), 'publisher, relay': ('publisher', 'relay'),
}


def at_end_of_input(act: Callable[[], object]) -> None:
    sys.stdin.read()
    act()


def publish(case: Case, typed: bool) -> None:
    """Publish to both topics in turn until stdin is closed."""
    import rclpy
    from rclpy.qos import QoSProfile
    from rclpy.serialization import serialize_message

    rclpy.init()
    node = rclpy.create_node('publisher')
    message = case.message()
    publishers = [
        node.create_publisher(type(message), topic, QoSProfile(depth=DEPTH))
        for topic in (STRAIGHT, SOURCE)
    ]
    raw = bytearray(serialize_message(message))
    closed = threading.Event()
    threading.Thread(target=at_end_of_input, args=(closed.set,), daemon=True).start()
    begun, count = time.monotonic(), 0
    while not closed.wait(max(0.0, begun + count / (2 * case.rate) - time.monotonic())):
        seconds, nanoseconds = divmod(time.time_ns(), NS_PER_S)
        if typed:
            message.header.stamp.sec, message.header.stamp.nanosec = seconds, nanoseconds
            publishers[count % 2].publish(message)
        else:
            STAMP.pack_into(raw, STAMP_AT, seconds, nanoseconds)
            publishers[count % 2].publish(bytes(raw))
        count += 1
    node.destroy_node()
    rclpy.shutdown()


def subscribe(case: Case, typed: bool, out: Path) -> None:
    """Note stamp and arrival of what comes; ``out`` then has both ways, each (n, 2) in ns."""
    import rclpy
    from rclpy.executors import ExternalShutdownException
    from rclpy.qos import QoSProfile

    rclpy.init()
    node = rclpy.create_node('subscriber')
    heard: dict[str, list[tuple[int, int]]] = {STRAIGHT: [], TOPIC: []}

    def callback(times: list[tuple[int, int]]) -> Callable[[Any], None]:
        def on_message(message: Any) -> None:
            now = time.time_ns()
            seconds, nanoseconds = (
                (message.header.stamp.sec, message.header.stamp.nanosec) if typed
                else STAMP.unpack_from(message, STAMP_AT)
            )
            times.append((seconds * NS_PER_S + nanoseconds, now))
            if len(times) == 1 and all(heard.values()):
                print('hearing', flush=True)
        return on_message

    for topic, times in heard.items():
        node.create_subscription(
            type(case.message()), topic, callback(times), QoSProfile(depth=DEPTH), raw=not typed)
    threading.Thread(target=at_end_of_input, args=(rclpy.shutdown,), daemon=True).start()
    with suppress(ExternalShutdownException):
        rclpy.spin(node)
    with out.open('wb') as file:
        np.savez(file, *[np.array(times, np.int64).reshape(-1, 2) for times in heard.values()])


@dataclass
class Phase:
    """What was in effect between two times of the publisher, in ns, and what it cost."""

    fault: str
    begun: int
    ended: int = 0
    cpu_s: float = 0.0


class Faults:
    """Tells the relay which fault is active, as a scenario does."""

    def __init__(self, domain: int) -> None:
        import rclpy

        from robot_qa.messages.typestore import TypeStore
        from robot_qa.scenario.fault_actor import FaultActor

        self._context = rclpy.Context()
        self._context.init(args=[], domain_id=domain)
        self._node = rclpy.create_node('faults', context=self._context)
        self._actor = FaultActor(self._node, TypeStore())

    @contextmanager
    def active(self, fault: dict[str, Any]) -> Iterator[None]:
        """Let a fault be active while inside."""
        from robot_qa.spec.scenario import Step

        if not fault:
            yield
            return
        step = Step.model_validate({'at': '0 s', 'fault': {'topic': TOPIC, **fault}})
        self._actor.lack(step)
        undo = self._done(self._actor.begin(step)).undo
        try:
            yield
        finally:
            self._done(undo())

    def close(self) -> None:
        self._node.destroy_node()
        self._context.shutdown()

    def _done(self, doing: Any) -> Any:
        deadline = time.monotonic() + PATIENCE_S
        while (done := doing.poll()) is None:
            if time.monotonic() > deadline:
                raise RuntimeError('the relay does not answer')
            time.sleep(0.01)
        if not done.ok:
            raise RuntimeError(done.detail)
        return done


@contextmanager
def process(words: list[str], env: dict[str, str]) -> Iterator[Popen[str]]:
    """Run a process of this Python while inside; the end of its input ends it, or SIGTERM."""
    one = Popen([sys.executable, *words], stdin=PIPE, stdout=PIPE, text=True, env=env, cwd=ROOT)
    assert one.stdin is not None
    try:
        yield one
    finally:
        one.stdin.close()
        if 'benchmarks.relay_cost' not in words:
            one.terminate()
        try:
            one.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            one.kill()
            one.wait()


def measure(
    case: Case, typed: bool, segment: str, seconds: float, folder: Path, *, quick: bool,
) -> list[str]:
    """Return a row without a fault, and where it says most, also rows with faults."""
    larger = SEGMENTS[segment]
    faults: dict[str, dict[str, Any]] = {NO_FAULT: {}}
    if segment == 'relay' and not quick:
        faults |= {'drops nothing': DROP_NOTHING, 'noise': case.noise}
    number, out = str(CASES.index(case)), folder / 'heard.npz'
    phases: list[Phase] = []
    with ExitStack() as stack:
        domain = stack.enter_context(claim_domain()).id
        env = child_environment(os.environ, domain, {'PYTHONPATH': str(ROOT)})
        envs = {
            role: env | (variables(env, ROOT, folder) if role in larger
                         # This alone keeps a relay from taking a larger one by itself.
                         else {TRANSPORTS: 'DEFAULT'})
            for role in ('publisher', 'relay', 'subscriber')
        }

        def role(name: str) -> Popen[str]:
            words = ['-m', 'benchmarks.relay_cost', '--role', name, '--case', number,
                     '--out', str(out), *(['--typed'] if typed else [])]
            return stack.enter_context(process(words, envs[name]))

        relay = stack.enter_context(process(
            ['-m', 'robot_qa.scenario.relay', '--topic', TOPIC, '--input', SOURCE],
            envs['relay']))
        hearing = role('subscriber').stdout
        role('publisher')
        control = Faults(domain)
        stack.callback(control.close)
        assert hearing is not None
        if hearing.readline() != 'hearing\n':
            raise RuntimeError('the subscriber did not hear both ways')
        usage = psutil.Process(relay.pid)
        for name, fault in faults.items():
            with control.active(fault):
                # What is under way, and the first of a fault, do not count.
                time.sleep(0.5)
                cpu = usage.cpu_times()
                phases.append(Phase(name, time.time_ns()))
                time.sleep(seconds)
                spent = usage.cpu_times()
                phases[-1].cpu_s = spent.user + spent.system - cpu.user - cpu.system
                phases[-1].ended = time.time_ns()
                time.sleep(0.5)
    with np.load(out) as arrays:
        ways = [arrays[name] for name in arrays.files]
    return [
        f'{case.name:16}{"typed" if typed else "raw":7}{segment:20}{row(phase, *ways)}'
        for phase in phases
    ]


def row(phase: Phase, straight: NDArray[np.int64], relayed: NDArray[np.int64]) -> str:
    """Return what a phase brought; both ways (n, 2): sent and received, in ns."""
    late = [
        [(came - sent) / 1e6 for sent, came in way if phase.begun <= sent < phase.ended]
        for way in (straight, relayed)
    ]
    if not all(late):
        return f'{phase.fault:16}| nothing came'
    (direct, direct_p99), (through, through_p99) = (
        (statistics.median(one), float(np.quantile(one, 0.99))) for one in late)
    added = through - direct
    met = '' if phase.fault != NO_FAULT else f'  {"met" if added < GOAL_MS else "MISSED"}'
    return (
        f'{phase.fault:16}|{direct:9.2f}{direct_p99:8.1f}|{through:9.2f}{through_p99:8.1f}'
        f'|{added:8.2f}{through / direct:7.2f}{max(0, len(late[0]) - len(late[1])):6}'
        f'{1e3 * phase.cpu_s / len(late[1]):11.2f}{met}'
    )


def setups(quick: bool, only: str) -> Iterator[tuple[Case, bool, str]]:
    """Give what to compare: a message, whether both ends are typed, whose segment is larger."""
    for case in CASES:
        if only in case.name and (case.quick or not quick):
            segments = SEGMENTS if case.kind == 'Image' else ['relay']
            yield from ((case, typed, one) for typed in (False, True) for one in segments)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--quick', action='store_true', help='a scan and one image, no faults')
    parser.add_argument('--seconds', type=float, default=4.0, help='for each row')
    parser.add_argument('--only', default='', help='messages whose name has this in it')
    for hidden in ('--role', '--case', '--out'):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    parser.add_argument('--typed', action='store_true', help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.role == 'publisher':
        publish(CASES[int(given.case)], given.typed)
    elif given.role == 'subscriber':
        subscribe(CASES[int(given.case)], given.typed, Path(given.out))
    else:
        print(f'{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}; goal: less than '
              f'{GOAL_MS:g} ms added at the median without a fault\n{HEAD}', flush=True)
        with tempfile.TemporaryDirectory() as name:
            os.environ.setdefault('ROS_LOG_DIR', name)
            for setup in setups(given.quick, given.only):
                rows = measure(*setup, given.seconds, Path(name), quick=given.quick)
                print(*rows, sep='\n', flush=True)


if __name__ == '__main__':
    main()
