"""Every write to the database, made by the one thread that owns it, inside its transaction."""

import sqlite3
from collections.abc import Sequence
from typing import Any

import msgspec

from tropism.adapters.leases import Holding, Leases
from tropism.adapters.local.clock import SystemClock
from tropism.adapters.messages import DEDUP_SECONDS
from tropism.adapters.records import PARTITIONS_DEFAULT, RECORD_BYTES_MAX, check_records, check_topics, place
from tropism.adapters.sqlite.many import execute_keys, execute_rows
from tropism.adapters.sqlite.schema import PLACE_BITS, check_partitions, lane_start
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
from tropism.core.envelope import Record
from tropism.ports.clock import Clock
from tropism.ports.log import Partition
from tropism.ports.state import Position, Write

_PUT = "ON CONFLICT(namespace, key) DO UPDATE SET value = excluded.value, expires_us = excluded.expires_us"
_ACQUIRE = (
    "INSERT INTO consumers VALUES (?,?,?,?,0,NULL,NULL,NULL) ON CONFLICT(name) DO UPDATE SET "
    "token = excluded.token, holder = excluded.holder, lease_seconds = excluded.lease_seconds, clean = 0"
)
_MOVE = "UPDATE consumers SET cursor = ?, watermark_us = ?, applied = ? WHERE name = ?"
_EARLIEST = -(2**63)

_NONE: list[int] = []


class _Topic:
    """A topic's partitions: where each starts, its next offset, and when its last record was known."""

    __slots__ = ("id", "known_us", "offsets", "starts")

    def __init__(self, id: int, offsets: list[int], known_us: list[int]) -> None:
        self.id = id
        self.starts = [lane_start(id, number) for number in range(len(offsets))]
        self.offsets = offsets
        self.known_us = known_us

    def copy(self) -> "_Topic":
        return _Topic(self.id, self.offsets.copy(), self.known_us.copy())


