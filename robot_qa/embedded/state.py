"""What a simulation carries over when its model is compiled anew, and what went wrong in one."""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np

from robot_qa.embedded.compile import Compiled

WARNINGS = mujoco.mjtWarning
DIVERGED = (WARNINGS.mjWARN_BADQPOS, WARNINGS.mjWARN_BADQVEL, WARNINGS.mjWARN_BADQACC)
FULL = (WARNINGS.mjWARN_CONTACTFULL, WARNINGS.mjWARN_CNSTRFULL)


def carry_over(old: Compiled, old_data: Any, new: Compiled, new_data: Any) -> None:
    """Copy positions, velocities, commands and forces of all that both have, bit by bit."""
    before, after = old.model, new.model
    new_data.time = old_data.time
    after.opt.gravity[:] = before.opt.gravity
    for key in old.bodies.keys() & new.bodies.keys():
        _copy_body((before, old_data, old.bodies[key]), (after, new_data, new.bodies[key]))
    for key in old.joints.keys() & new.joints.keys():
        first, second = old.joints[key], new.joints[key]
        new_data.qpos[list(second.qpos)] = old_data.qpos[list(first.qpos)]
        _copy_dofs(old_data, list(first.dofs), new_data, list(second.dofs))
        for old_id, new_id in zip(first.actuators, second.actuators, strict=True):
            new_data.ctrl[new_id] = old_data.ctrl[old_id]
            for name in ('gainprm', 'biasprm', 'forcerange'):
                getattr(after, f'actuator_{name}')[new_id] = (
                    getattr(before, f'actuator_{name}')[old_id]
                )


def _copy_body(first: tuple[Any, Any, int], second: tuple[Any, Any, int]) -> None:
    (before, old_data, old_id), (after, new_data, new_id) = first, second
    after.body_pos[new_id], after.body_quat[new_id] = (
        before.body_pos[old_id], before.body_quat[old_id]
    )
    new_data.xfrc_applied[new_id] = old_data.xfrc_applied[old_id]
    if is_free(after, new_id):
        start, other = free_qpos(before, old_id), free_qpos(after, new_id)
        new_data.qpos[other:other + 7] = old_data.qpos[start:start + 7]
        start, other = before.body_dofadr[old_id], after.body_dofadr[new_id]
        _copy_dofs(old_data, np.arange(start, start + 6), new_data, np.arange(other, other + 6))


def _copy_dofs(old_data: Any, first: Any, new_data: Any, second: Any) -> None:
    for name in ('qvel', 'qacc', 'qacc_warmstart', 'qfrc_applied'):
        getattr(new_data, name)[second] = getattr(old_data, name)[first]


def is_free(model: Any, body: int) -> bool:
    """Tell whether a body has a free joint."""
    first = model.body_jntadr[body]
    return bool(first >= 0 and model.jnt_type[first] == mujoco.mjtJoint.mjJNT_FREE)


def free_qpos(model: Any, body: int) -> int:
    """Return where the seven coordinates of a free body begin."""
    return int(model.jnt_qposadr[model.body_jntadr[body]])


def what_went_wrong(compiled: Compiled, data: Any) -> str | None:
    """Return which body left the numbers that can be simulated, or None."""
    for kind in FULL:
        if data.warning[kind].number:
            return 'there are more contacts than the simulator has room for'
    for kind in DIVERGED:
        if data.warning[kind].number:
            index = int(data.warning[kind].lastinfo)
            return f'{_owner(compiled, kind, index)} became unstable'
    return None


def _owner(compiled: Compiled, kind: Any, index: int) -> str:
    model = compiled.model
    if kind == WARNINGS.mjWARN_BADQPOS:
        joint = int(np.searchsorted(model.jnt_qposadr, index, side='right')) - 1
        body = int(model.jnt_bodyid[joint])
    else:
        body = int(model.dof_bodyid[index])
    return str(model.body(body).name)

