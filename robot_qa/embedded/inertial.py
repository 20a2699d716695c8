"""What feels motion and fields: IMU, altimeter, magnetometer."""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np

from robot_qa.embedded.sensor_base import Reading, Sensor, noisy
from robot_qa.embedded.shapes import xyzw
from robot_qa.geometry import Floats, cross


@dataclass(frozen=True)
class ImuReading(Reading):
    """What an IMU measures, all vectors (3,) in its own frame.

    ``orientation`` (4,) as x, y, z, w is relative to that at the start; None if it is not enabled.
    ``angular_velocity`` is in rad/s; ``linear_acceleration`` in m/s2 is a proper acceleration: at
    rest it points up, in free fall it is zero. Variances are those of the white noise.
    """

    orientation: Floats | None
    angular_velocity: Floats
    angular_velocity_variance: Floats
    linear_acceleration: Floats
    linear_acceleration_variance: Floats


class Imu(Sensor):
    """An IMU; its noise is per axis and none is on the orientation, as in gz-sensors."""

    def reset(self) -> None:
        """Start as new; the orientation of now becomes the reference."""
        super().reset()
        self._reference = self._frame()[1]
        self._gyroscope = self._noise_of_axes('angular_velocity/')
        self._accelerometer = self._noise_of_axes('linear_acceleration/')
        self._variances = [np.array([source.variance for source in sources])
                           for sources in (self._gyroscope, self._accelerometer)]

    def sample(self) -> ImuReading:
        """Measure the velocity of now and the acceleration in the last step."""
        elapsed = self._elapsed_s()
        _, axes, arm = self._frame()
        _, turning = self.simulation.link_twist(self.model_name, self.described.link)
        felt = self._acceleration(turning, arm) - self.simulation.model.opt.gravity
        return ImuReading(
            self.simulation.time_ns, self._orientation(axes),
            noisy(self._gyroscope, turning @ axes, elapsed), self._variances[0],
            noisy(self._accelerometer, felt @ axes, elapsed), self._variances[1],
        )

    def _orientation(self, axes: Floats) -> Floats | None:
        if not self.described.orientation_enabled:
            return None
        found = np.empty(4)
        mujoco.mju_mat2Quat(found, (self._reference.T @ axes).ravel())
        return xyzw(found)

    def _acceleration(self, turning: Floats, arm: Floats) -> Floats:
        """Return d2x/dt2 of the sensor, in the world in m/s2.

        From the link's angular velocity and the vector from its origin to the sensor.
        """
        simulation, of_link = self.simulation, (self.model_name, self.described.link)
        of_origin = simulation.link_acceleration(*of_link)
        # What MuJoCo found for this also holds the angular acceleration.
        found = np.zeros(6)
        mujoco.mj_objectAcceleration(
            simulation.model, simulation.data, mujoco.mjtObj.mjOBJ_XBODY,
            simulation.body_id(*of_link), found, 0,
        )
        return of_origin + cross(found[:3], arm) + cross(turning, cross(turning, arm))


@dataclass(frozen=True)
class AltimeterReading(Reading):
    """Height over that at the start, in m, and how fast it grows, in m/s.

    ``vertical_reference`` is the height at the start over the world's origin, in m.
    """

    vertical_position: float
    vertical_velocity: float
    vertical_reference: float


class Altimeter(Sensor):
    """An altimeter."""

    def reset(self) -> None:
        """Start as new; the height of now becomes the reference."""
        super().reset()
        self._reference = float(self._frame()[0][2])
        self._sources = [self._noise('vertical_position'), self._noise('vertical_velocity')]

    def sample(self) -> AltimeterReading:
        """Measure now."""
        height = self._frame()[0][2] - self._reference
        speed = self._velocity()[0][2]
        height, speed = noisy(self._sources, np.array([height, speed]), self._elapsed_s())
        return AltimeterReading(
            self.simulation.time_ns, float(height), float(speed), self._reference)


@dataclass(frozen=True)
class MagnetometerReading(Reading):
    """The magnetic field (3,) in the sensor's frame, in tesla."""

    field: Floats


class Magnetometer(Sensor):
    """A magnetometer in the ``<magnetic_field>`` of the world, which is the same everywhere."""

    def reset(self) -> None:
        """Start as new."""
        super().reset()
        self._sources = self._noise_of_axes()

    def sample(self) -> MagnetometerReading:
        """Measure now."""
        field = np.array(self.simulation.world.magnetic_field)
        seen = field @ self._frame()[1]
        return MagnetometerReading(
            self.simulation.time_ns, noisy(self._sources, seen, self._elapsed_s()))
