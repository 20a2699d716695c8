"""The player of a scenario: what it begins, takes back and says, on an actor made for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from robot_qa.errors import FieldPathError
from robot_qa.messages.typestore import TypeStore
from robot_qa.monitors.base import Context
from robot_qa.scenario.conditions import ConditionWatch
from robot_qa.scenario.plan import Agenda
from robot_qa.scenario.player import Actor, Done, Gradual, Over, Player
from robot_qa.spec.model import TestSpec
from robot_qa.spec.rules import Condition
from robot_qa.spec.scenario import Step
from robot_qa.stats import Confidence
from samples import MS, START, S, batch, scan


class Lamp:
    """An actor with a state: the scale of the light; some scales it refuses."""

    def __init__(self) -> None:
        self.scale = 1.0
        self.slow = False
        self.lacking: str | None = None

    def lack(self, step: Step) -> str | None:
        return self.lacking

    def begin(self, step: Step) -> Gradual:
        return Gradual(self._set(step.action.scale))

    def _set(self, scale: float) -> Any:
        while self.slow:
            yield
        if scale == 3.5:
            return Done(False, 'no such light')
        before, self.scale = self.scale, scale
        return Done(True, f'{scale}', lambda: Gradual(self._set(before)))


class Run:
    def __init__(self, *steps: dict[str, Any], seed: int = 0) -> None:
        spec = TestSpec.model_validate({
            'robot_qa': 1, 'name': 'x', 'duration': '10 s', 'scenario': list(steps),
            'topics': {'/a': {'stamps': 'increasing'}},
            'system': {'processes': [{'name': 'a', 'command': 'a'}],
                       'simulator': {'backend': 'embedded', 'world': 'w.sdf'}},
        })
        self.lamp = Lamp()
        self.events: list[tuple[str, str]] = []
        self.marks: list[tuple[str, int, int]] = []
        self.actors: dict[str, Actor] = {'light': self.lamp}
        self.wall = 0
        self.player = Player(
            spec.scenario, Agenda(spec.scenario, 10 * S, seed), self.actors,
            lambda event, detail: self.events.append((event, detail.partition(':')[0])),
            lambda event, step, occurrence: self.marks.append((event, step, occurrence)),
            wall_ns=lambda: self.wall,
        )
        self.scales: list[float] = []

    def until(self, end_ms: int, meanwhile: Callable[[int], None] = lambda _: None) -> None:
        if not self.scales:
            self.player.check()
        for now in range(0, end_ms + 1, 100):
            meanwhile(now)
            self.player.work(now * MS)
            self.player.work(now * MS)
            self.scales.append(self.lamp.scale)

    def results(self) -> dict[str, tuple[str, str]]:
        class Anywhere(dict[str, str]):
            def __missing__(self, name: str) -> str:
                return 'a.qa.yaml:1:1'

        return {one.name: (one.verdict.value, one.reason)
                for one in self.player.results(Anywhere())}


def test_a_step_is_done_and_undone_at_its_times() -> None:
    run = Run({'name': 'dark', 'at': '1 s', 'for': '2 s', 'light': {'scale': 0.2}})
    run.until(5000)
    assert run.scales[9:11] == [1.0, 0.2] and run.scales[29:31] == [0.2, 1.0]
    assert run.events == [('doing', 'dark'), ('done', 'dark'), ('undoing', 'dark'),
                          ('undone', 'dark')]
    assert run.results() == {
        'scenario.dark': ('PASS', 'done once, at most 0 ns late, undone once')}


class Errand:
    """An actor whose actions go on after they were done, until somebody says how they end."""

    def __init__(self) -> None:
        self.ends: list[Done | None] = []
        self.cancelled: list[int] = []

    def lack(self, step: Step) -> str | None:
        return None

    def begin(self, step: Step) -> Over:
        number = len(self.ends)
        self.ends.append(None)

        def cancel() -> Over:
            self.cancelled.append(number)
            return Over(Done(True, 'cancelled', record='it was cancelled'))

        return Over(Done(True, 'accepted', cancel, _Lasting(self, number)))


class _Lasting:
    def __init__(self, errand: Errand, number: int) -> None:
        self._errand, self._number = errand, number

    def poll(self) -> Done | None:
        return self._errand.ends[self._number]


def goal(**given: Any) -> dict[str, Any]:
    return {**given, 'goal': {'action': '/go', 'type': 'tf2_msgs/action/LookupTransform'}}


LATER = {'name': 'later', 'after': 'go', 'light': {'scale': 0.5}}


def errand(*steps: dict[str, Any]) -> tuple[Run, Errand]:
    run = Run(*steps)
    actor = Errand()
    run.actors['goal'] = actor
    return run, actor


def test_what_ends_by_itself_is_not_undone_and_sets_off_what_waits_for_it() -> None:
    run, actor = errand(goal(name='go', at='1 s', **{'for': '5 s'}), LATER)
    run.until(2000)
    assert run.scales[-1] == 1.0, 'it was only accepted'
    actor.ends[0] = Done(True, 'reached', record='it was reached')
    run.until(8000)
    run.player.end()
    assert actor.cancelled == []
    assert run.scales[-1] == 0.5
    assert run.marks[:3] == [('begun', 0, 0), ('done', 0, 0), ('undone', 0, 0)]
    assert [event for event, name in run.events if name == 'go'] == ['doing', 'done', 'ended']
    assert run.results()['scenario.go'] == ('PASS', (
        'done once, at most 0 ns late, ended by itself once: it was reached'))


def test_what_fails_after_it_was_done_is_an_error() -> None:
    run, actor = errand(
        goal(name='go', at='1 s'), LATER,
        {'name': 'saved', 'after': 'go', 'outcome': 'failed', 'light': {'scale': 0.7}},
        {'name': 'began', 'after': 'go', 'outcome': 'done', 'light': {'scale': 0.9}})
    run.until(2000)
    assert run.scales[-1] == 0.9
    actor.ends[0] = Done(False, 'aborted')
    run.until(3000)
    run.player.end()
    results = run.results()
    assert results['scenario.go'] == ('ERROR', 'failed: aborted') and actor.cancelled == []
    assert results['scenario.later'][0] == 'INCONCLUSIVE'
    assert results['scenario.saved'][0] == 'PASS' and run.scales[-1] == 0.7
    assert run.marks[-1][0] == 'undone' and ('failed', 0, 0) in run.marks


def test_what_still_lasts_is_undone_after_its_time_or_at_the_end() -> None:
    run, actor = errand(goal(name='go', at='1 s', **{'for': '2 s'}), goal(name='on', at='1 s'),
                        LATER)
    run.until(4000)
    assert actor.cancelled == [0] and run.scales[-1] == 0.5
    # What comes after the cancel is not its own end any more.
    actor.ends[0] = Done(False, 'cancelled by somebody')
    run.until(5000)
    run.player.end()
    assert actor.cancelled == [0, 1]
    results = run.results()
    assert results['scenario.go'] == ('PASS', (
        'done once, at most 0 ns late, undone once: it was cancelled'))
    assert results['scenario.on'][0] == 'PASS'


def test_of_several_at_a_time_the_one_that_ended_is_not_undone() -> None:
    run, actor = errand(goal(name='go', every='1 s', repeat=3))
    run.until(3500)
    actor.ends[1] = Done(True, 'reached')
    run.until(4000)
    run.player.end()
    assert actor.cancelled == [2, 0]


def test_lateness_is_that_of_the_call() -> None:
    run = Run({'at': '1 s', 'light': {'scale': 0.2}})
    run.player.work(900 * MS)
    run.player.work(1250 * MS)
    assert run.results()['scenario.0'] == ('PASS', 'done once, at most 250 ms late')


def test_what_failed_is_an_error_with_its_answer_and_can_trigger_another() -> None:
    run = Run(
        {'name': 'broken', 'at': '1 s', 'light': {'scale': 3.5}},
        {'name': 'then', 'after': 'broken', 'outcome': 'failed', 'delay': '1 s',
         'light': {'scale': 0.5}},
        {'name': 'never', 'after': 'broken', 'light': {'scale': 0.7}},
    )
    run.until(5000)
    assert run.scales[-1] == 0.5
    results = run.results()
    assert results['scenario.broken'] == ('ERROR', 'failed: no such light')
    assert results['scenario.then'][0] == 'PASS'
    assert results['scenario.never'] == ('INCONCLUSIVE', 'what it waits for never came')


def test_everything_is_taken_back_at_the_end_the_latest_first() -> None:
    run = Run({'name': 'a', 'at': '1 s', 'light': {'scale': 0.2}},
              {'name': 'b', 'at': '2 s', 'for': '7 s', 'light': {'scale': 0.4}})
    run.until(3000)
    run.player.end()
    assert run.lamp.scale == 1.0
    assert [one for one in run.events if one[0] == 'undone'] == [('undone', 'b'), ('undone', 'a')]


def test_what_is_under_way_at_the_end_is_waited_for_and_taken_back() -> None:
    run = Run({'name': 'slow', 'at': '1 s', 'light': {'scale': 0.2}})
    run.lamp.slow = True
    run.until(2000)
    assert run.events == [('doing', 'slow')]
    run.lamp.slow = False
    run.player.end()
    assert run.lamp.scale == 1.0 and run.events[-1] == ('undone', 'slow')


def test_what_is_done_only_after_its_time_is_undone_then() -> None:
    run = Run({'name': 'slow', 'at': '1 s', 'for': '500 ms', 'light': {'scale': 0.2}})
    run.lamp.slow = True
    run.until(2000)
    run.lamp.slow = False
    run.player.work(2100 * MS)
    run.player.work(2200 * MS)
    assert run.lamp.scale == 1.0
    assert run.marks == [('begun', 0, 0), ('done', 0, 0), ('undoing', 0, 0), ('undone', 0, 0)]
    assert run.results()['scenario.slow'] == (
        'PASS', 'done once, at most 600 ms late, undone once')


def test_the_end_begins_nothing_that_waits_for_what_it_takes_back() -> None:
    run = Run({'name': 'dark', 'at': '1 s', 'for': '8 s', 'light': {'scale': 0.2}},
              {'name': 'left', 'after': 'dark', 'light': {'scale': 0.7}})
    run.until(2000)
    run.player.end()
    assert run.lamp.scale == 1.0 and ('doing', 'left') not in run.events


class Broken(Lamp):
    """Breaks off where nobody has foreseen it."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self.where = where

    def lack(self, step: Step) -> str | None:
        if self.where == 'lack':
            raise ValueError('out of range')
        return None

    def begin(self, step: Step) -> Gradual:
        if self.where == 'begin':
            raise ValueError('out of range')
        return super().begin(step)

    def _set(self, scale: float) -> Any:
        if self.where == 'poll' or (self.where == 'undo' and scale == 1.0):
            yield
            raise ValueError('out of range')
        return (yield from super()._set(scale))


