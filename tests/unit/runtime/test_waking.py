"""How a worker waits: until there is news, until a moment, or until it is woken."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from tropism.adapters.memory import MemoryCompute, MemoryStore, VirtualClock
from tropism.core.codec import record_of
from tropism.core.envelope import Record
from tropism.core.event import Event
from tropism.ports.log import Cursors, Log
from tropism.ports.platform import Platform
from tropism.ports.state import Commit, State
from tropism.runtime.commit import PASSED_SECONDS
from tropism.runtime.lag import Lag, lag_of
from tropism.runtime.runtime import Runtime
from tropism.runtime.service import Service
from tropism.runtime.waking import Waking
from tropism.testing.simulation import quiet


class Asked(Event, type="talks.asked.v1", key="who"):
    who: str


class Answered(Event, type="talks.answered.v1", key="who"):
    who: str


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await coroutine

    asyncio.run(bounded())


class Waits:
    """Something that waits by a ``Waking``, on a clock of its own."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.waking = Waking(self.clock)
        self.news = asyncio.Event()

    def start(self, seconds: float) -> asyncio.Task[None]:
        return asyncio.create_task(self.waking.wait(self._news(), seconds))

    async def _news(self) -> None:
        await self.news.wait()


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_each_of_the_three_ends_the_waiting() -> None:
    """News do, the moment does, and being woken does; until then, nothing does."""

    async def main() -> None:
        waits = Waits()
        for end in (waits.news.set, lambda: waits.clock.advance(5), waits.waking.wake):
            waits.news.clear()
            waiting = waits.start(5)
            await turns()
            assert not waiting.done()
            end()
            await waiting
        await waits.waking.close()

    run(main())


def test_the_alarm_is_kept_and_never_rings_too_late() -> None:
    """A later moment may be told too early, by the alarm of the time before; a sooner one sets it anew."""

    async def main() -> None:
        waits = Waits()
        first = waits.start(60)
        await turns()
        waits.news.set()
        await first
        waits.news.clear()
        sooner = waits.start(2)
        await turns()
        waits.clock.advance(1.9)
        await turns()
        assert not sooner.done()
        waits.clock.advance(0.1)
        await sooner
        again = waits.start(3)
        await turns()
        waits.waking.wake()
        await again
        later = waits.start(30)
        await turns()
        waits.clock.advance(3)
        await later
        await waits.waking.close()
        assert waits.clock.next_wakeup_us() is None

    run(main())


def test_an_alarm_that_rang_while_nobody_waited_is_set_anew() -> None:
    """What was due meanwhile is looked at before the next waiting; that one has its own moment."""

    async def main() -> None:
        waits = Waits()
        waits.news.set()
        await waits.start(5)
        waits.clock.advance(6)
        await turns()
        waits.news.clear()
        waiting = waits.start(5)
        await turns()
        assert not waiting.done()
        waits.clock.advance(5)
        await waiting
        await waits.waking.close()

    run(main())


def test_being_cancelled_is_not_taken_for_being_woken() -> None:
    """Also where both happen in one turn, whichever comes first; and errors of the news are raised."""

    async def main() -> None:
        waits = Waits()
        for ends in ("c", "wc", "cw"):
            waiting = waits.start(5)
            await turns()
            for end in ends:
                _ = waiting.cancel() if end == "c" else waits.waking.wake()
            with pytest.raises(asyncio.CancelledError):
                await waiting

        async def fail(error: Exception) -> None:
            await asyncio.sleep(0)
            raise error

        for error in (ValueError("it failed"), TimeoutError("its own")):
            with pytest.raises(type(error), match=str(error)):
                await waits.waking.wait(fail(error), 5)
        waits.waking.wake()
        await waits.waking.close()

    run(main())


class Counted:
    """A state that counts commits."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.count = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._state, name)

    async def commit(self, commit: Commit) -> None:
        self.count += 1
        await self._state.commit(commit)


def told(kind: type[Event], number: int) -> Record:
    event = kind(who=f"k{number % 3}")
    return record_of(event, b'{"who":"x"}', id=f"{kind.__name__}-{number}", time_us=number)


def test_a_service_that_starts_again_reads_nothing_anew_where_it_keeps_no_views() -> None:
    """It begins where its handlers stand; reading a long log from its beginning would take as long each time."""

    async def main() -> None:
        clock = VirtualClock(1_000_000)
        store = MemoryStore(clock=clock)
        log = Reading(store.log)
        platform = Platform(log, store.state, store.blobs, MemoryCompute(), clock, store.queue)
        service, handled = Service("answering"), list[str]()

        @service.on(Asked)
        def answer(asked: Asked) -> None:
            handled.append(asked.who)

        for start in (0, 30):
            await log.append([told(Asked, start + number) for number in range(30)])
            del log.asked[:]
            runtime = Runtime([service], platform)
            await runtime.start()
            await quiet(0)
            await runtime.stop()
            assert len(handled) == start + 30
            assert sum(offset for cursors in log.asked[:1] for offset in cursors.values()) == start

    run(main())


class Reading:
    """A log that notes from where it was read."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self.asked: list[Cursors] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    async def read(self, cursors: Cursors, **options: Any) -> Any:
        if any(topic == "talks" for topic, _ in cursors):
            self.asked.append({place: at for place, at in cursors.items() if place[0] == "talks"})
        return await self._log.read(cursors, **options)


def test_a_service_does_not_commit_for_what_it_only_passes_over() -> None:
    """Its place behind events that nobody wanted is stored with the next step, and in a moment without one.

    So it is not made to commit by every event of another type in its topic, its own outputs among them; and
    how far it is behind is known all the same.
    """

    async def main() -> None:
        clock = VirtualClock(1_000_000)
        store = MemoryStore(clock=clock)
        counted = Counted(store.state)
        platform = Platform(store.log, counted, store.blobs, MemoryCompute(), clock, store.queue)
        service = Service("answering")

        @service.on(Asked)
        def answer(asked: Asked) -> Answered:
            return Answered(who=asked.who)

        runtime = Runtime([service], platform)
        await runtime.start()
        await quiet(0)
        before = counted.count
        await platform.log.append([told(Asked, 0)])
        await quiet(0)
        assert counted.count == before + 1, "the event, and not its output again"
        for number in range(20):
            await platform.log.append([told(Answered, number)])
            await quiet(0)
        assert counted.count == before + 1
        assert runtime.is_idle
        clock.advance(PASSED_SECONDS)
        await quiet(0)
        assert counted.count == before + 2
        assert await lag_of(platform, service) == Lag("answering", 0, None)
        clock.advance(10 * PASSED_SECONDS)
        await quiet(0)
        assert counted.count == before + 2
        await platform.log.append([told(Answered, 99)])
        await quiet(0)
        await runtime.stop()
        assert await lag_of(platform, service) == Lag("answering", 0, None), "stored before it left"

    run(main())
