"""What publishers offer and what to ask of them; works on any endpoint that rclpy describes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from robot_qa.timebase import NS_PER_S


@dataclass(frozen=True)
class Asked:
    """The two policies that decide whether a subscription hears a publisher."""

    reliable: bool
    latched: bool

    @classmethod
    def that_suits(cls, publishers: Iterable[Any]) -> Asked:
        """Return the most that every one of these endpoints offers."""
        profiles = [info.qos_profile for info in publishers]
        return cls(
            all(profile.reliability.name == 'RELIABLE' for profile in profiles),
            all(profile.durability.name == 'TRANSIENT_LOCAL' for profile in profiles),
        )

    @property
    def reliability(self) -> str:
        """The policy's name, as ROS spells it."""
        return 'RELIABLE' if self.reliable else 'BEST_EFFORT'

    @property
    def durability(self) -> str:
        """The policy's name, as ROS spells it."""
        return 'TRANSIENT_LOCAL' if self.latched else 'VOLATILE'

    def hears(self, least: Asked) -> bool:
        """Tell whether a publisher that offers no more than ``least`` would match.

        Who offers more than is asked matches too.
        """
        return self.reliable <= least.reliable and self.latched <= least.latched


def as_text(profile: Any) -> str:
    """Return an offered profile the way rosbag2 writes it: YAML, a list of one mapping.

    Discovery does not tell the history, which only concerns the publisher itself.
    """
    spans = (('deadline', profile.deadline), ('lifespan', profile.lifespan))
    return (
        '- history: unknown\n  depth: 0\n'
        f'  reliability: {profile.reliability.name.lower()}\n'
        f'  durability: {profile.durability.name.lower()}\n'
        f'{"".join(_span(name, span) for name, span in spans)}'
        f'  liveliness: {profile.liveliness.name.lower()}\n'
        f'{_span("liveliness_lease_duration", profile.liveliness_lease_duration)}'
        '  avoid_ros_namespace_conventions: false\n'
    )


def _span(name: str, span: Any) -> str:
    seconds, nanoseconds = divmod(span.nanoseconds, NS_PER_S)
    return f'  {name}:\n    sec: {seconds}\n    nsec: {nanoseconds}\n'
