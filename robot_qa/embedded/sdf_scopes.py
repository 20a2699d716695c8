"""From the elements of a model or a world to a scope: includes are read, frames are named."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from robot_qa.embedded.sdf_files import REMOTE, Library
from robot_qa.embedded.sdf_frames import Frame, Scope, relative_to
from robot_qa.embedded.sdf_reader import Reader
from robot_qa.embedded.sdf_xml import Element


@dataclass
class Included:
    """What an ``<include>`` leads to: a ``<model>`` or a ``<light>``, and the file."""

    element: Element
    file: Path
    name: str


class Scopes:
    """Builds scopes; knows which files it is in, so that none includes itself."""

    def __init__(self, reader: Reader, library: Library) -> None:
        self.reader = reader
        self.files = library
        self._files: list[Path] = []

    def of_world(self, world: Element) -> tuple[Scope, list[tuple[Element, Element]]]:
        """Return the world's scope, and its included lights as (include, light)."""
        scope = Scope(self.reader, world, is_world=True)
        lights: list[tuple[Element, Element]] = []
        for child in world.children:
            if child.name == 'include':
                self._include(scope, child, lights)
            elif child.name in {'model', 'frame', 'joint'}:
                self._add(scope, child)
        return scope, lights

    def of_model(self, model: Element, file: Path | None = None) -> Scope:
        """Return a model's scope, with those of all nested models."""
        scope = Scope(self.reader, model, static=self.reader.flag(model, 'static', False))
        scope.plugins += model.all('plugin')
        if file is not None:
            self._files.append(file)
        for child in model.children:
            if child.name == 'include':
                self._include(scope, child, None)
            elif child.name in {'link', 'joint', 'frame', 'model'}:
                self._add(scope, child)
        if file is not None:
            self._files.pop()
        return scope

    def _add(self, scope: Scope, element: Element) -> None:
        name = self.reader.attribute(element, 'name')
        if not name:
            return
        frame = self._frame(element, element)
        if element.name == 'joint':
            frame.attached_to = self.reader.word(element, 'child') or ''
        elif element.name == 'frame':
            frame.attached_to = element.attributes.get('attached_to', '').strip()
        elif element.name == 'model':
            frame.placement = element.attributes.get('placement_frame', '').strip()
        if scope.add(name, frame) and element.name == 'model':
            scope.nested[name] = self.of_model(element)

    def _frame(self, element: Element, posed: Element) -> Frame:
        """Return the frame of an element, with the pose that ``posed`` has."""
        pose = posed.child('pose')
        return Frame(element.name, element, self.reader.pose(pose), relative_to(pose), pose)

    def _include(
        self, scope: Scope, include: Element, lights: list[tuple[Element, Element]] | None
    ) -> None:
        included = self.open(include)
        if included is None:
            uri = (self.reader.word(include, 'uri') or '').rstrip('/').rpartition('/')[2]
            name = self.reader.word(include, 'name') or uri
            if name and name not in scope.frames:
                frame = self._frame(include, include)
                frame.kind, scope.frames[name] = 'skipped', frame
            return
        if included.element.name == 'light':
            if lights is None:
                self.reader.warn(include, 'a light included in a model is left out')
            else:
                lights.append((include, included.element))
            return
        posed = include if include.child('pose') is not None else included.element
        frame = self._frame(include, posed)
        frame.kind = 'model'
        own = included.element.attributes.get('placement_frame', '').strip()
        frame.placement = self.reader.word(include, 'placement_frame') or own
        inner = self.of_model(included.element, included.file)
        inner.plugins += include.all('plugin')
        inner.static = self.reader.flag(include, 'static', inner.static)
        inner.uri = self.reader.word(include, 'uri')
        merge = include.attributes.get('merge', '').lower() in {'true', '1'}
        if merge and scope.is_world:
            self.reader.warn(include, 'a model is not merged into a world: it stays a model')
        if merge and not scope.is_world:
            scope.merge(included.name, frame, inner)
        elif scope.add(included.name, frame):
            scope.nested[included.name] = inner

    def open(self, include: Element) -> Included | None:
        """Read what an include names; None if there is nothing, with an error or a warning."""
        uri = self.reader.required(include, 'uri', ('name', 'pose', 'static', 'plugin'))
        if uri is None:
            return None
        if uri.text.startswith(REMOTE):
            self.reader.warn(uri, f'the model "{uri.text}" is not downloaded: left out')
            return None
        file = self._file(uri)
        if file is not None and file in self._files:
            self.reader.error(include, f'{file} includes itself')
            file = None
        element = None if file is None else self.outermost(file, uri)
        if file is None or element is None:
            return None
        name = self.reader.word(include, 'name') or self.reader.attribute(element, 'name')
        return Included(element, file, name) if name else None

    def _file(self, uri: Element) -> Path | None:
        """Return the file of the model that a URI means, or None with an error."""
        found = self.files.find(uri.text, uri.source) if uri.text else None
        if found is None:
            self.reader.error_in_text(uri, f'the model {self.files.not_found(uri.text)}')
            return None
        return self.files.model_file(found, uri) if found.is_dir() else found

    def outermost(self, file: Path, place: Element) -> Element | None:
        """Return the ``<model>`` or ``<light>`` of a file."""
        root = self.files.root_of(file)
        if root is None:
            return None
        for kind in ('model', 'light'):
            found = root.child(kind)
            if found is not None:
                return found
        if root.child('actor') is not None:
            self.reader.warn(place, f'{file} holds an actor: left out')
        else:
            self.reader.error(place, f'{file} holds no <model>')
        return None
