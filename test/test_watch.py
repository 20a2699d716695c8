"""Whose fault a missing message is, and what to ask of publishers; without ROS."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from robot_qa.probes.qos import Asked, as_text
from robot_qa.probes.watch import Wanted, Watch

A, B = b'a' * 16, b'b' * 16


@dataclass
class LostEvent:
    """The middleware's count of what it lost on the way."""

    total: int = 0

    def __enter__(self) -> LostEvent:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def take_event(self) -> Any:
        return SimpleNamespace(total_count=self.total)


def info(sequence: int | None, gid: bytes | None = A) -> dict[str, Any]:
    told = {} if gid is None else {'publisher_gid': {'data': gid}}
    return {
        'source_timestamp': 7, 'received_timestamp': 9, 'publication_sequence_number': sequence,
        **told,
    }


def take(watch: Watch, *sequence: int, full: bool = False) -> None:
    gaps = watch.gaps
    for number in sequence:
        watch.numbers(info(number))
    watch.took(gaps, full)


@pytest.fixture
def watch() -> Watch:
    return Watch(Wanted('/scan'), lost_event=LostEvent())


def test_every_publisher_counts_for_itself(watch: Watch) -> None:
    assert watch.numbers(info(5, A)) == (7, 9, 5, 0)
    assert watch.numbers(info(900, B)) == (7, 9, 900, 1)
    assert watch.numbers(info(6, A)) == (7, 9, 6, 0)
    assert watch.gaps == 0
    assert watch.numbers(info(9, A)) == (7, 9, 9, 0)
    assert watch.gaps == 2


def test_what_came_through_another_subscription_is_not_taken_twice(watch: Watch) -> None:
    take(watch, 5, 6, 7)
    assert watch.numbers(info(6)) is None
    assert watch.numbers(info(7)) is None
    assert watch.numbers(info(8)) == (7, 9, 8, 0)
    assert watch.gaps == 0


def test_numbers_say_nothing_when_their_publisher_is_not_told(watch: Watch) -> None:
    assert watch.numbers(info(5, None)) == (7, 9, 5, 0)
    # It may be another publisher's message, so it must not be dropped.
    assert watch.numbers(info(3, None)) == (7, 9, 3, 0)
    watch.publishers.update({A: 0, B: 1})
    assert watch.numbers(info(6, None)) == (7, 9, 0, 0)


def test_a_middleware_without_numbers_has_no_gaps(watch: Watch) -> None:
    for _ in range(3):
        assert watch.numbers(info(None)) == (7, 9, 0, 0)
    assert watch.gaps == 0


def test_a_gap_is_the_robots_unless_our_queue_was_full(watch: Watch) -> None:
    take(watch, 1, 2, 10)
    assert (watch.gaps, watch.overruns()) == (7, 0)
    take(watch, 20, 21, full=True)
    assert (watch.gaps, watch.overruns()) == (16, 16 - 7)


def test_what_the_middleware_lost_is_not_ours_even_if_our_queue_was_full(watch: Watch) -> None:
    watch.lost_event.total = 4
    take(watch, 1, 10, full=True)
    assert watch.overruns() == 8 - 4
    # The event may come before its gap is seen.
    watch.lost_event.total = 100
    assert watch.overruns() == 0
    take(watch, 107)
    assert watch.overruns() == 4


def test_counting_starts_anew_at_the_beginning(watch: Watch) -> None:
    watch.lost_event.total = 3
    take(watch, 1, 10, full=True)
    watch.begin(now=1.0)
    take(watch, 50, 51, full=True)
    assert (watch.gaps, watch.overruns()) == (0, 0)
    watch.lost_event.total = 5
    take(watch, 56, full=True)
    assert watch.overruns() == 4 - 2


def test_the_event_of_a_new_subscription_goes_on_counting(watch: Watch) -> None:
    watch.lost_event.total = 2
    take(watch, 1, 10, full=True)
    watch.change_lost_event(LostEvent())
    assert watch.overruns() == 8 - 2
    watch.lost_event.total = 1
    assert watch.overruns() == 8 - 2 - 1


def test_what_is_missed_while_we_change_the_subscription_is_ours(watch: Watch) -> None:
    take(watch, 1, 2)
    watch.interrupted = True
    take(watch, 6, 7)
    take(watch, 10)
    assert watch.overruns() == 3


def endpoint(reliability: str, durability: str) -> Any:
    span = SimpleNamespace(nanoseconds=1_500_000_000)
    return SimpleNamespace(qos_profile=SimpleNamespace(
        reliability=SimpleNamespace(name=reliability), durability=SimpleNamespace(name=durability),
        liveliness=SimpleNamespace(name='AUTOMATIC'), deadline=span, lifespan=span,
        liveliness_lease_duration=span,
    ))


FIRM, LATCHED = endpoint('RELIABLE', 'VOLATILE'), endpoint('RELIABLE', 'TRANSIENT_LOCAL')
WEAK = endpoint('BEST_EFFORT', 'VOLATILE')


def test_no_more_is_asked_than_every_publisher_offers() -> None:
    assert Asked.that_suits([LATCHED]) == Asked(reliable=True, latched=True)
    assert Asked.that_suits([LATCHED, FIRM]) == Asked(reliable=True, latched=False)
    assert Asked.that_suits([LATCHED, WEAK]) == Asked(reliable=False, latched=False)


@pytest.mark.parametrize('offered', [FIRM, LATCHED, WEAK])
@pytest.mark.parametrize('asked', [FIRM, LATCHED, WEAK])
def test_a_publisher_is_heard_that_offers_at_least_what_is_asked(asked: Any, offered: Any) -> None:
    strength = [WEAK, FIRM, LATCHED]
    heard = Asked.that_suits([asked]).hears(Asked.that_suits([offered]))
    assert heard == (strength.index(offered) >= strength.index(asked))


def test_an_offer_is_written_as_yaml() -> None:
    span = {'sec': 1, 'nsec': 500_000_000}
    assert yaml.safe_load(as_text(LATCHED.qos_profile)) == [{
        'history': 'unknown', 'depth': 0, 'reliability': 'reliable',
        'durability': 'transient_local', 'deadline': span, 'lifespan': span,
        'liveliness': 'automatic', 'liveliness_lease_duration': span,
        'avoid_ros_namespace_conventions': False,
    }]
