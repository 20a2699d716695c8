"""Which publisher and subscriber can talk: what one offers against what the other requests.

The rules are those of DDS (OMG DDS 1.4, 2.2.3, column "RxO") as ROS 2 documents them under
"Quality of Service settings, QoS compatibilities": a connection is made only if no policy of the
request is stricter than that of the offer. History, depth and lifespan do not count.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from robot_qa.timebase import format_ns

# rmw's RMW_DURATION_INFINITE; zero is RMW_DURATION_UNSPECIFIED.
INFINITE_NS = 2**63 - 1
# From the weakest to the strictest. A name that is not here (unknown, system_default,
# best_available) is not judged: what it stands for cannot be seen.
GRADES = {
    'reliability': ('best_effort', 'reliable'),
    'durability': ('volatile', 'transient_local'),
    'liveliness': ('automatic', 'manual_by_topic'),
}
# The shorter, the stricter.
SPANS = {'deadline_ns': 'deadline', 'lease_ns': 'liveliness lease'}


class Profile(NamedTuple):
    """What an endpoint offers or requests, in the words of rmw; spans in ns."""

    reliability: str
    durability: str
    deadline_ns: int
    liveliness: str
    lease_ns: int

    def __str__(self) -> str:
        words = [self.reliability, self.durability]
        words += [self.liveliness] if self.liveliness == 'manual_by_topic' else []
        words += [
            f'{name} {_span(getattr(self, key))}' for key, name in SPANS.items()
            if 0 < getattr(self, key) < INFINITE_NS
        ]
        return ', '.join(words)


@cache
def incompatibilities(offered: Profile, requested: Profile) -> tuple[str, ...]:
    """Return a text per policy that keeps the two apart; empty if they can talk."""
    found = []
    for policy, grades in GRADES.items():
        offer, request = getattr(offered, policy), getattr(requested, policy)
        known = offer in grades and request in grades
        if known and grades.index(offer) < grades.index(request):
            found.append(f'{policy}: offered {offer}, requested {request}')
    for key, name in SPANS.items():
        offer, request = getattr(offered, key), getattr(requested, key)
        if offer > 0 and request > 0 and offer > request:
            found.append(f'{name}: offered {_span(offer)}, requested {_span(request)}')
    return tuple(found)


def _span(ns: int) -> str:
    return 'infinite' if ns >= INFINITE_NS else format_ns(ns)
