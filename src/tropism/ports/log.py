"""Partitioned, replayable logs of events."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Protocol

from tropism.core.envelope import Record, Stored
from tropism.ports.capabilities import Capabilities

Partition = tuple[str, int]
"""A topic and the number of one of its partitions."""

Cursors = Mapping[Partition, int]
"""Per partition, the offset to read next."""


class Log(Protocol):
    """Topics of partitions of records, appended at the end and read from any offset.

    Guarantees:
        - ``append`` returns after the records are durable as ``capabilities.durability`` says, all or none.
        - Records of one subject keep their append order, in one partition of their topic.
        - ``known_us`` is never before the record's own time, and never decreases along a page; where
          ``capabilities.event_time``, never along the partition either, and every reader is told the same.
        - A record whose id the topic has taken within ``capabilities.dedup_seconds`` is not stored again.
        - A cancelled ``append`` happened wholly or not at all.
        - Offsets of a partition increase and are never used twice; none is below 0.
        - A reader sees what was appended before its ``read`` was called: a page of fewer than ``count_max``
          records reaches the end that its partition had then.

    Not guaranteed:
        - An order between partitions or topics; dense offsets.
        - That an unknown topic exists: ``append`` creates it with ``partitions_default`` partitions.
    """

    @property
    def capabilities(self) -> Capabilities:
        """What this log can do."""
        ...

    async def create_topics(self, topics: Mapping[str, int]) -> None:
        """Create topics with so many partitions; existing ones stay as they are.

        Raises: ConflictError if one exists with another number of partitions.
        """
        ...

    async def append(self, records: Sequence[Record]) -> int:
        """Append records, and return how many were new.

        Raises: InvalidInputError if a record is larger than ``record_bytes_max``; UnavailableError if the
        store cannot take it now (a full disk, say): then nothing was stored.
        """
        ...

    async def read(
        self, cursors: Cursors, *, count_max: int, without: Collection[str] = ()
    ) -> Mapping[Partition, Sequence[Stored]]:
        """Return what lies at the cursors, at most so many records a partition, in offset order.

        Records of the types in ``without`` are left out, but for the last record of each partition: with
        that every page ends that is not full, so that its last record says how far was read.
        """
        ...

    async def ends(self, topics: Iterable[str]) -> Mapping[Partition, int]:
        """Return the offset behind the last record of every partition of the topics that exist."""
        ...

    async def wait_beyond(self, ends: Cursors) -> None:
        """Return as soon as any of the partitions reaches beyond its given end."""
        ...
