"""Where on earth a place of the world is, and the sensor that says so."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from robot_qa.embedded.noise import NoiseSource
from robot_qa.embedded.sensor_base import Reading, Sensor, noisy
from robot_qa.embedded.world import Origin
from robot_qa.errors import Problem, SpecError
from robot_qa.geometry import Floats

# The ellipsoid WGS 84 (NIMA TR8350.2): half its long axis in m, and its flattening.
SEMI_MAJOR = 6378137.0
FLATTENING = 1.0 / 298.257223563
_ECCENTRICITY2 = FLATTENING * (2.0 - FLATTENING)
_SEMI_MINOR = SEMI_MAJOR * (1.0 - FLATTENING)


def to_east_north_up(origin: Origin, vector: Floats) -> Floats:
    """Turn a vector (3,) of the world to east, north, up at its origin.

    With a heading of 90 degrees the world's x axis points north, as in Gazebo.
    """
    heading = np.radians(origin.heading_deg)
    cosine, sine = np.cos(heading), np.sin(heading)
    x, y, z = vector
    return np.array([cosine * x - sine * y, sine * x + cosine * y, z])


def to_geodetic(origin: Origin, east_north_up: Floats) -> tuple[float, float, float]:
    """Return latitude and longitude in degrees and the height over the ellipsoid in m.

    Of a point (3,) in m on the plane that touches the earth at the origin.
    """
    latitude, longitude = np.radians(origin.latitude_deg), np.radians(origin.longitude_deg)
    sin_lat, cos_lat = np.sin(latitude), np.cos(latitude)
    sin_lon, cos_lon = np.sin(longitude), np.cos(longitude)
    axes = np.array([
        [-sin_lon, -cos_lon * sin_lat, cos_lon * cos_lat],
        [cos_lon, -sin_lon * sin_lat, sin_lon * cos_lat],
        [0.0, cos_lat, sin_lat],
    ])
    curvature = SEMI_MAJOR / np.sqrt(1.0 - _ECCENTRICITY2 * sin_lat**2)
    level = curvature + origin.elevation
    start = np.array([
        level * cos_lat * cos_lon, level * cos_lat * sin_lon,
        (curvature * (1.0 - _ECCENTRICITY2) + origin.elevation) * sin_lat,
    ])
    return _from_earth_centred(start + axes @ east_north_up)


def _from_earth_centred(point: Floats) -> tuple[float, float, float]:
    """B. R. Bowring, "Transformation from spatial to geographical coordinates", 1976.

    In Survey Review 23 (181); exact to some 1e-11 degrees near the ground.
    """
    x, y, z = point
    from_axis = np.hypot(x, y)
    parametric = np.arctan2(z * SEMI_MAJOR, from_axis * _SEMI_MINOR)
    second = _ECCENTRICITY2 / (1.0 - _ECCENTRICITY2)
    latitude = np.arctan2(
        z + second * _SEMI_MINOR * np.sin(parametric)**3,
        from_axis - _ECCENTRICITY2 * SEMI_MAJOR * np.cos(parametric)**3,
    )
    sine, cosine = np.sin(latitude), np.cos(latitude)
    # Of both coordinates, so that it holds at the poles too.
    height = (from_axis * cosine + z * sine
              - SEMI_MAJOR * np.sqrt(1.0 - _ECCENTRICITY2 * sine**2))
    return float(np.degrees(latitude)), float(np.degrees(np.arctan2(y, x))), float(height)


@dataclass(frozen=True)
class NavSatReading(Reading):
    """Degrees, metres over the ellipsoid WGS 84, and the velocity (3,) east, north, up in m/s."""

    latitude_deg: float
    longitude_deg: float
    altitude: float
    velocity: Floats
    horizontal_variance: float
    """Of the position, in m2."""
    vertical_variance: float


class NavSat(Sensor):
    """A satellite receiver in a world with ``<spherical_coordinates>``.

    Noise of the position is in m, as SDF says, on east, north and up (gz-sensors adds the
    horizontal one to degrees).
    """

    def reset(self) -> None:
        """Start as new; ``SpecError`` where the world has no place on earth."""
        super().reset()
        origin = self.simulation.world.origin
        if origin is None:
            place = self.described.place
            message = 'a navsat sensor needs <spherical_coordinates> in its <world>'
            raise SpecError([Problem(place.file, place.line, place.column, message)])
        self._origin = origin
        self._position = self._sources('position_sensing')
        self._speed = self._sources('velocity_sensing')

    def _sources(self, what: str) -> list[NoiseSource]:
        """Return those of east, north and up."""
        return [self._noise(f'{what}/{axis}') for axis in ('horizontal', 'horizontal', 'vertical')]

    def sample(self) -> NavSatReading:
        """Measure now."""
        elapsed = self._elapsed_s()
        at = to_east_north_up(self._origin, self._frame()[0])
        speed = to_east_north_up(self._origin, self._velocity()[0])
        return NavSatReading(
            self.simulation.time_ns,
            *to_geodetic(self._origin, noisy(self._position, at, elapsed)),
            noisy(self._speed, speed, elapsed),
            self._position[0].variance, self._position[2].variance,
        )
