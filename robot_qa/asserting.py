"""What tests assert of a report, and how they wait."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from robot_qa.checks import matches
from robot_qa.errors import QuantityError, did_you_mean
from robot_qa.quantities import parse_duration
from robot_qa.report.model import CheckPart, Report
from robot_qa.timebase import NS_PER_S, format_ns
from robot_qa.watching import HIDDEN, ExpectationError

Answer = TypeVar('Answer')
PAUSE_S = 0.02
__tracebackhide__ = HIDDEN


def wait_for(
    condition: Callable[[], Answer], what: str, timeout: str = '10 s',
) -> Answer:
    """Wait until ``condition()`` is true and return what it returned.

    ``what`` says in words what is waited for: "the robot is docked".
    """
    try:
        patience_ns = parse_duration(timeout)
    except QuantityError as error:
        raise ValueError(f'timeout: {error}') from None
    deadline = time.monotonic() + patience_ns / NS_PER_S
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise ExpectationError(f'waited {format_ns(patience_ns)} in vain: {what}')
        time.sleep(PAUSE_S)  # the condition is anybody's, and tells nobody when it changes
    return answer


def assert_passed(report: Report, pattern: str = '*') -> list[CheckPart]:
    """Expect that all checks of this name passed; ``*`` and ``?`` are wildcards in it."""
    return _all_are('PASS', report, pattern, '')


def assert_failed(report: Report, pattern: str) -> list[CheckPart]:
    """Expect that each check of this name failed."""
    return _all_are('FAIL', report, pattern, ' was expected to fail')


def _all_are(verdict: str, report: Report, pattern: str, wish: str) -> list[CheckPart]:
    """Return the checks of this name; ExpectationError: some have another verdict."""
    found = _matching(report, pattern)
    others = [f'{one.name}{wish}: {one.reason} ({one.verdict} at {one.source})'
              for one in found if one.verdict != verdict]
    if others:
        raise ExpectationError('\n'.join(others))
    return found


def _matching(report: Report, pattern: str) -> list[CheckPart]:
    found = [one for one in report.checks if matches(one.name, pattern)]
    if not found:
        names = [one.name for one in report.checks]
        raise ExpectationError(f'no check is called {pattern}{did_you_mean(pattern, names)} '
                               f'(there are: {", ".join(names)})')
    return found
