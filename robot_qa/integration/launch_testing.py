"""For launch and launch_testing: an action that watches, and a test case that asks.

    def generate_test_description():
        return LaunchDescription([robot, RobotQa(spec=SPEC), ReadyToTest()])

    class TestPatrol(QaTestCase, spec=SPEC):
        '''One test method per check of the spec.'''
"""

from __future__ import annotations

import re
import time
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from robot_qa.asserting import assert_failed, assert_passed
from robot_qa.integration.launch_action import (
    CheckVerdict,
    NotPassedError,
    RobotQa,
    RunFinished,
    on_verdict,
)
from robot_qa.report.model import CheckPart, Report
from robot_qa.spec.loader import load_spec
from robot_qa.spec.model import declared_checks
from robot_qa.watching import HIDDEN, ExpectationError

__all__ = [
    'CheckVerdict', 'NotPassedError', 'QaTestCase', 'RobotQa', 'RunFinished', 'on_verdict',
]
__tracebackhide__ = HIDDEN
# How long a test waits for the launch to come to the run that it asks about.
APPEARS_S = 60.0
PAUSE_S = 0.1


class QaTestCase(unittest.TestCase):
    """A test case with a method for each check of a spec, judged by the launch's `RobotQa` of it.

    Its tests wait until the run is over; one that is launched late, by a timer, has
    ``appears_s`` to begin. Decorated with ``post_shutdown_test`` it asks after the shutdown, for
    what a run that was cut short by it came to. What the run could not decide fails, or skips
    where the spec says ``inconclusive: skip``.
    """

    spec: ClassVar[Path | None] = None
    appears_s: ClassVar[float] = APPEARS_S
    skips_inconclusive: ClassVar[bool] = False
    # What launch_testing injects: the processes of the launch and, while it lasts, the service.
    proc_info: Any = None
    launch_service: Any = None
    # The launch in which a test has waited in vain: the next one need not.
    _missed_in: ClassVar[Any] = None

    def __init_subclass__(cls, spec: Path | str | None = None, **other: Any) -> None:
        super().__init_subclass__(**other)
        if spec is None:
            return
        cls.spec = Path(spec).resolve()
        declared = load_spec(Path(spec)).spec
        cls.skips_inconclusive = declared.inconclusive == 'skip'
        known = [name for name, _ in declared_checks(declared)]
        for name in known:
            setattr(cls, _free(cls, _method_name(name)), _test_of(name))
        # Here and not above, so that this class itself, imported, is no test.
        cls.test_run = _test_of_rest(set(known))  # type: ignore[attr-defined]

    @property
    def report(self) -> Report:
        """The report of the run, once it is over."""
        return self._run().wait()

    def _run(self) -> RobotQa:
        """Return the latest run of the spec in this launch, once it has begun."""
        launch = self.launch_service
        patience_s = 0.0 if launch is None or type(self)._missed_in is launch else self.appears_s
        deadline = time.monotonic() + patience_s
        while True:
            started = self.proc_info.processes() if self.proc_info is not None else ()
            runs = [one for one in started if isinstance(one, RobotQa)]
            for run in reversed(runs):
                if run.spec == self.spec:
                    return run
            if time.monotonic() >= deadline or launch.context.is_shutdown:
                break
            time.sleep(PAUSE_S)  # launch tells nobody in this thread that a process began
        type(self)._missed_in = launch
        others = f', only {", ".join(str(run.spec) for run in runs)}' if runs else ''
        waited = f' within {patience_s:g} s (appears_s)' if patience_s else ''
        raise ExpectationError(f'no RobotQa(spec=...) of the launch description has run '
                               f'{self.spec}{waited}{others}')

    def assert_passed(self, pattern: str = '*') -> list[CheckPart]:
        """Expect that these checks passed, such as ``topics./scan.*``."""
        return assert_passed(self.report, pattern)

    def assert_failed(self, pattern: str) -> list[CheckPart]:
        """Expect that each of these checks failed, where a test seeds a fault."""
        return assert_failed(self.report, pattern)

    def skip_undecided(self, checks: list[CheckPart]) -> None:
        """Skip the test where checks are undecided at worst, and the spec says to skip."""
        rest = [one for one in checks if one.verdict != 'PASS']
        if self.skips_inconclusive and {one.verdict for one in rest} == {'INCONCLUSIVE'}:
            self.skipTest('; '.join(one.reason for one in rest))


def _method_name(check: str) -> str:
    return 'test_' + re.sub(r'\W+', '_', check).strip('_')


def _free(cls: type, name: str) -> str:
    number, free = 2, name
    while hasattr(cls, free):
        free = f'{name}_{number}'
        number += 1
    return free


def _test_of(check: str) -> Callable[[QaTestCase], None]:
    def test(self: QaTestCase) -> None:
        self.skip_undecided([one for one in self.report.checks if one.name == check])
        self.assert_passed(check)

    test.__doc__ = check
    return test


def _test_of_rest(known: set[str]) -> Callable[[QaTestCase], None]:
    def test(self: QaTestCase) -> None:
        checks = [one for one in self.report.checks if one.name not in known]
        self.skip_undecided(checks)
        for check in checks:
            self.assert_passed(check.name)

    test.__doc__ = 'the run itself: what was ready, how long it took, and what else it reports'
    return test
