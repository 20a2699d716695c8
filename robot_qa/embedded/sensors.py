"""The sensors of a simulation, apart from cameras."""

from __future__ import annotations

from robot_qa.embedded import world
from robot_qa.embedded.inertial import Altimeter, Imu, Magnetometer
from robot_qa.embedded.lidar import Lidar
from robot_qa.embedded.navsat import NavSat
from robot_qa.embedded.sensor_base import Sensor
from robot_qa.embedded.simulation import Simulation
from robot_qa.embedded.touch import ContactSensor, ForceTorque

KINDS: dict[str, type[Sensor]] = {
    'lidar': Lidar, 'imu': Imu, 'altimeter': Altimeter, 'magnetometer': Magnetometer,
    'navsat': NavSat, 'contact': ContactSensor, 'force_torque': ForceTorque,
}
"""By the kind of a ``world.Sensor``."""


def make_sensor(
    simulation: Simulation, model_name: str, sensor: world.Sensor, seed: int,
) -> Sensor:
    """Return a sensor of one of ``KINDS``; ``SpecError`` where the world lacks what it needs.

    What it takes as its start (reference height, reference orientation) is now.
    """
    return KINDS[sensor.kind](simulation, model_name, sensor, seed)
