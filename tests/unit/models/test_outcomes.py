"""Joining decisions with what came of them: each way in which the two can miss each other."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import msgspec
import pytest

from tropism import testing
from tropism.app.app import App
from tropism.core.event import Event
from tropism.core.time import hours, instant_us
from tropism.models.events import DecisionMade, OutcomeLearned, OutcomeMissed, OutcomeUnmatched
from tropism.models.model import Model, Outcome
from tropism.models.outcomes import outcome_service


class Seen(Event, type="inputs.seen.v1", key="id"):
    id: str


class Known(Event, type="results.known.v1", key="id"):
    id: str
    value: float | None
    subject: str = ""
    note: str = ""


class Row(NamedTuple):
    x: float


def features(seen: Seen) -> Row:
    return Row(1.0)


def train(rows, seed):
    raise NotImplementedError


def joined(scenario, *, corrections=False, by=None, model="m"):
    """Run a scenario against the joiner alone, and return what it learned, missed and could not match."""
    declared = Model(
        model,
        decides_on=Seen,
        features=features,
        train=train,
        outcome=Outcome(Known, value=lambda e: e.value, within=hours(24), by=by, corrections=corrections),
    )
    app = App("a", services=[outcome_service(declared)], events=[Seen])

    async def run():
        async with testing.run(app, start=START, allow_dead_letters=True) as t:
            await scenario(t)
            await t.advance(hours=60)
            return (
                [(e.event.decision_id, e.event) for e in t.all(OutcomeLearned)],
                [(e.event.decision_id, e.event.reason, e.time) for e in t.all(OutcomeMissed)],
                [(e.event.subject, e.event.value) for e in t.all(OutcomeUnmatched)],
                t.dead_letters(),
            )

    return asyncio.run(run())


START = datetime(2024, 1, 1, tzinfo=UTC)
START_US = instant_us(START)


def decision(subject="s", *, model="m", version=3, output=0.7, n=0):
    return DecisionMade(
        model=model,
        subject=subject,
        input_id=f"i{n}",
        decided_us=START_US,
        version=version,
        arm="champion",
        output=output,
        act=True,
        schema="x",
        features=[1.0],
        others={"2": 0.4},
    )


def test_an_outcome_is_joined_with_its_decision_and_carries_what_all_versions_said():
    async def scenario(t):
        await t.publish(decision())
        await t.advance(hours=2)
        await t.publish(Known(id="s", value=1.0))

    ((_, outcome),), missed, unmatched, letters = joined(scenario)
    assert (outcome.value, outcome.version, outcome.output, outcome.others) == (1.0, 3, 0.7, {"2": 0.4})
    assert (outcome.revision, outcome.early, outcome.act) == (0, False, True)
    assert (missed, unmatched, letters) == ([], [], [])


def test_an_outcome_before_its_decision_waits_for_it_and_is_marked_early():
    async def scenario(t):
        await t.publish(Known(id="s", value=1.0))
        await t.advance(hours=23)
        await t.publish(decision())

    ((_, outcome),), missed, unmatched, _ = joined(scenario)
    assert (outcome.early, outcome.value) == (True, 1.0)
    assert (missed, unmatched) == ([], [])


def test_an_outcome_that_no_decision_comes_for_is_unmatched():
    async def scenario(t):
        await t.publish(Known(id="s", value=1.0))

    assert joined(scenario)[:3] == ([], [], [("s", 1.0)])


def test_a_second_decision_on_a_subject_supersedes_the_first():
    async def scenario(t):
        t.ids = await t.publish(decision(n=1))
        await t.advance(hours=1)
        t.ids += await t.publish(decision(n=2))
        await t.advance(hours=1)
        await t.publish(Known(id="s", value=0.0))
        scenario.ids = t.ids

    learned, missed, _, _ = joined(scenario)
    assert [id for id, _ in learned] == [scenario.ids[1]]
    assert [(id, reason) for id, reason, _ in missed] == [(scenario.ids[0], "superseded")]


def test_without_corrections_a_second_outcome_is_unmatched():
    async def scenario(t):
        await t.publish(decision())
        for value, note in ((1.0, "first"), (1.0, "again"), (0.0, "other")):
            await t.advance(hours=1)
            await t.publish(Known(id="s", value=value, note=note))

    learned, missed, unmatched, _ = joined(scenario)
    assert [o.value for _, o in learned] == [1.0]
    assert missed == []
    assert unmatched == [("s", 1.0), ("s", 0.0)]


def test_an_outcome_that_another_displaces_while_it_waits_is_unmatched():
    async def scenario(t):
        for value in (0.0, 1.0, 0.5):
            await t.publish(Known(id="s", value=value))
            await t.advance(hours=1)
        await t.publish(decision())

    learned, missed, unmatched, _ = joined(scenario)
    assert [(o.value, o.early) for _, o in learned] == [(0.5, True)]
    assert (missed, unmatched) == ([], [("s", 0.0), ("s", 1.0)])


@pytest.mark.parametrize("late", [True, False], ids=["late", "told-twice"])
@pytest.mark.parametrize("corrections", [False, True])
def test_where_a_subject_recurs_a_decision_gets_its_own_outcome_in_the_end(late, corrections):
    """An outcome too many or too late waits for the next decision; what comes after that one is its own."""

    async def scenario(t):
        scenario.ids = await t.publish(decision(n=1))
        if not late:
            await t.advance(hours=1)
            await t.publish(Known(id="s", value=1.0))
        await t.advance(hours=25)
        await t.publish(Known(id="s", value=1.0, note="again"))
        await t.advance(hours=1)
        second = msgspec.structs.replace(decision(n=2), decided_us=instant_us(t.now))
        scenario.ids += await t.publish(second)
        await t.advance(hours=2)
        await t.publish(Known(id="s", value=0.0))
        await t.advance(hours=1)
        await t.publish(Known(id="s", value=0.0, note="again"))

    learned, missed, unmatched, _ = joined(scenario, corrections=corrections)
    second = [(o.value, o.revision, o.early) for id, o in learned if id == scenario.ids[1]]
    assert second == [(1.0, 0, True), (0.0, 1, True)]
    assert [reason for _, reason, _ in missed] == (["expired"] if late else [])
    assert unmatched == ([] if corrections else [("s", 0.0)])


def test_with_corrections_another_value_corrects_and_the_same_value_says_nothing_new():
    async def scenario(t):
        await t.publish(decision())
        for value in (1.0, 1.0, 0.0, 1.0):
            await t.advance(hours=1)
            await t.publish(Known(id="s", value=value))

    learned, missed, unmatched, _ = joined(scenario, corrections=True)
    assert [(o.value, o.revision) for _, o in learned] == [(1.0, 0), (0.0, 1), (1.0, 2)]
    assert (missed, unmatched) == ([], [])


def test_a_correction_of_an_early_outcome_stays_early():
    async def scenario(t):
        await t.publish(Known(id="s", value=1.0))
        await t.advance(hours=1)
        await t.publish(decision())
        await t.advance(hours=1)
        await t.publish(Known(id="s", value=0.0))

    learned, _, unmatched, _ = joined(scenario, corrections=True)
    assert [(o.value, o.revision, o.early) for _, o in learned] == [(1.0, 0, True), (0.0, 1, True)]
    assert unmatched == []


def test_a_correction_after_the_outcome_s_time_is_unmatched():
    async def scenario(t):
        await t.publish(decision())
        await t.advance(hours=20)
        await t.publish(Known(id="s", value=1.0))
        await t.advance(hours=20)
        await t.publish(Known(id="s", value=0.0))

    learned, _, unmatched, _ = joined(scenario, corrections=True)
    assert [o.value for _, o in learned] == [1.0]
    assert unmatched == [("s", 0.0)]


@pytest.mark.parametrize(("late_us", "in_time"), [(-1, True), (0, False), (1, False)])
def test_a_decision_expires_exactly_when_its_time_has_passed(late_us, in_time):
    async def scenario(t):
        await t.publish(decision())
        at = next(iter(t.all(DecisionMade))).time
        await t.advance(hours=1)
        await t.publish(Known(id="s", value=1.0), at=at + timedelta(hours=24, microseconds=late_us))
        scenario.at = at

    learned, missed, unmatched, _ = joined(scenario)
    if in_time:
        assert (len(learned), missed, unmatched) == (1, [], [])
    else:
        assert learned == []
        ((_, reason, when),) = missed
        assert (reason, when - scenario.at) == ("expired", timedelta(hours=24))
        assert unmatched == [("s", 1.0)]


def test_a_value_of_none_is_no_outcome():
    async def scenario(t):
        await t.publish(decision())
        await t.advance(hours=1)
        await t.publish(Known(id="s", value=None))

    learned, missed, unmatched, _ = joined(scenario)
    assert (learned, unmatched) == ([], [])
    assert [reason for _, reason, _ in missed] == ["expired"]


def test_decisions_of_other_models_are_left_alone():
    async def scenario(t):
        await t.publish(decision(model="another"))
        await t.advance(hours=1)
        await t.publish(Known(id="s", value=1.0))

    assert joined(scenario)[:3] == ([], [], [("s", 1.0)])


def test_the_subject_may_stand_elsewhere_in_the_outcome_s_event():
    async def scenario(t):
        await t.publish(decision("passenger-7"))
        await t.advance(hours=1)
        await t.publish(Known(id="other", value=1.0, subject="passenger-7"))

    assert [o.subject for _, o in joined(scenario, by=lambda e: e.subject)[0]] == ["passenger-7"]


@pytest.mark.parametrize("value", [1.5, -0.1])
def test_an_outcome_that_is_no_probability_is_a_dead_letter_with_its_remedy(value):
    async def scenario(t):
        await t.publish(decision(), decision("fine"))
        await t.advance(hours=1)
        await t.publish(Known(id="s", value=value), Known(id="fine", value=1.0))

    learned, missed, _, (letter,) = joined(scenario)
    assert "is neither" not in letter.cause
    assert f"its value is {value!r}" in letter.cause
    assert "return a probability" in letter.cause
    assert [o.subject for _, o in learned] == ["fine"], "its neighbours in the batch are not harmed"
    assert [reason for _, reason, _ in missed] == ["expired"]
