"""Files of history as rows: CSV, NDJSON and Parquet, a batch at a time."""

import csv
import gzip
import zlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import msgspec

from tropism.core.errors import InvalidInputError, NotSupportedError
from tropism.whatif.reading import why_unreadable

_SEPARATORS = {".csv": ",", ".tsv": "\t"}
_BATCH = 10_000
_BROKEN = (UnicodeDecodeError, OSError, EOFError, zlib.error)
_REMEDY = "Name a .csv, .tsv, .ndjson, .jsonl or .parquet file; .gz may follow a text's name."


@dataclass(frozen=True, slots=True)
class Row:
    """A row, where it stands, and why it cannot be used if it cannot."""

    number: int
    line: int
    values: dict[str, Any]
    problem: str | None = None


class Table:
    """A file of rows that can be read more than once.

    ``columns`` is None where every row names its own.

    Raises: InvalidInputError if it cannot be read; NotSupportedError where an extra is missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        suffixes = [suffix.lower() for suffix in path.suffixes]
        self._packed = bool(suffixes) and suffixes[-1] == ".gz"
        kind = (suffixes[:-1] if self._packed else suffixes)[-1:]
        self._kind = kind[0] if kind else ""
        fact = why_unreadable(path)
        if fact is not None:
            raise InvalidInputError(f"Cannot import {str(path)!r}: {fact}. {_REMEDY}")
        if self._kind not in {*_SEPARATORS, ".ndjson", ".jsonl", ".parquet"}:
            raise InvalidInputError(f"Cannot import {str(path)!r}: its kind is unknown. {_REMEDY}")
        self.columns = self._columns()

    def rows(self) -> Iterator[Row]:
        """Yield every row, also those that cannot be used. Raises: InvalidInputError."""
        try:
            if self._kind == ".parquet":
                yield from _parquet_rows(self.path)
            elif self._kind in _SEPARATORS:
                with self._text() as file:
                    yield from _csv_rows(file, _SEPARATORS[self._kind])
            else:
                with self._text() as file:
                    yield from _json_rows(file)
        except (*_BROKEN, ValueError) as error:  # Arrow raises ValueError where a page is broken
            raise self._unreadable(error) from error

    def _columns(self) -> list[str] | None:
        if self._kind == ".parquet":
            return list(_parquet(self.path).schema_arrow.names)
        if self._kind not in _SEPARATORS:
            return None
        try:
            with self._text() as file:
                header = next(csv.reader(file, delimiter=_SEPARATORS[self._kind]), [])
        except (*_BROKEN, csv.Error) as error:
            raise self._unreadable(error) from error
        twice = sorted({name for name in header if header.count(name) > 1})
        if not header or twice:
            fact = f"its header names {twice[0]!r} twice" if twice else "it has no header"
            raise InvalidInputError(
                f"Cannot import {str(self.path)!r}: {fact}. Give every column one name in the first line."
            )
        return header

    def _text(self) -> TextIO:
        if self._packed:
            return gzip.open(self.path, "rt", encoding="utf-8-sig", newline="")
        return self.path.open(encoding="utf-8-sig", newline="")

    def _unreadable(self, error: Exception) -> InvalidInputError:
        fact = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else f"{error}".rstrip(".")
        return InvalidInputError(f"Cannot import {str(self.path)!r}: {fact}. Convert or mend the file.")


class _Lines:
    """The lines of a file, of which those that a broken row took too many can be given back."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._again: deque[str] = deque()
        self.taken: list[str] = []
        self.number = 0

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._file)
        self.taken.append(line)
        self.number += 1
        return line

    def give_back(self) -> str:
        """Return the first line of the row at hand, and have those after it come again."""
        first, *others = self.taken
        self._again.extendleft(reversed(others))
        self.number -= len(others)
        return first


def _csv_rows(file: TextIO, separator: str) -> Iterator[Row]:
    lines = _Lines(file)
    reader = csv.reader(lines, delimiter=separator, strict=True)
    header = next(reader)
    number = 0
    while True:
        lines.taken.clear()
        number += 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            # A quote that is not closed would swallow all that follows: only its own line is given up.
            fact = "a quote that it opens is not closed" if len(lines.taken) > 1 else str(error)
            text = lines.give_back().rstrip("\r\n")
            yield Row(number, lines.number, {"text": text}, fact)
            continue
        if not cells:
            number -= 1
            continue
        values = dict(zip(header, cells, strict=False))
        wrong = len(cells) != len(header)
        problem = f"it has {len(cells)} values for {len(header)} columns" if wrong else None
        yield Row(number, lines.number, values, problem)


def _json_rows(file: TextIO) -> Iterator[Row]:
    decoder = msgspec.json.Decoder()
    number = 0
    for line, text in enumerate(file, 1):
        if not text.strip():
            continue
        number += 1
        try:
            values = decoder.decode(text)
        except (msgspec.DecodeError, RecursionError) as error:
            fact = "it is nested too deeply" if isinstance(error, RecursionError) else "it is not JSON"
            yield Row(number, line, {"text": text.rstrip("\n")}, fact)
            continue
        if isinstance(values, dict):
            yield Row(number, line, values)
        else:
            yield Row(number, line, {"value": values}, "it is no JSON object")


def _parquet(path: Path) -> Any:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise NotSupportedError(
            f"Cannot import {str(path)!r}: reading Parquet needs pyarrow. Run pip install 'tropism[parquet]'."
        ) from error
    try:
        return parquet.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise InvalidInputError(
            f"Cannot import {str(path)!r}: it is no Parquet file ({error}). Convert or mend the file."
        ) from error


def _parquet_rows(path: Path) -> Iterator[Row]:
    number = 0
    for batch in _parquet(path).iter_batches(batch_size=_BATCH):
        for values, problem in _values(_in_microseconds(batch)):
            number += 1
            yield Row(number, number, values, problem)


def _values(batch: Any) -> Iterator[tuple[dict[str, Any], str | None]]:
    """Yield the rows of a batch; where a value is none that Python knows, what is wrong with its row."""
    try:
        rows = batch.to_pylist()
    except (ValueError, OverflowError):
        yield from (_cells(batch, place) for place in range(batch.num_rows))
    else:
        yield from ((values, None) for values in rows)


def _cells(batch: Any, place: int) -> tuple[dict[str, Any], str | None]:
    values: dict[str, Any] = {}
    problem = None
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        try:
            values[name] = column[place].as_py()
        except (ValueError, OverflowError):
            values[name] = column.slice(place, 1).to_string().strip("[] \n")
            problem = f"column {name!r} holds a value that is out of range"
    return values, problem


def _in_microseconds(batch: Any) -> Any:
    """Return a batch whose instants are as fine as all instants are here."""
    import pyarrow as pa

    for place, field in enumerate(batch.schema):
        if pa.types.is_timestamp(field.type) and field.type.unit == "ns":
            kind = pa.timestamp("us", field.type.tz)
            batch = batch.set_column(place, field.name, batch.column(place).cast(kind, safe=False))
    return batch
