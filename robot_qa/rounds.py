"""A bench that runs for days: one run after another, in numbered folders that rotate.

`Ledger` keeps count, `Bench` makes each round in a process of its own: what a round allocates,
leaks or breaks ends with it, so that the memory of the bench does not grow, and the death of one
round is a line in the summary, not the end of the bench.
"""

from __future__ import annotations

import fcntl
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
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from robot_qa.checks import Verdict, fold
from robot_qa.errors import SetupError
from robot_qa.processes import Processes, ProcessSpec
from robot_qa.report.model import Report
from robot_qa.report.writers import write_atomically
from robot_qa.run_folder import utc_now
from robot_qa.spec.loader import LoadedSpec

# A round is asked to stop with SIGINT and has this long to write its report.
PATIENCE_S = 60.0
POLL_S = 0.1
# After a round that could not even begin: wait, rather than spin.
BREATHER_S = 5.0
LOG = 'round'
LAST_LINES = 3
NAMES_SHOWN = 3


@dataclass(frozen=True)
class Round:
    """One run of the bench; ``folder`` is where its report was written.

    ``broken`` and ``undecided`` are names of checks, ``note`` the first reason for the verdict.
    ``cut`` marks one that was stopped before its time and so could not pass: it decides nothing.
    """

    number: int
    started: str
    verdict: str
    seconds: float
    folder: str
    broken: list[str] = field(default_factory=list)
    undecided: list[str] = field(default_factory=list)
    note: str = ''
    cut: bool = False

    @classmethod
    def of(cls, number: int, report: Report, folder: Path, stopped: bool) -> Round:
        """Return what a round came to by its report; ``stopped`` if somebody ended it."""
        worst = next((check for check in report.checks if check.verdict == report.verdict), None)
        passed = worst is None or report.verdict == Verdict.PASS.value
        return cls(
            number, report.started, report.verdict, report.duration_s, str(folder),
            [check.name for check in report.checks if check.verdict in {'FAIL', 'ERROR'}],
            [check.name for check in report.checks if check.verdict == 'INCONCLUSIVE'],
            '' if worst is None or passed else f'{worst.name}: {worst.reason}',
            stopped and report.verdict == Verdict.INCONCLUSIVE.value,
        )

    @property
    def line(self) -> str:
        """The round as a line for people."""
        verdict = 'stopped' if self.cut else self.verdict
        words = [] if self.cut or not self.note else [self.note]
        others = [] if self.cut else [
            name for name in self.broken or self.undecided
            if not self.note.startswith(f'{name}: ')]
        words += others[:NAMES_SHOWN - 1]
        if len(others) >= NAMES_SHOWN:
            words.append(f'{len(others) - NAMES_SHOWN + 1} more')
        return (f'{self.started}  {verdict:<12} {self.seconds:6.1f} s  {self.folder}  '
                f'{", ".join(words)}'.rstrip())


@dataclass
class Tally:
    """What the rounds came to so far. Its size grows with the checks, not with the rounds."""

    since: str = ''
    rounds: Counter[str] = field(default_factory=Counter)
    broken: Counter[str] = field(default_factory=Counter)
    undecided: Counter[str] = field(default_factory=Counter)
    last: dict[str, str] = field(default_factory=dict)
    observed_s: float = 0.0

    def add(self, one: Round) -> None:
        """Count a round."""
        self.since = self.since or one.started
        self.rounds['cut' if one.cut else one.verdict] += 1
        self.observed_s += one.seconds
        if one.cut:
            return
        self.broken.update(one.broken)
        self.undecided.update(one.undecided)
        self.last.update(dict.fromkeys([*one.broken, *one.undecided], one.folder))

    def where(self, counted: Counter[str]) -> dict[str, Any]:
        """Return how often each check was counted, and where last."""
        return {name: {'times': times, 'last': self.last[name]}
                for name, times in counted.most_common()}


