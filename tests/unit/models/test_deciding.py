"""Deciding: one prediction for all who ask at once, every version's output on record, and no harm by failures."""

import asyncio
import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytest

from tropism import testing
from tropism.app.app import App
from tropism.core.errors import CorruptError, InvalidInputError, UnavailableError
from tropism.core.event import Event
from tropism.core.time import hours, instant_us
from tropism.models.artifact import load_version, pack
from tropism.models.events import DecisionMade, ModelObserved, Rollout, Served, VersionPromoted
from tropism.models.model import Model, Outcome
from tropism.models.policy import Policy
from tropism.models.rows import Rows
from tropism.models.serving import Decider
from tropism.models.sketch.features import feature_sketch
from tropism.runtime.call import Caller
from tropism.runtime.inject import use
from tropism.runtime.retry import Retry
from tropism.runtime.service import Service

NAMES = ("x", "bad")


class Asked(Event, type="asks.asked.v1", key="id"):
    id: str
    x: float
    bad: bool = False


class Told(Event, type="tells.told.v1", key="id"):
    id: str
    output: float | None
    act: bool
    version: int
    arm: str


class Row(NamedTuple):
    x: float
    bad: bool


def features(asked: Asked) -> Row:
    return Row(asked.x, asked.bad)


def train(rows, seed):
    raise NotImplementedError


CALLS: list[int] = []


@dataclass(frozen=True)
class Says:
    """A predictor that adds to x, and misbehaves on bad rows as it is told."""

    plus: float = 0.0
    misbehave: str = ""
    unused: dict[str, Any] = field(default_factory=dict)

    def predict(self, rows: Rows):
        CALLS.append(len(rows))
        xs, bads = rows.columns
        if self.misbehave == "raise" and any(bads):
            raise ValueError("it is bad")
        if self.misbehave == "long" and any(bads):
            return [0.5] * (len(rows) + 1)
        wrong = {"nan": math.nan, "big": 1.5, "infinite": math.inf}.get(self.misbehave)
        return [
            wrong if bad and wrong is not None else x + self.plus for x, bad in zip(xs, bads, strict=True)
        ]


class Gone:
    """A predictor whose class does not come back."""

    def __reduce__(self):
        return (_gone, ())


def _gone():
    raise ImportError("No module named 'gone'")


MODEL = Model(
    "m",
    decides_on=Asked,
    features=features,
    train=train,
    outcome=Outcome(Told, value=lambda e: e.output, within=hours(1)),
    policy=Policy(act_at=0.6, allowance=hours(1)),
)


def app_of(*, many: bool = False, again: bool = False, retry: Retry | None = None) -> App:
    service = Service("teller")

    def told(asked, decision):
        return Told(
            id=asked.id,
            output=decision.output,
            act=decision.act,
            version=decision.version,
            arm=decision.arm,
        )

    if many:

        @service.on(Asked, retry=retry)
        async def tell_all(asked: list[Asked], model: Decider = use(MODEL)) -> list[Told]:
            decisions = await asyncio.gather(*(model(each) for each in asked))
            return [told(each, decision) for each, decision in zip(asked, decisions, strict=True)]

    else:

        @service.on(Asked, retry=retry)
        async def tell(asked: Asked, model: Decider = use(MODEL)) -> Told:
            if again:
                assert await model(asked) is await model(asked)
            return told(asked, await model(asked))

    return App("a", services=[service], events=[VersionPromoted])


def decided(
    asks: list[Asked],
    versions: dict[str, Any],
    *,
    share: float = 0.0,
    app: App | None = None,
    spoil: Any = None,
):
    """Decide with predictors in roles; return what was told, what was recorded, and the dead letters."""

    async def run():
        async with testing.run(app or app_of(), allow_dead_letters=True) as t:
            served = {
                role: await put(t, number, predictor)
                for number, (role, predictor) in enumerate(versions.items(), 1)
            }
            if spoil is not None:
                spoil(t.simulation.store.blobs._blobs, served)
            if versions:
                await t.publish(promoted(t, Rollout(canary_share=share, **served)))
            await t.advance(hours=2)
            CALLS.clear()
            await t.publish(*asks)
            await t.advance(hours=2)
            return (
                {e.event.id: e.event for e in t.all(Told)},
                {e.event.subject: e.event for e in t.all(DecisionMade)},
                t.dead_letters(),
            )

    return asyncio.run(run())


async def put(t, number, predictor):
    reference = feature_sketch(NAMES, [[0.1, 0.2, 0.3], [True, False, False]])
    artifact, data = pack(predictor, NAMES, reference)
    await t.simulation.store.blobs.put(artifact, data)
    return Served(number, artifact)


