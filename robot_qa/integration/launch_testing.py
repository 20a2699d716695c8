"""For launch and launch_testing: an action that watches, and a test case that asks.

    def generate_test_description():
        return LaunchDescription([robot, RobotQa(spec=SPEC), ReadyToTest()])

    class TestPatrol(QaTestCase, spec=SPEC):
        '''One test method per check of the spec.'''
"""

from __future__ import annotations

import json
import re
import shlex
import sys
import threading
import time
import unittest
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

from launch import LaunchContext, Substitution
from launch.actions import EmitEvent, ExecuteProcess, RegisterEventHandler, Shutdown
from launch.event import Event
from launch.event_handler import EventHandler
from launch.event_handlers import OnProcessExit, OnProcessIO, OnShutdown
from launch.logging import launch_config
from launch.substitutions import LaunchConfiguration
from launch.utilities import normalize_to_list_of_substitutions, perform_substitutions

from robot_qa.checks import matches
from robot_qa.errors import RobotQaError, did_you_mean
from robot_qa.report.model import CheckPart, Report
from robot_qa.spec.loader import load_spec
from robot_qa.spec.model import declared_checks
from robot_qa.testing import ExpectationError, assert_failed, assert_passed
from robot_qa.watching import HIDDEN

__tracebackhide__ = HIDDEN
# A run ends by itself; this is for one that never began, because the launch ended before it.
PATIENCE_S = 3600.0
# Of a run that is stopped, for its report and for stopping what it started.
STOP_S = '30'
_NUMBERS = count(1)
# How long a test waits for the launch to come to the run that it asks about.
APPEARS_S = 60.0
PAUSE_S = 0.1


class CheckVerdict(Event):  # type: ignore[misc]
    """A check has come to another verdict; ``final`` when the run is over."""

    name = 'robot_qa.CheckVerdict'

    def __init__(self, *, check: str, verdict: str, reason: str, source: str, final: bool) -> None:
        self.check = check
        self.verdict = verdict
        self.reason = reason
        self.source = source
        self.final = final


class RunFinished(Event):  # type: ignore[misc]
    """A run is over; ``report`` is None if there could be none."""

    name = 'robot_qa.RunFinished'

    def __init__(self, *, folder: Path, report: Report | None) -> None:
        self.folder = folder
        self.report = report


class NotPassedError(RobotQaError):
    """A run did not pass; raised in a launch, it makes the launch's exit code 1."""


class _NotPassed(Event):  # type: ignore[misc]
    """Comes when nothing else is left to do, and only the run's own handler takes it."""

    name = 'robot_qa._NotPassed'

    def __init__(self, run: RobotQa) -> None:
        self.run = run


