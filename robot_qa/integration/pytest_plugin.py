"""The pytest plugin: a ``*.qa.yaml`` is a test file, and each of its checks a test.

Every pytest run on this machine loads this module, so it imports robot_qa's rooms only when there
is a spec to read. It runs from pytest 6.2 on, and spells differences between versions out.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from robot_qa.integration.fixtures import monitor, robot, scenario, simulator

if TYPE_CHECKING:
    from robot_qa.report.model import CheckPart, Report
    from robot_qa.spec.loader import LoadedSpec
    from robot_qa.spec.model import TestSpec

    Judged = tuple[Path, Report]

__all__ = ['monitor', 'robot', 'scenario', 'simulator']

SUFFIXES = ('.qa.yaml', '.qa.yml')
# The item of everything in a report that could not be known when tests were collected.
REST = 'run'
NS_PER_S = 1_000_000_000
MARKERS = (
    'qa_simulator: a check of a spec that has a simulator',
    'qa_hardware: a check of a spec that starts nothing and watches the robot that runs',
)
OLD_PYTEST = int(pytest.__version__.split('.', maxsplit=1)[0]) < 7


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of specs."""
    group = parser.getgroup('robot_qa', 'robot_qa: checks of *.qa.yaml')
    group.addoption(
        '--qa-out', metavar='DIR', help='where the folders of runs go (robot_qa_runs, next to the '
        'file of --junit-xml if there is one)')
    group.addoption(
        '--qa-set', metavar='KEY=VALUE', action='append', default=[],
        help='replace a parameter of the specs')
    group.addoption(
        '--qa-bag', metavar='BAG', help='judge this recording instead of a live run')
    group.addoption(
        '--qa-armed', action='store_true',
        help='let specs act on a robot that they have not started, as they allow')


