"""What steps expect of checks, judged on streams made by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robot_qa.checks import Verdict
from robot_qa.errors import SpecError
from robot_qa.expectations import JOURNAL
from robot_qa.messages.typestore import TypeStore
from robot_qa.panel import Panel, clock_first
from robot_qa.probes.batch import Batch
from robot_qa.probes.journal import Journal
from robot_qa.spec.loader import load_spec
from robot_qa.spec.scenario import Step
from robot_qa.spec.scenario_played import marks_of
from samples import MS, START, S, clock_ticks, observed, scans, split

DROP = 'fault: {topic: /scan, drop: 100 %}'


def panel_for(
    tmp_path: Path, scenario: str, topics: str = 'gap: {max: 250 ms}', more: str = '',
) -> Panel:
    path = tmp_path / 'x.qa.yaml'
    path.write_text(
        f'robot_qa: 1\nname: x\nduration: 20 s\nallow: [fault]\n{more}topics:\n'
        f'  /scan: {{{topics}}}\nscenario:\n{scenario}\n'
    )
    return Panel(load_spec(path), TypeStore(workspace=False))


def steps(**actions: dict[str, Any]) -> list[dict[str, str]]:
    """Return what names steps in a journal, from their names and actions."""
    return marks_of([Step.model_validate({'name': name, 'at': '1 s', 'for': '3 s', **action})
                     for name, action in actions.items()])


DROPS = {'fault': {'topic': '/scan', 'drop': 1.0}}
CUTS = steps(cut=DROPS, more=DROPS)


def journal(
    *marks: tuple[float, str, int], of: list[dict[str, str]] = CUTS,
) -> Batch:
    """(seconds, event, step)... on the system clock alone."""
    found = Journal('scenario')
    for at, event, step in marks:
        found.write(START + round(at * S), {'event': event, **of[step], 'occurrence': 0})
    return found.drain()[0]


def at_10_hz(*silences: tuple[float, float], end: float = 20.0) -> Batch:
    """Scans every 100 ms but in the given spans, in seconds."""
    times = np.arange(0, round(end * S), 100 * MS)
    for first, last in silences:
        times = times[(times < first * S) | (times >= last * S)]
    return scans(times)


def verdicts(panel: Panel, *batches: Batch, seconds: float = 20.0) -> dict[str, tuple[str, str]]:
    panel.update(clock_first(list(batches)))
    found = panel.results(observed(seconds), final=True)
    return {one.name: (one.verdict.value, one.reason) for one in found}


FAILS = (f'- {{name: cut, at: 5 s, for: 3 s, {DROP}, '
         'expected_to_fail: {check: topics./scan.gap}}')
TIMES = ((5, 'begun', 0), (5.001, 'done', 0), (8, 'undoing', 0), (8.001, 'undone', 0))
CUT = journal(*TIMES)
GAP, EXPECTED = 'topics./scan.gap.max', 'scenario.cut.expected_to_fail'


def test_a_check_that_fails_as_expected_passes_and_does_not_count_meanwhile(
    tmp_path: Path,
) -> None:
    found = verdicts(panel_for(tmp_path, FAILS), CUT, at_10_hz((5, 8.05)))
    assert found[EXPECTED][0] == 'PASS', found
    assert 'failed as expected: 3.00' in found[EXPECTED][1] or '3 s' in found[EXPECTED][1]
    assert found[GAP][0] == 'PASS', found
    assert 'the worst of 2 spans' in found[GAP][1]


def test_nobody_noticing_fails(tmp_path: Path) -> None:
    found = verdicts(panel_for(tmp_path, FAILS), CUT, at_10_hz())
    assert found[EXPECTED][0] == 'FAIL'
    assert 'did not fail' in found[EXPECTED][1]
    assert found[GAP][0] == 'PASS'


@pytest.mark.parametrize('silence', [(2, 3), (12, 13), (19, 21)])
def test_a_failure_at_any_other_time_still_counts(
    tmp_path: Path, silence: tuple[float, float],
) -> None:
    found = verdicts(panel_for(tmp_path, FAILS), CUT, at_10_hz((5, 8.05), silence))
    assert found[EXPECTED][0] == 'PASS'
    assert found[GAP][0] == 'FAIL'


def test_what_never_comes_back_fails(tmp_path: Path) -> None:
    found = verdicts(panel_for(tmp_path, FAILS), CUT, at_10_hz((5, 30)))
    assert found[EXPECTED][0] == 'PASS'
    assert found[GAP][0] == 'FAIL', found


def test_a_step_that_was_not_played_proves_nothing(tmp_path: Path) -> None:
    found = verdicts(panel_for(tmp_path, FAILS), at_10_hz())
    assert found[EXPECTED] == ('INCONCLUSIVE', 'its step was not played')
    assert found[GAP][0] == 'PASS'


@pytest.mark.parametrize('text,marks,reason', [
    (FAILS.replace('cut', 'crash'), CUT, 'its step "cut" is not in this spec'),
    (FAILS.replace('100 %', '50 %'), CUT, 'its step "cut" did something else'),
    (FAILS, journal(*TIMES, of=[{'step': '0'}]), 'it is older than this version'),
])
def test_a_recording_of_another_scenario_decides_nothing_that_needs_it(
    tmp_path: Path, text: str, marks: Batch, reason: str,
) -> None:
    found = verdicts(panel_for(tmp_path, text), marks, at_10_hz((5, 8.05)))
    assert {verdict for verdict, _ in found.values()} == {'INCONCLUSIVE'}
    assert all(f'another scenario: {reason}' in why for _, why in found.values()), found


def test_steps_may_have_moved_come_and_got_other_times_since(tmp_path: Path) -> None:
    other = f'- {{name: more, at: 15 s, for: 1 s, {DROP}}}\n'
    found = verdicts(panel_for(tmp_path, other + FAILS.replace('at: 5 s', 'at: 6 s')), CUT,
                     at_10_hz((5, 8.05)))
    assert (found[EXPECTED][0], found[GAP][0]) == ('PASS', 'PASS'), found


def test_what_is_measured_behind_the_relay_says_so(tmp_path: Path) -> None:
    text = f'- {{at: 5 s, for: 3 s, {DROP}}}'
    loss = {name: why for name, (_, why) in verdicts(
        panel_for(tmp_path, text, 'loss: {max: 0 %}, gap: {max: 9 s}'), at_10_hz()).items()}
    assert loss['topics./scan.loss.max'].endswith('; between the relay of its faults and us alone')
    assert 'relay' not in loss[GAP]
    with pytest.raises(SpecError, match=r'no fault on /scan makes "topics\./scan\.loss" fail'):
        panel_for(tmp_path, FAILS.replace('.gap', '.loss'), 'loss: {max: 0 %}')


def test_it_has_to_fail_within_its_time(tmp_path: Path) -> None:
    text = FAILS.replace('.gap}', '.gap, within: 1 s}')
    late = verdicts(panel_for(tmp_path, text), CUT, at_10_hz((6.5, 8.05)))
    assert late[EXPECTED][0] == 'FAIL'
    soon = verdicts(panel_for(tmp_path, text), CUT, at_10_hz((5, 8.05)))
    assert soon[EXPECTED][0] == 'PASS'


RECOVERS = FAILS[:-1] + ', recovers: {check: topics./scan, within: 2 s}}'


def test_recovery_in_time(tmp_path: Path) -> None:
    found = verdicts(panel_for(tmp_path, RECOVERS), CUT, at_10_hz((5, 9.5)))
    assert found['scenario.cut.recovers'][0] == 'PASS', found
    assert found[GAP][0] == 'PASS', 'the time to recover is not held against it'


def test_recovery_too_late(tmp_path: Path) -> None:
    found = verdicts(panel_for(tmp_path, RECOVERS), CUT, at_10_hz((5, 11)))
    assert found['scenario.cut.recovers'][0] == 'FAIL', found
    assert found['scenario.cut.recovers'][1].startswith('topics./scan.gap.max: ')
    assert found[GAP][0] == 'FAIL'


def test_no_time_left_to_recover_is_inconclusive(tmp_path: Path) -> None:
    found = verdicts(panel_for(tmp_path, RECOVERS), CUT, at_10_hz((5, 8), end=9), seconds=9)
    assert found['scenario.cut.recovers'][0] == 'INCONCLUSIVE'


HOLDS = ('- {name: dark, at: 5 s, for: 3 s, stop: patrol, holds_during: [topics./scan.gap]}\n'
         '- {name: again, at: 12 s, for: 3 s, stop: patrol}')
STOPPED = journal(*TIMES, of=steps(dark={'stop': 'patrol'}))
ROBOT = 'system: {processes: [{name: patrol, command: [sleep, "99"]}]}\n'


def test_a_check_that_holds_all_the_same(tmp_path: Path) -> None:
    healthy = verdicts(panel_for(tmp_path, HOLDS, more=ROBOT), STOPPED, at_10_hz())
    assert healthy['scenario.dark.holds_during'][0] == 'PASS'
    broken = verdicts(panel_for(tmp_path, HOLDS, more=ROBOT), STOPPED, at_10_hz((6, 7)))
    assert broken['scenario.dark.holds_during'][0] == 'FAIL'
    assert broken[GAP][0] == 'FAIL', 'nobody expects it to fail'
    elsewhere = verdicts(panel_for(tmp_path, HOLDS, more=ROBOT), STOPPED, at_10_hz((9, 11)))
    assert elsewhere['scenario.dark.holds_during'][0] == 'PASS'


def test_two_steps_that_break_the_same_check(tmp_path: Path) -> None:
    twice = FAILS + '\n' + FAILS.replace('cut', 'more').replace('at: 5', 'at: 12')
    marks = journal((5, 'begun', 0), (8, 'undone', 0), (12, 'begun', 1), (15, 'undone', 1))
    found = verdicts(panel_for(tmp_path, twice), marks, at_10_hz((5, 8), (12, 15)))
    assert {name: verdict for name, (verdict, _) in found.items()} == {
        GAP: 'PASS', EXPECTED: 'PASS', 'scenario.more.expected_to_fail': 'PASS'}
    assert 'worst of 3 spans' in found[GAP][1]


def test_a_check_over_windows_counts_between_the_steps(tmp_path: Path) -> None:
    text = FAILS.replace('scan.gap', 'scan.rate')
    rate = 'rate: {min: 9 Hz, window: 2 s}'
    found = verdicts(panel_for(tmp_path, text, rate), CUT, at_10_hz((5, 8)))
    assert found['topics./scan.rate.min'][0] == 'PASS'
    assert found[EXPECTED][0] == 'PASS'


def test_simulated_time_counts_for_within(tmp_path: Path) -> None:
    """Half speed: two simulated seconds to recover are four of ours."""
    world = tmp_path / 'w.sdf'
    world.write_text('<sdf version="1.9"><world name="w"/></sdf>')
    more = 'system: {simulator: {backend: embedded, world: w.sdf}}\n'
    text = RECOVERS.replace('at: 5 s', 'at: 2 s')
    ticks = np.arange(0, 20 * S, 10 * MS)
    clock = clock_ticks(ticks, ticks // 2)
    entries = Journal('scenario')
    for at, event in ((5, 'begun'), (5.001, 'done'), (8, 'undone')):
        entries.write(START + round(at * S), {
            'event': event, **CUTS[0], 'occurrence': 0, 'simulated_ns': round(at * S / 2)})
    marks = entries.drain()[0]
    for silent_until, expected in ((11.5, 'PASS'), (12.5, 'FAIL')):
        found = verdicts(panel_for(tmp_path, text, more=more), clock, marks,
                         at_10_hz((5, silent_until)))
        assert found['scenario.cut.recovers'][0] == expected, found


def test_after_a_reset_simulated_time_goes_on_for_within(tmp_path: Path) -> None:
    """The clock is set back to 0 at 5 s by the very step that is to be recovered from."""
    world = tmp_path / 'w.sdf'
    world.write_text('<sdf version="1.9"><world name="w"/></sdf>')
    more = 'system: {simulator: {backend: embedded, world: w.sdf}}\n'
    text = ('- {name: back, at: 5 s, reset: true, expected_to_fail: {check: topics./scan.gap, '
            'within: 1 s}, recovers: {check: topics./scan, within: 2 s}}')
    ticks = np.arange(0, 20 * S, 10 * MS)
    clock = clock_ticks(ticks, np.where(ticks < 5 * S, ticks, ticks - 5 * S))
    entries = Journal('scenario')
    (back,) = marks_of([Step.model_validate({'name': 'back', 'at': '5 s', 'reset': True})])
    for at, event, simulated in ((5, 'begun', 5.0), (5.001, 'done', 0.0)):
        entries.write(START + round(at * S), {
            'event': event, **back, 'occurrence': 0, 'simulated_ns': round(simulated * S)})
    marks = entries.drain()[0]
    for silent_until, expected in ((6.5, 'PASS'), (7.5, 'FAIL')):
        found = verdicts(panel_for(tmp_path, text, more=more), clock, marks,
                         at_10_hz((5, silent_until)))
        assert found['scenario.back.expected_to_fail'][0] == 'PASS', found
        assert found['scenario.back.recovers'][0] == expected, found


def pieces(whole: Batch, seconds: list[float]) -> list[tuple[int, Batch]]:
    borders = np.searchsorted(whole.received_ns, [START + round(at * S) for at in seconds])
    return [(int(one.received_ns[0]), one) for one in split(whole, sorted(set(borders.tolist())))]


def test_how_the_samples_were_cut_into_drains_does_not_matter(tmp_path: Path) -> None:
    stream = at_10_hz((5, 9.5), (15, 15.4))
    whole = verdicts(panel_for(tmp_path, RECOVERS), CUT, stream)
    assert whole['scenario.cut.recovers'][0] == 'FAIL'
    live = panel_for(tmp_path, RECOVERS)
    cuts = [0.5 * step for step in range(40)]
    drains: dict[int, list[Batch]] = {}
    for stamp, part in [*pieces(CUT, cuts), *pieces(stream, cuts)]:
        drains.setdefault((stamp - START) * 2 // S, []).append(part)
    for time in sorted(drains):
        live.update(sorted(drains[time], key=lambda part: part.topic != JOURNAL))
        live.results(observed(time / 2 + 0.5), final=False)
    found = {one.name: (one.verdict.value, one.reason)
             for one in live.results(observed(20), final=True)}
    assert found == whole


def test_the_last_word_before_a_span_is_not_one_from_after_it(tmp_path: Path) -> None:
    """All in one drain, on header stamps, whose silence is counted from the last message."""
    world = tmp_path / 'w.sdf'
    world.write_text('<sdf version="1.9"><world name="w"/></sdf>')
    more = 'system: {simulator: {backend: embedded, world: w.sdf}}\n'
    panel = panel_for(tmp_path, FAILS, 'basis: header, gap: {max: 250 ms}', more)
    ticks = np.arange(0, 20 * S, 10 * MS)
    found = verdicts(panel, clock_ticks(ticks, START + ticks), CUT, at_10_hz((5, 8.05)))
    assert found[EXPECTED][0] == 'PASS', found


def test_while_it_runs_nothing_is_said_too_early(tmp_path: Path) -> None:
    live = panel_for(tmp_path, FAILS)
    live.update([journal((5, 'begun', 0)), at_10_hz((5, 30), end=7)])
    now = {one.name: one.verdict for one in live.results(observed(7), final=False)}
    assert now == {GAP: Verdict.PASS, EXPECTED: Verdict.INCONCLUSIVE}


def test_topics_of_expectations_are_asked_for(tmp_path: Path) -> None:
    assert JOURNAL in panel_for(tmp_path, FAILS).topics
    assert JOURNAL not in panel_for(tmp_path, FAILS).ros_topics