@pytest.mark.parametrize('where', ['lack', 'begin', 'poll', 'undo'])
def test_an_actor_that_breaks_off_is_an_error_of_its_step_alone(where: str) -> None:
    run = Run({'name': 'before', 'at': '1 s', 'load': {'cpu': 1}, 'for': '8 s'},
              {'name': 'bad', 'at': '2 s', 'for': '1 s', 'light': {'scale': 0.2}})
    run.actors['load'] = Errand()
    run.actors['light'] = Broken(where)
    run.until(5000)
    run.player.end()
    words = 'ended badly' if where == 'undo' else 'failed'
    results = run.results()
    assert results['scenario.bad'] == ('ERROR', f'{words}: ValueError: out of range')
    assert results['scenario.before'][0] == 'PASS' and 'undone once' in results[
        'scenario.before'][1]
    assert [event for event, _ in run.events].count('traceback') == 1


def test_what_failed_and_may_have_been_done_is_taken_back_at_once() -> None:
    run, actor = errand(goal(name='go', at='1 s'), LATER)
    undone = []
    actor.begin = lambda step: Over(Done(  # type: ignore[method-assign]
        False, 'no answer', lambda: Over(Done(True, undone.append('it') or ''))))
    run.until(2000)
    run.player.end()
    assert undone == ['it'] and run.scales[-1] == 1.0
    assert run.results()['scenario.go'] == ('ERROR', 'failed: no answer')


