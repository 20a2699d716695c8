"""Ground truth of pictures, against numbers worked out by hand.

The camera looks along x from the origin, 320 x 240 pixels, with a field of view of 90 degrees: the
focal length is 160 pixels, so that 1 m at 4 m is 40 pixels wide.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

mujoco = pytest.importorskip('mujoco')
trimesh = pytest.importorskip('trimesh')

from robot_qa.embedded import boxes, world  # noqa: E402
from robot_qa.embedded.boxes import TruthBox, boxes_3d, class_of, detections  # noqa: E402
from robot_qa.embedded.pinhole import rays  # noqa: E402
from robot_qa.embedded.simulation import Simulation  # noqa: E402
from robot_qa.geometry import Poses  # noqa: E402
from worlds_in_code import link, model, pose  # noqa: E402

CAMERA = world.CameraPart(width=320, height=240, fov=np.pi / 2, near=0.1)
ORIGIN = pose()
UNIT = world.Box((1.0, 1.0, 1.0))


def labelled(
    name: str, shape: world.Geometry, at: Poses, label: int | None = 1, **more: Any,
) -> world.Model:
    return model(name, [link('link', shape)], at, static=True, label=label, **more)


def running(*models: world.Model) -> Simulation:
    return Simulation(world.World('test', models))


def seen(
    simulation: Simulation, camera: world.CameraPart = CAMERA, at: Poses = ORIGIN,
) -> NDArray[np.int32]:
    """The picture of geom ids, by MuJoCo's own rays."""
    along = rays(camera, at)
    ids, depths = np.empty(len(along), np.int32), np.empty(len(along))
    groups = np.array([0, 0, 1, 0, 0, 0], np.uint8)
    mujoco.mj_multiRay(
        simulation.model, simulation.data, at.translation, along.ravel(), groups,
        1, -1, ids, depths, None, len(along), 1e6,
    )
    ids[depths < camera.near] = -1
    return ids.reshape(camera.height, camera.width)


def found(
    *models: world.Model, camera: world.CameraPart = CAMERA, at: Poses = ORIGIN,
) -> list[TruthBox]:
    simulation = running(*models)
    return detections(simulation, camera, at, seen(simulation, camera, at))


def test_a_box_of_known_size_at_a_known_distance() -> None:
    """Its front is 4 m away and 2 m wide, 1 m high, and 1 m to the right of the axis."""
    box, = found(labelled('crate_3', world.Box((1.0, 2.0, 1.0)), pose(4.5, -1.0, 0.0), 7))
    assert (box.model, box.class_id, box.label) == ('crate_3', 'crate', 7)
    # y from -2 to 0 m: columns 160 to 240; z from -0.5 to 0.5 m: rows 100 to 140.
    assert box.visible == box.full == (160, 100, 240, 140)
    assert box.visible_pixels == 80 * 40
    assert (box.visibility, box.truncation) == (1.0, 0.0)
    assert box.distance == pytest.approx(np.hypot(4.5, 1.0))


@pytest.mark.parametrize('z, rows', [(1.0, (60, 100)), (-1.0, (140, 180))])
def test_up_is_up(z: float, rows: tuple[int, int]) -> None:
    """An edge-on face: rows are those of the front, 0.5 to 1.5 m from the axis at 4 m."""
    box, = found(labelled('crate', world.Box((0.001, 1.0, 1.0)), pose(4.0005, 0.0, z)))
    assert (box.visible.y_min, box.visible.y_max) == rows


@pytest.mark.parametrize('at', [
    pose(3.0, -2.0, 1.0, yaw=2.0, pitch=0.4, roll=0.3), pose(9.0, 2.0, -1.0, roll=0.3),
    pose(-1.0, 0.5, 0.2, pitch=0.2),
])
def test_the_camera_may_stand_and_look_anywhere(at: Poses) -> None:
    box, = found(labelled('crate', world.Box((1.0, 2.0, 1.0)), at @ pose(4.5, -1.0, 0.0)), at=at)
    assert box.visible == box.full == (160, 100, 240, 140)
    assert box.distance == pytest.approx(np.hypot(4.5, 1.0))


