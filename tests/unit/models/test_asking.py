"""Decisions of many rows are made at once, and none of them shows it."""

import asyncio
import math

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.models.test_deciding import MODEL, Asked, Says, app_of, promoted, put

from tropism import testing
from tropism.core.envelope import Envelope
from tropism.core.time import hours, instant_us, moment, to_us
from tropism.models.asking import Asked as Asking
from tropism.models.asking import acting_of, groups_of, made_of, one_made, unsound
from tropism.models.events import DecisionMade, Rollout, Served
from tropism.models.observing import Observer
from tropism.models.sketch.features import feature_sketch
from tropism.models.sketch.latency import LatencySketch
from tropism.runtime.inject import Subject

A, B, C = Served(1, "a"), Served(2, "b"), Served(3, "c")
ROLLOUTS = [Rollout(), Rollout(A), Rollout(A, B), Rollout(A, B, 0.5, C), Rollout(B, None, 0.0, A)]

outputs = st.one_of(
    st.floats(0, 1), st.sampled_from([-0.0, 0.6, math.nan, math.inf, 1.5, -0.1]), st.just(ValueError("no"))
)


def asked_of(rollouts, said, *, unasked):
    """Return a call whose versions said something, of some of its events."""
    count = len(rollouts)
    some = [Envelope(f"e{n}", "", "t", f"s{n}", n, Asked(id=f"s{n}", x=n / 7)) for n in range(count + 1)]
    subject = Subject(some, list(range(count + 1)), lambda indices, events: None, "h", None, lambda end: None)
    groups = groups_of(rollouts)
    acting = [acting_of("m", r, [some[n + 1].subject])[0] for n, r in enumerate(rollouts)]
    for group in groups:
        for arm in group.arms:
            if arm not in unasked:
                group.said[arm] = [said[arm][place] for place in group.places]
    rows = [(envelope.data.x, n % 2 == 0, None, "k") for n, envelope in enumerate(some[1:])]
    return Asking(subject, range(1, count + 1), rows, acting, groups, 0.0, None)


def singly(asked, rollouts):
    """Return what each row is decided to be on its own, up to the first that has no decision."""
    made = []
    for group in asked.groups:
        for at, place in enumerate(group.places):
            envelope = asked.subject.envelopes[place + 1]
            acting, row = asked.acting[place], asked.rows[place]
            one = one_made(MODEL, "sch", envelope, place + 1, row, acting, group.outputs(), at, 7)
            made.append((place, one, acting[0], group.rollout))
    for _, one, acting, rollout in sorted(made, key=lambda each: each[0]):
        if not isinstance(one, DecisionMade):
            return repr(unsound("m", acting, one, rollout))
    return [msgspec.json.encode(one) for _, one, _, _ in sorted(made, key=lambda each: each[0])]


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_many_rows_are_decided_as_each_of_them_byte_for_byte(data):
    """Whatever rollouts hold, whoever acts, whatever versions say, and whoever could not be asked."""
    count = data.draw(st.integers(1, 6))
    one = data.draw(st.booleans())
    rollouts = [data.draw(st.sampled_from(ROLLOUTS))] * count
    if not one:
        rollouts = data.draw(st.lists(st.sampled_from(ROLLOUTS), min_size=count, max_size=count))
    sound = data.draw(st.booleans())
    each = st.lists(st.floats(0, 1) if sound else outputs, min_size=count, max_size=count)
    said = {arm: data.draw(each) for arm in (A, B, C)}
    unasked = data.draw(st.sets(st.sampled_from([B, C])))
    asked = asked_of(rollouts, said, unasked=unasked)
    made = made_of(MODEL, "sch", asked, 7)
    found = repr(made) if isinstance(made, Exception) else [msgspec.json.encode(each) for each in made]
    assert found == singly(asked, rollouts)


@pytest.mark.parametrize("many", [False, True])
def test_each_event_of_a_batch_is_decided_by_who_held_at_its_own_moment(many):
    """Also where the first and the last are decided by the same, and others in between."""

    async def run():
        async with testing.run(app_of(many=many)) as t:
            one, two = await put(t, 1, Says(0.1)), await put(t, 2, Says(0.2))
            begin_us = instant_us(t.now) + to_us(hours(2))
            for hour, served in ((-2, one), (1, two), (2, one)):
                await t.publish(promoted(t, Rollout(served), begin_us + to_us(hours(1)) * hour))
            for minute in range(5, 180, 10):
                at = moment(begin_us + minute * 60_000_000)
                await t.publish(Asked(id=f"{minute // 60}/{minute}", x=0.5), at=at)
            await t.advance(hours=6)
            return {(e.event.subject[0], e.event.version) for e in t.all(DecisionMade)}

    assert asyncio.run(run()) == {("0", 1), ("1", 2), ("2", 1)}


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from([0.0, 1e-7, 0.001, 0.001, 5.0, 1e7]), max_size=20))
def test_durations_that_are_counted_give_the_sketch_of_each_of_them(seconds):
    """Those of one call are all the same, and are counted once."""
    counted = {each: seconds.count(each) for each in seconds}
    sketch = LatencySketch().observe([0.5])
    assert sketch.observe(seconds) == sketch.observe_counted(counted)


def test_windows_hold_what_one_decision_after_another_would_put_there():
    """However decisions are cut into commits, and whichever windows and versions they fall into."""
    reference = feature_sketch(("x", "k"), [[0.1, 0.5, 0.9], ["a", "b", "a"]])
    made = [
        DecisionMade(
            "m",
            f"s{n}",
            f"e{n}",
            n * 900_000_000,
            n % 3,
            "champion",
            n / 40,
            False,
            "sch",
            [n / 40, "a"],
            {},
            n % 2,
        )
        for n in range(40)
    ]

    def packed(parts):
        observer = Observer("m", "s", ("x", "k"), MODEL.policy.window)
        for version in (1, 2):
            observer.learn(version, reference)
        for part in parts:
            observer.observe(part, 0)
        ended = observer.observe([], 10**15)
        return [msgspec.json.encode(window) for window in ended]

    assert packed([made]) == packed([[each] for each in made]) == packed([made[:7], made[7:]])
