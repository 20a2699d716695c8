"""How much memory can still be taken on this machine, and in the control groups we are in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20
# Kept free, so that taking all the rest does not make the machine stand still.
RESERVE = 64 * MIB
# A limit above this is none: version 1 writes the greatest number of pages.
_NO_LIMIT = 1 << 60
# Of each version: the controllers' folder, the limit, what is used, and of that what can go.
_VERSIONS = (
    ('', 'memory.max', 'memory.current', 'inactive_file'),
    ('memory', 'memory.limit_in_bytes', 'memory.usage_in_bytes', 'total_inactive_file'),
)


@dataclass(frozen=True)
class Room:
    """So many bytes can be taken of ``total``, which is all of what ``where`` names."""

    available: int
    total: int
    where: str

    def refusal(self, wanted: int) -> str | None:
        """Say why ``wanted`` bytes cannot be held; None if they can."""
        if wanted + RESERVE <= self.available:
            return None
        return (f'{_mib(wanted)} were to be held, but of the {_mib(self.total)} of {self.where} '
                f'only {_mib(self.available)} are available, and {_mib(RESERVE)} stay free')


def memory_room(proc: Path = Path('/proc'), groups: Path = Path('/sys/fs/cgroup')) -> Room:
    """Return the narrowest of what the machine and each control group above us leave.

    See proc(5), MemAvailable, and the kernel's admin-guide, cgroup-v1/memory and cgroup-v2.
    OSError, ValueError: this is no Linux that tells.
    """
    return min([_machine(proc), *_groups(proc, groups)], key=lambda room: room.available)


def _machine(proc: Path) -> Room:
    found = {}
    for line in (proc / 'meminfo').read_text().splitlines():
        name, _, rest = line.partition(':')
        found[name] = rest
    try:
        available, total = (
            int(found[key].split()[0]) * 1024 for key in ('MemAvailable', 'MemTotal'))
    except KeyError as error:
        raise ValueError(f'{proc}/meminfo does not tell {error}') from error
    return Room(available, total, 'this machine')


def _groups(proc: Path, groups: Path) -> Iterator[Room]:
    try:
        lines = (proc / 'self/cgroup').read_text().splitlines()
    except OSError:
        return
    for line in lines:
        number, controllers, path = line.split(':', 2)
        if number != '0' and 'memory' not in controllers.split(','):
            continue
        folder, limit, used, spare = _VERSIONS[number != '0']
        # In a container the path may be one that is seen from outside only; the root is ours.
        here = groups / folder / path.lstrip('/')
        while here.is_relative_to(groups / folder):
            if (room := _group(here, limit, used, spare)) is not None:
                yield room
            here = here.parent


def _group(folder: Path, limit: str, used: str, spare: str) -> Room | None:
    try:
        total = int((folder / limit).read_text())
        taken = int((folder / used).read_text())
        lines = (folder / 'memory.stat').read_text().splitlines()
    except (OSError, ValueError):
        # There is no such group here, or its limit is "max".
        return None
    if total > _NO_LIMIT:
        return None
    # Pages of files that nobody uses give way to what is held.
    reclaimable = sum(int(line.split()[1]) for line in lines if line.split()[0] == spare)
    return Room(max(0, total - taken + reclaimable), total, f'the control group {folder}')


def _mib(count: int) -> str:
    return f'{count / MIB:.0f} MiB'
