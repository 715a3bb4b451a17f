"""Joins as of against a reference that looks at the whole log; the same on replay, and spread over processes."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from tropism import Event, Service, join_as_of, join_interval, minutes, use
from tropism.adapters.memory import MemoryCompute, MemoryStore, VirtualClock
from tropism.core.codec import Codec, record_of
from tropism.core.envelope import Stored
from tropism.core.errors import InvalidInputError
from tropism.core.time import to_us
from tropism.ports.platform import Platform
from tropism.runtime.runtime import Runtime, RuntimeOptions
from tropism.testing.simulation import OPTIONS, Simulation

MINUTE = to_us(minutes(1))
START = 1_700_000_000_000_000
END = START + 300 * MINUTE
PLACES = ("north", "south")


class Measured(Event, type="weather.measured.v1", key="place"):
    place: str
    degrees: int


class Ordered(Event, type="orders.ordered.v1", key="order"):
    order: str
    place: str


class Paid(Event, type="payments.paid.v1", key="order"):
    order: str
    amount: int


class Enriched(Event, type="enriched.enriched.v1", key="order"):
    order: str
    newest: int | None
    recent: int | None
    own_time: int | None
    paid: list[int]


class Matched(Event, type="matches.matched.v1", key="order"):
    order: str
    orders: int


def by_place(event: Any) -> str:
    return event.place


def by_order(event: Any) -> str:
    return event.order


def services() -> list[Service]:
    """One that enriches orders, one that looks back from what was paid, and one that takes what both say."""
    newest = join_as_of("newest", Measured, by=by_place, key=by_place)
    recent = join_as_of("recent", Measured, by=by_place, key=by_place, tolerance=minutes(6))
    own = join_as_of("own", Measured, by=by_place, key=by_place, tolerance=minutes(20), lateness=minutes(10))
    paid = join_interval(
        "paid", Paid, by=by_order, key=by_order, before=minutes(30), after=minutes(3), lateness=minutes(10)
    )
    orders = join_interval("orders", Ordered, by=by_order, key=by_order, before=minutes(30))
    enriching, matching, reading = Service("enriching"), Service("matching"), Service("reading")

    @enriching.on(Ordered)
    def enrich(
        ordered: Ordered,
        a: Measured | None = use(newest),
        b: Measured | None = use(recent),
        c: Measured | None = use(own),
        d: list[Paid] = use(paid),
    ) -> Enriched:
        degrees = [None if each is None else each.degrees for each in (a, b, c)]
        return Enriched(ordered.order, *degrees, [each.amount for each in d])

    @matching.on(Paid)
    def match(payment: Paid, found: list[Ordered] = use(orders)) -> Matched:
        return Matched(order=payment.order, orders=len(found))

    said = join_as_of("said", Matched, by=by_order, key=by_order)

    @reading.on(Enriched)
    def read(enriched: Enriched, matched: Matched | None = use(said)) -> "Read | None":
        if matched is None:
            return None
        return Read(order=enriched.order, orders=matched.orders)

    return [enriching, matching, reading]


class Read(Event, type="reads.read.v1", key="order"):
    order: str
    orders: int


CODEC = Codec([Measured, Ordered, Paid, Enriched, Matched])


async def filled(store: MemoryStore, seed: int) -> None:
    """Publish events of the three streams, a third of them late by up to ten minutes."""
    random, found = Random(seed), []
    for n in range(240):
        order, place = f"o{random.randrange(40)}", random.choice(PLACES)
        event = random.choice(
            (Measured(place=place, degrees=n), Ordered(order=order, place=place), Paid(order=order, amount=n))
        )
        time_us = START + random.randrange(0, 240) * MINUTE
        published_us = time_us + random.choice((0, 0, random.randrange(10 * MINUTE + 1)))
        found.append((published_us, n, record_of(event, CODEC.encode(event), id=f"e{n}", time_us=time_us)))
    await store.log.create_topics({"weather": 1, "orders": 1, "payments": 1})
    await store.log.append([record for *_, record in sorted(found, key=lambda f: f[:2])])


async def all_of(store: MemoryStore, *topics: str) -> list[Stored]:
    found = await store.log.read(dict.fromkeys(await store.log.ends(topics), 0), count_max=2**60)
    return [stored for partition in found.values() for stored in partition]


async def ran(seed: int, *, chunk: int = 16, crash_at: int | None = None) -> Simulation:
    """Run the services over the log, hour by hour."""
    simulation = Simulation(services(), options=replace(OPTIONS, chunk=chunk, partitions=2), start_us=START)
    simulation.faults.crash_at = crash_at
    await filled(simulation.store, seed)
    await simulation.start()
    for until_us in range(START + 60 * MINUTE, END + 1, 60 * MINUTE):
        await simulation.run_until(until_us)
    return simulation


async def said(store: MemoryStore) -> list[tuple[str, int, bytes]]:
    records = [s.record for s in await all_of(store, "enriched", "matches", "reads")]
    return sorted((r.id, r.time_us, r.data) for r in records)


# -- the reference -------------------------------------------------------------------------------------------


def enriched(log: Sequence[Stored], stored: Stored) -> Enriched:
    """Return what is to be said of an order, by looking at the whole log."""
    ordered, us = CODEC.decode(stored.record), stored.record.time_us
    known = [(s, CODEC.decode(s.record)) for s in log if s.known_us < stored.known_us]
    places = [(s, e) for s, e in known if isinstance(e, Measured) and e.place == ordered.place]
    by_known = [(s, e) for s, e in sorted(places, key=lambda p: (p[0].known_us, p[0].offset))]
    by_own = sorted(places, key=lambda p: (p[0].record.time_us, p[0].record.id))
    recent = [e for s, e in by_known if s.known_us >= stored.known_us - 6 * MINUTE]
    own = [e for s, e in by_own if us - 20 * MINUTE <= s.record.time_us <= us]
    paid = [
        (s.record.time_us, s.record.id, e.amount)
        for s, e in known
        if isinstance(e, Paid) and e.order == ordered.order
    ]
    near = [amount for at, _, amount in sorted(paid) if us - 30 * MINUTE <= at <= us + 3 * MINUTE]
    return Enriched(
        order=ordered.order,
        newest=by_known[-1][1].degrees if by_known else None,
        recent=recent[-1].degrees if recent else None,
        own_time=own[-1].degrees if own else None,
        paid=near,
    )


@pytest.mark.parametrize("seed", range(4))
def test_joins_say_what_the_log_says(seed: int) -> None:
    """Each order is joined with what was known before it, by known time or by own, and with nothing else."""

    async def main() -> None:
        simulation = await ran(seed)
        log = await all_of(simulation.store, "weather", "orders", "payments")
        orders = [s for s in log if s.record.type == Ordered.event_type]
        wanted = [enriched(log, s) for s in orders]
        found = [CODEC.decode(s.record) for s in await all_of(simulation.store, "enriched")]
        assert sorted(map(str, found)) == sorted(map(str, wanted))
        assert any(e.newest != e.own_time for e in found)
        assert any(e.recent is None and e.newest is not None for e in found)
        assert sum(len(e.paid) for e in found) > 5
        await simulation.stop()

    asyncio.run(main())


def test_joins_are_the_same_in_any_chunks_and_after_crashes() -> None:
    """A replay joins the same, however it is cut, and wherever it crashes."""

    async def main() -> None:
        calm = await ran(9)
        wanted, points = await said(calm.store), 2 * calm.faults.calls
        assert len(wanted) > 150
        others = [await ran(9, chunk=chunk) for chunk in (1, 1024)]
        others += [await ran(9, crash_at=point) for point in range(0, points, 11)]
        for other in others:
            assert await said(other.store) == wanted
            await other.stop()
        await calm.stop()

    asyncio.run(main())


class Pair(Event, type="pairs.pair.v1", key="order"):
    order: str
    amount: int
    by_order: bool


def pairing() -> list[Service]:
    """One service that finds pairs from either side."""
    near = {"before": minutes(15), "after": minutes(15), "lateness": minutes(10)}
    paid = join_interval("paid", Paid, by=by_order, key=by_order, **near)
    orders = join_interval("orders", Ordered, by=by_order, key=by_order, **near)
    service = Service("pairing")

    @service.on(Ordered)
    def ordered(event: Ordered, found: list[Paid] = use(paid)) -> list[Pair]:
        return [Pair(order=event.order, amount=each.amount, by_order=True) for each in found]

    @service.on(Paid)
    def payment(event: Paid, found: list[Ordered] = use(orders)) -> list[Pair]:
        return [Pair(order=event.order, amount=event.amount, by_order=False) for _ in found]

    return [service]


@pytest.mark.parametrize("seed", range(3))
def test_joined_from_both_sides_every_pair_is_found_once(seed: int) -> None:
    """Whichever comes first, and however late: by the one that becomes known later, and only by that one."""

    async def main() -> None:
        simulation = Simulation(pairing(), [Measured], replace(OPTIONS, partitions=2), START)
        await filled(simulation.store, seed)
        await simulation.start()
        await simulation.run_until(END)
        log = [(s, CODEC.decode(s.record)) for s in await all_of(simulation.store, "orders", "payments")]
        wanted = sorted(
            (paid.order, paid.amount)
            for o, ordered in log
            if isinstance(ordered, Ordered)
            for p, paid in log
            if isinstance(paid, Paid) and paid.order == ordered.order and o.known_us != p.known_us
            if abs(o.record.time_us - p.record.time_us) <= 15 * MINUTE
        )
        pairs = [Codec([Pair]).decode(s.record) for s in await all_of(simulation.store, "pairs")]
        assert sorted((pair.order, pair.amount) for pair in pairs) == wanted
        assert {pair.by_order for pair in pairs} == {True, False}
        await simulation.stop()

    asyncio.run(main())


def test_spread_over_processes_joins_are_the_same() -> None:
    """In event time a service has one worker: whole services spread over runtimes join the same."""

    async def spread(groups: Sequence[Sequence[int]]) -> list[tuple[str, int, bytes]]:
        clock = VirtualClock(START)
        store = MemoryStore(clock=clock, partitions_default=2)
        await filled(store, 9)
        everyone, runtimes = services(), []
        for number, group in enumerate(groups):
            runtimes.append(
                Runtime(
                    [everyone[n] for n in group],
                    Platform(store.log, store.state, store.blobs, MemoryCompute(), clock, store.queue),
                    producers=everyone,
                    options=RuntimeOptions(live=False, holder=f"{number}", chunk=16, lease_seconds=1e9),
                )
            )
        for runtime in runtimes:
            await runtime.start()
            runtime.watermarks.advance_sources(END)
        await asyncio.wait_for(asyncio.gather(*(r.wait_until(END) for r in runtimes)), 30)
        for runtime in runtimes:
            await runtime.stop(drain_seconds=0)
        return await said(store)

    async def main() -> None:
        together = await spread([[0, 1, 2]])
        assert len(together) > 150
        assert await spread([[0], [1, 2]]) == together
        assert await spread([[2], [1], [0]]) == together

    asyncio.run(main())


def test_what_cannot_be_joined_is_refused() -> None:
    """No tolerance beside a lateness, no interval, and no join for a handler of many events at a time."""
    with pytest.raises(InvalidInputError, match="no tolerance"):
        join_as_of("j", Measured, by=by_place, key=by_place, lateness=minutes(1))
    for before in (0, -1):
        with pytest.raises(InvalidInputError, match="Cannot join 'j'"):
            join_interval("j", Paid, by=by_order, key=by_order, before=minutes(before))
    newest = join_as_of("newest", Measured, by=by_place, key=by_place)
    with pytest.raises(InvalidInputError, match="several at a time"):

        @Service("s").on(Ordered)
        def many(orders: list[Ordered], a: Measured | None = use(newest)) -> None: ...
