"""Cameras by OpenGL, on EGL: no display and no window is needed, and no graphics card."""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np
from mujoco.egl import GLContext
from numpy.typing import NDArray

from robot_qa.embedded.picture import Frame, background, depth_range
from robot_qa.embedded.pinhole import axes, focal_length
from robot_qa.embedded.simulation import Simulation
from robot_qa.embedded.surfaces import VISUAL_GROUP
from robot_qa.embedded.world import CameraPart
from robot_qa.geometry import Floats, Poses

# Shadows are half of the work, so small pictures get a coarser map of them.
SHADOW_PIXELS = {320: 512, 1280: 1024}
FINEST_SHADOW_PIXELS = 2048
NEAREST = 0.001
"""As a share of near: what depth images can tell from nothing."""
SEGMENT = (mujoco.mjtRndFlag.mjRND_SEGMENT, mujoco.mjtRndFlag.mjRND_IDCOLOR)
CATEGORIES = int(mujoco.mjtCatBit.mjCAT_STATIC | mujoco.mjtCatBit.mjCAT_DYNAMIC)


class GlRenderer:
    """Draws by OpenGL; of more than 8 lights it takes the first ones."""

    backend = 'EGL'

    def __init__(self) -> None:
        self._window = GLContext(1, 1)
        self._option = mujoco.MjvOption()
        self._option.geomgroup[:] = 0
        self._option.geomgroup[VISUAL_GROUP] = 1
        self._camera = mujoco.MjvCamera()
        self._known: tuple[Simulation, int] | None = None
        self._context: Any = None
        self._scene: Any = None

    def render(
        self, simulation: Simulation, camera: CameraPart, pose: Poses, want: frozenset[str],
    ) -> Frame:
        """Draw what is wanted of ``color``, ``depth``, ``geoms``."""
        self._window.make_current()
        self._prepare(simulation, camera)
        mujoco.mjv_updateScene(
            simulation.model, simulation.data, self._option, None, self._camera, CATEGORIES,
            self._scene,
        )
        for light in self._scene.lights[:self._scene.nlight]:
            if light.type == mujoco.mjtLightType.mjLIGHT_POINT:
                # MuJoCo's classic renderer leaves them dark; a spot all around is the same.
                light.type, light.cutoff = mujoco.mjtLightType.mjLIGHT_SPOT, 180.0
                light.attenuation[:] = simulation.model.light_attenuation[light.id]
        for geom in self._scene.geoms[:self._scene.ngeom]:
            # MuJoCo lets one see through the back of a plane, but would count it.
            behind = (pose.translation.ravel() - geom.pos) @ geom.mat.reshape(3, 3)[:, 2] < 0.0
            if geom.type == mujoco.mjtGeom.mjGEOM_PLANE and behind:
                geom.segid = -1
        color = geoms = depth = None
        self._look_from(camera, pose, camera.near, camera.far)
        if 'color' in want:
            color, share = self._draw(camera)
            color[share == 0.0] = background(simulation)
        if 'geoms' in want:
            geoms = self._ids(self._segmented(camera)[0])
        if 'depth' in want:
            depth = self._depth(camera, pose)
        return Frame(color, depth, geoms)

    def _depth(self, camera: CameraPart, pose: Poses) -> NDArray[np.float32]:
        near, far = depth_range(camera)
        self._look_from(camera, pose, near, far)
        _, share = self._segmented(camera)
        depth = _metres(share, near, far)
        # The buffer has 24 bits of near / distance: what is nearer gets a view of its own.
        self._look_from(camera, pose, near * NEAREST, near)
        _, share = self._segmented(camera)
        depth[share > 0.0] = -np.inf
        return depth.astype(np.float32)

    def _prepare(self, simulation: Simulation, camera: CameraPart) -> None:
        """Upload meshes and textures if they are others now, and make room for the picture."""
        if self._known != (simulation, simulation.generation):
            model = simulation.model
            if self._context is not None:
                self._context.free()
            model.vis.quality.offsamples = 0
            model.vis.quality.shadowsize = _shadow_pixels(simulation, camera)
            self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_50.value)
            self._context.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZEROFAR
            mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._context)
            self._scene = mujoco.MjvScene(model, model.ngeom + 1)
            for flag in (mujoco.mjtRndFlag.mjRND_REFLECTION, mujoco.mjtRndFlag.mjRND_HAZE):
                self._scene.flags[flag] = 0
            self._known = simulation, simulation.generation
        width = max(camera.width, self._context.offWidth)
        height = max(camera.height, self._context.offHeight)
        if (width, height) != (self._context.offWidth, self._context.offHeight):
            mujoco.mjr_resizeOffscreen(width, height, self._context)

    def _look_from(self, camera: CameraPart, pose: Poses, near: float, far: float) -> None:
        ahead, _, up = axes(pose)
        top = near * camera.height / 2 / focal_length(camera)
        for eye in self._scene.camera:
            eye.pos[:], eye.forward[:], eye.up[:] = pose.translation.ravel(), ahead, up
            eye.frustum_center, eye.frustum_bottom, eye.frustum_top = 0.0, -top, top
            eye.frustum_near, eye.frustum_far = near, far
            eye.orthographic = 0

    def _draw(self, camera: CameraPart) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Return colours (h, w, 3) and the depth buffer (h, w), 1 at near and 0 at far."""
        view = mujoco.MjrRect(0, 0, camera.width, camera.height)
        color = np.empty((camera.height, camera.width, 3), np.uint8)
        share = np.empty((camera.height, camera.width), np.float32)
        mujoco.mjr_render(view, self._scene, self._context)
        mujoco.mjr_readPixels(color, share, view, self._context)
        # OpenGL begins at the bottom.
        return color[::-1].copy(), share[::-1]

    def _segmented(
        self, camera: CameraPart,
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Draw with the number of each thing for its colour, opaque and without light."""
        for flag in SEGMENT:
            self._scene.flags[flag] = 1
        try:
            return self._draw(camera)
        finally:
            for flag in SEGMENT:
                self._scene.flags[flag] = 0

    def _ids(self, color: NDArray[np.uint8]) -> NDArray[np.int32]:
        """Turn the colours of a segmented picture into ids of geoms."""
        drawn = self._scene.geoms[:self._scene.ngeom]
        table = np.full(self._scene.ngeom + 1, -1, np.int32)
        for geom in drawn:
            table[geom.segid + 1] = geom.objid
        table[0] = -1
        found: NDArray[np.int32] = table[color.astype(np.int32) @ (1, 1 << 8, 1 << 16)]
        return found


def _shadow_pixels(simulation: Simulation, camera: CameraPart) -> int:
    """Return the size of the shadow map for the widest camera of a world."""
    widest = max(
        (sensor.camera.width for name in simulation.names()
         for sensor in simulation.model_of(name).sensors if sensor.camera is not None),
        default=0,
    )
    fitting = (size for width, size in SHADOW_PIXELS.items() if max(widest, camera.width) <= width)
    return next(fitting, FINEST_SHADOW_PIXELS)


def _metres(share: NDArray[np.float32], near: float, far: float) -> Floats:
    """Return distances along the axis, inf where nothing is; ``share`` is 1 at near, 0 at far.

    The inverse of OpenGL's perspective division, where ``share`` is
    ``near * (far - z) / (z * (far - near))``.
    """
    scaled = share.astype(np.float64) * (far - near)
    return np.where(share > 0.0, near * far / (scaled + near), np.inf)
