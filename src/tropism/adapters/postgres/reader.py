"""Reading, on a few connections of its own."""

import asyncio
from collections.abc import Sequence
from typing import Any

from psycopg import AsyncConnection

from tropism.adapters.postgres.address import Address
from tropism.adapters.postgres.link import RECONNECT_SECONDS, Link, closed_error

_NOTHING_TO_SYNC = b"SET synchronous_commit = off"
"""For notifications, which are all that a reader ever commits: a lost one costs a little time only."""


class Reader:
    """Runs queries, so many at a time; connections are made when they are first needed."""

    def __init__(
        self, address: Address, connections: int, *, reconnect_seconds: float = RECONNECT_SECONDS
    ) -> None:
        self._name = address.name
        self._idle = [
            Link(address, settings=_NOTHING_TO_SYNC, seconds=reconnect_seconds) for _ in range(connections)
        ]
        self._links = tuple(self._idle)
        self._free = asyncio.Semaphore(connections)
        self._running: set[asyncio.Task[list[Any]]] = set()
        self._closed = False

    async def run(self, query: bytes, values: Sequence[Any] = ()) -> list[Any]:
        """Return the rows of a query. Raises: UnavailableError, or what the server's refusal means."""
        if self._closed:
            raise closed_error(self._name)
        # A caller that is cancelled leaves its query to end by itself: a connection is never left inside one.
        task = asyncio.create_task(self._run(query, values))
        self._running.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    async def close(self) -> None:
        """End what runs, and give the connections back."""
        self._closed = True
        for task in tuple(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        for link in self._links:
            await link.close()

    def _ended(self, task: asyncio.Task[list[Any]]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            # Seen, also where the caller was cancelled and nobody asks any more.
            task.exception()

    async def _run(self, query: bytes, values: Sequence[Any]) -> list[Any]:
        async def ask(connection: AsyncConnection) -> list[Any]:
            cursor = connection.cursor(binary=True)
            return await (await cursor.execute(query, values, prepare=True)).fetchall()

        async with self._free:
            link = self._idle.pop()
            try:
                return await link.run(ask, f"read {self._name!r}")
            finally:
                self._idle.append(link)
