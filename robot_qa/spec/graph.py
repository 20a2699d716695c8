"""What must hold for nodes and for the graph between them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    field_validator,
)

from robot_qa.spec.fields import CountLimits
from robot_qa.spec.parts import Limits, Part, wrong
from robot_qa.spec.values import (
    NonEmpty,
    Number,
    OnlyTrue,
    PositiveDuration,
    RosName,
    Scalar,
    Whole,
)

if TYPE_CHECKING:
    from robot_qa.spec.model import TestSpec

OURS = '_robot_qa_'
LifecycleState = Literal['unconfigured', 'inactive', 'active', 'finalized']


class Restarts(Limits):
    """How often a node may come back with a new identity."""

    max: Whole
    """Highest number of restarts; 0 allows none."""


class Lifecycle(Part):
    """The state of a lifecycle node."""

    state: LifecycleState
    """The state that it has to be in."""
    within: PositiveDuration | None = None
    """From this time after the start on, such as 5 s; all the time if left out."""


def _state(value: Any) -> Any:
    return {'state': value} if isinstance(value, str) else value


def _or_state(schema: dict[str, Any]) -> None:
    mapping = dict(schema)
    schema.clear()
    states = ['unconfigured', 'inactive', 'active', 'finalized']
    schema['anyOf'] = [{'type': 'string', 'enum': states}, mapping]


class ParameterChecks(Limits):
    """What must hold for a parameter, at every reading, once a second."""

    limit_keys = ('min', 'max', 'equals', 'one_of')

    min: Number | None = None
    """Lowest allowed value."""
    max: Number | None = None
    """Highest allowed value."""
    equals: Scalar | None = None
    """The only allowed value."""
    one_of: Annotated[list[Scalar], Field(min_length=1)] | None = None
    """The allowed values."""

    @field_validator('equals', 'one_of')
    @classmethod
    def _fixed_needs_no_range(cls, value: Any, info: ValidationInfo) -> Any:
        others = [key for key in ('min', 'max', 'equals') if info.data.get(key) is not None]
        if others:
            raise wrong(f'{info.field_name} and {" and ".join(others)} contradict each other')
        return value


class NodeChecks(Limits):
    """What must hold for one node."""

    limit_keys = ('alive', 'restarts', 'lifecycle', 'parameters')

    alive: OnlyTrue | None = None
    """The node is in the graph from the beginning to the end; a killed one stays for its lease."""
    restarts: Restarts | None = None
    """How often it may come back with a new identity."""
    lifecycle: Annotated[
        Lifecycle, BeforeValidator(_state), Field(json_schema_extra=_or_state)
    ] | None = None
    """The state that it is in, such as active, or {state: active, within: 5 s}."""
    parameters: dict[NonEmpty, ParameterChecks] = Field(default_factory=dict)
    """Checks on parameters, by name."""

    def limits(self) -> Iterator[str]:
        """Yield the keys of the checks; an empty ``parameters`` is none."""
        return (key for key in super().limits() if getattr(self, key) != {})


def _form(value: Any) -> str:
    return 'list' if isinstance(value, list) else 'true'


class Graph(Limits):
    """What must hold for all nodes and topics."""

    limit_keys = ('unique_names', 'qos_compatible')

    unique_names: OnlyTrue | None = None
    """No two nodes have the same full name."""
    qos_compatible: Annotated[
        Annotated[OnlyTrue, Tag('true')]
        | Annotated[list[RosName], Field(min_length=1), Tag('list')],
        Discriminator(_form),
    ] | None = None
    """Every publisher can talk to every subscriber of its topic: true, or a list of topics."""


@dataclass(frozen=True)
class GraphInterest:
    """What of the graph somebody wants to know.

    ``topics`` None means all of them; ``least`` is how many publishers and subscribers a topic has
    to have, by topic; ``identities`` are the nodes to tell from their successors;
    ``parameters`` are the names to read, by node; ``lifecycles`` the nodes to ask for their state;
    ``nodes`` all that the spec names.
    """

    topics: tuple[str, ...] | None
    least: dict[str, tuple[int, int]]
    nodes: tuple[str, ...]
    identities: tuple[str, ...]
    parameters: dict[str, tuple[str, ...]]
    lifecycles: tuple[str, ...]


def is_ours(node: str) -> bool:
    """Tell whether a full node name is that of a monitor, which is no part of what is watched."""
    return node.rsplit('/', 1)[-1].startswith(OURS)


def graph_interest(spec: TestSpec) -> GraphInterest | None:
    """Return what has to be watched for a spec; None if no check is about the graph."""
    topics = {name for name, topic in spec.topics.items() if topic.about_graph}
    if not topics and not spec.nodes and spec.graph is None:
        return None
    wanted = spec.graph.qos_compatible if spec.graph else None
    topics.update(wanted if isinstance(wanted, list) else ())
    return GraphInterest(
        topics=None if wanted is True else tuple(sorted(topics)),
        least={
            name: (_least(topic.publishers), _least(topic.subscribers))
            for name, topic in spec.topics.items() if topic.about_graph
        },
        nodes=tuple(spec.nodes),
        identities=tuple(name for name, node in spec.nodes.items() if node.restarts),
        parameters={
            name: tuple(node.parameters) for name, node in spec.nodes.items() if node.parameters
        },
        lifecycles=tuple(name for name, node in spec.nodes.items() if node.lifecycle),
    )


def _least(limits: CountLimits | None) -> int:
    if limits is None or isinstance(limits, int):
        return limits or 0
    return limits.min or 0
