"""Gazebo: what is asked of it, its traps, its server and its bridge; a real one where there is."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from gazebo_client import environment, server, until
from robot_qa.errors import SetupError, SpecError
from robot_qa.simulators import gazebo_messages, gazebo_world
from robot_qa.simulators.base import (
    ActionError,
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
    Spawn,
    Step,
    Wind,
)
from robot_qa.simulators.gazebo import GazeboSimulator
from robot_qa.simulators.gazebo_bridge import (
    Bridged,
    bridge_command,
    bridge_program,
    bridged_topics,
    configuration,
)
from robot_qa.simulators.gazebo_pushes import Pushes
from robot_qa.simulators.gazebo_server import (
    check_installed,
    paced,
    server_command,
    server_environment,
    world_name,
)
from robot_qa.simulators.gazebo_state import as_json, component, content, from_json
from robot_qa.simulators.gazebo_systems import SERVICES, lacking
from robot_qa.spec.loader import load_spec

ROOT = Path(__file__).parent.parent
HEAD = 'robot_qa: 1\nname: t\nduration: 5 s\n'
INERTIAL = ('<inertial><pose>0.1 0 0 0 0 0</pose><mass>2</mass><inertia><ixx>0.1</ixx>'
            '<iyy>0.1</iyy><izz>0.1</izz></inertia></inertial>')
SYSTEMS = {
    'physics': 'Physics', 'user-commands': 'UserCommands', 'scene-broadcaster': 'SceneBroadcaster',
    'contact': 'Contact', 'wind-effects': 'WindEffects',
}
MODELS = f"""
<model name="ball"><pose>0 2 1 0 0 0</pose><link name="l">{INERTIAL}</link></model>
<model name="kite"><pose>0 9 1 0 0 0</pose><link name="l">{INERTIAL}
  <enable_wind>true</enable_wind></link></model>
<model name="post"><pose>5 0 0 0 0 0</pose><link name="l">{INERTIAL}</link>
  <joint name="j" type="fixed"><parent>world</parent><child>l</child></joint></model>
