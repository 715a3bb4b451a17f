"""What waits behind others is predicted ahead: each decision is the one that asking alone would have given."""

import asyncio
import math

import pytest
from tests.unit.models.test_deciding import (
    CALLS,
    MODEL,
    Asked,
    Says,
    Told,
    asks,
    features,
    promoted,
    put,
    train,
)

from tropism import testing
from tropism.app.app import App
from tropism.core.envelope import Envelope
from tropism.core.event import Event
from tropism.core.time import hours, minutes
from tropism.models import foresight as foresight_module
from tropism.models.asking import groups_of
from tropism.models.events import DecisionMade, Rollout, Served, VersionPromoted
from tropism.models.foresight import JUDGED_AFTER, Foresight, are_same
from tropism.models.model import Model, Outcome
from tropism.models.serving import Decider, OpenedDecider
from tropism.runtime.inject import use
from tropism.runtime.retry import Retry
from tropism.runtime.service import Service
from tropism.runtime.view import View, count

SAME = "the busy key"


class Asking(Event, type="busy.asking.v1", key="key"):
    key: str
    id: str
    x: float
    bad: bool = False


BUSY = Model(
    "m",
    decides_on=Asking,
    features=features,
    train=train,
    outcome=Outcome(Told, value=lambda e: e.output, within=hours(1)),
    policy=MODEL.policy,
)


def busy(count, *, key=SAME, bad=()):
    return [Asking(key=key, id=f"s{n}", x=(n % 10) / 20, bad=n in bad) for n in range(count)]


def busy_app(*, retry=None, fails=0, handled=None):
    service, failed = Service("teller"), []

    @service.on(retry=retry)
    async def tell(asked: Asking | Asked, model: Decider = use(BUSY)) -> None:
        if handled is not None:
            handled.append(asked.id)
        if isinstance(asked, Asking):
            await model(asked)
        if asked.id == "s0" and len(failed) < fails:
            failed.append(asked)
            raise ValueError("not now")

    return App("a", services=[service], events=[VersionPromoted])


async def played(app, events, versions, *, live=False, share=0.0, then=None, again=()):
    """Decide on events, after one that lets the versions be loaded; return decisions by input."""
    async with testing.run(app, live=live, allow_dead_letters=True) as t:
        served = {role: await put(t, n, predictor) for n, (role, predictor) in enumerate(versions.items(), 1)}
        await t.publish(promoted(t, Rollout(canary_share=share, **served)))
        await t.advance(hours=2)
        await t.publish(Asking(key="first", id="first", x=0.0))
        await t.advance(hours=1)
        CALLS.clear()
        await t.publish(*events)
        if then is not None:
            await then(t)
        await t.advance(hours=2)
        await t.publish(*again)
        await t.advance(hours=2)
        made = [e.event for e in t.all(DecisionMade) if e.event.subject != "first"]
        return made, list(CALLS), t.dead_letters()


def told(made):
    """Return what decisions say, whichever order events of one moment lie in."""
    return sorted(
        (e.input_id, e.subject, e.version, e.arm, e.output, e.act, str(e.features), str(e.others))
        for e in made
    )


def outputs(made):
    return sorted(e.output for e in made)


def without_foresight(monkeypatch):
    monkeypatch.setattr(OpenedDecider, "foresee", lambda self, envelopes, as_of_us: None)


VERSIONS = {"champion": Says(0.1), "challenger": Says(0.2), "previous": Says(0.3)}


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_events_of_one_key_are_decided_as_one_by_one_with_a_prediction_a_version(monkeypatch, live, share):
    """Order, arms, what the others said: all as without foresight, but one call a version for all of them."""
    events, handled = [*busy(12), *asks(3), *busy(12, key="another")], []
    ahead, calls, _ = asyncio.run(played(busy_app(handled=handled), events, VERSIONS, live=live, share=share))
    assert calls == [24, 24, 24]
    without_foresight(monkeypatch)
    singly, calls, _ = asyncio.run(played(busy_app(), events, VERSIONS, live=live, share=share))
    assert len(calls) > 24
    assert len(ahead) == 24
    assert told(ahead) == told(singly)
    by_key = [key for key in handled if key.startswith("s")]
    assert [by_key.count(f"s{n}") for n in range(12)] == [3] * 3 + [2] * 9


