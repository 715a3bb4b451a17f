"""Those who wait for a partition to grow are woken by that, and by nothing else."""

import asyncio

from tropism.adapters.ends import Ends

NEAR, FAR = ("orders", 0), ("letters", 0)


async def turns():
    for _ in range(5):
        await asyncio.sleep(0)


async def wakes(ends, waited_for, news):
    """Return how often a task that waits for a partition had its turn because of some news."""
    waiting = asyncio.ensure_future(ends.wait_beyond(waited_for))
    await turns()
    looked, real = [], ends.are_beyond
    ends.are_beyond = lambda cursors: looked.append(cursors) or real(cursors)
    ends.update(news)
    await turns()
    del ends.are_beyond
    if not waiting.done():
        waiting.cancel()
        await asyncio.wait([waiting])
    return len(looked), not waiting.cancelled()


def test_growth_elsewhere_wakes_nobody():
    """Of many services, those that wait for other partitions are not even asked."""
    assert asyncio.run(wakes(Ends(), {NEAR: 0}, {FAR: 5})) == (0, False)


def test_growth_of_any_awaited_partition_wakes():
    """Who waits for several partitions goes on when one of them grows."""
    assert asyncio.run(wakes(Ends(), {NEAR: 0, FAR: 3}, {FAR: 4})) == (1, True)


def test_growth_short_of_what_is_awaited_wakes_and_waits_on():
    """An end that is not beyond what is known already is no news."""
    assert asyncio.run(wakes(Ends(), {NEAR: 5}, {NEAR: 5})) == (1, False)


def test_who_gives_up_leaves_nothing_behind():
    """A wait that is cancelled, or over, is forgotten: a worker waits a thousand times a second."""

    async def wait_and_give_up():
        ends = Ends()
        await wakes(ends, {NEAR: 0, FAR: 0}, {})
        await wakes(ends, {NEAR: 0, FAR: 0}, {NEAR: 1})
        return ends._waiters

    assert asyncio.run(wait_and_give_up()) == {}
