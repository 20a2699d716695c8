"""What a live run needs of ROS beside its topics, imported only when there is a live run."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from robot_qa.errors import SetupError
from robot_qa.messages.typestore import TypeStore
from robot_qa.monitors.clocks import clock_topics
from robot_qa.probes.batch import Batch
from robot_qa.probes.resources import ResourceProbe
from robot_qa.processes import Processes
from robot_qa.spec.graph import graph_interest
from robot_qa.spec.hardware import moved_hardware
from robot_qa.spec.loader import LoadedSpec
from robot_qa.spec.model import TestSpec

if TYPE_CHECKING:
    from robot_qa.scenario.deadman import DeadMan


class Companion(Protocol):
    """A live probe of something else than topics; see the rooms in ``probes/``."""

    def begin(self) -> None:
        """Start the observation now; what came before does not count."""

    def missing(self) -> list[str]:
        """Return what was not discovered yet, in words."""

    def drain(self) -> list[Batch]:
        """Look, without waiting, and return what was observed since the last call."""

    def close(self) -> None:
        """Release what it holds."""


def live_companions(
    loaded: LoadedSpec, node: Any, store: TypeStore, processes: Processes | None = None
) -> list[Companion]:
    """Return the probes of the graph, services, actions and so on that a spec needs."""
    from robot_qa.probes.caller import ServiceCaller
    from robot_qa.probes.goals import ActionCaller
    from robot_qa.probes.graph import GraphProbe
    from robot_qa.probes.host_clocks import HostClocks

    spec = loaded.spec
    found: list[Companion] = []
    interest = graph_interest(spec)
    if interest is not None:
        found.append(GraphProbe(node, interest))
    if spec.services:
        found.append(ServiceCaller(node, spec.services, store, loaded.marks))
    if spec.actions:
        found.append(ActionCaller(node, spec.actions, store, loaded.marks))
    if spec.resources:
        found.append(ResourceProbe(spec.resources, processes.pids if processes else None))
    # What we start ourselves is on this host.
    if processes is None and (stamped := clock_topics(spec)):
        found.append(HostClocks(node, stamped))
    return found


@contextmanager
def guarded(spec: TestSpec) -> Iterator[DeadMan | None]:
    """Keep what stops the robot if this process dies; None where a run moves none that runs."""
    commands, actions = moved_hardware(spec)
    if not (commands or actions):
        yield None
        return
    from robot_qa.scenario.deadman import DeadMan

    with DeadMan() as dead_man:
        for topic, type_name in commands.items():
            dead_man.stop_on(topic, type_name)
        for action in actions:
            dead_man.cancel(action)
        yield dead_man


def import_live() -> Any:
    """Import the live probe, which needs ROS."""
    try:
        # The first node would do it, with warnings of a library that is none of a user's.
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', DeprecationWarning)
            importlib.import_module('rosidl_generator_py')
        from robot_qa.probes import live
    except ImportError as error:
        raise SetupError(
            f'a live run needs ROS 2, and rclpy cannot be imported ({error}); source a ROS '
            'workspace, or install the wheels: pip install "robot_qa[ros]"'
        ) from error
    return live
