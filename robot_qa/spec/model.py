"""What a spec may say. The JSON Schema for editors is made from these classes."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from robot_qa.quantities import Ratio
from robot_qa.spec.frames import Tf
from robot_qa.spec.graph import Graph, NodeChecks
from robot_qa.spec.hardware import Allowed, VelocityLimits, hardware_findings, limit_findings
from robot_qa.spec.logs import Diagnostics, Logs
from robot_qa.spec.marks import KeyPath
from robot_qa.spec.parts import Finding, Limits, Part, wrong, wrong_all
from robot_qa.spec.paths import Path, path_findings
from robot_qa.spec.perception import Perception, perception_findings
from robot_qa.spec.resources import Resource, resource_findings
from robot_qa.spec.rules import Rule
from robot_qa.spec.scenario import Step
from robot_qa.spec.scenario_order import (
    expectation_findings,
    name_of,
    order_findings,
    process_findings,
)
from robot_qa.spec.schema import for_editors
from robot_qa.spec.services import Action, Service
from robot_qa.spec.stages import Stages
from robot_qa.spec.system import System
from robot_qa.spec.topics import Topic
from robot_qa.spec.values import (
    Identifier,
    PositiveDuration,
    ProcessName,
    RosName,
    Scalar,
    Whole,
)


class TestSpec(Part):
    """What must hold on a robot, and how to bring the robot up."""

    __test__: ClassVar[bool] = False

    robot_qa: Literal[1]
    """Version of this format."""
    name: str
    """Name of the test, for reports and for the run's folder."""
    description: str = ''
    """What the test is about."""
    duration: PositiveDuration
    """How long to watch, such as 60 s."""
    timeout: PositiveDuration | None = None
    """Longest time on the wall clock for the whole run, start and stop included."""
    clock: Literal['ros', 'system'] | None = None
    """The clock of durations: ros follows /clock and is the default under a simulator."""
    confidence: Annotated[Ratio, Field(gt=0.5, lt=1)] = 0.95
    """Confidence of statistical verdicts, above 50 % and below 100 %; 95 % if left out."""
    inconclusive: Literal['fail', 'skip'] = 'fail'
    """What an undecided check counts as in JUnit."""
    stop_when_decided: bool = False
    """End the run as soon as every check is decided; bounds then hold at any time."""
    min_duration: PositiveDuration | None = None
    """How long hard limits have to hold before stop_when_decided may end the run."""
    parameters: dict[Identifier, Scalar] = Field(default_factory=dict)
    """Values that the spec uses as ${name} and --set name=value replaces."""
    system: System | None = None
    """What to start, and what to wait for."""
    topics: dict[RosName, Topic] = Field(default_factory=dict)
    """Checks by topic."""
    rules: dict[Identifier, Rule] = Field(default_factory=dict)
    """What must hold over time, between fields of one or several topics."""
    tf: Tf | None = None
    """Checks on the tf tree."""
    logs: Logs | None = None
    """Checks on what nodes log."""
    diagnostics: Diagnostics | None = None
    """Checks on /diagnostics."""
    nodes: dict[RosName, NodeChecks] = Field(default_factory=dict)
    """Checks by node, under its full name."""
    graph: Graph | None = None
    """Checks on all nodes and topics."""
    services: dict[RosName, Service] = Field(default_factory=dict)
    """Checks by service."""
    actions: dict[RosName, Action] = Field(default_factory=dict)
    """Checks by action."""
    paths: dict[Identifier, Path] = Field(default_factory=dict)
    """Latency from one topic to another, by a name for the path."""
    stages: dict[RosName, Stages] = Field(default_factory=dict)
    """How long the stages of model nodes take, by the topic on which a node tells."""
    resources: dict[ProcessName, Resource] = Field(default_factory=dict)
    """What processes and the machine may use, by the name of the process, or machine."""
    perception: dict[Identifier, Perception] = Field(default_factory=dict)
    """How accurate predictions have to be, by a name for their source."""
    seed: Whole = 0
    """From which random times and faults are drawn; 0 if left out."""
    scenario: list[Step] = Field(default_factory=list)
    """What goes wrong during the run, and when."""
    allow: list[Allowed] = Field(default_factory=list)
    """What the run may do to a robot that it has not started; it also takes --armed."""
    velocity_limits: dict[RosName, VelocityLimits] = Field(default_factory=dict)
    """The most that we command, by the topic of the commands."""

    @property
    def on_ros_time(self) -> bool:
        """Whether durations follow /clock."""
        simulator = self.system.simulator if self.system else None
        simulated = simulator is not None and simulator.simulates
        return self.clock == 'ros' or (self.clock is None and simulated)

    @property
    def slug(self) -> str:
        """The name as part of a folder name: words joined by ``-``, at most 60 characters."""
        return re.sub(r'\W+', '-', self.name).strip('-')[:60]

    @field_validator('robot_qa', mode='before')
    @classmethod
    def _version_is_a_number(cls, version: Any) -> Any:
        if version is True:  # which equals 1 to Python
            raise wrong('1, the version of this format, was expected')
        return version

    @field_validator('name')
    @classmethod
    def _name_fits_a_folder(cls, name: str) -> str:
        if not name.isprintable() or not re.search(r'[^\W_]', name) or len(name) > 120:
            raise wrong('a name of at most 120 characters with a letter or digit was expected')
        return name

    @field_validator('timeout')
    @classmethod
    def _timeout_beyond_duration(cls, timeout: int, info: ValidationInfo) -> int:
        if timeout <= info.data.get('duration', 0):
            raise wrong('the timeout must be longer than the duration')
        return timeout

    @field_validator('min_duration')
    @classmethod
    def _min_duration_is_needed(cls, least: int, info: ValidationInfo) -> int:
        if not info.data.get('stop_when_decided'):
            raise wrong('min_duration belongs to "stop_when_decided: true"')
        if least > info.data.get('duration', math.inf):
            raise wrong('min_duration is longer than the duration of the run')
        return least

    @field_validator('topics')
    @classmethod
    def _windows_fit(cls, topics: dict[str, Topic], info: ValidationInfo) -> dict[str, Topic]:
        duration = info.data.get('duration', math.inf)
        found: list[Finding] = [
            ((name, 'rate', 'window'), 'the window is longer than the duration of the run')
            for name, topic in topics.items() if topic.rate and topic.rate.window > duration
        ]
        if found:
            raise wrong_all(found)
        return topics

    @field_validator('tf')
    @classmethod
    def _edge_windows_fit(cls, tf: Tf, info: ValidationInfo) -> Tf:
        duration = info.data.get('duration', math.inf)
        found: list[Finding] = [
            (('edges', pair, 'rate', 'window'),
             'the window is longer than the duration of the run')
            for pair, edge in tf.edges.items() if edge.rate and edge.rate.window > duration
        ]
        if found:
            raise wrong_all(found)
        return tf

    @field_validator('rules')
    @classmethod
    def _spans_fit(cls, rules: dict[str, Rule], info: ValidationInfo) -> dict[str, Rule]:
        duration = info.data.get('duration', math.inf)
        found: list[Finding] = [
            ((name, key), f'"{key}" is longer than the duration of the run')
            for name, rule in rules.items()
            for key, span in (('within', rule.within), ('for', rule.for_))
            if span is not None and span > duration
        ]
        if found:
            raise wrong_all(found)
        return rules

    @field_validator('nodes')
    @classmethod
    def _deadlines_fit(
        cls, nodes: dict[str, NodeChecks], info: ValidationInfo
    ) -> dict[str, NodeChecks]:
        duration = info.data.get('duration', math.inf)
        found: list[Finding] = [
            ((name, 'lifecycle', 'within'), '"within" is not below the duration of the run')
            for name, node in nodes.items()
            if node.lifecycle and (node.lifecycle.within or 0) >= duration
        ]
        if found:
            raise wrong_all(found)
        return nodes

    @field_validator('scenario')
    @classmethod
    def _steps_fit(cls, steps: list[Step], info: ValidationInfo) -> list[Step]:
        found: list[Finding] = []
        if 'duration' in info.data:
            found += order_findings(steps, info.data['duration'])
        if 'system' in info.data:
            found += process_findings(steps, info.data['system'])
        if found:
            raise wrong_all(found)
        return steps

    @model_validator(mode='after')
    def _is_allowed(self) -> TestSpec:
        if found := [*hardware_findings(self), *limit_findings(self)]:
            raise wrong_all(found)
        return self

    @model_validator(mode='after')
    def _paths_fit(self) -> TestSpec:
        if found := list(path_findings(self.paths, self.on_ros_time, self.duration)):
            raise wrong_all([(('paths', *path), reason) for path, reason in found])
        return self

    @field_validator('resources')
    @classmethod
    def _processes_are_there(
        cls, resources: dict[str, Resource], info: ValidationInfo
    ) -> dict[str, Resource]:
        if not {'system', 'duration'} <= info.data.keys():
            return resources
        found = list(resource_findings(resources, info.data['system'], info.data['duration']))
        if found:
            raise wrong_all(found)
        return resources

    @model_validator(mode='after')
    def _slices_are_there(self) -> TestSpec:
        if found := list(perception_findings(self.perception, self.scenario)):
            raise wrong_all([(('perception', *path), reason) for path, reason in found])
        return self

    @model_validator(mode='after')
    def _expected_checks_are_there(self) -> TestSpec:
        names = [name for name, _ in _declared_elsewhere(self)]
        if found := list(expectation_findings(self.scenario, names)):
            raise wrong_all([(('scenario', *path), reason) for path, reason in found])
        return self

    @model_validator(mode='after')
    def _early_end_has_a_least_duration(self) -> TestSpec:
        if self.stop_when_decided and self.min_duration is None:
            raise wrong('min_duration is missing: how long hard limits have to hold at least',
                        'stop_when_decided')
        return self

    @model_validator(mode='after')
    def _has_checks(self) -> TestSpec:
        if next(_declared_elsewhere(self), None) is None:
            raise wrong('nothing is checked; write at least one check under "topics", "rules", '
                        '"nodes", "graph", "services", "actions", "paths", "stages", "resources", '
                        '"perception", "tf", "logs" or "diagnostics"')
        return self