def test_what_stops_the_clock_ends_on_the_wall_clock() -> None:
    run = Run({'name': 'still', 'at': '1 s', 'for': '2 s', 'stop': 'simulator'})
    run.actors['stop'] = Errand()
    run.wall = 50 * S
    run.until(1000)
    for wall, undone in ((52 * S - 1, 0), (52 * S + 700 * MS, 1)):
        run.wall = wall
        run.player.work(S)
        run.player.work(S)
        assert [event for event, _ in run.events].count('undone') == undone
    assert run.results()['scenario.still'][1] == (
        'done once, at most 700 ms late, undone once: it was cancelled')


def test_it_is_over_when_nothing_happens_by_itself_any_more() -> None:
    run, actor = errand(goal(name='go', at='1 s'), LATER,
                        {'name': 'dark', 'when': {'/a': 'x > 1'}, 'light': {'scale': 0.3}})
    run.until(2000)
    run.player.condition(2, True)
    run.until(3000)
    assert not run.player.is_over, 'the goal still runs'
    actor.ends[0] = Done(True, 'reached')
    run.until(4000)
    assert run.player.is_over


def test_in_a_hurry_there_is_less_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('robot_qa.scenario.player.HURRY_S', 0.05)
    monkeypatch.setattr('robot_qa.scenario.player.PATIENCE_S', 3600.0)
    run = Run({'name': 'slow', 'at': '1 s', 'light': {'scale': 0.2}})
    run.lamp.slow = True
    run.until(2000)
    run.player.end(lambda: True)
    assert run.results()['scenario.slow'] == ('ERROR', 'failed: not over after 0.05 s')


