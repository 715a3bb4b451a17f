"""Labels: two values, one of which is 1."""

from collections.abc import Sequence
from typing import Any

from tropism.core.errors import InvalidInputError
from tropism.whatif.notes import Note, named
from tropism.whatif.reading import Raw
from tropism.whatif.times import is_missing

_PAIRS = ({"0", "1"}, {"false", "true"}, {"f", "t"}, {"no", "yes"}, {"n", "y"}, {"off", "on"})
"""Pairs whose meaning is plain, in any case; the one that comes last is 1."""


def read_labels(raw: Raw) -> tuple[list[float | None], list[Note]]:
    """Return a column's labels as 0 and 1, None where missing, and a note where the choice is not plain.

    0/1, false/true, no/yes and their like mean what they say. Of any other two values, the larger number or
    the last in alphabetical order is 1: a choice that stays the same when the table grows.

    Raises: InvalidInputError if there are not exactly two values.
    """
    values = [_value(value) for value in raw.values]
    found = set(values) - {None}
    if len(found) != 2:
        raise _not_two(raw.name, found, len(values))
    low, high = sorted(found, key=_rank)
    plain = {str(low), str(high)} in _PAIRS
    told = f"Label {raw.name!r}: {high!r} counts as 1 and {low!r} as 0, for it comes last in order."
    notes = [] if plain else [Note(told)]
    return [None if value is None else float(value == high) for value in values], notes


def _value(value: Any) -> str | None:
    if value is None or (isinstance(value, str) and is_missing(value)) or value != value:  # noqa: PLR0124 (only NaN is not itself)
        return None
    text = str(value).strip()
    number = _number(text)
    if number is not None:
        return _exactly(text, number)
    lower = text.lower()
    return lower if any(lower in pair for pair in _PAIRS) else text


def _exactly(text: str, number: float) -> str:
    """Return a number in one way of writing it: 1, 1.0 and 1e0 are the same, and all else is different."""
    try:
        return str(int(text))
    except ValueError:
        return str(int(number)) if number.is_integer() else repr(number)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _rank(text: str | None) -> tuple[bool, float, str]:
    number = _number(text or "")
    return (number is None, number or 0.0, text or "")


def _not_two(name: str, found: set[str | None], rows: int) -> InvalidInputError:
    if not found:
        fact = f"all its {rows} values are missing" if rows else "the table has no rows"
        return InvalidInputError(f"Cannot use --label {name!r}: {fact}. Bring rows whose outcome is known.")
    if len(found) == 1:
        return InvalidInputError(
            f"Cannot use --label {name!r}: all its values are the same, so there is nothing to predict. "
            f"Name a column with two values, or bring rows of both."
        )
    shown = named(sorted(map(str, found), key=_rank), most=4)
    return InvalidInputError(
        f"Cannot use --label {name!r}: it has {len(found):,} different values ({shown}), and a label has "
        f"two. Make a column that says 1 or 0, such as whether the value is above a limit."
    )


def shares(labels: Sequence[float | None]) -> tuple[int, int]:
    """Return how many labels there are, and how many of them are 1."""
    known = [label for label in labels if label is not None]
    return len(known), int(sum(known))
