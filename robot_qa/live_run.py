"""A live run, phase by phase: start, wait until ready, watch, judge, stop."""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from robot_qa.bring_up import (
    Interrupts,
    environment_for,
    process_spec,
    simulator_specs,
)
from robot_qa.checks import CheckResult, Verdict
from robot_qa.companions import Companion, guarded, import_live, live_companions
from robot_qa.domains import claim_domain
from robot_qa.errors import RobotQaError
from robot_qa.messages.typestore import TypeStore
from robot_qa.panel import Panel, clock_first
from robot_qa.probes.batch import Batch, Observation
from robot_qa.probes.recorder import Recorder
from robot_qa.processes import Processes, ProcessSpec
from robot_qa.report.model import Report
from robot_qa.report.view import QuietView, View
from robot_qa.run_checks import UNOBSERVED, RunChecks, RunStoppedError, lasting_processes
from robot_qa.run_folder import Cost, RunFolder, environment, utc_now
from robot_qa.spec.hardware import check_harmless
from robot_qa.spec.loader import LoadedSpec
from robot_qa.spec.system import System
from robot_qa.timebase import NS_PER_S, format_ns

if TYPE_CHECKING:
    from robot_qa.probes.live import LiveProbe
    from robot_qa.scenario.deadman import DeadMan
    from robot_qa.scenario.stage import Stage

SHOW_PERIOD_S = 1.0
# Under simulation the wall clock bounds a run whose simulated time stands still.
SLOWEST_SIMULATION = 10
SPARE_S = 60.0
DISCOVERY_S = 5.0


@dataclass(frozen=True)
class RunOptions:
    """How a run is made: where its folder goes, and what departs from the spec.

    ``armed`` lets it do what the spec allows to a robot that it has not started.
    """

    out: Path | None = None
    duration_ns: int | None = None
    record: bool = False
    view: View = field(default_factory=QuietView)
    armed: bool = False