def promoted(t, rollout, effective_us=None):
    return VersionPromoted(
        model="m",
        version=rollout.champion.version,
        rollout=rollout,
        reason="test",
        by="test",
        evidence={},
        effective_from_us=effective_us if effective_us is not None else instant_us(t.now) + 1,
    )


def asks(count, bad=()):
    return [Asked(id=f"s{n}", x=(n % 10) / 20, bad=n in bad) for n in range(count)]


# -- the plain case ---------------------------------------------------------------------------------


def test_those_who_ask_at_once_share_one_prediction():
    told, recorded, _ = decided(asks(50), {"champion": Says(0.1)})
    assert CALLS == [50]
    assert len(told) == len(recorded) == 50
    assert told["s3"].output == pytest.approx(0.25)


@pytest.mark.parametrize("many", [False, True])
def test_a_decision_larger_than_the_log_takes_fails_its_own_event_only(monkeypatch, many):
    original = Caller.__init__

    def small(self, *args, **more):
        original(self, *args, **{**more, "record_bytes_max": 1000})

    monkeypatch.setattr(Caller, "__init__", small)
    large = Asked(id="s" * 800, x=0.1)
    told, recorded, (letter,) = decided([large, *asks(3)], {"champion": Says()}, app=app_of(many=many))
    assert (set(told), set(recorded)) == ({"s0", "s1", "s2"}, {"s0", "s1", "s2"})
    assert letter.record.subject == large.id
    assert "Cannot publish 'DecisionMade'" in letter.cause


def test_a_handler_of_batches_decides_on_each_event_of_its_batch():
    told, recorded, _ = decided(asks(50), {"champion": Says(0.1)}, app=app_of(many=True))
    assert CALLS == [50]
    assert {k: e.output for k, e in told.items()} == {k: e.output for k, e in recorded.items()}


def test_who_asks_twice_is_told_the_same_and_one_decision_is_on_record():
    _, recorded, letters = decided(asks(3), {"champion": Says()}, app=app_of(again=True))
    assert (len(recorded), letters) == (3, [])
    assert CALLS == [3]


def test_a_decision_records_version_arm_features_and_what_the_others_said():
    _, recorded, _ = decided(asks(5), {"champion": Says(0.1), "challenger": Says(0.2), "previous": Says(0.3)})
    made = recorded["s2"]
    assert (made.version, made.arm, made.features) == (1, "champion", [0.1, False])
    assert made.output == pytest.approx(0.2)
    assert made.others == pytest.approx({"2": 0.3, "3": 0.4})


def test_the_act_threshold_is_the_policy_s_and_reached_at_equality():
    told, _, _ = decided([Asked(id="low", x=0.59), Asked(id="at", x=0.6)], {"champion": Says()})
    assert (told["low"].act, told["at"].act) == (False, True)


def test_without_a_version_there_is_no_output_and_no_act():
    told, recorded, _ = decided(asks(2), {})
    assert (told["s0"].output, told["s0"].act, told["s0"].version, told["s0"].arm) == (None, False, 0, "none")
    assert (recorded["s0"].output, recorded["s0"].others) == (None, {})
    assert recorded["s0"].features == [0.0, False]


def test_deciding_on_another_event_than_the_handler_s_own_is_an_error_with_a_remedy():
    service = Service("teller")

    @service.on(Asked, retry=Retry(attempts=1))
    async def tell(asked: Asked, model: Decider = use(MODEL)) -> None:
        await model(Asked(id=asked.id, x=asked.x))

    _, _, (letter,) = decided(
        asks(1), {"champion": Says()}, app=App("a", services=[service], events=[VersionPromoted])
    )
    assert "it is not the event that the handler was called with. Pass that event itself." in letter.cause


# -- canary -----------------------------------------------------------------------------------------


def test_a_canary_decides_for_its_share_of_subjects_and_always_for_the_same():
    versions = {"champion": Says(0.1), "challenger": Says(0.2)}
    _, first, _ = decided(asks(3000), versions, share=0.2)
    _, again, _ = decided(list(reversed(asks(3000))), versions, share=0.2)
    arms = {subject: made.arm for subject, made in first.items()}
    assert arms == {subject: made.arm for subject, made in again.items()}
    share = sum(arm == "canary" for arm in arms.values()) / len(arms)
    assert share == pytest.approx(0.2, abs=4 * math.sqrt(0.2 * 0.8 / 3000))
    made = next(made for made in first.values() if made.arm == "canary")
    assert made.version == 2
    assert set(made.others) == {"1"}


