"""Sensors of the embedded simulator against geometry and physics worked out by hand."""

from __future__ import annotations

from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

pytest.importorskip('mujoco')

import trimesh

from robot_qa.embedded import world
from robot_qa.embedded.navsat import to_geodetic
from robot_qa.embedded.noise import NoiseSource, generators
from robot_qa.embedded.sensors import make_sensor
from robot_qa.embedded.simulation import Simulation
from robot_qa.errors import SpecError
from worlds_in_code import (
    block,
    carrier,
    ground,
    inertial,
    joint,
    lidar,
    link,
    model,
    pose,
    scene,
    sensor,
)

G = 9.8
WALL = block('wall', world.Box((0.2, 100.0, 20.0)), pose(4.0))


def started(*models: world.Model, seed: int = 1, **more: Any) -> tuple[Simulation, Any]:
    """Return a simulation and the first sensor of its last model."""
    simulation = Simulation(scene(*models, **more))
    described = models[-1].sensors[0]
    return simulation, make_sensor(simulation, models[-1].name, described, seed)


def scanned(*models: world.Model, at: Any = None, **part: Any) -> Any:
    """Return the ranges (n,) of a lidar in a world, and its azimuths."""
    _, device = started(*models, carrier(lidar(**part), at=at))
    scan = device.sample().scan
    count = len(scan.ranges)
    return scan.ranges, scan.angle_min + scan.angle_increment * np.arange(count)


FAN = {'samples': 41, 'min_angle': -0.2, 'max_angle': 0.2}


# Lidar


def test_ranges_of_a_wall() -> None:
    ranges, azimuth = scanned(WALL, samples=101, min_angle=-1.0, max_angle=1.0)
    assert ranges == pytest.approx(3.9 / np.cos(azimuth), abs=1e-3)
    assert ranges.dtype == np.float32


def test_ranges_of_the_edge_of_a_box() -> None:
    turned = block('box', world.Box((1.0, 1.0, 1.0)), pose(3.0, yaw=np.pi / 4))
    ranges, azimuth = scanned(turned, **FAN)
    corner = 3.0 - np.sqrt(0.5)
    angle = np.abs(azimuth)
    assert ranges == pytest.approx(corner / (np.cos(angle) - np.sin(angle)), abs=1e-3)
    # The corner of its side ends at y = sqrt(1/2), x = 3.
    wide, azimuth = scanned(turned, samples=201, min_angle=-0.4, max_angle=0.4)
    seen = np.abs(azimuth) < np.arctan(np.sqrt(0.5) / 3.0)
    assert (np.isfinite(wide) == seen).all()


def test_ranges_of_a_sphere_and_of_a_cylinder_look_alike_in_its_plane() -> None:
    for shape in (world.Sphere(1.0), world.Cylinder(1.0, 1.0)):
        ranges, azimuth = scanned(block('round', shape, pose(4.0)), **FAN)
        expected = 4 * np.cos(azimuth) - np.sqrt(1 - 16 * np.sin(azimuth)**2)
        assert ranges == pytest.approx(expected, abs=1e-3)


def test_ranges_of_the_ground_under_a_tilted_lidar() -> None:
    ranges, azimuth = scanned(ground(), at=pose(5.0, 3.0, 1.0, pitch=0.3, yaw=2.0), **FAN)
    assert ranges == pytest.approx(1.0 / (np.sin(0.3) * np.cos(azimuth)), abs=1e-3)


def test_a_sensor_sits_where_its_link_and_its_pose_say() -> None:
    # The link looks along y; the sensor in it, half a metre ahead, looks back along x.
    looks_back = lidar(at=pose(0.5, yaw=-np.pi / 2), **FAN)
    _, device = started(WALL, carrier(looks_back, at=pose(1.0, 2.0, yaw=np.pi / 2)))
    assert device.sample().scan.ranges[20] == pytest.approx(2.9, abs=1e-3)


def test_a_lidar_turns_counter_clockwise() -> None:
    left = block('left', world.Box((0.2, 0.2, 0.2)), pose(0.0, 3.0))
    ranges, azimuth = scanned(left)
    assert azimuth[np.argmin(ranges)] == pytest.approx(np.pi / 2, abs=1e-6)
    assert ranges.min() == pytest.approx(2.9, abs=1e-3)


