"""What a handler's signature means: what it is given, what it may give back, and what is refused."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from tropism import App, Batch, Envelope, Event, Output, Service, State, View, count, hours, testing, use
from tropism.core.codec import Codec, record_of
from tropism.core.envelope import derived_id
from tropism.core.errors import InvalidInputError
from tropism.runtime.call import Caller


class Paid(Event, type="orders.paid.v1", key="order"):
    order: str
    cents: int = 1


class Refunded(Event, type="orders.refunded.v1", key="order"):
    order: str


class Booked(Event, type="books.booked.v1", key="order"):
    order: str
    cents: int = 0


class Other(Event, type="books.other.v1", key="order"):
    order: str


class Keyless(Event, type="noise.heard.v1"):
    text: str


def booked(events: list[Event], service: Service, **options: Any) -> list[Booked]:
    """Return what a service books of events published at one moment."""

    async def main() -> list[Booked]:
        async with testing.run(App("app", services=[service]), **options) as t:
            await t.publish(*events)
            await t.advance(hours=1)
            return [found.event for found in t.all(Booked)]

    return sorted(asyncio.run(main()), key=lambda e: e.order)


def one(event: Paid) -> Booked:
    return Booked(order=event.order, cents=event.cents)


async def one_async(event: Paid) -> Booked:
    await asyncio.sleep(0)
    return one(event)


def envelope(envelope: Envelope[Paid]) -> Booked:
    assert envelope.subject == envelope.data.order
    return one(envelope.data)


def listed(events: list[Paid]) -> list[Booked]:
    return [one(event) for event in events]


def enveloped(envelopes: list[Envelope[Paid]]) -> list[Output | Booked]:
    return [Output(one(e.data), by=e) for e in envelopes]


def columns(batch: Batch[Paid]) -> list[Booked]:
    assert len(batch) == len(batch.keys) == len(batch.times_us)
    return [
        Booked(order=order, cents=cents)
        for order, cents in zip(batch.column("order"), batch.columns["cents"], strict=True)
    ]


def generated(event: Paid) -> Iterator[Booked]:
    yield one(event)


async def generated_async(event: Paid) -> AsyncIterator[Booked]:
    await asyncio.sleep(0)
    yield one(event)


SHAPES = [one, one_async, envelope, listed, enveloped, columns, generated, generated_async]


@pytest.mark.parametrize("function", SHAPES, ids=lambda f: f.__name__)
@pytest.mark.parametrize("live", [False, True], ids=["event-time", "live"])
def test_every_shape_of_handler_books_every_event_once(function: Callable[..., Any], live: bool) -> None:
    """However events are taken and given back, each comes through once, under its key."""
    service = Service("books")
    service.on(Paid)(function)
    events = [Paid(order=f"{i:02}", cents=i) for i in range(20)]
    wanted = [Booked(order=e.order, cents=e.cents) for e in events]
    assert booked(list(events), service, live=live) == wanted


def test_a_handler_of_several_types_takes_all_of_them() -> None:
    """A union names the events, and the handler need not say them again."""
    service = Service("books")

    @service.on()
    def either(event: Paid | Refunded) -> Booked:
        return Booked(order=event.order, cents=1 if isinstance(event, Paid) else -1)

    found = booked([Paid(order="a"), Refunded(order="b")], service)
    assert [e.cents for e in found] == [1, -1]


def test_two_handlers_of_one_event_share_its_state_in_turn() -> None:
    """What one handler of an event writes, the next one reads."""
    service = Service("books")

    @service.on(Paid)
    def first(event: Paid, n: State[int] = use("n")) -> None:
        n.set((n.get() or 0) + 1)

    @service.on(Paid)
    def second(event: Paid, n: State[int] = use("n")) -> Booked:
        n.set((n.get() or 0) + 10)
        return Booked(order=event.order, cents=n.get() or 0)

    # Found in order of time, then of id: both are of one moment.
    assert sorted(e.cents for e in booked([Paid(order="a"), Paid(order="a")], service)) == [11, 22]


def test_ids_and_causes_of_outputs_are_derived() -> None:
    """An output's id follows from its input, its handler and its place; its cause is its input."""
    service = Service("books")

    @service.on(Paid)
    def twice(event: Paid) -> list[Booked]:
        return [Booked(order=event.order), Booked(order=event.order)]

    async def main() -> None:
        async with testing.run(App("app", services=[service])) as t:
            (cause,) = await t.publish(Paid(order="a"))
            await t.advance()
            found = t.all(Booked)
            at_us = found[0].envelope.time_us
            wanted = {derived_id(cause, "books.twice", n, at_us) for n in (0, 1)}
            assert {f.id for f in found} == wanted
            assert {f.envelope.causation_id for f in found} == {cause}
            assert {f.envelope.source for f in found} == {"books"}
            assert all(f.time == t.all(Paid)[0].time for f in found)

    asyncio.run(main())


