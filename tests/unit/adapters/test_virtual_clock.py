"""Virtual time passes when told to, in order."""

import asyncio

from tropism.adapters.memory import VirtualClock


async def turn():
    for _ in range(3):
        await asyncio.sleep(0)


def test_sleepers_wake_in_order_of_time():
    """Advancing wakes sleepers in order of time, those of one time in order of falling asleep."""

    async def scenario():
        clock, woken = VirtualClock(start_us=1_000_000), []

        async def sleeper(name, seconds):
            await clock.sleep(seconds)
            woken.append((name, clock.now_us()))

        tasks = [
            asyncio.ensure_future(sleeper(name, seconds)) for name, seconds in (("c", 3), ("a", 1), ("b", 1))
        ]
        await turn()
        assert clock.next_wakeup_us() == 2_000_000
        clock.advance(0.999999)
        await turn()
        assert woken == []
        clock.advance(5)
        await asyncio.gather(*tasks)
        assert [name for name, _ in woken] == ["a", "b", "c"]
        assert clock.next_wakeup_us() is None
        assert clock.monotonic() == 5.999999

    asyncio.run(scenario())


def test_time_does_not_pass_by_itself():
    """A sleeper sleeps until time is advanced; no sleep at all only gives way."""

    async def scenario():
        clock = VirtualClock()
        sleeper = asyncio.ensure_future(clock.sleep(1e-9))
        await clock.sleep(0)
        await clock.sleep(-5)
        await turn()
        assert not sleeper.done()
        clock.advance_to_us(1)
        await sleeper

    asyncio.run(scenario())


def test_cancelled_sleepers_are_forgotten():
    """A cancelled sleep is nobody's next wake-up."""

    async def scenario():
        clock = VirtualClock()
        tasks = [asyncio.ensure_future(clock.sleep(seconds)) for seconds in (1, 2)]
        await turn()
        tasks[0].cancel()
        await turn()
        assert clock.next_wakeup_us() == 2_000_000
        clock.advance(3)
        await tasks[1]

    asyncio.run(scenario())


def test_the_wall_clock_may_jump():
    """A jump moves the wall clock, forward or back, and neither monotonic time nor sleepers."""

    async def scenario():
        clock = VirtualClock(start_us=10_000_000)
        sleeper = asyncio.ensure_future(clock.sleep(2))
        await turn()
        clock.jump(-5)
        assert (clock.now_us(), clock.monotonic()) == (5_000_000, 0.0)
        clock.jump(3600)
        await turn()
        assert not sleeper.done()
        assert clock.next_wakeup_us() == clock.now_us() + 2_000_000
        clock.advance(2)
        await sleeper

    asyncio.run(scenario())
