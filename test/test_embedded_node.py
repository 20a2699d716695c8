"""The embedded simulator as a user meets it: a process, its topics, services and parameters."""

from __future__ import annotations

import hashlib
import math
import re
import struct
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simulator_client import ROOT, WORLDS, Client, simulator

pytest.importorskip('mujoco')
pytestmark = pytest.mark.live

MS = 1_000_000
ROOM = """<sdf version="1.9"><world name="room">
<physics type="ode"><max_step_size>0.001</max_step_size></physics>
<model name="wall"><static>true</static><pose>3 0 0.5 0 0 0</pose><link name="l">
  <visual name="v"><geometry><box><size>2 8 1</size></box></geometry></visual></link></model>
<model name="ball"><pose>0 2 1 0 0 0</pose><link name="l">
  <inertial><mass>1</mass><inertia><ixx>0.1</ixx><iyy>0.1</iyy><izz>0.1</izz></inertia></inertial>
  <collision name="c"><geometry><sphere><radius>0.1</radius></sphere></geometry></collision>
</link></model>
<model name="mast"><static>true</static><pose>0 0 0.5 0 0 0</pose><link name="l">
  <sensor name="eye" type="gpu_lidar"><update_rate>10</update_rate><topic>scan</topic>
    <gz_frame_id>eye</gz_frame_id>
    <ray><scan><horizontal><samples>91</samples><min_angle>-0.785398163</min_angle>
      <max_angle>0.785398163</max_angle></horizontal></scan>
      <range><min>0.1</min><max>10</max></range></ray></sensor></link></model>
</world></sdf>"""
BOX = """<sdf version="1.9"><model name="box"><link name="l">
  <inertial><mass>1</mass><inertia><ixx>0.1</ixx><iyy>0.1</iyy><izz>0.1</izz></inertia></inertial>
  <visual name="v"><geometry><box><size>0.2 0.2 0.2</size></box></geometry></visual>
  <collision name="c"><geometry><box><size>0.2 0.2 0.2</size></box></geometry></collision>
</link></model></sdf>"""


@pytest.fixture(scope='module')
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp('room')
    (folder / 'room.sdf').write_text(ROOM)
    box = folder / 'models' / 'box'
    box.mkdir(parents=True)
    (box / 'model.sdf').write_text(BOX)
    (box / 'model.config').write_text(
        '<model><name>box</name><sdf version="1.9">model.sdf</sdf></model>')
    with simulator(folder / 'room.sdf', folder, '--paused') as client:
        client.listen('/clock', _type('rosgraph_msgs.msg', 'Clock'))
        yield client


@pytest.fixture
def sim(room: Client) -> Client:
    """The room as it was at the start."""
    done(ask(room, 'ResetSimulation', 'reset_simulation'))
    if state(room) == 1:
        done(ask(room, 'SetSimulationState', 'set_simulation_state',
                 state=message('SimulationState', state=2)))
    return room


def _type(module: str, name: str) -> Any:
    import importlib

    return getattr(importlib.import_module(module), name)


def message(name: str, /, **fields: Any) -> Any:
    return _type('simulation_interfaces.msg', name)(**fields)


def ask(client: Client, kind: str, service: str, /, **request: Any) -> Any:
    return client.call(_type('simulation_interfaces.srv', kind), f'/{service}', **request)


def done(answer: Any) -> Any:
    assert answer.result.result == 1, answer.result.error_message
    return answer


def state(client: Client) -> int:
    answer = done(ask(client, 'GetSimulationState', 'get_simulation_state'))
    return int(answer.state.state)


def position(client: Client, entity: str) -> tuple[float, float, float]:
    at = done(ask(client, 'GetEntityState', 'get_entity_state', entity=entity)).state
    point = at.pose.position
    return point.x, point.y, point.z


def at(x: float, y: float, z: float, frame: str = '') -> Any:
    stamped = _type('geometry_msgs.msg', 'PoseStamped')()
    stamped.header.frame_id = frame
    point = stamped.pose.position
    point.x, point.y, point.z = float(x), float(y), float(z)
    return stamped


# --- simulation_interfaces ----------------------------------------------------------------------

def test_features_are_those_that_work(sim: Client) -> None:
    features = ask(sim, 'GetSimulatorFeatures', 'get_simulator_features').features
    known = _type('simulation_interfaces.msg', 'SimulatorFeatures')
    assert {known.SPAWNING, known.DELETING, known.STEP_SIMULATION_ACTION} <= {*features.features}
    assert known.WORLD_LOADING not in features.features
    assert list(features.spawn_formats) == ['sdf']


