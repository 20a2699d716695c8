"""What an SDF world says, as plain data: the seam between the loader and the simulator.

Metres, kilograms, seconds and radians, unless a name says otherwise. Poses are ``geometry.Poses``
of a single pose: translation (3,), rotation (4,) as x, y, z, w. Every ``relative_to`` and
``expressed_in`` is resolved by the loader. Models nested in a model are folded into it: their
links, joints and plugins stand in the outer one under the scoped name ``inner::name``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from robot_qa.errors import Problem
from robot_qa.geometry import Poses

Vector = tuple[float, float, float]
Color = tuple[float, float, float, float]
WORLD_LINK = 'world'


@dataclass(frozen=True)
class Box:
    """A box, its origin in the middle."""

    size: Vector


@dataclass(frozen=True)
class Sphere:
    """A sphere."""

    radius: float


@dataclass(frozen=True)
class Cylinder:
    """A cylinder along z, its origin in the middle."""

    radius: float
    length: float


@dataclass(frozen=True)
class Capsule:
    """A cylinder along z of ``length``, with half a sphere at both ends."""

    radius: float
    length: float


@dataclass(frozen=True)
class Ellipsoid:
    """An ellipsoid with its half axes."""

    radii: Vector


@dataclass(frozen=True)
class Plane:
    """A plane through the origin; as a collision endless, as a visual of ``size``."""

    normal: Vector
    size: tuple[float, float]


@dataclass(frozen=True)
class Mesh:
    """A mesh from a file, or one named part of it."""

    file: Path
    scale: Vector
    submesh: str | None = None
    center: bool = False


Geometry = Box | Sphere | Cylinder | Capsule | Ellipsoid | Plane | Mesh


@dataclass(frozen=True)
class Material:
    """Colours as red, green, blue, alpha from 0 to 1, and an albedo texture over them."""

    ambient: Color = (1.0, 1.0, 1.0, 1.0)
    diffuse: Color = (1.0, 1.0, 1.0, 1.0)
    specular: Color = (0.0, 0.0, 0.0, 1.0)
    emissive: Color = (0.0, 0.0, 0.0, 1.0)
    texture: Path | None = None


@dataclass(frozen=True)
class Visual:
    """What cameras and lidars see of a link; ``pose`` is in the link."""

    name: str
    pose: Poses
    geometry: Geometry
    material: Material = field(default_factory=Material)
    label: int | None = None
    """Of the label plugin, here or at the model; what segmentation cameras report."""
    transparency: float = 0.0
    cast_shadows: bool = True


@dataclass(frozen=True)
class Collision:
    """What touches; ``pose`` is in the link."""

    name: str
    pose: Poses
    geometry: Geometry
    mu: float = 1.0
    mu2: float = 1.0
    torsional: float | None = None
    """Torsional friction coefficient; none if the surface names none."""
    restitution: float = 0.0
    collide_bitmask: int = 0xFFFF


@dataclass(frozen=True)
class Inertial:
    """Mass and inertia about the centre of mass.

    ``pose`` is that of the axes of inertia in the link; ``moments`` are ixx, iyy,
    izz, ``products`` ixy, ixz, iyz.
    """

    mass: float
    pose: Poses
    moments: Vector
    products: Vector


@dataclass(frozen=True)
class Light:
    """A light; ``pose`` is in the world, or in ``link`` for one that is part of a link."""

    name: str
    kind: Literal['directional', 'point', 'spot']
    pose: Poses
    diffuse: Color = (1.0, 1.0, 1.0, 1.0)
    specular: Color = (0.1, 0.1, 0.1, 1.0)
    intensity: float = 1.0
    on: bool = True
    direction: Vector = (0.0, 0.0, -1.0)
    """In the light's own frame."""
    cast_shadows: bool = False
    range: float = 10.0
    attenuation: Vector = (1.0, 0.0, 0.0)
    """Constant, linear (per m) and quadratic (per m2)."""
    inner_angle: float = 0.0
    outer_angle: float = 0.0
    falloff: float = 0.0


@dataclass(frozen=True)
class Noise:
    """Gaussian noise with a bias that is drawn once, and may wander.

    ``dynamic_bias_stddev`` is that of the bias's steady state, and ``dynamic_bias_time`` its
    correlation time in s: a first order Gauss-Markov process, as in gz-sensors.
    """

    mean: float = 0.0
    stddev: float = 0.0
    bias_mean: float = 0.0
    bias_stddev: float = 0.0
    dynamic_bias_stddev: float = 0.0
    dynamic_bias_time: float = 0.0
    precision: float = 0.0


@dataclass(frozen=True)
class CameraPart:
    """The ``<camera>`` of a sensor; distances in m, ``fov`` is horizontal."""

    width: int = 320
    height: int = 240
    fov: float = 1.047
    near: float = 0.1
    far: float = 100.0
    format: str = 'R8G8B8'
    noise: Noise | None = None
    depth_near: float | None = None
    depth_far: float | None = None
    segmentation: Literal['semantic', 'instance', 'panoptic'] = 'semantic'
    boxes: Literal['visible_2d', 'full_2d', '3d'] = 'visible_2d'
    optical_frame: str | None = None
    info_topic: str | None = None


