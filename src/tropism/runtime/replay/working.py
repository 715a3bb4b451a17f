"""The workers of a replay, from where they stand to the end of its range."""

import asyncio
from collections.abc import Callable, Sequence

from tropism.core.codec import Codec
from tropism.ports.platform import Platform
from tropism.runtime.options import WorkerOptions
from tropism.runtime.replay.span import Span
from tropism.runtime.service import Service
from tropism.runtime.waiting import give_up
from tropism.runtime.watermarks import Watermarks
from tropism.runtime.worker import Worker

DRAIN_SECONDS = 2.0
"""How long an interrupted replay finishes what is in flight; what is not finished then is done again."""

Advance = Callable[[int], None]
"""Told how many offsets of the range have been taken in."""


class Workers:
    """A service, and those that copy its events under other keys, at work on a replay's platform.

    They run in event time: the same range gives the same, however fast the machine is.
    """

    def __init__(
        self,
        services: Sequence[Service],
        platform: Platform,
        codec: Codec,
        span: Span,
        options: WorkerOptions,
    ) -> None:
        copiers = services[1:]
        kinds = {
            (h.topic or "", k.event_type): [s.name] for s in copiers for h in s.handlers for k in h.emits
        }
        self._watermarks = Watermarks(kinds, live=False)
        self._span = span
        self._workers = [Worker(each, platform, codec, self._watermarks, options) for each in services]

    async def run(self, advance: Advance) -> None:
        """Work to the end of the range, and commit all of it. Raises: what stopped a worker."""
        tasks: list[asyncio.Task[None]] = []
        try:
            for worker in self._workers:
                await worker.start()
                tasks.append(asyncio.create_task(worker.run()))
            self._watermarks.advance_sources(self._span.until_us)
            await self._wait_end(tasks, advance)
        finally:
            await asyncio.gather(*map(_leave, self._workers, tasks))
            await give_up(tasks)

    async def _wait_end(self, tasks: Sequence[asyncio.Task[None]], advance: Advance) -> None:
        names = [worker.service.name for worker in self._workers]
        while any(self._watermarks.of(name) < self._span.until_us for name in names):
            changed = asyncio.ensure_future(self._watermarks.change.wait())
            try:
                await asyncio.wait((changed, *tasks), return_when=asyncio.FIRST_COMPLETED)
            finally:
                changed.cancel()
            for task in tasks:
                if task.done():
                    task.result()
            advance(self._workers[0].taken)


async def _leave(worker: Worker, task: asyncio.Task[None]) -> None:
    """Let a worker finish what is in flight and give its lease back; one that failed has neither."""
    draining = asyncio.ensure_future(worker.drain(DRAIN_SECONDS))
    await asyncio.wait((draining, task), return_when=asyncio.FIRST_COMPLETED)
    await give_up([draining])
    await (worker.abandon() if task.done() else worker.close())