def test_what_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('robot_qa.scenario.player.PATIENCE_S', 0.05)
    run = Run({'name': 'slow', 'at': '1 s', 'light': {'scale': 0.2}})
    run.lamp.slow = True
    run.until(2000)
    run.player.end()
    assert run.results()['scenario.slow'] == ('ERROR', 'failed: not over after 0.05 s')


@pytest.mark.parametrize('step,reason', [
    ({'at': '1 s', 'light': {'scale': 0.5}}, 'light: it has none'),
    ({'at': '1 s', 'wind': {'velocity': [1, 0, 0]}}, 'wind: nothing here can do it yet'),
])
def test_what_cannot_be_done_is_known_before_and_not_tried(
    step: dict[str, Any], reason: str,
) -> None:
    run = Run(step)
    run.lamp.lacking = 'light: it has none'
    run.player.check()
    run.until(2000)
    assert run.results()['scenario.0'] == ('INCONCLUSIVE', reason)
    assert run.lamp.scale == 1.0


def test_a_condition_starts_a_step_once_it_has_held() -> None:
    run = Run({'name': 'late', 'when': {'/a': 'x > 1'}, 'holds': '1 s', 'light': {'scale': 0.5}})

    def meanwhile(now: int) -> None:
        run.player.condition(0, now != 700)

    run.until(3000, meanwhile)
    # The times are those of the last work: true again since 700 ms.
    assert run.scales[16:18] == [1.0, 0.5]
    assert run.results()['scenario.late'][0] == 'PASS'