def pytest_configure(config: pytest.Config) -> None:
    """Declare the markers, and note when this session began: its runs share a folder."""
    for marker in MARKERS:
        config.addinivalue_line('markers', marker)
    if config.getoption('--qa-set'):
        _overrides(config)
    _check_folder(config.getoption('--qa-out'))
    started = getattr(config, 'workerinput', {}).get('robot_qa_started')
    config.robot_qa_started = (  # type: ignore[attr-defined]
        started or f'{time.strftime("%Y%m%d-%H%M%S")}-{os.getpid()}')


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of pytest-xdist which session it belongs to."""
    node.workerinput['robot_qa_started'] = node.config.robot_qa_started


if OLD_PYTEST:
    def pytest_collect_file(path: Any, parent: pytest.Collector) -> pytest.File | None:
        """Collect a spec."""
        if not _is_spec(Path(path)):
            return None
        return SpecFile.from_parent(parent, fspath=path)
else:
    def pytest_collect_file(  # type: ignore[misc]
        file_path: Path, parent: pytest.Collector
    ) -> pytest.File | None:
        """Collect a spec."""
        if not _is_spec(file_path):
            return None
        return SpecFile.from_parent(parent, path=file_path)


def _is_spec(path: Path) -> bool:
    return path.name.endswith(SUFFIXES)


class SpecFile(pytest.File):
    """A spec; its checks are judged all at once when the first of them is asked for.

    Each round of repeating, and each of trying again what failed, is a run of its own.
    """

    _loaded: LoadedSpec
    _known: set[str]
    _unset = ''

    def collect(self) -> Iterator[CheckItem]:
        """Yield an item per check, and one for whatever else a run may report."""
        from robot_qa.errors import RobotQaError

        try:
            self._loaded = self._load()
        except RobotQaError as error:
            raise self.CollectError(str(error)) from None
        self._judged: dict[int, Judged | str] = {}
        places = self._places()
        self._known = set(places)
        rounds = _repetitions(self.config)
        for number in range(1, rounds + 1):
            for name, line in {**places, REST: 1}.items():
                shown = f'{name}[{number}-{rounds}]' if rounds > 1 else name
                item = CheckItem.from_parent(self, name=shown)
                item.check, item.line, item.repetition = name, line, number
                for marker in _markers(self._loaded.spec):
                    item.add_marker(marker)
                yield item

    def _load(self) -> LoadedSpec:
        """Read the spec; a parameter that it lacks is an error of its items, not of others'."""
        from robot_qa.errors import SpecError
        from robot_qa.spec.loader import load_spec

        path, overrides = Path(self.fspath), _overrides(self.config)
        try:
            return load_spec(path, overrides)
        except SpecError as error:
            known = load_spec(path).spec.parameters
            fitting = {name: text for name, text in overrides.items() if name in known}
            if fitting == overrides:
                raise
            self._unset = str(error)
            return load_spec(path, fitting)

    def _places(self) -> dict[str, int]:
        """Return the line of every check that the report will have, by name."""
        from robot_qa.run_checks import run_check_names
        from robot_qa.spec.model import declared_checks

        spec, marks = self._loaded.spec, self._loaded.marks
        # What a recording tells about its run is not known before it is read.
        recorded = self.config.getoption('--qa-bag')
        places = {} if recorded else dict.fromkeys(run_check_names(spec), 1)
        places.update((name, marks.key_position(at)[0]) for name, at in declared_checks(spec))
        return places

    def judged(self, name: str, round_: int) -> list[CheckPart]:
        """Return the verdict on a check; of the rest, what did not pass.

        Fails the test that asks if there could be no run, or if the report lacks the check.
        """
        _, report = self._outcome(round_)
        if name == REST:
            return [one for one in report.checks
                    if one.name not in self._known and one.verdict != 'PASS']
        found = [one for one in report.checks if one.name == name]
        if not found:
            why = '; '.join(f'{one.name}: {one.reason}'
                            for one in report.checks if one.verdict != 'PASS')
            pytest.fail(f'{name} was not judged; {why or "the report lacks it"}', pytrace=False)
        return found

    def describe(self, checks: list[CheckPart], round_: int) -> str:
        """Return why checks did not pass, where the spec asks for them, and the evidence."""
        folder, report = self._outcome(round_)
        lines = []
        for check in checks:
            # A check of the spec is named by its item; its reason fits the summary's one line.
            who = '' if check.name in self._known else f'{check.name}: '
            lines += [f'{who}{check.reason}', f'{check.verdict} at {self._short(check.source)}']
            lines += [f'after {(one.stamp_ns - report.start_ns) / NS_PER_S:.3f} s: {one.text}'
                      for one in check.evidence]
        return '\n'.join([*lines, f'report: {self._short(str(folder))}'])

    @property
    def skips_inconclusive(self) -> bool:
        """Whether the spec wants what is undecided to be skipped."""
        return self._loaded.spec.inconclusive == 'skip'

    def _outcome(self, round_: int) -> Judged:
        """Make the run of a round, once, and return its folder and report."""
        if round_ not in self._judged:
            self._judged[round_] = self._unset or self._try(self._folder(round_))
        judged = self._judged[round_]
        if isinstance(judged, str):
            pytest.fail(judged, pytrace=False)
        return judged

    def _try(self, folder: Path) -> Judged | str:
        """Make a run, or say why there is none."""
        from robot_qa.errors import RobotQaError

        try:
            judged = self._run_once(folder)
        except RobotQaError as error:
            return str(error)
        if any(event.event == 'interrupted' for event in judged[1].timeline):
            raise KeyboardInterrupt
        return judged

    def _run_once(self, folder: Path) -> Judged:
        """Run; where several workers share the checks of a file, one does it for all."""
        from robot_qa.report.model import Report

        if not hasattr(self.config, 'workerinput'):
            return self._run(folder)
        with _locked(folder):
            done = folder / 'report.json'
            if done.exists():
                return folder, Report.model_validate_json(done.read_text(encoding='utf-8'))
            return self._run(folder)

    def _run(self, folder: Path) -> Judged:
        from robot_qa.live_run import RunOptions
        from robot_qa.session import check_recording, run_live

        bag = self.config.getoption('--qa-bag')
        if bag:
            judged = check_recording(self._loaded, Path(bag), folder)
        else:
            armed = self.config.getoption('--qa-armed')
            judged = run_live(self._loaded, RunOptions(folder, armed=armed))
        # pytest writes its own, and colcon would count the checks of both.
        (folder / 'junit.xml').unlink(missing_ok=True)
        return judged

    def _folder(self, round_: int) -> Path:
        option = self.config.getoption
        out = option('--qa-out')
        if not out:
            # Of colcon, this is the build folder; the current one is the package's source.
            junit = option('--junit-xml', default=None)
            out = Path(junit).parent / 'robot_qa_runs' if junit else 'robot_qa_runs'
        # The whole path, and a number that no spec ends with: whatever else shared the folder
        # would get our report under pytest-xdist.
        place = Path(os.path.relpath(Path(self.fspath), self.config.rootpath))
        inner = Path(*('__' if part == os.pardir else part for part in place.parts))
        started: str = self.config.robot_qa_started  # type: ignore[attr-defined]
        name = inner.name if round_ == 1 else f'{inner.name}.{round_}'
        return Path(out).absolute() / started / inner.with_name(name)

    def _short(self, place: str) -> str:
        root: Path = self.config.invocation_params.dir
        return place.removeprefix(f'{root}{os.sep}')


