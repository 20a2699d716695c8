"""What the steps of a scenario expect of checks: to recover, to hold all the same, to fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import numpy as np

from robot_qa.checks import CheckResult, Verdict
from robot_qa.monitor_set import MonitorSet
from robot_qa.monitors.base import CLOCK_TOPIC, SimulatedClock
from robot_qa.probes.batch import Batch, Observation
from robot_qa.probes.journal import PREFIX, SCENARIO, entries
from robot_qa.spans import Memory, Span
from robot_qa.spec.scenario import Step
from robot_qa.spec.scenario_order import name_of
from robot_qa.spec.scenario_played import Played
from robot_qa.timebase import NS_PER_S, format_ns

JOURNAL = PREFIX + SCENARIO
Kind = Literal['recovers', 'holds_during', 'expected_to_fail']
KINDS: tuple[Kind, ...] = ('recovers', 'holds_during', 'expected_to_fail')
# A span without any sample that is longer than this is not passed over.
BRIEF_NS = NS_PER_S
# Makes the monitors of some checks, given with where the spec asks for them.
Make = Callable[[Mapping[str, str], SimulatedClock], MonitorSet]
Instant = Callable[[], int | None]


@dataclass(frozen=True)
class Moment:
    """When something happened: system clock and, where time is simulated, simulated time."""

    system_ns: int
    simulated_ns: int | None

    def later(self, ns: int, clock: SimulatedClock | None) -> int | None:
        """Return the time ``ns`` later on the clock of the run, as system time.

        None where simulated time has not come so far. It goes on after a reset.
        """
        if not ns or clock is None or self.simulated_ns is None:
            return self.system_ns + ns
        tick = int(np.searchsorted(clock.received.values, self.system_ns, side='right')) - 1
        passed = int(clock.elapsed.values[tick]) if tick >= 0 else 0
        index = int(np.searchsorted(clock.elapsed.values, passed + ns))
        return int(clock.received.values[index]) if index < len(clock.elapsed) else None


@dataclass
class Episode:
    """One time that a step was played; it is over when it is undone."""

    step: int
    begun: Moment
    done: Moment | None = None
    over: Moment | None = None


@dataclass
class Window:
    """Some checks over a span that is known bit by bit."""

    checks: list[str]
    start: Instant
    end: Instant
    span: Span | None = None
    results: Mapping[str, CheckResult] = field(default_factory=dict)
    is_over: bool = False

    def close(self, stamp_ns: int) -> None:
        """Let it end at a time, unless it ends earlier."""
        before = self.end
        self.end = lambda: min(stamp_ns, before() or stamp_ns)


@dataclass
class Expectation:
    """One expectation of one step, and a window for each time that the step was played."""

    kind: Kind
    step: int
    name: str
    within_ns: int | None
    # The names that the spec gives, each with the checks that it means.
    meant: dict[str, list[str]]
    windows: list[Window] = field(default_factory=list)

    @property
    def checks(self) -> list[str]:
        """All the checks that it is about."""
        return sorted({name for names in self.meant.values() for name in names})


class Expectations:
    """Follows a scenario by its journal, and judges checks over the spans that it gives.

    A check that a step expects to fail does not count while that step lasts, nor while the step
    gives it time to recover: it is judged over each span in between, and the worst one counts.
    What has no "for" lasts to the end of the run for the checks that it gives no time to recover.
    """

    def __init__(
        self, steps: list[Step], sources: Mapping[str, str], make: Make,
        clock: SimulatedClock | None,
    ) -> None:
        """Take where the spec asks for each check, and how monitors of some of them are made."""
        self._steps = steps
        self._played = Played(steps)
        self._sources = sources
        self._clock = clock
        self._make = make
        names = [name for name in sources if not name.startswith('scenario.')]
        self._all = [one for index in range(len(steps)) for one in _expected(steps, index, names)]
        failing = [one for one in self._all if one.kind == 'expected_to_fail']
        self._excepted_by = {index: {name for one in failing if one.step == index
                                     for name in one.checks} for index in range(len(steps))}
        # The windows of each check that steps expect to fail, and the times they were played.
        self.usual = {name: [Window([name], lambda: 0, _never)]
                      for one in failing for name in one.checks}
        self._exceptions: dict[str, list[Episode]] = {name: [] for name in self.usual}
        self._episodes: dict[tuple[int, int], Episode] = {}
        looked_at = self._monitors(names, SimulatedClock())
        self.topics = {JOURNAL, *looked_at.topics}
        self._memory = Memory({CLOCK_TOPIC, *looked_at.topics_before})

    def update(self, batches: list[Batch]) -> None:
        """Take what was drained; the run's clock has taken the ticks in it."""
        for batch in batches:
            if batch.topic == JOURNAL:
                for stamp, entry in entries(batch):
                    index = self._played.step(entry)
                    if index is not None:
                        moment = Moment(stamp, entry.get('simulated_ns'))
                        self._follow(entry['event'], index, entry['occurrence'], moment)
        spans = sorted(self._open_spans(), key=lambda span: span.start_ns)
        for batch in batches:
            for span in spans:
                span.take(batch)
            self._memory.take(batch)

    def results(self, seen: Observation, final: bool) -> Iterator[CheckResult]:
        """Yield what each check with exceptions, and each expectation, came to."""
        if (why := self._played.misfit) is not None:
            for name in [*self.usual, *(one.name for one in self._all)]:
                yield CheckResult(name, Verdict.INCONCLUSIVE, why, self._sources[name])
            return
        for window in self._windows():
            if window.span is not None and not window.is_over:
                window.is_over = final or window.span.is_over(seen.end_ns)
                window.results = window.span.results(seen, window.is_over)
        for name, windows in self.usual.items():
            yield _folded(name, self._sources[name], windows)
        for one in self._all:
            verdict, reason = _judge(one, final)
            yield CheckResult(one.name, verdict, reason, self._sources[one.name])

    def _monitors(self, names: list[str], clock: SimulatedClock) -> MonitorSet:
        return self._make({name: self._sources[name] for name in names}, clock)

    def _windows(self) -> Iterator[Window]:
        for one in self._all:
            yield from one.windows
        for windows in self.usual.values():
            yield from windows

    def _open_spans(self) -> Iterator[Span]:
        """Yield the spans that have begun and may not be over, as far as is known now."""
        for window in self._windows():
            if window.is_over:
                continue
            if window.span is None and (start := window.start()) is not None:
                end = window.end()
                if end is None or start < end:
                    window.span = Span(
                        start, partial(self._monitors, window.checks), self._memory)
            if window.span is not None:
                window.span.end_ns = window.end()
                yield window.span

    def _follow(self, event: str, index: int, occurrence: int, moment: Moment) -> None:
        if event == 'begun':
            episode = Episode(index, moment)
            self._episodes[index, occurrence] = episode
            self._interrupt(episode)
            for one in self._all:
                if one.step == index:
                    one.windows.append(self._window(one, episode))
            return
        if (index, occurrence) not in self._episodes:
            return
        episode = self._episodes[index, occurrence]
        if event == 'done':
            episode.done = moment
        if event in {'undone', 'failed'}:
            episode.over = moment

    def _interrupt(self, episode: Episode) -> None:
        """Let the checks that a step expects to fail not count until it is over."""
        excepted = self._excepted_by[episode.step]
        stamp = episode.begun.system_ns
        for one in self._all:
            if one.kind == 'recovers' and excepted & set(one.checks):
                for window in one.windows:
                    window.close(stamp)
        for name in excepted:
            self.usual[name][-1].close(stamp)
            self._exceptions[name].append(episode)
            start = partial(self._all_over, list(self._exceptions[name]), name)
            self.usual[name].append(Window([name], start, _never))

    def _all_over(self, episodes: list[Episode], name: str) -> int | None:
        """Return when a check counts again after these episodes; None if that is not known."""
        times = [self._counts_again(episode, name) for episode in episodes]
        known = [time for time in times if time is not None]
        return max(known) if len(known) == len(times) else None

    def _counts_again(self, episode: Episode, name: str) -> int | None:
        within = [one.within_ns or 0 for one in self._all
                  if one.kind == 'recovers' and one.step == episode.step and name in one.checks]
        if not within and not self._ends(episode):
            return None
        return self._recovered(episode, max(within, default=0))

    def _recovered(self, episode: Episode, within_ns: int) -> int | None:
        # What has no "for" is there to stay: others have to get over it.
        moment = episode.over if self._ends(episode) else episode.done
        return moment.later(within_ns, self._clock) if moment else None

    def _ends(self, episode: Episode) -> bool:
        return self._steps[episode.step].for_ is not None

    def _window(self, one: Expectation, episode: Episode) -> Window:
        if one.kind == 'recovers':
            return Window(one.checks, lambda: self._recovered(episode, one.within_ns or 0), _never)
        begun = episode.begun

        def end() -> int | None:
            over = episode.over.system_ns if episode.over and self._ends(episode) else None
            within = None if one.within_ns is None else begun.later(one.within_ns, self._clock)
            return min((time for time in (over, within) if time is not None), default=None)

        return Window(one.checks, lambda: begun.system_ns, end)


