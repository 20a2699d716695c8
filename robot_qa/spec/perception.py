"""How accurate predictions have to be, compared with the truth, and in which slices of the run."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Annotated, Any, ClassVar, Literal, Union

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    Tag,
    create_model,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from robot_qa.errors import did_you_mean
from robot_qa.quantities import DurationNs, Ratio
from robot_qa.spec.parts import Finding, Limits, wrong, wrong_all
from robot_qa.spec.perception_metrics import (
    METRICS,
    AtMost,
    Bare,
    MetricLimits,
    metric_drops,
    metric_limits,
    metric_slices,
)
from robot_qa.spec.perception_parts import (
    INTERPOLATED,
    TYPES,
    Association,
    Where,
    association_word,
    field_findings,
    one_or_several,
    or_one,
    or_words,
)
from robot_qa.spec.scenario import Step
from robot_qa.spec.values import (
    FieldPath,
    Identifier,
    MessageType,
    NonEmpty,
    Number,
    RosName,
    Whole,
)

NOMINAL = 'nominal'
POSES = ('odometry', 'localisation')
MOST_UNANSWERED = 0.1
# By what a slice of the objects (or pixels) of a task may choose.
_CHOICES: dict[str, tuple[str, ...]] = {
    'detection_2d': ('class', 'distance', 'size', 'side', 'occlusion', 'truncation'),
    'detection_3d': ('class', 'distance'),
    'depth': ('distance',), 'classification': ('class',), 'segmentation': ('class',),
}


class Accuracy(Limits):
    """What must hold for one source of predictions."""

    limit_keys = ('metrics', 'slices', 'worst_slice', 'drop_from', 'unmatched', 'unanswered',
                  'left_out')
    kind: ClassVar[str]

    predictions: RosName
    """The topic of the predictions."""
    truth: RosName
    """The topic of the truth."""
    association: Annotated[
        Association, BeforeValidator(association_word), Field(json_schema_extra=or_words('exact'))
    ] = Association(exact=True)
    """Which truth belongs to a prediction, by header.stamp: exact (if left out), {nearest: 20 ms}
    or {interpolate: 100 ms}."""
    alike: DurationNs = 300_000_000
    """Frames nearer to one another are taken for one in all bounds; 300 ms if left out."""
    unmatched: Annotated[AtMost, Bare('max')] = AtMost(max=0.01)
    """The share of the predictions without a truth, or that cannot be read; 1 % if left out."""
    unanswered: Annotated[AtMost, Bare('max')] | None = None
    """The share of the true messages without a prediction; 10 % if left out, but for poses and
    with interpolate, where it has no limit then."""
    left_out: Annotated[AtMost, Bare('max')] = AtMost(max=0.0)
    """The share of the pairs that the monitor left out for lack of memory; 0 % if left out."""
    fields: dict[str, FieldPath] = Field(default_factory=dict)
    """Where to find what in predictions of another type, such as {label: objects[*].name, ...}."""
    truth_fields: dict[str, FieldPath] = Field(default_factory=dict)
    """The same for the truth."""
    # The classes of the tasks say what is in these.
    task: str
    metrics: Any = None
    slices: dict[str, Any] = Field(default_factory=dict)
    worst_slice: Any = None
    drop_from: dict[str, Any] = Field(default_factory=dict)

    def limits(self) -> Iterator[str]:
        """Yield the keys of the checks; empty mappings are none."""
        return (key for key in super().limits() if getattr(self, key) != {})

    @model_validator(mode='after')
    def _something_is_measured(self) -> Accuracy:
        if not any((self.metrics, self.slices, self.worst_slice, self.drop_from)):
            raise wrong('no metric is limited here; write metrics: {'
                        f'{next(iter(METRICS[self.kind]))}: ...}}')
        return self

    @model_validator(mode='after')
    def _interpolation_makes_sense(self) -> Accuracy:
        if self.association.interpolate and self.kind not in INTERPOLATED:
            raise wrong(f'the truth of {self.kind} cannot be interpolated; use nearest',
                        'association', 'interpolate')
        return self

    @model_validator(mode='after')
    def _answers_are_asked_for(self) -> Accuracy:
        if self.unanswered is None and self.kind not in POSES and not self.association.interpolate:
            # Not by assignment, after which it would count as written in the spec.
            self.__dict__['unanswered'] = AtMost(max=MOST_UNANSWERED)
        return self

    @model_validator(mode='after')
    def _fields_fit(self) -> Accuracy:
        found: list[Finding] = []
        for key in ('fields', 'truth_fields'):
            given = getattr(self, key)
            found += [((key, *path), reason) for path, reason in field_findings(self.kind, given)]
        if found:
            raise wrong_all(found)
        return self

    @model_validator(mode='after')
    def _type_fits(self) -> Accuracy:
        kind = getattr(self, 'type', None)
        if kind is not None and not self.fields and kind not in TYPES[self.kind]:
            raise wrong(f'the task {self.kind} reads {" or ".join(TYPES[self.kind])}', 'type')
        return self

    @model_validator(mode='after')
    def _classes_are_known(self) -> Accuracy:
        given = getattr(self, 'classes', None)
        if given is None:
            return self
        known = list(given.values() if isinstance(given, dict) else given)
        found: list[Finding] = [
            (('slices', name, 'where', 'class'),
             f'there is no class "{one}"{did_you_mean(one, known)}')
            for name, part in self.slices.items()
            for one in (part.where and part.where.class_) or () if one not in known
        ]
        if found:
            raise wrong_all(found)
        return self

    @model_validator(mode='after')
    def _not_itself(self) -> Accuracy:
        if self.predictions == self.truth:
            raise wrong('predictions and truth are the same topic', 'truth')
        return self


class _Objects(Accuracy):
    """What tasks with boxes take besides."""

    classes: Annotated[list[NonEmpty], Field(min_length=1)] | None = None
    """The names of the classes that count; all that occur if left out."""
    labels: dict[str, NonEmpty] = Field(default_factory=dict)
    """From the truth's class ids, in quotes, to names; an id not listed here is a name itself."""
    predicted_labels: dict[str, NonEmpty] = Field(default_factory=dict)
    """From the predictions' class ids to names, likewise."""
    ignore: Annotated[
        list[Where], BeforeValidator(one_or_several), Field(json_schema_extra=or_one)
    ] = Field(default_factory=list)
    """True objects that need not be found and may be, such as {occlusion: {min: 80 %}}; or a list,
    of which one has to fit."""
    score: Ratio = 0.5
    """The score from which a detection counts for recall, precision and F1; 0.5 if left out."""
    iou: Annotated[Ratio, Field(gt=0)] = 0.5
    """The overlap from which a box is found; 0.5 if left out."""


