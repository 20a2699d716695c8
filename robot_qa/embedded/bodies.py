"""Where the links of a running world are, how they move, and what they press on.

All vectors and poses are in the world unless said otherwise, of single things: translations and
vectors (3,), rotations (4,) as x, y, z, w.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import mujoco
import numpy as np

from robot_qa.embedded import world
from robot_qa.embedded.compile import Compiled, JointIds
from robot_qa.embedded.shapes import wxyz, xyzw
from robot_qa.embedded.state import free_qpos, is_free
from robot_qa.embedded.surfaces import GeomOwner
from robot_qa.errors import Problem, RobotQaError, did_you_mean
from robot_qa.geometry import Floats, Poses, conjugate, cross, product, rotate

Choice = TypeVar('Choice')


class Contact(NamedTuple):
    """Where two collisions touched in the last step; n points.

    ``first`` and ``second`` are ``model::link::collision``. Normals (n, 3) point from the first to
    the second; depths (n,) are in m; forces (n, 3), in N, are those of the first on the second.
    """

    first: str
    second: str
    positions: Floats
    normals: Floats
    depths: Floats
    forces: Floats


@dataclass(frozen=True)
class JointHandle:
    """A joint, for as long as the simulation's ``generation`` stays the same."""

    joint: world.Joint
    ids: JointIds
    _data: Any

    def qpos(self) -> Floats:
        """Return its position: one value per axis in rad or m, or x, y, z, w of a ball."""
        values: Floats = self._data.qpos[list(self.ids.qpos)]
        return xyzw(values) if self.joint.kind == 'ball' else values

    def qvel(self) -> Floats:
        """Return its velocity: one value per axis in rad/s or m/s, or (3,) of a ball, in it."""
        values: Floats = self._data.qvel[list(self.ids.dofs)]
        return values

    def effort(self) -> Floats:
        """Return what drives it, without friction and damping, in Nm or N; as ``qvel``."""
        dofs = list(self.ids.dofs)
        values: Floats = self._data.qfrc_actuator[dofs] + self._data.qfrc_applied[dofs]
        return values


