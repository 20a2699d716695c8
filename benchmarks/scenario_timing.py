"""How late the actions of a scenario take effect: actual minus requested time.

    python -m benchmarks.scenario_timing [--actions 150] [--block 2] [--slow]

Three ways, each at times that fall on no tick of any clock:

- lock-step: the embedded simulator is paused and stepped in blocks of ``--block`` ms; between two
  blocks the scenario has the wall time that it needs. A step moves a box. The box publishes its
  pose with every physics step of 1 ms, and /clock with it, so the stamp of the first pose that has
  changed is the simulator's own time of the effect, or 1 ms later.
- simulator in real time: the same steps in a run as a user makes it; what costs wall time costs
  simulated time. ``--slow``: also at a tenth of real time. The baseline calls the same service
  from an rclpy timer on the simulated clock; a step first asks where the box is, for its undo.
- system clock: a run without a simulator; each step publishes a message, whose source timestamp
  (when the middleware sent it) counts. The baselines publish the same from an rclpy timer and from
  a loop that sleeps until the time.

A world without such a box has a tick of /clock every 10 ms, which comes on top outside lock-step.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from os import environ
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.typesys import Stores, get_typestore

from robot_qa.domains import claim_domain
from robot_qa.probes.bag import BagProbe
from robot_qa.probes.journal import entries
from robot_qa.processes import child_environment
from robot_qa.timebase import NS_PER_S

PERIOD_MS, FIRST_MS = 53, 2003
MS = 1_000_000
POSES, BEAT, JOURNAL = '/model/box/pose', '/beat', 'robot_qa/scenario'
LATE = re.compile(r', ([0-9.]+) (ns|us|ms|s) late')
UNITS = {'ns': 1e-6, 'us': 1e-3, 'ms': 1.0, 's': 1e3}
LOCK_STEP_GOAL, REAL_TIME_GOAL = 5.0, 20.0
WORLD = """<sdf version="1.9"><world name="timing">
  <physics name="1ms" type="ignored"><max_step_size>0.001</max_step_size></physics>
  <gravity>0 0 0</gravity>
  <model name="box"><link name="link">
    <inertial><mass>1</mass></inertial>
    <collision name="c"><geometry><box><size>1 1 1</size></box></geometry></collision>
  </link>
  <plugin filename="gz-sim-pose-publisher-system" name="gz::sim::systems::PosePublisher">
    <publish_nested_model_pose>true</publish_nested_model_pose><publish_link_pose>false</publish_link_pose>
    <use_pose_vector_msg>true</use_pose_vector_msg><update_frequency>1000</update_frequency>
  </plugin></model>