def test_a_step_is_a_step(sim: Client) -> None:
    sim.step(250)
    sim.until(lambda: stamp_of('/clock', sim.heard['/clock'][-1]) == 250 * MS, '0.25 s')
    # Free fall, semi-implicit Euler of n steps of h: g h^2 n (n + 1) / 2.
    assert position(sim, 'ball')[2] == pytest.approx(1 - 9.8 * 1e-6 * 250 * 251 / 2, abs=1e-6)


def test_entities_are_listed_by_name_and_category(sim: Client) -> None:
    assert done(ask(sim, 'GetEntities', 'get_entities')).entities == ['wall', 'ball', 'mast']
    filtered = message('EntityFilters', filter='.*all')
    assert done(ask(sim, 'GetEntities', 'get_entities', filters=filtered)).entities == [
        'wall', 'ball']
    static = message('EntityFilters', categories=[message('EntityCategory', category=5)])
    found = done(ask(sim, 'GetEntitiesStates', 'get_entities_states', filters=static))
    assert found.entities == ['wall', 'mast'] and found.states[0].pose.position.x == 3
    broken = ask(sim, 'GetEntities', 'get_entities', filters=message('EntityFilters', filter='('))
    assert broken.result.result == 4 and 'expression' in broken.result.error_message


def test_spawned_in_the_frame_of_another_and_deleted(sim: Client) -> None:
    pose = at(0.0, 0.5, 0.0, 'mast')
    answer = done(ask(sim, 'SpawnEntity', 'spawn_entity', name='new', resource_string=BOX,
                      initial_pose=pose))
    assert answer.entity_name == 'new'
    assert position(sim, 'new') == pytest.approx((0, 0.5, 0.5))
    again = ask(sim, 'SpawnEntity', 'spawn_entity', name='new', resource_string=BOX)
    assert again.result.result == 101
    renamed = done(ask(sim, 'SpawnEntity', 'spawn_entity', name='new', resource_string=BOX,
                       allow_renaming=True))
    assert renamed.entity_name == 'new_1'
    done(ask(sim, 'DeleteEntity', 'delete_entity', entity='new'))
    gone = ask(sim, 'GetEntityState', 'get_entity_state', entity='new')
    assert gone.result.result == 2 and 'new_1' in gone.result.error_message
    spawned = _type('simulation_interfaces.srv', 'ResetSimulation').Request.SCOPE_SPAWNED
    done(ask(sim, 'ResetSimulation', 'reset_simulation', scope=spawned))
    assert done(ask(sim, 'GetEntities', 'get_entities')).entities == ['wall', 'ball', 'mast']


@pytest.mark.parametrize('uri', ['model://box', 'models/box', 'models/box/model.sdf'])
def test_spawned_from_the_folder_of_the_world(sim: Client, uri: str) -> None:
    answer = done(ask(sim, 'SpawnEntity', 'spawn_entity', uri=uri, initial_pose=at(1, 1, 0)))
    assert answer.entity_name == 'box' and position(sim, 'box') == (1, 1, 0)


@pytest.mark.parametrize('request_,code,text', [
    ({'name': 'x'}, 104, 'neither'),
    ({'name': 'a b!', 'resource_string': BOX}, 102, 'no name'),
    ({'name': 'x', 'resource_string': '<sdf version="1.9"><model name="m"/></sdf>'}, 106, 'link'),
    ({'name': 'x', 'resource_string': 'not XML'}, 104, ''),
    ({'name': 'x', 'uri': 'model://nowhere'}, 104, 'nowhere'),
    ({'name': 'x', 'resource_string': BOX, 'initial_pose': at}, 109, 'pose'),
    ({'name': 'x', 'resource_string': BOX, 'entity_namespace': 'a b'}, 105, 'namespace'),
])
def test_what_cannot_be_spawned(
    sim: Client, request_: dict[str, Any], code: int, text: str,
) -> None:
    if 'initial_pose' in request_:
        request_ = {**request_, 'initial_pose': at(math.nan, 0, 0)}
    answer = ask(sim, 'SpawnEntity', 'spawn_entity', **request_)
    assert answer.result.result == code, answer.result.error_message
    assert text in answer.result.error_message
    assert done(ask(sim, 'GetEntities', 'get_entities')).entities == ['wall', 'ball', 'mast']


