"""What every log checks and decides about records before it stores them."""

from collections.abc import Sequence

from tropism.core.envelope import Record
from tropism.core.errors import ConflictError, InvalidInputError
from tropism.core.partition import partition_of

PARTITIONS_DEFAULT = 4
"""Partitions of a topic that nobody created: enough to run keys apart, few enough to read at once."""

RECORD_BYTES_MAX = 16 * 1024 * 1024
"""Larger payloads belong into Blobs, with their name in the event."""

_INT64_MAX = 2**63 - 1


def check_records(records: Sequence[Record], bytes_max: int) -> None:
    """Refuse records that a log cannot keep.

    Raises: InvalidInputError naming the first such record, never its payload.
    """
    for record in records:
        if len(record.data) > bytes_max or (record.extensions and _size(record) > bytes_max):
            raise InvalidInputError(
                f"Cannot append event {record.id!r}: it has {_size(record)} bytes, more than {bytes_max}. "
                f"Put the payload into Blobs and its name into the event."
            )
        if not -_INT64_MAX <= record.time_us <= _INT64_MAX:
            raise InvalidInputError(
                f"Cannot append event {record.id!r}: its time {record.time_us} is beyond 64 bits. "
                f"Give it in microseconds since 1970."
            )


def check_topics(wanted: dict[str, int], known: dict[str, int]) -> None:
    """Refuse topics that cannot be created beside those known.

    Raises: InvalidInputError for a count below 1; ConflictError if one exists with another count.
    """
    for topic, count in wanted.items():
        if count < 1:
            raise InvalidInputError(
                f"Cannot create topic {topic!r}: {count} is no number of partitions. Ask for at least 1."
            )
        if known.get(topic, count) != count:
            raise ConflictError(
                f"Cannot create topic {topic!r} with {count} partitions: it has {known[topic]}. "
                f"Ask for {known[topic]}, or copy it into a new topic."
            )


def place(record: Record, count: int) -> int:
    """Return the partition of a record: that of its subject, or of its id where it has none.

    Raises: InvalidInputError if the text is no Unicode (a lone surrogate).
    """
    try:
        return partition_of(record.subject or record.id, count)
    except UnicodeEncodeError as error:
        raise InvalidInputError(
            f"Cannot append event {record.id!r}: its subject or id is no valid Unicode. Publish valid text."
        ) from error


def _size(record: Record) -> int:
    extensions = record.extensions or {}
    # Maps, no generator: this runs for every record, and a generator took longer than building its row.
    return len(record.data) + sum(map(len, extensions)) + sum(map(len, extensions.values()))
