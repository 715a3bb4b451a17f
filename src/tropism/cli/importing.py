"""Bringing a file of history into the log."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import msgspec

from tropism.app.platform import open_platform, read_settings
from tropism.cli.console import aside, is_terminal, print_json, say
from tropism.cli.discovery import load_app, types_of
from tropism.cli.history import Row, Table
from tropism.cli.pages import check_apart
from tropism.cli.rows import Columns, Converter, RowError, numbered
from tropism.cli.sorting import sorted_by_time
from tropism.cli.work import give_way
from tropism.core.envelope import Record
from tropism.core.errors import InvalidInputError, NotFoundError
from tropism.ports.log import Log

_BATCH = 4000
_BATCH_BYTES = 4 << 20
_SHOWN_MAX = 5
_GIVE_WAY_ROWS = 1000
_TOLD_SECONDS = 10.0

Advance = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to import, as what, and where bad rows go."""

    file: Path
    type: str
    columns: Columns
    rejects: Path
    source: str


@dataclass(slots=True)
class Survey:
    """What a first look at the file found."""

    rows: int = 0
    is_sorted: bool = True


@dataclass(slots=True)
class Rejects:
    """Rows that are no events of the type: said on standard error, and written whole to a file."""

    path: Path
    count: int = 0
    _file: IO[bytes] | None = field(default=None)

    def add(self, row: Row, error: RowError) -> None:
        """Note a bad row."""
        if self._file is None:
            self._file = self.path.open("wb")
        self.count += 1
        told = {"line": row.line, "error": str(error), "row": row.values}
        try:
            encoded = msgspec.json.encode(told, enc_hook=str)
        except RecursionError:
            encoded = msgspec.json.encode({**told, "row": None})
        self._file.write(encoded + b"\n")
        if self.count <= _SHOWN_MAX:
            say(f"Rejected line {row.line}: {error}.")

    def close(self) -> None:
        """Close the file, if there is one."""
        if self._file is not None:
            self._file.close()

    def forget_stale(self, file: Path) -> None:
        """Remove what an earlier import of a file rejected, if nothing is now and nobody chose the place."""
        if self._file is None and self.path == rejects_of(file):
            self.path.unlink(missing_ok=True)


def rejects_of(file: Path) -> Path:
    """Return where a file's bad rows go, unless another place is chosen."""
    return file.with_name(f"{file.name}.rejects.ndjson")


async def import_file(plan: Plan, app: str | None, *, json: bool) -> int:
    """Import a file, and return the exit code: 1 where rows were rejected."""
    check_apart(plan.rejects, [plan.file], what="rejected rows", option="--rejects")
    codec = types_of(load_app(app))
    kind = codec.types.get(plan.type)
    if kind is None:
        raise NotFoundError(
            f"Cannot import as {plan.type!r}: the app does not know this type. "
            f"Name one of {sorted(name for name in codec.types if not name.startswith('tropism.'))}."
        )
    table = Table(plan.file)
    converter = Converter(kind, codec, plan.columns, table.columns, name=plan.file.name, source=plan.source)
    survey = look_through(table, converter)
    rejects = Rejects(plan.rejects)
    started = time.monotonic()
    try:
        async with open_platform(read_settings()) as platform:
            # The class of the events may print.
            with _progress(survey.rows) as advance, aside():
                records = _records(table, converter, rejects, advance)
                if not survey.is_sorted:
                    say("The rows are not in order of time: sorting them first.")
                    records = sorted_by_time(records)
                if plan.columns.id is None:
                    records = numbered(records)
                stored, new = await _append(platform.log, records, advance)
    except OSError as error:
        raise InvalidInputError(f"Cannot import {str(plan.file)!r}: {error}. Mend it, and repeat.") from error
    finally:
        rejects.close()
    rejects.forget_stale(plan.file)
    _report(plan, stored=stored, new=new, rejects=rejects, seconds=time.monotonic() - started, json=json)
    return 1 if rejects.count else 0


def look_through(table: Table, converter: Converter) -> Survey:
    """Count the rows, and see whether their times are in order. Raises: CancelledError after a signal."""
    survey = Survey()
    last_us: int | None = None
    for row in table.rows():
        survey.rows += 1
        if survey.rows % _GIVE_WAY_ROWS == 0:
            give_way()
        if survey.is_sorted and row.problem is None:
            try:
                time_us = converter.time_us(row)
            except RowError:
                continue
            survey.is_sorted = last_us is None or time_us >= last_us
            last_us = time_us
    return survey


def _records(table: Table, converter: Converter, rejects: Rejects, advance: Advance) -> Iterator[Record]:
    for row in table.rows():
        if row.number % _GIVE_WAY_ROWS == 0:
            give_way()
        try:
            record = converter.record(row)
        except RowError as error:
            rejects.add(row, error)
            advance(1)
        else:
            yield record


async def _append(log: Log, records: Iterator[Record], advance: Advance) -> tuple[int, int]:
    """Append all records, and return how many they were and how many were new."""
    stored = new = 0
    for batch in _batches(records):
        new += await log.append(batch)
        stored += len(batch)
        advance(len(batch))
    return stored, new


def _batches(records: Iterator[Record]) -> Iterator[list[Record]]:
    """Yield records in batches that one write takes, whatever their size."""
    batch: list[Record] = []
    size = 0
    for record in records:
        batch.append(record)
        size += len(record.data)
        if len(batch) == _BATCH or size > _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


@contextmanager
def _progress(total: int) -> Iterator[Advance]:
    """Show on standard error how far an import is: a bar on a terminal, else a line now and then."""
    if not is_terminal():
        yield _lines(total)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    rate = TextColumn("{task.fields[rate]:>9,.0f} rows/s")
    columns: list[Any] = [BarColumn(), MofNCompleteColumn(), rate, TextColumn("left"), TimeRemainingColumn()]
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("import", total=total, rate=0.0)

        def advance(count: int) -> None:
            progress.update(task, advance=count, rate=progress.tasks[0].speed or 0.0)

        yield advance


def _lines(total: int) -> Advance:
    done = 0
    started = told = time.monotonic()

    def advance(count: int) -> None:
        nonlocal done, told
        done += count
        now = time.monotonic()
        if now - told >= _TOLD_SECONDS:
            told = now
            rate = done / (now - started)
            say(f"{done:,} of {total:,} rows, {rate:,.0f} a second, {(total - done) / rate:.0f} s left.")

    return advance


def _report(plan: Plan, *, stored: int, new: int, rejects: Rejects, seconds: float, json: bool) -> None:
    if json:
        print_json(
            {
                "file": str(plan.file),
                "type": plan.type,
                "rows": stored + rejects.count,
                "imported": new,
                "known_before": stored - new,
                "rejected": rejects.count,
                "rejects": str(rejects.path) if rejects.count else None,
                "seconds": round(seconds, 3),
            }
        )
        return
    rate = (stored + rejects.count) / seconds if seconds else 0.0
    say(f"Imported {new:,} events of {plan.type} in {seconds:.1f} s ({rate:,.0f} rows/s).")
    if stored > new:
        say(f"{stored - new:,} were known before, and are stored once.")
    if rejects.count:
        told = "1 row was" if rejects.count == 1 else f"{rejects.count:,} rows were"
        say(f"{told} rejected: see {str(rejects.path)!r}.")
