"""Specs as test files: one item per check, one run per file, under the options people use."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from xml.etree import ElementTree

import pytest

from robot_qa.messages.typestore import TypeStore
from robot_qa.probes.recorder import Recorder
from robot_qa.run_folder import RunFolder
from robot_qa.spec.loader import load_spec
from samples import S, scans

pytest_plugins = ['pytester']
LIVE = """robot_qa: 1
name: robot
duration: 2 s
parameters: {fault: none}
system:
  processes:
    - name: robot
      command: [python3, -m, robot_qa.examples.robot, --fault, '${fault}']
  ready: {timeout: 20 s, topics: [/scan]}
topics:
  /scan:
    age: {max: 380 ms}
    frame_id: lidar_link
"""
LIVE_CHECKS = [
    'system.ready', 'run.duration', 'system.processes.robot', 'topics./scan.age.max',
    'topics./scan.frame_id', 'run',
]
RECORDED = """robot_qa: 1
name: recorded
duration: 2 s
parameters: {frame: lidar_link}
topics:
  /scan: {frame_id: '${frame}', stamps: increasing, gap: {max: 200 ms}}
"""


@pytest.fixture(autouse=True, scope='module')
def imported() -> None:
    """Import what a run in this process would import, and pytester forget again."""
    for entry in entry_points(group='robot_qa.monitors'):
        entry.load()


@pytest.fixture
def spec(pytester: pytest.Pytester) -> Path:
    path = pytester.path / 'robot.qa.yaml'
    path.write_text(LIVE)
    return path


@pytest.fixture
def recorded(pytester: pytest.Pytester) -> Path:
    """A spec, and a recording of two sound seconds: ten scans a second."""
    (pytester.path / 'recorded.qa.yaml').write_text(RECORDED)
    bag = pytester.path / 'bag.mcap'
    recorder = Recorder(bag, TypeStore(workspace=False))
    batch = scans([index * S // 10 for index in range(20)])
    recorder.write(batch)
    received = batch.received_ns
    recorder.close({
        'start_ns': int(received[0]), 'end_ns': int(received[-1]), 'overruns': {}, 'notes': {},
        'clock': 'system', 'run_checks': [
            {'name': 'system.ready', 'verdict': 'FAIL', 'reason': 'nothing was ready'}],
    })
    return bag


def run(pytester: pytest.Pytester, *arguments: object) -> pytest.RunResult:
    return pytester.runpytest_subprocess('-p', 'no:cacheprovider', *map(str, arguments))


def judge(pytester: pytest.Pytester, bag: Path, *arguments: object) -> pytest.RunResult:
    return here(pytester, '--qa-bag', bag, '-p', 'no:cacheprovider', *arguments)


def here(pytester: pytest.Pytester, *arguments: object) -> pytest.RunResult:
    """Run pytest in this process, where much is imported already but what others import."""
    return pytester.runpytest_inprocess('-p', 'no:hypothesispytest', *map(str, arguments))


def cases(path: Path) -> dict[str, set[str]]:
    """The test cases of a JUnit file, each with what is in it."""
    return {
        str(case.get('name')): {child.tag for child in case} - {'properties'}
        for case in ElementTree.parse(path).iter('testcase')
    }


def reports(folder: Path) -> list[Path]:
    return sorted(folder.rglob('report.json'))


@pytest.mark.live
def test_every_check_is_an_item_and_a_failing_one_shows_the_evidence(
    pytester: pytest.Pytester, spec: Path
) -> None:
    # Warnings are errors here: those of libraries must not be any of a user's.
    result = run(pytester, '-v', '--qa-set', 'fault=stale_scan', '--junit-xml=build/out.xml',
                 '-W', 'error')
    result.assert_outcomes(passed=5, failed=1)
    result.stdout.fnmatch_lines_random([
        *(f'robot.qa.yaml::{name} PASSED*' for name in LIVE_CHECKS if 'age' not in name),
        'robot.qa.yaml::topics./scan.age.max FAILED*',
        '*at most 380 ms wanted*', 'FAIL at robot.qa.yaml:12:11', 'after * s: 4* ms',
    ])
    found = cases(pytester.path / 'build' / 'out.xml')
    assert list(found) == LIVE_CHECKS
    assert found.pop('topics./scan.age.max') == {'failure'}
    assert set().union(*found.values()) == set()
    # The run was made once, its folder is in the build folder, and holds no second JUnit file.
    (report,) = reports(pytester.path)
    assert report.is_relative_to(pytester.path / 'build' / 'robot_qa_runs')
    assert not list(report.parent.glob('*.xml'))


@pytest.mark.live
def test_workers_share_one_run_of_a_file(pytester: pytest.Pytester, spec: Path) -> None:
    pytest.importorskip('xdist')
    (pytester.path / 'start.py').write_text(
        'import runpy, sys\nopen("starts", "a").write("x")\n'
        'runpy.run_module("robot_qa.examples.robot", run_name="__main__")\n')
    spec.write_text(LIVE.replace('-m, robot_qa.examples.robot', 'start.py'))
    result = run(pytester, '-n', '2', '--qa-out', 'out')
    result.assert_outcomes(passed=len(LIVE_CHECKS))
    assert (pytester.path / 'starts').read_text() == 'x'
    assert [path.parent.name for path in reports(pytester.path / 'out')] == [
        'robot.qa.yaml']


@pytest.mark.live
def test_a_run_that_cannot_be_made_is_an_error_once_tried(
    pytester: pytest.Pytester, spec: Path
) -> None:
    spec.write_text(LIVE.replace('python3, -m', 'no_such_program, -m'))
    result = run(pytester)
    assert result.parseoutcomes()['errors'] == 1
    result.stdout.fnmatch_lines('*command not found: no_such_program*')
    assert len(reports(pytester.path)) == 1


def test_a_recording_instead_of_a_live_run(pytester: pytest.Pytester, recorded: Path) -> None:
    result = judge(pytester, recorded, '-v', '-rP')
    # What the recording says of its run comes in the item of the rest.
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines_random([
        'recorded.qa.yaml::topics./scan.gap.max PASSED*', 'recorded.qa.yaml::run FAILED*',
        'system.ready: nothing was ready', '*100 ms, at most 200 ms wanted*',
    ])


def test_options_that_choose_tests(pytester: pytest.Pytester, recorded: Path) -> None:
    judge(pytester, recorded, '-k', 'gap').assert_outcomes(passed=1)
    judge(pytester, recorded, '-m', 'qa_hardware').assert_outcomes(passed=3, failed=1)
    none = judge(pytester, recorded, '-m', 'qa_simulator').parseoutcomes()
    assert none['deselected'] == 4
    assert not {'passed', 'failed'} & none.keys()
    one = 'recorded.qa.yaml::topics./scan.stamps'
    judge(pytester, recorded, one).assert_outcomes(passed=1)
    wrong = ('--qa-set', 'frame=laser')
    judge(pytester, recorded, '-x', *wrong).assert_outcomes(failed=1, passed=2)


def test_last_failed(pytester: pytest.Pytester, recorded: Path) -> None:
    arguments = ('--qa-bag', recorded, '-o', 'cache_dir=cache')
    here(pytester, *arguments).assert_outcomes(passed=3, failed=1)
    here(pytester, '--lf', *arguments).assert_outcomes(failed=1)


def test_what_is_undecided_fails_or_is_skipped_as_the_spec_says(
    pytester: pytest.Pytester, recorded: Path
) -> None:
    path = pytester.path / 'recorded.qa.yaml'
    path.write_text(RECORDED.replace('/scan:', '/silent:').replace(', gap: {max: 200 ms}', ''))
    judge(pytester, recorded).assert_outcomes(failed=3)
    path.write_text(path.read_text() + 'inconclusive: skip\n')
    result = judge(pytester, recorded, '-rs')
    result.assert_outcomes(skipped=2, failed=1)
    result.stdout.fnmatch_lines('*no message on /silent*')


def test_a_wrong_spec_shows_all_its_mistakes(pytester: pytest.Pytester) -> None:
    (pytester.path / 'wrong.qa.yaml').write_text(
        'robot_qa: 1\nname: x\nduration: 10\ntopics:\n  /scan: {gaps: {max: 1 s}}\n')
    result = here(pytester)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ['*wrong.qa.yaml:3:11: 10 has no unit*', '*wrong.qa.yaml:5:11: unknown key "gaps"*'])


def test_wrong_options_are_said(pytester: pytest.Pytester, recorded: Path) -> None:
    result = judge(pytester, recorded, '--qa-set', 'frame')
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines('*--qa-set frame: KEY=VALUE was expected*')
    (pytester.path / 'file').touch()
    result = judge(pytester, recorded, '--qa-out', 'file/inner')
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines('*--qa-out file/inner: */file is a file, not a folder*')
    result = judge(pytester, pytester.path / 'no.mcap')
    result.assert_outcomes(errors=4)
    result.stdout.fnmatch_lines('*no.mcap*')


def test_a_parameter_that_one_of_several_specs_lacks(
    pytester: pytest.Pytester, recorded: Path
) -> None:
    other = RECORDED.replace('frame:', 'name:').replace('${frame}', '${name}')
    (pytester.path / 'other.qa.yaml').write_text(other)
    result = judge(pytester, recorded, '--qa-set', 'frame=lidar_link', '-v')
    result.assert_outcomes(passed=3, failed=1, errors=4)
    result.stdout.fnmatch_lines_random(
        ['other.qa.yaml::* ERROR*', '*there is no parameter "frame" to set*'])


def test_the_folder_of_a_run_is_never_collected(
    pytester: pytest.Pytester, recorded: Path
) -> None:
    judge(pytester, recorded, '--qa-out', 'out')
    # One that was killed, or is under way, has no report.
    begun = RunFolder(load_spec(pytester.path / 'recorded.qa.yaml'), pytester.path / 'begun')
    begun.note('joined')
    judge(pytester, recorded, '--qa-out', 'out').assert_outcomes(passed=3, failed=1)
    judge(pytester, recorded, begun.path).assert_outcomes()


def test_specs_of_one_name_share_no_run(pytester: pytest.Pytester, recorded: Path) -> None:
    pytest.importorskip('xdist')
    for folder in ('a/test', 'b/test', 'root'):
        (pytester.path / folder).mkdir(parents=True)
    sound, wrong = RECORDED, RECORDED.replace('lidar_link', 'laser')
    (pytester.path / 'recorded.qa.yaml').unlink()
    (pytester.path / 'a/test/c.qa.yaml').write_text(sound)
    (pytester.path / 'a/test/c.qa.yml').write_text(wrong)
    (pytester.path / 'b/test/c.qa.yaml').write_text(wrong)
    result = run(pytester, '--qa-bag', recorded, '-n', '2', '--qa-out', 'out',
                 '--rootdir', 'root', 'a/test', 'b/test')
    result.assert_outcomes(passed=3 + 2 + 2, failed=1 + 2 + 2)
    assert len(reports(pytester.path / 'out')) == 3


RETRYING = """
from _pytest.runner import runtestprotocol

