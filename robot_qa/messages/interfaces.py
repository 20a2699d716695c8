"""Compiles packages of .msg, .srv and .action files where no workspace provides them.

What comes out is what colcon and CMake would have made of them, as far as Python needs it: they
can be imported, the ament index knows them, and their type hashes are the same, so that they speak
with nodes that were built elsewhere. There are no C++ type supports.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from robot_qa.errors import SetupError
from robot_qa.messages import rosidl
from robot_qa.messages.definitions import (
    Package,
    ament_prefixes,
    check_types,
    installed_type,
    read_packages,
)

# To be changed with whatever changes what is built from the same definitions.
_FORMAT = 1
_GENERATORS = (
    'rosidl_adapter', rosidl.DESCRIPTION, rosidl.GENERATOR_C, rosidl.FASTRTPS,
    rosidl.INTROSPECTION, rosidl.TYPESUPPORT, rosidl.GENERATOR_PY,
)
_BUILD = '.robot_qa_build'


def build(
    folders: Sequence[Path],
    prefix: Path | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> list[str]:
    """Compile the packages in ``folders`` into ``prefix`` and return the names of those built.

    ``prefix`` is this Python environment unless given; what is up to date is not built again, nor
    is a package that is installed by someone else (`say` tells). Concurrent calls wait for each
    other. Whatever goes wrong before the last file is compiled leaves the prefix as it was.

    SpecError: every wrong line of every file. SetupError: no compiler, no generators, a folder
    without interfaces, a prefix that cannot be written.
    """
    target = (prefix or Path(sys.prefix)).absolute()
    prefixes = ament_prefixes(target)
    packages = []
    for package in read_packages(folders):
        real = _real_one(package.name, target, prefixes)
        if real is None:
            packages.append(package)
        else:
            say(f'{package.name}: not built, {real} has it')
    check_types(packages, prefixes)
    stamps = _stamps(packages, prefixes)
    if not _stale(packages, stamps, target):
        return []
    rosidl.require_tools()
    with _locked(target, say):
        # Whoever held the lock may have built the same.
        stale = _stale(packages, stamps, target)
        if stale:
            _build(stale, stamps, rosidl.Site(target / _BUILD, target, prefixes), say)
    return [package.name for package in stale]


def _build(
    packages: Sequence[Package],
    stamps: dict[str, str],
    site: rosidl.Site,
    say: Callable[[str], None],
) -> None:
    started = time.monotonic()
    for package in packages:
        say(f'{package.name}: building {len(package.definitions)} interfaces')
    # What is left from a build that was killed: we hold the lock.
    shutil.rmtree(site.stage, ignore_errors=True)
    try:
        site.stage.mkdir()
        rosidl.build_packages(packages, site)
        shutil.rmtree(site.stage / 'src')
        for package in packages:
            _install(package.name, stamps[package.name], site)
    except OSError as error:
        raise SetupError(f'cannot build interfaces into {site.target}: {error}') from error
    finally:
        shutil.rmtree(site.stage, ignore_errors=True)
    say(f'built in {time.monotonic() - started:.1f} s into {site.target}')


def _install(name: str, stamp: str, site: rosidl.Site) -> None:
    """Move the staged files of a package into place, and remove what an older build left."""
    files = [str(file) for file in _staged(name, site.stage)]
    record = _record(name, site.target)
    old = _read_record(record).get('files', [])
    # Without a stamp it is built anew, should we be killed halfway.
    _write(record, {'stamp': '', 'files': [*files, *(each for each in old if each not in files)]})
    for file in files:
        (site.target / file).parent.mkdir(parents=True, exist_ok=True)
        os.replace(site.stage / file, site.target / file)
    for file in set(old) - set(files):
        (site.target / file).unlink(missing_ok=True)
    _write(record, {'stamp': stamp, 'files': files})


def _staged(name: str, stage: Path) -> Iterator[Path]:
    roots = [
        stage / 'include' / name, stage / 'share' / name, rosidl.site_packages(stage) / name]
    files = [file for root in roots for file in root.rglob('*')]
    files += (stage / 'lib').glob(f'lib{name}__rosidl_*.so')
    files += (stage / 'share' / 'ament_index').rglob(name)
    return (file.relative_to(stage) for file in sorted(files) if file.is_file())


def _real_one(name: str, target: Path, prefixes: Sequence[Path]) -> Path | None:
    """Return the prefix that has the package from someone else."""
    for prefix in prefixes:
        index = prefix / 'share' / 'ament_index' / 'resource_index'
        entries = (index / 'packages' / name, index / 'rosidl_interfaces' / name)
        if any(map(Path.exists, entries)) and not _record(name, prefix).exists():
            return prefix
    return None


def _stale(packages: Sequence[Package], stamps: dict[str, str], target: Path) -> list[Package]:
    return [
        package for package in packages
        if _read_record(_record(package.name, target)).get('stamp') != stamps[package.name]
    ]


def _stamps(packages: Sequence[Package], prefixes: Sequence[Path]) -> dict[str, str]:
    """Return a hash of all that decides what comes out, by package."""
    common = [str(_FORMAT), sys.version, str(sysconfig.get_config_var('EXT_SUFFIX'))]
    common += [_version(generator, prefixes) for generator in _GENERATORS]
    given = {name for package in packages for name in package.types}
    stamps: dict[str, str] = {}
    for package in packages:
        parts = [part.encode() for part in common]
        for definition in package.definitions:
            file = definition.file
            parts += [str(file.relative_to(package.folder)).encode(), file.read_bytes()]
        manifest = package.folder / 'package.xml'
        parts.append(manifest.read_bytes() if manifest.is_file() else b'')
        used = {use.type for definition in package.definitions for use in definition.uses}
        for name in sorted(used - given):
            description = installed_type(name, prefixes)
            parts.append(description.read_bytes() if description else b'')
        parts += [stamps[name].encode() for name in package.dependencies if name in stamps]
        # Hashes of equal length, so that no two lists of parts look alike.
        digests = b''.join(hashlib.sha256(part).digest() for part in parts)
        stamps[package.name] = hashlib.sha256(digests).hexdigest()
    return stamps


def _version(package: str, prefixes: Sequence[Path]) -> str:
    for prefix in prefixes:
        manifest = prefix / 'share' / package / 'package.xml'
        if manifest.is_file():
            return manifest.read_text('utf-8', errors='replace')
    return ''


def _record(name: str, prefix: Path) -> Path:
    # Its presence tells our packages from those of others.
    return prefix / 'share' / name / 'robot_qa_build.json'


def _read_record(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(file: Path, record: dict[str, object]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_suffix('.new')
    fresh.write_text(json.dumps(record, indent=1))
    os.replace(fresh, file)


@contextmanager
def _locked(target: Path, say: Callable[[str], None]) -> Iterator[None]:
    try:
        target.mkdir(parents=True, exist_ok=True)
        lock = os.open(target / f'{_BUILD}.lock', os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise SetupError(f'cannot build interfaces into {target}: {error}') from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f'waiting for another build into {target}')
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
