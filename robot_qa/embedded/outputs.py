"""Readings as ROS messages, of the types that ros_gz_bridge gives them."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np
from geometry_msgs.msg import TransformStamped, Vector3, WrenchStamped
from nav_msgs.msg import Odometry
from numpy.typing import NDArray
from ros_gz_interfaces.msg import Altimeter, Contact, Contacts, Entity, JointWrench
from sensor_msgs.msg import (
    CameraInfo,
    Image,
    Imu,
    JointState,
    LaserScan,
    MagneticField,
    NavSatFix,
    NavSatStatus,
    PointCloud2,
    PointField,
)
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage

from robot_qa.embedded.inertial import AltimeterReading, ImuReading, MagnetometerReading
from robot_qa.embedded.lidar import LidarReading
from robot_qa.embedded.navsat import NavSatReading
from robot_qa.embedded.touch import ContactReading, WrenchReading
from robot_qa.geometry import Poses
from robot_qa.timebase import NS_PER_S

# Of an image without any compression: its encoding, and the dtype of a channel.
ENCODINGS = {'rgb8': np.uint8, 'mono8': np.uint8, '32FC1': np.float32, '16UC1': np.uint16}


def header(stamp_ns: int, frame: str) -> Header:
    """Return a header."""
    made = Header(frame_id=frame)
    made.stamp.sec, made.stamp.nanosec = divmod(stamp_ns, NS_PER_S)
    return made


def put(part: Any, values: Sequence[float] | NDArray[Any]) -> None:
    """Fill in x, y, z, and w where there are four values."""
    for axis, value in zip('xyzw', values, strict=False):
        setattr(part, axis, float(value))


def bulk(code: str, values: NDArray[Any]) -> array[Any]:
    """Return an array of a message without a look at each element."""
    filled = array(code)
    filled.frombytes(np.ascontiguousarray(values).tobytes())
    return filled


def transform(stamp_ns: int, parent: str, child: str, pose: Poses) -> TransformStamped:
    """Return the pose of a frame in its parent."""
    made = TransformStamped(header=header(stamp_ns, parent), child_frame_id=child)
    put(made.transform.translation, pose.translation)
    put(made.transform.rotation, pose.rotation)
    return made


def transforms(found: Sequence[TransformStamped]) -> TFMessage:
    """Return several transforms as one message."""
    return TFMessage(transforms=list(found))


def scan(reading: LidarReading, frame: str) -> LaserScan:
    """Return the plane of a lidar."""
    plane = reading.scan
    return LaserScan(
        header=header(reading.stamp_ns, frame), angle_min=plane.angle_min,
        angle_max=plane.angle_max, angle_increment=plane.angle_increment,
        range_min=plane.range_min, range_max=min(plane.range_max, 3.4e38),
        ranges=bulk('f', plane.ranges), intensities=bulk('f', plane.intensities),
    )


def cloud(
    stamp_ns: int, frame: str, points: NDArray[np.float32],
    *, rings: NDArray[np.uint16] | None = None, colors: NDArray[np.uint8] | None = None,
) -> PointCloud2:
    """Return an organised cloud of ``points`` (rows, columns, 3).

    ``rings`` (rows,) become the field ``ring``, ``colors`` (rows, columns, 3) the field ``rgb``.
    """
    kinds: list[tuple[str, Any]] = [(axis, np.float32) for axis in 'xyz']
    extra: dict[str, NDArray[Any]] = {}
    if colors is not None:
        parts = colors.astype(np.uint32)
        extra['rgb'] = parts[..., 0] << 16 | parts[..., 1] << 8 | parts[..., 2]
        kinds.append(('rgb', np.uint32))
    if rings is not None:
        extra['ring'] = np.broadcast_to(rings[:, None], points.shape[:2])
        kinds.append(('ring', np.uint16))
    packed = np.empty(points.shape[:2], kinds)
    for index, axis in enumerate('xyz'):
        packed[axis] = points[..., index]
    for name, values in extra.items():
        packed[name] = values
    codes = {'ring': PointField.UINT16}
    fields = [
        PointField(name=name, offset=packed.dtype.fields[name][1],  # type: ignore[index]
                   datatype=codes.get(name, PointField.FLOAT32), count=1)
        for name, _ in kinds
    ]
    return PointCloud2(
        header=header(stamp_ns, frame), height=points.shape[0], width=points.shape[1],
        fields=fields, is_bigendian=False, point_step=packed.itemsize,
        row_step=packed.itemsize * points.shape[1], data=bulk('B', packed), is_dense=False,
    )


def image(stamp_ns: int, frame: str, encoding: str, pixels: NDArray[Any]) -> Image:
    """Return ``pixels`` (height, width) or (height, width, channels) in an encoding."""
    fitting = np.ascontiguousarray(pixels, ENCODINGS[encoding])
    return Image(
        header=header(stamp_ns, frame), height=fitting.shape[0], width=fitting.shape[1],
        encoding=encoding, is_bigendian=0, step=fitting.nbytes // fitting.shape[0],
        data=bulk('B', fitting),
    )


def imu(reading: ImuReading, frame: str) -> Imu:
    """Return what an IMU measured; an orientation it does not know has the covariance -1."""
    made = Imu(header=header(reading.stamp_ns, frame))
    if reading.orientation is None:
        made.orientation_covariance[0] = -1.0
    else:
        put(made.orientation, reading.orientation)
    put(made.angular_velocity, reading.angular_velocity)
    put(made.linear_acceleration, reading.linear_acceleration)
    made.angular_velocity_covariance[::4] = reading.angular_velocity_variance
    made.linear_acceleration_covariance[::4] = reading.linear_acceleration_variance
    return made


def altimeter(reading: AltimeterReading, frame: str) -> Altimeter:
    """Return a height."""
    return Altimeter(
        header=header(reading.stamp_ns, frame), vertical_position=reading.vertical_position,
        vertical_velocity=reading.vertical_velocity,
        vertical_reference=reading.vertical_reference,
    )


def magnetic_field(reading: MagnetometerReading, frame: str) -> MagneticField:
    """Return a magnetic field, in tesla."""
    made = MagneticField(header=header(reading.stamp_ns, frame))
    put(made.magnetic_field, reading.field)
    return made


def fix(reading: NavSatReading, frame: str) -> NavSatFix:
    """Return a place on earth."""
    horizontal, vertical = reading.horizontal_variance, reading.vertical_variance
    known = horizontal > 0 or vertical > 0
    return NavSatFix(
        header=header(reading.stamp_ns, frame),
        status=NavSatStatus(status=NavSatStatus.STATUS_FIX, service=NavSatStatus.SERVICE_GPS),
        latitude=reading.latitude_deg, longitude=reading.longitude_deg,
        altitude=reading.altitude,
        position_covariance=[horizontal, 0.0, 0.0, 0.0, horizontal, 0.0, 0.0, 0.0, vertical],
        position_covariance_type=NavSatFix.COVARIANCE_TYPE_DIAGONAL_KNOWN if known
        else NavSatFix.COVARIANCE_TYPE_UNKNOWN,
    )


def wrench(reading: WrenchReading, frame: str) -> WrenchStamped:
    """Return a force and a torque."""
    made = WrenchStamped(header=header(reading.stamp_ns, frame))
    put(made.wrench.force, reading.force)
    put(made.wrench.torque, reading.torque)
    return made


def contacts(reading: ContactReading, frame: str) -> Contacts:
    """Return who touches whom, the forces on the second in the world."""
    return Contacts(header=header(reading.stamp_ns, frame), contacts=[
        Contact(
            collision1=Entity(name=one.first, type=Entity.COLLISION),
            collision2=Entity(name=one.second, type=Entity.COLLISION),
            positions=[_vector(point) for point in one.positions],
            normals=[_vector(normal) for normal in one.normals],
            depths=array('d', one.depths),
            wrenches=[_forces(one.first, one.second, force) for force in one.forces],
        )
        for one in reading.contacts
    ])


def _forces(first: str, second: str, force: NDArray[Any]) -> JointWrench:
    made = JointWrench()
    made.body_1_name.data, made.body_2_name.data = first, second
    put(made.body_1_wrench.force, -force)
    put(made.body_2_wrench.force, force)
    return made


def _vector(values: NDArray[Any]) -> Vector3:
    x, y, z = map(float, values)
    return Vector3(x=x, y=y, z=z)


def camera_info(
    stamp_ns: int, frame: str, size: tuple[int, int], k: NDArray[np.float64],
) -> CameraInfo:
    """Return the pinhole camera of a width and height in pixels, with ``k`` (3, 3)."""
    width, height = size
    projection = np.hstack((k, np.zeros((3, 1))))
    return CameraInfo(
        header=header(stamp_ns, frame), width=width, height=height, distortion_model='plumb_bob',
        d=[0.0] * 5, k=k.ravel().tolist(), r=np.eye(3).ravel().tolist(),
        p=projection.ravel().tolist(),
    )


def odometry(
    stamp_ns: int, frames: tuple[str, str], pose: Poses,
    linear: NDArray[np.float64], angular: NDArray[np.float64],
) -> Odometry:
    """Return a pose in the first frame, and velocities (3,) in the second."""
    made = Odometry(header=header(stamp_ns, frames[0]), child_frame_id=frames[1])
    put(made.pose.pose.position, pose.translation)
    put(made.pose.pose.orientation, pose.rotation)
    put(made.twist.twist.linear, linear)
    put(made.twist.twist.angular, angular)
    return made


def joint_state(
    stamp_ns: int, names: Sequence[str], values: tuple[NDArray[Any], NDArray[Any], NDArray[Any]],
) -> JointState:
    """Return positions, velocities and efforts by the names of their joints."""
    position, velocity, effort = (array('d', one.astype(float)) for one in values)
    return JointState(header=header(stamp_ns, ''), name=list(names), position=position,
                      velocity=velocity, effort=effort)
