"""Calls that end in odd ways, lanes that end, and what may be stored before what."""

import asyncio

import pytest

from tropism import App, Event, Service, State, testing, use
from tropism.adapters.local.clock import SystemClock
from tropism.adapters.memory import MemoryCompute, MemoryStore, VirtualClock
from tropism.core.codec import record_of
from tropism.core.envelope import Envelope
from tropism.ports.platform import Platform
from tropism.runtime.lanes import Lanes
from tropism.runtime.runtime import Runtime, RuntimeOptions
from tropism.runtime.work import Delivery, Item


class Came(Event, type="came.came.v1", key="who"):
    who: str
    n: int = 0


class Counted(Event, type="counted.counted.v1", key="who"):
    who: str
    seen: list[int]


class Panic(BaseException):
    """What extensions raise that would rather end the process."""


async def ignore(event: Came) -> None:
    """Stand for a handler: the calls are made by the test."""


def lanes_of(call, told):
    service = Service("s")
    service.on(Came)(ignore)
    lanes = Lanes(
        call,
        SystemClock(),
        batches=False,
        collect=False,
        finished=lambda done: told.extend(d.item.envelope.id for d in done),
        failed=lambda delivery, _: told.append(f"failed {delivery.item.envelope.id}"),
        given_up=lambda delivery, _: told.append(f"given up {delivery.item.envelope.id}"),
    )
    handler = service.handlers[0]

    def add(*names):
        lanes.add([Delivery(item(name, n), handler, name[0]) for n, name in enumerate(names)])

    return lanes, add


def item(name, sequence):
    made = Item(Envelope(name, "test", "came.came.v1", name[0], 0, Came(who=name[0])), 0, 0)
    made.sequence = sequence
    return made


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 (there is no event to wait for)
            await asyncio.sleep(0)


@pytest.mark.parametrize("waits", [False, True])
def test_what_is_no_exception_is_a_failure_like_any(waits):
    """The event is tried again and its key waits for it, whether or not the call had waited."""

    async def main():
        told, made = [], []

        async def call(handler, deliveries):
            name = deliveries[0].item.envelope.id
            made.append(name)
            if waits:
                await asyncio.sleep(0)
            if name == "a1" and made.count("a1") == 1:
                raise Panic

        lanes, add = lanes_of(call, told)
        add("a1", "a2", "b3")
        await until(lambda: len(told) == 4)
        assert told[0] == "failed a1"
        assert [name for name in told if name.startswith("a")] == ["a1", "a2"]
        await lanes.abandon()

    asyncio.run(main())


@pytest.mark.parametrize("swallows", [False, True])
def test_abandoned_lanes_make_no_more_calls(swallows):
    """However a handler answers being cancelled, nothing is called afterwards."""

    async def main():
        told, made = [], []

        async def call(handler, deliveries):
            made.append(deliveries[0].item.envelope.id)
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if not swallows:
                    raise RuntimeError("translated") from None

        lanes, add = lanes_of(call, told)
        add("a1", "a2", "a3")
        await until(lambda: made == ["a1"])
        await lanes.abandon()
        for _ in range(100):
            await asyncio.sleep(0)
        assert made == ["a1"]
        assert not lanes.running

    asyncio.run(main())


def test_what_follows_an_event_that_waits_for_its_mate_waits_too():
    """An event tied to another commits with it; a later one of its key saw its state, and commits behind it."""
    service = Service("s")
    gate: list[asyncio.Event] = []

    @service.on(Came)
    async def both(events: list[Came], seen: State[list[int]] = use("seen")) -> list[Counted]:
        for event in events:
            seen.set([*(seen.get(key=event.who) or []), event.n], key=event.who)
        return [Counted(who=e.who, seen=seen.get(key=e.who) or []) for e in events]

    @service.on(Came)
    async def slow(event: Came) -> None:
        if event.who == "b":
            await gate[0].wait()

    async def main():
        async with testing.run(App("a", services=[service]), live=True) as t:
            gate.append(asyncio.Event())
            await t.publish(Came(who="a", n=1), Came(who="b", n=2))
            await t.simulation.settle()
            await t.publish(Came(who="a", n=3))
            await t.simulation.settle()
            assert t.all(Counted) == []
            gate[0].set()
            await t.advance()
            found = [(each.event.who, each.event.seen) for each in t.all(Counted)]
            assert [seen for who, seen in found if who == "a"] == [[1], [1, 3]]

    asyncio.run(main())


class Gated:
    """A port of which one call waits at a gate once that is shut."""

    def __init__(self, inner, name):
        self._inner, self._name = inner, name
        self.gate = asyncio.Event()
        self.gate.set()
        self.waiting = asyncio.Event()

    def __getattr__(self, name):
        return self._wait if name == self._name else getattr(self._inner, name)

    async def _wait(self, *given, **named):
        if not self.gate.is_set():
            self.waiting.set()
            await self.gate.wait()
        return await getattr(self._inner, self._name)(*given, **named)


def test_what_is_read_while_a_worker_leaves_is_left_to_the_next():
    """A page that arrives when no more calls start holds up nobody: the lease is given back, cleanly."""
    service, handled = Service("s"), []

    @service.on(Came)
    async def many(events: list[Came]) -> None:
        handled.extend(event.n for event in events)

    async def main():
        store, clock = MemoryStore(), VirtualClock()
        log, state = Gated(store.log, "read"), Gated(store.state, "commit")
        platform = Platform(log, state, store.blobs, MemoryCompute(), clock, store.queue)
        runtime = Runtime([service], platform, options=RuntimeOptions(live=True, holder="first"))
        await runtime.start()

        async def publish(*numbers):
            events = [Came(who=f"k{n}", n=n) for n in numbers]
            codec = runtime.codec
            await store.log.append(
                [record_of(e, codec.encode(e), id=f"c{e.n}", time_us=0, source="test") for e in events]
            )

        await until(lambda: runtime.is_idle)
        state.gate.clear()
        await publish(1)
        await state.waiting.wait()
        log.gate.clear()
        await publish(2)
        await log.waiting.wait()
        leaving = asyncio.ensure_future(runtime.stop())
        for _ in range(50):
            await asyncio.sleep(0)
        log.gate.set()
        for _ in range(50):
            await asyncio.sleep(0)
        state.gate.set()
        async with asyncio.timeout(10):
            await leaving
        assert handled == [1]
        lease, _ = await store.state.acquire("s", "second", lease_seconds=1)
        assert lease.clean

    asyncio.run(main())