class Run:
    """A live run, phase by phase: start, wait until ready, watch, judge, stop."""

    def __init__(self, loaded: LoadedSpec, options: RunOptions) -> None:
        """Raise UnarmedError when it would act on a robot without being armed."""
        if not options.armed:
            check_harmless(loaded.spec)
        self._loaded = loaded
        self._spec = loaded.spec
        self._system = loaded.spec.system or System()
        self._options = options
        self._view = options.view
        self._duration_ns = options.duration_ns or loaded.spec.duration
        self.folder = RunFolder(loaded, options.out)
        self._started = utc_now()
        self._run_checks = RunChecks(loaded.spec, loaded.path)
        self.results: list[CheckResult] = []
        self._store = TypeStore()
        self._panel = Panel(loaded, self._store)
        self._processes: Processes | None = None
        self._recorder: Recorder | None = None
        self._companions: list[Companion] = []
        self._stage: Stage | None = None
        self._interrupts = Interrupts()
        self._said_hurried = False
        self._guarding = ExitStack()
        self._dead_man: DeadMan | None = None
        self._cost = Cost()
        self._observing = False
        self._run_checks.fine['run.duration'] = f'observed for {format_ns(self._duration_ns)}'
        self._begun = time.monotonic()
        timeout = loaded.spec.timeout
        self._deadline = self._begun + timeout / NS_PER_S if timeout else None

    def go(self) -> Report:
        """Make the run and return its report."""
        with ExitStack() as stack:
            stack.callback(self._view.close)
            stack.enter_context(self._interrupts)
            probe = self._open(stack)
            try:
                with self._faults_noted():
                    self._bring_up(probe)
                    self._watch(probe)
                self._interrupts.calm()
            except KeyboardInterrupt:
                self._event('interrupted')
                self._fault('run.duration', Verdict.INCONCLUSIVE, 'stopped by an interrupt '
                            f'after {self._elapsed_s():.1f} s')
            with self._faults_noted():
                if self._stage is not None:
                    self._stage.end(self._is_hurried)
            with self._faults_noted():
                self._take(probe)
            return self._conclude(probe)

    @contextmanager
    def _faults_noted(self) -> Iterator[None]:
        """Make what breaks off here a check on the run, so that its report is still written."""
        try:
            yield
        except RunStoppedError as stop:
            self._fault(stop.check, stop.verdict, stop.reason)
        except RobotQaError as error:
            self._fault('run', Verdict.ERROR, str(error))
        except Exception as error:
            self._event('traceback', ''.join(traceback.format_exception(error)))
            self._fault('run', Verdict.ERROR, f'{type(error).__name__}: {error}; '
                        f'the traceback is in {self.folder.path / "timeline.jsonl"}')

    def _is_hurried(self) -> bool:
        hurried = self._interrupts.count > 1
        if hurried and not self._said_hurried:
            self._said_hurried = True
            self._event('hurried')
            self._view.say('taking back what the scenario did, with little patience now; '
                           'the report follows')
        return hurried

    def _open(self, stack: ExitStack) -> LiveProbe:
        """Claim a domain of our own, unless we attach to a running system; join the graph."""
        domain = None
        simulator = self._system.simulator
        if self._system.processes or (simulator and simulator.started):
            claim = stack.enter_context(claim_domain())
            domain = claim.id
            stack.enter_context(
                environment_for(domain, self.folder.path / 'logs', simulator))
            self._processes = stack.enter_context(
                Processes(self.folder.path / 'logs', inherit_fd=claim.fileno())
            )
        live = import_live()
        # Left last: by then everything that commands and sends goals has taken them back.
        self._guarding = stack.enter_context(ExitStack())
        wanted = []
        names = set(self._panel.ros_topics)
        if self._spec.scenario:
            from robot_qa.scenario.conditions import condition_topics

            names.update(condition_topics(self._spec))
        for name in sorted(names):
            topic = self._spec.topics.get(name)
            rate = None
            if topic is not None:
                limits = topic.rate
                rate = topic.expected_rate or (limits.max or limits.min if limits else None)
            wanted.append(live.Wanted(name, topic.type if topic else None, rate))
        probe: LiveProbe = live.LiveProbe(wanted, domain)
        stack.callback(probe.close)
        self._companions = live_companions(
            self._loaded, probe.node, self._store, self._processes)
        for companion in self._companions:
            stack.callback(companion.close)
        if self._spec.scenario:
            from robot_qa.scenario.stage import Stage

            self._stage = Stage(
                self._loaded, probe.node, self._store, self._duration_ns, self._event)
            stack.callback(self._stage.close)
        self._event('joined', 'the graph of this shell' if domain is None else f'domain {domain}')
        return probe

    def _bring_up(self, probe: LiveProbe) -> None:
        """Start the processes and wait until everything named in ``ready`` is there."""
        system = self._system
        if self._processes is None:
            self._view.say('attaching to the running graph')
            self._discover(probe)
            self._wait_ready(probe, system)
            if system.simulator is not None:
                from robot_qa.scenario.stage import prove_simulated

                prove_simulated(self._spec, probe.node)
            self._prepare_stage({})
            return
        spec_folder = self._loaded.path.parent.absolute()
        logs = (self.folder.path / 'logs').absolute()
        specs = [process_spec(process, spec_folder, logs) for process in system.processes]
        specs[:0] = simulator_specs(self._spec, spec_folder, logs)
        if self._stage is not None:
            specs = self._stage.rewired(specs)
        for spec in specs:
            self._view.say(f'starting {spec.name}')
            pid = self._processes.start(spec)
            self._event('started', f'{spec.name}, pid {pid}')
        self._wait_ready(probe, system)
        self._discover(probe)
        self._prepare_stage({spec.name: spec for spec in specs})
        ready_s = time.monotonic() - self._begun
        self._run_checks.fine['system.ready'] = f'ready after {ready_s:.1f} s'
        self._event('ready')

    def _prepare_stage(self, specs: dict[str, ProcessSpec]) -> None:
        if self._stage is not None:
            self._stage.prepare(self._processes, specs)
        self._guard()

    def _guard(self) -> None:
        """Start what stops the robot if this run dies, where it moves one that runs already."""
        self._dead_man = self._guarding.enter_context(guarded(self._spec))

    def _wait_ready(self, probe: LiveProbe, system: System) -> None:
        ready = system.ready
        relays = [f'/{name}' for name in self._relays()]
        simulated = system.simulator is not None and system.simulator.simulates
        topics = ['/clock', *ready.topics] if simulated else ready.topics
        deadline = time.monotonic() + ready.timeout / NS_PER_S
        while True:
            self._drain(probe)
            lacking = probe.missing(topics, ready.services, [*ready.nodes, *relays])
            if not lacking:
                return
            self._check_processes('system.ready')
            if time.monotonic() > deadline:
                raise RunStoppedError(
                    'system.ready', Verdict.FAIL,
                    f'after {format_ns(ready.timeout)} still missing: {", ".join(lacking)}',
                )
            self._check_timeout()
            time.sleep(0.02)

    def _discover(self, probe: LiveProbe) -> None:
        """Give discovery its time: until all that the spec names was seen, at most 5 s.

        What never comes is for its checks to judge.
        """
        deadline = time.monotonic() + DISCOVERY_S
        while self._undiscovered(probe) and time.monotonic() < deadline:
            self._drain(probe)
            time.sleep(0.02)

    def _undiscovered(self, probe: LiveProbe) -> list[str]:
        missing = probe.missing(self._panel.ros_topics, [], [])
        for companion in self._companions:
            missing += companion.missing()
        return missing

    def _watch(self, probe: LiveProbe) -> None:
        """Drain, measure and show until the duration is over."""
        from robot_qa.probes.live import POLL_PERIOD_S

        probe.begin()
        for companion in self._companions:
            companion.begin()
        self._cost = Cost()
        self._begun = time.monotonic()
        if self._options.record:
            self._recorder = Recorder(self.folder.path / 'recording.mcap', self._store)
        self._observing = True
        self._event('observing')
        if self._stage is not None:
            self._stage.begin()
        self._view.say(f'watching {len(self._panel.ros_topics)} topics for '
                       f'{format_ns(self._duration_ns)}')
        shown = self._begun
        while self._elapsed_s() * NS_PER_S < self._duration_ns:
            self._take(probe)
            if self._dead_man is not None:
                self._dead_man.check()
            now = time.monotonic()
            if now - shown >= SHOW_PERIOD_S:
                shown = now
                results = self._panel.results(probe.observation(), final=False)
                self._view.show(results, self._elapsed_s(), self._duration_ns / NS_PER_S)
                if self._spec.stop_when_decided and self._panel.all_decided and (
                        self._stage is None or self._stage.is_over):
                    self._event('decided')
                    self._run_checks.fine['run.duration'] = (
                        f'every check was decided after {self._elapsed_s():.1f} s')
                    break
                self._check_processes('run.duration')
                self._check_timeout()
            if self._stage is not None:
                self._stage.wait(POLL_PERIOD_S)
            else:
                time.sleep(POLL_PERIOD_S)
        self._event('observed')

    def _drain(self, probe: LiveProbe) -> list[Batch]:
        batches = probe.drain()
        for companion in self._companions:
            batches += companion.drain()
        return batches if self._stage is None else [*self._stage.drain(), *batches]

    def _take(self, probe: LiveProbe) -> None:
        batches = clock_first(self._drain(probe))
        self._panel.update(batches)
        if self._stage is not None:
            self._stage.update(batches)
        if self._recorder is not None:
            for who in probe.newcomers():
                self._recorder.add_publisher(
                    who.topic, who.type, who.index, who.node, who.gid, who.qos
                )
            for batch in batches:
                self._recorder.write(batch)
            self._recorder.flush()

    def _elapsed_s(self) -> float:
        """Return how long we have watched, on the clock that the spec names."""
        clock = self._panel.clock
        if clock is None:
            return time.monotonic() - self._begun
        if not len(clock.elapsed):
            return 0.0
        return float(clock.elapsed.values[-1]) / NS_PER_S

    def _check_processes(self, stopped: str) -> None:
        """Note what ended by itself; stop the run when nothing under test is left."""
        if self._processes is None:
            return
        ended = self._processes.poll()
        mandatory = lasting_processes(self._spec)
        killed = self._stage.killed if self._stage else set()
        for check, name in mandatory.items():
            if name in ended and name not in killed and check not in self._run_checks:
                reason = f'ended by itself with code {ended[name].code}; see {ended[name].log}'
                self._event('exited', f'{name}: {reason}')
                self._fault(check, Verdict.FAIL, reason)
        for name in self._relays():
            if name in ended:
                raise RunStoppedError(f'system.{name}', Verdict.ERROR, (
                    f'ended by itself with code {ended[name].code}, so that nothing reached those '
                    f'who listen any more; see {ended[name].log}'))
        gone = 'system.simulator' in mandatory and 'simulator' in ended
        if gone or (mandatory and all(name in ended for name in mandatory.values())):
            raise RunStoppedError(
                stopped, Verdict.INCONCLUSIVE, 'the system under test ended '
                f'{self._elapsed_s():.1f} s into the observation',
            )

    def _relays(self) -> list[str]:
        """Return the processes of ours that every message on a topic with faults goes through."""
        return self._stage.relays if self._stage is not None and self._processes else []

    def _check_timeout(self) -> None:
        deadline = self._deadline
        if deadline is None and self._panel.clock is not None:
            spare = SLOWEST_SIMULATION * self._duration_ns / NS_PER_S + SPARE_S
            deadline = self._begun + spare
        if deadline is not None and time.monotonic() > deadline:
            raise RunStoppedError(
                'run.duration', Verdict.INCONCLUSIVE,
                f'the timeout came after {self._elapsed_s():.1f} s of '
                f'{format_ns(self._duration_ns)}',
            )

    def _conclude(self, probe: LiveProbe) -> Report:
        """Judge what came, and write the report before anything is stopped."""
        seen = probe.observation()
        judged = self._panel.results(seen, final=True)
        if not self._observing:  # or a silent topic would have a rate of 0 Hz
            judged = [CheckResult(one.name, Verdict.INCONCLUSIVE, UNOBSERVED, one.source)
                      for one in judged]
        self.results = [*self._all_run_checks(), *judged]
        if self._recorder is not None:
            self._close_recording(self._recorder, seen)
        return self.folder.write(
            started=self._started, results=self.results, seen=seen, messages=self._panel.messages,
            cost=self._cost, clocks=self._panel.host_clocks, explained=self._panel.explained,
            environment=environment(),
        )

    def _close_recording(self, recorder: Recorder, seen: Observation) -> None:
        recorder.close({
            'start_ns': seen.start_ns, 'end_ns': seen.end_ns, 'overruns': seen.overruns,
            'notes': seen.notes, 'clock': 'ros' if self._spec.on_ros_time else 'system',
            'run_checks': [
                {'name': result.name, 'verdict': result.verdict.value, 'reason': result.reason}
                for result in self._all_run_checks()
            ],
        })

    def _all_run_checks(self) -> list[CheckResult]:
        stage = self._stage
        if stage is not None:
            self._run_checks.fine |= {
                check: 'killed by the scenario'
                for check, name in lasting_processes(self._spec).items() if name in stage.killed}
        return [*self._run_checks.results(observed=self._observing),
                *(stage.results() if stage is not None else [])]

    def _fault(self, check: str, verdict: Verdict, reason: str) -> None:
        self._view.say(f'{verdict.value}  {check}: {reason}')
        self._run_checks.note(check, verdict, reason)

    def _event(self, event: str, detail: str = '') -> None:
        self.folder.note(event, detail)
        if event == 'cannot':
            self._view.say(f'cannot be done here: {detail}')
