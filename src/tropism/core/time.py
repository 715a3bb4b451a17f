"""Durations and instants: instants are integers, microseconds since 1970 UTC.

Integers order, subtract and serialise exactly, which replay depends on.
"""

from datetime import UTC, datetime, timedelta

MICROSECONDS = 1_000_000
"""Microseconds in a second."""

_DATE_DIGITS = 8
_MICROSECOND = timedelta(microseconds=1)


def seconds(count: float) -> timedelta:
    """Return a duration of so many seconds."""
    return timedelta(seconds=count)


def minutes(count: float) -> timedelta:
    """Return a duration of so many minutes."""
    return timedelta(minutes=count)


def hours(count: float) -> timedelta:
    """Return a duration of so many hours."""
    return timedelta(hours=count)


def days(count: float) -> timedelta:
    """Return a duration of so many days."""
    return timedelta(days=count)


def to_us(duration: timedelta) -> int:
    """Return a duration in whole microseconds, exactly."""
    return duration // _MICROSECOND


def instant_us(moment: datetime) -> int:
    """Return an aware datetime as microseconds since 1970 UTC, exactly."""
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // _MICROSECOND


def moment(time_us: int) -> datetime:
    """Return microseconds since 1970 as an aware datetime in UTC, exactly."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time_us)


def iso(time_us: int) -> str:
    """Return an instant as RFC 3339 text in UTC, without trailing zeros of a second.

    One outside of the years 1 to 9999 is told as the nearest within: whatever a log holds can be shown.
    """
    shown = moment(max(_EARLIEST_US, min(_LATEST_US, time_us)))
    return shown.isoformat().replace("+00:00", "Z")


def parse_iso(text: str) -> int:
    """Return RFC 3339 text as an instant; text without a zone is read as UTC.

    Raises: ValueError if the text is no date or time.
    """
    parsed = parse_moment(text)
    return instant_us(parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC))


def parse_moment(text: str) -> datetime:
    """Return RFC 3339 text as a datetime, in the zone that it names or in none.

    Raises: ValueError if the text is no date or time.
    """
    # Python takes any sign between date and time, a digit too: milliseconds since 1970 would be a date.
    if text.isdigit() and len(text) != _DATE_DIGITS:
        raise ValueError(f"{len(text)} digits are no date")
    return datetime.fromisoformat(text)


def is_plausible(time_us: int) -> bool:
    """Say whether an instant lies in the years 1000 to 8999, and may come in from outside.

    In any zone, and with any delay added, calendars can then tell it; what lies beyond is a slip.
    """
    return _PLAUSIBLE_FROM_US <= time_us < _PLAUSIBLE_UNTIL_US


IMPLAUSIBLE = "lies outside of the years 1000 to 8999"
"""What to say of an instant that is not plausible."""

_EARLIEST_US = instant_us(datetime.min.replace(tzinfo=UTC))
_LATEST_US = instant_us(datetime.max.replace(tzinfo=UTC))
_PLAUSIBLE_FROM_US = parse_iso("1000-01-01")
_PLAUSIBLE_UNTIL_US = parse_iso("9000-01-01")
