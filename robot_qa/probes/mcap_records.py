"""The records of an MCAP file: walking over them, unpacking chunks, messages as columns.

The layout is that of https://mcap.dev/spec.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import lz4.frame
import numpy as np
import zstandard
from mcap.opcode import Opcode
from numpy.typing import DTypeLike

from robot_qa.probes.batch import Buffer, Int64s, Payloads
from robot_qa.probes.slab import SLAB_BYTES

MAGIC = b'\x89MCAP0\r\n'
FRAME = struct.Struct('<BQ')
# What precedes the payload in a message: the frame, then channel, sequence and both times.
MESSAGE_HEAD = 22
_CHUNK_HEAD = struct.Struct('<QQQII')
# Plain integers: comparing with an IntEnum member would double the cost of the inner loop.
_MESSAGE = int(Opcode.MESSAGE)
_FRAME_SIZE = FRAME.size


class DamagedError(Exception):
    """A record does not hold what its kind should. Never leaves the reader."""


def walk(
    view: memoryview, position: int, end: int
) -> Iterator[tuple[int, int, int, list[int]]]:
    """Walk complete records: opcode, where the body begins and ends, and starts.

    Messages come many at once: then the last entry holds where each of their records starts,
    otherwise it is empty. Stops where no complete record follows.
    """
    while position + _FRAME_SIZE <= end:
        starts, following = _message_run(view, position, end)
        if starts:
            yield _MESSAGE, position, following, starts
        else:
            opcode, length = FRAME.unpack_from(view, position)
            following = position + _FRAME_SIZE + length
            # No record has the opcode 0; a disk fills with zeros what was never written.
            if following > end or opcode == 0:
                return
            yield opcode, position + _FRAME_SIZE, following, starts
        position = following


def _message_run(view: memoryview, position: int, end: int) -> tuple[list[int], int]:
    """Return where consecutive complete MESSAGE records start, and where the last one ends."""
    unpack = FRAME.unpack_from
    starts: list[int] = []
    add = starts.append
    last = min(end - _FRAME_SIZE, position + SLAB_BYTES)
    while position <= last:
        opcode, length = unpack(view, position)
        following = position + 9 + length
        if opcode != _MESSAGE or following > end or length < MESSAGE_HEAD:
            break
        add(position)
        position = following
    return starts, position


def unpacked(view: memoryview, begin: int, end: int) -> Buffer:
    """Return what the CHUNK record with its body from ``begin`` to ``end`` holds.

    ``DamagedError`` unless size and checksum are what the record says.
    """
    size, crc, compression, packed, length = _chunk_head(view, begin, end)
    if length != len(packed):
        raise DamagedError(f'it claims {length} bytes and has {len(packed)}')
    try:
        data = _decompressed(compression, packed, size)
    except (zstandard.ZstdError, RuntimeError, MemoryError) as error:
        raise DamagedError(f'{compression}: {error}') from None
    if len(data) != size:
        raise DamagedError(f'{len(data)} bytes came out where {size} were expected')
    if crc and zlib.crc32(data) != crc:
        raise DamagedError('its checksum does not match')
    return data


def unpacked_start(view: memoryview, begin: int) -> Buffer:
    """Return as much as can be had of a chunk that the end of the file cuts."""
    _, _, compression, packed, length = _chunk_head(view, begin, len(view))
    packed = packed[:length]
    try:
        if compression == '':
            return packed
        if compression == 'lz4':
            return bytes(lz4.frame.LZ4FrameDecompressor().decompress(packed))
        return zstandard.ZstdDecompressor().decompressobj().decompress(packed)
    except (zstandard.ZstdError, RuntimeError, MemoryError) as error:
        raise DamagedError(f'{compression}: {error}') from None


def _decompressed(compression: str, packed: memoryview, size: int) -> Buffer:
    if compression == '':
        return packed
    if compression == 'lz4':
        return bytes(lz4.frame.decompress(packed))
    # Believing a damaged size would reserve that much memory.
    if zstandard.frame_content_size(packed) == size:
        return zstandard.ZstdDecompressor().decompress(packed)
    return zstandard.ZstdDecompressor().decompressobj().decompress(packed)


def _chunk_head(
    view: memoryview, begin: int, end: int
) -> tuple[int, int, str, memoryview, int]:
    """Return size, checksum, compression, compressed bytes and how many there should be."""
    if begin + _CHUNK_HEAD.size > end:
        raise DamagedError('its header is not complete')
    _, _, size, crc, text = _CHUNK_HEAD.unpack_from(view, begin)
    packed = begin + _CHUNK_HEAD.size + text + 8
    if packed > end:
        raise DamagedError('its header is not complete')
    compression = bytes(view[packed - 8 - text:packed - 8])
    if compression not in {b'', b'lz4', b'zstd'}:
        raise DamagedError(f'its compression is {compression[:20]!r}, expected zstd or lz4')
    (length,) = struct.unpack_from('<Q', view, packed - 8)
    return size, crc, compression.decode(), view[packed:end], length


def joined(parts: list[tuple[Buffer, list[int]]]) -> tuple[Buffer, Int64s]:
    """Put buffers one after another; a single one is not copied."""
    if len(parts) == 1:
        return parts[0][0], np.array(parts[0][1], np.int64)
    shifted = []
    base = 0
    for buffer, starts in parts:
        shifted.append(np.array(starts, np.int64) + base)
        base += len(buffer)
    return b''.join(buffer for buffer, _ in parts), np.concatenate(shifted)


def column(buffer: Buffer, positions: Int64s, kind: DTypeLike) -> Int64s:
    """Read one integer at each position, as int64 of the same shape."""
    dtype = np.dtype(kind)
    # Stride 1: element i begins at byte i, so that numpy does the unaligned reads.
    every = np.ndarray((len(buffer) - dtype.itemsize + 1,), dtype, buffer, strides=(1,))
    values: Int64s = every[positions].astype(np.int64)
    return values


def compact(payloads: Payloads, mapped: memoryview) -> Payloads:
    """Copy the messages out of a buffer that is mostly others, so that it can go."""
    if payloads.buffer.obj is mapped.obj or payloads.lengths.sum() * 4 > len(payloads.buffer):
        return payloads
    return Payloads.of([bytes(message) for message in payloads])
