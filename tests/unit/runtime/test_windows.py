"""Windows in an app: what reads give at their bounds, when they close, and what becomes of what comes late."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from tropism import (
    App,
    Closed,
    Event,
    Reader,
    Retry,
    Service,
    State,
    Tick,
    View,
    age,
    count,
    distinct,
    first,
    hours,
    last,
    maximum,
    mean,
    minutes,
    quantile,
    session,
    sliding,
    testing,
    total,
    tumbling,
    use,
)
from tropism.core.envelope import Record
from tropism.core.errors import InvalidInputError
from tropism.core.time import MICROSECONDS, instant_us
from tropism.runtime import tables
from tropism.runtime.late import late_of
from tropism.runtime.windowed import Windowed
from tropism.testing.run import START, Run


class Sold(Event, type="sales.sold.v1", key="id"):
    id: str
    shop: str = "north"
    amount: float = 1.0


class Asked(Event, type="asks.asked.v1", key="id"):
    id: str
    shop: str = "north"


class Told(Event, type="tells.told.v1", key="id"):
    id: str
    values: list[Any]


class Summed(Event, type="sums.summed.v1", key="shop"):
    shop: str
    start_us: int
    n: int


def view(window: Any, **more: Any) -> View:
    return View("v", Sold, by=lambda e: e.shop, window=window, **{"n": count(), **more})


def asking(read: View) -> App:
    """An app that tells what a view says, column by column."""
    service = Service("telling")

    @service.on(Asked)
    def tell(asked: Asked, reader: Reader = use(read)) -> Told:
        return Told(id=asked.id, values=list(reader(asked.shop)))

    return App("shop", services=[service])


def closing(read: View, fail: Callable[[Closed], None] = lambda _: None) -> App:
    """An app that says what is in a window when it is closed."""
    service = Service("summing")

    @service.closed(read, retry=Retry(attempts=1))
    def close(closed: Closed) -> Summed:
        fail(closed)
        return Summed(shop=closed.key, start_us=closed.start_us, n=closed.row.n)

    return App("shop", services=[service])


def run(app: App, steps: Callable[[Run], Awaitable[None]], **more: Any) -> None:
    async def main() -> None:
        async with testing.run(app, **more) as t:
            await steps(t)

    asyncio.run(main())


def at(minute: float) -> Any:
    return START + timedelta(minutes=minute)


def told(window: Any, minute: float, sold: tuple[float, ...], **more: Any) -> list[Any]:
    """Return what a view says at a minute of sales at others, each worth its minute."""
    found: list[Any] = []

    async def steps(t: Run) -> None:
        for n, when in enumerate(sold):
            await t.publish(Sold(id=f"s{n}", amount=when), at=at(when))
        await t.publish(Asked(id="a"), at=at(minute))
        await t.advance(hours=10)
        found.extend(t.only(Told).event.values)

    run(asking(view(window, **more)), steps)
    return found


SALES = (5.0, 55.0, 60.0, 61.0, 125.0)


@pytest.mark.parametrize(
    ("window", "minute", "n"),
    [
        (tumbling(hours(1)), 59, 0),
        (tumbling(hours(1)), 60, 2),
        (tumbling(hours(1)), 119, 2),
        (tumbling(hours(1)), 120, 2),
        (tumbling(hours(1)), 185, 1),
        (tumbling(hours(1), current=True), 60, 0),
        (tumbling(hours(1), current=True), 61, 1),
        (tumbling(hours(1), current=True), 62, 2),
        (tumbling(hours(1), offset=minutes(-5)), 60, 1),
        (tumbling(hours(1), offset=minutes(5)), 66, 4),
        (sliding(hours(1)), 61, 3),
        (hours(1), 65, 4),
        (sliding(hours(1), every=minutes(30)), 89, 2),
        (sliding(hours(1), every=minutes(30)), 91, 3),
        (session(minutes(6)), 60.5, 2),
        (session(minutes(5)), 60.5, 1),
        (session(minutes(6)), 124, 3),
        (session(minutes(6), current=True), 67, 0),
        (session(minutes(6), kept=hours(1)), 121, 0),
        (session(minutes(6), kept=hours(1)), 126, 1),
    ],
    ids=str,
)
def test_a_read_covers_its_window_from_its_start_and_without_its_end(
    window: Any, minute: float, n: int
) -> None:
    """What lies on a bound belongs to the window that begins there, in every kind of window."""
    assert told(window, minute, SALES)[0] == n


def test_columns_of_one_view_may_have_windows_of_their_own() -> None:
    """The last complete hour stands beside the one at hand, and what is too old reads as absent."""
    columns = {
        "now": count(window=tumbling(hours(1), current=True)),
        "largest": maximum(lambda e: e.amount),
        "first": first(lambda e: e.amount),
        "median": quantile(lambda e: e.amount, 0.5, window=sliding(hours(3))),
        "fresh": last(lambda e: e.amount, ttl=minutes(1)),
        "age": age(window=hours(3)),
    }
    found = told(tumbling(hours(1)), 119, SALES[:-1], **columns)
    assert found == [2, 2, 55.0, 5.0, 57.5, None, 58 * 60.0]


def test_a_latest_value_outlives_its_ttl_by_nothing() -> None:
    """At its ttl a value is still there; a moment later it is absent."""
    read = View("v", Sold, by=lambda e: e.shop, last=last(lambda e: e.amount, ttl=minutes(10)))
    assert read.is_running

    async def steps(t: Run) -> None:
        await t.publish(Sold(id="s"), at=at(0))
        await t.publish(Asked(id="a"), at=at(10))
        await t.publish(Asked(id="b"), at=at(10) + timedelta(microseconds=1))
        await t.advance(hours=1)
        assert {e.event.id: e.event.values for e in t.all(Told)} == {"a": [1.0], "b": [None]}

    run(asking(read), steps)


def test_a_subject_does_not_read_its_own_entries() -> None:
    """What is being decided on stays out of its own windows, of every kind."""
    columns = {"s": count(window=session(hours(1))), "m": mean(lambda e: e.amount, window=sliding(hours(2)))}
    read = view(tumbling(hours(1)), lateness=minutes(0), **columns)

    async def steps(t: Run) -> None:
        await t.publish(Sold(id="x", amount=3.0), at=at(1))
        await t.publish(Sold(id="y", amount=5.0), at=at(2))
        await t.publish(Asked(id="x"), at=at(60))
        await t.advance(hours=2)
        assert t.only(Told).event.values == [1, 1, 5.0]

    run(asking(read), steps)


@pytest.mark.parametrize(
    "window", [sliding(hours(1)), session(hours(1)), tumbling(hours(1), current=True)], ids=str
)
def test_what_is_known_at_a_moment_is_seen_after_it(window: Any) -> None:
    """A read as of a moment sees nothing that became known then, though its own time lies before."""
    table = Windowed(view(window, lateness=minutes(10)))
    record = Record("a", Sold.event_type, "sales", "a", 30 * 60 * MICROSECONDS, b"")
    known_us = 40 * 60 * MICROSECONDS
    table.add(Sold(id="a"), known_us, record)
    for exclude in (None, "b"):
        assert table.read("north", known_us, exclude).n == 0
        assert table.read("north", known_us + 1, exclude).n == 1


def late(beyond: Any = "count") -> View:
    return view(tumbling(hours(1)), lateness=minutes(10), beyond_lateness=beyond)


async def sell_late(t: Run) -> None:
    """Publish five sales, one late within ten minutes and one later than that."""
    for id, minute, published in (("a", 50, 50), ("b", 62, 62), ("c", 55, 63), ("d", 80, 80), ("e", 58, 80)):
        await t.advance_to(at(published))
        await t.publish(Sold(id=id), at=at(minute))
    await t.advance(hours=3)


def test_a_window_closes_its_lateness_after_its_end() -> None:
    """What comes within the lateness is in it; later events are counted, and it closes once, at its time."""

    async def steps(t: Run) -> None:
        await sell_late(t)
        begin_us = instant_us(at(0))
        assert [(e.event.n, e.event.start_us - begin_us) for e in t.all(Summed)] == [
            (2, 0),
            (2, 3600 * MICROSECONDS),
        ]
        assert [e.time for e in t.all(Summed)] == [at(70), at(130)]
        assert await late_of(t.simulation.store.state, "summing") == {"v": 1}

    run(closing(late()), steps)


def test_what_is_too_late_may_become_a_dead_letter() -> None:
    """It says by how much it was late; redriven, it is too late again, and nothing else is touched."""

    async def steps(t: Run) -> None:
        await sell_late(t)
        for _ in range(2):
            (letter,) = t.dead_letters()
            assert letter.handler == "view v"
            assert "Cannot take event" in letter.cause
            assert "more than the lateness of 600 s" in letter.cause
            await t.redrive(letter)
            await t.advance(hours=1)
        assert len(t.dead_letters()) == 1
        assert [e.event.n for e in t.all(Summed)] == [2, 2]

    run(closing(late("dead_letter")), steps)


def test_live_a_straggler_does_not_reopen_what_was_closed() -> None:
    """What comes after its window was closed is too late, though the log took it in at its own time."""
    read = view(session(minutes(10)), lateness=minutes(5))

    async def steps(t: Run) -> None:
        await t.advance_to(at(0))
        await t.publish(Sold(id="a"))
        await t.publish(Asked(id="q"))
        await t.advance(minutes=20)
        assert [e.event.n for e in t.all(Summed)] == [1]
        # Into a partition where nothing newer lies, so that it counts as known at its own time.
        await t.publish(Sold(id="b"), at=at(7))
        await t.advance(minutes=1)
        await t.publish(Sold(id="c"))
        await t.advance(hours=1)
        await t.crash()
        await t.advance(hours=1)
        assert [e.event.n for e in t.all(Summed)] == [1, 1]
        assert await late_of(t.simulation.store.state, "summing") == {"v": 1}

    app = App("shop", services=closing(read).services, events=[Asked])
    run(app, steps, live=True, partitions=64)


def test_live_a_straggler_between_windows_is_in_none_and_is_no_failure() -> None:
    """Windows may be shorter than the time from one to the next: what lies between them is in none."""
    read = view(sliding(minutes(1), every=hours(1)), lateness=minutes(5), beyond_lateness="dead_letter")

    async def steps(t: Run) -> None:
        await t.advance_to(at(200))
        await t.publish(Sold(id="between"), at=at(90))
        await t.advance(hours=1)
        assert t.all(Summed) == []
        assert t.dead_letters() == []

    run(closing(read), steps, live=True, partitions=64)


def test_a_failing_handler_of_closed_windows_leaves_a_dead_letter_that_can_be_redriven() -> None:
    """It is tried like any other; redriven, it is told the same of the window."""
    broken = [True]

    def fail(closed: Closed) -> None:
        if broken[0]:
            raise ValueError(f"{closed.row[0]} in {closed.view}")

    async def steps(t: Run) -> None:
        await t.publish(Sold(id="a"), at=at(1))
        await t.advance(hours=2)
        (letter,) = t.dead_letters()
        assert letter.cause == "ValueError: 1 in v"
        broken[0] = False
        await t.redrive(letter)
        await t.advance(hours=1)
        assert t.only(Summed).event.n == 1

    run(closing(view(tumbling(hours(1))), fail), steps)


def test_a_tick_comes_after_the_windows_that_close_at_its_moment() -> None:
    """Who sums up closed windows by the hour finds those of that hour."""
    service = Service("s")
    read = view(tumbling(hours(1)))

    @service.closed(read)
    def close(closed: Closed, seen: State[int] = use("seen")) -> None:
        seen.set(closed.row.n)

    @service.every(hours(1), key="north")
    def tick(tick: Tick, seen: State[int] = use("seen")) -> Told:
        return Told(id=str(tick.time_us), values=[seen.get()])

    async def steps(t: Run) -> None:
        await t.publish(Sold(id="a"), at=at(1))
        await t.advance(minutes=60)
        assert t.only(Told).event.values == [1]

    run(App("shop", services=[service]), steps)


class Odd(Event, type="odds.odd.v1", key="id"):
    id: str
    value: Any


@pytest.mark.parametrize(
    ("declare", "bad", "why"),
    [
        (lambda: {"by": lambda e: e.value, "window": hours(1), "n": count()}, 5, "a key is text"),
        (lambda: {"by": lambda e: e.value, "window": tumbling(hours(1)), "n": count()}, 5, "a key is text"),
        (lambda: {"by": _all, "window": tumbling(hours(1)), "n": distinct(_value)}, 2**70, "ints"),
        (lambda: {"by": _all, "window": hours(1), "at": _value, "n": count()}, 2**70, "further from 1970"),
        (
            lambda: {"by": _all, "window": hours(1), "at": _value, "lateness": hours(1), "n": count()},
            -(2**70),
            "further from 1970",
        ),
    ],
    ids=["key", "key of windows", "distinct", "time", "time of windows"],
)
def test_what_cannot_be_stored_is_refused_one_by_one_and_stops_nothing(
    declare: Callable[[], Any], bad: Any, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that is no text, or a number beyond 64 bits, is a dead letter of the view, and no failing commit."""
    monkeypatch.setattr(tables, "STORED_EVERY", 1)
    read = View("v", Odd, **declare())
    service = Service("telling")

    @service.on(Odd)
    def tell(odd: Odd, reader: Reader = use(read)) -> Told:
        return Told(id=odd.id, values=[])

    async def steps(t: Run) -> None:
        for number, value in enumerate(("a" if "key" in why else 1, bad, "b" if "key" in why else 2)):
            await t.publish(Odd(id=f"{number}", value=value))
        await t.advance(hours=1)
        await t.crash()
        await t.advance(hours=1)
        assert len(t.all(Told)) == 3
        (letter,) = t.dead_letters()
        assert why in letter.cause
        assert str(bad) not in letter.cause

    run(App("shop", services=[service]), steps)


