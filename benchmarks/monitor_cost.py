"""What watching costs, and how exact it is: our live probe against ``ros2 topic hz``.

Run from the repository: ``python -m benchmarks.monitor_cost [--quick]``. The full run takes about
five minutes, the quick one less than one. Publisher, probe and ``topic hz`` (re-created, see
`benchmarks.watchers`) are processes of their own. The two watch the same publisher in turns,
because at the same time each would disturb the other; the table has medians over the turns.

The error of an interval is its difference from the publisher's own log of the same two messages:
what a watcher did not receive does not count as an error, but as lost.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.traffic import Traffic, published
from benchmarks.watchers import Cost, Watcher
from robot_qa.domains import claim_domain

IMU, SCAN, IMAGE = (f'sensor_msgs/msg/{name}' for name in ('Imu', 'LaserScan', 'Image'))
BUSY_LOOPS = 4
ERROR_GOAL = 10


@dataclass(frozen=True)
class Case:
    """Traffic, and how many times cheaper than ``topic hz`` we want to be (0: no goal)."""

    name: str
    traffic: Traffic
    goal: int
    quick: bool = False


CASES = [
    Case('Imu 1 x 100 Hz', Traffic(IMU, 1, 100), 5, quick=True),
    Case('Imu 1 x 1 kHz', Traffic(IMU, 1, 1000), 8, quick=True),
    Case('Imu 30 x 50 Hz', Traffic(IMU, 30, 50), 8),
    Case('LaserScan 4 x 100 Hz', Traffic(SCAN, 4, 100), 5),
    Case('Image 0.9 MB 30 Hz', Traffic(IMAGE, 1, 30), 3, quick=True),
    Case('Imu 1 x 10 kHz', Traffic(IMU, 1, 10_000, depth=2000), 0, quick=True),
]


@dataclass
class Found:
    """What the turns of one watcher brought; errors in ns."""

    costs: list[Cost] = field(default_factory=list)
    errors: list[NDArray[np.float64]] = field(default_factory=list)

    @property
    def us(self) -> float:
        return statistics.median(cost.us for cost in self.costs)

    @property
    def lost(self) -> int:
        return sum(cost.lost for cost in self.costs)

    def error_us(self, q: float) -> float:
        """The median over the turns of a quantile of the interval error, in microseconds."""
        return statistics.median(float(np.quantile(one, q)) for one in self.errors) / 1e3


@contextmanager
def busy(loops: int) -> Iterator[None]:
    """Keep the processors busy while inside."""
    processes = [
        subprocess.Popen([sys.executable, '-S', '-c', 'while True: pass']) for _ in range(loops)
    ]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def compare(
    traffic: Traffic, watchers: dict[str, Watcher], domain: int, folder: Path, *,
    turns: int, seconds: float,
) -> dict[str, Found]:
    """Let both watch the same publisher in turns: A B, B A, A B ..."""
    found = {name: Found() for name in watchers}
    files: list[tuple[str, Path]] = []
    log = folder / 'log.npz'
    with published(traffic, domain, log):
        for turn in range(turns):
            for name in list(watchers)[::-1 if turn % 2 else 1]:
                files.append((name, folder / f'{name}_{turn}.npz'))
                cost = watchers[name].watch(traffic, seconds, files[-1][1])
                found[name].costs.append(cost)
    sent = columns(log)
    for name, file in files:
        found[name].errors.append(errors(columns(file), sent))
    return found


def columns(file: Path) -> list[NDArray[np.int64]]:
    with np.load(file) as arrays:
        return [arrays[name] for name in arrays.files]


def errors(
    measured: list[NDArray[np.int64]], sent: list[NDArray[np.int64]]
) -> NDArray[np.float64]:
    """Return |measured interval - true interval| of all topics, in ns."""
    all_errors = [np.zeros(1)]
    for number, times in enumerate(sent):
        index, interval = measured[2 * number:2 * number + 2]
        if len(interval):
            all_errors.append(np.abs(interval - np.diff(times[index])).astype(np.float64))
    return np.concatenate(all_errors)


HEAD = (
    f'{"":30}|{"CPU per message, us":^32}|{"interval error, us":^45}|{"lost":^18}\n'
    f'{"topics":22}{"machine":8}|{"ours":>7}{"hz":>7}{"ratio":>8}{"goal":>10}'
    f'|{"ours p50":>9}{"p99":>7}{"hz p50":>9}{"p99":>8}{"p99 ratio":>12}|{"ours":>6}{"hz":>11}'
)


def row(case: Case, machine: str, ours: Found, hz: Found) -> str:
    ratio = hz.us / ours.us
    goal = f'>= {case.goal} {"yes" if ratio >= case.goal else "NO"}' if case.goal else '-'
    worst = hz.error_us(0.99) / ours.error_us(0.99)
    asked = machine == 'busy' and case.goal
    met = f' {"yes" if worst >= ERROR_GOAL else "NO"}' if asked else ''
    sent = sum(cost.messages + cost.lost for cost in hz.costs)
    return (
        f'{case.name:22}{machine:8}|{ours.us:7.1f}{hz.us:7.0f}{ratio:8.1f}{goal:>10}'
        f'|{ours.error_us(0.5):9.1f}{ours.error_us(0.99):7.0f}{hz.error_us(0.5):9.0f}'
        f'{hz.error_us(0.99):8.0f}{f"{worst:.0f}{met}":>12}'
        f'|{ours.lost:6}{f"{hz.lost} ({hz.lost / sent:.0%})":>11}'
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n', maxsplit=1)[0])
    parser.add_argument('--quick', action='store_true', help='fewer cases and turns')
    quick = parser.parse_args().quick
    turns, seconds = (1, 2.0) if quick else (3, 3.0)
    print(f'{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}; {turns} turns of '
          f'{seconds:g} s each; busy: with {BUSY_LOOPS} busy loops; error goal: p99 of ours at '
          f'most 1/{ERROR_GOAL} when busy\n{HEAD}')
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        os.environ.setdefault('ROS_LOG_DIR', str(folder))
        domain = stack.enter_context(claim_domain()).id
        watchers = {name: Watcher(name, domain) for name in ('ours', 'theirs')}
        for watcher in watchers.values():
            stack.callback(watcher.close)
        for machine, loops in (('idle', 0), ('busy', BUSY_LOOPS)):
            with busy(loops):
                for case in CASES:
                    if quick and not case.quick:
                        continue
                    found = compare(
                        case.traffic, watchers, domain, folder,
                        turns=turns if case.goal else 1, seconds=seconds,
                    )
                    print(row(case, machine, found['ours'], found['theirs']), flush=True)


if __name__ == '__main__':
    main()
