"""What a person sees while a run lasts."""

from __future__ import annotations

from collections import Counter
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from robot_qa.checks import CheckResult, Verdict
from robot_qa.report.writers import MARKS

PLAIN_PERIOD_S = 5.0


class View(Protocol):
    """Shows how a run stands."""

    def say(self, text: str) -> None:
        """Tell what happens now."""

    def show(self, results: list[CheckResult], elapsed_s: float, duration_s: float) -> None:
        """Show the present state of every check; called about once a second."""

    def close(self) -> None:
        """Leave the terminal as it was."""


def open_view(console: Console, quiet: bool) -> View:
    """Return the view that fits the output: none, plain lines, or a live table."""
    if quiet:
        return QuietView()
    return LiveView(console) if console.is_terminal else PlainView(console)


class QuietView:
    """Shows nothing."""

    def say(self, text: str) -> None:
        """Say nothing."""

    def show(self, results: list[CheckResult], elapsed_s: float, duration_s: float) -> None:
        """Show nothing."""

    def close(self) -> None:
        """Do nothing."""


class PlainView:
    """Lines for a log: what happens, each check that turns red, a tally now and then."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._red: set[str] = set()
        self._next_tally = 0.0

    def say(self, text: str) -> None:
        """Print a line."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def show(self, results: list[CheckResult], elapsed_s: float, duration_s: float) -> None:
        """Print what turned red since the last call."""
        for result in results:
            red = result.verdict in (Verdict.FAIL, Verdict.ERROR)
            if red and result.name not in self._red:
                self._red.add(result.name)
                self.say(f'{elapsed_s:7.1f} s  {result.verdict.value}  {result.name}: '
                         f'{result.reason}')
        if elapsed_s >= self._next_tally:
            self._next_tally = elapsed_s + PLAIN_PERIOD_S
            self.say(f'{elapsed_s:7.1f} s of {duration_s:.1f} s  {_tally(results)}')

    def close(self) -> None:
        """Nothing to restore."""


class LiveView:
    """A table that is redrawn in place."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._live.start()

    def say(self, text: str) -> None:
        """Print a line above the table."""
        self._console.print(Text(text))

    def show(self, results: list[CheckResult], elapsed_s: float, duration_s: float) -> None:
        """Redraw: what is red stands first, and what does not fit is counted."""
        room = max(4, self._console.height - 5)
        ordered = sorted(results, key=lambda result: -result.verdict.severity)
        table = Table(box=None, padding=(0, 1), show_header=False, expand=True)
        table.add_column(width=12)
        table.add_column(no_wrap=True, ratio=2, overflow='ellipsis')
        table.add_column(no_wrap=True, ratio=3, overflow='ellipsis')
        for result in ordered[:room]:
            verdict = result.verdict.value
            # An open check is no trouble yet: the samples that it needs are still to come.
            shown = 'open' if verdict == 'INCONCLUSIVE' else verdict
            table.add_row(
                Text(shown, style=MARKS[verdict]), Text(result.name), Text(result.reason)
            )
        hidden = len(ordered) - room
        remaining = max(0.0, duration_s - elapsed_s)
        head = Table(box=None, padding=(0, 1), show_header=False, expand=True)
        head.add_column(ratio=1)
        head.add_column(justify='right', no_wrap=True)
        head.add_row(
            ProgressBar(total=duration_s, completed=min(elapsed_s, duration_s)),
            Text(f'{remaining:.0f} s left  {_tally(results)}'
                 + (f'  ({hidden} more below)' if hidden > 0 else '')),
        )
        self._live.update(Group(head, table), refresh=True)

    def close(self) -> None:
        """Take the table away; the summary comes in its place."""
        self._live.stop()


def _tally(results: list[CheckResult]) -> str:
    counts = Counter(result.verdict for result in results)
    words = {
        Verdict.PASS: 'pass', Verdict.FAIL: 'fail', Verdict.ERROR: 'error',
        Verdict.INCONCLUSIVE: 'open',
    }
    return ', '.join(f'{counts[verdict]} {word}' for verdict, word in words.items()
                     if counts[verdict])
