"""The embedded simulator as a ROS node: ``python -m robot_qa.embedded.node WORLD``.

It publishes ``/clock``, the sensors, and the ground truth of an SDF world, takes commands, and
answers the services of simulation_interfaces. What can be changed while it runs are parameters.
"""

from __future__ import annotations

import argparse
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args

from robot_qa.embedded import world
from robot_qa.embedded.devices import Devices
from robot_qa.embedded.render import make_renderer
from robot_qa.embedded.runner import Runner
from robot_qa.embedded.sdf import load_world
from robot_qa.embedded.services import SimulationServices
from robot_qa.embedded.settings import Pushes, Settings
from robot_qa.embedded.simulation import Simulation
from robot_qa.errors import RobotQaError
from robot_qa.stopping import stop_on_signals


class SimulatorNode(Node):  # type: ignore[misc]
    """A simulation and everything that speaks for it."""

    def __init__(
        self, described: world.World, folder: Path, *, seed: int,
        real_time_factor: float | None, render: str,
    ) -> None:
        super().__init__('simulator')
        self.folder = folder
        self.quitting = False
        self.runner = Runner(Simulation(described, seed), 1.0)
        renderer = make_renderer(render)
        self.get_logger().info(f'{described.name}: cameras by {renderer.backend}')
        self._devices = Devices(self, self.runner, renderer)
        self._devices.start()
        defaults = {
            'real_time_factor': described.real_time_factor if real_time_factor is None
            else real_time_factor,
            'gravity': list(map(float, described.gravity)),
            'wind': list(map(float, described.wind)),
        }
        self._settings = Settings(self, defaults, self._apply)
        self._pushes = Pushes(self, self.runner.simulation)
        self._standard = SimulationServices(self, self)

    def work(self) -> float:
        """Let simulated time go on; return how long, in s, nothing more has to be done."""
        if self._standard.work():
            return 0.0
        return self.runner.keep_pace()

    def advance_steps(self, count: int) -> None:
        """Take the commands that have come, and do physics steps."""
        self._devices.take_commands()
        simulation = self.runner.simulation
        self.runner.advance(simulation.time_ns + count * simulation.step_ns)

    def spawn(self, model: world.Model, namespace: str) -> None:
        """Add a model with its sensors and drives, their topics in a namespace."""
        self.runner.simulation.spawn(model)
        try:
            self._devices.add(model.name, namespace)
        except RobotQaError:
            self.delete(model.name)
            raise

    def delete(self, name: str) -> None:
        """Remove a model with its sensors and drives."""
        self._devices.remove(name)
        self.runner.simulation.delete(name)

    def reset(self) -> None:
        """Put everything as it was at the start; settings stay as they are."""
        self.runner.reset()
        self._devices.reset()
        self._settings.apply_all()

    def quit(self) -> None:
        """End the simulator, after the answer."""
        self.quitting = True

    def _apply(self, name: str, value: Any) -> None:
        simulation, cameras = self.runner.simulation, self._devices.cameras
        if name == 'real_time_factor':
            self.runner.real_time_factor = value
        elif name == 'light_scale':
            simulation.set_light_scale(value)
        elif name == 'friction_scale':
            simulation.set_friction_scale(value)
        elif name == 'gravity':
            simulation.set_gravity(value)
        elif name == 'wind':
            simulation.set_wind(value)
        elif name == 'camera_exposure':
            cameras.exposure = value
        elif name == 'camera_noise':
            cameras.noise = value
        else:
            self._devices.set_dropout(value)


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulate until interrupted; 2 if the world is wrong, 4 if the simulation broke."""
    arguments = sys.argv[1:] if arguments is None else arguments
    given = _parser().parse_args(remove_ros_args(['simulator', *arguments])[1:])
    stop = stop_on_signals()
    rclpy.init(args=list(arguments), signal_handler_options=SignalHandlerOptions.NO)
    try:
        return _simulate(given, stop)
    except RobotQaError as error:
        print(error, file=sys.stderr)
        return 2
    finally:
        rclpy.try_shutdown()


def _simulate(given: argparse.Namespace, stop: threading.Event) -> int:
    described = load_world(given.world)
    for problem in described.warnings:
        print(f'warning: {problem}', file=sys.stderr)
    node = SimulatorNode(
        described, given.world.resolve().parent, seed=given.seed,
        real_time_factor=given.real_time_factor, render=given.render,
    )
    if not given.paused:
        node.runner.play()
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    wait = 0.0
    try:
        while not (stop.is_set() or node.quitting):
            executor.spin_once(timeout_sec=wait)
            wait = node.work()
    except RobotQaError as error:
        print(f'the simulation broke: {error}', file=sys.stderr)
        return 4
    finally:
        executor.shutdown()
        node.destroy_node()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog='simulator', description=__doc__)
    parser.add_argument('world', type=Path, help='an SDF world')
    parser.add_argument('--seed', type=int, default=0, help='of all noise; 0 if left out')
    parser.add_argument('--real-time-factor', type=float, metavar='F',
                        help='simulated per wall time, 0 for as fast as it can; that of the '
                             "world's physics if left out")
    parser.add_argument('--paused', action='store_true',
                        help='go on only when asked: lock-step, by the service step_simulation')
    parser.add_argument('--render', choices=('auto', 'gl', 'rays'), default='auto',
                        help='how cameras see: OpenGL where there is EGL, else by casting rays')
    return parser


if __name__ == '__main__':
    sys.exit(main())
