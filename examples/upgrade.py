"""New code of a service, rolled out beside the old: run it with python examples/upgrade.py"""

import asyncio

import msgspec

from tropism import Event, Service, State, use
from tropism.adapters.local.clock import SystemClock
from tropism.adapters.memory import MemoryBlobs, MemoryCompute, MemoryStore
from tropism.core.codec import record_of
from tropism.ports.platform import Platform
from tropism.runtime.runtime import Runtime, RuntimeOptions


class Added(Event, type="carts.added.v1", key="cart"):
    cart: str


class Emptied(Event, type="carts.emptied.v1", key="cart"):
    cart: str


def first() -> Service:
    service = Service("carts")

    @service.on(Added)
    def add(added: Added, items: State[int] = use("items")) -> None:
        items.set((items.get() or 0) + 1)

    return service


def second() -> Service:
    service = first()

    @service.on(Emptied)
    def empty(emptied: Emptied, items: State[int] = use("items")) -> None:
        items.set(0)

    return service


async def settled(store: MemoryStore, wanted: int) -> None:
    while True:
        (found,) = await store.state.get("carts/state/items", ["ada"])
        if found is not None and msgspec.msgpack.decode(found) == wanted:
            return
        await asyncio.sleep(0)


async def main() -> None:
    store = MemoryStore()
    platform = Platform(store.log, store.state, MemoryBlobs(), MemoryCompute(), SystemClock(), store.queue)
    old = Runtime([first()], platform, options=RuntimeOptions(holder="old"))
    new = Runtime([second()], platform, options=RuntimeOptions(holder="new"))
    await old.start()
    await new.start()  # it stands by
    events = [Added(cart="ada"), Added(cart="ada"), Emptied(cart="ada"), Added(cart="ada")]
    for n, event in enumerate(events):
        data = msgspec.json.encode(event)
        await store.log.append([record_of(event, data, id=f"e{n}", time_us=n)])
    await settled(store, 2)  # the old code leaves what it does not know, and what follows of that cart
    await old.stop()
    await settled(store, 1)  # the new code found both, in order
    await new.stop()
    print("ada's cart holds 1 item")  # noqa: T201 (what it is run for)


if __name__ == "__main__":
    asyncio.run(main())
