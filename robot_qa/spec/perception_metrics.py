"""The metrics of each perception task, and the limits that each of them takes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, GetJsonSchemaHandler, create_model
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from robot_qa.errors import did_you_mean
from robot_qa.quantities import Ratio
from robot_qa.spec.frames import Angle
from robot_qa.spec.parts import Limits
from robot_qa.spec.shorthand import Short
from robot_qa.spec.values import Number, Whole


class Bare(Short):
    """`Short` for limits that occur often, which the JSON Schema keeps in one place."""

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {'anyOf': [{'type': ['number', 'string']}, handler(schema)]}


class AtLeast(Limits):
    """A share that must not be lower."""

    limit_keys = ('min',)

    min: Ratio
    """Lowest share, such as 0.8 or 80 %."""


class AtMost(Limits):
    """A share that must not be higher."""

    limit_keys = ('max',)

    max: Ratio
    """Highest share, such as 0.1 or 10 %."""


class MostNumber(Limits):
    """A number that must not be higher."""

    limit_keys = ('max',)

    max: Annotated[Number, Field(ge=0)]
    """Highest value."""


class MostAngle(Limits):
    """An angle that must not be larger, in degrees if no unit is written."""

    limit_keys = ('max',)

    max: Annotated[Angle, Field(ge=0)]
    """Largest angle, such as 2 or "0.03 rad"."""


class MostTimes(Limits):
    """A number of times that must not be exceeded."""

    limit_keys = ('max',)

    max: Whole
    """How many times at most."""


@dataclass(frozen=True)
class Metric:
    """What a metric's limit is about: the unit it is shown in, and which side is good.

    ``counted`` marks a plain count, which needs no bounds.
    """

    doc: str
    unit: str = 'ratio'
    counted: bool = False

    @property
    def side(self) -> Literal['min', 'max']:
        """The side of its limits."""
        return 'min' if self.limits is AtLeast else 'max'

    @property
    def limits(self) -> type[Limits]:
        """The class of its limits."""
        if self.counted:
            return MostTimes
        kinds: dict[str, type[Limits]] = {
            'ratio': AtLeast, 'error': AtMost, 'deg': MostAngle, 'deg/m': MostAngle}
        return kinds.get(self.unit, MostNumber)

    @property
    def shown_unit(self) -> str:
        """The unit of a measurement."""
        return 'ratio' if self.unit == 'error' else self.unit


_FOUND = {
    'recall': Metric('Share of the true objects that are found, at "score" and "iou".'),
    'precision': Metric('Share of the detections that are right, at "score" and "iou".'),
    'f1': Metric('Harmonic mean of precision and recall.'),
}
METRICS: dict[str, dict[str, Metric]] = {
    'detection_2d': {
        'map': Metric('Mean average precision over classes and IoU 0.5 to 0.95 (COCO).'),
        'map_50': Metric('Mean average precision over classes at an IoU of 0.5.'),
        'map_75': Metric('Mean average precision over classes at an IoU of 0.75.'),
        'ap': Metric('Mean average precision over classes at "iou".'),
        'ar': Metric('Mean recall over classes and IoU 0.5 to 0.95, of 100 detections (COCO).'),
        **_FOUND,
        'ece': Metric('Expected calibration error of the scores.', 'error'),
    },
    'detection_3d': {
        'map': Metric('Mean average precision over classes and IoU 0.25, 0.5 and 0.7; with '
                      '"centre_distance" over 0.5, 1, 2 and 4 m (nuScenes).'),
        'map_25': Metric('Mean average precision over classes at an IoU of 0.25.'),
        'map_50': Metric('Mean average precision over classes at an IoU of 0.5.'),
        'map_70': Metric('Mean average precision over classes at an IoU of 0.7.'),
        'ap': Metric('Mean average precision over classes at "iou" or "centre_distance".'),
        **_FOUND,
    },
    'tracking': {
        'hota': Metric('Higher order tracking accuracy.'),
        'idf1': Metric('Share of objects found under the one id that suits their track best.'),
        'mota': Metric('1 - (misses + false alarms + identity switches) / true objects.'),
        'motp': Metric('Mean IoU of the matches.'),
        'switches': Metric('How often a true object was found under another id.', 'switches',
                           counted=True),
        'fragmentations': Metric('How often a true track was lost and found again.',
                                 'fragmentations', counted=True),
    },
    'odometry': (_TRAJECTORY := {
        'ate': Metric('Root mean square of the distance to the true position.', 'm'),
        'ate_rotation': Metric('Root mean square of the angle to the true orientation.', 'deg'),
        'rpe': Metric('Root mean square error of the motion over "delta" poses.', 'm'),
        'rpe_rotation': Metric('The same of the rotation.', 'deg'),
        'drift': Metric('Error in m for each m of the way.', 'error'),
        'drift_rotation': Metric('Error in degrees for each m of the way.', 'deg/m'),
    }),
    'localisation': _TRAJECTORY,
    'depth': {
        'abs_rel': Metric('Mean of |predicted - true| / true.', ''),
        'sq_rel': Metric('Mean of (predicted - true)^2 / true.', 'm'),
        'rmse': Metric('Root mean square error.', 'm'),
        'log_rmse': Metric('Root mean square error of the logarithms.', ''),
        'silog': Metric('Scale-invariant logarithmic error.', ''),
        'delta_1': Metric('Share of the pixels within a factor of 1.25.'),
        'delta_2': Metric('Share of the pixels within a factor of 1.25^2.'),
        'delta_3': Metric('Share of the pixels within a factor of 1.25^3.'),
        'coverage': Metric('Share of the pixels with a true depth that have a predicted one.'),
    },
    'classification': {
        'accuracy': Metric('Share of the samples whose surest class is the true one.'),
        **{f'top_{n}': Metric(f'Share of the samples whose true class is among the surest {n}.')
           for n in range(2, 11)},
        'precision': Metric('Mean precision over the classes.'),
        'recall': Metric('Mean recall over the classes.'),
        'f1': Metric('Mean F1 over the classes.'),
        'ece': Metric('Expected calibration error of the score of the surest class.', 'error'),
    },
    'segmentation': {
        'pixel_accuracy': Metric('Share of the pixels with the true label.'),
        'mean_iou': Metric('Mean intersection over union over the classes.'),
        'mean_dice': Metric('Mean Dice coefficient over the classes.'),
    },
}


class MetricLimits(Limits):
    """Limits on metrics, by the name of the metric."""

    task: ClassVar[str]

    @classmethod
    def key_refusal(cls, key: str) -> str | None:
        """Say which metrics this task has, and which task has the metric."""
        known = [field.alias or name for name, field in cls.model_fields.items()]
        if key in known:
            return None
        others = [task for task, metrics in METRICS.items() if key in metrics]
        hint = did_you_mean(key, known) or (
            f'; it is one of {" and ".join(others)}' if others else '')
        return (f'unknown metric "{key}" of the task {cls.task}{hint} '
                f'(valid here: {", ".join(known)})')


@cache
def metric_limits(task: str) -> type[MetricLimits]:
    """Return the class of ``{map_50: {min: 0.8}}``."""
    return _made(task, 'Metrics', {
        name: (metric.limits, Bare(metric.side), metric.doc)
        for name, metric in METRICS[task].items()
    })


@cache
def metric_drops(task: str) -> type[MetricLimits]:
    """Return the class of ``{map_50: {max: 15 %}}``, by how much metrics may get worse."""
    return _made(task, 'Drops', {
        name: (AtMost, Bare('max'), f'By which part it may get worse. {metric.doc}')
        for name, metric in METRICS[task].items() if not metric.counted
    })


def metric_slices(task: str, base: type[MetricLimits]) -> type[MetricLimits]:
    """Return the class of limits on metrics in a slice, with what ``base`` has besides."""
    return _made(task, 'Slice', {
        name: (metric.limits, Bare(metric.side), metric.doc)
        for name, metric in METRICS[task].items()
    }, base)


def _made(
    task: str, suffix: str, members: dict[str, tuple[type[Limits], Short, str]],
    base: type[MetricLimits] = MetricLimits,
) -> type[MetricLimits]:
    fields: dict[str, Any] = {
        name: (Annotated[kind, short] | None, Field(None, description=doc))
        for name, (kind, short, doc) in members.items()
    }
    camel = ''.join(word.capitalize() for word in task.split('_'))
    made = create_model(
        f'{camel}{suffix}', __base__=base, __module__=__name__,
        __doc__=f'Limits on the metrics of the task {task}.', **fields)
    made.task = task
    made.limit_keys = tuple(members)
    return made
