"""A run beside a launch: one spec, watched in a process of its own.

Its verdicts go to standard output as lines of JSON for ``launch_testing.RobotQa``, what people
read goes to standard error, and the exit code is that of ``robot_qa run``.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

from robot_qa.checks import EXIT_CODES, CheckResult, Verdict
from robot_qa.errors import QuantityError, RobotQaError, SpecError, UnarmedError
from robot_qa.live_run import RunOptions
from robot_qa.quantities import parse_duration
from robot_qa.report.model import CheckPart
from robot_qa.session import run_live
from robot_qa.spec.loader import LoadedSpec, load_spec
from robot_qa.spec.model import TestSpec
from robot_qa.spec.simulator import Simulator
from robot_qa.spec.system import System

USAGE_ERROR, ERROR = 2, 4
TRUTHS = {'true': True, '1': True, 'false': False, '0': False}


def main(arguments: list[str] | None = None) -> int:
    """Make the run; arguments that are empty count as not given, as launch passes them."""
    given = _parser().parse_args(arguments)
    try:
        loaded = load_spec(given.spec, _overrides(given.parameters))
        loaded = _adapted(loaded, given)
        duration = parse_duration(given.duration) if given.duration else None
        _, report = run_live(
            loaded, RunOptions(given.out, duration, bool(given.record), VerdictLines(),
                               bool(given.armed)))
    except (SpecError, QuantityError, UnarmedError) as error:
        print(error, file=sys.stderr)
        return USAGE_ERROR
    except RobotQaError as error:
        print(error, file=sys.stderr)
        return ERROR
    for check in report.checks:
        _tell(check)
    print(f'{report.verdict}  {report.name}: the report is in {given.out}', file=sys.stderr)
    return EXIT_CODES[Verdict(report.verdict)]


class VerdictLines:
    """A view: each verdict that changes is a line of JSON."""

    def __init__(self) -> None:
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
                _print({'check': one.name, 'verdict': one.verdict.value, 'reason': one.reason,
                        'source': one.source, 'final': False})

    def close(self) -> None:
        """Nothing to restore."""


def attached(spec: TestSpec) -> TestSpec:
    """Return the spec for a system that somebody else brings up: it starts nothing."""
    if spec.system is None:
        return spec
    simulator = spec.system.simulator
    if simulator is not None and simulator.started:
        # The one that stands in for it runs already, and is spoken to in the same way.
        backend = 'standard' if simulator.backend == 'embedded' else simulator.backend
        simulator = Simulator.model_validate({'backend': backend})
    system = System(simulator=simulator, processes=[], ready=spec.system.ready)
    return spec.model_copy(update={'system': system})


def _adapted(loaded: LoadedSpec, given: argparse.Namespace) -> LoadedSpec:
    spec = loaded.spec if given.bring_up else attached(loaded.spec)
    if given.use_sim_time is not None:
        spec = spec.model_copy(update={'clock': 'ros' if given.use_sim_time else 'system'})
    if given.no_scenario:
        spec = spec.model_copy(update={'scenario': []})
    return replace(loaded, spec=spec)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('spec', type=Path)
    parser.add_argument('--out', type=Path, required=True)
    parser.add_argument('--parameters', default='', help='KEY=VALUE, separated by blanks')
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


def _overrides(text: str) -> dict[str, str]:
    pairs = [word.partition('=') for word in text.split()]
    for key, equals, _ in pairs:
        if not (key and equals):
            raise QuantityError(f'"{text}": KEY=VALUE was expected')
    return {key: value for key, _, value in pairs}


def _tell(check: CheckPart) -> None:
    if check.verdict != 'PASS':
        print(f'{check.verdict}  {check.name}: {check.reason}', file=sys.stderr)
    _print({'check': check.name, 'verdict': check.verdict, 'reason': check.reason,
            'source': check.source, 'final': True})


def _print(line: dict[str, str | bool]) -> None:
    print(json.dumps(line), flush=True)


if __name__ == '__main__':
    sys.exit(main())
