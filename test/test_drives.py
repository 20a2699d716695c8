"""Drives and controllers against their differential equations, and robots against the truth."""

from __future__ import annotations

from dataclasses import astuple, replace
from typing import Any

import numpy as np
import pytest
from scipy import signal
from scipy.spatial.transform import Rotation

pytest.importorskip('mujoco')

from robot_qa.embedded import world
from robot_qa.embedded.diff_drive import Limits
from robot_qa.embedded.drives import make_drives
from robot_qa.embedded.joint_drives import Pid
from robot_qa.embedded.plugin_parameters import Parameters
from robot_qa.embedded.simulation import Simulation
from robot_qa.errors import SpecError
from worlds_in_code import (
    block,
    diff_drive,
    ground,
    inertial,
    joint,
    link,
    model,
    plugin,
    pose,
    scene,
    sensor,
    two_wheeled,
)

MS = 1_000_000
GENTLE = {'max_linear_acceleration': 1.0, 'min_linear_acceleration': -1.0,
          'max_angular_acceleration': 2.0, 'min_angular_acceleration': -2.0}


def started(*models: world.Model, seed: int = 1) -> tuple[Simulation, list[Any]]:
    """Return a simulation and the drives of its last model."""
    simulation = Simulation(scene(*models), seed)
    return simulation, make_drives(simulation, models[-1].name)


def run(simulation: Simulation, drives: list[Any], seconds: float) -> None:
    """Step and update as the node does."""
    end = simulation.time_ns + round(seconds * 1e9)
    while simulation.time_ns < end:
        for drive in drives:
            if simulation.time_ns % max(drive.update_period_ns, MS) == 0:
                drive.update(simulation.time_ns)
        simulation.step()
    for drive in drives:
        drive.update(simulation.time_ns)


def yaw_of(rotation: Any) -> float:
    return float(Rotation.from_quat(rotation).as_euler('xyz')[2])


def parameters(name: str, **given: Any) -> Parameters:
    return Parameters(plugin(name, **given), two_wheeled(), [])


# Diff drive


@pytest.mark.parametrize('at', [pose(), pose(2.0, -1.0, yaw=2.5)])
def test_five_metres_straight_on(at: Any) -> None:
    simulation, (drive,) = started(ground(), two_wheeled(diff_drive(**GENTLE), at=at))
    drive.command(1.0, 0.0)
    run(simulation, [drive], 5.5)
    drive.command(0.0, 0.0)
    run(simulation, [drive], 1.5)
    odometry, truth = drive.sample(), at.inverse() @ simulation.pose('robot')
    # One second to get going and one to stop cost half a metre each.
    assert odometry.position == pytest.approx([5.5, 0.0, 0.0], abs=0.03)
    assert truth.translation == pytest.approx(odometry.position, abs=0.02 * 5.5)
    assert yaw_of(truth.rotation) == pytest.approx(0.0, abs=0.01)
    assert odometry.linear == pytest.approx(np.zeros(3), abs=1e-2)


@pytest.mark.parametrize('direction', [1.0, -1.0])
def test_a_full_turn(direction: float) -> None:
    simulation, (drive,) = started(ground(), two_wheeled(diff_drive(**GENTLE)))
    drive.command(0.0, direction)
    turned = before = 0.0
    for _ in range(65):  # 6.28 s, and half of the half a second to get going
        run(simulation, [drive], 0.1)
        yaw = yaw_of(simulation.pose('robot').rotation)
        turned, before = turned + np.angle(np.exp(1j * (yaw - before))), yaw
    assert turned == pytest.approx(direction * 2 * np.pi, rel=0.04)
    by_wheels = drive.sample()
    difference = np.angle(np.exp(1j * (yaw_of(by_wheels.rotation) - turned)))
    assert abs(difference) < 0.02 * 2 * np.pi
    assert simulation.pose('robot').translation[:2] == pytest.approx([0, 0], abs=0.05)
    assert by_wheels.angular == pytest.approx([0, 0, direction], abs=1e-3)


