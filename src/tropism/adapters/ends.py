"""How far partitions reach, and who waits for them to grow."""

import asyncio
from collections.abc import Mapping, Sequence

from tropism.ports.log import Cursors, Partition


class Ends:
    """The known ends of partitions; used from one event loop."""

    def __init__(self) -> None:
        self._ends: dict[Partition, int] = {}
        # In order of coming, and no sets: in a simulation, who wakes first must not hang on an address.
        self._waiters: dict[Partition, dict[asyncio.Future[None], None]] = {}

    def update(self, ends: Mapping[Partition, int]) -> None:
        """Learn new ends, and wake those who wait for these partitions, of many services few."""
        for partition, end in ends.items():
            # News may overtake each other: an end never goes back.
            self._ends[partition] = max(end, self._ends.get(partition, 0))
            for waiter in self._waiters.get(partition, ()):
                if not waiter.done():
                    waiter.set_result(None)

    def beyond(self, cursors: Cursors, count_max: int) -> int:
        """Return how many offsets there may be at cursors, at most so many each, as far as is known."""
        known = self._ends
        return sum(
            min(count_max, max(0, known[partition] - offset)) if partition in known else count_max
            for partition, offset in cursors.items()
        )

    def are_beyond(self, ends: Cursors) -> bool:
        """Say whether any of the partitions is known to reach beyond its given end."""
        known = self._ends
        for partition, end in ends.items():  # noqa: SIM110 (asked at every wake-up: a generator takes longer)
            if known.get(partition, 0) > end:
                return True
        return False

    def of(self, partition: Partition) -> int:
        """Return the known end of a partition."""
        return self._ends.get(partition, 0)

    async def wait_beyond(self, ends: Cursors) -> None:
        """Return as soon as any of the partitions reaches beyond its given end."""
        partitions = tuple(ends)
        while not self.are_beyond(ends):
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            for partition in partitions:
                self._waiters.setdefault(partition, {})[waiter] = None
            try:
                await waiter
            finally:
                self._forget(waiter, partitions)

    def _forget(self, waiter: "asyncio.Future[None]", partitions: Sequence[Partition]) -> None:
        for partition in partitions:
            waiting = self._waiters[partition]
            waiting.pop(waiter, None)
            if not waiting:
                del self._waiters[partition]
