"""When the ``when`` of a step is true: at every message of its topics, none is passed over."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from robot_qa.monitors.base import Context
from robot_qa.monitors.signals import Key, Scene, Signal, Texts, Track, check_kinds, keys_of
from robot_qa.probes.batch import Batch
from robot_qa.spans import copied
from robot_qa.spec.model import TestSpec
from robot_qa.spec.rules import Condition

_END = 2**62


def condition_topics(spec: TestSpec) -> list[str]:
    """Return the topics that steps look at before they begin."""
    return sorted({
        key[0] for step in spec.scenario if step.when is not None for key in keys_of(step.when)
    })


class ConditionWatch:
    """One condition. Of each topic it keeps the messages that came last, and none before them."""

    def __init__(self, condition: Condition, context: Context) -> None:
        self._condition = condition
        self._context = context
        self._texts = Texts()
        self._signals: dict[Key, Signal] = {}
        self._tracks: dict[str, Track] = {}
        # The last message of each topic, which still holds when the next ones come.
        self._last: dict[str, Batch] = {}
        self._seen_ns = 0
        self.topics = {key[0] for key in keys_of(condition)}

    def update(self, batches: Iterable[Batch]) -> list[bool]:
        """Take what was drained; return what it made of the condition, one change after another.

        Nothing before every topic has a message. Raises FieldPathError when a type has no such
        field, or one that cannot be compared.
        """
        fresh: dict[str, list[Batch]] = {}
        for batch in batches:
            if batch.topic in self.topics and len(batch):
                fresh.setdefault(batch.topic, []).append(batch)
        for topic, came in fresh.items():
            self._look_at(topic, came)
        if not fresh or self._tracks.keys() != self.topics:
            return []
        check_kinds([self._condition], self._signals)
        held = {topic: track.held(0, _END) for topic, track in self._tracks.items()}
        trace = Scene(held, self._signals, self._texts).trace(self._condition)
        new = trace.times > self._seen_ns
        # What came later than it should have counts as it is now.
        new[-1] = True
        self._seen_ns = int(trace.times[-1])
        true = trace.margins[new] > 0.0
        changes: list[bool] = true[np.flatnonzero(np.diff(true, prepend=~true[:1]))].tolist()
        return changes

    def _look_at(self, topic: str, came: list[Batch]) -> None:
        own = {key: Signal(key, self._context, self._texts)
               for key in keys_of(self._condition) if key[0] == topic}
        track = Track(own, 'arrival', self._context)
        for batch in ([self._last[topic]] if topic in self._last else []) + came:
            track.update(batch)
        self._last[topic] = copied(came[-1], len(came[-1]) - 1)
        self._signals |= own
        self._tracks[topic] = track