def _all(_: Any) -> str:
    return "all"


def _value(odd: Odd) -> Any:
    return odd.value


def test_what_nobody_asks_for_any_more_is_forgotten() -> None:
    """A view keeps what its windows cover, and no key that nothing comes under."""
    table = Windowed(view(tumbling(minutes(1)), s=count(window=session(minutes(1), kept=minutes(5)))))
    for second in range(3600):
        us = second * MICROSECONDS
        shop = "north" if second < 1000 or second % 10 == 0 else "south"
        record = Record(f"{second}", Sold.event_type, "sales", "x", us, b"")
        table.add(Sold(id="x", shop=f"{shop}{second // 600 if shop == 'south' else ''}"), us, record)
        table.trim(us, set(table.changed))
        table.changed.clear()
    assert set(table.series) == {"north", "south5"}
    # The session of the north goes on, so all of it is kept: nothing tells how long it will be.
    assert len(table.series["south5"].all) <= 600


def test_a_key_far_ahead_keeps_no_other_in_memory() -> None:
    """An entry that counts from a time to come stays; keys that came after it are forgotten all the same."""
    table = Windowed(view(tumbling(minutes(1)), at=lambda e: e.amount * MICROSECONDS, lateness=minutes(1)))
    for second in [10**9, *range(3600)]:
        record = Record(f"{second}", Sold.event_type, "sales", "x", 0, b"")
        sold = Sold(id="x", shop=f"shop{second}", amount=second)
        table.add(sold, min(second, 3600) * MICROSECONDS, record)
        table.trim(min(second, 3600) * MICROSECONDS, set(table.changed))
        table.changed.clear()
    assert len(table.series) < 300
    assert f"shop{10**9}" in table.series


