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


def played(made: Agenda, due: list[Due], now_ns: int) -> list[Due]:
    """Return what was due and what comes of it where everything is over once it has begun."""
    log = []
    while due:
        one = due.pop(0)
        log.append(one)
        if one.kind != 'skip':
            outcome: Any = 'ended' if one.kind == 'undo' else 'done'
            due = made.finished(one, outcome, now_ns) + due
    return log


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
    assert told(played(made, made.tick(5 * S), 5 * S)) == ['start a@5']
    assert [one.start.name for one in made.active] == ['a']
    assert made.next_ns == 7 * S
    assert told(played(made, made.tick(8 * S), 8 * S)) == ['undo a@7', 'start b@7']
    assert told(made.tick(100 * S)) == ['undo b@9']
    assert (made.next_ns, made.active, made.end(100 * S)) == (None, (), [])


def test_a_late_tick_starts_and_undoes() -> None:
    made = agenda({'at': '1 s', **SHORT}, {'at': '2 s', 'kill': 'x'})
    due = made.tick(9 * S)
    assert told(due) == ['start 0@1', 'start 1@2']
    assert told(made.finished(due[0], 'done', 9 * S)) == ['undo 0@3']


def test_what_is_not_done_by_its_end_is_undone_as_soon_as_it_is() -> None:
    made = agenda({'at': '1 s', **SHORT})
    (start,) = made.tick(S)
    assert made.tick(30 * S) == [] and [one.start for one in made.active] == [start]
    (undo,) = made.finished(start, 'done', 31 * S, 'what it came to')
    assert (told([undo]), undo.effect) == (['undo 0@3'], 'what it came to')
    assert made.active == () and made.end(40 * S) == []


def test_what_is_under_way_at_the_end_is_undone_as_soon_as_it_is_done() -> None:
    made = agenda({'at': '1 s', **DARK}, {'at': '2 s', **SHORT})
    under_way, done = made.tick(2 * S)
    made.finished(done, 'done', 3 * S)
    assert told(made.end(3 * S)) == ['undo 1@3']
    assert told(made.finished(under_way, 'done', 9 * S)) == ['undo 0@9']
    assert made.end(9 * S) == []


def test_after_the_end_nothing_starts_any_more() -> None:
    made = agenda({'name': 'a', 'at': '1 s', 'for': '20 s', **DARK}, {'after': 'a', **DARK},
                  {'name': 'w', 'when': {'/a': 'x > 1'}, **DARK})
    played(made, made.tick(S), S)
    assert told(played(made, made.end(2 * S), 2 * S)) == ['undo a@2']
    assert made.condition(2, True, 3 * S) == [] and made.tick(RUN) == []


def test_what_stops_the_clock_lasts_on_the_wall_clock() -> None:
    made = agenda({'name': 'p', 'at': '5 s', 'for': '3 s', 'pause': True},
                  {'after': 'p', 'outcome': 'done', 'delay': '1 s', 'step': 10},
                  {'name': 'q', 'after': 'p', 'kill': 'x'})
    assert told(played(made, made.tick(5 * S, 100 * S), 5 * S)) == ['start p@5']
    assert made.tick(5 * S, 101 * S - 1) == []
    assert told(made.tick(5 * S, 101 * S)) == ['start 1@101']
    (undo,) = made.tick(5 * S, 104 * S)
    assert (told([undo]), undo.on_wall) == (['undo p@103'], True)
    assert told(made.finished(undo, 'ended', 5 * S)) == ['start q@5']


def test_what_is_left_out_never_starts() -> None:
    made = agenda({'name': 'a', 'at': '1 s', **SHORT}, {'when': {'/a': 'x > 1'}, **DARK})
    assert made.may_go_on
    made.leave_out(0)
    assert made.tick(RUN) == [] and made.may_go_on
    made.leave_out(1)
    assert not made.may_go_on and made.condition(1, True, RUN - 1) == []


def test_the_news_that_one_has_ended_leaves_the_next_alone() -> None:
    made = agenda({'every': '2 s', 'repeat': 2, **SHORT})
    played(made, made.tick(2 * S), 2 * S)
    undo, start = made.tick(4 * S)
    assert told([undo, start]) == ['undo 0@4', 'start 0@4']
    made.finished(start, 'done', 4 * S)
    made.finished(undo, 'ended', 4 * S)
    assert told(made.tick(6 * S)) == ['undo 0@6']


def test_an_undo_at_the_very_end_is_still_due() -> None:
    made = agenda({'at': '58 s', **SHORT})
    assert told(played(made, made.tick(RUN), RUN)) == ['start 0@58', 'undo 0@60']


def test_occurrences_are_counted_and_an_undo_has_that_of_its_start() -> None:
    made = agenda({'every': '10 s', 'repeat': 2, **SHORT})
    due = [one for now in (10, 12, 20, 22) for one in played(made, made.tick(now * S), now * S)]
    assert [(one.kind, one.occurrence) for one in due] == [
        ('start', 0), ('undo', 0), ('start', 1), ('undo', 1)]


