"""SDF worlds: poses and inertias worked out by hand, every mistake with its place."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

trimesh = pytest.importorskip('trimesh')

from robot_qa.embedded.sdf import load_model, load_world  # noqa: E402
from robot_qa.embedded.world import (  # noqa: E402
    Box,
    Capsule,
    Cylinder,
    Ellipsoid,
    Inertial,
    Material,
    Mesh,
    Model,
    Noise,
    Origin,
    Plane,
    Sphere,
    World,
)
from robot_qa.errors import Problem, RobotQaError, SpecError  # noqa: E402
from robot_qa.geometry import Poses, roll_pitch_yaw  # noqa: E402

HALF = math.pi / 2
UNIT = '<visual name="v"><geometry><box><size>1 1 1</size></box></geometry></visual>'


@pytest.fixture(autouse=True)
def _no_search_path(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ('GZ_SIM_RESOURCE_PATH', 'SDF_PATH', 'AMENT_PREFIX_PATH'):
        monkeypatch.delenv(name, raising=False)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def world(folder: Path, body: str, version: str = '1.9') -> World:
    """Load a world whose body begins at line 3."""
    text = f'<sdf version="{version}">\n<world name="w">\n{body}\n</world>\n</sdf>\n'
    return load_world(write(folder / 'w.sdf', text))


def model(folder: Path, body: str, version: str = '1.9') -> Model:
    """Load a world of one model whose body begins at line 4."""
    return world(folder, f'<model name="m">\n{body}\n</model>', version).models[0]


def add_model(folder: Path, name: str, body: str, version: str = '1.9') -> Path:
    home = folder / 'models' / name
    write(home / 'model.config', '<model><sdf version="1.5">old.sdf</sdf>'
          '<sdf version="1.9">model.sdf</sdf><sdf version="1.99">new.sdf</sdf></model>')
    text = f'<sdf version="{version}">\n<model name="{name}">\n{body}\n</model>\n</sdf>\n'
    return write(home / 'model.sdf', text)


def flat(pose: Poses) -> list[float]:
    """Return x, y, z, roll, pitch, yaw."""
    return [*pose.translation, *roll_pitch_yaw(pose.rotation)]


def near(values: Any) -> Any:
    return pytest.approx(values, abs=1e-9)


def link_poses(one: Model) -> dict[str, list[float]]:
    return {link.name: flat(link.pose) for link in one.links}


def test_poses_relative_to_frames_links_and_nested_models(tmp_path: Path) -> None:
    one = model(tmp_path, f"""
    <pose>1 2 0 0 0 {HALF}</pose>
    <link name="a"><pose>1 0 0 0 0 0</pose></link>
    <frame name="f" attached_to="a"><pose>0 0 1 0 0 {HALF}</pose></frame>
    <link name="b"><pose relative_to="f">2 0 0 0 0 0</pose></link>
    <link name="c"><pose relative_to="n::x">0 0 3 0 0 0</pose></link>
    <link name="d"><pose relative_to="__model__">7 0 0 0 0 0</pose></link>
    <model name="n"><pose relative_to="f">1 0 0 0 0 0</pose>
      <link name="x"><pose>0 4 0 0 0 0</pose></link>
      <model name="k"><pose relative_to="x">0 0 9 0 0 0</pose><link name="y"/></model>
    </model>""")
    assert flat(one.pose) == near([1, 2, 0, 0, 0, HALF])
    # f stands at (1, 0, 1) and looks along y: its x is y, its y is -x.
    assert link_poses(one) == {
        'a': near([1, 0, 0, 0, 0, 0]),
        'b': near([1, 2, 1, 0, 0, HALF]),
        'c': near([-3, 1, 4, 0, 0, HALF]),
        'd': near([7, 0, 0, 0, 0, 0]),
        'n::x': near([-3, 1, 1, 0, 0, HALF]),
        'n::k::y': near([-3, 1, 10, 0, 0, HALF]),
    }
    assert one.canonical_link == 'a'


def test_poses_in_a_link_and_the_ways_to_write_a_rotation(tmp_path: Path) -> None:
    one = model(tmp_path, f"""
    <frame name="f"><pose>0 0 5 0 0 0</pose></frame>
    <link name="a"><pose degrees="true">1 0 0 0 0 90</pose>
      <collision name="c"><pose relative_to="f">0 0 0 0 0 0</pose>
        <geometry><sphere><radius>1</radius></sphere></geometry></collision>
      <light name="l" type="point"><pose rotation_format="quat_xyzw">1 2 3 0 0 2 0</pose></light>
      <sensor name="s" type="imu"><pose>0 0 1 0.1 0.2 0.3</pose></sensor>
      {UNIT}
    </link>""")
    link = one.links[0]
    assert flat(link.pose) == near([1, 0, 0, 0, 0, HALF])
    assert flat(link.collisions[0].pose) == near([0, 1, 5, 0, 0, -HALF])
    assert flat(link.lights[0].pose)[:5] == near([1, 2, 3, 0, 0])
    assert abs(flat(link.lights[0].pose)[5]) == near(math.pi)
    assert flat(one.sensors[0].pose) == near([0, 0, 1, 0.1, 0.2, 0.3])
    assert flat(link.visuals[0].pose) == near([0] * 6)


def test_poses_of_models_in_the_world_and_placement_frames(tmp_path: Path) -> None:
    add_model(tmp_path, 'crate', f"""<pose>9 9 9 0 0 0</pose>
    <frame name="grip"><pose>1 0 0 0 0 {HALF}</pose></frame><link name="body"/>""")
    found = world(tmp_path, f"""
    <frame name="shelf"><pose>5 0 1 0 0 0</pose></frame>
    <include><uri>model://crate</uri></include>
    <include><uri>models/crate</uri><name>one</name><pose>1 0 0 0 0 0</pose>
      <static>true</static></include>
    <include><uri>models/crate/model.sdf</uri><name>two</name>
      <placement_frame>grip</placement_frame><pose relative_to="shelf">0 0 0 0 0 0</pose></include>
    <include><uri>file://{tmp_path}/models/crate</uri><name>three</name>
      <pose relative_to="two::grip">0 2 0 0 0 0</pose></include>
    <model name="four" placement_frame="l"><pose>0 0 0 0 0 0</pose>
      <link name="l"><pose>0 0 3 0 0 0</pose></link></model>""")
    assert {one.name: flat(one.pose) for one in found.models} == {
        'crate': near([9, 9, 9, 0, 0, 0]),  # its own pose, where the include has none
        'one': near([1, 0, 0, 0, 0, 0]),
        'two': near([5, 1, 1, 0, 0, -HALF]),  # so that grip comes to (5, 0, 1), unturned
        'three': near([5, 2, 1, 0, 0, 0]),
        'four': near([0, 0, -3, 0, 0, 0]),
    }
    assert [one.static for one in found.models] == [False, True, False, False, False]
    assert found.models[2].uri == 'models/crate/model.sdf'


def test_a_merged_model_brings_its_names_without_a_scope(tmp_path: Path) -> None:
    add_model(tmp_path, 'arm', """
    <link name="base"/><link name="tip"><pose relative_to="__model__">0 0 2 0 0 0</pose></link>
    <frame name="tool" attached_to="tip"><pose>0 0 1 0 0 0</pose></frame>
    <joint name="j" type="revolute"><parent>base</parent><child>tip</child>
      <axis><xyz expressed_in="__model__">0 0 1</xyz></axis></joint>
    <plugin name="gz::sim::systems::JointStatePublisher" filename="f"/>""")
    one = model(tmp_path, f"""
    <link name="cart"/>
    <include merge="true"><uri>model://arm</uri><pose>1 0 0 0 {HALF} 0</pose></include>
    <link name="cup"><pose relative_to="tool">0 0 0 0 0 0</pose></link>
    <joint name="fix" type="fixed"><parent>cart</parent><child>base</child></joint>
    <joint name="hold" type="fixed"><parent>tool</parent><child>cup</child></joint>
    <include><uri>model://arm</uri><name>other</name><pose>0 5 0 0 0 0</pose></include>""")
    poses = link_poses(one)
    assert set(poses) == {'cart', 'cup', 'base', 'tip', 'other::base', 'other::tip'}
    assert poses['tip'][:3] == near([3, 0, 0]) and poses['cup'][:3] == near([4, 0, 0])
    assert poses['other::tip'] == near([0, 5, 2, 0, 0, 0])
    joints = {each.name: each for each in one.joints}
    assert (joints['hold'].parent, joints['fix'].child) == ('tip', 'base')
    assert (joints['j'].parent, joints['other::j'].child) == ('base', 'other::tip')
    assert joints['j'].axes[0].xyz == near((0, 0, 1))  # model and joint are turned alike
    assert [each.scope for each in one.plugins] == ['', 'other::']


