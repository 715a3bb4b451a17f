"""Durations and instants: instants are integers, microseconds since 1970 UTC.

Integers order, subtract and serialise exactly, which replay depends on.
"""

from datetime import UTC, datetime, timedelta

MICROSECONDS = 1_000_000
"""Microseconds in a second."""

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
    """Return an instant as RFC 3339 text in UTC, without trailing zeros of a second."""
    return moment(time_us).isoformat().replace("+00:00", "Z")


def parse_iso(text: str) -> int:
    """Return RFC 3339 text as an instant; text without a zone is read as UTC.

    Raises: ValueError if the text is no date or time.
    """
    parsed = datetime.fromisoformat(text)
    return instant_us(parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC))
