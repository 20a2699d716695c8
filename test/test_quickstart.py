"""The main job on a real graph: every fault of the example robot turns its own check red.

Each run is recorded, and its recording, judged offline, has to give the same checks, verdicts and
measured values. (``transport`` has its red test in test_monitors.py: a delay between sending and
arriving cannot be seeded in the sender reliably.)
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from robot_qa.checks import EXIT_CODES, Verdict
from robot_qa.domains import claim_domain
from robot_qa.processes import Processes, ProcessSpec, child_environment
from robot_qa.session import check_recording
from robot_qa.spec.loader import load_spec

pytestmark = pytest.mark.live
ROOT = Path(__file__).parent.parent
SPEC = ROOT / 'config' / 'quickstart.qa.yaml'
RED = {
    'none': (),
    'slow_scan': ('topics./scan.rate.min',),
    'fast_scan': ('topics./scan.rate.max',),
    'stalled_scan': ('topics./scan.gap.max',),
    'jittery_scan': ('topics./scan.jitter.p60',),
    'stale_scan': ('topics./scan.age.p80',),
    'stuck_stamp_scan': ('topics./scan.stamps',),
    'wrong_frame_scan': ('topics./scan.frame_id',),
    'nan_scan': ('topics./scan.fields.ranges.finite',),
    'close_scan': ('topics./scan.fields.ranges.min',),
    'far_scan': ('topics./scan.fields.ranges.max',),
    'cropped_scan': ('topics./scan.fields.ranges.length',),
    'loose_imu': ('topics./imu.fields.orientation.unit_quaternion',),
    'biased_imu': ('topics./imu.fields.linear_acceleration.z.max',),
    'lossy_odom': ('topics./odom.loss.max',),
    'runaway_odom': ('topics./odom.fields.pose.pose.position.x.max',),
    'misnamed_odom': ('topics./odom.fields.child_frame_id.equals',),
    'sparse_battery': ('topics./battery.expect_count.min',),
    'unknown_battery': ('topics./battery.fields.power_supply_status.one_of',),
    'doubled_node': ('graph.unique_names',),
    'lost_driver': ('nodes./lidar_driver.alive',),
    'restarted_driver': ('nodes./lidar_driver.alive', 'nodes./lidar_driver.restarts.max'),
    'inactive_driver': ('nodes./lidar_driver.lifecycle',),
    'picky_viewer': ('graph.qos_compatible',),
    'speeding': ('nodes./robot.parameters.max_speed.max',),
    'slow_service': ('services./reset.response_time.p80',),
    'failing_service': ('services./reset.response.success.equals',),
    'silent_service': ('services./reset.failures.max', 'services./reset.response_time.p80'),
    'rejecting_action': ('actions./dock.accepted',),
    'aborting_action': ('actions./dock.result.status',),
    'late_tf': ('tf.edges.odom -> base_link.gap.max',),
    'second_parent': ('tf.single_parent',),
    'shifted_lidar': ('tf.transforms.base_link -> lidar_link.z.max',),
    'sick_diagnostics': ('diagnostics.below',),
    'angry_log': ('logs.rosout.below',),
    'late_brake': ('rules.brakes_at_an_emergency_stop',),
}
# Where a fault leaves nothing to judge: no answer has no fields, a rejected goal no result, a node
# that is gone no state, and of two nodes with one name nobody knows which was asked.
UNDECIDED = {
    'doubled_node': ('nodes./robot.alive', 'nodes./robot.parameters.max_speed.max'),
    'lost_driver': ('nodes./lidar_driver.lifecycle',),
    'restarted_driver': ('nodes./lidar_driver.lifecycle',),
    'silent_service': ('services./reset.response.success.equals',),
    'rejecting_action': ('actions./dock.result.within', 'actions./dock.result.status'),
}
# Runs are independent (each has its own domain), so a few go on at once.
AT_ONCE = 3
# Checks of a run that may lack samples on a busy machine.
MOST_UNSURE = 2
Run = tuple[Path, subprocess.CompletedProcess[str]]


def robot_qa(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, '-m', 'robot_qa.cli', *map(str, words)], cwd=ROOT, text=True,
        capture_output=True, timeout=120, check=False,
    )


def unsure(found: dict[str, Any]) -> set[str]:
    """Return the checks of a report that a few more samples would decide; there may be a few."""
    names = {one['name'] for one in found['checks'] if 'more would decide' in one['reason']}
    assert len(names) <= MOST_UNSURE, names
    return names


def report(folder: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((folder / 'report.json').read_text())
    return loaded


def judged(spec: str | Path, folder: Path, out: Path) -> dict[str, Any]:
    """Judge the recording of a run, as the command does that test_check.py tests."""
    check_recording(load_spec(ROOT / spec), folder / 'recording.mcap', out)
    return report(out)


def run(fault: str, folder: Path) -> Run:
    # Whoever is to pass needs samples enough, who is to come back time, also on a busy machine.
    longer = ['--duration', '16s'] if fault in ('none', 'restarted_driver') else []
    return folder, robot_qa(
        'run', SPEC, '--set', f'fault={fault}', '--record', '--quiet', '--out', folder, *longer
    )


@pytest.fixture(scope='module')
def runs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[str, Future[Run]]]:
    """A run with each fault that a test asks for, and one of the sound robot."""
    asked = {'none', *(item.callspec.params.get('fault') for item in request.session.items
                       if isinstance(item, pytest.Function) and hasattr(item, 'callspec'))}
    base = tmp_path_factory.mktemp('runs')
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {fault: pool.submit(run, fault, base / fault) for fault in RED if fault in asked}


def test_the_catalogue_is_covered() -> None:
    from robot_qa.examples.faults import FAULTS

    assert set(RED) == set(FAULTS)


@pytest.mark.parametrize('fault', RED)
def test_fault_turns_its_own_check_red(
    fault: str, runs: dict[str, Future[Run]], tmp_path: Path,
) -> None:
    try:
        check_verdicts(fault, *runs[fault].result())
    except AssertionError:
        # Beside others on a full machine, the robot may truly have been too slow: once more, when
        # nobody else of this file runs.
        for other in runs.values():
            other.result()
        check_verdicts(fault, *run(fault, tmp_path / 'again'))


def check_verdicts(
    fault: str, folder: Path, finished: subprocess.CompletedProcess[str],
) -> None:
    found = report(folder)
    told = {
        check['name']: (check['verdict'], check['reason'])
        for check in found['checks'] if check['verdict'] != 'PASS'
    }
    red = {name for name, (verdict, _) in told.items() if verdict == 'FAIL'}
    assert red == set(RED[fault]), (told, finished.stderr)
    # Samples on a busy machine are worth fewer; no verdict is a wrong one then.
    assert set(told) - red <= set(UNDECIDED.get(fault, ())) | unsure(found), told
    assert finished.returncode == (1 if RED[fault] else 0)
    assert not any(found['monitor']['overruns'].values())
    for check in found['checks']:
        if check['verdict'] == 'FAIL' and 'expect_count' not in check['name']:
            assert check['evidence'], check


@pytest.mark.parametrize('fault', RED)
def test_the_recording_gives_the_same_verdicts(
    fault: str, runs: dict[str, Future[Run]], tmp_path: Path
) -> None:
    folder, live = runs[fault].result()
    offline = judged(SPEC, folder, tmp_path)
    assert EXIT_CODES[Verdict(offline['verdict'])] == live.returncode
    here, there = report(folder), offline
    assert here['duration_s'] == there['duration_s']
    keys = ('name', 'verdict', 'measured', 'limit', 'evidence')
    assert [{key: check[key] for key in keys} for check in here['checks']] == [
        {key: check[key] for key in keys} for check in there['checks']
    ]


@pytest.fixture(scope='module')
def drafted(runs: dict[str, Future[Run]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A spec drafted from the recording of the sound robot."""
    path = tmp_path_factory.mktemp('draft') / 'drafted.qa.yaml'
    folder, _ = runs['none'].result()
    done = robot_qa('new', '--from-bag', folder / 'recording.mcap', '--out', path)
    assert done.returncode == 0, done.stderr
    return path


