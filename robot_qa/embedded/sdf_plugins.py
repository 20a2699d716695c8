"""Plugins of SDF, by the names that Gazebo gives its systems."""

from __future__ import annotations

import re
from collections.abc import Iterable

from robot_qa.embedded.sdf_reader import Reader
from robot_qa.embedded.sdf_xml import Element
from robot_qa.embedded.world import Parameter, Plugin
from robot_qa.errors import did_you_mean

LABEL = 'Label'
KNOWN = (
    'DiffDrive', 'JointStatePublisher', 'JointPositionController', 'JointController',
    'PosePublisher', 'OdometryPublisher', 'TouchPlugin', 'WindEffects', LABEL,
    # Of the server: what they do is always done here.
    'Physics', 'UserCommands', 'SceneBroadcaster', 'Sensors', 'Imu', 'Contact', 'NavSat',
    'Altimeter', 'Magnetometer', 'ForceTorque',
)
_NAMESPACE = re.compile(r'(?:gz::sim|ignition::gazebo)::(?:v\d+::)?systems::(?:v\d+::)?')
_FILE = re.compile(r'(?:lib)?(?:gz-sim|ignition-gazebo)\d*-(.+?)-system(?:\.so)?')
_BY_FILE = {name.lower(): name for name in KNOWN}


def name_of(element: Element) -> str:
    """Return a plugin's class without its namespace; by its file if the name is of another."""
    name = element.attributes.get('name', '').strip()
    plain = _NAMESPACE.sub('', name)
    if plain in KNOWN:
        return plain
    file = _FILE.fullmatch(element.attributes.get('filename', '').strip())
    return _BY_FILE.get(file.group(1).replace('-', ''), plain) if file is not None else plain


def plugins(reader: Reader, elements: Iterable[Element], scope: str = '') -> tuple[Plugin, ...]:
    """Return plugins; each unknown one is warned about once."""
    found = []
    for element in elements:
        name, filename = name_of(element), element.attributes.get('filename', '').strip()
        warn_if_unknown(reader, element)
        parameters = tuple(parameter(one) for one in element.children)
        found.append(Plugin(name, filename, parameters, element.place(''), scope))
    return tuple(found)


def warn_if_unknown(reader: Reader, element: Element) -> None:
    """Warn, once for each name, of a plugin that has no effect."""
    name = name_of(element) or element.attributes.get('filename', '')
    if name not in KNOWN:
        # One of Gazebo's other systems is not a misspelt one.
        other = _FILE.fullmatch(element.attributes.get('filename', '').strip())
        hint = did_you_mean(name, KNOWN) if other is None else ''
        message = f'the plugin "{name}" has no effect{hint}'
        reader.warn_once(f'plugin {name}', element, message)


def parameter(element: Element) -> Parameter:
    """Return an element inside a plugin."""
    children = tuple(parameter(one) for one in element.children)
    return Parameter(
        element.name, element.text, dict(element.attributes), children, element.place(''))


def label_of(reader: Reader, elements: Iterable[Element]) -> int | None:
    """Return what the label plugin among some plugins says."""
    for element in elements:
        if name_of(element) == LABEL:
            reader.required(element, 'label')
            return reader.whole(element, 'label', 0) if element.child('label') else None
    return None