def test_while_versions_are_loaded_what_waits_is_put_off_and_not_forgotten():
    """The first chunk meets versions that nobody has loaded: its first answer brings those of all others."""

    async def run():
        async with testing.run(busy_app()) as t:
            await t.publish(promoted(t, Rollout(await put(t, 1, Says(0.1)))))
            await t.advance(hours=2)
            CALLS.clear()
            await t.publish(*busy(40))
            await t.advance(hours=1)
            assert CALLS == [1, 39]
            made = [e.event for e in t.all(DecisionMade)]
            assert outputs(made) == pytest.approx(sorted(e.x + 0.1 for e in busy(40)))

    asyncio.run(run())


@pytest.mark.parametrize("misbehave", ["raise", "nan", "infinite", "big", "long"])
def test_a_row_that_fails_harms_none_beside_it_though_it_was_foreseen_with_them(misbehave):
    """It is retried and dead-lettered alone; all others of its key are decided."""
    made, _, letters = asyncio.run(
        played(busy_app(retry=Retry(attempts=2)), busy(20, bad={3}), {"champion": Says(0.1, misbehave)})
    )
    (letter,) = letters
    assert letter.attempts == 2
    assert outputs(made) == pytest.approx(sorted(e.x + 0.1 for e in busy(20, bad={3}) if not e.bad))


def test_a_retry_is_decided_alike_though_what_was_foreseen_is_used_up():
    """What failed left nothing behind: there is one decision an event."""
    made, calls, letters = asyncio.run(
        played(busy_app(retry=Retry(attempts=3), fails=2), busy(10), {"champion": Says(0.1)})
    )
    assert (len(made), letters) == (10, [])
    assert len({e.input_id for e in made}) == 10
    assert calls == [10, 1, 1]


@pytest.mark.parametrize("live", [False, True])
def test_a_promotion_between_events_of_one_key_holds_from_its_moment_on(live):
    """What one version was foreseen to say is no answer of another."""

    async def promote(t):
        if not live:
            await t.advance(minutes=30)
        await t.publish(promoted(t, Rollout(champion=await put(t, 2, Says(0.2)))))

    made, _, _ = asyncio.run(
        played(busy_app(), busy(20), {"champion": Says(0.1)}, live=live, then=promote, again=busy(20))
    )
    assert {e.version for e in made[:20]} <= {1, 2}
    assert {e.version for e in made[20:]} == {2}
    assert [e.output for e in made] == pytest.approx([e.features[0] + e.version / 10 for e in made])


def test_live_a_row_that_has_changed_since_is_predicted_anew():
    """A view goes on while an event waits: the decision is of the features that the handler would read."""
    seen = View("asked-so-far", Asked, by=lambda e: "all", n=count(window=hours(5)))

    def counted(asked: Asking, seen=use(seen)):
        return (asked.x + seen("all").n / 100, asked.bad)

    model = Model(
        "m",
        decides_on=Asking,
        features=counted,
        train=train,
        outcome=BUSY.outcome,
        feature_names=("x", "bad"),
    )
    service, now = Service("teller"), {}

    @service.on(Asking)
    async def tell(asked: Asking, model: Decider = use(model)) -> None:
        if asked.id == "s0":
            # Known before, and arrived only now.
            await now["t"].publish(*asks(7), at=now["t"].now - minutes(1))
            for _ in range(200):
                await asyncio.sleep(0)
        await model(asked)

    async def run():
        async with testing.run(App("a", services=[service], events=[VersionPromoted, Asked]), live=True) as t:
            now["t"] = t
            await t.publish(promoted(t, Rollout(await put(t, 1, Says(0.1)))))
            await t.advance(hours=2)
            await t.publish(Asking(key="first", id="first", x=0.0))
            await t.advance(hours=1)
            await t.publish(*busy(6))
            await t.advance(hours=1)
            made = [e.event for e in t.all(DecisionMade)][1:]
            assert len(made) == 6
            for e in made:
                assert e.output == pytest.approx(e.features[0] + 0.1)
            seen_by = sorted(e.features[0] for e in made)
            assert seen_by == pytest.approx([each.x + 0.07 for each in busy(6)])

    asyncio.run(run())


def test_features_that_raise_fail_their_own_event_and_not_the_worker():
    """Ahead of its call nobody is told; in its call, the attempt is charged, also for what is no Exception."""

    class Panic(BaseException):
        pass

    def shaky(asked: Asking):
        if asked.bad:
            raise Panic("no")
        return (asked.x, asked.bad)

    model = Model(
        "m", decides_on=Asking, features=shaky, train=train, outcome=BUSY.outcome, feature_names=("x", "bad")
    )
    service = Service("teller")

    @service.on(Asking, retry=Retry(attempts=2))
    async def tell(asked: Asking, model: Decider = use(model)) -> None:
        await model(asked)

    app = App("a", services=[service], events=[VersionPromoted])
    made, _, (letter,) = asyncio.run(played(app, busy(8, bad={2}), {"champion": Says(0.1)}))
    assert len(made) == 7
    assert "which is no Exception" in letter.cause


