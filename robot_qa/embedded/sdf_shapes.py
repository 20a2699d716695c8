"""Geometries, surfaces and materials of SDF."""

from __future__ import annotations

import math
from pathlib import Path

from robot_qa.embedded.sdf_files import Library
from robot_qa.embedded.sdf_reader import Reader
from robot_qa.embedded.sdf_xml import Element
from robot_qa.embedded.world import (
    Box,
    Capsule,
    Color,
    Cylinder,
    Ellipsoid,
    Geometry,
    Material,
    Mesh,
    Plane,
    Sphere,
)
from robot_qa.errors import did_you_mean

SHAPES = ('box', 'sphere', 'cylinder', 'capsule', 'ellipsoid', 'plane', 'mesh')
UNSUPPORTED = ('cone', 'heightmap', 'image', 'polyline')
MESHES = ('.obj', '.stl', '.glb', '.gltf', '.dae', '.ply', '.off')
BLACK: Color = (0.0, 0.0, 0.0, 1.0)
WHITE: Color = (1.0, 1.0, 1.0, 1.0)


def geometry(reader: Reader, library: Library, parent: Element) -> Geometry | None:
    """Return the shape of a visual or a collision.

    None where there is none: ``<empty>``, a shape that is not represented (a warning), or an
    error.
    """
    found = reader.required(parent, 'geometry', ('pose', 'material', 'surface'))
    if found is None:
        return None
    shapes = [one for one in found.children if one.name in {*SHAPES, *UNSUPPORTED, 'empty'}]
    if not shapes:
        words = (did_you_mean(one.name, SHAPES) for one in found.children)
        hint = next((word for word in words if word), f': expected one of {", ".join(SHAPES)}')
        reader.error(found, f'<geometry> holds no shape{hint}')
        return None
    if len(shapes) > 1:
        reader.warn(shapes[1], 'a second shape in <geometry>: only the first counts')
    shape = shapes[0]
    if shape.name == 'empty':
        return None
    if shape.name in UNSUPPORTED:
        reader.warn(shape, f'the shape <{shape.name}> is not represented: left out')
        return None
    return _shape(reader, library, shape)


def _shape(reader: Reader, library: Library, shape: Element) -> Geometry | None:
    if shape.name in {'sphere', 'cylinder', 'capsule'}:
        radius = reader.size(shape, 'radius')
        if shape.name == 'sphere':
            return Sphere(radius)
        length = reader.size(shape, 'length')
        return (Cylinder if shape.name == 'cylinder' else Capsule)(radius, length)
    if shape.name == 'box':
        return Box(reader.sizes(shape, 'size'))
    if shape.name == 'ellipsoid':
        return Ellipsoid(reader.sizes(shape, 'radii'))
    return _plane(reader, shape) if shape.name == 'plane' else _mesh(reader, library, shape)


def _plane(reader: Reader, shape: Element) -> Plane:
    x, y, z = reader.vector(shape, 'normal', (0.0, 0.0, 1.0))
    length = math.hypot(x, y, z)
    if length == 0.0:
        reader.error(shape, 'the <normal> of a <plane> has the length 0')
        length = 1.0
    found = shape.child('size')
    size = reader.numbers(found, (2,)) if found is not None else None
    if size is not None and min(size) <= 0.0:
        reader.error(shape, 'the <size> of a <plane>: expected more than 0')
    width, depth = size or (1.0, 1.0)
    return Plane((x / length, y / length, z / length), (width, depth))


def _mesh(reader: Reader, library: Library, shape: Element) -> Mesh | None:
    uri = reader.required(shape, 'uri', ('scale', 'submesh'))
    if uri is None:
        return None
    file = library.file(uri, 'the mesh', error=True)
    if file is None:
        return None
    if file.suffix.lower() not in MESHES:
        reader.warn(uri, f'meshes of the kind "{file.suffix}" are not read: left out')
        return None
    scale = reader.vector(shape, 'scale', (1.0, 1.0, 1.0))
    if 0.0 in scale:
        reader.error(shape, 'the <scale> of a <mesh> holds a 0')
    part = shape.child('submesh')
    if part is None:
        return Mesh(file, scale)
    reader.required(part, 'name', ('center',))
    return Mesh(file, scale, reader.word(part, 'name'), reader.flag(part, 'center', False))


def material(reader: Reader, library: Library, visual: Element) -> Material:
    """Return how a visual looks."""
    found = visual.child('material')
    if found is None:
        return Material()
    script = found.child('script')
    if script is not None:
        name = reader.word(script, 'name') or ''
        reader.warn(script, f'the material script "{name}" has no effect, only colours have')
    texture = _texture(reader, library, found)
    # A script or a texture alone leaves nothing to see of SDF's default, which is black.
    base = WHITE if script is not None or texture is not None else BLACK
    return Material(
        ambient=reader.color(found, 'ambient', base),
        diffuse=reader.color(found, 'diffuse', base),
        specular=reader.color(found, 'specular', BLACK),
        emissive=reader.color(found, 'emissive', BLACK),
        texture=texture,
    )


def _texture(reader: Reader, library: Library, found: Element) -> Path | None:
    pbr = found.child('pbr')
    flows = [] if pbr is None else [*pbr.all('metal'), *pbr.all('specular')]
    for flow in flows:
        albedo = flow.child('albedo_map')
        if albedo is not None and albedo.text:
            return library.file(albedo, 'the texture', error=False)
    return None


def friction(reader: Reader, collision: Element) -> tuple[float, float, float | None]:
    """Return mu, mu2 and the torsional coefficient (None if not given) of a collision."""
    surface = collision.child('surface')
    found = surface.child('friction') if surface is not None else None
    if found is None:
        return 1.0, 1.0, None
    ode, bullet = found.child('ode'), found.child('bullet')
    mu = mu2 = 1.0
    if ode is not None:
        mu = reader.number(ode, 'mu', 1.0, low=0.0, infinite=True)
        mu2 = reader.number(ode, 'mu2', 1.0, low=0.0, infinite=True)
    elif bullet is not None:
        mu = reader.number(bullet, 'friction', 1.0, low=0.0, infinite=True)
        mu2 = reader.number(bullet, 'friction2', 1.0, low=0.0, infinite=True)
    torsional = found.child('torsional')
    if torsional is None:
        return mu, mu2, None
    return mu, mu2, reader.number(torsional, 'coefficient', 1.0, low=0.0, infinite=True)


def restitution(reader: Reader, collision: Element) -> float:
    """Return how much of its speed a body keeps when it bounces, from 0 to 1."""
    surface = collision.child('surface')
    bounce = surface.child('bounce') if surface is not None else None
    if bounce is None:
        return 0.0
    return min(reader.number(bounce, 'restitution_coefficient', 0.0, low=0.0), 1.0)


def collide_bitmask(reader: Reader, collision: Element) -> int:
    """Return the bits that two collisions must share to touch."""
    surface = collision.child('surface')
    contact = surface.child('contact') if surface is not None else None
    if contact is None:
        return 0xFFFF
    mask = contact.child('collide_bitmask')
    if mask is not None and mask.text.lower().startswith('0x'):
        try:
            return int(mask.text, 16)
        except ValueError:
            reader.error_in_text(mask, f'"{mask.text}" is no hexadecimal number')
            return 0xFFFF
    return reader.whole(contact, 'collide_bitmask', 0xFFFF)
