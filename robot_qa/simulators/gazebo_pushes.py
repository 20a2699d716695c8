"""Which push acts on which link in Gazebo, and what to publish so that another one does.

Gazebo's ApplyLinkWrench adds up the persistent wrenches of a link, and a message that clears them
also clears one that comes in the same step. So a push is replaced, and ended, by the wrench that
is missing to what is wanted: sums do not depend on the order of messages.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Change = tuple[str, dict[str, Any]]
ZERO = [0.0] * 6


@dataclass
class _Active:
    topic: str
    wrench: list[float]
    offset: list[float]
    until_ns: int | None


class Pushes:
    """The pushes that act now, by scoped name of the link; knows no transport."""

    def __init__(self) -> None:
        self._active: dict[str, _Active] = {}

    def begin(
        self, topic: str, entity: str, wrench: list[float], until_ns: int | None,
    ) -> Change | None:
        """Replace the push of a link and return what to publish, if anything.

        ``wrench`` is force (N) and torque (Nm) along the axes of the world, and the place in the
        link (m) at which the force acts: nine numbers.
        """
        before = self._active.pop(entity, None)
        wanted, offset = wrench[:6], wrench[6:]
        if any(wanted):
            self._active[entity] = _Active(topic, wanted, offset, until_ns)
        acting = before.wrench if before else ZERO
        return _change(topic, entity, [new - old for new, old in zip(wanted, acting, strict=True)],
                       offset)

    def is_over(self, now_ns: int) -> bool:
        """Tell whether a push has lasted long enough."""
        return any(one.until_ns is not None and now_ns >= one.until_ns
                   for one in self._active.values())

    def end_those_over(self, now_ns: int) -> list[Change]:
        """End the pushes that have lasted long enough and return what to publish."""
        over = [(entity, one) for entity, one in self._active.items()
                if one.until_ns is not None and now_ns >= one.until_ns]
        changes = [self.begin(one.topic, entity, ZERO + one.offset, None) for entity, one in over]
        return [change for change in changes if change is not None]


def _change(
    topic: str, entity: str, wrench: list[float], offset: list[float],
) -> Change | None:
    if not any(wrench):
        return None
    return topic, {
        'entity': {'name': entity, 'type': 'LINK'},
        'wrench': {'force': _xyz(wrench[:3]), 'torque': _xyz(wrench[3:]),
                   'force_offset': _xyz(offset)},
    }


def _xyz(values: list[float]) -> dict[str, float]:
    return dict(zip('xyz', values, strict=True))
