"""Velocity commands are held within limits, whatever is in them."""

from __future__ import annotations

import math
import struct
from types import SimpleNamespace
from typing import Any

import pytest

from robot_qa.errors import MessageError
from robot_qa.messages.typestore import TypeStore
from robot_qa.scenario.velocity import Clamp, VelocityLimits, clamped, stop

TWIST, STAMPED = 'geometry_msgs/msg/Twist', 'geometry_msgs/msg/TwistStamped'
LIMITS = VelocityLimits(linear=0.5, angular=1.0)
STORE = TypeStore()


def twist(linear: tuple[float, ...], angular: tuple[float, ...] = (0.0, 0.0, 0.0)) -> Any:
    def vector(of: tuple[float, ...]) -> SimpleNamespace:
        return SimpleNamespace(x=of[0], y=of[1], z=of[2])

    return SimpleNamespace(linear=vector(linear), angular=vector(angular))


def wire(numbers: tuple[float, ...], order: str, frame: str | None = None) -> bytes:
    """Serialize a Twist, or with a frame a TwistStamped, as plain CDR."""
    body = b''
    if frame is not None:
        text = frame.encode() + b'\0'
        body = struct.pack(f'{order}iII', 7, 8, len(text)) + text
        body += bytes(-len(body) % 8)
    return bytes((0, order == '<', 0, 0)) + body + struct.pack(f'{order}6d', *numbers)


def test_the_norm_is_limited_and_the_direction_kept() -> None:
    assert clamped((3.0, 4.0, 0.0), 1.0) == pytest.approx((0.6, 0.8, 0.0))
    assert clamped((-0.3, 0.0, 0.4), 0.5) == (-0.3, 0.0, 0.4)
    assert clamped((1.0, 0.0, 0.0), 0.0) == (0.0, 0.0, 0.0)
    assert clamped((9.0, 0.0, 0.0), None) == (9.0, 0.0, 0.0)


@pytest.mark.parametrize('bad', [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize('limit', [1.0, None])
def test_what_has_no_direction_becomes_zero(bad: float, limit: float | None) -> None:
    assert clamped((0.1, bad, 0.0), limit) == (0.0, 0.0, 0.0)


def test_no_vector_is_longer_than_the_limit_afterwards() -> None:
    largest = 1.7976931348623157e308
    for vector in ((largest, largest, largest), (-largest, 1.0, 0.0), (0.7, 0.7, 0.3),
                   (5e-324, 0.0, 0.0), (1e-200, 1e200, 3.0)):
        for limit in (0.5, 1e-300, 0.1, 1 / 3):
            after = clamped(vector, limit)
            assert math.hypot(*after) <= limit
            for one, other in zip(vector, after, strict=True):
                assert math.copysign(1, one) == math.copysign(1, other)


@pytest.mark.parametrize('kind', ['linear', 'angular'])
@pytest.mark.parametrize('limit', [-0.1, math.nan])
def test_a_limit_is_not_negative(kind: str, limit: float) -> None:
    with pytest.raises(ValueError, match=kind):
        VelocityLimits(**{kind: limit})


def test_an_object_is_clamped_in_place_and_it_is_said() -> None:
    message = twist((3.0, 4.0, 0.0), (0.0, 0.0, -2.0))
    assert Clamp(LIMITS, TWIST).message(message) == [
        'linear velocity clamped from 5 to 0.5 m/s', 'angular velocity clamped from 2 to 1 rad/s']
    assert (message.linear.x, message.linear.y) == pytest.approx((0.3, 0.4))
    assert message.angular.z == -1.0
    assert Clamp(LIMITS, TWIST).message(message) == []


def test_a_stamped_object_is_clamped_too() -> None:
    message = SimpleNamespace(twist=twist((0.0, math.nan, 0.0)))
    (note,) = Clamp(LIMITS, STAMPED).message(message)
    assert 'not finite' in note and message.twist.linear.y == 0.0


@pytest.mark.parametrize('order', ['<', '>'])
@pytest.mark.parametrize('frame', [None, '', 'base', 'base_link', 'a/longer_frame'])
def test_bytes_are_clamped_and_all_others_stay(order: str, frame: str | None) -> None:
    kind = TWIST if frame is None else STAMPED
    fast = wire((0.0, -2.0, 0.0, 0.0, 0.0, 0.25), order, frame)
    after, notes = Clamp(LIMITS, kind).serialized(fast, STORE)
    assert after == wire((0.0, -0.5, 0.0, 0.0, 0.0, 0.25), order, frame)
    assert notes == ['linear velocity clamped from 2 to 0.5 m/s']
    assert Clamp(LIMITS, kind).serialized(after, STORE) == (after, [])


def test_bytes_that_end_too_early_are_refused() -> None:
    with pytest.raises(MessageError):
        Clamp(LIMITS, TWIST).serialized(wire((1.0,) * 6, '<')[:-1], STORE)


def test_other_types_are_refused() -> None:
    with pytest.raises(ValueError, match='Bool is no velocity command'):
        Clamp(LIMITS, 'std_msgs/msg/Bool')


def test_standing_still_keeps_the_frame() -> None:
    def made() -> Any:
        return SimpleNamespace(header=SimpleNamespace(frame_id=''), twist=twist((0.0,) * 3))

    like = SimpleNamespace(header=SimpleNamespace(frame_id='base_link'), twist=twist((1.0,) * 3))
    zero = stop(STAMPED, made, like)
    assert zero.header.frame_id == 'base_link' and zero.twist.linear.x == 0.0
    assert stop(TWIST, lambda: twist((0.0,) * 3), twist((1.0,) * 3)).linear.x == 0.0
