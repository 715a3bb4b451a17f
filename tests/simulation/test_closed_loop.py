"""The whole loop in virtual time, on streams whose truth is known: it recovers, it does no harm, it repeats."""

import asyncio
import hashlib
import math
import random
from dataclasses import replace

import msgspec
import pytest
from tests.simulation.loop_system import (
    AFTER,
    BEFORE,
    DAY,
    HOUR,
    POLICY,
    START,
    Answered,
    Asked,
    Rates,
    System,
    loop_app,
    ran,
    record,
    stream,
    train_rates,
)

from tropism.core.errors import InvalidInputError
from tropism.core.time import days, instant_us
from tropism.models.events import (
    CanaryStarted,
    ChallengerDropped,
    DecisionMade,
    OrderRefused,
    OutcomeLearned,
    OutcomeMissed,
    PromotionOrdered,
    RollbackOrdered,
    TrainingBlocked,
    TrainingFailed,
    TrainingOrdered,
    TrainingRequested,
    VersionPromoted,
    VersionRolledBack,
    VersionTrained,
)
from tropism.models.registry import read_registry
from tropism.models.rows import TrainingRows


def policy(**changes):
    return replace(POLICY, **changes)


def drifting(day):
    return BEFORE if day < 5 else AFTER


DRIFT_DAYS = 12


async def digest(system):
    """Digest decisions and transitions, without what may differ: latency, seconds, and bytes of artifacts."""
    found = hashlib.sha256()
    for stored in await system.records("decisions", "models", "outcomes"):
        body = msgspec.json.decode(stored.record.data)
        body.pop("latency_us", None)
        found.update(repr((stored.record.id, stored.known_us)).encode())
        found.update(msgspec.json.encode(body, order="sorted"))
    for made in await system.all(VersionTrained):
        found.update(f"{made.version} {made.evidence.digest} {made.evidence.data}".encode())
    return found.hexdigest()


def kinds(steps):
    return [kind for _, kind, _, _ in steps]


# -- a life -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def life():
    """One life with a sudden change of the world on day 5, and its facts."""

    async def live():
        system = await ran(stream(DRIFT_DAYS, drifting), loop_app())
        return {
            "steps": await system.transitions(),
            "decisions": await system.all(DecisionMade),
            "outcomes": await system.all(OutcomeLearned),
            "missed": await system.all(OutcomeMissed),
            "trained": await system.all(VersionTrained),
            "registry": await read_registry(system.store.log, "verdict"),
            "digest": await digest(system),
        }

    return asyncio.run(live())


def test_every_decision_has_an_outcome_or_expired_and_none_has_both(life):
    asked = DRIFT_DAYS * 200
    assert len(life["decisions"]) == asked
    joined = [o.decision_id for o in life["outcomes"]] + [o.decision_id for o in life["missed"]]
    assert len(joined) == len(set(joined)) == asked


def test_the_first_version_decides_after_the_allowance_and_none_before(life):
    first = next(step for step in life["registry"].steps if step.kind == "VersionPromoted")
    versions = {
        made.version for made in life["decisions"] if made.decided_us <= first.event.effective_from_us
    }
    assert versions == {0}
    later = next(m for m in life["decisions"] if m.decided_us > first.event.effective_from_us)
    assert later.version == 1
    assert first.event.effective_from_us - first.known_us == 3 * HOUR


def test_a_change_of_the_world_is_noticed_learned_proved_and_put_to_work(life):
    after = [(kind, version) for day, kind, version, _ in life["steps"] if day > 5]
    words = [kind for kind, _ in after]
    assert words.index("degradation_detected") < words.index("shadow_started")
    promoted = next(version for kind, version in after if kind == "promoted")
    trial = [kind for kind, version in after if version == promoted]
    assert trial[:4] == ["training_requested", "shadow_started", "canary_started", "promoted"]


def test_decisions_are_good_again_after_the_promotion(life):
    """Brier before the change, after it, and after recovery: .13 can be had, and guessing has .25."""

    def brier(from_day, to_day):
        chosen = [o for o in life["outcomes"] if from_day <= (o.decided_us - START) / DAY < to_day]
        return sum((o.output - o.value) ** 2 for o in chosen) / len(chosen)

    promoted_day = next(d for d, kind, *_ in life["steps"] if kind == "promoted" and d > 5)
    assert brier(3, 5) < 0.18
    assert brier(5, 6) > 0.35
    assert brier(promoted_day + 0.5, DRIFT_DAYS) < brier(5, 6) - 0.1


