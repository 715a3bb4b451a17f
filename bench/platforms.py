"""Platforms to measure on: each a log and a state, with everything else in memory."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tropism.adapters.local import SystemClock
from tropism.adapters.memory import MemoryStore
from tropism.adapters.memory.compute import MemoryCompute
from tropism.adapters.sqlite import open_sqlite
from tropism.ports.log import Log
from tropism.ports.platform import Platform
from tropism.ports.state import State


def platform_of(log: Log, state: State) -> Platform:
    memory = MemoryStore()
    return Platform(log, state, memory.blobs, MemoryCompute(), SystemClock(), memory.queue)


@asynccontextmanager
async def on_memory() -> AsyncIterator[Platform]:
    store = MemoryStore()
    yield platform_of(store.log, store.state)


@asynccontextmanager
async def on_sqlite(folder: str | Path, log: Any = None) -> AsyncIterator[Platform]:
    """State in a database file with synchronous=FULL, and the log too unless another is given."""
    store = await open_sqlite(f"sqlite:///{folder}/bench.db")
    try:
        yield platform_of(log or store.log, store.state)
    finally:
        await store.close()


async def fill(log: Log, records: list[Any], *, count: int = 1000) -> None:
    for at in range(0, len(records), count):
        await log.append(records[at : at + count])
