"""What whoever asks should know of a table before believing an answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from tropism.core.errors import InvalidInputError


@dataclass(frozen=True, slots=True)
class Note:
    """One thing to know; a warning puts the whole answer in doubt."""

    text: str
    level: Literal["note", "warning"] = "note"


def counted(count: int, one: str, many: str | None = None) -> str:
    """Return a number of things, in words."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def named(names: Sequence[str], *, most: int = 8) -> str:
    """Return a list of names, the first of them if they are many."""
    shown = ", ".join(repr(name) for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def nearest(option: str, name: str, columns: Sequence[str]) -> InvalidInputError:
    """Return the error of a column that is not there, with those most like it."""
    lower = {column.lower(): column for column in reversed(columns)}
    close = [lower[each] for each in get_close_matches(name.lower(), list(lower), n=3, cutoff=0.5)]
    offered = f"Did you mean {named(close)}?" if close else f"It has {named(columns, most=12)}."
    return InvalidInputError(f"Cannot use {option} {name!r}: the table has no such column. {offered}")