def test_the_old_champion_is_scored_beside_the_new_one(life):
    promotion = next(
        s for s in life["registry"].steps if s.kind == "VersionPromoted" and s.event.rollout.previous
    )
    new, old = promotion.event.version, promotion.event.rollout.previous.version
    at_us = promotion.event.effective_from_us
    beside = [m for m in life["decisions"] if m.decided_us > at_us and m.version == new][:50]
    assert beside
    assert all(str(old) in made.others for made in beside)


def test_the_registry_says_who_served_every_decision(life):
    """served_at agrees with what decisions recorded, canary aside."""
    registry = life["registry"]
    for made in life["decisions"][::17]:
        rollout = registry.served_at(made.decided_us)
        arms = {"champion": rollout.champion, "canary": rollout.challenger, "none": None}
        expected = arms[made.arm]
        assert made.version == (0 if expected is None else expected.version)


def test_a_training_knows_only_outcomes_known_at_its_request(life):
    for trained in life["trained"]:
        request = next(
            s.event
            for s in life["registry"].steps
            if s.kind == "TrainingRequested" and s.event.version == trained.version
        )
        assert trained.evidence.known_until_us == request.known_until_us
        assert trained.evidence.rows == sum(
            1 for s in life["outcomes"] if _known_us(life, s) <= request.known_until_us
        )


def _known_us(life, outcome):
    # An answer comes two hours after its question, and at most one more; the joiner adds no time.
    return life.setdefault("known", {}).setdefault(outcome.decision_id, _answer_us(outcome.subject))


ANSWERS = {}


def _answer_us(subject):
    if not ANSWERS:
        ANSWERS.update({e.id: at for at, e in stream(DRIFT_DAYS, drifting) if isinstance(e, Answered)})
    return ANSWERS[subject]


# -- the same, whatever happens to it ---------------------------------------------------------------


@pytest.mark.parametrize("chunk", [41])
def test_chunks_change_nothing(life, chunk):
    async def live():
        system = await ran(stream(DRIFT_DAYS, drifting), loop_app(), chunk=chunk)
        return await digest(system)

    assert asyncio.run(live()) == life["digest"]