"""
# The wind is there within a step: 2 ms.
BREEZE = ('<horizontal><magnitude><time_for_rise>0.002</time_for_rise></magnitude>'
          '<direction><time_for_rise>0.002</time_for_rise></direction></horizontal>')
BUMPER = f"""<model name="pad"><pose>0 -3 0 0 0 0</pose><link name="l">{INERTIAL}
<collision name="c"><geometry><box><size>1 1 1</size></box></geometry></collision>
<sensor name="s" type="contact"><contact><collision>c</collision></contact></sensor></link></model>
"""


def world(systems: str, models: str = MODELS, name: str = 'hall') -> str:
    plugins = ''.join(
        f'<plugin filename="gz-sim-{one}-system" name="gz::sim::systems::{SYSTEMS[one]}">'
        f'{BREEZE if one == "wind-effects" else ""}</plugin>'
        for one in systems.split())
    return (f'<sdf version="1.9"><world name="{name}"><physics type="ode">'
            f'<max_step_size>0.002</max_step_size></physics>{plugins}{models}</world></sdf>')


def wait(pending: Pending) -> Outcome:
    deadline = time.monotonic() + 30
    while (outcome := pending.poll()) is None:
        assert time.monotonic() < deadline, 'no outcome'
        time.sleep(0.0005)
    return outcome


# --- what is known without a server -------------------------------------------------------------

def test_the_command_of_the_server() -> None:
    assert server_command(Path('/w.sdf'), 7) == (
        'gz', 'sim', '-s', '--headless-rendering', '-r', '-v', '2', '--seed', '7', '/w.sdf')
    assert '-s' not in server_command(Path('/w.sdf'), 7, headless=False)


@pytest.mark.parametrize('seed,given', [
    (1, '1'), (2**31 - 2, '2147483646'), (0, '2147483647'), (2**31, '1'), (2**63 - 1, '1'),
])
def test_gazebo_takes_an_int_and_zero_for_no_seed(seed: int, given: str) -> None:
    assert server_command(Path('w'), seed)[-2] == given


def test_models_beside_the_world_are_found_first_and_nothing_leaves_the_machine() -> None:
    env = server_environment(Path('/a/w.sdf'), {'GZ_SIM_RESOURCE_PATH': '/b:/c'})
    assert env == {'GZ_IP': '127.0.0.1', 'GZ_SIM_RESOURCE_PATH': '/a/models:/a:/b:/c'}
    assert server_environment(Path('/a/w.sdf'), {})['GZ_SIM_RESOURCE_PATH'] == '/a/models:/a'


def test_no_gazebo_is_told(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match='no command "gz"; install Gazebo'):
        check_installed({'PATH': str(tmp_path)})
    (tmp_path / 'gz').touch(mode=0o755)
    check_installed({'PATH': str(tmp_path)})


@pytest.mark.parametrize('text,reason', [
    ('<sdf version="1.9">\n<world name="a">\n</wrld></sdf>', 'w.sdf:3:3: no XML: mismatched tag'),
    ('', 'w.sdf:1:1: no XML: no element found'),
    ('<robot/>', 'SDF begins with <sdf>, and this file with <robot>'),
    ('<sdf><model name="m"/></sdf>', 'one <world> was expected, and there are 0'),
    ('<sdf><world name="a"/><world name="b"/></sdf>', 'one <world> was expected, and there are 2'),
    ('<sdf><world/></sdf>', '<world> has no name'),
])
def test_a_file_that_is_no_world_is_told(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / 'w.sdf').write_text(text)
    with pytest.raises(SetupError) as caught:
        world_name(tmp_path / 'w.sdf')
    assert reason in str(caught.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match='No such file'):
        world_name(tmp_path / 'w.sdf')


@pytest.mark.parametrize('physics,factor,expected', [
    ('<physics><real_time_factor>1</real_time_factor></physics>', 1.0, None),
    ('<physics><real_time_factor>1</real_time_factor></physics>', 4.0, ['4.0']),
    ('<physics><max_step_size>1</max_step_size></physics>', 0.0, ['0.0']),
    ('<physics/>', 1.0, None), ('', 2.0, ['2.0']),
    ('<physics/><physics><real_time_factor>2</real_time_factor></physics>', 2.0, ['2.0', '2.0']),
])
def test_the_pace_is_written_into_the_world(
    tmp_path: Path, physics: str, factor: float, expected: list[str] | None,
) -> None:
    from xml.etree import ElementTree

    (tmp_path / 'w.sdf').write_text(f'<sdf><world name="a">{physics}<model/></world></sdf>')
    text = paced(tmp_path / 'w.sdf', factor)
    assert (text is None) == (expected is None)
    if text is not None:
        root = ElementTree.fromstring(text)
        found = [one.findtext('real_time_factor') for one in root.iterfind('world/physics')]
        assert found == expected and root.find('world/model') is not None


def test_pushes_are_changed_by_what_is_missing() -> None:
    def sent(change: Any) -> list[float]:
        topic, message = change
        assert topic == 't' and message['entity'] == {'name': 'm::l', 'type': 'LINK'}
        wrench = message['wrench']
        assert wrench['force_offset'] == {'x': 0.1, 'y': 0.0, 'z': 0.0}
        return [*wrench['force'].values(), *wrench['torque'].values()]

    pushes = Pushes()
    offset = [0.1, 0.0, 0.0]
    sums = [0.0] * 6
    for wrench, until_ns in (([4.0, 0, 0, 0, 0, 0.3], None), ([0, 2.0, 0, 0, 0, 0], 100),
                             ([0, 3.0, 0, 1.0, 0, 0], 200)):
        change = sent(pushes.begin('t', 'm::l', [*wrench, *offset], until_ns))
        sums = [a + b for a, b in zip(sums, change, strict=True)]
        assert sums == wrench
    assert not pushes.is_over(199) and pushes.end_those_over(199) == []
    assert pushes.is_over(200)
    change, = pushes.end_those_over(200)
    assert [a + b for a, b in zip(sums, sent(change), strict=True)] == [0.0] * 6
    assert not pushes.is_over(10**18)
    # The end of what does not push is nothing to publish.
    assert pushes.begin('t', 'm::l', [0.0] * 6 + offset, None) is None


FULL = set(SERVICES)


@pytest.mark.parametrize('services,pushes,lights,missing', [
    (FULL, True, True, set()), (FULL, True, False, {'light'}), (FULL, False, True, {'push'}),
    (FULL - {'wind_info'}, True, True, {'wind'}),
    (FULL - {'create/blocking'}, True, True, {'spawn'}),
    (FULL - {'scene/info'}, True, True, {'spawn', 'remove', 'light'}),
    (FULL - {'state'}, True, True, {'spawn', 'remove', 'move', 'push', 'reset'}),
    (set(), False, False, {'spawn', 'remove', 'move', 'push', 'light', 'wind', 'pause', 'step',
                           'reset'}),
])
def test_what_a_world_lacks(
    services: set[str], pushes: bool, lights: bool, missing: set[str],
) -> None:
    found = lacking(services, has_pushes=pushes, has_lights=lights)
    assert found.keys() == missing | {'friction', 'gravity'}
    assert all(len(reason) > 15 for reason in found.values())


def test_a_light_is_scaled_and_stays_where_it_is() -> None:
    light = {'name': 'sun', 'id': 2, 'intensity': 0.8, 'pose': {}, 'header': {}}
    assert gazebo_messages.scaled(light, 0.5) == {'name': 'sun', 'id': 2, 'intensity': 0.4}
    # Who leaves the intensity out has none.
    assert gazebo_messages.scaled({'name': 'lamp'}, 0.5)['intensity'] == 0.0


def test_zeros_are_left_out_in_json() -> None:
    assert gazebo_messages.vector({'x': 1.5, 'z': -3}) == (1.5, 0.0, -3.0)
    assert gazebo_messages.pose_values(Pose((1.0, 0.0, -3.0), (0.0, 0.6, 0.0, 0.8))) == {
        'position': {'x': 1.0, 'y': 0.0, 'z': -3.0},
        'orientation': {'x': 0.0, 'y': 0.6, 'z': 0.0, 'w': 0.8},
    }


def entity(name: str, parent: int, pose: str, *kinds: str, **values: bytes) -> dict[int, bytes]:
    found = {component(kind): b'-' for kind in kinds}
    found |= {component(kind): value for kind, value in values.items()}
    return found | {component('Name'): name.encode(), component('Pose'): pose.encode(),
                    component('ParentEntity'): str(parent).encode()}


def test_components_are_numbered_as_gazebo_numbers_them() -> None:
    # Read from the state of a server of gz-sim 8.14.
    assert component('ParentEntity') == 50322453549405034
    assert component('Name') == 17448053894352336366
    assert component('Pose') == 10918813941671183356


def test_the_content_of_a_world() -> None:
    entities = [
        (9, entity('p', 8, '0 0 0 0 0 0', 'Link', Inertial=b'0.1')),
        (1, {component('World'): b'-', component('Name'): b'hall'}),
        (8, entity('m', 1, '1 -2 0.5 0 0 1.570796', 'Model', Static=b'1')),
        (10, entity('in', 8, '0 0 0 0 0 0', 'Model', Static=b'0')),
        (11, entity('q', 10, '0 0 0 0 0 0', 'Link', 'CanonicalLink')),
        (12, entity('ball', 1, '0 0 1 0 0 0', 'Model', Static=b'0')),
        (13, entity('l', 12, '0 0 0 0 0 0', 'Link', Inertial=b'0.2')),
        (14, entity('sun', 1, '0 0 9 0 0 0', 'Light')),
        (15, entity('stray', 14, '0 0 0 0 0 0', 'Link')),
    ]
    found = content(entities, lambda data: (float(data), 0.0, 0.0))
    assert found.bodies.keys() == {'m', 'ball'} and not found.touches
    model, ball = found.bodies['m'], found.bodies['ball']
    assert (model.static, ball.static) == (True, False)
    assert (model.canonical_link, ball.canonical_link) == ('in::q', 'l')
    assert model.links == {'p': (0.1, 0.0, 0.0), 'in::q': (0.0, 0.0, 0.0)}
    assert ball.links == {'l': (0.2, 0.0, 0.0)}
    assert model.pose.xyz == (1.0, -2.0, 0.5)
    assert model.pose.rotation == pytest.approx((0, 0, 0.5**0.5, 0.5**0.5), abs=1e-6)
    assert from_json(json.loads(json.dumps(as_json(found)))) == found
    touching = content([*entities, (16, entity('s', 13, '0 0 0 0 0 0', 'ContactSensor'))],
                       lambda data: (float(data), 0.0, 0.0))
    assert touching.touches and content([], lambda _: (0.0, 0.0, 0.0)).bodies == {}


def test_sources_of_models(tmp_path: Path) -> None:
    text = ' <sdf><model name="a"/></sdf>'
    assert gazebo_messages.source(text) == {'sdf': text}
    assert gazebo_messages.source('model://box') == {'sdf_filename': 'model://box'}
    for given in (str(tmp_path), f'file://{tmp_path}'):
        assert gazebo_messages.source(given) == {'sdf_filename': str(tmp_path)}


@pytest.mark.parametrize('source,reason', [
    ('<sdf>\n <model', 'not XML: line 2, column 2'),
    ('<model name="a"/>', 'begins with <sdf>, not with <model>'),
    ('<sdf/>', 'exactly one model, light or actor, and this one has nothing'),
    ('<sdf><model/><light/></sdf>', 'this one has model, light'),
    ('<sdf><world/></sdf>', 'this one has world'),
    ('/nowhere/m.sdf', 'there is no /nowhere/m.sdf'),
])
def test_what_cannot_be_spawned(source: str, reason: str) -> None:
    with pytest.raises(ActionError, match=r'^spawn: ') as caught:
        gazebo_messages.source(source)
    assert reason in str(caught.value)


def test_without_bindings_it_says_which_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('PYTHONPATH', str(ROOT))
    simulator = GazeboSimulator()
    try:
        outcome = wait(simulator.connect())
        assert not outcome.ok and outcome.detail.startswith(
            'no Python bindings of gz-transport can be imported (Harmonic: python3-gz-transport13')
        assert simulator.features.lack('spawn') == 'spawn: the simulator is not connected'
    finally:
        simulator.close()


# --- the spec and the bridge --------------------------------------------------------------------

def load(folder: Path, simulator: str, more: str = 'topics: {/a: {rate: {min: 1 Hz}}}') -> Any:
    (folder / 'w.sdf').write_text(world('physics'))
    (folder / 'b.yaml').write_text('[]')
    path = folder / 't.qa.yaml'
    path.write_text(f'{HEAD}system: {{simulator: {{{simulator}}}}}\n{more}\n')
    return load_spec(path).spec


@pytest.mark.parametrize('simulator,expected', [
    ('backend: gazebo, world: w.sdf', (True, True, True)),
    ('backend: gazebo, world: w.sdf, seed: 3, real_time_factor: 2, bridge: none',
     (True, False, True)),
    ('backend: gazebo, world: w.sdf, bridge: b.yaml', (True, True, True)),
    ('backend: gazebo', (False, False, True)), ('backend: standard', (False, False, True)),
    ('backend: none', (False, False, False)),
    # One spec for all of them: who is not started has no use for a world.
    ('backend: none, world: w.sdf', (False, False, False)),
    ('backend: embedded, world: w.sdf', (True, False, True)),
])
def test_backends(tmp_path: Path, simulator: str, expected: tuple[bool, bool, bool]) -> None:
    found = load(tmp_path, simulator).system.simulator
    assert (found.started, found.bridged, found.simulates) == expected


@pytest.mark.parametrize('simulator,expected', [
    ('backend: embedded', 'embedded needs a world'),
    ('backend: gazebo, world: x.sdf', 'there is no file "x.sdf"'),
    ('backend: gazebo, bridge: x.yaml', 'there is no file "x.yaml"'),
    ('backend: gazbo', 'did you mean "gazebo"'),
])
def test_mistakes_about_backends(tmp_path: Path, simulator: str, expected: str) -> None:
    with pytest.raises(SpecError, match=expected):
        load(tmp_path, simulator)


WATCHED = """
topics:
  /scan: {type: sensor_msgs/msg/LaserScan, rate: {min: 9 Hz}}
  /boxes: {type: vision_msgs/msg/Detection2DArray, rate: {min: 1 Hz}}
  /ground_truth/poses: {type: tf2_msgs/msg/TFMessage, rate: {min: 1 Hz}}
  /clock: {type: rosgraph_msgs/msg/Clock, rate: {min: 1 Hz}}
  /cmd_vel: {type: geometry_msgs/msg/Twist, rate: {min: 1 Hz}}
  /untyped: {rate: {min: 1 Hz}}
  /mine: {type: diagnostic_msgs/msg/DiagnosticArray, rate: {min: 1 Hz}}
