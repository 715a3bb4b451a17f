"""Testing an app: what the harness promises to those who write tests with it."""

import asyncio
import doctest
import sys
from datetime import timedelta
from typing import Any

import pytest

from tropism import App, Event, Service, State, hours, minutes, testing, use
from tropism.core.errors import InvalidInputError
from tropism.testing.checks import BrokenLaw
from tropism.testing.run import START


class Asked(Event, type="asks.asked.v1", key="who"):
    who: str
    n: int = 0


class Answered(Event, type="asks.answered.v1", key="who"):
    who: str
    n: int = 0


class Thanked(Event, type="thanks.thanked.v1", key="who"):
    who: str


def app() -> App:
    """Two services, the second of which takes what the first gives."""
    first, second = Service("first"), Service("second")

    @first.on(Asked)
    async def answer(event: Asked, n: State[int] = use("n")) -> Answered:
        n.set((n.get() or 0) + 1)
        return Answered(who=event.who, n=n.get() or 0)

    @second.on(Answered)
    def thank(event: Answered) -> Thanked:
        return Thanked(who=event.who)

    return App("app", services=[first, second])


def test_the_example_in_the_documentation_runs() -> None:
    """What the docstring shows is what happens."""
    found = doctest.testmod(sys.modules["tropism.testing.run"])
    assert found.attempted > 5
    assert found.failed == 0


@pytest.mark.parametrize("live", [False, True], ids=["event-time", "live"])
def test_what_was_published_is_found_with_its_causes(live: bool) -> None:
    """An event is found by type, and knows all its causes, however far back."""

    async def main() -> None:
        async with testing.run(app(), live=live) as t:
            asked, other = Asked(who="a"), Asked(who="b")
            await t.publish(asked)
            await t.advance(hours=1)
            await t.publish(other)
            await t.advance(hours=1)
            thanks = {found.event.who: found for found in t.all(Thanked)}
            assert thanks["a"].caused_by(asked)
            assert not thanks["a"].caused_by(other)
            assert thanks["a"].caused_by(t.all(Answered)[0])
            assert not t.all(Asked)[0].caused_by(asked)
            with pytest.raises(AssertionError, match="wanted one Thanked, found 2"):
                t.only(Thanked)

    asyncio.run(main())


def test_time_is_now_unless_told_and_passes_only_when_told() -> None:
    """Events carry the clock's time or their own; what is ahead is held back until then."""

    async def main() -> None:
        async with testing.run(app()) as t:
            assert t.now == START
            await t.publish(Asked(who="a"))
            await t.publish(Asked(who="b"), at=START + hours(2))
            assert t.all(Thanked) == []
            await t.advance(hours(1))
            assert t.now == START + hours(1)
            assert t.only(Thanked).time == START
            await t.advance(minutes=60)
            assert [f.time for f in t.all(Thanked)] == [START, START + hours(2)]
            await t.publish(Asked(who="c"))
            await t.advance()
            assert t.all(Thanked)[-1].event.who == "c" or t.now == START + hours(2)
            await t.advance(seconds=1)
            assert t.all(Thanked)[-1].time == START + hours(2) + timedelta(microseconds=1)

    asyncio.run(main())


def test_live_events_are_handled_at_their_time() -> None:
    """Live, what is published ahead comes when the clock gets there."""

    async def main() -> None:
        async with testing.run(app(), live=True) as t:
            await t.publish(Asked(who="b"), at=START + hours(2))
            await t.advance(hours=1)
            assert t.all(Thanked) == []
            await t.advance(hours=2)
            assert t.only(Thanked).time == START + hours(2)

    asyncio.run(main())


def test_the_same_seed_repeats_and_another_does_not() -> None:
    """Ids come from the seed."""

    async def ids(seed: int) -> list[str]:
        async with testing.run(app(), seed=seed) as t:
            await t.publish(Asked(who="a"), Asked(who="b"))
            await t.advance(hours=1)
            return [f.id for f in t.all(Thanked)]

    assert asyncio.run(ids(1)) == asyncio.run(ids(1))
    assert asyncio.run(ids(1)) != asyncio.run(ids(2))