@pytest.mark.parametrize("seed", [1])
def test_crashes_change_nothing(life, seed):
    """Abandoned in the middle of whatever it is doing, five times, and taken up again."""

    async def live():
        chance = random.Random(seed)
        system = System(loop_app())
        await system.publish(stream(DRIFT_DAYS, drifting))
        await system.start()
        end = stream(DRIFT_DAYS, drifting)[-1][0] + DAY
        for n in range(1, 6):
            target = asyncio.ensure_future(
                system.run_until(min(end, START + n * (DRIFT_DAYS + 1) * DAY // 8))
            )
            for _ in range(chance.randrange(5, 150)):
                await asyncio.sleep(0)
            target.cancel()
            await asyncio.gather(target, return_exceptions=True)
            await system.crash()
        await system.run_until(end)
        await system.stop()
        return await digest(system)

    assert asyncio.run(live()) == life["digest"]


def test_training_in_a_process_of_its_own_changes_nothing(life):
    from tropism.adapters.local import open_process

    async def live():
        compute = await open_process("process:")
        try:
            system = await ran(stream(DRIFT_DAYS, drifting), loop_app(), compute=compute)
            return await digest(system)
        finally:
            await compute.close()

    assert asyncio.run(live()) == life["digest"]


def test_another_seed_is_another_life():
    async def live(seed):
        system = await ran(stream(3), loop_app(train=train_seeded, seed=seed))
        return [v.evidence.digest for v in await system.all(VersionTrained)]

    assert asyncio.run(live(1)) == asyncio.run(live(1)) != asyncio.run(live(2))


def train_seeded(rows, seed):
    rates = train_rates(rows, seed).rates
    return Rates({kind: min(1.0, rate + (seed % 97) / 10_000) for kind, rate in rates.items()})


# -- harm -------------------------------------------------------------------------------------------


def train_flipped_later(rows: TrainingRows, seed: int):
    """Learn well at first, and the opposite later: a bug that comes with an update."""
    rates = train_rates(rows, seed).rates
    later = rows.known_us[-1] > START + int(1.7 * DAY)
    return Rates({kind: 1.0 - rate for kind, rate in rates.items()} if later else rates)


@pytest.mark.parametrize("share", [0.0, 0.4])
def test_a_harmful_challenger_is_never_promoted(share):
    """The shadow finds it out; with a backtest, it does not even enter."""

    async def live():
        rules = policy(
            gate=replace(POLICY.gate, backtest_share=share, backtest_rows_max=1000), max_age=days(2)
        )
        system = await ran(stream(10), loop_app(rules, train=train_flipped_later))
        return [
            (type(e).__name__, e.version, e.reason)
            for kind in (VersionPromoted, ChallengerDropped)
            for e in await system.all(kind)
        ]

    steps = asyncio.run(live())
    assert [(k, v) for k, v, _ in steps if k == "VersionPromoted"] == [("VersionPromoted", 1)]
    dropped = [reason for kind, _, reason in steps if kind == "ChallengerDropped"]
    assert dropped
    # The first challenger comes before the champion has decided enough to be compared on the past.
    assert dropped[0] == "worse than the champion"
    assert ("worse than the champion in backtest" in dropped) == (share > 0)


def test_a_harmful_version_that_a_person_promoted_is_rolled_back():
    async def live():
        rules = policy(gate=replace(POLICY.gate, backtest_share=0.0), max_age=days(2))
        system = System(loop_app(rules, train=train_flipped_later))
        await system.publish(stream(10))
        await system.start()
        await system.run_until(START + 2 * DAY)
        day = next(
            d for d, kind, v, _ in await system_steps(system, 4) if kind == "shadow_started" and v == 2
        )
        at = START + int(day * DAY) + 1
        await system.publish([(at + HOUR, PromotionOrdered(model="verdict", version=2, by="ada"))])
        await system.run_until(START + 10 * DAY)
        await system.stop()
        rolled = await system.all(VersionRolledBack)
        return [(e.event_type, e.version, e.by) for e in await system.all(VersionPromoted)], rolled

    promoted, rolled = asyncio.run(live())
    assert (promoted[1][1], promoted[1][2]) == (2, "ada")
    assert [(e.version, e.by, e.rollout.champion.version) for e in rolled] == [(2, "policy", 1)]


async def system_steps(system, day):
    """Go on until a day, and return the steps."""
    while not [s for s in await system.transitions() if s[1] == "shadow_started"]:
        day += 0.25
        await system.run_until(START + int(day * DAY))
    return await system.transitions()


# -- orders -----------------------------------------------------------------------------------------


def with_orders(days_count, orders, **options):
    """Live through a calm stream with orders at given days; return the system."""

    async def live():
        events = [*stream(days_count), *((START + int(day * DAY), order) for day, order in orders)]
        return await facts(await ran(sorted(events, key=lambda e: e[0]), loop_app(**options)))

    return asyncio.run(live())


async def facts(system):
    return {
        kind: await system.all(kind)
        for kind in (TrainingRequested, VersionPromoted, VersionRolledBack, OrderRefused, VersionTrained)
    } | {"steps": await system.transitions()}


def test_orders_to_train_promote_and_roll_back_are_carried_out_in_the_person_s_name():
    found = with_orders(
        4,
        [
            (2.51, TrainingOrdered(model="verdict", by="ada")),
            (3.01, PromotionOrdered(model="verdict", version=2, by="bob")),
            (3.51, RollbackOrdered(model="verdict", by="cy")),
        ],
        policy=policy(growth=None),
    )
    assert [r.reason for r in found[TrainingRequested]] == ["first outcomes", "ordered by ada"]
    assert [(p.version, p.by, p.reason) for p in found[VersionPromoted]] == [
        (1, "policy", "first version"),
        (2, "bob", "ordered"),
    ]
    assert [(r.version, r.by) for r in found[VersionRolledBack]] == [(2, "cy")]
    assert found[OrderRefused] == []


def test_an_older_version_can_be_promoted_by_its_number():
    found = with_orders(
        5,
        [
            (2.51, TrainingOrdered(model="verdict", by="ada")),
            (3.01, PromotionOrdered(model="verdict", version=2, by="bob")),
            (4.01, PromotionOrdered(model="verdict", version=1, by="bob")),
        ],
        policy=policy(growth=None),
    )
    assert [p.version for p in found[VersionPromoted]] == [1, 2, 1]
    assert found[VersionPromoted][2].rollout.previous.version == 2


def test_orders_that_cannot_be_carried_out_are_refused_and_say_why():
    found = with_orders(
        3,
        [
            (0.5, RollbackOrdered(model="verdict", by="ada")),
            (2.51, PromotionOrdered(model="verdict", version=7, by="ada")),
            (2.52, PromotionOrdered(model="verdict", version=1, by="ada")),
            (2.53, PromotionOrdered(model="another", version=1, by="ada")),
        ],
    )
    causes = [refused.cause for refused in found[OrderRefused]]
    assert len(causes) == 3
    assert "no champion before is kept" in causes[0]
    assert "version 7 was never trained" in causes[1]
    assert "version 1 is champion already" in causes[2]


def test_an_order_to_roll_back_ends_a_canary_first_and_the_champion_stays():
    rules = policy(
        gate=replace(POLICY.gate, margin=0.02),
        growth=1.5,
        rollout=replace(POLICY.rollout, canary=days(3)),
    )

    async def live():
        system = System(loop_app(rules))
        await system.publish(stream(7))
        await system.start()
        day = 3.0
        while not await system.all(CanaryStarted):
            day += 0.25
            await system.run_until(START + int(day * DAY))
        await system.publish([(START + int((day + 0.2) * DAY), RollbackOrdered(model="verdict", by="ada"))])
        await system.run_until(START + int((day + 0.5) * DAY))
        await system.stop()
        made = [m for m in await system.all(DecisionMade) if m.decided_us > START + (day + 0.4) * DAY]
        return await system.all(ChallengerDropped), await system.all(VersionRolledBack), made

    (dropped,), rolled, made = asyncio.run(live())
    assert (dropped.version, dropped.by, dropped.reason) == (2, "ada", "ordered")
    assert (dropped.rollout.champion.version, dropped.rollout.challenger) == (1, None)
    assert rolled == []
    assert {m.arm for m in made} == {"champion"}


def test_with_approval_a_proven_challenger_waits_for_its_order():
    found = with_orders(
        12,
        [(11.5, PromotionOrdered(model="verdict", version=2, by="ada"))],
        policy=policy(
            approval=True,
            gate=replace(POLICY.gate, margin=0.02),
            growth=1.5,
            rollout=replace(POLICY.rollout, challenger_max=days(20)),
        ),
    )
    assert "canary_started" not in kinds(found["steps"])
    assert [(p.version, p.by) for p in found[VersionPromoted]] == [(1, "policy"), (2, "ada")]
    assert found[VersionPromoted][1].evidence["gate_e_value"] > 20


# -- broken data ------------------------------------------------------------------------------------


def test_broken_data_blocks_training_until_it_heals():
    """For two days every size is missing; an order to train waits until a sound window has been seen."""

    def broken(events):
        for at, event in events:
            if isinstance(event, Asked) and 3 <= (at - START) / DAY < 5:
                yield at, Asked(id=event.id, kind=event.kind, size=0.0)
            else:
                yield at, event

    async def live():
        rules = policy(quality=replace(POLICY.quality, rows_min=50), growth=None)
        events = [*broken(stream(8)), (START + 4 * DAY, TrainingOrdered(model="verdict", by="ada"))]
        system = await ran(sorted(events, key=lambda e: e[0]), loop_app(rules))
        return await system.transitions(), await system.all(TrainingBlocked)

    steps, blocked = asyncio.run(live())
    when = {kind: day for day, kind, *_ in steps}
    assert "court: size: constant" in str(blocked[0].findings)
    assert 3 < when["training_blocked"] < 4.2
    assert 5 < when["training_unblocked"] < 6.1
    requests = [(day, reason) for day, kind, _, reason in steps if kind == "training_requested"]
    assert requests[0][1] == "first outcomes"
    assert requests[1][1] == "ordered by ada"
    assert requests[1][0] >= when["training_unblocked"]


# -- trainings that fail ----------------------------------------------------------------------------


def train_fails_at_first(rows, seed):
    if len(rows) < 600:
        raise ValueError("not enough")
    return train_rates(rows, seed)


def test_a_training_that_fails_is_told_and_asked_for_again_after_the_cool_down():
    async def live():
        system = await ran(stream(6), loop_app(train=train_fails_at_first))
        return await system.transitions(), await system.all(TrainingFailed)

    steps, failed = asyncio.run(live())
    assert "ValueError: not enough" in failed[0].cause
    requests = [
        day for day, kind, _, reason in steps if kind == "training_requested" and reason == "first outcomes"
    ]
    assert len(requests) >= 2
    assert requests[1] - requests[0] >= 2, "the cool-down, doubled by the failure"
    assert next(v for _, kind, v, _ in steps if kind == "promoted") == len(failed) + 1


def train_dies(rows, seed):
    import os

    os._exit(3)


def test_a_training_that_kills_its_process_harms_nothing_else():
    from tropism.adapters.local import open_process

    async def live():
        compute = await open_process("process:")
        try:
            system = await ran(stream(3), loop_app(train=train_dies), compute=compute)
            return await system.all(TrainingFailed), await system.all(DecisionMade)
        finally:
            await compute.close()

    failed, decisions = asyncio.run(live())
    assert failed
    assert "its process ended with status 3" in failed[0].cause
    assert len(decisions) == 600


# -- live -------------------------------------------------------------------------------------------


def test_live_there_is_no_allowance_and_effects_hold_at_once():
    """Questions every half minute, answered a minute later, reviewed every minute."""
    from tropism import testing
    from tropism.core.time import minutes, moment

    async def live():
        app = loop_app(policy(growth=None, first_after=20, review=minutes(1), allowance=minutes(30)))
        async with testing.run(app, live=True, start=moment(START)) as t:
            for n in range(50):
                at, kind = START + n * HOUR // 120, "abcd"[n % 4]
                await t.publish(Asked(id=f"q{n}", kind=kind, size=0.5), at=moment(at))
                answer = Answered(id=f"q{n}", kind=kind, yes=kind in "ab")
                await t.publish(answer, at=moment(at + HOUR // 60))
            await t.advance(minutes=28)
            return [(e.time, e.event) for e in t.all(VersionPromoted)], [e.event for e in t.all(DecisionMade)]

    promoted, decisions = asyncio.run(live())
    ((time, first),) = promoted
    assert abs(first.effective_from_us - instant_us(time)) < 1_000_000, "no allowance"
    served = [made for made in decisions if made.version == 1]
    assert all(made.decided_us >= first.effective_from_us for made in served)
    assert served[0].decided_us - first.effective_from_us <= HOUR // 120 + 1_000_000, "the next question"


# -- the planted leak -------------------------------------------------------------------------------


def test_what_a_thing_s_own_later_events_say_is_never_known_when_it_is_decided_on():
    from tests.simulation import leaks

    async def live(features):
        system = await ran(leaks.departures(4), leaks.app(features))
        return await system.all(DecisionMade), await system.all(OutcomeLearned)

    decisions, outcomes = asyncio.run(live(leaks.leaking))
    place = leaks.Leaky._fields.index("own_delay")
    assert {made.features[place] for made in decisions} == {None}
    honest = asyncio.run(live(leaks.honest))[1]
    assert _brier(outcomes) == pytest.approx(_brier(honest), abs=1e-12), "it gains nothing by it"
    assert _brier(outcomes) > 0.2, "the outcome itself was never seen: that would be near 0"


def _brier(outcomes):
    scored = [(o.output - o.value) ** 2 for o in outcomes if o.output is not None]
    assert len(scored) > 100
    return math.fsum(scored) / len(scored)


def test_the_leak_would_pay_if_the_rule_did_not_hold():
    """A saboteur: with its own subject shown, half of all flights leave early and tell their delay."""
    from tests.simulation import leaks

    async def live():
        system = await ran(leaks.departures(4), leaks.app(leaks.sabotaged))
        return await system.all(DecisionMade), await system.all(OutcomeLearned)

    decisions, outcomes = asyncio.run(live())
    place = leaks.Leaky._fields.index("own_delay")
    assert sum(made.features[place] is not None for made in decisions) > len(decisions) / 3
    assert _brier(outcomes) < 0.2


def test_published_events_have_the_ids_of_their_sources():
    assert record(5, Asked(id="q", kind="a", size=1.0)).time_us == 5
    with pytest.raises(InvalidInputError):
        loop_app(policy(review=days(0)))
