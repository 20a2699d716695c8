"""Shapes, meshes, textures and materials of a world as those of MuJoCo.

A visual mesh is rendered, and hit by rays, triangle by triangle. A collision mesh touches as the
convex hull of each of its connected parts, since MuJoCo collides convex shapes only.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import mujoco
import numpy as np
import trimesh
from numpy.typing import NDArray
from PIL import Image

from robot_qa.embedded import world
from robot_qa.errors import RobotQaError, did_you_mean
from robot_qa.geometry import Floats, Poses, normalized

MOST_PARTS = 200
"""A collision mesh of more connected parts than these is taken as one."""
SEGMENTS = 96
"""Of a textured cylinder; its faces lie at most 0.06 % of the radius inside."""
MESH_FORMATS = ('.obj', '.stl', '.glb', '.gltf', '.dae', '.ply')
FACES = np.array([
    [[0, 1, 0], [0, 0, 1]], [[0, -1, 0], [0, 0, 1]], [[-1, 0, 0], [0, 0, 1]],
    [[1, 0, 0], [0, 0, 1]], [[1, 0, 0], [0, 1, 0]], [[1, 0, 0], [0, -1, 0]],
])
"""Of a box: where a picture's right and top point on each; outwards is across their product."""
WHITE: world.Color = (1.0, 1.0, 1.0, 1.0)


class Part(NamedTuple):
    """One piece of a mesh with a look of its own: vertices (n, 3), faces (m, 3), uv (n, 2)."""

    vertices: Floats
    faces: NDArray[np.int64]
    uv: Floats | None
    color: world.Color
    image: Image.Image | None


def wxyz(rotation: Floats) -> Floats:
    """Turn x, y, z, w into MuJoCo's order; (..., 4)."""
    return rotation[..., [3, 0, 1, 2]]


def xyzw(rotation: Floats) -> Floats:
    """Turn MuJoCo's order into x, y, z, w; (..., 4)."""
    return rotation[..., [1, 2, 3, 0]]


def z_towards(direction: Floats) -> Floats:
    """Return the shortest rotation that turns z into ``direction`` (3,); (4,)."""
    x, y, z = direction / np.linalg.norm(direction)
    half_way = np.array([-y, x, 0.0, 1.0 + z])
    return normalized(half_way) if z > -1.0 else np.array([1.0, 0.0, 0.0, 0.0])


def primitive(shape: world.Geometry) -> dict[str, Any]:
    """Return what ``add_geom`` takes for a shape that is no mesh."""
    kind = mujoco.mjtGeom
    match shape:
        case world.Box(size):
            return {'type': kind.mjGEOM_BOX, 'size': [half / 2 for half in size]}
        case world.Sphere(radius):
            return {'type': kind.mjGEOM_SPHERE, 'size': [radius, 0, 0]}
        case world.Cylinder(radius, length):
            return {'type': kind.mjGEOM_CYLINDER, 'size': [radius, length / 2, 0]}
        case world.Capsule(radius, length):
            return {'type': kind.mjGEOM_CAPSULE, 'size': [radius, length / 2, 0]}
        case world.Ellipsoid(radii):
            return {'type': kind.mjGEOM_ELLIPSOID, 'size': list(radii)}
        case world.Plane(_, size):
            return {'type': kind.mjGEOM_PLANE, 'size': [size[0] / 2, size[1] / 2, 1.0]}
    raise TypeError(f'{shape} is no primitive')


def placed(pose: Poses, shape: world.Geometry) -> dict[str, Any]:
    """Return position and rotation for ``add_geom``; a plane is turned to its normal."""
    rotation = pose.rotation
    if isinstance(shape, world.Plane):
        turn = Poses(np.zeros(3), z_towards(np.array(shape.normal)))
        rotation = (pose @ turn).rotation
    return {'pos': pose.translation, 'quat': wxyz(rotation)}


def parts(mesh: world.Mesh) -> tuple[Part, ...]:
    """Load a mesh, once; ``RobotQaError`` if it cannot be read."""
    stat = mesh.file.stat() if mesh.file.is_file() else None
    return _parts(mesh, stat.st_mtime_ns if stat else 0)