class Returned(Event, type="returns.returned.v1", key="order"):
    order: str


@pytest.mark.parametrize("many", [False, True], ids=["one", "batch"])
def test_two_facts_of_one_id_have_outputs_of_their_own(many: bool) -> None:
    """Ids are unique in a topic only: what came of an event of another topic is no repeat, nor its cause."""
    service = Service("books")

    if many:

        @service.on(Paid, Returned, emits=[Booked])
        def book_all(events: list[Envelope[Any]]) -> list[Output]:
            return [Output(Booked(order=type(e.data).__name__), by=e) for e in events]

    else:

        @service.on(Paid, Returned)
        def book(event: Paid | Returned) -> Booked:
            return Booked(order=type(event).__name__)

    async def main() -> None:
        async with testing.run(App("app", services=[service]), live=True) as t:
            codec = Codec([Paid, Returned])
            facts = [Paid(order="a"), Returned(order="a")]
            records = [record_of(e, codec.encode(e), id="x1", time_us=1_800_000_000_000_000) for e in facts]
            await t.simulation.store.log.append(records)
            await t.advance(hours=1)
            assert sorted(each.event.order for each in t.all(Booked)) == ["Paid", "Returned"]

    asyncio.run(main())


def test_derived_ids_stand_in_order_of_their_inputs_times() -> None:
    """What is published together has ids that lie together, whatever they are derived from."""
    ids = [derived_id(f"{us % 7}", "books.twice", us % 3, us) for us in range(0, 2**52, 2**45 + 12_345)]
    assert ids == sorted(ids)
    assert {len(id) for id in [*ids, derived_id("a", "b", 0, -1), derived_id("a", "b", 0, 2**63 - 1)]} == {32}


def test_a_rekeyed_event_is_the_same_fact() -> None:
    """``by`` changes the key, and neither the id, nor the source, nor what is caused by it."""
    service = Service("books")
    seen: list[Envelope[Paid]] = []

    @service.on(Paid, by=lambda e: str(e.cents))
    def by_amount(envelope: Envelope[Paid], n: State[int] = use("n")) -> Booked:
        seen.append(envelope)
        n.set((n.get() or 0) + 1)
        return Booked(order=envelope.subject, cents=n.get() or 0)

    async def main() -> None:
        async with testing.run(App("app", services=[service])) as t:
            paid = Paid(order="a", cents=5)
            ids = await t.publish(paid, Paid(order="b", cents=5))
            await t.advance(hours=1)
            assert sorted(e.id for e in seen) == sorted(ids)
            assert {e.subject for e in seen} == {"5"}
            assert {e.source for e in seen} == {""}
            assert sorted(f.event.cents for f in t.all(Booked)) == [1, 2]
            assert sum(f.caused_by(paid) for f in t.all(Booked)) == 1
            assert t.state("books", "n", "5") == 2

    asyncio.run(main())


@pytest.mark.parametrize(
    ("give", "fact"),
    [
        (lambda e: Other(order="a"), "names ['Booked']"),
        (lambda e: "text", "'str' is not an event"),
        (lambda e: {"order": "a"}, "is not an event"),
        (lambda e: Booked(order=5), "Expected `str`, got `int`"),  # type: ignore[arg-type]
    ],
    ids=["undeclared", "text", "dictionary", "invalid"],
)
def test_what_may_not_be_published_is_refused(give: Callable[[Paid], Any], fact: str) -> None:
    """An output that the signature does not announce, or that does not fit its own type, is an error."""
    service = Service("books")

    @service.on(Paid)
    def wrong(event: Paid) -> Booked:
        result: Booked = give(event)
        return result

    with pytest.raises(InvalidInputError, match="Cannot publish") as raised:
        booked([Paid(order="a")], service)
    assert fact in str(raised.value)


