"""Cron expressions: what a calendar says, as another implementation of Debian's rules says it."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim, CronSimError
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from tropism.core.cron import Cron
from tropism.core.errors import InvalidInputError
from tropism.core.time import hours, instant_us, moment, to_us
from tropism.runtime.ticking import moments

ZONES = ["UTC", "America/New_York", "Europe/Paris", "Asia/Beirut", "America/Sao_Paulo", "Australia/Lord_Howe"]
HOUR = to_us(hours(1))


def a_field(low: int, high: int, names: list[str] = ()) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    # The other one takes "1-1/2" for "1/2"; two ends that differ it reads as everybody does.
    pair = st.tuples(number, number).filter(lambda ends: ends[0] != ends[1])
    span = pair.map(lambda ends: f"{min(ends)}-{max(ends)}")
    stepped = st.tuples(st.one_of(st.just("*"), span, number.map(str)), st.integers(1, 20)).map(
        lambda pair: f"{pair[0]}/{pair[1]}"
    )
    one = st.one_of(number.map(str), span, stepped, *([st.sampled_from(names)] if names else []))
    return st.one_of(st.just("*"), one, st.lists(one, min_size=1, max_size=3).map(",".join))


EXPRESSIONS = st.tuples(
    a_field(0, 59),
    a_field(0, 23),
    a_field(1, 31),
    a_field(1, 12, ["JAN", "feb", "Dec"]),
    a_field(0, 7, ["SUN", "mon", "Sat"]),
).map(" ".join)
STARTS = st.integers(
    instant_us(datetime(2001, 1, 1, tzinfo=UTC)), instant_us(datetime(2035, 1, 1, tzinfo=UTC))
)


@settings(max_examples=50)
@given(EXPRESSIONS, st.sampled_from(ZONES), STARTS)
@example("30 2 * * *", "America/New_York", instant_us(datetime(2024, 3, 9, tzinfo=UTC)))
@example("*/30 * * * *", "America/New_York", instant_us(datetime(2024, 11, 3, 4, tzinfo=UTC)))
@example("30 1 * * *", "America/New_York", instant_us(datetime(2024, 11, 2, tzinfo=UTC)))
@example("0 0 29 2 MON", "UTC", instant_us(datetime(2024, 3, 1, tzinfo=UTC)))
def test_it_says_what_another_implementation_says(expression: str, zone: str, start_us: int) -> None:
    """The same instants follow each other, over gaps and overlaps of the clock, in every zone."""
    start_us -= start_us % 60_000_000
    try:
        peer = CronSim(expression, moment(start_us).astimezone(ZoneInfo(zone)))
        wanted = [instant_us(next(peer).astimezone(UTC)) for _ in range(8)]
    except CronSimError:
        with pytest.raises(InvalidInputError):
            Cron.parse(expression, zone)
        return
    except StopIteration:
        assume(False)
    cron, found = Cron.parse(expression, zone), [start_us]
    while len(found) <= len(wanted):
        found.append(cron.after(found[-1]))
    assert found[1:] == wanted


@settings(max_examples=25)
@given(EXPRESSIONS, st.sampled_from(ZONES), STARTS, st.integers(0, 3000))
def test_there_and_back_it_is_one_calendar(expression: str, zone: str, start_us: int, span: int) -> None:
    """What is due up to a moment is the last of what is due behind an earlier one."""
    try:
        cron = Cron.parse(expression, zone)
    except InvalidInputError:
        assume(False)
    until_us = start_us + span * HOUR
    every = moments(cron, start_us, until_us, last=False) if span < 100 else None
    last = moments(cron, start_us, until_us, last=True)
    if every is not None:
        assert list(last) == every[-1:]
        assert every == sorted(set(every))
    for each in last:
        assert start_us < each <= until_us
        assert cron.until(each) == each
        assert cron.until(each - 1) != each
        assert (cron.after(each) or until_us + 1) > until_us


def local(zone: str, *times_us: int) -> list[str]:
    return [moment(time_us).astimezone(ZoneInfo(zone)).strftime("%m-%d %H:%M %z") for time_us in times_us]


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        # Forward at 02:00 on March 10: 02:30 is skipped, and made up for once, at 03:00.
        ("30 2 10 3 *", ["03-10 03:00 -0400"]),
        ("0,30 2 10 3 *", ["03-10 03:00 -0400"]),
        # Back at 02:00 on November 3: 01:30 comes twice, and is due the first time.
        ("30 1 3 11 *", ["11-03 01:30 -0400"]),
        # Every half hour goes by the time that passes.
        (
            "*/30 1-3 10 3 *",
            ["03-10 01:00 -0500", "03-10 01:30 -0500", "03-10 03:00 -0400", "03-10 03:30 -0400"],
        ),
        (
            "*/30 1 3 11 *",
            ["11-03 01:00 -0400", "11-03 01:30 -0400", "11-03 01:00 -0500", "11-03 01:30 -0500"],
        ),
    ],
)
def test_gaps_and_overlaps_of_the_clock_are_as_defined(expression: str, wanted: list[str]) -> None:
    """A skipped time is due at once behind the gap, a repeated one the first time; stars go by what passes."""
    zone = "America/New_York"
    start, end = (instant_us(datetime(year, 1, 1, tzinfo=UTC)) for year in (2024, 2025))
    assert local(zone, *moments(Cron.parse(expression, zone), start, end, last=False)) == wanted


@pytest.mark.parametrize(
    ("expression", "zone", "fact"),
    [
        ("* * * *", "UTC", "it has 4 fields"),
        ("60 * * * *", "UTC", "its minute holds '60'"),
        ("*/0 * * * *", "UTC", "has no step"),
        ("* * * * MO", "UTC", "its day of week holds 'MO'"),
        ("* 9-5 * * *", "UTC", "ends before it begins"),
        ("0 0 30 2 *", "UTC", "no such month has 30 days"),
        ("0 0 * * *", "Mars/Olympus", "time zone 'Mars/Olympus' is not known here"),
        ("0 0 * * *", "../etc/passwd", "is not known here"),
        ("² * * * *", "UTC", "its minute holds"),
        ("@sometimes", "UTC", "it has 1 fields"),
    ],
)
def test_what_says_nothing_is_refused_with_a_remedy(expression: str, zone: str, fact: str) -> None:
    """A wrong expression or zone ends where it is written, not at some midnight."""
    with pytest.raises(InvalidInputError, match="Cannot read cron expression") as raised:
        Cron.parse(expression, zone)
    assert fact in str(raised.value)


def test_a_calendar_that_ends_says_so() -> None:
    """Behind the last year of calendars nothing is due, and nothing breaks."""
    assert Cron.parse("@yearly").after(instant_us(datetime(9999, 6, 1, tzinfo=UTC))) is None
    assert Cron.parse("@yearly").until(instant_us(datetime(1, 1, 1, tzinfo=UTC))) is not None
