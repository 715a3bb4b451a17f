"""Events that go round in a circle: they end, with their path as the cause, and nobody else is bothered."""

import asyncio
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tropism import App, Event, Service, testing
from tropism.core.errors import InvalidInputError
from tropism.runtime.cycles import cycles_of, notes_of, steps_of
from tropism.runtime.hops import HOPS_MAX, hops_of
from tropism.testing.faults import Faults


class Asked(Event, type="talk.asked.v1", key="topic"):
    topic: str
    turn: int = 0


class Answered(Event, type="talk.answered.v1", key="topic"):
    topic: str
    turn: int = 0


class Noted(Event, type="notes.noted.v1", key="topic"):
    topic: str


PATH = "talk.answered.v1 -> talk.asked.v1 -> talk.answered.v1"


def talkers(*, turns=math.inf, calls=None, app_max=None, service_max=None):
    """Return two services that answer each other until so many turns, and one that only listens."""
    one, two, clerk = Service("one"), Service("two", hops_max=service_max), Service("clerk")

    @one.on(Asked)
    async def answer(asked: Asked) -> Answered | None:
        return Answered(topic=asked.topic, turn=asked.turn + 1) if asked.turn < turns else None

    @two.on(Answered)
    async def ask(answered: Answered) -> Asked:
        if calls is not None:
            calls.append(answered.turn)
        return Asked(topic=answered.topic, turn=answered.turn + 1)

    @clerk.on(Asked)
    async def note(asked: Asked) -> Noted:
        return Noted(topic=asked.topic)

    return App("talk", services=[one, two, clerk], hops_max=app_max)


def talked(app, *, faults=None, redrive=False):
    """Ask once, and return what was said, and the dead letters."""

    async def run():
        async with testing.run(app, live=True, allow_dead_letters=True, faults=faults) as t:
            await t.publish(Asked(topic="t"))
            await t.advance(hours=1)
            if redrive:
                await t.redrive()
                await t.advance(hours=1)
            said = [*t.all(Asked), *t.all(Answered)]
            return t, said, t.dead_letters(), t.all(Noted)

    return asyncio.run(run())


def test_a_circle_ends_after_its_budget_with_its_path_as_cause():
    """As many outputs as the budget allows, then one dead letter at once, which says where it went round."""
    calls = []
    _, said, (letter,), _ = talked(talkers(calls=calls))
    assert len(said) == 1 + HOPS_MAX
    assert "101 hops" in letter.cause
    assert PATH in letter.cause
    assert letter.cause.startswith("LoopError: Cannot publish what 'one.answer' made of event")
    assert letter.attempts == 1
    assert len(calls) == len(set(calls)), "nothing was called again"


def test_each_output_is_one_hop_further_than_its_cause():
    """Whoever only listens counts on, and is not held up where the circle is."""
    _, said, _, noted = talked(talkers(app_max=6))
    hops = {each.id: hops_of(each.envelope.extensions) for each in [*said, *noted]}
    for each in said:
        cause = each.envelope.causation_id
        assert hops[each.id] == (0 if cause is None else hops[cause] + 1)
    assert sorted(hops[each.id] for each in said) == list(range(7))
    assert sorted(hops[each.id] for each in noted) == [0, 3, 5, 7]


@pytest.mark.parametrize(("options", "outputs"), [({"app_max": 7}, 7), ({"service_max": 4}, 4)])
def test_a_budget_may_be_declared_for_the_app_or_a_service(options, outputs):
    _, said, (letter,), _ = talked(talkers(**options))
    assert abs(len(said) - 1 - outputs) <= 1
    assert PATH in letter.cause


def test_a_budget_without_bound_lets_long_conversations_go_on():
    """What ends by itself, ends by itself."""
    _, said, letters, _ = talked(talkers(turns=2 * HOPS_MAX, app_max=math.inf))
    assert (len(said), letters) == (2 * HOPS_MAX + 1, [])


def test_a_redriven_event_has_its_budget_anew():
    """Whoever redrives it has looked at it; the circle goes on once more as far, and no further."""
    _, said, (letter,), _ = talked(talkers(app_max=10), redrive=True)
    assert len(said) == 1 + 2 * 10
    assert "11 hops" in letter.cause


