"""What must be right between the steps of a scenario: names, times, and who overrides what."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from robot_qa.errors import did_you_mean
from robot_qa.spec.parts import Finding
from robot_qa.spec.scenario import SIMULATOR, Step
from robot_qa.spec.system import System
from robot_qa.timebase import format_ns

MOST_TIMES = 10_000
# Checks of a topic with faults that see what happens behind its relay alone.
RELAYED = ('loss', 'transport')
PROCESS_ACTIONS = ('kill', 'stop', 'resume', 'restart')


def name_of(steps: list[Step], index: int) -> str:
    """Return the name of a step; its number if it has none. Names do not begin with digits."""
    return steps[index].name or str(index)


def order_findings(steps: list[Step], duration_ns: int) -> list[Finding]:
    """Return the mistakes in names and times; places count from the list of steps."""
    found = [*_duplicates(steps), *_unknown(steps), *_circles(steps)]
    if not found:
        found = list(_late(steps, duration_ns))
    return [*found, *_overlaps(steps, duration_ns)]


def process_findings(steps: list[Step], system: System | None) -> Iterator[Finding]:
    """Yield the processes that the run does not start, and the faults of which it has to know."""
    started = [process.name for process in system.processes] if system else []
    if system and system.simulator and system.simulator.started:
        started.append(SIMULATOR)
    for index, step in enumerate(steps):
        key: tuple[str, ...] = (step.kind,)
        name, names = step.action, started
        if step.fault is not None:
            key, name = ('fault', 'publisher'), step.fault.publisher
            names = possible_publishers(system)
        elif step.kind not in PROCESS_ACTIONS:
            continue
        if name is None or name in names:
            continue
        if not name.startswith('/'):
            yield (index, *key), (
                f'the run starts no process "{name}"{did_you_mean(name, names)} '
                f'(it starts {", ".join(names) or "none"})'
            )
        elif not names:
            yield (index, *key), (
                f'the run starts no process, so that it cannot kill that of {name}')
    yield from _publisher_findings(steps, possible_publishers(system))


def possible_publishers(system: System | None) -> list[str]:
    """Return the processes that may publish a topic with faults, the simulator being one."""
    if system is None:
        return []
    simulated = system.simulator is not None and system.simulator.simulates
    return [*(process.name for process in system.processes), *([SIMULATOR] if simulated else ())]


def publishers(steps: list[Step], names: list[str]) -> dict[str, str | None]:
    """Return which of the processes publishes each topic with faults; None if that is not known.

    ``names`` are those of all processes, "simulator" being the simulator's, which is taken for the
    publisher where there is one: it stands for all the sensors.
    """
    found: dict[str, str | None] = {}
    usual = 'simulator' if 'simulator' in names else names[0] if len(names) == 1 else None
    for step in steps:
        if step.fault is not None:
            said = step.fault.publisher or found.get(step.fault.topic)
            found[step.fault.topic] = said or usual
    said_by = {step.fault.topic: step.fault.publisher for step in reversed(steps)
               if step.fault is not None and step.fault.publisher is not None}
    return {**found, **said_by}


def _publisher_findings(steps: list[Step], names: list[str]) -> Iterator[Finding]:
    """Yield the topics whose publisher is not known, or said to be another one than before."""
    if not names:
        return
    known = publishers(steps, names)
    asked = set()
    for index, step in enumerate(steps):
        if step.fault is None:
            continue
        topic, said = step.fault.topic, step.fault.publisher
        if known[topic] is None and topic not in asked:
            asked.add(topic)
            yield (index, 'fault', 'topic'), (
                f'which of {", ".join(names)} publishes {topic} is not known: add '
                f'publisher: {names[0]}, or another one'
            )
        elif said is not None and said != known[topic]:
            yield (index, 'fault', 'publisher'), (
                f'{topic} is published by "{known[topic]}", as an earlier step says'
            )


def expectation_findings(steps: list[Step], checks: Collection[str]) -> Iterator[Finding]:
    """Yield the names of checks that neither are one of ``checks`` nor begin one."""
    known = {'.'.join(pieces[:count]) for pieces in (name.split('.') for name in checks)
             for count in range(1, len(pieces) + 1)}
    for index, step in enumerate(steps):
        wanted = (
            (('recovers', 'check'), step.recovers.check if step.recovers else []),
            (('holds_during',), step.holds_during or []),
            (('expected_to_fail', 'check'),
             step.expected_to_fail.check if step.expected_to_fail else []),
        )
        for keys, names in wanted:
            for place, name in enumerate(names):
                if name not in known:
                    near = did_you_mean(name, sorted(known))
                    yield (index, *keys, place), f'the spec has no check "{name}"{near}'
                elif keys[0] == 'expected_to_fail' and step.fault is not None and name.startswith(
                        tuple(f'topics.{step.fault.topic}.{key}' for key in RELAYED)):
                    yield (index, *keys, place), (
                        f'no fault on {step.fault.topic} makes "{name}" fail: it begins at the '
                        'relay, which numbers and sends anew what is left; gap, rate or latency '
                        'would show it')


def _duplicates(steps: list[Step]) -> Iterator[Finding]:
    names = [step.name for step in steps]
    for index, name in enumerate(names):
        if name is not None and names.index(name) < index:
            first = names.index(name)
            yield (index, 'name'), f'the name "{name}" is already taken by step {first}'


def _unknown(steps: list[Step]) -> Iterator[Finding]:
    by_name = {step.name: step for step in steps if step.name is not None}
    for index, step in enumerate(steps):
        if step.after is None:
            continue
        other = by_name.get(step.after)
        if other is None:
            near = did_you_mean(step.after, by_name)
            yield (index, 'after'), f'there is no step with the name "{step.after}"{near}'
        elif step.outcome == 'ended' and not other.has_end:
            yield (index, 'outcome'), (
                f'the step "{step.after}" has no "for", so it does not end before the run does'
            )


def _circles(steps: list[Step]) -> Iterator[Finding]:
    """Yield each circle of ``after`` once, at the first of its steps."""
    waits = {step.name: step.after for step in steps if step.name is not None}
    for index, step in enumerate(steps):
        if step.name is None:
            continue
        chain = [step.name]
        while (after := waits.get(chain[-1])) is not None and after not in chain:
            chain.append(after)
        first = next(name for name in waits if name in chain)
        if after == step.name == first:
            path = ' after '.join(f'"{name}"' for name in [*chain, step.name])
            yield (index, 'after'), f'the steps wait for one another: {path}'


def _late(steps: list[Step], duration_ns: int) -> Iterator[Finding]:
    """Yield what cannot happen, or cannot end, before the end of the run."""
    by_name = {step.name: step for step in steps if step.name is not None}
    over = f'and the run is over after {format_ns(duration_ns)}'
    for index, step in enumerate(steps):
        if step.random is not None:
            if reason := _no_room(step, duration_ns):
                yield (index, 'random'), reason
            continue
        if step.every is not None and (finding := _too_often(step, duration_ns)):
            yield (index, finding[0]), finding[1]
            continue
        start = _start(step, by_name, duration_ns)
        end = start + (step.for_ or 0)
        if start >= duration_ns:
            key = 'holds' if step.when else step.trigger
            yield (index, key), f'this cannot happen before {format_ns(start)}, {over}'
        elif end > duration_ns:
            yield (index, 'for'), f'this lasts until {format_ns(end)}, {over}'
        elif start + step.needs > duration_ns:
            yield (index, 'recovers', 'within'), (
                f'this takes until {format_ns(start + step.needs)}, {over}'
            )


def _too_often(step: Step, duration_ns: int) -> tuple[str, str] | None:
    assert step.every is not None
    if duration_ns // step.every > MOST_TIMES:
        return 'every', f'this is more than {MOST_TIMES} times in {format_ns(duration_ns)}'
    starts = step.fixed_starts(duration_ns) or []
    if step.for_ is not None and step.for_ > step.every:
        return 'for', '"for" is longer than "every", so that it would begin before it has ended'
    if step.repeat is not None and 0 < len(starts) < step.repeat:
        return 'repeat', (
            f'there is time for {len(starts)} only, as the run is over after '
            f'{format_ns(duration_ns)}'
        )
    return None


def _no_room(step: Step, duration_ns: int) -> str | None:
    assert step.random is not None
    low, high = step.random_window(duration_ns)
    lasts, count = step.for_ or 0, step.random.count
    if high > low and high - low >= (count - 1) * lasts and high <= duration_ns - step.needs:
        return None
    each = f' of {format_ns(lasts)}' if lasts else ''
    return (
        f'there is no room for {count}{each} between {format_ns(low)} and {format_ns(high)} in a '
        f'run of {format_ns(duration_ns)}'
    )


def _start(step: Step, by_name: dict[str, Step], duration_ns: int) -> int:
    """Return the last start of a step whose times are known, the earliest one of others."""
    starts = step.fixed_starts(duration_ns)
    return starts[-1] if starts else _earliest(step, by_name)


def _earliest(step: Step, by_name: dict[str, Step]) -> int:
    if step.after is not None:
        other = by_name[step.after]
        # A goal may end as soon as it was begun.
        waits = step.awaited(other) == 'ended' and other.goal is None
        lasts = (other.for_ or 0) if waits else 0
        return _earliest(other, by_name) + lasts + step.delay
    if step.random is not None:
        return step.random.from_
    return step.holds or 0 if step.first is None else step.first


def _subject(step: Step) -> str | None:
    """Name what a step overrides, where two at a time would undo one another wrongly."""
    action = step.action
    if step.kind in ('light', 'wind', 'friction', 'gravity', 'pause'):
        return f'"{step.kind}"'
    if step.kind in ('spawn', 'move', 'push'):
        return f'"{step.kind}" of "{action.name}"'
    if step.kind == 'stop':
        return f'the process "{action}"'
    if step.fault is not None:
        return f'the messages on {action.topic}'
    if step.parameter is not None:
        return f'the parameter {action.name} of {action.node}'
    return f'the state of {action.node}' if step.transition is not None else None


def _overlaps(steps: list[Step], duration_ns: int) -> Iterator[Finding]:
    """Yield steps of known times that override what another one still overrides.

    What has no "for" is a setting that a later step may replace, but a fault, which nothing
    replaces, lasts to the end of the run.
    """
    spans: dict[str, list[tuple[int, int, int]]] = {}
    for index, step in enumerate(steps):
        subject = _subject(step)
        if subject is None or (step.every is not None and _too_often(step, duration_ns)):
            continue
        for start in step.fixed_starts(duration_ns) or []:
            end = start + (step.for_ or 0)
            if step.fault is not None and step.for_ is None:
                end = duration_ns
            spans.setdefault(subject, []).append((start, end, index))
    reported = set()
    for subject, times in spans.items():
        times.sort()
        longest = times[0]
        for here in times[1:]:
            start, end, index = here
            if (start < longest[1] or start == longest[0]) and index not in reported:
                reported.add(index)
                yield (index, steps[index].kind), (
                    f'at {format_ns(start)} this changes {subject}, which step '
                    f'{name_of(steps, longest[2])} has changed until {format_ns(longest[1])}'
                )
            longest = max(longest, here, key=lambda span: (span[1], span[0]))
