"""What cameras see: shapes where pinhole geometry has them, by both renderers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

pytest.importorskip('mujoco')

from robot_qa.embedded import render, world
from robot_qa.embedded.images import add_noise, expose
from robot_qa.embedded.picture import Frame, Renderer
from robot_qa.embedded.render import make_renderer, why_no_egl
from robot_qa.embedded.simulation import Simulation
from robot_qa.errors import RobotQaError
from robot_qa.geometry import Poses
from worlds_in_code import block, ground, link, model, pose, scene

ALL = frozenset(['color', 'depth', 'geoms'])
# 100 columns at 90 degrees: the focal length is 50 pixels.
CAMERA = world.CameraPart(width=100, height=80, fov=np.pi / 2, near=0.1, far=20.0)
SUN = world.Light('sun', 'directional', pose(0, 0, 10), diffuse=(0.5, 0.5, 0.5, 1.0),
                  specular=(0.0, 0.0, 0.0, 1.0), cast_shadows=True)
NO_EGL = why_no_egl()
BACKENDS = [
    pytest.param('gl', marks=pytest.mark.skipif(NO_EGL is not None, reason=f'no EGL: {NO_EGL}')),
    'rays',
]


@pytest.fixture(params=BACKENDS, scope='module')
def renderer(request: pytest.FixtureRequest) -> Renderer:
    return make_renderer(request.param)


def painted(name: str, shape: world.Geometry, at: Poses, **material: object) -> world.Model:
    look = world.Material(**material)  # type: ignore[arg-type]
    seen = world.Visual('visual', pose(), shape, look)
    return model(name, [link('link', visuals=(seen,))], at, static=True)


def pixels_of(simulation: Simulation, seen: Frame, name: str) -> NDArray[np.bool_]:
    assert seen.geoms is not None
    numbers = [i for i, one in enumerate(simulation.geoms) if one.model == name]
    assert all(simulation.geoms[i].visual for i in np.unique(seen.geoms) if i >= 0)
    return np.isin(seen.geoms, numbers)


def box_of(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """First and last column, first and last row."""
    rows, columns = np.nonzero(mask)
    return columns.min(), columns.max(), rows.min(), rows.max()


# The front of each block lies 2 m ahead. Its edge at y lies at column 50 - 50 * y / 2.
@pytest.mark.parametrize(('at', 'camera', 'expected', 'depth'), [
    # y from -0.39 to 0.39, z from -0.19 to 0.19: columns 40.25 to 59.75, rows 35.25 to 44.75.
    (pose(2.5), pose(), (40, 59, 35, 44), 2.0),
    # To the left and down: from column 20.25 (y = 1.19) and to row 55.25 (z = -0.61). The sides
    # towards the middle are seen to their far ends, 3 m ahead: column 43.17 and row 43.83.
    (pose(2.5, 0.8, -0.42), pose(), (20, 42, 44, 54), 2.0),
    # The camera lies on its right side: its left is up, and what is to the left is below.
    (pose(2.5), pose(roll=np.pi / 2), (45, 54, 30, 49), 2.0),
    # y = 1.19 is row 69.75, and y = 0.41 at 3 m row 46.83.
    (pose(2.5, 0.8, 0.0), pose(roll=np.pi / 2), (45, 54, 47, 69), 2.0),
    # From the side: 0.5 m at 1.9 m are 13.16 pixels, and 0.19 m are 5.
    (pose(0.0, 2.29), pose(yaw=np.pi / 2), (37, 62, 35, 44), 1.9),
])
def test_a_box_is_where_geometry_has_it(
    renderer: Renderer, at: Poses, camera: Poses, expected: tuple[int, int, int, int],
    depth: float,
) -> None:
    simulation = Simulation(scene(block('box', world.Box((1.0, 0.78, 0.38)), at)))
    seen = renderer.render(simulation, CAMERA, camera, ALL)
    mask = pixels_of(simulation, seen, 'box')
    assert seen.depth is not None and seen.color is not None
    assert box_of(mask) == expected
    assert seen.depth[mask].min() == pytest.approx(depth, abs=1e-3)
    assert np.all(np.isinf(seen.depth[~mask])) and np.all(seen.depth[~mask] > 0)
    assert np.all(seen.color[~mask] == 178)


def test_depth_runs_along_the_axis_and_ends_at_near_and_far(renderer: Renderer) -> None:
    wall = scene(block('wall', world.Box((1.0, 50.0, 50.0)), pose(5.5)))
    simulation = Simulation(wall)

    def depth(**part: float) -> NDArray[np.float32]:
        seen = renderer.render(simulation, replace(CAMERA, **part), pose(), frozenset(['depth']))
        assert seen.depth is not None and seen.color is None and seen.geoms is None
        return seen.depth

    np.testing.assert_allclose(depth(), 5.0, atol=1e-3)
    assert np.all(depth(far=4.9) == np.inf)
    assert np.all(depth(depth_far=4.9) == np.inf)
    assert np.all(depth(near=5.1) == -np.inf)
    assert np.all(depth(depth_near=5.1) == -np.inf)


def test_what_is_nearer_than_near_hides_nothing(renderer: Renderer) -> None:
    """And from inside a shape one looks out, as Gazebo draws no backs."""
    simulation = Simulation(scene(
        block('shell', world.Box((1.0, 1.0, 1.0)), pose()),
        block('lens', world.Sphere(0.02), pose(0.05)),
        block('wall', world.Box((1.0, 50.0, 50.0)), pose(5.5)),
    ))
    seen = renderer.render(simulation, CAMERA, pose(), ALL)
    assert np.all(pixels_of(simulation, seen, 'wall'))
    assert seen.depth is not None
    # The lens' outline: 0.02 m at 0.05 m is a slope of 0.436, or 21.8 pixels.
    near = seen.depth == -np.inf
    assert box_of(near)[:2] == (28, 71)
    np.testing.assert_allclose(seen.depth[~near], 5.0, atol=1e-3)


def test_light_shadow_and_background(renderer: Renderer) -> None:
    dull = {'ambient': (0.4,) * 4, 'diffuse': (0.4, 0.4, 0.4, 1.0)}
    simulation = Simulation(scene(
        painted('floor', world.Plane((0.0, 0.0, 1.0), (60.0, 60.0)), pose(), **dull),
        painted('roof', world.Box((2.0, 2.0, 0.1)), pose(0.0, 0.0, 3.0), **dull),
        lights=(SUN,), ambient=(0.4, 0.4, 0.4, 1.0), background=(0.2, 0.4, 0.6, 1.0),
    ))
    down = pose(z=2.0, pitch=np.pi / 2)

    def middle_and_edge() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        color = renderer.render(simulation, CAMERA, down, ALL).color
        assert color is not None
        return color[40, 50], color[40, 5]

    # 0.4 of ambient light in the shadow, 0.4 + 0.5 in the sun, on a surface of 0.4.
    shadow, sun = middle_and_edge()
    np.testing.assert_allclose(shadow, 255 * 0.4 * 0.4, atol=1.5)
    np.testing.assert_allclose(sun, 255 * 0.4 * 0.9, atol=1.5)
    for scale in (0.5, 1.1, 0.0):
        simulation.set_light_scale(scale)
        np.testing.assert_allclose(middle_and_edge()[1], 255 * 0.36 * scale, atol=1.5)
    away = renderer.render(simulation, CAMERA, pose(z=50.0), ALL)
    assert away.color is not None
    np.testing.assert_array_equal(away.color[0, 0], [51, 102, 153])


@pytest.fixture(scope='module')
def letter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A red L on white: neither mirrored nor turned it looks the same."""
    image = np.full((32, 32, 3), 255, np.uint8)
    image[4:28, 4:10] = image[22:28, 4:24] = (255, 0, 0)
    file = tmp_path_factory.mktemp('textures') / 'l.png'
    Image.fromarray(image).save(file)
    return file


