"""Packages of .msg, .srv and .action files: found, read, checked and put in order.

What a line means is decided by ROS's own parser (`rosidl_adapter`); this module gives it one line
at a time, so that every mistake is reported, each with the file and the line.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import keyword
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from robot_qa.errors import Problem, SetupError, SpecError, did_you_mean

# How many lines '---' divide a file of each kind.
KINDS = {'msg': 0, 'srv': 1, 'action': 2}

# What rosidl adds to a service or an action, by the package that defines it.
IMPLIED = {
    'msg': (),
    'srv': ('builtin_interfaces', 'service_msgs'),
    'action': ('action_msgs', 'builtin_interfaces', 'service_msgs', 'unique_identifier_msgs'),
}

_BREAK = '---'
# Fields become members of C structures and of Python classes.
_KEYWORDS = re.compile('|'.join([*keyword.kwlist, (
    'alignas|alignof|auto|bool|break|case|catch|char|class|const|constexpr|const_cast|continue|'
    'decltype|default|delete|do|double|dynamic_cast|else|enum|explicit|export|extern|false|'
    'float|for|friend|goto|if|inline|int|long|mutable|namespace|new|noexcept|nullptr|operator|'
    'private|protected|public|register|reinterpret_cast|restrict|return|short|signed|sizeof|'
    'static|static_assert|static_cast|struct|switch|template|this|throw|true|try|typedef|typeid|'
    'typename|union|unsigned|using|virtual|void|volatile|while'
)]))
_ROS_1_TYPES = {'time': 'builtin_interfaces/Time', 'duration': 'builtin_interfaces/Duration'}


@dataclass(frozen=True)
class Use:
    """A line that names a message type: ``type`` is spelled ``package/Name``."""

    type: str
    line: int


@dataclass(frozen=True)
class Definition:
    """One file that defines an interface, and the types it is made of."""

    file: Path
    kind: str
    uses: tuple[Use, ...]


@dataclass(frozen=True)
class Package:
    """A package of interfaces, as found in ``folder``."""

    name: str
    folder: Path
    definitions: tuple[Definition, ...]

    @property
    def types(self) -> set[str]:
        """The message types that other messages can be made of, as ``package/Name``."""
        return {f'{self.name}/{d.file.stem}' for d in self.definitions if d.kind == 'msg'}

    @property
    def dependencies(self) -> list[str]:
        """The names of all other packages that the definitions use themselves, sorted."""
        used = {use.type.partition('/')[0] for d in self.definitions for use in d.uses}
        used.update(name for d in self.definitions for name in IMPLIED[d.kind])
        return sorted(used - {self.name})


def ament_prefixes(target: Path | None = None) -> list[Path]:
    """Return where packages are looked for: ``target``, what is sourced, this environment."""
    listed = os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep)
    paths = [target, *(Path(p) for p in listed if p), Path(sys.prefix)]
    return list(dict.fromkeys(path for path in paths if path is not None))


def read_packages(folders: Sequence[Path]) -> list[Package]:
    """Return the packages in ``folders``, those that others need before those.

    A folder is a package (it has a package.xml, or just msg/, srv/ or action/) or holds several.
    SpecError: all lines of all files that are wrong in themselves. SetupError: a folder without
    any interface, a name given twice, packages that need each other.
    """
    problems: list[Problem] = []
    found: dict[str, Package] = {}
    for folder in folders:
        packages = [_read_package(each, problems) for each in _package_folders(folder)]
        for package in packages:
            earlier = found.setdefault(package.name, package)
            if earlier.folder != package.folder:
                raise SetupError(
                    f'package {package.name} is in {earlier.folder} and in {package.folder}')
        if not packages:
            raise SetupError(
                f'no interfaces in {folder}: expected files in msg/, srv/ or action/, there or '
                'one folder below')
    if problems:
        raise SpecError(problems)
    graph = {name: package.dependencies for name, package in found.items()}
    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        raise SetupError(f'packages need each other: {" -> ".join(error.args[1])}') from error
    return [found[name] for name in order if name in found]


def check_types(packages: Sequence[Package], prefixes: Sequence[Path]) -> None:
    """Raise SpecError with every line whose type is neither in ``packages`` nor installed."""
    given = {package.name: package.types for package in packages}
    problems = []
    for package in packages:
        for definition in package.definitions:
            for use in definition.uses:
                reason = _missing(use.type, given, prefixes)
                if reason is not None:
                    problems.append(Problem(str(definition.file), use.line, 1, reason))
        problems += _recursive(package)
    if problems:
        raise SpecError(problems)


def installed_type(name: str, prefixes: Sequence[Path]) -> Path | None:
    """Return the file that describes the installed message type ``package/Name``."""
    package, _, part = name.partition('/')
    files = (prefix / 'share' / package / 'msg' / f'{part}.json' for prefix in prefixes)
    return next((file for file in files if file.is_file()), None)


def _missing(name: str, given: dict[str, set[str]], prefixes: Sequence[Path]) -> str | None:
    package = name.partition('/')[0]
    known = set(given.get(package, ()))
    if name in known or (package not in given and installed_type(name, prefixes)):
        return None
    for prefix in prefixes:
        if package not in given:
            files = (prefix / 'share' / package / 'msg').glob('*.json')
            known |= {f'{package}/{file.stem}' for file in files}
    if known:
        return f'there is no message {name}{did_you_mean(name, known)}'
    return f'package {package} of {name} is neither installed nor among those to build'


def _recursive(package: Package) -> Iterator[Problem]:
    messages = {
        f'{package.name}/{d.file.stem}': d for d in package.definitions if d.kind == 'msg'
    }
    graph = {name: {use.type for use in d.uses} for name, d in messages.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        # The sorter lists the cycle from the part to the whole.
        whole, part = error.args[1][1], error.args[1][0]
        line = next(use.line for use in messages[whole].uses if use.type == part)
        yield Problem(str(messages[whole].file), line, 1, f'{whole} would contain itself')


def _package_folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise SetupError(f'no folder {folder}')
    folder = folder.resolve()
    if (folder / 'package.xml').is_file() or _files(folder):
        return [folder] if _files(folder) else []
    return [each for each in sorted(folder.iterdir()) if each.is_dir() and _files(each)]


def _files(folder: Path) -> list[Path]:
    return [
        file for kind in KINDS for file in sorted((folder / kind).glob('*'))
        if file.suffix in {f'.{kind}', '.idl'}
    ]


def _read_package(folder: Path, problems: list[Problem]) -> Package:
    name, where = folder.name, folder
    manifest = folder / 'package.xml'
    if manifest.is_file():
        try:
            name, where = (ElementTree.parse(manifest).findtext('name') or '').strip(), manifest
        except ElementTree.ParseError as error:
            line, column = error.position
            problems.append(Problem(str(manifest), line, column + 1, str(error)))
    if not _parser().is_valid_package_name(name):
        problems.append(Problem(str(where), 1, 1, (
            f'"{name}" is not a package name: expected lower case letters, digits and single '
            'underscores')))
    definitions = [_read_definition(name, file, problems) for file in _files(folder)]
    return Package(name, folder, tuple(definitions))


def _read_definition(package: str, file: Path, problems: list[Problem]) -> Definition:
    def wrong(line: int, message: str) -> None:
        problems.append(Problem(str(file), line, 1, message))

    kind = file.parent.name
    if file.suffix == '.idl':
        wrong(1, f'.idl files cannot be built here: expected .{kind}')
        return Definition(file, kind, ())
    if not _parser().is_valid_message_name(file.stem):
        wrong(1, f'"{file.stem}" is not a name of an interface: expected CamelCase')
    try:
        lines = file.read_text('utf-8').splitlines()
    except UnicodeDecodeError as error:
        wrong(1, f'this file is not UTF-8: {error}')
        return Definition(file, kind, ())
    breaks = [number for number, line in enumerate(lines, 1) if line == _BREAK]
    if len(breaks) != KINDS[kind]:
        wrong(breaks[-1] if breaks else max(len(lines), 1), (
            f'a .{kind} file has {KINDS[kind]} lines "{_BREAK}"; found {len(breaks)}'))
    return Definition(file, kind, tuple(_uses(package, lines, wrong)))


def _uses(
    package: str, lines: Sequence[str], wrong: Callable[[int, str], None]
) -> Iterator[Use]:
    names: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        if line == _BREAK:
            names.clear()
            continue
        try:
            name, used = _read_line(package, line)
        except ValueError as error:
            wrong(number, str(error))
            continue
        if name in names:
            wrong(number, f'"{name}" is defined on line {names[name]} already')
        if name:
            names[name] = number
        if used:
            yield Use(used, number)


def _read_line(package: str, line: str) -> tuple[str, str]:
    """Return the name that a line defines and the message type it uses; ValueError: it is wrong.

    Either is empty where there is none.
    """
    parser = _parser()
    # It prints what it raises.
    with contextlib.redirect_stderr(io.StringIO()):
        try:
            message = parser.parse_message_string(package, 'Part', line)
        except Exception as error:  # InvalidSpecification, TypeError, NameError, ValueError ...
            raise ValueError(_explained(line, error)) from error
    if message.constants:
        return message.constants[0].name, ''
    if not message.fields:
        return '', ''
    name, type_ = message.fields[0].name, message.fields[0].type
    if _KEYWORDS.fullmatch(name):
        raise ValueError(f'no field can be named "{name}", which is a word of C++ or Python')
    if type_.type in _ROS_1_TYPES:
        raise ValueError(f'{type_.type} is of ROS 1: expected {_ROS_1_TYPES[type_.type]}')
    return name, '' if type_.is_primitive_type() else f'{type_.pkg_name}/{type_.type}'


def _explained(line: str, error: Exception) -> str:
    words = line.partition('#')[0].split()
    if len(words) < 2:
        return f'expected a type and a name; found "{line.strip()}"'
    reason, types = str(error).replace("'", '"'), _parser().PRIMITIVE_TYPES
    type_ = re.split(r'\[|<=', words[0])[0]
    return reason if type_ in types else reason + did_you_mean(type_, types)


def _parser() -> Any:
    try:
        return importlib.import_module('rosidl_adapter.parser')
    except ImportError as error:
        raise SetupError(
            f'building interfaces needs ROS 2 Iron or newer and its rosidl generators, sourced or '
            f'installed by pip: {error}') from error
