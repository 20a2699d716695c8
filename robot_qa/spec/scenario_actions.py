"""What a step of a scenario does to the simulator and to the system; faults have a module."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from robot_qa.quantities import Size
from robot_qa.spec.parts import Part, wrong
from robot_qa.spec.services import ActionType, ServiceType
from robot_qa.spec.shorthand import Vector
from robot_qa.spec.values import (
    ROS_NAME,
    MessageType,
    NonEmpty,
    PositiveFrequency,
    RosName,
    Scalar,
    check_file,
    ros_name_refusal,
)
from robot_qa.timebase import NS_PER_S

_MODEL_URI = 'model://'
_MODEL_FILES = ('.sdf', '.urdf', '.xml')
_PROCESS = '[A-Za-z0-9_-]+'
TWISTS = ('geometry_msgs/msg/Twist', 'geometry_msgs/msg/TwistStamped')
# How long a blow lasts: a whole number of the usual steps of physics, 1, 2, 4 and 5 ms, so that
# its impulse is the one that was asked for.
BLOW_NS = 20_000_000


def _model(model: str, info: ValidationInfo) -> str:
    if model.startswith(_MODEL_URI):
        parts = PurePath(model.removeprefix(_MODEL_URI)).parts
        if not parts or '..' in parts or parts[0] == '/':
            raise wrong(f'"{model}" names no model; write a URI such as model://crate')
        return model
    if '://' in model or PurePath(model).is_absolute() or model.startswith('~'):
        raise wrong(f'"{model}" is neither a path relative to the folder of the spec nor a URI '
                    'such as model://crate')
    return check_file(model, info, folder=PurePath(model).suffix not in _MODEL_FILES)


def _process_or_node(text: str) -> str:
    if text.startswith('/'):
        if not re.fullmatch(ROS_NAME, text):
            raise wrong(ros_name_refusal(text))
    elif not re.fullmatch(_PROCESS, text):
        raise wrong(f'"{text}" is neither a process name, of letters, digits, "_" and "-", nor '
                    'the full name of a node, such as /planner')
    return text


Factor = Annotated[float, Field(ge=0, le=10)]
ProcessOrNode = Annotated[str, AfterValidator(_process_or_node), WithJsonSchema(
    {'type': 'string', 'pattern': f'^({_PROCESS}|{ROS_NAME})$'})]


class Pose(Part):
    """Where something is."""

    xyz: Vector = Field(default_factory=lambda: [0.0, 0.0, 0.0])
    """Position in metres; the origin if left out."""
    rpy: Vector = Field(default_factory=lambda: [0.0, 0.0, 0.0])
    """Roll, pitch and yaw in degrees, about fixed axes; 0 if left out."""


class Spawn(Part):
    """Puts a model into the world; undone, it is taken out again."""

    name: NonEmpty
    """The name that it gets."""
    model: NonEmpty | None = None
    """A folder or SDF file relative to the spec, or a URI such as model://crate."""
    sdf: NonEmpty | None = None
    """The model as SDF text instead."""
    pose: Pose = Field(default_factory=Pose)
    """Where it appears; at the origin of the frame if left out."""
    frame: NonEmpty | None = None
    """The entity that the pose is relative to; the world if left out."""

    @field_validator('model')
    @classmethod
    def _model_is_there(cls, model: str, info: ValidationInfo) -> str:
        return _model(model, info)

    @model_validator(mode='after')
    def _one_of_both(self) -> Spawn:
        if (self.model is None) == (self.sdf is None):
            raise wrong('exactly one of model and sdf was expected')
        return self


class Move(Part):
    """Puts an entity somewhere else at once; undone, it goes back to where it was."""

    name: NonEmpty
    """The entity."""
    pose: Pose
    """Where to."""
    frame: NonEmpty | None = None
    """The entity that the pose is relative to; the world if left out."""


class Push(Part):
    """Pushes and turns an entity for a time; an impulse without a time is a blow."""

    name: NonEmpty
    """The entity."""
    link: NonEmpty | None = None
    """Its link; the canonical one if left out."""
    force: Vector | None = None
    """Force in newtons at the centre of mass of the link, along the axes of the world."""
    impulse: Vector | None = None
    """Instead of a force: impulse in newton seconds, spread over the time that the step lasts;
    without "for" over 20 ms."""
    torque: Vector | None = None
    """Torque in newton metres about the axes of the world."""

    @property
    def is_blow(self) -> bool:
        """Whether it needs no time that it lasts."""
        return self.impulse is not None and self.torque is None

    def force_over(self, ns: int) -> list[float] | None:
        """Return the force, in newtons, of a push that lasts ``ns``."""
        if self.impulse is None:
            return self.force
        return [component * NS_PER_S / ns for component in self.impulse]

    @model_validator(mode='after')
    def _does_something(self) -> Push:
        if self.force is None and self.impulse is None and self.torque is None:
            raise wrong('force, impulse or torque was expected, such as force: [20, 0, 0]')
        if self.force is not None and self.impulse is not None:
            raise wrong('force and impulse do not go together', 'impulse')
        return self