def test_several_rows_give_points_too() -> None:
    part = {'vertical_samples': 5, 'vertical_min_angle': -0.2, 'vertical_max_angle': 0.2}
    _, device = started(WALL, carrier(lidar(**FAN, **part), at=pose(1.0, z=5.0)))
    reading = device.sample()
    points = reading.cloud.points
    assert points.shape == (5, 41, 3) and points.dtype == np.float32
    assert points[..., 0] == pytest.approx(np.full((5, 41), 2.9), abs=1e-3)
    assert points[:, 20, 2] == pytest.approx(2.9 * np.tan([-0.2, -0.1, 0, 0.1, 0.2]), abs=1e-3)
    assert points[2, :, 1] == pytest.approx(2.9 * np.tan(np.linspace(-0.2, 0.2, 41)), abs=1e-3)
    assert reading.cloud.rings.tolist() == [0, 1, 2, 3, 4]
    middle = 2.9 / np.cos(np.linspace(-0.2, 0.2, 41))
    assert reading.scan.ranges == pytest.approx(middle, abs=1e-3)


def test_points_of_rays_that_hit_nothing_are_nan() -> None:
    _, device = started(carrier(lidar(vertical_samples=2, vertical_max_angle=0.1)))
    reading = device.sample()
    assert np.isnan(reading.cloud.points).all() and np.isposinf(reading.scan.ranges).all()


def test_too_near_is_minus_inf_and_too_far_or_nothing_is_inf() -> None:
    near = block('near', world.Box((0.1, 0.1, 0.1)), pose(0.4))
    far = block('far', world.Box((0.2, 20.0, 1.0)), pose(-5.0))
    ranges, azimuth = scanned(near, far, min_range=0.5, max_range=6.0)
    assert np.isneginf(ranges[np.argmin(np.abs(azimuth))])
    behind = np.abs(azimuth) > np.pi / 2
    expected = 4.9 / np.cos(np.pi - np.abs(azimuth))
    seen = behind & (expected < 6.0)
    assert ranges[seen] == pytest.approx(expected[seen], abs=1e-3)
    assert np.isposinf(ranges[~seen & (np.abs(azimuth) > 0.2)]).all()


@pytest.mark.parametrize('bearing, at, expected', [
    (0.0, 0.28, 3.9), (0.0, 0.30, -np.inf),
    (np.pi / 4, 0.40, 3.9 * np.sqrt(2)), (np.pi / 4, 0.42, -np.inf),
])
def test_what_is_in_the_cube_within_the_nearest_range_is_looked_through(
    bearing: float, at: float, expected: float,
) -> None:
    # Half the edge of the cube in a sphere of 0.5 m is 0.5 / sqrt(3) = 0.2887 m, and its corner
    # in the plane lies at 0.4082 m.
    where = pose(at * np.cos(bearing), at * np.sin(bearing), yaw=bearing)
    thin = block('thin', world.Box((0.002, 0.1, 0.1)), where)
    ranges, _ = scanned(
        WALL, thin, min_range=0.5, samples=1, max_angle=bearing, min_angle=bearing)
    assert ranges[0] == pytest.approx(expected, abs=1e-3)


def housing(kind: str, folder: Path) -> world.Geometry:
    if kind == 'mesh':
        shells = [trimesh.creation.box((size,) * 3) for size in (0.3, 0.5)]
        trimesh.util.concatenate(shells).export(folder / 'box.stl')
        return world.Mesh(folder / 'box.stl', (1.0, 1.0, 1.0))
    return {'sphere': world.Sphere(0.15), 'cylinder': world.Cylinder(0.15, 0.1)}[kind]


@pytest.mark.parametrize('kind', ['sphere', 'cylinder', 'mesh'])
def test_its_own_robot_is_seen_but_no_housing_from_inside(kind: str, tmp_path: Path) -> None:
    mast = world.Visual('mast', pose(0.0, 1.0), world.Cylinder(0.1, 1.0))
    shell = world.Visual('shell', pose(), housing(kind, tmp_path))
    robot = model('robot', [link('link', visuals=(mast, shell))], pose(), sensors=(lidar(),))
    _, device = started(WALL, robot)
    for _ in range(2):  # once before it knows its housing, once after
        ranges = device.sample().scan.ranges
        assert ranges[180] == pytest.approx(3.9, abs=1e-3)
        assert ranges[270] == pytest.approx(0.9, abs=1e-3)


