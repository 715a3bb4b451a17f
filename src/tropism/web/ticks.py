"""Where an axis is marked: round numbers, and the beginnings of months, days and hours."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from tropism.core.time import instant_us
from tropism.web.words import at, decimal, month

_MINUTE = 60
_DAY = 86_400


@dataclass(frozen=True, slots=True)
class Tick:
    """A marked place of an axis: its value, its words, and a second line where that changes."""

    value: float
    label: str
    below: str = ""


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps values from low to high onto pixels from start to end."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return the pixel of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def padded(values: Iterable[float], *, share: float = 0.06) -> tuple[float, float]:
    """Return a range that holds all values with some air around them; never an empty range."""
    known = list(values)
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    size = max(abs(low), abs(high))
    if high - low <= max(size * 1e-9, 1e-290):
        air = size * 0.05 if size > 1e-280 else 1.0
        return low - air, high + air
    return low - (high - low) * share, high + (high - low) * share


def number_ticks(low: float, high: float, most: int = 6) -> list[Tick]:
    """Return at most so many round numbers between low and high."""
    step, digits = _step(low, high, most)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    # Far from zero, rounding may let one more in.
    stop = min(last, first + most - 1)
    return [Tick(each * step, _axis_number(each * step, digits)) for each in range(first, stop + 1)]


def log_ticks(low: float, high: float, most: int = 8) -> list[float]:
    """Return round numbers of a logarithmic axis: 1, 2 and 5 of each decade, or fewer."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for mantissas in ((1, 2, 5), (1, 3), (1,)):
        found = [m * 10.0**k for k in decades for m in mantissas if low <= m * 10.0**k <= high]
        if len(found) <= most:
            return found
    return found[:: math.ceil(len(found) / most)]


def time_ticks(low_us: int, high_us: int, most: int = 12) -> list[Tick]:
    """Return at most so many beginnings of years, months, days, hours or minutes between two instants."""
    seconds = max(1e-6, (high_us - low_us) / 1e6)
    for step, months in _CALENDAR:
        if seconds / step <= most:
            found = _months(low_us, high_us, months) if months else _moments(low_us, high_us, step)
            return _labelled(found, step)
    years = math.ceil(seconds / (365.25 * _DAY) / most)
    return _labelled(_months(low_us, high_us, 12 * years), 365 * _DAY)


_CALENDAR: tuple[tuple[int, int], ...] = (
    *((each, 0) for each in (1, 5, 15, 30)),
    *((each * _MINUTE, 0) for each in (1, 5, 15, 30, 60, 180, 360, 720)),
    *((each * _DAY, 0) for each in (1, 2, 7, 14)),
    *((each * 30 * _DAY, each) for each in (1, 2, 3, 6)),
    (365 * _DAY, 12),
)


def _step(low: float, high: float, most: int) -> tuple[float, int]:
    """Return the smallest round step that marks at most so many places, and its decimals."""
    power = math.floor(math.log10((high - low) / max(1, most))) - 1
    steps = (mantissa * 10.0**k for k in range(power, power + 5) for mantissa in (1, 2, 5))
    step = next(each for each in steps if math.floor(high / each) - math.ceil(low / each) + 1 <= most)
    return step, max(0, -math.floor(math.log10(step) + 1e-9))


def _axis_number(value: float, digits: int) -> str:
    for size, unit in ((1e9, ""), (1e6, " M"), (1e4, " k")):
        if abs(value) >= size:
            divisor = {" M": 1e6, " k": 1e3}.get(unit, 1.0)
            return decimal(value / divisor, 0 if divisor == 1 or not value % divisor else 1) + unit
    return decimal(value, digits) if digits <= 6 else f"{value:.3g}"


def _months(low_us: int, high_us: int, step: int) -> list[datetime]:
    first, last = at(low_us), at(high_us)
    indices = range((first.year * 12 + first.month - 1) // step * step, last.year * 12 + last.month, step)
    starts = [datetime(max(1, k // 12), k % 12 + 1, 1, tzinfo=first.tzinfo) for k in indices]
    return [each for each in starts if low_us <= instant_us(each) <= high_us]


def _moments(low_us: int, high_us: int, step: int) -> list[datetime]:
    width = step * 1_000_000
    monday = 4 * _DAY * 1_000_000 if step >= 7 * _DAY else 0  # of the first week of 1970
    first = -(-(low_us - monday) // width)
    found = [at(each * width + monday) for each in range(first, (high_us - monday) // width + 1)]
    return [each for each in found if low_us <= instant_us(each) <= high_us]  # the calendar has ends


def _labelled(found: list[datetime], step: int) -> list[Tick]:
    ticks: list[Tick] = []
    before = ""
    for when in found:
        words, below = _words(when, step)
        ticks.append(Tick(instant_us(when), words, below if below != before else ""))
        before = below
    return ticks


def _words(when: datetime, step: int) -> tuple[str, str]:
    if step >= 365 * _DAY:
        return str(when.year), ""
    if step >= 30 * _DAY:
        return month(when), str(when.year)
    if step >= _DAY:
        return f"{when.day} {month(when)}", str(when.year)
    clock = f"{when:%H:%M}" if step >= _MINUTE else f"{when:%H:%M:%S}"
    return clock, f"{when.day} {month(when)} {when.year}"