def test_joints_their_pose_axis_and_limits(tmp_path: Path) -> None:
    one = model(tmp_path, f"""
    <link name="a"/><link name="b"><pose>0 0 1 0 0 {HALF}</pose></link>
    <frame name="g" attached_to="b"><pose>1 0 0 0 0 0</pose></frame>
    <joint name="j" type="revolute"><parent>a</parent><child>g</child>
      <axis><xyz expressed_in="__model__">0 2 0</xyz>
        <limit><lower>-1</lower><upper>1e16</upper><effort>-1</effort><velocity>3</velocity></limit>
        <dynamics><damping>0.5</damping><friction>0.25</friction>
          <spring_stiffness>7</spring_stiffness><spring_reference>0.1</spring_reference></dynamics>
      </axis></joint>
    <joint name="k" type="fixed"><parent>world</parent><child>a</child>
      <pose relative_to="b">0 0 1 0 0 0</pose></joint>""")
    j, k = one.joints
    axis = j.axes[0]
    assert (j.parent, j.child) == ('a', 'b')
    assert flat(j.pose) == near([1, 0, 0, 0, 0, 0])  # in the link b, not in the frame g
    assert axis.xyz == near((1, 0, 0))  # y of the model is x of b
    assert (axis.lower, axis.upper, axis.effort, axis.velocity) == (-1, math.inf, math.inf, 3)
    assert (axis.damping, axis.friction) == (0.5, 0.25)
    assert (axis.spring_stiffness, axis.spring_reference) == (7, 0.1)
    assert (k.parent, k.kind, k.axes) == ('world', 'fixed', ())
    assert flat(k.pose) == near([0, 0, 2, 0, 0, HALF])


@pytest.mark.parametrize('version, flag, expected', [
    ('1.6', '', (0, 1, 0)),
    ('1.6', '<use_parent_model_frame>1</use_parent_model_frame>', (1, 0, 0)),
    ('1.9', '<use_parent_model_frame>1</use_parent_model_frame>', (0, 1, 0)),
    ('1.4', '', (1, 0, 0)),
])
def test_axes_of_older_versions(
    tmp_path: Path, version: str, flag: str, expected: tuple[float, ...]
) -> None:
    one = model(tmp_path, f"""<link name="a"/><link name="b"><pose>0 0 1 0 0 {HALF}</pose></link>
    <joint name="j" type="continuous"><parent>a</parent><child>b</child>
      <axis><xyz>0 1 0</xyz><limit><lower>0</lower><upper>1</upper></limit>{flag}</axis>
    </joint>""", version)
    assert one.joints[0].axes[0].xyz == near(expected)
    assert one.joints[0].axes[0].lower == -math.inf


def test_kinds_of_joints(tmp_path: Path) -> None:
    kinds = ['prismatic', 'ball', 'universal', 'revolute2', 'screw', 'gearbox']
    links = ''.join(f'<link name="l{i}"/>' for i in range(7))
    joints = '\n'.join(
        f'<joint name="{kind}" type="{kind}"><parent>l{i}</parent><child>l{i + 1}</child>'
        '<axis><xyz>1 0 0</xyz></axis><axis2><xyz>0 1 0</xyz></axis2></joint>'
        for i, kind in enumerate(kinds))
    found = world(tmp_path, f'<model name="m">{links}\n{joints}</model>')
    assert [(one.name, one.kind, len(one.axes)) for one in found.models[0].joints] == [
        ('prismatic', 'prismatic', 1), ('ball', 'ball', 0), ('universal', 'universal', 2),
        ('revolute2', 'universal', 2)]
    assert [(one.line, one.message) for one in found.warnings] == [
        (7, 'a joint of type "revolute2" is taken as "universal"'),
        (8, 'a joint of type "screw" is not represented: left out'),
        (9, 'a joint of type "gearbox" is not represented: left out')]


def test_a_static_model_in_one_that_moves_is_held_by_the_world(tmp_path: Path) -> None:
    one = model(tmp_path, """<link name="a"/>
    <model name="n"><static>1</static><link name="x"/><link name="y"/>
      <joint name="j" type="fixed"><parent>x</parent><child>y</child></joint></model>""")
    assert [(each.kind, each.parent, each.child) for each in one.joints] == [
        ('fixed', 'world', 'n::x'), ('fixed', 'world', 'n::y')]
    assert not one.static


def test_joints_of_the_world(tmp_path: Path) -> None:
    found = world(tmp_path, """<model name="m"><pose>0 0 2 0 0 0</pose><link name="a"/></model>
    <model name="n"><link name="b"/></model>
    <joint name="j" type="fixed"><parent>world</parent><child>m::a</child></joint>
    <joint name="k" type="fixed"><parent>n</parent><child>m</child></joint>""")
    joint, = found.models[0].joints
    assert (joint.parent, joint.child, flat(joint.pose)) == ('world', 'a', near([0] * 6))
    assert [(one.line, one.message) for one in found.warnings] == [
        (6, 'a joint between two models is not represented: left out')]


def test_a_loop_of_joints_is_named(tmp_path: Path) -> None:
    found = world(tmp_path, '<model name="m"><link name="a"/><link name="b"/><link name="c"/>\n'
                  + '\n'.join(f'<joint name="{p}{c}" type="fixed"><parent>{p}</parent>'
                              f'<child>{c}</child></joint>' for p, c in ('ab', 'bc', 'ca'))
                  + '</model>')
    assert [str(one) for one in found.warnings] == [
        f'{tmp_path}/w.sdf:6:1: the joint "ca" closes a loop, which is held only approximately']


BOX = '<geometry><box><size>{}</size></box></geometry>'


def inertia(folder: Path, body: str) -> Inertial:
    found = model(folder, f'<link name="l">{body}</link>').links[0].inertial
    assert found is not None
    return found


