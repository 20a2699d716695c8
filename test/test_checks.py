"""Which checks a pattern means, and what an error is for whoever started the command."""

from __future__ import annotations

import pytest

from robot_qa.checks import exit_code, matches
from robot_qa.errors import (
    ProcessError,
    QuantityError,
    RecordingError,
    RobotQaError,
    SetupError,
    SpecError,
    UnarmedError,
)


@pytest.mark.parametrize(('name', 'pattern', 'expected'), [
    ('topics./scan.fields.ranges[0].max', 'topics./scan.fields.ranges[0].*', True),
    ('topics./scan.fields.ranges[*].max', 'topics./scan.fields.ranges[*].max', True),
    ('topics./scan.fields.ranges[12].max', '*ranges[1?].max', True),
    ('topics./scan.fields.ranges0.max', 'topics./scan.fields.ranges[0].*', False),
    ('a[!b]', 'a[!b]', True), ('ac', 'a[!b]', False), ('a]', 'a]', True),
    ('topics./scan.gap.max', '*', True), ('topics./scan.gap.max', 'topics./SCAN.*', False),
    ('topics./scan.gap.max', '', False),
])
def test_brackets_are_no_wildcards(name: str, pattern: str, expected: bool) -> None:
    assert matches(name, pattern) is expected


@pytest.mark.parametrize(('error', 'code'), [
    (SpecError([]), 2), (QuantityError(), 2), (RecordingError(), 2), (UnarmedError(), 2),
    (SetupError(), 4), (ProcessError(), 4), (RobotQaError(), 4), (OSError(), 4), (KeyError(), 4),
])
def test_misuse_is_told_from_what_broke(error: Exception, code: int) -> None:
    assert exit_code(error) == code
