"""Cron expressions: minute, hour, day of month, month, day of week, in a time zone."""

from bisect import bisect_right
from calendar import monthrange
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import product
from zoneinfo import ZoneInfo

from tropism.core.errors import InvalidInputError
from tropism.core.time import MICROSECONDS, instant_us, moment

DAYS_MAX = 366 * 50
"""How far a calendar is searched: the 29th of February on a given weekday may be 40 years away."""

_MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
_WEEKDAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]
_FIELDS: tuple[tuple[str, int, int, Sequence[str]], ...] = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of week", 0, 7, _WEEKDAYS),
)
_NAMED = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * SUN",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_KEPT_DAYS = 8
_DAY, _MINUTE = timedelta(days=1), timedelta(minutes=1)
_MINUTE_US = 60 * MICROSECONDS


@dataclass(frozen=True, slots=True)
class Cron:
    """What a cron expression says, as Debian's cron has it.

    Where both the day of the month and the day of the week are restricted, either will do. Where the clocks
    are put forward, a time of day that is skipped is due at once when they have been, and once only. Where
    they are put back, a time of day that comes twice is due the first time. Expressions whose minute or hour
    begins with ``*`` go by the time that passes: nothing is made up for, and what comes twice is due twice.
    """

    expression: str
    timezone: str
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either_day: bool
    passing: bool
    zone: ZoneInfo = field(compare=False, repr=False)
    _known: dict[date, tuple[int, ...]] = field(default_factory=dict, compare=False, repr=False)
    _last: dict[int, int | None] = field(default_factory=dict, compare=False, repr=False)

    @staticmethod
    def parse(expression: str, timezone: str = "UTC") -> "Cron":
        """Return what an expression says in a time zone. Raises: InvalidInputError, saying what is wrong."""
        parts = _NAMED.get(expression.strip().lower(), expression).upper().split()
        if len(parts) != len(_FIELDS):
            raise _wrong(expression, f"it has {len(parts)} fields", "Write five, such as '0 6 * * MON-FRI'.")
        minutes, hours, days, months, weekdays = (
            _values(expression, part, *field) for part, field in zip(parts, _FIELDS, strict=True)
        )
        either = not (parts[2].startswith("*") or parts[4].startswith("*"))
        if not either and min(days) > max(monthrange(2024, month)[1] for month in months):
            raise _wrong(expression, f"no such month has {min(days)} days", "Name a day that comes.")
        return Cron(
            expression,
            timezone,
            tuple(sorted(minutes)),
            tuple(sorted(hours)),
            days,
            months,
            frozenset(day % 7 for day in weekdays),
            either,
            parts[0].startswith("*") or parts[1].startswith("*"),
            _zone(expression, timezone),
        )

    def after(self, time_us: int) -> int | None:
        """Return the first instant behind one; None where there is none for fifty years."""
        if time_us not in self._last:
            self._last.clear()
            self._last[time_us] = self._nearest(time_us, +1)
        return self._last[time_us]

    def until(self, time_us: int) -> int | None:
        """Return the last instant up to one; None where there was none for fifty years."""
        return self._nearest(time_us, -1)

    def _nearest(self, time_us: int, way: int) -> int | None:
        # Days of a calendar may overlap where clocks are put back: one more is looked at on either side.
        found: int | None = None
        left = DAYS_MAX
        try:
            day = moment(time_us).astimezone(self.zone).date() - way * _DAY
            while left > 0:
                times = self._times(day)
                at = bisect_right(times, time_us)
                near = times[at : at + 1] if way > 0 else times[max(at - 1, 0) : at]
                if near:
                    left = min(left, 2) if found is None else left
                    found = near[0] if found is None else way * min(way * found, way * near[0])
                day, left = day + way * _DAY, left - 1
        except OverflowError:
            pass  # no calendar goes further
        return found

    def _times(self, day: date) -> tuple[int, ...]:
        """Return the instants that are due on a day of the calendar, in order."""
        if not self._is_due_on(day):
            return ()
        if day not in self._known:
            while len(self._known) >= _KEPT_DAYS:
                del self._known[next(iter(self._known))]
            self._known[day] = tuple(sorted(set(self._instants(day))))
        return self._known[day]

    def _is_due_on(self, day: date) -> bool:
        if day.month not in self.months:
            return False
        by_month, by_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return by_month or by_week if self.either_day else by_month and by_week

    def _instants(self, day: date) -> Iterator[int]:
        start, end = _midnight(day, self.zone), _midnight(day + _DAY, self.zone)
        if start.utcoffset() == end.utcoffset():
            # The clocks stay as they are, as on nearly all days: then it is plain counting.
            start_us = _us(start)
            for hour, minute in product(self.hours, self.minutes):
                yield start_us + (60 * hour + minute) * _MINUTE_US
            return
        for hour, minute in product(self.hours, self.minutes):
            told = datetime(day.year, day.month, day.day, hour, minute)  # noqa: DTZ001 (what a clock shows)
            both = [told.replace(tzinfo=self.zone, fold=fold) for fold in (0, 1)]
            real = [each for each in both if _is_real(each)]
            if self.passing:
                yield from map(_us, real)
            else:
                yield _us(real[0] if real else _behind_gap(both[0]))


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=zone)


def _us(local: datetime) -> int:
    return instant_us(local.astimezone(UTC))


def _is_real(local: datetime) -> bool:
    """Say whether a clock of this zone ever shows a time."""
    back = local.astimezone(UTC).astimezone(local.tzinfo)
    return back.replace(tzinfo=None) == local.replace(tzinfo=None)


def _behind_gap(local: datetime) -> datetime:
    """Return the first minute that a clock shows behind a time that it skips."""
    while not _is_real(local):
        local += _MINUTE
    return local


def _values(
    expression: str, text: str, name: str, low: int, high: int, names: Sequence[str]
) -> frozenset[int]:
    found: set[int] = set()
    for term in text.split(","):
        span, slash, step = term.partition("/")
        if slash and not (step.isdecimal() and step.isascii() and int(step)):
            raise _wrong(expression, f"its {name} {term!r} has no step", "Write it like '*/15'.")
        if span == "*":
            first, last = low, high
        else:
            start, dash, end = span.partition("-")
            first = _value(expression, start, name, low, high, names)
            last = _value(expression, end, name, low, high, names) if dash else high if slash else first
        if first > last:
            raise _wrong(expression, f"its {name} {term!r} ends before it begins", "Turn it round.")
        found.update(range(first, last + 1, int(step or 1)))
    return frozenset(found)


def _value(expression: str, text: str, name: str, low: int, high: int, names: Sequence[str]) -> int:
    if text in names:
        return names.index(text) + low
    if text.isdecimal() and text.isascii() and low <= int(text) <= high:
        return int(text)
    raise _wrong(
        expression, f"its {name} holds {text!r}", f"Write {low} to {high}, '*', lists, ranges or steps."
    )


def _zone(expression: str, name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise _wrong(
            expression,
            f"time zone {name!r} is not known here",
            "Name one such as 'Europe/Paris', or run pip install tzdata.",
        ) from error


def _wrong(expression: str, fact: str, remedy: str) -> InvalidInputError:
    return InvalidInputError(f"Cannot read cron expression {expression!r}: {fact}. {remedy}")
