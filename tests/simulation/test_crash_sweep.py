"""A crash at every call of log and state, before it and after it: nothing is lost, nothing is twice."""

import asyncio
from dataclasses import replace

import pytest

from tropism import Event, Expired, Service, State, Tick, View, count, hours, mean, use
from tropism.core.codec import Codec, record_of
from tropism.core.time import to_us
from tropism.testing.simulation import OPTIONS, Simulation

HOUR = to_us(hours(1))
START = 1_700_000_000_000_000 // HOUR * HOUR


class Scheduled(Event, type="flights.scheduled.v1", key="id"):
    id: str
    origin: str


class Landed(Event, type="flights.landed.v1", key="id"):
    id: str
    origin: str
    late: bool


class Decided(Event, type="flights.decided.v1", key="id"):
    id: str
    late: float | None
    n: int


class Joined(Event, type="outcomes.joined.v1", key="model"):
    model: str
    id: str
    late: bool


class Gone(Event, type="outcomes.gone.v1", key="model"):
    model: str
    id: str


class Summed(Event, type="sums.summed.v1", key="model"):
    model: str
    n: int
    time_us: int


def services() -> list[Service]:
    """Decisions from a view, joined with what came of them or expired, summed up by the hour."""
    by_origin = View(
        "by-origin", Landed, by=lambda e: e.origin, window=hours(3), late=mean(lambda e: e.late), n=count()
    )
    decide = Service("decide")

    @decide.on(Scheduled)
    async def warn(event: Scheduled, view=use(by_origin)) -> Decided:
        row = view(event.origin)
        return Decided(id=event.id, late=row.late, n=row.n)

    join = Service("join")

    @join.on(Decided)
    def opened(event: Decided, waiting: State[Decided] = use("waiting", ttl=hours(2))) -> None:
        waiting.set(event)

    @join.on(Landed, by=lambda e: e.id)
    async def landed(event: Landed, waiting: State[Decided] = use("waiting", ttl=hours(2))) -> Joined | None:
        if waiting.get() is None:
            return None
        waiting.delete()
        return Joined(model="m", id=event.id, late=event.late)

    @join.expired("waiting")
    def gone(event: Expired) -> Gone:
        return Gone(model="m", id=event.key)

    loop = Service("loop")

    @loop.on(Joined)
    def learn(events: list[Joined], total: State[int] = use("total")) -> None:
        total.set((total.get("m") or 0) + len(events), "m")

    @loop.every(hours(1), key="m")
    def tick(tick: Tick, total: State[int] = use("total")) -> Summed:
        return Summed(model="m", n=total.get() or 0, time_us=tick.time_us)

    return [decide, join, loop]


EVENTS = [
    (0, "s1", Scheduled(id="1", origin="A")),
    (0, "s2", Scheduled(id="2", origin="B")),
    (1, "l1", Landed(id="1", origin="A", late=True)),
    (1, "s3", Scheduled(id="3", origin="A")),
    (1, "s4", Scheduled(id="4", origin="A")),
    (2, "l3", Landed(id="3", origin="A", late=False)),
    (2, "s5", Scheduled(id="5", origin="A")),
    (5, "l5", Landed(id="5", origin="A", late=False)),
    (5, "s6", Scheduled(id="6", origin="A")),
]
END = START + 8 * HOUR
TOPICS = ("flights", "outcomes", "sums")


async def run(
    *, crash_at: int | None = None, live: bool = False, chunk: int = 4, apart: bool = False
) -> Simulation:
    """Run the three services over the events, with at most one crash."""
    options = replace(OPTIONS, live=live, chunk=chunk, partitions=2)
    simulation = Simulation(services(), options=options, start_us=START, apart=apart)
    simulation.faults.crash_at = crash_at
    codec = simulation.runtime.codec
    await simulation.store.log.create_topics({"flights": 2})
    await simulation.store.log.append(
        [record_of(e, codec.encode(e), id=id, time_us=START + at * HOUR) for at, id, e in EVENTS]
    )
    await simulation.start()
    await simulation.run_until(END)
    return simulation