def test_odometry_follows_a_circle() -> None:
    simulation, (drive,) = started(ground(), two_wheeled(diff_drive(**GENTLE)))
    drive.command(0.5, 1.0)
    run(simulation, [drive], np.pi / 2 + 0.25)
    odometry, truth = drive.sample(), simulation.pose('robot')
    # A quarter of a circle of half a metre; both velocities take half a second to get there.
    heading = yaw_of(odometry.rotation)
    assert heading == pytest.approx(np.pi / 2, abs=0.03)
    circle = [0.5 * np.sin(heading), 0.5 - 0.5 * np.cos(heading), 0.0]
    assert odometry.position == pytest.approx(circle, abs=2e-3)
    assert truth.translation == pytest.approx(odometry.position, abs=0.02 * np.pi / 4)


def test_wheels_turn_as_the_geometry_says() -> None:
    simulation, (drive,) = started(ground(), two_wheeled(diff_drive()))
    drive.command(0.6, 1.0)
    run(simulation, [drive], 1.0)
    # (0.6 -+ 1.0 * 0.4 / 2) / 0.1
    for side, speed in (('left', 4.0), ('right', 8.0)):
        found = simulation.joint('robot', f'{side}_joint').qvel()[0]
        assert found == pytest.approx(speed, rel=1e-2)


def test_several_wheels_of_a_side_turn_together() -> None:
    wheels = [f'{side}{number}' for side in 'lr' for number in range(2)]
    joints = [joint(one, 'continuous', 'base', one) for one in wheels]
    links = [link('base', mass=50.0, gravity=False)]
    links += [link(one, mass=0.1, moment=0.001, gravity=False) for one in wheels]
    drive = diff_drive(left_joint=['l0', 'l1'], right_joint=['r0', 'r1'])
    simulation, (drive,) = started(model('robot', links, joints=tuple(joints), plugins=(drive,)))
    drive.command(0.0, 2.0)
    run(simulation, [drive], 0.2)
    speeds = [simulation.joint('robot', one).qvel()[0] for one in wheels]
    assert speeds == pytest.approx([-4.0, -4.0, 4.0, 4.0], rel=1e-2)


def test_disabled_it_stops_and_takes_no_commands() -> None:
    simulation, (drive,) = started(ground(), two_wheeled(diff_drive()))
    drive.command(0.5, 0.0)
    drive.enable(False)
    drive.command(0.5, 0.0)
    run(simulation, [drive], 0.3)
    assert drive.sample().position == pytest.approx(np.zeros(3), abs=1e-3)
    drive.enable(True)
    drive.command(0.5, 0.0)
    run(simulation, [drive], 0.5)
    assert drive.sample().linear == pytest.approx([0.5, 0, 0], abs=1e-2)


def test_odometry_is_that_of_now_between_updates() -> None:
    simulation, (drive,) = started(ground(), two_wheeled(diff_drive()))
    drive.command(0.5, 0.0)
    run(simulation, [drive], 0.5)
    before = drive.sample()
    simulation.step(7)
    after = drive.sample()
    assert after.stamp_ns - before.stamp_ns == 7 * MS
    assert after.position[0] - before.position[0] == pytest.approx(0.0035, rel=1e-2)
    assert after.linear == pytest.approx([0.5, 0, 0], rel=1e-2)
    assert (drive.sample().linear == after.linear).all()


def test_after_a_reset_the_odometry_begins_anew() -> None:
    simulation, (drive,) = started(ground(), two_wheeled(diff_drive()))
    drive.command(0.5, 0.3)
    run(simulation, [drive], 0.5)
    simulation.reset()
    drive.reset()
    run(simulation, [drive], 0.2)
    odometry = drive.sample()
    assert odometry.position == pytest.approx(np.zeros(3), abs=1e-3)
    assert odometry.stamp_ns == 200 * MS


