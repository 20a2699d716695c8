"""Room for large messages on their way out of a process: a larger segment for Fast DDS.

Fast DDS cuts a message into pieces of 64 KiB and lays them into the shared memory of the sender,
512 KiB unless a profile says otherwise. What finds no room there is lost; a reliable publisher
sends it again when it is asked to, which makes an image of 0.9 MB 10 ms late, a best-effort one
loses the image. Here is the profile for processes that are test equipment. What is under test
keeps the middleware that it is deployed with: a run must not heal what it should find.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

SHARED_MEMORY = Path('/dev/shm')
# Holds two images of full HD. Fast DDS writes to all of it at its start.
SEGMENT = 16 << 20
# At most this part of what is free, and no segment that would be hardly larger than the usual.
SHARE = 8
SEGMENT_AT_LEAST = 2 << 20
# Fast DDS 3 (Kilted) prefers the first name and warns of the second, 2 (Jazzy) knows only that.
PROFILES = {
    'FASTDDS_DEFAULT_PROFILES_FILE': 'fastdds', 'FASTRTPS_DEFAULT_PROFILES_FILE': 'fastrtps',
}
TRANSPORTS = 'FASTDDS_BUILTIN_TRANSPORTS'
# What Fast DDS reads in the working directory, by itself.
IN_PLACE = ('DEFAULT_FASTDDS_PROFILES.xml', 'DEFAULT_FASTRTPS_PROFILES.xml')
# Messages leave by the first transport of a kind. The usual ones stay behind it, so that nothing
# else changes, and they take over where this segment cannot be made.
PROFILE = """\
<?xml version="1.0" encoding="UTF-8"?>
<profiles xmlns="http://www.eprosima.com">
  <transport_descriptors>
    <transport_descriptor>
      <transport_id>robot_qa_shm</transport_id>
      <type>SHM</type>
      <segment_size>{segment}</segment_size>
    </transport_descriptor>
  </transport_descriptors>
  <participant profile_name="robot_qa" is_default_profile="true">
    <rtps>
      <userTransports><transport_id>robot_qa_shm</transport_id></userTransports>
    </rtps>
  </participant>
</profiles>
"""


def segment_size(folder: Path = SHARED_MEMORY) -> int | None:
    """Return how many bytes a segment may have, given what is free; None if not worth it."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return None
    size = min(SEGMENT, found.f_bavail * found.f_frsize // SHARE)
    return size if size >= SEGMENT_AT_LEAST else None


def variables(env: Mapping[str, str], cwd: Path, folder: Path) -> dict[str, str]:
    """Write the profile into ``folder``; return what a process in ``cwd`` needs beside ``env``.

    Nothing, if the user has configured Fast DDS by a profile or its transports, or if shared
    memory is scarce. Other middleware does not read these variables.
    """
    configured = any(env.get(name) for name in (*PROFILES, TRANSPORTS))
    size = segment_size()
    if configured or size is None or any((cwd / name).exists() for name in IN_PLACE):
        return {}
    profile = (folder / 'fastdds.xml').absolute()
    profile.write_text(PROFILE.format(segment=size))
    return {name: str(profile) for name in _names(env)}


@contextmanager
def large_segment() -> Iterator[None]:
    """Give the nodes of this process that are made while inside the larger segment."""
    with tempfile.TemporaryDirectory(prefix='robot_qa_') as folder:
        added = variables(os.environ, Path.cwd(), Path(folder))
        os.environ.update(added)
        try:
            yield
        finally:
            for name in added:
                os.environ.pop(name, None)


def _names(env: Mapping[str, str]) -> list[str]:
    """Return the names that the installed Fast DDS reads, or both where none is found."""
    places = [sys.prefix, *env.get('AMENT_PREFIX_PATH', '').split(os.pathsep)]
    found = [
        name for name, library in PROFILES.items()
        if any(any((Path(place) / 'lib').glob(f'lib{library}.so*')) for place in places if place)
    ]
    return found or list(PROFILES)
