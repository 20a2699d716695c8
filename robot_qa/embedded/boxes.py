"""What a camera truly sees of labelled models: boxes, visibility, and segmentation.

All is worked out from the picture of geom ids and the geometry of the visuals. A model has a label
if it, or one of its visuals, has Gazebo's label plugin; of the latter, the labelled visuals count
only.

Segmentation pictures are encoded as those of Gazebo's segmentation camera (gz-rendering,
``Ogre2SegmentationCamera``; gz-sensors, tutorial "Segmentation Camera").
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple
from weakref import WeakKeyDictionary

import mujoco
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from robot_qa.embedded import world
from robot_qa.embedded.pinhole import axes, intrinsics, turned
from robot_qa.embedded.shapes import wxyz
from robot_qa.embedded.silhouettes import (
    Outline,
    bounds,
    covered,
    outline,
    silhouette,
    truncation,
    within,
)
from robot_qa.embedded.simulation import Simulation
from robot_qa.embedded.world import CameraPart
from robot_qa.geometry import Floats, Poses

__all__ = [
    'PixelBox', 'TruthBox', 'TruthBox3D', 'boxes_3d', 'class_of', 'colored_map', 'detections',
    'intrinsics', 'labels_map',
]
GeomIds = NDArray[np.int32]
"""By pixel (h, w): the id of the geom that is seen, -1 where there is none."""
Segmentation = Literal['semantic', 'instance', 'panoptic']
LABELS, INSTANCES = 1 << 8, 1 << 16
"""How many of each a labels map can tell apart."""


class PixelBox(NamedTuple):
    """Columns from ``x_min`` to ``x_max`` without the latter, rows likewise."""

    x_min: int
    y_min: int
    x_max: int
    y_max: int


@dataclass(frozen=True)
class TruthBox:
    """A model in a picture."""

    model: str
    class_id: str
    """What ``class_of`` says."""
    label: int | None
    """The model's, or that of its first labelled visual."""
    visible: PixelBox
    """Around what is seen of it."""
    full: PixelBox
    """Around all of it that would be seen in the picture if nothing stood in front."""
    visible_pixels: int
    visibility: float
    """Share of the silhouette's pixels in the picture that are seen, from 0 to 1."""
    truncation: float
    """Share of the silhouette that lies outside the picture, from 0 to 1."""
    distance: float
    """From the camera to the middle of the model's box in space, in m."""


@dataclass(frozen=True)
class TruthBox3D:
    """A model in the world; the box is aligned with the model's axes."""

    model: str
    class_id: str
    label: int | None
    pose: Poses
    """Of the middle of the box, in the world."""
    size: Floats
    """Along the model's x, y, z, in m; (3,)."""


class _Labelled(NamedTuple):
    """A labelled model: its labelled geoms, with outlines."""

    label: int
    geoms: dict[int, Outline]


class _Scene(NamedTuple):
    """What stays the same until models come or go."""

    generation: int
    models: dict[str, _Labelled]
    numbers: NDArray[np.int32]
    """By geom id, the model's place in ``models`` from 1; 0 for all others, and at the end."""


_scenes: WeakKeyDictionary[Simulation, _Scene] = WeakKeyDictionary()


def class_of(model: world.Model, classes: Mapping[int, str] | None = None) -> str:
    """Return the class that detectors are expected to report for a model.

    That is what ``classes`` says for its label; else the name of the model it was included from,
    as ``crate`` in ``model://crate``; else its own name without a number at its end, as ``crate``
    for ``crate_12``. SDF knows labels as numbers only.
    """
    label = _label(model)
    if label is not None and classes and label in classes:
        return classes[label]
    parts = re.split(r'[/\\]+', (model.uri or '').partition('://')[2] or model.uri or '')
    # Neither the file in a model's folder nor the version of one from Fuel is its name.
    named = [one for one in parts if one and not re.fullmatch(r'model.*\.sdf|\d+|tip', one)]
    if named:
        return re.sub(r'\.(sdf|urdf|xacro|world)$', '', named[-1])
    return re.sub(r'[_ -]?\d+$', '', model.name) or model.name


