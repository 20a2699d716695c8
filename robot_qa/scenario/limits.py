"""What parameters of faults must be."""

from __future__ import annotations

from robot_qa.errors import RobotQaError


def require(name: str, value: float, least: float) -> None:
    """Make sure that a parameter is at least ``least``. RobotQaError."""
    if not value >= least:
        raise RobotQaError(f'{name} is {value}; it must be at least {least}')


def require_share(name: str, value: float) -> None:
    """Make sure that a parameter lies between 0 and 1. RobotQaError."""
    if not 0.0 <= value <= 1.0:
        raise RobotQaError(f'{name} is {value}; it must lie between 0 and 1')