@pytest.mark.parametrize('y, z, visible', [
    (4.0, 0.0, (0, 100, 20, 140)), (-4.0, 0.0, (300, 100, 320, 140)),
    (0.0, 3.0, (140, 0, 180, 20)), (0.0, -3.0, (140, 220, 180, 240)),
])
def test_half_of_it_outside_the_picture(
    y: float, z: float, visible: tuple[int, int, int, int],
) -> None:
    """A thin plate, its middle on the border of the picture, which is 4 m (3 m) off the axis."""
    box, = found(labelled('plate', world.Box((1e-4, 1.0, 1.0)), pose(4.0, y, z)))
    assert box.visible == box.full == visible
    assert box.truncation == pytest.approx(0.5, abs=0.01)
    assert box.visibility == 1.0


def test_truncation_is_of_the_area() -> None:
    """A quarter of a plate in a corner of the picture is seen."""
    box, = found(labelled('plate', world.Box((1e-4, 1.0, 1.0)), pose(4.0, 4.0, 3.0)))
    assert box.truncation == pytest.approx(0.75, abs=0.01)


def test_half_of_it_behind_something_else() -> None:
    """Whatever is left of the axis is behind a screen without a label."""
    crate = labelled('crate', world.Box((1.0, 2.0, 1.0)), pose(4.5, 0.0, 0.0))
    screen = labelled('screen', world.Box((0.1, 2.0, 2.0)), pose(2.0, 1.0, 0.0), None)
    box, = found(crate, screen)
    assert box.visible == (160, 100, 200, 140)
    assert box.full == (120, 100, 200, 140)
    assert (box.visibility, box.truncation) == (0.5, 0.0)
    assert box.visible_pixels == 40 * 40


def test_what_is_hidden_behind_or_unlabelled_is_not_there() -> None:
    wall = labelled('wall', world.Box((0.1, 9.0, 9.0)), pose(2.0), None)
    hidden = labelled('hidden', UNIT, pose(4.0))
    behind = labelled('behind', UNIT, pose(-4.0))
    assert found(wall, hidden, behind) == []
    assert found(behind) == []


def test_what_reaches_behind_the_camera() -> None:
    """A floor 1 m below from far behind to 8 m ahead: its end is 20 pixels below the axis."""
    floor = labelled('floor', world.Box((16.0, 2.0, 0.1)), pose(0.0, 0.0, -1.05))
    box, = found(floor)
    assert box.visible == box.full == (40, 140, 280, 240)
    assert box.visibility == pytest.approx(1.0, abs=0.01)
    # In the picture are the widths of 40 to 240 over 100 rows. Cut at 0.1 m, its upper side ends
    # 1600 pixels below the axis, 3200 wide, and its lower side 160 pixels below that.
    inside = (40 + 240) / 2 * 100
    total = 1600**2 - 20**2 + 160 * 3200
    assert box.truncation == pytest.approx(1 - inside / total, abs=2e-4)


def test_what_stands_around_the_camera_is_all_truncated() -> None:
    """From inside no side of a box is seen; a stray pixel must do no harm either."""
    simulation = running(labelled('room', world.Box((6.0, 6.0, 6.0)), pose()))
    box, = detections(simulation, CAMERA, ORIGIN, np.zeros((240, 320), np.int32))
    assert box.visibility == 1.0
    assert box.full == (0, 0, 320, 240)
    # All that is ahead of the near plane: a square of 6 m at 0.1 m.
    assert box.truncation == pytest.approx(1 - 320 * 240 / (6.0 / 0.1 * 160)**2, abs=1e-4)


