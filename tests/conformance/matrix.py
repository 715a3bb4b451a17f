"""Every adapter, by port: the explicit list that conformance runs over."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tropism.adapters.local import FileBlobs, ProcessCompute
from tropism.adapters.memory import MemoryBlobs, MemoryCompute, MemoryStore, VirtualClock
from tropism.adapters.sqlite import SqliteStore, open_sqlite
from tropism.testing.queue import QueueSite


@asynccontextmanager
async def memory_store():
    yield MemoryStore()


@asynccontextmanager
async def sqlite_store() -> AsyncIterator[SqliteStore]:
    with tempfile.TemporaryDirectory() as folder:
        store = await open_sqlite(f"sqlite:///{folder}/x.db")
        try:
            yield store
        finally:
            await store.close()


@asynccontextmanager
async def sqlite_through_its_owner() -> AsyncIterator[SqliteStore]:
    with tempfile.TemporaryDirectory() as folder:
        owner = await open_sqlite(f"sqlite:///{folder}/x.db")
        other = await open_sqlite(f"sqlite:///{folder}/x.db")
        assert owner.owns
        assert not other.owns
        try:
            yield other
        finally:
            await other.close()
            await owner.close()


def log_of(factory):
    @asynccontextmanager
    async def log():
        async with factory() as store:
            yield store.log

    return log


def site_of(clock, queue, other):
    return QueueSite(queue, other, clock.advance, clock.monotonic, short_seconds=10.0)


@asynccontextmanager
async def memory_queue():
    clock = VirtualClock()
    store = MemoryStore(clock=clock)
    yield site_of(clock, store.queue, store.queue)


@asynccontextmanager
async def sqlite_queue():
    clock = VirtualClock()
    with tempfile.TemporaryDirectory() as folder:
        store = await open_sqlite(f"sqlite:///{folder}/x.db", clock=clock)
        try:
            yield site_of(clock, store.queue, store.queue)
        finally:
            await store.close()


@asynccontextmanager
async def sqlite_queue_through_its_owner():
    clock = VirtualClock()
    with tempfile.TemporaryDirectory() as folder:
        owner = await open_sqlite(f"sqlite:///{folder}/x.db", clock=clock)
        other = await open_sqlite(f"sqlite:///{folder}/x.db", clock=clock)
        try:
            yield site_of(clock, other.queue, owner.queue)
        finally:
            await other.close()
            await owner.close()


@asynccontextmanager
async def memory_blobs():
    yield MemoryBlobs()


@asynccontextmanager
async def file_blobs():
    with tempfile.TemporaryDirectory() as folder:
        yield await FileBlobs.open(Path(folder) / "blobs")


@asynccontextmanager
async def inline_compute():
    yield MemoryCompute()


@asynccontextmanager
async def thread_compute():
    yield MemoryCompute(threads=True)


@asynccontextmanager
async def process_compute():
    compute = ProcessCompute()
    try:
        yield compute
    finally:
        await compute.close()


STORES = {
    "memory": memory_store,
    "sqlite": sqlite_store,
    "sqlite, through its owner": sqlite_through_its_owner,
}
LOGS = {name: log_of(factory) for name, factory in STORES.items()}
QUEUES = {
    "memory": memory_queue,
    "sqlite": sqlite_queue,
    "sqlite, through its owner": sqlite_queue_through_its_owner,
}
BLOBS = {"memory": memory_blobs, "local": file_blobs}
COMPUTES = {"memory": inline_compute, "memory, threads": thread_compute, "local": process_compute}
PROCESSES = {"local": process_compute}

PORTS = {"log": LOGS, "queue": QUEUES, "state": STORES, "blobs": BLOBS, "compute": COMPUTES}