@pytest.mark.parametrize('fault', [
    fault for fault, red in RED.items() if not red or red[0].startswith('topics.')
])
def test_a_drafted_spec_knows_the_faults(
    fault: str, runs: dict[str, Future[Run]], drafted: Path, tmp_path: Path
) -> None:
    """It passes on what it was drafted from, and every fault turns a check of its topic red."""
    folder, _ = runs[fault].result()
    found = judged(drafted, folder, tmp_path)
    red = [one['name'] for one in found['checks'] if one['verdict'] == 'FAIL']
    if fault == 'none':
        open_ = {one['name'] for one in found['checks'] if one['verdict'] != 'PASS'}
        assert open_ <= unsure(found), found['checks']
    else:
        topic = '.'.join(RED[fault][0].split('.')[:2])
        assert any(name.startswith(f'{topic}.') for name in red), red


def test_a_spec_drafted_from_the_graph_passes_on_it(tmp_path: Path) -> None:
    path = tmp_path / 'drafted.qa.yaml'
    with claim_domain() as claim:
        env = {
            **os.environ, 'ROS_DOMAIN_ID': str(claim.id),
            'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
        }
        with Processes(tmp_path / 'logs') as processes:
            processes.start(ProcessSpec(
                'robot', (sys.executable, '-m', 'robot_qa.examples.robot'), None,
                child_environment(env, claim.id, {}),
            ))
            words = [sys.executable, '-m', 'robot_qa.cli']
            subprocess.run(
                [*words, 'new', '--from-graph', '--duration', '6s', '--out', path], env=env,
                check=True, timeout=60)
            done = subprocess.run(
                [*words, 'run', path, '--out', tmp_path / 'out'], env=env, timeout=60,
                capture_output=True, text=True, check=False)
    found = report(tmp_path / 'out')
    open_ = {one['name'] for one in found['checks'] if one['verdict'] != 'PASS'}
    assert open_ <= unsure(found), done.stdout
    # A rate that was not steady on a busy machine is not made a limit.
    assert '.rate.min' in done.stdout
    for topic in ('/scan', '/imu', '/odom', '/battery'):
        assert f'topics.{topic}.' in done.stdout
    for name in ('nodes./lidar_driver.alive', 'graph.unique_names', 'graph.qos_compatible'):
        assert name in done.stdout
