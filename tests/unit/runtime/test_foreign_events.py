"""Pydantic models and dataclasses as events: the user's own classes, wherever a subclass of Event serves."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pydantic
import pytest

from tropism import (
    App,
    Batch,
    Envelope,
    Event,
    Retry,
    Service,
    State,
    View,
    event,
    hours,
    join_as_of,
    join_interval,
    mean,
    testing,
    use,
)
from tropism.adapters.http.sending import Answer
from tropism.app.webhook import webhook
from tropism.core.codec import Codec
from tropism.core.envelope import Record
from tropism.core.errors import InvalidInputError
from tropism.core.forms import convert, fields_of
from tropism.runtime.scheduled import delayed, scheduled


class Line(pydantic.BaseModel, frozen=True):
    sku: str
    count: int = pydantic.Field(ge=1)


@event(type="orders.paid.v1", key="order")
class Paid(pydantic.BaseModel, frozen=True):
    order: str
    amount: Decimal
    lines: list[Line] = []
    shares: dict[str, float] = {}
    note: str = pydantic.Field(default="", alias="remark")

    @pydantic.field_validator("note")
    @classmethod
    def _polite(cls, note: str) -> str:
        if note == "raises":
            raise KeyError(note)
        if note == "secret":
            raise ValueError(f"not {note}")
        return note


@event(type="orders.booked.v1", key="order")
@dataclass(frozen=True)
class Booked:
    order: str
    cents: int
    times: int = 1

    def __post_init__(self) -> None:
        if self.cents == 13:
            raise LookupError("13")


class Shipped(Event, type="orders.shipped.v1", key="order"):
    order: str


by_order = View("paid", Paid, by=lambda e: e.order, window=hours(1), amount=mean(lambda e: float(e.amount)))


def shop() -> App:
    books, depot = Service("books"), Service("depot")

    @books.on(Paid, retry=Retry(attempts=1))
    async def book(paid: Paid, n: State[int] = use("n")) -> Booked:
        n.set((n.get() or 0) + 1)
        return Booked(order=paid.order, cents=int(paid.amount * 100), times=n.get() or 0)

    @depot.on(Booked)
    def ship(batch: Batch[Booked]) -> list[Shipped]:
        assert set(batch.columns) == {"order", "cents", "times"}
        return [Shipped(order=order) for order in batch.column("order")]

    @depot.on(Paid, retry=Retry(attempts=1))
    def look(envelope: Envelope[Paid]) -> None:
        assert isinstance(envelope.data, Paid)

    return App("shop", services=[books, depot], views=[by_order])


def run(check: Any, **options: Any) -> None:
    async def main() -> None:
        async with testing.run(shop(), **options) as t:
            await check(t)

    asyncio.run(main())


def test_handlers_take_and_give_the_users_own_classes() -> None:
    """A model comes in as itself, a dataclass goes out and is handled in turn, under the key it declares."""

    async def check(t: Any) -> None:
        paid = Paid(order="a", amount=Decimal("1.50"), lines=[Line(sku="x", count=2)], remark="hi")
        await t.publish(paid)
        await t.advance(seconds=1)
        assert t.only(Paid).event == paid
        assert t.only(Booked).event == Booked(order="a", cents=150)
        assert t.only(Booked).caused_by(paid)
        assert t.only(Shipped).event.order == "a"
        assert t.state("books", "n", "a") == 1

    run(check)


@pytest.mark.parametrize(
    ("data", "fact"),
    [
        (b'{"order": "a"}', "Field required - at `$.amount`"),
        (b'{"order": "a", "amount": "secret"}', "Decimal parsing - at `$.amount`"),
        (b'{"order": "a", "amount": 1, "lines": [{"sku": "s", "count": 0}]}', "- at `$.lines[0].count`"),
        (b'{"order": "a", "amount": 1, "remark": "secret"}', "Value error - at `$.remark`"),
        (b'{"order": "a", "amount": 1, "remark": "raises"}', "Paid refused it with KeyError"),
        (b"\xff", "Json invalid"),
        (b'{"order": "a", "amount": 1, "shares": {"secret": "x"}}', "at `$.shares[...]`"),
    ],
)
def test_what_a_model_refuses_is_a_dead_letter_that_names_the_field_only(data: bytes, fact: str) -> None:
    """Whatever a validator raises, the event is given up once a service, and its values are not told."""

    async def check(t: Any) -> None:
        await t.publish_bytes("orders.paid.v1", data, key="a")
        await t.publish(Paid(order="b", amount=Decimal(1)))
        await t.advance(seconds=1)
        letters = t.dead_letters()
        assert {letter.service for letter in letters} == {"books", "depot"}
        assert all(fact in letter.cause and "secret" not in letter.cause for letter in letters)
        assert t.only(Booked).event.order == "b"

    run(check)


def test_outputs_are_validated_before_they_are_committed() -> None:
    """A model made without validation, and a dataclass whose own check fails, publish nothing."""

    async def check(t: Any) -> None:
        with pytest.raises(
            InvalidInputError, match=r"valid integer.*\$\.lines\[0\]\.count|greater than or equal"
        ):
            await t.publish(
                Paid.model_construct(
                    order="a", amount=Decimal(1), lines=[Line.model_construct(sku="", count=0)]
                )
            )
        await t.publish(Paid(order="c", amount=Decimal("0.13")))
        await t.advance(seconds=1)
        (letter,) = t.dead_letters()
        assert "LookupError" in letter.cause
        assert t.all(Booked) == []

    run(check)


def test_what_reads_itself_back_otherwise_is_refused() -> None:
    """Names by which a model reads are those by which it writes."""
    codec = Codec([Paid, Booked])
    data = codec.encode(Paid(order="a", amount=Decimal(1), remark="x"))
    assert b'"remark":"x"' in data
    assert codec.decoder("orders.paid.v1")(data).note == "x"
    with pytest.raises(InvalidInputError, match="Expected `int`"):
        codec.encode(Booked(order="a", cents="1"))  # type: ignore[arg-type]


def test_a_model_may_have_a_field_of_the_name_by_which_its_class_is_known() -> None:
    """What the class is stored under is asked of the class, never of the event."""

    @event(type="a.told.v1", key="event_key")
    class Told(pydantic.BaseModel, frozen=True):
        event_type: str
        event_key: str

    codec = Codec([Told])  # type: ignore[list-item]
    data = codec.encode(Told(event_type="x", event_key="k"))
    assert codec.decoder("a.told.v1")(data).event_type == "x"


def _named_alike() -> None:
    class Alike(Event, type="a.b.v1"):
        event_type: str  # type: ignore[misc]


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (_named_alike, "another name"),
        (lambda: event(type="a.b.v1")(int), "no dataclass and no pydantic model"),
        (lambda: event(type="a.b.v1")(dataclass(type("D", (), {}))), "frozen=True"),
        (lambda: event(type="a.b.v1")(pydantic.create_model("M", a=(int, 1))), "frozen=True"),
        (lambda: event(type="ab")(dataclass(frozen=True)(type("D", (), {}))), "not of the form"),
        (
            lambda: event(type="a.b.v1", key="k")(dataclass(frozen=True)(type("D", (), {}))),
            "not one of its fields",
        ),
        (lambda: Codec([int]), "no type name"),  # type: ignore[list-item]
        (lambda: Codec([Event]), "no type name"),
    ],
)
def test_classes_that_cannot_be_facts_are_refused(make: Any, match: str) -> None:
    """A fact has a name, a key among its fields, and does not change."""
    with pytest.raises(InvalidInputError, match=match):
        make()


def test_a_handler_of_a_class_that_is_no_event_is_refused() -> None:
    """Only classes with a type name can be handled; the error says how to give one."""

    def handle(line: Line) -> None: ...

    with pytest.raises(InvalidInputError, match="@event"):
        Service("s").on()(handle)


def test_a_model_that_is_not_whole_is_refused_by_name() -> None:
    """Annotations that nothing defines are told when the app is composed, not with the first event."""
    model = pydantic.create_model("Open", __config__={"frozen": True}, a=("Nowhere", ...))
    with pytest.raises(InvalidInputError, match="'a\\.open\\.v1': Open is not whole"):
        Codec([event(type="a.open.v1")(model)])


def test_pydantic_dataclasses_are_validated_by_pydantic() -> None:
    """A dataclass of pydantic's keeps its validation, decoded too."""

    @event(type="a.seen.v1", key="name")
    @pydantic.dataclasses.dataclass(frozen=True)
    class Seen:
        name: str
        count: int = pydantic.Field(gt=0)

    codec = Codec([Seen])  # type: ignore[list-item]
    assert codec.decoder("a.seen.v1")(codec.encode(Seen("x", 1))) == Seen("x", 1)
    with pytest.raises(InvalidInputError, match="greater than 0"):
        codec.decode(Record("1", "a.seen.v1", "a", "", 0, b'{"name": "x", "count": 0}'))


