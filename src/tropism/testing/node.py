"""One process of a simulated system: started, crashed, stopped, and started again on the same stores."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

from tropism.adapters.memory import MemoryCompute
from tropism.core.event import Event
from tropism.ports.blobs import Blobs
from tropism.ports.clock import Clock
from tropism.ports.log import Log
from tropism.ports.platform import Platform
from tropism.ports.queue import Queue
from tropism.ports.state import State
from tropism.runtime.patience import patiently
from tropism.runtime.runtime import Runtime, RuntimeOptions
from tropism.runtime.service import Service
from tropism.testing.faults import FaultyLog, FaultyState
from tropism.testing.weather import NodeClock, Seat, Weather


class Site:
    """What all nodes share: the stores, the true time, and the weather."""

    def __init__(
        self, log: Log, state: State, blobs: Blobs, queue: Queue, clock: Clock, weather: Weather
    ) -> None:
        self.log, self.state, self.blobs, self.queue = log, state, blobs, queue
        self.clock = clock
        self.weather = weather

    def platform(self, seat: Seat, clock: NodeClock) -> Platform:
        """Return the ports as one process has them."""
        return Platform(
            FaultyLog(self.log, seat, self.clock, waits=True),
            FaultyState(self.state, seat, self.clock),
            self.blobs,
            MemoryCompute(),
            clock,
            self.queue,
        )


class Node:
    """Runs some services; every life of it is a new runtime, which knows nothing of the one before."""

    def __init__(
        self,
        name: str,
        site: Site,
        services: Callable[[NodeClock], Sequence[Service]],
        options: RuntimeOptions,
        *,
        types: Sequence[type[Event]] = (),
        producers: Sequence[Service] | None = None,
        keeps_name: bool = True,
    ) -> None:
        self.name = name
        self._site = site
        self._services = services
        self.options = options
        self._types = types
        self._producers = producers
        self._keeps_name = keeps_name
        self._lives = 0
        self._is_leaving = False
        self._sources_us: int | None = None
        self.clock = NodeClock(site.clock)
        self.seat = Seat(name, site.weather, self.clock)
        self.runtime: Runtime | None = None
        self._work: asyncio.Task[None] | None = None

    @property
    def is_dead(self) -> bool:
        """Whether it crashed, and nobody has cleared it away yet."""
        return self.seat.struck

    def start(self) -> None:
        """Begin a life."""
        self._lives += 1
        self._is_leaving = False
        self.seat = self.clock.seat = Seat(self.name, self._site.weather, self.clock)
        # Where names are kept, who comes back may take its lease at once; others wait until it has run out.
        holder = self.name if self._keeps_name else f"{self.name}/{self._lives}"
        runtime = self.runtime = Runtime(
            self._services(self.clock),
            self._site.platform(self.seat, self.clock),
            types=self._types,
            producers=self._producers,
            options=replace(self.options, holder=holder),
        )
        if self._sources_us is not None:
            runtime.watermarks.advance_sources(self._sources_us)
        self._work = asyncio.ensure_future(patiently(self.clock, runtime.start))

    async def clear(self) -> None:
        """Remove what a crash has left in memory, as the end of a process does."""
        self.seat.struck = True
        if self._work is not None:
            self._work.cancel()
            await asyncio.wait([self._work])
        if self.runtime is not None:
            await self.runtime.abandon()
        self.runtime = self._work = None

    def stop(self, drain_seconds: float) -> asyncio.Task[None]:
        """Begin to stop in order, and return what ends when that is done."""
        self._is_leaving = True

        async def leave() -> None:
            started, runtime = self._work, self.runtime
            if started is not None and not started.done():
                started.cancel()
                await asyncio.wait([started])
                if runtime is not None:
                    await runtime.abandon()
            elif runtime is not None:
                await runtime.stop(drain_seconds=drain_seconds)

        return asyncio.ensure_future(leave())

    def advance_sources(self, to_us: int) -> None:
        """Say up to when the facts from outside are all in the log."""
        self._sources_us = to_us
        if self.runtime is not None:
            self.runtime.watermarks.advance_sources(to_us)

    def raise_if_stopped(self) -> None:
        """Raise what stopped it, if anything did."""
        if self.runtime is None or self.seat.struck or self._is_leaving:
            return
        if self._work is not None and self._work.done() and not self._work.cancelled():
            self._work.result()
        self.runtime.raise_if_stopped()

    def idle(self) -> set[str]:
        """Return the services that are at work here, and have nothing to do."""
        if self.runtime is None or self.seat.struck:
            return set()
        return {name for name, worker in self.runtime.workers.items() if worker.is_idle}

    def has_handled(self, time_us: int) -> set[str]:
        """Return the services that have handled all that was known by a moment of event time."""
        if self.runtime is None or self.seat.struck:
            return set()
        names = {service.name for service in self.runtime.services}
        open_here = {name for name, worker in self.runtime.workers.items() if worker.is_open}
        return (names - set(self.runtime.behind(time_us))) & open_here
