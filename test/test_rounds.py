"""One run after another until somebody says stop: folders rotate, and nothing is left behind."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from robot_qa.checks import CheckResult, Verdict
from robot_qa.cli import console, main
from robot_qa.errors import SetupError
from robot_qa.report.model import MonitorPart, Report, check_part
from robot_qa.rounds import Ledger, Round, read_round

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


ARMED = """
robot_qa: 1
name: bench
duration: 1 s
allow: [call]
topics: {/scan: {frame_id: x}}
scenario: [{at: 500 ms, call: {service: /reset, type: std_srvs/srv/Trigger}}]
"""


def quiet(line: str) -> None:
    pass


def note(
    ledger: Ledger, verdict: str, *broken: str, cut: bool = False, undecided: Sequence[str] = (),
) -> int:
    number, folder = ledger.begin()
    folder.mkdir(parents=True)
    ledger.note(Round(number, f't{number}', verdict, 10.0, str(folder), list(broken),
                      list(undecided), cut=cut))
    return number


def numbers(out: Path) -> list[int]:
    return sorted(int(folder.name) for folder in out.iterdir() if folder.is_dir())


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def test_the_newest_folders_stay_and_the_first_that_broke(tmp_path: Path) -> None:
    lines: list[str] = []
    ledger = Ledger(tmp_path, 2, lines.append)
    verdicts = ['PASS', 'FAIL', 'PASS', 'FAIL', 'PASS', 'ERROR', 'PASS', 'FAIL']
    for number, verdict in enumerate(verdicts):
        note(ledger, verdict, *(['topics./scan.gap.max'] if number == 3 else []))
    assert numbers(tmp_path) == [2, 5, 7, 8]
    summary = read(tmp_path / 'summary.json')
    assert summary['rounds'] == {'PASS': 4, 'FAIL': 3, 'ERROR': 1}
    assert summary['broken']['topics./scan.gap.max']['times'] == 1
    assert len((tmp_path / 'rounds.jsonl').read_text().splitlines()) == len(lines) == 8


def test_the_round_that_was_cut_short_decides_nothing(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, 2, quiet)
    note(ledger, 'PASS')
    note(ledger, 'INCONCLUSIVE', cut=True)
    assert ledger.verdict.value == 'PASS'
    note(ledger, 'INCONCLUSIVE')
    assert ledger.verdict.value == 'INCONCLUSIVE'


def test_a_bench_goes_on_with_what_an_earlier_one_has_left(tmp_path: Path) -> None:
    first = Ledger(tmp_path, 4, quiet)
    for verdict in ('FAIL', 'PASS', 'PASS', 'PASS', 'FAIL', 'FAIL'):
        note(first, verdict, *(['a'] if verdict == 'FAIL' else []))
    before = read(tmp_path / 'summary.json')
    # It was killed during a round, and the disk was full.
    first.begin()[1].mkdir()
    with (tmp_path / 'rounds.jsonl').open('a') as file:
        file.write('{"number": 99, "star')
    first.close()
    again = Ledger(tmp_path, 2, quiet)
    assert numbers(tmp_path) == [1, 3, 4, 7]
    assert again.verdict is Verdict.INCONCLUSIVE, 'the exit code is that of this bench'
    assert note(again, 'PASS') == 8
    assert numbers(tmp_path) == [1, 4, 7, 8]
    summary = read(tmp_path / 'summary.json')
    assert summary['rounds'] == {'PASS': 4, 'FAIL': 3, 'cut': 1}
    assert summary['broken']['a']['times'] == 3
    assert summary['since'] == before['since'] == 't1'
    assert summary['elapsed_s'] >= before['elapsed_s']
    assert summary['observed_s'] == 70.0
    # What the rotation has removed counts, too, when it goes on once more.
    again.close()
    assert note(Ledger(tmp_path, 2, quiet), 'PASS') == 9
    assert read(tmp_path / 'summary.json')['rounds'] == {'PASS': 5, 'FAIL': 3, 'cut': 1}


def test_a_folder_belongs_to_one_bench_at_a_time(tmp_path: Path) -> None:
    first = Ledger(tmp_path, 2, quiet)
    with pytest.raises(SetupError, match='another bench writes into'):
        Ledger(tmp_path, 2, quiet)
    first.close()
    Ledger(tmp_path, 2, quiet).close()


def report(verdict: str, **checks: str) -> Report:
    return Report(
        name='x', verdict=Verdict(verdict).value, started='now', start_ns=0, duration_s=1.0,
        confidence=0.95, environment={}, timeline=[],
        monitor=MonitorPart(cpu_s=0.0, peak_rss_bytes=0, messages=0, overruns={}, notes={}),
        checks=[check_part(CheckResult(name, Verdict(one), f'because of {name}', 'x:1:1'))
                for name, one in checks.items()])


def test_a_round_says_why_it_did_not_pass(tmp_path: Path) -> None:
    one = Round.of(3, report('INCONCLUSIVE', a='PASS', b='INCONCLUSIVE', c='INCONCLUSIVE'),
                   tmp_path, stopped=False)
    assert one.line.endswith(f'INCONCLUSIVE    1.0 s  {tmp_path}  b: because of b, c')
    ledger = Ledger(tmp_path, 2, quiet)
    ledger.note(one)
    assert set(ledger.summary()['undecided']) == {'b', 'c'}
    broken = Round.of(4, report('ERROR', a='FAIL', b='INCONCLUSIVE', c='ERROR', d='FAIL',
                                e='FAIL', f='FAIL'), tmp_path, stopped=True)
    assert broken.line.endswith('c: because of c, a, d, 2 more') and not broken.cut
    passed = Round.of(5, report('PASS', a='PASS'), tmp_path, stopped=True)
    assert passed.line.endswith(str(tmp_path)) and not passed.cut


def test_a_round_without_a_report_shows_what_it_said_last(tmp_path: Path) -> None:
    log = tmp_path / 'logs' / 'round.log'
    log.parent.mkdir()
    log.write_text('starting robot\n\nrobot_qa: there is no ROS here\n')
    one = read_round(1, 'now', tmp_path, stopped=False)
    assert (one.verdict, one.broken, one.cut) == ('ERROR', ['run'], False)
    assert 'starting robot / robot_qa: there is no ROS here' in one.line
    # Stopped before it could write one, it has broken nothing.
    one = read_round(1, 'now', tmp_path, stopped=True)
    assert (one.broken, one.cut) == ([], True)
    ledger = Ledger(tmp_path / 'out', 2, quiet)
    ledger.note(one)
    assert (ledger.summary()['broken'], ledger.summary()['rounds']) == ({}, {'cut': 1})


def test_a_full_disk_ends_the_bench_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(tmp_path / 'summary.json'))

    (tmp_path / 'bench.qa.yaml').write_text(UNREADY)
    monkeypatch.setattr('robot_qa.rounds.write_atomically', full)
    monkeypatch.setattr('robot_qa.rounds.Bench._round', lambda self, number, folder: Round(
        number, 'now', 'PASS', 1.0, str(folder)))
    code = main(['run', str(tmp_path / 'bench.qa.yaml'), '--until-stopped', '--quiet', '--out',
                 str(tmp_path)])
    assert code == 4
    assert f"No space left on device: '{tmp_path}/summary.json'" in capsys.readouterr().err


def test_an_unarmed_bench_does_not_begin(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / 'bench.qa.yaml').write_text(ARMED)
    out = tmp_path / 'out'
    code = main(['run', str(tmp_path / 'bench.qa.yaml'), '--until-stopped', '--out', str(out)])
    assert code == 2
    assert '--armed' in capsys.readouterr().err and not out.exists()


def test_what_breaks_robot_qa_is_no_failure_of_the_robot(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr('robot_qa.cli.main', lambda: dict[str, int]()['missing'])
    with pytest.raises(SystemExit) as ended:
        console()
    assert ended.value.code == 4
    assert "KeyError: 'missing'" in capsys.readouterr().err


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
    assert 'no_such_command' in str(rounds[0]['note']), rounds
