"""What feels forces: contact sensors, and force and torque sensors in joints."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from robot_qa.embedded.bodies import Contact
from robot_qa.embedded.sensor_base import Reading, Sensor, noisy
from robot_qa.embedded.world import WORLD_LINK
from robot_qa.errors import Problem, SpecError, did_you_mean
from robot_qa.geometry import Floats, conjugate, cross, rotate


@dataclass(frozen=True)
class ContactReading(Reading):
    """What touched the sensor's collisions in the last step; each is ``first`` in its contact.

    Positions, normals and forces are in the world.
    """

    contacts: tuple[Contact, ...]


class ContactSensor(Sensor):
    """A contact sensor on collisions of its link."""

    def reset(self) -> None:
        """Start as new."""
        super().reset()
        link = f'{self.model_name}::{self.described.link}'
        self._own = {f'{link}::{name}' for name in self.described.contact_collisions}

    def sample(self) -> ContactReading:
        """Return the contacts of now."""
        found = []
        for contact in self.simulation.contacts(self._own):
            if contact.first in self._own:
                found.append(contact)
            elif contact.second in self._own:
                found.append(contact._replace(
                    first=contact.second, second=contact.first, normals=-contact.normals,
                    forces=-contact.forces,
                ))
        return ContactReading(self.simulation.time_ns, tuple(found))


@dataclass(frozen=True)
class WrenchReading(Reading):
    """Force (3,) in N and torque (3,) in Nm, about the sensor's origin, in ``measured_in``."""

    force: Floats
    torque: Floats


class ForceTorque(Sensor):
    """What a joint passes on, between its parent and its child."""

    def reset(self) -> None:
        """Start as new; ``SpecError`` for a joint that is not there."""
        super().reset()
        joints = {one.name: one for one in self.simulation.model_of(self.model_name).joints}
        name = self.described.joint or ''
        if name not in joints:
            place = self.described.place
            message = f'no joint is named "{name}"{did_you_mean(name, joints)}'
            raise SpecError([Problem(place.file, place.line, place.column, message)])
        self._joint = joints[name]
        self._sources = self._noise_of_axes('force/') + self._noise_of_axes('torque/')

    def sample(self) -> WrenchReading:
        """Measure what was passed on in the last step."""
        simulation = self.simulation
        force, torque = simulation.joint_wrench(self.model_name, self._joint.name)
        arm = self.described.pose.translation - self._joint.pose.translation
        torque = torque - cross(arm, force)
        turn = self._from_child()
        sign = 1.0 if self.described.measure_direction == 'parent_to_child' else -1.0
        values = sign * np.concatenate((rotate(turn, force), rotate(turn, torque)))
        values = noisy(self._sources, values, self._elapsed_s())
        return WrenchReading(simulation.time_ns, values[:3], values[3:])

    def _from_child(self) -> Floats:
        """Return the rotation (4,) of vectors in the child to the frame that is asked for."""
        if self.described.measured_in == 'sensor':
            return conjugate(self.described.pose.rotation)
        if self.described.measured_in == 'child':
            return np.array([0.0, 0.0, 0.0, 1.0])
        child = self.simulation.link_pose(self.model_name, self._joint.child)
        if self._joint.parent == WORLD_LINK:
            return child.rotation
        parent = self.simulation.link_pose(self.model_name, self._joint.parent)
        return (parent.inverse() @ child).rotation
