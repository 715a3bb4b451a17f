"""The outbox in a PostgreSQL database of the user's, as the relay sees it."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import psycopg
from psycopg import AsyncConnection

from tropism.adapters.outbox.rows import CHANNEL, COLUMNS, DEPTH, TABLE, sorted_out
from tropism.adapters.postgres.address import address_of
from tropism.adapters.postgres.errors import translated
from tropism.core.errors import CorruptError, UnavailableError
from tropism.ports.outgoing import Waiting

LOOK_SECONDS = 2.0
"""How often it is looked whether there is more, should a notification be lost."""

_READ = f"SELECT id, {', '.join(COLUMNS)} FROM {TABLE} WHERE refused IS NULL ORDER BY id LIMIT %s"
_REMOVE = f"DELETE FROM {TABLE} WHERE id = ANY(%s)"
_REFUSE = f"UPDATE {TABLE} SET refused = %s WHERE id = %s"

T = TypeVar("T")


class PostgresOutgoing:
    """An ``Outgoing`` in a table; places of one key are in order of commits, for its writers wait in turn.

    Nothing is skipped that commits late: there is no mark up to which all is read, a row stays until it is
    published.
    """

    def __init__(self, url: str) -> None:
        self._address = address_of(url)
        # Our own stores have a schema unless told; an outbox is where its writers' statements find it.
        named = "schema=" in url.partition("?")[2]
        self._schema = self._address.schema if named else None
        self._shown = self._address.name
        self._connection: AsyncConnection | None = None

    @property
    def name(self) -> str:
        """What it is called."""
        return self._shown

    async def waiting(self, count_max: int) -> Sequence[Waiting]:
        """Return the first records; rows that hold none are put aside."""

        async def read(connection: AsyncConnection) -> Sequence[Sequence[Any]]:
            return await (await connection.execute(_READ.encode(), (count_max,))).fetchall()

        found, odd = sorted_out(await self._run(read))
        for place, cause in odd.items():
            await self.refuse(place, cause)
        return found

    async def remove(self, places: Sequence[int]) -> None:
        """Forget records that are published."""
        await self._run(lambda connection: connection.execute(_REMOVE.encode(), (list(places),)))

    async def refuse(self, place: int, cause: str) -> None:
        """Keep a record that no log will ever take out of the way."""
        told = cause.replace("\0", "")
        await self._run(lambda connection: connection.execute(_REFUSE.encode(), (told, place)))

    async def depth(self) -> tuple[int, int]:
        """Return how many records wait, and how many were put aside."""

        async def count(connection: AsyncConnection) -> tuple[int, int]:
            row = await (await connection.execute(DEPTH.encode())).fetchone()
            return (0, 0) if row is None else (row[0], row[1])

        return await self._run(count)

    async def wait(self, seconds: float) -> None:
        """Return when there may be more."""

        async def listen(connection: AsyncConnection) -> None:
            # What was told while rows were read or removed is kept by the connection, and ends this at once.
            async for _ in connection.notifies(timeout=min(seconds, LOOK_SECONDS), stop_after=1):
                pass

        await self._run(listen)

    async def close(self) -> None:
        """Give the connection back."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _run(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        try:
            if self._connection is None:
                self._connection = await self._connect()
            return await work(self._connection)
        except psycopg.Error as error:
            await self.close()
            raise self._translated(error) from error
        except BaseException:
            # Cancelled in the middle: the next one must not read the answer to this one.
            await self.close()
            raise

    async def _connect(self) -> AsyncConnection:
        connection = await AsyncConnection.connect(
            self._address.conninfo, autocommit=True, application_name="tropism relay"
        )
        try:
            if self._schema is not None:
                await connection.execute(f"SET search_path TO {self._schema}".encode())
            await connection.execute(f"LISTEN {CHANNEL}".encode())
        except BaseException:
            await connection.close()
            raise
        return connection

    def _translated(self, error: psycopg.Error) -> Exception:
        found = translated(error, f"read outbox {self._shown!r}")
        if isinstance(found, CorruptError):
            # Before the user's program first ran, there is no table.
            return UnavailableError(
                f"Cannot read outbox {self._shown!r}: it has no table {TABLE!r} that fits. "
                f"Make it with create_outbox(connection)."
            )
        return found