@pytest.mark.parametrize(('shape', 'eye'), [
    (world.Box((1.0, 1.0, 1.0)), pose(-1.5)),
    (world.Box((1.0, 1.0, 1.0)), pose(0.0, 1.5, yaw=-np.pi / 2)),
    # A picture's top lies at a plane's y: with y up it is seen from above.
    (world.Plane((0.0, 0.0, 1.0), (1.0, 1.0)), pose(z=1.0, pitch=np.pi / 2, yaw=np.pi / 2)),
])
def test_textures_are_the_right_way_round(
    renderer: Renderer, letter: Path, shape: world.Geometry, eye: Poses,
) -> None:
    simulation = Simulation(scene(
        painted('letter', shape, pose(), texture=letter), ambient=(1.0, 1.0, 1.0, 1.0)))
    color = renderer.render(simulation, CAMERA, eye, ALL).color
    assert color is not None
    # One metre at a distance of 1 m: 50 pixels from column 25 and row 15.
    red = (color[15:65, 25:75, 0] > 200) & (color[15:65, 25:75, 1] < 128)
    expected = np.zeros((50, 50), bool)
    scale = 50 / 32
    a, b, c, d, e = (round(x * scale) for x in (4, 10, 22, 24, 28))
    expected[a:e, a:b] = expected[c:e, a:d] = True
    assert (red != expected).mean() < 0.03


def test_a_point_light_falls_off_with_distance(renderer: Renderer) -> None:
    """At 2 m, 1 / (1 + 0.25 * 2^2) is one half of its 0.8."""
    lamp = world.Light('lamp', 'point', pose(), diffuse=(0.8, 0.8, 0.8, 1.0),
                       specular=(0.0, 0.0, 0.0, 1.0), attenuation=(1.0, 0.0, 0.25))
    # So small that all its corners are lit as its middle is.
    plate = painted('plate', world.Box((0.1, 0.1, 0.1)), pose(2.05),
                    ambient=(1.0, 1.0, 1.0, 1.0), diffuse=(1.0, 1.0, 1.0, 1.0))
    lit, dark = (
        renderer.render(Simulation(replace(scene(plate), lights=lights, ambient=(0, 0, 0, 1))),
                        CAMERA, pose(), frozenset(['color'])).color
        for lights in ((lamp,), ())
    )
    assert lit is not None and dark is not None
    assert int(lit[40, 50, 0]) - int(dark[40, 50, 0]) == pytest.approx(0.4 * 255, abs=4)



