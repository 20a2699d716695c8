"""A scenario in a live run: its clock, and who carries out which action."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from robot_qa.checks import CheckResult
from robot_qa.errors import RobotQaError, SetupError, SpecError
from robot_qa.messages.typestore import TypeStore
from robot_qa.monitors.base import Context
from robot_qa.probes.batch import Batch
from robot_qa.probes.clock import ClockReader
from robot_qa.probes.journal import SCENARIO, Journal
from robot_qa.processes import Processes, ProcessSpec
from robot_qa.scenario import (
    fault_actor,
    goal_actor,
    graph_actor,
    load_actor,
    process_actor,
    publish_actor,
    simulator_actor,
)
from robot_qa.scenario.conditions import ConditionWatch
from robot_qa.scenario.plan import Agenda
from robot_qa.scenario.player import Actor, Note, Player
from robot_qa.scenario.velocity import VelocityLimits
from robot_qa.scenario.written import written_problems
from robot_qa.simulators.base import Outcome, Simulator, make_simulator
from robot_qa.spec.hardware import deeds
from robot_qa.spec.loader import LoadedSpec
from robot_qa.spec.model import TestSpec, declared_checks
from robot_qa.spec.scenario_played import marks_of
from robot_qa.stats import Confidence
from robot_qa.timebase import NS_PER_S

# Between two looks at the clock: usually, and when something is soon due or under way.
PAUSE_S = 0.004
SHORT_S = 0.001
SOON_S = 0.02
# By how much playing is prolonged for what is under way or due within a pause.
LONGER_S = 0.01


class Stage:
    """Plays the scenario of a spec on a live system."""

    def __init__(
        self, loaded: LoadedSpec, node: Any, store: TypeStore, duration_ns: int, note: Note,
    ) -> None:
        """Take a node that no executor spins.

        SpecError: every field of a message, request or goal that its type does not have.
        """
        problems = list(written_problems(loaded.spec.scenario, store, loaded.marks))
        if problems:
            raise SpecError(problems)
        self._loaded = loaded
        self._node = node
        self._store = store
        self._duration_ns = duration_ns
        self._note = note
        self._clock = ClockReader(node) if loaded.spec.on_ros_time else None
        self._start_ns: int | None = None
        self._simulator: Simulator | None = None
        self._processes: process_actor.ProcessActor | None = None
        self._player: Player | None = None
        self._to_leave = ExitStack()
        self.relays: list[str] = []
        """The processes that relay topics with faults, of those that the run starts."""
        context = Context(store, None, Confidence(loaded.spec.confidence))
        self._journal = Journal(SCENARIO)
        self._marks = marks_of(loaded.spec.scenario)
        self._watches = {
            index: ConditionWatch(step.when, context)
            for index, step in enumerate(loaded.spec.scenario) if step.when is not None
        }

    @property
    def is_over(self) -> bool:
        """Whether nothing of it is still to come by itself."""
        return self._player is None or self._player.is_over

    @property
    def killed(self) -> set[str]:
        """The processes whose end is the scenario's doing."""
        return self._processes.killed if self._processes else set()

    def rewired(self, specs: list[ProcessSpec]) -> list[ProcessSpec]:
        """Return the processes of the run with relays between publishers and subscribers."""
        spec = self._loaded.spec
        words = fault_actor.remappings(spec)
        relays = [
            replace(specs[0], name=fault_actor.node_name(topic), cwd=None,
                    argv=fault_actor.relay_command(spec, topic))
            for topic, _ in fault_actor.relays(spec)
        ] if specs else []
        self.relays = [one.name for one in relays]
        return [*relays, *(
            replace(one, argv=(*one.argv, *words.get(one.name, ()))) for one in specs
        )]

    def prepare(self, processes: Processes | None, specs: Mapping[str, ProcessSpec]) -> None:
        """Find the simulator, and make everything that others have to discover in time."""
        spec = self._loaded.spec
        actors = self._actors_everywhere(processes)
        simulated = {step.kind for step in spec.scenario} & set(simulator_actor.KINDS)
        if simulated:
            system = spec.system
            backend = system.simulator.backend if system and system.simulator else 'none'
            self._simulator, outcome = _connected(backend, self._node)
            self._note('simulator', outcome.detail)
            folder = self._loaded.path.parent.absolute()
            actors |= dict.fromkeys(
                simulated, simulator_actor.SimulatorActor(self._simulator, folder))
        if processes is not None:
            self._processes = process_actor.ProcessActor(processes, specs, self._node)
            actors |= dict.fromkeys(process_actor.KINDS, self._processes)
        agenda = Agenda(spec.scenario, self._duration_ns, spec.seed)
        self._player = Player(spec.scenario, agenda, actors, self._note, self._mark)
        self._player.check()

    def _actors_everywhere(self, processes: Processes | None) -> dict[str, Actor]:
        """Return the actors that need neither a simulator nor processes of the run."""
        spec, node, store = self._loaded.spec, self._node, self._store
        graph = graph_actor.GraphActor(node, store)
        goals = goal_actor.GoalActor(node, store)
        load = load_actor.LoadActor(processes)
        for actor in (graph, goals, load):
            self._to_leave.callback(actor.close)
        actors: dict[str, Actor] = {
            **dict.fromkeys(graph_actor.KINDS, graph), **dict.fromkeys(goal_actor.KINDS, goals),
            **dict.fromkeys(load_actor.KINDS, load),
            **dict.fromkeys(fault_actor.KINDS, fault_actor.FaultActor(node, store)),
        }
        if any(step.publish is not None for step in spec.scenario):
            limits = {topic: VelocityLimits(given.linear, given.angular)
                      for topic, given in spec.velocity_limits.items()}
            publishing = publish_actor.PublishActor(
                node, store, on_ros_time=spec.on_ros_time, limits=limits)
            self._to_leave.callback(publishing.close)
            actors |= dict.fromkeys(publish_actor.KINDS, publishing)
        return actors

    def begin(self) -> None:
        """Let the time of the scenario begin now."""
        self._start_ns = self._time_ns()

    def drain(self) -> list[Batch]:
        """Return what the steps came to since the last call, as a batch of the journal."""
        return self._journal.drain()

    def update(self, batches: Iterable[Batch]) -> None:
        """Look at what has come for conditions."""
        if self._player is None or self._start_ns is None:
            return
        came = list(batches)
        for index, watch in list(self._watches.items()):
            try:
                for is_true in watch.update(came):
                    self._player.condition(index, is_true)
            except RobotQaError as error:
                del self._watches[index]
                self._player.give_up(index, str(error))

    def wait(self, seconds: float) -> None:
        """Play for so long on the wall clock."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, self._play()))
        # What is due at any moment does not wait for others to do their work first.
        while self._play() < PAUSE_S and time.monotonic() < end + LONGER_S:
            time.sleep(SHORT_S)

    def is_at_rest(self, time_ns: int) -> bool:
        """Tell whether the clock of the run is at ``time_ns``, with no action under way."""
        now_ns = time.monotonic_ns() if self._clock is None else self._clock.now_ns()
        return now_ns is not None and now_ns >= time_ns and not (
            self._player is not None and self._player.is_busy)

    def _play(self) -> float:
        """Do what is due now; return how long, in s, there is nothing more to do."""
        now_ns, player = self._time_ns(), self._player
        if now_ns is None or player is None:
            return PAUSE_S
        if self._start_ns is None:
            self._start_ns = now_ns
        player.work(now_ns - self._start_ns)
        if player.is_busy:
            return SHORT_S
        if player.next_ns is None:
            return PAUSE_S
        ahead_s = (player.next_ns - (now_ns - self._start_ns)) / NS_PER_S
        if self._clock is not None:
            # How fast simulated time goes is not known, nor when its next tick comes.
            return SHORT_S if ahead_s < SOON_S else PAUSE_S
        return min(PAUSE_S, max(0.0, ahead_s))

    def end(self, is_hurried: Callable[[], bool] = lambda: False) -> None:
        """Take back what is still in effect; for ``is_hurried`` see `Player.end`."""
        if self._player is not None and self._start_ns is not None:
            self._player.end(is_hurried)

    def close(self) -> None:
        """End what goes on by itself, leave the graph and the simulator."""
        self._to_leave.close()
        if self._simulator is not None:
            self._simulator.close()

    def results(self) -> list[CheckResult]:
        """Return the checks on the scenario itself."""
        if self._player is None:
            return []
        return self._player.results({
            name: self._loaded.source(place)
            for name, place in declared_checks(self._loaded.spec)
        })

    def _mark(self, event: str, step: int, occurrence: int) -> None:
        """Write into the journal what became of a step, and when on the clock of the run."""
        entry: dict[str, Any] = {'event': event, **self._marks[step], 'occurrence': occurrence}
        if self._clock is not None:
            entry['simulated_ns'] = self._clock.now_ns()
        self._journal.write(time.time_ns(), entry)

    def _time_ns(self) -> int | None:
        if self._clock is not None:
            return self._clock.elapsed_ns()
        return int(time.monotonic() * NS_PER_S)


def prove_simulated(spec: TestSpec, node: Any) -> None:
    """Let the simulator answer that a spec says runs already, before anything is done to it.

    SetupError: none does, and what runs here may be a robot.
    """
    simulator = spec.system.simulator if spec.system else None
    acts = deeds(spec)
    if simulator is None or not simulator.simulates or not acts:
        return
    found, outcome = _connected(simulator.backend, node)
    found.close()
    if not outcome.ok:
        raise SetupError(
            f'no simulator answers here ({outcome.detail}), and this spec acts on what it finds '
            f'({", ".join(acts)}); leave "simulator" out to test a robot')


def _connected(backend: str, node: Any) -> tuple[Simulator, Outcome]:
    """Return an adapter, and how finding its simulator went."""
    simulator = make_simulator(backend, node)
    connecting = simulator.connect()
    while (outcome := connecting.poll()) is None:
        time.sleep(PAUSE_S)  # polled, as no executor spins; connecting gives up by itself
    return simulator, outcome