def test_spawning_does_not_disturb_the_odometry() -> None:
    simulation, (drive,) = started(ground(), two_wheeled(diff_drive()))
    drive.command(0.5, 0.0)
    run(simulation, [drive], 0.5)
    before = drive.sample().position[0]
    simulation.spawn(block('new', world.Box((1, 1, 1)), pose(0, 5.0, 0.5)))
    run(simulation, [drive], 0.5)
    assert drive.sample().position[0] - before == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize('given, target, expected', [
    ({}, 3.0, [3, 3, 3, 3]),
    ({'max_velocity': 2.0}, 3.0, [2, 2, 2, 2]),
    ({'max_velocity': 9.0, 'max_linear_velocity': 2.5}, 3.0, [2.5] * 4),
    ({'max_angular_velocity': 1.0}, 3.0, [3, 3, 3, 3]),
    ({'min_linear_velocity': -1.0}, -3.0, [-1, -1, -1, -1]),
    ({'max_acceleration': 2.0}, 3.0, [1, 2, 3, 3]),
    ({'max_linear_acceleration': 2.0, 'max_velocity': 1.5}, 3.0, [1, 1.5, 1.5, 1.5]),
    # Only the maximum is limited: it may brake at once.
    ({'max_acceleration': 2.0}, -3.0, [-3, -3, -3, -3]),
    # Jerk 4 m/s3 in steps of 0.5 s: accelerations 2, 4, 6, 8 m/s2.
    ({'max_jerk': 4.0}, 99.0, [1, 3, 6, 10]),
    ({'max_linear_jerk': 4.0, 'max_acceleration': 5.0}, 99.0, [1, 3, 5.5, 8]),
    ({'min_jerk': -4.0}, -99.0, [-1, -3, -6, -10]),
])
def test_limits(given: dict[str, float], target: float, expected: list[float]) -> None:
    limits = Limits(parameters('DiffDrive', **given), 'linear')
    for _ in range(2):
        assert limits.apply(target, 0.0) == 0.0  # no time, no change
        assert [limits.apply(target, 0.5) for _ in range(4)] == pytest.approx(expected)
        limits.reset()


def test_the_robot_speeds_up_as_its_limits_say() -> None:
    simulation, (drive,) = started(ground(), two_wheeled(diff_drive(
        max_linear_acceleration=0.5, max_angular_velocity=0.4)))
    drive.command(2.0, 3.0)
    run(simulation, [drive], 1.0)
    odometry = drive.sample()
    assert odometry.linear == pytest.approx([0.5, 0, 0], abs=0.02)
    assert odometry.angular == pytest.approx([0, 0, 0.4], abs=0.01)


def test_names_of_topics_and_frames() -> None:
    named = diff_drive(topic='/go', odom_topic='/odom', tf_topic='/tf', frame_id='odom',
                       child_frame_id='base', odom_publish_frequency=20)
    _, (plain, other) = started(ground(), two_wheeled(diff_drive(), named))
    assert (plain.topic, plain.odom_topic, plain.tf_topic, plain.enable_topic) == (
        '/model/robot/cmd_vel', '/model/robot/odometry', '/model/robot/tf', '/model/robot/enable')
    odometry = plain.sample()
    assert (odometry.frame_id, odometry.child_frame_id) == ('robot/odom', 'robot/chassis')
    assert (plain.period_ns, other.period_ns) == (20 * MS, 50 * MS)
    assert (other.topic, other.odom_topic, other.tf_topic) == ('/go', '/odom', '/tf')
    assert (other.frame_id, other.child_frame_id) == ('odom', 'base')


# Controllers of joints

INERTIA = 0.1
"""Of the arm, in kg m2 about its joint."""


def arm(*plugins: world.Plugin, kind: str = 'revolute', **axis: Any) -> world.Model:
    """A link that turns about an upright axis in the world."""
    return model(
        'arm', [link('link', inertial=inertial(1.0, INERTIA))], plugins=plugins,
        joints=(joint('hinge', kind, 'world', 'link', **axis),))


