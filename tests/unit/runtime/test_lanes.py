"""Order per key, and nobody waits for anybody else's."""

import asyncio
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from tropism import App, Event, Retry, Service, State, seconds, testing, use
from tropism.core.codec import Codec, record_of
from tropism.testing.simulation import OPTIONS, Simulation


class Asked(Event, type="asks.asked.v1", key="who"):
    who: str
    n: int = 0


class Answered(Event, type="answers.answered.v1", key="who"):
    who: str
    n: int


@dataclass
class Gate:
    """Handlers that wait here until they are let through, and how many do."""

    open: asyncio.Event = field(default_factory=asyncio.Event)
    inside: int = 0
    most: int = 0
    began: list[Any] = field(default_factory=list)
    ended: list[Any] = field(default_factory=list)

    async def __call__(self, what: Any, *, waits: bool = True) -> None:
        self.inside += 1
        self.most = max(self.most, self.inside)
        self.began.append(what)
        if waits:
            await self.open.wait()
        else:
            await asyncio.sleep(0)
        self.inside -= 1
        self.ended.append(what)


def held_up(gate: Gate, who: str) -> Service:
    """A service that answers everybody at once but one, who waits at the gate."""
    service = Service("s")

    @service.on(Asked)
    async def each(event: Asked) -> Answered:
        await gate(event.who, waits=event.who == who)
        return Answered(who=event.who, n=event.n)

    return service


@pytest.mark.parametrize("live", [False, True], ids=["event-time", "live"])
def test_events_of_one_key_are_handled_one_after_another_in_order(live: bool) -> None:
    """However many run at the same time, those of one key never overlap and never overtake."""
    service, busy, order = Service("s"), set(), []

    @service.on(Asked)
    async def each(event: Asked) -> Answered:
        assert event.who not in busy
        busy.add(event.who)
        for _ in range(1 + hash((event.who, event.n)) % 5):
            await asyncio.sleep(0)
        busy.remove(event.who)
        order.append((event.who, event.n))
        return Answered(who=event.who, n=event.n)

    async def main() -> None:
        async with testing.run(App("a", services=[service]), live=live, chunk=7) as t:
            await t.publish(*[Asked(who=f"{n % 9}", n=n) for n in range(200)])
            await t.advance(seconds=1)
            for who in {who for who, _ in order}:
                assert [n for w, n in order if w == who] == sorted(n for w, n in order if w == who)
                lying = await t.simulation.records("answers")
                offsets = [(s.partition, s.offset, s.record.data) for s in lying if s.record.subject == who]
                numbers = [
                    t.simulation.runtime.codec.decoder(Answered.event_type)(d).n for *_, d in sorted(offsets)
                ]
                assert numbers == sorted(numbers)
            assert len(order) == 200

    asyncio.run(main())


def test_a_slow_key_holds_up_nobody_else() -> None:
    """Live, all other keys are handled and committed while one waits."""
    gate = Gate()

    async def main() -> None:
        async with testing.run(App("a", services=[held_up(gate, "slow")]), live=True) as t:
            gate.open = asyncio.Event()
            await t.publish(Asked(who="slow"), *[Asked(who=f"{n}", n=n) for n in range(500)])
            await t.simulation.settle()
            assert len(t.all(Answered)) == 500
            gate.open.set()
            await t.advance()
            assert len(t.all(Answered)) == 501

    asyncio.run(main())


def test_a_hot_key_starves_nobody() -> None:
    """While a hot key's events wait for each other, those behind them in the log are handled."""
    gate = Gate()

    async def main() -> None:
        async with testing.run(App("a", services=[held_up(gate, "hot")]), live=True) as t:
            gate.open = asyncio.Event()
            await t.publish(*[Asked(who="hot", n=n) for n in range(1000)])
            await t.publish(*[Asked(who=f"{n}") for n in range(100)])
            await t.simulation.settle()
            assert len(t.all(Answered)) == 100
            assert gate.began.count("hot") == 1
            gate.open.set()
            await t.advance()
            assert len(t.all(Answered)) == 1100

    asyncio.run(main())


def test_a_hot_key_shares_batches_fairly() -> None:
    """A batch handler takes a hot key's events in turns with those of others."""
    service, batches = Service("s"), []

    @service.on(Asked, batch_count_max=10)
    async def many(events: list[Asked]) -> None:
        await asyncio.sleep(0)
        batches.append([e.who for e in events])

    async def main() -> None:
        async with testing.run(App("a", services=[service]), live=True) as t:
            await t.publish(*[Asked(who="hot", n=n) for n in range(100)], *[Asked(who="cool")])
            await t.advance()
            assert max(map(len, batches)) <= 10
            assert next(i for i, batch in enumerate(batches) if "cool" in batch) <= 2

    asyncio.run(main())


def test_a_batch_waits_no_longer_than_its_first_event_may() -> None:
    """Events that keep coming do not put a batch off; a full one does not wait; in event time none does."""
    service, batches = Service("s"), []

    @service.on(Asked, batch_count_max=50, batch_age_seconds=1.0)
    async def many(events: list[Asked]) -> None:
        batches.append([e.n for e in events])

    async def main(live: bool) -> None:
        batches.clear()
        async with testing.run(App("a", services=[service]), live=live) as t:

            async def elapse(tenths: float) -> None:
                await t.simulation.advance_to(t.simulation.clock.now_us() + int(tenths * 100_000))

            for n in range(25):
                await t.publish(Asked(who=f"{n % 7}", n=n))
                await elapse(1)
            if not live:
                await t.advance()
                assert len(batches) == 1
                return
            assert [len(batch) for batch in batches] == [10, 10]
            await t.publish(*[Asked(who="b", n=n) for n in range(25, 70)])
            await t.simulation.settle()
            assert [len(batch) for batch in batches] == [10, 10, 50]
            await t.publish(Asked(who="c", n=70))
            await elapse(9)
            assert len(batches) == 3
            await elapse(2)
            assert sorted(n for batch in batches for n in batch) == list(range(71))

    asyncio.run(main(live=True))
    asyncio.run(main(live=False))


