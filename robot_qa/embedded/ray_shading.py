"""The colours of what rays met: textures, diffuse light and shadows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import mujoco
import numpy as np
from numpy.typing import NDArray

from robot_qa.embedded import pinhole
from robot_qa.embedded.ray_casting import Hits, View, cast
from robot_qa.embedded.simulation import Simulation
from robot_qa.geometry import Floats

SUN_DISTANCE = 1e4
"""In m: rays from there are parallel enough."""
SHADOW_GAP = 0.005
"""In m: what is nearer to a surface casts no shadow on it; the surface itself does not."""
EDGE = 1e-4
"""By how much a triangle is wider than it is, as a share, so that no seam is left open."""
SAME_PLACE = 1e-3
"""How far a hit may lie from its triangle, as a share of its distance."""
NEAREST = 1e-6
Pixels = NDArray[np.intp]


def albedo(simulation: Simulation, view: View, hits: Hits) -> Floats:
    """Return the colours of surfaces under white light, (n, 3) from 0 to 1."""
    model = simulation.model
    materials = model.geom_matid[hits.geoms]
    colors: Floats = np.where(
        materials[:, None] >= 0, model.mat_rgba[materials, :3], model.geom_rgba[hits.geoms, :3],
    ).astype(float)
    for geom in np.unique(hits.geoms[hits.geoms >= 0]).tolist():
        material = model.geom_matid[geom]
        texture = model.mat_texid[material, mujoco.mjtTextureRole.mjTEXROLE_RGB]
        mesh = model.geom_dataid[geom]
        if material < 0 or texture < 0 or mesh < 0 or model.mesh_texcoordadr[mesh] < 0:
            continue
        turn = simulation.data.geom_xmat[geom].reshape(3, 3)
        corners = _vertices(model, mesh) @ turn.T + simulation.data.geom_xpos[geom]
        texels = _texels(model, texture)
        reached = np.where(hits.geoms == geom, hits.distance, np.inf)
        faces = _Faces.of(model, mesh, corners)
        for where, uv in _coordinates(faces, view, reached):
            height, width = texels.shape[:2]
            column = np.floor(uv[:, 0] * width).astype(int) % width
            row = np.floor(uv[:, 1] * height).astype(int) % height
            colors[where] = model.mat_rgba[material, :3] * texels[row, column] / 255.0
    return colors


def _vertices(model: Any, mesh: int) -> Floats:
    first = model.mesh_vertadr[mesh]
    vertices: Floats = model.mesh_vert[first:first + model.mesh_vertnum[mesh]].astype(float)
    return vertices


def _texels(model: Any, texture: int) -> NDArray[np.uint8]:
    height, width = int(model.tex_height[texture]), int(model.tex_width[texture])
    channels, first = int(model.tex_nchannel[texture]), model.tex_adr[texture]
    texels = model.tex_data[first:first + height * width * channels]
    found: NDArray[np.uint8] = texels.reshape(height, width, channels)[..., :3]
    return found


class _Faces(NamedTuple):
    """The triangles of a mesh: corners (m, 3, 3) in the world, places (m, 3, 2) in the texture."""

    corners: Floats
    places: Floats

    @classmethod
    def of(cls, model: Any, mesh: int, vertices: Floats) -> _Faces:
        """Take those of a mesh whose vertices (n, 3) are known."""
        first, count = model.mesh_faceadr[mesh], model.mesh_facenum[mesh]
        places = model.mesh_texcoordadr[mesh] + model.mesh_facetexcoord[first:first + count]
        return cls(
            vertices[model.mesh_face[first:first + count]],
            model.mesh_texcoord[places].astype(float),
        )


def _coordinates(faces: _Faces, view: View, reached: Floats) -> Iterator[tuple[Pixels, Floats]]:
    """Yield pixels and their places in the texture, triangle by triangle.

    ``reached`` (n,) is the distance of the mesh ahead, inf where it is not seen. A ray r meets the
    triangle a, b, c where its weights r * (b x c), r * (c x a) and r * (a x b), divided by their
    sum, are all positive; the distance is a * (b x c) divided by their sum.
    """
    corners = faces.corners - view.eye
    sides = np.cross(np.roll(corners, -1, axis=1), np.roll(corners, -2, axis=1))
    volume = np.einsum('ij,ij->i', corners[:, 0], sides[:, 0])
    of_mesh = np.isfinite(reached).reshape(view.size)
    boxes = _boxes(faces.corners, view, of_mesh)
    # A triangle shows its front where its corners turn left: the volume is negative.
    seen = (volume < 0.0) & (boxes[:, 0] < boxes[:, 1]) & (boxes[:, 2] < boxes[:, 3])
    number = np.arange(len(reached)).reshape(view.size)
    for face in np.flatnonzero(seen):
        top, bottom, left, right = boxes[face]
        where = number[top:bottom, left:right][of_mesh[top:bottom, left:right]]
        if not len(where):
            continue
        weights = sides[face] @ view.rays[where].T
        total = weights.sum(axis=0)
        # Of a front the volume and all three weights are negative; so is their sum, where it hits.
        inside = weights.max(axis=0) < -EDGE * total
        inside &= np.abs(volume[face] - reached[where] * total) < -SAME_PLACE * volume[face]
        where, weights = where[inside], weights[:, inside] / total[inside]
        yield where, weights.T @ faces.places[face]


def _boxes(corners: Floats, view: View, of_mesh: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return first and last+1 row, then column, of triangles (m, 3, 3) in the picture; (m, 4).

    Not beyond the part of the picture where the mesh is seen; empty where they lie elsewhere.
    """
    inside = pinhole.seen_from(view.pose, corners)
    ahead = inside[..., 0]
    crossing, behind = (
        some(ahead < NEAREST, axis=1, keepdims=True) for some in (np.any, np.all))
    inside[..., 0] = np.maximum(ahead, NEAREST)
    place = pinhole.projected(view.camera, inside)[..., ::-1]
    low = np.where(crossing, -np.inf, np.floor(place.min(axis=1)) - 1.0)
    high = np.where(crossing, np.inf, np.ceil(place.max(axis=1)) + 1.0)
    high = np.where(behind, -np.inf, high)
    boxes = []
    for axis in (0, 1):
        there = np.unique(np.nonzero(of_mesh)[axis])
        boxes += [np.clip(one[:, axis], there[0], there[-1] + 1) for one in (low, high)]
    found: NDArray[np.int64] = np.stack(boxes, axis=-1).astype(np.int64)
    return found