def test_who_is_in_a_canary_depends_on_the_version_s_number_and_not_on_its_bytes():
    """Two equal trainings may differ in their bytes: decisions must not."""
    arms = [
        {
            s: m.arm
            for s, m in decided(
                asks(200), {"champion": Says(), "challenger": Says(0, unused={"n": n})}, share=0.3
            )[1].items()
        }
        for n in (1, 2)
    ]
    assert arms[0] == arms[1]


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_two_versions_of_equal_bytes_are_two(share):
    told, recorded, letters = decided(
        asks(40), {"champion": Says(0.1), "challenger": Says(0.1), "previous": Says(0.1)}, share=share
    )
    assert letters == []
    for subject, made in recorded.items():
        assert {made.version, *map(int, made.others)} == {1, 2, 3}
        assert {made.output, *made.others.values()} == {told[subject].output}
    assert {e.arm for e in told.values()} == ({"champion", "canary"} if share else {"champion"})


@pytest.mark.parametrize("crash", [False, True])
def test_a_version_of_the_same_bytes_has_windows_of_its_own(crash):
    async def run():
        async with testing.run(app_of()) as t:
            for number in (1, 2):
                await t.publish(promoted(t, Rollout(champion=await put(t, number, Says(0.1)))))
                await t.advance(hours=2)
                if crash:
                    await t.crash()
                await t.publish(*[Asked(id=f"{number}/{n}", x=0.1) for n in range(5)])
                await t.advance(hours=48)
            return [(e.event.version, e.event.features.rows) for e in t.all(ModelObserved)]

    assert asyncio.run(run()) == [(1, 5), (2, 5)]


# -- versions that fail -----------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["challenger", "previous"])
@pytest.mark.parametrize("misbehave", ["raise", "nan", "infinite", "big", "long"])
def test_a_version_that_only_watches_harms_nobody(role, misbehave):
    told, recorded, letters = decided(
        asks(20, bad={3, 7}), {"champion": Says(0.1), role: Says(0.2, misbehave)}
    )
    assert (len(told), letters) == (20, [])
    assert {s for s, made in recorded.items() if made.others == {"2": None}} == {"s3", "s7"}
    assert all(made.others["2"] is not None for s, made in recorded.items() if s not in {"s3", "s7"})


@pytest.mark.parametrize("misbehave", ["raise", "nan", "infinite", "big", "long"])
def test_a_champion_that_fails_on_a_row_is_retried_and_then_dead_lettered_for_that_row_alone(misbehave):
    told, recorded, letters = decided(
        asks(20, bad={3}), {"champion": Says(0.1, misbehave)}, app=app_of(retry=Retry(attempts=3))
    )
    (letter,) = letters
    assert (letter.record.subject, letter.attempts) == ("s3", 3)
    assert len(told) == len(recorded) == 19
    if misbehave in {"nan", "infinite", "big"}:
        assert "no probability. Let another one decide with 'tropism models promote m@N'." in letter.cause


def test_a_canary_that_fails_concerns_only_its_own_share():
    told, _, letters = decided(
        asks(300, bad=set(range(300))),
        {"champion": Says(0.1), "challenger": Says(0.2, "nan")},
        share=0.2,
        app=app_of(retry=Retry(attempts=1)),
    )
    assert 30 <= len(letters) <= 90
    assert len(told) == 300 - len(letters)
    assert {e.arm for e in told.values()} == {"champion"}
    assert all(
        "m@2" in e.cause and "End its canary with 'tropism models rollback m'." in e.cause for e in letters
    )


@pytest.mark.parametrize(
    ("others", "share", "remedy"),
    [
        ({"previous": Says(0.3)}, 0.0, "Roll it back with 'tropism models rollback m'."),
        ({"challenger": Says(0.2), "previous": Says(0.3)}, 0.0, "Roll it back with 'tropism models rollback"),
        (
            {"challenger": Says(0.2), "previous": Says(0.3)},
            1e-9,
            "Let another one decide with 'tropism models",
        ),
        ({"challenger": Says(0.2)}, 0.0, "Let another one decide with 'tropism models promote m@N'."),
    ],
)
def test_the_remedy_against_a_champion_without_output_is_an_order_that_would_be_taken(others, share, remedy):
    versions = {"champion": Says(0.1, "nan"), **others}
    _, _, (letter,) = decided(asks(3, bad={1}), versions, share=share, app=app_of(retry=Retry(attempts=1)))
    assert remedy in letter.cause


def corrupt(role):
    def spoil(blobs, served):
        blobs[served[role].artifact] = b"other bytes"

    return spoil