class RobotQa(ExecuteProcess):  # type: ignore[misc]
    """Runs the monitors, and the scenario, of a spec beside the rest of a launch description.

    It watches the system that the launch description brings up; what the spec's ``system`` says
    to start is left to others, unless ``bring_up``. ``use_sim_time`` is forwarded from the launch
    configuration of that name and decides the clock; without one the spec does. When the run is
    over it shuts the launch down, but not under launch_testing, whose tests go on; ``shutdown``
    says otherwise. A run that did not pass makes the exit code of the launch 1, except under
    launch_testing. The folder of the run is ``out``, or one in launch's own log folder. ``armed``
    lets it act on hardware, as the spec allows.
    """

    def __init__(
        self, *, spec: Any, out: Any = '', parameters: Mapping[str, str] | Any = '',
        duration: Any = '', use_sim_time: Any = None, record: Any = '', armed: Any = '',
        bring_up: bool = False, scenario: bool = True, shutdown: bool | None = None,
        **process: Any,
    ) -> None:
        if isinstance(parameters, Mapping):
            parameters = shlex.join(f'{key}={value}' for key, value in parameters.items())
        if use_sim_time is None:
            use_sim_time = LaunchConfiguration('use_sim_time', default='')
        self._spec = normalize_to_list_of_substitutions(_text(spec))
        self._out = normalize_to_list_of_substitutions(_text(out))
        self._shutdown = 'launch_testing' not in sys.modules if shutdown is None else shutdown
        self._over = threading.Event()
        self._partial = b''
        self._said: deque[str] = deque(maxlen=20)
        self._report: Report | None = None
        self._astray = ''
        self.folder = Path()
        """Of the run, once it was launched."""
        self.spec = Path()
        """The spec, resolved, once the run was launched."""
        super().__init__(
            cmd=[
                sys.executable, '-m', 'robot_qa.integration.beside', self._spec,
                '--out', [_Folder(self)], '--parameters', _text(parameters),
                '--duration', _text(duration), '--use-sim-time', _text(use_sim_time),
                '--record', _text(record), '--armed', _text(armed),
                *(['--bring-up'] if bring_up else []), *([] if scenario else ['--no-scenario']),
            ],
            **{'name': 'robot_qa', 'output': {'stdout': 'own_log', 'stderr': 'screen'},
               'sigterm_timeout': STOP_S, 'sigkill_timeout': STOP_S, **process},
        )

    def execute(self, context: LaunchContext) -> Any:
        """Start the run, and listen to it."""
        out = perform_substitutions(context, self._out)
        logs = Path(launch_config.log_dir)
        self.folder = Path(out).absolute() if out else logs / f'robot_qa-{next(_NUMBERS)}'
        self.spec = Path(perform_substitutions(context, self._spec)).resolve()
        _launch_of(context).under_way += 1
        # That of an earlier run in the same folder, which must not pass for this one's.
        (self.folder / 'report.json').unlink(missing_ok=True)
        if not self._shutdown and 'launch_testing' in sys.modules and not context.is_shutdown:
            _keep_alive(context)
        for handler in (
            OnProcessIO(target_action=self, on_stdout=self._heard, on_stderr=self._complained),
            OnProcessExit(target_action=self, on_exit=self._finished),
            _Calls(lambda one: isinstance(one, _NotPassed) and one.run is self, self._raise),
        ):
            context.register_event_handler(handler)
        return super().execute(context)

    def wait(self, timeout_s: float = PATIENCE_S) -> Report:
        """Wait until the run is over and return its report; not for the thread of the launch."""
        ended = self._over.wait(timeout_s)
        if self._astray:
            raise ExpectationError(self._astray)
        if self._report is not None:
            return self._report
        said = '\n'.join(self._said)
        raise ExpectationError(
            f'there is no report of the run: {said}' if ended
            else f'the run was not over after {timeout_s:g} s')

    def assert_passed(self, pattern: str = '*') -> list[CheckPart]:
        """Wait for the run and expect that these checks passed; ``*`` and ``?`` are wildcards."""
        return assert_passed(self.wait(), pattern)

    def assert_failed(self, pattern: str) -> list[CheckPart]:
        """Wait for the run and expect that each of these checks failed."""
        return assert_failed(self.wait(), pattern)

    def _heard(self, event: Any) -> list[EmitEvent]:
        *lines, self._partial = (self._partial + event.text).split(b'\n')
        return [EmitEvent(event=CheckVerdict(**json.loads(line))) for line in lines if line]

    def _complained(self, event: Any) -> None:
        lines = event.text.decode(errors='replace').splitlines()
        self._said.extend(line for line in lines if line.strip())

    def _finished(self, event: Any, context: LaunchContext) -> list[Any]:
        report = self.folder / 'report.json'
        if report.exists():
            self._report = Report.model_validate_json(report.read_text(encoding='utf-8'))
        launch = _launch_of(context)
        launch.under_way -= 1
        if self._report is not None:
            launch.names.update(check.name for check in self._report.checks)
            self._astray = launch.astray()
        self._over.set()
        actions: list[Any] = [
            EmitEvent(event=RunFinished(folder=self.folder, report=self._report))]
        if self._shutdown:
            actions.append(Shutdown(reason='the run of robot_qa is over'))
        if (event.returncode != 0 or self._astray) and 'launch_testing' not in sys.modules:
            actions.append(self._redden(context))
        return actions

    def _redden(self, context: LaunchContext) -> EmitEvent | RegisterEventHandler:
        """Return what makes the exit code of the launch 1, once it ends.

        A launch service returns 1 only after an exception. In the handler of an event that nobody
        else takes it keeps no one from his work.
        """
        fail = EmitEvent(event=_NotPassed(self))
        if self._shutdown or context.is_shutdown:
            return fail
        return RegisterEventHandler(OnShutdown(on_shutdown=fail))

    def _raise(self, event: Event, context: LaunchContext) -> None:
        report = self._report
        if report is None:
            said = self._said[-1] if self._said else 'it was killed'
            raise NotPassedError(f'there is no report of the run: {said}')
        raise NotPassedError(self._astray or f'{report.verdict}  {report.name}: {self.folder}')


