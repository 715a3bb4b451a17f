"""Waiting for several at once."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tropism.runtime.waiting import all_of, first_of


class Waiter:
    """Waits for ever, and notes that it was given up."""

    def __init__(self) -> None:
        self.given_up = False

    async def wait(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.given_up = True


async def fail() -> None:
    raise ValueError("it failed")


async def turns(count: int, ended: list[int]) -> None:
    for _ in range(count):
        await asyncio.sleep(0)
    ended.append(count)


def test_the_first_that_is_done_ends_the_others() -> None:
    """Who waits for the first leaves nobody behind at work."""

    async def main() -> None:
        waiter, ended = Waiter(), list[int]()
        await first_of(waiter.wait(), turns(2, ended))
        assert (waiter.given_up, ended) == (True, [2])

    asyncio.run(main())


def test_all_are_waited_for_however_long_they_take() -> None:
    """Who waits for all goes on after the last of them."""

    async def main() -> None:
        ended: list[int] = []
        await all_of(turns(5, ended), turns(0, ended), turns(2, ended))
        assert ended == [0, 2, 5]

    asyncio.run(main())


@pytest.mark.parametrize("waiting", [first_of, all_of])
def test_a_failure_ends_the_others_at_once(waiting: Callable[..., Awaitable[Any]]) -> None:
    """Nobody waits for those who never end once one has failed."""

    async def main() -> None:
        waiter = Waiter()
        with pytest.raises(ValueError, match="it failed"):
            await waiting(waiter.wait(), fail())
        assert waiter.given_up

    asyncio.run(main())


@pytest.mark.parametrize("waiting", [first_of, all_of])
def test_who_is_cancelled_gives_up_all(waiting: Callable[..., Awaitable[Any]]) -> None:
    """Whoever gives up waiting gives up what it waited for."""

    async def main() -> None:
        waiters = [Waiter(), Waiter()]
        task = asyncio.ensure_future(waiting(*(waiter.wait() for waiter in waiters)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()
        assert all(waiter.given_up for waiter in waiters)

    asyncio.run(main())
