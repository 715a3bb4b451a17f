"""A crash at every call of log and state around journaled steps: only one window repeats a call."""

import asyncio
from dataclasses import replace

import pytest

from tropism import Event, Service, State, Steps, hours, use
from tropism.core.codec import Codec, record_of
from tropism.core.errors import FencedError
from tropism.core.time import to_us
from tropism.ports.state import Commit, Position, Write
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
        await asyncio.sleep(0)
        return len(self.calls)


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


async def run(bank: Bank, *, crash_at: int | None, live: bool, apart: bool) -> Simulation:
    options = replace(OPTIONS, live=live, chunk=3, partitions=2, lease_seconds=10.0)
    simulation = Simulation([service(bank)], options=options, start_us=START, apart=apart)
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
    """Wherever it crashes, each order is answered once, and no step is called again but those in the window.

    The window is the commit that would have made them durable, when the crash kept it from having effect;
    what is called again goes with the same key, and what is told to the handler is told to it alone.
    """

    async def sweep() -> tuple[int, int]:
        calm = await run(Bank(), crash_at=None, live=live, apart=apart)
        points, repeated = 2 * calm.faults.calls, 0
        await calm.stop()
        for point in range(points):
            bank = Bank()
            crashed = await run(bank, crash_at=point, live=live, apart=apart)
            where = f"crash at {point}, {crashed.faults.names[point // 2]}"
            paid = [Codec([Paid]).decode(s.record) for s in await crashed.records("payments")]
            assert sorted((p.who, p.n) for p in paid) == [("a", 1), ("a", 2), ("b", 1), ("c", 1)], where
            whats = [what for what, _ in bank.calls]
            assert len(set(whats)) == len({key for _, key in bank.calls}) == 12, where
            if len(whats) > 12:
                repeated += 1
                assert crashed.faults.names[point // 2] == "commit", where
                assert point % 2 == 0, where
                assert all(whats.count(what) <= 2 for what in whats), where
            told = [receipt for p in paid for receipt in p.receipts]
            assert len(set(told)) == 12, where
            assert await crashed.store.state.scan("shop/steps") == [], where
            await crashed.stop()
        return points, repeated

    points, repeated = asyncio.run(sweep())
    assert points > 40
    assert 0 < repeated < points // 4


def test_a_fenced_worker_can_not_journal() -> None:
    """A worker whose lease another has taken keeps no step, and its handler never sees the result."""
    bank, seen = Bank(), []

    async def main() -> None:
        simulation = Simulation([], options=replace(OPTIONS, live=True), start_us=START)
        shop = Service("shop")

        @shop.on(Ordered)
        async def pay(order: Ordered, steps: Steps) -> None:
            if not bank.calls:
                # Meanwhile another one takes over, as if this process had been stopped past its lease.
                simulation.store.state._leases._leases.clear()
            seen.append(await steps.run("charge", bank.charge, order.who))

        await simulation.stop()
        del simulation

    asyncio.run(main())
