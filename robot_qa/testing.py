"""For tests in code: bring a robot up or attach to it, watch it, and expect.

    with Robot() as robot:
        robot.start('driver', 'ros2 run my_robot driver')
        scan = robot.monitor('/scan')
        scan.rate(min=9)
        scan.frame_id('lidar_link')

Limits are those of a spec and are judged by the same monitors; a number stands for Hz where a
rate is meant, everything else has its unit. What does not hold raises ExpectationError, an
AssertionError, and so does what cannot be decided. Use it from one thread.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from fnmatch import fnmatchcase
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar, get_args

from robot_qa.bring_up import BRIDGE, environment_for, process_spec, simulator_specs
from robot_qa.checks import CheckResult
from robot_qa.domains import claim_domain
from robot_qa.errors import did_you_mean
from robot_qa.live_run import RunOptions, import_live
from robot_qa.messages.typestore import TypeStore
from robot_qa.monitors.base import CLOCK_TOPIC
from robot_qa.processes import Exit, Processes, ProcessSpec
from robot_qa.quantities import parse_duration
from robot_qa.report.model import CheckPart, Report
from robot_qa.session import run_live
from robot_qa.simulators.base import Action, Outcome, Pending, Simulator, make_simulator
from robot_qa.spec.hardware import Allowed
from robot_qa.spec.loader import LoadedSpec, load_spec
from robot_qa.spec.model import TestSpec
from robot_qa.timebase import NS_PER_S, format_ns
from robot_qa.watching import HIDDEN, ExpectationError, Monitor, fragment, unmet

__all__ = [
    'ExpectationError', 'Monitor', 'Robot', 'Simulation', 'assert_failed', 'assert_passed',
    'wait_for',
]

Answer = TypeVar('Answer')
PAUSE_S = 0.02
__tracebackhide__ = HIDDEN


def wait_for(
    condition: Callable[[], Answer], what: str, timeout: str = '10 s',
) -> Answer:
    """Wait until ``condition()`` is true and return what it returned.

    ``what`` says in words what is waited for: "the robot is docked".
    """
    patience_ns = parse_duration(timeout)
    deadline = time.monotonic() + patience_ns / NS_PER_S
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise ExpectationError(f'waited {format_ns(patience_ns)} in vain: {what}')
        time.sleep(PAUSE_S)
    return answer


def assert_passed(report: Report, pattern: str = '*') -> list[CheckPart]:
    """Expect that all checks of this name passed; ``*`` and ``?`` are wildcards in it."""
    found = _matching(report, pattern)
    broken = [f'{one.name}: {one.reason} ({one.verdict} at {one.source})'
              for one in found if one.verdict != 'PASS']
    if broken:
        raise ExpectationError('\n'.join(broken))
    return found


def assert_failed(report: Report, pattern: str) -> list[CheckPart]:
    """Expect that each check of this name failed."""
    found = _matching(report, pattern)
    others = [f'{one.name} was expected to fail: {one.reason} ({one.verdict} at {one.source})'
              for one in found if one.verdict != 'FAIL']
    if others:
        raise ExpectationError('\n'.join(others))
    return found


def _matching(report: Report, pattern: str) -> list[CheckPart]:
    found = [one for one in report.checks
             if one.name == pattern or fnmatchcase(one.name, pattern)]
    if not found:
        names = [one.name for one in report.checks]
        raise ExpectationError(f'no check is called {pattern}{did_you_mean(pattern, names)} '
                               f'(there are: {", ".join(names)})')
    return found


class Robot:
    """A robot under test.

    The first process that it starts puts it, and this process, into a ROS domain of their own
    until the end; a robot of which nothing was started is the one that runs in this shell's
    domain. ``folder`` is what paths are relative to; the output of processes goes to ``logs``.
    """

    def __init__(self, folder: Path | str = '.', logs: Path | None = None) -> None:
        self._folder = Path(folder).absolute()
        self._stack = ExitStack()
        self._temporary = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        self._logs = (logs or self._temporary / 'logs').absolute()
        self._processes: Processes | None = None
        self.domain: int | None = None
        """The ROS domain of its own; None where it is that of this shell."""
        self._started: dict[str, ProcessSpec] = {}
        self._scout: Any = None
        self._backend = ''
        """Of the simulator that runs, as scenarios call one that they find running."""

    def __enter__(self) -> Robot:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop what was started and leave the graph."""
        self._stack.close()

    def start(
        self, name: str, command: str | Sequence[str],
        environment: Mapping[str, str] | None = None,
    ) -> int:
        """Start a process in ``folder`` and return its pid. No shell reads the command."""
        words = command if isinstance(command, str) else list(command)
        process = {'name': name, 'command': words, 'environment': dict(environment or {})}
        loaded = self._spec('1 s', system={'processes': [process]}, graph={'unique_names': True})
        assert loaded.spec.system is not None
        own = self._own_processes()
        return self._start(
            own, process_spec(loaded.spec.system.processes[0], self._folder, self._logs))

    def stop(self, name: str) -> Exit:
        """Stop a process that was started here and return how it ended."""
        return self._own_processes().stop(name)

    def bring_up(
        self, spec: Path | str, overrides: Mapping[str, str] | None = None
    ) -> LoadedSpec:
        """Start what the ``system`` of a spec names, and wait for all that is in ``ready``."""
        loaded = load_spec(self._folder / spec, overrides)
        system = loaded.spec.system
        if system is None:
            raise ValueError(f'{spec} has no "system": there is nothing to bring up')
        self._start_simulator(loaded.spec, loaded.path.parent.absolute())
        own = self._own_processes()
        for process in system.processes:
            self._start(own, process_spec(process, loaded.path.parent.absolute(), self._logs))
        ready = system.ready
        topics = ['/clock', *ready.topics] if self._backend else ready.topics
        self.wait_for(topics, ready.services, ready.nodes, format_ns(ready.timeout))
        return loaded

    def simulate(
        self, world: Path | str, *, backend: str = 'embedded', timeout: str = '60 s',
        **settings: Any,
    ) -> Simulation:
        """Start a simulator with an SDF world; from here on time is simulated.

        ``settings`` are those of ``system.simulator`` in a spec: seed, real_time_factor, render.
        """
        path = self._folder / world
        if not path.is_file():
            raise ValueError(f'there is no world {path}')
        loaded = self._spec('1 s', graph={'unique_names': True}, system={
            'simulator': {'backend': backend, **settings, 'world': 'expectation.qa.yaml'}})
        # A spec's world stays in its folder, and stood in for this one; a test's need not.
        assert loaded.spec.system is not None and loaded.spec.system.simulator is not None
        simulator = loaded.spec.system.simulator.model_copy(update={'world': str(path)})
        system = loaded.spec.system.model_copy(update={'simulator': simulator})
        self._start_simulator(loaded.spec.model_copy(update={'system': system}), self._folder)
        adapter = make_simulator(backend, self._node())
        self._stack.callback(adapter.close)
        simulation = Simulation(adapter)
        simulation.connect(timeout)
        return simulation

    def _start_simulator(self, spec: TestSpec, folder: Path) -> None:
        simulator = spec.system.simulator if spec.system else None
        if simulator is None or not simulator.started:
            return
        own = self._own_processes()
        self._stack.enter_context(environment_for(self.domain or 0, self._logs, simulator))
        for process in simulator_specs(spec, folder, self._logs):
            self._start(own, process)
        self._backend = 'gazebo' if simulator.backend == 'gazebo' else 'standard'

    def wait_for(
        self, topics: Sequence[str] = (), services: Sequence[str] = (),
        nodes: Sequence[str] = (), timeout: str = '30 s',
    ) -> None:
        """Wait until topics have a publisher, services a server, and nodes are there."""
        self._node()
        deadline = time.monotonic() + parse_duration(timeout) / NS_PER_S
        while lacking := self._scout.missing(list(topics), list(services), list(nodes)):
            ended = self._processes.poll() if self._processes else {}
            for name, end in ended.items():
                if end.code:
                    raise ExpectationError(
                        f'{name} ended with code {end.code} while waiting for '
                        f'{", ".join(lacking)}:\n{_tail(end.log)}')
            if time.monotonic() > deadline:
                raise ExpectationError(f'after {timeout} still missing: {", ".join(lacking)}')
            time.sleep(PAUSE_S)

    def monitor(self, topic: str, type: str | None = None, over: str = '3 s') -> Monitor:
        """Begin to watch a topic; what is expected of it is judged over at least ``over``."""
        self._spec(over, topics={topic: _given(type=type, stamps='increasing')})  # or say so
        live = import_live()
        wanted = [live.Wanted(topic, type)]
        simulated = bool(self._backend)
        if simulated and topic != CLOCK_TOPIC:
            wanted.append(live.Wanted(CLOCK_TOPIC))
        monitor = Monitor(live.LiveProbe(wanted), topic, over, self._temporary, type=type,
                          simulated=simulated)
        self._stack.callback(monitor.close)
        return monitor

    def expect(self, over: str = '5 s', armed: bool = False, **blocks: Any) -> list[CheckPart]:
        """Watch for ``over`` and judge any blocks of a spec: nodes, services, tf, rules ...

        What would act on a robot that was not started here needs ``armed`` and ``allow``.
        """
        if self._processes is not None:
            armed = True
            blocks.setdefault('allow', list(get_args(Allowed)))
        loaded = self._spec(over, **blocks)
        _, report = run_live(loaded, RunOptions(self._temporary / 'run', armed=armed))
        return assert_passed(report)

    def scenario(
        self, steps: Sequence[Mapping[str, Any]], duration: str, **blocks: Any
    ) -> list[CheckResult]:
        """Play the steps of a scenario and take back what they did; monitors go on meanwhile.

        A step that could not be carried out raises ExpectationError. Faults on topics need a
        spec, because relays have to be there before the processes start. What acts on a robot
        that was not started here needs ``allow``, as in a spec.
        """
        from robot_qa.scenario.conditions import condition_topics
        from robot_qa.scenario.stage import Stage

        loaded = self._scenario_spec(steps, duration, blocks)
        live, length_ns = import_live(), loaded.spec.duration
        with ExitStack() as stack:
            probe = live.LiveProbe([live.Wanted(one) for one in condition_topics(loaded.spec)])
            stack.callback(probe.close)
            # Upon the node that knows the graph already: a new one would act late at first.
            stage = Stage(loaded, self._node(), TypeStore(), length_ns, lambda *event: None)
            stack.callback(stage.close)
            stage.prepare(self._processes, self._started)
            probe.begin()
            stage.begin()
            end = time.monotonic() + length_ns / NS_PER_S
            while time.monotonic() < end:
                stage.update(probe.drain())
                stage.wait(PAUSE_S)
            stage.end()
            results = stage.results()
        unmet(results, 'the scenario')
        return results

    def _scenario_spec(
        self, steps: Sequence[Mapping[str, Any]], duration: str, blocks: Mapping[str, Any],
    ) -> LoadedSpec:
        """Return a spec with these steps, and with the names that they may use."""
        system: dict[str, Any] = {'processes': [
            {'name': name, 'command': [spec.argv[0]]}
            for name, spec in self._started.items() if name not in ('simulator', BRIDGE)
        ]}
        if self._backend:
            system['simulator'] = {'backend': self._backend}
        # A spec has to check something; only its steps are of interest here.
        return self._spec(duration, system=system, scenario=[dict(step) for step in steps],
                          **{'graph': {'unique_names': True}, **blocks})

    def _spec(self, duration: str, **blocks: Any) -> LoadedSpec:
        if self._backend:
            blocks['clock'] = 'ros'
        return fragment(self._temporary, duration, blocks)

    def _own_processes(self) -> Processes:
        if self._processes is None:
            if self._scout is not None:
                raise ValueError('start what is under test before anything is watched: what is '
                                 'started gets a ROS domain of its own')
            claim = self._stack.enter_context(claim_domain())
            self.domain = claim.id
            self._stack.enter_context(environment_for(claim.id, self._logs))
            self._processes = self._stack.enter_context(
                Processes(self._logs, inherit_fd=claim.fileno()))
        return self._processes

    def _start(self, processes: Processes, spec: ProcessSpec) -> int:
        pid = processes.start(spec)
        self._started[spec.name] = spec
        return pid

    def _node(self) -> Any:
        """Return a node that looks at the graph and that nothing spins."""
        if self._scout is None:
            self._scout = import_live().LiveProbe([])
            self._stack.callback(self._scout.close)
        return self._scout.node


class Simulation:
    """The simulator of a robot under test; actions are those of ``robot_qa.simulators.base``."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator

    def connect(self, timeout: str) -> None:
        """Wait until the simulator answers."""
        self._over(self._simulator.connect(), 'connecting', timeout)

    def do(self, action: Action, timeout: str = '10 s') -> Outcome:
        """Do one thing, such as ``Spawn('crate', 'models/crate')``; return how it went.

        Its ``undo`` is the action that takes it back.
        """
        return self._over(self._simulator.do(action), action.feature, timeout)

    def _over(self, pending: Pending, what: str, timeout: str) -> Outcome:
        outcome = wait_for(pending.poll, f'the simulator answers ({what})', timeout)
        assert outcome is not None
        if not outcome.ok:
            raise ExpectationError(f'the simulator refused: {what}: {outcome.detail}')
        return outcome


def _given(**keys: Any) -> dict[str, Any]:
    return {key: value for key, value in keys.items() if value is not None}


def _tail(log: Path, lines: int = 10) -> str:
    return '\n'.join(log.read_text(errors='replace').splitlines()[-lines:])
