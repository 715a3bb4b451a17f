"""How many workers there should be: decided on the time that catching up will take, not on how much waits."""

import math
from dataclasses import dataclass

MEMORY = 0.7
"""How much of what was learned of the cost of an event outlasts the next look."""

SLACK = 1.5
"""Workers go only if those that stay could do so many times the work: else they would soon be back."""


@dataclass(frozen=True, slots=True)
class Scaling:
    """Bounds: workers, within how many seconds what waits should be caught up, and how rarely to change."""

    workers_min: int = 1
    workers_max: int = 1
    drain_seconds: float = 30.0
    rest_seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class Load:
    """What was seen over some seconds, of all workers together: events that came, were done, and wait."""

    seconds: float
    arrived: int
    handled: int
    lag: int


@dataclass(frozen=True, slots=True)
class Learned:
    """What an event costs: seconds of one worker; unknown until workers were seen with enough to do."""

    cost_seconds: float | None = None
    arrivals_per_second: float = 0.0
    changed_at: float = -math.inf


def learn(known: Learned, load: Load, workers: int) -> Learned:
    """Return what is known after a look. Only workers that had more to do than they did show their speed."""
    cost, kept = known.cost_seconds, MEMORY
    if load.handled and load.lag:
        seen = load.seconds * workers / load.handled
        cost = seen if cost is None else kept * cost + (1 - kept) * seen
    arrivals = kept * known.arrivals_per_second + (1 - kept) * load.arrived / load.seconds
    return Learned(cost, arrivals, known.changed_at)


def drain_seconds(known: Learned, lag: int, workers: int) -> float | None:
    """Return how long so many workers will take until nothing waits; infinite if more comes than they do."""
    if known.cost_seconds is None:
        return None if lag else 0.0
    spare = workers / known.cost_seconds - known.arrivals_per_second
    return lag / spare if spare > 0 else (math.inf if lag else 0.0)


def wanted(scaling: Scaling, known: Learned, lag: int, workers: int, *, now: float) -> int:
    """Return how many workers there should be.

    More at once if what waits would take longer than is wanted; fewer after a rest, and only if they would
    do with room to spare. What one more or one fewer changes costs a pause: steps are large and rare.
    """
    within = max(scaling.workers_min, min(workers, scaling.workers_max))
    if within != workers or known.cost_seconds is None or now - known.changed_at < scaling.rest_seconds:
        return within
    needed = _needed(scaling, known, lag, 1.0)
    if needed > workers:
        return min(scaling.workers_max, needed)
    enough = max(scaling.workers_min, _needed(scaling, known, lag, SLACK))
    return min(workers, enough)


def _needed(scaling: Scaling, known: Learned, lag: int, slack: float) -> int:
    rate = known.arrivals_per_second + lag / scaling.drain_seconds
    return max(1, math.ceil(rate * slack * (known.cost_seconds or 0.0)))
