"""Recordings by others, whole and broken; our own are in test_recorder.py."""

from __future__ import annotations

import itertools
import random
import sqlite3
import tempfile
import tracemalloc
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from mcap.writer import CompressionType, IndexType, Writer
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin
from rosbags.rosbag2 import Writer as Rosbag2Writer
from rosbags.typesys import Stores, get_typestore

from robot_qa.errors import RecordingError
from robot_qa.probes import mcap_scan
from robot_qa.probes.bag import BagProbe
from robot_qa.probes.batch import Batch

STRING = 'std_msgs/msg/String'
T0 = 1_760_000_000_000_000_000
STORE = get_typestore(Stores.LATEST)
DEFINITION, _ = STORE.generate_msgdef(STRING, ros_version=2)


@dataclass(frozen=True)
class Sample:
    topic: str
    received: int
    source: int
    data: bytes


def samples(count: int, size: int = 40) -> list[Sample]:
    """Messages on three topics, with times that are out of order and texts of uneven length."""
    draw = random.Random(7)
    return [
        Sample(
            f'/t{draw.randrange(3)}',
            T0 + i * 1_000_000 + draw.randrange(3_000_000),
            T0 + i * 1_000_000,
            text(draw.randbytes(draw.randrange(size)).hex()),
        )
        for i in range(count)
    ]


def text(value: str) -> bytes:
    return bytes(STORE.serialize_cdr(STORE.types[STRING](value), STRING))


def write_mcap(path: Path, messages: Sequence[Sample], **options: object) -> Path:
    encoding = str(options.pop('encoding', 'cdr'))
    with path.open('wb') as file:
        writer = Writer(file, **{'chunk_size': 4000, **options})
        writer.start('ros2', 'a foreign library')
        schema = writer.register_schema(STRING, 'ros2msg', DEFINITION.encode())
        channels: dict[str, int] = {}
        for i, each in enumerate(messages):
            if each.topic not in channels:
                channels[each.topic] = writer.register_channel(each.topic, encoding, schema)
            writer.add_message(
                channels[each.topic], each.received, each.data, each.source, sequence=i
            )
        writer.finish()
    return path


def drained(probe: BagProbe) -> Iterator[Batch]:
    while not probe.done:
        batches = probe.drain()
        assert batches
        yield from batches
    assert probe.drain() == []
    probe.close()


def contents(batches: Iterator[Batch]) -> dict[str, list[tuple[int, int | None, bytes]]]:
    """Received, sent and bytes of every message by topic."""
    found = defaultdict(list)
    for batch in batches:
        assert batch.type == STRING
        assert len(batch) == len(batch.payloads) == len(batch.publisher)
        sent = [None] * len(batch) if batch.source_ns is None else batch.source_ns.tolist()
        data = map(bytes, batch.payloads)
        found[batch.topic] += zip(batch.received_ns.tolist(), sent, data, strict=True)
    return dict(found)


def expected(
    messages: Sequence[Sample], *, sent: bool = True
) -> dict[str, list[tuple[int, int | None, bytes]]]:
    found = defaultdict(list)
    for each in messages:
        found[each.topic].append((each.received, each.source if sent else None, each.data))
    return dict(found)


def notes(probe: BagProbe) -> str:
    return ' | '.join(probe.observation().notes.get('', []))


SOME = samples(1500)
COMPRESSIONS = list(CompressionType)
INDEXES = [IndexType.ALL, IndexType.NONE]


@pytest.mark.parametrize('chunking', [True, False])
@pytest.mark.parametrize('index', INDEXES)
@pytest.mark.parametrize('compression', COMPRESSIONS)
def test_every_layout_gives_the_same(
    tmp_path: Path, compression: CompressionType, index: IndexType, chunking: bool
) -> None:
    layout = {'compression': compression, 'index_types': index, 'use_chunking': chunking}
    path = write_mcap(tmp_path / 'a.mcap', SOME, **layout)
    probe = BagProbe(path)
    assert probe.types == {f'/t{i}': STRING for i in range(3)}
    assert contents(drained(probe)) == expected(SOME)
    assert probe.observation().notes == {}
    assert probe.store.definition_text(STRING) == 'string data\n'


@pytest.mark.parametrize('left_out', ['repeat_channels', 'repeat_schemas', 'use_statistics'])
def test_incomplete_summary_is_made_up_for(tmp_path: Path, left_out: str) -> None:
    probe = BagProbe(write_mcap(tmp_path / 'a.mcap', SOME, **{left_out: False}))
    assert probe.types == {f'/t{i}': STRING for i in range(3)}
    assert contents(drained(probe)) == expected(SOME)
    assert probe.observation().notes == {}


