"""Calls ROS's interface generators and the C++ compiler, as rosidl's CMake files do.

Nothing here knows what is installed already: packages come in, and a folder with the layout of an
install prefix comes out. The generators run in processes of their own, because they print and
keep their state in global variables; this module is also what runs in those processes.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from robot_qa.errors import SetupError
from robot_qa.messages.definitions import Package

GENERATOR_C = 'rosidl_generator_c'
FASTRTPS = 'rosidl_typesupport_fastrtps_c'
INTROSPECTION = 'rosidl_typesupport_introspection_c'
TYPESUPPORT = 'rosidl_typesupport_c'
GENERATOR_PY = 'rosidl_generator_py'
DESCRIPTION = 'rosidl_generator_type_description'

# In the order in which they are started, the slowest first: function, further arguments.
_GENERATORS: dict[str, tuple[str, tuple[list[str], ...]]] = {
    GENERATOR_PY: ('generate_py', ([TYPESUPPORT],)),
    GENERATOR_C: ('generate_c', ()),
    FASTRTPS: ('generate_typesupport_fastrtps_c', ()),
    INTROSPECTION: ('generate_c', ()),
    TYPESUPPORT: ('generate_c', ([FASTRTPS, INTROSPECTION],)),
}
_WITH_HEADERS = (GENERATOR_C, FASTRTPS, INTROSPECTION)

# What each library is linked with, in the order in which they are linked: libraries of the same
# package, libraries of ROS. It also loads the same library of every package it depends on.
_LIBRARIES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    GENERATOR_C: ((), ('rosidl_runtime_c', 'rcutils')),
    FASTRTPS: (
        (GENERATOR_C,),
        (FASTRTPS, 'rosidl_typesupport_fastrtps_cpp', 'fastcdr', 'rmw', 'rosidl_runtime_c')),
    INTROSPECTION: ((GENERATOR_C,), (INTROSPECTION, 'rosidl_runtime_c')),
    # The dispatcher opens the other two by name, which finds them wherever they are installed if
    # they are loaded already.
    TYPESUPPORT: ((GENERATOR_C, FASTRTPS, INTROSPECTION), (TYPESUPPORT,)),
    GENERATOR_PY: ((GENERATOR_C, TYPESUPPORT), ('rosidl_runtime_c',)),
}

# The generated code is not ours to fix, so its warnings are nobody's.
_FLAGS = ('-O1', '-fPIC', '-w')
_WORKERS = 2


@dataclass(frozen=True)
class Site:
    """Where a build takes place.

    ``stage`` is an empty folder that becomes a prefix, to be moved to ``target``; the packages of
    ``prefixes`` can be used.
    """

    stage: Path
    target: Path
    prefixes: Sequence[Path]

    def source(self, package: str, generator: str) -> Path:
        """Return the folder of what ``generator`` writes for ``package``."""
        return self.stage / 'src' / package / generator / package

    def resource(self, generator: str) -> Path:
        """Return the folder of a generator's templates; SetupError: it is not installed."""
        for prefix in self.prefixes:
            folder = prefix / 'share' / generator / 'resource'
            if folder.is_dir():
                return folder
        raise SetupError(
            f'the templates of {generator} are in none of {_listed(self.prefixes)}; building '
            'interfaces needs ROS 2 Iron or newer')


def require_tools() -> None:
    """Raise SetupError if there is no compiler or no header files of this Python."""
    if not (shutil.which('g++') and shutil.which('gcc')):
        raise SetupError('missing: a C++ compiler (Debian and Ubuntu: apt install g++)')
    if not (Path(sysconfig.get_paths()['include']) / 'Python.h').is_file():
        version = f'python{sys.version_info[0]}.{sys.version_info[1]}'
        raise SetupError(
            f'missing: the header files of {version} (Debian and Ubuntu: apt install '
            f'{version}-dev)')


def site_packages(prefix: Path) -> Path:
    """Return where ``prefix`` has its Python packages."""
    base = str(prefix)
    # Not the default scheme, which on Debian is another one outside of virtual environments.
    return Path(sysconfig.get_path('platlib', 'posix_prefix', {'base': base, 'platbase': base}))


def build_packages(packages: Sequence[Package], site: Site) -> None:
    """Fill ``site.stage`` with lib/, include/, share/ and Python packages.

    ``packages`` are sorted, the needed before those that need them. SetupError: a generator or the
    compiler failed.
    """
    for package in packages:
        _prepare(package, packages, site)
    names = [package.name for package in packages]
    # The descriptions of one package need those of the packages before it.
    _generate(DESCRIPTION, *(_arguments_file(site, name, DESCRIPTION) for name in names))
    _all([
        partial(_generate, generator, _arguments_file(site, name, generator))
        for generator in _GENERATORS for name in names
    ])
    flags = _compile_flags(site)
    _all([
        partial(_compile, site, name, generator, flags)
        for generator in (*_GENERATORS, DESCRIPTION) for name in names
    ])
    (site.stage / 'lib').mkdir()
    for package in packages:
        _link(package, site)
        _collect(package, site)


