"""Sensors of SDF with their noise."""

from __future__ import annotations

import math
from typing import get_args

from robot_qa.embedded.sdf_frames import Scope, visible
from robot_qa.embedded.sdf_reader import Reader
from robot_qa.embedded.sdf_xml import Element
from robot_qa.embedded.world import CameraPart, LidarPart, Noise, Sensor, SensorKind
from robot_qa.errors import did_you_mean
from robot_qa.geometry import Poses

SAME: dict[str, SensorKind] = {
    **{kind: kind for kind in get_args(SensorKind)},
    'ray': 'lidar', 'gpu_ray': 'lidar', 'gpu_lidar': 'lidar', 'gps': 'navsat',
    'depth': 'depth_camera', 'rgbd': 'rgbd_camera', 'segmentation': 'segmentation_camera',
    'boundingbox': 'boundingbox_camera',
}
UNSUPPORTED = (
    'air_pressure', 'air_speed', 'custom', 'dvl', 'logical_camera', 'multicamera', 'rfid',
    'rfidtag', 'sonar', 'thermal', 'thermal_camera', 'wideanglecamera', 'wide_angle_camera',
    'wireless_receiver', 'wireless_transmitter',
)
BOXES = {
    '2d': 'visible_2d', 'visible_2d': 'visible_2d', 'visible_box_2d': 'visible_2d',
    'full_2d': 'full_2d', 'full_box_2d': 'full_2d', '3d': '3d',
}
NOISY = {
    'imu': [f'{part}/{axis}' for part in ('angular_velocity', 'linear_acceleration')
            for axis in 'xyz'],
    'altimeter': ['vertical_position', 'vertical_velocity'],
    'magnetometer': ['x', 'y', 'z'],
    'navsat': [f'{part}/{axis}' for part in ('position_sensing', 'velocity_sensing')
               for axis in ('horizontal', 'vertical')],
    'force_torque': [f'{part}/{axis}' for part in ('force', 'torque') for axis in 'xyz'],
}
GAUSSIAN = ('gaussian', 'gaussian_quantized')


def of_link(scope: Scope, link: Element, prefix: str) -> list[Sensor]:
    """Return the sensors of a link; their poses are in it."""
    name = link.attributes.get('name', '')
    found = (sensor(scope, one, prefix + name, scope.relative(one, name))
             for one in unique(scope.reader, link, 'sensor'))
    sensors = [one for one in found if one is not None]
    known = [one.attributes.get('name', '') for one in link.all('collision')]
    for one in link.all('sensor'):
        for place in [inner for part in one.all('contact') for inner in part.all('collision')]:
            if place.text not in known:
                hint = did_you_mean(place.text, known)
                message = f'the link "{name}" has no collision "{place.text}"{hint}'
                scope.reader.warn(place, message)
    return sensors


def of_joint(scope: Scope, joint: Element, prefix: str, child: str) -> list[Sensor]:
    """Return the sensors of a joint; their poses are in its child link, a name of the scope."""
    name, sensors = joint.attributes.get('name', ''), []
    for one in unique(scope.reader, joint, 'sensor'):
        pose = scope.pose(child).inverse() @ scope.pose(name) @ scope.relative(one, name)
        if one.attributes.get('type') != 'force_torque':
            scope.reader.warn(one, 'a sensor of a joint measures only as force_torque: left out')
            continue
        found = sensor(scope, one, prefix + visible(child), pose, prefix + name)
        if found is not None:
            sensors.append(found)
    return sensors


def unique(reader: Reader, parent: Element, kind: str) -> list[Element]:
    """Return the children of a kind, each with a name of its own; errors for all others."""
    first: dict[str, Element] = {}
    for one in parent.all(kind):
        name = reader.attribute(one, 'name')
        if name in first:
            message = f'the name "{name}" is already that of the {kind} at line {first[name].line}'
            reader.error(one, message)
        elif name:
            first[name] = one
    return list(first.values())