def _keep_alive(context: LaunchContext) -> None:
    """Keep a launch in which nothing runs any more from ending before its tests have."""
    tests_go_on = context.asyncio_loop.create_future()

    def end(event: Event, context: LaunchContext) -> None:
        if not tests_go_on.done():
            tests_go_on.set_result(None)

    context.add_completion_future(tests_go_on)
    context.register_event_handler(OnShutdown(on_shutdown=end))


def on_verdict(
    entities: Any, check: str = '*', verdict: str | None = None,
) -> RegisterEventHandler:
    """Return the action that makes ``entities`` follow each verdict on checks of this pattern.

    They are what an event handler takes: actions, or a function of the event and the context. If
    no check of the launch's runs is called so, the last of them counts as not passed.
    """
    def concerns(event: Event) -> bool:
        return (isinstance(event, CheckVerdict) and verdict in (None, event.verdict)
                and matches(event.check, check))

    if not callable(entities):
        return _Follow(EventHandler(matcher=concerns, entities=entities), check)
    return _Follow(_Calls(concerns, entities), check)


@dataclass
class _Launch:
    """What the runs of a launch have in common."""

    under_way: int = 0
    names: set[str] = field(default_factory=set)
    """The checks of the runs that are over."""
    patterns: list[str] = field(default_factory=list)
    """Whose verdicts something follows."""

    def astray(self) -> str:
        """Return, in words, which patterns no check matches, once every run is over."""
        lost = [one for one in self.patterns
                if not any(matches(name, one) for name in self.names)]
        if self.under_way or not lost:
            return ''
        return '; '.join(f'on_verdict: no check is called {one}{did_you_mean(one, self.names)}'
                         for one in lost)


_LAUNCHES: WeakKeyDictionary[LaunchContext, _Launch] = WeakKeyDictionary()


def _launch_of(context: LaunchContext) -> _Launch:
    return _LAUNCHES.setdefault(context, _Launch())


class _Follow(RegisterEventHandler):  # type: ignore[misc]
    """Registers an event handler, and the pattern of the checks that it is for."""

    def __init__(self, handler: EventHandler, pattern: str) -> None:
        super().__init__(handler)
        self._pattern = pattern

    def execute(self, context: LaunchContext) -> Any:
        """Register."""
        _launch_of(context).patterns.append(self._pattern)
        return super().execute(context)


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
            time.sleep(PAUSE_S)
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


class _Folder(Substitution):  # type: ignore[misc]
    """Stands for the folder of a run, which is known when it is launched."""

    def __init__(self, run: RobotQa) -> None:
        super().__init__()
        self._run = run

    def perform(self, context: LaunchContext) -> str:
        """Return the folder."""
        return str(self._run.folder)


class _Calls(EventHandler):  # type: ignore[misc]
    """An event handler that asks a function what to do."""

    def __init__(self, matcher: Callable[[Event], bool], ask: Callable[..., Any]) -> None:
        super().__init__(matcher=matcher)
        self._ask = ask

    def handle(self, event: Event, context: LaunchContext) -> Any:
        """Ask."""
        super().handle(event, context)
        return self._ask(event, context)


def _text(value: Any) -> Any:
    """Return substitutions as they are, and everything else as text."""
    if isinstance(value, Substitution | list | tuple):
        return value
    return str(value)


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
