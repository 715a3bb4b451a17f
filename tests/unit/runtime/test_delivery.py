"""Guarantees, fences, draining, and a store that does not answer."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from tropism import App, Event, Retry, Service, State, hours, minutes, seconds, testing, use
from tropism.adapters.memory import MemoryCompute, MemoryStore, VirtualClock
from tropism.core.codec import Codec, record_of
from tropism.core.errors import NotSupportedError, UnavailableError
from tropism.ports.platform import Platform
from tropism.runtime.dead import dead_letters
from tropism.runtime.patience import patiently
from tropism.runtime.runtime import Runtime, RuntimeOptions
from tropism.testing.simulation import OPTIONS, Simulation, quiet

LIVE = replace(OPTIONS, live=True, lease_seconds=15.0)


class Asked(Event, type="asks.asked.v1", key="who"):
    who: str


class Answered(Event, type="answers.answered.v1", key="who"):
    who: str


def answering(calls: list[str], **options: Any) -> Service:
    service = Service("s")

    @service.on(Asked, **options)
    async def answer(event: Asked, n: State[int] = use("n")) -> Answered:
        calls.append(event.who)
        await asyncio.sleep(0)
        n.set((n.get() or 0) + 1)
        return Answered(who=event.who)

    return service


async def ask(store: MemoryStore, names: Sequence[str], time_us: int = 0) -> None:
    codec = Codec([Asked])
    asked = [Asked(who=name) for name in names]
    await store.log.append(
        [record_of(e, codec.encode(e), id=f"{time_us}-{e.who}", time_us=time_us) for e in asked]
    )


async def answers(store: MemoryStore) -> list[str]:
    ends = await store.log.ends(["answers"])
    found = await store.log.read(dict.fromkeys(ends, 0), count_max=1000)
    return sorted(s.record.subject for page in found.values() for s in page)


def two_stores() -> tuple[Platform, MemoryStore, MemoryStore, VirtualClock]:
    """A platform whose log and state do not commit together."""
    clock = VirtualClock()
    one, other = MemoryStore(clock=clock), MemoryStore(clock=clock)
    return Platform(one.log, other.state, one.blobs, MemoryCompute(), clock, one.queue), one, other, clock


@pytest.mark.parametrize("guarantee", ["effectively_once", "at_least_once", "at_most_once"])
def test_every_word_works_where_log_and_state_are_apart(guarantee: str) -> None:
    """Outputs reach the platform's own log, and state the platform's own state."""
    platform, one, other, _ = two_stores()

    async def main() -> None:
        await ask(one, "abc")
        service = answering([], guarantee=guarantee)
        runtime = Runtime([service], platform, options=RuntimeOptions(live=False))
        await runtime.start()
        runtime.watermarks.advance_sources(10)
        await runtime.wait_until(10)
        await runtime.stop()
        assert await answers(one) == [*"abc"]
        assert await other.log.ends(["answers"]) == {}
        assert len(await other.state.scan("s/state/n")) == 3
        assert await other.state.scan("s/outbox") == []

    asyncio.run(main())


def crashing(calls: list[str], guarantee: str) -> Service:
    """A service that dies when first asked by 'b', in the middle of the call."""
    service = Service("s")

    @service.on(Asked, guarantee=guarantee, retry=Retry(attempts=5, first=seconds(1)))  # type: ignore[arg-type]
    async def answer(event: Asked) -> Answered:
        calls.append(event.who)
        if event.who == "b" and calls.count("b") == 1:
            holder[0].faults.struck = True
            await asyncio.Event().wait()
        return Answered(who=event.who)

    holder: list[Simulation] = []
    service.holder = holder  # type: ignore[attr-defined]
    return service


@pytest.mark.parametrize(
    ("guarantee", "calls_of_b", "answered"),
    [("effectively_once", 2, "abc"), ("at_least_once", 2, "abc"), ("at_most_once", 1, "ac")],
)
@pytest.mark.parametrize("live", [False, True], ids=["event-time", "live"])
def test_what_the_words_promise_of_a_call_that_died(
    guarantee: str, calls_of_b: int, answered: str, live: bool
) -> None:
    """At most once never calls again; the others do, and answer once."""
    calls: list[str] = []
    service = crashing(calls, guarantee)

    async def main() -> None:
        simulation = Simulation([service], options=replace(LIVE, live=live))
        service.holder.append(simulation)  # type: ignore[attr-defined]
        await ask(simulation.store, "abc")
        await simulation.start()
        await simulation.run_until(10)
        assert calls.count("b") == calls_of_b
        assert await answers(simulation.store) == [*answered]
        await simulation.stop()

    asyncio.run(main())


def test_at_most_once_is_given_up_after_one_call() -> None:
    """A call at most once that fails is not repeated, and leaves a dead letter."""
    service, calls = Service("s"), []

    @service.on(Asked, guarantee="at_most_once")
    def fail(event: Asked) -> None:
        calls.append(event.who)
        raise ValueError("no")

    async def main() -> None:
        async with testing.run(App("a", services=[service])) as t:
            await t.publish(Asked(who="a"))
            await t.advance(hours=1)
            assert calls == ["a"]
            assert [letter.attempts for letter in t.dead_letters()] == [1]

    asyncio.run(main())


class Noted(Event, type="notes.noted.v1", key="who"):
    who: str


def test_at_most_once_waits_for_no_other_key() -> None:
    """While one handler is tried again for an hour, what another handles at most once goes on."""
    service, noted = Service("s"), []

    @service.on(Asked, retry=Retry(attempts=1000, first=minutes(1), longest=minutes(1)))
    def fail(event: Asked) -> None:
        raise ConnectionError("no")

    @service.on(Noted, guarantee="at_most_once")
    async def note(event: Noted) -> None:
        noted.append((event.who, simulation.clock.monotonic()))

    simulation = Simulation([service], options=LIVE)

    async def main() -> None:
        codec = Codec([Noted])
        await ask(simulation.store, "a")
        await simulation.start()
        for n in range(3):
            await simulation.advance_to(simulation.clock.now_us() + 10_000_000)
            event = Noted(who=f"n{n}")
            await simulation.store.log.append([record_of(event, codec.encode(event), id=f"n{n}", time_us=1)])
        await simulation.advance_to(simulation.clock.now_us() + 10_000_000)
        assert noted == [("n0", 10.0), ("n1", 20.0), ("n2", 30.0)]
        await simulation.crash()
        await simulation.advance_to(simulation.clock.now_us() + 30_000_000)
        assert len(noted) == 3
        await simulation.stop()

    asyncio.run(main())


@pytest.mark.parametrize("crash_at", range(0, 90, 2))
def test_at_most_once_no_event_is_handled_twice_wherever_a_crash_strikes(crash_at: int) -> None:
    """In order per key, each at most once; after a crash all that were not begun are handled, and ticks too."""
    calls: list[tuple[str, str]] = []
    service = Service("s")

    @service.on(Asked, guarantee="at_most_once")
    async def answer(event: Asked, n: State[int] = use("n")) -> Answered:
        calls.append((event.who[0], event.who))
        await asyncio.sleep(0)
        return Answered(who=event.who)

    @service.on(Noted)
    async def note(event: Noted, n: State[int] = use("n")) -> None:
        n.set((n.get() or 0) + 1)

    async def main() -> None:
        simulation = Simulation([service], options=replace(LIVE, chunk=4))
        codec = Codec([Asked, Noted])
        events = [Asked(who=f"{k}{n}") if n % 3 else Noted(who=f"{k}{n}") for n in range(8) for k in "abc"]
        for n, event in enumerate(events):
            record = record_of(event, codec.encode(event), id=f"{n:03}", time_us=n)
            await simulation.store.log.append([msgspec.structs.replace(record, subject=event.who[0])])
        simulation.faults.crash_at = crash_at
        await simulation.start()
        await simulation.run_until(100)
        await simulation.stop()
        assert len(calls) == len(set(calls))
        wanted = {event.who for event in events if isinstance(event, Asked)}
        lost = wanted - {who for _, who in calls}
        assert len(lost) <= 1
        for key in "abc":
            mine = [who for k, who in calls if k == key]
            assert mine == sorted(mine)

    asyncio.run(main())


def test_at_most_once_stopping_begins_nothing_more() -> None:
    """What waits for its turn when a service stops is not passed: the next start handles it, and none twice."""
    calls: list[str] = []
    service, begun, gate = Service("s"), asyncio.Event(), asyncio.Event()

    @service.on(Asked, guarantee="at_most_once")
    async def answer(event: Asked) -> Answered:
        calls.append(event.who)
        begun.set()
        await gate.wait()
        return Answered(who=event.who)

    async def main() -> None:
        simulation = Simulation([service], options=LIVE)
        await ask(simulation.store, "abcde")
        await simulation.start()
        await begun.wait()
        await quiet(0.0)
        stopping = asyncio.create_task(simulation.runtime.stop(drain_seconds=1000.0))
        await quiet(0.0)
        gate.set()
        await stopping
        assert len(calls) == 1
        await simulation.crash()
        await simulation.run_until(100)
        assert sorted(calls) == [*"abcde"]
        assert await answers(simulation.store) == [*"abcde"]
        await simulation.stop()

    asyncio.run(main())


def test_at_most_once_shares_no_events_with_a_surer_handler() -> None:
    """One cursor cannot be both ahead of an event and behind it."""
    service = answering([], guarantee="at_most_once")

    @service.on(Asked)
    def other(event: Asked) -> None: ...

    with pytest.raises(NotSupportedError, match="Move one of the handlers"):
        Simulation([service])


def test_a_worker_that_lost_its_lease_has_no_effect_and_stops() -> None:
    """When another takes over, the first one's commit is refused, and all is answered once."""
    calls: list[str] = []
    gate = asyncio.Event
    gates: list[asyncio.Event] = []
    service = Service("s")

    @service.on(Asked)
    async def answer(event: Asked, n: State[int] = use("n")) -> Answered:
        calls.append(event.who)
        if len(calls) == 1:
            await gates[0].wait()
        n.set((n.get() or 0) + 1)
        return Answered(who=event.who)

    async def main() -> None:
        gates.append(gate())
        first = Simulation([service], options=replace(LIVE, holder="one"))
        await ask(first.store, "a")
        await first.start()
        await first.settle()
        assert calls == ["a"]
        # The first stops renewing, as a process that hangs; its lease runs out.
        first.faults.is_down = lambda call: call == "renew"
        platform = replace(first.runtime.platform, state=first.store.state, log=first.store.log)
        second = Runtime([service], platform, options=replace(LIVE, holder="two"))
        await second.start()
        await quiet(0.0)
        assert not second.is_idle
        first.clock.advance(16.0)
        await quiet(0.0)
        first.clock.advance(2.0)
        await quiet(0.0)
        assert second.is_idle
        assert calls == ["a", "a"]
        gates[0].set()
        await quiet(0.0)
        assert not first.runtime.workers["s"].is_open
        assert await answers(first.store) == ["a"]
        assert [e.value for e in await first.store.state.scan("s/state/n")] == [b"\x01"]
        await ask(first.store, "b", 1)
        await quiet(0.0)
        assert calls == ["a", "a", "b"]
        await first.runtime.stop(drain_seconds=0.0)
        await second.stop(drain_seconds=0.0)

    asyncio.run(main())


