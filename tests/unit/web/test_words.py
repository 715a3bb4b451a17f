import math

import pytest

from tropism.web.words import ABSENT, count, day, decimal, duration, minute, percent, plural, signed


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf])
def test_what_is_absent_is_never_zero(value):
    assert {decimal(value), count(value), percent(value), duration(value)} == {ABSENT}


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (4.1e-4, "410 µs"), (0.00092, "920 µs"), (0.9996, "1 s"), (41, "41 s"), (58.34, "58.3 s"), (59.99, "1 min 0 s"),
     (171.4, "2 min 51 s"), (3599.9, "60 min 0 s"), (7260, "2 h 1 min"), (3e-9, "3 ns"), (1e-13, "0.0001 ns")],
)  # fmt: skip
def test_durations_in_the_units_of_their_size(seconds, words):
    assert duration(seconds).replace("\u00a0", " ") == words


def test_numbers():
    assert decimal(0.77512) == "0.775"
    assert decimal(-0.0001) == "0.000"
    assert decimal(1e12) == "1e+12"
    assert signed(0.0012) == "+0.001"
    assert signed(-0.0012) == "−0.001"
    assert count(336776) == "336,776"
    assert plural(1, "training") == "1 training"
    assert plural(0, "training") == "0 trainings"


def test_instants_beyond_the_calendar_are_shown_at_its_ends():
    assert day(2**63) == "30 Dec 9999"
    assert minute(-(2**63)) == "2 Jan 1, 00:00 UTC"