def _all(jobs: Iterable[Callable[[], None]]) -> None:
    with ThreadPoolExecutor(_WORKERS) as pool:
        started = [pool.submit(job) for job in jobs]
        try:
            for each in started:
                each.result()
        finally:
            pool.shutdown(cancel_futures=True)


# Before the generators


def _prepare(package: Package, packages: Sequence[Package], site: Site) -> None:
    share = site.stage / 'share' / package.name
    interfaces = [d.file.relative_to(package.folder) for d in package.definitions]
    idls = [str(file.with_suffix('.idl')) for file in interfaces]
    for file in interfaces:
        (share / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(package.folder / file, share / file)
    if (package.folder / 'package.xml').is_file():
        shutil.copyfile(package.folder / 'package.xml', share / 'package.xml')
    description = site.source(package.name, DESCRIPTION)
    for generator in (DESCRIPTION, *_GENERATORS):
        output = site.source(package.name, generator)
        output.mkdir(parents=True)
        arguments = {
            'package_name': package.name,
            'package_dir': str(share),
            'interfaces': [str(file) for file in interfaces],
            'idl_tuples': [f'{share}:{idl}' for idl in idls],
            'output_dir': str(output),
            'target_dependencies': [],
        }
        if generator == DESCRIPTION:
            arguments['include_paths'] = _description_folders(package, packages, site)
        else:
            arguments['template_dir'] = str(site.resource(generator))
        if generator == GENERATOR_C:
            arguments['ros_interface_files'] = [str(share / file) for file in interfaces]
            arguments['type_description_tuples'] = [
                f'{idl}:{description / idl.removesuffix(".idl")}.json' for idl in idls]
        _arguments_file(site, package.name, generator).write_text(json.dumps(arguments), 'utf-8')
        if generator in _WITH_HEADERS:
            _write_visibility(package.name, generator, site)


def _arguments_file(site: Site, package: str, generator: str) -> Path:
    return site.source(package, generator).parent / 'arguments.json'


def _description_folders(
    package: Package, packages: Sequence[Package], site: Site
) -> list[str]:
    # The first prefix that has a package wins, so it is written last.
    folders = {
        each.name: each
        for prefix in reversed(site.prefixes) for each in (prefix / 'share').glob('*')
    }
    folders.update((each.name, site.source(each.name, DESCRIPTION)) for each in packages)
    return [f'{name}:{folder}' for name, folder in folders.items()]


def _write_visibility(package: str, generator: str, site: Site) -> None:
    name = f'{generator}__visibility_control.h'
    text = (site.resource(generator) / f'{name}.in').read_text('utf-8')
    text = text.replace('@PROJECT_NAME_UPPER@', package.upper()).replace('@PROJECT_NAME@', package)
    header = site.source(package, generator) / 'msg' / name
    header.parent.mkdir()
    header.write_text(text)


# In the process of a generator


def _generate(generator: str, *arguments_files: Path) -> None:
    _run(f'generator {generator}', [
        sys.executable, '-m', 'robot_qa.messages.rosidl', generator,
        *(str(file) for file in arguments_files)])


def _main(generator: str, *arguments_files: str) -> None:
    for file in arguments_files:
        if generator == DESCRIPTION:
            _write_idl(json.loads(Path(file).read_text('utf-8')))
            importlib.import_module(DESCRIPTION).generate_type_hash(file)
        else:
            function, further = _GENERATORS[generator]
            getattr(importlib.import_module(generator), function)(file, *further)


def _write_idl(arguments: dict[str, str]) -> None:
    convert = importlib.import_module('rosidl_adapter').convert_to_idl
    folder = Path(arguments['package_dir'])
    for interface in arguments['interfaces']:
        convert(folder, arguments['package_name'], Path(interface), folder)


# After the generators


def _compile_flags(site: Site) -> list[str]:
    import numpy as np

    own = sorted((site.stage / 'src').glob('*/*/'))
    ros = [
        path for prefix in site.prefixes for path in (prefix / 'include', *sorted(
            each for each in (prefix / 'include').glob('*') if each.is_dir()))
    ]
    python = [sysconfig.get_paths()['include'], np.get_include()]
    return [*_FLAGS, *(f'-I{path}' for path in own),
            *(part for path in (*ros, *python) for part in ('-isystem', str(path)))]


def _compile(site: Site, package: str, generator: str, flags: list[str]) -> None:
    """Compile all that one generator wrote to objects beside its output."""
    descriptions = generator == DESCRIPTION
    folder = site.source(package, GENERATOR_C if descriptions else generator)
    objects = folder.parent / ('descriptions' if descriptions else 'objects')
    objects.mkdir()
    sources = sorted(
        file for file in folder.rglob('*.c*')
        if file.name.endswith('__description.c') == descriptions)
    if descriptions:
        # Each defines the same static names.
        units = sources
    else:
        # One unit spares reading the same headers for every interface.
        modules = [file for file in sources if '.ep.' in file.name]
        unit = objects / f'all{sources[0].suffix}'
        unit.write_text(''.join(
            f'#include "{file}"\n' for file in sources if file not in modules))
        units = [unit, *modules]
    compiler = 'g++' if units[0].suffix == '.cpp' else 'gcc'
    command = [compiler, *flags, '-c', *(str(file) for file in units)]
    _run(f'compiling {generator} of {package}', command, objects)


def _link(package: Package, site: Site) -> None:
    installed = [str(prefix / 'lib') for prefix in site.prefixes if prefix != site.target]
    search = [str(site.stage / 'lib'), str(site.target / 'lib'), *installed]
    common = [
        # All are to be loaded, also those of which no symbol is used.
        'g++', '-shared', '-Wl,--no-as-needed', *(f'-L{path}' for path in search),
        *(f'-Wl,-rpath,{path}' for path in installed)]
    name = package.name
    for library, (own, ros) in _LIBRARIES.items():
        objects = site.source(name, library).parent.glob('*/*.o')
        output = site.stage / 'lib' / f'lib{name}__{library}.so'
        links = [f'{name}__{each}' for each in own]
        links += [f'{each}__{library}' for each in package.dependencies]
        _run(f'linking {output.name}', [
            *common, *(str(file) for file in objects if '.ep.' not in file.name),
            '-Wl,-rpath,$ORIGIN', f'-Wl,-soname,{output.name}',
            *(f'-l{each}' for each in (*links, *ros)), '-o', str(output)])
    folder = site_packages(site.stage) / name
    folder.mkdir(parents=True)
    output = folder / f'{name}_s__{TYPESUPPORT}{sysconfig.get_config_var("EXT_SUFFIX")}'
    objects = site.source(name, GENERATOR_PY).parent.glob('objects/*.ep.*.o')
    _run(f'linking {output.name}', [
        *common, *(str(file) for file in objects),
        f'-Wl,-rpath,$ORIGIN/{os.path.relpath(site.stage / "lib", folder)}',
        f'-l{name}__{GENERATOR_PY}', f'-l{name}__{TYPESUPPORT}', f'-l{name}__{GENERATOR_C}',
        '-o', str(output)])


def _collect(package: Package, site: Site) -> None:
    """Put headers, Python modules, descriptions and entries of the ament index in place."""
    name, share = package.name, site.stage / 'share'
    for generator in _WITH_HEADERS:
        _copy(site.source(name, generator), '*.h', site.stage / 'include' / name / name)
    _copy(site.source(name, GENERATOR_PY), '*.py', site_packages(site.stage) / name)
    (site_packages(site.stage) / name / '__init__.py').touch()
    listed = []
    for definition in package.definitions:
        idl = f'{definition.kind}/{definition.file.stem}.idl'
        description = Path(idl).with_suffix('.json')
        shutil.copyfile(site.source(name, DESCRIPTION) / description, share / name / description)
        listed += [idl, f'{definition.kind}/{definition.file.name}']
    index = share / 'ament_index' / 'resource_index'
    for resource, text in {
        'packages': '',
        'package_run_dependencies': ';'.join(package.dependencies),
        'rosidl_interfaces': '\n'.join(sorted(listed)),
    }.items():
        (index / resource).mkdir(parents=True, exist_ok=True)
        (index / resource / name).write_text(text)


def _copy(source: Path, pattern: str, target: Path) -> None:
    for file in source.rglob(pattern):
        copy = target / file.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)


def _run(what: str, command: list[str], folder: Path | None = None) -> None:
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, errors='replace', check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        told = [line for line in lines if 'rror' in line] or lines or ['it told nothing']
        raise SetupError('\n  '.join([f'{what} failed ({done.returncode}):', *told[:8]]))


def _listed(paths: Iterable[Path]) -> str:
    return ', '.join(str(path) for path in paths)


if __name__ == '__main__':
    _main(*sys.argv[1:])
