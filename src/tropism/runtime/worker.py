"""One service at work: takes events in, has them handled, and commits what came of it."""

import asyncio
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from tropism.core.codec import Codec
from tropism.core.errors import UnavailableError
from tropism.ports.platform import Platform
from tropism.ports.state import Entry, Lease, Position, Write
from tropism.runtime.admission import Admission, Admitted, wanted_states
from tropism.runtime.aside import Aside
from tropism.runtime.calling import open_calls
from tropism.runtime.commit import Committer
from tropism.runtime.cursor import Cursor, Fed, Place, Progress, cursor_of, fed_places
from tropism.runtime.delays import open_delays, sooner
from tropism.runtime.expiring import Expiring
from tropism.runtime.foreseeing import foresee, foreseers_of
from tropism.runtime.gates import Gates
from tropism.runtime.intake import Arrival, Intake, least
from tropism.runtime.journal import Journal
from tropism.runtime.leaving import Leaving
from tropism.runtime.letters import Letters
from tropism.runtime.options import WorkerOptions
from tropism.runtime.outbox import open_outbox
from tropism.runtime.patience import PatientLog, PatientState
from tropism.runtime.seen import seen_by
from tropism.runtime.service import Service
from tropism.runtime.site import open_resources
from tropism.runtime.sources import Sources, states_of, topics_of, ttls_of
from tropism.runtime.streams import Stream
from tropism.runtime.tables import Tables
from tropism.runtime.ticking import seconds_until
from tropism.runtime.values import Values
from tropism.runtime.waiting import first_of
from tropism.runtime.waking import Waking
from tropism.runtime.watch import watch
from tropism.runtime.watermarks import FOREVER_US, Watermarks
from tropism.runtime.work import Delivery


