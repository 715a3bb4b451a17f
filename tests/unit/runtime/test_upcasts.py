"""Old events read as new ones, wherever the runtime decodes."""

import asyncio
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tropism import App, Envelope, Event, Reader, Retry, Service, View, hours, testing, total, upcasts, use
from tropism.core.codec import Codec
from tropism.core.envelope import Record
from tropism.core.errors import InvalidInputError
from tropism.runtime.upcasting import UpcastingLog, with_upcasts


@upcasts("orders.paid.v1", to="orders.paid.v2")
def to_cents(old: dict[str, Any]) -> dict[str, Any]:
    if old.get("amount") == 666:
        raise KeyError("amount_of_the_beast")
    if isinstance(old.get("amount"), str):
        return {}[old["amount"]]
    return {"order": old["order"], "cents": round(old["amount"] * 100)}


@upcasts("orders.paid.v2", to="orders.paid.v3")
def add_currency(old: dict[str, Any]) -> dict[str, Any]:
    return {**old, "currency": "EUR"}


class Paid(Event, type="orders.paid.v3", key="order", upcasts=[to_cents, add_currency]):
    order: str
    cents: int
    currency: str


class Booked(Event, type="books.booked.v1", key="order"):
    order: str
    cents: int
    before: float
    type: str


class Seen(Event, type="books.seen.v1", key="order"):
    order: str


sums = View("sums", Paid, by=lambda e: e.currency, window=hours(9), cents=total(lambda e: e.cents))
later = View(
    "later",
    Paid,
    by=lambda e: e.currency,
    allowance=timedelta(minutes=1),
    at=lambda e: 0,
    cents=total(lambda e: e.cents),
)


def shop(**options: Any) -> App:
    books, audit = Service("books"), Service("audit")

    @books.on(Paid, retry=Retry(attempts=1))
    async def book(paid: Envelope[Paid], sum: Reader = use(sums)) -> Booked:
        return Booked(order=paid.data.order, cents=paid.data.cents, before=sum("EUR").cents, type=paid.type)

    @audit.on(Booked)
    def audit_(booked: Booked) -> Seen:
        return Seen(order=booked.order)

    return App("shop", services=[books, audit], views=[sums], **options)


def run(check: Any, app: App | None = None, **options: Any) -> None:
    async def main() -> None:
        async with testing.run(app or shop(), **options) as t:
            await check(t)

    asyncio.run(main())


@pytest.mark.parametrize("live", [False, True])
def test_handlers_and_views_get_old_events_as_the_newest_type(live: bool) -> None:
    """One step or two, and none: all three names reach the handler and its view as one type."""

    async def check(t: Any) -> None:
        await t.publish_bytes("orders.paid.v1", b'{"order": "a", "amount": 1.5}', key="a")
        await t.advance(minutes=1)
        await t.publish_bytes("orders.paid.v2", b'{"order": "b", "cents": 20}', key="b")
        await t.advance(minutes=1)
        await t.publish(Paid(order="c", cents=3, currency="EUR"))
        await t.advance(minutes=1)
        found = [(b.event.order, b.event.cents, b.event.before, b.event.type) for b in t.all(Booked)]
        assert found == [
            ("a", 150, 0.0, "orders.paid.v3"),
            ("b", 20, 150.0, "orders.paid.v3"),
            ("c", 3, 170.0, "orders.paid.v3"),
        ]
        assert [p.event.cents for p in t.all(Paid)] == [150, 20, 3]

    run(check, live=live)


@pytest.mark.parametrize("ignore_unknown", [False, True])
def test_an_upcast_that_fails_is_a_dead_letter_with_its_cause_and_the_old_event(ignore_unknown: bool) -> None:
    """Only who wants the event gives up on it, the letter holds what was published, and other keys go on."""

    async def check(t: Any) -> None:
        await t.publish_bytes("orders.paid.v1", b'{"order": "a", "amount": 666}', key="a")
        await t.publish_bytes("orders.paid.v1", b'"no object"', key="x")
        await t.publish_bytes("orders.paid.v1", b'{"a":' * 5000, key="deep")
        await t.publish_bytes("orders.paid.v1", b'{"order": "s", "amount": "secret"}', key="s")
        await t.publish_bytes("orders.paid.v2", b'{"order": "b"}', key="b")
        await t.publish_bytes("orders.paid.v1", b'{"order": "c", "amount": 1}', key="c")
        await t.advance(minutes=1)
        letters = {letter.record.subject: letter for letter in t.dead_letters()}
        assert set(letters) == {"a", "b", "x", "deep", "s"}
        assert not any("secret" in letter.cause for letter in letters.values())
        assert "'to_cents'" in letters["a"].cause
        assert "KeyError: 'amount_of_the_beast'" in letters["a"].cause
        assert letters["a"].record.type == "orders.paid.v1"
        assert letters["a"].record.data == b'{"order": "a", "amount": 666}'
        assert "was given no object" in letters["x"].cause
        assert "cents" in letters["b"].cause
        assert {letter.service for letter in letters.values()} == {"books"}
        assert [b.event.order for b in t.all(Booked)] == ["c"]

    run(check, shop(ignore_unknown=ignore_unknown), allow_dead_letters=True)


