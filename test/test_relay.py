"""The relay between a publisher and a listener, told by the actor of the scenario."""

from __future__ import annotations

import importlib
import os
import re
import signal
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from robot_qa.bring_up import environment_for, process_spec, simulator_specs
from robot_qa.domains import claim_domain
from robot_qa.messages.typestore import TypeStore
from robot_qa.processes import Processes, ProcessSpec, child_environment
from robot_qa.scenario import shared_memory
from robot_qa.scenario.player import Doing, Done
from robot_qa.spec.model import TestSpec
from robot_qa.spec.scenario import Step
from samples import MS, START, S, scan

pytestmark = pytest.mark.live
ROOT = Path(__file__).parent.parent
PATIENCE_S = 20.0
TOPIC, INPUT = '/scan', '/scan_unfaulted'
# Numbered images, as slowly as the machine may have to take them in.
CAMERA = """
import array, time
import rclpy
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image
rclpy.init()
node = rclpy.create_node('camera')
publisher = node.create_publisher(Image, '/camera_unfaulted', qos_profile_sensor_data)
image = Image(height=480, width=640, encoding='rgb8', step=1920)
image.data = array.array('B', bytes(1920 * 480))
while True:
    publisher.publish(image)
    image.header.stamp.sec += 1
    time.sleep(0.1)
"""


class Bench:
    """A publisher of scans, the relay, and a listener on both of its sides."""

    def __init__(self, domain: int, processes: Processes) -> None:
        import rclpy
        from rclpy.qos import DurabilityPolicy, QoSProfile
        from sensor_msgs.msg import LaserScan

        from robot_qa.scenario.fault_actor import FaultActor, relay_command

        self.domain, self.processes = domain, processes
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.node = rclpy.create_node('bench', context=self.context)
        self.qos = QoSProfile(depth=1000)
        self.latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.kind = LaserScan
        self.actor = FaultActor(self.node, TypeStore())
        self.command = relay_command
        self.subscriptions: dict[str, Any] = {}
        self.heard: dict[str, list[tuple[bytes, int]]] = {}

    def relay(self, topic: str, *, kind: str | None = None, clock: str = 'system') -> None:
        env = child_environment(os.environ, self.domain, {'PYTHONPATH': str(ROOT)})
        spec = TestSpec.model_validate({
            'robot_qa': 1, 'name': 'x', 'duration': '9 s', 'clock': clock,
            'topics': {topic if kind else '/x': {'type': kind, 'rate': {'min': '1 Hz'}}},
        })
        words = self.command(spec, topic)
        self.processes.start(ProcessSpec(f'relay{topic.replace("/", "_")}', words, ROOT, env))

    def listen(self, topic: str, qos: Any) -> None:
        self.heard[topic] = []
        self.subscriptions[topic] = self.node.create_subscription(
            self.kind, topic, lambda _: None, qos, raw=True)

    def drain(self) -> None:
        for topic, subscription in self.subscriptions.items():
            while (taken := subscription.handle.take_message(self.kind, True)) is not None:
                self.heard[topic].append((taken[0], taken[1]['received_timestamp']))

    def until(self, condition: Callable[[], Any], what: str) -> Any:
        deadline = time.monotonic() + PATIENCE_S
        while not (found := condition()):
            assert time.monotonic() < deadline, f'not within {PATIENCE_S} s: {what}'
            self.drain()
            time.sleep(0.002)
        return found

    def play(self, messages: list[bytes], period: float) -> None:
        """Send messages and listen until they all have come in."""
        for heard in self.heard.values():
            heard.clear()
        begun = time.monotonic()
        for number, message in enumerate(messages):
            wait = begun + number * period - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            self.publisher.publish(message)
            self.drain()
        self.until(lambda: len(self.heard[INPUT]) == len(messages), 'the input')

    def done(self, doing: Doing) -> Done:
        found: Done = self.until(doing.poll, 'an action')
        return found

    def fault(self, topic: str = TOPIC, **given: Any) -> Done:
        step = Step.model_validate({'at': '0 s', 'fault': {'topic': topic, **given}})
        assert self.actor.lack(step) is None
        return self.done(self.actor.begin(step))

    def payloads(self, count: int) -> list[bytes]:
        """Return what the listener has heard, once it is so much."""
        self.until(lambda: len(self.heard[TOPIC]) >= count, f'{count} messages')
        return [message for message, _ in self.heard[TOPIC]]