def test_a_housing_stays_unseen_when_models_before_it_go() -> None:
    mast = world.Visual('mast', pose(0.0, 1.0), world.Cylinder(0.1, 1.0))
    shell = world.Visual('shell', pose(), world.Sphere(0.15))
    robot = model('robot', [link('link', visuals=(shell, mast))], pose(), sensors=(lidar(),))
    simulation, device = started(WALL, robot)
    device.sample()
    simulation.delete('wall')
    ranges = device.sample().scan.ranges
    assert ranges[270] == pytest.approx(0.9, abs=1e-3) and np.isposinf(ranges[180])
    simulation.spawn(WALL)
    assert device.sample().scan.ranges[180] == pytest.approx(3.9, abs=1e-3)


def test_a_housing_is_seen_from_outside_by_others() -> None:
    shell = world.Visual('shell', pose(), world.Sphere(0.15))
    links = [link('link', visuals=(shell,))]
    robot = model('robot', links, pose(), sensors=(lidar(),))
    other = model('other', links, pose(2.0), sensors=(lidar(),))
    simulation, mine = started(other, robot)
    theirs = make_sensor(simulation, 'other', other.sensors[0], 1)
    for _ in range(2):
        assert mine.sample().scan.ranges[180] == pytest.approx(1.85, abs=1e-3)
        assert theirs.sample().scan.ranges[0] == pytest.approx(1.85, abs=1e-3)


def test_only_visuals_are_seen() -> None:
    unseen = model('unseen', [link('link', world.Box((1, 1, 1)), visual=False)], pose(2.0),
                   static=True)
    seen = model('seen', [link('link', world.Box((1, 1, 1)), collision=False)], pose(-2.0),
                 static=True)
    ranges, _ = scanned(unseen, seen)
    assert np.isposinf(ranges[180])
    assert ranges[0] == pytest.approx(1.5, abs=1e-3)


def test_a_lidar_sees_what_moves_and_what_comes_and_goes() -> None:
    simulation, device = started(WALL, carrier(lidar()))
    simulation.spawn(block('new', world.Box((0.2, 1.0, 1.0)), pose(2.0)))
    assert device.sample().scan.ranges[180] == pytest.approx(1.9, abs=1e-3)
    simulation.set_pose('new', pose(3.0))
    assert device.sample().scan.ranges[180] == pytest.approx(2.9, abs=1e-3)
    simulation.delete('new')
    simulation.set_pose('robot', pose(-1.0))
    assert device.sample().scan.ranges[180] == pytest.approx(4.9, abs=1e-3)


def test_noise_of_ranges() -> None:
    noise = world.Noise(mean=0.05, stddev=0.02)
    ranges, azimuth = scanned(
        block('round', world.Sphere(50.0), pose(51.0)), samples=4000, min_angle=-0.01,
        max_angle=0.01, noise=noise, max_range=5.0)
    error = ranges - (51 * np.cos(azimuth) - np.sqrt(50.0**2 - (51 * np.sin(azimuth))**2))
    assert error.mean() == pytest.approx(0.05, abs=6 * 0.02 / np.sqrt(4000))
    assert error.std() == pytest.approx(0.02, rel=6 / np.sqrt(8000))


def test_noise_stays_within_the_range_and_off_what_was_not_measured() -> None:
    noise = world.Noise(stddev=2.0)
    near = block('near', world.Box((0.02, 0.05, 0.1)), pose(0.0, 0.09))
    ranges, _ = scanned(WALL, near, noise=noise, max_range=4.0)
    assert np.isposinf(ranges[:90]).all() and np.isneginf(ranges[270])
    finite = ranges[np.isfinite(ranges)]
    assert finite.min() >= np.float32(0.1) and finite.max() == 4.0


def test_dropout_is_a_share_of_rays_and_leaves_the_others_alone() -> None:
    room = block('room', world.Sphere(5.0), pose())
    one, other = (
        started(room, WALL, carrier(lidar(noise=world.Noise(stddev=0.01), min_angle=-1.0,
                                          max_angle=1.0, samples=1000)))[1]
        for _ in range(2)
    )
    other.dropout = 0.3
    whole, holes = one.sample().scan.ranges, other.sample().scan.ranges
    lost = np.isposinf(holes)
    assert lost.mean() == pytest.approx(0.3, abs=6 * np.sqrt(0.21 / 1000))
    assert (holes[~lost] == whole[~lost]).all() and np.isfinite(whole).all()
    other.dropout = 0.0
    assert (other.sample().scan.ranges == one.sample().scan.ranges).all()
    other.dropout = 1.0
    assert np.isposinf(other.sample().scan.ranges).all()


