"""Waiting for something to do."""

import asyncio
from collections.abc import Awaitable
from math import inf

from tropism.ports.clock import Clock
from tropism.runtime.waiting import give_up


class Waking:
    """Lets a worker wait for news, until a moment, or until it is woken.

    To wait takes no task but the one that waits: a busy service waits a thousand times a second. The alarm
    that wakes it at a moment is kept from one time to the next, and may ring too early, never too late.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._bound: asyncio.Timeout | None = None
        self._alarm: asyncio.Task[None] | None = None
        self._due = inf

    async def wait(self, news: Awaitable[None], seconds: float) -> None:
        """Return when there is news, when so long is over, or when woken. Raises: what ``news`` raises."""
        self._set_alarm(seconds)
        bound = self._bound = asyncio.timeout(None)
        try:
            async with bound:
                await news
        except TimeoutError:
            if not bound.expired():
                raise
        finally:
            self._bound = None

    def wake(self) -> None:
        """End the waiting, where somebody waits."""
        if self._bound is not None and not self._bound.expired():
            # A moment that is over: the end comes with the next turn of the loop.
            self._bound.reschedule(-inf)

    async def close(self) -> None:
        """Give the alarm up."""
        if self._alarm is not None:
            await give_up([self._alarm])

    def _set_alarm(self, seconds: float) -> None:
        due = self._clock.monotonic() + seconds
        if self._alarm is not None and not self._alarm.done():
            if self._due <= due:
                return
            self._alarm.cancel()
        self._due = due
        self._alarm = asyncio.get_running_loop().create_task(self._ring(seconds))

    async def _ring(self, seconds: float) -> None:
        await self._clock.sleep(seconds)
        self.wake()
