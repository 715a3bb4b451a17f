"""One service in several workers: every key in exactly one of them, also while they change."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tropism import Event, Service, State, View, total, use
from tropism.adapters.local.clock import SystemClock
from tropism.adapters.memory import MemoryCompute, MemoryStore
from tropism.core.codec import Codec, record_of
from tropism.core.envelope import Record
from tropism.core.errors import ConflictError, InvalidInputError, NotSupportedError
from tropism.ports.platform import Platform
from tropism.ports.state import Commit, Lease, Position, Write
from tropism.runtime.dividing import divide
from tropism.runtime.handler import Tick
from tropism.runtime.inject import use as inject
from tropism.runtime.runtime import Runtime, RuntimeOptions
from tropism.runtime.shares import Share, plan_of
from tropism.runtime.view import Reader
from tropism.testing.checks import settle

KEYS = [f"k{n}" for n in range(23)]


class Asked(Event, type="asks.asked.v1", key="who"):
    who: str
    number: int


class Told(Event, type="tells.told.v1", key="who"):
    who: str


class Answered(Event, type="answers.answered.v1", key="who"):
    who: str
    number: int
    count: int


def counting(name: str = "counting") -> Service:
    """A service that numbers what comes under each key, of two topics."""
    service = Service(name)

    @service.on(Asked)
    async def answer(event: Asked, seen: State[int] = use("seen")) -> Answered:
        await asyncio.sleep(0)
        count = (seen.get() or 0) + 1
        seen.set(count)
        return Answered(who=event.who, number=event.number, count=count)

    @service.on(Told)
    async def told(event: Told, seen: State[int] = use("seen")) -> None:
        seen.set((seen.get() or 0) + 100)

    return service


def platform_of(store: MemoryStore) -> Platform:
    return Platform(store.log, store.state, store.blobs, MemoryCompute(), SystemClock(), store.queue)


async def publish(store: MemoryStore, *events: Event) -> None:
    codec = Codec([Asked, Told])
    there = sum((await store.log.ends(["asks", "tells"])).values())
    records: list[Record] = [
        record_of(event, codec.encode(event), id=f"e{there + n}", time_us=there + n)
        for n, event in enumerate(events)
    ]
    await store.log.append(records)


async def answers(store: MemoryStore) -> list[Answered]:
    codec = Codec([Answered])
    ends = await store.log.ends(["answers"])
    pages = await store.log.read(dict.fromkeys(ends, 0), count_max=100_000)
    return [codec.decode(stored.record) for page in pages.values() for stored in page]


@asynccontextmanager
async def workers(
    store: MemoryStore, service: Callable[[], Service], count: int
) -> AsyncIterator[list[Runtime]]:
    """So many workers of a service at work, each a runtime of its own."""
    platform = platform_of(store)
    await divide(platform, service(), count, holder="here")
    found = [
        Runtime(
            [service()],
            platform,
            types=[Asked, Told, Answered],
            options=RuntimeOptions(share=(n, count), holder=f"worker-{n}", lease_seconds=0.5),
        )
        for n in range(count)
    ]
    for runtime in found:
        await runtime.start()
    try:
        yield found
    finally:
        for runtime in found:
            await runtime.stop()


async def answered(store: MemoryStore, count: int) -> list[Answered]:
    """Wait for so many answers, and a little longer for one too many."""
    while len(found := await answers(store)) < count:  # noqa: ASYNC110 (what is waited for lies in a log)
        await asyncio.sleep(0)
    await settle()
    return found


async def untold(store: MemoryStore) -> bool:
    found = await store.state.get("counting/state/seen", KEYS)
    return any(value is None or msgspec.msgpack.decode(value) < 100 for value in found)


def asked(times: int) -> list[Event]:
    return [Asked(who=KEYS[n % len(KEYS) if n % 3 else 0], number=n) for n in range(times)]


@pytest.mark.parametrize("tells", [4, 3], ids=["as many partitions", "another number"])
def test_every_event_is_handled_once_however_many_workers_there_are(tells: int) -> None:
    """Numbers per key go on without a gap from one worker to two, to three, and back to one."""

    async def main() -> None:
        store = MemoryStore()
        await store.log.create_topics({"asks": 4, "tells": tells})
        wanted = 0
        for count in (1, 2, 3, 1):
            await publish(store, *asked(200))
            wanted += 200
            async with workers(store, counting, count):
                await publish(store, *asked(100))
                wanted += 100
                await answered(store, wanted)
            found = await answers(store)
            assert len(found) == wanted
            per_key = Counter(each.who for each in found)
            for who, times in per_key.items():
                assert sorted(each.count for each in found if each.who == who) == list(range(1, times + 1))
        await publish(store, *(Told(who=key) for key in KEYS))
        async with workers(store, counting, 3):
            while await untold(store):  # noqa: ASYNC110 (what is waited for lies in a store)
                await asyncio.sleep(0)
            await publish(store, *(Asked(who=key, number=0) for key in KEYS))
            await answered(store, wanted + len(KEYS))
        latest = {each.who: each.count for each in await answers(store)}
        assert all(count > 100 for count in latest.values())

    asyncio.run(main())


def test_a_dead_worker_s_share_is_taken_over_and_nothing_is_doubled() -> None:
    """What a worker left when it died is done by the next one on its share, once."""

    async def main() -> None:
        store = MemoryStore()
        await store.log.create_topics({"asks": 4})
        async with workers(store, counting, 2) as (one, _):
            await publish(store, *asked(500))
            await one.abandon()
            await publish(store, *asked(500))
            again = Runtime(
                [counting()],
                platform_of(store),
                types=[Asked, Told, Answered],
                options=RuntimeOptions(share=(0, 2), holder="again", lease_seconds=0.5),
            )
            await again.start()
            await answered(store, 1000)
            await again.stop()
        found = Counter((each.who, each.count) for each in await answers(store))
        assert len(found) == 1000
        assert set(found.values()) == {1}

    asyncio.run(main())


def test_views_are_whole_in_every_worker() -> None:
    """A worker reads what came under keys that are not its own, as it does alone."""
    everything = View("asked", Asked, by=lambda e: "all", n=total(lambda e: 1))

    def reading() -> Service:
        service = Service("reading")

        @service.on(Told)
        async def told(event: Told, asked: Reader = inject(everything)) -> Answered:
            return Answered(who=event.who, number=0, count=int(asked("all").n))

        return service

    async def main() -> None:
        store = MemoryStore()
        await store.log.create_topics({"asks": 4, "tells": 4})
        await publish(store, *(Asked(who=f"x{n}", number=n) for n in range(50)))
        async with workers(store, reading, 2):
            await publish(store, *(Told(who=key) for key in KEYS))
            found = await answered(store, len(KEYS))
        assert [each.count for each in found] == [50] * len(KEYS)

    asyncio.run(main())


def test_a_tick_is_due_in_one_worker() -> None:
    """A periodic handler runs once a period, not once a worker."""

    def ticking() -> Service:
        service = Service("ticking")

        @service.every(timedelta(seconds=1), key="k", emits=(Answered,))
        async def tick(tick: Tick) -> Answered:
            return Answered(who="k", number=tick.time_us, count=1)

        @service.on(Asked)
        async def asked(event: Asked) -> None:
            return None

        return service

    async def main() -> None:
        store = MemoryStore()
        await store.log.create_topics({"asks": 4})
        async with workers(store, ticking, 3):
            await answered(store, 2)
        numbers = [each.number for each in await answers(store)]
        assert len(set(numbers)) == len(numbers)

    asyncio.run(main())


def test_a_service_is_divided_only_when_nobody_is_at_work() -> None:
    """Who still works on the old shares is not overtaken: dividing is refused until it has left."""

    async def main() -> None:
        store = MemoryStore()
        await store.log.create_topics({"asks": 4})
        async with workers(store, counting, 2) as runtimes:
            while not all(runtime.is_idle for runtime in runtimes):  # noqa: ASYNC110 (it is their leases)
                await asyncio.sleep(0)
            with pytest.raises(ConflictError):
                await divide(platform_of(store), counting(), 3, holder="elsewhere")
            assert (await plan_of(store.state, "counting")).count == 2

    asyncio.run(main())


@pytest.mark.parametrize("died", [False, True], ids=["left", "died"])
def test_heirs_of_a_dead_worker_are_as_careful_as_it_would_have_been(died: bool) -> None:
    """One of the events that it had in flight may have killed it: dividing does not make that forgotten."""

    async def main() -> None:
        store = MemoryStore()
        await store.log.create_topics({"asks": 4})
        lease, _ = await store.state.acquire("counting", "worker", lease_seconds=0.0)
        await store.state.commit(Commit(lease, Position(None, 0)))
        if not died:
            await store.state.release(lease)
        plan = await divide(platform_of(store), counting(), 2, holder="here")
        for share in plan.shares():
            heir, _ = await store.state.acquire(share.consumer("counting"), "heir", lease_seconds=1.0)
            assert heir.clean is not died

    asyncio.run(main())


class Overtaking:
    """A state on which a service is divided anew just before its worker takes its lease."""

    def __init__(self, store: MemoryStore) -> None:
        self._store, self._state = store, store.state
        self.divided = False

    def __getattr__(self, name: str) -> object:
        return getattr(self._state, name)

    async def acquire(self, consumer: str, holder: str, *, lease_seconds: float) -> tuple[Lease, Position]:
        if consumer == "counting" and not self.divided:
            self.divided = True
            await divide(platform_of(self._store), counting(), 2, holder="elsewhere")
        return await self._state.acquire(consumer, holder, lease_seconds=lease_seconds)


def test_who_was_overtaken_while_it_started_does_no_work() -> None:
    """A share that was divided meanwhile is nobody's: its worker leaves it, and no event is handled twice."""

    async def main() -> None:
        store = MemoryStore()
        await store.log.create_topics({"asks": 4, "tells": 4})
        await publish(store, *asked(50))
        state = Overtaking(store)
        platform = replace(platform_of(store), state=state)  # type: ignore[arg-type]
        late = Runtime([counting()], platform, options=RuntimeOptions(holder="late", lease_seconds=0.5))
        await late.start()
        while not state.divided:  # noqa: ASYNC110 (its own doing)
            await asyncio.sleep(0)
        async with workers(store, counting, 2):
            assert len(await answered(store, 50)) == 50
            await late.abandon()
        assert len(await answers(store)) == 50

    asyncio.run(main())