@pytest.fixture(scope='module')
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp('relay')
    with ExitStack() as stack:
        claim = stack.enter_context(claim_domain())
        processes = stack.enter_context(Processes(folder))
        monkeypatch = stack.enter_context(pytest.MonkeyPatch.context())
        monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
        bench = Bench(claim.id, processes)
        stack.callback(bench.context.shutdown)
        stack.callback(bench.node.destroy_node)
        bench.publisher = bench.node.create_publisher(bench.kind, INPUT, bench.qos)
        bench.listen(TOPIC, bench.qos)
        bench.listen(INPUT, bench.qos)
        bench.relay(TOPIC)
        try:
            # The listener, the relay, and the publisher that is the relay's.
            bench.until(lambda: bench.publisher.get_subscription_count() == 2, 'the relay')
            bench.until(lambda: bench.node.count_publishers(TOPIC), 'its publisher')
            early, last = scan(START), scan(START, frame='last')

            def through() -> bool:
                bench.publisher.publish(early)
                return bool(bench.heard[TOPIC])

            bench.until(through, 'a message through the relay')
            bench.publisher.publish(last)
            for heard in bench.heard.values():
                bench.until(lambda heard=heard: heard[-1:] and heard[-1][0] == last, 'the last')
            yield bench
        except AssertionError:
            print((folder / 'relay_scan.log').read_text())
            raise
        end = processes.stop('relay_scan')
        assert (end.code, end.signal_sent) == (0, 'SIGINT')


def scans(count: int) -> list[bytes]:
    return [scan(START + i * S) for i in range(count)]


def added_ms(bench: Bench) -> list[float]:
    came = dict(bench.heard[INPUT])
    return sorted((at - came[message]) / MS for message, at in bench.heard[TOPIC])


def test_bytes_go_through_unchanged_and_soon(bench: Bench) -> None:
    sent = scans(200)
    bench.play(sent, 0.005)
    assert bench.payloads(200) == sent
    late = added_ms(bench)
    print(f'added: median {statistics.median(late):.3f} ms, p99 {late[197]:.3f} ms')
    assert statistics.median(late) < 20.0


def test_faults_come_and_go(bench: Bench) -> None:
    sent = scans(30)
    begun = bench.fault(drop={'every': 3}, frame_id='elsewhere')
    assert (begun.ok, begun.detail) == (True, 'frame_id, drop on /scan')
    bench.play(sent, 0.002)
    assert begun.undo is not None
    ended = bench.done(begun.undo())
    assert (ended.ok, ended.detail) == (True, 'of 30 messages on /scan, 20 were sent')
    payloads = bench.payloads(20)
    assert len(payloads) == 20
    assert all(b'elsewhere' in message for message in payloads)
    bench.play(sent, 0.002)
    assert bench.payloads(30) == sent


def test_two_faults_at_once(bench: Bench) -> None:
    drop, late = bench.fault(drop={'every': 2}), bench.fault(delay='60 ms')
    assert drop.undo is not None and late.undo is not None
    sent = scans(10)
    bench.play(sent, 0.02)
    assert bench.payloads(5) == sent[::2]
    assert 59.0 < added_ms(bench)[0] < 200.0
    assert bench.done(drop.undo()).ok
    bench.play(sent, 0.0)
    # What is still on its way when the delay ends is sent then.
    assert bench.done(late.undo()).detail == 'of 15 messages on /scan, 15 were sent'
    assert bench.payloads(10) == sent


@pytest.mark.parametrize('given', [
    {'drop': {'every': 1000}}, {'frame_id': 'laser'}, {'nan': 'intensities[*]'},
    {'blocked_sector': {'center': 180, 'width': 1, 'range': 0.1}},
])
def test_a_fault_that_changed_nothing_is_an_error(bench: Bench, given: dict[str, Any]) -> None:
    begun = bench.fault(**given)
    assert begun.undo is not None
    bench.play([scan(START + i, frame='laser') for i in range(5)], 0.0)
    ended = bench.done(begun.undo())
    assert (ended.ok, ended.detail) == (False, (
        'the fault changed nothing: of 5 messages on /scan, 5 were sent'))