def _label(model: world.Model) -> int | None:
    visuals = (visual.label for link in model.links for visual in link.visuals)
    return next((one for one in (model.label, *visuals) if one is not None), None)


def detections(
    simulation: Simulation, camera: CameraPart, pose: Poses, geoms: GeomIds,
    classes: Mapping[int, str] | None = None,
) -> list[TruthBox]:
    """Return the labelled models of which at least one pixel is seen, in the world's order.

    ``pose`` is the sensor's in the world, single, its x axis ahead; ``geoms`` is what it sees now.
    """
    scene = _scene(simulation)
    numbered, turn = scene.numbers.take(geoms), axes(pose)
    counts = np.bincount(numbered.ravel(), minlength=len(scene.models) + 1)
    found = ndimage.find_objects(numbered)
    boxes = []
    for number, (name, labelled) in enumerate(scene.models.items(), 1):
        if not counts[number]:
            continue
        rows, columns = found[number - 1]
        seen = PixelBox(columns.start, rows.start, columns.stop, rows.stop)
        polygons = _polygons(simulation, labelled, camera, pose.translation, turn)
        full, pixels = _unobstructed(camera, polygons, numbered, number, seen)
        center = _box(simulation, name, labelled)[0].translation
        boxes.append(TruthBox(
            model=name, class_id=class_of(simulation.model_of(name), classes),
            label=labelled.label, visible=seen, full=full, visible_pixels=int(counts[number]),
            visibility=float(counts[number] / pixels), truncation=truncation(polygons, camera),
            distance=float(np.linalg.norm(center - pose.translation)),
        ))
    return boxes


def boxes_3d(
    simulation: Simulation, classes: Mapping[int, str] | None = None,
) -> list[TruthBox3D]:
    """Return the boxes of all labelled models around their labelled visuals, in order."""
    boxes = []
    for name, labelled in _scene(simulation).models.items():
        pose, size = _box(simulation, name, labelled)
        class_id = class_of(simulation.model_of(name), classes)
        boxes.append(TruthBox3D(name, class_id, labelled.label, pose, size))
    return boxes


def _scene(simulation: Simulation) -> _Scene:
    known = _scenes.get(simulation)
    if known is not None and known.generation == simulation.generation:
        return known
    models: dict[str, _Labelled] = {}
    numbers = np.zeros(len(simulation.geoms) + 1, np.int32)
    places = {name: place for place, name in enumerate(simulation.names())}
    labelled = [
        (places[owner.model], geom, owner) for geom, owner in enumerate(simulation.geoms)
        if owner.label is not None
    ]
    for _, geom, owner in sorted(labelled):
        label = _label(simulation.model_of(owner.model))
        assert label is not None, 'a geom has it from there'
        model = models.setdefault(owner.model, _Labelled(label, {}))
        model.geoms[geom] = outline(simulation.model, geom)
        numbers[geom] = len(models)
    _scenes[simulation] = _Scene(simulation.generation, models, numbers)
    return _scenes[simulation]


def _polygons(
    simulation: Simulation, labelled: _Labelled, camera: CameraPart, eye: Floats, turn: Floats,
) -> list[Floats]:
    """Return the silhouettes for a camera at ``eye`` (3,) with ``turn``, its axes, as rows."""
    data = simulation.data
    polygons = []
    for geom, (points, edges) in labelled.geoms.items():
        placed = turned(points, data.geom_xmat[geom].reshape(3, 3))
        polygons.append(silhouette(
            camera, turned(placed + (data.geom_xpos[geom] - eye), turn), edges))
    return [one for one in polygons if len(one)]


