"""Cameras as ROS topics, and what is truly in their pictures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.publisher import Publisher
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from vision_msgs.msg import Detection2DArray, Detection3DArray

from robot_qa.embedded import outputs, truth_messages
from robot_qa.embedded.boxes import boxes_3d, colored_map, detections, labels_map
from robot_qa.embedded.cameras import Camera
from robot_qa.embedded.fixed_frames import frame_of, optical_frame_of
from robot_qa.embedded.outlets import send
from robot_qa.embedded.picture import Frame
from robot_qa.embedded.pinhole import intrinsics
from robot_qa.embedded.runner import Runner
from robot_qa.embedded.world import Model, World

QUEUE = 10
TRUTH = '/ground_truth'
TRUTH_3D_PERIOD_NS = 100_000_000
# What a camera has to look for, for the sake of a topic.
COLOR, DEPTH, GEOMS = (frozenset([one]) for one in ('color', 'depth', 'geoms'))
Message = Callable[[int, Frame], Any]


class CameraTopics:
    """Lets cameras look when they are due and somebody listens."""

    def __init__(self, node: Node, tick: Callable[[int], None]) -> None:
        self.exposure = 1.0
        self.noise = 0.0
        self._node = node
        self._tick = tick
        self._publishers: dict[str, list[Publisher]] = {}
        self._truth_3d = node.create_publisher(
            Detection3DArray, f'{TRUTH}/detections_3d', QUEUE)

    def start(self, runner: Runner) -> None:
        """Publish the three-dimensional truth from now on."""
        def publish(now_ns: int) -> None:
            if self._truth_3d.get_subscription_count():
                self._tick(now_ns)
                send(self._truth_3d, truth_messages.detections_3d(
                    now_ns, 'world', boxes_3d(runner.simulation)))

        runner.every(TRUTH_3D_PERIOD_NS, publish)

    def add(
        self, model: Model, camera: Camera, topic: str, info_topic: str | None,
    ) -> Callable[[int], None]:
        """Advertise a camera; return what is to be called when it is due.

        ``info_topic`` is where its CameraInfo goes, if not beside ``topic``.
        """
        outlets = [
            (self._node.create_publisher(kind, name, QUEUE), want, message)
            for name, kind, want, message in _View(model, camera).topics(topic, info_topic)
        ]
        self._publishers.setdefault(model.name, []).extend(one for one, _, _ in outlets)

        def publish(now_ns: int) -> None:
            heard = [one for one in outlets if one[0].get_subscription_count()]
            if not heard:
                return
            self._tick(now_ns)
            want = frozenset[str]().union(*(want for _, want, _ in heard))
            frame = camera.look(want, exposure=self.exposure, noise=self.noise)
            for publisher, _, message in heard:
                send(publisher, message(now_ns, frame))

        return publish

    def remove(self, name: str) -> None:
        """Withdraw the topics of a model's cameras."""
        for publisher in self._publishers.pop(name, []):
            self._node.destroy_publisher(publisher)


class _View:
    """The messages about what a camera sees, and the topics on which its kind publishes them."""

    def __init__(self, model: Model, camera: Camera) -> None:
        self._camera = camera
        self._simulation = camera.simulation
        self._frame = frame_of(model, camera.described)
        self._optical = optical_frame_of(model, camera.described)
        self._k = intrinsics(camera.part)
        self._truth_topic = _truth_topic(camera.simulation.world, model, camera)

    def topics(
        self, topic: str, info_topic: str | None,
    ) -> list[tuple[str, Any, frozenset[str], Message]]:
        """Return name, type, what has to be looked for, and the message."""
        kind, part = self._camera.described.kind, self._camera.part
        truth = (self._truth_topic, Detection2DArray, GEOMS, self._boxes)
        if kind == 'boundingbox_camera':
            if part.boxes == '3d':
                return [(topic, Detection3DArray, frozenset(), self._boxes_in_space)]
            return [(topic, Detection2DArray, GEOMS, self._boxes)]
        folder = topic if kind in ('segmentation_camera', 'rgbd_camera') else (
            topic.rpartition('/')[0])
        info = (info_topic or f'{folder}/camera_info', CameraInfo, frozenset[str](),
                self._info)
        if kind == 'segmentation_camera':
            return [(f'{topic}/labels_map', Image, GEOMS, self._labels),
                    (f'{topic}/colored_map', Image, GEOMS, self._colors), info]
        if kind == 'rgbd_camera':
            return [(f'{topic}/image', Image, COLOR, self._color),
                    (f'{topic}/depth_image', Image, DEPTH, self._depth),
                    (f'{topic}/points', PointCloud2, DEPTH | COLOR, self._points), info, truth]
        if kind == 'depth_camera':
            return [(topic, Image, DEPTH, self._depth),
                    (f'{topic}/points', PointCloud2, DEPTH, self._points), info]
        return [(topic, Image, COLOR, self._color), info, truth]

    def _info(self, now: int, _: Frame) -> Any:
        part = self._camera.part
        return outputs.camera_info(now, self._optical, (part.width, part.height), self._k)

    def _color(self, now: int, seen: Frame) -> Any:
        return outputs.image(now, self._optical, 'rgb8', _of(seen.color))

    def _depth(self, now: int, seen: Frame) -> Any:
        return outputs.image(now, self._optical, '32FC1', _of(seen.depth))

    def _points(self, now: int, seen: Frame) -> Any:
        points = back_projected(_of(seen.depth), self._k)
        return outputs.cloud(now, self._frame, points, colors=seen.color)

    def _boxes(self, now: int, seen: Frame) -> Any:
        camera = self._camera
        return truth_messages.detections_2d(now, self._optical, detections(
            self._simulation, camera.part, camera.pose(), _of(seen.geoms)))

    def _boxes_in_space(self, now: int, _: Frame) -> Any:
        return truth_messages.detections_3d(now, 'world', boxes_3d(self._simulation))

    def _labels(self, now: int, seen: Frame) -> Any:
        kind = self._camera.part.segmentation
        return outputs.image(now, self._optical, 'rgb8', labels_map(
            self._simulation, _of(seen.geoms), kind))

    def _colors(self, now: int, seen: Frame) -> Any:
        kind = self._camera.part.segmentation
        return outputs.image(now, self._optical, 'rgb8', colored_map(
            self._simulation, _of(seen.geoms), kind))


def back_projected(depth: NDArray[np.float32], k: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the points (height, width, 3) of a depth image in the camera's own frame, x ahead."""
    height, width = depth.shape
    with np.errstate(invalid='ignore'):
        right = (np.arange(width) + 0.5 - k[0, 2]) / k[0, 0] * depth
        down = (np.arange(height)[:, None] + 0.5 - k[1, 2]) / k[1, 1] * depth
    return np.stack((depth, -right, -down), axis=-1).astype(np.float32)


def _of(pixels: NDArray[Any] | None) -> NDArray[Any]:
    assert pixels is not None, 'it was asked for'
    return pixels


def _truth_topic(world: World, model: Model, camera: Camera) -> str:
    """Return where the truth goes: the world's only camera has the short name."""
    cameras = [
        sensor for one in world.models for sensor in one.sensors
        if sensor.kind in ('camera', 'rgbd_camera')
    ]
    if cameras == [camera.described]:
        return f'{TRUTH}/detections_2d'
    return f'{TRUTH}/{model.name}/{camera.described.name}/detections_2d'