def test_span_is_of_all_topics_and_unwanted_chunks_stay_packed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages = sorted(SOME, key=lambda each: each.topic)
    path = write_mcap(tmp_path / 'a.mcap', messages)
    plain = mcap_scan.unpacked
    opened: list[int] = []

    def counted(view: memoryview, begin: int, end: int) -> object:
        opened.append(begin)
        return plain(view, begin, end)

    monkeypatch.setattr(mcap_scan, 'unpacked', counted)
    list(drained(BagProbe(path)))
    everything = len(opened)
    opened.clear()
    probe = BagProbe(path, ['/t1'])
    assert contents(drained(probe)) == {'/t1': expected(messages)['/t1']}
    assert len(opened) < everything / 2
    seen = probe.observation()
    assert seen.start_ns == min(each.received for each in SOME)
    assert seen.end_ns == max(each.received for each in SOME)
    assert seen.notes == {}


def test_wanted_topic_that_is_missing(tmp_path: Path) -> None:
    probe = BagProbe(write_mcap(tmp_path / 'a.mcap', SOME), ['/t1', '/t11'])
    assert probe.observation().notes == {
        '/t11': ['not in the recording; did you mean "/t1"?']
    }


def test_foreign_recording_lacks_what_it_cannot_know(tmp_path: Path) -> None:
    probe = BagProbe(write_mcap(tmp_path / 'a.mcap', SOME))
    assert probe.lacks == {'sequence', 'publishers'}
    for batch in drained(probe):
        assert batch.sequence is None
        assert not batch.publisher.any()
    same = [Sample(s.topic, s.received, s.received, s.data) for s in SOME]
    probe = BagProbe(write_mcap(tmp_path / 'b.mcap', same))
    assert probe.lacks == {'source_time', 'sequence', 'publishers'}
    assert contents(drained(probe)) == expected(same, sent=False)


def test_simulated_reception_time_is_not_compared_with_system_time(tmp_path: Path) -> None:
    simulated = [Sample(s.topic, s.received - T0, s.source, s.data) for s in SOME]
    probe = BagProbe(write_mcap(tmp_path / 'a.mcap', simulated))
    assert 'source_time' in probe.lacks
    assert contents(drained(probe)) == expected(simulated, sent=False)
    assert 'simulated' in probe.observation().notes['/t0'][0]


@pytest.mark.parametrize('compression', COMPRESSIONS)
def test_cut_anywhere(tmp_path: Path, compression: CompressionType) -> None:
    whole = write_mcap(tmp_path / 'a.mcap', SOME[:400], compression=compression).read_bytes()
    complete = expected(SOME[:400])
    last = 0
    for size in [*range(60, len(whole), 401), *range(len(whole) - 12, len(whole))]:
        cut = tmp_path / 'cut.mcap'
        cut.write_bytes(whole[:size])
        probe = BagProbe(cut)
        found = contents(drained(probe))
        assert 'file ends inside a record at byte' in notes(probe)
        assert all(complete[topic][:len(rows)] == rows for topic, rows in found.items())
        count = sum(map(len, found.values()))
        # The more of the file there is, the more of the messages there are.
        assert count >= last
        last = count
    assert last == 400


@pytest.mark.parametrize('compression', COMPRESSIONS)
def test_torn_chunk_gives_what_it_holds(tmp_path: Path, compression: CompressionType) -> None:
    messages = samples(2000, size=2000)
    path = write_mcap(
        tmp_path / 'a.mcap', messages, compression=compression, chunk_size=1 << 30
    )
    path.write_bytes(path.read_bytes()[:int(path.stat().st_size * 0.6)])
    found = contents(drained(BagProbe(path)))
    complete = expected(messages)
    assert all(complete[topic][:len(rows)] == rows for topic, rows in found.items())
    assert 800 < sum(map(len, found.values())) < 1400


def chunk_starts(path: Path) -> list[int]:
    scan = mcap_scan.McapScan(path)
    return sorted(scan._chunk_channels)


def test_damaged_chunk_is_skipped_and_named(tmp_path: Path) -> None:
    path = write_mcap(tmp_path / 'a.mcap', SOME)
    starts = chunk_starts(path)
    data = bytearray(path.read_bytes())
    data[starts[3] + 200] ^= 0xFF
    path.write_bytes(data)
    probe = BagProbe(path)
    found = contents(drained(probe))
    lost = len(SOME) - sum(map(len, found.values()))
    assert 0 < lost < 2 * len(SOME) / len(starts)
    assert f'the chunk at byte {starts[3]} is damaged' in notes(probe)
    assert 'bytes were skipped' in notes(probe)
    assert f'the file says it has {len(SOME)}' in notes(probe)


