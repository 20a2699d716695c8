"""Times of stages: every check green on a sound node, red on a fault, undecided on nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from robot_qa.checks import judge
from robot_qa.instrument import TYPE, StageTimes, stage
from robot_qa.monitors.base import Measurement
from robot_qa.monitors.stages import StageMonitor, stage_monitors
from robot_qa.probes.batch import Batch
from robot_qa.spec.model import TestSpec, declared_checks
from samples import MS, START, TYPES, S, batch, context, header, observed, serialized, split

TOPIC = '/detector/stages'


def told(
    values: dict[str, Any], level: int = 0, text: str = '', statuses: int = 1
) -> bytes:
    pair = TYPES['diagnostic_msgs/msg/KeyValue']
    status = TYPES['diagnostic_msgs/msg/DiagnosticStatus'](
        level=level, name='/detector', message=text, hardware_id='cpu',
        values=[pair(key=key, value=str(value)) for key, value in values.items()],
    )
    return serialized(TYPES['diagnostic_msgs/msg/DiagnosticArray'](
        header=header(START, ''), status=[status] * statuses))


def batch_of(payloads: list[bytes], **columns: Any) -> Batch:
    sent = [index * 33 * MS for index in range(len(payloads))]
    return batch(sent, payloads, TOPIC, TYPE, **columns)


def inputs(count: int, first: int = 1, **values: Any) -> list[bytes]:
    """As many inputs as said, numbered from ``first``; the first of all is slow."""
    made = []
    for number in range(first, first + count):
        usual = {
            'input': number, 'queueing': 3 * MS, 'stage.preprocess': 2 * MS,
            'stage.inference': 900 * MS if number == 1 else 20 * MS, 'stage.publishing': MS,
            'total': 903 * MS if number == 1 else 23 * MS, 'cold_start': 900 * MS, 'dropped': 0,
        }
        made.append(told({
            key: value for key, value in {**usual, **values}.items() if value is not None}))
    return made


def monitor_of(checks: dict[str, Any]) -> tuple[StageMonitor, list[str]]:
    spec = TestSpec.model_validate({
        'robot_qa': 1, 'name': 'x', 'duration': '10 s', 'stages': {TOPIC: checks}})
    (monitor,) = stage_monitors(spec, context())
    assert isinstance(monitor, StageMonitor)
    return monitor, [name for name, _ in declared_checks(spec)]


def measured(checks: dict[str, Any], batches: list[Batch]) -> list[Measurement]:
    monitor, declared = monitor_of(checks)
    for one in batches:
        monitor.update(one)
    monitor.measure(observed(1.0))  # asking early must not change the answer
    found = monitor.measure(observed(10.0))
    assert [one.check.name for one in found] == declared
    return found


def judged(checks: dict[str, Any], payloads: list[bytes], **columns: Any) -> tuple[str, str]:
    batches = [batch_of(payloads, **columns)] if payloads else []
    (only,) = measured(checks, batches)
    result = judge(only, 'x:1:1')
    return result.verdict.value, result.reason


@pytest.mark.parametrize('checks,bad', [
    ({'queueing': {'p95': '5 ms'}}, {'queueing': 8 * MS}),
    ({'inference': {'p95': '30 ms'}}, {'stage.inference': 40 * MS}),
    ({'publishing': {'p95': '2 ms'}}, {'stage.publishing': 3 * MS}),
    ({'total': {'p95': '30 ms'}}, {'total': 40 * MS}),
    ({'stages': {'preprocess': {'p95': '5 ms'}}}, {'stage.preprocess': 6 * MS}),
    ({'inference': {'max': '30 ms'}}, {'stage.inference': 31 * MS}),
    ({'cold_start': {'max': '1 s'}}, {'cold_start': S + 1}),
])
def test_each_limit_passes_and_fails(checks: dict[str, Any], bad: dict[str, Any]) -> None:
    assert judged(checks, inputs(100))[0] == 'PASS'
    assert judged(checks, inputs(100, **bad))[0] == 'FAIL'


def test_the_cold_start_is_not_in_the_times_of_steady_state() -> None:
    (only,) = measured({'inference': {'max': '30 ms'}}, [batch_of(inputs(50))])
    assert (only.value, only.count) == (20 * MS, 49)
    (only,) = measured({'total': {'max': '30 ms'}}, [batch_of(inputs(50))])
    assert (only.value, only.count) == (23 * MS, 49)


def test_a_cold_start_before_the_observation_is_known_all_the_same() -> None:
    later = inputs(30, first=500)
    found, reason = judged({'cold_start': {'max': '500 ms'}}, later)
    assert found == 'FAIL'
    assert '900 ms' in reason


def test_every_cold_start_counts_also_that_of_a_restarted_node() -> None:
    restarted = [*inputs(20), *inputs(20, cold_start=S + 500 * MS)]
    (only,) = measured({'cold_start': {'max': '1 s'}}, [batch_of(restarted)])
    assert (only.value, only.count, only.violations) == (S + 500 * MS, 2, 1)
    (only,) = measured({'inference': {'max': '30 ms'}}, [batch_of(restarted)])
    assert (only.value, only.count) == (20 * MS, 38)


def test_one_inference_alone_says_nothing_about_steady_state() -> None:
    found, reason = judged({'inference': {'max': '30 ms'}}, inputs(1))
    assert found == 'INCONCLUSIVE'
    assert 'only a cold start' in reason


def test_drops_are_counted_over_restarts_and_from_the_first_message_on() -> None:
    counts = [5, 5, 7, 2, 3]
    payloads = [one for n in counts for one in inputs(1, first=9, dropped=n)]
    (only,) = measured({'dropped': 0}, [batch_of(payloads)])
    assert only.value == 2 + 2 + 1
    assert judged({'dropped': 0}, payloads)[0] == 'FAIL'
    assert judged({'dropped': {'max': 5}}, payloads)[0] == 'PASS'
    apart = [one for n in (0, 4, 0, 4) for one in inputs(1, first=9, dropped=n)]
    assert judged({'dropped': 0}, apart, publisher=[0, 1, 0, 1])[0] == 'PASS'
    apart[-1:] = inputs(1, first=9, dropped=5)
    assert judged({'dropped': 0}, apart, publisher=[0, 1, 0, 1])[0] == 'FAIL'


def test_a_node_that_tells_no_drops_is_not_one_without_any() -> None:
    found, reason = judged({'dropped': 0}, inputs(20, dropped=None))
    assert (found, reason) == ('INCONCLUSIVE', 'no message of /detector has "dropped"')
    # Nor is one beside another that tells.
    both = [*inputs(1, first=9), *inputs(1, first=9, dropped=None)]
    assert judged({'dropped': 0}, both, publisher=[0, 1])[0] == 'INCONCLUSIVE'
    # What an input leaves out that failed, others tell.
    assert judged({'dropped': 0}, both, publisher=[0, 0])[0] == 'PASS'


def test_inputs_that_failed_are_counted_and_their_times_are_not() -> None:
    spent = {'input': 3, 'total': 5 * S, 'stage.inference': 5 * S, 'dropped': 0}
    bad = told(spent, 2, 'ValueError: x')
    payloads = [*inputs(50), bad]
    found, reason = judged({'failed': 0}, payloads)
    assert found == 'FAIL'
    assert 'ValueError: x' in reason
    assert judged({'failed': {'max': 1}}, payloads)[0] == 'PASS'
    assert judged({'inference': {'max': '30 ms'}}, payloads)[0] == 'PASS'


def test_what_a_node_does_not_tell_is_inconclusive_and_says_what_it_tells() -> None:
    found, reason = judged({'queueing': {'max': '5 ms'}}, inputs(20, queueing=None))
    assert found == 'INCONCLUSIVE'
    assert 'no message has "queueing"' in reason
    found, reason = judged({'stages': {'preproces': {'max': '5 ms'}}}, inputs(20))
    assert found == 'INCONCLUSIVE'
    assert 'stage.preprocess' in reason
    assert judged({'cold_start': {'max': '5 s'}}, inputs(20, cold_start=None))[0] == 'INCONCLUSIVE'


def test_nothing_never_passes() -> None:
    everything = {
        'queueing': {'max': '5 ms'}, 'inference': {'p95': '1 s'}, 'publishing': {'max': '1 s'},
        'total': {'max': '1 s'}, 'stages': {'preprocess': {'max': '1 s'}},
        'cold_start': {'max': '9 s'}, 'dropped': 0, 'failed': {'max': 0},
    }
    for one in measured(everything, []):
        result = judge(one, 'x:1:1', ['no publisher'])
        assert result.verdict.value == 'INCONCLUSIVE'
        assert result.reason == f'no message on {TOPIC}: no publisher'


@pytest.mark.parametrize('payload,text', [
    (told({'total': 1}), 'there is no "input"'),
    (told({'input': 2, 'total': '1.5 ms'}), '"total" is "1.5 ms", not a whole number'),
    (told({'input': 2, 'stage.inference': -5}), '"stage.inference" is -5, below zero'),
    (told({'input': 2, 'total': -5}), '"total" is -5, below zero'),
    (told({'input': 2, 'dropped': -1}), '"dropped" is -1, below zero'),
    (told({'input': 2}, statuses=2), '2 statuses instead of one'),
    (told({'input': 2}, statuses=0), '0 statuses instead of one'),
    (b'\x00\x01\x00\x00\x01', ''),
])
def test_what_departs_from_the_convention_decides_nothing(payload: bytes, text: str) -> None:
    found, reason = judged({'total': {'max': '1 s'}}, [*inputs(20), payload])
    assert found == 'INCONCLUSIVE'
    assert '1 of 21 messages' in reason
    assert text in reason


def test_how_messages_were_drained_makes_no_difference() -> None:
    checks = {'inference': {'p50': '30 ms'}, 'cold_start': {'max': '1 s'}, 'dropped': 0}
    whole = batch_of(inputs(60))
    assert measured(checks, [whole]) == measured(checks, split(whole, [1, 2, 30]))


def test_a_real_node_that_becomes_slow_is_seen() -> None:
    """What `instrument` keeps of real work, as messages: only the middleware is left out."""
    payloads: list[bytes] = []
    with StageTimes(lambda one: payloads.append(told(one.values))) as times:
        for index in range(300):
            with times.input(None, time.time_ns()), stage('inference'):
                time.sleep(0.05 if index == 0 else 0.001)
    # A busy machine may make single ones slow, not half of them.
    assert judged({'inference': {'p50': '20 ms'}}, payloads)[0] == 'PASS'
    assert judged({'inference': {'p50': '900 us'}}, payloads)[0] == 'FAIL'
    assert judged({'cold_start': {'max': '40 ms'}}, payloads)[0] == 'FAIL'


CPP_MAIN = """
#include <iostream>
#include <thread>
int main() {
  StageTimes times("/detector");
  for (int i = 0; i < 30; ++i) {
    times.begin(builtin_interfaces::msg::Time(), 0);
    times.stage("inference", [&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(i == 0 ? 50 : 1));
    });
    const auto made = times.end(i == 29 ? "bad" : "");
    const auto& status = made.status.front();
    std::cout << int(status.level) << " ";
    for (const auto& pair : status.values) std::cout << pair.key << "=" << pair.value << " ";
    std::cout << "\\n";
  }
}
"""


def test_the_example_for_other_languages_keeps_the_convention(tmp_path: Path) -> None:
    include = Path(sys.prefix) / 'include'
    if shutil.which('g++') is None or not (include / 'diagnostic_msgs').is_dir():
        pytest.skip('no g++, or no headers of diagnostic_msgs')
    page = (Path(__file__).parent.parent / 'doc' / 'instrument.md').read_text()
    example = page.split('```cpp\n')[1].split('```')[0]
    (tmp_path / 'main.cpp').write_text(example + CPP_MAIN)
    folders = [f'-I{path}' for path in (include, *include.iterdir()) if path.is_dir()]
    subprocess.run(
        ['g++', '-std=c++17', '-Wall', '-Werror', *folders, str(tmp_path / 'main.cpp'), '-o',
         str(tmp_path / 'main')], check=True, timeout=120)
    said = subprocess.run([tmp_path / 'main'], check=True, text=True, stdout=subprocess.PIPE)
    payloads = []
    for line in said.stdout.splitlines():
        level, *pairs = line.split()
        payloads.append(told(dict(one.split('=') for one in pairs), int(level), 'x' * int(level)))
    assert len(payloads) == 30
    assert judged({'cold_start': {'max': '40 ms'}}, payloads)[0] == 'FAIL'
    (only,) = measured({'inference': {'max': '1 s'}}, [batch_of(payloads)])
    assert only.count == 28, 'neither the cold start nor the one that failed'
    assert judged({'failed': {'max': 1}}, payloads)[0] == 'PASS'
    assert judged({'queueing': {'max': '1 s'}}, payloads)[0] == 'INCONCLUSIVE'
    assert judged({'dropped': 0}, payloads)[0] == 'PASS'


NODE = """
import sys, time
import rclpy
from sensor_msgs.msg import Image
from robot_qa.instrument import stage, stage_times

