"""Where each partition ends, known in memory, and what becomes a row at which place."""

import sqlite3
from collections.abc import Sequence
from typing import Any

import msgspec

from tropism.adapters.records import RECORD_BYTES_MAX, check_records, check_topics, place
from tropism.adapters.sqlite.many import execute_given, execute_values, statements
from tropism.adapters.sqlite.schema import PLACE_BITS, check_partitions, lane_start
from tropism.core.envelope import Record
from tropism.ports.log import Partition

_EARLIEST = -(2**63)
_INSERT, _WIDTH = "INSERT INTO events VALUES", 10
_LAST = "SELECT place, known_us FROM events WHERE place >= ? AND place < ? ORDER BY place DESC LIMIT 1"
_KNOWN = "SELECT id FROM (VALUES {}) CROSS JOIN events ON id = column1 WHERE topic_id = ?"
_NONE: list[int] = []


class Topic:
    """A topic's partitions: where each starts, its next offset, and when its last record was known."""

    __slots__ = ("id", "known_us", "offsets", "starts")

    def __init__(self, id: int, starts: list[int], offsets: list[int], known_us: list[int]) -> None:
        self.id = id
        self.starts = starts
        self.offsets = offsets
        self.known_us = known_us

    def copy(self) -> "Topic":
        """Return one to try something on."""
        return Topic(self.id, self.starts, self.offsets.copy(), self.known_us.copy())


class Topics:
    """All topics, as of the last write; after a rollback the caller calls ``load``."""

    def __init__(self, connection: sqlite3.Connection, partitions_default: int) -> None:
        self._sql = connection
        self._partitions_default = partitions_default
        self.known: dict[str, Topic] = {}

    @property
    def ends(self) -> dict[Partition, int]:
        """The ends of all partitions."""
        return {
            (name, number): end
            for name, topic in self.known.items()
            for number, end in enumerate(topic.offsets)
        }

    def load(self) -> None:
        """Read again what is known in memory."""
        topics = self._sql.execute("SELECT name, id, partitions FROM topics").fetchall()
        self.known = {name: self._load(id, count) for name, id, count in topics}

    def create(self, topics: dict[str, int]) -> None:
        """Create topics, where they do not exist. Raises: InvalidInputError, ConflictError."""
        check_topics(topics, {name: len(topic.offsets) for name, topic in self.known.items()})
        for topic, count in topics.items():
            check_partitions(topic, count)
        for topic, count in topics.items():
            self._made(topic, count)

    def copy_of(self, name: str) -> Topic:
        """Return a copy of a topic, which is created where it does not exist."""
        return (self.known.get(name) or self._made(name, self._partitions_default)).copy()

    def _made(self, name: str, count: int) -> Topic:
        known = self.known.get(name)
        if known is None:
            if not self._sql.in_transaction:
                self._sql.execute("BEGIN IMMEDIATE")
            cursor = self._sql.execute("INSERT INTO topics(name, partitions) VALUES (?,?)", (name, count))
            known = self.known[name] = _empty(int(cursor.lastrowid or 0), count)
        return known

    def _load(self, id: int, count: int) -> Topic:
        topic = _empty(id, count)
        for number, start in enumerate(topic.starts):
            row = self._sql.execute(_LAST, (start, start + (1 << PLACE_BITS))).fetchone()
            if row is not None:
                topic.offsets[number], topic.known_us[number] = row[0] - start + 1, row[1]
        return topic


