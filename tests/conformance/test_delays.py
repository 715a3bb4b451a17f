"""What is kept for later, on every state: written and published in commits, and found again."""

import asyncio

import pytest
from tests.conformance import matrix

from tropism.core.envelope import Record
from tropism.ports.state import Commit, Position, Write
from tropism.runtime.delays import Delays, namespaces_of
from tropism.runtime.later import Canceled, Delayed


def delayed(n, due_us, slot=""):
    return Delayed(
        f"{n:04}",
        "t.t.v1",
        "t",
        "k",
        0,
        b"{}",
        due_us=due_us,
        when_us=-10_000,
        lane="k",
        slot=slot,
        ordinal=n,
    )


@pytest.mark.parametrize("name", sorted(matrix.STORES))
def test_what_one_keeps_another_publishes_in_order(name):
    """What was kept is there for whoever takes over, before 1970 too; canceled and put off is not."""

    async def main():
        async with matrix.STORES[name]() as store:
            state, now = store.state, [-10_000]
            lease, _ = await state.acquire("s", "test", lease_seconds=60.0)

            async def step(delays, *ops):
                outputs: list[Record] = list(ops)
                writes: list[Write] = []
                delays.step(outputs, writes, 0)
                await state.commit(Commit(lease, Position(), writes))
                return [record.id for record in outputs]

            first = Delays("s", state, now_us=lambda: now[0])
            await first.refill()
            kept = [delayed(n, (n * 7919) % 2500 - 1200) for n in range(1500)]
            assert await step(first, *kept, delayed(9001, 5, "x"), delayed(9002, 6, "y")) == []
            second = Delays("s", state, now_us=lambda: now[0])
            drop = Canceled("", "", "", "", 0, b"", when_us=-10_000, slot="y")
            assert await step(second, delayed(9003, 5000, "x"), drop) == []
            now[0] = 4000
            found = []
            for _ in range(4):
                await second.refill()
                found += await step(second)
            assert found == [each.id for each in sorted(kept, key=lambda each: (each.due_us, each.ordinal))]
            now[0] = 5000
            third = Delays("s", state, now_us=lambda: now[0])
            await third.refill()
            assert await step(third) == ["9003"]
            assert [await state.scan(space) for space in namespaces_of("s")] == [[], []]

    asyncio.run(main())
