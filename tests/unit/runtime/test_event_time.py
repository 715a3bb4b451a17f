"""Ticks, expiry, views with an allowance, and the order of moments."""

import asyncio
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from tropism import (
    App,
    Event,
    Expired,
    Reader,
    Service,
    State,
    Tick,
    View,
    days,
    hours,
    last,
    minutes,
    seconds,
    testing,
    total,
    use,
)
from tropism.core.codec import record_of
from tropism.core.time import instant_us, to_us
from tropism.testing.run import START


class Placed(Event, type="orders.placed.v1", key="order"):
    order: str
    n: int = 0


class Shipped(Event, type="orders.shipped.v1", key="order"):
    order: str
    n: int = 0


class Counted(Event, type="counts.counted.v1", key="at"):
    at: str
    n: int


class Lost(Event, type="counts.lost.v1", key="order"):
    order: str
    n: int


class Ruled(Event, type="rules.ruled.v1", key="name"):
    name: str
    value: int
    effective_us: int


def at(service: Service, *more: Service, **options: Any) -> Any:
    """Run services."""
    return testing.run(App("app", services=[service, *more]), **options)


def counting() -> Service:
    """A service that counts all events of one key and says at every hour how many there were."""
    service = Service("count")

    @service.on(Placed, by=lambda e: "all")
    def count(event: Placed, n: State[int] = use("n")) -> None:
        n.set((n.get() or 0) + 1)

    @service.every(hours(1), key="all")
    def tick(tick: Tick, n: State[int] = use("n")) -> Counted:
        return Counted(at=str(tick.time_us), n=n.get() or 0)

    return service


@pytest.mark.parametrize("chunk", [1, 2, 1024])
def test_a_tick_comes_after_all_before_it_and_before_all_at_or_after_it(chunk: int) -> None:
    """What happens at the very moment of a tick comes after it, however much is read at a time."""

    async def main() -> None:
        async with at(counting(), chunk=chunk) as t:
            for minute in (30, 59, 60, 60, 60, 61, 120, 150):
                await t.publish(Placed(order=str(minute)), at=START + minutes(minute))
            await t.advance(hours=3)
            assert [f.event.n for f in t.all(Counted)] == [2, 6, 8]
            assert [f.time for f in t.all(Counted)] == [START + hours(h) for h in (1, 2, 3)]

    asyncio.run(main())


def test_a_service_that_only_ticks_ticks() -> None:
    """Ticks need no events: they come with time, from where time begins."""
    service, ticks = Service("s"), []

    @service.every(minutes(30))
    def tick(tick: Tick) -> None:
        ticks.append(tick.time_us)

    async def main() -> None:
        async with at(service) as t:
            await t.advance(hours=2)
            assert ticks == [instant_us(START + minutes(m)) for m in (30, 60, 90, 120)]
            await t.crash()
            await t.advance(hours=1)
            assert len(ticks) == len(set(ticks)) == 6

    asyncio.run(main())


def test_live_ticks_follow_the_clock_without_a_storm() -> None:
    """Live, a clock that jumps far ahead brings one tick, one that jumps back brings none, and neither hangs."""
    service, ticks = Service("s"), []

    @service.every(minutes(1))
    def tick(tick: Tick) -> None:
        ticks.append(tick.time_us)

    async def main() -> None:
        async with at(service, live=True) as t:
            await t.advance(minutes=3)
            assert len(ticks) == 3
            t.simulation.clock.jump(to_us(days(365)) / 1e6)
            await t.advance(minutes=1)
            assert 4 <= len(ticks) <= 5
            before = len(ticks)
            t.simulation.clock.jump(-to_us(days(1)) / 1e6)
            await t.simulation.settle()
            await t.advance(minutes=3)
            assert len(ticks) == before
            assert sorted(ticks) == ticks
            assert len(set(ticks)) == len(ticks)

    asyncio.run(main())


def expiring(ttl: timedelta = hours(2)) -> Service:
    """A service that waits for orders to be shipped, and says which were not."""
    service = Service("wait")

    @service.on(Placed)
    def placed(event: Placed, open: State[int] = use("open", ttl=ttl)) -> None:
        open.set(event.n)

    @service.on(Shipped)
    def shipped(event: Shipped, open: State[int] = use("open", ttl=ttl)) -> None:
        if event.n == 0:
            open.delete()
        else:
            open.set(open.get() or 0)

    @service.expired("open")
    def lost(event: Expired, open: State[int] = use("open")) -> Lost:
        assert open.get() is None
        return Lost(order=event.key, n=int(event.time_us))

    return service


