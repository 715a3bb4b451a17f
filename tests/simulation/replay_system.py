"""A live service on memory, and replays of what it did."""

import asyncio
from contextlib import asynccontextmanager

import msgspec

from tropism import App, Event, Service, State, View, count, hours, testing, use
from tropism.adapters.memory import MemoryStore
from tropism.runtime.replay.replaying import Request, replay


class Paid(Event, type="orders.paid.v1", key="order"):
    order: str
    cents: int


class Thanked(Event, type="mail.thanked.v1", key="order"):
    order: str
    times: int
    recent: int = 0


class Alarmed(Event, type="mail.alarmed.v1", key="order"):
    order: str


PAYMENTS = View("payments", Paid, by=lambda e: "all", window=hours(3), n=count())


def shop(*, alarm_above=10**9, thanks="thank", extra=0):
    """Return a service with state and outputs; its versions differ in what is passed."""
    service = Service("shop")

    async def thank(paid: Paid, times: State[int] = use("times"), recent=use(PAYMENTS)) -> Thanked | Alarmed:
        so_far = (times.get() or 0) + 1
        times.set(so_far)
        if paid.cents > alarm_above:
            return Alarmed(order=paid.order)
        return Thanked(order=paid.order, times=so_far + extra, recent=recent("all").n or 0)

    thank.__name__ = thanks
    service.on(Paid)(thank)
    return service


def payments(t, start, count):
    return [Paid(order=f"o{n % 5}", cents=n) for n in range(start, start + count)]


def dump(store):
    """Return all that a memory store holds: records, values and positions."""
    state, log = store.state, store.log
    values = {
        (name, key): entry
        for name, space in state._namespaces.items()
        for key, entry in space.entries.items()
    }
    records = {topic: [list(p) for p in partitions] for topic, partitions in log._topics.items()}
    return msgspec.msgpack.encode(
        [
            sorted((n, k, e.value, e.expires_us) for (n, k), e in values.items()),
            sorted(records.items()),
            sorted((name, p.cursor, p.watermark_us) for name, p in state._positions.items()),
        ]
    )


def scratch():
    return MemoryStore()


@asynccontextmanager
async def lived(service=None, *, events=40, live=False, **more):
    """Run the live service over some hours, and give the run."""
    service = service or shop()
    async with testing.run(App("shop", services=[service]), live=live, **more) as t:
        for n in range(events):
            await t.publish(Paid(order=f"o{n % 5}", cents=n))
            await t.advance(minutes=10)
        yield t


async def again(t, service=None, store=None, **more):
    """Replay what a run did."""
    request = Request(service or shop(), live=t.app.services[0], **more)
    return await replay(request, t.simulation.runtime.platform, store or scratch())


def run(coroutine):
    return asyncio.run(coroutine)
