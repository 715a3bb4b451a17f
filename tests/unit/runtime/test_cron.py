"""Handlers that are called by the calendar: at the right instants, once, and one owed after an outage."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from tropism import App, Event, Service, State, Tick, days, hours, seconds, testing, use
from tropism.core.errors import InvalidInputError
from tropism.core.time import instant_us, iso, to_us
from tropism.runtime.admission import Admission
from tropism.runtime.ticking import moments, next_us
from tropism.testing.simulation import OPTIONS, Simulation

FRIDAY = datetime(2024, 3, 8, tzinfo=UTC)


class Opened(Event, type="doors.opened.v1", key="door"):
    door: str
    time_us: int


def doors(expression: str = "0 6 * * MON-FRI") -> Service:
    service = Service("doors")

    @service.cron(expression, timezone="America/New_York", key="front")
    def open_up(tick: Tick, count: State[int] = use("count")) -> Opened:
        count.set((count.get() or 0) + 1)
        return Opened(door="front", time_us=tick.time_us)

    return service


def ticks_of(start: datetime, more, *, live: bool) -> list[str]:
    async def main() -> list[str]:
        async with testing.run(App("a", services=[doors()]), start=start, live=live) as t:
            await t.advance(more)
            opened = [iso(each.event.time_us) for each in t.all(Opened)]
            assert t.state("doors", "count", "front") == len(opened)
            return opened

    return asyncio.run(main())


def test_it_ticks_when_the_calendar_says_so() -> None:
    """Six in the morning of New York, on weekdays, is an hour earlier in UTC after the clocks went forward."""
    wanted = ["2024-03-08T11:00:00Z", *(f"2024-03-{day}T10:00:00Z" for day in (11, 12, 13))]
    assert ticks_of(FRIDAY, days(6), live=False) == wanted
    assert ticks_of(datetime(2024, 3, 10, 12, tzinfo=UTC), days(1), live=True) == wanted[1:2]


def test_live_one_tick_is_owed_after_an_outage_and_none_is_given_twice() -> None:
    """Whoever was away for a week of ticks gives the last of them, once; a crash repeats none."""

    async def main() -> list[str]:
        start_us = instant_us(FRIDAY)
        simulation = Simulation(
            [doors("*/5 * * * *")], options=replace(OPTIONS, live=True), start_us=start_us
        )
        await simulation.start()
        await simulation.advance_to(start_us + to_us(hours(1)))
        await simulation.stop()
        simulation.clock.advance_to_us(start_us + to_us(days(7)))
        await simulation.crash()
        await simulation.advance_to(start_us + to_us(days(7)) + to_us(hours(1)))
        await simulation.crash()
        await simulation.advance_to(start_us + to_us(days(7)) + to_us(hours(1)))
        stored = await simulation.records("doors")
        await simulation.stop()
        return [s.record.id for s in stored]

    ids = asyncio.run(main())
    assert len(ids) == len(set(ids)) == 12 + 1 + 12


def test_in_event_time_ids_are_the_same_in_every_run() -> None:
    """What a tick gives has an id of the handler and the instant alone."""

    async def one(chunk: int) -> list[str]:
        async with testing.run(App("a", services=[doors()]), start=FRIDAY, chunk=chunk) as t:
            await t.advance(days(2))
            await t.crash()
            await t.advance(days(4))
            return [each.id for each in t.all(Opened)]

    assert asyncio.run(one(1)) == asyncio.run(one(1000)) != []


def test_periods_are_what_they_were() -> None:
    """A period is due at its multiples since 1970, as before there were calendars."""
    period = hours(1)
    assert list(moments(period, 0, to_us(hours(3)), last=False)) == [to_us(hours(n)) for n in (1, 2, 3)]
    assert list(moments(period, 0, to_us(hours(3)), last=True)) == [to_us(hours(3))]
    assert list(moments(period, to_us(hours(3)), to_us(hours(3.5)), last=True)) == []
    assert next_us(period, to_us(hours(3))) == to_us(hours(4))


def test_a_wrong_expression_or_function_is_refused_where_it_is_written() -> None:
    """What says nothing, or takes no Tick, ends before anything runs."""
    with pytest.raises(InvalidInputError, match="its hour holds '25'"):
        doors("0 25 * * *")
    with pytest.raises(InvalidInputError, match="Annotate its first parameter as Tick"):

        @Service("x").cron("@daily")
        def handle(event: Opened) -> None: ...


@pytest.mark.parametrize("every", [seconds(1), "* * * * *"], ids=["period", "calendar"])
def test_a_long_silence_is_ticked_through_in_bounded_steps(
    every: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In event time every tick comes, in order, and only so many are at hand at a time."""
    ticks: list[int] = []
    largest = 0
    service = Service("s")

    def note(tick: Tick) -> None:
        ticks.append(tick.time_us)

    (service.cron(every) if isinstance(every, str) else service.every(every))(note)
    admit = Admission.admit

    def counting(self: Admission, *arguments: Any, **options: Any) -> Any:
        nonlocal largest
        found = admit(self, *arguments, **options)
        largest = max(largest, len(found))
        return found

    monkeypatch.setattr(Admission, "admit", counting)

    async def main() -> None:
        simulation = Simulation([service], options=replace(OPTIONS, chunk=64, start_us=0))
        await simulation.start()
        await simulation.run_until(3000 * (60 if isinstance(every, str) else 1) * 1_000_000)
        await simulation.stop()

    asyncio.run(main())
    assert largest <= 65
    assert len(ticks) >= 3000
    assert ticks == sorted(set(ticks))
