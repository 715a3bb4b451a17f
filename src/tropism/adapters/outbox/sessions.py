"""Running our statements in a transaction of the user's: by SQLAlchemy, psycopg or sqlite3, as it was begun.

None of these is imported here: whoever passes a connection has imported it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tropism.adapters.outbox.rows import Dialect, Row, Statement
from tropism.core.errors import InvalidInputError, NotSupportedError

MARKS = {"sqlite3": ":{}", "psycopg": "%({})s", "sqlalchemy": ":{}"}
"""How each of them writes a named value."""


def family_of(connection: Any) -> str:
    """Return whose connection it is. Raises: NotSupportedError if it is of none that is known."""
    roots = {kind.__module__.partition(".")[0] for kind in type(connection).__mro__}
    for family in MARKS:
        if family in roots:
            return family
    raise NotSupportedError(
        f"Cannot publish in a {type(connection).__name__!r} of {type(connection).__module__!r}: it is no "
        f"connection of sqlite3 or psycopg 3, nor one or a session of SQLAlchemy. Pass one of these."
    )


def is_async(connection: Any) -> bool:
    """Say whether it has to be awaited."""
    kinds = type(connection).__mro__
    return any(
        kind.__module__.startswith("sqlalchemy.ext.asyncio") or kind.__name__ == "AsyncConnection"
        for kind in kinds
    )


def check_kind(connection: Any, function: str, *, awaited: bool) -> None:
    """Refuse a connection that the other function is for. Raises: InvalidInputError."""
    if is_async(connection) != awaited:
        other = function.removesuffix("_async") if awaited else f"{function}_async"
        what = "does not have to be awaited" if awaited else "has to be awaited"
        raise InvalidInputError(
            f"Cannot call {function} with a {type(connection).__name__!r}: it {what}. Call {other}."
        )


def begun(connection: Any) -> tuple[Any, Dialect]:
    """Return what takes statements in the transaction at hand, which begins if need be, and the dialect."""
    family = family_of(connection)
    if family != "sqlalchemy":
        return connection, "postgresql" if family == "psycopg" else "sqlite"
    found = connection if hasattr(connection, "exec_driver_sql") else connection.connection()
    return found, _alchemy_dialect(found)


async def begun_async(connection: Any) -> tuple[Any, Dialect]:
    """Return the same of one that is awaited."""
    if family_of(connection) != "sqlalchemy":
        return connection, "postgresql"
    found = connection if hasattr(connection, "exec_driver_sql") else await connection.connection()
    return found, _alchemy_dialect(found)


def check_transaction(connection: Any) -> None:
    """Refuse a connection that commits every statement by itself. Raises: InvalidInputError."""
    if _COMMITS_BY_ITSELF[family_of(connection)](connection):
        raise InvalidInputError(
            f"Cannot publish in a {type(connection).__name__!r}: it commits every statement by itself, so "
            f"the events would not stand or fall with what they tell of. Begin a transaction first."
        )


def run(connection: Any, statements: Sequence[Statement]) -> None:
    """Make statements in the transaction at hand."""
    for sql, rows in statements:
        if family_of(connection) == "sqlalchemy":
            connection.execute(*_alchemy(sql, rows))
        elif rows:
            cursor = connection.cursor()
            cursor.executemany(sql, rows)
            cursor.close()
        else:
            connection.execute(sql)


async def run_async(connection: Any, statements: Sequence[Statement]) -> None:
    """Make statements in the transaction at hand, awaited."""
    for sql, rows in statements:
        if family_of(connection) == "sqlalchemy":
            await connection.execute(*_alchemy(sql, rows))
        elif rows:
            async with connection.cursor() as cursor:
                await cursor.executemany(sql, rows)
        else:
            await connection.execute(sql)


def _alchemy(sql: str, rows: Sequence[Row]) -> tuple[Any, ...]:
    from sqlalchemy import text  # noqa: PLC0415 (the user's connection is SQLAlchemy's, so it is there)

    return (text(sql), list(rows)) if rows else (text(sql),)


def _alchemy_dialect(connection: Any) -> Dialect:
    name = connection.dialect.name
    if name not in {"postgresql", "sqlite"}:
        raise NotSupportedError(
            f"Cannot publish in a transaction of {name!r}: outboxes are made for postgresql and sqlite. "
            f"Use one of these databases."
        )
    found: Dialect = name
    return found


def _alchemy_commits(connection: Any) -> bool:
    engine = getattr(connection.dialect, "_on_connect_isolation_level", None)
    plain = getattr(connection, "sync_connection", None) or connection
    return "AUTOCOMMIT" in {engine, plain.get_execution_options().get("isolation_level")}


def _psycopg_commits(connection: Any) -> bool:
    # 2 is INTRANS in libpq: within a transaction block, also of a connection that commits by itself.
    return bool(connection.autocommit and connection.info.transaction_status != 2)


def _sqlite_commits(connection: Any) -> bool:
    by_itself = connection.isolation_level is None or getattr(connection, "autocommit", None) is True
    return bool(by_itself and not connection.in_transaction)


_COMMITS_BY_ITSELF: Mapping[str, Callable[[Any], bool]] = {
    "sqlalchemy": _alchemy_commits,
    "psycopg": _psycopg_commits,
    "sqlite3": _sqlite_commits,
}