def test_stopping_finishes_what_is_in_flight_within_a_bound() -> None:
    """What ends in time is committed; what does not stays unacknowledged, and comes again."""
    calls: list[str] = []
    service = Service("s")
    gates: dict[str, asyncio.Event] = {}

    @service.on(Asked)
    async def answer(event: Asked) -> Answered:
        calls.append(event.who)
        await gates[event.who].wait()
        return Answered(who=event.who)

    async def main() -> None:
        gates.update(fast=asyncio.Event(), slow=asyncio.Event(), late=asyncio.Event())
        simulation = Simulation([service], options=LIVE)
        await ask(simulation.store, ["fast", "slow"])
        await simulation.start()
        await simulation.settle()
        stopping = asyncio.ensure_future(simulation.runtime.stop(drain_seconds=30.0))
        await quiet(0.0)
        await ask(simulation.store, ["late"], 1)
        gates["fast"].set()
        await quiet(0.0)
        assert await answers(simulation.store) == ["fast"]
        assert not stopping.done()
        simulation.clock.advance(29.0)
        await quiet(0.0)
        assert not stopping.done()
        simulation.clock.advance(2.0)
        await stopping
        gates["slow"].set()
        await quiet(0.0)
        assert await answers(simulation.store) == ["fast"]
        assert calls == ["fast", "slow"]
        gates["late"].set()
        await simulation.crash()
        await simulation.wait(lambda: simulation.runtime.is_idle)
        assert calls == ["fast", "slow", "slow", "late"]
        assert await answers(simulation.store) == ["fast", "late", "slow"]
        await simulation.stop()

    asyncio.run(main())


