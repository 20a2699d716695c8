from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from robot_qa.errors import QuantityError
from robot_qa.quantities import (
    DurationNs,
    Frequency,
    Ratio,
    SignedDurationNs,
    Size,
    parse_duration,
    parse_frequency,
    parse_ratio,
    parse_size,
)

UNITS = {'ns': 1, 'us': 10**3, 'µs': 10**3, 'μs': 10**3, 'ms': 10**6, 's': 10**9,
         'min': 60 * 10**9, 'h': 3600 * 10**9}


@pytest.mark.parametrize('parse, text, value', [
    (parse_frequency, '30 Hz', 30.0),
    (parse_frequency, '1 kHz', 1000.0),
    (parse_frequency, '500 mHz', 0.5),
    (parse_frequency, '0.1Hz', 0.1),
    (parse_duration, '50 ms', 50_000_000),
    (parse_duration, '0.3 s', 300_000_000),
    (parse_duration, '1.000000001 s', 1_000_000_001),
    (parse_duration, '9007199254.740993 s', 9_007_199_254_740_993_000),
    (parse_duration, '1e-3 s', 1_000_000),
    (parse_duration, ' 90  s ', 90_000_000_000),
    (parse_duration, '100 \u00b5s', 100_000),
    (parse_duration, '0.4 ns', 0),
    (parse_ratio, '5 %', 0.05),
    (parse_ratio, '0.1%', 0.001),
    (parse_ratio, 0.25, 0.25),
    (parse_ratio, '1', 1.0),
    (parse_size, '500 MiB', 500 * 2**20),
    (parse_size, '1.5 KiB', 1536),
    (parse_size, '2 GB', 2 * 10**9),
])
def test_texts_become_numbers(
    parse: Callable[[object], float], text: object, value: float
) -> None:
    assert parse(text) == value


@pytest.mark.parametrize('parse, text, message', [
    (parse_duration, 50, '50 has no unit; write a time such as 50 ms (ns, us, ms, s, min, h)'),
    (parse_duration, '0', '0 has no unit; write a time such as 50 ms (ns, us, ms, s, min, h)'),
    (parse_duration, '30 Hz', '30 Hz is a frequency; a time was expected, such as 50 ms'),
    (parse_duration, '5 %', '5 % is a ratio; a time was expected, such as 50 ms'),
    (parse_frequency, '50 ms', '50 ms is a time; a frequency was expected, such as 30 Hz'),
    (parse_frequency, '0.5 deg', '0.5 deg is an angle; a frequency was expected, such as 30 Hz'),
    (parse_frequency, '30 hz', '30 hz has the unknown unit "hz"; write a frequency such as 30 Hz '
                               '(mHz, Hz, kHz, MHz, GHz)'),
    (parse_size, '5 MiB/s', '5 MiB/s has the unknown unit "MiB/s"; write a size such as 500 MiB '
                            '(B, kB, MB, GB, KiB, MiB, GiB)'),
    (parse_duration, '-5 ms', '-5 ms is below zero'),
    (parse_size, '-1 B', '-1 B is below zero'),
    (parse_ratio, '101 %', '101 % is not between 0 % and 100 %'),
    (parse_ratio, 5, '5 is not between 0 % and 100 %'),
    (parse_ratio, -0.1, '-0.1 is not between 0 % and 100 %'),
    (parse_duration, '300 h 5 min', '300 h 5 min has the unknown unit "h 5 min"; write a time '
                                    'such as 50 ms (ns, us, ms, s, min, h)'),
    (parse_duration, '9e99 h', '9e99 h is too large'),
    (parse_duration, '2562048 h', '2562048 h is too large'),
    (parse_ratio, True, '"true" is not a ratio; write a ratio such as 5 % (%)'),
    (parse_duration, ['1 s'],
     'a list is not a time; write a time such as 50 ms (ns, us, ms, s, min, h)'),
])
def test_refusals_say_what_was_expected(
    parse: Callable[[object], float], text: object, message: str
) -> None:
    with pytest.raises(QuantityError) as caught:
        parse(text)
    assert str(caught.value) == message


@pytest.mark.parametrize('parse', [parse_frequency, parse_duration, parse_ratio, parse_size])
@pytest.mark.parametrize('text', [
    'nan', '.nan', 'inf', 'nan s', 'inf Hz', '', ' ', 's', 'Hz', float('nan'), float('inf'), None,
    {}, '1,5 s', '--1 s', '1 2 s', '\u0663 s', '1e99999999999 s', '9' * 1000, b'1 s',
])
def test_what_is_no_quantity_is_refused(parse: Callable[[object], float], text: object) -> None:
    with pytest.raises(QuantityError):
        parse(text)


@given(st.integers(0, 10**9), st.integers(0, 999_999_999), st.sampled_from(['s', 'ms']))
def test_durations_are_exact(whole: int, fraction: int, unit: str) -> None:
    exact = whole * UNITS[unit] + fraction * UNITS[unit] // 10**9
    if fraction * UNITS[unit] % 10**9 == 0:
        assert parse_duration(f'{whole}.{fraction:09} {unit}') == exact


@given(st.integers(-(10**6), 10**6), st.sampled_from(sorted(UNITS)))
def test_signed_durations(count: int, unit: str) -> None:
    assert parse_duration(f'{count} {unit}', signed=True) == count * UNITS[unit]


@given(st.text(max_size=20) | st.floats() | st.integers() | st.none() | st.booleans())
def test_only_quantity_errors_leave(text: object) -> None:
    for parse in (parse_frequency, parse_duration, parse_ratio, parse_size):
        try:
            assert parse(text) >= 0
        except QuantityError:
            continue


@pytest.mark.parametrize('kind, text, value', [
    (Frequency, '30 Hz', 30.0), (DurationNs, '1 s', 10**9), (SignedDurationNs, '-1 s', -(10**9)),
    (Ratio, '50 %', 0.5), (Size, '1 KiB', 1024),
])
def test_pydantic_types(kind: Any, text: str, value: float) -> None:
    adapter: TypeAdapter[float] = TypeAdapter(kind)
    assert adapter.validate_python(text) == value
    with pytest.raises(ValidationError, match=r'a .* was expected'):
        adapter.validate_python('1 deg')
    assert 'pattern' in str(adapter.json_schema())
