"""An app under test: the real engine on memory, in virtual time."""

from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import Any, TypeVar

import msgspec

from tropism.app.app import App
from tropism.core.codec import record_of
from tropism.core.envelope import Record, derived_id
from tropism.core.errors import InvalidInputError
from tropism.core.event import topic_of
from tropism.core.time import instant_us, moment
from tropism.runtime.call import namespace_of
from tropism.runtime.dead import QUARANTINE, DeadLetter, dead_letters, redrive
from tropism.runtime.runtime import RuntimeOptions
from tropism.testing.emitted import Emitted, Found
from tropism.testing.faults import Faults
from tropism.testing.simulation import OPTIONS, Simulation

T = TypeVar("T")
E = TypeVar("E")

START = datetime(2024, 1, 1, tzinfo=UTC)


class Run:
    """An app at work. See :func:`run`."""

    def __init__(self, app: App, simulation: Simulation, seed: int) -> None:
        self.app = app
        self.simulation = simulation
        self.random = Random(seed)  # noqa: S311 (chance that repeats is the point)
        self._seed = seed
        self._published = 0
        self._order = count()
        self._ahead: list[tuple[int, int, Record]] = []
        self._read: set[str] = set()

    @property
    def now(self) -> datetime:
        """What the virtual clock says."""
        return moment(self.simulation.clock.now_us())

    # -- doing ------------------------------------------------------------------------------------

    async def publish(self, *events: Any, at: datetime | None = None) -> list[str]:
        """Publish events, all of one time, and return their ids.

        Their time is now unless told. What is to come later is held back until time has come so far. In
        event time nothing is handled before ``advance``; what is published after it comes just after it.

        Raises: InvalidInputError if an event does not fit its own type.
        """
        codec = self.simulation.runtime.codec
        when_us = self._when_us(at)
        records = [
            record_of(event, codec.encode(event), id=self._next_id(when_us), time_us=when_us)
            for event in events
        ]
        return await self._append(records)

    async def publish_bytes(
        self, event_type: str, data: bytes, *, key: str = "", at: datetime | None = None
    ) -> str:
        """Publish an event as another system might: of any type, with any bytes."""
        when_us = self._when_us(at)
        record = Record(self._next_id(when_us), event_type, topic_of(event_type), key, when_us, data)
        return (await self._append([record]))[0]

    async def advance(
        self, duration: timedelta = timedelta(0), *, hours: float = 0, minutes: float = 0, seconds: float = 0
    ) -> None:
        """Let time pass, and return when everything up to then is handled.

        Pauses before another attempt elapse in virtual time, so the clock may come to stand later.

        Raises: what stopped a service; BrokenLaw if something is never handled.
        """
        more = timedelta(hours=hours, minutes=minutes, seconds=seconds)
        await self.advance_to(self.now + duration + more)

    async def advance_to(self, instant: datetime) -> None:
        """Let time pass until an instant. Raises: as ``advance``."""
        until_us = instant_us(instant)
        while self._ahead and self._ahead[0][0] <= until_us:
            when_us, _, record = heappop(self._ahead)
            if self.simulation.options.live:
                await self.simulation.advance_to(when_us)
            await self.simulation.store.log.append([record])
        if not self.simulation.options.live:
            self.simulation.advance_sources(until_us)
        await self.simulation.advance_to(until_us)
        await self.simulation.run_until(until_us)

    async def redrive(self, *letters: DeadLetter) -> None:
        """Hand dead letters, or all, to the handlers that gave up on them; they come with ``advance``."""
        chosen = letters or tuple(self.dead_letters())
        await redrive(self.simulation.runtime.platform, chosen)

    async def release(self, *letters: DeadLetter, note: str = "") -> None:
        """Hand events in quarantine, or all, to who refused them; they come with ``advance``."""
        await redrive(self.simulation.runtime.platform, letters or tuple(self.quarantined()), released=note)

    async def crash(self) -> None:
        """Kill the process where it stands, and start another on the same store."""
        await self.simulation.crash()

    # -- looking ----------------------------------------------------------------------------------

    def all(self, kind: type[E]) -> list[Emitted[E]]:
        """Return the events of a type that were published, by a service or by the test, in order of time."""
        return self._found().of(kind)

    def only(self, kind: type[E]) -> Emitted[E]:
        """Return the one event of a type that was published. Raises: AssertionError if it is not one."""
        found = self.all(kind)
        if len(found) == 1:
            return found[0]
        letters = [f"{letter.handler}: {letter.cause}" for letter in self.dead_letters(read=False)]
        raise AssertionError(
            f"wanted one {kind.__name__}, found {len(found)}; published were {self._found().counts()}"
            + (f"; dead letters: {letters}" if letters else "")
        )

    def dead_letters(self, service: str = "", *, read: bool = True) -> list[DeadLetter]:
        """Return the dead letters of a service, or of all. What was read does not fail the test."""
        found = _at_once(dead_letters(self.simulation.store.state, service))
        if read:
            self._read.update(letter.id for letter in found)
        return found

    def quarantined(self, service: str = "") -> list[DeadLetter]:
        """Return what handlers of a service, or of all, refused: with cause and evidence."""
        return _at_once(dead_letters(self.simulation.store.state, service, namespace=QUARANTINE))

    def state(self, service: str, name: str, key: str) -> Any:
        """Return what a service has stored under a key, typed as its handlers declare it, or None."""
        kind = self._kind_of(service, name)
        data = _at_once(self.simulation.store.state.get(namespace_of(service, name), [key]))[0]
        return None if data is None else msgspec.msgpack.decode(data, type=kind)

    def _kind_of(self, service: str, name: str) -> Any:
        for handler in self.app.service(service).handlers:
            for injection in handler.injections:
                if injection.source == name:
                    return injection.kind
        raise InvalidInputError(
            f"Cannot read state {name!r}: no handler of {service!r} uses it. Name one that it is given."
        )

    def _found(self) -> Found:
        log = self.simulation.store.log
        return Found(self.simulation.runtime.codec, _at_once(self.simulation.records(*log.topics)))

    # -- within -----------------------------------------------------------------------------------

    def _when_us(self, at: datetime | None) -> int:
        if at is not None:
            return instant_us(at)
        now_us = self.simulation.clock.now_us()
        watermarks = self.simulation.runtime.watermarks
        return now_us if watermarks.live else max(now_us, watermarks.sources_us + 1)

    def _next_id(self, when_us: int) -> str:
        self._published += 1
        return derived_id(f"seed {self._seed}", "published", self._published, when_us)

    async def _append(self, records: Sequence[Record]) -> list[str]:
        if records and records[0].time_us > self._when_us(None):
            for record in records:
                heappush(self._ahead, (record.time_us, next(self._order), record))
        else:
            await self.simulation.store.log.append(records)
        return [record.id for record in records]

    def raise_unread(self) -> None:
        """Raise what handlers raised, for dead letters that nobody has read."""
        unread = [letter for letter in self.dead_letters(read=False) if letter.id not in self._read]
        if not unread:
            return
        known = {letter.id: error for letter, error in self.simulation.errors}
        first = known.get(unread[0].id, InvalidInputError(unread[0].cause))
        for letter in unread:
            first.add_note(
                f"Dead letter {letter.id!r} of service {letter.service!r}, after {letter.attempts} "
                f"attempts: {letter.cause}. Read it with 'dead_letters', or allow_dead_letters=True."
            )
        raise first


