"""How fast the embedded simulator runs the warehouse: python -m benchmarks.embedded_speed

Prints real-time factors (simulated per wall time) of the physics alone, with all sensors but the
camera, and with the camera at its 10 Hz by EGL and by rays; beside them that of bare ``mj_step``
in the same run, and the ratio. Then ms per picture and per scan, and s from the start of the
process to its first ``/clock``. Medians of several turns.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import mujoco

from robot_qa.domains import claim_domain
from robot_qa.embedded.cameras import Camera
from robot_qa.embedded.diff_drive import DiffDrive
from robot_qa.embedded.drives import make_drives
from robot_qa.embedded.picture import Renderer
from robot_qa.embedded.publishers import JointStatePublisher
from robot_qa.embedded.render import make_renderer
from robot_qa.embedded.runner import Runner
from robot_qa.embedded.sdf import load_world
from robot_qa.embedded.sensors import KINDS, make_sensor
from robot_qa.embedded.simulation import Simulation
from robot_qa.errors import RobotQaError
from robot_qa.processes import child_environment

WORLD = Path(__file__).parent.parent / 'worlds' / 'warehouse.sdf'
NS_PER_S = 1_000_000_000
PICTURE = frozenset(['color'])


def wall_s(act: Callable[[], object]) -> float:
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


def renderers() -> list[Renderer]:
    found = []
    for prefer in ('gl', 'rays'):
        try:
            found.append(make_renderer(prefer))
        except RobotQaError as error:
            print(f'no {prefer}: {error}')
    return found


def cameras_of(simulation: Simulation, renderer: Renderer) -> list[Camera]:
    return [
        Camera(simulation, name, sensor, renderer) for name in simulation.names()
        for sensor in simulation.model_of(name).sensors if sensor.kind == 'camera'
    ]


def each_time(act: Callable[[], object]) -> Callable[[int], None]:
    def due(_: int) -> None:
        act()

    return due


def staged(*, sensors: bool, renderer: Renderer | None) -> Runner:
    """Return the warehouse with its drives, driving, and what is asked for."""
    simulation = Simulation(load_world(WORLD))
    runner = Runner(simulation, 0.0)
    for name in simulation.names():
        for drive in make_drives(simulation, name):
            if isinstance(drive, DiffDrive):
                drive.command(0.3, 0.2)
                runner.every(drive.update_period_ns, drive.update)
            if sensors and isinstance(drive, DiffDrive | JointStatePublisher):
                runner.every(drive.period_ns, each_time(drive.sample))
        for described in simulation.model_of(name).sensors if sensors else ():
            if described.kind in KINDS:
                sensor = make_sensor(simulation, name, described, 0)
                runner.every(sensor.period_ns, each_time(sensor.sample))
    if renderer is not None:
        for camera in cameras_of(simulation, renderer):
            runner.every(camera.period_ns, each_time(
                partial(camera.look, PICTURE, exposure=1.0, noise=0.0)))
    return runner


def factor(runner: Runner, simulated_s: float) -> float:
    simulation = runner.simulation
    until = simulation.time_ns + int(simulated_s * NS_PER_S)
    return simulated_s / wall_s(lambda: runner.advance(until))


def with_camera(renderer: Renderer, simulated_s: float) -> float:
    return factor(staged(sensors=True, renderer=renderer), simulated_s)


def bare_factor(simulated_s: float) -> float:
    simulation = Simulation(load_world(WORLD))
    steps = int(simulated_s * NS_PER_S) // simulation.step_ns
    model, data = simulation.model, simulation.data
    return simulated_s / wall_s(lambda: mujoco.mj_step(model, data, steps))


def first_clock_s() -> float:
    """Return the time from the start of the simulator to the first /clock that is received."""
    import rclpy
    from rosgraph_msgs.msg import Clock

    with claim_domain() as claim:
        os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
        context = rclpy.Context()
        rclpy.init(context=context, domain_id=claim.id)
        node = rclpy.create_node('stopwatch', context=context)
        ticks: list[Clock] = []
        node.create_subscription(Clock, '/clock', ticks.append, 10)
        executor = rclpy.executors.SingleThreadedExecutor(context=context)
        executor.add_node(node)
        start = time.perf_counter()
        with subprocess.Popen(
            [sys.executable, '-m', 'robot_qa.embedded.program', str(WORLD)],
            env=child_environment(os.environ, claim.id, {}), stderr=subprocess.DEVNULL,
        ) as simulator:
            try:
                while not ticks:
                    executor.spin_once(timeout_sec=0.05)
                return time.perf_counter() - start
            finally:
                simulator.terminate()
                node.destroy_node()
                context.shutdown()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--turns', type=int, default=5)
    parser.add_argument('--simulated', type=float, default=10.0, help='s of a turn')
    given = parser.parse_args()
    found = renderers()
    cases: dict[str, Callable[[], float]] = {
        'bare mj_step': lambda: bare_factor(given.simulated),
        'physics and drives': lambda: factor(
            staged(sensors=False, renderer=None), given.simulated),
        'all sensors but the camera': lambda: factor(
            staged(sensors=True, renderer=None), given.simulated),
    }
    for renderer in found:
        cases[f'all, camera by {renderer.backend}'] = partial(
            with_camera, renderer, given.simulated / 5)
    times: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(given.turns):
        for name, case in cases.items():
            times[name].append(case())
    bare = statistics.median(times['bare mj_step'])
    for name, values in times.items():
        middle = statistics.median(values)
        print(f'{name:45} {middle:7.1f} x real time, {middle / bare:.2f} of bare mj_step')
    for renderer in found:
        simulation = Simulation(load_world(WORLD))
        camera = cameras_of(simulation, renderer)[0]
        for what in ('color', 'depth', 'geoms'):
            want = frozenset([what])
            look = partial(camera.look, want, exposure=1.0, noise=0.0)
            looks = [1000 * wall_s(look) for _ in range(2 + 2 * given.turns)][2:]
            size = f'{camera.part.width}x{camera.part.height}'
            print(f'{what} {size} by {renderer.backend}: {statistics.median(looks):.1f} ms')
    runner = staged(sensors=False, renderer=None)
    name, described = next(
        (name, sensor) for name in runner.simulation.names()
        for sensor in runner.simulation.model_of(name).sensors if sensor.kind == 'lidar')
    lidar = make_sensor(runner.simulation, name, described, 0)
    scans = [1000 * wall_s(lidar.sample) for _ in range(50)][5:]
    print(f'scan of {described.lidar.samples if described.lidar else 0} rays: '
          f'{statistics.median(scans):.2f} ms')
    starts = [first_clock_s() for _ in range(given.turns)]
    print(f'start to first /clock: {statistics.median(starts):.2f} s')


if __name__ == '__main__':
    main()
