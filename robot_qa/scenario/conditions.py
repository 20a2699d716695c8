"""Whether the ``when`` of a step is true now, from the latest messages of its topics."""

from __future__ import annotations

from robot_qa.monitors.base import Context
from robot_qa.monitors.signals import Key, Scene, Signal, Texts, Track, check_kinds, keys_of
from robot_qa.probes.batch import Batch
from robot_qa.spec.model import TestSpec
from robot_qa.spec.rules import Condition


def condition_topics(spec: TestSpec) -> list[str]:
    """Return the topics that steps look at before they begin."""
    return sorted({
        key[0] for step in spec.scenario if step.when is not None for key in keys_of(step.when)
    })


class ConditionWatch:
    """One condition. Of each topic it keeps the batch that came last, and nothing before it."""

    def __init__(self, condition: Condition, context: Context) -> None:
        self._condition = condition
        self._context = context
        self._texts = Texts()
        self._signals: dict[Key, Signal] = {}
        self._tracks: dict[str, Track] = {}
        self.topics = {key[0] for key in keys_of(condition)}

    def update(self, batch: Batch) -> None:
        """Take a batch of one of the topics.

        Raises FieldPathError when the type has no such field, or one that cannot be compared.
        """
        own = {
            key: Signal(key, self._context, self._texts)
            for key in keys_of(self._condition) if key[0] == batch.topic
        }
        track = Track(own, 'arrival', self._context)
        track.update(batch)
        if len(track):
            self._signals |= own
            self._tracks[batch.topic] = track
        if self._tracks.keys() == self.topics:
            check_kinds([self._condition], self._signals)

    @property
    def is_true(self) -> bool:
        """Whether it holds for the latest message of every topic; not before all have one."""
        if self._tracks.keys() != self.topics:
            return False
        end = 2**62
        held = {topic: track.held(end, end) for topic, track in self._tracks.items()}
        trace = Scene(held, self._signals, self._texts).trace(self._condition)
        return bool(trace.margins[-1] > 0.0)
