"""From ``world.World`` to a compiled MuJoCo model, and where everything of the world went in it.

Every link becomes a body of its own, named ``model::link``. A link without a parent joint moves
freely; one that is kinematic, and all of a static model, stand where they are put. A fixed joint
makes a child body without a degree of freedom. A joint that closes a loop becomes an equality
constraint.

As in Gazebo, links of one model collide only where it says ``self_collide``, and never if a joint
connects them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import mujoco
import numpy as np

from robot_qa.embedded import world
from robot_qa.embedded.shapes import Assets, wxyz
from robot_qa.embedded.surfaces import (
    Building,
    GeomOwner,
    add_bounces,
    add_geoms,
    body_name,
    driven_wheels,
    friction_ranks,
    joined,
)
from robot_qa.errors import Problem, RobotQaError
from robot_qa.geometry import Poses, rotate

ANY_MASS = world.Inertial(
    1.0, Poses(np.zeros(3), np.array([0.0, 0.0, 0.0, 1.0])), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0),
)
"""What SDF gives a link that says nothing about it."""
ENDLESS = 1e10
"""A limit that is never reached; MuJoCo has both ends of a range or none."""


class JointIds(NamedTuple):
    """Where a joint went, one of each for every axis; nothing for a fixed joint or a loop's."""

    joint: world.Joint
    qpos: tuple[int, ...]
    dofs: tuple[int, ...]
    actuators: tuple[int, ...]


@dataclass
class Compiled:
    """A compiled model with its tables."""

    model: Any
    """``mujoco.MjModel``."""
    geoms: list[GeomOwner]
    """By geom id."""
    bodies: dict[tuple[str, str], int]
    """By model and link."""
    joints: dict[tuple[str, str], JointIds]
    """By model and joint; without those of static models."""
    warnings: tuple[Problem, ...]


def compile_world(described: world.World, models: tuple[world.Model, ...]) -> Compiled:
    """Compile these models in a world; ``RobotQaError`` where MuJoCo cannot make sense of one."""
    spec = mujoco.MjSpec()
    _set_options(spec, described)
    wheels = set().union(*(driven_wheels(model) for model in models))
    building = Building(spec, Assets(spec), friction_ranks(models), wheels)
    for light in described.lights:
        _add_light(spec.worldbody, light, described.shadows)
    for model in models:
        _add_model(building, described, model)
    add_bounces(building)
    try:
        compiled = spec.compile()
    except ValueError as error:
        raise RobotQaError(f'the world cannot be simulated: {error}') from error
    return _tabled(compiled, models, building)


def _set_options(spec: Any, described: world.World) -> None:
    option = spec.option
    option.timestep = described.step
    option.gravity = described.gravity
    # Damping, servos and contacts are solved together; the others let stiff servos slip wheels.
    option.integrator = mujoco.mjtIntegrator.mjINT_DISCRETE
    option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    # A box on a slope creeps by 4 um/s; at 1, MuJoCo's own, by 0.4 mm/s.
    option.impratio = 100.0
    option.disableflags |= mujoco.mjtDisableBit.mjDSBL_AUTORESET
    # Adjacent links are told apart one by one, as Gazebo does.
    option.disableflags |= mujoco.mjtDisableBit.mjDSBL_FILTERPARENT
    spec.compiler.degree = False
    spec.compiler.autolimits = False
    spec.compiler.balanceinertia = True
    spec.compiler.inertiafromgeom = mujoco.mjtInertiaFromGeom.mjINERTIAFROMGEOM_FALSE
    spec.memory = 64 << 20
    headlight = spec.visual.headlight
    headlight.ambient, headlight.diffuse = described.ambient[:3], (0.0, 0.0, 0.0)
    headlight.specular = (0.0, 0.0, 0.0)


def _add_light(body: Any, light: world.Light, shadows: bool) -> None:
    kinds = mujoco.mjtLightType
    kind = {
        'directional': kinds.mjLIGHT_DIRECTIONAL, 'point': kinds.mjLIGHT_POINT,
        'spot': kinds.mjLIGHT_SPOT,
    }[light.kind]
    body.add_light(
        type=kind, pos=light.pose.translation, active=light.on,
        dir=rotate(light.pose.rotation, np.array(light.direction)),
        diffuse=np.array(light.diffuse[:3]) * light.intensity, ambient=(0.0, 0.0, 0.0),
        specular=np.array(light.specular[:3]) * light.intensity,
        attenuation=light.attenuation, range=light.range, exponent=light.falloff,
        castshadow=light.cast_shadows and shadows,
        # MuJoCo measures from the axis to the edge.
        cutoff=min(90.0, np.degrees(light.outer_angle) / 2) if light.kind == 'spot' else 90.0,
    )


