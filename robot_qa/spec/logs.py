"""What must hold for /rosout and /diagnostics."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from robot_qa.spec.parts import Limits, wrong
from robot_qa.spec.values import NonEmpty, OnlyTrue, RosName, text_or_list, texts


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise wrong(f'"{text}" is not a regular expression: {error}') from error
    return text


Pattern = Annotated[NonEmpty, AfterValidator(_pattern)]
Patterns = Annotated[list[Pattern], BeforeValidator(texts), text_or_list(['string'])]


class Rosout(Limits):
    """What no node may log."""

    limit_keys = ('below',)

    below: Literal['info', 'warn', 'error', 'fatal']
    """No message at or above this level."""
    allow: Patterns = Field(default_factory=list)
    """Regular expressions; a message in which one is found is harmless."""
    nodes: list[RosName] = Field(default_factory=list)
    """The nodes this is about; all if left out."""


class Logs(Limits):
    """What must hold for the logs of nodes."""

    limit_keys = ('rosout',)

    rosout: Rosout
    """What no node may log to /rosout."""


class Status(Limits):
    """What must hold for the statuses of a name."""

    limit_keys = ('present',)

    present: OnlyTrue
    """At least one such status is seen."""


class Diagnostics(Limits):
    """What must hold for /diagnostics."""

    limit_keys = ('below', 'names')

    below: Literal['warn', 'error', 'stale'] | None = None
    """No status at or above this level; from low to high: ok, warn, error, stale."""
    allow: Patterns = Field(default_factory=list)
    """Regular expressions; a status with one in its "name: message" is harmless."""
    names: dict[Pattern, Status] = Field(default_factory=dict)
    """Checks by a regular expression that is found in the name of a status."""

    def limits(self) -> Iterator[str]:
        """Yield the keys of the checks; an empty ``names`` is none."""
        return (key for key in super().limits() if getattr(self, key) != {})