def test_chunk_that_lost_its_kind_is_missed_also_where_others_are_skipped(tmp_path: Path) -> None:
    messages = sorted(SOME, key=lambda each: each.topic)
    path = write_mcap(tmp_path / 'a.mcap', messages)
    starts = chunk_starts(path)
    data = bytearray(path.read_bytes())
    data[starts[-1]] = 7
    path.write_bytes(data)
    probe = BagProbe(path, ['/t2'])
    assert list(drained(probe))
    assert f'1 chunks that the index names are not there, the first at byte {starts[-1]}' in (
        notes(probe)
    )


def test_damaged_framing_goes_on_at_the_next_indexed_chunk(tmp_path: Path) -> None:
    path = write_mcap(tmp_path / 'a.mcap', SOME)
    starts = chunk_starts(path)
    data = bytearray(path.read_bytes())
    data[starts[3] + 6] ^= 0xFF
    path.write_bytes(data)
    probe = BagProbe(path)
    lost = len(SOME) - sum(map(len, contents(drained(probe)).values()))
    assert 0 < lost < 2 * len(SOME) / len(starts)
    assert f'{starts[4] - starts[3]} bytes were skipped' in notes(probe)


@cache
def layouts() -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'a.mcap'
        (database,) = write_rosbag2(
            Path(folder) / 'bag', SOME[:60], StoragePlugin.SQLITE3
        ).glob('*.db3')
        return [database.read_bytes()] * 2 + [
            write_mcap(path, SOME[:60], compression=kind, use_chunking=chunks).read_bytes()
            for kind, chunks in itertools.product(COMPRESSIONS, [True, False])
        ]


@settings(max_examples=800, deadline=None)
@given(
    st.integers(0, 7),
    st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(1, 255)), max_size=4),
    st.integers(0, 1 << 14),
)
def test_broken_files_never_surprise(
    layout: int, flips: list[tuple[int, int]], cut: int
) -> None:
    data = layouts()[layout]
    broken = bytearray(data[:len(data) - cut % len(data)] if cut % 2 else data)
    for place, mask in flips:
        broken[place % len(broken)] ^= mask
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'a.mcap'
        path.write_bytes(broken)
        try:
            probe = BagProbe(path)
        except RecordingError:
            return
        for batch in drained(probe):
            assert len(list(batch.payloads)) == len(batch)
        probe.observation()


def test_a_big_file_is_not_loaded_whole(tmp_path: Path) -> None:
    big = text('x' * 100_000 + random.Random(1).randbytes(80_000).hex())
    messages = [Sample('/t', T0 + i, T0 + i - 5, big) for i in range(400)]
    path = write_mcap(tmp_path / 'a.mcap', messages, compression=CompressionType.ZSTD)
    tracemalloc.start()
    try:
        count = sum(len(batch) for batch in drained(BagProbe(path)))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 400
    assert peak < 400 * len(big) / 4


def write_rosbag2(
    folder: Path,
    messages: Sequence[Sample],
    storage: StoragePlugin,
    mode: CompressionMode = CompressionMode.NONE,
) -> Path:
    writer = Rosbag2Writer(folder, version=9, storage_plugin=storage)
    if mode != CompressionMode.NONE:
        writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        topics = sorted({each.topic for each in messages})
        known = {topic: writer.add_connection(topic, STRING, typestore=STORE) for topic in topics}
        for each in messages:
            writer.write(known[each.topic], each.received, each.data)
    return folder


def split(folder: Path, storage: StoragePlugin) -> Path:
    """Three parts of a recording; by name alone, part 10 would come before part 2."""
    suffix = 'mcap' if storage == StoragePlugin.MCAP else 'db3'
    folder.mkdir()
    names = []
    for number, part in zip((1, 2, 10), (SOME[:500], SOME[500:1000], SOME[1000:]), strict=True):
        write_rosbag2(folder / f'part{number}', part, storage)
        names.append(f'bag_{number}.{suffix}')
        (folder / f'part{number}' / f'part{number}.{suffix}').rename(folder / names[-1])
    info = yaml.safe_load((folder / 'part10' / 'metadata.yaml').read_text())
    info['rosbag2_bagfile_information']['relative_file_paths'] = names
    (folder / 'metadata.yaml').write_text(yaml.safe_dump(info))
    return folder