</world></sdf>
"""
SPEC = """robot_qa: 1
name: timing
duration: {duration} ms
timeout: 900 s
system: {system}
topics: {{{topic}: {{type: {type}, expect_count: {{min: 1}}}}}}
scenario:
"""
SIMULATED = '{{simulator: {{backend: embedded, world: box.sdf, real_time_factor: {}}}}}'
STEPPED = '{simulator: {backend: standard}}'
# Something has to run, so that the run does not attach to a robot.
ALONE = "{processes: [{name: idle, command: [sleep, '900']}]}"
MOVE = '- {{at: {at} ms, move: {{name: box, pose: {{xyz: [{number}, 0, 5]}}}}}}\n'
SEND = ('- {{at: {at} ms, publish: {{topic: /beat, type: std_msgs/msg/Int32, '
        'message: {{data: {number}}}}}}}\n')


def requested_ms(actions: int) -> list[int]:
    return [FIRST_MS + PERIOD_MS * number for number in range(actions)]


def spec_text(wanted: list[int], system: str) -> str:
    """Return a spec that does something at each of these times, numbered from 1."""
    sends = system == ALONE
    topic, kind = (BEAT, 'std_msgs/msg/Int32') if sends else (POSES, 'tf2_msgs/msg/TFMessage')
    head = SPEC.format(duration=wanted[-1] + 500, system=system, topic=topic, type=kind)
    step = SEND if sends else MOVE
    return head + ''.join(step.format(at=at, number=1 + i) for i, at in enumerate(wanted))


def look(message: Any, seen: dict[int, int]) -> None:
    """Note when the box was first seen at a place, by the stamp of its pose, in ns."""
    one = message.transforms[0]
    stamp = one.header.stamp.sec * NS_PER_S + one.header.stamp.nanosec
    seen.setdefault(round(one.transform.translation.x), stamp)


def recorded(recording: Path) -> tuple[dict[int, int], list[int]]:
    """Return when each step took effect, by its number, and when each was begun; ns."""
    seen: dict[int, int] = {}
    begun = []
    types = get_typestore(Stores.ROS2_KILTED)
    probe = BagProbe(recording, [POSES, BEAT, JOURNAL])
    try:
        while not probe.done:
            for batch in probe.drain():
                if batch.topic == JOURNAL:
                    begun += [entry.get('simulated_ns', stamp) for stamp, entry in entries(batch)
                              if entry['event'] == 'begun']
                elif batch.topic == BEAT:
                    assert batch.source_ns is not None
                    sent: list[Any] = [
                        types.deserialize_cdr(bytes(one), batch.type) for one in batch.payloads]
                    seen |= {one.data: int(stamp)
                             for one, stamp in zip(sent, batch.source_ns, strict=True)}
                else:
                    for payload in batch.payloads:
                        look(types.deserialize_cdr(bytes(payload), batch.type), seen)
    finally:
        probe.close()
    return seen, begun


def played(wanted: list[int], system: str) -> list[float]:
    """Return how late each step of a run took effect, in ms on the clock of the run."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / 'box.sdf').write_text(WORLD)
        spec = folder / 'timing.qa.yaml'
        spec.write_text(spec_text(wanted, system))
        done = subprocess.run(
            [sys.executable, '-m', 'robot_qa.cli', 'run', spec, '--record', '--quiet', '--out',
             folder / 'out'], check=False, capture_output=True, text=True)
        report = json.loads((folder / 'out' / 'report.json').read_text())
        if report['verdict'] != 'PASS':
            red = [f'{check["name"]}: {check["reason"]}' for check in report['checks']
                   if check['verdict'] != 'PASS']
            raise SystemExit('\n'.join(['the run did not pass', *red[:5], done.stderr]))
        seen, begun = recorded(folder / 'out' / 'recording.mcap')
        # Where the run's own time zero is on its clock.
        late = [float(found[1]) * UNITS[found[2]] for event in report['timeline']
                if event['event'] == 'doing' and (found := LATE.search(event['detail']))]
        start = statistics.median(
            at / MS - wish - lag for at, wish, lag in zip(begun, wanted, late, strict=True))
    return [seen[number + 1] / MS - start - at for number, at in enumerate(wanted)]


@contextmanager
def simulator(*words: str) -> Iterator[dict[str, str]]:
    """Let a simulator run with the box; yield the environment of those who talk to it."""
    with tempfile.TemporaryDirectory() as name, claim_domain() as claim:
        world = Path(name) / 'box.sdf'
        world.write_text(WORLD)
        env = child_environment(environ, claim.id, {'ROS_LOG_DIR': name})
        with (Path(name) / 'simulator.log').open('w+') as log:
            process = subprocess.Popen(
                [sys.executable, '-m', 'robot_qa.embedded.program', world, *words],
                env=env, stdout=log, stderr=log)
            try:
                yield env
            finally:
                if process.poll() is not None:
                    log.seek(0)
                    print(f'the simulator ended with {process.returncode}: {log.read()}',
                          file=sys.stderr)
                process.terminate()
                process.wait()