@pytest.mark.parametrize('rate, period', [(10.0, 100_000_000), (0.0, 1_000_000),
                                          (5000.0, 1_000_000)])
def test_the_period_is_that_of_the_rate_and_at_least_a_step(rate: float, period: int) -> None:
    _, device = started(carrier(sensor('imu', rate_hz=rate)))
    assert device.period_ns == period


# Noise


def drawn(noise: world.Noise, seed: int = 1) -> NoiseSource:
    return NoiseSource(noise, np.random.default_rng(seed))


def test_white_noise() -> None:
    values = drawn(world.Noise(mean=0.5, stddev=0.2)).apply(np.full(40_000, 3.0))
    assert values.mean() == pytest.approx(3.5, abs=6 * 0.2 / 200)
    assert values.std() == pytest.approx(0.2, rel=6 / np.sqrt(80_000))


def test_the_bias_is_drawn_once_with_either_sign() -> None:
    noise = world.Noise(bias_mean=1.0, bias_stddev=0.1)
    biases = []
    for seed in range(2000):
        source = drawn(noise, seed)
        first, second = source.apply(np.zeros(2)), source.apply(np.zeros(2))
        assert (first == source.bias).all() and (second == source.bias).all()
        biases.append(source.bias)
    assert np.abs(biases).mean() == pytest.approx(1.0, abs=6 * 0.1 / np.sqrt(2000))
    assert np.abs(biases).std() == pytest.approx(0.1, rel=6 / np.sqrt(4000))
    assert np.mean(np.array(biases) > 0) == pytest.approx(0.5, abs=6 * 0.5 / np.sqrt(2000))


def test_the_bias_wanders_with_its_correlation_time() -> None:
    source = drawn(world.Noise(dynamic_bias_stddev=2.0, dynamic_bias_time=0.4))
    track = np.array([source.apply(np.zeros(1), 0.1)[0] for _ in range(20_000)])
    # Steady variance 2^2 * 0.4 / 2, correlation exp(-0.1 / 0.4) from one to the next.
    assert track.var() == pytest.approx(0.8, rel=0.15)
    assert np.corrcoef(track[1:], track[:-1])[0, 1] == pytest.approx(np.exp(-0.25), abs=0.02)
    assert source.apply(np.zeros(1), 0.0)[0] == source.bias


def test_a_bias_fades_with_its_correlation_time() -> None:
    source = drawn(world.Noise(bias_mean=5.0, dynamic_bias_stddev=1e-9, dynamic_bias_time=2.0))
    start = source.bias
    assert source.apply(np.zeros(1), 2.0)[0] == pytest.approx(start / np.e, abs=1e-6)


def test_precision_rounds_halves_away_from_zero() -> None:
    values = drawn(world.Noise(precision=0.5)).apply(np.array([0.24, 0.25, 1.25, -0.25, np.inf]))
    assert values.tolist() == [0.0, 0.5, 1.5, -0.5, np.inf]


FIRST, SECOND = 3716881329, 3270793907


def test_generators_are_the_same_in_every_process() -> None:
    first, second = generators(7, 'robot::link::lidar', 2)
    assert first.integers(2**32) == FIRST and second.integers(2**32) == SECOND
    others = [generators(8, 'robot::link::lidar', 1), generators(-7, 'robot::link::lidar', 1),
              generators(7, 'robot::link::lidar2', 1)]
    assert len({FIRST, *(int(one[0].integers(2**32)) for one in others)}) == 4


# IMU


@pytest.mark.parametrize('turned', [{}, {'roll': 0.5}, {'pitch': -1.0, 'yaw': 2.0}])
@pytest.mark.parametrize('static', [True, False])
def test_an_imu_at_rest_feels_the_ground_push_up(turned: dict[str, float], static: bool) -> None:
    body = link('link', world.Box((0.5, 0.5, 0.5)), mass=2.0, moment=0.08)
    robot = model('robot', [body], pose(0, 0, 0.25), static=static,
                  sensors=(sensor('imu', at=pose(0.1, 0.2, 0.1, **turned)),))
    simulation, device = started(ground(), robot)
    simulation.step(1000)
    reading = device.sample()
    up = Rotation.from_euler('xyz', [turned.get(one, 0.0) for one in ('roll', 'pitch', 'yaw')])
    assert reading.linear_acceleration == pytest.approx(up.inv().apply([0, 0, G]), abs=1e-2)
    assert reading.angular_velocity == pytest.approx(np.zeros(3), abs=1e-3)
    assert reading.orientation == pytest.approx([0, 0, 0, 1], abs=1e-3)