def _never() -> int | None:
    return None


def _expected(steps: list[Step], index: int, names: list[str]) -> Iterator[Expectation]:
    """Yield the expectations of a step."""
    step = steps[index]
    for kind in KINDS:
        wanted = getattr(step, kind)
        if wanted is None:
            continue
        given = wanted if isinstance(wanted, list) else wanted.check
        meant = {
            short: [name for name in names if name == short or name.startswith(f'{short}.')]
            for short in given
        }
        within = None if isinstance(wanted, list) else wanted.within
        name = f'scenario.{name_of(steps, index)}.{kind}'
        yield Expectation(kind, index, name, within, meant)


def _judge(one: Expectation, final: bool) -> tuple[Verdict, str]:
    """Return the worst that a window came to."""
    if not one.windows:
        return Verdict.INCONCLUSIVE, 'its step was not played'
    if not final:
        return Verdict.INCONCLUSIVE, 'the run is not over'
    judged = [_window_verdict(one, window) for window in one.windows]
    worst = max(judged, key=lambda pair: pair[0].severity)
    if len(judged) == 1:
        return worst
    same = sum(verdict is worst[0] for verdict, _ in judged)
    return worst[0], f'{same} of {len(judged)} times: {worst[1]}'


def _window_verdict(one: Expectation, window: Window) -> tuple[Verdict, str]:
    if not window.results:
        what = 'its step was not over, or something else was expected to fail, before it could be'
        return Verdict.INCONCLUSIVE, f'no time was left to judge it: {what}'
    if one.kind == 'expected_to_fail':
        return max((_failed(short, [window.results[name] for name in names])
                    for short, names in one.meant.items()), key=lambda pair: pair[0].severity)
    worst = max(window.results.values(), key=lambda result: result.verdict.severity)
    return worst.verdict, f'{worst.name}: {worst.reason}'