def in_a_process(env: dict[str, str], way: str, wanted: list[int], block: int) -> list[float]:
    """Let another process do it, which joins the graph of this environment."""
    done = subprocess.run(
        [sys.executable, '-m', 'benchmarks.scenario_timing', '--way', way, '--times',
         json.dumps(wanted), '--block', str(block)], env=env, check=True, stdout=subprocess.PIPE,
        timeout=60 + 10 * wanted[-1] / 1000)
    found: list[float] = json.loads(done.stdout)
    return found


def lock_step(wanted: list[int], block: int) -> list[float]:
    """Step the simulator, play after each block, and return how late each move took effect."""
    import rclpy
    from simulation_interfaces.srv import StepSimulation
    from tf2_msgs.msg import TFMessage

    from robot_qa.messages.typestore import TypeStore
    from robot_qa.probes.caller import SETTLE_S, Line
    from robot_qa.scenario.stage import Stage
    from robot_qa.spec.loader import load_spec

    rclpy.init()
    node = rclpy.create_node('stepper')
    poses = node.create_subscription(TFMessage, POSES, lambda _: None, 1000)
    line = Line(node, StepSimulation, '/step_simulation')
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / 'timing.qa.yaml'
        path.write_text(spec_text(wanted, STEPPED))
        loaded = load_spec(path)
        stage = Stage(loaded, node, TypeStore(), loaded.spec.duration, lambda *_: None)
        stage.prepare(None, {})
    while not line.ready():
        time.sleep(0.01)
    time.sleep(SETTLE_S)
    seen: dict[int, int] = {}
    now = 0

    def step() -> None:
        nonlocal now
        line.send(StepSimulation.Request(steps=block))
        while (answer := line.take()) is None:
            time.sleep(0.0002)
        assert answer.response.result.result == 1, answer.response.result.error_message
        now += block * MS
        while (taken := poses.handle.take_message(TFMessage, False)) is not None:
            look(taken[0], seen)

    # The tick that it takes to be there is its time zero.
    while not stage.is_at_rest(now) or now < 100 * MS:
        step()
        time.sleep(0.01)
    stage.begin()
    start = now
    while len(seen) <= len(wanted):
        step()
        stage.wait(0.0002)
        while not stage.is_at_rest(now):
            stage.wait(0.0002)
    stage.end()
    stage.close()
    return [(seen[number + 1] - start) / MS - at for number, at in enumerate(wanted)]


def script(wanted: list[int], _: int) -> list[float]:
    """Move the box as a test script would, one move each period; return how late each was, ms."""
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.parameter import Parameter
    from simulation_interfaces.srv import SetEntityState
    from tf2_msgs.msg import TFMessage

    rclpy.init()
    node = rclpy.create_node(
        'script', parameter_overrides=[Parameter('use_sim_time', value=True)])
    listener = rclpy.create_node('listener')
    poses = listener.create_subscription(TFMessage, POSES, lambda _: None, 1000)
    client = node.create_client(SetEntityState, '/set_entity_state')
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    client.wait_for_service()
    sent = 0

    def send() -> None:
        nonlocal sent
        if sent == len(wanted):
            return
        sent += 1
        request = SetEntityState.Request(entity='box', set_pose=True)
        request.state.pose.position.x = float(sent)
        request.state.pose.position.z = 5.0
        client.call_async(request)

    seen: dict[int, int] = {}

    def spin() -> None:
        executor.spin_once(timeout_sec=0.01)
        # Without delay: a reader that is full makes a reliable publisher fail.
        while (taken := poses.handle.take_message(TFMessage, False)) is not None:
            look(taken[0], seen)

    settled = time.monotonic() + 1.0
    while not node.get_clock().now().nanoseconds or time.monotonic() < settled:
        spin()
    start = node.get_clock().now().nanoseconds
    node.create_timer(PERIOD_MS / 1000, send)
    while sent < len(wanted) or len(wanted) not in seen:
        spin()
    for number in range(len(wanted) - 1, 0, -1):
        # A move that another one followed within the same step of physics.
        seen.setdefault(number, seen[number + 1])
    return [(seen[1 + i] - start) / MS - (1 + i) * PERIOD_MS for i in range(len(wanted))]


