"""Writing on one connection: all that waits shares a transaction, and one sync of the server's disk."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import psycopg
from psycopg import AsyncConnection, AsyncCursor

from tropism.adapters.postgres.address import Address
from tropism.adapters.postgres.errors import is_lost
from tropism.adapters.postgres.link import RECONNECT_SECONDS, Link, closed_error
from tropism.adapters.postgres.packing import int4s, texts
from tropism.ports.log import Partition

T = TypeVar("T")

_GROUP_ROWS_MAX = 20_000  # a larger transaction gains nothing, and delays those it includes
_CLOSE_SECONDS = 5.0

Row = Any
"""What the server returned: tuples, whose columns the query names."""


@dataclass(frozen=True, slots=True)
class Operation(Generic[T]):
    """A call of one of our functions, and what its rows mean.

    Functions check before they write, and say a refusal in their rows: ``read`` raises it, and the
    others of the transaction are not concerned. ``consumers``, ``queues`` and ``partitions`` are what it
    locks: a group locks them in one order, before its first call.
    """

    call: bytes
    values: Sequence[Any]
    read: Callable[[list[Row]], T]
    consumers: Sequence[str] = ()
    queues: Sequence[str] = ()
    partitions: Sequence[Partition] = ()
    rows: int = 1


class Writer:
    """Does operations in the order they come, in groups; callers wait for the commit of their group."""

    def __init__(self, address: Address, *, reconnect_seconds: float = RECONNECT_SECONDS) -> None:
        self._address = address
        self._link = Link(address, seconds=reconnect_seconds)
        self._lock_call = f"SELECT {address.schema}.lock_rows(%b, %b, %b, %b)".encode()
        self._waiting: deque[tuple[Operation[Any], asyncio.Future[Any]]] = deque()
        self._filled = asyncio.Event()
        self._closing = False
        self._task = asyncio.create_task(self._work())

    async def submit(self, operation: Operation[T]) -> T:
        """Return what an operation returned, once it is committed.

        A caller that is cancelled leaves it to be done wholly, or not at all. Raises: what it refused.
        """
        if self._closing:
            raise closed_error(self._address.name)
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append((operation, done))
        self._filled.set()
        return await done

    async def close(self) -> None:
        """Finish what waits, within a bound, and give the connection back."""
        self._closing = True
        self._filled.set()
        await asyncio.wait([self._task], timeout=_CLOSE_SECONDS)
        self._task.cancel()
        await asyncio.wait([self._task])
        self._settle_all([done for _, done in self._waiting], closed_error(self._address.name))
        await self._link.close()

    async def _work(self) -> None:
        while True:
            await self._filled.wait()
            self._filled.clear()
            while self._waiting:
                await self._write(self._take())
            if self._closing:
                return

    def _take(self) -> list[tuple[Operation[Any], asyncio.Future[Any]]]:
        """Return what waits, up to a size; whoever was cancelled before its turn asks no more."""
        group: list[tuple[Operation[Any], asyncio.Future[Any]]] = []
        size = 0
        while self._waiting and size < _GROUP_ROWS_MAX:
            operation, done = self._waiting.popleft()
            if not done.cancelled():
                group.append((operation, done))
                size += operation.rows
        return group

    async def _write(self, group: list[tuple[Operation[Any], asyncio.Future[Any]]]) -> None:
        if not group:
            return
        operations = [operation for operation, _ in group]
        waiting = [done for _, done in group]
        try:
            found = await self._link.run(
                lambda connection: self._transact(connection, operations), f"write to {self._address.name!r}"
            )
        except asyncio.CancelledError:
            self._settle_all(waiting, closed_error(self._address.name))
            raise
        except Exception as error:  # noqa: BLE001 (whatever failed, nobody may wait for ever)
            if len(group) == 1 or _is_away(error):
                self._settle_all(waiting, error)
                return
            for one in group:
                await self._write([one])
            return
        for (operation, done), rows in zip(group, found, strict=True):
            _settle(operation, done, rows)

    async def _transact(
        self, connection: AsyncConnection, operations: list[Operation[Any]]
    ) -> list[list[Row]]:
        if len(operations) == 1:
            cursor = await _call(connection, operations[0])
            return [await cursor.fetchall()]
        consumers = [name for operation in operations for name in operation.consumers]
        queues = [name for operation in operations for name in operation.queues]
        partitions = {partition for operation in operations for partition in operation.partitions}
        where = texts([topic for topic, _ in partitions]), int4s([number for _, number in partitions])
        locked = texts(consumers), texts(queues), *where
        async with connection.pipeline():
            await connection.execute(b"BEGIN")
            await connection.execute(self._lock_call, locked)
            cursors = [await _call(connection, operation) for operation in operations]
            await connection.execute(b"COMMIT")
        return [await cursor.fetchall() for cursor in cursors]

    @staticmethod
    def _settle_all(waiting: Sequence[asyncio.Future[Any]], error: Exception) -> None:
        for done in waiting:
            if not done.done():
                done.set_exception(error)


async def _call(connection: AsyncConnection, operation: Operation[Any]) -> AsyncCursor[Row]:
    cursor: AsyncCursor[Row] = connection.cursor(binary=True)
    return await cursor.execute(operation.call, operation.values)


def _is_away(error: Exception) -> bool:
    """Say whether the server does not answer: then none of a group needs to be tried alone."""
    return isinstance(error.__cause__, psycopg.Error) and is_lost(error.__cause__)


def _settle(operation: Operation[T], done: asyncio.Future[T], rows: list[Row]) -> None:
    if done.done():
        return
    try:
        done.set_result(operation.read(rows))
    except Exception as error:  # noqa: BLE001 (whatever failed, nobody may wait for ever)
        done.set_exception(error)
