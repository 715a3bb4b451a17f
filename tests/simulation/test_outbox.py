"""Log and state in different stores, and a log that takes an id as often as it comes: once all the same."""

import asyncio
import logging
from dataclasses import replace

import pytest

from tropism import Event, Service, State, hours, use
from tropism.core.codec import Codec, record_of
from tropism.core.envelope import Record
from tropism.core.time import seconds, to_us
from tropism.runtime.runtime import RuntimeOptions
from tropism.testing.simulation import OPTIONS, Simulation

START = 1_700_000_000_000_000
HOUR = to_us(hours(1))
ROUNDS = 3


class Ordered(Event, type="orders.ordered.v1", key="who"):
    who: str


class Numbered(Event, type="numbers.numbered.v1", key="who"):
    who: str
    n: int


class Answered(Event, type="answers.answered.v1", key="who"):
    who: str
    n: int


def services() -> list[Service]:
    """One numbers what comes, in two events each; another counts those, and answers."""
    first, second = Service("first"), Service("second")

    @first.on(Ordered)
    def number(event: Ordered, n: State[int] = use("n")) -> list[Numbered]:
        count = (n.get() or 0) + 2
        n.set(count)
        return [Numbered(who=event.who, n=count - 1), Numbered(who=event.who, n=count)]

    @second.on(Numbered)
    async def answer(event: Numbered, count: State[int] = use("count")) -> Answered:
        count.set((count.get() or 0) + 1)
        return Answered(who=event.who, n=event.n)

    return [first, second]


def records(repeats: int) -> list[Record]:
    """Some events for each of three, each of them so many times, under its id."""
    codec = Codec([Ordered])
    events = [Ordered(who=who) for _ in range(ROUNDS) for who in "abc"]
    return [
        record_of(event, codec.encode(event), id=f"{index:02}", time_us=START + index)
        for _ in range(repeats)
        for index, event in enumerate(events)
    ]


async def run(
    *, crash_at: int | None = None, live: bool, dedup: bool, repeats: int = 1, **more: frozenset[int]
) -> Simulation:
    options = replace(OPTIONS, live=live, chunk=4, partitions=2)
    simulation = Simulation(
        services(), types=[Answered], options=options, start_us=START, apart=True, dedup=dedup
    )
    simulation.faults.crash_at = crash_at
    simulation.faults.unavailable = more.get("unavailable", frozenset())
    await simulation.store.log.create_topics({"orders": 2})
    await simulation.store.log.append(records(repeats))
    await simulation.start()
    await simulation.run_until(START + HOUR)
    return simulation


async def effects(simulation: Simulation) -> dict[str, list[int]]:
    """Return what came of it: per key, the numbers of events as they lie in the log, repeats left out."""
    # What is published is taken out of the outbox by a commit of its own, which may have to wait.
    await simulation.advance_to(simulation.clock.now_us() + to_us(seconds(5)))
    found: dict[str, list[int]] = {}
    codec = Codec([Numbered, Answered])
    for topic in ("numbers", "answers"):
        ends = await simulation.store.log.ends([topic])
        pages = await simulation.store.log.read(dict.fromkeys(ends, 0), count_max=1000)
        first = {s.record.id: s.record for page in pages.values() for s in page}
        for record in first.values():
            found.setdefault(f"{topic}/{record.subject}", []).append(codec.decode(record).n)
    for service, state in (("first", "n"), ("second", "count")):
        for entry in await simulation.store.state.scan(f"{service}/state/{state}"):
            found[f"{service}/{entry.key}"] = [int.from_bytes(entry.value)]
        assert await simulation.store.state.scan(f"{service}/outbox") == []
    return found


WANTED = {
    **{f"{topic}/{who}": list(range(1, 2 * ROUNDS + 1)) for topic in ("numbers", "answers") for who in "abc"},
    **{f"{service}/{who}": [2 * ROUNDS] for service in ("first", "second") for who in "abc"},
}


@pytest.mark.parametrize("live", [True, False], ids=["live", "event time"])
@pytest.mark.parametrize(
    ("dedup", "repeats"), [(True, 1), (False, 1), (False, 2)], ids=["ids known", "ids unknown", "repeated"]
)
def test_a_crash_at_every_call_has_no_effect_twice_and_loses_none(
    live: bool, dedup: bool, repeats: int
) -> None:
    """Each output has its effect exactly once, and each key its order, whatever call a crash strikes at."""

    async def sweep() -> int:
        calm = await run(live=live, dedup=dedup, repeats=repeats)
        assert await effects(calm) == WANTED
        points = 2 * calm.faults.calls
        await calm.stop()
        for point in range(points):
            crashed = await run(crash_at=point, live=live, dedup=dedup, repeats=repeats)
            where = f"crash at point {point}, {crashed.faults.names[point // 2]}"
            assert await effects(crashed) == WANTED, where
            if dedup:
                ids = [s.record.id for s in await crashed.records("numbers", "answers")]
                assert len(ids) == len(set(ids)) == 4 * 3 * ROUNDS, where
            await crashed.stop()
        return points

    assert asyncio.run(sweep()) > 60


