"""Which frames of a model never move against each other, for ``/tf_static``."""

from __future__ import annotations

import numpy as np

from robot_qa.embedded.world import Joint, Model, Sensor
from robot_qa.geometry import Poses

# From a sensor's frame, x ahead, to its optical frame, z ahead and x to the right (REP 103).
OPTICAL = Poses(np.zeros(3), np.array([-0.5, 0.5, -0.5, 0.5]))
CAMERAS = (
    'camera', 'depth_camera', 'rgbd_camera', 'segmentation_camera', 'boundingbox_camera')


def frame_of(model: Model, sensor: Sensor) -> str:
    """Return the frame of a sensor: the one that it names, or its scoped name as in Gazebo."""
    return sensor.frame_id or f'{model.name}/{sensor.link}/{sensor.name}'


def optical_frame_of(model: Model, sensor: Sensor) -> str:
    """Return the frame of a camera's images: its optical frame, or its own if it names none."""
    named = sensor.camera.optical_frame if sensor.camera else None
    return named or frame_of(model, sensor)


def fixed_frames(model: Model, base: str, base_frame: str) -> dict[str, tuple[str, Poses]]:
    """Return parent and pose by frame, of all sensors that are rigidly on the link ``base``.

    ``base_frame`` is the name of that link's frame. Frames that move against it are those of
    links behind a joint: who wants them has a robot_state_publisher.
    """
    links = {link.name: link for link in model.links}
    rigid = _rigidly_on(base, model.joints)
    back = links[base].pose.inverse()
    found: dict[str, tuple[str, Poses]] = {}
    for sensor in model.sensors:
        if sensor.link not in rigid:
            continue
        frame, optical = frame_of(model, sensor), optical_frame_of(model, sensor)
        if frame != base_frame:
            pose = back @ links[sensor.link].pose @ sensor.pose
            found.setdefault(frame, (base_frame, pose))
        if sensor.kind in CAMERAS and optical != frame:
            found.setdefault(optical, (frame, OPTICAL))
    return found


def _rigidly_on(base: str, joints: tuple[Joint, ...]) -> set[str]:
    pairs = [{joint.parent, joint.child} for joint in joints if joint.kind == 'fixed']
    rigid = {base}
    while grown := [pair for pair in pairs if pair & rigid and not pair <= rigid]:
        rigid = rigid.union(*grown)
    return rigid
