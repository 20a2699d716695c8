"""One run: a spec in, a report out. The only place that knows all the rooms."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from robot_qa.checks import CheckResult, Verdict
from robot_qa.companions import import_live
from robot_qa.draft import GraphSurvey, Survey
from robot_qa.expectations import KINDS
from robot_qa.live_run import Run, RunOptions
from robot_qa.messages.typestore import TypeStore
from robot_qa.panel import Panel, clock_first
from robot_qa.probes.bag import BagProbe
from robot_qa.report.model import Report
from robot_qa.run_folder import Cost, RunFolder, environment, utc_now
from robot_qa.spec.graph import graph_interest
from robot_qa.spec.loader import LoadedSpec
from robot_qa.spec.model import declared_checks
from robot_qa.timebase import NS_PER_S

DISCOVERY_S = 3.0


def check_recording(
    loaded: LoadedSpec, bag: Path, out: Path | None = None
) -> tuple[Path, Report]:
    """Judge a recording by a spec; return the run's folder and the report in it.

    Raises RecordingError when nothing can be read.
    """
    folder = RunFolder(loaded, out)
    started = utc_now()
    cost = Cost()
    probe = BagProbe(bag, _topics_of(loaded))
    try:
        panel = Panel(loaded, probe.store)
        while not probe.done:
            panel.update(clock_first(probe.drain()))
        seen = probe.observation()
        recorded = _recorded_checks(probe.session)
        results = [
            *recorded, *_unplayed(loaded, recorded), *panel.results(seen, final=True)]
    finally:
        probe.close()
    report = folder.write(
        started=started, results=results, seen=seen, messages=panel.messages, cost=cost,
        clocks=panel.host_clocks, explained=panel.explained,
        environment={**environment(), 'recording': str(bag)},
    )
    return folder.path, report


def draft_recording(name: str, bag: Path) -> str:
    """Return a spec drafted from a recording."""
    probe = BagProbe(bag)
    try:
        survey = Survey(probe.types, probe.store)
        while not probe.done:
            survey.take(probe.drain())
        return survey.spec(name, probe.observation())
    finally:
        probe.close()


def run_live(loaded: LoadedSpec, options: RunOptions) -> tuple[Path, Report]:
    """Start what the spec names, or attach to what runs; watch, judge, write the report.

    The report is written whatever happens in between: a system that does not come up, a process
    that dies, an interrupt. Raises SetupError when there is no ROS to watch.
    """
    run = Run(loaded, options)
    return run.folder.path, run.go()


def draft_live(name: str, duration_ns: int) -> str:
    """Return a spec drafted from what the graph of this shell does for ``duration_ns``."""
    live = import_live()
    from robot_qa.probes.graph import GraphProbe

    with ExitStack() as stack:
        scout = live.LiveProbe([])
        stack.callback(scout.close)
        types: dict[str, str] = {}
        deadline = time.monotonic() + DISCOVERY_S
        while time.monotonic() < deadline:
            # What is published only; a topic of several types gets its first.
            types = {
                topic: kinds[0] for topic, kinds in scout.node.get_topic_names_and_types()
                if scout.node.count_publishers(topic)
            }
            time.sleep(0.1)
        survey = Survey(types, TypeStore())
        probe = live.LiveProbe([live.Wanted(topic, types[topic]) for topic in survey.topics])
        stack.callback(probe.close)
        deadline = time.monotonic() + DISCOVERY_S
        while probe.missing(list(survey.topics), [], []) and time.monotonic() < deadline:
            probe.drain()
            time.sleep(0.02)
        graph = GraphSurvey([
            f'{space.rstrip("/")}/{node}'
            for node, space in scout.node.get_node_names_and_namespaces()
            if not node.startswith('_')
        ], TypeStore())
        interest = graph_interest(graph.spec)
        assert interest is not None
        graph_probe = GraphProbe(scout.node, interest)
        stack.callback(graph_probe.close)
        probe.begin()
        graph_probe.begin()
        end = time.monotonic() + duration_ns / NS_PER_S
        while time.monotonic() < end:
            survey.take(probe.drain())
            graph.take(graph_probe.drain())
            time.sleep(live.POLL_PERIOD_S)
        return survey.spec(name, probe.observation(), graph)


def _topics_of(loaded: LoadedSpec) -> list[str]:
    return Panel(loaded, TypeStore()).topics


def _unplayed(loaded: LoadedSpec, recorded: list[CheckResult]) -> list[CheckResult]:
    """Return the checks on a scenario of which the recording says nothing."""
    known = {result.name for result in recorded}
    return [
        CheckResult(name, Verdict.INCONCLUSIVE, 'the recording does not say what of the scenario '
                    'was played', loaded.source(place))
        for name, place in declared_checks(loaded.spec)
        if place[0] == 'scenario' and place[-1] not in KINDS and name not in known
    ]


def _recorded_checks(session: Any) -> list[CheckResult]:
    """Return the checks on the run itself that our own recording keeps."""
    recorded = (session or {}).get('run_checks') or []
    return [
        CheckResult(one['name'], Verdict(one['verdict']), one['reason'], 'recording:1:1')
        for one in recorded
    ]