class Worker:
    """Runs one service, for as long as it holds the service's lease."""

    def __init__(
        self,
        service: Service,
        platform: Platform,
        codec: Codec,
        watermarks: Watermarks,
        options: WorkerOptions,
    ) -> None:
        self.service = service
        self.handled = 0
        self.is_open = False
        self._is_waiting = False
        clock = platform.clock
        self._platform = replace(
            platform, log=PatientLog(platform.log, clock), state=PatientState(platform.state, clock)
        )
        self._codec = codec
        self._watermarks = watermarks
        self._options = options
        self._consumer = options.share.consumer(service.name)
        self._live = watermarks.live
        self._now_us = clock.now_us if watermarks.live else None
        self._stopping = False
        self._waking = Waking(clock)
        self._room = asyncio.Event()
        self._frontier_us = options.start_us - 1
        self._suspects = 0
        self._stateful = states_of(service)
        self._gates = options.gates or Gates(clock)

    # -- starting ---------------------------------------------------------------------------------

    async def start(self) -> None:
        """Take the lease, and take back where the service stood. Raises: ConflictError if it is held."""
        self._is_waiting = False
        lease, position = await self._platform.state.acquire(
            self._consumer, self._options.holder, lease_seconds=self._options.lease_seconds
        )
        cursor = cursor_of(position.cursor, self._consumer)
        # If the process before died with events in flight, one of them may be why: take them singly.
        self._suspects = 0 if lease.clean else self._options.chunk
        await self._open(lease, cursor, position)

    async def _open(self, lease: Lease, cursor: Cursor, position: Position) -> None:
        platform, name = self._platform, self.service.name
        self._lease, self._cursor = lease, cursor
        self._sources = Sources(self.service, self._watermarks)
        self._values = Values(platform.state)
        self._journal = Journal(name, platform.state)
        self.letters = Letters(name, platform, self._journal, self._options)
        self._tables = Tables(name, self._consumer, self.service.views, platform.state, self.letters.buried)
        await self._tables.load()
        self._progress: dict[Stream, Progress] = {}
        outbox = await open_outbox(self._consumer, platform)
        now_us, share, wake = self._now_us, self._options.share, self._waking.wake
        self._delays = await open_delays(self.service, platform.state, now_us, share, wake)
        await self._open_intakes()
        await self._open_resources()
        known_us = position.watermark_us
        self._frontier_us = self._options.start_us - 1 if known_us is None else known_us
        self._committer = Committer(
            name,
            self._consumer,
            lease,
            platform=platform,
            codec=self._codec,
            cursor=cursor,
            progress=self._progress,
            views=self._store_views,
            values=self._values,
            opened=self.opened,
            advance=self._advanced,
            live=self._live,
            start_us=self._frontier_us,
            announces=self._options.announces,
            outbox=outbox,
            delays=self._delays,
        )
        self._journal.attach(self._committer.touch)
        self._expiring = Expiring(
            name,
            ttls_of(self.service),
            state=platform.state,
            values=self._values,
            committer=self._committer,
            share=self._options.share,
        )
        self._open_admission(cursor, known_us)
        self._open_calls()
        self._watermarks.advance(name, self._frontier_us)
        self.is_open = True

    async def _open_resources(self) -> None:
        self.opened = await open_resources(
            self.service,
            self._consumer,
            live=self._live,
            platform=self._platform,
            tables=self._tables,
            journal=self._journal,
            gates=self._gates,
            lanes=lambda: self._calls.lanes,
        )
        self._foreseers = foreseers_of(self.service, self.opened)

    def _open_admission(self, cursor: Cursor, known_us: int | None) -> None:
        self._leaving = Leaving(self.service.name, self._platform, self.letters.buried)
        self._admission = Admission(
            self.service,
            codec=self._codec,
            tables=self._tables,
            progress=self._progress,
            cursor=cursor,
            now_us=self._now_us,
            ignore_unknown=self._options.ignore_unknown,
            begin_us=self._options.ticks_from_us if known_us is None else known_us,
            share=self._options.share,
            owned=self._owned,
            refuse=self.letters.buried,
            leaving=self._leaving,
        )

    def _open_calls(self) -> None:
        self._calls = open_calls(
            self.service,
            self._platform,
            self._codec,
            self._cursor,
            self._values,
            self._tables,
            self._committer,
            opened=self.opened,
            options=self._options,
            gates=self._gates,
            lanes=lambda: self._calls.lanes,
            now_us=self._now_us,
            suspects=self._suspects,
            gave_up=self.letters.buried,
            handled=self._count,
        )

    async def _open_intakes(self) -> None:
        log, chunk = self._platform.log, self._options.chunk
        self._seen = seen_by(self.service, self._platform, self._options.remember_seconds, live=self._live)
        ends = await log.ends(topics_of(self.service))
        streams = self._owned = self._sources.streams(ends, self._options.share)
        for stream in streams:
            self._progress[stream] = Progress(self._cursor.places.get(stream.name, Place()))
            self._tables.fed[stream] = Fed(self._cursor.views.get(stream.name, Place()))
        offsets = {s: min(self._progress[s].taken, self._tables.first(s)) for s in streams}
        self._intake = Intake(
            log,
            offsets,
            services=self._sources.services(),
            read=lambda stream, offsets: self._progress[stream].read(offsets),
            without=self._sources.without(self._codec.types),
            chunk=chunk,
            live=self._live,
        )
        self._aside = await Aside.open(
            self.service, self._cursor, self._tables, self._codec, log, self._seen, self._options.chunk
        )

    def _store_views(self, frontier_us: int) -> list[Write]:
        """Return what is to be stored of the views with a commit, and note how far they are fed then."""
        letters = [*self._tables.letters(), *self._seen.writes(), *self._journal.writes()]
        if not self._tables.are_due:
            return letters
        self._cursor.views = fed_places(self._tables.fed, self._intake.left())
        self._cursor.aside = self._aside.places()
        return [*letters, *self._tables.writes(frontier_us)]

    # -- running ----------------------------------------------------------------------------------

    @property
    def is_idle(self) -> bool:
        """Whether it is at work and there is nothing to do: it has read all there is, and committed it."""
        return self.is_open and self._is_waiting and not self.in_flight

    @property
    def in_flight(self) -> int:
        """How many events are taken in and not committed."""
        return self._committer.in_flight if self.is_open else 0

    @property
    def running(self) -> int:
        """How many calls are under way."""
        return self._calls.lanes.running if self.is_open else 0

    async def run(self) -> None:
        """Work until stopped. Raises: FencedError if another worker took over."""
        try:
            await first_of(self._admit_all(), self._committer.run(), self._watch(), self.letters.run())
        finally:
            await self._waking.close()

    @property
    def taken(self) -> int:
        """How many records it has taken in, of all that it reads in order of time."""
        return sum(progress.taken for progress in self._progress.values()) if self.is_open else 0

    @property
    def repeated(self) -> int:
        """How many events it left out, because the log holds them again under ids that it remembers."""
        return self._seen.repeated if self.is_open else 0

    def latest(self, view: str, key: str) -> Any:
        """Return the first column of a view as of now, None where it is empty or not kept here."""
        return self._tables.latest(view, key, self._frontier_us) if self.is_open else None

    async def drain(self, seconds: float) -> None:
        """Stop taking events in, finish the calls under way within a bound, commit, and return.

        What is unfinished then stays unacknowledged. In event time all that was taken in is finished.
        """
        self._stopping = True
        self._waking.wake()
        self._watermarks.wake()
        if self.is_open and self._tables.have_news:
            # Who goes on from here finds the views as they are now.
            self._tables.is_due = True
            self._committer.touch()
        await first_of(self._platform.clock.sleep(seconds), self._settle())

    async def _settle(self) -> None:
        if self._live and self.is_open:
            await self._calls.lanes.finish()
            self._committer.withdraw()
        await self._committer.flush()

    async def close(self) -> None:
        """Give up what is in flight, and the lease: cleanly, if nothing was."""
        clean = not self.in_flight
        self.is_open = False
        await self._calls.lanes.abandon()
        if clean:
            # If the store does not answer, the lease runs out by itself.
            with suppress(UnavailableError):
                await self._platform.state.release(self._lease)

    async def abandon(self) -> None:
        """Stop where it stands: cancel what is in flight, and keep the lease until it runs out."""
        if self.is_open:
            self.is_open = False
            await self._calls.lanes.abandon()

    async def _admit_all(self) -> None:
        while not self._stopping:
            changed = self._watermarks.change
            await self.letters.tidied()
            await self._wait_for_room()
            self._committer.hold()
            if not self._stopping and not await self._admit():
                self._committer.release()
                self._is_waiting = True
                await self._wait_for_more(changed)
                self._is_waiting = False
        self._committer.release()
        await asyncio.Event().wait()

    async def _wait_for_room(self) -> None:
        while self._committer.in_flight >= self._options.in_flight_max:
            self._committer.release()
            self._room.clear()
            await self._room.wait()

    async def _wait_for_more(self, changed: asyncio.Event) -> None:
        if not self._live:
            # Whoever stops a worker says so there, too.
            await changed.wait()
        elif not self._stopping:
            news = self._platform.log.wait_beyond(least(self._intake.ends, self._aside.ends))
            await self._waking.wait(news, self._until_tick())

    def _until_tick(self) -> float:
        due_us = sooner(self._admission.next_tick_us(), self._delays.wake_us)
        return seconds_until(due_us, self._platform.clock.now_us(), self._expiring.look_seconds)

    def _bound_us(self) -> int:
        """Return the moment up to which everything this service reads is in the log."""
        main_us = self._sources.bound_us(self._frontier_us)
        ticks_us = self._frontier_us + self._admission.stride_us(self._options.chunk)
        return min(main_us, ticks_us, self._expiring.bound_us, self._delays.horizon_us)

    async def _admit(self) -> bool:
        """Let the next chunk in, and say whether there may be more to do now."""
        await self._delays.refill()
        bound_us = FOREVER_US if self._live else self._bound_us()
        if not self._live:
            if bound_us <= self._frontier_us:
                return False
            self._delays.promise(bound_us)
        if self._sources.has_more_aside():
            await self._aside.feed()
        room = self._options.in_flight_max - self._committer.in_flight
        count_max = 1 if self._calls.suspects else max(1, min(self._options.chunk, room))
        now_us = self._platform.clock.now_us()
        arrivals, until_us = await self._intake.take(bound_us, count_max)
        # What is due at a moment comes before its events, also where only some of those are at hand yet.
        due_us = max(until_us, arrivals[-1][0]) if arrivals else until_us
        # Live, too, a state lives until all is read that was known by then, however long a worker was away.
        read_us = min(until_us, now_us) if self._live else due_us
        expired = await self._expiring.due(read_us)
        if self._live:
            until_us = due_us = now_us
            self._cursor.first_us = self._cursor.first_us or now_us
        fresh = await self._seen.fresh(arrivals, self._progress)
        admitted, plain = await self._let_in(fresh, expired, due_us, read_us)
        for stream, offset in self._intake.passed():
            self._progress[stream].pass_to(offset)
        called = [each for _, some in admitted for each in some] if plain is None else plain
        for namespace, keys in wanted_states(self._stateful, called).items():
            await self._values.load(namespace, keys)
        if self._foreseers and not self._calls.suspects:
            await foresee(self._foreseers, called)
        if self._delays.admit(until_us):
            self._committer.poke()
        await self._calls.start(admitted, until_us, touched=bool(arrivals), plain=plain)
        moved = until_us > self._frontier_us
        self._frontier_us = max(self._frontier_us, until_us)
        if self._live:
            # What came since, and what is due since, ends the waiting at once.
            return bool(expired) or (bool(arrivals) and self._intake.may_have_more)
        return bool(arrivals or expired or moved)

    async def _let_in(
        self, fresh: Sequence[Arrival], expired: Sequence[tuple[str, Entry]], due_us: int, read_us: int
    ) -> tuple[Sequence[Admitted], Sequence[Delivery] | None]:
        """Return items with their deliveries or, where all is plain, its deliveries alone."""
        after_us = self._frontier_us
        plain = None if expired or self._calls.suspects else self._admission.plain(fresh, after_us)
        if plain is not None:
            return (), plain
        admitted = self._admission.admit(fresh, expired, due_us, after_us=after_us, read_us=read_us)
        return await self._leaving.sort_out(admitted), None

    def _advanced(self, to_us: int) -> None:
        self._room.set()
        self._journal.note_commit()
        self.letters.note_commit()
        self._watermarks.advance(self.service.name, to_us)

    def _count(self, handled: int) -> None:
        self.handled += handled

    def _watch(self) -> Awaitable[None]:
        return watch(
            self._platform.state,
            self._lease,
            self._platform.clock,
            self._calls.lanes,
            lease_seconds=self._options.lease_seconds,
            timeout_seconds=min((h.timeout_seconds for h in self.service.handlers), default=60.0),
        )
