"""How a scenario's journal names the steps that were played, and which ones of a spec these are.

A recording may be judged by a spec that was edited since: steps have come, gone and moved. So the
journal names a step by its name (its number if it has none) and by what it did.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from robot_qa.spec.parts import Part
from robot_qa.spec.scenario import Step
from robot_qa.spec.scenario_order import name_of


def marks_of(steps: list[Step]) -> list[dict[str, str]]:
    """Return what names each step in the entries of the journal."""
    return [{'name': name_of(steps, index), 'action': _digest(step)}
            for index, step in enumerate(steps)]


class Played:
    """Finds the steps of a spec in the entries of a journal.

    ``misfit`` says why a recording is none of this scenario, once it was found out: by then
    nothing is known of what it shows, of any step.
    """

    def __init__(self, steps: list[Step]) -> None:
        self._known = {one['name']: (index, one['action'])
                       for index, one in enumerate(marks_of(steps))}
        self.misfit: str | None = None

    def step(self, entry: Mapping[str, Any]) -> int | None:
        """Return the number of the step that an entry tells of; None if it is another one."""
        name, action = entry.get('name'), entry.get('action')
        index, wanted = self._known.get(str(name), (-1, ''))
        if name is None:
            self._misses('it is older than this version, and does not say what its steps did')
        elif index < 0:
            self._misses(f'its step "{name}" is not in this spec')
        elif action != wanted:
            self._misses(f'its step "{name}" did something else than that of this spec')
        else:
            return index
        return None

    def _misses(self, why: str) -> None:
        self.misfit = self.misfit or f'the recording is of another scenario: {why}'


def _digest(step: Step) -> str:
    given = step.action
    if isinstance(given, Part):
        given = given.model_dump(mode='json', exclude_defaults=True)
    text = json.dumps([step.kind, given, step.for_ is not None], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
