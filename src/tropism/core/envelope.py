"""The CloudEvents 1.0 envelope around a fact: typed for handlers, encoded for the log."""

from collections.abc import Mapping
from datetime import datetime
from hashlib import blake2b
from typing import Generic, TypeVar

import msgspec

from tropism.core.time import moment

T_co = TypeVar("T_co", covariant=True)


class Record(msgspec.Struct, frozen=True, gc=False):
    """An encoded event, as logs carry it: CloudEvents attributes beside the payload's bytes.

    ``subject`` is the key that orders it. ``extensions`` are CloudEvents extension attributes:
    ``traceparent``, ``causationid`` and what else travels with the event.
    """

    id: str
    type: str
    topic: str
    subject: str
    time_us: int
    data: bytes
    source: str = ""
    extensions: dict[str, str] | None = None


class Stored(msgspec.Struct, frozen=True, gc=False):
    """A record and its place in a log.

    ``known_us`` is when the log learned it, in event time: never before its time, and never
    before the record in front of it. Whoever reads in order of ``known_us`` never goes back.
    """

    partition: int
    offset: int
    known_us: int
    record: Record


class Envelope(msgspec.Struct, Generic[T_co], frozen=True, gc=False):
    """A typed event with what is known about it: who said it, when, about what, and why."""

    id: str
    source: str
    type: str
    subject: str
    time_us: int
    data: T_co
    extensions: Mapping[str, str] | None = None

    @property
    def time(self) -> datetime:
        """When the fact became known, in UTC."""
        return moment(self.time_us)

    @property
    def released(self) -> str | None:
        """What was said when the event was released from quarantine; None if it comes for the first time."""
        return None if self.extensions is None else self.extensions.get("released")

    @property
    def causation_id(self) -> str | None:
        """The id of the event whose handling produced this one."""
        return None if self.extensions is None else self.extensions.get("causationid")


def derived_id(input_id: str, handler: str, ordinal: int, time_us: int) -> str:
    """Return the id of a handler's n-th output: the same on every attempt, so that it can be deduplicated.

    Like a ULID it begins with its input's time, in milliseconds: what is appended together then lies
    together in a log's index of ids. Measured: half the cost of appending to a log of 300,000 records.
    """
    told = blake2b(f"{input_id}\n{handler}\n{ordinal}".encode(), digest_size=10)
    return f"{time_us // 1000 & 0xFFFF_FFFF_FFFF:012x}{told.hexdigest()}"
