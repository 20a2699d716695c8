"""Journal entries travel like messages: through a recording and back."""

from __future__ import annotations

from pathlib import Path

from robot_qa.messages.typestore import TypeStore
from robot_qa.probes.bag import BagProbe
from robot_qa.probes.journal import Journal, entries
from robot_qa.probes.recorder import Recorder
from samples import START, scans


def test_entries_come_back_from_a_recording(tmp_path: Path) -> None:
    journal = Journal('graph')
    written = [(START, {'nodes': ['/a']}), (START + 5, {'nodes': [], 'text': 'ä "quoted"'})]
    path = tmp_path / 'run.mcap'
    recorder = Recorder(path, TypeStore(workspace=False))
    for stamp, entry in written:
        journal.write(stamp, entry)
        recorder.write(scans([stamp - START]))
        for batch in journal.drain():
            recorder.write(batch)
    assert journal.drain() == []
    recorder.close({})
    probe = BagProbe(path, ['robot_qa/graph'])
    found = []
    while not probe.done:
        for batch in probe.drain():
            found += list(entries(batch))
            assert batch.sequence is not None
    assert found == written
