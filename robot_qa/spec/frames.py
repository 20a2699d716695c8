"""What must hold for the tf tree: its frames, its edges, and transforms through it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from robot_qa.spec.parts import Finding, Limits, wrong, wrong_all
from robot_qa.spec.timing import Age, Gap, Rate, gap_fits_rate
from robot_qa.spec.values import Number, OnlyTrue, text_or_list, texts

_FRAME = r'[^\s/]\S*'
_PAIR = rf'{_FRAME} -> {_FRAME}'
_ANGLE = re.compile(r'([+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)\s*(deg|rad)?')


def _frame(name: str) -> str:
    if not re.fullmatch(_FRAME, name):
        near = name.replace(' ', '_').lstrip('/_')
        hint = f'; did you mean "{near}"?' if near else ''
        raise wrong(f'"{name}" is not a frame: no slash in front, no blanks{hint}')
    return name


def _pair(text: str) -> str:
    pieces = [piece.strip() for piece in text.split('->')]
    near = ' -> '.join(piece.lstrip('/') for piece in pieces)
    if not re.fullmatch(_PAIR, text) or len(pieces) != 2:
        fits = len(pieces) == 2 and re.fullmatch(_PAIR, near)
        hint = f'; did you mean "{near}"?' if fits else ', such as odom -> base_link'
        raise wrong(f'"{text}" does not name two frames{hint}')
    if pieces[0] == pieces[1]:
        raise wrong(f'"{text}" names the same frame twice')
    return text


def _angle(value: Any) -> Any:
    """Return degrees."""
    match = None if isinstance(value, bool) else _ANGLE.fullmatch(str(value).strip())
    if match is None:
        raise wrong('an angle was expected: degrees such as 5, or a text such as "0.1 rad"')
    number = float(match[1])
    degrees = math.degrees(number) if match[2] == 'rad' else number
    if abs(degrees) > 360.0:
        raise wrong(f'{value} is more than a whole turn')
    return degrees


Frame = Annotated[str, AfterValidator(_frame)]
Frames = Annotated[list[Frame], BeforeValidator(texts), Field(min_length=1),
                   text_or_list(['string'])]
FramePair = Annotated[str, AfterValidator(_pair), WithJsonSchema(
    {'type': 'string', 'pattern': f'^{_PAIR}$'})]
Angle = Annotated[float, BeforeValidator(_angle), WithJsonSchema(
    {'type': ['number', 'string'], 'examples': [5, '0.1 rad']})]


def frames_of(pair: str) -> tuple[str, str]:
    """Return the two frames of ``odom -> base_link``."""
    first, _, second = pair.partition(' -> ')
    return first, second


class Edge(Limits):
    """What must hold for one edge of the tree, parent -> child."""

    limit_keys = ('rate', 'gap', 'age', 'static')

    basis: Literal['source', 'header', 'arrival'] = 'source'
    """Which time rate and gap are about: of sending, in the header, of arrival."""
    rate: Rate | None = None
    """How often the edge is published on /tf."""
    gap: Gap | None = None
    """The longest time without it."""
    age: Age | None = None
    """Reception minus header.stamp."""
    static: OnlyTrue | None = None
    """The edge is published on /tf_static and not on /tf, and only ever with one value."""

    @field_validator('gap')
    @classmethod
    def _gap_fits_rate(cls, gap: Gap, info: ValidationInfo) -> Gap:
        return gap_fits_rate(gap, info)

    @model_validator(mode='after')
    def _static_has_no_rate(self) -> Edge:
        found: list[Finding] = [
            ((key,), f'a static edge is published once, so it has no {key}')
            for key in ('rate', 'gap', 'age') if self.static and getattr(self, key) is not None
        ]
        if found:
            raise wrong_all(found)
        return self


class NumberRange(Limits):
    """Bounds of a number, both included."""

    min: Number | None = None
    """Lowest allowed value."""
    max: Number | None = None
    """Highest allowed value."""


class AngleRange(Limits):
    """Bounds of an angle, both included, in degrees if no unit is written."""

    min: Angle | None = None
    """Lowest allowed angle, such as -5 or "-0.1 rad"."""
    max: Angle | None = None
    """Highest allowed angle."""

    @field_validator('max')
    @classmethod
    def _within_a_turn(cls, maximum: float | None, info: ValidationInfo) -> float | None:
        minimum = info.data.get('min')
        if minimum is not None and maximum is not None and maximum - minimum >= 360.0:
            raise wrong('min and max are a whole turn apart, so every angle passes')
        return maximum


class TransformLimits(Limits):
    """Bounds on the pose of the second frame in the first, whenever it changes."""

    limit_keys = ('x', 'y', 'z', 'distance', 'roll', 'pitch', 'yaw', 'rotation')

    x: NumberRange | None = None
    """Along the first frame's x axis, in m."""
    y: NumberRange | None = None
    """Along its y axis, in m."""
    z: NumberRange | None = None
    """Along its z axis, in m."""
    distance: NumberRange | None = None
    """Between the origins, in m."""
    roll: AngleRange | None = None
    """About the first frame's fixed x axis (REP 103), from -180 to 180 degrees."""
    pitch: AngleRange | None = None
    """About its fixed y axis, from -90 to 90 degrees."""
    yaw: AngleRange | None = None
    """About its fixed z axis; between min and max also beyond 180 degrees."""
    rotation: AngleRange | None = None
    """The whole angle between the frames, from 0 to 180 degrees."""


class Tf(Limits):
    """What must hold for /tf and /tf_static."""

    limit_keys = ('frames', 'connected', 'single_parent', 'edges', 'transforms')

    frames: Frames | None = None
    """Frames that are in the tree at some time of the run."""
    connected: OnlyTrue | None = None
    """At the end all frames form one tree."""
    single_parent: OnlyTrue | None = None
    """No frame ever has two parents."""
    edges: dict[FramePair, Edge] = Field(default_factory=dict)
    """Checks on single edges, by parent -> child."""
    transforms: dict[FramePair, TransformLimits] = Field(default_factory=dict)
    """Bounds on the pose of a frame in another, through any number of edges."""

    def limits(self) -> Iterator[str]:
        """Yield the keys of the checks; empty mappings are none."""
        return (key for key in super().limits() if getattr(self, key) != {})