def test_inertia_given_and_left_out(tmp_path: Path) -> None:
    one = inertia(tmp_path, """<inertial><mass>2</mass><pose>0 0 1 0 0 0</pose><inertia>
      <ixx>0.4</ixx><iyy>0.5</iyy><izz>0.6</izz><ixy>0.01</ixy><ixz>0.02</ixz><iyz>0.03</iyz>
      </inertia></inertial>""")
    assert (one.mass, one.moments, one.products) == (2, (0.4, 0.5, 0.6), (0.01, 0.02, 0.03))
    assert flat(one.pose) == near([0, 0, 1, 0, 0, 0])
    only_mass = inertia(tmp_path, '<inertial><mass>3</mass></inertial>')
    assert (only_mass.mass, only_mass.moments) == (3, (1, 1, 1))
    assert model(tmp_path, '<link name="l"/>').links[0].inertial is None


def test_inertia_of_two_boxes_turned_and_apart(tmp_path: Path) -> None:
    body = f"""<inertial auto="true">{{}}<density>6</density></inertial>
      <collision name="a"><pose>0 0 0 0 0 {HALF}</pose>{BOX.format('1 2 1')}</collision>
      <collision name="b"><density>12</density><pose>3 0 0 0 0 0</pose>{BOX.format('1 1 1')}
      </collision>"""
    one = inertia(tmp_path, body.format(''))
    # 12 kg each, 3 m apart. a, turned: 2 along x, 1 along y and z: ixx 2, iyy 5, izz 5.
    # b: 2 each. Both 1.5 m from the middle in x: 2 * 12 * 1.5**2 = 54 more about y and z.
    assert one.mass == near(24)
    assert flat(one.pose) == near([1.5, 0, 0, 0, 0, 0])
    assert one.moments == near((4, 61, 61)) and one.products == near((0, 0, 0))
    scaled = inertia(tmp_path, body.format('<mass>48</mass>'))
    assert scaled.mass == 48 and scaled.moments == near((8, 122, 122))


@pytest.mark.parametrize('shape, solid', [
    ('<sphere><radius>0.5</radius></sphere>', trimesh.creation.icosphere(5, 0.5)),
    ('<ellipsoid><radii>1 2 3</radii></ellipsoid>',
     trimesh.creation.icosphere(5).apply_scale((1, 2, 3))),
    ('<cylinder><radius>1</radius><length>3</length></cylinder>',
     trimesh.creation.cylinder(1, 3, sections=256)),
    ('<capsule><radius>1</radius><length>3</length></capsule>',
     trimesh.creation.capsule(3, 1, count=(128, 128))),
])
def test_inertia_of_round_shapes_against_that_of_meshes(
    tmp_path: Path, shape: str, solid: Any
) -> None:
    one = inertia(tmp_path, '<inertial auto="1"/><collision name="c"><density>10</density>'
                  f'<geometry>{shape}</geometry></collision>')
    assert one.mass == pytest.approx(10 * solid.volume, rel=2e-3)
    assert one.moments == pytest.approx(10 * np.diag(solid.moment_inertia), rel=4e-3)


def test_inertia_of_a_mesh(tmp_path: Path) -> None:
    brick = trimesh.creation.box((1, 1, 1))
    brick.apply_translation((0.5, 0, 0))
    brick.export(tmp_path / 'brick.obj')
    one = inertia(tmp_path, '<inertial auto="1"/><collision name="c"><density>12</density>'
                  '<geometry><mesh><uri>brick.obj</uri><scale>2 1 1</scale></mesh></geometry>'
                  '</collision>')
    assert one.mass == near(24) and flat(one.pose)[:3] == near([1, 0, 0])
    assert one.moments == near((4, 10, 10))


@pytest.mark.parametrize('text, shape', [
    ('<box><size>1 2 3</size></box>', Box((1, 2, 3))),
    ('<sphere><radius>2</radius></sphere>', Sphere(2)),
    ('<cylinder><radius>1</radius><length>2</length></cylinder>', Cylinder(1, 2)),
    ('<capsule><radius>1</radius><length>2</length></capsule>', Capsule(1, 2)),
    ('<ellipsoid><radii>1 2 3</radii></ellipsoid>', Ellipsoid((1, 2, 3))),
    ('<plane><normal>0 2 0</normal><size>5 6</size></plane>', Plane((0, 1, 0), (5, 6))),
    ('<plane/>', Plane((0, 0, 1), (1, 1))),
])
def test_shapes(tmp_path: Path, text: str, shape: object) -> None:
    one = model(tmp_path, f'<link name="l"><visual name="v"><geometry>{text}</geometry></visual>'
                f'<collision name="v"><geometry>{text}</geometry></collision></link>')
    assert one.links[0].visuals[0].geometry == one.links[0].collisions[0].geometry == shape


