"""What spoils pictures: darkness, blur, noise, dirt, compression, a loose camera, dead pixels.

Lengths are in pixels, positions in shares of width and height from the upper left corner,
brightness in shares of full scale.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.special import ndtri

from robot_qa.errors import RobotQaError
from robot_qa.messages.typestore import TypeStore
from robot_qa.scenario.limits import require, require_share
from robot_qa.scenario.pictures import Picture, Pixels, image_transform
from robot_qa.scenario.transforms import Transform

_QUANTILES = 1 << 16
# Rows that are worked on at once, so that what is computed on the way stays in the cache.
_STRIP = 32
# What a cosine that should be zero leaves behind.
_NO_WEIGHT = 1e-9


@dataclass(frozen=True)
class LowLight:
    """Makes images ``gain`` times as bright, then adds the noise of the sensor."""

    gain: float
    noise: float = 0.0

    def compiled(self, store: TypeStore, type_name: str) -> Transform:
        """See ContentFault."""
        require_share('gain', self.gain)
        require_share('noise', self.noise)

        def effect(picture: Picture, generator: Generator) -> Pixels:
            return _with_noise(picture, self.gain, self.noise, generator)

        return image_transform('low light', store, type_name, effect, depth_too=False)


@dataclass(frozen=True)
class ImageNoise:
    """Adds normal noise to every value; for depths ``stddev`` is a share of the depth itself.

    Where no depth was measured, none appears.
    """

    stddev: float

    def compiled(self, store: TypeStore, type_name: str) -> Transform:
        """See ContentFault."""
        require_share('stddev', self.stddev)

        def effect(picture: Picture, generator: Generator) -> Pixels:
            if picture.is_depth:
                return _with_depth_noise(picture.pixels, self.stddev, generator)
            return _with_noise(picture, 1.0, self.stddev, generator)

        return image_transform('image noise', store, type_name, effect, depth_too=True)


@dataclass(frozen=True)
class Defocus:
    """Blurs with a Gaussian of standard deviation ``sigma``."""

    sigma: float

    def compiled(self, store: TypeStore, type_name: str) -> Transform:
        """See ContentFault."""
        require('sigma', self.sigma, 0.1)

        def effect(picture: Picture, generator: Generator) -> Pixels:
            blurred: Pixels = cv2.GaussianBlur(picture.pixels, (0, 0), self.sigma)
            return blurred

        return image_transform('blur', store, type_name, effect, depth_too=False)


@dataclass(frozen=True)
class MotionBlur:
    """Moves by ``length`` during the exposure, ``angle_deg`` counter-clockwise from the rows."""

    length: float
    angle_deg: float = 0.0

    def compiled(self, store: TypeStore, type_name: str) -> Transform:
        """See ContentFault."""
        require('length', self.length, 0)
        kernel = _line(self.length, math.radians(self.angle_deg))

        def effect(picture: Picture, generator: Generator) -> Pixels:
            blurred: Pixels = cv2.filter2D(
                picture.pixels, -1, kernel, borderType=cv2.BORDER_REPLICATE,
            )
            return blurred

        return image_transform('motion blur', store, type_name, effect, depth_too=False)


@dataclass(frozen=True)
class Occlusion:
    """Covers a rectangle with a grey of ``brightness``; depth images see nothing there."""

    x: float
    y: float
    width: float
    height: float
    brightness: float = 0.0

    def compiled(self, store: TypeStore, type_name: str) -> Transform:
        """See ContentFault."""
        for name in ('x', 'y', 'width', 'height', 'brightness'):
            require_share(name, getattr(self, name))

        def effect(picture: Picture, generator: Generator) -> Pixels:
            rows, columns = picture.pixels.shape[:2]
            inside = (slice(round(self.y * rows), round((self.y + self.height) * rows)),
                      slice(round(self.x * columns), round((self.x + self.width) * columns)))
            picture.pixels[inside] = _grey(picture, self.brightness)
            return picture.pixels

        return image_transform('occlusion', store, type_name, effect, depth_too=True)


@dataclass(frozen=True)
class JpegArtefacts:
    """Puts 8-bit images through JPEG of ``quality`` 1 (worst) to 100; the message type stays."""

    quality: int

    def compiled(self, store: TypeStore, type_name: str) -> Transform:
        """See ContentFault."""
        require('quality', self.quality, 1)
        options = [cv2.IMWRITE_JPEG_QUALITY, min(self.quality, 100)]

        def effect(picture: Picture, generator: Generator) -> Pixels:
            pixels = picture.pixels
            if pixels.dtype != np.uint8:
                raise RobotQaError('JPEG artefacts are for images of 8 bits; this one has 16')
            # JPEG treats colours unlike, so it has to know which is which.
            swap = picture.order == 'rgb' and pixels.shape[2] == 3
            ordered = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if swap else pixels
            encoded = cv2.imencode('.jpg', ordered, options)[1]
            decoded: Any = cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED)
            worse: Pixels = cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB) if swap else decoded
            return worse

        return image_transform('JPEG artefacts', store, type_name, effect, depth_too=False)


@dataclass(frozen=True)
class Rotation:
    """Turns the picture about its centre, counter-clockwise; its size stays.

    What comes in from outside is black, in depth images not measured. Brightness is interpolated
    linearly, depth is taken from the nearest pixel.
    """

    angle_deg: float

    def compiled(self, store: TypeStore, type_name: str) -> Transform:
        """See ContentFault."""
        def effect(picture: Picture, generator: Generator) -> Pixels:
            rows, columns = picture.pixels.shape[:2]
            turn = cv2.getRotationMatrix2D(
                ((columns - 1) / 2, (rows - 1) / 2), self.angle_deg, 1.0,
            )
            turned: Pixels = cv2.warpAffine(
                picture.pixels, turn, (columns, rows),
                flags=cv2.INTER_NEAREST if picture.is_depth else cv2.INTER_LINEAR,
                borderValue=_grey(picture, 0.0),
            )
            return turned

        return image_transform('rotation', store, type_name, effect, depth_too=True)


@dataclass(frozen=True)
class DeadPixels:
    """Makes a ``share`` of the pixels black, or not measured in depth images.

    A share ``hot`` of these is at full scale instead. They are drawn with the first image and
    stay the same for all images of its size.
    """

    share: float
    hot: float = 0.0

    def compiled(self, store: TypeStore, type_name: str) -> Transform:
        """See ContentFault."""
        require_share('share', self.share)
        require_share('hot', self.hot)
        drawn: dict[tuple[int, ...], tuple[NDArray[np.int64], NDArray[np.int64]]] = {}

        def effect(picture: Picture, generator: Generator) -> Pixels:
            size = picture.pixels.shape[:2]
            if size not in drawn:
                draws = generator.random(size[0] * size[1])
                drawn[size] = (np.flatnonzero(draws < self.share),
                               np.flatnonzero(draws < self.share * self.hot))
            dead, hot = drawn[size]
            pixels = picture.pixels.reshape(size[0] * size[1], -1)
            pixels[dead] = _grey(picture, 0.0)
            if not picture.is_depth:
                pixels[hot] = picture.full_scale
            return pixels

        return image_transform('dead pixels', store, type_name, effect, depth_too=True)


def _grey(picture: Picture, brightness: float) -> float:
    return picture.no_depth if picture.is_depth else round(brightness * picture.full_scale)


@cache
def _normal_quantiles() -> NDArray[np.float32]:
    quantiles: NDArray[np.float64] = ndtri((np.arange(_QUANTILES) + 0.5) / _QUANTILES)
    unit: NDArray[np.float32] = (quantiles / quantiles.std()).astype(np.float32)
    return unit


def _normal(shape: tuple[int, ...], stddev: float, generator: Generator) -> NDArray[np.float32]:
    """Draw from a normal distribution in 65536 steps, to 4.3 standard deviations.

    Several times as fast as numpy's own, whose 8 ms for a 640 x 480 picture could be seen in its
    delay.
    """
    draws = generator.integers(0, _QUANTILES, shape, np.uint16)
    noise: NDArray[np.float32] = np.take(_normal_quantiles() * np.float32(stddev), draws)
    return noise


def _with_noise(picture: Picture, gain: float, stddev: float, generator: Generator) -> Pixels:
    pixels = picture.pixels
    kind = cv2.CV_8U if pixels.itemsize == 1 else cv2.CV_16U
    noisy = np.empty_like(pixels)
    for first in range(0, len(pixels), _STRIP):
        strip = pixels[first:first + _STRIP]
        light: NDArray[np.float32] = np.multiply(strip, gain, dtype=np.float32)
        noise: Any = 0.0
        if stddev > 0.0:
            noise = _normal(strip.shape, stddev * picture.full_scale, generator)
        # Rounds and clips in one go.
        noisy[first:first + _STRIP] = cv2.add(light, noise, dtype=kind).reshape(strip.shape)
    return noisy


def _with_depth_noise(depths: Pixels, stddev: float, generator: Generator) -> Pixels:
    with np.errstate(invalid='ignore'):
        noisy = depths * (1 + _normal(depths.shape, stddev, generator))
    if depths.dtype.kind == 'f':
        positive: Pixels = np.maximum(noisy, 0.0)
        return positive
    within: Pixels = np.clip(np.rint(noisy), depths > 0, np.iinfo(depths.dtype).max)
    return within.astype(depths.dtype)


def _line(length: float, angle: float) -> NDArray[np.float64]:
    """Return a kernel whose weights, which sum to 1, lie on a line through its middle.

    It has no empty rows and columns at its edges, because the time to apply it grows with its
    area.
    """
    middle = max(1, math.ceil(length / 2))
    count = 16 * middle
    steps = ((np.arange(count) + 0.5) / count - 0.5) * length
    # Rows count downwards.
    across, down = middle + steps * math.cos(angle), middle - steps * math.sin(angle)
    column, row = np.floor(across).astype(int), np.floor(down).astype(int)
    right, below = across - column, down - row
    kernel: NDArray[np.float64] = np.zeros((2 * middle + 1, 2 * middle + 1))
    for i, row_share in ((0, 1 - below), (1, below)):
        for j, column_share in ((0, 1 - right), (1, right)):
            np.add.at(kernel, (row + i, column + j), row_share * column_share / count)
    rows, columns = (np.flatnonzero(kernel.sum(axis) > _NO_WEIGHT) for axis in (1, 0))
    return kernel[rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1]
