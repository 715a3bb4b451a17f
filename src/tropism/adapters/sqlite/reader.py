"""Reading: in a thread and on a connection of its own, or, what is few rows, at once."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeVar

from tropism.adapters.sqlite.errors import translated
from tropism.adapters.sqlite.schema import connect_reader
from tropism.adapters.sqlite.writer import call_in, closed_error, resolve

P = ParamSpec("P")
T = TypeVar("T")

UNREADABLE = sqlite3.Error, OverflowError, UnicodeEncodeError


class _Asked(NamedTuple):
    query: Callable[[sqlite3.Connection], Any]
    done: asyncio.Future[Any]


class Reader:
    """Runs queries one after the other.

    A thread and a queue, for an executor's futures cost more than twice as much: 105 us a call, not 45. And
    the thread asks for the interpreter at every row, beside an event loop that is busy with it: few rows
    are read sooner where they are wanted.
    """

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        self._name = name
        self._sql: sqlite3.Connection | None = None
        self._here: sqlite3.Connection | None = None
        self._closed = False
        self._queue: SimpleQueue[_Asked | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="tropism-sqlite-reader", daemon=True)
        self._thread.start()

    async def run(
        self, query: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Return what a query finds. Raises: CorruptError, UnavailableError."""
        if self._closed:
            raise closed_error(self._name)
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._queue.put(_Asked(lambda sql: query(sql, *args, **kwargs), done))
        return await done

    def run_here(
        self, query: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Return what a query of few rows finds, while the event loop waits.

        Raises: CorruptError, UnavailableError.
        """
        if self._closed:
            raise closed_error(self._name)
        try:
            if self._here is None:
                self._here = connect_reader(self._path)
            return query(self._here, *args, **kwargs)
        except UNREADABLE as error:
            raise translated(error, f"read {self._name!r}") from error

    async def close(self) -> None:
        """Finish what was asked, and close the connections."""
        self._closed = True
        if self._here is not None:
            self._here.close()
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def _work(self) -> None:
        while (asked := self._queue.get()) is not None:
            if not asked.done.cancelled():
                call_in(asked.done.get_loop(), resolve, [(asked.done, self._find(asked.query))])
            # What was found may be large: it is not kept until somebody asks again.
            del asked
        if self._sql is not None:
            self._sql.close()

    def _find(self, query: Callable[[sqlite3.Connection], Any]) -> Any:
        """Return what a query finds, or the error that it raised."""
        try:
            if self._sql is None:
                self._sql = connect_reader(self._path)
            return query(self._sql)
        except UNREADABLE as error:
            failure = translated(error, f"read {self._name!r}")
            failure.__cause__ = error
            return failure
        except Exception as error:  # noqa: BLE001 (whatever failed, nobody may wait for ever)
            return error
