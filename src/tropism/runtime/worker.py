"""One service at work: takes events in, has them handled, and commits what came of it."""

import asyncio
from collections.abc import Awaitable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import msgspec

from tropism.core.codec import Codec, record_of
from tropism.core.errors import UnavailableError
from tropism.core.time import MICROSECONDS, to_us
from tropism.ports.log import Partition
from tropism.ports.platform import Platform
from tropism.ports.state import Entry, Lease, Position
from tropism.runtime.admission import Admission, Admitted, source_topic
from tropism.runtime.call import Caller, namespace_of
from tropism.runtime.commit import Committer, resource_namespace
from tropism.runtime.cursor import Cursor, Progress, name_of
from tropism.runtime.dead import DeadLetter, redrive_topic, write_of
from tropism.runtime.handler import Expired, Handler
from tropism.runtime.inject import Resource, Site
from tropism.runtime.intake import Intake
from tropism.runtime.lanes import Lanes
from tropism.runtime.service import Service
from tropism.runtime.tables import Tables
from tropism.runtime.values import Values
from tropism.runtime.view import View
from tropism.runtime.watermarks import FOREVER_US, Watermarks
from tropism.runtime.work import Delivery, Item


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """Bounds of a worker, and where event time begins."""

    holder: str = "worker"
    lease_seconds: float = 15.0
    chunk: int = 1024
    in_flight_max: int = 4096
    start_us: int = 0
    ignore_unknown: bool = False


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
        self.dead = 0
        self.is_open = False
        self._platform = platform
        self._codec = codec
        self._watermarks = watermarks
        self._options = options
        self._live = watermarks.live
        self._now_us = platform.clock.now_us if watermarks.live else None
        self._stopping = asyncio.Event()
        self._room = asyncio.Event()
        self._frontier_us = options.start_us - 1
        self._suspects = 0
        self._ttls = {
            injection.source: injection.ttl
            for handler in service.handlers
            for injection in handler.injections
            if isinstance(injection.source, str) and injection.ttl is not None
        }

    # -- starting ---------------------------------------------------------------------------------

    async def start(self) -> None:
        """Take the lease, and take back where the service stood. Raises: ConflictError if it is held."""
        lease, position = await self._platform.state.acquire(
            self.service.name, self._options.holder, lease_seconds=self._options.lease_seconds
        )
        cursor = Cursor() if position.cursor is None else msgspec.msgpack.decode(position.cursor, type=Cursor)
        if not lease.clean:
            # The process before died with events in flight: one of them may be why. Take them singly.
            self._suspects = self._options.chunk
        await self._open(lease, cursor, position)

    async def _open(self, lease: Lease, cursor: Cursor, position: Position) -> None:
        platform, name = self._platform, self.service.name
        self._lease, self._cursor = lease, cursor
        self._values = Values(platform.state)
        self._tables = Tables(name, self.service.views, platform.state)
        await self._tables.load()
        self._progress: dict[Partition, Progress] = {}
        await self._open_intakes()
        self._opened = {r.name: await r.open(self._site(r)) for r in resources_of(self.service.handlers)}
        start_us = self._frontier_us if position.watermark_us is None else position.watermark_us
        self._frontier_us = max(self._frontier_us, start_us)
        self._committer = Committer(
            name,
            lease,
            platform=platform,
            codec=self._codec,
            cursor=cursor,
            progress=self._progress,
            tables=self._tables,
            values=self._values,
            opened=self._opened,
            advance=self._advanced,
            live=self._live,
            start_us=self._frontier_us,
        )
        self._admission = Admission(
            self.service,
            codec=self._codec,
            tables=self._tables,
            progress=self._progress,
            cursor=cursor,
            now_us=self._now_us,
            ignore_unknown=self._options.ignore_unknown,
        )
        self._caller = Caller(
            name,
            codec=self._codec,
            values=self._values,
            tables=self._tables.tables,
            opened=self._opened,
            now_us=self._now_us,
        )
        self._lanes = Lanes(
            self._caller.call,
            platform.clock,
            finished=self._finished,
            failed=self._failed,
            given_up=self._given_up,
        )
        self._watermarks.advance(name, self._frontier_us)
        self.is_open = True

    async def _open_intakes(self) -> None:
        topics = topics_of(self.service)
        ends = await self._platform.log.ends([*topics, *side_topics_of(self.service)])
        mine = [partition for partition in ends if partition[0] in topics]
        aside = [partition for partition in ends if partition[0] not in topics]
        for partition in mine:
            where = name_of(partition)
            low = self._cursor.offsets.get(where, 0)
            self._progress[partition] = Progress(low, self._cursor.done.get(where, []))
            self._tables.offsets[partition] = self._cursor.views.get(where, 0)
        for partition in aside:
            self._tables.offsets[partition] = self._cursor.views.get(name_of(partition), 0)
        offsets = {partition: self._progress[partition].low for partition in mine}
        self._intake = Intake(self._platform.log, offsets, chunk=self._options.chunk)
        beside = {partition: self._tables.offsets[partition] for partition in aside}
        self._side = Intake(self._platform.log, beside, chunk=self._options.chunk)

    def _site(self, resource: Resource) -> Site:
        state, namespace = self._platform.state, resource_namespace(self.service.name, resource.name)

        async def stored(key: str) -> bytes | None:
            return (await state.get(namespace, [key]))[0]

        return Site(self.service.name, self._live, self._platform, self._tables.reader, stored)

    # -- running ----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Work until stopped. Raises: FencedError if another worker took over."""
        tasks = [
            asyncio.ensure_future(task) for task in (self._admit_all(), self._committer.run(), self._watch())
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def drain(self, seconds: float) -> None:
        """Stop taking events in, finish those in flight within a bound, and return.

        What is unfinished then stays unacknowledged.
        """
        self._stopping.set()
        clock = self._platform.clock
        patience = asyncio.ensure_future(clock.sleep(seconds))
        settled = asyncio.ensure_future(self._committer.wait_settled())
        await asyncio.wait((patience, settled), return_when=asyncio.FIRST_COMPLETED)
        for task in (patience, settled):
            task.cancel()

    async def close(self) -> None:
        """Give up what is in flight, and the lease."""
        self.is_open = False
        clean = not self._committer.in_flight
        await self._lanes.abandon()
        if clean:
            await self._platform.state.release(self._lease)

    async def _admit_all(self) -> None:
        while not self._stopping.is_set():
            changed = self._watermarks.change
            ends = {**self._intake.ends, **self._side.ends}
            await self._wait_for_room()
            if not await self._admit():
                await self._wait_for_more(changed, ends)
        await asyncio.Event().wait()

    async def _wait_for_room(self) -> None:
        while self._committer.in_flight >= self._options.in_flight_max:
            self._room.clear()
            await self._room.wait()

    async def _wait_for_more(self, changed: asyncio.Event, ends: dict[Partition, int]) -> None:
        waits: list[asyncio.Future[object]] = [
            asyncio.ensure_future(self._stopping.wait()),
            asyncio.ensure_future(changed.wait()),
        ]
        if self._live:
            waits.append(asyncio.ensure_future(_wait(self._platform.log.wait_beyond(ends))))
            waits.append(asyncio.ensure_future(_wait(self._platform.clock.sleep(self._until_tick()))))
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in done:
                wait.result()
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    def _until_tick(self) -> float:
        due_us = self._admission.next_tick_us()
        longest = 1.0 if self._ttls else 60.0
        if due_us is None:
            return longest
        return min(longest, max(0.01, (due_us - self._platform.clock.now_us()) / MICROSECONDS))

    def _bound_us(self) -> int:
        """Return the moment up to which everything this service reads is in the log."""
        main_us = min(
            (self._watermarks.topic(topic) for topic in topics_of(self.service)), default=FOREVER_US
        )
        lead_us, longest_us = FOREVER_US, 0
        for view in self.service.views:
            for kind in view.on:
                lead_us = min(lead_us, self._watermarks.topic(kind.event_topic) + view.allowance_us)
                longest_us = max(longest_us, view.allowance_us)
        if lead_us < main_us and lead_us - self._frontier_us < longest_us // 2:
            # Whoever we wait for waits for us too: in half-allowance strides, the two take few steps.
            return self._frontier_us
        bound_us = min(main_us, lead_us)
        if self._ttls:
            # What is stored in one step must not expire in the same one.
            bound_us = min(bound_us, self._frontier_us + to_us(min(self._ttls.values())))
        return bound_us

    async def _admit(self) -> bool:
        """Let the next chunk in, and say whether there was anything to do."""
        bound_us = FOREVER_US if self._live else self._bound_us()
        if not self._live and bound_us <= self._frontier_us:
            return False
        await self._feed_side()
        count_max = 1 if self._suspects else self._options.chunk
        arrivals, until_us = await self._intake.take(bound_us, count_max)
        if self._live:
            until_us = self._platform.clock.now_us()
            if self._cursor.first_us is None:
                self._cursor.first_us = until_us
        expired = await self._expired(until_us) if self._ttls else []
        admitted = self._admission.admit(arrivals, expired, until_us)
        for partition, progress in self._progress.items():
            self._tables.offsets[partition] = progress.taken
        await self._load_states(admitted)
        await self._start_calls(admitted, until_us, touched=bool(arrivals))
        moved = until_us > self._frontier_us
        self._frontier_us = max(self._frontier_us, until_us)
        return bool(arrivals or expired) or (moved and not self._live)

    async def _feed_side(self) -> None:
        """Feed views with an allowance with all there is: ``at`` says from when each event counts."""
        if not self._side.ends:
            return
        while True:
            arrivals, _ = await self._side.take(FOREVER_US, self._options.chunk)
            for _, _, partition, stored in arrivals:
                if self._tables.wants(stored.record.type):
                    self._tables.feed(partition, stored, self._codec.decode(stored.record))
                self._tables.offsets[partition] = stored.offset + 1
            if not arrivals:
                return

    async def _expired(self, until_us: int) -> list[tuple[str, Entry]]:
        if not self._live:
            # What is in flight may yet delete or renew what looks expired.
            await self._committer.wait_settled()
        found: list[tuple[str, Entry]] = []
        for state in self._ttls:
            namespace = namespace_of(self.service.name, state)
            entries = await self._platform.state.scan(
                namespace, expires_before_us=until_us + 1, count_max=1_000_000
            )
            found.extend((state, e) for e in entries if not self._values.is_pending(namespace, e.key))
        return found

    async def _load_states(self, admitted: Sequence[Admitted]) -> None:
        wanted: dict[str, list[str]] = {}
        for item, deliveries in admitted:
            if isinstance(item.envelope.data, Expired):
                wanted.setdefault(item.envelope.data.state, []).append(item.envelope.subject)
            for delivery in deliveries:
                for injection in delivery.handler.injections:
                    if isinstance(injection.source, str):
                        wanted.setdefault(injection.source, []).append(item.envelope.subject)
        for state, keys in wanted.items():
            await self._values.load(namespace_of(self.service.name, state), keys)

    # -- calling ----------------------------------------------------------------------------------

    async def _start_calls(self, admitted: Sequence[Admitted], until_us: int, *, touched: bool) -> None:
        start = 0
        for index, (item, deliveries) in enumerate(admitted):
            alone = item.tick is not None and not self._live
            once = any(d.handler.guarantee == "at_most_once" for d in deliveries)
            if not (alone or once or (self._suspects and deliveries)):
                continue
            self._add(admitted[start:index], item.order_us - 1, touched=touched)
            await self._committer.wait_settled()
            await self._start_alone(item, deliveries, once=once)
            start = index + 1
        self._add(admitted[start:], until_us, touched=touched)

    def _add(self, admitted: Sequence[Admitted], until_us: int, *, touched: bool) -> None:
        self._committer.admit([item for item, _ in admitted], until_us, touched=touched)
        self._lanes.add([d for _, deliveries in admitted for d in deliveries if not self._is_spent(d)])

    async def _start_alone(self, item: Item, deliveries: tuple[Delivery, ...], *, once: bool) -> None:
        """Handle one item with nothing else in flight, and commit it."""
        if once:
            # At most once: past it first, then the call; whatever becomes of it, it is not repeated.
            passed = Item(item.envelope, item.order_us, item.as_of_us, item.place)
            passed.sequence = item.sequence
            self._committer.admit([passed], item.order_us - 1, touched=True)
            await self._committer.wait_settled()
            item.place = None
            for delivery in deliveries:
                delivery.attempts = delivery.handler.retry.attempts - 1
        elif self._suspects:
            await self._charge(deliveries)
        self._add([(item, deliveries)], item.order_us - 1, touched=True)
        await self._committer.wait_settled()

    async def _charge(self, deliveries: tuple[Delivery, ...]) -> None:
        """Count the attempt before it is made, durably: if it kills the process, it has been counted."""
        self._suspects -= 1
        for delivery in deliveries:
            if delivery.name is not None and delivery.attempts < delivery.handler.retry.attempts:
                delivery.attempts += 1
                delivery.charged = True
                self._cursor.attempts[delivery.name] = delivery.attempts
                self._cursor.trial = delivery.name
        self._committer.touch()
        await self._committer.wait_settled()

    def _is_spent(self, delivery: Delivery) -> bool:
        """Give up on an event whose attempts were used up before a restart."""
        if delivery.charged or delivery.attempts < delivery.handler.retry.attempts:
            return False
        error = UnavailableError(
            f"Cannot finish handler {delivery.handler.name!r}: {delivery.attempts} attempts were used up, "
            f"the last of them when the process died while handling this event alone. "
            f"Mend the handler, then redrive the event."
        )
        self._given_up(delivery, error)
        return True

    def _finished(self, delivery: Delivery) -> None:
        self.handled += 1
        self._close_call(delivery)

    def _failed(self, delivery: Delivery, _: Exception) -> None:
        if delivery.name is not None:
            self._cursor.attempts[delivery.name] = delivery.attempts
            self._committer.touch()

    def _given_up(self, delivery: Delivery, error: Exception) -> None:
        self.dead += 1
        item = delivery.item
        item.writes.append(write_of(self._letter(delivery, error)))
        self._close_call(delivery)

    def _letter(self, delivery: Delivery, error: Exception) -> DeadLetter:
        item = delivery.item
        envelope = item.envelope
        record = item.record or record_of(
            envelope.data, self._codec.encode(envelope.data), id=envelope.id, time_us=envelope.time_us
        )
        return DeadLetter(
            id=f"{envelope.id}/{delivery.handler.name}",
            service=self.service.name,
            handler=delivery.handler.name,
            cause=f"{type(error).__name__}: {error}",
            history=delivery.errors,
            attempts=delivery.attempts,
            failed_us=self._platform.clock.now_us(),
            record=record,
        )

    def _close_call(self, delivery: Delivery) -> None:
        delivery.item.open_calls -= 1
        if not delivery.item.open_calls:
            self._committer.poke()

    def _advanced(self, to_us: int) -> None:
        self._room.set()
        self._watermarks.advance(self.service.name, to_us)

    async def _watch(self) -> None:
        """Keep the lease, and cancel calls that hang."""
        await asyncio.gather(self._keep_lease(), self._watch_calls())

    async def _keep_lease(self) -> None:
        seconds = self._options.lease_seconds
        while True:
            await self._platform.clock.sleep(seconds / 3)
            with suppress(UnavailableError):
                await self._platform.state.renew(self._lease, lease_seconds=seconds)

    async def _watch_calls(self) -> None:
        pause = min((h.timeout_seconds for h in self.service.handlers), default=60.0) / 4
        while True:
            self._lanes.started.clear()
            if not self._lanes.running:
                await self._lanes.started.wait()
            await self._platform.clock.sleep(pause)
            self._lanes.cancel_overdue()


async def _wait(done: Awaitable[None]) -> object:
    await done
    return None


def topics_of(service: Service) -> list[str]:
    """Return the topics that a service takes events from in order of time."""
    topics = {redrive_topic(service.name)}
    for handler in service.handlers:
        if handler.every is None and handler.expires is None:
            topics.update(source_topic(handler, kind.event_topic) for kind in handler.events)
    for view in service.views:
        if not view.allowance_us:
            topics.update(kind.event_topic for kind in view.on)
    return sorted(topics)


def side_topics_of(service: Service) -> list[str]:
    """Return the topics of views with an allowance alone, which need no order among the others."""
    topics = {kind.event_topic for view in service.views if view.allowance_us for kind in view.on}
    return sorted(topics.difference(topics_of(service)))


def resources_of(handlers: Iterable[Handler]) -> list[Resource]:
    """Return what handlers are given beside views and state, each once."""
    found = {
        injection.source.name: injection.source
        for handler in handlers
        for injection in handler.injections
        if not isinstance(injection.source, View | str)
    }
    return list(found.values())