class Tables:
    """Applies operations, knowing in memory where each partition ends and who holds each lease.

    Checks come before the first write, so an operation that raises one of our errors wrote nothing.
    After a rollback the caller calls ``load``.
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
        self._partitions_default = partitions_default
        self._leases = Leases(clock.monotonic)
        self._turns = Turns(connection, clock, dedup_seconds=dedup_seconds)
        self._topics: dict[str, _Topic] = {}
        self.load()

    @property
    def ends(self) -> dict[Partition, int]:
        """The ends of all partitions, and all queues."""
        ends = {
            (name, number): end
            for name, topic in self._topics.items()
            for number, end in enumerate(topic.offsets)
        }
        return ends | {(name, QUEUE_NUMBER): 0 for name in self._turns.queues}

    def load(self) -> None:
        """Read again what is known in memory, keeping who is there."""
        topics = self._sql.execute("SELECT name, id, partitions FROM topics").fetchall()
        self._topics = {name: self._load_topic(id, count) for name, id, count in topics}
        self._turns.load()
        before, self._leases.holdings = self._leases.holdings, {}
        query = "SELECT name, token, holder, lease_seconds, clean FROM consumers"
        for name, token, holder, seconds, clean in self._sql.execute(query):
            known = before.get(name)
            held = known if known and known.token == token and not clean else None
            self._leases.holdings[name] = held or Holding(token, holder, seconds, bool(clean))

    def apply(self, operation: Operation | Drop, connection: int, grown: dict[Partition, int]) -> Result:
        """Apply an operation that came over a connection; note in ``grown`` what grew."""
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
            case _:
                return self._turns.apply(operation, grown)
        return None

    def _load_topic(self, id: int, count: int) -> _Topic:
        topic = _Topic(id, [0] * count, [_EARLIEST] * count)
        query = (
            "SELECT place, known_us FROM events WHERE place >= ? AND place < ? ORDER BY place DESC LIMIT 1"
        )
        for number, start in enumerate(topic.starts):
            row = self._sql.execute(query, (start, start + (1 << PLACE_BITS))).fetchone()
            if row is not None:
                topic.offsets[number], topic.known_us[number] = row[0] - start + 1, row[1]
        return topic

    def _create(self, topics: dict[str, int]) -> None:
        check_topics(topics, {name: len(topic.offsets) for name, topic in self._topics.items()})
        for topic, count in topics.items():
            check_partitions(topic, count)
        for topic, count in topics.items():
            self._topic(topic, count)

    def _topic(self, name: str, count: int) -> _Topic:
        known = self._topics.get(name)
        if known is None:
            cursor = self._sql.execute("INSERT INTO topics(name, partitions) VALUES (?,?)", (name, count))
            known = self._topics[name] = _Topic(int(cursor.lastrowid or 0), [0] * count, [_EARLIEST] * count)
        return known

    def _append(self, records: Sequence[Record], grown: dict[Partition, int]) -> int:
        check_records(records, RECORD_BYTES_MAX)
        staged: dict[str, _Topic] = {}
        rows = self._rows(records, staged)
        try:
            execute_rows(self._sql, "INSERT INTO events VALUES", rows, width=10)
        except sqlite3.IntegrityError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_CONSTRAINT_UNIQUE:
                raise
            return self._append(self._unknown(records, staged), grown)
        for name, topic in staged.items():
            before = self._topics[name].offsets
            self._topics[name] = topic
            ends = enumerate(zip(before, topic.offsets, strict=True))
            grown.update({(name, number): new for number, (old, new) in ends if new > old})
        return len(rows)

    def _rows(self, records: Sequence[Record], staged: dict[str, _Topic]) -> list[tuple[Any, ...]]:
        """Return records as rows, with their places as if appended; ``staged`` tells the topics after it."""
        rows = []
        name, topic_id, count, starts, offsets, known = None, 0, 0, _NONE, _NONE, _NONE
        for record in records:
            if record.topic != name:
                name = record.topic
                topic = staged.get(name)
                if topic is None:
                    topic = staged[name] = self._topic(name, self._partitions_default).copy()
                topic_id, starts, offsets, known = topic.id, topic.starts, topic.offsets, topic.known_us
                count = len(offsets)
            number = place(record, count)
            offset = offsets[number]
            offsets[number] = offset + 1
            time_us = record.time_us
            known[number] = known_us = max(time_us, known[number])
            extensions = record.extensions and msgspec.json.encode(record.extensions).decode()
            what = record.id, record.type, record.subject, time_us, record.data, record.source, extensions
            rows.append((starts[number] + offset, topic_id, known_us, *what))
        return rows

    def _unknown(self, records: Sequence[Record], staged: dict[str, _Topic]) -> list[Record]:
        """Take back what was inserted of a batch with duplicates, and return its new records.

        Duplicates are rare: finding them by the failed insert costs the usual batch nothing.
        """
        for name in staged:
            topic = self._topics[name]
            for start, offset in zip(topic.starts, topic.offsets, strict=True):
                lane = start + offset, start + (1 << PLACE_BITS)
                self._sql.execute("DELETE FROM events WHERE place >= ? AND place < ?", lane)
        fresh: dict[tuple[str, str], Record] = {}
        for record in records:
            key = self._topics[record.topic].id, record.id
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
        # A key written twice keeps its last value.
        last = {(write.namespace, write.key): write for write in writes}
        puts = [(w.namespace, w.key, w.value, w.expires_us) for w in last.values() if w.value is not None]
        execute_rows(self._sql, "INSERT INTO state VALUES", puts, _PUT, width=4)
        gone: dict[str, list[str]] = {}
        for (namespace, key), write in last.items():
            if write.value is None:
                gone.setdefault(namespace, []).append(key)
        for namespace, keys in gone.items():
            execute_keys(self._sql, "DELETE FROM state", namespace, keys)
