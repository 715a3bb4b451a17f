"""Every adapter, by port: the explicit list that conformance runs over."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

from tests.nats_server import shared_server

from tropism.adapters.local import FileBlobs, ProcessCompute
from tropism.adapters.memory import MemoryBlobs, MemoryCompute, MemoryStore
from tropism.adapters.nats import open_nats
from tropism.adapters.sqlite import SqliteStore, open_sqlite


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


def nats_log(**options):
    """Return a factory of logs on the session's server, each under a prefix of its own."""

    @asynccontextmanager
    async def log():
        said = "&".join(f"{name}={value}" for name, value in options.items())
        opened = await open_nats(f"{shared_server().url}?prefix={uuid4().hex[:12]}&{said}")
        try:
            yield opened
        finally:
            await opened.close()

    return log


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
LOGS = {
    **{name: log_of(factory) for name, factory in STORES.items()},
    "nats": nats_log(),
    "nats, without atomic batches": nats_log(atomic="false"),
}
BLOBS = {"memory": memory_blobs, "local": file_blobs}
COMPUTES = {"memory": inline_compute, "memory, threads": thread_compute, "local": process_compute}
PROCESSES = {"local": process_compute}

PORTS = {"log": LOGS, "state": STORES, "blobs": BLOBS, "compute": COMPUTES}
