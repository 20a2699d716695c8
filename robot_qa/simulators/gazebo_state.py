"""The entities of a Gazebo world, read from the components that its service ``state`` gives.

It is the only service that tells what is static, where the centre of mass of a link is and where
everything is now; writing the same as SDF (``generate_world_sdf``) takes over ten seconds in a
warehouse, and a subscription to ``pose/info`` costs time in every step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from scipy.spatial.transform import Rotation

from robot_qa.simulators.base import ZERO, Pose, Vector

Components = Mapping[int, bytes]
_BITS = 2**64 - 1


@dataclass(frozen=True)
class Body:
    """A top-level model; its links by name, nested ones as ``model::link``."""

    pose: Pose
    """In the world; Gazebo writes six digits."""
    static: bool
    canonical_link: str
    links: Mapping[str, Vector]
    """Where the centre of mass is in each link, in metres."""


@dataclass(frozen=True)
class Content:
    """What is in a world."""

    bodies: Mapping[str, Body]
    touches: bool
    """Whether there are contact sensors."""


def component(name: str) -> int:
    """Return the number of a kind of components: FNV-1a (64 bits) of its name."""
    found = 0xCBF29CE484222325
    for byte in f'gz_sim_components.{name}'.encode():
        found = ((found ^ byte) * 0x100000001B3) & _BITS
    return found


NAME, POSE, PARENT, STATIC, INERTIAL = map(
    component, ('Name', 'Pose', 'ParentEntity', 'Static', 'Inertial'))
MODEL, LINK, CANONICAL, CONTACT = map(
    component, ('Model', 'Link', 'CanonicalLink', 'ContactSensor'))


def content(
    entities: Iterable[tuple[int, Components]], centre: Callable[[bytes], Vector],
) -> Content:
    """Return what is in a world, from the components of its entities by their id.

    ``centre`` reads the centre of mass from a serialized gz.msgs.Inertial.
    """
    found = dict(sorted(entities))
    models = {number: kinds for number, kinds in found.items() if MODEL in kinds}
    links: dict[int, dict[str, Vector]] = {number: {} for number in models}
    canonical: dict[int, str] = {}
    for kinds in found.values():
        if LINK not in kinds:
            continue
        top, name = _scoped(kinds, models)
        if top is None:
            continue
        links[top][name] = centre(kinds[INERTIAL]) if INERTIAL in kinds else ZERO
        if CANONICAL in kinds:
            canonical.setdefault(top, name)
    return Content({
        kinds[NAME].decode(): Body(
            _pose(kinds[POSE]), kinds.get(STATIC) == b'1',
            canonical.get(number, next(iter(links[number]), '')), links[number])
        for number, kinds in models.items() if int(kinds[PARENT]) not in models
    }, any(CONTACT in kinds for kinds in found.values()))


def _scoped(kinds: Components, models: Mapping[int, Components]) -> tuple[int | None, str]:
    """Return the top-level model of a link, and its name in it."""
    name, top = kinds[NAME].decode(), int(kinds[PARENT])
    if top not in models:
        return None, name
    while (above := int(models[top][PARENT])) in models:
        name, top = f'{models[top][NAME].decode()}::{name}', above
    return top, name


def _pose(text: bytes) -> Pose:
    x, y, z, roll, pitch, yaw = map(float, text.split())
    turned = Rotation.from_euler('xyz', [roll, pitch, yaw]).as_quat().tolist()
    return Pose((x, y, z), (turned[0], turned[1], turned[2], turned[3]))


def as_json(given: Content) -> dict[str, Any]:
    """Return it as plain data."""
    return asdict(given)


def from_json(values: Mapping[str, Any]) -> Content:
    """Return what `as_json` was given."""
    return Content({
        name: Body(Pose(_tuple(one['pose']['xyz']), _tuple(one['pose']['rotation'])),
                   one['static'], one['canonical_link'],
                   {link: _tuple(place) for link, place in one['links'].items()})
        for name, one in values['bodies'].items()
    }, values['touches'])


def _tuple(values: Iterable[float]) -> Any:
    return tuple(map(float, values))
