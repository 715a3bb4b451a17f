import math
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tropism.core.time import parse_iso
from tropism.web.ticks import Scale, log_ticks, number_ticks, padded, time_ticks

DAY = 86_400_000_000
START = parse_iso("2013-01-01T05:00:00Z")
NUMBERS = st.floats(-1e300, 1e300)


@example([9.99999999990476e299], 10)
@given(st.lists(NUMBERS, min_size=1, max_size=20), st.integers(3, 12))
def test_ticks_of_any_numbers_are_few_ascending_and_inside(values, most):
    low, high = padded(values)
    assert low < high
    assert low <= min(values) <= max(values) <= high
    ticks = number_ticks(low, high, most)
    assert 1 <= len(ticks) <= most
    assert all(a.value < b.value for a, b in pairwise(ticks))
    slack = (high - low) * 1e-6
    assert all(low - slack <= tick.value <= high + slack for tick in ticks)
    assert len({tick.label for tick in ticks}) == len(ticks) or max(map(abs, values)) > 1e4


def test_round_numbers_for_a_narrow_range():
    assert [tick.label for tick in number_ticks(0.66, 0.84, 4)] == ["0.70", "0.75", "0.80"]
    assert [tick.label for tick in number_ticks(-0.02, 0.11, 7)] == [
        "−0.02",
        "0.00",
        "0.02",
        "0.04",
        "0.06",
        "0.08",
        "0.10",
    ]
    assert [tick.label for tick in number_ticks(0, 36_000, 4)] == ["0", "10 k", "20 k", "30 k"]
    assert [tick.label for tick in number_ticks(0, 2_000_000, 4)] == ["0", "1 M", "2 M"]


@given(st.integers(-(10**17), 10**17), st.integers(1, 10**17), st.integers(2, 14))
def test_ticks_of_any_time_are_few_ascending_and_inside(start, length, most):
    ticks = time_ticks(start, start + length, most)
    assert len(ticks) <= most + 1
    assert all(a.value < b.value for a, b in pairwise(ticks))
    assert all(start - 1 <= tick.value <= start + length + 1 for tick in ticks)


@pytest.mark.parametrize(
    ("days", "first", "below"),
    [
        (364, "Mar", "2013"),
        (330, "Feb", "2013"),
        (40, "7 Jan", "2013"),
        (3, "06:00", "1 Jan 2013"),
        (2000, "Jul", "2013"),
        (9000, "2016", ""),
    ],
)
def test_time_is_told_in_the_units_of_its_span(days, first, below):
    tick = time_ticks(START, START + days * DAY, 12)[0]
    assert (tick.label, tick.below) == (first, below)


def test_the_second_line_changes_with_the_year():
    ticks = time_ticks(START, START + 500 * DAY, 12)
    assert [tick.below for tick in ticks if tick.below] == ["2013", "2014"]


@pytest.mark.parametrize(("low", "high"), [(1e-6, 1e-2), (1e-12, 1e6), (0.4, 0.6), (1.1, 1.9)])
def test_logarithmic_ticks_are_few(low, high):
    assert len(log_ticks(low, high, 8)) <= 8


def test_a_scale_maps_its_ends():
    scale = Scale(10, 20, 100, 0)
    assert (scale(10), scale(20), scale(15)) == (100, 0, 50)
    assert math.isfinite(Scale(-1e300, 1e300, 0, 1)(0))
