"""Reading of rosbag2's SQLite files (.db3) into columns.

They hold one time per message, the one of reception; no send time and no sequence number.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing, suppress
from pathlib import Path

import numpy as np

from robot_qa.errors import RecordingError
from robot_qa.probes.batch import Payloads
from robot_qa.probes.slab import SLAB_BYTES, SLAB_MESSAGES, Channel, Slab, widened

MAGIC = b'SQLite format 3\0'
# The module decodes SQLite's own complaints, which may quote damaged bytes.
_FAILURES = (sqlite3.Error, UnicodeDecodeError)


class SqliteScan:
    """One SQLite file, opened read-only. See ``Scan`` for the attributes.

    Raises ``RecordingError`` if the file is no rosbag2 database.
    """

    def __init__(self, path: Path) -> None:
        self.metadata: dict[str, dict[str, str]] = {}
        self.notes: list[str] = []
        self.span: tuple[int, int] | None = None
        # Immutable: a recording is read where it lies, also on a disk that is mounted read-only.
        uri = f'{path.resolve().as_uri()}?mode=ro&immutable=1'
        try:
            self._database = sqlite3.connect(uri, uri=True, check_same_thread=False)
        except sqlite3.Error as error:
            raise RecordingError(f'{path} cannot be read: {error}') from None
        try:
            self.channels = self._read_channels()
        except _FAILURES as error:
            self.close()
            raise RecordingError(f'{path} is not a rosbag2 database: {error}') from None
        # Of a damaged database the span is that of what can be read, see slabs().
        with suppress(*_FAILURES):
            low, high = self._one('SELECT min(timestamp), max(timestamp) FROM messages')
            if isinstance(low, int) and isinstance(high, int):
                self.span = low, high
        for left in (Path(f'{path}-wal'), Path(f'{path}-journal')):
            if left.exists() and left.stat().st_size:
                self.notes.append(
                    f'{left.name} was left behind: the recording was cut off, '
                    'and the messages in that file are not read'
                )

    def slabs(self, wanted: Collection[int]) -> Iterator[Slab]:
        """Read the file once from its start; only messages of the wanted channels are given."""
        marks = ','.join('?' * len(wanted))
        query = (
            'SELECT topic_id, timestamp, data FROM messages '
            f'WHERE topic_id IN ({marks}) ORDER BY id'
        )
        rows: list[tuple[int, int, bytes]] = []
        size = passed = 0
        numbers = {topic: number for number, topic in enumerate(self._topic_ids)}
        try:
            topics = [self._topic_ids[number] for number in wanted]
            for topic, stamp, data in self._database.execute(query, topics):
                passed += 1
                if not isinstance(stamp, int) or not isinstance(data, bytes):
                    self.notes.append(f'message {passed} is damaged: it was skipped')
                    continue
                rows.append((numbers[topic], stamp, data))
                size += len(data)
                if len(rows) >= SLAB_MESSAGES or size >= SLAB_BYTES:
                    yield self._slab(rows)
                    rows, size = [], 0
        except _FAILURES as error:
            self.notes.append(f'the database is damaged after message {passed}: {error}')
        if rows:
            yield self._slab(rows)

    def close(self) -> None:
        """Release the file; payloads that were given stay valid."""
        self._database.close()

    def _read_channels(self) -> dict[int, Channel]:
        definitions = {}
        # Since schema version 4 (ROS 2 Iron) the definitions are kept with the messages.
        if self._one("SELECT count(*) FROM sqlite_master WHERE name = 'message_definitions'")[0]:
            columns = 'topic_type, encoded_message_definition, encoding'
            query = f'SELECT {columns} FROM message_definitions'
            with closing(self._database.execute(query)) as cursor:
                definitions = {str(name): (str(text), str(kind)) for name, text, kind in cursor}
        query = 'SELECT id, name, type, serialization_format FROM topics ORDER BY id'
        with closing(self._database.execute(query)) as cursor:
            rows = cursor.fetchall()
        self._topic_ids = [row[0] for row in rows]
        return {
            number: Channel(
                str(topic), str(kind), str(encoding), *definitions.get(str(kind), ('', ''))
            )
            for number, (_, topic, kind, encoding) in enumerate(rows)
        }

    def _slab(self, rows: list[tuple[int, int, bytes]]) -> Slab:
        numbers, stamps, messages = zip(*rows, strict=True)
        log_ns = np.array(stamps, np.int64)
        self.span = widened(self.span, int(log_ns.min()), int(log_ns.max()))
        return Slab(np.array(numbers, np.int64), log_ns, None, None, Payloads.of(messages))

    def _one(self, query: str) -> tuple[object, ...]:
        with closing(self._database.execute(query)) as cursor:
            row: tuple[object, ...] = cursor.fetchone()
            return row