def test_a_condition_that_makes_no_sense_is_given_up() -> None:
    run = Run({'when': {'/a': 'x > 1'}, 'light': {'scale': 0.5}})
    run.player.give_up(0, 'no field x')
    run.player.condition(0, True)
    run.until(1000)
    assert run.results()['scenario.0'] == ('INCONCLUSIVE', 'no field x')
    assert run.lamp.scale == 1.0


@pytest.mark.parametrize('text,true', [
    ('min(ranges) < 1.5', [True, False]), ('min(ranges) > 1.5', [False, True]),
    ('header.frame_id == "laser"', [False, True]), ('ranges[7] > 0', [False, False]),
])
def test_a_condition_is_true_of_the_latest_message(text: str, true: list[bool]) -> None:
    condition = Condition.model_validate({'/scan': text})
    watch = ConditionWatch(condition, Context(TypeStore(), None, Confidence(0.95)))
    for index, messages in enumerate((
        [scan(START, (2.0, 3.0)), scan(START, (1.0, 3.0))],
        [scan(START, (1.0, 3.0)), scan(START, (2.0, 3.0), 'laser')],
    )):
        after = index * S
        found = watch.update([batch([after, after + 100 * MS], messages)])
        assert found[-1] is true[index]


def test_a_condition_on_a_field_that_is_not_there() -> None:
    condition = Condition.model_validate({'/scan': 'range > 1'})
    watch = ConditionWatch(condition, Context(TypeStore(), None, Confidence(0.95)))
    with pytest.raises(FieldPathError, match='ranges'):
        watch.update([batch([0], [scan(START)])])


def test_a_condition_is_true_of_every_message_in_between() -> None:
    condition = Condition.model_validate({'/scan': 'min(ranges) < 1.5'})
    watch = ConditionWatch(condition, Context(TypeStore(), None, Confidence(0.95)))
    near, far = scan(START, (1.0,)), scan(START, (2.0,))
    times = [one * MS for one in range(6)]
    assert watch.update([batch(times, [far, far, near, far, near, near])]) == [
        False, True, False, True]
    assert watch.update([]) == []
    assert watch.update([batch([S, S + MS], [near, far])]) == [True, False]


def test_a_condition_on_two_topics_holds_the_last_word_of_the_other() -> None:
    condition = Condition.model_validate(
        {'all': [{'/scan': 'min(ranges) < 1.5'}, {'/rear': 'min(ranges) < 1.5'}]})
    watch = ConditionWatch(condition, Context(TypeStore(), None, Confidence(0.95)))
    near, far = scan(START, (1.0,)), scan(START, (2.0,))
    assert watch.update([batch([0, MS], [far, near])]) == []
    assert watch.update([batch([2 * MS], [near], '/rear')]) == [True]
    assert watch.update([batch([3 * MS, 5 * MS], [far, near]),
                         batch([4 * MS, 6 * MS], [near, far], '/rear')]) == [False, True, False]


def test_a_break_within_one_drain_is_a_break() -> None:
    run = Run({'name': 'late', 'when': {'/a': 'x > 1'}, 'holds': '1 s', 'light': {'scale': 0.5}})

    def meanwhile(now: int) -> None:
        for is_true in [False, True] if now in {0, 700} else [True]:
            run.player.condition(0, is_true)

    run.until(1500, meanwhile)
    assert run.scales[-1] == 1.0
    run.until(1700)
    assert run.scales[-1] == 0.5


def test_a_step_that_still_lasts_is_not_done_again() -> None:
    run = Run({'name': 'ping', 'every': '1 s', 'light': {'scale': 0.7}, 'for': '100 ms'},
              {'name': 'blink', 'after': 'ping', 'light': {'scale': 0.2}, 'for': '1500 ms'})
    run.until(2400)
    assert ('skipped', 'blink') in run.events
    assert run.results()['scenario.blink'][1].startswith('done once')