def beats(wanted: list[int], by_timer: bool) -> list[float]:
    """Publish as many messages, one each period, and return how late each was sent, in ms."""
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from std_msgs.msg import Int32

    rclpy.init()
    node, listener = rclpy.create_node('beats'), rclpy.create_node('listener')
    publisher = node.create_publisher(Int32, BEAT, 10)
    subscription = listener.create_subscription(Int32, BEAT, lambda _: None, len(wanted))
    while not publisher.get_subscription_count():
        time.sleep(0.01)
    sent = 0

    def send() -> None:
        nonlocal sent
        sent += 1
        publisher.publish(Int32(data=sent))

    begun, start = time.monotonic(), time.time_ns()
    if by_timer:
        node.create_timer(PERIOD_MS / 1000, send)
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        while sent < len(wanted):
            executor.spin_once()
    else:
        while sent < len(wanted):
            time.sleep(max(0.0, begun + (sent + 1) * PERIOD_MS / 1000 - time.monotonic()))
            send()
    stamps: list[int] = []
    while len(stamps) < len(wanted):
        if (taken := subscription.handle.take_message(Int32, False)) is not None:
            stamps.append(taken[1]['source_timestamp'])
    return [(stamp - start) / MS - (1 + i) * PERIOD_MS for i, stamp in enumerate(stamps)]


WAYS: dict[str, Callable[[list[int], int], list[float]]] = {
    'lock-step': lock_step, 'script': script,
    'timer': lambda wanted, _: beats(wanted, True),
    'sleep': lambda wanted, _: beats(wanted, False),
}


def show(name: str, late: list[float], goal: float | None = None) -> tuple[float, float]:
    p50, p99 = map(float, np.percentile(late, [50, 99]))
    aim = '' if goal is None else f'   goal {goal:g} ms: {"met" if p99 <= goal else "MISSED"}'
    print(f'{name:<40} median {p50:6.2f} ms   p99 {p99:6.2f} ms   worst {max(late):6.2f} ms{aim}',
          flush=True)
    return p50, p99


def ratios(name: str, ours: Sequence[float], theirs: Sequence[float]) -> None:
    print(f'    ours over {name}: median {ours[0] / theirs[0]:.2f}, p99 {ours[1] / theirs[1]:.2f}')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--actions', type=int, default=150)
    parser.add_argument('--block', type=int, default=2, help='ms that lock-step goes at a time')
    parser.add_argument('--slow', action='store_true', help='also at a tenth of real time')
    parser.add_argument('--way', choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument('--times', type=json.loads, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.way:
        print(json.dumps(WAYS[given.way](given.times, given.block)))
        return
    wanted = requested_ms(given.actions)
    with simulator('--paused') as env:
        show(f'scenario, lock-step in blocks of {given.block} ms',
             in_a_process(env, 'lock-step', wanted, given.block), LOCK_STEP_GOAL)
    ours = show('scenario, simulator in real time', played(wanted, SIMULATED.format(1)),
                REAL_TIME_GOAL)
    with simulator('--real-time-factor', '1') as env:
        theirs = show('  an rclpy timer on its clock', in_a_process(env, 'script', wanted, 0))
    ratios('the timer', ours, theirs)
    if given.slow:
        show('scenario, at a tenth of real time', played(wanted, SIMULATED.format(0.1)))
    ours = show('scenario, system clock', played(wanted, ALONE), REAL_TIME_GOAL)
    for way, name in (('timer', 'an rclpy timer'), ('sleep', 'a loop that sleeps')):
        with tempfile.TemporaryDirectory() as logs, claim_domain() as claim:
            env = child_environment(environ, claim.id, {'ROS_LOG_DIR': logs})
            ratios(name, ours, show(f'  {name}', in_a_process(env, way, wanted, 0)))


if __name__ == '__main__':
    main()