def test_who_publishes_past_the_relay_is_named(bench: Bench) -> None:
    import rclpy

    other = rclpy.create_node('stray', namespace='/a', context=bench.context)
    try:
        other.create_publisher(bench.kind, TOPIC, bench.qos)
        bench.until(lambda: bench.node.count_publishers(TOPIC) == 2, 'the other')
        for named in ({}, {'publisher': 'robot'}):
            begun = bench.fault(drop=1.0, **named)
            assert begun.undo is not None
            bench.play(scans(3), 0.0)
            ended = bench.done(begun.undo())
            assert ended.ok == bool(named)
            assert '; /a/stray also published /scan, past the relay' in ended.detail
    finally:
        other.destroy_node()
    bench.until(lambda: bench.node.count_publishers(TOPIC) == 1, 'its end')


def test_what_cannot_be_done_is_answered(bench: Bench) -> None:
    def begun(**given: Any) -> Done:
        step = Step.model_validate({'at': '0 s', 'fault': {'topic': TOPIC, **given}})
        return bench.done(bench.actor.begin(step))

    wrong = begun(nan='rangs[*]')
    assert not wrong.ok and wrong.undo is None
    assert 'rangs' in wrong.detail
    assert 'JPEG' in begun(jpeg=5).detail
    step = Step.model_validate({'at': '0 s', 'fault': {'topic': TOPIC, 'nan': 'rangs[*]'}})
    assert 'rangs' in str(bench.actor.lack(step))
    sent = scans(5)
    bench.play(sent, 0.0)
    assert bench.payloads(5) == sent


def test_messages_that_are_broken_go_on(bench: Bench) -> None:
    cut, shifted = bench.fault(truncate='60 B'), bench.fault(nan='ranges[*]')
    assert cut.undo is not None and shifted.undo is not None
    sent = scans(5)
    bench.play(sent, 0.0)
    assert bench.payloads(5) == [message[:-60] for message in sent]
    ended = bench.done(shifted.undo())
    assert not ended.ok
    assert '5 could not be changed' in ended.detail
    assert bench.done(cut.undo()).ok


def test_orders_that_make_no_sense(bench: Bench) -> None:
    wire = bench.actor._wires[TOPIC]
    string = importlib.import_module('std_msgs.msg').String
    for text, word in (('{', 'read'), ('{"number": 1, "faults": {"9": {"topic": 3}}}', 'topic')):
        wire.state = {}
        wire.publisher.publish(string(data=text))
        bench.until(lambda: wire.answered(0) and wire.state, 'an answer')
        assert word in str(wire.state['errors'])


def test_a_latched_topic_stays_latched(bench: Bench) -> None:
    publisher = bench.node.create_publisher(bench.kind, '/map_unfaulted', bench.latched)
    message = scan(START, frame='latched')
    publisher.publish(message)
    bench.relay('/map', kind='sensor_msgs/msg/LaserScan')
    bench.until(lambda: bench.node.count_publishers('/map'), 'the relay')
    bench.listen('/map', bench.latched)
    bench.until(lambda: bench.heard['/map'], 'what was latched')
    assert bench.heard['/map'][0][0] == message
    bench.listen('/map', bench.latched)
    bench.until(lambda: bench.heard['/map'], 'what was latched, again')
    unknown = Step.model_validate({'at': '0 s', 'fault': {'topic': '/map', 'freeze': True}})
    bench.node.destroy_publisher(publisher)
    bench.until(lambda: not bench.node.count_publishers('/map_unfaulted'), 'its end')
    assert bench.actor.lack(unknown) is None
    assert '-r /map:=/map_unfaulted' in bench.done(bench.actor.begin(unknown)).detail
    end = bench.processes.stop('relay_map')
    assert (end.code, end.signal_sent) == (0, 'SIGINT')