def position_of(simulation: Simulation) -> float:
    return float(simulation.joint('arm', 'hinge').qpos()[0])


def velocity_of(simulation: Simulation) -> float:
    return float(simulation.joint('arm', 'hinge').qvel()[0])


def controller(name: str, **given: Any) -> world.Plugin:
    return plugin(name, joint_name='hinge', **given)


def test_a_position_controller_moves_as_its_gains_say() -> None:
    simulation, (drive,) = started(
        arm(controller('JointPositionController', p_gain=2.0, i_gain=0.0, d_gain=0.3)))
    drive.command(0.8)
    # I x'' = p (r - x) + d (r - x)': with a derivative of the error, the step kicks.
    system = signal.TransferFunction([0.3, 2.0], [INERTIA, 0.3, 2.0])
    times, expected = signal.step(system, T=np.linspace(0.0, 1.5, 16))
    for before, after, position in zip(times, times[1:], expected[1:], strict=False):
        run(simulation, [drive], after - before)
        assert position_of(simulation) == pytest.approx(0.8 * position, abs=0.01)


def test_a_position_controller_reaches_its_target_against_a_load() -> None:
    spring = {'spring_stiffness': 1.0}
    simulation, (drive,) = started(arm(controller(
        'JointPositionController', p_gain=4.0, i_gain=6.0, d_gain=1.0, i_max=5, i_min=-5,
        initial_position=0.5), **spring))
    run(simulation, [drive], 6.0)
    assert position_of(simulation) == pytest.approx(0.5, abs=2e-3)
    drive.command(-0.3)
    run(simulation, [drive], 6.0)
    assert position_of(simulation) == pytest.approx(-0.3, abs=2e-3)


@pytest.mark.parametrize('name', ['JointPositionController', 'JointController'])
def test_efforts_are_limited(name: str) -> None:
    more = {'use_force_commands': 'true'} if name == 'JointController' else {}
    simulation, (drive,) = started(arm(controller(
        name, p_gain=1000.0, cmd_max=0.2, cmd_min=-0.1, **more)))
    drive.command(50.0)
    run(simulation, [drive], 0.5)
    # 0.2 Nm on 0.1 kg m2 for half a second.
    assert velocity_of(simulation) == pytest.approx(1.0, rel=0.02)
    drive.command(-50.0)
    run(simulation, [drive], 0.5)
    assert velocity_of(simulation) == pytest.approx(0.5, rel=0.03)


def test_a_position_controller_by_velocity() -> None:
    simulation, (drive,) = started(arm(controller(
        'JointPositionController', use_velocity_commands='true', cmd_max=2.0)))
    drive.command(1.5)
    run(simulation, [drive], 0.5)
    assert position_of(simulation) == pytest.approx(1.0, abs=0.01)
    run(simulation, [drive], 0.5)
    assert position_of(simulation) == pytest.approx(1.5, abs=1e-3)
    assert velocity_of(simulation) == pytest.approx(0.0, abs=1e-2)


def test_a_pid_like_that_of_gazebo() -> None:
    pid = Pid(parameters('JointController', p_gain=2.0, i_gain=3.0, d_gain=0.5, i_max=0.9,
                         i_min=-0.4, cmd_offset=10.0), (1.0, 0.0, 0.0))
    # p: 2 * 0.5, i: 3 * 0.5 * 0.1, d: 0.5 * (0.5 - 0) / 0.1
    assert pid.update(0.5, 0.1) == pytest.approx(10 - 1.0 - 0.15 - 2.5)
    assert pid.update(0.5, 0.1) == pytest.approx(10 - 1.0 - 0.3 - 0.0)
    assert pid.update(2.0, 10.0) == pytest.approx(10 - 4.0 - 0.9 - 0.5 * 1.5 / 10)
    assert pid.update(-2.0, 10.0) == pytest.approx(10 + 4.0 + 0.4 + 0.5 * 4.0 / 10)
    pid.reset()
    assert pid.update(0.5, 0.1) == pytest.approx(10 - 1.0 - 0.15 - 2.5)


