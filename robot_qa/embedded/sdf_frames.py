"""Frames of SDF: what ``relative_to``, ``attached_to`` and ``placement_frame`` come to.

A scope is a model or the world. The names of its links, joints, frames and nested models are its
frames; ``nested::name`` looks into a nested model. A merged model (``<include merge="true">``) is
kept as a nested one under a name that nobody can write, and its names are aliases of that.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from robot_qa.embedded.sdf_reader import Reader, identity
from robot_qa.embedded.sdf_xml import Element
from robot_qa.embedded.world import WORLD_LINK
from robot_qa.errors import did_you_mean
from robot_qa.geometry import Poses

MODEL_FRAME = '__model__'
_MERGED = '__merged__'


@dataclass(eq=False)
class Frame:
    """A named frame: its pose is ``raw`` in ``relative_to``."""

    kind: str
    """link, joint, frame, model, or skipped for what could not be included."""
    element: Element
    raw: Poses
    relative_to: str = ''
    """Empty for the scope's own frame."""
    pose_element: Element | None = None
    attached_to: str = ''
    """Of a frame that, of a joint its child."""
    placement: str = ''
    """Of a nested model: that of its frames which the pose is for."""


@dataclass(eq=False)
class Scope:
    """A model or the world with its frames; poses are in the frame of the scope itself."""

    reader: Reader
    element: Element
    is_world: bool = False
    frames: dict[str, Frame] = field(default_factory=dict)
    nested: dict[str, Scope] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    plugins: list[Element] = field(default_factory=list)
    """Of the model, and those that its include adds."""
    static: bool = False
    uri: str | None = None
    _poses: dict[str, Poses] = field(default_factory=dict)
    _open: list[str] = field(default_factory=list)

    def add(self, name: str, frame: Frame) -> bool:
        """Take a frame in; False, with an error, if the name is taken."""
        other = self.frames.get(name)
        if name in self.aliases or other is not None:
            first = f' at line {other.element.line}' if other is not None else ''
            what = f'the {other.kind}' if other is not None else 'what was merged'
            message = f'the name "{name}" is already that of {what}{first}'
            self.reader.error(frame.element, message)
            return False
        if name in {MODEL_FRAME, WORLD_LINK} or name.startswith('__'):
            self.reader.error(frame.element, f'the name "{name}" is reserved')
            return False
        self.frames[name] = frame
        return True

    def merge(self, name: str, frame: Frame, scope: Scope) -> None:
        """Take in a model whose names shall be this scope's own."""
        hidden = f'{_MERGED}{name}'
        self.frames[hidden], self.nested[hidden] = frame, scope
        for inner in [*scope.frames, *scope.aliases]:
            if inner.startswith(_MERGED):
                continue
            if inner in self.frames or inner in self.aliases:
                message = f'merging "{name}" brings the name "{inner}" a second time'
                self.reader.error(frame.element, message)
            self.aliases[inner] = f'{hidden}::{inner}'

    def own_frame(self, name: str) -> bool:
        """Tell whether a name is that of the scope itself."""
        return name in {'', WORLD_LINK if self.is_world else MODEL_FRAME}

    def _split(self, name: str) -> tuple[str, str]:
        """Return a frame of this scope, and the rest of the name in the scope of that frame."""
        if name in self.frames:
            return name, ''
        head, _, rest = name.partition('::')
        if head in self.aliases:
            hidden, _, inner = self.aliases[head].partition('::')
            return hidden, f'{inner}::{rest}' if rest else inner
        return head, rest

    def has(self, name: str) -> bool:
        """Tell whether a name leads to a frame."""
        if self.own_frame(name):
            return True
        head, rest = self._split(name)
        frame = self.frames.get(head)
        if frame is None or not rest:
            return frame is not None
        return frame.kind == 'skipped' or (head in self.nested and self.nested[head].has(rest))

    def visible_names(self) -> Iterator[str]:
        """Yield all names that lead to a frame, those of nested models with their scope."""
        for name in [*self.frames, *self.aliases]:
            if not name.startswith(_MERGED):
                yield name
        for name, scope in self.nested.items():
            if not name.startswith(_MERGED):
                yield from (f'{name}::{inner}' for inner in scope.visible_names())

    def check(self, name: str, place: Element, what: str) -> bool:
        """Tell whether a name leads to a frame; an error at ``place`` if not."""
        if self.has(name):
            return True
        hint = did_you_mean(name, self.visible_names())
        if not hint and name == WORLD_LINK:
            hint = ': frames in a model are relative to the model'
        if not self.is_world and name == self.element.attributes.get('name'):
            hint = f'; did you mean the model itself, "{MODEL_FRAME}"?'
        self.reader.error(place, f'{what} "{name}" is no link, joint, frame or model here{hint}')
        return False

    def pose(self, name: str) -> Poses:
        """Return a frame's pose in the scope; the identity where an error was noted."""
        if self.own_frame(name):
            return identity()
        head, rest = self._split(name)
        if head not in self.frames:
            return identity()
        outer = self._pose_of_own(head)
        return outer @ self.nested[head].pose(rest) if rest and head in self.nested else outer

    def _pose_of_own(self, name: str) -> Poses:
        if name in self._poses:
            return self._poses[name]
        frame = self.frames[name]
        if name in self._open:
            circle = ' -> '.join([*self._open[self._open.index(name):], name])
            message = f'the poses go round in a circle: {circle}'
            self.reader.error(frame.pose_element or frame.element, message)
            self._poses.update((one, identity()) for one in self._open)
            return identity()
        self._open.append(name)
        base = frame.relative_to or frame.attached_to
        place = (frame.pose_element if frame.relative_to else None) or frame.element
        what = 'relative_to' if frame.relative_to else 'attached_to'
        if frame.kind == 'joint' and not frame.relative_to:
            known = self.has(base)  # an unknown child is the joint's own error
        else:
            known = self.check(base, place, what)
        pose = (self.pose(base) if known else identity()) @ frame.raw
        if frame.placement and name in self.nested:
            inner = self.nested[name]
            if inner.check(frame.placement, frame.element, 'placement_frame'):
                pose = pose @ inner.pose(frame.placement).inverse()
        self._open.pop()
        return self._poses.setdefault(name, pose)

    def check_all(self) -> None:
        """Resolve every frame, for the errors in those that nothing else refers to."""
        for name, frame in self.frames.items():
            self._pose_of_own(name)
            if frame.kind == 'frame' and frame.attached_to and frame.relative_to:
                self.check(frame.attached_to, frame.element, 'attached_to')
        for scope in self.nested.values():
            scope.check_all()

    def relative(self, element: Element, base: str) -> Poses:
        """Return the pose of an element's ``<pose>`` in the frame ``base``."""
        found = element.child('pose')
        raw = self.reader.pose(found)
        other = relative_to(found)
        if found is None or not other or not self.check(other, found, 'relative_to'):
            return raw
        return self.pose(base).inverse() @ self.pose(other) @ raw

    def link(self, name: str) -> str | None:
        """Return the link that a frame moves with, as a name of this scope, or None."""
        return self._link(name, ())

    def _link(self, name: str, seen: tuple[str, ...]) -> str | None:
        if name in seen:
            return None
        if self.own_frame(name):
            return None if self.is_world else self.canonical()
        head, rest = self._split(name)
        frame = self.frames.get(head)
        if frame is None or frame.kind == 'skipped':
            return None
        if head in self.nested:
            inner = self.nested[head]._link(rest, ())
            return None if inner is None else f'{head}::{inner}'
        if frame.kind == 'link':
            return head if not rest else None
        return self._link(frame.attached_to, (*seen, name))

    def canonical(self) -> str | None:
        """Return the link that stands for the model: as it says, or else its first one."""
        named = self.element.attributes.get('canonical_link', '').strip()
        if named and self.check(named, self.element, 'canonical_link'):
            head, rest = self._split(named)
            return f'{head}::{rest}' if rest else head
        own = (name for name, one in self.frames.items() if one.kind == 'link')
        first = next(own, None)
        if first is not None:
            return first
        for name, scope in self.nested.items():
            inner = scope.canonical()
            if inner is not None:
                return f'{name}::{inner}'
        return None

    def is_skipped(self, name: str) -> bool:
        """Tell whether a name lies in something that could not be included."""
        head, rest = self._split(name)
        frame = self.frames.get(head)
        if frame is None:
            return False
        inner = self.nested.get(head)
        return frame.kind == 'skipped' or (inner is not None and inner.is_skipped(rest))


def visible(name: str) -> str:
    """Return a name of a scope without the parts that stand for merged models."""
    return '::'.join(part for part in name.split('::') if not part.startswith(_MERGED))


def relative_to(pose: Element | None) -> str:
    """Return what a ``<pose>`` is relative to; up to SDF 1.6 the attribute was ``frame``."""
    if pose is None:
        return ''
    old = pose.attributes.get('frame', '') if pose.source.version < (1, 7) else ''
    return pose.attributes.get('relative_to', old).strip()