def test_meshes_and_textures_are_found_from_their_model_and_by_every_scheme(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = add_model(tmp_path, 'crate', '\n'.join(
        f'<link name="{i}"><visual name="v"><geometry><mesh><uri>{uri}</uri>'
        '<scale>1 2 -3</scale><submesh><name>lid</name><center>true</center></submesh>'
        '</mesh></geometry><material><pbr><metal><albedo_map>wood.png</albedo_map></metal></pbr>'
        '</material></visual></link>'
        for i, uri in enumerate(('mesh/a.obj', 'model://crate/mesh/a.obj', 'package://pkg/a.obj'))
    )).parent
    mesh = write(home / 'mesh' / 'a.obj', '')
    picture = write(home / 'wood.png', '')
    shared = write(tmp_path / 'ros' / 'share' / 'pkg' / 'a.obj', '')
    monkeypatch.setenv('AMENT_PREFIX_PATH', f'/nowhere:{tmp_path}/ros')
    one = world(tmp_path, '<include><uri>model://crate</uri></include>').models[0]
    visuals = [link.visuals[0] for link in one.links]
    assert [each.geometry for each in visuals] == [
        Mesh(file, (1, 2, -3), 'lid', True) for file in (mesh, mesh, shared)]
    white = (1.0, 1.0, 1.0, 1.0)
    assert visuals[0].material == Material(
        ambient=white, diffuse=white, specular=(0, 0, 0, 1), texture=picture)


def test_the_search_path_comes_before_the_world_s_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_model(tmp_path, 'crate', '<link name="near"/>')
    add_model(tmp_path / 'far', 'crate', '<link name="far"/>')
    body = '<include><uri>model://crate</uri></include>'
    assert world(tmp_path, body).models[0].links[0].name == 'near'
    for name in ('GZ_SIM_RESOURCE_PATH', 'SDF_PATH'):
        with monkeypatch.context() as patch:
            patch.setenv(name, f'/nowhere:{tmp_path}/far/models')
            assert world(tmp_path, body).models[0].links[0].name == 'far'
            found = load_world(tmp_path / 'w.sdf', resource_paths=[])
            assert found.models[0].links[0].name == 'near'


def test_a_model_finds_itself_and_its_neighbours(tmp_path: Path) -> None:
    home = tmp_path / 'lib'
    mesh = '<link name="l"><visual name="v"><geometry><mesh><uri>{}://crate/a.obj</uri></mesh>'
    for scheme in ('model', 'package'):
        file = add_model(home, 'crate', mesh.format(scheme) + '</geometry></visual></link>')
        found = write(file.parent / 'a.obj', '')
        one = load_model(file).links[0].visuals[0].geometry
        assert one == Mesh(found, (1, 1, 1))
    add_model(home, 'crate', mesh.format('model') + '</geometry></visual></link>')
    near_by = world(tmp_path, '<include><uri>lib/models/crate</uri></include>')
    assert near_by.models[0].links[0].visuals[0].geometry == one
    pair = add_model(home, 'pair', '<include><uri>model://crate</uri></include>')
    assert load_model(pair).links[0].name == 'crate::l'


@pytest.mark.parametrize('config, expected', [
    ('<model><sdf version="1.9">gone.sdf</sdf></model>',
     'the file gone.sdf that it names does not exist'),
    ('<model><sdf version="2.0">model.sdf</sdf></model>',
     'no <sdf version="..."> with a file of SDF 1.11 or older'),
])
def test_a_model_config_that_names_no_file(tmp_path: Path, config: str, expected: str) -> None:
    home = add_model(tmp_path, 'crate', '<link name="l"/>').parent
    write(home / 'model.config', config)
    with pytest.raises(SpecError) as error:
        world(tmp_path, '<include><uri>model://crate</uri></include>')
    assert str(error.value) == f'{home}/model.config:1:1: {expected}'


def test_a_mesh_that_is_inside_out_keeps_a_positive_mass(tmp_path: Path) -> None:
    brick = trimesh.creation.box((1, 1, 1))
    brick.invert()
    brick.export(tmp_path / 'a.obj')
    one = inertia(tmp_path, '<inertial auto="1"/><collision name="c"><density>6</density>'
                  '<geometry><mesh><uri>a.obj</uri></mesh></geometry></collision>')
    assert one.mass == near(6) and one.moments == near((1, 1, 1))


def test_looks_surfaces_and_labels(tmp_path: Path) -> None:
    def label(number: int) -> str:
        return (f'<plugin name="gz::sim::systems::Label" filename="gz-sim-label-system">'
                f'<label>{number}</label></plugin>')

    one = model(tmp_path, f"""{label(1)}
    <link name="a"><enable_wind>1</enable_wind><gravity>0</gravity><kinematic>1</kinematic>
      <collision name="c">{BOX.format('1 1 1')}<surface><friction>
        <ode><mu>0.5</mu></ode><torsional><coefficient>0.1</coefficient></torsional></friction>
        <bounce><restitution_coefficient>0.3</restitution_coefficient></bounce>
        <contact><collide_bitmask>0x0f</collide_bitmask></contact></surface></collision>
      <collision name="d">{BOX.format('1 1 1')}</collision>
      <visual name="v">{BOX.format('1 1 1')}{label(3)}<transparency>0.25</transparency>
        <cast_shadows>false</cast_shadows>
        <material><diffuse>0.1 0.2 0.3 0.4</diffuse><emissive>2 0 0</emissive></material></visual>
      <visual name="w">{BOX.format('1 1 1')}</visual></link>
    <link name="b">{label(2)}{UNIT}</link>
    <model name="n"><link name="x">{UNIT}</link></model>""")
    a, b, x = one.links
    first, second = a.collisions
    assert (a.gravity, a.enable_wind, a.kinematic, b.gravity) == (False, True, True, True)
    assert (first.mu, first.mu2, first.torsional) == (0.5, 1, 0.1)
    assert (first.restitution, first.collide_bitmask) == (0.3, 15)
    assert (second.mu, second.torsional, second.collide_bitmask) == (1, None, 65535)
    assert [each.label for each in (*a.visuals, *b.visuals, *x.visuals)] == [3, 1, 2, 1]
    assert one.label == 1
    look = a.visuals[0]
    assert (look.transparency, look.cast_shadows) == (0.25, False)
    assert look.material == Material(
        (0, 0, 0, 1), (0.1, 0.2, 0.3, 0.4), (0, 0, 0, 1), (1, 0, 0, 1))
    assert a.visuals[1].material == Material()


def test_the_world_s_own_settings_and_lights(tmp_path: Path) -> None:
    write(tmp_path / 'models/sun/model.config',
          '<model><sdf version="1.6">model.sdf</sdf></model>')
    write(tmp_path / 'models/sun/model.sdf', '<sdf version="1.6"><light name="sun" '
          'type="directional"><pose>0 0 10 0 0 0</pose><direction>0 0 -2</direction></light>'
          '</sdf>')
    found = world(tmp_path, """<gravity>0 0 -1.6</gravity><magnetic_field>1 2 3</magnetic_field>
    <wind><linear_velocity>4 5 6</linear_velocity></wind>
    <physics name="a" type="x"><max_step_size>0.1</max_step_size></physics>
    <physics name="b" type="x" default="1"><max_step_size>0.002</max_step_size>
      <real_time_factor>0</real_time_factor></physics>
    <spherical_coordinates><latitude_deg>48</latitude_deg><longitude_deg>11</longitude_deg>
      <elevation>500</elevation><heading_deg>90</heading_deg></spherical_coordinates>
    <scene><ambient>0.1 0.2 0.3</ambient><background>0 0 0 1</background>
      <shadows>false</shadows></scene>
    <include><uri>model://sun</uri><name>moon</name></include>
    <light name="lamp" type="spot"><pose>1 2 3 0 0 0</pose><intensity>2</intensity>
      <light_on>0</light_on><cast_shadows>1</cast_shadows><diffuse>1 0 0</diffuse>
      <attenuation><range>20</range><constant>0.5</constant><linear>-1</linear>
        <quadratic>0.01</quadratic></attenuation>
      <spot><inner_angle>0.1</inner_angle><outer_angle>0.2</outer_angle><falloff>0.8</falloff>
      </spot></light>
    <plugin name="ignition::gazebo::systems::WindEffects" filename="x"><a b="c"> 1 </a></plugin>
    """)
    assert (found.gravity, found.magnetic_field) == ((0, 0, -1.6), (1, 2, 3))
    assert found.wind == (4, 5, 6)
    assert (found.step, found.real_time_factor) == (0.002, 0)
    assert found.origin == Origin(48, 11, 500, 90)
    assert (found.ambient, found.shadows) == ((0.1, 0.2, 0.3, 1), False)
    lamp, moon = found.lights
    assert (lamp.kind, lamp.intensity, lamp.on, lamp.cast_shadows) == ('spot', 2, False, True)
    assert (lamp.range, lamp.attenuation) == (20, (0.5, 0, 0.01))
    assert (lamp.inner_angle, lamp.outer_angle, lamp.falloff) == (0.1, 0.2, 0.8)
    assert (moon.name, moon.direction) == ('moon', (0, 0, -1)) and moon.pose.translation[2] == 10
    assert moon.attenuation == (1, 1, 0)
    plugin, = found.plugins
    parameter = plugin.find('a')
    assert plugin.name == 'WindEffects' and parameter is not None
    assert (parameter.text, parameter.attributes, parameter.place.line) == ('1', {'b': 'c'}, 19)
    assert found.warnings == ()


def test_cameras_and_lidars(tmp_path: Path) -> None:
    one = model(tmp_path, """<link name="l">
    <sensor name="eye" type="rgbd_camera"><update_rate>10</update_rate><topic>eye</topic>
      <gz_frame_id>eye_link</gz_frame_id><camera><horizontal_fov>1.5</horizontal_fov>
        <image><width>64</width><height>48</height><format>L8</format></image>
        <clip><near>0.2</near><far>9</far></clip><box_type>full_2d</box_type>
        <segmentation_type>instance</segmentation_type>
        <depth_camera><clip><near>0.3</near></clip></depth_camera>
        <optical_frame_id>eye_optical</optical_frame_id>
        <camera_info_topic>eye/info</camera_info_topic>
        <noise><type>gaussian</type><stddev>0.007</stddev></noise></camera></sensor>
    <sensor name="scan" type="gpu_lidar"><lidar><scan>
        <horizontal><samples>360</samples><min_angle>-3</min_angle><max_angle>3</max_angle>
        </horizontal><vertical><samples>2</samples><min_angle>-0.1</min_angle>
        <max_angle>0.1</max_angle></vertical></scan>
      <range><min>0.05</min><max>inf</max><resolution>0.01</resolution></range></lidar></sensor>
    <sensor name="old" type="ray"><ray><noise><type>none</type></noise></ray></sensor>
    <sensor name="plain" type="camera"/></link>""")
    eye, scan, old, plain = one.sensors
    assert (eye.kind, eye.rate_hz, eye.topic, eye.frame_id) == (
        'rgbd_camera', 10, 'eye', 'eye_link')
    part = eye.camera
    assert part is not None and plain.camera is not None and scan.lidar is not None
    assert (part.width, part.height, part.fov, part.format) == (64, 48, 1.5, 'L8')
    assert (part.near, part.far, part.depth_near, part.depth_far) == (0.2, 9, 0.3, 9)
    assert (part.segmentation, part.boxes, part.noise) == (
        'instance', 'full_2d', Noise(stddev=0.007))
    assert (part.optical_frame, part.info_topic) == ('eye_optical', 'eye/info')
    assert (plain.camera.boxes, plain.camera.depth_near) == ('visible_2d', None)
    beam = scan.lidar
    assert (scan.kind, old.kind, beam.samples, beam.vertical_samples) == ('lidar', 'lidar', 360, 2)
    assert (beam.min_angle, beam.max_angle, beam.vertical_max_angle) == (-3, 3, 0.1)
    assert (beam.min_range, beam.max_range, beam.range_resolution) == (0.05, math.inf, 0.01)
    assert old.lidar is not None and old.lidar.noise is None and scan.place.line == 14


def test_other_sensors_and_their_noise(tmp_path: Path) -> None:
    rough = '<noise type="gaussian"><stddev>0.1</stddev><bias_mean>2</bias_mean></noise>'
    one = model(tmp_path, f"""<link name="a"/>
    <model name="n"><link name="b"><pose>0 0 1 0 0 0</pose>
      <collision name="c">{BOX.format('1 1 1')}</collision>
      <sensor name="imu" type="imu"><imu><angular_velocity><y>{rough}</y></angular_velocity>
        <enable_orientation>0</enable_orientation></imu></sensor>
      <sensor name="gps" type="gps"><gps><position_sensing><horizontal><noise
        type="gaussian_quantized"><precision>0.5</precision></noise></horizontal>
        </position_sensing></gps></sensor>
      <sensor name="bump" type="contact"><contact><collision>c</collision><topic>hit</topic>
        </contact></sensor>
      <sensor name="alt" type="altimeter"><altimeter><vertical_position>{rough}
        </vertical_position></altimeter></sensor>
      <sensor name="mag" type="magnetometer"><magnetometer><z>{rough}</z></magnetometer></sensor>
    </link></model>
    <joint name="j" type="fixed"><parent>a</parent><child>n::b</child>
      <pose>1 0 0 0 0 {HALF}</pose>
      <sensor name="ft" type="force_torque"><pose>0 1 0 0 0 0</pose><force_torque>
        <frame>sensor</frame><measure_direction>parent_to_child</measure_direction>
        <force><x>{rough}</x></force></force_torque></sensor></joint>""")
    found = {each.name: each for each in one.sensors}
    gauss = Noise(stddev=0.1, bias_mean=2)
    assert (found['imu'].link, found['imu'].noises) == ('n::b', {'angular_velocity/y': gauss})
    assert not found['imu'].orientation_enabled and found['mag'].orientation_enabled
    assert (found['gps'].kind, found['gps'].noises) == (
        'navsat', {'position_sensing/horizontal': Noise(precision=0.5)})
    assert (found['bump'].contact_collisions, found['bump'].topic) == (('c',), 'hit')
    assert found['alt'].noises == {'vertical_position': gauss}
    assert found['mag'].noises == {'z': gauss}
    force = found['ft']
    assert (force.joint, force.link, force.noises) == ('j', 'n::b', {'force/x': gauss})
    assert (force.measured_in, force.measure_direction) == ('sensor', 'parent_to_child')
    assert flat(force.pose) == near([0, 0, 0, 0, 0, HALF])  # y of the joint is -x of the link


@pytest.mark.parametrize('name, filename, expected', [
    ('gz::sim::systems::DiffDrive', 'gz-sim-diff-drive-system', 'DiffDrive'),
    ('ignition::gazebo::systems::Imu', 'libignition-gazebo-imu-system.so', 'Imu'),
    ('gz::sim::v8::systems::Contact', '', 'Contact'),
    ('my_drive', 'libgz-sim8-diff-drive-system.so', 'DiffDrive'),
    ('', 'gz-sim-touchplugin-system', 'TouchPlugin'),
    ('theirs::Thing', 'libthing.so', 'theirs::Thing'),
])
def test_names_of_plugins(tmp_path: Path, name: str, filename: str, expected: str) -> None:
    plugin = f'<plugin name="{name}" filename="{filename}"/>'
    found = world(tmp_path, plugin + f'<model name="m">{plugin}<link name="l"/></model>')
    assert [one.name for one in (*found.plugins, *found.models[0].plugins)] == [expected] * 2
    unknown = expected == 'theirs::Thing'
    assert [one.message for one in found.warnings] == [
        'the plugin "theirs::Thing" has no effect'] * unknown


def test_what_is_not_represented_is_a_warning_at_its_line(tmp_path: Path) -> None:
    found = world(tmp_path, """<model name="m"><link name="l">
    <visual name="a"><geometry><heightmap><uri>h.png</uri></heightmap></geometry></visual>
    <visual name="b"><geometry><mesh><uri>https://fuel.gazebosim.org/m.dae</uri></mesh></geometry>
      <material><script><name>Gazebo/Grey</name></script></material></visual>
    <visual name="c"><geometry><plane/></geometry><material><pbr><metal>
      <albedo_map>none.png</albedo_map></metal></pbr></material></visual>
    <sensor name="s" type="thermal_camera"/>
    <sensor name="t" type="camera"><camera><triggered>true</triggered></camera></sensor>
    <sensor name="u" type="contact"><contact><collision>lid</collision></contact></sensor>
    <velocity_decay><linear>1</linear></velocity_decay>
    <gravityy>1</gravityy><gz:own/></link></model>
    <include><uri>https://fuel.gazebosim.org/x/Tree</uri></include>
    <model name="near"><pose relative_to="Tree">1 0 0 0 0 0</pose><link name="l"/></model>
    <model name="empty"/><actor name="man"/>
    <scene><sky/></scene>""", '1.99')
    searched = f'(searched {tmp_path}, {tmp_path}/models)'
    assert sorted((one.line, one.message) for one in found.warnings) == [
        (1, 'SDF 1.99 is read as far as it is like SDF 1.6 to 1.11'),
        (4, 'the shape <heightmap> is not represented: left out'),
        (5, 'the mesh "https://fuel.gazebosim.org/m.dae" is not downloaded: left out'),
        (6, 'the material script "Gazebo/Grey" has no effect, only colours have'),
        (8, f'the texture "none.png" was not found {searched}: left out'),
        (9, 'a sensor of type "thermal_camera" is not represented: left out'),
        (10, '<triggered> in <camera> has no effect'),
        (11, 'the link "l" has no collision "lid"'),
        (12, '<velocity_decay> in <link> has no effect'),
        (13, 'unknown element <gravityy> in <link>; did you mean "gravity"?'),
        (14, 'the model "https://fuel.gazebosim.org/x/Tree" is not downloaded: left out'),
        (16, '<actor> in <world> has no effect'),
        (16, 'the model "empty" has no link: left out'),
        (17, '<sky> in <scene> has no effect'),
    ]
    assert [one.name for one in found.models] == ['m', 'near']
    assert found.models[1].pose.translation == near([1, 0, 0])


@pytest.mark.parametrize('body, expected', [
    ('<sensor name="s" type="force_torque"/>',
     '4:16: a force_torque sensor measures only in a <joint>: left out'),
    ('<sensor name="s" type="camera"><camera><pose>1 0 0 0 0 0</pose></camera></sensor>',
     '4:55: the <pose> of a <camera> has no effect, only that of the sensor has'),
    ('<sensor name="s" type="camera"><camera><triggered>false</triggered></camera></sensor>', ''),
    ('<sensor name="s" type="altimeter"><altimeter><vertical_position>\n<noise type="gausian"/>'
     '</vertical_position></altimeter></sensor>',
     '5:1: noise of type "gausian" has no effect; did you mean "gaussian"?'),
    ('<sensor name="s" type="altimeter"><altimeter><vertical_position>\n<noise type="none"/>'
     '</vertical_position></altimeter></sensor>', ''),
    ('<visual name="v"><geometry><mesh><uri>a.fbx</uri></mesh></geometry></visual>',
     '4:49: meshes of the kind ".fbx" are not read: left out'),
    ('<visual name="v"><geometry><plane/><box><size>1 1 1</size></box></geometry></visual>',
     '4:51: a second shape in <geometry>: only the first counts'),
    ('<visual name="v"><geometry><empty/></geometry></visual>', ''),
    ('<inertial auto="1"/><collision name="c"><geometry><cone/></geometry></collision>',
     '4:16: no collision gives an inertia: 1 kg and 1 kg m2 are taken'),
    ('<plugin name="gz::sim::systems::TrackController" filename="gz-sim-track-controller-system"/>'
     '</link><link name="k">', ''),
])
def test_warnings_in_a_link(tmp_path: Path, body: str, expected: str) -> None:
    write(tmp_path / 'a.fbx', '')
    found = world(tmp_path, f'<model name="m">\n<link name="l">{body}</link></model>')
    messages = [str(one) for one in found.warnings if 'cone' not in one.message]
    assert messages == ([f'{tmp_path}/w.sdf:{expected}'] if expected else [])


def test_warnings_of_a_world(tmp_path: Path) -> None:
    write(tmp_path / 'part.sdf', '<sdf version="1.9"><model name="part"><link name="l"/></model>'
          '</sdf>')
    found = world(tmp_path, """<spherical_coordinates><world_frame_orientation>NED
    </world_frame_orientation></spherical_coordinates>
    <include merge="true"><uri>part.sdf</uri><experimental:params/></include>
    <model name="m"><link name="a"/><link name="b"/>
      <include><uri>https://x/Hand</uri></include>
      <joint name="j" type="fixed"><parent>a</parent>
        <child>Hand::palm</child></joint>
      <joint name="k" type="fixed"><parent>a</parent><child>b</child>
        <sensor name="s" type="imu"/></joint>
      <joint name="kk" type="fixed"><parent>world</parent><child>b</child></joint></model>
    <plugin name="gz::sim::systems::TrackController" filename="gz-sim-track-controller-system"/>
    <plugin name="gz::sim::systems::DifDrive" filename="x"/></world>
    <world name="v">""")
    assert sorted((one.line, one.message) for one in found.warnings) == [
        (3, 'the orientation "NED" is taken as ENU: east, north, up'),
        (5, 'a model is not merged into a world: it stays a model'),
        (5, 'changes of an included model (<experimental:params>) have no effect'),
        (7, 'the model "https://x/Hand" is not downloaded: left out'),
        (9, '"Hand::palm" was left out, so this joint is, too'),
        (11, 'a sensor of a joint measures only as force_torque: left out'),
        (12, 'the joint "kk" closes a loop, which is held only approximately'),
        (13, 'the plugin "TrackController" has no effect'),
        (14, 'the plugin "DifDrive" has no effect; did you mean "DiffDrive"?'),
        (15, 'a second world: only the first is loaded'),
    ]
    assert [one.name for one in found.models] == ['part', 'm']
    assert [one.name for one in found.models[1].joints] == ['k', 'kk']


def test_what_nested_models_take_over_and_say(tmp_path: Path) -> None:
    label = '<plugin name="gz::sim::systems::Label" filename="x"><label>{}</label></plugin>'
    add_model(tmp_path, 'crate', f'{label.format(1)}<self_collide>1</self_collide>'
              f'<enable_wind>1</enable_wind><link name="l">{UNIT}</link>'
              '<model name="n"><static>1</static><link name="x"/></model>')
    found = world(tmp_path, f"""<include><uri>model://crate</uri><static>1</static>
      {label.format(2)}</include>
    <model name="m" canonical_link="b"><link name="a"/><link name="b"/></model>
    <model name="k"><include merge="1"><uri>model://crate</uri></include></model>
    <model name="old"><link name="a"><pose frame="f">1 0 0 0 0 0</pose></link>
      <frame name="f"><pose>0 2 0 0 0 0</pose></frame>
      <model name="far"><pose relative_to="Gone::part">0 0 1 0 0 0</pose><link name="z"/></model>
      <include><uri>https://x/Gone</uri><pose>5 0 0 0 0 0</pose></include></model>""", '1.6')
    crate, m, k, old = found.models
    assert (crate.label, crate.links[0].visuals[0].label, crate.static) == (2, 2, True)
    assert crate.joints == () and crate.self_collide and not m.self_collide
    assert [link.enable_wind for link in crate.links] == [True, True]
    assert (m.canonical_link, k.canonical_link) == ('b', 'l')
    poses = link_poses(old)
    assert poses['a'] == near([1, 2, 0, 0, 0, 0]) and poses['far::z'] == near([5, 0, 1, 0, 0, 0])


def test_bullet_s_friction_default_topics_and_plain_gaussian_noise(tmp_path: Path) -> None:
    one = model(tmp_path, f"""<link name="l"><inertial auto="1"/>
    <collision name="c">{BOX.format('1 1 1')}<surface><friction><bullet><friction>0.2</friction>
      </bullet></friction></surface></collision>
    <sensor name="s" type="contact"><topic>__default__</topic><contact><collision>c</collision>
      <topic>__default_topic__</topic></contact></sensor>
    <sensor name="t" type="altimeter"><altimeter><vertical_velocity><noise type="gaussian">
      <stddev>1</stddev><precision>2</precision></noise></vertical_velocity></altimeter></sensor>
    </link>""")
    link = one.links[0]
    assert (link.collisions[0].mu, link.collisions[0].mu2) == (0.2, 1)
    assert one.sensors[0].topic is None and link.inertial is not None
    assert one.sensors[1].noises == {'vertical_velocity': Noise(stddev=1)}
    assert link.inertial.mass == near(1000)  # of water


LINKS = '<link name="base"/><link name="arm"/>'
JOINT = '<joint name="j" type="{}"><parent>{}</parent>\n  <child>{}</child>{}</joint>'


@pytest.mark.parametrize('body, expected', [
    ('<link name="l"><visual name="v"><geometry>\n  <box/></geometry></visual></link>',
     '5:3: <box> needs a <size>'),
    ('<link name="l"><visual name="v"><geometry>\n <box><sise>1 1 1</sise></box></geometry>'
     '</visual></link>', '5:2: <box> needs a <size>; was this meant by "sise"?'),
    ('<link name="l"><visual name="v"><geometry>\n <boxx/></geometry></visual></link>',
     '4:33: <geometry> holds no shape; did you mean "box"?'),
    ('<link name="l"><collision name="v"/></link>', '4:16: <collision> needs a <geometry>'),
    ('<link name="l"><collision name="c"><geometry><sphere>\n<radius>  -1 </radius></sphere>'
     '</geometry></collision></link>', '5:11: -1 in <radius>: expected more than 0'),
    ('<link name="l"><pose>0 0\n  zero 0 0 0</pose></link>',
     '5:3: "zero" in <pose> is not a number'),
    ('<link name="l"><pose>0 0 1_0 0 0 0</pose></link>', '4:26: "1_0" in <pose> is not a number'),
    ('<link name="l"><pose>nan 0 1 0 0 0</pose></link>', '4:22: "nan" in <pose> is not a number'),
    ('<link name="l"><pose>1 2 3</pose></link>', '4:22: <pose> has 3 numbers, expected 6'),
    ('<link name="l"><pose rotation_format="quat_xyzw">1 2 3 0 0 0 0</pose></link>',
     '4:50: the quaternion in <pose> has the length 0'),
    ('<link name="l"><gravity>maybe</gravity></link>',
     '4:25: "maybe" in <gravity>: expected true or false'),
    ('<link name="l"><inertial><mass>-2</mass></inertial></link>',
     '4:32: -2 in <mass>: expected more than 0'),
    ('<link name="l"><inertial>\n<inertia><ixx>1</ixx><iyy>1</iyy><izz>3</izz></inertia>'
     '</inertial></link>', '5:1: no body has this inertia: its principal moments 1 '
     'and 1 kg m2 together are less than 3'),
    ('<link name="l"><inertial>\n<inertia><ixy>2</ixy></inertia></inertial></link>',
     '5:1: no body has this inertia: its smallest principal moment is -1 kg m2'),
    (f'{LINKS}\n<link name="arm"/>', '5:1: the name "arm" is already that of the link at line 4'),
    (f'<link name="l">{UNIT}\n{UNIT}</link>',
     '5:1: the name "v" is already that of the visual at line 4'),
    ('<link/>', '4:1: <link> needs the attribute "name"'),
    (f'{LINKS}\n' + JOINT.format('fixed', 'base', 'armm', ''),
     '6:10: the joint\'s child "armm" is no link here; did you mean "arm"?'),
    (f'{LINKS}\n' + JOINT.format('hinge', 'base', 'arm', ''),
     '5:1: "hinge" is no type of <joint>, expected one of fixed, revolute, continuous, prismatic, '
     'ball, universal, revolute2, gearbox, screw'),
    (f'{LINKS}\n' + JOINT.format('fixed', 'base', 'world', ''),
     '6:10: the world cannot be the <child>, only the <parent>'),
    (f'{LINKS}\n' + JOINT.format('fixed', 'arm', 'arm', ''),
     '5:1: the joint "j" joins "arm" to itself'),
    (f'{LINKS}\n' + JOINT.format('revolute', 'base', 'arm', '<axis><xyz>0 0 0</xyz></axis>'),
     '6:27: the <xyz> of <axis> has the length 0'),
    (f'{LINKS}\n' + JOINT.format(
        'revolute', 'base', 'arm', '<axis><limit><lower>2</lower><upper>1</upper></limit></axis>'),
     '6:27: the lower limit 2 lies above the upper one, 1'),
    (f'{LINKS}<joint name="j" type="fixed">\n<prent>base</prent><child>arm</child></joint>',
     '4:38: <joint> needs a <parent>; was this meant by "prent"?'),
    (f'{LINKS}\n<frame name="f"><pose relative_to="arn"/></frame>',
     '5:17: relative_to "arn" is no link, joint, frame or model here; did you mean "arm"?'),
    (f'{LINKS}\n<frame name="f"><pose relative_to="m"/></frame>',
     '5:17: relative_to "m" is no link, joint, frame or model here; did you mean the model '
     'itself, "__model__"?'),
    ('<link name="a"><pose relative_to="b"/></link>\n'
     '<link name="b"><pose relative_to="a"/></link>',
     '4:16: the poses go round in a circle: a -> b -> a'),
    ('<link name="a"/><frame name="f" attached_to="f"/>',
     '4:17: the poses go round in a circle: f -> f'),
    ('<link name="__model__"/>', '4:1: the name "__model__" is reserved'),
    ('<link name="l"/><include><uri>model://krate</uri></include>',
     '4:31: the model "model://krate" was not found; did you mean "crate"? '
     '(searched {here}, {here}/models)'),
    ('<link name="l"/><include><url>model://crate</url></include>',
     '4:17: <include> needs a <uri>; was this meant by "url"?'),
    ('<link name="l"><visual name="v"><geometry><mesh><uri>no.obj</uri></mesh></geometry></visual>'
     '</link>', '4:54: the mesh "no.obj" was not found (searched {here}, {here}/models)'),
    ('<link name="l"><sensor name="s" type="lidarr"/></link>',
     '4:16: "lidarr" is no type of <sensor>; did you mean "lidar"?'),
    ('<link name="l"><sensor name="s" type="camera"><camera><image><width>0</width></image>'
     '</camera></sensor></link>', '4:69: 0 in <width>: expected 1 or more'),
    ('<link name="l"><light name="s" type="sun"/></link>',
     '4:16: "sun" is no type of <light>, expected one of directional, point, spot'),
    ('<link name="l"><sensor name="s" type="camera"><camera><image><width>1.5</width></image>'
     '</camera></sensor></link>', '4:69: 1.5 in <width>: expected a whole number'),
    ('<link name="l"><sensor name="s" type="camera"><camera><horizontal_fov>4</horizontal_fov>'
     '</camera></sensor></link>', '4:47: <horizontal_fov> 4: expected less than pi'),
    ('<link name="l"><sensor name="s" type="camera"><camera><clip><near>9</near><far>2</far>'
     '</clip></camera></sensor></link>', '4:55: <near> 9 must be less than <far> 2'),
    ('<link name="l"><sensor name="s" type="lidar"><ray><range><min>9</min><max>2</max></range>'
     '</ray></sensor></link>', '4:51: <min> 9 must be less than <max> 2'),
    ('<link name="l"><sensor name="s" type="lidar"><ray><scan><horizontal><min_angle>1</min_angle>'
     '</horizontal></scan></ray></sensor></link>',
     '4:57: <min_angle> 1 lies above <max_angle> 0'),
    ('<link name="l"><light name="s" type="spot"/></link>',
     '4:16: the spot light "s" needs a <spot> with its angles'),
    ('<link name="l"><visual name="v"><geometry><mesh><uri>crate.obj</uri><scale>1 0 1</scale>'
     '</mesh></geometry></visual></link>', '4:43: the <scale> of a <mesh> holds a 0'),
    ('<link name="l"><visual name="v"><geometry><plane><size>1 0</size></plane></geometry>'
     '</visual></link>', '4:43: the <size> of a <plane>: expected more than 0'),
    ('<link name="l"><visual name="v"><geometry><box><size>1 0 1</size></box></geometry></visual>'
     '</link>', '4:54: 1 0 1 in <size>: expected more than 0'),
    ('<link name="l"><pose>0 0 inf 0 0 0</pose></link>', '4:26: "inf" in <pose> is not a number'),
    ('<link name="l"><pose rotation_format="euler">0 0 0 0 0 0</pose></link>',
     '4:16: rotation_format "euler": expected euler_rpy or quat_xyzw; did you mean "euler_rpy"?'),
    ('<link name="l"/><include merge="1"><uri>twin.sdf</uri></include>',
     '4:17: merging "twin" brings the name "l" a second time'),
    ('<link name="l"/><frame name="f" attached_to="k"><pose relative_to="l"/></frame>',
     '4:17: attached_to "k" is no link, joint, frame or model here'),
    ('<link name="l"><inertial auto="1"/></link>',
     '4:16: <inertial auto="true"> needs a <collision>'),
    ('<link name="l"></lnk>', '4:18: malformed XML: mismatched tag'),
])
def test_broken_models(tmp_path: Path, body: str, expected: str) -> None:
    (tmp_path / 'models' / 'crate').mkdir(parents=True)
    write(tmp_path / 'crate.obj', '')
    write(tmp_path / 'twin.sdf', '<sdf version="1.9"><model name="twin"><link name="l"/></model>'
          '</sdf>')
    with pytest.raises(SpecError) as error:
        model(tmp_path, body)
    here = str(tmp_path)
    assert str(error.value) == f'{here}/w.sdf:{expected}'.replace('{here}', here)


@pytest.mark.parametrize('text, expected', [
    ('<robot name="r"/>', '1:1: the outermost element is <robot>, expected <sdf>: a URDF file, '
     'which is not read'),
    ('<sdf version="1.9">\n<wrld name="w"/></sdf>',
     '1:1: <sdf> needs a <world>; was this meant by "wrld"?'),
    ('<sdf/>', '1:1: <sdf> needs the attribute "version"'),
    ('<sdf version="new"/>', '1:1: version "new": expected one such as 1.9'),
    ('', '1:1: malformed XML: no element found'),
    ('<!DOCTYPE sdf [<!ENTITY a "b">]>\n<sdf version="1.9">&a;</sdf>',
     '1:15: a document type (<!DOCTYPE>) is not allowed in SDF'),
    ('<sdf version="1.9">&a;</sdf>', '1:20: malformed XML: undefined entity'),
    ('<a>' * 200, '1:301: elements are nested deeper than 100 levels'),
    ('<sdf version="1.9"><world/></sdf>', '1:20: <world> needs the attribute "name"'),
    ('<sdf version="1.9"><world name="w"><light name="a"/>\n<light name="a"/></world></sdf>',
     '2:1: the name "a" is already that of the light at line 1'),
    ('<sdf version="1.9"><world name="w"><physics><max_step_size>0</max_step_size></physics>'
     '</world></sdf>', '1:60: 0 in <max_step_size>: expected more than 0'),
])
def test_files_that_hold_no_world(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(SpecError) as error:
        load_world(write(tmp_path / 'w.sdf', text))
    assert str(error.value) == f'{tmp_path}/w.sdf:{expected}'


def test_all_mistakes_at_once_also_those_in_other_files(tmp_path: Path) -> None:
    file = add_model(tmp_path, 'crate', '<link name="l"><pose>x</pose></link>')
    with pytest.raises(SpecError) as error:
        world(tmp_path, '<include><uri>model://crate</uri></include>\n<gravity>1 2</gravity>\n'
              '<include><uri>model://crate</uri></include>')
    assert error.value.problems == [
        Problem(str(file), 3, 22, '"x" in <pose> is not a number'),
        Problem(f'{tmp_path}/w.sdf', 4, 10, '<gravity> has 2 numbers, expected 3'),
        Problem(f'{tmp_path}/w.sdf', 5, 1,
                'the name "crate" is already that of the model at line 3'),
    ]


def test_a_model_that_includes_itself(tmp_path: Path) -> None:
    file = add_model(tmp_path, 'crate',
                     '<link name="l"/><include><uri>model://crate</uri></include>')
    with pytest.raises(SpecError) as error:
        world(tmp_path, '<include><uri>model://crate</uri></include>')
    assert str(error.value) == f'{file}:3:17: {file} includes itself'


def test_xml_as_gazebo_writes_it(tmp_path: Path) -> None:
    text = ('\n <?xml version="1.0"?>\n<!-- gz topic --- -t /x -->\n<sdf version="1.9">'
            '<world name="w"><!-- <model/> --><gui><![CDATA[<!-- a -- b -->]]></gui>'
            '<model name="m">\n<link/></model></world></sdf>')
    with pytest.raises(SpecError, match=r'w\.sdf:5:1: <link> needs the attribute "name"$'):
        load_world(write(tmp_path / 'w.sdf', text))


def test_models_to_spawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = add_model(tmp_path, 'crate', '<pose>1 0 0 0 0 0</pose><link name="l"/>'
                     '<plugin name="other" filename="x"/>')
    monkeypatch.chdir(tmp_path)
    at = Poses(np.array([5.0, 6.0, 7.0]), np.array([0.0, 0.0, 0.0, 1.0]))
    warnings: list[Problem] = []
    text = file.read_text()
    for source in (file, file.parent, str(file), 'models/crate', 'model://crate', text):
        one = load_model(source, name='box_1', pose=at, warnings=warnings)
        assert (one.name, [link.name for link in one.links]) == ('box_1', ['l'])
        assert one.pose.translation == near([5, 6, 7])
    assert len(warnings) == 6
    own = load_model(file)
    assert (own.name, own.uri) == ('crate', str(file)) and own.pose.translation[0] == 1


def test_models_that_cannot_be_spawned(tmp_path: Path) -> None:
    with pytest.raises(RobotQaError, match=r'^/nowhere/x\.sdf cannot be read: No such file'):
        load_model('/nowhere/x.sdf')
    with pytest.raises(RobotQaError, match=r'^the model "model://krate" was not found \(searched'):
        load_model('model://krate', folder=tmp_path)
    with pytest.raises(SpecError, match=r'^<string>:1:20: the model "m" has no link') as error:
        load_model('<sdf version="1.9"><model name="m"/></sdf>')
    assert len(error.value.problems) == 1
    with pytest.raises(SpecError, match=r'the folder .* has no model\.config'):
        load_model(tmp_path)
    with pytest.raises(RobotQaError, match='cannot be read: No such file'):
        load_world(tmp_path / 'none.sdf')
