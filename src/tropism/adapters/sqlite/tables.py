"""Every write to the database, made by the one thread that owns it, inside its transaction."""

import sqlite3
from collections.abc import Sequence
from typing import Any, NamedTuple

from tropism.adapters.leases import Holding, Leases
from tropism.adapters.local.clock import SystemClock
from tropism.adapters.messages import DEDUP_SECONDS
from tropism.adapters.records import PARTITIONS_DEFAULT
from tropism.adapters.sqlite.many import execute_keys, execute_values, statements
from tropism.adapters.sqlite.topics import Appending, Topics
from tropism.adapters.sqlite.turns import Turns
from tropism.adapters.sqlite.wire import (
    QUEUE_NUMBER,
    Acquire,
    Acquired,
    Append,
    Apply,
    Create,
    Drop,
    Operation,
    Release,
    Renew,
    Result,
)
from tropism.core.errors import TropismError
from tropism.ports.clock import Clock
from tropism.ports.log import Partition
from tropism.ports.state import Position, Write

_PUT = "ON CONFLICT(namespace, key) DO UPDATE SET value = excluded.value, expires_us = excluded.expires_us"
_ACQUIRE = (
    "INSERT INTO consumers VALUES (?,?,?,?,0,NULL,NULL,NULL) ON CONFLICT(name) DO UPDATE SET "
    "token = excluded.token, holder = excluded.holder, lease_seconds = excluded.lease_seconds, clean = 0"
)
# Every consumer that commits has its row: what else the new one would say is not looked at.
_MOVE = (
    "ON CONFLICT(name) DO UPDATE SET cursor = excluded.cursor, watermark_us = excluded.watermark_us, "
    "applied = excluded.applied"
)
_CONSUMERS = "SELECT name, token, holder, lease_seconds, clean, applied FROM consumers"

Asked = tuple[Operation | Drop, int]
"""An operation, and the connection it came over."""


class _Together(NamedTuple):
    """Appends and commits that nothing else came between: what they write is written in one go."""

    appending: Appending
    writes: dict[str, dict[str, Write]]
    """By namespace and key: a key written twice keeps its last value."""
    moves: dict[str, tuple[Any, ...]]
    """Rows of consumers."""


