"""The action that watches in a launch, and the events that tell how things stand."""

from __future__ import annotations

import json
import shlex
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from launch import LaunchContext, Substitution
from launch.actions import EmitEvent, ExecuteProcess, RegisterEventHandler, Shutdown
from launch.event import Event
from launch.event_handler import EventHandler
from launch.event_handlers import OnProcessExit, OnProcessIO, OnShutdown
from launch.logging import launch_config
from launch.substitutions import LaunchConfiguration
from launch.utilities import normalize_to_list_of_substitutions, perform_substitutions

from robot_qa.asserting import assert_failed, assert_passed
from robot_qa.checks import matches
from robot_qa.errors import RobotQaError, did_you_mean
from robot_qa.report.model import CheckPart, Report
from robot_qa.watching import HIDDEN, ExpectationError

__tracebackhide__ = HIDDEN
# A run ends by itself; this is for one that never began, because the launch ended before it.
PATIENCE_S = 3600.0
# Of a run that is stopped, for its report and for stopping what it started.
STOP_S = '30'
_NUMBERS = count(1)


class CheckVerdict(Event):  # type: ignore[misc]  # launch has no types
    """A check has come to another verdict; ``final`` when the run is over."""

    name = 'robot_qa.CheckVerdict'

    def __init__(self, *, check: str, verdict: str, reason: str, source: str, final: bool) -> None:
        self.check = check
        self.verdict = verdict
        self.reason = reason
        self.source = source
        self.final = final


class RunFinished(Event):  # type: ignore[misc]  # launch has no types
    """A run is over; ``report`` is None if there could be none."""

    name = 'robot_qa.RunFinished'

    def __init__(self, *, folder: Path, report: Report | None) -> None:
        self.folder = folder
        self.report = report


class NotPassedError(RobotQaError):
    """A run did not pass; raised in a launch, it makes the launch's exit code 1."""


class _NotPassed(Event):  # type: ignore[misc]  # launch has no types
    """Comes when nothing else is left to do, and only the run's own handler takes it."""

    name = 'robot_qa._NotPassed'

    def __init__(self, run: RobotQa) -> None:
        self.run = run


class RobotQa(ExecuteProcess):  # type: ignore[misc]  # launch has no types
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


class _Follow(RegisterEventHandler):  # type: ignore[misc]  # launch has no types
    """Registers an event handler, and the pattern of the checks that it is for."""

    def __init__(self, handler: EventHandler, pattern: str) -> None:
        super().__init__(handler)
        self._pattern = pattern

    def execute(self, context: LaunchContext) -> Any:
        """Register."""
        _launch_of(context).patterns.append(self._pattern)
        return super().execute(context)


class _Folder(Substitution):  # type: ignore[misc]  # launch has no types
    """Stands for the folder of a run, which is known when it is launched."""

    def __init__(self, run: RobotQa) -> None:
        super().__init__()
        self._run = run

    def perform(self, context: LaunchContext) -> str:
        """Return the folder."""
        return str(self._run.folder)


class _Calls(EventHandler):  # type: ignore[misc]  # launch has no types
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
