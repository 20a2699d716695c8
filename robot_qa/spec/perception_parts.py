"""Parts of the perception block: message types, association in time, and slices of objects."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from robot_qa.errors import did_you_mean
from robot_qa.quantities import Ratio
from robot_qa.spec.parts import Finding, Limits, Part, wrong
from robot_qa.spec.values import Number, PositiveDuration, Texts

# The message types that a task reads by itself, the first one being the usual.
TYPES = {
    'detection_2d': ('vision_msgs/msg/Detection2DArray',),
    'detection_3d': ('vision_msgs/msg/Detection3DArray',),
    'tracking': ('vision_msgs/msg/Detection2DArray',),
    'odometry': ('nav_msgs/msg/Odometry', 'geometry_msgs/msg/PoseStamped',
                 'geometry_msgs/msg/PoseWithCovarianceStamped'),
    'localisation': ('nav_msgs/msg/Odometry', 'geometry_msgs/msg/PoseStamped',
                     'geometry_msgs/msg/PoseWithCovarianceStamped'),
    'depth': ('sensor_msgs/msg/Image',),
    'classification': ('vision_msgs/msg/Classification',),
    'segmentation': ('sensor_msgs/msg/Image',),
}
INTERPOLATED = ('detection_2d', 'tracking', 'odometry', 'localisation')
# What "fields" may map, by task; of each group in brackets all or none.
FIELDS: dict[str, tuple[tuple[str, ...], ...]] = {
    'detection_2d': (('x', 'y', 'width', 'height'), ('left', 'top', 'right', 'bottom')),
    'tracking': (('x', 'y', 'width', 'height'), ('left', 'top', 'right', 'bottom')),
    'odometry': (('position', 'orientation'),), 'localisation': (('position', 'orientation'),),
    'classification': (('label',),),
}
OPTIONAL_FIELDS: dict[str, tuple[str, ...]] = {
    'detection_2d': ('label', 'score', 'id'), 'tracking': ('label', 'score', 'id'),
    'classification': ('score',),
}
# COCO's ranges of area in px^2.
SIZES = {'small': (0.0, 32.0**2), 'medium': (32.0**2, 96.0**2), 'large': (96.0**2, 1e10)}


def _size(value: Any) -> Any:
    if isinstance(value, str) and value in SIZES:
        low, high = SIZES[value]
        return {'min': low, 'max': high}
    if isinstance(value, str):
        raise wrong(f'"{value}" is none of {", ".join(SIZES)}{did_you_mean(value, SIZES)}; or '
                    'write the area as {min: 1024} in px^2')
    return value


def or_words(*words: str) -> Callable[[dict[str, Any]], None]:
    """Let the JSON Schema admit words in place of the mapping."""
    def admit(schema: dict[str, Any]) -> None:
        _widen(schema, {'type': 'string', 'enum': list(words)})

    return admit


def _widen(schema: dict[str, Any], other: dict[str, Any]) -> None:
    """Let a schema admit another form; what is said about the value stays outside of both."""
    said: dict[str, Any] = {
        key: schema.pop(key) for key in ('description', 'default') if key in schema}
    form = dict(schema)
    schema.clear()
    schema.update(said)
    schema['anyOf'] = [other, form]


def one_or_several(value: Any) -> Any:
    """Let one stand for a list of one."""
    return value if isinstance(value, list) else [value]


def or_one(schema: dict[str, Any]) -> None:
    """Let the JSON Schema of a list admit one of its items."""
    _widen(schema, schema['items'])


class Span(Limits):
    """A range of numbers, both ends included."""

    min: Annotated[Number, Field(ge=0)] | None = None
    """Lowest value."""
    max: Annotated[Number, Field(ge=0)] | None = None
    """Highest value."""


class Share(Limits):
    """A range of shares, both ends included."""

    min: Ratio | None = None
    """Lowest share, such as 30 %."""
    max: Ratio | None = None
    """Highest share, such as 80 %."""


class Where(Part):
    """Which objects, or pixels, a slice is about; of several keys, what fits all of them."""

    class_: Texts | None = Field(None, alias='class')
    """The name of a class, or several."""
    distance: Span | None = None
    """From the origin of the truth's frame, in m, where the truth has positions."""
    size: Annotated[
        Span, BeforeValidator(_size), Field(json_schema_extra=or_words(*SIZES))
    ] | None = None
    """The area of the true box in px^2, or small, medium or large as in COCO."""
    side: Span | None = None
    """The shorter side of the true box in px."""
    occlusion: Share | None = None
    """The share of the object that others hide, where the truth tells."""
    truncation: Share | None = None
    """The share of the object that is outside the picture, where the truth tells."""

    @model_validator(mode='after')
    def _something(self) -> Where:
        if not self.model_fields_set:
            raise wrong('nothing is chosen here (valid: class, distance, size, side, '
                        'occlusion, truncation)')
        return self


class Association(Part):
    """Which truth belongs to a prediction; one of the three."""

    exact: Literal[True] | None = None
    """That with the very same header.stamp."""
    nearest: PositiveDuration | None = None
    """That with the nearest header.stamp, at most so far away."""
    interpolate: PositiveDuration | None = None
    """What lies between two true messages, at most so far from one another, at its stamp."""

    @model_validator(mode='after')
    def _one(self) -> Association:
        if len(self.model_fields_set) != 1:
            raise wrong('exactly one of exact, nearest and interpolate was expected')
        return self


def association_word(value: Any) -> Any:
    """Let the word exact stand for its mapping."""
    return {'exact': True} if value == 'exact' else value


def field_findings(task: str, given: Collection[str]) -> Iterator[Finding]:
    """Yield what is wrong with the names of mapped fields."""
    if not given:
        return
    groups = FIELDS.get(task, ())
    known = ['stamp', *(name for group in groups for name in group),
             *OPTIONAL_FIELDS.get(task, ())]
    if not groups:
        yield (), f'the task {task} reads no other types than {" and ".join(TYPES[task])}'
        return
    unknown = [name for name in given if name not in known]
    for name in unknown:
        yield (name,), (f'"{name}" is nothing that {task} needs{did_you_mean(name, known)} '
                        f'(valid here: {", ".join(known)})')
    if unknown:
        return
    complete = [group for group in groups if set(group) <= set(given)]
    if len(complete) != 1:
        choices = ', or '.join(' and '.join(group) for group in groups)
        yield (), f'{"exactly one of " if len(groups) > 1 else ""}{choices} was expected'
