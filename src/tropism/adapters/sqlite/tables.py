"""Every write to the database, made by the one thread that owns it, inside its transaction."""

import sqlite3
import time
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import msgspec

from tropism.adapters.leases import Holding, Leases
from tropism.adapters.records import PARTITIONS_DEFAULT, RECORD_BYTES_MAX, check_records, check_topics, place
from tropism.adapters.sqlite.wire import (
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
from tropism.core.envelope import Record
from tropism.ports.log import Partition
from tropism.ports.state import Position, Write

_ADD_EVENT = "INSERT INTO events VALUES (?,?,?,?,?,?,?,?,?,?,?)"
_PUT = (
    "INSERT INTO state VALUES (?,?,?,?) ON CONFLICT DO UPDATE SET value = excluded.value, "
    "expires_us = excluded.expires_us"
)
_ACQUIRE = (
    "INSERT INTO consumers VALUES (?,?,?,?,0,NULL,NULL,NULL) ON CONFLICT DO UPDATE SET "
    "token = excluded.token, holder = excluded.holder, lease_seconds = excluded.lease_seconds, clean = 0"
)
_MOVE = "UPDATE consumers SET cursor = ?, watermark_us = ?, applied = ? WHERE name = ?"
_EARLIEST = -(2**63)

Head = tuple[int, int]
"""A partition's next offset, and when its last record was known."""


class Tables:
    """Applies operations, knowing in memory where each partition ends and who holds each lease.

    Checks come before the first write, so an operation that raises one of our errors wrote nothing.
    After a rollback the caller calls ``load``.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        partitions_default: int = PARTITIONS_DEFAULT,
    ) -> None:
        self._sql = connection
        self._partitions_default = partitions_default
        self._leases = Leases(monotonic)
        self._topics: dict[str, tuple[int, int]] = {}
        self.heads: dict[Partition, Head] = {}
        self.load()

    def load(self) -> None:
        """Read again what is known in memory, keeping who is there."""
        self._topics = {
            name: (number, count)
            for number, name, count in self._sql.execute("SELECT id, name, partitions FROM topics")
        }
        self.heads = dict(self._read_heads())
        before, self._leases.holdings = self._leases.holdings, {}
        query = "SELECT name, token, holder, lease_seconds, clean FROM consumers"
        for name, token, holder, seconds, clean in self._sql.execute(query):
            known = before.get(name)
            held = known if known and known.token == token and not clean else None
            self._leases.holdings[name] = held or Holding(token, holder, seconds, bool(clean))

    def apply(self, operation: Operation | Drop, connection: int, grown: dict[Partition, int]) -> Result:
        """Apply an operation that came over a connection; note in ``grown`` which partitions grew."""
        match operation:
            case Append(records):
                return self._append(records, grown)
            case Apply():
                self._commit(operation, connection, grown)
            case Renew(lease, seconds):
                self._leases.keep(lease, seconds, connection)
            case Acquire():
                return self._acquire(operation, connection)
            case Release(lease):
                if self._leases.release(lease):
                    self._sql.execute("UPDATE consumers SET clean = 1 WHERE name = ?", (lease.consumer,))
            case Create(topics):
                self._create(topics)
            case Drop():
                self._leases.drop(connection)
        return None

    def _read_heads(self) -> Any:
        query = (
            "SELECT offset + 1, known_us FROM events WHERE topic_id = ? AND partition = ? "
            "ORDER BY offset DESC LIMIT 1"
        )
        for name, (number, count) in self._topics.items():
            for partition in range(count):
                row = self._sql.execute(query, (number, partition)).fetchone()
                if row is not None:
                    yield (name, partition), row

    def _create(self, topics: dict[str, int]) -> None:
        check_topics(topics, {name: count for name, (_, count) in self._topics.items()})
        for topic, count in topics.items():
            self._topic(topic, count)

    def _topic(self, name: str, count: int) -> tuple[int, int]:
        known = self._topics.get(name)
        if known is None:
            cursor = self._sql.execute("INSERT INTO topics(name, partitions) VALUES (?,?)", (name, count))
            known = self._topics[name] = (int(cursor.lastrowid or 0), count)
        return known

    def _append(self, records: Sequence[Record], grown: dict[Partition, int]) -> int:
        check_records(records, RECORD_BYTES_MAX)
        heads: dict[Partition, Head] = {}
        rows = self._rows(records, heads)
        try:
            self._sql.executemany(_ADD_EVENT, rows)
        except sqlite3.IntegrityError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_CONSTRAINT_UNIQUE:
                raise
            return self._append(self._unknown(records, heads), grown)
        self.heads.update(heads)
        grown.update((partition, head[0]) for partition, head in heads.items())
        return len(rows)

    def _rows(self, records: Sequence[Record], heads: dict[Partition, Head]) -> list[tuple[Any, ...]]:
        rows = []
        for record in records:
            topic = record.topic
            topic_id, count = self._topics.get(topic) or self._topic(topic, self._partitions_default)
            number = place(record, count)
            partition = topic, number
            offset, known_us = heads.get(partition) or self.heads.get(partition, (0, _EARLIEST))
            time_us = record.time_us
            known_us = max(known_us, time_us)
            heads[partition] = offset + 1, known_us
            extensions = record.extensions and msgspec.json.encode(record.extensions).decode()
            what = record.id, record.type, record.subject, time_us, record.data, record.source, extensions
            rows.append((topic_id, number, offset, known_us, *what))
        return rows

    def _unknown(self, records: Sequence[Record], heads: dict[Partition, Head]) -> list[Record]:
        """Take back what was inserted of a batch with duplicates, and return its new records.

        Duplicates are rare: finding them by the failed insert costs the usual batch nothing.
        """
        for topic, number in heads:
            behind = self._topics[topic][0], number, self.heads.get((topic, number), (0, 0))[0]
            self._sql.execute(
                "DELETE FROM events WHERE topic_id = ? AND partition = ? AND offset >= ?", behind
            )
        fresh: dict[tuple[str, str], Record] = {}
        for record in records:
            key = self._topics[record.topic][0], record.id
            known = self._sql.execute("SELECT 1 FROM events WHERE topic_id = ? AND id = ?", key).fetchone()
            if known is None:
                fresh.setdefault((record.topic, record.id), record)
        return list(fresh.values())

    def _acquire(self, asked: Acquire, connection: int) -> Acquired:
        lease = self._leases.acquire(asked.consumer, asked.holder, asked.seconds, connection)
        self._sql.execute(_ACQUIRE, (asked.consumer, lease.token, asked.holder, asked.seconds))
        query = "SELECT cursor, watermark_us FROM consumers WHERE name = ?"
        return Acquired(lease, Position(*self._sql.execute(query, (asked.consumer,)).fetchone()))

    def _commit(self, asked: Apply, connection: int, grown: dict[Partition, int]) -> None:
        commit = asked.commit
        consumer = commit.lease.consumer
        self._leases.check(commit.lease)
        query = "SELECT applied FROM consumers WHERE name = ?"
        if self._sql.execute(query, (consumer,)).fetchone()[0] == asked.id:
            # Asked again by one who lost the reply with the owner before: it was done.
            return
        if commit.outputs:
            self._append(commit.outputs, grown)
        self._write(commit.writes)
        position = commit.position
        self._sql.execute(_MOVE, (position.cursor, position.watermark_us, asked.id, consumer))
        self._leases.keep(commit.lease, connection=connection)

    def _write(self, writes: Sequence[Write]) -> None:
        # Runs of puts and deletes, in their order: a key written twice keeps its last value.
        for deletes, run in groupby(writes, key=lambda write: write.value is None):
            if deletes:
                keys = [(write.namespace, write.key) for write in run]
                self._sql.executemany("DELETE FROM state WHERE namespace = ? AND key = ?", keys)
            else:
                rows = [(write.namespace, write.key, write.value, write.expires_us) for write in run]
                self._sql.executemany(_PUT, rows)