tf: {connected: true}
scenario:
  - {at: 1 s, publish: {topic: /lift, type: std_msgs/msg/Float64}}
"""


def test_what_is_watched_is_bridged_and_what_is_said_goes_the_other_way(tmp_path: Path) -> None:
    spec = load(tmp_path, 'backend: gazebo, world: w.sdf', WATCHED)
    topics = bridged_topics(spec, 'hall')
    found = yaml.safe_load(configuration(topics))
    assert [tuple(one.values()) for one in found] == [
        ('/clock', '/world/hall/clock', 'rosgraph_msgs/msg/Clock', 'gz.msgs.Clock', 'GZ_TO_ROS'),
        ('/boxes', '/boxes', 'vision_msgs/msg/Detection2DArray',
         'gz.msgs.AnnotatedAxisAligned2DBox_V', 'GZ_TO_ROS'),
        ('/cmd_vel', '/cmd_vel', 'geometry_msgs/msg/Twist', 'gz.msgs.Twist', 'ROS_TO_GZ'),
        ('/ground_truth/poses', '/world/hall/pose/info', 'tf2_msgs/msg/TFMessage',
         'gz.msgs.Pose_V', 'GZ_TO_ROS'),
        ('/lift', '/lift', 'std_msgs/msg/Float64', 'gz.msgs.Double', 'ROS_TO_GZ'),
        ('/scan', '/scan', 'sensor_msgs/msg/LaserScan', 'gz.msgs.LaserScan', 'GZ_TO_ROS'),
        ('/tf', '/tf', 'tf2_msgs/msg/TFMessage', 'gz.msgs.Pose_V', 'GZ_TO_ROS'),
    ]
    assert list(found[0]) == ['ros_topic_name', 'gz_topic_name', 'ros_type_name', 'gz_type_name',
                              'direction']
    assert topics[0] == Bridged(*found[0].values())


def test_the_bridge_is_searched_where_ros2_run_searches_it(tmp_path: Path) -> None:
    program = tmp_path / 'b/lib/ros_gz_bridge/parameter_bridge'
    program.parent.mkdir(parents=True)
    env = {'AMENT_PREFIX_PATH': f'{tmp_path}/a:{tmp_path}/b', 'ROS_DISTRO': 'jazzy'}
    with pytest.raises(SetupError, match=r'needs the ROS package ros_gz_bridge \(ros-jazzy-'):
        bridge_program(env)
    program.touch()
    assert bridge_program(env) == program
    with pytest.raises(SetupError, match='ros-DISTRO-ros-gz-bridge'):
        bridge_program({})
    assert bridge_command(program, Path('/l/bridge.yaml')) == (
        str(program), '--ros-args', '-p', 'config_file:=/l/bridge.yaml')


# --- a real server ------------------------------------------------------------------------------

@contextmanager
def running(
    folder: Path, text: str, partition: str, *, paused: bool = True,
) -> Iterator[GazeboSimulator]:
    (folder / 'hall.sdf').write_text(text)
    with server(folder / 'hall.sdf', folder, partition, paused=paused):
        simulator = GazeboSimulator()
        try:
            outcome = wait(simulator.connect())
            assert outcome.ok, outcome.detail
            yield simulator
        finally:
            simulator.close()


@pytest.fixture(scope='module')
def hall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GazeboSimulator]:
    text = world('physics user-commands scene-broadcaster contact', MODELS + BUMPER)
    with running(tmp_path_factory.mktemp('hall'), text, 'hall') as simulator:
        yield simulator


@pytest.fixture
def sim(hall: GazeboSimulator) -> GazeboSimulator:
    """The hall as it was at the start, paused."""
    done(hall, Pause())
    done(hall, Reset())
    return hall


def done(simulator: GazeboSimulator, action: Any) -> Outcome:
    outcome = wait(simulator.do(action))
    assert outcome.ok, outcome.detail
    return outcome


def asked(simulator: GazeboSimulator) -> gazebo_world.World:
    found = simulator._world
    assert found is not None
    return found


def told(work: Any) -> Any:
    """Return what a generator of the world returns in the end."""
    deadline = time.monotonic() + 30
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value
        assert time.monotonic() < deadline
        time.sleep(0.0005)


def at(simulator: GazeboSimulator, name: str) -> Pose:
    pose: Pose = told(asked(simulator).body(name)).pose
    return pose


def speed(simulator: GazeboSimulator, name: str) -> float:
    before = at(simulator, name).xyz[0]
    done(simulator, Step())
    return (at(simulator, name).xyz[0] - before) / 0.002


@pytest.mark.gazebo
def test_what_a_world_of_the_usual_systems_can_do(hall: GazeboSimulator) -> None:
    assert hall.features.lacking.keys() == {'friction', 'gravity', 'light', 'wind'}
    assert hall.features.lacking['light'] == 'the world has no lights'
    assert 'gz-sim-wind-effects-system' in hall.features.lacking['wind']


@pytest.mark.gazebo
def test_wind_is_felt_and_taken_back_until_a_reset(tmp_path: Path) -> None:
    text = world('physics user-commands scene-broadcaster wind-effects')
    with running(tmp_path, text, 'wind') as sim:
        assert sim.features.available >= {'wind'}
        blown = done(sim, Wind((3.0, 0.0, 0.0)))
        assert blown.undo == Wind((0.0, 0.0, 0.0))
        more = done(sim, Wind((0.0, 1.0, 0.0)))
        assert more.undo == Wind((3.0, 0.0, 0.0))
        done(sim, more.undo)
        done(sim, Step(100))
        # dv/dt = wind - v, for 0.2 s: v = 3 (1 - exp(-0.2)).
        assert speed(sim, 'kite') == pytest.approx(0.54, rel=0.05)
        assert speed(sim, 'ball') == pytest.approx(0, abs=1e-6)
        done(sim, blown.undo)
        blowing = speed(sim, 'kite')
        done(sim, Step(100))
        # Air that stands still is a drag.
        assert speed(sim, 'kite') == pytest.approx(blowing * 0.819, rel=0.02)
        assert 'no wind is felt' in done(sim, Reset()).detail
        assert wait(sim.do(Wind((3.0, 0.0, 0.0)))).detail == (
            'wind: after a reset of Gazebo no wind is felt')


@pytest.mark.gazebo
def test_a_push_acts_at_the_centre_of_mass(sim: GazeboSimulator) -> None:
    done(sim, Push('ball', force=(0.0, 4.0, 0.0)))
    done(sim, Step(100))
    # Beside it, the force would turn the ball by 0.08 rad in this time.
    assert at(sim, 'ball').rotation[2] == pytest.approx(0, abs=1e-5)
    assert at(sim, 'ball').xyz[1] > 2.03


@pytest.mark.gazebo
def test_a_push_that_lasts_ends_by_simulated_time_while_it_runs(sim: GazeboSimulator) -> None:
    done(sim, Push('ball', force=(4.0, 0.0, 0.0), duration_ns=100_000_000))
    done(sim, Play())
    until(lambda: at(sim, 'ball').xyz[0] > 0.04, 'the ball')
    done(sim, Pause())
    # 4 N on 2 kg for 0.1 s.
    assert speed(sim, 'ball') == pytest.approx(0.2, rel=0.1)


@pytest.mark.gazebo
def test_what_is_fixed_to_the_world_does_not_move_and_says_so(sim: GazeboSimulator) -> None:
    outcome = wait(sim.do(Move('post', Pose((1.0, 0.0, 0.0)))))
    assert not outcome.ok and '"post" is still at' in outcome.detail
    assert 'what is fixed to the world does not move' in outcome.detail


@pytest.mark.gazebo
@pytest.mark.parametrize('source', [
    '<sdf version="1.9"><model name="x"><link name="l"/><link name="l"/></model></sdf>',
    '<sdf version="1.9"><model name="x"/></sdf>', 'model://nowhere',
])
def test_nonsense_that_is_xml_is_refused_by_gazebo(sim: GazeboSimulator, source: str) -> None:
    outcome = wait(sim.do(Spawn('x', source)))
    assert outcome == Outcome(
        False, '/world/hall/create/blocking: Gazebo refused; its log says why', None)


@pytest.mark.gazebo
def test_a_reset_says_what_it_breaks(sim: GazeboSimulator) -> None:
    assert done(sim, Reset()).detail == (
        'a reset cannot be taken back; contact sensors stay silent after a reset of Gazebo')
    done(sim, Play())
    for _ in range(3):
        done(sim, Reset())
        assert done(sim, Spawn('new', str(ROOT / 'worlds/models/crate_small'))).ok
        done(sim, Remove('new'))


@pytest.mark.gazebo
def test_a_running_simulation_makes_no_steps_and_stays_running(sim: GazeboSimulator) -> None:
    done(sim, Play())
    assert 'only while the simulation is paused' in wait(sim.do(Step())).detail
    assert done(sim, Play()).detail == 'it was so already'


@pytest.mark.gazebo
def test_a_world_without_user_commands_lacks_what_they_do(tmp_path: Path) -> None:
    sun = '<light name="sun" type="directional"/>'
    with running(tmp_path, world('physics scene-broadcaster', MODELS + sun), 'poor') as simulator:
        assert simulator.features.available == {'push', 'pause', 'step', 'reset'}
        outcome = simulator.do(Remove('ball')).poll()
        assert outcome is not None and outcome.detail == (
            'remove: nobody serves remove/blocking; in Gazebo it is gz-sim-user-commands-system')
        done(simulator, Push('ball', force=(4.0, 0.0, 0.0)))
        done(simulator, Step(100))
        assert at(simulator, 'ball').xyz[0] == pytest.approx(0.04, rel=0.1)
        done(simulator, Reset())


@pytest.mark.gazebo
def test_a_light_comes_and_goes(sim: GazeboSimulator) -> None:
    lamp = '<sdf version="1.9"><light name="x" type="point"><pose>0 0 3 0 0 0</pose></light></sdf>'
    spawned = done(sim, Spawn('lamp', lamp, Pose((1.0, 0.0, 2.0))))
    assert 'already' in wait(sim.do(Spawn('lamp', lamp))).detail
    removed = done(sim, spawned.undo)
    assert removed.undo == Spawn('lamp', lamp, Pose((1.0, 0.0, 2.0)))
    assert 'there is no model "lamp"' in wait(sim.do(Remove('lamp'))).detail


@pytest.mark.gazebo
def test_a_server_that_was_started_again_is_pushed_as_before(tmp_path: Path) -> None:
    (tmp_path / 'w.sdf').write_text(world('physics user-commands scene-broadcaster'))
    simulator = GazeboSimulator()
    try:
        for _ in 'xx':
            with server(tmp_path / 'w.sdf', tmp_path, 'again'):
                if simulator.features.available:
                    until(lambda: wait(simulator.do(Step())).ok, 'the server')
                else:
                    assert wait(simulator.connect()).ok
                done(simulator, Push('ball', 'l', force=(4.0, 0.0, 0.0)))
                done(simulator, Step(100))
                assert speed(simulator, 'ball') == pytest.approx(0.4, rel=0.1)
    finally:
        simulator.close()


@pytest.mark.gazebo
def test_the_pace_is_kept(tmp_path: Path) -> None:
    (tmp_path / 'w.sdf').write_text(world('physics scene-broadcaster'))
    text = paced(tmp_path / 'w.sdf', 0.2)
    assert text is not None
    with running(tmp_path, text, 'pace', paused=False) as simulator:
        begun, state = time.monotonic(), told(asked(simulator).state())
        until(lambda: told(asked(simulator).state())['sim_ns'] > state['sim_ns'] + 3 * 10**8, 'it')
        # 0.3 s take 1.5 s.
        assert time.monotonic() - begun > 1.3


@pytest.mark.gazebo
def test_lights_are_scaled_from_what_the_world_says(tmp_path: Path) -> None:
    sun = '<light name="sun" type="directional"><intensity>0.8</intensity></light>'
    text = world('physics user-commands scene-broadcaster', MODELS + sun)
    with running(tmp_path, text, 'light') as simulator:
        dark = done(simulator, Light(0.5))
        darker = done(simulator, Light(0.1))
        assert (dark.undo, darker.undo) == (Light(1.0), Light(0.5))
        assert 'ambient light of the scene stays' in dark.detail
        # The base is the light as it was loaded, not as it is now.
        light, = told(asked(simulator).scene())['lights']
        assert light['intensity'] == pytest.approx(0.8)


SCENE = """<scene><ambient>0 0 0 1</ambient><shadows>false</shadows></scene>
<plugin filename="gz-sim-sensors-system" name="gz::sim::systems::Sensors"/>
<light name="sun" type="directional"><cast_shadows>false</cast_shadows>
  <diffuse>0.8 0.8 0.8 1</diffuse><direction>0.3 0 -1</direction></light>
