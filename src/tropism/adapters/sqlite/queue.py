"""Queues in a database file."""

import sqlite3
from collections.abc import Mapping, Sequence

import msgspec

from tropism.adapters.messages import (
    BATCH_COUNT_MAX,
    DELAY_SECONDS_MAX,
    check_delay,
    check_loan,
    check_messages,
)
from tropism.adapters.records import RECORD_BYTES_MAX
from tropism.adapters.sqlite.log import DURABILITY, DURABILITY_NORMAL
from tropism.adapters.sqlite.reader import Reader
from tropism.adapters.sqlite.route import Submit
from tropism.adapters.sqlite.wire import (
    Bury,
    Discard,
    Extend,
    Finish,
    Lost,
    QueueOperation,
    Redrive,
    Return,
    Send,
    Take,
    Taken,
)
from tropism.adapters.stirs import Stirs
from tropism.core.time import MICROSECONDS
from tropism.ports.capabilities import Capabilities
from tropism.ports.clock import Clock
from tropism.ports.queue import Dead, Depth, Message, Received

_DEAD = (
    "SELECT dead.id, body, key, attributes, cause, attempts, died_us FROM dead "
    "JOIN queues ON queues.id = queue_id WHERE name = :queue AND (dead.id > :after OR :after = '') "
    "ORDER BY dead.id LIMIT :count"
)
_DEPTH = (
    "SELECT count(*) FILTER (WHERE due_us <= :now), count(*) FILTER (WHERE due_us > :now AND NOT leased), "
    "count(*) FILTER (WHERE due_us > :now AND leased), "
    "(SELECT count(*) FROM dead WHERE queue_id = :queue_id) FROM turns WHERE queue_id = :queue_id"
)
_attributes = msgspec.json.Decoder(dict[str, str])


def capabilities_of(*, url: str, commit_domain: str, synced: bool, dedup_seconds: float) -> Capabilities:
    """Return what queues in a database file can do."""
    return Capabilities(
        durability=DURABILITY if synced else DURABILITY_NORMAL,
        commit_domain=commit_domain,
        ordering="key",
        event_time=False,
        dedup_seconds=dedup_seconds,
        delay_seconds_max=DELAY_SECONDS_MAX,
        dead_letters="native",
        replay=False,
        transactions=False,
        batch_count_max=BATCH_COUNT_MAX,
        record_bytes_max=RECORD_BYTES_MAX,
        url=url,
    )


class SqliteQueue:
    """A ``Queue`` of a few tables, written through the process that owns the file.

    Where that process dies before it answers, the call is made again with the next owner: messages of a
    ``send`` may then count as not new, receipts as lost though this very call ended them, and what a
    ``receive`` borrowed in vain comes again when its loan runs out.
    """

    def __init__(
        self, reader: Reader, submit: Submit, stirs: Stirs, clock: Clock, capabilities: Capabilities
    ) -> None:
        self._reader = reader
        self._submit = submit
        self._stirs = stirs
        self._clock = clock
        self._capabilities = capabilities

    @property
    def capabilities(self) -> Capabilities:
        """What this queue can do."""
        return self._capabilities

    async def send(self, queue: str, messages: Sequence[Message], *, delay_seconds: float = 0.0) -> int:
        """Add messages, to be received after a delay at the earliest; return how many were new."""
        limits = self._capabilities
        check_delay(queue, delay_seconds)
        check_messages(queue, messages, bytes_max=limits.record_bytes_max, count_max=limits.batch_count_max)
        return await self._count(Send(queue, list(messages), _us(delay_seconds))) if messages else 0

    async def receive(
        self, queue: str, *, count_max: int, lease_seconds: float, wait_seconds: float = 0.0
    ) -> Sequence[Received]:
        """Borrow up to so many messages; wait up to so long for the first one."""
        check_loan(queue, lease_seconds, count_max)
        ask = Take(queue, min(count_max, self._capabilities.batch_count_max), _us(lease_seconds))

        async def take() -> tuple[Sequence[Received], float | None]:
            taken = await self._submit(ask)
            assert isinstance(taken, Taken)  # noqa: S101 (what the writer answers to Take)
            return taken.received, None if taken.wait_us is None else taken.wait_us / MICROSECONDS

        return await self._stirs.receive(queue, take, wait_seconds)

    async def ack(self, received: Sequence[Received]) -> Sequence[str]:
        """Finish messages for good; return the receipts of loans that had been lost."""
        return await self._lost(Finish(_receipts(received)))

    async def nack(self, received: Sequence[Received], *, delay_seconds: float = 0.0) -> Sequence[str]:
        """Give messages back, to be received after a delay; return the receipts of lost loans."""
        for one in received:
            check_delay(one.queue, delay_seconds)
        return await self._lost(Return(_receipts(received), _us(delay_seconds)))

    async def renew(self, received: Sequence[Received], *, lease_seconds: float) -> Sequence[str]:
        """Keep loans for so long from now; return the receipts of lost ones."""
        for one in received:
            check_loan(one.queue, lease_seconds)
        return await self._lost(Extend(_receipts(received), _us(lease_seconds)))

    async def bury(self, received: Mapping[str, str], queue: str) -> Sequence[str]:
        """Move messages to the dead letters, by receipt with its cause; return the lost receipts."""
        return await self._lost(Bury(queue, dict(received)))

    async def dead(self, queue: str, *, after: str = "", count_max: int = 100) -> Sequence[Dead]:
        """Return a page of dead letters in order of id, behind an id."""
        return await self._reader.run(_dead, queue, after, max(count_max, 0))

    async def redrive(self, queue: str, ids: Sequence[str]) -> int:
        """Send dead letters again, as new; return how many were there."""
        return await self._count(Redrive(queue, list(ids)))

    async def discard(self, queue: str, ids: Sequence[str]) -> int:
        """Delete dead letters; return how many were there."""
        return await self._count(Discard(queue, list(ids)))

    async def depth(self, queue: str) -> Depth:
        """Return how many messages there are; zeros where the queue does not exist."""
        return await self._reader.run(_depth, queue, self._clock.now_us())

    async def _count(self, operation: QueueOperation) -> int:
        count = await self._submit(operation)
        assert isinstance(count, int)  # noqa: S101 (what the writer answers to these)
        return count

    async def _lost(self, operation: QueueOperation) -> Sequence[str]:
        lost = await self._submit(operation)
        assert isinstance(lost, Lost)  # noqa: S101 (what the writer answers to these)
        return lost.receipts


def _dead(sql: sqlite3.Connection, queue: str, after: str, count_max: int) -> list[Dead]:
    rows = sql.execute(_DEAD, {"queue": queue, "after": after, "count": count_max})
    return [
        Dead(Message(id, body, key, attributes and _attributes.decode(attributes)), cause, attempts, died_us)
        for id, body, key, attributes, cause, attempts, died_us in rows
    ]


def _depth(sql: sqlite3.Connection, queue: str, now_us: int) -> Depth:
    row = sql.execute("SELECT id FROM queues WHERE name = ?", (queue,)).fetchone()
    if row is None:
        return Depth(0, 0, 0, 0)
    return Depth(*sql.execute(_DEPTH, {"now": now_us, "queue_id": row[0]}).fetchone())


def _receipts(received: Sequence[Received]) -> list[str]:
    return [one.receipt for one in received]


def _us(seconds: float) -> int:
    return round(seconds * MICROSECONDS)