def test_a_state_that_is_set_is_the_one_that_goes_on(sim: Client) -> None:
    wanted = message('EntityState', pose=at(0, -1, 2).pose)
    wanted.twist.linear.x = 1.0
    done(ask(sim, 'SetEntityState', 'set_entity_state', entity='ball', state=wanted))
    sim.step(100)
    x, y, z = position(sim, 'ball')
    assert (x, y) == pytest.approx((0.1, -1), abs=1e-6) and 1.9 < z < 2
    wanted.pose.orientation.w = 0.0
    refused = ask(sim, 'SetEntityState', 'set_entity_state', entity='ball', state=wanted)
    assert refused.result.result == 101
    missing = ask(sim, 'SetEntityState', 'set_entity_state', entity='bal', state=wanted)
    assert missing.result.result == 2 and 'did you mean "ball"' in missing.result.error_message


def test_playing_pausing_stopping(sim: Client) -> None:
    assert state(sim) == 2
    sim.heard['/clock'].clear()
    done(ask(sim, 'SetSimulationState', 'set_simulation_state',
             state=message('SimulationState', state=1)))
    sim.count('/clock', 20)
    busy = ask(sim, 'StepSimulation', 'step_simulation', steps=1)
    assert busy.result.result == 3 and 'paused' in busy.result.error_message
    done(ask(sim, 'SetSimulationState', 'set_simulation_state',
             state=message('SimulationState', state=2)))
    twice = ask(sim, 'SetSimulationState', 'set_simulation_state',
                state=message('SimulationState', state=2))
    assert twice.result.result == 101
    before = position(sim, 'ball')
    assert before[2] < 1 and position(sim, 'ball') == before
    done(ask(sim, 'SetSimulationState', 'set_simulation_state',
             state=message('SimulationState', state=0)))
    assert state(sim) == 0 and position(sim, 'ball')[2] == 1


def test_a_goal_of_steps_is_done_with_feedback_and_can_be_cancelled(sim: Client) -> None:
    from rclpy.action import ActionClient

    kind = _type('simulation_interfaces.action', 'SimulateSteps')
    client = ActionClient(sim.node, kind, '/simulate_steps')
    sim.until(client.server_is_ready, 'the action')
    feedback: list[Any] = []
    sending = client.send_goal_async(
        kind.Goal(steps=100), feedback_callback=lambda one: feedback.append(one.feedback))
    sim.until(sending.done, 'an accepted goal')
    result = sending.result().get_result_async()
    sim.until(result.done, 'a result')
    assert result.result().status == 4 and result.result().result.result.result == 1
    # What comes after the result is not looked at any more.
    assert [one.completed_steps for one in feedback] == [20, 40, 60, 80, 100][:len(feedback)]
    assert feedback and feedback[0].remaining_steps == 80
    sending = client.send_goal_async(kind.Goal(steps=10**9))
    sim.until(sending.done, 'an accepted goal')
    result = sending.result().get_result_async()
    cancelling = sending.result().cancel_goal_async()
    sim.until(cancelling.done, 'the answer to the cancel')
    sim.until(result.done, 'a result')
    assert result.result().status == 5
    sim.step(1)
    client.destroy()


# --- parameters ---------------------------------------------------------------------------------

def set_parameters(client: Client, **values: Any) -> list[Any]:
    from rclpy.parameter import Parameter

    parameters = [Parameter(name, value=value).to_parameter_msg()
                  for name, value in values.items()]
    kind = _type('rcl_interfaces.srv', 'SetParameters')
    return list(client.call(kind, '/simulator/set_parameters', parameters=parameters).results)


def test_gravity_is_a_parameter_that_outlives_a_reset(sim: Client) -> None:
    assert set_parameters(sim, gravity=[0.0, 0.0, 0.0])[0].successful
    try:
        sim.step(100)
        assert position(sim, 'ball')[2] == 1
        done(ask(sim, 'ResetSimulation', 'reset_simulation'))
        sim.step(100)
        assert position(sim, 'ball')[2] == 1
    finally:
        set_parameters(sim, gravity=[0.0, 0.0, -9.8])


@pytest.mark.parametrize('name,value', [
    ('gravity', [1.0, 2.0]), ('wind', [math.inf, 0.0, 0.0]), ('lidar_dropout', 1.5),
    ('light_scale', -1.0), ('light_scale', 'bright'),
])
def test_a_parameter_out_of_its_range_is_refused(sim: Client, name: str, value: Any) -> None:
    answer = set_parameters(sim, **{name: value})[0]
    assert not answer.successful and answer.reason


