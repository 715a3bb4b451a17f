"""Windows close once, complete, and with the same values: whatever crashes, and however many work at it."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from tests.simulation.selling import (
    LATENESS,
    MINUTE,
    SHOPS,
    START,
    Asked,
    Sale,
    Sold,
    Summed,
    Told,
    as_summed,
    sales,
    service,
    totals,
    wanted,
)

from tropism import Closed
from tropism.adapters.memory import MemoryCompute, MemoryStore, VirtualClock
from tropism.core.codec import Codec, record_of
from tropism.core.envelope import Record
from tropism.core.time import to_us
from tropism.ports.platform import Platform
from tropism.runtime import tables
from tropism.runtime.dividing import divide
from tropism.runtime.late import late_of
from tropism.runtime.runtime import Runtime, RuntimeOptions
from tropism.testing.simulation import OPTIONS, Simulation, quiet

END = START + 7 * 60 * MINUTE
CODEC = Codec([Sold, Asked, Summed, Told])


@pytest.fixture(autouse=True)
def _views_are_stored_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """With each storing views forget what nobody asks for any more: a window must not lose anything by it."""
    monkeypatch.setattr(tables, "STORED_EVERY", 5)


def records_of(sold: Sequence[Sale]) -> list[Record]:
    return [record_of(s.sold, CODEC.encode(s.sold), id=s.sold.id, time_us=s.time_us) for s in sold]


def asks() -> list[Record]:
    """Questions for every shop now and then."""
    events = [Asked(id=f"a{n}", shop=shop) for n, shop in enumerate(("north", "inn") * 9)]
    return [
        record_of(e, CODEC.encode(e), id=e.id, time_us=START + n * 19 * MINUTE + 1)
        for n, e in enumerate(events)
    ]


async def summed(simulation: Any) -> list[Summed]:
    """Return what was said of windows, in order of windows; each as often as it was said."""
    found = [CODEC.decode(s.record) for s in await records(simulation.store, "sums")]
    return sorted(found, key=lambda s: (s.end_us, s.view, s.shop, s.start_us))


async def records(store: MemoryStore, *topics: str) -> list[Any]:
    ends = await store.log.ends(topics)
    found = await store.log.read(dict.fromkeys(ends, 0), count_max=2**60)
    return [stored for partition in found.values() for stored in partition]


async def right(store: MemoryStore, sold: Sequence[Sale], until_us: int) -> list[Summed]:
    """Return what is to be said of the windows closed up to a moment."""
    windows = wanted(await records(store, "sales"), {s.sold.id: s.sold for s in sold}, until_us)
    return sorted(as_summed(windows), key=lambda s: (s.end_us, s.view, s.shop, s.start_us))


async def ran(
    sold: Sequence[Sale], *, live: bool = False, chunk: int = 16, crash_at: int | None = None
) -> Simulation:
    """Run the service over sales that are all there, with at most one crash."""
    options = replace(OPTIONS, live=live, chunk=chunk, partitions=3)
    simulation = Simulation([service()], options=options, start_us=START)
    simulation.faults.crash_at = crash_at
    await simulation.store.log.create_topics({"sales": 3, "asks": 3})
    await simulation.store.log.append([*records_of(sold), *asks()])
    await simulation.start()
    if live:
        await simulation.wait(lambda: simulation.runtime.is_idle)
        await simulation.advance_to(END)
    for until_us in range(START + 70 * MINUTE, END, 70 * MINUTE):
        await simulation.run_until(until_us)
    await simulation.run_until(END)
    return simulation


async def outcome(simulation: Simulation) -> tuple[list[Summed], list[tuple[str, bytes]]]:
    told = [(s.record.id, s.record.data) for s in await records(simulation.store, "sums", "tells")]
    return await summed(simulation), sorted(told)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("live", [False, True], ids=["event time", "live"])
def test_every_window_is_handed_over_once_and_complete(seed: int, live: bool) -> None:
    """What is said of windows is what the log says of them, in order per key; too late events are counted."""

    async def main() -> None:
        sold = sales(seed, 150, later_than_allowed=True)
        simulation = await ran(sold, live=live)
        assert await summed(simulation) == await right(simulation.store, sold, END)
        late = [
            s
            for s in await records(simulation.store, "sales")
            if s.known_us - s.record.time_us > to_us(LATENESS)
        ]
        assert len(late) > 5
        counted = await late_of(simulation.store.state, "selling")
        assert counted == dict.fromkeys(("hourly", "hopping", "visits"), len(late))
        await simulation.stop()

    asyncio.run(main())


@pytest.mark.parametrize("live", [False, True], ids=["event time", "live"])
def test_the_order_of_coming_within_the_lateness_changes_nothing(live: bool) -> None:
    """Whichever events are late, by up to the lateness: the same windows, with the same values."""

    async def main() -> None:
        sold = sales(3, 120, later_than_allowed=False)
        said = []
        for seed in range(3):
            late = Random(seed)
            delayed = [replace(s, published_us=s.time_us + late.randrange(to_us(LATENESS))) for s in sold]
            simulation = await ran(sorted(delayed, key=lambda s: s.published_us), live=live)
            said.append(await summed(simulation))
            await simulation.stop()
        assert said[0] == said[1] == said[2]
        assert len(said[0]) > 100

    asyncio.run(main())


@pytest.mark.parametrize("chunk", [1, 7, 1024])
def test_chunks_change_nothing(chunk: int) -> None:
    """How much is read at a time makes no difference to windows read or closed."""

    async def main() -> None:
        sold = sales(5, 120, later_than_allowed=True)
        one, other = await ran(sold), await ran(sold, chunk=chunk)
        assert await outcome(one) == await outcome(other)
        await one.stop()
        await other.stop()

    asyncio.run(main())


@pytest.mark.parametrize("live", [False, True], ids=["event time", "live"])
def test_a_crash_at_any_call_changes_nothing(live: bool) -> None:
    """Whatever call a crash strikes at, every window is handed over once, with the same values."""

    async def main() -> None:
        sold = sales(12, 14, later_than_allowed=True)
        calm = await ran(sold, live=live)
        right, names = await outcome(calm), calm.faults.names
        late = await late_of(calm.store.state, "selling")
        await calm.stop()
        assert len(right[0]) > 25
        assert late["visits"] == 1
        # Live, a worker looks for more every minute, which is swept in part.
        calls = [n for n, name in enumerate(names) if name != "read" or n % (1 + len(names) // 20) == 0]
        points = [2 * n + after for n in calls for after in (0, 1)]
        for point in points[::8] if live else points:
            crashed = await ran(sold, live=live, crash_at=point)
            found = await outcome(crashed)
            assert await late_of(crashed.store.state, "selling") == late, f"crash at point {point}"
            # Live, answers are as of now: after a crash now is later.
            assert found == right if not live else found[0] == right[0], f"crash at point {point}"
            await crashed.stop()

    asyncio.run(main())


def test_spread_over_processes_windows_are_the_same() -> None:
    """In event time, windows of what another service says of windows are the same wherever either runs."""

    async def spread(groups: Sequence[Sequence[int]]) -> list[Record]:
        clock = VirtualClock(START)
        store = MemoryStore(clock=clock, partitions_default=3)
        await store.log.create_topics({"sales": 3, "asks": 3})
        await store.log.append([*records_of(sales(8, 60, later_than_allowed=True)), *asks()])
        everyone = [service(), totals()]
        runtimes = [
            Runtime(
                [everyone[n] for n in group],
                Platform(store.log, store.state, store.blobs, MemoryCompute(), clock, store.queue),
                producers=everyone,
                options=RuntimeOptions(
                    live=False, holder=f"{group}", chunk=16, lease_seconds=1e9, start_us=START
                ),
            )
            for group in groups
        ]
        for runtime in runtimes:
            await runtime.start()
            runtime.watermarks.advance_sources(END)
        await asyncio.wait_for(asyncio.gather(*(r.wait_until(END) for r in runtimes)), 30)
        for runtime in runtimes:
            await runtime.stop(drain_seconds=0)
        return sorted((s.record for s in await records(store, "sums", "tells")), key=lambda r: r.id)

    async def main() -> None:
        together = await spread([[0, 1]])
        assert sum(r.source == "totals" for r in together) > 10
        assert await spread([[0], [1]]) == together
        assert await spread([[1], [0]]) == together

    asyncio.run(main())


class Fleet:
    """Workers of the service on one store, in virtual time, divided anew as told."""

    def __init__(self) -> None:
        self.holding = False
        self.clock = VirtualClock(START)
        self.store = MemoryStore(clock=self.clock, partitions_default=3)
        self.platform = Platform(
            self.store.log, self.store.state, self.store.blobs, MemoryCompute(), self.clock, self.store.queue
        )
        self.runtimes: list[Runtime] = []

    async def hold(self, closed: Closed) -> None:
        """Keep a call waiting, while told to, for half of the shops."""
        if self.holding and closed.key in SHOPS[::2]:
            await asyncio.Event().wait()

    async def start(self, count: int) -> None:
        await divide(self.platform, service(), count, holder="here")
        self.runtimes = [
            Runtime(
                [service(self.hold)],
                self.platform,
                options=RuntimeOptions(share=(n, count), holder=f"{n}", chunk=8, lease_seconds=1e6),
            )
            for n in range(count)
        ]
        for runtime in self.runtimes:
            await runtime.start()
        await quiet(0.0)

    async def advance_to(self, until_us: int) -> None:
        await quiet(0.0)
        while (due_us := self.clock.next_wakeup_us()) is not None and due_us <= until_us:
            self.clock.advance_to_us(due_us)
            await quiet(0.0)
        self.clock.advance_to_us(until_us)
        await quiet(0.0)

    async def stop(self) -> None:
        for runtime in self.runtimes:
            await runtime.stop(drain_seconds=0.0)

    async def kill(self) -> None:
        """Let all die where they stand, and their leases be over."""
        for runtime in self.runtimes:
            await runtime.abandon()
            await self.store.state.release(runtime.workers["selling"]._lease)


async def worked(sold: Sequence[Sale], counts: Sequence[int], *, killed: bool = False) -> Fleet:
    """Publish sales as time passes, with so many workers at a time, one number after the other.

    Where they are killed, half of their calls were under way for long.
    """
    fleet = Fleet()
    await fleet.store.log.create_topics({"sales": 3, "asks": 3})
    share = -(-len(sold) // len(counts))
    pending = asks()
    for turn, count in enumerate(counts):
        fleet.holding = killed and turn < len(counts) - 1
        await fleet.start(count)
        for sale in sold[turn * share : (turn + 1) * share]:
            while pending and pending[0].time_us <= sale.published_us:
                await fleet.advance_to(pending[0].time_us)
                await fleet.store.log.append([pending.pop(0)])
            await fleet.advance_to(sale.published_us)
            await fleet.store.log.append(records_of([sale]))
        if turn == len(counts) - 1:
            await fleet.advance_to(END)
        await (fleet.kill() if fleet.holding else fleet.stop())
    return fleet


@pytest.mark.parametrize("killed", [False, True], ids=["stopped", "killed"])
@pytest.mark.parametrize("counts", [(3,), (1, 3), (3, 2, 1), (2, 3, 3, 2)], ids=str)
def test_one_worker_and_many_say_the_same(counts: tuple[int, ...], killed: bool) -> None:
    """However a service is divided, and divided anew: the same windows closed once, the same values read."""

    async def main() -> None:
        sold = sales(7, 90, later_than_allowed=False)
        alone, divided = await worked(sold, (1,)), await worked(sold, counts, killed=killed)
        assert await summed(divided) == await summed(alone) == await right(alone.store, sold, END)
        said = [
            sorted((s.record.id, s.record.data) for s in await records(f.store, "tells"))
            for f in (alone, divided)
        ]
        assert said[0] == said[1]

    asyncio.run(main())
