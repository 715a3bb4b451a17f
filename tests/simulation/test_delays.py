"""Events that are published later: once, in order of when they are due, whatever crashes on the way."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tropism import (
    App,
    Cancel,
    Event,
    Expired,
    Later,
    Service,
    State,
    Tick,
    hours,
    minutes,
    seconds,
    testing,
    use,
)
from tropism.adapters.memory import MemoryCompute
from tropism.core.codec import Codec, record_of
from tropism.core.time import instant_us, moment, to_us
from tropism.ports.platform import Platform
from tropism.runtime import delays as delays_module
from tropism.runtime.dividing import divide
from tropism.runtime.runtime import Runtime, RuntimeOptions
from tropism.testing.simulation import OPTIONS, Simulation

MINUTE = to_us(minutes(1))
START = 1_700_000_000_000_000 // MINUTE * MINUTE
END = START + 60 * MINUTE


class Asked(Event, type="visits.asked.v1", key="who"):
    who: str
    minutes: float
    name: str | None = None
    n: int = 0


class Withdrawn(Event, type="visits.withdrawn.v1", key="who"):
    who: str
    name: str


class Reminded(Event, type="reminders.reminded.v1", key="who"):
    who: str
    n: int


class Counted(Event, type="counts.counted.v1", key="who"):
    who: str
    n: int


def services() -> list[Service]:
    """One keeps reminders for later, in several ways; another counts what is published of them."""
    desk, counter = Service("desk"), Service("counter")

    @desk.on(Asked)
    async def keep(event: Asked) -> Later[Reminded]:
        return Later(Reminded(who=event.who, n=event.n), minutes(event.minutes), name=event.name)

    @desk.on(Withdrawn)
    def drop(event: Withdrawn) -> Cancel:
        return Cancel(Reminded, event.name)

    @counter.on(Reminded)
    async def tally(event: Reminded, seen: State[int] = use("seen")) -> Counted:
        seen.set((seen.get() or 0) + 1)
        return Counted(who=event.who, n=event.n)

    return [desk, counter]


EVENTS = [
    (0, Asked(who="a", minutes=10, n=1)),
    (0, Asked(who="a", minutes=5, n=2)),  # due before the one that was asked for first
    (0, Asked(who="b", minutes=10, name="x", n=3)),
    (1, Asked(who="b", minutes=20, name="x", n=4)),  # put off: n=3 never comes
    (1, Asked(who="b", minutes=7, name="y", n=5)),
    (2, Asked(who="c", minutes=-30, n=6)),  # due already
    (3, Withdrawn(who="b", name="y")),
    (3, Withdrawn(who="c", name="nothing")),
    (4, Asked(who="c", minutes=0, n=7)),
    (5, Asked(who="b", minutes=3, name="z", n=8)),
    *((8, Asked(who="d", minutes=500, n=n)) for n in (20, 21, 22)),
    (8, Withdrawn(who="b", name="z")),  # too late: it is due at this very moment
    (8, Asked(who="b", minutes=500, name="z", n=23)),
    (12, Asked(who="a", minutes=1_000_000, n=9)),  # two years
]
WANTED = [("a", 2, 5), ("a", 1, 10), ("b", 8, 8), ("b", 4, 21), ("c", 6, 2), ("c", 7, 4)]
"""Who is reminded, of what, and in which minute."""


async def run(*, live: bool, apart: bool = False, crash_at: int | None = None, chunk: int = 3) -> Simulation:
    options = replace(OPTIONS, live=live, chunk=chunk, partitions=2)
    simulation = Simulation(services(), options=options, start_us=START, apart=apart)
    simulation.faults.crash_at = crash_at
    codec = simulation.runtime.codec
    await simulation.store.log.create_topics({"visits": 2})
    records = [
        record_of(e, codec.encode(e), id=f"{n:02}", time_us=START + at * MINUTE)
        for n, (at, e) in enumerate(EVENTS)
    ]
    await simulation.start()
    if live:
        for record in records:
            await simulation.advance_to(record.time_us)
            await simulation.store.log.append([record])
        await simulation.advance_to(END)
    else:
        await simulation.store.log.append(records)
    await simulation.run_until(END)
    return simulation


async def reminded(simulation: Simulation) -> list[tuple[str, int, int]]:
    """Return, in order of key and then as it lies in the log, who was reminded of what, and when."""
    ends = await simulation.store.log.ends(["reminders"])
    pages = await simulation.store.log.read(dict.fromkeys(ends, 0), count_max=1000)
    found = [(s.record, Codec([Reminded]).decode(s.record)) for page in pages.values() for s in page]
    told = [(e.who, e.n, (r.time_us - START) // MINUTE) for r, e in found]
    return sorted(told, key=lambda each: each[0])


async def left(simulation: Simulation) -> list[str]:
    state = simulation.store.state
    return [e.key for space in ("desk/later", "desk/later-slots") for e in await state.scan(space)]


@pytest.mark.parametrize("live", [True, False], ids=["live", "event time"])
def test_each_is_published_when_it_is_due_in_order_unless_it_was_canceled_or_put_off(live: bool) -> None:
    """Per key they come in order of when they are due; the past comes at once, the far future stays."""

    async def main() -> None:
        simulation = await run(live=live)
        assert await reminded(simulation) == WANTED
        *near, far, slot = await left(simulation)
        assert (len(near), len(slot)) == (4, 32)
        assert far.startswith(f"{START + 1_000_012 * MINUTE + 2**62:020}/")
        counted = await simulation.records("counts")
        assert len(counted) == len(WANTED)
        await simulation.stop()

    asyncio.run(main())


@pytest.mark.parametrize("apart", [False, True], ids=["one store", "log and state apart"])
@pytest.mark.parametrize("live", [True, False], ids=["live", "event time"])
def test_a_crash_at_every_call_loses_none_and_doubles_none(live: bool, apart: bool) -> None:
    """Whatever call a crash strikes at, before or after its effect, what is published is the same."""

    async def sweep() -> int:
        calm = await run(live=live, apart=apart)
        wanted, ids = await reminded(calm), await _ids(calm)
        points = 2 * calm.faults.calls
        await calm.stop()
        # Live, most calls are looks at nothing: a sample of them, of either parity, is enough.
        for point in range(0, points, points // 20 | 1 if live else 1):
            crashed = await run(live=live, apart=apart, crash_at=point)
            where = f"crash at point {point}, {crashed.faults.names[point // 2]}"
            found = await reminded(crashed)
            if not live:
                assert found == wanted, where
                assert await _ids(crashed) == ids, where
            # Live, a lease must first run out, so the rest may come late: never lost, never twice.
            assert sorted(n for _, n, _ in found) == sorted(n for _, n, _ in wanted), where
            await crashed.stop()
        return points

    assert asyncio.run(sweep()) > 60


async def _ids(simulation: Simulation) -> list[str]:
    return [s.record.id for s in await simulation.records("reminders", "counts")]


@pytest.mark.parametrize("chunk", [1, 1024])
def test_in_event_time_the_same_log_gives_the_same_however_it_is_read(chunk: int) -> None:
    """How much is read at a time, and how much fits in memory, changes nothing."""

    async def main() -> None:
        one, other = await run(live=False), await run(live=False, chunk=chunk)
        assert await one.digest("reminders", "counts") == await other.digest("reminders", "counts")
        await one.stop()
        await other.stop()

    asyncio.run(main())


@pytest.mark.parametrize("live", [True, False], ids=["live", "event time"])
def test_far_more_than_fits_in_memory_is_published_in_order_also_after_a_crash(
    live: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With room for a few, what is due later is left in the store, read again in time, and published once."""
    monkeypatch.setattr(delays_module, "PAGE", 3)
    monkeypatch.setattr(delays_module, "HELD_MAX", 5)

    async def main() -> None:
        desk = services()[0]
        simulation = Simulation([desk], options=replace(OPTIONS, live=live, partitions=2), start_us=START)
        codec = simulation.runtime.codec
        events = [Asked(who="a", minutes=1 + (n * 7) % 50 // 3, n=n) for n in range(50)]
        await simulation.store.log.append(
            [record_of(e, codec.encode(e), id=f"{e.n}", time_us=START + e.n) for e in events]
        )
        await simulation.start()
        await simulation.run_until(START + MINUTE // 2)
        await simulation.crash()
        await simulation.advance_to(END)
        await simulation.run_until(END)
        found = await reminded(simulation)
        assert sorted(n for _, n, _ in found) == list(range(50))
        if not live:
            wanted = sorted(events, key=lambda e: (e.minutes, e.n))
            assert [(n, at) for _, n, at in found] == [(e.n, e.minutes) for e in wanted]
        assert await left(simulation) == []
        await simulation.stop()

    asyncio.run(main())


def test_live_what_is_due_soon_does_not_wait_for_the_next_look() -> None:
    """A worker at rest wakes for what a slow handler gives at last, however short the delay."""
    service, gate = Service("slow"), asyncio.Event()

    @service.on(Asked)
    async def keep(event: Asked) -> Later[Reminded]:
        await gate.wait()
        return Later(Reminded(who=event.who, n=1), minutes(event.minutes))

    async def main() -> None:
        async with testing.run(App("slow", services=[service]), live=True) as t:
            await t.publish(Asked(who="a", minutes=2 / 60))
            # Time passes and the worker rests, though the handler has not ended.
            await t.simulation.advance_to(instant_us(t.now) + to_us(seconds(13)))
            gate.set()
            await t.advance(seconds=20)
            assert (t.only(Reminded).time.minute, t.only(Reminded).time.second) == (0, 15)

    asyncio.run(main())


def test_what_an_earlier_version_has_kept_is_published_by_one_that_keeps_nothing() -> None:
    """A service whose handlers return nothing for later any more still publishes what was left."""

    async def main() -> None:
        before, _ = services()
        simulation = Simulation([before], options=replace(OPTIONS, live=True, partitions=2), start_us=START)
        codec = simulation.runtime.codec
        event = Asked(who="a", minutes=5, n=1)
        await simulation.store.log.append([record_of(event, codec.encode(event), id="1", time_us=START)])
        await simulation.start()
        await simulation.run_until(START + MINUTE)
        await simulation.stop()
        after = Service("desk")

        @after.on(Asked)
        def ignore(event: Asked) -> None: ...

        simulation.services = [after]
        await simulation.crash()
        await simulation.advance_to(START + 6 * MINUTE)
        assert await reminded(simulation) == [("a", 1, 5)]
        await simulation.stop()

    asyncio.run(main())


def test_each_worker_publishes_what_its_keys_keep_also_after_the_shares_change() -> None:
    """Two workers each publish their keys' events; when the service is divided anew, others do, once."""

    async def main() -> None:
        simulation = Simulation(services(), options=replace(OPTIONS, live=True, partitions=4), start_us=START)
        store, clock = simulation.store, simulation.clock
        await store.log.create_topics({"visits": 4, "reminders": 4})
        codec = Codec([Asked])
        whos = [f"k{n}" for n in range(12)]
        events = [Asked(who=who, minutes=5 if n % 2 else 15, n=n) for n, who in enumerate(whos)]
        await store.log.append([record_of(e, codec.encode(e), id=e.who, time_us=START) for e in events])
        platform = Platform(store.log, store.state, store.blobs, MemoryCompute(), clock, store.queue)
        desk = services()[0]

        async def at_work(count: int) -> list[Runtime]:
            await divide(platform, desk, count, holder="test")
            runtimes = [
                Runtime(
                    [desk],
                    platform,
                    options=RuntimeOptions(live=True, share=(n, count), holder=f"{n}", lease_seconds=1e6),
                )
                for n in range(count)
            ]
            for runtime in runtimes:
                await runtime.start()
            return runtimes

        runtimes = await at_work(2)
        await simulation.advance_to(START + 10 * MINUTE)
        assert {n for _, n, _ in await reminded(simulation)} == {n for n in range(12) if n % 2}
        for runtime in runtimes:
            await runtime.stop(drain_seconds=0)
        runtimes = await at_work(3)
        await simulation.advance_to(START + 20 * MINUTE)
        found = await reminded(simulation)
        assert sorted(n for _, n, _ in found) == list(range(12))
        assert {at for _, n, at in found if n % 2 == 0} == {15}
        for runtime in runtimes:
            await runtime.stop(drain_seconds=0)

    asyncio.run(main())


class Rang(Event, type="bells.rang.v1", key="who"):
    who: str
    n: int


def test_ticks_expiries_and_batches_may_give_something_for_later() -> None:
    """Whatever calls a handler, what it gives for later is kept under the key at hand."""
    service = Service("bells")

    @service.every(hours(1), key="tower")
    def tick(tick: Tick) -> Later[Rang]:
        return Later(Rang(who="tower", n=1), minutes(10), name="bell")

    @service.on(Asked)
    def many(events: list[Asked], seen: State[int] = use("seen", ttl=minutes(30))) -> list[Later[Rang]]:
        for event in events:
            seen.set(event.n, event.who)
        return [Later(Rang(who=event.who, n=event.n), minutes(event.minutes)) for event in events]

    @service.expired("seen")
    def gone(event: Expired) -> Later[Rang]:
        return Later(Rang(who=event.key, n=99), at=moment(event.time_us) + minutes(1))

    async def main() -> None:
        async with testing.run(App("bells", services=[service])) as t:
            await t.publish(Asked(who="a", minutes=5, n=1), Asked(who="b", minutes=7, n=2))
            await t.advance(hours=1.5)
            found = [
                (r.event.who, r.event.n, (r.time - t.now) / timedelta(minutes=1) + 90) for r in t.all(Rang)
            ]
            assert sorted(found) == [("a", 1, 5), ("a", 99, 31), ("b", 2, 7), ("b", 99, 31), ("tower", 1, 70)]

    asyncio.run(main())


def test_a_named_moment_is_kept_exactly_and_told() -> None:
    """A moment given with a time zone is that instant, and the event tells when it was due and why."""
    service, when = Service("bells"), datetime(2024, 1, 1, 7, 30, tzinfo=UTC)

    @service.on(Asked)
    def keep(event: Asked) -> Later[Rang]:
        return Later(Rang(who=event.who, n=1), at=when)

    async def main() -> None:
        async with testing.run(App("bells", services=[service])) as t:
            asked = Asked(who="a", minutes=0)
            await t.publish(asked)
            await t.advance(hours=9)
            rang = t.only(Rang)
            assert instant_us(rang.time) == instant_us(when)
            assert rang.caused_by(asked)
            assert rang.envelope.extensions["dueat"] == "2024-01-01T07:30:00Z"

    asyncio.run(main())
