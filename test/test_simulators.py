"""Every action against every adapter: embedded, Gazebo, a poorer one, and none."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gazebo_client import Eyes, server, xyz
from robot_qa.domains import claim_domain
from robot_qa.errors import SetupError
from robot_qa.simulators.base import (
    FEATURES,
    Action,
    ActionError,
    Friction,
    Gravity,
    Light,
    Move,
    Outcome,
    Pause,
    Pending,
    Play,
    Pose,
    Push,
    Remove,
    Reset,
    Simulator,
    Spawn,
    Step,
    Wind,
    make_simulator,
)
from robot_qa.simulators.none import NoSimulator
from simulator_client import Client, simulator

INERTIAL = ('<inertial><mass>2</mass><inertia><ixx>0.1</ixx><iyy>0.1</iyy><izz>0.1</izz></inertia>'
            '</inertial>')
BOX = f"""<sdf version="1.9"><model name="box"><link name="l">{INERTIAL}
<collision name="c"><geometry><box><size>0.2 0.2 0.2</size></box></geometry></collision>
</link></model></sdf>"""
WORLD = f"""<sdf version="1.9"><world name="room">
<physics type="ode"><max_step_size>0.001</max_step_size></physics><gravity>0 0 -9.8</gravity>
<plugin filename="gz-sim-physics-system" name="gz::sim::systems::Physics"/>
<plugin filename="gz-sim-user-commands-system" name="gz::sim::systems::UserCommands"/>
<plugin filename="gz-sim-scene-broadcaster-system" name="gz::sim::systems::SceneBroadcaster"/>
<plugin filename="gz-sim-wind-effects-system" name="gz::sim::systems::WindEffects">
  <force_approximation_scaling_factor>1</force_approximation_scaling_factor></plugin>
<light name="sun" type="directional"><direction>0 0 -1</direction></light>
<model name="ball"><pose>0 2 1 0 0 0</pose><link name="l">{INERTIAL}</link></model>
<model name="kite"><pose>0 9 1 0 0 0</pose><link name="l">{INERTIAL}
  <enable_wind>true</enable_wind></link></model>
<model name="mast"><static>true</static><pose>3 0 0.5 0 0 1.5707963267948966</pose>
  <link name="l"/></model>