<model name="floor"><static>true</static><link name="l"><visual name="v">
  <geometry><box><size>20 20 0.1</size></box></geometry>
  <material><diffuse>0.8 0.8 0.8 1</diffuse><ambient>0 0 0 1</ambient></material>
</visual></link></model>
<model name="eye"><static>true</static><pose>0 0 3 0 1.2 0</pose><link name="l">
  <sensor name="c" type="camera"><topic>/eye</topic><update_rate>10</update_rate><camera>
    <horizontal_fov>1</horizontal_fov><image><width>64</width><height>48</height></image>
    <clip><near>0.1</near><far>30</far></clip></camera></sensor></link></model>"""


class Camera:
    """What ``gz topic`` prints of the pictures."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            ['gz', 'topic', '-e', '--json-output', '-t', '/eye'], stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self._output = self._process.stdout
        self._received = b''

    def brightness(self) -> float | None:
        """Return the mean of a picture taken after this call; None: there are none."""
        while select.select([self._output], [], [], 0)[0]:
            chunk = os.read(self._output.fileno(), 1 << 20)
            if not chunk:
                return None
            self._received = chunk.rpartition(b'\n')[2] if b'\n' in chunk else (
                self._received + chunk)
        found = None
        deadline = time.monotonic() + 30
        # The first ones may have been on their way.
        for _ in range(4):
            while b'\n' not in self._received:
                ready = select.select([self._output], [], [], deadline - time.monotonic())[0]
                chunk = os.read(self._output.fileno(), 1 << 20) if ready else b''
                if not chunk:
                    return None
                self._received += chunk
            line, _, self._received = self._received.partition(b'\n')
            pixels = base64.b64decode(json.loads(line)['data'])
            found = sum(pixels) / len(pixels)
        return found

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._output.close()


