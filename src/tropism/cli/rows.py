"""Rows of a table as events, converted to what the event's class declares."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from hashlib import blake2b
from types import NoneType
from typing import Annotated, Any, get_args, get_origin
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec import structs

from tropism.cli.history import Row
from tropism.core.codec import Codec, describe, record_of
from tropism.core.envelope import Record
from tropism.core.errors import InvalidInputError
from tropism.core.event import Event
from tropism.core.forms import convert, field_names, fields_of
from tropism.core.time import IMPLAUSIBLE, instant_us, is_plausible, parse_moment


@dataclass(frozen=True, slots=True)
class Columns:
    """Where a row says what."""

    time: str
    key: str | None = None
    id: str | None = None
    fields: tuple[str, ...] = ()
    zone: str = "UTC"
    nulls: tuple[str, ...] = ("",)


class RowError(Exception):
    """Why a row is rejected."""


class Converter:
    """Turns rows into records of one event type.

    ``name`` is the file's: with a row's content it makes the id of a row that has none (see `numbered`).

    Raises: InvalidInputError if a column that is needed does not exist.
    """

    def __init__(
        self,
        kind: type[Event],
        codec: Codec,
        columns: Columns,
        existing: Sequence[str] | None,
        *,
        name: str,
        source: str,
    ) -> None:
        self._kind = kind
        self._codec = codec
        self._columns = columns
        self._name = name
        self._source = source
        self._zone = _zone(columns.zone)
        self._nulls = frozenset(columns.nulls)
        declared = fields_of(kind)
        self._optional = {field.name for field in declared if NoneType in _alternatives(field.type)}
        self._texts = {field.name for field in declared if _is_text(field.type)}
        self._defaulted = {field.name for field in declared if not field.required}
        self._taken = _taken(kind, columns)
        if existing is not None:
            self._check(existing)
            self._taken = {field: column for field, column in self._taken.items() if column in existing}

    def _check(self, existing: Sequence[str]) -> None:
        given = dict(_pair(text) for text in self._columns.fields)
        required = {column for field, column in self._taken.items() if field not in self._defaulted}
        wanted = (self._columns.time, self._columns.key, self._columns.id, *given.values(), *sorted(required))
        for column in wanted:
            if column is not None and column not in existing:
                raise InvalidInputError(
                    f"Cannot import as {self._kind.event_type!r}: the file has no column {column!r}. "
                    f"Name others with --time, --key, --id or --field FIELD=COLUMN; it has {list(existing)}."
                )

    def time_us(self, row: Row) -> int:
        """Return when a row became known. Raises: RowError."""
        value = row.values.get(self._columns.time)
        if isinstance(value, str):
            try:
                value = parse_moment(value.strip())
            except ValueError:
                value = None
        elif isinstance(value, date) and not isinstance(value, datetime):
            value = datetime.combine(value, time())
        if not isinstance(value, datetime):
            raise RowError(f"column {self._columns.time!r} holds no ISO 8601 time")
        time_us = instant_us(value if value.tzinfo else value.replace(tzinfo=self._zone))
        if not is_plausible(time_us):
            raise RowError(f"column {self._columns.time!r} {IMPLAUSIBLE}")
        return time_us

    def record(self, row: Row) -> Record:
        """Return a row as a record. Raises: RowError."""
        if row.problem is not None:
            raise RowError(row.problem)
        time_us = self.time_us(row)
        try:
            event = convert(self._fields(row.values), self._kind)
            data = self._codec.encode(event)
            id = self._id(row)
        except RecursionError as error:
            raise RowError("it is nested too deeply") from error
        except (msgspec.MsgspecError, ValueError, TypeError) as error:
            raise RowError(describe(error)) from error
        except InvalidInputError as error:
            raise RowError(str(error)) from error
        return record_of(event, data, id=id, time_us=time_us, source=self._source)

    def _fields(self, values: Mapping[str, Any]) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        for field, column in self._taken.items():
            if column not in values:
                continue
            value = values[column]
            # A float that is not equal to itself is how tables write that there is none.
            empty = value is None or value != value or (isinstance(value, str) and value in self._nulls)  # noqa: PLR0124 (see above)
            if empty and field in self._optional:
                value = None
            elif empty and field in self._defaulted:
                continue
            elif field in self._texts and type(value) is int:
                value = str(value)
            fields[field] = value
        return fields

    def _id(self, row: Row) -> str:
        if self._columns.id is not None:
            value = row.values.get(self._columns.id)
            if value is None or value == "" or value != value:  # noqa: PLR0124 (only NaN is not itself)
                raise RowError(f"column {self._columns.id!r} holds no id")
            # A topic tells events apart by id alone, and other files may bring other types of it.
            return f"{self._kind.event_type}/{value}"
        told = f"{self._name}\n{self._kind.event_type}\n{row.values!r}"
        return blake2b(told.encode(errors="replace"), digest_size=16).hexdigest()


def _alternatives(kind: Any) -> tuple[Any, ...]:
    """Return what a field may be, without what is annotated on it."""
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    return get_args(kind) or (kind,)


def _is_text(kind: Any) -> bool:
    return {*map(_plain, _alternatives(kind))} <= {str, NoneType}


def _plain(kind: Any) -> Any:
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def numbered(records: Iterable[Record]) -> Iterator[Record]:
    """Yield records in order of time with their ids made different: the n-th of equal rows is an event too.

    Equal rows have equal times, so that no more than those of one moment are to be remembered; and a row
    keeps its id when others are mended, added or taken away.
    """
    seen: dict[str, int] = {}
    now_us: int | None = None
    for record in records:
        if record.time_us != now_us:
            now_us = record.time_us
            seen.clear()
        number = seen[record.id] = seen.get(record.id, 0) + 1
        yield record if number == 1 else structs.replace(record, id=f"{record.id}-{number}")


def _taken(kind: type[Event], columns: Columns) -> dict[str, str]:
    """Return the column of every field."""
    names: dict[str, str] = {name: name for name in field_names(kind)}
    if columns.key is not None:
        if kind.event_key is None:
            raise InvalidInputError(
                f"Cannot take the key from column {columns.key!r}: type {kind.event_type!r} has no key. "
                f"Leave --key away, or declare the type with key=...."
            )
        names[kind.event_key] = columns.key
    for text in columns.fields:
        field, column = _pair(text)
        if field not in names:
            raise InvalidInputError(
                f"Cannot fill field {field!r}: type {kind.event_type!r} has {sorted(names)}. "
                f"Name one of them."
            )
        names[field] = column
    return names


def _pair(text: str) -> tuple[str, str]:
    field, equals, column = text.partition("=")
    if not (field and equals and column):
        raise InvalidInputError(f"Cannot read --field {text!r}. Write it as FIELD=COLUMN.")
    return field, column


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidInputError(
            f"Cannot use time zone {name!r}: it is unknown here. Write it like Europe/Paris, or UTC."
        ) from error
