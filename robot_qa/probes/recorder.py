"""Writing our own recordings: MCAP that ``bag.py``, ``ros2 bag`` and every MCAP tool can read.

The records are those of the ``mcap`` package, the file around them is put together here: that
package's writer cannot be told to give out a chunk once a second, to compress fast, or to take
many messages at once.
"""

from __future__ import annotations

import json
import struct
import time
import zlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import zstandard
from mcap import records
from mcap.data_stream import RecordBuilder
from mcap.opcode import Opcode
from numpy.typing import NDArray

from robot_qa.errors import RecordingError
from robot_qa.messages.typestore import TypeStore
from robot_qa.probes.bag import (
    KEEPS,
    PUBLISHER,
    SEQUENCE,
    SESSION_KEY,
    SESSION_RECORD,
    SOURCE_TIME,
)
from robot_qa.probes.batch import Batch, Int64s
from robot_qa.probes.journal import ENTRY_SCHEMA, ENTRY_TYPE
from robot_qa.probes.mcap_records import FRAME, MAGIC, MESSAGE_HEAD

CHUNK_BYTES = 1 << 20
FLUSH_SECONDS = 1.0
_MESSAGE = np.dtype(
    [
        ('opcode', 'u1'),
        ('length', '<u8'),
        ('channel', '<u2'),
        ('sequence', '<u4'),
        ('log', '<i8'),
        ('publish', '<i8'),
    ]
)
_ChannelKey = tuple[str, str, int, str]


class Recorder:
    """Writes batches to an MCAP file, one channel per topic and publisher.

    ``log_time`` is the time of reception, ``publish_time`` the source time (the time of reception
    where there is none), ``sequence`` the publication sequence number modulo 2^32 (0 where there
    is none). The channel's metadata says which of them the batch had, besides publisher, node,
    gid and offered QoS.

    A killed process loses what was written in the last second at most, if ``flush`` is called
    also while nothing comes. Nothing waits for the disk. Raises ``RecordingError`` if the file
    cannot be written, ``UnknownTypeError`` if ``store`` does not know a type.
    """

    def __init__(self, path: Path, store: TypeStore) -> None:
        self._store = store
        self._file = _McapFile(path)
        self._schemas: dict[str, int] = {}
        self._channels: dict[_ChannelKey, int] = {}
        self._publishers: dict[tuple[str, int], tuple[str, dict[str, str]]] = {}
        self._flushed = time.monotonic()

    def add_publisher(  # noqa: PLR0917
        self, topic: str, type_name: str, publisher: int, node: str, gid: str, qos_yaml: str
    ) -> None:
        """Describe a publisher; ``qos_yaml`` as rosbag2 writes ``offered_qos_profiles``.

        May come after its first messages: those then carry no description.
        """
        described = {'node': node, 'gid': gid, 'offered_qos_profiles': qos_yaml}
        if self._publishers.get((topic, publisher)) != (type_name, described):
            self._publishers[topic, publisher] = type_name, described
            # A channel cannot be changed once written: the next message opens another.
            for key in [k for k in self._channels if (k[0], k[2]) == (topic, publisher)]:
                del self._channels[key]

    def write(self, batch: Batch) -> None:
        """Append the messages of a batch in their order."""
        if len(batch):
            keeps = SOURCE_TIME if batch.source_ns is not None else ''
            keeps += f' {SEQUENCE}' if batch.sequence is not None else ''
            # Batches of a live run are small, and there a set costs less than np.unique.
            publishers = batch.publisher.tolist()
            channels = {
                number: self._channel((batch.topic, batch.type, number, keeps))
                for number in sorted(set(publishers))
            }
            self._file.append([channels[number] for number in publishers], batch)
        self.flush()

    def flush(self) -> None:
        """Hand to the system what is older than a second."""
        now = time.monotonic()
        if now - self._flushed >= FLUSH_SECONDS:
            self._file.end_chunk()
            self._flushed = now

    def close(self, session: Mapping[str, object]) -> None:
        """Write ``session`` (anything JSON can hold) and finish the file."""
        described = {(topic, publisher) for topic, _, publisher, _ in self._channels}
        for (topic, publisher), (type_name, _) in self._publishers.items():
            if (topic, publisher) not in described:
                self._channel((topic, type_name, publisher, f'{SOURCE_TIME} {SEQUENCE}'))
        self._file.end_chunk()
        self._file.add_metadata(SESSION_RECORD, {SESSION_KEY: json.dumps(session)})
        self._file.finish()

    def _channel(self, key: _ChannelKey) -> int:
        if key not in self._channels:
            topic, type_name, publisher, keeps = key
            json_entry = type_name == ENTRY_TYPE
            if type_name not in self._schemas:
                text = ENTRY_SCHEMA if json_entry else self._store.definition_text(type_name)
                self._schemas[type_name] = self._file.add_schema(
                    type_name, text.encode(), 'jsonschema' if json_entry else 'ros2msg'
                )
            unknown = {'node': '', 'gid': '', 'offered_qos_profiles': ''}
            _, described = self._publishers.get((topic, publisher), ('', unknown))
            self._channels[key] = self._file.add_channel(
                topic,
                self._schemas[type_name],
                'json' if json_entry else 'cdr',
                {PUBLISHER: str(publisher), **described, KEEPS: keeps},
            )
        return self._channels[key]


