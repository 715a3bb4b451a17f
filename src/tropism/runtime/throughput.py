"""How fast services work off what waits for them, from two looks at them."""

from collections.abc import Sequence
from dataclasses import dataclass

from tropism.core.time import MICROSECONDS
from tropism.ports.platform import Platform
from tropism.runtime.lag import Lag, lag_of
from tropism.runtime.scaling import Learned, Load, drain_seconds, learn
from tropism.runtime.service import Service
from tropism.runtime.shares import plan_of
from tropism.runtime.sources import topics_of


@dataclass(frozen=True, slots=True)
class Look:
    """A service at a moment: what waits for it, how many events there ever were for it, its workers."""

    at: float
    lag: Lag
    events: int
    workers: int


@dataclass(frozen=True, slots=True)
class Throughput:
    """What waits for a service and how long that will take.

    ``cost_us`` is what an event takes of a worker, learned while workers had more to do than they did, and
    None until then. ``drain_seconds`` is None while that is unknown, and infinite where more comes than is
    handled.
    """

    service: str
    workers: int
    events: int
    oldest_seconds: float | None
    arrived_per_second: float
    handled_per_second: float
    cost_us: float | None
    drain_seconds: float | None


async def look(platform: Platform, services: Sequence[Service]) -> dict[str, Look]:
    """Return how services stand now, by name."""
    found = {}
    for service in services:
        lag = await lag_of(platform, service)
        events = sum((await platform.log.ends(topics_of(service))).values())
        plan = await plan_of(platform.state, service.name)
        found[service.name] = Look(platform.clock.monotonic(), lag, events, plan.count)
    return found


def load_between(before: Look, after: Look) -> Load:
    """Return what happened between two looks."""
    arrived = after.events - before.events
    handled = max(0, before.lag.events + arrived - after.lag.events)
    return Load(max(after.at - before.at, 1 / MICROSECONDS), arrived, handled, after.lag.events)


def throughput_of(before: Look, after: Look, known: Learned) -> tuple[Throughput, Learned]:
    """Return how a service fares between two looks, and what is known of it then."""
    load = load_between(before, after)
    known = learn(known, load, after.workers)
    cost = known.cost_seconds
    found = Throughput(
        service=after.lag.service,
        workers=after.workers,
        events=after.lag.events,
        oldest_seconds=after.lag.oldest_seconds,
        arrived_per_second=load.arrived / load.seconds,
        handled_per_second=load.handled / load.seconds,
        cost_us=None if cost is None else cost * MICROSECONDS,
        drain_seconds=drain_seconds(known, after.lag.events, after.workers),
    )
    return found, known