class _ObjectsInSpace(_Objects):
    """What boxes in space take besides."""

    centre_distance: Annotated[Number, Field(gt=0)] | None = None
    """A box is found if the centres are nearer than this, in m, whatever the overlap; as in
    nuScenes, whose average precision then counts."""

    @model_validator(mode='after')
    def _one_of_both(self) -> _ObjectsInSpace:
        if self.centre_distance is None:
            return self
        if 'iou' in self.model_fields_set:
            raise wrong('either iou or centre_distance was expected', 'iou')
        parts: dict[tuple[str, ...], Any] = {
            ('metrics',): self.metrics, ('worst_slice',): self.worst_slice,
            **{('slices', name): part for name, part in self.slices.items()},
            **{('drop_from', name): part for name, part in self.drop_from.items()},
        }
        found: list[Finding] = [
            ((*path, metric), f'{metric} is at an IoU; with centre_distance there are map and ap')
            for path, part in parts.items() if part is not None
            for metric in part.limits() if metric.startswith('map_')
        ]
        if found:
            raise wrong_all(found)
        return self


class _Poses(Accuracy):
    """What tasks with poses take besides."""

    alignment: Literal['none', 'se3', 'sim3'] | None = None
    """How the estimate is moved onto the truth first; se3 for odometry, none for localisation."""
    delta: Annotated[int, Field(ge=1, le=100_000)] = 1
    """Over how many poses the relative errors are; 1 if left out."""
    section: Annotated[Number, Field(gt=0)] = 1.0
    """Over how many metres drift is measured; 1 if left out."""


class _Images(Accuracy):
    """What segmentation takes besides."""

    classes: dict[str, NonEmpty]
    """From the label of a pixel, a whole number in quotes, to the name of the class."""
    ignore: list[Whole] = Field(default_factory=list)
    """Labels of true pixels that count nowhere, such as [255]."""

    @model_validator(mode='after')
    def _labels_are_numbers(self) -> _Images:
        found: list[Finding] = [
            (('classes', key), f'"{key}" is no label of a pixel; a whole number was expected')
            for key in self.classes if not (key.isascii() and key.isdigit())
        ]
        if found:
            raise wrong_all(found)
        return self


class _Classes(Accuracy):
    """What classification takes besides."""

    classes: Annotated[list[NonEmpty], Field(min_length=2)]
    """The names of the classes."""
    labels: dict[str, NonEmpty] = Field(default_factory=dict)
    """From the truth's class ids, in quotes, to names; an id not listed here is a name itself."""
    predicted_labels: dict[str, NonEmpty] = Field(default_factory=dict)
    """From the predictions' class ids to names, likewise."""


class _Depth(Accuracy):
    """What depth takes besides."""

    nearest: Annotated[Number, Field(ge=0)] = 0.0
    """True depths below, in m, are not evaluated; 0 if left out."""
    farthest: Annotated[Number, Field(gt=0)] | None = None
    """True depths beyond, in m, are not evaluated; no limit if left out."""


