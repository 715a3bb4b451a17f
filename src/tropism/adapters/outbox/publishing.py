"""Publishing events in a transaction of the user's."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from tropism.adapters.local.clock import SystemClock
from tropism.adapters.outbox.rows import Row, ddl, rows_of, statements
from tropism.adapters.outbox.sessions import (
    MARKS,
    begun,
    begun_async,
    check_kind,
    check_transaction,
    family_of,
    run,
    run_async,
)
from tropism.core.errors import InvalidInputError
from tropism.core.event import Event
from tropism.core.time import instant_us


def create_outbox(connection: Any) -> None:
    """Make the table ``tropism_outbox`` in the user's database, in the transaction at hand, if it is missing.

    Raises: NotSupportedError for a database that is neither PostgreSQL nor SQLite.
    """
    check_kind(connection, "create_outbox", awaited=False)
    open_connection, dialect = begun(connection)
    run(open_connection, [(ddl(dialect), ())])


async def create_outbox_async(connection: Any) -> None:
    """Make the table ``tropism_outbox``, by a connection or session that is awaited."""
    check_kind(connection, "create_outbox_async", awaited=True)
    open_connection, dialect = await begun_async(connection)
    await run_async(open_connection, [(ddl(dialect), ())])


def publish_in(
    connection: Any,
    events: Event | Iterable[Event],
    *,
    source: str = "",
    at: datetime | None = None,
    ids: Sequence[str] | None = None,
    extensions: Mapping[str, str] | None = None,
    ordered: bool = True,
    notify: bool = True,
) -> list[str]:
    """Publish events if, and when, the user's transaction commits; return their ids.

    ``connection`` is one of sqlite3, psycopg 3 or SQLAlchemy, or a session of SQLAlchemy; its database has
    the table that ``create_outbox`` makes, and a relay publishes what is in it. ``ids`` name the events, so
    that the same fact told twice is one event. On PostgreSQL, ``ordered`` has transactions that publish for
    one key wait for each other, and ``notify`` wakes the relay at once.

    Raises: InvalidInputError if an event does not fit its type, or there is no transaction.
    """
    check_kind(connection, "publish_in", awaited=False)
    open_connection, dialect = begun(connection)
    check_transaction(open_connection)
    rows = _rows(events, source, at, ids, extensions)
    mark = MARKS[family_of(connection)]
    run(open_connection, statements(dialect, rows, mark, ordered=ordered, notify=notify))
    return [row["event_id"] for row in rows]


async def publish_in_async(
    connection: Any,
    events: Event | Iterable[Event],
    *,
    source: str = "",
    at: datetime | None = None,
    ids: Sequence[str] | None = None,
    extensions: Mapping[str, str] | None = None,
    ordered: bool = True,
    notify: bool = True,
) -> list[str]:
    """Publish events as ``publish_in`` does, by a connection or session that is awaited."""
    check_kind(connection, "publish_in_async", awaited=True)
    open_connection, dialect = await begun_async(connection)
    check_transaction(open_connection)
    rows = _rows(events, source, at, ids, extensions)
    mark = MARKS[family_of(connection)]
    await run_async(open_connection, statements(dialect, rows, mark, ordered=ordered, notify=notify))
    return [row["event_id"] for row in rows]


def _rows(
    events: Event | Iterable[Event],
    source: str,
    at: datetime | None,
    ids: Sequence[str] | None,
    extensions: Mapping[str, str] | None,
) -> list[Row]:
    given = [events] if isinstance(events, Event) else events
    if at is not None and at.tzinfo is None:
        raise InvalidInputError(
            f"Cannot publish as of {at.isoformat()}: it names no time zone. Give it one, such as UTC."
        )
    time_us = SystemClock().now_us() if at is None else instant_us(at)
    return rows_of(given, time_us=time_us, source=source, ids=ids, extensions=extensions)