def _add_model(building: Building, described: world.World, model: world.Model) -> None:
    bodies: dict[str, Any] = {}
    incoming, loops = joint_tree(model)
    links = {link.name: link for link in model.links}
    for link in _parents_first(model, incoming):
        joint = incoming.get(link.name)
        if joint is None or joint.parent == world.WORLD_LINK:
            parent, pose = building.spec.worldbody, model.pose @ link.pose
        else:
            parent = bodies[joint.parent]
            pose = links[joint.parent].pose.inverse() @ link.pose
        root_moves = joint is None and not model.static
        if link.kinematic and joint is not None:
            building.warn(model, f'{model.name}::{link.name}: only a link that hangs on no joint '
                                 'can be kinematic; taken as dynamic')
        body = parent.add_body(
            name=body_name(model.name, link.name), pos=pose.translation, quat=wxyz(pose.rotation),
            gravcomp=float(not link.gravity),
        )
        bodies[link.name] = body
        if model.static:
            # Or else MuJoCo takes the body's place for that of its inertia, and before version 4
            # its rays then miss what is turned.
            body.explicitinertial, body.mass = True, 0.0
            body.ipos, body.iquat = (0, 0, 0), (1, 0, 0, 0)
        else:
            _set_inertia(building, model, body, link)
        if root_moves and not link.kinematic:
            body.add_freejoint(name=f'{body.name}//free')
        elif joint is not None:
            _add_joint(building, model, body, joint)
        for light in link.lights:
            _add_light(body, light, described.shadows)
        add_geoms(building, model, body, link)
    if not model.static:
        _exclude(building.spec, model)
        for joint in loops:
            _close_loop(building, model, joint)


def joint_tree(model: world.Model) -> tuple[dict[str, world.Joint], list[world.Joint]]:
    """Return the joint above each link that has one, by link, and the joints that close loops."""
    if model.static:
        return {}, []
    incoming: dict[str, world.Joint] = {}
    loops = []
    for joint in model.joints:
        above: str | None = joint.parent
        while above in incoming and above != joint.child:
            above = incoming[above].parent
        if joint.child in incoming or above == joint.child:
            loops.append(joint)
        else:
            incoming[joint.child] = joint
    return incoming, loops


def _parents_first(model: world.Model, incoming: dict[str, world.Joint]) -> Iterator[world.Link]:
    def depth(link: world.Link) -> int:
        above, count = incoming.get(link.name), 0
        while above is not None:
            above, count = incoming.get(above.parent), count + 1
        return count

    yield from sorted(model.links, key=depth)


def _set_inertia(building: Building, model: world.Model, body: Any, link: world.Link) -> None:
    inertial = link.inertial or ANY_MASS
    (xx, yy, zz), (xy, xz, yz) = inertial.moments, inertial.products
    moments, axes = np.linalg.eigh(np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]))
    if inertial.mass <= 0.0 or moments[0] <= 0.0:
        raise RobotQaError(
            f'{body.name}: mass and moments of inertia must be positive, but the mass is '
            f'{inertial.mass:g} kg and the least principal moment {moments[0]:g} kg m2'
        )
    if moments[0] + moments[1] < moments[2] * (1 - 1e-6):
        building.warn(model, f'{body.name}: no body has such an inertia, the greatest principal '
                             "moment exceeds the sum of the others; taken as a ball's")
    body.mass, body.ipos, body.explicitinertial = inertial.mass, inertial.pose.translation, True
    if any(inertial.products):
        turn = rotate(inertial.pose.rotation, axes.T)
        tensor = turn.T @ np.diag(moments) @ turn
        body.fullinertia = tensor[[0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2]]
    else:
        body.inertia, body.iquat = inertial.moments, wxyz(inertial.pose.rotation)


def _add_joint(building: Building, model: world.Model, body: Any, joint: world.Joint) -> None:
    kinds = mujoco.mjtJoint
    name = f'{model.name}::{joint.name}'
    if joint.kind == 'ball':
        ball = body.add_joint(name=name, type=kinds.mjJNT_BALL, pos=joint.pose.translation)
        for axis in joint.axes[:1]:
            _resist(ball, axis)
    elif joint.kind != 'fixed':
        kind = kinds.mjJNT_SLIDE if joint.kind == 'prismatic' else kinds.mjJNT_HINGE
        for number, axis in enumerate(joint.axes):
            added = body.add_joint(
                name=f'{name}#{number}', type=kind, pos=joint.pose.translation,
                axis=rotate(joint.pose.rotation, np.array(axis.xyz)),
            )
            _resist(added, axis)
            _limit(building, model, added, joint, axis)
            # Without gains until a drive asks for a velocity.
            building.spec.add_actuator(
                name=added.name, target=added.name, trntype=mujoco.mjtTrn.mjTRN_JOINT,
                gaintype=mujoco.mjtGain.mjGAIN_FIXED, biastype=mujoco.mjtBias.mjBIAS_AFFINE,
                gainprm=np.zeros(10), biasprm=np.zeros(10), ctrllimited=False,
                forcelimited=True, forcerange=(-ENDLESS, ENDLESS),
            )