@pytest.mark.parametrize("live", [False, True], ids=["event-time", "live"])
@pytest.mark.parametrize("step", [minutes(10), hours(5)], ids=["small-steps", "one-step"])
def test_a_state_expires_once_unless_deleted_or_renewed(live: bool, step: timedelta) -> None:
    """A value is handed over once, when nothing touched it for its ttl; renewed with itself, it lives on."""

    async def main() -> None:
        async with at(expiring(), live=live) as t:
            for order in ("kept", "deleted", "renewed"):
                await t.publish(Placed(order=order), at=START + minutes(1))
            await t.publish(Shipped(order="deleted"), at=START + minutes(90))
            await t.publish(Shipped(order="renewed", n=1), at=START + minutes(90))
            while t.now < START + hours(5):
                await t.advance(step)
            found = {f.event.order: f.event.n for f in t.all(Lost)}
            assert len(t.all(Lost)) == 2
            assert found == {
                "kept": instant_us(START + minutes(121)),
                "renewed": instant_us(START + minutes(210)),
            }
            assert t.state("wait", "open", "kept") is None

    asyncio.run(main())


def test_what_expires_at_the_moment_of_an_event_expires_before_it() -> None:
    """Expiry at t comes before the events of t, and they find nothing."""

    async def main() -> None:
        async with at(expiring()) as t:
            await t.publish(Placed(order="a"), at=START + minutes(1))
            await t.publish(Shipped(order="a", n=1), at=START + minutes(121))
            await t.advance(hours=3)
            assert [f.event.order for f in t.all(Lost)] == ["a"]
            assert t.state("wait", "open", "a") == 0

    asyncio.run(main())


def test_a_state_without_a_handler_for_its_end_is_forgotten() -> None:
    """A ttl alone deletes."""
    service = Service("s")

    @service.on(Placed)
    def placed(event: Placed, open: State[int] = use("open", ttl=hours(1))) -> None:
        open.set(1)

    async def main() -> None:
        async with at(service) as t:
            await t.publish(Placed(order="a"))
            await t.advance(minutes=30)
            assert t.state("s", "open", "a") == 1
            await t.advance(minutes=60)
            assert t.state("s", "open", "a") is None

    asyncio.run(main())


def test_a_slow_lane_does_not_flood_with_expiries() -> None:
    """Live, a value whose expiry waits in its lane is handed over once all the same."""
    service, gate, began = Service("s"), asyncio.Event, []
    opened: list[asyncio.Event] = []

    @service.on(Placed)
    def placed(event: Placed, open: State[int] = use("open", ttl=hours(1))) -> None:
        open.set(1)

    @service.on(Shipped, timeout_seconds=1e6)
    async def slow(event: Shipped) -> None:
        await opened[0].wait()

    @service.expired("open")
    def gone(event: Expired) -> Lost:
        began.append(event.key)
        return Lost(order=event.key, n=0)

    async def main() -> None:
        opened.append(gate())
        async with at(service, live=True) as t:
            await t.publish(Placed(order="a"))
            await t.advance(minutes=30)
            await t.publish(Shipped(order="a"))
            await t.simulation.advance_to(instant_us(START + hours(2)))
            assert t.simulation.runtime.workers["s"].in_flight == 2
            opened[0].set()
            await t.advance()
            assert began == ["a"]
            assert len(t.all(Lost)) == 1

    asyncio.run(main())


def test_a_view_with_an_allowance_is_read_as_of_when_its_events_count() -> None:
    """An effect counts from its own moment; whoever reads waits until all effects up to then are known."""
    rules = View(
        "rules",
        Ruled,
        by=lambda e: "rule",
        at=lambda e: e.effective_us,
        allowance=hours(1),
        own=True,
        value=last(lambda e: e.value),
    )
    reading, ruling = Service("reading"), Service("ruling")
    seen: list[tuple[int, Any]] = []

    @reading.on(Placed)
    def read(event: Placed, rules=use(rules)) -> Shipped:
        seen.append((event.n, rules("rule").value))
        return Shipped(order=event.order, n=event.n)

    @ruling.on(Shipped)
    def rule(event: Shipped) -> Ruled | None:
        moment_us = instant_us(START + minutes(event.n))
        if event.n % 90:
            return None
        return Ruled(name="r", value=event.n, effective_us=moment_us + to_us(hours(1)))

    async def main() -> list[tuple[int, Any]]:
        seen.clear()
        async with at(reading, ruling) as t:
            for minute in range(0, 400, 10):
                await t.publish(Placed(order=f"o{minute}", n=minute), at=START + minutes(minute))
            await t.advance(hours=8)
        return list(seen)

    def wanted(minute: int) -> int | None:
        effective = [m for m in range(0, 400, 90) if m + 60 < minute]
        return effective[-1] if effective else None

    assert asyncio.run(main()) == [(minute, wanted(minute)) for minute in range(0, 400, 10)]


def test_late_facts_count_from_when_they_come() -> None:
    """A fact that comes after its moment was passed is handled just after it, and time does not go back."""
    service, seen = Service("s"), []

    @service.on(Placed)
    def placed(event: Placed) -> Counted:
        seen.append(event.n)
        return Counted(at=event.order, n=event.n)

    async def main() -> None:
        async with at(service) as t:
            await t.publish(Placed(order="a", n=1))
            await t.advance(hours=5)
            await t.publish(Placed(order="b", n=2), at=START + hours(1))
            await t.advance(hours=1)
            assert seen == [1, 2]
            times = [f.time for f in t.all(Counted)]
            assert times == sorted(times)
            assert times[1] > START + hours(5)

    asyncio.run(main())


