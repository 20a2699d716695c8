"""Real servers in a process of their own, sound and with seeded faults; an action built here.

The callers are driven as a session drives them: a drain every 50 ms, no executor.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robot_qa.checks import judge
from robot_qa.domains import claim_domain
from robot_qa.errors import SpecError
from robot_qa.messages.typestore import TypeStore
from robot_qa.monitors.actions import action_monitors
from robot_qa.monitors.base import Context
from robot_qa.monitors.services import service_monitors
from robot_qa.probes.bag import BagProbe
from robot_qa.probes.batch import Batch, Observation
from robot_qa.probes.recorder import Recorder
from robot_qa.spec.loader import LoadedSpec, load_spec
from robot_qa.stats import Confidence

pytestmark = pytest.mark.live
SETUP_S = 30.0

SERVERS = """
import sys, threading, time
import rclpy
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.executors import MultiThreadedExecutor, SingleThreadedExecutor
from std_srvs.srv import SetBool, Trigger

rclpy.init()
node = rclpy.create_node('servers')
group = ReentrantCallbackGroup()

def serve(name, answer, kind=SetBool):
    node.create_service(kind, name, answer, callback_group=group)

def sound(request, response):
    response.success, response.message = request.data, 'fine'
    return response

def slow(request, response):
    time.sleep(0.2)
    return sound(request, response)

def failing(request, response):
    return response

def mute(request, response):
    threading.Event().wait()

serve('/sound', sound)
serve('/slow', slow)
serve('/failing', failing)
serve('/other_type', lambda request, response: response, Trigger)
threading.Thread(target=lambda: sys.stdin.readline() and serve('/late', sound)).start()
# What never answers blocks its own thread for good.
blocked, lonely = rclpy.create_node('blocked'), SingleThreadedExecutor()
blocked.create_service(SetBool, '/mute', mute)
lonely.add_node(blocked)
threading.Thread(target=lonely.spin, daemon=True).start()
executor = MultiThreadedExecutor(8)
executor.add_node(node)
executor.spin()
"""

DOCK = """string station
float64 seconds
---
bool docked
---
float64 progress
"""

DOCKS = """
import time
import rclpy
from qa_test_msgs.action import Dock
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.executors import MultiThreadedExecutor

rclpy.init()
node = rclpy.create_node('docks')

def serve(name, end='succeed', goal=GoalResponse.ACCEPT, cancel=CancelResponse.ACCEPT, rate=20):
    def execute(handle):
        until = time.monotonic() + handle.request.seconds
        while time.monotonic() < until:
            if handle.is_cancel_requested:
                handle.canceled()
                print('canceled', flush=True)
                return Dock.Result()
            if rate:
                handle.publish_feedback(Dock.Feedback(progress=0.5))
            time.sleep(1 / (rate or 20))
        getattr(handle, end)()
        return Dock.Result(docked=end == 'succeed')

    return ActionServer(
        node, Dock, name, execute, callback_group=ReentrantCallbackGroup(),
        goal_callback=lambda request: goal, cancel_callback=lambda handle: cancel)

servers = [
    serve('/sound'),
    serve('/rejecting', goal=GoalResponse.REJECT),
    serve('/aborting', end='abort'),
    serve('/silent', rate=0),
    serve('/stubborn', cancel=CancelResponse.REJECT),
]
executor = MultiThreadedExecutor(8)
executor.add_node(node)
executor.spin()
"""


@pytest.fixture(scope='module')
def domain() -> Iterator[int]:
    with claim_domain() as claim:
        yield claim.id


@pytest.fixture(scope='module')
def interfaces(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A prefix with an action package in it, which this process can import from."""
    from robot_qa.messages.interfaces import build

    package = tmp_path_factory.mktemp('source') / 'qa_test_msgs'
    (package / 'action').mkdir(parents=True)
    (package / 'action' / 'Dock.action').write_text(DOCK)
    (package / 'package.xml').write_text(
        '<package format="3"><name>qa_test_msgs</name><version>0.1.0</version><description>An '
        'action.</description><maintainer email="a@b.example">A</maintainer><license>Apache-2.0'
        '</license><depend>action_msgs</depend></package>')
    prefix = tmp_path_factory.mktemp('prefix')
    build([package.parent], prefix)
    (site,) = prefix.glob('lib/python*/site-packages')
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(site)
        patch.setenv('AMENT_PREFIX_PATH', f'{prefix}{os.pathsep}{sys.prefix}')
        patch.setenv('PYTHONPATH', str(site))
        yield prefix


