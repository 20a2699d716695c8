"""Burns CPU time and holds memory until it is ended: ``python -m robot_qa.scenario.burner``.

It uses the standard library only, so that it is there at once. What is short of memory ends it
before anything else (proc(5), oom_score_adj).
"""

from __future__ import annotations

import argparse
import ctypes
import math
import mmap
import os
import signal
import sys
import time
from collections.abc import Sequence

# CPU time is given out by the period, short against what a control loop notices.
PERIOD_S = 0.02
CHUNK = 1 << 20
_PR_SET_PDEATHSIG = 1


def burn(share: float, until: float = math.inf) -> None:
    """Use this share of a core, 0 to 1, until the monotonic clock is at ``until``.

    What it does not get in a period, because others have it, is not made up for.
    """
    spin = 0
    while (begin := time.monotonic()) < until:
        end = begin + PERIOD_S
        budget = time.thread_time() + share * PERIOD_S
        while time.monotonic() < end and (share >= 1 or time.thread_time() < budget):
            for _ in range(200):
                spin = (spin * 1103515245 + 12345) & 0x7FFFFFFF
        time.sleep(max(0.0, end - time.monotonic()))


def shares(cores: float) -> list[float]:
    """Return the share of a core for each process that together keep so many cores busy."""
    whole = int(cores)
    rest = cores - whole
    return [1.0] * whole + ([rest] if rest > 1e-9 else [])


def hold(size: int) -> mmap.mmap:
    """Return so many bytes of memory of which every page is there.

    MemoryError or OSError: there is no such room.
    """
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    # Different bytes, so that nothing can be compressed or shared.
    pattern = os.urandom(min(size, CHUNK))
    for start in range(0, size, CHUNK):
        count = min(CHUNK, size - start)
        memory[start:start + count] = pattern[:count]
    return memory


def main(argv: Sequence[str] | None = None) -> int:
    """Burn and hold until a signal comes."""
    parser = argparse.ArgumentParser(prog='robot_qa.scenario.burner', description=__doc__)
    parser.add_argument('--cpu', type=float, default=0.0, help='how many cores to keep busy')
    parser.add_argument('--memory', type=int, default=0, help='how many bytes to hold')
    given = parser.parse_args(argv)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    _go_first()
    parent = os.getpid()
    for share in shares(given.cpu):
        # Before the memory is there, so that it is counted once.
        if os.fork() == 0:
            _die_with(parent)
            burn(share)
    try:
        # Named, as it is gone as soon as nothing refers to it.
        held = hold(given.memory) if given.memory else None
    except (MemoryError, OSError, ValueError) as error:
        print(f'cannot hold {given.memory} bytes: {error}', file=sys.stderr)
        return 1
    while True:
        signal.pause()
        assert held is None or not held.closed


def _go_first() -> None:
    """Be what the kernel ends when memory is short, and not what is under test."""
    with open('/proc/self/oom_score_adj', 'w') as file:
        file.write('1000')


def _die_with(parent: int) -> None:
    """End with the parent, also if it was killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)


if __name__ == '__main__':
    sys.exit(main())
