"""The launch action, its test case and the launch files, run for real.

Each script of ``test/launch`` is run as ``launch_test`` runs it, one also by pytest.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree

import pytest

from robot_qa.domains import claim_domain

pytestmark = [pytest.mark.live, pytest.mark.launch]
ROOT = Path(__file__).parent.parent
SCRIPTS = sorted((Path(__file__).parent / 'launch').glob('*_launch.py'))
# What ``ros2 launch`` does with a file and its arguments.
LAUNCH = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
file, *words = sys.argv[1:]
service = LaunchService()
service.include_launch_description(LaunchDescription([IncludeLaunchDescription(
    PythonLaunchDescriptionSource(file),
    launch_arguments=[word.split(':=', 1) for word in words])]))
sys.exit(service.run())
"""
SPEC = """robot_qa: 1
name: listed
duration: 2 s
parameters: {frame: lidar_link}
system:
  processes: [{name: robot, command: [python3, -m, robot_qa.examples.robot]}]
  ready: {topics: [/scan]}
topics: {/scan: {frame_id: '${frame}'}}
scenario:
  - at: 500 ms
    call: {service: /reset, type: std_srvs/srv/Trigger}
allow: [call]
"""


@pytest.fixture
def env(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A ROS domain of our own: here processes of the launch description run in the shell's."""
    with claim_domain() as claim:
        yield {
            **os.environ, 'ROS_DOMAIN_ID': str(claim.id), 'ROS_LOG_DIR': str(tmp_path / 'log'),
            'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
        }


def execute(
    env: dict[str, str], cwd: Path, *words: str | Path
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, words)], env=env, cwd=cwd, text=True, timeout=600,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)


def verdicts(folder: Path) -> dict[str, str]:
    report = json.loads((folder / 'report.json').read_text())
    return {check['name']: check['verdict'] for check in report['checks']}


@pytest.mark.parametrize('script', SCRIPTS, ids=[script.stem for script in SCRIPTS])
def test_script(script: Path, env: dict[str, str], tmp_path: Path) -> None:
    junit = tmp_path / 'junit.xml'
    done = execute(
        env, tmp_path, '-m', 'launch_testing.launch_test', script, '--junit-xml', junit)
    assert done.returncode == 0, done.stdout
    names = [case.get('name') for case in ElementTree.parse(junit).iter('testcase')]
    assert len(names) >= 3
    if script.stem == 'sound_launch':
        assert 'test_topics_scan_gap_max' in names
        assert 'test_services_patrol_status_failures_max' in names
        assert 'test_run' in names


def test_a_failing_check_fails_the_script_with_its_reason(
    env: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / 'robot.qa.yaml').write_text(SPEC)
    script = tmp_path / 'broken_launch.py'
    script.write_text((Path(__file__).parent / 'launch' / 'sound_launch.py').read_text().replace(
        "'patrol.qa.yaml'", "'robot.qa.yaml'").replace(
        "['backend=', backend]", "{'frame': 'a laser'}"))
    done = execute(env, tmp_path, '-m', 'launch_testing.launch_test', script)
    assert done.returncode == 1, done.stdout
    assert 'test_topics_scan_frame_id' in done.stdout
    assert 'header.frame_id = "lidar_link" (FAIL at ' in done.stdout
    assert f'{tmp_path}/robot.qa.yaml:8:18' in done.stdout
    # And so it is under pytest, where a script is one item.
    under = tmp_path / 'test_broken.py'
    script.rename(under)
    done = execute(env, tmp_path, '-m', 'pytest', '-p', 'no:cacheprovider', under.name)
    assert done.returncode == 1, done.stdout
    assert 'header.frame_id = "lidar_link" (FAIL at ' in done.stdout


@pytest.mark.skipif(find_spec('launch_pytest') is None, reason='launch_pytest is not installed')
def test_with_launch_pytest(env: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / 'robot.qa.yaml').write_text(SPEC)
    (tmp_path / 'test_it.py').write_text("""
import launch_pytest
import pytest
from launch import LaunchDescription
from launch_pytest.actions import ReadyToTest
from robot_qa.integration.launch_testing import RobotQa

@launch_pytest.fixture
def description():
    qa = RobotQa(spec='robot.qa.yaml', bring_up=True)
    return LaunchDescription([qa, ReadyToTest()]), qa

@pytest.mark.launch(fixture=description)
def test_robot(launch_context, description):
    description[1].assert_passed('topics./scan.*')
""")
    done = execute(env, tmp_path, '-m', 'pytest', '-p', 'no:cacheprovider', 'test_it.py')
    assert done.returncode == 0, done.stdout
    assert '1 passed' in done.stdout