class Bodies:
    """The models of a world and their state, whatever makes time pass."""

    def __init__(self, compiled: Compiled, models: dict[str, world.Model]) -> None:
        self._take(compiled, models)

    def _take(self, compiled: Compiled, models: dict[str, world.Model]) -> None:
        self._compiled, self._models = compiled, models
        self._data: Any = mujoco.MjData(compiled.model)
        # By model: its canonical link, and the model's pose in that.
        self._canonical = {name: _canonical(model) for name, model in models.items()}
        self._moved()

    def _moved(self) -> None:
        self._stale = self._stale_forces = True

    @property
    def model(self) -> Any:
        """The ``mujoco.MjModel`` of this generation."""
        return self._compiled.model

    @property
    def data(self) -> Any:
        """The ``mujoco.MjData`` of this generation, with the poses and twists of now.

        A step leaves them where it began; they are brought up to date here, and nothing else.
        """
        if self._stale:
            for update in (mujoco.mj_kinematics, mujoco.mj_comPos, mujoco.mj_camlight,
                           mujoco.mj_comVel):
                update(self.model, self._data)
            self._stale = False
        return self._data

    @property
    def geoms(self) -> list[GeomOwner]:
        """Whose each geom is, by its id."""
        return self._compiled.geoms

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """What was approximated or left out, apart from what the loader said."""
        return self._compiled.warnings

    def names(self) -> list[str]:
        """Return the names of the models, in order."""
        return list(self._models)

    def model_of(self, name: str) -> world.Model:
        """Return a model's description; ``RobotQaError`` if there is none of that name."""
        return known('model', name, self._models)

    def body_id(self, model: str, link: str) -> int:
        """Return the id of a link's body; every link has its own."""
        found = self._compiled.bodies.get((model, link))
        if found is None:
            known(f'link of {model}', link, {one.name: one for one in self.model_of(model).links})
        return int(found or 0)

    def joint(self, model: str, joint: str) -> JointHandle:
        """Return a joint; ``RobotQaError`` for an unknown one, and for those of static models."""
        found = self._compiled.joints.get((model, joint))
        if found is None:
            self.model_of(model)
            joints = {key: one for (of, key), one in self._compiled.joints.items() if of == model}
            found = known(f'joint of {model}', joint, joints)
        return JointHandle(found.joint, found, self._data)

    def link_pose(self, model: str, link: str) -> Poses:
        """Return the pose of a link."""
        return self._pose_of(self.body_id(model, link))

    def _pose_of(self, body: int) -> Poses:
        data = self.data
        return Poses(data.xpos[body].copy(), xyzw(data.xquat[body]))

    def pose(self, model: str) -> Poses:
        """Return the pose of a model, which goes where its canonical link goes."""
        link, offset = known('model', model, self._canonical)
        pose = self.link_pose(model, link)
        return pose if offset is None else pose @ offset

    def link_twist(self, model: str, link: str) -> tuple[Floats, Floats]:
        """Return the linear (of the link's origin) and the angular velocity, in m/s and rad/s."""
        twist = np.zeros(6)
        mujoco.mj_objectVelocity(
            self.model, self.data, mujoco.mjtObj.mjOBJ_XBODY, self.body_id(model, link), twist, 0,
        )
        return twist[3:], twist[:3]

    def twist(self, model: str) -> tuple[Floats, Floats]:
        """Return the linear (of the model's origin) and the angular velocity, in m/s, rad/s."""
        link, _ = known('model', model, self._canonical)
        linear, angular = self.link_twist(model, link)
        arm = self.pose(model).translation - self.link_pose(model, link).translation
        return linear + cross(angular, arm), angular

    def _roots(self, model: str) -> list[int]:
        """Return the bodies of a model that hang on the world and not on another link."""
        return [
            body for (name, _), body in self._compiled.bodies.items()
            if name == model and self.model.body_parentid[body] == 0
        ]

    def set_pose(self, model: str, pose: Poses) -> None:
        """Move a model as a whole; its joints, and its velocities in the world, stay."""
        moved = pose @ self.pose(model).inverse()
        mj, data = self.model, self.data
        for body in self._roots(model):
            at = moved @ self._pose_of(body)
            where, turned = at.translation, wxyz(at.rotation)
            if is_free(mj, body):
                start, dof = free_qpos(mj, body), mj.body_dofadr[body]
                # MuJoCo keeps the angular velocity in the body's own frame.
                turn = product(conjugate(at.rotation), self._pose_of(body).rotation)
                data.qvel[dof + 3:dof + 6] = rotate(turn, data.qvel[dof + 3:dof + 6])
                data.qpos[start:start + 3], data.qpos[start + 3:start + 7] = where, turned
            else:
                mj.body_pos[body], mj.body_quat[body] = where, turned
        self._moved()

    def set_twist(self, model: str, linear: Floats, angular: Floats) -> None:
        """Let a model move as a whole, in m/s (of its origin) and rad/s; its joints go on.

        Static and kinematic links, and those that a joint ties to the world, stay where they are.
        """
        origin = self.pose(model).translation
        mj, data = self.model, self.data
        for body in self._roots(model):
            if is_free(mj, body):
                dof, at = mj.body_dofadr[body], self._pose_of(body)
                arm = at.translation - origin
                data.qvel[dof:dof + 3] = linear + cross(angular, arm)
                data.qvel[dof + 3:dof + 6] = rotate(conjugate(at.rotation), np.asarray(angular))
        self._moved()

    def _newton_euler(self) -> None:
        """Find the accelerations and the forces between bodies in the last step."""
        data, mj = self.data, self.model
        if self._stale_forces:
            # What carries a link without gravity is no force to MuJoCo here, and it has to be one.
            lift = -mj.opt.gravity * (mj.body_mass * mj.body_gravcomp)[:, None]
            data.xfrc_applied[:, :3] += lift
            mujoco.mj_rnePostConstraint(mj, data)
            data.xfrc_applied[:, :3] -= lift
            self._stale_forces = False

    def link_acceleration(self, model: str, link: str) -> Floats:
        """Return d2x/dt2 of a link's origin in the last step, in m/s2: the gravity in free fall.

        An accelerometer measures this minus the gravity.
        """
        if self.model.body_weldid[self.body_id(model, link)] == 0:
            # Before version 4 MuJoCo leaves out the gravity here.
            return np.zeros(3)
        self._newton_euler()
        result, kind = np.zeros(6), mujoco.mjtObj.mjOBJ_XBODY
        mujoco.mj_objectAcceleration(
            self.model, self._data, kind, self.body_id(model, link), result, 0,
        )
        acceleration: Floats = result[3:] + self.model.opt.gravity
        return acceleration

    def joint_wrench(self, model: str, joint: str) -> tuple[Floats, Floats]:
        """Return the force and the torque of the parent on the child in the last step, in N, Nm.

        At the joint, expressed in the child link's frame; what drives the joint is in it.
        """
        described = self.joint(model, joint).joint
        self._newton_euler()
        data, body = self._data, self.body_id(model, described.child)
        pose = self._pose_of(body)
        anchor = (pose @ described.pose).translation
        # About the centre of mass of the whole tree, as all spatial vectors of MuJoCo.
        torque, force = data.cfrc_int[body, :3], data.cfrc_int[body, 3:]
        arm = data.subtree_com[self.model.body_rootid[body]] - anchor
        back = conjugate(pose.rotation)
        return rotate(back, force), rotate(back, torque + cross(arm, force))

    def contacts(self, of: Container[str] | None = None) -> list[Contact]:
        """Return what touched in the last step, one for each two collisions.

        ``of`` are scoped names, of which one has to be among the two.
        """
        data = self.data
        found: dict[tuple[str, str], list[tuple[Floats, Floats, float, Floats]]] = {}
        active = data.contact.efc_address >= 0
        for number, pair in enumerate(data.contact.geom.tolist()):
            names = self._scoped(pair[0]), self._scoped(pair[1])
            if not active[number] or (of is not None and not any(one in of for one in names)):
                continue
            wrench = np.zeros(6)
            mujoco.mj_contactForce(self.model, data, number, wrench)
            frame = data.contact.frame[number].reshape(3, 3)
            found.setdefault(names, []).append((
                data.contact.pos[number], frame[0], -data.contact.dist[number], wrench[:3] @ frame,
            ))
        return [
            Contact(*names, *(np.array(column) for column in zip(*rows, strict=True)))
            for names, rows in found.items()
        ]

    def _scoped(self, geom: int) -> str:
        owner = self.geoms[geom]
        return f'{owner.model}::{owner.link}::{owner.name}'


def _canonical(model: world.Model) -> tuple[str, Poses | None]:
    link = next((one for one in model.links if one.name == model.canonical_link), model.links[0])
    # Most have none, and multiplying takes longer than a step.
    none = not link.pose.translation.any() and not link.pose.rotation[:3].any()
    return link.name, None if none else link.pose.inverse()


def known(what: str, name: str, choice: dict[str, Choice]) -> Choice:
    """Return the one of that name; ``RobotQaError`` if there is none."""
    if name not in choice:
        raise RobotQaError(f'no {what} is named "{name}"{did_you_mean(name, choice)}')
    return choice[name]


def check_names(models: Iterable[world.Model]) -> None:
    """Raise ``RobotQaError`` if two models have the same name."""
    seen = set()
    for model in models:
        if model.name in seen:
            raise RobotQaError(f'there is a model named "{model.name}" already')
        seen.add(model.name)
