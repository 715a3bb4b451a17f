"""Whatever instant a log holds can be told."""

import pytest

from tropism.core.time import is_plausible, iso, parse_iso


@pytest.mark.parametrize(
    ("time_us", "told"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (2**62, "9999-12-31T23:59:59.999999Z"),
        (-(2**62), "0001-01-01T00:00:00Z"),
        (parse_iso("9999-12-31T23:59:59-05:00"), "9999-12-31T23:59:59.999999Z"),
    ],
)
def test_an_instant_that_no_calendar_reaches_is_told_as_the_nearest(time_us, told):
    assert iso(time_us) == told


def test_what_comes_in_has_room_for_zones_and_delays_on_both_sides():
    assert is_plausible(parse_iso("1000-01-01"))
    assert is_plausible(parse_iso("8999-12-31T23:59:59Z"))
    assert not is_plausible(parse_iso("0999-12-31T23:59:59Z"))
    assert not is_plausible(parse_iso("9000-01-01"))


def test_numbers_since_1970_are_no_dates():
    """Read by Python alone, this one is a night of the year 1610."""
    with pytest.raises(ValueError, match="no date"):
        parse_iso("1610121212345")
    assert iso(parse_iso("20260131")) == "2026-01-31T00:00:00Z"
