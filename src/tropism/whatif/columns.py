"""Columns as features: numbers, booleans and categories, and what can be no feature."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tropism.whatif.notes import Note, counted, named
from tropism.whatif.reading import Raw
from tropism.whatif.times import is_missing, is_time

IDENTIFYING_SHARE = 0.5
"""A category with more different values than this share of its rows tells rows apart, and nothing else."""

NUMBER_MAX = 1e100
"""Numbers beyond this are taken as missing, as infinite ones are: their squares are no numbers any more."""

IDENTIFYING_MIN = 50
"""With fewer different values than this, a category is no identifier."""


@dataclass(frozen=True, slots=True)
class Column:
    """A feature: floats, booleans or strings, None where missing."""

    name: str
    kind: Literal["number", "boolean", "category"]
    values: list[Any]


@dataclass(slots=True)
class Dropped:
    """Columns that can be no feature, by why."""

    times: list[str]
    identifiers: list[str]
    constants: list[str]
    others: list[str]

    def notes(self) -> list[Note]:
        """Return what to say of them."""
        told = (
            (self.identifiers, "tell rows apart, and say nothing of new ones"),
            (
                self.times,
                "are times, which no model can carry on from: make durations of them if they matter",
            ),
            (self.constants, "have the same value in every row"),
            (self.others, "are nested or binary"),
        )
        return [Note(f"Left out {named(names)}: they {why}.") for names, why in told if names]


def read_columns(raws: Sequence[Raw]) -> tuple[list[Column], list[Note]]:
    """Return the columns that can be features, in their order, and notes on the others and on mixed ones."""
    dropped = Dropped([], [], [], [])
    columns: list[Column] = []
    notes: list[Note] = []
    for raw in raws:
        if raw.kind == "other":
            dropped.others.append(raw.name)
        elif raw.kind == "time" or (raw.kind == "text" and _are_times(raw.values)):
            dropped.times.append(raw.name)
        else:
            column, note = _typed(raw)
            notes.extend(note)
            _place(column, columns, dropped)
    return columns, [*notes, *dropped.notes()]


def _place(column: Column, columns: list[Column], dropped: Dropped) -> None:
    known = [value for value in column.values if value is not None]
    different = len(set(known))
    if different < 2 and len(known) in {0, len(column.values)}:
        dropped.constants.append(column.name)
    elif _identifies(column, known, different):
        dropped.identifiers.append(column.name)
    else:
        columns.append(column)


def _identifies(column: Column, known: list[Any], different: int) -> bool:
    """Say whether values only tell rows apart: text that hardly recurs, or numbers that count the rows."""
    if different < IDENTIFYING_MIN:
        return False
    if column.kind == "category":
        return different > IDENTIFYING_SHARE * len(known)
    counts = different == len(known) and all(value == int(value) for value in known)
    return counts and max(known) - min(known) < 2 * len(known)


def _are_times(values: Sequence[str]) -> bool:
    """Say whether a text column holds ISO times: looked at value by value until one is none."""
    seen = False
    for value in values:
        if is_missing(value):
            continue
        if not is_time(value.strip()):
            return False
        seen = True
    return seen


def _typed(raw: Raw) -> tuple[Column, list[Note]]:
    if raw.kind == "boolean":
        return Column(raw.name, "boolean", list(raw.values)), []
    if raw.kind == "number":
        return _numeric(raw.name, raw.values)
    return _of_text(raw)


def _of_text(raw: Raw) -> tuple[Column, list[Note]]:
    texts = [None if is_missing(value) else value.strip() for value in raw.values]
    if {text.lower() for text in set(texts) if text is not None} <= {"true", "false"}:
        flags = [None if text is None else text.lower() == "true" for text in texts]
        return Column(raw.name, "boolean", flags), []
    numbers = [None if text is None else _number(text) for text in texts]
    known = sum(text is not None for text in texts)
    numeric = sum(number is not None for number in numbers)
    if numeric == known:
        return _numeric(raw.name, numbers)
    mixed = Note(
        f"Column {raw.name!r} mixes {counted(numeric, 'number')} with {counted(known - numeric, 'text')}: "
        f"all are taken as categories. Mend it if it should be a number.",
    )
    return Column(raw.name, "category", list(texts)), [mixed] if numeric else []


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _numeric(name: str, values: Sequence[float | None]) -> tuple[Column, list[Note]]:
    kept = [None if value is None or not abs(value) <= NUMBER_MAX else float(value) for value in values]
    pairs = zip(values, kept, strict=True)
    lost = sum(now is None and value is not None and not math.isnan(value) for value, now in pairs)
    told = f"Column {name!r} holds {counted(lost, 'number')} beyond {NUMBER_MAX:g}: taken as missing."
    return Column(name, "number", kept), [Note(told)] if lost else []