def test_a_stray_pixel_of_what_is_behind() -> None:
    """Nearer than the near plane; a renderer's plane may lie a little elsewhere."""
    simulation = running(labelled('plate', world.Box((0.01, 1.0, 1.0)), pose(0.09)))
    geoms = np.full((240, 320), -1, np.int32)
    geoms[7, 5] = 0
    box, = detections(simulation, CAMERA, ORIGIN, geoms)
    assert box.visible == box.full == (5, 7, 6, 8)
    assert (box.visibility, box.truncation) == (1.0, 0.0)


def radius_seen(radius: float, distance: float) -> float:
    """In pixels, of a ball on the optical axis: the tangent, not the radius over the distance."""
    return 160 * radius / float(np.sqrt(distance**2 - radius**2))


@pytest.mark.parametrize('shape, half', [
    (world.Sphere(0.8), (radius_seen(0.8, 3.0), radius_seen(0.8, 3.0))),
    # Scaling y and z leaves tangents tangent: (0.6 as deep, so as a ball of 0.6) times 2 and 1.5.
    (world.Ellipsoid((0.6, 1.2, 0.9)), (2 * radius_seen(0.6, 3.0), 1.5 * radius_seen(0.6, 3.0))),
    # Upright: a circle's tangent sideways, upwards the edge of the lid that is nearest.
    (world.Cylinder(0.8, 1.0), (radius_seen(0.8, 3.0), 160 * 0.5 / 2.2)),
    # The ball on top is 0.5 m above the axis: asin(r / d) more than the angle to its middle.
    (world.Capsule(0.4, 1.0), (radius_seen(0.4, 3.0), 160 * np.tan(
        np.arctan2(0.5, 3.0) + np.arcsin(0.4 / np.hypot(0.5, 3.0))))),
    (world.Plane((-1.0, 0.0, 0.0), (1.0, 2.0)), None),
])
def test_round_silhouettes(shape: world.Geometry, half: tuple[float, float] | None) -> None:
    box, = found(labelled('thing', shape, pose(3.0)))
    if half is None:
        # Which side of a turned plane is which, MuJoCo's rays tell.
        half = ((box.visible.x_max - box.visible.x_min) / 2,
                (box.visible.y_max - box.visible.y_min) / 2)
        assert sorted(half) == pytest.approx([160 / 6, 160 / 3], abs=0.6)
    across, down = half
    expected = (160 - across, 120 - down, 160 + across, 120 + down)
    assert box.full == pytest.approx(expected, abs=0.8)
    assert box.visible == pytest.approx(expected, abs=0.8)
    assert box.visibility > 0.985
    if isinstance(shape, world.Sphere):
        assert box.visible_pixels / box.visibility == pytest.approx(np.pi * across**2, rel=0.01)


@pytest.mark.parametrize('turned', [{}, {'roll': 1.0}, {'pitch': 2.0}, {'yaw': 0.7, 'roll': 0.3}])
@pytest.mark.parametrize('shape', [
    UNIT, world.Sphere(0.5), world.Ellipsoid((0.3, 0.5, 0.8)), world.Cylinder(0.3, 1.2),
    world.Capsule(0.3, 0.8),
])
def test_silhouettes_are_what_rays_hit(shape: world.Geometry, turned: dict[str, float]) -> None:
    """Nothing is in front, so the analytic silhouette and the rays have to agree everywhere."""
    box, = found(labelled('thing', shape, pose(3.0, 0.7, 0.4, **turned)))
    assert box.full == pytest.approx(box.visible, abs=1)
    assert box.visibility > 0.985


def mesh(folder: Path, shape: Any) -> world.Mesh:
    file = folder / 'shape.stl'
    shape.export(file)
    return world.Mesh(file, (1.0, 1.0, 1.0))