# Gazebo's ogre2, or what this names where there is no ogre2.
ENGINE = os.environ.get('ROBOT_QA_TEST_RENDER_ENGINE', 'ogre2')


@contextmanager
def pictures(folder: Path) -> Iterator[tuple[GazeboSimulator, Camera]]:
    """A server with a camera; skips the test where it cannot render."""
    (folder / 'w.sdf').write_text(world('physics user-commands scene-broadcaster', SCENE))
    with server(folder / 'w.sdf', folder, 'camera', '--render-engine-server', ENGINE,
                paused=False) as processes:
        simulator, camera = GazeboSimulator(), Camera()
        try:
            outcome = wait(simulator.connect())
            bright = camera.brightness()
            if 'simulator' in processes.poll() or bright is None:
                pytest.skip(f'Gazebo cannot render here with {ENGINE}')
            assert outcome.ok
            yield simulator, camera
        finally:
            camera.close()
            simulator.close()


@pytest.mark.gazebo
def test_the_light_is_seen_by_a_camera(tmp_path: Path) -> None:
    with pictures(tmp_path) as (simulator, camera):
        # The first pictures may be older than the light.
        until(lambda: (camera.brightness() or 0.0) > 30, 'a picture')
        bright = camera.brightness()
        assert bright is not None
        for scale in (0.5, 0.1):
            dark = done(simulator, Light(scale))
            assert camera.brightness() == pytest.approx(bright * scale, rel=0.1)
        assert dark.undo is not None
        done(simulator, Light(1.0))
        assert camera.brightness() == pytest.approx(bright, rel=0.01)