def test_fields_are_known_of_every_kind_of_class() -> None:
    """Names, and which of them a row has to bring, are told alike."""
    assert [(f.name, f.required) for f in fields_of(Booked)] == [
        ("order", True),
        ("cents", True),
        ("times", False),
    ]
    assert [f.name for f in fields_of(Paid) if f.required] == ["order", "amount"]
    assert [f.name for f in fields_of(Shipped)] == ["order"]
    assert convert({"order": "a", "cents": "3"}, Booked) == Booked("a", 3)
    assert convert({"order": "a", "amount": "3", "note": "by name"}, Paid).note == "by name"


def test_a_class_that_answers_in_two_ways_stops_no_service() -> None:
    """A validator that goes by more than the event makes a dead letter of it, and the next one is handled."""
    asked: list[str] = []

    @event(type="odd.told.v1", key="name")
    class Odd(pydantic.BaseModel, frozen=True):
        name: str

        @pydantic.field_validator("name")
        @classmethod
        def _once(cls, name: str) -> str:
            asked.append(name)
            if asked.count(name) == 1 and name == "odd":
                raise ValueError
            return name

    service, taken = Service("odd"), []

    @service.on(Odd)
    def take(odd: Odd) -> None:
        taken.append(odd.name)

    async def main() -> None:
        async with testing.run(App("odd", services=[service])) as t:
            for name in ("odd", "even"):
                await t.publish_bytes("odd.told.v1", b'{"name": "%s"}' % name.encode(), key=name)
            await t.advance(seconds=1)
            (letter,) = t.dead_letters()
            assert "took it when asked again" in letter.cause
            assert taken == ["even"]

    asyncio.run(main())