def test_a_clean_stop_gives_the_lease_back() -> None:
    """After a clean stop another process begins at once, and suspects nobody."""

    async def main() -> None:
        simulation = Simulation([answering([])], options=replace(LIVE, holder="one"))
        await ask(simulation.store, "ab")
        await simulation.start()
        await simulation.wait(lambda: simulation.runtime.is_idle)
        await simulation.stop()
        lease, _ = await simulation.store.state.acquire("s", "two", lease_seconds=1.0)
        assert lease.clean

    asyncio.run(main())


@pytest.mark.parametrize("down", ["commit", "read", "get", "scan", "acquire", "ends"])
@pytest.mark.parametrize("live", [False, True], ids=["event-time", "live"])
def test_a_store_that_does_not_answer_holds_everything_until_it_does(down: str, live: bool) -> None:
    """A full disk, or a store that is away, loses nothing, charges nobody, and stops no service."""
    calls: list[str] = []

    async def main() -> None:
        simulation = Simulation([answering(calls)], options=replace(LIVE, live=live))
        await ask(simulation.store, "abcdef")
        await simulation.runtime.start()
        simulation.faults.is_down = lambda call: call == down
        simulation.advance_sources(10)
        await simulation.advance_to(60_000_000)
        if down == "commit":
            assert await answers(simulation.store) == []
        simulation.faults.is_down = None
        await simulation.run_until(10)
        assert await answers(simulation.store) == [*"abcdef"]
        assert calls.count("a") == 1
        assert await dead_letters(simulation.store.state) == []
        await simulation.stop()

    asyncio.run(main())