@lru_cache(maxsize=256)
def _parts(mesh: world.Mesh, _changed: int) -> tuple[Part, ...]:
    if not mesh.file.is_file():
        raise RobotQaError(f'{mesh.file}: no such mesh')
    if mesh.file.suffix.lower() not in MESH_FORMATS:
        raise RobotQaError(f'{mesh.file}: meshes are read from {", ".join(MESH_FORMATS)}')
    # Only this keeps the objects of an OBJ file apart; each becomes object_material.
    apart = {'split_objects': True} if mesh.submesh and mesh.file.suffix.lower() == '.obj' else {}
    try:
        scene = trimesh.load_scene(mesh.file, process=False, **apart)
    except Exception as error:  # each format's reader raises errors of its own
        raise RobotQaError(f'{mesh.file}: cannot be read as a mesh: {error}') from error
    found = []
    names = set()
    for node in scene.graph.nodes_geometry:
        transform, name = scene.graph[node]
        piece = scene.geometry[name]
        if not isinstance(piece, trimesh.Trimesh) or not len(piece.faces):
            continue
        material = getattr(getattr(piece.visual, 'material', None), 'name', None)
        aliases = {node, name, name.removesuffix(f'_{material}')}
        names |= aliases
        if mesh.submesh is None or mesh.submesh in aliases:
            found.append(_part(piece.copy().apply_transform(transform), mesh.scale))
    if not found:
        known = did_you_mean(mesh.submesh, names) if mesh.submesh else ''
        what = f'submesh "{mesh.submesh}"' if mesh.submesh else 'triangles'
        raise RobotQaError(f'{mesh.file}: no {what} in it{known}')
    if mesh.submesh and mesh.center:
        ends = np.concatenate([part.vertices for part in found])
        middle = (ends.min(axis=0) + ends.max(axis=0)) / 2
        found = [part._replace(vertices=part.vertices - middle) for part in found]
    return tuple(found)


def _part(piece: trimesh.Trimesh, scale: world.Vector) -> Part:
    look: Any = piece.visual
    material = getattr(look, 'material', None)
    if isinstance(material, trimesh.visual.material.PBRMaterial):
        image, color = material.baseColorTexture, material.baseColorFactor
    else:
        image, color = getattr(material, 'image', None), getattr(material, 'main_color', None)
    if color is None:
        color = getattr(look, 'main_color', None) if look.defined else None
    values = np.ones(4) if color is None else np.asarray(color, float)
    if color is not None and np.asarray(color).dtype.kind in 'iu':
        values = values / 255
    uv = getattr(look, 'uv', None)
    faces = np.asarray(piece.faces, np.int64)
    if np.prod(scale) < 0:
        faces = faces[:, ::-1]
    return Part(
        np.asarray(piece.vertices) * scale, faces, None if uv is None else np.asarray(uv),
        (float(values[0]), float(values[1]), float(values[2]), float(values[3])),
        image if uv is not None else None,
    )


@lru_cache(maxsize=256)
def hulls(mesh: world.Mesh) -> tuple[Floats, ...]:
    """Return the vertices of what a collision mesh touches with, one array (n, 3) for each hull.

    Parts without a volume are left out.
    """
    found = []
    for part in parts(mesh):
        whole = trimesh.Trimesh(part.vertices, part.faces, process=True)
        pieces = list(whole.split(only_watertight=False))
        for piece in pieces if 0 < len(pieces) <= MOST_PARTS else [whole]:
            corners = np.asarray(piece.vertices) - piece.vertices.mean(axis=0)
            if len(corners) > 3 and np.linalg.svd(corners, compute_uv=False)[2] > 1e-6:
                found.append(np.asarray(piece.convex_hull.vertices))
    return tuple(found)


def textured(shape: world.Geometry) -> Part | None:
    """Return a box, a cylinder or a plane as triangles with a whole picture on each face."""
    if isinstance(shape, world.Box):
        half = np.array(shape.size) / 2
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) @ FACES
        vertices = (corners + np.cross(FACES[:, :1], FACES[:, 1:])).reshape(-1, 3) * half
        uv = np.tile(np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]]), (6, 1))
        faces = np.array([[0, 1, 2], [0, 2, 3]]) + 4 * np.arange(6)[:, None, None]
        return Part(vertices, faces.reshape(-1, 3), uv, WHITE, None)
    if isinstance(shape, world.Cylinder):
        return _tube(shape)
    if isinstance(shape, world.Plane):
        x, y = shape.size[0] / 2, shape.size[1] / 2
        corners = np.array([[-x, -y, 0], [x, -y, 0], [x, y, 0], [-x, y, 0]])
        uv = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])
        return Part(corners, np.array([[0, 1, 2], [0, 2, 3]]), uv, WHITE, None)
    return None


