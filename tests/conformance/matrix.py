"""Every adapter, by port: the explicit list that conformance runs over."""

import atexit
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from uuid import uuid4

from tests.confluent_registry import StandInRegistry
from tests.kafka_servers import mock_servers, noida, url_of
from tests.nats_server import shared_server
from tests.servers import postgres_url

from tropism.adapters.kafka import open_kafka
from tropism.adapters.local import FileBlobs, ProcessCompute
from tropism.adapters.memory import MemoryBlobs, MemoryCompute, MemoryStore, VirtualClock
from tropism.adapters.nats import open_nats
from tropism.adapters.postgres import PostgresStore, open_postgres
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


@asynccontextmanager
async def postgres_store() -> AsyncIterator[PostgresStore]:
    store = await open_postgres(postgres_url())
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def postgres_beside_another():
    """A store whose schema another one serves as well, as in another process."""
    url = postgres_url()
    other = await open_postgres(url)
    try:
        store = await open_postgres(url)
        try:
            yield PostgresPair(store, other)
        finally:
            await store.close()
    finally:
        await other.close()


class PostgresPair:
    """Writes through one store, commits through the other."""

    def __init__(self, store, other):
        self.log, self.state = store.log, other.state


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
async def postgres_queue():
    url = postgres_url()
    store = await open_postgres(url)
    other = await open_postgres(url)
    try:
        yield QueueSite(store.queue, other.queue)
    finally:
        await other.close()
        await store.close()


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


@cache
def registry():
    """Return the registry of schemas of this run of the tests."""
    served = StandInRegistry()
    atexit.register(served.close)
    return served


def avro(**more):
    """Return the URL of a log whose topics are in Avro, by a schema that takes what the laws append."""
    prefix = f"t{uuid4().hex[:12]}."
    for topic in ("orders", "bills"):
        placed = {"type": "record", "name": "placed", "fields": []}
        registry().register(f"{prefix}{topic}-value", ["long", placed])
    return noida().url(prefix=prefix, registry=registry().url, avro="orders,bills", **more)


class KafkaStore:
    """A log on Kafka, and the state that commits with it."""

    def __init__(self, log):
        self.log, self.state = log, log.state


def kafka_store(url):
    @asynccontextmanager
    async def store():
        log = await open_kafka(url(transactions="true"))
        try:
            yield KafkaStore(log)
        finally:
            await log.close()

    return store


STORES = {
    "memory": memory_store,
    "sqlite": sqlite_store,
    "sqlite, through its owner": sqlite_through_its_owner,
    "postgres": postgres_store,
    "postgres, two at once": postgres_beside_another,
    "kafka": kafka_store(lambda **more: noida().url(**more)),
    "kafka, transactions in avro": kafka_store(avro),
}


def kafka_log(url):
    @asynccontextmanager
    async def log():
        opened = await open_kafka(url())
        try:
            yield opened
        finally:
            await opened.close()

    return log


KAFKA_LOGS = {
    "kafka, avro": kafka_log(avro),
    "kafka": kafka_log(lambda: noida().url()),
    "kafka, transactions": kafka_log(lambda: noida().url(transactions="true")),
    "kafka, structured": kafka_log(lambda: noida().url(mode="structured")),
    "kafka, mock of three brokers": kafka_log(lambda: url_of(mock_servers(), create="broker")),
}
LOGS = {
    **{name: log_of(factory) for name, factory in STORES.items()},
    **KAFKA_LOGS,
    "nats": nats_log(),
    "nats, without atomic batches": nats_log(atomic="false"),
    "nats, structured": nats_log(mode="structured"),
}

_CHOOSES = "its topics all have four partitions, made on demand: it cannot create them otherwise"
_FITS = {"check_records_return_as_they_were": "its data must be JSON, and what the schema has a place for"}
KNOWN_DEVIATIONS = {
    "kafka, avro": _FITS,
    "kafka, transactions in avro": _FITS,
    "kafka, mock of three brokers": {
        "check_topics_are_created_with_their_partitions": _CHOOSES,
        "check_partitions_cannot_change": _CHOOSES,
        "check_pages_are_bounded": _CHOOSES,
        "check_types_can_be_left_out": _CHOOSES,
        "check_pages_say_how_far_was_read": _CHOOSES,
        "check_waiting_ends_with_growth": _CHOOSES,
        "check_waiting_outlasts_other_growth": _CHOOSES,
    },
}
"""What servers for tests are known not to do, with the reason: it fails where they begin to do it."""

QUEUES = {
    "memory": memory_queue,
    "sqlite": sqlite_queue,
    "sqlite, through its owner": sqlite_queue_through_its_owner,
    "postgres": postgres_queue,
}
BLOBS = {"memory": memory_blobs, "local": file_blobs}
COMPUTES = {"memory": inline_compute, "memory, threads": thread_compute, "local": process_compute}
PROCESSES = {"local": process_compute}

PORTS = {"log": LOGS, "queue": QUEUES, "state": STORES, "blobs": BLOBS, "compute": COMPUTES}