rclpy.init()
node = rclpy.create_node('detector')
publisher = node.create_publisher(Image, 'seen', 10)
times = stage_times(node, device='cpu')
image, first = Image(), True
while rclpy.ok():
    image.header.stamp = node.get_clock().now().to_msg()
    with times.input(image.header.stamp, time.time_ns() - 2_000_000):
        with stage('inference'):
            time.sleep(0.2 if first else 0.004)
        with stage('publishing'):
            publisher.publish(image)
    first = False
    time.sleep(0.016)
"""


@pytest.mark.live
def test_a_run_judges_the_stages_of_a_node_and_so_does_its_recording(tmp_path: Path) -> None:
    (tmp_path / 'node.py').write_text(NODE)
    spec = tmp_path / 'x.qa.yaml'
    spec.write_text("""\
robot_qa: 1
name: stages
duration: 3 s
system: {processes: [{name: detector, command: [python3, node.py], cwd: .}]}
stages:
  /detector/stages:
    inference: {p50: 30 ms, max: 100 s}
    publishing: {p50: 20 ms}
    queueing: {p50: 1 ms}
    cold_start: {max: 150 ms}
    dropped: 0
""")
    command = [sys.executable, '-m', 'robot_qa.cli']
    env = {
        **os.environ, 'PATH': f'{Path(sys.executable).parent}:{os.environ["PATH"]}',
        'PYTHONPATH': f'{Path(__file__).parent.parent}:{os.environ.get("PYTHONPATH", "")}',
    }
    live, offline = tmp_path / 'live', tmp_path / 'offline'
    subprocess.run([*command, 'run', str(spec), '--quiet', '--record', '--out', str(live)],
                   timeout=60, check=False, env=env)
    subprocess.run([*command, 'check', str(spec), str(live / 'recording.mcap'), '--quiet',
                    '--out', str(offline)], timeout=60, check=False, env=env)
    verdicts, again = (
        {check['name'].removeprefix(f'stages.{TOPIC}.'): check['verdict']
         for check in json.loads((one / 'report.json').read_text())['checks']
         if check['name'].startswith('stages.')}
        for one in (live, offline)
    )
    assert verdicts == {
        'inference.p50': 'PASS', 'inference.max': 'PASS', 'publishing.p50': 'PASS',
        'queueing.p50': 'FAIL', 'cold_start.max': 'FAIL', 'dropped': 'PASS',
    }
    assert again == verdicts


