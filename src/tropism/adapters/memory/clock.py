"""Time that passes when told to."""

import asyncio
import heapq
from itertools import count

from tropism.core.time import MICROSECONDS


class VirtualClock:
    """A ``Clock`` for tests and simulations: hours pass in no time, the same every time."""

    def __init__(self, start_us: int = 0) -> None:
        self._elapsed_us = 0
        self._wall_us = start_us
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = count()

    def now_us(self) -> int:
        """Return the wall clock in microseconds since 1970 UTC."""
        return self._wall_us + self._elapsed_us

    def monotonic(self) -> float:
        """Return the seconds advanced so far."""
        return self._elapsed_us / MICROSECONDS

    async def sleep(self, seconds: float) -> None:
        """Wait until so much time was advanced; at most give way once where that is nothing."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        wake: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        due_us = self._elapsed_us + max(1, round(seconds * MICROSECONDS))
        heapq.heappush(self._sleepers, (due_us, next(self._order), wake))
        await wake

    def next_wakeup_us(self) -> int | None:
        """Return the instant at which the next sleeper wakes, on the wall clock; None if nobody sleeps."""
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        return self._wall_us + self._sleepers[0][0] if self._sleepers else None

    def advance(self, seconds: float) -> None:
        """Let so much time pass; sleepers wake in order of time, then of falling asleep."""
        self.advance_to_us(self.now_us() + round(seconds * MICROSECONDS))

    def advance_to_us(self, instant_us: int) -> None:
        """Let time pass until an instant; without effect where that is past."""
        self._elapsed_us = max(self._elapsed_us, instant_us - self._wall_us)
        while self._sleepers and self._sleepers[0][0] <= self._elapsed_us:
            wake = heapq.heappop(self._sleepers)[2]
            if not wake.done():
                wake.set_result(None)

    def jump(self, seconds: float) -> None:
        """Set the wall clock forward, or back, while no time passes: as machines' clocks do."""
        self._wall_us += round(seconds * MICROSECONDS)
