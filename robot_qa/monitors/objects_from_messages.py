"""Serialized predictions and truth as columns: objects with their classes, scores and ids."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rosbags.interfaces import Nodetype
from rosbags.interfaces.typing import Fielddefs
from rosbags.typesys import Stores, get_typestore

from robot_qa.errors import MessageError, RobotQaError, did_you_mean
from robot_qa.messages.payloads import Buffer
from robot_qa.messages.typestore import TypeStore
from robot_qa.perception.objects import Floats, Ints

# Results of true objects that are no classes: how well the object can be seen, from 0 to 1.
VISIBILITY = 'visibility'
TRUNCATION = 'truncation'
NO_CLASS = ''
# How like another name one has to be, from 0 to 1, to be taken for it.
ALMOST = 0.8


class Decoder:
    """Whole messages of one type, by whatever definition the workspace or the recording has."""

    def __init__(self, store: TypeStore, kind: str) -> None:
        self.kind = kind
        self._types = get_typestore(Stores.EMPTY)
        self._types.register({name: ([], fields) for name, fields in _all_types(store, kind)})

    def read(self, payload: Buffer) -> Any:
        """Return the message. MessageError: the bytes do not hold one."""
        try:
            return self._types.deserialize_cdr(payload, self.kind)
        except Exception as error:  # rosbags fails on foreign bytes in more than one way
            reason = ' '.join(str(error).split())[:200] or type(error).__name__
            raise MessageError(f'{self.kind} cannot be read: {reason}') from error


class Raw(NamedTuple):
    """A serialized message and its type."""

    kind: str
    data: bytes


class Decoders:
    """Decoders by type, made when the first message comes."""

    def __init__(self, store: TypeStore) -> None:
        self._store = store
        self._made: dict[str, Decoder] = {}

    def read(self, raw: Raw) -> Any:
        """Return the message. MessageError: the bytes do not hold one."""
        if raw.kind not in self._made:
            self._made[raw.kind] = Decoder(self._store, raw.kind)
        return self._made[raw.kind].read(raw.data)


def _all_types(store: TypeStore, kind: str) -> list[tuple[str, Fielddefs]]:
    """Return a type and all that it uses, each with its members."""
    names = [kind]
    for name in names:
        for _, desc in store.fields(name):
            item = desc[1][0] if desc[0] in {Nodetype.ARRAY, Nodetype.SEQUENCE} else desc
            if item[0] == Nodetype.NAME and item[1] not in names:
                names.append(item[1])
    return [(name, store.fields(name)) for name in names]


@dataclass(frozen=True)
class Objects:
    """The objects of one frame, one row each.

    ``boxes`` as in `perception.objects.Detections`; ``names`` of classes and ``ids`` as the
    message has them. ``scores`` (n,), and by name what else is known of them (n,), NaN where the
    message does not say: ``distance`` in m, ``occlusion`` and ``truncation`` from 0 to 1.
    """

    boxes: Floats
    names: list[str]
    ids: list[str]
    scores: Floats
    known: Mapping[str, Floats] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.names)

    def rows(self, chosen: Ints) -> Objects:
        """Return the chosen objects."""
        return Objects(
            self.boxes[chosen], [self.names[row] for row in chosen.tolist()],
            [self.ids[row] for row in chosen.tolist()], self.scores[chosen],
            {key: column[chosen] for key, column in self.known.items()})


def objects_2d(message: Any) -> Objects:
    """Return the objects of a vision_msgs/msg/Detection2DArray; the boxes stand upright.

    Of several hypotheses that with the highest score counts, the first of equals. RobotQaError: a
    number is not finite, or a side is below zero.
    """
    boxes, rows = [], []
    for one in message.detections:
        box = one.bbox
        # Before vision_msgs 4 the centre had its coordinates itself.
        centre = getattr(box.center, 'position', box.center)
        boxes.append((centre.x - box.size_x / 2, centre.y - box.size_y / 2,
                      box.size_x, box.size_y))
        rows.append(_hypotheses(one))
    return _objects(np.array(boxes, np.float64).reshape(-1, 4), rows, slice(2, 4))


def objects_3d(message: Any) -> Objects:
    """Return the objects of a vision_msgs/msg/Detection3DArray; of rotations only the yaw counts.

    The distance is that from the origin of the message's frame.
    """
    boxes, rows = [], []
    for one in message.detections:
        at, turn, size = one.bbox.center.position, one.bbox.center.orientation, one.bbox.size
        yaw = np.arctan2(2.0 * (turn.w * turn.z + turn.x * turn.y),
                         1.0 - 2.0 * (turn.y * turn.y + turn.z * turn.z))
        boxes.append((at.x, at.y, at.z, size.x, size.y, size.z, yaw))
        rows.append(_hypotheses(one))
    found = _objects(np.array(boxes, np.float64).reshape(-1, 7), rows, slice(3, 6))
    distance = np.linalg.norm(found.boxes[:, :3], axis=1)
    return Objects(found.boxes, found.names, found.ids, found.scores,
                   {**found.known, 'distance': distance})


def _hypotheses(one: Any) -> tuple[str, str, float, float, float, float]:
    """Return class, id, score, distance, occlusion and truncation of a detection."""
    name, score, distance = NO_CLASS, 0.0, np.nan
    occlusion = truncation = np.nan
    for result in one.results:
        hypothesis = getattr(result, 'hypothesis', result)
        # Before vision_msgs 4 the class was called id.
        kind = str(getattr(hypothesis, 'class_id', getattr(hypothesis, 'id', NO_CLASS)))
        if kind == VISIBILITY:
            occlusion = 1.0 - hypothesis.score
        elif kind == TRUNCATION:
            truncation = hypothesis.score
        elif name == NO_CLASS or hypothesis.score > score:
            name, score = kind, hypothesis.score
            at = result.pose.pose.position
            if (reach := float(np.hypot(np.hypot(at.x, at.y), at.z))) > 0.0:
                distance = reach
    # Before vision_msgs 4 the id was called tracking_id, or was not there.
    own = str(getattr(one, 'id', getattr(one, 'tracking_id', '')))
    return name, own, score, distance, occlusion, truncation


def _objects(
    boxes: Floats, rows: list[tuple[str, str, float, float, float, float]], sides: slice
) -> Objects:
    numbers = np.array([row[2:] for row in rows], np.float64).reshape(-1, 4)
    if not (np.isfinite(boxes).all() and np.isfinite(numbers[:, 0]).all()):
        raise RobotQaError('a box or a score is not a finite number')
    if (boxes[:, sides] < 0.0).any():
        raise RobotQaError('a side of a box is below zero')
    return Objects(
        boxes, [row[0] for row in rows], [row[1] for row in rows], numbers[:, 0],
        {key: numbers[:, place] for place, key in
         enumerate(('distance', 'occlusion', 'truncation'), start=1)})


def between(before: Objects, after: Objects, part: float) -> Objects:
    """Return the objects at ``part`` (0 to 1) of the way from one frame to another.

    Boxes in an image move evenly; an object that is not in both, by its id, stands where it is
    in the frame that is nearer. RobotQaError: an id is missing or occurs twice.
    """
    for frame in (before, after):
        if len(set(frame.ids)) < len(frame) or '' in frame.ids:
            raise RobotQaError('to interpolate, every true object needs an id of its own')
    near, far = (before, after) if part <= 0.5 else (after, before)
    place = {one: row for row, one in enumerate(far.ids)}
    boxes = near.boxes.copy()
    weight = part if part <= 0.5 else 1.0 - part
    for row, one in enumerate(near.ids):
        if one in place:
            boxes[row] += weight * (far.boxes[place[one]] - near.boxes[row])
    return Objects(boxes, near.names, near.ids, near.scores, near.known)


class Names:
    """Numbers for the names of classes, in the order of the spec or of their first occurrence."""

    def __init__(
        self, classes: Iterable[str] | None, labels: Mapping[str, str],
        predicted_labels: Mapping[str, str] | None = None,
    ) -> None:
        self._labels = labels
        self._predicted_labels = predicted_labels or {}
        self._open = classes is None
        self.names: list[str] = list(classes or ())
        self._numbers = {name: number for number, name in enumerate(self.names)}
        # What occurred, as the messages have it.
        self._true: set[str] = set()
        self._predicted: set[str] = set()

    def of_truth(self, given: list[str]) -> Ints:
        """Return the number of each class of a true message."""
        self._true.update(given)
        return self.numbers(given)

    def of_predictions(self, given: list[str]) -> Ints:
        """Return the number of each class of a prediction."""
        self._predicted.update(given)
        return self.numbers(given, self._predicted_labels)

    def doubt(self) -> str:
        """Say which name of the spec looks like a wrong one, by what occurred; '' for none.

        A label that is not there may be so by chance, unless what is there is nearly its name. A
        class that nowhere is, while there are true objects of no class, was not evaluated.
        """
        for key, labels, given in (('labels', self._labels, self._true),
                                   ('predicted_labels', self._predicted_labels, self._predicted)):
            for one in sorted(labels.keys() - given):
                if (near := _nearly(one, given - labels.keys())) and not one.isdecimal():
                    return f'"{one}" of {key} does not occur{near}'
        true = {self._labels.get(one, one) for one in self._true}
        every = true | {self._predicted_labels.get(one, one) for one in self._predicted}
        left_out = sorted(true - set(self.names))
        for name in self.names if not self._open else ():
            near = _nearly(name, every - set(self.names))
            if name not in every and (near or left_out):
                told = f' (classes of the truth that are not listed: {", ".join(left_out)})'
                return (f'the class "{name}" occurs neither in the truth nor in the predictions'
                        f'{near}{told if left_out else ""}')
        return ''

    def numbers(self, given: Iterable[str], labels: Mapping[str, str] | None = None) -> Ints:
        """Return the number of each name, -1 for a class that does not count.

        ``labels`` give other names to ids; those of the truth if left out.
        """
        labels = self._labels if labels is None else labels
        found = []
        for one in given:
            name = labels.get(one, one)
            if self._open and name not in self._numbers:
                self._numbers[name] = len(self.names)
                self.names.append(name)
            found.append(self._numbers.get(name, -1))
        return np.array(found, np.int64)

    def __getitem__(self, number: int) -> str:
        return self.names[number]


def _nearly(name: str, others: set[str]) -> str:
    """Ask whether another name was meant, if one looks like it."""
    return did_you_mean(name, difflib.get_close_matches(name, sorted(others), 1, ALMOST))


Image = NDArray[Any]
_ENCODINGS = {
    '8UC1': 'u1', 'mono8': 'u1', '16UC1': 'u2', 'mono16': 'u2', '32SC1': 'i4', '32FC1': 'f4',
    '64FC1': 'f8', '16SC1': 'i2', '8SC1': 'i1',
}


def image(message: Any) -> Image:
    """Return the pixels of a sensor_msgs/msg/Image of one channel, (height, width), no copy.

    RobotQaError: the encoding has more channels, or the data is too short.
    """
    if message.encoding not in _ENCODINGS:
        raise RobotQaError(f'an image with the encoding "{message.encoding}" has no single '
                           f'channel (valid: {", ".join(_ENCODINGS)})')
    dtype = np.dtype(_ENCODINGS[message.encoding]).newbyteorder('>' if message.is_bigendian
                                                                 else '<')
    height, width, step = message.height, message.width, message.step
    if step < width * dtype.itemsize or len(message.data) < height * step:
        raise RobotQaError(f'an image of {width} x {height} pixels has {len(message.data)} bytes')
    rows = np.asarray(message.data, np.uint8)[:height * step].reshape(height, step)
    pixels: Image = np.ascontiguousarray(rows[:, :width * dtype.itemsize]).view(dtype)
    return pixels
