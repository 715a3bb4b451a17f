"""Journaled steps: called once, whatever becomes of the handler around them."""

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from tropism import App, Event, Retry, Service, State, Step, Steps, Tick, hours, seconds, testing, use
from tropism.core.errors import InvalidInputError, UnavailableError
from tropism.runtime.journal import namespace_of
from tropism.runtime.steps import digest
from tropism.testing import Faults


class Ordered(Event, type="orders.ordered.v1", key="order"):
    order: str
    cents: int = 100


class Paid(Event, type="orders.paid.v1", key="order"):
    order: str
    receipts: list[str]


@dataclass
class Receipt:
    id: str
    cents: int


class Bank:
    """Another system, which notes every call and may fail."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int, str]] = []
        self.fails: list[Exception] = []

    async def charge(self, order: str, cents: int, idempotency_key: str = "") -> Receipt:
        self.calls.append((order, cents, idempotency_key))
        receipt = Receipt(f"r-{order}-{len(self.calls)}", cents)
        await asyncio.sleep(0)
        if self.fails:
            raise self.fails.pop(0)
        return receipt


def shop(handle: Any, **options: Any) -> App:
    """Return an app of one handler."""
    service = Service("shop")
    service.on(Ordered, **options)(handle)
    return App("shop", services=[service], events=[Paid])


def kept(t: testing.Run) -> list[str]:
    """Return what is stored of steps."""
    state = t.simulation.store.state
    found = state._namespaces.get(namespace_of("shop"))
    return [] if found is None else list(found.keys)


@pytest.mark.parametrize("live", [False, True], ids=["event-time", "live"])
def test_a_retry_gives_what_the_step_gave(live: bool) -> None:
    """A handler that fails after its steps finds their results again, typed, and calls nobody twice."""
    bank, failures, seen = Bank(), [ValueError("later"), ValueError("again")], []

    async def pay(order: Ordered, steps: Steps) -> Paid:
        one = await steps.run("charge", bank.charge, order.order, order.cents)
        two = await steps.run("tip", bank.charge, order.order, cents=5)
        seen.append((one, two))
        if failures:
            raise failures.pop()
        return Paid(order=order.order, receipts=[one.id, two.id])

    async def main() -> None:
        async with testing.run(shop(pay), live=live) as t:
            await t.publish(Ordered(order="a"))
            await t.advance(hours=1)
            assert t.only(Paid).event.receipts == ["r-a-1", "r-a-2"]
            assert kept(t) == []

    asyncio.run(main())
    assert seen == [(Receipt("r-a-1", 100), Receipt("r-a-2", 5))] * 3
    assert [(order, cents) for order, cents, _ in bank.calls] == [("a", 100), ("a", 5)]
    assert len({key for *_, key in bank.calls}) == 2


def test_a_step_is_durable_before_the_handler_sees_it() -> None:
    """When a step returns, its result is in the store."""
    bank, found = Bank(), []

    async def main() -> None:
        async def pay(order: Ordered, steps: Steps) -> None:
            await steps.run("charge", bank.charge, order.order, 1)
            found.extend(kept(t))

        async with testing.run(shop(pay)) as t:
            (id,) = await t.publish(Ordered(order="a"))
            await t.advance(hours=1)
            assert found == [f"shop.pay/orders/{id}/charge"]

    asyncio.run(main())


def test_a_step_that_raises_is_not_kept_and_goes_with_the_same_key() -> None:
    """The next attempt calls again, under the same idempotency key, which the handler may ask for too."""
    bank, keys = Bank(), []
    bank.fails = [UnavailableError("no")]

    async def pay(order: Ordered, steps: Steps) -> None:
        keys.append(steps.key("charge"))
        await steps.run("charge", bank.charge, order.order, 1)
        keys.append(steps.key("charge"))

    async def main() -> None:
        async with testing.run(shop(pay)) as t:
            await t.publish(Ordered(order="a"))
            await t.advance(hours=1)

    asyncio.run(main())
    assert len(bank.calls) == 2
    assert keys == [bank.calls[0][2], bank.calls[1][2], keys[2]]
    assert keys[0] == keys[1] != keys[2]


def test_names_used_again_are_other_steps() -> None:
    """A loop may run one name for each round, also at the same time; each round finds its own result."""
    bank, failures = Bank(), [ValueError("later")]

    async def pay(order: Ordered, steps: Steps) -> Paid:
        calls = [steps.run("charge", bank.charge, order.order, n) for n in range(5)]
        receipts = await asyncio.gather(*calls)
        assert [r.cents for r in receipts] == list(range(5))
        if failures:
            raise failures.pop()
        return Paid(order=order.order, receipts=[r.id for r in receipts])

    async def main() -> None:
        async with testing.run(shop(pay)) as t:
            await t.publish(Ordered(order="a"))
            await t.advance(hours=1)
            assert len(set(t.only(Paid).event.receipts)) == 5

    asyncio.run(main())
    assert len(bank.calls) == 5
    assert len({key for *_, key in bank.calls}) == 5


def test_steps_may_change_their_order() -> None:
    """A newer version of a handler finds steps by name, runs new ones, and need not ask for old ones."""
    bank, round = Bank(), 0

    async def pay(order: Ordered, steps: Steps) -> Paid:
        nonlocal round
        round += 1
        if round == 1:
            await steps.run("gone", bank.charge, order.order, 3)
            await steps.run("charge", bank.charge, order.order, 1)
            raise ValueError("a newer version is on its way")
        tip = await steps.run("tip", bank.charge, order.order, 2)
        charge = await steps.run("charge", bank.charge, order.order, 1)
        return Paid(order=order.order, receipts=[tip.id, charge.id])

    async def main() -> None:
        async with testing.run(shop(pay)) as t:
            await t.publish(Ordered(order="a"))
            await t.advance(hours=1)
            assert t.only(Paid).event.receipts == ["r-a-3", "r-a-2"]
            assert kept(t) == []

    asyncio.run(main())
    assert [cents for _, cents, _ in bank.calls] == [3, 1, 2]


def test_other_arguments_are_refused() -> None:
    """A step asked for with other arguments than it ran with gives no result for what was not called."""
    bank, cents = Bank(), iter(range(9))

    async def pay(order: Ordered, steps: Steps) -> None:
        await steps.run("charge", bank.charge, order.order, next(cents))
        raise ValueError("later")

    async def main() -> None:
        async with testing.run(shop(pay, retry=Retry(attempts=3))) as t:
            await t.publish(Ordered(order="a"))
            await t.advance(hours=1)
            (letter,) = t.dead_letters()
            assert "it has run with other arguments before" in letter.cause

    asyncio.run(main())
    assert len(bank.calls) == 1


class Odd:
    """What cannot be encoded."""


async def odd() -> Odd:
    return Odd()


async def untyped():
    return Receipt("r", 1)


async def wrong() -> int:
    return "text"  # type: ignore[return-value]


def plain() -> int:
    return 1


@pytest.mark.parametrize(
    ("call", "cause"),
    [
        (odd, "it cannot be encoded, and the call is not repeated"),
        (wrong, "Expected `int`, got `str`"),
        (plain, "its function returned 'int'"),
    ],
)
def test_what_cannot_be_kept_is_told(call: Any, cause: str) -> None:
    """A result that cannot be kept or given back fails the handler, and never repeats the call."""
    calls = []

    async def counted() -> Any:
        calls.append(1)
        return await call()

    counted.__annotations__["return"] = call.__annotations__.get("return", Any)

    async def pay(order: Ordered, steps: Steps) -> None:
        await steps.run("odd", call if call is plain else counted)

    async def main() -> None:
        async with testing.run(shop(pay)) as t:
            await t.publish(Ordered(order="a"))
            await t.advance(hours=1)
            (letter,) = t.dead_letters()
            assert cause in letter.cause
            assert letter.attempts == 5

    asyncio.run(main())
    assert len(calls) <= 1


def test_results_are_what_was_stored_the_first_time_too() -> None:
    """Without a type, a result comes as builtins at once; Step names one; partials and threads have theirs."""
    seen: list[Any] = []

    def blocking(n: int) -> tuple[int, int]:
        return n, n

    async def pay(order: Ordered, steps: Steps) -> None:
        seen.append(await steps.run("a", untyped))
        seen.append(await steps.run(Step("b", returns=Receipt), untyped))
        seen.append(await steps.run("c", partial(Bank().charge, order.order), 7))
        seen.append(await steps.run(Step("d", returns=tuple[int, int]), asyncio.to_thread, blocking, 7))

    async def main() -> None:
        async with testing.run(shop(pay), real_seconds=0.01) as t:
            await t.publish(Ordered(order="a"))
            await t.advance(hours=1)

    asyncio.run(main())
    assert seen[0] == {"id": "r", "cents": 1}
    assert seen[1] == Receipt("r", 1)
    assert seen[2] == Receipt("r-a-1", 7)
    assert seen[3] == (7, 7)


def test_a_dead_letter_keeps_its_steps_and_a_redrive_does_not_repeat_them() -> None:
    """Redriven, an event finds what its steps gave in its first life; also twice, and after a restart."""
    bank, broken = Bank(), [True, True]

    async def pay(order: Ordered, steps: Steps) -> Paid:
        receipt = await steps.run("charge", bank.charge, order.order, order.cents)
        if broken:
            raise ValueError("no")
        return Paid(order=order.order, receipts=[receipt.id])

    async def main() -> None:
        async with testing.run(shop(pay, retry=Retry(attempts=2, first=seconds(1)))) as t:
            await t.publish(Ordered(order="a"))
            await t.advance(hours=1)
            while broken:
                assert len(t.dead_letters()) == len(kept(t)) == 1
                broken.pop()
                await t.crash()
                await t.redrive()
                await t.advance(hours=1)
            assert t.dead_letters() == []
            assert t.only(Paid).event.receipts == ["r-a-1"]
            assert kept(t) == []

    asyncio.run(main())
    assert len(bank.calls) == 1


def test_a_discarded_dead_letter_takes_its_steps_along() -> None:
    """Nothing is left of steps whose event nobody wants any more."""
    from tropism.runtime.dead import discard

    async def pay(order: Ordered, steps: Steps) -> None:
        await steps.run("charge", Bank().charge, order.order, order.cents)
        raise ValueError("no")

    async def main() -> None:
        async with testing.run(shop(pay, retry=Retry(attempts=1))) as t:
            await t.publish(Ordered(order="a"), Ordered(order="b"))
            await t.advance(hours=1)
            first, second = t.dead_letters()
            await discard(t.simulation.runtime.platform, [first])
            assert kept(t) == [f"shop.pay/orders/{second.record.id}/charge"]

    asyncio.run(main())


def test_a_handler_that_leaves_steps_behind_leaves_no_rows_behind() -> None:
    """A step that nobody awaits fails when the handler has returned, and nothing of it is stored."""
    gate, tasks, caught = asyncio.Event(), [], []

    async def slow() -> int:
        await gate.wait()
        return 1

    async def pay(order: Ordered, steps: Steps) -> None:
        tasks.append(asyncio.ensure_future(steps.run("slow", slow)))
        await asyncio.sleep(0)

    async def main() -> None:
        async with testing.run(shop(pay)) as t:
            await t.publish(Ordered(order="a"))
            await t.advance(hours=1)
            gate.set()
            caught.extend(await asyncio.gather(*tasks, return_exceptions=True))
            assert kept(t) == []

    asyncio.run(main())
    assert "its handler has returned" in str(caught[0])


def test_a_retry_waits_for_the_call_that_a_failed_attempt_left_running() -> None:
    """Of steps run at once one fails; the other, still under way, is awaited by the retry, not repeated."""
    gate, calls = asyncio.Event(), []

    async def slow() -> int:
        calls.append("slow")
        await gate.wait()
        return 1

    async def fails() -> int:
        calls.append("fails")
        if calls.count("fails") == 1:
            raise UnavailableError("no")
        gate.set()
        return 2

    async def pay(order: Ordered, steps: Steps) -> Paid:
        found = await asyncio.gather(steps.run("slow", slow), steps.run("fails", fails))
        return Paid(order=order.order, receipts=[str(n) for n in found])

    async def main() -> None:
        async with testing.run(shop(pay)) as t:
            await t.publish(Ordered(order="a"))
            await t.advance(hours=1)
            assert t.only(Paid).event.receipts == ["1", "2"]

    asyncio.run(main())
    assert calls == ["slow", "fails", "fails"]


def test_an_outage_of_the_store_neither_repeats_a_step_nor_times_its_handler_out() -> None:
    """While a step's commit waits for the store, the handler's time stands still."""
    bank, attempts = Bank(), []
    faults = Faults()

    async def pay(order: Ordered, steps: Steps) -> None:
        attempts.append(1)
        faults.is_down = lambda call: call == "commit" and t.simulation.clock.now_us() < until_us
        await steps.run("charge", bank.charge, order.order, 1)

    async def main() -> None:
        nonlocal t, until_us
        async with testing.run(shop(pay, timeout_seconds=10), faults=faults, live=True) as t:
            until_us = t.simulation.clock.now_us() + 600_000_000
            await t.publish(Ordered(order="a"))
            await t.advance(hours=1)
            assert kept(t) == []

    t, until_us = None, 0
    asyncio.run(main())
    assert attempts == [1]
    assert len(bank.calls) == 1


def test_a_step_that_hangs_is_timed_out() -> None:
    """The time of the call itself counts: a step that never answers is a hanging handler."""
    calls = []

    async def hang() -> None:
        calls.append(1)
        if len(calls) == 1:
            await asyncio.Event().wait()

    async def pay(order: Ordered, steps: Steps) -> Paid:
        await steps.run("hang", hang)
        return Paid(order=order.order, receipts=[])

    async def main() -> None:
        async with testing.run(shop(pay, timeout_seconds=10), live=True) as t:
            await t.publish(Ordered(order="a"))
            await t.advance(hours=1)
            assert t.only(Paid)

    asyncio.run(main())
    assert len(calls) == 2


def test_many_steps_share_a_commit() -> None:
    """Sixty-four steps that end together become durable together."""
    faults = Faults()

    async def nothing(n: int) -> int:
        return n

    async def pay(order: Ordered, steps: Steps) -> None:
        for n in range(3):
            assert await steps.run("count", nothing, n) == n

    async def main() -> None:
        async with testing.run(shop(pay), faults=faults, live=True) as t:
            before = faults.names.count("commit")
            await t.publish(*(Ordered(order=str(n)) for n in range(64)))
            await t.advance(seconds=1)
            assert faults.names.count("commit") - before <= 12

    asyncio.run(main())


def test_ticks_have_steps_and_state_beside_them() -> None:
    """A periodic handler runs steps too, a set for each tick."""
    service, calls, failures = Service("shop"), [], [ValueError("later")]

    async def send() -> int:
        calls.append(1)
        return len(calls)

    @service.every(hours(1), key="all")
    async def report(tick: Tick, steps: Steps, sent: State[int] = use("sent")) -> None:
        number = await steps.run("send", send)
        if failures:
            raise failures.pop()
        sent.set(number)

    async def main() -> None:
        async with testing.run(App("shop", services=[service])) as t:
            await t.advance(hours=3)
            assert t.state("shop", "sent", "all") == 3
            assert kept(t) == []

    asyncio.run(main())
    assert len(calls) == 3


def test_steps_are_refused_where_they_mean_nothing() -> None:
    """A batch, a handler that is called at most once, and one that cannot wait, are refused at once."""
    service = Service("shop")

    async def many(orders: list[Ordered], steps: Steps) -> None: ...

    async def once(order: Ordered, steps: Steps) -> None: ...

    def idle(order: Ordered, steps: Steps) -> None: ...

    with pytest.raises(InvalidInputError, match="it takes several events at a time"):
        service.on(Ordered)(many)
    with pytest.raises(InvalidInputError, match="it is called at most once"):
        service.on(Ordered, guarantee="at_most_once")(once)
    with pytest.raises(InvalidInputError, match="it is no async function"):
        service.on(Ordered)(idle)
    with pytest.raises(InvalidInputError, match="Cannot name a step 'a/b'"):
        Step("a/b")


def test_digests_tell_arguments_apart_by_what_they_hold() -> None:
    """Equal values have one digest, in any order of names; what cannot be encoded counts by its type."""
    assert digest((1, "a"), {"x": 1, "y": {2, 3}}) == digest((1, "a"), {"y": {3, 2}, "x": 1})
    assert digest((Odd(),), {}) == digest((Odd(),), {})
    others = [
        digest(*each) for each in [((1,), {}), ((1, 1), {}), ((11,), {}), ((), {"0": 1}), ((Odd(),), {})]
    ]
    assert len(set(others)) == 5