@pytest.mark.parametrize('name, given, effort', [
    # The error is -0.5; p: 1 * 0.5, i: 0.1 * 0.5 * 0.001, d: 0.01 * 0.5 / 0.001
    ('JointPositionController', {}, 5.50005),
    ('JointController', {'use_force_commands': 'true'}, 0.5),
])
def test_gains_by_default(name: str, given: dict[str, str], effort: float) -> None:
    simulation, (drive,) = started(arm(controller(name, **given)))
    drive.command(0.5)
    drive.update(0)
    assert simulation.joint('arm', 'hinge').effort()[0] == pytest.approx(effort, abs=1e-9)


@pytest.mark.parametrize('kind', ['revolute', 'continuous', 'prismatic'])
def test_a_velocity_controller(kind: str) -> None:
    simulation, (drive,) = started(
        arm(controller('JointController', initial_velocity=1.5), kind=kind, xyz=(1.0, 0.0, 0.0)))
    run(simulation, [drive], 0.3)
    assert velocity_of(simulation) == pytest.approx(1.5, rel=1e-3)
    assert position_of(simulation) == pytest.approx(0.45, abs=0.02)
    drive.command(-0.5)
    run(simulation, [drive], 0.3)
    assert velocity_of(simulation) == pytest.approx(-0.5, rel=1e-3)


def test_a_velocity_controller_by_force_is_of_first_order() -> None:
    simulation, (drive,) = started(arm(controller(
        'JointController', use_force_commands='true', p_gain=0.5)))
    drive.command(2.0)
    for passed in (0.1, 0.2, 0.4):
        run(simulation, [drive], passed - simulation.time_ns / 1e9)
        expected = 2.0 * (1.0 - np.exp(-0.5 / INERTIA * passed))
        assert velocity_of(simulation) == pytest.approx(expected, abs=0.01)


def test_topics_of_controllers() -> None:
    _, drives = started(arm(
        controller('JointPositionController'), controller('JointController'),
        controller('JointController', topic='/spin'),
        controller('JointPositionController', sub_topic='up'),
    ))
    assert [one.topic for one in drives] == [
        '/model/arm/joint/hinge/0/cmd_pos', '/model/arm/joint/hinge/cmd_vel', '/spin',
        '/model/arm/up']


# What is reported


def test_joint_states() -> None:
    rail = joint('rail', 'prismatic', 'link', 'cart')
    still = joint('still', 'fixed', 'cart', 'plate')
    hinge = joint('hinge', 'revolute', 'world', 'link')
    links = [link(name, gravity=False) for name in ('link', 'cart', 'plate')]
    plugins = (plugin('JointStatePublisher'),
               plugin('JointStatePublisher', joint_name=['rail'], topic='/js', update_rate=25),
               controller('JointController', initial_velocity=2.0))
    simulation, (every, one, drive) = started(model(
        'arm', links, joints=(hinge, rail, still), plugins=plugins))
    run(simulation, [drive], 0.25)
    simulation.joint_effort('arm', 'rail', 3.0)
    simulation.step()
    states = every.sample()
    assert states.names == ('hinge', 'rail')
    assert states.stamp_ns == simulation.time_ns
    assert states.positions[0] == pytest.approx(0.5, abs=0.02)
    assert states.velocities == pytest.approx([2.0, 3.0 / 2.0 * 0.001], rel=0.01)
    assert states.efforts[1] == 3.0
    assert one.sample().names == ('rail',)
    assert (every.topic, every.period_ns) == ('/world/test/model/arm/joint_state', 0)
    assert (one.topic, one.period_ns) == ('/js', 40 * MS)


TILTED = {'yaw': 0.8, 'pitch': 0.3}


