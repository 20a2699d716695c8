"""How far another host's clock is off ours, as far as round trips to it can tell.

A request leaves us at t1 and is received there at t2, the answer leaves there at t3 and reaches us
at t4; t1 and t4 are read on our clock, t2 and t3 on theirs. Nothing arrives before it was sent, so
their clock less ours lies from t3 - t4 to t2 - t1, however unlike both ways are (Marzullo and
Owicki, "Maintaining the time in a distributed system", 1983; NTP takes the middle of this interval
for its offset and its width for the delay, RFC 5905, section 8). All round trips bound the same
offset, so their intervals meet, and where they meet it is.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

# The journal of a live run in which the offsets are kept, and the topic that it travels on.
JOURNAL_NAME = 'clocks'
# Services that tell the time have this as the last part of their name.
SERVICE = 'robot_qa_time'
# One part in so many: the kernel slews a clock by at most 500 ppm (adjtimex(2), ADJ_OFFSET), and
# crystals are off by less.
DRIFT = 2000
# The GUIDs of Fast DDS begin with its vendor id and then the id of the host, 2 bytes each.
FAST_DDS = b'\x01\x0f'
HOST_BYTES = 4


def host_key(gid: bytes) -> str | None:
    """Return what all endpoints on one host have in common, in hex; None if that is not known."""
    return gid[:HOST_BYTES].hex() if gid[:2] == FAST_DDS else None


@dataclass(frozen=True)
class TimeAnswer:
    """What a host says of its time: when it received and answered, in ns of its system clock."""

    host: str
    key: str | None
    received_ns: int
    sent_ns: int

    def text(self) -> str:
        """Return it as the message of an answer."""
        return json.dumps(vars(self))

    @classmethod
    def read(cls, text: str) -> TimeAnswer | None:
        """Return what a message says; None if it is no answer of ours."""
        try:
            said = json.loads(text)
            found = cls(said['host'], said['key'], said['received_ns'], said['sent_ns'])
        except (ValueError, TypeError, KeyError, RecursionError):
            return None
        sound = isinstance(found.host, str) and isinstance(found.key, str | None)
        return found if sound and _is_time(found.received_ns) and _is_time(found.sent_ns) else None


@dataclass(frozen=True)
class RoundTrip:
    """Bounds on their clock less ours, in ns.

    They hold at some time no more than ``reach_ns`` from ``at_ns``, on our clock.
    """

    at_ns: int
    reach_ns: int
    low_ns: int
    high_ns: int

    @property
    def took_ns(self) -> int:
        """How long request and answer were under way together."""
        return self.high_ns - self.low_ns

    @classmethod
    def of(cls, sent_ns: int, answer: TimeAnswer, received_ns: int) -> RoundTrip:
        """Return the bounds that one answer gives; the other two times are ours."""
        return cls(
            (sent_ns + received_ns) // 2, (received_ns - sent_ns) // 2,
            answer.sent_ns - received_ns, answer.received_ns - sent_ns,
        )


@dataclass(frozen=True)
class Offset:
    """Bounds on their clock less ours over a time, in ns.

    ``stepped`` says that the clock was set, or ran off faster than clocks do: no single offset
    fits all round trips, and the bounds are those of all together.
    """

    low_ns: int
    high_ns: int
    stepped: bool


def offset(trips: Sequence[RoundTrip]) -> Offset:
    """Return bounds that hold from the first to the last of some round trips, in their order.

    Each bounds the offset at its own time, and by as much less at others as clocks may drift in
    between. Raises ValueError without any.
    """
    at = np.array([trip.at_ns for trip in trips], np.int64)
    low = np.array([trip.low_ns for trip in trips], np.int64)
    high = np.array([trip.high_ns for trip in trips], np.int64)
    reach = np.array([trip.reach_ns for trip in trips], np.int64)
    drift = (np.abs(at[:, None] - at) + reach) // DRIFT + 1
    lows, highs = (low - drift).max(axis=1), (high + drift).min(axis=1)
    if (lows > highs).any():
        return Offset(int(low.min()), int(high.max()), stepped=True)
    # Between two round trips the bounds are widest half-way.
    gap = max((later - earlier for earlier, later in pairwise(sorted(at.tolist()))), default=0)
    slack = gap // (2 * DRIFT)
    return Offset(int(lows.min()) - slack, int(highs.max()) + slack, stepped=False)


def _is_time(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 62
