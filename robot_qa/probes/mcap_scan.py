"""Fast reading of MCAP files into columns, whole chunks at a time.

The layout is that of https://mcap.dev/spec. The walk over the records is done here and not by the
``mcap`` package because one object per message costs ten times as much as reading it; the rare
records (schemas, channels, metadata, indexes) are left to that package. No message index is
needed. What a crash or a damaged disk left behind is read as far as it goes, with a note.
"""

from __future__ import annotations

import mmap
import struct
import zlib
from collections.abc import Collection, Iterator
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import numpy as np
from mcap import records
from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from numpy.typing import NDArray

from robot_qa.errors import RecordingError
from robot_qa.probes.batch import Buffer, Payloads
from robot_qa.probes.mcap_records import (
    FRAME,
    MAGIC,
    MESSAGE_HEAD,
    DamagedError,
    column,
    compact,
    joined,
    unpacked,
    unpacked_start,
    walk,
)
from robot_qa.probes.slab import SLAB_BYTES, SLAB_MESSAGES, Channel, Slab, widened

_FOOTER = struct.Struct('<BQQQI')
_TABLE = 1 << 16


class McapScan:
    """One MCAP file, mapped into memory. See ``Scan`` for the attributes.

    Raises ``RecordingError`` if the file cannot be opened or is no MCAP file. A file without a
    usable summary is read twice: once for its channels, then for its messages.
    """

    def __init__(self, path: Path) -> None:
        self.channels: dict[int, Channel] = {}
        self.metadata: dict[str, dict[str, str]] = {}
        self.notes: list[str] = []
        self.span: tuple[int, int] | None = None
        self._schemas: dict[int, records.Schema] = {}
        self._chunk_channels: dict[int, frozenset[int]] = {}
        self._missing: set[int] = set()
        self._expected: int | None = None
        self._found = 0
        self._orphans = 0
        self._map = _map(path)
        self._view = memoryview(self._map)
        if self._read_summary():
            self._missing.update(self._chunk_channels)
        else:
            for _ in self._parts(frozenset()):
                pass
            self.notes.clear()
            self.span = None

    def slabs(self, wanted: Collection[int]) -> Iterator[Slab]:
        """Read the file once from its start; only messages of the wanted channels are given."""
        table = np.zeros(_TABLE, np.bool_)
        table[list(wanted)] = True
        pending: list[tuple[Buffer, list[int]]] = []
        for part in self._parts(frozenset(wanted)):
            # A run in the mapped file must not be joined: that would copy the whole file.
            if pending and (part[0] is self._view or _full(pending)):
                yield from self._slab(pending, table)
                pending = []
            pending.append(part)
            if part[0] is self._view:
                yield from self._slab(pending, table)
                pending = []
        if pending:
            yield from self._slab(pending, table)
        if self._orphans:
            self.notes.append(f'{self._orphans} messages belong to no channel of the file')
        if self._expected is not None and self._found != self._expected:
            self.notes.append(
                f'{self._found} messages were found where the file says it has {self._expected}'
            )
        if self._missing:
            self.notes.append(
                f'{len(self._missing)} chunks that the index names are not there, '
                f'the first at byte {min(self._missing)}'
            )

    def close(self) -> None:
        """Release the file; payloads that were given stay valid."""
        # Payloads that still point into the mapping keep it; it goes with the last of them.
        with suppress(BufferError):
            self._view.release()
            self._map.close()

    def _parts(self, wanted: frozenset[int]) -> Iterator[tuple[Buffer, list[int]]]:
        """Give runs of messages: a buffer and where in it the MESSAGE records start."""
        position: int | None = len(MAGIC)
        while position is not None:
            for opcode, begin, end, starts in walk(self._view, position, len(self._view)):
                position = end
                if starts:
                    yield self._view, starts
                elif opcode == Opcode.CHUNK:
                    self._missing.discard(begin - FRAME.size)
                    if not self._skippable(begin, wanted):
                        yield from self._chunk(begin, end)
                elif opcode == Opcode.FOOTER:
                    if self._view[end:end + len(MAGIC)] != MAGIC:
                        self._note_cut(end)
                    return
                else:
                    self._define(opcode, self._view[begin:end])
            if self._view[-len(MAGIC):] == MAGIC:
                position = self._resume(position)
            else:
                yield from self._torn_chunk(position)
                self._note_cut(position)
                return

    def _slab(
        self, parts: list[tuple[Buffer, list[int]]], wanted: NDArray[np.bool_]
    ) -> Iterator[Slab]:
        buffer, starts = joined(parts)
        self._found += len(starts)
        channel = column(buffer, starts + 9, '<u2')
        log_ns = column(buffer, starts + 15, '<i8')
        self.span = widened(self.span, int(log_ns.min()), int(log_ns.max()))
        keep = wanted[channel]
        if not keep.all():
            self._orphans += sum(
                int(count)
                for number, count in zip(*np.unique(channel, return_counts=True), strict=True)
                if int(number) not in self.channels
            )
            channel, log_ns, starts = channel[keep], log_ns[keep], starts[keep]
        if len(starts):
            lengths = column(buffer, starts + 1, '<i8') - MESSAGE_HEAD
            yield Slab(
                channel,
                log_ns,
                column(buffer, starts + 23, '<i8'),
                column(buffer, starts + 11, '<u4'),
                compact(Payloads(buffer, starts + 9 + MESSAGE_HEAD, lengths), self._view),
            )

    def _skippable(self, begin: int, wanted: frozenset[int]) -> bool:
        """Tell whether the index promises that a chunk holds no wanted message."""
        inside = self._chunk_channels.get(begin - FRAME.size)
        if not inside or not inside.isdisjoint(wanted):
            return False
        self.span = widened(self.span, *struct.unpack_from('<qq', self._view, begin))
        # What is skipped is not counted, so there is nothing left to compare.
        self._expected = None
        return True

    def _chunk(self, begin: int, end: int) -> Iterator[tuple[Buffer, list[int]]]:
        """Give the messages of the CHUNK record whose body is ``begin`` to ``end``."""
        try:
            data = unpacked(self._view, begin, end)
        except DamagedError as error:
            self.notes.append(
                f'the chunk at byte {begin - FRAME.size} is damaged ({error}): '
                f'its {end - begin} bytes were skipped'
            )
            return
        starts, reached = self._inside(data)
        if reached < len(data):
            self.notes.append(
                f'the chunk at byte {begin - FRAME.size} is damaged (its records do not '
                f'fill it): its last {len(data) - reached} bytes were skipped'
            )
        if starts:
            yield data, starts

    def _torn_chunk(self, position: int) -> Iterator[tuple[Buffer, list[int]]]:
        """Give what can be had of a CHUNK record that the end of the file cuts."""
        begin = position + FRAME.size
        if self._view[position:position + 1] == bytes([Opcode.CHUNK]) and begin < len(self._view):
            try:
                data = unpacked_start(self._view, begin)
            except DamagedError:
                return
            starts, _ = self._inside(data)
            if starts:
                yield data, starts

    def _inside(self, data: Buffer) -> tuple[list[int], int]:
        """Walk a decompressed chunk: where messages start, and where the last record ends."""
        found: list[int] = []
        reached = 0
        view = memoryview(data)
        for opcode, begin, end, starts in walk(view, 0, len(view)):
            found += starts
            reached = end
            if not starts:
                self._define(opcode, view[begin:end])
        return found, reached

    def _define(self, opcode: int, body: memoryview) -> None:
        """Take in one of the rare records."""
        stream = ReadDataStream(BytesIO(body))
        try:
            if opcode == Opcode.SCHEMA:
                schema = records.Schema.read(stream)
                self._schemas.setdefault(schema.id, schema)
            elif opcode == Opcode.CHANNEL:
                self._add_channel(records.Channel.read(stream))
            elif opcode == Opcode.METADATA:
                metadata = records.Metadata.read(stream)
                self.metadata[metadata.name] = metadata.metadata
            elif opcode == Opcode.MESSAGE:
                raise DamagedError
            elif opcode > max(Opcode):
                self._note_once(f'records of the unknown kind {opcode} were skipped')
        except (McapError, DamagedError, struct.error, UnicodeDecodeError):
            self._note_once(f'a record of kind {opcode} is damaged: it was skipped')

    def _add_channel(self, record: records.Channel) -> None:
        if record.id in self.channels:
            return
        schema = self._schemas.get(record.schema_id)
        self.channels[record.id] = Channel(
            record.topic,
            schema.name if schema else '',
            record.message_encoding,
            schema.data.decode('utf-8', 'replace') if schema else '',
            schema.encoding if schema else '',
            record.metadata,
        )

    def _read_summary(self) -> bool:
        """Read channels, metadata and chunk index from the file's end; False if incomplete."""
        footer = len(self._view) - len(MAGIC) - _FOOTER.size
        if footer < len(MAGIC) or self._view[footer + _FOOTER.size:] != MAGIC:
            return False
        opcode, length, start, _, crc = _FOOTER.unpack_from(self._view, footer)
        if opcode != Opcode.FOOTER or length != 20 or not len(MAGIC) <= start <= footer:
            return False
        if crc and zlib.crc32(self._view[start:footer + _FOOTER.size - 4]) != crc:
            return False
        try:
            channels = self._take_summary(start, footer, checked=crc != 0)
        except (McapError, struct.error, UnicodeDecodeError):
            channels = None
        if channels == len(self.channels) and all(known.type for known in self.channels.values()):
            return True
        self.channels.clear()
        self._schemas.clear()
        self._chunk_channels.clear()
        self._expected = None
        return False

    def _take_summary(self, start: int, end: int, checked: bool) -> int | None:
        """Take in the summary section; return how many channels its statistics count.

        Without a checksum it is good enough for names, but not for leaving chunks unread.
        """
        count: int | None = None
        # By opcode, since a channel needs its schema and the groups may come in any order.
        for opcode, begin, after, _ in sorted(walk(self._view, start, end)):
            body = self._view[begin:after]
            stream = ReadDataStream(BytesIO(body))
            if opcode == Opcode.STATISTICS:
                statistics = records.Statistics.read(stream)
                count = statistics.channel_count
                self._expected = statistics.message_count
            elif opcode == Opcode.CHUNK_INDEX and checked:
                index = records.ChunkIndex.read(stream)
                inside = frozenset(index.message_index_offsets)
                self._chunk_channels[index.chunk_start_offset] = inside
            elif opcode == Opcode.METADATA_INDEX:
                where = records.MetadataIndex.read(stream)
                for kind, first, last, _ in walk(
                    self._view, where.offset, min(where.offset + where.length, start)
                ):
                    self._define(kind, self._view[first:last])
            else:
                self._define(opcode, body)
        return count

    def _resume(self, position: int) -> int | None:
        """Say that ``position`` is damaged; return where reading can go on, if anywhere."""
        after = min((at for at in self._chunk_channels if at > position), default=None)
        until = len(self._view) if after is None else after
        self.notes.append(
            f'there is no record at byte {position}, where one was expected: '
            f'{until - position} bytes were skipped'
        )
        return after

    def _note_cut(self, position: int) -> None:
        self.notes.append(
            f'file ends inside a record at byte {position}: the recording was cut off'
        )

    def _note_once(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)


def _map(path: Path) -> mmap.mmap:
    try:
        with path.open('rb') as file:
            if file.read(len(MAGIC)) != MAGIC:
                raise RecordingError(f'{path} is no MCAP file: it does not start with {MAGIC!r}')
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise RecordingError(f'{path} cannot be read: {error.strerror}') from None


def _full(parts: list[tuple[Buffer, list[int]]]) -> bool:
    return (
        sum(len(buffer) for buffer, _ in parts) >= SLAB_BYTES
        or sum(len(starts) for _, starts in parts) >= SLAB_MESSAGES
    )