@pytest.mark.parametrize('dimensions', ['2', '3'])
def test_true_odometry(dimensions: str) -> None:
    given = {'dimensions': dimensions, 'xyz_offset': '1 0 0', 'rpy_offset': '0.2 0 0.5'}
    simulation, (publisher,) = started(model(
        'robot', [link('link')], pose(1, 2, 3, **TILTED),
        plugins=(plugin('OdometryPublisher', **given),)))
    linear, angular = np.array([0.5, -1.0, 0.25]), np.array([0.1, 0.2, 0.7])
    simulation.set_twist('robot', linear, angular)
    turn = Rotation.from_euler('xyz', [0.0, 0.3, 0.8])
    whole = turn * Rotation.from_euler('xyz', [0.2, 0.0, 0.5])
    odometry = publisher.sample()
    point = np.array([1.0, 2.0, 3.0]) + turn.apply([1.0, 0, 0])
    moving = linear + np.cross(angular, turn.apply([1.0, 0, 0]))
    own = whole.inv().apply(angular)
    assert (Rotation.from_quat(odometry.rotation) * whole.inv()).magnitude() < 1e-9
    if dimensions == '3':
        assert odometry.position == pytest.approx(point, abs=1e-9)
        assert odometry.linear == pytest.approx(whole.inv().apply(moving), abs=1e-9)
        assert odometry.angular == pytest.approx(own, abs=1e-9)
    else:
        yaw = whole.as_euler('xyz')[2]
        assert odometry.position == pytest.approx([*point[:2], 0.0], abs=1e-9)
        flat = Rotation.from_euler('z', -yaw).apply([*moving[:2], 0.0])
        assert odometry.linear == pytest.approx(flat, abs=1e-9)
        assert odometry.angular == pytest.approx([0, 0, own[2]], abs=1e-9)
    assert (odometry.frame_id, odometry.child_frame_id) == ('robot/odom', 'robot/base_footprint')
    assert (publisher.odom_topic, publisher.tf_topic) == (
        '/model/robot/odometry', '/model/robot/pose')


def test_true_odometry_with_noise() -> None:
    robot = model('robot', [link('link')],
                  plugins=(plugin('OdometryPublisher', gaussian_noise=0.2),))
    _, (first,) = started(robot)
    rows = np.array([np.concatenate((one.linear, one.angular))
                     for one in (first.sample() for _ in range(500))])
    assert rows.std(axis=0) == pytest.approx(np.full(6, 0.2), rel=6 / np.sqrt(1000))
    _, (again,) = started(robot)
    assert (again.sample().linear == rows[0, :3]).all()
    _, (other,) = started(robot, seed=2)
    assert not (other.sample().linear == rows[0, :3]).any()


def test_poses_of_parts() -> None:
    robot = two_wheeled(
        plugin('PosePublisher', publish_model_pose='true'),
        plugin('PosePublisher', publish_visual_pose='true', publish_collision_pose='1',
               publish_link_pose='false', publish_nested_model_pose='true',
               static_publisher='true', update_frequency=10),
        at=pose(3.0, 1.0, yaw=1.0))
    lid = joint('lid', 'fixed', 'chassis', 'lid')
    simulation, (links, everything) = started(ground(), replace(
        robot, links=(*robot.links, link('lid', at=pose(z=1.0))), joints=(*robot.joints, lid)))
    simulation.set_pose('robot', pose(5.0, 1.0, yaw=2.0))
    found = links.sample()
    assert found.parents == ('robot',) * 4
    assert found.children == (
        'robot/chassis', 'robot/left_wheel', 'robot/right_wheel', 'robot/lid')
    assert found.poses.translation == pytest.approx(
        np.array([[0, 0, 0.1], [0, 0.2, 0.1], [0, -0.2, 0.1], [0, 0, 1]]), abs=1e-9)
    assert found.fixed.tolist() == [True, False, False, True]
    found = everything.sample()
    assert list(zip(found.parents, found.children, strict=True)) == [
        ('test', 'robot'), ('robot/chassis', 'robot/chassis/box'),
        ('robot/chassis', 'robot/chassis/ball'),
        *((f'robot/{side}_wheel', f'robot/{side}_wheel/{part}')
          for side in ('left', 'right') for part in ('visual', 'collision')),
    ]
    assert found.poses.translation[0] == pytest.approx([5.0, 1.0, 0.0], abs=1e-9)
    assert yaw_of(found.poses.rotation[0]) == pytest.approx(2.0)
    assert found.poses.translation[2] == pytest.approx([-0.15, 0, -0.05])
    assert (links.topic, links.static_topic, links.period_ns) == ('/model/robot/pose', None, 0)
    assert (everything.static_topic, everything.static_period_ns, everything.period_ns) == (
        '/model/robot/pose_static', 100 * MS, 100 * MS)