def sensor(
    scope: Scope, element: Element, link: str, pose: Poses, joint: str | None = None
) -> Sensor | None:
    """Return a sensor, or None with a warning (not represented) or an error."""
    reader = scope.reader
    text = reader.attribute(element, 'type')
    kind = SAME.get(text)
    if kind is None:
        if text in UNSUPPORTED:
            reader.warn(element, f'a sensor of type "{text}" is not represented: left out')
        elif text:
            hint = did_you_mean(text, (*SAME, *UNSUPPORTED))
            reader.error(element, f'"{text}" is no type of <sensor>{hint}')
        return None
    if kind == 'force_torque' and joint is None:
        reader.warn(element, 'a force_torque sensor measures only in a <joint>: left out')
        return None
    contact = element.child('contact') if kind == 'contact' else None
    topic = reader.word(element, 'topic')
    if contact is not None and topic in {None, '__default__'}:
        topic = reader.word(contact, 'topic')
    frames = ('gz_frame_id', 'ignition_frame_id', 'frame_id')
    part = element.child('gps' if text == 'gps' else kind)
    sense = element.child('force_torque') if kind == 'force_torque' else None
    return Sensor(
        name=element.attributes['name'].strip(), kind=kind, link=link, pose=pose,
        rate_hz=reader.number(element, 'update_rate', 0.0, low=0.0), place=element.place(''),
        topic=None if topic in {'__default__', '__default_topic__'} else topic,
        frame_id=next((one.text for one in element.children if one.name in frames and one.text),
                      None),
        joint=joint,
        camera=camera(reader, element) if kind.endswith('camera') else None,
        lidar=lidar(reader, element) if kind == 'lidar' else None,
        noises={} if part is None else noises(reader, part, kind),
        contact_collisions=() if contact is None else tuple(
            one.text for one in contact.all('collision')),
        measured_in=_choice(  # type: ignore[arg-type]
            reader, sense, 'frame', ('child', 'parent', 'sensor')),
        measure_direction=_choice(  # type: ignore[arg-type]
            reader, sense, 'measure_direction', ('child_to_parent', 'parent_to_child')),
        orientation_enabled=part is None or reader.flag(part, 'enable_orientation', True),
    )


def _choice(
    reader: Reader, parent: Element | None, name: str, known: tuple[str, ...]
) -> str:
    """Return a child's word, the first of those known if there is no child."""
    found = None if parent is None else parent.child(name)
    return known[0] if found is None else reader.choice(found, found.text, known, known[0])


def camera(reader: Reader, element: Element) -> CameraPart:
    """Return the ``<camera>`` of a sensor, the defaults of SDF if it has none."""
    found = element.child('camera')
    if found is None:
        return CameraPart()
    width, height, form = 320, 240, 'R8G8B8'
    image = found.child('image')
    if image is not None:
        width = reader.whole(image, 'width', width, low=1)
        height = reader.whole(image, 'height', height, low=1)
        form = reader.word(image, 'format') or form
    pose = found.child('pose')
    if pose is not None and any(reader.numbers(pose, (6, 7)) or ()):
        reader.warn(pose, 'the <pose> of a <camera> has no effect, only that of the sensor has')
    near, far = _clip(reader, found, 0.1, 100.0)
    depth = found.child('depth_camera')
    has_clip = depth is not None and depth.child('clip') is not None
    depth_near, depth_far = (
        _clip(reader, depth, near, far) if depth is not None and has_clip else (None, None))
    fov = reader.number(found, 'horizontal_fov', 1.047, above=0.0)
    if fov >= math.pi:
        reader.error(found, f'<horizontal_fov> {fov:g}: expected less than pi')
    boxes = _choice(reader, found, 'box_type', tuple(BOXES))
    return CameraPart(
        width=width, height=height, fov=fov, near=near, far=far, format=form,
        noise=noise(reader, found.child('noise')), depth_near=depth_near, depth_far=depth_far,
        segmentation=_choice(  # type: ignore[arg-type]
            reader, found, 'segmentation_type', ('semantic', 'instance', 'panoptic')),
        boxes=BOXES[boxes],  # type: ignore[arg-type]
        optical_frame=reader.word(found, 'optical_frame_id'),
        info_topic=_named(reader.word(found, 'camera_info_topic')),
    )


