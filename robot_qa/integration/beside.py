"""A run beside a launch: one spec, watched in a process of its own.

Its verdicts go to standard output as lines of JSON for ``launch_testing.RobotQa``, what people
read goes to standard error, and the exit code is that of ``robot_qa run``.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

if __name__ == '__main__':
    # Of what a script starts with "&", and all that this starts, it is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)

from robot_qa.checks import EXIT_CODES, CheckResult, Verdict, exit_code
from robot_qa.errors import QuantityError, RobotQaError
from robot_qa.live_run import RunOptions
from robot_qa.quantities import parse_duration
from robot_qa.report.model import CheckPart
from robot_qa.session import run_live
from robot_qa.spec.attach import attached
from robot_qa.spec.loader import LoadedSpec, load_spec
from robot_qa.spec.parameters import read_overrides

TRUTHS = {'true': True, '1': True, 'false': False, '0': False}


def main(arguments: list[str] | None = None, lines: TextIO | None = None) -> int:
    """Make the run; arguments that are empty count as not given, as launch passes them."""
    given = _parser().parse_args(arguments)
    view = VerdictLines(lines or sys.stdout)
    try:
        loaded = load_spec(given.spec, read_overrides(_words(given.parameters), 'parameters'))
        loaded = _adapted(loaded, given)
        duration = parse_duration(given.duration) if given.duration else None
        _, report = run_live(
            loaded, RunOptions(given.out, duration, bool(given.record), view, bool(given.armed)))
    except (RobotQaError, OSError) as error:  # OSError: the disk is full
        print(error, file=sys.stderr)
        return exit_code(error)
    for check in report.checks:
        view.conclude(check)
    print(f'{report.verdict}  {report.name}: the report is in {given.out}', file=sys.stderr)
    return EXIT_CODES[Verdict(report.verdict)]


class VerdictLines:
    """A view: each verdict that changes is a line of JSON."""

    def __init__(self, lines: TextIO) -> None:
        self._lines = lines
        self._told: dict[str, Verdict] = {}

    def say(self, text: str) -> None:
        """Tell people what happens now."""
        print(text, file=sys.stderr, flush=True)

    def show(self, results: list[CheckResult], elapsed_s: float, duration_s: float) -> None:
        """Tell the verdicts that are new; an open check is none yet."""
        for one in results:
            before = self._told.get(one.name, Verdict.INCONCLUSIVE)
            if one.verdict is not before:
                self._told[one.name] = one.verdict
                self._write(one.name, one.verdict.value, one.reason, one.source, final=False)

    def conclude(self, check: CheckPart) -> None:
        """Tell what a check came to."""
        if check.verdict != 'PASS':
            print(f'{check.verdict}  {check.name}: {check.reason}', file=sys.stderr)
        self._write(check.name, check.verdict, check.reason, check.source, final=True)

    def close(self) -> None:
        """Nothing to restore."""

    def _write(self, check: str, verdict: str, reason: str, source: str, *, final: bool) -> None:
        line = {'check': check, 'verdict': verdict, 'reason': reason, 'source': source,
                'final': final}
        print(json.dumps(line), file=self._lines, flush=True)


def _adapted(loaded: LoadedSpec, given: argparse.Namespace) -> LoadedSpec:
    changed: dict[str, Any] = {'scenario': []} if given.no_scenario else {}
    if given.use_sim_time is not None:
        changed['clock'] = 'ros' if given.use_sim_time else 'system'
    loaded = replace(loaded, spec=loaded.spec.model_copy(update=changed))
    return loaded if given.bring_up else attached(loaded, simulator_runs=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('spec', type=Path)
    parser.add_argument('--out', type=Path, required=True)
    parser.add_argument('--parameters', default='',
                        help='KEY=VALUE, separated by blanks; quoted as in a shell')
    parser.add_argument('--duration', default='')
    parser.add_argument('--use-sim-time', type=_truth, default=None)
    parser.add_argument('--record', type=_truth, default=None)
    parser.add_argument('--armed', type=_truth, default=None)
    parser.add_argument('--bring-up', action='store_true')
    parser.add_argument('--no-scenario', action='store_true')
    return parser


def _truth(text: str) -> bool | None:
    if not text:
        return None
    if text.lower() not in TRUTHS:
        raise argparse.ArgumentTypeError(f'true or false was expected, found "{text}"')
    return TRUTHS[text.lower()]


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise QuantityError(f'parameters: {text}: {error}') from None


def _own_output() -> TextIO:
    """Keep standard output to ourselves; whatever else is printed goes to standard error."""
    lines = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)
    return lines


if __name__ == '__main__':
    sys.exit(main(lines=_own_output()))
