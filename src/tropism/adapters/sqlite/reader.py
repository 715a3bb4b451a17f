"""Reading, in a thread and on a connection of its own: one hop a call."""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from tropism.adapters.sqlite.errors import translated
from tropism.adapters.sqlite.schema import connect_reader
from tropism.adapters.sqlite.writer import closed_error

P = ParamSpec("P")
T = TypeVar("T")


class Reader:
    """Runs queries one after the other."""

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        self._name = name
        self._sql: sqlite3.Connection | None = None
        self._thread: ThreadPoolExecutor | None = ThreadPoolExecutor(
            1, thread_name_prefix="tropism-sqlite-reader"
        )

    async def run(
        self, query: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Return what a query finds. Raises: CorruptError, UnavailableError."""
        if self._thread is None:
            raise closed_error(self._name)
        return await asyncio.wrap_future(
            self._thread.submit(self._query, lambda sql: query(sql, *args, **kwargs))
        )

    async def close(self) -> None:
        """Wait for the query that runs, and close the connection."""
        thread, self._thread = self._thread, None
        if thread is not None:
            await asyncio.wrap_future(thread.submit(self._disconnect))
            thread.shutdown()

    def _query(self, query: Callable[[sqlite3.Connection], T]) -> T:
        try:
            if self._sql is None:
                self._sql = connect_reader(self._path)
            return query(self._sql)
        except (sqlite3.Error, OverflowError, UnicodeEncodeError) as error:
            raise translated(error, f"read {self._name!r}") from error

    def _disconnect(self) -> None:
        if self._sql is not None:
            self._sql.close()