def test_an_imu_in_free_fall_feels_nothing() -> None:
    simulation, device = started(carrier(sensor('imu', at=pose(0.3))))
    simulation.step(100)
    assert device.sample().linear_acceleration == pytest.approx(np.zeros(3), abs=1e-9)


def test_an_imu_off_the_axis_feels_it_turn() -> None:
    at = pose(0.5, yaw=np.pi / 2)  # its x axis along the link's y
    simulation, device = started(carrier(sensor('imu', at=at), gravity=False))
    simulation.set_twist('robot', np.zeros(3), np.array([0.0, 0.0, 3.0]))
    simulation.step()
    reading = device.sample()
    assert reading.angular_velocity == pytest.approx([0, 0, 3.0], abs=1e-9)
    # Towards the axis, which is its +y, with w^2 r.
    assert reading.linear_acceleration == pytest.approx([0, 4.5, G], abs=1e-3)


def test_an_imu_turns_about_its_own_axes() -> None:
    lying = sensor('imu', at=pose(roll=np.pi / 2))
    simulation, device = started(carrier(lying, gravity=False))
    simulation.set_twist('robot', np.zeros(3), np.array([1.0, 2.0, 3.0]))
    assert device.sample().angular_velocity == pytest.approx([1.0, 3.0, -2.0], abs=1e-9)


def test_an_imu_off_the_axis_feels_it_start_to_turn() -> None:
    simulation, device = started(carrier(sensor('imu', at=pose(0.5)), gravity=False, moment=0.1))
    simulation.apply_wrench('robot', 'link', np.zeros(3), np.array([0.0, 0.0, 0.7]), 10**9)
    simulation.step()
    # 0.7 Nm on 0.1 kg m2 is 7 rad/s2, at 0.5 m that is 3.5 m/s2 along y.
    assert device.sample().linear_acceleration == pytest.approx([0, 3.5, G], abs=1e-3)


def test_the_orientation_is_relative_to_the_start() -> None:
    simulation, device = started(carrier(sensor('imu'), at=pose(yaw=0.7)))
    simulation.set_pose('robot', pose(yaw=1.0))
    turned = Rotation.from_quat(device.sample().orientation).as_euler('xyz')
    assert turned == pytest.approx([0, 0, 0.3], abs=1e-9)
    _, silent = started(carrier(sensor('imu', orientation_enabled=False)))
    assert silent.sample().orientation is None


def test_each_axis_of_an_imu_has_its_noise() -> None:
    noises = {'angular_velocity/y': world.Noise(mean=1.0),
              'linear_acceleration/x': world.Noise(stddev=0.1)}
    _, device = started(carrier(sensor('imu', noises=noises), gravity=False))
    rows = [device.sample() for _ in range(400)]
    turning = np.array([one.angular_velocity for one in rows])
    assert (turning == [0.0, 1.0, 0.0]).all()
    felt = np.array([one.linear_acceleration for one in rows])
    assert felt[:, 0].std() == pytest.approx(0.1, rel=6 / np.sqrt(800))
    assert (felt[:, 1:] == [0.0, G]).all()
    assert rows[0].linear_acceleration_variance == pytest.approx([0.01, 0, 0])


# Altimeter, magnetometer, navsat


def test_an_altimeter_counts_from_where_it_started() -> None:
    simulation, device = started(carrier(sensor('altimeter', at=pose(0, 1.0, 0.5)),
                                         at=pose(0, 0, 2.0)))
    simulation.set_pose('robot', pose(0, 0, 5.0))
    # Rolling lifts what is on the left.
    simulation.set_twist('robot', np.array([1.0, 0, 0.25]), np.array([2.0, 0.0, 0.0]))
    reading = device.sample()
    assert reading.vertical_position == pytest.approx(3.0, abs=1e-9)
    assert reading.vertical_velocity == pytest.approx(2.25, abs=1e-9)
    assert reading.vertical_reference == pytest.approx(2.5, abs=1e-9)