# What may be wrong


@pytest.mark.parametrize('wrong, message', [
    (diff_drive(left_joint='left_joit'),
     'robot.sdf:20:5: DiffDrive: robot has no joint "left_joit"; did you mean "left_joint"?'),
    (plugin('DiffDrive', left_joint='left_joint'),
     'robot.sdf:19:3: DiffDrive: <right_joint> is missing'),
    (diff_drive(wheel_radius=0),
     'robot.sdf:23:5: DiffDrive: <wheel_radius> is 0; it must be above zero'),
    (diff_drive(wheel_separation='wide'),
     'robot.sdf:22:5: DiffDrive: <wheel_separation> is "wide", which is no number'),
    (diff_drive(max_velocity='nan'),
     'robot.sdf:24:5: DiffDrive: <max_velocity> is "nan", which is no number'),
    (diff_drive(min_linear_velocity=1, max_linear_velocity=-1), 'robot.sdf:25:5: DiffDrive: '
     '<min_linear_velocity> 1 lies above <max_linear_velocity> -1'),
    (plugin('JointController', joint_name='lid'),
     'robot.sdf:20:5: JointController: the joint "lid" is fixed, and has no axis'),
    (plugin('JointPositionController', joint_name='left_joint', joint_index=1),
     'robot.sdf:21:5: JointPositionController: only the first axis of a joint, <joint_index> 0, '
     'is driven'),
    (plugin('JointController', joint_name='left_joint', use_force_commands='ja'),
     'robot.sdf:21:5: JointController: <use_force_commands> is "ja"; write true or false'),
    (plugin('OdometryPublisher', dimensions=4),
     'robot.sdf:20:5: OdometryPublisher: <dimensions> is "4"; write 2 or 3'),
    (plugin('OdometryPublisher', xyz_offset='1 2'),
     'robot.sdf:20:5: OdometryPublisher: <xyz_offset> is "1 2"; write three numbers'),
    (plugin('JointStatePublisher', joint_name='elbow'),
     'robot.sdf:20:5: JointStatePublisher: robot has no joint "elbow"'),
])
def test_a_mistake_is_shown_where_it_is(wrong: world.Plugin, message: str) -> None:
    robot = two_wheeled(wrong)
    lid = joint('lid', 'fixed', 'chassis', 'lid')
    robot = replace(robot, links=(*robot.links, link('lid')), joints=(*robot.joints, lid))
    with pytest.raises(SpecError) as caught:
        started(robot)
    assert [str(one) for one in caught.value.problems] == [message]


def test_all_mistakes_of_all_plugins_are_shown_at_once() -> None:
    with pytest.raises(SpecError) as caught:
        started(two_wheeled(diff_drive(left_joint='a', right_joint='b', wheel_radius=-1),
                            plugin('JointController')))
    assert len(caught.value.problems) == 4


def test_nested_plugins_name_what_is_nested() -> None:
    links = [link('base'), link('arm::link'), link('arm::tip')]
    joints = (joint('arm::hinge', 'revolute', 'arm::link', 'arm::tip'),
              joint('hinge', 'revolute', 'base', 'arm::link'))
    scope = 'arm::'
    _, (states, drive) = started(model('robot', links, joints=joints, plugins=(
        plugin('JointStatePublisher', scope),
        plugin('JointController', scope, joint_name='hinge'),
    )))
    assert states.sample().names == ('hinge',)
    assert drive.joints == ['arm::hinge'] and drive.topic == '/model/arm/joint/hinge/cmd_vel'


