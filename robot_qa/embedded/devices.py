"""The sensors and drives of all models as ROS topics."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

from geometry_msgs.msg import Twist, WrenchStamped
from nav_msgs.msg import Odometry
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile
from ros_gz_interfaces.msg import Altimeter, Contacts
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Imu, JointState, LaserScan, MagneticField, NavSatFix, PointCloud2
from std_msgs.msg import Bool, Float64
from std_srvs.srv import SetBool
from tf2_msgs.msg import TFMessage

from robot_qa.embedded import outputs, world
from robot_qa.embedded.camera_topics import CameraTopics
from robot_qa.embedded.cameras import Camera
from robot_qa.embedded.diff_drive import DiffDrive
from robot_qa.embedded.drives import Drive, make_drives
from robot_qa.embedded.fixed_frames import CAMERAS, fixed_frames, frame_of
from robot_qa.embedded.joint_drives import JointController, JointPositionController
from robot_qa.embedded.lidar import Lidar
from robot_qa.embedded.outlets import send
from robot_qa.embedded.picture import Renderer
from robot_qa.embedded.publishers import JointStatePublisher, OdometryPublisher, PosePublisher
from robot_qa.embedded.runner import Runner
from robot_qa.embedded.sensor_base import Sensor
from robot_qa.embedded.sensors import make_sensor
from robot_qa.embedded.touch_plugin import TouchPlugin
from robot_qa.embedded.world import Model
from robot_qa.geometry import Poses
from robot_qa.timebase import NS_PER_S

CLOCK_PERIOD_NS = 10_000_000
TRUTH_PERIOD_NS = 20_000_000
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
QUEUE = 10
# Message type, conversion and Gazebo's default name, by the kind of a sensor.
SENSORS: dict[str, tuple[Any, Callable[[Any, str], Any], str]] = {
    'lidar': (LaserScan, outputs.scan, 'scan'),
    'imu': (Imu, outputs.imu, 'imu'),
    'altimeter': (Altimeter, outputs.altimeter, 'altimeter'),
    'magnetometer': (MagneticField, outputs.magnetic_field, 'magnetometer'),
    'navsat': (NavSatFix, outputs.fix, 'navsat'),
    'contact': (Contacts, outputs.contacts, 'contact'),
    'force_torque': (WrenchStamped, outputs.wrench, 'forcetorque'),
}


def topic_of(name: str, namespace: str) -> str:
    """Return a topic of Gazebo as an absolute ROS name, in a namespace if there is one."""
    parts = [part for part in re.split(r'/+', f'{namespace}/{name}') if part]
    cleaned = [re.sub(r'\W', '_', part) for part in parts]
    return '/' + '/'.join(f'_{part}' if part[0].isdigit() else part for part in cleaned)


class Devices:
    """Samples sensors when they are due, publishes, and hands commands to drives."""

    def __init__(self, node: Node, runner: Runner, renderer: Renderer) -> None:
        self._node = node
        self._runner = runner
        self._renderer = renderer
        self._clock = node.create_publisher(Clock, '/clock', QUEUE)
        self._fixed = node.create_publisher(TFMessage, '/tf_static', LATCHED)
        self._truth = node.create_publisher(TFMessage, '/ground_truth/poses', QUEUE)
        self._ticked = -1
        self._frames: dict[str, list[Any]] = {}
        self._publishers: dict[str, list[Publisher]] = {}
        self._parts: dict[str, list[Sensor | Drive]] = {}
        self._commands: dict[str, list[tuple[Any, Callable[[Any], None]]]] = {}
        self._servers: dict[str, list[Any]] = {}
        self._dropout = 0.0
        self.cameras = CameraTopics(node, self.tick)

    def start(self) -> None:
        """Begin: the clock, the truth, all models."""
        self._runner.every(CLOCK_PERIOD_NS, self.tick)
        self._runner.every(TRUTH_PERIOD_NS, self._publish_truth)
        self.cameras.start(self._runner)
        for name in self._runner.simulation.names():
            self.add(name, '')

    def reset(self) -> None:
        """Begin anew after a reset of the simulation; topics that stay are not touched."""
        self._ticked = -1
        names = self._runner.simulation.names()
        for name in set(self._parts) - set(names):
            self.remove(name)
        for name in names:
            if name not in self._parts:
                self.add(name, '')
            for part in self._parts[name]:
                part.reset()

    def add(self, name: str, namespace: str) -> None:
        """Add the drives and sensors of a model; ``SpecError`` if the SDF is wrong about them."""
        simulation = self._runner.simulation
        model = simulation.model_of(name)
        self._publishers[name] = []
        self._commands[name] = []
        drives = make_drives(simulation, name)
        self._parts[name] = [*drives]
        for drive in drives:
            self._add_drive(name, drive, namespace)
        for sensor in model.sensors:
            if sensor.kind in CAMERAS:
                self._add_camera(model, sensor, namespace)
            else:
                self._add_sensor(model, sensor, namespace)
        self._frames[name] = _static_frames(model, simulation.pose(name), drives)
        self._publish_fixed()

    def remove(self, name: str) -> None:
        """Remove what belongs to a model."""
        self._runner.forget(name)
        self.cameras.remove(name)
        for publisher in self._publishers.pop(name, []):
            self._node.destroy_publisher(publisher)
        for service in self._servers.pop(name, []):
            self._node.destroy_service(service)
        for subscription, _ in self._commands.pop(name, []):
            self._node.destroy_subscription(subscription)
        self._parts.pop(name, None)
        self._frames.pop(name, None)
        self._publish_fixed()

    def take_commands(self) -> None:
        """Hand over every command that has arrived, in the order of arrival."""
        for commands in self._commands.values():
            for subscription, act in commands:
                while (taken := subscription.handle.take_message(
                        subscription.msg_type, False)) is not None:
                    act(taken[0])

    def set_dropout(self, share: float) -> None:
        """Let a share of all lidars' beams return nothing."""
        self._dropout = share
        for parts in self._parts.values():
            for part in parts:
                if isinstance(part, Lidar):
                    part.dropout = share

    def tick(self, now_ns: int) -> None:
        """Publish the time, once: before anything is stamped with it."""
        if now_ns != self._ticked:
            self._ticked = now_ns
            message = Clock()
            message.clock.sec, message.clock.nanosec = divmod(now_ns, NS_PER_S)
            send(self._clock, message)

    def _publisher(self, name: str, kind: Any, topic: str) -> Publisher:
        publisher = self._node.create_publisher(kind, topic, QUEUE)
        self._publishers[name].append(publisher)
        return publisher

    def _listen(self, name: str, kind: Any, topic: str, act: Callable[[Any], None]) -> None:
        subscription = self._node.create_subscription(kind, topic, act, QUEUE)
        self._commands[name].append((subscription, act))

    def _every(self, name: str, period_ns: int, act: Callable[[int], None]) -> None:
        def due(now_ns: int) -> None:
            self.tick(now_ns)
            act(now_ns)

        self._runner.every(period_ns, due, name)

    def _add_sensor(self, model: Model, described: world.Sensor, namespace: str) -> None:
        simulation = self._runner.simulation
        sensor = make_sensor(simulation, model.name, described, simulation.seed)
        kind, convert, short = SENSORS[described.kind]
        topic = topic_of(described.topic or default_topic(
            simulation.world.name, model.name, described, short), namespace)
        frame = frame_of(model, described)
        self._parts[model.name].append(sensor)
        publisher = self._publisher(model.name, kind, topic)
        points: Publisher | None = None
        if isinstance(sensor, Lidar):
            sensor.dropout = self._dropout
            if described.lidar is not None and described.lidar.vertical_samples > 1:
                points = self._publisher(model.name, PointCloud2, f'{topic}/points')

        def publish(_: int) -> None:
            reading: Any = sensor.sample()
            send(publisher, convert(reading, frame))
            if points is not None:
                cloud = reading.cloud
                send(points, outputs.cloud(
                    reading.stamp_ns, frame, cloud.points, rings=cloud.rings))

        self._every(model.name, sensor.period_ns, publish)

    def _add_camera(self, model: Model, described: world.Sensor, namespace: str) -> None:
        simulation = self._runner.simulation
        camera = Camera(simulation, model.name, described, self._renderer)
        base = described.topic or default_topic(
            simulation.world.name, model.name, described, '').rstrip('/')
        named = camera.part.info_topic
        publish = self.cameras.add(
            model, camera, topic_of(base, namespace), named and topic_of(named, namespace))
        self._runner.every(camera.period_ns, publish, model.name)

    def _add_drive(self, name: str, drive: Drive, namespace: str) -> None:
        topic = partial(topic_of, namespace=namespace)
        if isinstance(drive, DiffDrive):
            self._listen(name, Twist, topic(drive.topic),
                         lambda it: drive.command(it.linear.x, it.angular.z))
            self._runner.every(drive.update_period_ns, drive.update, name)
            self._add_odometry(name, drive, namespace)
        elif isinstance(drive, OdometryPublisher):
            self._add_odometry(name, drive, namespace)
        elif isinstance(drive, JointController | JointPositionController):
            self._listen(name, Float64, topic(drive.topic), lambda it: drive.command(it.data))
            self._runner.every(drive.update_period_ns, drive.update, name)
        elif isinstance(drive, JointStatePublisher):
            states = self._publisher(name, JointState, topic(drive.topic))

            def publish(now_ns: int) -> None:
                now = drive.sample()
                send(states, outputs.joint_state(
                    now_ns, now.names, (now.positions, now.velocities, now.efforts)))

            self._every(name, drive.period_ns, publish)
        elif isinstance(drive, TouchPlugin):
            self._add_touch(name, drive, namespace)
        else:
            self._add_poses(name, drive, namespace)

    def _add_odometry(
        self, name: str, drive: DiffDrive | OdometryPublisher, namespace: str,
    ) -> None:
        odometry = self._publisher(name, Odometry, topic_of(drive.odom_topic, namespace))
        tf = self._publisher(name, TFMessage, topic_of(drive.tf_topic, namespace))

        def publish(now_ns: int) -> None:
            now = drive.sample()
            pose = Poses(now.position, now.rotation)
            send(odometry, outputs.odometry(
                now_ns, (now.frame_id, now.child_frame_id), pose, now.linear, now.angular))
            send(tf, outputs.transforms(
                [outputs.transform(now_ns, now.frame_id, now.child_frame_id, pose)]))

        self._every(name, drive.period_ns, publish)

    def _add_touch(self, name: str, plugin: TouchPlugin, namespace: str) -> None:
        touched = self._publisher(name, Bool, topic_of(plugin.topic, namespace))

        def enable(request: Any, answer: Any) -> Any:
            plugin.enable(request.data)
            answer.success = True
            return answer

        def update(now_ns: int) -> None:
            if plugin.update(now_ns):
                self.tick(now_ns)
                send(touched, Bool(data=True))

        service = self._node.create_service(
            SetBool, topic_of(plugin.enable_service, namespace), enable)
        self._servers.setdefault(name, []).append(service)
        self._runner.every(plugin.update_period_ns, update, name)

    def _add_poses(self, name: str, drive: PosePublisher, namespace: str) -> None:
        publisher = self._publisher(name, TFMessage, topic_of(drive.topic, namespace))

        def publish(now_ns: int) -> None:
            now = drive.sample()
            send(publisher, outputs.transforms([
                outputs.transform(now_ns, parent, child, Poses(
                    now.poses.translation[index], now.poses.rotation[index]))
                for index, (parent, child) in enumerate(
                    zip(now.parents, now.children, strict=True))
            ]))

        self._every(name, drive.period_ns, publish)

    def _publish_truth(self, now_ns: int) -> None:
        simulation = self._runner.simulation
        self.tick(now_ns)
        send(self._truth, outputs.transforms([
            outputs.transform(now_ns, 'world', name, simulation.pose(name))
            for name in simulation.names() if not simulation.model_of(name).static
        ]))

    def _publish_fixed(self) -> None:
        frames = [frame for frames in self._frames.values() for frame in frames]
        send(self._fixed, outputs.transforms(frames))


def default_topic(world_name: str, model: str, sensor: world.Sensor, short: str) -> str:
    """Return the name that Gazebo gives the topic of a sensor that names none."""
    return f'/world/{world_name}/model/{model}/link/{sensor.link}/sensor/{sensor.name}/{short}'


def _static_frames(model: Model, pose: Poses, drives: list[Drive]) -> list[Any]:
    """Return the transforms of the sensors' frames that never change."""
    links = {link.name: link for link in model.links}
    base = model.canonical_link or next(iter(links), '')
    before: list[Any] = []
    frame = next((drive.child_frame_id for drive in drives
                  if isinstance(drive, DiffDrive | OdometryPublisher)), None)
    if frame is None:
        if not model.static:
            return []
        frame = f'{model.name}/{base}'
        before = [outputs.transform(0, 'world', frame, pose @ links[base].pose)]
    elif frame in links:
        base = frame
    fixed = fixed_frames(model, base, frame)
    return before * bool(fixed) + [
        outputs.transform(0, parent, child, at) for child, (parent, at) in fixed.items()
    ]