@pytest.mark.parametrize('storage', list(StoragePlugin))
@pytest.mark.parametrize('metadata', ['there', 'missing', 'damaged'])
def test_split_folders(tmp_path: Path, storage: StoragePlugin, metadata: str) -> None:
    folder = split(tmp_path / 'bag', storage)
    if metadata == 'missing':
        (folder / 'metadata.yaml').unlink()
    elif metadata == 'damaged':
        (folder / 'metadata.yaml').write_text('rosbag2_bagfile_information: [}')
    probe = BagProbe(folder)
    assert contents(drained(probe)) == expected(SOME, sent=False)
    assert probe.lacks == {'source_time', 'sequence', 'publishers'}
    assert ('metadata.yaml' in notes(probe)) == (metadata != 'there')
    seen = probe.observation()
    assert (seen.start_ns, seen.end_ns) == (
        min(each.received for each in SOME), max(each.received for each in SOME)
    )


def test_missing_part_is_named(tmp_path: Path) -> None:
    folder = split(tmp_path / 'bag', StoragePlugin.MCAP)
    (folder / 'bag_2.mcap').unlink()
    probe = BagProbe(folder)
    assert contents(drained(probe)) == expected([*SOME[:500], *SOME[1000:]], sent=False)
    assert 'bag_2.mcap is missing' in notes(probe)


@pytest.mark.parametrize('mode', [CompressionMode.FILE, CompressionMode.MESSAGE])
def test_rosbag2_compression(tmp_path: Path, mode: CompressionMode) -> None:
    folder = write_rosbag2(tmp_path / 'bag', SOME, StoragePlugin.SQLITE3, mode)
    assert contents(drained(BagProbe(folder))) == expected(SOME, sent=False)


def test_single_db3_with_some_topics(tmp_path: Path) -> None:
    (written,) = write_rosbag2(tmp_path / 'bag', SOME, StoragePlugin.SQLITE3).glob('*.db3')
    file = written.rename(tmp_path / 'odd #1 100%?.db3')
    probe = BagProbe(file, ['/t2'])
    assert contents(drained(probe)) == {'/t2': expected(SOME, sent=False)['/t2']}
    assert probe.store.definition_text(STRING) == 'string data\n'


def test_damaged_db3_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    folder = write_rosbag2(tmp_path / 'bag', SOME, StoragePlugin.SQLITE3)
    (file,) = folder.glob('*.db3')
    with sqlite3.connect(file) as database:
        database.execute('DROP INDEX IF EXISTS timestamp_idx')
    data = bytearray(file.read_bytes())
    data[len(data) // 2:len(data) // 2 + 40_000] = bytes(40_000)
    file.write_bytes(data)
    probe = BagProbe(file)
    found = sum(len(batch) for batch in drained(probe))
    assert found < len(SOME)
    assert 'damaged' in notes(probe)


def test_unreadable_encodings(tmp_path: Path) -> None:
    path = write_mcap(tmp_path / 'a.mcap', SOME, encoding='json')
    with pytest.raises(RecordingError, match='/t0: encoded as "json", expected "cdr"'):
        BagProbe(path)


@pytest.mark.parametrize(
    'content, reason',
    [
        (b'', 'it is empty'),
        (b'hello, world', 'is not a recording: it starts with'),
        (b'#ROSBAG V2.0\n', 'is a ROS 1 bag'),
        (b'SQLite format 3\0' + bytes(200), 'is not a rosbag2 database'),
        (b'\x28\xb5\x2f\xfd' + b'\xff' * 20, 'cannot be decompressed'),
    ],
)
def test_files_that_are_no_recording(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / 'a.mcap'
    path.write_bytes(content)
    with pytest.raises(RecordingError, match=reason):
        BagProbe(path)


def test_places_where_nothing_is(tmp_path: Path) -> None:
    (tmp_path / 'drive.mcap').write_bytes(b'')
    with pytest.raises(RecordingError, match=r'does not exist.*did you mean "drive\.mcap"'):
        BagProbe(tmp_path / 'drve.mcap')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(RecordingError, match='holds no recording'):
        BagProbe(tmp_path / 'empty')


def test_payloads_outlive_the_probe(tmp_path: Path) -> None:
    path = write_mcap(tmp_path / 'a.mcap', SOME, compression=CompressionType.NONE)
    probe = BagProbe(path)
    batches = list(drained(probe))
    probe.close()
    assert contents(iter(batches)) == expected(SOME)
