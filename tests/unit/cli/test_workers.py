"""Workers that are counted and divided while their store does not always answer."""

import asyncio
from collections.abc import Sequence
from typing import Any

from tropism import Event, Service
from tropism.adapters.memory import MemoryCompute, MemoryStore, VirtualClock
from tropism.cli.workers import _Pool
from tropism.core.codec import Codec, record_of
from tropism.ports.platform import Platform
from tropism.runtime.scaling import Scaling
from tropism.runtime.shares import plan_of
from tropism.testing.faults import Faults, FaultyLog, FaultyState
from tropism.testing.simulation import quiet


class Asked(Event, type="asks.asked.v1", key="who"):
    who: str


class Processes:
    """Stands for the supervisor: the processes that were asked for, and none of them."""

    def __init__(self) -> None:
        self.kept: list[Sequence[str]] = []

    async def keep(self, names: Sequence[str]) -> None:
        self.kept.append(names)


def test_an_outage_of_the_store_is_waited_out() -> None:
    """Who divides and counts outlives what its workers outlive; then they are at work as asked."""
    service = Service("s")

    @service.on(Asked)
    async def take(event: Asked) -> None: ...

    async def main() -> None:
        clock = VirtualClock()
        store = MemoryStore(clock=clock)
        faults = Faults(unavailable=frozenset({1, 2, 20, 30, *range(40, 45)}))
        platform = Platform(
            FaultyLog(store.log, faults, clock),
            FaultyState(store.state, faults, clock),
            store.blobs,
            MemoryCompute(),
            clock,
            store.queue,
        )
        await store.log.create_topics({"asks": 4})
        codec = Codec([Asked])
        events = [Asked(who=str(n)) for n in range(100)]
        records = [record_of(e, codec.encode(e), id=e.who, time_us=1) for e in events]
        await store.log.append(records)
        processes: Any = Processes()
        pool = _Pool(platform, [service], processes)
        task = asyncio.create_task(pool.run(2, Scaling(1, 4)))
        for _ in range(200):
            await quiet(0.0)
            assert not task.done()
            due_us = clock.next_wakeup_us()
            if due_us is not None:
                clock.advance_to_us(due_us)
        assert faults.calls > 60
        assert processes.kept[-1] == ["0/2", "1/2"]
        assert (await plan_of(store.state, "s")).count == 2
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())
