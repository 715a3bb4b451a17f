"""Whoever publishes to a simulated system: in the order of its accounts, noting what was acknowledged."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from tropism.core.envelope import Record
from tropism.ports.clock import Clock
from tropism.ports.log import Log
from tropism.runtime.patience import patiently
from tropism.testing.faults import FaultyLog
from tropism.testing.history import Published
from tropism.testing.ledger import Posted, record_of_posting
from tropism.testing.weather import NodeClock, Seat, Weather

UNREADABLE_EVERY = 19
"""One posting in so many is no JSON."""


class Publisher:
    """A process that posts to its accounts, some at a time, each batch until it is acknowledged.

    When it dies, the one that follows does not know what became of the last batch, and goes on behind it.
    """

    def __init__(
        self, name: str, accounts: Sequence[str], count: int, log: Log, clock: Clock, weather: Weather
    ) -> None:
        self.published: list[Published] = []
        self._name = name
        self._accounts = accounts
        self._count = count
        self._number = 0
        self._log = log
        self._clock = clock
        self._weather = weather
        self._seat = Seat(name, weather, NodeClock(clock))
        self._task: asyncio.Task[None] | None = None

    @property
    def is_done(self) -> bool:
        """Whether everything was published."""
        return self._task is not None and self._task.done()

    @property
    def is_dead(self) -> bool:
        """Whether it crashed."""
        return self._seat.struck

    def start(self) -> None:
        """Begin, or go on after a crash."""
        self._seat = Seat(self._name, self._weather, NodeClock(self._clock))
        self._task = asyncio.ensure_future(self._publish(FaultyLog(self._log, self._seat, self._clock)))

    async def clear(self) -> None:
        """Remove what a crash has left."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def raise_if_failed(self) -> None:
        """Raise what it failed of, if it did."""
        if self._task is not None and self._task.done() and not self._task.cancelled():
            self._task.result()

    async def _publish(self, log: Log) -> None:
        chance = self._weather.random
        while self._number < self._count:
            batch = [self._next() for _ in range(min(chance.randint(1, 4), self._count - self._number))]
            first = len(self.published)
            self.published += [Published(r.id, r.subject, acknowledged=False) for r in batch]
            await patiently(self._clock, lambda batch=batch: log.append(batch))  # type: ignore[misc]
            for place in range(first, first + len(batch)):
                self.published[place] = replace(self.published[place], acknowledged=True)
            await self._clock.sleep(chance.choice([0.001, 0.1, 3.0]))

    def _next(self) -> Record:
        number = self._number
        self._number += 1
        account = self._accounts[self._weather.random.randrange(len(self._accounts))]
        record = record_of_posting(account, number, self._clock.now_us())
        if number % UNREADABLE_EVERY == UNREADABLE_EVERY - 1:
            return Record(record.id, Posted.event_type, record.topic, record.subject, record.time_us, b"{")
        return record