class Ledger:
    """Keeps count of the rounds in a folder, and only so many of their folders.

    ``keep`` is how many folders of passed rounds, and how many of others, stay: the newest ones,
    and the first that did not pass. ``rounds.jsonl`` has a line per round, ``summary.json`` the
    tally; both are there after each round, whatever comes then. What an earlier bench left in
    the folder is gone on with. Any method raises OSError when the disk is full.

    SetupError: another bench writes into the folder; it is free after `close`, or at the end of
    the process.
    """

    def __init__(self, out: Path, keep: int, say: Callable[[str], None]) -> None:
        self._out = out
        self._keep = keep
        self._say = say
        self._lines = out / 'rounds.jsonl'
        self._summary = out / 'summary.json'
        self._tally = Tally()
        self._ours: Counter[str] = Counter()
        self._kept: dict[bool, deque[Path]] = {True: deque(), False: deque()}
        self._number = 0
        out.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(out)
        self._elapsed_s = self._elapsed_before()
        self._begun = time.monotonic()
        self._go_on()

    @property
    def verdict(self) -> Verdict:
        """The worst that a round came to since this bench began."""
        return fold(Verdict(name) for name in self._ours)

    def close(self) -> None:
        """Leave the folder to others."""
        self._lock.close()

    def begin(self) -> tuple[int, Path]:
        """Return the number and the folder of the next round."""
        self._number += 1
        return self._number, self._folder(self._number)

    def note(self, one: Round) -> None:
        """Write down what a round came to, and remove what need not stay."""
        if not one.cut:
            self._ours[one.verdict] += 1
        self._write(one)
        self._count(one)
        write_atomically(self._summary, json.dumps(self.summary(), indent=2) + '\n')
        self._rotate()
        self._say(one.line)

    def summary(self) -> dict[str, Any]:
        """Return what ``summary.json`` holds."""
        tally = self._tally
        elapsed_s = self._elapsed_s + time.monotonic() - self._begun
        return {
            'format': 1, 'since': tally.since, 'rounds': dict(tally.rounds),
            'observed_s': round(tally.observed_s, 3), 'elapsed_s': round(elapsed_s, 3),
            'observed_share': round(tally.observed_s / elapsed_s, 4) if elapsed_s else 0.0,
            'broken': tally.where(tally.broken), 'undecided': tally.where(tally.undecided),
        }

    def _folder(self, number: int) -> Path:
        return self._out / f'{number:06d}'

    def _write(self, one: Round) -> None:
        with self._lines.open('a', encoding='utf-8') as file:
            file.write(json.dumps(asdict(one)) + '\n')

    def _count(self, one: Round) -> None:
        self._tally.add(one)
        if (folder := self._folder(one.number)).exists():
            self._kept[one.verdict == Verdict.PASS.value].append(folder)

    def _rotate(self) -> None:
        """Remove the oldest folders beyond those to keep; the first that did not pass stays."""
        for passed, kept in self._kept.items():
            while len(kept) > self._keep:
                oldest = kept[0] if passed or self._keep == 1 else kept[1]
                kept.remove(oldest)
                shutil.rmtree(oldest, ignore_errors=True)

    def _go_on(self) -> None:
        """Take up what an earlier bench has left, also a round during which it was killed."""
        folders = {int(one.name) for one in self._out.iterdir() if one.name.isdigit()}
        whole = True
        if self._lines.exists():
            with self._lines.open(encoding='utf-8', errors='replace') as file:
                for line in file:
                    whole = line.endswith('\n')
                    if (one := _parsed(line)) is not None:
                        self._number = max(self._number, one.number)
                        folders.discard(one.number)
                        self._count(one)
        if not whole:  # the disk was full
            with self._lines.open('a', encoding='utf-8') as file:
                file.write('\n')
        for number in sorted(folders):
            self._number = max(self._number, number)
            one = read_round(number, '', self._folder(number), stopped=True)
            self._write(one)
            self._count(one)
        self._rotate()

    def _elapsed_before(self) -> float:
        try:
            return float(json.loads(self._summary.read_bytes())['elapsed_s'])
        except (OSError, ValueError, KeyError, TypeError):
            return 0.0


class Bench:
    """Runs a spec round after round, each in a process of its own, until it is told to stop."""

    def __init__(self, ledger: Ledger, words: Sequence[str]) -> None:
        """``words`` are the command of one round, to which its folder is added."""
        self._ledger = ledger
        self._words = tuple(words)
        self._stopping = threading.Event()

    def go(self) -> Verdict:
        """Run until SIGINT or SIGTERM; return the worst verdict."""
        with self._told_to_stop():
            while not self._stopping.is_set():
                one = self._round(*self._ledger.begin())
                self._ledger.note(one)
                if not one.seconds:
                    self._stopping.wait(BREATHER_S)
        return self._ledger.verdict

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

    def _round(self, number: int, folder: Path) -> Round:
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
        return read_round(number, started, folder, self._stopping.is_set())


def _locked(folder: Path) -> IO[str]:
    """Return a file that nobody else can lock while it is open."""
    lock = (folder / '.lock').open('w', encoding='utf-8')
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise SetupError(
            f'another bench writes into {folder}; give this one a folder of its own') from None
    return lock


def folder_of(loaded: LoadedSpec) -> Path:
    """Return where the rounds of a spec go if nobody says where."""
    return Path('robot_qa_runs') / f'{loaded.spec.slug}-rounds'


def read_round(number: int, started: str, folder: Path, stopped: bool) -> Round:
    """Return what a round in a process of its own came to; without a report it is an error."""
    try:
        report = Report.model_validate_json((folder / 'report.json').read_bytes())
    except (OSError, ValueError) as error:
        log = folder / 'logs' / f'{LOG}.log'
        why = 'no report' if isinstance(error, FileNotFoundError) else f'no report ({error})'
        return Round(
            number, started, Verdict.ERROR.value, 0.0, str(folder), [] if stopped else ['run'],
            note=f'run: {why}: {_last_words(log) or "it said nothing"} ({log})', cut=stopped)
    return Round.of(number, report, folder, stopped)


def _last_words(log: Path) -> str:
    try:
        lines = log.read_text(encoding='utf-8', errors='replace').splitlines()
    except OSError:
        return ''
    return ' / '.join([line.strip() for line in lines if line.strip()][-LAST_LINES:])


def _parsed(line: str) -> Round | None:
    """Return a round as it was written down; None for a line that was cut off."""
    try:
        return Round(**json.loads(line))
    except (ValueError, TypeError):
        return None
