"""Reading several streams as one, in order of time."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence

from tropism.core.envelope import Stored
from tropism.ports.log import Log, Partition
from tropism.runtime.streams import Stream, taken_from, time_of

Arrival = tuple[int, str, str, str, str, int, Stream, Stored]
"""When it became known, and what orders arrivals of one moment; the stream it came in, and itself."""

BEGINNING_US = -(2**63)


class _Source:
    """One stream as far as it is read: what waits, and the moment before which nothing more can come."""

    __slots__ = ("buffer", "left", "next", "reached_us", "stream")

    def __init__(self, stream: Stream, offset: int) -> None:
        self.stream = stream
        self.next = offset
        self.reached_us = BEGINNING_US
        self.left = 0
        self.buffer: deque[tuple[int, Stored]] = deque()

    def wants(self, chunk: int) -> bool:
        # A moment may hold more records than a chunk: then only reading on finds its end.
        return len(self.buffer) < chunk or self.buffer[0][0] == self.buffer[-1][0]

    def extend(self, page: Sequence[Stored], services: frozenset[str]) -> None:
        for stored in taken_from(self.stream, page, services):
            self.reached_us = max(self.reached_us, time_of(self.stream, stored))
            self.buffer.append((self.reached_us, stored))
            self.left += 1
        if self.stream.producer in {"", "*"}:
            # Whatever the page holds, ``known_us`` never decreases along the partition.
            self.reached_us = max(self.reached_us, page[-1].known_us)
        self.next = page[-1].offset + 1


class Intake:
    """Takes events of several streams in order of time, up to a bound, chunk by chunk.

    Every stream is in order of time, so what is older than the last record read of every unfinished
    stream is complete. Arrivals of one moment come in order of key; those of one key, of one topic and
    producer, as they lie in the log. That order is the same however many partitions there are; ``read``
    is told of each event before, in order of offset.
    """

    def __init__(
        self,
        log: Log,
        offsets: Mapping[Stream, int],
        *,
        services: Mapping[str, frozenset[str]] | None = None,
        read: Callable[[Stream, int], None] | None = None,
        chunk: int = 1024,
    ) -> None:
        self._read_one = read
        self._log = log
        self._chunk = chunk
        self._services = services or {}
        self._sources = [_Source(stream, offset) for stream, offset in offsets.items()]
        self._by_stream = {source.stream: source for source in self._sources}
        self._held: deque[Arrival] = deque()

    @property
    def ends(self) -> dict[Partition, int]:
        """The offsets up to which it has read everything."""
        return least(*({source.stream.partition: source.next} for source in self._sources))

    def passed(self) -> list[tuple[Stream, int]]:
        """Return the streams of which nothing read is left to take, and up to where they are read."""
        return [(source.stream, source.next) for source in self._sources if not source.left]

    async def take(self, bound_us: int, count_max: int) -> tuple[list[Arrival], int]:
        """Return the next arrivals, and the instant up to which nothing is missing.

        ``bound_us`` must have been complete in the log before this call. A moment may be torn apart: then
        nothing is missing up to just before it.
        """
        while True:
            complete_us = bound_us
            if len(self._held) < count_max:
                complete_us = await self._fill(bound_us)
            elif self._held:
                # Live, older facts may have come in behind newer ones: the first can always be taken.
                complete_us = min(bound_us, max(self._held[0][0], self._held[-1][0]))
            taken = self._cut(complete_us, count_max)
            if taken or complete_us >= bound_us:
                break
        if self._held and self._held[0][0] <= complete_us:
            complete_us = self._held[0][0] - 1
        return taken, complete_us

    async def _fill(self, bound_us: int) -> int:
        """Read on, and return up to when all streams are complete now."""
        wanting = [source for source in self._sources if source.wants(self._chunk)]
        pages = await self._read(wanting)
        complete_us = bound_us
        for source in wanting:
            page = pages.get((source.stream.partition, source.next), ())
            if page:
                source.extend(page, self._services.get(source.stream.topic, frozenset()))
            if len(page) >= self._chunk:
                complete_us = min(complete_us, source.reached_us - 1)
        for source in self._sources:
            if source not in wanting:
                complete_us = min(complete_us, source.buffer[-1][0] - 1)
        self._merge(complete_us)
        return complete_us

    async def _read(self, sources: Sequence[_Source]) -> dict[tuple[Partition, int], Sequence[Stored]]:
        """Return the next page of each source: one read for all, unless two stand apart in a partition."""
        pages: dict[tuple[Partition, int], Sequence[Stored]] = {}
        left = {(source.stream.partition, source.next) for source in sources}
        while left:
            turn = dict(sorted(left))
            found = await self._log.read(turn, count_max=self._chunk)
            for partition, offset in turn.items():
                pages[partition, offset] = found.get(partition, ())
                left.discard((partition, offset))
        return pages

    def _merge(self, until_us: int) -> None:
        """Move what is complete from the buffers to the held arrivals, in order."""
        fresh: list[Arrival] = []
        for source in self._sources:
            buffer, stream = source.buffer, source.stream
            while buffer and buffer[0][0] <= until_us:
                time_us, stored = buffer.popleft()
                if self._read_one is not None:
                    self._read_one(stream, stored.offset)
                subject = stored.record.subject
                id = "" if subject else stored.record.id
                fresh.append(
                    (time_us, subject, stream.topic, stream.producer, id, stored.offset, stream, stored)
                )
        fresh.sort()
        self._held.extend(fresh)

    def _cut(self, until_us: int, count_max: int) -> list[Arrival]:
        held = self._held
        taken: list[Arrival] = []
        while held and held[0][0] <= until_us and len(taken) < count_max:
            taken.append(held.popleft())
            self._by_stream[taken[-1][6]].left -= 1
        return taken


def least(*many: Mapping[Partition, int]) -> dict[Partition, int]:
    """Return, per partition, the least of several offsets."""
    found: dict[Partition, int] = {}
    for offsets in many:
        for partition, offset in offsets.items():
            found[partition] = min(offset, found.get(partition, offset))
    return found
