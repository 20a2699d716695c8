"""Messages of Gazebo as plain data, and what it is given to spawn."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from robot_qa.simulators.base import ActionError, Pose, Vector


def pose_values(pose: Pose) -> dict[str, Any]:
    """Return a pose as the JSON of gz.msgs.Pose."""
    return {
        'position': dict(zip('xyz', pose.xyz, strict=True)),
        'orientation': dict(zip('xyzw', pose.rotation, strict=True)),
    }


def vector(values: Mapping[str, Any]) -> Vector:
    """Return the numbers in the JSON of gz.msgs.Vector3d, which leaves zeros out."""
    x, y, z = (float(values.get(axis, 0.0)) for axis in 'xyz')
    return x, y, z


def scaled(light: Mapping[str, Any], scale: float) -> dict[str, Any]:
    """Return a light whose brightness is ``scale`` times its own; its place stays.

    An intensity that is left out in JSON is 0, which is what SDF may say of it.
    """
    kept = {key: value for key, value in light.items() if key not in ('pose', 'header')}
    return {**kept, 'intensity': float(light.get('intensity', 0.0)) * scale}


def source(given: str) -> dict[str, str]:
    """Return how gz.msgs.EntityFactory names a source: an SDF text, a URI, or a path.

    Raises ``ActionError`` for a text that is no SDF of one thing, and for a path to nothing.
    """
    if given.lstrip().startswith('<'):
        check_text(given)
        return {'sdf': given}
    path = given.removeprefix('file://')
    if '://' in path:
        return {'sdf_filename': given}
    if not Path(path).exists():
        raise ActionError(f'spawn: there is no {path}')
    return {'sdf_filename': str(Path(path).resolve())}


def check_text(text: str) -> None:
    """Raise ``ActionError`` for a text that is no SDF of exactly one thing to spawn."""
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        line, column = error.position
        raise ActionError(f'spawn: the SDF is not XML: line {line}, column {column + 1}: '
                          f'{error.msg.split(":")[0]}') from error
    if root.tag != 'sdf':
        raise ActionError(f'spawn: SDF begins with <sdf>, not with <{root.tag}>')
    inner = [one.tag for one in root]
    if sum(tag in ('model', 'light', 'actor') for tag in inner) != 1:
        raise ActionError('spawn: Gazebo takes an SDF with exactly one model, light or actor, and '
                          f'this one has {", ".join(inner) or "nothing"}')