@pytest.mark.parametrize("live", [False, True], ids=["event-time", "live"])
@pytest.mark.parametrize(("chunk", "most"), [(1024, 10), (3, 10), (1024, 1)])
def test_what_is_in_flight_is_bounded(live: bool, chunk: int, most: int) -> None:
    """No more events are taken in than in_flight_max allows, however many wait in the log."""
    service, gate = Service("s"), Gate()

    @service.on(Asked)
    async def each(event: Asked) -> None:
        await gate(event.who)

    async def main() -> None:
        app = App("a", services=[service])
        async with testing.run(app, live=live, chunk=chunk, in_flight_max=most) as t:
            gate.open = asyncio.Event()
            for n in range(60):
                await t.publish(Asked(who=f"{n}", n=n), at=t.now + seconds(n / 1000) if not live else None)
            t.simulation.advance_sources(t.simulation.clock.now_us())
            await t.simulation.settle()
            assert t.simulation.runtime.workers["s"].in_flight <= most
            gate.open.set()
            await t.advance(seconds=1)
            assert len(gate.ended) == 60
            assert gate.most <= most

    asyncio.run(main())


def test_a_failing_row_of_a_batch_stands_alone_in_the_end() -> None:
    """Only the failing row is charged; the others come through once, later rows of its key wait for it."""
    service, tried = Service("s"), []
    healed = False

    @service.on(Asked, retry=Retry(attempts=3, first=seconds(10), jitter=0))
    def many(events: list[Asked], seen: State[list[int]] = use("seen")) -> list[Answered]:
        tried.append([(e.who, e.n) for e in events])
        if not healed and any(e.who == "bad" and e.n == 1 for e in events):
            raise ValueError("this row")
        for e in events:
            seen.set([*(seen.get(e.who) or []), e.n], e.who)
        return [Answered(who=e.who, n=e.n) for e in events]

    async def main() -> None:
        nonlocal healed
        async with testing.run(App("a", services=[service]), live=True) as t:
            await t.publish(*[Asked(who=w, n=n) for n in range(3) for w in ("a", "bad", "b")])
            await t.simulation.settle()
            assert t.state("s", "seen", "a") == t.state("s", "seen", "b") == [0, 1, 2]
            assert t.state("s", "seen", "bad") == [0]
            assert [("bad", 1)] in tried
            assert not any(("bad", 2) in batch and ("bad", 1) not in batch for batch in tried)
            healed = True
            await t.advance(seconds=30)
            assert t.state("s", "seen", "bad") == [0, 1, 2]
            assert sorted((f.event.who, f.event.n) for f in t.all(Answered)) == sorted(
                (w, n) for n in range(3) for w in ("a", "bad", "b")
            )

    asyncio.run(main())


def test_an_output_that_names_no_cause_commits_with_all_that_it_came_of() -> None:
    """What a batch gives as a whole is committed with the whole batch, or not at all."""
    service, gate = Service("s"), Gate()

    @service.on(Asked)
    def many(events: list[Asked]) -> Answered:
        return Answered(who="all", n=len(events))

    @service.on(Asked)
    async def slow(event: Asked) -> None:
        await gate(event.who, waits=event.who == "a")

    async def main() -> None:
        async with testing.run(App("a", services=[service]), live=True, allow_dead_letters=True) as t:
            gate.open = asyncio.Event()
            await t.publish(Asked(who="a"), Asked(who="b"))
            await t.simulation.settle()
            assert t.all(Answered) == []
            await t.crash()
            gate.open.set()
            await t.advance()
            assert sum(f.event.n for f in t.all(Answered)) == 2

    asyncio.run(main())


@pytest.mark.parametrize(("begin", "age"), [(0.1, 0.2), (0.7, 0.1), (0.0, 1 / 3), (1.1, 2.2)])
def test_a_batch_that_is_not_full_starts_when_its_first_event_is_old_enough(begin: float, age: float) -> None:
    """Also where that moment is no number of whole microseconds, or a sum of floating points is none."""
    service = Service("s")
    batches: list[tuple[float, int]] = []

    @service.on(Asked, batch_age_seconds=age)
    async def take(events: list[Asked]) -> None:
        batches.append((simulation.clock.monotonic(), len(events)))

    simulation = Simulation([service], options=replace(OPTIONS, live=True), start_us=1)

    async def main() -> None:
        codec = Codec([Asked])
        await simulation.start()
        await simulation.advance_to(1 + round(begin * 1_000_000))
        for n in range(3):
            event = Asked(who=f"k{n}")
            await simulation.store.log.append([record_of(event, codec.encode(event), id=f"e{n}", time_us=1)])
        await simulation.advance_to(1 + round((begin + age) * 1_000_000) + 1)
        assert [count for _, count in batches] == [3]
        assert abs(batches[0][0] - begin - age) < 2e-6
        await simulation.stop()

    asyncio.run(main())
