"""Shared by all tests: what needs ROS is skipped, with the reason, where there is none."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
MODULES = {'live': 'rclpy', 'launch': 'launch_testing', 'gazebo': 'gz.transport13'}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for marker, module in MODULES.items():
            if item.get_closest_marker(marker) and not _importable(module):
                item.add_marker(pytest.mark.skip(reason=f'{module} is not installed'))


def _importable(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False
