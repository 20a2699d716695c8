"""Loads SDF worlds and models, 1.6 to 1.11, of files as Gazebo has them.

What the world makes no sense without is an error, all of them at once as a ``SpecError``. What
the simulator cannot represent is a warning with its file and line.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from robot_qa.embedded.sdf_files import Library
from robot_qa.embedded.sdf_frames import Scope, visible
from robot_qa.embedded.sdf_joints import end, joint
from robot_qa.embedded.sdf_lights import light
from robot_qa.embedded.sdf_models import Models
from robot_qa.embedded.sdf_plugins import plugins
from robot_qa.embedded.sdf_reader import Reader
from robot_qa.embedded.sdf_scopes import Scopes
from robot_qa.embedded.sdf_xml import Element, Source
from robot_qa.embedded.world import WORLD_LINK, Joint, Light, Model, Origin, World
from robot_qa.errors import Problem, RobotQaError, SpecError
from robot_qa.geometry import Poses


def load_world(path: Path, *, resource_paths: Sequence[Path] | None = None) -> World:
    """Return the world in a file; its warnings say what is not represented.

    ``model://`` is looked up in ``resource_paths`` (None: in GZ_SIM_RESOURCE_PATH and SDF_PATH),
    the world's folder and the ``models`` below it. Raises ``SpecError`` with every mistake.
    """
    path = path.resolve()
    _check_readable(path)
    reader = Reader()
    library = Library(reader, path.parent, resource_paths)
    root = library.root_of(path)
    element = None
    if root is not None:
        element = reader.required(root, 'world', ('model', 'light', 'actor'))
        if len(root.all('world')) > 1:
            reader.warn(root.all('world')[1], 'a second world: only the first is loaded')
    world = None if element is None else _world(element, library)
    if reader.errors or world is None:
        raise SpecError(reader.errors)
    return world


def load_model(
    source: Path | str, *, name: str | None = None, pose: Poses | None = None,
    resource_paths: Sequence[Path] | None = None, folder: Path | None = None,
    warnings: list[Problem] | None = None,
) -> Model:
    """Return a model to spawn, at ``pose`` in the world (that of its own ``<pose>`` if None).

    ``source`` is an SDF file, a folder with a ``model.config``, or a text: that of an SDF, or a
    URI (``model://crate``). ``folder`` is that of the world, where the search and relative paths
    begin; by default it is ours, and for a file the search begins in the folder above the
    model's. What is not represented is added to ``warnings``.
    Raises ``SpecError`` with every mistake, ``RobotQaError`` if there is nothing to read.
    """
    reader = Reader()
    is_text = isinstance(source, str) and source.lstrip().startswith('<')
    is_uri = not is_text and '://' in str(source)
    path = None if is_text or is_uri else ((folder or Path.cwd()) / source).resolve()
    if folder is None:
        folder = Path.cwd() if path is None else path.parent
        folder = folder.parent if path is not None and path.is_file() else folder
    library = Library(reader, folder, resource_paths)
    if is_uri:
        path = library.find(str(source), Source('', None))
        if path is None:
            raise RobotQaError(f'the model {library.not_found(str(source))}')
    element, file = _outermost(library, str(source), path)
    model = None
    if element is not None:
        scope = Scopes(reader, library).of_model(element, file)
        scope.uri = None if path is None else str(source)
        scope.check_all()
        own = reader.pose(element.child('pose')) if pose is None else pose
        called = name or reader.attribute(element, 'name')
        model = Models(library).model(scope, called, own, [])
    if reader.errors or model is None:
        # Without an error it is a warning that says why there is no model.
        raise SpecError(reader.errors or reader.warnings)
    if warnings is not None:
        warnings.extend(reader.warnings)
    return model


def _check_readable(path: Path) -> None:
    try:
        path.open('rb').close()
    except OSError as error:
        raise RobotQaError(f'{path} cannot be read: {error.strerror}') from None


def _outermost(
    library: Library, text: str, path: Path | None
) -> tuple[Element | None, Path | None]:
    """Return the ``<model>`` of a file, a folder or (without a path) a text, and its file."""
    file = None
    if path is None:
        root = library.root_of_text(text)
    else:
        if path.is_dir():
            here = Element('model', {}, Source(str(path), path), 1, 1)
            file = library.model_file(path, here)
        else:
            _check_readable(path)
            file = path
        root = None if file is None else library.root_of(file)
    return (None if root is None else library.reader.required(root, 'model')), file


def _world(element: Element, library: Library) -> World:
    reader = library.reader
    scope, included = Scopes(reader, library).of_world(element)
    scope.check_all()
    name = reader.attribute(element, 'name')
    physics = _physics(reader, element)
    scene, wind = element.child('scene'), element.child('wind')
    empty = World(name, ())
    models = _models(scope, Models(library))
    return World(
        name=name, models=models, lights=_lights(scope, included),
        plugins=plugins(reader, element.all('plugin')),
        gravity=reader.vector(element, 'gravity', empty.gravity),
        magnetic_field=reader.vector(element, 'magnetic_field', empty.magnetic_field),
        wind=empty.wind if wind is None else reader.vector(wind, 'linear_velocity', empty.wind),
        step=physics[0], real_time_factor=physics[1], origin=_origin(reader, element),
        ambient=empty.ambient if scene is None else reader.color(scene, 'ambient', empty.ambient),
        background=empty.background if scene is None else reader.color(
            scene, 'background', empty.background),
        shadows=scene is None or reader.flag(scene, 'shadows', True),
        warnings=reader.warnings,
    )


def _physics(reader: Reader, element: Element) -> tuple[float, float]:
    """Return the step in s and the real time factor of the profile that counts."""
    profiles = element.all('physics')
    chosen = [one for one in profiles if one.attributes.get('default', '') in {'true', '1'}]
    if not profiles:
        return 0.001, 1.0
    profile = (chosen or profiles)[0]
    step = reader.number(profile, 'max_step_size', 0.001, above=0.0)
    return step, reader.number(profile, 'real_time_factor', 1.0, low=0.0)


def _origin(reader: Reader, element: Element) -> Origin | None:
    found = element.child('spherical_coordinates')
    if found is None:
        return None
    axes = reader.word(found, 'world_frame_orientation', 'ENU')
    if axes != 'ENU':
        reader.warn(found, f'the orientation "{axes}" is taken as ENU: east, north, up')
    return Origin(
        latitude_deg=reader.number(found, 'latitude_deg', 0.0, low=-90.0),
        longitude_deg=reader.number(found, 'longitude_deg', 0.0, low=-360.0),
        elevation=reader.number(found, 'elevation', 0.0),
        heading_deg=reader.number(found, 'heading_deg', 0.0),
    )


def _models(scope: Scope, models: Models) -> tuple[Model, ...]:
    extra = _world_joints(scope)
    found = [
        models.model(inner, name, scope.pose(name), extra.get(name, []))
        for name, inner in scope.nested.items()
    ]
    return tuple(one for one in found if one is not None)


def _world_joints(scope: Scope) -> dict[str, list[tuple[Joint, Element]]]:
    """Return the world's own joints that hold a model, by the model.

    Those between two models have no place in the data, and are left out with a warning.
    """
    found: dict[str, list[tuple[Joint, Element]]] = {}
    for element in scope.element.all('joint'):
        parent, child = end(scope, element, 'parent'), end(scope, element, 'child')
        if parent is None or child is None:
            continue
        if parent != WORLD_LINK:
            scope.reader.warn(element, 'a joint between two models is not represented: left out')
            continue
        name, _, inner = child.partition('::')
        whole = joint(scope, element, '')
        if whole is not None:
            own = Joint(whole.name, whole.kind, WORLD_LINK, visible(inner), whole.pose, whole.axes)
            found.setdefault(name, []).append((own, element))
    return found


def _lights(scope: Scope, included: list[tuple[Element, Element]]) -> tuple[Light, ...]:
    """Return the world's lights, those of includes with the name and pose that these give."""
    reader = scope.reader
    names: dict[str, Element] = {}
    found = []
    for place, element in [*((one, one) for one in scope.element.all('light')), *included]:
        word = reader.word(place, 'name') if place is not element else None
        name = word or reader.attribute(element, 'name')
        if name in names:
            message = f'the name "{name}" is already that of the light at line {names[name].line}'
            reader.error(place, message)
            continue
        names[name] = place
        posed = place if place.child('pose') is not None else element
        one = light(reader, element, name, scope.relative(posed, WORLD_LINK))
        found += [] if one is None else [one]
    return tuple(found)
