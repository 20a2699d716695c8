"""What is wrong with the messages, requests and goals that the steps of a scenario write."""

from __future__ import annotations

from collections.abc import Iterator

from robot_qa.errors import Problem, UnknownTypeError
from robot_qa.messages.literals import findings
from robot_qa.messages.typestore import TypeStore
from robot_qa.spec.marks import Marked
from robot_qa.spec.scenario import Step

# By the action: the key of what is written, and what its type has behind the name.
WRITTEN = {
    'publish': ('message', ''), 'call': ('request', '_Request'), 'goal': ('goal', '_Goal'),
}


def written_problems(steps: list[Step], store: TypeStore, marks: Marked) -> Iterator[Problem]:
    """Yield every field that its type does not have, or that does not fit.

    Nothing where a type is not known: then the step itself tells.
    """
    for index, step in enumerate(steps):
        if step.kind not in WRITTEN:
            continue
        key, suffix = WRITTEN[step.kind]
        given = getattr(step.action, key)
        try:
            found = list(findings(store, f'{step.action.type}{suffix}', given))
        except UnknownTypeError:
            continue
        for place, reason in found:
            path = ('scenario', index, step.kind, key, *place)
            yield marks.problem(path, reason, at_key=' has no field ' in reason)