def test_delays_count_on_simulated_time(bench: Bench) -> None:
    clock = importlib.import_module('rosgraph_msgs.msg').Clock
    ticks = bench.node.create_publisher(clock, '/clock', 10)
    publisher = bench.node.create_publisher(bench.kind, '/slow_unfaulted', bench.qos)
    bench.relay('/slow', clock='ros')
    bench.until(lambda: bench.node.count_publishers('/slow'), 'the relay')
    bench.listen('/slow', bench.qos)
    bench.until(publisher.get_subscription_count, 'its subscription')
    bench.until(ticks.get_subscription_count, 'its clock')
    now = clock()

    def tick(sec: int) -> None:
        now.clock.sec = sec
        ticks.publish(now)

    first, second = scans(2)

    def through() -> bool:
        tick(100)
        publisher.publish(first)
        return bool(bench.heard['/slow'])

    bench.until(through, 'a message')
    begun = bench.fault('/slow', delay='20 s')
    publisher.publish(second)
    sent = time.monotonic()

    def arrived() -> bool:
        tick(100 if time.monotonic() < sent + 0.3 else 121)
        return bench.heard['/slow'][-1][0] == second

    bench.until(arrived, 'the delayed message')
    assert 0.3 <= time.monotonic() - sent < 5.0
    assert begun.ok
    assert bench.processes.stop('relay_slow').code == 0


@pytest.mark.parametrize('words', [
    ('--topic', '/tuned', '--input', '/raw', '--type', 'sensor_msgs/msg/LaserScan',
     '--seed', '7', '--sim-time'),
    ('--ros-args', '-p', 'topic:=/tuned', '-p', 'input:=/raw', '-p', 'seed:=7',
     '-p', 'type:=sensor_msgs/msg/LaserScan', '-p', 'use_sim_time:=true', '-r', '__node:=wire'),
], ids=['arguments', 'parameters'])
def test_what_it_was_told_are_its_parameters(bench: Bench, words: tuple[str, ...]) -> None:
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.parameter import Parameter, parameter_value_to_python
    from rclpy.parameter_client import AsyncParameterClient

    env = child_environment(os.environ, bench.domain, {'PYTHONPATH': str(ROOT)})
    bench.processes.start(ProcessSpec(
        'tuned', (sys.executable, '-m', 'robot_qa.scenario.relay', *words), ROOT, env))
    node = rclpy.create_node('asker', context=bench.context)
    executor = SingleThreadedExecutor(context=bench.context)
    executor.add_node(node)
    client = AsyncParameterClient(node, '/wire' if '-r' in words else '/relay_tuned')

    def answer(future: Any) -> Any:
        executor.spin_until_future_complete(future, PATIENCE_S)
        return future.result()

    names = ['topic', 'input', 'type', 'seed', 'use_sim_time']
    try:
        bench.until(client.services_are_ready, 'its parameter services')
        bench.until(lambda: bench.node.count_subscribers('/relay_tuned/faults'), 'its orders')
        values = answer(client.get_parameters(names)).values
        described = answer(client.describe_parameters(names)).descriptors
        (changed,) = answer(client.set_parameters([Parameter('seed', value=8)])).results
    finally:
        executor.shutdown()
        node.destroy_node()
    assert [parameter_value_to_python(one) for one in values] == [
        '/tuned', '/raw', 'sensor_msgs/msg/LaserScan', 7, True]
    assert all(one.description and one.read_only for one in described[:4])
    assert described[3].integer_range[0].from_value == 0
    assert not changed.successful and 'read-only' in changed.reason
    assert bench.processes.stop('tuned').code == 0


@pytest.mark.parametrize(('words', 'reason'), [
    ((), 'which topic?'), (('-p', 'topic:=/scan', '-p', 'seed:=-1'), 'seed out of range'),
    (('-p', 'topic:=/scan', '-p', 'seed:=many'), "expecting type 'INTEGER'"),
], ids=['no topic', 'range', 'type'])
def test_a_wrong_parameter_is_named(
    bench: Bench, words: tuple[str, ...], reason: str,
) -> None:
    import rclpy

    from robot_qa.errors import RobotQaError
    from robot_qa.scenario.relay_node import make_relay_node

    rclpy.init(args=['--ros-args', *words] if words else [], domain_id=bench.domain)
    try:
        with pytest.raises(RobotQaError, match=re.escape(reason)):
            make_relay_node([])
    finally:
        rclpy.shutdown()


