"""The usual event goes a short way: it comes to the same as the long one."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tropism import App, Event, Retry, Service, State, seconds, testing, use
from tropism.adapters.memory import MemoryStore
from tropism.core.envelope import Envelope, Record
from tropism.runtime.admission import Admission
from tropism.runtime.intake import Intake
from tropism.runtime.streams import Stream
from tropism.runtime.watermarks import FOREVER_US


class Came(Event, type="came.came.v1", key="who"):
    who: str
    n: int = 0


class Left(Event, type="came.left.v1", key="who"):
    who: str
    n: int = 0


class Told(Event, type="told.told.v1", key="who"):
    who: str
    n: int
    sum: int = 0


def longest_way(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Admission, "plain", lambda *_: None)


def counting_ways(patch: pytest.MonkeyPatch) -> Counter[bool]:
    """Count the chunks that went the short way, and those that did not."""
    original, found = Admission.plain, Counter[bool]()

    def plain(self: Admission, *given: Any) -> Any:
        deliveries = original(self, *given)
        found[deliveries is not None] += 1
        return deliveries

    patch.setattr(Admission, "plain", plain)
    return found


async def told_by(made: Service, *, live: bool, events: list[Event]) -> list[tuple[str, int, int]]:
    async with testing.run(App("a", services=[made]), live=live, chunk=16) as t:
        for at in range(0, len(events), 40):
            await t.publish(*events[at : at + 40])
            await t.advance(seconds=1)
        await t.advance(seconds=600)
        return [(each.event.who, each.event.n, each.event.sum) for each in t.all(Told)]


def plain_service(failed: set[int]) -> Service:
    service = Service("s")

    @service.on(Came, retry=Retry(attempts=3, first=seconds(1), jitter=0))
    async def tell(event: Came) -> Told:
        if event.n % 11 == 3 and event.n not in failed:
            failed.add(event.n)
            raise ValueError("not now")
        for _ in range(event.n % 3):
            await asyncio.sleep(0)
        return Told(who=event.who, n=event.n)

    @service.on(Left)
    def silent(event: Left) -> None:
        """Give nothing."""

    return service


def stateful_service(failed: set[int]) -> Service:
    service = Service("s")

    @service.on(Came, retry=Retry(attempts=3, first=seconds(1), jitter=0))
    async def add(
        came: Envelope[Came], sums: State[int] = use("sums"), last: State[int] = use("last")
    ) -> Told:
        event = came.data
        sums.set((sums.get() or 0) + event.n)
        if event.n % 11 == 3 and event.n not in failed:
            failed.add(event.n)
            raise ValueError("what was set is not kept")
        if event.n % 5 == 0:
            await asyncio.sleep(0)
            last.delete()
        else:
            last.set(event.n)
        return Told(who=came.subject, n=last.get() or 0, sum=sums.get() or 0)

    return service


@pytest.mark.parametrize("live", [False, True], ids=["event-time", "live"])
@pytest.mark.parametrize("made", [plain_service, stateful_service])
def test_both_ways_come_to_the_same(
    made: Callable[[set[int]], Service], live: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Failures, waits, outputs and state of each key are those of admitting and calling one by one."""
    events: list[Event] = [
        Left(who=f"k{n % 7}", n=n) if made is plain_service and n % 4 == 0 else Came(who=f"k{n % 7}", n=n)
        for n in range(200)
    ]
    ways = counting_ways(monkeypatch)
    short = asyncio.run(told_by(made(set()), live=live, events=events))
    assert ways[True]
    longest_way(monkeypatch)
    long = asyncio.run(told_by(made(set()), live=live, events=events))
    keys = {who for who, *_ in long}
    assert len(short) == len(long)
    assert len(keys) == 7
    for key in keys:
        assert [each for each in short if each[0] == key] == [each for each in long if each[0] == key]
    if not live:
        assert short == long


def test_what_cannot_be_read_among_the_usual_is_a_dead_letter_once() -> None:
    """The chunk is taken up anew by who knows of all cases; nobody is called twice for it."""
    service, called = Service("s"), []

    @service.on(Came)
    async def note(event: Came) -> None:
        called.append(event.n)

    async def main() -> None:
        async with testing.run(App("a", services=[service]), live=True, allow_dead_letters=True) as t:
            await t.publish(Came(who="a", n=0))
            await t.advance()
            bad = Record("bad", "came.came.v1", "came", "a", t.simulation.clock.now_us(), b'{"who":1}')
            await t.publish(Came(who="a", n=1))
            await t.simulation.store.log.append([bad])
            await t.publish(Came(who="a", n=2), Came(who="b", n=3))
            await t.advance()
            assert [n for n in called if n != 3] == [0, 1, 2]
            assert called.count(3) == 1
            letters = t.dead_letters()
            assert [letter.record.id for letter in letters] == ["bad"]

    asyncio.run(main())


