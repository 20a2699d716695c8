"""Samples from a recording: an MCAP file, a rosbag2 folder or a .db3 file. Needs no ROS.

What a recording keeps differs. Our own (``recorder.py``) says so itself, channel by channel. For
all others:

- MCAP has a time of reception (``log_time``) and one of sending (``publish_time``). rosbag2 fills
  in the send time since Jazzy; before, and with writers that know only one time, both are the
  same. So a topic whose first slab (up to 16,384 messages of the file) has two equal times
  throughout has no source time. Nor has one that was received in simulated time and sent in
  system time, as rosbag2 records it under ``use_sim_time``: those times cannot be compared.
- Sequence numbers are not used. rosbag2 writes 0, and other writers count the messages that they
  write: a message that was lost before the recorder leaves no gap in that count.
- The publishers of a topic share a channel, so they cannot be told apart.
- SQLite has the time of reception and nothing else.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

import numpy as np
import zstandard
from numpy.typing import NDArray

from robot_qa.errors import RecordingError, UnknownTypeError, did_you_mean
from robot_qa.messages.typestore import TypeStore
from robot_qa.probes.bag_files import find_files, open_scan
from robot_qa.probes.batch import Batch, Int64s, Observation, Payloads
from robot_qa.probes.journal import ENTRY_TYPE, PREFIX
from robot_qa.probes.round_trips import JOURNAL_NAME
from robot_qa.probes.slab import Channel, Scan, Slab, widened

JSON: TypeAlias = bool | int | float | str | list['JSON'] | dict[str, 'JSON'] | None

# How our own recordings mark themselves; recorder.py writes these.
SESSION_RECORD = 'robot_qa'
SESSION_KEY = 'session'
KEEPS = 'robot_qa_keeps'
PUBLISHER = 'publisher'

SOURCE_TIME = 'source_time'
SEQUENCE = 'sequence'
PUBLISHERS = 'publishers'

_OURS, _KEEPS_SOURCE, _KEEPS_SEQUENCE = 1, 2, 4

# Stamps before this are not from a system clock: 2001-09-09, in ns.
_SYSTEM_TIME = 10**18


class BagProbe:
    """Gives the samples of a recording in the order in which they were received.

    ``topics`` limits what is read; a wanted topic that is not there gets a note. ``store`` knows
    the definitions that the recording carries, ``types`` the ROS type of every topic that can be
    read, wanted or not, and ``session`` what our own recorder wrote at its end. A recording that
    breaks off, or is damaged in parts, is read as far as it goes; ``observation()`` says so.

    Raises ``RecordingError`` if nothing can be read.
    """

    def __init__(self, path: Path, topics: Collection[str] | None = None) -> None:
        self.store = TypeStore()
        self.types: dict[str, str] = {}
        self.session: dict[str, JSON] | None = None
        self._notes: dict[str, list[str]] = {}
        self._source_kept: dict[str, bool] = {}
        self._scratch = tempfile.TemporaryDirectory(prefix='robot_qa_')
        self._scans: list[Scan] = []
        try:
            files = find_files(path)
            self._unpack = zstandard.ZstdDecompressor() if files.packed else None
            for note in files.notes:
                self._note('', note)
            for file in files.paths:
                self._scans.append(open_scan(file, Path(self._scratch.name)))
            self._survey(path, topics)
            self._slices = self._read()
            self._next = next(self._slices, [])
        except BaseException:
            self.close()
            raise

    @property
    def lacks(self) -> frozenset[str]:
        """What at least one wanted topic lacks, of 'source_time', 'sequence', 'publishers'.

        'source_time' of a foreign MCAP file is known once the topic's first slab was read; the
        first slab of the file is read on opening.
        """
        missing = {SOURCE_TIME for kept in self._source_kept.values() if not kept}
        for scan, wanted in zip(self._scans, self._wanted, strict=True):
            for number in wanted:
                keeps = _keeps(scan.channels[number])
                if keeps is None:
                    missing |= {SEQUENCE, PUBLISHERS}
                else:
                    missing |= {SOURCE_TIME, SEQUENCE} - keeps
        return frozenset(missing)

    @property
    def done(self) -> bool:
        """Whether the end of the recording was reached: ``drain`` has nothing more to give."""
        return not self._next

    def drain(self) -> list[Batch]:
        """Return the next slice of the recording; empty at its end."""
        batches = self._next
        self._next = next(self._slices, [])
        return batches

    def observation(self) -> Observation:
        """Return the span and the notes, complete when ``done``.

        The span is what our own recorder noted, otherwise the first to the last log time of all
        topics so far; 0 to 0 if there is no message.
        """
        span: tuple[int, int] | None = None
        notes = {topic: list(lines) for topic, lines in self._notes.items()}
        for scan in self._scans:
            span = widened(span, *scan.span) if scan.span else span
            if scan.notes:
                notes.setdefault('', []).extend(scan.notes)
        start, end = span or (0, 0)
        session = self.session or {}
        overruns = session.get('overruns')
        said = session.get('notes')
        for topic, lines in said.items() if isinstance(said, dict) else ():
            if isinstance(lines, list):
                notes.setdefault(topic, []).extend(str(line) for line in lines)
        return Observation(
            _integer(session.get('start_ns'), start),
            _integer(session.get('end_ns'), end),
            {topic: _integer(count, 0) for topic, count in overruns.items()}
            if isinstance(overruns, dict) else {},
            notes,
        )

    def close(self) -> None:
        """Release the files; batches that were given stay valid."""
        for scan in self._scans:
            scan.close()
        self._scratch.cleanup()

    def _survey(self, path: Path, topics: Collection[str] | None) -> None:
        """Find out what is recorded and which channels of each file are wanted."""
        self._wanted: list[list[int]] = []
        refused = 0
        for scan in self._scans:
            readable = [n for n, channel in scan.channels.items() if self._accept(channel)]
            refused += len(scan.channels) - len(readable)
            self._wanted.append(
                [n for n in readable if topics is None or scan.channels[n].topic in topics]
            )
            if self.session is None and SESSION_RECORD in scan.metadata:
                self.session = self._session(scan.metadata[SESSION_RECORD])
        if refused and not self.types:
            reasons = '; '.join(f'{t}: {lines[0]}' for t, lines in self._notes.items() if t)
            raise RecordingError(f'{path} holds no topic that can be read: {reasons}')
        # Service events are a stand-in for the calls of our own runs, and seldom recorded.
        asked = {topic for topic in topics or () if not topic.endswith('/_service_event')}
        # Only runs that attach to other hosts keep what their clocks say.
        asked.discard(PREFIX + JOURNAL_NAME)
        for topic in sorted(asked - set(self.types) - set(self._notes)):
            self._note(topic, f'not in the recording{did_you_mean(topic, self.types)}')

    def _accept(self, channel: Channel) -> bool:
        """Learn a channel's type; False if its messages cannot be understood."""
        encoding = 'json' if channel.type == ENTRY_TYPE else 'cdr'
        if channel.encoding != encoding:
            self._note(channel.topic, f'encoded as "{channel.encoding}", expected "cdr": not read')
            return False
        if not channel.type:
            self._note(channel.topic, 'its type is not recorded: not read')
            return False
        known = self.types.setdefault(channel.topic, channel.type)
        if known != channel.type:
            self._note(
                channel.topic, f'recorded as {known} and as {channel.type}: the latter is not read'
            )
            return False
        if channel.definition_encoding and encoding == 'cdr':
            try:
                self.store.register(channel.type, channel.definition, channel.definition_encoding)
            except UnknownTypeError as error:
                self._note(channel.topic, f'the recorded definition is not used: {error}')
        return True

    def _session(self, record: dict[str, str]) -> dict[str, JSON] | None:
        try:
            session = json.loads(record[SESSION_KEY])
        except (KeyError, ValueError, RecursionError):
            session = None
        if not isinstance(session, dict):
            self._note('', f'the record "{SESSION_RECORD}" is damaged: it is not used')
            return None
        return session

    def _read(self) -> Iterator[list[Batch]]:
        for scan, wanted in zip(self._scans, self._wanted, strict=True):
            table = _Table(scan.channels, wanted)
            # Also without a wanted channel: the span is that of all topics.
            for slab in scan.slabs(wanted):
                batches = list(self._batches(self._unpacked(slab), table))
                if batches:
                    yield batches

    def _unpacked(self, slab: Slab) -> Slab:
        """Decompress messages that were compressed one by one."""
        if self._unpack is None:
            return slab
        good: list[int] = []
        messages: list[bytes] = []
        for index, packed in enumerate(slab.payloads):
            with suppress(zstandard.ZstdError, MemoryError):
                messages.append(self._unpack.decompress(packed))
                good.append(index)
        if len(good) < len(slab):
            self._note('', f'{len(slab) - len(good)} messages could not be decompressed')
        return Slab(
            slab.channel[good],
            slab.log_ns[good],
            None if slab.publish_ns is None else slab.publish_ns[good],
            None if slab.sequence is None else slab.sequence[good],
            Payloads.of(messages),
        )

    def _batches(self, slab: Slab, table: _Table) -> Iterator[Batch]:
        """Take a slab apart by topic, and where our own recorder kept less for a while."""
        topics = table.topic[slab.channel]
        order = np.argsort(topics, kind='stable')
        for chosen in np.split(order, np.flatnonzero(np.diff(topics[order])) + 1):
            keeps = table.keeps[slab.channel[chosen]]
            for part in np.split(chosen, np.flatnonzero(np.diff(keeps)) + 1):
                if len(part):
                    yield self._batch(slab, part, table)

    def _batch(self, slab: Slab, part: NDArray[np.intp], table: _Table) -> Batch:
        channel = slab.channel[part]
        topic = table.topics[table.topic[channel[0]]]
        keeps = table.keeps[channel[0]]
        received = slab.log_ns[part]
        sent = None if slab.publish_ns is None else slab.publish_ns[part]
        if not (keeps & _KEEPS_SOURCE if keeps & _OURS else self._sent(topic, received, sent)):
            sent = None
        counted = keeps & _KEEPS_SEQUENCE and slab.sequence is not None
        return Batch(
            topic,
            self.types[topic],
            sent,
            received,
            slab.sequence[part] if counted and slab.sequence is not None else None,
            table.publisher[channel],
            Payloads(
                slab.payloads.buffer, slab.payloads.offsets[part], slab.payloads.lengths[part]
            ),
        )

    def _sent(self, topic: str, received: Int64s, sent: Int64s | None) -> bool:
        """Decide, at its first messages, whether a foreign topic has usable send times."""
        if topic not in self._source_kept:
            kept = sent is not None and bool((sent != received).any())
            if kept and sent is not None and (received < _SYSTEM_TIME).all() and (
                sent >= _SYSTEM_TIME
            ).all():
                kept = False
                self._note(
                    topic, 'sent in system time and received in simulated time: the send times '
                    'are not used'
                )
            self._source_kept[topic] = kept
        return self._source_kept[topic]

    def _note(self, topic: str, note: str) -> None:
        notes = self._notes.setdefault(topic, [])
        if note not in notes:
            notes.append(note)