def system(publisher: str | None = None, **given: Any) -> TestSpec:
    said = {} if publisher is None else {'publisher': publisher}
    return TestSpec.model_validate({
        'robot_qa': 1, 'name': 'x', 'duration': '9 s', 'seed': 7, 'system': given,
        'allow': ['fault'],
        'topics': {'/odom': {'rate': {'min': '1 Hz'}}},
        'scenario': [
            {'at': f'{at} s', 'for': '1 s', 'fault': {'topic': topic, 'drop': 0.5, **said}}
            for at, topic in enumerate(('/scan', '/a/b', '/scan'))
        ],
    })


def test_what_has_to_be_started() -> None:
    from robot_qa.scenario.fault_actor import node_name, relay_command, relays, remappings

    one = system(processes=[{'name': 'robot', 'command': 'robot'}])
    assert relays(one) == [('/scan', '/scan_unfaulted'), ('/a/b', '/a/b_unfaulted')]
    assert remappings(one) == {'robot': (
        '--ros-args', '-r', '/scan:=/scan_unfaulted', '-r', '/a/b:=/a/b_unfaulted')}
    assert relay_command(one, '/scan') == (
        sys.executable, '-m', 'robot_qa.scenario.relay', '--topic', '/scan', '--input',
        '/scan_unfaulted', '--seed', '7')
    assert [node_name('/scan'), node_name('/a/b')] == ['relay_scan', 'relay_a__b']
    assert remappings(system()) == {}
    two = [{'name': 'a', 'command': 'a'}, {'name': 'b', 'command': 'b'}]
    assert list(remappings(system('b', processes=two))) == ['b']
    launched = system(processes=[{'name': 'a', 'launch': {'package': 'p', 'file': 'f'}}])
    assert remappings(launched) == {}, 'a launch file has to remap by itself'


@pytest.mark.parametrize(('processes', 'publisher', 'reason'), [
    ('ab', None, 'which of a, b publishes /scan is not known: add publisher: a'),
    ('ab', 'ba', 'the run starts no process "ba"'),
    ('a', 'simulator', 'the run starts no process "simulator"'),
])
def test_who_publishes_has_to_be_known(
    processes: str, publisher: str | None, reason: str,
) -> None:
    with pytest.raises(ValidationError, match=re.escape(reason)):
        system(publisher, processes=[{'name': one, 'command': one} for one in processes])


