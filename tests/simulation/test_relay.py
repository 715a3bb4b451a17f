"""A relay from another program's outbox: every event once and in order, whatever crashes on the way."""

import asyncio
from collections.abc import Sequence

import pytest

from tropism.adapters.memory import MemoryCompute, MemoryStore, VirtualClock
from tropism.core.envelope import Record
from tropism.core.errors import UnavailableError
from tropism.ports.outgoing import Waiting
from tropism.ports.platform import Platform
from tropism.runtime import relay as relay_module
from tropism.runtime.relay import relay
from tropism.testing.faults import Faults, FaultyLog, FaultyState
from tropism.testing.simulation import quiet

LEASE_SECONDS = 15.0


def record(n: int, data: bytes = b"{}") -> Record:
    return Record(f"id{n:03}", "orders.paid.v1", "orders", f"k{n % 3}", n, data)


class MemoryOutgoing:
    """An outbox in memory, whose calls may meet faults."""

    name = "shop"

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.rows: dict[int, Record] = {}
        self.refused: dict[int, str] = {}
        self.places = 0

    def add(self, *records: Record) -> None:
        for each in records:
            self.places += 1
            self.rows[self.places] = each

    def behind(self, faults: Faults) -> "FaultyOutgoing":
        return FaultyOutgoing(self, faults)


class FaultyOutgoing:
    def __init__(self, inner: MemoryOutgoing, faults: Faults) -> None:
        self.inner, self.faults, self.name = inner, faults, inner.name

    async def waiting(self, count_max: int) -> Sequence[Waiting]:
        async def read() -> Sequence[Waiting]:
            left = [p for p in sorted(self.inner.rows) if p not in self.inner.refused]
            return [Waiting(place, self.inner.rows[place]) for place in left[:count_max]]

        return await self.faults.call("waiting", self.inner.clock, read)

    async def remove(self, places: Sequence[int]) -> None:
        async def forget() -> None:
            for place in places:
                self.inner.rows.pop(place, None)

        await self.faults.call("remove", self.inner.clock, forget)

    async def refuse(self, place: int, cause: str) -> None:
        async def put_aside() -> None:
            self.inner.refused[place] = cause

        await self.faults.call("refuse", self.inner.clock, put_aside)

    async def wait(self, seconds: float) -> None:
        await self.inner.clock.sleep(seconds)


class Site:
    """One store, one outbox, and relays that come and go."""

    def __init__(self, *, dedup: bool = True) -> None:
        self.clock = VirtualClock()
        self.store = MemoryStore(clock=self.clock, dedup=dedup)
        self.outgoing = MemoryOutgoing(self.clock)
        self.tasks: list[asyncio.Task[None]] = []

    def start(self, holder: str, faults: Faults | None = None) -> asyncio.Task[None]:
        faults = faults or Faults()
        store, clock = self.store, self.clock
        platform = Platform(
            FaultyLog(store.log, faults, clock),
            FaultyState(store.state, faults, clock),
            store.blobs,
            MemoryCompute(),
            clock,
            store.queue,
        )
        outgoing = self.outgoing.behind(faults)
        task = asyncio.create_task(relay(outgoing, platform, holder=holder, lease_seconds=LEASE_SECONDS))
        self.tasks.append(task)
        return task

    async def advance(self, seconds: float) -> None:
        until_us = self.clock.now_us() + int(seconds * 1_000_000)
        while True:
            await quiet(0.0)
            due_us = self.clock.next_wakeup_us()
            if due_us is None or due_us > until_us:
                break
            self.clock.advance_to_us(due_us)
        self.clock.advance_to_us(until_us)
        await quiet(0.0)

    async def published(self) -> dict[str, list[str]]:
        """Return, per key, the ids as they lie in the log."""
        ends = await self.store.log.ends(["orders"])
        found: dict[str, list[str]] = {}
        for page in (await self.store.log.read(dict.fromkeys(ends, 0), count_max=10_000)).values():
            for stored in page:
                found.setdefault(stored.record.subject, []).append(stored.record.id)
        return found

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


def wanted(count: int) -> dict[str, list[str]]:
    return {f"k{k}": [f"id{n:03}" for n in range(count) if n % 3 == k] for k in range(3)}


