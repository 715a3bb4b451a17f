"""Waiting for several at once, and giving up what nobody waits for any more."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Any

from tropism.ports.clock import Clock


async def first_of(*awaited: Awaitable[Any]) -> None:
    """Return when one of them is done, and give the others up. Raises: what that one raised."""
    await _wait(awaited, asyncio.FIRST_COMPLETED)


async def all_of(*awaited: Awaitable[Any]) -> None:
    """Return when all of them are done; if one fails, give the others up. Raises: what that one raised."""
    await _wait(awaited, asyncio.FIRST_EXCEPTION)


async def after(clock: Clock, seconds: float, then: Callable[[], None]) -> None:
    """Do something in a while."""
    await clock.sleep(seconds)
    then()


async def give_up(tasks: Collection[asyncio.Future[Any]]) -> None:
    """Cancel tasks, and return when they have ended, however that was."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _wait(awaited: Collection[Awaitable[Any]], until: str) -> None:
    tasks = [asyncio.ensure_future(each) for each in awaited]
    try:
        await asyncio.wait(tasks, return_when=until)
        for task in tasks:
            if task.done():
                task.result()
    finally:
        await give_up(tasks)
