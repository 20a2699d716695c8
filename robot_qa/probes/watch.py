"""What the live probe knows of one topic: who publishes it, what came and what did not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from robot_qa.probes.qos import Asked


@dataclass(frozen=True)
class Wanted:
    """A topic to watch: its type where the spec names it, and the rate to be ready for, in Hz."""

    topic: str
    type: str | None = None
    rate: float | None = None


@dataclass(frozen=True)
class PublisherInfo:
    """Who publishes: ``index`` is what batches carry, ``gid`` the middleware's identity in hex.

    ``qos`` is what it offers, as rosbag2 writes it: YAML.
    """

    topic: str
    type: str
    index: int
    node: str
    gid: str
    qos: str


@dataclass
class Watch:
    """A topic that is watched, and the count of what came."""

    wanted: Wanted
    type: str | None = None
    message_class: Any = None
    # More than one while a new subscription takes over from the one before.
    subscriptions: list[Any] = field(default_factory=list)
    lost_event: Any = None
    asked: Asked | None = None
    depth: int = 0
    # In s, steady clock: when the newest subscription was made, and since when we count.
    since: float = 0.0
    counting_since: float = 0.0
    next_look: float = 0.0
    # By gid: the index that batches carry.
    publishers: dict[bytes, int] = field(default_factory=dict)
    # Whether messages do not tell their publisher, as before Kilted.
    anonymous: bool = False
    first_seen: dict[bytes, float] = field(default_factory=dict)
    found: dict[int, PublisherInfo] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    received: int = 0
    # By index of the publisher: its highest sequence number so far.
    highest: dict[int, int] = field(default_factory=dict)
    gaps: int = 0
    our_gaps: int = 0
    interrupted: bool = False
    lost_before: int = 0

    def note(self, text: str) -> None:
        """Keep a remark once."""
        if text not in self.notes:
            self.notes.append(text)

    @property
    def mixed_up(self) -> bool:
        """Whether sequence numbers say nothing: each of several publishers counts for itself."""
        return self.anonymous and len(self.publishers) > 1

    def begin(self, now: float) -> None:
        """Count from here on; ``now`` is in s, steady clock."""
        self.received = self.gaps = self.our_gaps = 0
        self.highest.clear()
        self.lost_before = self._lost_so_far()
        self.counting_since = now

    def numbers(self, info: dict[str, Any]) -> tuple[int, int, int, int] | None:
        """Return send time, reception, sequence number and publisher of the next message.

        Times are in ns; zero stands for what the middleware does not tell. Counts the gaps in
        the sequence. None for a message that came before, through another subscription.
        """
        gid = info.get('publisher_gid')
        self.anonymous = gid is None
        index = 0
        if gid is not None:
            index = self.publishers.setdefault(gid['data'], len(self.publishers))
        sequence = 0 if self.mixed_up else info.get('publication_sequence_number') or 0
        if sequence:
            highest = self.highest.get(index, sequence - 1)
            if sequence > highest:
                self.gaps += sequence - highest - 1
                self.highest[index] = sequence
            elif not self.anonymous:
                return None
        return info['source_timestamp'], info['received_timestamp'], sequence, index

    def took(self, gaps: int, full: bool) -> None:
        """Note that a queue was emptied, ``full`` or not, when there had been ``gaps`` before."""
        if full or self.interrupted:
            self.our_gaps += self.gaps - gaps
        self.interrupted = False

    def overruns(self) -> int:
        """Return how many messages were lost because our own queue was full.

        Measured with Fast DDS 3.2, for reliable and best-effort topics alike: a full queue
        replaces its oldest message, which shows as a gap in the sequence and in no event. What
        was lost on the way is a gap, too, and counts in the event ``message_lost``; the event
        may come before the gap is seen, never later than it. So all gaps are ours that were
        found in a full queue, or after an interruption of ours, and are not in the event.
        """
        return max(0, min(self.our_gaps, self.gaps - self._lost_since_begin()))

    def change_lost_event(self, event: Any) -> None:
        """Go on counting with the event of a new subscription, which starts at zero."""
        self.lost_before = -self._lost_since_begin()
        self.lost_event = event

    def _lost_since_begin(self) -> int:
        return self._lost_so_far() - self.lost_before

    def _lost_so_far(self) -> int:
        if self.lost_event is None:
            return 0
        with self.lost_event:
            status = self.lost_event.take_event()
        return 0 if status is None else int(status.total_count)
