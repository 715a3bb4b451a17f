"""Events as rows of an outbox, and the statements that make and fill one."""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from secrets import token_hex
from typing import Any, Literal

import msgspec

from tropism.core.codec import Codec, describe, record_of
from tropism.core.envelope import Record
from tropism.core.errors import InvalidInputError
from tropism.core.event import Event
from tropism.ports.outgoing import Waiting

Dialect = Literal["postgresql", "sqlite"]
Row = Mapping[str, Any]
Statement = tuple[str, Sequence[Row]]
"""SQL, and the rows it is made for; none where it is made once."""

TABLE = "tropism_outbox"
CHANNEL = "tropism_outbox"
COLUMNS = ("event_id", "type", "topic", "subject", "time_us", "data", "source", "extensions")

_TYPES: Mapping[str, tuple[type, ...]] = {"time_us": (int,), "data": (bytes, memoryview)}
"""Of the columns that are no text."""

DEPTH = f"SELECT count(*) - count(refused), count(refused) FROM {TABLE}"

LOCK_CLASS = 0x74706F78
LOCKS = 1024
"""Keys share so many locks: a transaction of many keys does not fill the server's table of locks."""

_DDL: Mapping[Dialect, str] = {
    "postgresql": f"""CREATE TABLE IF NOT EXISTS {TABLE} (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id text NOT NULL,
    type text NOT NULL,
    topic text NOT NULL,
    subject text NOT NULL,
    time_us bigint NOT NULL,
    data bytea NOT NULL,
    source text NOT NULL,
    extensions text NOT NULL,
    refused text
)""",
    "sqlite": f"""CREATE TABLE IF NOT EXISTS {TABLE} (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id TEXT NOT NULL,
    type TEXT NOT NULL,
    topic TEXT NOT NULL,
    subject TEXT NOT NULL,
    time_us INTEGER NOT NULL,
    data BLOB NOT NULL,
    source TEXT NOT NULL,
    extensions TEXT NOT NULL,
    refused TEXT
)""",
}


def ddl(dialect: Dialect) -> str:
    """Return the statement that makes the table, where it is not there yet."""
    return _DDL[dialect]


def rows_of(
    events: Iterable[Event],
    *,
    time_us: int,
    source: str,
    ids: Sequence[str] | None,
    extensions: Mapping[str, str] | None,
) -> list[Row]:
    """Return events as rows. Raises: InvalidInputError if one does not fit its own type."""
    given = list(events)
    if ids is not None and len(ids) != len(given):
        raise InvalidInputError(
            f"Cannot publish {len(given)} events: {len(ids)} ids were given. Give each event one, or none."
        )
    codec = Codec(dict.fromkeys(type(event) for event in given))
    names = ids or [f"{time_us // 1000 & 0xFFFF_FFFF_FFFF:012x}{token_hex(10)}" for _ in given]
    found = []
    for event, id in zip(given, names, strict=True):
        record = record_of(event, codec.encode(event), id=id, time_us=time_us, source=source)
        found.append(_row(record, extensions or {}))
    return found


def _row(record: Record, extensions: Mapping[str, str]) -> Row:
    if "\0" in f"{record.id}{record.subject}{record.source}":
        raise InvalidInputError(
            f"Cannot publish event type {record.type!r}: its id, key or source holds U+0000, which databases "
            f"have no text for. Leave it out."
        )
    told = msgspec.json.encode(extensions).decode()
    values = (record.id, record.type, record.topic, record.subject, record.time_us)
    return dict(zip(COLUMNS, (*values, record.data, record.source, told), strict=True))


def sorted_out(rows: Iterable[Sequence[Any]]) -> tuple[list[Waiting], dict[int, str]]:
    """Return what rows hold, and of those that hold no event, by their places, why."""
    found: list[Waiting] = []
    odd: dict[int, str] = {}
    for place, *values in rows:
        try:
            found.append(Waiting(place, _record(values)))
        except (msgspec.MsgspecError, TypeError, ValueError) as error:
            fact = describe(error)
            odd[place] = f"Cannot publish row {place}: {fact}. Correct it, then set refused to NULL."
    return found, odd


def _record(values: Sequence[Any]) -> Record:
    """Return the record of a row's columns. Raises: TypeError, ValueError: anybody may write rows."""
    columns = dict(zip(COLUMNS, values, strict=True))
    for name, value in columns.items():
        wanted = _TYPES.get(name, str)
        # Columns of SQLite take what they are given.
        if not isinstance(value, wanted):
            raise TypeError(f"column {name!r} holds {type(value).__name__!r}")
    id, type_, topic, subject, time_us, data, source, extensions = values
    told = msgspec.json.decode(extensions, type=dict[str, str])
    return Record(id, type_, topic, subject, time_us, bytes(data), source, told or None)


def statements(
    dialect: Dialect, rows: Sequence[Row], mark: str, *, ordered: bool, notify: bool
) -> list[Statement]:
    """Return what writes rows; ``mark`` is how a named value is written, such as ``:{}``."""
    if not rows:
        return []
    values = ", ".join(mark.format(name) for name in COLUMNS)
    insert = f"INSERT INTO {TABLE} ({', '.join(COLUMNS)}) VALUES ({values})"
    first = _before(rows, ordered=ordered, notify=notify) if dialect == "postgresql" else ""
    return [*([(first, ())] if first else []), (insert, rows)]


def _before(rows: Sequence[Row], *, ordered: bool, notify: bool) -> str:
    """Return what comes before the rows: locks, in one order for all, and what wakes the relay."""
    # Whoever publishes for the same key waits until this transaction ends. So of two rows of one key the
    # later place is also that of the later commit, and none becomes visible behind one that was published.
    locks = sorted(
        {lock_of(row["topic"], row["subject"]) for row in rows if row["subject"]} if ordered else ()
    )
    calls = [f"pg_advisory_xact_lock({LOCK_CLASS}, {lock})" for lock in locks]
    if notify:
        calls.append(f"pg_notify('{CHANNEL}', '')")
    return f"SELECT {', '.join(calls)}" if calls else ""


def lock_of(topic: str, subject: str) -> int:
    """Return which lock stands for a key."""
    return int.from_bytes(blake2b(f"{topic}\0{subject}".encode(), digest_size=4).digest()) % LOCKS
