"""Reading several partitions as one stream, in order of time."""

from collections import deque
from collections.abc import Mapping

from tropism.core.envelope import Stored
from tropism.ports.log import Log, Partition

Arrival = tuple[int, str, Partition, Stored]
"""When it became known, its id (which orders arrivals of one moment), where it lies, and itself."""


class Intake:
    """Takes events of several partitions in order of (known at, id), up to a bound, chunk by chunk.

    Every partition is in order of ``known_us``, so what is at most as old as the last record read of
    every unfinished partition is complete.
    """

    def __init__(self, log: Log, offsets: Mapping[Partition, int], *, chunk: int = 1024) -> None:
        self._log = log
        self._next = dict(offsets)
        self._chunk = chunk
        self._buffers: dict[Partition, deque[Stored]] = {partition: deque() for partition in offsets}
        self._held: deque[Arrival] = deque()

    @property
    def ends(self) -> dict[Partition, int]:
        """The offsets up to which it has read."""
        return dict(self._next)

    async def take(self, bound_us: int, count_max: int) -> tuple[list[Arrival], int]:
        """Return the next arrivals, and the instant up to which nothing is missing.

        ``bound_us`` must have been complete in the log before this call. Arrivals of one moment are
        never torn apart, so a few more than ``count_max`` may come.
        """
        while True:
            complete_us = bound_us
            if len(self._held) < count_max:
                complete_us = await self._fill(bound_us)
            elif self._held:
                complete_us = min(bound_us, self._held[-1][0])
            taken = self._cut(complete_us, count_max)
            if taken or complete_us >= bound_us:
                break
        if self._held and self._held[0][0] <= complete_us:
            complete_us = self._held[0][0] - 1
        return taken, complete_us

    async def _fill(self, bound_us: int) -> int:
        """Read on, and return up to when all partitions are complete now."""
        wanted = {p: self._next[p] for p, buffer in self._buffers.items() if self._wants(buffer)}
        found = await self._log.read(wanted, count_max=self._chunk) if wanted else {}
        complete_us = bound_us
        for partition, buffer in self._buffers.items():
            records = found.get(partition, ())
            if records:
                buffer.extend(records)
                self._next[partition] = records[-1].offset + 1
            if buffer and (partition not in wanted or len(records) >= self._chunk):
                complete_us = min(complete_us, buffer[-1].known_us - 1)
        self._merge(complete_us)
        return complete_us

    def _wants(self, buffer: deque[Stored]) -> bool:
        # A moment may hold more records than a chunk: then only reading on finds its end.
        return len(buffer) < self._chunk or buffer[0].known_us == buffer[-1].known_us

    def _merge(self, until_us: int) -> None:
        """Move what is complete from the buffers to the held arrivals, in order."""
        fresh: list[Arrival] = []
        for partition, buffer in self._buffers.items():
            while buffer and buffer[0].known_us <= until_us:
                stored = buffer.popleft()
                fresh.append((stored.known_us, stored.record.id, partition, stored))
        fresh.sort()
        self._held.extend(fresh)

    def _cut(self, until_us: int, count_max: int) -> list[Arrival]:
        held = self._held
        taken: list[Arrival] = []
        while held and held[0][0] <= until_us:
            if len(taken) >= count_max and held[0][0] != taken[-1][0]:
                break
            taken.append(held.popleft())
        return taken
