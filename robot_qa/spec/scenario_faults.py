"""The fault of a step: what becomes of the messages of one topic on their way."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field, model_validator

from robot_qa.quantities import Size
from robot_qa.spec.parts import Part, wrong
from robot_qa.spec.sensor_faults import (
    BlockedSector,
    Blur,
    DeadPixels,
    GhostReturns,
    ImageNoise,
    Jpeg,
    LowLight,
    MotionBlur,
    Occlusion,
    RangeDropout,
    RangeNoise,
    Rotate,
)
from robot_qa.spec.shorthand import Share, Short, Yes
from robot_qa.spec.values import PositiveFrequency, ProcessName, RosName
from robot_qa.spec.wire_faults import (
    Bias,
    BitFlips,
    Delay,
    Drop,
    Duplicate,
    FrameId,
    Noise,
    Reorder,
    SetValue,
    Spoil,
    StaleStamps,
    StampDrift,
    StampOffset,
)


class Fault(Part):
    """Faults on one topic. The content is changed first, in the order of these keys."""

    topic: RosName
    """The topic between whose publishers and subscribers the faults happen."""
    publisher: ProcessName | None = None
    """The process of system.processes that publishes it, or "simulator"; without it the simulator,
    or where there is none the only process."""
    probability: Share = 1.0
    """How likely the content of a message is changed; 100 % if left out."""
    nan: Annotated[Spoil, Short('field')] | None = None
    """A field that becomes NaN."""
    inf: Annotated[Spoil, Short('field')] | None = None
    """A field that becomes infinite."""
    value: SetValue | None = None
    """A field that gets a constant value."""
    bias: Bias | None = None
    """A field with an offset."""
    noise: Noise | None = None
    """A field with normal noise."""
    low_light: Annotated[LowLight, Short('gain')] | None = None
    """Images that are too dark, or only how bright they are, such as 20 %."""
    blur: Annotated[Blur, Short('sigma')] | None = None
    """Images out of focus, or only by how many pixels."""
    motion_blur: Annotated[MotionBlur, Short('length')] | None = None
    """Images of a moving camera, or only how many pixels it moves."""
    image_noise: Annotated[ImageNoise, Short('stddev')] | None = None
    """Images with noise, or only its standard deviation, such as 5 %."""
    occlusion: Occlusion | None = None
    """A rectangle that covers a part of the image."""
    rotate: Annotated[Rotate, Short('angle')] | None = None
    """Images of a camera that came loose, by degrees counter-clockwise."""
    dead_pixels: Annotated[DeadPixels, Short('share')] | None = None
    """Pixels that stay black, or only how many, such as 1 %."""
    jpeg: Annotated[Jpeg, Short('quality')] | None = None
    """Images that went through a JPEG of this quality, 1 to 100."""
    range_dropout: Annotated[RangeDropout, Short('share')] | None = None
    """Beams of a LaserScan or PointCloud2 without a return, or only how many."""
    range_noise: Annotated[RangeNoise, Short('stddev')] | None = None
    """Noise along the beams, or only its standard deviation in metres."""
    ghost_returns: GhostReturns | None = None
    """Beams that end in the air."""
    blocked_sector: BlockedSector | None = None
    """Something stuck to the cover of the scanner."""
    stale_stamps: Annotated[StaleStamps, Short()] | None = None
    """Stamps that stand still."""
    stamp_offset: Annotated[StampOffset, Short('offset')] | None = None
    """Stamps that are off by a constant, such as -50 ms."""
    stamp_drift: Annotated[StampDrift, Short('ppm')] | None = None
    """Stamps of a clock that runs too fast or too slow, in parts per million."""
    frame_id: Annotated[FrameId, Short('frame_id')] | None = None
    """Another frame_id."""
    bit_flips: Annotated[BitFlips, Short('count')] | None = None
    """Wrong bits, or only how many in each message."""
    truncate: Annotated[Size, Field(gt=0)] | None = None
    """How much is cut off the end of each message, such as 8 B."""
    drop: Annotated[Drop, Short('probability')] | None = None
    """Messages that are lost, or only how likely that is, such as 50 %."""
    freeze: Yes | None = None
    """True: the first message is sent again in place of each that follows."""
    rate_limit: PositiveFrequency | None = None
    """The rate above which messages are lost."""
    duplicate: Annotated[Duplicate, Short('probability')] | None = None
    """Messages that arrive twice, or only how likely that is."""
    reorder: Annotated[Reorder, Short('window')] | None = None
    """Messages that overtake one another, or only within how many."""
    delay: Annotated[Delay, Short('constant')] | None = None
    """Messages that are late, or only by how much, such as 100 ms."""

    flow_keys: ClassVar[tuple[str, ...]] = (
        'drop', 'freeze', 'rate_limit', 'duplicate', 'reorder', 'delay',
    )
    """The kinds that leave the content alone."""

    @property
    def content(self) -> dict[str, Any]:
        """What changes messages, by key, in the order in which it is done."""
        return {key: value for key, value in self._kinds.items() if key not in self.flow_keys}

    @property
    def flow(self) -> dict[str, Any]:
        """What loses, delays or repeats messages, by key, in the order in which it is done."""
        return {key: value for key, value in self._kinds.items() if key in self.flow_keys}

    @property
    def _kinds(self) -> dict[str, Any]:
        own = ('topic', 'publisher', 'probability')
        return {key: value for key, value in self if key not in own and value is not None}

    @model_validator(mode='after')
    def _does_something(self) -> Fault:
        if not self._kinds:
            raise wrong('no fault is named here, such as drop: 50 %')
        if 'probability' in self.model_fields_set and not self.content:
            raise wrong('"probability" is about changed content, and none is changed here',
                        'probability')
        return self