@pytest.mark.gazebo
def test_no_server_and_two_servers_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gazebo_world, 'CONNECT_S', 1.0)
    with environment(GZ_PARTITION=f'nobody_{os.getpid()}', GZ_IP='127.0.0.1'):
        simulator = GazeboSimulator()
        outcome = wait(simulator.connect())
        simulator.close()
        assert not outcome.ok and f'in the partition "nobody_{os.getpid()}"' in outcome.detail
    monkeypatch.setattr(gazebo_world, 'CONNECT_S', 20.0)
    with running(tmp_path, world('physics'), 'crowd'):
        (tmp_path / 'two').mkdir()
        (tmp_path / 'two/hall.sdf').write_text(world('physics', name='other'))
        with server(tmp_path / 'two/hall.sdf', tmp_path / 'two', 'crowd'):
            second = GazeboSimulator()

            def refused() -> bool:
                found = wait(second.connect())
                second.close()
                return 'there are 2 Gazebo servers' in found.detail

            until(refused, 'the second server')


def workers(parent: int) -> list[int]:
    found = []
    for folder in Path('/proc').iterdir():
        if folder.name.isdigit():
            try:
                words = (folder / 'cmdline').read_text().split('\0')
                told = (folder / 'environ').read_text()
            except OSError:
                continue
            if 'robot_qa.simulators.gazebo_worker' in words and f'OF_TEST={parent}' in told:
                found.append(int(folder.name))
    return found


@pytest.mark.gazebo
def test_nothing_outlives_a_parent_that_is_killed() -> None:
    code = ('import time\nfrom robot_qa.simulators.gazebo import GazeboSimulator\n'
            'sim = GazeboSimulator()\npending = sim.connect()\n'
            'while pending.poll() is None: time.sleep(0.01)\n')
    env = {**os.environ, 'OF_TEST': str(os.getpid()), 'GZ_PARTITION': 'nobody',
           'GZ_IP': '127.0.0.1'}
    child = subprocess.Popen([sys.executable, '-c', code], env=env)
    try:
        until(lambda: len(workers(os.getpid())) == 2, 'the workers')
    finally:
        child.kill()
        child.wait()
    until(lambda: not workers(os.getpid()), 'their end')


@pytest.mark.gazebo
def test_a_worker_that_was_killed_is_told(tmp_path: Path) -> None:
    text = world('physics user-commands scene-broadcaster')
    with running(tmp_path, text, 'killed') as simulator:
        asked(simulator)._services._process.kill()
        outcome = wait(simulator.do(Remove('ball')))
        assert not outcome.ok and 'the process that talks to Gazebo has ended' in outcome.detail


@pytest.mark.gazebo
@pytest.mark.parametrize('name', ['empty', 'corridor', 'warehouse'])
def test_our_worlds_load(tmp_path: Path, name: str) -> None:
    """Without the system that renders: where there is no graphics engine, it ends the server."""
    from xml.etree import ElementTree

    tree = ElementTree.parse(ROOT / f'worlds/{name}.sdf')
    inner = tree.find('world')
    assert inner is not None
    for plugin in inner.findall('plugin'):
        if plugin.get('filename') == 'gz-sim-sensors-system':
            inner.remove(plugin)
    models = len(inner.findall('include')) + len(inner.findall('model'))
    (tmp_path / 'models').symlink_to(ROOT / 'worlds/models')
    text = ElementTree.tostring(tree.getroot(), encoding='unicode')
    with running(tmp_path, text, name) as simulator:
        assert len(told(asked(simulator).content()).bodies) == models
        assert {'spawn', 'move', 'push', 'light'} <= simulator.features.available
        done(simulator, Step(10))
    log = (tmp_path / 'simulator.log').read_text()
    assert '[Err]' not in log, log