def test_a_store_that_is_away_at_the_stop_does_not_hang_it() -> None:
    """Stopping ends within its bound also where nothing can be committed any more."""

    async def main() -> None:
        simulation = Simulation([answering([])], options=LIVE)
        await ask(simulation.store, "a")
        simulation.faults.is_down = lambda call: call in {"commit", "release"}
        await simulation.start()
        await simulation.settle()
        stopping = asyncio.ensure_future(simulation.runtime.stop(drain_seconds=5.0))
        await quiet(0.0)
        simulation.clock.advance(6.0)
        await asyncio.wait_for(stopping, 10)
        assert await answers(simulation.store) == []

    asyncio.run(main())


def test_what_stops_a_service_is_raised_to_those_who_wait() -> None:
    """A service that cannot go on says so, to ``wait`` and ``wait_until``; nothing hangs."""

    async def main() -> None:
        simulation = Simulation([answering([])], options=LIVE)
        await ask(simulation.store, "a")

        async def broken(*_: object, **__: object) -> None:
            raise RuntimeError("the store is broken")

        simulation.store.state.commit = broken  # type: ignore[method-assign,assignment]
        with pytest.raises(RuntimeError, match="broken"):
            await simulation.start()
        with pytest.raises(RuntimeError, match="broken"):
            await simulation.runtime.wait()
        await simulation.runtime.stop(drain_seconds=30.0)

    asyncio.run(main())


def test_live_memory_of_progress_is_bounded_while_one_event_waits() -> None:
    """However long one event is tried again, the cursor stays small."""
    service = Service("s")

    @service.on(Asked, retry=Retry(attempts=100, first=hours(1), factor=1.0))
    def answer(event: Asked) -> None:
        if event.who == "0-0":
            raise UnavailableError("not yet")

    async def main() -> None:
        simulation = Simulation([service], options=replace(LIVE, partitions=1))
        await simulation.start()
        sizes = []
        for turn in range(30):
            await ask(simulation.store, [f"{turn}-{n}" for n in range(100)], turn)
            await simulation.settle()
            _, position = (await simulation.store.state.positions())[0]
            sizes.append(len(position.cursor or b""))
        assert max(sizes) <= min(sizes) + 20
        await simulation.runtime.abandon()

    asyncio.run(main())
    assert minutes(1) < hours(1)


def test_who_waits_for_a_store_says_so_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    """A store that is back at once is not mentioned; one that stays away is, but not at every try."""

    class Clock(VirtualClock):
        async def sleep(self, seconds: float) -> None:
            await asyncio.sleep(0)

    async def told(failures: int) -> int:
        left = [failures]

        async def call() -> None:
            left[0] -= 1
            if left[0] >= 0:
                raise UnavailableError("Cannot write to 'x.db': disk is full. Free some space.")

        caplog.clear()
        await patiently(Clock(), call)
        return len(caplog.records)

    assert [asyncio.run(told(failures)) for failures in (0, 2, 3, 62, 63)] == [0, 0, 1, 1, 2]
    assert "disk is full. Free some space. All waits; it is tried again every second." in caplog.text
