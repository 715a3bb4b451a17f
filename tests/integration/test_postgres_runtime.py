"""A whole app on PostgreSQL does what it does in memory."""

import asyncio
import random

from tests.servers import Crashes, own_postgres, postgres_url

from tropism import App, Event, Retry, Service, State, View, hours, mean, use
from tropism.adapters.local.clock import SystemClock
from tropism.adapters.memory import MemoryBlobs, MemoryCompute, MemoryStore
from tropism.adapters.postgres import open_postgres
from tropism.core.codec import record_of
from tropism.ports.platform import Platform
from tropism.runtime.inject import Reader
from tropism.runtime.runtime import Runtime, RuntimeOptions

MINUTE_US = 60_000_000


class Paid(Event, type="payments.paid.v1", key="account"):
    account: str
    shop: str
    amount: int


class Flagged(Event, type="flags.flagged.v1", key="account"):
    account: str
    count: int
    shop_mean: float


class Reviewed(Event, type="reviews.reviewed.v1", key="account"):
    account: str
    flags: int


by_shop = View("amounts-by-shop", Paid, by=lambda e: e.shop, window=hours(3), mean=mean(lambda e: e.amount))
fraud = Service("fraud")
review = Service("review")


@fraud.on(Paid, retry=Retry(attempts=3))
async def flag(paid: Paid, count: State[int] = use("count"), shop: Reader = use(by_shop)) -> Flagged | None:
    count.set((count.get() or 0) + 1)
    usual = shop(paid.shop).mean
    if usual is None or paid.amount < 1.5 * usual:
        return None
    return Flagged(account=paid.account, count=count.get(), shop_mean=usual)


@review.on(Flagged)
async def look(flagged: Flagged, flags: State[int] = use("flags")) -> Reviewed:
    flags.set((flags.get() or 0) + 1)
    return Reviewed(account=flagged.account, flags=flags.get())


app = App("payments", services=[fraud, review], views=[by_shop])


def payments(count):
    chance = random.Random(7)
    return [
        (
            n * MINUTE_US,
            Paid(
                account=f"a{chance.randrange(9)}",
                shop=f"s{chance.randrange(4)}",
                amount=chance.randrange(100),
            ),
        )
        for n in range(count)
    ]


async def outcome_on(store, events, disturb=None):
    """Run the app to the end of the events; return all it published, and all it stored."""
    platform = Platform(store.log, store.state, MemoryBlobs(), MemoryCompute(), SystemClock(), store.queue)
    options = RuntimeOptions(live=False, chunk=16, holder="test")
    runtime = Runtime(app.services, platform, types=app.events, options=options)
    records = [
        record_of(event, runtime.codec.encode(event), id=f"{n:05}", time_us=time_us)
        for n, (time_us, event) in enumerate(events)
    ]
    await runtime.start()
    half = len(records) // 2
    for start, stop in ((0, half), (half, len(records))):
        for at in range(start, stop, 20):
            await store.log.append(records[at : min(at + 20, stop)])
        end_us = events[stop - 1][0] + 1
        runtime.watermarks.advance_sources(end_us)
        waits = asyncio.ensure_future(runtime.wait_until(end_us))
        if disturb is not None and start == 0:
            await disturb()
        async with asyncio.timeout(120):
            await waits
    await runtime.stop(drain_seconds=5)
    return await everything(store)


async def everything(store):
    ends = await store.log.ends(["payments", "flags", "reviews"])
    pages = await store.log.read(dict.fromkeys(ends, 0), count_max=10_000)
    published = [
        (partition, stored.known_us, stored.record) for partition, page in pages.items() for stored in page
    ]
    state = {
        name: [(entry.key, entry.value) for entry in await store.state.scan(name, count_max=10_000)]
        for name in ("fraud/state/count", "review/state/flags")
    }
    return sorted(published, key=repr), state


async def in_memory(events):
    return await outcome_on(MemoryStore(), events)


def test_the_same_outputs_as_in_memory():
    """Published events, their ids and causes, and the state are those of the same run in memory."""
    events = payments(400)

    async def on_postgres():
        store = await open_postgres(postgres_url())
        try:
            return await outcome_on(store, events)
        finally:
            await store.close()

    wanted, found = asyncio.run(in_memory(events)), asyncio.run(on_postgres())
    assert found == wanted
    assert len(wanted[0]) > 450
    assert all(wanted[1].values())


def test_the_same_outputs_when_the_server_crashes():
    """A crash of the server in the middle changes nothing of it."""
    events = payments(400)

    async def on_postgres(server):
        store = await open_postgres(postgres_url(server))

        async def crash():
            await asyncio.to_thread(Crashes(server).stop)
            await asyncio.to_thread(Crashes(server).start)

        try:
            return await outcome_on(store, events, crash)
        finally:
            await store.close()

    wanted = asyncio.run(in_memory(events))
    with own_postgres() as server:
        assert asyncio.run(on_postgres(server)) == wanted