@pytest.mark.parametrize("dedup", [True, False], ids=["ids known", "ids unknown"])
def test_a_crash_at_every_call_loses_none_and_another_relay_goes_on(
    dedup: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever call one dies at, the next goes on in order; twice comes only what a log forgets."""
    monkeypatch.setattr(relay_module, "PAGE", 4)

    async def one(crash_at: int | None) -> tuple[dict[str, list[str]], int]:
        site, faults = Site(dedup=dedup), Faults(crash_at=crash_at)
        site.outgoing.add(*(record(n) for n in range(10)))
        first = site.start("first", faults)
        await site.advance(2)
        if crash_at is not None:
            faults.die()
            first.cancel()
            site.start("second")
        site.outgoing.add(record(10), record(11))
        await site.advance(2 * LEASE_SECONDS)
        found = await site.published()
        assert site.outgoing.rows == {}
        await site.close()
        return found, faults.calls

    async def sweep() -> None:
        calm, calls = await one(None)
        assert calm == wanted(12)
        assert calls > 8
        for point in range(2 * calls):
            found, _ = await one(point)
            once = {key: list(dict.fromkeys(ids)) for key, ids in found.items()}
            assert once == wanted(12), point
            assert not dedup or found == wanted(12), point

    asyncio.run(sweep())


def test_one_is_at_work_and_another_stands_by() -> None:
    """Of two relays one publishes; when it stops, the other takes over at once, and after a death later."""

    async def main() -> None:
        site = Site()
        first = site.start("first")
        await site.advance(1)
        site.start("second")
        site.outgoing.add(record(0))
        await site.advance(5)
        assert await site.published() == {"k0": ["id000"]}
        first.cancel()
        await site.advance(2 * relay_module.STANDBY_SECONDS)
        site.outgoing.add(record(1))
        await site.advance(LEASE_SECONDS / 3)
        assert (await site.published())["k1"] == ["id001"]
        await site.close()

    asyncio.run(main())


def test_who_lost_its_lease_stops_publishing() -> None:
    """A relay that was away longer than its lease leaves the work to who has it now."""

    async def main() -> None:
        site = Site()
        faults = Faults()
        site.start("first", faults)
        await site.advance(1)
        faults.is_down = lambda _: True
        await site.advance(2 * LEASE_SECONDS)
        site.start("second")
        await site.advance(3)
        faults.end()
        site.outgoing.add(*(record(n) for n in range(6)))
        await site.advance(2 * LEASE_SECONDS)
        assert await site.published() == wanted(6)
        assert site.outgoing.rows == {}
        await site.close()

    asyncio.run(main())


def test_what_no_log_takes_is_put_aside_and_holds_up_nothing() -> None:
    """An event that is too large stays in the outbox with the cause; those around it are published."""

    async def main() -> None:
        site = Site()
        site.start("first")
        large = record(4, b"x" * (16 * 1024 * 1024 + 1))
        site.outgoing.add(*(large if n == 4 else record(n) for n in range(9)))
        await site.advance(3)
        left = {k: [i for i in ids if i != "id004"] for k, ids in wanted(9).items()}
        assert await site.published() == left
        assert list(site.outgoing.refused) == [5]
        assert "bytes" in site.outgoing.refused[5]
        await site.close()

    asyncio.run(main())


def test_an_outage_of_anything_is_waited_out() -> None:
    """While log, state or outbox do not answer nothing is lost; afterwards all is published."""

    async def main() -> None:
        site, faults = Site(), Faults(unavailable=frozenset({1, 2, 4, 6, 7}))
        site.outgoing.add(*(record(n) for n in range(6)))
        site.start("first", faults)
        await site.advance(20)
        assert await site.published() == wanted(6)
        await site.close()

    asyncio.run(main())


class Restarting(FaultyOutgoing):
    """An outbox whose database goes away while the relay waits for more."""

    waits = 0

    async def wait(self, seconds: float) -> None:
        Restarting.waits += 1
        if Restarting.waits in {1, 2, 4}:
            raise UnavailableError("Cannot read outbox 'shop': its database restarts. Wait.")
        await super().wait(seconds)


def test_an_outbox_that_goes_away_while_nothing_waits_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A restart of the user's database finds an idle relay, and leaves it at work."""
    monkeypatch.setattr(Restarting, "waits", 0)

    async def main() -> None:
        site = Site()
        monkeypatch.setattr(site.outgoing, "behind", lambda faults: Restarting(site.outgoing, faults))
        task = site.start("first")
        await site.advance(30)
        site.outgoing.add(*(record(n) for n in range(6)))
        await site.advance(10)
        assert Restarting.waits > 4
        assert not task.done()
        assert await site.published() == wanted(6)
        await site.close()

    asyncio.run(main())
