"""State in a PostgreSQL database."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from secrets import token_bytes
from typing import Any, Protocol, TypeVar

from tropism.adapters.leases import held_error, lost_error
from tropism.adapters.postgres.address import Address
from tropism.adapters.postgres.batch import EMPTY, Batch, Topics, batch_of, int64
from tropism.adapters.postgres.packing import blobs, encoded_texts, int8s_or_null, texts
from tropism.adapters.postgres.reader import Reader
from tropism.adapters.postgres.texts import behind, check_indexed, encoded, plain
from tropism.adapters.postgres.writer import Operation, Row, Writer
from tropism.ports.log import Partition
from tropism.ports.state import Commit, Entry, Lease, Position, Write

_GET = "SELECT key, value FROM {0}.state WHERE namespace = %b::text AND key = ANY(%b)"
# One lower bound, and an upper one only where there is one: each query is then a walk over just its range.
_SCAN = (
    "SELECT key, value, expires_us FROM {0}.state "
    "WHERE namespace = %b::text AND key {1} %b::text {2} ORDER BY key LIMIT %b"
)
# What expires is found first, by its own index: else the planner may walk all that lives to find it.
_EXPIRING = (
    "WITH due AS MATERIALIZED (SELECT key, value, expires_us FROM {0}.state "
    "WHERE namespace = %b::text AND expires_us < %b) "
    "SELECT * FROM due WHERE key {1} %b::text {2} ORDER BY key LIMIT %b"
)
_BELOW = "AND key < %b::text"
_POSITIONS = "SELECT name, cursor, watermark_us FROM {0}.consumers ORDER BY name"
_ACQUIRE = "SELECT * FROM {0}.acquire(%b, %b, %b)"
_RENEW = "SELECT {0}.renew(%b, %b, %b)"
_RELEASE = "UPDATE {0}.consumers SET clean = true WHERE name = %b AND token = %b"
_COMMIT = f"SELECT * FROM {{0}}.commit_step({', '.join(['%b'] * 27)})"

_INT64_MAX = 2**63 - 1

T = TypeVar("T")


class Grew(Protocol):
    """Is told where partitions end after a commit."""

    def __call__(self, ends: Mapping[Partition, int], /) -> None:
        """Learn it."""
        ...


class PostgresState:
    """A ``State`` of two tables, in one commit domain with the ``PostgresLog`` of its schema."""

    def __init__(
        self,
        address: Address,
        writer: Writer,
        reader: Reader,
        *,
        commit_domain: str,
        topics: Topics,
        grew: Grew,
    ) -> None:
        self._schema = address.schema
        self._writer = writer
        self._reader = reader
        self._domain = commit_domain
        self._topics = topics
        self._grew = grew
        # Commits carry an id that nobody else gives, so that one whose reply was lost can be recognised.
        self._here = token_bytes(8)
        self._numbers = count()
        self._turns: dict[str, asyncio.Lock] = {}
        self._doubts: dict[str, tuple[Commit, bytes]] = {}

    @property
    def commit_domain(self) -> str:
        """The store whose transactions these commits are."""
        return self._domain

    async def get(self, namespace: str, keys: Sequence[str]) -> Sequence[bytes | None]:
        """Return the values of keys, None where there is none, in the order asked."""
        if not keys:
            return []
        values = _text(namespace), texts(list(keys))
        rows = await self._reader.run(self._query(_GET), values)
        found = {plain(key): value for key, value in rows}
        return [found.get(key) for key in keys]

    async def scan(
        self,
        namespace: str,
        *,
        prefix: str = "",
        after: str | None = None,
        expires_before_us: int | None = None,
        count_max: int = 1000,
    ) -> Sequence[Entry]:
        """Return a page of entries by key prefix, after a key, or expiring before an instant."""
        beyond = after is not None and after >= prefix
        start, stop = _text(after or "" if beyond else prefix), behind(_text(prefix))
        text = _SCAN if expires_before_us is None else _EXPIRING
        query = text.format(
            self._schema, ">" if beyond else ">=", _BELOW if stop is not None else ""
        ).encode()
        before = () if expires_before_us is None else (_clipped(expires_before_us),)
        below = () if stop is None else (stop,)
        values = (_text(namespace), *before, start, *below, min(max(count_max, 0), _INT64_MAX))
        rows = await self._reader.run(query, values)
        return [Entry(plain(key), value, expires_us) for key, value, expires_us in rows]

    async def acquire(self, consumer: str, holder: str, *, lease_seconds: float) -> tuple[Lease, Position]:
        """Take the lease of a consumer, and return where it stands.

        A holder that has it already gets a newer one; a dead process's is free when it has run out.
        """
        check_indexed(encoded([consumer]), "a consumer's name")

        def read(rows: list[Row]) -> tuple[Lease, Position]:
            held_by, held_seconds, token, clean, cursor, watermark_us = rows[0]
            if held_by is not None:
                raise held_error(consumer, holder, plain(held_by), held_seconds)
            return Lease(consumer, token, clean), Position(cursor, watermark_us)

        values = _text(consumer), _text(holder), float(lease_seconds)
        return await self._change(consumer, _ACQUIRE, values, read)

    async def renew(self, lease: Lease, *, lease_seconds: float) -> None:
        """Keep a lease."""

        def read(rows: list[Row]) -> None:
            if rows[0][0] is not None:
                raise lost_error(lease, rows[0][0])

        values = _text(lease.consumer), lease.token, float(lease_seconds)
        await self._change(lease.consumer, _RENEW, values, read)

    async def release(self, lease: Lease) -> None:
        """Give a lease back, cleanly; without effect where it was lost."""
        # A server that answers has no rows to tell of an update.
        query = f"WITH done AS ({_RELEASE}) SELECT 1"
        await self._change(lease.consumer, query, (_text(lease.consumer), lease.token), lambda _: None)

    async def commit(self, commit: Commit) -> None:
        """Apply one step of a consumer, and keep its lease.

        One that ended in UnavailableError may have been applied where the connection was lost in the middle
        of it: the same commit made again is then recognised, and not applied twice.
        """
        consumer = commit.lease.consumer
        # One at a time for a consumer: then the last id applied tells whether this one was.
        async with self._turns.setdefault(consumer, asyncio.Lock()):
            doubt = self._doubts.get(consumer)
            if doubt is not None and doubt[0] == commit:
                id = doubt[1]
            else:
                id = self._here + next(self._numbers).to_bytes(8, "big")
            self._doubts[consumer] = commit, id
            await self._apply(commit, id)
            del self._doubts[consumer]

    async def positions(self) -> Sequence[tuple[str, Position]]:
        """Return every consumer's name and position, in order of name."""
        rows = await self._reader.run(self._query(_POSITIONS))
        return [(plain(name), Position(cursor, watermark_us)) for name, cursor, watermark_us in rows]

    async def _apply(self, commit: Commit, id: bytes) -> None:
        lease, position = commit.lease, commit.position
        int64(position.watermark_us, "a watermark")
        head = _text(lease.consumer), lease.token, id, position.cursor, position.watermark_us
        writes, rows = _packed(commit.writes), len(commit.writes) + 1
        while True:
            batch = batch_of(commit.outputs, self._topics) if commit.outputs else EMPTY
            operation = Operation(
                self._query(_COMMIT),
                (*head, *writes, *batch.values),
                _first,
                consumers=(lease.consumer,),
                partitions=batch.partitions,
                rows=rows + batch.rows,
            )
            lost_to, _, ends, recount = await self._writer.submit(operation)
            if lost_to is not None:
                raise lost_error(lease, lost_to)
            if recount is None:
                self._learn(batch, ends)
                return
            batch.learned(self._topics, recount)

    def _learn(self, batch: Batch, ends: Sequence[int] | None) -> None:
        if ends is not None:
            self._grew(dict(zip(batch.partitions, ends, strict=True)))

    async def _change(
        self, consumer: str, query: str, values: Sequence[Any], read: Callable[[list[Row]], T]
    ) -> T:
        return await self._writer.submit(Operation(self._query(query), values, read, consumers=(consumer,)))

    def _query(self, text: str) -> bytes:
        return text.format(self._schema).encode()


def _packed(writes: Sequence[Write]) -> tuple[Any, ...]:
    # A key written twice keeps its last value. In one order, so that commits never cross each other.
    last = sorted({(write.namespace, write.key): write for write in writes}.values(), key=_place)
    puts = [write for write in last if write.value is not None]
    cuts = [write for write in last if write.value is None]
    namespaces, keys = encoded([w.namespace for w in puts]), encoded([w.key for w in puts])
    check_indexed([a + b for a, b in zip(namespaces, keys, strict=True)], "a namespace and key")
    return (
        encoded_texts(namespaces),
        encoded_texts(keys),
        blobs([w.value for w in puts if w.value is not None]),
        int8s_or_null([int64(w.expires_us, "an expiry") for w in puts]),
        texts([w.namespace for w in cuts]),
        texts([w.key for w in cuts]),
    )


def _place(write: Write) -> tuple[str, str]:
    return write.namespace, write.key


def _text(text: str) -> str:
    return encoded([text])[0].decode()


def _clipped(instant_us: int) -> int:
    return max(-_INT64_MAX, min(instant_us, _INT64_MAX))


def _first(rows: list[Row]) -> Any:
    return rows[0]
