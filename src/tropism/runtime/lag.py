"""How far a service is behind: in events, in time, and in what catching up will cost."""

from collections import Counter
from dataclasses import dataclass

from tropism.core.time import MICROSECONDS
from tropism.ports.log import Partition
from tropism.ports.platform import Platform
from tropism.ports.state import Position
from tropism.runtime.cursor import Place, cursor_of, name_of
from tropism.runtime.service import Service
from tropism.runtime.shares import plan_of
from tropism.runtime.sources import topics_of


@dataclass(frozen=True, slots=True)
class Lag:
    """Events that a service has not handled, and how long the oldest of them has waited, in seconds.

    Absent where nothing waits, or where the service never ran.
    """

    service: str
    events: int
    oldest_seconds: float | None


async def lag_of(platform: Platform, service: Service) -> Lag:
    """Return how far a service is behind, over all its workers."""
    ends = await platform.log.ends(topics_of(service))
    counts = Counter(topic for topic, _ in ends)
    plan = await plan_of(platform.state, service.name)
    positions = dict(await platform.state.positions())
    waiting, oldest_us = 0, None
    for partition, end in ends.items():
        for share in plan.shares():
            if share.owns_partition(partition, counts[partition[0]]) is False:
                continue
            position = positions.get(share.consumer(service.name))
            place = _place(share.consumer(service.name), position, name_of(partition))
            behind = await _behind(platform, partition, place, end)
            # Where a partition is shared by keys, the slowest of the workers tells.
            waiting += behind // (1 if share.owns_partition(partition, counts[partition[0]]) else plan.count)
            if behind > 0:
                first = min(place.left, default=place.offset)
                page = (await platform.log.read({partition: first}, count_max=1)).get(partition, ())
                known_us = page[0].known_us if page else None
                oldest_us = known_us if oldest_us is None else min(oldest_us, known_us or oldest_us)
    now_us = platform.clock.now_us()
    return Lag(service.name, waiting, None if oldest_us is None else (now_us - oldest_us) / MICROSECONDS)


async def _behind(platform: Platform, partition: Partition, place: Place, end: int) -> int:
    """Return how many events lie behind a place. Offsets may have gaps: behind the last record waits none."""
    if place.offset >= end:
        return len(place.left)
    page = (await platform.log.read({partition: place.offset}, count_max=1)).get(partition, ())
    return (end - page[0].offset if page else 0) + len(place.left)


def _place(consumer: str, position: Position | None, partition: str) -> Place:
    """Return how far a partition was taken: in event time it is read as several streams."""
    stood = cursor_of(None if position is None else position.cursor, consumer)
    places = [place for name, place in stood.places.items() if name.partition("@")[0] == partition]
    left = [offset for place in places for offset in place.left]
    return Place(min((place.offset for place in places), default=0), left)
