"""Time, through the door."""

from typing import Protocol


class Clock(Protocol):
    """Says what time it is, and waits.

    Guarantees: ``monotonic`` never goes back, whatever the wall clock does.
    Not guaranteed: that ``now_us`` does not jump.
    """

    def now_us(self) -> int:
        """Return the wall clock in microseconds since 1970 UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds since some moment, for durations."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait so long."""
        ...
