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
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar, get_args

from robot_qa.asserting import assert_failed, assert_passed, wait_for
from robot_qa.bring_up import (
    BRIDGE,
    environment_for,
    process_spec,
    simulator_specs,
)
from robot_qa.checks import CheckResult
from robot_qa.companions import guarded, import_live
from robot_qa.domains import claim_domain
from robot_qa.errors import UnarmedError
from robot_qa.live_run import RunOptions
from robot_qa.messages.typestore import TypeStore
from robot_qa.monitors.base import CLOCK_TOPIC
from robot_qa.processes import Exit, Processes, ProcessSpec
from robot_qa.report.model import CheckPart
from robot_qa.run_checks import lasting_processes
from robot_qa.session import run_live
from robot_qa.simulated import Simulation
from robot_qa.simulators.base import make_simulator
from robot_qa.spec.hardware import Allowed, acts_on_hardware
from robot_qa.spec.loader import LoadedSpec, load_spec
from robot_qa.spec.marks import KeyPath
from robot_qa.spec.model import TestSpec
from robot_qa.timebase import NS_PER_S, format_ns
from robot_qa.watching import HIDDEN, ExpectationError, Monitor, fragment, plain, unmet

__all__ = [
    'ExpectationError', 'Monitor', 'Robot', 'Simulation', 'assert_failed', 'assert_passed',
    'wait_for',
]

Answer = TypeVar('Answer')
PAUSE_S = 0.02
DISCOVERY = '5 s'
__tracebackhide__ = HIDDEN


