"""Running services until they have handled so much, and how long that took."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from tropism.core.event import Event
from tropism.ports.platform import Platform
from tropism.runtime.runtime import Runtime, RuntimeOptions
from tropism.runtime.service import Service

LOOK_SECONDS = 0.001


class Tally:
    """Counts what handlers did; the clock starts with the first call, for start-up is not the work.

    What was read ahead by then, of ours a page of 1,024 and of the peers one of 500, is not timed.
    """

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self.count = 0
        self.started = self.started_cpu = 0.0
        self.full = asyncio.Event()

    def begin(self) -> None:
        """Start the clock, where it does not run yet."""
        if not self.started:
            self.started, self.started_cpu = time.perf_counter(), time.process_time()

    def add(self, count: int = 1) -> None:
        if not self.started:
            self.begin()
        self.count += count
        if self.count >= self.wanted:
            self.full.set()


@dataclass(frozen=True, slots=True)
class Spent:
    """What so many events took: seconds on the clock, and of this process's processor time."""

    count: int
    seconds: float
    cpu_seconds: float

    @property
    def per_second(self) -> float:
        return self.count / self.seconds

    @property
    def cpu_us(self) -> float:
        return self.cpu_seconds / self.count * 1e6


def spent(tally: Tally) -> Spent:
    return Spent(tally.count, time.perf_counter() - tally.started, time.process_time() - tally.started_cpu)


async def consume(
    services: Sequence[Service],
    platform: Platform,
    tally: Tally,
    *,
    types: Sequence[type[Event]] = (),
    publish: Callable[[], Awaitable[None]] | None = None,
) -> Spent:
    """Run services until they have handled what is wanted, and committed it; publish once they are idle."""
    runtime = Runtime(services, platform, types=types, options=RuntimeOptions())
    await runtime.start()
    try:
        stopped = asyncio.ensure_future(runtime.wait())
        if publish is not None:
            await _until(lambda: runtime.is_idle, stopped)
            await publish()
        await _until(tally.full.is_set, stopped)
        await _until(lambda: not any(worker.in_flight for worker in runtime.workers.values()), stopped)
        found = spent(tally)
        stopped.cancel()
        await asyncio.wait([stopped])
    finally:
        await runtime.stop()
    return found


async def _until(holds: Callable[[], bool], stopped: asyncio.Future[None]) -> None:
    while not holds():
        if stopped.done():
            stopped.result()
        await asyncio.sleep(LOOK_SECONDS)
