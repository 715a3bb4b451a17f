"""The log in a PostgreSQL database."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

import msgspec

from tropism.adapters.ends import Ends
from tropism.adapters.postgres.address import Address
from tropism.adapters.postgres.batch import Topics, batch_of
from tropism.adapters.postgres.listener import Announcer
from tropism.adapters.postgres.packing import int4s, int8s, texts
from tropism.adapters.postgres.reader import Reader
from tropism.adapters.postgres.schema import Facts
from tropism.adapters.postgres.texts import check_indexed, encoded, plain
from tropism.adapters.postgres.writer import Operation, Row, Writer
from tropism.adapters.records import RECORD_BYTES_MAX, check_topics
from tropism.core.envelope import Record, Stored
from tropism.core.errors import InvalidInputError
from tropism.ports.capabilities import Capabilities
from tropism.ports.log import Cursors, Partition

PARTITIONS_MAX = 4096
"""Of a topic: each has a row, and is read by a query of its own."""

# A lateral join is a loop: its rows come cursor by cursor, and of each in order of offset.
_READ = (
    'SELECT c.i, e."offset", e.known_us, e.id, e.type, e.subject, e.time_us, e.data, e.source, e.extensions '
    "FROM unnest(%b, %b, %b) WITH ORDINALITY c(topic, number, start, i) "
    "JOIN {0}.topics t ON t.name = c.topic "
    "CROSS JOIN LATERAL (SELECT * FROM {0}.events e WHERE e.topic_id = t.id AND e.partition = c.number "
    'AND e."offset" >= c.start ORDER BY e."offset" LIMIT %b) e'
)
_READ_WITHOUT = (
    'SELECT c.i, e."offset", e.known_us, e.id, e.type, e.subject, e.time_us, e.data, e.source, e.extensions '
    "FROM unnest(%b, %b, %b) WITH ORDINALITY c(topic, number, start, i) "
    "JOIN {0}.topics t ON t.name = c.topic "
    "JOIN {0}.partitions p ON p.topic_id = t.id AND p.number = c.number "
    "CROSS JOIN LATERAL (SELECT * FROM {0}.events e WHERE e.topic_id = t.id AND e.partition = c.number "
    'AND e."offset" >= c.start AND (e.type <> ALL(%b) OR e."offset" = p.next_offset - 1) '
    'ORDER BY e."offset" LIMIT %b) e'
)
_ENDS = (
    "SELECT t.name, p.number, p.next_offset FROM {0}.topics t JOIN {0}.partitions p ON p.topic_id = t.id "
    "WHERE t.name = ANY(%b) ORDER BY p.topic_id, p.number"
)
_APPEND = f"SELECT * FROM {{0}}.append({', '.join(['%b'] * 16)})"
_CREATE = "SELECT {0}.create_topics(%b, %b)"

_extensions = msgspec.json.Decoder(dict[str, str])
_INT64_MAX = 2**63 - 1


class PostgresLog:
    """A ``Log`` of one table, written on one connection and read on others."""

    def __init__(
        self,
        address: Address,
        facts: Facts,
        writer: Writer,
        reader: Reader,
        *,
        ends: Ends,
        announcer: Announcer,
        topics: Topics,
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._ends = ends
        self._announcer = announcer
        self._topics = topics
        self._calls = {
            name: text.format(address.schema).encode()
            for name, text in (
                ("read", _READ),
                ("without", _READ_WITHOUT),
                ("ends", _ENDS),
                ("append", _APPEND),
                ("create", _CREATE),
            )
        }
        self._capabilities = Capabilities(
            durability=facts.durability,
            commit_domain=facts.domain,
            record_bytes_max=RECORD_BYTES_MAX,
            url=address.url,
        )

    @property
    def capabilities(self) -> Capabilities:
        """What this log can do."""
        return self._capabilities

    async def create_topics(self, topics: Mapping[str, int]) -> None:
        """Create topics with so many partitions; existing ones stay as they are."""
        wanted = dict(topics)
        check_indexed(encoded(list(wanted)), "a topic's name")
        # A count that no column takes is refused below, like any other that is none.
        asked = [min(max(count, 0), PARTITIONS_MAX + 1) for count in wanted.values()]
        for topic, count in wanted.items():
            _check_partitions(topic, count)
        call = Operation(self._calls["create"], (texts(list(wanted)), int4s(asked)), _only)
        counts = (await self._writer.submit(call) if wanted else None) or []
        known = {name: count for name, count in zip(wanted, counts, strict=True) if count is not None}
        check_topics(wanted, known)
        self._topics.counts.update(wanted)

    async def append(self, records: Sequence[Record]) -> int:
        """Append records, and return how many were new.

        Where the connection was lost meanwhile, records of this very call may count as not new.
        """
        while records:
            batch = batch_of(records, self._topics)
            call = Operation(
                self._calls["append"], batch.values, _first, partitions=batch.partitions, rows=batch.rows
            )
            stored, ends, recount = await self._writer.submit(call)
            if recount is None:
                self.grew(dict(zip(batch.partitions, ends, strict=True)))
                return int(stored)
            # A topic has other partitions than it would have been made with: place anew.
            batch.learned(self._topics, recount)
        return 0

    def grew(self, ends: Mapping[Partition, int]) -> None:
        """Learn where partitions end after a write, and tell others."""
        self._ends.update(ends)
        self._announcer.tell(ends)

    async def read(
        self, cursors: Cursors, *, count_max: int, without: Collection[str] = ()
    ) -> Mapping[Partition, Sequence[Stored]]:
        """Return what lies at the cursors, at most so many records a partition, but for types left out."""
        wanted = [(topic, number) for topic, number in cursors if 0 <= number < PARTITIONS_MAX]
        starts = [min(max(cursors[partition], 0), _INT64_MAX) for partition in wanted]
        where = texts([topic for topic, _ in wanted]), int4s([number for _, number in wanted]), int8s(starts)
        count = min(max(count_max, 0), _INT64_MAX)
        if without:
            rows = await self._reader.run(self._calls["without"], (*where, texts(list(without)), count))
        else:
            rows = await self._reader.run(self._calls["read"], (*where, count))
        found = ((wanted[i - 1], list(page)) for i, page in groupby(rows, itemgetter(0)))
        return {partition: _page(partition, page) for partition, page in found}

    async def ends(self, topics: Iterable[str]) -> Mapping[Partition, int]:
        """Return the offset behind the last record of every partition of the topics that exist."""
        rows = await self._reader.run(self._calls["ends"], (texts(list(topics)),))
        return {(plain(topic), number): end for topic, number, end in rows}

    async def wait_beyond(self, ends: Cursors) -> None:
        """Return as soon as any of the partitions reaches beyond its given end."""
        await self._ends.wait_beyond(dict(ends))


def _page(partition: Partition, rows: list[Row]) -> list[Stored]:
    topic, number = partition
    if any("\1" in text for row in rows for text in (row[3], row[4], row[5], row[8])):
        rows = [
            (*row[:3], plain(row[3]), plain(row[4]), plain(row[5]), *row[6:8], plain(row[8]), row[9])
            for row in rows
        ]
    # One comprehension, no call per row but the two that make the record.
    return [
        Stored(
            number,
            at,
            known_us,
            Record(
                id,
                type_,
                topic,
                subject,
                time_us,
                data,
                source,
                more if more is None else _extensions.decode(more),
            ),
        )
        for _, at, known_us, id, type_, subject, time_us, data, source, more in rows
    ]


def _check_partitions(topic: str, count: int) -> None:
    if count > PARTITIONS_MAX:
        raise InvalidInputError(
            f"Cannot create topic {topic!r}: {count} partitions are more than {PARTITIONS_MAX}. "
            f"Ask for fewer."
        )


def _first(rows: list[Row]) -> Any:
    return rows[0]


def _only(rows: list[Row]) -> Any:
    return rows[0][0]