def _resist(joint: Any, axis: world.Axis) -> None:
    # Since MuJoCo 4 these two hold a polynomial's coefficients.
    for name, value in (('damping', axis.damping), ('stiffness', axis.spring_stiffness)):
        grades = np.ndim(getattr(joint, name))
        setattr(joint, name, [value, 0.0, 0.0] if grades else value)
    joint.frictionloss, joint.springref = axis.friction, axis.spring_reference


def _limit(
    building: Building, model: world.Model, added: Any, joint: world.Joint, axis: world.Axis,
) -> None:
    lower, upper = max(axis.lower, -ENDLESS), min(axis.upper, ENDLESS)
    if joint.kind == 'continuous' or (lower == -ENDLESS and upper == ENDLESS):
        return
    if lower > upper:
        building.warn(model, f'{model.name}::{joint.name}: its lower limit {lower:g} lies above '
                             f'its upper one {upper:g}; taken as none')
        return
    # A joint that may not move at all still needs a range.
    added.limited, added.range = True, (lower, max(upper, lower + 1e-6))
    added.solref_limit = (0.005, 1.0)


def _exclude(spec: Any, model: world.Model) -> None:
    """Keep links apart that must not collide."""
    solid = [link.name for link in model.links if link.collisions]
    for first, second in itertools.combinations(solid, 2):
        if not model.self_collide or joined(model, first, second):
            spec.add_exclude(
                bodyname1=body_name(model.name, first), bodyname2=body_name(model.name, second),
            )


def _close_loop(building: Building, model: world.Model, joint: world.Joint) -> None:
    """Add the constraints of a joint whose child hangs on another joint already."""
    name = f'{model.name}::{joint.name}'
    if joint.kind in {'prismatic', 'universal'}:
        building.warn(model, f'{name}: a {joint.kind} joint that closes a loop is left out')
        return
    points = [joint.pose.translation]
    if joint.kind in {'revolute', 'continuous'}:
        points.append(joint.pose.translation
                      + 0.1 * rotate(joint.pose.rotation, np.array(joint.axes[0].xyz)))
    kinds = mujoco.mjtEq
    for number, point in enumerate(points):
        constraint = building.spec.add_equality(
            name=f'{name}#{number}', objtype=mujoco.mjtObj.mjOBJ_BODY,
            type=kinds.mjEQ_WELD if joint.kind == 'fixed' else kinds.mjEQ_CONNECT,
            name1=body_name(model.name, joint.child), name2=body_name(model.name, joint.parent),
            solref=(0.005, 1.0), solimp=(0.99, 0.999, 0.001, 0.5, 2.0),
        )
        if joint.kind != 'fixed':
            constraint.data[:3] = point


def _tabled(
    compiled: Any, models: tuple[world.Model, ...], building: Building,
) -> Compiled:
    geoms = [building.owners[compiled.geom(number).name] for number in range(compiled.ngeom)]
    bodies = {
        (model.name, link.name): compiled.body(body_name(model.name, link.name)).id
        for model in models for link in model.links
    }
    joints = {}
    for model in models:
        for joint in () if model.static else model.joints:
            joints[model.name, joint.name] = _ids(compiled, model.name, joint)
    return Compiled(compiled, geoms, bodies, joints, tuple(building.warnings))


def _ids(compiled: Any, model: str, joint: world.Joint) -> JointIds:
    name = f'{model}::{joint.name}'
    names = [name] if joint.kind == 'ball' else [
        f'{name}#{number}' for number in range(len(joint.axes))
    ]
    find = [mujoco.mj_name2id(compiled, mujoco.mjtObj.mjOBJ_JOINT, one) for one in names]
    found = [one for one in find if one >= 0]
    wide = 3 if joint.kind == 'ball' else 1
    return JointIds(
        joint,
        tuple(int(compiled.jnt_qposadr[one]) + k
              for one in found for k in range(4 if wide == 3 else 1)),
        tuple(int(compiled.jnt_dofadr[one]) + k for one in found for k in range(wide)),
        tuple(compiled.actuator(one).id for one in names) if found and wide == 1 else (),
    )
