"""Records as the arguments of our functions, each in its partition."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from tropism.adapters.postgres.packing import blobs, encoded_texts, int4s, int8s, texts
from tropism.adapters.postgres.texts import check_indexed, encoded
from tropism.adapters.records import RECORD_BYTES_MAX, check_records, place
from tropism.core.envelope import Record
from tropism.core.errors import InvalidInputError
from tropism.ports.log import Partition

_EARLIEST = -(2**63 - 1)


class Topics:
    """How many partitions topics have, as far as is known here: it never changes."""

    def __init__(self, partitions_default: int) -> None:
        self.partitions_default = partitions_default
        self.counts: dict[str, int] = {}

    def count(self, topic: str) -> int:
        """Return the partitions of a topic; of one that is not known, as many as it would be made with."""
        return self.counts.get(topic, self.partitions_default)


@dataclass(frozen=True, slots=True)
class Batch:
    """Records, packed; ``partitions`` are those they go to, in the order of the ends that come back."""

    topics: tuple[str, ...]
    partitions: tuple[Partition, ...]
    values: tuple[Any, ...]
    rows: int

    def learned(self, topics: Topics, counts: Sequence[int]) -> None:
        """Note how many partitions the topics of this batch have."""
        topics.counts.update(zip(self.topics, counts, strict=True))


class _Slots:
    """The partitions that a batch goes to, numbered from 1, and how many records each has so far."""

    def __init__(self) -> None:
        self.numbers: dict[Partition, int] = {}
        self.counts: list[int] = []
        self.knowns: list[int] = []

    def add(self, partition: Partition, time_us: int) -> tuple[int, int, int]:
        """Add a record; return its slot, how many are before it, and the latest time so far."""
        slot = self.numbers.get(partition)
        if slot is None:
            slot = self.numbers[partition] = len(self.counts) + 1
            self.counts.append(0)
            self.knowns.append(_EARLIEST)
        rank = self.counts[slot - 1]
        known = self.knowns[slot - 1] = max(time_us, self.knowns[slot - 1])
        self.counts[slot - 1] = rank + 1
        return slot, rank, known


def batch_of(records: Sequence[Record], topics: Topics) -> Batch:
    """Pack records for ``append``. Raises: InvalidInputError for one that cannot be kept."""
    check_records(records, RECORD_BYTES_MAX)
    slots = _Slots()
    placed = []
    for record in records:
        topic = record.topic
        placed.append(slots.add((topic, place(record, topics.count(topic))), record.time_us))
    names = tuple(dict.fromkeys(topic for topic, _ in slots.numbers))
    numbers = {name: number for number, name in enumerate(names, 1)}
    ids = encoded([record.id for record in records])
    check_indexed(ids, "an event id")
    check_indexed(encoded(names), "a topic's name")
    values = (
        texts(names),
        int4s([topics.count(name) for name in names]),
        int4s([numbers[topic] for topic, _ in slots.numbers]),
        int4s([number for _, number in slots.numbers]),
        int4s(slots.counts),
        int8s(slots.knowns),
        int4s([slot for slot, _, _ in placed]),
        int4s([rank for _, rank, _ in placed]),
        int8s([known for _, _, known in placed]),
        encoded_texts(ids),
        texts([record.type for record in records]),
        texts([record.subject for record in records]),
        int8s([record.time_us for record in records]),
        blobs([record.data for record in records]),
        texts([record.source for record in records]),
        encoded_texts([_extensions(record) for record in records]),
    )
    return Batch(names, tuple(slots.numbers), values, len(records))


EMPTY = batch_of([], Topics(1))
"""No records."""


def int64(value: int | None, what: str) -> int | None:
    """Return an integer that fits. Raises: InvalidInputError for one beyond 64 bits."""
    if value is not None and not -(2**63) <= value < 2**63:
        raise InvalidInputError(
            f"Cannot keep {what} {value} in PostgreSQL: it is beyond 64 bits. "
            f"Give it in microseconds since 1970."
        )
    return value


def _extensions(record: Record) -> bytes | None:
    if record.extensions is None:
        return None
    try:
        return msgspec.json.encode(record.extensions)
    except (UnicodeEncodeError, msgspec.MsgspecError) as error:
        raise InvalidInputError(
            f"Cannot append event {record.id!r}: its extensions are no valid Unicode. Publish valid text."
        ) from error
