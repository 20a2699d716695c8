"""Lights of SDF."""

from __future__ import annotations

import math

from robot_qa.embedded.sdf_reader import Reader
from robot_qa.embedded.sdf_xml import Element
from robot_qa.embedded.world import Light
from robot_qa.errors import did_you_mean
from robot_qa.geometry import Poses

KINDS = ('directional', 'point', 'spot')


def light(reader: Reader, element: Element, name: str, pose: Poses) -> Light | None:
    """Return a light at a pose, or None with an error if its type is none."""
    kind = element.attributes.get('type', 'point').strip()
    if kind not in KINDS:
        expected = f', expected one of {", ".join(KINDS)}{did_you_mean(kind, KINDS)}'
        reader.error(element, f'"{kind}" is no type of <light>{expected}')
        return None
    reach, attenuation = 10.0, (1.0, 1.0, 0.0)
    fades = element.child('attenuation')
    if fades is not None:
        reach = max(reader.number(fades, 'range', reach, infinite=True), 0.0)
        # Gazebo, too, takes a negative one as 0.
        attenuation = (
            max(reader.number(fades, 'constant', 1.0), 0.0),
            max(reader.number(fades, 'linear', 1.0), 0.0),
            max(reader.number(fades, 'quadratic', 0.0), 0.0),
        )
    inner = outer = falloff = 0.0
    cone = element.child('spot')
    if cone is not None:
        inner = reader.number(cone, 'inner_angle', inner, low=0.0)
        outer = reader.number(cone, 'outer_angle', outer, low=0.0)
        falloff = reader.number(cone, 'falloff', falloff, low=0.0)
    elif kind == 'spot':
        reader.error(element, f'the spot light "{name}" needs a <spot> with its angles')
    direction = reader.vector(element, 'direction', (0.0, 0.0, -1.0))
    length = math.hypot(*direction)
    if length == 0.0:
        reader.error(element, 'the <direction> of a <light> has the length 0')
        length = 1.0
    x, y, z = direction
    return Light(
        name=name, kind=kind,  # type: ignore[arg-type]  # one of KINDS
        pose=pose,
        diffuse=reader.color(element, 'diffuse', (1.0, 1.0, 1.0, 1.0)),
        specular=reader.color(element, 'specular', (0.1, 0.1, 0.1, 1.0)),
        intensity=reader.number(element, 'intensity', 1.0, low=0.0),
        on=reader.flag(element, 'light_on', True),
        direction=(x / length, y / length, z / length),
        cast_shadows=reader.flag(element, 'cast_shadows', False),
        range=reach, attenuation=attenuation, inner_angle=inner, outer_angle=outer,
        falloff=falloff,
    )