def _named(topic: str | None) -> str | None:
    return None if topic == '__default__' else topic


def _clip(reader: Reader, parent: Element, near: float, far: float) -> tuple[float, float]:
    clip = parent.child('clip')
    if clip is None:
        return near, far
    near = reader.number(clip, 'near', near, above=0.0)
    far = reader.number(clip, 'far', far, above=0.0, infinite=True)
    if near >= far:
        reader.error(clip, f'<near> {near:g} must be less than <far> {far:g}')
    return near, far


def lidar(reader: Reader, element: Element) -> LidarPart:
    """Return the ``<lidar>`` or ``<ray>`` of a sensor."""
    found = element.child('lidar') or element.child('ray')
    if found is None:
        return LidarPart()
    scan, reach = found.child('scan'), found.child('range')
    flat = scan.child('horizontal') if scan is not None else None
    high = scan.child('vertical') if scan is not None else None
    samples, low_angle, high_angle, resolution = _fan(reader, flat, 640)
    vertical, low_vertical, high_vertical, _ = _fan(reader, high, 1)
    near, far, step = 0.0, math.inf, 0.0
    if reach is not None:
        near = reader.number(reach, 'min', near, low=0.0)
        far = reader.number(reach, 'max', far, above=0.0, infinite=True)
        step = reader.number(reach, 'resolution', step, low=0.0)
        if near >= far:
            reader.error(reach, f'<min> {near:g} must be less than <max> {far:g}')
    return LidarPart(
        samples=samples, min_angle=low_angle, max_angle=high_angle, resolution=resolution,
        vertical_samples=vertical, vertical_min_angle=low_vertical,
        vertical_max_angle=high_vertical, min_range=near, max_range=far, range_resolution=step,
        noise=noise(reader, found.child('noise')),
    )


def _fan(
    reader: Reader, found: Element | None, default: int
) -> tuple[int, float, float, float]:
    """Return samples, lowest and highest angle and resolution."""
    if found is None:
        return default, 0.0, 0.0, 1.0
    low = reader.number(found, 'min_angle', 0.0)
    high = reader.number(found, 'max_angle', 0.0)
    if low > high:
        reader.error(found, f'<min_angle> {low:g} lies above <max_angle> {high:g}')
    samples = reader.whole(found, 'samples', default, low=1)
    return samples, low, high, reader.number(found, 'resolution', 1.0, above=0.0)


def noises(reader: Reader, part: Element, kind: str) -> dict[str, Noise]:
    """Return the noises of a sensor by their path."""
    found = {}
    for path in NOISY.get(kind, ()):
        at: Element | None = part
        for name in path.split('/'):
            at = at.child(name) if at is not None else None
        one = noise(reader, at.child('noise')) if at is not None else None
        if one is not None:
            found[path] = one
    return found


def noise(reader: Reader, found: Element | None) -> Noise | None:
    """Return a noise, or None if there is none, or one of the type ``none``."""
    if found is None:
        return None
    kind = found.attributes.get('type') or reader.word(found, 'type') or 'none'
    if kind == 'none':
        return None
    if kind not in GAUSSIAN:
        hint = did_you_mean(kind, (*GAUSSIAN, 'none'))
        reader.warn(found, f'noise of type "{kind}" has no effect{hint}')
        return None
    return Noise(
        mean=reader.number(found, 'mean', 0.0),
        stddev=reader.number(found, 'stddev', 0.0, low=0.0),
        bias_mean=reader.number(found, 'bias_mean', 0.0),
        bias_stddev=reader.number(found, 'bias_stddev', 0.0, low=0.0),
        dynamic_bias_stddev=reader.number(found, 'dynamic_bias_stddev', 0.0, low=0.0),
        dynamic_bias_time=reader.number(found, 'dynamic_bias_correlation_time', 0.0, low=0.0),
        precision=reader.number(found, 'precision', 0.0, low=0.0)
        if kind == 'gaussian_quantized' else 0.0,
    )
