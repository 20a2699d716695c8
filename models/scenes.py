"""Pictures to learn from: warehouses that nobody built, and to judge by: the one that we ship.

A layout is made anew from a seed: the hall, lights and models are those of
``worlds/warehouse.sdf``, where everything stands is not. The truth is the simulator's own, see
`robot_qa.embedded.boxes`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from layouts import layout, turned
from numpy.typing import NDArray

from robot_qa.embedded.boxes import TruthBox, detections
from robot_qa.embedded.cameras import Camera
from robot_qa.embedded.images import add_noise
from robot_qa.embedded.picture import Renderer
from robot_qa.embedded.sdf import load_world
from robot_qa.embedded.simulation import Simulation
from robot_qa.embedded.world import Noise, World
from robot_qa.examples.detection_model import CLASSES

WORLDS = Path(__file__).resolve().parent.parent / 'worlds'
ROBOT = 'patrol_robot'
# The labels of worlds/README.md; racks and the dock are part of the place.
CLASS_OF_LABEL = {1: 'crate', 2: 'person', 3: 'pallet', 5: 'barrel'}
LEAST_VISIBILITY, LEAST_SIDE = 0.3, 8
"""What shows less of itself (share), or is narrower or lower (px), need not be found."""
LIGHT = (0.5, 1.2)
"""Scales of the light to learn from; darker than that is left for tests."""
LANES = ((-6.4, -4.2), (3.8, -4.2), (3.8, 0.0), (3.8, 3.45), (-6.4, 3.45), (-6.4, 0.0),
         (-6.4, -4.2), (-6.4, 0.0), (3.8, 0.0))
"""The patrols of the shipped warehouse (worlds/README.md), in m."""
SEEN = frozenset(['color', 'geoms'])


@dataclass(frozen=True)
class Picture:
    """A picture and what is truly in it."""

    color: NDArray[np.uint8]
    """Red, green, blue; (h, w, 3)."""
    boxes: NDArray[np.float64]
    """Around what is seen of each object: left, top, right, bottom in px; (n, 4)."""
    labels: NDArray[np.int64]
    """Places in ``CLASSES``; (n,)."""
    ignored: NDArray[np.bool_]
    """Hidden or tiny: need not be found, and may be; (n,)."""


class View(NamedTuple):
    """Where the robot stands, in m and rad, and by what all light is scaled."""

    x: float
    y: float
    yaw: float
    pitch: float
    light: float


@cache
def shipped() -> World:
    """Return the warehouse as it is shipped."""
    return load_world(WORLDS / 'warehouse.sdf', resource_paths=[WORLDS / 'models'])


def pictures(world: World, views: list[View], renderer: Renderer) -> Iterator[Picture]:
    """Take pictures of a world with the robot's own camera, without noise."""
    simulation = Simulation(world)
    sensor = next(one for one in simulation.model_of(ROBOT).sensors if one.kind == 'camera')
    camera = Camera(simulation, ROBOT, sensor, renderer)
    for view in views:
        simulation.set_light_scale(view.light)
        simulation.set_pose(ROBOT, turned((view.x, view.y, 0.0), view.yaw, view.pitch))
        seen = renderer.render(simulation, camera.part, camera.pose(), SEEN)
        assert seen.color is not None and seen.geoms is not None, 'they were asked for'
        truth = detections(simulation, camera.part, camera.pose(), seen.geoms)
        yield _picture(seen.color, truth)


def _picture(color: NDArray[np.uint8], truth: list[TruthBox]) -> Picture:
    known = [one for one in truth if one.label in CLASS_OF_LABEL]
    boxes = np.array([one.visible for one in known], float).reshape(-1, 4)
    sides = (boxes[:, 2:] - boxes[:, :2]).min(axis=1, initial=np.inf)
    visibility = np.array([one.visibility for one in known])
    labels = [CLASSES.index(CLASS_OF_LABEL[one.label or 0]) for one in known]
    ignored = (sides < LEAST_SIDE) | (visibility < LEAST_VISIBILITY)
    return Picture(color, boxes, np.array(labels, np.int64), ignored)


def training_pictures(scene: int, count: int, renderer: Renderer) -> Iterator[Picture]:
    """Take pictures of the made-up layout number ``scene``; the same number gives the same."""
    generator = np.random.default_rng([scene, 2026])
    world, taken = layout(shipped(), generator)
    views: list[View] = []
    while len(views) < count:
        x, y = generator.uniform((-7.4, -5.4), (7.4, 5.4))
        pitch, light = generator.normal(0.0, 0.01), generator.uniform(*LIGHT)
        # Most walls are alike: look towards something.
        there = taken.discs[generator.integers(len(taken.discs))]
        yaw = np.arctan2(there[1] - y, there[0] - x) + generator.normal(0.0, 0.5)
        if taken.is_free(x, y, 0.4):
            views.append(View(x, y, yaw, pitch, light))
    return pictures(world, views, renderer)


def held_out_views(count: int, light: float, seed: int = 1) -> list[View]:
    """Return places along the patrols of the shipped warehouse, looking ahead or turning."""
    generator = np.random.default_rng(seed)
    corners = np.array(LANES)
    legs = np.diff(corners, axis=0)
    lengths = np.hypot(*legs.T)
    ends = np.cumsum(lengths)
    views = []
    for number in range(count):
        along = (number + 0.5) / count * ends[-1]
        leg = int(np.searchsorted(ends, along))
        x, y = corners[leg] + legs[leg] * (1.0 - (ends[leg] - along) / lengths[leg])
        x, y = np.array([x, y]) + generator.normal(0.0, 0.08, 2)
        ahead = np.arctan2(*legs[leg][::-1])
        # One in four while it turns.
        turn = generator.uniform(-np.pi, np.pi) if number % 4 == 0 else generator.normal(0.0, 0.2)
        views.append(View(float(x), float(y), float(ahead + turn), 0.0, light))
    return views


def held_out_pictures(
    count: int, light: float, renderer: Renderer, seed: int = 1,
) -> Iterator[Picture]:
    """Take pictures in the shipped warehouse, with the noise of the robot's camera."""
    world = shipped()
    robot = next(model for model in world.models if model.name == ROBOT)
    sensor = next(one for one in robot.sensors if one.camera is not None)
    noise = (sensor.camera and sensor.camera.noise) or Noise()
    generator = np.random.default_rng(seed)
    for one in pictures(world, held_out_views(count, light, seed), renderer):
        yield replace(one, color=add_noise(one.color, noise, generator))