def light_on(
    simulation: Simulation, view: View, points: Floats, hits: Hits, glow: Floats,
) -> Floats:
    """Return the light on surfaces at ``points`` (n, 3), with their own ``glow`` (n,); (n, 3).

    By the formula of OpenGL 2.1 (section 2.14.1) without highlights. As MuJoCo draws each light
    with shadows on top of all others, both they together and each such light end at 1.
    """
    model, data = simulation.model, simulation.data
    seen = hits.geoms >= 0
    total = glow[:, None] + np.asarray(model.vis.headlight.ambient, float)
    over = np.zeros_like(total)
    for light in np.flatnonzero(model.light_active).tolist():
        place, ahead = data.light_xpos[light], data.light_xdir[light]
        if model.light_type[light] == mujoco.mjtLightType.mjLIGHT_DIRECTIONAL:
            towards, strength = -ahead, np.ones(len(points))
            middle = points[seen].mean(axis=0) if seen.any() else place
            place = middle - ahead * SUN_DISTANCE
        else:
            towards, strength = _lamp(model, light, points, place, ahead)
        strength = strength * np.maximum((hits.normals * towards).sum(axis=-1), 0.0)
        if model.light_castshadow[light]:
            strength *= _unshaded(simulation, place, points, view.size, seen & (strength > 0.0))
            over += np.minimum(strength[:, None] * model.light_diffuse[light], 1.0)
        else:
            total += strength[:, None] * model.light_diffuse[light]
    light_there: Floats = np.minimum(total, 1.0) + over
    return light_there


def _lamp(
    model: Any, light: int, points: Floats, place: Floats, ahead: Floats,
) -> tuple[Floats, Floats]:
    """Return directions (n, 3) to a point or spot light, and how much of it arrives (n,)."""
    way = place - points
    distance = np.maximum(np.linalg.norm(way, axis=-1), NEAREST)
    towards = way / distance[:, None]
    constant, linear, quadratic = model.light_attenuation[light]
    strength = 1.0 / (constant + linear * distance + quadratic * distance ** 2)
    if model.light_type[light] == mujoco.mjtLightType.mjLIGHT_SPOT:
        cosine = -towards @ ahead
        inside = cosine >= np.cos(np.radians(model.light_cutoff[light]))
        strength *= np.where(inside, np.maximum(cosine, 0.0) ** model.light_exponent[light], 0.0)
    return towards, strength


def _unshaded(
    simulation: Simulation, place: Floats, points: Floats, size: tuple[int, int],
    lit: NDArray[np.bool_],
) -> Floats:
    """Return 0 for points (n, 3) in the shadow, else 1; in squares of two pixels; (n,)."""
    height, width = size
    every_other = np.arange(height * width).reshape(size)[::2, ::2]
    open_way = np.ones(every_other.shape)
    asked = lit[every_other]
    if asked.any():
        ways = points[every_other[asked]] - place
        reached = cast(simulation, place, ways).distance
        gap = SHADOW_GAP / np.linalg.norm(ways, axis=-1)
        open_way[asked] = reached > 1.0 - gap
    return open_way.repeat(2, axis=0).repeat(2, axis=1)[:height, :width].ravel()