def test_a_mesh(tmp_path: Path) -> None:
    """A pyramid on its side; MuJoCo moves meshes to their centre of mass, which must not show."""
    cone = trimesh.creation.cone(radius=1.0, height=2.0, sections=4)
    box, = found(labelled('cone', mesh(tmp_path, cone), pose(4.0)))
    # A base from -1 to 1 m along y at 4 m, z = 0, and a tip 2 m above it.
    assert box.full == pytest.approx((120, 40, 200, 120 + 1), abs=1.5)
    assert box.visible == pytest.approx(box.full, abs=1)
    assert box.visibility > 0.985
    three, = boxes_3d(running(labelled('cone', mesh(tmp_path, cone), pose(4.0))))
    assert three.size == pytest.approx([2.0, 2.0, 2.0], abs=1e-5)
    assert three.pose.translation == pytest.approx([4.0, 0.0, 1.0], abs=1e-5)


def test_a_flat_mesh(tmp_path: Path) -> None:
    flat = trimesh.Trimesh([[0, -1, -1], [0, 1, -1], [0, 1, 1]], [[0, 1, 2], [0, 2, 1]])
    box, = found(labelled('flag', mesh(tmp_path, flat), pose(4.0)))
    assert box.full == pytest.approx((120, 80, 200, 160), abs=1)
    assert box.visible_pixels / box.visibility == pytest.approx(80 * 80 / 2, rel=0.03)


def two_plates(labels: Sequence[int | None] = (1, 1)) -> world.Model:
    """Two thin plates of 1 m, side by side with 1 m between their middles, half a metre apart."""
    plate = world.Box((1e-4, 1.0, 1.0))
    visuals = tuple(
        world.Visual(f'v{number}', pose(0.0, y), plate, label=label)
        for number, (y, label) in enumerate(zip((1.0, -1.0), labels, strict=True))
    )
    part = world.Link('link', pose(), None, visuals=visuals)
    return model('pair', [part], pose(4.0), static=True)


def test_a_model_of_several_visuals_is_one() -> None:
    box, = found(two_plates())
    # Each is 40 pixels wide, their middles 40 pixels left and right of the axis: a gap of 40.
    assert box.visible == box.full == (100, 100, 220, 140)
    assert box.visible_pixels == 2 * 40 * 40
    assert box.visibility == 1.0


def test_visuals_that_overlap_count_once() -> None:
    plates = tuple(
        world.Visual(f'v{y}', pose(0.001 * y, y), world.Box((1e-4, 1.0, 1.0)))
        for y in (0.25, -0.25)
    )
    part = world.Link('link', pose(), None, visuals=plates)
    box, = found(model('pair', [part], pose(4.0), static=True, label=1))
    assert box.visible_pixels == 60 * 40
    assert box.visibility == 1.0


def test_a_hidden_half_is_the_union_of_its_visuals() -> None:
    """A ball in front of a plate twice as wide: the plate's corners stay."""
    looks = (world.Visual('plate', pose(), world.Box((1e-4, 2.0, 2.0))),
             world.Visual('ball', pose(), world.Sphere(0.5)))
    part = world.Link('link', pose(), None, visuals=looks)
    screen = labelled('screen', world.Box((0.1, 4.0, 4.0)), pose(2.0, 2.0, 0.0), None)
    box, = found(model('pair', [part], pose(4.0), static=True, label=1), screen)
    assert box.full == (120, 80, 200, 160)
    assert box.visible_pixels == 40 * 80
    assert box.visibility == 0.5


def test_only_the_labelled_visuals_of_a_model_count() -> None:
    box, = found(two_plates((None, 5)))
    assert box.label == 5
    assert box.visible == box.full == (180, 100, 220, 140)
    three, = boxes_3d(running(two_plates((None, 5))))
    assert three.pose.translation == pytest.approx([4.0, -1.0, 0.0])


def test_the_order_is_the_worlds() -> None:
    far, near = labelled('b', UNIT, pose(6.0, 2.0)), labelled('a', UNIT, pose(4.0, -2.0))
    assert [box.model for box in found(far, near)] == ['b', 'a']
    assert [box.model for box in found(near, far)] == ['a', 'b']


