"""Who waits for something to receive, and what wakes them."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from tropism.ports.clock import Clock
from tropism.ports.queue import Received

Take = Callable[[], Awaitable[tuple[Sequence[Received], float | None]]]
"""Borrows what is ready; where that is nothing, says in how many seconds something may be."""


class Stirs:
    """Queues in which something changed, so that there may be something to receive.

    Used from one event loop.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiters: dict[str, set[asyncio.Future[None]]] = {}

    def stir(self, queue: str | None) -> None:
        """Wake all who wait for a queue; for any, where none is named."""
        for name in list(self._waiters) if queue is None else [queue]:
            for waiter in self._waiters.get(name, ()):
                if not waiter.done():
                    waiter.set_result(None)

    async def receive(self, queue: str, take: Take, wait_seconds: float) -> Sequence[Received]:
        """Take, and where there was nothing again whenever there may be something, until the time is up."""
        until = self._clock.monotonic() + wait_seconds
        while True:
            # The wait begins before the question: what is sent between the two wakes it as well.
            stirred = self._wait(queue)
            try:
                found, within_seconds = await take()
                left = until - self._clock.monotonic()
                if found or left <= 0:
                    return found
                await self._sleep(stirred, left if within_seconds is None else min(left, within_seconds))
            finally:
                self._leave(queue, stirred)

    async def _sleep(self, stirred: asyncio.Future[None], seconds: float) -> None:
        sleep = asyncio.ensure_future(self._clock.sleep(seconds))
        try:
            await asyncio.wait([stirred, sleep], return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleep.cancel()

    def _wait(self, queue: str) -> asyncio.Future[None]:
        stirred: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(queue, set()).add(stirred)
        return stirred

    def _leave(self, queue: str, stirred: asyncio.Future[None]) -> None:
        waiters = self._waiters[queue]
        waiters.discard(stirred)
        if not waiters:
            del self._waiters[queue]