class CheckItem(pytest.Item):
    """One check of a spec."""

    parent: SpecFile
    check = ''
    line = 1
    repetition = 1

    @property
    def _round(self) -> int:
        """Which run judges: pytest-rerunfailures counts how often it has tried this item."""
        tries: int = getattr(self, 'execution_count', 1)
        return self.repetition + (tries - 1) * _repetitions(self.config)

    def setup(self) -> None:
        """Make the run, and count what robot_qa or a process broke as an error, not a failure."""
        checks = self.parent.judged(self.check, self._round)
        self.user_properties.clear()  # of an earlier try
        for check in checks:
            self._note(check)
        if any(check.verdict == 'ERROR' for check in checks):
            pytest.fail(self.parent.describe(checks, self._round), pytrace=False)

    def runtest(self) -> None:
        """Pass, fail or skip as the check did."""
        checks = self.parent.judged(self.check, self._round)
        verdicts = {check.verdict for check in checks} - {'PASS'}
        if verdicts == {'INCONCLUSIVE'} and self.parent.skips_inconclusive:
            pytest.skip('; '.join(check.reason for check in checks))
        if verdicts:
            pytest.fail(self.parent.describe(checks, self._round), pytrace=False)

    def reportinfo(self) -> tuple[Any, int, str]:
        """Return where the check stands; pytest counts lines from 0."""
        # Not the bare name: pytest would take its dots for those of Python and rewrite them.
        return self.fspath, self.line - 1, f'check {self.name}'

    def _note(self, check: CheckPart) -> None:
        """Put what was measured into JUnit's properties and behind ``-rP``."""
        if check.verdict == 'PASS':
            self.add_report_section('call', 'robot_qa', check.reason)
        measured = check.measured.model_dump() if check.measured else {}
        limit = {'limit': f'{check.limit.side} {check.limit.value:g}'} if check.limit else {}
        self.user_properties += [
            (name, value)
            for name, value in {'verdict': check.verdict, 'source': check.source, **measured,
                                **limit}.items() if value is not None
        ]


def _markers(spec: TestSpec) -> list[str]:
    system = spec.system
    if system is not None and system.simulator is not None and system.simulator.simulates:
        return ['qa_simulator']
    return [] if system is not None and system.processes else ['qa_hardware']


def _repetitions(config: pytest.Config) -> int:
    """Return how often pytest-repeat, which knows functions only, is to repeat each test."""
    plugins = config.pluginmanager
    if not (plugins.has_plugin('repeat') or plugins.has_plugin('pytest_repeat')):
        return 1
    return max(1, int(config.getoption('count')))


def _check_folder(out: str | None) -> None:
    """Raise UsageError where no folder can be made."""
    place = Path(out or '').absolute()
    there = next(one for one in (place, *place.parents) if one.exists())
    if not there.is_dir():
        raise pytest.UsageError(f'--qa-out {out}: {there} is a file, not a folder')


def _overrides(config: pytest.Config) -> dict[str, str]:
    from robot_qa.errors import QuantityError
    from robot_qa.spec.parameters import read_overrides

    try:
        return read_overrides(config.getoption('--qa-set'), '--qa-set')
    except QuantityError as error:
        raise pytest.UsageError(str(error)) from None


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Wait for our turn; the lock of a worker that died is free."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / '.lock').open('w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