class Tables:
    """Applies operations, knowing in memory where each partition ends, who holds each lease, and what it did.

    Checks come before the first write, so an operation that raises one of our errors wrote nothing. What is
    one statement is its own transaction; for more, one is begun, which the caller ends. After a rollback the
    caller calls ``load``.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        clock: Clock | None = None,
        partitions_default: int = PARTITIONS_DEFAULT,
        dedup_seconds: float = DEDUP_SECONDS,
    ) -> None:
        clock = clock or SystemClock()
        self._sql = connection
        self._leases = Leases(clock.monotonic)
        self._turns = Turns(connection, clock, dedup_seconds=dedup_seconds)
        self._topics = Topics(connection, partitions_default)
        self._applied: dict[str, bytes | None] = {}
        """Per consumer, the id of its last commit."""
        self.load()

    @property
    def ends(self) -> dict[Partition, int]:
        """The ends of all partitions, and all queues."""
        return self._topics.ends | {(name, QUEUE_NUMBER): 0 for name in self._turns.queues}

    def load(self) -> None:
        """Read again what is known in memory, keeping who is there."""
        self._topics.load()
        self._turns.load()
        before, self._leases.holdings = self._leases.holdings, {}
        self._applied = {}
        for name, token, holder, seconds, clean, applied in self._sql.execute(_CONSUMERS):
            known = before.get(name)
            held = known if known and known.token == token and not clean else None
            self._leases.holdings[name] = held or Holding(token, holder, seconds, bool(clean))
            self._applied[name] = applied

    def apply(self, asked: Sequence[Asked], grown: dict[Partition, int]) -> list[Result | Exception]:
        """Apply operations in their order; note in ``grown`` what grew.

        Return each one's result, or what was raised before its first write: that concerns no other.
        """
        outcomes: list[Result | Exception] = [None] * len(asked)
        together = self._together()
        for number, (operation, connection) in enumerate(asked):
            try:
                match operation:
                    case Append(records):
                        together.appending.add(number, records)
                    case Apply():
                        self._commit(together, number, operation, connection)
                    case Renew(lease, seconds):
                        self._leases.keep(lease, seconds, connection)
                    case _:
                        self._write(together, asked, outcomes, grown)
                        together = self._together()
                        outcomes[number] = self._alone(operation, connection, grown)
            except TropismError as error:
                outcomes[number] = error
        self._write(together, asked, outcomes, grown, last=not self._sql.in_transaction)
        return outcomes

    def _together(self) -> _Together:
        return _Together(Appending(self._topics), {}, {})

    def _alone(self, operation: Operation | Drop, connection: int, grown: dict[Partition, int]) -> Result:
        """Apply what is neither an append nor a commit."""
        if isinstance(operation, Drop):
            self._leases.drop(connection)
            return None
        self._begin()
        match operation:
            case Acquire():
                return self._acquire(operation, connection)
            case Release(lease):
                if self._leases.release(lease):
                    self._sql.execute("UPDATE consumers SET clean = 1 WHERE name = ?", (lease.consumer,))
            case Create(topics):
                self._topics.create(topics)
            case Append() | Apply() | Renew():
                raise AssertionError("these are applied together")
            case _:
                return self._turns.apply(operation, grown)
        return None

    def _begin(self) -> None:
        if not self._sql.in_transaction:
            self._sql.execute("BEGIN IMMEDIATE")

    def _acquire(self, asked: Acquire, connection: int) -> Acquired:
        lease = self._leases.acquire(asked.consumer, asked.holder, asked.seconds, connection)
        self._sql.execute(_ACQUIRE, (asked.consumer, lease.token, asked.holder, asked.seconds))
        query = "SELECT cursor, watermark_us FROM consumers WHERE name = ?"
        return Acquired(lease, Position(*self._sql.execute(query, (asked.consumer,)).fetchone()))

    def _commit(self, together: _Together, number: int, asked: Apply, connection: int) -> None:
        commit = asked.commit
        consumer = commit.lease.consumer
        held = self._leases.check(commit.lease)
        if self._applied.get(consumer) == asked.id:
            # Asked again by one who lost the reply with the owner before: it was done.
            return
        if commit.outputs:
            together.appending.add(number, commit.outputs)
        for write in commit.writes:
            of_namespace = together.writes.get(write.namespace)
            if of_namespace is None:
                of_namespace = together.writes[write.namespace] = {}
            of_namespace[write.key] = write
        at = commit.position.cursor, commit.position.watermark_us, asked.id
        together.moves[consumer] = (consumer, held.token, held.holder, held.seconds, 0, *at)
        self._applied[consumer] = asked.id
        self._leases.keep(commit.lease, connection=connection)

    def _write(
        self,
        together: _Together,
        asked: Sequence[Asked],
        outcomes: list[Result | Exception],
        grown: dict[Partition, int],
        *,
        last: bool = False,
    ) -> None:
        """Write what was gathered, in a transaction of its own where it is the last and one statement."""
        appending, writes, moves = together
        puts: list[Any] = []
        gone: dict[str, list[str]] = {}
        for namespace, by_key in writes.items():
            for key, write in by_key.items():
                if write.value is None:
                    gone.setdefault(namespace, []).append(key)
                else:
                    puts += (namespace, key, write.value, write.expires_us)
        count = appending.statements + statements(len(puts) // 4) + statements(len(moves)) + len(gone)
        if count > (1 if last else 0):
            self._begin()
        for number, new in appending.write(self._sql, grown).items():
            outcomes[number] = new if isinstance(asked[number][0], Append) else None
        if not moves:
            return
        execute_values(self._sql, "INSERT INTO state VALUES", puts, _PUT, width=4)
        for namespace, keys in gone.items():
            execute_keys(self._sql, "DELETE FROM state", namespace, keys)
        rows = [value for row in moves.values() for value in row]
        execute_values(self._sql, "INSERT INTO consumers VALUES", rows, _MOVE, width=8)