def _tube(shape: world.Cylinder) -> Part:
    angle = np.linspace(0.0, 2 * np.pi, SEGMENTS + 1)
    ring = np.stack((np.cos(angle), np.sin(angle)), axis=-1)
    half, share = shape.length / 2, angle / (2 * np.pi)
    sides = [np.column_stack((ring * shape.radius, np.full(len(ring), z))) for z in (-half, half)]
    low, first = np.arange(SEGMENTS), len(ring)
    mantle = np.concatenate((
        np.column_stack((low, low + 1, low + 1 + first)),
        np.column_stack((low, low + 1 + first, low + first)),
    ))
    fan = np.column_stack((np.zeros(SEGMENTS - 2, int), low[1:-1], low[2:]))
    vertices = np.concatenate((*sides, *sides))
    uv = np.concatenate((
        np.column_stack((share, np.zeros(first))), np.column_stack((share, np.ones(first))),
        ring / 2 + 0.5, ring / 2 + 0.5,
    ))
    faces = np.concatenate((mantle, fan[:, ::-1] + 2 * first, fan + 3 * first))
    return Part(vertices, faces, uv, WHITE, None)


class Assets:
    """Adds meshes, textures and materials to a spec, each of them once."""

    def __init__(self, spec: Any) -> None:
        self._spec = spec
        self._names: dict[object, str] = {}

    def mesh(self, key: object, vertices: Floats, part: Part | None = None) -> str:
        """Return the name of a mesh; without ``part`` the convex hull of its vertices."""
        name = self._names.get(('mesh', key))
        if name is None:
            name = self._names['mesh', key] = f'mesh{len(self._names)}'
            added = self._spec.add_mesh(name=name, uservert=vertices.ravel())
            if part is None:
                added.inertia = mujoco.mjtMeshInertia.mjMESH_INERTIA_CONVEX
            else:
                added.inertia = mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL
                added.userface = part.faces.ravel()
                if part.uv is not None:
                    # Row 0 of a picture is its top, where v is 1.
                    added.usertexcoord = (part.uv * [1.0, -1.0] + [0.0, 1.0]).ravel()
                    added.userfacetexcoord = part.faces.ravel()
        return name

    def texture(self, source: Path | Image.Image) -> str:
        """Return the name of a texture, of a file or of a picture that a mesh brought along."""
        key = ('texture', source if isinstance(source, Path) else id(source))
        name = self._names.get(key)
        if name is None:
            name = self._names[key] = f'texture{len(self._names)}'
            pixels = np.asarray(picture(source))
            added = self._spec.add_texture(
                name=name, type=mujoco.mjtTexture.mjTEXTURE_2D, nchannel=3,
                width=pixels.shape[1], height=pixels.shape[0],
            )
            added.data = pixels.tobytes()
        return name

    def material(
        self, material: world.Material, transparency: float, image: Path | Image.Image | None,
    ) -> str:
        """Return the name of a material; a texture is coloured by the diffuse colour."""
        texture = self.texture(image) if image is not None else None
        key = ('material', material, transparency, texture)
        name = self._names.get(key)
        if name is None:
            name = self._names[key] = f'material{len(self._names)}'
            color, glow = list(material.diffuse), max(material.emissive[:3])
            if glow > 0.0 and max(color[:3]) < glow:
                color[:3] = material.emissive[:3]
            color[3] *= 1.0 - transparency
            added = self._spec.add_material(
                name=name, rgba=color, specular=float(np.mean(material.specular[:3])),
                emission=min(1.0, glow / max(*color[:3], 1e-6)), shininess=0.25,
            )
            if texture is not None:
                added.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = texture
        return name


def picture(source: Path | Image.Image) -> Image.Image:
    """Return a picture as RGB, once for a file; ``RobotQaError`` if it cannot be read."""
    if isinstance(source, Path):
        stat = source.stat() if source.is_file() else None
        return _picture(source, stat.st_mtime_ns if stat else 0)
    return source.convert('RGB')


@lru_cache(maxsize=128)
def _picture(file: Path, _changed: int) -> Image.Image:
    try:
        with Image.open(file) as image:
            return image.convert('RGB')
    except OSError as error:
        raise RobotQaError(f'{file}: cannot be read as a picture: {error}') from error
