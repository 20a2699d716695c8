"""When the steps of a scenario start and are undone."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from robot_qa.scenario.plan import Agenda, Due, Plan, plan
from robot_qa.spec.scenario import Step

S = 10**9
RUN = 60 * S
DARK = {'light': {'scale': 0.2}}
GOAL = {'goal': {'action': '/g', 'type': 'tf2_msgs/action/LookupTransform'}}
SHORT = {'for': '2 s', **DARK}


def steps(*given: dict[str, Any]) -> list[Step]:
    return [Step.model_validate(one) for one in given]


def agenda(*given: dict[str, Any], duration_ns: int = RUN, seed: int = 0) -> Agenda:
    return Agenda(steps(*given), duration_ns, seed)


def told(due: list[Due]) -> list[str]:
    """Write what is due as ``start light@5``, with the time in seconds."""
    return [f'{one.kind} {one.name}@{one.time_ns / S:g}' for one in due]


def times(planned: Plan, name: str) -> list[int]:
    return [one.time_ns for one in planned.planned if one.name == name]


# --- the plan -----------------------------------------------------------------------------------

def test_known_times_are_planned_and_others_wait() -> None:
    made = plan(steps(
        {'at': '5 s', **SHORT}, {'name': 'b', 'every': '20 s', 'from': '1 s', **DARK},
        {'after': 'b', **DARK}, {'name': 'd', 'when': {'/a': 'x > 1'}, **DARK},
        {'at': '6 s', 'for': '3 s', 'pause': True},
    ), RUN, 0)
    assert [(one.step, one.name, one.time_ns, one.end_ns) for one in made.planned] == [
        (1, 'b', S, None), (0, '0', 5 * S, 7 * S), (4, '4', 6 * S, None), (1, 'b', 21 * S, None),
        (1, 'b', 41 * S, None),
    ]
    assert [(one.step, one.name) for one in made.waiting] == [(2, '2'), (3, 'd')]


RANDOM = {'name': 'r', 'random': {'count': 5, 'from': '10 s', 'to': '40 s'}, **SHORT}


def test_the_same_seed_plans_the_same_whatever_other_steps_there_are() -> None:
    given = steps(RANDOM)
    assert plan(given, RUN, 7) == plan(given, RUN, 7)
    assert times(plan(given, RUN, 7), 'r') != times(plan(given, RUN, 8), 'r')
    more = steps({'name': 'q', 'random': {'count': 5}, **SHORT}, RANDOM)
    assert times(plan(more, RUN, 7), 'r') == times(plan(given, RUN, 7), 'r')
    assert times(plan(more, RUN, 7), 'q') != times(plan(more, RUN, 7), 'r')
    # What any later version of this package has to plan, too.
    assert times(plan(given, RUN, 7), 'r') == [
        14149890598, 19884503951, 22613451132, 29009511230, 39163960867]


def test_random_times_stay_in_their_range_and_apart() -> None:
    given = steps(RANDOM)
    firsts, gaps = [], []
    for seed in range(400):
        starts = times(plan(given, RUN, seed), 'r')
        assert len(starts) == 5 and starts[0] >= 10 * S and starts[-1] < 40 * S
        gaps += [later - earlier for earlier, later in pairwise(starts)]
        firsts.append(starts[0])
    assert min(gaps) >= 2 * S
    # The least of five uniform draws in 30 s - 4 * 2 s lies at 22 s / 6 on average, with a
    # standard deviation of 22 s * sqrt(5 / (36 * 7)) = 3.1 s, of the mean of 400 thus 0.155 s.
    assert sum(firsts) / 400 / S == pytest.approx(10 + 22 / 6, abs=4 * 0.155)


def test_a_range_without_a_spare_moment_is_filled() -> None:
    given = steps({'random': {'count': 3, 'from': '1 s', 'to': '5 s'}, **SHORT})
    assert times(plan(given, RUN, 3), '0') == [S, 3 * S, 5 * S]


def test_a_shorter_run_leaves_out_what_would_come_later() -> None:
    given = steps(RANDOM, {'at': '20 s', **DARK}, {'every': '5 s', **DARK})
    whole, part = plan(given, RUN, 7), plan(given, 20 * S, 7)
    assert times(part, 'r') == [one for one in times(whole, 'r') if one < 20 * S]
    assert (times(part, '1'), times(part, '2')) == ([], [5 * S, 10 * S, 15 * S])
    assert not plan(steps({'random': {'count': 9}, **SHORT}), 10 * S, 0).planned


# --- the agenda: times --------------------------------------------------------------------------

def test_what_is_due_comes_in_order_and_undo_before_start() -> None:
    made = agenda({'name': 'b', 'at': '7 s', **SHORT}, {'name': 'a', 'at': '5 s', **SHORT})
    assert made.next_ns == 5 * S
    assert made.tick(5 * S - 1) == []
    assert told(made.tick(5 * S)) == ['start a@5']
    assert [one.name for one in made.active] == ['a']
    assert made.next_ns == 7 * S
    assert told(made.tick(8 * S)) == ['undo a@7', 'start b@7']
    assert told(made.tick(100 * S)) == ['undo b@9']
    assert (made.next_ns, made.active, made.end(100 * S)) == (None, (), [])


def test_a_late_tick_starts_and_undoes() -> None:
    made = agenda({'at': '1 s', **SHORT}, {'at': '2 s', 'kill': 'x'})
    assert told(made.tick(9 * S)) == ['start 0@1', 'start 1@2', 'undo 0@3']


def test_an_undo_at_the_very_end_is_still_due() -> None:
    made = agenda({'at': '58 s', **SHORT})
    assert told(made.tick(RUN)) == ['start 0@58', 'undo 0@60']


def test_the_news_that_one_has_ended_leaves_the_next_alone() -> None:
    made = agenda({'every': '2 s', 'repeat': 2, **SHORT})
    made.tick(2 * S)
    assert told(made.tick(4 * S)) == ['undo 0@4', 'start 0@4']
    made.finished('0', 'ended', 4 * S)
    assert told(made.tick(6 * S)) == ['undo 0@6']


def test_occurrences_are_counted_and_an_undo_has_that_of_its_start() -> None:
    made = agenda({'every': '10 s', 'repeat': 2, **SHORT})
    due = made.tick(RUN)
    assert [(one.kind, one.occurrence) for one in due] == [
        ('start', 0), ('undo', 0), ('start', 1), ('undo', 1)]


def test_the_end_undoes_the_latest_first_and_nothing_that_cannot_be_undone() -> None:
    made = agenda(
        {'at': '1 s', **DARK}, {'at': '2 s', 'kill': 'x'}, {'at': '3 s', 'for': '50 s', **DARK},
        {'at': '4 s', 'wind': {'velocity': [1, 0, 0]}}, {'at': '9 s', **DARK},
    )
    made.tick(5 * S)
    assert told(made.end(6 * S)) == ['undo 3@6', 'undo 2@6', 'undo 0@6']
    assert made.tick(RUN) == [] and made.end(RUN) == []


def test_what_failed_is_not_undone() -> None:
    made = agenda({'at': '1 s', **SHORT}, {'at': '1 s', **DARK})
    made.tick(S)
    made.finished('0', 'failed', S)
    made.finished('1', 'failed', S)
    assert made.tick(RUN) == [] and made.end(RUN) == []


def test_what_ends_itself_is_undone_only_if_it_has_not_ended() -> None:
    pause = {'name': 'p', 'at': '1 s', 'for': '2 s', 'pause': True}
    made = agenda(pause)
    assert told(made.tick(30 * S)) == ['start p@1']
    made.finished('p', 'done', 30 * S)
    assert told(made.end(30 * S)) == ['undo p@30']
    made = agenda(pause, {'after': 'p', 'kill': 'x'})
    made.tick(S)
    assert made.finished('p', 'done', S) == []
    assert told(made.finished('p', 'ended', 2 * S)) == ['start 1@2']
    assert made.end(RUN) == []


def test_what_ended_by_itself_is_not_undone_whichever_it_was() -> None:
    made = agenda({'name': 'g', 'every': '5 s', 'repeat': 3, **GOAL},
                  {'after': 'g', 'kill': 'x'})
    assert told(made.tick(15 * S)) == [
        'start g@5', 'start g@10', 'start g@15']
    assert told(made.finished('g', 'ended', 16 * S, 1)) == ['start 1@16']
    assert told(made.finished('g', 'failed', 16 * S, 0)) == []
    assert [(due.kind, due.occurrence) for due in made.end(20 * S)] == [('undo', 2)]


def test_a_goal_that_ended_before_its_time_is_not_undone_then() -> None:
    made = agenda({'name': 'g', 'at': '5 s', 'for': '9 s', **GOAL})
    assert told(made.tick(5 * S)) == ['start g@5']
    made.finished('g', 'done', 5 * S)
    made.finished('g', 'ended', 6 * S, 0)
    assert made.next_ns is None and made.active == () and made.tick(15 * S) == []


# --- the agenda: after --------------------------------------------------------------------------

@pytest.mark.parametrize('first, outcome, waited', [
    (DARK, None, 'done'), (SHORT, None, 'ended'), (SHORT, 'done', 'done'),
    (GOAL, None, 'ended'), (GOAL, 'done', 'done'), (GOAL, 'failed', 'failed'),
    (SHORT, 'failed', 'failed'), (SHORT, 'ended', 'ended'), (DARK, 'failed', 'failed'),
])
def test_after_waits_for_its_outcome(
    first: dict[str, Any], outcome: str | None, waited: str
) -> None:
    after = {'after': 'a', 'kill': 'x', **({'outcome': outcome} if outcome else {})}
    for told_of in ('done', 'failed', 'ended'):
        made = agenda({'name': 'a', 'at': '1 s', **first}, after)
        made.tick(S)
        due = made.finished('a', told_of, 10 * S)  # type: ignore[arg-type]
        assert ('start 1@10' in told(due)) == (told_of == waited)


def test_after_with_a_delay_each_time_and_down_a_chain() -> None:
    made = agenda(
        {'name': 'a', 'every': '10 s', 'repeat': 2, 'kill': 'x'},
        {'name': 'b', 'after': 'a', 'delay': '1 s', **SHORT}, {'after': 'b', 'restart': 'x'},
    )
    log = []
    for second in range(30):
        due = made.tick(second * S)
        while due:
            one = due.pop(0)
            log += told([one])
            outcome = 'ended' if one.kind == 'undo' else 'done'
            due += made.finished(one.name, outcome, second * S)  # type: ignore[arg-type]
    assert log == [
        'start a@10', 'start b@11', 'undo b@13', 'start 2@13',
        'start a@20', 'start b@21', 'undo b@23', 'start 2@23',
    ]


def test_a_step_that_still_lasts_is_not_started_again() -> None:
    made = agenda({'name': 'a', 'every': '5 s', 'repeat': 3, 'kill': 'x'},
                  {'after': 'a', 'for': '7 s', **DARK})
    log = []
    for second in (5, 10, 15):
        log += told(made.tick(second * S)) + told(made.finished('a', 'done', second * S))
    log += told(made.tick(RUN))
    assert log == ['start a@5', 'start 1@5', 'start a@10', 'skip 1@10', 'undo 1@12', 'start a@15',
                   'start 1@15', 'undo 1@22']


def test_nothing_starts_after_the_end_of_the_run() -> None:
    made = agenda({'name': 'a', 'at': '55 s', 'kill': 'x'},
                  {'after': 'a', 'delay': '3 s', **DARK}, {'after': 'a', 'delay': '5 s', **DARK})
    made.tick(55 * S)
    made.finished('a', 'done', 55 * S)
    assert told(made.tick(2 * RUN)) == ['start 1@58']


# --- the agenda: when ---------------------------------------------------------------------------

def test_a_condition_starts_its_step_once() -> None:
    made = agenda({'name': 'w', 'when': {'/a': 'x > 1'}, **SHORT})
    assert made.condition('w', False, S) == []
    assert told(made.condition('w', True, 2 * S)) == ['start w@2']
    assert told(made.condition('w', False, 5 * S)) == ['undo w@4']
    assert made.condition('w', True, 6 * S) == []
    with pytest.raises(KeyError):
        made.condition('v', True, 6 * S)


def test_a_condition_has_to_hold_without_a_break() -> None:
    made = agenda({'name': 'w', 'when': {'/a': 'x > 1'}, 'holds': '3 s', **DARK},
                  {'name': 'a', 'at': '1 s', **SHORT})
    made.tick(S)
    assert made.condition('w', True, 2 * S) == []
    assert told(made.condition('w', True, 3 * S)) == ['undo a@3']
    assert made.condition('w', False, 5 * S - 1) == []
    assert made.tick(6 * S) == []
    assert made.condition('w', True, 7 * S) == []
    assert made.next_ns == 10 * S
    assert told(made.tick(11 * S)) == ['start w@10']
    assert told(made.end(12 * S)) == ['undo w@12']


def test_a_condition_that_held_long_enough_before_it_broke_counts() -> None:
    made = agenda({'name': 'w', 'when': {'/a': 'x > 1'}, 'holds': '3 s', **DARK})
    made.condition('w', True, 2 * S)
    assert told(made.condition('w', False, 9 * S)) == ['start w@5']