def test_lidar_ranges_are_those_of_the_geometry(sim: Client) -> None:
    sim.listen('/scan', _type('sensor_msgs.msg', 'LaserScan'))
    step_until_heard(sim, '/scan', 100)
    scan = sim.last('/scan')
    assert scan.header.frame_id == 'eye' and len(scan.ranges) == 91
    angles = scan.angle_min + scan.angle_increment * np.arange(91)
    assert np.asarray(scan.ranges) == pytest.approx(2 / np.cos(angles), abs=1e-3)
    set_parameters(sim, lidar_dropout=1.0)
    try:
        sim.heard['/scan'].clear()
        sim.step(100)
        assert np.isinf(sim.last('/scan').ranges).all()
    finally:
        set_parameters(sim, lidar_dropout=0.0)


def step_until_heard(sim: Client, topic: str, steps: int) -> None:
    """Step until the simulator has found the new subscription, and a little more."""
    def heard() -> bool:
        sim.step(steps)
        return bool(sim.heard[topic])

    sim.until(heard, f'a message on {topic}')


# --- driving ------------------------------------------------------------------------------------

TOPICS = {
    '/clock': ('rosgraph_msgs.msg', 'Clock'), '/odom': ('nav_msgs.msg', 'Odometry'),
    '/tf': ('tf2_msgs.msg', 'TFMessage'), '/imu': ('sensor_msgs.msg', 'Imu'),
    '/scan': ('sensor_msgs.msg', 'LaserScan'), '/joint_states': ('sensor_msgs.msg', 'JointState'),
    '/ground_truth/poses': ('tf2_msgs.msg', 'TFMessage'),
    '/camera/image_raw': ('sensor_msgs.msg', 'Image'),
    '/camera/camera_info': ('sensor_msgs.msg', 'CameraInfo'),
    '/ground_truth/detections_2d': ('vision_msgs.msg', 'Detection2DArray'),
}


def yaw_of(q: Any) -> float:
    return math.atan2(2 * (q.w * q.z + q.x * q.y), 1 - 2 * (q.y**2 + q.z**2))


