"""How the server of Gazebo is started: its command, its environment, and what has to be there.

``gz sim`` ends with code 0 for a world that is no SDF, and models that it does not find are a line
in its log. So what can be known before is checked before.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree

from robot_qa.errors import SetupError

# It takes a C int, and 0 for no seed at all.
_SEEDS = 2**31 - 1
LOOPBACK = '127.0.0.1'


def server_command(world: Path, seed: int, *, headless: bool = True) -> tuple[str, ...]:
    """Return what runs a world; headless also renders without a display, where sensors need it."""
    how = ('-s', '--headless-rendering') if headless else ()
    return ('gz', 'sim', *how, '-r', '-v', '2', '--seed', str(seed % _SEEDS or _SEEDS), str(world))


def server_environment(world: Path, env: Mapping[str, str]) -> dict[str, str]:
    """Return what to set: this machine only, and models beside the world are found."""
    folders = [str(world.parent / 'models'), str(world.parent)]
    path = [*folders, *filter(None, [env.get('GZ_SIM_RESOURCE_PATH')])]
    return {'GZ_IP': LOOPBACK, 'GZ_SIM_RESOURCE_PATH': os.pathsep.join(path)}


def check_installed(env: Mapping[str, str]) -> None:
    """Raise ``SetupError`` where there is no ``gz`` to start."""
    if shutil.which('gz', path=env.get('PATH', os.defpath)) is None:
        raise SetupError('the spec starts Gazebo, and there is no command "gz"; install Gazebo '
                         'Harmonic or newer (gz-tools and gz-sim), or use backend: embedded')


def paced(world: Path, factor: float) -> str | None:
    """Return the SDF of a world with another real-time factor, which no option of gz sim sets.

    0 is as fast as it can; None: the world has this factor already.
    """
    tree = ElementTree.parse(world)
    found = tree.findall('world/physics')
    if not found:
        found = [ElementTree.SubElement(one, 'physics', {'name': 'default', 'type': 'ignored'})
                 for one in tree.findall('world')]
    elements = [one.find('real_time_factor') for one in found]
    if all(float((one.text or 1) if one is not None else 1) == factor for one in elements):
        return None
    for physics, element in zip(found, elements, strict=True):
        paces = ElementTree.SubElement(physics, 'real_time_factor') if element is None else element
        paces.text = str(factor)
    return ElementTree.tostring(tree.getroot(), encoding='unicode')


def world_name(world: Path) -> str:
    """Return the name of the only world in an SDF file; ``SetupError``: it is no such file."""
    try:
        root = ElementTree.parse(world).getroot()
    except ElementTree.ParseError as error:
        line, column = error.position
        reason = error.msg.split(':')[0]
        raise SetupError(f'{world}:{line}:{column + 1}: no XML: {reason}') from error
    except OSError as error:
        raise SetupError(f'{world}: {error.strerror}') from error
    if root.tag != 'sdf':
        raise SetupError(f'{world}: SDF begins with <sdf>, and this file with <{root.tag}>')
    worlds = root.findall('world')
    if len(worlds) != 1:
        raise SetupError(f'{world}: one <world> was expected, and there are {len(worlds)}')
    name = worlds[0].get('name')
    if not name:
        raise SetupError(f'{world}: <world> has no name')
    return name
