"""The house: who may import whom, and that everything but a few rooms works without ROS."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / 'robot_qa'
# From top to bottom: a room imports from itself and from rooms above it. The longest match counts.
HOUSE = [
    '__init__', 'errors', 'timebase', 'stopping', 'quantities', 'geometry', 'stats', 'instrument',
    'spec', 'messages', 'probes.batch', 'probes', 'perception', 'monitors', 'checks', 'simulators',
    'monitor_set', 'spans', 'expectations', 'panel', 'draft', 'report', 'keeper', 'domains',
    'processes', 'embedded', 'scenario',
    'run_folder', 'bring_up', 'run_checks', 'companions', 'live_run', 'session', 'rounds',
    'watching', 'asserting', 'simulated', 'testing', 'integration', 'examples', 'cli',
]
GUESTS = {
    'rclpy': {
        'probes.live', 'probes.qos', 'probes.graph', 'probes.nodes', 'probes.caller',
        'probes.goals', 'probes.clock', 'probes.host_clocks', 'probes.time_service',
        'scenario.graph_actor', 'scenario.stage',
        'scenario.fault_actor', 'scenario.relay', 'scenario.relay_node', 'scenario.deadman',
        'scenario.goal_actor', 'scenario.node_processes', 'scenario.publish_actor',
        'simulators.asking', 'simulators.standard', 'embedded.node', 'embedded.devices',
        'embedded.services', 'embedded.settings', 'embedded.camera_topics', 'embedded.outlets',
        'instrument', 'integration', 'examples',
    },
    'mujoco': {'embedded'},
    'gz': {'simulators.gazebo'},
    'launch': {'integration.launch_action'},
}
BLOCKER = """
import importlib, pkgutil, sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in {blocked!r}:
            raise ImportError(name + ' is blocked')
sys.meta_path.insert(0, Blocked())
import robot_qa
for module in pkgutil.walk_packages(robot_qa.__path__, 'robot_qa.'):
    if not module.name.removeprefix('robot_qa.').startswith({guests!r}):
        importlib.import_module(module.name)
        print(module.name)
"""


def modules() -> dict[str, Path]:
    names = {}
    for path in sorted(PACKAGE.rglob('*.py')):
        parts = path.relative_to(PACKAGE).with_suffix('').parts
        names['.'.join(parts).removesuffix('.__init__') or '__init__'] = path
    return names


def room(module: str) -> str:
    fits = [one for one in HOUSE if module == one or module.startswith(f'{one}.')]
    assert fits, f'{module} is in no room of the house: add it to HOUSE and doc/architecture.md'
    return max(fits, key=len)


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f'{path}: a relative import'
            found.add(node.module or '')
            found |= {f'{node.module}.{alias.name}' for alias in node.names}
    return found


@pytest.mark.parametrize('module', modules())
def test_a_room_imports_only_from_rooms_above(module: str) -> None:
    known = modules()
    for name in imports(known[module]):
        inner = name.removeprefix('robot_qa.')
        if name.startswith('robot_qa.') and inner in known:
            assert HOUSE.index(room(inner)) <= HOUSE.index(room(module)), (
                f'{module} imports {inner}, which stands below it'
            )


@pytest.mark.parametrize('module', modules())
def test_guests_stay_in_their_rooms(module: str) -> None:
    for name in imports(modules()[module]):
        allowed = GUESTS.get(name.split('.')[0])
        if allowed is not None:
            assert any(module == one or module.startswith(f'{one}.') for one in allowed), (
                f'{module} imports {name}'
            )


def test_what_messages_we_import_rosdep_installs() -> None:
    named = {one.text for one in ElementTree.parse(ROOT / 'package.xml').iter('exec_depend')}
    imported = {name.split('.')[0] for path in modules().values() for name in imports(path)}
    interfaces = {name for name in imported if name.endswith(('_msgs', '_srvs', '_interfaces'))}
    assert interfaces and interfaces <= named, interfaces - named


def test_everything_else_imports_where_ros_was_never_installed() -> None:
    blocked = {*GUESTS, 'sensor_msgs', 'std_msgs', 'geometry_msgs', 'nav_msgs', 'rcl_interfaces'}
    guests = tuple(sorted(set().union(*GUESTS.values())))
    done = subprocess.run(
        [sys.executable, '-c', BLOCKER.format(blocked=blocked, guests=guests)], check=False,
        text=True, capture_output=True, env={**os.environ, 'PYTHONPATH': str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    assert 'robot_qa.session' in done.stdout