async def facts(simulation: Simulation) -> tuple[str, list[str], dict[str, bytes]]:
    """Return what is on the log, each id as often as it is there, and all state."""
    stored = await simulation.records(*TOPICS)
    state = {}
    for namespace in ("join/state/waiting", "loop/state/total"):
        for entry in await simulation.store.state.scan(namespace):
            state[f"{namespace}/{entry.key}"] = entry.value
    return await simulation.digest(*TOPICS), [s.record.id for s in stored], state


@pytest.mark.parametrize("apart", [False, True], ids=["one store", "log and state apart"])
def test_a_crash_at_every_call_changes_nothing_in_event_time(apart: bool) -> None:
    """Whatever call a crash strikes at, before or after its effect, log and state end the same."""

    async def sweep() -> int:
        together = await run()
        wanted = await facts(together)
        await together.stop()
        calm = await run(apart=apart)
        assert await facts(calm) == wanted
        assert len(wanted[1]) == len(set(wanted[1]))
        assert sum(s.record.type == "outcomes.gone.v1" for s in await calm.records("outcomes")) == 4
        points = 2 * calm.faults.calls
        await calm.stop()
        for point in range(points):
            crashed = await run(crash_at=point, apart=apart)
            assert await facts(crashed) == wanted, (
                f"crash at point {point}, {crashed.faults.names[point // 2]}"
            )
            await crashed.stop()
        return points

    assert asyncio.run(sweep()) > 100


def live_service() -> Service:
    """Return a service that counts per key and answers each event, whatever time it is."""
    service = Service("live")

    @service.on(Scheduled)
    async def each(event: Scheduled, n: State[int] = use("n")) -> Decided:
        n.set((n.get() or 0) + 1)
        return Decided(id=event.id, late=None, n=n.get() or 0)

    @service.on(Landed)
    def many(events: list[Landed], n: State[int] = use("n")) -> list[Joined]:
        for event in events:
            n.set((n.get(event.id) or 0) + 1, event.id)
        return [Joined(model="m", id=",".join(e.id for e in events), late=False)] if events else []

    return service


def test_a_crash_at_every_call_loses_and_doubles_nothing_live() -> None:
    """Live, every event is answered once and counted once, whatever call a crash strikes at."""

    async def one(crash_at: int | None) -> Simulation:
        options = replace(OPTIONS, live=True, chunk=3, partitions=2)
        simulation = Simulation([live_service()], options=options, start_us=START)
        simulation.faults.crash_at = crash_at
        codec = Codec([Scheduled, Landed])
        await simulation.store.log.create_topics({"flights": 2})
        await simulation.store.log.append(
            [record_of(e, codec.encode(e), id=id, time_us=START + at * HOUR) for at, id, e in EVENTS]
        )
        await simulation.start()
        await simulation.wait(lambda: simulation.runtime.is_idle)
        return simulation

    async def sweep() -> None:
        calm = await one(None)
        points = 2 * calm.faults.calls
        await calm.stop()
        for point in range(points):
            crashed = await one(point)
            where = f"crash at point {point}"
            answered = [s.record for s in await crashed.records("flights", "outcomes")]
            decided = sorted(r.subject for r in answered if r.type == "flights.decided.v1")
            assert decided == ["1", "2", "3", "4", "5", "6"], where
            joined = [r for r in answered if r.type == "outcomes.joined.v1"]
            ids = sorted(id for r in joined for id in Codec([Joined]).decode(r).id.split(","))
            assert ids == ["1", "3", "5"], where
            counts = {e.key: e.value for e in await crashed.store.state.scan("live/state/n")}
            assert counts == {k: bytes([2 if k in "135" else 1]) for k in "123456"}, where
            await crashed.stop()

    asyncio.run(sweep())


@pytest.mark.parametrize("chunk", [1, 2, 1024])
def test_the_same_log_gives_the_same_outputs_in_any_chunks(chunk: int) -> None:
    """How much is read at a time changes nothing."""

    async def both() -> None:
        one, other = await run(chunk=4), await run(chunk=chunk)
        assert await facts(one) == await facts(other)
        await one.stop()
        await other.stop()

    asyncio.run(both())
