"""From a scope to a model: nested models are folded into it."""

from __future__ import annotations

from dataclasses import dataclass, field

from robot_qa.embedded import sdf_sensors
from robot_qa.embedded.sdf_files import Library
from robot_qa.embedded.sdf_frames import MODEL_FRAME, Scope, visible
from robot_qa.embedded.sdf_inertia import inertial
from robot_qa.embedded.sdf_joints import joint, warn_of_loops
from robot_qa.embedded.sdf_lights import light
from robot_qa.embedded.sdf_plugins import label_of, plugins, warn_if_unknown
from robot_qa.embedded.sdf_reader import identity
from robot_qa.embedded.sdf_shapes import (
    collide_bitmask,
    friction,
    geometry,
    material,
    restitution,
)
from robot_qa.embedded.sdf_xml import Element
from robot_qa.embedded.world import (
    WORLD_LINK,
    Collision,
    Joint,
    Light,
    Link,
    Model,
    Plugin,
    Sensor,
    Visual,
)
from robot_qa.geometry import Poses


@dataclass(frozen=True)
class Around:
    """What a model inherits from the one it is nested in; ``pose`` is in the outermost one."""

    prefix: str = ''
    pose: Poses = field(default_factory=identity)
    label: int | None = None
    wind: bool = False


@dataclass
class _Parts:
    """The parts of a model and of those nested in it, so far."""

    links: list[Link] = field(default_factory=list)
    joints: list[tuple[Joint, Element]] = field(default_factory=list)
    sensors: list[Sensor] = field(default_factory=list)
    plugins: list[Plugin] = field(default_factory=list)


class Models:
    """Builds models."""

    def __init__(self, library: Library) -> None:
        self.files = library
        self.reader = library.reader

    def model(
        self, scope: Scope, name: str, pose: Poses, extra: list[tuple[Joint, Element]]
    ) -> Model | None:
        """Return a model; None, with a warning, if it has no link.

        ``extra`` are joints to the world that stand outside of it.
        """
        element, parts = scope.element, _Parts()
        self._fold(scope, Around(), scope.static, parts)
        if not parts.links:
            self.reader.warn(element, f'the model "{name}" has no link: left out')
            return None
        parts.joints += extra
        warn_of_loops(self.reader, parts.joints)
        return Model(
            name=name, pose=pose, links=tuple(parts.links),
            joints=tuple(one for one, _ in parts.joints), sensors=tuple(parts.sensors),
            plugins=tuple(parts.plugins), static=scope.static,
            self_collide=self.reader.flag(element, 'self_collide', False),
            canonical_link=visible(scope.canonical() or ''),
            label=label_of(self.reader, reversed(scope.plugins)), uri=scope.uri,
        )

    def _fold(self, scope: Scope, around: Around, static: bool, parts: _Parts) -> None:
        """Add a scope's parts and those of its nested models."""
        reader, element = self.reader, scope.element
        # An include's plugin comes after, and counts more than, the model's own.
        label = label_of(reader, reversed(scope.plugins))
        around = Around(
            around.prefix, around.pose, around.label if label is None else label,
            reader.flag(element, 'enable_wind', around.wind),
        )
        for one in element.all('link'):
            if one.attributes.get('name', '') in scope.frames:
                parts.links.append(self._link(scope, one, around))
                parts.sensors += sdf_sensors.of_link(scope, one, around.prefix)
        for one in element.all('joint'):
            self._joint(scope, one, around.prefix, parts)
        parts.plugins += plugins(reader, scope.plugins, around.prefix)
        for name, inner in scope.nested.items():
            shown = visible(name)
            prefix = f'{around.prefix}{shown}::' if shown else around.prefix
            pose = around.pose @ scope.pose(name)
            links, joints = len(parts.links), len(parts.joints)
            below = Around(prefix, pose, around.label, around.wind)
            self._fold(inner, below, static or inner.static, parts)
            if inner.static and not static:
                del parts.joints[joints:]
                _hold(inner.element, parts, links)

    def _joint(self, scope: Scope, element: Element, prefix: str, parts: _Parts) -> None:
        name = element.attributes.get('name', '')
        if name not in scope.frames or scope.frames[name].element is not element:
            return
        found = joint(scope, element, prefix)
        if found is None:
            return
        parts.joints.append((found, element))
        child = scope.link(scope.frames[name].attached_to) or ''
        parts.sensors += sdf_sensors.of_joint(scope, element, prefix, child)

    def _link(self, scope: Scope, element: Element, around: Around) -> Link:
        reader, name = self.reader, element.attributes['name'].strip()
        collisions = self._collisions(scope, element, name)
        label = label_of(reader, element.all('plugin'))
        label = around.label if label is None else label
        return Link(
            name=around.prefix + name, pose=around.pose @ scope.pose(name),
            inertial=inertial(scope, element, collisions),
            collisions=tuple(collisions.values()),
            visuals=self._visuals(scope, element, name, label),
            lights=self._lights(scope, element, name),
            gravity=reader.flag(element, 'gravity', True),
            enable_wind=reader.flag(element, 'enable_wind', around.wind),
            kinematic=reader.flag(element, 'kinematic', False),
        )

    def _collisions(self, scope: Scope, link: Element, name: str) -> dict[str, Collision]:
        found = {}
        for one in sdf_sensors.unique(self.reader, link, 'collision'):
            shape = geometry(self.reader, self.files, one)
            pose, own = scope.relative(one, name), one.attributes['name'].strip()
            mu, mu2, torsional = friction(self.reader, one)
            bounce, mask = restitution(self.reader, one), collide_bitmask(self.reader, one)
            if shape is not None:
                found[own] = Collision(own, pose, shape, mu, mu2, torsional, bounce, mask)
        return found

    def _visuals(
        self, scope: Scope, link: Element, name: str, label: int | None
    ) -> tuple[Visual, ...]:
        reader, found = self.reader, []
        for one in sdf_sensors.unique(reader, link, 'visual'):
            shape = geometry(reader, self.files, one)
            own = label_of(reader, one.all('plugin'))
            for plugin in one.all('plugin'):
                warn_if_unknown(reader, plugin)
            look, pose = material(reader, self.files, one), scope.relative(one, name)
            fading = min(reader.number(one, 'transparency', 0.0, low=0.0), 1.0)
            shadows = reader.flag(one, 'cast_shadows', True)
            if shape is not None:
                found.append(Visual(
                    one.attributes['name'].strip(), pose, shape, look,
                    label if own is None else own, fading, shadows,
                ))
        return tuple(found)

    def _lights(self, scope: Scope, link: Element, name: str) -> tuple[Light, ...]:
        found = [
            light(self.reader, one, one.attributes['name'].strip(), scope.relative(one, name))
            for one in sdf_sensors.unique(self.reader, link, 'light')
        ]
        return tuple(one for one in found if one is not None)


def _hold(element: Element, parts: _Parts, first: int) -> None:
    """Hold the links of a static model that is nested in one that moves."""
    for link in parts.links[first:]:
        name = f'{link.name}::{MODEL_FRAME}static'
        parts.joints.append((Joint(name, 'fixed', WORLD_LINK, link.name, identity()), element))