def lose(role):
    def spoil(blobs, served):
        del blobs[served[role].artifact]

    return spoil


@pytest.mark.parametrize("spoil", [corrupt("challenger"), lose("challenger")])
def test_a_challenger_whose_artifact_is_broken_harms_nobody(spoil):
    told, recorded, letters = decided(asks(5), {"champion": Says(), "challenger": Says(0.2)}, spoil=spoil)
    assert (len(told), letters) == (5, [])
    assert recorded["s1"].others == {"2": None}


@pytest.mark.parametrize(
    ("spoil", "cause"), [(corrupt("champion"), "CorruptError"), (lose("champion"), "NotFoundError")]
)
def test_a_champion_whose_artifact_is_broken_leads_to_dead_letters_that_say_so(spoil, cause):
    _, _, letters = decided(asks(2), {"champion": Says()}, spoil=spoil, app=app_of(retry=Retry(attempts=1)))
    assert [letter.cause.partition(":")[0] for letter in letters] == [cause] * 2


def test_a_predictor_that_does_not_come_back_says_what_to_do():
    _, _, letters = decided(asks(1), {"champion": Gone()}, app=app_of(retry=Retry(attempts=1)))
    assert (
        "its predictor does not come back (ImportError: No module named 'gone'). Deploy the code"
        in letters[0].cause
    )


def test_rows_of_another_layout_are_refused_with_a_remedy():
    async def run():
        from tropism.adapters.memory import MemoryBlobs

        blobs = MemoryBlobs()
        artifact, data = pack(Says(), NAMES, feature_sketch(NAMES, [[0.1], [True]]))
        await blobs.put(artifact, data)
        version = await load_version(blobs, artifact)
        with pytest.raises(InvalidInputError, match=r"was trained on \['x', 'bad'\]. Restore those features"):
            version.predict(Rows(("y", "bad"), [[0.1], [True]]))
        blobs._blobs[artifact] = data[:-1]
        with pytest.raises(CorruptError, match="another digest. Restore the blob"):
            await load_version(blobs, artifact)

    asyncio.run(run())


# -- blobs that are away ----------------------------------------------------------------------------


def away(monkeypatch, t, artifact, seconds):
    """Let a blob not be read for so long; return when it was tried, in seconds from now."""
    blobs, clock = t.simulation.store.blobs, t.simulation.clock
    get, began, tried = blobs.get, clock.monotonic(), []

    async def read(name):
        if name == artifact:
            tried.append(clock.monotonic() - began)
            if tried[-1] < seconds:
                raise UnavailableError("Cannot read blobs: they do not answer. Wait.")
        return await get(name)

    monkeypatch.setattr(blobs, "get", read)
    return tried


async def through_an_outage(monkeypatch, role, *, live, share=0.0, seconds=1000.0):
    """Ask while a version is away for longer than all attempts together may take, and afterwards."""
    async with testing.run(app_of(), live=live) as t:
        served = {"champion": await put(t, 1, Says(0.1)), "challenger": await put(t, 2, Says(0.2))}
        await t.publish(promoted(t, Rollout(canary_share=share, **served)))
        await t.advance(hours=2)
        tried = away(monkeypatch, t, served[role].artifact, seconds)
        began_us = instant_us(t.now)
        await t.publish(*asks(20))
        await t.advance(hours=1)
        await t.publish(*[Asked(id=f"after {n}", x=0.1) for n in range(20)])
        await t.advance(hours=1)
        made = {e.event.subject: e.event for e in t.all(DecisionMade)}
        told_s = {e.event.id: (instant_us(e.time) - began_us) / 1e6 for e in t.all(Told)}
        return made, told_s, tried


@pytest.mark.parametrize("role", ["champion", "challenger"])
def test_in_event_time_all_waits_for_blobs_that_are_away_and_nothing_on_record_says_so(monkeypatch, role):
    made, _, tried = asyncio.run(through_an_outage(monkeypatch, role, live=False))
    calm, _, _ = asyncio.run(through_an_outage(monkeypatch, role, live=False, seconds=0.0))
    assert len(made) == 40
    assert len(tried) > 900
    said = {s: (m.version, m.arm, m.output, m.others) for s, m in made.items()}
    assert said == {s: (m.version, m.arm, m.output, m.others) for s, m in calm.items()}
    assert all(set(m.others) == {"2"} for m in made.values())


def test_live_the_acting_version_is_waited_for_and_no_attempt_is_charged(monkeypatch):
    made, told_s, tried = asyncio.run(through_an_outage(monkeypatch, "champion", live=True))
    assert len(made) == 40
    assert 1000 <= min(told_s[f"s{n}"] for n in range(20)) < 1010
    assert len(tried) < 1100, "once a second, however many wait"