def test_they_are_joined_posted_and_published_later_like_any_other() -> None:
    """Joins, webhooks and what is scheduled keep an event as its own class writes it, also by its aliases."""
    price = join_as_of("price", Paid, by=lambda e: e.order, key=lambda e: e.order)
    around = join_interval("around", Paid, by=lambda e: e.order, key=lambda e: e.order, before=hours(1))
    joining = Service("joining")
    found: list[Any] = []

    @joining.on(Shipped)
    def join(_: Shipped, latest: Paid | None = use(price), all_: list[Paid] = use(around)) -> None:
        found.extend([latest, *all_])

    class Other:
        """The other side of a webhook."""

        async def __call__(self, _: Any, body: bytes) -> Answer:
            found.append(body)
            return Answer(202)

        async def close(self) -> None: ...

    hook = webhook("billing", Paid, url="https://billing.example/", post=Other)
    paid = Paid(order="o", amount=Decimal("1.50"), remark="yes")

    async def main() -> None:
        async with testing.run(App("shop", services=[joining, hook, delayed(Paid)])) as t:
            await t.publish(scheduled(paid, t.now + timedelta(minutes=5)))
            await t.advance(minutes=6)
            await t.publish(Shipped(order="o"))
            await t.advance(hours=1)

    asyncio.run(main())
    body, *joined = found
    assert body == b'{"order":"o","amount":"1.50","lines":[],"shares":{},"remark":"yes"}'
    assert joined == [paid, paid]