</world></sdf>"""
AT = Pose((1.0, 2.0, 3.0))
DEADLINE_S = 20.0
ALL: list[Action] = [
    Spawn('new', BOX, AT), Remove('ball'), Move('ball', AT), Push('ball'), Light(0.5),
    Wind((3.0, 0.0, 0.0)), Friction(0.5), Gravity((0.0, 0.0, 0.0)), Pause(), Play(), Step(3),
    Reset(),
]


@dataclass
class Bench:
    """An adapter, connected, and what has to happen while it waits."""

    sim: Simulator
    spin: Callable[[], Any] = lambda: None

    def wait(self, pending: Pending) -> Outcome:
        deadline = time.monotonic() + DEADLINE_S
        while (outcome := pending.poll()) is None:
            assert time.monotonic() < deadline, 'no outcome'
            self.spin()
            time.sleep(0.0005)
        assert pending.poll() is outcome
        return outcome

    def do(self, action: Action) -> Outcome:
        return self.wait(self.sim.do(action))

    def done(self, action: Action) -> Outcome:
        outcome = self.do(action)
        assert outcome.ok, outcome.detail
        return outcome

    def undone(self, outcome: Outcome) -> Outcome:
        assert outcome.undo is not None
        return self.done(outcome.undo)


class Room(Bench):
    """A bench with a second way to see what happens."""

    near = 1e-6
    """How exactly that is, in m and m/s."""

    def there(self, name: str) -> bool:
        raise NotImplementedError

    def at(self, name: str) -> tuple[float, ...]:
        raise NotImplementedError

    def turned(self, name: str) -> tuple[float, ...]:
        """Return the rotation as x, y, z, w."""
        raise NotImplementedError

    def velocity(self, name: str) -> tuple[float, ...]:
        """Return the velocity; it may take a step to see it."""
        raise NotImplementedError

    def now(self) -> float:
        raise NotImplementedError

    def approx(self, value: Any) -> Any:
        return pytest.approx(value, abs=self.near)


class Embedded(Room):
    """The embedded simulator."""

    def __init__(self, client: Client) -> None:
        import rclpy

        self.client = client
        self.node = rclpy.create_node('adapter', context=client.context)
        super().__init__(make_simulator('embedded', self.node))

    def state(self, name: str) -> Any:
        from simulation_interfaces.srv import GetEntityState

        answer = self.client.call(GetEntityState, '/get_entity_state', entity=name)
        return answer.state if answer.result.result == 1 else None

    def there(self, name: str) -> bool:
        return self.state(name) is not None

    def turned(self, name: str) -> tuple[float, ...]:
        turned = self.state(name).pose.orientation
        return turned.x, turned.y, turned.z, turned.w

    def at(self, name: str) -> tuple[float, ...]:
        point = self.state(name).pose.position
        return point.x, point.y, point.z

    def velocity(self, name: str) -> tuple[float, ...]:
        linear = self.state(name).twist.linear
        return linear.x, linear.y, linear.z

    def now(self) -> float:
        stamp = self.state('ball').header.stamp
        return float(stamp.sec + stamp.nanosec / 1e9)

    def parameter(self, name: str) -> Any:
        from rcl_interfaces.srv import GetParameters
        from rclpy.parameter import parameter_value_to_python

        answer = self.client.call(GetParameters, '/simulator/get_parameters', names=[name])
        value = parameter_value_to_python(answer.values[0])
        return value if isinstance(value, float) else list(value)


class Gazebo(Room):
    """Gazebo, seen by its own command line."""

    near = 2e-3

    def __init__(self) -> None:
        super().__init__(make_simulator('gazebo', None))
        assert self.wait(self.sim.connect()) == Outcome(True, 'Gazebo Harmonic, world "room"')
        self.eyes = Eyes('room')

    def there(self, name: str) -> bool:
        return self.eyes.pose(name) is not None

    def at(self, name: str) -> tuple[float, ...]:
        pose = self.eyes.pose(name)
        assert pose is not None, f'{name} is not there'
        return xyz(pose.get('position', {}))

    def turned(self, name: str) -> tuple[float, ...]:
        pose = self.eyes.pose(name)
        assert pose is not None, f'{name} is not there'
        return xyz(pose['orientation'], 'xyzw')

    def velocity(self, name: str) -> tuple[float, ...]:
        before = self.at(name)
        self.done(Step())
        return tuple((new - old) / 0.001
                     for new, old in zip(self.at(name), before, strict=True))

    def now(self) -> float:
        stamp = self.eyes.look().get('header', {}).get('stamp', {})
        return int(stamp.get('sec', 0)) + int(stamp.get('nsec', 0)) / 1e9


@pytest.fixture(scope='module')
def gazebo_room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gazebo]:
    folder = tmp_path_factory.mktemp('gazebo')
    (folder / 'room.sdf').write_text(WORLD)
    with server(folder / 'room.sdf', folder, 'conformance'):
        bench = Gazebo()
        try:
            yield bench
        finally:
            bench.sim.close()
            bench.eyes.close()


@pytest.fixture
def gazebo_bench(gazebo_room: Gazebo) -> Gazebo:
    """The room as it was at the start."""
    gazebo_room.done(Pause())
    gazebo_room.done(Reset())
    return gazebo_room


@pytest.fixture(params=[
    pytest.param('bench', marks=pytest.mark.live, id='embedded'),
    pytest.param('gazebo_bench', marks=pytest.mark.gazebo, id='gazebo'),
])
def both(request: pytest.FixtureRequest) -> Room:
    """The room of the simulators that can do most, as it was at the start."""
    return request.getfixturevalue(request.param)  # type: ignore[no-any-return]


@pytest.fixture(scope='module')
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    pytest.importorskip('mujoco')
    pytest.importorskip('rclpy')
    folder = tmp_path_factory.mktemp('room')
    (folder / 'room.sdf').write_text(WORLD)
    with simulator(folder / 'room.sdf', folder, '--paused') as client:
        bench = Embedded(client)
        assert bench.wait(bench.sim.connect()) == Outcome(True, 'robot_qa embedded simulator')
        yield bench
        bench.sim.close()
        bench.node.destroy_node()


@pytest.fixture
def bench(room: Embedded) -> Embedded:
    """The room as it was at the start; settings are for each test to take back."""
    room.done(Pause())
    room.done(Reset())
    return room


# --- a poorer simulator -------------------------------------------------------------------------

class Poor:
    """Spawns from URIs, deletes, and does single steps; its names are below /other."""

    def __init__(self, domain: int) -> None:
        import rclpy
        from rclpy.executors import SingleThreadedExecutor
        from simulation_interfaces import srv
        from simulation_interfaces.msg import SimulatorFeatures

        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.node = rclpy.create_node('other', context=self.context)
        self.adapter_node = rclpy.create_node('adapter', context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.entities: dict[str, str] = {}
        self.steps = 0
        self.features = [SimulatorFeatures.SPAWNING, SimulatorFeatures.DELETING,
                         SimulatorFeatures.STEP_SIMULATION_SINGLE]
        for kind, name in ((srv.GetSimulatorFeatures, 'get_simulator_features'),
                           (srv.SpawnEntity, 'spawn_entity'), (srv.DeleteEntity, 'delete_entity'),
                           (srv.StepSimulation, 'step_simulation')):
            self.node.create_service(kind, f'/other/{name}', getattr(self, name))

    def get_simulator_features(self, _: Any, response: Any) -> Any:
        response.features.features = self.features
        return response

    def spawn_entity(self, request: Any, response: Any) -> Any:
        self.entities[request.name] = request.uri
        response.entity_name = request.name
        response.result.result = 1
        return response

    def delete_entity(self, request: Any, response: Any) -> Any:
        found = self.entities.pop(request.entity, None) is not None
        response.result.result = 1 if found else 2
        return response

    def step_simulation(self, request: Any, response: Any) -> Any:
        self.steps += request.steps
        response.result.result = 1
        return response

    def spin(self) -> None:
        self.executor.spin_once(timeout_sec=0)

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        self.adapter_node.destroy_node()
        self.context.shutdown()


@pytest.fixture(scope='module')
def poor() -> Iterator[tuple[Bench, Poor]]:
    pytest.importorskip('rclpy')
    from robot_qa.simulators.standard import StandardSimulator

    with claim_domain() as claim:
        server = Poor(claim.id)
        bench = Bench(StandardSimulator(server.adapter_node, answer_s=0.7), server.spin)
        assert bench.wait(bench.sim.connect()).ok
        yield bench, server
        bench.sim.close()
        server.close()


@pytest.fixture(params=[
    pytest.param('embedded', marks=pytest.mark.live),
    pytest.param('poor', marks=pytest.mark.live), 'none',
    pytest.param('gazebo_bench', marks=pytest.mark.gazebo),
])
def any_bench(request: pytest.FixtureRequest) -> Bench:
    if request.param == 'none':
        return Bench(make_simulator('none', None))
    if request.param == 'poor':
        return request.getfixturevalue('poor')[0]  # type: ignore[no-any-return]
    name = 'bench' if request.param == 'embedded' else request.param
    return request.getfixturevalue(name)  # type: ignore[no-any-return]


# --- every adapter ------------------------------------------------------------------------------

def test_every_feature_has_an_action() -> None:
    assert {action.feature for action in ALL} == set(FEATURES)


@pytest.mark.parametrize('action', ALL, ids=lambda one: type(one).__name__)
def test_what_is_no_feature_is_refused_by_its_name(any_bench: Bench, action: Action) -> None:
    features = any_bench.sim.features
    assert (features.lack(action.feature) is None) == (action.feature in features.available)
    if action.feature in features.available:
        return  # What it does then is below.
    outcome = any_bench.sim.do(action).poll()
    assert outcome is not None and not outcome.ok and outcome.undo is None
    assert outcome.detail.startswith(f'{action.feature}: ') and len(outcome.detail) > 20


def test_hardware_has_no_features_and_is_always_there() -> None:
    assert NoSimulator().features.available == frozenset()
    assert NoSimulator().connect().poll() == Outcome(True)


def test_an_unknown_backend_is_told() -> None:
    with pytest.raises(SetupError, match='"embeded"; did you mean "embedded"'):
        make_simulator('embeded', None)


def test_an_action_that_fails_on_its_way_is_an_outcome() -> None:
    def work() -> Any:
        yield
        raise ActionError('too late', Remove('x'))

    pending = Pending(work())
    assert pending.poll() == Outcome(False, 'too late', Remove('x')) == pending.poll()


# --- what each action does, and its undo ----------------------------------------------

@pytest.mark.live
def test_the_embedded_simulator_has_everything(bench: Embedded) -> None:
    assert bench.sim.features.available == frozenset(FEATURES)


@pytest.mark.parametrize('source', ['text', 'file', 'folder'])
def test_spawn(both: Room, tmp_path: Path, source: str) -> None:
    folder = tmp_path / 'my box'
    folder.mkdir()
    (folder / 'model.sdf').write_text(BOX)
    (folder / 'model.config').write_text(
        '<model><name>box</name><sdf version="1.9">model.sdf</sdf></model>')
    sources = {'text': BOX, 'file': f'{folder}/model.sdf', 'folder': str(folder)}
    # The mast is at 3, 0, 0.5 and turned by 90 degrees: its x axis is the world's y axis.
    done = both.done(Spawn('new', sources[source], Pose((1.0, 0.0, 0.5)), 'mast'))
    assert both.at('new') == both.approx((3, 1, 1))
    assert both.turned('new') == both.approx((0, 0, math.sqrt(0.5), math.sqrt(0.5)))
    again = both.undone(done)
    assert done.undo == Remove('new') and not both.there('new')
    # The removal of what we spawned can be taken back as well.
    assert both.undone(again).undo == Remove('new')
    assert both.at('new') == both.approx((3, 1, 1))


def test_what_we_spawned_comes_back_where_it_was(both: Room) -> None:
    both.done(Spawn('new', BOX, AT))
    both.done(Move('new', Pose((5.0, 0.0, 0.0))))
    both.undone(both.done(Remove('new')))
    assert both.at('new') == both.approx((5, 0, 0))


def test_remove_of_what_the_world_had(both: Room) -> None:
    done = both.done(Remove('ball'))
    assert not both.there('ball')
    assert done.undo is None and 'the source of "ball" is not known' in done.detail


def test_move_keeps_the_velocity(both: Room) -> None:
    both.done(Step(100))
    falling = both.velocity('ball')
    before = both.at('ball')
    assert falling[2] == pytest.approx(-0.98, abs=0.02)
    done = both.done(Move('ball', Pose((1.0, 0.0, 0.5)), 'mast'))
    assert both.at('ball') == both.approx((3, 1, 1))
    assert both.velocity('ball')[2] == pytest.approx(falling[2], abs=0.02)
    assert both.undone(done).undo is not None
    assert both.at('ball') == both.approx(before)


def test_push_lasts_as_long_as_it_says(both: Room) -> None:
    done = both.done(Push('ball', force=(4.0, 0.0, 0.0), duration_ns=50_000_000))
    both.done(Step(200))
    # 4 N for 0.05 s on 2 kg. Gazebo's push is ended from outside, a few steps late.
    assert both.velocity('ball')[0] == pytest.approx(0.1, rel=0.1)
    assert done.undo == Push('ball')


def test_push_turns(both: Room) -> None:
    both.done(Push('ball', torque=(0.0, 0.0, 0.5)))
    both.done(Step(200))
    # 0.5 Nm for 0.2 s on 0.1 kg m^2 is 1 rad/s; half of that, for 0.2 s, is the angle.
    assert 2 * math.asin(both.turned('ball')[2]) == pytest.approx(0.1, rel=0.02)


def test_push_is_replaced_by_the_next_and_ended_by_the_undo(both: Room) -> None:
    done = both.done(Push('ball', 'l', force=(4.0, 0.0, 0.0)))
    both.done(Step(100))
    assert both.velocity('ball')[0] == pytest.approx(0.2, abs=0.005)
    both.done(Push('ball', force=(0.0, 2.0, 0.0)))
    both.done(Step(100))
    both.undone(done)
    both.done(Step(100))
    assert both.velocity('ball')[:2] == pytest.approx((0.2, 0.1), abs=0.005)
    both.done(Push('ball', force=(4.0, 0.0, 0.0)))
    both.done(Reset())
    both.done(Step(100))
    assert both.velocity('ball')[:2] == pytest.approx((0, 0), abs=1e-6)


def test_a_link_that_is_released_is_pushed_no_more(tmp_path: Path) -> None:
    pytest.importorskip('mujoco')
    from robot_qa.embedded.sdf import load_world
    from robot_qa.embedded.simulation import Simulation

    # Without links that feel wind, nothing else clears forces.
    (tmp_path / 'calm.sdf').write_text(WORLD.replace('<enable_wind>true', '<enable_wind>false'))
    simulation = Simulation(load_world(tmp_path / 'calm.sdf'))
    for name in ('ball', 'kite'):
        for _ in 'xx':
            simulation.apply_wrench(name, 'l', np.array([2.0, 0.0, 0.0]), np.zeros(3), 2**62)
    simulation.release('ball', 'l')
    simulation.step(100)
    simulation.release('kite', 'l')
    simulation.step(100)
    speeds = [float(simulation.twist(name)[0][0]) for name in ('ball', 'kite')]
    assert speeds == pytest.approx([0.0, 0.2])


@pytest.mark.live
@pytest.mark.parametrize('first,second,parameter', [
    (Light(0.5), Light(0.1), 'light_scale'), (Friction(0.5), Friction(0.1), 'friction_scale'),
    (Gravity((0.0, 0.0, -1.6)), Gravity((0.0, 0.0, 2.0)), 'gravity'),
    (Wind((3.0, 0.0, 0.0)), Wind((0.0, 1.0, 0.0)), 'wind'),
], ids=lambda one: type(one).__name__)
def test_settings_go_back_to_what_they_were_before(
    bench: Embedded, first: Action, second: Action, parameter: str,
) -> None:
    def value(action: Action) -> Any:
        held, = vars(action).values()
        return held if isinstance(held, float) else list(held)

    before = bench.parameter(parameter)
    one = bench.done(first)
    two = bench.done(second)
    assert bench.parameter(parameter) == value(second) and two.undo == first
    bench.undone(two)
    assert bench.parameter(parameter) == value(first)
    bench.undone(one)
    assert bench.parameter(parameter) == before != value(first)


@pytest.mark.live
def test_gravity_and_wind_are_felt(bench: Embedded) -> None:
    undo = [bench.done(Gravity((0.0, 0.0, -2.0))), bench.done(Wind((3.0, 0.0, 0.0)))]
    try:
        bench.done(Step(100))
        assert bench.velocity('ball') == pytest.approx((0, 0, -0.2))
        # dv/dt = wind - v (Gazebo's law, factor 1): v = 3 (1 - 0.999^100).
        assert bench.velocity('kite')[0] == pytest.approx(3 * (1 - 0.999**100), rel=1e-3)
    finally:
        for outcome in reversed(undo):
            bench.undone(outcome)


def test_play_pause_and_step(both: Room) -> None:
    both.done(Step())
    assert both.now() == 0.001
    both.done(Step(2))
    assert both.now() == 0.003
    assert both.done(Pause()) == Outcome(True, 'it was so already')
    played = both.done(Play())
    assert played.undo == Pause()
    deadline = time.monotonic() + DEADLINE_S
    while both.now() < 0.02:
        assert time.monotonic() < deadline, 'time does not go on'
    refused = both.do(Step())
    assert not refused.ok and refused.undo is None
    assert 'steps can be done only while the simulation is paused' in refused.detail
    both.undone(played)
    assert both.now() == both.now()
    both.undone(both.done(Play()))
    resumed = both.undone(Outcome(True, undo=Play()))
    assert both.done(Pause()).undo == Play() and resumed.undo == Pause()


def test_reset(both: Room) -> None:
    both.done(Spawn('new', BOX))
    both.done(Step(100))
    done = both.done(Reset())
    assert both.now() == 0 and both.at('ball') == (0, 2, 1) and not both.there('new')
    assert done.undo is None and 'cannot be taken back' in done.detail


@pytest.mark.parametrize('action,answer', [
    (Spawn('ball', BOX), '"ball" already'),
    (Spawn('x', 'model://nowhere'), ''),
    (Spawn('x', '<sdf><model'), ''),
    (Spawn('x', '/nowhere/model.sdf'), 'nowhere'),
    (Spawn('x', BOX, frame='bal'), 'did you mean "ball"'),
    (Remove('bal'), '"bal"; did you mean "ball"?'),
    (Move('bal', AT), '"bal"; did you mean "ball"?'),
    (Move('ball', AT, 'bal'), '"bal"; did you mean "ball"?'),
    (Move('ball', Pose(rotation=(0.0, 0.0, 0.0, 2.0))), ''),
    (Push('bal'), '"bal"; did you mean "ball"'),
    (Push('ball', 'x'), 'no link of ball is named "x"'),
    (Push('mast'), '"mast" is static'),
    (Push('ball', force=(math.inf, 0.0, 0.0)), 'finite numbers'),
    (Push('ball', duration_ns=0), 'a duration above 0'),
    (Light(-1.0), '-1'),
    (Wind((math.nan, 0.0, 0.0)), 'three finite numbers'),
    (Step(0), '0 is no number of steps'),
], ids=str)
def test_what_is_wrong_is_refused_and_changes_nothing(
    both: Room, action: Action, answer: str,
) -> None:
    before = both.at('ball')
    outcome = both.do(action)
    assert not outcome.ok and outcome.undo is None
    if action.feature not in both.sim.features.available:
        answer = f'{action.feature}: '
    assert answer in outcome.detail and len(outcome.detail) > 20
    assert both.at('ball') == before and not both.there('x')


@pytest.mark.live
@pytest.mark.parametrize('action,service,answer', [
    (Spawn('ball', BOX), 'spawn_entity', 'there is an entity "ball" already (result 101)'),
    (Spawn('x', 'model://nowhere'), 'spawn_entity', 'nowhere'),
    (Spawn('x', BOX, frame='bal'), 'get_entity_state', 'did you mean "ball"'),
    (Remove('bal'), 'delete_entity', 'there is no entity "bal"; did you mean "ball"? (result 2)'),
    (Move('bal', AT), 'get_entity_state', 'there is no entity "bal"'),
    (Move('ball', AT, 'bal'), 'get_entity_state', 'there is no entity "bal"'),
    (Move('ball', Pose(rotation=(0.0, 0.0, 0.0, 2.0))), 'set_entity_state', '(result 101)'),
    (Push('bal'), 'simulator push', '"bal"; did you mean "ball"'),
    (Push('ball', 'x'), 'simulator push', 'no link of ball is named "x"'),
    (Push('mast'), 'simulator push', '"mast" is static'),
    (Push('ball', force=(math.inf, 0.0, 0.0)), 'simulator push', 'three finite numbers'),
    (Push('ball', duration_ns=0), 'simulator push', 'a duration above 0'),
    (Light(11.0), 'simulator light_scale', '11'),
    (Friction(-1.0), 'simulator friction_scale', '-1'),
    (Gravity((math.nan, 0.0, 0.0)), 'simulator gravity', 'three finite numbers'),
    (Step(0), 'step_simulation', '0 is no number of steps'),
])
def test_what_is_wrong_gives_the_answer_of_the_simulator(
    bench: Embedded, action: Action, service: str, answer: str,
) -> None:
    outcome = bench.do(action)
    assert not outcome.ok and outcome.undo is None
    assert outcome.detail.startswith(f'/{service}: ') and answer in outcome.detail


@pytest.mark.live
@pytest.mark.parametrize('text', [
    'nonsense', '[]', '{"force": [1, 2, 3]}', '{"entity": "ball", "force": 3}',
    '{"entity": "ball", "force": [1, 2]}', '{"entity": "ball", "length": 3}',
    '{"entity": "ball", "duration": "long"}', '{"entity": "ball", "duration": 1e999}',
])
def test_the_parameter_push_takes_no_nonsense(bench: Embedded, text: str) -> None:
    from rcl_interfaces.srv import SetParameters
    from rclpy.parameter import Parameter

    parameter = Parameter('push', value=text).to_parameter_msg()
    answer = bench.client.call(
        SetParameters, '/simulator/set_parameters', parameters=[parameter])
    assert not answer.results[0].successful and 'push' in answer.results[0].reason


# --- the poorer one -----------------------------------------------------------------------------

@pytest.mark.live
def test_fewer_features_are_used_and_the_others_have_a_reason(poor: tuple[Bench, Poor]) -> None:
    bench, server = poor
    features = bench.sim.features
    assert features.available == {'spawn', 'remove', 'step'}
    assert features.lack('move') == ('move: the simulator does not declare ENTITY_STATE_GETTING, '
                                     'ENTITY_STATE_SETTING')
    assert 'there is no node /simulator' in str(features.lack('light'))
    done = bench.done(Spawn('crate', 'model://crate', AT))
    assert server.entities == {'crate': 'model://crate'}
    # Where it is cannot be asked: it would come back where it was spawned.
    removed = bench.undone(done)
    assert server.entities == {} and removed.undo == Spawn('crate', 'model://crate', AT)
    bench.done(Step())
    assert server.steps == 1


@pytest.mark.live
@pytest.mark.parametrize('action,reason', [
    (Step(2), 'step: 2 steps at once: the simulator does not declare STEP_SIMULATION_MULTIPLE'),
    (Spawn('x', BOX), 'does not declare SPAWNING_RESOURCE_STRING'),
    (Spawn('x', 'model://x', AT, 'crate'), 'does not declare ENTITY_STATE_GETTING'),
    (Remove('x'), '/other/delete_entity: refused without a reason (result 2)'),
])
def test_what_the_poorer_one_cannot_do_in_part(
    poor: tuple[Bench, Poor], action: Action, reason: str,
) -> None:
    outcome = poor[0].do(action)
    assert not outcome.ok and outcome.undo is None and reason in outcome.detail


@pytest.mark.live
def test_what_was_sent_and_not_answered_may_have_to_be_undone(poor: tuple[Bench, Poor]) -> None:
    bench, server = poor
    deaf = Bench(bench.sim)
    outcome = deaf.do(Spawn('late', 'model://late'))
    assert outcome == Outcome(
        False, '/other/spawn_entity: no answer within 0.7 s', Remove('late'))
    # The server comes round to it, and its late answer is not taken for that of the next.
    outcome = bench.done(Spawn('next', 'model://next'))
    assert set(server.entities) == {'late', 'next'} and outcome.undo == Remove('next')
    assert bench.done(Remove('late')).ok


@pytest.mark.live
def test_two_simulators_are_one_too_many(poor: tuple[Bench, Poor]) -> None:
    from simulation_interfaces.srv import GetSimulatorFeatures

    from robot_qa.simulators.standard import StandardSimulator

    _, server = poor
    more = server.node.create_service(
        GetSimulatorFeatures, '/get_simulator_features', server.get_simulator_features)
    second = StandardSimulator(server.adapter_node)
    try:
        outcome = Bench(second, server.spin).wait(second.connect())
        assert not outcome.ok and '/other/get_simulator_features' in outcome.detail
        assert second.features.lack('spawn') == 'spawn: the simulator is not connected'
    finally:
        second.close()
        server.node.destroy_service(more)


@pytest.mark.live
def test_a_parameter_that_is_missing_is_named(poor: tuple[Bench, Poor]) -> None:
    import rclpy

    from robot_qa.simulators.standard import StandardSimulator

    _, server = poor
    node = rclpy.create_node('simulator', context=server.context)
    node.declare_parameter('light_scale', 0.25)
    server.executor.add_node(node)
    bench = Bench(StandardSimulator(server.adapter_node), server.spin)
    try:
        assert bench.wait(bench.sim.connect()).ok
        assert bench.sim.features.available == {'spawn', 'remove', 'step', 'light'}
        assert bench.sim.features.lack('wind') == (
            'wind: the node /simulator has no parameter wind')
        assert bench.done(Light(0.5)).undo == Light(0.25)
    finally:
        bench.sim.close()
        server.executor.remove_node(node)
        node.destroy_node()
