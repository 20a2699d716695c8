"""The graph of real nodes in other processes: each seeded fault turns its own check red.

One observation; faults come one after another and stay found. Its recording, judged offline, has
to give the same results.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from subprocess import PIPE, Popen, TimeoutExpired
from typing import Any

import pytest

from robot_qa.domains import claim_domain
from robot_qa.messages.typestore import TypeStore
from robot_qa.panel import Panel
from robot_qa.probes.bag import BagProbe
from robot_qa.probes.batch import Observation
from robot_qa.probes.recorder import Recorder
from robot_qa.processes import child_environment
from robot_qa.spec.graph import graph_interest
from robot_qa.spec.loader import load_spec

pytestmark = pytest.mark.live

# Makes nodes as its argument says, then does what each line of its input says.
NODES = """
import json, sys, threading
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, DurabilityPolicy
from std_msgs.msg import String

rclpy.init(args=[])
nodes = {}
todo = []

def make(name, lifecycle=False, **more):
    nodes[name] = (LifecycleNode if lifecycle else rclpy.create_node)(name)
    if lifecycle:
        nodes[name].trigger_configure()
        nodes[name].trigger_activate()
    change(name, **more)
    if more.get('spins', True):
        executor.add_node(nodes[name])

def change(name, publishers=(), subscribers=(), parameters=None, deactivate=False, **_):
    node = nodes[name]
    for topic, durability in publishers:
        node.create_publisher(String, topic, qos(durability))
    for topic, durability in subscribers:
        node.create_subscription(String, topic, lambda message: None, qos(durability))
    for key, value in (parameters or {}).items():
        if node.has_parameter(key):
            node.set_parameters([Parameter(key, value=value)])
        else:
            node.declare_parameter(key, value)
    if deactivate:
        node.trigger_deactivate()

def remove(name):
    executor.remove_node(nodes[name])
    nodes.pop(name).destroy_node()

def qos(durability):
    return QoSProfile(depth=1, durability=DurabilityPolicy[durability.upper()])

def listen():
    for line in sys.stdin:
        todo.append(json.loads(line))
    todo.append(None)

executor = SingleThreadedExecutor()
threading.Thread(target=listen, daemon=True).start()
while True:
    executor.spin_once(timeout_sec=0.02)
    while todo:
        order = todo.pop(0)
        if order is None:
            rclpy.shutdown()
            sys.exit(0)
        what, arguments = order
        {'make': make, 'change': change, 'remove': remove}[what](**arguments)
"""
SPEC = """
robot_qa: 1
name: graph
duration: 60 s
nodes:
  /robot:
    alive: true
    restarts: {max: 0}
    parameters: {max_speed: {equals: 0.5}, gain: {min: 0, max: 2}}
  /viewer: {alive: true}
  /arm: {lifecycle: active}
  /deaf: {parameters: {gain: {max: 1}}}
graph: {unique_names: true, qos_compatible: true}
topics:
  /scan: {publishers: 1, subscribers: {min: 1}, qos_compatible: true}
"""
PATIENCE_S = 15.0


class Helper:
    """A process with nodes."""

    def __init__(self, domain: int) -> None:
        self.process = Popen(
            [sys.executable, '-c', NODES], stdin=PIPE, text=True,
            env=child_environment(os.environ, domain, {}),
        )

    def tell(self, what: str, name: str, **arguments: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([what, {'name': name, **arguments}]) + '\n')
        self.process.stdin.flush()

    def stop(self) -> None:
        """Let the nodes leave the graph; a killed one would also leave shared memory."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(20)
        except TimeoutExpired:
            self.process.kill()
            raise