class _McapFile:
    """An MCAP file under construction: one chunk in memory, the rest on its way to the disk."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._stream = path.open('wb')
        except OSError as error:
            raise RecordingError(f'{path} cannot be written: {error.strerror}') from None
        self._compressor = zstandard.ZstdCompressor(level=1)
        self._schemas: list[records.Schema] = []
        self._channels: list[records.Channel] = []
        self._chunks: list[records.ChunkIndex] = []
        self._metadata: list[records.MetadataIndex] = []
        self._counts: defaultdict[int, int] = defaultdict(int)
        self._chunk = bytearray()
        self._index: defaultdict[int, list[NDArray[np.int64]]] = defaultdict(list)
        self._put(MAGIC + _bytes(records.Header(profile='ros2', library='robot_qa').write))

    def add_schema(self, name: str, text: bytes, encoding: str) -> int:
        schema = records.Schema(
            id=len(self._schemas) + 1, data=text, encoding=encoding, name=name
        )
        self._schemas.append(schema)
        self._chunk += _bytes(schema.write)
        return schema.id

    def add_channel(
        self, topic: str, schema: int, encoding: str, metadata: dict[str, str]
    ) -> int:
        channel = records.Channel(
            id=len(self._channels) + 1,
            topic=topic,
            message_encoding=encoding,
            metadata=metadata,
            schema_id=schema,
        )
        self._channels.append(channel)
        self._chunk += _bytes(channel.write)
        return channel.id

    def append(self, channels: Sequence[int], batch: Batch) -> None:
        """Add messages, each to its channel."""
        heads = np.empty(len(batch), _MESSAGE)
        heads['opcode'] = Opcode.MESSAGE
        heads['length'] = batch.payloads.lengths + MESSAGE_HEAD
        heads['channel'] = channels
        heads['sequence'] = 0 if batch.sequence is None else batch.sequence & 0xFFFFFFFF
        heads['log'] = batch.received_ns
        heads['publish'] = batch.received_ns if batch.source_ns is None else batch.source_ns
        ends = np.cumsum(batch.payloads.lengths + _MESSAGE.itemsize)
        start = done = 0
        while start < len(batch):
            room = CHUNK_BYTES - len(self._chunk) + done
            stop = max(int(np.searchsorted(ends, room, 'right')), start + 1)
            self._append_slice(heads, batch, slice(start, stop))
            start, done = stop, int(ends[stop - 1])
            if start < len(batch) or len(self._chunk) >= CHUNK_BYTES:
                self.end_chunk()

    def _append_slice(self, heads: NDArray[np.void], batch: Batch, part: slice) -> None:
        chosen = heads[part]
        lengths = batch.payloads.lengths[part]
        sizes = lengths + _MESSAGE.itemsize
        starts = len(self._chunk) + np.cumsum(sizes) - sizes
        raw = chosen.tobytes()
        pieces: list[bytes | memoryview] = []
        step = _MESSAGE.itemsize
        for at, begin, length in zip(
            range(0, len(raw), step),
            batch.payloads.offsets[part].tolist(),
            lengths.tolist(),
            strict=True,
        ):
            pieces.append(raw[at:at + step])
            pieces.append(batch.payloads.buffer[begin:begin + length])
        self._chunk += b''.join(pieces)
        for channel in set(chosen['channel'].tolist()):
            mine = chosen['channel'] == channel
            self._index[channel].append(np.column_stack([chosen['log'][mine], starts[mine]]))
            self._counts[channel] += int(mine.sum())

    def end_chunk(self) -> None:
        """Write the chunk in memory and its index."""
        data, self._chunk = bytes(self._chunk), bytearray()
        index, self._index = self._index, defaultdict(list)
        if not index:
            # Schemas and channels without messages need no chunk around them.
            self._put(data)
            return
        packed = self._compressor.compress(data)
        times = np.concatenate([part[:, 0] for parts in index.values() for part in parts])
        first, last = int(times.min()), int(times.max())
        at = self._stream.tell()
        chunk = records.Chunk(
            compression='zstd',
            data=packed,
            message_start_time=first,
            message_end_time=last,
            uncompressed_crc=zlib.crc32(data),
            uncompressed_size=len(data),
        )
        self._put(_bytes(chunk.write))
        length = self._stream.tell() - at
        offsets = {}
        for channel, parts in index.items():
            offsets[channel] = self._stream.tell()
            self._stream.write(_message_index(channel, np.concatenate(parts)))
        after = self._stream.tell()
        self._put(b'')
        self._chunks.append(
            records.ChunkIndex(
                chunk_start_offset=at,
                chunk_length=length,
                compression='zstd',
                compressed_size=len(packed),
                uncompressed_size=len(data),
                message_start_time=first,
                message_end_time=last,
                message_index_offsets=offsets,
                message_index_length=after - at - length,
            )
        )

    def add_metadata(self, name: str, values: dict[str, str]) -> None:
        at = self._stream.tell()
        self._put(_bytes(records.Metadata(name, values).write))
        self._metadata.append(records.MetadataIndex(at, self._stream.tell() - at, name))

    def finish(self) -> None:
        """Write the summary and close the file."""
        self._put(_bytes(records.DataEnd(0).write))
        start = self._stream.tell()
        summary = RecordBuilder()
        groups: list[tuple[Opcode, list[records.McapRecord]]] = [
            (Opcode.SCHEMA, [*self._schemas]),
            (Opcode.CHANNEL, [*self._channels]),
            (Opcode.STATISTICS, [self._statistics()]),
            (Opcode.CHUNK_INDEX, [*self._chunks]),
            (Opcode.METADATA_INDEX, [*self._metadata]),
        ]
        offsets = []
        for opcode, group in groups:
            begin = summary.count
            for record in group:
                record.write(summary)
            if group:
                offsets.append(records.SummaryOffset(opcode, start + begin, summary.count - begin))
        offsets_at = start + summary.count
        for offset in offsets:
            offset.write(summary)
        # The checksum covers the footer up to itself, https://mcap.dev/spec#footer-op0x02
        head = FRAME.pack(Opcode.FOOTER, 20) + struct.pack('<QQ', start, offsets_at)
        data = _taken(summary) + head
        self._put(data + struct.pack('<I', zlib.crc32(data)) + MAGIC)
        self._stream.close()

    def _statistics(self) -> records.Statistics:
        return records.Statistics(
            attachment_count=0,
            channel_count=len(self._channels),
            channel_message_counts=self._counts,
            chunk_count=len(self._chunks),
            message_count=sum(self._counts.values()),
            message_end_time=max((chunk.message_end_time for chunk in self._chunks), default=0),
            message_start_time=min(
                (chunk.message_start_time for chunk in self._chunks), default=0
            ),
            metadata_count=len(self._metadata),
            schema_count=len(self._schemas),
        )

    def _put(self, data: bytes) -> None:
        try:
            self._stream.write(data)
            # To the system, not to the disk: that is what outlives this process.
            self._stream.flush()
        except OSError as error:
            raise RecordingError(f'{self._path} cannot be written: {error.strerror}') from None


def _bytes(write: Callable[[RecordBuilder], None]) -> bytes:
    builder = RecordBuilder()
    write(builder)
    return _taken(builder)


def _taken(builder: RecordBuilder) -> bytes:
    data: bytes = builder.end()  # type: ignore[no-untyped-call]
    return data


def _message_index(channel: int, entries: Int64s) -> bytes:
    """One MESSAGE_INDEX record; ``entries`` of shape (n, 2) hold log time and offset."""
    data = entries.astype('<i8').tobytes()
    body = struct.pack('<HI', channel, len(data)) + data
    return FRAME.pack(Opcode.MESSAGE_INDEX, len(body)) + body
