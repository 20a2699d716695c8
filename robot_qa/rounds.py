"""A bench that runs for days: one run after another, each in a process of its own.

What a round allocates, leaks or breaks ends with it, so that the memory of the bench does not
grow, and the death of one round is a line in the summary, not the end of the bench.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from robot_qa.checks import Verdict, fold
from robot_qa.processes import Processes, ProcessSpec
from robot_qa.report.model import Report
from robot_qa.report.writers import write_atomically
from robot_qa.run_folder import utc_now

# A round is asked to stop with SIGINT and has this long to write its report.
PATIENCE_S = 60.0
POLL_S = 0.1
# After a round that could not even begin: wait, rather than spin.
BREATHER_S = 5.0
LOG = 'round'


@dataclass(frozen=True)
class Round:
    """One run of the bench; ``folder`` is where its report was written.

    ``cut`` marks the last one, which was stopped before its time and so could not pass.
    """

    number: int
    started: str
    verdict: str
    seconds: float
    folder: str
    broken: list[str]
    note: str = ''
    cut: bool = False


@dataclass
class Tally:
    """What the rounds came to so far. Its size grows with the checks, not with the rounds."""

    since: str
    rounds: Counter[str] = field(default_factory=Counter)
    broken: Counter[str] = field(default_factory=Counter)
    last_broken: dict[str, str] = field(default_factory=dict)
    observed_s: float = 0.0
    elapsed_s: float = 0.0

    def add(self, one: Round) -> None:
        """Count a round."""
        self.rounds['cut' if one.cut else one.verdict] += 1
        self.observed_s += one.seconds
        for name in one.broken:
            self.broken[name] += 1
            self.last_broken[name] = one.folder

    @property
    def verdict(self) -> Verdict:
        """The worst that a round came to."""
        return fold(Verdict(name) for name in self.rounds if name != 'cut')


class Bench:
    """Runs a spec round after round into numbered folders, until it is told to stop.

    ``keep`` is how many folders of passed rounds, and how many of others, stay: the newest ones,
    and the first that did not pass. ``rounds.jsonl`` has a line per round, ``summary.json`` the
    tally; both are there after each round, whatever comes then.
    """

    def __init__(
        self, out: Path, words: Sequence[str], keep: int, say: Callable[[str], None],
    ) -> None:
        """``words`` are the command of one round, to which its folder is added."""
        self._out = out
        self._words = tuple(words)
        self._keep = keep
        self._say = say
        self._tally = Tally(utc_now())
        self._kept: dict[bool, deque[str]] = {True: deque(), False: deque()}
        self._stopping = threading.Event()
        self._begun = time.monotonic()

    def go(self) -> Verdict:
        """Run until SIGINT or SIGTERM; return the worst verdict."""
        self._out.mkdir(parents=True, exist_ok=True)
        number = 1 + max((int(name.name) for name in self._out.iterdir()
                          if name.name.isdigit()), default=0)
        with self._told_to_stop():
            while not self._stopping.is_set():
                one = self._round(number)
                number += 1
                self._note(one)
                if not one.seconds:
                    self._stopping.wait(BREATHER_S)
        return self._tally.verdict

    def stop(self) -> None:
        """End the round that is under way, and begin no other."""
        self._stopping.set()

    @contextmanager
    def _told_to_stop(self) -> Iterator[None]:
        signals = (signal.SIGINT, signal.SIGTERM)
        before = {one: signal.signal(one, lambda *_: self.stop()) for one in signals}
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)

    def _round(self, number: int) -> Round:
        folder = self._out / f'{number:06d}'
        started = utc_now()
        with Processes(folder / 'logs') as processes:
            processes.start(ProcessSpec(
                LOG, (sys.executable, '-m', 'robot_qa.cli', *self._words, '--out', str(folder)),
                None, dict(os.environ),
            ))
            while LOG not in processes.poll():
                if self._stopping.wait(POLL_S):
                    processes.stop(LOG, PATIENCE_S)
                    break
        one = _read(number, started, folder)
        undecided = one.verdict == Verdict.INCONCLUSIVE.value or bool(one.note)
        return replace(one, cut=self._stopping.is_set() and undecided)

    def _note(self, one: Round) -> None:
        self._tally.add(one)
        self._tally.elapsed_s = time.monotonic() - self._begun
        with (self._out / 'rounds.jsonl').open('a', encoding='utf-8') as file:
            file.write(json.dumps(asdict(one)) + '\n')
        write_atomically(self._out / 'summary.json', json.dumps(self.summary(), indent=2) + '\n')
        self._rotate(one)
        words = [one.note] if one.note else one.broken[:3]
        if len(one.broken) > 3:
            words.append(f'{len(one.broken) - 3} more')
        verdict = 'stopped' if one.cut else one.verdict
        self._say(f'{one.started}  {verdict:<12} {one.seconds:6.1f} s  {one.folder}  '
                  f'{", ".join(words)}'.rstrip())

    def summary(self) -> dict[str, Any]:
        """Return what ``summary.json`` holds."""
        tally = self._tally
        share = tally.observed_s / tally.elapsed_s if tally.elapsed_s else 0.0
        return {
            'format': 1, 'since': tally.since, 'rounds': dict(tally.rounds),
            'observed_s': round(tally.observed_s, 3), 'elapsed_s': round(tally.elapsed_s, 3),
            'observed_share': round(share, 4),
            'broken': {name: {'times': times, 'last': tally.last_broken[name]}
                       for name, times in tally.broken.most_common()},
        }

    def _rotate(self, one: Round) -> None:
        """Remove the oldest folder beyond those to keep; the first that did not pass stays."""
        passed = one.verdict == Verdict.PASS.value
        kept = self._kept[passed]
        kept.append(one.folder)
        if len(kept) > self._keep:
            oldest = kept[0] if passed or self._keep == 1 else kept[1]
            kept.remove(oldest)
            shutil.rmtree(oldest, ignore_errors=True)


def _read(number: int, started: str, folder: Path) -> Round:
    """Return what a round came to; without a report it is an error."""
    try:
        report = Report.model_validate_json((folder / 'report.json').read_bytes())
    except (OSError, ValueError) as error:
        note = f'no report ({error}); see {folder / "logs" / LOG}.log'
        return Round(number, started, Verdict.ERROR.value, 0.0, str(folder), ['run'], note)
    broken = [check.name for check in report.checks if check.verdict in {'FAIL', 'ERROR'}]
    return Round(number, started, report.verdict, report.duration_s, str(folder), broken)
