"""The same log gives the same outputs, however it is read, spread, slowed down or interrupted."""

import asyncio
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tropism import (
    Envelope,
    Event,
    Expired,
    Output,
    Retry,
    Service,
    State,
    Tick,
    View,
    count,
    hours,
    last,
    mean,
    minutes,
    seconds,
    use,
)
from tropism.core.codec import record_of
from tropism.core.time import to_us
from tropism.testing.simulation import OPTIONS, Simulation

MINUTE = to_us(minutes(1))
START = 1_700_000_040_000_000 // MINUTE * MINUTE


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
    latest: str | None


class Joined(Event, type="outcomes.joined.v1", key="origin"):
    origin: str
    id: str
    late: bool
    total: int


class Gone(Event, type="outcomes.gone.v1", key="id"):
    id: str


class Summed(Event, type="sums.summed.v1", key="origin"):
    origin: str
    n: int
    time_us: int


class Pace:
    """How fast handlers are, without any say in what they answer."""

    def __init__(self, turns: list[int], delays: list[float]) -> None:
        self._turns = turns or [0]
        self._delays = delays or [0.0]
        self._calls = 0
        self.clock: Any = None

    async def __call__(self) -> None:
        self._calls += 1
        for _ in range(self._turns[self._calls % len(self._turns)]):
            await asyncio.sleep(0)
        delay = self._delays[self._calls % len(self._delays)]
        if delay:
            await self.clock.sleep(delay)


def services(pace: Pace) -> list[Service]:
    """Decisions from a view; joined per flight, or expired; counted per origin, and summed up by ticks."""
    by_origin = View(
        "by-origin",
        Landed,
        by=lambda e: e.origin,
        window=minutes(30),
        late=mean(lambda e: e.late),
        n=count(window=minutes(10)),
        latest=last(lambda e: e.id),
    )
    decide, join, loop = Service("decide"), Service("join"), Service("loop")

    @decide.on(Scheduled, retry=Retry(attempts=9, first=seconds(1)))
    async def warn(event: Scheduled, view=use(by_origin)) -> Decided:
        await pace()
        row = view(event.origin)
        return Decided(id=event.id, late=row.late, n=row.n, latest=row.latest)

    @join.on(Decided)
    async def opened(event: Decided, open: State[str] = use("open", ttl=minutes(20))) -> None:
        await pace()
        open.set(f"{event.late} {event.n}")

    @join.on(Landed)
    def landed(
        events: list[Envelope[Landed]], open: State[str] = use("open", ttl=minutes(20))
    ) -> list[Output | Joined]:
        found = []
        for e in events:
            if open.get(e.subject) is not None:
                open.delete(e.subject)
                joined = Joined(origin=e.data.origin, id=e.data.id, late=e.data.late, total=0)
                found.append(Output(joined, by=e))
        return found

    @join.expired("open")
    async def gone(event: Expired) -> Gone:
        await pace()
        return Gone(id=event.key)

    @loop.on(Joined)
    async def learn(event: Joined, n: State[int] = use("n")) -> None:
        await pace()
        n.set((n.get() or 0) * 3 + len(event.id) + event.late)

    @loop.on(Gone, by=lambda e: "all")
    async def lost(event: Gone, n: State[int] = use("n")) -> None:
        await pace()
        n.set((n.get() or 0) * 3 + int(event.id) % 7)

    @loop.every(minutes(15), key="A")
    async def tick_a(tick: Tick, n: State[int] = use("n")) -> Summed:
        await pace()
        return Summed(origin="A", n=n.get() or 0, time_us=tick.time_us)

    @loop.every(minutes(15), key="all")
    def tick_all(tick: Tick, n: State[int] = use("n")) -> Summed:
        return Summed(origin="all", n=n.get() or 0, time_us=tick.time_us)

    return [decide, join, loop]


Events = list[tuple[int, Event]]


@st.composite
def histories(draw: st.DrawFn) -> Events:
    """Flights scheduled, most of them landed some time later; many at one moment."""
    events: Events = []
    for n in range(draw(st.integers(1, 14))):
        at = draw(st.integers(0, 40))
        origin = draw(st.sampled_from("AB"))
        events.append((at, Scheduled(id=str(n), origin=origin)))
        flown = draw(st.sampled_from([None, 0, 0, 1, 5, 15, 19, 20, 21, 30]))
        if flown is not None:
            events.append((at + flown, Landed(id=str(n), origin=origin, late=draw(st.booleans()))))
    return sorted(events, key=lambda e: e[0])


async def outcome(events: Events, pace: Pace, *, crashes: list[int], **options: Any) -> tuple[str, Any]:
    """Run the services over a history; return the digest of all they gave, and their state."""
    simulation = Simulation(services(pace), options=replace(OPTIONS, **options), start_us=START)
    pace.clock = simulation.clock
    codec = simulation.runtime.codec
    log = simulation.store.log
    await log.create_topics({"flights": simulation.options.partitions})
    await log.append(
        [
            record_of(e, codec.encode(e), id=f"{n * 7919 % 101}-{n}", time_us=START + at * MINUTE)
            for n, (at, e) in enumerate(events)
        ]
    )
    left = list(crashes)
    simulation.faults.crash_at = left.pop(0) if left else None
    await simulation.start()
    simulation.advance_sources(START + to_us(hours(2)))

    def done() -> bool:
        if left and simulation.faults.crash_at is None:
            simulation.faults.crash_at = 2 * simulation.faults.calls + left.pop(0)
        return simulation.runtime.has_handled(START + to_us(hours(2)))

    await simulation.wait(done)
    digest = await simulation.digest("flights", "outcomes", "sums")
    state = [
        (namespace, entry.key, entry.value)
        for namespace in ("join/state/open", "loop/state/n")
        for entry in await simulation.store.state.scan(namespace)
    ]
    ids = [s.record.id for s in await simulation.records("flights", "outcomes", "sums")]
    assert len(ids) == len(set(ids))
    await simulation.stop()
    return digest, state


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    histories(),
    st.sampled_from([1, 2, 7, 1024]),
    st.sampled_from([1, 3, 4096]),
    st.sampled_from([1, 2, 5]),
    st.lists(st.integers(0, 6), max_size=5),
    st.lists(st.sampled_from([0.0, 0.0, 0.5, 20.0]), max_size=4),
    st.lists(st.integers(8, 120), max_size=3),
)
def test_a_log_decides_all_that_follows_from_it(
    events: Events,
    chunk: int,
    in_flight_max: int,
    partitions: int,
    turns: list[int],
    delays: list[float],
    crashes: list[int],
) -> None:
    """Chunks, bounds, partitions, slow handlers and crashes change neither outputs nor state."""

    async def both() -> None:
        plain = await outcome(events, Pace([], []), crashes=[])
        other = await outcome(
            events,
            Pace(turns, delays),
            crashes=crashes,
            chunk=chunk,
            in_flight_max=in_flight_max,
            partitions=partitions,
        )
        assert other == plain

    asyncio.run(both())