def _failed(short: str, results: list[CheckResult]) -> tuple[Verdict, str]:
    """Judge whether one of the checks that a name means has failed, as it should."""
    by_verdict = {result.verdict: result for result in reversed(results)}
    for verdict, become, words in (
        (Verdict.ERROR, Verdict.ERROR, ''), (Verdict.FAIL, Verdict.PASS, 'failed as expected: '),
        (Verdict.INCONCLUSIVE, Verdict.INCONCLUSIVE, ''),
        (Verdict.PASS, Verdict.FAIL, 'did not fail: '),
    ):
        if verdict in by_verdict:
            result = by_verdict[verdict]
            return become, f'{result.name} {words}{result.reason}'
    raise AssertionError(f'{short} means no check')


def _folded(name: str, source: str, windows: list[Window]) -> CheckResult:
    """Return the worst of the spans in which a check counts.

    One that is too short to be decided does not count beside others that are; one in which there
    was nothing at all does, unless it is brief.
    """
    judged = [(window, window.results[name]) for window in windows if name in window.results]
    decided = [pair for pair in judged if pair[1].verdict is not Verdict.INCONCLUSIVE]
    empty = [
        (window, result) for window, result in judged
        if result.verdict is Verdict.INCONCLUSIVE and _is_empty(result)
        and window.span is not None and window.span.length_ns > BRIEF_NS
    ]
    count = [*decided, *empty] or judged
    if not count:
        return CheckResult(
            name, Verdict.INCONCLUSIVE, 'there was no time in which it was not expected to fail',
            source)
    window, worst = max(count, key=lambda pair: pair[1].verdict.severity)
    if len(count) == 1:
        return worst
    assert window.span is not None
    lasting = format_ns(window.span.length_ns)
    return CheckResult(
        name, worst.verdict, f'{worst.reason} (the worst of {len(count)} spans in which it is not '
        f'expected to fail; this one lasted {lasting})', source, worst.measurement)


def _is_empty(result: CheckResult) -> bool:
    return result.measurement is None or result.measurement.count == 0