# --- whole runs ---------------------------------------------------------------------------------

SPEC = """robot_qa: 1
name: gazebo
duration: 5 s
system:
  simulator: {backend: gazebo, world: hall.sdf, seed: 3}
  ready: {timeout: 40 s, topics: [/odom]}
topics:
  /odom: {type: nav_msgs/msg/Odometry, rate: {min: 40 Hz, max: 60 Hz},
          fields: {pose.pose.position.z: {max: 3}}}
scenario:
  - {name: crate, at: 1 s, spawn: {name: crate, model: models/crate_small,
     pose: {xyz: [2, 0, 1]}}}
  - {name: lifted, at: 2 s, move: {name: ball, pose: {xyz: [0, 0, 9]}}}
  - {name: wind, at: 2 s, for: 1 s, wind: {velocity: [1, 0, 0]}}
  - {name: slippery, at: 1 s, for: 1 s, friction: {scale: 0.5}}
  - {name: ghost, at: 3 s, remove: nobody}
"""
ODOMETRY = """<plugin filename="gz-sim-odometry-publisher-system"
name="gz::sim::systems::OdometryPublisher"><odom_topic>/odom</odom_topic>
<odom_publish_frequency>50</odom_publish_frequency><dimensions>3</dimensions></plugin>"""


def run(folder: Path, env: dict[str, str]) -> tuple[int, dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, '-m', 'robot_qa.cli', 'run', folder / 't.qa.yaml', '--out',
         folder / 'out', '--quiet'],
        cwd=ROOT, text=True, capture_output=True, timeout=120, check=False, env=env)
    path = folder / 'out/report.json'
    assert path.exists(), done.stdout + done.stderr
    return done.returncode, json.loads(path.read_text())


def prepare(folder: Path, text: str) -> None:
    (folder / 'hall.sdf').write_text(text)
    (folder / 't.qa.yaml').write_text(SPEC)
    shutil.copytree(ROOT / 'worlds/models/crate_small', folder / 'models/crate_small')


def stand_in_prefixes(folder: Path, script: str) -> str:
    """Return AMENT_PREFIX_PATH with a package ros_gz_bridge in which this runs as the bridge."""
    program = folder / 'ros/lib/ros_gz_bridge/parameter_bridge'
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\n{script}\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return ':'.join(filter(None, [
        str(folder / 'ros'), os.environ.get('AMENT_PREFIX_PATH'), sys.prefix]))


