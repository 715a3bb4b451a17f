"""The machine's clock."""

import asyncio
import time


class SystemClock:
    """A ``Clock`` of real time."""

    def now_us(self) -> int:
        """Return the wall clock in microseconds since 1970 UTC."""
        return time.time_ns() // 1000

    def monotonic(self) -> float:
        """Return seconds since some moment, for durations."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait so long."""
        await asyncio.sleep(seconds)
