"""The transforms in tf2_msgs/msg/TFMessage, many messages at once.

A publisher of transforms sends the same frames again and again, so its messages differ in nothing
but stamps and poses. The frames of the first such message are read one by one; they tell where
everything lies in all messages that have the same bytes for lengths and names, and these are read
in one go. The layout is that of tf2_msgs and geometry_msgs, which has not changed in ROS 2.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robot_qa.errors import MessageError
from robot_qa.geometry import Floats
from robot_qa.messages.cdr import Message
from robot_qa.messages.payloads import Buffer, Int64s, Payloads
from robot_qa.timebase import NS_PER_S

TF_TYPE = 'tf2_msgs/msg/TFMessage'
TF_TOPIC = '/tf'
STATIC_TOPIC = '/tf_static'

# Parent and child.
Link = tuple[str, str]

# Layouts to remember, and so to compare messages with. A topic has a few.
MOST_LAYOUTS = 64
_STAMP_SIZE = 8
_POSE_SIZE = 56


@dataclass(frozen=True)
class Samples:
    """One edge in a batch: ``rows`` (n,) are the messages, ``stamps`` (n,) in ns.

    ``poses`` (n, 7) are those of the child in the parent: x, y, z, then x, y, z, w.
    """

    rows: Int64s
    stamps: Int64s
    poses: Floats


class TransformReader:
    """Reads batches of TFMessage; remembers the layouts that it has met."""

    def __init__(self) -> None:
        self._layouts: list[_Layout] = []

    def read(self, payloads: Payloads) -> tuple[dict[Link, Samples], dict[int, str]]:
        """Return the samples of every edge, in the order of the messages, and what is malformed.

        A slash in front of a frame is left out, as tf2 does. The second part has the reason for
        every message that cannot be read.
        """
        found: dict[Link, list[tuple[int, Samples]]] = defaultdict(list)
        errors: dict[int, str] = {}
        rest = np.arange(len(payloads))
        for layout in tuple(self._layouts):
            if not len(rest):
                break
            rest = layout.take(payloads, rest, found)
        met = 0
        while len(rest):
            row = int(rest[0])
            try:
                layout = _Layout(payloads[row])
            except MessageError as error:
                errors[row] = str(error)
                rest = rest[1:]
                continue
            met += 1
            self._layouts = [layout, *self._layouts][:MOST_LAYOUTS]
            # Where every message has other frames, comparing each with all takes too long.
            alike = rest if met <= MOST_LAYOUTS else rest[:1]
            rest = np.concatenate((layout.take(payloads, alike, found), rest[len(alike):]))
        return {link: _in_order(parts) for link, parts in found.items()}, errors


class _Layout:
    """Where frames, stamps and poses lie in the messages that are like this one."""

    def __init__(self, payload: Buffer) -> None:
        message = Message(payload, TF_TYPE)
        self._size = len(payload)
        self.links: list[Link] = []
        stamps: list[int] = []
        poses: list[int] = []
        # The parts that tell the layout: encapsulation, count, then lengths and names.
        fixed = [np.arange(2), np.arange(4, 8)]
        position = 4
        for _ in range(message.count(0)):
            position = (position + 3) & -4
            message.need(position, _STAMP_SIZE)
            names = position + _STAMP_SIZE
            parent, behind = _name(message, names)
            child, behind = _name(message, (behind + 3) & -4)
            pose = (behind + 7) & -8
            message.need(pose, _POSE_SIZE)
            self.links.append((parent, child))
            stamps.append(position + 4)
            poses.append(pose + 4)
            fixed.append(np.arange(names + 4, behind + 4))
            position = pose + _POSE_SIZE
        self._fixed = np.concatenate(fixed)
        self._signature = np.frombuffer(payload, np.uint8)[self._fixed]
        offsets = [*stamps, *(stamp + 4 for stamp in stamps), *poses]
        order, count = message.order, len(stamps)
        self._dtype = np.dtype({
            'names': [f'{kind}{i}' for kind in ('sec', 'nanosec', 'pose') for i in range(count)],
            'formats': [f'{order}i4'] * count + [f'{order}u4'] * count
            + [(f'{order}f8', (7,))] * count,
            'offsets': offsets,
            'itemsize': self._size,
        })

    def take(
        self, payloads: Payloads, rows: Int64s, into: dict[Link, list[tuple[int, Samples]]]
    ) -> Int64s:
        """Read the messages among ``rows`` that are like this one; return the others."""
        same = payloads.lengths[rows] == self._size
        if not same.any():
            return rows
        candidates = rows[same]
        content = b''.join([payloads[row] for row in candidates.tolist()])
        table = np.frombuffer(content, np.uint8).reshape(-1, self._size)
        alike = (table[:, self._fixed] == self._signature).all(axis=1)
        if not alike.any():
            return rows
        same[same] = alike
        values = table[alike].view(self._dtype)[:, 0]
        for place, link in enumerate(self.links):
            seconds = values[f'sec{place}'].astype(np.int64)
            stamps = seconds * NS_PER_S + values[f'nanosec{place}']
            poses = values[f'pose{place}'].astype(np.float64)
            into[link].append((place, Samples(candidates[alike], stamps, poses)))
        others: Int64s = rows[~same]
        return others


def _name(message: Message, position: int) -> tuple[str, int]:
    length = message.count(position)
    start = position + 4
    message.need(start, length)
    raw = bytes(message.body[start:start + length]).rstrip(b'\0')
    return raw.decode(errors='replace').removeprefix('/'), start + length


def _in_order(parts: list[tuple[int, Samples]]) -> Samples:
    """Join what several layouts, or places of one, have of an edge, as it was received."""
    if len(parts) == 1:
        return parts[0][1]
    rows = np.concatenate([samples.rows for _, samples in parts])
    places = np.concatenate([np.full(len(samples.rows), place) for place, samples in parts])
    order: NDArray[np.intp] = np.lexsort((places, rows))
    return Samples(
        rows[order],
        np.concatenate([samples.stamps for _, samples in parts])[order],
        np.concatenate([samples.poses for _, samples in parts])[order],
    )
