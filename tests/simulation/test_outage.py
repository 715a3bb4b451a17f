"""A service that was away for longer than its states live: what came in time while it was away still counts."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest
from tests.simulation.loop_system import DAY, HOUR, START, Answered, Asked, features, record, train_rates

from tropism.core.event import Event
from tropism.core.time import hours
from tropism.models.events import DecisionMade, OutcomeLearned, OutcomeMissed, OutcomeUnmatched
from tropism.models.model import Model, Outcome
from tropism.models.outcomes import outcome_service
from tropism.testing.simulation import OPTIONS, Simulation

MODEL = Model(
    "verdict",
    decides_on=Asked,
    features=features,
    train=train_rates,
    outcome=Outcome(Answered, value=lambda e: float(e.yes), within=hours(24)),
)


def decision(subject: str, decided_us: int) -> DecisionMade:
    return DecisionMade(
        model="verdict",
        subject=subject,
        input_id=subject,
        decided_us=decided_us,
        version=1,
        arm="champion",
        output=0.5,
        act=False,
        schema="x",
        features=[1.0],
    )


def history(count: int) -> list[tuple[int, Event]]:
    """A day of decisions: most are answered in time, some too late, some never."""
    events: list[tuple[int, Event]] = []
    for n in range(count):
        at, subject = START + n * DAY // count, f"q{n:05d}"
        events.append((at, decision(subject, at)))
        if n % 10 != 3:
            late = 26 if n % 10 == 7 else 20
            events.append((at + late * HOUR, Answered(id=subject, kind="a", yes=True)))
    return sorted(events, key=lambda event: event[0])


async def joined(events: Sequence[tuple[int, Event]], *, live: bool, chunk: int) -> list[int]:
    """Return how much is learned, missed and unmatched by a service that begins five days later."""
    now_us = START + 5 * DAY
    options = replace(OPTIONS, live=live, chunk=chunk)
    simulation = Simulation([outcome_service(MODEL)], options=options, start_us=now_us)
    await simulation.store.log.append([record(time_us, event) for time_us, event in events])
    await simulation.start()
    await simulation.run_until(now_us)
    await simulation.advance_to(now_us + DAY)
    found = await simulation.records("outcomes")
    await simulation.stop()
    kinds = (OutcomeLearned, OutcomeMissed, OutcomeUnmatched)
    return [sum(stored.record.type == kind.event_type for stored in found) for kind in kinds]


@pytest.mark.parametrize("live", [False, True], ids=["event-time", "live"])
@pytest.mark.parametrize("chunk", [16, 100, 1024])
def test_outcomes_that_came_in_time_are_learned_from_after_an_outage_of_many_days(
    live: bool, chunk: int
) -> None:
    """Decisions expire by what was known when, and not by the clock of who reads it late."""
    assert asyncio.run(joined(history(400), live=live, chunk=chunk)) == [320, 80, 40]
