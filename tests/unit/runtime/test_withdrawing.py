"""What is kept for later, looked at and taken away from outside of the service that keeps it."""

import asyncio
from dataclasses import replace

import pytest

from tropism import Event, Later, Service, minutes
from tropism.cli.postponed import _ask
from tropism.core.codec import Codec, record_of
from tropism.core.errors import ConflictError
from tropism.runtime import withdrawing
from tropism.runtime.delays import namespaces_of
from tropism.runtime.withdrawing import kept_for_later, withdraw
from tropism.testing.simulation import OPTIONS, Simulation

LIVE = replace(OPTIONS, live=True, lease_seconds=15.0)


class Asked(Event, type="visits.asked.v1", key="who"):
    who: str
    n: int


class Reminded(Event, type="reminders.reminded.v1", key="who"):
    who: str
    n: int


def reminding() -> Service:
    """A service that reminds, named for one half of those who ask, in as many minutes as they say."""
    service = Service("reminding")

    @service.on(Asked)
    async def remind(event: Asked) -> Later[Reminded]:
        name = "visit" if event.who < "b" else None
        return Later(Reminded(who=event.who, n=event.n), minutes(event.n), name=name)

    return service


async def asked(simulation: Simulation, *events: Asked) -> None:
    codec = Codec([Asked])
    records = [record_of(e, codec.encode(e), id=f"{e.who}{e.n}", time_us=1) for e in events]
    await simulation.store.log.append(records)
    await simulation.wait(lambda: simulation.runtime.is_idle)


async def kept(simulation: Simulation) -> dict[int, str]:
    """Return the ids of what is kept, by number, in order."""
    codec = Codec([Reminded])
    found = [each async for _, each in kept_for_later(simulation.store.state, "reminding")]
    return {codec.decode(each).n: each.id for each in found}


async def minutes_pass(simulation: Simulation, count: int) -> None:
    await simulation.advance_to(simulation.clock.now_us() + count * 60_000_000)


def test_what_is_withdrawn_never_comes_and_all_else_does() -> None:
    """Named or not, once its service is away; what was put off is told at its new moment only."""

    async def main() -> None:
        simulation = Simulation([reminding()], options=LIVE, start_us=1)
        await simulation.start()
        await asked(
            simulation, *(Asked(who="a", n=n) for n in (5, 30)), *(Asked(who="b", n=n) for n in (10, 20))
        )
        found = await kept(simulation)
        assert list(found) == [10, 20, 30]
        assert found[30].startswith("0")
        platform, ids = simulation.runtime.platform, [found[10], found[30], "none"]
        with pytest.raises(ConflictError):
            await withdraw(platform, "reminding", ids, holder="a command")
        with pytest.raises(ConflictError, match="Stop it first"):
            await _ask(platform, "reminding", {})
        await simulation.stop()
        assert await withdraw(platform, "reminding", ids, holder="a command") == [found[10], found[30]]
        assert await withdraw(platform, "reminding", ids, holder="a command") == []
        assert list(await kept(simulation)) == [20]
        assert await simulation.store.state.scan(namespaces_of("reminding")[1]) == []
        await simulation.crash()
        await minutes_pass(simulation, 60)
        codec = Codec([Reminded])
        told = [codec.decode(stored.record).n for stored in await simulation.records("reminders")]
        assert told == [20]
        await simulation.stop()

    asyncio.run(main())


def test_after_a_crash_a_withdrawal_leaves_the_suspicion() -> None:
    """Whoever takes the service over still sees that its worker died with events in flight."""

    async def main() -> None:
        simulation = Simulation([reminding()], options=LIVE, start_us=1)
        await simulation.start()
        await asked(simulation, Asked(who="a", n=50))
        await simulation.runtime.abandon()
        simulation.clock.advance(60.0)
        found, platform = await kept(simulation), simulation.runtime.platform
        assert await withdraw(platform, "reminding", [found[50]], holder="a command") == [found[50]]
        simulation.clock.advance(2 * withdrawing.LEASE_SECONDS)
        lease, _ = await simulation.store.state.acquire("reminding", "next", lease_seconds=1.0)
        assert not lease.clean

    asyncio.run(main())
