"""Every fault that a spec can name is built, and does what it is named for."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from numpy.random import SeedSequence

from robot_qa.errors import FieldPathError, RobotQaError
from robot_qa.messages.typestore import TypeStore
from robot_qa.scenario.assembly import CONTENT, FLOWS, pipeline, written
from robot_qa.spec.scenario_faults import Fault
from samples import MS, START, STORE, TYPES, header, scan, serialized

OURS = TypeStore(workspace=False)
SCAN, IMAGE = 'sensor_msgs/msg/LaserScan', 'sensor_msgs/msg/Image'
RANGES = np.linspace(1.0, 2.0, 200)
PERIOD = 10 * MS
COUNT = 40


def scans() -> list[bytes]:
    return [scan(START + i * PERIOD, RANGES) for i in range(COUNT)]


def images() -> list[bytes]:
    pixels = np.random.default_rng(3).integers(0, 255, (20, 30), np.uint8)
    message = serialized(TYPES[IMAGE](
        header=header(START), height=20, width=30, encoding='mono8', is_bigendian=0, step=30,
        data=pixels.reshape(-1)))
    return [message] * COUNT


def played(given: dict[str, Any], messages: list[bytes], kind: str, seed: int = 1) -> Any:
    work = pipeline(fault(given), OURS, kind, SeedSequence(seed))
    out = []
    for i, message in enumerate(messages):
        out += work.push(i * PERIOD, message)
    return out + work.flush(len(messages) * PERIOD)


def fault(given: dict[str, Any]) -> Fault:
    return Fault.model_validate({'topic': '/scan', **given})


def first(given: dict[str, Any], index: int = 0) -> Any:
    return STORE.deserialize_cdr(played(given, scans(), SCAN)[index][1], SCAN)


def stamps(given: dict[str, Any]) -> list[int]:
    found = [STORE.deserialize_cdr(message, SCAN).header.stamp
             for _, message in played(given, scans(), SCAN)]
    return [(one.sec * 10**9 + one.nanosec - START) // MS for one in found]


# How each may be written, with what it takes; a key of the spec that is missing here fails below.
CASES: dict[str, tuple[list[Any], str]] = {
    'nan': (['ranges[3]'], SCAN),
    'inf': ([{'field': 'ranges[*]', 'share': 0.5}], SCAN),
    'value': ([{'field': 'range_max', 'value': 7.5}, {'field': 'ranges[*]', 'value': math.nan}],
              SCAN),
    'bias': ([{'field': 'ranges[*]', 'bias': 0.5}], SCAN),
    'noise': ([{'field': 'ranges[*]', 'stddev': 0.5}], SCAN),
    'low_light': (['20 %', {'gain': 0.2, 'noise': 0.1}], IMAGE),
    'blur': ([2.0], IMAGE),
    'motion_blur': ([8, {'length': 8, 'angle': 30}], IMAGE),
    'image_noise': (['5 %'], IMAGE),
    'occlusion': ([{'x': 0.1, 'y': 0.1, 'width': 0.5, 'height': 0.5, 'brightness': 1}], IMAGE),
    'rotate': ([20], IMAGE),
    'dead_pixels': (['10 %', {'share': '10 %', 'hot': 1}], IMAGE),
    'jpeg': ([5], IMAGE),
    'range_dropout': (['30 %'], SCAN),
    'range_noise': ([0.2], SCAN),
    'ghost_returns': ([{'share': '50 %', 'near': 0.2, 'far': 0.8}], SCAN),
    'blocked_sector': ([{'center': 10, 'width': 60}, {'center': 10, 'width': 60, 'range': 0.1}],
                       SCAN),
    'stale_stamps': ([True], SCAN),
    'stamp_offset': (['-50 ms'], SCAN),
    'stamp_drift': ([100000], SCAN),
    'frame_id': (['elsewhere'], SCAN),
    'bit_flips': ([3, {'rate': 0.01}], SCAN),
    'truncate': (['8 B'], SCAN),
    'drop': (['50 %', {'every': 3}, {'burst': 3, 'mean_gap': 4}], SCAN),
    'freeze': ([True], SCAN),
    'rate_limit': (['20 Hz', '12.5 Hz'], SCAN),
    'duplicate': (['50 %', {'copies': 3}], SCAN),
    'reorder': ([4], SCAN),
    'delay': (['100 ms', {'jitter': {'uniform': '30 ms'}}, {'jitter': {'normal': '5 ms'}},
               {'jitter': {'normal': {'stddev': '5 ms', 'mean': '-1 ms'}}},
               {'jitter': {'uniform': {'low': '1 ms', 'high': '2 ms'}}},
               {'constant': '1 ms', 'jitter': {'lognormal': {'median': '4 ms', 'sigma': 0.5}},
                'keep_order': False}], SCAN),
}
ALL = [(key, given, kind) for key, (ways, kind) in CASES.items() for given in ways]


def test_every_fault_of_the_spec_is_here() -> None:
    keys = set(Fault.model_fields) - {'topic', 'publisher', 'probability'}
    assert keys == set(CONTENT) | set(FLOWS) == set(CASES)
    assert set(FLOWS) == set(Fault.flow_keys)


@pytest.mark.parametrize(('key', 'given', 'kind'), ALL)
def test_every_fault_does_something(key: str, given: Any, kind: str) -> None:
    messages = scans() if kind == SCAN else images()
    out = played({key: given}, messages, kind)
    untouched = [(i * PERIOD, message) for i, message in enumerate(messages)]
    assert out != untouched
    assert out == played({key: given}, messages, kind), 'the same seed gives something else'
    if key in CONTENT:
        assert [at for at, _ in out] == [at for at, _ in untouched]
    else:
        assert {message for _, message in out} <= set(messages)


@pytest.mark.parametrize(('key', 'given', 'kind'), ALL)
def test_a_fault_is_written_as_it_was_read(key: str, given: Any, kind: str) -> None:
    read = fault({key: given})
    text = json.dumps(written(read))
    assert repr(Fault.model_validate(json.loads(text))) == repr(read)
    assert written(Fault.model_validate(json.loads(text))).keys() == written(read).keys()


def test_parameters_arrive_where_they_belong() -> None:
    assert first({'value': {'field': 'range_max', 'value': 7.5}}).range_max == 7.5
    assert np.allclose(first({'bias': {'field': 'ranges[*]', 'bias': 0.5}}).ranges, RANGES + 0.5)
    assert np.isinf(first({'inf': 'ranges[*]'}).ranges).all()
    assert np.isnan(first({'nan': 'ranges[*]'}).ranges).all()
    assert first({'frame_id': 'there'}).header.frame_id == 'there'
    noisy = first({'noise': {'field': 'ranges[*]', 'stddev': 0.5}}).ranges - RANGES
    assert 0.35 < noisy.std() < 0.65
    assert stamps({'stamp_offset': '-50 ms'})[:3] == [-50, -40, -30]
    assert stamps({'stamp_drift': 100_000})[:3] == [0, 11, 22]
    assert stamps({'stale_stamps': True})[-1] == 0
    assert len(played({'truncate': '8 B'}, scans(), SCAN)[0][1]) == len(scans()[0]) - 8


@pytest.mark.parametrize(('given', 'count'), [
    ({'drop': {'every': 4}}, 30), ({'drop': 1.0}, 0), ({'rate_limit': '20 Hz'}, 8),
    ({'duplicate': {'copies': 2}}, 120), ({'freeze': True}, 40),
    # Every other passes, and of these every other again.
    ({'drop': {'every': 2}, 'rate_limit': '25 Hz'}, 10),
    ({'drop': {'every': 2}, 'duplicate': 1.0}, 40),
])
def test_how_many_are_left(given: dict[str, Any], count: int) -> None:
    assert len(played(given, scans(), SCAN)) == count


def test_delays() -> None:
    assert played({'delay': '30 ms'}, scans(), SCAN)[2][0] == 50 * MS
    late = [at - i * PERIOD for i, (at, _) in enumerate(
        played({'delay': {'jitter': {'uniform': {'low': '1 ms', 'high': '3 ms'}}}},
               scans(), SCAN))]
    assert MS <= min(late) < max(late) <= 3 * MS


def test_content_comes_before_the_flow_and_flows_are_chained() -> None:
    out = played({'frame_id': 'there', 'reorder': 5, 'delay': '30 ms'}, scans(), SCAN)
    assert len(out) == COUNT
    assert all(STORE.deserialize_cdr(one, SCAN).header.frame_id == 'there' for _, one in out)
    # What the shuffling held back at the end is delayed as well.
    assert [at for at, _ in out[-4:]] == [COUNT * PERIOD + 30 * MS] * 4


def test_the_probability_is_that_of_the_content() -> None:
    out = played({'probability': 0.5, 'frame_id': 'there', 'drop': {'every': 40}}, scans(), SCAN)
    changed = sum(b'there' in message for _, message in out)
    assert len(out) == COUNT - 1
    assert 8 < changed < 31


@pytest.mark.parametrize(('given', 'error'), [
    ({'nan': 'rnges[*]'}, FieldPathError), ({'jpeg': 5}, RobotQaError),
    ({'nan': 'header.frame_id'}, RobotQaError),
])
def test_what_does_not_fit_the_type(given: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        pipeline(fault(given), OURS, SCAN, SeedSequence(1))


@pytest.mark.parametrize(('key', 'given', 'other'), [
    *((key, {'field': 'ranges[*]', **one}, {'share': 0.1})
      for key, one in (('nan', {}), ('inf', {}), ('value', {'value': 9}), ('bias', {'bias': 1}),
                       ('noise', {'stddev': 1}))),
    ('low_light', {'gain': 0.5}, {'noise': 0.2}), ('motion_blur', {'length': 9}, {'angle': 90}),
    ('occlusion', {'x': 0, 'y': 0, 'width': 0.2, 'height': 0.3}, {'brightness': 1}),
    ('occlusion', {'x': 0, 'y': 0, 'width': 0.2, 'height': 0.3}, {'y': 0.5}),
    ('dead_pixels', {'share': 0.2}, {'hot': 1}),
    ('blocked_sector', {'center': 10, 'width': 40}, {'range': 0.5}),
    ('ghost_returns', {'share': 0.5, 'near': 0.2, 'far': 0.8}, {'near': 0.7}),
    ('duplicate', {'probability': 0.5}, {'copies': 2}),
    ('delay', {'jitter': {'uniform': '30 ms'}}, {'keep_order': False}),
    ('delay', {'jitter': {'normal': '5 ms'}},
     {'jitter': {'normal': {'stddev': '5 ms', 'mean': '9 ms'}}}),
])
def test_no_parameter_is_lost(key: str, given: Any, other: Any) -> None:
    kind = CASES[key][1]
    messages = scans() if kind == SCAN else images()
    with_it = played({key: {**given, **other}}, messages, kind)
    assert with_it != played({key: given}, messages, kind)
