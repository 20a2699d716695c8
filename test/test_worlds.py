"""The worlds that we ship: as documented, at rest, and made by their scripts."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

mujoco = pytest.importorskip('mujoco')
trimesh = pytest.importorskip('trimesh')

from robot_qa.embedded import world as w  # noqa: E402
from robot_qa.embedded.sdf import load_model, load_world  # noqa: E402
from robot_qa.embedded.sensors import make_sensor  # noqa: E402
from robot_qa.embedded.simulation import Simulation  # noqa: E402
from robot_qa.errors import Problem  # noqa: E402
from robot_qa.geometry import Poses  # noqa: E402

WORLDS = Path(__file__).parents[1] / 'worlds'
MODELS = WORLDS / 'models'
NAMES = ('empty', 'corridor', 'warehouse')
ROBOT = 'patrol_robot'
README = (WORLDS / 'README.md').read_text()
G = 9.8
FLOOR = 'warehouse_hall::link::floor'
ROBOT_MASS = 14 + 2 * 1.0 + 0.2 + 0.1 + 0.05
UNBOUNDED = {ROBOT, 'warehouse_hall', 'corridor_hall', 'ground_plane'}


@pytest.fixture(scope='module', params=NAMES)
def place(request: pytest.FixtureRequest) -> w.World:
    return load_world(WORLDS / f'{request.param}.sdf', resource_paths=[])


@pytest.fixture(scope='module')
def corridor() -> Simulation:
    return Simulation(load_world(WORLDS / 'corridor.sdf', resource_paths=[]))


@pytest.fixture(scope='module')
def scripts() -> Iterator[tuple[Any, Any]]:
    sys.path.insert(0, str(WORLDS))
    import make_meshes
    import make_textures

    yield make_textures, make_meshes
    sys.path.remove(str(WORLDS))


def table(heading: str) -> list[list[str]]:
    """Return the cells of the first table of a section of the README, without its head."""
    section = README.split(f'## {heading}\n')[1].split('\n## ')[0]
    rows = [line[1:-1].split('|') for line in section.splitlines() if line[:1] == '|']
    return [[cell.strip() for cell in row] for row in rows[2:]]


def yawed(x: float, y: float, yaw: float) -> Poses:
    return Poses(
        np.array([x, y, 0.0]), np.array([0.0, 0.0, np.sin(yaw / 2), np.cos(yaw / 2)]))


def touched_at(simulation: Simulation, place: Any, yaw: float) -> set[str]:
    """Return what the robot touches where it is put."""
    simulation.set_pose(ROBOT, yawed(*place, yaw))
    simulation.step()
    pairs = [(one.first, one.second) for one in simulation.contacts()]
    return {
        one for pair in pairs for one in pair
        if any(name.startswith(f'{ROBOT}::') for name in pair)
        and not one.startswith(f'{ROBOT}::')
    }


def robot_of(place: w.World) -> w.Model:
    return next(one for one in place.models if one.name == ROBOT)


def text_of(plugin: w.Plugin, name: str) -> str:
    parameter = plugin.find(name)
    assert parameter is not None, name
    return parameter.text


def test_loads_without_warnings(place: w.World) -> None:
    assert [str(one) for one in place.warnings] == []
    assert Simulation(place).step_ns == 1_000_000
    assert robot_of(place).sensors


def test_topics_are_those_documented(place: w.World) -> None:
    robot = robot_of(place)
    found = {one.topic for one in robot.sensors}
    for sensor in robot.sensors:
        if sensor.camera is not None:
            found.add(sensor.camera.info_topic)
    for plugin in robot.plugins:
        found |= {one.text for one in plugin.parameters if one.name.endswith('topic')}
    documented = [re.findall(r'`/([\w/]+)`', row[0]) for row in table('The robot')]
    assert found == {name for names in documented for name in names}


def test_rates_and_frames_are_those_documented(place: w.World) -> None:
    robot = robot_of(place)
    rates = {f'`/{one.topic}`': f'{one.rate_hz:g} Hz' for one in robot.sensors}
    drive = next(one for one in robot.plugins if one.name == 'DiffDrive')
    rates['`/odom`'] = f'{text_of(drive, "odom_publish_frequency")} Hz'
    frames = {f'`/{one.topic}`': one.frame_id for one in robot.sensors}
    links = {one.name: one.pose.translation for one in robot.links}
    for row in table('The robot'):
        name = row[0].split(',')[0]
        if name in rates:
            assert row[2] == rates[name]
        frame = re.match(r'`(\w+)`: (.*)', row[3])
        if frame and frame[1] == frames[name]:
            np.testing.assert_allclose(np.array(frame[2].split(', '), float), links[frame[1]])
    camera = next(one for one in robot.sensors if one.kind == 'camera')
    assert camera.camera is not None
    assert camera.camera.optical_frame == 'camera_optical_frame'
    np.testing.assert_allclose(
        (links['camera_link'] + camera.pose.translation), [0.221, 0.0, 0.255], atol=1e-9)


def test_labels_are_those_documented(place: w.World) -> None:
    labels = {
        name: int(row[0]) for row in table('Labels') if row[0] != 'none'
        for name in re.findall(r'`(\w+)`', row[1])
    }
    for model in place.models:
        kind = Path(model.uri).name if model.uri else model.name
        assert model.label == labels.get(kind), model.name
    assert {path.parent.name for path in MODELS.glob('*/model.sdf')} - UNBOUNDED == set(labels)


def test_robot_stands_on_its_wheels(place: w.World) -> None:
    simulation = Simulation(place)
    before = simulation.pose(ROBOT).translation
    simulation.step(2000)
    assert np.abs(simulation.pose(ROBOT).translation - before).max() < 0.005
    carried = {}
    for contact in simulation.contacts():
        for one in (contact.first, contact.second):
            if one.startswith(f'{ROBOT}::'):
                carried[one.removeprefix(f'{ROBOT}::')] = abs(contact.forces[:, 2].sum())
    parts = ('left_wheel::tyre', 'right_wheel::tyre')
    casters = ('base_link::front_caster', 'base_link::rear_caster')
    assert set(carried) == {*parts, *casters}
    assert sum(carried.values()) == pytest.approx(ROBOT_MASS * G, rel=0.01)
    assert all(carried[one] > 10.0 for one in parts)


def test_what_can_be_pushed_stays_where_it_stands(place: w.World) -> None:
    free = [one.name for one in place.models if not one.static]
    assert 1 <= len(free) < 12
    simulation = Simulation(place)
    before = {name: simulation.pose(name).translation for name in free}
    simulation.step(5000)
    for name in free:
        assert np.abs(simulation.pose(name).translation - before[name]).max() < 0.005, name


def test_boxes_have_the_inertia_of_their_size(place: w.World) -> None:
    for model in place.models:
        if len(model.links) > 1 or model.links[0].inertial is None:
            continue
        link, (shape, *_) = model.links[0], model.links[0].collisions
        assert link.inertial is not None
        np.testing.assert_allclose(
            link.inertial.pose.translation, shape.pose.translation, atol=1e-9)
        if isinstance(shape.geometry, w.Box):
            x, y, z = np.square(shape.geometry.size)
            moments = np.array([y + z, x + z, x + y]) / 12
            np.testing.assert_allclose(
                link.inertial.moments, link.inertial.mass * moments, rtol=1e-4)
        visual = link.visuals[0].geometry
        if isinstance(visual, w.Mesh):
            seen = trimesh.load_mesh(visual.file, process=False).bounds
            assert isinstance(shape.geometry, w.Box)
            middle = shape.pose.translation - link.visuals[0].pose.translation
            half = np.array(shape.geometry.size) / 2
            np.testing.assert_allclose(seen, [middle - half, middle + half], atol=1e-6)


def test_wheels_are_those_of_the_drive(place: w.World) -> None:
    robot = robot_of(place)
    drive = next(one for one in robot.plugins if one.name == 'DiffDrive')
    radius, apart = (float(text_of(drive, f'wheel_{one}')) for one in ('radius', 'separation'))
    left, right = (
        next(one for one in robot.links if one.name == f'{side}_wheel')
        for side in ('left', 'right')
    )
    np.testing.assert_allclose(left.pose.translation - right.pose.translation, [0, apart, 0])
    for wheel in (left, right):
        tyre = wheel.collisions[0].geometry
        assert tyre == w.Cylinder(radius, 0.04)
        assert wheel.pose.translation[2] == radius
        assert wheel.inertial is not None
        disc = (3 * radius ** 2 + 0.04 ** 2) / 12, radius ** 2 / 2
        np.testing.assert_allclose(
            wheel.inertial.moments, np.array([disc[0], disc[0], disc[1]]), rtol=1e-4)


def test_lidar_sees_the_corridor(corridor: Simulation) -> None:
    described = next(one for one in corridor.model_of(ROBOT).sensors if one.kind == 'lidar')
    assert described.lidar is not None
    assert (described.lidar.samples, described.lidar.max_range) == (360, 12.0)
    exact = replace(described, lidar=replace(described.lidar, noise=None))
    scan = make_sensor(corridor, ROBOT, exact, 0).sample().scan  # type: ignore[attr-defined]
    degrees = np.linspace(-180, 179, 360)
    at = {int(angle): float(scan.ranges[np.argmin(np.abs(degrees - angle))])
          for angle in (-180, -90, 90, 45, -135)}
    # The lidar is at x = -8.92; the walls at y = -1, y = 1 and x = -10.
    expected = {-180: 1.08, -90: 1.0, 90: 1.0, 45: 2 ** 0.5, -135: 2 ** 0.5}
    assert at == pytest.approx(expected, abs=2e-3)
    assert np.isfinite(scan.ranges).sum() > 350
    assert scan.ranges.min() > 0.99


def test_patrol_of_the_warehouse_is_free() -> None:
    simulation = Simulation(load_world(WORLDS / 'warehouse.sdf', resource_paths=[]))
    points = [np.array(row[1].split(', '), float) for row in table('The patrol of the warehouse')]
    legs = list(pairwise(points))
    assert sum(np.hypot(*(end - start)) for start, end in legs) == pytest.approx(35.7)
    np.testing.assert_allclose(points[0], simulation.pose(ROBOT).translation[:2], atol=0.01)
    for start, end in [*legs, (points[2], points[5])]:
        length, yaw = np.hypot(*(end - start)), np.arctan2(*(end - start)[::-1])
        across = np.array([-np.sin(yaw), np.cos(yaw)])
        for share in np.arange(0.0, 1.0, 0.15 / length):
            for aside in (-0.05, 0.05):
                place = start + (end - start) * share + across * aside
                assert touched_at(simulation, place, yaw) <= {FLOOR}, place
        for turned in np.arange(0.0, 2 * np.pi, np.pi / 8):
            assert touched_at(simulation, end, turned) <= {FLOOR}, end


def test_textures_are_those_the_script_paints(scripts: tuple[Any, Any]) -> None:
    painted = {MODELS / path: pixels for path, pixels in scripts[0].textures()}
    assert set(painted) == set(MODELS.rglob('*.png'))
    for file, pixels in painted.items():
        with Image.open(file) as image:
            kept = np.asarray(image.convert('RGB'))
        np.testing.assert_array_equal(kept, pixels, file.name)
        assert max(pixels.shape) <= 512


def test_meshes_are_those_the_script_writes(scripts: tuple[Any, Any]) -> None:
    written = {MODELS / path: text for path, text in scripts[1].meshes()}
    assert set(written) == set(MODELS.rglob('*.obj'))
    for file, text in written.items():
        assert file.read_text() == text
        assert trimesh.load_mesh(file).volume > 0.0, f'{file} is inside out'


def test_everything_is_small_and_used(scripts: tuple[Any, Any]) -> None:
    files = [one for one in WORLDS.rglob('*') if one.is_file() and '__pycache__' not in one.parts]
    assert sum(one.stat().st_size for one in files) < 1_500_000
    texts = ''.join(one.read_text() for one in files if one.suffix == '.sdf')
    for one in MODELS.rglob('*'):
        if one.suffix in {'.png', '.obj'}:
            assert f'{one.parent.name}/{one.name}</' in texts, one
    for folder in MODELS.iterdir():
        assert f'<name>{folder.name}</name>' in (folder / 'model.config').read_text()
        assert f'<uri>model://{folder.name}</uri>' in texts


@pytest.mark.parametrize('folder', sorted(one.name for one in MODELS.iterdir()))
def test_every_model_loads_alone(folder: str) -> None:
    warnings: list[Problem] = []
    model = load_model(MODELS / folder, resource_paths=[MODELS], warnings=warnings)
    assert not warnings
    assert model.name == folder