def _at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """Return what a coroutine returns that never gives way, as those of the memory adapters."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    coroutine.close()
    raise AssertionError("a memory adapter gave way")


def _simulation(
    app: App, options: RuntimeOptions, start_us: int, faults: Faults, real_seconds: float
) -> Simulation:
    """Return an app's services on memory, at the beginning of its time."""
    options = replace(options, start_us=start_us, ignore_unknown=app.ignore_unknown)
    options = replace(options, record_bytes=app.record_bytes_max or 0, hops_max=app.hops_max)
    kinds = (*app.events, *(kind for view in app.views for kind in view.on))
    return Simulation(app.services, kinds, options, start_us, faults, real_seconds)


@asynccontextmanager
async def run(
    app: App,
    *,
    seed: int = 7,
    start: datetime = START,
    live: bool = False,
    allow_dead_letters: bool = False,
    partitions: int = 4,
    chunk: int = 1024,
    in_flight_max: int = 4096,
    faults: Faults | None = None,
    real_seconds: float = 0.0,
) -> AsyncIterator[Run]:
    """Run an app for a test: the real engine on memory adapters, in virtual time; nothing ever sleeps.

    ``seed`` decides the ids of what is published, and ``t.random``. Time begins at ``start`` and passes only
    in ``advance``. With ``live``, events are handled as they come, and views are read as of now. Handlers
    that wait for something real (a thread, a socket) need ``real_seconds``: how long they get before
    virtual time moves on. Leaving with dead letters that were not read raises what the handler raised.

    >>> import asyncio
    >>> from tropism import App, Event, Service, testing
    >>> class Ordered(Event, type="orders.ordered.v1", key="order"):
    ...     order: str
    >>> class Confirmed(Event, type="orders.confirmed.v1", key="order"):
    ...     order: str
    >>> shop = Service("shop")
    >>> @shop.on(Ordered)
    ... def confirm(ordered: Ordered) -> Confirmed:
    ...     return Confirmed(order=ordered.order)
    >>> async def main():
    ...     async with testing.run(App("shop", services=[shop])) as t:
    ...         ordered = Ordered(order="1")
    ...         await t.publish(ordered)
    ...         await t.advance(hours=3)
    ...         return t.only(Confirmed).caused_by(ordered)
    >>> asyncio.run(main())
    True
    """
    options = replace(OPTIONS, live=live, partitions=partitions, chunk=chunk, in_flight_max=in_flight_max)
    simulation = _simulation(app, options, instant_us(start), faults or Faults(), real_seconds)
    t = Run(app, simulation, seed)
    await simulation.start()
    try:
        yield t
    finally:
        await simulation.stop()
    if not allow_dead_letters:
        t.raise_unread()