@pytest.mark.parametrize("crash_at", range(20, 120, 14))
def test_a_crash_changes_neither_the_end_nor_the_count(crash_at):
    """Killed anywhere on the way round, the same events are said, and the same one is given up."""
    t, said, (letter,), noted = talked(talkers(app_max=10), faults=Faults(crash_at=crash_at))
    assert t.simulation.crashes == 1
    assert len(said) == 11
    assert "11 hops" in letter.cause
    assert len(noted) == 6


def test_nobody_pays_who_is_on_no_circle():
    """Outputs of services that cannot go round say nothing of hops, unless their cause does."""

    async def run():
        async with testing.run(App("notes", services=[clerk])) as t:
            await t.publish(Asked(topic="t"))
            await t.advance(seconds=1)
            return [each.record.extensions for each in await t.simulation.records("notes")]

    clerk = Service("clerk")

    @clerk.on(Asked)
    async def note(asked: Asked) -> Noted:
        return Noted(topic=asked.topic)

    (extensions,) = asyncio.run(run())
    assert set(extensions) == {"causationid"}


def test_circles_are_named_unless_somebody_declared_a_budget():
    """The note has the path and who is on it; a declared budget says that it is meant."""
    (note,) = notes_of(talkers().services, None)
    assert PATH in note
    assert "one.answer" in note
    assert "two.ask" in note
    assert notes_of(talkers(service_max=5).services, None) == []
    assert notes_of(talkers().services, 5) == []


def test_a_handler_that_answers_its_own_event_is_a_circle():
    echo = Service("echo")

    @echo.on(Asked)
    async def again(asked: Asked) -> Asked:
        return asked

    assert [cycle.path for cycle in cycles_of([echo])] == ["talk.asked.v1 -> talk.asked.v1"]


@pytest.mark.parametrize("hops_max", [0, -1, 1.5])
def test_a_budget_that_allows_nothing_is_refused(hops_max):
    with pytest.raises(InvalidInputError, match="hops"):
        Service("s", hops_max=hops_max)
    with pytest.raises(InvalidInputError, match="hops"):
        App("a", hops_max=hops_max)


@pytest.mark.parametrize(
    ("text", "hops"), [("7", 7), ("", 0), ("-1", 0), ("x", 0), ("1" * 50, 0), ("\u0667", 0)]
)
def test_hops_that_are_no_number_count_as_none(text, hops):
    assert hops_of({"hops": text}) == hops


def test_the_example_ends(monkeypatch):
    """Two who never agree are parted, and told on which circle they were."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "examples"))
    import loop_guard as example

    (cause,) = asyncio.run(example.main())
    assert "21 hops" in cause
    assert "essays.criticised.v1 -> essays.drafted.v1 -> essays.criticised.v1" in cause


KINDS = [type(f"K{n}", (Event,), {}, type=f"graph.k{n}.v1") for n in range(5)]


@given(edges=st.sets(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=9))
def test_circles_are_found_where_there_are_any(edges):
    """A circle is found exactly where events reach themselves; its steps follow each other."""
    services = []
    for n, (taken, given_) in enumerate(sorted(edges)):
        service = Service(f"s{n}")

        def handle(event):
            raise AssertionError

        handle.__annotations__ = {"event": KINDS[taken], "return": KINDS[given_]}
        service.on(KINDS[taken])(handle)
        services.append(service)
    closure = set(edges)
    for _ in KINDS:
        closure |= {(a, d) for a, b in closure for c, d in closure if b == c}
    circular = {f"graph.k{n}.v1" for n in range(5) if (n, n) in closure}
    cycles = cycles_of(services)
    assert bool(cycles) == bool(circular)
    on_one = {step.service for step in steps_of(services)} if circular else set()
    for cycle in cycles:
        assert cycle.services <= on_one
        for step, after in zip(cycle.steps, (*cycle.steps[1:], cycle.steps[0]), strict=True):
            assert step.given == after.taken
            assert step.taken in circular
    on_circles = {f"s{n}" for n, (a, b) in enumerate(sorted(edges)) if a == b or (b, a) in closure}
    assert set().union(*(cycle.services for cycle in cycles)) == on_circles
