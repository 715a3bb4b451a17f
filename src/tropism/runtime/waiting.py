"""Waiting for whatever comes first."""

import asyncio
from collections.abc import Awaitable
from typing import Any


async def first_of(*awaited: Awaitable[Any]) -> None:
    """Return when one of them is done, and give the others up. Raises: what that one raised."""
    tasks = [asyncio.ensure_future(_result(each)) for each in awaited]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _result(awaited: Awaitable[Any]) -> object:
    await awaited
    return None