def reasons(report: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {one['name']: (one['verdict'], one['reason']) for one in report['checks']}


@pytest.mark.gazebo
@pytest.mark.live
def test_a_run_starts_gazebo_and_its_bridge_and_plays_a_scenario(tmp_path: Path) -> None:
    """With a stand-in for the bridge, which Debian and PyPI do not have."""
    pytest.importorskip('rclpy')
    ball = MODELS.replace('</link></model>', f'</link>{ODOMETRY}</model>', 1)
    prepare(tmp_path, world('physics user-commands scene-broadcaster wind-effects', ball).replace(
        '<physics', '<gravity>0 0 0</gravity><physics'))
    stand_in = f'exec {sys.executable} {Path(__file__).parent / "bridge_stand_in.py"} "$@"'
    prefixes = stand_in_prefixes(tmp_path, stand_in)
    code, report = run(tmp_path, {**os.environ, 'AMENT_PREFIX_PATH': prefixes})
    found = reasons(report)
    assert {name: verdict for name, (verdict, _) in found.items()} == {
        'system.ready': 'PASS', 'run.duration': 'PASS', 'system.simulator': 'PASS',
        'system.bridge': 'PASS', 'topics./odom.rate.min': 'PASS', 'topics./odom.rate.max': 'PASS',
        # The ball was lifted to 9 m.
        'topics./odom.fields.pose.pose.position.z.max': 'FAIL', 'scenario.crate': 'PASS',
        'scenario.lifted': 'PASS', 'scenario.wind': 'PASS', 'scenario.slippery': 'INCONCLUSIVE',
        'scenario.ghost': 'ERROR',
    }, found
    assert 'no service of Gazebo changes the friction' in found['scenario.slippery'][1]
    assert 'nobody' in found['scenario.ghost'][1]
    assert code == 4
    told = [event['event'] + ' ' + event['detail'] for event in report['timeline']]
    assert any('Gazebo Harmonic, world "hall"' in one for one in told)
    bridged = yaml.safe_load((tmp_path / 'out/logs/bridge.yaml').read_text())
    assert [one['ros_topic_name'] for one in bridged] == ['/clock', '/odom']
    for pid in re_pids(told):
        assert not Path(f'/proc/{pid}').exists()


def re_pids(told: list[str]) -> list[str]:
    found = [one.rpartition('pid ')[2] for one in told if 'pid ' in one]
    assert len(found) == 2
    return found


LAUNCH = """
import sys
from launch import LaunchService
from launch.actions import IncludeLaunchDescription
from launch import LaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
file, *words = sys.argv[1:]
service = LaunchService()
service.include_launch_description(LaunchDescription([IncludeLaunchDescription(
    PythonLaunchDescriptionSource(file),
    launch_arguments=[word.split(':=', 1) for word in words])]))
sys.exit(service.run())
"""


@pytest.mark.gazebo
@pytest.mark.launch
@pytest.mark.parametrize('backend', ['auto', 'gazebo'])
def test_the_launch_file_starts_gazebo_and_its_bridge(tmp_path: Path, backend: str) -> None:
    prepare(tmp_path, world('physics user-commands scene-broadcaster'))
    ours = {'GZ_PARTITION': f'launch_{os.getpid()}', 'GZ_IP': '127.0.0.1'}
    env = {**os.environ, **ours, 'AMENT_PREFIX_PATH': stand_in_prefixes(tmp_path, 'exec sleep 99'),
           'ROS_LOG_DIR': str(tmp_path / 'log')}
    launched = subprocess.Popen(
        [sys.executable, '-c', LAUNCH, ROOT / 'launch/simulation.launch.py',
         f'backend:={backend}', f'world:={tmp_path / "hall.sdf"}', 'seed:=7',
         f'bridge:={tmp_path / "t.qa.yaml"}'], env=env, start_new_session=True)
    try:
        with environment(**ours):
            simulator = GazeboSimulator()
            try:
                assert wait(simulator.connect()) == Outcome(
                    True, 'Gazebo Harmonic, world "hall"')
                assert done(simulator, Pause()).undo == Play()
            finally:
                simulator.close()
        written, = (tmp_path / 'log').rglob('bridge.yaml')
        topics = yaml.safe_load(written.read_text())
        assert [one['ros_topic_name'] for one in topics] == ['/clock', '/odom']
    finally:
        launched.send_signal(signal.SIGINT)
        launched.wait(30)
    # Whoever would outlive it would be in its session.
    until(lambda: not in_session(launched.pid), 'the end of all')


@pytest.mark.gazebo
@pytest.mark.launch
def test_the_launch_ends_with_the_simulator(tmp_path: Path) -> None:
    env = {**os.environ, 'GZ_PARTITION': f'ends_{os.getpid()}', 'ROS_LOG_DIR': str(tmp_path)}
    (tmp_path / 'w.sdf').write_text(
        world('physics', '<include><uri>model://nowhere</uri></include>'))
    launched = subprocess.run(
        [sys.executable, '-c', LAUNCH, ROOT / 'launch/simulation.launch.py', 'backend:=gazebo',
         f'world:={tmp_path / "w.sdf"}', 'bridge:=none'],
        env=env, text=True, capture_output=True, timeout=60, check=False)
    assert 'process[simulator-1] was required: shutting down' in launched.stdout


def in_session(leader: int) -> list[str]:
    found = subprocess.run(['ps', '-o', 'pid=', '-s', str(leader)], text=True,
                           capture_output=True, check=False)
    return found.stdout.split()


# Gazebo leaves the ambient light as it is, and OGRE 1 finds no textures of meshes in a world: how
# bright its pictures are says nothing about those of ogre2.
PACE = [] if ENGINE == 'ogre2' else ['--set', 'speed=0.5']  # pictures by the CPU take their time
BY_BRIGHTNESS = {'rules.sees_something', 'scenario.lights_out.expected_to_fail',
                 'scenario.lights_out.recovers', 'scenario.camera_dark.recovers'}


@pytest.mark.gazebo
@pytest.mark.live
def test_the_faults_of_the_warehouse_with_only_another_backend(tmp_path: Path) -> None:
    """What Gazebo cannot do is said, all else is seen as on the embedded simulator."""
    pytest.importorskip('rclpy')
    with pictures(tmp_path):
        pass
    stand_in = f'exec {sys.executable} {Path(__file__).parent / "bridge_stand_in.py"} "$@"'
    gazebo = tmp_path / 'bin/gz'
    gazebo.parent.mkdir()
    gazebo.write_text(
        f'#!/bin/sh\nexec {shutil.which("gz")} "$@" --render-engine-server {ENGINE}\n')
    gazebo.chmod(0o755)
    env = {**os.environ, 'AMENT_PREFIX_PATH': stand_in_prefixes(tmp_path, stand_in),
           'PATH': f'{gazebo.parent}:{os.environ["PATH"]}'}
    done = subprocess.run(
        [sys.executable, '-m', 'robot_qa.cli', 'run', 'config/warehouse_faults.qa.yaml', '--set',
         'backend=gazebo', *PACE, '--out', tmp_path / 'out', '--quiet'],
        cwd=ROOT, text=True, capture_output=True, timeout=600, check=False, env=env)
    found = reasons(json.loads((tmp_path / 'out/report.json').read_text()))
    odd = {name: told for name, told in found.items() if told[0] != 'PASS'}
    if ENGINE != 'ogre2':
        odd = {name: told for name, told in odd.items() if name not in BY_BRIGHTNESS}
    moon = {name for name in found if name.startswith('scenario.on_the_moon')}
    assert len(moon) == 3 and set(odd) == moon, (odd, done.stderr)
    assert {verdict for verdict, _ in odd.values()} == {'INCONCLUSIVE'}
    assert 'Gazebo reads the gravity of a world only when it loads it' in (
        odd['scenario.on_the_moon'][1])


@pytest.mark.gazebo
@pytest.mark.live
def test_a_run_without_the_bridge_says_which_package_is_missing(tmp_path: Path) -> None:
    pytest.importorskip('rclpy')
    prepare(tmp_path, world('physics'))
    code, report = run(tmp_path, {**os.environ, 'AMENT_PREFIX_PATH': sys.prefix})
    verdict, reason = reasons(report)['run']
    assert (code, verdict) == (4, 'ERROR')
    assert 'needs the ROS package ros_gz_bridge' in reason and 'bridge: none' in reason
    assert not any(event['event'] == 'started' for event in report['timeline'])


@pytest.mark.gazebo
@pytest.mark.live
def test_a_world_that_gazebo_does_not_load_fails_the_run_at_once(tmp_path: Path) -> None:
    """It is XML and SDF, and Gazebo ends with code 0 because of it."""
    pytest.importorskip('rclpy')
    prepare(tmp_path, world('physics', '<include><uri>model://nowhere</uri></include>'))
    spec = tmp_path / 't.qa.yaml'
    spec.write_text(SPEC.replace('seed: 3', 'seed: 3, bridge: none'))
    begun = time.monotonic()
    code, report = run(tmp_path, dict(os.environ))
    verdict, reason = reasons(report)['system.simulator']
    assert verdict == 'FAIL' and 'ended by itself with code' in reason and code in (1, 3, 4)
    assert 'nowhere' in (tmp_path / 'out/logs/simulator.log').read_text()
    assert time.monotonic() - begun < 35


def test_signals_are_for_us_not_for_the_workers() -> None:
    """A Ctrl-C in the shell must leave who undoes what was done."""
    simulator = GazeboSimulator()
    pending = simulator.connect()
    try:
        assert pending.poll() is None
        pid = asked(simulator)._services._process.pid
        assert os.getsid(pid) == pid != os.getsid(0)
    finally:
        simulator.close()