def until(condition: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        assert time.monotonic() < deadline, f'not within {PATIENCE_S} s: {what}'
        time.sleep(0.01)
    return found


def segments(pid: int) -> dict[Path, int]:
    """Return the segments of a process and how large they are, once they are all there."""
    text = Path(f'/proc/{pid}/maps').read_text()
    if not re.search(r'/dev/shm/fast\w+_port\d+', text):
        return {}
    paths = map(Path, re.findall(r'/dev/shm/fast(?:dds|rtps)_[0-9a-f]{16}\b', text))
    return {path: path.stat().st_size for path in paths}


def relay_process(domain: int, topic: str, **variables: str) -> ProcessSpec:
    env = child_environment(os.environ, domain, {'PYTHONPATH': str(ROOT), **variables})
    words = (sys.executable, '-m', 'robot_qa.scenario.relay', '--topic', topic,
             '--input', f'{topic}_unfaulted')
    return ProcessSpec('relay', words, ROOT, env)


@pytest.mark.parametrize('variables', [{}, {'FASTDDS_BUILTIN_TRANSPORTS': 'DEFAULT'}])
def test_a_relay_has_room_and_leaves_none_of_it(
    variables: dict[str, str], tmp_path: Path,
) -> None:
    room = shared_memory.segment_size()
    if room is None:
        pytest.skip('shared memory is scarce here')
    with claim_domain() as claim, Processes(tmp_path, claim.fileno()) as processes:
        pid = processes.start(relay_process(claim.id, '/camera', **variables))
        found = until(lambda: segments(pid), 'the relay has joined')
        # The usual one is always there; ours is not where the user has configured Fast DDS.
        assert (max(found.values()) >= 0.9 * room) == (not variables)
        assert min(found.values()) < 1 << 20
        # The keeper looks a tenth of a second after the creation, or before it stops anything.
        processes.start(ProcessSpec('other', ('sleep', '60'), None, os.environ))
        processes.stop('other')
        os.kill(pid, signal.SIGKILL)
        until(processes.poll, 'its death')
        assert all(path.exists() for path in found), 'a killed relay cleans nothing'
    assert not [path for path in found if path.exists()]


def test_an_image_leaves_the_relay_whole(tmp_path: Path) -> None:
    """A best-effort image of 0.9 MB does not fit into the usual segment, and is lost then."""
    import rclpy
    from rclpy.qos import qos_profile_sensor_data
    from sensor_msgs.msg import Image

    if shared_memory.segment_size() is None:
        pytest.skip('shared memory is scarce here')
    with ExitStack() as stack:
        claim = stack.enter_context(claim_domain())
        processes = stack.enter_context(Processes(tmp_path, claim.fileno()))
        monkeypatch = stack.enter_context(pytest.MonkeyPatch.context())
        monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
        context = rclpy.Context()
        rclpy.init(context=context, domain_id=claim.id)
        stack.callback(context.shutdown)
        node = rclpy.create_node('listener', context=context)
        stack.callback(node.destroy_node)
        listener = node.create_subscription(
            Image, '/camera', lambda _: None, qos_profile_sensor_data, raw=True)
        relay = relay_process(claim.id, '/camera')
        # A process reads its profile once, so that the camera has to be one of its own.
        room = shared_memory.variables(relay.env, ROOT, tmp_path)
        processes.start(ProcessSpec(
            'camera', (sys.executable, '-c', CAMERA), None, {**relay.env, **room}))
        processes.start(relay)

        def image() -> bytes | None:
            taken = listener.handle.take_message(Image, True)
            return taken[0] if taken else None

        numbers = [
            int.from_bytes(until(image, f'image {count}')[4:8], 'little') for count in range(30)
        ]
        assert numbers == list(range(numbers[0], numbers[0] + 30))


@pytest.mark.parametrize('variables', [
    {'FASTDDS_DEFAULT_PROFILES_FILE': 'own.xml'}, {'FASTRTPS_DEFAULT_PROFILES_FILE': 'own.xml'},
    {'FASTDDS_BUILTIN_TRANSPORTS': 'UDPv4'},
])
def test_what_the_user_has_configured_stays(variables: dict[str, str], tmp_path: Path) -> None:
    assert shared_memory.variables(variables, tmp_path, tmp_path) == {}
    assert not list(tmp_path.iterdir())


def test_a_profile_in_the_working_directory_stays(tmp_path: Path) -> None:
    (tmp_path / 'DEFAULT_FASTDDS_PROFILES.xml').write_text('<profiles/>')
    assert shared_memory.variables({}, tmp_path, tmp_path / 'logs') == {}


@pytest.mark.parametrize(('free', 'size'), [
    (24 << 30, 16 << 20), (64 << 20, 8 << 20), (17 << 20, (17 << 20) // 8), (15 << 20, None),
])
def test_the_segment_is_a_small_part_of_what_is_free(
    free: int, size: int | None, monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = SimpleNamespace(f_bavail=free // 4096, f_frsize=4096)
    monkeypatch.setattr(shared_memory.os, 'statvfs', lambda _: found)
    assert shared_memory.segment_size() == size


def test_only_test_equipment_gets_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shared_memory, 'segment_size', lambda: 1 << 24)
    for name in (*shared_memory.PROFILES, shared_memory.TRANSPORTS):
        monkeypatch.delenv(name, raising=False)
    spec = system(simulator={'backend': 'embedded', 'world': 'w.sdf'},
                  processes=[{'name': 'robot', 'command': ['robot']}])
    assert spec.system is not None
    with environment_for(1, tmp_path):
        [simulator] = simulator_specs(spec, tmp_path, tmp_path / 'logs')
        robot = process_spec(spec.system.processes[0], tmp_path, tmp_path / 'logs')
    given = [one for one in shared_memory.PROFILES if one in simulator.env]
    assert given
    assert '<segment_size>16777216</segment_size>' in Path(simulator.env[given[0]]).read_text()
    assert not [one for one in shared_memory.PROFILES if one in robot.env]
