"""A log in memory."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import islice
from math import inf

from tropism.adapters.ends import Ends
from tropism.adapters.records import (
    PARTITIONS_DEFAULT,
    RECORD_BYTES_MAX,
    check_records,
    check_topics,
    place,
)
from tropism.core.envelope import Record, Stored
from tropism.ports.capabilities import Capabilities
from tropism.ports.log import Cursors, Partition


class MemoryLog:
    """A ``Log`` whose partitions are lists. Without ``dedup`` it stores an id as often as it is appended."""

    def __init__(
        self,
        commit_domain: str,
        *,
        partitions_default: int = PARTITIONS_DEFAULT,
        record_bytes_max: int = RECORD_BYTES_MAX,
        dedup: bool = True,
    ) -> None:
        self._capabilities = Capabilities(
            durability="In memory: everything is lost when the process ends.",
            commit_domain=commit_domain,
            dedup_seconds=inf if dedup else 0.0,
            record_bytes_max=record_bytes_max,
        )
        self._dedup = dedup
        self._partitions_default = partitions_default
        self._topics: dict[str, list[list[Stored]]] = {}
        self._ids: dict[str, set[str]] = {}
        self._ends = Ends()

    @property
    def capabilities(self) -> Capabilities:
        """What this log can do."""
        return self._capabilities

    @property
    def topics(self) -> list[str]:
        """The topics that exist, in order of name."""
        return sorted(self._topics)

    async def create_topics(self, topics: Mapping[str, int]) -> None:
        """Create topics with so many partitions; existing ones stay as they are."""
        check_topics(dict(topics), {name: len(partitions) for name, partitions in self._topics.items()})
        for topic, count in topics.items():
            self._topic(topic, count)

    async def append(self, records: Sequence[Record]) -> int:
        """Append records, and return how many were new."""
        return self.append_nowait(records)

    def append_nowait(self, records: Sequence[Record]) -> int:
        """Append without giving way, so that a commit can include it."""
        check_records(records, self._capabilities.record_bytes_max)
        # All are placed before any is stored: a record that cannot be placed stores nothing.
        placed = [(record, place(record, self._count(record.topic))) for record in records]
        grown: dict[Partition, int] = {}
        stored = 0
        for record, number in placed:
            partitions, ids = self._topic(record.topic, self._partitions_default)
            if record.id in ids:
                continue
            if self._dedup:
                ids.add(record.id)
            partition = partitions[number]
            known_us = max(record.time_us, partition[-1].known_us) if partition else record.time_us
            partition.append(Stored(number, len(partition), known_us, record))
            grown[record.topic, number] = len(partition)
            stored += 1
        self._ends.update(grown)
        return stored

    async def read(
        self, cursors: Cursors, *, count_max: int, without: Collection[str] = ()
    ) -> Mapping[Partition, Sequence[Stored]]:
        """Return what lies at the cursors, at most so many records a partition, but for types left out."""
        found = {}
        for (topic, number), offset in cursors.items():
            records = _page(self._partition(topic, number), max(offset, 0), count_max, without)
            if records:
                found[topic, number] = records
        return found

    async def ends(self, topics: Iterable[str]) -> Mapping[Partition, int]:
        """Return the offset behind the last record of every partition of the topics that exist."""
        return {
            (topic, number): len(partition)
            for topic in topics
            for number, partition in enumerate(self._topics.get(topic, ()))
        }

    async def wait_beyond(self, ends: Cursors) -> None:
        """Return as soon as any of the partitions reaches beyond its given end."""
        await self._ends.wait_beyond(ends)

    def _count(self, topic: str) -> int:
        partitions = self._topics.get(topic)
        return self._partitions_default if partitions is None else len(partitions)

    def _partition(self, topic: str, number: int) -> list[Stored]:
        partitions = self._topics.get(topic, [])
        return partitions[number] if 0 <= number < len(partitions) else []

    def _topic(self, topic: str, count: int) -> tuple[list[list[Stored]], set[str]]:
        partitions = self._topics.get(topic)
        if partitions is None:
            partitions = self._topics[topic] = [[] for _ in range(count)]
            self._ids[topic] = set()
        return partitions, self._ids[topic]


def _page(partition: list[Stored], start: int, count_max: int, without: Collection[str]) -> list[Stored]:
    if not without:
        return partition[start : start + count_max]
    last = len(partition) - 1
    # By index, for a slice would copy the rest of the partition for each page.
    places = (at for at in range(start, last + 1) if at == last or partition[at].record.type not in without)
    return [partition[at] for at in islice(places, count_max)]
