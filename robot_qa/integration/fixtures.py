"""The fixtures for tests in code; what they give is in ``robot_qa.testing``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from robot_qa.checks import CheckResult
    from robot_qa.testing import Monitor, Robot, Simulation


@pytest.fixture
def robot(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Robot]:
    """The robot of one test: started by it in a ROS domain of its own, or the one that runs.

    Paths are relative to the folder of the test's file. It may act on the one that runs with
    ``--qa-armed`` only.
    """
    from robot_qa.testing import Robot

    # pytest before 7 has no ``path``.
    folder, armed = Path(request.node.fspath).parent, request.config.getoption('--qa-armed')
    with Robot(folder, tmp_path / 'logs', armed=armed) as it:
        yield it


@pytest.fixture
def monitor(robot: Robot) -> Callable[..., Monitor]:
    """``monitor('/scan')`` begins to watch a topic."""
    return robot.monitor


@pytest.fixture
def scenario(robot: Robot) -> Callable[..., list[CheckResult]]:
    """``scenario([...], '10 s')`` plays steps as a spec has them."""
    return robot.scenario


@pytest.fixture
def simulator(robot: Robot) -> Callable[..., Simulation]:
    """``simulator('worlds/warehouse.sdf')`` starts the embedded simulator."""
    return robot.simulate
