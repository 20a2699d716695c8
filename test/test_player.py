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
from robot_qa.scenario.player import Done, Gradual, Player
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
        })
        self.lamp = Lamp()
        self.events: list[tuple[str, str]] = []
        self.player = Player(
            spec.scenario, Agenda(spec.scenario, 10 * S, seed), {'light': self.lamp},
            lambda event, detail: self.events.append((event, detail.partition(':')[0])),
        )
        self.player.check()
        self.scales: list[float] = []

    def until(self, end_ms: int, meanwhile: Callable[[int], None] = lambda _: None) -> None:
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
    assert not watch.is_true
    for index, messages in enumerate((
        [scan(START, (2.0, 3.0)), scan(START, (1.0, 3.0))],
        [scan(START, (1.0, 3.0)), scan(START, (2.0, 3.0), 'laser')],
    )):
        watch.update(batch([0, 100 * MS], messages))
        assert watch.is_true is true[index]


def test_a_condition_on_a_field_that_is_not_there() -> None:
    condition = Condition.model_validate({'/scan': 'range > 1'})
    watch = ConditionWatch(condition, Context(TypeStore(), None, Confidence(0.95)))
    with pytest.raises(FieldPathError, match='ranges'):
        watch.update(batch([0], [scan(START)]))


def test_a_step_that_still_lasts_is_not_done_again() -> None:
    run = Run({'name': 'ping', 'every': '1 s', 'light': {'scale': 0.7}, 'for': '100 ms'},
              {'name': 'blink', 'after': 'ping', 'light': {'scale': 0.2}, 'for': '1500 ms'})
    run.until(2400)
    assert ('skipped', 'blink') in run.events
    assert run.results()['scenario.blink'][1].startswith('done once')
