"""A table as rows in order of time, each with its features, its label, and when that became known."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from tropism.core.errors import InvalidInputError
from tropism.core.time import iso
from tropism.models.rows import TrainingRows
from tropism.whatif.columns import Column, read_columns
from tropism.whatif.labels import read_labels, shares
from tropism.whatif.leakage import leakage_notes
from tropism.whatif.notes import Note, counted, nearest
from tropism.whatif.reading import Raw, Sheet, read_sheet
from tropism.whatif.times import is_missing, read_times

LABELS_MIN = 200
"""With fewer labels than this nothing can be trained and judged."""


@dataclass(frozen=True, slots=True)
class Roles:
    """Which columns say what: exactly one of ``label_at`` and ``delay_rows`` tells when labels are known."""

    time: str
    label: str
    label_at: str | None = None
    delay_rows: int | None = None
    key: str | None = None
    drop: tuple[str, ...] = ()

    @property
    def columns(self) -> dict[str, str]:
        """The named columns, by the option that names them."""
        named = {"--time": self.time, "--label": self.label, "--label-at": self.label_at, "--key": self.key}
        return {option: name for option, name in named.items() if name is not None}


@dataclass(frozen=True, slots=True)
class Table:
    """Rows in order of time. ``labels`` and ``known_us`` are None where the label never comes.

    Shapes: f features of n values; n keys (all different), times, labels and instants.
    """

    path: Path
    features: tuple[Column, ...]
    keys: tuple[str, ...]
    times_us: tuple[int, ...]
    labels: tuple[float | None, ...]
    known_us: tuple[int | None, ...]
    notes: tuple[Note, ...]

    def __len__(self) -> int:
        """Return how many rows there are."""
        return len(self.keys)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the features."""
        return tuple(column.name for column in self.features)

    @property
    def span_us(self) -> int:
        """From the first row to the last."""
        return self.times_us[-1] - self.times_us[0]

    def rows(self) -> TrainingRows:
        """Return the rows as models see them; the outcome of one whose label is not known in time is nan."""
        usable = [
            known is not None and known > at for at, known in zip(self.times_us, self.known_us, strict=True)
        ]
        outcomes = [label if use else None for label, use in zip(self.labels, usable, strict=True)]
        return TrainingRows(
            self.names,
            [_array(column) for column in self.features],
            np.array(outcomes, dtype=np.float64),
            np.array(self.times_us, dtype=np.int64),
            np.array([known or 0 for known in self.known_us], dtype=np.int64),
        )


def read_table(path: Path, roles: Roles) -> Table:
    """Return a file's rows in the order in which they became known, with all there is to say of them.

    Raises: NotFoundError; InvalidInputError where the columns do not say what they should, or are too few;
    NotSupportedError where an extra is missing.
    """
    sheet = read_sheet(path)
    raws = {raw.name: raw for raw in sheet.columns}
    _check(sheet, roles)
    times = read_times(sheet, raws[roles.time], "--time")
    labels, notes = read_labels(raws[roles.label])
    order, placing = _in_order(times, roles)
    _check_counts(path, [labels[row] for row in order], [times[row] or 0 for row in order])
    known, knowing = _known(sheet, raws, roles, times, labels, order)
    keys, keying = _keys(raws, roles, order)
    special = {*roles.columns.values(), *roles.drop}
    columns, leaving = read_columns(
        [_ordered(raw, order) for raw in sheet.columns if raw.name not in special]
    )
    _check_features(path, columns)
    ordered = [labels[row] for row in order]
    return Table(
        path,
        tuple(columns),
        tuple(keys),
        tuple(times[row] or 0 for row in order),
        tuple(ordered),
        tuple(known),
        (*leakage_notes(columns, ordered), *placing, *notes, *knowing, *keying, *leaving),
    )


def _check(sheet: Sheet, roles: Roles) -> None:
    names = [raw.name for raw in sheet.columns]
    for option, name in roles.columns.items():
        if name not in names:
            raise nearest(option, name, names)
    for name in roles.drop:
        if name not in names:
            raise nearest("--drop", name, names)
    if len(sheet) < LABELS_MIN:
        fact = f"it has {counted(len(sheet), 'row')}" if len(sheet) else "it has no rows"
        raise InvalidInputError(
            f"Cannot replay {str(sheet.path)!r}: {fact}. Bring at least {LABELS_MIN} with a label."
        )
    if (roles.delay_rows or 0) >= len(sheet):
        raise InvalidInputError(
            f"Cannot use --delay-rows {roles.delay_rows}: the table has {len(sheet):,} rows, so no label "
            f"would be known before its end. Give fewer."
        )
    if roles.label in {roles.time, roles.label_at}:
        raise InvalidInputError(
            f"Cannot use --label {roles.label!r}: it is the column of times as well. Name another column."
        )


