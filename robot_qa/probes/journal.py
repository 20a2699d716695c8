"""What a live run observes besides messages, as samples like any other.

The graph, the answers of services, the states of nodes: whoever observes them writes an entry, a
JSON object, into a journal; the journal hands its entries over as batches of a topic of its own.
So they reach monitors, recordings and later checks on the one way that all samples take.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from robot_qa.probes.batch import Batch, Payloads

# A journal's topic has no leading slash, so that no ROS topic can have its name.
PREFIX = 'robot_qa/'
ENTRY_TYPE = 'robot_qa/json/Entry'
ENTRY_SCHEMA = '{"type":"object"}'
# The journal in which a scenario writes what became of its steps.
SCENARIO = 'scenario'


class Journal:
    """Collects the entries of one topic, ``robot_qa/<name>``."""

    def __init__(self, name: str) -> None:
        self.topic = PREFIX + name
        self._stamps: list[int] = []
        self._payloads: list[bytes] = []
        self._written = 0

    def write(self, stamp_ns: int, entry: dict[str, Any]) -> None:
        """Add an entry about what was seen at ``stamp_ns``, system clock."""
        self._stamps.append(stamp_ns)
        self._payloads.append(json.dumps(entry, separators=(',', ':')).encode())

    def drain(self) -> list[Batch]:
        """Return the entries since the last call as one batch, or nothing."""
        if not self._stamps:
            return []
        count = len(self._stamps)
        stamps = np.array(self._stamps, np.int64)
        sequence = np.arange(self._written + 1, self._written + count + 1)
        batch = Batch(
            self.topic, ENTRY_TYPE, stamps, stamps, sequence, np.zeros(count, np.int64),
            Payloads.of(self._payloads),
        )
        self._written += count
        self._stamps, self._payloads = [], []
        return [batch]


def entries(batch: Batch) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the stamp in ns and the entry of each sample of a journal's batch."""
    for stamp, payload in zip(batch.received_ns.tolist(), batch.payloads, strict=True):
        yield stamp, json.loads(bytes(payload))
