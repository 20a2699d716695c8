"""Our own recordings: what goes in comes out, also after a kill, also through other readers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcap.reader import make_reader
from mcap.records import Message
from mcap.stream_reader import StreamReader
from rosbags.highlevel import AnyReader

from robot_qa.errors import RecordingError, UnknownTypeError
from robot_qa.messages.typestore import TypeStore
from robot_qa.probes.bag import BagProbe
from robot_qa.probes.batch import Batch, Payloads
from robot_qa.probes.recorder import CHUNK_BYTES, Recorder

STRING = 'std_msgs/msg/String'
T0 = 1_760_000_000_000_000_000
SESSION = {'start_ns': T0 - 5, 'end_ns': T0 + 5, 'overruns': {'/a': 3}, 'notes': {'/b': ['late']}}
STORE = TypeStore(workspace=False)


def text(value: bytes) -> bytes:
    return b'\0\1\0\0' + (len(value) + 1).to_bytes(4, 'little') + value + b'\0'


def batch_of(
    topic: str, publisher: list[int], data: list[bytes], *, sent: bool = True, counted: bool = True
) -> Batch:
    order = np.arange(len(data), dtype=np.int64)
    return Batch(
        topic,
        STRING,
        T0 + order if sent else None,
        T0 + order * 3 + 1,
        order + 7 if counted else None,
        np.array(publisher, np.int64),
        Payloads.of(data),
    )


def rows(batches: list[Batch]) -> dict[str, list[tuple[object, ...]]]:
    found = defaultdict(list)
    for batch in batches:
        none = [None] * len(batch)
        found[batch.topic] += zip(
            [batch.type] * len(batch),
            none if batch.source_ns is None else batch.source_ns.tolist(),
            batch.received_ns.tolist(),
            none if batch.sequence is None else batch.sequence.tolist(),
            batch.publisher.tolist(),
            map(bytes, batch.payloads),
            strict=True,
        )
    return dict(found)


def read(path: Path) -> tuple[BagProbe, list[Batch]]:
    probe = BagProbe(path)
    batches = []
    while not probe.done:
        batches += probe.drain()
    probe.close()
    return probe, batches


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    data = draw(st.lists(st.binary(max_size=40).map(text), min_size=1, max_size=20))
    return batch_of(
        draw(st.sampled_from(['/a', '/b', '/c'])),
        draw(st.lists(st.integers(0, 3), min_size=len(data), max_size=len(data))),
        data,
        sent=draw(st.booleans()),
        counted=draw(st.booleans()),
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(batches(), max_size=8), st.booleans())
def test_round_trip(written: list[Batch], described: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'r.mcap'
        recorder = Recorder(path, STORE)
        for number, batch in enumerate(written):
            if described and number == 1:
                recorder.add_publisher(batch.topic, STRING, 0, '/talker', '0a1b', '')
            recorder.write(batch)
        recorder.close(SESSION)
        probe, found = read(path)
    assert rows(found) == rows(written)
    lacks = set()
    lacks |= {'source_time'} if any(batch.source_ns is None for batch in written) else set()
    lacks |= {'sequence'} if any(batch.sequence is None for batch in written) else set()
    assert probe.lacks == lacks
    assert probe.session == SESSION
    seen = probe.observation()
    assert (seen.start_ns, seen.end_ns) == (T0 - 5, T0 + 5)
    assert (seen.overruns, seen.notes) == (SESSION['overruns'], SESSION['notes'])


def test_big_batches_and_messages_make_chunks_of_a_mebibyte(tmp_path: Path) -> None:
    data = [text(os.urandom(30_000)) for _ in range(120)] + [text(os.urandom(3 << 20))]
    written = [batch_of('/a', [0] * len(data), data), batch_of('/b', [1], [text(b'x')])]
    path = tmp_path / 'r.mcap'
    recorder = Recorder(path, STORE)
    for batch in written:
        recorder.write(batch)
    recorder.close({})
    assert rows(read(path)[1]) == rows(written)
    with path.open('rb') as file:
        sizes = [c.uncompressed_size for c in make_reader(file).get_summary().chunk_indexes]
    assert sorted(sizes)[-2] <= CHUNK_BYTES < sorted(sizes)[-1]
    assert len(sizes) <= 6


def test_other_readers_read_it(tmp_path: Path) -> None:
    data = [text(b'%d' % i) for i in range(3000)]
    path = tmp_path / 'r.mcap'
    recorder = Recorder(path, STORE)
    recorder.add_publisher('/a', STRING, 0, '/talker', '0a1b', '')
    recorder.write(batch_of('/a', [i % 2 for i in range(3000)], data))
    recorder.add_publisher('/silent', 'sensor_msgs/msg/Imu', 0, '/imu', 'ff', '')
    recorder.close(SESSION)

    with path.open('rb') as file:
        stream = StreamReader(file, validate_crcs=True)
        messages = [record for record in stream.records if isinstance(record, Message)]
    assert [message.data for message in messages] == data
    assert [message.sequence for message in messages[:3]] == [7, 8, 9]
    assert messages[5].log_time == T0 + 16
    assert messages[5].publish_time == T0 + 5

    with path.open('rb') as file:
        reader = make_reader(file, validate_crcs=True)
        summary = reader.get_summary()
        assert reader.get_header().profile == 'ros2'
        assert sum(1 for _ in reader.iter_messages(topics=['/a'])) == 3000
        assert [each.name for each in reader.iter_metadata()] == ['robot_qa']
    assert summary.statistics.message_count == 3000
    first = next(c for c in summary.channels.values() if c.metadata['publisher'] == '0')
    assert first.metadata['node'] == '/talker'
    assert first.metadata['gid'] == '0a1b'

    with AnyReader([path]) as reader:
        assert {c.topic: c.msgtype for c in reader.connections} == {
            '/a': STRING, '/silent': 'sensor_msgs/msg/Imu'
        }
        values = {reader.deserialize(raw, c.msgtype).data for c, _, raw in reader.messages()}
    assert values == {str(i) for i in range(3000)}

    assert read(path)[0].types == {'/a': STRING, '/silent': 'sensor_msgs/msg/Imu'}


def test_a_description_that_comes_late_does_not_split_the_publisher(tmp_path: Path) -> None:
    path = tmp_path / 'r.mcap'
    recorder = Recorder(path, STORE)
    one, two = (batch_of('/a', [2], [text(word)]) for word in (b'one', b'two'))
    recorder.write(one)
    recorder.add_publisher('/a', STRING, 2, '/talker', '0a1b', '')
    recorder.write(two)
    recorder.close({})
    assert rows(read(path)[1]) == rows([one, two])
    with path.open('rb') as file:
        channels = make_reader(file).get_summary().channels.values()
    assert [channel.metadata['node'] for channel in channels] == ['', '/talker']


def test_a_sequence_number_beyond_32_bits_wraps(tmp_path: Path) -> None:
    path = tmp_path / 'r.mcap'
    recorder = Recorder(path, STORE)
    written = batch_of('/a', [0, 0], [text(b'1'), text(b'2')])
    assert written.sequence is not None
    written.sequence[:] = [2**32 - 1, 2**32]
    recorder.write(written)
    recorder.close({})
    (found,) = read(path)[1]
    assert found.sequence is not None
    assert found.sequence.tolist() == [2**32 - 1, 0]


WRITER = """
import sys, time
from pathlib import Path
from robot_qa.messages.typestore import TypeStore
from robot_qa.probes import recorder
sys.path.insert(0, sys.argv[2])
from test_recorder import batch_of, text
recorder.FLUSH_SECONDS = 0.05
written = recorder.Recorder(Path(sys.argv[1]), TypeStore(workspace=False))
for number in range(10**9):
    written.write(batch_of('/a', [0], [text(b'%d' % number)]))
    print(number, flush=True)
    time.sleep(0.001)