REFUSED = [
    (lambda: view(tumbling(hours(0))), "Cannot tumble by 0:00:00"),
    (lambda: view(sliding(hours(1), every=hours(-1))), "Cannot slide by -1 day"),
    (lambda: view(session(hours(0))), "Cannot keep sessions by 0:00:00"),
    (lambda: view(hours(1), lateness=hours(-1)), "lateness of -3600 s is negative"),
    (lambda: view(hours(1), q=quantile(lambda e: e.amount, 1.5)), "quantile 1.5"),
    (lambda: view(hours(0)), "covers 0:00:00"),
    (lambda: view(tumbling(hours(1)), allowance=hours(1)), "allowance of 3600 s"),
    (lambda: view(tumbling(hours(1)), at=lambda e: 1), "says 'at'"),
    (
        lambda: View("v", Sold, by=lambda e: e.shop, t=total(lambda e: 1), lateness=hours(1)),
        "'t' has no window",
    ),
    (lambda: View("v", Sold, by=lambda e: e.shop, m=maximum(lambda e: 1)), "'m' has no window"),
    (lambda: closing(view(hours(1))), "they slide"),
    (
        lambda: closing(View("v", Sold, by=lambda e: e.shop, t=total(lambda e: 1))),
        "they slide, or there are none",
    ),
    (lambda: closing(view(tumbling(hours(1)), m=count(window=hours(3)))), "'m' has one of its own"),
]


@pytest.mark.parametrize(("declare", "why"), REFUSED, ids=[why for _, why in REFUSED])
def test_what_cannot_be_kept_is_refused_where_it_is_declared(declare: Callable[[], Any], why: str) -> None:
    """Each says what is wrong with which view, and what to do."""
    with pytest.raises(InvalidInputError, match=why):
        declare()
