"""The folder of one run, and what is written into it."""

from __future__ import annotations

import os
import platform
import resource
import socket
import time
from datetime import datetime, timezone
from pathlib import Path

import robot_qa
from robot_qa.checks import CheckResult, fold
from robot_qa.monitors.clocks import Clocks
from robot_qa.perception.breakdown import Explained
from robot_qa.probes.batch import Observation
from robot_qa.report.model import (
    Event,
    MonitorPart,
    Report,
    check_part,
    clock_parts,
    perception_part,
)
from robot_qa.report.writers import write_atomically, write_report
from robot_qa.spec.loader import LoadedSpec
from robot_qa.timebase import NS_PER_S


class RunFolder:
    """The folder of one run and the report in it."""

    def __init__(self, loaded: LoadedSpec, out: Path | None) -> None:
        self._loaded = loaded
        if out is None:
            moment = datetime.now().strftime('%Y%m%d-%H%M%S')
            out = _fresh(Path('robot_qa_runs') / f'{loaded.spec.slug}-{moment}')
        self.path = out
        out.mkdir(parents=True, exist_ok=True)
        # What an earlier run left in the same folder must not pass for this one's.
        for stale in ('report.json', 'junit.xml', 'timeline.jsonl', 'recording.mcap'):
            (out / stale).unlink(missing_ok=True)
        # Not *.qa.yaml: pytest would collect it, and nobody wants to run it again.
        write_atomically(out / 'spec.yaml', loaded.text)
        self._timeline: list[Event] = []
        self._events = out / 'timeline.jsonl'
        self._events.touch()

    def note(self, event: str, detail: str = '') -> None:
        """Add what has just happened to ``timeline.jsonl``, where it stays whatever comes."""
        noted = Event(stamp_ns=time.time_ns(), event=event, detail=detail)
        self._timeline.append(noted)
        with self._events.open('a', encoding='utf-8') as file:
            file.write(noted.model_dump_json() + '\n')

    def write(
        self, *, started: str, results: list[CheckResult], seen: Observation, messages: int,
        cost: Cost, clocks: Clocks, explained: list[Explained], environment: dict[str, str],
    ) -> Report:
        """Write ``report.json`` and ``junit.xml``; return the report."""
        spec = self._loaded.spec
        report = Report(
            name=spec.name,
            verdict=fold(result.verdict for result in results).value,
            started=started,
            start_ns=seen.start_ns,
            duration_s=(seen.end_ns - seen.start_ns) / NS_PER_S,
            confidence=spec.confidence,
            environment=environment,
            monitor=MonitorPart(
                cpu_s=cost.cpu_s(), peak_rss_bytes=Cost.peak_rss_bytes(), messages=messages,
                overruns=seen.overruns,
                notes={topic: notes for topic, notes in seen.notes.items() if notes},
            ),
            clocks=clock_parts(clocks),
            perception=[perception_part(one) for one in explained],
            timeline=self._timeline,
            checks=[check_part(result) for result in results],
        )
        write_report(report, self.path, spec.inconclusive == 'skip')
        return report


class Cost:
    """The CPU time of this process since this object was made."""

    def __init__(self) -> None:
        self._start = time.process_time()

    def cpu_s(self) -> float:
        """Return user and system time of all threads, in seconds."""
        return time.process_time() - self._start

    @staticmethod
    def peak_rss_bytes() -> int:
        """Return the largest resident size this process has had."""
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def environment() -> dict[str, str]:
    """Return what a reader of the report wants to know of this machine."""
    names = ('ROS_DISTRO', 'ROS_DOMAIN_ID', 'RMW_IMPLEMENTATION', 'ROS_AUTOMATIC_DISCOVERY_RANGE')
    return {
        'robot_qa': robot_qa.__version__,
        'python': platform.python_version(),
        'platform': platform.platform(),
        'host': socket.gethostname(),
        'cpus': str(os.cpu_count()),
        'load': f'{os.getloadavg()[0]:.2f}',
        **{name: os.environ[name] for name in names if name in os.environ},
    }


def utc_now() -> str:
    """Return the time as ISO 8601."""
    return datetime.now(timezone.utc).isoformat(timespec='milliseconds')


def _fresh(path: Path) -> Path:
    """Return ``path``, or the first ``path-2``, ``path-3`` ... that is not there yet."""
    number, free = 2, path
    while free.exists():
        free = path.with_name(f'{path.name}-{number}')
        number += 1
    return free