_BASES: dict[str, type[Accuracy]] = {
    'detection_2d': _Objects, 'detection_3d': _ObjectsInSpace, 'tracking': _Objects,
    'odometry': _Poses, 'localisation': _Poses, 'depth': _Depth, 'classification': _Classes,
    'segmentation': _Images,
}
class _Slice(MetricLimits):
    """Limits on metrics in a part of the run, or of the objects."""

    where: Where | None = None
    """Which objects it is about; without it, the time in which steps of the scenario with this
    label last."""

    @model_validator(mode='after')
    def _at_least_one(self) -> _Slice:
        if not list(self.limits()) and self.where is None:
            raise wrong(f'nothing is checked here (valid: {", ".join(self.limit_keys)})')
        for key in self.where.model_fields_set if self.where else ():
            name = key.rstrip('_')
            if name not in (choices := _CHOICES.get(self.task, ())):
                valid = f' (valid: {", ".join(choices)})' if choices else ''
                raise wrong(f'the task {self.task} has no slices by {name}{valid}', 'where', name)
        return self


@cache
def class_of(task: str) -> type[Accuracy]:
    """Return the class of what must hold for predictions of a task."""
    metrics, drops, part = metric_limits(task), metric_drops(task), metric_slices(task, _Slice)
    fields: dict[str, Any] = {
        'task': (Literal[task], Field(task, description='What is predicted.')),
        'type': (MessageType | None, Field(None, description='The message type, such as '
                                           f'{TYPES[task][0]}; found out if left out.')),
        'metrics': (metrics | None, Field(None, description='Limits over the whole run.')),
        'slices': (dict[Identifier, part], Field(  # type: ignore[valid-type]
            default_factory=dict, description='Limits in parts of it, by the name of the slice.')),
        'worst_slice': (metrics | None, Field(
            None, description='Limits in the worst of all slices: those listed here, and those '
            'that the scenario labels.')),
        'drop_from': (dict[Identifier, drops], Field(  # type: ignore[valid-type]
            default_factory=dict, description='By which part metrics may be worse in a slice of '
            'the scenario than in this one, such as nominal, which is the time outside all.')),
    }
    made = create_model(
        metrics.__name__.replace('Metrics', 'Accuracy'), __base__=_BASES[task],
        __module__=__name__, __doc__=f'What must hold for predictions of the task {task}.',
        **fields)
    made.kind = task
    return made


def _task_of(value: Any) -> str:
    """Return the task that is named or, without a name, the one that fits the type."""
    if not isinstance(value, dict):
        return str(getattr(value, 'kind', 'detection_2d'))
    task = value.get('task')
    if isinstance(task, str):
        return task
    fitting = (task for task, types in TYPES.items() if value.get('type') in types)
    return next(fitting, 'detection_2d')


def _known_task(value: Any) -> Any:
    task = value.get('task', 'detection_2d') if isinstance(value, dict) else 'detection_2d'
    if not isinstance(task, str) or task not in METRICS:
        near = did_you_mean(str(task), METRICS)
        raise wrong(f'"{task}" is no task{near} (valid: {", ".join(METRICS)})', 'task')
    return value


class _ByTask:
    """Lets what is valid depend on the task."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        kinds = tuple(Annotated[class_of(task), Tag(task)] for task in METRICS)
        union = Annotated[
            Union[kinds], Discriminator(_task_of)]  # type: ignore[valid-type]  # noqa: UP007
        return core_schema.no_info_before_validator_function(
            _known_task, handler.generate_schema(union))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        made = dict(handler(schema))
        # What names no task may fit several of them.
        made['anyOf'] = made.pop('oneOf')
        return made


Perception = Annotated[Accuracy, _ByTask()]


def perception_findings(
    perception: dict[str, Accuracy], scenario: list[Step]
) -> Iterator[Finding]:
    """Yield the slices that the scenario has not; places count from the block."""
    labels = list(dict.fromkeys(step.slice for step in scenario if step.slice))
    for source, accuracy in perception.items():
        for path, reason in (*_slice_findings(accuracy, labels), *_lacking(accuracy, labels)):
            yield (source, *path), reason


def _slice_findings(accuracy: Accuracy, labels: list[str]) -> Iterator[Finding]:
    for name, part in accuracy.slices.items():
        known = name in (NOMINAL, *labels)
        if part.where is not None and known:
            yield ('slices', name), (
                f'"{name}" is a part of the run already; name this slice otherwise')
        elif part.where is None and not known:
            yield ('slices', name), (
                f'{_no_label(name, labels)}; a slice of the objects needs "where"')
    for base in accuracy.drop_from:
        if base not in (NOMINAL, *labels):
            yield ('drop_from', base), _no_label(base, labels)
        elif labels == [base]:
            yield ('drop_from', base), (
                f'"{base}" is the only slice of the scenario, so no other can be worse')


def _lacking(accuracy: Accuracy, labels: list[str]) -> Iterator[Finding]:
    """Yield what needs labels where there are none."""
    none = 'no step of the scenario has a slice: label'
    if accuracy.drop_from and not labels:
        yield ('drop_from',), f'{none}, so nothing can drop'
    if accuracy.worst_slice is not None and not labels and not accuracy.slices:
        yield ('worst_slice',), f'there are no slices: none under "slices", and {none}'


def _no_label(name: str, labels: list[str]) -> str:
    known = f' (labels: {", ".join(labels)})' if labels else ''
    near = did_you_mean(name, (NOMINAL, *labels))
    return f'no step of the scenario has "slice: {name}"{near}{known}'
