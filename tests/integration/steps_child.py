"""A program that runs journaled steps on a database file until it is killed."""

import asyncio
import sys

from tropism import Event, Service, Steps
from tropism.adapters.local.clock import SystemClock
from tropism.adapters.memory import MemoryCompute, MemoryStore
from tropism.adapters.sqlite import open_sqlite
from tropism.core.codec import Codec, record_of
from tropism.ports.platform import Platform
from tropism.runtime.runtime import Runtime

COUNT = 120


class Ordered(Event, type="orders.ordered.v1", key="who"):
    who: str


class Paid(Event, type="payments.paid.v1", key="who"):
    who: str
    receipts: list[str]


def say(*words: str) -> None:
    # One write: a killed program has said a line wholly, or not at all.
    sys.stdout.write(" ".join(words) + "\n")
    sys.stdout.flush()


def service() -> Service:
    shop = Service("shop")

    async def charge(what: str, idempotency_key: str = "") -> str:
        say("called", what, idempotency_key)
        await asyncio.sleep(0)
        return f"receipt-{what}"

    @shop.on(Ordered)
    async def pay(order: Ordered, steps: Steps) -> Paid:
        receipts = []
        for name in ("charge", "post"):
            what = f"{order.who}/{name}"
            receipts.append(await steps.run(name, charge, what))
            say("seen", what)
        return Paid(who=order.who, receipts=receipts)

    return shop


async def work(path: str) -> None:
    store, memory = await open_sqlite(f"sqlite:///{path}"), MemoryStore()
    platform = Platform(store.log, store.state, memory.blobs, MemoryCompute(), SystemClock(), memory.queue)
    runtime = Runtime([service()], platform)
    codec = Codec([Ordered])
    await runtime.create_topics()
    orders = [Ordered(who=f"{n:03}") for n in range(COUNT)]
    await store.log.append(
        [record_of(o, codec.encode(o), id=f"o-{o.who}", time_us=n) for n, o in enumerate(orders)]
    )
    await runtime.start()
    await runtime.wait()


def main(path: str) -> None:
    asyncio.run(work(path))
