"""Images in serialized messages: taken out as pixels, changed, and put back.

``sensor_msgs/msg/Image`` in the encodings of ``ENCODINGS``, and
``sensor_msgs/msg/CompressedImage`` holding JPEG or PNG, which is decoded and encoded again.
Sources: sensor_msgs/image_encodings.hpp for the names, REP 118 for depth.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from robot_qa.errors import MessageError, RobotQaError, did_you_mean
from robot_qa.messages.cdr import HEADER_SIZE
from robot_qa.messages.fields import compile_field
from robot_qa.messages.typestore import TypeStore
from robot_qa.scenario.places import Places
from robot_qa.scenario.rewriting import Replacement, rewritten
from robot_qa.scenario.transforms import Transform, require_type

IMAGE = 'sensor_msgs/msg/Image'
COMPRESSED = 'sensor_msgs/msg/CompressedImage'

Pixels = NDArray[Any]
Order = Literal['rgb', 'bgr']

_JPEG = b'\xff\xd8\xff'
_PNG = b'\x89PNG\r\n\x1a\n'
# High enough not to add artefacts that anyone could see to those that were asked for.
_JPEG_QUALITY = 95


@dataclass(frozen=True)
class Encoding:
    """How a pixel is stored. ``order`` is that of the first three of ``channels``."""

    dtype: str
    channels: int
    order: Order = 'bgr'
    is_depth: bool = False


ENCODINGS = {
    'rgb8': Encoding('u1', 3, 'rgb'), 'rgba8': Encoding('u1', 4, 'rgb'),
    'bgr8': Encoding('u1', 3), 'bgra8': Encoding('u1', 4),
    'mono8': Encoding('u1', 1), 'mono16': Encoding('u2', 1),
    '8UC1': Encoding('u1', 1), '8UC3': Encoding('u1', 3), '8UC4': Encoding('u1', 4),
    '16UC1': Encoding('u2', 1, is_depth=True), '32FC1': Encoding('f4', 1, is_depth=True),
}


@dataclass(frozen=True)
class Picture:
    """The pixels of an image, of shape (height, width, 1 or 3), without an alpha channel.

    They belong to the picture and may be written to. Brightness is uint8 or uint16, depth float32
    in metres or uint16 in millimetres.
    """

    pixels: Pixels
    order: Order
    is_depth: bool

    @property
    def full_scale(self) -> int:
        """The brightest value; for brightness only."""
        return int(np.iinfo(self.pixels.dtype).max)

    @property
    def no_depth(self) -> float:
        """What a depth image has where nothing was measured (REP 118)."""
        return float('nan') if self.pixels.dtype.kind == 'f' else 0


# Returns the new pixels, of the same shape and type.
Effect = Callable[[Picture, Generator], Pixels]


def image_transform(
    fault: str, store: TypeStore, type_name: str, effect: Effect, *, depth_too: bool,
) -> Transform:
    """Return a transform that applies ``effect`` to images.

    Unless ``depth_too``, it refuses depth images with RobotQaError. Alpha channels, and what lies
    between the rows, stay as they are.
    """
    require_type(fault, type_name, (IMAGE, COMPRESSED))

    def refusing(picture: Picture, generator: Generator) -> Pixels:
        if picture.is_depth and not depth_too:
            raise RobotQaError(f'{fault} is for brightness; this image holds depths')
        if not picture.pixels.size:
            return picture.pixels
        return effect(picture, generator).reshape(picture.pixels.shape)

    return _Raw(store, refusing) if type_name == IMAGE else _Compressed(store, refusing)


class _Raw:
    """Works on sensor_msgs/msg/Image."""

    def __init__(self, store: TypeStore, effect: Effect) -> None:
        self._effect = effect
        self._layout = [
            compile_field(store, IMAGE, path)
            for path in ('height', 'width', 'encoding', 'is_bigendian', 'step')
        ]
        self._data = Places(store, IMAGE, 'data')

    def __call__(self, message: bytes, generator: Generator) -> bytes:
        height, width, name, is_bigendian, step = [field.read(message) for field in self._layout]
        encoding = _encoding(name)
        dtype = np.dtype(encoding.dtype).newbyteorder('>' if is_bigendian else '<')
        row = width * encoding.channels * dtype.itemsize
        buffer = bytearray(message)
        [data] = self._data.views(buffer)
        if step < row or len(data) < step * height:
            raise MessageError(
                f'{IMAGE}: {width} x {height} pixels of {name} in rows of {step} bytes do not fit '
                f'into {len(data)} bytes of data'
            )
        shape = (height, width, encoding.channels)
        strides = (step, encoding.channels * dtype.itemsize, dtype.itemsize)
        stored = np.ndarray(shape, dtype, data, 0, strides)[..., :3]
        pixels = stored.astype(dtype.newbyteorder('='), order='C')
        stored[:] = self._effect(Picture(pixels, encoding.order, encoding.is_depth), generator)
        return bytes(buffer)


class _Compressed:
    """Works on sensor_msgs/msg/CompressedImage."""

    def __init__(self, store: TypeStore, effect: Effect) -> None:
        self._store = store
        self._effect = effect
        self._format = compile_field(store, COMPRESSED, 'format')
        self._data = Places(store, COMPRESSED, 'data')

    def __call__(self, message: bytes, generator: Generator) -> bytes:
        name = self._format.read(message)
        [(start, count)] = self._data.starts(self._data.message(message))
        raw = message[start + HEADER_SIZE:start + HEADER_SIZE + count]
        ending, options = _container(raw, name)
        try:
            decoded = cv2.imdecode(np.frombuffer(raw, np.uint8), cv2.IMREAD_UNCHANGED)
        except cv2.error:  # the header promises more pixels than OpenCV would make room for
            decoded = None
        if decoded is None:
            raise MessageError(f'{COMPRESSED}: the {ending} data of "{name}" cannot be decoded')
        whole: Pixels = np.atleast_3d(decoded)
        is_depth = name.startswith('16UC1')
        whole[..., :3] = self._effect(
            Picture(np.ascontiguousarray(whole[..., :3]), 'bgr', is_depth), generator,
        )
        encoded = cv2.imencode(ending, whole, options)[1].tobytes()
        # The count of a sequence of bytes stands right in front of them.
        data = {start - 4: Replacement(len(encoded), encoded)}
        return rewritten(self._store, COMPRESSED, message, data)


def _encoding(name: str) -> Encoding:
    if name not in ENCODINGS:
        raise RobotQaError(
            f'images encoded as "{name}" cannot be changed, only {", ".join(ENCODINGS)}'
            f'{did_you_mean(name, ENCODINGS)}'
        )
    return ENCODINGS[name]


def _container(raw: bytes, name: str) -> tuple[str, list[int]]:
    if raw.startswith(_JPEG):
        return '.jpg', [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    if raw.startswith(_PNG):
        return '.png', []
    raise RobotQaError(f'{COMPRESSED}: the data of "{name}" is neither JPEG nor PNG')