def test_an_altimeter_with_noise() -> None:
    noises = {'vertical_position': world.Noise(mean=0.5),
              'vertical_velocity': world.Noise(mean=-1.0)}
    _, device = started(carrier(sensor('altimeter', noises=noises)))
    reading = device.sample()
    assert (reading.vertical_position, reading.vertical_velocity) == (0.5, -1.0)


def test_a_magnetometer_turns_with_its_sensor() -> None:
    field = (1e-5, 2e-5, -4e-5)
    noises = {'z': world.Noise(mean=1e-5)}
    _, device = started(
        carrier(sensor('magnetometer', noises=noises), at=pose(yaw=np.pi / 2)),
        magnetic_field=field)
    assert device.sample().field == pytest.approx([2e-5, -1e-5, -3e-5], abs=1e-12)
    _, rolled = started(carrier(sensor('magnetometer', at=pose(roll=np.pi / 2))),
                        magnetic_field=field)
    assert rolled.sample().field == pytest.approx([1e-5, -4e-5, -2e-5], abs=1e-12)


ZURICH = world.Origin(47.37, 8.54, 400.0)
# The ellipsoid's radii of curvature there, north to south and east to west, from its definition.
A, E2 = 6378137.0, 6.69437999014e-3
SIN2 = np.sin(np.radians(47.37))**2
NORTHWARD = A * (1 - E2) / (1 - E2 * SIN2)**1.5 + 400.0
EASTWARD = (A / np.sqrt(1 - E2 * SIN2) + 400.0) * np.cos(np.radians(47.37))


def earth_centred(latitude: float, longitude: float, height: float) -> Any:
    sine, cosine = np.sin(np.radians(latitude)), np.cos(np.radians(latitude))
    curved = A / np.sqrt(1 - E2 * sine**2)
    level = (curved + height) * cosine
    turned = np.radians(longitude)
    return np.array([level * np.cos(turned), level * np.sin(turned),
                     (curved * (1 - E2) + height) * sine])


@pytest.mark.parametrize('heading, at', [(0.0, (0.0, 1000.0)), (90.0, (1000.0, 0.0)),
                                         (180.0, (0.0, -1000.0))])
def test_a_kilometre_north(heading: float, at: tuple[float, float]) -> None:
    origin = world.Origin(47.37, 8.54, 400.0, heading)
    simulation, device = started(carrier(sensor('navsat')), origin=origin)
    simulation.set_pose('robot', pose(*at, 50.0))
    simulation.set_twist('robot', np.array([*at, 500.0]) / 500, np.zeros(3))
    reading = device.sample()
    north = np.degrees(1000.0 / (NORTHWARD + 50.0))
    assert reading.latitude_deg - 47.37 == pytest.approx(north, abs=2e-8)
    assert reading.longitude_deg == pytest.approx(8.54, abs=2e-8)
    # The earth falls off under a tangent by d^2 / 2R.
    assert reading.altitude == pytest.approx(450.0 + 1000.0**2 / 2 / NORTHWARD, abs=1e-3)
    assert reading.velocity == pytest.approx([0.0, 2.0, 1.0], abs=1e-9)


@pytest.mark.parametrize('heading, at', [(0.0, (1000.0, 0.0)), (90.0, (0.0, -1000.0))])
def test_a_kilometre_east(heading: float, at: tuple[float, float]) -> None:
    origin = world.Origin(47.37, 8.54, 400.0, heading)
    simulation, device = started(carrier(sensor('navsat')), origin=origin)
    simulation.set_pose('robot', pose(*at))
    reading = device.sample()
    assert reading.longitude_deg - 8.54 == pytest.approx(np.degrees(1000.0 / EASTWARD), abs=2e-8)
    assert reading.velocity == pytest.approx(np.zeros(3), abs=1e-9)


@pytest.mark.parametrize('origin', [
    ZURICH, world.Origin(-33.9, 151.2, 0.0), world.Origin(90.0, 0.0, 10.0),
    world.Origin(0.0, 180.0, -20.0),
])
def test_places_on_earth_are_as_far_apart_as_in_the_world(origin: world.Origin) -> None:
    rng = np.random.default_rng(3)
    points = rng.uniform(-5000.0, 5000.0, (20, 3)) * [1, 1, 0.1]
    home = earth_centred(origin.latitude_deg, origin.longitude_deg, origin.elevation)
    assert earth_centred(*to_geodetic(origin, np.zeros(3))) == pytest.approx(home, abs=1e-5)
    there = np.array([earth_centred(*to_geodetic(origin, one)) for one in points])
    for first in range(19):
        apart = np.linalg.norm(points[first + 1] - points[first])
        assert np.linalg.norm(there[first + 1] - there[first]) == pytest.approx(apart, abs=1e-4)
    assert np.linalg.norm(there - home, axis=1) == pytest.approx(
        np.linalg.norm(points, axis=1), abs=1e-4)