def test_a_static_model_has_nothing_to_drive_but_its_poses() -> None:
    robot = two_wheeled(diff_drive(), plugin('JointStatePublisher'), plugin('PosePublisher'),
                        static=True)
    _, drives = started(robot)
    assert [type(one).__name__ for one in drives] == ['PosePublisher']
    assert drives[0].sample().children[0] == 'robot/chassis'


def test_the_same_commands_give_the_same_bytes() -> None:
    def recorded(turning: float) -> bytes:
        simulation, (drive, publisher) = started(ground(), two_wheeled(
            diff_drive(), plugin('OdometryPublisher', gaussian_noise=0.1)))
        drive.command(0.4, turning)
        run(simulation, [drive], 0.3)
        values = (*astuple(drive.sample()), *astuple(publisher.sample()))
        return b''.join(np.asarray(one).tobytes() for one in values)

    assert recorded(0.3) == recorded(0.3) != recorded(0.31)


# --- TouchPlugin --------------------------------------------------------------------------------

def falling(touch: world.Plugin) -> tuple[Simulation, Any]:
    """A box 5 mm over the ground, which it touches after 32 ms."""
    own = sensor('contact', contact_collisions=('collision',))
    box = model('box', [link('link', world.Box((0.2, 0.2, 0.2)))], pose(z=0.105),
                sensors=(own,), plugins=(touch,))
    simulation, drives = started(ground(), box)
    return simulation, drives[0]


def touched_at_ms(simulation: Simulation, touch: Any, until_ms: int) -> list[int]:
    found = []
    while simulation.time_ns < until_ms * MS:
        simulation.step(10)
        if touch.update(simulation.time_ns):
            found.append(simulation.time_ns // MS)
    return found


def test_a_touch_is_told_once_after_its_time() -> None:
    touching = plugin('TouchPlugin', target='ground', time=0.5, enabled='true')
    simulation, touch = falling(touching)
    assert touch.topic == '/box/touched' and touch.enable_service == '/box/enable'
    told = touched_at_ms(simulation, touch, 2000)
    assert len(told) == 1 and 530 <= told[0] <= 700  # it may bounce at first
    touch.enable(True)
    assert touched_at_ms(simulation, touch, 3000) == [2510]


@pytest.mark.parametrize('parameters', [
    {'target': 'wall', 'time': 0.1, 'enabled': 'true'}, {'target': 'ground', 'time': 0.1},
    {'target': 'box', 'time': 0.1, 'enabled': 'true'},
])
def test_what_is_no_touch(parameters: dict[str, Any]) -> None:
    assert touched_at_ms(*falling(plugin('TouchPlugin', **parameters)), 1000) == []


def test_a_break_starts_the_time_again() -> None:
    touching = plugin('TouchPlugin', target='ground', time=0.5, enabled='true')
    simulation, touch = falling(touching)
    assert touched_at_ms(simulation, touch, 400) == []
    simulation.set_pose('box', pose(z=0.2))
    told = touched_at_ms(simulation, touch, 2000)
    assert len(told) == 1 and told[0] > 1000


def test_mistakes_about_a_touch() -> None:
    bare = model('box', [link('link', world.Box((0.2, 0.2, 0.2)))], pose(z=0.105),
                 plugins=(plugin('TouchPlugin', time=-1.0),))
    with pytest.raises(SpecError) as caught:
        started(ground(), bare)
    assert str(caught.value).splitlines() == [
        'robot.sdf:19:3: TouchPlugin: <target> is missing',
        'robot.sdf:19:3: TouchPlugin: the model has no contact sensor',
        'robot.sdf:20:5: TouchPlugin: <time> is -1; it must be above zero',
    ]