def test_a_redriven_event_is_upcast_by_the_mended_step() -> None:
    """After a fix the old event reaches the handler that wants it, once."""
    broken = [True]

    @upcasts("jobs.done.v1", to="jobs.done.v2")
    def step(old: dict[str, Any]) -> dict[str, Any]:
        if broken[0]:
            raise RuntimeError
        return {"id": old["name"]}

    class Done(Event, type="jobs.done.v2", key="id", upcasts=[step]):
        id: str

    class Told(Event, type="told.done.v1", key="id"):
        id: str

    tell = Service("tell")

    @tell.on(Done)
    def told(done: Done) -> Told:
        return Told(id=done.id)

    async def check(t: Any) -> None:
        await t.publish_bytes("jobs.done.v1", b'{"name": "n"}', key="n")
        await t.advance(minutes=1)
        broken[0] = False
        await t.redrive(*t.dead_letters())
        await t.advance(minutes=1)
        assert t.only(Told).event.id == "n"
        assert t.dead_letters() == []

    run(check, App("jobs", services=[tell]))


def test_a_view_beside_the_order_of_time_takes_old_events_and_tells_what_it_cannot_read() -> None:
    """Views with an allowance read through the same steps, and a failing one is theirs to give up on."""
    service = Service("late")

    @service.on(Seen)
    def look(seen: Seen, sum: Reader = use(later)) -> Booked:
        return Booked(order=seen.order, cents=int(sum("EUR").cents), before=0, type="")

    async def check(t: Any) -> None:
        await t.publish_bytes("orders.paid.v1", b'{"order": "a", "amount": 2}', key="a")
        await t.publish_bytes("orders.paid.v1", b'{"order": "b", "amount": 666}', key="b")
        await t.advance(minutes=5)
        await t.publish(Seen(order="s"))
        await t.advance(minutes=5)
        assert t.only(Booked).event.cents == 200
        (letter,) = t.dead_letters()
        assert letter.handler == "view later"

    run(check, App("late", services=[service], views=[later]))


def test_a_log_without_old_types_is_left_as_it_is() -> None:
    """Who declares no upcasts pays nothing for those of others: the platform is the very same."""
    platform: Any = object()
    assert with_upcasts(platform, Codec([Seen])) is platform


def test_types_left_out_are_left_out_under_their_old_names_too() -> None:
    """What no handler wants is not even read, whichever name it was stored under."""
    asked: list[set[str]] = []

    class Spy:
        async def read(self, cursors: Any, *, count_max: int, without: Any) -> dict[Any, Any]:
            asked.append(set(without))
            return {}

    log: Any = UpcastingLog(Spy(), Codec([Paid]))  # type: ignore[arg-type]
    asyncio.run(log.read({}, count_max=1, without={"orders.paid.v3"}))
    assert asked == [{"orders.paid.v1", "orders.paid.v2", "orders.paid.v3"}]


def test_steps_are_plain_functions() -> None:
    """A step can be called in a test, and a codec alone reads old records."""
    assert to_cents({"order": "a", "amount": 1}) == {"order": "a", "cents": 100}
    old = Record("1", "orders.paid.v1", "orders", "a", 0, b'{"order": "a", "amount": 1}')
    assert Codec([Paid]).envelope(old).data == Paid(order="a", cents=100, currency="EUR")
    assert Codec([Paid]).envelope(old).type == "orders.paid.v3"


def _event(name: str, *steps: Any) -> Any:
    class Made(Event, type=name, upcasts=steps):
        pass

    return Made


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: _event("orders.paid.v3", to_cents), "leads nowhere"),
        (lambda: _event("orders.paid.v2", to_cents, replace(to_cents)), "does so already"),
        (lambda: _event("bills.paid.v2", to_cents), "another topic"),
        (lambda: _event("a.b.v2", upcasts("a.b.v2", to="a.b.v2")(dict)), "what it is to become"),
        (
            lambda: _event(
                "a.b.v3", upcasts("a.b.v1", to="a.b.v2")(dict), upcasts("a.b.v2", to="a.b.v1")(dict)
            ),
            "leads nowhere",
        ),
        (lambda: Codec([Paid, _event("orders.paid.v1")]), "reads it"),
    ],
)
def test_steps_that_do_not_lead_to_the_type_are_refused(make: Any, match: str) -> None:
    """Every old name has one way on, within its topic, and it ends at the type that declares it."""
    with pytest.raises(InvalidInputError, match=match):
        make()


def test_a_class_may_stand_for_its_name() -> None:
    """Old classes that are kept need not be spelled out."""
    old = _event("orders.paid.v9")
    assert upcasts(old, to="orders.paid.v10")(dict).old == "orders.paid.v9"


def test_the_example_books_old_and_new(monkeypatch: pytest.MonkeyPatch) -> None:
    """The program under examples does what it says."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[3] / "examples"))
    import schemas as example

    assert asyncio.run(example.main()) == ["9.50 EUR", "3 CHF"]
    monkeypatch.delitem(sys.modules, "schemas")
