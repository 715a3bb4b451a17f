"""Flights of which half leave before their schedule: their own departure would tell how late they arrive."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, NamedTuple

from tests.simulation.loop_system import DAY, HOUR, POLICY, START

from tropism.app.app import App
from tropism.core.event import Event
from tropism.core.time import hours
from tropism.models.model import Model, Outcome
from tropism.models.rows import Predictor, Rows, TrainingRows
from tropism.models.serving import Decider
from tropism.runtime.inject import use
from tropism.runtime.service import Service
from tropism.runtime.view import Reader, View, last


class Scheduled(Event, type="planes.scheduled.v1", key="flight"):
    """A flight is due."""

    flight: str


class Departed(Event, type="planes.departed.v1", key="flight"):
    """It left, perhaps before it was due."""

    flight: str
    delay: float


class Landed(Event, type="landings.landed.v1", key="flight"):
    """It arrived."""

    flight: str
    late: bool


def departures(days_count: int, a_day: int = 200, seed: int = 3) -> list[tuple[int, Event]]:
    """Return flights: half leave ten minutes early and arrive in time, the others late."""
    chance = random.Random(seed)
    events: list[tuple[int, Event]] = []
    for n in range(days_count * a_day):
        due = START + n * (DAY // a_day)
        late = chance.random() < 0.5
        flight = f"f{n:05d}"
        events.append(
            (
                due + HOUR // 4 if late else due - HOUR // 6,
                Departed(flight=flight, delay=15.0 if late else -10.0),
            )
        )
        events.append((due, Scheduled(flight=flight)))
        events.append((due + 2 * HOUR, Landed(flight=flight, late=late)))
    return sorted(events, key=lambda entry: entry[0])


by_flight = View("delay-by-flight", Departed, by=lambda e: e.flight, delay=last(lambda e: e.delay))
shown = View("delay-by-flight", Departed, by=lambda e: e.flight, own=True, delay=last(lambda e: e.delay))


class Leaky(NamedTuple):
    """A row with the planted leak."""

    number: float
    own_delay: float | None


def leaking(event: Scheduled, delays: Reader = use(by_flight)) -> Leaky:
    """Ask for the flight's own departure."""
    return Leaky(float(event.flight[1:]) % 7, delays(event.flight).delay)


def sabotaged(event: Scheduled, delays: Reader = use(shown)) -> Leaky:
    """Ask for it where the rule is off."""
    return Leaky(float(event.flight[1:]) % 7, delays(event.flight).delay)


def honest(event: Scheduled) -> Leaky:
    """Do not ask."""
    return Leaky(float(event.flight[1:]) % 7, None)


@dataclass(frozen=True)
class Means:
    """The share of late flights per own delay, if it is known."""

    by_delay: dict[str, float]

    def predict(self, rows: Rows) -> Sequence[float]:
        """Return an output a row, a little different by number."""
        numbers, delays = rows.columns
        return [
            min(1.0, self.by_delay.get(str(delay), 0.5) + number / 1e6)
            for number, delay in zip(numbers, delays, strict=True)
        ]


def train_means(rows: TrainingRows, seed: int) -> Predictor:
    """Learn how delays tell."""
    del seed
    found: dict[str, list[float]] = {}
    for delay, outcome in zip(rows.columns[1], rows.outcomes.tolist(), strict=True):
        found.setdefault(str(delay), []).append(outcome)
    return Means({delay: (sum(seen) + 1) / (len(seen) + 2) for delay, seen in sorted(found.items())})


def app(features: Any) -> App:
    """Return a system that decides when a flight is due."""
    model = Model(
        "late",
        decides_on=Scheduled,
        features=features,
        train=train_means,
        outcome=Outcome(Landed, value=lambda e: float(e.late), within=timedelta(days=1)),
        policy=replace(POLICY, growth=None, degradation=None, review=hours(3)),
    )
    gate = Service("gate")

    @gate.on(Scheduled)
    async def decide(event: Scheduled, late: Decider = use(model)) -> None:
        await late(event)

    return App("planes", services=[gate], models=[model], events=[Departed])
