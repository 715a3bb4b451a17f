"""Streams of events: what one producer adds to one partition, in order of time."""

from collections.abc import Iterable, Sequence

from tropism.core.envelope import Stored
from tropism.ports.log import Partition

ALL = "*"
"""In place of a producer: everybody."""

OUTSIDE = ""
"""In place of a producer: whoever is no service of this app."""


class Stream:
    """The events in one partition that one producer added.

    A partition in which several add events is not in order of their times, for one of them may be ahead
    of another, or all that is known from outside may be there before the first service begins. Each
    producer alone is in order. Live, order is that of arrival, and one stream a partition has it.

    ``partition`` is where it lies. ``name`` is what cursors write; outside or not, facts from outside keep
    their place. Streams are told apart by identity: they are looked up for every event.
    """

    __slots__ = ("name", "number", "partition", "producer", "topic")

    def __init__(self, topic: str, number: int, producer: str = ALL) -> None:
        self.topic = topic
        self.number = number
        self.producer = producer
        self.partition: Partition = topic, number
        where = f"{topic}/{number}"
        self.name = where if producer in {ALL, OUTSIDE} else f"{where}@{producer}"


def taken_from(stream: Stream, page: Sequence[Stored], services: frozenset[str]) -> Sequence[Stored]:
    """Return what of a page belongs to a stream, where such services add to its topic."""
    if stream.producer == ALL:
        return page
    if stream.producer == OUTSIDE:
        return [stored for stored in page if stored.record.source not in services]
    return [stored for stored in page if stored.record.source == stream.producer]


def times_of(stream: Stream, page: Iterable[Stored]) -> list[int]:
    """Return when events count as known: a service's at their own time, however late they were added."""
    if stream.producer in {ALL, OUTSIDE}:
        return [stored.known_us for stored in page]
    return [stored.record.time_us for stored in page]
