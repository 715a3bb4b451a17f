"""The outbox in a SQLite database of the user's, as the relay sees it."""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from tropism.adapters.outbox.rows import COLUMNS, DEPTH, TABLE, sorted_out
from tropism.core.errors import InvalidInputError, UnavailableError
from tropism.ports.outgoing import Waiting

LOOK_SECONDS = 0.1
"""How often it is looked whether there is more: SQLite tells nobody."""

BUSY_SECONDS = 10.0

_READ = f"SELECT id, {', '.join(COLUMNS)} FROM {TABLE} WHERE refused IS NULL ORDER BY id LIMIT ?"
_REMOVE = f"DELETE FROM {TABLE} WHERE id = ?"
_REFUSE = f"UPDATE {TABLE} SET refused = ? WHERE id = ?"

T = TypeVar("T")


class SqliteOutgoing:
    """An ``Outgoing`` in a file: SQLite has one writer at a time, so places are in order of commits."""

    def __init__(self, url: str) -> None:
        if not url.startswith("sqlite:///") or "?" in url or len(url) == len("sqlite:///"):
            raise InvalidInputError(
                f"Cannot open outbox {url!r}: it names no file. Write it like 'sqlite:///./shop.db'."
            )
        self._path = Path(url.removeprefix("sqlite:///"))
        self._connection: sqlite3.Connection | None = None
        self._turn = asyncio.Lock()

    @property
    def name(self) -> str:
        """What it is called."""
        return str(self._path.resolve())

    async def waiting(self, count_max: int) -> Sequence[Waiting]:
        """Return the first records; rows that hold none are put aside."""
        found, odd = sorted_out(await self._run(lambda sql: sql.execute(_READ, (count_max,)).fetchall()))
        for place, cause in odd.items():
            await self.refuse(place, cause)
        return found

    async def remove(self, places: Sequence[int]) -> None:
        """Forget records that are published."""
        await self._run(lambda sql: sql.executemany(_REMOVE, [(place,) for place in places]))

    async def refuse(self, place: int, cause: str) -> None:
        """Keep a record that no log will ever take out of the way."""
        await self._run(lambda sql: sql.execute(_REFUSE, (cause, place)))

    async def depth(self) -> tuple[int, int]:
        """Return how many records wait, and how many were put aside."""
        waiting, refused = await self._run(lambda sql: sql.execute(DEPTH).fetchone())
        return waiting, refused

    async def wait(self, seconds: float) -> None:
        """Return when there may be more."""
        await asyncio.sleep(min(seconds, LOOK_SECONDS))

    async def close(self) -> None:
        """Give the file back."""
        async with self._turn:
            connection, self._connection = self._connection, None
            if connection is not None:
                await asyncio.to_thread(connection.close)

    async def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        async with self._turn:
            task = asyncio.ensure_future(asyncio.to_thread(self._work, work))
            try:
                return await asyncio.shield(task)
            except asyncio.CancelledError:
                # The thread goes on: nobody may use or close the connection beside it.
                await asyncio.wait([task])
                raise

    def _work(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            if self._connection is None:
                # A file that is not there yet is the user's to make.
                place = f"{self._path.resolve().as_uri()}?mode=rw"
                self._connection = sqlite3.connect(
                    place, uri=True, timeout=BUSY_SECONDS, check_same_thread=False
                )
            with self._connection as sql:
                return work(sql)
        except sqlite3.Error as error:
            raise UnavailableError(
                f"Cannot read outbox {self.name!r}: {error}. Make its table with create_outbox(connection)."
            ) from error
