"""The embedded simulator's physics against numbers worked out by hand."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

mujoco = pytest.importorskip('mujoco')

from robot_qa.embedded import world as w  # noqa: E402
from robot_qa.embedded.simulation import Simulation  # noqa: E402
from robot_qa.errors import Problem, RobotQaError  # noqa: E402
from robot_qa.geometry import Poses, rotate, rotation_angle  # noqa: E402

G = 9.8
PLACE = Problem('w.sdf', 1, 1, '')
STILL = np.array([0.0, 0.0, 0.0, 1.0])
Y_DOWN = np.array([0.5 ** 0.5, 0.0, 0.0, 0.5 ** 0.5])


def at(x: float = 0.0, y: float = 0.0, z: float = 0.0, turn: Any = STILL) -> Poses:
    return Poses(np.array([x, y, z]), np.asarray(turn, float))


def about_y(degrees: float) -> Any:
    half = np.radians(degrees) / 2
    return np.array([0.0, np.sin(half), 0.0, np.cos(half)])


def inertial(
    mass: float = 1.0, moments: Any = (0.1, 0.1, 0.1), products: Any = (0.0, 0.0, 0.0),
    pose: Poses | None = None,
) -> w.Inertial:
    return w.Inertial(mass, pose or at(), moments, products)


def link(
    name: str = 'link', pose: Poses | None = None, shape: w.Geometry | None = None,
    mass: w.Inertial | None = None, **more: Any,
) -> w.Link:
    surface = {
        key: more.pop(key) for key in ('mu', 'restitution', 'collide_bitmask') if key in more
    }
    touch = () if shape is None else (w.Collision('touch', at(), shape, **surface),)
    return w.Link(name, pose or at(), mass or inertial(), touch, **more)


def model(name: str, pose: Poses, *links: w.Link, **more: Any) -> w.Model:
    return w.Model(name, pose, links, **more)


def crate(name: str, pose: Poses, size: Any = (0.4, 0.4, 0.2), mass: float = 2.0, **more: Any,
          ) -> w.Model:
    x, y, z = size
    moments = tuple(mass / 12 * one for one in (y * y + z * z, x * x + z * z, x * x + y * y))
    return model(name, pose, link(shape=w.Box(size), mass=inertial(mass, moments), **more))


def floor(pose: Poses | None = None, **more: Any) -> w.Model:
    ground = link(shape=w.Plane((0.0, 0.0, 1.0), (9.0, 9.0)), **more)
    return model('floor', pose or at(), ground, static=True)


def run(*models: w.Model, **more: Any) -> Simulation:
    return Simulation(w.World('test', models, **more))


def axis(xyz: Any = (0.0, 1.0, 0.0), **more: Any) -> w.Axis:
    return w.Axis(xyz, **more)


def jointed(
    kind: Any, *axes: w.Axis, mass: w.Inertial | None = None, child: Any = None,
) -> w.Model:
    """One link that hangs on the world by a joint at its origin."""
    arm = link('arm', mass=mass or inertial(), **(child or {}))
    return model('m', at(z=2.0), arm, joints=(w.Joint('j', kind, 'world', 'arm', at(), axes),))


def height(simulation: Simulation, name: str) -> float:
    return float(simulation.pose(name).translation[2])


# Bodies


def test_free_fall() -> None:
    s = run(crate('a', at(z=100.0)))
    s.step(1000)
    # Semi-implicit Euler: the velocity is exact, the distance half a step's fall too long.
    assert s.twist('a')[0] == pytest.approx([0, 0, -G], rel=1e-9)
    assert 100.0 - height(s, 'a') == pytest.approx(G / 2 + G / 2 * 1e-3, rel=1e-9)
    assert s.link_acceleration('a', 'link') == pytest.approx([0, 0, -G], rel=1e-6)
    assert s.time_ns == 1_000_000_000


def test_gravity_per_link_and_per_world() -> None:
    s = run(model('a', at(z=9.0), link(gravity=False)), model('b', at(z=9.0), link()))
    s.set_gravity((1.0, 0.0, 0.0))
    s.step(1000)
    assert s.twist('a')[0] == pytest.approx([0, 0, 0], abs=1e-9)
    assert s.twist('b')[0] == pytest.approx([1, 0, 0], abs=1e-9)


def test_pendulum_swings_with_its_period() -> None:
    # Physical pendulum: T = 2 pi sqrt((I + m d^2) / (m g d)), for small swings.
    s = run(jointed('revolute', axis(), mass=inertial(2.0, (0.1, 0.3, 0.2), pose=at(z=-0.5))))
    joint = s.joint('m', 'j')
    s.data.qpos[joint.ids.qpos[0]] = 0.02
    period = 2 * np.pi * np.sqrt((0.3 + 2 * 0.25) / (2 * G * 0.5))
    crossings, before = [], 0.02
    for step in range(4000):
        s.step()
        now = float(joint.qpos()[0])
        if before > 0.0 >= now:
            crossings.append((step + before / (before - now)) * 1e-3)
        before = now
    assert np.diff(crossings)[0] == pytest.approx(period, rel=1e-3)


def test_a_torque_turns_by_the_whole_inertia() -> None:
    moments, products = (0.5, 0.7, 0.9), (0.1, -0.05, 0.2)
    (xx, yy, zz), (xy, xz, yz) = moments, products
    tensor = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    turned = about_y(30.0)
    s = run(model('a', at(z=5.0), link(mass=inertial(1.0, moments, products, at(turn=turned)))))
    s.set_gravity((0.0, 0.0, 0.0))
    torque = np.array([0.3, 0.1, -0.2])
    s.apply_wrench('a', 'link', np.zeros(3), torque, 1_000_000)
    s.step(5)
    frame = np.array([rotate(turned, one) for one in np.eye(3)]).T
    expected = np.linalg.solve(frame @ tensor @ frame.T, torque) * 1e-3
    assert s.twist('a')[1] == pytest.approx(expected, rel=1e-4)


def test_a_spinning_top_without_torque_precesses() -> None:
    # Symmetric body: the angular velocity circles the axis at (1 - I3 / I1) w3 in the body.
    s = run(model('a', at(z=5.0), link(mass=inertial(1.0, (0.2, 0.2, 0.3)))))
    s.set_gravity((0.0, 0.0, 0.0))
    s.set_twist('a', np.zeros(3), np.array([0.2, 0.0, 4.0]))
    s.step(700)
    body = rotate(s.pose('a').rotation * [-1, -1, -1, 1], s.twist('a')[1])
    phase = (0.3 / 0.2 - 1.0) * 4.0 * 0.7
    assert body == pytest.approx([0.2 * np.cos(phase), 0.2 * np.sin(phase), 4.0], abs=2e-3)


def test_an_inertia_that_no_body_has_is_named() -> None:
    s = run(model('a', at(), link(mass=inertial(1.0, (0.1, 0.1, 0.9)))))
    assert ['a::link' in str(one) for one in s.warnings] == [True]
    with pytest.raises(RobotQaError, match='a::link: mass'):
        run(model('a', at(), link(mass=inertial(0.0))))


# Contacts


def test_a_box_at_rest_stays_and_its_contacts_carry_its_weight() -> None:
    s = run(floor(), crate('a', at(z=0.1)))
    s.step(500)
    start = s.pose('a').translation
    s.step(2000)
    assert start[2] == pytest.approx(0.1, abs=2e-4)
    assert s.pose('a').translation == pytest.approx(start, abs=1e-7)
    (contact,) = s.contacts()
    assert (contact.first, contact.second) == ('floor::link::touch', 'a::link::touch')
    assert contact.normals == pytest.approx(np.tile([0, 0, 1], (4, 1)))
    assert contact.forces.sum(axis=0) == pytest.approx([0, 0, 2 * G], abs=1e-4)
    assert contact.positions[:, 2] == pytest.approx(np.zeros(4), abs=1e-3)
    assert (contact.depths > 0).all() and (contact.depths < 1e-3).all()
    assert s.link_acceleration('a', 'link') == pytest.approx([0, 0, 0], abs=1e-6)


@pytest.mark.parametrize('mu_slope, mu_crate', [(0.3, 1.0), (1.0, 0.3), (0.3, 0.3), (0.6, 5.0)])
def test_the_lower_friction_decides_on_a_slope(mu_slope: float, mu_crate: float) -> None:
    turn = about_y(25.0)  # tan = 0.466
    s = run(floor(at(turn=turn), mu=mu_slope), crate('a', at(turn=turn) @ at(z=0.1), mu=mu_crate))
    s.step(200)
    start, speed = s.pose('a').translation, np.linalg.norm(s.twist('a')[0])
    s.step(1000)
    mu = min(mu_slope, mu_crate)
    if mu > 0.5:
        assert np.linalg.norm(s.pose('a').translation - start) < 2e-5
    else:
        pull = G * (np.sin(np.radians(25)) - mu * np.cos(np.radians(25)))
        assert np.linalg.norm(s.twist('a')[0]) - speed == pytest.approx(pull, rel=0.04)


def test_friction_is_scaled() -> None:
    turn = about_y(25.0)
    s = run(floor(at(turn=turn)), crate('a', at(turn=turn) @ at(z=0.1)))
    s.set_friction_scale(0.3)
    s.spawn(crate('b', at(z=50.0)))
    s.step(1000)
    pull = G * (np.sin(np.radians(25)) - 0.3 * np.cos(np.radians(25)))
    assert np.linalg.norm(s.twist('a')[0]) == pytest.approx(pull, rel=0.04)


@pytest.mark.parametrize('given, back', [((0.6, 1.0), 0.6), ((0.8, 0.5), 0.4), ((0.9, 0.0), 0.0)])
def test_a_ball_bounces(given: Sequence[float], back: float) -> None:
    ball = model('a', at(z=1.1), link(shape=w.Sphere(0.1), restitution=given[0]))
    s = run(floor(restitution=given[1]), ball)
    speed, rebound = 0.0, 0.0
    for _ in range(700):
        s.step()
        speed = min(speed, s.twist('a')[0][2])
        rebound = max(rebound, s.twist('a')[0][2])
    assert rebound / -speed == pytest.approx(back, abs=0.06)


@pytest.mark.parametrize('bits, meets', [(0x1, True), (0x3, True), (0x2, False), (0x0, False)])
def test_collisions_meet_if_their_bitmasks_have_a_common_bit(bits: int, meets: bool) -> None:
    s = run(floor(collide_bitmask=0x1), crate('a', at(z=0.1), collide_bitmask=bits))
    s.step(300)
    assert (height(s, 'a') > 0.09) == meets


def overlapping(self_collide: bool) -> w.Model:
    """Three balls in a row, each inside the next; a joint connects the first two."""
    balls = [link(name, at(x=x), w.Sphere(0.1)) for name, x in (('a', 0), ('b', 0.1), ('c', 0.2))]
    joints = (
        w.Joint('ab', 'revolute', 'a', 'b', at(), (axis((0.0, 0.0, 1.0)),)),
        w.Joint('c', 'fixed', 'world', 'c', at()),
    )
    return model('m', at(z=3.0), *balls, joints=joints, self_collide=self_collide)


def test_links_of_one_model_collide_only_if_it_says_so_and_no_joint_connects_them() -> None:
    for self_collide, expected in ((False, set()), (True, {('b', 'c')})):
        s = run(overlapping(self_collide))
        s.step()
        found = {
            tuple(sorted(one.split('::')[1] for one in (contact.first, contact.second)))
            for contact in s.contacts()
        }
        assert found == expected


# Joints


def test_damping_decays_exponentially() -> None:
    s = run(jointed('revolute', axis((0.0, 0.0, 1.0), damping=0.2)))
    joint = s.joint('m', 'j')
    s.data.qvel[joint.ids.dofs[0]] = 3.0
    s.step(1000)
    assert joint.qvel() == pytest.approx([3.0 * np.exp(-0.2 / 0.1)], rel=2e-3)


def test_dry_friction_stops_a_joint_and_holds_it() -> None:
    s = run(jointed('prismatic', axis((1.0, 0.0, 0.0), friction=0.5)))
    joint = s.joint('m', 'j')
    s.data.qvel[joint.ids.dofs[0]] = 1.0
    s.step(1000)  # v = 1 - 0.5 t
    assert joint.qvel() == pytest.approx([0.5], abs=2e-3)
    s.step(1500)
    assert joint.qpos() == pytest.approx([1.0], abs=5e-3)
    s.joint_effort('m', 'j', 0.45)
    s.step(1000)
    assert joint.qvel() == pytest.approx([0.0], abs=5e-3)
    s.joint_effort('m', 'j', 0.7)
    s.step(1000)
    assert joint.qvel() == pytest.approx([0.2], abs=1e-2)


def test_a_spring_pulls_to_its_reference() -> None:
    spring = axis((0.0, 0.0, 1.0), spring_stiffness=2.0, spring_reference=0.4, damping=0.6)
    s = run(jointed('revolute', spring))
    s.step(200)
    # Critically damped would be 0.89: follow x'' = (k (x0 - x) - c x') / I instead.
    position, speed = 0.0, 0.0
    for _ in range(200_000):
        speed += (2.0 * (0.4 - position) - 0.6 * speed) / 0.1 * 1e-6
        position += speed * 1e-6
    assert s.joint('m', 'j').qpos() == pytest.approx([position], rel=0.01)


@pytest.mark.parametrize('kind, xyz', [('revolute', (0.0, 0.0, 1.0)), ('prismatic', (1.0, 0, 0))])
def test_limits_hold(kind: str, xyz: Any) -> None:
    s = run(jointed(kind, axis(xyz, lower=-0.2, upper=0.3)))
    joint = s.joint('m', 'j')
    for effort, stop in ((5.0, 0.3), (-5.0, -0.2)):
        s.joint_effort('m', 'j', effort)
        s.step(1500)
        assert joint.qpos() == pytest.approx([stop], abs=2e-3)


def test_a_ball_joint_holds_its_point_and_turns_about_every_axis() -> None:
    s = run(jointed('ball', mass=inertial(pose=at(z=-0.3))))
    s.apply_wrench('m', 'arm', np.array([0.5, 0.3, 0.0]), np.array([0, 0, 0.05]), 10 ** 9)
    s.step(700)
    assert s.link_pose('m', 'arm').translation == pytest.approx([0, 0, 2], abs=1e-12)
    assert (np.abs(s.pose('m').rotation[:3]) > 0.01).all()
    assert s.joint('m', 'j').qpos() == pytest.approx(s.pose('m').rotation)


def test_a_universal_joint_turns_about_an_axis_of_the_parent_then_one_of_the_child() -> None:
    s = run(jointed('universal', axis((1.0, 0.0, 0.0)), axis((0.0, 1.0, 0.0))))
    s.set_gravity((0.0, 0.0, 0.0))
    s.data.qpos[list(s.joint('m', 'j').ids.qpos)] = (0.5, 0.4)
    s.step()
    x, y = np.array([np.sin(0.25), 0, 0, np.cos(0.25)]), np.array([0, np.sin(0.2), 0, np.cos(0.2)])
    up = np.array([0.0, 0.0, 1.0])
    found = rotate(s.link_pose('m', 'arm').rotation, up)
    assert found == pytest.approx(rotate(x, rotate(y, up)), abs=1e-9)


def test_an_axis_is_in_the_frame_of_its_joint_in_the_frame_of_the_child() -> None:
    arm = link('arm', at(turn=np.array([0, 0, 0.5 ** 0.5, 0.5 ** 0.5])))
    slide = w.Joint('j', 'prismatic', 'world', 'arm', at(turn=about_y(90.0)), (axis((1.0, 0, 0)),))
    turn = w.Joint('j', 'prismatic', 'world', 'arm', at(), (axis((1.0, 0.0, 0.0)),))
    for joint, way in ((slide, (0, 0, -1)), (turn, (0, 1, 0))):
        s = run(model('m', at(), arm, joints=(joint,)), gravity=(0.0, 0.0, 0.0))
        s.data.qvel[s.joint('m', 'j').ids.dofs[0]] = 2.0
        s.step(500)
        assert s.pose('m').translation == pytest.approx(np.array(way), abs=1e-9)


def test_a_velocity_target_is_kept_under_load_within_the_effort_limit() -> None:
    s = run(jointed('revolute', axis((0.0, 0.0, 1.0), effort=2.0)))
    s.joint_velocity_target('m', 'j', 3.0, 100.0)
    s.step(100)
    # 2 Nm on 0.1 kg m2: 20 rad/s2.
    assert s.joint('m', 'j').qvel() == pytest.approx([2.0], rel=1e-6)
    s.apply_wrench('m', 'arm', np.zeros(3), np.array([0, 0, -1.0]), 10 ** 10)
    s.step(900)
    assert s.joint('m', 'j').qvel() == pytest.approx([3.0], rel=2e-3)
    assert s.joint('m', 'j').effort() == pytest.approx([1.0], rel=1e-3)


def test_a_link_without_gravity_hangs_without_weight() -> None:
    s = run(jointed('fixed', child={'gravity': False}))
    s.step()
    assert s.joint_wrench('m', 'j')[0] == pytest.approx([0, 0, 0], abs=1e-9)


@pytest.mark.parametrize('kind', ['fixed', 'revolute'])
def test_a_joint_passes_the_weight_of_its_child(kind: str) -> None:
    turn = about_y(90.0)  # the child's x is the world's -z
    arm = link('arm', at(x=0.2, turn=turn), mass=inertial(3.0, pose=at(y=0.5)))
    tip = link('tip', at(x=0.2, y=0.5, turn=turn), mass=inertial(1.0))
    joints = (
        w.Joint('j', kind, 'world', 'arm', at(), (axis((1.0, 0, 0)),) if kind != 'fixed' else ()),
        w.Joint('t', 'fixed', 'arm', 'tip', at()),
    )
    s = run(model('m', at(z=2.0), arm, tip, joints=joints))
    s.step(10)
    force, torque = s.joint_wrench('m', 'j')
    assert force == pytest.approx([-4 * G, 0, 0], rel=1e-6)
    # 4 kg at 0.5 m along the child's y: r x F of the reaction.
    assert torque == pytest.approx(-np.cross([0, 0.5, 0], [4 * G, 0, 0]), rel=1e-6)
    assert s.joint_wrench('m', 't')[0] == pytest.approx([-G, 0, 0], rel=1e-6)


@pytest.mark.parametrize('end', [
    w.Joint('loop', 'fixed', 'world', 'top', at()),
    w.Joint('loop', 'revolute', 'world', 'c', at(z=1.0), (axis(),)),
    w.Joint('loop', 'ball', 'world', 'c', at(z=1.0)),
])
def test_a_loop_is_closed_and_swings_as_four_bars(end: w.Joint) -> None:
    """A parallelogram: a hangs down, b lies below, c stands up to a link tied to the world."""
    half = {'a': at(z=-0.5), 'b': at(x=0.5), 'c': at(z=0.5), 'top': at()}
    places = {'a': at(), 'b': at(z=-1.0), 'c': at(x=1.0, z=-1.0), 'top': at(x=1.0)}
    bars = [link(name, places[name], mass=inertial(pose=half[name])) for name in places]
    hinges = [('world', 'a'), ('a', 'b'), ('b', 'c'), ('c', 'top')]
    joints = [
        w.Joint(child, 'revolute', parent, child, at(), (axis(),)) for parent, child in hinges
    ]
    sliding = w.Joint('sliding', 'prismatic', 'a', 'c', at(), (axis(),))
    s = run(model('m', at(z=5.0), *bars, joints=(*joints, end, sliding)))
    assert ['m::sliding' in str(one) for one in s.warnings] == [True]
    for joint, speed in (('a', 0.2), ('b', -0.2), ('c', 0.2), ('top', -0.2)):
        s.data.qvel[s.joint('m', joint).ids.dofs[0]] = speed
    # a and c turn about their ends, b does not turn: inertia 2 (I + m / 4) + m, and
    # a restoring torque of 2 m g / 2 + m g.
    period = 2 * np.pi * np.sqrt((2 * (0.1 + 0.25) + 1.0) / (2 * G))
    before, crossed = 0.0, []
    for step in range(3000):
        s.step()
        now = float(s.joint('m', 'a').qpos()[0])
        if before > 0.0 >= now:
            crossed.append(step * 1e-3)
        before = now
        last = s.link_pose('m', 'c') @ at(z=1.0)
        assert last.translation == pytest.approx([1, 0, 5], abs=5e-4)
    assert np.diff([one for one in crossed if one > 0.1]) == pytest.approx([period], rel=0.01)


def test_several_free_links_in_one_model() -> None:
    s = run(model('m', at(z=5.0), link('a'), link('b', at(x=1.0), gravity=False)))
    s.step(100)
    assert s.link_pose('m', 'a').translation[2] < 4.96
    assert s.link_pose('m', 'b').translation == pytest.approx([1, 0, 5])


# Moving, pushing, coming and going


def test_a_model_is_moved_and_thrown_as_a_whole() -> None:
    two = model('m', at(z=5.0), link('a', at(y=0.5)), link('b', at(x=1.0)), canonical_link='a')
    s = run(two, floor(), model('wall', at(x=9.0), link(shape=w.Box((1, 1, 1))), static=True))
    s.set_gravity((0.0, 0.0, 0.0))
    s.set_twist('m', np.array([1.0, 0, 0]), np.array([0, 0, 2.0]))
    assert s.link_twist('m', 'b')[0] == pytest.approx([1, 2, 0])
    assert s.twist('m')[0] == pytest.approx([1, 0, 0])
    quarter = np.array([0, 0, 0.5 ** 0.5, 0.5 ** 0.5])
    s.set_pose('m', at(3.0, 0.0, 4.0, quarter))
    assert s.link_pose('m', 'b').translation == pytest.approx([3, 1, 4])
    assert s.twist('m')[1] == pytest.approx([0, 0, 2])
    s.set_pose('m', at(x=3.0, z=4.0, turn=about_y(90.0)))
    assert s.link_pose('m', 'b').translation == pytest.approx([3, 0, 3])
    assert s.link_twist('m', 'b')[1] == pytest.approx([0, 0, 2])
    s.set_pose('wall', at(x=3.0, y=0.0, z=4.0, turn=quarter))
    assert s.link_pose('wall', 'link').translation == pytest.approx([3, 0, 4])
    s.step()
    geom = next(key for key, one in enumerate(s.geoms) if one.model == 'wall')
    assert s.data.geom_xpos[geom] == pytest.approx([3, 0, 4])


def test_a_kinematic_link_is_moved_by_nothing_but_a_call() -> None:
    s = run(model('k', at(z=1.0), link(shape=w.Box((1, 1, 0.2)), kinematic=True)),
            crate('a', at(z=1.2)))
    s.step(500)
    assert (height(s, 'k'), height(s, 'a')) == (1.0, pytest.approx(1.2, abs=1e-3))
    s.set_pose('k', at(z=0.5))
    s.step(1000)
    assert height(s, 'a') == pytest.approx(0.7, abs=1e-3)


def test_a_push_ends_in_time_and_several_add_up() -> None:
    s = run(model('a', at(), link(mass=inertial(2.0))), gravity=(0.0, 0.0, 0.0))
    s.apply_wrench('a', 'link', np.array([4.0, 0, 0]), np.zeros(3), 25_000_000)
    s.apply_wrench('a', 'link', np.array([2.0, 0, 0]), np.zeros(3), 12_000_000)
    s.step(100)
    assert s.twist('a')[0] == pytest.approx([2 * 0.025 + 1 * 0.012, 0, 0], rel=1e-9)


def test_wind_pushes_what_it_may_with_the_factor_of_the_plugin() -> None:
    factor = w.Parameter('force_approximation_scaling_factor', '0.5', {}, (), PLACE)
    plugin = w.Plugin('WindEffects', 'gz-sim-wind-effects-system', (factor,), PLACE)
    models = (model('a', at(), link(enable_wind=True, mass=inertial(7.0))),
              model('b', at(y=5.0), link()))
    weather = {'gravity': (0.0, 0.0, 0.0), 'wind': (3.0, 0.0, 0.0)}
    s = run(*models, plugins=(plugin,), **weather)
    s.step(1000)  # v' = 0.5 (3 - v)
    assert s.twist('a')[0] == pytest.approx([3 * (1 - np.exp(-0.5)), 0, 0], rel=1e-3)
    assert s.twist('b')[0] == pytest.approx([0, 0, 0])
    calm = run(*models, **weather)
    calm.step(100)
    assert calm.twist('a')[0] == pytest.approx([0, 0, 0])
    calm.set_wind((0.0, 2.0, 0.0))
    calm.step(1000)
    assert calm.twist('a')[0] == pytest.approx([0, 2 * (1 - np.exp(-1)), 0], rel=1e-3)


def busy() -> Simulation:
    return run(floor(), jointed('revolute', axis(damping=0.1), mass=inertial(pose=at(z=-0.5))),
               crate('a', at(x=3.0, z=0.3, turn=about_y(20.0))), crate('b', at(x=6.0, z=0.5)))


def state(simulation: Simulation, *names: str) -> bytes:
    rows = []
    for name in names:
        for one in simulation.model_of(name).links:
            pose = simulation.link_pose(name, one.name)
            rows += [pose.translation, pose.rotation, *simulation.link_twist(name, one.name)]
    return np.concatenate(rows).tobytes()


def test_what_comes_and_goes_leaves_the_others_as_they_are() -> None:
    s, alone = busy(), busy()
    s.joint_velocity_target('m', 'j', 1.0, 5.0)
    alone.joint_velocity_target('m', 'j', 1.0, 5.0)
    for one in (s, alone):
        one.set_pose('b', at(x=7.0, z=0.4))
        one.step(150)
    before, generation = state(s, 'm', 'a', 'b'), s.generation
    s.spawn(crate('c', at(x=-3.0, z=4.0)))
    assert s.generation > generation
    assert s.names() == ['floor', 'm', 'a', 'b', 'c']
    assert state(s, 'm', 'a', 'b') == before
    s.step(200)
    alone.step(200)
    s.delete('c')
    s.step(200)
    alone.step(200)
    assert s.time_ns == alone.time_ns
    for name in ('m', 'a', 'b'):
        link_name = s.model_of(name).links[0].name
        here, there = (one.link_pose(name, link_name) for one in (s, alone))
        assert here.translation == pytest.approx(there.translation, abs=1e-9)
        assert here.rotation == pytest.approx(there.rotation, abs=1e-9)


def test_a_reset_repeats_the_run_bit_by_bit() -> None:
    s = busy()
    s.step(400)
    first = state(s, 'm', 'a', 'b')
    s.set_gravity((0.0, 0.0, 1.0))
    s.set_friction_scale(0.1)
    s.set_pose('floor', at(z=-2.0))
    s.spawn(crate('c', at(z=4.0)))
    s.delete('a')
    s.joint_velocity_target('m', 'j', 5.0, 5.0)
    s.apply_wrench('m', 'arm', np.ones(3), np.ones(3), 10 ** 12)
    s.step(10)
    s.reset()
    assert (s.time_ns, s.names()) == (0, ['floor', 'm', 'a', 'b'])
    for _ in range(40):  # other portions, and someone who looks
        s.step(10)
        s.contacts(), s.pose('a'), s.link_acceleration('m', 'arm'), s.joint_wrench('m', 'j')
    assert state(s, 'm', 'a', 'b') == first


def digest() -> str:
    s = busy()
    s.step(2000)
    return hashlib.sha256(s.data.qpos.tobytes()).hexdigest()


def test_two_processes_agree_bit_by_bit() -> None:
    code = 'import test_simulation; print(test_simulation.digest())'
    done = subprocess.run(
        [sys.executable, '-c', code], cwd=Path(__file__).parent, text=True, capture_output=True,
        check=True,
    )
    assert done.stdout.strip() == digest()


def test_unknown_names_are_answered_with_the_nearest_one() -> None:
    s = busy()
    for call, name in (
        (lambda: s.pose('flor'), 'floor'), (lambda: s.link_pose('m', 'arn'), 'arm'),
        (lambda: s.joint('m', 'jj'), 'j'), (lambda: s.delete('flor'), 'floor'),
    ):
        with pytest.raises(RobotQaError, match=f'did you mean "{name}"'):
            call()
    with pytest.raises(RobotQaError, match='named "a" already'):
        s.spawn(crate('a', at()))
    with pytest.raises(RobotQaError, match='named "a" already'):
        run(crate('a', at()), crate('a', at()))


def test_what_becomes_unstable_is_named() -> None:
    s = run(crate('calm', at()), crate('wild', at(x=5.0)))
    s.step(20)
    s.apply_wrench('wild', 'link', np.array([1e15, 0, 0]), np.zeros(3), 10 ** 9)
    with pytest.raises(RobotQaError, match=r'wild::link became unstable between 0\.020 s and 0'):
        s.step(100)


# Drives


def robot() -> w.Model:
    """Two wheels of radius 0.1 m, 0.36 m apart, and a caster without friction."""
    def wheel(name: str, y: float) -> w.Link:
        mass = inertial(0.5, (0.0014, 0.0014, 0.0025))
        return link(name, at(y=y, turn=[-0.5 ** 0.5, 0, 0, 0.5 ** 0.5]), w.Cylinder(0.1, 0.05),
                    mass)

    base = w.Link('base', at(), inertial(10.0, (0.1, 0.2, 0.25)), (
        w.Collision('hull', at(z=0.05), w.Box((0.5, 0.3, 0.1))),
        w.Collision('caster', at(x=-0.2, z=-0.05), w.Sphere(0.05), mu=0.0),
    ))
    joints = [w.Joint(f'{side}_joint', 'revolute', 'base', side, at(), (axis((0.0, 0.0, 1.0)),))
              for side in ('left', 'right')]
    driven = tuple(
        w.Parameter(f'{side}_joint', f'{side}_joint', {}, (), PLACE) for side in ('left', 'right')
    )
    return model('robot', at(z=0.1), base, wheel('left', 0.18), wheel('right', -0.18),
                 joints=tuple(joints), plugins=(w.Plugin('DiffDrive', 'x', driven, PLACE),))


@pytest.mark.parametrize('left, right', [(5.0, 5.0), (-3.0, 3.0), (3.0, 6.0)])
def test_a_diff_drive_goes_where_its_wheels_say(left: float, right: float) -> None:
    s = run(floor(), robot())
    s.step(100)

    def drive(share: float) -> None:
        for side, speed in (('left', left), ('right', right)):
            s.joint_velocity_target('robot', f'{side}_joint', share * speed, 100.0)

    for share in np.linspace(0.02, 1.0, 50):
        drive(share)
        s.step(20)
    linear, yaw_rate = (left + right) / 2 * 0.1, (right - left) * 0.1 / 0.36
    before, turned = s.pose('robot'), 0.0
    for _ in range(200):
        last = s.pose('robot')
        s.step(10)
        turned += float(rotation_angle((last.inverse() @ s.pose('robot')).rotation))
    travelled = np.linalg.norm(s.pose('robot').translation - before.translation)
    angle = abs(yaw_rate) * 2.0
    chord = linear * 2.0 * (np.sin(angle / 2) / (angle / 2) if angle else 1.0)
    assert turned == pytest.approx(angle, rel=0.01, abs=0.01)
    assert travelled == pytest.approx(abs(chord), rel=0.01, abs=0.02)
    assert s.twist('robot')[0][2] == pytest.approx(0.0, abs=1e-3)


# Shapes


def mesh_file(folder: Path) -> w.Mesh:
    """Write two cubes of 0.2 m, a metre apart along x, as one mesh."""
    import trimesh

    cubes = [trimesh.creation.box((0.2, 0.2, 0.2)).apply_translation((x, 0, 0)) for x in (0, 1)]
    trimesh.util.concatenate(cubes).export(folder / 'cubes.stl')
    return w.Mesh(folder / 'cubes.stl', (2.0, 1.0, 1.0))


def test_a_collision_mesh_touches_as_the_hulls_of_its_parts(tmp_path: Path) -> None:
    stand = model('stand', at(), link(shape=mesh_file(tmp_path)), static=True)
    balls = [model(name, at(x=x, z=0.5), link(shape=w.Sphere(0.05)))
             for name, x in (('on_first', 0.15), ('between', 1.0), ('on_second', 2.0))]
    s = run(floor(), stand, *balls)
    s.step(1000)
    assert height(s, 'on_first') == pytest.approx(0.15, abs=1e-3)
    assert height(s, 'between') == pytest.approx(0.05, abs=1e-3)
    assert height(s, 'on_second') == pytest.approx(0.15, abs=1e-3)


def test_visuals_are_seen_by_rays_and_touch_nothing(tmp_path: Path) -> None:
    seen = w.Link('link', at(z=1.0), None, (), (
        w.Visual('cubes', at(x=3.0), mesh_file(tmp_path), label=7),
    ))
    s = run(floor(), model('ghost', at(), seen, static=True), crate('a', at(x=3.0, z=3.0)))
    geom = np.zeros(1, np.int32)
    distance = mujoco.mj_ray(
        s.model, s.data, np.array([0.0, 0, 1]), np.array([1.0, 0, 0]), np.array([0, 0, 1, 0, 0, 0],
        np.uint8), 1, -1, geom,
    )
    assert distance == pytest.approx(2.8, abs=1e-6)
    owner = s.geoms[geom[0]]
    assert (owner.model, owner.name, owner.visual, owner.label) == ('ghost', 'cubes', True, 7)
    s.step(1000)
    assert height(s, 'a') == pytest.approx(0.1, abs=1e-3)


def picture_of(s: Simulation, geom: int) -> Any:
    texture = s.model.mat_texid[s.model.geom_matid[geom], mujoco.mjtTextureRole.mjTEXROLE_RGB]
    start, width = s.model.tex_adr[texture], s.model.tex_width[texture]
    size = 3 * width * s.model.tex_height[texture]
    return s.model.tex_data[start:start + size].reshape(-1, width, 3)


def show(shape: w.Geometry, material: w.Material | None = None) -> Simulation:
    visual = w.Visual('v', at(), shape, material or w.Material())
    return run(model('m', at(), w.Link('link', at(), None, (), (visual,)), static=True))


@pytest.mark.parametrize('shape', [w.Box((1.0, 2.0, 3.0)), w.Cylinder(0.5, 3.0)])
def test_a_texture_stands_upright_on_every_side(shape: w.Geometry, tmp_path: Path) -> None:
    from PIL import Image

    Image.fromarray(np.array([[[255, 0, 0]], [[0, 0, 255]]], np.uint8)).save(tmp_path / 'a.png')
    s = show(shape, w.Material(texture=tmp_path / 'a.png'))
    assert picture_of(s, 0)[0, 0].tolist() == [255, 0, 0]
    corners = s.model.mesh_vert @ s.data.geom_xmat[0].reshape(3, 3).T + s.data.geom_xpos[0]
    sides = s.model.mesh_face[np.ptp(corners[s.model.mesh_face][..., 2], axis=1) > 1.0]
    uv = s.model.mesh_texcoord[
        s.model.mesh_facetexcoord[np.ptp(corners[s.model.mesh_face][..., 2], axis=1) > 1.0]
    ]
    assert len(sides) == (8 if isinstance(shape, w.Box) else 192)
    # Row 0, where v is 0, is the picture's top.
    assert uv[..., 1] == pytest.approx(np.where(corners[sides][..., 2] > 0, 0.0, 1.0))
    faces = corners[s.model.mesh_face]
    normals = np.cross(faces[:, 1] - faces[:, 0], faces[:, 2] - faces[:, 0])
    assert normals.sum(axis=0) == pytest.approx(np.zeros(3), abs=1e-6)  # closed
    volume = np.linalg.det(faces).sum() / 6  # and turned outwards
    assert volume == pytest.approx(6.0 if isinstance(shape, w.Box) else 0.75 * np.pi, rel=1e-3)


def write_shed(folder: Path) -> None:
    from PIL import Image

    Image.new('RGB', (2, 2), (10, 200, 30)).save(folder / 'green.png')
    (folder / 'shed.mtl').write_text('newmtl paint\nKd 1 1 1\nmap_Kd green.png\n')
    square = 'f {0}/1 {1}/2 {2}/3\nf {0}/1 {2}/3 {3}/4\n'
    (folder / 'shed.obj').write_text(
        'mtllib shed.mtl\nv 1 0 0\nv 1 2 0\nv 1 2 2\nv 1 0 2\nv 5 0 0\nv 5 2 0\nv 5 2 2\n'
        'v 5 0 2\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\n'
        'o near\nusemtl paint\n' + square.format(1, 2, 3, 4)
        + 'o far\nusemtl paint\n' + square.format(5, 6, 7, 8),
    )


@pytest.mark.parametrize('ending', ['obj', 'glb'])
def test_a_mesh_brings_its_own_picture(ending: str, tmp_path: Path) -> None:
    import trimesh

    write_shed(tmp_path)
    if ending == 'glb':
        trimesh.load_scene(tmp_path / 'shed.obj').export(tmp_path / 'shed.glb')
    s = show(w.Mesh(tmp_path / f'shed.{ending}', (1.0, 1.0, 1.0)))
    for geom in range(s.model.ngeom):
        assert picture_of(s, geom)[0, 0].tolist() == [10, 200, 30]


def test_meshes_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / 'bad.glb').write_bytes(b'no mesh')
    for name, text in (('none.obj', 'no such mesh'), ('bad.glb', 'cannot be read')):
        with pytest.raises(RobotQaError, match=f'{name}: {text}'):
            show(w.Mesh(tmp_path / name, (1.0, 1.0, 1.0)))


@pytest.mark.parametrize('center, distance', [(False, 5.0), (True, 0.0)])
def test_a_submesh_is_one_part_and_may_be_centered(
    center: bool, distance: float, tmp_path: Path,
) -> None:
    write_shed(tmp_path)
    s = show(w.Mesh(tmp_path / 'shed.obj', (1.0, 1.0, 1.0), 'far', center))
    assert s.data.geom_xpos[:, 0] == pytest.approx([distance])
    with pytest.raises(RobotQaError, match='no submesh "fra" in it; did you mean "far"'):
        show(w.Mesh(tmp_path / 'shed.obj', (1.0, 1.0, 1.0), 'fra'))


def test_lights_are_scaled_and_stay_so() -> None:
    sun = w.Light('sun', 'directional', at(z=10.0), diffuse=(0.8, 0.6, 0.4, 1.0), intensity=0.5)
    s = run(floor(), lights=(sun,))
    s.set_light_scale(0.5)
    s.spawn(crate('a', at(z=1.0)))
    assert s.light_scale == 0.5
    assert s.model.light_diffuse[0] == pytest.approx([0.2, 0.15, 0.1])
    assert s.model.vis.headlight.ambient == pytest.approx([0.2, 0.2, 0.2])