@pytest.mark.parametrize("live", [True, False], ids=["live", "event time"])
def test_any_call_may_fail_for_a_while(live: bool) -> None:
    """Whatever call to log or state is refused once, what comes of it is the same."""

    async def sweep() -> None:
        calm = await run(live=live, dedup=False)
        calls = calm.faults.calls
        await calm.stop()
        for call in range(calls):
            refused = await run(live=live, dedup=False, unavailable=frozenset({call}))
            assert await effects(refused) == WANTED, f"call {call}, {refused.faults.names[call]}"
            await refused.stop()

    asyncio.run(sweep())


def test_outputs_wait_for_a_log_that_is_away_and_come_in_order() -> None:
    """While the log takes nothing, commits wait: what is not published is in the outbox, and bounded."""

    async def main() -> None:
        options = replace(OPTIONS, live=True, chunk=4, partitions=2)
        simulation = Simulation(
            services(), types=[Answered], options=options, start_us=START, apart=True, dedup=False
        )
        await simulation.store.log.append(records(1))
        simulation.faults.is_down = lambda call: call == "append"
        await simulation.start()
        await simulation.advance_to(START + HOUR)
        assert await simulation.store.log.ends(["numbers"]) == {("numbers", n): 0 for n in range(2)}
        left = await simulation.store.state.scan("first/outbox")
        assert 0 < len(left) <= 2 * 3 * ROUNDS
        assert [int(entry.key) for entry in left] == list(range(len(left)))
        simulation.faults.end()
        await simulation.wait(lambda: simulation.runtime.is_idle)
        assert await effects(simulation) == WANTED
        await simulation.stop()

    asyncio.run(main())


def test_outputs_published_later_than_ids_are_known_are_told_of(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever finds outputs that are older than the log's memory says so: they may be there twice."""

    async def main() -> None:
        simulation = Simulation(
            services(),
            types=[Answered],
            options=replace(OPTIONS, live=True, partitions=2),
            start_us=START,
            apart=True,
            dedup=False,
        )
        await simulation.store.log.append(records(1))
        simulation.faults.is_down = lambda call: call == "append"
        await simulation.start()
        await simulation.advance_to(START + HOUR)
        simulation.faults.end()
        await simulation.crash()
        await simulation.wait(lambda: simulation.runtime.is_idle)
        assert await effects(simulation) == WANTED
        await simulation.stop()

    with caplog.at_level(logging.WARNING, "tropism"):
        asyncio.run(main())
    assert any("longer ago than the log remembers ids" in record.getMessage() for record in caplog.records)


def test_beyond_the_window_a_repeat_is_handled_again_and_its_id_is_forgotten() -> None:
    """Ids are remembered as long as declared, and no longer: state does not grow for ever."""

    async def main() -> None:
        options = RuntimeOptions(live=True, partitions=2, lease_seconds=86_400.0, remember_seconds=600.0)
        simulation = Simulation(
            services(), types=[Answered], options=options, start_us=START, apart=True, dedup=False
        )
        log, state = simulation.store.log, simulation.store.state

        async def append_again() -> list[int]:
            await log.append(records(1))
            await simulation.wait(lambda: simulation.runtime.is_idle)
            return [int.from_bytes(entry.value) for entry in await state.scan("first/state/n")]

        await simulation.start()
        assert await append_again() == 3 * [2 * ROUNDS]
        await simulation.advance_to(START + to_us(hours(1)) // 10)
        assert await append_again() == 3 * [2 * ROUNDS]
        assert len(await state.scan("first/seen")) == 3 * ROUNDS
        await simulation.advance_to(START + HOUR)
        assert await append_again() == 3 * [4 * ROUNDS]
        assert len(await state.scan("first/seen")) == 3 * ROUNDS
        worker = simulation.runtime.workers["first"]
        assert worker.repeated == 3 * ROUNDS
        await simulation.stop()

    asyncio.run(main())


def test_who_needs_no_memory_has_none() -> None:
    """Where the log knows ids for ever, no id is stored a second time."""

    async def main() -> None:
        simulation = await run(live=True, dedup=True)
        assert await simulation.store.state.scan("first/seen") == []
        await simulation.stop()

    asyncio.run(main())


def test_faults_are_planted_where_they_strike() -> None:
    """The sweep reaches every call that carries outputs over: the scan for leftovers, commits, appends."""

    async def main() -> set[str]:
        calm = await run(live=True, dedup=False)
        await calm.stop()
        return set(calm.faults.names)

    assert {"scan", "commit", "append", "get", "read"} <= asyncio.run(main())
