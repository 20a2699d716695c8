"""What must hold for services and actions, and how they are called to find out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from robot_qa.quantities import Ratio
from robot_qa.spec.fields import FieldChecks
from robot_qa.spec.parts import Finding, Limits, Quantiles, wrong, wrong_all
from robot_qa.spec.values import (
    FieldPath,
    OnlyTrue,
    PositiveDuration,
    PositiveFrequency,
)
from robot_qa.timebase import NS_PER_S, format_ns

LONGEST_GOAL = 60 * NS_PER_S

_SERVICE = r'[a-z][a-z0-9_]*/srv/[A-Z][A-Za-z0-9]*'
_ACTION = r'[a-z][a-z0-9_]*/action/[A-Z][A-Za-z0-9]*'


def _check_type(text: str, pattern: str, noun: str, example: str) -> str:
    if re.fullmatch(pattern, text):
        return text
    pieces = [piece for piece in re.split(r'[/.:]+', text) if piece]
    near = f'{pieces[0]}/{example.split("/")[1]}/{pieces[-1]}' if len(pieces) in (2, 3) else ''
    if re.fullmatch(pattern, near):
        raise wrong(f'"{text}" is not {noun}; did you mean "{near}"?')
    raise wrong(f'"{text}" is not {noun} such as {example}')


def _service_type(text: str) -> str:
    return _check_type(text, _SERVICE, 'a service type', 'nav_msgs/srv/GetPlan')


def _action_type(text: str) -> str:
    return _check_type(text, _ACTION, 'an action type', 'tf2_msgs/action/LookupTransform')


def _schema(pattern: str) -> WithJsonSchema:
    return WithJsonSchema({'type': 'string', 'pattern': f'^{pattern}$'})


ServiceType = Annotated[str, AfterValidator(_service_type), _schema(_SERVICE)]
ActionType = Annotated[str, AfterValidator(_action_type), _schema(_ACTION)]


class Available(Limits):
    """When there has to be a server."""

    limit_keys = ('within',)

    within: PositiveDuration
    """Longest time from the start of the observation until it is there, such as 5 s."""


class ResponseTime(Quantiles):
    """How long a call takes, from sending the request to receiving the response."""

    max: PositiveDuration | None = None
    """Longest time of any call."""


class Failures(Limits):
    """The share of calls that were not answered in time, or that found no server."""

    max: Ratio
    """Highest share, such as 1 %; 0 % allows none."""


class _Callable(Limits):
    """What services and actions have in common."""

    def limits(self) -> Iterator[str]:
        """Yield the keys of the checks; an empty mapping is none."""
        return (key for key in super().limits() if getattr(self, key) != {})


class Service(_Callable):
    """What must hold for one service; with ``every`` it is called."""

    limit_keys = ('available', 'response_time', 'failures', 'response')

    type: ServiceType
    """The service type, such as nav_msgs/srv/GetPlan."""
    available: Available | None = None
    """When there has to be a server."""
    every: PositiveDuration | None = None
    """How often to call it; one call at a time. It is not called if left out."""
    request: dict[str, Any] = Field(default_factory=dict)
    """Fields of the request by name; the others keep their default values."""
    timeout: PositiveDuration = 2 * NS_PER_S
    """A call not answered by then has failed; 2 s if left out."""
    response_time: ResponseTime | None = None
    """How long a call takes; one that failed took at least the timeout."""
    failures: Failures | None = None
    """The share of calls that were not answered in time."""
    response: dict[FieldPath, FieldChecks] = Field(default_factory=dict)
    """Checks on single fields of every response, by their path in it."""

    @model_validator(mode='after')
    def _called_for_a_reason(self) -> Service:
        if self.every is None:
            found: list[Finding] = [
                ((key,), f'"{key}" takes calls; add "every", such as every: 1 s')
                for key in ('request', 'response_time', 'failures', 'response')
                if getattr(self, key)
            ]
            if found:
                raise wrong_all(found)
        return self

    @model_validator(mode='after')
    def _limits_before_timeout(self) -> Service:
        if self.response_time is None:
            return self
        limits = {key: ns for key, (_, ns) in self.response_time.quantiles.items()}
        if self.response_time.max is not None:
            limits['max'] = self.response_time.max
        found: list[Finding] = [
            (('response_time', key),
             f'{key} is not below the timeout of {format_ns(self.timeout)}, after which nobody '
             'waits any more')
            for key, ns in limits.items() if ns >= self.timeout
        ]
        if found:
            raise wrong_all(found)
        return self


class Result(_Callable):
    """How a goal has to end."""

    limit_keys = ('within', 'status', 'fields')

    within: PositiveDuration | None = None
    """Longest time from sending the goal to receiving its result, such as 5 s."""
    status: Literal['succeeded', 'aborted', 'canceled'] | None = None
    """The status with which every accepted goal has to end."""
    fields: dict[FieldPath, FieldChecks] = Field(default_factory=dict)
    """Checks on single fields of every result, by their path in it."""


class FeedbackRate(Limits):
    """How often feedback comes while a goal is executed."""

    min: PositiveFrequency
    """Lowest mean rate from the acceptance of a goal to its result, such as 5 Hz."""


class Feedback(Limits):
    """What must hold for the feedback of every goal."""

    limit_keys = ('rate',)

    rate: FeedbackRate
    """How often it comes."""


class Cancel(Limits):
    """One more goal, which is cancelled and has to end as canceled."""

    limit_keys = ('within',)

    after: PositiveDuration = NS_PER_S
    """How long after its acceptance it is cancelled; 1 s if left out."""
    within: PositiveDuration
    """Longest time from the request to cancel to the result."""


class Action(_Callable):
    """What must hold for one action; with ``goal`` it is sent goals."""

    limit_keys = ('available', 'accepted', 'result', 'feedback', 'cancel')

    type: ActionType
    """The action type, such as tf2_msgs/action/LookupTransform."""
    available: Available | None = None
    """When there has to be a server."""
    goal: dict[str, Any] | None = None
    """Fields of the goal by name; {} for one of default values. None is sent if left out."""
    every: PositiveDuration | None = None
    """How often to send the goal, one at a time; a single one if left out."""
    timeout: PositiveDuration | None = None
    """A goal not over by then is cancelled; result.within if left out, or else 60 s."""
    accepted: OnlyTrue | None = None
    """Every goal is accepted."""
    result: Result | None = None
    """How a goal has to end."""
    feedback: Feedback | None = None
    """What must hold for the feedback of every goal."""
    cancel: Cancel | None = None
    """One more goal, which is cancelled."""

    @property
    def patience(self) -> int:
        """How long to wait for the end of a goal, in ns."""
        within = self.result.within if self.result else None
        return self.timeout or within or LONGEST_GOAL

    @model_validator(mode='after')
    def _goals_for_a_reason(self) -> Action:
        if self.goal is None:
            found: list[Finding] = [
                ((key,), f'"{key}" takes goals; add "goal", such as goal: {{}}')
                for key in ('every', 'timeout', 'accepted', 'result', 'feedback', 'cancel')
                if getattr(self, key)
            ]
            if found:
                raise wrong_all(found)
        within = self.result.within if self.result else None
        if self.timeout is not None and within is not None and self.timeout < within:
            raise wrong('the timeout is shorter than result.within', 'timeout')
        return self
