"""Numbers, durations and instants as people read them; what is absent is shown as absent, never as zero."""

import math
from datetime import UTC, datetime

from tropism.core.time import MICROSECONDS, instant_us, moment

ABSENT = "–"
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_FIRST_US = instant_us(datetime(1, 1, 2, tzinfo=UTC))
_LAST_US = instant_us(datetime(9999, 12, 30, tzinfo=UTC))
_UNITS = ((1.0, 1.0, "s"), (1e-3, 1e-3, "ms"), (1e-6, 1e-6, "µs"), (0.0, 1e-9, "ns"))


def finite(value: float | None) -> float | None:
    """Return a number that can be drawn, or None: NaN and infinity are no values."""
    return None if value is None or not math.isfinite(value) else max(-1e300, min(1e300, float(value)))


def decimal(value: float | None, digits: int = 3) -> str:
    """Return a number with so many decimals, or the sign for absent."""
    known = finite(value)
    if known is None:
        return ABSENT
    if abs(known) >= 1e9 or digits > 9:
        return _signed(f"{known:.3g}")
    return _signed(f"{known:,.{digits}f}")


def signed(value: float, digits: int = 3) -> str:
    """Return a difference with its sign."""
    written = decimal(value, digits)
    return written if written.startswith("−") else f"+{written}"


def count(value: float | None) -> str:
    """Return a whole number with separated thousands, or the sign for absent."""
    known = finite(value)
    return ABSENT if known is None else decimal(round(known), 0)


def percent(share: float | None, digits: int = 0) -> str:
    """Return a share as a percentage."""
    known = finite(share)
    return ABSENT if known is None else f"{decimal(known * 100, digits)}\u00a0%"


def plural(number: float, noun: str) -> str:
    """Return a count with its noun: 1 training, 2 trainings."""
    return f"{count(number)} {noun}" if number == 1 else f"{count(number)} {noun}s"


def duration(seconds: float | None) -> str:
    """Return a duration in the units that suit its size."""
    known = finite(seconds)
    if known is None:
        return ABSENT
    if abs(known) >= 3600:
        hours, rest = divmod(round(known / 60), 60)
        return f"{count(hours)}\u00a0h {rest}\u00a0min"
    if abs(known) >= 59.95:
        minutes, rest = divmod(round(known), 60)
        return f"{minutes}\u00a0min {rest}\u00a0s"
    if not known:
        return "0\u00a0s"
    unit = next(each for each in _UNITS if abs(known) >= each[0] * 0.9995)
    return f"{_three(known / unit[1])}\u00a0{unit[2]}"


def day(time_us: int) -> str:
    """Return the day of an instant."""
    when = at(time_us)
    return f"{when.day} {_MONTHS[when.month - 1]} {when.year}"


def minute(time_us: int) -> str:
    """Return an instant to the minute."""
    when = at(time_us)
    return f"{day(time_us)}, {when.hour:02d}:{when.minute:02d} UTC"


def month(when: datetime) -> str:
    """Return the short name of a month."""
    return _MONTHS[when.month - 1]


def at(time_us: int) -> datetime:
    """Return an instant as a datetime, the ends of the calendar standing for what lies beyond."""
    return moment(max(_FIRST_US, min(_LAST_US, time_us)))


def days_between(start_us: int, end_us: int) -> float:
    """Return the days from one instant to another."""
    return (end_us - start_us) / (86_400 * MICROSECONDS)


def _three(value: float) -> str:
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    written = f"{value:.{digits}f}"
    return _signed(written.rstrip("0").rstrip(".") if "." in written else written)


def _signed(written: str) -> str:
    bare = written.lstrip("-")
    zero = not bare.strip("0.,")
    return f"−{bare}" if written.startswith("-") and not zero else bare
