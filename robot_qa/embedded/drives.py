"""The plugins of a model that drive it or report its state."""

from __future__ import annotations

from robot_qa.embedded.diff_drive import DiffDrive
from robot_qa.embedded.joint_drives import JointController, JointPositionController
from robot_qa.embedded.plugin_parameters import Parameters
from robot_qa.embedded.publishers import JointStatePublisher, OdometryPublisher, PosePublisher
from robot_qa.embedded.simulation import Simulation
from robot_qa.embedded.touch_plugin import TouchPlugin
from robot_qa.errors import Problem, SpecError

Drive = (
    DiffDrive | JointPositionController | JointController
    | JointStatePublisher | OdometryPublisher | PosePublisher | TouchPlugin
)
KINDS: dict[str, type[Drive]] = {
    'DiffDrive': DiffDrive,
    'JointPositionController': JointPositionController,
    'JointController': JointController,
    'JointStatePublisher': JointStatePublisher,
    'OdometryPublisher': OdometryPublisher,
    'PosePublisher': PosePublisher,
    'TouchPlugin': TouchPlugin,
}
"""By the name of a ``world.Plugin``."""
_NEED_JOINTS = {'DiffDrive', 'JointPositionController', 'JointController', 'JointStatePublisher'}


def make_drives(simulation: Simulation, model_name: str) -> list[Drive]:
    """Return those of a model, in the order of its plugins, reset to now.

    A static model has no joints that could move. ``SpecError`` holds all mistakes of all plugins.
    """
    model = simulation.model_of(model_name)
    problems: list[Problem] = []
    drives: list[Drive] = []
    for plugin in model.plugins:
        kind = KINDS.get(plugin.name)
        if kind is not None and not (model.static and plugin.name in _NEED_JOINTS):
            parameters = Parameters(plugin, model, problems)
            drives.append(kind(simulation, model_name, parameters))
    if problems:
        # One parameter may be read for two purposes.
        raise SpecError(dict.fromkeys(problems))
    for drive in drives:
        drive.reset()
    return drives