def test_noise_of_a_navsat_is_in_metres() -> None:
    noises = {'position_sensing/vertical': world.Noise(stddev=2.0),
              'position_sensing/horizontal': world.Noise(mean=100.0),
              'velocity_sensing/horizontal': world.Noise(mean=0.5)}
    _, device = started(carrier(sensor('navsat', noises=noises)), origin=ZURICH)
    rows = [device.sample() for _ in range(300)]
    assert np.std([one.altitude for one in rows]) == pytest.approx(2.0, rel=6 / np.sqrt(600))
    assert rows[0].latitude_deg - 47.37 == pytest.approx(np.degrees(100 / NORTHWARD), abs=1e-7)
    assert rows[0].longitude_deg - 8.54 == pytest.approx(np.degrees(100 / EASTWARD), abs=1e-7)
    assert rows[0].velocity.tolist() == [0.5, 0.5, 0.0]
    assert (rows[0].horizontal_variance, rows[0].vertical_variance) == (0.0, 4.0)


def test_a_navsat_needs_a_place_on_earth() -> None:
    with pytest.raises(SpecError, match=r'world.sdf:7:3: .*<spherical_coordinates>'):
        started(carrier(sensor('navsat')))


# Forces


def test_a_contact_sensor_feels_the_weight() -> None:
    box = link('link', world.Box((0.4, 0.4, 0.2)), mass=2.0, moment=0.05)
    own = sensor('contact', contact_collisions=('collision',))
    idle = sensor('contact', 'idle', contact_collisions=('other',))
    robot = model('robot', [box], pose(0, 0, 0.1), sensors=(own, idle))
    floor = model('ground', ground().links, static=True, sensors=(own,))
    simulation, device = started(floor, robot)
    simulation.step(1000)
    contact, = device.sample().contacts
    assert (contact.first, contact.second) == ('robot::link::collision', 'ground::link::collision')
    assert contact.forces.sum(axis=0) == pytest.approx([0, 0, -2 * G], abs=0.05)
    assert contact.normals == pytest.approx(np.tile([0, 0, -1.0], (len(contact.normals), 1)))
    assert contact.positions[:, 2] == pytest.approx(np.zeros(len(contact.positions)), abs=1e-3)
    below = make_sensor(simulation, 'ground', own, 1).sample().contacts[0]
    assert below.first == 'ground::link::collision'
    assert below.forces.sum(axis=0) == pytest.approx([0, 0, 2 * G], abs=0.05)
    assert make_sensor(simulation, 'robot', idle, 1).sample().contacts == ()
    simulation.set_pose('robot', pose(0, 0, 3.0))
    simulation.step()
    assert device.sample().contacts == ()


def hanging(**more: Any) -> Any:
    """A weight of 2 kg, its centre 0.3 m along its x, on a beam that is turned by 90 degrees."""
    beam = link('beam', at=pose(0, 0, 2.0, yaw=np.pi / 2))
    weight = link('weight', at=pose(0, 0, 1.0), inertial=inertial(2.0, 0.1, pose(0.3)))
    joints = (joint('anchor', 'fixed', 'world', 'beam'),
              joint('rope', 'fixed', 'beam', 'weight', at=pose(0, 0, 1.0)))
    given = {'link': 'weight', 'joint': 'rope', 'at': pose(0, 0, 1.0), **more}
    robot = model('robot', [beam, weight], joints=joints,
                  sensors=(sensor('force_torque', **given),))
    simulation, device = started(robot)
    simulation.step(10)
    return device.sample()


# The weight pulls the beam down, and its arm of 0.3 m along x turns it about y: (r x F)_y = 5.88.
DOWN, ARM = np.array([0, 0, -2 * G]), np.array([0, 0.3 * 2 * G, 0])