@pytest.fixture
def running(domain: int) -> Iterator[Any]:
    """Start a script in our domain; it ends with the test."""
    with ExitStack() as stack:

        def start(script: str) -> subprocess.Popen[bytes]:
            process = subprocess.Popen(
                [sys.executable, '-c', script], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                env={
                    **os.environ, 'ROS_DOMAIN_ID': str(domain),
                    'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
                })
            stack.callback(process.wait)
            stack.callback(process.kill)
            return process

        yield start


@pytest.fixture
def node(domain: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    from robot_qa.probes.live import LiveProbe

    monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    probe = LiveProbe([], domain)
    yield probe.node
    probe.close()


def written(tmp_path: Path, text: str) -> LoadedSpec:
    path = tmp_path / 'live.qa.yaml'
    path.write_text(f'robot_qa: 1\nname: live\nduration: 10 s\nallow: [call, goal]\n{text}')
    return load_spec(path)


def judged(loaded: LoadedSpec, batches: list[Batch], seen: Observation, store: TypeStore
           ) -> dict[str, tuple[str, str]]:
    shared = Context(store, None, Confidence(loaded.spec.confidence))
    found = {}
    for monitor in [*service_monitors(loaded.spec, shared), *action_monitors(loaded.spec, shared)]:
        for one in batches:
            if one.topic in monitor.topics:
                monitor.update(one)
        for measured in monitor.measure(seen):
            result = judge(measured, 'x:1:1')
            found[result.name] = (result.verdict.value, result.reason)
    return found


def watched(
    loaded: LoadedSpec, callers: list[Any], seconds: float, path: Path
) -> dict[str, tuple[str, str]]:
    """Drive the callers; what they tell gives the same verdicts from a recording."""
    recorder = Recorder(path / 'run.mcap', TypeStore())
    batches: list[Batch] = []
    for caller in callers:
        assert caller.drain() == []
        caller.begin()
    start_ns, end = time.time_ns(), time.monotonic() + seconds
    while time.monotonic() < end:
        for caller in callers:
            for batch in caller.drain():
                batches.append(batch)
                recorder.write(batch)
        time.sleep(0.05)
    for caller in callers:
        caller.close()
    recorder.close({})
    seen = Observation(start_ns, time.time_ns(), {}, {})
    found = judged(loaded, batches, seen, TypeStore())
    topics = sorted({batch.topic for batch in batches})
    probe = BagProbe(path / 'run.mcap', topics)
    replayed: list[Batch] = []
    while not probe.done:
        replayed += probe.drain()
    assert judged(loaded, replayed, seen, probe.store) == found
    return found


def reds(found: dict[str, tuple[str, str]]) -> dict[str, str]:
    return {name: verdict for name, (verdict, _) in found.items() if verdict != 'PASS'}


SERVICES = """
  {name}:
    type: std_srvs/srv/SetBool
    available: {{within: {within}}}
    every: 50 ms
    request: {{data: true}}
    timeout: 500 ms
    response_time: {{p80: 150 ms}}
    failures: {{max: 0 %}}
    response: {{success: {{equals: true}}, message: {{equals: fine}}}}
"""


def test_every_fault_of_a_service_turns_its_own_check_red(
    node: Any, running: Any, tmp_path: Path
) -> None:
    from robot_qa.probes.caller import ServiceCaller

    text = 'services:' + ''.join(
        SERVICES.format(name=name, within='1 s' if name == '/late' else '3 s')
        for name in ('/sound', '/slow', '/failing', '/mute', '/late', '/absent', '/other_type')
    )
    loaded = written(tmp_path, text)
    caller = ServiceCaller(node, loaded.spec.services, TypeStore(), loaded.marks)
    process = running(SERVERS)
    wait_for(node, '/mute')
    threading.Timer(2.0, process.communicate, [b'now\n']).start()
    found = watched(loaded, [caller], 8.0, tmp_path)
    nothing = dict.fromkeys(
        ('response_time.p80', 'failures.max', 'response.success.equals',
         'response.message.equals'), 'INCONCLUSIVE')
    expected = {
        '/slow': {'response_time.p80': 'FAIL'},
        '/failing': {'response.success.equals': 'FAIL', 'response.message.equals': 'FAIL'},
        '/mute': {**nothing, 'response_time.p80': 'FAIL', 'failures.max': 'FAIL'},
        '/late': {'available.within': 'FAIL'},
        '/absent': {**nothing, 'available.within': 'FAIL'},
        '/other_type': {**nothing, 'available.within': 'FAIL'},
    }
    assert reds(found) == {
        f'services.{name}.{check}': verdict
        for name, one in expected.items() for check, verdict in one.items()
    }, found
    assert 'std_srvs/srv/Trigger' in found['services./other_type.available.within'][1]


def wait_for(node: Any, service: str) -> None:
    end = time.monotonic() + SETUP_S
    while not node.count_services(service):
        assert time.monotonic() < end, f'{service} did not come up'
        time.sleep(0.02)


def test_the_period_is_kept_and_calls_do_not_overlap(
    node: Any, running: Any, tmp_path: Path
) -> None:
    from robot_qa.probes.caller import ServiceCaller
    from robot_qa.probes.journal import entries

    text = ('services:\n  /sound: {type: std_srvs/srv/SetBool, every: 70 ms, failures: {max: 1 %}}'
            '\n  /slow: {type: std_srvs/srv/SetBool, every: 70 ms, failures: {max: 1 %}}\n')
    loaded = written(tmp_path, text)
    caller = ServiceCaller(node, loaded.spec.services, TypeStore(), loaded.marks)
    running(SERVERS)
    wait_for(node, '/slow')
    caller.begin()
    calls: dict[str, list[tuple[int, int]]] = {'sound': [], 'slow': []}
    end = time.monotonic() + 2.5
    while time.monotonic() < end:
        for batch in caller.drain():
            for _, entry in entries(batch) if 'calls/' in batch.topic else ():
                if entry['event'] == 'call':
                    calls[batch.topic.rsplit('/', 1)[-1]].append(
                        (entry['sent_ns'], entry['received_ns']))
        time.sleep(0.01)
    caller.close()
    # However long a look takes, the next call goes back to its place on the grid.
    sent_ns = np.array([sent for sent, _ in calls['sound']])
    off = (sent_ns - sent_ns[0] + 35_000_000) % 70_000_000 - 35_000_000
    assert np.median(np.abs(off - np.median(off))) < 12_000_000
    assert 15 < len(sent_ns) <= (sent_ns[-1] - sent_ns[0]) / 70e6 + 2
    for (_, before), (sent, received) in zip(calls['slow'], calls['slow'][1:], strict=False):
        assert sent > before
        assert received - sent >= 200_000_000


def test_a_wrong_request_is_named_where_it_stands(node: Any, tmp_path: Path) -> None:
    from robot_qa.probes.caller import ServiceCaller

    loaded = written(tmp_path, (
        'services:\n  /a:\n    type: nav_msgs/srv/GetPlan\n    every: 1 s\n    request:\n'
        '      start: {hedaer: {frame_id: map}}\n      tolerance: wide\n'
        '    failures: {max: 0 %}\n'))
    with pytest.raises(SpecError) as caught:
        ServiceCaller(node, loaded.spec.services, TypeStore(), loaded.marks)
    first, second = caught.value.problems
    assert (first.line, first.column) == (10, 15)
    assert 'did you mean "header"' in first.message
    assert (second.line, second.column) == (11, 18)


def test_a_type_that_is_not_installed_is_told(node: Any, tmp_path: Path) -> None:
    from robot_qa.probes.caller import ServiceCaller
    from robot_qa.probes.goals import ActionCaller

    loaded = written(tmp_path, (
        'services:\n  /a: {type: no_such_msgs/srv/A, available: {within: 1 s}}\n'
        'actions:\n  /b: {type: no_such_msgs/action/B, available: {within: 100 ms}}\n'))
    store = TypeStore()
    callers = [ServiceCaller(node, loaded.spec.services, store, loaded.marks),
               ActionCaller(node, loaded.spec.actions, store, loaded.marks)]
    found = watched(loaded, callers, 0.2, tmp_path)
    assert found['services./a.available.within'][0] == 'INCONCLUSIVE'
    verdict, reason = found['actions./b.available.within']
    assert verdict == 'FAIL'
    assert 'is no_such_msgs installed and sourced?' in reason


ACTIONS = """
  {name}:
    type: qa_test_msgs/action/Dock
    available: {{within: 3 s}}
    goal: {{station: home, seconds: 1}}
    every: 1500 ms
    timeout: 4 s
    accepted: true
    result: {{within: 2 s, status: succeeded, fields: {{docked: {{equals: true}}}}}}
    feedback: {{rate: {{min: 10 Hz}}}}
    cancel: {{after: 300 ms, within: 500 ms}}
"""


@pytest.mark.usefixtures('interfaces')
def test_every_fault_of_an_action_turns_its_own_check_red(
    node: Any, running: Any, tmp_path: Path
) -> None:
    from robot_qa.probes.goals import ActionCaller

    names = ('/sound', '/rejecting', '/aborting', '/silent', '/stubborn', '/absent')
    loaded = written(tmp_path, 'actions:' + ''.join(ACTIONS.format(name=name) for name in names))
    caller = ActionCaller(node, loaded.spec.actions, TypeStore(), loaded.marks)
    running(DOCKS)
    wait_for(node, '/stubborn/_action/send_goal')
    found = watched(loaded, [caller], 4.0, tmp_path)
    nothing = dict.fromkeys(
        ('result.within', 'result.status', 'result.fields.docked.equals', 'feedback.rate.min',
         'cancel.within'), 'INCONCLUSIVE')
    expected = {
        '/rejecting': {**nothing, 'accepted': 'FAIL'},
        '/aborting': {'result.status': 'FAIL', 'result.fields.docked.equals': 'FAIL'},
        '/silent': {'feedback.rate.min': 'FAIL'},
        '/stubborn': {'cancel.within': 'FAIL'},
        '/absent': {**nothing, 'accepted': 'INCONCLUSIVE', 'available.within': 'FAIL'},
    }
    assert reds(found) == {
        f'actions.{name}.{check}': verdict
        for name, one in expected.items() for check, verdict in one.items()
    }, found
    assert 'ended as' in found['actions./stubborn.cancel.within'][1] or (
        'after the cancel' in found['actions./stubborn.cancel.within'][1])


@pytest.mark.usefixtures('interfaces')
@pytest.mark.parametrize('timeout', ['300 ms', '60 s'])
def test_no_goal_is_left_behind(timeout: str, node: Any, running: Any, tmp_path: Path) -> None:
    from robot_qa.probes.goals import ActionCaller

    loaded = written(tmp_path, (
        'actions:\n  /sound: {type: qa_test_msgs/action/Dock, goal: {seconds: 60}, '
        f'timeout: {timeout}, result: {{status: succeeded}}}}\n'))
    caller = ActionCaller(node, loaded.spec.actions, TypeStore(), loaded.marks)
    process = running(DOCKS)
    wait_for(node, '/sound/_action/send_goal')
    found = watched(loaded, [caller], 1.0, tmp_path)
    # Given up after its timeout, or cancelled as the run ends.
    assert select.select([process.stdout], [], [], 5.0)[0], 'the goal goes on'
    assert process.stdout.readline() == b'canceled\n'
    late = timeout == '300 ms'
    assert found['actions./sound.result.status'][0] == ('FAIL' if late else 'INCONCLUSIVE')