"""


def test_what_a_killed_process_wrote_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / 'r.mcap'
    here = Path(__file__).parent
    started = time.monotonic()
    with subprocess.Popen(
        [sys.executable, '-c', WRITER, str(path), str(here)],
        stdout=subprocess.PIPE, text=True, cwd=here.parent,
    ) as process:
        assert process.stdout is not None
        while int(process.stdout.readline()) < 300:
            assert time.monotonic() - started < 60
        process.send_signal(signal.SIGKILL)
        last = max([300, *map(int, process.stdout.read().split())])
    probe, found = read(path)
    numbers = [int(bytes(each)[8:-1]) for batch in found for each in batch.payloads]
    assert numbers == list(range(len(numbers)))
    # At one message a millisecond or slower, 0.05 s of them may be lost.
    assert last - 60 < len(numbers) <= last + 2
    assert probe.session is None
    assert probe.lacks == set()
    assert 'the recording was cut off' in probe.observation().notes[''][0]


def test_quiet_topics_are_flushed_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr('robot_qa.probes.recorder.time.monotonic', lambda: now)
    path = tmp_path / 'r.mcap'
    recorder = Recorder(path, STORE)
    written = batch_of('/a', [0], [text(b'1')])
    recorder.write(written)
    now = 100.9
    recorder.flush()
    assert read(path)[1] == []
    now = 101.0
    recorder.flush()
    assert rows(read(path)[1]) == rows([written])
    recorder.close({})


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r'nowhere.r\.mcap cannot be written'):
        Recorder(tmp_path / 'nowhere' / 'r.mcap', STORE)
    recorder = Recorder(tmp_path / 'r.mcap', STORE)
    batch = batch_of('/a', [0], [text(b'1')])
    with pytest.raises(UnknownTypeError, match='no_msgs/msg/No'):
        recorder.write(Batch(batch.topic, 'no_msgs/msg/No', None, batch.received_ns, None,
                             batch.publisher, batch.payloads))
    recorder.close({})
