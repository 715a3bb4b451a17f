"""Hearing what other processes wrote: LISTEN, and a look now and then for what was not heard."""

import asyncio
import json
from collections.abc import Callable, Mapping
from contextlib import suppress

import psycopg
from psycopg import AsyncConnection

from tropism.adapters.ends import Ends
from tropism.adapters.postgres.address import Address
from tropism.adapters.postgres.link import connect
from tropism.adapters.postgres.reader import Reader
from tropism.adapters.postgres.texts import plain
from tropism.core.errors import TropismError
from tropism.ports.log import Partition

LOOK_SECONDS = 3.0
"""A lost notification costs so much time, and nothing else."""

_ANSWER_SECONDS = 10.0
_PAUSE_SECONDS_MAX = 5.0
_PAYLOAD_BYTES_MAX = 7_900  # PostgreSQL takes 8,000

_LOOK = "SELECT t.name, p.number, p.next_offset FROM {0}.partitions p JOIN {0}.topics t ON t.id = p.topic_id"


class Listener:
    """Learns the ends of partitions, and which queues may have something to receive."""

    def __init__(
        self,
        address: Address,
        ends: Ends,
        stirred: Callable[[str | None], None],
        *,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self._address = address
        self._ends = ends
        self._stirred = stirred
        self._look_seconds = look_seconds
        self._look = _LOOK.format(address.schema).encode()
        self._task = asyncio.create_task(self._work())

    async def close(self) -> None:
        """Stop listening."""
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _work(self) -> None:
        pause = 0.05
        while True:
            with suppress(psycopg.Error, TimeoutError, OSError):
                connection = await connect(self._address)
                try:
                    await connection.execute(f"LISTEN {channel_of(self._address)}".encode())
                    await self._catch_up(connection)
                    pause = 0.05
                    await self._hear(connection)
                finally:
                    await connection.close()
            await asyncio.sleep(pause)
            pause = min(2 * pause, _PAUSE_SECONDS_MAX)

    async def _hear(self, connection: AsyncConnection) -> None:
        while True:
            async for notification in connection.notifies(timeout=self._look_seconds):
                await self._learn(connection, notification.payload)
            await self._catch_up(connection)

    async def _learn(self, connection: AsyncConnection, payload: str) -> None:
        try:
            grown, queues = json.loads(payload)
        except ValueError:
            # More grew than a notification can say.
            await self._catch_up(connection)
            return
        if grown:
            self._ends.update({(topic, number): end for topic, number, end in grown})
        for queue in queues:
            self._stirred(queue)

    async def _catch_up(self, connection: AsyncConnection) -> None:
        # A connection that died without a word is noticed here.
        async with asyncio.timeout(_ANSWER_SECONDS):
            rows = await (await connection.execute(self._look)).fetchall()
        self._ends.update({(plain(topic), number): end for topic, number, end in rows})
        self._stirred(None)


class Announcer:
    """Tells other processes what grew, after it was committed.

    Not in the transaction itself: commits that notify wait for each other's sync, over the whole server.
    """

    def __init__(self, address: Address, reader: Reader) -> None:
        self._reader = reader
        self._call = f"SELECT pg_notify('{channel_of(address)}', %b)".encode()
        self._grown: dict[Partition, int] = {}
        self._queues: set[str] = set()
        self._filled = asyncio.Event()
        self._task = asyncio.create_task(self._work())

    def tell(self, grown: Mapping[Partition, int], queue: str | None = None) -> None:
        """Say it soon; what comes meanwhile is said together."""
        self._grown.update(grown)
        if queue is not None:
            self._queues.add(queue)
        self._filled.set()

    async def close(self) -> None:
        """Say what is left, and stop."""
        self._filled.set()
        self._task.cancel()
        await asyncio.wait([self._task])
        with suppress(TropismError):
            await self._say()

    async def _work(self) -> None:
        while True:
            await self._filled.wait()
            self._filled.clear()
            # Others look by themselves now and then: what cannot be said now is not lost.
            with suppress(TropismError):
                await self._say()

    async def _say(self) -> None:
        if not self._grown and not self._queues:
            return
        grown = [(topic, number, end) for (topic, number), end in self._grown.items()]
        payload = json.dumps([grown, sorted(self._queues)], separators=(",", ":"))
        self._grown, self._queues = {}, set()
        await self._reader.run(self._call, (payload if len(payload) < _PAYLOAD_BYTES_MAX else "",))


def channel_of(address: Address) -> str:
    """Return the name under which a store's news is told; others' stores in the database have their own."""
    return f"tropism_{address.schema}"
