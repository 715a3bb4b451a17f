"""How services fare, from two looks at them."""

import asyncio
import math

from tropism import App, Event, Service, testing
from tropism.runtime.lag import Lag
from tropism.runtime.scaling import Learned
from tropism.runtime.throughput import Look, look, throughput_of


def seen(at: float, waiting: int, events: int, workers: int = 2) -> Look:
    return Look(at, Lag("s", waiting, 3.0 if waiting else None), events, workers)


def test_what_an_event_costs_is_learned_from_workers_that_have_enough_to_do() -> None:
    """Two workers that handle 200 in a second with more waiting take 10 ms of one each."""
    each, known = throughput_of(seen(10.0, 1000, 5000), seen(11.0, 900, 5100), Learned())
    assert each.handled_per_second == 200
    assert each.arrived_per_second == 100
    assert each.cost_us == 10_000
    assert each.oldest_seconds == 3.0
    # Of what came, a part is believed at first: 30 a second; 170 are left for the 900 that wait.
    assert each.drain_seconds == 900 / (200 - known.arrivals_per_second)


def test_idle_workers_teach_nothing() -> None:
    """Where nothing waits, nothing is known of the cost, and there is nothing to catch up with."""
    each, _ = throughput_of(seen(1.0, 0, 10), seen(2.0, 0, 20), Learned())
    assert each.cost_us is None
    assert each.drain_seconds == 0.0
    assert each.handled_per_second == 10


def test_where_more_comes_than_is_handled_it_never_ends() -> None:
    """The rate of arrivals counts against that of handling."""
    known = Learned(cost_seconds=0.01, arrivals_per_second=500)
    each, _ = throughput_of(seen(1.0, 100, 1000, 1), seen(2.0, 500, 1500, 1), known)
    assert each.drain_seconds == math.inf


def test_looks_count_what_waits_in_the_log() -> None:
    """A service that was not at work has all of it before it; one that was, nothing."""

    class Came(Event, type="came.came.v1", key="who"):
        who: str

    service = Service("s")

    @service.on(Came)
    async def note(event: Came) -> None:
        """Note it."""

    async def main() -> None:
        async with testing.run(App("a", services=[service]), live=True) as t:
            runtime = t.simulation.runtime
            await t.publish(*[Came(who=f"{n}") for n in range(7)])
            before = (await look(runtime.platform, runtime.services))["s"]
            await t.advance()
            after = (await look(runtime.platform, runtime.services))["s"]
            assert (before.events, before.lag.events) == (7, 7)
            assert (after.events, after.lag.events, after.workers) == (7, 0, 1)

    asyncio.run(main())