def pytest_runtest_protocol(item, nextitem):  # as pytest-rerunfailures does
    for item.execution_count in (1, 2):
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
        if not any(one.failed for one in reports):
            break
    for one in reports:
        item.ihook.pytest_runtest_logreport(report=one)
    return True
"""
REPEATING = """
def pytest_addoption(parser):
    parser.addoption('--count', type=int, default=1)
"""


def test_what_is_tried_again_is_run_again_once_for_all_checks(
    pytester: pytest.Pytester, recorded: Path
) -> None:
    pytester.makeconftest(RETRYING)
    result = judge(pytester, recorded, '--qa-out', 'out', '--qa-set', 'frame=laser')
    result.assert_outcomes(passed=2, failed=2)
    assert [one.parent.name for one in reports(pytester.path / 'out')] == [
        'recorded.qa.yaml', 'recorded.qa.yaml.2']


def test_repeating_runs_again(pytester: pytest.Pytester, recorded: Path) -> None:
    pytester.makepyfile(pytest_repeat=REPEATING)
    pytester.syspathinsert()
    result = judge(pytester, recorded, '-p', 'pytest_repeat', '--count', '2', '--qa-out', 'out',
                   '-v')
    result.assert_outcomes(passed=6, failed=2)
    result.stdout.fnmatch_lines(['*::topics./scan.gap.max[[]1-2[]] PASSED*',
                                 '*::topics./scan.gap.max[[]2-2[]] PASSED*'])
    assert len(reports(pytester.path / 'out')) == 2


def test_it_costs_next_to_nothing_where_there_is_no_spec() -> None:
    code = """import pytest, sys, time
before = set(sys.modules)
begun = time.process_time()
import robot_qa.integration.pytest_plugin
print(time.process_time() - begun)
print(*(set(sys.modules) - before))"""
    done = subprocess.run(
        [sys.executable, '-c', code], check=True, capture_output=True, text=True)
    seconds, modules = done.stdout.splitlines()
    assert float(seconds) < 0.02
    assert {name for name in modules.split() if 'robot_qa' in name} == {
        'robot_qa', 'robot_qa.integration', 'robot_qa.integration.fixtures',
        'robot_qa.integration.pytest_plugin',
    }
