"""Files as columns: CSV through the standard library, Parquet through pyarrow."""

import csv
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tropism.core.errors import InvalidInputError, NotFoundError, NotSupportedError

Kind = Literal["text", "number", "boolean", "time", "other"]
"""What a file says of a column: CSV knows only text; ``other`` is nested or binary and can be no feature."""

TEXTS = {".csv", ".tsv", ".txt"}
PARQUETS = {".parquet", ".pq"}
SEPARATORS = ",;\t|"
CELL_CHARACTERS_MAX = 2**24
"""How long a cell of a CSV file may be; Python's own bound is shorter than many a note."""

csv.field_size_limit(CELL_CHARACTERS_MAX)


@dataclass(frozen=True, slots=True)
class Raw:
    """A column as its file holds it; times are microseconds since 1970 UTC, None is missing."""

    name: str
    kind: Kind
    values: Sequence[Any]


@dataclass(frozen=True, slots=True)
class Sheet:
    """A file's columns, all of one length. ``first_line`` is the line or number of the first row."""

    path: Path
    columns: tuple[Raw, ...]
    first_line: int

    def __len__(self) -> int:
        """Return how many rows there are."""
        return len(self.columns[0].values) if self.columns else 0


def read_sheet(path: Path) -> Sheet:
    """Return a file's columns.

    Raises: NotFoundError; InvalidInputError if it is no table; NotSupportedError where an extra is missing.
    """
    fact = why_unreadable(path)
    if fact is not None:
        raise NotFoundError(f"Cannot read {str(path)!r}: {fact}. Name a CSV or Parquet file.")
    kind = path.suffix.lower()
    if kind in PARQUETS:
        return Sheet(path, tuple(_parquet(path)), 1)
    if kind in TEXTS:
        return Sheet(path, tuple(_text(path)), 2)
    raise InvalidInputError(
        f"Cannot read {str(path)!r}: its kind {kind!r} is unknown. Name a .csv, .tsv or .parquet file."
    )


def why_unreadable(path: Path) -> str | None:
    """Return why a file cannot be opened, None where it can."""
    try:
        if path.is_dir():
            return "it is a folder"
        if not path.exists():
            return "there is no such file"
    except OSError as error:  # such as a folder above that may not be looked into
        return f"{error.strerror}"
    return None if os.access(path, os.R_OK) else "you may not read it"


def _text(path: Path) -> list[Raw]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            separator = max(SEPARATORS, key=first.count)
            file.seek(0)
            return _columns(path, csv.reader(file, delimiter=separator, strict=True))
    except (UnicodeDecodeError, OSError, csv.Error) as error:
        fact = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else f"{error}".rstrip(".")
        raise InvalidInputError(f"Cannot read {str(path)!r}: {fact}. Convert or mend the file.") from error


def _columns(path: Path, reader: Any) -> list[Raw]:
    names = [name.strip() for name in next(reader, [])]
    check_names(path, names)
    columns: list[list[str]] = [[] for _ in names]
    for cells in _rows(path, reader):
        if not cells:
            continue
        if len(cells) != len(names):
            raise InvalidInputError(
                f"Cannot read {str(path)!r}: line {reader.line_num} has {len(cells)} values for "
                f"{len(names)} columns. Mend the line."
            )
        for column, cell in zip(columns, cells, strict=True):
            column.append(cell)
    return [Raw(name, "text", column) for name, column in zip(names, columns, strict=True)]


def _rows(path: Path, reader: Any) -> Iterator[list[str]]:
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise InvalidInputError(
                f"Cannot read {str(path)!r}: the row of line {line} is broken ({error}). Mend the line."
            ) from error
        yield cells


def check_names(path: Path, names: Iterable[str]) -> None:
    """Refuse a header without names, or with one of them twice."""
    names = list(names)
    twice = sorted({name for name in names if names.count(name) > 1})
    if names and not twice and all(names):
        return
    fact = "it has no header" if not names else f"its header names {twice[0]!r} twice" if twice else ""
    raise InvalidInputError(
        f"Cannot read {str(path)!r}: {fact or 'a column has no name'}. Give every column one name."
    )


def _parquet(path: Path) -> list[Raw]:
    try:
        import pyarrow as pa  # noqa: PLC0415 (an extra, wanted only here)
        from pyarrow import parquet  # noqa: PLC0415 (as above)
    except ImportError as error:
        raise NotSupportedError(
            f"Cannot read {str(path)!r}: reading Parquet needs pyarrow. Run pip install 'tropism[parquet]'."
        ) from error
    try:
        table = parquet.read_table(path)
    except (pa.ArrowException, OSError) as error:
        told = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
        raise InvalidInputError(
            f"Cannot read {str(path)!r}: it is no Parquet file ({told}). Convert or mend the file."
        ) from error
    check_names(path, table.column_names)
    return [_arrow(pa, name, table.column(name)) for name in table.column_names]


def _arrow(pa: Any, name: str, column: Any) -> Raw:
    types, kind = pa.types, column.type
    if types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if types.is_boolean(kind):
        return Raw(name, "boolean", column.to_pylist())
    if types.is_integer(kind) or types.is_floating(kind):
        return Raw(name, "number", column.to_pylist())
    if types.is_decimal(kind):
        return Raw(name, "number", column.cast(pa.float64()).to_pylist())
    if types.is_string(kind) or types.is_large_string(kind):
        return Raw(name, "text", [value or "" for value in column.to_pylist()])
    if types.is_timestamp(kind) or types.is_date(kind):
        # Arrow keeps zoned instants in UTC already; those without a zone are read as UTC.
        zone = kind.tz if types.is_timestamp(kind) else None
        instants = column.cast(pa.timestamp("us", zone), safe=False).cast(pa.int64())
        return Raw(name, "time", instants.to_pylist())
    return Raw(name, "other", [None] * len(column))
