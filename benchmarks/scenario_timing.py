"""How late the actions of a scenario take effect: actual minus requested time.

    python -m benchmarks.scenario_timing [--actions 200]

A run moves a box in the embedded simulator at requested times that fall on no tick of the clock.
The box publishes its pose with every physics step, 1 ms apart, so the stamp of the first pose
that has changed tells when the move took effect in simulated time. It is requested in real time
and at a tenth of it, where what costs wall time costs a tenth in simulated time. The baseline,
in the same run of this program, does what a test script does: a thread that sleeps until the
time and calls the same service, on the same simulator, at real time.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
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
POSES, JOURNAL = '/model/box/pose', 'robot_qa/scenario'
LATE = re.compile(r', ([0-9.]+) (ns|us|ms|s) late')
UNITS = {'ns': 1e-6, 'us': 1e-3, 'ms': 1.0, 's': 1e3}
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
system:
  simulator: {{backend: embedded, world: box.sdf, real_time_factor: {speed}}}
topics:
  /model/box/pose: {{expect_count: {{min: 1}}}}
scenario:
"""
STEP = '- {{at: {at} ms, move: {{name: box, pose: {{xyz: [{place}, 0, 5]}}}}}}\n'


def requested_ms(actions: int) -> list[int]:
    return [FIRST_MS + PERIOD_MS * number for number in range(actions)]


def moves(recording: Path) -> tuple[dict[int, int], list[int]]:
    """Return when the box was first seen at each place, and when each step was begun; ns."""
    seen: dict[int, int] = {}
    begun = []
    types = get_typestore(Stores.ROS2_KILTED)
    probe = BagProbe(recording, [POSES, JOURNAL])
    try:
        while not probe.done:
            for batch in probe.drain():
                if batch.topic == JOURNAL:
                    begun += [entry['simulated_ns'] for _, entry in entries(batch)
                              if entry['event'] == 'begun']
                    continue
                for payload in batch.payloads:
                    message: Any = types.deserialize_cdr(bytes(payload), batch.type)
                    one = message.transforms[0]
                    stamp = one.header.stamp.sec * NS_PER_S + one.header.stamp.nanosec
                    seen.setdefault(round(one.transform.translation.x), stamp)
    finally:
        probe.close()
    return seen, begun


def played(actions: int, speed: float) -> list[float]:
    """Return how late each move of a run took effect, in simulated ms."""
    wanted = requested_ms(actions)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / 'box.sdf').write_text(WORLD)
        spec = folder / 'timing.qa.yaml'
        spec.write_text(SPEC.format(duration=wanted[-1] + 500, speed=speed) + ''.join(
            STEP.format(at=at, place=place + 1) for place, at in enumerate(wanted)))
        done = subprocess.run(
            [sys.executable, '-m', 'robot_qa.cli', 'run', spec, '--record', '--quiet', '--out',
             folder / 'out'], check=False, capture_output=True, text=True)
        report = json.loads((folder / 'out' / 'report.json').read_text())
        if report['verdict'] != 'PASS':
            red = [f'{check["name"]}: {check["reason"]}' for check in report['checks']
                   if check['verdict'] != 'PASS']
            raise SystemExit('\n'.join(['the run did not pass', *red[:5], done.stderr]))
        seen, begun = moves(folder / 'out' / 'recording.mcap')
        # Where the run's own time zero is on the clock of the simulation.
        late = [float(found[1]) * UNITS[found[2]] for event in report['timeline']
                if event['event'] == 'doing' and (found := LATE.search(event['detail']))]
        start = statistics.median(
            at / MS - wish - lag for at, wish, lag in zip(begun, wanted, late, strict=True))
    return [seen[place + 1] / MS - start - at for place, at in enumerate(wanted)]


def scripted(actions: int) -> list[float]:
    """Return the same for a script that sleeps and calls, in ms."""
    wanted = requested_ms(actions)
    with tempfile.TemporaryDirectory() as name, claim_domain() as claim:
        world = Path(name) / 'box.sdf'
        world.write_text(WORLD)
        env = child_environment(claim.id, {'ROS_LOG_DIR': name})
        simulator = subprocess.Popen(
            [sys.executable, '-m', 'robot_qa.embedded.node', world, '--real-time-factor', '1'],
            env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            done = subprocess.run(
                [sys.executable, '-m', 'benchmarks.scenario_timing', '--script',
                 json.dumps(wanted)], env=env, check=True, capture_output=True, text=True)
        finally:
            simulator.terminate()
            simulator.wait()
    found: list[float] = json.loads(done.stdout)
    return found


def script(wanted: list[int]) -> list[float]:
    """Move the box as a test script would, and return how late each move took effect, in ms."""
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from rosgraph_msgs.msg import Clock
    from simulation_interfaces.srv import SetEntityState
    from tf2_msgs.msg import TFMessage

    rclpy.init()
    node = rclpy.create_node('script')
    seen: dict[int, int] = {}
    clock: list[tuple[float, int]] = []

    def look(message: Any) -> None:
        one = message.transforms[0]
        stamp = one.header.stamp.sec * NS_PER_S + one.header.stamp.nanosec
        seen.setdefault(round(one.transform.translation.x), stamp)

    node.create_subscription(TFMessage, POSES, look, 1000)
    node.create_subscription(Clock, '/clock', lambda tick: clock.append(
        (time.monotonic(), tick.clock.sec * NS_PER_S + tick.clock.nanosec)), 1000)
    client = node.create_client(SetEntityState, '/set_entity_state')
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    thread = threading.Thread(target=executor.spin, daemon=True)
    thread.start()
    client.wait_for_service()
    while not (clock and seen):
        time.sleep(0.01)
    time.sleep(1.0)
    begun, start = clock[-1]
    for place, at in enumerate(wanted):
        time.sleep(max(0.0, begun + at / 1000 - time.monotonic()))
        request = SetEntityState.Request(entity='box', set_pose=True)
        request.state.pose.position.x = float(place + 1)
        request.state.pose.position.z = 5.0
        client.call_async(request)
    while len(wanted) not in seen:
        time.sleep(0.01)
    executor.shutdown()
    thread.join()
    return [(seen[place + 1] - start) / MS - at for place, at in enumerate(wanted)]


def show(name: str, late: list[float], goal: float | None = None) -> float:
    p50, p99 = np.percentile(late, [50, 99])
    aim = '' if goal is None else f'   goal {goal:g} ms: {"met" if p99 <= goal else "MISSED"}'
    print(f'{name:<34} median {p50:6.2f} ms   p99 {p99:6.2f} ms   worst {max(late):6.2f} ms{aim}')
    return float(p99)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--actions', type=int, default=200)
    parser.add_argument('--script', type=json.loads, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.script:
        print(json.dumps(script(given.script)))
        return
    ours = show('scenario, real time', played(given.actions, 1.0), 20.0)
    show('scenario, a tenth of real time', played(given.actions, 0.1), 5.0)
    theirs = show('script that sleeps, real time', scripted(given.actions))
    print(f'p99 of the script over ours in real time: {theirs / ours:.1f}')


if __name__ == '__main__':
    main()