class Watcher:
    """What a session does: drain, judge, record."""

    def __init__(self, domain: int, folder: Path, stack: ExitStack) -> None:
        from robot_qa.probes.graph import GraphProbe
        from robot_qa.probes.live import LiveProbe

        self.spec = folder / 'graph.qa.yaml'
        self.spec.write_text(SPEC)
        self.bag = folder / 'recording.mcap'
        loaded = load_spec(self.spec)
        self.panel = Panel(loaded, TypeStore())
        self.live = LiveProbe([], domain)
        stack.callback(self.live.close)
        interest = graph_interest(loaded.spec)
        assert interest is not None
        self.graph = GraphProbe(self.live.node, interest)
        stack.callback(self.graph.close)
        self.recorder = Recorder(self.bag, TypeStore())
        self._expected: set[str] = set()

    def begin(self) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while self.graph.missing():
            assert time.monotonic() < deadline, self.graph.missing()
            time.sleep(0.02)
        self.live.begin()
        self.graph.begin()

    def watch(self, enough: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not enough():
            assert time.monotonic() < deadline, self.results()
            self.live.drain()
            batches = self.graph.drain()
            self.panel.update(batches)
            for batch in batches:
                self.recorder.write(batch)
            time.sleep(0.05)

    def results(self) -> dict[str, tuple[str, str]]:
        return judged(self.panel, self.live.observation())

    def red(self) -> set[str]:
        return {name for name, (verdict, _) in self.results().items() if verdict == 'FAIL'}

    def found(self, *names: str) -> tuple[str, ...]:
        """Wait until these are red, and no others with them; return why."""
        self._expected.update(names)
        self.watch(lambda: set(names) <= self.red())
        assert self.red() == self._expected, self.results()
        return tuple(self.results()[name][1] for name in names)

    def conclude(self) -> dict[str, tuple[str, str]]:
        """Close the recording; return the last results."""
        seen = self.live.observation()
        self.recorder.close({'start_ns': seen.start_ns, 'end_ns': seen.end_ns, 'overruns': {},
                             'notes': {}, 'clock': 'system', 'run_checks': []})
        return judged(self.panel, seen)

    def offline(self) -> dict[str, tuple[str, str]]:
        """Return the results of judging the closed recording."""
        panel = Panel(load_spec(self.spec), TypeStore())
        bag = BagProbe(self.bag, panel.topics)
        while not bag.done:
            panel.update(bag.drain())
        seen = bag.observation()
        bag.close()
        return judged(panel, seen)


def judged(panel: Panel, seen: Observation) -> dict[str, tuple[str, str]]:
    return {one.name: (one.verdict.value, one.reason) for one in panel.results(seen, final=True)}


World = tuple[Callable[[], Helper], Helper, Helper, Watcher]


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ExitStack]:
    monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    monkeypatch.setenv('ROS_LOG_DIR', str(tmp_path / 'log'))
    with ExitStack() as opened:
        yield opened


@pytest.fixture
def world(stack: ExitStack, tmp_path: Path) -> World:
    """Return what starts processes, the robot, the other nodes, and the watcher, all sound."""
    domain = stack.enter_context(claim_domain()).id

    def start() -> Helper:
        helper = Helper(domain)
        stack.callback(helper.stop)
        return helper

    robot, others = start(), start()
    robot.tell('make', 'robot', publishers=[('/scan', 'volatile')],
               parameters={'max_speed': 0.5, 'gain': 1})
    others.tell('make', 'arm', lifecycle=True)
    others.tell('make', 'deaf', parameters={'gain': 1}, spins=False)
    others.tell('make', 'camera', publishers=[('/map', 'volatile')])
    others.tell('make', 'viewer', subscribers=[('/scan', 'volatile'), ('/map', 'volatile')])
    watcher = Watcher(domain, tmp_path, stack)
    watcher.begin()
    return start, robot, others, watcher


def test_every_fault_turns_its_own_check_red(world: World) -> None:
    start, robot, others, watcher = world
    begun = time.monotonic()
    watcher.watch(lambda: time.monotonic() - begun > 3.0)
    verdicts = {name: verdict for name, (verdict, _) in watcher.results().items()}
    assert verdicts.pop('nodes./deaf.parameters.gain.max') == 'INCONCLUSIVE'
    assert set(verdicts.values()) == {'PASS'}, watcher.results()

    found = watcher.found
    robot.tell('change', 'robot', parameters={'max_speed': 0.7})
    (why,) = found('nodes./robot.parameters.max_speed.equals')
    assert 'max_speed = 0.7 from ' in why
    robot.tell('change', 'robot', parameters={'gain': 3})
    found('nodes./robot.parameters.gain.max')
    others.tell('change', 'arm', deactivate=True)
    (why,) = found('nodes./arm.lifecycle')
    assert 'it was inactive, not active from ' in why
    others.tell('change', 'viewer', subscribers=[('/map', 'transient_local')])
    (why,) = found('graph.qos_compatible')
    assert ('/camera (reliable, volatile) -> /viewer (reliable, transient_local) on /map: '
            'durability: offered volatile, requested transient_local') in why
    others.tell('change', 'viewer', subscribers=[('/scan', 'transient_local')])
    found('topics./scan.qos_compatible')
    others.tell('change', 'camera', publishers=[('/scan', 'transient_local')])
    (why,) = found('topics./scan.publishers')
    assert '2 publishers: /camera, /robot' in why
    others.tell('make', 'camera')
    (why,) = found('graph.unique_names')
    assert '2 nodes are called /camera' in why
    others.tell('remove', 'viewer')
    found('nodes./viewer.alive', 'topics./scan.subscribers.min')
    robot.stop()
    found('nodes./robot.alive')
    start().tell('make', 'robot', publishers=[('/scan', 'volatile')])
    (why,) = found('nodes./robot.restarts.max')
    assert '/robot came back with the new identity ' in why

    why = watcher.results()['nodes./deaf.parameters.gain.max'][1]
    assert why == '/deaf did not answer on /deaf/get_parameters within 1 s'
    live = watcher.conclude()
    assert watcher.offline() == live