class Robot:
    """A robot under test.

    The first process that it starts puts it, and this process, into a ROS domain of their own
    until the end; a robot of which nothing was started is the one that runs in this shell's
    domain, and only ``armed`` are tests let to act on it. ``folder`` is what paths are relative
    to; the output of processes goes to ``logs``.

    A process that ends by itself fails every expectation from then on, or else the end.
    """

    def __init__(
        self, folder: Path | str = '.', logs: Path | None = None, *, armed: bool = False,
    ) -> None:
        self._folder = Path(folder).absolute()
        self._armed = armed
        self._stack = ExitStack()
        self._temporary = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        self._logs = (logs or self._temporary / 'logs').absolute()
        self._processes: Processes | None = None
        self.domain: int | None = None
        """The ROS domain of its own; None where it is that of this shell."""
        self._started: dict[str, ProcessSpec] = {}
        self._lasting: set[str] = set()
        self._told: set[str] = set()
        self._scout: Any = None
        self._watches = False
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
        with self._stack:
            if error is None:
                self._check(self._told)

    def close(self) -> None:
        """Stop what was started and leave the graph."""
        self._stack.close()

    @plain
    def start(
        self, name: str, command: str | Sequence[str],
        environment: Mapping[str, str] | None = None, *, may_exit: bool = False,
    ) -> int:
        """Start a process in ``folder`` and return its pid. No shell reads the command.

        One that ends before it is stopped is a failure, whatever its code, unless it ``may_exit``.
        """
        words = command if isinstance(command, str) else list(command)
        process = {'name': name, 'command': words, 'environment': dict(environment or {}),
                   'may_exit': may_exit}
        spec = self._spec('1 s', ('system', 'processes', 0), system={'processes': [process]},
                          graph={'unique_names': True}).spec
        assert spec.system is not None
        own = self._own_processes()
        given = process_spec(spec.system.processes[0], self._folder, self._logs)
        return self._start(own, given, spec)

    @plain
    def stop(self, name: str) -> Exit:
        """Stop a process that was started here and return how it ended."""
        return self._own_processes().stop(name)

    @plain
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
            given = process_spec(process, loaded.path.parent.absolute(), self._logs)
            self._start(own, given, loaded.spec)
        ready = system.ready
        topics = ['/clock', *ready.topics] if self._backend else ready.topics
        self.wait_for(topics, ready.services, ready.nodes, format_ns(ready.timeout))
        return loaded

    @plain
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
        simulation = Simulation(adapter, self._check)
        simulation.connect(timeout)
        return simulation

    def _start_simulator(self, spec: TestSpec, folder: Path) -> None:
        simulator = spec.system.simulator if spec.system else None
        if simulator is None or not simulator.started:
            return
        own = self._own_processes()
        self._stack.enter_context(environment_for(self.domain or 0, self._logs, simulator))
        for process in simulator_specs(spec, folder, self._logs):
            self._start(own, process, spec)
        self._backend = 'gazebo' if simulator.backend == 'gazebo' else 'standard'

    @plain
    def wait_for(
        self, topics: Sequence[str] = (), services: Sequence[str] = (),
        nodes: Sequence[str] = (), timeout: str = '30 s',
    ) -> None:
        """Wait until topics have a publisher, services a server, and nodes are there."""
        wanted = {'topics': topics, 'services': services, 'nodes': nodes}
        given = self._spec('1 s', ('system', 'ready'), graph={'unique_names': True}, system={
            'ready': {'timeout': timeout, **{key: _listed(names)
                                             for key, names in wanted.items()}}})
        assert given.spec.system is not None
        ready = given.spec.system.ready
        self._node()
        deadline = time.monotonic() + ready.timeout / NS_PER_S
        while lacking := self._scout.missing(ready.topics, ready.services, ready.nodes):
            what = ', '.join(lacking)
            self._check(while_=f' while waiting for {what}')
            if time.monotonic() > deadline:
                raise ExpectationError(f'after {timeout} still missing: {what}')
            time.sleep(PAUSE_S)
        self._check()

    @plain
    def monitor(self, topic: str, type: str | None = None, over: str = '3 s') -> Monitor:
        """Begin to watch a topic; what is expected of it is judged over at least ``over``."""
        # What is wrong is said before anything is done.
        self._spec(over, ('topics', topic), 'over',
                   topics={topic: _given(type=type, stamps='increasing')})
        self._check()
        live = import_live()
        wanted = [live.Wanted(topic, type)]
        simulated = bool(self._backend)
        if simulated and topic != CLOCK_TOPIC:
            wanted.append(live.Wanted(CLOCK_TOPIC))
        monitor = Monitor(self._probe(wanted), topic, over, self._temporary, type=type,
                          simulated=simulated, check=self._check)
        self._stack.callback(monitor.close)
        return monitor

    @plain
    def expect(self, over: str = '5 s', **blocks: Any) -> list[CheckPart]:
        """Watch for ``over`` and judge any blocks of a spec: nodes, services, tf, rules ...

        What would act on a robot that was not started here needs ``allow``, as in a spec, and a
        Robot that is armed.
        """
        started = self._processes is not None
        if started:
            blocks.setdefault('allow', list(get_args(Allowed)))
        loaded = self._spec(over, (), 'over', **blocks)
        if not started:
            self._check_armed(loaded.spec)
        self._check()
        _, report = run_live(loaded, RunOptions(self._temporary / 'run', armed=True))
        self._check()
        return assert_passed(report)

    @plain
    def scenario(
        self, steps: Sequence[Mapping[str, Any]], duration: str, **blocks: Any
    ) -> list[CheckResult]:
        """Play the steps of a scenario and take back what they did; monitors go on meanwhile.

        A step that could not be carried out raises ExpectationError. Faults on topics need a
        spec, because relays have to be there before the processes start. What acts on a robot
        that was not started here needs ``allow``, as in a spec, and a Robot that is armed.
        """
        from robot_qa.scenario.conditions import condition_topics
        from robot_qa.scenario.stage import Stage

        loaded = self._scenario_spec(steps, duration, blocks)
        self._check_armed(loaded.spec)
        self._check()
        self._check_relays(loaded.spec)
        live, length_ns = import_live(), loaded.spec.duration
        with ExitStack() as stack:
            # Left last, when everything was taken back.
            dead_man = stack.enter_context(guarded(loaded.spec))
            probe = self._probe([live.Wanted(one) for one in condition_topics(loaded.spec)])
            stack.callback(probe.close)
            # Upon the node that knows the graph already: a new one would act late at first.
            stage = Stage(loaded, self._node(), TypeStore(), length_ns, lambda *event: None)
            stack.callback(stage.close)
            stage.prepare(self._processes, self._started)
            stack.callback(stage.end, lambda: False)
            probe.begin()
            stage.begin()
            end = time.monotonic() + length_ns / NS_PER_S
            while time.monotonic() < end:
                stage.update(probe.drain())
                stage.wait(PAUSE_S)
                self._lasting -= stage.killed
                self._check()
                if dead_man is not None:
                    dead_man.check()
        results = stage.results()
        self._check()
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

    def _check_armed(self, spec: TestSpec) -> None:
        """Raise UnarmedError when this would act on a robot that was not started here."""
        deeds = [] if self._armed else acts_on_hardware(spec)
        if deeds:
            raise UnarmedError(
                f'this acts on a robot that the test has not started ({", ".join(deeds)}): keep '
                'people and the emergency stop in mind, and let it by pytest --qa-armed or, '
                'without the fixture, Robot(armed=True)')

    def _check_relays(self, spec: TestSpec) -> None:
        """Raise ValueError where there is no relay that could carry out a fault."""
        from robot_qa.scenario.fault_actor import node_name, relays

        nodes = [f'/{node_name(topic)}' for topic, _ in relays(spec)]
        try:
            if nodes:
                self.wait_for(nodes=nodes, timeout=DISCOVERY)
        except ExpectationError as error:
            raise ValueError(f'{error}. A fault on a topic needs a relay that is there before the '
                             'processes start: put the step into a spec, whose run starts '
                             'both') from None

    def _spec(
        self, duration: str, inside: KeyPath = (), called: str = 'duration', /, **blocks: Any,
    ) -> LoadedSpec:
        if self._backend:
            blocks['clock'] = 'ros'
        return fragment(self._temporary, duration, blocks, inside, called)

    def _own_processes(self) -> Processes:
        if self._processes is None:
            if self._watches:
                raise ValueError('start what is under test before anything is watched: what is '
                                 'started gets a ROS domain of its own')
            claim = self._stack.enter_context(claim_domain())
            self.domain = claim.id
            self._stack.enter_context(environment_for(claim.id, self._logs))
            self._processes = self._stack.enter_context(
                Processes(self._logs, inherit_fd=claim.fileno()))
        return self._processes

    def _start(self, processes: Processes, process: ProcessSpec, spec: TestSpec) -> int:
        self._check()  # the end of one before with this name would be forgotten
        pid = processes.start(process)
        self._started[process.name] = process
        self._lasting.discard(process.name)
        self._lasting |= {process.name} & set(lasting_processes(spec).values())
        return pid

    def _check(self, but: Collection[str] = (), *, while_: str = '') -> None:
        """Raise ExpectationError if a process has ended by itself that may not."""
        ended = self._processes.poll() if self._processes else {}
        gone = [end for name, end in ended.items() if name in self._lasting and name not in but]
        self._told |= {end.name for end in gone}
        if gone:
            raise ExpectationError('\n'.join(
                f'{end.name} ended by itself with code {end.code}{while_}:\n{_tail(end.log)}'
                for end in gone))

    def _probe(self, wanted: list[Any]) -> Any:
        """Join the graph of the domain in which this process now is."""
        self._watches = True
        return import_live().LiveProbe(wanted)

    def _node(self) -> Any:
        """Return a node that looks at the graph and that nothing spins."""
        if self._scout is None:
            self._scout = self._probe([])
            self._stack.callback(self._scout.close)
        return self._scout.node


def _given(**keys: Any) -> dict[str, Any]:
    return {key: value for key, value in keys.items() if value is not None}


def _listed(names: Sequence[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)


def _tail(log: Path, lines: int = 10) -> str:
    return '\n'.join(log.read_text(errors='replace').splitlines()[-lines:])