class _Table:
    """What is known of each wanted channel, as arrays to be indexed by channel number."""

    def __init__(self, channels: dict[int, Channel], wanted: Sequence[int]) -> None:
        self.topics = sorted({channels[number].topic for number in wanted})
        places = {topic: place for place, topic in enumerate(self.topics)}
        size = max(wanted, default=0) + 1
        # Numpy sorts 16-bit keys by radix, ten times as fast as wider ones.
        self.topic = np.zeros(size, np.uint16)
        self.keeps = np.zeros(size, np.int8)
        self.publisher = np.zeros(size, np.int64)
        for number in wanted:
            channel = channels[number]
            self.topic[number] = places[channel.topic]
            keeps = _keeps(channel)
            if keeps is not None:
                self.keeps[number] = (
                    _OURS
                    + _KEEPS_SOURCE * (SOURCE_TIME in keeps)
                    + _KEEPS_SEQUENCE * (SEQUENCE in keeps)
                )
                self.publisher[number] = int(channel.metadata[PUBLISHER])


def _keeps(channel: Channel) -> frozenset[str] | None:
    """What our own recorder kept of a channel; ``None`` if another program recorded it."""
    number = channel.metadata.get(PUBLISHER, '')
    if KEEPS not in channel.metadata or not (number.isdecimal() and len(number) < 10):
        return None
    return frozenset(channel.metadata[KEEPS].split())


def _integer(value: JSON, default: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else default