class Appending:
    """Records of any number of appends, each with its place behind the ones before: written together.

    An append is known by the number that its caller gives it.
    """

    def __init__(self, topics: Topics) -> None:
        self._topics = topics
        self._staged: dict[str, Topic] = {}
        self._values: list[Any] = []
        self._appends: dict[int, Sequence[Record]] = {}

    @property
    def statements(self) -> int:
        """How many statements the usual writing of it takes."""
        return statements(len(self._values) // _WIDTH)

    def add(self, number: int, records: Sequence[Record]) -> None:
        """Put an append behind the others. Raises: InvalidInputError, and then it is not among them."""
        check_records(records, RECORD_BYTES_MAX)
        try:
            self._place(records)
        except BaseException:
            self._staged, self._values = {}, []
            for before in self._appends.values():
                self._place(before)
            raise
        self._appends[number] = records

    def write(self, sql: sqlite3.Connection, grown: dict[Partition, int]) -> dict[int, int]:
        """Write all of it, but for what is there already; return how many records of each append were new."""
        if not self._values:
            return dict.fromkeys(self._appends, 0)
        try:
            execute_values(sql, _INSERT, self._values, width=_WIDTH)
        except sqlite3.IntegrityError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_CONSTRAINT_UNIQUE:
                raise
            return self._write_unknown(sql, grown)
        self._note(grown)
        return {number: len(records) for number, records in self._appends.items()}

    def _write_unknown(self, sql: sqlite3.Connection, grown: dict[Partition, int]) -> dict[int, int]:
        """Take back what was inserted, and insert what is new.

        Duplicates are rare: finding them by the failed insert costs the usual group nothing.
        """
        if not sql.in_transaction:
            sql.execute("BEGIN IMMEDIATE")
        for name in self._staged:
            topic = self._topics.known[name]
            for start, offset in zip(topic.starts, topic.offsets, strict=True):
                lane = start + offset, start + (1 << PLACE_BITS)
                sql.execute("DELETE FROM events WHERE place >= ? AND place < ?", lane)
        fresh = self._fresh(sql)
        self._staged, self._values = {}, []
        for records in fresh.values():
            self._place(records)
        execute_values(sql, _INSERT, self._values, width=_WIDTH)
        self._note(grown)
        return {number: len(records) for number, records in fresh.items()}

    def _fresh(self, sql: sqlite3.Connection) -> dict[int, list[Record]]:
        """Return, per append, the records whose ids their topics do not know; of those in it twice, one."""
        asked: dict[str, dict[str, None]] = {}
        for records in self._appends.values():
            for record in records:
                asked.setdefault(record.topic, {})[record.id] = None
        taken = {
            (topic, id)
            for topic, ids in asked.items()
            for (id,) in execute_given(sql, _KNOWN, list(ids), after=(self._topics.known[topic].id,))
        }
        fresh: dict[int, list[Record]] = {}
        for number, records in self._appends.items():
            fresh[number] = []
            for record in records:
                key = record.topic, record.id
                if key not in taken:
                    taken.add(key)
                    fresh[number].append(record)
        return fresh

    def _place(self, records: Sequence[Record]) -> None:
        """Add the rows of records, with their places as if appended."""
        values, staged, encode = self._values, self._staged, msgspec.json.encode
        name, topic_id, count, starts, offsets, known = None, 0, 0, _NONE, _NONE, _NONE
        for record in records:
            if record.topic != name:
                name = record.topic
                topic = staged.get(name)
                if topic is None:
                    topic = staged[name] = self._topics.copy_of(name)
                topic_id, starts, offsets, known = topic.id, topic.starts, topic.offsets, topic.known_us
                count = len(offsets)
            number = place(record, count)
            offset = offsets[number]
            offsets[number] = offset + 1
            time_us = record.time_us
            known[number] = known_us = max(time_us, known[number])
            more = encode(record.extensions).decode() if record.extensions else None
            # One flat list, no row apart: for each event, its place costs less than a row's tuple.
            values += (
                starts[number] + offset,
                topic_id,
                known_us,
                record.id,
                record.type,
                record.subject,
                time_us,
                record.data,
                record.source,
                more,
            )

    def _note(self, grown: dict[Partition, int]) -> None:
        """Take what was staged for what is."""
        for name, topic in self._staged.items():
            before = self._topics.known[name].offsets
            self._topics.known[name] = topic
            ends = enumerate(zip(before, topic.offsets, strict=True))
            grown.update({(name, number): new for number, (old, new) in ends if new > old})


def _empty(id: int, count: int) -> Topic:
    starts = [lane_start(id, number) for number in range(count)]
    return Topic(id, starts, [0] * count, [_EARLIEST] * count)