@pytest.mark.parametrize('more, force, torque', [
    ({}, DOWN, ARM),
    ({'measure_direction': 'parent_to_child'}, -DOWN, -ARM),
    ({'measured_in': 'parent'}, DOWN, [0.3 * 2 * G, 0, 0]),
    ({'measured_in': 'sensor', 'at': pose(0, 0, 1.0, yaw=-np.pi / 2)}, DOWN,
     [-0.3 * 2 * G, 0, 0]),
    ({'measured_in': 'sensor', 'at': pose(0, 0, 1.0, roll=np.pi)}, -DOWN, -ARM),
    ({'at': pose(0.3, 0, 0)}, DOWN, [0, 0, 0]),
    ({'noises': {'force/x': world.Noise(mean=1.0), 'torque/z': world.Noise(mean=2.0)}},
     [1, 0, -2 * G], [0, 0.6 * G, 2]),
])
def test_a_hanging_weight_in_a_force_torque_sensor(
    more: dict[str, Any], force: Any, torque: Any,
) -> None:
    reading = hanging(**more)
    assert reading.force == pytest.approx(np.array(force, float), abs=1e-3)
    assert reading.torque == pytest.approx(np.array(torque, float), abs=1e-3)


def test_a_force_torque_sensor_needs_its_joint() -> None:
    with pytest.raises(SpecError, match=r'world.sdf:7:3: no joint is named "rop"; .*"rope"'):
        hanging(joint='rop')


# Seeds


def noisy_robot() -> world.Model:
    rough = world.Noise(stddev=0.1, bias_mean=0.3, bias_stddev=0.1, dynamic_bias_stddev=0.1,
                        dynamic_bias_time=1.0)
    axes = [f'{part}/{axis}' for part in ('angular_velocity', 'linear_acceleration')
            for axis in 'xyz']
    return carrier(
        lidar(noise=rough), sensor('imu', 'imu', noises=dict.fromkeys(axes, rough)),
        sensor('magnetometer', 'compass', noises=dict.fromkeys('xyz', rough)),
        sensor('navsat', 'navsat', noises={'position_sensing/horizontal': rough}),
    )


def flat(value: Any) -> bytes:
    if isinstance(value, tuple):
        return b''.join(flat(one) for one in value)
    return np.asarray(value).tobytes() if value is not None else b''


def recorded(seed: int) -> list[bytes]:
    """Return everything each sensor measured in a short run, as bytes."""
    simulation = Simulation(scene(WALL, noisy_robot(), origin=ZURICH), seed)
    devices = [make_sensor(simulation, 'robot', one, seed)
               for one in simulation.model_of('robot').sensors]
    devices[0].dropout = 0.1  # type: ignore[attr-defined]
    rows = [b''] * len(devices)
    for _ in range(5):
        simulation.step(20)
        rows = [row + flat(astuple(one.sample())) for row, one in zip(rows, devices, strict=True)]
    simulation.reset()
    for device in devices:
        device.reset()
    simulation.step(20)
    return [row + flat(astuple(one.sample())) for row, one in zip(rows, devices, strict=True)]


def test_each_sensor_has_noise_of_its_own() -> None:
    noises = {'x': world.Noise(stddev=1.0)}
    robot = carrier(sensor('magnetometer', 'one', noises=noises),
                    sensor('magnetometer', 'two', noises=noises))
    simulation, first = started(robot)
    second = make_sensor(simulation, 'robot', robot.sensors[1], 1)
    assert first.sample().field[0] != second.sample().field[0]


def test_a_bias_wanders_in_simulated_time() -> None:
    fading = world.Noise(bias_mean=5.0, dynamic_bias_stddev=1e-9, dynamic_bias_time=0.2)
    simulation, device = started(
        carrier(sensor('imu', noises={'angular_velocity/x': fading}), gravity=False))
    start = device.sample().angular_velocity[0]
    assert abs(start) == pytest.approx(5.0)
    simulation.step(200)
    assert device.sample().angular_velocity[0] == pytest.approx(start / np.e, abs=1e-6)
    simulation.reset()
    device.reset()
    assert device.sample().angular_velocity[0] == start


def test_the_same_seed_gives_the_same_bytes_and_others_do_not() -> None:
    first, second, other = recorded(3), recorded(3), recorded(4)
    assert first == second
    assert all(one != two for one, two in zip(first, other, strict=True))


def test_after_a_reset_a_sensor_measures_the_same_again() -> None:
    for row in recorded(3):
        # Six readings of one length; the first and the last are at the same time after a start.
        size = len(row) // 6
        assert row[:size] == row[-size:]