@dataclass(frozen=True)
class LidarPart:
    """The ``<ray>`` or ``<lidar>`` of a sensor; ``vertical_samples`` is 1 for a plane scan."""

    samples: int = 640
    min_angle: float = 0.0
    max_angle: float = 0.0
    resolution: float = 1.0
    vertical_samples: int = 1
    vertical_min_angle: float = 0.0
    vertical_max_angle: float = 0.0
    min_range: float = 0.0
    max_range: float = float('inf')
    range_resolution: float = 0.0
    noise: Noise | None = None


SensorKind = Literal[
    'camera', 'depth_camera', 'rgbd_camera', 'segmentation_camera', 'boundingbox_camera', 'lidar',
    'imu', 'contact', 'altimeter', 'magnetometer', 'navsat', 'force_torque',
]


@dataclass(frozen=True)
class Sensor:
    """A sensor; ``pose`` is in its link (of a force_torque sensor: in its joint's child link).

    ``noises`` are those of all kinds but cameras and lidars, by their path in SDF, such as
    ``angular_velocity/x``, ``linear_acceleration/z``, ``vertical_position``, ``x``,
    ``position_sensing/horizontal``, ``force/x``. ``gpu_lidar``, ``ray`` and ``gpu_ray`` have the
    kind ``lidar``.
    """

    name: str
    kind: SensorKind
    link: str
    pose: Poses
    rate_hz: float
    """0 means at every step."""
    place: Problem
    """Where it stands; the message is empty."""
    topic: str | None = None
    frame_id: str | None = None
    joint: str | None = None
    camera: CameraPart | None = None
    lidar: LidarPart | None = None
    noises: dict[str, Noise] = field(default_factory=dict)
    contact_collisions: tuple[str, ...] = ()
    measured_in: Literal['child', 'parent', 'sensor'] = 'child'
    measure_direction: Literal['child_to_parent', 'parent_to_child'] = 'child_to_parent'
    orientation_enabled: bool = True


@dataclass(frozen=True)
class Link:
    """A rigid body; ``pose`` is in the model."""

    name: str
    pose: Poses
    inertial: Inertial | None
    """None if the SDF gives none: mass 1 kg and a unit inertia, as SDF says."""
    collisions: tuple[Collision, ...] = ()
    visuals: tuple[Visual, ...] = ()
    lights: tuple[Light, ...] = ()
    gravity: bool = True
    enable_wind: bool = False
    kinematic: bool = False


@dataclass(frozen=True)
class Axis:
    """One axis of a joint; ``xyz`` is in the joint's frame and of length one.

    Units are m and N for a prismatic axis, rad and Nm for all others.
    """

    xyz: Vector
    lower: float = float('-inf')
    upper: float = float('inf')
    effort: float = float('inf')
    velocity: float = float('inf')
    damping: float = 0.0
    friction: float = 0.0
    spring_stiffness: float = 0.0
    spring_reference: float = 0.0


@dataclass(frozen=True)
class Joint:
    """A joint between two links of a model, or one of them and the world.

    ``pose`` is in the child link.
    """

    name: str
    kind: Literal['fixed', 'revolute', 'continuous', 'prismatic', 'ball', 'universal']
    parent: str
    """A link, or ``world``."""
    child: str
    pose: Poses
    axes: tuple[Axis, ...] = ()


@dataclass(frozen=True)
class Parameter:
    """An element inside a plugin."""

    name: str
    text: str
    attributes: dict[str, str]
    children: tuple[Parameter, ...]
    place: Problem


@dataclass(frozen=True)
class Plugin:
    """A plugin of Gazebo, by the class name without ``gz::sim::systems::``.

    ``scope`` is the nested model it stood in, with ``::`` at its end, or empty: names of links and
    joints among its parameters are relative to it.
    """

    name: str
    filename: str
    parameters: tuple[Parameter, ...]
    place: Problem
    scope: str = ''

    def find(self, name: str) -> Parameter | None:
        """Return the first parameter of that name."""
        return next((one for one in self.parameters if one.name == name), None)

    def find_all(self, name: str) -> list[Parameter]:
        """Return every parameter of that name."""
        return [one for one in self.parameters if one.name == name]


@dataclass(frozen=True)
class Model:
    """A model; ``pose`` is in the world."""

    name: str
    pose: Poses
    links: tuple[Link, ...]
    joints: tuple[Joint, ...] = ()
    sensors: tuple[Sensor, ...] = ()
    plugins: tuple[Plugin, ...] = ()
    static: bool = False
    self_collide: bool = False
    canonical_link: str = ''
    label: int | None = None
    uri: str | None = None
    """What it was included from."""


@dataclass(frozen=True)
class Origin:
    """Where on earth the world's origin lies; east, north, up when the heading is 0."""

    latitude_deg: float
    longitude_deg: float
    elevation: float
    heading_deg: float = 0.0


@dataclass(frozen=True)
class World:
    """A whole world."""

    name: str
    models: tuple[Model, ...]
    lights: tuple[Light, ...] = ()
    plugins: tuple[Plugin, ...] = ()
    gravity: Vector = (0.0, 0.0, -9.8)
    magnetic_field: Vector = (5.5645e-6, 22.8758e-6, -42.3884e-6)
    """Tesla, in the world's frame."""
    wind: Vector = (0.0, 0.0, 0.0)
    """m/s."""
    step: float = 0.001
    real_time_factor: float = 1.0
    origin: Origin | None = None
    ambient: Color = (0.4, 0.4, 0.4, 1.0)
    background: Color = (0.7, 0.7, 0.7, 1.0)
    shadows: bool = True
    warnings: tuple[Problem, ...] = ()
    """What the simulator cannot represent, each with its file and line."""