def test_several_services_may_add_to_one_topic() -> None:
    """Facts from outside, known far ahead, and events of services share a topic and keep their own times."""
    first, second, third = Service("first"), Service("second"), Service("third")
    seen: list[tuple[str, str]] = []

    class One(Event, type="orders.one.v1", key="order"):
        order: str

    class Two(Event, type="orders.two.v1", key="order"):
        order: str

    @first.on(Placed)
    async def one(event: Placed) -> One:
        return One(order=event.order)

    @second.on(One)
    async def two(event: One) -> Two:
        return Two(order=event.order)

    @third.on()
    def watch(event: Placed | One | Two) -> None:
        seen.append((event.order, type(event).__name__))

    async def main() -> None:
        async with at(first, second, third, partitions=1) as t:
            for hour in range(5):
                await t.publish(Placed(order=f"{hour}"), at=START + hours(hour + 1))
            await t.advance(hours=10)
            for order in "01234":
                assert [kind for o, kind in seen if o == order] == ["Placed", "One", "Two"]
            for kind in (One, Two):
                assert [f.time for f in t.all(kind)] == [START + hours(h + 1) for h in range(5)]

    asyncio.run(main())


def test_keys_of_one_moment_keep_the_order_of_the_log() -> None:
    """Events of one key and one moment are handled in the order in which they were published."""
    service, seen = Service("s"), []

    @service.on()
    def each(event: Placed | Shipped) -> None:
        seen.append((event.order, event.n))

    async def main() -> None:
        async with at(service, seed=3) as t:
            for n in range(50):
                await t.publish(Placed(order="a", n=n) if n % 2 else Shipped(order="a", n=n))
            await t.advance(seconds=1)
            assert [n for _, n in seen] == list(range(50))

    asyncio.run(main())


def test_time_moves_on_for_a_ttl_far_shorter_than_what_passes() -> None:
    """Short lives and long silences: everything expires at its moment, whatever the step."""

    async def main() -> None:
        async with at(expiring(seconds(90))) as t:
            for minute in (1, 2, 40):
                await t.publish(Placed(order=f"{minute}"), at=START + minutes(minute))
            await t.advance(hours=1)
            found = [f.event.n for f in t.all(Lost)]
            assert found == [instant_us(START + minutes(m) + seconds(90)) for m in (1, 2, 40)]

    asyncio.run(main())


@pytest.mark.parametrize("live", [False, True], ids=["event-time", "live"])
def test_rekeyed_events_are_in_order_under_their_new_key(live: bool) -> None:
    """Events of many keys that share a new one are handled one after another, in order of time."""
    service = Service("s")

    @service.on(Placed, by=lambda e: e.order[:1])
    async def each(event: Placed, seen: State[list[int]] = use("seen")) -> None:
        for _ in range(event.n % 4):
            await asyncio.sleep(0)
        seen.set([*(seen.get() or []), event.n])

    async def main() -> None:
        async with at(service, live=live, chunk=5) as t:
            for n in range(40):
                await t.publish(Placed(order=f"{'ab'[n % 2]}{n}", n=n), at=START + seconds(n))
            await t.advance(minutes=1)
            for place, key in enumerate("ab"):
                assert t.state("s", "seen", key) == list(range(place, 40, 2))

    asyncio.run(main())


def test_live_a_fact_of_the_far_future_holds_up_nobody() -> None:
    """A source whose clock is centuries ahead: its facts are handled at once, and so is all that follows."""
    service = Service("s")
    seen = View("seen", Placed, by=lambda e: "all", window=hours(3), n=total(lambda e: e.n))

    @service.on(Shipped)
    def shipped(event: Shipped, placed: Reader = use(seen)) -> Counted:
        return Counted(at=event.order, n=int(placed("all").n))

    async def main() -> None:
        async with at(service, live=True, partitions=1) as t:
            far_us = instant_us(t.now + days(365 * 400))
            facts = [Placed(order=f"{n}", n=1) for n in range(9)]
            # Past the test's own publish, which would hold them back until their time.
            await t.simulation.store.log.append(
                [record_of(e, msgspec.json.encode(e), id=e.order, time_us=far_us, source="/x") for e in facts]
            )
            await t.publish(*(Placed(order=f"later-{n}", n=1) for n in range(9)))
            await t.advance(seconds=1)
            await t.publish(Shipped(order="near"))
            await t.advance(seconds=1)
            # What it does to views stands among the known limits: they count from 400 years on.
            assert t.only(Counted).event.at == "near"
            assert await t.simulation.store.log.ends(["orders"]) == {("orders", 0): 19}
            assert t.dead_letters() == []

    asyncio.run(main())
