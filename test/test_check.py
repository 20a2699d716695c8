"""Judging recordings without ROS, and the files that come out of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer

from robot_qa.messages.typestore import TypeStore
from robot_qa.monitors import counting
from robot_qa.probes.recorder import Recorder
from robot_qa.report.model import json_schema
from robot_qa.session import check_recording
from robot_qa.spec.loader import load_spec
from samples import MS, START, STORE, observed, scan, scans

SPEC = """
robot_qa: 1
name: "recorded: a < b & [c]"
duration: 10 s
inconclusive: {inconclusive}
topics:
  /scan:
    rate: {{min: 9 Hz, max: 11 Hz}}
    jitter: {{p90: 20 ms, p99: 20 ms}}
    transport: {{p90: 5 ms}}
    loss: {{max: 0 %}}
    stamps: increasing
    frame_id: {frame}
    fields:
      ranges: {{finite: true, max: 5}}
"""
SENT = np.arange(100) * 100 * MS


def spec_file(folder: Path, frame: str = 'lidar_link', inconclusive: str = 'fail') -> Path:
    path = folder / 'recorded.qa.yaml'
    path.write_text(SPEC.format(frame=frame, inconclusive=inconclusive))
    return path


def recording(folder: Path) -> Path:
    path = folder / 'own.mcap'
    recorder = Recorder(path, TypeStore(workspace=False))
    recorder.write(scans(SENT))
    seen = observed(10.0)
    recorder.close({
        'start_ns': seen.start_ns, 'end_ns': seen.end_ns, 'overruns': {}, 'notes': {},
        'run_checks': [{'name': 'run.duration', 'verdict': 'PASS', 'reason': 'whole'}],
    })
    return path


def check(spec: Path, bag: Path, *words: str) -> tuple[subprocess.CompletedProcess[str], Path]:
    out = spec.parent / 'out'
    done = subprocess.run(
        [sys.executable, '-m', 'robot_qa.cli', 'check', str(spec), str(bag), '--out', str(out),
         *words], text=True, capture_output=True, check=False)
    return done, out


def checks(out: Path) -> dict[str, dict[str, Any]]:
    report = json.loads((out / 'report.json').read_text())
    return {one['name']: one for one in report['checks']}


def test_a_report_fits_its_schema_and_names_the_line_of_every_check(tmp_path: Path) -> None:
    spec = spec_file(tmp_path, frame='laser')
    done, out = check(spec, recording(tmp_path))
    report = json.loads((out / 'report.json').read_text())
    jsonschema.validate(report, json_schema())
    assert done.returncode == 1
    assert report['verdict'] == 'FAIL'
    lines = spec.read_text().splitlines()
    for name, one in checks(out).items():
        if name.startswith('topics.'):
            file, line, column = one['source'].rsplit(':', 2)
            assert Path(file) == spec
            key = name.rsplit('.', 1)[-1]
            assert lines[int(line) - 1][int(column) - 1:].startswith(key)
    wrong = checks(out)['topics./scan.frame_id']
    assert wrong['evidence'][0]['text'] == 'header.frame_id = "lidar_link"'
    assert wrong['evidence'][0]['stamp_ns'] == START + MS
    assert 'topics./scan.frame_id' in done.stdout
    assert wrong['source'] in done.stdout


@pytest.mark.parametrize('inconclusive,tag', [('fail', 'failure'), ('skip', 'skipped')])
def test_junit_has_a_case_per_check(tmp_path: Path, inconclusive: str, tag: str) -> None:
    _, out = check(spec_file(tmp_path, 'laser', inconclusive), recording(tmp_path))
    root = ElementTree.parse(out / 'junit.xml').getroot()
    cases = {case.get('name'): case for case in root.iter('testcase')}
    assert set(cases) == set(checks(out))
    suite = root.find('testsuite')
    assert suite is not None
    assert int(suite.get('tests', '')) == len(cases)
    assert int(suite.get('failures', '')) == (2 if inconclusive == 'fail' else 1)
    failed = cases['topics./scan.frame_id'].find('failure')
    assert failed is not None and failed.get('type') == 'fail'
    undecided = cases['topics./scan.jitter.p99'].find(tag)
    assert undecided is not None and undecided.get('type') == 'inconclusive'
    measured = {
        one.get('name'): one.get('value')
        for one in cases['topics./scan.rate.min'].iter('property')
    }
    assert measured['unit'] == 'Hz' and float(measured['value'] or 0) == pytest.approx(10.0)


def test_what_others_recorded_lacks_is_inconclusive_and_named(tmp_path: Path) -> None:
    """A rosbag2 SQLite recording keeps neither send times nor sequence numbers."""
    folder = tmp_path / 'bag'
    with Writer(folder, version=9, storage_plugin=StoragePlugin.SQLITE3) as writer:
        connection = writer.add_connection(
            '/scan', 'sensor_msgs/msg/LaserScan', typestore=STORE)
        for at in SENT:
            stamp = START + int(at)
            writer.write(connection, stamp + MS, scan(stamp))
    done, out = check(spec_file(tmp_path, inconclusive='skip'), folder)
    found = checks(out)
    assert found['topics./scan.stamps']['verdict'] == 'PASS'
    assert found['topics./scan.fields.ranges.max']['verdict'] == 'PASS'
    for name, lacking in [
        ('rate.min', 'send time'), ('jitter.p90', 'send time'), ('transport.p90', 'send time'),
        ('loss.max', 'sequence numbers'),
    ]:
        assert found[f'topics./scan.{name}']['verdict'] == 'INCONCLUSIVE'
        assert lacking in found[f'topics./scan.{name}']['reason']
    assert done.returncode == 3


def test_a_recording_without_the_topic_says_so(tmp_path: Path) -> None:
    spec = tmp_path / 'other.qa.yaml'
    spec.write_text(SPEC.format(frame='x', inconclusive='fail').replace('/scan:', '/scam:'))
    done, out = check(spec, recording(tmp_path))
    assert 'not in the recording; did you mean "/scan"?' in checks(out)[
        'topics./scam.stamps']['reason']
    assert done.returncode == 1  # a rate that was wanted and was zero


def test_a_monitor_that_breaks_is_an_error_and_takes_no_other_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(*_: object) -> None:
        raise ZeroDivisionError('seeded')

    monkeypatch.setattr(counting.StampsMonitor, 'update', explode)
    out = tmp_path / 'out'
    _, report = check_recording(load_spec(spec_file(tmp_path)), recording(tmp_path), out)
    found = {one.name: one for one in report.checks}
    assert found['topics./scan.stamps'].verdict == 'ERROR'
    assert 'ZeroDivisionError: seeded' in found['topics./scan.stamps'].reason
    assert found['topics./scan.rate.min'].verdict == 'PASS'
    assert report.verdict == 'ERROR'


def test_a_recording_that_is_none_ends_with_2(tmp_path: Path) -> None:
    nothing = tmp_path / 'text.mcap'
    nothing.write_text('this is no recording')
    done, _ = check(spec_file(tmp_path), nothing)
    assert done.returncode == 2
    assert 'text.mcap' in done.stderr and 'Traceback' not in done.stderr


def test_quiet_prints_nothing_and_the_span_is_that_of_the_recording(tmp_path: Path) -> None:
    done, out = check(spec_file(tmp_path), recording(tmp_path), '--quiet')
    assert done.stdout == ''
    report = json.loads((out / 'report.json').read_text())
    assert report['duration_s'] == 10.0
    assert report['monitor']['messages'] == 100