def test_the_end_undoes_the_latest_first_and_nothing_that_cannot_be_undone() -> None:
    made = agenda(
        {'at': '1 s', **DARK}, {'at': '2 s', 'kill': 'x'}, {'at': '3 s', 'for': '50 s', **DARK},
        {'at': '4 s', 'wind': {'velocity': [1, 0, 0]}}, {'at': '9 s', **DARK},
    )
    played(made, made.tick(5 * S), 5 * S)
    assert told(made.end(6 * S)) == ['undo 3@6', 'undo 2@6', 'undo 0@6']
    assert made.tick(RUN) == [] and made.end(RUN) == []


def test_what_failed_is_not_undone() -> None:
    made = agenda({'at': '1 s', **SHORT}, {'at': '1 s', **DARK})
    for start in made.tick(S):
        made.finished(start, 'failed', S)
    assert made.tick(RUN) == [] and made.end(RUN) == []


def test_what_ended_by_itself_is_not_undone_whichever_it_was() -> None:
    made = agenda({'name': 'g', 'every': '5 s', 'repeat': 3, **GOAL},
                  {'after': 'g', 'kill': 'x'})
    starts = played(made, made.tick(15 * S), 15 * S)
    assert told(starts) == ['start g@5', 'start g@10', 'start g@15']
    assert told(made.finished(starts[1], 'ended', 16 * S)) == ['start 1@16']
    assert told(made.finished(starts[0], 'failed', 16 * S)) == []
    assert [(due.kind, due.occurrence) for due in made.end(20 * S)] == [('undo', 2)]


def test_a_goal_that_ended_before_its_time_is_not_undone_then() -> None:
    made = agenda({'name': 'g', 'at': '5 s', 'for': '9 s', **GOAL})
    (start,) = played(made, made.tick(5 * S), 5 * S)
    made.finished(start, 'ended', 6 * S)
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
        (start,) = made.tick(S)
        due = made.finished(start, told_of, 10 * S)  # type: ignore[arg-type]
        assert ('start 1@10' in told(due)) == (told_of == waited)


def test_after_with_a_delay_each_time_and_down_a_chain() -> None:
    made = agenda(
        {'name': 'a', 'every': '10 s', 'repeat': 2, 'kill': 'x'},
        {'name': 'b', 'after': 'a', 'delay': '1 s', **SHORT}, {'after': 'b', 'restart': 'x'},
    )
    log = []
    for second in range(30):
        log += told(played(made, made.tick(second * S), second * S))
    assert log == [
        'start a@10', 'start b@11', 'undo b@13', 'start 2@13',
        'start a@20', 'start b@21', 'undo b@23', 'start 2@23',
    ]


def test_a_step_that_still_lasts_is_not_started_again() -> None:
    made = agenda({'name': 'a', 'every': '5 s', 'repeat': 3, 'kill': 'x'},
                  {'after': 'a', 'for': '7 s', **DARK})
    log = []
    for second in (5, 10, 12, 15, 22):
        log += told(played(made, made.tick(second * S), second * S))
    assert log == ['start a@5', 'start 1@5', 'start a@10', 'skip 1@10', 'undo 1@12', 'start a@15',
                   'start 1@15', 'undo 1@22']


def test_nothing_starts_after_the_end_of_the_run() -> None:
    made = agenda({'name': 'a', 'at': '55 s', 'kill': 'x'},
                  {'after': 'a', 'delay': '3 s', **DARK}, {'after': 'a', 'delay': '5 s', **DARK})
    played(made, made.tick(55 * S), 55 * S)
    assert told(made.tick(2 * RUN)) == ['start 1@58']


# --- the agenda: when ---------------------------------------------------------------------------

def test_a_condition_starts_its_step_once() -> None:
    made = agenda({'name': 'w', 'when': {'/a': 'x > 1'}, **SHORT})
    assert made.condition(0, False, S) == []
    assert told(played(made, made.condition(0, True, 2 * S), 2 * S)) == ['start w@2']
    assert told(made.condition(0, False, 5 * S)) == ['undo w@4']
    assert made.condition(0, True, 6 * S) == []


def test_a_condition_has_to_hold_without_a_break() -> None:
    made = agenda({'name': 'w', 'when': {'/a': 'x > 1'}, 'holds': '3 s', **DARK},
                  {'name': 'a', 'at': '1 s', **SHORT})
    played(made, made.tick(S), S)
    assert made.condition(0, True, 2 * S) == []
    assert told(made.condition(0, True, 3 * S)) == ['undo a@3']
    assert made.condition(0, False, 5 * S - 1) == []
    assert made.tick(6 * S) == []
    assert made.condition(0, True, 7 * S) == []
    assert made.next_ns == 10 * S
    assert told(played(made, made.tick(11 * S), 11 * S)) == ['start w@10']
    assert told(made.end(12 * S)) == ['undo w@12']


def test_a_condition_that_held_long_enough_before_it_broke_counts() -> None:
    made = agenda({'name': 'w', 'when': {'/a': 'x > 1'}, 'holds': '3 s', **DARK})
    made.condition(0, True, 2 * S)
    assert told(made.condition(0, False, 9 * S)) == ['start w@5']