def test_live_who_only_watches_is_not_waited_for_and_not_blamed(monkeypatch):
    made, told_s, tried = asyncio.run(through_an_outage(monkeypatch, "challenger", live=True))
    assert max(told_s[f"s{n}"] for n in range(20)) < 10
    assert all(made[f"s{n}"].others == {} for n in range(20)), "it was not asked"
    assert all(set(made[f"after {n}"].others) == {"2"} for n in range(20))
    assert len(tried) < 10


def test_live_a_canary_that_is_away_keeps_only_its_own_share_waiting(monkeypatch):
    made, told_s, _ = asyncio.run(through_an_outage(monkeypatch, "challenger", live=True, share=0.5))
    late = {s for s, at in told_s.items() if s.startswith("s") and at > 900}
    assert late == {s for s, m in made.items() if s.startswith("s") and m.arm == "canary"}
    assert 3 <= len(late) <= 17
    assert len(made) == 40


@pytest.mark.parametrize("live", [False, True])
def test_a_shadow_that_cannot_be_loaded_is_read_now_and_then_and_not_for_every_decision(monkeypatch, live):
    async def run():
        async with testing.run(app_of(), live=live) as t:
            champion, challenger = await put(t, 1, Says(0.1)), await put(t, 2, Says(0.2))
            lose("challenger")(t.simulation.store.blobs._blobs, {"challenger": challenger})
            await t.publish(promoted(t, Rollout(champion, challenger)))
            await t.advance(hours=2)
            tried = away(monkeypatch, t, challenger.artifact, 0.0)
            for n in range(60):
                await t.publish(Asked(id=f"s{n}", x=0.1))
                await t.advance(minutes=1)
            assert {str(e.event.others) for e in t.all(DecisionMade)} == {"{'2': None}"}
            assert 5 <= len(tried) <= 8
            await put(t, 2, Says(0.2))
            await t.advance(minutes=11)
            await t.publish(Asked(id="restored", x=0.1))
            await t.advance(minutes=1)
            assert [set(e.event.others) for e in t.all(DecisionMade)][-1:] == [{"2"}]
            assert t.all(DecisionMade)[-1].event.others["2"] is not None

    asyncio.run(run())


# -- promotions meanwhile ---------------------------------------------------------------------------


@pytest.mark.parametrize("live", [False, True])
def test_a_retry_after_a_promotion_decides_alike(live):
    """Its effect may begin before the event, and arrive after the first attempt: live, that happens."""
    versions: list[int] = []
    now: dict[str, Any] = {}
    service = Service("teller")

    @service.on(Asked, retry=Retry(attempts=5))
    async def tell(asked: Asked, model: Decider = use(MODEL)) -> None:
        versions.append((await model(asked)).version)
        if len(versions) == 1:
            await now["t"].publish(now["promotion"])
        if len(versions) < 4:
            raise ValueError("not now")

    async def run():
        app = App("a", services=[service], events=[VersionPromoted])
        async with testing.run(app, live=live) as t:
            one, two = await put(t, 1, Says(0.1)), await put(t, 2, Says(0.2))
            await t.publish(promoted(t, Rollout(champion=one)))
            await t.advance(hours=2)
            begins_us = instant_us(t.now) - 1 if live else instant_us(t.now) + 3_600_000_000
            now.update(t=t, promotion=promoted(t, Rollout(champion=two), begins_us))
            await t.publish(Asked(id="s", x=0.1))
            await t.advance(hours=3)
            await t.publish(Asked(id="later", x=0.1))
            await t.advance(hours=1)

    asyncio.run(run())
    assert versions == [1, 1, 1, 1, 2]


def test_versions_that_no_longer_decide_are_forgotten():
    from tropism.models.loading import VERSIONS_KEPT
    from tropism.models.observing import Observer

    async def run():
        async with testing.run(app_of()) as t:
            for number in range(1, VERSIONS_KEPT + 5):
                served = await put(t, number, Says(number / 1000))
                await t.publish(promoted(t, Rollout(champion=served)))
                await t.advance(hours=2)
                await t.publish(Asked(id=f"s{number}", x=0.1))
                await t.advance(hours=2)
            opened = t.simulation.runtime.workers["teller"].opened["m"]
            assert isinstance(opened._observer, Observer)
            assert len(opened._loader._versions) == VERSIONS_KEPT
            assert [e.event.version for e in t.all(DecisionMade)] == list(range(1, VERSIONS_KEPT + 5))

    asyncio.run(run())
