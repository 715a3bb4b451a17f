"""Waking those who wait for a message of a queue."""

import asyncio


class Stirring:
    """Queues that may have something to receive; used from one event loop."""

    def __init__(self) -> None:
        self._waiters: dict[str, asyncio.Future[None]] = {}

    def next(self, queue: str) -> asyncio.Future[None]:
        """Return what is done when the queue next stirs; those who wait for one queue share it."""
        waiter = self._waiters.get(queue)
        if waiter is None or waiter.done():
            waiter = self._waiters[queue] = asyncio.get_running_loop().create_future()
        return waiter

    def stir(self, queue: str | None) -> None:
        """Wake those who wait for a queue; all, where none is named."""
        names = list(self._waiters) if queue is None else [queue]
        for name in names:
            waiter = self._waiters.pop(name, None)
            if waiter is not None and not waiter.done():
                waiter.set_result(None)
