"""A whole system in virtual time: the real engine on memory, stepped from one sleeper to the next."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b

from tropism.adapters.memory import MemoryCompute, MemoryStore, VirtualClock
from tropism.core.envelope import Stored
from tropism.core.event import Event
from tropism.ports.platform import Platform
from tropism.runtime.dead import DeadLetter
from tropism.runtime.patience import patiently
from tropism.runtime.runtime import Runtime, RuntimeOptions
from tropism.runtime.service import Service
from tropism.testing.checks import BrokenLaw
from tropism.testing.faults import Faults, FaultyLog, FaultyState

PATIENCE_SECONDS = 86_400.0
"""How much virtual time may pass beyond what was asked for before a simulation gives up."""

OPTIONS = RuntimeOptions(live=False, lease_seconds=86_400.0)
"""Event time; and a lease that is renewed rarely, for each renewal is a step of the clock."""


@dataclass
class Simulation:
    """Services on one memory store and one virtual clock: started, crashed, started again.

    A crash abandons the runtime where it stands, as a killed process would: nothing is finished, no lease
    is given back, and no call that was under way reaches the store any more. ``apart`` and ``dedup`` are the
    store's: whether log and state commit together, and whether the log takes an id once.
    """

    services: Sequence[Service]
    types: Iterable[type[Event]] = ()
    options: RuntimeOptions = OPTIONS
    start_us: int = 0
    faults: Faults = field(default_factory=Faults)
    real_seconds: float = 0.0
    apart: bool = False
    dedup: bool = True

    def __post_init__(self) -> None:
        """Set up what outlives every crash."""
        self.clock = VirtualClock(self.start_us)
        self.store = MemoryStore(
            clock=self.clock,
            partitions_default=self.options.partitions,
            apart=self.apart,
            dedup=self.dedup,
        )
        self.errors: list[tuple[DeadLetter, Exception]] = []
        self.crashes = 0
        self._sources_us: int | None = None
        self._starting: asyncio.Future[None] | None = None
        self.runtime = self._runtime()

    def _runtime(self) -> Runtime:
        platform = Platform(
            FaultyLog(self.store.log, self.faults, self.clock),
            FaultyState(self.store.state, self.faults, self.clock),
            self.store.blobs,
            MemoryCompute(),
            self.clock,
            self.store.queue,
        )
        options = replace(self.options, gave_up=self._gave_up)
        return Runtime(self.services, platform, types=self.types, options=options)

    def _gave_up(self, letter: DeadLetter, error: Exception) -> None:
        self.errors.append((letter, error))

    async def start(self) -> None:
        """Start the services, as often as it takes."""
        self._launch()
        await self.wait(lambda: self._starting is not None and self._starting.done())

    def _launch(self) -> None:
        runtime = self.runtime
        self._starting = asyncio.ensure_future(patiently(self.clock, runtime.start))

    async def crash(self) -> None:
        """Kill the process, and start another on the same store."""
        self.crashes += 1
        self.faults.die()
        await self._abandon()
        self.faults.revive()
        self.runtime = self._runtime()
        if self._sources_us is not None:
            self.runtime.watermarks.advance_sources(self._sources_us)
        self._launch()

    async def _abandon(self) -> None:
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.wait([self._starting])
        await self.runtime.abandon()

    async def stop(self) -> None:
        """Stop the services, finishing what needs no time to pass; nothing goes wrong any more."""
        self.faults.end()
        if self._starting is not None and not self._starting.done():
            await self._abandon()
        await self.runtime.stop(drain_seconds=0.0)

    def advance_sources(self, to_us: int) -> None:
        """Say up to when the facts from outside are all in the log."""
        self._sources_us = to_us
        self.runtime.watermarks.advance_sources(to_us)

    async def run_until(self, time_us: int) -> None:
        """Handle all that was known by a moment of event time, crashing where the faults say so."""
        self.advance_sources(time_us)
        await self.wait(lambda: self._is_handled(time_us))

    def _is_handled(self, time_us: int) -> bool:
        if self.options.live:
            return self.runtime.is_idle
        return self.runtime.has_handled(time_us)

    async def advance_to(self, instant_us: int) -> None:
        """Let time pass, waking every sleeper in its turn."""
        while True:
            await self.settle()
            due_us = self.clock.next_wakeup_us()
            if due_us is None or due_us > instant_us:
                break
            self.clock.advance_to_us(due_us)
        self.clock.advance_to_us(instant_us)
        await self.settle()

    async def wait(self, done: Callable[[], bool]) -> None:
        """Return when something is so, letting time pass only while nothing else can happen.

        Raises: what stopped a service; BrokenLaw if a day of virtual time changes nothing.
        """
        started = self.clock.monotonic()
        while True:
            await self.settle()
            if done():
                return
            due_us = self.clock.next_wakeup_us()
            if due_us is None or self.clock.monotonic() - started > PATIENCE_SECONDS:
                raise BrokenLaw(
                    f"nothing more happens, and {self.runtime.behind()} have not handled everything"
                )
            self.clock.advance_to_us(due_us)

    async def settle(self) -> None:
        """Return when every task waits: for time to pass, or for something that does not come.

        Raises: what stopped a service.
        """
        while True:
            await quiet(self.real_seconds if self.runtime.is_calling else 0.0)
            if not self.faults.struck:
                break
            await self.crash()
        if self._starting is not None and self._starting.done():
            self._starting.result()
        self.runtime.raise_if_stopped()

    async def records(self, *topics: str) -> list[Stored]:
        """Return what lies in topics, of all partitions, in order of time, then of id."""
        ends = await self.store.log.ends(topics)
        found = await self.store.log.read(dict.fromkeys(ends, 0), count_max=2**60)
        stored = [record for partition in found.values() for record in partition]
        return sorted(stored, key=lambda s: (s.record.time_us, s.record.id))

    async def digest(self, *topics: str) -> str:
        """Return a digest of topics that depends on ids, times, keys and payloads, not on how they lie."""
        found = blake2b(digest_size=16)
        for stored in await self.records(*topics):
            record = stored.record
            found.update(repr((record.id, record.type, record.subject, record.time_us)).encode())
            found.update(record.data)
        return found.hexdigest()


async def quiet(real_seconds: float) -> None:
    """Return when the event loop has nothing ready.

    Twice in a row, for a turn in between lets timers and sockets bring more. Where calls may wait for
    something real, they are given that much real time first.
    """
    ready = getattr(asyncio.get_running_loop(), "_ready", None)
    turns = 0
    while turns < 2:
        await asyncio.sleep(0)
        turns = turns + 1 if not ready else 0
        if turns == 2 and real_seconds:
            await asyncio.sleep(real_seconds)
            real_seconds, turns = 0.0, 0