def test_a_plain_call_is_made_in_a_task_of_its_own() -> None:
    """What asyncio offers by the current task works: time limits, groups; others are called meanwhile."""
    service, ended, gates = Service("s"), [], []

    @service.on(Came)
    async def limited(event: Came) -> None:
        task = asyncio.current_task()
        try:
            async with asyncio.timeout(None) as limit:
                if event.who == "slow":
                    limit.reschedule(asyncio.get_running_loop().time())
                    await gates[0].wait()
        except TimeoutError:
            ended.append("over")
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(0))
        assert task is asyncio.current_task()
        assert not task.cancelling()
        ended.append(event.who)

    async def main() -> None:
        gates.append(asyncio.Event())
        async with testing.run(App("a", services=[service]), live=True) as t:
            await t.publish(*[Came(who=who) for who in ("x", "slow", "y", "z")])
            await t.advance()
            assert sorted(ended) == ["over", "slow", "x", "y", "z"]

    asyncio.run(main())


def test_who_sets_context_variables_and_waits_disturbs_no_order() -> None:
    """A key's events wait for the one that waits, however many short ways the others go."""
    service, order, gates = Service("s"), [], []

    @service.on(Came)
    async def note(event: Came) -> None:
        if event.who == "slow" and event.n == 0:
            await gates[0].wait()
        order.append((event.who, event.n))

    async def main() -> None:
        gates.append(asyncio.Event())
        async with testing.run(App("a", services=[service]), live=True, chunk=8) as t:
            await t.publish(*[Came(who=who, n=n) for n in range(30) for who in ("slow", "a", "b")])
            await t.simulation.settle()
            assert not [n for who, n in order if who == "slow"]
            assert [n for who, n in order if who == "a"] == list(range(30))
            gates[0].set()
            await t.advance()
            assert [n for who, n in order if who == "slow"] == list(range(30))

    asyncio.run(main())


def test_a_crash_between_call_and_commit_doubles_no_effect() -> None:
    """What was called and not committed is called again, singly, and counts once."""
    service, gates = Service("s"), []

    @service.on(Came)
    async def add(event: Came, sums: State[int] = use("sums")) -> Told:
        if event.n == 5:
            await gates[0].wait()
        sums.set((sums.get() or 0) + 1)
        return Told(who=event.who, n=event.n, sum=sums.get() or 0)

    async def main() -> None:
        gates.append(asyncio.Event())
        async with testing.run(App("a", services=[service]), live=True) as t:
            await t.publish(*[Came(who=f"k{n % 3}", n=n) for n in range(12)])
            await t.simulation.settle()
            await t.crash()
            gates[0].set()
            await t.advance(seconds=60)
            assert sorted(each.event.n for each in t.all(Told)) == list(range(12))
            assert [t.state("s", "sums", f"k{n}") for n in range(3)] == [4, 4, 4]

    asyncio.run(main())


def test_at_most_once_goes_the_long_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is committed before it is called, alone, though it needs nothing but its event."""
    service, called = Service("s"), []
    ways = counting_ways(monkeypatch)

    @service.on(Came, guarantee="at_most_once")
    async def once(event: Came) -> None:
        called.append(event.n)
        raise ValueError("whatever becomes of it")

    async def main() -> None:
        app = App("a", services=[service])
        async with testing.run(app, live=True, allow_dead_letters=True) as t:
            for n in range(3):
                await t.publish(Came(who="a", n=n))
                await t.advance(seconds=60)
            assert called == [0, 1, 2]
            assert not ways[True]

    asyncio.run(main())


def stored(key: str, number: int, time_us: int) -> Record:
    return Record(f"{key}{number}", "came.came.v1", "came", key, time_us, b"{}")


@pytest.mark.parametrize("live", [False, True], ids=["event-time", "live"])
@pytest.mark.parametrize("partitions", [1, 4])
def test_arrivals_of_one_moment_are_in_order_of_key_in_event_time(live: bool, partitions: int) -> None:
    """Live they come as they were read, which keeps the order of each key; and time never goes back."""

    async def main() -> None:
        log = MemoryStore(partitions_default=partitions).log
        await log.create_topics({"came": partitions})
        made = [stored(key, n, n // 3) for n in range(12) for key in ("c", "b", "a")]
        await log.append(made)
        streams = {Stream("came", number): 0 for number in range(partitions)}
        intake = Intake(log, streams, chunk=64, live=live)
        taken, _ = await intake.take(FOREVER_US, 7)
        while len(taken) < len(made):
            taken += (await intake.take(FOREVER_US, 7))[0]
        times = [time_us for time_us, _, _ in taken]
        assert times == sorted(times)
        for key in "abc":
            numbers = [each.record.id for *_, each in taken if each.record.subject == key]
            assert numbers == [f"{key}{n}" for n in range(12)]
        if not live:
            keys = [(time_us, each.record.subject) for time_us, _, each in taken]
            assert keys == sorted(keys)

    asyncio.run(main())
