"""A crash at every call of log and state around journaled steps: only one window repeats a call."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from tropism import Event, Service, State, Steps, hours, use
from tropism.core.codec import Codec, record_of
from tropism.core.time import to_us
from tropism.runtime.stepped import idempotency_key
from tropism.testing.simulation import OPTIONS, Simulation

START = 1_700_000_000_000_000
HOUR = to_us(hours(1))


class Ordered(Event, type="orders.ordered.v1", key="who"):
    who: str


class Paid(Event, type="payments.paid.v1", key="who"):
    who: str
    n: int
    receipts: list[int]


class Bank:
    """Another system, which outlives every crash: what it was asked, under which key, in which life."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []

    async def charge(self, what: str, idempotency_key: str = "") -> int:
        self.calls.append((what, idempotency_key))
        receipt = len(self.calls)
        await asyncio.sleep(0)
        return receipt


def service(bank: Bank) -> Service:
    shop = Service("shop")

    @shop.on(Ordered)
    async def pay(order: Ordered, steps: Steps, n: State[int] = use("n")) -> Paid:
        number = (n.get() or 0) + 1
        one = await steps.run("charge", bank.charge, f"{order.who}/{number}/charge")
        both = await asyncio.gather(
            *(steps.run("post", bank.charge, f"{order.who}/{number}/post{k}") for k in (1, 2))
        )
        n.set(number)
        return Paid(who=order.who, n=number, receipts=[one, *both])

    return shop


EVENTS = [("a1", "a"), ("b1", "b"), ("a2", "a"), ("c1", "c")]


class Watched(Simulation):
    """Notes, when it crashes, which steps were durable, and how many calls had been made."""

    bank: Bank
    durable: frozenset[str] = frozenset()
    calls = 0

    async def crash(self) -> None:
        rows = [entry.key.rpartition("/") for entry in await self.store.state.scan("shop/steps")]
        self.durable = frozenset(idempotency_key(scope, step) for scope, _, step in rows)
        self.calls = len(self.bank.calls)
        await super().crash()


async def run(bank: Bank, *, crash_at: int | None, live: bool, apart: bool) -> Watched:
    options = replace(OPTIONS, live=live, chunk=3, partitions=2, lease_seconds=10.0)
    simulation = Watched([service(bank)], options=options, start_us=START, apart=apart)
    simulation.bank = bank
    simulation.faults.crash_at = crash_at
    codec = Codec([Ordered])
    await simulation.store.log.create_topics({"orders": 2})
    events = [(id, Ordered(who=who)) for id, who in EVENTS]
    await simulation.store.log.append(
        [record_of(e, codec.encode(e), id=id, time_us=START + n) for n, (id, e) in enumerate(events)]
    )
    await simulation.start()
    await simulation.run_until(START + HOUR)
    return simulation


@pytest.mark.parametrize("apart", [False, True], ids=["one store", "apart"])
@pytest.mark.parametrize("live", [False, True], ids=["event-time", "live"])
def test_only_a_crash_between_reply_and_commit_repeats_a_call(live: bool, apart: bool) -> None:
    """Wherever it crashes, each order is answered once, and no step that was durable then is called again.

    A crash after the commit's effect repeats nothing. What is called again goes with the same key.
    """

    async def sweep() -> tuple[int, int, int]:
        calm = await run(Bank(), crash_at=None, live=live, apart=apart)
        points, repeated, saved = 2 * calm.faults.calls, 0, 0
        await calm.stop()
        for point in range(points):
            bank = Bank()
            crashed = await run(bank, crash_at=point, live=live, apart=apart)
            where = f"crash at {point}, {crashed.faults.names[point // 2]}"
            paid = [Codec([Paid]).decode(s.record) for s in await crashed.records("payments")]
            assert sorted((p.who, p.n) for p in paid) == [("a", 1), ("a", 2), ("b", 1), ("c", 1)], where
            whats = [what for what, _ in bank.calls]
            assert len(set(whats)) == len({key for _, key in bank.calls}) == 12, where
            again = bank.calls[crashed.calls :] if crashed.crashes else []
            assert not crashed.durable & {key for _, key in again}, where
            assert all(whats.count(what) <= 2 for what in whats), where
            saved += bool(crashed.durable)
            repeated += len(whats) > 12
            told = [receipt for p in paid for receipt in p.receipts]
            assert len(set(told)) == 12, where
            assert await crashed.store.state.scan("shop/steps") == [], where
            await crashed.stop()
        return points, repeated, saved

    points, repeated, saved = asyncio.run(sweep())
    assert points > 40
    assert repeated
    assert saved


def test_a_fenced_worker_can_not_journal() -> None:
    """A worker whose lease another has taken keeps no step, and its handler never sees the result."""
    taken: list[str] = []

    class Thief(Bank):
        async def charge(self, what: str, idempotency_key: str = "") -> int:
            if not taken:
                # Another takes over meanwhile, as if this process had been stopped past its lease.
                store.state._leases.holdings["shop"].until = 0.0
                await store.state.acquire("shop", "another", lease_seconds=60.0)
                taken.append(what)
            return await super().charge(what, idempotency_key)

    async def main() -> None:
        nonlocal store
        bank = Thief()
        simulation = Simulation([service(bank)], options=replace(OPTIONS, live=True), start_us=START)
        store = simulation.store
        codec, order = Codec([Ordered]), Ordered(who="a")
        await store.log.append([record_of(order, codec.encode(order), id="a1", time_us=START)])
        await simulation.start()
        await simulation.settle()
        assert taken == ["a/1/charge"] == [what for what, _ in bank.calls]
        assert await store.state.scan("shop/steps") == []
        assert simulation.runtime.workers["shop"].is_open is False
        await simulation.wait(lambda: simulation.runtime.is_idle)
        (paid,) = [Codec([Paid]).decode(s.record) for s in await simulation.records("payments")]
        assert 1 not in paid.receipts
        assert bank.calls[0] == bank.calls[1]
        await simulation.stop()

    store: Any = None
    asyncio.run(main())
