"""From a URI in SDF to a file: ``model://``, ``package://``, ``file://`` and plain paths."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from robot_qa.embedded.sdf_reader import Reader
from robot_qa.embedded.sdf_schema import check_children
from robot_qa.embedded.sdf_xml import Element, Source, XmlError, parse
from robot_qa.errors import Problem, did_you_mean

NEWEST = (1, 11)
REMOTE = ('http://', 'https://', 'fuel://')
PATH_VARIABLES = ('GZ_SIM_RESOURCE_PATH', 'SDF_PATH')


def paths_of(*variables: str) -> list[Path]:
    """Return the folders in environment variables that are lists of paths."""
    texts = [text for name in variables for text in os.environ.get(name, '').split(os.pathsep)]
    return [Path(text) for text in texts if text]


class Library:
    """Finds and reads the files that a world names; each one is read once.

    It looks in ``paths`` (those of the environment if None), then in the world's ``folder`` and
    the ``models`` below it.
    """

    def __init__(self, reader: Reader, folder: Path, paths: Sequence[Path] | None) -> None:
        self.reader = reader
        given = paths_of(*PATH_VARIABLES) if paths is None else list(paths)
        self.paths = [*given, folder, folder / 'models']
        self._roots: dict[Path, Element | None] = {}

    def find(self, uri: str, source: Source) -> Path | None:
        """Return the file or folder a URI means, as seen from a file."""
        scheme, mark, rest = uri.partition('://')
        if scheme == 'package' and mark:
            package = rest.split('/', 1)[0]
            shares = [path / 'share' for path in paths_of('AMENT_PREFIX_PATH')]
            around = [path for path in self.paths if (path / package).is_dir()]
            places = [*shares, *around]
        elif scheme == 'model' and mark:
            own = [] if source.folder is None else [source.folder.parent]
            places = [*self.paths, *own]
        else:
            rest = rest if mark else uri
            places = [*([source.folder] if source.folder else []), *self.paths]
        found = (place / rest for place in places if rest)
        return next((path.resolve() for path in found if path.exists()), None)

    def not_found(self, uri: str) -> str:
        """Return what to say about a URI that leads nowhere."""
        name = uri.partition('://')[2].split('/')[0] or uri
        near = [one for path in self.paths if path.is_dir() for one in path.iterdir()]
        names = [one.name for one in near if one.is_dir()]
        places = ', '.join(dict.fromkeys(map(str, self.paths)))
        return f'"{uri}" was not found{did_you_mean(name, names)} (searched {places})'

    def file(self, element: Element, what: str, *, error: bool) -> Path | None:
        """Return the file that an element's text names.

        Nothing in the network is fetched: that is a warning. A file that is not there is an
        error, or a warning where the world makes sense without it.
        """
        if element.text.startswith(REMOTE):
            self.reader.warn(element, f'{what} "{element.text}" is not downloaded: left out')
            return None
        found = self.find(element.text, element.source)
        if found is not None and found.is_file():
            return found
        message = f'{what} {self.not_found(element.text)}'
        if error:
            self.reader.error_in_text(element, message)
        else:
            self.reader.warn(element, f'{message}: left out')
        return None

    def model_file(self, folder: Path, place: Element) -> Path | None:
        """Return the file in a model's folder that its ``model.config`` names as the newest."""
        config = folder / 'model.config'
        if not config.is_file():
            plain = folder / 'model.sdf'
            if plain.is_file():
                self.reader.warn(place, f'{folder} has no model.config: Gazebo will not find it')
                return plain
            self.reader.error(place, f'the folder {folder} has no model.config')
            return None
        root = self._parse(config)
        if root is None:
            return None
        newest: tuple[tuple[int, int], Path] | None = None
        for one in root.all('sdf'):
            version = version_of(one.attributes.get('version', ''))
            if one.text and version and version <= NEWEST and (not newest or version > newest[0]):
                newest = version, folder / one.text
        if newest is None:
            self.reader.error(root, 'no <sdf version="..."> with a file of SDF 1.11 or older')
            return None
        if not newest[1].is_file():
            self.reader.error(root, f'the file {newest[1].name} that it names does not exist')
            return None
        return newest[1]

    def root_of(self, file: Path) -> Element | None:
        """Return the ``<sdf>`` of a file, or None if that gave errors."""
        if file not in self._roots:
            root = self._parse(file)
            self._roots[file] = root if root is not None and self.accept(root) else None
        return self._roots[file]

    def root_of_text(self, text: str) -> Element | None:
        """Return the ``<sdf>`` of a string."""
        try:
            root = parse(text.encode(), Source('<string>', None))
        except XmlError as error:
            self.reader.errors.append(error.problem)
            return None
        return root if self.accept(root) else None

    def _parse(self, file: Path) -> Element | None:
        try:
            return parse(file.read_bytes(), Source(str(file), file.parent))
        except XmlError as error:
            self.reader.errors.append(error.problem)
        except OSError as error:
            why = f'the file cannot be read: {error.strerror}'
            self.reader.errors.append(Problem(str(file), 1, 1, why))
        return None

    def accept(self, root: Element) -> bool:
        """Take note of the version, and check the names of all elements."""
        if root.name != 'sdf':
            hint = ': a URDF file, which is not read' if root.name == 'robot' else ''
            message = f'the outermost element is <{root.name}>, expected <sdf>{hint}'
            self.reader.error(root, message)
            return False
        text = self.reader.attribute(root, 'version')
        version = version_of(text)
        if version is None:
            if text:
                self.reader.error(root, f'version "{text}": expected one such as 1.9')
            return False
        root.source.version = version
        if not (1, 6) <= version <= NEWEST:
            self.reader.warn(root, f'SDF {text} is read as far as it is like SDF 1.6 to 1.11')
        check_children(self.reader, root)
        return True


def version_of(text: str) -> tuple[int, int] | None:
    """Return the two numbers of a version."""
    major, _, minor = text.strip().partition('.')
    digits = major.isdecimal() and minor.isdecimal()
    return (int(major), int(minor)) if digits else None