def _unobstructed(
    camera: CameraPart, polygons: list[Floats], numbered: NDArray[np.int32], number: int,
    seen: PixelBox,
) -> tuple[PixelBox, int]:
    """Return the box and the number of a silhouette's pixels in the picture.

    A renderer may paint a pixel more at an edge than the silhouette has: it belongs to it.
    """
    around = within(bounds([*polygons, np.array([seen[:2], seen[2:]])]), camera)
    left, top = int(around.x_min), int(around.y_min)
    right, bottom = int(np.ceil(around.x_max)), int(np.ceil(around.y_max))
    x, y = np.arange(left, right, dtype=float) + 0.5, np.arange(top, bottom, dtype=float) + 0.5
    mask = covered(polygons, x, y)
    mask |= numbered[top:bottom, left:right] == number
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    full = PixelBox(left + int(columns[0]), top + int(rows[0]),
                    left + int(columns[-1]) + 1, top + int(rows[-1]) + 1)
    return full, int(np.count_nonzero(mask))


def _box(simulation: Simulation, name: str, labelled: _Labelled) -> tuple[Poses, Floats]:
    """Return the pose in the world and the size (3,) of the box around a model."""
    data, pose = simulation.data, simulation.pose(name)
    turn = np.empty(9)
    mujoco.mju_quat2Mat(turn, wxyz(pose.rotation))
    to_world = turn.reshape(3, 3)
    ends = []
    for geom, (points, _) in labelled.geoms.items():
        placed = turned(points, data.geom_xmat[geom].reshape(3, 3))
        corners = turned(placed + (data.geom_xpos[geom] - pose.translation), to_world.T)
        ends += [corners.min(axis=0), corners.max(axis=0)]
    low, high = np.min(ends, axis=0), np.max(ends, axis=0)
    middle = pose.translation + turned((low + high)[None] / 2, to_world)[0]
    return Poses(middle, pose.rotation), high - low


def labels_map(simulation: Simulation, geoms: GeomIds, kind: Segmentation) -> NDArray[np.uint8]:
    """Return which label each pixel has; (h, w, 3), 0 for the background.

    ``semantic``: the label, modulo 256, in all three channels. ``instance`` and ``panoptic`` are
    the same: the label in the last channel, and which of the models with that label it is in the
    first (low byte) and the second (high byte). They count from 1 in the world's order; Gazebo's
    order is another one. Pixels without a label, and those labelled 0, are background.
    """
    ids = _ids(simulation, kind)
    if kind == 'semantic':
        channels = np.stack((ids, ids, ids), axis=-1)
    else:
        channels = np.stack((ids % 256, ids // 256 % 256, ids // INSTANCES), axis=-1)
    mapped: NDArray[np.uint8] = channels.astype(np.uint8).take(geoms, axis=0)
    return mapped


def colored_map(simulation: Simulation, geoms: GeomIds, kind: Segmentation) -> NDArray[np.uint8]:
    """Return a colour for each label or, if not ``semantic``, each model; (h, w, 3) of r, g, b.

    No two have the same, and each keeps its own from picture to picture. The background is black.
    The colours are not Gazebo's, which are random.
    """
    ids = _ids(simulation, kind).astype(np.uint64)
    # Each line maps the numbers of 24 bits onto each other, and 0 to itself.
    for factor in (0x9E3779, 0x85EBCB):
        ids = ids * np.uint64(factor) % np.uint64(1 << 24)
        ids ^= ids >> np.uint64(11)
    channels = np.stack([ids >> np.uint64(shift) & np.uint64(255) for shift in (16, 8, 0)], -1)
    mapped: NDArray[np.uint8] = channels.astype(np.uint8).take(geoms, axis=0)
    return mapped


def _ids(simulation: Simulation, kind: Segmentation) -> NDArray[np.int64]:
    """Return a number below 2 ** 24 for each geom id, and 0 at the end, for none."""
    ids = np.zeros(len(simulation.geoms) + 1, np.int64)
    instances: dict[int, dict[str, int]] = {}
    for name, labelled in _scene(simulation).models.items():
        for geom in labelled.geoms:
            label = (simulation.geoms[geom].label or 0) % LABELS
            models = instances.setdefault(label, {})
            count = models.setdefault(name, len(models) + 1)
            if label:
                ids[geom] = label if kind == 'semantic' else label * INSTANCES + count % INSTANCES
    return ids
