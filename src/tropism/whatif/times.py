"""Columns of times: ISO text, dates, and numbers since 1970."""

import math
from collections.abc import Sequence

from tropism.core.errors import InvalidInputError
from tropism.core.time import IMPLAUSIBLE, is_plausible, parse_iso
from tropism.whatif.reading import Raw, Sheet

MISSING = {"", "na", "n/a", "nan", "nat", "null", "none"}
"""Texts that stand for no value, in any case."""

_UNITS = ((1e11, 1e6), (1e14, 1e3), (1e17, 1.0), (math.inf, 1e-3))
"""Numbers up to 1e11 are seconds (to the year 5138), then milli-, micro- and nanoseconds."""


def read_times(sheet: Sheet, raw: Raw, option: str) -> list[int | None]:
    """Return a column's instants in microseconds since 1970 UTC, None where a value is missing.

    Text is ISO 8601, read as UTC where it names no zone, or a number. Numbers are seconds since 1970 or, by
    the size of the largest, milli-, micro- or nanoseconds; eight digits that all are dates are dates.

    Raises: InvalidInputError with the first line that holds no time.
    """
    found = _instants(sheet, raw, option)
    wrong = next((row for row, at in enumerate(found) if at is not None and not is_plausible(at)), None)
    if wrong is not None:
        raise _no_time(sheet, raw.name, option, wrong, IMPLAUSIBLE)
    return found


def _instants(sheet: Sheet, raw: Raw, option: str) -> list[int | None]:
    if raw.kind == "time":
        return list(raw.values)
    if raw.kind == "number":
        return _numbers([None if _absent(value) else float(value) for value in raw.values])
    if raw.kind != "text":
        raise _no_time(sheet, raw.name, option, 0)
    texts = [None if is_missing(value) else value.strip() for value in raw.values]
    numbers = [None if text is None else _number(text) for text in texts]
    if all((number is None) == (text is None) for number, text in zip(numbers, texts, strict=True)):
        return _numbers(numbers)
    return [_instant(sheet, raw.name, option, row, text) for row, text in enumerate(texts)]


def is_missing(text: str) -> bool:
    """Say whether a text stands for no value."""
    return text.strip().lower() in MISSING


def is_time(text: str) -> bool:
    """Say whether a text is an ISO date or time, and no mere number."""
    return _parsed(text) is not None and _number(text) is None


def _absent(value: object) -> bool:
    return value is None or (isinstance(value, float) and not math.isfinite(value))


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _parsed(text: str) -> int | None:
    try:
        return parse_iso(text)
    except ValueError:
        return None


def _instant(sheet: Sheet, name: str, option: str, row: int, text: str | None) -> int | None:
    if text is None:
        return None
    found = _parsed(text)
    if found is None:
        raise _no_time(sheet, name, option, row)
    return found


def _numbers(numbers: Sequence[float | None]) -> list[int | None]:
    known = [number for number in numbers if number is not None]
    if not known:
        return [None] * len(numbers)
    dates = [_date(number) for number in known]
    if all(date is not None for date in dates):
        return [None if number is None else _date(number) for number in numbers]
    largest = max(map(abs, known))
    scale = next(scale for most, scale in _UNITS if largest < most)
    return [None if number is None else round(number * scale) for number in numbers]


def _date(number: float) -> int | None:
    if not 19000101 <= number <= 22001231 or number != int(number):
        return None
    return _parsed(f"{int(number):08d}")


def _no_time(
    sheet: Sheet, name: str, option: str, row: int, fact: str = "holds no time"
) -> InvalidInputError:
    return InvalidInputError(
        f"Cannot use {option} {name!r}: line {sheet.first_line + row} of it {fact}. Write times as "
        f"ISO 8601 text, as dates, or as seconds or milliseconds since 1970."
    )
