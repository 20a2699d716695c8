"""One run after another until somebody says stop: folders rotate, and nothing is left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from robot_qa.checks import Verdict
from robot_qa.rounds import Bench, Round

SPEC = """
robot_qa: 1
name: bench
duration: 1500 ms
system:
  processes: [{name: robot, command: [python3, -m, robot_qa.examples.robot]}]
  ready: {timeout: 30 s, topics: [/scan]}
topics:
  /scan: {rate: {min: 5 Hz, window: 1 s}, frame_id: %s}
"""
UNREADY = """
robot_qa: 1
name: bench
duration: 1 s
system:
  processes: [{name: robot, command: [no_such_command]}]
topics:
  /scan: {frame_id: x}
"""


def note(
    bench: Bench, number: int, out: Path, verdict: str, *broken: str, cut: bool = False,
) -> None:
    folder = out / f'{number:06d}'
    folder.mkdir(parents=True)
    bench._note(Round(number, 'now', verdict, 10.0, str(folder), list(broken), cut=cut))


def test_the_newest_folders_stay_and_the_first_that_broke(tmp_path: Path) -> None:
    lines: list[str] = []
    bench = Bench(tmp_path, [], 2, lines.append)
    verdicts = ['PASS', 'FAIL', 'PASS', 'FAIL', 'PASS', 'ERROR', 'PASS', 'FAIL']
    for number, verdict in enumerate(verdicts):
        note(bench, number, tmp_path, verdict, *(['topics./scan.gap.max'] if number == 3 else []))
    left = sorted(int(folder.name) for folder in tmp_path.iterdir() if folder.is_dir())
    assert left == [1, 4, 6, 7]
    summary = json.loads((tmp_path / 'summary.json').read_text())
    assert summary['rounds'] == {'PASS': 4, 'FAIL': 3, 'ERROR': 1}
    assert summary['broken']['topics./scan.gap.max']['times'] == 1
    assert len((tmp_path / 'rounds.jsonl').read_text().splitlines()) == len(lines) == 8


def test_the_round_that_was_cut_short_decides_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [], 2, lambda line: None)
    note(bench, 1, tmp_path, 'PASS')
    note(bench, 2, tmp_path, 'INCONCLUSIVE', cut=True)
    assert bench._tally.verdict is Verdict.PASS
    note(bench, 3, tmp_path, 'INCONCLUSIVE')
    assert bench._tally.verdict is Verdict.INCONCLUSIVE


def run_until(spec: Path, out: Path, enough: int) -> tuple[int, list[dict[str, object]]]:
    process = subprocess.Popen(
        [sys.executable, '-m', 'robot_qa.cli', 'run', str(spec), '--until-stopped', '--out',
         str(out)], stdout=subprocess.PIPE, text=True, env=dict(os.environ),
    )
    deadline = time.monotonic() + 120
    rounds = out / 'rounds.jsonl'
    while not (rounds.exists() and len(rounds.read_text().splitlines()) >= enough):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    _, alive = psutil.wait_procs(family, timeout=10)
    assert not alive, f'left behind: {alive}'
    return process.returncode, [json.loads(line) for line in rounds.read_text().splitlines()]


@pytest.mark.live
@pytest.mark.parametrize(('frame', 'code', 'verdict', 'enough'), [
    ('lidar_link', 0, 'PASS', 2), ('elsewhere', 1, 'FAIL', 1)])
def test_rounds_of_a_real_robot(
    tmp_path: Path, frame: str, code: int, verdict: str, enough: int,
) -> None:
    pytest.importorskip('rclpy')
    spec = tmp_path / 'bench.qa.yaml'
    spec.write_text(SPEC % frame)
    returned, rounds = run_until(spec, tmp_path / 'out', enough)
    assert {one['verdict'] for one in rounds[:enough]} == {verdict}, rounds
    assert returned == code
    assert (tmp_path / 'out' / '000001' / 'report.json').exists()
    assert json.loads((tmp_path / 'out' / 'summary.json').read_text())['rounds'][verdict] >= enough


@pytest.mark.live
def test_a_round_that_cannot_begin_is_a_line_and_not_the_end(tmp_path: Path) -> None:
    pytest.importorskip('rclpy')
    spec = tmp_path / 'bench.qa.yaml'
    spec.write_text(UNREADY)
    returned, rounds = run_until(spec, tmp_path / 'out', 1)
    assert (returned, rounds[0]['verdict']) == (4, 'ERROR')