def test_what_is_spawned_is_seen_and_what_is_deleted_is_not(
    renderer: Renderer, letter: Path,
) -> None:
    simulation = Simulation(scene(ground()))
    assert not pixels_of(
        simulation, renderer.render(simulation, CAMERA, pose(z=1.0), ALL), 'new').any()
    simulation.spawn(painted('new', world.Box((0.98,) * 3), pose(2.5, 0, 1), texture=letter))
    seen = renderer.render(simulation, CAMERA, pose(z=1.0), ALL)
    # 0.49 m at 2.01 m: 12.19 pixels to each side.
    assert box_of(pixels_of(simulation, seen, 'new')) == (38, 61, 28, 51)
    again = renderer.render(simulation, CAMERA, pose(z=1.0), ALL)
    for name in ALL:
        assert getattr(seen, name).tobytes() == getattr(again, name).tobytes()
    simulation.delete('new')
    gone = renderer.render(simulation, replace(CAMERA, width=900, height=700), pose(z=1.0), ALL)
    assert gone.geoms is not None and gone.geoms.shape == (700, 900)
    assert not pixels_of(simulation, gone, 'new').any()


@pytest.mark.skipif(NO_EGL is not None, reason=f'no EGL: {NO_EGL}')
def test_backends_agree() -> None:
    shapes = [
        world.Box((0.5, 0.5, 0.5)), world.Sphere(0.3), world.Cylinder(0.3, 0.6),
        world.Capsule(0.2, 0.4), world.Ellipsoid((0.2, 0.3, 0.4)),
    ]
    simulation = Simulation(scene(ground(), *(
        block(f'{i}', shape, pose(3.0, 1.6 - 0.8 * i, 0.5, roll=0.3, pitch=0.2, yaw=0.5))
        for i, shape in enumerate(shapes)
    ), lights=(SUN,)))
    camera = replace(CAMERA, width=320, height=240)
    one, two = (
        make_renderer(name).render(simulation, camera, pose(z=0.8, roll=0.1, pitch=0.1), ALL)
        for name in ('gl', 'rays')
    )
    assert one.geoms is not None and one.depth is not None
    assert two.geoms is not None and two.depth is not None
    for i in range(len(shapes)):
        boxes = [box_of(pixels_of(simulation, seen, f'{i}')) for seen in (one, two)]
        assert np.abs(np.subtract(*boxes)).max() <= 1
    assert (one.geoms == two.geoms).mean() > 0.995
    # Curved shapes are made of facets by OpenGL.
    flat = (one.geoms == two.geoms) & (
        pixels_of(simulation, two, '0') | pixels_of(simulation, two, 'ground'))
    with np.errstate(invalid='ignore'):
        apart = np.abs(one.depth - two.depth)[flat & np.isfinite(two.depth)]
    assert np.percentile(apart, 99) < 1e-3 and len(apart) > 10000


def test_rays_stand_in_where_egl_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, 'why_no_egl', lambda: 'no driver')
    assert make_renderer().backend == 'rays (no EGL: no driver)'
    assert make_renderer('rays').backend == 'rays'
    with pytest.raises(RobotQaError, match='no EGL to render with: no driver'):
        make_renderer('gl')


def test_exposure_is_linear_and_clipped() -> None:
    color = np.arange(256, dtype=np.uint8).reshape(1, 256)
    np.testing.assert_array_equal(expose(color, 1.0), color)
    np.testing.assert_array_equal(expose(color, 2.0)[0, [0, 100, 127, 128, 255]],
                                  [0, 200, 254, 255, 255])
    np.testing.assert_array_equal(expose(color, 0.5)[0, [0, 100, 254]], [0, 50, 127])


def test_noise_has_its_mean_and_spread() -> None:
    grey = np.full((100, 100, 3), 100, np.uint8)
    noise = world.Noise(mean=0.1, stddev=0.04)
    noisy = add_noise(grey, noise, np.random.default_rng(1))
    # 30,000 values: their mean is sure to 10.2 / 173 = 0.06.
    assert noisy.mean() == pytest.approx(125.5, abs=0.3)
    assert noisy.std() == pytest.approx(10.2, abs=0.2)
    np.testing.assert_array_equal(noisy, add_noise(grey, noise, np.random.default_rng(1)))
    np.testing.assert_array_equal(
        add_noise(grey, world.Noise(), np.random.default_rng(1)), grey)
    bright = add_noise(np.full((10, 10, 3), 250, np.uint8), noise, np.random.default_rng(1))
    assert bright.min() > 200
