"""Reading several streams as one, in order of time."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate, repeat
from operator import itemgetter, lt

from tropism.core.envelope import Stored
from tropism.ports.log import Log, Partition
from tropism.runtime.streams import ALL, OUTSIDE, Stream, taken_from, times_of

Arrival = tuple[int, Stream, Stored]
"""When it became known, the stream it came in, and itself."""

BEGINNING_US = -(2**63)

_NOTHING: frozenset[str] = frozenset()


class _Source:
    """One stream as far as it is read: what waits, and the moment before which nothing more can come."""

    __slots__ = ("held", "next", "partition", "reached_us", "stored", "stream", "times_us", "told")

    def __init__(self, stream: Stream, offset: int) -> None:
        self.stream = stream
        self.partition = stream.partition
        self.next = self.told = offset
        self.reached_us = BEGINNING_US
        self.times_us: list[int] = []
        self.stored: list[Stored] = []
        self.held = 0
        """How many of its arrivals are merged and not yet taken."""

    def wants(self, chunk: int) -> bool:
        # A moment may hold more records than a chunk: then only reading on finds its end.
        return not self.times_us or len(self.times_us) < chunk or self.times_us[0] == self.times_us[-1]

    def extend(self, page: Sequence[Stored], services: frozenset[str]) -> None:
        """Add what of a page belongs to the stream."""
        taken = taken_from(self.stream, page, services)
        if taken:
            times_us = accumulate(times_of(self.stream, taken), max, initial=self.reached_us)
            next(times_us)
            self.times_us.extend(times_us)
            self.stored.extend(taken)
            self.reached_us = self.times_us[-1]
        if self.stream.producer in {OUTSIDE, ALL}:
            # Whatever the page holds, ``known_us`` never decreases along the partition.
            self.reached_us = max(self.reached_us, page[-1].known_us)
        self.next = page[-1].offset + 1

    def merge(self, until_us: int) -> list[Arrival]:
        """Take what is known by a moment off the buffer."""
        count = bisect_right(self.times_us, until_us)
        if not count:
            return []
        self.held += count
        found = list(zip(self.times_us[:count], repeat(self.stream), self.stored, strict=False))
        del self.times_us[:count], self.stored[:count]
        return found


class Intake:
    """Takes events of several streams in order of time, up to a bound, chunk by chunk.

    Every stream is in order of time, so what is older than the last record read of every unfinished
    stream is complete. Arrivals of one moment come in order of key; those of one key, of one topic and
    producer, as they lie in the log. That order is the same however many partitions there are; ``read``
    is told of the events before, in order of offset. ``live``, those of one moment come as they were read,
    stream by stream. ``without`` says, per topic, which types to leave out;
    some come all the same.
    """

    def __init__(
        self,
        log: Log,
        offsets: Mapping[Stream, int],
        *,
        services: Mapping[str, frozenset[str]] | None = None,
        read: Callable[[Stream, Sequence[int]], None] | None = None,
        without: Mapping[str, frozenset[str]] | None = None,
        chunk: int = 1024,
        live: bool = False,
    ) -> None:
        self._live = live
        self._told = read
        self._without = without or {}
        self._log = log
        self._chunk = chunk
        self._services = services or {}
        in_order = sorted(offsets.items(), key=lambda each: (each[0].partition, each[0].producer))
        self._sources = [_Source(stream, offset) for stream, offset in in_order]
        self._by_stream = {source.stream: source for source in self._sources}
        self._ends = least(*({source.partition: source.next} for source in self._sources))
        self._are_apart = len(self._ends) == len(self._sources)
        """Whether no two of them share a partition, as live."""
        self._held: list[Arrival] = []
        self._at = 0
        self._latest_us = BEGINNING_US
        """No arrival that is held became known later."""
        self._taken: list[Arrival] = []
        self._full = False

    @property
    def may_have_more(self) -> bool:
        """Whether the log may hold more than was taken, as of the last read."""
        return self._full or bool(self._held) or any(source.times_us for source in self._sources)

    @property
    def ends(self) -> dict[Partition, int]:
        """The offsets up to which it has read everything."""
        return self._ends

    def passed(self) -> list[tuple[Stream, int]]:
        """Return the streams of which nothing read is left to take, and up to where they are read.

        Those that stand where they stood at the last call are left out. What was taken so far counts as
        dealt with from now on.
        """
        self._taken = []
        moved = [s for s in self._sources if s.told != s.next and not s.held and not s.times_us]
        for source in moved:
            source.told = source.next
        return [(source.stream, source.next) for source in moved]

    def left(self) -> dict[Stream, tuple[int, list[int]]]:
        """Return, per stream, up to where it is read, and the offsets of what is not dealt with yet."""
        found = {s.stream: (s.next, [stored.offset for stored in s.stored]) for s in self._sources}
        for arrival in (*self._taken, *self._held[self._at :]):
            found[arrival[1]][1].append(arrival[2].offset)
        return found

    async def take(self, bound_us: int, count_max: int) -> tuple[list[Arrival], int]:
        """Return the next arrivals, and the instant up to which nothing is missing.

        ``bound_us`` must have been complete in the log before this call. A moment may be torn apart: then
        nothing is missing up to just before it.
        """
        while True:
            complete_us = bound_us
            if len(self._held) - self._at < count_max:
                complete_us = await self._fill(bound_us)
            elif self._held:
                # Live, older facts may have come in behind newer ones: the first can always be taken.
                complete_us = min(bound_us, max(self._held[self._at][0], self._held[-1][0]))
            taken = self._cut(complete_us, count_max)
            if taken or complete_us >= bound_us:
                break
        if self._at < len(self._held) and self._held[self._at][0] <= complete_us:
            complete_us = self._held[self._at][0] - 1
        return taken, complete_us

    async def _fill(self, bound_us: int) -> int:
        """Read on, and return up to when all streams are complete now."""
        complete_us, self._full = bound_us, False
        wanting: list[_Source] = []
        for source in self._sources:
            if source.wants(self._chunk):
                wanting.append(source)
            else:
                complete_us = min(complete_us, source.times_us[-1] - 1)
        pages = await self._read(wanting)
        # Of many streams few have news, and a service is woken for every event.
        for source in wanting if pages else ():
            page = pages.get((source.partition, source.next), ())
            if page:
                source.extend(page, self._services.get(source.stream.topic, _NOTHING))
                self._ends[source.partition] = source.next
            if len(page) >= self._chunk:
                self._full = True
                complete_us = min(complete_us, source.reached_us - 1)
        if pages and not self._are_apart:
            self._ends = least(*({source.partition: source.next} for source in self._sources))
        self._merge(complete_us)
        return complete_us

    def _merge(self, until_us: int) -> None:
        """Move what is complete from the buffers to the held arrivals, in order."""
        fresh: list[Arrival] = []
        for source in self._sources:
            arrivals = source.merge(until_us) if source.times_us else ()
            if arrivals and self._told is not None:
                self._told(source.stream, [stored.offset for _, _, stored in arrivals])
            fresh += arrivals
        if fresh:
            fresh = self._in_order(fresh)
            self._latest_us = max(self._latest_us, fresh[-1][0])
            self._held = [*self._held[self._at :], *fresh]
            self._at = 0

    def _in_order(self, fresh: list[Arrival]) -> list[Arrival]:
        """Return arrivals in order of time, and of one moment in order of key, topic and producer."""
        if self._live:
            # Those of one moment as they were read: live, order is that of arrival.
            return sorted(fresh, key=_time)
        times = list(map(_time, fresh))
        # One stream alone, and no two of a moment: they are.
        return fresh if all(map(lt, times, times[1:])) else sorted(fresh, key=_order)

    async def _read(self, sources: Sequence[_Source]) -> dict[tuple[Partition, int], Sequence[Stored]]:
        """Return the next pages, where there are any: one read for all that leave out the same types."""
        pages: dict[tuple[Partition, int], Sequence[Stored]] = {}
        left: dict[frozenset[str], dict[tuple[Partition, int], None]] = {}
        for source in sources:
            without = self._without.get(source.stream.topic, _NOTHING)
            left.setdefault(without, {})[source.partition, source.next] = None
        for without, places in left.items():
            # Two that stand apart in a partition take two turns.
            while places:
                turn = dict(places.keys())
                found = await self._log.read(turn, count_max=self._chunk, without=without)
                for partition, page in found.items():
                    pages[partition, turn[partition]] = page
                for place in turn.items():
                    del places[place]
        return pages

    def _cut(self, until_us: int, count_max: int) -> list[Arrival]:
        held, stop = self._held, min(len(self._held), self._at + count_max)
        # Live, older ones may stand behind newer ones: only those in front of the first that is too new.
        if until_us < self._latest_us:
            stop = next((at for at in range(self._at, stop) if held[at][0] > until_us), stop)
        taken = held[self._at : stop]
        if stop == len(self._held):
            for source in self._sources:
                source.held = 0
            self._held, stop = [], 0
        else:
            for stream, count in Counter(map(_stream, taken)).items():
                self._by_stream[stream].held -= count
        self._at = stop
        self._taken.extend(taken)
        return taken


_time = itemgetter(0)
_stream = itemgetter(1)


def _order(arrival: Arrival) -> tuple[int, str, str, str, str, int]:
    time_us, stream, stored = arrival
    subject = stored.record.subject
    unkeyed = "" if subject else stored.record.id
    return time_us, subject, stream.topic, stream.producer, unkeyed, stored.offset


def least(*many: Mapping[Partition, int]) -> dict[Partition, int]:
    """Return, per partition, the least of several offsets."""
    found = dict(many[0]) if many else {}
    for offsets in many[1:]:
        for partition, offset in offsets.items():
            found[partition] = min(offset, found.get(partition, offset))
    return found
