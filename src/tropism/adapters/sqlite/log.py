"""The log in a database file."""

import sqlite3
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import msgspec

from tropism.adapters.ends import Ends
from tropism.adapters.records import RECORD_BYTES_MAX
from tropism.adapters.sqlite.reader import Reader
from tropism.adapters.sqlite.route import Submit
from tropism.adapters.sqlite.schema import lane_start
from tropism.adapters.sqlite.wire import Append, Create
from tropism.core.envelope import Record, Stored
from tropism.ports.capabilities import Capabilities
from tropism.ports.log import Cursors, Partition

DURABILITY = (
    "SQLite in WAL mode with synchronous=FULL: what was acknowledged is synced to the disk and survives "
    "kill -9 and, where the disk honours fsync, power loss."
)
DURABILITY_NORMAL = (
    "SQLite in WAL mode with synchronous=NORMAL: what was acknowledged survives kill -9; a power loss may "
    "take the commits of the last moments, each of them wholly."
)

ROWS_HERE_MAX = 1024
"""Up to so many records are read without a thread: that takes the event loop some 3 ms at most."""

_READ = (
    "SELECT place - :lane, known_us, id, type, subject, time_us, data, source, extensions FROM events "
    "WHERE place >= :start AND place < :stop AND (:without IS NULL "
    "OR type NOT IN (SELECT value FROM json_each(:without)) "
    "OR place = (SELECT max(place) FROM events WHERE place >= :start AND place < :stop)) "
    "ORDER BY place LIMIT :count"
)
_END = "SELECT max(place) + 1 FROM events WHERE place >= ? AND place < ?"
_extensions = msgspec.json.Decoder(dict[str, str])


class SqliteLog:
    """A ``Log`` of one table, written through the process that owns the file."""

    def __init__(
        self,
        reader: Reader,
        submit: Submit,
        ends: Ends,
        *,
        url: str,
        commit_domain: str,
        synced: bool = True,
        sure: Callable[[], Mapping[Partition, int] | None],
    ) -> None:
        self._reader = reader
        self._submit = submit
        self._ends = ends
        self._sure = sure
        self._topics: dict[str, tuple[int, int]] = {}
        self._capabilities = Capabilities(
            durability=DURABILITY if synced else DURABILITY_NORMAL,
            commit_domain=commit_domain,
            record_bytes_max=RECORD_BYTES_MAX,
            url=url,
        )

    @property
    def capabilities(self) -> Capabilities:
        """What this log can do."""
        return self._capabilities

    async def create_topics(self, topics: Mapping[str, int]) -> None:
        """Create topics with so many partitions; existing ones stay as they are."""
        await self._submit(Create(dict(topics)))

    async def append(self, records: Sequence[Record]) -> int:
        """Append records, and return how many were new.

        Where the owner of the file died meanwhile, records of this very call may count as not new.
        """
        stored = await self._submit(Append(list(records))) if records else 0
        return stored if isinstance(stored, int) else 0

    async def read(
        self, cursors: Cursors, *, count_max: int, without: Collection[str] = ()
    ) -> Mapping[Partition, Sequence[Stored]]:
        """Return what lies at the cursors, at most so many records a partition, but for types left out."""
        sure = self._sure()
        if sure is not None:
            # Of many partitions that a service reads, few have something new.
            cursors = {each: offset for each, offset in cursors.items() if sure.get(each, 0) > offset}
            if not cursors:
                return {}
        if self._ends.beyond(cursors, count_max) <= ROWS_HERE_MAX:
            return self._reader.run_here(self._read, cursors, count_max, list(without))
        return await self._reader.run(self._read, dict(cursors), count_max, list(without))

    async def ends(self, topics: Iterable[str]) -> Mapping[Partition, int]:
        """Return the offset behind the last record of every partition of the topics that exist."""
        return await self._reader.run(self._read_ends, list(topics))

    async def wait_beyond(self, ends: Cursors) -> None:
        """Return as soon as any of the partitions reaches beyond its given end."""
        await self._ends.wait_beyond(dict(ends))

    def _read(
        self, sql: sqlite3.Connection, cursors: Cursors, count_max: int, without: list[str]
    ) -> dict[Partition, Sequence[Stored]]:
        types = msgspec.json.encode(without).decode() if without else None
        found: dict[Partition, Sequence[Stored]] = {}
        for (topic, number), offset in cursors.items():
            topic_id, partitions = self._topic(sql, topic)
            if not 0 <= number < partitions:
                continue
            lane, stop = lane_start(topic_id, number), lane_start(topic_id, number + 1)
            bounds = {
                "lane": lane,
                "start": lane + max(offset, 0),
                "stop": stop,
                "count": max(count_max, 0),
                "without": types,
            }
            rows = sql.execute(_READ, bounds)
            # One comprehension, no call per row: measured at 2.1 us a record, most of it SQLite's.
            records = [
                Stored(
                    number,
                    at,
                    known_us,
                    Record(
                        id, type_, topic, subject, time_us, data, source, more and _extensions.decode(more)
                    ),
                )
                for at, known_us, id, type_, subject, time_us, data, source, more in rows
            ]
            if records:
                found[topic, number] = records
        return found

    def _read_ends(self, sql: sqlite3.Connection, topics: Iterable[str]) -> dict[Partition, int]:
        ends = {}
        for topic in topics:
            topic_id, count = self._topic(sql, topic)
            for number in range(count):
                start, stop = lane_start(topic_id, number), lane_start(topic_id, number + 1)
                ends[topic, number] = (sql.execute(_END, (start, stop)).fetchone()[0] or start) - start
        return ends

    def _topic(self, sql: sqlite3.Connection, name: str) -> tuple[int, int]:
        """Return a topic's id and count of partitions, (0, 0) where it does not exist yet."""
        known = self._topics.get(name)
        if known is None:
            row = sql.execute("SELECT id, partitions FROM topics WHERE name = ?", (name,)).fetchone()
            if row is None:
                return 0, 0
            known = self._topics[name] = row
        return known