class Light(Part):
    """Makes all lights brighter or darker."""

    scale: Factor
    """How bright, as a factor on what the world says; 0 is dark."""


class Wind(Part):
    """Lets the wind blow."""

    velocity: Vector
    """Velocity of the air in m/s along the axes of the world."""


class Friction(Part):
    """Makes all surfaces smoother or rougher."""

    scale: Factor
    """How rough, as a factor on what the world says; 0 is ice."""


class Gravity(Part):
    """Changes gravity."""

    xyz: Vector
    """Acceleration in m/s^2 along the axes of the world, such as [0, 0, -9.81]."""


class Load(Part):
    """Takes CPU time and memory away from everything else on this machine, for a time."""

    cpu: Annotated[float, Field(gt=0, le=1024)] | None = None
    """How many cores to keep busy, such as 1.5."""
    memory: Annotated[Size, Field(gt=0)] | None = None
    """How much memory to fill, such as 500 MiB."""

    @model_validator(mode='after')
    def _does_something(self) -> Load:
        if self.cpu is None and self.memory is None:
            raise wrong('cpu or memory was expected, such as cpu: 1')
        return self


class Publish(Part):
    """Publishes a message, once or at a rate; a velocity command undone is one to stand still."""

    topic: RosName
    """The topic."""
    type: MessageType
    """The message type, such as std_msgs/msg/Bool."""
    message: dict[str, Any] = Field(default_factory=dict)
    """Fields of the message by name; the others keep their default values."""
    rate: Annotated[PositiveFrequency, Field(le=10_000)] | None = None
    """How often, until the step is undone; once if left out."""

    @property
    def is_velocity(self) -> bool:
        """Whether it is a command that a robot follows until the next one."""
        return self.type in TWISTS


class Call(Part):
    """Calls a service."""

    service: RosName
    """The service."""
    type: ServiceType
    """The service type, such as std_srvs/srv/Trigger."""
    request: dict[str, Any] = Field(default_factory=dict)
    """Fields of the request by name; the others keep their default values."""
    success: Literal[True, False, 'any'] = True
    """What an answer with a field success, such as that of Trigger, has to say there; any if it is
    no matter."""


class SendGoal(Part):
    """Sends a goal to an action; undone, the goal is cancelled."""

    action: RosName
    """The action."""
    type: ActionType
    """The action type, such as nav2_msgs/action/NavigateToPose."""
    goal: dict[str, Any] = Field(default_factory=dict)
    """Fields of the goal by name; the others keep their default values."""


def _form(value: Any) -> str:
    return 'list' if isinstance(value, list) else 'scalar'


class SetParameter(Part):
    """Sets a parameter of a node; undone, it gets back the value that it had."""

    node: RosName
    """The full name of the node."""
    name: NonEmpty
    """The name of the parameter."""
    value: Annotated[
        Annotated[Scalar, Tag('scalar')] | Annotated[list[Scalar], Tag('list')],
        Discriminator(_form),
    ]
    """Its new value, or a list for an array."""

    @field_validator('value')
    @classmethod
    def _not_mixed(cls, value: Scalar | list[Scalar]) -> Scalar | list[Scalar]:
        for item in value if isinstance(value, list) else [value]:
            if type(item) is int and not -2**63 <= item < 2**63:
                raise wrong(f'{item} is no parameter: a whole number has 64 bits there')
        if isinstance(value, list) and len({_family(item) for item in value}) > 1:
            raise wrong('an array holds texts, or numbers, or true and false, not a mixture')
        return value


def _family(value: Scalar) -> type:
    return float if type(value) is int else type(value)


class Transition(Part):
    """Takes a lifecycle node to another state; undone, it is taken back."""

    node: RosName
    """The full name of the node."""
    transition: Literal['configure', 'activate', 'deactivate', 'cleanup', 'shutdown']
    """What to ask of it."""


# What takes back a transition.
OPPOSITES = {
    'configure': 'cleanup', 'cleanup': 'configure',
    'activate': 'deactivate', 'deactivate': 'activate',
}