def test_an_output_larger_than_the_log_takes_is_refused_where_it_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Too large an output fails its handler, not the commit of everybody else's."""
    service = Service("books")

    @service.on(Paid)
    def grow(event: Paid) -> Booked:
        return Booked(order=event.order * event.cents)

    monkeypatch.setattr("tropism.adapters.memory.log.RECORD_BYTES_MAX", 1000)
    original = Caller.__init__

    def small(self: Caller, *args: Any, **more: Any) -> None:
        original(self, *args, **{**more, "record_bytes_max": 1000})

    monkeypatch.setattr(Caller, "__init__", small)

    async def main() -> None:
        async with testing.run(App("app", services=[service])) as t:
            await t.publish(Paid(order="a", cents=2000), Paid(order="b"))
            await t.advance(hours=1)
            assert [letter.record.subject for letter in t.dead_letters()] == ["a"]
            assert t.only(Booked).event.order == "b"

    asyncio.run(main())


class Nothing:
    """No event."""


def no_type(event) -> None: ...
def no_parameter() -> None: ...
def no_event(event: int) -> None: ...
def any_event(event: Event) -> None: ...
def no_injection(event: Paid, view: Any) -> None: ...
def no_state_type(event: Paid, n=use("n")) -> None: ...
def no_state(event: Paid, n: int = use("n")) -> None: ...
def no_source(event: Paid, n: Any = use(5)) -> None: ...  # type: ignore[arg-type]
def no_key(event: Keyless, n: State[int] = use("n")) -> None: ...
def no_name(event: "Missing") -> None: ...  # type: ignore[name-defined]  # noqa: F821 (that it is missing is the point)
def any_output(event: Paid) -> Event: ...  # type: ignore[empty-body]
def batch_view(
    events: list[Paid], view=use(View("v", Paid, by=lambda e: e.order, window=hours(1), n=count()))
) -> None: ...


BAD = [
    no_type, no_parameter, no_event, any_event, no_injection, no_state_type, no_state, no_source, no_key,
    no_name, any_output, batch_view,
]  # fmt: skip


@pytest.mark.parametrize("function", BAD, ids=lambda f: f.__name__)
def test_a_signature_that_does_not_fit_is_refused_at_definition(function: Callable[..., Any]) -> None:
    """What could never work is an error where it is written, and the text says what to do."""
    with pytest.raises(InvalidInputError, match="^Cannot ") as raised:
        Service("books").on()(function)
    assert function.__name__ in str(raised.value)
    assert str(raised.value).endswith(".")
    assert str(raised.value).count(". ") >= 1


def test_decorator_and_annotation_must_agree() -> None:
    """Naming other events than the annotation does is an error."""
    with pytest.raises(InvalidInputError, match="Make decorator and annotation agree"):
        Service("books").on(Refunded)(one)


def test_two_handlers_of_one_name_are_refused() -> None:
    """Ids derive from the names of handlers, so no two may share one."""
    service = Service("books")
    service.on(Paid)(one)
    with pytest.raises(InvalidInputError, match="Rename one"):
        service.on(Paid)(one)


def test_two_handlers_of_one_expiring_state_are_refused() -> None:
    """A value is handed over once when it expires, so one handler at most takes it."""
    from tropism import Expired

    service = Service("books")

    @service.expired("n")
    def gone(event: Expired) -> None: ...

    with pytest.raises(InvalidInputError, match="'n'"):

        @service.expired("n")
        def again(event: Expired) -> None: ...


def test_state_of_another_key_is_out_of_reach() -> None:
    """A handler reaches state only under the keys of its own events."""
    service = Service("books")

    @service.on(Paid)
    def reach(event: Paid, n: State[int] = use("n")) -> None:
        n.set(1, "another")

    with pytest.raises(InvalidInputError, match="Re-key the handler"):
        booked([Paid(order="a")], service)


def test_a_handler_stays_callable_as_plain_code() -> None:
    """Decorating leaves the function as it is."""
    assert Service("books").on(Paid)(one) is one
    assert one(Paid(order="a", cents=3)) == Booked(order="a", cents=3)