class Course:
    """Where a robot went, by its odometry and in truth."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.travelled = {'odom': 0.0, 'truth': 0.0}
        self.turned = {'odom': 0.0, 'truth': 0.0}
        self._last: dict[str, tuple[float, float, float]] = {}

    def look(self) -> None:
        odom = self.client.last('/odom').pose.pose
        truth = next(one.transform for one in self.client.last('/ground_truth/poses').transforms
                     if one.child_frame_id == 'patrol_robot')
        for name, point, rotation in (
            ('odom', odom.position, odom.orientation), ('truth', truth.translation, truth.rotation)
        ):
            now = point.x, point.y, yaw_of(rotation)
            x, y, yaw = self._last.get(name, now)
            self.travelled[name] += math.hypot(now[0] - x, now[1] - y)
            self.turned[name] += math.remainder(now[2] - yaw, math.tau)
            self._last[name] = now


def test_odometry_and_truth_agree_over_five_metres_and_a_full_turn(tmp_path: Path) -> None:
    twist = _type('geometry_msgs.msg', 'Twist')
    with simulator(WORLDS / 'empty.sdf', tmp_path, '--paused') as sim:
        for topic in ('/odom', '/ground_truth/poses'):
            sim.listen(topic, _type(*TOPICS[topic]))
        drive = sim.publisher(twist, '/cmd_vel')
        sim.step(200)
        course = Course(sim)
        for linear, turn, steps in ((0.5, 0.0, 11_000), (0.0, 0.0, 1000), (0.0, 0.8, 8500)):
            command = twist()
            command.linear.x, command.angular.z = linear, turn
            drive(command)
            for _ in range(steps // 100):
                sim.heard['/odom'].clear()
                sim.heard['/ground_truth/poses'].clear()
                sim.step(100)
                sim.count('/odom', 5)
                sim.count('/ground_truth/poses', 5)
                course.look()
    assert course.travelled['truth'] > 5 and course.turned['truth'] > math.tau
    assert course.travelled['odom'] == pytest.approx(course.travelled['truth'], rel=0.02)
    assert course.turned['odom'] == pytest.approx(course.turned['truth'], rel=0.02)


def fingerprint(folder: Path, seed: int) -> dict[str, tuple[int, str]]:
    """Drive through the warehouse in lock-step; hash every value of every topic."""
    folder.mkdir(parents=True)
    twist = _type('geometry_msgs.msg', 'Twist')
    options = ('--paused', '--seed', str(seed))
    with simulator(WORLDS / 'warehouse.sdf', folder, *options) as sim:
        for topic, kind in TOPICS.items():
            sim.listen(topic, _type(*kind))
        drive = sim.publisher(twist, '/cmd_vel')

        def all_heard() -> bool:
            sim.step(100)
            return all(sim.heard.values())

        sim.until(all_heard, 'a message on every topic')
        done(ask(sim, 'ResetSimulation', 'reset_simulation'))
        command = twist()
        command.linear.x = 0.5
        for turn in (0.0, 0.5, -0.5):
            command.angular.z = turn
            drive(command)
            sim.step(200)
        sim.until(lambda: all(stamp_of(topic, heard[-1]) == 600 * MS
                              for topic, heard in sim.heard.items()), 'the end of every topic')
        return {topic: since_reset(topic, heard) for topic, heard in sim.heard.items()}


def stamp_of(topic: str, message: bytes) -> int:
    """Read the first stamp; before that of a TFMessage stands the number of transforms."""
    offset = 8 if TOPICS[topic][1] == 'TFMessage' else 4
    sec, nanosec = struct.unpack_from('<iI', message, offset)
    return int(sec) * 1000 * MS + int(nanosec)


def since_reset(topic: str, heard: list[bytes]) -> tuple[int, str]:
    """Count and hash the messages since time went back."""
    stamps = [stamp_of(topic, message) for message in heard]
    start = max((i for i in range(1, len(heard)) if stamps[i] <= stamps[i - 1]), default=0)
    from rclpy.serialization import deserialize_message

    digest = hashlib.sha256()
    for one in heard[start:]:
        feed(digest, deserialize_message(one, _type(*TOPICS[topic])))
    return len(heard) - start, digest.hexdigest()


def feed(digest: Any, value: Any) -> None:
    """Hash every value of a message in all its bits, but not what lies between them.

    Fast CDR leaves in the gaps of its alignment whatever was in the memory before.
    """
    if hasattr(value, 'get_fields_and_field_types'):
        for name in value.get_fields_and_field_types():
            feed(digest, getattr(value, name))
    elif hasattr(value, 'tobytes'):
        digest.update(value.tobytes())
    elif isinstance(value, list | tuple):
        digest.update(f'{len(value)} '.encode())
        for one in value:
            feed(digest, one)
    else:
        digest.update(f'{value!r} '.encode())


COUNTS = {
    '/odom': 30, '/tf': 30, '/imu': 60, '/scan': 6, '/joint_states': 30,
    '/ground_truth/poses': 30, '/camera/image_raw': 6, '/camera/camera_info': 6,
    '/ground_truth/detections_2d': 6, '/clock': 60}


def heard_whole(folder: Path, seed: int) -> dict[str, tuple[int, str]]:
    """Listen again where our own queues were too short on a busy machine."""
    for attempt in range(3):
        found = fingerprint(folder / str(attempt), seed)
        if {topic: count for topic, (count, _) in found.items()} == COUNTS:
            break
    return found


def test_same_seed_and_commands_give_the_same_bytes(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(heard_whole, tmp_path / 'a', 7).result()
        second = pool.submit(heard_whole, tmp_path / 'b', 7).result()
        other = pool.submit(heard_whole, tmp_path / 'c', 8).result()
    assert {topic: count for topic, (count, _) in first.items()} == COUNTS
    assert first == second
    assert other['/imu'] != first['/imu'] and other['/clock'] == first['/clock']


# --- what is wrong ------------------------------------------------------------------------------

@pytest.mark.parametrize('text,expected', [
    (ROOM.replace('<radius>0.1</radius>', ''), r'w\.sdf:\d+:\d+: .*radius'),
    (ROOM.replace('</world>', ''), r'w\.sdf:\d+:\d+: '),
])
def test_a_broken_world_is_named_with_its_line(tmp_path: Path, text: str, expected: str) -> None:
    world = tmp_path / 'w.sdf'
    world.write_text(text)
    ran = subprocess.run(
        [sys.executable, '-m', 'robot_qa.embedded.program', str(world)], cwd=ROOT, text=True,
        capture_output=True, check=False, timeout=60,
    )
    assert ran.returncode == 2 and re.search(expected, ran.stderr), ran.stderr
    assert 'Traceback' not in ran.stderr


@pytest.mark.parametrize(('missing', 'remedy'), [
    ('mujoco', 'pip install mujoco'), ('vision_msgs', 'source a ROS workspace')])
def test_what_is_not_installed_is_named(missing: str, remedy: str) -> None:
    ran = subprocess.run(
        [sys.executable, '-c', f'import sys; sys.modules[{missing!r}] = None\n'
         'from robot_qa.embedded.program import console; console()'],
        cwd=ROOT, text=True, capture_output=True, check=False, timeout=60)
    assert ran.returncode == 4
    assert ran.stderr.startswith(f'the simulator needs {missing}: ') and remedy in ran.stderr