def test_what_a_dead_worker_had_not_published_is_published_before_dividing() -> None:
    """Where log and state are apart, outputs left in an outbox find their way, once."""

    async def main() -> None:
        store = MemoryStore(apart=True)
        await store.log.create_topics({"asks": 4, "answers": 4})
        left = Answered(who="k", number=1, count=1)
        record = record_of(left, Codec([Answered]).encode(left), id="a", time_us=1)
        lease, _ = await store.state.acquire("counting", "dead", lease_seconds=0.0)
        entry = Write("counting/outbox", f"{0:020}", msgspec.msgpack.encode(record))
        await store.state.commit(Commit(lease, Position(None, 0), [entry]))
        await store.state.release(lease)
        await divide(platform_of(store), counting(), 2, holder="here")
        assert await answers(store) == [left]
        assert list(await store.state.scan("counting/outbox")) == []
        await divide(platform_of(store), counting(), 3, holder="here")
        assert await answers(store) == [left]

    asyncio.run(main())


def test_what_cannot_be_is_refused() -> None:
    """More workers than partitions, a worker beyond its count, and shares in event time."""
    store = MemoryStore()

    async def main() -> None:
        await store.log.create_topics({"asks": 4, "tells": 4})
        with pytest.raises(InvalidInputError, match="4 partitions"):
            await divide(platform_of(store), counting(), 5, holder="here")

    asyncio.run(main())
    with pytest.raises(InvalidInputError, match="counted from 0"):
        Runtime([counting()], platform_of(store), options=RuntimeOptions(share=(2, 2)))
    with pytest.raises(NotSupportedError, match="in event time"):
        Runtime([counting()], platform_of(store), options=RuntimeOptions(live=False, share=(0, 2)))


@given(st.text(), st.integers(1, 64), st.data())
def test_every_key_is_in_exactly_one_share(key: str, partitions: int, data: st.DataObject) -> None:
    """Shares divide the keys, and go with the partitions."""
    count = data.draw(st.integers(1, partitions))
    shares = [Share(n, count, partitions, 1) for n in range(count)]
    assert sum(share.owns_key(key) for share in shares) == 1
    for number in range(partitions):
        assert sum(bool(share.owns_partition(("t", number), partitions)) for share in shares) == 1