def declared_checks(spec: TestSpec) -> Iterator[tuple[str, KeyPath]]:
    """Yield the dotted name of every check and its path in the spec.

    Each step of a scenario is one, scenario.NAME or scenario.0, and so is all that it expects.
    """
    yield from _declared_elsewhere(spec)
    for index, step in enumerate(spec.scenario):
        name, path = f'scenario.{name_of(spec.scenario, index)}', ('scenario', index)
        yield name, path
        for key in ('recovers', 'holds_during', 'expected_to_fail'):
            if getattr(step, key) is not None:
                yield f'{name}.{key}', (*path, key)


def _declared_elsewhere(spec: TestSpec) -> Iterator[tuple[str, KeyPath]]:
    """Yield the checks that hold with or without a scenario."""
    for part in ('topics', 'nodes', 'graph', 'services', 'actions', 'paths', 'stages',
                 'resources', 'perception', 'tf', 'logs', 'diagnostics'):
        for path in _leaves(getattr(spec, part), (part,)):
            yield '.'.join(map(str, path)), path
    for name in spec.rules:
        yield f'rules.{name}', ('rules', name)


def _leaves(value: Any, path: KeyPath) -> Iterator[KeyPath]:
    if isinstance(value, Limits):
        for key in value.limits():
            yield from _leaves(getattr(value, key), (*path, key))
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, (*path, key))
    elif value is not None:
        yield path


def json_schema() -> dict[str, Any]:
    """Return the spec's JSON Schema (draft 2020-12), which also admits ``${parameter}``."""
    return {
        '$schema': 'https://json-schema.org/draft/2020-12/schema',
        '$id': 'urn:robot_qa:spec:1',
        **for_editors(TestSpec.model_json_schema()),
        'title': 'robot_qa spec',
    }
