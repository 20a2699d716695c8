"""Which files make up a recording, and a reader for each of them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import yaml
import zstandard

from robot_qa.errors import RecordingError, did_you_mean
from robot_qa.probes import mcap_records, mcap_scan, sqlite_scan
from robot_qa.probes.slab import Scan

EXPECTED = 'an MCAP file, a rosbag2 folder or a .db3 file'
_SUFFIXES = ('.mcap', '.db3', '.mcap.zstd', '.db3.zstd')
_ZSTD_MAGIC = b'\x28\xb5\x2f\xfd'


@dataclass
class Files:
    """The files of one recording, in order; ``packed``: every message is zstd on its own."""

    paths: list[Path]
    packed: bool = False
    notes: list[str] = field(default_factory=list)


def find_files(path: Path) -> Files:
    """Return what to read for ``path``; ``RecordingError`` if there is nothing."""
    try:
        if path.is_file():
            return Files([path])
        if not path.is_dir():
            near = did_you_mean(path.name, (other.name for other in path.parent.glob('*')))
            raise RecordingError(f'{path} does not exist; expected {EXPECTED}{near}')
        files = _from_metadata(path)
        if not files.paths:
            found = [each for each in path.iterdir() if each.name.endswith(_SUFFIXES)]
            files.paths = sorted(found, key=_natural)
    except OSError as error:
        raise RecordingError(f'{path} cannot be read: {error.strerror}') from None
    if not files.paths:
        raise RecordingError(f'{path} holds no recording: no .mcap and no .db3 file is in it')
    return files


def open_scan(path: Path, scratch: Path) -> Scan:
    """Open one file by what it holds, not by its name.

    A file that is compressed as a whole is unpacked into ``scratch`` first.
    """
    plain = path
    start = _first_bytes(path)
    if start.startswith(_ZSTD_MAGIC):
        plain = _unpacked(path, scratch)
        start = _first_bytes(plain)
    if start.startswith(mcap_records.MAGIC):
        return mcap_scan.McapScan(plain)
    if start.startswith(sqlite_scan.MAGIC):
        return sqlite_scan.SqliteScan(plain)
    if start.startswith(b'#ROSBAG'):
        raise RecordingError(f'{path} is a ROS 1 bag; expected {EXPECTED}')
    what = f'it starts with {start[:8]!r}' if start else 'it is empty'
    raise RecordingError(f'{path} is not a recording: {what}; expected {EXPECTED}')


def _first_bytes(path: Path) -> bytes:
    try:
        with path.open('rb') as file:
            return file.read(16)
    except OSError as error:
        raise RecordingError(f'{path} cannot be read: {error.strerror}') from None


def _unpacked(path: Path, scratch: Path) -> Path:
    target = scratch / path.stem
    try:
        with path.open('rb') as packed, target.open('wb') as plain:
            zstandard.ZstdDecompressor().copy_stream(packed, plain)
    except (OSError, zstandard.ZstdError) as error:
        raise RecordingError(f'{path} cannot be decompressed: {error}') from None
    return target


def _from_metadata(folder: Path) -> Files:
    """Read the folder's metadata.yaml; without a usable one, no files and a note."""
    listing = folder / 'metadata.yaml'
    if not listing.exists():
        return Files([], notes=['there is no metadata.yaml: the files are read in order of name'])
    try:
        info = yaml.safe_load(listing.read_bytes())['rosbag2_bagfile_information']
        names = [PurePosixPath(str(name)).name for name in info['relative_file_paths']]
        mode = str(info.get('compression_mode') or '').lower()
        kind = str(info.get('compression_format') or '').lower()
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        reason = ' '.join(str(error).split())
        return Files([], notes=[f'metadata.yaml is damaged ({reason}): files are read by name'])
    if mode not in {'', 'none'} and kind != 'zstd':
        raise RecordingError(f'{folder} is compressed as "{kind}"; expected zstd')
    paths = [folder / name for name in names]
    return Files(
        [path for path in paths if path.exists()],
        mode == 'message',
        [f'{path.name} is missing: what it held is not checked' for path in paths
         if not path.exists()],
    )


def _natural(path: Path) -> list[tuple[int, str]]:
    """Order split files by number: bag_2 before bag_10."""
    return [(int(digits or 0), text) for text, digits in re.findall(r'(\D*)(\d*)', path.name)]
