"""Joints of SDF."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from robot_qa.embedded.sdf_frames import MODEL_FRAME, Scope, visible
from robot_qa.embedded.sdf_reader import Reader, limit
from robot_qa.embedded.sdf_xml import Element
from robot_qa.embedded.world import WORLD_LINK, Axis, Joint
from robot_qa.errors import did_you_mean
from robot_qa.geometry import conjugate, product, rotate

# How many axes each kind has.
AXES = {'fixed': 0, 'revolute': 1, 'continuous': 1, 'prismatic': 1, 'ball': 0, 'universal': 2}
LEFT_OUT = ('gearbox', 'screw')
APPROXIMATED = {'revolute2': 'universal'}
KINDS = (*AXES, *APPROXIMATED, *LEFT_OUT)


def joint(scope: Scope, element: Element, prefix: str) -> Joint | None:
    """Return a joint with the links it joins, ``prefix`` before the names of the scope.

    None if it is not represented (a warning) or makes no sense (an error).
    """
    reader = scope.reader
    name, kind = reader.attribute(element, 'name'), reader.attribute(element, 'type')
    if kind and kind not in KINDS:
        expected = f', expected one of {", ".join(KINDS)}{did_you_mean(kind, KINDS)}'
        reader.error(element, f'"{kind}" is no type of <joint>{expected}')
    parent, child = end(scope, element, 'parent'), end(scope, element, 'child')
    if parent is None or child is None or kind not in KINDS:
        return None
    if parent == child:
        reader.error(element, f'the joint "{name}" joins "{visible(child)}" to itself')
        return None
    if kind in LEFT_OUT:
        reader.warn(element, f'a joint of type "{kind}" is not represented: left out')
        return None
    if kind in APPROXIMATED:
        reader.warn(element, f'a joint of type "{kind}" is taken as "{APPROXIMATED[kind]}"')
        kind = APPROXIMATED[kind]
    pose = scope.pose(child).inverse() @ scope.pose(name)
    names = ('axis', 'axis2')[:AXES[kind]]
    return Joint(
        name=prefix + name, kind=kind,  # type: ignore[arg-type]  # one of AXES
        parent=parent if parent == WORLD_LINK else prefix + visible(parent),
        child=prefix + visible(child), pose=pose,
        axes=tuple(axis(scope, element, name, which, kind) for which in names),
    )


def end(scope: Scope, element: Element, which: str) -> str | None:
    """Return the link at one end of a joint, ``world``, or None with an error or a warning."""
    reader = scope.reader
    found = reader.required(element, which, ('axis', 'axis2', 'pose', 'child', 'parent'))
    if found is None:
        return None
    if found.text == WORLD_LINK:
        if which == 'child':
            reader.error_in_text(found, 'the world cannot be the <child>, only the <parent>')
            return None
        return WORLD_LINK
    if scope.is_skipped(found.text):
        reader.warn(found, f'"{found.text}" was left out, so this joint is, too')
        return None
    link = scope.link(found.text)
    if link is None:
        links = [one for one in scope.visible_names() if scope.link(one) is not None]
        reader.error_in_text(
            found, f'the joint\'s {which} "{found.text}" is no link here'
            f'{did_you_mean(found.text, links)}',
        )
    return link


def axis(scope: Scope, element: Element, name: str, which: str, kind: str) -> Axis:
    """Return an axis with its limits; a continuous one has none."""
    reader, found = scope.reader, element.child(which)
    if found is None:
        reader.warn(element, f'the joint "{name}" has no <{which}>: it is taken as 0 0 1')
        return Axis((0.0, 0.0, 1.0))
    limits, dynamics = found.child('limit'), found.child('dynamics')
    damping = friction = stiffness = reference = 0.0
    lower, upper, effort, velocity = -math.inf, math.inf, math.inf, math.inf
    if limits is not None:
        effort, velocity = (_limit(reader, limits, one, -1.0) for one in ('effort', 'velocity'))
        effort, velocity = (math.inf if one < 0.0 else one for one in (effort, velocity))
        if kind != 'continuous':
            lower, upper = _limit(reader, limits, 'lower', lower), _limit(
                reader, limits, 'upper', upper)
        if lower > upper:
            reader.error(limits, f'the lower limit {lower:g} lies above the upper one, {upper:g}')
    if dynamics is not None:
        damping = reader.number(dynamics, 'damping', 0.0, low=0.0)
        friction = reader.number(dynamics, 'friction', 0.0, low=0.0)
        stiffness = reader.number(dynamics, 'spring_stiffness', 0.0, low=0.0)
        reference = reader.number(dynamics, 'spring_reference', 0.0)
    return Axis(
        _direction(scope, found, name), lower, upper, effort, velocity, damping, friction,
        stiffness, reference,
    )


def _limit(reader: Reader, limits: Element, name: str, default: float) -> float:
    return limit(reader.number(limits, name, default, infinite=True))


def _direction(scope: Scope, found: Element, name: str) -> tuple[float, float, float]:
    """Return an axis' ``<xyz>`` in the joint's frame, of length one."""
    reader = scope.reader
    direction = np.array(reader.vector(found, 'xyz', (0.0, 0.0, 1.0)))
    xyz = found.child('xyz')
    place = xyz if xyz is not None else found
    if not direction.any():
        reader.error(place, f'the <xyz> of <{found.name}> has the length 0')
        return (0.0, 0.0, 1.0)
    frame = place.attributes.get('expressed_in', '').strip() if xyz is not None else ''
    version = found.source.version
    # Up to SDF 1.4 an axis was always expressed in the model.
    if version < (1, 7) and reader.flag(found, 'use_parent_model_frame', version < (1, 5)):
        frame = MODEL_FRAME
    if frame and scope.check(frame, place, 'expressed_in'):
        turn = product(conjugate(scope.pose(name).rotation), scope.pose(frame).rotation)
        direction = rotate(turn, direction)
    x, y, z = (direction / np.linalg.norm(direction)).tolist()
    return (x, y, z)


def warn_of_loops(reader: Reader, joints: Iterable[tuple[Joint, Element]]) -> None:
    """Warn of every joint that closes a loop, or whose child another joint has already."""
    above: dict[str, str] = {}

    def top(link: str) -> str:
        while link in above:
            link = above[link]
        return link

    for one, element in joints:
        if one.child in above or (one.parent != WORLD_LINK and top(one.parent) == one.child):
            message = f'the joint "{one.name}" closes a loop, which is held only approximately'
            reader.warn(element, message)
        else:
            above[one.child] = one.parent
