"""Replays that are interrupted, and live services that go on beside them."""

import asyncio
from datetime import timedelta

import pytest
from tests.simulation.replay_system import Alarmed, Paid, Thanked, again, dump, lived, run, scratch, shop

from tropism import App, Expired, Service, State, Tick, hours, minutes, seconds, testing, use
from tropism.runtime.retry import Retry


class Killed(BaseException):
    """What ends a process in the middle."""


class Dying:
    """A state that dies at its n-th commit: before it, or after it."""

    def __init__(self, state, at, *, applied):
        self._state, self._left, self._applied = state, at, applied

    def __getattr__(self, name):
        return getattr(self._state, name)

    async def commit(self, commit):
        self._left -= 1
        if self._left < 0 or (self._left == 0 and not self._applied):
            raise Killed
        await self._state.commit(commit)
        if self._left == 0:
            raise Killed


class Store:
    def __init__(self, store, state):
        self.log, self.state = store.log, state


@pytest.mark.parametrize("applied", [False, True])
def test_a_replay_goes_on_wherever_it_was_killed(applied):
    """Killed at each commit in turn, and begun again, it ends with the report of one that was left alone."""

    async def check():
        async with lived(events=30) as t:
            before = dump(t.simulation.store)
            whole = await again(t, shop(extra=1), chunk=1)
            deaths, store, partly = 0, scratch(), set()
            for at in range(1, 60):
                try:
                    found = await again(
                        t, shop(extra=1), Store(store, Dying(store.state, at, applied=applied)), chunk=1
                    )
                    break
                except Killed:
                    deaths += 1
                    partly.add(sum(len(p) for p in store.log._topics.get("mail", [])))
            assert deaths > 4
            # At some of its deaths it had done a part.
            assert partly - {0, 30}
            assert found.difference == whole.difference
            assert dump(t.simulation.store) == before

    run(check())


def test_a_replay_that_is_told_to_stop_goes_on_later():
    """Cancelled after any number of steps, it commits what it has finished, and goes on from there."""

    async def check():
        async with lived(events=30) as t:
            whole, store, found, stops = await again(t), scratch(), None, 0
            while found is None:
                task = asyncio.ensure_future(again(t, store=store, chunk=1))
                for _ in range(10 + 10 * stops):
                    await asyncio.sleep(0)
                task.cancel()
                found, stops = (await asyncio.gather(task, return_exceptions=True))[0], stops + 1
                found = None if isinstance(found, asyncio.CancelledError) else found
            assert stops > 1
            assert found.difference == whole.difference

    run(check())


def test_the_live_service_goes_on_as_if_nobody_replayed():
    """All that is stored of a live service that works beside replays is what is stored without them."""

    async def alone(replaying):
        async with testing.run(App("shop", services=[shop()])) as t:
            reports = []
            for n in range(40):
                await t.publish(Paid(order=f"o{n % 5}", cents=n))
                going = [asyncio.ensure_future(again(t, shop(extra=1)))] if replaying and n % 8 == 7 else []
                await t.advance(minutes=10)
                reports += await asyncio.gather(*going)
            return dump(t.simulation.store), reports

    async def check():
        expected, _ = await alone(replaying=False)
        found, reports = await alone(replaying=True)
        assert found == expected
        # Each range ends where the log did when its replay began.
        assert [report.events for report in reports] == [8, 16, 24, 32, 40]
        assert [report.difference.total.changed + report.difference.total.new for report in reports] == [
            8,
            16,
            24,
            32,
            40,
        ]

    run(check())


def late(*, mended):
    """Return a service with ticks, expiries, a handler under another key, and one that fails."""
    service = Service("late")

    @service.on(Paid, by=lambda e: str(e.cents % 3))
    def group(paid: Paid, seen: State[int] = use("seen", ttl=hours(2))) -> Thanked:
        seen.set((seen.get() or 0) + 1)
        return Thanked(order=paid.order, times=seen.get() or 0)

    @service.expired("seen")
    def lapse(expired: Expired) -> None:
        return

    @service.every(timedelta(hours=1))
    def hourly(tick: Tick) -> list[Alarmed]:
        return [Alarmed(order="hour")]

    @service.on(Paid, retry=Retry(attempts=3, first=minutes(5), longest=minutes(9)))
    def fail(paid: Paid) -> Alarmed:
        if paid.cents == 7 and not mended:
            raise ValueError("seven")
        return Alarmed(order=paid.order)

    return service


def lives(service):
    return lived(service, events=24, allow_dead_letters=True)


def test_ticks_expiries_and_other_keys_are_lived_through_again():
    """What time brings about is in the range as well; copies under other keys are made anew."""

    async def check():
        async with lives(late(mended=True)) as t:
            report = await again(t, late(mended=True), start=t.all(Paid)[0].envelope.time_us)
            assert report.difference.total.is_same
            assert report.difference.total.same >= 24 * 2 + 3

    run(check())


def test_mended_code_is_seen_to_mend():
    """What was given up then and is handled now is new; what is given up now is said with its cause."""

    async def check():
        async with lives(late(mended=False)) as t:
            report = await again(t, late(mended=True))
            total = report.difference.total
            assert (total.new, total.missing, total.changed, report.failed) == (1, 0, 0, 0)
            report = await again(t, late(mended=False))
            assert report.difference.total.is_same
            assert report.failed == 1
            assert report.failures[0].cause == "ValueError: seven"

    run(check())


def test_what_was_redriven_counts_as_handled_at_once():
    """An output of a redriven event is that of the event itself, which the replay handles in its place."""
    broken = [True]
    service = Service("shop")

    @service.on(Paid, retry=Retry(attempts=1))
    def thank(paid: Paid) -> Thanked:
        if broken[0] and paid.cents == 3:
            raise ValueError("three")
        return Thanked(order=paid.order, times=1)

    async def check():
        async with lived(service, events=6, allow_dead_letters=True) as t:
            broken[0] = False
            await t.redrive()
            await t.advance(minutes=1)
            assert len(t.all(Thanked)) == 6
            report = await again(t, service)
            assert report.difference.total.same == 6
            assert report.difference.total.is_same

    run(check())


def test_pauses_between_attempts_take_no_time():
    """A handler that fails is tried as often as it says, at once."""

    async def check():
        async with lives(late(mended=False)) as t:
            now = t.now
            await again(t, late(mended=False))
            assert t.now - now < seconds(1)

    run(check())