def test_state_is_read_typed() -> None:
    """State comes as its handlers declare it; a name nobody uses is an error with a remedy."""

    async def main() -> None:
        async with testing.run(app()) as t:
            await t.publish(Asked(who="a"), Asked(who="a"))
            await t.advance(hours=1)
            assert t.state("first", "n", "a") == 2
            assert t.state("first", "n", "b") is None
            with pytest.raises(InvalidInputError, match="no handler of 'first' uses it"):
                t.state("first", "m", "a")
            with pytest.raises(InvalidInputError, match="no such service"):
                t.state("third", "n", "a")

    asyncio.run(main())


def test_an_event_that_does_not_fit_its_type_is_refused_where_it_is_published() -> None:
    """A test's own mistake is an error in the test."""

    async def main() -> None:
        async with testing.run(app()) as t:
            with pytest.raises(InvalidInputError, match="Cannot publish"):
                await t.publish(Asked(who=5))  # type: ignore[arg-type]

    asyncio.run(main())


def test_the_tests_own_error_is_not_hidden_by_dead_letters() -> None:
    """What the body raises is what the test sees."""
    service = Service("s")

    @service.on(Asked)
    def fail(event: Asked) -> None:
        raise ValueError("handler")

    async def main() -> None:
        async with testing.run(App("app", services=[service])) as t:
            await t.publish(Asked(who="a"))
            await t.advance(hours=1)
            raise KeyError("test")

    with pytest.raises(KeyError, match="test"):
        asyncio.run(main())


def test_what_is_never_handled_is_told() -> None:
    """A call that waits for nothing and never times out does not hang the test."""
    service = Service("s")

    @service.on(Asked, timeout_seconds=1e9)
    async def hang(event: Asked) -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        async with testing.run(App("app", services=[service])) as t:
            await t.publish(Asked(who="a"))
            await t.advance(hours=1)

    with pytest.raises(BrokenLaw, match=r"\['s'\] have not handled everything"):
        asyncio.run(main())


def test_a_handler_may_wait_for_something_real() -> None:
    """With real_seconds, a thread gets real time before virtual time moves on."""
    service = Service("s")

    @service.on(Asked)
    async def threaded(event: Asked) -> Answered:
        return await asyncio.to_thread(Answered, event.who, 1)

    async def main() -> None:
        async with testing.run(App("app", services=[service]), real_seconds=5.0) as t:
            await t.publish(Asked(who="a"))
            advancing = asyncio.ensure_future(t.advance(hours=1))
            await advancing
            assert t.only(Answered)

    asyncio.run(main())


def test_a_crash_within_a_test_loses_nothing() -> None:
    """A test may kill the process wherever it is."""

    async def main() -> None:
        async with testing.run(app()) as t:
            for turn in range(5):
                await t.publish(Asked(who="a"))
                await t.crash()
                await t.advance(hours=1)
                await t.crash()
                assert t.state("first", "n", "a") == turn + 1
            assert len(t.all(Thanked)) == 5
            assert t.simulation.crashes == 10

    asyncio.run(main())


class Forgetful:
    """A saboteur: a store that drops the writes of every third commit."""

    def __init__(self, commit: Any) -> None:
        self._commit = commit
        self._count = 0

    async def __call__(self, commit: Any) -> None:
        from msgspec.structs import replace

        self._count += 1
        await self._commit(replace(commit, outputs=()) if self._count % 3 == 0 else commit)


def test_a_store_that_breaks_its_word_is_noticed() -> None:
    """The harness runs on the store that it is given: a broken one loses events, and tests see it."""

    async def main() -> int:
        async with testing.run(app(), chunk=1) as t:
            t.simulation.store.state.commit = Forgetful(t.simulation.store.state.commit)  # type: ignore[method-assign]
            for n in range(9):
                await t.publish(Asked(who=f"{n}"))
                await t.advance(minutes(1))
            return len(t.all(Thanked))

    assert asyncio.run(main()) < 9
