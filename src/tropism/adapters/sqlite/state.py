"""State in a database file."""

import asyncio
import sqlite3
from collections.abc import Sequence
from itertools import count
from secrets import token_bytes

from tropism.adapters.sqlite.many import execute_keys
from tropism.adapters.sqlite.reader import Reader
from tropism.adapters.sqlite.route import Submit
from tropism.adapters.sqlite.wire import Acquire, Acquired, Apply, Release, Renew
from tropism.ports.state import Commit, Entry, Lease, Position

KEYS_HERE_MAX = 512
"""Up to so many values are read without a thread."""

_SCAN = (
    "SELECT key, value, expires_us FROM state WHERE namespace = :namespace "
    "AND key >= :start AND key < :stop ORDER BY key LIMIT :count"
)
# Without the hint SQLite walks all live entries in order of key to find the few that expired.
_EXPIRING = (
    "SELECT key, value, expires_us FROM state INDEXED BY state_expiries WHERE namespace = :namespace "
    "AND expires_us < :before AND key >= :start AND key < :stop ORDER BY key LIMIT :count"
)
_LAST = chr(0x10FFFF)


class SqliteState:
    """A ``State`` of two tables, in one commit domain with the ``SqliteLog`` of its file."""

    def __init__(self, reader: Reader, submit: Submit, *, commit_domain: str) -> None:
        self._reader = reader
        self._submit = submit
        self._domain = commit_domain
        # Commits carry an id that nobody else gives, so that one whose reply was lost can be recognised.
        self._here = token_bytes(8)
        self._numbers = count()
        self._turns: dict[str, asyncio.Lock] = {}

    @property
    def commit_domain(self) -> str:
        """The store whose transactions these commits are."""
        return self._domain

    async def get(self, namespace: str, keys: Sequence[str]) -> Sequence[bytes | None]:
        """Return the values of keys, None where there is none, in the order asked."""
        if len(keys) <= KEYS_HERE_MAX:
            return self._reader.run_here(_get, namespace, list(keys)) if keys else []
        return await self._reader.run(_get, namespace, list(keys))

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
        return await self._reader.run(
            _scan,
            namespace,
            prefix=prefix,
            after=after,
            expires_before_us=expires_before_us,
            count_max=max(count_max, 0),
        )

    async def acquire(self, consumer: str, holder: str, *, lease_seconds: float) -> tuple[Lease, Position]:
        """Take the lease of a consumer, and return where it stands.

        A holder that has it already gets a newer one; a dead process's is free at once.
        """
        acquired = await self._submit(Acquire(consumer, holder, lease_seconds))
        assert isinstance(acquired, Acquired)  # noqa: S101 (what the writer answers to Acquire)
        return acquired.lease, acquired.position

    async def renew(self, lease: Lease, *, lease_seconds: float) -> None:
        """Keep a lease."""
        await self._submit(Renew(lease, lease_seconds))

    async def release(self, lease: Lease) -> None:
        """Give a lease back, cleanly; without effect where it was lost."""
        await self._submit(Release(lease))

    async def commit(self, commit: Commit) -> None:
        """Apply one step of a consumer, and keep its lease."""
        # One at a time for a consumer: then the last id applied tells whether this one was.
        turn = self._turns.setdefault(commit.lease.consumer, asyncio.Lock())
        id = self._here + next(self._numbers).to_bytes(8, "big")
        async with turn:
            await self._submit(Apply(commit, id))

    async def positions(self) -> Sequence[tuple[str, Position]]:
        """Return every consumer's name and position, in order of name."""
        return await self._reader.run(_positions)


def _get(sql: sqlite3.Connection, namespace: str, keys: list[str]) -> list[bytes | None]:
    found = dict(execute_keys(sql, "SELECT key, value FROM state", namespace, keys))
    return [found.get(key) for key in keys]


def _scan(
    sql: sqlite3.Connection,
    namespace: str,
    *,
    prefix: str,
    after: str | None,
    expires_before_us: int | None,
    count_max: int,
) -> list[Entry]:
    query = _SCAN if expires_before_us is None else _EXPIRING
    if after is not None and after >= prefix:
        # One lower bound, not two: SQLite would seek to the first, and walk from there.
        query, start = query.replace("key >=", "key >"), after
    else:
        start = prefix
    bounds = {
        "namespace": namespace,
        "start": start,
        "stop": _behind(prefix),
        "before": expires_before_us,
        "count": count_max,
    }
    return [Entry(*row) for row in sql.execute(query, bounds)]


def _positions(sql: sqlite3.Connection) -> list[tuple[str, Position]]:
    rows = sql.execute("SELECT name, cursor, watermark_us FROM consumers ORDER BY name")
    return [(name, Position(cursor, watermark_us)) for name, cursor, watermark_us in rows]


def _behind(prefix: str) -> str | bytes:
    """Return the first value behind every key of a prefix; SQLite orders all texts before any bytes."""
    kept = prefix.rstrip(_LAST)
    if not kept:
        return b""
    # No character follows U+D7FF up to the surrogates' end: they are in no valid text.
    following = 0xE000 if kept[-1] == "\ud7ff" else ord(kept[-1]) + 1
    return kept[:-1] + chr(following)