def _in_order(times: Sequence[int | None], roles: Roles) -> tuple[list[int], list[Note]]:
    """Return the rows that have a time in its order, those of one instant as they stand."""
    order = [row for row, time in enumerate(times) if time is not None]
    notes = []
    if len(order) < len(times):
        lost = counted(len(times) - len(order), "row has", "rows have")
        notes.append(Note(f"{lost} no time in {roles.time!r}, and cannot be replayed."))
    before = [times[row] or 0 for row in order]
    if any(after < at for at, after in pairwise(before)):
        order.sort(key=lambda row: times[row] or 0)
        notes.append(Note(f"The rows were not in order of {roles.time!r}: they were sorted."))
    return order, notes


def _check_counts(path: Path, labels: Sequence[float | None], times: Sequence[int]) -> None:
    count, positives = shares(labels)
    if count < LABELS_MIN:
        raise InvalidInputError(
            f"Cannot replay {str(path)!r}: {counted(count, 'row has', 'rows have')} a time and a label, and "
            f"training and judging take {LABELS_MIN}. Bring more history."
        )
    if positives in {0, count}:
        raise InvalidInputError(
            f"Cannot replay {str(path)!r}: all rows that have a time have the same label. Bring rows of both."
        )
    if times[0] == times[-1]:
        raise InvalidInputError(
            f"Cannot replay {str(path)!r}: all rows have the same time, {iso(times[0])}. "
            f"Name a column of times that tell rows apart."
        )


def _known(
    sheet: Sheet,
    raws: dict[str, Raw],
    roles: Roles,
    times: Sequence[int | None],
    labels: Sequence[float | None],
    order: Sequence[int],
) -> tuple[list[int | None], list[Note]]:
    """Return when each row's label became known, in order, None where it never did."""
    if roles.label_at is not None:
        ats = read_times(sheet, raws[roles.label_at], "--label-at")
        found = [None if labels[row] is None else ats[row] for row in order]
    else:
        found = _after_rows([times[row] or 0 for row in order], roles.delay_rows or 1)
        found = [None if labels[row] is None else at for row, at in zip(order, found, strict=True)]
    # Known in the very instant of its row, a label is known just after the decision.
    decided = [times[row] or 0 for row in order]
    found = [at + 1 if at is not None and at == now else at for at, now in zip(found, decided, strict=True)]
    return found, _notes_on_labels(roles, found, decided, [labels[row] for row in order])


def _after_rows(times: Sequence[int], rows: int) -> list[int | None]:
    end = times[-1] + 1
    return [times[place + rows] if place + rows < len(times) else end for place in range(len(times))]


def _notes_on_labels(
    roles: Roles, known: Sequence[int | None], decided: Sequence[int], labels: Sequence[float | None]
) -> list[Note]:
    notes = []
    missing = sum(label is None for label in labels)
    never = sum(at is None for at in known) - missing
    early = sum(at is not None and at < now for at, now in zip(known, decided, strict=True))
    if early > len(known) // 2:
        raise InvalidInputError(
            f"Cannot use --label-at {roles.label_at!r}: most labels were known before their rows were. "
            f"Name the column that says when the label became known, or give --delay-rows."
        )
    if missing:
        told = counted(missing, "row has", "rows have")
        notes.append(Note(f"{told} no label: decided like all others, but nothing is learned from them."))
    if never:
        told = counted(never, "label has", "labels have")
        notes.append(Note(f"{told} no time in {roles.label_at!r}: they count as never known."))
    if early:
        told = counted(early, "label was", "labels were")
        notes.append(Note(f"{told} known before the row: such rows are neither learned from nor scored."))
    return notes


def _keys(raws: dict[str, Raw], roles: Roles, order: Sequence[int]) -> tuple[list[str], list[Note]]:
    """Return a name a row, all different: the n-th row of a key is a decision of its own."""
    if roles.key is None:
        return [f"row-{row + 1}" for row in order], []
    keys, taken, seen, repeated = [], set[str](), dict[str, int](), 0
    for row in order:
        value = raws[roles.key].values[row]
        key = "-" if value is None or (isinstance(value, str) and is_missing(value)) else str(value)
        number = seen[key] = seen.get(key, 0) + 1
        repeated += number == 2
        name = key if number == 1 else f"{key}#{number}"
        # A key may itself look like the second row of another.
        while name in taken:
            name += "#"
        taken.add(name)
        keys.append(name)
    if not repeated:
        return keys, []
    told = counted(repeated, "value")
    return keys, [Note(f"Column {roles.key!r} repeats {told}: each of their rows is a decision of its own.")]


def _ordered(raw: Raw, order: Sequence[int]) -> Raw:
    return Raw(raw.name, raw.kind, [raw.values[row] for row in order])


def _check_features(path: Path, columns: Sequence[Column]) -> None:
    if not columns:
        raise InvalidInputError(
            f"Cannot replay {str(path)!r}: no column is left to learn from. Bring columns that were known at "
            f"the row's time, or drop fewer."
        )


def _array(column: Column) -> Any:
    if column.kind == "number":
        return np.array(column.values, dtype=np.float64)
    array = np.empty(len(column.values), dtype=object)
    array[:] = column.values
    return array
