"""ROS domain ids of which no two runs on this machine ever hold the same."""

from __future__ import annotations

import fcntl
import os
import random
import socket
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from robot_qa.errors import SetupError

# Not the user's own temporary folder: all users of the machine share the domains.
FOLDER = Path('/tmp/robot_qa_domains')
# Above 101 the ports fall into the range from which Linux takes ephemeral ones.
IDS = range(1, 102)

# DDSI-RTPS 2.5, 9.6.2.4: port base PB, domain gain DG, offsets d0 (multicast metatraffic) and d1
# (unicast metatraffic of participant 0), participant gain PG.
_PB, _DG, _D0, _D1, _PG = 7400, 250, 0, 10, 2
_PARTICIPANTS = 10


class DomainClaim:
    """A domain id that is ours until `release`, or until this process has died.

    Whoever is given a duplicate of ``fileno()`` (`Processes` with ``inherit_fd``) holds the claim
    as well: the domain is free again once all of them have closed it.
    """

    def __init__(self, domain_id: int, lock: int) -> None:
        self.id = domain_id
        self._lock: int | None = lock

    def __enter__(self) -> DomainClaim:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def fileno(self) -> int:
        """Return the descriptor of the lock; raises SetupError after the release."""
        if self._lock is None:
            raise SetupError(f'the claim on ROS domain {self.id} has been released')
        return self._lock

    def release(self) -> None:
        """Give up our hold; a second call does nothing."""
        if self._lock is not None:
            # Closing, not unlocking: an unlock would also take it from those who share it.
            os.close(self._lock)
            self._lock = None


def claim_domain() -> DomainClaim:
    """Claim a domain id of `IDS` in which no DDS participant of this machine listens.

    Raises SetupError when all are taken or the folder of the locks cannot be used.
    """
    _make_folder()
    for domain_id in random.sample(IDS, len(IDS)):
        lock = _lock(FOLDER / f'{domain_id}.lock')
        if lock is None:
            continue
        if _is_silent(domain_id):
            return DomainClaim(domain_id, lock)
        os.close(lock)
    raise SetupError(
        f'all {len(IDS)} ROS domain ids from {IDS[0]} to {IDS[-1]} are taken on this machine, by '
        f'other runs (they hold locks in {FOLDER}) or by other ROS systems')


def _make_folder() -> None:
    try:
        # The umask must not decide who else may use it.
        with suppress(FileExistsError):
            FOLDER.mkdir()
            FOLDER.chmod(0o1777)
    except OSError as error:
        raise SetupError(f'cannot create {FOLDER} to lock ROS domains in: {error}') from error
    if not os.access(FOLDER, os.W_OK | os.X_OK):
        raise SetupError(f'{FOLDER} must be a folder in which everybody may write (mode 1777)')


def _lock(path: Path) -> int | None:
    """Return the descriptor of the lock if it was free; it ends with the last who holds it."""
    try:
        lock = _open(path)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return None
    return lock


def _open(path: Path) -> int:
    # In a sticky folder O_CREAT is refused for a file of another user (fs.protected_regular), so
    # it is used for new files only. Python opens with O_CLOEXEC.
    with suppress(FileNotFoundError):
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    lock = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW)
    os.fchmod(lock, 0o666)
    return lock


def _is_silent(domain_id: int) -> bool:
    """Whether the ports that the first participants of a domain listen on are free."""
    first = _PB + _DG * domain_id
    ports = [first + _D0, *(first + _D1 + _PG * index for index in range(_PARTICIPANTS))]
    return all(map(_is_free, ports))


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(('', port))
        except OSError:
            return False
    return True
