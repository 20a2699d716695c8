"""Faults of images and of distances.

Lengths in images are in pixels, positions in shares of width and height, angles in degrees,
distances in metres.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from robot_qa.quantities import Ratio
from robot_qa.spec.parts import Part, wrong
from robot_qa.spec.shorthand import Degrees, Share

Metres = Annotated[float, Field(ge=0, le=1e6)]


class LowLight(Part):
    """Images that are too dark."""

    gain: Annotated[Ratio, Field(lt=1)]
    """How bright, as a share of what it was."""
    noise: Ratio = 0.0
    """Standard deviation of the noise of the sensor, as a share of full scale; none if left
    out."""


class ImageNoise(Part):
    """Images with normal noise."""

    stddev: Share
    """Standard deviation as a share of full scale, for depth images as a share of the depth."""


class Blur(Part):
    """Images out of focus."""

    sigma: Annotated[float, Field(ge=0.1, le=1000)]
    """Standard deviation of the blur in pixels."""


class MotionBlur(Part):
    """Images of a moving camera."""

    length: Annotated[float, Field(gt=0, le=1000)]
    """How far it moves during the exposure, in pixels."""
    angle: Degrees = 0.0
    """Where to, in degrees counter-clockwise from the rows; along them if left out."""


class Occlusion(Part):
    """A rectangle that covers a part of the image; sizes and places as shares of the image."""

    x: Ratio
    """Its left edge."""
    y: Ratio
    """Its upper edge."""
    width: Share
    """Its width."""
    height: Share
    """Its height."""
    brightness: Ratio = 0.0
    """Its grey, from black (0 %, if left out) to white; depth images see nothing there."""


class Jpeg(Part):
    """Images that went through a bad JPEG."""

    quality: Annotated[int, Field(ge=1, le=100)]
    """Quality from 1, the worst, to 100."""


class Rotate(Part):
    """Images of a camera that came loose."""

    angle: Degrees
    """Degrees counter-clockwise."""


class DeadPixels(Part):
    """Pixels that stay black."""

    share: Share
    """How many."""
    hot: Ratio = 0.0
    """How many of these are at full scale instead; none if left out."""


class RangeDropout(Part):
    """Beams without a return."""

    share: Share
    """How many of those that have one."""


class RangeNoise(Part):
    """Distances with normal noise."""

    stddev: Annotated[float, Field(gt=0, le=1e6)]
    """Standard deviation in metres."""


class GhostReturns(Part):
    """Beams that end in the air, as on rain, dust or exhaust."""

    share: Share
    """How many."""
    near: Metres
    """The shortest distance of a ghost in metres."""
    far: Metres
    """The longest."""

    @model_validator(mode='after')
    def _grows(self) -> GhostReturns:
        if self.far <= self.near:
            raise wrong('far is not above near', 'far')
        return self


class BlockedSector(Part):
    """Something stuck to the cover of a scanner."""

    center: Degrees
    """The bearing of its middle, in degrees from the x axis to the y axis."""
    width: Annotated[float, Field(gt=0, le=360)]
    """Its width in degrees."""
    range: Metres | None = None
    """The distance at which it is seen, in metres; no return if left out."""
