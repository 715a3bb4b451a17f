"""Journaled steps on PostgreSQL: kept, found again by the next worker, and deleted with the handler's commit."""

import asyncio

import pytest
from tests.servers import postgres_url

from tropism import Event, Retry, Service, Steps, seconds
from tropism.adapters.local.clock import SystemClock
from tropism.adapters.memory import MemoryBlobs, MemoryCompute
from tropism.adapters.postgres import open_postgres
from tropism.core.codec import Codec, record_of
from tropism.core.errors import FencedError
from tropism.ports.platform import Platform
from tropism.ports.state import Commit, Position
from tropism.runtime.runtime import Runtime, RuntimeOptions
from tropism.testing.log import read_all


class Ordered(Event, type="orders.ordered.v1", key="who"):
    who: str


class Paid(Event, type="payments.paid.v1", key="who"):
    who: str
    receipt: str


def shop(calls, failing, reached):
    service = Service("shop")

    async def charge(who: str, idempotency_key: str = "") -> str:
        calls.append((who, idempotency_key))
        return f"receipt of {who}"

    @service.on(Ordered, retry=Retry(attempts=2, first=seconds(0)))
    async def pay(order: Ordered, steps: Steps) -> Paid:
        receipt = await steps.run("charge", charge, order.who)
        if failing:
            reached.set()
            await asyncio.Event().wait()
        return Paid(who=order.who, receipt=receipt)

    return service


async def paid_in(store):
    pages = (await read_all(store.log, "payments")).values()
    return [Codec([Paid]).decode(stored.record) for page in pages for stored in page]


def test_the_next_worker_finds_what_steps_gave():
    """A worker dies after its steps; the one that takes over repeats none, and leaves no rows."""

    async def main():
        url = postgres_url()
        store = await open_postgres(url)
        calls, failing, reached = [], [True], asyncio.Event()
        platform = Platform(
            store.log, store.state, MemoryBlobs(), MemoryCompute(), SystemClock(), store.queue
        )
        options = RuntimeOptions(holder="test", chunk=64)
        first = Runtime([shop(calls, failing, reached)], platform, options=options)
        await first.start()
        codec, orders = Codec([Ordered]), [Ordered(who=f"{n:02}") for n in range(20)]
        records = [
            record_of(o, codec.encode(o), id=f"o-{o.who}", time_us=n + 1) for n, o in enumerate(orders)
        ]
        await store.log.append(records)
        while len(await store.state.scan("shop/steps")) < 20:  # noqa: ASYNC110 (as the store says it)
            await asyncio.sleep(0.01)
        lost = first.workers["shop"]._lease
        await first.abandon()
        failing.clear()
        second = Runtime([shop(calls, failing, reached)], platform, options=options)
        await second.start()
        while len(await paid_in(store)) < 20:  # noqa: ASYNC110 (as above)
            await asyncio.sleep(0.01)
        with pytest.raises(FencedError):
            await store.state.commit(Commit(lost, Position()))
        await second.stop()
        assert sorted(p.receipt for p in await paid_in(store)) == [f"receipt of {n:02}" for n in range(20)]
        assert len(calls) == len({key for _, key in calls}) == 20
        assert await store.state.scan("shop/steps") == []
        await store.close()

    asyncio.run(asyncio.wait_for(main(), 120))
