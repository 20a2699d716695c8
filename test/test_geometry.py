"""Rigid transforms against scipy, and the laws that they keep."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation, Slerp

from robot_qa.geometry import (
    Poses,
    conjugate,
    normalized,
    product,
    roll_pitch_yaw,
    rotate,
    rotation_angle,
    slerp,
)

part = st.floats(-1, 1)
quaternions = st.tuples(part, part, part, part).filter(
    lambda q: np.linalg.norm(q) > 1e-3
).map(lambda q: normalized(np.array([q])))
vectors = st.tuples(*[st.floats(-100, 100)] * 3).map(lambda v: np.array([v]))
poses = st.builds(Poses, vectors, quaternions)


def same_rotation(first: Any, second: Any, tolerance: float = 1e-9) -> bool:
    """Tell whether they turn alike: q and -q are one rotation."""
    return bool((rotation_angle(product(conjugate(first), second)) <= tolerance).all())


@given(quaternions, quaternions, vectors)
def test_products_rotations_and_angles_are_those_of_scipy(a: Any, b: Any, v: Any) -> None:
    first, second = Rotation.from_quat(a), Rotation.from_quat(b)
    assert same_rotation(product(a, b), (first * second).as_quat())
    assert same_rotation(conjugate(a), first.inv().as_quat())
    assert rotate(a, v) == pytest.approx(first.apply(v), abs=1e-9)
    assert rotation_angle(a) == pytest.approx(first.magnitude(), abs=1e-9)


@given(st.floats(-3.14, 3.14), st.floats(-1.57, 1.57), st.floats(-3.14, 3.14))
def test_roll_pitch_yaw_are_about_fixed_axes(roll: float, pitch: float, yaw: float) -> None:
    rotation = Rotation.from_euler('xyz', [[roll, pitch, yaw]]).as_quat()
    assert roll_pitch_yaw(rotation)[0] == pytest.approx([roll, pitch, yaw], abs=1e-6)


@given(quaternions, quaternions, st.floats(0, 1))
def test_slerp_is_that_of_scipy(a: Any, b: Any, ratio: float) -> None:
    if rotation_angle(product(conjugate(a), b))[0] > 3.14:
        return  # both ways round are equally short
    between = Slerp([0, 1], Rotation.from_quat(np.concatenate((a, b))))(ratio)
    assert same_rotation(slerp(a, b, np.array([ratio])), between.as_quat()[None], 1e-8)


def test_slerp_of_two_rotations_that_are_nearly_one() -> None:
    a = Rotation.from_rotvec([[0, 0, 1.0]]).as_quat()
    b = Rotation.from_rotvec([[0, 0, 1.0 + 1e-7]]).as_quat()
    yaw = roll_pitch_yaw(slerp(a, -b, np.array([0.5])))[0, 2]
    assert yaw == pytest.approx(1.0 + 0.5e-7, abs=1e-12)


@given(poses, poses, poses)
def test_poses_form_a_group(a: Poses, b: Poses, c: Poses) -> None:
    left, right = (a @ b) @ c, a @ (b @ c)
    assert left.translation == pytest.approx(right.translation, abs=1e-9)
    assert same_rotation(left.rotation, right.rotation)
    none = a @ a.inverse()
    assert none.translation == pytest.approx(np.zeros((1, 3)), abs=1e-9)
    assert rotation_angle(none.rotation) == pytest.approx([0.0], abs=1e-9)


@given(poses, vectors)
def test_a_pose_maps_points_of_the_child_frame(pose: Poses, point: Any) -> None:
    still = Poses(point, np.array([[0.0, 0.0, 0.0, 1.0]]))
    expected = Rotation.from_quat(pose.rotation).apply(point) + pose.translation
    assert (pose @ still).translation == pytest.approx(expected, abs=1e-9)


@given(poses, poses, st.floats(0, 1))
def test_interpolation_begins_and_ends_at_its_ends(a: Poses, b: Poses, ratio: float) -> None:
    assert a.towards(b, np.array([0.0])).translation == pytest.approx(a.translation)
    assert same_rotation(a.towards(b, np.array([1.0])).rotation, b.rotation)
    middle = a.towards(b, np.array([ratio])).translation
    assert middle == pytest.approx((1 - ratio) * a.translation + ratio * b.translation, abs=1e-9)


def test_a_quaternion_of_length_zero_is_no_rotation() -> None:
    assert np.isnan(Poses.of(np.zeros((1, 7))).rotation).all()
