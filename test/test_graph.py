"""Checks on nodes and the graph: green on a sound one, red on a seeded fault, else undecided."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_qa.checks import CheckResult, judge
from robot_qa.errors import SpecError
from robot_qa.monitors.base import SimulatedClock
from robot_qa.monitors.graph import graph_monitors
from robot_qa.monitors.nodes import node_monitors
from robot_qa.monitors.qos import INFINITE_NS, Profile, incompatibilities
from robot_qa.probes.batch import Batch
from robot_qa.probes.journal import Journal
from robot_qa.spec.graph import GraphInterest, graph_interest
from robot_qa.spec.loader import load_spec
from robot_qa.spec.model import TestSpec, declared_checks
from samples import MS, START, S, clock_ticks, context, observed, split

PLAIN = ['reliable', 'volatile', INFINITE_NS, 'automatic', INFINITE_NS]
STRING = 'std_msgs/msg/String'
SECONDS = 10
Spec = dict[str, Any]
Entry = dict[str, Any]


# ---- made by hand -------------------------------------------------------------------------------

def spec_of(parts: Spec, **head: Any) -> TestSpec:
    return TestSpec.model_validate(
        {'robot_qa': 1, 'name': 'x', 'duration': f'{SECONDS} s', **head, **parts}
    )


def end(node: str, participant: str = 'a', kind: str = STRING, **qos: Any) -> Entry:
    profile = Profile(*PLAIN)._replace(**qos)
    return {'node': node, 'participant': participant, 'type': kind, 'qos': list(profile)}


def graph(nodes: list[str], complete: bool = True, **topics: Any) -> Entry:
    """Topics by name: a list of publishers and a list of subscribers."""
    return {
        'nodes': nodes, 'complete': complete,
        'topics': {
            f'/{name}': {'publishers': sides[0], 'subscribers': sides[1]}
            for name, sides in topics.items()
        },
    }


SOUND = graph(
    ['/robot', '/viewer'],
    scan=([end('/robot')], [end('/viewer', 'b'), end('/_robot_qa_7', 'c')]),
)
SAME: Entry = {}


def journal(name: str, looks: list[Entry | None], first: int = 20 * MS) -> list[Batch]:
    """Write an entry a second, ``None`` for a second without one."""
    kept = Journal(name)
    for second, entry in enumerate(looks):
        if entry is not None:
            kept.write(START + first + second * S, entry)
    return kept.drain()


def results(
    parts: Spec, batches: list[Batch], clock: SimulatedClock | None = None, **head: Any
) -> dict[str, CheckResult]:
    spec = spec_of(parts, **head)
    shared = context(clock=clock)
    monitors = graph_monitors(spec, shared) + node_monitors(spec, shared)
    for batch in batches:
        for monitor in monitors:
            if batch.topic in monitor.topics:
                monitor.update(batch)
    found = {}
    for monitor in monitors:
        for measured in monitor.measure(observed(float(SECONDS))):
            result = judge(measured, 'x:1:1')
            found[result.name] = result
    assert set(found) == {name for name, _ in declared_checks(spec)}
    return found


def only(parts: Spec, batches: list[Batch], **more: Any) -> CheckResult:
    (result,) = results(parts, batches, **more).values()
    return result


def steady(*looks: Entry) -> list[Batch]:
    """Return looks, the last of which stays as it is to the end."""
    return journal('graph', [*looks, *[SAME] * (SECONDS - len(looks))])


# ---- nodes --------------------------------------------------------------------------------------

GONE = graph(['/viewer'])
AGAIN = graph(['/robot'], scan=([end('/robot', 'new')], []))
ALIVE = {'nodes': {'/robot': {'alive': True}}}
RESTARTS = {'nodes': {'/robot': {'restarts': {'max': 0}}}}


@pytest.mark.parametrize('looks,verdict,text', [
    ([SOUND], 'PASS', 'held'),
    ([SOUND, SAME, SAME, GONE, SAME, SOUND], 'FAIL', 'from 3.0 s to 5.0 s'),
    ([SOUND, SAME, GONE], 'FAIL', '/robot was not in the graph from 2.0 s to the end'),
    ([GONE, SOUND], 'FAIL', 'from 0.0 s to 1.0 s'),
    ([graph(['/robot_2', '/ns/robot'])], 'FAIL', 'from 0.0 s to the end'),
])
def test_alive(looks: list[Entry], verdict: str, text: str) -> None:
    result = only(ALIVE, steady(*looks))
    assert result.verdict.value == verdict
    assert text in result.reason


@pytest.mark.parametrize('looks,verdict,count', [
    ([SOUND], 'PASS', 0),
    ([SOUND, SAME, AGAIN], 'FAIL', 1),
    ([SOUND, GONE, AGAIN], 'FAIL', 1),
    ([SOUND, GONE, SOUND], 'FAIL', 1),  # a node that was reloaded by the same process
    ([SOUND, graph(['/robot']), AGAIN], 'FAIL', 1),  # its endpoints were not known yet
    ([SOUND, GONE], 'PASS', 0),
    ([GONE, SOUND], 'PASS', 0),
    ([SOUND, AGAIN, GONE, graph(['/robot'], scan=([], [end('/robot', 'third')]))], 'FAIL', 2),
    # What a killed process leaves in the graph for a while is no second restart.
    ([SOUND, graph(['/robot', '/robot'], scan=([end('/robot'), end('/robot', 'new')], [])),
      AGAIN], 'FAIL', 1),
    ([GONE], 'INCONCLUSIVE', None),
])
def test_restarts(looks: list[Entry], verdict: str, count: int | None) -> None:
    result = only(RESTARTS, steady(*looks))
    assert result.verdict.value == verdict
    assert result.measurement is not None
    assert result.measurement.value == count


def test_a_restart_is_named_with_its_moment() -> None:
    result = only(RESTARTS, steady(SOUND, SAME, SAME, AGAIN))
    assert '/robot came back with the new identity new, 3.0 s after the start' in result.reason


# ---- the whole graph ----------------------------------------------------------------------------

UNIQUE = {'graph': {'unique_names': True}}


def test_unique_names() -> None:
    assert only(UNIQUE, steady(SOUND)).verdict.value == 'PASS'
    ours = graph(['/_robot_qa_7', '/_robot_qa_7', '/robot'])
    assert only(UNIQUE, steady(ours)).verdict.value == 'PASS'
    result = only(UNIQUE, steady(SOUND, graph(['/robot', '/viewer', '/robot']), SOUND))
    assert result.verdict.value == 'FAIL'
    assert '2 nodes are called /robot from 1.0 s to 2.0 s' in result.reason


MAPS = graph(
    ['/camera', '/viewer'],
    scan=([end('/camera')], [end('/viewer')]),
    map=([end('/camera')], [end('/viewer', durability='transient_local')]),
)
MAP_TEXT = ('/camera (reliable, volatile) -> /viewer (reliable, transient_local) on /map: '
            'durability: offered volatile, requested transient_local')


@pytest.mark.parametrize('parts,verdict', [
    ({'graph': {'qos_compatible': True}}, 'FAIL'),
    ({'graph': {'qos_compatible': ['/scan', '/map']}}, 'FAIL'),
    ({'graph': {'qos_compatible': ['/scan']}}, 'PASS'),
    ({'topics': {'/map': {'qos_compatible': True}}}, 'FAIL'),
    ({'topics': {'/scan': {'qos_compatible': True}}}, 'PASS'),
])
def test_qos_between_other_nodes(parts: Spec, verdict: str) -> None:
    result = only(parts, steady(SOUND, MAPS, SOUND))
    assert result.verdict.value == verdict
    assert (f'first: {MAP_TEXT} from 1.0 s to 2.0 s' in result.reason) == (verdict == 'FAIL')


def test_our_own_subscription_is_nobodys_fault() -> None:
    strict = end('/ns/_robot_qa_7', durability='transient_local')
    looks = steady(graph(['/robot'], scan=([end('/robot')], [strict])))
    assert only({'graph': {'qos_compatible': True}}, looks).verdict.value == 'PASS'


def test_two_types_on_one_topic_do_not_talk() -> None:
    looks = steady(graph(['/a', '/b'], x=([end('/a')], [end('/b', kind='std_msgs/msg/Bool')])))
    result = only({'graph': {'qos_compatible': True}}, looks)
    assert 'on /x: type: offered std_msgs/msg/String, requested std_msgs/msg/Bool' in result.reason


@pytest.mark.parametrize('offered,requested,texts', [
    ({}, {}, []),
    ({'reliability': 'reliable'}, {'reliability': 'best_effort'}, []),
    ({'reliability': 'best_effort'}, {'reliability': 'reliable'},
     ['reliability: offered best_effort, requested reliable']),
    ({'durability': 'transient_local'}, {'durability': 'volatile'}, []),
    ({'durability': 'volatile'}, {'durability': 'transient_local'},
     ['durability: offered volatile, requested transient_local']),
    ({'deadline_ns': 100 * MS}, {}, []),
    ({'deadline_ns': 100 * MS}, {'deadline_ns': 100 * MS}, []),
    ({'deadline_ns': 200 * MS}, {'deadline_ns': 100 * MS},
     ['deadline: offered 200 ms, requested 100 ms']),
    ({}, {'deadline_ns': 100 * MS}, ['deadline: offered infinite, requested 100 ms']),
    ({'liveliness': 'manual_by_topic'}, {}, []),
    ({}, {'liveliness': 'manual_by_topic'},
     ['liveliness: offered automatic, requested manual_by_topic']),
    ({'lease_ns': 2 * S}, {'lease_ns': S}, ['liveliness lease: offered 2 s, requested 1 s']),
    ({'lease_ns': S}, {'lease_ns': 2 * S}, []),
    # What a profile leaves open is not judged.
    ({'reliability': 'unknown'}, {'reliability': 'reliable'}, []),
    ({'durability': 'volatile'}, {'durability': 'system_default'}, []),
    ({'deadline_ns': 0}, {'deadline_ns': S}, []),
    ({'deadline_ns': S}, {'deadline_ns': 0}, []),
    ({'reliability': 'best_effort'}, {'durability': 'transient_local', 'lease_ns': S},
     ['reliability: offered best_effort, requested reliable',
      'durability: offered volatile, requested transient_local',
      'liveliness lease: offered infinite, requested 1 s']),
])
def test_the_rules_of_dds(offered: Entry, requested: Entry, texts: list[str]) -> None:
    plain = Profile(*PLAIN)
    found = incompatibilities(plain._replace(**offered), plain._replace(**requested))
    assert list(found) == texts


TWO = graph(['/robot', '/ghost'], scan=([end('/robot'), end('/ghost', 'b')], []))


@pytest.mark.parametrize('limits,looks,verdict,value', [
    ({'publishers': 1}, [SOUND], 'PASS', 1),
    ({'publishers': 1}, [SOUND, TWO, SOUND], 'FAIL', 2),
    ({'publishers': 1}, [SOUND, GONE], 'FAIL', 0),
    ({'publishers': {'min': 1}}, [TWO], 'PASS', 2),
    ({'publishers': {'max': 1}}, [SOUND, SAME, TWO], 'FAIL', 2),
    ({'subscribers': 1}, [SOUND], 'PASS', 1),  # ours is not among them
    ({'subscribers': {'min': 1}}, [SOUND, TWO], 'FAIL', 0),
])
def test_counts(limits: Spec, looks: list[Entry], verdict: str, value: int) -> None:
    result = only({'topics': {'/scan': limits}}, steady(*looks))
    assert result.verdict.value == verdict
    assert result.measurement is not None
    assert result.measurement.value == value


def test_a_count_names_who_is_too_many() -> None:
    result = only({'topics': {'/scan': {'publishers': 1}}}, steady(SOUND, TWO))
    assert result.reason == ('2 publishers, exactly 1 publisher wanted; first: 2 publishers: '
                             '/ghost, /robot from 1.0 s to the end')


# ---- what is not known --------------------------------------------------------------------------

EVERYTHING: Spec = {
    'nodes': {'/robot': {
        'alive': True, 'restarts': {'max': 0}, 'lifecycle': 'active',
        'parameters': {'speed': {'min': 0, 'max': 1}, 'mode': {'equals': 'auto'}},
    }},
    'graph': {'unique_names': True, 'qos_compatible': True},
    'topics': {'/scan': {
        'publishers': 1, 'subscribers': {'min': 1, 'max': 3}, 'qos_compatible': True,
    }},
}


def said(speed: Any = 0.5, mode: Any = 'auto') -> Entry:
    return {'node': '/robot', 'subject': 'parameters', 'answer': {'speed': speed, 'mode': mode}}


def state(label: str) -> Entry:
    return {'node': '/robot', 'subject': 'lifecycle', 'answer': label}


def silent(subject: str) -> Entry:
    return {'node': '/robot', 'subject': subject, 'error': 'did not answer'}


def answers(*entries: Entry) -> list[Batch]:
    """Return answers a second apart, the last one again and again to the end."""
    return journal('nodes', [*entries, *[entries[-1]] * (SECONDS - len(entries))])


def test_a_sound_system_is_green_everywhere() -> None:
    batches = [*steady(SOUND), *answers(said()), *answers(state('active'))]
    found = results(EVERYTHING, batches)
    assert {name: one.reason for name, one in found.items() if one.verdict.value != 'PASS'} == {}


def test_without_a_journal_nothing_is_decided() -> None:
    found = results(EVERYTHING, [])
    assert {one.verdict.value for one in found.values()} == {'INCONCLUSIVE'}
    assert found['nodes./robot.alive'].reason == 'the graph was not recorded'
    assert found['nodes./robot.lifecycle'].reason == (
        '/robot was not asked for its lifecycle: that takes a live graph')


@pytest.mark.parametrize('looks', [
    [SOUND, SAME, None, None, None, None, None, SAME, SAME, SAME],
    [SOUND, SAME, SAME],
    [None, None, None, None, None, None, SOUND, SAME, SAME, SAME],
])
def test_unchanged_is_not_unwatched(looks: list[Entry | None]) -> None:
    found = results({
        'nodes': {'/robot': {'alive': True, 'restarts': {'max': 0}}}, **UNIQUE,
        'topics': {'/scan': {'publishers': 1}},
    }, journal('graph', looks))
    assert {one.verdict.value for one in found.values()} == {'INCONCLUSIVE'}
    assert {'not known from' in one.reason for one in found.values()} == {True}
    # One look that is wrong is enough, whatever was not seen.
    wrong = only({'topics': {'/scan': {'publishers': 2}}}, journal('graph', looks))
    assert wrong.verdict.value == 'FAIL'


def test_topics_that_were_not_looked_at_are_unknown() -> None:
    partial = steady(graph(['/robot'], complete=False, scan=([end('/robot')], [])))
    found = results({
        'graph': {'qos_compatible': True},
        'topics': {'/odom': {'publishers': 0}, '/scan': {'publishers': 1}},
    }, partial)
    assert {name: one.verdict.value for name, one in found.items()} == {
        'graph.qos_compatible': 'INCONCLUSIVE', 'topics./odom.publishers': 'INCONCLUSIVE',
        'topics./scan.publishers': 'PASS',
    }
    assert 'the endpoints of /odom were not recorded' in found['topics./odom.publishers'].reason


# ---- what nodes say -----------------------------------------------------------------------------

@pytest.mark.parametrize('wanted,said_states,verdict,text', [
    ('active', ['active'], 'PASS', 'held'),
    ('active', ['active', 'active', 'inactive', 'active'], 'FAIL',
     'it was inactive, not active from 2.0 s to 3.0 s'),
    ('active', ['inactive', 'active'], 'FAIL', 'from 0.0 s'),
    ({'state': 'active', 'within': '3 s'}, ['inactive', 'activating', 'active'], 'PASS', 'held'),
    ({'state': 'active', 'within': '3 s'}, ['inactive'] * 5 + ['active'], 'FAIL', 'to 5.0 s'),
    ({'state': 'active', 'within': '3 s'}, ['active'] * 5 + ['finalized'], 'FAIL', 'finalized'),
])
def test_lifecycle(wanted: Any, said_states: list[str], verdict: str, text: str) -> None:
    parts = {'nodes': {'/robot': {'lifecycle': wanted}}}
    result = only(parts, answers(*map(state, said_states)))
    assert result.verdict.value == verdict
    assert text in result.reason


def test_lifecycle_on_simulated_time() -> None:
    """At half speed, 3 s of simulated time are over after 6 s."""
    parts = {'nodes': {'/robot': {'lifecycle': {'state': 'active', 'within': '3 s'}}}}
    states = answers(*map(state, ['inactive'] * 5 + ['active']))
    received = np.arange(1000) * 10 * MS
    clock = SimulatedClock()
    assert only(parts, states, clock=clock).verdict.value == 'INCONCLUSIVE'
    clock.update(clock_ticks(received, 5 * S + received // 2))
    assert only(parts, states, clock=clock).verdict.value == 'PASS'
    assert only(parts, states).verdict.value == 'FAIL'


@pytest.mark.parametrize('limits,readings,verdict,text', [
    ({'equals': 0.5}, [0.5], 'PASS', 'held'),
    ({'equals': 0.5}, [0.5, 0.7, 0.5], 'FAIL', 'speed = 0.7 from 1.0 s to 2.0 s'),
    ({'equals': 1}, [True], 'FAIL', 'speed = true'),
    ({'equals': True}, [True], 'PASS', 'held'),
    ({'equals': 1}, [1.0], 'PASS', 'held'),
    ({'equals': 'fast'}, ['fast'], 'PASS', 'held'),
    ({'one_of': ['slow', 'fast']}, ['slow', 'fast'], 'PASS', 'held'),
    ({'one_of': ['slow', 'fast']}, ['slow', 'mad'], 'FAIL', 'speed = "mad"'),
    ({'min': 0.1}, [0.5, 0.1], 'PASS', '0.1, at least 0.1 wanted'),
    ({'min': 0.1}, [0.5, 0.0, 0.5], 'FAIL', '0, at least 0.1 wanted; first: speed = 0.0'),
    ({'max': 1}, [0.5, 1.5], 'FAIL', '1.5, at most 1 wanted'),
    ({'max': 1}, [float('nan')], 'FAIL', 'speed = NaN'),
    ({'max': 1}, ['fast'], 'FAIL', 'speed = "fast", which is not a number'),
    ({'max': 1}, [None], 'FAIL', 'speed is not declared'),
    ({'equals': 1}, [1, None], 'FAIL', 'speed is not declared from 1.0 s to the end'),
])
def test_parameters(limits: Spec, readings: list[Any], verdict: str, text: str) -> None:
    parts = {'nodes': {'/robot': {'parameters': {'speed': limits}}}}
    result = only(parts, answers(*(said(speed) for speed in readings)))
    assert result.verdict.value == verdict
    assert text in result.reason


def test_a_node_that_does_not_answer_is_undecided_with_the_reason() -> None:
    parts = {'nodes': {'/robot': {'lifecycle': 'active', 'parameters': {'speed': {'max': 1}}}}}
    never = results(parts, [*answers(silent('lifecycle')), *answers(silent('parameters'))])
    assert {one.verdict.value for one in never.values()} == {'INCONCLUSIVE'}
    assert {one.reason for one in never.values()} == {'/robot did not answer'}
    (late,) = results(
        {'nodes': {'/robot': {'parameters': {'speed': {'max': 1}}}}},
        answers(said(), said(), silent('parameters')),
    ).values()
    assert late.verdict.value == 'INCONCLUSIVE'
    assert late.reason == 'not known from 1.0 s to the end: /robot did not answer'
    short = answers(said(), silent('parameters'), silent('parameters'), said())
    assert {one.verdict.value for one in results(
        {'nodes': {'/robot': {'parameters': {'speed': {'max': 1}}}}}, short
    ).values()} == {'PASS'}


# ---- all of them --------------------------------------------------------------------------------

@settings(max_examples=60, deadline=None)
@given(st.data())
def test_the_moments_of_draining_change_nothing(data: st.DataObject) -> None:
    looks = data.draw(st.lists(
        st.sampled_from([SOUND, SAME, SAME, GONE, AGAIN, TWO, MAPS, None]), max_size=10))
    asked = data.draw(st.lists(st.sampled_from(
        [said(), said(2.0), said(None), state('active'), state('inactive'), silent('lifecycle')]
    ), max_size=10))
    whole = [*journal('graph', looks), *journal('nodes', asked)]
    borders = data.draw(st.lists(st.integers(0, 10), max_size=5))

    def measured(batches: list[Batch]) -> list[str]:
        return [repr(one) for one in results(EVERYTHING, batches).values()]

    pieces = [piece for one in whole
              for piece in split(one, [border for border in borders if border < len(one)])]
    assert measured(whole) == measured(pieces)


# ---- the spec -----------------------------------------------------------------------------------

HEAD = 'robot_qa: 1\nname: x\nduration: 10 s\n'


@pytest.mark.parametrize('text,problem', [
    ('nodes: {robot: {alive: true}}', '4:9: "robot" is not an absolute ROS name; did you mean'),
    ('nodes: {/robot: {}}', 'nothing is checked here (valid: alive, restarts, lifecycle, param'),
    ('nodes: {/robot: {parameters: {}}}', 'nothing is checked here'),
    ('nodes: {/robot: {alive: false}}', 'false checks nothing; remove the key'),
    ('nodes: {/robot: {lifecycle: activ}}', '"activ"; did you mean "active"?'),
    ('nodes: {/robot: {lifecycle: {state: active, within: 10 s}}}', 'not below the duration'),
    ('nodes: {/robot: {parameters: {a: {min: 2, max: 1}}}}', 'max is below min'),
    ('nodes: {/robot: {parameters: {a: {min: 2, equals: 3}}}}', 'contradict each other'),
    ('nodes: {/robot: {restarts: 0}}', '4:28: '),
    ('graph: {}', 'nothing is checked here (valid: unique_names, qos_compatible)'),
    ('graph: {qos_compatible: false}', 'false checks nothing'),
    ('graph: {qos_compatible: [scan]}', '4:26: "scan" is not an absolute ROS name'),
    ('topics: {/scan: {publishers: {min: 2, max: 1}}}', 'max is below min'),
    ('topics: {/scan: {subscribers: -1}}', 'subscribers'),
])
def test_mistakes_in_a_spec(text: str, problem: str, tmp_path: Path) -> None:
    path = tmp_path / 'x.qa.yaml'
    path.write_text(HEAD + text + '\n')
    with pytest.raises(SpecError) as caught:
        load_spec(path)
    if problem == 'subscribers':
        assert ':4:' in str(caught.value)
    else:
        assert problem in str(caught.value)


def test_what_is_watched_is_what_the_spec_asks() -> None:
    assert graph_interest(spec_of({'topics': {'/scan': {'gap': {'max': '1 s'}}}})) is None
    assert graph_interest(spec_of(EVERYTHING)) == GraphInterest(
        None, {'/scan': (1, 1)}, ('/robot',), ('/robot',), {'/robot': ('speed', 'mode')},
        ('/robot',),
    )
    less = spec_of({
        'nodes': {'/robot': {'alive': True}}, 'graph': {'qos_compatible': ['/map']},
        'topics': {
            '/scan': {'subscribers': {'min': 2, 'max': 3}}, '/odom': {'gap': {'max': '1 s'}},
        },
    })
    found = graph_interest(less)
    assert found is not None
    assert asdict(found) == {
        'topics': ('/map', '/scan'), 'least': {'/scan': (0, 2)}, 'nodes': ('/robot',),
        'identities': (), 'parameters': {}, 'lifecycles': (),
    }
