"""Calls of log and state that fail or take long, one at a time and many at once."""

import asyncio
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from tropism import Event, Service, State, View, count, hours, minutes, use
from tropism.core.codec import record_of
from tropism.core.time import to_us
from tropism.runtime.dead import dead_letters
from tropism.testing.faults import Faults
from tropism.testing.simulation import OPTIONS, Simulation

MINUTE = to_us(minutes(1))
START = 1_700_000_040_000_000 // MINUTE * MINUTE


class Asked(Event, type="asks.asked.v1", key="who"):
    who: str
    room: str


class Answered(Event, type="asks.answered.v1", key="who"):
    who: str
    n: int
    before: int


class Counted(Event, type="counts.counted.v1", key="room"):
    room: str
    n: int


def services() -> list[Service]:
    """One answers from a view, the other counts the answers by another key."""
    rooms = View("rooms", Asked, by=lambda e: e.room, window=hours(1), n=count())
    first, second = Service("first"), Service("second")

    @first.on(Asked)
    async def answer(event: Asked, n: State[int] = use("n"), view=use(rooms)) -> Answered:
        n.set((n.get() or 0) + 1)
        return Answered(who=event.who, n=n.get() or 0, before=view(event.room).n)

    @second.on(Answered, by=lambda e: e.who[:1])
    async def tally(event: Answered, n: State[int] = use("n")) -> Counted:
        n.set((n.get() or 0) * 2 + event.n)
        return Counted(room=event.who[:1], n=n.get() or 0)

    return [first, second]


async def run(faults: Faults, *, live: bool = False) -> Simulation:
    """Run the services over some questions."""
    simulation = Simulation(
        services(), options=replace(OPTIONS, live=live, chunk=5), start_us=START, faults=faults
    )
    codec, chance = simulation.runtime.codec, Random(1)
    await simulation.store.log.create_topics({"asks": 3})
    await simulation.start()
    asked = [
        Asked(who=chance.choice("ab") + chance.choice("xyz"), room=chance.choice("12")) for _ in range(25)
    ]
    await simulation.store.log.append(
        [
            record_of(e, codec.encode(e), id=f"q{n}", time_us=START + n // 3 * MINUTE)
            for n, e in enumerate(asked)
        ]
    )
    end_us = START + 60 * MINUTE
    await simulation.advance_to(end_us)
    await simulation.run_until(end_us)
    return simulation


async def facts(simulation: Simulation) -> Any:
    """Return all that was given, and that nothing was given up."""
    assert await dead_letters(simulation.store.state) == []
    await simulation.stop()
    return await simulation.digest("asks", "counts")


def test_any_one_call_may_fail() -> None:
    """A call that fails once, whichever it is, changes nothing: it is made again."""

    async def sweep() -> None:
        calm = await run(Faults())
        calls = calm.faults.calls
        wanted = await facts(calm)
        began = calm.faults.names.index("acquire")
        for number in range(began, calls):
            assert await facts(await run(Faults(unavailable=frozenset([number])))) == wanted, number

    asyncio.run(sweep())


@pytest.mark.parametrize("seed", range(12))
def test_many_calls_may_fail_and_take_long(seed: int) -> None:
    """However slow and unreliable log and state are, the outcome is the same."""
    chance = Random(seed)
    numbers = range(5, 400)

    async def both() -> None:
        wanted = await facts(await run(Faults()))
        faults = Faults(
            unavailable=frozenset(n for n in numbers if chance.random() < 0.2),
            delays={n: chance.choice([0.5, 3.0, 70.0]) for n in numbers if chance.random() < 0.2},
        )
        assert await facts(await run(faults)) == wanted

    asyncio.run(both())


@pytest.mark.parametrize("seed", range(6))
def test_live_every_question_is_answered_once_whatever_fails(seed: int) -> None:
    """Live, failures, delays and a crash lose and double no answer."""
    chance = Random(seed)

    async def one() -> None:
        faults = Faults(
            crash_at=chance.randrange(10, 40),
            unavailable=frozenset(n for n in range(8, 400) if chance.random() < 0.2),
            delays={n: 5.0 for n in range(8, 400) if chance.random() < 0.2},
        )
        simulation = await run(faults, live=True)
        stored = [s.record for s in await simulation.records("asks", "counts")]
        answered = sorted(
            r.extensions["causationid"] for r in stored if r.type == Answered.event_type and r.extensions
        )
        assert answered == sorted(f"q{n}" for n in range(25))
        assert sum(r.type == Counted.event_type for r in stored) == 25
        assert simulation.crashes <= 1
        await simulation.stop()

    asyncio.run(one())
