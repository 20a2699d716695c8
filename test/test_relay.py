"""The relay between a publisher and a listener, told by the actor of the scenario."""

from __future__ import annotations

import importlib
import os
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from robot_qa.domains import claim_domain
from robot_qa.messages.typestore import TypeStore
from robot_qa.processes import Processes, ProcessSpec, child_environment
from robot_qa.scenario.player import Doing, Done
from robot_qa.spec.model import TestSpec
from robot_qa.spec.scenario import Step
from samples import MS, START, S, scan

pytestmark = pytest.mark.live
ROOT = Path(__file__).parent.parent
PATIENCE_S = 20.0
TOPIC, INPUT = '/scan', '/scan_unfaulted'


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