def test_qa_launch_file_brings_everything_up(env: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / 'robot.qa.yaml').write_text(SPEC)
    done = execute(env, tmp_path, '-c', LAUNCH, ROOT / 'launch' / 'qa.launch.py',
                   'spec:=robot.qa.yaml', 'parameters:=frame=laser', 'duration:=1 s', 'out:=out')
    found = verdicts(tmp_path / 'out')
    assert found['topics./scan.frame_id'] == 'FAIL', done.stdout
    assert found['scenario.0'] == 'PASS'
    assert found['system.processes.robot'] == 'PASS'
    assert 'FAIL  topics./scan.frame_id' in done.stdout
    assert done.returncode == 1, done.stdout
    assert f'FAIL  listed: {tmp_path / "out"}' in done.stdout.splitlines()[-1]


def test_the_exit_code_of_a_launch_that_goes_on_after_the_run(
    env: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / 'robot.qa.yaml').write_text(SPEC)
    (tmp_path / 'on.launch.py').write_text("""
from launch import LaunchDescription
from launch.actions import EmitEvent, LogInfo, RegisterEventHandler, TimerAction
from launch.event_handlers import OnProcessExit, OnShutdown
from launch.events import Shutdown
from robot_qa.integration.launch_testing import RobotQa

def generate_launch_description():
    qa = RobotQa(spec='robot.qa.yaml', parameters='frame=laser', bring_up=True, shutdown=False)
    later = TimerAction(period=0.2, actions=[EmitEvent(event=Shutdown(reason='enough'))])
    return LaunchDescription([
        qa, RegisterEventHandler(OnProcessExit(target_action=qa, on_exit=later)),
        RegisterEventHandler(OnShutdown(on_shutdown=LogInfo(msg='nobody is left out'))),
    ])
""")
    done = execute(env, tmp_path, '-c', LAUNCH, tmp_path / 'on.launch.py')
    assert done.returncode == 1, done.stdout
    assert 'nobody is left out' in done.stdout
    assert 'FAIL  listed: ' in done.stdout.splitlines()[-1]


@pytest.mark.parametrize('file,armed,played', [
    ('monitor', '', False), ('scenario', 'armed:=true', True),
])
def test_launch_files_for_what_runs_already(
    file: str, armed: str, played: bool, env: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / 'robot.qa.yaml').write_text(SPEC)
    robot = subprocess.Popen([sys.executable, '-m', 'robot_qa.examples.robot'], env=env)
    try:
        words = [armed] if armed else []
        done = execute(env, tmp_path, '-c', LAUNCH, ROOT / 'launch' / f'{file}.launch.py',
                       'spec:=robot.qa.yaml', 'out:=out', *words)
        assert robot.poll() is None, 'it is not ours to stop'
    finally:
        robot.terminate()
        robot.wait(20)
    found = verdicts(tmp_path / 'out')
    assert found['topics./scan.frame_id'] == 'PASS', done.stdout
    assert done.returncode == 0, done.stdout
    assert ('scenario.0' in found) == played
    assert 'system.processes.robot' not in found


def test_use_sim_time_is_forwarded(env: dict[str, str], tmp_path: Path) -> None:
    # Without a simulator nothing publishes /clock, so the observation does not get on.
    (tmp_path / 'robot.qa.yaml').write_text(SPEC + 'timeout: 6 s\n')
    done = execute(env, tmp_path, '-c', LAUNCH, ROOT / 'launch' / 'monitor.launch.py',
                   'spec:=robot.qa.yaml', 'out:=out', 'use_sim_time:=perhaps')
    assert 'true or false was expected, found "perhaps"' in done.stdout.splitlines()[-1]
    assert done.returncode == 1
    spec = (tmp_path / 'robot.qa.yaml').read_text().replace('topics: [/scan]', 'topics: []')
    (tmp_path / 'robot.qa.yaml').write_text(spec)
    execute(env, tmp_path, '-c', LAUNCH, ROOT / 'launch' / 'monitor.launch.py',
            'spec:=robot.qa.yaml', 'out:=out', 'use_sim_time:=true')
    assert verdicts(tmp_path / 'out')['run.duration'] == 'INCONCLUSIVE'