def test_models_come_move_and_go() -> None:
    simulation = running(labelled('one', UNIT, pose(4.5)))
    simulation.spawn(labelled('two', UNIT, pose(4.5, 2.0), 2))
    assert [box.model for box in detections(simulation, CAMERA, ORIGIN, seen(simulation))] == [
        'one', 'two']
    simulation.delete('one')
    simulation.set_pose('two', pose(4.5, -1.5))
    box, = detections(simulation, CAMERA, ORIGIN, seen(simulation))
    # From 1 m to the right at 5 m, where its left side ends, to 2 m at 4 m.
    assert (box.model, box.label) == ('two', 2)
    assert (box.visible.x_min, box.visible.x_max) == (160 + 160 // 5, 160 + 2 * 160 // 4)


def test_boxes_in_the_world_turn_with_their_model() -> None:
    at = pose(1.0, 2.0, 3.0, roll=0.3, pitch=-0.5, yaw=1.1)
    inner = world.Link('link', pose(0.0, 0.0, 1.0, yaw=np.pi / 2), None, visuals=(
        world.Visual('v', pose(0.5), world.Box((1.0, 2.0, 3.0))),))
    box, = boxes_3d(running(model('crate', [inner], at, static=True, label=4)))
    # The link's quarter turn swaps x and y; half a metre along its x is along the model's y.
    assert box.size == pytest.approx([2.0, 1.0, 3.0])
    middle = at.translation + Rotation.from_quat(at.rotation).apply([0.0, 0.5, 1.0])
    assert box.pose.translation == pytest.approx(middle)
    assert abs(box.pose.rotation @ at.rotation) == pytest.approx(1.0)
    assert (box.model, box.class_id, box.label) == ('crate', 'crate', 4)


@pytest.mark.parametrize('shape, size', [
    (world.Sphere(0.5), (1.0, 1.0, 1.0)), (world.Cylinder(0.5, 2.0), (1.0, 1.0, 2.0)),
    (world.Capsule(0.5, 2.0), (1.0, 1.0, 3.0)),
    (world.Ellipsoid((0.1, 0.2, 0.3)), (0.2, 0.4, 0.6)),
])
def test_boxes_around_round_things(shape: world.Geometry, size: world.Vector) -> None:
    box, = boxes_3d(running(labelled('ball', shape, pose(1.0))))
    assert box.size == pytest.approx(size)
    assert box.pose.translation == pytest.approx([1.0, 0.0, 0.0])


def test_no_boxes_without_labels() -> None:
    assert boxes_3d(running(labelled('crate', UNIT, pose(4.0), None))) == []


@pytest.mark.parametrize('name, uri, class_id', [
    ('crate', None, 'crate'), ('crate_12', None, 'crate'), ('crate12', None, 'crate'),
    ('crate-2', None, 'crate'), ('crate_small_3', None, 'crate_small'), ('12', None, '12'),
    ('left', 'model://crate_small', 'crate_small'), ('left', 'model://crate_2/', 'crate_2'),
    ('left', 'model://crate_small/model.sdf', 'crate_small'),
    ('left', '/models/crate_small/model-1_4.sdf', 'crate_small'),
    ('left', '/models/crate.sdf', 'crate'),
    ('left', 'https://fuel.gazebosim.org/1.0/Open/models/Construction Cone/3',
     'Construction Cone'),
])
def test_class_names(name: str, uri: str | None, class_id: str) -> None:
    described = labelled(name, UNIT, pose(), 7, uri=uri)
    assert class_of(described) == class_id
    assert class_of(described, {7: 'box'}) == 'box'
    assert class_of(described, {8: 'box'}) == class_id


def segmented() -> tuple[Simulation, NDArray[np.int32]]:
    simulation = running(
        labelled('wall', UNIT, pose(), None), labelled('a', UNIT, pose(), 300),
        two_plates((9, 9)), labelled('b', UNIT, pose(), 44), labelled('zero', UNIT, pose(), 0),
    )
    by_model: dict[str, list[int]] = {}
    for geom, owner in enumerate(simulation.geoms):
        if owner.visual:
            by_model.setdefault(owner.model, []).append(geom)
    order = [-1, *by_model['wall'], *by_model['zero'], *by_model['a'], *by_model['b'],
             *by_model['pair']]
    return simulation, np.array([order], np.int32)


def test_labels_maps_are_encoded_as_gazebos() -> None:
    simulation, geoms = segmented()
    labels = boxes.labels_map(simulation, geoms, 'semantic')
    # Eight bits: 300 is 44.
    assert labels.dtype == np.uint8
    assert labels.tolist() == [[[one] * 3 for one in (0, 0, 0, 44, 44, 9, 9)]]
    for kind in ('instance', 'panoptic'):
        labels = boxes.labels_map(simulation, geoms, kind)  # type: ignore[arg-type]
        assert labels.tolist() == [[[0, 0, 0]] * 3 + [[1, 0, 44], [2, 0, 44]] + [[1, 0, 9]] * 2]


def test_colored_maps_have_a_color_for_each() -> None:
    simulation, geoms = segmented()
    semantic = boxes.colored_map(simulation, geoms, 'semantic')[0]
    instance = boxes.colored_map(simulation, geoms, 'panoptic')[0]
    for colors, kinds in ((semantic, 3), (instance, 4)):
        assert colors.dtype == np.uint8
        assert not colors[:3].any()
        assert len(np.unique(colors, axis=0)) == kinds
        assert (colors[5] == colors[6]).all()
    assert (semantic[3] == semantic[4]).all()
    assert (instance[3] != instance[4]).any()


def test_similar_numbers_have_different_colors() -> None:
    simulation = running(*(
        labelled(f'm{number}', UNIT, pose(), 1 + number % 2) for number in range(40)
    ))
    geoms = np.array([[
        geom for geom, owner in enumerate(simulation.geoms) if owner.visual
    ]], np.int32)
    colors = boxes.colored_map(simulation, geoms, 'instance')[0].astype(int)
    apart = np.abs(colors[:, None] - colors[None]).max(axis=-1) + 999 * np.eye(40, dtype=int)
    assert apart.min() > 4


def test_as_messages() -> None:
    pytest.importorskip('vision_msgs.msg')
    from robot_qa.embedded import truth_messages

    simulation = running(labelled('crate_3', world.Box((1.0, 2.0, 1.0)), pose(4.5, -5.0, 0.0)))
    truth = detections(simulation, CAMERA, ORIGIN, seen(simulation))
    message = truth_messages.detections_2d(1_500_000_000, 'optical', truth)
    assert (message.header.stamp.sec, message.header.stamp.nanosec) == (1, 500_000_000)
    one, = message.detections
    assert (one.id, one.header.frame_id) == ('crate_3', 'optical')
    # The front, at 4 m, is outside; of the left side, from 4 m to 5 m to the right, up to 45 deg.
    box = truth[0].visible
    assert (box.x_max, one.bbox.size_x) == (320, 320 - box.x_min)
    assert one.bbox.center.position.x == (box.x_min + 320) / 2
    assert one.bbox.center.position.y == 120.0
    assert one.bbox.size_y == box.y_max - box.y_min
    scores = {one.hypothesis.class_id: one.hypothesis.score for one in one.results}
    assert one.results[0].hypothesis.class_id == 'crate'
    assert scores == {'crate': 1.0, 'visibility': 1.0, 'truncation': truth[0].truncation}

    three, = truth_messages.detections_3d(0, 'world', boxes_3d(simulation)).detections
    for place in (three.bbox.center, three.results[0].pose.pose):
        assert (place.position.x, place.position.y, place.orientation.w) == (4.5, -5.0, 1.0)
    assert (three.bbox.size.x, three.bbox.size.y, three.bbox.size.z) == (1.0, 2.0, 1.0)
    assert (three.id, three.results[0].hypothesis.class_id) == ('crate_3', 'crate')