@pytest.fixture
def offered(monkeypatch):
    """How many events deciders were told of, a chunk each."""
    counts = []
    foresee = OpenedDecider.foresee

    def noted(self, envelopes, as_of_us):
        counts.append(len(envelopes))
        return foresee(self, envelopes, as_of_us)

    monkeypatch.setattr(OpenedDecider, "foresee", noted)
    return counts


def test_after_a_crash_nothing_is_foreseen_of_events_that_may_have_caused_it(offered):
    """They are replayed one by one, so that only the one alone in flight is charged."""

    async def run():
        async with testing.run(busy_app()) as t:
            await t.publish(promoted(t, Rollout(await put(t, 1, Says(0.1)))))
            await t.advance(hours=2)
            await t.crash()
            await t.publish(*busy(30))
            await t.advance(hours=1)
            assert len(t.all(DecisionMade)) == 30
            assert offered == []

    asyncio.run(run())


def test_every_chunk_is_foreseen_and_not_the_first_alone(offered):
    """Events that come the usual way, of a type that was seen before, are foreseen like the first ones."""

    async def run():
        async with testing.run(busy_app()) as t:
            await t.publish(promoted(t, Rollout(await put(t, 1, Says(0.1)))))
            await t.advance(hours=2)
            for start in range(0, 90, 30):
                await t.publish(*busy(90)[start : start + 30])
                await t.advance(hours=1)
            assert len(t.all(DecisionMade)) == 90
            assert sum(offered) == 90

    asyncio.run(run())


# -- the parts --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ((1.0, "a", None, True), (1.0, "a", None, True), True),
        ((math.nan,), (float("nan"),), True),
        ((1,), (1.0,), False),
        ((1,), (True,), False),
        ((0.0,), (-0.0,), False),
        ((0.1 + 0.2,), (0.3,), False),
        ((2**70,), (2**70,), False),
        ((b"x",), (b"x",), False),
        (("\ud800",), ("\ud800",), False),
        ((1.0,), (1.0, 1.0), False),
    ],
)
def test_rows_are_the_same_to_the_last_bit_or_not_at_all(one, other, same):
    """What cannot be compared is not the same: it is predicted anew."""
    assert are_same(one, other) is same


def envelopes(count):
    return [Envelope(f"e{n}", "", "t", "s", n, Asking(key="k", id=f"{n}", x=0.0)) for n in range(count)]


def kept(foresight, some):
    (group,) = groups_of([Rollout(Served(1, "a"))] * len(some))
    group.said[Served(1, "a")] = [0.5] * len(some)
    foresight.keep(some, [(0.0,)] * len(some), group)


def test_what_is_kept_is_bounded_and_given_once(monkeypatch):
    """The oldest go first; another envelope with the same id is another event."""
    monkeypatch.setattr(foresight_module, "KEPT", 10)
    foresight, some = Foresight(), envelopes(15)
    kept(foresight, some)
    assert [foresight.take(each) is not None for each in some] == [False] * 5 + [True] * 10
    assert foresight.take(some[-1]) is None
    kept(foresight, some[:1])
    assert foresight.take(envelopes(1)[0]) is None


def test_what_was_put_off_is_taken_up_once_and_not_if_it_was_asked_about(monkeypatch):
    """Some at a time, and no more of them than are kept."""
    monkeypatch.setattr(foresight_module, "KEPT", 4)
    monkeypatch.setattr(foresight_module, "AT_ONCE", 2)
    foresight, some = Foresight(), envelopes(5)
    (group,) = groups_of([Rollout()] * 5)
    foresight.put_off(some, [each.time_us for each in some], group)
    assert foresight.take(some[2]) is None
    assert [each.id for each, _ in foresight.taken_up()] == ["e1", "e3"]
    assert [each.id for each, _ in foresight.taken_up()] == ["e4"]
    assert foresight.taken_up() == []


def test_where_handlers_rarely_ask_nothing_is_foreseen_until_they_do():
    """Rows that nobody wants cost what they cost; that they are wanted again shows by asking."""
    foresight, (one,) = Foresight(), envelopes(1)
    while foresight.is_worth_it(1024):
        assert foresight._offered <= 2 * JUDGED_AFTER
    for _ in range(3 * JUDGED_AFTER):
        foresight.take(one)
    assert foresight.is_worth_it(1024)
