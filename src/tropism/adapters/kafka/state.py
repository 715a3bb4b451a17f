"""State on a Kafka cluster: one compacted topic, and a transaction for each commit."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
from confluent_kafka import Consumer, KafkaException, Producer

from tropism.adapters.kafka.appending import Outgoing
from tropism.adapters.kafka.changes import TOPIC, Changes, Holding, entry_message, holding_message
from tropism.adapters.kafka.errors import error_of
from tropism.adapters.kafka.follower import Follower
from tropism.adapters.kafka.session import Session, UnknownOutcomeError
from tropism.adapters.leases import held_error, lost_error
from tropism.core.envelope import Record
from tropism.core.errors import FencedError, UnavailableError
from tropism.core.time import MICROSECONDS
from tropism.ports.clock import Clock
from tropism.ports.log import Partition
from tropism.ports.state import Commit, Entry, Lease, Position, Write

T = TypeVar("T")


class KafkaState:
    """A ``State`` whose commits and outputs are one transaction of Kafka.

    Each process keeps all of it in memory and reads the topic to its end before it answers: it is meant
    for services that keep little beside where they stand. Kafka itself fences, by the consumer's name as
    transactional id; leases end by the clocks of their holders, which says only who may try.
    """

    def __init__(
        self,
        *,
        commit_domain: str,
        topic: str,
        clock: Clock,
        prepare: Callable[[], Awaitable[None]],
        consumer: Callable[[str], Consumer],
        producer: Callable[[str], Producer],
        outgoing: Callable[[Sequence[Record]], Awaitable[list[Outgoing]]],
        stored: Callable[[Mapping[Partition, int]], None],
        translated: Callable[[KafkaException, str], Exception],
        timeout_seconds: float,
    ) -> None:
        self._commit_domain = commit_domain
        self._topic = topic
        self._clock = clock
        self._prepare = prepare
        self._producer = producer
        self._outgoing = outgoing
        self._stored = stored
        self._translated = translated
        self._seconds = timeout_seconds
        self._changes = Changes()
        self._consumer = consumer
        self._follower: Follower | None = None
        self._held: dict[str, _Held] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._reading = asyncio.Lock()
        self._threads = ThreadPoolExecutor(16, "tropism-kafka-state")

    @property
    def commit_domain(self) -> str:
        """The store whose transactions these commits are."""
        return self._commit_domain

    async def get(self, namespace: str, keys: Sequence[str]) -> Sequence[bytes | None]:
        """Return the values of keys, None where there is none, in the order asked."""
        await self._catch_up()
        entries = self._changes.entries(namespace).entries
        found = (entries.get(key) for key in keys)
        return [None if entry is None else entry.value for entry in found]

    async def scan(
        self,
        namespace: str,
        *,
        prefix: str = "",
        after: str | None = None,
        expires_before_us: int | None = None,
        count_max: int = 1000,
    ) -> Sequence[Entry]:
        """Return a page of entries by key prefix, after a key, or expiring before an instant."""
        await self._catch_up()
        return self._changes.entries(namespace).page(prefix, after, expires_before_us, count_max)

    async def acquire(self, consumer: str, holder: str, *, lease_seconds: float) -> tuple[Lease, Position]:
        """Take the lease of a consumer, and return where it stands."""
        return await self._alone(consumer, self._acquire(consumer, holder, lease_seconds))

    async def renew(self, lease: Lease, *, lease_seconds: float) -> None:
        """Keep a lease."""
        await self._alone(lease.consumer, self._renew(lease, lease_seconds))

    async def release(self, lease: Lease) -> None:
        """Give a lease back, cleanly; without effect where it was lost."""
        await self._alone(lease.consumer, self._release(lease))

    async def commit(self, commit: Commit) -> None:
        """Apply one step of a consumer, and keep its lease."""
        outputs = await self._outgoing(commit.outputs) if commit.outputs else []
        await self._alone(commit.lease.consumer, self._commit(commit, outputs))

    async def positions(self) -> Sequence[tuple[str, Position]]:
        """Return every consumer's name and position, in order of name."""
        await self._catch_up()
        return [(name, held.position) for name, held in sorted(self._changes.holdings.items())]

    async def close(self) -> None:
        """Give the connections back."""
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._held.clear()
        async with self._reading:
            if self._follower is not None:
                await asyncio.get_running_loop().run_in_executor(self._threads, self._follower.close)
        self._threads.shutdown(wait=False)

    # -- one at a time for a consumer -------------------------------------------------------------

    async def _alone(self, consumer: str, work: Coroutine[Any, Any, T]) -> T:
        """Do what changes a consumer, with nothing beside it, and to its end even where that is cancelled."""
        task = asyncio.get_running_loop().create_task(self._locked(consumer, work))
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    async def _locked(self, consumer: str, work: Coroutine[Any, Any, T]) -> T:
        async with self._locks.setdefault(consumer, asyncio.Lock()):
            return await work

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # whoever asked may have gone

    async def _acquire(self, consumer: str, holder: str, lease_seconds: float) -> tuple[Lease, Position]:
        await self._catch_up()
        self._check_free(consumer, holder)
        what = f"acquire consumer {consumer!r} in"
        session = await self._run(what, Session, lambda: self._producer(consumer), self._seconds)
        # Whoever was in the middle of a commit is through or fenced: now it is known how it ended.
        await self._catch_up()
        before = self._check_free(consumer, holder)
        now_us = self._clock.now_us()
        until_us = now_us + int(lease_seconds * MICROSECONDS)
        token = before.token + 1
        holding = Holding(
            token, holder, lease_seconds, until_us, False, 0, before.cursor, before.watermark_us
        )
        try:
            await self._apply(session, consumer, holding)
        except (FencedError, UnknownOutcomeError) as error:
            raise held_error(consumer, holder, "another", lease_seconds) from error
        self._held[consumer] = _Held(session, holding)
        return Lease(consumer, token, before.clean), holding.position

    async def _renew(self, lease: Lease, lease_seconds: float) -> None:
        held = await self._check(lease)
        await self._move(held, lease, self._kept(held.holding, lease_seconds))

    async def _release(self, lease: Lease) -> None:
        try:
            held = await self._check(lease)
            await self._move(held, lease, _changed(held.holding, clean=True, until_us=0))
        except FencedError:
            return
        del self._held[lease.consumer]

    async def _commit(self, commit: Commit, outputs: Sequence[Outgoing]) -> None:
        lease, position = commit.lease, commit.position
        held = await self._check(lease)
        holding = self._kept(held.holding, held.holding.seconds)
        holding = _changed(holding, cursor=position.cursor, watermark_us=position.watermark_us)
        await self._move(held, lease, holding, commit.writes, outputs)

    # -- leases -----------------------------------------------------------------------------------

    def _check_free(self, consumer: str, holder: str) -> Holding:
        holding = self._changes.holding(consumer)
        if not holding.clean and holding.until_us > self._clock.now_us() and holding.holder != holder:
            raise held_error(consumer, holder, holding.holder, holding.seconds)
        return holding

    async def _check(self, lease: Lease) -> "_Held":
        """Return what a lease holds, with a producer that is at rest. Raises: FencedError."""
        held = self._held.get(lease.consumer)
        if held is None or held.holding.token != lease.token:
            raise await self._lost(lease)
        if held.session.is_unclear:
            # Opening anew fences whoever has that name: not one who has the lease by right.
            await self._catch_up()
            if self._changes.holding(lease.consumer).token != lease.token:
                raise await self._lost(lease)
            await self._run(f"commit for consumer {lease.consumer!r} in", held.session.open_anew)
            await self._catch_up()
            held.holding = self._changes.holding(lease.consumer)
            if held.holding.token != lease.token or held.holding.clean:
                raise await self._lost(lease)
        return held

    async def _lost(self, lease: Lease) -> FencedError:
        held = self._held.get(lease.consumer)
        if held is not None and held.holding.token == lease.token:
            del self._held[lease.consumer]
        await self._catch_up()
        return lost_error(lease, self._changes.holding(lease.consumer).token)

    def _kept(self, holding: Holding, seconds: float) -> Holding:
        until_us = self._clock.now_us() + int(seconds * MICROSECONDS)
        return _changed(holding, seconds=seconds, until_us=until_us)

    async def _move(
        self,
        held: "_Held",
        lease: Lease,
        holding: Holding,
        writes: Sequence[Write] = (),
        outputs: Sequence[Outgoing] = (),
    ) -> None:
        """Store a step, numbered: whether it was stored can then be told though no answer came."""
        holding = _changed(holding, commit=held.holding.commit + 1)
        try:
            await self._apply(held.session, lease.consumer, holding, writes, outputs)
        except UnknownOutcomeError as error:
            if (await self._check(lease)).holding.commit != holding.commit:
                raise UnavailableError(
                    f"Cannot commit for consumer {lease.consumer!r}: the brokers gave no answer, and undid "
                    f"it. Try again."
                ) from error
        except FencedError:
            raise await self._lost(lease) from None
        held.holding = holding

    async def _apply(
        self,
        session: Session,
        consumer: str,
        holding: Holding,
        writes: Sequence[Write] = (),
        outputs: Sequence[Outgoing] = (),
    ) -> None:
        """Raises: FencedError, UnknownOutcomeError, or that it cannot be done now."""
        messages = [*(entry_message(write) for write in writes), holding_message(consumer, holding)]
        ours = [Outgoing(self._topic, (TOPIC, 0), message) for message in messages]
        loop = asyncio.get_running_loop()
        try:
            ends = await loop.run_in_executor(self._threads, session.apply, [*outputs, *ours])
        except KafkaException as error:
            known = error_of(error)
            if known is not None and known.fatal():
                raise FencedError(f"Cannot commit for consumer {consumer!r}: {known.name()}.") from error
            raise self._translated(error, f"commit for consumer {consumer!r} in") from error
        except BufferError as error:
            raise UnavailableError(
                f"Cannot commit for consumer {consumer!r}: the brokers take nothing. It is tried again."
            ) from error
        self._stored(ends)

    # -- reading ----------------------------------------------------------------------------------

    async def _catch_up(self) -> None:
        async with self._reading:
            if self._follower is None:
                await self._prepare()
            reading = asyncio.ensure_future(self._run(f"read topic {TOPIC!r} of", self._read))
            try:
                await asyncio.shield(reading)
            except asyncio.CancelledError:
                # Its thread goes on: nobody may read beside it.
                await asyncio.wait((reading,))
                raise

    def _read(self) -> None:
        if self._follower is None:
            self._follower = Follower(self._consumer, self._topic, self._changes.apply, self._seconds)
        self._follower.catch_up()

    async def _run(self, what: str, call: Callable[..., T], *arguments: Any) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, call, *arguments)
        except KafkaException as error:
            raise self._translated(error, what) from error


@dataclass(slots=True)
class _Held:
    """A lease of this process: what commits for it, and what its consumer's message says."""

    session: Session
    holding: Holding


def _changed(holding: Holding, **changes: Any) -> Holding:
    return msgspec.structs.replace(holding, **changes)
